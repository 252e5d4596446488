"""What host builtins may touch: the services of the server and the state of one hook run. No rules in here.

`call.host` of a hook's run is a `HookHost`. `hooks` builds it, the builtins of this folder read and change it, and
`hooks` turns what they left into a verdict. Outside a hook (`hslpy run`) the services are there and `event` is None.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import field
from typing import TYPE_CHECKING, Any, Protocol

from hslpy.client.bounce_lists import BounceLists
from hslpy.client.files import Files
from hslpy.client.http_contract import HttpClient
from hslpy.client.http_scripted import ScriptedHttp
from hslpy.client.ldap import LdapProfile
from hslpy.client.logfiles import LogFiles
from hslpy.client.lookup_contract import Lookups, ScriptedLookups, Server
from hslpy.client.sockets import SocketSettings
from hslpy.dns.contract import Resolver
from hslpy.egress.traffic.departures import Departures
from hslpy.egress.traffic.logins import StoreLogins
from hslpy.log import Log, no_log
from hslpy.mail.attempt import AttemptFacts, Sending
from hslpy.rate.contract import RateCounters
from hslpy.records import dataclass
from hslpy.scan.contract import Clamd, Rspamd, SpamAssassin
from hslpy.scan.dlp import DlpEngine
from hslpy.spool.contract import NewMessage, QueuedRecipient
from hslpy.store.memory import SharedMemory
from hslpy.store.profiles import RedisProfiles

if TYPE_CHECKING:
    from hslpy.store.shared import RedisMemory


class QueueMetric(Protocol):
    """The queue as scripts measure it: `metric` is `count` or `bytes`; each filter maps a field to its wanted values."""

    def __call__(self, metric: str, filters: Mapping[str, Sequence[str]]) -> float: ...


class Outbox(Protocol):
    """Where mail goes that scripts make."""

    async def queue(self, message: NewMessage) -> Sequence[QueuedRecipient]:
        """Make the message durable and queue it. Raises SpoolError."""
        ...

    async def send(self, sending: Sending) -> Sequence[AttemptFacts]:
        """Try the message now, and give what came of it for each recipient."""
        ...


@dataclass(frozen=True, slots=True)
class Services:
    """Everything a script can reach beyond its values. A scanner that isn't configured is None.

    Where no HTTP client and no look-ups are given everything asked of them fails.
    """

    rates: RateCounters
    memory: SharedMemory | RedisMemory
    resolver: Resolver
    queue_metric: QueueMetric
    spamassassin: SpamAssassin | None = None
    rspamd: Rspamd | None = None
    clamd: Clamd | None = None
    dlp: DlpEngine = field(default_factory=DlpEngine)
    files: Files = field(default_factory=Files)
    sockets: SocketSettings = field(default_factory=SocketSettings)
    http: HttpClient = field(default_factory=ScriptedHttp)
    ldap_profiles: Mapping[str, LdapProfile] = field(default_factory=dict)
    log_files: LogFiles = field(default_factory=LogFiles)
    bounce_lists: BounceLists = field(default_factory=BounceLists)
    redis: RedisProfiles = field(default_factory=RedisProfiles)
    environment: Mapping[str, str | None] = field(default_factory=dict)  # what scripts may read of it
    lookups: Lookups = field(default_factory=ScriptedLookups)
    servers: Mapping[str, Server] = field(default_factory=dict)  # transports, by id
    source_addresses: Mapping[str, str] = field(default_factory=dict)  # by source id
    hostname: str = "localhost"
    scanner_failure: str = "zero"  # or "defer": the setting `scanners.on_failure`
    log: Log = no_log
    outbox: Outbox | None = None
    departures: Departures | None = None  # what the settings of delivery IPs say; None without a database
    logins: StoreLogins | None = None  # its outgoing users
    limited: Callable[[str], None] = lambda namespace: None  # told of each hit that `rate()` refused
    # what to wait for so that a metric by these fields is a look-up
    queue_metric_ready: Callable[[Collection[str]], asyncio.Future[None] | None] = lambda fields: None
    transport_id: str = "mailtransport:1"  # of mail that names none

    async def close(self) -> None:
        """Close what the services hold open."""
        await self.http.close()
        await self.rates.close()
        await self.resolver.close()
        await self.redis.close()
        await self.memory.close()
        await self.log_files.close()
        for scanner in (self.spamassassin, self.rspamd, self.clamd, self.dlp):
            if scanner is not None:
                await scanner.close()


@dataclass(slots=True)
class HookHost:
    """One hook run. `event` is the `hooks.facts` event (typed Any: that room lies above this one).

    `facts` is the lazily built mapping that compiled scripts read, so that a setter can change a variable;
    `state` (`state.DataState` or `state.QueueState`) holds what builtins leave for the verdict: header edits, metadata,
    attempt options, deliveries. `ids` are the session's, transaction's and queue's ids for log records.
    """

    hook: str
    services: Services
    event: Any
    facts: dict[str, Any]
    state: Any = None
    ids: Mapping[str, object] = field(default_factory=dict)

    def key_text(self, name: str, certificate: bool = False) -> str | None:
        """Give the private key of a [[pki]] table as PEM, by its id with or without `pki:`; None where there is none.

        With `certificate` the key comes after its certificate, where that has a file. Blocks. Raises OSError.
        """
        found = self.services.sockets.key_pair(name)
        if found is None:
            return None
        files = [found.certificate, found.key] if certificate and found.certificate.name else [found.key]
        return "\n".join([file.read_text("latin-1") for file in files])

    def warn(self, event: str, **fields: object) -> None:
        """Log what did not work for the script, which hears of it only that it did not."""
        self.services.log(event, {"level": "warning", **self.ids, **fields})

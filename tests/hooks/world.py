"""A small world for hook tests: events with plain defaults, services in memory, and scripts given as texts."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar

from hslpy.builtins.host.contract import Services
from hslpy.clock import ManualClock
from hslpy.hooks.facts import (
    AttemptFacts,
    AuthEvent,
    AuthFacts,
    ConnectEvent,
    ConnectionFacts,
    Context,
    DataEvent,
    DisconnectEvent,
    Event,
    HeloEvent,
    HeloFacts,
    MailFromEvent,
    PostDeliveryEvent,
    PreDeliveryEvent,
    ProxyEvent,
    QueuedFacts,
    RcptToEvent,
    RecipientFacts,
    TransactionFacts,
)
from hslpy.hooks.runner import Hooks
from hslpy.hooks.scripts import HookSettings
from hslpy.lang.run import Limits
from hslpy.mail.address import Address, parse_address
from hslpy.rate.contract import RateSettings
from hslpy.rate.memory import MemoryRateCounters
from hslpy.scan.scripted import ScriptedRspamd, ScriptedSpamAssassin
from hslpy.store.memory import SharedMemory
from hslpy.tooling.outbox import KeptOutbox

T = TypeVar("T")

SEEDS = Path(__file__).parents[2] / "scripts/examples/seeds"
CONTENT = b"Received: from a by b\r\nSubject: Hello\r\nFrom: a@example.com\r\n\r\nBody\r\n"
NOW = 1_700_000_000.0


def address(text: str) -> Address:
    found = parse_address(text)
    assert found is not None
    return found


def wait_for(awaitable: Awaitable[T]) -> T:
    async def main() -> T:
        return await awaitable

    return asyncio.run(main())


@dataclass
class World:
    """Hooks over services in memory. `events` are what was logged, `metrics` what the queue answers by filter."""

    folder: Path
    clock: ManualClock = field(default_factory=ManualClock)
    events: list[tuple[str, Mapping[str, object]]] = field(default_factory=list)
    metrics: dict[tuple[str, tuple[tuple[str, tuple[str, ...]], ...]], float] = field(default_factory=dict)
    context: Context = field(default_factory=Context)
    outbox: KeptOutbox = field(default_factory=KeptOutbox)

    def log(self, event: str, fields: Mapping[str, object]) -> None:
        self.events.append((event, fields))

    def queue_metric(self, metric: str, filters: Mapping[str, Sequence[str]]) -> float:
        key = (metric, tuple((name, tuple(wanted)) for name, wanted in filters.items()))
        return self.metrics.get(key, 0.0)

    def hooks(
        self, scripts: Mapping[str, str | Path | Sequence[str | Path]], limits: Limits | None = None, **services: Any
    ) -> Hooks:
        """Give hooks with these scripts, a text or a file (or several) for each hook, already loaded."""
        named: dict[str, tuple[Path, ...]] = {}
        for hook, given in scripts.items():
            files = []
            for i, one in enumerate([given] if isinstance(given, str | Path) else given):
                if isinstance(one, str):
                    path = self.folder / f"{hook}{i or ''}.hsl"
                    path.write_bytes(one.encode("latin-1"))
                    one = path
                files.append(one)
            named[hook] = tuple(files)
        defaults: dict[str, Any] = {
            "rates": MemoryRateCounters(RateSettings(), self.clock, self.log),
            "memory": SharedMemory(),
            "resolver": None,
            "queue_metric": self.queue_metric,
            "spamassassin": ScriptedSpamAssassin(0.0),
            "rspamd": ScriptedRspamd(0),
            "source_addresses": {f"netaddr:{n}": f"192.0.2.{n}" for n in (1, 2, 3, 4)},
            "log": self.log,
            "outbox": self.outbox,
        }
        settings = HookSettings(named, limits or Limits())
        hooks = Hooks(settings, Services(**(defaults | services)), self.clock, random.Random(1), self.log)
        hooks.load()
        return hooks

    def run(
        self,
        hook: str,
        script: str | Path | Sequence[str | Path],
        event: Event | None = None,
        limits: Limits | None = None,
        **services: Any,
    ) -> Any:
        """Run a hook's script(s) on the event (the hook's default one) and give the verdict."""
        hooks = self.hooks({hook: script}, limits, **services)
        return wait_for(hooks.run(hooks.current, hook, event or self.event(hook)))

    def logged(self, event: str) -> list[Mapping[str, object]]:
        return [fields for name, fields in self.events if name == event]

    def echoed(self) -> list[str]:
        """Give what scripts echoed, without the id before it."""
        return [str(fields["text"]) for fields in self.logged("hooks.echo")]

    def failure(self) -> str:
        """Give the text of the one script error that was logged."""
        (fields,) = self.logged("hooks.script_error")
        return str(fields["text"])

    # events --------------------------------------------------------------------------------------

    def connection(self, **changes: Any) -> ConnectionFacts:
        facts = ConnectionFacts(
            id="conn-1",
            remote_ip="192.0.2.7",
            remote_port=40_000,
            local_ip="192.0.2.1",
            local_port=25,
            server_id="mailserver:1",
            helo=HeloFacts("EHLO", "client.example.com"),
        )
        return replace(facts, **changes)

    def transaction(
        self, sender: str = "Someone@Example.com", recipients: Sequence[str] = ("rcpt@example.org",)
    ) -> TransactionFacts:
        return TransactionFacts(
            id="message-1",
            sender=address(sender),
            sender_params={"SIZE": "100"},
            recipients=tuple(RecipientFacts(address(one), {}, "default") for one in recipients),
        )

    def data(
        self, *recipients: str, content: bytes = CONTENT, login: str | None = None, sender: str = "Someone@Example.com"
    ) -> DataEvent:
        connection = self.connection(auth=AuthFacts("PLAIN", login) if login else None)
        transaction = self.transaction(sender, recipients or ("rcpt@example.org",))
        return DataEvent(connection, self.context, transaction, content, NOW)

    def queued(self, **changes: Any) -> QueuedFacts:
        facts = QueuedFacts(
            transaction_id="message-1",
            queue_id=7,
            received_at=NOW,
            sender=address("Someone@Example.com"),
            recipient=address("Rcpt@Example.org"),
            transport_id="default",
            retries=0,
            size_bytes=1000,
            server_id="mailserver:1",
            remote_ip="192.0.2.7",
            helo="client.example.com",
        )
        return replace(facts, **changes)

    def pre(self, **changes: Any) -> PreDeliveryEvent:
        return PreDeliveryEvent(self.queued(**changes), self.context)

    def post(self, code: int = 550, action: str | None = "BOUNCE", **changes: Any) -> PostDeliveryEvent:
        attempt = AttemptFacts(
            duration_s=0.5,
            local_ip="192.0.2.2",
            source_id="netaddr:1",
            remote_ip="198.51.100.1",
            remote_mx="mx.example.org",
            code=code,
            enhanced=(5, 7, 1) if code >= 500 else None,
            reason=("We do not relay",),
            state="RCPT",
            error="connection refused" if not code else None,
        )
        return PostDeliveryEvent(self.queued(**changes), self.context, action, attempt)

    def event(self, hook: str) -> Event:
        """Give a plain event of the hook."""
        connection, context = self.connection(), self.context
        transaction = self.transaction()
        if hook == "connect":
            return ConnectEvent(replace(connection, helo=None), context)
        if hook == "proxy":
            return ProxyEvent(connection, context, None, "NOOP")
        if hook == "helo":
            return HeloEvent(
                replace(connection, helo=None), context, "EHLO", "client.example.com", ("PIPELINING", "SIZE 100")
            )
        if hook == "auth":
            return AuthEvent(connection, context, "PLAIN", "alice", "secret")
        if hook == "mailfrom":
            return MailFromEvent(connection, context, replace(transaction, recipients=()))
        if hook == "rcptto":
            recipient = RecipientFacts(address("Rcpt@Example.org"), {"NOTIFY": "NEVER"}, "default")
            return RcptToEvent(connection, context, replace(transaction, recipients=()), recipient)
        if hook in ("data", "eod"):
            return self.data()
        if hook == "disconnect":
            return DisconnectEvent(connection, context, "remote")
        return self.pre() if hook == "predelivery" else self.post()

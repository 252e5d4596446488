"""Name resolution by dnspython, with a bounded cache. In: names and types. Out: `Answer`s or the contract's errors.

Equal questions asked at once share one query. Must not know who asks, nor what a failure means to them.
"""

from __future__ import annotations

import asyncio
import ipaddress
from collections import OrderedDict
from collections.abc import Sequence
from typing import TYPE_CHECKING

from hslpy.clock import Clock
from hslpy.dns.contract import Answer, NameNotFound, RecordType, ResolutionFailed
from hslpy.errors import OperatorError
from hslpy.records import dataclass

if TYPE_CHECKING:
    from hslpy.dns.asking import Asking


@dataclass(frozen=True, slots=True)
class ResolverSettings:
    """`nameservers` are IP addresses, those of /etc/resolv.conf when empty; one may have a port, `192.0.2.1:53`, `[::1]:53`.

    `try_s` is the time for one server, `lifetime_s` for the whole question (dnspython's defaults are 2 and 5; servers
    of far zones often need more). Answers are kept for their TTL, at most `ttl_ceiling_s` (RFC 8767 advises a cap of
    days; an hour keeps changes of MX visible), refusals at most `negative_ceiling_s` (RFC 2308 section 5).
    `trust_ad` believes the server's word that an answer is validated; only sensible for a resolver on this machine.
    """

    nameservers: tuple[str, ...] = ()
    port: int = 53
    try_s: float = 4.0
    lifetime_s: float = 15.0
    cache_entries: int = 20_000
    ttl_ceiling_s: float = 3600.0
    negative_ceiling_s: float = 300.0
    trust_ad: bool = False


Outcome = Answer | NameNotFound
_Question = tuple[str, RecordType, tuple[str, ...]]


class DnsResolver:
    """The real `Resolver`. `close` cancels the queries under way."""

    def __init__(self, settings: ResolverSettings, clock: Clock) -> None:
        """Raises OperatorError for a name server that is not an IP address."""
        self._settings = settings
        self._clock = clock
        self._cache: OrderedDict[_Question, tuple[float, Outcome]] = OrderedDict()
        self._pending: dict[_Question, asyncio.Task[Outcome]] = {}
        self._asking: Asking | None = None  # from the first question on
        for text in settings.nameservers:
            server_of(text, settings.port)

    async def query(self, name: str, record_type: RecordType, servers: Sequence[str] = ()) -> Answer:
        name = name.rstrip(".")
        name = name.lower() if name.isascii() else name  # lower() would harm the bytes of UTF-8
        key = (name, record_type, tuple(servers))
        known = self._cache.get(key)
        if known is not None and known[0] > self._clock.monotonic():
            self._cache.move_to_end(key)
            return _give(known[1])
        task = self._pending.get(key)
        if task is None:
            task = asyncio.create_task(self._ask(*key))
            self._pending[key] = task
            task.add_done_callback(lambda done: self._finished(key, done))
        try:
            return _give(await asyncio.shield(task))
        except asyncio.CancelledError:
            if task.cancelled():
                raise ResolutionFailed(f"the query for {name} was given up", "TRY_AGAIN") from None
            raise

    async def close(self) -> None:
        tasks = list(self._pending.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def flush(self) -> None:
        self._cache.clear()

    def _finished(self, key: _Question, task: asyncio.Task[Outcome]) -> None:
        del self._pending[key]
        if task.cancelled() or task.exception() is not None:
            return
        outcome = task.result()
        ttl_s = outcome.ttl_s
        if ttl_s > 0:
            self._cache[key] = (self._clock.monotonic() + ttl_s, outcome)
            while len(self._cache) > self._settings.cache_entries:
                self._cache.popitem(last=False)

    async def _ask(self, name: str, record_type: str, servers: tuple[str, ...]) -> Outcome:
        if self._asking is None:
            try:
                self._asking = await asyncio.to_thread(_make_asking, self._settings)
            except ValueError as error:  # of /etc/resolv.conf: it is read again with the next question
                raise ResolutionFailed(f"the name servers cannot be read: {error}", "TRY_AGAIN") from error
        return await self._asking.ask(name, record_type, servers)


def server_of(text: str, port: int) -> tuple[str, int]:
    """Give address and port of `192.0.2.1`, `192.0.2.1:53`, `2001:db8::1` or `[2001:db8::1]:53`.

    Raises OperatorError for what is no IP address with a port.
    """
    if text.startswith("["):
        address, _, own_port = text[1:].partition("]")
        own_port = own_port.removeprefix(":")
    elif text.count(":") == 1:
        address, own_port = text.split(":")
    else:
        address, own_port = text, ""
    try:
        ipaddress.ip_address(address)
        return address, int(own_port or port)
    except ValueError:
        raise OperatorError(f"nameservers: {text!r} is no IP address with a port", hint="give IP addresses") from None


def _make_asking(settings: ResolverSettings) -> Asking:
    from hslpy.dns.asking import Asking  # with dnspython, 25 ms that a start need not wait for

    return Asking(settings)


def _give(outcome: Outcome) -> Answer:
    if isinstance(outcome, NameNotFound):
        raise NameNotFound(outcome.message, outcome.kind, outcome.ttl_s)
    return outcome

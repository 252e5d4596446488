"""Name resolution by dnspython, with a bounded cache. In: names and types. Out: `Answer`s or the contract's errors.

Equal questions asked at once share one query. Must not know who asks, nor what a failure means to them.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import replace

import dns.asyncresolver
import dns.exception
import dns.flags
import dns.inet
import dns.message
import dns.name
import dns.nameserver
import dns.rdatatype
import dns.resolver
from dns.rdata import Rdata

from hslpy.clock import Clock
from hslpy.dns.contract import Answer, NameNotFound, RecordType, ResolutionFailed
from hslpy.errors import OperatorError
from hslpy.records import dataclass


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


_Outcome = Answer | NameNotFound
_Question = tuple[str, RecordType, tuple[str, ...]]
_MOST_OTHERS = 64  # resolvers kept for servers that scripts name


class DnsResolver:
    """The real `Resolver`. `close` cancels the queries under way."""

    def __init__(self, settings: ResolverSettings, clock: Clock) -> None:
        """Raises OperatorError for a name server that is not an IP address."""
        self._settings = settings
        self._clock = clock
        self._cache: OrderedDict[_Question, tuple[float, _Outcome]] = OrderedDict()
        self._pending: dict[_Question, asyncio.Task[_Outcome]] = {}
        self._resolver = _configured(settings)
        self._others: OrderedDict[tuple[str, ...], dns.asyncresolver.Resolver] = OrderedDict()

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

    def _finished(self, key: _Question, task: asyncio.Task[_Outcome]) -> None:
        del self._pending[key]
        if task.cancelled() or task.exception() is not None:
            return
        outcome = task.result()
        ttl_s = outcome.ttl_s
        if ttl_s > 0:
            self._cache[key] = (self._clock.monotonic() + ttl_s, outcome)
            while len(self._cache) > self._settings.cache_entries:
                self._cache.popitem(last=False)

    def _asked(self, servers: tuple[str, ...]) -> dns.asyncresolver.Resolver:
        """Give the resolver for these servers; what others say of DNSSEC is not believed."""
        if not servers:
            return self._resolver
        resolver = self._others.get(servers)
        if resolver is None:
            resolver = self._others[servers] = _configured(replace(self._settings, nameservers=servers, trust_ad=False))
            if len(self._others) > _MOST_OTHERS:
                self._others.popitem(last=False)
        return resolver

    async def _ask(self, name: str, record_type: str, servers: tuple[str, ...]) -> _Outcome:
        try:
            qname = _absolute_name(name)
        except (dns.exception.DNSException, UnicodeError, ValueError) as error:
            return NameNotFound(f"{name!r} is not a name that DNS can hold: {error}", "NXDOMAIN")
        try:
            answer = await self._asked(servers).resolve(qname, record_type, search=False, raise_on_no_answer=False)
        except dns.resolver.NXDOMAIN as error:
            return NameNotFound(f"{name} does not exist", "NXDOMAIN", self._negative_ttl_s(error))
        except dns.resolver.NoNameservers as error:
            raise ResolutionFailed(f"no name server could answer {record_type} {name}", "SERVFAIL") from error
        except dns.resolver.YXDOMAIN as error:
            raise ResolutionFailed(f"{name} grew too long on the way", "SERVFAIL") from error
        except (dns.exception.Timeout, OSError, EOFError) as error:
            raise ResolutionFailed(f"no answer in time for {record_type} {name}", "TRY_AGAIN") from error
        except dns.exception.DNSException as error:
            raise ResolutionFailed(f"{record_type} {name}: {error}", "SERVFAIL") from error
        ttl_s = min(float(answer.chaining_result.minimum_ttl), self._settings.ttl_ceiling_s)
        if answer.rrset is None:
            return NameNotFound(
                f"{name} has no {record_type} record", "NO_DATA", min(ttl_s, self._settings.negative_ceiling_s)
            )
        secure = self._settings.trust_ad and not servers and bool(answer.response.flags & dns.flags.AD)
        return make_answer(list(answer.rrset), record_type, ttl_s, secure)

    def _negative_ttl_s(self, error: dns.resolver.NXDOMAIN) -> float:
        responses: Mapping[object, dns.message.QueryMessage] = error.kwargs["responses"]
        ttls = [float(response.resolve_chaining().minimum_ttl) for response in responses.values()]
        return min([*ttls, self._settings.negative_ceiling_s])


def make_answer(records: list[Rdata], record_type: str, ttl_s: float, secure: bool) -> Answer:
    """Give the records as the contract's texts, in the order they came."""
    if record_type == "MX":
        mx = tuple((int(record.preference), _name_text(record.exchange)) for record in records)  # type: ignore[attr-defined]
        return Answer(tuple(exchange for _, exchange in mx), mx, secure, ttl_s)
    strings: tuple[tuple[str, ...], ...] = ()
    if record_type == "TXT" and any(len(record.strings) > 1 for record in records):  # type: ignore[attr-defined]
        strings = tuple(tuple(part.decode("latin-1") for part in record.strings) for record in records)  # type: ignore[attr-defined]
    return Answer(tuple(_record_text(record, record_type) for record in records), (), secure, ttl_s, strings)


def _record_text(record: Rdata, record_type: str) -> str:
    if record_type in ("A", "AAAA"):
        return str(record.address)  # type: ignore[attr-defined]
    if record_type in ("CNAME", "NS", "PTR"):
        return _name_text(record.target)  # type: ignore[attr-defined]
    if record_type == "TXT":
        return b"".join(record.strings).decode("latin-1")  # type: ignore[attr-defined]
    return record.to_text()


def _name_text(name: dns.name.Name) -> str:
    return name.to_text(omit_final_dot=True) if name != dns.name.root else ""


def _absolute_name(name: str) -> dns.name.Name:
    """Give the name as DNS asks for it. `name` is latin-1 text; 8-bit names are read as UTF-8 and become A-labels."""
    if not name:
        raise ValueError("it is empty")
    if not name.isascii():
        name = name.encode("latin-1").decode("utf-8")
    return dns.name.from_text(name + ".", idna_codec=dns.name.IDNA_2003_Practical)


def system_nameservers() -> tuple[str, ...]:
    """Give the name servers of this machine, those of /etc/resolv.conf."""
    return tuple(map(str, _configured(ResolverSettings()).nameservers))


def _nameserver(text: str, port: int) -> str | dns.nameserver.Nameserver:
    """Give what dnspython asks: with a port of its own for `192.0.2.1:53` and `[2001:db8::1]:53`."""
    if text.startswith("["):
        address, _, own_port = text[1:].partition("]")
        own_port = own_port.removeprefix(":")
    elif text.count(":") == 1:
        address, own_port = text.split(":")
    else:
        return text
    if not dns.inet.is_address(address) or not (own_port or str(port)).isdigit():
        raise ValueError(f"{text!r} is no IP address with a port")
    return dns.nameserver.Do53Nameserver(address, int(own_port or port))


def _give(outcome: _Outcome) -> Answer:
    if isinstance(outcome, NameNotFound):
        raise NameNotFound(outcome.message, outcome.kind, outcome.ttl_s)
    return outcome


def _configured(settings: ResolverSettings) -> dns.asyncresolver.Resolver:
    try:
        resolver = dns.asyncresolver.Resolver(configure=not settings.nameservers)
    except dns.resolver.NoResolverConfiguration:
        resolver = dns.asyncresolver.Resolver(configure=False)
        resolver.nameservers = ["127.0.0.1"]  # what resolv.conf(5) says of a missing file
    try:
        if settings.nameservers:
            resolver.nameservers = [_nameserver(text, settings.port) for text in settings.nameservers]
    except ValueError as error:
        raise OperatorError(f"nameservers: {error}", hint="give IP addresses") from error
    resolver.port = settings.port
    resolver.timeout = settings.try_s
    resolver.lifetime = settings.lifetime_s
    resolver.cache = None
    resolver.use_edns(0, 0, 1232)  # the payload that fits everywhere, DNS flag day 2020
    if settings.trust_ad:
        resolver.flags = dns.flags.RD | dns.flags.AD
    return resolver

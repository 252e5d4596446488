"""One question to name servers by dnspython. In: a name, a type, the settings. Out: `Answer` or the contract's errors.

dnspython takes a tenth of a server's start to import, so that only `resolver.py` names this module, at the first question.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import replace

import dns.asyncresolver
import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.nameserver
import dns.resolver
from dns.rdata import Rdata

from hslpy.dns.contract import Answer, NameNotFound, ResolutionFailed
from hslpy.dns.resolver import Outcome, ResolverSettings, server_of

_MOST_OTHERS = 64  # resolvers kept for servers that scripts name


class Asking:
    """Asks the servers of the settings, or others. Keeps no answers."""

    def __init__(self, settings: ResolverSettings) -> None:
        self._settings = settings
        self._resolver = _configured(settings)
        self._others: OrderedDict[tuple[str, ...], dns.asyncresolver.Resolver] = OrderedDict()

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

    async def ask(self, name: str, record_type: str, servers: tuple[str, ...]) -> Outcome:
        """Ask `servers`, those of the settings where there are none. Raises ResolutionFailed."""
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


def _configured(settings: ResolverSettings) -> dns.asyncresolver.Resolver:
    try:
        resolver = dns.asyncresolver.Resolver(configure=not settings.nameservers)
    except dns.resolver.NoResolverConfiguration:
        resolver = dns.asyncresolver.Resolver(configure=False)
        resolver.nameservers = ["127.0.0.1"]  # what resolv.conf(5) says of a missing file
    if settings.nameservers:
        servers = [server_of(text, settings.port) for text in settings.nameservers]
        resolver.nameservers = [dns.nameserver.Do53Nameserver(address, port) for address, port in servers]
    resolver.port = settings.port
    resolver.timeout = settings.try_s
    resolver.lifetime = settings.lifetime_s
    resolver.cache = None
    resolver.use_edns(0, 0, 1232)  # the payload that fits everywhere, DNS flag day 2020
    if settings.trust_ad:
        resolver.flags = dns.flags.RD | dns.flags.AD
    return resolver

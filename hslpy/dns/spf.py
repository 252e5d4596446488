"""SPF: may this client send mail for this domain? In: client, HELO name, sender, a resolver. Out: `SpfResult`.

Must not know who asks, nor what they do about it. Source: RFC 7208; section numbers below are its own.
"""

from __future__ import annotations

import asyncio
import ipaddress
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import field
from typing import Literal

from hslpy.dns.contract import Answer, NameNotFound, RecordType, ResolutionFailed, Resolver
from hslpy.dns.spf_record import (
    BadRecord,
    Mechanism,
    Record,
    check_explanation,
    expand,
    is_record,
    needs_validated_name,
    parse_record,
    shortened,
)
from hslpy.records import dataclass

Verdict = Literal["pass", "fail", "softfail", "neutral", "none", "temperror", "permerror", "invalid"]
Address = ipaddress.IPv4Address | ipaddress.IPv6Address

MOST_LOOKUPS = 10  # terms that ask DNS, section 4.6.4
MOST_VOID_LOOKUPS = 2  # of them without an answer, section 4.6.4
MOST_NAMES = 10  # MX names looked up for one `mx` (more: permerror), PTR names for one `ptr` (more: ignored)
LIFETIME_S = 20.0  # for all of it, section 4.6.4


@dataclass(frozen=True, slots=True)
class SpfResult:
    """`result` as in section 2.6, `invalid` for a client that is no IP address; `reason` the term that decided, the
    domain's explanation of a fail, or what went wrong.
    """

    result: Verdict
    reason: str = ""


class _Ends(Exception):
    """Evaluation is over: temperror or permerror."""

    def __init__(self, result: Literal["temperror", "permerror"], reason: str) -> None:
        super().__init__(reason)
        self.result = SpfResult(result, reason)


async def check_host(
    resolver: Resolver,
    ip: str,
    helo: str,
    sender: str,
    *,
    receiver: str = "unknown",
    now_s: float = 0.0,
    lifetime_s: float = LIFETIME_S,
    servers: Sequence[str] = (),
) -> SpfResult:
    """Evaluate SPF for a client. `sender` is an address or a domain; empty, as of bounces, the HELO name's postmaster.

    `receiver` and `now_s` (Unix seconds) are for macros of explanations.
    """
    try:
        address: Address = ipaddress.ip_address(ip)
    except ValueError:
        return SpfResult("invalid", "the client is no IP address")
    if isinstance(address, ipaddress.IPv6Address):
        address = address.ipv4_mapped or ipaddress.IPv6Address(address.packed)  # without a scope
    local, at, domain = (sender or helo).rpartition("@")
    local = (local if at else "") or "postmaster"  # section 4.3
    check = _Check(resolver, address, helo, local, domain, receiver, now_s, tuple(servers))
    try:
        return await asyncio.wait_for(check.domain_result(domain, explains=True), lifetime_s)
    except _Ends as ends:
        return ends.result
    except TimeoutError:
        return SpfResult("temperror", "DNS took too long")


@dataclass(slots=True)
class _Check:
    """One evaluation with its counts of lookups."""

    resolver: Resolver
    address: Address
    helo: str
    local: str
    sender_domain: str
    receiver: str
    now_s: float
    servers: tuple[str, ...]
    lookups: int = 0
    void_lookups: int = 0
    _validated: list[str] | None = field(default=None)

    async def domain_result(self, domain: str, explains: bool = False) -> SpfResult:
        """Do check_host() of section 4 for a domain."""
        domain = domain.removesuffix(".")
        if not _is_domain(domain):
            return SpfResult("none", "no domain to look at")
        texts = await self._records(domain)
        if not texts:
            return SpfResult("none", f"{domain} has no SPF record")
        if len(texts) > 1:
            raise _Ends("permerror", f"{domain} has {len(texts)} SPF records")
        try:
            record = parse_record(texts[0])
        except BadRecord as error:
            raise _Ends("permerror", f"{domain}: {error}") from None
        for mechanism in record.mechanisms:
            if await self._matches(mechanism, domain):
                result: Verdict = mechanism.result  # type: ignore[assignment]
                reason = ""
                if explains and result == "fail" and record.explanation:
                    reason = await self._explanation(record.explanation, domain)
                return SpfResult(result, reason or mechanism.text)
        return await self._redirected(record, domain, explains)

    async def _redirected(self, record: Record, domain: str, explains: bool) -> SpfResult:
        if record.redirect is None:
            return SpfResult("neutral", "no term matched")
        self._count_lookup()
        target = await self._expanded(record.redirect, domain)
        found = await self.domain_result(target, explains)
        if found.result == "none":
            raise _Ends("permerror", f"redirect={target}: {found.reason}")
        return found

    async def _records(self, domain: str) -> list[str]:
        try:
            answer = await self._query(domain, "TXT")
        except NameNotFound:
            return []
        return [text for text in answer.records if is_record(text)]

    async def _query(self, name: str, record_type: RecordType) -> Answer:
        """Raises NameNotFound, or _Ends when DNS fails."""
        try:
            if self.servers:
                return await self.resolver.query(name, record_type, self.servers)
            return await self.resolver.query(name, record_type)
        except ResolutionFailed as error:
            raise _Ends("temperror", error.message) from None

    async def _found(self, name: str, record_type: RecordType) -> Answer:
        """Give the answer, an empty one where there is none: those are counted (section 4.6.4)."""
        try:
            return await self._query(name, record_type)
        except NameNotFound:
            self.void_lookups += 1
            if self.void_lookups > MOST_VOID_LOOKUPS:
                raise _Ends("permerror", f"more than {MOST_VOID_LOOKUPS} lookups without an answer") from None
            return Answer(())

    def _count_lookup(self) -> None:
        self.lookups += 1
        if self.lookups > MOST_LOOKUPS:
            raise _Ends("permerror", f"more than {MOST_LOOKUPS} terms that ask DNS")

    # ---- mechanisms, section 5 --------------------------------------------------------------------

    async def _matches(self, mechanism: Mechanism, domain: str) -> bool:
        name = mechanism.name
        if name == "all":
            return True
        if mechanism.network is not None:
            return self.address.version == mechanism.network.version and self.address in mechanism.network
        self._count_lookup()
        target = domain if mechanism.domain is None else await self._expanded(mechanism.domain, domain)
        if name == "include":
            return await self._included(target)
        if name == "exists":
            return bool((await self._found(target, "A")).records)
        if name == "a":
            return await self._host_matches(target, mechanism)
        if name == "mx":
            return await self._exchange_matches(target, mechanism)
        target = target.lower().removesuffix(".")
        return any(one == target or one.endswith("." + target) for one in await self._validated_names())

    async def _included(self, target: str) -> bool:
        found = await self.domain_result(target)
        if found.result == "none":
            raise _Ends("permerror", f"include:{target}: {found.reason}")
        return found.result == "pass"

    async def _host_matches(self, target: str, mechanism: Mechanism) -> bool:
        kind: RecordType = "A" if self.address.version == 4 else "AAAA"
        bits = mechanism.bits[0] if self.address.version == 4 else mechanism.bits[1]
        shift = self.address.max_prefixlen - bits
        ours = int(self.address) >> shift
        addresses = _addresses((await self._found(target, kind)).records)
        return any(int(one) >> shift == ours for one in addresses if one.version == self.address.version)

    async def _exchange_matches(self, target: str, mechanism: Mechanism) -> bool:
        answer = await self._found(target, "MX")
        exchanges = [exchange for _, exchange in sorted(answer.mx) if exchange]
        if len(exchanges) > MOST_NAMES:
            raise _Ends("permerror", f"{target} has more than {MOST_NAMES} MX records")
        for exchange in exchanges:
            if await self._host_matches(exchange, mechanism):
                return True
        return False

    async def _validated_names(self) -> list[str]:
        """Give the client's names that lead back to it (section 5.5), in lower case; none when DNS fails."""
        if self._validated is None:
            self._validated = []
            kind: RecordType = "A" if self.address.version == 4 else "AAAA"
            try:
                names = (await self._found(self.address.reverse_pointer, "PTR")).records[:MOST_NAMES]
            except _Ends as ends:
                if ends.result.result == "permerror":
                    raise
                names = ()
            for name in names:
                try:
                    answer = await self._query(name, kind)
                except (NameNotFound, _Ends):
                    continue
                if self.address in _addresses(answer.records):
                    self._validated.append(name.lower().removesuffix("."))
        return self._validated

    # ---- macros, section 7 ------------------------------------------------------------------------

    async def _expanded(self, text: str, domain: str) -> str:
        validated = await self._name_for_macros(domain) if needs_validated_name(text) else "unknown"
        return shortened(expand(text, lambda letter: self._macro(letter, domain, validated)).removesuffix("."))

    async def _name_for_macros(self, domain: str) -> str:
        names = await self._validated_names()
        domain = domain.lower()
        for fits in (lambda one: one == domain, lambda one: one.endswith("." + domain), lambda one: True):
            for name in names:
                if fits(name):
                    return name
        return "unknown"

    def _macro(self, letter: str, domain: str, validated: str) -> str:
        address = self.address
        six = address.version == 6
        values = {
            "s": f"{self.local}@{self.sender_domain}",
            "l": self.local,
            "o": self.sender_domain,
            "d": domain,
            "i": ".".join(address.exploded.replace(":", "").upper()) if six else str(address),
            "p": validated,
            "v": "ip6" if six else "in-addr",
            "h": self.helo,
            "c": str(address),
            "r": self.receiver,
            "t": str(int(self.now_s)),
        }
        return values[letter]

    async def _explanation(self, text: str, domain: str) -> str:
        """Give the explanation of a fail (section 6.2), or "" where it cannot be had."""
        try:
            answer = await self._query(await self._expanded(text, domain), "TXT")
            if len(answer.records) != 1 or not answer.records[0].isascii():
                return ""
            words = answer.records[0]
            check_explanation(words)
            validated = await self._name_for_macros(domain) if needs_validated_name(words) else "unknown"
        except (NameNotFound, BadRecord, _Ends):
            return ""
        return expand(words, lambda letter: self._macro(letter, domain, validated))


def _addresses(records: Iterable[str]) -> list[Address]:
    found: list[Address] = []
    for record in records:
        with suppress(ValueError):
            found.append(ipaddress.ip_address(record))
    return found


def _is_domain(text: str) -> bool:
    """Say whether there is anything to look up: labels of 1 to 63 characters, two at least (section 4.3)."""
    labels = text.split(".")
    return len(text) <= 253 and len(labels) > 1 and all(0 < len(label) <= 63 for label in labels)

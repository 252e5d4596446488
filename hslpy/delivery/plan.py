"""Which hosts may have a message, in which order. In: DNS answers, addresses, rules. Out: targets or why there are none.

Plain functions only; `targets.py` asks the questions. Source: RFC 5321 section 5.1, RFC 7505 (null MX).
"""

from __future__ import annotations

import fnmatch
import ipaddress
import random
from collections.abc import Mapping, Sequence
from dataclasses import field
from functools import lru_cache

from hslpy.mail.reply import Enhanced
from hslpy.records import dataclass


@dataclass(frozen=True, slots=True)
class Target:
    """One address to be tried. `host` is the name it came from, or the address itself."""

    host: str
    address: str
    port: int


@dataclass(frozen=True, slots=True)
class Problem:
    """Why there is no target. `code` and `enhanced` are what a DSN says; `kind` is `dns` or `policy`."""

    code: int
    enhanced: Enhanced
    text: str
    kind: str = "dns"

    @property
    def temporary(self) -> bool:
        return self.code < 500


@dataclass(frozen=True, slots=True)
class Plan:
    """Targets in the order to try them, or a problem. `skipped` tells of addresses left out, one text each.

    `has_ipv6` says whether a host has an IPv6 address, None where that was not asked, or none has any address.
    """

    targets: tuple[Target, ...] = ()
    problem: Problem | None = None
    skipped: tuple[str, ...] = ()
    has_ipv6: bool | None = None


@dataclass(frozen=True, slots=True)
class OwnListeners:
    """Where we receive, so that mail is not sent round in a circle: the one place that knows.

    `bound` are the sockets' (IP, port) pairs as the system gives them; `local` our addresses, at which a listener on
    all addresses receives. Loopback needs no mention.
    """

    bound: frozenset[tuple[str, int]] = frozenset()
    local: frozenset[str] = frozenset()

    @property
    def on_all_addresses(self) -> bool:
        return any(own in _ALL_ADDRESSES for own, _ in self.bound)

    def hear(self, address: str, port: int) -> bool:
        """Say whether a connection to this address and port would be one to ourselves."""
        ip = parsed_ip(address)
        everywhere = _plain(ip).is_loopback or ip.is_unspecified or address in self.local
        return any(
            port == own_port and (address == own or (own in _ALL_ADDRESSES and everywhere)) for own, own_port in self.bound
        )


@dataclass(frozen=True, slots=True)
class TargetRules:
    """What `refusal` holds addresses against. `families` are those that a source can reach; `closed` says why another is
    not, for a receiver that has no address in them.
    """

    families: tuple[int, ...] = (4, 6)
    closed: Mapping[int, str] = field(default_factory=dict)
    allow_private: bool = False
    own_listeners: OwnListeners = OwnListeners()
    limit: int = 5
    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()


def is_null_mx(mx: Sequence[tuple[int, str]]) -> bool:
    """Say whether the domain states that it takes no mail."""
    return len(mx) == 1 and mx[0][1] in ("", ".")


def order_hosts(mx: Sequence[tuple[int, str]], rng: random.Random) -> tuple[tuple[int, str], ...]:
    """Give the exchanges by preference, those of equal preference in random order; each name once, at its best."""
    shuffled = list(mx)
    rng.shuffle(shuffled)
    best: dict[str, tuple[int, str]] = {}
    for preference, host in sorted(shuffled, key=lambda pair: pair[0]):
        if host not in ("", "."):
            best.setdefault(host.lower(), (preference, host))
    return tuple(best.values())


def wanted_hosts(
    hosts: Sequence[tuple[int, str]], include: Sequence[str], exclude: Sequence[str]
) -> tuple[tuple[int, str], ...]:
    """Give the exchanges that match one of `include` (all where it is empty) and none of `exclude`; `*` and `?` match."""

    def matches(host: str, patterns: Sequence[str]) -> bool:
        return any(fnmatch.fnmatchcase(host.lower(), pattern.lower().rstrip(".")) for pattern in patterns)

    return tuple((p, host) for p, host in hosts if (not include or matches(host, include)) and not matches(host, exclude))


def refusal(address: str, port: int, rules: TargetRules) -> str | None:
    """Say why mail may not go to this address, or None. `self` is the answer where we listen there ourselves."""
    ip = parsed_ip(address)
    if rules.own_listeners.hear(address, port):
        return "self"
    if not rules.allow_private and not _is_public(ip):
        return "private"
    return None


@lru_cache(maxsize=4096)
def literal_address(domain: str) -> str | None:
    """Give the address of an address literal (`[192.0.2.1]`, `[IPv6:2001:db8::1]`) or of a bare IP, else None."""
    text = domain[1:-1] if domain.startswith("[") and domain.endswith("]") else domain
    if text[:5].lower() == "ipv6:":
        text = text[5:]
    try:
        return str(ipaddress.ip_address(text))
    except ValueError:
        return None


parsed_ip = lru_cache(maxsize=4096)(ipaddress.ip_address)


def _is_public(ip: ipaddress.IPv4Address | ipaddress.IPv6Address) -> bool:
    ip = _plain(ip)
    return ip.is_global and not ip.is_multicast and not ip.is_reserved


def _plain(ip: ipaddress.IPv4Address | ipaddress.IPv6Address) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    """Give the IPv4 address that an IPv6 one stands for, where it does: mapped, 6to4, or NAT64 (RFC 6052)."""
    if isinstance(ip, ipaddress.IPv4Address):
        return ip
    if ip in _NAT64:
        return ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF)
    return ip.ipv4_mapped or ip.sixtofour or ip


_ALL_ADDRESSES = ("0.0.0.0", "::")
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")

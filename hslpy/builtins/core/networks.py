"""IP addresses and domain names as text. In: strings. Out: booleans, strings, or none for what is malformed."""

from __future__ import annotations

import ipaddress
import socket
from functools import lru_cache

from hslpy.builtins.core.arguments import as_bytes, as_text
from hslpy.builtins.core.strings import lower
from hslpy.lang.declare import Effect, Topic

TOPIC = Topic("networks")

_LONGEST = 100  # characters of two addresses and a dash


def _address(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    if len(text) > _LONGEST or "%" in text or not text.isascii():
        return None
    try:
        return ipaddress.ip_address(text)
    except ValueError:
        return None


@lru_cache(maxsize=1024)
def _range(network: str) -> tuple[int, int, int] | None:
    """Give (version, lowest, highest) of an address, `address/bits` or `address-address`."""
    if len(network) > _LONGEST:
        return None
    first, dash, last = network.partition("-")
    if dash:
        low, high = _address(first.strip(" ")), _address(last.strip(" "))
        if low is None or high is None or low.version != high.version:
            return None
        return low.version, int(low), int(high)
    base, slash, bits = network.partition("/")
    address = _address(base)
    if address is None or (slash and not (bits.isascii() and bits.isdigit() and len(bits) <= 3)):
        return None
    length = int(bits) if slash else address.max_prefixlen
    if length > address.max_prefixlen:
        return None
    span = 1 << (address.max_prefixlen - length)
    low_number = int(address) // span * span
    return address.version, low_number, low_number + span - 1


def _includes(ip: str, network: str) -> bool | None:
    address, wanted = _address(ip), _range(network)
    if address is None or wanted is None:
        return None
    return address.version == wanted[0] and wanted[1] <= int(address) <= wanted[2]


@TOPIC.builtin(
    "inet_includes(ip: string, network: string) -> boolean | none",
    effect=Effect.PURE,
    examples=[
        'inet_includes("127.0.0.1", "127.0.0.0/8")  // true',
        'inet_includes("10.0.0.9", "10.0.0.1-10.0.0.8")  // false',
        'inet_includes("2001:db8::1", "2001:db8::/32")  // true',
        'inet_includes("nonsense", "::/0")  // none',
    ],
)
def inet_includes(ip: str, network: str) -> bool | None:
    """Say whether an address lies in a network (`address/bits`), in a range (`first-last`) or equals an address."""
    return _includes(ip, network)


@TOPIC.builtin(
    "in_network(ip: string, network: string) -> boolean",
    effect=Effect.PURE,
    examples=['in_network("127.0.0.1", "127.0.0.1/8")  // true'],
    deprecated="use inet_includes()",
)
def in_network(ip: str, network: str) -> bool:
    """Say whether an address lies in a network or range; false for what is no address."""
    return bool(_includes(ip, network))


@TOPIC.builtin(
    "inet_pton(ip: string) -> string | none",
    effect=Effect.PURE,
    examples=['length(inet_pton("10.0.0.1"))  // 4', 'inet_pton("nonsense")  // none'],
)
def inet_pton(ip: str) -> str | None:
    """Give an address as 4 or 16 bytes."""
    address = _address(ip)
    return None if address is None else as_text(address.packed)


@TOPIC.builtin(
    "inet_ntop(ip: string) -> string | none",
    effect=Effect.PURE,
    examples=['inet_ntop("\\x0a\\x00\\x00\\x01")  // "10.0.0.1"'],
)
def inet_ntop(ip: str) -> str | None:
    """Give 4 or 16 bytes as the text of an address."""
    if len(ip) == 4:
        return socket.inet_ntop(socket.AF_INET, as_bytes(ip))
    return socket.inet_ntop(socket.AF_INET6, as_bytes(ip)) if len(ip) == 16 else None


@TOPIC.builtin(
    "inet_reverse(ip: string, [zone: string]) -> string | none",
    effect=Effect.PURE,
    examples=[
        'inet_reverse("12.34.56.78")  // "78.56.34.12.in-addr.arpa"',
        'inet_reverse("12.34.56.78", "dnsbl.example.com")  // "78.56.34.12.dnsbl.example.com"',
    ],
)
def inet_reverse(ip: str, zone: str | None = None) -> str | None:
    """Give the name under which DNS keeps an address, in the ARPA zone of its family or in `zone`."""
    address = _address(ip)
    if address is None:
        return None
    pointer = address.reverse_pointer
    return pointer if zone is None else pointer.rsplit(".", 2)[0] + "." + zone


def _within(subdomain: str, domain: str) -> bool:
    name, wanted = lower(subdomain), lower(domain)
    if wanted.startswith("."):
        return name.endswith(wanted) and len(name) > len(wanted)
    return name == wanted or name.endswith("." + wanted)


@TOPIC.builtin(
    "domain_includes(subdomain: string, domain: string) -> boolean",
    effect=Effect.PURE,
    examples=[
        'domain_includes("www.example.org", "example.org")  // true',
        'domain_includes("example.org", "example.org")  // true',
        'domain_includes("example.org", ".example.org")  // false',
    ],
)
def domain_includes(subdomain: str, domain: str) -> bool:
    """Say whether a name equals `domain` or lies below it; with a leading dot it must lie below. Case is ignored."""
    return _within(subdomain, domain)


@TOPIC.builtin(
    "is_subdomain(d: string, domain: string) -> boolean",
    effect=Effect.PURE,
    examples=['is_subdomain("www.example.org", ".example.org")  // true'],
    deprecated="use domain_includes()",
)
def is_subdomain(d: str, domain: str) -> bool:
    """Say whether a name equals `domain` or lies below it; with a leading dot it must lie below. Case is ignored."""
    return _within(d, domain)

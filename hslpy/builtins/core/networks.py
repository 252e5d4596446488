"""IP addresses and domain names as text. In: strings. Out: booleans, strings, or none for what is malformed."""

from __future__ import annotations

import ipaddress
import socket
from functools import lru_cache

from hslpy.builtins.core.arguments import as_bytes, as_text, read_options
from hslpy.builtins.core.strings import lower
from hslpy.lang.declare import Effect, Topic
from hslpy.lang.values import Array

TOPIC = Topic("networks")

_LONGEST = 100  # characters of two addresses and a dash


def _packed(text: str) -> bytes | None:
    """Give the 4 or 16 bytes of an address."""
    if len(text) > _LONGEST or not text.isascii() or "\0" in text:
        return None
    try:
        return socket.inet_pton(socket.AF_INET6 if ":" in text else socket.AF_INET, text)
    except OSError:
        return None


@lru_cache(maxsize=1024)
def _range(network: str) -> tuple[bytes, bytes] | None:
    """Give the lowest and the highest address of an address, `address/bits` or `address-address`."""
    first, dash, last = network.partition("-")
    if dash:
        low, high = _packed(first.strip(" ")), _packed(last.strip(" "))
        return None if low is None or high is None or len(low) != len(high) else (low, high)
    base, slash, bits = network.partition("/")
    address = _packed(base)
    if address is None or not slash:
        return None if address is None else (address, address)
    size = 8 * len(address)
    if not (bits.isascii() and bits.isdigit() and len(bits) <= 3) or int(bits) > size:
        return None
    span = (1 << (size - int(bits))) - 1
    number = int.from_bytes(address, "big") & ~span
    return number.to_bytes(len(address), "big"), (number | span).to_bytes(len(address), "big")


def _includes(ip: str, network: str) -> bool | None:
    address, wanted = _packed(ip), None if len(network) > _LONGEST else _range(network)
    if address is None or wanted is None:
        return None
    return len(address) == len(wanted[0]) and wanted[0] <= address <= wanted[1]


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
    address = _packed(ip)
    return None if address is None else as_text(address)


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
    address = _packed(ip)
    if address is None:
        return None
    pointer = ipaddress.ip_address(address).reverse_pointer
    return pointer if zone is None else pointer.rsplit(".", 2)[0] + "." + zone


def _within(subdomain: str, domain: str) -> bool:
    name, wanted = lower(subdomain), lower(domain)
    if wanted.startswith("."):
        return name.endswith(wanted) and len(name) > len(wanted)
    return name == wanted or name.endswith("." + wanted)


@TOPIC.builtin(
    "domain_includes(subdomain: string, domain: string, [options: array]) -> boolean",
    effect=Effect.PURE,
    examples=[
        'domain_includes("www.example.org", "example.org")  // true',
        'domain_includes("example.org", "example.org")  // true',
        'domain_includes("example.org", ".example.org")  // false',
    ],
)
def domain_includes(subdomain: str, domain: str, options: Array | None = None) -> bool:
    """Say whether a name equals `domain` or lies below it; with a leading dot it must lie below. Case is ignored.

    There are no options here so far: an empty array only.
    """
    read_options("domain_includes", options, {})
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

"""Addresses and HELO names as operators write them. In: text. Out: the canonical form, or what is wrong with it.

No store, no DNS. Source: sections A2.4, A3 and A4 of the specification of delivery IPs; RFC 5321 section 4.1.2.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager

import idna

from hslpy.egress.rules.book import PRIMARY_IPV4, PRIMARY_IPV6

MOST_ADDRESSES = 64  # in one setting
_LABEL = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\Z").match
_V6_SHARED = ipaddress.ip_network("fc00::/7")


class Refused(Exception):
    """What an operator asked for cannot be; `status` is that of an HTTP reply. The text is for people.

    `field` names what of several things is at fault, where that is known. `hint`: what to try, of the API and by commands.
    """

    field = ""

    def __init__(self, message: str, status: int = 400, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.status = status
        self.hint = hint


class NotFound(Refused):
    """There is no such thing."""

    def __init__(self, message: str) -> None:
        super().__init__(message, 404)


@contextmanager
def about(field: str) -> Iterator[None]:
    """Say of what is refused meanwhile which field is at fault."""
    try:
        yield
    except Refused as refused:
        refused.field = refused.field or field
        raise


def canonical_address(text: str) -> str:
    """Give an IP address in canonical form. Raises Refused for text that is none, a network or one with a zone."""
    text = text.strip()
    try:
        if "%" in text:
            raise ValueError
        return str(ipaddress.ip_address(text))
    except ValueError:
        raise Refused(f"'{text}' is not an IP address") from None


def address_of_host(text: str) -> str:
    """Give an address that a server may have, loopback and link-local ones too, in canonical form. Raises Refused."""
    address = canonical_address(text)
    fault = fault_of_source(address)
    if fault in ("unspecified", "multicast", "broadcast", "IPv4-mapped"):
        raise Refused(f"'{shown_address(address)}' cannot be used as a source address ({fault})")
    return address


def fault_of_source(address: str) -> str | None:
    """Say why mail can never leave from an address, None where it might: for one in canonical form."""
    ip = ipaddress.ip_address(address)
    if isinstance(ip, ipaddress.IPv6Address) and ip.ipv4_mapped is not None:
        return "IPv4-mapped"
    for name in ("multicast", "loopback", "link_local", "unspecified"):
        if getattr(ip, f"is_{name}"):
            return name.replace("_", "-")
    if address == "255.255.255.255":
        return "broadcast"
    return "reserved" if ip.version == 4 and ip.is_reserved else None


def fault_of_server_name(name: str, servers: Iterable[str]) -> str:
    """Say why a name cannot be that of another address than a server's primary one, "" where it can. Source: P12."""
    for server in servers:
        if name == server:
            return f"'{name}' is the name of a server. Use another name."
        if name.endswith(f".{server}"):
            return f"'{name}' lies below the server name {server}. Use another name."
    return ""


def is_private(address: str) -> bool:
    """Say whether an address is of a network that has to be translated to reach the internet."""
    ip = ipaddress.ip_address(address)
    if isinstance(ip, ipaddress.IPv6Address):
        return ip in _V6_SHARED
    private = ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10")
    return any(ip in ipaddress.ip_network(network) for network in private)


def read_interfaces(text: str, *, allow_loopback: bool = False) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Give the IPv4 and the IPv6 addresses of a list with `;` between, in order, each once.

    `0.0.0.0` and `::0` stand for the primary address, alone in their family. Empty text and `default` give none.
    Raises Refused that names what cannot be.
    """
    if text.strip().lower() == "default":
        return (), ()
    items = list(dict.fromkeys(part.strip() for part in text.split(";") if part.strip()))
    if len(items) > MOST_ADDRESSES:
        raise Refused(f"{len(items)} addresses are more than {MOST_ADDRESSES}")
    ipv4: dict[str, None] = {}
    ipv6: dict[str, None] = {}
    for item in items:
        address = canonical_address(item)
        if address == "::":
            ipv6[PRIMARY_IPV6] = None
            continue
        fault = fault_of_source(address) if address != PRIMARY_IPV4 else None
        if fault is not None and not (allow_loopback and fault == "loopback"):
            hint = "for trying things out, `delivery.allow_private_targets` allows it" if fault == "loopback" else ""
            raise Refused(f"'{item}' cannot be used as a source address ({fault})", hint=hint)
        (ipv6 if ":" in address else ipv4)[address] = None
    for addresses, primary in ((ipv4, PRIMARY_IPV4), (ipv6, PRIMARY_IPV6)):
        if primary in addresses and len(addresses) > 1:
            raise Refused(f"'{text}' mixes primary and explicit addresses: give {primary} or others, not both")
    return tuple(ipv4), tuple(ipv6)


def shown_address(address: str) -> str:
    """Give an address as the API prints it: `::0`, never `::`."""
    return PRIMARY_IPV6 if address == "::" else address


def helo_name(text: str) -> tuple[str, Sequence[str]]:
    """Give a HELO name as it is kept, and warnings. Raises Refused. Source: RFC 5321 section 4.1.2; A4."""
    if not text.isprintable():
        raise Refused("a HELO name has no control characters")
    name = text.strip()
    if name.startswith("[") and name.endswith("]"):
        literal = name[1:-1].removeprefix("IPv6:")
        canonical_address(literal)
        return name, ["receivers trust a HELO that is an address less than a name"]
    warnings: list[str] = []
    if not name.isascii():
        try:
            name = idna.encode(name, uts46=True).decode("ascii")
        except idna.IDNAError:
            raise Refused(f"'{text}' is not a valid HELO name (RFC 5321 section 4.1.2)") from None
        warnings.append(f"written as {name}")
    name = name.lower().removesuffix(".")
    fault = fault_of_host(name)
    if fault is not None:
        raise Refused(f"'{text.strip()}' is not a valid HELO name: {fault} (RFC 5321 section 4.1.2)")
    return name, warnings


def fault_of_host(name: str, *, fewest_labels: int = 2) -> str | None:
    """Say what is wrong with a fully qualified host name, None for one that is right."""
    labels = name.lower().split(".")
    if "_" in name:
        return "underscore is not allowed"
    if len(name) > 253:
        return "longer than 253 characters"
    if len(labels) < fewest_labels:
        return "a name of the host and its domain is wanted"
    if not all(_LABEL(label) for label in labels):
        return "labels have letters, digits and hyphens between them, 63 at most"
    return "the last label cannot be a number" if labels[-1].isdigit() else None


def domain_name(text: str) -> str:
    """Give a domain as it is kept: lower-case A-labels. Raises Refused."""
    name = text.strip().removesuffix(".")
    if not name.isascii():
        try:
            name = idna.encode(name, uts46=True).decode("ascii")
        except idna.IDNAError:
            raise Refused(f"'{text.strip()}' is not a domain name") from None
    name = name.lower()
    if fault_of_host(name.replace("_", "x")) is not None:
        raise Refused(f"'{text.strip()}' is not a domain name")
    return name

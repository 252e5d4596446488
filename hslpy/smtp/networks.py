"""Where clients are. In: IP addresses and networks as text. Out: whether one is in the other, and the network around one."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable

from hslpy.errors import OperatorError

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


def networks(setting: str, texts: Iterable[str]) -> tuple[Network, ...]:
    """Give the networks of a setting. Raises OperatorError."""
    try:
        return tuple(ipaddress.ip_network(text, strict=False) for text in texts)
    except ValueError as error:
        raise OperatorError(f"{setting}: {error}", hint="write networks as in 192.0.2.0/24") from error


def plain_ip(text: str) -> str:
    """Give the address without a zone, and as IPv4 where it is one mapped into IPv6."""
    text = text.partition("%")[0]
    if text[:7].lower() == "::ffff:" and "." in text:
        return text[7:]
    return text


def is_inside(ip: str, those: tuple[Network, ...]) -> bool:
    """Say whether `ip` is in one of the networks; an address that is none is in no network."""
    try:
        address = ipaddress.ip_address(ip)
    except ValueError:
        return False
    return any(address in network for network in those)


def client_of(ip: str) -> str:
    """Give what counts as one client: an IPv4 address, or the /64 of an IPv6 one, as a host has all of that."""
    return network_of(ip, 32, 64) if ":" in ip else ip


def network_of(ip: str, ipv4_bits: int, ipv6_bits: int) -> str:
    """Give the network around an address, of so many bits; an address that is none stands for itself."""
    try:
        address = ipaddress.ip_address(ip)
    except ValueError:
        return ip
    bits = ipv4_bits if address.version == 4 else ipv6_bits
    return str(ipaddress.ip_network((address, bits), strict=False))

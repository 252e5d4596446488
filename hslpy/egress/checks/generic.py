"""Host names that providers make out of an address. In: a name, an address. Out: whether it looks like one."""

from __future__ import annotations

import ipaddress
import re

_WORDS = re.compile(
    r"(?:^|[-.\d])(?:dyn|dynamic|dynip|dhcp|dial|dialup|dsl|adsl|vdsl|xdsl|ppp|pppoe|pool|pools|cable|broadband|generic|"
    r"unassigned|unused|static-?ip|ip-?static|customers?-?ip|reverse-?dns|no-?ptr|clients?\d*-ip|compute)(?:[-.\d]|$)"
)
_PROVIDERS = ("amazonaws.com", "bc.googleusercontent.com", "cloudapp.azure.com", "cloudapp.net")


def looks_generic(name: str, address: str) -> bool:
    """Say whether a name has the address in it, a provider's word for such names, or is of a cloud's own.

    The address: its parts in either order with or without something between, padded with zeros, as one number or in hex.
    """
    name = name.lower()
    if _WORDS.search(name) or any(name == one or name.endswith("." + one) for one in _PROVIDERS):
        return True
    ip = ipaddress.ip_address(address)
    return _has_ipv4(name, ip) if isinstance(ip, ipaddress.IPv4Address) else _has_ipv6(name, ip)


def _has_ipv4(name: str, ip: ipaddress.IPv4Address) -> bool:
    parts = str(ip).split(".")
    for order in (parts, parts[::-1]):
        if re.search(r"(?<!\d)" + r"[^a-z\d]0*".join(["0*" + order[0], *order[1:]]) + r"(?!\d)", name):
            return True
        if re.search(r"(?<!\d)" + "".join(f"{int(one):03d}" for one in order) + r"(?!\d)", name):
            return True
    hexes = ip.packed.hex()
    return re.search(rf"(?<![\da-f])(?:0x)?{hexes}(?![\da-f])", name) is not None or str(int(ip)) in re.findall(r"\d+", name)


def _has_ipv6(name: str, ip: ipaddress.IPv6Address) -> bool:
    nibbles = ip.packed.hex()
    dense = re.sub(r"[^\da-f]", "", name)
    host = nibbles[16:]
    if nibbles in dense or nibbles[::-1] in dense or (host.strip("0") and len(host.lstrip("0")) > 8 and host in dense):
        return True
    short = str(ip).replace(":", "-")
    return re.search(rf"(?<![\da-f]){re.escape(short)}(?![\da-f])", name) is not None

"""The addresses of this machine, as its kernel tells them. In: nothing. Out: a `Report`.

What an address may be used for is decided elsewhere. Source: C4, P03 and P04 of the specification of delivery IPs.
"""

from __future__ import annotations

import errno
import os
import socket
import struct
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing
from dataclasses import field
from pathlib import Path

from hslpy.egress.rules.book import PRIMARY, Family
from hslpy.egress.rules.names import fault_of_source
from hslpy.egress.rules.sources import family_of
from hslpy.records import record

ROUTED = "routed"
UNBINDABLE = "unbindable"
UNUSABLE = ("tentative", "dadfailed", "deprecated", UNBINDABLE)
"""Flags with which mail cannot leave from an address. Source: C4."""
NO_PRIMARY = frozenset({*UNUSABLE, ROUTED, "temporary"})
"""Flags of an address that is not chosen as the primary while there is another."""

_FLAGS = {0x01: "temporary", 0x08: "dadfailed", 0x20: "deprecated", 0x40: "tentative"}  # linux/if_addr.h, of IPv6
_FAMILIES: Mapping[int, Family] = {socket.AF_INET: 4, socket.AF_INET6: 6}
_SOCKET_FAMILY = {family: number for number, family in _FAMILIES.items()}
_INTERNET: Mapping[Family, str] = {4: "198.41.0.4", 6: "2001:503:ba3e::2:30"}  # a.root-servers.net; nothing is sent to it
_IPV6_ADDR_PREFERENCES, _PREFER_PUBLIC = 72, 0x0002  # RFC 5014, linux/in6.h
_HEADER = struct.Struct("=LHHLL")  # struct nlmsghdr
_ADDRESS = struct.Struct("=BBBBL")  # struct ifaddrmsg
_ATTRIBUTE = struct.Struct("=HH")  # struct rtattr
_RTM_GETADDR, _RTM_NEWADDR, _DONE, _ERROR, _REQUEST_DUMP = 22, 20, 3, 2, 0x301
_IFA_ADDRESS, _IFA_LOCAL, _IFA_FLAGS = 1, 2, 8
_WAIT_S = 5.0


@record
class LocalAddress:
    """An address of this machine. `flags`: the kernel's of IPv6, and `unbindable` where the bind test failed, `routed`
    where no interface has it but the kernel takes it for its own.
    """

    address: str
    interface: str
    flags: tuple[str, ...] = ()


@record
class Report:
    """What a node says of itself. `primary` has the families that it has addresses of; `nonlocal_bind` those in which its
    kernel lets anybody bind to any address, so that the bind test proves nothing.
    """

    node: str
    addresses: tuple[LocalAddress, ...]
    primary: Mapping[Family, str] = field(default_factory=dict)
    nonlocal_bind: tuple[Family, ...] = ()


def survey(
    node: str, *, primary: Mapping[Family, str] | None = None, also: Iterable[str] = (), allow_loopback: bool = False
) -> Report:
    """Look at this machine. `primary` is what is set for it; `also` has addresses that interfaces need not list.

    An address that the kernel takes for its own by a route alone (`ip route add local …`) is found where `also` has it.
    Raises OSError where the kernel does not answer.
    """
    anything = nonlocal_bind()
    found: dict[str, LocalAddress] = {}
    for one in interface_addresses():
        if _is_candidate(one.address, allow_loopback):
            flags = one.flags if bind_fault(one.address) is None else (*one.flags, UNBINDABLE)
            found.setdefault(one.address, LocalAddress(one.address, one.interface, flags))
    for address in also:
        known = address in found or not _is_candidate(address, allow_loopback) or family_of(address) in anything
        if not known and bind_fault(address) is None:
            found[address] = LocalAddress(address, "", (ROUTED,))
    chosen = {family: (primary or {}).get(family) or _primary(family, found.values()) for family in PRIMARY}
    return Report(node, tuple(found.values()), {family: one for family, one in chosen.items() if one}, anything)


def interface_addresses() -> Iterator[LocalAddress]:
    """Give each address of each interface, as netlink dumps them. Raises OSError. Source: rtnetlink(7)."""
    with closing(socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE)) as netlink:
        netlink.settimeout(_WAIT_S)
        size = _HEADER.size + _ADDRESS.size
        netlink.send(_HEADER.pack(size, _RTM_GETADDR, _REQUEST_DUMP, 1, 0) + _ADDRESS.pack(socket.AF_UNSPEC, 0, 0, 0, 0))
        while True:
            data = netlink.recv(1 << 18)
            while len(data) >= _HEADER.size:
                length, kind = _HEADER.unpack_from(data)[:2]
                if kind == _DONE:
                    return
                if kind == _ERROR:
                    code = -int.from_bytes(data[_HEADER.size : _HEADER.size + 4], "little", signed=True)
                    raise OSError(code, os.strerror(code))
                if kind == _RTM_NEWADDR:
                    yield from _read_address(data[_HEADER.size : length])
                data = data[_aligned(length) :]


def _read_address(message: bytes) -> Iterator[LocalAddress]:
    family, _, flags, _, index = _ADDRESS.unpack_from(message)
    if family not in _FAMILIES:
        return
    attributes: dict[int, bytes] = {}
    at = _ADDRESS.size
    while at + _ATTRIBUTE.size <= len(message):
        length, kind = _ATTRIBUTE.unpack_from(message, at)
        attributes[kind] = message[at + _ATTRIBUTE.size : at + length]
        at += max(_aligned(length), _ATTRIBUTE.size)
    raw = attributes.get(_IFA_LOCAL) or attributes[_IFA_ADDRESS]  # of a tunnel, IFA_ADDRESS is the other end
    if _IFA_FLAGS in attributes:
        (flags,) = struct.unpack("=L", attributes[_IFA_FLAGS])
    names = tuple(name for bit, name in _FLAGS.items() if flags & bit) if family == socket.AF_INET6 else ()
    try:
        interface = socket.if_indextoname(index)
    except OSError:  # it went away meanwhile
        return
    yield LocalAddress(socket.inet_ntop(family, raw), interface, names)


def _aligned(length: int) -> int:
    return (length + 3) & ~3


def bind_fault(address: str) -> str | None:
    """Say why this machine cannot send from an address, None where it can: it binds to it, without IP_FREEBIND."""
    try:
        with socket.socket(_SOCKET_FAMILY[family_of(address)], socket.SOCK_STREAM) as probe:
            probe.bind((address, 0))
    except OSError as error:
        if error.errno == errno.EADDRNOTAVAIL:
            return "it is not on this machine"
        return os.strerror(error.errno or 0).lower()
    return None


def nonlocal_bind(settings: Path = Path("/proc/sys/net")) -> tuple[Family, ...]:
    """Give the families in which a bind to any address works (`ip_nonlocal_bind`), which makes a bind test prove nothing."""

    def is_on(family: Family) -> bool:
        try:
            return (settings / f"ipv{family}" / "ip_nonlocal_bind").read_text().strip() != "0"
        except OSError:
            return False

    return tuple(family for family in PRIMARY if is_on(family))


def _primary(family: Family, found: Iterable[LocalAddress]) -> str:
    """Give the address that the kernel takes towards the internet; without a way there, the first that can be used."""
    lasting = sorted(found, key=lambda one: "temporary" in one.flags)
    unfit = {*UNUSABLE, ROUTED}
    usable = [one.address for one in lasting if family_of(one.address) == family and not unfit.intersection(one.flags)]
    try:
        with socket.socket(_SOCKET_FAMILY[family], socket.SOCK_DGRAM) as probe:
            if family == 6:
                probe.setsockopt(socket.IPPROTO_IPV6, _IPV6_ADDR_PREFERENCES, _PREFER_PUBLIC)
            probe.connect((_INTERNET[family], 25))
            address = str(probe.getsockname()[0])
    except OSError:
        address = ""
    return address if address in usable else next(iter(usable), "")


def _is_candidate(address: str, allow_loopback: bool) -> bool:
    fault = fault_of_source(address)
    return fault is None or (allow_loopback and fault == "loopback")

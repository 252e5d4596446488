"""Failed sign-ins, counted by client, by name, and by both. In: who failed and when. Out: how long they have to wait.

The wait doubles with each failure: a person who mistypes hardly notices, who guesses stands still. A name's count keeps
nobody out from where it has signed in before: otherwise anybody could lock anybody out. Must not know passwords.
"""

from __future__ import annotations

import asyncio
import ipaddress
from collections import OrderedDict
from typing import Literal

Kind = Literal["client", "name", "both"]
FREE: dict[Kind, int] = {"client": 20, "name": 20, "both": 5}
"""So many failures have no wait."""
FIRST_S = 4.0
LONGEST_S = 900.0
FORGET_S = 3600.0  # after the last failure
_MOST = 20_000  # kept, of each kind: the oldest go

Key = tuple[Kind, str, str]


class SignIns:
    """What is known of sign-ins, for as long as the process lives. Times are seconds of one clock."""

    def __init__(self) -> None:
        self._failed: OrderedDict[Key, tuple[int, float]] = OrderedDict()
        self._known: OrderedDict[tuple[str, str], None] = OrderedDict()
        self._locks: OrderedDict[str, asyncio.Lock] = OrderedDict()

    def wait_s(self, now: float, client: str, name: str) -> float:
        """Give for how many seconds a sign-in of this name from this address is not heard; 0: it is."""
        client, name = _network(client), _same(name)
        is_known = (client, name) in self._known
        return max(self._wait_s(now, key) for key in _keys(client, name) if not (is_known and key[0] == "name"))

    def failed(self, now: float, client: str, name: str) -> None:
        for key in _keys(_network(client), _same(name)):
            count, last = self._failed.pop(key, (0, now))
            self._failed[key] = (count + 1 if now - last < FORGET_S else 1, now)
        while len(self._failed) > 3 * _MOST:
            self._failed.popitem(last=False)

    def succeeded(self, client: str, name: str) -> None:
        """Forget the failures of this name from there, and remember that it signs in from there."""
        client, name = _network(client), _same(name)
        mistyped, _ = self._failed.pop(("both", client, name), (0, 0.0))
        for key in _keys(client, name)[:2]:
            count, last = self._failed.pop(key, (0, 0.0))
            if count > mistyped:
                self._failed[key] = (count - mistyped, last)
        self._known.pop((client, name), None)
        self._known[client, name] = None
        while len(self._known) > _MOST:
            self._known.popitem(last=False)

    def turn(self, client: str) -> asyncio.Lock:
        """Give what lets one client try one password at a time: many at once would all be heard before the first fails."""
        network = _network(client)
        lock = self._locks.pop(network, None) or asyncio.Lock()
        self._locks[network] = lock
        while len(self._locks) > _MOST:
            self._locks.popitem(last=False)
        return lock

    def _wait_s(self, now: float, key: Key) -> float:
        count, last = self._failed.get(key, (0, now))
        over = count - FREE[key[0]]
        if over < 0 or now - last >= FORGET_S:
            return 0.0
        return max(0.0, last + min(FIRST_S * 2.0 ** min(over, 20), LONGEST_S) - now)


def _keys(client: str, name: str) -> tuple[Key, ...]:
    return ("client", client, ""), ("name", "", name), ("both", client, name)


def _network(client: str) -> str:
    """Give what one client can change its address within: all of an IPv6 /64."""
    try:
        address = ipaddress.ip_address(client)
    except ValueError:
        return client
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is None:
        return str(ipaddress.ip_network((address, 64), strict=False))
    return str(getattr(address, "ipv4_mapped", None) or address)


def _same(name: str) -> str:
    return " ".join(name.casefold().split())[:64]

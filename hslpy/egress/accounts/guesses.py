"""Failed sign-ins, counted by client, by name, and by both. In: who failed and when. Out: how long they have to wait.

The wait doubles with each failure: a person who mistypes hardly notices, who guesses stands still. A name's count keeps
nobody out from where it has signed in before: otherwise anybody could lock anybody out. They are kept in the database, so
that a restart or another node gives no fresh tries. Must not know passwords.
"""

from __future__ import annotations

import ipaddress
from collections import OrderedDict
from collections.abc import Callable
from typing import Literal

from sqlalchemy import ColumnElement, and_, delete, or_, select, tuple_
from sqlalchemy.orm import Session

from hslpy.egress.store.database import Database
from hslpy.egress.store.tables import SignIn

Kind = Literal["client", "name", "both"]
FREE: dict[Kind, int] = {"client": 20, "name": 20, "both": 5}
"""So many failures have no wait."""
FIRST_S = 4.0
LONGEST_S = 900.0
FORGET_S = 3600.0  # after the last failure
KNOWN_S = 180 * 86400.0  # after the last success
_FRESH_S = 86400.0  # so that signing in again and again, as programs do, does not write all the time
_MOST = 20_000  # of each kind, in memory and in the database: the oldest go

Key = tuple[Kind, str, str]


class Guesses:
    """What is known of sign-ins. Times are Unix seconds, or those of another clock."""

    def __init__(self) -> None:
        self.failures: OrderedDict[Key, tuple[int, float]] = OrderedDict()
        self.known: OrderedDict[tuple[str, str], float] = OrderedDict()

    def wait_s(self, now: float, client: str, name: str) -> float:
        """Give for how many seconds a sign-in of this name from this address is not heard; 0: it is."""
        client, name = network_of(client), _same(name)
        is_known = (client, name) in self.known
        return max(self._wait_s(now, key) for key in _keys(client, name) if not (is_known and key[0] == "name"))

    def failed(self, now: float, client: str, name: str) -> None:
        for key in _keys(network_of(client), _same(name)):
            count, last = self.failures.pop(key, (0, now))
            self.failures[key] = (count + 1 if now - last < FORGET_S else 1, now)
        while len(self.failures) > 3 * _MOST:
            self.failures.popitem(last=False)

    def succeeded(self, now: float, client: str, name: str) -> None:
        """Forget the failures of this name from there, and remember that it signs in from there."""
        client, name = network_of(client), _same(name)
        mistyped, _ = self.failures.pop(("both", client, name), (0, 0.0))
        for key in _keys(client, name)[:2]:
            count, last = self.failures.pop(key, (0, 0.0))
            if count > mistyped:
                self.failures[key] = (count - mistyped, last)
        self.known.pop((client, name), None)
        self.known[client, name] = now
        while len(self.known) > _MOST:
            self.known.popitem(last=False)

    def _wait_s(self, now: float, key: Key) -> float:
        count, last = self.failures.get(key, (0, now))
        over = count - FREE[key[0]]
        if over < 0 or now - last >= FORGET_S:
            return 0.0
        return max(0.0, min(last, now) + min(FIRST_S * 2.0 ** min(over, 20), LONGEST_S) - now)  # a clock may be set back


def read(database: Database, client: str, name: str) -> Guesses:
    """Give what the database has of a name and a client. Raises DatabaseFault."""
    with database.read() as session:
        return _load(session, client, name)


def note_failed(database: Database, client: str, name: str) -> None:
    """Keep that a sign-in failed. Raises DatabaseFault."""
    _change(database, client, name, lambda guesses, now: guesses.failed(now, client, name))


def note_succeeded(database: Database, now: float, client: str, name: str) -> None:
    """Keep that a sign-in succeeded, where that is news. Raises DatabaseFault."""
    before, who = read(database, client, name), (network_of(client), _same(name))
    if ("both", *who) in before.failures or now - before.known.get(who, 0.0) > _FRESH_S:
        _change(database, client, name, lambda guesses, now: guesses.succeeded(now, client, name))


def _change(database: Database, client: str, name: str, change: Callable[[Guesses, float], None]) -> None:
    with database.keep() as session:
        guesses = _load(session, client, name)
        change(guesses, session.now)
        found = network_of(client), _same(name)
        old = and_(SignIn.kind != "known", SignIn.at < session.now - FORGET_S)
        session.execute(delete(SignIn).where(or_(_is_of(*found), old, SignIn.at < session.now - KNOWN_S)))
        for (kind, of, named), (failures, at) in guesses.failures.items():
            session.add(SignIn(kind=kind, client=of, name=named, failures=failures, at=at))
        for (of, named), at in guesses.known.items():
            session.add(SignIn(kind="known", client=of, name=named, failures=0, at=at))
        session.flush()
        failed = SignIn.kind != "known"
        surplus = select(SignIn.at).where(failed).order_by(SignIn.at.desc()).offset(3 * _MOST).limit(1)
        if (oldest := session.scalar(surplus)) is not None:  # guesses from ever new networks do not fill the disk
            session.execute(delete(SignIn).where(failed, SignIn.at <= oldest))


def _load(session: Session, client: str, name: str) -> Guesses:
    found = Guesses()
    for row in session.scalars(select(SignIn).where(_is_of(network_of(client), _same(name)))):
        if row.kind == "known":
            found.known[row.client, row.name] = row.at
        else:
            found.failures[row.kind, row.client, row.name] = (row.failures, row.at)  # type: ignore[index]
        session.expunge(row)
    return found


def _is_of(client: str, name: str) -> ColumnElement[bool]:
    return tuple_(SignIn.kind, SignIn.client, SignIn.name).in_([*_keys(client, name), ("known", client, name)])


def _keys(client: str, name: str) -> tuple[Key, ...]:
    return ("client", client, ""), ("name", "", name), ("both", client, name)


def network_of(client: str) -> str:
    """Give what one client can change its address within: all of an IPv6 /64."""
    try:
        address = ipaddress.ip_address(client)
    except ValueError:
        return client[:64]
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is None:
        return str(ipaddress.ip_network((address, 64), strict=False))
    return str(getattr(address, "ipv4_mapped", None) or address)


def _same(name: str) -> str:
    return " ".join(name.casefold().split())[:64]

"""Guesses at passwords, slowed down: by what the database has of them, and while it takes nothing by what this process saw.

In: who signs in, and what came of it. Out: how long they have to wait. The rules are `accounts/guesses.py`'s.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import OrderedDict

from hslpy.egress.accounts import guesses
from hslpy.egress.accounts.guesses import Guesses, network_of
from hslpy.egress.store.database import Database
from hslpy.egress.store.faults import DatabaseFault

_MOST_LOCKS = 20_000


class SignIns:
    """Those to one web application. `now` is Unix seconds."""

    def __init__(self) -> None:
        self._seen = Guesses()
        self._locks: OrderedDict[str, asyncio.Lock] = OrderedDict()

    async def wait_s(self, database: Database, now: float, client: str, name: str) -> float:
        """Give for how many seconds a sign-in of this name from this address is not heard; 0: it is."""
        with contextlib.suppress(DatabaseFault):
            kept = await asyncio.to_thread(guesses.read, database, client, name)
            self._seen.known.update(kept.known)
            return max(kept.wait_s(now, client, name), self._seen.wait_s(now, client, name))
        return self._seen.wait_s(now, client, name)

    async def failed(self, database: Database, now: float, client: str, name: str) -> None:
        self._seen.failed(now, client, name)
        with contextlib.suppress(DatabaseFault):
            await asyncio.to_thread(guesses.note_failed, database, client, name)

    async def succeeded(self, database: Database, now: float, client: str, name: str) -> None:
        self._seen.succeeded(now, client, name)
        with contextlib.suppress(DatabaseFault):
            await asyncio.to_thread(guesses.note_succeeded, database, now, client, name)

    def turn(self, client: str) -> asyncio.Lock:
        """Give what lets one client try one password at a time: many at once would all be heard before the first fails."""
        network = network_of(client)
        lock = self._locks.pop(network, None) or asyncio.Lock()
        self._locks[network] = lock
        while len(self._locks) > _MOST_LOCKS:
            self._locks.popitem(last=False)
        return lock

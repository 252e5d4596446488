"""Limits over all workers of a node: slots that the supervisor grants to workers, by key. No I/O, no clock.

In: a worker's wishes and what it gives back. Out: grants. A worker uses only slots granted to it, and the grants of a key
never exceed its limit, so that the limit holds exactly; a worker's slots come back with its end. Slots go out in batches and
stay where they are used, so that a use in quick succession costs no message. `Leases` is the worker's side, `Pools` the
supervisor's; what passes between them are the tuples that `send` is given.
"""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import field
from typing import Protocol

from hslpy.records import dataclass

Send = Callable[[str, list[object]], None]
"""Sends one note to the other side: its kind and its values."""

_BATCH_SHARE = 8  # a worker that asks gets, for later, this part of its share at most


class Keeper(Protocol):
    """What keeps things that slots stand for beyond their use, as connections for the next message."""

    def kept(self, key: str) -> int:
        """Give how many things are kept under slots of the key."""
        ...

    async def release(self, key: str, slots: int) -> None:
        """Let go of what is kept under so many slots."""
        ...


@dataclass(slots=True)
class _Lease:
    granted: int = 0
    used: int = 0
    asked: bool = False  # a wish is on its way, and no answer yet
    keep: int | None = None  # slots beyond these go back as they come free, for others wait
    waiting: deque[asyncio.Future[bool]] = field(default_factory=deque)

    @property
    def idle(self) -> int:
        return self.granted - self.used


class Leases:
    """This worker's slots. `on_grant(key)` is called when slots have come that `take` was refused."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self._leases: dict[str, _Lease] = {}
        self.on_grant: Callable[[str], None] = lambda key: None
        self.keeper: Keeper | None = None
        self._returning: set[asyncio.Task[None]] = set()

    def take(self, key: str, limit: int, wanted: int = 1) -> bool:
        """Use a slot if one is at hand. If not, `wanted` are asked for, and `on_grant` will tell."""
        lease = self._lease(key)
        if lease.idle > 0:
            lease.used += 1
            return True
        if not lease.asked:
            lease.asked = True
            self._send("want", [key, limit, min(max(wanted, 1), limit), True])
        return False

    async def acquire(self, key: str, limit: int) -> bool:
        """Use a slot; False when all of the node are in use."""
        lease = self._lease(key)
        if lease.idle > 0:
            lease.used += 1
            return True
        turn: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        lease.waiting.append(turn)
        if not lease.asked:
            lease.asked = True
            self._send("want", [key, limit, 1, False])
        try:
            return await turn
        except BaseException:
            if turn.done() and not turn.cancelled() and turn.result():
                self.give(key)  # it came, and nobody is there to use it
            elif turn in lease.waiting:
                lease.waiting.remove(turn)
            raise

    def give(self, key: str) -> None:
        """End the use of a slot."""
        lease = self._leases[key]
        lease.used -= 1
        self._wake(lease)
        if lease.keep is not None:
            self._return(key, lease, min(lease.idle, max(lease.granted - lease.keep, 0)))
            if lease.granted <= lease.keep:
                lease.keep = None

    def granted(self, key: str, slots: int, limit: int) -> None:
        """Take in the supervisor's answer: `slots` 0 when there are none."""
        lease = self._lease(key)
        lease.asked = False
        lease.granted += slots
        self._wake(lease)
        while lease.waiting and not slots:
            turn = lease.waiting.popleft()
            if not turn.done():
                turn.set_result(False)
        if lease.waiting:
            lease.asked = True
            self._send("want", [key, limit, len(lease.waiting), False])
        if lease.idle > 0:
            self.on_grant(key)

    def recall(self, key: str, keep: int) -> None:
        """Give back what is not in use, and of the rest what comes free until `keep` are left; it is always answered."""
        lease = self._leases.get(key)
        if lease is None:
            self._send("gave", [key, 0, True])
            return
        slots = lease.idle
        lease.keep = keep if lease.granted - slots > keep else None
        self._return(key, lease, slots, answers=True)

    def tidy(self) -> None:
        """Give back what has lain idle: to be called about each second."""
        for key, lease in list(self._leases.items()):
            self._return(key, lease, lease.idle - (self.keeper.kept(key) if self.keeper is not None else 0))
            if not lease.granted and not lease.asked and not lease.waiting:
                del self._leases[key]

    def _wake(self, lease: _Lease) -> None:
        while lease.waiting and lease.idle > 0:
            turn = lease.waiting.popleft()
            if not turn.done():
                lease.used += 1
                turn.set_result(True)

    def _return(self, key: str, lease: _Lease, slots: int, *, answers: bool = False) -> None:
        if slots <= 0 and not answers:
            return
        lease.granted -= slots
        if self.keeper is None or not self.keeper.kept(key):
            self._send("gave", [key, slots, answers])
            return
        task = asyncio.get_running_loop().create_task(self._release(self.keeper, key, slots, answers))
        self._returning.add(task)
        task.add_done_callback(self._returning.discard)

    async def _release(self, keeper: Keeper, key: str, slots: int, answers: bool) -> None:
        try:
            await keeper.release(key, slots)
        finally:
            self._send("gave", [key, slots, answers])

    def _lease(self, key: str) -> _Lease:
        lease = self._leases.get(key)
        if lease is None:
            lease = self._leases[key] = _Lease()
        return lease


@dataclass(slots=True)
class _Wish:
    slots: int
    patient: bool  # it waits for slots to come free; one that is not is refused when there are none
    asked: bool = False  # others were asked for theirs


@dataclass(slots=True)
class _Pool:
    limit: int
    held: dict[int, int] = field(default_factory=dict)
    wishes: dict[int, _Wish] = field(default_factory=dict)  # in the order they came
    recalled: Counter[int] = field(default_factory=Counter)  # recalls not answered yet, by worker

    @property
    def free(self) -> int:
        return self.limit - sum(self.held.values())

    @property
    def share(self) -> int:
        """What each of those that have or want slots may have when all want many; 0 when they have to take turns."""
        return self.limit // max(len({*self.wishes, *(worker for worker, slots in self.held.items() if slots)}), 1)


class Pools:
    """The slots of all keys. `send(worker, kind, values)` reaches a worker."""

    def __init__(self, send: Callable[[int, str, list[object]], None]) -> None:
        self._send = send
        self._pools: dict[str, _Pool] = {}

    def __len__(self) -> int:
        return len(self._pools)

    def held(self, key: str) -> dict[int, int]:
        """Give the slots granted, by worker."""
        pool = self._pools.get(key)
        return {worker: slots for worker, slots in pool.held.items() if slots} if pool is not None else {}

    def want(self, worker: int, key: str, limit: int, slots: int, patient: bool) -> None:
        """Note a worker's wish, and fulfil or refuse it as soon as that can be said."""
        pool = self._pools.get(key)
        if pool is None:
            pool = self._pools[key] = _Pool(limit)
        pool.limit = limit
        pool.wishes[worker] = _Wish(slots, patient)
        self._settle(key, pool)

    def gave(self, worker: int, key: str, slots: int, answers: bool) -> None:
        """Take slots back; `answers` says that it is the answer to a recall."""
        pool = self._pools.get(key)
        if pool is None:
            return
        pool.held[worker] = pool.held.get(worker, 0) - slots
        if answers:
            pool.recalled -= Counter((worker,))
        self._settle(key, pool)

    def gone(self, worker: int) -> None:
        """Take back all that a worker had, which has ended."""
        for key, pool in list(self._pools.items()):
            pool.held.pop(worker, None)
            pool.wishes.pop(worker, None)
            del pool.recalled[worker]
            self._settle(key, pool)

    def _settle(self, key: str, pool: _Pool) -> None:
        self._grant(key, pool)
        if pool.wishes:
            self._recall(key, pool)
        if not pool.recalled:
            for worker in [worker for worker, wish in pool.wishes.items() if not wish.patient]:
                del pool.wishes[worker]
                self._send(worker, "granted", [key, 0, pool.limit])
        if not pool.wishes and not pool.recalled and not any(pool.held.values()):
            del self._pools[key]

    def _grant(self, key: str, pool: _Pool) -> None:
        """Divide what is free among those who wish: first to who has less than its share, else in the order they came."""
        free = pool.free
        share = pool.share
        while free > 0 and pool.wishes:
            each = max(free // len(pool.wishes), 1)
            first = next(iter(pool.wishes))
            worker = next((worker for worker in pool.wishes if pool.held.get(worker, 0) < share), first)
            wish = pool.wishes.pop(worker)
            slots = min(wish.slots, each)
            if not wish.patient and free - slots > pool.limit // 2:
                slots += pool.limit // (_BATCH_SHARE * max(len(pool.held) + len(pool.wishes), 2))
            free -= slots
            pool.held[worker] = pool.held.get(worker, 0) + slots
            self._send(worker, "granted", [key, slots, pool.limit])

    def _recall(self, key: str, pool: _Pool) -> None:
        """Ask once a wish for what lies idle elsewhere; for one with less than its share, for what comes free too."""
        for wisher, wish in pool.wishes.items():
            if wish.asked:
                continue
            wish.asked = True
            holders = [worker for worker, slots in pool.held.items() if slots and worker != wisher]
            share = pool.share
            short = wish.patient and pool.held.get(wisher, 0) < max(share, 1)
            for worker in holders:
                pool.recalled[worker] += 1
                self._send(worker, "recall", [key, share if short else pool.limit])

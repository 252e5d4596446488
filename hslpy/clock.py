"""The clock that everything is given, never imports: the system's, or one that a test moves by hand."""

from __future__ import annotations

import asyncio
import heapq
import itertools
from time import monotonic, time
from typing import Protocol


class Clock(Protocol):
    """Where the time comes from. `time` is Unix seconds, `monotonic` seconds from an arbitrary start."""

    def time(self) -> float: ...
    def monotonic(self) -> float: ...
    async def sleep(self, seconds: float) -> None: ...


class SystemClock:
    """The machine's own clock, asked without a step in Python: a message asks it fifteen times."""

    time = staticmethod(time)
    monotonic = staticmethod(monotonic)

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


class ManualClock:
    """A clock that stands still until `advance` moves it; sleepers wake in the order of their due times."""

    def __init__(self, start: float = 1_700_000_000.0) -> None:
        self._now = start
        self._start = start
        self._wrong_s = 0.0
        self._sleepers: list[tuple[float, int, asyncio.Future[None]]] = []
        self._order = itertools.count()

    def time(self) -> float:
        return self._now + self._wrong_s

    def monotonic(self) -> float:
        return self._now - self._start

    async def sleep(self, seconds: float) -> None:
        if seconds <= 0:
            await asyncio.sleep(0)
            return
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        heapq.heappush(self._sleepers, (self._now + seconds, next(self._order), future))
        await future

    def advance(self, seconds: float) -> None:
        """Move the time on by `seconds` and wake whoever was waiting for a moment now passed."""
        self._now += seconds
        while self._sleepers and self._sleepers[0][0] <= self._now:
            future = heapq.heappop(self._sleepers)[2]
            if not future.done():
                future.set_result(None)

    def step(self, seconds: float) -> None:
        """Set the date forward or back, as a time server may: no interval notices."""
        self._wrong_s += seconds

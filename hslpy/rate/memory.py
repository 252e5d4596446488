"""Rate counters of this process. In: checks. Out: answers at once, from a dictionary of packed rings.

Bounded: a heap of times says which rings have emptied, and each check drops a few of them, so that none takes long.
Must not know scripts or other processes.
"""

from __future__ import annotations

import heapq

from hslpy.clock import Clock
from hslpy.log import Log
from hslpy.rate import ring
from hslpy.rate.contract import RateHealth, RateSettings, interval_us, key_of

PURGE_STEP = 4
"""Rings looked at in one check: above the one that a check can add, so that they cannot pile up."""

LOG_EVERY_S = 60.0
"""A full table is told once a minute, not once a check."""


class MemoryRateCounters:
    """Counters in a dictionary; they go with the process. Time is `clock.monotonic`, so no set clock disturbs them."""

    def __init__(self, settings: RateSettings, clock: Clock, log: Log) -> None:
        self.health = RateHealth()
        self._max_entries = settings.max_entries
        self._clock = clock
        self._log = log
        self._rings: dict[bytes, bytes] = {}
        # One entry a ring: (time from which on it may be empty, key, width).
        self._due: list[tuple[int, bytes, int]] = []
        self._logged_at = -LOG_EVERY_S

    def __len__(self) -> int:
        """Give the number of entries held."""
        return len(self._rings)

    async def check(
        self, namespace: str, entry: str, count: int, interval_s: float, *, shared: bool = True
    ) -> bool | float | None:
        interval = interval_us(count, interval_s)
        return self.check_now(key_of(namespace, entry, interval), count, ring.width_us(interval))

    def check_now(
        self, key: bytes, limit: int, width: int, now_us: int | None = None, *, refuse_for_space: bool = True
    ) -> bool | float:
        """Do a check whose key and bucket width are known, now or at `now_us`.

        Without `refuse_for_space` a hit that there is no room for is let through uncounted.
        """
        now = self.now_us() if now_us is None else now_us
        if self._due and self._due[0][0] <= now:
            self._purge(now)
        packed = self._rings.get(key)
        if limit == 0:
            return float(ring.hits(packed, now, width))
        if packed is None and len(self._rings) >= self._max_entries:
            if not refuse_for_space:
                return True
            self._refuse_for_space()
            return False
        changed = ring.hit(packed, now, width, limit)
        if changed is None:
            return False
        self._rings[key] = changed
        if packed is None:
            heapq.heappush(self._due, (ring.expires_us(changed, width), key, width))
        return True

    async def forget(self, namespace: str, entry: str, interval_s: float) -> None:
        self._rings.pop(key_of(namespace, entry, interval_us(0, interval_s)), None)

    def take_back(self, key: bytes, width: int, at_us: int) -> None:
        """Uncount a hit of `at_us`, where it was counted."""
        packed = self._rings.get(key)
        if packed is not None:
            self._rings[key] = ring.without_hit(packed, at_us, width)

    def now_us(self) -> int:
        """Give the time by which hits are counted."""
        return int(self._clock.monotonic() * 1e6)

    async def close(self) -> None:
        self._rings.clear()
        self._due.clear()

    def _purge(self, now: int) -> None:
        for _ in range(PURGE_STEP):
            if not self._due or self._due[0][0] > now:
                return
            _, key, width = self._due[0]
            packed = self._rings.get(key)  # None where it was forgotten
            expires = ring.expires_us(packed, width) if packed is not None else 0
            if expires <= now:
                heapq.heappop(self._due)
                self._rings.pop(key, None)
            else:
                heapq.heapreplace(self._due, (expires, key, width))

    def _refuse_for_space(self) -> None:
        self.health.refused_for_space += 1
        now = self._clock.monotonic()
        if now - self._logged_at >= LOG_EVERY_S:
            self._logged_at = now
            self._log(
                "rate.counters_full",
                {"level": "warning", "entries": len(self._rings), "refused": self.health.refused_for_space},
            )

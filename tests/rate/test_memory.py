"""What the counters in memory do beyond the contract: they stay bounded."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from hslpy.clock import ManualClock
from hslpy.rate.contract import RateSettings
from hslpy.rate.memory import PURGE_STEP, MemoryRateCounters


def make(max_entries: int = 1000) -> tuple[MemoryRateCounters, ManualClock, list[tuple[str, Mapping[str, object]]]]:
    clock = ManualClock()
    log: list[tuple[str, Mapping[str, object]]] = []
    settings = RateSettings(max_entries=max_entries)
    return MemoryRateCounters(settings, clock, lambda event, fields: log.append((event, fields))), clock, log


def test_emptied_entries_are_dropped_a_few_a_check() -> None:
    async def run() -> None:
        counters, clock, _ = make()
        for n in range(100):
            await counters.check("n", f"e{n}", 1, 10)
        clock.advance(11)
        await counters.check("n", "other", 0, 10)
        assert len(counters) == 100 - PURGE_STEP
        for _ in range(100 // PURGE_STEP):
            await counters.check("n", "other", 0, 10)
        assert len(counters) == 0

    asyncio.run(run())


def test_an_entry_still_in_use_is_kept_when_its_first_time_has_come() -> None:
    async def run() -> None:
        counters, clock, _ = make()
        for _ in range(30):
            assert await counters.check("n", "steady", 1000, 10)
            clock.advance(1)
        assert await counters.check("n", "steady", 0, 10) in (10.0, 11.0)
        clock.advance(11)
        assert await counters.check("n", "steady", 0, 10) == 0.0
        assert len(counters) == 0

    asyncio.run(run())


def test_a_full_table_refuses_new_entries_and_says_so_once_a_minute() -> None:
    async def run() -> None:
        counters, clock, log = make(max_entries=2)
        assert await counters.check("n", "a", 5, 3600) and await counters.check("n", "b", 5, 3600)
        assert [await counters.check("n", f"c{n}", 5, 3600) for n in range(3)] == [False] * 3
        assert await counters.check("n", "a", 5, 3600) is True
        assert counters.health.refused_for_space == 3 and len(log) == 1
        clock.advance(61)
        await counters.check("n", "c", 5, 3600)
        assert len(log) == 2
        clock.advance(3700)
        assert await counters.check("n", "c", 5, 3600) is True

    asyncio.run(run())

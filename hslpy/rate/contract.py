"""What rate counters give. In: namespace, entry, limit, interval. Out: a boolean or a count. Source: language.md 8."""

from __future__ import annotations

from typing import Protocol


class RateCounters(Protocol):
    """Sliding windows that never admit more than `count` hits in any window of `interval_s`."""

    async def check(self, namespace: str, entry: str, count: int, interval_s: float) -> bool | float | None:
        """Count a hit and give True, or False (not counted) at the limit; with `count` 0 give the number of hits.

        None only where the setting for an unreachable store says `none`.
        """
        ...

    async def close(self) -> None: ...

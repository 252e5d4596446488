"""What rate counters give. In: namespace, entry, limit, interval. Out: a boolean or a count. Source: the HSL manual, rate().

Knows neither scripts nor where the counters are kept; `key_of` and the checks of arguments are the same for every form.
"""

from __future__ import annotations

import hashlib
import math
from typing import Literal, Protocol

from hslpy.records import dataclass

OnUnreachable = Literal["local", "open", "closed", "none"]

ABOVE_ANY_LIMIT = float(2**53)
"""The count that `closed` gives: the largest that a script's number (a double) holds with all below it exactly."""

MAX_INTERVAL_S = 100 * 365 * 86400
"""A hundred years: in microseconds it still is an exact double, which is what Redis' Lua counts in."""

MAX_KEY_BYTES = 256
"""Longer names are replaced by their SHA-256, so that an entry taken from a message cannot fill the store."""


class RateCounters(Protocol):
    """Sliding windows that never admit more than `count` hits in any window of `interval_s`."""

    async def check(
        self, namespace: str, entry: str, count: int, interval_s: float, *, shared: bool = True
    ) -> bool | float | None:
        """Count a hit and give True, or False (not counted) at the limit; with `count` 0 give the number of hits.

        `shared` False asks for counters of this process alone. None only where the setting for an unreachable store
        says `none`. Raises ValueError for a `count` below 0 or an `interval_s` not above 0 or above MAX_INTERVAL_S.
        """
        ...

    async def forget(self, namespace: str, entry: str, interval_s: float) -> None:
        """Forget a counter's hits, this process's and the shared ones. Raises OSError where the store does not answer."""
        ...

    @property
    def health(self) -> RateHealth: ...

    async def close(self) -> None: ...


@dataclass(slots=True)
class RateHealth:
    """Whether the store answers, and how often the setting `on_unreachable` answered in its place."""

    reachable: bool = True
    error: str = ""
    unreachable_answers: int = 0
    refused_for_space: int = 0


@dataclass(frozen=True, slots=True)
class RateSettings:
    """How counters are kept. `max_entries` bounds those in memory: a new entry beyond it is refused, not counted.

    A call of Redis has `timeout_s` and `batch_max` checks at most, for which Redis does nothing else for some 4 ms. One
    that is away is looked for every `retry_s`, to be in use well within a second of its return.
    """

    store: Literal["memory", "redis"] = "memory"
    on_unreachable: OnUnreachable = "local"
    timeout_s: float = 0.5
    retry_s: float = 0.15
    batch_max: int = 200
    key_prefix: str = "hslpy:rate:"
    max_entries: int = 1_000_000


def interval_us(count: int, interval_s: float) -> int:
    """Give the interval in microseconds, rounded up. Raises ValueError as `RateCounters.check` says."""
    if count < 0:
        raise ValueError(f"`count` must be 0 or above, got {count}")
    if not 0 < interval_s <= MAX_INTERVAL_S:
        raise ValueError(f"`interval` must be above 0 and at most {MAX_INTERVAL_S} seconds, got {interval_s:g}")
    return math.ceil(interval_s * 1e6)


def key_of(namespace: str, entry: str, interval: int) -> bytes:
    """Give the counter's key; never the same for two different namespace, entry and interval. The limit is no part.

    The strings hold one byte a character (any byte); `interval` is in microseconds.
    """
    name = b"%d:%s:%s" % (len(namespace), namespace.encode("latin-1"), entry.encode("latin-1"))
    if len(name) > MAX_KEY_BYTES:
        name = b"#" + hashlib.sha256(name).hexdigest().encode()
    return b"%d:%s" % (interval, name)

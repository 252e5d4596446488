"""How many may go in an hour, and how fast one after the other. In: caps, a time. Out: whether one more may go now.

`decide` is the arithmetic, the same for counters in memory and, as a script, in Redis (`quota_redis.py`). A reservation
counts at once and is given back when it comes to nothing: so the cap holds whoever counts, wherever a process stops.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from hslpy.records import record

HOUR_MS = 3_600_000
_LATE_MS = 5_000  # of two workers who asks later may be heard first; none waits so long for an answer
AWAY = ("Redis", "the supervisor")
"""Who keeps counters and may be away: in the place of a cap's name."""


@record
class Cap:
    """At most `limit` in an hour of the clock (Unix time by 3600 s), `burst` of them at once, the others evenly after
    each other. `name` tells apart those of one key."""

    name: str
    limit: int
    burst: int = 1

    @property
    def interval_ms(self) -> int:
        return HOUR_MS // max(self.limit, 1)


@record
class Answer:
    """Whether one may go; else `again_at` is when to ask again (Unix seconds), `cap` the name of what stood in the way."""

    granted: bool
    again_at: float = 0.0
    cap: str = ""


GRANTED = Answer(True)


@record
class State:
    """What is counted of a cap in an hour: how many, and until when (milliseconds) what went takes up its share of time."""

    count: int = 0
    busy_until_ms: int = 0


class Quotas(Protocol):
    """Counters by key. `now` is Unix seconds. `spans_nodes`: those of all nodes are counted together."""

    spans_nodes: bool

    def load(self, key: str, name: str, count: int, now: float) -> None:
        """Take up what was sent in the hour of `now` before these counters began; nothing where they outlast that."""
        ...

    async def reserve(self, key: str, caps: Sequence[Cap], now: float) -> Answer:
        """Count one of each cap, or none at all."""
        ...

    async def release(self, key: str, caps: Sequence[Cap], reserved_at: float) -> None:
        """Give back what was reserved at that time and came to nothing."""
        ...

    async def close(self) -> None: ...


def decide(state: State, cap: Cap, now_ms: int) -> State | int:
    """Give the state with one more, or when to ask again (milliseconds): the next hour where the cap is reached."""
    if state.count >= cap.limit:
        return (now_ms // HOUR_MS + 1) * HOUR_MS
    free_at = state.busy_until_ms - (cap.burst - 1) * cap.interval_ms
    if free_at > now_ms:
        return free_at
    return State(state.count + 1, max(state.busy_until_ms, now_ms) + cap.interval_ms)


def given_back(state: State, cap: Cap) -> State:
    return State(max(state.count - 1, 0), state.busy_until_ms - cap.interval_ms)


class Kept(Protocol):
    """What outlasts the process: the states of an hour."""

    def begin(self, hour: int) -> Mapping[tuple[str, str], State]:
        """Give what is kept of that hour, and drop what is of another."""
        ...

    def keep(self, hour: int, key: tuple[str, str], state: State) -> None: ...

    def close(self) -> None: ...


class MemoryQuotas:
    """Counters of this process. Several may load the same: it counts once.

    `kept` has what was counted before a kill; it is read when something is counted, when who wrote it before has left.
    """

    spans_nodes = False

    def __init__(self, kept: Kept | None = None) -> None:
        self._kept = kept
        self._hour = -1
        self._states: dict[tuple[str, str], State] = {}

    def load(self, key: str, name: str, count: int, now: float) -> None:
        now_ms = self._turn(now)
        before = self._states.get((key, name), State())
        if count > before.count:
            self._put({(key, name): State(count, max(before.busy_until_ms, now_ms))})

    async def reserve(self, key: str, caps: Sequence[Cap], now: float) -> Answer:
        now_ms = self._turn(now)
        found: dict[tuple[str, str], State] = {}
        for cap in caps:
            next_state = decide(self._states.get((key, cap.name), State()), cap, now_ms)
            if isinstance(next_state, int):
                return Answer(False, next_state / 1000, cap.name)
            found[key, cap.name] = next_state
        self._put(found)
        return GRANTED

    async def release(self, key: str, caps: Sequence[Cap], reserved_at: float) -> None:
        if int(reserved_at * 1000) // HOUR_MS != self._hour:
            return
        for cap in caps:
            state = self._states.get((key, cap.name))
            if state is not None:
                self._put({(key, cap.name): given_back(state, cap)})

    async def close(self) -> None:
        self._states.clear()
        if self._kept is not None:
            self._kept.close()
            self._kept = None

    def _put(self, states: Mapping[tuple[str, str], State]) -> None:
        self._states |= states
        if self._kept is not None:
            for key, state in states.items():
                self._kept.keep(self._hour, key, state)

    def _turn(self, now: float) -> int:
        """Give the time to count by (milliseconds), of the hour that is counted from now on.

        A clock that is set back begins its hour anew: rather some too many than none until it is there again.
        """
        now_ms, began_ms = int(now * 1000), self._hour * HOUR_MS
        if began_ms - _LATE_MS <= now_ms < began_ms:
            return began_ms
        if now_ms // HOUR_MS != self._hour:
            self._hour = now_ms // HOUR_MS
            self._states = dict(self._kept.begin(self._hour)) if self._kept is not None else {}
        return now_ms

"""Whose turn it is: jobs by destination, so that slow ones don't keep the others waiting. No I/O, no clock.

In: jobs with their destination and its group (the transport), the time. Out: the next job that has a free slot, groups in
turn and in each its destinations in turn; which jobs that found no room are to be offered again, as there is room now.

A job that has held its slot for long gives it up to others and goes on beside them: hosts that answer a byte a minute
would hold all slots otherwise. What goes on so is bounded too, and of either bound no group can take everything.
"""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Callable
from dataclasses import field
from typing import Generic, TypeVar

from hslpy.records import dataclass

J = TypeVar("J")
Ticket = tuple[int, ...]
Take = Callable[[str, int, int], bool]


@dataclass(frozen=True, slots=True)
class Slots:
    """`quick` jobs at a time, and `slow` beside them that have lasted for `slow_after_s`.

    Of the quick ones a destination may have `destination_share` at most; of either a group `group_share`: whatever one of
    them does, a quarter is left for the others.
    """

    quick: int
    slow: int = 0
    slow_after_s: float = 10.0
    destination_share: float = 0.75
    group_share: float = 0.75

    @property
    def of_destination(self) -> int:
        return max(int(self.quick * self.destination_share), 1)

    @property
    def of_group(self) -> int:
        return max(int(self.quick * self.group_share), 1)

    @property
    def slow_of_group(self) -> int:
        return int(self.slow * self.group_share)


@dataclass(slots=True)
class _Lane(Generic[J]):
    limit: int
    waiting: deque[J] = field(default_factory=deque)
    active: int = 0
    group: str = ""
    whole: int = 0  # the limit over all processes
    blocked: bool = False  # a slot of its own is free, but none of those of all processes
    turned_away: dict[Ticket, None] = field(default_factory=dict)  # in the order in which they were


@dataclass(slots=True)
class _Group(Generic[J]):
    ready: deque[str] = field(default_factory=deque)  # destinations with a job waiting and a slot free, each once
    quick: deque[Turn[J]] = field(default_factory=deque)  # in the order of their starts; those that ended may be among them
    quick_count: int = 0
    slow_count: int = 0


@dataclass(slots=True, eq=False)
class Turn(Generic[J]):
    """A job that was begun; it holds its slot until `Lanes.done`."""

    destination: str
    group: str
    job: J
    started: float
    slow: bool = False
    over: bool = False


class Lanes(Generic[J]):
    """Each destination has `limit` slots of all, and room for `room` jobs that wait for one."""

    def __init__(self, slots: Slots, room: int, crowded: int = 50_000, take: Take | None = None) -> None:
        """With `crowded` jobs waiting in all, each destination has room for a twentieth only.

        `take(destination, limit, waiting)` says whether a slot is free in all processes that share them, and uses it;
        where it says no, `resume` tells that there may be one.
        """
        self._slots = slots
        self._take = take
        self._room = room
        self._crowded = crowded
        self._waiting = 0
        self._quick = 0
        self._slow = 0
        self._lanes: dict[str, _Lane[J]] = {}
        self._groups: dict[str, _Group[J]] = {}
        self._in_turn: deque[str] = deque()  # groups with a destination that is ready, each once
        self._with_room: set[str] = set()  # destinations to which jobs that were turned away may come back

    def __len__(self) -> int:
        return self._waiting

    def offer(self, destination: str, limit: int, job: J, group: str, ticket: Ticket, *, first: bool = False) -> bool:
        """Take the job in, or where there is no room keep its ticket until `come_back` gives it; say which.

        A destination is always of the same group. One that is to be `first` is always taken in.
        """
        lane = self._lanes.get(destination)
        if lane is None:
            lane = self._lanes[destination] = _Lane(limit)
        lane.limit, lane.whole, lane.group = min(limit, self._slots.of_destination), limit, group
        if not first and len(lane.waiting) >= self._room_now:
            lane.turned_away[ticket] = None
            return False
        lane.turned_away.pop(ticket, None)
        (lane.waiting.appendleft if first else lane.waiting.append)(job)
        self._waiting += 1
        if len(lane.waiting) == 1 and lane.active < lane.limit:
            self._is_ready(destination, group)
        return True

    @property
    def _room_now(self) -> int:
        return self._room if self._waiting < self._crowded else max(self._room // 20, 1)

    def come_back(self) -> list[Ticket]:
        """Give the tickets of jobs that found no room and would now: they are to be offered again, or forgotten."""
        tickets: list[Ticket] = []
        room = self._room_now
        for destination in list(self._with_room):
            lane = self._lanes.get(destination)
            if lane is None or not lane.turned_away or len(lane.waiting) > room // 2:
                self._with_room.discard(destination)
                continue
            for ticket in list(itertools.islice(lane.turned_away, room - len(lane.waiting))):
                del lane.turned_away[ticket]
                tickets.append(ticket)
            if not (lane.waiting or lane.active or lane.turned_away):
                del self._lanes[destination]
        return tickets

    def next(self, now: float) -> Turn[J] | None:
        """Give the next job to begin at `now`, None when none may begin."""
        slots = self._slots
        if self._quick >= slots.quick:
            self._make_way(now)
            if self._quick >= slots.quick:
                return None
        most = slots.of_group
        for _ in range(len(self._in_turn)):
            name = self._in_turn.popleft()
            group = self._groups[name]
            if group.quick_count >= most:
                self._make_way(now, group)
            if group.quick_count >= most:
                self._in_turn.append(name)
            elif (turn := self._begin(name, group, now)) is not None:
                return turn
        return None

    def resume(self, destination: str) -> None:
        """Count a destination as ready again for which `take` had no slot."""
        lane = self._lanes.get(destination)
        if lane is not None and lane.blocked:
            lane.blocked = False
            self._is_ready(destination, lane.group)

    def _begin(self, name: str, group: _Group[J], now: float) -> Turn[J] | None:
        while group.ready:
            destination = group.ready.popleft()
            lane = self._lanes[destination]
            if self._take is None or self._take(destination, lane.whole, len(lane.waiting)):
                break
            lane.blocked = True
        else:
            return None
        turn = Turn(destination, name, lane.waiting.popleft(), now)
        self._waiting -= 1
        self._quick += 1
        lane.active += 1
        group.quick_count += 1
        group.quick.append(turn)
        if lane.turned_away and len(lane.waiting) <= self._room_now // 2:
            self._with_room.add(destination)
        if lane.waiting and lane.active < lane.limit:
            group.ready.append(destination)
        if group.ready:
            self._in_turn.append(name)
        return turn

    def done(self, turn: Turn[J]) -> None:
        """Give a slot back."""
        group, lane = self._groups[turn.group], self._lanes[turn.destination]
        turn.over = True
        if turn.slow:
            self._slow -= 1
            group.slow_count -= 1
        else:
            self._quick -= 1
            group.quick_count -= 1
        while group.quick and group.quick[0].over:
            group.quick.popleft()
        was_full = lane.active >= lane.limit or lane.blocked
        lane.blocked = False
        lane.active -= 1
        if lane.waiting:
            if was_full and lane.active < lane.limit:
                self._is_ready(turn.destination, turn.group)
        elif lane.active == 0 and not lane.turned_away:
            del self._lanes[turn.destination]
        if not (group.quick_count or group.slow_count or group.ready):
            del self._groups[turn.group]

    def again_s(self, now: float) -> float | None:
        """Give the time until the next job that lasts may make way for one that waits; None when there is none such."""
        if not self._in_turn:
            return None
        after_s = self._slots.slow_after_s
        left = [group.quick[0].started + after_s - now for group in self._groups.values() if group.quick]
        return min((left_s for left_s in left if left_s > 0), default=None)

    def _make_way(self, now: float, only: _Group[J] | None = None) -> None:
        """Have jobs that last go on beside the others, as far as there are slots for that."""
        slots = self._slots
        most = slots.slow_of_group
        for group in self._groups.values() if only is None else (only,):
            while group.quick:
                turn = group.quick[0]
                if not turn.over:
                    full = self._slow >= slots.slow or group.slow_count >= most
                    if full or turn.started + slots.slow_after_s > now:
                        break
                    turn.slow = True
                    self._quick -= 1
                    self._slow += 1
                    group.quick_count -= 1
                    group.slow_count += 1
                group.quick.popleft()

    def _is_ready(self, destination: str, name: str) -> None:
        group = self._groups.setdefault(name, _Group())
        if not group.ready:
            self._in_turn.append(name)
        group.ready.append(destination)

    def drain(self) -> list[J]:
        """Take out all that wait."""
        jobs = [job for lane in self._lanes.values() for job in lane.waiting]
        self._in_turn.clear()
        self._waiting = 0
        for name in list(self._groups):
            group = self._groups[name]
            group.ready.clear()
            if not group.quick_count and not group.slow_count:
                del self._groups[name]
        for destination in list(self._lanes):
            self._lanes[destination].waiting.clear()
            self._lanes[destination].turned_away.clear()
            self._lanes[destination].blocked = False
            if not self._lanes[destination].active:
                del self._lanes[destination]
        return jobs

    def active(self) -> dict[str, int]:
        """Give the slots in use by destination."""
        return {destination: lane.active for destination, lane in self._lanes.items() if lane.active}

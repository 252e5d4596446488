"""Whose turn it is: jobs by destination, so that a slow one doesn't keep the others waiting. No I/O, no clock.

In: jobs with their destination, how long each took. Out: the next job whose destination has a free slot, destinations
in turn; when a job for which there was no room had better come back.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import Generic, TypeVar

J = TypeVar("J")


_FIRST_GUESS_S = 0.01  # a host nearby: coming back too early costs microseconds, too late an idle slot
_SHARE = 0.1  # of the newest job in the average


@dataclass(slots=True)
class _Lane(Generic[J]):
    limit: int
    waiting: deque[J] = field(default_factory=deque)
    active: int = 0
    turned_away: int = 0  # since it last had room to spare
    job_s: float = _FIRST_GUESS_S


class Lanes(Generic[J]):
    """Each destination has `limit` slots, and room for `room` jobs that wait for one."""

    def __init__(self, room: int, crowded: int = 50_000) -> None:
        """With `crowded` jobs waiting in all, each destination has room for a twentieth only."""
        self._room = room
        self._crowded = crowded
        self._waiting = 0
        self._lanes: dict[str, _Lane[J]] = {}
        self._ready: deque[str] = deque()  # destinations with a job waiting and a slot free, each once

    def __len__(self) -> int:
        return self._waiting

    def offer(self, destination: str, limit: int, job: J) -> float | None:
        """Take the job in and give None; without room, give the seconds after which to offer it again."""
        lane = self._lanes.get(destination)
        if lane is None:
            lane = self._lanes[destination] = _Lane(limit)
        lane.limit = limit
        room = self._room if self._waiting < self._crowded else max(self._room // 20, 1)
        if len(lane.waiting) >= room:
            lane.turned_away += 1
            return (len(lane.waiting) / 2 + lane.turned_away) * lane.job_s / limit / 2  # early, as the guess may be bad
        lane.waiting.append(job)
        self._waiting += 1
        if len(lane.waiting) == 1 and lane.active < limit:
            self._ready.append(destination)
        return None

    def next(self) -> tuple[str, J] | None:
        """Give the next job with its destination, whose slot it holds until `done`; None when none may start."""
        if not self._ready:
            return None
        destination = self._ready.popleft()
        lane = self._lanes[destination]
        job = lane.waiting.popleft()
        self._waiting -= 1
        lane.active += 1
        if lane.waiting and lane.active < lane.limit:
            self._ready.append(destination)
        return destination, job

    def done(self, destination: str, job_s: float) -> None:
        """Give a slot back, which was in use for `job_s`."""
        lane = self._lanes[destination]
        lane.job_s += _SHARE * (job_s - lane.job_s)
        lane.turned_away = max(lane.turned_away - 1, 0)
        was_full = lane.active >= lane.limit
        lane.active -= 1
        if lane.waiting:
            if was_full and lane.active < lane.limit:
                self._ready.append(destination)
        elif lane.active == 0:
            del self._lanes[destination]

    def drain(self) -> list[J]:
        """Take out all that wait."""
        jobs = [job for lane in self._lanes.values() for job in lane.waiting]
        self._ready.clear()
        self._waiting = 0
        for destination in list(self._lanes):
            self._lanes[destination].waiting.clear()
            if not self._lanes[destination].active:
                del self._lanes[destination]
        return jobs

    def active(self) -> dict[str, int]:
        """Give the slots in use by destination."""
        return {destination: lane.active for destination, lane in self._lanes.items() if lane.active}

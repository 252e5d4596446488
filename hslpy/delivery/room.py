"""Room in memory for the contents of large messages under way. No I/O, no clock.

In: jobs, each with its message's content and its destination. Out: whether one may begin, and which that waited now may.

First come, first served. A content is counted once, however many jobs have it; one above the whole room goes alone. No
destination has more than its share, so that one that takes its mail slowly does not keep the others waiting.
"""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import field
from heapq import heappop, heappush
from itertools import count
from typing import Generic, Literal, TypeVar

from hslpy.records import dataclass

J = TypeVar("J")
_Place = tuple[int, Hashable]  # in the order of arrival

SMALL_BYTES = 64 << 10  # contents up to this are not counted: those of 600 attempts are 38 MB


@dataclass(slots=True)
class _Content(Generic[J]):
    size_bytes: int
    destination: str
    jobs: dict[int, J] = field(default_factory=dict)  # those that have it, or wait for room for it


class Room(Generic[J]):
    """`limit_bytes` for all, `share` of it at most for a destination, unless it has but one; `most` jobs may wait."""

    def __init__(self, limit_bytes: int, share: float = 0.75, most: int = 10_000) -> None:
        self._limit_bytes = limit_bytes
        self._share_bytes = limit_bytes * share
        self._most = most
        self._held_bytes = 0
        self._waiting = 0
        self._held: dict[Hashable, _Content[J]] = {}
        self._wanted: dict[Hashable, _Content[J]] = {}
        self._content_of: dict[int, Hashable] = {}  # by job that has one
        self._bytes_of: dict[str, int] = {}  # by destination
        self._line: list[_Place] = []  # heap
        self._aside: dict[str, list[_Place]] = {}  # heaps of those whose destination has its share
        self._numbers = count()

    def __len__(self) -> int:
        """Give how many jobs wait."""
        return self._waiting

    @property
    def held_bytes(self) -> int:
        return self._held_bytes

    def take(
        self, number: int, job: J, content: Hashable, size_bytes: int, destination: str
    ) -> Literal["begin", "wait", "later"]:
        """Say whether the job, of that number, may begin: it then has room until `give`. One that waits is given by that.

        `later`: too many wait, and the job is to be offered again.
        """
        if number in self._content_of:
            return "begin"
        if (held := self._held.get(content)) is not None:
            held.jobs[number] = job
            self._content_of[number] = content
            return "begin"
        if not self._line and destination not in self._aside and self._fits(size_bytes, destination):
            self._hold(content, _Content(size_bytes, destination, {number: job}))
            return "begin"
        if self._waiting >= self._most:
            return "later"
        wanted = self._wanted.get(content)
        if wanted is None:
            wanted = self._wanted[content] = _Content(size_bytes, destination)
            aside = destination in self._aside or not self._in_share(size_bytes, destination)
            line = self._aside.setdefault(destination, []) if aside else self._line
            heappush(line, (next(self._numbers), content))
        wanted.jobs[number] = job
        self._waiting += 1
        return "wait"

    def give(self, number: int) -> list[J]:
        """Give a job's room back; nothing for one that has none. Gives the jobs that have room now, in order."""
        content = self._content_of.pop(number, None)
        if content is None:
            return []
        held = self._held[content]
        del held.jobs[number]
        if held.jobs:
            return []
        del self._held[content]
        self._held_bytes -= held.size_bytes
        self._bytes_of[held.destination] -= held.size_bytes
        if not self._bytes_of[held.destination]:
            del self._bytes_of[held.destination]
        self._back_in_line(held.destination)
        return self._next()

    def drain(self) -> list[J]:
        """Take out all that wait."""
        jobs = [job for wanted in self._wanted.values() for job in wanted.jobs.values()]
        self._wanted.clear()
        self._line.clear()
        self._aside.clear()
        self._waiting = 0
        return jobs

    def _next(self) -> list[J]:
        """Give room to those first in line, as far as there is any, and give their jobs."""
        begin: list[J] = []
        while self._line:
            content = self._line[0][1]
            wanted = self._wanted[content]
            size_bytes = 0 if content in self._held else wanted.size_bytes  # another destination's job may have begun
            if not self._in_share(size_bytes, wanted.destination):
                heappush(self._aside.setdefault(wanted.destination, []), heappop(self._line))
            elif not self._fits(size_bytes, wanted.destination):
                break
            else:
                heappop(self._line)
                del self._wanted[content]
                self._waiting -= len(wanted.jobs)
                self._hold(content, wanted)
                begin += wanted.jobs.values()
                self._back_in_line(wanted.destination)
        return begin

    def _back_in_line(self, destination: str) -> None:
        """Have the first one look again whether its destination has its share; the others follow it one by one."""
        aside = self._aside.get(destination)
        if aside:
            heappush(self._line, heappop(aside))
            if not aside:
                del self._aside[destination]

    def _in_share(self, size_bytes: int, destination: str) -> bool:
        has = self._bytes_of.get(destination, 0)
        return has == 0 or has + size_bytes <= self._share_bytes

    def _fits(self, size_bytes: int, destination: str) -> bool:
        alone = self._held_bytes == 0
        return (alone or self._held_bytes + size_bytes <= self._limit_bytes) and self._in_share(size_bytes, destination)

    def _hold(self, content: Hashable, held: _Content[J]) -> None:
        self._content_of.update(dict.fromkeys(held.jobs, content))
        if (there := self._held.get(content)) is not None:
            there.jobs.update(held.jobs)
            return
        self._held[content] = held
        self._held_bytes += held.size_bytes
        self._bytes_of[held.destination] = self._bytes_of.get(held.destination, 0) + held.size_bytes

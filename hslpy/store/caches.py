"""What `cache` keeps: results of calls by bucket and arguments, for all runs of this process. In: keys, results, times.
Out: entries, expired ones too, since an update sees the old value.

A bucket is a namespace with a function's name. Its room is the smallest size that any call gave for it; all buckets
together have a room in bytes. Source: the HSL manual, cache.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Hashable
from dataclasses import dataclass
from typing import Any

MOST_BYTES = 64 * 1024 * 1024  # a quarter of what memory_* may hold
ENTRY_BYTES = 600  # an entry with its key in both orders, CPython 3.11

Bucket = tuple[str, ...]


@dataclass(slots=True)
class Entry:
    """One result. `expires_at` is by the clock of the runs, in seconds."""

    value: Any
    expires_at: float
    size_bytes: int


class _Room:
    """The entries of one bucket, the least recently used first. None of them expires before `soonest`."""

    __slots__ = ("entries", "mark", "most", "soonest")

    def __init__(self, most: int, mark: object) -> None:
        self.most = most
        self.mark = mark
        self.soonest = math.inf
        self.entries: OrderedDict[Hashable, Entry] = OrderedDict()


class Caches:
    """All buckets. Buckets without entries are forgotten, and their sizes with them."""

    def __init__(self, most_bytes: int = MOST_BYTES) -> None:
        self.bytes = 0
        self._most_bytes = most_bytes
        self._rooms: dict[Bucket, _Room] = {}
        self._order: OrderedDict[tuple[Bucket, Hashable], None] = OrderedDict()

    def __len__(self) -> int:
        return len(self._order)

    def find(self, bucket: Bucket, key: Hashable, most: int, mark: object = None) -> Entry | None:
        """Give the entry of a key, which may have expired. `most` limits the bucket from now on.

        `mark` is what the bucket depends on: when it is another than before, the bucket is emptied.
        """
        room = self._rooms.get(bucket)
        if room is None:
            return None
        if room.mark != mark:
            self._empty(bucket, room)
            return None
        room.most = min(room.most, most)
        while len(room.entries) > room.most:
            self._drop(bucket, next(iter(room.entries)))
        return room.entries.get(key)

    def used(self, bucket: Bucket, key: Hashable) -> None:
        """Note that the entry was used just now."""
        self._rooms[bucket].entries.move_to_end(key)
        self._order.move_to_end((bucket, key))

    def keep(
        self,
        bucket: Bucket,
        key: Hashable,
        value: Any,
        size_bytes: int,
        most: int,
        now: float,
        ttl_s: float,
        *,
        lru: bool = True,
        mark: object = None,
    ) -> None:
        """Keep a result for `ttl_s` seconds from `now`. In a full bucket it takes the place of an expired one, else of
        the least recently used one (`lru`), else it is not kept."""
        entry = Entry(value, now + ttl_s, size_bytes + ENTRY_BYTES)
        room = self._rooms.get(bucket)
        if room is not None and room.mark != mark:
            self._empty(bucket, room)
            room = None
        if room is not None:
            room.most = min(room.most, most)
            if key in room.entries:
                self._drop(bucket, key)
            if len(room.entries) >= room.most and room.soonest <= now:
                for expired in [one for one, kept in room.entries.items() if kept.expires_at <= now]:
                    self._drop(bucket, expired)
                room.soonest = min((kept.expires_at for kept in room.entries.values()), default=math.inf)
            while room.entries and len(room.entries) >= room.most:
                if not lru:
                    return
                self._drop(bucket, next(iter(room.entries)))
            most = room.most
        if most < 1 or entry.size_bytes > self._most_bytes // 4:
            return
        while self.bytes + entry.size_bytes > self._most_bytes:
            self._drop(*next(iter(self._order)))
        room = self._rooms.get(bucket)
        if room is None:
            room = self._rooms[bucket] = _Room(most, mark)
        room.soonest = min(room.soonest, entry.expires_at)
        room.entries[key] = entry
        self._order[(bucket, key)] = None
        self.bytes += entry.size_bytes

    def _empty(self, bucket: Bucket, room: _Room) -> None:
        for key in list(room.entries):
            self._drop(bucket, key)

    def _drop(self, bucket: Bucket, key: Hashable) -> None:
        room = self._rooms[bucket]
        self.bytes -= room.entries.pop(key).size_bytes
        del self._order[(bucket, key)]
        if not room.entries:
            del self._rooms[bucket]

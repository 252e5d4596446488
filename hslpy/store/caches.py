"""What `cache` keeps: results of calls by bucket and arguments, for all runs of this process. In: keys, results, times.
Out: entries, expired ones too, since an update sees the old value.

A bucket is a namespace with a function's name. Its room is the smallest size that any call gave for it; all buckets
together have a room in bytes. Source: the HSL manual, cache.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Hashable
from itertools import islice
from typing import Any

from hslpy.records import dataclass

MOST_BYTES = 64 * 1024 * 1024  # a quarter of what memory_* may hold
ENTRY_BYTES = 600  # an entry with its key in both orders, CPython 3.11
_AT_ONCE = 256  # entries dropped by one call, in about a millisecond
_LOOK_S = 1e-5  # for each entry, how long nobody looks for expired ones again: a look takes a hundredth of it

Bucket = tuple[str, ...]


@dataclass(slots=True)
class Entry:
    """One result. `expires_at` is by the clock of the runs, in seconds."""

    value: Any
    expires_at: float
    size_bytes: int


class _Room:
    """The entries of one bucket, the least recently used first. `soonest` is when to look for expired ones."""

    __slots__ = ("bucket", "entries", "mark", "most", "soonest")

    def __init__(self, bucket: Bucket, most: int, mark: object) -> None:
        self.bucket = bucket
        self.most = most
        self.mark = mark
        self.soonest = math.inf
        self.entries: OrderedDict[Hashable, Entry] = OrderedDict()


class Caches:
    """All buckets. Buckets without entries are forgotten, and their sizes with them.

    No call drops many entries, for that would hold up the server: those of a bucket that became smaller go in several calls,
    and of one whose `mark` changed nothing is found any longer, while its entries go in their turn.
    """

    def __init__(self, most_bytes: int = MOST_BYTES) -> None:
        self.bytes = 0
        self._most_bytes = most_bytes
        self._rooms: dict[Bucket, _Room] = {}
        self._order: OrderedDict[tuple[_Room, Hashable], None] = OrderedDict()
        self._left: list[_Room] = []  # rooms whose mark has changed

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
            self._leave(room)
            return None
        room.most = min(room.most, most)
        if len(room.entries) > room.most:
            kept = room.entries.get(key)
            if kept is not None:
                room.entries.move_to_end(key)
            self._shrink(room, room.most)
        return room.entries.get(key)

    def used(self, bucket: Bucket, key: Hashable) -> None:
        """Note that the entry was used just now."""
        room = self._rooms[bucket]
        room.entries.move_to_end(key)
        self._order.move_to_end((room, key))

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
            self._leave(room)
            room = None
        self._clear()
        if room is not None:
            room.most = min(room.most, most)
            if key in room.entries:
                self._drop(room, key)
            if len(room.entries) >= room.most and room.soonest <= now:
                self._drop_expired(room, now)
            if len(room.entries) >= room.most:
                if not lru:
                    return
                self._shrink(room, room.most - 1)
            most = room.most
        if most < 1 or entry.size_bytes > self._most_bytes // 4:
            return
        while self.bytes + entry.size_bytes > self._most_bytes:
            self._drop(*next(iter(self._order)))
        room = self._rooms.get(bucket)
        if room is None:
            room = self._rooms[bucket] = _Room(bucket, most, mark)
        room.soonest = min(room.soonest, entry.expires_at)
        room.entries[key] = entry
        self._order[(room, key)] = None
        self.bytes += entry.size_bytes

    def _leave(self, room: _Room) -> None:
        """Forget the bucket; its entries go as `_clear` is called."""
        del self._rooms[room.bucket]
        self._left.append(room)
        self._clear()

    def _clear(self) -> None:
        while self._left and not self._left[-1].entries:
            self._left.pop()
        if self._left:
            self._shrink(self._left[-1], 0)

    def _shrink(self, room: _Room, size: int) -> None:
        for key in list(islice(room.entries, max(0, min(len(room.entries) - size, _AT_ONCE)))):
            self._drop(room, key)

    def _drop_expired(self, room: _Room, now: float) -> None:
        expired = (key for key, kept in room.entries.items() if kept.expires_at <= now)
        found = list(islice(expired, _AT_ONCE))
        for key in found:
            self._drop(room, key)
        if len(found) < _AT_ONCE:
            soonest = min((kept.expires_at for kept in room.entries.values()), default=math.inf)
            room.soonest = max(soonest, now + _LOOK_S * (len(room.entries) // _AT_ONCE * _AT_ONCE))

    def _drop(self, room: _Room, key: Hashable) -> None:
        self.bytes -= room.entries.pop(key).size_bytes
        del self._order[(room, key)]
        if not room.entries and self._rooms.get(room.bucket) is room:
            del self._rooms[room.bucket]

"""Bodies in append-only files, those of a batch with one sync. In: bodies. Out: where each is, on the disk by then.

The database would write a body twice, into its log and out of it, page by page with checksums; here it is written once.
A segment is unlinked when the commit is durable that removed the last row with a place in it. It is never appended to by
another process than the one that made it. What a crash leaves is cut off, or removed, at the next start.
All but `read` belongs to the writer's thread. Knows the table `places`, and nothing of messages.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import struct
from collections.abc import Iterable, Iterator, Sequence
from itertools import accumulate
from pathlib import Path

from hslpy.log import Log, no_log
from hslpy.records import dataclass
from hslpy.spool.folder import sync_folder

Place = tuple[int, int, int, int]  # message id, segment, offset, length: a row of `places`

SEGMENT_BYTES = 64 << 20
_LEAST_SHARE = 4  # a segment of which less than one part in so many is left is emptied
_MOVED_BODIES, _MOVED_BYTES = 64, 2 << 20  # a step, at most: work may be waiting
_PARTS = 1024  # the system takes no more at once
_HEAD = struct.Struct("=8sqQ")  # before each body: the mark, its message's id, its length
_MARK = b"\xffhslpy1\n"
SOUND = "typeof(segment) = 'integer' AND typeof(offset) = 'integer' AND typeof(length) = 'integer'"  # as far as it shows


@dataclass(slots=True)
class _Segment:
    """What rows refer to. `size_bytes` is the file's, once it is not appended to any more."""

    bodies: int = 0
    live_bytes: int = 0
    size_bytes: int = 0
    first_id: int = 0
    last_id: int = 0
    unreadable: bool = False


class Segments:
    """The segment files in the folder `path`; `load` first, `seal` at the end."""

    def __init__(self, path: Path, log: Log = no_log) -> None:
        self._path = path
        self._log = log
        self._segments: dict[int, _Segment] = {}
        self._next = 1
        self._current = 0  # what is appended to, 0 for none
        self._file = -1
        self._end = self._room = 0
        self._failing = False

    @property
    def live_bytes(self) -> int:
        return sum(segment.live_bytes for segment in self._segments.values())

    @property
    def room_bytes(self) -> int:
        """What is taken from the disk for bodies to come."""
        return self._room - self._end

    @property
    def some(self) -> bool:
        """Whether there are any."""
        return bool(self._segments)

    @property
    def some_empty(self) -> bool:
        """Whether `move_some` has one to unlink."""
        return any(number != self._current and not segment.bodies for number, segment in self._segments.items())

    def load(self, connection: sqlite3.Connection) -> None:
        """Count what the rows refer to, and cut off what was written behind that. Raises sqlite3.Error."""
        rows = connection.execute(
            "SELECT segment, count(*), CAST(total(length) AS INTEGER), CAST(max(offset + length) AS INTEGER),"
            f" min(message_id), max(message_id) FROM places WHERE {SOUND} GROUP BY segment"
        ).fetchall()
        self.seal()
        self._segments = {number: _Segment(*counts) for number, *counts in rows}
        self._next = max([0, *self._segments, *(number for _, number in self.files())]) + 1
        for number, segment in self._segments.items():
            with contextlib.suppress(OSError):
                self._cut(number, segment.size_bytes)

    def files(self) -> Iterator[tuple[Path, int]]:
        """Give each segment file with its number."""
        for path in sorted(self._path.glob("*")):
            if path.name.isdecimal():
                yield path, int(path.name)

    def unwanted(self) -> list[Path]:
        """Give the files that no row refers to."""
        return [path for path, number in self.files() if number not in self._segments]

    def append(self, bodies: Sequence[tuple[int, bytes]]) -> list[Place] | None:
        """Make the bodies, each with its message's id, durable, and give their rows; None when that failed.

        Each is counted until `free` gets its row.
        """
        parts = [part for message_id, body in bodies for part in (_HEAD.pack(_MARK, message_id, len(body)), body)]
        length = sum(len(part) for part in parts)
        try:
            if self._end + length > self._room:
                self._begin(max(SEGMENT_BYTES, length))
            _write(self._file, parts)
            os.fdatasync(self._file)
        except OSError as error:
            if not self._failing:
                self._log("spool.segment_failed", {"level": "warning", "segment": self._current, "error": str(error)})
            self._failing = True
            self.seal()  # after a failed sync nobody knows what is there
            return None
        self._failing = False
        places = []
        for message_id, body in bodies:
            self._end += _HEAD.size
            places.append((message_id, self._current, self._end, len(body)))
            self._end += len(body)
        segment = self._segments[self._current]
        ids = [message_id for message_id, _ in bodies]
        segment.first_id = min([*ids, segment.first_id or ids[0]])
        segment.last_id = max([*ids, segment.last_id])
        segment.bodies += len(bodies)
        segment.live_bytes += sum(len(body) for _, body in bodies)
        return places

    def free(self, places: Iterable[Place]) -> None:
        """Take back what `append` gave: the rows are gone, or never came to be."""
        for _, number, _, length in places:
            segment = self._segments.get(number)
            if segment is not None:
                segment.bodies -= 1
                segment.live_bytes -= length

    def rest(self) -> None:
        """Append no more to a segment that has nothing left in it: nobody waits."""
        if self._current and not self._segments[self._current].bodies:
            self.seal()

    def seal(self) -> None:
        """Append no more to the current segment."""
        if not self._current:
            return
        number, file, end = self._current, self._file, self._end
        self._current, self._file, self._end, self._room = 0, -1, 0, 0
        with contextlib.suppress(OSError):
            os.ftruncate(file, end)
        os.close(file)
        self._segments[number].size_bytes = end

    def move_some(self, connection: sqlite3.Connection) -> bool:
        """Move some bodies of a segment that is mostly empty into the database; unlink it when no row refers to it, which is
        looked up rather than taken from the counts. False when there is none such.

        Raises sqlite3.Error, perhaps within the transaction.
        """
        sparse = [number for number in self._segments if self._is_sparse(number)]
        if not sparse:
            return False
        number = min(sparse, key=lambda each: self._segments[each].bodies)
        segment = self._segments[number]
        places = connection.execute(
            "SELECT message_id, segment, offset, length FROM places"
            f" WHERE message_id BETWEEN ? AND ? AND segment = ? AND {SOUND} LIMIT ?",
            (segment.first_id, segment.last_id, number, _MOVED_BODIES),
        ).fetchall()
        if not places:
            self._drop(number)
            return True
        totals = accumulate(place[3] for place in places)
        places = [place for place, total in zip(places, totals, strict=True) if total <= _MOVED_BYTES] or places[:1]
        try:
            bodies = [self.read(*place[1:]) for place in places]
        except OSError:
            bodies = []
        if [len(body) for body in bodies] != [place[3] for place in places]:
            segment.unreadable = True  # who reads them says so
            return True
        connection.execute("BEGIN IMMEDIATE")
        for place, body in zip(places, bodies, strict=True):
            connection.execute("UPDATE contents SET body = ? WHERE message_id = ?", (body, place[0]))
            connection.execute("DELETE FROM places WHERE message_id = ?", place[:1])
        connection.execute("COMMIT")
        self.free(places)
        return True

    def read(self, number: int, offset: int, length: int) -> bytes:
        """Give what is there, less where the file ends before; any thread may. Raises OSError."""
        file = os.open(self._path / str(number), os.O_RDONLY | os.O_CLOEXEC)
        try:
            there = 0 <= offset <= offset + length <= os.fstat(file).st_size
            return os.pread(file, length, offset) if there else b""
        finally:
            os.close(file)

    def found(self) -> Iterator[Place]:
        """Give every place that the files themselves tell of, of bodies removed too. Unreadable files have none."""
        for path, number in self.files():
            try:
                data = path.read_bytes()
            except OSError:
                continue
            at = data.find(_MARK)
            while 0 <= at <= len(data) - _HEAD.size:
                _, message_id, length = _HEAD.unpack_from(data, at)
                end = at + _HEAD.size + length
                if end <= len(data):
                    yield message_id, number, at + _HEAD.size, length
                at = data.find(_MARK, end if end <= len(data) else at + 1)

    def _is_sparse(self, number: int) -> bool:
        segment = self._segments[number]
        little = not segment.unreadable and segment.live_bytes * _LEAST_SHARE < segment.size_bytes
        return number != self._current and (little or not segment.bodies)

    def _begin(self, size_bytes: int) -> None:
        self.seal()
        number, self._next = self._next, self._next + 1
        path = self._path / str(number)
        file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            os.posix_fallocate(file, 0, size_bytes)
            sync_folder(self._path)
        except BaseException:
            os.close(file)
            path.unlink(missing_ok=True)
            raise
        self._current, self._file, self._end, self._room = number, file, 0, size_bytes
        self._segments[number] = _Segment()

    def _drop(self, number: int) -> None:
        del self._segments[number]
        with contextlib.suppress(OSError):  # one that comes back is removed at the next start
            (self._path / str(number)).unlink()

    def _cut(self, number: int, size_bytes: int) -> None:
        file = os.open(self._path / str(number), os.O_WRONLY | os.O_CLOEXEC)
        try:
            about = os.fstat(file)
            if about.st_size > size_bytes and about.st_nlink == 1:  # others are set aside with a damaged database
                os.ftruncate(file, size_bytes)
        finally:
            os.close(file)


def _write(file: int, pieces: Sequence[bytes]) -> None:
    parts = [memoryview(piece) for piece in pieces]
    while parts:
        written = os.writev(file, parts[:_PARTS])
        while parts and written >= len(parts[0]):
            written -= len(parts.pop(0))
        if parts:
            parts[0] = parts[0][written:]

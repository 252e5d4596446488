"""A damaged SQLite file read page by page. In: the file and its WAL. Out: rows of the tables that can still be read.

Goes by the trees where these are whole. Where an inner page is damaged, the leaves that nothing leads to any more are
taken by their looks; pages that the pointer map knows as free are left out, for they hold what was removed. Every
frame of the WAL counts that is sound by itself, also behind one that is not. Knows nothing of mail.
Source: https://www.sqlite.org/fileformat2.html.
"""

from __future__ import annotations

import mmap
import struct
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

Values = tuple[object, ...]
Looks = Callable[[Values], bool]

_MAGIC = b"SQLite format 3\0"
_LEAF, _INNER = 13, 5  # of tables
_INDEX_LEAF = 10
_FREE = 2  # in the pointer map
_DEEPEST = 40  # levels of a tree; a real one has five
_WAL_HEADER, _FRAME_HEADER = 32, 24


class Unreadable(Exception):
    """A page or record is not what the format wants."""


class Image:
    """The pages of `database` as its `wal` makes them; either may be missing, short or damaged. To be closed."""

    def __init__(self, database: Path, wal: Path, usual_page_bytes: int) -> None:
        self._file = _mapped(database)
        head = self._file[:100]
        self.page_bytes = usual_page_bytes
        reserved = 0
        if head[:16] == _MAGIC:
            size = int.from_bytes(head[16:18], "big")
            size = 65536 if size == 1 else size
            if 512 <= size <= 65536 and size & (size - 1) == 0:
                self.page_bytes, reserved = size, head[20]
        self._usable = self.page_bytes - reserved
        self._log = _mapped(wal) if wal.exists() else b""
        self._in_log = self._sound_frames()
        whole = -(-len(self._file) // self.page_bytes)
        self.pages = max(whole, max(self._in_log, default=0))
        self.damaged: set[int] = set()

    def close(self) -> None:
        for each in (self._file, self._log):
            if isinstance(each, mmap.mmap):
                each.close()

    def page(self, number: int) -> bytes:
        """Give a page, filled up with zeros where the file ends within it. Raises Unreadable for one beyond it."""
        if not 1 <= number <= self.pages:
            raise Unreadable(f"there is no page {number}")
        at = self._in_log.get(number)
        if at is not None:
            return self._log[at : at + self.page_bytes]
        start = (number - 1) * self.page_bytes
        return self._file[start : start + self.page_bytes].ljust(self.page_bytes, b"\0")

    def differs_behind(self, frames: int) -> bool:
        """Say whether the WAL behind so many frames has a page that is not in the file like that."""
        size = self.page_bytes
        first = _WAL_HEADER + frames * (_FRAME_HEADER + size)
        behind = {number: at for number, at in self._in_log.items() if at > first}
        return any(self._log[at : at + size] != self._file[(n - 1) * size : n * size] for n, at in behind.items())

    def roots(self) -> Mapping[str, int]:
        """Give the root page of each table that the schema names, as far as it can be read."""
        roots: dict[str, int] = {}
        for _, values in self._rows_below(1, set()):
            if len(values) == 5 and values[0] == "table" and isinstance(values[1], str) and isinstance(values[3], int):
                roots[values[1]] = values[3]
        return roots

    def rows(self, root: int | None, seen: set[int], looks: Looks) -> Iterator[tuple[int, Values]]:
        """Give (rowid, values) of the tree below `root`; `seen` gets its pages, `damaged` those that can't be read."""
        if root is not None:
            for rowid, values in self._rows_below(root, seen):
                if looks(values):
                    yield rowid, values

    def stray_rows(self, seen: set[int]) -> Iterator[tuple[int, Values]]:
        """Give all rows of leaves that are not in `seen`, nor free as far as is known."""
        for number in range(2, self.pages + 1):
            if number in seen or self._is_free(number):
                continue
            page = self.page(number)
            if page[0] == _LEAF:
                yield from self._leaf(number, page)

    def pairs(self, root: int) -> Iterator[Values]:
        """Give the records of a table WITHOUT ROWID that fits on one page. Raises Unreadable."""
        page = self.page(root)
        if page[0] != _INDEX_LEAF:
            raise Unreadable("not one page of records")
        for at in self._cells(page, 0, 8):
            length, at = _varint(page, at)
            yield _record(self._payload(page, at, length, self._most_in_index()))

    def _most_in_index(self) -> int:
        return (self._usable - 12) * 64 // 255 - 23

    def _rows_below(self, root: int, seen: set[int]) -> Iterator[tuple[int, Values]]:
        stack = [(root, 0)]
        while stack:
            number, depth = stack.pop()
            if number in seen or depth > _DEEPEST:
                continue
            seen.add(number)
            try:
                page = self.page(number)
                start = 100 if number == 1 else 0
                kind = page[start]
                if kind == _INNER:
                    children = [int.from_bytes(page[at : at + 4], "big") for at in self._cells(page, start, 12)]
                    children.append(int.from_bytes(page[start + 8 : start + 12], "big"))
                    stack.extend((child, depth + 1) for child in reversed(children))
                    continue
                if kind != _LEAF:
                    raise Unreadable(f"page {number} is none of a table")
            except Unreadable:
                self.damaged.add(number)
                continue
            yield from self._leaf(number, page)

    def _leaf(self, number: int, page: bytes) -> Iterator[tuple[int, Values]]:
        """Give what can be read of a leaf; what can't be makes it a damaged one."""
        try:
            cells = self._cells(page, 100 if number == 1 else 0, 8)
        except Unreadable:
            self.damaged.add(number)
            return
        for at in cells:
            try:
                length, at = _varint(page, at)
                rowid, at = _varint(page, at)
                yield _signed(rowid), _record(self._payload(page, at, length, self._usable - 35))
            except Unreadable:
                self.damaged.add(number)

    def _cells(self, page: bytes, start: int, header: int) -> list[int]:
        count = int.from_bytes(page[start + 3 : start + 5], "big")
        first = start + header
        if first + 2 * count > self._usable:
            raise Unreadable("more cells than fit")
        places = struct.unpack_from(f">{count}H", page, first)
        if any(not first + 2 * count <= at < self._usable for at in places):
            raise Unreadable("a cell outside of its page")
        return list(places)

    def _payload(self, page: bytes, at: int, length: int, most: int) -> bytes:
        """Give the payload that begins at `at`, with what is on overflow pages. Source: section 1.6 of the format."""
        if length > len(self._file) + len(self._log) + self.page_bytes:
            raise Unreadable("a record longer than the file")
        if length <= most:
            local = length
        else:
            least = (self._usable - 12) * 32 // 255 - 23
            local = least + (length - least) % (self._usable - 4)
            local = local if local <= most else least
        if at + local > self._usable:
            raise Unreadable("a record longer than its page")
        if local == length:
            return page[at : at + length]
        parts = [page[at : at + local]]
        left = length - local
        following = int.from_bytes(page[at + local : at + local + 4], "big")
        while left > 0:
            more = self.page(following)
            following = int.from_bytes(more[:4], "big")
            parts.append(more[4 : 4 + min(left, self._usable - 4)])
            left -= len(parts[-1])
        return b"".join(parts)

    def _is_free(self, number: int) -> bool:
        """Say whether the pointer map has the page as free. Source: section 1.8 of the format."""
        each = self._usable // 5
        group = (number - 2) // (each + 1)
        in_map = group * (each + 1) + 2
        if number == in_map:
            return True  # the map itself
        at = 5 * (number - in_map - 1)
        return self.page(in_map)[at] == _FREE

    def _sound_frames(self) -> dict[int, int]:
        """Give the place in the WAL of the newest sound form of each page, of frames up to the last commit."""
        log, size = self._log, self.page_bytes
        if len(log) < _WAL_HEADER:
            return {}
        magic, _, page_bytes, _, salt1, salt2, one, two = struct.unpack_from(">8I", log)
        if magic & ~1 != 0x377F0682 or page_bytes != size:
            return {}
        order = ">" if magic & 1 else "<"
        committed: dict[int, int] = {}
        waiting: dict[int, int] = {}
        for at in range(_WAL_HEADER, len(log) - _FRAME_HEADER - size + 1, _FRAME_HEADER + size):
            number, commit, *salts, one_now, two_now = struct.unpack_from(">6I", log, at)
            if salts != [salt1, salt2]:
                break
            data = at + _FRAME_HEADER
            if _checksum(log[at : at + 8] + log[data : data + size], order, one, two) == (one_now, two_now):
                waiting[number] = data
                if commit:
                    committed.update(waiting)
                    waiting.clear()
            one, two = one_now, two_now
        return committed


def commits_of(wal: Path) -> list[int]:
    """Give the numbers (from 1) of the WAL's frames that end a commit, by their heads alone: sound or not."""
    commits: list[int] = []
    try:
        with open(wal, "rb") as file:
            header = file.read(_WAL_HEADER)
            if len(header) < _WAL_HEADER:
                return []
            page_bytes, salts = int.from_bytes(header[8:12], "big"), header[16:24]
            size = wal.stat().st_size
            for number in range(1, (size - _WAL_HEADER) // (_FRAME_HEADER + page_bytes) + 1):
                head = file.read(_FRAME_HEADER)
                if head[8:16] == salts and head[4:8] != b"\0\0\0\0":
                    commits.append(number)
                file.seek(page_bytes, 1)
    except (OSError, ZeroDivisionError):
        return []
    return commits


def _mapped(path: Path) -> mmap.mmap | bytes:
    with open(path, "rb") as file:
        return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) if path.stat().st_size else b""


def _checksum(data: bytes, order: str, one: int, two: int) -> tuple[int, int]:
    words = struct.unpack(f"{order}{len(data) // 4}I", data)
    pairs = iter(words)
    for first, second in zip(pairs, pairs, strict=True):
        one = one + first + two & 0xFFFFFFFF
        two = two + second + one & 0xFFFFFFFF
    return one, two


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = 0
    for place in range(at, at + 9):
        if place >= len(data):
            raise Unreadable("a number is cut off")
        byte = data[place]
        if place == at + 8:
            return value << 8 | byte, place + 1
        value = value << 7 | byte & 0x7F
        if byte < 0x80:
            return value, place + 1
    raise Unreadable("a number is too long")


def _signed(number: int) -> int:
    return number - (1 << 64) if number >= 1 << 63 else number


def _record(data: bytes) -> Values:
    """Give the values of a record. Source: section 2.1 of the format."""
    length, at = _varint(data, 0)
    if length > len(data):
        raise Unreadable("a record's head is longer than the record")
    place = length
    values: list[object] = []
    while at < length:
        kind, at = _varint(data, at)
        size = _INTEGER_BYTES[kind] if kind < 10 else (kind - 12) // 2
        if size < 0 or place + size > len(data):
            raise Unreadable("a value is cut off")
        values.append(_value(kind, data[place : place + size]))
        place += size
    return tuple(values)


_INTEGER_BYTES = (0, 1, 2, 3, 4, 6, 8, 8, 0, 0)


def _value(kind: int, data: bytes) -> object:
    if kind == 0:
        return None
    if kind < 7:
        return int.from_bytes(data, "big", signed=True)
    if kind == 7:
        return float(struct.unpack(">d", data)[0])
    if kind < 10:
        return kind - 8
    if kind < 12:
        raise Unreadable("a value of no known kind")
    if kind % 2 == 0:
        return data
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        raise Unreadable("a text that is none") from error

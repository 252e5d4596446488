"""Disks as a power cut may leave them. In: a record of `disk_shim`, a moment. Out: a folder with what survives.

What was synced before the moment is there. Of what was written later any part may be: writes come and go sector by
sector, sizes grow without their data, names are made, changed and removed or not, each by itself. A file's name is safe
only once its folder was synced (ext4 promises more). Nobody's word but the record's is taken for any of it.
"""

from __future__ import annotations

import random
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

_HEAD = struct.Struct("=QQqqq")
_SECTOR = 512
_VOLATILE = ("-shm", "spool.lock")  # made anew at every start
Keep = Callable[[], bool]


@dataclass(frozen=True, slots=True)
class Op:
    kind: str
    seq: int
    fd: int
    offset: int
    data: bytes


def read_record(file: Path) -> list[Op]:
    data = file.read_bytes()
    ops = []
    at = 0
    while at + _HEAD.size <= len(data):
        kind, seq, fd, offset, length = _HEAD.unpack_from(data, at)
        at += _HEAD.size
        ops.append(Op(chr(kind), seq, fd, offset, data[at : at + length]))
        at += length
    return ops


@dataclass(slots=True)
class _File:
    synced: bytearray = field(default_factory=bytearray)
    pending: list[Op] = field(default_factory=list)

    def sync(self, before: int) -> None:
        while self.pending and self.pending[0].seq <= before:
            _apply(self.synced, self.pending.pop(0), lambda: True)

    def surviving(self, keep: Keep, keep_sector: Keep) -> bytes:
        image = bytearray(self.synced)
        for op in self.pending:
            if keep():
                _apply(image, op, keep_sector)
        return bytes(image)


@dataclass(frozen=True, slots=True)
class _Name:
    """A change of a folder: `path` leads to `file` from now on, or to nothing."""

    seq: int
    path: str
    file: _File | None
    gone: str = ""


class Disk:
    """Follows the record; `leave` writes what a cut after the op followed last may leave."""

    def __init__(self, folder: Path) -> None:
        self._root = str(folder)
        self._now: dict[str, _File] = {}  # what the process sees
        self._synced: dict[str, _File] = {}
        self._folders: set[str] = {self._root}
        self._pending: list[_Name] = []
        self._open: dict[int, _File | None] = {}
        self.notes: list[str] = []

    def follow(self, op: Op) -> None:
        text = op.data.decode("utf-8", "replace") if op.kind in "OURMDN" else ""
        if op.kind == "N":
            self.notes.append(text)
        elif op.kind == "O":
            self._opened(op, text)
        elif op.kind in "WT":
            file = self._open.get(op.fd)
            if file is not None:
                file.pending.append(op)
        elif op.kind == "S":
            file = self._open.get(op.fd)
            if file is not None:
                file.sync(op.offset)
        elif op.kind == "C":
            self._open.pop(op.fd, None)
        elif op.kind == "M":
            self._folders.add(text)  # an empty folder more or less makes no difference
        elif op.kind == "U":
            if self._now.pop(text, None) is not None:
                self._pending.append(_Name(op.seq, text, None))
        elif op.kind == "R":
            old, new = text.split("\0")
            self._now[new] = self._now.pop(old)
            self._pending.append(_Name(op.seq, new, self._now[new], old))
        elif op.kind == "D":
            for name in [each for each in self._pending if _folder_of(each.path) == text and each.seq <= op.offset]:
                _change(self._synced, name)
                self._pending.remove(name)

    def _opened(self, op: Op, path: str) -> None:
        if path in self._folders or path.endswith(_VOLATILE):
            self._open[op.fd] = None
            return
        if path not in self._now:
            self._now[path] = _File()
            self._pending.append(_Name(op.seq, path, self._now[path]))
        self._open[op.fd] = self._now[path]

    def leave(self, place: Path, how: str, rng: random.Random) -> None:
        """Write a state into `place`: `nothing` of what was not synced, `all`, `torn` by sectors, or `some` of it."""
        share = rng.random()
        chance: Keep = {
            "nothing": lambda: False,
            "all": lambda: True,
            "some": lambda: rng.random() < share,
            "torn": lambda: rng.random() < 0.7,
        }[how]
        sector: Keep = (lambda: rng.random() < share) if how == "torn" else (lambda: True)
        names = dict(self._synced)
        for name in self._pending:
            if chance():
                _change(names, name)
        place.mkdir(mode=0o700)
        for folder in self._folders:
            (place / Path(folder).relative_to(self._root)).mkdir(mode=0o700, parents=True, exist_ok=True)
        for path, file in names.items():
            (place / Path(path).relative_to(self._root)).write_bytes(file.surviving(chance, sector))


def _folder_of(path: str) -> str:
    return path.rpartition("/")[0]


def _change(names: dict[str, _File], change: _Name) -> None:
    if change.gone:
        names.pop(change.gone, None)
    if change.file is None:
        names.pop(change.path, None)
    else:
        names[change.path] = change.file


def _apply(image: bytearray, op: Op, keep: Keep) -> None:
    if op.kind == "T":
        del image[op.offset :]
        image.extend(bytes(op.offset - len(image)))
        return
    for start, end in _sectors(op.offset, len(op.data)):
        if not keep():
            continue
        if len(image) < start:
            image.extend(bytes(start - len(image)))
        image[start:end] = op.data[start - op.offset : end - op.offset]


def _sectors(offset: int, length: int) -> Iterator[tuple[int, int]]:
    end = offset + length
    while offset < end:
        step = min(_SECTOR - offset % _SECTOR, end - offset)
        yield offset, offset + step
        offset += step

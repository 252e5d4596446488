"""The file of an SQLite database while it is used: whether it is still there, and whether another was put in its place.

In: a path. Out: what the path has now. SQLite goes on with a file that was removed, and makes an empty one for who connects
next. Must not know what is in it.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import struct
from pathlib import Path

Key = tuple[int, int]  # device and inode
_LOCK = struct.Struct("hhqqi4x")  # struct flock of Linux: type, whence, start, length, process
_USED = 128  # the byte of the -shm file that each who uses it keeps locked; source: SQLite's os_unix.c, UNIX_SHM_DMS

LOGS = ("-wal", "-shm")
"""What SQLite keeps beside the file. Source: its page "Write-Ahead Logging", section 3."""


class DatabaseFile:
    """The file at `path`; the one in use once it was noted."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._noted: Key | None = None
        self._logs: dict[Path, Key | None] = {}
        self._next: tuple[Key, int, int] | None = None

    def exists(self) -> bool:
        """Say whether there is a file with anything in it."""
        try:
            return self.path.stat().st_size > 0
        except FileNotFoundError:
            return False

    @property
    def key(self) -> Key | None:
        """What tells the file in use from others."""
        return self._noted

    def is_other_than(self, former: Key) -> bool:
        """Say whether there is a file, and not this one."""
        return _key(self.path) not in (None, former)

    def is_used_elsewhere(self) -> bool:
        """Say whether another process has a database of this name open. Only for who has it not: it would lose its locks."""
        with contextlib.suppress(OSError):
            log = os.open(self.path.with_name(self.path.name + LOGS[1]), os.O_RDWR)
            try:
                asked = _LOCK.pack(fcntl.F_WRLCK, os.SEEK_SET, _USED, 1, 0)
                return bool(_LOCK.unpack(fcntl.fcntl(log, fcntl.F_GETLK, asked))[0] != fcntl.F_UNLCK)
            finally:
                os.close(log)
        return False

    @property
    def is_noted(self) -> bool:
        return self._noted is not None

    def note(self) -> None:
        """Take the file that is there for the one in use."""
        self._noted, self._next = _key(self.path), None
        self.is_there()

    def is_there(self) -> bool:
        """Say whether the path has the file in use."""
        if self._noted is None or _key(self.path) != self._noted:
            return False
        self._logs = {log: _key(log) for log in (self.path.with_name(self.path.name + end) for end in LOGS)}
        return True

    def has_successor(self) -> bool:
        """Say whether another file is in its place, and is as it was when this was last asked: a copy takes its time."""
        before, self._next = self._next, None
        with contextlib.suppress(OSError):
            found = self.path.stat()
            if found.st_size:
                self._next = (found.st_dev, found.st_ino), found.st_size, found.st_mtime_ns
        return self._next is not None and self._next == before

    def give_way(self) -> None:
        """Remove the former file's logs, which SQLite would read into the one that is there now."""
        for log, key in self._logs.items():
            if key is not None and _key(log) == key:
                log.unlink(missing_ok=True)


def _key(path: Path) -> Key | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino

"""The spool's folder: its lock and the large bodies beside the database. In: ids and bytes. Out: synced files.

A body file is durable, name and all, before the row that needs it is committed, and unlinked after the row is gone;
what a crash leaves between the two is removed at the next start. Knows nothing of recipients.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

from hslpy.clock import Clock
from hslpy.errors import OperatorError

DATABASE = "spool.db"
_LOCK = "spool.lock"
_BODIES = "bodies"
_SEGMENTS = "segments"
_DAMAGED = "damaged"
_ROOM = "room.new"
_RESERVE = "reserve"
_POLL_S = 0.02
_CURE = "is its disk in order and writable, and the folder the server's user's?"
_RUN = 1024  # this many successive ids share a folder, so that a burst syncs few folders


class FolderInUse(OperatorError):
    """Another process has the folder."""


class Folder:
    """The folder, locked from `open` to `close` so that no two servers share it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock: int | None = None

    def open(self) -> None:
        """Make the folder where it is missing and lock it.

        Raises FolderInUse when another process has it, OperatorError when it cannot be written.
        """
        try:
            self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
            os.chmod(self.path, 0o700)
            (self.path / _BODIES).mkdir(mode=0o700, exist_ok=True)
            self.segments.mkdir(mode=0o700, exist_ok=True)
            (self.path / _ROOM).unlink(missing_ok=True)
            sync_folder(self.path.parent)
            sync_folder(self.path)
            descriptor = os.open(self.path / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise OperatorError(f"the spool folder {self.path} cannot be used: {error.strerror}", hint=_CURE) from error
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            other = os.pread(descriptor, 32, 0).decode("ascii", "replace").strip() or "unknown"
            os.close(descriptor)
            raise FolderInUse(
                f"the spool folder {self.path} is in use by process {other}",
                hint="stop that server first, or give this one another folder",
            ) from error
        with contextlib.suppress(OSError):  # for who reads it alone; a full disk is no reason not to start
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, b"%d\n" % os.getpid(), 0)
        self._lock = descriptor

    def close(self) -> None:
        """Let go of the lock; the file stays, since unlinking it would let two servers lock two files."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    @property
    def database(self) -> Path:
        return self.path / DATABASE

    @property
    def wal(self) -> Path:
        return self.path / f"{DATABASE}-wal"

    @property
    def segments(self) -> Path:
        return self.path / _SEGMENTS

    @property
    def damaged(self) -> Path:
        """Where damaged things are set aside; made when there are any."""
        return self.path / _DAMAGED

    def free_bytes(self) -> int:
        """Give what the disk has left for us."""
        stat = os.statvfs(self.path)
        return stat.f_bavail * stat.f_frsize

    def has_room(self, size_bytes: int) -> bool:
        """Say whether the disk takes so much more, whatever it says of itself."""
        path = self.path / _ROOM
        try:
            self._take_room(path, size_bytes)
            return True
        except OSError:
            return False
        finally:
            with contextlib.suppress(OSError):
                path.unlink(missing_ok=True)

    def _take_room(self, path: Path, size_bytes: int) -> None:
        with open(path, "wb") as file:
            os.posix_fallocate(file.fileno(), 0, size_bytes)

    def reserve(self, size_bytes: int) -> None:
        """Keep so much of the disk in a file, where there is none of that size yet; not where that fails."""
        path = self.path / _RESERVE
        with contextlib.suppress(OSError):
            if path.exists() and path.stat().st_size == size_bytes:
                return
            try:
                self._take_room(self.path / _ROOM, size_bytes)
                os.rename(self.path / _ROOM, path)
            finally:
                (self.path / _ROOM).unlink(missing_ok=True)

    def give_up_reserve(self) -> bool:
        """Give back to the disk what `reserve` keeps; say whether there was any."""
        try:
            (self.path / _RESERVE).unlink()
        except OSError:
            return False
        return True

    def write_body(self, message_id: int, variant: int, body: bytes, at: Callable[[str], None]) -> None:
        """Make the body durable under its name. `at` is told each step (tests kill the process there)."""
        path = self._body_path(message_id, variant)
        shard = path.parent
        if not shard.exists():
            shard.mkdir(mode=0o700, exist_ok=True)
            sync_folder(shard.parent)
        temporary = path.with_name(f"{path.name}.new")
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        try:
            view = memoryview(body)
            while view:
                view = view[os.write(descriptor, view) :]
            at("body written")
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        os.rename(temporary, path)
        at("body renamed")
        sync_folder(shard)
        at("body synced")

    def read_body(self, message_id: int, variant: int) -> bytes:
        """Give the body. Raises OSError when it is not there."""
        return self._body_path(message_id, variant).read_bytes()

    def remove_bodies(self, message_id: int) -> None:
        """Unlink all bodies of the message. Not synced: one that comes back is an orphan, removed at start."""
        with contextlib.suppress(OSError):
            for path in self._body_path(message_id, -1).parent.glob(f"{message_id}.*"):
                path.unlink(missing_ok=True)

    def bodies(self) -> Iterator[tuple[Path, int, int]]:
        """Give each file with its message id and variant; the id is 0 for names that are no body's.

        Folders that are symbolic links are nobody's: what they lead to is not ours to tidy.
        """
        for path in sorted((self.path / _BODIES).glob("*/*")):
            if path.parent.is_symlink():
                continue
            identity, _, variant = path.name.partition(".")
            try:
                yield path, int(identity), int(variant)
            except ValueError:
                yield path, 0, 0

    def _body_path(self, message_id: int, variant: int) -> Path:
        return self.path / _BODIES / f"{message_id // _RUN % 4096:03x}" / f"{message_id}.{variant}"


async def when_free(step: Callable[[], Awaitable[None]], clock: Clock, wait_s: float) -> None:
    """Do the step that locks a folder, again while another process has it, for `wait_s` at most. Raises as the step does."""
    until = clock.monotonic() + wait_s
    while True:
        try:
            await step()
            return
        except FolderInUse:
            if clock.monotonic() >= until:
                raise
        await clock.sleep(_POLL_S)


def sync_folder(path: Path) -> None:
    """Make the names in a folder durable."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)

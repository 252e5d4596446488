"""The database from its opening on: checked, and made anew when it turns out damaged. In: the folder. Out: a connection.

Decides whether what is found is damage; how a new database is made is `salvage`'s.
"""

from __future__ import annotations

import os
import shutil
import sqlite3
import traceback
from contextlib import closing
from dataclasses import asdict
from pathlib import Path

from hslpy.clock import Clock
from hslpy.errors import OperatorError
from hslpy.log import Log, no_log
from hslpy.spool.folder import Folder, sync_folder
from hslpy.spool.pages import Image, commits_of
from hslpy.spool.salvage import finish, kept_aside, new_place, salvage
from hslpy.spool.schema import PAGE_BYTES, connect_writer
from hslpy.spool.segments import Segments

_OPEN_BYTES = 1 << 20  # the index of the WAL, its first commit, and folders
_AGAIN_S = 600.0  # a disk that damages the new database as well wants an operator, not another copy


class Damage(sqlite3.DatabaseError):
    """Damage that SQLite does not see."""

    sqlite_errorcode = sqlite3.SQLITE_CORRUPT


def is_damage(error: BaseException | None) -> bool:
    """Say whether SQLite's error means that the file is not what was written: its own, or the module's that met no text."""
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    no_text = isinstance(error, sqlite3.OperationalError) and str(error).startswith("Could not decode to UTF-8")
    return no_text or (isinstance(error, sqlite3.Error) and code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB))


class Mender:
    """Opens the database and mends it. `generation` counts the databases; connections to an earlier one are stale."""

    def __init__(self, folder: Folder, segments: Segments, clock: Clock, log: Log = no_log) -> None:
        """`log` is called from whatever thread opens or writes."""
        self._folder = folder
        self._segments = segments
        self._clock = clock
        self._log = log
        self._mended_at: float | None = None
        self.generation = 0
        self.set_aside: tuple[str, ...] = ()

    @property
    def may_mend(self) -> bool:
        """Whether damage found now leads to a new database: not when the last one was made, or failed to be, just now."""
        return self._mended_at is None or self._clock.monotonic() - self._mended_at >= _AGAIN_S

    def open(self) -> sqlite3.Connection:
        """Give the writer's connection to a database that is sound as far as opening shows, damaged or not before.

        Files that no row wants are removed; set aside where the rows may have been lost. Raises OperatorError.
        """
        try:
            return self._open()
        except _NoRoom:
            if not self._folder.give_up_reserve():
                raise
        self._log("spool.reserve_used", {"level": "warning", "free_bytes": self._folder.free_bytes()})
        return self._open()

    def _open(self) -> sqlite3.Connection:
        folder = self._folder
        try:
            finish(folder)
            wal = folder.wal
            commits = commits_of(wal)
            empty = not folder.database.exists() or not folder.database.stat().st_size
            try:
                connection = self._opened(commits, wal, empty)
            except (sqlite3.Error, OperatorError) as error:
                cause = error.__cause__ if isinstance(error, OperatorError) else error
                if not is_damage(cause):
                    raise
                place = cause.place if isinstance(cause, _WalDamage) else self._new_place()
                connection = self._salvaged(place, str(cause))
                self._orphans(connection, aside=True)
        except (OSError, sqlite3.Error, OperatorError) as error:
            wanted = _room_to_open(folder)
            if (free := folder.free_bytes()) < wanted:
                text = (
                    f"the disk of the spool {folder.path} is full: {free >> 10} KiB free, {wanted >> 10} KiB wanted to start"
                )
                raise _NoRoom(text, hint="make room on it (`df -h`, `du`), and start again") from error
            if isinstance(error, OperatorError):
                raise
            raise OperatorError(
                f"the spool in {folder.path} cannot be used: {error}", hint="is its disk in order, writable and not full?"
            ) from error
        self.set_aside = kept_aside(folder)
        for name in self.set_aside:
            self._log("spool.set_aside", {"level": "warning", "folder": name})
        return connection

    def mend(self, connection: sqlite3.Connection, why: str) -> sqlite3.Connection:
        """Make a new database of the damaged one, and give the connection to it; the old one, opened anew, if that fails."""
        self._mended_at = self._clock.monotonic()
        try:
            place = self._new_place()
            wal = self._folder.wal
            if wal.exists():
                os.link(wal, place / wal.name)  # SQLite removes its own name for it when it is closed
            connection.close()
            return self._salvaged(place, why)
        except Exception as error:  # this thread must live on, whatever is in that file
            text = "".join(traceback.format_exception(error))
            self._log("spool.not_salvaged", {"level": "error", "why": why, "error": repr(error), "text": text})
        finally:
            self._mended_at = self._clock.monotonic()
        try:
            return connect_writer(self._folder.database)
        except OperatorError:
            return connection

    def _opened(self, commits: list[int], wal: Path, empty: bool) -> sqlite3.Connection:
        connection = connect_writer(self._folder.database)
        try:
            connection.execute("SELECT value FROM meta WHERE key = 'next_id'").fetchone()
            if commits:
                self._compare(connection, commits, wal)
            self._segments.load(connection)
            self._orphans(connection, aside=empty)
        except BaseException:
            connection.close()
            raise
        return connection

    def _compare(self, connection: sqlite3.Connection, commits: list[int], wal: Path) -> None:
        """Compare the commits in the WAL with those that SQLite takes, which ends at the first frame that is not sound.

        A power cut leaves one commit at most that was not synced, and nobody was told of that one. More than one is
        damage: SQLite would drop them without a word. Raises _WalDamage then. Where the database has all of it already,
        the head of the WAL was being written anew, and nothing is missing.
        """
        _, frames, _ = connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
        beyond = sum(number > frames for number in commits)
        if not beyond:
            return
        with closing(Image(self._folder.database, wal, PAGE_BYTES)) as image:
            if not image.differs_behind(frames):
                return
        place = self._new_place()
        shutil.copyfile(wal, place / wal.name)
        sync_folder(place)
        if beyond > 1:
            raise _WalDamage(f"{beyond} commits stand behind damage in the WAL", place)
        why = "the last commit is not whole, as a power cut leaves it"
        self._log("spool.wal_cut_short", {"level": "warning", "kept": place, "why": why})

    def _salvaged(self, place: Path, why: str) -> sqlite3.Connection:
        report = salvage(self._folder, place, why)
        connection = connect_writer(self._folder.database)
        self._segments.load(connection)
        self.generation += 1
        self.set_aside = kept_aside(self._folder)
        self._log("spool.salvaged", {"level": "error", "why": why, **asdict(report)})
        return connection

    def _new_place(self) -> Path:
        return new_place(self._folder, self._clock.time())

    def _orphans(self, connection: sqlite3.Connection, *, aside: bool) -> None:
        """Remove the files that no row wants: those of messages not committed, or removed just before a crash."""
        orphans = [*_unwanted(connection, self._folder), *self._segments.unwanted()]
        if not orphans:
            return
        place = self._new_place() if aside else None
        for path in orphans:
            if place is None:
                path.unlink(missing_ok=True)
            else:
                os.rename(path, place / f"{'segment' if path.parent == self._folder.segments else 'body'}-{path.name}")
        self._log("spool.orphans", {"files": len(orphans), "kept": "" if place is None else place})


class _NoRoom(OperatorError):
    """The disk is too full for the database to be opened."""


def _room_to_open(folder: Folder) -> int:
    """Give what the disk must have left, in bytes: each page of the WAL may be one that the database has not yet."""
    return _OPEN_BYTES + (folder.wal.stat().st_size if folder.wal.exists() else 0)


class _WalDamage(Damage):
    def __init__(self, text: str, place: Path) -> None:
        super().__init__(text)
        self.place = place


def _unwanted(connection: sqlite3.Connection, folder: Folder) -> list[Path]:
    unwanted = []
    for path, message_id, variant in folder.bodies():
        table, where = ("contents", "") if variant < 0 else ("variants", f" AND same_body = 0 AND variant = {variant}")
        wanted = connection.execute(
            f"SELECT 1 FROM {table} WHERE message_id = ? AND body IS NULL{where}", (message_id,)
        ).fetchone()
        if not wanted:
            unwanted.append(path)
    return unwanted

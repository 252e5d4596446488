"""The one writer of the SQLite spool: a thread that commits all work then waiting at once. In: `Work`. Out: durability.

Work of one batch is independent: what one piece gets wrong is that piece's error. Knows rows and files, not messages.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import json
import queue
import sqlite3
import threading
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import field
from functools import cache
from time import monotonic
from typing import Any

from hslpy.log import Log
from hslpy.records import dataclass
from hslpy.spool.contract import SpoolDamaged, SpoolError, SpoolFull
from hslpy.spool.folder import Folder
from hslpy.spool.mending import Mender, is_damage
from hslpy.spool.rows import CONTENT_COLUMNS, MESSAGE_COLUMNS, PLACE_COLUMNS, RECIPIENT_COLUMNS, VARIANT_COLUMNS
from hslpy.spool.schema import BUSY_MS, PAGE_BYTES
from hslpy.spool.segments import SOUND, Place, Segments

Row = tuple[Any, ...]

_BATCH_BYTES = 8 << 20  # a commit of this size takes about 50 ms; others should not wait longer for theirs
_IDLE_S = 1.0  # how long nothing may come before free pages are given back to the disk
_VACUUM_PAGES = 64  # 1 MiB a step, so that work that comes meanwhile waits for milliseconds
_VACUUM_EACH = 16  # commits, on a server that is never idle: about 10 MiB a second
_SPARE_PAGES = 4096  # 64 MiB of free pages are kept for the next burst
_MEASURE_EACH_S = 0.05  # how long the free space is taken to be as it was: three calls that wait for Python's lock
_RESERVE_EACH_S = 5.0  # how often room for the reserve is looked for: not by servers that live for a moment only
_CHECKPOINT_BYTES = 6 << 20  # in the WAL: taken within 10 ms, which fifty sessions need for their next messages
_WAL_IDLE_BYTES = 32 << 20  # so long a WAL stays as it is: written over again it is synced in half the time
_LOW_BYTES = 2 * _BATCH_BYTES  # with so little left beside two reserves the WAL keeps what it has: others would take it
_IDS_RESERVED = 1000
_SEGMENT_BODY_BYTES = 4 << 10  # bodies above this go to a segment
_SEGMENT_BATCH_BYTES = 128 << 10  # when a batch has so much of them: else the second sync costs more than it saves


@dataclass(slots=True)
class Work:
    """What one caller waits for: rows to insert (`message` None for changes alone), then updates, then removals."""

    future: asyncio.Future[None]
    message: Row | None = None
    content: Row | None = None
    variants: Sequence[Row] = ()
    recipients: Sequence[Row] = ()
    updates: Sequence[tuple[tuple[str, ...], Row]] = ()
    removals: Sequence[int] = ()
    size_bytes: int = 0
    may_use_reserve: bool = False
    then: Callable[[], None] | None = None  # called in the loop when it is durable, though nobody wait for it
    suspect: int | None = None  # the database of this generation was found damaged
    error: BaseException | None = None
    place: Place | None = None  # of the content's body, when it is in a segment
    # what this work, or its batch, removed: messages with body files, and bodies in segments
    gone: list[int] = field(default_factory=list)
    freed: list[Place] = field(default_factory=list)

    def forget(self) -> None:
        """Forget what was removed: it was not."""
        self.gone.clear()
        self.freed.clear()


_COLUMNS: Mapping[str, Sequence[str]] = {
    "messages": MESSAGE_COLUMNS,
    "contents": CONTENT_COLUMNS,
    "places": PLACE_COLUMNS,
    "variants": VARIANT_COLUMNS,
    "recipients": RECIPIENT_COLUMNS,
}
_MOST_ROWS = 64  # a statement; 64 recipients are 1,408 of the 32,766 parameters allowed


def _insert_rows(connection: sqlite3.Connection, table: str, rows: Sequence[Row]) -> None:
    """Insert the rows by as few statements as may be; those of each number of rows stay compiled.

    Each step of a statement lets go of Python's lock and then waits for it again: a step a row doubled what this thread
    takes from the sessions.
    """
    for at in range(0, len(rows), _MOST_ROWS):
        some = rows[at : at + _MOST_ROWS]
        connection.execute(_insert(table, len(some)), [value for row in some for value in row])


def _content_row(work: Work) -> Row:
    assert work.content is not None
    message_id, header, body, checksum = work.content
    return message_id, header, body if work.place is None else None, checksum


@cache
def _insert(table: str, rows: int) -> str:
    """Give the statement. `OR FAIL`: who runs it takes back the rows before one that cannot be stored. Else SQLite itself
    keeps the pages as they were before each statement, from 64 KiB on in a new file in the system's temporary folder.
    """
    columns = _COLUMNS[table]
    row = f"({', '.join('?' * len(columns))})"
    return f"INSERT OR FAIL INTO {table} ({', '.join(columns)}) VALUES {', '.join([row] * rows)}"


_IDS = "(SELECT value FROM json_each(?))"
_MESSAGES_OF = f"SELECT json_group_array(DISTINCT message_id) FROM recipients WHERE queue_id IN {_IDS}"
_SET_NEXT_ID = "UPDATE meta SET value = ? WHERE key = 'next_id'"
_DELETE_RECIPIENTS = f"DELETE FROM recipients WHERE queue_id IN {_IDS}"
_DONE_WITH = (
    "SELECT json_group_array(id), json_group_array(id) FILTER (WHERE has_files) FROM messages"
    f" WHERE id IN {_IDS} AND NOT EXISTS"
    " (SELECT 1 FROM recipients r WHERE r.queue_id BETWEEN messages.id AND messages.id + messages.recipients - 1)"
)
_DELETE_ALL_OF = tuple(
    f"DELETE FROM {table} WHERE {column} IN {_IDS}"
    for table, column in (("messages", "id"), ("contents", "message_id"), ("variants", "message_id"))
)
_PLACES_OF = (
    "SELECT json_group_array(json_array(message_id, segment, offset, length)) FROM places"
    f" WHERE message_id IN {_IDS} AND {SOUND}"
)
_DELETE_PLACES = f"DELETE FROM places WHERE message_id IN {_IDS}"


class Writer(threading.Thread):
    """Owns the writing connection, and closes it when stopped; futures are woken in `loop`, one call a batch."""

    def __init__(
        self,
        connection: sqlite3.Connection,
        folder: Folder,
        loop: asyncio.AbstractEventLoop,
        *,
        min_free_bytes: int,
        reserve_bytes: int,
        max_batch: int,
        at: Callable[[str], None],
        mender: Mender,
        segments: Segments,
        log: Log,
    ) -> None:
        """`log` is called from this thread."""
        super().__init__(name="spool-writer", daemon=True)
        self._connection = connection
        self._folder = folder
        self._loop = loop
        self._min_free_bytes = min_free_bytes
        self._reserve_bytes = reserve_bytes
        if not reserve_bytes:  # that of a start with another setting
            folder.give_up_reserve()
        self._low_bytes = _LOW_BYTES + 2 * reserve_bytes
        self._reserve_at = monotonic() + _RESERVE_EACH_S
        self._max_batch = max_batch
        self._at = at
        self._mender = mender
        self._segments = segments
        self._log = log
        self._work: queue.SimpleQueue[list[Work] | None] = queue.SimpleQueue()
        self._submitted: list[Work] = []
        self._waiting: deque[Work] = deque()  # taken from the queue and not yet in a batch
        self.free_bytes = 0
        self.database_bytes = 0
        self.commits = 0
        self.stored = 0
        self.removed = 0
        self._free_id = self._reserved_id = 0  # above all stored, and as the database has it
        self._measure_at = 0.0
        self._tidy_at = 0  # commits when all of the WAL was in the database
        self._in_wal = 0  # bytes, about
        self._measure(connection)  # `full` is asked for before the first work comes

    @property
    def full(self) -> bool:
        """Whether new messages are refused, by a measurement not older than a second, with commits _MEASURE_EACH_S."""
        return self.free_bytes < self._min_free_bytes

    def submit(self, work: Work) -> None:
        """Have the work done, together with all that is submitted in this turn of the loop: a wake-up is a turn's price."""
        if not self._submitted:
            self._loop.call_soon(self._hand_over)
        self._submitted.append(work)

    def _hand_over(self) -> None:
        works, self._submitted = self._submitted, []
        if works:
            self._work.put(works)

    def stop(self) -> None:
        """Let the thread write what was submitted and end; then `join` it."""
        self._hand_over()
        self._work.put(None)

    def run(self) -> None:
        try:
            while True:
                batch, last = self._take(self._connection)
                if batch:
                    self._at("taken")
                    self._write(self._connection, batch)
                    self._use_reserve(batch)
                    self._mend(batch)
                    self._wake(batch)
                    self._checkpoint(batch)
                    if self.commits % _VACUUM_EACH == 0:
                        self._give_back(self._connection, idle=False)
                if last:
                    self._return_ids(self._connection)
                    break
        finally:
            self._segments.seal()
            with contextlib.suppress(sqlite3.Error, OSError):  # readers are open still, so closing would leave the WAL
                while self._segments.some_empty and self._segments.move_some(self._connection):
                    pass
                how = "TRUNCATE" if self._folder.free_bytes() >= self._low_bytes else "PASSIVE"
                self._connection.execute(f"PRAGMA wal_checkpoint({how})").fetchall()
            self._connection.close()

    def _use_reserve(self, batch: list[Work]) -> None:
        """Write again, but for new mail, what a full disk refused, with the reserve given up. The database takes what the
        WAL has at once, which is written from its beginning then: both have most of the room that removals want, before
        whoever filled the disk takes the rest.
        """
        refused = [work for work in batch if isinstance(work.error, SpoolFull) and work.may_use_reserve]
        if not refused:
            return
        if self._folder.give_up_reserve():
            self._log("spool.reserve_used", {"level": "warning", "free_bytes": self._folder.free_bytes()})
        with contextlib.suppress(sqlite3.Error):
            self._connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()
        for work in refused:
            work.error = None
        self._write(self._connection, refused)

    def _mend(self, batch: list[Work]) -> None:
        """Have a damaged database made anew, and write what failed by the damage."""
        self._doubt(batch)
        failed = [work for work in batch if isinstance(work.error, SpoolDamaged)]
        suspected = any(work.suspect == self._mender.generation for work in batch)
        if not (failed or suspected) or not self._mender.may_mend:
            return
        why = str(failed[0].error) if failed else "a reader found the database damaged"
        self._connection = self._mender.mend(self._connection, why)
        self._reserved_id = 0  # the new database does not know of it
        for work in failed:
            work.error = None
        if failed:
            self._write(self._connection, failed)

    def _doubt(self, batch: list[Work]) -> None:
        """Take a database for damaged that SQLite calls full with room on the disk: it says so where a page leads beyond."""
        full = [
            work for work in batch if isinstance(work.error, SpoolFull) and isinstance(work.error.__cause__, sqlite3.Error)
        ]
        if not full or not self._mender.may_mend:
            return
        with contextlib.suppress(sqlite3.Error):
            pages: int = self._connection.execute("PRAGMA page_count").fetchone()[0]
            most: int = self._connection.execute("PRAGMA max_page_count").fetchone()[0]
            if pages + _SPARE_PAGES >= most or not self._folder.has_room(2 * _BATCH_BYTES):
                return
        for work in full:
            work.error = SpoolDamaged(f"{work.error}, and there is room")

    def _take(self, connection: sqlite3.Connection) -> tuple[list[Work], bool]:
        """Wait for work, then take all there is up to the cap; the flag says that `stop` was reached."""
        waiting = self._waiting
        batch: list[Work] = []
        size = 0
        while len(batch) < self._max_batch and size < _BATCH_BYTES:
            if not waiting:
                try:
                    works = self._work.get_nowait() if batch else self._work.get(timeout=_IDLE_S)
                except queue.Empty:
                    if batch:
                        break
                    self._give_back(connection, idle=True)
                    continue
                if works is None:
                    return batch, True
                waiting.extend(works)
            work = waiting.popleft()
            batch.append(work)
            size += work.size_bytes
        return batch, False

    def _wake(self, batch: list[Work]) -> None:
        def wake() -> None:
            for work in batch:
                if work.error is None and work.then is not None:
                    work.then()
                if work.future.done():  # its caller was cancelled
                    continue
                if work.error is None:
                    work.future.set_result(None)
                else:
                    work.future.set_exception(work.error)

        try:
            self._loop.call_soon_threadsafe(wake)
        except RuntimeError:  # the loop is closed: nobody waits any more
            return
        self._at("woken")

    def _checkpoint(self, batch: list[Work]) -> None:
        """Have the database take what the WAL has, now that nobody waits: else SQLite does so within some later commit."""
        self._in_wal += 2 * PAGE_BYTES + sum([work.size_bytes + PAGE_BYTES // 4 for work in batch if work.place is None])
        if self._in_wal >= _CHECKPOINT_BYTES:
            self._in_wal = 0
            with contextlib.suppress(sqlite3.Error):
                self._connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()

    def _write(self, connection: sqlite3.Connection, batch: list[Work]) -> None:
        try:
            if self._measure_at <= (now := monotonic()):
                self._measure_at = now + _MEASURE_EACH_S
                self._measure(connection)
            if self.full:
                full = f"{self.free_bytes >> 20} MiB free in {self._folder.path}, {self._min_free_bytes >> 20} MiB wanted"
                for work in batch:
                    if work.message is not None and not work.may_use_reserve:
                        work.error = SpoolFull(full)
            self._append([work for work in batch if work.error is None])
            try:
                self._commit(connection, [work for work in batch if work.error is None], together=True)
            except _StatementFailed:
                self._commit(connection, [work for work in batch if work.error is None], together=False)
        except Exception as error:
            _roll_back(connection)
            for work in batch:
                work.error = work.error or spool_error(error)
                work.forget()
        for work in batch:
            for message_id in work.gone:
                self._folder.remove_bodies(message_id)
            self._segments.free(work.freed)
            if work.error is not None and work.place is not None:
                self._segments.free([work.place])
                work.place = None

    def _append(self, batch: list[Work]) -> None:
        """Have the larger bodies of a batch that has many of them in a segment. Where that fails the database gets them,
        as it does in small batches.
        """
        large = [(work, work.content[0], work.content[2]) for work in batch if work.content is not None]
        large = [each for each in large if each[2] is not None and len(each[2]) > _SEGMENT_BODY_BYTES]
        if sum(len(body) for _, _, body in large) < _SEGMENT_BATCH_BYTES:
            return
        places = self._segments.append([(message_id, body) for _, message_id, body in large])
        if places is not None:
            self._at("appended")
            for (work, _, _), place in zip(large, places, strict=True):
                work.place = place

    def _commit(self, connection: sqlite3.Connection, batch: list[Work], *, together: bool) -> None:
        """Write the batch in one transaction; statement by statement for all, or apart with a savepoint for each.

        Raises _StatementFailed when `together` and a statement failed; whatever the commit raises.
        """
        if not batch:
            return
        connection.execute("BEGIN IMMEDIATE")
        self._at("begun")
        ids = self._reserve_ids(connection, batch)
        stored = removed = 0
        if together:
            try:
                stored, removed = self._execute(connection, batch)
            except Exception as error:
                _roll_back(connection)
                for work in batch:
                    work.forget()
                raise _StatementFailed from error
        else:
            for work in batch:
                connection.execute("SAVEPOINT piece")
                try:
                    counts = self._execute(connection, [work])
                except Exception as error:
                    work.forget()
                    work.error = spool_error(error)
                    if not connection.in_transaction:  # a full disk, a bad one: SQLite has rolled all of it back
                        raise
                    connection.execute("ROLLBACK TO piece")
                else:
                    stored, removed = stored + counts[0], removed + counts[1]
                connection.execute("RELEASE piece")
        self._at("written")
        connection.execute("COMMIT")
        self._at("committed")
        self._free_id, self._reserved_id = ids
        self.commits += 1
        self.stored += stored
        self.removed += removed

    def _reserve_ids(self, connection: sqlite3.Connection, batch: list[Work]) -> tuple[int, int]:
        """Have the mark that keeps an id from being given twice above those of the batch; give the first free id, and it.

        It moves in leaps, as each move is another page to write: what is left of one is not used after a crash.
        """
        ends = [work.message[0] + len(work.recipients) for work in batch if work.message is not None]
        free_id = max([self._free_id, *ends])
        if free_id <= self._reserved_id:
            return free_id, self._reserved_id
        connection.execute(_SET_NEXT_ID, (free_id + _IDS_RESERVED,))
        return free_id, free_id + _IDS_RESERVED

    def _return_ids(self, connection: sqlite3.Connection) -> None:
        with contextlib.suppress(sqlite3.Error):  # they are only not used
            if self._free_id < self._reserved_id:
                connection.execute(_SET_NEXT_ID, (self._free_id,))

    def _execute(self, connection: sqlite3.Connection, batch: list[Work]) -> tuple[int, int]:
        new = [work for work in batch if work.message is not None]
        recipients = [row for work in new for row in work.recipients]
        if new:
            _insert_rows(connection, "messages", [work.message for work in new if work.message is not None])
            _insert_rows(connection, "contents", [_content_row(work) for work in new if work.content is not None])
            _insert_rows(connection, "places", [work.place for work in new if work.place is not None])
            _insert_rows(connection, "variants", [row for work in new for row in work.variants])
            _insert_rows(connection, "recipients", recipients)
        for work in batch:
            for columns, values in work.updates:
                if columns:
                    assignments = ", ".join(f"{column} = ?" for column in columns)
                    connection.execute(f"UPDATE recipients SET {assignments} WHERE queue_id = ?", values)
        return len(recipients), self._remove(connection, batch)

    def _remove(self, connection: sqlite3.Connection, batch: list[Work]) -> int:
        """Remove recipients, and messages with the last of theirs: a statement a table, however many there are.

        Each statement takes turns with the event loop's thread, which costs more than the statement itself.
        """
        removals = [queue_id for work in batch for queue_id in work.removals]
        if not removals:
            return 0
        ids = json.dumps(removals)
        messages = connection.execute(_MESSAGES_OF, (ids,)).fetchone()[0]
        removed = connection.execute(_DELETE_RECIPIENTS, (ids,)).rowcount
        gone, with_files = connection.execute(_DONE_WITH, (messages,)).fetchone()
        for statement in _DELETE_ALL_OF:
            connection.execute(statement, (gone,))
        batch[0].gone.extend(json.loads(with_files or "[]"))
        if self._segments.some:
            batch[0].freed.extend(json.loads(connection.execute(_PLACES_OF, (gone,)).fetchone()[0]))
            connection.execute(_DELETE_PLACES, (gone,))
        return removed

    def _measure(self, connection: sqlite3.Connection) -> None:
        free_pages: int = connection.execute("PRAGMA freelist_count").fetchone()[0]
        pages: int = connection.execute("PRAGMA page_count").fetchone()[0]
        self.database_bytes = (pages - free_pages) * PAGE_BYTES + self._segments.live_bytes
        self.free_bytes = self._folder.free_bytes() + free_pages * PAGE_BYTES + self._segments.room_bytes

    def _restore_reserve(self) -> None:
        """Keep room on the disk that only this spool uses, where there is more than enough for new mail as well."""
        if self._reserve_bytes and self._reserve_at <= (now := monotonic()):
            self._reserve_at = now + _RESERVE_EACH_S
            if self._folder.free_bytes() >= max(self._min_free_bytes, 2 * self._reserve_bytes) + self._reserve_bytes:
                self._folder.reserve(self._reserve_bytes)

    def _give_back(self, connection: sqlite3.Connection, *, idle: bool) -> None:
        """Shrink the file when more than half of it is free, and empty segments that hold little: all while nobody waits,
        else a step. Then have the database take all of the WAL, and cut a long one back.
        """
        try:
            if idle:
                self._segments.rest()
            while self._segments.move_some(connection) and idle and self._work.empty():
                pass
            while self._work.empty() or not idle:
                free: int = connection.execute("PRAGMA freelist_count").fetchone()[0]
                pages: int = connection.execute("PRAGMA page_count").fetchone()[0]
                if free < _SPARE_PAGES or free * 2 < pages:
                    break
                connection.executescript(f"PRAGMA incremental_vacuum({_VACUUM_PAGES})")  # `execute` ends after a page
                if not idle:
                    break
            tidy = self.commits == self._tidy_at or self._folder.free_bytes() < self._low_bytes
            if idle and not tidy and self._work.empty():
                self._tidy_at = self.commits
                connection.execute("PRAGMA busy_timeout=0")  # readers go first
                try:
                    how = "TRUNCATE" if self._folder.wal.stat().st_size > _WAL_IDLE_BYTES else "PASSIVE"
                    connection.execute(f"PRAGMA wal_checkpoint({how})").fetchall()
                finally:
                    connection.execute(f"PRAGMA busy_timeout={BUSY_MS}")
            if idle:
                self._measure(connection)
            self._restore_reserve()
        except (sqlite3.Error, OSError):
            _roll_back(connection)  # it can be done later


class _StatementFailed(Exception):
    """A statement of the whole batch failed; nothing was written."""


_UNFIT = (sqlite3.IntegrityError, sqlite3.DataError, sqlite3.InterfaceError, OverflowError, TypeError, ValueError)


def spool_error(error: BaseException) -> SpoolError:
    """Give the SpoolError that `error` of SQLite or the system stands for."""
    if isinstance(error, SpoolError):
        return error
    full = isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)
    if isinstance(error, sqlite3.Error) and getattr(error, "sqlite_errorcode", 0) & 0xFF == sqlite3.SQLITE_FULL:
        full = True
    kind = SpoolFull if full else SpoolDamaged if is_damage(error) else SpoolError
    made = kind(f"{type(error).__name__}: {error}")
    made.__cause__ = error
    made.unfit = isinstance(error, _UNFIT)
    return made


def _roll_back(connection: sqlite3.Connection) -> None:
    try:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
    except sqlite3.Error:
        pass  # SQLite has rolled back by itself

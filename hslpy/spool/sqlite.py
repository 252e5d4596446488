"""The durable spool: SQLite with group commit, large bodies in files beside it. In: messages. Out: ids, content, recovery.

All methods belong to one event loop; writing is the writer thread's, reading a small pool's. Knows nothing of due times.
"""

from __future__ import annotations

import asyncio
import contextlib
import queue
import sqlite3
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from hslpy.clock import Clock, SystemClock
from hslpy.log import Log, no_log
from hslpy.records import dataclass
from hslpy.spool.contract import (
    NewMessage,
    QueuedRecipient,
    Remove,
    SpoolDamaged,
    SpoolError,
    SpoolFull,
    SpoolStats,
    Then,
    Update,
)
from hslpy.spool.folder import Folder
from hslpy.spool.mending import Damage, Mender, is_damage
from hslpy.spool.rows import LOAD_COLUMNS, checksum, entries_from, queued_recipients, recipient_row, update_row
from hslpy.spool.schema import connect_reader
from hslpy.spool.segments import Segments
from hslpy.spool.writer import Work, Writer, spool_error

_T = TypeVar("_T")

_Unread = tuple[int, int, asyncio.Future[bytes]]
_CONTENT = (
    "SELECT header, body, checksum, segment, offset, length FROM contents LEFT JOIN places USING (message_id)"
    " WHERE message_id = ?"
)
_PARTS = "same_header, same_body, header, body, checksum"
_RECOVERY_ROWS = 2000  # about 10 ms of work a batch


@dataclass(frozen=True, slots=True)
class SpoolSettings:
    """`folder` holds everything. Bodies above `body_file_above_bytes` go to files; below `min_free_bytes` of free
    disk new messages are refused, and `reserve_bytes` are kept for what is queued then (0: none); `max_batch` messages at
    most share a commit; `readers` threads read. Ids begin with `first_id`.

    Measured: up to 256 KiB the database stores 1.2 to 2.7 times as fast as files; from 512 KiB on files are removed
    twice as fast.
    """

    folder: Path
    body_file_above_bytes: int = 256 << 10
    min_free_bytes: int = 256 << 20
    reserve_bytes: int = 32 << 20
    max_batch: int = 256
    readers: int = 2
    first_id: int = 1


class SqliteSpool:
    """The spool in `settings.folder`, from `open` to `close`. `at` is told each step of writing: tests kill there."""

    def __init__(
        self,
        settings: SpoolSettings,
        at: Callable[[str], None] = lambda step: None,
        clock: Clock | None = None,
        log: Log = no_log,
    ) -> None:
        self._settings = settings
        self._at = at
        self._log = log
        self._folder = Folder(settings.folder)
        self._segments = Segments(self._folder.segments, log)
        self._mender = Mender(self._folder, self._segments, clock or SystemClock(), log)
        self._writer: Writer | None = None
        self._next_id = 1
        self._connections: queue.SimpleQueue[tuple[int, sqlite3.Connection]] = queue.SimpleQueue()  # by generation
        self._pool = ThreadPoolExecutor(settings.readers, "spool-read")
        self._unread: list[_Unread] = []
        self._reading: set[asyncio.Task[list[bytes | SpoolError]]] = set()
        self._bodies = ThreadPoolExecutor(4, "spool-body")  # fsyncs of several bodies run side by side

    async def open(self) -> None:
        """Lock the folder, make or migrate the database, remove what a crash left over, start the writer.

        Raises OperatorError when the folder or the database cannot be used.
        """
        loop = asyncio.get_running_loop()
        self._next_id, connection = await loop.run_in_executor(self._pool, self._prepare)
        self._writer = Writer(
            connection,
            self._folder,
            loop,
            min_free_bytes=self._settings.min_free_bytes,
            reserve_bytes=self._settings.reserve_bytes,
            max_batch=self._settings.max_batch,
            at=self._at,
            mender=self._mender,
            segments=self._segments,
            log=self._log,
        )
        self._writer.start()

    def store(self, message: NewMessage, then: Then | None = None) -> Coroutine[Any, Any, tuple[QueuedRecipient, ...]]:
        """Make the message durable and give its recipients with their new ids. Source: `Spool.store`."""
        return self._write((), message, may_use_reserve=False, then=then)

    async def apply(self, changes: Sequence[Update | Remove], new: NewMessage | None = None) -> tuple[QueuedRecipient, ...]:
        """Write the changes and the new message in one transaction. Source: `Spool.apply`.

        A new message here is a report of ours that ends another: it is stored below `min_free_bytes` too.
        """
        return await self._write(changes, new, may_use_reserve=True)

    async def read(self, message_id: int, variant: int) -> bytes:
        """Give the content for that variant. Raises SpoolDamaged when it is not there as it was stored."""
        self._running()
        loop = asyncio.get_running_loop()
        content: asyncio.Future[bytes] = loop.create_future()
        self._unread.append((message_id, variant, content))
        if len(self._unread) == 1 and len(self._reading) < self._settings.readers:
            loop.call_soon(self._read_together)
        return await content

    def _read_together(self) -> None:
        """Have one thread read all that was asked for in a turn of the loop: a hop each would cost more than it reads."""
        wanted, self._unread = self._unread, []
        if not wanted:
            return
        task = asyncio.ensure_future(self._in_reader(lambda connection: self._contents(connection, wanted)))
        self._reading.add(task)
        task.add_done_callback(partial(self._have_read, wanted))

    def _contents(self, connection: sqlite3.Connection, wanted: Sequence[_Unread]) -> list[bytes | SpoolError]:
        contents: list[bytes | SpoolError] = []
        for message_id, variant, _ in wanted:
            try:
                contents.append(self._read(connection, message_id, variant))
            except SpoolError as error:
                contents.append(error)
            except sqlite3.Error as error:
                if is_damage(error) and self._mender.may_mend:
                    raise
                contents.append(spool_error(error))
        return contents

    def _have_read(self, wanted: Sequence[_Unread], task: asyncio.Task[list[bytes | SpoolError]]) -> None:
        self._reading.discard(task)
        self._read_together()
        error = SpoolError("the spool is closing") if task.cancelled() else task.exception()
        contents: Sequence[bytes | BaseException] = [error] * len(wanted) if error is not None else task.result()
        for (_, _, future), content in zip(wanted, contents, strict=True):
            if future.done():  # its reader was cancelled
                continue
            if isinstance(content, bytes):
                future.set_result(content)
            else:
                future.set_exception(content)

    async def recover(self) -> AsyncIterator[Iterable[QueuedRecipient]]:
        """Give all that is queued when this is called, in batches by queue id; what is stored meanwhile is not given."""
        after, end = 0, self._next_id
        while True:
            batch = await self._in_reader(lambda connection, after=after: _load(connection, after, end))  # type: ignore[misc]
            if not batch:
                return
            yield batch
            after = batch[-1].queue_id

    def stats(self) -> SpoolStats:
        writer = self._running()
        return SpoolStats(
            *(writer.free_bytes, writer.full, writer.database_bytes, writer.commits, writer.stored, writer.removed),
            set_aside=self._mender.set_aside,
        )

    async def close(self) -> None:
        """Write what is waiting, then let go of the files. Calling it again does nothing."""
        writer, self._writer = self._writer, None
        if writer is not None:
            loop = asyncio.get_running_loop()
            await loop.run_in_executor(None, self._bodies.shutdown)
            writer.stop()
            await loop.run_in_executor(None, writer.join)
            await loop.run_in_executor(None, self._pool.shutdown)
        with contextlib.suppress(queue.Empty):
            while True:
                self._connections.get_nowait()[1].close()
        self._folder.close()

    def _running(self) -> Writer:
        if self._writer is None:
            raise SpoolError("the spool is not open")
        return self._writer

    async def _write(
        self, changes: Sequence[Update | Remove], new: NewMessage | None, *, may_use_reserve: bool, then: Then | None = None
    ) -> tuple[QueuedRecipient, ...]:
        writer = self._running()
        loop = asyncio.get_running_loop()
        work = Work(loop.create_future(), may_use_reserve=may_use_reserve)
        if changes:
            work.updates = [update_row(change) for change in changes if isinstance(change, Update)]
            work.removals = [change.queue_id for change in changes if isinstance(change, Remove)]
        if new is None:
            writer.submit(work)
            await work.future
            return ()
        first_id = self._next_id
        entries = queued_recipients(new, first_id)
        if then is not None:
            work.then = partial(then, entries)
        self._next_id += len(entries)
        large = self._add_rows(work, new, first_id, entries)
        if large:
            await self._write_bodies(first_id, large, may_use_reserve)
        try:
            self._running().submit(work)
            await work.future
        except SpoolError:
            if large:
                await loop.run_in_executor(self._pool, self._folder.remove_bodies, first_id)
            raise
        return entries

    def _add_rows(
        self, work: Work, message: NewMessage, first_id: int, entries: Sequence[QueuedRecipient]
    ) -> list[tuple[int, bytes]]:
        """Fill in the rows to insert; give the bodies that go to files, by variant."""
        limit = self._settings.body_file_above_bytes
        large = [(-1, message.body)] if len(message.body) > limit else []
        work.size_bytes = len(message.header) + (0 if large else len(message.body))
        work.content = (first_id, message.header, None if large else message.body, checksum(message.header, message.body))
        variants: list[tuple[object, ...]] = []
        for number, (header, body) in enumerate(message.variants):
            in_file = body is not None and len(body) > limit
            if body is not None and in_file:
                large.append((number, body))
            work.size_bytes += len(header or b"") + (0 if in_file else len(body or b""))
            parts = (header, None if in_file else body, checksum(header, body))
            variants.append((first_id, number, header is None, body is None, *parts))
        work.variants = variants
        work.message = (
            *(first_id, message.transaction_id, message.received_at, message.remote_ip, message.helo),
            *(message.sasl_username, message.server_id, len(entries), bool(large)),
        )
        work.recipients = [recipient_row(entry) for entry in entries]
        return large

    async def _write_bodies(self, message_id: int, large: list[tuple[int, bytes]], may_use_reserve: bool) -> None:
        def write() -> None:
            if not may_use_reserve and self._folder.free_bytes() < self._settings.min_free_bytes:
                raise SpoolFull(f"less than {self._settings.min_free_bytes >> 20} MiB free in {self._folder.path}")
            try:
                for variant, body in large:
                    self._folder.write_body(message_id, variant, body, self._at)
            except OSError as error:
                self._folder.remove_bodies(message_id)
                raise spool_error(error) from error

        try:
            future = self._bodies.submit(write)
        except RuntimeError as error:
            raise SpoolError("the spool is closing") from error
        await asyncio.wrap_future(future)  # cancelled here, the files are orphans until the next start

    def _read(self, connection: sqlite3.Connection, message_id: int, variant: int) -> bytes:
        header = body = None
        same_header = same_body = True
        if variant >= 0:
            query = f"SELECT {_PARTS} FROM variants WHERE message_id = ? AND variant = ?"
            row = connection.execute(query, (message_id, variant)).fetchone()
            if row is None:
                raise SpoolDamaged(f"no variant {variant} of message {message_id} in the spool")
            same_header, same_body, header, body, kept = row
            if body is None and not same_body:
                body = self._body_file(message_id, variant)
            _check(message_id, variant, header, body, kept)
        if same_header or same_body:
            row = connection.execute(_CONTENT, (message_id,)).fetchone()
            if row is None:
                raise SpoolDamaged(f"no content of message {message_id} in the spool")
            first_header, first_body, kept, *place = row
            if first_body is None and same_body:
                if place[0] is None:
                    first_body = self._body_file(message_id, -1)
                else:
                    first_body = self._in_segment(connection, message_id, *place)
            header = first_header if same_header else header
            body = first_body if same_body else body
            _check(message_id, -1, header if same_header else None, body if same_body else None, kept)
        return (header or b"") + (body or b"")

    def _in_segment(self, connection: sqlite3.Connection, message_id: int, number: int, offset: int, length: int) -> bytes:
        try:
            body = self._segments.read(number, offset, length)
        except FileNotFoundError as error:
            row = connection.execute("SELECT body FROM contents WHERE message_id = ?", (message_id,)).fetchone()
            if row is not None and row[0] is not None:  # moved between the two looks
                return bytes(row[0])
            raise SpoolDamaged(f"the body of message {message_id} is lost with segment {number}") from error
        except OSError as error:
            raise SpoolError(f"the body of message {message_id} cannot be read: {error.strerror}") from error
        except TypeError as error:
            raise SpoolDamaged(f"nobody can say where the body of message {message_id} is") from error
        if len(body) != length:
            raise SpoolDamaged(f"the body of message {message_id} is lost: segment {number} is cut short")
        return body

    def _body_file(self, message_id: int, variant: int) -> bytes:
        try:
            return self._folder.read_body(message_id, variant)
        except FileNotFoundError as error:
            raise SpoolDamaged(f"the body of message {message_id} is not in its file {error.filename}") from error
        except OSError as error:
            raise SpoolError(f"the body of message {message_id} cannot be read: {error.strerror}") from error

    async def _in_reader(self, job: Callable[[sqlite3.Connection], _T]) -> _T:
        """Run the job with a reading connection; once more where it found the database damaged and that was mended."""
        writer = self._running()
        loop = asyncio.get_running_loop()
        generation = self._mender.generation
        try:
            return await loop.run_in_executor(self._pool, self._read_with, job)
        except SpoolDamaged:
            if not self._mender.may_mend and generation == self._mender.generation:
                raise
        work = Work(loop.create_future(), suspect=generation)
        writer.submit(work)
        await work.future
        return await loop.run_in_executor(self._pool, self._read_with, job)

    def _read_with(self, job: Callable[[sqlite3.Connection], _T]) -> _T:
        generation, connection = -1, None
        try:
            with contextlib.suppress(queue.Empty):
                generation, connection = self._connections.get_nowait()
            if connection is not None and generation != self._mender.generation:
                connection.close()
                connection = None
            if connection is None:
                generation = self._mender.generation
                connection = connect_reader(self._folder.database)
            return job(connection)
        except sqlite3.Error as error:
            raise spool_error(error) from error
        finally:
            if connection is not None:
                self._connections.put((generation, connection))

    def _prepare(self) -> tuple[int, sqlite3.Connection]:
        """Lock and check everything before the writer starts; give the first free id and the writer's connection."""
        self._folder.open()
        try:
            connection = self._mender.open()
            try:
                row = connection.execute("SELECT value FROM meta WHERE key = 'next_id'").fetchone()
            except BaseException:
                connection.close()
                raise
        except BaseException:
            self._folder.close()
            raise
        return max(int(row[0]), self._settings.first_id), connection


def _check(message_id: int, variant: int, header: bytes | None, body: bytes | None, kept: int | None) -> None:
    """Raise SpoolDamaged where the parts that were read (not None) are not those that `kept`, their checksum, is of."""
    if kept is None:  # stored by a version that kept none
        return
    found = checksum(header, body)
    wrong_header = header is not None and found >> 32 != kept >> 32
    wrong_body = body is not None and found & 0xFFFFFFFF != kept & 0xFFFFFFFF
    if wrong_header or wrong_body:
        what = "header" if wrong_header else "body"
        which = f"variant {variant} of message {message_id}" if variant >= 0 else f"message {message_id}"
        raise SpoolDamaged(f"the {what} of {which} is damaged: it is not what was stored")


def _load(connection: sqlite3.Connection, after: int, end: int) -> list[QueuedRecipient]:
    rows = connection.execute(
        f"SELECT {LOAD_COLUMNS} FROM recipients r LEFT JOIN messages m ON m.id = r.message_id"
        " WHERE r.queue_id > ? AND r.queue_id < ? ORDER BY r.queue_id LIMIT ?",
        (after, end, _RECOVERY_ROWS),
    ).fetchall()
    if any(row[-1] is None for row in rows):  # an inner join would leave out mail without a word
        raise Damage("recipients of messages that are not there")
    try:
        return list(entries_from(rows))
    except (ValueError, TypeError, AttributeError) as error:
        raise Damage(f"a recipient's row is not what was written: {error}") from error

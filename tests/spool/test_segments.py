"""Bodies of full batches are in segment files: written once, whole after anything, and gone with their messages."""

from __future__ import annotations

import asyncio
import errno
import os
import sqlite3
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from hslpy.log import Log, no_log
from hslpy.spool.contract import QueuedRecipient, Remove, SpoolDamaged, SpoolError, SpoolFull
from hslpy.spool.segments import Segments
from hslpy.spool.sqlite import SpoolSettings, SqliteSpool
from tests.spool.messages import message, recipient

COUNT = 40


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> SpoolSettings:
    monkeypatch.setattr("hslpy.spool.segments.SEGMENT_BYTES", 200_000)
    monkeypatch.setattr("hslpy.spool.writer._IDLE_S", 0.02)
    return SpoolSettings(tmp_path / "spool", min_free_bytes=0)


def with_spool(
    settings: SpoolSettings,
    step: Callable[[SqliteSpool], Awaitable[None]],
    at: Callable[[str], None] = lambda step: None,
    log: Log = no_log,
) -> None:
    async def run() -> None:
        spool = SqliteSpool(settings, at, log=log)
        await spool.open()
        try:
            await step(spool)
        finally:
            await spool.close()

    asyncio.run(run())


def body_of(number: int) -> bytes:
    return b"line %d\r\n" % number * 1000


def segments(settings: SpoolSettings) -> list[str]:
    return sorted(path.name for path in (settings.folder / "segments").iterdir())


async def fill(spool: SqliteSpool) -> None:
    """Store COUNT messages of 8 KiB in a batch or two: one batch larger than a segment of the test."""
    stores = (spool.store(message(recipient(str(n)), body=body_of(n))) for n in range(COUNT))
    await asyncio.gather(*stores)


async def queued(spool: SqliteSpool) -> list[QueuedRecipient]:
    return [entry async for batch in spool.recover() for entry in batch]


async def whole(spool: SqliteSpool, entries: list[QueuedRecipient]) -> bool:
    for entry in entries:
        content = await spool.read(entry.message_id, -1)
        if content.partition(b"\r\n\r\n")[2] != body_of(int(entry.recipient.local_part)):
            return False
    return True


async def all_there(spool: SqliteSpool) -> None:
    entries = await queued(spool)
    assert len(entries) == COUNT and await whole(spool, entries)


def rows(settings: SpoolSettings, query: str) -> int:
    connection = sqlite3.connect(settings.folder / "spool.db")
    count: int = connection.execute(query).fetchone()[0]
    connection.close()
    return count


IN_SEGMENTS = "SELECT count(*) FROM contents WHERE body IS NULL AND message_id IN (SELECT message_id FROM places)"


def test_a_full_batch_is_in_segments_and_goes_with_its_messages(settings: SpoolSettings) -> None:
    async def step(spool: SqliteSpool) -> None:
        await fill(spool)
        await all_there(spool)
        assert rows(settings, IN_SEGMENTS) == COUNT
        while spool.stats().database_bytes < COUNT * 9000:  # it is measured now and then
            await asyncio.sleep(0.01)

    async def remove(spool: SqliteSpool) -> None:
        await all_there(spool)
        await spool.apply([Remove(entry.queue_id) for entry in await queued(spool)])

    with_spool(settings, step)
    assert segments(settings)
    with_spool(settings, remove)
    assert segments(settings) == [] and rows(settings, "SELECT count(*) FROM places") == 0


def test_a_small_batch_is_in_the_database(settings: SpoolSettings) -> None:
    async def step(spool: SqliteSpool) -> None:
        for _ in range(5):
            await spool.store(message(body=b"x" * 100_000))

    with_spool(settings, step)
    assert segments(settings) == [] and rows(settings, "SELECT count(*) FROM places") == 0


def test_what_a_crash_left_is_cut_off_or_removed(settings: SpoolSettings) -> None:
    with_spool(settings, fill)
    names = segments(settings)
    sizes = [(settings.folder / "segments" / name).stat().st_size for name in names]
    with open(settings.folder / "segments" / names[0], "ab") as file:
        file.write(b"torn" * 1000)
    (settings.folder / "segments" / "900").write_bytes(b"never committed")

    async def step(spool: SqliteSpool) -> None:
        assert segments(settings) == names
        assert [(settings.folder / "segments" / name).stat().st_size for name in names] == sizes
        await all_there(spool)
        await fill(spool)
        assert set(segments(settings)) > set(names), "an old segment was appended to"

    with_spool(settings, step)


def test_the_last_bodies_of_a_segment_are_moved_into_the_database(settings: SpoolSettings) -> None:
    async def step(spool: SqliteSpool) -> None:
        await fill(spool)
        await fill(spool)  # which begins another one
        entries = await queued(spool)
        await spool.apply([Remove(entry.queue_id) for entry in entries[5:]])
        while rows(settings, "SELECT count(*) FROM places"):
            await asyncio.sleep(0.01)
            assert await whole(spool, entries[:5])
        while segments(settings):
            await asyncio.sleep(0.01)
        assert await whole(spool, entries[:5])

    with_spool(settings, step)
    with_spool(settings, all_of(5))


def all_of(count: int) -> Callable[[SqliteSpool], Awaitable[None]]:
    async def step(spool: SqliteSpool) -> None:
        entries = await queued(spool)
        assert len(entries) == count and await whole(spool, entries)

    return step


def test_a_body_moved_while_it_is_read_is_found(settings: SpoolSettings, monkeypatch: pytest.MonkeyPatch) -> None:
    read = Segments.read

    async def step(spool: SqliteSpool) -> None:
        await fill(spool)
        (entry, *_) = await queued(spool)

        def late(self: Segments, *place: int) -> bytes:
            connection = sqlite3.connect(settings.folder / "spool.db")
            moved = (body_of(int(entry.recipient.local_part)), entry.message_id)
            connection.execute("UPDATE contents SET body = ? WHERE message_id = ?", moved)
            connection.commit()
            connection.close()
            raise FileNotFoundError

        monkeypatch.setattr(Segments, "read", late)
        assert await whole(spool, [entry])
        monkeypatch.setattr(Segments, "read", read)

    with_spool(settings, step)


@pytest.mark.parametrize("what", ["gone", "short", "changed"])
def test_a_damaged_segment_costs_what_was_in_it(settings: SpoolSettings, what: str) -> None:
    with_spool(settings, fill)
    with_spool(settings, fill)
    lost = rows(settings, "SELECT count(*) FROM places WHERE segment = 1")
    path = settings.folder / "segments" / "1"
    data = path.read_bytes()
    if what == "gone":
        path.unlink()
    elif what == "short":
        path.write_bytes(data[:-100])
    else:
        path.write_bytes(data[:-100] + b"?" + data[-99:])

    async def step(spool: SqliteSpool) -> None:
        damaged = []
        entries = await queued(spool)
        for entry in entries:
            try:
                assert await whole(spool, [entry])
            except SpoolDamaged:
                damaged.append(Remove(entry.queue_id))
        assert len(damaged) == (lost if what == "gone" else 1) and len(entries) == 2 * COUNT
        await spool.apply(damaged)
        assert spool.stats().set_aside == ()

    with_spool(settings, step)


@pytest.mark.parametrize("call", ["posix_fallocate", "writev", "fdatasync"])
@pytest.mark.parametrize("error", [errno.ENOSPC, errno.EIO])
def test_the_database_takes_what_a_segment_cannot(
    settings: SpoolSettings, monkeypatch: pytest.MonkeyPatch, call: str, error: int
) -> None:
    def fails(*_: object) -> None:
        raise OSError(error, os.strerror(error))

    async def step(spool: SqliteSpool) -> None:
        with monkeypatch.context() as patch:
            patch.setattr(os, call, fails)
            await fill(spool)
        await all_there(spool)
        await spool.apply([Remove(entry.queue_id) for entry in await queued(spool)])
        assert rows(settings, IN_SEGMENTS) == 0
        await fill(spool)
        assert rows(settings, IN_SEGMENTS) == COUNT

    events: list[str] = []
    with_spool(settings, step, log=lambda event, fields: events.append(event))
    assert events == ["spool.segment_failed"]
    with_spool(settings, all_there)


def test_bodies_of_a_failed_commit_take_no_room(settings: SpoolSettings) -> None:
    broken = "begun"

    def at(step: str) -> None:
        if step == broken:
            raise OSError(errno.ENOSPC, "No space left on device")

    async def step(spool: SqliteSpool) -> None:
        nonlocal broken
        results = await asyncio.gather(
            *(spool.store(message(body=b"x" * 9000)) for _ in range(COUNT)), return_exceptions=True
        )
        assert all(isinstance(result, SpoolFull) for result in results)
        while segments(settings):
            await asyncio.sleep(0.01)
        broken = ""
        await fill(spool)

    with_spool(settings, step, at)
    with_spool(settings, all_there)


def test_one_that_cannot_be_written_takes_no_place(settings: SpoolSettings) -> None:
    async def step(spool: SqliteSpool) -> None:
        odd = message(body=b"x" * 9000, helo="\ud800")  # no UTF-8
        results = await asyncio.gather(fill(spool), spool.store(odd), return_exceptions=True)
        assert isinstance(results[1], SpoolError)
        await all_there(spool)
        await spool.apply([Remove(entry.queue_id) for entry in await queued(spool)])

    with_spool(settings, step)
    assert segments(settings) == []

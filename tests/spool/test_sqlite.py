"""What only the durable spool has: its folder and lock, its versions, room on the disk, one failure among many."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path

import pytest

from hslpy.errors import OperatorError
from hslpy.spool import schema
from hslpy.spool.contract import Remove, SpoolError, SpoolFull, Update
from hslpy.spool.sqlite import SpoolSettings, SqliteSpool
from tests.spool.messages import message, recipient
from tests.support import disk_shim


@pytest.fixture
def settings(tmp_path: Path) -> SpoolSettings:
    return SpoolSettings(tmp_path / "spool", body_file_above_bytes=1000, min_free_bytes=0)


def with_spool(
    settings: SpoolSettings, step: Callable[[SqliteSpool], Awaitable[None]], at: Callable[[str], None] = lambda step: None
) -> None:
    async def run() -> None:
        spool = SqliteSpool(settings, at)
        await spool.open()
        try:
            await step(spool)
        finally:
            await spool.close()

    asyncio.run(run())


def files(settings: SpoolSettings) -> list[str]:
    return sorted(path.name for path in (settings.folder / "bodies").glob("*/*"))


def test_the_folder_is_private(settings: SpoolSettings) -> None:
    old = os.umask(0)
    try:

        async def step(spool: SqliteSpool) -> None:
            await spool.store(message(body=b"x" * 2000))

        with_spool(settings, step)
    finally:
        os.umask(old)
    assert settings.folder.stat().st_mode & 0o777 == 0o700


def test_writing_is_synced(settings: SpoolSettings) -> None:
    async def step(spool: SqliteSpool) -> None:
        return None

    with_spool(settings, step)
    connection = schema.connect_writer(settings.folder / "spool.db")
    assert connection.execute("PRAGMA synchronous").fetchone() == (2,)
    assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    assert connection.execute("PRAGMA auto_vacuum").fetchone() == (2,)
    assert connection.execute("PRAGMA page_size").fetchone() == (schema.PAGE_BYTES,)
    connection.close()


def test_two_servers_cannot_share_a_spool(settings: SpoolSettings) -> None:
    async def step(spool: SqliteSpool) -> None:
        with pytest.raises(OperatorError, match=f"in use by process {os.getpid()}"):
            await SqliteSpool(settings).open()
        await spool.store(message())

    with_spool(settings, step)
    with_spool(settings, step)


def test_the_lock_goes_with_the_process(settings: SpoolSettings) -> None:
    script = f"""
import asyncio, os
from pathlib import Path
from hslpy.spool.sqlite import SpoolSettings, SqliteSpool
async def run():
    await SqliteSpool(SpoolSettings(Path({str(settings.folder)!r}), min_free_bytes=0)).open()
    os.kill(os.getpid(), 9)
asyncio.run(run())
"""
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == -9

    async def step(spool: SqliteSpool) -> None:
        await spool.store(message())

    with_spool(settings, step)


def test_a_folder_that_cannot_be_made_is_the_operators(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OperatorError, match="cannot be used"):
        asyncio.run(SqliteSpool(SpoolSettings(tmp_path / "file" / "spool")).open())


def test_a_later_version_is_refused_and_an_older_one_migrated(
    settings: SpoolSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def step(spool: SqliteSpool) -> None:
        return None

    with_spool(settings, step)
    version = schema.VERSION
    monkeypatch.setattr(schema, "VERSION", version + 1)
    monkeypatch.setattr(schema, "MIGRATIONS", {version: ("CREATE TABLE extra (a)",)})
    with_spool(settings, step)
    connection = sqlite3.connect(settings.folder / "spool.db")
    assert connection.execute("SELECT value FROM meta WHERE key = 'version'").fetchone() == (version + 1,)
    assert connection.execute("SELECT count(*) FROM extra").fetchone() == (0,)
    connection.close()
    monkeypatch.setattr(schema, "VERSION", version)
    with pytest.raises(OperatorError, match="later version"):
        asyncio.run(SqliteSpool(settings).open())


def test_one_that_cannot_be_written_does_not_fail_the_others(settings: SpoolSettings) -> None:
    bad = [
        message(transaction_id="\ud800"),  # not encodable
        message(recipient(priority=1 << 70)),  # no SQLite integer
        message(recipient(transport_id=None)),  # against a constraint
        message(recipient("a"), recipient(transport_id=None), body=b"x" * 5000),
    ]
    taken = threading.Event()
    go = threading.Event()

    def at(step: str) -> None:
        if step == "taken" and not taken.is_set():  # hold the first, so that the rest make one batch
            taken.set()
            go.wait(60)

    async def step(spool: SqliteSpool) -> None:
        first = asyncio.ensure_future(spool.store(message()))
        await asyncio.to_thread(taken.wait)
        others = [
            asyncio.ensure_future(spool.store(each)) for pair in zip([message()] * 4, bad, strict=True) for each in pair
        ]
        remove = asyncio.ensure_future(spool.apply([Remove(1), Update(2, {"due_at": None})]))
        await asyncio.sleep(0.1)
        go.set()
        await first
        results = await asyncio.gather(*others, return_exceptions=True)
        assert [isinstance(result, SpoolError) for result in results] == [False, True] * 4
        with pytest.raises(SpoolError):
            await remove  # all of it or nothing
        ids = [entry.queue_id async for batch in spool.recover() for entry in batch]
        good = [result[0].queue_id for result in results if isinstance(result, tuple)]
        assert ids == [1, *good]
        for queue_id in ids:
            await spool.read(queue_id, -1)

    with_spool(settings, step, at)
    assert files(settings) == []


def test_a_failed_commit_fails_all_of_its_batch_and_writes_nothing(settings: SpoolSettings) -> None:
    broken = True

    def at(step: str) -> None:
        if step == "written" and broken:
            raise OSError(5, "disk says no")

    async def step(spool: SqliteSpool) -> None:
        nonlocal broken
        results = await asyncio.gather(*(spool.store(message()) for _ in range(20)), return_exceptions=True)
        assert all(isinstance(result, SpoolError) and not isinstance(result, SpoolFull) for result in results)
        broken = False
        (entry,) = await spool.store(message())
        assert [one.queue_id async for batch in spool.recover() for one in batch] == [entry.queue_id]

    with_spool(settings, step, at)


def test_no_room_is_said_as_such(settings: SpoolSettings) -> None:
    broken = ""

    def at(step: str) -> None:
        if step == broken:
            raise OSError(28, "No space left on device")

    async def step(spool: SqliteSpool) -> None:
        nonlocal broken
        broken = "written"
        with pytest.raises(SpoolFull):
            await spool.store(message())
        broken = "body written"
        with pytest.raises(SpoolFull):
            await spool.store(message(body=b"x" * 2000))

    with_spool(settings, step, at)
    assert files(settings) == []


def test_a_database_that_may_not_grow_takes_no_mail_but_changes(settings: SpoolSettings) -> None:
    async def step(spool: SqliteSpool) -> None:
        await spool.store(message(recipient("a"), recipient("b")))
        assert spool._writer is not None
        connection = spool._writer._connection
        pages = connection.execute("PRAGMA page_count").fetchone()[0]
        connection.execute(f"PRAGMA max_page_count={pages}")
        with pytest.raises(SpoolFull):
            for _ in range(1000):
                await spool.store(message(body=b"x" * 900))
        await spool.apply([Update(1, {"retries": 2})])
        await spool.apply([Remove(2)])
        connection.execute("PRAGMA max_page_count=1000000")
        await spool.store(message(body=b"x" * 900))

    with_spool(settings, step)


def test_readers_do_not_make_the_log_grow(settings: SpoolSettings) -> None:
    settings = replace(settings, body_file_above_bytes=1 << 20)

    async def step(spool: SqliteSpool) -> None:
        for _ in range(20):
            entries = await asyncio.gather(*(spool.store(message(body=b"x" * 60_000)) for _ in range(50)))
            await asyncio.gather(*(spool.read(entry.message_id, -1) for (entry,) in entries))
        assert (settings.folder / "spool.db-wal").stat().st_size < 40_000_000  # of 64 MB written

    with_spool(settings, step)


def test_below_the_watermark_mail_is_refused_and_deliveries_go_on(settings: SpoolSettings) -> None:
    async def first(spool: SqliteSpool) -> None:
        await spool.store(message(recipient("a"), recipient("b")))

    async def low(spool: SqliteSpool) -> None:
        for size in (10, 2000):
            with pytest.raises(SpoolFull):
                await spool.store(message(body=b"x" * size))
        await spool.apply([Update(1, {"retries": 1})])
        (entry,) = await spool.apply([Remove(1)], message(body=b"a report" * 1000))
        assert len(await spool.read(entry.message_id, -1)) > 8000
        assert spool.stats().free_bytes > 0

    with_spool(settings, first)
    with_spool(replace(settings, min_free_bytes=1 << 60), low)


def test_free_pages_count_as_free_disk_and_are_used_again(settings: SpoolSettings) -> None:
    settings = replace(settings, body_file_above_bytes=1 << 20)

    async def step(spool: SqliteSpool) -> None:
        async def fill() -> None:
            await asyncio.gather(*(spool.store(message(body=b"x" * 50_000)) for _ in range(100)))
            ids = [entry.queue_id async for batch in spool.recover() for entry in batch]
            await spool.apply([Remove(queue_id) for queue_id in ids])

        await fill()
        while spool.stats().database_bytes >= 500_000:  # it is measured now and then
            await spool.apply([Remove(1)])
        for _ in range(5):
            await fill()
        assert (settings.folder / "spool.db").stat().st_size < 10_000_000  # one fill is 6.5 MB

    with_spool(settings, step)


def test_the_file_shrinks_while_nobody_waits(settings: SpoolSettings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hslpy.spool.writer._SPARE_PAGES", 10)
    monkeypatch.setattr("hslpy.spool.writer._IDLE_S", 0.02)

    async def step(spool: SqliteSpool) -> None:
        entries = await spool.store(message(*(recipient(str(n)) for n in range(1000)), body=b"x" * 900))
        await asyncio.gather(*(spool.store(message(body=b"x" * 900)) for _ in range(2000)))
        while spool.stats().database_bytes <= 2_000_000:  # it is measured now and then
            await asyncio.sleep(0.02)
        ids = [entry.queue_id async for batch in spool.recover() for entry in batch]
        await spool.apply([Remove(queue_id) for queue_id in ids])
        for _ in range(100):
            await asyncio.sleep(0.02)
            connection = sqlite3.connect(settings.folder / "spool.db")
            pages = connection.execute("PRAGMA page_count").fetchone()[0]
            connection.close()
            if pages < 30:
                break
        assert pages < 30
        assert entries

    with_spool(settings, step)


def test_large_bodies_are_files_that_go_with_their_message(settings: SpoolSettings) -> None:
    async def step(spool: SqliteSpool) -> None:
        variants = ((None, b"y" * 3000), (b"a\r\n\r\n", None))
        new = message(recipient(variant=0), recipient(), body=b"x" * 2000, variants=variants)
        entries = await spool.store(new)
        assert files(settings) == ["1.-1", "1.0"]
        await spool.apply([Remove(entries[0].queue_id)])
        assert files(settings) == ["1.-1", "1.0"]
        await spool.apply([Remove(entries[1].queue_id)])
        assert files(settings) == []

    with_spool(settings, step)


def test_what_a_crash_left_is_removed_at_the_start(settings: SpoolSettings) -> None:
    async def step(spool: SqliteSpool) -> None:
        await spool.store(message(body=b"x" * 2000, variants=((None, b"small"),)))

    with_spool(settings, step)
    shard = next((settings.folder / "bodies").glob("*"))
    for name in ("1.0", "7.-1", "1.-1.new", "odd", "x.y"):
        (shard / name).write_bytes(b"left over")
    with_spool(settings, step)
    assert files(settings) == ["1.-1", "2.-1"]


def test_a_body_that_was_taken_away_is_a_spool_error(settings: SpoolSettings) -> None:
    async def step(spool: SqliteSpool) -> None:
        await spool.store(message(body=b"x" * 2000))
        next((settings.folder / "bodies").glob("*/1.-1")).unlink()
        with pytest.raises(SpoolError, match="is not in its file"):
            await spool.read(1, -1)

    with_spool(settings, step)


def test_waiters_share_commits(settings: SpoolSettings) -> None:
    async def step(spool: SqliteSpool) -> None:
        await asyncio.gather(*(spool.store(message()) for _ in range(500)))
        assert spool.stats().commits < 100

    with_spool(settings, step)


def test_a_cancelled_caller_neither_hurts_the_others_nor_hangs(settings: SpoolSettings) -> None:
    async def step(spool: SqliteSpool) -> None:
        tasks = [asyncio.ensure_future(spool.store(message(body=b"x" * (n % 2 * 2000)))) for n in range(40)]
        await asyncio.sleep(0)
        for task in tasks[::3]:
            task.cancel()
        results = await asyncio.gather(*tasks, return_exceptions=True)
        kept = {result[0].queue_id for result in results if isinstance(result, tuple)}
        there = {entry.queue_id async for batch in spool.recover() for entry in batch}
        assert kept <= there

    with_spool(settings, step)


def test_closing_writes_what_is_waiting(settings: SpoolSettings) -> None:
    async def run() -> int:
        spool = SqliteSpool(settings)
        await spool.open()
        tasks = [asyncio.ensure_future(spool.store(message())) for _ in range(50)]
        await asyncio.sleep(0)
        await spool.close()
        await spool.close()
        return len(await asyncio.gather(*tasks))

    assert asyncio.run(run()) == 50

    async def step(spool: SqliteSpool) -> None:
        assert len([entry async for batch in spool.recover() for entry in batch]) == 50

    with_spool(settings, step)


def test_spools_of_earlier_versions_survive_anything_on_the_way_to_this_one(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "tests.spool.upgrades", str(tmp_path)]
    done = subprocess.run(command, env=disk_shim.environment(tmp_path), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("version") == 3 * (schema.VERSION - 1)


def test_the_file_shrinks_on_a_server_that_is_never_idle(settings: SpoolSettings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hslpy.spool.writer._SPARE_PAGES", 10)
    monkeypatch.setattr("hslpy.spool.writer._IDLE_S", 60.0)
    monkeypatch.setattr("hslpy.spool.writer._VACUUM_EACH", 2)

    async def step(spool: SqliteSpool) -> None:
        await asyncio.gather(*(spool.store(message(body=b"x" * 900)) for _ in range(3000)))
        ids = [entry.queue_id async for batch in spool.recover() for entry in batch]
        await spool.apply([Remove(queue_id) for queue_id in ids])
        pages = 0
        for _ in range(100):
            (entry,) = await spool.store(message())
            await spool.apply([Remove(entry.queue_id)])
            connection = sqlite3.connect(settings.folder / "spool.db")
            pages = connection.execute("PRAGMA page_count").fetchone()[0]
            connection.close()
            if pages < 60:
                break
        assert pages < 60

    with_spool(settings, step)


def test_a_short_log_is_kept_while_nobody_waits_and_the_database_has_all_of_it(
    settings: SpoolSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hslpy.spool.writer._IDLE_S", 0.02)
    log = settings.folder / "spool.db-wal"

    def in_database() -> int:
        url = f"{(settings.folder / 'spool.db').as_uri()}?immutable=1"  # read without its log
        with contextlib.closing(sqlite3.connect(url, uri=True)) as connection, contextlib.suppress(sqlite3.Error):
            return int(connection.execute("SELECT count(*) FROM messages").fetchone()[0])
        return 0

    async def step(spool: SqliteSpool) -> None:
        await asyncio.gather(*(spool.store(message(body=b"x" * 900)) for _ in range(50)))
        size = log.stat().st_size
        for _ in range(500):
            if in_database() == 50:
                break
            await asyncio.sleep(0.02)
        assert in_database() == 50
        await asyncio.gather(*(spool.store(message(body=b"x" * 900)) for _ in range(20)))
        assert log.stat().st_size == size > 0  # written over again

    with_spool(settings, step)


def test_a_batch_takes_no_file_in_the_temporary_folder(settings: SpoolSettings, tmp_path: Path) -> None:
    folder = tmp_path / "temporary"
    folder.mkdir()
    before = folder.stat().st_mtime_ns

    async def step(spool: SqliteSpool) -> None:
        for _ in range(8):
            await asyncio.gather(*(spool.store(message(body=b"x" * 900)) for _ in range(60)))

    with contextlib.closing(sqlite3.connect(":memory:")) as connection:
        connection.execute(f"PRAGMA temp_store_directory='{folder}'")
        try:
            with_spool(settings, step)
        finally:
            connection.execute("PRAGMA temp_store_directory=''")
    assert folder.stat().st_mtime_ns == before


def test_the_log_is_cut_back_while_nobody_waits(settings: SpoolSettings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hslpy.spool.writer._IDLE_S", 0.02)
    monkeypatch.setattr("hslpy.spool.writer._WAL_IDLE_BYTES", 100_000)

    async def step(spool: SqliteSpool) -> None:
        for _ in range(20):
            await asyncio.gather(*(spool.store(message(body=b"x" * 900)) for _ in range(50)))
        for _ in range(500):
            await asyncio.sleep(0.02)
            if (settings.folder / "spool.db-wal").stat().st_size == 0:
                return
        raise AssertionError("the log stays long")

    with_spool(settings, step)

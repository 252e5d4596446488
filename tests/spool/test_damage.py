"""What is damaged is set aside and reported, and is never in the way of the rest."""

from __future__ import annotations

import asyncio
import random
import sqlite3
import zlib
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path

import pytest

from hslpy.clock import ManualClock
from hslpy.errors import OperatorError
from hslpy.log import Log, no_log
from hslpy.spool import schema
from hslpy.spool.contract import QueuedRecipient, Remove, SpoolDamaged, SpoolError, Update
from hslpy.spool.pages import Image
from hslpy.spool.sqlite import SpoolSettings, SqliteSpool
from tests.spool.messages import message, recipient

MESSAGES = 400


@pytest.fixture
def settings(tmp_path: Path) -> SpoolSettings:
    return SpoolSettings(tmp_path / "spool", body_file_above_bytes=30_000, min_free_bytes=0)


def content_of(number: int) -> bytes:
    rng = random.Random(number)
    return rng.randbytes(rng.choice((10, 3000, 9000, 20_000, 40_000)))


async def fill(spool: SqliteSpool) -> None:
    """Store MESSAGES with one or two recipients each, and remove some, so that there are free pages."""
    for start in range(0, MESSAGES, 50):
        await asyncio.gather(
            *(
                spool.store(
                    message(
                        *(recipient(f"r{number}-{which}", metadata={"n": str(number)}) for which in range(1 + number % 2)),
                        transaction_id=f"t{number}",
                        header=b"Subject: x\r\n\r\n",
                        body=content_of(number),
                    )
                )
                for number in range(start, start + 50)
            )
        )
    gone = [Remove(entry.queue_id) for entry in await everything(spool) if int(entry.metadata["n"]) % 5 == 0]
    await spool.apply(gone)


WHOLE = {f"r{number}-{which}" for number in range(MESSAGES) for which in range(1 + number % 2) if number % 5}


async def everything(spool: SqliteSpool) -> list[QueuedRecipient]:
    return [entry async for batch in spool.recover() for entry in batch]


async def readable(spool: SqliteSpool) -> set[str]:
    """Give the recipients whose content is there and right; those that have another one fail the test."""
    names = set()
    for entry in await everything(spool):
        try:
            content = await spool.read(entry.message_id, entry.variant)
        except SpoolDamaged:
            continue
        assert content == b"Subject: x\r\n\r\n" + content_of(int(entry.metadata["n"])), "a damaged message is given out"
        names.add(entry.recipient.local_part)
    return names


def with_spool(
    settings: SpoolSettings,
    step: Callable[[SqliteSpool], Awaitable[None]],
    clock: ManualClock | None = None,
    log: Log = no_log,
) -> None:
    async def run() -> None:
        spool = SqliteSpool(settings, clock=clock or ManualClock(1e9), log=log)
        await spool.open()
        try:
            await step(spool)
        finally:
            await spool.close()

    asyncio.run(run())


def pages_of(database: Path, table: str) -> list[int]:
    """Give the pages of a table's tree, the root first."""
    image = Image(database, Path("/nonexistent"), schema.PAGE_BYTES)
    seen: set[int] = set()
    list(image.rows(image.roots()[table], seen, lambda values: True))
    root = image.roots()[table]
    image.close()
    return [root, *sorted(seen - {root})]


def spoil(database: Path, page: int, how: str) -> None:
    with open(database, "r+b") as file:
        file.seek((page - 1) * schema.PAGE_BYTES)
        if how == "zeros":
            file.write(bytes(schema.PAGE_BYTES))
        elif how == "noise":
            file.write(random.Random(page).randbytes(schema.PAGE_BYTES))
        else:  # a sector
            file.seek(4096, 1)
            file.write(random.Random(page).randbytes(512))


def aside(settings: SpoolSettings) -> list[str]:
    return sorted(path.name for place in (settings.folder / "damaged").glob("*") for path in place.iterdir())


def test_the_pages_of_a_sound_file_give_all_rows(settings: SpoolSettings) -> None:
    with_spool(settings, fill)
    database = settings.folder / "spool.db"
    image = Image(database, Path("/nonexistent"), schema.PAGE_BYTES)
    connection = sqlite3.connect(database)
    for table in ("messages", "contents", "places", "variants", "recipients"):
        rows = dict(image.rows(image.roots()[table], set(), lambda values: True))
        wanted = connection.execute(f"SELECT rowid, * FROM {table}").fetchall()
        assert len(rows) == len(wanted)
        for rowid, *values in wanted:
            own = [rowid if value is None and at == 0 else value for at, value in enumerate(rows[rowid])]
            assert own == values
    assert not image.damaged and list(image.stray_rows(set(range(1, image.pages + 1)))) == []
    image.close()
    connection.close()


@pytest.mark.parametrize("how", ["zeros", "noise", "sector"])
@pytest.mark.parametrize("table", ["messages", "contents", "places", "recipients", "schema", "meta"])
def test_a_damaged_page_costs_no_more_than_what_is_on_it(
    settings: SpoolSettings, monkeypatch: pytest.MonkeyPatch, table: str, how: str
) -> None:
    if table == "contents":
        monkeypatch.setattr("hslpy.spool.writer._SEGMENT_BATCH_BYTES", 1 << 30)
    with_spool(settings, fill)
    database = settings.folder / "spool.db"
    connection = sqlite3.connect(database)
    (meta,) = connection.execute("SELECT rootpage FROM sqlite_schema WHERE name = 'meta'").fetchone()
    connection.close()
    pages = [1] if table == "schema" else [meta] if table == "meta" else pages_of(database, table)
    before = database.read_bytes()
    found: set[str] = set()

    async def step(spool: SqliteSpool) -> None:
        found.update(await readable(spool))
        await asyncio.gather(*(spool.store(message(recipient(f"new{n}"), body=b"x" * 5000)) for n in range(20)))
        ids = [entry.queue_id for entry in await everything(spool) if entry.recipient.local_part.startswith("new")]
        assert len(ids) == 20 and min(ids) >= 600, "an id is given twice"
        await spool.apply([Update(ids[0], {"retries": 1}), *(Remove(each) for each in ids)])

    for page in dict.fromkeys((pages[0], pages[len(pages) // 2], pages[-1])):
        database.write_bytes(before)
        spoil(database, page, how)
        found.clear()
        with_spool(settings, step)
        with_spool(settings, step)  # and it stays in order
        assert found <= WHOLE, "what was removed is back"
        lost = len(WHOLE - found)
        # a page of recipients has some 150 rows, a page of contents some messages, an inner or first page none,
        # and segments say what is in them
        most = {"recipients": 200, "contents": 12}.get(table, 0)
        assert lost <= most, f"{lost} lost by page {page}"


def test_a_damaged_free_list_is_no_hindrance(settings: SpoolSettings) -> None:
    with_spool(settings, fill)
    database = settings.folder / "spool.db"
    trunk = int.from_bytes(database.read_bytes()[32:36], "big")
    assert trunk
    spoil(database, trunk, "noise")

    async def step(spool: SqliteSpool) -> None:
        assert await readable(spool) == WHOLE
        await asyncio.gather(*(spool.store(message(body=b"x" * 9000)) for _ in range(200)))
        assert len(await everything(spool)) == len(WHOLE) + 200
        assert await readable_of(spool, WHOLE)

    async def readable_of(spool: SqliteSpool, names: set[str]) -> bool:
        entries = [entry for entry in await everything(spool) if "n" in entry.metadata]
        return {entry.recipient.local_part for entry in entries} == names

    with_spool(settings, step)
    assert aside(settings) == ["report.txt", "spool.db"] or "spool.db-wal" in aside(settings)


def test_a_file_cut_short_keeps_what_is_left(settings: SpoolSettings) -> None:
    with_spool(settings, fill)
    database = settings.folder / "spool.db"
    data = database.read_bytes()
    database.write_bytes(data[: len(data) * 2 // 3])
    found: set[str] = set()

    async def step(spool: SqliteSpool) -> None:
        found.update(await readable(spool))

    with_spool(settings, step)
    assert len(WHOLE) / 3 < len(found) < len(WHOLE)


def test_a_file_that_is_no_database_is_set_aside_and_mail_flows(settings: SpoolSettings) -> None:
    settings.folder.mkdir()
    (settings.folder / "spool.db").write_bytes(b"not a database" * 1000)

    async def step(spool: SqliteSpool) -> None:
        assert await everything(spool) == []
        await spool.store(message())
        assert len(spool.stats().set_aside) == 1

    logged: list[tuple[str, Mapping[str, object]]] = []
    with_spool(settings, step, log=lambda event, fields: logged.append((event, fields)))
    assert aside(settings) == ["report.txt", "spool.db"]
    assert [event for event, _ in logged] == ["spool.salvaged", "spool.set_aside"]
    assert logged[0][1]["level"] == "error" and logged[0][1]["recipients"] == 0


def test_bodies_of_rows_that_are_lost_are_set_aside_too(settings: SpoolSettings) -> None:
    with_spool(settings, fill)
    bodies = {path.name for path in (settings.folder / "bodies").glob("*/*")}
    (settings.folder / "spool.db").write_bytes(b"")

    async def step(spool: SqliteSpool) -> None:
        return None

    with_spool(settings, step)
    assert {name.removeprefix("body-") for name in aside(settings) if name.startswith("body-")} == bodies and bodies


def test_what_a_symbolic_link_leads_to_is_left_alone(settings: SpoolSettings, tmp_path: Path) -> None:
    with_spool(settings, fill)
    theirs = tmp_path / "theirs"
    (theirs / "deep").mkdir(parents=True)
    (theirs / "999999.-1").touch()
    (settings.folder / "bodies" / "999").symlink_to(theirs)

    async def step(spool: SqliteSpool) -> None:
        return None

    with_spool(settings, step)
    assert sorted(path.name for path in theirs.iterdir()) == ["999999.-1", "deep"]


def test_a_message_whose_recipients_are_lost_is_kept_as_a_file(settings: SpoolSettings) -> None:
    with_spool(settings, fill)
    database = settings.folder / "spool.db"
    for page in pages_of(database, "recipients"):
        spoil(database, page, "zeros")

    async def step(spool: SqliteSpool) -> None:
        assert await everything(spool) == []

    with_spool(settings, step)
    files = list((settings.folder / "damaged").glob("*/*.eml"))
    assert len(files) == MESSAGES * 4 // 5
    crcs = {zlib.crc32(path.read_bytes().partition(b"\r\n\r\n")[2]) for path in files}
    assert crcs == {zlib.crc32(content_of(number)) for number in range(MESSAGES) if number % 5}


@pytest.mark.parametrize("what", ["gone", "short", "changed"])
def test_a_damaged_body_file_is_never_given_out(settings: SpoolSettings, what: str) -> None:
    async def step(spool: SqliteSpool) -> None:
        (entry,) = await spool.store(message(body=b"x" * 50_000))
        (other,) = await spool.store(message(body=b"y" * 50_000))
        path = next((settings.folder / "bodies").glob(f"*/{entry.message_id}.-1"))
        if what == "gone":
            path.unlink()
        else:
            path.write_bytes(b"x" * 49_999 + (b"" if what == "short" else b"y"))
        with pytest.raises(SpoolDamaged):
            await spool.read(entry.message_id, -1)
        assert (await spool.read(other.message_id, -1)).endswith(b"y" * 50_000)
        assert what == "gone" or path.exists()

    with_spool(settings, step)


def test_a_changed_byte_of_a_content_in_the_database_is_seen(settings: SpoolSettings) -> None:
    async def fill_one(spool: SqliteSpool) -> None:
        variants = ((b"Subject: other\r\n\r\n", None), (None, b"a body of its own"))
        await spool.store(
            message(recipient(), recipient(variant=0), recipient(variant=1), body=b"z" * 5000, variants=variants)
        )

    async def check(spool: SqliteSpool) -> None:
        for variant, sound in ((-1, False), (0, False), (1, True)):
            if sound:
                await spool.read(1, variant)
            else:
                with pytest.raises(SpoolDamaged, match="body of message 1 is damaged"):
                    await spool.read(1, variant)

    with_spool(settings, fill_one)
    database = settings.folder / "spool.db"
    data = bytearray(database.read_bytes())
    data[data.index(b"z" * 5000) + 2500] ^= 4
    database.write_bytes(data)
    with_spool(settings, check)


def crashed(settings: SpoolSettings, stores: int) -> None:
    """Leave a spool as a killed process does, with `stores` commits in its WAL."""

    async def run() -> None:
        spool = SqliteSpool(settings, clock=ManualClock(1e9))
        await spool.open()
        for number in range(stores):
            await spool.store(message(recipient(f"w{number}"), body=b"x" * 5000))
        keep = {path.name: path.read_bytes() for path in settings.folder.glob("spool.db*")}
        await spool.close()
        for name, data in keep.items():
            (settings.folder / name).write_bytes(data)
        (settings.folder / "spool.db-shm").unlink()

    asyncio.run(run())


@pytest.mark.parametrize("what", ["frame", "head"])
def test_commits_behind_damage_in_the_wal_are_not_dropped(settings: SpoolSettings, what: str) -> None:
    crashed(settings, 30)
    wal = settings.folder / "spool.db-wal"
    data = bytearray(wal.read_bytes())
    frame = 32 + 20 * (24 + schema.PAGE_BYTES)
    at = frame + 24 + 9000 if what == "frame" else frame + 17
    data[at] ^= 1
    wal.write_bytes(data)

    async def step(spool: SqliteSpool) -> None:
        names = {entry.recipient.local_part for entry in await everything(spool)}
        assert {f"w{number}" for number in range(15, 30)} <= names
        assert len(names) >= 28
        for entry in await everything(spool):
            assert len(await spool.read(entry.message_id, -1)) > 5000

    with_spool(settings, step)
    assert "spool.db-wal" in aside(settings)
    assert bytes(data) in [path.read_bytes() for path in (settings.folder / "damaged").glob("*/spool.db-wal")]


def test_a_last_commit_that_is_not_whole_is_kept_aside_and_dropped(settings: SpoolSettings) -> None:
    crashed(settings, 10)
    wal = settings.folder / "spool.db-wal"
    data = bytearray(wal.read_bytes())
    frames = (len(data) - 32) // (24 + schema.PAGE_BYTES)
    data[32 + (frames - 2) * (24 + schema.PAGE_BYTES) + 100] ^= 1
    wal.write_bytes(data)

    async def step(spool: SqliteSpool) -> None:
        assert len(await everything(spool)) == 9

    with_spool(settings, step)
    assert aside(settings) == ["spool.db-wal"]


def test_damage_is_mended_once_in_a_while_only(settings: SpoolSettings) -> None:
    clock = ManualClock(1e9)

    async def step(spool: SqliteSpool) -> None:
        await fill(spool)
        connection = sqlite3.connect(settings.folder / "spool.db")
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        connection.close()

    with_spool(settings, step)

    async def damaged_while_open(spool: SqliteSpool) -> None:
        for round_ in range(2):
            database = settings.folder / "spool.db"
            for page in pages_of(database, "contents"):
                spoil(database, page, "zeros")
            entries = await everything(spool)
            results = await asyncio.gather(*(spool.read(entry.message_id, -1) for entry in entries), return_exceptions=True)
            assert all(isinstance(result, SpoolDamaged) for result in results)
            assert len(spool.stats().set_aside) == 1
            clock.advance(300.0)
            assert len(await everything(spool)) == len(WHOLE), round_

    with_spool(settings, damaged_while_open, clock)


def test_a_crash_while_mending_loses_nothing(settings: SpoolSettings, monkeypatch: pytest.MonkeyPatch) -> None:
    with_spool(settings, fill)
    database = settings.folder / "spool.db"
    spoil(database, 1, "zeros")
    names: list[str] = []

    class Killed(BaseException):
        pass

    for step in ("_copy", "_tidied", "finish", "sync_folder"):
        calls = 0

        def die(*_: object) -> None:
            nonlocal calls
            calls += 1
            raise Killed

        with monkeypatch.context() as patch:
            patch.setattr(f"hslpy.spool.salvage.{step}", die)
            with pytest.raises(Killed):
                asyncio.run(SqliteSpool(settings, clock=ManualClock(1e9)).open())
        assert calls

    async def check(spool: SqliteSpool) -> None:
        names.extend(await readable(spool))

    with_spool(settings, check)
    assert set(names) == WHOLE


def test_what_a_later_version_wrote_is_left_alone_though_damaged(settings: SpoolSettings) -> None:
    with_spool(settings, fill)
    database = settings.folder / "spool.db"
    connection = sqlite3.connect(database)
    connection.execute("UPDATE meta SET value = 99 WHERE key = 'version'")
    connection.commit()
    connection.close()
    data = bytearray(database.read_bytes())
    data[28:32] = (10**6).to_bytes(4, "big")  # more pages than there are
    database.write_bytes(data)
    with pytest.raises(OperatorError, match="later version"):
        asyncio.run(SqliteSpool(settings, clock=ManualClock(1e9)).open())
    assert database.read_bytes() == data


def test_a_reader_that_cannot_be_opened_is_a_spool_error(settings: SpoolSettings) -> None:
    async def step(spool: SqliteSpool) -> None:
        await spool.store(message())
        settings.folder.rename(settings.folder.with_name("away"))
        try:
            with pytest.raises(SpoolError):
                await spool.read(1, -1)
        finally:
            settings.folder.with_name("away").rename(settings.folder)

    with_spool(settings, step)


def test_no_damage_is_too_odd_to_be_read(settings: SpoolSettings, tmp_path: Path) -> None:
    crashed(settings, 60)
    sound = {name: (settings.folder / name).read_bytes() for name in ("spool.db", "spool.db-wal")}
    rng = random.Random(9)
    for _ in range(60):
        for name, data in sound.items():
            damaged = bytearray(data)
            for _ in range(rng.choice((1, 10, 100))):
                at = rng.randrange(len(damaged))
                length = min(rng.choice((1, 4, 512)), len(damaged) - at)
                damaged[at : at + length] = rng.choice((rng.randbytes(length), b"\xff" * length, bytes(length)))
            (tmp_path / name).write_bytes(damaged[: rng.choice((len(damaged), rng.randrange(len(damaged))))])
        image = Image(tmp_path / "spool.db", tmp_path / "spool.db-wal", schema.PAGE_BYTES)
        seen: set[int] = set()
        for root in image.roots().values():
            list(image.rows(root, seen, lambda values: True))
        list(image.stray_rows(seen))
        image.close()


def test_a_head_of_the_wal_that_was_being_written_anew_is_no_damage(settings: SpoolSettings) -> None:
    crashed(settings, 30)
    connection = sqlite3.connect(settings.folder / "spool.db")
    connection.execute("PRAGMA wal_checkpoint(PASSIVE)")
    wal = settings.folder / "spool.db-wal"
    data = bytearray(wal.read_bytes())
    connection.close()
    data[12:16] = b"\0\0\0\1"  # the next number, of a head of which the rest was not written
    wal.write_bytes(data)

    async def step(spool: SqliteSpool) -> None:
        assert len(await everything(spool)) == 30

    with_spool(settings, step)
    assert aside(settings) == []


@pytest.mark.parametrize("text", ["\xff\xfe{", "not json", "[1]"])
def test_a_recipients_row_that_cannot_be_understood_is_no_hindrance(settings: SpoolSettings, text: str) -> None:
    with_spool(settings, fill)
    connection = sqlite3.connect(settings.folder / "spool.db")
    (first,) = connection.execute("SELECT min(queue_id) FROM recipients").fetchone()
    value = text.encode("latin-1")
    connection.execute("UPDATE recipients SET metadata = cast(? AS text) WHERE queue_id = ?", (value, first))
    connection.commit()
    connection.close()
    found: list[QueuedRecipient] = []

    async def step(spool: SqliteSpool) -> None:
        found.extend(await everything(spool))

    with_spool(settings, step)
    assert len(found) == len(WHOLE) - (text[0] == "\xff")
    assert text[0] == "\xff" or found[0].metadata == {}

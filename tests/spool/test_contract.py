"""What both spools promise, by the same tests."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from hslpy.mail.address import NULL_SENDER, Address
from hslpy.spool.contract import QueuedRecipient, Remove, Spool, SpoolError, SpoolFull, Update
from hslpy.spool.memory import MemorySpool
from hslpy.spool.sqlite import SpoolSettings, SqliteSpool
from tests.spool.messages import message, recipient


class Place:
    """Where a spool is opened, and opened again as after a restart."""

    def __init__(self, kind: str, folder: Path) -> None:
        self.kind = kind
        self.settings = SpoolSettings(folder / "spool", body_file_above_bytes=1000, min_free_bytes=0)
        self.memory = MemorySpool()

    async def open(self) -> Spool:
        if self.kind == "memory":
            self.memory = self.memory.reopened()
            await self.memory.open()
            return self.memory
        spool = SqliteSpool(self.settings)
        await spool.open()
        return spool


@pytest.fixture(params=["memory", "sqlite", "segments"])
def place(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Place:
    if request.param == "segments":  # all bodies that are not in files
        monkeypatch.setattr("hslpy.spool.writer._SEGMENT_BODY_BYTES", 0)
        monkeypatch.setattr("hslpy.spool.writer._SEGMENT_BATCH_BYTES", 1)
    return Place(request.param, tmp_path)


def run(place: Place, *steps: Callable[[Spool], Awaitable[None]]) -> None:
    """Run the steps, each on the spool opened anew."""

    async def all_steps() -> None:
        for step in steps:
            spool = await place.open()
            try:
                await step(spool)
            finally:
                await spool.close()

    asyncio.run(all_steps())


async def everything(spool: Spool) -> list[QueuedRecipient]:
    return [entry async for batch in spool.recover() for entry in batch]


def test_what_was_stored_is_there_after_a_restart(place: Place) -> None:
    stored: list[QueuedRecipient] = []
    full = recipient(
        "Bob",
        variant=0,
        recipient_params={"NOTIFY": "NEVER"},
        sender_params={"BODY": "8BITMIME"},
        metadata={"kéy": "v\x00alue\xff", "": ""},
        hold=True,
        quarantine_id="q:1",
        job_id="job",
        priority=3,
    )
    null = recipient(sender=NULL_SENDER, due_at=12.25)

    async def store(spool: Spool) -> None:
        stored.extend(await spool.store(message(full, null, variants=((b"X: 1\r\n\r\n", None),))))

    async def check(spool: Spool) -> None:
        assert await everything(spool) == stored
        assert [entry.size_bytes for entry in stored] == [
            len(b"X: 1\r\n\r\nbody\r\n"),
            len(b"Subject: a test\r\n\r\nbody\r\n"),
        ]
        assert stored[0].metadata == {"kéy": "v\x00alue\xff", "": ""}
        assert stored[1].sender.is_null and stored[1].due_at == 12.25
        assert await spool.read(stored[0].message_id, 0) == b"X: 1\r\n\r\nbody\r\n"
        assert await spool.read(stored[1].message_id, -1) == b"Subject: a test\r\n\r\nbody\r\n"

    run(place, store, check)


@pytest.mark.parametrize("size", [0, 10, 1000, 1001, 300_000])
def test_content_is_the_same_in_the_database_and_in_a_file(place: Place, size: int) -> None:
    body = bytes(range(256)) * (size // 256) + b"x" * (size % 256)
    variants = ((None, body + b"1"), (b"H: 2\r\n\r\n", None), (b"H: 3\r\n\r\n", body[::-1]), (None, b""))

    async def store(spool: Spool) -> None:
        await spool.store(message(recipient(variant=2), recipient(), body=body, variants=variants))

    async def check(spool: Spool) -> None:
        first = (await everything(spool))[0]
        head = b"Subject: a test\r\n\r\n"
        contents = [await spool.read(first.message_id, variant) for variant in range(-1, 4)]
        wanted = [head + body, head + body + b"1", b"H: 2\r\n\r\n" + body, b"H: 3\r\n\r\n" + body[::-1], head]
        assert contents == wanted
        await spool.apply([Remove(entry.queue_id) for entry in await everything(spool)])
        with pytest.raises(SpoolError):
            await spool.read(first.message_id, -1)

    run(place, store, check)


def test_a_message_goes_with_its_last_recipient(place: Place) -> None:
    async def step(spool: Spool) -> None:
        entries = await spool.store(
            message(recipient("a"), recipient("b"), recipient("c"), variants=((b"V: 1\r\n\r\n", None),))
        )
        other = (await spool.store(message()))[0]
        for entry in entries[:2]:
            await spool.apply([Remove(entry.queue_id)])
            assert await spool.read(entry.message_id, -1)
        await spool.apply([Remove(entries[2].queue_id), Remove(entries[2].queue_id)])
        for variant in (-1, 0):
            with pytest.raises(SpoolError):
                await spool.read(entries[0].message_id, variant)
        assert [entry.queue_id for entry in await everything(spool)] == [other.queue_id]
        assert await spool.read(other.message_id, -1)

    run(place, step)


def test_ids_are_positive_and_never_given_twice_even_after_a_restart(place: Place) -> None:
    seen: list[int] = []

    async def step(spool: Spool) -> None:
        for _ in range(3):
            entries = await spool.store(message(recipient("a"), recipient("b")))
            seen.extend(entry.queue_id for entry in entries)
        await spool.apply([Remove(queue_id) for queue_id in seen])
        assert await everything(spool) == []

    run(place, step, step, step)
    assert len(set(seen)) == 18
    assert min(seen) > 0
    assert seen == sorted(seen)


def test_changes_are_kept(place: Place) -> None:
    changed = {
        "transport_id": "mailtransport:2",
        "due_at": 2000.5,
        "retries": 3,
        "first_at": 1001.0,
        "last_at": 1500.25,
        "last_error": "451 4.2.0 grey\xff",
        "metadata": {"a": "b"},
        "hold": True,
        "quarantine_id": "q",
        "job_id": "j",
        "priority": 7,
    }

    async def change(spool: Spool) -> None:
        entry = (await spool.store(message()))[0]
        await spool.apply([Update(entry.queue_id, changed), Update(999, {"retries": 1})])
        await spool.apply(
            [Update(entry.queue_id, {"priority": 8}), Update(entry.queue_id, {"priority": 9, "quarantine_id": None})]
        )

    async def check(spool: Spool) -> None:
        (entry,) = await everything(spool)
        wanted = {**changed, "priority": 9, "quarantine_id": None}
        assert {name: getattr(entry, name) for name in wanted} == wanted
        await spool.apply([Update(entry.queue_id, {"metadata": {}})])
        assert (await everything(spool))[0].metadata == {}

    run(place, change, check)


def test_only_what_may_change_can_be_changed(place: Place) -> None:
    async def step(spool: Spool) -> None:
        entry = (await spool.store(message()))[0]
        for name in ("queue_id", "recipient", "hold = 1; --"):
            with pytest.raises(ValueError, match="cannot be changed"):
                await spool.apply([Update(entry.queue_id, {name: 5})])

    run(place, step)


def test_a_report_takes_the_place_of_what_it_reports_on(place: Place) -> None:
    async def step(spool: Spool) -> None:
        failed = (await spool.store(message()))[0]
        report = message(recipient(sender=NULL_SENDER), transaction_id="report")
        (entry,) = await spool.apply([Remove(failed.queue_id)], report)
        assert entry.queue_id > failed.queue_id
        assert [one.transaction_id for one in await everything(spool)] == ["report"]

    run(place, step)


def test_a_message_without_recipients_or_with_a_wrong_variant_is_refused(place: Place) -> None:
    async def step(spool: Spool) -> None:
        with pytest.raises(ValueError):
            await spool.store(message(*[], recipients=()))
        with pytest.raises(ValueError):
            await spool.store(message(recipient(variant=0)))
        with pytest.raises(ValueError):
            await spool.store(message(recipient(variant=-2)))
        assert await everything(spool) == []

    run(place, step)


def test_many_at_once_each_get_their_own(place: Place) -> None:
    async def step(spool: Spool) -> None:
        async def one(number: int) -> None:
            new = message(recipient(f"r{number}"), recipient(f"s{number}"), body=b"%d" % number * (number * 10))
            entries = await spool.store(new)
            assert [entry.recipient.local_part for entry in entries] == [f"r{number}", f"s{number}"]
            assert await spool.read(entries[0].message_id, -1) == new.header + new.body
            await spool.apply([Remove(entries[0].queue_id), Update(entries[1].queue_id, {"retries": number})])

        await asyncio.gather(*(one(number) for number in range(120)))
        left = await everything(spool)
        assert sorted((entry.retries, entry.recipient.local_part) for entry in left) == [(n, f"s{n}") for n in range(120)]
        assert spool.stats().stored == 240 and spool.stats().removed == 120

    run(place, step)


def test_recovery_gives_what_was_there_when_it_began(place: Place) -> None:
    async def step(spool: Spool) -> None:
        for number in range(30):
            await spool.store(message(*(recipient(f"{number}-{each}") for each in range(100))))
        seen = []
        async for batch in spool.recover():
            seen.extend(entry.queue_id for entry in batch)
            await spool.store(message(recipient("late")))
        assert seen == list(range(1, 3001))

    run(place, step)


def test_an_address_comes_back_as_it_was(place: Place) -> None:
    addresses = [
        Address('we "ird', "example.net"),
        Address("b\xc3\xa5", "\xc3\xa5.example"),
        Address("postmaster", ""),
        NULL_SENDER,
    ]

    async def step(spool: Spool) -> None:
        await spool.store(message(*(recipient(recipient=address, sender=address) for address in addresses)))
        entries = await everything(spool)
        assert [entry.recipient for entry in entries] == addresses
        assert [entry.sender for entry in entries] == addresses

    run(place, step)


def test_a_closed_spool_says_so(place: Place) -> None:
    async def step(spool: Spool) -> None:
        await spool.close()
        with pytest.raises(SpoolError):
            await spool.store(message())
        with pytest.raises(SpoolError):
            await spool.read(1, -1)

    run(place, step)


def test_the_peer_hears_nothing_of_why(place: Place) -> None:
    assert SpoolError("/var/spool: EIO").reply.render() == b"451 4.3.0 Local storage failed, try again later\r\n"
    assert SpoolFull("/var/spool: ENOSPC").reply.render() == b"452 4.3.1 Insufficient system storage\r\n"

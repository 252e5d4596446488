"""Reports of delay: once at each age, whatever is restarted, lost or full in between."""

from __future__ import annotations

import asyncio

import pytest

from hslpy.mail.verdict import QueueOptions
from hslpy.queue.queue import Queue, QueueSettings
from hslpy.queue.schedule import RetrySchedule, passed
from hslpy.spool.contract import QueuedRecipient, SpoolError
from tests.queue.test_queue import World, accepted, report, run
from tests.spool.messages import recipient

SETTINGS = QueueSettings(RetrySchedule(wait_s=600.0, factor=1.0, jitter=0.0), delay_warning_after_s=(1000.0, 5000.0))


async def attempt(world: World, queue: Queue) -> bool:
    """Let the one recipient's attempt fail for now; say whether that was the moment for a report."""
    (entry,) = queue.claim(1)
    warns = queue.warns_of_delay(entry, world.clock.time())
    made = report(entry) if warns else None
    await queue.reschedule(entry, QueueOptions(), world.clock.time(), report=made)
    return warns


def waiting(queue: Queue) -> list[QueuedRecipient]:
    return [entry for entry in (queue.get(queue_id) for queue_id in range(100)) if entry is not None]


def test_one_at_each_age_over_restarts() -> None:
    async def test(world: World, queue: Queue) -> None:
        await accepted(queue, recipient("slow", 1000.0, hold=False))
        warned = []
        for number in range(12):
            if await attempt(world, queue):
                warned.append(world.clock.time())
                told = waiting(queue)[-1]
                assert told.sender.is_null and told.recipient_params == {"NOTIFY": "NEVER"}
                await queue.delete([told.queue_id])
            if number % 2:
                await world.stop()
                queue = await world.start()
            world.clock.advance(600.0)
        assert warned == [2200.0, 6400.0]  # the first attempts after 1000 and 5000 seconds, the first of all at 1000.0
        assert len(queue) == 1

    run(test, SETTINGS)


def test_a_report_that_cannot_be_stored_is_sent_with_a_later_attempt() -> None:
    async def test(world: World, queue: Queue) -> None:
        (entry,) = await accepted(queue, recipient("slow", 1000.0))
        assert not await attempt(world, queue)
        world.clock.advance(2000.0)
        spool, whole = world.spool, world.spool.apply

        async def full(changes: object, new: object = None) -> object:
            if new is not None:
                raise SpoolError("the disk is full")
            return await whole(changes)  # type: ignore[arg-type]

        spool.apply = full  # type: ignore[method-assign,assignment]
        assert await attempt(world, queue)
        assert len(queue) == 1 and "queue.report_not_stored" in world.events()
        kept = queue.get(entry.queue_id)
        assert kept is not None and kept.retries == 2 and kept.due_at == 3600.0
        spool.apply = whole  # type: ignore[method-assign]
        await world.stop()
        queue = await world.start()
        world.clock.advance(600.0)
        assert await attempt(world, queue) and len(queue) == 2

    run(test, SETTINGS)


@pytest.mark.parametrize(
    ("changes", "wanted"),
    [
        ({}, True),
        ({"recipient_params": {"NOTIFY": "DELAY"}}, True),
        ({"recipient_params": {"NOTIFY": "FAILURE,SUCCESS"}}, False),
        ({"recipient_params": {"NOTIFY": "NEVER"}}, False),
    ],
)
def test_notify_decides(changes: dict[str, object], wanted: bool) -> None:
    async def test(world: World, queue: Queue) -> None:
        await accepted(queue, recipient("slow", 1000.0, **changes))
        assert not await attempt(world, queue)
        world.clock.advance(1000.0)
        assert await attempt(world, queue) is wanted

    run(test, SETTINGS)


def test_none_for_reports_and_none_unless_asked_for() -> None:
    async def test(world: World, queue: Queue) -> None:
        (entry,) = await accepted(queue, recipient("slow", 1000.0))
        queue.claim(1)
        await queue.bounce(entry, report(entry))
        assert not await attempt(world, queue)
        world.clock.advance(1000.0)
        assert not await attempt(world, queue)

    run(test, SETTINGS)


@pytest.mark.parametrize("stopped", [False, True])
def test_a_success_report_that_cannot_be_stored_is_stored_later(stopped: bool) -> None:
    async def test(world: World, queue: Queue) -> None:
        first, second = await accepted(queue, recipient("one", 1000.0), recipient("two", 1000.0))
        queue.claim(2)
        spool, whole = world.spool, world.spool.apply

        async def full(changes: object, new: object = None) -> object:
            if new is not None:
                raise SpoolError("the disk is full")
            return await whole(changes)  # type: ignore[arg-type]

        spool.apply = full  # type: ignore[method-assign,assignment]
        await queue.finish(first, report(first))
        await queue.finish(second, report(second))
        assert len(queue) == 0 and world.events().count("queue.report_not_stored") == 2
        spool.apply = whole  # type: ignore[method-assign]
        if stopped:
            await world.stop()
            queue = await world.start()
        else:
            await asyncio.sleep(0)
            world.clock.advance(1.0)
            while len(queue) < 2:
                await asyncio.sleep(0)
        assert len(queue) == 2 and "queue.report_dropped" not in world.events()

    run(test, SETTINGS)


def test_a_success_report_goes_with_the_removal() -> None:
    async def test(world: World, queue: Queue) -> None:
        (entry,) = await accepted(queue, recipient("good", 1000.0))
        queue.claim(1)
        await queue.finish(entry, report(entry))
        await world.stop()
        queue = await world.start()
        (told,) = waiting(queue)
        assert told.sender.is_null and told.recipient == entry.sender

    run(test)


def test_ages() -> None:
    assert not passed(0.0, 0.0, 5000.0, (10.0,))
    assert not passed(100.0, 100.0, 109.9, (10.0,))
    assert passed(100.0, 100.0, 110.0, (10.0,))
    assert not passed(100.0, 110.0, 120.0, (10.0,))
    assert passed(100.0, 111.0, 900.0, (10.0, 20.0, 30.0))
    assert not passed(100.0, 111.0, 90.0, (10.0,))
    assert not passed(100.0, 100.0, 900.0, ())

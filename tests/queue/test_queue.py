"""The queue: what is due when, what survives, what an operator's order does, on a clock that is moved by hand."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import pytest

from hslpy.clock import ManualClock
from hslpy.mail.address import NULL_SENDER, Address
from hslpy.mail.verdict import QueueOptions
from hslpy.queue.queue import Outcome, Queue, QueueSettings
from hslpy.queue.report import Fate, ReportSettings, report_on
from hslpy.queue.schedule import RetrySchedule
from hslpy.queue.search import QueueFilter
from hslpy.spool.contract import NewMessage, NewRecipient, QueuedRecipient, SpoolError, SpoolFull
from hslpy.spool.memory import MemorySpool
from tests.spool.messages import message, recipient


class World:
    """A queue over a spool in memory, with its clock and what it logged."""

    def __init__(self, settings: QueueSettings | None = None) -> None:
        self.settings = settings or QueueSettings(schedule=RetrySchedule(jitter=0.0))
        self.clock = ManualClock(1000.0)
        self.spool = MemorySpool()
        self.logged: list[tuple[str, Mapping[str, object]]] = []

    async def start(self) -> Queue:
        self.spool = self.spool.reopened()
        await self.spool.open()
        log = lambda event, fields: self.logged.append((event, fields))  # noqa: E731
        self.queue = Queue(self.spool, self.settings, self.clock, random.Random(1), log)
        await self.queue.open()
        return self.queue

    async def stop(self) -> None:
        await self.queue.close()
        await self.spool.close()

    def events(self) -> list[str]:
        return [event for event, _ in self.logged]


def run(test: Callable[[World, Queue], Awaitable[Any]], settings: QueueSettings | None = None) -> World:
    async def all_of_it() -> World:
        world = World(settings)
        queue = await world.start()
        await asyncio.wait_for(test(world, queue), 60)
        await world.stop()
        return world

    return asyncio.run(all_of_it())


async def accepted(queue: Queue, *recipients: NewRecipient) -> list[QueuedRecipient]:
    return list(await queue.accept(message(*recipients)))


def report(entry: QueuedRecipient) -> NewMessage:
    content = b"Subject: a test\r\n\r\nbody\r\n"
    failure = Fate((5, 1, 1), "550 5.1.1 no such user", True, "mx.example.net")
    return report_on(entry, content, failure, ReportSettings("mail.example"), 1000.0, random.Random(2))


def test_what_is_accepted_is_due_in_order_and_given_once() -> None:
    async def test(world: World, queue: Queue) -> None:
        late, early, future = await accepted(
            queue, recipient("late", 900), recipient("early", 800), recipient("future", 1001)
        )
        assert queue.next_due() == 800
        assert queue.claim(1) == [early]
        assert queue.claim(10) == [late]
        assert queue.claim(10) == []
        assert queue.next_due() == 1001
        assert queue.in_flight == 2 and len(queue) == 3
        assert [queue.state(entry) for entry in (late, early, future)] == ["in-flight", "in-flight", "waiting"]
        world.clock.advance(1)
        assert queue.state(future) == "due"
        assert queue.claim(10) == [future]

    run(test)


def test_waiting_ends_when_something_falls_due_or_comes() -> None:
    async def test(world: World, queue: Queue) -> None:
        wait = asyncio.ensure_future(queue.wait())
        await asyncio.sleep(0.001)
        assert not wait.done()
        await accepted(queue, recipient(due_at=1200))
        await asyncio.sleep(0.001)
        assert not wait.done()
        world.clock.advance(199)
        await asyncio.sleep(0.001)
        assert not wait.done()
        world.clock.advance(1)
        await wait
        await queue.wait()
        (entry,) = queue.claim(1)
        wait = asyncio.ensure_future(queue.wait())
        await asyncio.sleep(0.001)
        assert not wait.done()
        await accepted(queue, recipient(due_at=1000))
        await wait
        queue.claim(1)
        wait = asyncio.ensure_future(queue.wait())
        await asyncio.sleep(0.001)
        queue.postpone(entry, 1200)
        await wait

    run(test)


@pytest.mark.parametrize("restarted", [False, True])
def test_mail_of_a_time_that_was_wrong_does_not_wait_for_it(restarted: bool) -> None:
    """A clock years ahead is set right: what was to be tried in five minutes is, and what was due is due."""
    years = 3e8

    async def test(world: World, queue: Queue) -> None:
        world.clock.step(years)
        assert queue.claim(1) == []
        tried, fresh, held = [
            (await queue.accept(message(recipient(due_at=1000 + years, hold=hold), received_at=1000 + years)))[0]
            for hold in (False, False, True)
        ]
        assert held.hold
        assert queue.claim(1) == [tried]
        await queue.reschedule(tried, QueueOptions(), world.clock.time())
        world.clock.step(-years)
        if restarted:
            await world.stop()
            queue = await world.start()
        assert [entry.queue_id for entry in queue.claim(9)] == [fresh.queue_id]
        assert queue.next_due() == 1300
        world.clock.advance(300)
        (again,) = queue.claim(9)
        assert not queue.will_expire(again, 1300) and queue.tried_until(again) == 1300 + 5 * 86400
        await queue.reschedule(again, QueueOptions(), 1300)
        assert again.first_at == 1300 and again.due_at == 1900
        assert world.events().count("queue.clock_set") == (1 if restarted else 2)

    run(test)


def test_a_clock_that_is_put_right_makes_nothing_expire() -> None:
    """As on a machine that starts in 1970 and hears the time later."""

    async def test(world: World, queue: Queue) -> None:
        (entry,) = await accepted(queue)
        queue.claim(1)
        await queue.reschedule(entry, QueueOptions(), 1000)
        world.clock.step(1.7e9)
        assert queue.claim(1) == [entry]
        assert not queue.will_expire(entry, world.clock.time())
        await queue.reschedule(entry, QueueOptions(), world.clock.time())
        assert entry.first_at == 1000 + 1.7e9 and entry.due_at == 1600 + 1.7e9
        world.clock.step(30)
        assert queue.claim(1) == [] and world.events() == ["queue.clock_set"]

    run(test)


def test_a_failed_attempt_waits_as_the_schedule_says_and_is_known_after_a_restart() -> None:
    async def test(world: World, queue: Queue) -> None:
        await accepted(queue)
        for tries, wait in enumerate((300, 600, 1200), 1):
            (entry,) = queue.claim(5)
            now = world.clock.time()
            await queue.reschedule(entry, QueueOptions(), now, error="451 4.2.0 later", metadata={"n": str(tries)})
            assert (entry.retries, entry.due_at, entry.first_at, entry.last_at) == (tries, now + wait, 1000.0, now)
            queue = await world.start()
            assert queue.claim(5) == []
            world.clock.advance(wait)
        (entry,) = queue.claim(5)
        assert (entry.retries, entry.last_error, entry.metadata) == (3, "451 4.2.0 later", {"n": "3"})
        assert queue.metric("count", {"retry": ["3"], "metadata.n": ["3"]}) == 1
        assert queue.metric("count", {"retry": ["0", "1", "2"]}) == 0

    run(test)


def test_options_of_a_script_go_before_the_schedule() -> None:
    async def test(world: World, queue: Queue) -> None:
        await accepted(queue)
        (entry,) = queue.claim(1)
        await queue.reschedule(
            entry, QueueOptions(delay_s=5, increment_retry=False, reason="why", transport_id="t2"), 1000.0
        )
        assert (entry.retries, entry.due_at, entry.last_error, entry.transport_id) == (0, 1005.0, "why", "t2")
        assert queue.metric("count", {"transportid": ["t2"]}) == 1
        world.clock.advance(10)
        (entry,) = queue.claim(1)
        await queue.reschedule(entry, QueueOptions(delay_s=-5), 1010.0)
        assert (entry.retries, entry.due_at, entry.first_at) == (1, 1010.0, 1000.0)
        (entry,) = queue.claim(1)
        await queue.reschedule(entry, QueueOptions(reset_retry=True), 1010.0)
        assert (entry.retries, entry.due_at, entry.first_at) == (0, 1310.0, 0.0)
        world.clock.advance(1000)
        (entry,) = queue.claim(1)
        await queue.reschedule(entry, QueueOptions(hold=True), world.clock.time())
        world.clock.advance(1e6)
        assert queue.claim(1) == [] and queue.state(entry) == "held"

    run(test)


def test_expiry_is_foreseen_and_sooner_for_a_bounce() -> None:
    async def test(world: World, queue: Queue) -> None:
        await accepted(queue, recipient("a"), recipient("b", sender=NULL_SENDER))
        mail, bounce = queue.claim(2)
        for entry in (mail, bounce):
            assert not queue.will_expire(entry, 1000.0)
            await queue.reschedule(entry, QueueOptions(delay_s=0), 1000.0)
        assert not queue.will_expire(mail, 1000 + 86400)
        assert queue.will_expire(bounce, 1000 + 86400)
        assert queue.will_expire(mail, 1000 + 5 * 86400)
        world.clock.advance(6 * 86400)
        (mail, bounce) = queue.claim(2)
        now = world.clock.time()
        await queue.reschedule(mail, QueueOptions(), now)  # a script may keep it longer
        assert mail.due_at == now + 4 * 3600

    run(test)


def test_a_bounce_replaces_the_recipient_in_one_commit() -> None:
    async def test(world: World, queue: Queue) -> None:
        await accepted(queue)
        (entry,) = queue.claim(1)
        commits = world.spool.stats().commits
        (dsn,) = await queue.bounce(entry, report(entry))
        assert world.spool.stats().commits == commits + 1
        assert dsn.sender.is_null and str(dsn.recipient) == "alice@Example.org"
        assert queue.get(entry.queue_id) is None and len(queue) == 1
        queue = await world.start()
        (again,) = queue.claim(5)
        assert again.queue_id == dsn.queue_id
        content = await world.spool.read(again.message_id, -1)
        assert b"550 5.1.1 no such user" in content

    run(test)


def test_never_a_bounce_of_a_bounce_nor_where_notify_says_never() -> None:
    async def test(world: World, queue: Queue) -> None:
        params = ({"NOTIFY": "NEVER"}, {"NOTIFY": "SUCCESS,DELAY"}, {"notify": "FAILURE"})
        wanted = [recipient(sender=NULL_SENDER), *(recipient(recipient_params=each) for each in params), recipient()]
        await accepted(queue, *wanted)
        made = [len(await queue.bounce(entry, report(entry))) for entry in queue.claim(9)]
        assert made == [0, 0, 0, 1, 1]
        assert len(queue) == 2
        for entry in queue.claim(9):
            assert await queue.bounce(entry, report(entry)) == ()
        assert len(queue) == 0 and queue.metric("bytes", {}) == 0

    world = run(test)
    assert world.events().count("queue.report_dropped") == 5


def test_an_order_on_mail_in_flight() -> None:
    async def test(world: World, queue: Queue) -> None:
        entries = await accepted(queue, *(recipient(str(n)) for n in range(6)))
        a, b, c, d, e, f = queue.claim(6)
        assert [a, b, c, d, e, f] == entries
        order = await queue.delete([a.queue_id, b.queue_id, c.queue_id, d.queue_id, 99, a.queue_id])
        assert order == Outcome(later=(a.queue_id, b.queue_id, c.queue_id, d.queue_id), unknown=(99,))
        assert len(queue) == 6
        await queue.reschedule(a, QueueOptions(), 1000.0)
        assert await queue.bounce(b, report(b)) == ()
        await queue.finish(c)
        queue.postpone(d, 1000.0)
        await asyncio.sleep(0)
        assert (await queue.hold([e.queue_id])).later == (e.queue_id,)
        await queue.reschedule(e, QueueOptions(delay_s=0), 1000.0)
        assert queue.state(e) == "held"
        queue.postpone(f, 1000.0)
        assert queue.claim(9) == [f]
        await queue.close()
        assert len(queue) == 2

    run(test)


def test_hold_release_delete_are_durable() -> None:
    async def test(world: World, queue: Queue) -> None:
        a, b, c = await accepted(queue, recipient("a"), recipient("b"), recipient("c", 5000))
        quarantined = (await accepted(queue, recipient("q", hold=True, quarantine_id="quarantine:1")))[0]
        assert queue.metric("count", {}) == 3
        assert await queue.hold([a.queue_id, b.queue_id, 77]) == Outcome(done=(1, 2), unknown=(77,))
        assert queue.claim(9) == []
        queue = await world.start()
        assert queue.claim(9) == [] and queue.metric("count", {}) == 3
        assert (await queue.delete([b.queue_id])).done == (b.queue_id,)
        assert (await queue.release([a.queue_id, c.queue_id, quarantined.queue_id])).done == (1, 3, 4)
        assert queue.metric("count", {}) == 3
        queue = await world.start()
        assert sorted(entry.queue_id for entry in queue.claim(9)) == [1, 3, 4]
        assert queue.metric("count", {"recipientdomain": ["example.net"]}) == 3

    run(test)


def test_a_deleted_recipient_is_not_claimed_while_its_removal_is_written() -> None:
    async def test(world: World, queue: Queue) -> None:
        (entry,) = await accepted(queue)
        deleting = asyncio.ensure_future(queue.delete([entry.queue_id]))
        await asyncio.sleep(0)
        assert queue.claim(1) == []
        await deleting
        (entry,) = await accepted(queue)
        world.spool.failing = True
        with pytest.raises(SpoolError):
            await queue.delete([entry.queue_id])
        world.spool.failing = False
        assert queue.claim(1) == [entry]

    run(test)


def test_listing_by_field_and_state() -> None:
    async def test(world: World, queue: Queue) -> None:
        await accepted(queue, *(recipient(f"r{n}", 1000 + n, metadata={"n": str(n % 2)}) for n in range(10)))
        queue.claim(1)
        await queue.hold([2, 3])
        for state, ids in {
            "in-flight": [1],
            "held": [2, 3],
            "due": [],
            "waiting": [4, 5, 6, 7, 8, 9, 10],
            "quarantined": [],
        }.items():
            count, found = await queue.list(QueueFilter(state=state))
            assert (count, [entry.queue_id for entry in found]) == (len(ids), ids), state
        count, found = await queue.list(
            QueueFilter({"metadata.n": ["1"], "senderdomain": ["EXAMPLE.org"]}), limit=2, offset=1
        )
        assert (count, [entry.queue_id for entry in found]) == (5, [4, 6])
        with pytest.raises(ValueError):
            await queue.list(QueueFilter({"sendr": ["x"]}))
        assert len(await queue.of_transaction("transaction-1")) == 10
        assert await queue.of_transaction("other") == ()

    run(test)


def test_overdue_retries_are_spread_after_an_outage_and_first_attempts_are_not() -> None:
    settings = QueueSettings(spread_s=100.0, spread_above=10)

    async def test(world: World, queue: Queue) -> None:
        await accepted(queue, *(recipient(str(n), 900 + n) for n in range(50)))
        for entry in queue.claim(40):
            await queue.reschedule(entry, QueueOptions(delay_s=entry.queue_id), 1000.0)
        world.clock.advance(5000)
        queue = await world.start()
        assert len(queue.claim(99)) == 10
        world.clock.advance(50)
        first = queue.claim(99)
        assert 15 < len(first) < 25
        assert [entry.queue_id for entry in first] == sorted(entry.queue_id for entry in first)
        world.clock.advance(50)
        assert len(first) + len(queue.claim(99)) == 40

    run(test, settings)


def test_few_overdue_retries_are_not_delayed() -> None:
    async def test(world: World, queue: Queue) -> None:
        await accepted(queue)
        await queue.reschedule(queue.claim(1)[0], QueueOptions(), 1000.0)
        world.clock.advance(5000)
        queue = await world.start()
        assert len(queue.claim(9)) == 1

    run(test)


def test_a_spool_that_fails_loses_nothing() -> None:
    async def test(world: World, queue: Queue) -> None:
        await accepted(queue, *(recipient(str(n)) for n in range(3)))
        done, later, failed = queue.claim(3)
        world.spool.failing = True
        with pytest.raises(SpoolError):
            await queue.accept(message())
        await queue.finish(done)
        await queue.reschedule(later, QueueOptions(), 1000.0)
        assert await queue.bounce(failed, report(failed)) == ()
        assert len(queue) == 2 and queue.in_flight == 0
        world.spool.failing = False
        assert queue.claim(9) == []
        await queue.hold([later.queue_id])  # what is owed is written with it
        queue = await world.start()
        assert queue.get(done.queue_id) is None
        again = queue.get(later.queue_id)
        assert again is not None and (again.retries, again.due_at, again.hold) == (1, 1300.0, True)
        assert queue.get(failed.queue_id) is not None

    world = run(test)
    assert world.events().count("queue.change_not_written") == 2
    assert "queue.bounce_not_stored" in world.events()


def test_a_full_spool_is_said_to_whoever_sends() -> None:
    async def test(world: World, queue: Queue) -> None:
        world.spool.full = True
        with pytest.raises(SpoolFull):
            await queue.accept(message())
        assert len(queue) == 0

    run(test)


def test_changes_still_owed_at_the_end_are_written() -> None:
    async def test(world: World, queue: Queue) -> None:
        await accepted(queue)
        world.spool.failing = True
        await queue.finish(queue.claim(1)[0])
        world.spool.failing = False
        await queue.close()
        assert len(await world.start()) == 0

    run(test)


class SlowSpool(MemorySpool):
    """A spool whose commits wait for `go`."""

    def __init__(self) -> None:
        super().__init__()
        self.go = asyncio.Event()

    async def apply(self, *args: Any, **kwargs: Any) -> tuple[QueuedRecipient, ...]:
        await self.go.wait()
        return await super().apply(*args, **kwargs)


def test_mail_whose_session_went_away_while_it_was_written_is_queued() -> None:
    async def test() -> None:
        spool = SlowSpool()
        await spool.open()
        queue = Queue(spool, QueueSettings(), ManualClock(1000.0), random.Random(1), lambda event, fields: None)
        await queue.open()
        session = asyncio.ensure_future(queue.accept(message()))
        await asyncio.sleep(0)
        session.cancel()
        with pytest.raises(asyncio.CancelledError):
            await session
        spool.go.set()
        while not (claimed := queue.claim(9)):
            await asyncio.sleep(0)
        (entry,) = claimed
        spool.go.clear()
        ending = asyncio.ensure_future(queue.finish(entry))
        await asyncio.sleep(0)
        ending.cancel()
        held = asyncio.ensure_future(queue.hold([entry.queue_id]))
        await asyncio.sleep(0)
        spool.go.set()
        await queue.close()
        assert len(queue) == 0 and (await held).later == (entry.queue_id,)

    asyncio.run(asyncio.wait_for(test(), 60))


def test_an_operators_release_during_a_reschedule_stands() -> None:
    async def test() -> None:
        spool = SlowSpool()
        spool.go.set()
        await spool.open()
        queue = Queue(spool, QueueSettings(), ManualClock(1000.0), random.Random(1), lambda event, fields: None)
        await queue.open()
        await queue.accept(message())
        (entry,) = queue.claim(1)
        await queue.hold([entry.queue_id])
        spool.go.clear()
        putting_back = asyncio.ensure_future(queue.reschedule(entry, QueueOptions(delay_s=0), 1000.0))
        await asyncio.sleep(0)
        releasing = asyncio.ensure_future(queue.release([entry.queue_id]))
        await asyncio.sleep(0)
        spool.go.set()
        await asyncio.gather(putting_back, releasing)
        assert queue.claim(1) == [entry]
        again = spool.reopened()
        await again.open()
        assert [one.hold async for batch in again.recover() for one in batch] == [False]

    asyncio.run(asyncio.wait_for(test(), 60))


def test_entries_share_what_they_have_in_common() -> None:
    async def test(world: World, queue: Queue) -> None:
        for number in range(3):
            name = "".join(["example", ".", "org"])  # a new string each time
            await accepted(queue, recipient(f"r{number}", sender=Address("alice", name)))
        entries = queue.claim(9)
        assert len({id(entry.sender.domain) for entry in entries}) == 1
        assert len({id(entry.metadata) for entry in entries}) == 1

    run(test)


def test_what_is_queued_is_counted_in_groups() -> None:
    async def test(world: World, queue: Queue) -> None:
        bob = {"domain": "example.com", "username": "bob", "from4": "192.0.2.1"}
        await accepted(queue, recipient("a", egress=bob), recipient("b", egress=bob))
        world.clock.advance(5)
        (third,) = await accepted(queue, recipient("c", recipient=Address("c", "two.example")))
        await queue.hold([third.queue_id])
        found = await queue.summary("recipientdomain")
        assert found.states == {"due": 2, "held": 1}
        assert [(one.value, one.count, one.held) for one in found.groups] == [("example.net", 2, 0), ("two.example", 1, 1)]
        assert found.groups[0].oldest_at == 999.5
        users = await queue.summary("user", QueueFilter(egress={"domain": {"example.com"}}))
        assert [(one.value, one.count) for one in users.groups] == [("bob@example.com", 2)]
        for egress, count in (({"from": {"192.0.2.1"}}, 2), ({"from": {"192.0.2.9"}}, 0), ({"username": {"bob"}}, 2)):
            assert (await queue.list(QueueFilter(egress=egress)))[0] == count
        with pytest.raises(ValueError):
            await queue.summary("colour")

    run(test)

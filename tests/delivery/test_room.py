"""Room for the contents of large messages, as a plain class and around real attempts."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from dataclasses import dataclass

from hypothesis import given, settings
from hypothesis import strategies as st

from hslpy.delivery.plan import OwnListeners
from hslpy.delivery.room import Room
from hslpy.delivery.settings import Transport
from hslpy.hooks.facts import PostDeliveryEvent
from hslpy.mail.verdict import QueueVerdict, TryOptions
from tests.delivery.server import until, world
from tests.delivery.test_delivery import run
from tests.support.smtp_sink import Sink, zone_for

MIB = 1 << 20


@dataclass(frozen=True)
class Job:
    number: int
    content: int
    size: int
    to: str


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 1 << 30), st.sampled_from([1.0, 0.75, 0.3]), st.sampled_from([5, 1000]))
def test_room_is_kept_to_and_every_job_has_its_turn(seed: int, share: float, most: int) -> None:
    rng = random.Random(seed)
    room: Room[Job] = Room(100, share, most)
    sizes = [rng.choice([1, 10, 30, 60, 150]) for _ in range(30)]
    running: dict[int, Job] = {}
    waiting: list[Job] = []
    begun: Counter[int] = Counter()

    def begin(jobs: list[Job]) -> None:
        for job in jobs:
            running[job.number] = job
            begun[job.number] += 1
            assert room.take(job.number, job, job.content, job.size, job.to) == "begin"

    def check() -> None:
        held = {job.content: job for job in running.values()}
        assert room.held_bytes == sum(job.size for job in held.values()) and len(room) == len(waiting) <= max(most, 0)
        assert room.held_bytes <= 100 or len(held) == 1
        assert running or not waiting, "something waits for nothing"

    for number in range(120):
        content = rng.randrange(30)
        job = Job(number, content, sizes[content], f"d{rng.randrange(4)}")
        answer = room.take(number, job, content, job.size, job.to)
        if answer == "begin":
            begin([job])
        elif answer == "wait":
            waiting.append(job)
        else:
            assert len(waiting) == most
            begun[number] += 1  # it is the caller's to offer it again
        check()
        while running and rng.random() < 0.45:
            freed = room.give(running.pop(rng.choice(list(running))).number)
            assert all(job in waiting for job in freed)
            waiting = [job for job in waiting if job not in freed]
            begin(freed)
            check()
    while running:
        freed = room.give(running.popitem()[1].number)
        waiting = [job for job in waiting if job not in freed]
        begin(freed)
        check()
    assert not waiting and room.held_bytes == 0 and set(begun.values()) == {1} and len(begun) == 120
    assert room.give(1) == []


def test_first_come_first_served_but_no_destination_has_all() -> None:
    room: Room[str] = Room(100, 0.5)
    take = lambda number, size, to: room.take(number, f"{to}{number}", number, size, to)  # noqa: E731
    assert [take(n, 25, "slow") for n in range(6)] == ["begin"] * 2 + ["wait"] * 4
    assert take(6, 25, "quick") == "begin" and take(7, 60, "other") == "wait" and take(8, 25, "third") == "wait"
    assert room.give(0) == ["slow2"], "it was there first, and is in its share again"
    assert room.give(6) == [], "the first in line is larger than what is free, and no smaller one overtakes it"
    assert room.give(1) == ["slow3"] and room.give(2) == ["slow4"] and room.held_bytes == 50
    assert sorted(room.drain()) == ["other7", "slow5", "third8"] and len(room) == 0
    assert room.give(3) == room.give(4) == [] and room.held_bytes == 0


def test_a_smaller_one_behind_those_of_a_destination_with_its_share_holds_up_no_other() -> None:
    room: Room[str] = Room(100, 0.5)
    assert room.take(0, "slow0", 0, 45, "slow") == "begin"
    assert room.take(1, "slow1", 1, 40, "slow") == room.take(2, "slow2", 2, 1, "slow") == "wait"
    assert room.take(3, "quick3", 3, 40, "quick") == "begin"
    assert room.give(0) == ["slow1", "slow2"]


def test_a_stop_takes_back_the_room_of_what_waits_for_a_slot() -> None:
    async def test() -> None:
        async with Sink("127.0.0.9") as sink, world(zone_for({"a.example": sink}), port=sink.port) as w:
            await w.delivery.stop(0)
            await w.put("u@a.example", content=body(MIB))
            w.delivery._admit(w.queue.claim(1))
            (waiting,) = next(iter(w.delivery._lanes._lanes.values())).waiting
            key = waiting[0].message_id, waiting[0].variant
            turn = w.delivery._lanes.next(0.0)
            assert turn is not None
            assert w.delivery._room.take(waiting[0].queue_id, turn, key, MIB, turn.destination) == "begin"
            w.delivery._leave(turn)
            w.delivery._lanes.offer(turn.destination, 1, turn.job, turn.group, (), first=True)
            await w.delivery.stop(0)
            assert w.delivery.content_bytes == 0 and w.queue.in_flight == 0

    run(test())


def body(size: int) -> bytes:
    return b"Subject: large\r\n\r\n" + b"0123456789" * (size // 10) + b"\r\n"


def test_large_messages_wait_their_turn_and_small_ones_pass() -> None:
    async def test() -> None:
        async with (
            Sink("127.0.0.9", hold=asyncio.Event()) as slow,
            Sink("127.0.0.10", port=slow.port) as quick,
            world(
                zone_for({"slow.example": slow, "quick.example": quick}),
                port=slow.port,
                content_memory_bytes=4 * MIB,
                destination_connections=4,
            ) as w,
        ):
            for n in range(8):
                await w.put(f"u{n}@slow.example", content=body(MIB))
            await until(lambda: slow.open_now == 2)
            await w.put("small@slow.example")
            await w.put("large@quick.example", content=body(MIB))
            await until(lambda: len(quick.received) == 1 and slow.open_now == 3)
            assert w.events("delivery.waits_for_memory")[0]["waiting"] >= 1
            await until(lambda: w.delivery.under_way == 3)
            assert slow.peak == 3
            assert slow.hold is not None
            slow.hold.set()
            assert await w.settled(10) == {"delivered": 10}
            assert slow.peak <= 4 and len(slow.received) == 9 and w.delivery._room.held_bytes == 0

    run(test())


def test_room_comes_back_from_failures_and_a_message_above_all_of_it_goes_alone() -> None:
    async def test() -> None:
        async with (
            Sink("127.0.0.9", answers={"MAIL": "451 4.3.0 later"}) as sink,
            world(zone_for({"a.example": sink}), port=sink.port, content_memory_bytes=MIB) as w,
        ):
            w.hooks.pre = lambda event: 1 / 0 if event.message.recipient.local_part == "u1" else QueueVerdict("try")
            for n in range(6):
                await w.put(f"u{n}@a.example", content=body(2 * MIB))
            await until(lambda: sum(w.delivery.counts.values()) >= 6)
            await until(lambda: not w.delivery.under_way)
            assert w.delivery._room.held_bytes == 0 and len(w.delivery._room) == 0
            assert sink.peak == 1
            w.log.clear()

    run(test())


def test_a_stop_puts_back_what_waits_for_room() -> None:
    async def test() -> None:
        async with (
            Sink("127.0.0.9", hold=asyncio.Event()) as sink,
            world(zone_for({"a.example": sink}), port=sink.port, content_memory_bytes=MIB) as w,
        ):
            for n in range(6):
                await w.put(f"u{n}@a.example", content=body(MIB))
            await until(lambda: sink.raw)
            await w.delivery.stop(0.05)
            assert len(w.queue) == 6 and w.queue.in_flight == 0 and len(w.delivery._room) == 0
            assert w.delivery._room.held_bytes == 0
            assert sink.hold is not None
            sink.hold.set()
            await w.delivery.start(OwnListeners())
            assert (await w.settled(6))["delivered"] == 6

    run(test())


def test_a_host_that_hangs_gives_the_room_back_with_its_attempts_end() -> None:
    async def test() -> None:
        async with (
            Sink("127.0.0.9", answers={"DATA": "HANG"}) as tarpit,
            Sink("127.0.0.10") as quick,
        ):
            patient = Transport("patient", next_hop="127.0.0.9", port=tarpit.port)
            named = Transport("quick", next_hop="127.0.0.10", port=quick.port)
            async with world(transports=(patient, named), content_memory_bytes=MIB, attempt_s=0.5) as w:
                await w.put("u@a.example", content=body(MIB), transport_id="patient")
                await until(lambda: tarpit.open_now == 1)
                await w.put("u@b.example", content=body(MIB), transport_id="quick")
                await until(lambda: w.events("delivery.waits_for_memory"))
                assert not quick.received
                assert await w.settled(2) == {"deferred": 1, "delivered": 1}

    run(test())


def test_recipients_that_are_sent_for_one_by_one_share_the_time_of_an_attempt() -> None:
    async def test() -> None:
        async with Sink("127.0.0.9") as sink, world(zone_for({"a.example": sink}), port=sink.port, attempt_s=30) as w:
            w.hooks.pre = lambda event: QueueVerdict("try", TryOptions(helo=f"{event.message.recipient.local_part}.example"))

            async def post(event: PostDeliveryEvent) -> QueueVerdict:
                w.clock.advance(20)
                return QueueVerdict("default")

            w.hooks.post = post
            await w.put(*(f"u{n}@a.example" for n in range(6)))
            assert await w.settled(6) == {"delivered": 6}
            assert len(w.hooks.pres) == 6 + 4 + 2, "after two the others have another turn, and their hook runs again"

    run(test())


def test_mail_of_all_sizes_for_many_hosts_comes_through_a_narrow_room() -> None:
    async def test() -> None:
        rng = random.Random(5)
        async with Sink("127.0.0.9") as sink:
            zone = zone_for({f"d{n}.example": sink for n in range(6)})
            settings = {"content_memory_bytes": MIB, "attempts": 7, "destination_connections": 2, "parked": 5}
            async with world(zone, port=sink.port, **settings) as w:
                for n in range(40):
                    to = [f"u{n}@d{each}.example" for each in rng.sample(range(6), rng.choice([1, 1, 3]))]
                    await w.put(*to, content=body(rng.choice([100, 70_000, 300_000, 900_000, 1_500_000])))
                await until(lambda: len(w.queue) == 0, tick=lambda: w.clock.advance(1))
                assert set(w.delivery.counts) == {"delivered"} and sink.peak <= 12  # two a domain, kept ones too
                assert w.delivery.content_bytes == 0 and w.delivery.connections() == {}

    run(test())

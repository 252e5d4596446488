"""What an address that is warming up may send: windows and caps together, as an attempt asks for them."""

from __future__ import annotations

import asyncio
import math
from dataclasses import replace
from datetime import UTC, date, datetime

import pytest

from hslpy.clock import ManualClock
from hslpy.egress.rules.book import Book, Scope, Sender, Setting
from hslpy.egress.rules.choice import USABLE, Availability, Policies, choose
from hslpy.egress.rules.warmup import Plan, Progress, Warming, begun
from hslpy.egress.traffic.allowances import WARMING_WEIGHT, Ramp
from hslpy.rate.quota import MemoryQuotas

A, B = "192.0.2.1", "192.0.2.2"
PLAN = Plan(date(2026, 3, 2), hourly=(20, 28), hourly_of={"google": (2,)}, burst=5)
MX, GOOGLE = "mx.example.org", "gmail-smtp-in.l.google.com"


def at(day: int, hour: int, minute: int = 0) -> float:
    return datetime(2026, 3, day, hour, minute, tzinfo=UTC).timestamp()


def ramp(clock: ManualClock, plan: Plan = PLAN, **more: object) -> tuple[Ramp, dict[str, Warming]]:
    found = {A: Warming(A, plan, begun(plan), key=A, **more)}
    return Ramp(lambda: found, MemoryQuotas(), clock), found


def test_outside_its_window_it_is_not_there():
    clock = ManualClock(at(2, 8))
    one, _ = ramp(clock)
    before = one.exceptions(MX, clock.time())[A]
    assert before == Availability("warming up, day 1 of 7: the window opens 09:00 UTC", True, at(2, 9))
    assert one.exceptions(MX, clock.time() + 1) is one.exceptions(MX, clock.time() + 2)
    clock.advance(3600)
    assert one.exceptions(MX, clock.time())[A] == Availability("", True, math.inf, WARMING_WEIGHT)
    clock.advance(3600)
    after = one.exceptions(MX, clock.time())[A]
    assert (after.reason, after.again_at) == ("warming up, day 1 of 7: the window opens 2026-03-03 09:00 UTC", at(3, 9))
    clock.advance(-11 * 3600)
    assert one.exceptions(MX, clock.time())[A].reason == "warming up, not begun: the window opens 2026-03-02 09:00 UTC"


def test_an_hour_has_its_messages_and_no_more():
    async def run():
        clock = ManualClock(at(2, 9))
        one, _ = ramp(clock)
        sent, why = 0, ""
        while clock.time() < at(2, 9, 59):
            answer = await one.reserve(A, MX)
            if answer == USABLE:
                sent += 1
                one.settle(A, MX, reached=True)
            else:
                why = answer.reason
                assert one.exceptions(MX, clock.time())[A] == answer and answer.again_at > clock.time()
                assert one.exceptions(MX, answer.again_at)[A].reason in ("", one.exceptions(MX, at(2, 10))[A].reason)
            clock.advance(10)
        assert sent == 20 and why.startswith("warming up: its 20 messages of this hour are sent, more from 10:00 UTC")
        await one.close()

    asyncio.run(run())


def test_groups_of_receivers_have_their_own_besides():
    async def run():
        clock = ManualClock(at(2, 9))
        one, _ = ramp(clock)
        assert [(await one.reserve(A, GOOGLE)).reason for _ in range(3)] == [
            "",
            "",
            "warming up: its 2 messages of this hour to google are sent, more from 10:00 UTC",
        ]
        assert one.exceptions(GOOGLE, clock.time())[A].reason and not one.exceptions(MX, clock.time())[A].reason
        assert [(await one.reserve(A, MX)).reason[:26] for _ in range(4)] == ["", "", "", "warming up: 20 messages an"]
        assert one.exceptions(GOOGLE, clock.time())[A].reason

    asyncio.run(run())


def test_a_new_plan_is_not_held_to_what_the_old_one_refused():
    async def run():
        clock = ManualClock(at(2, 9))
        picture: dict[str, Warming] = {}
        one = Ramp(lambda: picture, MemoryQuotas(), clock)
        for hourly in ((1,), ()):
            plan = replace(PLAN, hourly=hourly, hourly_of={}, burst=1)
            picture = {A: Warming(A, plan, begun(plan), key=A)}
            assert not one.exceptions(MX, clock.time())[A].reason
            assert await one.reserve(A, MX) == USABLE
            assert bool((await one.reserve(A, MX)).reason) == bool(hourly)
            assert bool(one.exceptions(MX, clock.time())[A].reason) == bool(hourly)

    asyncio.run(run())


def test_a_clock_that_was_ahead_and_is_set_back_refuses_nothing_for_long():
    async def run():
        clock = ManualClock(at(2, 9))
        one, _ = ramp(clock, replace(PLAN, windows=False, hourly=(1, 1), hourly_of={}, burst=1))
        clock.step(20 * 3600)
        assert await one.reserve(A, MX) == USABLE
        assert (await one.reserve(A, MX)).reason and one.exceptions(MX, clock.time())[A].reason
        clock.step(-20 * 3600)
        assert not one.exceptions(MX, clock.time())[A].reason
        assert await one.reserve(A, MX) == USABLE
        assert (await one.reserve(A, MX)).reason

    asyncio.run(run())


def test_a_refusal_by_a_block_list_holds_though_the_picture_is_a_new_one():
    clock, told = ManualClock(at(2, 9)), []
    picture = {A: Warming(A, PLAN, begun(PLAN), key=A)}
    one = Ramp(lambda: picture, MemoryQuotas(), clock)
    one.on_blocked = lambda address, reply: told.append(address)
    one.exceptions(MX, clock.time())
    picture = dict(picture)
    one.blocked(A, "550 listed")
    assert one.exceptions(MX, clock.time())[A].stopped and told == [A]


def test_what_did_not_reach_a_recipient_is_given_back():
    async def run():
        clock = ManualClock(at(2, 9))
        one, _ = ramp(clock, replace(PLAN, hourly=(1,), hourly_of={}, burst=1))
        for _ in range(3):
            assert await one.reserve(A, MX) == USABLE
            assert (await one.reserve(A, MX)).reason
            one.settle(A, MX, reached=False)
            await asyncio.sleep(0)
            assert not one.exceptions(MX, clock.time())[A].reason
        assert await one.reserve(A, MX) == USABLE
        one.settle(A, MX, reached=True)
        one.settle(A, MX, reached=False)  # nothing is left to give back
        await one.close()

    asyncio.run(run())


def test_a_window_that_has_closed_meanwhile_reserves_nothing():
    async def run():
        clock = ManualClock(at(2, 9, 59))
        one, _ = ramp(clock)
        one.exceptions(MX, clock.time())
        clock.advance(60)
        assert (await one.reserve(A, MX)).reason.startswith("warming up, day 1 of 7: the window opens 2026-03-03")
        assert await one.reserve(B, MX) == USABLE
        one.settle(B, MX, reached=False)

    asyncio.run(run())


def test_what_was_sent_before_a_restart_counts():
    async def run():
        clock = ManualClock(at(2, 9, 30))
        one, _ = ramp(clock)
        one.load({A: {"": 20, "google": 1}})
        assert "its 20 messages of this hour are sent" in (await one.reserve(A, MX)).reason

    asyncio.run(run())


def test_nodes_that_share_an_address_share_its_cap():
    async def run():
        granted = 0
        for rank in (0, 1, 2):
            clock = ManualClock(at(2, 9))
            one, _ = ramp(clock, nodes=3, rank=rank)
            while clock.time() < at(2, 10):
                granted += await one.reserve(A, MX) == USABLE
                clock.advance(60)
        assert granted == 20

    asyncio.run(run())


BOOK = Book({(Scope("default"), "node1"): Setting(Scope("default"), "node1", (A, B))})


@pytest.mark.parametrize(("overflow", "kind"), [("next_level", "automatic"), ("hold", "hold"), ("ignore", "address")])
def test_where_mail_goes_when_all_are_warming(overflow, kind):
    clock = ManualClock(at(2, 8))
    found = {one: Warming(one, PLAN, begun(PLAN), key=one) for one in (A, B)}
    exceptions = Ramp(lambda: found, MemoryQuotas(), clock).exceptions(MX, clock.time())
    decision = choose(BOOK, "node1", Sender(), 4, b"key", exceptions, Policies(overflow=overflow))
    assert decision.kind == kind
    if kind == "hold":
        assert decision.again_at == at(2, 9)
    stopped = {one: replace(warming, stopped="its warm-up is paused: by root") for one, warming in found.items()}
    exceptions = Ramp(lambda: stopped, MemoryQuotas(), clock).exceptions(MX, clock.time())
    decision = choose(BOOK, "node1", Sender(), 4, b"key", exceptions, Policies(overflow=overflow))
    assert decision.kind in ("automatic", "hold") and decision.address == ""


def test_a_warming_address_has_at_most_its_share_beside_a_warm_one():
    clock = ManualClock(at(4, 9, 30))
    plan = Plan(date(2026, 3, 2))
    found = {A: Warming(A, plan, Progress(3, date(2026, 3, 4), 2), key=A)}
    exceptions = Ramp(lambda: found, MemoryQuotas(), clock).exceptions(MX, clock.time())
    keys = [number.to_bytes(4, "big") for number in range(4000)]
    chosen = [choose(BOOK, "node1", Sender(), 4, key, exceptions, Policies()).address for key in keys]
    assert 0.22 < chosen.count(A) / len(keys) < 0.28

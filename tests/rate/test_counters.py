"""What both forms of the counters do, in memory and in a real Redis."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.rate.conftest import Opener


def test_admits_up_to_the_limit_and_counts_only_what_it_admits(open_counters: Opener) -> None:
    async def run() -> None:
        async with open_counters() as subject:
            check = subject.counters.check
            assert [await check("n", "a", 3, 3600) for _ in range(5)] == [True, True, True, False, False]
            assert await check("n", "a", 0, 3600) == 3.0

    asyncio.run(run())


def test_reading_counts_nothing(open_counters: Opener) -> None:
    async def run() -> None:
        async with open_counters() as subject:
            answers = [await subject.counters.check("n", "a", 0, 3600) for _ in range(3)]
            assert answers == [0.0, 0.0, 0.0] and isinstance(answers[0], float)

    asyncio.run(run())


def test_what_is_forgotten_begins_anew(open_counters: Opener) -> None:
    async def run() -> None:
        async with open_counters() as subject:
            check, forget = subject.counters.check, subject.counters.forget
            for _ in range(2):
                assert [await check("n", "a", 2, 60) for _ in range(3)] == [True, True, False]
                await forget("n", "a", 60)
                await forget("n", "nobody", 60)
            assert await check("n", "a", 1, 60) is True
            subject.advance(3600)
            assert await check("n", "b", 1, 60) is True

    asyncio.run(run())


def test_another_limit_keeps_the_history_and_another_interval_does_not(open_counters: Opener) -> None:
    async def run() -> None:
        async with open_counters() as subject:
            check = subject.counters.check
            assert await check("n", "a", 1, 3600) is True
            assert await check("n", "a", 1, 3600) is False
            assert await check("n", "a", 2, 3600) is True
            assert await check("n", "a", 1, 3601) is True

    asyncio.run(run())


def test_hits_leave_after_the_interval_and_a_24th_at_most(open_counters: Opener) -> None:
    async def run() -> None:
        async with open_counters() as subject:
            check = subject.counters.check
            assert await check("n", "a", 1, 2400) is True
            subject.advance(2399)
            assert await check("n", "a", 1, 2400) is False
            subject.advance(101)
            assert await check("n", "a", 1, 2400) is True

    asyncio.run(run())


def test_entries_are_any_bytes_and_do_not_collide(open_counters: Opener) -> None:
    async def run() -> None:
        async with open_counters() as subject:
            names = ["", "a", "a:b", "\x00\xff\r\n", "\xe5", "x" * 5000, "x" * 5001]
            for namespace in names:
                for entry in names:
                    assert await subject.counters.check(namespace, entry, 1, 60) is True, (namespace, entry)
            assert await subject.counters.check("a", "b:\x00", 1, 60) is True

    asyncio.run(run())


@pytest.mark.parametrize(
    ("count", "interval"), [(-1, 60), (1, 0), (1, -5), (1, float("nan")), (1, float("inf")), (1, 1e10), (0, 0)]
)
def test_bad_counts_and_intervals_are_refused(open_counters: Opener, count: int, interval: float) -> None:
    async def run() -> None:
        async with open_counters() as subject:
            with pytest.raises(ValueError, match=r"`(count|interval)` must be"):
                await subject.counters.check("n", "a", count, interval)

    asyncio.run(run())


@pytest.mark.parametrize("interval", [1e-6, 0.001, 100 * 365 * 86400])
def test_the_shortest_and_longest_intervals_work(open_counters: Opener, interval: float) -> None:
    async def run() -> None:
        async with open_counters() as subject:
            assert await subject.counters.check("n", "a", 2**53, interval) is True
            if interval > 1:
                assert await subject.counters.check("n", "a", 1, interval) is False

    asyncio.run(run())


def test_checks_at_once_never_admit_too_many(open_counters: Opener) -> None:
    async def run() -> None:
        async with open_counters(batch_max=7) as subject:
            check = subject.counters.check
            answers = await asyncio.gather(*(check("n", f"e{n % 5}", 10, 3600) for n in range(100)))
            assert answers.count(True) == 50 and answers.count(False) == 50

    asyncio.run(run())


def test_counters_of_this_process_alone_are_apart(open_counters: Opener) -> None:
    async def run() -> None:
        async with open_counters() as subject:
            assert await subject.counters.check("n", "apart", 1, 3600, shared=False) is True
            assert await subject.counters.check("n", "apart", 1, 3600, shared=False) is False

    asyncio.run(run())


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    interval=st.sampled_from([0.5, 7.0, 3600.0, 28800.0]),
    steps=st.lists(st.tuples(st.floats(0, 0.4), st.integers(0, 5), st.sampled_from("ab")), max_size=40),
)
def test_against_an_exact_log(open_counters: Opener, interval: float, steps: list[tuple[float, int, str]]) -> None:
    """No window of the interval holds more than the limit; a refusal has a full window of 25/24 behind it."""

    async def run() -> None:
        span = int(interval * 1e6)
        longest = -(-span // 24) * 25
        async with open_counters() as subject:
            log: dict[str, list[int]] = {"a": [], "b": []}
            for gap, limit, entry in steps:
                subject.advance(gap * interval)
                answer = await subject.counters.check("log", entry, limit, interval)
                now = subject.now_us()
                recent = sum(1 for at in log[entry] if now - at <= span)
                widest = sum(1 for at in log[entry] if now - at < longest)
                if limit == 0:
                    assert isinstance(answer, float) and recent <= answer <= widest
                elif answer:
                    assert recent < limit
                    log[entry].append(now)
                else:
                    assert widest >= limit

    asyncio.run(run())

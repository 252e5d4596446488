"""What the counters in Redis do beyond the contract: batches, a store that goes away and comes back."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hslpy.clock import SystemClock
from hslpy.errors import OperatorError
from hslpy.rate import ring
from hslpy.rate.contract import ABOVE_ANY_LIMIT, OnUnreachable, RateSettings, key_of
from hslpy.rate.redis import RedisRateCounters, _Check
from hslpy.store.lane import Lane, Replies
from hslpy.store.redis import RedisError, RedisSettings, connect, pack
from hslpy.store.servers import Servers
from tests.rate.conftest import open_other, open_redis
from tests.support.redis_server import RedisServer

pytestmark = pytest.mark.xdist_group("redis")


@pytest.fixture
def own_server() -> Iterator[RedisServer]:
    """A server to stop and freeze."""
    with RedisServer() as server:
        yield server


async def until(condition: Any, seconds: float = 60.0) -> None:
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.01)


def test_the_script_does_the_same_as_ring_py_byte_by_byte(redis_server: RedisServer) -> None:
    async def run() -> None:
        async with open_redis(redis_server.url) as subject:
            client = connect(RedisSettings(redis_server.url))
            interval = 240_000_000
            width = ring.width_us(interval)
            packed = None
            gaps = [0, 0.1, 9, 10, 11, 25, 99, -30, 5, 240, 251, 1000, -5000, 3, 3, 230, 249.99, 250]
            for gap in gaps * 3:
                subject.advance(gap)
                assert await subject.counters.check("n", "e", 10**6, 240) is True
                packed = ring.hit(packed, subject.now_us(), width, 10**6)
                assert await client.get(b"hslpy:rate:" + key_of("n", "e", interval)) == packed
            for wide in (200, 255, 256, 65_535, 65_536, 2**32 - 1, 2**32, 2**40):
                packed = ring._form_for(wide).pack(subject.now_us() // width, wide, *range(24))
                await client.set(b"hslpy:rate:" + key_of("n", "e", interval), packed)
                assert await subject.counters.check("n", "e", 2**53, 240) is True
                packed = ring.hit(packed, subject.now_us(), width, 2**53)
                assert await client.get(b"hslpy:rate:" + key_of("n", "e", interval)) == packed
            await client.aclose()

    asyncio.run(run())


def test_keys_expire_by_themselves(redis_server: RedisServer) -> None:
    async def run() -> None:
        async with open_redis(redis_server.url) as subject:
            client = connect(RedisSettings(redis_server.url))
            await subject.counters.check("n", "e", 5, 3600)
            assert 3600_000 < await client.pttl(b"hslpy:rate:" + key_of("n", "e", 3600_000_000)) <= 3750_001
            await subject.counters.check("n", "short", 5, 0.02)
            await asyncio.sleep(0.05)
            assert await client.exists(b"hslpy:rate:" + key_of("n", "short", 20_000)) == 0
            await client.aclose()

    asyncio.run(run())


def test_checks_that_come_while_one_is_under_way_go_out_together(redis_server: RedisServer) -> None:
    async def run() -> None:
        async with open_redis(redis_server.url, batch_max=10) as subject:
            client = connect(RedisSettings(redis_server.url))
            await subject.counters.check("warm", "up", 1, 60)
            await client.config_resetstat()
            await asyncio.gather(*(subject.counters.check("n", f"{n}", 1, 60) for n in range(9)))
            assert (await client.info("commandstats"))["cmdstat_evalsha"]["calls"] == 2
            await asyncio.gather(*(subject.counters.check("m", f"{n}", 1, 60) for n in range(101)))
            assert (await client.info("commandstats"))["cmdstat_evalsha"]["calls"] == 13
            await client.aclose()

    asyncio.run(run())


def test_one_bad_key_fails_alone(redis_server: RedisServer) -> None:
    async def run() -> None:
        async with open_redis(redis_server.url, on_unreachable="none") as subject:
            client = connect(RedisSettings(redis_server.url))
            await client.lpush(b"hslpy:rate:" + key_of("n", "list", 60_000_000), "x")
            await client.set(b"hslpy:rate:" + key_of("n", "text", 60_000_000), "nonsense")
            check = subject.counters.check
            answers = await asyncio.gather(
                check("n", "a", 1, 60), check("n", "list", 1, 60), check("n", "text", 1, 60), check("n", "b", 1, 60)
            )
            assert answers == [True, None, None, True]
            assert subject.counters.health.reachable and subject.counters.health.unreachable_answers == 2
            assert [event for event, _ in subject.log] == ["rate.counter_failed"]
            await client.aclose()

    asyncio.run(run())


def test_a_flushed_script_is_loaded_again(redis_server: RedisServer) -> None:
    async def run() -> None:
        async with open_redis(redis_server.url) as subject:
            client = connect(RedisSettings(redis_server.url))
            await subject.counters.check("n", "a", 5, 60)
            await client.script_flush()
            assert await subject.counters.check("n", "a", 5, 60) is True
            assert await subject.counters.check("n", "a", 0, 60) == 2.0
            assert subject.counters.health.unreachable_answers == 0
            await client.aclose()

    asyncio.run(run())


@pytest.mark.parametrize(
    ("setting", "hits", "count", "after"),
    [
        ("local", [True, False, False], 2.0, False),  # with the one that Redis has forgotten
        ("open", [True] * 3, 0.0, False),
        ("closed", [False] * 3, ABOVE_ANY_LIMIT, True),
        ("none", [None] * 3, None, True),
    ],
)
def test_a_store_that_is_away_is_answered_for_by_the_setting(
    setting: OnUnreachable, hits: Sequence[bool | None], count: float | None, after: bool, own_server: RedisServer
) -> None:
    async def run() -> None:
        async with open_redis(own_server.url, on_unreachable=setting, retry_s=0.05) as subject:
            check = subject.counters.check
            assert await check("n", "a", 2, 60) is True
            own_server.stop()
            assert [await check("n", "a", 2, 60) for _ in range(3)] == hits
            assert await check("n", "a", 0, 60) == count
            health = subject.counters.health
            assert not health.reachable and health.error and health.unreachable_answers == 4
            assert [event for event, _ in subject.log] == ["rate.store_unreachable"]
            own_server.start()
            await until(lambda: health.reachable)
            assert await check("n", "a", 2, 60) is after
            assert [await check("n", "b", 2, 60) for _ in range(3)] == [True, True, False]
            assert health.unreachable_answers == 4
            assert subject.log[-1][0] == "rate.store_reachable" and subject.log[-1][1]["answered"] == 4

    asyncio.run(run())


def test_a_frozen_store_costs_one_deadline_and_its_batch_is_not_sent_again(own_server: RedisServer) -> None:
    async def run() -> None:
        async with open_redis(own_server.url, on_unreachable="open", timeout_s=0.2, retry_s=0.1) as subject:
            check = subject.counters.check
            assert await check("n", "a", 100, 60) is True
            own_server.freeze()
            in_turn = asyncio.create_task(asyncio.sleep(50 * 0.2))
            assert await asyncio.gather(*(check("n", "a", 1000, 60) for _ in range(100))) == [True] * 100
            assert in_turn.cancel(), "they share the deadline"
            checks = [asyncio.create_task(check("n", "a", 1000, 60)) for _ in range(10)]
            await asyncio.sleep(0)
            assert [check.result() for check in checks] == [True] * 10, "and then nobody waits"
            own_server.thaw()
            await until(lambda: subject.counters.health.reachable)
            counted = await check("n", "a", 0, 60)
            assert 1.0 <= counted <= 101.0  # what timed out was read by the server once, or not at all

    asyncio.run(run())


def test_a_cancelled_check_does_not_disturb_the_others(redis_server: RedisServer) -> None:
    async def run() -> None:
        async with open_redis(redis_server.url) as subject:
            check = subject.counters.check
            tasks = [asyncio.create_task(check("n", "a", 100, 60)) for _ in range(10)]
            await asyncio.sleep(0)
            tasks[3].cancel()
            answers = await asyncio.gather(*tasks, return_exceptions=True)
            assert answers.count(True) == 9 and isinstance(answers[3], asyncio.CancelledError)
            assert await check("n", "b", 1, 60) is True

    asyncio.run(run())


def test_closing_while_the_store_is_away_is_quick(own_server: RedisServer) -> None:
    async def run() -> None:
        async with open_redis(own_server.url, on_unreachable="closed", timeout_s=600.0, retry_s=600.0) as subject:
            own_server.stop()
            assert await subject.counters.check("n", "a", 1, 60) is False
            await asyncio.wait_for(subject.counters.close(), 60)
            assert await subject.counters.check("n", "a", 1, 60) is False

    asyncio.run(run())


def test_two_processes_count_together(redis_server: RedisServer) -> None:
    async def run() -> None:
        async with open_redis(redis_server.url) as one:
            other = RedisRateCounters(
                RateSettings(timeout_s=5.0),
                Servers(RedisSettings(redis_server.url)),
                SystemClock(),
                lambda event, fields: None,
            )
            answers = []
            for _ in range(4):
                answers.append(await one.counters.check("n", "a", 5, 60))
                answers.append(await other.check("n", "a", 5, 60))
            assert answers == [True] * 5 + [False] * 3
            await other.close()

    asyncio.run(run())


def test_a_wrong_url_is_the_operators_error() -> None:
    with pytest.raises(OperatorError, match="URL"):
        connect(RedisSettings("localhost:6379"))


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    interval=st.sampled_from([0.5, 7.0, 3600.0]),
    limit=st.integers(1, 6),
    steps=st.lists(st.tuples(st.floats(0, 0.4), st.lists(st.integers(0, 1), max_size=8)), max_size=25),
    forget=st.none() | st.integers(0, 24),
)
def test_two_nodes_against_an_exact_log(
    redis_server: RedisServer, interval: float, limit: int, steps: list[tuple[float, list[int]]], forget: int | None
) -> None:
    """Checks of two nodes in each other's way: no window holds more than the limit, nor for one node where Redis forgets."""

    async def run() -> None:
        span = int(interval * 1e6)
        async with open_redis(redis_server.url) as one, open_other(redis_server.url) as other:
            nodes = [one.counters, other.counters]
            log: list[tuple[int, int]] = []
            for number, (gap, asked) in enumerate(steps):
                if number == forget:
                    await one.flush()
                for subject in (one, other):
                    subject.advance(gap * interval)
                answers = await asyncio.gather(*(nodes[node].check("two", "e", limit, interval) for node in asked))
                now = max(one.now_us(), other.now_us())
                log += [(now, node) for node, answer in zip(asked, answers, strict=True) if answer]
                for whose in ([0], [1]) if forget is not None and number >= forget else ([0], [1], [0, 1]):
                    # what was let through an instant ago may have been so a little before `now`
                    recent = [at for at, node in log if node in whose and now - at <= span - 200_000]
                    assert len(recent) <= limit

    asyncio.run(run())


def test_who_waits_on_a_connection_that_is_closed_here_is_called_at_once(redis_server: RedisServer) -> None:
    async def run() -> None:
        client = connect(RedisSettings(redis_server.url))
        lane = Lane(client)
        came: list[Replies] = []
        await lane.open()
        lane.send(pack((b"BLPOP", b"nothing-there", b"0")), 1, came.append)
        closing = asyncio.ensure_future(lane.close())
        await asyncio.sleep(0)
        assert len(came) == 1 and isinstance(came[0], RedisError)
        await closing
        assert await lane.call(pack((b"PING",))) == b"PONG"
        await lane.close()
        await client.aclose()

    asyncio.run(run())


def test_a_reply_too_short_rises_in_the_checks_it_does_not_answer(redis_server: RedisServer) -> None:
    async def run() -> None:
        async with open_redis(redis_server.url) as subject:
            counters = subject.counters
            assert await counters.check("n", "a", 1, 60)
            (server,) = counters._servers.values()
            batch = [_Check(b"k", 1, 1, -1, 0.0, asyncio.get_running_loop().create_future()) for _ in range(2)]
            server.under_way.append(batch)
            counters._replied(server, batch, [[1, 12345]])
            assert not server.under_way and await batch[0].answer is True
            with pytest.raises(ValueError):
                await batch[1].answer

    asyncio.run(run())

"""Counters on a master that Sentinels know, which changes under load. `tests/soak/redis.py` has the longer form."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest

from hslpy.store.redis import RedisSettings
from tests.rate.load import LOOKS, load, until
from tests.support.redis_server import Replicated

pytestmark = pytest.mark.xdist_group("redis-sentinel")


@pytest.fixture
def redis() -> Iterator[Replicated]:
    with Replicated() as redis:
        yield redis


def test_when_the_master_changes_by_order_the_next_is_found(redis: Replicated) -> None:
    async def run() -> None:
        async with load(RedisSettings(sentinels=redis.addresses)) as work:
            await asyncio.sleep(0.2)
            assert work.reachable and not work.answered_otherwise
            master = await asyncio.to_thread(redis.master)
            redis.sentinels[0].ask("SENTINEL", "FAILOVER", "mymaster")
            while await asyncio.to_thread(redis.master) is master:
                await asyncio.sleep(0.05)
            replica = await asyncio.to_thread(redis.master)
            assert (
                await work.looks_until(lambda: all(replica.address == node._redis._master for node in work.nodes)) <= LOOKS
            )
            await asyncio.sleep(0.3)
            assert work.reachable and await asyncio.to_thread(replica.ask, "DBSIZE") != "0"
        work.check_each_node()
        async with load(RedisSettings(sentinels=redis.addresses, sentinel_service="other")) as work:
            await until(lambda: not work.reachable)
        errors = [str(fields["error"]) for event, fields in work.events if event == "rate.store_unreachable"]
        assert "No such master" in errors[0]

    asyncio.run(run())


def test_when_the_master_dies_the_next_is_found_though_a_sentinel_hangs(redis: Replicated) -> None:
    async def run() -> None:
        async with load(RedisSettings(sentinels=redis.addresses)) as work:
            await asyncio.sleep(0.2)
            assert work.reachable and not work.answered_otherwise
            master = await asyncio.to_thread(redis.master)
            redis.sentinels[2].freeze()
            master.stop()
            await until(lambda: not work.reachable)
            while await asyncio.to_thread(redis.master) is master:
                await asyncio.sleep(0.05)
            assert await work.looks_until(lambda: work.reachable) <= LOOKS
            count = work.answered_otherwise
            await asyncio.sleep(0.3)
            assert work.answered_otherwise == count and count
        work.check_each_node()

    asyncio.run(run())

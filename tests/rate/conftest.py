"""A private Redis for the tests of this folder, and both forms of the counters behind one face with a time to move."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest

from hslpy.clock import ManualClock, SystemClock
from hslpy.rate.contract import RateCounters, RateSettings
from hslpy.rate.memory import MemoryRateCounters
from hslpy.rate.redis import RedisRateCounters
from hslpy.store.redis import RedisSettings, connect
from hslpy.store.servers import Servers
from tests.support.redis_server import RedisServer


@pytest.fixture(scope="session")
def redis_server() -> Iterator[RedisServer]:
    with RedisServer() as server:
        yield server


@dataclass
class Subject:
    """Counters under test. `now_us` is the time by which the latest check was decided."""

    counters: RateCounters
    advance: Callable[[float], None]
    now_us: Callable[[], int]
    log: list[tuple[str, Mapping[str, object]]] = field(default_factory=list)
    flush: Callable[[], Awaitable[object]] | None = None


Opener = Callable[..., AbstractAsyncContextManager[Subject]]


@asynccontextmanager
async def open_memory(**settings: Any) -> AsyncIterator[Subject]:
    clock = ManualClock()
    log: list[tuple[str, Mapping[str, object]]] = []
    counters = MemoryRateCounters(RateSettings(**settings), clock, lambda event, fields: log.append((event, fields)))
    yield Subject(counters, clock.advance, lambda: int(clock.monotonic() * 1e6), log)
    await counters.close()


@asynccontextmanager
async def open_redis(url: str, **settings: Any) -> AsyncIterator[Subject]:
    client = connect(RedisSettings(url))
    await client.flushall()
    async with open_other(url, **settings) as subject:
        subject.flush = client.flushall
        yield subject
    await client.aclose()


@asynccontextmanager
async def open_other(url: str, **settings: Any) -> AsyncIterator[Subject]:
    """Open counters on a Redis that others count on."""
    log: list[tuple[str, Mapping[str, object]]] = []
    counters = RedisRateCounters(
        RateSettings(**{"timeout_s": 60.0, **settings}),
        Servers(RedisSettings(url)),
        SystemClock(),
        lambda event, fields: log.append((event, fields)),
    )

    def advance(seconds: float) -> None:
        counters.time_offset_us += int(seconds * 1e6)

    try:
        yield Subject(counters, advance, lambda: counters.answered_at_us, log)
    finally:
        await asyncio.wait_for(counters.close(), 60)


@pytest.fixture(params=["memory", pytest.param("redis", marks=pytest.mark.xdist_group("redis"))])
def open_counters(request: pytest.FixtureRequest) -> Opener:
    if request.param == "memory":
        return open_memory
    url = request.getfixturevalue("redis_server").url
    return lambda **settings: open_redis(url, **settings)

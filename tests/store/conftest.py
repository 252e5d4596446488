"""A private Redis for the tests of this folder, and hooks whose memory is in this process or in Redis."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from hslpy.clock import SystemClock
from hslpy.store.memory import SharedMemory
from hslpy.store.redis import RedisSettings
from hslpy.store.servers import Servers
from hslpy.store.shared import MemorySettings, RedisMemory
from tests.hooks.world import World
from tests.support.redis_server import RedisServer

Opener = Callable[..., AbstractAsyncContextManager[Any]]


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


@pytest.fixture(scope="session")
def redis_server() -> Iterator[RedisServer]:
    with RedisServer() as server:
        yield server


@pytest.fixture
def own_server() -> Iterator[RedisServer]:
    """A server to stop and freeze."""
    with RedisServer() as server:
        yield server


@asynccontextmanager
async def open_shared(
    redis: str | RedisSettings, events: list[tuple[str, Mapping[str, object]]] | None = None, **settings: Any
) -> AsyncIterator[RedisMemory]:
    log = [] if events is None else events
    memory = RedisMemory(
        MemorySettings("redis", **{"timeout_s": 60.0, **settings}),
        Servers(RedisSettings(redis) if isinstance(redis, str) else redis),
        uuid.uuid4().hex,
        SystemClock(),
        lambda event, fields: log.append((event, fields)),
    )
    try:
        yield memory
    finally:
        await asyncio.wait_for(memory.close(), 60)


@asynccontextmanager
async def _in_process(**settings: Any) -> AsyncIterator[SharedMemory]:
    yield SharedMemory()


@pytest.fixture(params=["memory", pytest.param("redis", marks=pytest.mark.xdist_group("redis"))])
def open_memory(request: pytest.FixtureRequest, tmp_path: Path) -> Opener:
    if request.param == "memory":
        return _in_process
    url = request.getfixturevalue("redis_server").url
    return lambda **settings: open_shared(url, key_prefix=str(tmp_path), **settings)

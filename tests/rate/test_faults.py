"""One Redis that fails under load in each way it has, and comes back: nobody waits, and no node lets too much through."""

from __future__ import annotations

import asyncio
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

import pytest

from hslpy.store.redis import RedisSettings
from tests.rate.load import LOOKS, load, until
from tests.support.redis_server import RedisServer, free_port
from tests.support.redis_server import until as wait_until

pytestmark = pytest.mark.xdist_group("redis")

Step = Callable[[RedisServer], object]
AWAY_S = 0.5


@dataclass
class Fault:
    """How it begins and ends; `says` is in the error that is logged."""

    name: str
    begin: Step
    end: Step = lambda server: None
    says: str = ""


def ask(*words: str) -> Step:
    return lambda server: server.ask(*words)


def ask_aside(*words: str) -> Step:
    """Send what takes a while."""

    def step(server: RedisServer) -> None:
        command = ["redis-cli", "-s", str(server.socket), *words]
        subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    return step


def cannot_save(server: RedisServer) -> None:
    (server.folder / "dump.rdb").mkdir()
    server.ask("CONFIG", "SET", "save", "3600 1")
    server.ask("BGSAVE")
    wait_until(lambda: "rdb_last_bgsave_status:err" in server.ask("INFO", "persistence"), "saving fails")


def reload_slowly(server: RedisServer) -> None:
    server.ask("DEBUG", "POPULATE", "2000")
    server.ask("CONFIG", "SET", "key-load-delay", "300", "loading-process-events-interval-bytes", "1024")
    ask_aside("DEBUG", "RELOAD")(server)


def other_password(server: RedisServer) -> None:
    server.ask("ACL", "SETUSER", "default", "resetpass", ">x")
    server.ask("-a", "x", "CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")


FAULTS = [
    Fault("killed", RedisServer.stop, RedisServer.start, "onnect"),
    Fault("frozen", RedisServer.freeze, RedisServer.thaw, "no answer within 0.3 s"),
    Fault("asleep", ask_aside("DEBUG", "SLEEP", "0.8"), says="no answer"),
    Fault("paused", ask("CLIENT", "PAUSE", "800", "ALL"), says="no answer"),
    Fault("a replica", ask("REPLICAOF", "127.0.0.1", "1"), ask("REPLICAOF", "NO", "ONE"), "read only replica"),
    Fault("cannot save", cannot_save, ask("CONFIG", "SET", "save", ""), "MISCONF"),
    Fault("busy", ask_aside("EVAL", "while true do end", "0"), ask("SCRIPT", "KILL"), "BUSY"),
    Fault("loading", reload_slowly, says="oading"),
    Fault(
        "no rights",
        ask("ACL", "SETUSER", "default", "-evalsha", "-eval"),
        ask("ACL", "SETUSER", "default", "+@all"),
        "permission",
    ),
    Fault("another password", other_password, ask("-a", "x", "ACL", "SETUSER", "default", "nopass"), "uthenticat"),
]


@pytest.fixture
def server() -> Iterator[RedisServer]:
    with RedisServer("--enable-debug-command", "yes", "--busy-reply-threshold", "50", port=free_port()) as server:
        yield server


async def aside(step: Step, server: RedisServer) -> None:
    await asyncio.to_thread(partial(step, server))


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
def test_redis_fails_and_comes_back(server: RedisServer, fault: Fault) -> None:
    async def run() -> None:
        async with load(RedisSettings(f"redis://{server.address}/0")) as work:
            await asyncio.sleep(0.1)
            assert not work.answered_otherwise
            await aside(fault.begin, server)
            await until(lambda: not any(node.health.reachable for node in work.nodes))
            await asyncio.sleep(AWAY_S)
            errors = [node.health.error for node in work.nodes]  # of later looks: a call may see only an end
            await aside(fault.end, server)
            await asyncio.to_thread(wait_until, lambda: server.ask("PING") == "PONG", "Redis is back")
            assert await work.looks_until(lambda: work.reachable) <= LOOKS
            count = work.answered_otherwise
            await asyncio.sleep(0.1)
            assert work.answered_otherwise == count
        work.check_each_node()
        assert work.names().count("rate.store_unreachable") == work.names().count("rate.store_reachable") >= 2
        errors += [str(fields["error"]) for event, fields in work.events if event == "rate.store_unreachable"]
        assert any(fault.says in error for error in errors), errors

    asyncio.run(run())


def test_redis_without_room_for_new_entries_serves_the_others(server: RedisServer) -> None:
    async def run() -> None:
        async with load(RedisSettings(f"redis://{server.address}/0")) as work:
            await asyncio.sleep(0.1)
            await aside(ask("CONFIG", "SET", "maxmemory", "1"), server)
            await until(lambda: work.answered_otherwise > 20)
            assert work.reachable and "rate.counter_failed" in work.names()
            await aside(ask("CONFIG", "SET", "maxmemory", "0"), server)
            await asyncio.sleep(0.05)
            count = work.answered_otherwise
            await asyncio.sleep(0.1)
            assert work.answered_otherwise == count
        work.check_each_node()
        errors = [str(fields["error"]) for event, fields in work.events if event == "rate.counter_failed"]
        assert "OOM" in errors[0] and len(errors) == 2

    asyncio.run(run())


def test_a_name_that_nobody_knows_and_a_peer_that_says_nothing(server: RedisServer) -> None:
    async def run() -> None:
        async with load(RedisSettings("redis://redis.invalid:6379/0")) as work:
            await until(lambda: not work.reachable)
            await asyncio.sleep(0.3)
        work.check_each_node()
        silent = await asyncio.start_server(lambda reader, writer: None, "127.0.0.1", 0)
        async with load(RedisSettings(f"redis://127.0.0.1:{silent.sockets[0].getsockname()[1]}/0")) as work:
            await until(lambda: not work.reachable)
            await asyncio.sleep(0.3)
        work.check_each_node()
        silent.close()

    asyncio.run(run())


def test_two_nodes_never_let_through_more_than_one_would(server: RedisServer) -> None:
    async def run() -> None:
        async with load(RedisSettings(f"redis://{server.address}/0"), clients=30, timeout_s=5.0) as work:
            await asyncio.sleep(3.5)
        assert not work.answered_otherwise
        work.check_all_nodes()

    asyncio.run(run())

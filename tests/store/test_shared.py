"""Values in Redis: several processes, a holder that dies, a store that goes away."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from hslpy.errors import ScriptError
from hslpy.store.redis import RedisSettings, connect
from tests.hooks.world import World
from tests.store.conftest import open_shared
from tests.store.test_contract import run, value_of
from tests.support.redis_server import RedisServer

pytestmark = pytest.mark.xdist_group("redis")

_HOLDER = """
import asyncio, sys
from tests.store.conftest import open_shared

async def main():
    async with open_shared(sys.argv[1], key_prefix=sys.argv[2], lock_s=1.5) as memory:
        await memory.lock("n")
        print("held", flush=True)
        await asyncio.sleep(60)

asyncio.run(main())
"""


def test_processes_take_turns_and_lose_nothing(world: World, redis_server: RedisServer, tmp_path: Path) -> None:
    script = 'barrier "n" => $n { $was = $n ?? 0; ScanRPD(); $n = $was + 1; } memory_inc("m");'

    async def main() -> None:
        async with AsyncExitStack() as stack:
            one, other, third = [
                await stack.enter_async_context(open_shared(redis_server.url, key_prefix=str(tmp_path))) for _ in range(3)
            ]
            await asyncio.gather(*(run(world, memory, *[script] * 20) for memory in (one, other, third)))
            assert [await value_of(world, other, key) for key in "nm"] == ["60", "60"]
            client = connect(RedisSettings(redis_server.url))
            async for key in client.scan_iter(match=f"{tmp_path}*"):
                assert await client.hkeys(key) == [b"v"], "no lock and no waiter is left"
                assert await client.pttl(key) > 29 * 86400 * 1000
            await client.aclose()

    asyncio.run(main())


def test_a_lock_of_a_process_that_died_is_free_soon(world: World, redis_server: RedisServer, tmp_path: Path) -> None:
    command = [sys.executable, "-c", _HOLDER, redis_server.url, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, cwd=Path(__file__).parents[2]) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"

        async def main() -> None:
            async with open_shared(redis_server.url, key_prefix=str(tmp_path)) as memory:
                waiter = asyncio.create_task(memory.lock("n"))
                await asyncio.sleep(2.0)
                assert not waiter.done(), "it is renewed while its holder lives"
                holder.kill()
                (await asyncio.wait_for(waiter, 60)).release()

        asyncio.run(main())


def test_a_waiter_that_died_is_passed_over(redis_server: RedisServer, tmp_path: Path) -> None:
    async def main() -> None:
        async with open_shared(redis_server.url, key_prefix=str(tmp_path)) as memory:
            held = await memory.lock("n")
            assert await memory._call("n", "lock", "gone", 3000, 100) == [0, 0]
            waiter = asyncio.create_task(memory.lock("n"))
            await asyncio.sleep(0.02)
            held.release()
            (await asyncio.wait_for(waiter, 60)).release()

    asyncio.run(main())


def test_while_redis_is_away_scripts_fail_at_once_and_go_on_when_it_is_back(world: World, own_server: RedisServer) -> None:
    events: list[tuple[str, object]] = []

    async def main() -> None:
        async with open_shared(own_server.url, events, timeout_s=600.0, retry_s=0.05) as memory:  # type: ignore[arg-type]
            await run(world, memory, 'memory_store("k", 1);')
            own_server.stop()
            scripts = ['memory_inc("k");', 'echo memory_fetch("k");', 'barrier "k" { echo "in"; }']
            scripts.append('try { memory_inc("k"); } catch ($error) { echo "caught"; }')
            await asyncio.wait_for(run(world, memory, *scripts), 60)
            assert world.echoed() == ["caught"]
            texts = [str(fields["text"]) for fields in world.logged("hooks.script_error")]
            assert len(texts) == 3 and all("R340" in text and "memory.store" in text for text in texts)
            own_server.start()
            async with asyncio.timeout(60):
                while not memory.reachable:
                    await asyncio.sleep(0.01)
            assert await value_of(world, memory, "k") == "none"

    asyncio.run(main())
    assert [event for event, _ in events] == ["memory.store_unreachable", "memory.store_reachable"]


def test_a_frozen_redis_costs_one_deadline(world: World, own_server: RedisServer) -> None:
    async def main() -> None:
        async with open_shared(own_server.url, timeout_s=0.2, retry_s=0.05) as memory:
            await run(world, memory, 'memory_store("k", 1);')
            own_server.freeze()
            in_turn = asyncio.create_task(asyncio.sleep(50 * 0.2))
            waiting = [asyncio.create_task(memory.lock(f"k{n}")) for n in range(100)]
            await asyncio.wait(waiting)
            assert in_turn.cancel(), "they share the deadline"
            waiting += [asyncio.create_task(memory.lock(f"k{n}")) for n in range(100)]
            await asyncio.sleep(0)
            for one in waiting:  # and then nobody waits
                with pytest.raises(ScriptError, match="R340"):
                    one.result()
            own_server.thaw()
            async with asyncio.timeout(60):
                while not memory.reachable:
                    await asyncio.sleep(0.01)
            assert await value_of(world, memory, "k") == "1"

    asyncio.run(main())


def test_who_loses_the_lock_while_in_the_barrier_is_told(world: World, redis_server: RedisServer, tmp_path: Path) -> None:
    async def main() -> None:
        async with open_shared(redis_server.url, key_prefix=str(tmp_path)) as memory:
            held = await memory.lock("n")
            held.put(1.0, 8)
            client = connect(RedisSettings(redis_server.url))
            await client.delete(f"{tmp_path}:n")
            with pytest.raises(ScriptError, match="the lock was lost"):
                await held.settle()
            assert not await client.exists(f"{tmp_path}:n")
            await client.aclose()

    asyncio.run(main())


def test_what_is_too_large_or_too_deep_is_refused(world: World, redis_server: RedisServer, tmp_path: Path) -> None:
    async def main() -> None:
        async with open_shared(redis_server.url, key_prefix=str(tmp_path)) as memory:
            await run(world, memory, 'memory_store("k", str_repeat("x", 5000000));')
            await run(world, memory, '$a = 1; for ($i = 0; $i < 5000; $i += 1) $a = [$a]; memory_store("k", $a);')
            await run(world, memory, 'memory_store(str_repeat("k", 100000), 7); echo memory_fetch(str_repeat("k", 100000));')

    asyncio.run(main())
    texts = [str(fields["text"]) for fields in world.logged("hooks.script_error")]
    assert len(texts) == 2 and "at most 4 MiB" in texts[0] and "too deep" in texts[1]
    assert world.echoed() == ["7"]

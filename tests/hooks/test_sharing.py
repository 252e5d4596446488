"""`barrier` and `cache` between runs: locks are given back whatever ends a run, results live as long as they should."""

from __future__ import annotations

import asyncio
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from hslpy.lang.run import Limits
from hslpy.scan.contract import RspamdResult, ScanRequest
from hslpy.scan.scripted import ScriptedRspamd
from hslpy.store.caches import Caches
from hslpy.store.memory import SharedMemory
from tests.hooks.world import World, wait_for

COUNT = 'barrier "n" => $n { $was = $n ?? 0; ScanRPD(); $n = $was + 1; }'


class Gate:
    """A scanner that answers when it is let."""

    def __init__(self) -> None:
        self.open = asyncio.Event()
        self.asked = asyncio.Event()

    async def scan(self, *given: Any, **named: Any) -> float:
        self.asked.set()
        await self.open.wait()
        return 0.0

    async def close(self) -> None:
        pass


async def _asked(gate: Gate, task: asyncio.Task[Any]) -> None:
    await asyncio.wait([asyncio.ensure_future(gate.asked.wait()), task], return_when=asyncio.FIRST_COMPLETED)
    assert gate.asked.is_set()


def test_one_run_at_a_time_is_in_a_barrier(world: World) -> None:
    class Slow(ScriptedRspamd):
        async def scan(self, request: ScanRequest) -> RspamdResult:
            await asyncio.sleep(0)
            return await super().scan(request)

    hooks = world.hooks({"data": COUNT}, rspamd=Slow(0))

    async def main() -> None:
        await asyncio.gather(*(hooks.run(hooks.current, "data", world.data()) for _ in range(50)))

    wait_for(main())
    assert hooks.services.memory.values == {"n": 50.0}


@pytest.mark.parametrize(
    "ending", ['Reject("no");', "throw 1;", "return;", "$x = 1 / 0;", "forever { }", '$n = strlen; Reject("no");']
)
def test_whatever_ends_a_run_gives_the_barrier_back(world: World, ending: str) -> None:
    memory = SharedMemory()
    world.run("rcptto", f'barrier "n" => $n {{ $n = 1; {ending} }}', limits=Limits(steps=10_000), memory=memory)
    assert memory.try_lock("n")
    assert memory.values == ({} if "strlen" in ending else {"n": 1.0})


def test_a_cancelled_holder_and_a_cancelled_waiter_let_others_in(world: World) -> None:
    gate_script = 'barrier "n" => $n { ScanSA(); $n = 1; }'

    async def main() -> None:
        gate = Gate()
        hooks = world.hooks({"data": gate_script}, spamassassin=gate)
        memory = hooks.services.memory

        def start() -> asyncio.Task[Any]:
            return asyncio.create_task(hooks.run(hooks.current, "data", world.data()))

        holder = start()
        await _asked(gate, holder)
        waiter, other = start(), start()
        await asyncio.sleep(0)
        waiter.cancel()
        await asyncio.wait([waiter])
        assert waiter.cancelled() and not memory.try_lock("n")
        gate.asked.clear()
        holder.cancel()
        await asyncio.wait([holder])
        await _asked(gate, other)  # it is in
        gate.open.set()
        await other
        assert memory.try_lock("n") and memory.values == {"n": 1.0}

    wait_for(main())


def test_who_is_handed_a_lock_and_cancelled_at_once_hands_it_on() -> None:
    async def main() -> None:
        memory = SharedMemory()
        held = memory.try_lock("k")
        assert held is not None
        first, second = asyncio.create_task(memory.lock("k")), asyncio.create_task(memory.lock("k"))
        await asyncio.sleep(0)
        held.release()
        first.cancel()
        held = await second
        assert first.cancelled() and not memory.try_lock("k")
        held.release()
        assert memory.try_lock("k")

    wait_for(main())


def test_waiting_for_a_barrier_ends_at_the_limit(world: World) -> None:
    memory = SharedMemory()
    held = memory.try_lock("n")
    assert held is not None
    world.run("rcptto", 'barrier "n" { }', limits=Limits(wall_s=0.05), memory=memory)
    assert "R204" in world.failure()
    held.release()
    assert memory.try_lock("n")


def test_results_live_for_their_time(world: World) -> None:
    hooks = world.hooks({"rcptto": 'function f() { echo "f"; return 1; } cache ["ttl" => 10] f();'})

    def go() -> int:
        wait_for(hooks.run(hooks.current, "rcptto", world.event("rcptto")))
        return len(world.echoed())

    assert [go(), go()] == [1, 1]
    world.clock.advance(9.9)
    assert go() == 1
    world.clock.advance(0.2)
    assert [go(), go()] == [2, 2]


def test_an_update_sees_a_value_that_has_expired(world: World) -> None:
    script = """
    function f() { return time(); }
    echo cache ["ttl" => 10, "update_function" => function ($old, $new) { return $old . "," . ($new - $old); }] f();
    """
    hooks = world.hooks({"rcptto": script})
    wait_for(hooks.run(hooks.current, "rcptto", world.event("rcptto")))
    world.clock.advance(11)
    wait_for(hooks.run(hooks.current, "rcptto", world.event("rcptto")))
    assert world.echoed() == ["1700000000", "1700000000,11"]


def test_per_message_is_per_message(world: World) -> None:
    script = 'function f() { echo "f"; return 1; } cache ["per_message" => true] f(); cache ["namespace" => $messageid] f();'
    hooks = world.hooks({"rcptto": script})
    event = world.event("rcptto")
    wait_for(hooks.run(hooks.current, "rcptto", event))
    wait_for(hooks.run(hooks.current, "rcptto", event))
    assert len(world.echoed()) == 1
    other = replace(event, transaction=replace(event.transaction, id="message-2"))  # type: ignore[attr-defined, type-var]
    wait_for(hooks.run(hooks.current, "rcptto", other))
    assert len(world.echoed()) == 2


def test_a_namespace_of_a_file_is_emptied_when_the_file_changes(world: World, tmp_path: Path) -> None:
    file = tmp_path / "list.txt"
    file.write_text("a")
    memory = SharedMemory(folders=[tmp_path])
    script = 'function f() { echo "f"; return 1; } cache ["namespace" => "file:list.txt"] f();'
    hooks = world.hooks({"rcptto": script}, memory=memory)

    def go() -> int:
        wait_for(hooks.run(hooks.current, "rcptto", world.event("rcptto")))
        return len(world.echoed())

    assert [go(), go()] == [1, 1]
    file.write_text("b")
    os.utime(file, ns=(1, 1))
    assert [go(), go()] == [2, 2]
    file.unlink()
    assert [go(), go()] == [3, 3]


def test_all_caches_together_have_an_end() -> None:
    caches = Caches(most_bytes=100_000)
    for number in range(1000):
        caches.keep((str(number % 10), "f"), number, "x", 1000, 100, 0.0, 60.0)
    assert 0 < len(caches) <= 62 and caches.bytes <= 100_000
    assert caches.find(("9", "f"), 999, 100) is not None
    assert caches.find(("0", "f"), 0, 100) is None
    caches.keep(("9", "f"), "large", "x", 50_000, 100, 0.0, 60.0)
    assert caches.find(("9", "f"), "large", 100) is None


def test_what_a_cache_keeps_counts_with_its_arguments(world: World) -> None:
    memory = SharedMemory()
    script = (
        'function f($a) { return 1; } $s = str_repeat("x", 500000); '
        'for ($i = 0; $i < 200; $i += 1) cache ["size" => 1000] f(["$s$i" => $i]); '
        'cache ["size" => 1000] f(str_repeat("x", 2000000)); echo "done";'
    )
    world.run("rcptto", script, memory=memory)
    assert world.echoed() == ["done"]
    assert 0 < len(memory.caches) <= 140  # of 500,000 bytes each in 64 MiB; and not the one of 2 MB


def test_arguments_that_hold_one_another_are_not_walked_for_ever(world: World) -> None:
    script = (
        "function f($a) { return count($a); } $b = [1]; "
        "for ($i = 0; $i < 30; $i += 1) $b = [$b, $b, $b, $b, $b, $b, $b, $b]; echo cache [] f($b);"
    )
    world.run("rcptto", script)
    assert world.echoed() == ["8"]


def test_keys_of_arrays_count_as_memory(world: World) -> None:
    memory = SharedMemory(most_bytes=10_000_000)
    script = 'for ($i = 0; $i < 30; $i += 1) memory_store("k$i", [str_repeat("x", 1000000) => 1]);'
    world.run("rcptto", script, memory=memory)
    assert len(memory.values) == 9
    many = '$a = []; for ($i = 0; $i < 400; $i += 1) $a[str_repeat("x", 100000) . $i] = 1; echo "done";'
    world.run("rcptto", many, limits=Limits(memory_bytes=16_000_000))
    assert not world.echoed() and "R205" in world.failure()


def test_a_size_that_is_no_number_is_none(world: World) -> None:
    script = (
        "function f() { return 1; } $n = 10; for ($i = 0; $i < 10; $i += 1) $n *= $n; $n -= $n; "
        'echo cache ["size" => $n] f(); echo cache ["ttl" => $n] f();'
    )
    world.run("rcptto", script)
    assert world.echoed() == ["1", "1"]


def test_who_waits_for_a_barrier_sees_a_large_value_whole(world: World) -> None:
    script = 'barrier "n" => $n { if (!isset($n)) $n = range(0, 29999); ScanRPD(); $n[] = 1; }'
    hooks = world.hooks({"data": script}, limits=Limits(slice_s=0.0))

    async def main() -> None:
        await asyncio.gather(*(hooks.run(hooks.current, "data", world.data()) for _ in range(5)))

    wait_for(main())
    assert len(hooks.services.memory.values["n"]) == 30_005


def test_no_call_drops_many_results() -> None:
    caches = Caches()
    bucket = ("", "f")
    for number in range(3000):
        caches.keep(bucket, number, "x", 10, 5000, 0.0, 60.0)
    assert caches.find(bucket, 0, 10) is not None and 2500 < len(caches) < 3000
    for number in range(3000, 3020):
        caches.keep(bucket, number, "x", 10, 10, 0.0, 60.0)
    assert len(caches) == 10 and caches.find(bucket, 3019, 10) is not None
    for number in range(3000):
        caches.keep(("", "g"), number, "x", 10, 5000, 0.0, 60.0, mark=1)
    assert caches.find(("", "g"), 2999, 5000, mark=2) is None
    assert caches.find(("", "g"), 2999, 5000, mark=1) is None and len(caches) > 2500
    for number in range(3000):
        caches.keep(("", "g"), number, "x", 10, 5000, 100.0, 60.0, mark=2)
    assert len(caches) == 3010
    assert caches.find(("", "g"), 0, 5000, mark=2) is not None

"""What `memory_*` and `barrier` do, whether their values are in this process or in Redis."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from hslpy.lang.run import Limits
from hslpy.scan.contract import RspamdResult, ScanRequest
from hslpy.scan.scripted import ScriptedRspamd
from tests.hooks.world import World
from tests.store.conftest import Opener


class Slow(ScriptedRspamd):
    """A scanner that lets others run meanwhile."""

    async def scan(self, request: ScanRequest) -> RspamdResult:
        await asyncio.sleep(0)
        return await super().scan(request)


async def run(world: World, memory: Any, *scripts: str, **services: Any) -> None:
    """Run the scripts at the same time, each as a hook of its own."""
    limits = services.pop("limits", None)
    hooks = [world.hooks({"data": script}, limits, memory=memory, rspamd=Slow(0), **services) for script in scripts]
    await asyncio.gather(*(one.run(one.current, "data", world.data()) for one in hooks))


async def value_of(world: World, memory: Any, key: str) -> str:
    """Give the value as text; "none" without one."""
    before = len(world.echoed())
    await run(world, memory, f'echo [memory_fetch("{key}")];')
    return world.echoed()[before:][0][4:-1]


def test_values_of_every_kind_come_back(world: World, open_memory: Opener) -> None:
    script = """
    $map = Map("string", "any"); $map->set("a", [1, "x" => [none, true]]);
    $set = Set("number"); $set->add(2); $set->add(1);
    foreach ([none, false, -0.5, 1 / 3, "", "\\x00\\xff\\"", [], [1, [2]], ["a" => 1, 5 => "b"]] as $n => $value) {
        memory_store("k$n", $value);
        if (memory_fetch("k$n") !== $value) echo "other: " . json_encode($value);
    }
    $list = [1, 2]; memory_store("list", $list); $list[] = 3; $got = memory_fetch("list"); $got[] = 4;
    echo memory_fetch("list");
    memory_store("map", $map); $map->set("b", 1); echo [memory_fetch("map")->size(), memory_fetch("map")->get("a")];
    memory_store("set", $set); foreach (memory_fetch("set")->values() as $one) echo $one;
    """

    async def main() -> None:
        async with open_memory() as memory:
            await run(world, memory, script)

    asyncio.run(main())
    assert world.echoed() == ["[0=>1,1=>2]", '[0=>1,1=>[0=>1,"x"=>[0=>none,1=>true]]]', "2", "1"], world.events


def test_every_function_answers_alike(world: World, open_memory: Opener) -> None:
    script = """
    echo [memory_add("a", 1), memory_add("a", 2), memory_fetch("a"), memory_exists("a"), memory_exists("b")];
    echo [memory_store("a", 3), memory_fetch("a"), memory_store("b", 4)];
    echo [memory_update("c", 1, function ($k, $old, $new) { return $old + $new; }), memory_fetch("c")];
    echo [memory_update("c", 1, function ($k, $old, $new) { return $old + $new; }, 5), memory_fetch("c")];
    echo [memory_inc("n"), memory_inc("n", 5), memory_dec("n", 6, true), memory_exists("n"), memory_dec("n")];
    memory_store("text", "x"); echo [memory_inc("text"), memory_fetch("text")];
    echo [memory_delete("a"), memory_delete("a"), memory_fetch("a"), memory_fetch("a", function ($k) { return $k . "!"; })];
    memory_fetch("new", function ($key) { memory_store($key, "made"); }); echo memory_fetch("new");
    memory_delete("new", function ($key, $old) { echo $old; }); memory_store("b", 5, function ($key, $old) { echo $old; });
    """

    async def main() -> None:
        async with open_memory() as memory:
            await run(world, memory, script)

    asyncio.run(main())
    assert world.echoed() == [
        "[0=>true,1=>false,2=>1,3=>true,4=>false]",
        "[0=>true,1=>3,2=>false]",
        "[0=>false,1=>none]",
        "[0=>false,1=>6]",
        "[0=>1,1=>6,2=>0,3=>false,4=>-1]",
        '[0=>none,1=>"x"]',
        '[0=>true,1=>false,2=>none,3=>"a!"]',
        "made",
        "made",
        "4",
    ], world.events


@pytest.mark.parametrize("value", ["function () { }", "[[function () { }]]"])
def test_functions_are_refused(world: World, open_memory: Opener, value: str) -> None:
    async def main() -> None:
        async with open_memory() as memory:
            await run(world, memory, f'memory_store("k", {value});')
            await run(world, memory, f'barrier "k" => $x {{ $x = {value}; }}')
            assert await value_of(world, memory, "k") == "none"

    asyncio.run(main())
    texts = [str(fields["text"]) for fields in world.logged("hooks.script_error")]
    assert len(texts) == 2 and all("R309" in text for text in texts)


def test_runs_update_in_turn_and_are_alone_in_a_barrier(world: World, open_memory: Opener) -> None:
    update = 'memory_update("n", 1, function ($k, $c, $v) { ScanRPD(); return $c + $v; }, 0);'
    barrier = 'barrier "b" => $n { $was = $n ?? 0; ScanRPD(); $n = $was + 1; }'

    async def main() -> None:
        async with open_memory() as memory:
            await run(world, memory, *[update] * 25, *[barrier] * 25)
            assert [await value_of(world, memory, key) for key in "nb"] == ["25", "25"]

    asyncio.run(main())


@pytest.mark.parametrize(
    "ending", ['Reject("no");', "throw 1;", "return;", "$x = 1 / 0;", "forever { }", '$n = strlen; Reject("no");']
)
def test_whatever_ends_a_run_gives_the_barrier_back(world: World, open_memory: Opener, ending: str) -> None:
    async def main() -> None:
        async with open_memory() as memory:
            await run(world, memory, f'barrier "n" => $n {{ $n = 1; {ending} }}', limits=Limits(steps=10_000))
            assert await value_of(world, memory, "n") == ("none" if "strlen" in ending else "1")

    asyncio.run(main())


def test_a_cancelled_holder_and_a_cancelled_waiter_let_others_in(world: World, open_memory: Opener) -> None:
    class Gate(ScriptedRspamd):
        asked = asyncio.Event()

        async def scan(self, request: ScanRequest) -> RspamdResult:
            self.asked.set()
            await asyncio.Event().wait()
            raise AssertionError

    async def main() -> None:
        async with open_memory() as memory:
            gate = Gate(0)
            hooks = world.hooks({"data": 'barrier "n" => $n { $n = 1; ScanRPD(); }'}, memory=memory, rspamd=gate)
            holder, waiter = (asyncio.create_task(hooks.run(hooks.current, "data", world.data())) for _ in range(2))
            await gate.asked.wait()
            other = asyncio.create_task(value_of(world, memory, "n"))
            await asyncio.sleep(0.01)
            waiter.cancel()
            await asyncio.wait([waiter])
            assert not other.done()
            holder.cancel()
            await asyncio.wait([holder])
            assert await asyncio.wait_for(other, 60) == "1"

    asyncio.run(main())


def test_waiting_for_a_barrier_ends_at_the_limit(world: World, open_memory: Opener) -> None:
    async def main() -> None:
        async with open_memory() as memory:
            held = await memory.lock("n")
            await run(world, memory, 'barrier "n" { }', limits=Limits(wall_s=0.05))
            held.release()
            await run(world, memory, 'barrier "n" { echo "in"; }')

    asyncio.run(main())
    assert "R204" in world.failure() and world.echoed() == ["in"]

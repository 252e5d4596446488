"""Hostile scripts: each ends as a script error of its hook, and none keeps others waiting."""

from __future__ import annotations

import asyncio
import gc
import time

import pytest

from hslpy.hooks.runner import Hooks
from hslpy.lang.run import Limits
from hslpy.mail.verdict import Verdict
from hslpy.scan.contract import SpamScore
from tests.hooks.world import World, wait_for
from tests.support.yardstick import assert_within

SHORT = Limits(cpu_s=0.6, wall_s=60.0, regex_s=0.2)
COUNTED = Limits(steps=3_000_000, cpu_s=60.0)  # for scripts that must come far however slow the machine


async def longest_stall(hooks: Hooks, world: World) -> tuple[Verdict, float]:
    """Run hook rcptto; give its verdict and the longest computing time, in seconds, between two turns of another session."""
    event = world.event("mailfrom")
    longest = 0.0
    task = asyncio.ensure_future(hooks.run(hooks.current, "rcptto", world.event("rcptto")))
    while not task.done():
        started = time.thread_time()
        await hooks.run(hooks.current, "mailfrom", event)
        await asyncio.sleep(0)
        longest = max(longest, time.thread_time() - started)
    return task.result(), longest


@pytest.mark.parametrize(
    ("script", "text"),
    [
        ("while (true) {}", "more than"),
        ("$i = 0; forever { $i += 1; }", "more than"),
        ("function f() { while (true) { try { throw 1; } catch ($e) { } } } f();", "more than"),
        ('$s = "x" * 2000000000;', "longer than 16 MiB"),
        ('$s = "x"; while (true) $s .= $s;', "longer than 16 MiB"),
        ("$a = []; while (true) $a[] = $a;", ""),
        ("function f($x) { return f($x + 1); } f(1);", "deep"),
        ('pcre_match("^(?:a|aa)+$", ("a" * 60) . "b");', "regular expression"),
        ("echo count(array_map(function ($x) { return $x * 2; }, range(1, 1000000000)));", ""),
    ],
)
def test_hostile_script(world: World, script: str, text: str) -> None:
    hooks = world.hooks({"rcptto": script, "mailfrom": "$x = 1;"}, limits=SHORT)

    def stall_s() -> float:
        world.events.clear()
        verdict, longest = wait_for(longest_stall(hooks, world))
        assert (verdict.action, verdict.failed, str(verdict.reply)) == ("defer", True, "451 4.3.0 Temporary policy failure")
        assert text in world.failure()
        return longest

    assert_within(100, stall_s)  # a script that is not sliced takes 600


WARM = "$i = 0; while ($i < 100000) $i += 1; "  # many steps go by between two looks at the clock by then


@pytest.mark.parametrize(
    "script",
    [
        '$a = "x" * 30000000; while (true) $b = $a[1:];',
        '$a = "x" * 30000000; $b = "x" * 29999999; $b .= "x"; while (true) { if ($a == $b) $c = 1; }',
        '$a = "x" * 30000000; $b = "x" * 29999999; $b .= "y"; while (true) { if ($a < $b) $c = 1; }',
        "$a = range(0, 5000); function f(...$x) { return 1; } while (true) f(...$a);",
        '$a = "[" . "1," * 3000 . "1]"; while (true) json_decode($a);',
        '$a = "x" * 300000; $u = uuid(); while (true) uuidv5($u, $a);',
        '$a = "http://" . "x" * 60000; while (true) url_parse($a);',
    ],
)
def test_dear_steps_after_cheap_ones(world: World, script: str) -> None:
    hooks = world.hooks({"rcptto": WARM + script, "mailfrom": "$x = 1;"}, limits=SHORT)

    def stall_s() -> float:
        verdict, longest = wait_for(longest_stall(hooks, world))
        assert verdict.failed
        return longest

    assert_within(100, stall_s)


def test_busy_script_gives_others_their_turn(world: World) -> None:
    """The middle one of many stalls is a few milliseconds long."""
    hooks = world.hooks({"rcptto": "while (true) {}", "mailfrom": "$x = 1;"}, limits=COUNTED)

    async def main() -> float:
        task = asyncio.ensure_future(hooks.run(hooks.current, "rcptto", world.event("rcptto")))
        stalls = []
        while not task.done():
            started = time.thread_time()
            await asyncio.sleep(0)
            stalls.append(time.thread_time() - started)
        assert len(stalls) > 50
        return sorted(stalls)[len(stalls) // 2]

    assert_within(6, lambda: wait_for(main()))


def test_waiting_counts_as_wall_time(world: World) -> None:
    class Slow:
        async def scan(self, request: object) -> SpamScore:
            await asyncio.Event().wait()
            return SpamScore(0.0)

        async def close(self) -> None:
            pass

    verdict = world.run("data", "ScanSA();", None, limits=Limits(wall_s=0.05), spamassassin=Slow())
    assert verdict.failed and verdict.action == "defer"
    assert "took longer than 0.05 s" in world.failure()


def test_cancelled_session_leaves_its_script(world: World) -> None:
    began = asyncio.Event()

    class Slow:
        async def scan(self, request: object) -> SpamScore:
            began.set()
            await asyncio.sleep(30)
            return SpamScore(0.0)

        async def close(self) -> None:
            pass

    script = 'memory_update("k", 1, function ($k, $c, $v) { return ScanSA(); }, 0);'
    hooks = world.hooks({"data": script}, spamassassin=Slow())

    async def main() -> None:
        task = asyncio.ensure_future(hooks.run(hooks.current, "data", world.data()))
        await began.wait()
        assert not hooks.services.memory.try_lock("k")
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert hooks.services.memory.try_lock("k")

    wait_for(main())
    assert not world.events


@pytest.mark.parametrize(
    ("hook", "script", "text"),
    [
        ("data", 'while (true) Deliver(["done" => false]);', "at most 10,000 actions"),
        ("data", 'while (true) AddHeader("X", "y" * 1000);', "at most 256 KiB"),
        ("data", 'while (true) AppendHeader("Subject", "y" * 9000);', "at most 32 KiB"),
        ("data", 'AddHeader("X", "y" * 10000000);', "at most 32 KiB"),
        ("data", 'SetMetaData(["x" => "y" * 100000]);', "metadata takes at most 64 KiB"),
        ("eod", 'while (true) $arguments["mail"]->queue("", "a@x.org", "t");', "at most 10,000 actions"),
        ("eod", 'while (true) $arguments["mail"]->snapshot();', "at most 1,000 snapshots"),
        ("predelivery", 'SetMetaData(["x" => "y" * 100000]);', "metadata takes at most 64 KiB"),
    ],
)
def test_what_one_message_takes(world: World, hook: str, script: str, text: str) -> None:
    assert world.run(hook, script, limits=COUNTED).failed
    assert text in world.failure()


def test_endless_echo_does_not_fill_the_log(world: World) -> None:
    assert world.run("rcptto", 'while (true) echo "x";', limits=COUNTED).failed
    assert len(world.logged("hooks.echo")) == 10_000
    assert world.echoed()[-1] == "10,000 lines were echoed, what follows is not logged"


def test_cancelled_session_stops_a_busy_script(world: World) -> None:
    hooks = world.hooks({"rcptto": "while (true) { try { $x = 1; } catch ($e) { } }"})

    async def main() -> None:
        task = asyncio.ensure_future(hooks.run(hooks.current, "rcptto", world.event("rcptto")))
        await asyncio.sleep(0.02)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):  # not the script's own end, which the limits would bring much later
            await task

    wait_for(main())
    assert not world.events


def test_many_failing_runs_leave_nothing(world: World) -> None:
    hooks = world.hooks(
        {"rcptto": 'function f($x) { rate("n", "e", 1, 1); return 1 / $x; } f(0);', "mailfrom": 'Reject("no");'}
    )
    rcptto, mailfrom = world.event("rcptto"), world.event("mailfrom")

    async def main() -> int:
        async def once() -> None:
            assert (await hooks.run(hooks.current, "rcptto", rcptto)).failed
            await hooks.run(hooks.current, "mailfrom", mailfrom)
            world.events.clear()

        for _ in range(50):
            await once()
        await asyncio.sleep(0.001)
        gc.collect()
        before = len(gc.get_objects())
        for _ in range(1000):
            await once()
        await asyncio.sleep(0.001)
        gc.collect()
        return len(gc.get_objects()) - before

    assert wait_for(main()) < 1500  # the loop's cancelled timers, which it drops by and by


def test_a_session_keeps_no_large_context(world: World) -> None:
    assert world.run("rcptto", '$context = ["x" * 2000000];').action == "accept"
    assert world.context.value is None
    (warning,) = world.logged("hooks.script_warning")
    assert warning["text"] == "$context is dropped: it takes more than 1 MiB"
    world.run("rcptto", "$context = range(1, 1000);")
    assert len(world.context.value) == 1000

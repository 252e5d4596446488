"""Generators of scripts in greenlets: what waits within one waits for its run alone."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Callable

import pytest

from hslpy.builtins import for_hook
from hslpy.hooks.suspend import Pool, wait
from hslpy.lang.declare import Effect, Topic
from hslpy.lang.load import load_program
from hslpy.lang.run import Run, execute
from hslpy.lang.source import Source
from tests.hooks.world import wait_for

TOPIC = Topic("tests")


@TOPIC.builtin("rest(seconds: number) -> number", effect=Effect.IO)
def rest(call: Run, seconds: float) -> float:
    call.wait(asyncio.sleep(seconds))
    return seconds


def script(text: str) -> tuple[list[str], Callable[[], None]]:
    builtins = {**for_hook(None), "rest": TOPIC.rows[0]}
    program = load_program("main.hsl", lambda path, importer: Source(path, text), builtins, {}).program
    assert program is not None
    echoed: list[str] = []
    run = Run(echo=echoed.append, waiter=wait)
    return echoed, lambda: execute(program, run)


def test_runs_take_turns_while_their_generators_wait() -> None:
    text = 'function g($x) { foreach ([1, 2] as $i) { rest(0.001); yield "$x$i"; } } foreach (g("%s") as $v) echo $v;'
    first, one = script(text % "a")
    second, two = script(text % "b")

    async def main() -> None:
        pool = Pool()
        await asyncio.gather(pool.run(one, 60), pool.run(two, 60))

    wait_for(main())
    assert (first, second) == (["a1", "a2"], ["b1", "b2"])


@pytest.mark.parametrize("use", ["foreach (g() as $v) echo $v;", "$i = g(); echo $i->next(); $i->next();"])
def test_a_run_is_cancelled_where_its_generator_waits(use: str) -> None:
    echoed, body = script("function g() { yield 1; try { rest(30); } catch ($e) { echo 'not'caught'not'; } }" + use)

    async def main() -> None:
        task = asyncio.ensure_future(Pool().run(body, 60))
        await asyncio.sleep(0.005)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    wait_for(main())
    assert echoed == ["1"]


def test_a_generator_left_behind_runs_no_more() -> None:
    echoed, body = script("function g() { try { yield 1; } catch ($e) { echo 2; } echo 3; } g()->next(); $kept = g();")

    async def main() -> None:
        await Pool().run(body, 60)
        gc.collect()

    wait_for(main())
    assert echoed == []

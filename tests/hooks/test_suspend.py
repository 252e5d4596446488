"""Suspension: plain functions wait, time out and are cancelled, and leave nothing behind."""

from __future__ import annotations

import asyncio
import gc
from collections import Counter
from typing import Any

import pytest

from hslpy.hooks.suspend import Pool, wait
from hslpy.lang.run import Cancelled, LimitExceeded
from tests.hooks.world import wait_for


async def value_after(value: Any, seconds: float = 0.0) -> Any:
    await asyncio.sleep(seconds)
    return value


async def fails() -> None:
    raise OSError("away")


def test_result_of_what_was_waited_for() -> None:
    assert wait_for(Pool().run(lambda: wait(value_after(3)) + wait(value_after(4)), 60)) == 7


def test_error_of_what_was_waited_for_is_raised_where_it_waits() -> None:
    def script() -> str:
        try:
            wait(fails())
        except OSError as error:
            return str(error)
        return "nothing"

    assert wait_for(Pool().run(script, 60)) == "away"


def test_error_of_the_function_rises_and_its_greenlet_is_used_again() -> None:
    pool = Pool()

    def script() -> None:
        raise ValueError("x")

    async def main() -> None:
        for _ in range(3):
            with pytest.raises(ValueError, match="x"):
                await pool.run(script, 60)

    wait_for(main())
    assert (pool.running, len(pool._idle)) == (0, 1)


def test_runs_take_turns_while_waiting() -> None:
    order: list[str] = []

    def script(name: str) -> None:
        for _ in range(3):
            order.append(name)
            wait(asyncio.sleep(0))

    async def main() -> None:
        pool = Pool()
        await asyncio.gather(*(pool.run(lambda n=n: script(n), 60) for n in "ab"))

    wait_for(main())
    assert order == list("ababab")


def test_wait_longer_than_the_wall_time_is_cut_short() -> None:
    unwound: list[str] = []

    def script() -> None:
        try:
            wait(asyncio.Event().wait())
        finally:
            wait(asyncio.sleep(0))
            unwound.append("here")

    with pytest.raises(LimitExceeded) as caught:
        wait_for(Pool().run(script, 0.05))
    assert caught.value.code == "R204"
    assert unwound == ["here"]


def test_cancelling_the_task_unwinds_the_function_first() -> None:
    steps: list[str] = []

    def script() -> None:
        try:
            wait(asyncio.sleep(30))
        except Exception:
            steps.append("caught as an error")
        except Cancelled:
            wait(asyncio.sleep(0.01))
            steps.append("unwound")
            raise

    async def main() -> None:
        task = asyncio.ensure_future(Pool().run(script, 60))
        await asyncio.sleep(0.01)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert steps == ["unwound"]

    wait_for(main())


def test_function_cannot_swallow_the_cancelling() -> None:
    def script() -> str:
        try:
            wait(asyncio.sleep(30))
        except Cancelled:
            return "went on"
        return "done"

    async def main() -> None:
        task = asyncio.ensure_future(Pool().run(script, 60))
        await asyncio.sleep(0.01)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    wait_for(main())


def test_a_cancelled_helper_is_an_error_and_no_cancelling() -> None:
    async def main() -> None:
        other = asyncio.ensure_future(asyncio.sleep(30))
        asyncio.get_running_loop().call_later(0.01, other.cancel)
        with pytest.raises(RuntimeError, match="cancelled"):
            await Pool().run(lambda: wait(other), 60)

    wait_for(main())


def test_destroyed_task_unwinds_what_it_can() -> None:
    steps: list[str] = []

    def script() -> None:
        try:
            wait(asyncio.sleep(30))
        finally:
            steps.append("unwound")

    async def main() -> None:
        running = Pool().run(script, 60)
        running.send(None)
        running.close()

    wait_for(main())
    assert steps == ["unwound"]


@pytest.mark.parametrize("way", ["returns", "waits", "raises", "waits and raises", "cancelled"])
def test_ten_thousand_runs_leave_nothing(way: str) -> None:
    def script() -> None:
        big = ["x" * 1000]
        if "wait" in way or way == "cancelled":
            wait(asyncio.sleep(0 if way != "cancelled" else 30))
        if "raises" in way:
            raise ValueError(big)

    async def main() -> None:
        pool = Pool()

        async def once() -> None:
            task = asyncio.current_task()
            if way == "cancelled" and task is not None:
                asyncio.get_running_loop().call_soon(task.cancel)
            try:
                await pool.run(script, 60)
            except ValueError:
                pass
            except asyncio.CancelledError:
                assert task is not None and task.uncancel() == 0

        for _ in range(200):
            await once()
        gc.collect()
        before = Counter(type(one).__name__ for one in gc.get_objects())
        gc.disable()
        try:
            for _ in range(10_000):
                await once()
            await asyncio.sleep(0.001)
            left = Counter(type(one).__name__ for one in gc.get_objects()) - before
        finally:
            gc.enable()
        for kind in ("TimerHandle", "Context", "Handle"):  # the loop drops cancelled timers by and by
            assert left.pop(kind, 0) < 1000
        assert left.total() < 100, left
        assert (pool.running, len(pool._idle)) == (0, 1)

    wait_for(main())

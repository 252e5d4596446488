"""Calls builtins as compiled code does: arguments checked from the signature, with a run of its own."""

from __future__ import annotations

import asyncio
import contextlib
import random
import time
from collections.abc import Awaitable
from typing import Any

from hslpy.builtins import for_hook
from hslpy.clock import ManualClock
from hslpy.lang.conversions import to_echo
from hslpy.lang.run import BoundBuiltin, LimitExceeded, Limits, Run
from hslpy.lang.values import Array, HslFunction, Value

ROWS = for_hook(None)


def fresh_run(**limits: Any) -> Run:
    run = Run(clock=ManualClock(), random=random.Random(7), limits=Limits(**limits))
    run.start()
    return run


def value_of(python: Any) -> Value:
    """Give the HSL value of Python's numbers, lists and dicts."""
    if isinstance(python, bool) or python is None:
        return python
    if isinstance(python, int):
        return float(python)
    if isinstance(python, list):
        return Array.of([value_of(item) for item in python])
    if isinstance(python, dict):
        result = Array({}, 0)
        for key, item in python.items():
            result.set(key, value_of(item))
        return result
    if callable(python) and not isinstance(python, (HslFunction, BoundBuiltin)):
        count = python.__code__.co_argcount
        return HslFunction(python, None, count, count)
    return python


def python_of(value: Value) -> Any:
    """Give lists and dicts for arrays: a list where the keys are 0, 1, ..."""
    if not isinstance(value, Array):
        return value
    if list(value.items) == list(range(len(value.items))):
        return [python_of(item) for item in value.values()]
    return {key: python_of(item) for key, item in value.items.items()}


def call(name: str, *args: Any, run: Run | None = None) -> Any:
    """Call the builtin and give its result as Python values."""
    run = run or fresh_run()
    return python_of(BoundBuiltin(ROWS[name], run).call(*[value_of(arg) for arg in args]))


def shown(name: str, *args: Any) -> str:
    """Call the builtin and give its result as `echo` shows it."""
    return to_echo(None, value_of(call(name, *args)))


class Watch:
    """A waiter that remembers the longest stretch, in CPU time, between two turns given to others."""

    def __init__(self) -> None:
        self.longest_s = 0.0
        self._runner = asyncio.Runner()
        self._runner.get_loop()
        self._since = time.thread_time()

    def __call__(self, awaitable: Awaitable[Any]) -> Any:
        self.longest_s = max(self.longest_s, time.thread_time() - self._since)

        async def finish() -> Any:
            return await awaitable

        try:
            return self._runner.run(finish())
        finally:
            self._since = time.thread_time()

    def end(self) -> float:
        self.longest_s = max(self.longest_s, time.thread_time() - self._since)
        self._runner.close()
        return self.longest_s


def longest_stretch_s(name: str, args: list[Any]) -> float:
    """Call the builtin, until the limits stop it, and give the longest CPU time between two turns given to others."""
    values = [value_of(arg) for arg in args]
    watch = Watch()
    run = Run(clock=ManualClock(), random=random.Random(1), limits=Limits(), waiter=watch)
    run.start()
    with contextlib.suppress(LimitExceeded):
        BoundBuiltin(ROWS[name], run).call(*values)
    return watch.end()

"""What work costs, whatever the machine and its load: computing time over that of a fixed piece of Python done beside it."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

TRIES = 8  # what else the machine does lengthens single measurements, and no fault is in all of them
_ROUNDS = 5


@contextmanager
def uncollected() -> Iterator[None]:
    """Keep Python's garbage collector out of what is measured: when it runs, and over what, is the server's affair."""
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def timed(work: Callable[[], object]) -> float:
    """Give the computing time that `work` took of this thread, in seconds."""
    began = time.thread_time()
    work()
    return time.thread_time() - began


def unit_s() -> float:
    """Give the computing time, in seconds, of what takes about a millisecond on a machine of 2024 that is quiet."""
    return timed(_fixed) / _ROUNDS


def assert_within(most_units: float, measure: Callable[[], float]) -> None:
    """Fail unless `measure`, which does the work anew and gives seconds, comes to so few units in one of several tries."""
    found = []
    for _ in range(TRIES):
        with uncollected():
            before = unit_s()
            spent = measure()
            found.append(spent / max(before, unit_s()))
        if found[-1] <= most_units:
            return
    raise AssertionError(f"took {min(found):.1f} units at least in {TRIES} tries, where {most_units} are allowed")


def assert_grows_linearly(cost: Callable[[int], float], size: int) -> None:
    """Fail unless four times as much costs less than ten times the seconds: sixteen times where it goes by the square."""
    found = []
    for _ in range(TRIES):
        with uncollected():
            found.append(cost(4 * size) / max(cost(size), 1e-4))
        if found[-1] < 10:
            return
    raise AssertionError(f"four times as much took {min(found):.1f} times as long at least")


def _fixed() -> None:
    for _ in range(_ROUNDS):
        words = {}
        for n in range(8_000):
            words[f"word {n}"] = n
        ",".join(words)

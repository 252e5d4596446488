"""How much memory a run's values take. In: a Run. Out: bytes. Knows Python's frames, not the language."""

from __future__ import annotations

import gc
import os
import resource
import sys
from collections.abc import Iterator
from types import CellType, FunctionType, GeneratorType
from typing import TYPE_CHECKING, Any

from hslpy.lang.iterators import Pairs
from hslpy.lang.values import Array, HslFunction, HslObject

if TYPE_CHECKING:
    from hslpy.lang.run import Run

_PAGE_BYTES = resource.getpagesize()
_VALUES_A_STRETCH = 5_000  # about a millisecond of walking
_STRING_HEAD = 49  # sys.getsizeof("")
_BYTES_HEAD = 33  # sys.getsizeof(b"")
_NUMBER_BYTES = 24  # sys.getsizeof(0.0)
_HELD_BYTES = 100  # of a small object of ours

try:
    _STATM: int | None = os.open("/proc/self/statm", os.O_RDONLY | os.O_CLOEXEC)
except OSError:
    _STATM = None


def resident_bytes() -> int:
    """Give the process's resident memory (its peak where /proc isn't there): a hint when to measure, never a verdict."""
    if _STATM is not None:
        return int(os.pread(_STATM, 128, 0).split()[1]) * _PAGE_BYTES
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def live_bytes(run: Run) -> int:
    """Give what the run's variables, temporaries and scratch values take, each object counted once.

    What builtins hold behind an object counts by its `held_bytes`, where it has them, and by what its `held_values()` gives.
    Walks the frames of compiled code on the current stack; stops early once over the run's limit.
    """
    program = run.program
    if program is None:
        return 0
    todo: list[Any] = [run.scratch, dict(run.facts), getattr(run.host, "state", None)]
    frame = sys._getframe(1)
    while frame is not None:
        if frame.f_code.co_filename == program.file:
            variables = frame.f_locals  # Python 3.11 shows the garbage collector nothing of a frame that runs
            todo.extend(variables.values())
            variables.clear()  # it is a copy that would keep values alive
        frame = frame.f_back  # type: ignore[assignment]
    seen: set[int] = set()
    total = 0
    limit = run.limits.memory_bytes
    walks: list[Iterator[Any]] = [iter(todo)]  # iterators, lest a large array be copied at once
    count = 0
    while walks:
        for value in walks[-1]:
            count += 1
            if count % _VALUES_A_STRETCH == 0:
                if total > limit:
                    return total
                run.pause()
            kind = value.__class__
            if kind is float or kind is int:
                total += _NUMBER_BYTES
                continue
            if kind is str:
                if len(value) > 1 and id(value) not in seen:
                    seen.add(id(value))
                    total += _STRING_HEAD + len(value)
                continue
            if kind is bytes:
                if id(value) not in seen:
                    seen.add(id(value))
                    total += _BYTES_HEAD + len(value)
                continue
            if id(value) in seen:
                continue
            if kind not in _WALKED:
                held_values = getattr(kind, "held_values", None)
                if held_values is None:
                    continue
                seen.add(id(value))
                total += _HELD_BYTES
                walks.append(iter(held_values(value)))
                break
            seen.add(id(value))
            total += sys.getsizeof(value)
            if kind is dict:
                walks.append(iter(value))  # its keys, which may be long
                walks.append(iter(value.values()))
            elif kind is list or kind is tuple:
                walks.append(iter(value))
            elif kind is FunctionType:
                walks.append(iter(value.__closure__ or ()))
            elif kind is HslObject:
                total += getattr(value.host, "held_bytes", 0)
                walks.append(iter((value.fields, value.host)))
            else:
                walks.append(iter(gc.get_referents(value)))
            break
        else:
            walks.pop()
    return total


_WALKED = frozenset(
    {
        Array,
        HslFunction,
        HslObject,
        CellType,
        FunctionType,
        dict,
        list,
        tuple,
        type(iter({}.values())),
        type(iter({}.items())),
        Pairs,
        enumerate,
        GeneratorType,
        type(iter([])),
    }
)

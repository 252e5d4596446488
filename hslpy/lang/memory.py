"""How much memory a run's values take. In: what it holds. Out: bytes. Knows Python's frames, not the language."""

from __future__ import annotations

import gc
import os
import resource
import sys
from collections.abc import Callable, Iterable, Iterator
from types import CellType, FunctionType, GeneratorType
from typing import Any

from hslpy.lang.iterators import Pairs
from hslpy.lang.values import Array, HslFunction, HslObject

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


def live_bytes(held: Iterable[Any], file: str, limit: int, pause: Callable[[], None]) -> int:
    """Give what is `held`, and the variables and temporaries of the run of `file` at hand, take; each object counts once.

    What builtins hold behind an object counts by its `held_bytes`, where it has them, and by what its `held_values()` gives.
    Walks the frames of compiled code on the current stack, with a `pause` from time to time; stops early once over `limit`.
    """
    todo: list[Any] = list(held)
    frame = sys._getframe(1)
    while frame is not None:
        if frame.f_code.co_filename == file:
            variables = frame.f_locals  # Python 3.11 shows the garbage collector nothing of a frame that runs
            todo.extend(variables.values())
            variables.clear()  # it is a copy that would keep values alive
        frame = frame.f_back  # type: ignore[assignment]
    seen: set[int] = set()
    total = 0
    walks: list[Iterator[Any]] = [iter(todo)]  # iterators, lest a large array be copied at once
    count = 0
    while walks:
        for value in walks[-1]:
            count += 1
            if count % _VALUES_A_STRETCH == 0:
                if total > limit:
                    return total
                pause()
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

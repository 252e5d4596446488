"""memory_*: values by key, shared by all runs; a callback runs with its key locked. In: keys, values. Out: values.

Functions and objects belong to one run and cannot be stored; of a Map or Set the store has a copy of its own.
Source: the HSL manual, memory_*.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from hslpy.lang.declare import Effect, Topic
from hslpy.lang.run import Run
from hslpy.lang.shared_contract import Held
from hslpy.lang.sharing import copied, hold, release, storable
from hslpy.lang.values import Value

TOPIC = Topic("memory")

_NOTHING = object()


@contextmanager
def _locked(call: Run, key: str) -> Iterator[Held]:
    """Hold the key's lock and give its value. A callback may use the key it was called under."""
    memory = call.shared
    assert memory is not None
    held, taken = hold(call, memory, key)
    ended_well = False
    try:
        yield held
        ended_well = True
    finally:
        if taken:
            release(call, key, ended_well)


@TOPIC.builtin("memory_add(key: string, value: any) -> boolean", effect=Effect.IO, examples=['memory_add("k", 1)  // true'])
def memory_add(call: Run, key: str, value: Value) -> bool:
    """Store the value unless there is one; say whether it was stored."""
    stored = storable(call, "memory_add()", value)
    with _locked(call, key) as held:
        if held.get(_NOTHING) is not _NOTHING:
            return False
        held.put(*stored)
        return True


@TOPIC.builtin(
    "memory_store(key: string, value: any, [callback: function]) -> boolean",
    effect=Effect.IO,
    examples=['memory_store("k", [1, 2])  // false'],
)
def memory_store(call: Run, key: str, value: Value, callback: Value = None) -> bool:
    """Store the value; say whether there was one, which `callback(key, old)` then sees."""
    stored = storable(call, "memory_store()", value)
    with _locked(call, key) as held:
        old = held.get(_NOTHING)
        if old is not _NOTHING and callback is not None:
            call.invoke(callback, key, copied(call, old))
        held.put(*stored)
        return old is not _NOTHING


@TOPIC.builtin(
    "memory_fetch(key: string, [callback: function]) -> any", effect=Effect.IO, examples=['memory_fetch("nothing")  // none']
)
def memory_fetch(call: Run, key: str, callback: Value = None) -> Value:
    """Give the value; when there is none, what `callback(key)` gives (it may store it), else none."""
    with _locked(call, key) as held:
        value = held.get(_NOTHING)
        if value is not _NOTHING:
            return copied(call, value)
        return call.invoke(callback, key) if callback is not None else None


@TOPIC.builtin(
    "memory_update(key: string, value: any, callback: function, [initial: any]) -> boolean",
    effect=Effect.IO,
    examples=['memory_update("n", 2, function ($key, $old, $new) { return $old + $new; }, 0)  // false'],
)
def memory_update(call: Run, key: str, value: Value, callback: Value, initial: Value = _NOTHING) -> bool:
    """Store what `callback(key, current, value)` gives, and say whether there was a value.

    Where there was none, `initial` is the current one; without it nothing is stored.
    """
    with _locked(call, key) as held:
        old = held.get(_NOTHING)
        if old is _NOTHING and initial is _NOTHING:
            return False
        current = copied(call, old) if old is not _NOTHING else initial
        result = call.invoke(callback, key, current, value)
        held.put(*storable(call, "memory_update()", result))
        return old is not _NOTHING


@TOPIC.builtin(
    "memory_delete(key: string, [callback: function]) -> boolean",
    effect=Effect.IO,
    examples=['memory_delete("nothing")  // false'],
)
def memory_delete(call: Run, key: str, callback: Value = None) -> bool:
    """Remove the value, which `callback(key, value)` sees; say whether there was one."""
    with _locked(call, key) as held:
        value = held.get(_NOTHING)
        if value is _NOTHING:
            return False
        if callback is not None:
            call.invoke(callback, key, copied(call, value))
        held.drop()
        return True


@TOPIC.builtin(
    "memory_exists(key: string, [callback: function]) -> boolean",
    effect=Effect.IO,
    examples=['memory_exists("nothing")  // false'],
)
def memory_exists(call: Run, key: str, callback: Value = None) -> bool:
    """Say whether there is a value, which `callback(key, value)` sees."""
    with _locked(call, key) as held:
        value = held.get(_NOTHING)
        if value is _NOTHING:
            return False
        if callback is not None:
            call.invoke(callback, key, copied(call, value))
        return True


@TOPIC.builtin(
    "memory_inc(key: string, [offset: number = 1]) -> number | none", effect=Effect.IO, examples=['memory_inc("hits")  // 1']
)
def memory_inc(call: Run, key: str, offset: float = 1.0) -> float | None:
    """Add to the number (from 0 when there is none) and give the sum, none when the value is no number."""
    return _add(call, key, lambda current: current + offset)


@TOPIC.builtin(
    "memory_dec(key: string, [offset: number = 1], [remove_if_zero: boolean = false]) -> number | none",
    effect=Effect.IO,
    examples=['memory_dec("hits", 1, true)  // -1'],
)
def memory_dec(call: Run, key: str, offset: float = 1.0, remove_if_zero: bool = False) -> float | None:
    """Subtract from the number (from 0 when there is none) and give the rest, none when the value is no number."""
    return _add(call, key, lambda current: current - offset, remove_if_zero)


def _add(call: Run, key: str, change: Callable[[float], float], remove_if_zero: bool = False) -> float | None:
    with _locked(call, key) as held:
        current = held.get(0.0)
        if current.__class__ is not float:
            return None
        changed = change(current)
        if remove_if_zero and changed == 0:
            held.drop()
        else:
            held.put(changed, 0)
        return changed

"""What runs share: values under locks (`barrier`, and `memory_*` beside it) and results of calls (`cache`).

In: values and the run, from compiled code and builtins. Out: values, or ScriptError R1xx, R3xx. What holds them is given
to the run (`Run.shared`); where nothing is, every call runs and every barrier is open. Source: the HSL manual, cache,
barrier.
"""

from __future__ import annotations

import itertools
import sys
from collections.abc import Hashable, Iterable, Sequence
from pathlib import Path
from typing import Any

from hslpy.errors import ScriptError
from hslpy.filestamp import NO_FILE, stamp_of
from hslpy.lang.conversions import normalise_key, truth
from hslpy.lang.diagnostics import suggest
from hslpy.lang.growth import ELEMENT_BYTES
from hslpy.lang.operators import to_string
from hslpy.lang.run import Run, describe
from hslpy.lang.shared_contract import Held, Shared
from hslpy.lang.values import Array, HslFunction, HslObject, Regex, Resource, Value, own, type_name

CACHE_OPTIONS: dict[str, tuple[str, ...]] = {
    "ttl": ("number",),
    "ttl_override": ("array",),
    "ttl_function": ("function",),
    "update_function": ("function",),
    "argv_filter": ("array",),
    "force": ("boolean",),
    "size": ("number",),
    "namespace": ("string",),
    "per_message": ("boolean",),
    "lru": ("boolean",),
}
FUNCTION_OPTIONS = ("ttl_function", "update_function")  # which releases of 2015 took by name
_TTL_S = 60.0
_SIZE = 32.0


# ---- locks and values -----------------------------------------------------------------------------------


def hold(run: Run, shared: Shared, key: str) -> tuple[Held, bool]:
    """Take the lock of a key, waiting for it if need be. The second is False when this run held it already."""
    held: dict[str, Held] = run.scratch.setdefault("held", {})
    if key in held:
        return held[key], False
    taken = shared.try_lock(key)
    if taken is None:
        taken = run.wait(shared.lock(key))
    held[key] = taken
    return taken, True


def release(run: Run, key: str, ended_well: bool) -> None:
    """Give the lock of a key back; waits only where it `ended_well`, until what was put is kept."""
    held: Held = run.scratch["held"].pop(key)
    if ended_well:
        kept = held.settle()
        if kept is not None:
            run.wait(kept)
    else:
        held.release()


def storable(run: Run, who: str, value: Value) -> tuple[Value, int]:
    """Give the store's own copy and about its size in bytes. Raises ScriptError R309 for what only lives in one run."""
    size = size_of(run, value, ())
    if isinstance(size, str):
        raise ScriptError("R309", f"{who} cannot store a value of type {size}")
    return copied(run, value), size


def copied(run: Run, value: Value) -> Value:
    """Give a stored value, or one to be stored, as its taker may change it: of a Map or Set a copy."""
    pairs = _pairs(value)
    if pairs is None:
        return own(value)
    run.reserve(ELEMENT_BYTES * len(pairs))
    run.charge(1 + (len(pairs) >> 4))
    copy = {key: (key, own(pair[1])) if pair.__class__ is tuple else pair for key, pair in pairs.items()}
    return HslObject(value.class_name, None, (*value.host[:2], copy))


def _pairs(value: Value) -> dict[Value, Any] | None:
    """Give what a Map or Set holds (see `builtins/core/collections.py`), None of any other value."""
    if value.__class__ is not HslObject or value.class_name not in ("Map", "Set") or value.host.__class__ is not tuple:
        return None
    pairs: dict[Value, Any] = value.host[2]
    return pairs


_PLAIN = (type(None), bool, float, str)
_OBJECT_BYTES = 16 * 1024  # of a key, a certificate, a compiled regex: more than nearly all take


def size_of(run: Run, value: Value, more: tuple[type, ...]) -> int | str:
    """Give about the size of a plain value in bytes, or the type of what is in it and is neither plain nor of `more`.

    A Map or Set of plain values is one, where it is not within an array.
    """
    pairs = _pairs(value)
    todo = [value] if pairs is None else list(pairs)
    count, size = 0, ELEMENT_BYTES * len(pairs or ())
    if pairs is not None:
        todo += [pair[1] for pair in pairs.values() if pair.__class__ is tuple]
    while todo:
        one = todo.pop()
        if one.__class__ is Array:
            todo.extend(one.items)
            todo.extend(one.items.values())
            size += ELEMENT_BYTES * (1 + len(one))
        elif one.__class__ is str:
            size += len(one)
        elif one.__class__ in more:
            size += _OBJECT_BYTES
        elif one.__class__ not in _PLAIN and one.__class__ is not int:  # a key
            return type_name(one)
        count += 1
        if count % 1000 == 0:
            run.charge(100)
    return size


# ---- barrier --------------------------------------------------------------------------------------------


class Barrier:
    """A barrier that a run is in. `value` is the shared variable's, `unset` where it has none."""

    __slots__ = ("error", "held", "name", "value")

    def __init__(self, name: str, held: Held | None, value: Value) -> None:
        self.name = name
        self.held = held
        self.value = value
        self.error = sys.exc_info()[1]  # what was under way before


def enter_barrier(run: Run, name: Value, unset: object) -> Barrier:
    """Wait until nobody else is in the barrier, and go in."""
    if name.__class__ is not str and name.__class__ is not float:
        raise ScriptError("R101", f"`barrier` wants a string as its name, got {describe(name)}")
    key = to_string(run, name)
    shared = run.shared
    if shared is None:
        return Barrier(key, None, unset)
    held, taken = hold(run, shared, key)
    if not taken:
        raise ScriptError(
            "R116", f'the script is in the barrier "{key}" already', hint="a barrier is left before it is entered again"
        )
    try:
        return Barrier(key, held, copied(run, held.get(unset)))
    except BaseException:
        release(run, key, False)
        raise


def leave_barrier(run: Run, barrier: Barrier, value: Value, unset: object) -> None:
    """Keep the shared variable for the next who enters, and go out; whatever ended the body.

    Raises ScriptError R309 for a value that cannot be kept, unless an error or a verdict ended the body.
    """
    held = barrier.held
    if held is None:
        return
    ended_well = sys.exc_info()[1] is barrier.error
    done = False
    try:  # a large value takes its time, in which nobody may see the one before
        size = 0 if value is unset else size_of(run, value, ())
        if value is unset:
            held.drop()
        elif not isinstance(size, str):
            held.put(copied(run, value), size)
        done = True
    finally:
        release(run, barrier.name, done and ended_well)
    if isinstance(size, str) and ended_well:
        raise ScriptError("R309", f"`barrier` cannot keep a value of type {size}")


# ---- cache ----------------------------------------------------------------------------------------------

_CACHED = (Regex, Resource)  # beside plain values: keys and certificates never change
_scopes = itertools.count(1)
_MOST_KEY_BYTES = 1 << 20  # what is hashed in less than a millisecond
_PART_BYTES = 80  # of a value in a key: a tuple and its place


def cached(run: Run, options: Array, function: Value, name: str | None, args: Sequence[Value]) -> Value:
    """Do `cache options name(args)`: give what the cache has, else call the function and keep its result.

    What holds functions or objects is not kept, and a call with such arguments not looked up: they belong to one run.
    """
    chosen = _options(options)
    shared = run.shared
    key, key_bytes = _key(run, _told_apart(args, chosen.get("argv_filter")))
    if shared is None or key is None:
        return run.invoke(function, *args)
    namespace: str = chosen.get("namespace", "")
    bucket: tuple[str, ...] = (namespace, name if name is not None else _name_of(function))
    if chosen.get("per_message"):
        bucket = (_message(run), *bucket) if namespace else (_message(run), bucket[1])
    mark = _mark(run, shared, namespace) if namespace.startswith("file:") else None
    most = int(min(max(0.0, chosen.get("size", _SIZE)), 1e9))  # a size that is no number is none
    kept = shared.caches.find(bucket, key, most, mark)
    if kept is not None and not chosen.get("force") and run.clock.monotonic() < kept.expires_at:
        shared.caches.used(bucket, key)
        return copied(run, kept.value)
    given = result = run.invoke(function, *args)
    if kept is not None and "update_function" in chosen:
        result = run.invoke(chosen["update_function"], copied(run, kept.value), own(given))
    ttl_s = _ttl(run, chosen, given)
    size = size_of(run, result, _CACHED) if ttl_s > 0 else ""
    if not isinstance(size, str):
        size += key_bytes + len(namespace)
        now = run.clock.monotonic()
        lru = bool(chosen.get("lru", True))
        shared.caches.keep(bucket, key, copied(run, result), size, most, now, ttl_s, lru=lru, mark=mark)
    return result


def _options(options: Array) -> dict[str, Any]:
    """Give the options by name. Raises ScriptError R301 for an unknown one, R302 for one of a wrong type."""
    found: dict[str, Any] = {}
    for key, value in options.items.items():
        types = CACHE_OPTIONS.get(str(key))
        if types is None:
            raise ScriptError("R301", f"unknown option `{key}` of `cache`", hint=option_hint(str(key)))
        if types == ("boolean",):
            value = truth(value)
        elif type_name(value) not in types:
            raise ScriptError("R302", f"option `{key}` of `cache` wants {types[0]}, got {type_name(value)}")
        found[str(key)] = value
    return found


def option_hint(name: str) -> str:
    """Give the hint for an unknown option of `cache`."""
    return suggest(name, CACHE_OPTIONS) or f"it takes {', '.join(f'`{one}`' for one in CACHE_OPTIONS)}"


def _told_apart(args: Sequence[Value], chosen: Array | None) -> Iterable[Value]:
    """Give the arguments that tell one call from another: all, or those that `argv_filter` counts from 1."""
    if chosen is None:
        return args
    found = []
    for number in chosen.values():
        if number.__class__ is not float or number < 1:
            raise ScriptError("R302", f"option `argv_filter` of `cache` wants numbers from 1, got {describe(number)}")
        found.append(args[int(number) - 1] if number <= len(args) else None)
    return found


def _ttl(run: Run, chosen: dict[str, Any], given: Value) -> float:
    """Give how many seconds a result is kept: by its value, by the function, or as the options say."""
    override: Array | None = chosen.get("ttl_override")
    ttl: Value = None
    if override is not None and (given is None or given.__class__ in _PLAIN):
        ttl = override.items.get(normalise_key("" if given is None else given))
    if ttl is None and "ttl_function" in chosen:
        ttl = run.invoke(chosen["ttl_function"], own(given))
    if ttl is None:
        ttl = chosen.get("ttl", _TTL_S)
    if ttl.__class__ is not float:
        raise ScriptError("R302", f"`cache` wants a number of seconds as time to live, got {describe(ttl)}")
    return float(ttl)


def _key(run: Run, values: Iterable[Value]) -> tuple[tuple[Hashable, ...] | None, int]:
    """Give something hashable that is equal for equal values, and about its size in bytes.

    None for values that only live in one run, or take more than `_MOST_KEY_BYTES`: an array may hold another many times.
    """
    parts: list[Hashable] = []
    size = 0
    todo = list(values)[::-1]
    while todo:
        one = todo.pop()
        kind = one.__class__
        size += _PART_BYTES
        if kind is Array:
            size += _PART_BYTES * len(one.items)
            if size > _MOST_KEY_BYTES:
                return None, 0
            size += sum(len(name) for name in one.items if name.__class__ is str)
            parts.append(("[", len(one.items)))
            parts.append(tuple(one.items))
            todo.extend(reversed(one.items.values()))
            run.charge(1 + (len(one.items) >> 4))
        elif kind in _PLAIN:
            parts.append((kind.__name__, one))
            size += len(one) if kind is str else 0
        elif kind is Regex:
            parts.append(("/", one.pattern, one.modifiers))
            size += len(one.pattern)
        else:
            return None, 0
        if size > _MOST_KEY_BYTES:
            return None, 0
    return tuple(parts), size


def _name_of(function: Value) -> str:
    """Give the name of a function value; a function without one goes by the place where it is written."""
    if function.__class__ is HslFunction and function.name is None:
        code: Any = getattr(function.call, "__code__", None)
        return f"{getattr(code, 'co_filename', '')} {getattr(code, 'co_name', '')}"
    return str(getattr(function, "name", ""))


def method_name(base: Value, key: Value) -> str | None:
    """Give the name under which calls of a method are kept; None for what is no method."""
    return f"{base.class_name}->{key}" if base.__class__ is HslObject else None


def _message(run: Run) -> str:
    """Give the id of the message at hand; where there is none, something that is this run's own."""
    if not run.message_id:
        run.message_id = f"run {next(_scopes)}"
    return run.message_id


def _mark(run: Run, shared: Shared, namespace: str) -> object:
    """Give what changes when the file of a namespace `file:X` does."""
    name = namespace.removeprefix("file:").removeprefix("//")
    program = run.program
    own_folder = [Path(program.sources[0].path).parent] if program is not None and program.sources else []
    for folder in (*own_folder, *shared.folders):
        for suffix in ("", ".hsl"):
            stamp = stamp_of(folder / (name + suffix))
            if stamp != NO_FILE:
                return stamp
    return NO_FILE

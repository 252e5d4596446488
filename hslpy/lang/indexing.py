"""Subscripts and slices: reading, replacing and removing parts of arrays and strings.

In: values and the run's `Budget`. Out: values; arrays given for writing are changed in place and must be the caller's.
Source: the HSL manual, Arrays; deviations.md.
"""

from __future__ import annotations

import math

from hslpy.errors import ScriptError
from hslpy.lang.budget import Budget
from hslpy.lang.conversions import WORTH_RESERVING, key_of_text, normalise_key, to_number
from hslpy.lang.growth import ELEMENT_BYTES, TextBuilder, array_of
from hslpy.lang.values import Array, HslObject, Key, Value, type_name

_CHUNK = 8192  # elements handled between two charges, about half a millisecond
_BYTES_AT_ONCE = 1 << 18
_FAR = float(2**62)  # beyond any length, for bounds that do not fit a machine integer


def unshare(run: Budget | None, array: Array) -> dict[Key, Value]:
    """Give the dict of `array` for writing, as `Array.unshare`, with the work of a copy charged."""
    if array.shared:
        array.items = copy_items(run, array)
        array.shared = False
    return array.items


def copy_items(run: Budget | None, array: Array) -> dict[Key, Value]:
    """Give a copy of the dict of `array`, inner arrays shared, with the work charged."""
    size = len(array.items)
    copy: dict[Key, Value]
    if run is None or size <= _CHUNK:
        if run is not None and size > 64:
            run.reserve(size * ELEMENT_BYTES)
            run.charge(size >> 4)
        copy = array.items.copy()
        for key, value in copy.items():
            if value.__class__ is Array:
                copy[key] = value.share()
        return copy
    run.reserve(size * ELEMENT_BYTES)
    copy = {}
    for count, (key, value) in enumerate(array.items.items(), 1):
        copy[key] = value.share() if value.__class__ is Array else value
        if count % _CHUNK == 0:
            run.charge(_CHUNK >> 4)
    return copy


def get_index(container: Value, key: Value) -> Value:
    """Give `container[key]`: none when missing, and for none; one byte of a string.

    Raises ScriptError R125 for what has no elements. Property access of objects with a class is the compiler's.
    """
    kind = container.__class__
    if kind is Array:
        if key is None:
            return None
        return container.items.get(normalise_key(key))
    if container is None:
        return None
    if kind is str:
        position = key_of_text(key) if key.__class__ is str else None if key is None else normalise_key(key)
        if position.__class__ is int and 0 <= position < len(container):
            return container[position]
        return None
    if kind is HslObject:
        return container.fields.get(normalise_key(key))
    raise ScriptError(
        "R125", f"{type_name(container)} has no elements to read", hint="only arrays, strings and objects have"
    )


def _bound(value: Value) -> int | None:
    if value is None:
        return None
    if value.__class__ is not float:
        if value.__class__ is not bool and value.__class__ is not str:
            raise ScriptError("R126", f"a slice bound must be a number, got {type_name(value)}")
        value = to_number(value)
    if math.isnan(value):
        raise ScriptError("R126", "a slice bound must be a number, got nan")
    return int(max(-_FAR, min(_FAR, value)))


def slice_of(first: Value, last: Value, step: Value = None) -> slice:
    """Give Python's slice for the bounds; none stands for one left out. Raises ScriptError R126 for a step of zero."""
    by = _bound(step)
    if by == 0:
        raise ScriptError("R126", "a slice step must not be zero")
    return slice(_bound(first), _bound(last), by)


def get_slice(run: Budget, container: Value, first: Value, last: Value, step: Value = None) -> Value:
    """Give `container[first:last:step]` by position, as Python does; arrays are keyed anew from 0."""
    part = slice_of(first, last, step)
    if container.__class__ is str:
        if len(container) >= WORTH_RESERVING:
            positions = range(*part.indices(len(container)))
            run.reserve(len(positions))
            if positions.step != 1 and len(positions) > _BYTES_AT_ONCE:
                return _stepped(run, container, positions)
        return container[part]
    if container.__class__ is Array:
        size = len(container.items)
        if size > 64:
            run.charge(size >> 4)
            run.reserve(len(range(*part.indices(size))) * ELEMENT_BYTES)
        return array_of(run, _owned(run, list(container.items.values())[part]))
    if container is None:
        return None
    raise ScriptError("R126", f"{type_name(container)} cannot be sliced")


def _stepped(run: Budget, text: str, positions: range) -> str:
    """Give the bytes at many positions, a stretch at a time."""
    result = TextBuilder(run)
    for start in range(0, len(positions), _BYTES_AT_ONCE):
        part = positions[start : start + _BYTES_AT_ONCE]
        result.add(text[part.start : part.stop if part.stop >= 0 else None : part.step])
    return result.text()


def _owned(run: Budget, values: list[Value]) -> list[Value]:
    """Make the values ready for a new owner, in place."""
    for position, value in enumerate(values):
        if value.__class__ is Array:
            values[position] = value.share()
        if position % _CHUNK == _CHUNK - 1:
            run.charge(_CHUNK >> 4)
    return values


def set_slice(run: Budget, container: Value, first: Value, last: Value, step: Value, value: Value) -> Value:
    """Replace a slice and give the container to store: the same array, keyed anew from 0, or a new string.

    none becomes an array first. `value` is an array whose values are put in (a string for strings).
    """
    part = slice_of(first, last, step)
    if container is None:
        container = Array({}, 0)
    if container.__class__ is str:
        if value.__class__ is not str:
            raise ScriptError("R126", f"a slice of a string is replaced by a string, got {type_name(value)}")
        if part.step not in (None, 1):
            raise ScriptError("R126", "a slice of a string is replaced without a step")
        run.reserve(len(container) + len(value))
        start, stop, _ = part.indices(len(container))
        return container[:start] + value + container[max(start, stop) :]
    if container.__class__ is not Array:
        raise ScriptError("R126", f"{type_name(container)} cannot be sliced")
    if value.__class__ is not Array:
        raise ScriptError("R126", f"a slice of an array is replaced by an array, got {type_name(value)}")
    run.charge((len(container.items) + len(value.items)) >> 4)
    run.reserve((len(container.items) + len(value.items)) * ELEMENT_BYTES)
    values = list(unshare(run, container).values())
    inserted = _owned(run, list(value.items.values()))
    if part.step not in (None, 1):
        wanted = len(range(*part.indices(len(values))))
        if wanted != len(inserted):
            raise ScriptError("R126", f"this slice has {wanted} elements, and {len(inserted)} were given")
    values[part] = inserted
    _refill(run, container, values)
    return container


def unset_slice(run: Budget, container: Value, first: Value, last: Value, step: Value = None) -> bool:
    """Remove a slice of the array, whose keys count anew from 0, and say whether anything was removed."""
    part = slice_of(first, last, step)
    if container is None:
        return False
    if container.__class__ is not Array:
        raise ScriptError("R126", f"a slice of {type_name(container)} cannot be removed")
    run.charge(len(container.items) >> 4)
    values = list(unshare(run, container).values())
    before = len(values)
    del values[part]
    _refill(run, container, values)
    return len(values) < before


def _refill(run: Budget, array: Array, values: list[Value]) -> None:
    """Key the values anew from 0."""
    array.items = array_of(run, values).items
    array.next_index = len(values)

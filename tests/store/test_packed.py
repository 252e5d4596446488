"""Values as bytes: what comes back is what was put, whatever it holds."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hslpy.lang.values import Array, HslFunction, HslObject, Value
from hslpy.store.packed import pack, unpack

TEXTS = st.text(st.characters(max_codepoint=255))
SCALARS = st.none() | st.booleans() | st.floats() | TEXTS
KEYS = st.integers(-(2**53), 2**53) | TEXTS


def array(items: dict[int | str, Value], extra: int) -> Array:
    return Array(items, max([0, *(key + 1 for key in items if isinstance(key, int))]) + extra)


VALUES = st.recursive(
    SCALARS,
    lambda inner: (
        st.builds(array, st.dictionaries(KEYS, inner, max_size=5), st.integers(0, 2))
        | st.lists(inner, max_size=5).map(Array.of)
    ),
    max_leaves=20,
)


def same(one: Value, other: Value) -> bool:
    if isinstance(one, Array):
        return (
            isinstance(other, Array)
            and [(key, type(key)) for key in one.items] == [(key, type(key)) for key in other.items]
            and one.next_index == other.next_index
            and not other.shared
            and all(same(value, other.items[key]) for key, value in one.items.items())
        )
    if isinstance(one, float) and math.isnan(one):
        return isinstance(other, float) and math.isnan(other)
    return type(one) is type(other) and one == other and (one != 0 or str(one) == str(other))


@given(VALUES)
def test_values_come_back_as_they_were(value: Value) -> None:
    assert same(value, unpack(pack(value)))


@given(st.dictionaries(st.one_of(TEXTS), VALUES, max_size=4), st.sets(st.floats(allow_nan=False), max_size=4))
def test_maps_and_sets_come_back_as_they_were(pairs: dict[str, Value], keys: set[float]) -> None:
    given_map = HslObject("Map", None, ("string", "any", {key: (key, value) for key, value in pairs.items()}))
    back = unpack(pack(given_map))
    assert back.class_name == "Map" and back.host[:2] == ("string", "any") and list(back.host[2]) == list(pairs)
    assert all(key == name and same(pairs[name], value) for name, (key, value) in back.host[2].items())
    given_set = HslObject("Set", None, ("number", "none", {key: key for key in keys}))
    assert unpack(pack(given_set)).host == given_set.host


def test_functions_and_arrays_too_deep_are_refused() -> None:
    with pytest.raises(TypeError):
        pack(Array.of([HslFunction(lambda: None, "f", 0, 0)]))
    deep: Value = None
    for _ in range(100_000):
        deep = Array.of([deep])
    with pytest.raises(RecursionError):
        pack(deep)
    while deep is not None:  # from the outside: the interpreter's own unwinding would be as deep
        deep = deep.items.pop(0)

"""The classes Map and Set, and Iterator, which goes over them once. In: values. Out: objects.

A generator of a script is an Iterator, too (`lang/iterators.py`). Keys and values are of the types that the constructor
names. An object holds plain tuples and dicts, which `lang/memory.py` measures.
Source: the HSL manual, Map and Set.
"""

from __future__ import annotations

from typing import Any

from hslpy.errors import ScriptError
from hslpy.lang.declare import Effect, Topic
from hslpy.lang.growth import ELEMENT_BYTES
from hslpy.lang.iterators import CLASS as ITERATOR
from hslpy.lang.iterators import advance, iterator, numbered
from hslpy.lang.operators import add, add_into
from hslpy.lang.run import Run, describe
from hslpy.lang.values import Array, HslObject, Value, own, type_name

TOPIC = Topic("collections")

MAP, SET = "Map", "Set"
KEY_TYPES = ("string", "number", "boolean")
VALUE_TYPES = ("any", "none", "boolean", "number", "string", "array", "function", "object", "resource", "Regex")


_Held = tuple[str, str, dict[Value, Any]]  # types of keys and values; pairs by key, in a Set the keys themselves


def _held(this: HslObject) -> _Held:
    found: Any = this.host
    return found  # type: ignore[no-any-return]


def _named(name: str, what: str, types: tuple[str, ...]) -> str:
    if name not in types:
        raise ScriptError("R108", f"{what} wants one of {', '.join(types)}, got {describe(name)}")
    return name


def _check(value: Value, wanted: str, what: str) -> None:
    if wanted not in ("any", type_name(value)):
        raise ScriptError("R101", f"{what} wants {wanted}, got {describe(value)}")


def _put(call: Run, held: _Held, key: Value, entry: Any) -> bool:
    call.reserve(ELEMENT_BYTES + (len(key) if key.__class__ is str else 0))
    held[2][key] = entry
    return True


def _has(this: HslObject, method: str, key: Value) -> bool:
    held = _held(this)
    _check(key, held[0], f"{method} as its key")
    return key in held[2]


def _delete(this: HslObject, method: str, key: Value) -> bool:
    return _has(this, method, key) and _held(this)[2].pop(key, this) is not this


def _snapshot(call: Run, held: _Held) -> list[Any]:
    call.reserve(ELEMENT_BYTES * len(held[2]))
    call.charge(1 + (len(held[2]) >> 5))
    return list(held[2].values())


@TOPIC.builtin(
    "Map(keytype: string, valuetype: string) -> Map",
    effect=Effect.PURE,
    kind="class",
    examples=['Map("string", "number")->size()  // 0'],
)
def make_map(keytype: str, valuetype: str) -> HslObject:
    """Make an empty map. Other than an array it is an object: whoever has it sees what others put in.

    `keytype` is string, number or boolean; `valuetype` the name of any type, or any.
    """
    key = _named(keytype, "Map() for its keys", KEY_TYPES)
    return HslObject(MAP, None, (key, _named(valuetype, "Map() for its values", VALUE_TYPES), {}))


@TOPIC.builtin(
    "set(key: any, value: any) -> boolean",
    effect=Effect.READS,
    kind="method",
    owner=MAP,
    examples=['Map("string", "number")->set("a", 1)  // true'],
)
def map_set(call: Run, this: HslObject, key: Value, value: Value) -> bool:
    """Put the value under the key, in place of one that is there."""
    held = _held(this)
    _check(key, held[0], "Map->set() as its key")
    _check(value, held[1], "Map->set() as its value")
    return _put(call, held, key, (key, own(value)))


@TOPIC.builtin(
    "get(key: any) -> any",
    effect=Effect.READS,
    kind="method",
    owner=MAP,
    examples=['Map("string", "number")->get("a")  // none'],
)
def map_get(this: HslObject, key: Value) -> Value:
    """Give the value under the key, or none."""
    return own(_held(this)[2][key][1]) if _has(this, "Map->get()", key) else None


@TOPIC.builtin(
    "has(key: any) -> boolean",
    effect=Effect.READS,
    kind="method",
    owner=MAP,
    examples=['Map("number", "any")->has(1)  // false'],
)
def map_has(this: HslObject, key: Value) -> bool:
    """Say whether there is a value under the key."""
    return _has(this, "Map->has()", key)


@TOPIC.builtin(
    "delete(key: any) -> boolean",
    effect=Effect.READS,
    kind="method",
    owner=MAP,
    examples=['Map("number", "any")->delete(1)  // false'],
)
def map_delete(this: HslObject, key: Value) -> bool:
    """Remove the key with its value; say whether it was there."""
    return _delete(this, "Map->delete()", key)


@TOPIC.builtin(
    "merge(key: any, value: any) -> boolean",
    effect=Effect.READS,
    kind="method",
    owner=MAP,
    examples=['Map("string", "array")->merge("a", [1])  // true'],
)
def map_merge(call: Run, this: HslObject, key: Value, value: Value) -> bool:
    """Put what `+` makes of the value there and this one; where there is none, put this one."""
    held = _held(this)
    if not _has(this, "Map->merge()", key):
        return map_set(call, this, key, value)
    current = held[2][key][1]
    if current.__class__ is Array:
        add_into(call, current, value)
        return True
    value = add(call, current, value)
    _check(value, held[1], "Map->merge() as the sum")
    return _put(call, held, key, (key, value))


@TOPIC.builtin(
    "size() -> number", effect=Effect.READS, kind="method", owner=MAP, examples=['Map("string", "any")->size()  // 0']
)
def map_size(this: HslObject) -> float:
    """Give the number of keys."""
    return float(len(_held(this)[2]))


@TOPIC.builtin(
    "clear() -> none", effect=Effect.READS, kind="method", owner=MAP, examples=['Map("string", "any")->clear()  // none']
)
def map_clear(this: HslObject) -> None:
    """Remove all."""
    _held(this)[2].clear()


@TOPIC.builtin(
    "entries() -> Iterator",
    effect=Effect.READS,
    kind="method",
    owner=MAP,
    examples=['Map("string", "any")->entries()->next()  // none'],
)
def map_entries(call: Run, this: HslObject) -> HslObject:
    """Give an iterator over what there is now, in the order of the first `set`.

    `foreach` gives key and value, next() an array of the two.
    """
    return iterator([(key, own(value)) for key, value in _snapshot(call, _held(this))], is_paired=True)


@TOPIC.builtin(
    "Set(keytype: string) -> Set", effect=Effect.PURE, kind="class", examples=['Set("string")->add("a")  // true']
)
def make_set(keytype: str) -> HslObject:
    """Make an empty set: keys without values, each once. `keytype` is string, number or boolean."""
    return HslObject(SET, None, (_named(keytype, "Set() for its keys", KEY_TYPES), "none", {}))


@TOPIC.builtin(
    "add(key: any) -> boolean",
    effect=Effect.READS,
    kind="method",
    owner=SET,
    examples=['Set("number")->add(1)  // true'],
)
def set_add(call: Run, this: HslObject, key: Value) -> bool:
    """Put the key in; one that is there keeps its place."""
    held = _held(this)
    return _has(this, "Set->add()", key) or _put(call, held, key, key)


@TOPIC.builtin(
    "has(key: any) -> boolean",
    effect=Effect.READS,
    kind="method",
    owner=SET,
    examples=['Set("number")->has(1)  // false'],
)
def set_has(this: HslObject, key: Value) -> bool:
    """Say whether the key is there."""
    return _has(this, "Set->has()", key)


@TOPIC.builtin(
    "delete(key: any) -> boolean",
    effect=Effect.READS,
    kind="method",
    owner=SET,
    examples=['Set("number")->delete(1)  // false'],
)
def set_delete(this: HslObject, key: Value) -> bool:
    """Remove the key; say whether it was there."""
    return _delete(this, "Set->delete()", key)


@TOPIC.builtin("size() -> number", effect=Effect.READS, kind="method", owner=SET, examples=['Set("string")->size()  // 0'])
def set_size(this: HslObject) -> float:
    """Give the number of keys."""
    return float(len(_held(this)[2]))


@TOPIC.builtin(
    "clear() -> none", effect=Effect.READS, kind="method", owner=SET, examples=['Set("string")->clear()  // none']
)
def set_clear(this: HslObject) -> None:
    """Remove all."""
    _held(this)[2].clear()


@TOPIC.builtin(
    "values() -> Iterator",
    effect=Effect.READS,
    kind="method",
    owner=SET,
    examples=['Set("string")->values()->next()  // none'],
)
def set_values(call: Run, this: HslObject) -> HslObject:
    """Give an iterator over the keys that are there now, in the order of their coming."""
    return numbered(_snapshot(call, _held(this)))


@TOPIC.builtin(
    "next() -> any",
    effect=Effect.READS,
    kind="method",
    owner=ITERATOR,
    examples=['Map("string", "any")->entries()->next()  // none'],
)
def iterator_next(call: Run, this: HslObject) -> Value:
    """Give the next value, none at the end. What was given, `foreach` does not give again."""
    call.charge(1)
    return advance(this)

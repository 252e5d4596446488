"""The values of HSL and how they are held in Python. In: nothing. Out: the classes and their sharing rules.

| HSL | Python | | HSL | Python |
|---|---|---|---|---|
| none | None | | array | `Array` |
| boolean | bool | | function | `HslFunction`, or a `declare.Builtin` row bound to a run (`BoundBuiltin`) |
| number | float, always | | object | `HslObject` |
| string | str, a character a byte (U+0000 to U+00FF) | | resource, Regex | `Resource`, `Regex` |

Sharing of arrays. An `Array` is owned by the one place that holds it. Storing an array that another place holds
(a variable, an element, a property) goes through `share()`: both then use one dict until one of them writes, which
copies first (`unshare()`). Whoever only reads, an argument or a foreach snapshot included, need not share.
Source: the HSL manual, Types and Arrays.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from hslpy.lang.budget import Budget, charge_text

Value = Any  # None | bool | float | str | Array | HslFunction | BoundBuiltin | HslObject | Resource | Regex
Key = int | str

_MOST_NUMBERS = 4096
_NUMBERS = tuple(range(_MOST_NUMBERS))  # numbers made once: as keys of a list they cost as much as the dict itself


class Array:
    """An ordered map with value semantics.

    `items` maps int and str keys (already normalised) to values; `next_index` is the next automatic key;
    `shared` says that another Array uses the same dict, so that a write must `unshare()` first. Compiled code
    touches the three directly on its hot paths.
    """

    __slots__ = ("items", "next_index", "shared")

    def __init__(self, items: dict[Key, Value], next_index: int, shared: bool = False) -> None:
        self.items = items
        self.next_index = next_index
        self.shared = shared

    @classmethod
    def of(cls, values: Iterable[Value]) -> Array:
        """Give an array with keys 0, 1, ... The values must be the caller's own (fresh or `own`ed)."""
        if values.__class__ is list and len(values) <= _MOST_NUMBERS:
            items: dict[Key, Value] = dict(zip(_NUMBERS, values, strict=False))
        else:
            items = dict(enumerate(values))
        return cls(items, len(items))

    @classmethod
    def mapping(cls, items: dict[str, Value]) -> Array:
        """Give an array with these string keys; none of them may look like an integer."""
        return cls(items, 0)  # type: ignore[arg-type]

    def share(self) -> Array:
        """Give a second owner's array over the same dict, in constant time."""
        self.shared = True
        return Array(self.items, self.next_index, True)

    def unshare(self) -> dict[Key, Value]:
        """Give the dict for writing, copied first if it is shared; inner arrays become shared by the copy."""
        if self.shared:
            items = self.items.copy()
            for key, value in items.items():
                if value.__class__ is Array:
                    items[key] = value.share()
            self.items = items
            self.shared = False
        return self.items

    def set(self, key: Key, value: Value) -> None:
        """Write under a normalised key; `value` must be the caller's to give (`own` it first)."""
        self.unshare()[key] = value
        if key.__class__ is int and key >= self.next_index:
            self.next_index = key + 1

    def append(self, value: Value) -> None:
        self.unshare()[self.next_index] = value
        self.next_index += 1

    def values(self) -> Iterator[Value]:
        return iter(self.items.values())

    def __len__(self) -> int:
        return len(self.items)

    def __bool__(self) -> bool:
        return bool(self.items)

    def __eq__(self, other: object) -> bool:
        """Strict deep equality: same keys and values in the same order. Source: deviations.md."""
        return identical(None, self, other)

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"Array({self.items!r})"


def own(value: Value) -> Value:
    """Give `value` as a new owner may keep it: an array is shared, anything else is itself."""
    return value.share() if value.__class__ is Array else value


class HslFunction:
    """A function value of a script. `call` is the compiled Python function, taking the arguments in order.

    `required` and `maximum` bound the number of arguments (`maximum` None: variadic); `most` is `maximum` as a number.
    `name` is None for anonymous functions. `order` is 1 for a function that does nothing but say whether its first argument
    is less than its second, -1 for one that asks the other way round: what sorting needs no calls for.
    """

    __slots__ = ("call", "maximum", "most", "name", "order", "required")

    def __init__(
        self, call: Callable[..., Value], name: str | None, required: int, maximum: int | None, order: int = 0
    ) -> None:
        self.order = order
        self.most = sys.maxsize if maximum is None else maximum
        self.call = call
        self.name = name
        self.required = required
        self.maximum = maximum


class HslObject:
    """An instance of a class, scripted or builtin, with reference semantics.

    `class_name` is what `is_object` and error texts show; `fields` the properties (normalised keys);
    `class_info` belongs to whoever made the class (`compile` or a builtin class row).
    """

    __slots__ = ("class_info", "class_name", "fields", "host")

    def __init__(self, class_name: str, class_info: object = None, host: object = None) -> None:
        self.class_name = class_name
        self.class_info = class_info
        self.fields: dict[Key, Value] = {}
        self.host = host  # the Python object behind a builtin class


class Resource:
    """An opaque handle, such as a key: `kind` is its type's name for error texts, `host` the Python object."""

    __slots__ = ("host", "kind")

    def __init__(self, kind: str, host: object) -> None:
        self.kind = kind
        self.host = host


class Regex:
    """A regex literal or the result of `pcre_compile`: pattern and modifiers; matching is `lang.regex`'s."""

    __slots__ = ("modifiers", "pattern")

    def __init__(self, pattern: str, modifiers: str) -> None:
        self.pattern = pattern
        self.modifiers = modifiers


def type_name(value: Value) -> str:
    """Give the HSL name of a value's type, for error texts: `none`, `boolean`, `number`, `string`, `array`, ..."""
    if value is None:
        return "none"
    name = _TYPE_NAMES.get(value.__class__)
    return name or "function"


_TYPE_NAMES: dict[type, str] = {
    bool: "boolean",
    float: "number",
    str: "string",
    Array: "array",
    HslFunction: "function",
    HslObject: "object",
    Resource: "resource",
    Regex: "Regex",
}


def identical(run: Budget | None, left: Value, right: Value) -> bool:
    """Give `===`: same type and value; arrays by ordered keys and values, objects and functions by identity."""
    if left is right:
        return not (left.__class__ is float and left != left)
    kind = left.__class__
    if kind is not right.__class__:
        return False
    if kind is not Array:
        if kind is str and run is not None:
            charge_text(run, left, right)
        if kind is Regex:
            return bool(left.pattern == right.pattern and left.modifiers == right.modifiers)
        return bool(left == right)  # a float, str, bool, or a function value that knows its equals
    pending = [(left, right)]
    count = 0
    while pending:
        a, b = pending.pop()
        if a.items is b.items:
            continue
        if len(a.items) != len(b.items):
            return False
        for (key, x), (other_key, y) in zip(a.items.items(), b.items.items(), strict=True):
            count += 1
            if run is not None and count & 255 == 0:
                run.charge(64)
            if key != other_key or x.__class__ is not y.__class__:
                return False
            if x.__class__ is Array:
                pending.append((x, y))
            elif x != y and not (x.__class__ is Regex and identical(None, x, y)):
                return False
    return True

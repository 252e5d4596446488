"""Functions on arrays, in both generations of names. In: arrays, callbacks (which come first). Out: new arrays, values.

Arguments are never changed. Keys are kept unless a docstring says that they count anew.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from math import isnan
from operator import itemgetter

from hslpy.builtins.core.arguments import read_options
from hslpy.builtins.core.types import is_function
from hslpy.errors import ScriptError
from hslpy.lang.conversions import format_number, key_value, normalise_key, to_string, truth
from hslpy.lang.declare import Effect, Topic
from hslpy.lang.growth import ELEMENT_BYTES, TextBuilder, array_of
from hslpy.lang.operators import loose_equal
from hslpy.lang.run import Run
from hslpy.lang.values import Array, HslFunction, Key, Value, identical, own

TOPIC = Topic("arrays")

_OMITTED: Value = object()
_STRIDE = 512  # elements between two charges where an element costs about 100 ns


def _walk(call: Run, array: Array) -> Iterator[tuple[Key, Value]]:
    """Give the elements, charging the run."""
    for number, entry in enumerate(array.items.items(), 1):
        if number % _STRIDE == 0:
            call.charge(_STRIDE >> 2)
        yield entry


def _book(call: Run, count: int) -> None:
    if count > 64:
        call.reserve(count * ELEMENT_BYTES)


@TOPIC.builtin(
    "array_combine(keys: array, values: array, [default_value: any]) -> array",
    effect=Effect.PURE,
    examples=[
        'array_combine(["a", "b"], [1, 2])  // ["a" => 1, "b" => 2]',
        'array_combine(["a", "b"], [1], 0)  // ["a" => 1, "b" => 0]',
    ],
)
def array_combine(call: Run, keys: Array, values: Array, default_value: Value = None) -> Array:
    """Build an array from a list of keys and one of values; missing values are `default_value`, or none."""
    _book(call, len(keys.items))
    result = Array({}, 0)
    given = iter(values.items.values())
    for _, key in _walk(call, keys):
        result.set(normalise_key(key), own(next(given, default_value)))
    return result


@TOPIC.builtin(
    "array_every(callback: function, array: array) -> boolean",
    effect=Effect.PURE,
    examples=["array_every(is_number, [1, 2])  // true", 'array_every(is_number, [1, "2"])  // false'],
)
def array_every(call: Run, callback: Value, array: Array) -> bool:
    """Say whether `callback(value)` is true for every element."""
    return all(truth(call.invoke(callback, value)) for _, value in _walk(call, array))


@TOPIC.builtin(
    "array_filter(callback: function, array: array) -> array",
    effect=Effect.PURE,
    elements=["array[]"],
    examples=['array_filter(is_number, [0, "a", 2])  // [0 => 0, 2 => 2]'],
)
def array_filter(call: Run, callback: Value, array: Array) -> Array:
    """Keep the elements for which `callback(value)` is true."""
    _book(call, len(array.items))
    items = {key: own(value) for key, value in _walk(call, array) if truth(call.invoke(callback, value))}
    return Array(items, _next_index(call, items))


def _next_index(call: Run, items: dict[Key, Value]) -> int:
    index = 0
    for number, key in enumerate(items, 1):
        if number % _STRIDE == 0:
            call.charge(_STRIDE >> 3)
        if isinstance(key, int) and key >= index:
            index = key + 1
    return index


@TOPIC.builtin(
    "array_find(callback: function, array: array) -> any",
    effect=Effect.PURE,
    examples=['array_find(is_string, [1, "a", "b"])  // "a"', "array_find(is_string, [1])  // none"],
)
def array_find(call: Run, callback: Value, array: Array) -> Value:
    """Give the first element for which `callback(value)` is true, or none."""
    for _, value in _walk(call, array):
        if truth(call.invoke(callback, value)):
            return own(value)
    return None


@TOPIC.builtin(
    "array_includes(needle: any, array: array) -> boolean",
    effect=Effect.PURE,
    examples=[
        "array_includes(2, [1, 2])  // true",
        'array_includes("2", [1, 2])  // false',
        "array_includes(is_string, [1])  // false",
    ],
)
def array_includes(call: Run, needle: Value, array: Array) -> bool:
    """Say whether an element is strictly equal to `needle`, or makes `needle(value)` true if that is a function."""
    if is_function(needle):
        return any(truth(call.invoke(needle, value)) for _, value in _walk(call, array))
    return any(identical(call, needle, value) for _, value in _walk(call, array))


@TOPIC.builtin(
    "in_array(needle: any, array: array) -> boolean",
    effect=Effect.PURE,
    examples=['in_array("2", [1, 2])  // true', "in_array(is_string, [1])  // false"],
    deprecated="use array_includes(), which compares strictly",
)
def in_array(call: Run, needle: Value, array: Array) -> bool:
    """Say whether an element equals `needle` loosely, or makes `needle(value)` true if that is a function."""
    if is_function(needle):
        return any(truth(call.invoke(needle, value)) for _, value in _walk(call, array))
    return any(loose_equal(call, needle, value) for _, value in _walk(call, array))


def _join(call: Run, array: Array, separator: str) -> str:
    result = TextBuilder(call)
    first = True
    for key, value in _walk(call, array):
        if value.__class__ is not str:
            value = to_string(call, value, f'element "{key}"' if isinstance(key, str) else f"element {key}")
        if not first and separator:
            result.add(separator)
        first = False
        result.add(value)
    return result.text()


@TOPIC.builtin(
    "array_join(array: array, [separator: string]) -> string",
    effect=Effect.PURE,
    examples=['array_join(["a", 1, "b"], ", ")  // "a, 1, b"', 'array_join(["a", "b"])  // "ab"'],
)
def array_join(call: Run, array: Array, separator: str = "") -> str:
    """Give the elements as one text, with `separator` between them."""
    return _join(call, array, separator)


@TOPIC.builtin(
    "implode(glue: string, array: array) -> string",
    effect=Effect.PURE,
    examples=['implode("-", [1, 2])  // "1-2"'],
    deprecated="use array_join(), whose array comes first",
)
def implode(call: Run, glue: str, array: Array) -> str:
    """Give the elements as one text, with `glue` between them."""
    return _join(call, array, glue)


@TOPIC.builtin("array_keys(array: array) -> array", effect=Effect.PURE, examples=['array_keys(["a" => 1, 2])  // ["a", 0]'])
def array_keys(call: Run, array: Array) -> Array:
    """Give the keys in order, as a list."""
    _book(call, len(array.items))
    return array_of(call, [key_value(key) for key, _ in _walk(call, array)])


@TOPIC.builtin(
    "array_map(callback: function, array: array) -> array",
    effect=Effect.PURE,
    examples=['array_map(str_upper, ["k" => "a", "b"])  // ["k" => "A", 0 => "B"]'],
)
def array_map(call: Run, callback: Value, array: Array) -> Array:
    """Give the array with `callback(value)` in place of each value."""
    _book(call, len(array.items))
    items = {key: own(call.invoke(callback, value)) for key, value in _walk(call, array)}
    return Array(items, array.next_index)


@TOPIC.builtin(
    "array_random(array: array) -> array | none", effect=Effect.READS, examples=['array_random(["k" => "v"])  // ["k", "v"]']
)
def array_random(call: Run, array: Array) -> Array | None:
    """Give one element by chance, as [key, value]; none for an empty array."""
    if not array.items:
        return None
    call.charge(len(array.items) >> 6)
    chosen = call.random.randrange(len(array.items))
    for position, (key, value) in enumerate(array.items.items()):
        if position == chosen:
            return Array.of([key_value(key), own(value)])
    return None


def _numbers(call: Run, start: float, step: float, count: int) -> Array:
    call.reserve(count * ELEMENT_BYTES)
    items: dict[Key, Value] = {}
    for number in range(count):
        items[number] = start + number * step
        if number % _STRIDE == _STRIDE - 1:
            call.charge(_STRIDE >> 3)
    return Array(items, count)


def _count(function: str, start: float, stop: float, step: float) -> float:
    """Give how many steps fit between start and stop, not rounded."""
    if not (math.isfinite(start) and math.isfinite(stop) and math.isfinite(step)):
        raise ScriptError("R108", f"{function}() wants finite numbers")
    if step == 0:
        raise ScriptError("R108", f"{function}() wants `step` other than 0")
    steps = (stop - start) / step
    if steps > 1e15:
        raise ScriptError("R108", f"{function}() would give {format_number(steps)} numbers")
    return steps


@TOPIC.builtin(
    "array_range(start: number, stop: number, [step: number = 1]) -> array",
    effect=Effect.PURE,
    examples=["array_range(0, 3)  // [0, 1, 2]", "array_range(3, 0, -2)  // [3, 1]"],
)
def array_range(call: Run, start: float, stop: float, step: float = 1.0) -> Array:
    """Give the numbers from `start` up to but not including `stop`."""
    return _numbers(call, start, step, max(0, math.ceil(_count("array_range", start, stop, step))))


@TOPIC.builtin(
    "range(start: number, stop: number, [step: number = 1]) -> array",
    effect=Effect.PURE,
    examples=["range(0, 3)  // [0, 1, 2, 3]", "range(3, 0, -2)  // [3, 1]"],
    deprecated="use array_range(), which leaves `stop` out",
)
def range_(call: Run, start: float, stop: float, step: float = 1.0) -> Array:
    """Give the numbers from `start` up to and including `stop`."""
    return _numbers(call, start, step, max(0, math.floor(_count("range", start, stop, step)) + 1))


@TOPIC.builtin(
    "array_reduce(callback: function, array: array, [initial: any]) -> any",
    effect=Effect.PURE,
    examples=["array_reduce(pow, [2, 3, 2])  // 64", "array_reduce(pow, [], 1)  // 1"],
)
def array_reduce(call: Run, callback: Value, array: Array, initial: Value = _OMITTED) -> Value:
    """Fold from the left with `callback(carry, value)`, beginning with `initial` or else the first element.

    An empty array without `initial` is an error.
    """
    carry = own(initial)
    for _, value in _walk(call, array):
        carry = own(value) if carry is _OMITTED else call.invoke(callback, carry, value)
    if carry is _OMITTED:
        raise ScriptError("R108", "array_reduce() wants `initial` where the array is empty")
    return carry


@TOPIC.builtin(
    "array_reverse(array: array) -> array",
    effect=Effect.PURE,
    elements=["array[]"],
    examples=['array_reverse([1, "k" => 2, 3])  // [0 => 3, "k" => 2, 1 => 1]'],
)
def array_reverse(call: Run, array: Array) -> Array:
    """Give the elements in reverse order; number keys count anew from 0."""
    _book(call, len(array.items))
    call.charge(len(array.items) >> 4)
    return _keyed_anew(call, array, reversed(array.items))


def _keyed_anew(call: Run, array: Array, order: Iterable[Key]) -> Array:
    items: dict[Key, Value] = {}
    index = 0
    for number, key in enumerate(order, 1):
        if number % _STRIDE == 0:
            call.charge(_STRIDE >> 2)
        value = array.items[key]
        if key.__class__ is str:
            items[key] = own(value)
        else:
            items[index] = own(value)
            index += 1
    return Array(items, index)


@TOPIC.builtin(
    "array_shuffle(array: array) -> array", effect=Effect.READS, examples=["length(array_shuffle([1, 2, 3]))  // 3"]
)
def array_shuffle(call: Run, array: Array) -> Array:
    """Give the elements in an order made by chance; number keys count anew from 0."""
    order = list(array.items)
    _book(call, len(order))
    for last in range(len(order) - 1, 0, -1):
        if last % _STRIDE == 0:
            call.charge(_STRIDE)
        chosen = call.random.randrange(last + 1)
        order[last], order[chosen] = order[chosen], order[last]
    return _keyed_anew(call, array, order)


_ORDERED = ({str}, {float}, {int})  # kinds of values, or of keys, that Python orders as HSL does
_KEY, _VALUE = itemgetter(0), itemgetter(1)
_AT_ONCE = 10_000  # elements that Python sorts without a pause: some 5 ms


def _sorted(call: Run, keys: list[Key], less: Callable[[Key, Key], bool]) -> list[Key]:
    """Give the keys merge-sorted, equals in their old order. Any `less` ends it, and it may wait in between."""
    width = 1
    while width < len(keys):
        merged: list[Key] = []
        for start in range(0, len(keys), 2 * width):
            left, right = start, start + width
            middle, end = min(right, len(keys)), min(right + width, len(keys))
            while left < middle and right < end:
                call.charge(1)
                if less(keys[right], keys[left]):
                    merged.append(keys[right])
                    right += 1
                else:
                    merged.append(keys[left])
                    left += 1
            merged.extend(keys[left:middle])
            merged.extend(keys[right:end])
        call.charge(len(keys) >> 4)
        keys = merged
        width *= 2
    return keys


@TOPIC.builtin(
    "array_sort(callback: function, array: array, [options: array]) -> array",
    effect=Effect.PURE,
    elements=["array[]"],
    examples=[
        "array_sort(function ($a, $b) { return $a < $b; }, [2, 3, 1])  // [2 => 1, 0 => 2, 1 => 3]",
        'array_sort(function ($a, $b) { return $a < $b; }, ["b" => 1, "a" => 2], ["keys" => true])  // ["a" => 2, "b" => 1]',
    ],
)
def array_sort(call: Run, callback: Value, array: Array, options: Array | None = None) -> Array:
    """Sort by `callback(a, b)`, which says whether a is less than b; keys stay with their values.

    Option `keys`: compare the keys instead of the values.
    """
    by_key = read_options("array_sort", options, {"keys": False})["keys"]
    _book(call, 2 * len(array.items))
    values = array.items
    if callback.__class__ is HslFunction and callback.order and len(values) <= _AT_ONCE:
        kinds = set(map(type, values if by_key else values.values()))
        # The sum is not a number where a value is none, which sorts nowhere; two infinities take the long way for it.
        if kinds in _ORDERED and not (kinds == {float} and isnan(sum(values.values()))):
            call.charge(len(values))
            pairs = sorted(values.items(), key=_KEY if by_key else _VALUE, reverse=callback.order < 0)
            ordered = {key: own(value) for key, value in pairs} if by_key else dict(pairs)
            return Array(ordered, array.next_index)

    def less(a: Key, b: Key) -> bool:
        if by_key:
            return truth(call.invoke(callback, key_value(a), key_value(b)))
        return truth(call.invoke(callback, values[a], values[b]))

    items: dict[Key, Value] = {}
    for number, key in enumerate(_sorted(call, list(values), less), 1):
        items[key] = own(values[key])
        if number % _STRIDE == 0:
            call.charge(_STRIDE >> 2)
    return Array(items, array.next_index)


@TOPIC.builtin(
    "array_unique(array: array) -> array",
    effect=Effect.PURE,
    elements=["array[]"],
    examples=['array_unique([1, "1", 1, 2])  // [0 => 1, 1 => "1", 3 => 2]'],
)
def array_unique(call: Run, array: Array) -> Array:
    """Drop elements strictly equal to an earlier one; the first keeps its key."""
    _book(call, len(array.items))
    items: dict[Key, Value] = {}
    seen: dict[type, set[Value]] = {kind: set() for kind in _HASHED}
    others: list[Value] = []
    for key, value in _walk(call, array):
        if value.__class__ in _HASHED:
            alike = seen[value.__class__]
            if value in alike:
                continue
            alike.add(value)
        else:
            call.charge(1 + (len(others) >> 3))
            if any(identical(call, value, other) for other in others):
                continue
            others.append(value)
        items[key] = own(value)
    return Array(items, _next_index(call, items))


_HASHED = (str, float, bool, type(None))

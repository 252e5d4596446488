"""Conversions between types, tests of types, and lengths. In: any value. Out: values."""

from __future__ import annotations

from hslpy.lang import conversions
from hslpy.lang.declare import Effect, Topic
from hslpy.lang.run import Run
from hslpy.lang.values import Array, HslObject, Regex, Resource, Value

TOPIC = Topic("types")


@TOPIC.builtin(
    "boolean(value: any) -> boolean",
    effect=Effect.PURE,
    examples=['boolean("0")  // true', "boolean([])  // false"],
)
def boolean(value: Value) -> bool:
    """Give the truthiness of a value: none, false, 0, "" and [] are false, all else is true."""
    return conversions.truth(value)


@TOPIC.builtin(
    "number(value: any) -> number",
    effect=Effect.PURE,
    examples=['number("1.50")  // 1.5', 'number("0xff")  // 255', 'number("12 apples")  // 0', "number(none)  // 0"],
    inline={"number": "value"},
)
def number(value: Value) -> float:
    """Convert to a number: strings that are a decimal or 0x number as a whole, booleans as 0 and 1; all else is 0."""
    return conversions.to_number(value)


@TOPIC.builtin(
    "string(value: any) -> string",
    effect=Effect.PURE,
    examples=['string(1.0)  // "1"', 'string([1, "a"])  // "[0=>1,1=>\\"a\\"]"', 'string(none)  // "none"'],
)
def string(call: Run, value: Value) -> str:
    """Convert to text, as `echo` shows it."""
    return conversions.to_echo(call, value)


@TOPIC.builtin(
    "is_array(value: any) -> boolean",
    effect=Effect.PURE,
    examples=["is_array([])  // true"],
    inline={"": "value.__class__ is Array"},
)
def is_array(value: Value) -> bool:
    """Say whether the value is an array."""
    return value.__class__ is Array


@TOPIC.builtin(
    "is_boolean(value: any) -> boolean",
    effect=Effect.PURE,
    examples=["is_boolean(false)  // true", "is_boolean(0)  // false"],
    inline={"": "value.__class__ is bool"},
)
def is_boolean(value: Value) -> bool:
    """Say whether the value is true or false."""
    return value.__class__ is bool


@TOPIC.builtin("is_function(value: any) -> boolean", effect=Effect.PURE, examples=["is_function(is_array)  // true"])
def is_function(value: Value) -> bool:
    """Say whether the value is a function."""
    return value is not None and value.__class__ not in _NO_FUNCTIONS


_NO_FUNCTIONS = (bool, float, str, Array, HslObject, Resource, Regex)


@TOPIC.builtin(
    "is_number(value: any) -> boolean",
    effect=Effect.PURE,
    examples=["is_number(1)  // true", "is_number(true)  // false"],
    inline={"": "value.__class__ is float"},
)
def is_number(value: Value) -> bool:
    """Say whether the value is a number; booleans and digits in a string are not."""
    return value.__class__ is float


@TOPIC.builtin("is_object(value: any) -> boolean", effect=Effect.PURE, examples=["is_object([])  // false"])
def is_object(value: Value) -> bool:
    """Say whether the value is an object."""
    return value.__class__ is HslObject


@TOPIC.builtin(
    "is_string(value: any) -> boolean",
    effect=Effect.PURE,
    examples=['is_string("1")  // true'],
    inline={"": "value.__class__ is str"},
)
def is_string(value: Value) -> bool:
    """Say whether the value is a string."""
    return value.__class__ is str


@TOPIC.builtin(
    "length(value: any) -> number | none",
    effect=Effect.PURE,
    examples=['length("abc")  // 3', "length([1, 2])  // 2", "length(5)  // none"],
    whole=True,
    inline={"string": "float(len(value))", "array": "float(len(value.items))"},
)
def length(value: Value) -> float | None:
    """Give the number of elements of an array or of bytes of a string, 0 for none, and none for anything else.

    Published scripts count up to the length of a list that may be missing.
    """
    if value.__class__ is str:
        return float(len(value))
    if value.__class__ is Array:
        return float(len(value.items))
    return 0.0 if value is None else None


@TOPIC.builtin(
    "count(array: array) -> number",
    effect=Effect.PURE,
    examples=["count([1, 2, 3])  // 3"],
    deprecated="use length()",
    whole=True,
    inline={"": "float(len(array.items))"},
)
def count(array: Array) -> float:
    """Give the number of elements."""
    return float(len(array.items))

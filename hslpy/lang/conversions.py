"""Conversions between the types of values: truth, text, numbers and array keys.

In: values, and the run's `Budget` where text may grow. Out: bool, str, float, keys. Knows no syntax and no mail.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator

from hslpy.errors import ScriptError
from hslpy.lang.budget import Budget
from hslpy.lang.growth import TextBuilder
from hslpy.lang.values import Array, HslFunction, HslObject, Key, Regex, Resource, Value, type_name

_DECIMAL = re.compile(r"[+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?")
_HEXADECIMAL = re.compile(r"([+-]?)0[xX]([0-9a-fA-F]+)")
_INTEGER_TEXT = re.compile(r"0|-?[1-9][0-9]{0,15}")  # 16 digits hold 2**53 - 1
EXACT_INTEGERS = 2**53 - 1  # the largest integer up to which all are exact. Source: HSL manual, Number
_LONGEST_NUMBER = 65_536  # characters; a longer text is taken for no number, lest reading it keep others waiting
IN_FULL_BELOW = 1e21  # integers below are printed in full. Source: deviations.md
_STRETCH = 1 << 18  # characters handled between two looks at the clock
WORTH_RESERVING = 1024  # bytes; smaller texts are left to the limit on steps


def truth(value: Value) -> bool:
    """Give the truthiness: "0" is true, none, "", 0 and [] are not. Source: the HSL manual, Truth."""
    if value is None:
        return False
    kind = value.__class__
    if kind is bool or kind is str or kind is float or kind is Array:
        return bool(value)
    return True


def to_number(value: Value) -> float:
    """Give `number(value)`: a decimal or 0x string as a whole, booleans as 0 and 1, else 0.

    Source: the HSL manual, number(). Exponents are taken, since numbers print with them.
    """
    kind = value.__class__
    if kind is float:
        return value  # type: ignore[no-any-return]
    if kind is str:
        # the usual cases without a regex; float() would take `1_0` and `inf`, int() `0x_1`
        if len(value) <= 16 and value.isalnum():
            if value.isdecimal():
                return float(value)
            if value[:2] == "0x":
                try:
                    return float(int(value, 16))
                except ValueError:
                    return 0.0
        elif len(value) > _LONGEST_NUMBER:
            return 0.0
        if _DECIMAL.fullmatch(value):
            return float(value)
        found = _HEXADECIMAL.fullmatch(value)
        if found is None:
            return 0.0
        try:
            number = float(int(found[2], 16))
        except OverflowError:
            number = math.inf
        return -number if found[1] == "-" else number
    if kind is bool:
        return 1.0 if value else 0.0
    return 0.0


def format_number(number: float) -> str:
    """Give the text of a number: integers below 1e21 in full, else the shortest text that reads back the same."""
    if -IN_FULL_BELOW < number < IN_FULL_BELOW and number == int(number):
        return str(int(number))
    return repr(number)


def to_string(run: Budget | None, value: Value, name: str | None = None) -> str:
    """Give the text used in concatenation and interpolation. `name` is what error texts call the value.

    Raises ScriptError R121 for none. Source: the HSL manual, Types; deviations.md.
    """
    kind = value.__class__
    if kind is str:
        return value  # type: ignore[no-any-return]
    if kind is float:
        return format_number(value)
    if value is None:
        raise ScriptError(
            "R121", f"{name or 'the value'} is none, and text was wanted", hint='use `?? ""` where nothing is meant'
        )
    return to_echo(run, value)


def to_echo(run: Budget | None, value: Value) -> str:
    """Give the text that `echo` prints: that of concatenation, and `none` for none."""
    kind = value.__class__
    if kind is str:
        return value  # type: ignore[no-any-return]
    if kind is Array:
        return array_text(run, value)
    return _plain_text(value)


def _plain_text(value: Value) -> str:
    """Give the text of anything but strings and arrays."""
    kind = value.__class__
    if kind is float:
        return format_number(value)
    if value is None:
        return "none"
    if kind is bool:
        return "true" if value else "false"
    if kind is Regex:
        return f"#/{value.pattern}/{value.modifiers}"
    if kind is HslObject:
        return f"<object {value.class_name}>"
    if kind is Resource:
        return f"<resource {value.kind}>"
    name = value.name if kind is HslFunction else getattr(value, "name", None)
    return f"<function {name}>" if name else "<function>"


def quote(text: str) -> str:
    """Give a string as it stands inside an echoed array. Source: deviations.md."""
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def array_text(run: Budget | None, array: Array) -> str:
    """Give `[0=>"a","k"=>1]`, however deep; work and growth are booked as it goes."""
    text = TextBuilder(run)
    text.add("[")
    levels: list[Iterator[tuple[Key, Value]]] = [iter(array.items.items())]
    fresh = True  # nothing written yet on this level
    while levels:
        entry = next(levels[-1], None)
        if entry is None:
            levels.pop()
            text.add("]")
            fresh = False
            continue
        key, value = entry
        head = ("" if fresh else ",") + (quote(key) if isinstance(key, str) else str(key)) + "=>"
        fresh = False
        if value.__class__ is Array:
            text.add(head + "[")
            levels.append(iter(value.items.items()))
            fresh = True
        else:
            if value.__class__ is not str:
                text.add(head + _plain_text(value))
            elif len(value) <= _STRETCH:
                text.add(head + quote(value))
            else:
                text.add(head + '"')
                for start in range(0, len(value), _STRETCH):
                    text.add(quote(value[start : start + _STRETCH])[1:-1])
                text.add('"')
    return text.text()


def key_of_text(text: str) -> Key:
    """Give the key a string stands for: canonical integers that are exact as numbers become numbers."""
    if text[:1] > "9" or len(text) > 17 or not text or not _INTEGER_TEXT.fullmatch(text):
        return text
    number = int(text)
    return number if -EXACT_INTEGERS <= number <= EXACT_INTEGERS else text


def normalise_key(key: Value) -> Key:
    """Give the key as arrays hold it: booleans and numbers as integers, canonical integer texts too.

    Numbers are truncated, never wrapped at 32 bits. Raises ScriptError R125 for anything but string, number, boolean.
    Source: the HSL manual, Arrays.
    """
    kind = key.__class__
    if kind is str:
        return key_of_text(key)
    if kind is float:
        try:
            return int(key)
        except (OverflowError, ValueError):
            raise ScriptError("R125", f"an array key must be a finite number, got {format_number(key)}") from None
    if kind is bool:
        return 1 if key else 0
    raise ScriptError("R125", f"an array key must be a string, number or boolean, got {type_name(key)}")


def key_value(key: Key) -> Value:
    """Give a key as the value scripts see: a string or a number."""
    return key if key.__class__ is str else float(key)


def to_integer(number: float, what: str) -> int:
    """Truncate a number towards zero. Raises ScriptError R108, naming `what`, for infinities and nan."""
    try:
        return int(number)
    except (OverflowError, ValueError):
        raise ScriptError("R108", f"{what} must be a finite number, got {format_number(number)}") from None

"""Values as HSL writes them, and what parts two values. In: values. Out: one line of text each.

Unlike what `echo` prints, strings are quoted and lists have no keys, so that the text is HSL again.
"""

from __future__ import annotations

import re

from hslpy.lang.conversions import format_number, to_echo
from hslpy.lang.values import Array, Key, Value, identical, type_name

LONGEST = 2_000  # letters of a value shown; beyond that a reader is not helped
DEEPEST = 20  # arrays in arrays shown

_ESCAPES = {"\\": "\\\\", '"': '\\"', "\n": "\\n", "\r": "\\r", "\t": "\\t"}
_STARTS_NAME = re.compile(r"\$(?=[A-Za-z_{])")


def notation(value: Value, longest: int = LONGEST) -> str:
    """Give a value in HSL's notation, cut at `longest` letters. Bytes that are UTF-8 are shown as letters."""
    text = _notation(value, 0, longest)
    return text if len(text) <= longest else text[:longest] + "..."


def quoted(text: str) -> str:
    """Give a string as a literal."""
    escaped = "".join(_escaped(letter) for letter in readable(text))
    return '"' + _STARTS_NAME.sub(r"\\$", escaped) + '"'


def readable(text: str) -> str:
    """Give a script's text as letters where its bytes are UTF-8, else as it is."""
    try:
        return text.encode("latin-1").decode("utf-8")
    except UnicodeError:
        return text


def _escaped(letter: str) -> str:
    if letter in _ESCAPES:
        return _ESCAPES[letter]
    if letter.isprintable():
        return letter
    return "".join(f"\\x{byte:02x}" for byte in letter.encode("latin-1" if ord(letter) < 256 else "utf-8"))


def _notation(value: Value, depth: int, room: int) -> str:
    kind = value.__class__
    if kind is str:
        return quoted(value[:room])
    if kind is float:
        return format_number(value)
    if kind is not Array:
        return to_echo(None, value)
    if depth >= DEEPEST:
        return "[...]"
    is_list = list(value.items) == list(range(len(value.items)))
    parts: list[str] = []
    for key, inner in value.items.items():
        if room <= 0:
            parts.append("...")
            break
        head = "" if is_list else f"{quoted(key) if isinstance(key, str) else key} => "
        parts.append(head + _notation(inner, depth + 1, room))
        room -= len(parts[-1]) + 2
    return f"[{', '.join(parts)}]"


def difference(actual: Value, expected: Value) -> list[str]:
    """Give lines that say where two values differ, none when they are identical (`===`)."""
    if identical(None, actual, expected):
        return []
    place, actual, expected = _innermost("", actual, expected)
    at = f" at {place}" if place else ""
    lines = [f"expected{at}: {_typed(expected, actual)}", f"     got{at}: {_typed(actual, expected)}"]
    if isinstance(actual, str) and isinstance(expected, str) and min(len(actual), len(expected)) > 20:
        first = next((i for i, (a, b) in enumerate(zip(actual, expected, strict=False)) if a != b), None)
        lines.append(f"they differ from byte {min(len(actual), len(expected)) if first is None else first} on")
    return lines


def _typed(value: Value, other: Value) -> str:
    """Give a value, with its type where the texts alone would look alike."""
    text = notation(value)
    return f"{text} ({type_name(value)})" if type_name(value) != type_name(other) else text


def _innermost(place: str, actual: Value, expected: Value) -> tuple[str, Value, Value]:
    """Give the first place at which two arrays of the same keys differ, else the values themselves."""
    while actual.__class__ is Array and expected.__class__ is Array and list(actual.items) == list(expected.items):
        key: Key = next(k for k in actual.items if not identical(None, actual.items[k], expected.items[k]))
        actual, expected = actual.items[key], expected.items[key]
        place += f"[{quoted(key) if isinstance(key, str) else key}]"
    return place, actual, expected

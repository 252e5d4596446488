"""Values as logs and error texts show them: short, on one line, and without what should stay secret.

In: values of a run that has failed. Out: text of bounded length, at a bounded cost: nothing is converted whole.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from itertools import islice

from hslpy.lang.conversions import format_number
from hslpy.lang.values import Array, HslFunction, HslObject, Key, Regex, Resource, Value, type_name

_LONGEST = 40  # bytes shown of a string
_MOST_ARGUMENTS = 8
_MOST_ELEMENTS = 3
_SECRET = re.compile(r"pass(?!ed|es|ing)|secret|token|api_?key|private_?key|credential|sasl(?!_?user)", re.IGNORECASE)
_ESCAPES = {"\\": "\\\\", '"': '\\"', "\n": "\\n", "\r": "\\r", "\t": "\\t"}
HIDDEN = "***"


def arguments(values: Iterable[tuple[str, Value]], conceal: bool) -> str:
    """Give the arguments of a call by parameter name. With `conceal` nothing but the kinds of values is told."""
    found = list(islice(values, _MOST_ARGUMENTS + 1))
    parts = [_argument(name, value, conceal) for name, value in found[:_MOST_ARGUMENTS]]
    return ", ".join([*parts, "..."] if len(found) > _MOST_ARGUMENTS else parts)


def _argument(name: str, value: Value, conceal: bool) -> str:
    if conceal:
        return type_name(value)
    return HIDDEN if _SECRET.search(name) and _holds_text(value) else shortened(value)


def _holds_text(value: Value) -> bool:
    return value is not None and value.__class__ is not bool


def shortened(value: Value, within: bool = False) -> str:
    """Give a value as HSL would write it, cut short; an array within another only says how much it holds."""
    kind = value.__class__
    if kind is str:
        return _text(value)
    if kind is float:
        return format_number(value)
    if kind is bool:
        return "true" if value else "false"
    if value is None:
        return "none"
    if kind is Array:
        return _array(value, within)
    if kind is HslObject:
        return f"<{value.class_name}>"
    if kind is HslFunction:
        return value.name or "<function>"
    if kind is Regex:
        return f"#/{value.pattern[:_LONGEST]}{'' if len(value.pattern) <= _LONGEST else '...'}/{value.modifiers}"
    if kind is Resource:
        return f"<{value.kind}>"
    return str(getattr(value, "name", None) or "<function>")


def _text(text: str) -> str:
    shown = "".join(_ESCAPES.get(letter, letter) for letter in text[:_LONGEST])
    return f'"{shown}"' if len(text) <= _LONGEST else f'"{shown}..." ({len(text):,} bytes)'


def _array(array: Array, within: bool) -> str:
    size = len(array.items)
    if within and size:
        return f"[{size:,} element{'s' if size > 1 else ''}]"
    parts: list[str] = []
    for position, (key, value) in enumerate(islice(array.items.items(), _MOST_ELEMENTS)):
        secret = key.__class__ is str and _SECRET.search(str(key)) and _holds_text(value)
        shown = HIDDEN if secret else shortened(value, True)
        parts.append(shown if key == position else f"{_key(key)} => {shown}")
    if size > _MOST_ELEMENTS:
        parts.append(f"... {size - _MOST_ELEMENTS:,} more")
    return f"[{', '.join(parts)}]"


def _key(key: Key) -> str:
    return _text(key) if isinstance(key, str) else str(key)


def without_secrets(text: str, secrets: Iterable[str]) -> str:
    """Give a text with `***` for each secret in it; a short one is only taken for itself where quotes stand around it."""
    for secret in sorted(filter(None, secrets), key=len, reverse=True):
        for form in {secret, "".join(_ESCAPES.get(letter, letter) for letter in secret)}:
            text = text.replace(form, HIDDEN) if len(form) > 3 else text.replace(f'"{form}"', f'"{HIDDEN}"')
    return text

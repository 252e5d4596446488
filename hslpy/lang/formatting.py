"""The `%` operator on strings: `"%[argument][[fill]align][width][.precision]type" % [values]`.

In: a template, an array of values, the run's `Budget`. Out: text, or ScriptError R127 that names the placeholder.
Source: the HSL manual, Operators, Format.
"""

from __future__ import annotations

import math
import re

from hslpy.errors import ScriptError
from hslpy.lang.budget import Budget
from hslpy.lang.conversions import format_number, to_number, to_string
from hslpy.lang.values import Array, Value, type_name

_PLACEHOLDER = re.compile(r"%(?:(%)|(?:\[([0-9]{1,9})\])?(?:'(.))?([<>^=])?([0-9]{1,9})?(?:\.([0-9]{1,9}))?(.))", re.DOTALL)
_MOST_DECIMALS = 1100  # beyond, a double has only zeros


def format_percent(run: Budget, template: str, values: Value) -> str:
    """Give the template with its placeholders filled in."""
    if values.__class__ is not Array:
        raise ScriptError("R127", f"formatting wants an array on the right of `%`, got {type_name(values)}")
    arguments = list(values.items.values())
    parts: list[str] = []
    position = following = count = 0
    size = len(template)
    while True:
        at = template.find("%", position)
        if at < 0:
            break
        found = _PLACEHOLDER.match(template, at)
        if found is None:
            raise ScriptError("R127", f"the placeholder `{template[at : at + 8]}` has no type", hint="write `%%` for a `%`")
        parts.append(template[position:at])
        position = found.end()
        count += 1
        if count & 255 == 0:
            run.charge(512)
        if found[1]:
            parts.append("%")
            continue
        if found[2]:
            following = int(found[2])
        if following >= len(arguments):
            raise ScriptError(
                "R127", f"the placeholder `{found[0]}` wants value {following}, and {len(arguments)} were given"
            )
        width = int(found[5] or 0)
        size += width
        run.reserve_text(width)
        text = _filled(run, found, arguments[following], width)
        following += 1
        size += len(text)
        parts.append(text)
    parts.append(template[position:])
    run.reserve(size)
    return "".join(parts)


def _filled(run: Budget, found: re.Match[str], value: Value, width: int) -> str:
    fill, align, kind = found[3] or " ", found[4], found[7]
    precision = int(found[6]) if found[6] else None
    if kind == "s":
        text = to_string(run, value, f"the value of `{found[0]}`")
        return _padded(text if precision is None else text[:precision], fill, align or "<", width)
    if kind not in ("f", "x", "c", "b"):
        raise ScriptError("R127", f"the placeholder `{found[0]}` has an unknown type", hint="types are s, f, x, c and b")
    if value.__class__ not in (float, bool, str):
        raise ScriptError("R127", f"the placeholder `{found[0]}` wants a number, got {type_name(value)}")
    number = to_number(value)
    if kind == "f":
        return _padded(_decimal(number, precision), fill, align or ">", width)
    if math.isinf(number) or math.isnan(number):
        raise ScriptError("R127", f"the placeholder `{found[0]}` wants a finite number, got {format_number(number)}")
    whole = int(number)
    if kind == "c":
        if not 0 <= whole <= 255:
            raise ScriptError("R127", f"the placeholder `{found[0]}` wants a number from 0 to 255, got {whole}")
        return _padded(chr(whole), fill, align or "<", width)
    return _padded(format(whole, kind), fill, align or ">", width)


def _decimal(number: float, precision: int | None) -> str:
    if precision is None or math.isinf(number) or math.isnan(number):
        return format_number(number)
    text = format(number, f".{min(precision, _MOST_DECIMALS)}f")
    return text[1:] if text.startswith("-") and not text.strip("-0.") else text


def _padded(text: str, fill: str, align: str, width: int) -> str:
    missing = width - len(text)
    if missing <= 0:
        return text
    if align == "<":
        return text + fill * missing
    if align == "^":
        return fill * (missing // 2) + text + fill * (missing - missing // 2)
    if align == "=" and text[:1] in ("-", "+"):
        return text[0] + fill * missing + text[1:]
    return fill * missing + text

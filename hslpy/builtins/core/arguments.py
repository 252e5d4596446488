"""What core builtins share: option arrays, whole numbers, bytes, and work done a stretch at a time.

In: arguments of builtins and the run. Out: plain Python values, or ScriptError R108, R301, R302 naming the function.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from hslpy.errors import ScriptError
from hslpy.lang.conversions import format_number, truth
from hslpy.lang.diagnostics import suggest
from hslpy.lang.run import Run
from hslpy.lang.values import Array, Value, type_name

STRETCH = 1 << 18  # bytes handled between two looks at the clock: C functions do 0.3 to 5 GB a second


def whole(value: float, what: str) -> int:
    """Give a number truncated to an integer. `what` names function and parameter, as in "chr() wants `number`"."""
    try:
        return int(value)
    except (OverflowError, ValueError):
        raise ScriptError("R108", f"{what} as a finite number, got {format_number(value)}") from None


def read_options(function: str, options: Array | None, known: Mapping[str, Any]) -> dict[str, Any]:
    """Give all options by name, `known` giving their defaults. A boolean default takes any value for its truth.

    Raises ScriptError R301 for an unknown option, R302 for a value of another type than the default's.
    """
    found = dict(known)
    if options is None:
        return found
    for key, value in options.items.items():
        if key not in known:
            raise unknown_option(function, str(key), known)
        default = known[key]  # type: ignore[index]
        if default.__class__ is bool:
            found[key] = truth(value)  # type: ignore[index]
        elif default is not None and value.__class__ is not default.__class__:
            raise wrong_option(function, str(key), (type_name(default),), value)
        else:
            found[key] = value  # type: ignore[index]
    return found


def unknown_option(function: str, name: str, known: Iterable[str]) -> ScriptError:
    """Give the error of an option that the function does not take, R301; `known` are those that it does."""
    names = list(known)
    hint = suggest(name, names) or (f"it takes {', '.join(f'`{one}`' for one in names)}" if names else "it takes no options")
    return ScriptError("R301", f"unknown option `{name}` of {_shown(function)}", hint=hint)


def unknown_word(function: str, what: str, word: str, known: Iterable[str], code: str = "R302") -> ScriptError:
    """Give the error of a word that is none of those that the function knows; `what` says what it is to be."""
    names = list(known)
    hint = suggest(word, names) or f"it may be {', '.join(names)}"
    return ScriptError(code, f'{_shown(function)} knows no {what} "{word[:40]}"', hint=hint)


def wrong_option(function: str, name: str, types: Iterable[str], value: Value) -> ScriptError:
    """Give the error of an option whose value is of none of these types, R302."""
    wanted, got = tuple(types), type_name(value)
    hint = _CONVERSIONS.get((wanted[0], got)) if len(wanted) == 1 else None
    return ScriptError("R302", f"option `{name}` of {_shown(function)} wants {' or '.join(wanted)}, got {got}", hint=hint)


_CONVERSIONS = {  # by what an option wants and what it got
    ("array", "string"): "one element is a list too: `[$value]`",
    ("number", "string"): "`number()` makes one of a text",
    ("string", "number"): "`string()` makes one of a number",
}


def _shown(function: str) -> str:
    return function if " " in function or function.endswith(("`", ")")) else f"{function}()"


def as_bytes(text: str) -> bytes:
    """Give the bytes of a string."""
    return text.encode("latin-1")


def as_text(data: bytes) -> str:
    """Give bytes as a string."""
    return data.decode("latin-1")


def from_utf8(text: str) -> str | None:
    """Give a byte string decoded, or None when it is not valid UTF-8. For what is surely short."""
    if text.isascii():
        return text
    try:
        return text.encode("latin-1").decode("utf-8")
    except UnicodeDecodeError:
        return None


def to_utf8(text: str) -> str:
    """Give decoded text as a byte string; what cannot be encoded becomes U+FFFD."""
    return text if text.isascii() else text.encode("utf-8", "replace").decode("latin-1")


def stretches(call: Run, text: str, size: int = STRETCH) -> Iterator[str]:
    """Give the text in pieces of `size` characters, charging the run for each."""
    if len(text) <= size:
        call.charge(1 + (len(text) >> 10))
        yield text
        return
    for start in range(0, len(text), size):
        call.charge(1 + (size >> 10))
        call.pause()
        yield text[start : start + size]


def in_stretches(call: Run, text: str, function: Callable[[str], str], size: int = STRETCH) -> str:
    """Give `function` of the text, applied a stretch at a time: it must map each part by itself."""
    if len(text) <= size:
        if len(text) > 1024:
            call.reserve(len(text))
            call.charge(1 + (len(text) >> 10))
        return function(text)
    call.reserve(len(text))
    return "".join([function(part) for part in stretches(call, text, size)])


def find_from(call: Run, text: str, wanted: str, start: int) -> int:
    """Give the position of `wanted` in `text` at or after `start`, or -1, searching a stretch at a time."""
    if len(text) - start <= STRETCH:
        return text.find(wanted, start)
    overlap = len(wanted) - 1
    while start <= len(text):
        at = text.find(wanted, start, start + STRETCH + overlap)
        if at >= 0:
            return at
        call.charge(STRETCH >> 10)
        start += STRETCH
    return -1


def callback_error(function: str, wanted: str, got: Value) -> ScriptError:
    """Give the error of a callback that returned something of a wrong type."""
    return ScriptError("R108", f"the callback of {function}() must return {wanted}, got {type_name(got)}")

"""JSON from and to values. In: strings of UTF-8, values. Out: values, JSON text, or none where there is no answer.

Short texts go through the standard library's scanner, long ones through one that pauses; both accept the same texts.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator
from json.decoder import scanstring  # type: ignore[attr-defined]
from json.encoder import encode_basestring, encode_basestring_ascii
from typing import Any

from hslpy.builtins.core.arguments import from_utf8, read_options, to_utf8
from hslpy.lang.conversions import format_number, key_of_text
from hslpy.lang.declare import Effect, Topic
from hslpy.lang.growth import Growth, TextBuilder, decode_utf8
from hslpy.lang.run import Run
from hslpy.lang.values import Array, Key, Value

TOPIC = Topic("JSON")

_AT_ONCE = 16_384  # characters, a quarter of a millisecond of the standard library's scanner
_ELEMENT_BYTES = 150
_INDENT = "    "


class _Malformed(Exception):
    """The text is no JSON."""


# Encoding


@TOPIC.builtin(
    "json_encode(value: any, [options: array]) -> string | none",
    effect=Effect.PURE,
    examples=[
        'json_encode(["a", 1.5, none])  // "[\\"a\\",1.5,null]"',
        'json_encode(["k" => true, "n" => []])  // "{\\"k\\":true,\\"n\\":[]}"',
        'json_encode("\\xc3\\xa5")  // "\\"\\\\u00e5\\""',
    ],
)
def json_encode(call: Run, value: Value, options: Array | None = None) -> str | None:
    """Give a value as JSON; arrays with keys 0, 1, ... are lists. none for functions, objects and text that isn't UTF-8.

    Options: `ensure_ascii` (true) writes what is not ASCII as \\uXXXX, `pretty_print` (false) indents.
    """
    chosen = read_options("json_encode", options, {"ensure_ascii": True, "pretty_print": False})
    try:
        return _encode(call, value, chosen["ensure_ascii"], chosen["pretty_print"])
    except _Malformed:
        return None


def _scalar(value: Value, ascii_only: bool) -> str:
    kind = value.__class__
    if kind is str:
        text = from_utf8(value)
        if text is None:
            raise _Malformed
        return encode_basestring_ascii(text) if ascii_only else to_utf8(encode_basestring(text))
    if kind is float:
        if not math.isfinite(value):
            raise _Malformed
        return format_number(value)
    if kind is bool:
        return "true" if value else "false"
    if value is None:
        return "null"
    raise _Malformed


def _is_list(array: Array) -> bool:
    if array.next_index != len(array.items):
        return False
    return all(key == number for number, key in enumerate(array.items))


def _encode(call: Run, value: Value, ascii_only: bool, pretty: bool) -> str:
    if value.__class__ is not Array:
        return _scalar(value, ascii_only)
    result = TextBuilder(call)
    levels: list[tuple[Iterator[tuple[Key, Value]], str]] = []
    opening: Array | None = value
    first = True
    while True:
        if opening is not None:
            is_list = _is_list(opening)
            call.charge(len(opening.items) >> 6)
            result.add("[" if is_list else "{")
            levels.append((iter(opening.items.items()), "]" if is_list else "}"))
            opening = None
            first = True
        entries, closing = levels[-1]
        entry = next(entries, None)
        if entry is None:
            levels.pop()
            result.add(closing if first or not pretty else "\n" + _INDENT * len(levels) + closing)
            if not levels:
                return result.text()
            first = False
            continue
        key, item = entry
        head = "" if first else ","
        if pretty:
            head += "\n" + _INDENT * len(levels)
        if closing == "}":
            head += _scalar(key if key.__class__ is str else str(key), ascii_only) + (": " if pretty else ":")
        first = False
        if item.__class__ is Array:
            opening = item
        else:
            head += _scalar(item, ascii_only)
        result.add(head)


# Decoding


@TOPIC.builtin(
    "json_decode(string: string, [options: array]) -> any",
    effect=Effect.PURE,
    examples=[
        'json_decode("{\\"a\\": [1, true, null]}")  // ["a" => [1, true, none]]',
        'json_decode("nonsense")  // none',
        'json_decode("[1] // one", ["allow_comments" => true])  // [1]',
    ],
)
def json_decode(call: Run, string: str, options: Array | None = None) -> Value:
    """Give the value of a JSON text, or none when it isn't one. Objects and lists become arrays.

    Option `allow_comments` (false): pass over `//` and `/* */` comments.
    """
    comments = read_options("json_decode", options, {"allow_comments": False})["allow_comments"]
    text = decode_utf8(call, string)
    if text is None:
        return None
    call.reserve(len(string))
    call.charge(len(string) >> 8)
    try:
        if comments:
            return _Scanner(call, text, comments=True).value()
        if len(text) <= _AT_ONCE:
            try:
                return _converted(_DECODER.decode(text))
            except RecursionError:
                pass
        return _Scanner(call, text).value()
    except (_Malformed, ValueError):
        return None


def json_fault(call: Run, string: str) -> int | None:
    """Give the offset of the byte at which a text, comments passed over, stops being JSON; None where it is JSON."""
    text = decode_utf8(call, string)
    if text is None:
        data = string.encode("latin-1")
        try:
            data.decode("utf-8")
        except UnicodeDecodeError as error:
            return error.start
        return 0
    scanner = _Scanner(call, text, comments=True)
    try:
        scanner.value()
    except (_Malformed, ValueError):
        return len(text[: scanner.position].encode())
    return None


def _bytes(text: str) -> str:
    if text.isascii():
        return text
    try:
        return text.encode("utf-8").decode("latin-1")
    except UnicodeEncodeError:  # half of a surrogate pair
        raise _Malformed from None


def _object(pairs: list[tuple[str, Any]]) -> Array:
    result = Array({}, 0)
    for key, value in pairs:
        result.set(key_of_text(_bytes(key)), _converted(value))
    return result


def _converted(value: Any) -> Value:
    if value.__class__ is str:
        return _bytes(value)
    if value.__class__ is list:
        return Array.of([_converted(item) for item in value])
    return value


def _refused(text: str) -> Any:
    raise _Malformed  # NaN, Infinity


_DECODER = json.JSONDecoder(object_pairs_hook=_object, parse_int=float, parse_constant=_refused)

_SPACE = re.compile(r"[ \t\n\r]*")
_SPACE_AND_COMMENTS = re.compile(r"(?:[ \t\n\r]+|//[^\n]*|/\*.*?\*/)*", re.DOTALL)
_SIMPLE = re.compile(r'"([^"\\\x00-\x1f]*)"|(-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?)|(true|false|null)')
_WORDS: dict[str, Value] = {"true": True, "false": False, "null": None}


class _Scanner:
    """Reads one JSON text with a stack of its own, charging as it goes."""

    def __init__(self, call: Run, text: str, comments: bool = False) -> None:
        self.call = call
        self.text = text
        self.position = 0
        self.space = _SPACE_AND_COMMENTS if comments else _SPACE
        self.count = 0
        self.growth = Growth(call)

    def value(self) -> Value:
        open_arrays: list[tuple[Array, Key | None]] = []  # with the key waiting for its value, None in lists
        while True:
            self._skip()
            value, opened = self._item()
            if opened is not None:
                value = Array({}, 0)
                self._skip()
                if self._take("}" if opened == "{" else "]"):
                    pass
                elif opened == "{":
                    open_arrays.append((value, self._key()))
                    continue
                else:
                    open_arrays.append((value, None))
                    continue
            while True:  # put the value where it belongs, and close what ends after it
                if not open_arrays:
                    self._skip()
                    if self.position != len(self.text):
                        raise _Malformed
                    return value
                array, key = open_arrays[-1]
                if key is None:
                    array.append(value)
                else:
                    array.set(key, value)
                self._skip()
                if self._take(","):
                    if key is not None:
                        self._skip()
                        open_arrays[-1] = (array, self._key())
                    break
                if not self._take("]" if key is None else "}"):
                    raise _Malformed
                value = array
                open_arrays.pop()

    def _skip(self) -> None:
        found = self.space.match(self.text, self.position)
        if found is not None:
            self.position = found.end()

    def _take(self, mark: str) -> bool:
        if self.text.startswith(mark, self.position):
            self.position += 1
            return True
        return False

    def _key(self) -> Key:
        value, _ = self._item()
        if value.__class__ is not str:
            raise _Malformed
        self._skip()
        if not self._take(":"):
            raise _Malformed
        return key_of_text(value)

    def _item(self) -> tuple[Value, str | None]:
        """Give a scalar, or the bracket that opens an array."""
        self.count += 1
        if self.count & 127 == 0:
            self.call.charge(200)
            self.growth.add(128 * _ELEMENT_BYTES)
        found = _SIMPLE.match(self.text, self.position)
        if found is not None:
            self.position = found.end()
            if found[2] is not None:
                return float(found[2]), None
            if found[3] is not None:
                return _WORDS[found[3]], None
            return _bytes(found[1]), None
        for mark in ("{", "["):
            if self._take(mark):
                return None, mark
        if not self._take('"'):
            raise _Malformed
        try:
            text, self.position = scanstring(self.text, self.position, True)
        except ValueError:
            raise _Malformed from None
        return _bytes(text), None

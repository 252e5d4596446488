"""pack() and unpack(): values as binary records and back, and zlib. In: formats, values, bytes. Out: bytes, arrays, none.

Codes: a string, C and c bytes, e and E doubles, H hex digits, n N v V integers, x zero bytes, Z zero-ended string.
"""

from __future__ import annotations

import math
import re
import struct
import zlib

from hslpy.builtins.core.arguments import as_bytes, as_text, stretches, whole
from hslpy.errors import ScriptError
from hslpy.lang.conversions import to_string
from hslpy.lang.declare import Effect, Topic
from hslpy.lang.growth import Growth, TextBuilder, array_of
from hslpy.lang.run import Run
from hslpy.lang.values import Array, Value

TOPIC = Topic("binary data")

_FORMAT = re.compile(r"\s*([a-zA-Z])([0-9]{1,9}|\*)?\s*")
_NUMBERS = {"c": "b", "C": "B", "n": ">H", "N": ">I", "v": "<H", "V": "<I", "e": "<d", "E": ">d"}
_LONGEST_FORMAT = 20_000
_TEXTS = "aZH"
_WINDOW_BITS = 15.0  # zlib's own format; 31 is gzip, -15 raw deflate. Source: zlib manual, deflateInit2


class _Cannot(Exception):
    """The format and the data do not fit."""


def _codes(text: str, known: str) -> list[tuple[str, int | None]]:
    """Give the codes with their counts: None for `*`, 1 where there is none."""
    found: list[tuple[str, int | None]] = []
    position = 0
    if len(text) > _LONGEST_FORMAT:
        raise _Cannot
    while position < len(text):
        match = _FORMAT.match(text, position)
        if match is None or match[1] not in known or len(found) > 10_000:
            raise _Cannot
        found.append((match[1], None if match[2] == "*" else int(match[2] or 1)))
        position = match.end()
    return found


@TOPIC.builtin(
    "pack(format: string, ...args: any) -> string | none",
    effect=Effect.PURE,
    examples=[
        'pack("H*", "48656c6c6f")  // "Hello"',
        'pack("nC", 258, 3)  // "\\x01\\x02\\x03"',
        'pack("a4", "ab")  // "ab\\x00\\x00"',
    ],
)
def pack(call: Run, format: str, *args: Value) -> str | None:
    """Give the arguments as bytes by the format's codes, each with a count or `*`; none when they do not fit."""
    try:
        codes = _codes(format, "aCeEHnNvVxZ")
        values = iter(args)
        left = len(args)
        result = TextBuilder(call)
        for code, count in codes:
            if code == "x":
                if count is None:
                    return None
                call.reserve(count)
                result.add("\0" * count)
            elif code in _TEXTS:
                if not left:
                    return None
                left -= 1
                result.add(_packed_text(call, code, count, to_string(call, next(values))))
            else:
                take = left if count is None else count
                if take > left:
                    return None
                left -= take
                for _ in range(take):
                    result.add(_packed_number(code, next(values)))
        return None if left else result.text()
    except _Cannot:
        return None


def _packed_text(call: Run, code: str, count: int | None, text: str) -> str:
    if code == "H":
        digits = text if count is None else text[:count].ljust(count, "0")
        if not re.fullmatch("[0-9a-fA-F]*", digits):
            raise _Cannot
        call.charge(len(digits) >> 10)
        return as_text(bytes.fromhex(digits + "0" * (len(digits) % 2)))
    if count is None:
        return text + ("\0" if code == "Z" else "")
    call.reserve(count)
    kept = text[: count - 1 if code == "Z" else count] if count else ""
    return kept + "\0" * (count - len(kept))


def _packed_number(code: str, value: Value) -> str:
    if value.__class__ is not float:
        raise _Cannot
    if code in "eE":
        return as_text(struct.pack(_NUMBERS[code], value))
    if not math.isfinite(value):
        raise _Cannot
    size = struct.calcsize(_NUMBERS[code])
    return as_text(struct.pack(_NUMBERS[code], int(value) & ((1 << 8 * size) - 1)))


@TOPIC.builtin(
    "unpack(format: string, data: string, [offset: number = 0]) -> array | none",
    effect=Effect.PURE,
    examples=[
        'unpack("H*", "Hello")  // ["48656c6c6f"]',
        'unpack("nC", "\\x01\\x02\\x03")  // [258, 3]',
        'unpack("N", "ab")  // none',
    ],
)
def unpack(call: Run, format: str, data: str, offset: float = 0.0) -> Array | None:
    """Give the values that the format's codes find in `data` from `offset`, as a list; none when it is too short."""
    position = whole(offset, "unpack() wants `offset`")
    if not 0 <= position <= len(data):
        return None
    values: list[Value] = []
    growth = Growth(call)
    try:
        for code, count in _codes(format, "acCeEHnNvVxZ"):
            rest = len(data) - position
            if code == "x":
                if count is None or count > rest:
                    return None
                position += count
            elif code in _TEXTS:
                text, used = _unpacked_text(code, count, data, position)
                position += used
                values.append(text)
                growth.add(len(text) + 100)
            else:
                width = struct.calcsize(_NUMBERS[code])
                take = rest // width if count is None else count
                if take * width > rest:
                    return None
                for _ in range(take):
                    piece = as_bytes(data[position : position + width])
                    values.append(float(struct.unpack(_NUMBERS[code], piece)[0]))
                    position += width
                    growth.add(100)
                    if len(values) & 511 == 0:
                        call.charge(256)
    except _Cannot:
        return None
    return array_of(call, values)


def _unpacked_text(code: str, count: int | None, data: str, position: int) -> tuple[str, int]:
    """Give the text and how many bytes it used."""
    rest = len(data) - position
    if code == "H":
        size = rest if count is None else (count + 1) // 2
        if size > rest:
            raise _Cannot
        return as_bytes(data[position : position + size]).hex()[:count], size
    if code == "Z" and count is None:
        end = data.find("\0", position)
        return (data[position:], rest) if end < 0 else (data[position:end], end + 1 - position)
    size = rest if count is None else count
    if size > rest:
        raise _Cannot
    text = data[position : position + size]
    return (text.split("\0", 1)[0] if code == "Z" else text), size


@TOPIC.builtin(
    "zlib_compress(string: string, [compression: number = -1, [windowbits: number = 15]]) -> string",
    effect=Effect.PURE,
    examples=['zlib_uncompress(zlib_compress("Hello"))  // "Hello"'],
)
def zlib_compress(call: Run, string: str, compression: float = -1.0, windowbits: float = _WINDOW_BITS) -> str:
    """Compress: zlib's format by default, gzip with `windowbits` 31, raw deflate with -15."""
    try:
        packer = zlib.compressobj(
            whole(compression, "zlib_compress() wants `compression`"),
            zlib.DEFLATED,
            whole(windowbits, "zlib_compress() wants `windowbits`"),
        )
    except (ValueError, OverflowError):
        raise ScriptError(
            "R108", "zlib_compress() wants a `compression` from -1 to 9 and `windowbits` that zlib knows"
        ) from None
    result = TextBuilder(call)
    for part in stretches(call, string, 32_768):
        result.add(as_text(packer.compress(as_bytes(part))))
        call.charge(500)
    result.add(as_text(packer.flush()))
    return result.text()


@TOPIC.builtin(
    "zlib_uncompress(string: string, [windowbits: number = 15]) -> string | none",
    effect=Effect.PURE,
    examples=['zlib_uncompress("nonsense")  // none'],
)
def zlib_uncompress(call: Run, string: str, windowbits: float = _WINDOW_BITS) -> str | None:
    """Give what zlib_compress() was given; none when the data is damaged or ends early."""
    result = TextBuilder(call)
    try:
        unpacker = zlib.decompressobj(whole(windowbits, "zlib_uncompress() wants `windowbits`"))
        for part in stretches(call, string, 65_536):
            data = as_bytes(part)
            while data and not unpacker.eof:
                piece = unpacker.decompress(data, 262_144)
                call.charge(500)
                result.add(as_text(piece))
                data = unpacker.unconsumed_tail
        if not unpacker.eof:
            return None
    except (zlib.error, ValueError, OverflowError):
        return None
    return result.text()

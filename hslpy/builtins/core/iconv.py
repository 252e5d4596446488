"""The class Iconv: texts from one character set to another. In: names of character sets, bytes. Out: bytes, or none.

Python's codecs do the work, under the names that iconv(3) has too; numbers of errors are Linux's.
"""

from __future__ import annotations

import codecs
import errno
import unicodedata
from dataclasses import field
from typing import Any

from hslpy.builtins.core.arguments import as_bytes, as_text, stretches
from hslpy.lang.declare import Effect, Topic
from hslpy.lang.run import Run
from hslpy.lang.values import HslObject
from hslpy.records import dataclass

TOPIC = Topic("character sets")

CLASS = "Iconv"
_STRETCH = 1 << 16
_NO_CHARSETS = ("idna", "punycode", "raw_unicode_escape", "unicode_escape", "undefined", "mbcs", "oem")


@dataclass(slots=True)
class _State:
    """What an object holds: the two codecs, None when one is unknown or after close(); the last error's number."""

    decode: codecs.CodecInfo | None
    encode: codecs.CodecInfo | None
    lenient: str = "strict"
    error: int = 0
    closed: bool = field(default=False)


def _codec(name: str) -> codecs.CodecInfo | None:
    try:
        found = codecs.lookup(name)
    except (LookupError, ValueError):
        return None
    return found if found._is_text_encoding and found.name not in _NO_CHARSETS else None


def _transliterated(error: UnicodeError) -> tuple[str, int]:
    """Give what a character is made of as far as it is ASCII, else a question mark: as //TRANSLIT does."""
    assert isinstance(error, UnicodeEncodeError)
    parts = []
    for letter in error.object[error.start : error.end]:
        plain = unicodedata.normalize("NFKD", letter).encode("ascii", "ignore").decode("ascii")
        parts.append(plain or "?")
    return "".join(parts), error.end


codecs.register_error("hslpy.transliterate", _transliterated)


@TOPIC.builtin(
    "Iconv(fromcharset: string, tocharset: string) -> Iconv",
    effect=Effect.PURE,
    kind="class",
    examples=['Iconv("ISO-8859-1", "UTF-8")->convert("\\xe5") === "\\xc3\\xa5"  // true'],
)
def iconv(fromcharset: str, tocharset: str) -> HslObject:
    """Make a converter from one character set to another.

    What the other hasn't is an error; with //TRANSLIT at the end of `tocharset` it is spelt in ASCII, with //IGNORE left
    out. A character set that is not known shows when converting: that gives none, with error 22.
    """
    name, *marks = tocharset.upper().split("//")
    lenient = "ignore" if "IGNORE" in marks else "hslpy.transliterate" if "TRANSLIT" in marks else "strict"
    return HslObject(CLASS, None, _State(_codec(fromcharset.partition("//")[0]), _codec(name), lenient))


def _state(this: HslObject) -> _State:
    state: Any = this.host
    assert isinstance(state, _State)
    return state


@TOPIC.builtin(
    "convert(text: string) -> string | none",
    effect=Effect.PURE,
    kind="method",
    owner=CLASS,
    examples=[
        'Iconv("UTF-8", "US-ASCII//TRANSLIT")->convert("caf\\xc3\\xa9")  // "cafe"',
        'Iconv("UTF-8", "ISO-8859-1")->convert("\\xff")  // none',
    ],
)
def convert(call: Run, this: HslObject, text: str) -> str | None:
    """Convert a text; none when it is malformed or has what the other character set hasn't: see errno()."""
    state = _state(this)
    if state.decode is None or state.encode is None or state.closed:
        state.error = errno.EBADF if state.closed else errno.EINVAL
        return None
    decoder = state.decode.incrementaldecoder("ignore" if state.lenient == "ignore" else "strict")
    encoder = state.encode.incrementalencoder(state.lenient)
    call.reserve(2 * len(text))
    parts: list[bytes] = []
    try:
        for part in stretches(call, text, _STRETCH):
            parts.append(encoder.encode(decoder.decode(as_bytes(part))))
            call.charge(_STRETCH >> 7 if len(text) > _STRETCH else 0)
        parts.append(encoder.encode(decoder.decode(b"", True), True))
    except UnicodeDecodeError as error:
        incomplete = "incomplete" in error.reason or "unexpected end" in error.reason
        state.error = errno.EINVAL if incomplete else errno.EILSEQ
        return None
    except UnicodeError:
        state.error = errno.EILSEQ
        return None
    state.error = 0
    result = b"".join(parts)
    call.reserve(len(result))
    return as_text(result)


@TOPIC.builtin(
    "errno() -> number",
    effect=Effect.READS,
    kind="method",
    owner=CLASS,
    examples=['Iconv("UTF-8", "UTF-16")->errno()  // 0'],
)
def errno_(this: HslObject) -> float:
    """Give the number of the last conversion's error.

    0 is none, 84 malformed or not in that set, 22 cut off or no such set, 9 closed.
    """
    return float(_state(this).error)


@TOPIC.builtin(
    "close() -> none",
    effect=Effect.READS,
    kind="method",
    owner=CLASS,
    examples=['Iconv("UTF-8", "UTF-16")->close()  // none'],
)
def close(this: HslObject) -> None:
    """Give the converter back; it converts no more."""
    _state(this).closed = True

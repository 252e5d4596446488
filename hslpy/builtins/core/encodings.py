"""Encodings of bytes as text: base64 and its kin, URLs. In: strings. Out: strings, or none for what is malformed."""

from __future__ import annotations

import base64
import binascii
import re
from urllib.parse import quote_from_bytes, unquote_to_bytes

from hslpy.builtins.core.arguments import as_bytes, as_text, find_from, in_stretches
from hslpy.lang.declare import Effect, Topic
from hslpy.lang.growth import TextBuilder
from hslpy.lang.run import Run

TOPIC = Topic("encodings")

_STRETCH = 3 * (1 << 16)  # a multiple of 3, 4 and 8, so that the parts of an encoding can be joined
_BASE64 = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
_BASE32 = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"
_ESCAPE = re.compile(r"%([0-9A-Fa-f]{2})")


def _base64(part: str) -> str:
    return as_text(binascii.b2a_base64(as_bytes(part), newline=False))


def _only(alphabet: bytes, part: str) -> str:
    data = as_bytes(part)
    foreign = data.translate(None, alphabet)
    return as_text(data.translate(None, foreign)) if foreign else part


def _base64_decode(call: Run, text: str) -> str:
    """Decode leniently, as other scripting languages do: foreign characters are passed over, padding may lack."""
    letters = in_stretches(call, text.split("=", 1)[0], lambda part: _only(_BASE64, part))
    if len(letters) % 4 == 1:
        letters = letters[:-1]
    letters += "=" * (-len(letters) % 4)
    return in_stretches(call, letters, lambda part: as_text(binascii.a2b_base64(as_bytes(part))), _STRETCH)


@TOPIC.builtin(
    "base64_encode(string: string) -> string", effect=Effect.PURE, examples=['base64_encode("Hello")  // "SGVsbG8="']
)
def base64_encode(call: Run, string: str) -> str:
    """Encode as base64 (RFC 4648)."""
    return in_stretches(call, string, _base64, _STRETCH)


@TOPIC.builtin(
    "base64_decode(string: string) -> string", effect=Effect.PURE, examples=['base64_decode("SGVs bG8")  // "Hello"']
)
def base64_decode(call: Run, string: str) -> str:
    """Decode base64; characters that are not of its alphabet are passed over."""
    return _base64_decode(call, string)


@TOPIC.builtin(
    "base64url_encode(string: string) -> string", effect=Effect.PURE, examples=['base64url_encode("\\xff\\xfe?")  // "__4_"']
)
def base64url_encode(call: Run, string: str) -> str:
    """Encode as base64 for URLs, without padding (RFC 4648 section 5)."""
    encoded = in_stretches(call, string, _base64, _STRETCH)
    return in_stretches(call, encoded.rstrip("="), lambda part: part.replace("+", "-").replace("/", "_"))


@TOPIC.builtin(
    "base64url_decode(string: string) -> string", effect=Effect.PURE, examples=['base64url_decode("SGVsbG8")  // "Hello"']
)
def base64url_decode(call: Run, string: str) -> str:
    """Decode base64 for URLs, with or without padding."""
    return _base64_decode(call, in_stretches(call, string, lambda part: part.replace("-", "+").replace("_", "/")))


@TOPIC.builtin(
    "base32_encode(string: string) -> string", effect=Effect.PURE, examples=['base32_encode("Hello")  // "JBSWY3DP"']
)
def base32_encode(call: Run, string: str) -> str:
    """Encode as base32 (RFC 4648)."""
    return in_stretches(call, string, lambda part: as_text(base64.b32encode(as_bytes(part))), 5120)


@TOPIC.builtin(
    "base32_decode(string: string) -> string", effect=Effect.PURE, examples=['base32_decode("JBSWY3DP")  // "Hello"']
)
def base32_decode(call: Run, string: str) -> str:
    """Decode base32; characters that are not of its alphabet are passed over."""
    letters = in_stretches(call, string.split("=", 1)[0], lambda part: _only(_BASE32, part))
    kept = len(letters) - {1: 1, 3: 1, 6: 1}.get(len(letters) % 8, 0)
    letters = letters[:kept] + "=" * (-kept % 8)
    return in_stretches(call, letters, lambda part: as_text(base64.b32decode(as_bytes(part))), 8192)


@TOPIC.builtin(
    "url_encode(string: string) -> string", effect=Effect.PURE, examples=['url_encode("a b&c~")  // "a%20b%26c~"']
)
def url_encode(call: Run, string: str) -> str:
    """Percent-encode all but letters, digits and -._~ (RFC 3986 section 2.3)."""
    call.reserve(len(string) * 3)
    return in_stretches(call, string, lambda part: quote_from_bytes(as_bytes(part), safe=""), 16384)


@TOPIC.builtin("url_decode(string: string) -> string", effect=Effect.PURE, examples=['url_decode("a%20b+c")  // "a b+c"'])
def url_decode(call: Run, string: str) -> str:
    """Decode %XX; anything else stays as it is."""
    if len(string) <= 16384:
        return as_text(unquote_to_bytes(as_bytes(string)))
    return unescaped(call, string, "%", _ESCAPE)


def unescaped(call: Run, text: str, mark: str, escape: re.Pattern[str]) -> str:
    """Replace each escape, which begins with `mark` and gives a byte in hex, by its byte."""
    result = TextBuilder(call)
    start = position = 0
    while True:
        at = find_from(call, text, mark, position)
        if at < 0:
            break
        found = escape.match(text, at)
        position = at + 1
        if found is not None:
            result.add(text[start:at] + chr(int(found[1], 16)))
            start = position = found.end()
    result.add(text[start:])
    return result.text()

"""Bodies of MIME parts in a transfer encoding. In: bytes and the media type. Out: the encoded bytes and the encoding's name.

The choice is the most readable form that keeps the data: as it is, quoted-printable, Base64. Source: RFC 2045 section 6.
"""

from __future__ import annotations

import binascii
import re
from collections.abc import Iterable

ENCODINGS = ("7bit", "8bit", "binary", "quoted-printable", "base64")
LINE_LIMIT = 998  # RFC 5322 section 2.1.1
_LINE_END = re.compile(rb"\r\n|\r|\n")
_BARE_LINE_END = re.compile(rb"\r(?!\n)|(?<!\r)\n")
_BASE64_BYTES = 57  # 76 characters a line: RFC 2045 section 6.8
_READABLE = bytes(range(0x20, 0x7F)) + b"\t\r\n"


def with_crlf(data: bytes) -> bytes:
    """Give the data with every line end as CRLF."""
    return _LINE_END.sub(b"\r\n", data) if _BARE_LINE_END.search(data) else data


def base64_lines(data: bytes) -> bytes:
    """Give the data as lines of Base64, each with its CRLF."""
    return b"".join(
        binascii.b2a_base64(data[i : i + _BASE64_BYTES], newline=False) + b"\r\n" for i in range(0, len(data), _BASE64_BYTES)
    )


def quoted_printable(data: bytes) -> bytes:
    """Give data whose lines end in CRLF as quoted-printable."""
    return with_crlf(binascii.b2a_qp(data, istext=True))  # its soft line breaks are bare where the data has no line end


def encoded(
    data: bytes, media_type: str | None, wanted: str | None = None, delimiters: Iterable[bytes] = ()
) -> tuple[bytes, str]:
    """Give the body as it goes into a message, and its encoding: `wanted`, else the most readable that keeps the data.

    Text has its line ends made CRLF. Multiparts and messages take no encoding (RFC 2045 section 6.4): theirs is "" unless
    one is wanted. No line of the result is one of the `delimiters` (`--` and the boundary) of the parts around, unless a
    plain form was asked for.
    """
    if wanted is not None:
        return _as_wanted(data, wanted), wanted
    kind = (media_type or "text/plain").partition("/")[0]
    if kind in ("multipart", "message"):
        return with_crlf(data), ""
    if kind == "text":
        data = with_crlf(data)
    if b"\0" in data or _BARE_LINE_END.search(data):
        return base64_lines(data), "base64"
    strange = len(data.translate(None, _READABLE))
    if not strange and all(len(line) <= LINE_LIMIT for line in data.split(b"\r\n")):
        result, name = data, "7bit"
    elif strange * 4 <= len(data):
        result, name = quoted_printable(data), "quoted-printable"
    else:
        return base64_lines(data), "base64"
    if any(has_line(result, delimiter) for delimiter in delimiters):
        return base64_lines(data), "base64"
    return result, name


def has_long_line(data: bytes, limit: int = LINE_LIMIT + 2) -> bool:
    """Say whether a line is longer than `limit` bytes, its CRLF included. Looks at about one place every `limit` bytes."""
    start, size = 0, len(data)
    while size - start > limit:
        end = data.rfind(b"\n", start, start + limit)
        if end < 0:
            return True
        start = end + 1
    return False


def has_line(data: bytes, start: bytes) -> bool:
    """Say whether a line begins so."""
    return data.startswith(start) or b"\n" + start in data


def _as_wanted(data: bytes, encoding: str) -> bytes:
    if encoding == "base64":
        return base64_lines(data)
    if encoding == "quoted-printable":
        return quoted_printable(with_crlf(data))
    return data if encoding == "binary" else with_crlf(data)

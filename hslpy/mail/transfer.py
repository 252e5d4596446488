"""Bodies of MIME parts in a transfer encoding. In: bytes and the media type. Out: the encoded bytes and the encoding's name.

The choice is the most readable form that keeps the data: as it is, quoted-printable, Base64. Source: RFC 2045 section 6.
"""

from __future__ import annotations

import binascii
import re
from collections.abc import Iterable, Iterator

ENCODINGS = ("7bit", "8bit", "binary", "quoted-printable", "base64")
LINE_LIMIT = 998  # RFC 5322 section 2.1.1
_LINE_END = re.compile(rb"\r\n|\r|\n")
# Large data is worked on in pieces: in a thread, nobody else runs while one call goes through all of it.
_PIECE_BYTES = 256 * 1024
_BASE64_BYTES = 57  # 76 characters a line: RFC 2045 section 6.8
_READABLE = bytes(range(0x20, 0x7F)) + b"\t\r\n"


def with_crlf(data: bytes) -> bytes:
    """Give the data with every line end as CRLF."""
    pieces = _pieces(data)
    return b"".join([_LINE_END.sub(b"\r\n", piece) for piece in pieces]) if any(map(has_bare, pieces)) else data


def _pieces(data: bytes) -> list[bytes]:
    """Give the data in pieces; all but the last end with LF, and are larger where a line is."""
    if len(data) <= _PIECE_BYTES:
        return [data]
    return list(_cut(data))


def _cut(data: bytes) -> Iterator[bytes]:
    start = 0
    while start < len(data):
        end = data.find(b"\n", start + _PIECE_BYTES) + 1 or len(data)
        yield data[start:end]
        start = end


def has_bare(part: bytes | bytearray) -> bool:
    """Say whether a CR stands without its LF, or an LF without its CR.

    What replaces the pairs is as long as they are, so that it is done in place: a third of the time of any other way.
    """
    left = part.replace(b"\r\n", b"  ")
    return b"\r" in left or b"\n" in left


def base64_lines(data: bytes) -> bytes:
    """Give the data as lines of Base64, each with its CRLF."""
    return b"".join(
        binascii.b2a_base64(data[i : i + _BASE64_BYTES], newline=False) + b"\r\n" for i in range(0, len(data), _BASE64_BYTES)
    )


def quoted_printable(data: bytes) -> bytes:
    """Give data whose lines end in CRLF as quoted-printable."""
    # its soft line breaks are bare where the data has no line end
    return with_crlf(b"".join([binascii.b2a_qp(piece, istext=True) for piece in _pieces(data)]))


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
    if b"\0" in data or any(map(has_bare, _pieces(data))):
        return base64_lines(data), "base64"
    strange = sum(len(piece.translate(None, _READABLE)) for piece in _pieces(data))
    if not strange and not has_long_line(data):
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
    return len(data) - max(start, data.rfind(b"\n") + 1) > LINE_LIMIT and not data.endswith(b"\n")


def has_line(data: bytes, start: bytes) -> bool:
    """Say whether a line begins so."""
    return data.startswith(start) or b"\n" + start in data


def _as_wanted(data: bytes, encoding: str) -> bytes:
    if encoding == "base64":
        return base64_lines(data)
    if encoding == "quoted-printable":
        return quoted_printable(with_crlf(data))
    return data if encoding == "binary" else with_crlf(data)

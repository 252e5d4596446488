"""A message made 7-bit, for servers without 8BITMIME and before it is signed. In: header and body. Out: the same.

Pure. Each MIME part that needs it gets another transfer encoding, and its decoded content stays; what needs nothing keeps
its bytes. Source: RFC 2045 section 6, RFC 2046 section 5, RFC 1847 (signed parts), RFC 6152, RFC 6532 section 3.7.
"""

from __future__ import annotations

import re

from hslpy.mail.message import Field
from hslpy.mail.parts import MOST_DEPTH, Part, decoded
from hslpy.mail.transfer import encoded, has_long_line

_BEYOND = re.compile(rb"[\x80-\xff]").sub
_TRUNCATED = {"too_deep", "too_many_parts", "bad_header"}
_AS_IT_IS = ("", "7bit", "8bit", "binary")


class NoSevenBitForm(ValueError):
    """The message cannot be made 7-bit without loss; the text says why."""


def to_7bit(content: bytes) -> bytes:
    """Give the message with ASCII alone in it, and no line of its body over 998 bytes. Raises NoSevenBitForm."""
    return content if content.isascii() else _message(content, 0, ())


def has_8bit_header(content: bytes) -> bool:
    """Say whether its header, or that of a part or message within, is beyond ASCII: RFC 6531 calls it internationalised."""
    if content.isascii():
        return False
    root = Part(content, 0, len(content))
    parts = (root, *root.descendants(lambda _: None))
    return any(not content[part.start : part.body_start].isascii() for part in parts)


def _message(content: bytes, depth: int, delimiters: tuple[bytes, ...]) -> bytes:
    return _part(Part(content, 0, len(content)), "text/plain", depth, delimiters, is_message=True)


def _part(part: Part, default_type: str, depth: int, delimiters: tuple[bytes, ...], *, is_message: bool) -> bytes:
    """Give a part, header and body; `delimiters` are those of the multiparts around it."""
    head, body = part.content[part.start : part.body_start], part.content[part.body_start : part.end]
    if not head.isascii():
        raise NoSevenBitForm("a header holds 8-bit text")
    needed = not body.isascii() or has_long_line(body)
    if not needed and part.encoding not in ("8bit", "binary"):
        return head + body
    if depth > MOST_DEPTH:
        raise NoSevenBitForm("its parts are nested too deep")
    kind = part.type or default_type
    if not needed:
        return _header(part, "7bit", None, is_message) + body
    if kind == "multipart/signed":
        raise NoSevenBitForm("it is signed")
    if kind.startswith("multipart/"):
        body = _multipart(part, kind, depth, delimiters)
        encoding = "7bit"
    elif kind == "message/rfc822" and part.encoding in _AS_IT_IS:
        body = _message(body, depth + 1, delimiters)
        encoding = "7bit"
    else:
        body, encoding = _leaf(part, kind, body, delimiters)
    if not body.isascii():
        raise NoSevenBitForm("a part cannot be encoded")
    return _header(part, encoding, kind if part.type is None and kind == "text/plain" else None, is_message) + body


def _multipart(part: Part, kind: str, depth: int, delimiters: tuple[bytes, ...]) -> bytes:
    boundary = part.boundary
    children = part.children(lambda _: None)
    if part.encoding not in _AS_IT_IS or boundary is None or not children or _TRUNCATED & set(part.errors):
        raise NoSevenBitForm("it is malformed")
    inner = (*delimiters, b"--" + boundary.encode("latin-1"))
    default = "message/rfc822" if kind == "multipart/digest" else "text/plain"
    pieces: list[bytes] = []
    at = part.body_start
    for child in children:
        pieces += [
            _between(part.content[at : child.start]),
            _part(child, default, depth + 1, inner, is_message=False),
        ]
        at = child.end
    pieces.append(_between(part.content[at : part.end]))
    return b"".join(pieces)


def _between(text: bytes) -> bytes:
    """Give a delimiter and what stands around it, a preamble or an epilogue, which nobody is shown."""
    if not text.isascii():
        text = _BEYOND(b"?", text)
    if has_long_line(text):
        text = b"\r\n".join(line[at : at + 998] for line in text.split(b"\r\n") for at in range(0, max(len(line), 1), 998))
    return text


def _leaf(part: Part, kind: str, body: bytes, delimiters: tuple[bytes, ...]) -> tuple[bytes, str]:
    if part.encoding in ("quoted-printable", "base64"):  # it is malformed: such have no 8-bit bytes and no long lines
        body = decoded(body, part.encoding)
    elif part.encoding not in _AS_IT_IS:
        raise NoSevenBitForm("a part has an unknown transfer encoding")
    if kind in ("message/partial", "message/external-body"):
        raise NoSevenBitForm(f"{kind} takes no transfer encoding")
    # RFC 6532 section 3.7 and RFC 6533 section 6 let message/global and its kin be encoded
    body, encoding = encoded(body, "text/plain" if kind.startswith("message/") else kind, None, delimiters)
    return body, encoding or "7bit"


def _header(part: Part, encoding: str, declared: str | None, is_message: bool) -> bytes:
    """Give the part's header with its transfer encoding, and with a type where it has none; the rest keeps its bytes."""
    fields: list[Field] = []
    placed = False
    for one in part.header.fields:
        if one.name.lower() != "content-transfer-encoding":
            fields.append(one)
        elif not placed:
            fields.append(Field(one.name, f"{one.name}: {encoding}\r\n"))
            placed = True
    names = {one.name.lower() for one in fields}
    if is_message and "mime-version" not in names:
        fields.append(Field("MIME-Version", "MIME-Version: 1.0\r\n"))
    if declared is not None:
        fields.append(Field("Content-Type", f"Content-Type: {declared}; charset=unknown-8bit\r\n"))
    if not placed:
        fields.append(Field("Content-Transfer-Encoding", f"Content-Transfer-Encoding: {encoding}\r\n"))
    return "".join(one.raw for one in fields).encode("latin-1") + b"\r\n"

"""A new message or MIME part, built a piece at a time. In: fields, bodies, parts. Out: its bytes, with CRLF.

Texts hold one character a byte. Knows nothing of scripts; the boundary, where one is needed, is passed in. Source: RFC 2045,
2046 and 2231; what is added by itself follows the vendor's MIME class.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import field

from hslpy.mail.downgrade import NoSevenBitForm, to_7bit
from hslpy.mail.message import field_text, split_content
from hslpy.mail.transfer import base64_lines, with_crlf
from hslpy.records import dataclass

MOST_DEPTH = 50  # parts within parts; readers stop sooner
_BOUNDARY = re.compile(r"[0-9A-Za-z'()+_,./:=? -]{0,69}[0-9A-Za-z'()+_,./:=?-]")  # RFC 2046 section 5.1.1
_BASE64 = re.compile(rb"[A-Za-z0-9+/=\s]*")
_TYPE = re.compile(r"[!#$%&'*+.^_`{|}~0-9A-Za-z-]+/[!#$%&'*+.^_`{|}~0-9A-Za-z-]+(?:[ \t]*;[\t -\xff]*)?")
_TOKEN = re.compile(r"[!#$%&'*+.^_`{|}~0-9A-Za-z-]+")
_BOUNDARY_PARAMETER = re.compile(r';\s*boundary\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s;"]+))', re.IGNORECASE)
_CONTROLS = re.compile(r"[\0-\x1f\x7f]")


@dataclass(slots=True, eq=False)
class NewPart:
    """A part under construction. `fields` are finished texts with CRLF; `type` None is the default.

    `signers` make fields from the finished header and body, each put on top, the last on the top of all. `raw` is a part
    that is finished already.
    """

    fields: list[tuple[str, str]] = field(default_factory=list)
    parts: list[NewPart] = field(default_factory=list)
    body: str = ""
    type: str | None = None
    boundary: str | None = None
    file_name: str | None = None
    disposition: str | None = None
    signers: list[Callable[[bytes, bytes], bytes]] = field(default_factory=list)
    raw: bytes | None = None

    def held_values(self) -> tuple[object, ...]:
        """What it holds: see `lang/memory.py`."""
        return self.body, self.raw, self.fields, self.parts, self.type, self.file_name

    def add_field(self, name: str, value: str, encode: bool = True) -> None:
        """Put a field under those there are. Raises ValueError for a name that no field can have."""
        self.fields.append((name.lower(), field_text(name, value, encode)))

    def set_field(self, name: str, value: str) -> None:
        """Give the part this one field of that name."""
        self.fields = [one for one in self.fields if one[0] != name.lower()]
        self.add_field(name, value)

    def has(self, name: str) -> bool:
        return any(one == name for one, _ in self.fields)

    def value(self, name: str) -> str:
        """Give the value of the first field of that name, an empty text without one."""
        return next((text.partition(":")[2].strip(" \t\r\n") for one, text in self.fields if one == name), "")

    @property
    def is_multipart(self) -> bool:
        """Whether there is a boundary in it: it has parts, or a type that says so."""
        given = (self.value("content-type") or self.type or "").lower()
        return bool(self.parts) if not given.startswith("multipart/") else True

    def walk(self, depth: int = 0) -> Iterator[tuple[NewPart, int]]:
        """Give this part and all within it, with their depths. Raises ValueError when they are too deep, as a circle is."""
        if depth > MOST_DEPTH:
            raise ValueError("too deep")
        yield self, depth
        for part in self.parts:
            yield from part.walk(depth + 1)


def check_boundary(boundary: str) -> bool:
    """Say whether `boundary` can be one."""
    return _BOUNDARY.fullmatch(boundary) is not None


def check_type(text: str) -> bool:
    """Say whether `text` is a media type, with or without parameters, that fits in a header field."""
    return _TYPE.fullmatch(text) is not None


def check_token(text: str) -> bool:
    return _TOKEN.fullmatch(text) is not None


def render(part: NewPart, is_root: bool = True) -> bytes:
    """Give the part as bytes. All multiparts in it have their boundary, and it isn't too deep: see `NewPart.walk`."""
    if part.raw is not None:
        return part.raw
    header = _header(part, is_root)
    body = _body(part)
    if part.signers and is_root and not body.isascii():
        with suppress(NoSevenBitForm):  # RFC 6376 section 5.3: so that no server on the way has to change it
            header, body = split_content(to_7bit(header + b"\r\n" + body))
            header = header.removesuffix(b"\r\n")
    for sign in part.signers:
        header = sign(header + b"\r\n", body) + header
    return header + b"\r\n" + body


def _header(part: NewPart, is_root: bool) -> bytes:
    lines = [text for _, text in part.fields]
    if is_root and not part.has("mime-version"):
        lines.append("MIME-Version: 1.0\r\n")
    if not part.has("content-type"):
        lines.append(field_text("Content-Type", _content_type(part)))
    if not part.has("content-disposition") and (part.disposition is not None or part.file_name is not None):
        value = part.disposition or "attachment"
        if part.file_name is not None:
            value += "; " + parameter("filename", part.file_name)
        lines.append(field_text("Content-Disposition", value))
    if not part.has("content-transfer-encoding") and not part.is_multipart:
        lines.append("Content-Transfer-Encoding: base64\r\n")
    return "".join(lines).encode("latin-1")


def _content_type(part: NewPart) -> str:
    kind = part.type or ("multipart/mixed" if part.parts else "text/plain")
    if part.is_multipart:
        if _BOUNDARY_PARAMETER.search(kind) is None:
            kind += f'; boundary="{part.boundary}"'
    elif kind[:5].lower() == "text/" and "charset" not in kind.lower():
        kind += "; charset=utf-8"
    return kind


def boundary_of(part: NewPart) -> str | None:
    """Give the boundary that the part's own type names, else the one that was set."""
    given = _BOUNDARY_PARAMETER.search(part.value("content-type") or part.type or "")
    if given is None:
        return part.boundary
    return re.sub(r"\\(.)", r"\1", given[1]) if given[1] is not None else given[2]


def _body(part: NewPart) -> bytes:
    body = part.body.encode("latin-1")
    if part.is_multipart:
        line = b"--" + (boundary_of(part) or "").encode("latin-1")
        pieces = [with_crlf(body), b"\r\n"] if body else []
        for one in part.parts:
            pieces += [line, b"\r\n", render(one, is_root=False), b"\r\n"]
        return b"".join([*pieces, line, b"--\r\n"])
    if not part.has("content-transfer-encoding"):
        return base64_lines(body)
    encoding = part.value("content-transfer-encoding").strip().lower()
    if encoding == "base64" and not _BASE64.fullmatch(body):  # modules that sign give the signature as it is
        return base64_lines(body)
    return body if encoding == "binary" else with_crlf(body)


def parameter(name: str, value: str) -> str:
    """Give `name="value"`, or where the value has bytes above 127 its form of RFC 2231, as UTF-8."""
    value = _CONTROLS.sub("", value)
    if value.isascii():
        escaped = value.replace("\\", "\\\\").replace('"', '\\"')
        return f'{name}="{escaped}"'
    shown = "".join(c if c.isascii() and (c.isalnum() or c in "!#$&+-.^_`|~") else f"%{ord(c):02X}" for c in value)
    return f"{name}*=UTF-8''{shown}"

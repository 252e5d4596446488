"""The MIME parts of a message. In: its bytes. Out: a tree of parts by their offsets, with types, names and decoded bodies.

Nothing is parsed before it is asked for, a level at a time, and nothing is copied but what is given out. Never raises for
what a message holds: what cannot be a part stays in the body around it. Source: RFC 2045, 2046, 2183, 2231.
"""

from __future__ import annotations

import binascii
import re
from collections.abc import Callable, Iterator

from hslpy.mail.encoded_word import decode_words, to_utf8
from hslpy.mail.message import Message

MOST_DEPTH = 20
MOST_PARTS = 2_000
_PARAMETER = re.compile(r';\s*([^\s=;*"]+)((?:\*[0-9]{1,2})?)(\*?)\s*=\s*(?:"((?:[^"\\]|\\.)*)"?|([^\s;]*))')
_ESCAPED = re.compile(r"\\(.)", re.DOTALL)
_PERCENT = re.compile(r"%([0-9A-Fa-f]{2})")
_NOT_BASE64 = re.compile(rb"[^A-Za-z0-9+/]+")
_PLAIN_ENCODINGS = ("", "7bit", "8bit", "binary")

Work = Callable[[int], object]  # told the bytes read, so that the reader can count and wait


class Part:
    """One part: `content[start:body_start]` is its header, `content[body_start:end]` its body.

    `id` is "0" for the message, else the part's numbers from the outermost multipart on, as in "2.1". `errors` name what
    was found wrong so far.
    """

    __slots__ = (
        "_children",
        "_header",
        "body_start",
        "budget",
        "content",
        "depth",
        "end",
        "errors",
        "id",
        "limits",
        "parent",
        "start",
    )

    def __init__(self, content: bytes, start: int, end: int, id: str = "0", parent: Part | None = None) -> None:
        self.content = content
        self.start = start
        self.end = end
        self.id = id
        self.parent = parent
        self.depth: int = parent.depth + 1 if parent is not None else 0
        self.budget: list[int] = parent.budget if parent is not None else [MOST_PARTS]  # shared by the tree
        self.errors: list[str] = []
        self.limits: tuple[int, int] | None = None  # the end of the preamble, the start of the epilogue
        self._children: list[Part] | None = None
        self._header: Message | None = None
        if content.startswith(b"\r\n", start, end):
            self.body_start = start + 2
        else:
            found = content.find(b"\r\n\r\n", start, end)
            self.body_start = found + 4 if found >= 0 else end

    @property
    def has_empty_line(self) -> bool:
        """Whether a line ends the header, as it should."""
        return self.content.startswith(b"\r\n", max(self.body_start - 2, self.start), self.body_start) and (
            self.body_start - self.start == 2 or self.content.startswith(b"\r\n", self.body_start - 4, self.body_start)
        )

    @property
    def header(self) -> Message:
        """The part's header, as a message without a body."""
        if self._header is None:
            self._header = Message(self.content[self.start : self.body_start])
        return self._header

    def value(self, name: str) -> str:
        """Give the value of the first field of that name as it is written, an empty text without one."""
        return next(self.header.values(name, decode=False), "")

    @property
    def type(self) -> str | None:
        """The media type in lower case, None when there is no field that names one."""
        found = self.value("Content-Type").partition(";")[0].strip(" \t").lower()
        return found or None

    @property
    def file_name(self) -> str | None:
        for field, name in (("Content-Disposition", "filename"), ("Content-Type", "name")):
            found = parameters(self.value(field)).get(name)
            if found is not None:
                return found
        return None

    @property
    def encoding(self) -> str:
        return self.value("Content-Transfer-Encoding").strip(" \t").lower()

    def body(self, decode: bool = True) -> bytes:
        """Give the body, by default with its transfer encoding undone; the charset stays."""
        raw = self.content[self.body_start : self.end]
        return decoded(raw, self.encoding) if decode else raw

    @property
    def preamble(self) -> bytes | None:
        return None if self.limits is None else self.content[self.body_start : self.limits[0]]

    @property
    def epilogue(self) -> bytes | None:
        return None if self.limits is None else self.content[self.limits[1] : self.end]

    @property
    def boundary(self) -> str | None:
        """The boundary of a multipart, None of another part and where none is given."""
        if not (self.type or "").startswith("multipart/"):
            return None
        return parameters(self.value("Content-Type")).get("boundary", "").rstrip(" ") or None

    def children(self, work: Work) -> list[Part]:
        """Give the parts directly within: of a multipart, and the message in a message/rfc822."""
        if self._children is None:
            kind = self.type or ""
            if kind.startswith("multipart/"):
                self._children = self._multipart(work)
            elif kind in ("message/rfc822", "message/global") and self.encoding in _PLAIN_ENCODINGS:
                self._children = self._made([(self.body_start, self.end)])
            else:
                self._children = []
        return self._children

    def descendants(self, work: Work) -> Iterator[Part]:
        """Give all parts within, each before those within it."""
        for part in self.children(work):
            yield part
            yield from part.descendants(work)

    def _multipart(self, work: Work) -> list[Part]:
        boundary = self.boundary
        if boundary is None:
            self.errors.append("bad_header")
            return []
        content, at, end = self.content, self.body_start, self.end
        delimiter = b"--" + boundary.encode("latin-1")
        spans: list[tuple[int, int]] = []
        open_at = -1  # where the part at hand starts
        preamble_end = epilogue = -1
        looked = at
        while True:
            found = content.find(delimiter, at, end)
            work((found if found >= 0 else end) - looked + 1000)
            if found < 0:
                break
            looked = at = found + len(delimiter)
            if found > self.body_start and content[found - 1] != 0x0A:
                continue
            is_last = content.startswith(b"--", at, end)
            line_end = content.find(b"\n", at, end)
            rest = content[at + 2 * is_last : min(line_end if line_end >= 0 else end, at + 1000)]
            if rest.strip(b" \t\r"):
                continue
            before = max(found - (2 if content[found - 2 : found] == b"\r\n" else 1), self.body_start)
            if open_at >= 0:
                spans.append((open_at, max(before, open_at)))
            else:
                preamble_end = before
            at = open_at = line_end + 1 if line_end >= 0 else end
            looked = at
            if is_last:
                epilogue, open_at = at, -1
                break
            if len(spans) >= self.budget[0]:
                break
        if open_at >= 0:
            spans.append((open_at, end))
        if epilogue < 0:
            self.errors.append("unclosed_boundary")
            epilogue = end
        if preamble_end >= 0:
            self.limits = (preamble_end, epilogue)
        return self._made(spans)

    def _made(self, spans: list[tuple[int, int]]) -> list[Part]:
        if self.depth >= MOST_DEPTH:
            self.errors.append("too_deep")
            return []
        if len(spans) > self.budget[0]:
            self.errors.append("too_many_parts")
            spans = spans[: self.budget[0]]
        self.budget[0] -= len(spans)
        prefix = "" if self.depth == 0 else self.id + "."
        return [Part(self.content, start, end, f"{prefix}{number}", self) for number, (start, end) in enumerate(spans, 1)]


def decoded(raw: bytes, encoding: str) -> bytes:
    """Give the bytes with a transfer encoding undone, as far as they can be."""
    if encoding == "base64":
        try:
            return binascii.a2b_base64(raw)
        except binascii.Error:
            letters = _NOT_BASE64.sub(b"", raw)
            letters = letters[: len(letters) - (len(letters) % 4 == 1)]
            return binascii.a2b_base64(letters + b"=" * (-len(letters) % 4))
    if encoding == "quoted-printable":
        return binascii.a2b_qp(raw)
    return raw


def parameters(value: str) -> dict[str, str]:
    """Give the parameters of a field's value by name in lower case, as UTF-8; the first of a name counts.

    Continued and encoded ones (RFC 2231) are put together; encoded words, which senders use too, are decoded.
    """
    found: dict[str, str] = {}
    pieces: dict[str, dict[int, tuple[str, bool]]] = {}
    for match in _PARAMETER.finditer(value):
        name = match[1].lower()
        text = _ESCAPED.sub(r"\1", match[4]) if match[4] is not None else match[5]
        if match[2] or match[3]:
            pieces.setdefault(name, {}).setdefault(int(match[2][1:] or 0), (text, bool(match[3])))
        else:
            found.setdefault(name, decode_words(text))
    for name, numbered in pieces.items():
        charset = ""
        data = []
        for number in range(len(numbered)):
            if number not in numbered:
                break
            text, encoded = numbered[number]
            if encoded:
                if number == 0 and text.count("'") >= 2:
                    charset, _, text = text.split("'", 2)
                text = _PERCENT.sub(lambda one: chr(int(one[1], 16)), text)
            data.append(text)
        if data:
            found[name] = to_utf8("".join(data).encode("latin-1"), charset)
    return found

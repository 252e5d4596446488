"""A message as bytes: where the header ends, its fields, and edits of them. In: content. Out: values and header bytes.

Texts hold one character a byte (latin-1), as HSL's strings do. Edits are kept apart from what was received, so that a
reader goes on seeing the original. Knows nothing of scripts, envelopes or MIME parts. Source: RFC 5322 section 2.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

from hslpy.mail.encoded_word import decode_words, encode_words
from hslpy.records import record

LINE_WIDTH = 78  # RFC 5322 section 2.1.1: lines SHOULD be no longer, without CRLF
LINE_LIMIT = 998  # the same: MUST be no longer

_LONG_BYTES = 1 << 14  # more than nearly all have
_LONGEST_BYTES = 1 << 20  # how much of a long header is looked at
_NAME = re.compile(r"[!-9;-~]+")
_FIELD_START = re.compile(r"([!-9;-~]+)[ \t]*:")
_FIELD = re.compile(r"(?:([!-9;-~]+)[ \t]*:)?.*?\r\n(?![ \t])", re.DOTALL)
_FOLD = re.compile(r"\r\n(?=[ \t])")
_BREAKS = re.compile(r"[ \t]*[\r\n]+[ \t]*")


@record
class Field:
    """One header field. `raw` is its text with folds and the last CRLF; `name` "" marks a line that is no field.

    `position` is its place in the received header, -1 for one that was added.
    """

    name: str
    raw: str
    position: int = -1

    def held_values(self) -> tuple[object, ...]:
        """What it holds: see `lang/memory.py`."""
        return (self.raw,)

    def value(self, decode: bool = True) -> str:
        """Give the value unfolded, with encoded words as UTF-8 where `decode` says so."""
        text = _FOLD.sub("", self.raw.partition(":")[2]).strip(" \t\r\n")
        return decode_words(text) if decode else text


def split_content(content: bytes) -> tuple[bytes, bytes]:
    """Give header (with the empty line that ends it) and body. A message without an empty line is all header."""
    header, start = split_header(content)
    return header, content[start:]


def split_header(content: bytes) -> tuple[bytes, int]:
    """Give the header and where the body begins, without copying the body."""
    if content.startswith(b"\r\n"):
        return b"\r\n", 2
    end = content.find(b"\r\n\r\n")
    if end >= 0:
        return content[: end + 4], end + 4
    if not content:
        return b"\r\n", 0
    return content + (b"\r\n" if content.endswith(b"\r\n") else b"\r\n\r\n"), len(content)


def parse_fields(header: bytes) -> list[Field]:
    """Give the fields of a header block in order; a line that is neither field nor continuation has the name ""."""
    text = header.decode("latin-1")
    if not text or text.startswith("\r\n"):
        return []
    end = text.find("\r\n\r\n")
    if end < 0:
        text += "" if text.endswith("\r\n") else "\r\n"
        end = len(text)
    found = enumerate(_FIELD.finditer(text, 0, end + 2))
    return [Field(match[1] or "", match[0], position) for position, match in found]


class Message:
    """A received message. The header is parsed when first asked for; nothing here ever changes.

    `digests` keeps the body's for those who check signatures, by canonical form and length.
    """

    __slots__ = ("_by_name", "_fields", "content", "digests", "header")

    def __init__(self, content: bytes) -> None:
        self.content = content
        self.header, _ = split_header(content)
        self._fields: list[Field] | None = None
        self._by_name: dict[str, list[Field]] | None = None
        self.digests: dict[tuple[bool, int | None], bytes] = {}

    def held_values(self) -> tuple[object, ...]:
        """What it holds: see `lang/memory.py`."""
        return self.content, self._fields

    @property
    def body(self) -> bytes:
        return split_content(self.content)[1]

    @property
    def fields(self) -> list[Field]:
        if self._fields is None:
            self._fields = parse_fields(self.header)
        return self._fields

    def named(self, name: str) -> list[Field]:
        """Give the fields of that name, in any case, from the top."""
        if self._by_name is None:
            if self._fields is None:
                if len(self.header) > _LONG_BYTES:
                    return self._named_in_long(name)
                if name.lower().encode("latin-1", "replace") not in self.header.lower():
                    return []  # asked for by policies on most messages, and there on few
            self._by_name = {}
            for field in self.fields:
                self._by_name.setdefault(field.name.lower(), []).append(field)
        return self._by_name.get(name.lower(), [])

    def _named_in_long(self, name: str) -> list[Field]:
        """Give the fields of a name without reading the others, of which there may be millions. They have no position."""
        header = b"\r\n" + self.header[:_LONGEST_BYTES]
        lowered, wanted = header.lower(), b"\r\n" + name.lower().encode("latin-1", "replace")
        found: list[Field] = []
        at = lowered.find(wanted)
        while at >= 0:
            start = at + 2
            end = header.find(b"\r\n", start)
            while end >= 0 and header[end + 2 : end + 3] in (b" ", b"\t"):
                end = header.find(b"\r\n", end + 2)
            raw = header[start : end if end >= 0 else len(header)].decode("latin-1") + "\r\n"
            match = _FIELD_START.match(raw)
            if match is not None and len(match[1]) == len(name):
                found.append(Field(match[1], raw))
            at = lowered.find(wanted, start)
        return found

    def values(self, name: str, decode: bool = True) -> Iterator[str]:
        return (field.value(decode) for field in self.named(name))


class HeaderEditor:
    """Pending edits of a message's header. Edits build on each other; indexes count the received fields from the top.

    `changes` counts the edits that had an effect, `size_bytes` is the header's size with them. Raises ValueError for a
    name that no field can have.
    Source: the DATA context's header functions, and MIMEPart's.
    """

    __slots__ = ("_received", "_rendered", "changes", "fields", "size_bytes")

    def __init__(self, message: Message) -> None:
        self._received = message
        self.changes = 0
        self._use(tuple(message.fields))
        self._rendered: tuple[tuple[Field, ...], bytes] | None = None

    def held_values(self) -> tuple[object, ...]:
        """What it holds: see `lang/memory.py`."""
        return (self.fields,)

    def add(self, name: str, value: str, refold: bool = True) -> None:
        """Put a new field on top."""
        self._use((Field(name, field_text(name, value, refold)), *self.fields))
        self.changes += 1

    def set(self, name: str, value: str, refold: bool = True, index: int | None = None) -> int:
        """Give all fields of that name (or the one at `index`) this value; without one, put a new field on top."""
        return self._change(name, lambda _: value, refold, index)

    def prepend(self, name: str, value: str, refold: bool = True) -> int:
        return self._change(name, lambda old: value + old, refold, None)

    def append(self, name: str, value: str, refold: bool = True) -> int:
        return self._change(name, lambda old: old + value, refold, None)

    def delete(self, name: str, index: int | None = None) -> int:
        """Remove the fields of that name (or the one at `index`); give how many there were."""
        check_name(name)
        kept = tuple(field for field in self.fields if not self._wanted(field, name, index))
        removed = len(self.fields) - len(kept)
        self._use(kept)
        self.changes += bool(removed)
        return removed

    def rename(self, name: str, new_name: str) -> int:
        """Give all fields of that name another one, their values as they stand; give how many there were."""
        check_name(new_name)
        fields = []
        changed = 0
        for field in self.fields:
            if field.name.lower() == name.lower():
                field = Field(new_name, new_name + field.raw[len(field.name) :], field.position)
                changed += 1
            fields.append(field)
        if changed:
            self._use(tuple(fields))
            self.changes += 1
        return changed

    def restore(self, fields: tuple[Field, ...], changes: int) -> None:
        """Go back to `fields` as they once were, after so many changes."""
        self._use(fields)
        self.changes = changes

    def discard(self) -> int:
        """Forget all edits; give how many there were."""
        self._use(tuple(self._received.fields))
        changes, self.changes = self.changes, 0
        return changes

    @property
    def received_bytes(self) -> int:
        """The size of the header as received."""
        return len(self._received.header)

    @property
    def changed(self) -> bool:
        return self.fields != tuple(self._received.fields)

    def render(self) -> bytes:
        """Give the header with the edits applied and the empty line that ends it; the same object until the next edit."""
        if self._rendered is None or self._rendered[0] is not self.fields:
            text = "".join(field.raw for field in self.fields)
            self._rendered = (self.fields, (text + "\r\n").encode("latin-1"))
        return self._rendered[1]

    def _use(self, fields: tuple[Field, ...]) -> None:
        self.fields = fields
        self.size_bytes = sum(len(field.raw) for field in fields)

    def _change(self, name: str, value_of: Callable[[str], str], refold: bool, index: int | None) -> int:
        check_name(name)
        changed = 0
        fields = []
        for field in self.fields:
            if self._wanted(field, name, index):
                text = field_text(field.name, value_of(field.value(decode=False)), refold)
                field = Field(field.name, text, field.position)
                changed += 1
            fields.append(field)
        if changed:
            self._use(tuple(fields))
            self.changes += 1
        elif index is None:
            self.add(name, value_of(""), refold)
            changed = 1
        return changed

    def _wanted(self, field: Field, name: str, index: int | None) -> bool:
        if field.name.lower() != name.lower():
            return False
        if index is None:
            return True
        received = self._received.named(name)
        return -len(received) <= index < len(received) and field.position == received[index].position


def check_name(name: str) -> None:
    """Raises ValueError when `name` cannot be the name of a field."""
    if not _NAME.fullmatch(name) or len(name) > LINE_WIDTH - 2:
        raise ValueError("not a header field's name")


def field_text(name: str, value: str, refold: bool = True) -> str:
    """Give a field's text with CRLF. A value cannot end the field: line breaks in it become folds or spaces.

    With `refold`, bytes above 127 become encoded words and lines are folded at white space; without, breaks followed
    by text are kept as folds (a signature made elsewhere).
    """
    check_name(name)
    value = value.replace("\0", "")
    if refold:
        return _fold(f"{name}: " + encode_words(_BREAKS.sub(" ", value).strip(" \t")))
    lines = [line.rstrip(" \t") for line in re.split(r"[\r\n]+", value)]
    first, *rest = lines
    text = f"{name}: {first.lstrip(' ')}"
    for line in rest:
        if line:
            text += "\r\n" + (line if line[0] in " \t" else " " + line)
    return text + "\r\n"


def _fold(text: str) -> str:
    """Give one long line as lines of at most LINE_WIDTH where white space allows, LINE_LIMIT in any case."""
    if len(text) <= LINE_WIDTH:
        return text + "\r\n"
    lines: list[str] = []
    line = ""
    for word in re.findall(r"[ \t]*[^ \t]+", text):
        if line and len(line) + len(word) > LINE_WIDTH and not line.endswith(":"):
            lines.append(line)
            line = word if word[0] in " \t" else " " + word
        else:
            line += word
        if len(line) > LINE_LIMIT:
            pieces = [line[i : i + LINE_LIMIT - 1] for i in range(0, len(line), LINE_LIMIT - 1)]
            lines += [pieces[0], *(" " + piece for piece in pieces[1:-1])]
            line = " " + pieces[-1]
    lines.append(line)
    return "\r\n".join(lines) + "\r\n"

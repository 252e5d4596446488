"""Edits of a message's MIME parts, kept apart from what was received. In: parts and new bytes. Out: the changed message.

An edit replaces a stretch of the received content, so that what was not edited keeps its bytes; where stretches lie
within one another, the outer one counts. Knows nothing of scripts; boundaries are passed in. Source: RFC 2046 section 5.1.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import field, replace

from hslpy.mail.message import Field, HeaderEditor, field_text, parse_fields, split_content
from hslpy.mail.parts import Part
from hslpy.records import dataclass


@dataclass(frozen=True, slots=True)
class Layer:
    """A multipart put around a part, with other parts (finished bytes) before and after it."""

    type: str
    boundary: str
    before: tuple[bytes, ...] = ()
    after: tuple[bytes, ...] = ()

    def held_values(self) -> tuple[object, ...]:
        """What it holds: see `lang/memory.py`."""
        return self.before, self.after

    @property
    def delimiter(self) -> bytes:
        return b"--" + self.boundary.encode("latin-1")

    @property
    def content_type(self) -> str:
        """The field Content-Type with its CRLF."""
        return field_text("Content-Type", f'{self.type}; boundary="{self.boundary}"')


@dataclass(frozen=True, slots=True)
class PartEdit:
    """What is to become of one part. `body` is encoded already, as `encoding` says ("": no field); `before` and `after`
    are new neighbours in its multipart, `layers` multiparts around it from the innermost on; `new` takes its place.
    """

    body: bytes | None = None
    encoding: str = ""
    preamble: bytes | None = None
    epilogue: bytes | None = None
    before: tuple[bytes, ...] = ()
    after: tuple[bytes, ...] = ()
    layers: tuple[Layer, ...] = ()
    new: bytes | None = None
    removed: bool = False

    def held_values(self) -> tuple[object, ...]:
        """What it holds: see `lang/memory.py`."""
        return self.body, self.preamble, self.epilogue, self.before, self.after, self.layers, self.new


@dataclass(frozen=True, slots=True)
class _Stretch:
    """`data` in place of `content[start:end]`."""

    start: int
    end: int
    depth: float
    data: bytes


@dataclass(slots=True, eq=False)
class PartEdits:
    """The edits pending on a message's parts, by their ids; `raw` are stretches of the content given by hand.

    `editors` has those of the headers of parts within; the message's own is the caller's. `count` counts the edits.
    """

    parts: dict[str, PartEdit] = field(default_factory=dict)
    nodes: dict[str, Part] = field(default_factory=dict)
    editors: dict[str, HeaderEditor] = field(default_factory=dict)
    raw: tuple[tuple[int, int, bytes], ...] = ()
    count: int = 0
    size_bytes: int = 0  # of what the edits hold

    def held_values(self) -> tuple[object, ...]:
        """What it holds: see `lang/memory.py`."""
        return self.parts, self.editors, self.raw

    def of(self, part: Part) -> PartEdit:
        return self.parts.get(part.id, PartEdit())

    def change(self, part: Part, **changes: object) -> None:
        """Change what is to become of a part."""
        self.nodes[part.id] = part
        self.parts[part.id] = replace(self.of(part), **changes)  # type: ignore[arg-type]
        self.count += 1
        self.size_bytes += sum(len(each) for each in changes.values() if isinstance(each, bytes))

    def editor(self, part: Part) -> HeaderEditor:
        """Give the editor of the header of a part within."""
        if part.id not in self.editors:
            self.nodes[part.id] = part
            self.editors[part.id] = HeaderEditor(part.header)
        return self.editors[part.id]

    def splice(self, start: int, end: int, data: bytes) -> None:
        """Put `data` in place of `content[start:end]`; what an earlier such edit did there is undone."""
        kept = (one for one in self.raw if one[1] <= start or one[0] >= end or one[0] == one[1])
        self.raw = (*kept, (start, end, data))
        self.count += 1
        self.size_bytes += len(data)

    def copy(self) -> PartEdits:
        """Give the edits as they are now, which later ones don't change."""
        editors = {}
        for name, editor in self.editors.items():
            editors[name] = HeaderEditor(self.nodes[name].header)
            editors[name].restore(editor.fields, editor.changes)
        return PartEdits(dict(self.parts), dict(self.nodes), editors, self.raw, self.count, self.size_bytes)

    @property
    def changes(self) -> int:
        return self.count + sum(editor.changes for editor in self.editors.values())

    def __bool__(self) -> bool:
        if not self.count and not self.editors:
            return False
        return bool(self.parts or self.raw or any(editor.changed for editor in self.editors.values()))


def edited(root: Part, fields: tuple[Field, ...], edits: PartEdits) -> tuple[tuple[Field, ...], bytes]:
    """Give the message's fields and body with the edits applied; `fields` are those of its own header, edited already."""
    own = edits.of(root)
    stretches = list(_stretches(edits))
    if own.new is not None:
        fields, body = _exchanged(fields, own.new)
    elif any(start < root.body_start for start, _, _ in edits.raw):
        header = _header_stretches(root, fields)
        content = _applied(root.content, 0, len(root.content), [*header, *stretches])
        block, body = split_content(content)
        fields = tuple(parse_fields(block))
    else:
        body = _applied(root.content, root.body_start, root.end, stretches)
    if own.body is not None and own.new is None:
        fields = _encoded_fields(fields, own.encoding, is_root=True)
    if own.layers:
        inner = tuple(one for one in fields if _is_content(one))
        outer = tuple(one for one in fields if not _is_content(one))
        if not any(one.name.lower() == "mime-version" for one in outer):
            outer = (*outer, Field("MIME-Version", "MIME-Version: 1.0\r\n"))
        before, after = _around(own.layers)
        body = before + _text(inner) + b"\r\n" + body + after + b"\r\n"
        fields = (*outer, Field("Content-Type", own.layers[-1].content_type))
    return fields, body


def _stretches(edits: PartEdits) -> Iterator[_Stretch]:
    for start, end, data in edits.raw:
        yield _Stretch(start, end, -1, data)
    for name in edits.nodes:
        part = edits.nodes[name]
        edit = edits.of(part)
        if part.depth:
            yield from _around_part(part, edit)
            if edit.new is not None or edit.removed:
                continue
            yield from _header_of(part, edit, edits.editors.get(name))
        elif edit.new is not None:
            continue
        if edit.body is not None:
            yield _Stretch(part.body_start, part.end, part.depth, edit.body)
        else:
            yield from _margins(part, edit)
        if edit.layers and part.depth:
            yield _Stretch(part.end, part.end, part.depth, _around(edit.layers)[1])


def _header_of(part: Part, edit: PartEdit, editor: HeaderEditor | None) -> Iterator[_Stretch]:
    fields = received = tuple(part.header.fields)
    if editor is not None:
        fields = editor.fields
    if edit.body is not None:
        fields = _encoded_fields(fields, edit.encoding, is_root=False)
    if fields == received and not edit.layers and (edit.body is None or part.has_empty_line):
        return
    header = _text(fields) + b"\r\n"
    if edit.layers:
        outer = edit.layers[-1].content_type.encode("latin-1") + b"\r\n"
        header = outer + _around(edit.layers)[0] + header
    yield _Stretch(part.start, part.body_start, part.depth, header)


def _around_part(part: Part, edit: PartEdit) -> Iterator[_Stretch]:
    """What stands in the place of a part within: its new neighbours, and itself unless it was removed or replaced."""
    parent = part.parent
    assert parent is not None
    line = b"--" + (parent.boundary or "").encode("latin-1")
    whole = (part.start, part.end, part.depth)
    if parent.boundary is None:  # the message in a message/rfc822
        if edit.new is not None or edit.removed:
            yield _Stretch(*whole, edit.new or b"")
        return
    before = b"".join(one + b"\r\n" + line + b"\r\n" for one in edit.before)
    after = b"".join(b"\r\n" + line + b"\r\n" + one for one in edit.after)
    tight = part.content.startswith(line, part.end, parent.end)  # the part is empty, and shares its line end
    if edit.removed and (edit.before or edit.after):
        others = (b"\r\n" + line + b"\r\n").join((*edit.before, *edit.after))
        yield _Stretch(*whole, others + (b"\r\n" if tight else b""))
    elif edit.removed:
        start = part.content.rfind(b"\n", parent.body_start, max(part.start - 1, parent.body_start)) + 1
        end = part.end + (
            2 if part.content.startswith(b"\r\n", part.end, parent.end) else part.end < parent.end and not tight
        )
        yield _Stretch(max(start, parent.body_start), end, part.depth, b"")
    else:
        if before:
            yield _Stretch(part.start, part.start, part.depth, before)
        if edit.new is not None:
            yield _Stretch(*whole, edit.new)
        if after or tight:
            yield _Stretch(part.end, part.end, part.depth - 0.5, after + (b"\r\n" if tight else b""))


def _margins(part: Part, edit: PartEdit) -> Iterator[_Stretch]:
    """The text before the first part and after the last. There are parts where either is set."""
    if part.limits is None or part.boundary is None:
        return
    line = b"--" + part.boundary.encode("latin-1")
    if edit.preamble is not None:
        text = edit.preamble + b"\r\n" if edit.preamble else b""
        yield _Stretch(part.body_start, part.content.find(line, part.limits[0]), part.depth, text)
    if edit.epilogue is not None:
        closed = part.limits[1]
        text = edit.epilogue
        if "unclosed_boundary" in part.errors:
            text = b"\r\n" + line + b"--\r\n" + text
        elif not part.content.startswith(b"\n", closed - 1):
            text = b"\r\n" + text
        yield _Stretch(closed, part.end, part.depth, text)


def _around(layers: tuple[Layer, ...]) -> tuple[bytes, bytes]:
    """Give what stands before and after a part with these multiparts around it, without the outermost one's header."""
    before, after = b"", b""
    for number, layer in enumerate(layers):
        line = layer.delimiter
        opening = b"".join(line + b"\r\n" + one + b"\r\n" for one in layer.before) + line + b"\r\n"
        closing = b"".join(b"\r\n" + line + b"\r\n" + one for one in layer.after) + b"\r\n" + line + b"--"
        before, after = opening + before, after + closing
        if number + 1 < len(layers):
            before = layer.content_type.encode("latin-1") + b"\r\n" + before
    return before, after


def _exchanged(fields: tuple[Field, ...], new: bytes) -> tuple[tuple[Field, ...], bytes]:
    """Give the message with another part's content in place of its own: other fields of its header stay."""
    block, body = split_content(new)
    added = tuple(parse_fields(block))
    names = {one.name.lower() for one in added}
    kept = tuple(one for one in fields if not _is_content(one) and one.name.lower() not in names)
    if not any(one.name.lower() == "mime-version" for one in (*kept, *added)):
        added = (Field("MIME-Version", "MIME-Version: 1.0\r\n"), *added)
    return (*kept, *added), body


def _header_stretches(root: Part, fields: tuple[Field, ...]) -> Iterator[_Stretch]:
    """The edits of the message's own header, field by field, so that stretches given by hand find their places."""
    kept = {one.position: one for one in fields if one.position >= 0}
    place = root.start
    added = b""
    following: dict[int, bytes] = {}  # new fields, by the received one that they stand before
    for one in fields:
        if one.position < 0:
            added += one.raw.encode("latin-1")
        else:
            following[one.position], added = added, b""
    for one in root.header.fields:
        end = min(place + len(one.raw), root.body_start)
        before = following.get(one.position, b"")
        if before:
            yield _Stretch(place, place, 0, before)
        now = kept.get(one.position)
        if now is None or now.raw != one.raw:
            yield _Stretch(place, end, 0, now.raw.encode("latin-1") if now is not None else b"")
        place = end
    if added:
        yield _Stretch(place, place, 0, added)


def _applied(content: bytes, start: int, end: int, stretches: list[_Stretch]) -> bytes:
    """Give `content[start:end]` with the stretches replaced."""
    pieces: list[bytes] = []
    at = start
    for one in sorted(stretches, key=lambda each: (each.start, each.end > each.start, -each.end, -each.depth)):
        if one.start < at or one.end > end:
            continue
        pieces += [content[at : one.start], one.data]
        at = one.end
    pieces.append(content[at:end])
    return b"".join(pieces)


def _encoded_fields(fields: tuple[Field, ...], encoding: str, is_root: bool) -> tuple[Field, ...]:
    """Give the fields with Content-Transfer-Encoding as it is now."""
    kept: list[Field] = []
    found = False
    for one in fields:
        if one.name.lower() == "content-transfer-encoding":
            value = one.value(decode=False).lower()
            if found or (not encoding and value not in ("7bit", "8bit", "binary")):
                continue
            found = True
            if encoding and value != encoding:
                one = Field(one.name, field_text(one.name, encoding), one.position)
        kept.append(one)
    if not found and encoding not in ("", "7bit"):
        if is_root and not any(one.name.lower() == "mime-version" for one in kept):
            kept.append(Field("MIME-Version", "MIME-Version: 1.0\r\n"))
        kept.append(Field("Content-Transfer-Encoding", f"Content-Transfer-Encoding: {encoding}\r\n"))
    return tuple(kept)


def _is_content(one: Field) -> bool:
    return one.name[:8].lower() == "content-"


def _text(fields: tuple[Field, ...]) -> bytes:
    return "".join(one.raw for one in fields).encode("latin-1")

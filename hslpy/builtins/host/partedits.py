"""MIMEPart's edits of bodies and parts: setBody, appendPart, remove and so on. In: texts, parts, options. Out: the part.

Edits are kept with the message (mail/edits.py) and not seen by later get* calls; they are applied to what is queued, sent
or rendered after them. Source: the MIMEPart class of the vendor's manual, and the modules that use it.
"""

from __future__ import annotations

import re
from typing import Any

from hslpy.builtins.core.arguments import unknown_word
from hslpy.builtins.host.headers import header_name
from hslpy.builtins.host.mime import CLASS as BUILDER
from hslpy.builtins.host.mime import part_of, rendered
from hslpy.builtins.host.mimepart import CLASS, METHODS, content_of, editor_of, held
from hslpy.builtins.host.options import TEXT, read_options
from hslpy.errors import ScriptError
from hslpy.lang.declare import Effect, Topic
from hslpy.lang.run import Run
from hslpy.lang.values import Array, HslObject
from hslpy.late import uuid
from hslpy.mail.compose import check_boundary, check_type
from hslpy.mail.edits import Layer, PartEdit, PartEdits
from hslpy.mail.parts import Part, parameters
from hslpy.mail.transfer import ENCODINGS, encoded, has_line, with_crlf

TOPIC = Topic("MIME part edits")

MOST_EDITS = 10_000  # of the parts of one message
MOST_LAYERS = 20  # of multiparts put around one part; readers take no more
_OFFLOAD_BYTES = 1 << 18
_MAIL = 'MailMessage::String("Subject: Hello\\r\\n\\r\\nBody")'
_MULTIPART = 'MailMessage::String("Content-Type: multipart/mixed; boundary=b\\r\\n\\r\\n--b\\r\\n\\r\\nHi\\r\\n--b--")'
_SUBTYPE = re.compile(r"multipart/", re.IGNORECASE)
_MIXED = "multipart/mixed"


def _edits(call: Run, this: HslObject, size: int = 0) -> PartEdits:
    """Give the edits pending on the parts of a message, one more booked to the run."""
    edits = held(this).message.parts
    if edits.count >= MOST_EDITS:
        raise ScriptError("R310", f"a message takes at most {MOST_EDITS:,} edits of parts", hint="is a loop without end?")
    call.charge(10 + (size >> 8))
    call.reserve(2 * size)
    return edits


def _type_now(this: HslObject) -> str | None:
    """The part's media type with the edits of its header."""
    one = held(this)
    editor = one.message.editor if one.node.depth == 0 else one.message.parts.editors.get(one.node.id)
    fields = editor.fields if editor is not None else one.node.header.fields
    found = next((field for field in fields if field.name.lower() == "content-type"), None)
    return None if found is None else found.value(decode=False).partition(";")[0].strip(" \t").lower() or None


def _delimiters(node: Part) -> list[bytes]:
    """The delimiters of the multiparts around a part."""
    found = []
    parent = node.parent
    while parent is not None:
        if parent.boundary is not None:
            found.append(b"--" + parent.boundary.encode("latin-1"))
        parent = parent.parent
    return found


@TOPIC.builtin(
    "setBody(data: string, [options: array]) -> object | none",
    effect=Effect.IO,
    kind="method",
    owner=CLASS,
    examples=[_MAIL + '->setBody("Good day");'],
)
def set_body(call: Run, this: HslObject, data: str, options: Array | None = None) -> HslObject | None:
    """Replace the body, in the most readable of the encodings 7bit, quoted-printable and base64 that keeps it.

    Content-Transfer-Encoding then says which. Line ends in text become CRLF. Option `encoding` names another: "7bit",
    "8bit", "binary", "quoted-printable" or "base64".
    """
    wanted = read_options("setBody", options, {"encoding": TEXT}).get("encoding")
    if wanted is not None and wanted.lower() not in ENCODINGS:
        raise unknown_word("setBody", "encoding", wanted, ENCODINGS)
    edits = _edits(call, this, len(data))
    node = held(this).node
    given = (data.encode("latin-1"), _type_now(this), wanted.lower() if wanted is not None else None, _delimiters(node))
    body, name = call.offload(encoded, *given) if len(data) > _OFFLOAD_BYTES else encoded(*given)
    edits.change(node, body=body, encoding=name)
    return this


def _set_margin(call: Run, this: HslObject, which: str, data: str) -> HslObject | None:
    node = held(this).node
    if node.boundary is None:
        return None
    node.children(lambda size_bytes: call.charge(1 + (size_bytes >> 10)))
    text = with_crlf(data.encode("latin-1"))
    if node.limits is None or (which == "preamble" and has_line(text, b"--" + node.boundary.encode("latin-1"))):
        return None
    _edits(call, this, len(data)).change(node, **{which: text})
    return this


@TOPIC.builtin(
    "setPreamble(data: string) -> object | none",
    effect=Effect.IO,
    kind="method",
    owner=CLASS,
    examples=[_MULTIPART + '->setPreamble("For old readers");'],
)
def set_preamble(call: Run, this: HslObject, data: str) -> HslObject | None:
    """Set the text before the first part of a multipart; none where there are no parts, or it would begin one."""
    return _set_margin(call, this, "preamble", data)


@TOPIC.builtin(
    "setEpilogue(data: string) -> object | none",
    effect=Effect.IO,
    kind="method",
    owner=CLASS,
    examples=[_MULTIPART + '->setEpilogue("That is all");'],
)
def set_epilogue(call: Run, this: HslObject, data: str) -> HslObject | None:
    """Set the text after the last part of a multipart; none where there are no parts."""
    return _set_margin(call, this, "epilogue", data)


@TOPIC.builtin(
    "remove() -> none", effect=Effect.IO, kind="method", owner=CLASS, examples=[_MULTIPART + "->getParts()[0]->remove();"]
)
def remove(call: Run, this: HslObject) -> None:
    """Remove the part. Of the message itself, the body goes."""
    node = held(this).node
    edits = _edits(call, this)
    if node.depth == 0:
        edits.change(node, body=b"", encoding="")
    else:
        edits.change(node, removed=True)


def finished_part(call: Run, part: HslObject) -> bytes:
    """Give a part as bytes: what a builder has, a message as it is by now, a part as received. Raises ScriptError R310."""
    if part.class_name == BUILDER:
        return rendered(call, part_of(part), is_root=False)
    return content_of(call, part)


def _neighbour(call: Run, this: HslObject, function: str, part: HslObject, options: Array | None, side: str) -> HslObject:
    """Put a part before or after this one: into the multipart that it is in, or into a new one around it."""
    wanted = read_options(function, options, {"type": TEXT}).get("type")
    if wanted is not None and (not check_type(wanted) or not _SUBTYPE.match(wanted)):
        raise ScriptError("R302", f'{function}() wants `type` as in "multipart/mixed"')
    node = held(this).node
    data = finished_part(call, part)
    edits = _edits(call, this, len(data))
    parent = node.parent
    if parent is not None and parent.boundary is not None and wanted in (None, parent.type):
        if has_line(data, b"--" + parent.boundary.encode("latin-1")):
            raise ScriptError("R310", f"{function}() got a part in which the boundary of the parts around occurs")
        edits.change(node, **{side: (*getattr(edits.of(node), side), data)})
        edits.size_bytes += len(data)
        return this
    edits.change(node, layers=_layered(call, edits.of(node), wanted or _MIXED, data, side))
    edits.size_bytes += len(data)
    return this


def _layered(call: Run, edit: PartEdit, type: str, data: bytes, side: str) -> tuple[Layer, ...]:
    """Give the multiparts around a part with one more neighbour: in the outermost, where that is of the type wanted."""
    if edit.layers and edit.layers[-1].type == type:
        outer = edit.layers[-1]
        before, after = outer.before, outer.after
        before, after = ((*before, data), after) if side == "before" else (before, (*after, data))
        return (*edit.layers[:-1], Layer(type, outer.boundary, before, after))
    if len(edit.layers) >= MOST_LAYERS:
        raise ScriptError("R310", f"a part takes at most {MOST_LAYERS} multiparts around it", hint="is a loop without end?")
    boundary = parameters(type).get("boundary")
    if boundary is None or not check_boundary(boundary):
        boundary = str(uuid.UUID(int=call.random.getrandbits(128), version=4))
    else:
        type = re.sub(r';\s*boundary\s*=\s*("(?:[^"\\]|\\.)*"|[^\s;"]+)', "", type, flags=re.IGNORECASE)
    neighbours: dict[str, Any] = {side: (data,)}
    return (*edit.layers, Layer(type, boundary, **neighbours))


@TOPIC.builtin(
    "appendPart(part: MIME | MIMEPart | MailMessage | EODMailMessage, [options: array]) -> object | none",
    effect=Effect.IO,
    kind="method",
    owner=CLASS,
    examples=[_MAIL + '->appendPart(MIME()->setBody("A footer"));'],
)
def append_part(call: Run, this: HslObject, part: HslObject, options: Array | None = None) -> HslObject:
    """Put a part after this one: into the multipart that this one is in, else into a new one around it.

    The new one takes the Content fields along, so that the part in it keeps its bytes. Option `type` is its media type
    ("multipart/mixed"), with parameters where these are wanted; naming another than that of the multipart around makes a
    new one.
    """
    return _neighbour(call, this, "appendPart", part, options, "after")


@TOPIC.builtin(
    "prependPart(part: MIME | MIMEPart | MailMessage | EODMailMessage, [options: array]) -> object | none",
    effect=Effect.IO,
    kind="method",
    owner=CLASS,
    examples=[_MAIL + '->prependPart(MIME()->setBody("A warning"));'],
)
def prepend_part(call: Run, this: HslObject, part: HslObject, options: Array | None = None) -> HslObject:
    """Put a part before this one, as appendPart() does after it; the last one prepended stands next to it."""
    return _neighbour(call, this, "prependPart", part, options, "before")


@TOPIC.builtin(
    "replacePart(part: MIME | MIMEPart | MailMessage | EODMailMessage) -> none",
    effect=Effect.IO,
    kind="method",
    owner=CLASS,
    examples=[_MULTIPART + '->getParts()[0]->replacePart(MIME()->setBody("It was removed"));'],
)
def replace_part(call: Run, this: HslObject, part: HslObject) -> None:
    """Put another part in the place of this one. Of the message itself, Content fields and body are replaced."""
    data = finished_part(call, part)
    node = held(this).node
    if any(has_line(data, delimiter) for delimiter in _delimiters(node)):
        raise ScriptError("R310", "replacePart() got a part in which the boundary of the parts around occurs")
    _edits(call, this, len(data)).change(node, new=data, removed=False)


@TOPIC.builtin(
    "renameHeader(name: string, newname: string) -> number",
    effect=Effect.IO,
    kind="method",
    owner=CLASS,
    examples=[_MAIL + '->renameHeader("Subject", "X-Subject")  // 1'],
)
def rename_header(call: Run, this: HslObject, name: str, newname: str) -> float:
    """Give all fields of that name another one, their values as they stand. Gives how many there were."""
    header_name(newname)
    return float(editor_of(call, this, name).rename(name, newname))


@TOPIC.builtin(
    "setDateLater() -> number", effect=Effect.IO, kind="method", owner=CLASS, examples=[_MAIL + "->setDateLater()  // 1"]
)
def set_date_later(call: Run, this: HslObject) -> float:
    """Have the field Date say when the message is queued, sent or rendered. Gives how many there will be, 1."""
    message = held(this).message
    message.dated = call.clock.time
    return 1.0


METHODS.update({row.name: row for row in TOPIC.rows})

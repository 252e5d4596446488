"""The class `MIMEPart`: reading a message and its parts, and editing their headers. In: options. Out: values.

An object's `host` is a `Held`. Edits are not seen by later get* calls; they are applied to what is queued after them.
Source: the MIMEPart class of the vendor's manual.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from hslpy.builtins.host.headers import edits_of, value_of
from hslpy.builtins.host.options import BOOLEAN, NUMBER, read_integer, read_options
from hslpy.builtins.host.state import EditedMessage
from hslpy.lang import regex
from hslpy.lang.declare import Builtin, Effect, Topic
from hslpy.lang.run import Run
from hslpy.lang.values import Array, HslObject, Regex, Value
from hslpy.mail.message import Field, HeaderEditor
from hslpy.mail.parts import Part, parameters
from hslpy.records import dataclass

TOPIC = Topic("MIME parts")

CLASS = "MIMEPart"
METHODS: dict[str, Builtin] = {}  # filled below; the classes of messages have them too
_OFFLOAD_BYTES = 1 << 20
_MAIL = 'MailMessage::String("Subject: Hello\\r\\n\\r\\nBody")'


@dataclass(slots=True, eq=False)
class Held:
    """What an object stands for: a message and one part of it, None for the message itself."""

    message: EditedMessage
    part: Part | None = None

    def held_values(self) -> tuple[object, ...]:
        """What it holds: see `lang/memory.py`."""
        return (self.message,)

    @property
    def node(self) -> Part:
        return self.message.root if self.part is None else self.part


def held(this: HslObject) -> Held:
    found: Any = this.host
    assert isinstance(found, Held)
    return found


def content_of(call: Run, this: HslObject) -> bytes:
    """Give a message as it is by now, or a part within one as it was received; the work is booked to the run."""
    one = held(this)
    if one.node.depth == 0:
        return rendered_message(call, one.message)
    node = one.node
    call.reserve(2 * (node.end - node.start))
    if not node.has_empty_line:
        return node.header.header + node.content[node.body_start : node.end]
    return node.content[node.start : node.end]


def book_rendering(call: Run, message: EditedMessage) -> None:
    """Have the message made as it leaves, in another thread where it is long, and the work booked to the run."""
    if not message.is_edited:
        return
    size = message.parts.size_bytes + (len(message.message.content) if message.parts else len(message.message.header))
    if message.signers and not message.message.content.isascii():
        size += 2 * len(message.message.content)  # it is made 7-bit first
    call.charge(10 + (size >> 8) + 500 * len(message.signers))
    call.reserve(3 * size)
    if size > _OFFLOAD_BYTES:
        call.offload(message.leaving)


def rendered_message(call: Run, message: EditedMessage) -> bytes:
    """Give the message as it leaves, edited and signed, booked to the run."""
    book_rendering(call, message)
    call.reserve(2 * len(message.message.content))
    return message.content()


def fields_of(call: Run, this: HslObject, name: str) -> list[Field]:
    """Give the part's fields of that name, the reading of its header booked to the run."""
    message = held(this).node.header
    call.charge(1 + len(message.header) // 10_000)
    return message.named(name)


def _counted(call: Run) -> Any:
    return lambda size_bytes: call.charge(1 + (size_bytes >> 10))


def _objects(this: HslObject, parts: list[Part]) -> Array:
    message = held(this).message
    return Array.of([HslObject(CLASS, METHODS, Held(message, part)) for part in parts])


def _descendants(call: Run, this: HslObject) -> Iterator[Part]:
    for part in held(this).node.descendants(_counted(call)):
        call.charge(5)
        yield part


def editor_of(call: Run, this: HslObject, name: str, value: str = "") -> HeaderEditor:
    """Give the editor of the part's header, the edit booked to the run. Raises ScriptError R308."""
    one = held(this)
    editor = one.message.parts.editor(one.node) if one.node.depth else None
    return edits_of(call, one.message, name, value, editor=editor)


def _index(function: str, given: dict[str, Value]) -> int | None:
    return read_integer(function, "index", given["index"], -10_000, 10_000) if "index" in given else None


def _shown(call: Run, field: Field, given: dict[str, Value]) -> str:
    if given.get("field", False):
        return field.raw
    return value_of(call, field, given.get("decode", True))


@TOPIC.builtin("getID() -> string", effect=Effect.READS, kind="method", owner=CLASS, examples=[_MAIL + '->getID()  // "0"'])
def get_id(this: HslObject) -> str:
    """Give the part's id: "0" for the message, else the numbers of the parts that lead to it, as in "2.1"."""
    return held(this).node.id


@TOPIC.builtin(
    "getSize() -> number", effect=Effect.READS, kind="method", owner=CLASS, examples=[_MAIL + "->getSize()  // 20"]
)
def get_size(this: HslObject) -> float:
    """Give the size in bytes, header included, as received."""
    node = held(this).node
    return float(node.end - node.start)


@TOPIC.builtin(
    "getFileName() -> string | none",
    effect=Effect.READS,
    kind="method",
    owner=CLASS,
    examples=[_MAIL + "->getFileName()  // none"],
)
def get_file_name(call: Run, this: HslObject) -> str | None:
    """Give the file name, as UTF-8, that Content-Disposition or else Content-Type tells; none without one."""
    _book_header(call, this)
    return held(this).node.file_name


@TOPIC.builtin(
    "getType() -> string | none", effect=Effect.READS, kind="method", owner=CLASS, examples=[_MAIL + "->getType()  // none"]
)
def get_type(call: Run, this: HslObject) -> str | None:
    """Give the media type in lower case, as in "text/plain"; none without a field Content-Type."""
    _book_header(call, this)
    return held(this).node.type


@TOPIC.builtin(
    "getTypeParameter(name: string) -> string | none",
    effect=Effect.READS,
    kind="method",
    owner=CLASS,
    examples=[_MAIL + '->getTypeParameter("charset")  // none'],
)
def get_type_parameter(call: Run, this: HslObject, name: str) -> str | None:
    """Give a parameter of the field Content-Type, none without it. The name is taken in any case."""
    _book_header(call, this)
    return parameters(held(this).node.value("Content-Type")).get(name.lower())


def _book_header(call: Run, this: HslObject) -> None:
    node = held(this).node
    call.charge(1 + (node.body_start - node.start) // 200)


@TOPIC.builtin(
    "getHeader(name: string, [options: array]) -> string | none",
    effect=Effect.READS,
    kind="method",
    owner=CLASS,
    examples=[_MAIL + '->getHeader("subject")  // "Hello"'],
)
def get_header(call: Run, this: HslObject, name: str, options: Array | None = None) -> str | None:
    """Give the value of the field of that name at "index" (0), none when there is none.

    Encoded words are decoded unless "decode" is false; "field" gives the whole field as it stands, with its name and CRLF.
    """
    given = read_options("getHeader", options, {"index": NUMBER, "field": BOOLEAN, "decode": BOOLEAN})
    fields = fields_of(call, this, name)
    index = _index("getHeader", given) or 0
    return _shown(call, fields[index], given) if -len(fields) <= index < len(fields) else None


@TOPIC.builtin(
    "getHeaders(name: string, [options: array]) -> array",
    effect=Effect.READS,
    kind="method",
    owner=CLASS,
    examples=[_MAIL + '->getHeaders("Received")  // []'],
)
def get_headers(call: Run, this: HslObject, name: str, options: Array | None = None) -> Array:
    """Give the values of all fields of that name from the top; with "field" the whole fields as they stand."""
    given = read_options("getHeaders", options, {"field": BOOLEAN, "decode": BOOLEAN})
    call.reserve(2 * len(held(this).node.header.header))
    return Array.of([_shown(call, field, given) for field in fields_of(call, this, name)])


@TOPIC.builtin(
    "getHeaderNames() -> array",
    effect=Effect.READS,
    kind="method",
    owner=CLASS,
    examples=[_MAIL + '->getHeaderNames()  // ["subject"]'],
)
def get_header_names(call: Run, this: HslObject) -> Array:
    """Give the names of all fields from the top, in lower case."""
    _book_header(call, this)
    return Array.of([field.name.lower() for field in held(this).node.header.fields if field.name])


@TOPIC.builtin(
    "addHeader(name: string, value: string, [options: array]) -> object",
    effect=Effect.IO,
    kind="method",
    owner=CLASS,
    examples=[_MAIL + '->addHeader("X-Spam-Flag", "YES");'],
)
def add_header(call: Run, this: HslObject, name: str, value: str, options: Array | None = None) -> HslObject:
    """Put a field on top of the header; "encode" => false takes the value as it stands."""
    given = read_options("addHeader", options, {"encode": BOOLEAN})
    editor_of(call, this, name, value).add(name, value, given.get("encode", True))
    return this


@TOPIC.builtin(
    "setHeader(name: string, value: string, [options: array]) -> number",
    effect=Effect.IO,
    kind="method",
    owner=CLASS,
    examples=[_MAIL + '->setHeader("Subject", "Good day");'],
)
def set_header(call: Run, this: HslObject, name: str, value: str, options: Array | None = None) -> float:
    """Give all fields of that name (or the one at "index") this value, or put a new one on top. Gives how many changed."""
    given = read_options("setHeader", options, {"index": NUMBER, "encode": BOOLEAN})
    index = _index("setHeader", given)
    return float(editor_of(call, this, name, value).set(name, value, given.get("encode", True), index))


@TOPIC.builtin(
    "delHeader(name: string, [options: array]) -> number",
    effect=Effect.IO,
    kind="method",
    owner=CLASS,
    examples=[_MAIL + '->delHeader("Subject");'],
)
def del_header(call: Run, this: HslObject, name: str, options: Array | None = None) -> float:
    """Remove all fields of that name, or the one at "index". Gives how many there were."""
    given = read_options("delHeader", options, {"index": NUMBER})
    return float(editor_of(call, this, name).delete(name, _index("delHeader", given)))


@TOPIC.builtin(
    "getBody([options: array]) -> string | none",
    effect=Effect.READS,
    kind="method",
    owner=CLASS,
    examples=[_MAIL + '->getBody()  // "Body"'],
)
def get_body(call: Run, this: HslObject, options: Array | None = None) -> str:
    """Give the body, its transfer encoding undone unless "decode" is false; the charset stays as it is."""
    decode = read_options("getBody", options, {"decode": BOOLEAN}).get("decode", True)
    node = held(this).node
    size = node.end - node.body_start
    call.reserve(3 * size)
    call.charge(1 + (size >> 8))
    body: bytes = call.offload(node.body, decode) if size > _OFFLOAD_BYTES else node.body(decode)
    return body.decode("latin-1")


def _around(call: Run, this: HslObject, after: bool) -> str | None:
    node = held(this).node
    if not (node.type or "").startswith("multipart/"):
        return None
    node.children(_counted(call))
    found = node.epilogue if after else node.preamble
    call.reserve(len(found or b""))
    return None if found is None else found.decode("latin-1")


@TOPIC.builtin(
    "getPreamble() -> string | none",
    effect=Effect.READS,
    kind="method",
    owner=CLASS,
    examples=[_MAIL + "->getPreamble()  // none"],
)
def get_preamble(call: Run, this: HslObject) -> str | None:
    """Give the text before the first part of a multipart, none where there are no parts."""
    return _around(call, this, after=False)


@TOPIC.builtin(
    "getEpilogue() -> string | none",
    effect=Effect.READS,
    kind="method",
    owner=CLASS,
    examples=[_MAIL + "->getEpilogue()  // none"],
)
def get_epilogue(call: Run, this: HslObject) -> str | None:
    """Give the text after the last part of a multipart, none where there are no parts."""
    return _around(call, this, after=True)


@TOPIC.builtin(
    "getParts() -> array", effect=Effect.READS, kind="method", owner=CLASS, examples=[_MAIL + "->getParts()  // []"]
)
def get_parts(call: Run, this: HslObject) -> Array:
    """Give the parts directly within, as MIMEPart objects; a message that is a part has its message within."""
    return _objects(this, held(this).node.children(_counted(call)))


def _any_case(pattern: str | Regex) -> Regex:
    if isinstance(pattern, Regex):
        return pattern
    text, modifiers = regex.unwrap(pattern)
    return Regex(text, modifiers if "i" in modifiers else modifiers + "i")


@TOPIC.builtin(
    "findByType(type: Regex | string) -> array",
    effect=Effect.READS,
    kind="method",
    owner=CLASS,
    examples=[_MAIL + '->findByType("^image/")  // []'],
)
def find_by_type(call: Run, this: HslObject, type: str | Regex) -> Array:
    """Give the parts within, at any depth, whose media type matches; a string is a regular expression in any case."""
    wanted = _any_case(type)
    found = [part for part in _descendants(call, this) if part.type and regex.matches(call, part.type, wanted)]
    return _objects(this, found)


@TOPIC.builtin(
    "findByFileName(filename: Regex | string) -> array",
    effect=Effect.READS,
    kind="method",
    owner=CLASS,
    examples=[_MAIL + '->findByFileName("/[.]exe$/i")  // []'],
)
def find_by_file_name(call: Run, this: HslObject, filename: str | Regex) -> Array:
    """Give the parts within, at any depth, whose file name matches; a string is a regular expression in any case."""
    found = []
    wanted = _any_case(filename)
    for part in _descendants(call, this):
        call.charge((part.body_start - part.start) // 200)
        name = part.file_name
        if name is not None and regex.matches(call, name, wanted):
            found.append(part)
    return _objects(this, found)


@TOPIC.builtin(
    "getByID(id: string) -> MIMEPart | none",
    effect=Effect.READS,
    kind="method",
    owner=CLASS,
    examples=[_MAIL + '->getByID("2.1")  // none'],
)
def get_by_id(call: Run, this: HslObject, id: str) -> HslObject | None:
    """Give the part that has this id, this one included, none when there is none."""
    found = find_part(call, this, id)
    return None if found is None else HslObject(CLASS, METHODS, Held(held(this).message, found))


def find_part(call: Run, this: HslObject, id: str) -> Part | None:
    """Give the part that has this id: this one, or one within."""
    if held(this).node.id == id:
        return held(this).node
    return next((part for part in _descendants(call, this) if part.id == id), None)


@TOPIC.builtin(
    "getErrors() -> array", effect=Effect.READS, kind="method", owner=CLASS, examples=[_MAIL + "->getErrors()  // []"]
)
def get_errors(call: Run, this: HslObject) -> Array:
    """Give what is wrong with the part: "bad_header", "unclosed_boundary", "too_many_parts" (2,000), "too_deep" (20)."""
    node = held(this).node
    node.children(_counted(call))
    _book_header(call, this)
    bad = "bad_header" not in node.errors and any(not field.name for field in node.header.fields)
    return Array.of(["bad_header", *node.errors] if bad else node.errors)


METHODS.update({row.name: row for row in TOPIC.rows})

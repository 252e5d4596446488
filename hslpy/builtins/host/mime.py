"""The class `MIME`, which builds new messages and parts. In: names, values, other parts. Out: objects, and texts with CRLF.

An object's `host` is a `mail.compose.NewPart`. Nothing that a script gives can end a header field or add one.
Source: the MIME class of the vendor's manual.
"""

from __future__ import annotations

from typing import Any

from hslpy.builtins.host.files import memory_file
from hslpy.builtins.host.headers import MOST_VALUE_BYTES
from hslpy.builtins.host.mimepart import content_of
from hslpy.builtins.host.options import ARRAY, BOOLEAN, TEXT, read_options, text_map
from hslpy.builtins.host.outgoing import queue_content, read_wish, send_content
from hslpy.errors import ScriptError
from hslpy.lang.declare import Effect, Topic
from hslpy.lang.run import Run
from hslpy.lang.values import Array, HslObject, Value
from hslpy.late import uuid
from hslpy.mail.compose import NewPart, boundary_of, check_boundary, check_token, check_type, render
from hslpy.mail.encoded_word import encode_text
from hslpy.mail.received import mail_date

TOPIC = Topic("MIME")

CLASS = "MIME"
MOST_FIELDS = 1000  # in one part; a message has some dozens
MOST_PARTS = 10_000  # in one message
_LAST_DATE = 253_402_300_799.0  # the end of the year 9999
_OFFLOAD_BYTES = 1 << 20  # rendering as much takes some 5 ms


def part_of(this: HslObject) -> NewPart:
    """Give what is built so far."""
    part: Any = this.host
    assert isinstance(part, NewPart)
    return part


@TOPIC.builtin(
    "MIME() -> MIME",
    effect=Effect.READS,
    kind="class",
    examples=['MIME()->addHeader("Subject", "Hello")->setBody("Hi, how are you?")->toString();'],
)
def mime() -> HslObject:
    """Make a builder of a new message or part.

    It starts as text/plain in UTF-8. Its body is encoded as Base64 unless a field Content-Transfer-Encoding is added, which
    leaves it as it is given, with CRLF line ends.
    """
    return HslObject(CLASS, None, NewPart())


@TOPIC.builtin(
    "addHeader(name: string, value: string, [options: array]) -> MIME",
    effect=Effect.READS,
    kind="method",
    owner=CLASS,
    examples=['MIME()->addHeader("Subject", "Hello")'],
)
def add_header(call: Run, this: HslObject, name: str, value: str, options: Array | None = None) -> HslObject:
    """Add a field under those there are; "encode" => false takes the value as it stands.

    A Content-Type replaces what setType() says, a Content-Transfer-Encoding keeps the body from being encoded.
    """
    encode = read_options("addHeader", options, {"encode": BOOLEAN}).get("encode", True)
    _add_field(call, part_of(this), name, value, encode)
    return this


def _add_field(call: Run, part: NewPart, name: str, value: str, encode: bool) -> None:
    if len(value) > MOST_VALUE_BYTES:
        raise ScriptError("R308", f"a field's value has at most {MOST_VALUE_BYTES // 1024} KiB, got {len(value)} bytes")
    if len(part.fields) >= MOST_FIELDS:
        raise ScriptError("R308", f"a part has at most {MOST_FIELDS:,} fields", hint="is a loop without end?")
    call.charge(1 + len(value) // 200)
    call.reserve(2 * len(value))
    try:
        part.add_field(name, value, encode)
    except ValueError:
        raise ScriptError("R308", f'"{name[:60]}" cannot be the name of a header field') from None


@TOPIC.builtin(
    "appendPart(part: MIME | MIMEPart | MailMessage | EODMailMessage) -> MIME",
    effect=Effect.READS,
    kind="method",
    owner=CLASS,
    examples=['MIME()->setType("multipart/alternative")->appendPart(MIME()->setType("text/html")->setBody("<b>Hi</b>"))'],
)
def append_part(call: Run, this: HslObject, part: HslObject) -> HslObject:
    """Add a part after those within this one; without a type of its own this becomes multipart/mixed.

    A message, or a part of one, is taken as it stands.
    """
    parts = part_of(this).parts
    if len(parts) >= MOST_PARTS:
        raise ScriptError("R310", f"a message takes at most {MOST_PARTS:,} parts", hint="is a loop without end?")
    parts.append(part_of(part) if part.class_name == CLASS else NewPart(raw=content_of(call, part)))
    return this


@TOPIC.builtin(
    "setBody(body: string) -> MIME",
    effect=Effect.READS,
    kind="method",
    owner=CLASS,
    examples=['MIME()->setBody("Hello")'],
)
def set_body(this: HslObject, body: str) -> HslObject:
    """Set the content; of a part with parts within, the text before the first of them."""
    part_of(this).body = body
    return this


@TOPIC.builtin(
    "setType(type: string) -> MIME",
    effect=Effect.READS,
    kind="method",
    owner=CLASS,
    examples=['MIME()->setType("text/html")'],
)
def set_type(this: HslObject, type: str) -> HslObject:
    """Set the media type. A text type gets the charset UTF-8, a multipart one a boundary, unless it names its own."""
    if not check_type(type):
        raise ScriptError("R302", 'setType() wants a media type as in "text/html"')
    part_of(this).type = type
    return this


@TOPIC.builtin(
    "setBoundary(boundary: string) -> MIME",
    effect=Effect.READS,
    kind="method",
    owner=CLASS,
    examples=['MIME()->setType("multipart/mixed")->setBoundary("next")'],
)
def set_boundary(this: HslObject, boundary: str) -> HslObject:
    """Set the line that parts the parts, 1 to 70 characters; by default a random UUID."""
    if not check_boundary(boundary):
        raise ScriptError(
            "R302", "setBoundary() wants 1 to 70 letters, digits or any of '()+_,-./:=? and no space at the end"
        )
    part_of(this).boundary = boundary
    return this


@TOPIC.builtin(
    "setDate([timestamp: number]) -> MIME",
    effect=Effect.READS,
    kind="method",
    owner=CLASS,
    examples=["MIME()->setDate()", "MIME()->setDate(1700000000)"],
)
def set_date(call: Run, this: HslObject, timestamp: float | None = None) -> HslObject:
    """Set the field Date, in UTC, to a time in Unix seconds, by default the current one."""
    at = call.clock.time() if timestamp is None else timestamp
    if not 0 <= at <= _LAST_DATE:
        raise ScriptError("R302", "setDate() wants a time from 1970 to the year 9999 in Unix seconds")
    part_of(this).set_field("Date", mail_date(at))
    return this


@TOPIC.builtin(
    "setFileName(filename: string) -> MIME",
    effect=Effect.READS,
    kind="method",
    owner=CLASS,
    examples=['MIME()->setType("application/pdf")->setFileName("report.pdf")'],
)
def set_file_name(this: HslObject, filename: str) -> HslObject:
    """Set the name of the file, in UTF-8; it makes the part an attachment unless setDisposition() says otherwise."""
    if len(filename) > MOST_VALUE_BYTES:
        raise ScriptError("R308", f"a field's value has at most {MOST_VALUE_BYTES // 1024} KiB, got {len(filename)} bytes")
    part_of(this).file_name = filename
    return this


@TOPIC.builtin(
    "setDisposition(type: string) -> MIME",
    effect=Effect.READS,
    kind="method",
    owner=CLASS,
    examples=['MIME()->setFileName("logo.png")->setDisposition("inline")'],
)
def set_disposition(this: HslObject, type: str) -> HslObject:
    """Set the kind of the field Content-Disposition, "inline" or "attachment"."""
    if not check_token(type):
        raise ScriptError("R302", 'setDisposition() wants a word as in "inline"')
    part_of(this).disposition = type
    return this


@TOPIC.builtin(
    "toString() -> string",
    effect=Effect.READS,
    kind="method",
    owner=CLASS,
    examples=['MIME()->setBody("Hello")->toString()'],
)
def to_string(call: Run, this: HslObject) -> str:
    """Give what was built as text, with CRLF line ends."""
    return rendered(call, part_of(this)).decode("latin-1")


@TOPIC.builtin(
    "toFile() -> File",
    effect=Effect.READS,
    kind="method",
    owner=CLASS,
    examples=['MIME()->setBody("Hello")->toFile()->read()'],
)
def to_file(call: Run, this: HslObject) -> HslObject:
    """Give what was built as a File, with CRLF line ends."""
    return memory_file(call, rendered(call, part_of(this)))


@TOPIC.builtin(
    "queue(sender: string | array, recipient: string | array, transportid: string, [options: array]) -> array",
    effect=Effect.IO,
    kind="method",
    owner=CLASS,
    examples=['MIME()->addHeader("Subject", "Hello")->setBody("Hi")->queue("", "info@example.com", "mailtransport:1");'],
)
def queue(
    call: Run, this: HslObject, sender: Value, recipient: Value, transportid: str, options: Array | None = None
) -> Array:
    """Queue what was built for one recipient, at once, whatever the script decides; give ["transaction", "queue"].

    The options are those of EODMailMessage->queue(). Date and Message-ID are the script's to add.
    """
    wish = read_wish(sender, recipient, transportid, options)
    return queue_content(call, rendered(call, part_of(this)), wish)


@TOPIC.builtin(
    "send(sender: string | array, recipients: string | array, server: string | array, [options: array]) -> array | string",
    effect=Effect.IO,
    kind="method",
    owner=CLASS,
    examples=['MIME()->setBody("Hi")->send("", ["info@example.com"], ["host" => "192.0.2.1"])["result"];'],
)
def send(
    call: Run, this: HslObject, sender: Value, recipients: Value, server: Value, options: Array | None = None
) -> Array | str:
    """Try what was built at a server at once, as MailMessage->send() does; give "result" or "error".

    With one recipient instead of an array of them it is the older function: it queues by the transport `server`, with the
    option `metadata`, and gives the transaction's id.
    """
    if recipients.__class__ is str or (recipients.items.keys() & {"localpart", "domain"}):
        if server.__class__ is not str:
            raise ScriptError(
                "R302", "send() to one recipient wants a transport's id", hint="for a server: an array of them"
            )
        wish = read_wish(sender, recipients, server, options)
        return str(queue_content(call, rendered(call, part_of(this)), wish).items["transaction"])
    read_options("send", options, {})
    return send_content(call, rendered(call, part_of(this)), sender, recipients, server)


@TOPIC.builtin(
    "mail(sender: string | array, recipient: string | array, subject: string, body: string,"
    " [transportid: string | array], [options: array]) -> string",
    effect=Effect.IO,
    examples=['mail("postmaster@example.com", "info@example.org", "Lunch", "How about Friday?", "mailtransport:1");'],
)
def mail(
    call: Run,
    sender: Value,
    recipient: Value,
    subject: str,
    body: str,
    transportid: Value = None,
    options: Array | None = None,
) -> str:
    """Queue a message of plain text at once, whatever the script decides; give the transaction's id.

    Without a transport it goes by that of mail that names none. Older scripts give the options in its place:

    | option | meaning |
    |---|---|
    | `sender_name`, `recipient_name` | names in From and To |
    | `headers` | more fields, name => value |
    | `metadata` | kept with the recipient |
    | `jobid` | shown in `$message`; queue metrics know it |
    | `plaintext` | false for HTML |
    | `rawbody`, `serverid` | taken, and change nothing |
    """
    if transportid.__class__ is Array:
        options, transportid = transportid, None
    given = read_options("mail", options, _MAIL_OPTIONS, ("quotas", "variables", "template", "templatefile"))
    queueing = Array.mapping({name: given[name] for name in ("metadata", "jobid") if name in given})
    wish = read_wish(sender, recipient, transportid or call.host.services.transport_id, queueing)
    hostname = call.host.services.hostname
    shown = str(wish.sender) if not wish.sender.is_null else f"postmaster@{hostname}"
    part = NewPart(type="text/plain" if given.get("plaintext", True) else "text/html", body=body)
    unique = uuid.UUID(int=call.random.getrandbits(128), version=4)
    fields = {
        "From": _named(given.get("sender_name", ""), shown),
        "To": _named(given.get("recipient_name", ""), str(wish.recipient)),
        "Subject": subject,
        "Date": mail_date(call.clock.time()),
        "Message-ID": f"<{unique}@{hostname}>",
        **(text_map("`headers`", given["headers"]) if "headers" in given else {}),
    }
    for name, value in fields.items():
        _add_field(call, part, name, value, True)
    return str(queue_content(call, rendered(call, part), wish).items["transaction"])


_MAIL_OPTIONS = {
    "sender_name": TEXT,
    "recipient_name": TEXT,
    "headers": ARRAY,
    "metadata": ARRAY,
    "jobid": TEXT,
    "plaintext": BOOLEAN,
    "rawbody": BOOLEAN,
    "serverid": TEXT,
}


def _named(name: str, address: str) -> str:
    if not name:
        return f"<{address}>"
    quoted = name.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{quoted}" <{address}>' if name.isascii() else f"{encode_text(name)} <{address}>"


def rendered(call: Run, part: NewPart, is_root: bool = True) -> bytes:
    """Give the bytes of what was built; the work and its size are booked to the run. Raises ScriptError R310."""
    size = 0
    count = 0
    try:
        for one, depth in part.walk():
            count += 1
            if count > MOST_PARTS:
                raise ScriptError("R310", f"a message takes at most {MOST_PARTS:,} parts")
            if one.is_multipart and boundary_of(one) is None:
                one.boundary = str(uuid.UUID(int=call.random.getrandbits(128), version=4))
            own = len(one.raw or one.body) + sum(len(text) for _, text in one.fields) + 500
            call.charge(10 + (depth + 1) * (own >> 7) + 500 * len(one.signers))
            call.reserve(3 * own + depth * own)  # each level above joins it once
            size += own * (depth + 1)
    except ValueError:
        raise ScriptError("R310", "these MIME parts are too deep", hint="is a part within itself?") from None
    if size > _OFFLOAD_BYTES:
        return bytes(call.offload(render, part, is_root))
    return render(part, is_root)

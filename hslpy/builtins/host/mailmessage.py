"""Messages as objects: `MailMessage` of a text, `EODMailMessage` at `eod`, GetMailMessage(). In: options. Out: values.

Both have the methods of MIMEPart (mimepart.py). Edits are applied to what is queued after them.
Source: the MailMessage and EODMailMessage classes of the vendor's manual.
"""

from __future__ import annotations

import re

from hslpy.builtins.host import partedits  # noqa: F401  its methods are among MIMEPart's
from hslpy.builtins.host.dkim import TOPIC as DKIM
from hslpy.builtins.host.dkim_verify import TOPIC as DKIM_CHECK
from hslpy.builtins.host.files import content_of_file, memory_file
from hslpy.builtins.host.mime import TOPIC as BUILDER
from hslpy.builtins.host.mime import mime
from hslpy.builtins.host.mimepart import CLASS as PART_CLASS
from hslpy.builtins.host.mimepart import METHODS as PART_METHODS
from hslpy.builtins.host.mimepart import Held, book_rendering, find_part, held, rendered_message
from hslpy.builtins.host.options import read_integer
from hslpy.builtins.host.outgoing import queue_content, read_wish, send_content
from hslpy.builtins.host.state import DataState, EditedMessage, Order
from hslpy.errors import ScriptError
from hslpy.lang.declare import Builtin, Effect, Topic
from hslpy.lang.run import Run
from hslpy.lang.values import Array, HslObject, Value
from hslpy.mail.address import ascii_lower
from hslpy.mail.message import Message

TOPIC = Topic("mail message")

CLASS = "MailMessage"
EOD_CLASS = "EODMailMessage"
METHODS: dict[str, Builtin] = {}  # filled below, of both classes
EOD_METHODS: dict[str, Builtin] = {}
MOST_SPLICES = 10_000  # likewise
MOST_SNAPSHOTS = 1000  # a bound on what a loop without end keeps
_EOD = ("eod",)
_DATA = ("data",)
_BARE_LINE_END = re.compile(rb"\r\n|\r|\n")
_MAIL = 'MailMessage::String("Subject: Hello\\r\\n\\r\\nBody")'


def received_message(state: DataState) -> HslObject:
    """Give the message at hand as scripts of `eod` hold it."""
    return HslObject(EOD_CLASS, EOD_METHODS, Held(state))


@TOPIC.builtin(
    "String(data: string) -> MailMessage | none",
    effect=Effect.READS,
    kind="static method",
    owner=CLASS,
    examples=[_MAIL + '->getBody()  // "Body"'],
)
def string(call: Run, data: str) -> HslObject:
    """Give a text as a message. Bare line ends become CRLF."""
    call.reserve(2 * len(data))
    call.charge(1 + (len(data) >> 10))
    content = data.encode("latin-1")
    if content.count(b"\r\n") != content.count(b"\n") or content.count(b"\r\n") != content.count(b"\r"):
        content = bytes(call.offload(_BARE_LINE_END.sub, b"\r\n", content))
    return HslObject(CLASS, METHODS, Held(EditedMessage(Message(content))))


@TOPIC.builtin(
    "GetMailMessage() -> MailMessage", effect=Effect.READS, hooks=_DATA, examples=['GetMailMessage()->getHeader("Subject")']
)
def get_mail_message(call: Run) -> HslObject:
    """Give the message as an object; its edits are those of the functions AddHeader() and so on."""
    return HslObject(CLASS, METHODS, Held(call.host.state))


@BUILDER.builtin(
    "MIME([partid: string]) -> MIME | MIMEPart | none",
    effect=Effect.READS,
    hooks=_DATA,
    kind="class",
    examples=['MIME("0")->getHeader("Subject")', "MIME()"],
)
def mime_or_part(call: Run, partid: str | None = None) -> HslObject | None:
    """Give a part of the message by its id ("0" is the message), none when there is none; without an id a new builder."""
    if partid is None:
        return mime()
    message = HslObject(PART_CLASS, PART_METHODS, Held(call.host.state))
    if partid == "0":
        return message
    found = find_part(call, message, partid)
    return None if found is None else HslObject(PART_CLASS, PART_METHODS, Held(call.host.state, found))


@TOPIC.builtin(
    "queue(sender: string | array, recipient: string | array, transportid: string, [options: array]) -> array",
    effect=Effect.IO,
    hooks=_EOD,
    kind="method",
    owner=EOD_CLASS,
    examples=['$arguments["mail"]->queue($transaction["senderaddress"], "a@example.org", "default");'],
)
def queue(
    call: Run, this: HslObject, sender: Value, recipient: Value, transportid: str, options: Array | None = None
) -> Array:
    """Order a copy for one recipient; it is queued when the script accepts. Gives ["transaction", "queue"].

    "queue" is the number of the order within the message: queue ids are given out when the message is stored. Options:

    | option | meaning |
    |---|---|
    | `metadata` | kept with the recipient, as SetMetaData() |
    | `hold` | keep it until an operator lets it go (false) |
    | `delay` | seconds to the first attempt (0) |
    | `jobid`, `tenantid`, `priority` | shown in `$message`; queue metrics know the first two |
    | `dsn` | the parameters of RFC 3461: ["envid", "ret", "notify", "orcpt"] |
    """
    state: DataState = call.host.state
    wish = read_wish(sender, recipient, transportid, options)
    params = wish.recipient_params or _params_of(call, ascii_lower(str(wish.recipient)))
    book_rendering(call, state)
    header, body = state.leaving()
    order = Order(
        recipient=wish.recipient,
        transport_id=wish.transport_id,
        metadata=wish.metadata,
        sender=wish.sender,
        sender_params=wish.sender_params or None,
        recipient_params=params,
        header=header,
        body=body,
        delay_s=wish.delay_s,
        hold=wish.hold,
        survives_reject=wish.hold,
        job_id=wish.job_id,
        priority=wish.priority,
        tenant_id=wish.tenant_id,
    )
    state.take(order)
    return Array.mapping({"transaction": state.transaction_id, "queue": float(len(state.orders))})


def _params_of(call: Run, recipient: str) -> dict[str, str]:
    for one in call.host.event.transaction.recipients:
        if ascii_lower(str(one.address)) == recipient:
            return dict(one.params)
    return {}


@TOPIC.builtin("reset() -> number", effect=Effect.IO, kind="method", owner=CLASS, examples=[_MAIL + "->reset()  // 0"])
def reset(call: Run, this: HslObject) -> float:
    """Forget the pending edits. Gives how many there were."""
    message = held(this).message
    return float(message.discard())


@TOPIC.builtin(
    "snapshot() -> number",
    effect=Effect.READS,
    kind="method",
    owner=CLASS,
    examples=[_MAIL + "->snapshot()  // 0"],
)
def snapshot(call: Run, this: HslObject) -> float:
    """Remember the edits as they are. Gives what `restore` takes."""
    message = held(this).message
    call.charge(5 + len(message.parts.parts) + len(message.parts.editors))
    if len(message.snapshots) >= MOST_SNAPSHOTS:
        raise ScriptError("R310", f"a message takes at most {MOST_SNAPSHOTS:,} snapshots", hint="is a loop without end?")
    return float(message.snapshot())


@TOPIC.builtin(
    "restore(id: number) -> boolean",
    effect=Effect.IO,
    kind="method",
    owner=CLASS,
    examples=[_MAIL + "->restore(0)  // false"],
)
def restore(call: Run, this: HslObject, id: float) -> bool:
    """Go back to the edits of a snapshot; say whether there is one."""
    message = held(this).message
    if id not in range(len(message.snapshots)):
        return False
    message.restore(int(id))
    return True


@TOPIC.builtin("toString() -> string", effect=Effect.READS, kind="method", owner=CLASS, examples=[_MAIL + "->toString();"])
def to_string(call: Run, this: HslObject) -> str:
    """Give the message as text, edits applied."""
    return rendered_message(call, held(this).message).decode("latin-1")


@TOPIC.builtin(
    "modifyContent(start: number, count: number, data: string) -> MailMessage",
    effect=Effect.IO,
    kind="method",
    owner=CLASS,
    examples=[_MAIL + '->modifyContent(9, 5, "Ahoy");'],
)
def modify_content(call: Run, this: HslObject, start: float, count: float, data: str) -> HslObject:
    """Put `data` in place of `count` bytes of the message as received, from byte `start` on, whatever stands there.

    What other edits replace as a whole is not touched by it.
    """
    message = held(this).message
    size = len(message.message.content)
    first = read_integer("modifyContent", "start", start, 0, size)
    length = read_integer("modifyContent", "count", count, 0, 1 << 53)
    if len(message.parts.raw) >= MOST_SPLICES:
        raise ScriptError("R310", f"a message takes at most {MOST_SPLICES:,} changes of its content")
    call.charge(1 + (len(data) >> 8) + len(message.parts.raw))
    call.reserve(2 * len(data))
    message.parts.splice(first, min(first + length, size), data.encode("latin-1"))
    return this


@TOPIC.builtin(
    "toFile() -> File", effect=Effect.READS, kind="method", owner=CLASS, examples=[_MAIL + "->toFile()->readline();"]
)
def to_file(call: Run, this: HslObject) -> HslObject:
    """Give the message, edits applied, as a File."""
    return memory_file(call, rendered_message(call, held(this).message))


@TOPIC.builtin(
    "File(file: File | FileResource) -> MailMessage | none",
    effect=Effect.READS,
    kind="static method",
    owner=CLASS,
    examples=['MailMessage::File(File::String("Subject: Hello\\r\\n\\r\\nBody"))->getBody()  // "Body"'],
)
def from_file(call: Run, file: Value) -> HslObject | None:
    """Give what a file holds, from its beginning, as a message; none when it cannot be read. Bare line ends become CRLF."""
    content = content_of_file(call, file.host)
    return None if content is None else string(call, content.decode("latin-1"))


@TOPIC.builtin(
    "queue(sender: string | array, recipient: string | array, transportid: string, [options: array]) -> array",
    effect=Effect.IO,
    kind="method",
    owner=CLASS,
    examples=[_MAIL + '->queue("", "a@example.org", "mailtransport:1");'],
)
def queue_message(
    call: Run, this: HslObject, sender: Value, recipient: Value, transportid: str, options: Array | None = None
) -> Array:
    """Queue the message, edits applied, for one recipient at once, whatever the script decides.

    Gives ["transaction", "queue"]. The options are those of EODMailMessage->queue().
    """
    wish = read_wish(sender, recipient, transportid, options)
    return queue_content(call, rendered_message(call, held(this).message), wish)


@TOPIC.builtin(
    "send(sender: string | array, recipients: array, server: string | array) -> array",
    effect=Effect.IO,
    kind="method",
    owner=CLASS,
    examples=[_MAIL + '->send("a@example.com", ["b@example.org"], ["host" => "192.0.2.1", "tls" => "require"])["result"];'],
)
def send(call: Run, this: HslObject, sender: Value, recipients: Array, server: Value) -> Array:
    """Try the message, edits applied, at a server at once: a transport's id, or an array; give "result" or "error".

    "result" has `code`, `enhanced`, `reason` and `state`, "error" has `temporary` and `message`; both as in
    `$arguments["attempt"]`. Of several recipients it is the worst, a failure for now first; "recipients" has all of them.
    The array `server` wants `host`, and takes the options of Try() that say how; `tls` is "disabled" by default.
    """
    return send_content(call, rendered_message(call, held(this).message), sender, recipients, server)


METHODS.update(PART_METHODS)
_ROWS = (*TOPIC.rows, *DKIM.rows, *DKIM_CHECK.rows)
METHODS.update({row.name: row for row in _ROWS if row.owner == CLASS and row.kind == "method"})
EOD_METHODS.update(METHODS)
EOD_METHODS.update({row.name: row for row in TOPIC.rows if row.owner == EOD_CLASS})

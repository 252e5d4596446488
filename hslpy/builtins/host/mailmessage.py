"""The message object of `eod`, `$arguments["mail"]`: queueing it, reading and editing its header. In: options. Out: values.

Its methods of MIME parts, signatures and sending come with the MIME tree. Edits are not seen by later get* calls; they are
applied to what is queued after them. Source: the EODMailMessage and MIMEPart classes of the vendor's manual, 2019.
"""

from __future__ import annotations

from hslpy.builtins.host.headers import edits, message_of, value_of
from hslpy.builtins.host.options import (
    ARRAY,
    BOOLEAN,
    NUMBER,
    TEXT,
    read_address,
    read_integer,
    read_metadata,
    read_options,
    read_seconds,
)
from hslpy.builtins.host.state import DataState, Order
from hslpy.errors import ScriptError
from hslpy.lang.declare import Effect, Topic
from hslpy.lang.run import Run
from hslpy.lang.values import Array, HslObject, Value
from hslpy.mail.address import ascii_lower
from hslpy.mail.message import Field

TOPIC = Topic("mail message")

CLASS = "EODMailMessage"
MOST_SNAPSHOTS = 1000  # a bound on what a loop without end keeps
_EOD = ("eod",)
_ENCODE = {"encode": BOOLEAN}
_INDEX = {"index": NUMBER}


@TOPIC.builtin(
    "queue(sender: string | array, recipient: string | array, transportid: string, [options: array]) -> array",
    effect=Effect.IO,
    hooks=_EOD,
    kind="method",
    owner=CLASS,
    examples=['$arguments["mail"]->queue($transaction["senderaddress"], "a@example.org", "default");'],
)
def queue(
    call: Run, this: HslObject, sender: Value, recipient: Value, transportid: str, options: Array | None = None
) -> Array:
    """Order a copy for one recipient; it is queued when the script accepts. Gives ["transaction", "queue"].

    "queue" is the number of the order within the message: queue ids are given out when the message is stored.
    """
    state: DataState = call.host.state
    known = {"metadata": ARRAY, "hold": BOOLEAN, "jobid": TEXT, "delay": NUMBER}
    given = read_options("queue", options, known, ("quotas", "dsn", "priority", "tenantid", "plugin"))
    sender_address, sender_params = read_address("queue", sender, null_allowed=True)
    recipient_address, params = read_address("queue", recipient)
    if not params:
        params = _params_of(call, ascii_lower(str(recipient_address)))
    hold = given.get("hold", False)
    call.reserve(len(state.message.header))
    order = Order(
        recipient=recipient_address,
        transport_id=transportid,
        metadata=read_metadata(given["metadata"]) if "metadata" in given else {},
        sender=sender_address,
        sender_params=sender_params or None,
        recipient_params=params,
        header=state.header(),
        delay_s=read_seconds("queue", "delay", given["delay"]) if "delay" in given else 0.0,
        hold=hold,
        survives_reject=hold,
        job_id=given.get("jobid", ""),
    )
    state.take(order)
    return Array.mapping({"transaction": state.transaction_id, "queue": float(len(state.orders))})


def _params_of(call: Run, recipient: str) -> dict[str, str]:
    for one in call.host.event.transaction.recipients:
        if ascii_lower(str(one.address)) == recipient:
            return dict(one.params)
    return {}


def _shown(call: Run, field: Field, whole: bool) -> str:
    return field.raw.rstrip("\r\n") if whole else value_of(call, field)


@TOPIC.builtin(
    "getHeader(name: string, [options: array]) -> string | none",
    effect=Effect.READS,
    hooks=_EOD,
    kind="method",
    owner=CLASS,
    examples=['$subject = $arguments["mail"]->getHeader("Subject") ?? "";'],
)
def get_header(call: Run, this: HslObject, name: str, options: Array | None = None) -> str | None:
    """Give the value of the field of that name at "index" (0), none when there is none; with "field" as it stands."""
    given = read_options("getHeader", options, {**_INDEX, "field": BOOLEAN})
    fields = message_of(call).named(name)
    index = _index("getHeader", given) or 0
    return _shown(call, fields[index], given.get("field", False)) if -len(fields) <= index < len(fields) else None


@TOPIC.builtin(
    "getHeaders(name: string, [options: array]) -> array",
    effect=Effect.READS,
    hooks=_EOD,
    kind="method",
    owner=CLASS,
    examples=['$hops = count($arguments["mail"]->getHeaders("Received"));'],
)
def get_headers(call: Run, this: HslObject, name: str, options: Array | None = None) -> Array:
    """Give the values of all fields of that name from the top; with "field" as they stand."""
    given = read_options("getHeaders", options, {"field": BOOLEAN})
    message = message_of(call)
    call.reserve(2 * len(message.header))
    return Array.of([_shown(call, field, given.get("field", False)) for field in message.named(name)])


@TOPIC.builtin(
    "getHeaderNames() -> array",
    effect=Effect.READS,
    hooks=_EOD,
    kind="method",
    owner=CLASS,
    examples=['$names = $arguments["mail"]->getHeaderNames();'],
)
def get_header_names(call: Run, this: HslObject) -> Array:
    """Give the names of all fields from the top, in lower case."""
    return Array.of([field.name.lower() for field in message_of(call).fields if field.name])


@TOPIC.builtin(
    "addHeader(name: string, value: string, [options: array]) -> EODMailMessage",
    effect=Effect.IO,
    hooks=_EOD,
    kind="method",
    owner=CLASS,
    examples=['$arguments["mail"]->addHeader("X-Spam-Flag", "YES");'],
)
def add_header(call: Run, this: HslObject, name: str, value: str, options: Array | None = None) -> HslObject:
    """Put a field on top of the header; "encode" => false takes the value as it stands."""
    given = read_options("addHeader", options, _ENCODE)
    edits(call, name, value).add(name, value, given.get("encode", True))
    return this


@TOPIC.builtin(
    "setHeader(name: string, value: string, [options: array]) -> number",
    effect=Effect.IO,
    hooks=_EOD,
    kind="method",
    owner=CLASS,
    examples=['$arguments["mail"]->setHeader("Subject", "Hello");'],
)
def set_header(call: Run, this: HslObject, name: str, value: str, options: Array | None = None) -> float:
    """Give all fields of that name (or the one at "index") this value, or put a new one on top. Gives how many changed."""
    given = read_options("setHeader", options, {**_INDEX, **_ENCODE})
    index = _index("setHeader", given)
    return float(edits(call, name, value).set(name, value, given.get("encode", True), index))


@TOPIC.builtin(
    "delHeader(name: string, [options: array]) -> number",
    effect=Effect.IO,
    hooks=_EOD,
    kind="method",
    owner=CLASS,
    examples=['$arguments["mail"]->delHeader("X-Spam-Flag");'],
)
def del_header(call: Run, this: HslObject, name: str, options: Array | None = None) -> float:
    """Remove all fields of that name, or the one at "index". Gives how many there were."""
    given = read_options("delHeader", options, _INDEX)
    return float(edits(call, name).delete(name, _index("delHeader", given)))


@TOPIC.builtin(
    "getSize() -> number",
    effect=Effect.READS,
    hooks=_EOD,
    kind="method",
    owner=CLASS,
    examples=['$arguments["mail"]->getSize()'],
)
def get_size(call: Run, this: HslObject) -> float:
    """Give the size of the received message in bytes."""
    return float(len(message_of(call).content))


@TOPIC.builtin(
    "reset() -> number", effect=Effect.IO, hooks=_EOD, kind="method", owner=CLASS, examples=['$arguments["mail"]->reset();']
)
def reset(call: Run, this: HslObject) -> float:
    """Forget the pending edits. Gives how many there were."""
    state: DataState = call.host.state
    return float(state.editor.discard()) if state.editor is not None else 0.0


@TOPIC.builtin(
    "snapshot() -> number",
    effect=Effect.READS,
    hooks=_EOD,
    kind="method",
    owner=CLASS,
    examples=['$id = $arguments["mail"]->snapshot();'],
)
def snapshot(call: Run, this: HslObject) -> float:
    """Remember the edits as they are. Gives what `restore` takes."""
    state: DataState = call.host.state
    if len(state.snapshots) >= MOST_SNAPSHOTS:
        raise ScriptError("R310", f"a message takes at most {MOST_SNAPSHOTS:,} snapshots", hint="is a loop without end?")
    state.snapshots.append(state.edits().fields)
    return float(len(state.snapshots) - 1)


@TOPIC.builtin(
    "restore(id: number) -> boolean",
    effect=Effect.IO,
    hooks=_EOD,
    kind="method",
    owner=CLASS,
    examples=['$arguments["mail"]->restore($id);'],
)
def restore(call: Run, this: HslObject, id: float) -> bool:
    """Go back to the edits of a snapshot; say whether there is one."""
    state: DataState = call.host.state
    if id not in range(len(state.snapshots)):
        return False
    state.edits().restore(state.snapshots[int(id)])
    return True


@TOPIC.builtin(
    "toString() -> string",
    effect=Effect.READS,
    hooks=_EOD,
    kind="method",
    owner=CLASS,
    examples=['$text = $arguments["mail"]->toString();'],
)
def to_string(call: Run, this: HslObject) -> str:
    """Give the message as text, edits applied."""
    state: DataState = call.host.state
    call.reserve(2 * len(state.message.content))
    header = state.header()
    if header is None:
        return state.message.content.decode("latin-1")
    return (header + state.message.body).decode("latin-1")


def _index(function: str, given: dict[str, Value]) -> int | None:
    return read_integer(function, "index", given["index"], -10_000, 10_000) if "index" in given else None

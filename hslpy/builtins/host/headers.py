"""Header functions of the classic end of DATA, and its setters of the envelope. In: names and values. Out: texts, counts.

Edits are kept with the message and shared by all its recipients; Get* functions go on giving what was received.
"""

from __future__ import annotations

from hslpy.builtins.host.options import find_address, read_seconds
from hslpy.builtins.host.shown import show_address
from hslpy.builtins.host.state import DataState, EditedMessage
from hslpy.errors import ScriptError
from hslpy.lang.declare import Effect, Topic
from hslpy.lang.run import Run
from hslpy.lang.values import Array, Value
from hslpy.mail.message import Field, HeaderEditor, Message, check_name

TOPIC = Topic("headers")

_DATA = ("data",)
MOST_ADDED_BYTES = 256 * 1024  # far more than servers take: Postfix's header_size_limit is 100 KiB
MOST_VALUE_BYTES = 32 * 1024  # folding and encoding as much takes some 5 ms, in one stretch
_HEADER_BYTES_A_UNIT = 200  # decoding goes at some 200 bytes a microsecond


def message_of(call: Run) -> Message:
    """Give the message at hand, its reading booked to the run."""
    state: DataState = call.host.state
    call.charge(1 + len(state.message.header) // 10_000)
    return state.message


def value_of(call: Run, field: Field, decode: bool = True) -> str:
    """Give a field's value, the work booked to the run; a long one is decoded in another thread."""
    size = len(field.raw)
    call.charge(1 + size // _HEADER_BYTES_A_UNIT)
    if size > MOST_VALUE_BYTES:
        return str(call.offload(field.value, decode))
    return field.value(decode)


def header_name(name: str) -> str:
    """Give `name`. Raises ScriptError R308 when no field can have it."""
    try:
        check_name(name)
    except ValueError:
        raise ScriptError("R308", f'"{name[:60]}" cannot be the name of a header field') from None
    return name


def edits(call: Run, name: str, value: str = "", joins: bool = False) -> HeaderEditor:
    """Give the editor of pending edits, the edit's work and size booked to the run; `joins`: it adds to a value.

    Raises ScriptError R308.
    """
    return edits_of(call, call.host.state, name, value, joins)


def edits_of(
    call: Run,
    held: EditedMessage,
    name: str,
    value: str = "",
    joins: bool = False,
    editor: HeaderEditor | None = None,
) -> HeaderEditor:
    """Give the editor of the edits pending on this message (or the one given, of a part's header), as `edits` does."""
    header_name(name)
    editor = editor or held.edits()
    size = len(value)
    if joins:
        size += max((len(field.raw) for field in editor.fields if field.name.lower() == name.lower()), default=0)
    if size > MOST_VALUE_BYTES:
        raise ScriptError("R308", f"a field's value has at most {MOST_VALUE_BYTES // 1024} KiB, got {size} bytes")
    if editor.size_bytes + len(value) > editor.received_bytes + MOST_ADDED_BYTES:
        raise ScriptError("R308", f"a script adds at most {MOST_ADDED_BYTES // 1024} KiB to a message's header")
    call.charge(1 + (len(value) + editor.size_bytes) // _HEADER_BYTES_A_UNIT)
    call.reserve(2 * len(value))
    return editor


@TOPIC.builtin(
    "GetHeader(name: string, [decode: boolean = true]) -> string",
    effect=Effect.READS,
    hooks=_DATA,
    examples=['$subject = GetHeader("Subject");'],
)
def get_header(call: Run, name: str, decode: bool = True) -> str:
    """Give the value of the first field of that name, an empty string when there is none."""
    fields = message_of(call).named(name)
    return value_of(call, fields[0], decode) if fields else ""


@TOPIC.builtin(
    "GetHeaders(name: string | boolean, [decode: boolean = true]) -> array",
    effect=Effect.READS,
    hooks=_DATA,
    examples=['$hops = count(GetHeaders("Received"));'],
)
def get_headers(call: Run, name: Value, decode: bool = True) -> Array:
    """Give the values of all fields of that name from the top; with true, of all fields."""
    message = message_of(call)
    if name is False:
        return Array.of(())
    call.reserve(2 * len(message.header))
    fields = [field for field in message.fields if field.name] if name is True else message.named(name)
    return Array.of([value_of(call, field, decode) for field in fields])


@TOPIC.builtin(
    "AddHeader(name: string, value: string, [refold: boolean = true]) -> none",
    effect=Effect.IO,
    hooks=_DATA,
    examples=['AddHeader("X-Spam-Flag", "YES");'],
)
def add_header(call: Run, name: str, value: str, refold: bool = True) -> None:
    """Put a field on top of the header."""
    edits(call, name, value).add(name, value, refold)


@TOPIC.builtin(
    "SetHeader(name: string, value: string, [refold: boolean = true]) -> number",
    effect=Effect.IO,
    hooks=_DATA,
    examples=['SetHeader("Subject", "[spam] " . GetHeader("Subject"));'],
)
def set_header(call: Run, name: str, value: str, refold: bool = True) -> float:
    """Give all fields of that name this value, or put a new one on top. Gives how many were changed."""
    return float(edits(call, name, value).set(name, value, refold))


@TOPIC.builtin(
    "PrependHeader(name: string, value: string, [refold: boolean = true]) -> number",
    effect=Effect.IO,
    hooks=_DATA,
    examples=['PrependHeader("Subject", "[spam] ");'],
)
def prepend_header(call: Run, name: str, value: str, refold: bool = True) -> float:
    """Put text before the value of all fields of that name, or make a new one. Gives how many were changed."""
    return float(edits(call, name, value, joins=True).prepend(name, value, refold))


@TOPIC.builtin(
    "AppendHeader(name: string, value: string, [refold: boolean = true]) -> number",
    effect=Effect.IO,
    hooks=_DATA,
    examples=['AppendHeader("X-Seen", ", here");'],
)
def append_header(call: Run, name: str, value: str, refold: bool = True) -> float:
    """Put text after the value of all fields of that name, or make a new one. Gives how many were changed."""
    return float(edits(call, name, value, joins=True).append(name, value, refold))


@TOPIC.builtin("DelHeader(name: string) -> number", effect=Effect.IO, hooks=_DATA, examples=['DelHeader("X-Spam-Flag");'])
def del_header(call: Run, name: str) -> float:
    """Remove all fields of that name. Gives how many there were."""
    return float(edits(call, name).delete(name))


@TOPIC.builtin("DiscardMailDataChanges() -> number", effect=Effect.IO, hooks=_DATA, examples=["DiscardMailDataChanges();"])
def discard_mail_data_changes(call: Run) -> float:
    """Forget the pending edits. Gives how many there were."""
    state: DataState = call.host.state
    return float(state.discard())


@TOPIC.builtin(
    "SetSender(sender: string | array) -> string | array | none",
    effect=Effect.IO,
    hooks=_DATA,
    examples=['SetSender("list@example.org");'],
)
def set_sender(call: Run, sender: Value) -> Value:
    """Change the sender for all recipients. Gives it, none when it is no address."""
    found = find_address(sender)
    if found is None:
        return None
    state: DataState = call.host.state
    state.sender = found[0]
    if found[1]:
        state.sender_params = found[1]
    show_address(call.host, "sender", found[0])
    return sender


@TOPIC.builtin(
    "SetRecipient(recipient: string | array) -> string | array | none",
    effect=Effect.IO,
    hooks=_DATA,
    examples=['SetRecipient("b@example.org");'],
)
def set_recipient(call: Run, recipient: Value) -> Value:
    """Change this recipient. Gives it, none when it is no address."""
    found = find_address(recipient)
    if found is None or found[0].is_null:
        return None
    state: DataState = call.host.state
    state.recipient = found[0]
    if found[1]:
        state.recipient_params = found[1]
    show_address(call.host, "recipient", found[0])
    return recipient


@TOPIC.builtin(
    "SetMailTransport(transportid: string) -> none",
    effect=Effect.IO,
    hooks=_DATA,
    examples=['SetMailTransport("mailtransport:2");'],
)
def set_mail_transport(call: Run, transportid: str) -> None:
    """Change the transport of this recipient."""
    state: DataState = call.host.state
    state.transport_id = transportid
    call.host.facts["transportid"] = transportid


@TOPIC.builtin(
    "SetDelayedDeliver(delay: number) -> none", effect=Effect.IO, hooks=_DATA, examples=["SetDelayedDeliver(60);"]
)
def set_delayed_deliver(call: Run, delay: float) -> None:
    """Make the first attempt for this recipient no sooner than in `delay` seconds."""
    state: DataState = call.host.state
    state.delay_s = read_seconds("SetDelayedDeliver", "delay", delay)

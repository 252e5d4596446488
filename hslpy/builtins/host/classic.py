"""Functions that only the classic end of DATA has: the route, bounces, attachments by their ids, the client's name.

In: names, ids, patterns. Out: texts and arrays. What no public text says of their results is ours, see deviations.md.
Source: the HSL manuals of 2015 to 2019, the DATA context.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Iterator
from dataclasses import replace

from hslpy.builtins.host.files import file_object, memory_file
from hslpy.builtins.host.headers import message_of, value_of
from hslpy.builtins.host.mailtext import header_addresses
from hslpy.builtins.host.mimepart import rendered_message
from hslpy.builtins.host.options import BOOLEAN, read_options, text_list
from hslpy.builtins.host.sources import host_name
from hslpy.builtins.host.state import DataState
from hslpy.errors import ScriptError
from hslpy.lang import regex
from hslpy.lang.declare import Effect, Topic
from hslpy.lang.run import Run
from hslpy.lang.values import Array, HslObject, Regex, Value
from hslpy.mail.message import Message, parse_fields
from hslpy.mail.parts import Part
from hslpy.mail.received import parse_received
from hslpy.mail.transfer import with_crlf
from hslpy.scan.file_types import media_types

TOPIC = Topic("classic mail")

_DATA = ("data",)
_MOST_BLOCKS = 1000  # recipients that a delivery report tells of


# ---- the message ---------------------------------------------------------------------------------------


@TOPIC.builtin(
    "GetMailFile([options: array | boolean]) -> File",
    effect=Effect.READS,
    hooks=_DATA,
    examples=["GetMailFile()->readline();"],
)
def get_mail_file(call: Run, options: Value = None) -> HslObject:
    """Give the message as a File, as received; with "changes" => true (or true alone) as edited and signed so far."""
    state: DataState = call.host.state
    changes = options if isinstance(options, bool) else None
    if changes is None:
        changes = read_options("GetMailFile", options, {"changes": BOOLEAN}).get("changes", False)
    return memory_file(call, rendered_message(call, state) if changes else state.message.content)


@TOPIC.builtin(
    "GetRoute([extended_result: boolean = false]) -> array",
    effect=Effect.READS,
    hooks=_DATA,
    examples=["$client = GetRoute()[0];", '$by = GetRoute(true)[0]["by"];'],
)
def get_route(call: Run, extended_result: bool = False) -> Array:
    """Give the IP addresses in the Received fields, the latest first; extended, an array for each field.

    That has `helo`, `ip`, `by`, `with`, `id`, `for` and `ts` (Unix seconds), of these what the field tells.
    """
    hops = []
    for field in message_of(call).named("Received"):
        call.charge(1 + len(field.raw) // 50)
        hops.append(parse_received(field.value(decode=False)))
    if extended_result:
        return Array.of([Array.mapping(dict(hop)) for hop in hops])
    return Array.of([hop["ip"] for hop in hops if "ip" in hop])


@TOPIC.builtin(
    "GetAddressList(value: string) -> array",
    effect=Effect.PURE,
    hooks=_DATA,
    examples=['GetAddressList("Charlie <charlie@example.org>")  // ["charlie@example.org"]'],
    deprecated="2019",
)
def get_address_list(call: Run, value: str) -> Array:
    """Give the addresses of a From, To or Cc value; none of them when it is malformed. Now header_addresslist_extract()."""
    return Array.of([address for _, address in header_addresses(call, value) or ()])


@TOPIC.builtin(
    "GetMailFile([options: array]) -> File | none",
    effect=Effect.READS,
    hooks=("predelivery", "postdelivery"),
    examples=["GetMailFile()->readline();"],
    deprecated="2019",
)
def get_queued_mail_file(call: Run, options: Array | None = None) -> HslObject | None:
    """Give the queued message as a File, as received; with "changes" => true as it is sent. Now `$message["file"]`."""
    changes = read_options("GetMailFile", options, {"changes": BOOLEAN}).get("changes", False)
    files = call.host.facts["message"].items.get("file")
    return None if files is None else file_object(files.items["modified" if changes else "original"].host.again())


# ---- bounces -------------------------------------------------------------------------------------------


def _parts(call: Run) -> Iterator[Part]:
    state: DataState = call.host.state

    def work(size_bytes: int) -> None:
        call.charge(1 + (size_bytes >> 10))

    for part in state.root.descendants(work):
        call.charge(5)
        yield part


def _first(call: Run, *types: str) -> Part | None:
    return next((part for part in _parts(call) if part.type in types), None)


@TOPIC.builtin("GetDSN() -> array | boolean", effect=Effect.READS, hooks=_DATA, examples=["if ($dsn = GetDSN()) Delete();"])
def get_dsn(call: Run) -> Array | bool:
    """Give what a delivery report (RFC 3464) says, false when the message is none.

    It has `message`, the fields of the whole, and `recipients`, an array of those of each; names are in lower case.
    """
    part = _first(call, "message/delivery-status", "message/global-delivery-status")
    if part is None:
        return False
    call.charge(1 + ((part.end - part.body_start) >> 6))
    call.reserve(4 * (part.end - part.body_start))
    blocks = [block for block in with_crlf(part.body()).split(b"\r\n\r\n") if block.strip()]
    first, *rest = [_fields(block.lstrip(b"\r\n")) for block in blocks[:_MOST_BLOCKS]] or [Array({}, 0)]
    return Array.mapping({"message": first, "recipients": Array.of([one for one in rest if one.items])})


def _fields(block: bytes) -> Array:
    found: dict[str, Value] = {}
    for field in parse_fields(block + b"\r\n\r\n"):
        if field.name:
            found.setdefault(field.name.lower(), field.value())
    return Array.mapping(found)


@TOPIC.builtin(
    "GetDSNHeader(name: string, [skip_decode: boolean = false]) -> string",
    effect=Effect.READS,
    hooks=_DATA,
    examples=['$id = GetDSNHeader("Message-ID");'],
)
def get_dsn_header(call: Run, name: str, skip_decode: bool = False) -> str:
    """Give the value of a field of the message that a bounce gives back, an empty string when there is none."""
    part = _first(call, "message/rfc822", "message/global", "text/rfc822-headers", "message/global-headers")
    if part is None:
        return ""
    call.reserve(2 * (part.end - part.body_start))
    call.charge(1 + ((part.end - part.body_start) >> 8))
    fields = Message(with_crlf(part.body())).named(name)
    return value_of(call, fields[0], not skip_decode) if fields else ""


# ---- attachments -----------------------------------------------------------------------------------------


def _matching(call: Run, pattern: str | Regex, text_of: Callable[[Part], str | None]) -> Array:
    wanted = pattern
    if isinstance(pattern, str):
        text, modifiers = regex.unwrap(pattern)
        wanted = Regex(text, modifiers if "i" in modifiers else modifiers + "i")
    found = []
    for part in _parts(call):
        call.charge((part.body_start - part.start) // 200)
        shown = text_of(part)
        if shown is not None and regex.matches(call, shown, wanted):
            found.append(part.id)
    return Array.of(found)


def _of_each(call: Run, function: str, ids: Value, give: Callable[[Part], Value]) -> Array:
    """Give something of each part named, none for an id that there isn't; "/" and "0" are the message."""
    state: DataState = call.host.state
    known = {part.id: part for part in _parts(call)}
    known |= {"/": state.root, "0": state.root}
    results = []
    for one in text_list(f"{function}()", ids):
        part = known.get(one)
        results.append(None if part is None else give(part))
    return Array.of(results)


@TOPIC.builtin(
    "GetAttachmentsByName(filename: Regex | string) -> array",
    effect=Effect.READS,
    hooks=_DATA,
    examples=['RemoveAttachments(GetAttachmentsByName("[.]exe$"));'],
    deprecated="2016",
)
def get_attachments_by_name(call: Run, filename: str | Regex) -> Array:
    """Give the ids of the parts whose file name matches; a string is a regular expression in any case."""
    return _matching(call, filename, lambda part: part.file_name)


@TOPIC.builtin(
    "GetAttachmentsByType(mimetype: Regex | string) -> array",
    effect=Effect.READS,
    hooks=_DATA,
    examples=['$images = GetAttachmentsByType("^image/");'],
    deprecated="2016",
)
def get_attachments_by_type(call: Run, mimetype: str | Regex) -> Array:
    """Give the ids of the parts whose media type matches; a string is a regular expression in any case."""
    return _matching(call, mimetype, lambda part: part.type)


@TOPIC.builtin(
    "GetAttachmentName(partid: array | string) -> array",
    effect=Effect.READS,
    hooks=_DATA,
    examples=['GetAttachmentName("2")[0];'],
    deprecated="2016",
)
def get_attachment_name(call: Run, partid: Value) -> Array:
    """Give the file names of the parts with these ids, in order; none where there is no name or no such part."""
    return _of_each(call, "GetAttachmentName", partid, lambda part: part.file_name)


@TOPIC.builtin(
    "GetAttachmentType(partid: array | string) -> array",
    effect=Effect.READS,
    hooks=_DATA,
    examples=['GetAttachmentType("2")[0];'],
    deprecated="2016",
)
def get_attachment_type(call: Run, partid: Value) -> Array:
    """Give the media types of the parts with these ids, in order; none where there is none or no such part."""
    return _of_each(call, "GetAttachmentType", partid, lambda part: part.type)


@TOPIC.builtin(
    "GetAttachmentSize(partid: array | string) -> array",
    effect=Effect.READS,
    hooks=_DATA,
    examples=['$size = GetAttachmentSize("/")[0];'],
    deprecated="2016",
)
def get_attachment_size(call: Run, partid: Value) -> Array:
    """Give the sizes of the parts with these ids in bytes, their transfer encoding undone; "/" is the whole message."""

    def size(part: Part) -> float:
        if part.depth == 0:
            return float(part.end - part.start)
        return float(len(_body(call, part)))

    return _of_each(call, "GetAttachmentSize", partid, size)


def _body(call: Run, part: Part) -> bytes:
    call.charge(1 + ((part.end - part.body_start) >> 8))
    call.reserve(2 * (part.end - part.body_start))
    return part.body()


@TOPIC.builtin(
    "GuessAttachmentType(partid: array | string) -> array",
    effect=Effect.READS,
    hooks=_DATA,
    examples=['if (array_includes("application/x-dosexec", GuessAttachmentType(["1", "2"]))) Reject("No programs");'],
    deprecated="2016",
)
def guess_attachment_type(call: Run, partid: Value) -> Array:
    """Give the likeliest media types of the parts with these ids, by what is in them; none where there is no such part."""

    def guess(part: Part) -> str:
        call.charge(200)
        return str(call.offload(media_types, _body(call, part))[0])

    return _of_each(call, "GuessAttachmentType", partid, guess)


@TOPIC.builtin(
    "RemoveAttachments(partid: array | string) -> none",
    effect=Effect.IO,
    hooks=_DATA,
    examples=['RemoveAttachments(GetAttachmentsByType("^application/x-msdownload$"));'],
    deprecated="2016",
)
def remove_attachments(call: Run, partid: Value) -> None:
    """Remove the parts with these ids; an id that there isn't is left out."""
    state: DataState = call.host.state

    def remove(part: Part) -> None:
        if part.depth == 0:
            raise ScriptError("R302", "RemoveAttachments() wants parts, not the whole message")
        state.parts.change(part, removed=True)

    _of_each(call, "RemoveAttachments", partid, remove)


# ---- the client ------------------------------------------------------------------------------------------


@TOPIC.builtin(
    "SetSenderIP(ip: string) -> string | none", effect=Effect.IO, hooks=_DATA, examples=['SetSenderIP("192.0.2.1");']
)
def set_sender_ip(call: Run, ip: str) -> str | None:
    """Change the client's IP address, for what comes and in the queue. Gives it, none when it is no address."""
    try:
        address = str(ipaddress.ip_address(ip))
    except ValueError:
        return None
    state: DataState = call.host.state
    state.remote_ip = address
    _change_connection(call, "senderip", address, remote_ip=address)
    return ip


@TOPIC.builtin(
    "SetSenderHELO(hostname: string) -> string | none",
    effect=Effect.IO,
    hooks=_DATA,
    examples=['SetSenderHELO("mail.example.com");'],
)
def set_sender_helo(call: Run, hostname: str) -> str | None:
    """Change the client's name in HELO, for what comes and in the queue. Gives it, none when it is no host name."""
    try:
        host_name("SetSenderHELO", hostname)
    except ScriptError:
        return None
    state: DataState = call.host.state
    state.helo = hostname
    old = call.host.event.connection.helo
    _change_connection(call, "senderhelo", hostname, helo=None if old is None else replace(old, host=hostname))
    return hostname


def _change_connection(call: Run, fact: str, text: str, **changes: object) -> None:
    """Change the connection as this message's scripts see it from here on."""
    host = call.host
    host.event = replace(host.event, connection=replace(host.event.connection, **changes))
    host.facts[fact] = text
    host.facts.pop("connection", None)

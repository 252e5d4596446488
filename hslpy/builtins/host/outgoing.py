"""Mail that scripts queue or send by themselves: what `queue` and `send` of messages and builders share.

In: content, addresses, options. Out: ids, or what the server said. Source: the HSL manual, 2019, MIME and MailMessage.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hslpy.builtins.host.attempted import attempt_array
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
    xclient_map,
)
from hslpy.builtins.host.peers import TLS
from hslpy.builtins.host.routing import hosts_fields, timeout_fields, tls_fields
from hslpy.builtins.host.sources import host_name, read_sources
from hslpy.errors import ScriptError
from hslpy.lang.run import Run
from hslpy.lang.values import Array, Value
from hslpy.late import uuid
from hslpy.mail.address import Address
from hslpy.mail.attempt import AttemptFacts, Sending
from hslpy.mail.message import split_content
from hslpy.mail.verdict import TryOptions
from hslpy.records import dataclass
from hslpy.spool.contract import NewMessage, NewRecipient, SpoolError

MOST_QUEUED = 1000  # of one run
_QUEUED = "mail queued"  # where a run's scratch counts them
MOST_RECIPIENTS = 1000  # of one message that a script sends
_QUEUE = {
    "metadata": ARRAY,
    "hold": BOOLEAN,
    "jobid": TEXT,
    "delay": NUMBER,
    "dsn": ARRAY,
    "priority": NUMBER,
    "tenantid": TEXT,
}
_QUEUE_ELSEWHERE = ("quotas", "plugin")
_DSN = {"envid": TEXT, "ret": TEXT, "notify": ("string", "array"), "orcpt": TEXT}
_SERVER = {
    "host": TEXT,
    "port": NUMBER,
    "helo": TEXT,
    "sourceip": ("string", "array"),
    "sourceipid": TEXT,
    "sourceip_random": BOOLEAN,
    "nonlocal_source": BOOLEAN,
    "saslusername": TEXT,
    "saslpassword": TEXT,
    "tls": TEXT,
    "tls_sni": ("string", "boolean"),
    "tls_verify_name": ARRAY,
    **TLS,
    "xclient": ARRAY,
    "protocol": TEXT,
    "mx_include": ARRAY,
    "mx_exclude": ARRAY,
    "timeout": ("number", "array"),
    "connect_timeout": NUMBER,
}
_RETS = ("FULL", "HDRS")
_NOTIFY = ("NEVER", "SUCCESS", "FAILURE", "DELAY")


@dataclass(frozen=True, slots=True)
class QueueWish:
    """What `queue` was asked for: one recipient and how it is to be queued."""

    sender: Address
    sender_params: Mapping[str, str]
    recipient: Address
    recipient_params: Mapping[str, str]
    transport_id: str
    metadata: Mapping[str, str]
    hold: bool
    delay_s: float
    job_id: str
    priority: int
    tenant_id: str


def read_wish(sender: Value, recipient: Value, transportid: str, options: Array | None) -> QueueWish:
    """Give what the arguments of `queue` ask for. Raises ScriptError R301 to R303."""
    given = read_options("queue", options, _QUEUE, _QUEUE_ELSEWHERE)
    sender_address, sender_params = read_address("queue", sender, null_allowed=True)
    recipient_address, recipient_params = read_address("queue", recipient)
    for_sender, for_recipient = dsn_params("queue", given.get("dsn"))
    return QueueWish(
        sender=sender_address,
        sender_params=sender_params | for_sender,
        recipient=recipient_address,
        recipient_params=recipient_params | for_recipient,
        transport_id=transportid,
        metadata=read_metadata(given["metadata"]) if "metadata" in given else {},
        hold=given.get("hold", False),
        delay_s=read_seconds("queue", "delay", given["delay"]) if "delay" in given else 0.0,
        job_id=given.get("jobid", ""),
        priority=read_integer("queue", "priority", given["priority"], 0, 1000) if "priority" in given else 0,
        tenant_id=given.get("tenantid", ""),
    )


def dsn_params(function: str, value: Array | None) -> tuple[dict[str, str], dict[str, str]]:
    """Give the parameters of MAIL and RCPT that the option `dsn` asks for. Raises ScriptError R302."""
    if value is None:
        return {}, {}
    given = read_options(f"`dsn` of {function}()", value, _DSN)
    for_sender: dict[str, str] = {}
    for_recipient: dict[str, str] = {}
    if given.get("envid"):
        for_sender["ENVID"] = given["envid"]
    if given.get("ret"):
        if given["ret"].upper() not in _RETS:
            raise ScriptError("R302", f'{function}() wants `ret` in `dsn` as "FULL" or "HDRS"')
        for_sender["RET"] = given["ret"].upper()
    if given.get("orcpt"):
        for_recipient["ORCPT"] = given["orcpt"]
    notify = given.get("notify")
    if notify:
        words = list(notify.values()) if notify.__class__ is Array else notify.split(",")
        wanted = [word.strip().upper() if isinstance(word, str) else "" for word in words]
        if not set(wanted) <= set(_NOTIFY) or ("NEVER" in wanted and len(wanted) > 1):
            raise ScriptError("R302", f"{function}() wants `notify` in `dsn` as NEVER, or of SUCCESS, FAILURE and DELAY")
        for_recipient["NOTIFY"] = ",".join(wanted)
    return for_sender, for_recipient


def queue_content(call: Run, content: bytes, wish: QueueWish) -> Array:
    """Queue a message of the script's own; give ["transaction", "queue"]. Raises ScriptError R301 and R311."""
    outbox = call.host.services.outbox
    if outbox is None:
        raise ScriptError("R301", "there is no queue here to take mail from scripts")
    count = call.scratch[_QUEUED] = call.scratch.get(_QUEUED, 0) + 1
    if count > MOST_QUEUED:
        raise ScriptError("R311", f"a script queues at most {MOST_QUEUED:,} messages of its own in a run")
    header, body = split_content(content)
    if body and not body.endswith(b"\r\n"):
        body += b"\r\n"
    now = call.clock.time()
    message = NewMessage(
        transaction_id=str(uuid.UUID(int=call.random.getrandbits(128), version=4)),
        received_at=now,
        remote_ip="",
        helo="",
        sasl_username="",
        server_id="",
        header=header,
        body=body,
        recipients=(
            NewRecipient(
                recipient=wish.recipient,
                sender=wish.sender,
                transport_id=wish.transport_id,
                due_at=now + wish.delay_s,
                recipient_params=wish.recipient_params,
                sender_params=wish.sender_params,
                metadata=wish.metadata,
                hold=wish.hold,
                job_id=wish.job_id,
                priority=wish.priority,
                tenant_id=wish.tenant_id,
            ),
        ),
    )
    call.charge(200)
    try:
        (entry,) = call.wait(outbox.queue(message))
    except SpoolError as error:
        raise ScriptError("R311", f"the message could not be queued: {error.message}") from None
    ids = {"transaction": entry.transaction_id, "queue_id": entry.queue_id, "recipient": str(wish.recipient)}
    call.host.services.log("hooks.queued", {**ids, "sender": str(wish.sender), "hook": call.host.hook})
    return Array.mapping({"transaction": entry.transaction_id, "queue": float(entry.queue_id)})


def send_content(call: Run, content: bytes, sender: Value, recipients: Array, server: Value) -> Array:
    """Try a message at once; give `result` or `error`, as an attempt has it."""
    facts = attempts_of(call, content, sender, recipients, server)
    array = attempt_array(worst(facts))
    array.set("recipients", Array.of([attempt_array(one) for one in facts]))
    return array


def worst(facts: list[AttemptFacts]) -> AttemptFacts:
    """Give what a sender must know of several recipients: a failure for now, else one for good, else the last success."""
    return max(reversed(facts), key=_weight)


def _weight(one: AttemptFacts) -> int:
    if not one.code:
        return 3 if one.error_temporary else 2
    return 0 if one.code < 400 else 3 if one.code < 500 else 2


def attempts_of(call: Run, content: bytes, sender: Value, recipients: Array, server: Value) -> list[AttemptFacts]:
    """Try a message at once; give what came of it for each recipient. Raises ScriptError."""
    sender_address, sender_params = read_address("send", sender, null_allowed=True)
    people = [read_address("send", one) for one in recipients.values()]
    if not 1 <= len(people) <= MOST_RECIPIENTS:
        raise ScriptError("R302", f"send() wants 1 to {MOST_RECIPIENTS:,} recipients, got {len(people)}")
    transport_id, options = (server, TryOptions()) if server.__class__ is str else ("", read_server(call, server))
    if not content.endswith(b"\r\n"):
        content += b"\r\n"
    return attempt_now(
        call,
        Sending(
            sender=sender_address,
            recipients=tuple(address for address, _ in people),
            content=content,
            sender_params=sender_params,
            recipient_params=tuple(params for _, params in people),
            transport_id=transport_id,
            options=options,
            ids=call.host.ids,
        ),
    )


def attempt_now(call: Run, sending: Sending) -> list[AttemptFacts]:
    """Have a message tried. Raises ScriptError R301 where nothing can be sent."""
    outbox = call.host.services.outbox
    if outbox is None:
        raise ScriptError("R301", "there is nothing here that sends mail for scripts")
    call.charge(500)
    return list(call.wait(outbox.send(sending)))


def read_server(call: Run, value: Array) -> TryOptions:
    """Give how to reach the server that `send` names. Raises ScriptError R301, R302, R306."""
    given = read_options("send", value, _SERVER, ("plugin",))
    if "host" not in given:
        raise ScriptError("R302", "send() wants `host` in `server`", hint="or give a transport's id instead of an array")
    fields: dict[str, Any] = {"tls": "disabled", "host": host_name("send", given["host"])}
    fields["port"] = read_integer("send", "port", given.get("port", 25.0), 1, 65535)
    fields |= tls_fields(call, "send", given) | timeout_fields("send", given) | hosts_fields(given)
    if given.get("tls_sni") is True:
        fields["tls_sni"] = fields["host"]
    fields["tls_verify_host"] = given.get("tls_verify_host", False)
    named = given.get("sourceipid", given.get("sourceip"))
    if named is not None:
        addresses = {address: name for name, address in call.host.services.source_addresses.items()}
        if named.__class__ is str and "sourceipid" not in given:
            named = addresses.get(named, named)
        fields["sources"] = read_sources("send", call.host, named, given.get("nonlocal_source", False))
    if "helo" in given:
        fields["helo"] = host_name("send", given["helo"])
    if given.get("protocol", "smtp") not in ("smtp", "lmtp"):
        raise ScriptError("R302", f'send() wants `protocol` as "smtp" or "lmtp", got "{given["protocol"][:20]}"')
    if "xclient" in given:
        fields["xclient"] = xclient_map("`xclient`", given["xclient"])
    for option, field in _RENAMED.items():
        if option in given:
            fields[field] = given[option]
    return TryOptions(**fields)


_RENAMED = {
    "protocol": "protocol",
    "sourceip_random": "source_random",
    "saslusername": "sasl_username",
    "saslpassword": "sasl_password",
}

"""Shows events to scripts: one small function a variable, from the run's host to an HSL value, called when first read.

In: `HookHost` (its event and state). Out: values, and `Facts`, the lazy mapping. The names that scripts use, and the hooks
where each variable exists, are rows of `table.py`. Classic and modern variables are two views of the same event.
"""

from __future__ import annotations

import io
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, BinaryIO

from hslpy.builtins.host.attempted import attempt_array, tls_array
from hslpy.builtins.host.contract import HookHost
from hslpy.builtins.host.files import FILE_RESOURCE
from hslpy.builtins.host.mailmessage import received_message
from hslpy.builtins.host.options import map_array
from hslpy.client.files import ReadFile
from hslpy.hooks.facts import AttemptFacts, ConnectionFacts, QueuedFacts, RecipientFacts, TransactionFacts
from hslpy.hooks.suspend import wait
from hslpy.lang.values import Array, Resource, Value
from hslpy.mail.address import Address, ascii_lower
from hslpy.spool.contract import SpoolError

Builder = Callable[[HookHost], Value]


class Facts(dict[str, Value]):
    """The predefined variables of one run; each is built when it is first read."""

    __slots__ = ("builders", "host")

    def __init__(self, builders: Mapping[str, Builder], host: HookHost) -> None:
        super().__init__()
        self.builders = builders
        self.host = host

    def __missing__(self, name: str) -> Value:
        value = self[name] = self.builders[name](self.host)
        return value


# ---- pieces -------------------------------------------------------------------------------------


def address_array(address: Address) -> Array:
    return Array.mapping({"localpart": address.local_part, "domain": address.domain})


def lower(address: Address) -> str:
    return ascii_lower(str(address))


def _recipient_array(one: RecipientFacts) -> Array:
    return Array.mapping(
        {
            "recipient": lower(one.address),
            "address": address_array(one.address),
            "params": map_array(one.params),
            "transportid": one.transport_id,
        }
    )


def _connection(host: HookHost) -> ConnectionFacts:
    return host.event.connection  # type: ignore[no-any-return]


def _transaction(host: HookHost) -> TransactionFacts:
    return host.event.transaction  # type: ignore[no-any-return]


def _message(host: HookHost) -> QueuedFacts:
    return host.event.message  # type: ignore[no-any-return]


def _attempt(host: HookHost) -> AttemptFacts | None:
    return host.event.attempt  # type: ignore[no-any-return]


def context(host: HookHost) -> Value:
    return host.event.context.value


def kept_context(host: HookHost) -> Value:
    """What pre-delivery left; there is no such variable when it did not run (a KeyError, which `isset` understands)."""
    kept = host.event.context
    if not kept.defined:
        raise KeyError("context")
    return kept.value


# ---- modern arrays. Source: the HSL manual, 2019 ------------------------------------------------


def connection_array(host: HookHost) -> Array:
    facts = _connection(host)
    fields: dict[str, Value] = {
        "id": facts.id,
        "priority": float(facts.priority),
        "remoteip": facts.remote_ip,
        "remoteport": float(facts.remote_port),
        "localip": facts.local_ip,
        "localport": float(facts.local_port),
        "serverid": facts.server_id,
    }
    if facts.remote_ptr is not None:
        fields["remoteptr"] = facts.remote_ptr
    if facts.helo is not None:
        fields["helo"] = Array.mapping({"verb": facts.helo.verb, "host": facts.helo.host})
    if facts.tls is not None:
        fields["tls"] = Array.mapping(tls_array(facts.tls))
    if facts.auth is not None:
        auth: dict[str, Value] = {"mechanism": facts.auth.mechanism}
        if facts.auth.username is not None:
            auth["username"] = facts.auth.username
        fields["auth"] = Array.mapping(auth)
    return Array.mapping(fields)


def transaction_id_array(host: HookHost) -> Array:
    """Before MAIL a transaction has nothing but an id: the connection's."""
    return Array.mapping({"id": _connection(host).id})


def transaction_array(host: HookHost) -> Array:
    facts = _transaction(host)
    fields: dict[str, Value] = {
        "id": facts.id,
        "sender": lower(facts.sender),
        "senderaddress": address_array(facts.sender),
        "senderparams": map_array(facts.sender_params),
        "recipients": Array.of([_recipient_array(one) for one in facts.recipients]),
    }
    received_at = getattr(host.event, "received_at", None)
    if received_at is not None:
        fields["ts"] = received_at
    return Array.mapping(fields)


def connect_arguments(host: HookHost) -> Array:
    facts = _connection(host)
    fields: dict[str, Value] = {
        "remoteip": facts.remote_ip,
        "remoteport": float(facts.remote_port),
        "localip": facts.local_ip,
        "localport": float(facts.local_port),
        "serverid": facts.server_id,
    }
    if facts.remote_ptr is not None:
        fields["remoteptr"] = facts.remote_ptr
    return Array.mapping(fields)


def transaction_so_far(host: HookHost) -> Array:
    """The transaction where there is one, else an id alone."""
    return transaction_id_array(host) if host.event.transaction is None else transaction_array(host)


def proxy_arguments(host: HookHost) -> Array:
    return Array.mapping({"command": host.event.command})


def helo_arguments(host: HookHost) -> Array:
    event = host.event
    return Array.mapping({"verb": event.verb, "host": event.host, "extensions": Array.of(event.extensions)})


def auth_arguments(host: HookHost) -> Array:
    event = host.event
    fields: dict[str, Value] = {"mechanism": event.mechanism, "state": float(event.state)}
    for name in ("username", "password", "response"):
        value = getattr(event, name)
        if value is not None:
            fields[name] = value
    return Array.mapping(fields)


def mail_arguments(host: HookHost) -> Array:
    facts = _transaction(host)
    return Array.mapping(
        {"sender": lower(facts.sender), "address": address_array(facts.sender), "params": map_array(facts.sender_params)}
    )


def rcpt_arguments(host: HookHost) -> Array:
    return _recipient_array(host.event.recipient)


def data_arguments(host: HookHost) -> Array:
    state = host.state
    return _recipient_array(RecipientFacts(state.recipient, state.recipient_params, state.transport_id))


def eod_arguments(host: HookHost) -> Array:
    return Array.mapping({"mail": received_message(host.state)})


def disconnect_arguments(host: HookHost) -> Array:
    event = host.event
    fields: dict[str, Value] = {"close": event.closed_by}
    if event.error is not None:
        fields["error"] = event.error
    return Array.mapping(fields)


class QueuedFile(ReadFile):
    """A message's content in the spool, read when a script first asks for it."""

    _held: BinaryIO

    def __init__(self, read: Callable[[], Awaitable[bytes]]) -> None:
        super().__init__(io.BytesIO())
        self._read: Callable[[], Awaitable[bytes]] | None = read
        self._source = read

    def again(self) -> QueuedFile:
        """Give another file of the same content, open and at its start."""
        return QueuedFile(self._source)

    def close(self) -> None:
        self._read = None  # nothing is read for the sake of closing it
        super().close()

    @property
    def _stream(self) -> BinaryIO:
        if self._read is not None and not self._held.closed:
            read, self._read = self._read, None
            try:
                content = wait(read())
            except SpoolError as error:
                raise OSError(error.message) from None
            self._held = io.BytesIO(content)
            self.held_bytes = len(content)
        return self._held

    @_stream.setter
    def _stream(self, stream: BinaryIO) -> None:
        self._held = stream
        self._read = None


def _dsn_array(facts: QueuedFacts) -> Array:
    """The DSN parameters of the envelope. Source: RFC 3461 section 4."""
    sender = {name.upper(): value for name, value in facts.sender_params.items()}
    recipient = {name.upper(): value for name, value in facts.recipient_params.items()}
    return Array.mapping(
        {
            "envid": sender.get("ENVID", ""),
            "ret": sender.get("RET", ""),
            "notify": recipient.get("NOTIFY", ""),
            "orcpt": recipient.get("ORCPT", ""),
        }
    )


def message_array(host: HookHost) -> Array:
    facts = _message(host)
    more: dict[str, Value] = {"dsn": _dsn_array(facts)}
    if facts.tenant_id:
        more["tenantid"] = facts.tenant_id
    if facts.content is not None and facts.received is not None:
        files = {"original": QueuedFile(facts.received), "modified": QueuedFile(facts.content)}
        more["file"] = Array.mapping({name: Resource(FILE_RESOURCE, file) for name, file in files.items()})
    return Array.mapping(
        {
            "id": Array.mapping({"transaction": facts.transaction_id, "queue": float(facts.queue_id)}),
            "ts": facts.received_at,
            "serverid": facts.server_id,
            "sender": lower(facts.sender),
            "senderaddress": address_array(facts.sender),
            "recipient": lower(facts.recipient),
            "recipientaddress": address_array(facts.recipient),
            "transportid": facts.transport_id,
            "jobid": facts.job_id,
            "priority": float(facts.priority),
            "size": float(facts.size_bytes),
            **more,
        }
    )


def pre_arguments(host: HookHost) -> Array:
    return Array.mapping({"retry": float(_message(host).retries)})


def post_arguments(host: HookHost) -> Array:
    event = host.event
    fields: dict[str, Value] = {"retry": float(event.message.retries), "expired": event.expired}
    if event.action is not None:
        fields["action"] = event.action
    if event.attempt is not None:
        fields["attempt"] = attempt_array(event.attempt)
    if event.report is not None:
        report = event.report
        fields["dsn"] = Array.mapping(
            {
                **({"action": report.action} if report.action else {}),
                "status": Array.of(float(part) for part in report.status),
                "diagnostictype": report.kind,
                "diagnosticcode": report.diagnostic,
            }
        )
    return Array.mapping(fields)


# ---- classic variables. Source: the HSL manual, 2015 to 2018 ------------------------------------


def connection_field(name: str) -> Builder:
    """Give the builder of a text of the connection."""
    return lambda host: getattr(host.event.connection, name)


def connection_number(name: str) -> Builder:
    return lambda host: float(getattr(host.event.connection, name))


def helo_host(host: HookHost) -> str:
    helo = _connection(host).helo
    return helo.host if helo is not None else ""


def greeted_host(host: HookHost) -> str:
    return str(host.event.host)


def tls_started(host: HookHost) -> bool:
    return _connection(host).tls is not None


def tls_text(name: str) -> Builder:
    def build(host: HookHost) -> str:
        tls = _connection(host).tls
        return str(getattr(tls, name)) if tls is not None else ""

    return build


def tls_key_bits(host: HookHost) -> float:
    tls = _connection(host).tls
    return float(tls.key_bits) if tls is not None else 0.0


def signed_in(host: HookHost) -> bool:
    return _connection(host).auth is not None


def login(host: HookHost) -> str:
    auth = _connection(host).auth
    return (auth.username or "") if auth is not None else ""


def auth_field(name: str) -> Builder:
    """Give the builder of a field of the AUTH event, none where it has none."""
    return lambda host: getattr(host.event, name)


def auth_state(host: HookHost) -> float:
    return float(host.event.state)


def connection_id(host: HookHost) -> str:
    return _connection(host).id


def transaction_id(host: HookHost) -> str:
    return _transaction(host).id


def id_so_far(host: HookHost) -> str:
    return connection_id(host) if host.event.transaction is None else transaction_id(host)


def command(host: HookHost) -> str:
    return str(host.event.command)


def sender(host: HookHost) -> str:
    return lower(_transaction(host).sender)


def sender_domain(host: HookHost) -> str:
    return ascii_lower(_transaction(host).sender.domain)


def sender_local_part(host: HookHost) -> str:
    return _transaction(host).sender.local_part


def sender_params(host: HookHost) -> Array:
    return map_array(_transaction(host).sender_params)


def recipients(host: HookHost) -> Array:
    return Array.of([lower(one.address) for one in _transaction(host).recipients])


def recipient_domains(host: HookHost) -> Array:
    return Array.of([ascii_lower(one.address.domain) for one in _transaction(host).recipients])


def rcpt_field(build: Callable[[RecipientFacts], Value]) -> Builder:
    """Give the builder of something of the recipient at RCPT TO."""
    return lambda host: build(host.event.recipient)


def data_sender(build: Callable[[Address], Value]) -> Builder:
    """Give the builder of something of the sender as an earlier recipient's script may have changed it."""
    return lambda host: build(host.state.sender)


def data_recipient(build: Callable[[Address], Value]) -> Builder:
    """Give the builder of something of the recipient whose turn it is."""
    return lambda host: build(host.state.recipient)


def data_recipient_params(host: HookHost) -> Array:
    return map_array(host.state.recipient_params)


def data_transport(host: HookHost) -> str:
    return str(host.state.transport_id)


def data_action_id(host: HookHost) -> float:
    return float(host.state.actions + 1)


def queued(build: Callable[[QueuedFacts], Any]) -> Builder:
    """Give the builder of something of the queued recipient."""
    return lambda host: build(host.event.message)


def destination(host: HookHost) -> str:
    return str(host.event.destination)


def destination_port(host: HookHost) -> float:
    return float(host.event.port)


def unset(host: HookHost) -> Value:
    """A variable that is there once the script has set it."""
    raise KeyError("error")


def nothing(host: HookHost) -> str:
    return ""


def tried(name: str) -> Builder:
    """Give the builder of a text of the attempt, empty when there was none."""

    def build(host: HookHost) -> str:
        attempt = _attempt(host)
        return str(getattr(attempt, name)) if attempt is not None else ""

    return build


def tried_number(name: str) -> Builder:
    def build(host: HookHost) -> float:
        attempt = _attempt(host)
        return float(getattr(attempt, name)) if attempt is not None else 0.0

    return build


def error_message(host: HookHost) -> str:
    """What the server said, after its enhanced code, or what went wrong in the network."""
    attempt = _attempt(host)
    if attempt is None:
        return ""
    if not attempt.code:
        return attempt.error or ""
    return " ".join((*([error_ndr(host)] if attempt.enhanced else []), *attempt.reason))


def error_ndr(host: HookHost) -> str:
    attempt = _attempt(host)
    return "{}.{}.{}".format(*attempt.enhanced) if attempt is not None and attempt.enhanced else ""


def classic_action(host: HookHost) -> str:
    action = host.event.action
    return "RETRY" if action == "QUEUE" else action or ""

"""What the server hands to a hook: one event class a hook, in our own terms. Knows nothing of HSL's spelling.

`smtp` and `delivery` build these and get a verdict back; `hooks/bind.py` shows them to scripts under HSL's names.
Times are Unix seconds. Source: the HSL manual's hook pages.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import field

from hslpy.mail.address import Address
from hslpy.mail.attempt import AttemptFacts as AttemptFacts
from hslpy.mail.attempt import TlsFacts as TlsFacts
from hslpy.records import record


class Context:
    """The holder of `$context`: one a connection, and one a queued recipient from pre- to post-delivery.

    `value` is an HSL value that only `hooks` reads and writes; `scans` keeps the scanner results of one transaction,
    with its id.
    """

    __slots__ = ("defined", "scans", "value")

    def __init__(self) -> None:
        self.value: object = None
        self.defined = False
        self.scans: tuple[str, dict[str, object]] = ("", {})


@record
class HeloFacts:
    verb: str
    host: str


@record
class AuthFacts:
    mechanism: str
    username: str | None


@record
class ConnectionFacts:
    """The connection as it stands. `server_id` is the listener's name, as in `mailserver:1`."""

    id: str
    remote_ip: str
    remote_port: int
    local_ip: str
    local_port: int
    server_id: str
    remote_ptr: str | None = None
    helo: HeloFacts | None = None
    tls: TlsFacts | None = None
    auth: AuthFacts | None = None
    priority: int = 0


@record
class RecipientFacts:
    address: Address
    params: Mapping[str, str]
    transport_id: str


@record
class TransactionFacts:
    """The transaction as it stands: `sender` from MAIL on, `recipients` those accepted so far."""

    id: str
    sender: Address
    sender_params: Mapping[str, str] = field(default_factory=dict)
    recipients: tuple[RecipientFacts, ...] = ()


@record
class ConnectEvent:
    connection: ConnectionFacts
    context: Context


@record
class ProxyEvent:
    """A command line, without CRLF, as it came (latin-1). `transaction` from MAIL on."""

    connection: ConnectionFacts
    context: Context
    transaction: TransactionFacts | None
    command: str


@record
class HeloEvent:
    connection: ConnectionFacts
    context: Context
    verb: str
    host: str
    extensions: tuple[str, ...] = ()


@record
class AuthEvent:
    """One step of AUTH. With PLAIN and LOGIN the server decodes `username` and `password` itself, `state` is 0."""

    connection: ConnectionFacts
    context: Context
    mechanism: str
    username: str | None
    password: str | None
    state: int = 0
    response: str | None = None


@record
class MailFromEvent:
    """`transaction` has the new id and the sender as given; the verdict may rewrite it."""

    connection: ConnectionFacts
    context: Context
    transaction: TransactionFacts


@record
class RcptToEvent:
    connection: ConnectionFacts
    context: Context
    transaction: TransactionFacts
    recipient: RecipientFacts


@record
class DataEvent:
    """End of DATA: `content` is the message as it would be stored, our Received header included, CRLF line ends."""

    connection: ConnectionFacts
    context: Context
    transaction: TransactionFacts
    content: bytes
    received_at: float


@record
class DisconnectEvent:
    """`closed_by` is `local` or `remote`."""

    connection: ConnectionFacts
    context: Context
    closed_by: str
    error: str | None = None


@record
class QueuedFacts:
    """A queued recipient as scripts see it. `retries` counts the attempts that were charged so far, `most_retries` how
    many the schedule has room for; `content` and `received` read the message as it is sent and as it came, and raise
    SpoolError; `egress` is what its delivery IP is chosen by; `action_id` says which of the message's queued copies it
    is, from 1.
    """

    transaction_id: str
    queue_id: int
    received_at: float
    sender: Address
    recipient: Address
    transport_id: str
    retries: int
    size_bytes: int
    server_id: str = ""
    remote_ip: str = ""
    helo: str = ""
    sasl_username: str = ""
    metadata: Mapping[str, str] = field(default_factory=dict)
    sender_params: Mapping[str, str] = field(default_factory=dict)
    recipient_params: Mapping[str, str] = field(default_factory=dict)
    action_id: int = 1
    job_id: str = ""
    priority: int = 0
    tenant_id: str = ""
    most_retries: int = 0
    egress: Mapping[str, str] = field(default_factory=dict)
    content: Callable[[], Awaitable[bytes]] | None = field(default=None, compare=False, repr=False)
    received: Callable[[], Awaitable[bytes]] | None = field(default=None, compare=False, repr=False)


@record
class PreDeliveryEvent:
    """Before an attempt. `destination` and `port` are the transport's next hop, "" and 25 for MX delivery."""

    message: QueuedFacts
    context: Context
    destination: str = ""
    port: int = 25


@record
class ReportFacts:
    """What a report on a failure says: `action` is "failed" where there will be one, else empty; `kind` is `smtp` where a
    server said the diagnostic, else `x-error`.
    """

    action: str
    status: tuple[int, int, int]
    kind: str
    diagnostic: str


@record
class PostDeliveryEvent:
    """After an attempt, an expiry, or a pre-delivery script's order to delete or bounce.

    `action` is what will happen unless the script says otherwise: `QUEUE`, `BOUNCE`, `DELETE`, None after success.
    """

    message: QueuedFacts
    context: Context
    action: str | None
    attempt: AttemptFacts | None
    expired: bool = False
    report: ReportFacts | None = None


Event = (
    ConnectEvent
    | ProxyEvent
    | HeloEvent
    | AuthEvent
    | MailFromEvent
    | RcptToEvent
    | DataEvent
    | DisconnectEvent
    | PreDeliveryEvent
    | PostDeliveryEvent
)

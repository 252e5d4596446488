"""What a hook decided, as data. In: nothing. Out: the verdict of each kind of hook.

`smtp` and `delivery` act on these without knowing that a script gave them. `failed` says that the verdict stands in
for a script that failed; `by` is the line of the script that decided, for the log, empty where none did. Defaults are
the field's: nothing is changed. Source: the HSL manual's hook pages.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import field
from typing import Literal

from hslpy.mail.address import Address
from hslpy.mail.reply import Reply
from hslpy.records import record

SmtpAction = Literal["accept", "reject", "defer", "reply", "pass"]


@record
class SmtpVerdict:
    """The verdict of connect, proxy, HELO, AUTH, MAIL FROM, RCPT TO and disconnect.

    `reply` is what to say, None for the server's own text. The other fields are what `Accept([...])` changed, or of the
    proxy: the `command` to run in place of the client's, and whether its script wants the `next` one too.
    """

    action: SmtpAction
    reply: Reply | None = None
    disconnect: bool = False
    failed: bool = False
    remote_ip: str | None = None
    remote_ptr: str | None = None
    host: str | None = None
    extensions: tuple[str, ...] | None = None
    username: str | None = None
    sender: Address | None = None
    recipient: Address | None = None
    transport_id: str | None = None
    command: str | None = None
    next: bool = False
    by: str = field(default="", compare=False)


@record
class Delivery:
    """One recipient to be queued. `header` and `body` replace the received ones where not None (a variant).

    `hold` with `quarantine_id` is a quarantined copy; `delay_s` postpones the first attempt.
    """

    sender: Address
    recipient: Address
    transport_id: str
    sender_params: Mapping[str, str] = field(default_factory=dict)
    recipient_params: Mapping[str, str] = field(default_factory=dict)
    metadata: Mapping[str, str] = field(default_factory=dict)
    header: bytes | None = None
    body: bytes | None = None
    delay_s: float = 0.0
    hold: bool = False
    quarantine_id: str | None = None
    job_id: str = ""
    priority: int = 0
    tenant_id: str = ""


@record
class DataVerdict:
    """The verdict of end of DATA over all recipients. `deliveries` are committed only when `action` is accept,
    or when it is a reject that keeps a quarantined copy (then only the held ones). Source: design.md section 3.
    `remote_ip` and `helo` are what is noted of the client, where a script changed it.
    """

    action: Literal["accept", "reject", "defer"]
    reply: Reply | None = None
    disconnect: bool = False
    failed: bool = False
    deliveries: tuple[Delivery, ...] = ()
    remote_ip: str | None = None
    helo: str | None = None
    by: str = field(default="", compare=False)


@record
class SourceChoice:
    """A source that a script named: a configured `id` (`netaddr:1`), or a literal `address` (nonlocal); its HELO."""

    id: str | None = None
    address: str | None = None
    helo: str | None = None


TlsMode = Literal["disabled", "optional", "optional_verify", "dane", "dane_require", "require", "require_verify"]


@record
class TryOptions:
    """How the attempt is to be made, where it differs from the transport. `host` None looks up the MX.

    `tls_client_cert` is PEM with chain and key; `state_timeouts` are seconds by the state of the dialogue, as in `EOD`.
    """

    sources: tuple[SourceChoice, ...] = ()
    source_random: bool = False
    host: str | None = None
    port: int | None = None
    helo: str | None = None
    sender: Address | None = None
    recipient: Address | None = None
    sender_params: Mapping[str, str] | None = None
    recipient_params: Mapping[str, str] | None = None
    protocol: Literal["smtp", "lmtp"] | None = None
    tls: TlsMode | None = None
    tls_sni: str | None = None
    tls_verify_name: tuple[str, ...] = ()
    tls_verify_host: bool | None = None
    tls_protocols: str = ""
    tls_ciphers: str = ""
    tls_default_ca: bool = False
    tls_client_cert: str = field(default="", repr=False)
    sasl_username: str | None = None
    sasl_password: str | None = None
    xclient: Mapping[str, str] | None = None
    mx_include: tuple[str, ...] = ()
    mx_exclude: tuple[str, ...] = ()
    job_id: str | None = None
    timeout_s: float | None = None
    state_timeouts: Mapping[str, float] | None = None
    connect_timeout_s: float | None = None


@record
class QueueOptions:
    """How to put a recipient back: `delay_s` None follows the retry schedule."""

    hold: bool = False
    delay_s: float | None = None
    reason: str | None = None
    increment_retry: bool = True
    reset_retry: bool = False
    transport_id: str | None = None


@record
class DsnOptions:
    """What a delivery report is to be like, where it differs from others. `sender` and `sender_name` are those in From;
    `sign` makes a field of its header and body, put on top.
    """

    transport_id: str | None = None
    recipient: Address | None = None
    metadata: Mapping[str, str] = field(default_factory=dict)
    sender: Address | None = None
    sender_name: str | None = None
    job_id: str | None = None
    sign: Callable[[bytes, bytes], bytes] | None = field(default=None, compare=False, repr=False)


@record
class QueueVerdict:
    """The verdict of pre-delivery (try, queue, bounce, delete) or post-delivery (default, queue, bounce, delete).

    `metadata` replaces the stored metadata where not None; `dsn` is of a report, should there be one.
    After a `settled` one no post-delivery script is asked.
    """

    action: Literal["try", "default", "queue", "bounce", "delete"]
    attempt: TryOptions = TryOptions()
    queue: QueueOptions = QueueOptions()
    metadata: Mapping[str, str] | None = None
    failed: bool = False
    settled: bool = False
    dsn: DsnOptions | None = None
    by: str = field(default="", compare=False)


Verdict = SmtpVerdict | DataVerdict | QueueVerdict

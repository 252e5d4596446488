"""Delivery status notifications: the report on what became of recipients. In: what happened. Out: header and body.

Pure. All of it is 7-bit, with lines below 78 where they can be, unless the address it goes to is beyond ASCII: then it is
UTF-8 (RFC 6533). What peers bring along is cleaned, folded or encoded, so that no control byte and no line end of theirs
gets through. Source: RFC 3464, RFC 3461, RFC 6522, RFC 3834.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

from hslpy.mail import xtext
from hslpy.mail.address import Address, ascii_domain
from hslpy.mail.downgrade import NoSevenBitForm, to_7bit
from hslpy.mail.message import field_text
from hslpy.mail.parameters import is_sound_utf8, original_recipient
from hslpy.mail.received import mail_date
from hslpy.mail.reply import Enhanced
from hslpy.mail.transfer import quoted_printable
from hslpy.records import dataclass

Action = Literal["failed", "delayed", "relayed", "delivered"]

_LINE = 76  # where a field is folded; RFC 5322 2.1.1 recommends 78
_VALUE_MAX = 2000  # more of a peer's reply than any postmaster reads
FULL_MAX_BYTES = 50 << 10  # Postfix's bounce_size_limit: larger messages come back as their header

# By action: the subject, and what is said of the recipients.
_SAYING: Mapping[Action, tuple[str, tuple[str, ...]]] = {
    "failed": (
        "Undelivered mail returned to sender",
        ("Your message could not be delivered to the recipients below, and is no longer tried.",),
    ),
    "delayed": (
        "Delayed mail, still being tried",
        ("Your message could not be delivered yet to the recipients below.", "It is still tried: no need to send it again."),
    ),
    "relayed": (
        "Mail handed on",
        (
            "Your message was handed on to the mail system of the recipients below, which",
            "sends no reports of successful delivery: you may hear nothing more of it.",
        ),
    ),
    "delivered": ("Mail delivered", ("Your message was delivered to the recipients below.",)),
}
_NOTIFY: Mapping[Action, str] = {"failed": "FAILURE", "delayed": "DELAY", "relayed": "SUCCESS", "delivered": "SUCCESS"}


@dataclass(frozen=True, slots=True)
class ReportedRecipient:
    """One recipient's fate. `diagnostic` is the reply or the error as text, `from_peer` says that a host gave it.

    `status` stays a 4.x.x for what was tried in vain to the end. `params` are those of RCPT TO (for ORCPT); times are
    Unix seconds, 0.0 where there is none.
    """

    recipient: Address
    status: Enhanced
    diagnostic: str
    from_peer: bool = False
    remote_host: str = ""
    params: Mapping[str, str] | None = None
    last_attempt_at: float = 0.0
    retry_until: float = 0.0


@dataclass(frozen=True, slots=True)
class Report:
    """What a report is about. `boundary` and `message_id` (without `<>`) are unique texts that the caller makes.

    `to` is the sender where None, `from_address` and `from_name` ours. `header` ends with the empty line.
    `sender_params` are those of MAIL FROM (for RET and ENVID); `received_from` is what the client called itself.
    """

    action: Action
    sender: Address
    recipients: Sequence[ReportedRecipient]
    header: bytes
    body: bytes
    hostname: str
    message_id: str
    boundary: str
    now: float
    received_at: float
    transaction_id: str = ""
    received_from: str = ""
    sender_params: Mapping[str, str] | None = None
    to: Address | None = None
    from_address: Address | None = None
    from_name: str | None = None

    @property
    def is_international(self) -> bool:
        """Whether it goes to an address beyond ASCII, and so only to servers that take UTF-8 everywhere."""
        local = (self.to or self.sender).local_part
        return not local.isascii() and is_sound_utf8(local.encode("latin-1", "replace"))


def wants_report(params: Mapping[str, str], action: Action) -> bool:
    """Say whether a recipient's NOTIFY parameter wants this report. Without one, failures and delays are reported.

    Source: RFC 3461 section 4.1, which leaves delays to us.
    """
    notify = _param(params, "NOTIFY")
    if notify is None:
        return action in ("failed", "delayed")
    return _NOTIFY[action] in {word.strip().upper() for word in notify.split(",")}


def build_report(report: Report, full_max_bytes: int = FULL_MAX_BYTES) -> tuple[bytes, bytes]:
    """Give header and body of the report, CRLF line ends, for sending from the null sender to `report.sender`.

    A message that failed comes back whole when it is no larger than `full_max_bytes` and RET does not say HDRS; one with
    8-bit content is made 7-bit for that. Of others there is the header.
    """
    boundary = _token(report.boundary)
    utf8 = report.is_international
    header = [
        field_text("From", _author(report)),
        _field("To", f"<{_path(report.to or report.sender)}>", utf8=utf8),
        _field("Subject", _SAYING[report.action][0]),
        _field("Date", mail_date(report.now)),
        _field("Message-ID", f"<{_token(report.message_id)}>"),
        _field("Auto-Submitted", "auto-replied"),
        _field("MIME-Version", "1.0"),
        "Content-Transfer-Encoding: 8bit\r\n" if utf8 else "",
        f'Content-Type: multipart/report; report-type=delivery-status;\r\n boundary="{boundary}"\r\n',
        "\r\n",
    ]
    explanation = _explanation(report)
    charset = "us-ascii" if explanation.isascii() else "utf-8"
    parts = [
        _part(f"text/plain; charset={charset}", "Notification", explanation, utf8),
        _part(f"message/{'global-' if utf8 else ''}delivery-status", "Delivery report", _status(report), utf8),
        _returned(report, full_max_bytes),
    ]
    lines = "".join(f"--{boundary}\r\n{part}\r\n" for part in parts)
    return "".join(header).encode("latin-1"), f"{lines}--{boundary}--\r\n".encode("latin-1")


def _author(report: Report) -> str:
    address = _path(report.from_address) if report.from_address else f"MAILER-DAEMON@{_token(report.hostname)}"
    name = report.from_name if report.from_name is not None else "Mail Delivery System"
    if not name:
        return f"<{address}>"
    if name.isascii() and not all(ch.isalnum() or ch == " " for ch in name):
        name = '"' + _clean(name).replace("\\", "\\\\").replace('"', '\\"') + '"'
    return f"{name} <{address}>"


def _path(address: Address) -> str:
    return str(Address(address.local_part, ascii_domain(address.domain)))


def _explanation(report: Report) -> str:
    host = _token(report.hostname)
    lines = [f"This is the mail system at {host}.", "", *_SAYING[report.action][1]]
    for one in report.recipients:
        lines += ["", *_wrap(f"<{_clean(str(one.recipient), utf8=True)}>")]
        if one.remote_host:
            lines += _wrap(f"    host {_clean(one.remote_host)} said:")
        lines += [f"    {line}" for line in _wrap(_clean(one.diagnostic) or "no reason was given", _LINE - 4)]
    return "\r\n".join(lines) + "\r\n"


def _status(report: Report) -> str:
    fields = []
    envelope_id = _param(report.sender_params or {}, "ENVID")
    if envelope_id:
        fields.append(_field("Original-Envelope-Id", xtext.decode(envelope_id)))
    fields.append(_field("Reporting-MTA", f"dns; {_token(report.hostname)}"))
    if report.received_from:
        fields.append(_field("Received-From-MTA", f"dns; {_token(report.received_from)}"))
    if report.transaction_id:
        fields.append(_field("X-Transaction-ID", report.transaction_id))
    fields.append(_field("Arrival-Date", mail_date(report.received_at)))
    utf8 = report.is_international
    for one in report.recipients:
        fields.append("\r\n")
        original = original_recipient(_param(one.params or {}, "ORCPT") or "")
        if original is not None:
            fields.append(_field("Original-Recipient", _typed_address(*original, utf8), utf8=utf8))
        recipient = str(one.recipient)
        fields.append(_field("Final-Recipient", _typed_address("rfc822", recipient, utf8), utf8=utf8))
        fields.append(_field("Action", report.action))
        fields.append(_field("Status", "{}.{}.{}".format(*one.status)))
        if one.remote_host:
            fields.append(_field("Remote-MTA", f"dns; {one.remote_host}"))
        if one.diagnostic:
            fields.append(_field("Diagnostic-Code", f"{'smtp' if one.from_peer else 'x-hslpy'}; {one.diagnostic}"))
        if one.last_attempt_at:
            fields.append(_field("Last-Attempt-Date", mail_date(one.last_attempt_at)))
        if report.action == "delayed" and one.retry_until:
            fields.append(_field("Will-Retry-Until", mail_date(one.retry_until)))
    return "".join(fields)


def _returned(report: Report, full_max_bytes: int) -> str:
    params = report.sender_params or {}
    utf8 = report.is_international
    # RFC 6533 section 3: a header beyond ASCII is one of message/global, if its sender said so
    is_global = _param(params, "SMTPUTF8") is not None and not report.header.isascii()
    size = len(report.header) + len(report.body)
    if report.action == "failed" and (_param(params, "RET") or "").upper() != "HDRS" and size <= full_max_bytes:
        content = report.header + report.body
        if not content.endswith(b"\r\n"):
            content += b"\r\n"
        if is_global:
            return _part("message/global", "Undelivered message", content.decode("latin-1"), utf8)
        try:
            content = to_7bit(content)
        except NoSevenBitForm:
            content = b""
        if content and _is_sound(content):
            return _part("message/rfc822", "Undelivered message", content.decode("ascii"))
    header = report.header[:full_max_bytes].removesuffix(b"\r\n").decode("latin-1")
    kind = "message/global-headers" if is_global else "text/rfc822-headers"
    return _part(kind, "Message header", header, utf8)


def _part(content_type: str, description: str, text: str, may_be_8bit: bool = False) -> str:
    """Give a part, in quoted-printable where its text is not plain 7-bit (RFC 6522 section 4 allows that for headers).

    Source: RFC 6533 section 6 for message/global and its kin.
    """
    data = text.encode("latin-1")
    encoding = "7bit"
    if not (data.isascii() and _is_sound(data)):
        encoding = "8bit" if may_be_8bit and _is_sound(data) else "quoted-printable"
    if encoding == "quoted-printable":
        text = quoted_printable(data).decode("ascii")
    head = f"Content-Type: {content_type}\r\nContent-Description: {description}\r\nContent-Transfer-Encoding: {encoding}\r\n"
    return f"{head}\r\n{text}"


def _is_sound(content: bytes) -> bool:
    """Say whether it may stand in a part without an encoding: no control bytes, CRLF line ends, lines up to 998."""
    if content.translate(None, _PLAIN):
        return False
    return all(len(line) <= 998 and b"\r" not in line and b"\n" not in line for line in content.split(b"\r\n"))


_PLAIN = bytes(range(0x20, 0x7F)) + bytes(range(0x80, 0x100)) + b"\t\r\n\x1b"  # ESC: charsets of the ISO-2022 family


def _typed_address(kind: str, text: str, utf8: bool) -> str:
    """Give an address with its type; one beyond ASCII has the type utf-8, and in a 7-bit report its code points spelled."""
    if text.isascii():
        return f"{_token(kind)}; {text}"
    try:
        points = text.encode("latin-1").decode("utf-8")
    except UnicodeError:
        return f"{_token(kind)}; {text}"
    if utf8:
        return f"utf-8; {text}"
    # RFC 6533 section 3: utf-8-addr-xtext
    return "utf-8; " + "".join(ch if "!" <= ch <= "~" and ch not in "\\+=" else f"\\x{{{ord(ch):X}}}" for ch in points)


def _param(params: Mapping[str, str], name: str) -> str | None:
    for key, value in params.items():
        if key.upper() == name:
            return value
    return None


def _clean(text: str, *, utf8: bool = False) -> str:
    """Give the text on one line, all that is not printable ASCII replaced by `?`, cut where it is too long.

    With `utf8`, text that spells UTF-8 without control characters keeps it.
    """
    text = text[:_VALUE_MAX]
    most = "\xff" if utf8 and not text.isascii() and is_sound_utf8(text.encode("latin-1", "replace")) else "~"
    return "".join(ch if " " <= ch <= most and ch != "\x7f" else " " if ch in "\r\n\t" else "?" for ch in text).strip(" ")


def _token(text: str) -> str:
    """Give the text fit for a place where no space, quote or bracket may stand."""
    return "".join(ch for ch in text if "!" <= ch <= "~" and ch not in '"<>()\\;')[:255] or "unknown"


def _field(name: str, value: str, *, utf8: bool = False) -> str:
    """Give a header field with its CRLF, folded at spaces; a word longer than a line may be is cut into lines."""
    lines = _wrap(f"{name}: {_clean(value, utf8=utf8)}")
    return "\r\n ".join(lines) + "\r\n"


def _wrap(text: str, width: int = _LINE) -> list[str]:
    lines: list[str] = []
    line = ""
    for word in text.split():
        while len(word) > 900:  # RFC 5322 2.1.1: no line above 998
            lines += [line] if line else []
            line, word = word[:900], word[900:]
        if line and len(line) + 1 + len(word) > width:
            lines.append(line)
            line = word
        else:
            line = f"{line} {word}" if line else word
    return [*lines, line] if line else lines

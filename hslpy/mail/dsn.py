"""Delivery status notifications: the report on recipients that failed or wait. In: what happened. Out: header and body.

Pure. All of it is 7-bit, with lines below 78 where they can be: what peers and messages bring along is cleaned, folded or
encoded, so that no control byte and no line end of theirs gets through. Source: RFC 3464, RFC 3461, RFC 6522, RFC 3834.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from hslpy.mail import xtext
from hslpy.mail.address import Address
from hslpy.mail.message import field_text
from hslpy.mail.received import mail_date
from hslpy.mail.reply import Enhanced

Action = Literal["failed", "delayed"]

_LINE = 76  # where a field is folded; RFC 5322 2.1.1 recommends 78
_VALUE_MAX = 2000  # more of a peer's reply than any postmaster reads
_FULL_MAX_BYTES = 50 << 10  # Postfix's bounce_size_limit: larger messages come back as their header


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
    `sender_params` are those of MAIL FROM (for RET and ENVID).
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
    sender_params: Mapping[str, str] | None = None
    to: Address | None = None
    from_address: Address | None = None
    from_name: str | None = None


def wants_report(params: Mapping[str, str], action: Action) -> bool:
    """Say whether a recipient's NOTIFY parameter lets this report be sent; without one it does. Source: RFC 3461 4.1."""
    notify = _param(params, "NOTIFY")
    if notify is None:
        return True
    wanted = {word.strip().upper() for word in notify.split(",")}
    return ("FAILURE" if action == "failed" else "DELAY") in wanted


def build_report(report: Report, full_max_bytes: int = _FULL_MAX_BYTES) -> tuple[bytes, bytes]:
    """Give header and body of the report, CRLF line ends, for sending from the null sender to `report.sender`.

    The message comes back whole when it is no larger than `full_max_bytes`, 7-bit, and RET does not say HDRS.
    """
    boundary = _token(report.boundary)
    failed = report.action == "failed"
    header = [
        field_text("From", _author(report)),
        _field("To", f"<{_clean(str(report.to or report.sender))}>"),
        _field("Subject", "Undelivered mail returned to sender" if failed else "Delayed mail, still being tried"),
        _field("Date", mail_date(report.now)),
        _field("Message-ID", f"<{_token(report.message_id)}>"),
        _field("Auto-Submitted", "auto-replied"),
        _field("MIME-Version", "1.0"),
        f'Content-Type: multipart/report; report-type=delivery-status;\r\n boundary="{boundary}"\r\n',
        "\r\n",
    ]
    parts = [
        _part("text/plain; charset=us-ascii", "Notification", _explanation(report)),
        _part("message/delivery-status", "Delivery report", _status(report)),
        _returned(report, full_max_bytes),
    ]
    lines = "".join(f"--{boundary}\r\n{part}\r\n" for part in parts)
    return "".join(header).encode("ascii"), f"{lines}--{boundary}--\r\n".encode("ascii")


def _author(report: Report) -> str:
    address = str(report.from_address) if report.from_address else f"MAILER-DAEMON@{_token(report.hostname)}"
    name = report.from_name if report.from_name is not None else "Mail Delivery System"
    if not name:
        return f"<{address}>"
    if name.isascii() and not all(ch.isalnum() or ch == " " for ch in name):
        name = '"' + _clean(name).replace("\\", "\\\\").replace('"', '\\"') + '"'
    return f"{name} <{address}>"


def _explanation(report: Report) -> str:
    host = _token(report.hostname)
    lines = [f"This is the mail system at {host}.", ""]
    if report.action == "failed":
        lines += ["Your message could not be delivered to the recipients below, and is no longer tried."]
    else:
        lines += [
            "Your message could not be delivered yet to the recipients below.",
            "It is still tried: no need to send it again.",
        ]
    for one in report.recipients:
        lines += ["", *_wrap(f"<{_clean(str(one.recipient))}>")]
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
    if report.transaction_id:
        fields.append(_field("X-Transaction-ID", report.transaction_id))
    fields.append(_field("Arrival-Date", mail_date(report.received_at)))
    for one in report.recipients:
        fields.append("\r\n")
        original = _param(one.params or {}, "ORCPT")
        if original:
            kind, semicolon, address = original.partition(";")
            if semicolon:
                fields.append(_field("Original-Recipient", f"{_token(kind)}; {xtext.decode(address)}"))
        fields.append(_field("Final-Recipient", _typed_address(one.recipient)))
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
    content = report.header + report.body
    headers_only = (_param(report.sender_params or {}, "RET") or "").upper() == "HDRS" or report.action == "delayed"
    if not headers_only and len(content) <= full_max_bytes and _is_7bit(content):
        text = content.decode("ascii")
        return _part("message/rfc822", "Undelivered message", text if text.endswith("\r\n") else text + "\r\n")
    header = report.header[:full_max_bytes].removesuffix(b"\r\n")
    if _is_7bit(header):
        return _part("text/rfc822-headers", "Message header", header.decode("ascii"))
    # RFC 6522 section 4 allows quoted-printable for headers that are not plain 7-bit text
    encoded = "\r\n".join(_quoted(line) for line in header.split(b"\r\n"))
    return _part("text/rfc822-headers", "Message header", encoded, "quoted-printable")


def _quoted(line: bytes) -> str:
    """Give one line in quoted-printable, without its end. Source: RFC 2045 section 6.7."""
    whole: list[str] = []
    piece = ""
    for place, byte in enumerate(line):
        trailing = byte in b" \t" and place == len(line) - 1
        char = chr(byte) if byte != 0x3D and (0x20 <= byte <= 0x7E or byte == 0x09) and not trailing else f"={byte:02X}"
        if len(piece) + len(char) > _LINE - 1:
            whole.append(f"{piece}=")
            piece = ""
        piece += char
    return "\r\n".join([*whole, piece])


def _part(content_type: str, description: str, text: str, encoding: str = "7bit") -> str:
    head = f"Content-Type: {content_type}\r\nContent-Description: {description}\r\nContent-Transfer-Encoding: {encoding}\r\n"
    return f"{head}\r\n{text}"


def _is_7bit(content: bytes) -> bool:
    """Say whether it may stand in a 7-bit part: ASCII without control bytes, CRLF line ends, lines up to 998."""
    if not content.isascii() or content.translate(None, _PLAIN):
        return False
    lines = content.split(b"\r\n")
    return all(len(line) <= 998 and b"\r" not in line and b"\n" not in line for line in lines)


_PLAIN = bytes(range(0x20, 0x7F)) + b"\t\r\n"


def _typed_address(address: Address) -> str:
    text = str(address)
    if text.isascii():
        return f"rfc822; {text}"
    try:
        text = text.encode("latin-1").decode("utf-8")
    except UnicodeError:
        return f"rfc822; {text}"
    # RFC 6533 section 3: utf-8-addr-xtext
    return "utf-8; " + "".join(ch if "!" <= ch <= "~" and ch not in "\\+=" else f"\\x{{{ord(ch):X}}}" for ch in text)


def _param(params: Mapping[str, str], name: str) -> str | None:
    for key, value in params.items():
        if key.upper() == name:
            return value
    return None


def _clean(text: str) -> str:
    """Give the text on one line, all that is not printable ASCII replaced by `?`, cut where it is too long."""
    return "".join(ch if " " <= ch <= "~" else " " if ch in "\r\n\t" else "?" for ch in text[:_VALUE_MAX]).strip()


def _token(text: str) -> str:
    """Give the text fit for a place where no space, quote or bracket may stand."""
    return "".join(ch for ch in text if "!" <= ch <= "~" and ch not in '"<>()\\;')[:255] or "unknown"


def _field(name: str, value: str) -> str:
    """Give a header field with its CRLF, folded at spaces; a word longer than a line may be is cut into lines."""
    lines = _wrap(f"{name}: {_clean(value)}")
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

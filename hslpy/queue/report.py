"""The report on a queued recipient, as a message to be queued. In: the entry, its content, what happened. Out: it.

Pure: the random numbers are given. Whether a report may be sent at all is `Queue.bounce`'s to say.
"""

from __future__ import annotations

import random
from collections.abc import Mapping

from hslpy.late import uuid
from hslpy.mail.address import NULL_SENDER, Address
from hslpy.mail.dsn import FULL_MAX_BYTES, Action, Report, ReportedRecipient, build_report
from hslpy.mail.message import split_content
from hslpy.mail.reply import Enhanced
from hslpy.mail.verdict import DsnOptions
from hslpy.records import dataclass
from hslpy.spool.contract import NewMessage, NewRecipient, QueuedRecipient


@dataclass(frozen=True, slots=True)
class ReportSettings:
    """`hostname` signs reports; `transport_id` carries them, "" for that of the message they report on.

    They are from `author`, MAILER-DAEMON at `hostname` where None. A message above `full_max_bytes` comes back as its
    header.
    """

    hostname: str
    transport_id: str = ""
    author: Address | None = None
    author_name: str | None = None
    full_max_bytes: int = FULL_MAX_BYTES


@dataclass(frozen=True, slots=True)
class Fate:
    """What the last attempt gave: a peer's reply (`from_peer`, with its `remote_host`) or an error of ours, as text.

    `params` are those of RCPT TO where a script changed them.
    """

    status: Enhanced
    diagnostic: str
    from_peer: bool = False
    remote_host: str = ""
    action: Action = "failed"
    retry_until: float = 0.0
    params: Mapping[str, str] | None = None


def report_on(
    entry: QueuedRecipient,
    content: bytes,
    fate: Fate,
    settings: ReportSettings,
    now: float,
    rng: random.Random,
    wanted: DsnOptions | None = None,
) -> NewMessage:
    """Give the report from the null sender to the entry's sender, due now.

    `content` is what the spool has for the entry: header, empty line, body.
    """
    wanted = wanted or DsnOptions()
    to = wanted.recipient or entry.sender
    header, body = split_content(content)
    unique = str(uuid.UUID(int=rng.getrandbits(128), version=4))
    recipient = ReportedRecipient(
        entry.recipient,
        fate.status,
        fate.diagnostic,
        fate.from_peer,
        fate.remote_host,
        entry.recipient_params if fate.params is None else fate.params,
        entry.last_at,
        fate.retry_until,
    )
    report = Report(
        action=fate.action,
        sender=entry.sender,
        recipients=(recipient,),
        header=header,
        body=body,
        hostname=settings.hostname,
        message_id=f"{unique}@{settings.hostname}",
        boundary=f"report-{rng.getrandbits(128):032x}",
        now=now,
        received_at=entry.received_at,
        transaction_id=entry.transaction_id,
        received_from=entry.helo,
        sender_params=entry.sender_params,
        to=to,
        from_address=wanted.sender or settings.author,
        from_name=settings.author_name if wanted.sender_name is None else wanted.sender_name,
    )
    report_header, report_body = build_report(report, settings.full_max_bytes)
    if wanted.sign is not None:
        report_header = wanted.sign(report_header, report_body) + report_header
    new = NewRecipient(
        recipient=to,
        sender=NULL_SENDER,
        transport_id=wanted.transport_id or settings.transport_id or entry.transport_id,
        metadata=wanted.metadata,
        due_at=now,
        recipient_params={"NOTIFY": "NEVER"},  # RFC 3461 section 6.1: no report on a report
        sender_params={"SMTPUTF8": ""} if report.is_international else {},
        job_id=entry.job_id if wanted.job_id is None else wanted.job_id,
        tenant_id=entry.tenant_id,
    )
    return NewMessage(
        transaction_id=unique,
        received_at=now,
        remote_ip="",
        helo="",
        sasl_username="",
        server_id=entry.server_id,
        header=report_header,
        body=report_body,
        recipients=(new,),
    )

"""The report on a recipient given up. In: its entry, why, its content. Out: a message to be queued. Pure.

Source: RFC 3464; what the report says and how is `mail/dsn.py`'s.
"""

from __future__ import annotations

import random
import uuid

from hslpy.delivery.outcome import Outcome
from hslpy.mail.address import NULL_SENDER
from hslpy.mail.dsn import Report, ReportedRecipient, build_report
from hslpy.spool.contract import NewMessage, NewRecipient, QueuedRecipient


def failure_report(
    entry: QueuedRecipient,
    outcome: Outcome,
    content: bytes,
    hostname: str,
    transport_id: str,
    now: float,
    rng: random.Random,
) -> NewMessage:
    """Give the report to the sender of `entry`, from the null sender."""
    transaction_id = str(uuid.UUID(int=rng.getrandbits(128), version=4))
    header, separator, body = content.partition(b"\r\n\r\n")
    fate = ReportedRecipient(
        recipient=entry.recipient,
        status=outcome.status,
        diagnostic=str(outcome.reply) if outcome.reply is not None else outcome.text,
        from_peer=bool(outcome.remote_host),
        remote_host=outcome.remote_host,
        params=entry.recipient_params,
        last_attempt_at=now if outcome.facts is not None else entry.last_at,
    )
    report = Report(
        action="failed",
        sender=entry.sender,
        recipients=(fate,),
        header=header + (b"\r\n\r\n" if separator else b"\r\n"),
        body=body,
        hostname=hostname,
        message_id=f"{transaction_id}@{hostname}",
        boundary=f"={rng.getrandbits(96):024x}",
        now=now,
        received_at=entry.received_at,
        transaction_id=entry.transaction_id,
        sender_params=entry.sender_params,
    )
    report_header, report_body = build_report(report)
    recipient = NewRecipient(entry.sender, NULL_SENDER, transport_id, due_at=now)
    return NewMessage(transaction_id, now, "", hostname, "", entry.server_id, report_header, report_body, (recipient,))

"""The end of DATA. In: a session and the message's bytes as sent. Out: the reply, once the message is durable or refused.

Nothing is stored before the hook's verdict over all recipients; the 250 comes after `accept` returned, never before.
Source: design.md sections 3 and 5 (one verdict for the message, durable before the reply); RFC 5321 section 4.2.5.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Sequence
from dataclasses import replace

from hslpy.egress.traffic.origin import PENDING, Fields, fields_of, identity_in, sender_of
from hslpy.hooks.facts import DataEvent
from hslpy.mail.address import Address
from hslpy.mail.policy_replies import refusal_at
from hslpy.mail.received import received_end
from hslpy.mail.reply import Reply
from hslpy.mail.transfer import has_long_line
from hslpy.mail.verdict import DataVerdict, Delivery
from hslpy.smtp import framing, replies
from hslpy.smtp.replies import OwnReply
from hslpy.smtp.session import Session, Transaction
from hslpy.smtp.settings import SmtpSettings
from hslpy.spool.contract import NewMessage, NewRecipient, QueuedRecipient, SpoolError

# How many queue ids a 250 names one by one; a reply line is at most 512 bytes (RFC 5321 section 4.5.3.1.5).
_IDS_NAMED = 20
# A message over this lets other sessions have a turn between the steps that go through all of it.
_BIG = 1024 * 1024


class Watch:
    """What the adapter needs to know of a message under way.

    `deadline` (monotonic seconds, infinite for none) is when the hook is too late; whoever sees it pass sets `late` and
    cancels the task. While `committing` the task must not be cancelled: what is being stored is also being queued.
    """

    __slots__ = ("committing", "deadline", "late")

    def __init__(self) -> None:
        self.committing = False
        self.deadline = math.inf
        self.late = False


async def end_of_data(session: Session, raw: bytes, watch: Watch, hung_up: Callable[[], bool]) -> bytes:
    """Decide on the message that ended and give the reply. The transaction is over, whatever happens.

    `raw` is the content with transparency dots, its line ends found sound; `hung_up` says whether the client is known to
    have left.
    """
    try:
        content = framing.unstuff(raw)
        if len(raw) > _BIG:
            await asyncio.sleep(0)
        wrong = _content_fault(content, session.settings)
        if wrong is not None:
            return refused(session, wrong)
        split = framing.split_header(content, max(session.settings.header_limit_bytes, session.settings.line_limit_bytes))
        if split is None:
            return refused(session, replies.HEADER_TOO_BIG)
        header, body = split
        wrong = _header_fault(header, session.settings)
        if wrong is not None:
            return refused(session, wrong)
        if len(raw) > _BIG:
            await asyncio.sleep(0)
        return await _decide(session, header, body, watch, hung_up)
    finally:
        session.transaction = None


def refused(session: Session, own: OwnReply) -> bytes:
    """Give the reply to a message that no hook was asked about, and end its transaction."""
    _log_message(session, DataVerdict("reject" if own.reply.code >= 500 else "defer"), own.reply, (), 0)
    session.transaction = None
    return own.wire


def _content_fault(content: bytes, settings: SmtpSettings) -> OwnReply | None:
    if len(content) > settings.size_limit_bytes:
        return replies.TOO_BIG
    if has_long_line(content, settings.line_limit_bytes):
        return replies.TEXT_LINE_TOO_LONG
    # Servers that drop it, or end a line with it, would see lone dots where there are none (SMTP smuggling).
    if b"\0" in content:
        return replies.NUL_IN_MESSAGE
    return None


def _header_fault(header: bytes, settings: SmtpSettings) -> OwnReply | None:
    if len(header) > settings.header_limit_bytes:
        return replies.HEADER_TOO_BIG
    if framing.count_received(header) > settings.max_received:
        return replies.MAIL_LOOP
    return None


async def _decide(session: Session, header: bytes, body: bytes, watch: Watch, hung_up: Callable[[], bool]) -> bytes:
    transaction = session.transaction
    assert transaction is not None
    shared = session.shared
    now = shared.clock.time()
    recipients = transaction.recipients
    only = str(recipients[0].address) if len(recipients) == 1 else None
    header = session.received_start() + received_end(transaction.id, only, now) + header
    event = DataEvent(session.connection_facts(), session.context, transaction.facts(), header + body, now)
    hook = "eod" if session.scripts.has("eod") else "data"
    watch.late = False
    watch.deadline = shared.clock.monotonic() + session.settings.data_timeout_s
    try:
        verdict = await shared.hooks.run(session.scripts, hook, event)
    except asyncio.CancelledError:
        task = asyncio.current_task()
        if not watch.late or task is None:
            raise
        task.uncancel()
        return refused(session, replies.TOO_LATE)
    finally:
        watch.deadline = math.inf
    if not isinstance(verdict, DataVerdict):
        raise TypeError(f"hook {hook} gave {type(verdict).__name__}")
    if verdict.disconnect:
        session.closing = True
    deliveries = _to_keep(verdict)
    if not deliveries:
        return _answer(session, transaction, verdict, (), len(header) + len(body))
    if hung_up():
        return refused(session, replies.HUNG_UP)
    if session.is_gone:
        return refused(session, replies.ACCOUNT_LOCKED)
    message = new_message(session, transaction, header, body, deliveries, now)
    if verdict.remote_ip is not None or verdict.helo is not None:
        message = replace(message, remote_ip=verdict.remote_ip or message.remote_ip, helo=verdict.helo or message.helo)
    watch.committing = True
    try:
        queued = await shared.accept(message)
    except Exception as error:
        return _not_stored(session, transaction, error)
    finally:
        watch.committing = False
    return _answer(session, transaction, verdict, queued, len(header) + len(body))


def _to_keep(verdict: DataVerdict) -> Sequence[Delivery]:
    """Give what is to be stored: all on accept, the quarantined copies on reject, nothing on defer."""
    if verdict.action == "accept":
        return verdict.deliveries
    if verdict.action == "reject":
        return tuple(each for each in verdict.deliveries if each.hold and each.quarantine_id is not None)
    return ()


def new_message(
    session: Session, transaction: Transaction, header: bytes, body: bytes, deliveries: Sequence[Delivery], now: float
) -> NewMessage:
    """Give the message for the spool; recipients with the same changed header and body share a variant."""
    variants: dict[tuple[bytes | None, bytes | None], int] = {}
    origins: dict[Address, Fields] = {}
    rows: list[NewRecipient] = []
    for each in deliveries:
        variant = -1
        own_header = None if each.header is None or each.header == header else each.header
        own_body = None if each.body is None or each.body == body else each.body
        if own_header is not None or own_body is not None:
            variant = variants.setdefault((own_header, own_body), len(variants))
        rows.append(
            NewRecipient(
                each.recipient,
                each.sender,
                each.transport_id,
                now + each.delay_s,
                variant,
                each.recipient_params,
                each.sender_params,
                each.metadata,
                each.hold,
                each.quarantine_id,
                each.job_id,
                each.priority,
                each.tenant_id,
                _origin(session, each, header, origins),
            )
        )
    auth = session.auth
    return NewMessage(
        transaction.id,
        now,
        session.remote_ip,
        session.host_name or "",
        auth.username or "" if auth is not None else "",
        session.server_id,
        header,
        body,
        tuple(rows),
        tuple(variants),
    )


def _origin(session: Session, delivery: Delivery, header: bytes, known: dict[Address, Fields]) -> Fields:
    """Give what the choice of its delivery IP goes by. `known` has that of the message's senders so far."""
    departures = session.shared.departures
    if departures is None:
        return {}
    fields = known.get(delivery.sender)
    if fields is None:
        sender, picture = session.sender_of(delivery.sender), departures.picture
        if sender is None or picture is None:
            return PENDING
        if picture.site.identity_header and sender.domain:
            sender = replace(sender, identity=identity_in(header, picture.site.identity_header))
        fields = known[delivery.sender] = fields_of(sender)
    given = delivery.metadata.get("identity", "")
    if fields and (given or "identity" in fields):
        departures.saw(sender_of(fields, given))
    return fields


def _answer(
    session: Session, transaction: Transaction, verdict: DataVerdict, queued: tuple[QueuedRecipient, ...], size_bytes: int
) -> bytes:
    if verdict.reply is not None:
        reply = verdict.reply
    elif verdict.action != "accept":
        reply = refusal_at("data", verdict.action, failed=verdict.failed)
    elif queued:
        reply = Reply(250, (2, 0, 0), (f"Ok: queued as {transaction.id} (queue {queue_ids(queued)})",))
    else:
        reply = replies.MESSAGE_OK.reply
    if reply.code in (421, 521):
        session.closing = True
    if verdict.action == "accept":
        session.accepted += 1
    _log_message(session, verdict, reply, queued, size_bytes)
    return reply.render()


def _log_message(
    session: Session, verdict: DataVerdict, reply: Reply, queued: Sequence[QueuedRecipient], size_bytes: int
) -> None:
    transaction = session.transaction
    assert transaction is not None
    auth = session.auth
    session.shared.log(
        "smtp.message",
        {
            "transaction": transaction.id,
            "session": session.id,
            "remote_ip": session.remote_ip,
            "sender": transaction.sender,
            "username": auth.username or "" if auth is not None else "",
            "recipients": len(transaction.recipients),
            "to": _some([str(each.address) for each in transaction.recipients[:_IDS_NAMED]], len(transaction.recipients)),
            "size_bytes": size_bytes,
            "action": verdict.action,
            "failed": verdict.failed,
            "queued": len(queued),
            "held": sum([each.hold for each in queued]),
            "queue_ids": queue_ids(queued),
            "reply": reply,
            "by": verdict.by,
        },
    )


def queue_ids(queued: Sequence[QueuedRecipient]) -> str:
    """Give the queue ids, the first and the number of the rest where there are many."""
    return _some([str(each.queue_id) for each in queued[:_IDS_NAMED]], len(queued))


def _some(first: Sequence[str], number: int) -> str:
    """Give the first of `number` texts, and how many more there are."""
    shown = ",".join(first)
    return shown if number <= _IDS_NAMED else f"{shown} and {number - _IDS_NAMED} more"


def _not_stored(session: Session, transaction: Transaction, error: Exception) -> bytes:
    """Give the reply to a message that was not taken; a full disk is the operator's to see, not a fault to trace."""
    ids = {"transaction": transaction.id, "session": session.id}
    if isinstance(error, SpoolError):
        reply = error.reply
        session.shared.log("smtp.not_stored", {"level": "error", **ids, "error": str(error)})
    else:
        reply = replies.FAILURE.reply
        session.shared.log_fault(error, ids)
    _log_message(session, DataVerdict("defer", failed=True), reply, (), 0)
    return reply.render()

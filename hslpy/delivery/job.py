"""The way of queued recipients through one attempt: pre-delivery hook, attempt, post-delivery hook, what becomes of them.

In: claimed entries of one message that share a destination. Out: each of them finished, put back or bounced, whatever
happens. Must not know of slots and turns, nor how mail is sent.
"""

from __future__ import annotations

import asyncio
import random
import traceback
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import field, replace
from functools import partial
from typing import TYPE_CHECKING
from weakref import WeakValueDictionary

from hslpy.clock import Clock
from hslpy.delivery.attempt import Attempts, Parcel
from hslpy.delivery.leaving import NODES_OWN, Origin
from hslpy.delivery.outcome import Action, Outcome, waiting
from hslpy.delivery.room import SMALL_BYTES
from hslpy.delivery.settings import DeliverySettings, Transport
from hslpy.egress.traffic import origin
from hslpy.egress.traffic.departures import Departures
from hslpy.hooks.facts import Context, PostDeliveryEvent, PreDeliveryEvent, QueuedFacts, ReportFacts
from hslpy.log import Log
from hslpy.mail.address import Address, ascii_lower, parse_address
from hslpy.mail.dsn import Action as ReportAction
from hslpy.mail.message import split_content
from hslpy.mail.verdict import DsnOptions, QueueOptions, QueueVerdict, TryOptions
from hslpy.queue.report import Fate, ReportSettings, report_on
from hslpy.records import dataclass
from hslpy.spool.contract import NewMessage, QueuedRecipient, Spool, SpoolDamaged, SpoolError

if TYPE_CHECKING:
    from hslpy.hooks.runner import Hooks
    from hslpy.hooks.scripts import ScriptSet
    from hslpy.queue.queue import Queue


_AS_SET = TryOptions()


_BIG = 1 << 20  # a report on a message above this is made in a thread


@dataclass(slots=True, weakref_slot=True)
class _Content:
    """A large message, in memory once for all attempts at it."""

    data: bytes


@dataclass(slots=True)
class _Item:
    """One recipient on its way. `settled` once the queue has been told what becomes of it."""

    entry: QueuedRecipient
    context: Context = field(default_factory=Context)
    options: TryOptions = _AS_SET
    metadata: Mapping[str, str] | None = None
    content: bytes | None = None  # what was tried: it may be gone from the spool afterwards
    shared: _Content | None = None  # what has it, where it is no small one
    dsn: DsnOptions | None = None  # what a report on it is to be like
    by: str = ""  # the line of the script that decided what becomes of it
    attempt_by: str = ""  # the line that decided how it is tried, or from where
    settled: bool = False
    seen: QueuedFacts | None = None  # what scripts were shown last
    egress: Mapping[str, str] | None = None  # what its address was chosen by, as it is to be kept

    @property
    def ids(self) -> dict[str, object]:
        return {"transaction": self.entry.transaction_id, "queue_id": self.entry.queue_id}

    @property
    def sender(self) -> Address:
        return self.options.sender if self.options.sender is not None else self.entry.sender

    @property
    def recipient(self) -> Address:
        return self.options.recipient if self.options.recipient is not None else self.entry.recipient

    @property
    def sender_params(self) -> Mapping[str, str]:
        given = self.options.sender_params
        return given if given is not None else self.entry.sender_params

    @property
    def recipient_params(self) -> Mapping[str, str]:
        given = self.options.recipient_params
        return given if given is not None else self.entry.recipient_params

    def facts(self, most_retries: int, read: Callable[[_Item, int], Awaitable[bytes]]) -> QueuedFacts:
        """Give what scripts see, with the metadata as it is by now. Copies of a message have ids one after another."""
        entry = self.entry
        metadata = entry.metadata if self.metadata is None else self.metadata
        if self.seen is not None:
            return self.seen if self.seen.metadata is metadata else replace(self.seen, metadata=metadata)
        self.seen = QueuedFacts(
            transaction_id=entry.transaction_id,
            queue_id=entry.queue_id,
            received_at=entry.received_at,
            sender=entry.sender,
            recipient=entry.recipient,
            transport_id=entry.transport_id,
            retries=entry.retries,
            size_bytes=entry.size_bytes,
            server_id=entry.server_id,
            remote_ip=entry.remote_ip,
            helo=entry.helo,
            sasl_username=entry.sasl_username,
            metadata=metadata,
            sender_params=entry.sender_params,
            recipient_params=entry.recipient_params,
            job_id=entry.job_id,
            priority=entry.priority,
            tenant_id=entry.tenant_id,
            action_id=entry.queue_id - entry.message_id + 1,
            most_retries=most_retries,
            egress=entry.egress if self.egress is None else self.egress,
            content=partial(read, self, entry.variant),
            received=partial(read, self, -1),
        )
        return self.seen


class Jobs:
    """Carries jobs out. `counts` has what became of recipients: delivered, deferred, bounced, deleted, waiting."""

    def __init__(
        self,
        settings: DeliverySettings,
        queue: Queue,
        spool: Spool,
        hooks: Hooks,
        attempts: Attempts,
        clock: Clock,
        rng: random.Random,
        log: Log,
        departures: Departures | None = None,
    ) -> None:
        self._settings = settings
        self._departures = departures
        self._queue = queue
        self._spool = spool
        self._hooks = hooks
        self._attempts = attempts
        self._clock = clock
        self._random = rng
        self._log = log
        self._reports = report_settings(settings)
        self.counts: Counter[str] = Counter()
        self._large: WeakValueDictionary[tuple[int, int], _Content] = WeakValueDictionary()
        self._reading: dict[tuple[int, int], asyncio.Task[_Content]] = {}
        self.stopping = False  # nothing more is to be sent
        self.recording: set[asyncio.Task[None]] = set()  # whose result is being recorded: not to be cancelled

    async def run(self, entries: Sequence[QueuedRecipient]) -> None:
        """Take the entries through. Never raises but when cancelled; entries under way then are due again at once."""
        scripts = self._hooks.current
        items = [_Item(entry) for entry in entries]
        try:
            await self._each([(item, self._before(scripts, item)) for item in items])
            until = self._clock.monotonic() + self._settings.attempt_s  # not of what scripts took
            for group in _groups([item for item in items if not item.settled]):
                if self.stopping or self._clock.monotonic() >= until:
                    break
                outcomes = await self._try(group)
                await self._record(scripts, group, outcomes)
        finally:
            for item in items:
                if not item.settled:
                    item.settled = True
                    self._queue.postpone(item.entry, self._clock.time())
                # It and what scripts were shown know each other: the message would stay until the collector comes by.
                item.seen = item.content = item.shared = None

    async def _record(self, scripts: ScriptSet, group: Sequence[_Item], outcomes: Sequence[Outcome]) -> None:
        """Settle the group by the outcomes. Their task may have been cancelled just when the peer answered: that is over."""
        task = asyncio.current_task()
        assert task is not None
        while task.cancelling():
            task.uncancel()
        self.recording.add(task)
        try:
            await self._each(
                [(item, self._after(scripts, item, outcome)) for item, outcome in zip(group, outcomes, strict=True)]
            )
        finally:
            self.recording.discard(task)
            for item in group:
                item.content = item.shared = None

    async def _each(self, steps: Sequence[tuple[_Item, Awaitable[None]]]) -> None:
        """Take a step with each item, side by side so that they share commits; a fault of ours puts its item back."""
        if len(steps) == 1:
            await self._guarded(*steps[0])  # without a task of its own
        else:
            await asyncio.gather(*(self._guarded(item, step) for item, step in steps))

    async def _guarded(self, item: _Item, step: Awaitable[None]) -> None:
        try:
            await step
        except Exception as error:
            self._fault(item, error)
            if not item.settled:
                await self._put_back(item, waiting("a fault of the server's own, see its log", self._settings.wait_s))

    async def _before(self, scripts: ScriptSet, item: _Item) -> None:
        """Run the pre-delivery hook; the item is settled afterwards unless it is to be tried."""
        transport = self._transport(item)
        if transport is None:
            text = f"transport {item.entry.transport_id} is not configured"
            self._log("delivery.transport_unknown", {"level": "error", **item.ids, "transport": item.entry.transport_id})
            await self._put_back(item, waiting(text, self._settings.wait_s, hold=True))
            return
        item.egress = self._told(item.entry)
        event = PreDeliveryEvent(self._facts(item), item.context, transport.next_hop or "", transport.port)
        verdict = await self._verdict(scripts, "predelivery", event)
        item.metadata = verdict.metadata
        item.dsn = verdict.dsn
        item.options = verdict.attempt
        if verdict.action == "try":
            item.attempt_by = verdict.by
        else:
            item.by = verdict.by
        if verdict.action == "queue":
            text = "the pre-delivery script failed" if verdict.failed else "put back by the pre-delivery script"
            await self._requeue(item, verdict.queue, text, "waiting")
        elif verdict.action in ("bounce", "delete"):
            action: Action = "BOUNCE" if verdict.action == "bounce" else "DELETE"
            outcome = Outcome(action, "not sent on, by local policy", status=(5, 7, 1))
            await self._after(None if verdict.settled else scripts, item, outcome)

    async def _try(self, group: Sequence[_Item]) -> Sequence[Outcome]:
        first = group[0]
        transport = self._transport(first)
        assert transport is not None
        try:
            content = await self._content(first, first.entry.variant)
            for item in group:
                item.content, item.shared = content, first.shared
            parcel = Parcel(
                sender=first.sender,
                recipients=tuple(item.recipient for item in group),
                content=content,
                sender_params=first.sender_params,
                recipient_params=tuple(item.recipient_params for item in group),
                key=first.entry.message_id,
                ids={"transaction": first.entry.transaction_id, "queue_id": tuple(item.entry.queue_id for item in group)},
                by=first.attempt_by,
                origin=self._origin(first),
            )
            return await self._attempts.make(parcel, first.options, transport)
        except SpoolError as error:
            self._log("delivery.content_unreadable", {"level": "error", **first.ids, "error": error.message})
            held = isinstance(error, SpoolDamaged)  # it will be no better in five minutes, and must not be thrown away
            text = f"the content cannot be read: {error.message}"
            return [waiting(text, self._settings.wait_s, hold=held)] * len(group)
        except Exception as error:
            self._fault(first, error)
            return [waiting("a fault of the server's own, see its log", self._settings.wait_s)] * len(group)

    def _origin(self, item: _Item) -> Origin:
        """Give what the choice of delivery IPs goes by; a sender that could not be told at reception is told now."""
        entry = item.entry
        if self._departures is None:
            return NODES_OWN
        fields, picture = item.egress or {}, self._departures.picture
        if "pending" in entry.egress and fields.get("domain") and item.content and picture is not None:
            identity = origin.identity_in(split_content(item.content)[0], picture.site.identity_header)
            item.egress = fields = {**fields, "identity": identity} if identity else fields
        metadata = entry.metadata if item.metadata is None else item.metadata
        return Origin(
            origin.sender_of(fields, metadata.get("identity", "")),
            entry.transaction_id.encode(),
            origin.kept_of(fields),
            origin.avoided_of(fields),
            entry.first_at,
        )

    def _told(self, entry: QueuedRecipient) -> origin.Fields:
        return origin.of_entry(self._departures.picture, entry) if self._departures is not None else entry.egress

    async def _read_large(self, key: tuple[int, int]) -> _Content:
        async def read() -> _Content:
            content = self._large[key] = _Content(await self._spool.read(*key))
            return content

        def ended(task: asyncio.Task[_Content]) -> None:
            del self._reading[key]
            if not task.cancelled():
                task.exception()  # who waited for it may be gone

        task = self._reading.get(key)
        if task is None:
            task = self._reading[key] = asyncio.create_task(read())
            task.add_done_callback(ended)
        return await asyncio.shield(task)

    async def _after(self, scripts: ScriptSet | None, item: _Item, outcome: Outcome) -> None:
        """Settle the item by its outcome and what the post-delivery hook makes of it; without scripts it is not asked."""
        entry = item.entry
        action, expired = outcome.action, False
        if action == "QUEUE" and self._queue.will_expire(entry, self._clock.time()) and not outcome.hold:
            action, expired = "BOUNCE", True
        if not outcome.charged and not expired:
            await self._put_back(item, outcome)
            return
        if action is None:  # nothing a script says can change it any more, and a lost reply is a duplicate
            item.settled = True
            report = self._success_report(item, outcome) if outcome.success and item.recipient_params else None
            await self._queue.finish(entry, report)
            more = {"report": report.transaction_id} if report is not None else None
            self._done(item, "delivered", outcome.text, more)
        verdict = QueueVerdict("default")
        if scripts is not None:
            told = None if action is None else self._report_facts(item, action, outcome)
            event = PostDeliveryEvent(self._facts(item), item.context, action, outcome.facts, expired, told)
            verdict = await self._verdict(scripts, "postdelivery", event)
        if item.settled:
            return
        item.by = verdict.by or item.by
        if verdict.metadata is not None:
            item.metadata = verdict.metadata
        item.dsn = verdict.dsn or item.dsn
        if verdict.action == "queue":
            await self._requeue(item, verdict.queue, outcome.text, "deferred", outcome)
        elif verdict.action == "default" and action == "QUEUE":
            await self._requeue(item, QueueOptions(), outcome.text, "deferred", outcome)
        elif verdict.action == "bounce" or (verdict.action == "default" and action == "BOUNCE"):
            await self._bounce(item, outcome, expired)
        else:
            item.settled = True
            await self._queue.finish(entry)
            self._done(item, "deleted", outcome.text)

    def _facts(self, item: _Item) -> QueuedFacts:
        return item.facts(self._queue.most_retries(item.entry), self._content)

    async def _content(self, item: _Item, variant: int) -> bytes:
        """Give the message's content, from the spool or from the attempt. Raises SpoolError."""
        if item.content is not None and variant == item.entry.variant:
            return item.content
        key = item.entry.message_id, variant
        if item.entry.size_bytes <= SMALL_BYTES:
            return await self._spool.read(*key)
        shared = self._large.get(key) or await self._read_large(key)
        if variant == item.entry.variant:
            item.content, item.shared = shared.data, shared
        return shared.data

    def _report_facts(self, item: _Item, action: Action, outcome: Outcome) -> ReportFacts:
        """Give what a report on the failure says, as scripts see it."""
        reports = ""
        if action == "BOUNCE" and not self._queue.no_report_because(item.entry):
            reports = "failed"
        elif action == "QUEUE" and self._queue.warns_of_delay(item.entry, self._clock.time()):
            reports = "delayed"
        kind = "smtp" if outcome.reply is not None else "x-error"
        text = str(outcome.reply) if outcome.reply is not None else outcome.text
        return ReportFacts(reports, outcome.status, kind, text)

    async def _verdict(self, scripts: ScriptSet, hook: str, event: PreDeliveryEvent | PostDeliveryEvent) -> QueueVerdict:
        verdict = await self._hooks.run(scripts, hook, event)
        if not isinstance(verdict, QueueVerdict):
            raise TypeError(f"hook {hook} gave {verdict!r}")
        return verdict

    async def _put_back(self, item: _Item, outcome: Outcome) -> None:
        options = QueueOptions(hold=outcome.hold, delay_s=outcome.wait_s, increment_retry=False, reason=outcome.text)
        await self._requeue(item, options, outcome.text, "waiting", outcome)

    async def _requeue(
        self, item: _Item, options: QueueOptions, text: str, count: str, outcome: Outcome | None = None
    ) -> None:
        now = self._clock.time()
        report = None
        if self._queue.warns_of_delay(item.entry, now):
            outcome = outcome or Outcome("QUEUE", text, status=(4, 0, 0), charged=False)
            report = await self._report(item, outcome, "delayed", now)
        item.settled = True
        kept = origin.by_first_names(item.entry.egress, item.egress or {})
        egress = kept if kept != item.entry.egress else None
        if outcome is not None and outcome.why:
            egress = origin.after(kept, outcome.left_from, outcome.avoid, outcome.why)
        await self._queue.reschedule(
            item.entry, options, now, error=text, metadata=item.metadata, egress=egress, report=report
        )
        if report is not None:
            self._log(
                "delivery.delay_reported", {**item.ids, "sender": str(item.entry.sender), "report": report.transaction_id}
            )
        wait_s = round(max(item.entry.due_at - now, 0.0), 1)
        more = {"wait_s": wait_s, "due_at": item.entry.due_at, "hold": item.entry.hold}
        self._done(item, count, options.reason or text, more)

    async def _bounce(self, item: _Item, outcome: Outcome, expired: bool) -> None:
        entry, now = item.entry, self._clock.time()
        report = None
        if not self._queue.no_report_because(entry):
            report = await self._report(item, outcome, "failed", now)
        item.settled = True
        await self._queue.bounce(entry, report)
        self._done(item, "bounced", outcome.text, {"expired": expired, "report": report.transaction_id if report else ""})

    async def _report(self, item: _Item, outcome: Outcome, action: ReportAction, now: float) -> NewMessage:
        """Give the report to the sender on what became of the recipient. Without the content it is without the message."""
        try:
            content = await self._content(item, item.entry.variant)
        except SpoolError:
            content = b""
        if len(content) > _BIG:
            return await asyncio.to_thread(self._made_report, item, outcome, action, content, now)
        return self._made_report(item, outcome, action, content, now)

    def _success_report(self, item: _Item, outcome: Outcome) -> NewMessage | None:
        """Give the report of success, where the sender asked for one."""
        asked = replace(item.entry, recipient_params=item.recipient_params)
        if outcome.success == "" or self._queue.no_report_because(asked, outcome.success):
            return None
        try:
            return self._made_report(item, outcome, outcome.success, item.content or b"", self._clock.time())
        except Exception as error:  # whatever it is: what was delivered must leave the queue
            self._fault(item, error)
            return None

    def _made_report(self, item: _Item, outcome: Outcome, action: ReportAction, content: bytes, now: float) -> NewMessage:
        text = str(outcome.reply) if outcome.reply is not None else outcome.text
        if not outcome.charged:  # it names our settings, which are none of the sender's business
            text = "The message could not be sent on in the time allowed" if action == "failed" else "It waits to be sent on"
        fate = Fate(
            outcome.status,
            text,
            bool(outcome.remote_host),
            outcome.remote_host,
            action,
            self._queue.tried_until(item.entry),
            item.recipient_params,
        )
        tried = replace(item.entry, last_at=now) if outcome.facts is not None else item.entry
        return report_on(tried, content, fate, self._reports, now, self._random, item.dsn)

    def _done(self, item: _Item, what: str, text: str, more: Mapping[str, object] | None = None) -> None:
        self.counts[what] += 1
        entry = item.entry
        people = {"sender": str(entry.sender), "recipient": str(entry.recipient), "retries": entry.retries}
        told = item.egress or entry.egress
        owner = {key: told[key] for key in ("domain", "username") if key in told}
        self._log(f"delivery.{what}", {**item.ids, **people, **owner, "reason": text, "by": item.by, **(more or {})})

    def _fault(self, item: _Item, error: Exception) -> None:
        text = "".join(traceback.format_exception(error))
        self._log("delivery.fault", {"level": "error", **item.ids, "error": repr(error), "text": text})

    def _transport(self, item: _Item) -> Transport | None:
        return self._settings.transports.get(item.entry.transport_id)


def report_settings(settings: DeliverySettings) -> ReportSettings:
    """Give what reports are like."""
    return ReportSettings(
        settings.helo,
        settings.report_transport_id,
        parse_address(settings.report_from) if settings.report_from else None,
        settings.report_from_name,
        settings.report_full_max_bytes,
    )


def _groups(items: Sequence[_Item]) -> list[list[_Item]]:
    """Give the items in groups that share all decisions and so one transaction. Options hold mappings: no hashing."""
    groups: list[list[_Item]] = []
    for item in items:
        group = next((group for group in groups if _alike(group[0], item)), None)
        if group is None:
            groups.append([item])
        else:
            group.append(item)
    return groups


def _domain(item: _Item) -> str:
    return ascii_lower(item.recipient.domain)


def _alike(one: _Item, other: _Item) -> bool:
    if one.entry.transport_id != other.entry.transport_id or _domain(one) != _domain(other):
        return False
    if one.sender != other.sender or one.sender_params != other.sender_params:
        return False
    mine, theirs = (replace(item.options, recipient=None, recipient_params=None) for item in (one, other))
    return mine == theirs and _identity(one) == _identity(other) and one.entry.egress == other.entry.egress


def _identity(item: _Item) -> str:
    return (item.entry.metadata if item.metadata is None else item.metadata).get("identity", "")

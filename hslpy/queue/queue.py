"""The queue: what was accepted, until it is delivered, given up or deleted. In: messages, results. Out: what is due.

Each change is in the spool before it is in memory, in one commit with what belongs to it. Knows nothing of how mail is
delivered or scripted; times come from the clock it is given.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections import deque
from collections.abc import Callable, Collection, Coroutine, Iterable, Mapping, Sequence
from dataclasses import field
from typing import Any, TypeVar

from hslpy.clock import Clock
from hslpy.log import Log
from hslpy.mail.dsn import Action, wants_report
from hslpy.mail.verdict import QueueOptions
from hslpy.queue.entries import compact, named
from hslpy.queue.index import Index
from hslpy.queue.journal import Journal
from hslpy.queue.metrics import Build, QueueMetrics
from hslpy.queue.schedule import (
    QueueExpired,
    RetrySchedule,
    due_by_the_clock,
    most_retries,
    next_attempt_at,
    passed,
    spread_over,
)
from hslpy.queue.search import EVERYTHING, STEP, QueueFilter, Summary, Told, matching, search, summarise
from hslpy.records import dataclass
from hslpy.spool.contract import NewMessage, QueuedRecipient, Remove, Spool, SpoolError, Update

_T = TypeVar("_T")
Withheld = Callable[[QueuedRecipient], str]

_CHUNK = 500  # entries changed by one commit of an operator's order, so that mail need not wait for all of them
_AT_ONCE = 20_000  # so many are counted by a new set of fields within 20 ms
_LONGEST_SLEEP_S = 60.0  # due times are wall clock, and the wall clock may be set
_SET_S = 60.0  # a wall clock that is off by more than this all at once was set; less is corrected all the time
_MOST_REPORTS = 1000  # of success, kept in memory until the spool takes them
_AGAIN_S = 60.0  # the wait of an entry whose bounce could not be stored


@dataclass(frozen=True, slots=True)
class QueueSettings:
    """`schedule` says when to retry. After a restart, retries overdue are spread over `spread_s` when they are more
    than `spread_above`, so that they don't reach their hosts all at once. `delay_warning_after_s` are the ages, counted
    from the first attempt, at which senders are told of a delay. `max_metric_sets` bounds the sets of fields counted at
    a time.
    """

    schedule: RetrySchedule = field(default_factory=RetrySchedule)
    spread_s: float = 300.0
    spread_above: int = 200
    delay_warning_after_s: tuple[float, ...] = ()
    max_metric_sets: int = 64


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of an operator's order, by queue id: `later` when the attempt under way has ended."""

    done: tuple[int, ...] = ()
    later: tuple[int, ...] = ()
    unknown: tuple[int, ...] = ()


class Queue:
    """The queue over `spool`, from `open` to `close`; the spool is opened and closed by whoever made it.

    Entries it gives out are its own: read them, and change them only by its methods. One that `claim` gave is in
    flight until `finish`, `reschedule`, `postpone` or `bounce`; nothing else ends its flight.
    """

    def __init__(self, spool: Spool, settings: QueueSettings, clock: Clock, random: random.Random, log: Log) -> None:
        self._spool = spool
        self._settings = settings
        self._clock = clock
        self._random = random
        self._log = log
        self._index = Index(settings.max_metric_sets)
        self.withheld: Withheld = lambda entry: ""
        """Says why an entry is not to be tried whatever is due, empty for one that may."""
        self.told: Told = lambda entry: entry.egress
        """Gives what the choice of delivery IPs goes by now, for an entry."""
        self._aside: set[int] = set()  # due, and withheld
        self._doomed: set[int] = set()  # deleted by an operator while in flight
        self._reports: deque[tuple[Mapping[str, object], NewMessage]] = deque()  # of success, not stored yet
        self._closing = False
        self._finishing: list[QueuedRecipient] = []
        self._finished: asyncio.Future[None]  # of those in `_finishing`
        self._finisher: asyncio.Task[None] | None = None
        self._counting: dict[tuple[str, ...], asyncio.Task[None]] = {}
        self._tasks: set[asyncio.Task[Any]] = set()
        self._changed = asyncio.Event()
        self._journal = Journal(spool, clock, log, self._spawn, self._changed.set)
        self._ahead_s = clock.time() - clock.monotonic()
        self._most_retries = {bounce: most_retries(settings.schedule, bounce=bounce) for bounce in (False, True)}

    async def open(self) -> None:
        """Load what the spool has. Retries that fell due meanwhile are spread; first attempts are not."""
        now = self._clock.time()
        overdue: list[QueuedRecipient] = []
        async for batch in self._spool.recover():
            for entry in batch:
                entry.due_at = _due(entry, now)
                self._index.add(compact(entry))
                if entry.retries and entry.due_at < now and not entry.hold:
                    overdue.append(entry)
        if len(overdue) > self._settings.spread_above:
            overdue.sort(key=lambda entry: entry.due_at)
            rolls = [self._random.random() for _ in overdue]
            times = spread_over([entry.due_at for entry in overdue], now, self._settings.spread_s, rolls)
            self._index.respread(zip(overdue, times, strict=True))
        if len(self._index):
            self._log("queue.recovered", {"recipients": len(self._index), "overdue": len(overdue)})
        self._changed.set()

    async def close(self) -> None:
        """Wait for the changes under way, and write those still owed."""
        self._closing = True
        self._journal.close()
        while self._tasks:
            await asyncio.wait(list(self._tasks))
        await self._journal.flush()
        await self._store_reports()
        for about, _ in self._reports:
            self._log(
                "queue.report_dropped", {"level": "error", **about, "reason": "the spool did not take it until the stop"}
            )

    # --- mail coming in

    def accept(self, message: NewMessage) -> Coroutine[Any, Any, tuple[QueuedRecipient, ...]]:
        """Make the message durable, queue its recipients and give them.

        A caller cancelled meanwhile leaves it accepted: it may have been durable already.
        Raises SpoolError (SpoolFull), whose `reply` the peer hears.
        """
        return self._spool.store(message, self._add)

    # --- mail going out

    def claim(self, limit: int) -> list[QueuedRecipient]:
        """Give up to `limit` recipients that are due, earliest first; they are in flight from now on.

        None while the spool does not take what becomes of them: each would be delivered again after a restart.
        """
        if self._journal.behind:
            return []
        return self._without_withheld(self._index.claim(self._now(), limit))

    def _without_withheld(self, claimed: list[QueuedRecipient]) -> list[QueuedRecipient]:
        """Give those that may be tried; the others wait until `look_again`."""
        free = []
        for entry in claimed:
            if self.withheld(entry):
                self._index.set_aside(entry)
                self._aside.add(entry.queue_id)
            else:
                free.append(entry)
        return free

    def look_again(self) -> None:
        """See whether what was withheld may be tried now."""
        for queue_id in list(self._aside):
            entry = self._index.get(queue_id)
            if entry is None or not self.withheld(entry):
                self._aside.discard(queue_id)
                if entry is not None and not self._index.is_in_flight(queue_id):
                    self._index.put_back(entry)
        self._changed.set()

    def claim_those(self, queue_ids: Iterable[int]) -> list[QueuedRecipient]:
        """Give those of these recipients that wait, due or not; they are in flight from now on. None as for `claim`."""
        return [] if self._journal.behind else self._without_withheld(self._index.claim_those(queue_ids))

    @property
    def paused(self) -> bool:
        """Whether nothing is claimed for now, because the spool does not take what becomes of mail."""
        return self._journal.behind

    def next_due(self) -> float | None:
        """Give the time at which something is due, in Unix seconds; None when nothing waits."""
        return self._index.next_due()

    async def wait(self) -> None:
        """Return when something is due: at once when it is already."""
        while True:
            self._changed.clear()
            now = self._now()
            due = None if self._journal.behind else self._index.next_due()
            left = _LONGEST_SLEEP_S if due is None else due - now
            if left <= 0:
                return
            changed = asyncio.ensure_future(self._changed.wait())
            waits: list[asyncio.Future[Any]] = [changed]
            if due is not None:
                waits.append(asyncio.ensure_future(self._clock.sleep(min(left, _LONGEST_SLEEP_S))))
            try:
                await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for wait in waits:
                    wait.cancel()

    def will_expire(self, entry: QueuedRecipient, now: float) -> bool:
        """Say whether an attempt that fails for now at `now` was the last the schedule allows."""
        try:
            self._next_attempt(entry, now, entry.retries + 1, 0.5)
        except QueueExpired:
            return True
        return False

    def warns_of_delay(self, entry: QueuedRecipient, now: float) -> bool:
        """Say whether putting the entry back at `now` is when its sender is to be told of the delay.

        That it was is kept as the time of the latest attempt, which is written together with the report.
        """
        ages = self._settings.delay_warning_after_s
        return passed(entry.first_at, entry.last_at, now, ages) and not self.no_report_because(entry, "delayed")

    def tried_until(self, entry: QueuedRecipient) -> float:
        """Give when the entry is given up, should no script say otherwise."""
        return _first(entry, self._clock.time()) + self._settings.schedule.lifetime_s

    async def reschedule(
        self,
        entry: QueuedRecipient,
        options: QueueOptions,
        now: float,
        *,
        error: str = "",
        metadata: Mapping[str, str] | None = None,
        egress: Mapping[str, str] | None = None,
        report: NewMessage | None = None,
    ) -> None:
        """Put a claimed recipient back after an attempt at `now`, or a script's order not to make one.

        A delay that `options` gives holds whatever the schedule says; without one a recipient past its lifetime
        (see `will_expire`) waits for the schedule's ceiling. `error` (or the options' reason) is kept for the operator;
        `metadata` and `egress` replace what is stored where not None. A `report` of the delay is queued in the same commit.
        """
        retries = 0 if options.reset_retry else entry.retries + (1 if options.increment_retry else 0)
        values: dict[str, object] = {
            "retries": retries,
            "first_at": 0.0 if options.reset_retry else _first(entry, now),
            "last_at": now,
            "last_error": options.reason or error or entry.last_error,
            "hold": options.hold or entry.hold,
        }
        if options.delay_s is not None:
            values["due_at"] = now + max(options.delay_s, 0.0)
        else:
            try:
                values["due_at"] = self._next_attempt(entry, now, retries, self._random.random())
            except QueueExpired:
                values["due_at"] = now + self._settings.schedule.ceiling_s
        if options.transport_id is not None:
            values["transport_id"] = options.transport_id
        if metadata is not None:
            values["metadata"] = dict(metadata)
        if egress is not None:
            values["egress"] = dict(egress)
        await self._to_its_end(self._reschedule(entry, values, report))

    def postpone(self, entry: QueuedRecipient, due_at: float) -> None:
        """Put a claimed recipient back without an attempt, for want of a slot or source. Only memory is changed."""
        if entry.queue_id in self._doomed:
            self._join_finishing(entry)
            return
        self._index.change(entry, {"due_at": due_at})
        self._index.put_back(entry)
        self._wake(due_at)

    def withdrawn(self, entry: QueuedRecipient) -> bool:
        """Say whether this claimed recipient should not be tried now: it is held or deleted, or claiming has paused."""
        return entry.hold or entry.queue_id in self._doomed or self._journal.behind or bool(self.withheld(entry))

    def most_retries(self, entry: QueuedRecipient) -> int:
        """Give how many retries the schedule has room for."""
        return self._most_retries[entry.sender.is_null]

    def no_report_because(self, entry: QueuedRecipient, action: Action = "failed") -> str:
        """Give why no report on the entry is to be sent, "" when one is. Source: RFC 5321 4.5.5, RFC 3461 4.1."""
        if entry.sender.is_null:
            return "the sender is null"
        if entry.queue_id in self._doomed:
            return "deleted by an operator"
        return "" if wants_report(entry.recipient_params, action) else "NOTIFY does not want it"

    async def finish(self, entry: QueuedRecipient, report: NewMessage | None = None) -> None:
        """Forget a recipient that was delivered, or deleted by a script; a `report` is queued in the same commit.

        A report that cannot be stored is kept and stored later: what was delivered is not tried again for it.
        """
        if report is None:
            await self._finish(entry)
        else:
            await self._to_its_end(self._finish_with(entry, report))

    async def bounce(self, entry: QueuedRecipient, report: NewMessage | None) -> tuple[QueuedRecipient, ...]:
        """Forget a recipient that failed for good and queue the report on it, in one commit; give the report's entries.

        The report is dropped, and that logged, where `no_report_because` has a reason.
        When the report cannot be stored, the recipient stays and is tried again later.
        """
        if report is not None:
            why = self.no_report_because(entry)
            if why:
                self._log("queue.report_dropped", {**named(entry), "reason": why})
                report = None
        return await self._to_its_end(self._bounce(entry, report))

    # --- measures and operators

    def metric(self, metric: str, filters: Mapping[str, Sequence[str]]) -> float:
        """Give `count` or `bytes` of what is queued. Source: `QueueMetrics.metric`."""
        return self._index.metrics.metric(metric, filters)

    @property
    def metrics(self) -> QueueMetrics:
        """The counts, as far as they are published."""
        return self._index.metrics

    def metric_ready(self, fields: Collection[str]) -> asyncio.Task[None] | None:
        """Give what to wait for so that a metric by these fields does not hold up the loop; None when it will not.

        Raises ValueError for an unknown field.
        """
        if len(self._index) < _AT_ONCE or self._index.metrics.is_ready(fields):
            return None
        wanted = tuple(sorted(fields))
        task = self._counting.get(wanted)
        if task is None:
            build = self._index.count_in_steps(wanted)
            assert build is not None
            task = self._counting[wanted] = self._spawn(self._count(build))
        return task

    async def _count(self, build: Build) -> None:
        try:
            more = True
            while more and not self._closing:
                more = build.step(STEP)
                await asyncio.sleep(0)
        finally:
            del self._counting[build.fields]
            self._index.metrics.end(build)

    def __len__(self) -> int:
        return len(self._index)

    @property
    def in_flight(self) -> int:
        return self._index.in_flight

    def state(self, entry: QueuedRecipient) -> str:
        """Give `waiting`, `due`, `in-flight`, `held` (what is withheld, too) or `quarantined`."""
        state = self._index.state(entry)
        if state == "waiting" and self.withheld(entry):
            return "held"
        return "due" if state == "waiting" and entry.due_at <= self._clock.time() else state

    def get(self, queue_id: int) -> QueuedRecipient | None:
        return self._index.get(queue_id)

    async def list(
        self, wanted: QueueFilter = EVERYTHING, limit: int = 100, offset: int = 0
    ) -> tuple[int, tuple[QueuedRecipient, ...]]:
        """Give how many match, and those from `offset` on, in the order they came in. Others get turns meanwhile.

        Raises ValueError for an unknown field.
        """
        return await search(self._index, matching(wanted, self.state, self.told), limit, offset)

    async def summary(self, by: str, wanted: QueueFilter = EVERYTHING) -> Summary:
        """Give what matches by state, and in groups by a field, or by `user`. Others get turns meanwhile.

        Raises ValueError for an unknown field.
        """
        return await summarise(self._index, by, wanted, self.state, self.told)

    async def of_transaction(self, transaction_id: str) -> tuple[QueuedRecipient, ...]:
        """Give all recipients of a transaction."""
        found = await search(self._index, lambda entry: entry.transaction_id == transaction_id, len(self._index), 0)
        return found[1]

    async def hold(self, queue_ids: Iterable[int]) -> Outcome:
        """Keep recipients from further attempts. An attempt under way goes on; what it puts back is held."""
        return await self._order(queue_ids, "hold")

    async def release(self, queue_ids: Iterable[int]) -> Outcome:
        """Let held and quarantined recipients go, and others not wait: all are due now."""
        return await self._order(queue_ids, "release")

    async def delete(self, queue_ids: Iterable[int]) -> Outcome:
        """Forget recipients without a report; those in flight once their attempt has ended without success."""
        return await self._order(queue_ids, "delete")

    # --- within

    def _now(self) -> float:
        """Give the time. Where the clock was set, what is queued goes by the new one first.

        Set back, nobody waits for a time that has been already; set forward, nothing is given up for time that has not
        passed. Only memory is changed: times ahead are seen anew at the next start.
        """
        now = self._clock.time()
        ahead_s = now - self._clock.monotonic()
        by_s, self._ahead_s = ahead_s - self._ahead_s, ahead_s
        if abs(by_s) < _SET_S:
            return now
        self._log("queue.clock_set", {"level": "warning", "by_s": round(by_s, 3), "recipients": len(self._index)})
        if by_s > 0:
            for entry in self._index:
                entry.first_at = entry.first_at and entry.first_at + by_s
        else:
            self._index.respread([(entry, _due(entry, now)) for entry in self._index])
        return now

    def _next_attempt(self, entry: QueuedRecipient, now: float, tries: int, roll: float) -> float:
        bounce = entry.sender.is_null
        return next_attempt_at(_first(entry, now), now, tries, self._settings.schedule, roll, bounce=bounce)

    async def _reschedule(self, entry: QueuedRecipient, values: dict[str, object], report: NewMessage | None) -> None:
        if entry.queue_id in self._doomed:
            await self._finish(entry)
            return
        held = entry.hold
        if report is None:
            await self._journal.record(entry, Update(entry.queue_id, values))
        elif await self._with_report(entry, Update(entry.queue_id, values), report) is not None:
            del values["last_at"]  # or the next attempt would not know that the report is still to be sent
            await self._journal.record(entry, Update(entry.queue_id, values))
        if entry.queue_id in self._doomed:  # deleted while that was written
            await self._finish(entry)
            return
        if entry.hold != held:  # an operator held or released it while that was written: the newer word stands
            values["hold"] = entry.hold
            await self._journal.record(entry, Update(entry.queue_id, {"hold": entry.hold}))
        self._index.change(entry, values)
        self._index.put_back(entry)
        self._wake(entry.due_at)

    async def _finish(self, entry: QueuedRecipient) -> None:
        """Forget a recipient, together with all that are finished while the spool writes; cancelled or not, it is."""
        await asyncio.shield(self._join_finishing(entry))

    def _join_finishing(self, entry: QueuedRecipient) -> asyncio.Future[None]:
        if not self._finishing:
            self._finished = asyncio.get_running_loop().create_future()
            if self._finisher is None:
                self._finisher = self._spawn(self._finish_all())
        self._finishing.append(entry)
        return self._finished

    async def _finish_all(self) -> None:
        while self._finishing:
            entries, done, self._finishing = self._finishing, self._finished, []
            try:
                await self._journal.apply([Remove(entry.queue_id) for entry in entries])
            except SpoolError:  # perhaps of one of them only
                for entry in entries:
                    await self._journal.record(entry, Remove(entry.queue_id))
            for entry in entries:
                self._forget(entry)
            done.set_result(None)
        self._finisher = None

    async def _finish_with(self, entry: QueuedRecipient, report: NewMessage) -> None:
        error = await self._with_report(entry, Remove(entry.queue_id), report)
        if error is None:
            self._forget(entry)
            return
        await self._finish(entry)
        if error.unfit or len(self._reports) >= _MOST_REPORTS:
            self._log("queue.report_dropped", {"level": "error", **named(entry), "reason": error.message})
            return
        self._reports.append((named(entry), report))
        if len(self._reports) == 1:
            self._spawn(self._keep_storing_reports())

    async def _with_report(self, entry: QueuedRecipient, change: Update | Remove, report: NewMessage) -> SpoolError | None:
        """Write the change and queue the report in one commit; give why the spool did not take it."""
        try:
            self._add(await self._journal.apply((change,), report))
        except SpoolError as error:
            self._log("queue.report_not_stored", {"level": "error", **named(entry), "error": error.message})
            return error
        return None

    async def _keep_storing_reports(self) -> None:
        while self._reports:
            await self._journal.nap()
            if self._closing:
                return
            await self._store_reports()

    async def _store_reports(self) -> None:
        """Queue the reports of success that the spool did not take, as far as it takes them now."""
        with contextlib.suppress(SpoolError):
            while self._reports:
                self._add(await self._journal.apply((), self._reports[0][1]))
                self._reports.popleft()

    async def _bounce(self, entry: QueuedRecipient, report: NewMessage | None) -> tuple[QueuedRecipient, ...]:
        if report is None:
            await self._finish(entry)
            return ()
        try:
            entries = await self._journal.apply((Remove(entry.queue_id),), report)
        except SpoolError as error:
            self._log("queue.bounce_not_stored", {"level": "error", **named(entry), "error": error.message})
            self.postpone(entry, self._clock.time() + _AGAIN_S)
            return ()
        self._forget(entry)
        self._add(entries)
        return entries

    async def _order(self, queue_ids: Iterable[int], order: str) -> Outcome:
        """Carry out an operator's order, some hundreds a commit. Raises SpoolError; what was done before it stays done."""
        done: list[int] = []
        later: list[int] = []
        unknown: list[int] = []
        wanted = list(dict.fromkeys(queue_ids))
        for start in range(0, len(wanted), _CHUNK):
            changes: list[tuple[QueuedRecipient, Update | Remove]] = []
            for queue_id in wanted[start : start + _CHUNK]:
                entry = self._index.get(queue_id)
                if entry is None:
                    unknown.append(queue_id)
                elif order == "delete" and self._index.is_in_flight(queue_id):
                    self._doomed.add(queue_id)
                    later.append(queue_id)
                elif order == "delete":
                    self._index.hide(entry)  # no attempt may begin while the removal is written
                    changes.append((entry, Remove(queue_id)))
                else:
                    changes.append((entry, Update(queue_id, self._ordered_values(entry, order))))
                    (later if self._index.is_in_flight(queue_id) else done).append(queue_id)
            await self._to_its_end(self._carry_out(changes))
            done.extend(entry.queue_id for entry, change in changes if isinstance(change, Remove))
        outcome = Outcome(tuple(done), tuple(later), tuple(unknown))
        counts = {"done": len(done), "later": len(later), "unknown": len(unknown)}
        self._log(f"queue.{order}", {**counts, "ids": wanted[:20]})
        return outcome

    def _ordered_values(self, entry: QueuedRecipient, order: str) -> dict[str, object]:
        if order == "hold":
            return {"hold": True}
        now = self._clock.time()
        return {"hold": False, "quarantine_id": None, "due_at": min(entry.due_at, now)}

    async def _carry_out(self, changes: Sequence[tuple[QueuedRecipient, Update | Remove]]) -> None:
        try:
            await self._journal.apply([change for _, change in changes])
        except SpoolError:
            for entry, change in changes:
                if isinstance(change, Remove):
                    self._index.put_back(entry)
            self._changed.set()
            raise
        for entry, change in changes:
            if isinstance(change, Remove):
                self._forget(entry)
            elif self._index.get(entry.queue_id) is entry:
                self._index.change(entry, change.values)
        self._changed.set()

    def _add(self, entries: Sequence[QueuedRecipient]) -> None:
        for entry in entries:
            self._index.add(compact(entry))
        self._wake(min([entry.due_at for entry in entries if not entry.hold], default=None))

    def _forget(self, entry: QueuedRecipient) -> None:
        self._index.discard(entry.queue_id)
        self._doomed.discard(entry.queue_id)

    def _wake(self, due_at: float | None) -> None:
        if due_at is not None and self._index.next_due() == due_at:  # it is now the first
            self._changed.set()

    async def _to_its_end(self, work: Coroutine[Any, Any, _T]) -> _T:
        """Do the work to its end, though the caller be cancelled: the spool may have it already, so memory must follow."""
        return await asyncio.shield(self._spawn(work))

    def _spawn(self, work: Coroutine[Any, Any, _T]) -> asyncio.Task[_T]:
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._ended)
        return task

    def _ended(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if not task.cancelled():
            task.exception()  # a caller that was cancelled no longer asks for it


def _first(entry: QueuedRecipient, now: float) -> float:
    """Give the time of the first attempt at an entry: `now` where there was none, or the clock was set back since."""
    return min(entry.first_at or now, now)


def _due(entry: QueuedRecipient, now: float) -> float:
    return due_by_the_clock(entry.due_at, max(entry.received_at, entry.last_at or 0.0), now)

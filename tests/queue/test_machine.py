"""Queue and spool against a model: nothing accepted is lost or given twice, and each metric is that of a recount."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Coroutine
from dataclasses import dataclass, field
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from hslpy.clock import ManualClock
from hslpy.mail.address import NULL_SENDER, Address
from hslpy.mail.verdict import QueueOptions
from hslpy.queue.queue import Queue, QueueSettings
from hslpy.queue.schedule import RetrySchedule
from hslpy.spool.contract import NewMessage, QueuedRecipient, SpoolError
from hslpy.spool.memory import MemorySpool
from tests.queue.test_metrics import recount
from tests.spool.messages import message, recipient

_PICK = st.integers(0, 1 << 30)
_FILTERS: tuple[dict[str, list[str]], ...] = (
    {},
    {"senderdomain": ["d1.example"]},
    {"senderdomain": ["d0.example", "d2.example", ""], "transportid": ["t1"]},
    {"retry": ["0", "2"], "metadata.k": ["v1"]},
)


@dataclass
class Known:
    """What the model knows of a recipient; `stored_due_at` is where a restart finds it."""

    due_at: float
    stored_due_at: float
    transport_id: str
    retries: int = 0
    hold: bool = False
    quarantine_id: str | None = None
    metadata: dict[str, str] = field(default_factory=dict)
    null_sender: bool = False
    in_flight: bool = False
    doomed: bool = False


class QueueMachine(RuleBasedStateMachine):
    @initialize()
    def start(self) -> None:
        self.loop = asyncio.new_event_loop()
        self.clock = ManualClock(1000.0)
        self.spool = MemorySpool()
        self.known: dict[int, Known] = {}
        self.owed = False
        self.open()

    def open(self) -> None:
        self.spool = self.spool.reopened()
        settings = QueueSettings(schedule=RetrySchedule(jitter=0.0), spread_above=1 << 30, max_metric_sets=2)
        self.queue = Queue(self.spool, settings, self.clock, random.Random(1), lambda event, fields: None)
        self.do(self.spool.open())
        self.do(self.queue.open())

    def do(self, work: Coroutine[Any, Any, Any]) -> Any:
        return self.loop.run_until_complete(work)

    def teardown(self) -> None:
        if hasattr(self, "loop"):
            self.loop.close()

    def flying(self, pick: int) -> tuple[QueuedRecipient, Known] | None:
        ids = [queue_id for queue_id, known in self.known.items() if known.in_flight]
        if not ids:
            return None
        queue_id = ids[pick % len(ids)]
        entry = self.queue.get(queue_id)
        assert entry is not None
        return entry, self.known[queue_id]

    def claimable(self) -> bool:
        now = self.clock.time()
        return any(not known.hold and not known.in_flight and known.due_at <= now for known in self.known.values())

    def flies(self) -> bool:
        return any(known.in_flight for known in self.known.values())

    def some(self, pick: int) -> list[int]:
        return [queue_id for place, queue_id in enumerate(sorted(self.known)) if pick >> place % 30 & 1] + [10**9]

    def new(self, count: int, pick: int) -> NewMessage:
        rng = random.Random(pick)
        recipients = [
            recipient(
                f"r{number}",
                self.clock.time() + rng.choice((-5, 0, 0, 300)),
                sender=NULL_SENDER if rng.random() < 0.2 else Address("a", f"D{rng.randrange(3)}.example"),
                transport_id=f"t{rng.randrange(2)}",
                metadata={"k": f"v{rng.randrange(2)}"} if rng.random() < 0.5 else {},
                hold=(held := rng.random() < 0.2),
                quarantine_id="q" if held and rng.random() < 0.5 else None,
            )
            for number in range(count)
        ]
        return message(*recipients)

    def learn(self, new: NewMessage, entries: tuple[QueuedRecipient, ...]) -> None:
        assert len(entries) == len(new.recipients)
        for wanted, entry in zip(new.recipients, entries, strict=True):
            assert entry.queue_id not in self.known
            self.known[entry.queue_id] = Known(
                wanted.due_at,
                wanted.due_at,
                wanted.transport_id,
                hold=wanted.hold,
                quarantine_id=wanted.quarantine_id,
                metadata=dict(wanted.metadata),
                null_sender=wanted.sender.is_null,
            )

    @rule(count=st.integers(1, 5), pick=_PICK)
    def accept(self, count: int, pick: int) -> None:
        new = self.new(count, pick)
        try:
            entries = self.do(self.queue.accept(new))
        except SpoolError:
            assert self.spool.failing
            return
        assert not self.spool.failing
        self.learn(new, entries)

    async def moment(self) -> None:
        self.clock.advance(1.0)
        for _ in range(10):
            await asyncio.sleep(0)
        self.owed = self.queue.paused

    @precondition(lambda self: self.claimable())
    @rule(limit=st.sampled_from([1, 2, 4, 100]))
    def claim(self, limit: int) -> None:
        if self.queue.paused and self.spool.failing:
            assert self.queue.claim(limit) == []
            return
        while self.queue.paused:
            self.do(self.moment())
        now = self.clock.time()
        due = sorted(
            (known.due_at, queue_id)
            for queue_id, known in self.known.items()
            if not known.hold and not known.in_flight and known.due_at <= now
        )
        claimed = self.queue.claim(limit)
        assert [entry.queue_id for entry in claimed] == [queue_id for _, queue_id in due[:limit]]
        for entry in claimed:
            self.known[entry.queue_id].in_flight = True

    @precondition(lambda self: self.flies())
    @rule(pick=_PICK, charged=st.booleans(), hold=st.booleans(), delay=st.sampled_from([None, 0.0, 60.0]))
    def reschedule(self, pick: int, charged: bool, hold: bool, delay: float | None) -> None:
        found = self.flying(pick)
        if found is None:
            return
        entry, known = found
        now = self.clock.time()
        transport_id = "t1" if pick % 3 == 0 else None
        metadata = {"k": "v1"} if pick % 5 == 0 else None
        options = QueueOptions(hold, delay, increment_retry=charged, transport_id=transport_id)
        self.do(self.queue.reschedule(entry, options, now, metadata=metadata))
        self.owed |= self.spool.failing
        known.in_flight = False
        if known.doomed:
            del self.known[entry.queue_id]
            return
        known.retries += charged
        known.hold |= hold
        wait = min(300.0 * 2 ** (max(known.retries, 1) - 1), 4 * 3600)
        known.due_at = known.stored_due_at = now + (delay if delay is not None else wait)
        known.transport_id = transport_id or known.transport_id
        known.metadata = metadata or known.metadata

    @precondition(lambda self: self.flies())
    @rule(pick=_PICK)
    def finish(self, pick: int) -> None:
        found = self.flying(pick)
        if found is not None:
            self.do(self.queue.finish(found[0]))
            self.owed |= self.spool.failing
            del self.known[found[0].queue_id]

    @precondition(lambda self: self.flies())
    @rule(pick=_PICK)
    def postpone(self, pick: int) -> None:
        found = self.flying(pick)
        if found is None:
            return
        entry, known = found

        async def postpone() -> None:
            self.queue.postpone(entry, self.clock.time() + pick % 90)
            await asyncio.sleep(0)
            await asyncio.sleep(0)

        self.do(postpone())
        known.in_flight = False
        known.due_at = self.clock.time() + pick % 90
        if known.doomed:
            self.owed |= self.spool.failing
            del self.known[entry.queue_id]

    @precondition(lambda self: self.flies())
    @rule(pick=_PICK)
    def bounce(self, pick: int) -> None:
        found = self.flying(pick)
        if found is None:
            return
        entry, known = found
        report = message(recipient(sender=NULL_SENDER, due_at=self.clock.time()), transaction_id="report")
        entries = self.do(self.queue.bounce(entry, report))
        unwanted = known.doomed or known.null_sender
        if not unwanted and self.spool.failing:
            known.in_flight = False
            known.due_at = self.clock.time() + 60
            return
        self.owed |= self.spool.failing
        del self.known[entry.queue_id]
        assert bool(entries) != unwanted
        if entries:
            self.learn(report, entries)

    @rule(pick=_PICK, order=st.sampled_from(["hold", "release", "delete"]))
    def order(self, pick: int, order: str) -> None:
        ids = self.some(pick)
        try:
            outcome = self.do(getattr(self.queue, order)(ids))
        except SpoolError:
            assert self.spool.failing
            if order == "delete":
                for queue_id in ids:
                    if queue_id in self.known and self.known[queue_id].in_flight:
                        self.known[queue_id].doomed = True
            return
        assert outcome.unknown == (10**9,)
        for queue_id in ids[:-1]:
            known = self.known[queue_id]
            assert queue_id in (outcome.later if known.in_flight else outcome.done)
            if order == "hold":
                known.hold = True
            elif order == "release":
                known.hold, known.quarantine_id = False, None
                known.due_at = known.stored_due_at = min(known.due_at, self.clock.time())
            elif known.in_flight:
                known.doomed = True
            else:
                del self.known[queue_id]

    @rule(seconds=st.sampled_from([1.0, 60.0, 600.0, 20_000.0]))
    def advance(self, seconds: float) -> None:
        self.clock.advance(seconds)

    @rule(failing=st.sampled_from([False, False, True]))
    def break_or_mend(self, failing: bool) -> None:
        self.spool.failing = failing

    @rule(crash=st.booleans())
    @precondition(lambda self: not self.spool.failing)
    def restart(self, crash: bool) -> None:
        if not crash or self.owed:
            self.do(self.queue.close())
            self.owed = False
        self.open()
        for known in self.known.values():
            known.in_flight = known.doomed = False
            known.due_at = known.stored_due_at

    @invariant()
    def agrees(self) -> None:
        if not hasattr(self, "queue"):
            return
        _, entries = self.do(self.queue.list(limit=1000))
        assert [entry.queue_id for entry in entries] == sorted(self.known)
        for entry in entries:
            known = self.known[entry.queue_id]
            assert entry.due_at == known.due_at
            assert (entry.retries, entry.transport_id) == (known.retries, known.transport_id)
            assert (entry.hold, entry.quarantine_id, dict(entry.metadata)) == (
                known.hold,
                known.quarantine_id,
                known.metadata,
            )
        waiting = [known.due_at for known in self.known.values() if not known.hold and not known.in_flight]
        assert self.queue.next_due() == min(waiting, default=None)
        for filters in _FILTERS:
            for metric in ("count", "bytes"):
                assert self.queue.metric(metric, filters) == recount(entries, metric, filters)


QueueMachine.TestCase.settings = settings(max_examples=100, stateful_step_count=40, deadline=None)
TestQueueMachine = QueueMachine.TestCase

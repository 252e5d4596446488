"""The dispatcher: what is due is claimed, parked by destination, and tried as slots come free. In: a queue. Out: attempts.

Bounded in attempts, in attempts a destination and in what is parked; a slow destination never keeps the others waiting.
Must not know what an attempt does.
"""

from __future__ import annotations

import asyncio
import itertools
import math
import random
import traceback
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from hslpy.client.contract import PURPOSE, Client
from hslpy.clock import Clock
from hslpy.delivery.attempt import Attempts
from hslpy.delivery.job import Jobs
from hslpy.delivery.lanes import Lanes, Slots, Turn
from hslpy.delivery.plan import OwnListeners
from hslpy.delivery.room import SMALL_BYTES, Room
from hslpy.delivery.send import Sender
from hslpy.delivery.settings import DeliverySettings
from hslpy.dns.contract import Resolver
from hslpy.egress.rules.sources import Sources, UnknownSource
from hslpy.egress.store.tally import Tally
from hslpy.egress.traffic.departures import Departures
from hslpy.errors import OperatorError
from hslpy.log import Log
from hslpy.mail.address import ascii_lower
from hslpy.spool.contract import QueuedRecipient, Spool
from hslpy.store.leases import Leases

if TYPE_CHECKING:
    from hslpy.hooks.runner import Hooks
    from hslpy.queue.queue import Queue

_CLAIM = 500  # recipients claimed before others get a turn: a millisecond or two
_AGAIN_S = 600.0  # what found no room is called back when there is; this is for whatever may have been missed
_RECORD_S = 10.0  # how long a stop waits for what peers have said to be recorded, scripts' part in it included
_TOLD_AGAIN_S = 60.0  # how often the log says that messages wait for room in memory
_TO = "to:"  # begins the keys of slots that all processes of the node share: attempts by destination


_Job = tuple[QueuedRecipient, ...]


class Delivery:
    """Delivers what `queue` holds, from `start` to `stop`. Raises OperatorError when a transport names an unknown source."""

    def __init__(
        self,
        settings: DeliverySettings,
        queue: Queue,
        spool: Spool,
        hooks: Hooks,
        resolver: Resolver,
        client: Client,
        sources: Sources,
        clock: Clock,
        rng: random.Random,
        log: Log,
        slots: Leases | None = None,
        tally: Tally | None = None,
        departures: Departures | None = None,
    ) -> None:
        """`slots` are those of all processes that deliver for this node, None where this one is alone; `tally` counts.
        Source of `departures`: `Attempts`.
        """
        _check(settings, sources)
        self._settings = settings
        self._queue = queue
        self._clock = clock
        self._log = log
        self._attempts = Attempts(settings, resolver, client, sources, clock, rng, log, tally, departures)
        self.sender = Sender(settings, self._attempts)
        self._jobs = Jobs(settings, queue, spool, hooks, self._attempts, clock, rng, log, departures)
        self._slots = slots
        share = slots_of(settings)
        self._room: Room[Turn[_Job]] = Room(settings.content_memory_bytes, share.destination_share)
        self._told_at = -math.inf
        self._lanes: Lanes[_Job] = Lanes(
            share,
            max(settings.parked, 1),
            take=None if slots is None else lambda place, limit, wanted: slots.take(_TO + place, limit, wanted),
        )
        if slots is not None:
            slots.on_grant = self._resume
            slots.keeper = _KeptConnections(client)
        self._waiting_for_slow: asyncio.Task[None] | None = None
        self._running: set[asyncio.Task[None]] = set()
        self._dispatcher: asyncio.Task[None] | None = None

    @property
    def counts(self) -> Counter[str]:
        """What became of recipients since the start: delivered, deferred, bounced, deleted, waiting."""
        return self._jobs.counts

    @property
    def under_way(self) -> int:
        return len(self._running)

    @property
    def content_bytes(self) -> int:
        """The contents of large messages under way, in memory."""
        return self._room.held_bytes

    def connections(self) -> Mapping[str, int]:
        """Give the attempts under way by destination."""
        return self._lanes.active()

    async def start(self, own_listeners: OwnListeners) -> None:
        """Begin to deliver, after a stop too; nothing is sent to `own_listeners`."""
        self._attempts.own_listeners = own_listeners
        self._jobs.stopping = False
        self._dispatcher = asyncio.create_task(self._dispatch())

    async def stop(self, grace_s: float = 30.0) -> None:
        """Begin no more attempts, let those under way finish for `grace_s`, then cancel them: they are due again."""
        if self._dispatcher is not None:
            self._dispatcher.cancel()
            await asyncio.gather(self._dispatcher, return_exceptions=True)
            self._dispatcher = None
        if self._waiting_for_slow is not None:
            self._waiting_for_slow.cancel()
            await asyncio.gather(self._waiting_for_slow, return_exceptions=True)
            self._waiting_for_slow = None
        for entries in [*(turn.job for turn in self._room.drain()), *self._lanes.drain()]:
            self._room.give(entries[0].queue_id)  # it may have had room already, and waited for a slot
            for entry in entries:
                self._queue.postpone(entry, self._clock.time())
        await self._finished(grace_s)
        self._jobs.stopping = True
        for task in self._running - self._jobs.recording:
            task.cancel()
        await self._finished(_RECORD_S)
        for task in self._running:
            task.cancel()
        await asyncio.gather(*self._running, return_exceptions=True)

    async def _finished(self, limit_s: float) -> None:
        if self._running:
            await asyncio.wait(list(self._running), timeout=limit_s)

    async def _dispatch(self) -> None:
        while True:
            claimed = self._queue.claim(_CLAIM)
            self._admit(claimed)
            self._launch()
            await asyncio.sleep(0)
            if not claimed:
                await self._queue.wait()

    def _admit(self, claimed: Sequence[QueuedRecipient]) -> None:
        """Park what was claimed by destination, the recipients of a message together; send back what has no room."""
        batches: dict[tuple[object, ...], list[QueuedRecipient]] = {}
        for entry in claimed:
            batches.setdefault((self._destination(entry), entry.message_id, entry.variant), []).append(entry)
        most = self._settings.recipients_per_transaction
        for (destination, *_), entries in batches.items():
            limit = self._limit(entries[0])
            for start in range(0, len(entries), most):
                job = tuple(entries[start : start + most])
                ticket = tuple([entry.queue_id for entry in job])
                if not self._lanes.offer(str(destination), limit, job, entries[0].transport_id, ticket):
                    for entry in job:
                        self._queue.postpone(entry, self._clock.time() + _AGAIN_S)

    def _launch(self) -> None:
        now = self._clock.monotonic()
        while True:
            while (turn := self._lanes.next(now)) is not None:
                if turn.job[0].size_bytes > SMALL_BYTES and not self._has_room(turn, now):
                    continue
                task = asyncio.create_task(self._carry_out(turn))
                self._running.add(task)
                task.add_done_callback(self._ended)
            if self._queue.paused or not (tickets := self._lanes.come_back()):
                break
            self._admit(self._queue.claim_those(itertools.chain.from_iterable(tickets)))
        if self._waiting_for_slow is None and (again_s := self._lanes.again_s(now)) is not None:
            self._waiting_for_slow = asyncio.create_task(self._launch_after(again_s))

    def _has_room(self, turn: Turn[_Job], now: float) -> bool:
        """Whether there is room in memory for the job's content; else it waits for that, without its slot."""
        entry = turn.job[0]
        content = entry.message_id, entry.variant
        answer = self._room.take(entry.queue_id, turn, content, entry.size_bytes, turn.destination)
        if answer == "begin":
            return True
        self._leave(turn)
        if answer == "later":
            for entry in turn.job:
                self._queue.postpone(entry, self._clock.time() + _AGAIN_S)
        if now >= self._told_at + _TOLD_AGAIN_S:
            self._told_at = now
            fields = {"held_bytes": self._room.held_bytes, "waiting": len(self._room)}
            self._log("delivery.waits_for_memory", {"level": "warning", **fields})
        return False

    def _leave(self, turn: Turn[_Job]) -> None:
        if self._slots is not None:
            self._slots.give(_TO + turn.destination)
        self._lanes.done(turn)

    def _resume(self, key: str) -> None:
        """Go on, as slots have come that were lacking."""
        if key.startswith(_TO) and self._dispatcher is not None:
            self._lanes.resume(key.removeprefix(_TO))
            self._launch()

    async def _launch_after(self, seconds: float) -> None:
        """Launch again when attempts under way may have become slow ones, which make way for others."""
        await self._clock.sleep(seconds)
        self._waiting_for_slow = None
        self._launch()

    async def _carry_out(self, turn: Turn[_Job]) -> None:
        if self._slots is not None:
            PURPOSE.set(turn.destination)
        try:
            await self._jobs.run(self._still_wanted(turn.job))
        finally:  # not before the result is in the spool: what cannot be recorded must not make room for more of the kind
            self._leave(turn)
            for later in reversed(self._room.give(turn.job[0].queue_id)):
                limit = self._limit(later.job[0])
                self._lanes.offer(later.destination, limit, later.job, later.group, (), first=True)

    def _still_wanted(self, job: Sequence[QueuedRecipient]) -> list[QueuedRecipient]:
        """Give those of the job that no operator has held or deleted while they were parked; the others go back."""
        wanted = []
        for entry in job:
            if self._queue.withdrawn(entry):
                self._queue.postpone(entry, entry.due_at)
            else:
                wanted.append(entry)
        return wanted

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._running.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            text = "".join(traceback.format_exception(error))
            self._log("delivery.fault", {"level": "error", "error": repr(error), "text": text})
        if self._dispatcher is not None:
            self._launch()

    def _destination(self, entry: QueuedRecipient) -> str:
        """Give what attempts are counted by: the transport's next hop, else the transport and the recipient domain."""
        transport = self._settings.transports.get(entry.transport_id)
        if transport is not None and transport.next_hop:
            return f"{transport.next_hop.lower()}:{transport.port}"
        return f"{entry.transport_id} {ascii_lower(entry.recipient.domain)}"

    def _limit(self, entry: QueuedRecipient) -> int:
        transport = self._settings.transports.get(entry.transport_id)
        limit = transport.destination_connections if transport is not None else None
        return limit or self._settings.destination_connections


def slots_of(settings: DeliverySettings) -> Slots:
    """Give the slots; the only transport may have them all, and so may the only next hop."""
    transports = settings.transports.values()
    alone = len(transports) <= 1
    only_hop = alone and any(transport.next_hop for transport in transports)
    share = Slots(settings.attempts, settings.slow_attempts, settings.slow_after_s)
    return replace(
        share,
        group_share=1.0 if alone else share.group_share,
        destination_share=1.0 if only_hop else share.destination_share,
    )


class _KeptConnections:
    """Idle connections hold a slot of their destination, so that all processes together have no more than the limit."""

    def __init__(self, client: Client) -> None:
        self._client = client

    def kept(self, key: str) -> int:
        return self._client.kept(key.removeprefix(_TO)) if key.startswith(_TO) else 0

    async def release(self, key: str, slots: int) -> None:
        await self._client.leave(key.removeprefix(_TO), slots)


def _check(settings: DeliverySettings, sources: Sources) -> None:
    wanted = {"the default sources": settings.sources}
    wanted.update({f"transport {transport.id}": transport.sources for transport in settings.transports.values()})
    for where, ids in wanted.items():
        try:
            sources.by_ids(ids)
        except UnknownSource as error:
            raise OperatorError(f"{where}: {error.message}") from error

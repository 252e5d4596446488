"""A worker's side of the metric over the whole: what it tells the others of its queue, and hears of theirs. By the link.

A set of fields is told from the first time that a script of any worker asks for it; that script waits until all have told.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from typing import Any

from hslpy.admin.hub import Link, NoAnswer
from hslpy.clock import Clock
from hslpy.errors import OperatorError
from hslpy.queue.published import Published
from hslpy.queue.queue import Queue

PUBLISH_S = 0.5
_ROWS = 2000  # a note: a few milliseconds
_ASK_S = 2.0  # for the others to count by new fields; one that takes longer is counted as it was
_AGAIN_S = 30.0  # a worker that needed the room may have ceased to tell a set


class Exchange:
    """Between a queue and the queues of the other workers. `told_*` are the notes that come of them."""

    def __init__(self, link: Link, clock: Clock, max_sets: int) -> None:
        self._link = link
        self._clock = clock
        self._max_sets = max_sets
        self._published = Published(max_sets)
        self._asked: dict[tuple[str, ...], float] = {}
        self._asking: dict[tuple[str, ...], asyncio.Task[None]] = {}
        self._total = (0, 0)
        self.queue: Queue | None = None

    # what scripts ask

    def metric(self, metric: str, filters: Mapping[str, Sequence[str]]) -> float:
        """Give the sum over the others, as they last told. Source: `QueueMetrics.metric`."""
        return self._published.metric(metric, filters)

    def ready(self, fields: Collection[str]) -> asyncio.Future[None] | None:
        """Give what to wait for until the others have told their counts by these fields; None when they have."""
        wanted = tuple(sorted(fields))
        now = self._clock.monotonic()
        at = self._asked.get(wanted)
        if not wanted or (at is not None and now - at < _AGAIN_S):
            return self._asking.get(wanted)
        self._asked[wanted] = now
        if len(self._asked) > self._max_sets:
            del self._asked[min(self._asked, key=self._asked.__getitem__)]
        task = asyncio.get_running_loop().create_task(self._ask(wanted, at is not None))
        if at is not None:
            return None  # they have told it before, and are only asked whether they still do
        self._asking[wanted] = task
        task.add_done_callback(lambda task: self._asking.pop(wanted, None))
        return task

    async def _ask(self, fields: tuple[str, ...], known: bool) -> None:
        with suppress(NoAnswer, OperatorError):
            await self._link.ask("track", {"fields": list(fields), "known": known}, _ASK_S)

    # what others say and want

    def told_total(self, worker: int, recipients: int, size_bytes: int) -> None:
        self._published.total(worker, recipients, size_bytes)

    def told_cells(self, worker: int, fields: list[str], fresh: bool, rows: list[list[Any]]) -> None:
        found = [(tuple(key) if isinstance(key, list) else key, count, size) for key, count, size in rows]
        self._published.cells(worker, tuple(fields), found, fresh=fresh)

    async def track(self, arguments: Mapping[str, Any]) -> bool:
        """Tell a set of fields from now on, and what there is before this is answered."""
        assert self.queue is not None
        fields = tuple(arguments["fields"])
        counting = self.queue.metric_ready(fields)
        if counting is not None:
            await asyncio.shield(counting)
        if not (self.queue.metrics.publishes(fields) and arguments["known"]):
            self.queue.metrics.publish(fields)
            self._link.tell("cells", [fields, True, []])
        await self.publish(everything=bool(not arguments["known"]))
        return True

    async def publish(self, *, everything: bool = False) -> None:
        """Tell what has changed; the total even where it has not (`everything`)."""
        assert self.queue is not None
        if everything or self.queue.metrics.total != self._total:
            self._total = self.queue.metrics.total
            self._link.tell("total", self._total)
        for fields, rows in self.queue.metrics.changes(_ROWS):
            self._link.tell("cells", [fields, False, rows])
            await asyncio.sleep(0)

    async def keep_publishing(self) -> None:
        """Tell it all the time, until cancelled."""
        await self.publish(everything=True)
        while True:
            await self._clock.sleep(PUBLISH_S)
            await self.publish()

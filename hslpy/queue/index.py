"""What is queued, in memory: by id, by due time, by field. In: entries and their changes. Out: what is due.

Holds the entries themselves; whoever changes one does it through `change`, or the counts go wrong. No I/O, no waiting.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Iterator, Mapping

from hslpy.queue.metrics import QueueMetrics
from hslpy.spool.contract import QueuedRecipient


class Index:
    """Entries are waiting (in the heap of due times), in flight (claimed) or held."""

    def __init__(self, max_metric_sets: int = 64) -> None:
        self._entries: dict[int, QueuedRecipient] = {}
        self._heap: list[tuple[float, int]] = []
        self._in_flight: set[int] = set()
        self.metrics = QueueMetrics(self._entries.values, max_metric_sets)

    def __len__(self) -> int:
        return len(self._entries)

    def __iter__(self) -> Iterator[QueuedRecipient]:
        return iter(self._entries.values())

    def ids(self) -> list[int]:
        return list(self._entries)

    def get(self, queue_id: int) -> QueuedRecipient | None:
        return self._entries.get(queue_id)

    def is_in_flight(self, queue_id: int) -> bool:
        return queue_id in self._in_flight

    @property
    def in_flight(self) -> int:
        return len(self._in_flight)

    def state(self, entry: QueuedRecipient) -> str:
        """Give `in-flight`, `quarantined`, `held` or `waiting`."""
        if entry.queue_id in self._in_flight:
            return "in-flight"
        if entry.hold:
            return "held" if entry.quarantine_id is None else "quarantined"
        return "waiting"

    def add(self, entry: QueuedRecipient) -> None:
        """Take in an entry; one whose id is known already is left alone."""
        if entry.queue_id in self._entries:
            return
        self._entries[entry.queue_id] = entry
        self.metrics.add(entry)
        self._push(entry)

    def discard(self, queue_id: int) -> QueuedRecipient | None:
        """Forget an entry, and give it if it was there."""
        entry = self._entries.pop(queue_id, None)
        self._in_flight.discard(queue_id)
        if entry is not None:
            self.metrics.remove(entry)
        return entry

    def change(self, entry: QueuedRecipient, values: Mapping[str, object]) -> None:
        """Set fields of an entry; where it waits for follows from them."""
        self.metrics.remove(entry)
        for name, value in values.items():
            setattr(entry, name, value)
        self.metrics.add(entry)
        if entry.queue_id not in self._in_flight and ("due_at" in values or "hold" in values):
            self._push(entry)

    def hide(self, entry: QueuedRecipient) -> None:
        """Keep an entry from being claimed, until `put_back`."""
        self._in_flight.add(entry.queue_id)

    def claim(self, now: float, limit: int) -> list[QueuedRecipient]:
        """Mark up to `limit` entries due at `now` as in flight, earliest first, and give them."""
        claimed: list[QueuedRecipient] = []
        while len(claimed) < limit:
            due = self.next_due()
            if due is None or due > now:
                break
            entry = self._entries[heapq.heappop(self._heap)[1]]
            self._in_flight.add(entry.queue_id)
            claimed.append(entry)
        return claimed

    def put_back(self, entry: QueuedRecipient) -> None:
        """End an entry's flight: it waits for its due time again, or is held."""
        self._in_flight.discard(entry.queue_id)
        self._push(entry)

    def next_due(self) -> float | None:
        """Give the earliest due time of what waits, None when nothing does."""
        heap = self._heap
        while heap:
            due, queue_id = heap[0]
            entry = self._entries.get(queue_id)
            if entry is not None and entry.due_at == due and not entry.hold and queue_id not in self._in_flight:
                return due
            heapq.heappop(heap)  # it has gone, is in flight, is held, or has another place in the heap
        return None

    def respread(self, due: Iterable[tuple[QueuedRecipient, float]]) -> None:
        """Give many entries new due times at once."""
        for entry, at in due:
            entry.due_at = at
        self._rebuild()

    def _push(self, entry: QueuedRecipient) -> None:
        if entry.hold:
            return
        heapq.heappush(self._heap, (entry.due_at, entry.queue_id))
        if len(self._heap) > 2 * len(self._entries) + 1000:  # mostly places that are no longer true
            self._rebuild()

    def _rebuild(self) -> None:
        waiting = (entry for entry in self._entries.values() if not entry.hold and entry.queue_id not in self._in_flight)
        self._heap = [(entry.due_at, entry.queue_id) for entry in waiting]
        heapq.heapify(self._heap)

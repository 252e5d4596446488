"""What is queued, in memory: by id, by due time, by field. In: entries and their changes. Out: what is due.

Due times up to some minute stand in a heap; those of each later minute in an array of ids, which takes 8 bytes a recipient
where a place in a heap takes 80, and goes into the heap when its turn comes.

Holds the entries themselves; whoever changes one does it through `change`, or the counts go wrong. No I/O, no waiting.
"""

from __future__ import annotations

import heapq
from array import array
from collections.abc import Iterable, Iterator, Mapping

from hslpy.queue.metrics import Build, QueueMetrics
from hslpy.spool.contract import QueuedRecipient

_NEVER = -(1 << 40)
_FAR = 1 << 50  # due times beyond it, infinity among them, are one minute
_SPLIT_ABOVE = 50_000  # a heap grown past this is spread over the minutes anew


class Index:
    """Entries are waiting (in the heap, or in a minute's array), in flight (claimed) or held.

    A place that is no longer true, as its entry has gone or has another due time, is passed over when its turn comes.
    """

    def __init__(self, max_metric_sets: int = 64) -> None:
        self._entries: dict[int, QueuedRecipient] = {}
        self._heap: list[tuple[float, int]] = []  # of minutes up to `_near`
        self._near = _NEVER
        self._later: dict[int, array[int]] = {}
        self._minutes: list[int] = []  # a heap of the keys of `_later`
        self._places = 0  # in the arrays
        self._split_above = _SPLIT_ABOVE
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

    def count_in_steps(self, fields: Iterable[str]) -> Build | None:
        """Begin to count a set of fields for metrics. Source: `QueueMetrics.begin`."""
        return self.metrics.begin(fields, self._entries)

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
        self.metrics.add(entry, new=True)
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

    def set_aside(self, entry: QueuedRecipient) -> None:
        """Have a claimed entry wait, whatever is due, until `put_back`, or until it comes up once more by itself."""
        self._in_flight.discard(entry.queue_id)

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

    def claim_those(self, queue_ids: Iterable[int]) -> list[QueuedRecipient]:
        """Mark those of the entries that wait as in flight, and give them."""
        claimed: list[QueuedRecipient] = []
        for queue_id in queue_ids:
            entry = self._entries.get(queue_id)
            if entry is not None and not entry.hold and queue_id not in self._in_flight:
                self._in_flight.add(queue_id)
                claimed.append(entry)
        return claimed

    def put_back(self, entry: QueuedRecipient) -> None:
        """End an entry's flight: it waits for its due time again, or is held."""
        self._in_flight.discard(entry.queue_id)
        self._push(entry)

    def next_due(self) -> float | None:
        """Give the earliest due time of what waits, None when nothing does."""
        heap = self._heap
        while True:
            while heap:
                due, queue_id = heap[0]
                entry = self._entries.get(queue_id)
                if entry is not None and entry.due_at == due and not entry.hold and queue_id not in self._in_flight:
                    return due
                heapq.heappop(heap)  # it has gone, is in flight, is held, or has another place
            if not self._minutes:
                return None
            self._near = heapq.heappop(self._minutes)
            self._pour(self._later.pop(self._near))
            heap = self._heap

    def respread(self, due: Iterable[tuple[QueuedRecipient, float]]) -> None:
        """Give many entries new due times at once."""
        for entry, at in due:
            entry.due_at = at
        self._rebuild()

    def _push(self, entry: QueuedRecipient) -> None:
        if entry.hold:
            return
        self._place(entry)
        untrue = self._places + len(self._heap) > 2 * len(self._entries) + 1000  # mostly
        if untrue or len(self._heap) > self._split_above:
            self._rebuild()

    def _place(self, entry: QueuedRecipient) -> None:
        minute = _minute(entry.due_at)
        if minute <= self._near:
            heapq.heappush(self._heap, (entry.due_at, entry.queue_id))
            return
        ids = self._later.get(minute)
        if ids is None:
            ids = self._later[minute] = array("q")
            heapq.heappush(self._minutes, minute)
        ids.append(entry.queue_id)
        self._places += 1

    def _pour(self, ids: array[int]) -> None:
        self._places -= len(ids)
        entries = (self._entries.get(queue_id) for queue_id in ids)
        there = (entry for entry in entries if entry is not None and _minute(entry.due_at) == self._near)
        self._heap = list({(entry.due_at, entry.queue_id) for entry in there})
        heapq.heapify(self._heap)
        self._split_above = max(_SPLIT_ABOVE, 2 * len(self._heap))  # what is of one minute cannot be spread

    def _rebuild(self) -> None:
        self._heap, self._later, self._minutes, self._places = [], {}, [], 0
        self._near = _NEVER
        for entry in self._entries.values():
            if not entry.hold and entry.queue_id not in self._in_flight:
                self._place(entry)


def _minute(due_at: float) -> int:
    return int(min(max(due_at, _NEVER), _FAR) // 64)

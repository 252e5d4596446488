"""What other processes of the node have in their queues, as they last published it. In: their counts. Out: their metric.

The same cells as `metrics.py` keeps, a dictionary a worker. What a worker publishes is whole counts of what has changed.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence

from hslpy.queue.metrics import METRICS, Cells, sum_of

Row = tuple[Hashable, int, int]
"""The key of a cell, recipients and bytes; 0 recipients for one that is gone."""


class Published:
    """The counts of others, by worker. Of the sets of fields `max_sets` are kept, those heard of last."""

    def __init__(self, max_sets: int = 64) -> None:
        self._max_sets = max_sets
        self._totals: dict[int, tuple[int, int]] = {}
        self._sets: dict[tuple[str, ...], dict[int, Cells]] = {}

    def total(self, worker: int, recipients: int, size_bytes: int) -> None:
        """Take in how much a worker has in all."""
        self._totals[worker] = recipients, size_bytes

    def cells(self, worker: int, fields: tuple[str, ...], rows: Sequence[Row], *, fresh: bool) -> None:
        """Take in what has changed in a worker's counts by these fields; `fresh` begins them anew."""
        by_worker = self._sets.pop(fields, {})
        if len(self._sets) >= self._max_sets:
            del self._sets[next(iter(self._sets))]
        self._sets[fields] = by_worker
        if fresh:
            by_worker[worker] = {}
        cells = by_worker.setdefault(worker, {})
        for key, recipients, size_bytes in rows:
            if recipients:
                cells[key] = [recipients, size_bytes]
            else:
                cells.pop(key, None)

    def metric(self, metric: str, filters: Mapping[str, Sequence[str]]) -> float:
        """Give the sum over the others, of what is known. Source: `QueueMetrics.metric`."""
        which = METRICS.index(metric)
        if not filters:
            return float(sum(total[which] for total in self._totals.values()))
        fields = tuple(sorted(filters))
        return sum((sum_of(cells, fields, filters, which) for cells in self._sets.get(fields, {}).values()), 0.0)

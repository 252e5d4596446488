"""`GetMailQueueMetric`: how many recipients and bytes are queued, by any set of fields. In: entries coming and going.

A set of fields is counted from its first use on, built then by one walk over the queue, at once or in steps; after that
each answer is a look-up. Counted is the mail queue: held mail too, as it waits there; quarantined mail not.
Source: the HSL manual, GetMailQueueMetric.
"""

from __future__ import annotations

import bisect
import itertools
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence

from hslpy.queue.entries import field_key, wanted_value
from hslpy.spool.contract import QueuedRecipient

METRICS = ("count", "bytes")

Cells = dict[Hashable, list[int]]  # key of a set of fields: [recipients, bytes]
_EntryKey = Callable[[QueuedRecipient], Hashable]


class Build:
    """A set of fields that is being counted in steps, by the order of ids. What changes meanwhile is counted rightly: at
    once where the walk has been or does not come, else when it comes there.
    """

    def __init__(self, fields: tuple[str, ...], entries: Mapping[int, QueuedRecipient]) -> None:
        self.fields = fields
        self.key_of = _key_of(fields)
        self.cells: Cells = {}
        self._entries = entries
        self._ids = sorted(entries)
        self._next = 0
        self._up_to = -1  # the highest id that was looked at
        self._last = self._ids[-1] if self._ids else -1

    def step(self, count: int) -> bool:
        """Look at so many more; False when that was the last of them."""
        for queue_id in self._ids[self._next : self._next + count]:
            entry = self._entries.get(queue_id)
            if entry is not None and entry.quarantine_id is None:
                _count_in(self.cells, self.key_of(entry), entry.size_bytes)
            self._up_to = queue_id
        self._next += count
        return self._next < len(self._ids)

    def has_counted(self, entry: QueuedRecipient) -> bool:
        return entry.queue_id <= self._up_to or entry.queue_id > self._last

    def came(self, entry: QueuedRecipient) -> None:
        """Have a new entry looked at that the walk would not see."""
        bisect.insort(self._ids, entry.queue_id, self._next)


class QueueMetrics:
    """The counts of `entries()`. At most `max_sets` sets of fields are kept, the least lately asked for goes first."""

    def __init__(self, entries: Callable[[], Iterable[QueuedRecipient]], max_sets: int = 64) -> None:
        self._entries = entries
        self._max_sets = max_sets
        self._total = [0, 0]
        self._sets: dict[tuple[str, ...], tuple[_EntryKey, Cells]] = {}
        self._builds: dict[tuple[str, ...], Build] = {}
        self._published: dict[tuple[str, ...], tuple[_EntryKey, set[Hashable]]] = {}  # with the keys that have changed

    def add(self, entry: QueuedRecipient, *, new: bool = False) -> None:
        """Count an entry that came (`new`), or the new form of one that changes."""
        for build in self._builds.values():
            if build.has_counted(entry):
                if entry.quarantine_id is None:
                    _count_in(build.cells, build.key_of(entry), entry.size_bytes)
            elif new:
                build.came(entry)
        if entry.quarantine_id is not None:
            return
        size = entry.size_bytes
        self._total[0] += 1
        self._total[1] += size
        for key_of, cells in self._sets.values():
            _count_in(cells, key_of(entry), size)
        for key_of, changed in self._published.values():
            changed.add(key_of(entry))

    def remove(self, entry: QueuedRecipient) -> None:
        """Take an entry off, exactly as it was when it was counted."""
        if entry.quarantine_id is not None:
            return
        size = entry.size_bytes
        self._total[0] -= 1
        self._total[1] -= size
        for key_of, cells in self._sets.values():
            _count_out(cells, key_of(entry), size)
        for key_of, changed in self._published.values():
            changed.add(key_of(entry))
        for build in self._builds.values():
            if build.has_counted(entry):
                _count_out(build.cells, build.key_of(entry), size)

    def is_ready(self, fields: Iterable[str]) -> bool:
        """Say whether a metric by these fields is a look-up."""
        wanted = tuple(sorted(fields))
        return not wanted or wanted in self._sets

    def begin(self, fields: Iterable[str], entries: Mapping[int, QueuedRecipient]) -> Build | None:
        """Begin to count a set in steps; None when that is under way. Raises ValueError for an unknown field."""
        wanted = tuple(sorted(fields))
        if wanted in self._builds:
            return None
        build = self._builds[wanted] = Build(wanted, entries)
        return build

    def end(self, build: Build) -> None:
        """Take a build as counted; it is dropped where the set was counted at once meanwhile."""
        del self._builds[build.fields]
        if build.fields not in self._sets:
            self._keep(build.fields, (build.key_of, build.cells))

    def metric(self, metric: str, filters: Mapping[str, Sequence[str]]) -> float:
        """Give `count` (recipients) or `bytes` of what has one of the wanted values in each field of `filters`.

        Raises ValueError for another metric, or an unknown field.
        """
        if metric not in METRICS:
            raise ValueError(f"unknown queue metric `{metric}`, wanted `count` or `bytes`")
        which = METRICS.index(metric)
        if not filters:
            return float(self._total[which])
        fields = tuple(sorted(filters))
        return sum_of(self._cells(fields), fields, filters, which)

    def track(self, fields: Iterable[str]) -> None:
        """Count this set of fields from now on, before somebody asks. Raises ValueError for an unknown field."""
        self._cells(tuple(sorted(fields)))

    @property
    def total(self) -> tuple[int, int]:
        """How many recipients and bytes there are."""
        return self._total[0], self._total[1]

    def publish(self, fields: tuple[str, ...]) -> None:
        """Have `changes` give this set, all of it at first. Raises ValueError for an unknown field."""
        self._published[fields] = (_key_of(fields), set(self._cells(fields)))

    def publishes(self, fields: tuple[str, ...]) -> bool:
        """Say whether `changes` gives this set; it is used by that."""
        if fields not in self._published:
            return False
        self._cells(fields)
        return True

    def changes(self, limit: int) -> Iterator[tuple[tuple[str, ...], list[tuple[Hashable, int, int]]]]:
        """Give what has changed in published sets since it was given last: (key, recipients, bytes), `limit` at a time."""
        for fields, (_, changed) in list(self._published.items()):
            if fields not in self._sets:  # others have been asked for since
                del self._published[fields]
                continue
            while changed:
                cells = self._sets[fields][1]
                keys = [changed.pop() for _ in range(min(limit, len(changed)))]
                yield fields, [(key, *cells.get(key, (0, 0))) for key in keys]
                if fields not in self._sets:
                    break

    @property
    def tracked(self) -> tuple[tuple[str, ...], ...]:
        return tuple(self._sets)

    def _cells(self, fields: tuple[str, ...]) -> Cells:
        found = self._sets.pop(fields, None)
        if found is None:
            found = (_key_of(fields), {})
            self._count(*found)
        self._keep(fields, found)
        return found[1]

    def _keep(self, fields: tuple[str, ...], found: tuple[_EntryKey, Cells]) -> None:
        if len(self._sets) >= self._max_sets:
            del self._sets[next(iter(self._sets))]
        self._sets[fields] = found  # at the end: the order is that of the last use

    def _count(self, key_of: _EntryKey, cells: Cells) -> None:
        for entry in self._entries():
            if entry.quarantine_id is None:
                _count_in(cells, key_of(entry), entry.size_bytes)


def sum_of(cells: Cells, fields: Sequence[str], filters: Mapping[str, Sequence[str]], which: int) -> float:
    """Give recipients (`which` 0) or bytes (1) in the cells that match the filters, which are by `fields`, sorted."""
    wanted = [dict.fromkeys(wanted_value(field, value) for value in filters[field]) for field in fields]
    if len(fields) == 1:
        return float(sum(cells[value][which] for value in wanted[0] if value in cells))
    combinations = 1
    for values in wanted:
        combinations *= len(values)
    if combinations <= len(cells):
        return float(sum(cells[key][which] for key in itertools.product(*wanted) if key in cells))
    matching = (cell for key, cell in cells.items() if _matches(key, wanted))
    return float(sum(cell[which] for cell in matching))


def _count_in(cells: Cells, key: Hashable, size: int) -> None:
    cell = cells.get(key)
    if cell is None:
        cells[key] = [1, size]
    else:
        cell[0] += 1
        cell[1] += size


def _count_out(cells: Cells, key: Hashable, size: int) -> None:
    cell = cells[key]
    if cell[0] == 1:
        del cells[key]
    else:
        cell[0] -= 1
        cell[1] -= size


def _key_of(fields: tuple[str, ...]) -> _EntryKey:
    keys = tuple(field_key(name) for name in fields)
    if len(keys) == 1:
        return keys[0]
    return lambda entry: tuple([key(entry) for key in keys])


def _matches(key: Hashable, wanted: Sequence[Mapping[str, None]]) -> bool:
    return isinstance(key, tuple) and all(value in values for value, values in zip(key, wanted, strict=True))

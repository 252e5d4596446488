"""Looking for recipients in the queue. In: the index, what is looked for. Out: recipients, or counts of them.

Others get turns meanwhile: an entry may come or go while it is looked for. Changes nothing.
"""

from __future__ import annotations

import asyncio
import math
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import field

from hslpy.queue.entries import field_key, has_egress, user_key, wanted_value
from hslpy.queue.index import Index
from hslpy.records import dataclass
from hslpy.spool.contract import QueuedRecipient

STEP = 2000  # entries looked at before others get a turn: a few milliseconds

Matches = Callable[[QueuedRecipient], bool]
State = Callable[[QueuedRecipient], str]
Told = Callable[[QueuedRecipient], Mapping[str, str]]
"""Gives what the choice of delivery IPs goes by now."""


@dataclass(frozen=True, slots=True)
class QueueFilter:
    """What an operator looks for: `fields` as for the metric, any of the values in each; `state` one of `waiting`,
    `due`, `in-flight`, `held`, `quarantined`; both empty for everything. `egress` are values of what the choice of
    delivery IPs goes by, any of them in each: its `domain`, its `username`, the address it was tried `from`.
    """

    fields: Mapping[str, Sequence[str]] = field(default_factory=dict)
    state: str = ""
    egress: Mapping[str, Collection[str]] = field(default_factory=dict)


EVERYTHING = QueueFilter()


@dataclass(slots=True)
class Group:
    """Recipients that have something in common: how many, how many of them are held, their bytes, and the time at which
    the oldest came in (Unix seconds)."""

    value: str
    count: int = 0
    held: int = 0
    size_bytes: int = 0
    oldest_at: float = math.inf


@dataclass(frozen=True, slots=True)
class Summary:
    """How many recipients there are by state, and the groups of them, the largest first."""

    states: Mapping[str, int]
    groups: Sequence[Group]


def matching(wanted: QueueFilter, state: State, told: Told) -> Matches:
    """Give the test of a recipient; `state` says its state. Raises ValueError for an unknown field."""
    keys = [
        (field_key(name), frozenset(wanted_value(name, value) for value in values)) for name, values in wanted.fields.items()
    ]
    states = {wanted.state, "due"} if wanted.state == "waiting" else {wanted.state}

    def matches(entry: QueuedRecipient) -> bool:
        if wanted.state and state(entry) not in states:
            return False
        return all(key(entry) in values for key, values in keys) and (
            not wanted.egress or has_egress(told(entry), wanted.egress)
        )

    return matches


async def search(index: Index, matches: Matches, limit: int, offset: int) -> tuple[int, tuple[QueuedRecipient, ...]]:
    """Give how many match, and up to `limit` of them from `offset` on, in the order they came in."""
    found: list[QueuedRecipient] = []
    count = 0
    for number, queue_id in enumerate(index.ids()):
        if number % STEP == STEP - 1:
            await asyncio.sleep(0)
        entry = index.get(queue_id)
        if entry is not None and matches(entry):
            if offset <= count < offset + limit:
                found.append(entry)
            count += 1
    return count, tuple(found)


async def summarise(index: Index, by: str, wanted: QueueFilter, state: State, told: Told) -> Summary:
    """Give what matches by state, and in groups by a field, or by `user`. Raises ValueError for an unknown field."""
    key = (lambda entry: user_key(told(entry))) if by == "user" else field_key(by)
    matches, groups, states = matching(wanted, state, told), dict[str, Group](), Counter[str]()

    def counted(entry: QueuedRecipient) -> bool:
        if not matches(entry):
            return False
        its = state(entry)
        states[its] += 1
        value = key(entry) or ""
        group = groups.get(value) or groups.setdefault(value, Group(value))
        group.count += 1
        group.held += its in ("held", "quarantined")
        group.size_bytes += entry.size_bytes
        group.oldest_at = min(group.oldest_at, entry.received_at)
        return False

    await search(index, counted, 0, 0)
    return Summary(dict(states), sorted(groups.values(), key=lambda group: (-group.count, group.value)))

"""The order of due times, over minutes and rebuilding, against sorting."""

from __future__ import annotations

import math
import random

import pytest

from hslpy.queue.index import Index
from hslpy.spool.contract import QueuedRecipient
from tests.spool.messages import SENDER


def entry(queue_id: int, due_at: float) -> QueuedRecipient:
    return QueuedRecipient(queue_id, queue_id, "t", 0.0, SENDER, SENDER, "mailtransport:1", due_at, 10)


@pytest.mark.parametrize("split_above", [5, 50_000])
def test_entries_are_claimed_in_the_order_of_their_due_times(monkeypatch, split_above):
    monkeypatch.setattr("hslpy.queue.index._SPLIT_ABOVE", split_above)
    for seed in range(30):
        rng = random.Random(seed)
        index = Index()
        index._split_above = split_above
        waiting: dict[int, float] = {}
        flying: dict[int, QueuedRecipient] = {}
        held: set[int] = set()
        now = 1000.0
        times = (0.0, 5.0, 63.0, 64.0, 400.0, 1e6, 1e20, math.inf, -1e20)
        for queue_id in range(1, 400):
            step = rng.random()
            if step < 0.5:
                due = now + rng.choice(times)
                index.add(entry(queue_id, due))
                waiting[queue_id] = due
            elif step < 0.6 and waiting:
                changed = rng.choice(list(waiting))
                due = now + rng.choice(times)
                index.change(index.get(changed), {"due_at": due})
                waiting[changed] = due
            elif step < 0.65 and waiting:
                gone = rng.choice(list(waiting))
                index.discard(gone)
                del waiting[gone]
                held.discard(gone)
            elif step < 0.7 and waiting:
                one = rng.choice(list(waiting))
                index.change(index.get(one), {"hold": one not in held})
                held ^= {one}
            elif step < 0.8 and flying:
                back = flying.pop(rng.choice(list(flying)))
                due = now + rng.choice(times)
                index.change(back, {"due_at": due})
                index.put_back(back)
                waiting[back.queue_id] = due
            else:
                now += rng.choice((0.0, 1.0, 70.0, 1000.0))
                due_now = sorted((due, one) for one, due in waiting.items() if due <= now and one not in held)
                limit = rng.choice((1, 3, 1000))
                claimed = index.claim(now, limit)
                assert [each.due_at for each in claimed] == [due for due, _ in due_now[:limit]]
                for each in claimed:
                    flying[each.queue_id] = each
                    del waiting[each.queue_id]
            soonest = [due for one, due in waiting.items() if one not in held]
            assert index.next_due() == (min(soonest) if soonest else None)


def test_a_long_queue_takes_little_for_its_order():
    index = Index()
    for queue_id in range(1, 5001):
        index.add(entry(queue_id, 1e9 + queue_id * 10))
    assert index.next_due() == 1e9 + 10
    assert len(index._heap) < 10


def test_many_due_at_the_same_time_are_not_sorted_again_with_each(monkeypatch):
    monkeypatch.setattr("hslpy.queue.index._SPLIT_ABOVE", 100)
    rebuilt = 0

    class Counted(Index):
        def _rebuild(self) -> None:
            nonlocal rebuilt
            rebuilt += 1
            super()._rebuild()

    index = Counted()
    for queue_id in range(1, 20_001):
        index.add(entry(queue_id, 1000.0))
        assert index.next_due() == 1000.0
    assert rebuilt < 12

"""Slots over several workers: never more in use than the limit, and none idle for long where others wait."""

from __future__ import annotations

import asyncio
import random
from collections import deque

import pytest

from hslpy.store.leases import Leases, Pools


class Node:
    """Workers and their supervisor, with the notes between them in the order they were sent."""

    def __init__(self, workers: int) -> None:
        self.notes: deque[tuple[str, int, str, list[object]]] = deque()
        self.sent = 0
        self.pools = Pools(lambda worker, kind, values: self._post("down", worker, kind, values))
        self.workers = {number: self._worker(number) for number in range(workers)}

    def _worker(self, number: int) -> Leases:
        return Leases(lambda kind, values: self._post("up", number, kind, values))

    def _post(self, way: str, worker: int, kind: str, values: list[object]) -> None:
        self.sent += 1
        self.notes.append((way, worker, kind, values))

    def step(self) -> None:
        way, worker, kind, values = self.notes.popleft()
        if worker in self.workers:
            getattr(self.pools if way == "up" else self.workers[worker], kind)(*((worker,) if way == "up" else ()), *values)

    def settle(self) -> None:
        while self.notes:
            self.step()

    def kill(self, number: int) -> None:
        del self.workers[number]
        self.notes = deque(note for note in self.notes if note[1] != number)
        self.pools.gone(number)

    def restart(self, number: int) -> None:
        self.workers[number] = self._worker(number)

    def used(self, key: str) -> int:
        return sum(lease.used for worker in self.workers.values() if (lease := worker._leases.get(key)))


def test_connections_are_refused_exactly_at_the_limit() -> None:
    async def scenario() -> None:
        node = Node(3)
        answers = [asyncio.ensure_future(node.workers[n % 3].acquire("smtp", 20)) for n in range(30)]
        await asyncio.sleep(0)
        while node.notes:
            node.step()
            await asyncio.sleep(0)
        assert sum(answer.result() for answer in answers) == 20 == node.used("smtp")
        first = next(n for n in range(30) if answers[n].result())
        node.workers[first % 3].give("smtp")
        again = asyncio.ensure_future(node.workers[(first + 1) % 3].acquire("smtp", 20))  # the free slot is another's
        await asyncio.sleep(0)
        node.settle()
        assert await again
        assert node.used("smtp") == 20

    asyncio.run(scenario())


def test_what_is_used_again_costs_no_note() -> None:
    async def scenario() -> None:
        node = Node(2)
        first = asyncio.ensure_future(node.workers[0].acquire("smtp", 100))
        await asyncio.sleep(0)
        node.settle()
        assert await first
        sent = node.sent
        for _ in range(1000):
            node.workers[0].give("smtp")
            assert await node.workers[0].acquire("smtp", 100)
        assert node.sent == sent

    asyncio.run(scenario())


def test_a_caller_that_gave_up_leaves_nothing_in_use() -> None:
    async def scenario() -> None:
        node = Node(2)
        task = asyncio.ensure_future(node.workers[0].acquire("smtp", 1))
        await asyncio.sleep(0)
        node.settle()
        task.cancel()  # granted, and cancelled before it could go on
        with pytest.raises(asyncio.CancelledError):
            await task
        assert node.used("smtp") == 0
        for worker in node.workers.values():
            worker.tidy()
        node.settle()
        assert len(node.pools) == 0

    asyncio.run(scenario())


def test_a_destination_is_shared_by_those_who_have_mail_for_it() -> None:
    node = Node(2)
    for _ in range(10):
        node.workers[0].take("to:a", 10, 10)
        node.settle()
    while node.workers[0].take("to:a", 10, 10):
        pass
    assert node.used("to:a") == 10
    assert not node.workers[1].take("to:a", 10, 50)
    node.settle()
    for _ in range(100):  # the first has mail for ever
        node.workers[0].give("to:a")
        node.settle()
        node.workers[0].take("to:a", 10, 50)
        while node.workers[1].take("to:a", 10, 50):
            pass
        node.settle()
        assert node.used("to:a") <= 10
    assert node.pools.held("to:a") == {0: 5, 1: 5}


def test_one_slot_goes_round() -> None:
    node = Node(3)
    turns = dict.fromkeys(node.workers, 0)
    using: deque[int] = deque()

    def begin(number: int) -> None:
        if node.workers[number].take("to:a", 1):
            turns[number] += 1
            using.append(number)

    for number, worker in node.workers.items():
        worker.on_grant = lambda key, number=number: begin(number)  # type: ignore[misc]
        begin(number)
    for _ in range(300):
        node.settle()
        assert len(using) == node.used("to:a") <= 1
        if using:
            number = using.popleft()
            node.workers[number].give("to:a")
            begin(number)  # it has more
    assert min(turns.values()) > 20


def test_slots_of_a_dead_worker_come_back() -> None:
    node = Node(2)
    node.workers[0].take("attempts", 4, 4)
    node.settle()
    while node.workers[0].take("attempts", 4):
        pass
    node.workers[1].take("attempts", 4)
    node.settle()
    assert not node.workers[1].take("attempts", 4)
    node.kill(0)
    node.settle()
    assert node.workers[1].take("attempts", 4)


@pytest.mark.parametrize("seed", range(20))
def test_the_limit_holds_whatever_happens(seed: int) -> None:
    """Random uses, in any order of notes, with workers dying: never beyond the limit, and in the end all can be had."""

    async def scenario() -> None:
        chance = random.Random(seed)
        node = Node(3)
        limits = {"smtp": 5, "to:a": 2, "to:b": 7}
        holding: list[tuple[int, str]] = []
        asking: list[tuple[int, asyncio.Future[bool]]] = []
        for _ in range(2000):
            number = chance.randrange(3)
            worker = node.workers.get(number)
            act = chance.random()
            if worker is None:
                node.restart(number)
            elif act < 0.2:
                asking.append((number, asyncio.ensure_future(worker.acquire("smtp", 5))))
            elif act < 0.45:
                key = chance.choice(["to:a", "to:b"])
                if worker.take(key, limits[key], chance.randrange(1, 4)):
                    holding.append((number, key))
            elif act < 0.7 and holding:
                who, key = holding.pop(chance.randrange(len(holding)))
                node.workers[who].give(key)
            elif act < 0.72:
                worker.tidy()
            elif act < 0.725:
                node.kill(number)
                holding = [held for held in holding if held[0] != number]
                for who, answer in asking:
                    if who == number:
                        answer.cancel()
                asking = [one for one in asking if one[0] != number]
            elif node.notes:
                node.step()
            await asyncio.sleep(0)
            for one in [one for one in asking if one[1].done()]:
                asking.remove(one)
                if one[1].result():
                    holding.append((one[0], "smtp"))
            for key, limit in limits.items():
                assert node.used(key) <= sum(node.pools.held(key).values()) <= limit
        for _, answer in asking:
            answer.cancel()
        await asyncio.sleep(0)
        node.settle()
        for who, key in holding:
            node.workers[who].give(key)
        for _ in range(3):
            for worker in node.workers.values():
                worker.tidy()
            node.settle()
        assert len(node.pools) == 0

    asyncio.run(scenario())

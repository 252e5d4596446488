"""Checks from several nodes at once, each noted: what was answered, when, and how long it took."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from hslpy.clock import SystemClock
from hslpy.rate.contract import RateSettings
from hslpy.rate.redis import RedisRateCounters
from hslpy.store.redis import RedisSettings
from hslpy.store.servers import Servers

TIMEOUT_S = 0.3
PAUSE_S = 0.004
"""Between two checks of a client, lest answers that wait for nothing keep the loop from all else."""
LOOKS = 2 * 6
"""Of both nodes, until they find a Redis that is back: half would do where each is answered at once or not at all."""


class LooksCounted(SystemClock):
    """Time as it is. Nodes sleep by it before each look for a Redis that is away, and for nothing else."""

    sleeps = 0

    async def sleep(self, seconds: float) -> None:
        self.sleeps += 1
        await super().sleep(seconds)


@dataclass
class Load:
    """Clients of two nodes. A check is (entry, limit); `admitted` has the times at which a node let an entry through.

    `late_s` is how late the loop was at most with something due: what the machine had else to do, in the same moments.
    """

    nodes: list[RedisRateCounters]
    entries: dict[str, int]
    interval_s: float
    events: list[tuple[str, Mapping[str, object]]]
    clock: LooksCounted
    admitted: dict[tuple[int, str], list[float]] = field(default_factory=dict)
    answers: list[tuple[float, float, bool | float | None]] = field(default_factory=list)  # begun, ended, answer
    late_s: float = 0.0

    async def client(self, node: int, first: int) -> None:
        clock = asyncio.get_running_loop().time
        names = list(self.entries)
        for n in itertools.count(first):
            entry = names[n % len(names)]
            begun = clock()
            answer = await self.nodes[node].check("load", entry, self.entries[entry], self.interval_s)
            self.answers.append((begun, clock(), answer))
            if answer is True:
                self.admitted.setdefault((node, entry), []).append(clock())
            await asyncio.sleep(PAUSE_S)

    async def lateness(self) -> None:
        clock = asyncio.get_running_loop().time
        while True:
            due = clock() + PAUSE_S
            await asyncio.sleep(PAUSE_S)
            self.late_s = max(self.late_s, clock() - due)

    async def looks_until(self, condition: Callable[[], bool]) -> int:
        """Wait for the condition and give how often the nodes looked for Redis meanwhile, all together."""
        before = self.clock.sleeps
        await until(condition)
        return self.clock.sleeps - before

    @property
    def reachable(self) -> bool:
        return all(node.health.reachable for node in self.nodes)

    @property
    def answered_otherwise(self) -> int:
        return sum(node.health.unreachable_answers for node in self.nodes)

    def names(self) -> list[str]:
        return [event for event, _ in self.events]

    def check_slowest(self) -> None:
        """No client waited for much longer than one answer that did not come, but for how late all else was."""
        assert max(ended - begun for begun, ended, _ in self.answers) < TIMEOUT_S + 0.5 + 4 * self.late_s

    def check_each_node(self) -> None:
        """No node let through more than the limit in any window, whatever became of Redis."""
        for node in range(len(self.nodes)):
            self._check({entry: self.admitted.get((node, entry), []) for entry in self.entries})

    def check_all_nodes(self) -> None:
        """Nor did all together."""
        everywhere = range(len(self.nodes))
        self._check(
            {entry: sorted(at for n in everywhere for at in self.admitted.get((n, entry), [])) for entry in self.entries}
        )

    def _check(self, times: Mapping[str, list[float]]) -> None:
        for entry, limit in self.entries.items():
            for first, after in zip(times[entry], times[entry][limit:], strict=False):
                # answers are noted a little later than they are decided
                assert after - first > self.interval_s - TIMEOUT_S, f"more than {limit} for {entry}"


@asynccontextmanager
async def load(redis: RedisSettings, clients: int = 10, **settings: Any) -> AsyncIterator[Load]:
    """Give two nodes with clients at work; they end with the block. The entries: some never full, some soon."""
    events: list[tuple[str, Mapping[str, object]]] = []
    clock = LooksCounted()
    chosen = {"timeout_s": TIMEOUT_S, **settings}

    def node() -> RedisRateCounters:
        return RedisRateCounters(
            RateSettings("redis", **chosen),
            Servers(redis),
            clock,
            lambda event, fields: events.append((event, fields)),
        )

    entries = {f"wide{n}": 1_000_000 for n in range(6)} | {f"narrow{n}": 7 for n in range(6)}
    work = Load([node(), node()], entries, 3.0, events, clock)
    tasks = [asyncio.create_task(work.client(n % 2, n)) for n in range(clients)]
    tasks.append(asyncio.create_task(work.lateness()))
    try:
        yield work
        failed = [task for task in tasks if task.done()]
        assert not failed, failed
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
        for one in work.nodes:
            await asyncio.wait_for(one.close(), 60)
    assert sum(answer is True for _, _, answer in work.answers) > 0
    work.check_slowest()


async def until(condition: Any, seconds: float = 120.0) -> float:
    """Wait for the condition and give how long that took, in seconds."""
    clock = asyncio.get_running_loop().time
    begun = clock()
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.01)
    return clock() - begun

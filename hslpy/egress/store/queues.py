"""What is queued on each node, as its mail processes last told: kept by each from time to time, read by the others' pages.

In: a queue. Out: counts by node. A queue is its node's own: nobody else sees into it. Source: section A1 of the
specification of delivery IPs (several nodes), check P24.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import asdict, field

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from hslpy.clock import Clock
from hslpy.egress.store.database import Database
from hslpy.egress.store.faults import DatabaseFault
from hslpy.egress.store.tables import Node, NodeQueue
from hslpy.log import Log
from hslpy.queue.queue import Queue
from hslpy.queue.search import Summary
from hslpy.records import record

KEEP_EVERY_S = 10.0
OLD_S = 60.0
"""A node that has not told for so long may be away."""
SEEN_S = 2.0
"""A node has seen a change by then: it looks twice a second, and reads what there is."""
_SHARE = 50.0  # of the time is left between looks: one takes a second of a million recipients
MOST_DESTINATIONS = 50


@record
class Counts:
    """Recipients queued: all, by state, by destination (the most frequent), and those of locked senders, `user@domain`."""

    total: int = 0
    states: Mapping[str, int] = field(default_factory=dict)
    destinations: Mapping[str, int] = field(default_factory=dict)
    locked: Mapping[str, int] = field(default_factory=dict)


@record
class QueueOf:
    """The queue of a node as of `at` (Unix seconds; None: it never told). `page_url` is of its page, empty where others
    cannot reach it."""

    node: str
    at: float | None = None
    page_url: str = ""
    counts: Counts = field(default_factory=Counts)

    def is_old(self, now: float) -> bool:
        return self.at is None or now - self.at > OLD_S

    def knows(self, changed_at: float) -> bool:
        """Say whether it told of its queue after it had seen a change of that time."""
        return self.at is not None and self.at >= changed_at + SEEN_S


class QueueKeeper:
    """Keeps what one of a node's `processes` has queued, as long as there are other nodes."""

    def __init__(
        self,
        database: Database,
        queue: Queue,
        node: str,
        place: tuple[int, int],
        page_url: str,
        clock: Clock,
        log: Log,
        *,
        wanted: Callable[[], bool],
        is_locked: Callable[[str, str], bool],
    ) -> None:
        """`place` is which process it is, and of how many; `is_locked` is asked for a domain and a username."""
        self._database = database
        self._queue = queue
        self._node = node
        self._place = place
        self._page_url = page_url
        self._clock = clock
        self._log = log
        self._wanted = wanted
        self._is_locked = is_locked
        self._told = ""

    async def run(self) -> None:
        """Never ends."""
        while True:
            began = self._clock.monotonic()
            if self._wanted():
                await self.flush()
            await self._clock.sleep(max(KEEP_EVERY_S, _SHARE * (self._clock.monotonic() - began)))

    async def flush(self) -> None:
        """Keep what is queued now; blocks no loop."""
        counts = counted(await self._queue.summary("recipientdomain"), await self._queue.summary("user"), self._is_locked)
        process, processes = self._place
        row = NodeQueue(node=self._node, process=process, at=self._clock.time(), page_url=self._page_url)
        row.counts = asdict(counts)
        try:
            await asyncio.to_thread(keep, self._database, row, processes)
            self._told = ""
        except DatabaseFault as error:
            reason = str(error).partition("\n")[0]
            if reason != self._told:
                self._told = reason
                self._log("egress.queue_not_kept", {"level": "error", "reason": reason})


def counted(by_destination: Summary, by_user: Summary, is_locked: Callable[[str, str], bool]) -> Counts:
    """Give the counts of a queue; of locked senders, all that is queued."""
    locked: dict[str, int] = {}
    for group in by_user.groups:
        username, at, domain = group.value.rpartition("@")
        if at and is_locked(domain, username):
            locked[group.value] = group.count
    most = {group.value: group.count for group in by_destination.groups[:MOST_DESTINATIONS]}
    return Counts(sum(by_destination.states.values()), by_destination.states, most, locked)


def keep(database: Database, row: NodeQueue, processes: int) -> None:
    """Keep the counts of a process; those of processes that its node had more of go. Raises DatabaseFault."""
    with database.keep() as session:
        session.merge(row)
        session.execute(delete(NodeQueue).where(NodeQueue.node == row.node, NodeQueue.process >= processes))


def read(session: Session, *, but: str = "") -> Sequence[QueueOf]:
    """Give the queues of all nodes, as they told last; without the node `but`."""
    found: dict[str, list[NodeQueue]] = {
        name: [] for name in session.scalars(select(Node.name).where(Node.name != but).order_by(Node.name))
    }
    for row in session.scalars(select(NodeQueue).where(NodeQueue.node != but).order_by(NodeQueue.node, NodeQueue.process)):
        found.setdefault(row.node, []).append(row)
    return [
        QueueOf(node, min(row.at for row in rows), rows[0].page_url, _together([Counts(**row.counts) for row in rows]))
        if rows
        else QueueOf(node)
        for node, rows in found.items()
    ]


def of_senders(queues: Collection[QueueOf], domain: str, username: str = "") -> int:
    """Give how many recipients are queued of a locked user, or of all locked ones of a domain."""
    return sum(
        number
        for one in queues
        for name, number in one.counts.locked.items()
        if name == f"{username}@{domain}" or (not username and name.rpartition("@")[2] == domain)
    )


def _together(counts: Sequence[Counts]) -> Counts:
    states, destinations, locked = Counter[str](), Counter[str](), Counter[str]()
    for one in counts:
        states.update(one.states)
        destinations.update(one.destinations)
        locked.update(one.locked)
    return Counts(sum(one.total for one in counts), dict(states), dict(destinations.most_common()), dict(locked))

"""What the queue costs with many recipients in it: memory, recovery, metrics, claims, and acceptance through the spool.

usage, in the checkout: python -m tests.bench.queue [RECIPIENTS] [FOLDER]
One line a figure; quote ratios, not absolutes.
"""

from __future__ import annotations

import asyncio
import gc
import random
import resource
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterable
from pathlib import Path

import uvloop

from hslpy.clock import SystemClock
from hslpy.mail.address import Address
from hslpy.mail.verdict import QueueOptions
from hslpy.queue.queue import Queue, QueueSettings
from hslpy.spool.contract import QueuedRecipient
from hslpy.spool.memory import MemorySpool
from hslpy.spool.sqlite import SpoolSettings, SqliteSpool
from tests.bench.spool import message


class FullSpool(MemorySpool):
    """A spool that gives `count` recipients at recovery and keeps none of them itself."""

    def __init__(self, count: int) -> None:
        super().__init__()
        self._count = count
        self._next_id = count + 1

    async def recover(self) -> AsyncIterator[Iterable[QueuedRecipient]]:
        rng = random.Random(1)
        for start in range(1, self._count + 1, 1000):
            yield [
                QueuedRecipient(
                    number,
                    number,
                    f"{rng.getrandbits(128):032x}",
                    1.7e9 + number,
                    Address(f"user{number % 5000}", f"customer{number % 1000}.example"),
                    Address(f"recipient{number}", f"domain{int(rng.paretovariate(0.7)) % 20000}.example"),
                    f"mailtransport:{number % 5}",
                    4e9 - rng.random() * 1e6,
                    4096 + number,
                    retries=number % 7,
                    first_at=1.7e9 + number,
                    last_at=1.7e9 + number + 0.5,
                    metadata={"class": str(number % 3)} if number % 2 else {},
                )
                for number in range(start, start + 1000)
            ]


def resident_mib() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


async def filled(count: int) -> None:
    before = resident_mib()
    start = time.perf_counter()
    spool = FullSpool(count)
    await spool.open()
    queue = Queue(spool, QueueSettings(), SystemClock(), random.Random(1), lambda event, fields: None)
    await queue.open()
    took = time.perf_counter() - start
    grown = (resident_mib() - before) * 1024 * 1024 / count
    print(f"{count} recipients: {grown:.0f} B each, loaded {count / took:.0f}/s (making them included)")
    start = time.perf_counter()
    gc.collect()
    print(f"  a full garbage collection stops everything for {(time.perf_counter() - start) * 1000:.0f} ms")
    filters = {"senderdomain": ["customer7.example"]}
    many = {
        "senderdomain": ["customer7.example", "customer8.example"],
        "retry": ["1", "2"],
        "transportid": ["mailtransport:2"],
    }
    for each in (filters, many):
        start = time.perf_counter()
        queue.metric("count", each)
        first = time.perf_counter() - start
        start = time.perf_counter()
        for _ in range(1000):
            queue.metric("count", each)
        later = (time.perf_counter() - start) * 1000
        print(f"  metric by {len(each)} fields: first {first * 1000:.0f} ms, then {later:.1f} us")
    start = time.perf_counter()
    for _ in range(10_000):
        await queue.accept(message(1, b"x"))
    accept = (time.perf_counter() - start) / 10_000
    start = time.perf_counter()
    for entry in queue.claim(10_000):
        await queue.reschedule(entry, QueueOptions(), 1.8e9)
    print(
        f"  accept {accept * 1e6:.0f} us, claim and reschedule {(time.perf_counter() - start) * 100:.0f} us, in memory alone"
    )


async def accepted(folder: Path, seconds: float = 2.0) -> None:
    with tempfile.TemporaryDirectory(dir=folder) as place:
        spool = SqliteSpool(SpoolSettings(Path(place) / "spool", min_free_bytes=0))
        await spool.open()
        queue = Queue(spool, QueueSettings(), SystemClock(), random.Random(1), lambda event, fields: None)
        await queue.open()
        queue.metric("count", {"senderdomain": ["a.example"]})  # counted from here on
        end = time.perf_counter() + seconds
        body = random.Random(1).randbytes(4096)

        async def session() -> None:
            while time.perf_counter() < end:
                await queue.accept(message(1, body))

        start = time.perf_counter()
        await asyncio.gather(*(session() for _ in range(50)))
        print(f"accepted, 4 KiB, 50 sessions: {len(queue) / (time.perf_counter() - start):.0f}/s")
        count = len(queue)

        async def deliver() -> None:
            while entries := queue.claim(10):
                for entry in entries:
                    await queue.finish(entry)

        start = time.perf_counter()
        await asyncio.gather(*(deliver() for _ in range(50)))
        print(f"claimed and finished, 50 tasks: {count / (time.perf_counter() - start):.0f}/s")
        await queue.close()
        await spool.close()


if __name__ == "__main__":
    uvloop.run(accepted(Path(sys.argv[2] if len(sys.argv) > 2 else ".")))
    uvloop.run(filled(int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000))

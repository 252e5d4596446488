"""What the spool does a second: messages stored one by one and by 50 waiters, removals, reads, recovery.

usage, in the checkout: python -m tests.bench.spool [FOLDER] [--seconds S]
One line a figure; quote ratios, not absolutes.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import random
import tempfile
import time
from pathlib import Path

import uvloop

from hslpy.mail.address import Address
from hslpy.spool.contract import NewMessage, NewRecipient, QueuedRecipient, Remove
from hslpy.spool.sqlite import SpoolSettings, SqliteSpool

HEADER = b"From: alice@example.org\r\nTo: bob@example.net\r\nSubject: a benchmark\r\n\r\n"


def message(number: int, body: bytes) -> NewMessage:
    recipient = NewRecipient(Address("bob", "example.net"), Address("alice", "example.org"), "mailtransport:1", 1e9)
    return NewMessage(
        f"{number:032x}", 1e9, "192.0.2.1", "client.example", "alice", "mailserver:1", HEADER, body, (recipient,)
    )


async def store_for(spool: SqliteSpool, body: bytes, waiters: int, seconds: float) -> tuple[float, list[QueuedRecipient]]:
    end = time.perf_counter() + seconds
    stored: list[QueuedRecipient] = []

    async def session() -> None:
        while time.perf_counter() < end:
            stored.extend(await spool.store(message(len(stored), body)))

    start = time.perf_counter()
    await asyncio.gather(*(session() for _ in range(waiters)))
    return len(stored) / (time.perf_counter() - start), stored


async def spread(items: list[QueuedRecipient], waiters: int, work: object) -> float:
    start = time.perf_counter()

    async def take(part: list[QueuedRecipient]) -> None:
        for item in part:
            await work(item)  # type: ignore[operator]

    await asyncio.gather(*(take(items[number::waiters]) for number in range(waiters)))
    return len(items) / (time.perf_counter() - start)


async def measure(folder: Path, seconds: float) -> None:
    random.seed(1)
    for size, waiters in ((4096, 1), (4096, 50), (51200, 1), (51200, 50), (1 << 20, 50)):
        with tempfile.TemporaryDirectory(dir=folder) as place:
            spool = SqliteSpool(SpoolSettings(Path(place) / "spool", min_free_bytes=0))
            await spool.open()
            before, cpu = spool.stats().commits, time.process_time()
            rate, stored = await store_for(spool, random.randbytes(size), waiters, seconds)
            cpu = (time.process_time() - cpu) / len(stored) * 1e6
            shared = len(stored) / (spool.stats().commits - before)
            print(f"store  {size:>8} B, {waiters:>2} waiters: {rate:>8.0f}/s, {shared:.0f} a commit, {cpu:.0f} us CPU each")
            if waiters > 1:
                sample = stored[:5000]
                reads = await spread(sample, waiters, lambda item, at=spool: at.read(item.message_id, item.variant))
                start = time.perf_counter()
                count = 0
                async for batch in spool.recover():
                    count += len(list(batch))
                recovery = count / (time.perf_counter() - start)
                removals = await spread(stored, waiters, lambda item, at=spool: at.apply([Remove(item.queue_id)]))
                print(f"       {size:>8} B: read {reads:.0f}/s, recover {recovery:.0f}/s, remove {removals:.0f}/s")
            await spool.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", nargs="?", default=os.getcwd())
    parser.add_argument("--seconds", type=float, default=2.0)
    arguments = parser.parse_args()
    uvloop.run(measure(Path(arguments.folder), arguments.seconds))


if __name__ == "__main__":
    main()

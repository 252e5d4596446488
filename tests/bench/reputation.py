"""A check of 50 addresses on 20 lists: how long it takes without an interval, and whether the usual one is kept.

usage: python -m tests.bench.reputation [--addresses 50] [--lists 20] [--delay 0.02]
The goals: with interval 0, against a server with 20 ms of delay, under 3 s; with the usual interval of 0.25 s no two queries
to one list closer than that, and about 13 s.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import multiprocessing
import tempfile
import time
from collections.abc import Sequence
from multiprocessing.connection import Connection
from pathlib import Path

from hslpy.clock import SystemClock
from hslpy.dns.resolver import DnsResolver
from hslpy.egress.reputation import block_lists
from hslpy.egress.reputation.checker import ReputationChecker
from hslpy.egress.reputation.jobs import ReputationSettings, resolver_settings
from hslpy.egress.store.database import Actor, Database
from hslpy.egress.store.tables import Address, Node
from hslpy.log import no_log
from tests.support.dnsbl_server import DnsblServer, List


def serve(pipe: Connection, lists: int, delay_s: float) -> None:
    """Play the lists until asked what was asked; each has every tenth address."""

    async def main() -> None:
        entries = {f"203.0.113.{n}": ("127.0.0.2",) for n in range(0, 250, 10)}
        server = DnsblServer({f"list{n}.test": List(entries=entries) for n in range(lists)}, delay_s)
        await server.start()
        pipe.send(server.port)
        while not pipe.poll():
            await asyncio.sleep(0.05)
        pipe.send(server.asked)

    asyncio.run(main())


async def check(port: int, addresses: int, lists: int, interval_s: float) -> tuple[float, int]:
    """Give the seconds a whole check takes, and how many results it has."""
    clock, server = SystemClock(), f"127.0.0.1:{port}"
    with tempfile.TemporaryDirectory() as folder:
        database = Database(f"sqlite:///{Path(folder) / 'egress.db'}", clock)
        database.open()
        with database.change(Actor("bench"), "bench") as change:
            node = Node(name="node1.example.net")
            change.add(node)
            change.flush()
            for n in range(addresses):
                change.add(Address(node_id=node.id, address=f"203.0.113.{n}", first_seen_at=0.0, seen_at=0.0))
        for n in range(lists):
            block_lists.add(database, Actor("bench"), block_lists.Draft(f"List {n}", f"list{n}.test"))

        async def on_alerts(alerts: Sequence[object], texts: Sequence[str]) -> None:
            return None

        settings = ReputationSettings((server,), interval_s=interval_s)
        resolver = DnsResolver(resolver_settings((server,)), clock)
        checker = ReputationChecker(database, resolver, clock, lambda: settings, on_alerts, lambda: 0.5, no_log)
        begun = time.perf_counter()
        progress = await checker.wait((await checker.start("bench")).id)
        taken = time.perf_counter() - begun
        assert progress.state == "done" and progress.counts == {
            "listed": lists * len(range(0, addresses, 10)),
            "clean": lists * (addresses - len(range(0, addresses, 10))),
        }, progress
        await resolver.close()
        database.close()
    return taken, progress.done


def measure(addresses: int, lists: int, delay_s: float, interval_s: float) -> tuple[float, int, float, int]:
    """Give seconds, results, the least time between two queries to one list, and how many queries there were."""
    ours, theirs = multiprocessing.Pipe()
    server = multiprocessing.Process(target=serve, args=(theirs, lists, delay_s), daemon=True)
    server.start()
    taken, done = asyncio.run(check(ours.recv(), addresses, lists, interval_s))
    ours.send("enough")
    asked: list[tuple[str, str, float]] = ours.recv()
    server.join()
    times: dict[str, list[float]] = {}
    for name, _, at in asked:
        times.setdefault(".".join(name.split(".")[-2:]), []).append(at)
    least = min(after - before for of_list in times.values() for before, after in itertools.pairwise(of_list))
    return taken, done, least, len(asked)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--addresses", type=int, default=50)
    parser.add_argument("--lists", type=int, default=20)
    parser.add_argument("--delay", type=float, default=0.02)
    options = parser.parse_args()
    for interval_s in (0.0, 0.25):
        taken, done, least, queries = measure(options.addresses, options.lists, options.delay, interval_s)
        print(
            f"interval {interval_s:.2f} s: {done} results by {queries} queries in {taken:.2f} s, "
            f"two to one list at least {least * 1000:.0f} ms apart"
        )


if __name__ == "__main__":
    main()

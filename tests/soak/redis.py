"""Redis killed, frozen and failed over again and again under load, alone, with Sentinels and as a cluster.

usage: python -m tests.soak.redis [--rounds 20] [--clients 50] [alone|sentinels|cluster ...]
Says how long the slowest check took, how soon Redis was used again, and fails where a node let through more than a limit.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import time

from hslpy.store.redis import RedisSettings
from tests.rate.load import Load, load, until
from tests.rate.test_faults import FAULTS, aside
from tests.support.redis_server import RedisCluster, RedisServer, Replicated, free_port


def say(kind: str, work: Load, recovered: list[float]) -> None:
    slowest = max(ended - begun for begun, ended, _ in work.answers)
    print(
        f"{kind}: {len(recovered)} rounds, {len(work.answers):,} checks, {work.answered_otherwise:,} by the setting, "
        f"slowest check {slowest * 1000:.0f} ms, used again after {max(recovered) * 1000:.0f} ms at most"
    )


async def alone(rounds: int, clients: int, chance: random.Random) -> None:
    with RedisServer("--enable-debug-command", "yes", "--busy-reply-threshold", "50", port=free_port()) as server:
        recovered = []
        async with load(RedisSettings(f"redis://{server.address}/0"), clients) as work:
            await asyncio.sleep(0.2)
            for _ in range(rounds):
                fault = chance.choice([one for one in FAULTS if one.name != "cannot save"])
                await aside(fault.begin, server)
                await until(lambda: not work.reachable)
                await asyncio.sleep(chance.uniform(0.1, 1))
                await aside(fault.end, server)
                recovered.append(await until(lambda: work.reachable))
                await asyncio.sleep(chance.uniform(0.1, 0.5))
        work.check_each_node()
        say("alone", work, recovered)


async def sentinels(rounds: int, clients: int, chance: random.Random) -> None:
    with Replicated() as redis:
        recovered = []
        async with load(RedisSettings(sentinels=redis.addresses), clients) as work:
            await asyncio.sleep(0.2)
            for _ in range(rounds):
                await asyncio.to_thread(redis.wait_until_settled)
                master = await asyncio.to_thread(redis.master)
                kind = chance.choice(["order", "kill", "freeze"])
                if kind == "order":
                    await asyncio.to_thread(redis.sentinels[0].ask, "SENTINEL", "FAILOVER", "mymaster")
                elif kind == "kill":
                    master.stop()
                else:
                    master.freeze()
                while await asyncio.to_thread(redis.master) is master:
                    await asyncio.sleep(0.02)
                changed = time.monotonic()
                address = (await asyncio.to_thread(redis.master)).address
                await until(lambda: work.reachable and {node._redis._master for node in work.nodes} == {address})  # noqa: B023
                recovered.append(time.monotonic() - changed)
                if kind == "kill":
                    master.start("--replicaof", "127.0.0.1", str((await asyncio.to_thread(redis.master)).port))
                elif kind == "freeze":
                    master.thaw()
        work.check_each_node()
        say("sentinels", work, recovered)


async def cluster(rounds: int, clients: int, chance: random.Random) -> None:
    with RedisCluster() as redis:
        pair = [redis.nodes[0], redis.nodes[3]]
        recovered = []
        async with load(RedisSettings(cluster=redis.addresses[:2]), clients) as work:
            await asyncio.sleep(0.3)
            for _ in range(rounds):
                master, replica = pair
                if freeze := chance.random() < 0.5:
                    master.freeze()
                else:
                    master.stop()
                await until(lambda: not work.reachable)
                while "role:master" not in await asyncio.to_thread(replica.ask, "INFO", "replication"):
                    await asyncio.sleep(0.02)
                while "cluster_state:ok" not in await asyncio.to_thread(redis.nodes[1].ask, "CLUSTER", "INFO"):
                    await asyncio.sleep(0.02)
                recovered.append(await until(lambda: work.reachable))
                if freeze:
                    master.thaw()
                else:
                    master.start()
                while "master_link_status:up" not in await asyncio.to_thread(master.ask, "INFO", "replication"):
                    await asyncio.sleep(0.05)
                pair.reverse()
                await asyncio.sleep(1)
        work.check_each_node()
        say("cluster", work, recovered)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--clients", type=int, default=50)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("kinds", nargs="*", default=["alone", "sentinels", "cluster"])
    options = parser.parse_args()
    for kind in options.kinds:
        form = {"alone": alone, "sentinels": sentinels, "cluster": cluster}[kind]
        asyncio.run(form(options.rounds, options.clients, random.Random(options.seed)))


if __name__ == "__main__":
    main()

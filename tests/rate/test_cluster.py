"""Counters on a Redis Cluster: keys of many nodes, a slot that moves, a master that dies under load."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from hslpy.rate.contract import key_of
from hslpy.store.redis import RedisSettings, key_slot
from tests.hooks.world import World
from tests.rate.load import LOOKS, load, until
from tests.store.conftest import open_shared
from tests.store.test_contract import run as run_scripts
from tests.store.test_contract import value_of
from tests.support.redis_server import RedisCluster

pytestmark = pytest.mark.xdist_group("redis-cluster")


@pytest.fixture(scope="module")
def cluster() -> Iterator[RedisCluster]:
    with RedisCluster() as cluster:
        yield cluster


def slot_of(entry: str) -> int:
    return key_slot(b"hslpy:rate:" + key_of("load", entry, 3_000_000))


def test_limits_hold_over_nodes_while_slots_move(cluster: RedisCluster) -> None:
    async def run() -> None:
        first, other = cluster.nodes[0], cluster.nodes[1]
        async with load(RedisSettings(cluster=cluster.addresses[:1]), clients=20, timeout_s=5.0) as work:
            work.entries |= {f"more{n}": 20 for n in range(20)}
            await asyncio.sleep(0.3)
            slots = sorted({slot_of(entry) for entry in work.entries if slot_of(entry) <= 5460})
            assert len(slots) >= 2
            for slot in slots:
                await asyncio.to_thread(cluster.move_slot, slot, first, other, lambda: time.sleep(0.05))
            await asyncio.sleep(1.5)
            assert not work.answered_otherwise, work.events
        work.check_all_nodes()
        servers = {server for node in work.nodes for server in node._servers if server}
        assert servers == set(cluster.addresses[:3])

    asyncio.run(run())


def test_a_flushed_script_is_loaded_again(cluster: RedisCluster) -> None:
    async def run() -> None:
        async with load(RedisSettings(cluster=cluster.addresses[1:]), timeout_s=5.0) as work:
            await asyncio.sleep(0.2)
            for node in cluster.nodes[:3]:
                node.ask("SCRIPT", "FLUSH")
            await asyncio.sleep(0.2)
            assert work.reachable and not work.answered_otherwise
        work.check_all_nodes()

    asyncio.run(run())


def test_memory_and_barriers_over_a_cluster(cluster: RedisCluster, tmp_path: Path) -> None:
    world = World(tmp_path)
    script = 'barrier "%s" => $n { $was = $n ?? 0; ScanRPD(); $n = $was + 1; } memory_inc("{m}%s");'
    redis = RedisSettings(cluster=cluster.addresses)

    async def run() -> None:
        async with open_shared(redis) as one, open_shared(redis) as other:
            scripts = [script % (f"b{n}", n) for n in range(5)] * 5
            await asyncio.gather(*(run_scripts(world, memory, *scripts) for memory in (one, other)))
            values = [await value_of(world, one, key) for n in range(5) for key in (f"b{n}", f"{{m}}{n}")]
            assert values == ["10"] * 10, world.events

    asyncio.run(run())


def test_when_a_master_dies_only_its_keys_are_answered_otherwise_until_its_replica_has_them(cluster: RedisCluster) -> None:
    """Comes last: the cluster is not as it was."""

    async def run() -> None:
        dead, replica = cluster.nodes[0], cluster.nodes[3]
        async with load(RedisSettings(cluster=cluster.addresses[:2])) as work:
            work.entries |= {f"late{n}": 20 for n in range(20)}  # some of them where none has moved away
            await asyncio.sleep(0.3)
            assert work.reachable
            dead.stop()
            await until(lambda: not work.reachable)
            circuits = [server.circuit for node in work.nodes for server in node._servers.values()]
            await until(lambda: sum(not circuit.reachable for circuit in circuits) == 2)
            assert {fields["server"] for event, fields in work.events if event == "rate.store_unreachable"} == {dead.address}
            await until(lambda: "role:master" in replica.ask("INFO", "replication"))
            await until(lambda: "cluster_state:ok" in cluster.nodes[1].ask("CLUSTER", "INFO"))
            assert await work.looks_until(lambda: work.reachable) <= LOOKS
            count = work.answered_otherwise
            await asyncio.sleep(0.3)
            assert work.answered_otherwise == count and count
            assert replica.address in work.nodes[0]._servers
        work.check_each_node()

    asyncio.run(run())

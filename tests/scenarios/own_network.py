"""Delivery IPs on addresses of a network of our own, of both families, that come and go; run as root of it.

usage: unshare --map-root-user --net python -m tests.scenarios.own_network
"""

from __future__ import annotations

import asyncio
import subprocess
import tempfile
from pathlib import Path

from hslpy.clock import SystemClock
from hslpy.egress.addresses import inventory
from hslpy.egress.addresses.interfaces import survey
from hslpy.egress.delivery_ips import settings
from hslpy.egress.store import tables
from hslpy.egress.store.database import Actor, Database
from tests.scenarios.harness import Scenario, server
from tests.scenarios.test_delivery_ips import NODE, configured, fill, known, seen, send_as
from tests.support.smtp_sink import Sink

ROOT = Actor("root", "cli")
V4 = [f"198.51.100.{n}" for n in range(1, 6)]
V6 = [f"2001:db8:1::{n}" for n in range(1, 6)]


def ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True)


def put(database: Database, *addresses: str, domain: str = "example.com") -> None:
    where = {"filtering_host": NODE, "domain": domain, "interfaces": ";".join(addresses)}
    settings.set_interfaces(database, ROOT, **where)  # type: ignore[arg-type]


def report(database: Database) -> None:
    """Do what a node does once an hour."""
    with database.read() as session:
        also = inventory.interesting(session, NODE)
    found = survey(NODE, also=also)
    with database.keep() as session:
        inventory.keep(session, found)


async def followed(s: Scenario, database: Database) -> None:
    revision = database.revision()
    await s.until(lambda: seen(s) == revision)


async def main(folder: Path) -> None:
    ip("link", "set", "lo", "up")
    for address in (*V4, *V6):
        ip("address", "add", address, "dev", "lo", *(["nodad"] if ":" in address else []))
    database = Database(f"sqlite:///{folder}/delivery.db", SystemClock())
    database.open()
    fill(database)
    with database.change(ROOT, "primary") as change:
        node = change.query(tables.Node).one()
        node.primary_ipv4, node.primary_ipv6 = V4[0], V6[0]
    report(database)
    put(database, *V4[1:3], *V6[1:3])
    hosts = ("198.51.100.1", "2001:db8:1::1")
    async with Sink(hosts[0]) as four, Sink(hosts[1], four.port) as six:
        more = configured(database, four, next_hop="mx.example.net") + "[client]\nidle_s = 0.1\n"
        async with server(folder, more, hostname=NODE) as s:
            await known(s)
            s.resolver.set("mx.example.net", "A", [hosts[0]])
            for _ in range(20):
                await send_as(s, "bob@example.com")
            await s.until(lambda: len(four.received) == 20)
            assert {one.peer_ip for one in four.received} == set(V4[1:3])

            s.resolver.set("mx.example.net", "A", [])
            s.resolver.set("mx.example.net", "AAAA", [hosts[1]])
            for _ in range(20):
                await send_as(s, "bob@example.com")
            await s.until(lambda: len(six.received) == 20)
            assert {one.peer_ip for one in six.received} == set(V6[1:3])

            # An address goes away: the first message that would leave from it tells, and leaves from the other.
            await s.until(lambda: not s.app.client.idle_connections)
            ip("address", "del", V6[1], "dev", "lo")
            for _ in range(10):
                await send_as(s, "bob@example.com")
            await s.until(lambda: len(six.received) == 30)
            assert {one.peer_ip for one in six.received[20:]} == {V6[2]}
            assert not s.events()["delivery.deferred"] and s.events()["delivery.address_missing"] == 1

            # The node reports it: it is not even tried.
            report(database)
            await followed(s, database)
            before = s.events()["delivery.address_missing"]
            for _ in range(10):
                await send_as(s, "bob@example.com")
            await s.until(lambda: len(six.received) == 40)
            assert {one.peer_ip for one in six.received[30:]} == {V6[2]}
            assert s.events()["delivery.address_missing"] == before

            # No way leads out from one of two addresses: the message's next attempt leaves from the other.
            put(database, V4[3], V4[4])
            await followed(s, database)
            s.resolver.set("mx.example.net", "A", [hosts[0]])
            s.resolver.set("mx.example.net", "AAAA", [])
            await s.until(lambda: not s.app.client.idle_connections)
            ip("rule", "add", "pref", "100", "lookup", "local")
            ip("rule", "add", "pref", "50", "from", V4[3], "unreachable")
            ip("rule", "del", "pref", "0")
            for _ in range(12):
                await send_as(s, "bob@example.com")
            await s.until(lambda: len(four.received) + s.events()["delivery.deferred"] == 32)
            assert s.events()["delivery.no_route"] == s.events()["delivery.deferred"] > 0
            await s.app.queue.release(s.app.queue._index.ids())
            await s.until(lambda: len(four.received) == 32)
            assert {one.peer_ip for one in four.received[20:]} == {V4[4]}
    database.close()


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as place:
        asyncio.run(main(Path(place)))
    print("as it should be")

"""How delivery IPs are told to be: the worst that is known of each, what wants an operator."""

from __future__ import annotations

from hslpy.clock import ManualClock
from hslpy.egress import health
from hslpy.egress.accounts import directory
from hslpy.egress.accounts.nodes import add_node
from hslpy.egress.addresses import inventory
from hslpy.egress.addresses.interfaces import LocalAddress, Report
from hslpy.egress.delivery_ips import settings
from hslpy.egress.delivery_ips.setting_rows import Edit
from hslpy.egress.store import tables
from hslpy.egress.store.database import Actor, Database
from hslpy.egress.warm_up import warming

ROOT = Actor("root", "cli")
NODE = "node1.example.net"


def states(database: Database, clock: ManualClock) -> dict[str, str]:
    return {one.address: one.state for one in health.of_addresses(database, clock.time())}


def test_each_address_has_the_worst_that_is_known(database: Database, clock: ManualClock) -> None:
    add_node(database, ROOT, NODE, primary_ipv4="198.51.100.1")
    addresses = tuple(LocalAddress(f"198.51.100.{number}", "eth0") for number in range(1, 6))
    with database.keep() as session:
        inventory.keep(session, Report(NODE, addresses, {4: "198.51.100.1"}))
    directory.add_domain(database, ROOT, "example.com")
    edit = Edit(ipv4=["198.51.100.2", "198.51.100.99"])
    settings.add(database, ROOT, edit, level="domain", domain="example.com", hostnames=[NODE])
    found = states(database, clock)
    assert found["198.51.100.1"] == "unknown" and found["198.51.100.99"] == "gone"
    warming.start(database, ROOT, "198.51.100.2")
    assert states(database, clock)["198.51.100.2"] == "warming"
    warming.pause(database, ROOT, "198.51.100.2", reason="too many deferrals")
    told = next(one for one in health.of_addresses(database, clock.time()) if one.address == "198.51.100.2")
    assert (told.state, told.why, told.used) == ("paused", "too many deferrals", True)
    with database.keep() as session:
        node = session.query(tables.Node).one()
        bad = {"check": "P01", "outcome": "critical", "evidence": [], "counts": True}
        findings = [{**bad, "text": "bad 1."}, {**bad, "text": "bad 2."}]
        values = {"node_id": node.id, "address": "198.51.100.2", "status": "critical", "checked_at": clock.time()}
        session.add(tables.Checkup(**values, findings=findings))
    told = next(one for one in health.of_addresses(database, clock.time()) if one.address == "198.51.100.2")
    assert (told.state, told.why) == ("critical", "bad 1, and 1 other finding.")
    with database.keep() as session:
        session.add(
            tables.Suspension(address="198.51.100.2", node=NODE, until=clock.time() + 60, reason="refused", by="root")
        )
    assert states(database, clock)["198.51.100.2"] == "suspended"
    clock.advance(61)
    assert states(database, clock)["198.51.100.2"] == "critical", "a suspension ends"
    with database.keep() as session:
        for number, status in ((3, "critical"), (4, "info")):
            values = {"node_id": node.id, "address": f"198.51.100.{number}", "status": status, "checked_at": clock.time()}
            session.add(tables.Checkup(**values, findings=[]))
    found = states(database, clock)
    assert found["198.51.100.3"] == "unready", "not in use, and not clean either"
    assert found["198.51.100.4"] == "unknown", "no block list was asked"
    order = [one.state for one in health.of_addresses(database, clock.time())]
    assert order == sorted(order, key=list(health.STATES).index)
    assert health.counts(health.of_addresses(database, clock.time()))["gone"] == 1


def test_silent_nodes_and_locked_senders_are_told(database: Database, clock: ManualClock) -> None:
    add_node(database, ROOT, NODE, primary_ipv4="198.51.100.1")
    assert [(one.node, one.since) for one in health.silent(database, clock.time())] == [(NODE, None)]
    with database.keep() as session:
        inventory.keep(session, Report(NODE, (LocalAddress("198.51.100.1", "eth0"),), {4: "198.51.100.1"}))
    assert not health.silent(database, clock.time())
    clock.advance(health.SILENT_S)
    assert [one.node for one in health.silent(database, clock.time())] == [NODE]
    directory.add_domain(database, ROOT, "example.com")
    directory.add_user(database, ROOT, "example.com", "bob", password="secret1")
    assert not health.locked(database)
    directory.lock_user(database, ROOT, "example.com", "bob", "spam")
    directory.set_domain(database, ROOT, "example.com", locked=True)
    assert [(one.domain, one.username) for one in health.locked(database)] == [("example.com", ""), ("example.com", "bob")]
    assert not health.locked(database, admins=frozenset({"nobody"}))

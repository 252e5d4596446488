"""What nodes reported of their addresses, as it is kept."""

from __future__ import annotations

import pytest
from sqlalchemy import select

from hslpy.clock import ManualClock
from hslpy.egress.accounts.nodes import set_node
from hslpy.egress.addresses import inventory
from hslpy.egress.addresses.interfaces import LocalAddress, Report
from hslpy.egress.rules.names import NotFound, Refused
from hslpy.egress.store.database import Actor, Database
from hslpy.egress.store.tables import Address, Checkup, DeliverySetting, Node, Suspension

ROOT = Actor("root", "cli")


@pytest.fixture
def clock():
    return ManualClock()


@pytest.fixture
def database(database_url, clock):
    database = Database(database_url, clock)
    database.open()
    with database.change(ROOT, "node add") as change:
        change.add(Node(name="n1.example"))
    yield database
    database.close()


def report(*addresses: tuple[str, ...], **primary: str) -> Report:
    found = tuple(LocalAddress(address, "eth0", flags) for address, *flags in addresses)
    return Report("n1.example", found, {int(family[1]): one for family, one in primary.items()})


def test_a_report_is_kept_and_what_vanished_is_told(database, clock):
    def keep(one: Report) -> tuple[int, dict[str, tuple[object, ...]], Node]:
        clock.advance(100)
        with database.keep() as session:
            inventory.keep(session, one)
        with database.read() as session:
            rows = {
                row.address: (row.present, row.flags, row.first_seen_at - start, row.seen_at - start)
                for row in session.scalars(select(Address))
            }
            node = session.scalars(select(Node)).one()
            session.expunge(node)
        return database.revision() - first, rows, node

    start, first = clock.time(), database.revision()
    revision, rows, node = keep(report(("192.0.2.1",), ("2001:db8::1",), v4="192.0.2.1", v6="2001:db8::1"))
    assert rows == {"192.0.2.1": (True, [], 100, 100), "2001:db8::1": (True, [], 100, 100)}
    assert (revision, node.primary_ipv4, node.primary_ipv6, node.former) == (1, "192.0.2.1", "2001:db8::1", {})
    revision, rows, _ = keep(report(("192.0.2.1",), ("2001:db8::1",), v4="192.0.2.1", v6="2001:db8::1"))
    assert revision == 1 and rows["192.0.2.1"] == (True, [], 100, 200)
    revision, rows, node = keep(report(("192.0.2.2",), ("2001:db8::1", "deprecated"), v4="192.0.2.2"))
    assert revision == 2
    assert rows == {
        "192.0.2.1": (False, [], 100, 200),
        "2001:db8::1": (True, ["deprecated"], 100, 300),
        "192.0.2.2": (True, [], 300, 300),
    }
    assert node.former == {"4": ["192.0.2.1", start + 300]} and node.primary_ipv6 == ""
    assert keep(report(("192.0.2.1",), v4="192.0.2.1"))[1]["192.0.2.1"] == (True, [], 100, 400)
    with pytest.raises(NotFound), database.keep() as session:
        inventory.keep(session, Report("n9.example", ()))


def test_a_node_reports_each_hour_and_when_it_is_asked(database, clock):
    assert inventory.is_due(None, None, 0.0)
    assert not inventory.is_due(100.0, None, 3699.0) and inventory.is_due(100.0, None, 3700.0)
    assert not inventory.is_due(100.0, 90.0, 101.0) and inventory.is_due(100.0, 100.5, 101.0)
    with database.change(ROOT, "rescan") as change:
        inventory.ask_rescan(change, ["N1.example."])
    with pytest.raises(NotFound) as caught, database.change(ROOT, "rescan") as change:
        inventory.ask_rescan(change, ["n2.example"])
    assert caught.value.message == "'n2.example' is not a filtering server; servers: n1.example"
    with database.read() as session:
        assert inventory.node_of(session, "n1.example").rescan_asked_at == clock.time()


def test_a_new_primary_address_has_the_checks_made_anew(database, clock):
    """What was found of a node's addresses before went by the former: it said that the primary one was none."""
    for primary, checked in (("192.0.2.1", []), ("192.0.2.1", ["192.0.2.1"]), ("192.0.2.2", [])):
        with database.keep() as session:
            inventory.keep(session, report(("192.0.2.1",), ("192.0.2.2",), v4=primary))
        with database.keep() as session:
            assert list(session.scalars(select(Checkup.address))) == checked
            node = session.scalars(select(Node)).one()
            session.merge(Checkup(node_id=node.id, address="192.0.2.1", status="critical", findings=[], checked_at=1.0))
    set_node(database, ROOT, "n1.example", primary_ipv4="192.0.2.2")
    with database.read() as session:
        assert len(session.scalars(select(Checkup)).all()) == 1
    set_node(database, ROOT, "n1.example", primary_ipv4="192.0.2.1")
    with database.read() as session:
        assert not session.scalars(select(Checkup)).all()


def test_an_added_ipv6_address_is_not_the_primary_from_then_on(database):
    """The kernel takes the newest of those with one prefix."""

    def primary(*addresses: tuple[str, ...], v6: str) -> str:
        with database.keep() as session:
            inventory.keep(session, report(*addresses, v6=v6))
            return inventory.node_of(session, "n1.example").primary_ipv6

    old, new = "2001:db8::1", "2001:db8::2"
    assert primary((old,), v6=old) == old
    assert primary((old,), (new,), v6=new) == old and primary((old,), (new,), v6=new) == old
    assert primary((old, "deprecated"), (new,), v6=new) == new
    assert primary((old,), (new,), v6=old) == new
    assert primary((old,), v6=old) == old
    with database.keep() as session:
        places = (LocalAddress(old, "eth0"), LocalAddress(new, "eth1"))
        inventory.keep(session, Report("n1.example", places, {6: new}))
        assert inventory.node_of(session, "n1.example").primary_ipv6 == new, "mail goes by another interface"


def test_a_node_looks_again_when_an_address_could_not_be_bound(database, clock):
    with database.keep() as session:
        session.add(Node(name="node9.example.com", reported_at=clock.time()))
    clock.advance(1.0)
    with database.keep() as session:
        inventory.cannot_bind(session, "node9.example.com", "192.0.2.11", clock.time() + 300, "not here")
    with database.read() as session:
        node = inventory.node_of(session, "node9.example.com")
        assert inventory.is_due(node.reported_at, node.rescan_asked_at, clock.time())
        assert session.scalars(select(Suspension.address)).all() == ["192.0.2.11"]
    with database.keep() as session:
        inventory.keep(session, Report("node9.example.com", (LocalAddress("192.0.2.11", "eth0"),), {}, ()))
    with database.read() as session:
        assert session.scalars(select(Suspension.address)).all() == []


def test_what_a_node_looks_for_besides(database):
    with database.change(ROOT, "x") as change:
        node = inventory.node_of(change, "n1.example")
        setting = DeliverySetting(scope="domain a.example", level="domain", ipv4=["192.0.2.7"], ipv6=["::0"])
        setting.node_id, setting.changed_at, setting.changed_by = node.id, 0.0, ""
        change.add(setting)
        inventory.set_public_address(change, "n1.example", "10.0.0.5", "198.51.100.5")
    with database.read() as session:
        assert inventory.interesting(session, "n1.example") == {"192.0.2.7", "10.0.0.5"}
    for public in ("10.0.0.9", "2001:db8::1", "224.0.0.1"):
        with pytest.raises(Refused), database.change(ROOT, "x") as change:
            inventory.set_public_address(change, "n1.example", "10.0.0.5", public)


def test_a_primary_address_entered_by_hand_stays(database):
    def primary(**found: str) -> str:
        with database.keep() as session:
            inventory.keep(session, report(("192.0.2.1",), ("192.0.2.2",), **found))
            return inventory.node_of(session, "n1.example").primary_ipv4

    def enter(address: str) -> None:
        with database.change(ROOT, "node set") as change:
            inventory.node_of(change, "n1.example").primary_ipv4 = address

    assert primary(v4="192.0.2.1") == "192.0.2.1"
    assert primary(v4="192.0.2.2") == "192.0.2.2"
    enter("192.0.2.1")
    assert primary(v4="192.0.2.2") == "192.0.2.1" and primary() == "192.0.2.1"
    enter("")
    assert primary(v4="192.0.2.2") == "192.0.2.2"

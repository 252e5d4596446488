"""Addresses that are taken out of use by hand, and used again."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hslpy.clock import ManualClock
from hslpy.egress.accounts.nodes import add_node
from hslpy.egress.addresses import inventory
from hslpy.egress.reputation import suspensions
from hslpy.egress.rules.names import NotFound, Refused
from hslpy.egress.store.database import Actor, Database
from hslpy.egress.store.tables import Audit
from hslpy.egress.traffic import picture

ROOT = Actor("root", "cli")
ONE, TWO = "node1.example.net", "node2.example.net"
A, B, PRIMARY = "198.51.100.1", "2001:db8::1", "198.51.100.9"


@pytest.fixture
def cluster(database: Database) -> Database:
    add_node(database, ROOT, ONE, primary_ipv4=PRIMARY, addresses=[A, B])
    add_node(database, ROOT, TWO, primary_ipv4=A, addresses=[A])
    return database


def unusable(database: Database, node: str, now: float) -> dict[str, str]:
    with database.read() as session:
        return {one: why.reason for one, why in picture.read(session).exceptions(node, now).items()}


def test_by_hand(cluster: Database, clock: ManualClock) -> None:
    before = cluster.revision()
    done = suspensions.suspend(cluster, ROOT, "2001:DB8::1", node="NODE1.example.net.", hours=2, reason=" too  slow ")
    assert (done.address, done.node, done.by, done.until) == (B, ONE, "operator", clock.time() + 7200)
    assert unusable(cluster, ONE, clock.time()) == {B: "suspended: too slow"}
    assert not unusable(cluster, TWO, clock.time())
    assert cluster.revision() == before + 1
    suspensions.suspend(cluster, ROOT, A)
    assert unusable(cluster, TWO, clock.time()) == {A: "suspended: by hand"}
    assert [(one.address, one.node) for one in suspensions.suspensions(cluster, clock.time())] == [(A, ""), (B, ONE)]
    assert suspensions.lift(cluster, ROOT, A).text == f"{A} may be used again."
    assert not unusable(cluster, TWO, clock.time())
    clock.advance(7201)
    assert not suspensions.suspensions(cluster, clock.time()), "it has ended"
    with pytest.raises(NotFound):
        suspensions.lift(cluster, ROOT, B)
    with cluster.read() as session:
        rows = session.query(Audit).order_by(Audit.id.desc()).limit(3)
        assert [one.action for one in rows] == ["lift suspension", "suspend address", "suspend address"]
        assert session.query(Audit).order_by(Audit.id.desc()).first().arguments["was"] == ["by hand"]


def test_of_one_node_or_all(cluster: Database) -> None:
    for node in (ONE, TWO, ""):
        suspensions.suspend(cluster, ROOT, A, node=node)
    assert suspensions.lift(cluster, ROOT, A, node=TWO).nodes == (TWO,)
    with pytest.raises(NotFound, match=f"{A} is not suspended there, but on all servers, {ONE}"):
        suspensions.lift(cluster, ROOT, A, node=TWO)
    assert suspensions.lift(cluster, ROOT, A).nodes == ("", ONE)


def test_a_failed_bind_is_told_of(cluster: Database, clock: ManualClock) -> None:
    with cluster.keep() as session:
        inventory.cannot_bind(session, ONE, A, clock.time() + 300, "EADDRNOTAVAIL")
    assert "left out again where it still cannot be bound" in suspensions.lift(cluster, ROOT, A).text


@pytest.mark.parametrize(
    ("address", "more", "field"),
    [
        ("x", {}, "address"), ("203.0.113.1", {}, ""), ("0.0.0.0", {}, ""), (A, {"hours": 0}, "hours"),
        (A, {"hours": float("nan")}, "hours"), (A, {"hours": 1e9}, "hours"), (A, {"reason": "x" * 256}, "reason"),
        (A, {"node": "other.example.net"}, "node"), (B, {"node": TWO}, "node"),
    ],
)  # fmt: skip
def test_what_is_refused(cluster: Database, address: str, more: dict[str, object], field: str) -> None:
    with pytest.raises(Refused) as refused:
        suspensions.suspend(cluster, ROOT, address, **more)  # type: ignore[arg-type]
    assert refused.value.field == field and not suspensions.suspensions(cluster, 0.0)


_NAMES = st.lists(st.sampled_from(["SpamCop", "Barracuda", "UCEPROTECT, level 1", "x" * 60]), unique=True)


@given(_NAMES, _NAMES)
def test_fewer_lists_do_not_end_an_order(before: list[str], more: list[str]) -> None:
    def reason(names: list[str]) -> str:
        return f"listed by {', '.join(sorted(names))}"

    both = [*before, *(one for one in more if one not in before)]
    assert suspensions.stays_lifted(reason(both), reason(before)) or not before
    assert suspensions.stays_lifted(reason(before), reason(both)) == (len(both) == len(before) or not both)

"""The matrix of addresses and lists, and the list of lists, asked by rules, on a real database."""

from __future__ import annotations

import pytest
from sqlalchemy import select

from hslpy.egress.delivery_ips.queries import BadRule, Query, Rule
from hslpy.egress.reputation import block_lists, listings, page_tables
from hslpy.egress.reputation.listings import Checked
from hslpy.egress.rules.dnsbl import Finding
from hslpy.egress.rules.names import Refused
from hslpy.egress.store.database import Actor
from hslpy.egress.store.tables import Address, DeliverySetting, Dnsbl, Node, ReputationRun, Suspension

ROOT = Actor("root", "page")
A, B, C = "198.51.100.1", "198.51.100.2", "2001:db8::1"


@pytest.fixture
def two_lists(database):
    with database.change(ROOT, "test") as change:
        nodes = [Node(name="node1.example.net"), Node(name="node2.example.net", primary_ipv6=C)]
        change.add_all(nodes)
        change.flush()
        for node, address in ((0, A), (1, B), (1, C)):
            change.add(Address(node_id=nodes[node].id, address=address, first_seen_at=0.0, seen_at=0.0))
        change.add(
            DeliverySetting(
                scope="x", level="default", node_id=nodes[0].id, ipv4=[A], ipv6=[], changed_at=0.0, changed_by="ann"
            )
        )
    return [
        block_lists.add(database, ROOT, block_lists.Draft(name, zone)).id
        for name, zone in (("Spam Stop", "bl.stop.test"), ("Alpha", "a.alpha.test"))
    ]


def found(database, *rules, match="all", **options):
    query = Query(tuple(Rule(*rule) for rule in rules), match, **options)
    return [row.address.address for row in page_tables.matrix(database, query, 0.0).rows]


def keep(database, *cells, at=1000.0):
    return listings.keep(
        database, [Checked(asked, list_id, Finding(status, severity), at) for asked, list_id, status, severity in cells]
    )


def test_addresses_by_rules(database, two_lists):
    keep(database, (A, two_lists[0], "listed", "warning"), (B, two_lists[0], "clean", "none"))
    assert found(database) == [A, B, C]
    assert found(database, ("hostname", "starts with", "NODE2")) == [B, C]
    assert found(database, ("address", "is in network", "198.51.100.0/24")) == [A, B]
    assert found(database, ("address", "is not", A)) == [B, C]
    assert found(database, ("family", "is", "IPv6")) == [C]
    assert found(database, ("use", "is", "used")) == [A, C], "mail leaves from a primary address that no setting has"
    assert found(database, ("result", "is", "listed"), ("result", "is", "clean"), match="any") == [A, B]
    assert found(database, ("result", "is not", "listed"), sort="-address") == [C, B]
    assert found(database, sort="result") == [A, B, C]
    with pytest.raises(BadRule, match="not a network"):
        found(database, ("address", "is in network", "300.0.0.0/8"))
    with pytest.raises(Refused, match="sorted"):
        found(database, sort="colour")


def test_the_matrix_has_a_column_for_each_enabled_list(database, two_lists):
    keep(database, (A, two_lists[0], "listed", "warning"), (A, two_lists[1], "clean", "none"))
    matrix = page_tables.matrix(database, Query(), 0.0)
    assert [one.name for one in matrix.lists] == ["Alpha", "Spam Stop"]
    row = matrix.rows[0]
    assert (row.summary, row.worst, row.cells[two_lists[0]].word) == ("1 listed, 1 clean", "listed", "Listed")
    assert matrix.rows[2].cells[two_lists[0]].word == "Not applicable"
    assert matrix.addresses == [A, B, C] and matrix.fault == ""
    assert [row.address.address for row in page_tables.matrix(database, Query(), 0.0, only_listed=True).rows] == [A]
    block_lists.set_enabled(database, ROOT, [two_lists[1]], False)
    assert [one.name for one in page_tables.matrix(database, Query(), 0.0).lists] == ["Spam Stop"]


@pytest.mark.parametrize(
    ("status", "fault"),
    [("refused", page_tables.ALL_REFUSE), ("no answer", page_tables.NO_DNS), ("clean", "")],
)
def test_what_keeps_all_results_from_meaning_anything(database, two_lists, status, fault):
    keep(database, (A, two_lists[0], "clean", "none"), at=900.0)
    keep(database, (A, two_lists[1], status, "none"), (B, two_lists[0], status, "none"))
    assert page_tables.matrix(database, Query(), 0.0).fault == fault


def test_who_is_suspended(database, two_lists):
    with database.change(ROOT, "test") as change:
        for address, until in ((A, None), (B, 50.0)):
            change.add(Suspension(address=address, node="", until=until, reason="listed by Alpha", by="reputation"))
    assert page_tables.matrix(database, Query(), 20.0).suspended == dict.fromkeys((A, B), "listed by Alpha")
    assert page_tables.matrix(database, Query(), 60.0).suspended == {A: "listed by Alpha"}


def test_no_lists(database, two_lists):
    block_lists.remove(database, ROOT, two_lists)
    assert page_tables.matrix(database, Query(), 0.0).fault == "No lists configured."


def test_the_last_run_of_everything(database, two_lists):
    with database.keep() as session:
        for kind, total, state in (("manual", 6, "done"), ("manual", 1, "done"), ("manual", 6, "stopped")):
            session.add(ReputationRun(kind=kind, by="ann", total=total, state=state, started_at=1.0))
    run = page_tables.matrix(database, Query(), 0.0).last_run
    assert (run.id, run.total) == (1, 6)


def test_lists_by_name_domain_or_both(database, two_lists):
    def names(*rules, **options):
        query = Query(tuple(Rule(*rule) for rule in rules), **options)
        return [one.name for one in page_tables.lists(database, query).rows]

    assert [field.label for field in page_tables.LIST_FIELDS.values()] == ["DNSBL name", "DNSBL domain", "Both"]
    assert names() == ["Alpha", "Spam Stop"]
    assert names(("name", "contains", "STOP")) == ["Spam Stop"]
    assert names(("domain", "ends with", "alpha.test")) == ["Alpha"]
    assert names(("both", "contains", "spam")) == ["Spam Stop"] and names(("both", "contains", "bl.")) == ["Spam Stop"]
    assert names(("both", "does not contain", "alpha")) == ["Spam Stop"]
    assert names(sort="-name") == ["Spam Stop", "Alpha"]


def test_the_history_of_a_cell(database, two_lists):
    for at, status in ((10.0, "listed"), (20.0, "clean"), (30.0, "listed"), (40.0, "clean")):
        keep(database, (A, two_lists[0], status, "warning" if status == "listed" else "none"), at=at)
    with database.read() as session:
        zone = session.scalars(select(Dnsbl.zone).where(Dnsbl.id == two_lists[0])).one()
        past = page_tables.history(session, A, zone)
        assert [(one.from_at, one.to_at) for one in past] == [(30.0, 40.0), (10.0, 20.0)]
        assert page_tables.history(session, A, "a.alpha.test") == []

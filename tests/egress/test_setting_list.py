"""The list of delivery settings: rules, columns, pages; CSV; explanations."""

from __future__ import annotations

import pytest

from hslpy.egress.accounts import admins, directory
from hslpy.egress.accounts.nodes import add_node
from hslpy.egress.addresses.inventory import node_of
from hslpy.egress.delivery_ips import explain, in_force, queries, setting_list, setting_sheet, settings
from hslpy.egress.delivery_ips.queries import BadRule, Query, Rule
from hslpy.egress.rules.names import Refused
from hslpy.egress.store import activity, tables
from hslpy.egress.store.database import Actor
from hslpy.egress.store.tally import Tally
from hslpy.egress.traffic import picture
from hslpy.mail.reply import Reply

ROOT = Actor("root", "cli")
NODE1, NODE2 = "node1.example.net", "node2.example.net"


@pytest.fixture
def cluster(database, clock):
    add_node(database, ROOT, NODE1, primary_ipv4="198.51.100.1", addresses=["192.0.2.11"])
    add_node(database, ROOT, NODE2, addresses=["192.0.2.21", "192.0.2.22", "2001:db8::2"])
    for name, parent in (("ann", ""), ("bob", "ann"), ("eve", "")):
        admins.add_admin(database, ROOT, name, password="long enough", parent=parent)
    directory.add_domain(database, ROOT, "alpha.example", admin="bob")
    directory.add_domain(database, ROOT, "beta.example", admin="eve")
    directory.add_user(database, ROOT, "alpha.example", "al_", hashed=HASH)
    clock.advance(86_400)

    def put(host, interfaces, **scope):
        settings.set_interfaces(database, ROOT, filtering_host=host, interfaces=interfaces, **scope)

    put(NODE2, "192.0.2.21;192.0.2.22;2001:db8::2", domain="alpha.example")
    put(NODE1, "192.0.2.11", domain="alpha.example", username="al_")
    put(NODE2, "2001:db8::2", domain="beta.example", identity="news", disable_ipv4="1")
    put(NODE1, "192.0.2.11", admin="ann")
    with database.change(ROOT, "facts") as change:
        change.add(
            tables.Helo(address="192.0.2.11", direction="outgoing", helo="out1.example.net", changed_at=0, changed_by="")
        )
        change.add(
            tables.Reverse(address="2001:db8::2", names=[], confirmed="out6.example.net", confirmed_at=0.0, checked_at=0.0)
        )
        node = node_of(change, NODE2)
        for address, status in (("192.0.2.21", "warning"), ("192.0.2.22", "ok"), ("2001:db8::2", "ok")):
            change.add(tables.Checkup(node_id=node.id, address=address, status=status, findings=[], checked_at=0.0))
        change.add(tables.Warmup(address="192.0.2.22", state="warming", plan={}, changed_at=0.0))
        change.add(tables.Dnsbl(name="x", zone="x.example", families=[4], codes={}, kind="address"))
        change.flush()
        for address, status, since in (("192.0.2.21", "listed", 0.0), ("192.0.2.11", "clean", None)):
            listing = tables.Listing(
                address=address, dnsbl_id=1, status=status, listed_since=since, listed_severity="warning"
            )
            listing.codes = listing.meanings = listing.reasons = listing.listed_codes = []
            listing.checked_at = listing.expires_at = listing.since = 0.0
            change.add(listing)
    return database


def found(database, *rules, match="all", **more):
    """Give the scopes that rules find, in the list's order."""
    page = setting_list.list_page(database, Query(tuple(Rule(*one) for one in rules), match, **more), 0.0)
    return [(one.scope, one.hostname.partition(".")[0]) for one in page.rows]


DEFAULTS = [("default", "node1"), ("default", "node2")]
ANN = ("admin ann", "node1")
ALPHA = ("domain alpha.example", "node2")
AL = ("user alpha.example al_", "node1")
NEWS = ("identity beta.example news", "node2")


def test_no_rules_give_everything_with_a_default_of_each_node(cluster):
    assert found(cluster) == [*DEFAULTS, ANN, ALPHA, AL, NEWS]


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        (("level", "is", "default"), DEFAULTS),
        (("level", "is not", "default"), [ANN, ALPHA, AL, NEWS]),
        (("admin", "is", "ANN"), [ANN]),
        (("admin", "is one of", "bob; Eve"), [ALPHA, AL, NEWS]),
        (("domain", "starts with", "ALPHA"), [ALPHA, AL]),
        (("domain", "does not end with", ".example"), [*DEFAULTS, ANN]),
        (("domain", "is empty"), [*DEFAULTS, ANN]),
        (("username", "contains", "_"), [AL]),
        (("username", "contains", "%"), []),
        (("identity", "is not empty"), [NEWS]),
        (("hostname", "is", NODE1), [("default", "node1"), ANN, AL]),
        (("ipv4", "is", "192.0.2.11"), [ANN, AL]),
        (("ipv4", "is not", "192.0.2.11"), [*DEFAULTS, ALPHA, NEWS]),
        (("ipv4", "is in network", "192.0.2.16/28"), [ALPHA]),
        (("ipv6", "is in network", "2001:db8::/32"), [ALPHA, NEWS]),
        (("ipv6", "is", "2001:DB8:0::2"), [ALPHA, NEWS]),
        (("helo", "is", "OUT1.example.net"), [ANN, AL]),
        (("helo", "starts with", "out6"), [ALPHA, NEWS]),
        (("helo", "is empty"), []),
        (("ipv4_delivery", "is", "disabled"), [NEWS]),
        (("warmup", "is", "warming"), [ALPHA]),
        (("warmup", "is", "none"), [*DEFAULTS, ANN, AL, NEWS]),
        (("status", "is", "warning"), [ALPHA]),
        (("status", "is", "ok"), [NEWS]),
        (("status", "is", "unknown"), [*DEFAULTS, ANN, AL]),
        (("reputation", "is", "listed"), [ALPHA]),
        (("reputation", "is", "clean"), [ANN, AL]),
        (("reputation", "is not", "clean"), [*DEFAULTS, ALPHA, NEWS]),
        (("changed_by", "is", "root"), [*DEFAULTS, ANN, ALPHA, AL, NEWS]),
        (("changed", "=", "2023-11-14"), DEFAULTS),
        (("changed", ">", "2023-11-14"), [ANN, ALPHA, AL, NEWS]),
        (("changed", "<", "2023-11-15"), DEFAULTS),
        (("changed", "between", "2023-11-14, 2023-11-15"), [*DEFAULTS, ANN, ALPHA, AL, NEWS]),
    ],
)
def test_rules(cluster, rule, expected):
    assert found(cluster, rule) == expected


def test_all_and_any(cluster):
    rules = ("domain", "is", "alpha.example"), ("hostname", "is", NODE1)
    assert found(cluster, *rules) == [AL]
    assert found(cluster, *rules, match="any") == [("default", "node1"), ANN, ALPHA, AL]


@pytest.mark.parametrize(
    ("rule", "text"),
    [
        (("ipv4", "is in network", "192.0.2.0/33"), "is not a network"),
        (("ipv4", "is", "x"), "'x' is not an IP address"),
        (("planet", "is", "x"), "there is no field 'planet'"),
        (("level", "contains", "x"), "no operator of Level"),
        (("level", "is", "x"), "'x' is no value of Level"),
        (("domain", "is", " "), "a value is wanted"),
        (("changed", "=", "yesterday"), "is not a day"),
        (("changed", "between", "2023-11-14"), "two values"),
    ],
)
def test_a_bad_rule_is_told_with_its_place(cluster, rule, text):
    with pytest.raises(BadRule, match=text) as raised:
        found(cluster, ("level", "is", "default"), rule)
    assert raised.value.index == 1


def test_what_is_known_of_the_addresses(cluster):
    query = Query((Rule("domain", "is", "alpha.example"), Rule("level", "is", "domain")))
    (row,) = setting_list.list_page(cluster, query, 0.0).rows
    assert (row.owner, row.status, row.warmup, row.reputation) == ("bob", "warning", "warming", "listed")
    assert row.helos == (NODE2, "out6.example.net")


def test_order_and_pages(cluster):
    for key in setting_list.COLUMNS:
        if key != "helo":
            up, down = found(cluster, sort=key), found(cluster, sort=f"-{key}")
            assert sorted(up) == sorted(down) and len(up) == 6
    assert found(cluster, sort="-hostname")[0][1] == "node2"
    assert found(cluster, sort="-reputation")[0] == ALPHA
    with pytest.raises(Refused, match="cannot be sorted"):
        found(cluster, sort="helo")
    page = setting_list.list_page(cluster, Query(page=9), 0.0)
    assert (page.total, page.page, page.pages) == (6, 1, 1)
    assert len(setting_list.matching_ids(cluster, Query((Rule("level", "is not", "default"),)), 0.0)) == 4


def test_an_admin_sees_its_own(cluster):
    seen = setting_list.list_page(cluster, Query(), 0.0, admins=admins.principal(cluster, "ann").admins)
    assert [one.scope for one in seen.rows] == [ANN[0], ALPHA[0], AL[0]]


def test_columns_and_saved_filters(cluster):
    assert setting_list.columns_of(Query()) == list(setting_list.SHOWN)
    assert setting_list.columns_of(Query(columns=("helo", "admin"))) == ["admin", "helo"]
    with pytest.raises(Refused, match="no column"):
        setting_list.columns_of(Query(columns=("x",)))
    query = Query((Rule("domain", "is", "<b>"),), "any", "-changed", 1, 50, ("admin",))
    queries.save_filter(cluster, "ann", "ips", "mine", Query())
    queries.save_filter(cluster, "ann", "ips", "mine", query)
    queries.save_filter(cluster, "ann", "ips", queries.LAST, Query())
    assert queries.saved_filters(cluster, "ann", "ips") == {queries.LAST: Query(), "mine": query}
    assert queries.saved_filters(cluster, "bob", "ips") == {}
    queries.remove_filter(cluster, "ann", "ips", "mine")
    with pytest.raises(Refused, match="no filter"):
        queries.remove_filter(cluster, "ann", "ips", "mine")
    for bad in ({"rules": 1}, {"rules": [["x"], [1, 2, 3, 4]]}, {"match": "one"}, {"per_page": 7}, {"page": "x"}):
        with pytest.raises(Refused):
            queries.query_of(bad)


def exported(database):
    return setting_sheet.export([one.row for one in in_force.list_settings(database)])


def test_csv_goes_out_and_in(cluster):
    text = exported(cluster)
    assert text.splitlines()[0] == "level,admin,domain,username,identity,hostname,ipv4,ipv6,ipv4_disabled"
    assert f"domain,,alpha.example,,,{NODE2},192.0.2.21;192.0.2.22,2001:db8::2,0" in text.splitlines()
    assert [one.outcome for one in setting_sheet.load(cluster, ROOT, text.encode())] == ["unchanged"] * 4
    settings.remove(cluster, ROOT, setting_list.matching_ids(cluster, Query(), 0.0))
    look = setting_sheet.load(cluster, ROOT, text.encode(), only_look=True)
    assert [one.outcome for one in look] == ["added"] * 4 and in_force.list_settings(cluster) == []
    assert [one.outcome for one in setting_sheet.load(cluster, ROOT, text.encode())] == ["added"] * 4
    assert sorted(exported(cluster).splitlines()) == sorted(text.splitlines())


def test_csv_guards_formulas_and_tells_of_each_line(cluster):
    settings.set_interfaces(
        cluster, ROOT, domain="alpha.example", identity="=cmd()", filtering_host=NODE1, interfaces="0.0.0.0"
    )
    assert "'=cmd()" in exported(cluster)
    assert {one.outcome for one in setting_sheet.load(cluster, ROOT, exported(cluster).encode())} == {"unchanged"}
    text = f"""level,admin,domain,hostname,ipv4,ipv6,ipv4_disabled
domain,,beta.example,{NODE1},192.0.2.99,,0
domain,,gamma.example,{NODE1},192.0.2.11,,0
domain,,alpha.example,{NODE2},2001:db8::2,,0
default,,,{NODE2},,2001:db8::2,yes
user,,alpha.example,{NODE2},192.0.2.21,,0
domain,,alpha.example
"""
    lines = setting_sheet.load(cluster, ROOT, text.encode())
    assert [(one.line, one.outcome) for one in lines] == [
        (2, "added"), (3, "failed"), (4, "failed"), (5, "changed"), (6, "failed"), (7, "failed")
    ]  # fmt: skip
    assert "192.0.2.99 is not an address of" in lines[0].text and lines[1].text == "domain 'gamma.example' does not exist"
    assert "is not an IPv4 address" in lines[2].text and "wants a username" in lines[4].text
    for bad in (b"", b"a,b,hostname\n", b"\xff"):
        with pytest.raises(Refused):
            setting_sheet.load(cluster, ROOT, bad)


def told(database, **arguments):
    with database.read() as session:
        seen = picture.read(session)
    return explain.explain(database, seen, now=0.0, **arguments)


def test_explain(cluster):
    found = told(cluster, node=NODE1, family=4, domain="alpha.example", username="AL_", identity="x")
    assert (found.kind, found.address) == ("address", "192.0.2.11")
    assert [(one.level, one.wins) for one in found.steps] == [("identity", False), ("user", True)]
    with cluster.change(ROOT, "suspend") as change:
        change.add(tables.Suspension(address="192.0.2.11", node="", until=60.0, reason="blocked", by="x"))
    found = told(cluster, node=NODE1, family=4, domain="alpha.example", username="al_")
    assert (found.kind, found.address, found.fell_back) == ("automatic", "198.51.100.1", True)
    assert found.steps[0].candidates == (explain.Candidate("192.0.2.11", "suspended: blocked"),)
    assert not any(one.wins for one in found.steps)
    found = told(cluster, node=NODE2, family=4, domain="beta.example", identity="NEWS")
    assert found.kind == "disabled" and found.steps[-1].wins
    assert told(cluster, node=NODE2, family=6).kind == "automatic"
    for bad in ({"node": "x", "family": 4}, {"node": NODE1, "family": 5}, {"node": NODE1, "family": 4, "username": "x"}):
        with pytest.raises(Refused):
            told(cluster, **bad)


HASH = "$argon2id$v=19$m=19456,t=2,p=1$MDEyMzQ1Njc4OWFiY2RlZg$3bVw2G0gqXH0iX0d5mFzWm2o2dW1k9mXcM3o5b9Ucb4"


def test_the_use_of_a_settings_addresses(cluster, clock):
    tally = Tally(clock)
    for address, times in (("192.0.2.21", 2), ("192.0.2.22", 1), ("198.51.100.1", 1)):
        for _ in range(times):
            tally.attempted(address, "mx.example.org", [(Reply(250, None, ("ok",)), "EOD")])
    counts = tally.take()
    used_at = clock.time()
    activity.keep(cluster, NODE2, counts)
    activity.keep(cluster, NODE1, counts)
    clock.advance(60)
    for sort in ("-deliveries_24h", "-last_used"):
        rows = setting_list.list_page(cluster, Query(sort=sort), clock.time()).rows
        used = [(one.scope, one.hostname, one.deliveries_24h) for one in rows if one.deliveries_24h]
        assert sorted(used) == [("default", NODE1, 1), ("domain alpha.example", NODE2, 3)]
        assert {one.last_used_at for one in rows[:2]} == {used_at} and rows[2].last_used_at is None

"""Section C: which address a message leaves from, level by level."""

from __future__ import annotations

import math
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hslpy.egress.rules.book import PRIMARY, Book, Node, Scope, Sender, Setting, scope_of
from hslpy.egress.rules.choice import Availability, Policies, choose, pick, pick_weighted

NODE = Node("node2.example.net", "192.0.2.1", "2001:db8::1")
P = Policies()
SCOPES = (
    scope_of("default"),
    scope_of("admin", admin="top"),
    scope_of("admin", admin="reseller"),
    scope_of("domain", domain="example.com"),
    scope_of("user", domain="example.com", username="bob"),
    scope_of("identity", domain="example.com", username="bob", identity="news"),
)
BOB = Sender("example.com", "bob", "news")


def book(*settings: Setting) -> Book:
    return Book(
        {(one.scope, one.node): one for one in settings},
        {NODE.name: NODE},
        admin_of={"example.com": "reseller"},
        parent_of={"reseller": "top", "top": "reseller"},
        main_domain_of={"alias.example": "example.com"},
    )


def row(scope: Scope, *addresses: str, node: str = NODE.name, disabled: bool = False, strict: bool = False) -> Setting:
    families = {6: tuple(one for one in addresses if ":" in one), 4: tuple(one for one in addresses if ":" not in one)}
    return Setting(scope, node, families[4], families[6], disabled, strict)


def chosen(settings: Book, sender: Sender = BOB, family: int = 4, key: bytes = b"m", **more: object):
    return choose(settings, NODE.name, sender, family, key, more.pop("exceptions", {}), more.pop("policies", P), **more)


def test_without_settings_the_primary_is_bound_for_ipv4_and_the_system_chooses_for_ipv6():
    assert (chosen(book()).kind, chosen(book()).address) == ("automatic", "192.0.2.1")
    assert (chosen(book(), family=6).kind, chosen(book(), family=6).address) == ("automatic", "")
    assert chosen(book(), family=6, policies=Policies(auto_ipv6="primary")).address == "2001:db8::1"


@pytest.mark.parametrize("level", range(len(SCOPES)))
def test_the_most_specific_level_wins(level):
    rows = [row(scope, f"198.51.100.{number}") for number, scope in enumerate(SCOPES[: level + 1])]
    decision = chosen(book(*rows))
    assert decision.address == f"198.51.100.{level}"
    assert decision.ladder[-1].scope == SCOPES[level] and len(decision.ladder) == len(SCOPES) - level


def test_rows_of_other_nodes_and_senders_do_not_count():
    other = scope_of("user", domain="example.com", username="ann")
    settings = book(row(SCOPES[4], "198.51.100.9", node="node1.example.net"), row(other, "198.51.100.8"))
    assert chosen(settings).kind == "automatic"
    assert chosen(settings, Sender("example.com", "ann")).address == "198.51.100.8"
    assert chosen(book(row(SCOPES[5], "198.51.100.5")), Sender("example.com", "bob")).kind == "automatic"
    assert chosen(book(row(SCOPES[3], "198.51.100.5")), Sender()).kind == "automatic"  # what the node itself sends


def test_names_compare_without_case_and_an_alias_is_its_domain():
    settings = book(row(scope_of("user", domain="Example.COM.", username="BOB"), "198.51.100.4"))
    assert chosen(settings, Sender("alias.example", "bob")).address == "198.51.100.4"


def test_the_winning_row_decides_for_both_families():
    settings = book(row(SCOPES[0], "2001:db8::9", "198.51.100.1"), row(SCOPES[4], "198.51.100.4"))
    assert chosen(settings, family=6).kind == "automatic"
    assert chosen(settings, family=6, policies=Policies(missing_family="inherit")).address == "2001:db8::9"


def test_an_explicit_primary_ends_the_search():
    settings = book(row(SCOPES[0], "198.51.100.1"), row(SCOPES[4], PRIMARY[4]))
    assert (chosen(settings).kind, chosen(settings).address) == ("primary", "192.0.2.1")


def test_ipv4_is_switched_off_by_the_row_that_wins():
    settings = book(row(SCOPES[3], "2001:db8::9", disabled=True))
    assert chosen(settings).kind == "disabled"
    assert chosen(settings, family=6).address == "2001:db8::9"
    assert chosen(book(*settings.settings.values(), row(SCOPES[4], "198.51.100.4"))).address == "198.51.100.4"


def test_an_address_that_cannot_be_used_is_passed_over_and_then_the_level():
    settings = book(row(SCOPES[0], "198.51.100.1"), row(SCOPES[3], "198.51.100.3", "198.51.100.33"))
    gone = Availability("not on this server")
    decision = chosen(settings, exceptions={"198.51.100.3": gone})
    assert (decision.address, decision.fell_back) == ("198.51.100.33", False)
    decision = chosen(settings, exceptions={"198.51.100.3": gone, "198.51.100.33": gone})
    assert (decision.address, decision.fell_back) == ("198.51.100.1", True)
    assert [look.finding for look in decision.ladder[2].looks] == ["not on this server"] * 2
    decision = chosen(settings, exceptions=dict.fromkeys(("198.51.100.1", "198.51.100.3", "198.51.100.33"), gone))
    assert (decision.kind, decision.address, decision.fell_back) == ("automatic", "192.0.2.1", True)


def test_a_strict_row_keeps_its_mail():
    settings = book(row(SCOPES[0], "198.51.100.1"), row(SCOPES[3], "198.51.100.3", strict=True))
    decision = chosen(settings, exceptions={"198.51.100.3": Availability("suspended", again_at=500.0)})
    assert (decision.kind, decision.again_at) == ("hold", 500.0)


@pytest.mark.parametrize(
    ("overflow", "kind", "address"),
    [("next_level", "address", "198.51.100.1"), ("hold", "hold", ""), ("ignore", "address", "198.51.100.3")],
)
def test_overflow_when_all_are_warming(overflow, kind, address):
    settings = book(row(SCOPES[0], "198.51.100.1"), row(SCOPES[3], "198.51.100.3"))
    closed = {"198.51.100.3": Availability("its window opens at 09:00", warming=True, again_at=900.0)}
    decision = chosen(settings, exceptions=closed, policies=Policies(overflow=overflow))
    assert (decision.kind, decision.address) == (kind, address)
    assert decision.again_at == (900.0 if kind == "hold" else math.inf)


def test_a_message_keeps_its_address_and_leaves_one_that_was_refused():
    pool = tuple(f"198.51.100.{n}" for n in range(5))
    settings = book(row(SCOPES[0], *pool))
    for number in range(200):
        key = b"%d" % number
        first = chosen(settings, key=key).address
        assert first == chosen(settings, key=key).address
        second = chosen(settings, key=key, avoid=(first,)).address
        assert second != first
        assert chosen(settings, key=key, exceptions={second: Availability("suspended")}).address == first
        assert chosen(settings, key=key, exceptions={first: Availability("suspended")}).address == second
    only = book(row(SCOPES[0], pool[0]))
    assert chosen(only, avoid=pool).address == pool[0]  # there is no other


def test_sticky_pools_keep_a_domain_together():
    settings = book(row(SCOPES[0], *(f"198.51.100.{n}" for n in range(5))))
    sticky = Policies(pool="sticky")
    assert len({chosen(settings, key=b"%d" % n, policies=sticky).address for n in range(50)}) == 1


def test_a_pool_is_spread_evenly_and_warming_addresses_have_their_share():
    pool = tuple(f"198.51.100.{n}" for n in range(4))
    even = Counter(pick(pool, b"%d" % n) for n in range(8000))
    assert all(1850 < even[address] < 2150 for address in pool)
    weights = dict(zip(pool, (1.0, 1.0, 0.9, 0.9), strict=True))
    shares = Counter(pick_weighted(weights, b"%d" % n, (), 0.25) for n in range(8000))
    assert 1850 < shares[pool[2]] + shares[pool[3]] < 2150
    alone = Counter(pick_weighted({pool[2]: 0.9, pool[3]: 0.9}, b"%d" % n, (), 0.25) for n in range(1000))
    assert alone.total() == 1000


addresses4 = st.integers(1, 40).map(lambda n: f"198.51.100.{n}")
addresses6 = st.integers(1, 40).map(lambda n: f"2001:db8:1::{n}")
rows = st.builds(
    row,
    st.sampled_from(SCOPES),
    st.one_of(addresses4, st.just(PRIMARY[4])),
    addresses6,
    node=st.sampled_from([NODE.name, "node1.example.net"]),
    disabled=st.booleans(),
)
senders = st.sampled_from([BOB, Sender("example.com", "bob"), Sender("example.com"), Sender("other.example", "x"), Sender()])


@given(st.lists(rows, max_size=8), senders, st.sampled_from([4, 6]), st.binary(max_size=8), st.sets(addresses4))
def test_invariants(settings, sender, family, key, out):
    exceptions = {address: Availability("out") for address in out}
    policies = Policies(missing_family="inherit")
    here = book(*settings)
    decision = chosen(here, sender, family, key, exceptions=exceptions, policies=policies)
    assert decision == chosen(here, sender, family, key, exceptions=exceptions, policies=policies)
    allowed = {address for one in here.settings.values() if one.node == NODE.name for address in one.addresses(family)}
    assert decision.address in {*allowed, NODE.primary(family), ""} - out
    scopes = list(here.scopes(sender))
    if decision.kind == "address" and not decision.fell_back:  # a less specific row changes nothing
        won = scopes.index(decision.ladder[-1].scope)
        for scope in scopes[won + 1 :]:
            more = book(*here.settings.values(), row(scope, "203.0.113.7", "2001:db8:2::7"))
            assert chosen(more, sender, family, key, exceptions=exceptions, policies=policies).address == decision.address
    if family == 6:  # what is set for IPv4 does not count
        without = book(*(Setting(one.scope, one.node, (), one.ipv6) for one in here.settings.values()))
        assert chosen(without, sender, 6, key, policies=policies).address == decision.address


def test_a_level_wants_its_parts():
    for level, parts in (
        ("admin", {}),
        ("domain", {"username": "x"}),
        ("user", {"domain": "d.example"}),
        ("default", {"admin": "a"}),
    ):
        with pytest.raises(ValueError):
            scope_of(level, **parts)
    assert scope_of("identity", domain="d.example", identity=" News ") == Scope("identity", "", "d.example", "", "news")

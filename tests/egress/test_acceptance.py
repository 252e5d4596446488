"""Sections C and D of the specification of delivery IPs: an oracle made of its pseudo-code, and its numbers."""

from __future__ import annotations

import itertools
import math
from collections import Counter
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hslpy.egress.rules.book import Book, Node, Sender, Setting, scope_of
from hslpy.egress.rules.choice import Availability, Policies, choose
from hslpy.egress.rules.warmup import Plan, hourly_limit, hours_on, window_at

NODES = ("node1.example.net", "node2.example.net")
DOMAINS = ("a.example", "b.example")
ADMINS = ("ann", "boss", "carl")
USERS = ("", "bob", "zoe")
IDENTITIES = ("news", "bills@a.example")
ADDRESSES = {4: tuple(f"192.0.2.{one}" for one in range(1, 7)), 6: tuple(f"2001:db8::{one}" for one in range(1, 7))}
TOKEN = {4: "0.0.0.0", 6: "::0"}
GONE = Availability(reason="not on this server")
CLOSED = Availability(reason="its window is closed", warming=True, again_at=5000.0)
WARMING = Availability(weight=0.5)

scopes = st.one_of(
    st.just(scope_of("default")),
    st.builds(lambda admin: scope_of("admin", admin=admin), st.sampled_from(ADMINS)),
    st.builds(lambda domain: scope_of("domain", domain=domain), st.sampled_from(DOMAINS)),
    st.builds(lambda d, u: scope_of("user", domain=d, username=u), st.sampled_from(DOMAINS), st.sampled_from(USERS[1:])),
    st.builds(
        lambda d, u, i: scope_of("identity", domain=d, username=u, identity=i),
        *map(st.sampled_from, (DOMAINS, USERS, IDENTITIES)),
    ),
)


def lists(family):
    chosen = st.lists(st.sampled_from(ADDRESSES[family]), unique=True, max_size=4).map(tuple)
    return st.one_of(st.just(()), st.just((TOKEN[family],)), chosen, chosen)


@st.composite
def books(draw):
    rows = {}
    for scope, node in draw(st.lists(st.tuples(scopes, st.sampled_from(NODES)), unique=True, max_size=12)):
        disabled = draw(st.booleans()) and draw(st.booleans())
        rows[scope, node] = Setting(
            scope, node, () if disabled else draw(lists(4)), draw(lists(6)), disabled, draw(st.integers(0, 3)) == 0
        )
    nodes = {name: Node(name, f"198.51.100.{at}", f"2001:db8:f::{at}") for at, name in enumerate(NODES, 1)}
    parents = draw(st.dictionaries(st.sampled_from(ADMINS), st.sampled_from(ADMINS)))
    admin_of = draw(st.dictionaries(st.sampled_from(DOMAINS), st.sampled_from(ADMINS)))
    return Book(rows, nodes, admin_of, parents, {"alias.example": DOMAINS[0]})


senders = st.one_of(
    st.just(Sender()),
    st.builds(Sender, *map(st.sampled_from, (DOMAINS, USERS, ("", *IDENTITIES)))),
)
exceptions = st.dictionaries(st.sampled_from(ADDRESSES[4] + ADDRESSES[6]), st.sampled_from((GONE, CLOSED, WARMING)))
keys = st.binary(min_size=1, max_size=8)
policies = st.builds(
    Policies,
    st.sampled_from(("auto", "inherit")),
    st.sampled_from(("any", "primary")),
    st.sampled_from(("next_level", "hold", "ignore")),
)


def levels(book, sender):
    """LEVELS(m) of C2."""
    if sender.domain and sender.identity:
        yield scope_of("identity", domain=sender.domain, username=sender.username, identity=sender.identity)
    if sender.domain and sender.username:
        yield scope_of("user", domain=sender.domain, username=sender.username)
    if sender.domain:
        yield scope_of("domain", domain=sender.domain)
        seen, admin = set(), book.admin_of.get(sender.domain)
        while admin and admin not in seen:
            seen.add(admin)
            yield scope_of("admin", admin=admin)
            admin = book.parent_of.get(admin)
    yield scope_of("default")


def oracle(book, node, sender, family, away, policy):
    """resolve(...) of C2, with C4 and D5: the kind of the decision, and what may be bound by it."""
    here = book.nodes[node]
    primary = here.primary_ipv4 if family == 4 else here.primary_ipv6
    automatic = ("automatic", {primary if family == 4 or policy.auto_ipv6 == "primary" else ""})
    for scope in levels(book, sender):
        row = book.settings.get((scope, node))
        if row is None:
            continue
        if family == 4 and row.ipv4_disabled:
            return "disabled", {""}
        ips = row.ipv4 if family == 4 else row.ipv6
        if not ips:
            if policy.missing_family == "inherit":
                continue
            return automatic
        if ips == (TOKEN[family],):
            return "primary", {primary}
        ok = {one for one in ips if not away.get(one, Availability()).reason}
        if ok:
            return "address", ok
        closed = {one for one in ips if away[one].warming}
        if closed and policy.overflow == "ignore":
            return "address", closed
        if closed and policy.overflow == "hold":
            return "hold", {""}
        if row.strict:
            return "hold", {""}
    return automatic


@settings(max_examples=300, deadline=None)
@given(
    books(),
    st.sampled_from(NODES),
    senders,
    st.sampled_from((4, 6)),
    st.binary(min_size=1, max_size=8),
    exceptions,
    policies,
)
def test_the_choice_is_the_pseudo_code(book, node, sender, family, key, away, policy):
    kind, may = oracle(book, node, sender, family, away, policy)
    found = choose(book, node, sender, family, key, away, policy)
    assert (found.kind, found.address in may) == (kind, True), (found, may)
    assert choose(book, node, sender, family, key, away, policy) == found, "the same message, the same address"


@settings(max_examples=150, deadline=None)
@given(books(), st.sampled_from(NODES), st.sampled_from((4, 6)), exceptions, st.data())
def test_a_less_specific_row_changes_nothing(book, node, family, away, data):
    """C5: for a sender with a more specific row, whose row could be followed."""
    sender = data.draw(st.builds(Sender, *map(st.sampled_from, (DOMAINS, USERS[1:], IDENTITIES))))
    ladder = list(levels(book, sender))
    at = data.draw(st.integers(0, len(ladder) - 2))
    own = Setting(ladder[at], node, data.draw(lists(4)), data.draw(lists(6)))
    rows = {**book.settings, (ladder[at], node): own}
    less = ladder[data.draw(st.integers(at + 1, len(ladder) - 1))]

    def ask(rows):
        changed = Book(rows, book.nodes, book.admin_of, book.parent_of, book.main_domain_of)
        return choose(changed, node, sender, family, b"key", away, Policies())

    before = ask(rows)
    after = ask({**rows, (less, node): Setting(less, node, data.draw(lists(4)), data.draw(lists(6)))})
    assert before.fell_back or (after.kind, after.address) == (before.kind, before.address)


@settings(max_examples=150, deadline=None)
@given(books(), st.sampled_from(NODES), senders, st.sampled_from((4, 6)), exceptions, policies)
def test_rows_of_another_node_or_family_have_no_part(book, node, sender, family, away, policy):
    """C1: rows are per node. C5: IPv4 rows never affect IPv6 with `inherit`; without rows it is the primary."""

    def of(rows, policy):
        found = choose(Book(rows, book.nodes, book.admin_of, book.parent_of), node, sender, family, b"key", away, policy)
        return found.kind, found.address

    rows = dict(book.settings)
    assert of(rows, policy) == of({at: row for at, row in rows.items() if at[1] == node}, policy)
    if policy.missing_family == "inherit":
        if family == 6:
            bare = {at: Setting(at[0], at[1], (), row.ipv6, False, row.strict) for at, row in rows.items()}
        else:
            bare = {at: Setting(at[0], at[1], row.ipv4, (), row.ipv4_disabled, row.strict) for at, row in rows.items()}
        assert of(rows, policy) == of(bare, policy)
    wanted = (
        book.nodes[node].primary_ipv4 if family == 4 else "" if policy.auto_ipv6 == "any" else book.nodes[node].primary_ipv6
    )
    assert of({}, policy) == ("automatic", wanted)


def pool(addresses, away=(), policy=None, messages=4000, sender=None, avoid=()):
    book = Book(
        {(scope_of("default"), NODES[0]): Setting(scope_of("default"), NODES[0], tuple(addresses))},
        {NODES[0]: Node(NODES[0], "198.51.100.1")},
    )
    asked = (sender or Sender("a.example"), 4)
    return Counter(
        choose(book, NODES[0], *asked, f"message {one}".encode(), dict(away), policy or Policies(), avoid).address
        for one in range(messages)
    )


@pytest.mark.parametrize("count", [2, 3, 7, 20, 64])
def test_random_in_the_pool(count):
    """C4: uniform at random by default; a chi-squared of five deviations at most."""
    messages, addresses = 200 * count, [f"192.0.2.{one}" for one in range(count)]
    found = pool(addresses, messages=messages)
    assert set(found) == set(addresses)
    chi = sum((found[one] - 200) ** 2 / 200 for one in addresses)
    assert chi < (count - 1) + 5 * math.sqrt(2 * (count - 1))


def test_another_is_taken_only_while_the_address_is_unusable():
    """C4: kept for its retries, re-picked only if the address became unusable."""
    addresses = [f"192.0.2.{one}" for one in range(1, 6)]
    book = Book(
        {(scope_of("default"), NODES[0]): Setting(scope_of("default"), NODES[0], tuple(addresses))},
        {NODES[0]: Node(NODES[0], "198.51.100.1")},
    )
    for number in range(300):
        key = f"message {number}".encode()
        first = choose(book, NODES[0], Sender(), 4, key, {}, Policies()).address
        for lost in addresses:
            now = choose(book, NODES[0], Sender(), 4, key, {lost: GONE}, Policies()).address
            assert (now == first) if lost != first else (now in addresses and now != first)
            avoided = choose(book, NODES[0], Sender(), 4, key, {}, Policies(), [lost]).address
            assert (avoided == first) if lost != first else (avoided in addresses and avoided != first)
    assert set(pool(["192.0.2.1"], avoid=["192.0.2.1"])) == {"192.0.2.1"}, "the only one, though it was refused before"


def test_sticky_keeps_a_domain_on_one_address():
    policy = Policies(pool="sticky")
    chosen = [
        set(pool([f"192.0.2.{one}" for one in range(9)], (), policy, 30, Sender(f"d{at}.example"))) for at in range(60)
    ]
    assert all(len(one) == 1 for one in chosen) and len(set.union(*chosen)) == 9


@pytest.mark.parametrize(("warm", "warming"), [(1, 1), (1, 3), (3, 1), (8, 2)])
def test_warming_addresses_have_a_quarter_at_most(warm, warming):
    """D5.2: `max_share` keeps at least 75 % on warm addresses when both kinds exist."""
    of_warm, of_warming = [f"192.0.2.{one}" for one in range(warm)], [f"192.0.2.{100 + one}" for one in range(warming)]
    found = pool(of_warm + of_warming, [(one, Availability(weight=0.999)) for one in of_warming])
    share = sum(found[one] for one in of_warming) / 4000
    assert min(0.25, warming / (warm + warming)) - 0.03 < share < 0.28
    alone = pool(of_warming, [(one, Availability(weight=0.999)) for one in of_warming])
    assert set(alone) == set(of_warming)


def test_no_address_left():
    """C4: next level, finally automatic; strict: nothing. D5.3: next level, hold, or send anyway."""
    scope, default = scope_of("domain", domain="a.example"), scope_of("default")
    nodes = {NODES[0]: Node(NODES[0], "198.51.100.1")}

    def ask(availability, policy=None, strict=False, upper=("192.0.2.9",)):
        rows = {
            (scope, NODES[0]): Setting(scope, NODES[0], ("192.0.2.1",), strict=strict),
            (default, NODES[0]): Setting(default, NODES[0], upper),
        }
        away = {"192.0.2.1": availability}
        found = choose(Book(rows, nodes), NODES[0], Sender("a.example"), 4, b"key", away, policy or Policies())
        return found.kind, found.address, found.fell_back

    assert ask(GONE) == ask(CLOSED) == ("address", "192.0.2.9", True)
    assert ask(GONE, upper=()) == ask(CLOSED, upper=()) == ("automatic", "198.51.100.1", True)
    assert ask(GONE, upper=("0.0.0.0",))[:2] == ("primary", "198.51.100.1")
    assert ask(GONE, strict=True)[:2] == ("hold", "")
    assert ask(CLOSED, Policies(overflow="hold"))[:2] == ("hold", "")
    assert ask(CLOSED, Policies(overflow="ignore"))[:2] == ("address", "192.0.2.1")


class TestPlan:
    @pytest.mark.parametrize(
        ("curve", "hours"),
        [
            ("gentle", "1,2,3,5,8,14,24"),
            ("gentle", "1,1,2,3,4,6,8,12,17,24"),
            ("gentle", "1,1,2,2,3,3,4,6,7,9,12,15,19,24"),
            ("linear", "1,5,9,12,16,20,24"),
            ("linear", "1,3,5,6,8,10,12,13,15,17,19,20,22,24"),
        ],
    )
    def test_hours_of_d3(self, curve, hours):
        wanted = [int(one) for one in hours.split(",")]
        assert [hours_on(day, len(wanted), curve) for day in range(1, len(wanted) + 1)] == wanted

    @given(st.integers(2, 60), st.sampled_from(("gentle", "linear")))
    def test_hours_rise(self, days, curve):
        hours = [hours_on(day, days, curve) for day in range(1, days + 1)]
        assert hours[0] == 1 and hours[-1] == 24 and hours == sorted(hours)

    def test_defaults(self):
        plan = Plan(date(2026, 3, 2))
        assert (plan.days, plan.window_start, plan.curve) == (7, time(9), "gentle")

    @given(
        st.integers(0, 23),
        st.sampled_from(("UTC", "Europe/Vienna", "Asia/Kathmandu")),
        st.integers(-30, 11 * 24),
        st.integers(0, 59),
    )
    def test_open_is_start_to_start_plus_hours(self, starts, zone, hour, minute):
        """D3: local time in [start, start+h) modulo 24 h, and a window belongs to the day it began."""
        begin = date(2026, 1, 12)
        plan = Plan(begin, window_start=time(starts), zone=zone)
        local = datetime(2026, 1, 12, tzinfo=ZoneInfo(zone)) + timedelta(hours=hour, minutes=minute)
        wanted = False
        for day, hours in enumerate((1, 2, 3, 5, 8, 14, 24), 1):
            opens = datetime.combine(begin + timedelta(days=day - 1), time(starts), ZoneInfo(zone))
            wanted = wanted or opens <= local < opens + timedelta(hours=hours)
        warm = local.date() >= begin + timedelta(days=7)
        found = window_at(plan, local.astimezone(UTC))
        assert found.is_open == (wanted or warm)
        if local.date() < begin:
            assert not found.is_open

    @pytest.mark.parametrize(("on", "opens_utc"), [(date(2026, 3, 28), 8), (date(2026, 3, 29), 7), (date(2026, 10, 25), 8)])
    def test_windows_are_of_the_clock_on_the_wall(self, on, opens_utc):
        """D3: DST-safe; 09:00 in Vienna is 08:00 UTC in winter and 07:00 in summer."""
        plan = Plan(on, zone="Europe/Vienna")
        begins = datetime.combine(on, time(opens_utc), UTC)
        states = [window_at(plan, begins + timedelta(minutes=one)).is_open for one in (-1, 0, 59, 60)]
        assert states == [False, True, True, False]

    def test_caps_of_d4(self):
        """The published series for days 0 to 13, then unlimited."""
        series = (20, 28, 39, 55, 77, 108, 151, 211, 295, 413, 579, 810, 1000, 1587)
        plan = Plan(date(2026, 3, 2), days=16, hourly=series)
        assert [hourly_limit(plan, day) for day in range(1, 15)] == list(series)
        assert hourly_limit(plan, 15) is hourly_limit(plan, 16) is None


def test_every_ladder():
    """C1: identity, user, domain, the domain's admin and its parents, default; only what the sender has."""
    book = Book(admin_of={"a.example": "ann"}, parent_of={"ann": "boss", "boss": "carl", "carl": "ann"})
    for domain, user, identity in itertools.product(("", "a.example", "b.example"), ("", "bob"), ("", "news")):
        sender = Sender(domain, user, identity)
        if domain or not (user or identity):
            assert list(book.scopes(sender)) == list(levels(book, sender))
    told = [str(one) for one in book.scopes(Sender("a.example", "bob", "news"))]
    who = ["identity a.example/bob/news", "user a.example/bob", "domain a.example"]
    assert told == [*who, "admin ann", "admin boss", "admin carl", "default"]

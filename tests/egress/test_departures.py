"""What one process knows of addresses, and what is kept with a message."""

from __future__ import annotations

from dataclasses import replace

import pytest

from hslpy.clock import ManualClock
from hslpy.egress.rules.book import Book, Node, Sender, Setting, scope_of
from hslpy.egress.rules.choice import USABLE, Availability
from hslpy.egress.traffic import origin
from hslpy.egress.traffic.departures import Departures, NoBounds, shown
from hslpy.egress.traffic.picture import Account, Picture

NODE = "node1.example.net"
BOB = Sender("example.com", "bob")
OFF = "IPv4 delivery is disabled for this sender"
POOL = ("192.0.2.11", "192.0.2.12", "192.0.2.13")


def picture(*settings: Setting, **more) -> Picture:
    more.setdefault("node", Node(NODE, "192.0.2.1", "2001:db8::1"))
    node = more.pop("node")
    book = Book(
        {(one.scope, one.node): one for one in settings}, {NODE: node}, main_domain_of={"alias.example": "example.com"}
    )
    return Picture(1, book, **more)


def user(*addresses: str, **more) -> Setting:
    return Setting(scope_of("user", domain="example.com", username="bob"), NODE, tuple(addresses), **more)


@pytest.fixture
def known():
    clock, log = ManualClock(1_000_000.0), []
    found = Departures("Node1.example.net.", clock, lambda event, fields: log.append((event, fields)))
    found.clock, found.events = clock, log
    found.picture = picture(user(*POOL))
    return found


def test_an_address_that_cannot_be_bound_is_left_out_for_five_minutes(known):
    alarms = []
    known.alarm = lambda *told: alarms.append(told)
    first = known.choose(BOB, 4, b"k").address
    known.cannot_bind(first, "cannot bind it")
    second = known.choose(BOB, 4, b"k").address
    assert {first, second} < set(POOL) and first != second
    assert alarms == [(first, 1_000_300.0, "cannot bind it")]
    assert known.events[-1][0] == "delivery.address_missing" and known.events[-1][1]["level"] == "critical"
    known.clock.advance(299.0)
    assert known.choose(BOB, 4, b"k").address == second
    known.clock.advance(2.0)
    assert known.choose(BOB, 4, b"k").address == first


def test_an_address_that_is_back_can_be_bound_again(known):
    def there(*addresses):
        found = picture(user(*POOL))
        here = replace(found.book.nodes[NODE], addresses=frozenset(addresses))
        return replace(found, book=replace(found.book, nodes={NODE: here}))

    known.picture = there(*POOL)
    first = known.choose(BOB, 4, b"k").address
    known.cannot_bind(first, "cannot bind it")
    known.picture = there(*(one for one in POOL if one != first))
    assert known.choose(BOB, 4, b"k").address != first
    known.picture = there(*POOL)
    assert known.choose(BOB, 4, b"k").address == first


def test_when_all_are_out_the_next_level_is_taken_with_an_alarm(known):
    for address in POOL:
        known.cannot_bind(address, "")
    decision = known.choose(BOB, 4, b"k")
    assert (decision.kind, decision.address, decision.fell_back) == ("automatic", "192.0.2.1", True)
    known.choose(BOB, 4, b"k")
    (fall,) = [fields for event, fields in known.events if event == "delivery.fell_back"]
    assert fall["level"] == "critical" and "192.0.2.11: not on this server" in fall["skipped"]
    known.cannot_bind("192.0.2.1", "")
    assert known.choose(BOB, 4, b"k").address == ""  # the system chooses: mail goes on


def test_suspensions_of_the_picture_end_by_the_clock(known):
    known.picture = picture(user(POOL[0]), suspended=[(POOL[0], NODE, 1_000_060.0, "listed")])
    assert known.choose(BOB, 4, b"k").kind == "automatic"
    assert "192.0.2.11 suspended: listed" in shown(known.choose(BOB, 4, b"k"))
    known.clock.advance(61.0)
    assert known.choose(BOB, 4, b"k").address == POOL[0]


def test_an_address_whose_suspension_is_lifted_is_tried_again(known):
    known.picture = picture(user(POOL[0]))
    known.cannot_bind(POOL[0], "cannot bind it")
    assert known.choose(BOB, 4, b"k").kind == "automatic"
    known.picture = picture(user(POOL[0]), suspended=[(POOL[0], NODE, 1_000_300.0, "not on this server")])
    assert known.choose(BOB, 4, b"k").kind == "automatic"
    known.picture = picture(user(POOL[0]))
    assert known.choose(BOB, 4, b"k").address == POOL[0]


def test_a_message_stays_with_the_address_that_it_was_tried_from(known):
    for address in POOL:
        assert known.choose(BOB, 4, b"k", kept=address).address == address
        assert known.choose(BOB, 4, b"k", kept=address, avoid={address}).address != address
    assert known.choose(BOB, 4, b"k", kept="192.0.2.99").address == known.choose(BOB, 4, b"k").address


class Warming(NoBounds):
    def __init__(self, **exceptions):
        self.found = exceptions

    def exceptions(self, host, now):
        return self.found


def test_a_patient_message_waits_for_its_address(known):
    closed = Availability("its window opens at 09:00", warming=True, again_at=1_000_900.0)
    known.allowances = Warming()
    known.allowances.found = {POOL[0]: closed}
    decision = known.choose(BOB, 4, b"k", kept=POOL[0], patient=True)
    assert (decision.kind, decision.again_at, decision.strict) == ("hold", 1_000_900.0, False)
    assert known.choose(BOB, 4, b"k", kept=POOL[0]).address in POOL[1:]
    known.allowances.found = {POOL[0]: USABLE}
    assert known.choose(BOB, 4, b"k", kept=POOL[0], patient=True).address == POOL[0]


@pytest.mark.parametrize(
    ("node", "off", "expected"),
    [
        (Node(NODE, "192.0.2.1"), False, {}),
        (
            Node(NODE, "192.0.2.1"),
            True,
            {4: f"{OFF} and the receiver has no IPv6 address"},
        ),
        (
            Node(NODE, "192.0.2.1", ipv6_enabled=False),
            False,
            {6: f"IPv6 is switched off on {NODE} and the receiver has no IPv4 address"},
        ),
        (
            Node(NODE, "192.0.2.1", addresses=frozenset(POOL)),
            False,
            {6: f"{NODE} has no IPv6 address and the receiver has no IPv4 address"},
        ),
        (
            Node(NODE, "192.0.2.1", ipv6_enabled=False),
            True,
            dict.fromkeys((4, 6), f"IPv4 delivery is disabled for this sender and IPv6 is switched off on {NODE}"),
        ),
    ],
)
def test_families_that_are_closed(known, node, off, expected):
    known.picture = picture(user(*([] if off else POOL), ipv4_disabled=off), node=node)
    assert dict(known.closed(BOB)) == expected


def test_whose_message_it_is():
    eve = Account("example.com", "eve", network="198.51.100.0/24")
    seen = picture(
        accounts={("example.com", "bob"): Account("example.com", "bob")},
        networks=[(4, 24, {0xC63364: eve})],
        domains={"example.com": ""},
    )
    assert origin.sender_at(seen, "Bob@alias.example", "198.51.100.7", "other.example") == BOB
    assert origin.sender_at(seen, "", "198.51.100.7", "other.example") == Sender("example.com", "eve")
    assert origin.sender_at(seen, "nobody", "203.0.113.1", "alias.example") == Sender("example.com")
    assert origin.sender_at(seen, "", "203.0.113.1", "other.example") == Sender()
    assert origin.sender_at(seen, "", "203.0.113.1", "", is_null=True) == Sender()
    assert origin.sender_at(seen, "", "", "example.com") == Sender()  # the node's own


def test_what_is_kept_with_a_message():
    fields = origin.fields_of(Sender("example.com", "", "news"))
    assert fields == {"domain": "example.com", "identity": "news"}
    assert origin.sender_of(fields, " Shop ") == Sender("example.com", "", "shop")
    assert origin.sender_of(fields, "x" * 999).identity == "news"
    fields = origin.after(fields, "192.0.2.1", "", "domain example.com: chose 192.0.2.1")
    fields = origin.after(fields, "2001:db8::1", "192.0.2.1", "y")
    assert origin.kept_of(fields) == ("192.0.2.1", "2001:db8::1") and origin.avoided_of(fields) == {"192.0.2.1"}
    assert origin.after(fields, "", "192.0.2.1", "")["avoid"] == "192.0.2.1" and fields["why"] == "y"


def test_which_connections_are_kept(known):
    """Not from an address that is suspended, gone, out of the settings, or unbound; none of a locked node."""
    there = known.picture
    assert all(map(known.keeps, (*POOL, "192.0.2.1", "198.51.100.1")))
    known.picture = replace(there, suspended=[(POOL[0], NODE, 2_000_000.0, "listed")])
    assert [known.keeps(one) for one in POOL] == [False, True, True]
    known.picture = replace(there, absent={NODE: {POOL[1]: Availability("no longer on this server")}})
    assert [known.keeps(one) for one in POOL] == [True, False, True]
    known.picture = picture(user(*POOL[:2]))
    assert [known.keeps(one) for one in POOL] == [True, True, False]
    known.picture = there
    known.cannot_bind(POOL[0], "no such address")
    assert [known.keeps(one) for one in POOL] == [False, True, True]
    known.picture = replace(there, locked_nodes={NODE: "locked"})
    assert not any(map(known.keeps, (*POOL, "192.0.2.1", "198.51.100.1")))

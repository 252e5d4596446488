"""HELO names: set by hand, from reverse DNS against a name server on loopback, else the node's."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import select

from hslpy.clock import ManualClock
from hslpy.egress.addresses import helos, inventory
from hslpy.egress.addresses.helos import KEPT_S, NEVER, Effective, Reversed, Seen, effective, look_up, remember
from hslpy.egress.addresses.interfaces import LocalAddress, Report
from hslpy.egress.addresses.lookups import NONE, Lookup
from hslpy.egress.rules.names import Refused
from hslpy.egress.store.database import Actor, Database
from hslpy.egress.store.tables import Node, Reverse

from .name_server import name_server, reverse

ROOT = Actor("root", "cli")
ADDRESS = "203.0.113.10"
FAILED = Lookup("failed", error="no answer in time")


def found(*records: str) -> Lookup:
    return Lookup("found", records, 3600.0)


def seen(names: Lookup, **forward: Lookup) -> Seen:
    return Seen(names, {name.replace("_", "."): one for name, one in forward.items()})


GOOD = seen(found("out1.example"), out1_example=found(ADDRESS))


def test_the_name_set_wins_then_the_confirmed_one_then_the_node():
    known = remember(NEVER, ADDRESS, GOOD, 1000.0)
    assert effective(ADDRESS, "", known, "n1.example", 1000.0) == Effective(ADDRESS, "out1.example", "ptr", "out1.example")
    assert effective(ADDRESS, "", NEVER, "n1.example", 0.0) == Effective(ADDRESS, "n1.example", "node", "n1.example")
    override = effective(ADDRESS, "x.example", known, "n1.example", 1000.0)
    assert (override.helo, override.origin) == ("x.example", "set")
    assert override.warnings == ("not the default value (default: out1.example)",)
    assert effective(ADDRESS, "", known, "n1.example", 1000.0).warnings == ()


def test_trouble_keeps_the_last_good_name_for_72_hours():
    known = remember(NEVER, ADDRESS, GOOD, 0.0)
    later = remember(known, ADDRESS, seen(FAILED), KEPT_S)
    assert later.name(KEPT_S) == "out1.example" and later.error == "no answer in time" and later.names == ("out1.example",)
    assert later.name(KEPT_S + 1) == ""
    assert remember(later, ADDRESS, GOOD, KEPT_S + 2).name(KEPT_S + 2) == "out1.example"
    half = remember(known, ADDRESS, seen(found("out1.example"), out1_example=FAILED), 100.0)
    assert half.name(100.0) == "out1.example" and half.confirmed_at == 0.0 and half.error


@pytest.mark.parametrize(
    "now",
    [
        seen(NONE),
        seen(found("out1.example"), out1_example=NONE),
        seen(found("out1.example"), out1_example=found("203.0.113.9")),
        seen(found("out2.example"), out2_example=FAILED),
    ],
)
def test_a_name_that_is_gone_or_leads_elsewhere_is_given_up_at_once(now):
    known = remember(NEVER, ADDRESS, GOOD, 0.0)
    assert remember(known, ADDRESS, now, 10.0).name(10.0) == ""


@pytest.mark.parametrize("name", ["out_1.example", "localhost", "-a.example", "a.1", "x" * 64 + ".example"])
def test_a_name_that_is_no_legal_one_is_never_used(name):
    assert remember(NEVER, ADDRESS, Seen(found(name), {name: found(ADDRESS)}), 0.0).name(0.0) == ""


def test_of_several_names_the_one_before_stays():
    two = seen(found("a.example", "out1.example"), a_example=found(ADDRESS), out1_example=found(ADDRESS))
    assert remember(NEVER, ADDRESS, two, 0.0).confirmed == "a.example"
    after = remember(remember(NEVER, ADDRESS, GOOD, 1.0), ADDRESS, two, 2.0)
    assert after.confirmed == "out1.example" and after.changed_at == 2.0
    assert remember(after, ADDRESS, two, 3.0).changed_at == 2.0


NAMES = st.sampled_from(["a.example", "b.example", "bad_name.example", "single"])
LOOKUPS = st.one_of(st.just(NONE), st.just(FAILED), st.sampled_from([found(ADDRESS), found("192.0.2.1")]))


@given(
    st.lists(
        st.tuples(
            st.one_of(
                st.just(NONE), st.just(FAILED), st.builds(lambda names: found(*sorted(names)), st.sets(NAMES, min_size=1))
            ),
            st.dictionaries(NAMES, LOOKUPS),
            st.floats(1.0, KEPT_S),
        )
    )
)
def test_the_name_in_use_was_confirmed_within_72_hours(steps):
    known, now, confirmed = NEVER, 0.0, {}
    for names, forward, wait_s in steps:
        now += wait_s
        known = remember(known, ADDRESS, Seen(names, forward), now)
        for name in names.records:
            if ADDRESS in forward.get(name, NONE).records:
                confirmed[name] = now
        name = known.name(now)
        if name:
            assert name in ("a.example", "b.example") and now - confirmed[name] <= KEPT_S
        if names.state == "none":
            assert name == ""
        assert isinstance(known, Reversed) and known.checked_at == now


def test_what_dns_says():
    zone = {
        **reverse(ADDRESS, "Out1.Example", "out_2.example"),
        **reverse("2001:db8::5", "six.example"),
        "out1.example": {"A": [ADDRESS, "203.0.113.11"], "AAAA": ["2001:db8::1"]},
        "six.example": {"AAAA": ["2001:db8:0::5"]},
        "10.2.0.192.in-addr.arpa": {"PTR": "SERVFAIL"},
        "11.2.0.192.in-addr.arpa": {"PTR": "SILENT"},
    }

    async def main():
        async with name_server(zone) as (_, resolver):
            one = await look_up(resolver, ADDRESS, "other.example")
            assert one.names == Lookup("found", ("out1.example", "out_2.example"), 3600.0)
            assert one.forward == {
                "out1.example": Lookup("found", (ADDRESS, "203.0.113.11"), 3600.0),
                "out_2.example": NONE,
                "other.example": NONE,
            }
            six = await look_up(resolver, "2001:db8::5")
            assert remember(NEVER, "2001:db8::5", six, 0.0).confirmed == "six.example"
            assert (await look_up(resolver, "192.0.2.9")).names == NONE
            for trouble in ("192.0.2.10", "192.0.2.11"):
                asked = await look_up(resolver, trouble, deadline_s=60.0)
                assert asked.names.state == "failed" and asked.names.error
            assert (await look_up(resolver, "192.0.2.11", deadline_s=0.01)).names.error.endswith("within 0.01 s")

    asyncio.run(main())


# ---- what is kept ---------------------------------------------------------------------------------


@pytest.fixture
def clock():
    return ManualClock()


@pytest.fixture
def database(database_url, clock):
    database = Database(database_url, clock)
    database.open()
    with database.change(ROOT, "x") as change:
        change.add_all([Node(name="n1.example"), Node(name="n2.example")])
    with database.keep() as session:
        inventory.keep(session, Report("n2.example", (LocalAddress(ADDRESS, "eth0"), LocalAddress("10.0.0.5", "eth0"))))
    yield database
    database.close()


def set_helo(database, address, helo, **more):
    with database.change(ROOT, "helo set") as change:
        return helos.set_helo(change, address, helo, **more)


def get_helo(database, clock, address, **more):
    with database.read() as session:
        return helos.get_helo(session, address, clock.time(), **more)


def test_set_get_list_and_remove(database, clock):
    assert get_helo(database, clock, ADDRESS) == Effective(ADDRESS, "n2.example", "node", "n2.example")
    assert get_helo(database, clock, "192.0.2.200").helo == "n1.example"  # nobody's
    assert set_helo(database, " 203.0.113.10 ", "Out1.Demo-Domain.invalid.") == ()
    assert get_helo(database, clock, ADDRESS) == Effective(ADDRESS, "out1.demo-domain.invalid", "set", "n2.example")
    assert get_helo(database, clock, ADDRESS, direction="incoming").origin == "node"
    set_helo(database, ADDRESS, "in.example", direction="incoming")
    set_helo(database, "2001:DB8::0:5", "six.example")
    with database.read() as session:
        outgoing = [(one.address, one.helo) for one in helos.list_helos(session, clock.time())]
        incoming = [(one.address, one.helo) for one in helos.list_helos(session, clock.time(), direction="incoming")]
    assert outgoing == [("2001:db8::5", "six.example"), (ADDRESS, "out1.demo-domain.invalid")]
    assert incoming == [(ADDRESS, "in.example")]
    assert set_helo(database, ADDRESS, "") == () and set_helo(database, ADDRESS, "") == ()
    assert get_helo(database, clock, ADDRESS).origin == "node"


@pytest.mark.parametrize(
    ("address", "helo", "message"),
    [
        ("0.0.0.0", "a.example", "'0.0.0.0' cannot be used as a source address (unspecified)"),
        ("::0", "a.example", "'::0' cannot be used as a source address (unspecified)"),
        ("1.2.3", "a.example", "'1.2.3' is not an IP address"),
        ("0.0.0.0", "", "'0.0.0.0' cannot be used as a source address (unspecified)"),
        (
            ADDRESS,
            "out_1.example.com",
            "'out_1.example.com' is not a valid HELO name: underscore is not allowed (RFC 5321 section 4.1.2)",
        ),
    ],
)
def test_what_is_refused(database, address, helo, message):
    with pytest.raises(Refused) as caught:
        set_helo(database, address, helo)
    assert caught.value.message == message


def test_what_receivers_may_dislike_is_told(database):
    zone = {
        **reverse(ADDRESS, "ptr.example"),
        "good.example": {"A": [ADDRESS]},
        "ptr.example": {"A": [ADDRESS]},
        "shaky.example": {"*": "SERVFAIL"},
    }

    async def main():
        async with name_server(zone) as (_, resolver):
            return [
                await helos.look_before(resolver, ADDRESS, helo)
                for helo in ("ptr.example", "good.example", "Bad.example", "shaky.example", "[203.0.113.10]", "")
            ]

    ptr, good, bad, shaky, literal, nothing = asyncio.run(main())
    assert literal is None and nothing is None
    not_ptr = f"is not the reverse DNS name (PTR) of {ADDRESS}, which is: ptr.example"
    assert set_helo(database, ADDRESS, "ptr.example", seen=ptr) == ()
    assert set_helo(database, ADDRESS, "good.example", seen=good) == (f"good.example {not_ptr}",)
    assert set_helo(database, ADDRESS, "Bad.example", seen=bad) == (
        f"bad.example does not resolve to {ADDRESS}",
        f"bad.example {not_ptr}",
    )
    first, second = set_helo(database, ADDRESS, "shaky.example", seen=shaky)
    assert (
        first.startswith(f"whether shaky.example resolves to {ADDRESS} is not known: ")
        and second == f"shaky.example {not_ptr}"
    )
    assert set_helo(database, ADDRESS, "[203.0.113.10]") == ("receivers trust a HELO that is an address less than a name",)
    assert set_helo(database, ADDRESS, "bücher.example") == ("written as xn--bcher-kva.example",)


def test_a_helo_below_or_of_a_server_is_told_though_dns_has_no_objection(database):
    below = "'out.n1.example' lies below the server name n1.example. Use another name."
    assert set_helo(database, ADDRESS, "out.N1.example") == (below,)
    assert set_helo(database, ADDRESS, "n2.example") == ("'n2.example' is the name of a server. Use another name.",)
    assert set_helo(database, ADDRESS, "outn1.example") == ()
    with database.change(ROOT, "x") as change:
        change.add(Node(name="n3.example", primary_ipv4="203.0.113.30"))
    assert set_helo(database, "203.0.113.30", "n3.example") == ()


def test_names_are_looked_up_again_each_hour_and_sooner_after_trouble(database, clock):
    zone = {**reverse(ADDRESS, "out1.example"), "out1.example": {"A": [ADDRESS]}}
    with database.change(ROOT, "x") as change:
        inventory.set_public_address(change, "n2.example", "10.0.0.5", "198.51.100.5")

    async def main():
        async with name_server(zone, clock) as (server, resolver):

            async def round() -> tuple[list[str], str, str, int]:
                resolver.flush()
                with database.read() as session:
                    due = helos.due(session, clock.time())
                await helos.refresh(database, resolver, due)
                mine = get_helo(database, clock, ADDRESS)
                return due, mine.helo, get_helo(database, clock, "10.0.0.5").helo, database.revision()

            start = database.revision()
            assert await round() == (["198.51.100.5", ADDRESS], "out1.example", "n2.example", start + 1)
            assert await round() == ([], "out1.example", "n2.example", start + 1)
            server.zone["10.113.0.203.in-addr.arpa"] = {"*": "SERVFAIL"}
            server.zone.update(reverse("198.51.100.5", "nat.example"))
            server.zone["nat.example"] = {"A": ["198.51.100.5"]}
            clock.advance(helos.FRESH_S)
            assert await round() == (["198.51.100.5", ADDRESS], "out1.example", "nat.example", start + 2)
            clock.advance(helos.AFTER_TROUBLE_S)
            assert (await round())[0] == [ADDRESS]
            clock.advance(KEPT_S)
            assert get_helo(database, clock, ADDRESS).helo == "n2.example"

    asyncio.run(main())
    with database.read() as session:
        row = session.scalars(select(Reverse).where(Reverse.address == ADDRESS)).one()
        assert row.confirmed == "out1.example" and "10.113.0.203" in row.error

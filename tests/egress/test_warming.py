"""Orders on warm-ups, and what follows by itself, on both databases."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import UTC, date, datetime
from typing import Any, cast

import pytest
from sqlalchemy import event, select

from hslpy.clock import ManualClock
from hslpy.egress.accounts import site
from hslpy.egress.accounts.nodes import add_node
from hslpy.egress.addresses.inventory import node_of
from hslpy.egress.delivery_ips import settings
from hslpy.egress.rules.names import NotFound, Refused
from hslpy.egress.store import activity, tables
from hslpy.egress.store.database import Actor
from hslpy.egress.store.tally import Tally
from hslpy.egress.upkeep import Upkeep
from hslpy.egress.warm_up import warming
from hslpy.egress.warm_up.warm_watch import Event, Watch, pause_blocked
from hslpy.mail.reply import Reply

ROOT = Actor("root", "cli")
NODE, NODE2 = "node1.example.net", "node2.example.net"
A, B, INSIDE = "192.0.2.1", "192.0.2.2", "10.0.0.5"
OK = Reply(250, None, ("ok",))
SLOW = Reply(421, (4, 7, 28), ("Our system has detected an unusual rate of unsolicited mail",))
LISTED = Reply(554, (5, 7, 1), ("Client host [192.0.2.1] blocked using zen.spamhaus.org",))
DAY = 86_400


def at(day: int, hour: int = 0, minute: int = 0) -> float:
    return datetime(2026, 3, day, hour, minute, tzinfo=UTC).timestamp()


@pytest.fixture
def clock():
    return ManualClock(at(2, 8))


@pytest.fixture
def nodes(database):
    add_node(database, ROOT, NODE, addresses=[A, B])
    add_node(database, ROOT, NODE2, addresses=[INSIDE])
    return database


@pytest.fixture
def send(nodes, clock):
    """Send that many messages from an address, now."""
    tally = Tally(clock)

    def send(number: int = 1, address: str = A, reply: Reply = OK, state: str = "EOD", node: str = NODE) -> None:
        for _ in range(number):
            tally.attempted(address, "mx.example.org", [(reply, state)])
        activity.keep(nodes, node, tally.take())

    return send


def go(clock: ManualClock, when: float) -> None:
    clock.advance(when - clock.time())


def look(watch: Watch, clock: ManualClock) -> list[str]:
    return [one.text for one in watch.look(clock.time())]


def row(database, address=A):
    with database.read() as session:
        return next((one for one in warming.rows(session) if one.address == address), None)


def stopped(database, node=NODE, address=A):
    with database.read() as session:
        found = warming.warmings(session).get(node, {}).get(address)
    return None if found is None else found.stopped


def test_a_plan_goes_through_to_warm(nodes, clock, send):
    watch = Watch(nodes)
    started = warming.start(nodes, ROOT, A)
    assert (started.state, started.plan.start, started.plan.days, started.progress.day) == (
        "warming",
        date(2026, 3, 2),
        7,
        1,
    )
    for day in range(2, 9):
        go(clock, at(day, 9, 30))
        look(watch, clock)
        assert row(nodes).progress.day == day - 1
        send()
        look(watch, clock)
    assert row(nodes).state == "warming" and stopped(nodes) == ""
    go(clock, at(9, 0, 1))
    assert look(watch, clock) == [f"{A} is warm: day 7 of its plan is over"]
    assert row(nodes).state == "warm" and stopped(nodes) is None
    with nodes.read() as session:
        days = session.scalars(select(tables.WarmupDay).order_by(tables.WarmupDay.date)).all()
        assert [(one.day, one.hours, one.messages, one.hours_used, one.counted) for one in days] == [
            (day, hours, 1, 1, True) for day, hours in zip(range(1, 8), (1, 2, 3, 5, 8, 14, 24), strict=True)
        ]


def test_a_day_without_mail_does_not_count(nodes, clock, send):
    watch = Watch(nodes)
    warming.start(nodes, ROOT, A)
    go(clock, at(5, 0, 5))
    assert look(watch, clock) == [f"day 1 of 7 of the warm-up of {A} is repeated"]
    assert (row(nodes).progress.day, row(nodes).progress.on) == (1, date(2026, 3, 5))
    go(clock, at(5, 9, 5))
    send()
    go(clock, at(6))
    look(watch, clock)
    assert row(nodes).progress.day == 2
    site.change(nodes, ROOT, {"require_traffic": False})
    warming.restart(nodes, ROOT, A, days=8)
    go(clock, at(8))
    look(watch, clock)
    assert row(nodes).progress.day == 3


def test_a_pause_keeps_the_day_and_resuming_repeats_it(nodes, clock, send):
    watch = Watch(nodes)
    warming.start(nodes, ROOT, A)
    go(clock, at(2, 9, 10))
    send()
    go(clock, at(3, 9, 10))
    look(watch, clock)
    send()
    paused = warming.pause(nodes, ROOT, A)
    assert (paused.paused, paused.paused_reason, paused.progress.day) == ("hand", "by root", 2)
    assert stopped(nodes) == "its warm-up is paused: by root"
    with pytest.raises(Refused, match="paused already"):
        warming.pause(nodes, ROOT, A)
    go(clock, at(10, 12))
    assert look(watch, clock) == []  # by hand: nothing resumes it
    resumed = warming.resume(nodes, ROOT, A)
    assert (resumed.progress.day, resumed.progress.on) == (2, date(2026, 3, 10))
    go(clock, at(11, 9, 5))
    look(watch, clock)
    assert row(nodes).progress.day == 2
    send()
    warming.pause(nodes, ROOT, A)
    warming.resume(nodes, ROOT, A)  # on the same date: tomorrow is the same day again
    go(clock, at(12, 9, 5))
    look(watch, clock)
    assert row(nodes).progress.day == 2
    send()
    go(clock, at(13))
    look(watch, clock)
    assert row(nodes).progress.day == 3


def test_days_are_repeated_and_gone_back_to(nodes, clock, send):
    watch = Watch(nodes)
    warming.start(nodes, ROOT, A)
    for day in (2, 3, 4):
        go(clock, at(day, 9, 5))
        look(watch, clock)
        send()
    assert warming.repeat_day(nodes, ROOT, A).progress.day == 3
    go(clock, at(5, 9, 5))
    look(watch, clock)
    assert row(nodes).progress.day == 3
    assert warming.repeat_day(nodes, ROOT, A, day=1).progress.day == 1
    with pytest.raises(Refused, match="from 1 to 1"):
        warming.repeat_day(nodes, ROOT, A, day=2)
    send()
    go(clock, at(6))
    look(watch, clock)
    assert row(nodes).progress.day == 2


def test_orders_and_what_they_refuse(nodes, clock):
    for order in (warming.pause, warming.resume, warming.repeat_day, warming.skip_to_warm):
        with pytest.raises(Refused, match="is not being warmed up"):
            order(nodes, ROOT, A)
    with pytest.raises(NotFound, match="not an address of any server"):
        warming.start(nodes, ROOT, "203.0.113.9")
    with pytest.raises(Refused, match="not an IP address"):
        warming.start(nodes, ROOT, "1.2.3")
    with pytest.raises(Refused, match="fewer than 7") as raised:
        warming.start(nodes, ROOT, A, days=3)
    assert raised.value.status == 409
    for wrong in (
        {"days": 0}, {"days": "x"}, {"start": "yesterday"}, {"start": "2026-03-01"}, {"window_start": "25:00"},
        {"curve": "steep"}, {"burst": 6}, {"hourly": "1,0"}, {"hourly": [1] * 8}, {"windows": False},
        {"hourly_of": {"gmail": "5"}},
    ):  # fmt: skip
        with pytest.raises(Refused):
            warming.start(nodes, ROOT, A, **wrong)
    assert row(nodes) is None
    assert warming.start(nodes, ROOT, A, days=3, confirmed=True).plan.days == 3
    with pytest.raises(Refused, match="is being warmed up"):
        warming.start(nodes, ROOT, A)
    changed = warming.change_plan(nodes, ROOT, A, days=10, curve="linear", hourly="default", hourly_of={"Google": "5, 10"})
    assert (changed.plan.days, changed.plan.hourly[:2], changed.plan.hourly_of) == (10, (20, 28), {"google": (5, 10)})
    assert changed.plan == warming.plan_of(warming.kept_plan(changed.plan))
    assert warming.skip_to_warm(nodes, ROOT, A).state == "warm"
    assert warming.restart(nodes, ROOT, A).state == "warming"
    assert warming.mark_warm(nodes, ROOT, B).state == "warm"
    assert warming.hold_back(nodes, ROOT, B).state == "new" and stopped(nodes, NODE, B).startswith("not to be used yet")
    warming.forget(nodes, ROOT, B)
    assert row(nodes, B) is None
    with nodes.read() as session:
        actions = session.scalars(select(tables.Audit.action).order_by(tables.Audit.id)).all()
    assert [one.removeprefix("warmup ") for one in actions if one.startswith("warmup")] == [
        "start", "plan", "skip to warm", "restart", "already warm", "do not send yet", "forget",
    ]  # fmt: skip


def list_it(database, clock, name="SpamCop", severity="critical", listed=True, address=A):
    with database.keep() as change:
        one = change.scalar(select(tables.Dnsbl).where(tables.Dnsbl.name == name))
        if one is None:
            one = tables.Dnsbl(name=name, zone=f"{name.lower()}.example", families=[4], codes={}, kind="address")
            change.add(one)
            change.flush()
        now = clock.time()
        listing = change.get(tables.Listing, (address, one.id)) or tables.Listing(
            address=address, dnsbl_id=one.id, since=now
        )
        listing.codes = listing.meanings = listing.reasons = listing.listed_codes = []
        listing.status, listing.listed_severity = "listed" if listed else "clean", severity
        listing.checked_at = listing.expires_at = now
        listing.listed_since = listing.listed_at = now if listed else None
        change.add(listing)


def test_a_listing_pauses_and_a_clean_day_resumes(nodes, clock, send):
    watch = Watch(nodes)
    warming.start(nodes, ROOT, A)
    go(clock, at(2, 9, 30))
    send()
    list_it(nodes, clock, "Informational", "info")
    assert look(watch, clock) == []
    list_it(nodes, clock)
    assert look(watch, clock) == [f"the warm-up of {A} is paused on day 1 of 7: listed by SpamCop"]
    assert (row(nodes).paused, row(nodes).paused_reason) == ("listing", "listed by SpamCop")
    go(clock, at(4, 12))
    assert look(watch, clock) == []  # it is listed still
    list_it(nodes, clock, listed=False)
    assert look(watch, clock) == [f"{A} had a clean day: its warm-up goes on with day 1 of 7"]
    list_it(nodes, clock)
    clock.advance(60)
    site.change(nodes, ROOT, {"pause_on_listing": False})
    assert look(watch, clock) == []
    site.change(nodes, ROOT, {"pause_on_listing": True})
    assert len(look(watch, clock)) == 0  # found at the very moment of its going on
    list_it(nodes, clock)
    assert len(look(watch, clock)) == 1
    warming.resume(nodes, ROOT, A)  # by hand, listed as it is: until the next check finds it
    assert watch.look(clock.time() + 1) == []


def test_many_deferrals_within_an_hour_pause(nodes, clock, send):
    watch = Watch(nodes)
    warming.start(nodes, ROOT, A)
    go(clock, at(2, 9, 50))
    look(watch, clock)
    send(39)
    send(10, reply=SLOW, state="MAIL")
    assert look(watch, clock) == []  # 49 attempts
    send(1)
    assert look(watch, clock) == []  # 20 %
    go(clock, at(2, 10, 20))  # over the hour of the clock, within one hour
    send(1, reply=SLOW, state="MAIL")
    assert "11 of 51 attempts" in look(watch, clock)[0]
    assert row(nodes).paused == "throttled"
    warming.resume(nodes, ROOT, A)
    assert look(watch, clock) == [] and look(Watch(nodes), clock) == []  # what was before does not count
    send(60, reply=SLOW, state="MAIL")
    assert "60 of 60" in look(Watch(nodes), clock)[0]


def test_deferrals_over_more_than_an_hour_do_not(nodes, clock, send):
    watch = Watch(nodes)
    warming.start(nodes, ROOT, A)
    for minute in range(0, 180, 10):
        go(clock, at(2, 9) + minute * 60)
        send(5, reply=SLOW, state="MAIL")  # 30 or 35 an hour
        assert look(watch, clock) == []


def test_what_is_kept_late_counts_and_old_hours_do_not(nodes, clock, send):
    watch = Watch(nodes)
    warming.start(nodes, ROOT, A)
    for hour in range(9, 16):  # totals go on over hours that are asked for no more
        go(clock, at(2, hour, 1))
        send(10, reply=SLOW, state="MAIL")
        assert look(watch, clock) == []
    tally = Tally(clock)
    for _ in range(60):
        tally.attempted(A, "mx.example.org", [(SLOW, "MAIL")])
    go(clock, at(2, 16, 0))  # the hour of the clock is another when it is kept
    assert look(watch, clock) == []
    activity.keep(nodes, NODE, tally.take())
    assert "70 of 70 attempts" in look(watch, clock)[0]  # with those of 15:01


def test_a_look_and_a_picture_cost_the_same_for_many(nodes, clock):
    """As many queries for five addresses as for one, and none that reads hours long past."""
    asked: list[str] = []

    def queries(do: Callable[[], object]) -> int:
        asked.clear()
        do()
        return len(asked)

    def picture() -> object:
        with nodes.read() as session:
            return warming.warmings(session), warming.sources_by_public(session, [A, B])

    event.listen(nodes._engine, "before_cursor_execute", lambda *given: asked.append(given[2]))
    warming.start(nodes, ROOT, A)
    few = queries(picture)
    add_node(nodes, ROOT, "node3.example.net", addresses=[f"192.0.2.{number}" for number in range(10, 20)])
    for number in range(10, 20):
        warming.hold_back(nodes, ROOT, f"192.0.2.{number}")
    assert queries(picture) == few
    warming.start(nodes, ROOT, B)
    queries(lambda: Watch(nodes).look(clock.time()))
    assert len([text for text in asked if "FROM activity" in text]) == 1


def test_a_refusal_that_names_a_list_pauses(nodes, clock, send):
    watch = Watch(nodes)
    warming.start(nodes, ROOT, A)
    send(1, reply=LISTED, state="RCPT")
    assert "paused on day 1 of 7: a receiver refused" in look(watch, clock)[0]
    warming.resume(nodes, ROOT, A)
    assert pause_blocked(nodes, A, "554 blocked using zen.spamhaus.org") and not pause_blocked(nodes, A, "again")
    assert row(nodes).paused == "blocked" and "zen.spamhaus.org" in row(nodes).paused_reason
    assert not pause_blocked(nodes, B, "not warming")


def test_operators_are_told_once_of_what_the_mail_process_paused(nodes, clock, send):
    one, other = Watch(nodes), Watch(nodes)
    warming.start(nodes, ROOT, A)
    assert one.look(clock.time()) == []
    pause_blocked(nodes, A, "554 blocked using zen.spamhaus.org")
    text = f"the warm-up of {A} is paused on day 1 of 7: {row(nodes).paused_reason}"
    assert other.look(clock.time()) == [Event(text, alerts=True)] and "zen.spamhaus.org" in text
    assert one.look(clock.time()) == other.look(clock.time()) == Watch(nodes).look(clock.time()) == []
    warming.resume(nodes, ROOT, A)
    pause_blocked(nodes, A, "again")
    warming.resume(nodes, ROOT, A)
    assert one.look(clock.time()) == []  # who resumed it knows
    pause_blocked(nodes, A, "again")
    assert len(one.look(clock.time())) == 1
    warming.resume(nodes, ROOT, A)
    warming.pause(nodes, ROOT, A)
    assert one.look(clock.time()) == []


def test_what_is_told_is_said_by_what_happened(nodes, clock, send):
    """A plan goes on: nobody is told. It is paused, or an address grew cold: somebody is."""
    told, logged = [], []

    async def tell(notices):
        told.extend(notice.text for notice in notices)

    resolver = checker = cast(Any, None)  # of which warming up asks nothing
    log = lambda event, fields: logged.append(fields["text"])  # noqa: E731
    upkeep = Upkeep(nodes, resolver, clock, log, NODE, checker, tell=tell)
    warming.start(nodes, ROOT, A)
    warming.mark_warm(nodes, ROOT, B)
    go(clock, at(3, 0, 1))
    asyncio.run(upkeep.warm_up())
    assert logged == [f"day 1 of 7 of the warm-up of {A} is repeated"] and told == []
    pause_blocked(nodes, A, "554 blocked using zen.spamhaus.org")
    asyncio.run(upkeep.warm_up())
    assert told == logged[1:] and "zen.spamhaus.org" in told[0]
    go(clock, at(2) + 31 * DAY)
    asyncio.run(upkeep.warm_up())
    assert logged[2].startswith(f"{A} had a clean day") and logged[3].startswith(f"{B} has sent no mail for 30 days")
    assert told == [logged[1], logged[3]]


def test_an_address_grows_cold(nodes, clock, send):
    watch = Watch(nodes)
    warming.mark_warm(nodes, ROOT, A)
    send(1, B)
    clock.advance(20 * DAY)
    send(1)
    clock.advance(20 * DAY)
    assert look(watch, clock) == [f"{B} has sent no mail for 30 days: it is cold, and should be warmed up again"]
    clock.advance(11 * DAY)
    look(watch, clock)
    assert row(nodes).state == row(nodes, B).state == "cold" and stopped(nodes) is None
    assert warming.start(nodes, ROOT, A).state == "warming"
    assert look(watch, clock) == []


def test_checks_that_are_critical_are_waited_for(nodes, clock):
    with nodes.keep() as change:
        node = node_of(change, NODE)
        found = [{"outcome": "critical", "text": "no PTR"}]
        change.add(tables.Checkup(node_id=node.id, address=A, status="critical", findings=found, checked_at=clock.time()))
    assert warming.start(nodes, ROOT, A, anyway=False).state == "checking"
    assert stopped(nodes) == "its warm-up waits for its checks" and look(Watch(nodes), clock) == []
    with nodes.keep() as change:
        change.scalars(select(tables.Checkup)).one().status = "warning"
    assert look(Watch(nodes), clock) == [f"the checks of {A} are clean: its warm-up begins"]
    assert row(nodes).is_running
    warming.forget(nodes, ROOT, A)
    assert warming.start(nodes, ROOT, A).is_running


def test_a_public_address_is_one_for_all_nodes_behind_it(nodes, clock, send):
    with nodes.keep() as change:
        for one in change.scalars(select(tables.Address).where(tables.Address.address.in_((INSIDE, B)))):
            one.public_address = "203.0.113.1"
    assert warming.start(nodes, ROOT, INSIDE).address == "203.0.113.1"
    with nodes.read() as session:
        found = warming.warmings(session)
        one, other = found[NODE][B], found[NODE2][INSIDE]
    assert one.key == other.key == "203.0.113.1" and one.nodes == 2 and {one.rank, other.rank} == {0, 1}
    go(clock, at(2, 9, 5))
    send(1, B)
    send(2, INSIDE, node=NODE2)
    with nodes.read() as session:
        sent = [warming.sent_this_hour(session, clock.time(), node) for node in (NODE, NODE2)]
        assert sent == [{"203.0.113.1": {"": 1}}, {"203.0.113.1": {"": 2}}], "each has its part of the cap"


def test_a_warm_up_is_of_an_address_that_only_a_setting_names(nodes, clock):
    settings.set_interfaces(nodes, ROOT, domain="default", filtering_host=NODE, interfaces="192.0.2.77")
    warming.start(nodes, ROOT, "192.0.2.77")
    assert stopped(nodes, NODE, "192.0.2.77") == ""

"""Counts of what happened: in memory, in the database, and read again."""

from __future__ import annotations

import asyncio
import threading
from datetime import UTC, date, datetime

import pytest

from hslpy.clock import ManualClock
from hslpy.egress.store import activity
from hslpy.egress.store.database import Database
from hslpy.egress.store.tally import MOST_KEYS, Tally
from hslpy.log import no_log
from hslpy.mail.reply import Reply

NODE, ADDRESS = "node1.example.net", "192.0.2.1"
OK = Reply(250, (2, 0, 0), ("ok",))
BUSY = Reply(421, (4, 7, 0), ("[TSS04] Messages from 192.0.2.1 temporarily deferred due to unexpected volume",))
LISTED = Reply(554, (5, 7, 1), ("Client host [192.0.2.1] blocked using zen.spamhaus.org",))
UNKNOWN = Reply(550, (5, 1, 1), ("no such user",))


def kinds(tally: Tally) -> dict[str, int]:
    return {kind: number for (_, _, _, kind), number in tally.take().counts.items()}


@pytest.mark.parametrize(
    ("replies", "broke_at", "expected", "means"),
    [
        ([(OK, "EOD")], "", {"attempts", "delivered", "messages"}, ""),
        ([(OK, "EOD"), (UNKNOWN, "RCPT")], "", {"attempts", "delivered", "messages"}, ""),
        ([(BUSY, "MAIL")], "", {"attempts", "deferred", "throttled"}, "throttled"),
        ([(BUSY, "EOD")], "", {"attempts", "deferred", "throttled", "messages"}, "throttled"),
        ([(LISTED, "BANNER")], "", {"attempts", "bounced", "blocked"}, "blocked"),
        ([(LISTED, "RCPT"), (BUSY, "RCPT")], "", {"attempts", "deferred", "blocked"}, "blocked"),
        ([(UNKNOWN, "RCPT")], "", {"attempts", "bounced"}, ""),
        ([None], "CONNECT", {"attempts", "deferred"}, ""),
        ([None, (UNKNOWN, "RCPT")], "EOD", {"attempts", "deferred", "messages"}, ""),
    ],
)
def test_an_attempt_is_counted_by_what_was_said(replies, broke_at, expected, means):
    tally = Tally(ManualClock())
    assert tally.attempted(ADDRESS, "mx.yahoodns.net", replies, broke_at) == means
    assert kinds(tally) == dict.fromkeys(expected, 1)


def test_events_of_the_log_are_counted_and_go_on():
    tally, seen = Tally(ManualClock()), []
    log = tally.listening(lambda event, fields: seen.append(event))
    for event, fields in [
        ("smtp.message", {"action": "accept"}),
        ("smtp.message", {"action": "reject"}),
        ("smtp.message", {"action": "defer"}),
        ("smtp.refused", {}),
        ("smtp.relay_denied", {}),
        ("delivery.delivered", {}),
        ("delivery.deferred", {}),
        ("delivery.bounced", {}),
        ("delivery.attempt", {}),
    ]:
        log(event, fields)
    assert len(seen) == 9
    assert kinds(tally) == {"accepted": 1, "rejected": 4, "delivered": 1, "deferred": 1, "bounced": 1}


def test_names_from_scripts_do_not_fill_memory():
    tally = Tally(ManualClock())
    for number in range(MOST_KEYS + 10):
        tally.limited(f"name{number}")
    taken = tally.take()
    assert len(taken.counts) == MOST_KEYS + 1 and sum(taken.counts.values()) == MOST_KEYS + 10


def test_counts_are_added_read_by_hour_and_forgotten(database, clock):
    tally = Tally(clock)
    keeper = activity.Keeper(database, tally, NODE, clock, no_log)
    now = activity.hour_of(clock.time())
    for _ in range(3):
        tally.count("accepted")
        tally.limited("outbound")
        asyncio.run(keeper.flush())
    tally.limited("inbound")
    clock.advance(3600)
    tally.count("rejected", number=5)
    asyncio.run(keeper.flush())
    revision = database.revision()
    with database.read() as session:
        first, second = activity.series(session, now, now + 2)
        assert (first.accepted, first.limited, second.rejected) == (3, 4, 5)
        assert activity.series(session, now, now + 1, node="node2") == [activity.Hour(now)]
        assert activity.limits_hit(session, now) == {"outbound": 3, "inbound": 1}
    clock.advance((activity.KEPT_HOURS + 0) * 3600)
    tally.count("accepted")
    asyncio.run(keeper.flush())
    with database.read() as session:
        assert activity.series(session, now, now + 2) == [activity.Hour(now), activity.Hour(now + 1, rejected=5)]
    assert database.revision() == revision == 0


def test_receivers_are_counted_once_a_day(database, clock):
    tally = Tally(clock)
    with database.read() as session:
        assert activity.without_ipv6(session, clock.time()) is None
    for domain, has_ipv6 in (("a.example", True), ("A.example", True), ("b.example", False), ("b.example", False)):
        tally.received(domain, has_ipv6)
    activity.keep(database, "node1", tally.take())
    now = activity.hour_of(clock.time())
    with database.read() as session:
        assert activity.without_ipv6(session, clock.time()) == 0.5
        assert activity.series(session, now, now + 1) == [activity.Hour(now)]
    clock.advance(2 * 86_400)
    tally.received("b.example", False)
    tally.received("c.example", False)
    activity.keep(database, "node2", tally.take())
    with database.read() as session:
        assert activity.without_ipv6(session, clock.time()) == 0.75
    clock.advance(6 * 86_400)
    with database.read() as session:
        assert activity.without_ipv6(session, clock.time()) == 1.0
    clock.advance(2 * 86_400)
    with database.read() as session:
        assert activity.without_ipv6(session, clock.time()) is None


def test_the_use_of_addresses(database, clock):
    tally = Tally(clock)
    start = clock.time()
    for host, reply in (("mx.google.com", OK), ("mx.example.org", BUSY), ("mx.example.org", OK)):
        tally.attempted(ADDRESS, host, [(reply, "EOD")])
    tally.attempted("192.0.2.2", "mx.example.org", [(UNKNOWN, "RCPT")])
    activity.keep(database, NODE, tally.take())
    clock.advance(3600)
    tally.attempted(ADDRESS, "mx.example.org", [(OK, "EOD")])
    activity.keep(database, "node2", tally.take())
    with database.read() as session:
        assert activity.uses(session, clock.time()) == {
            (NODE, ADDRESS): activity.Use(start, 3),
            (NODE, "192.0.2.2"): activity.Use(start, 0),
            ("node2", ADDRESS): activity.Use(start + 3600, 1),
        }
        assert activity.uses(session, clock.time() + 86_400, [ADDRESS])[NODE, ADDRESS] == activity.Use(start, 0)
        found = activity.of_addresses(session, [ADDRESS], 0)
        assert (found.attempts, found.messages, found.throttled, found.hours) == (4, 4, 1, 2)
        assert found.messages_of == {"google": 1} and found.deferral_rate == 0.25
        day = datetime.fromtimestamp(start, UTC).date()
        assert activity.by_day(session, [ADDRESS], 0, lambda at: at.date()) == {day: found}
        assert list(activity.by_day(session, [ADDRESS], 0, lambda at: date(2000, 1, at.hour))) == [
            date(2000, 1, 22),
            date(2000, 1, 23),
        ]


def test_what_cannot_be_kept_is_counted_on(database, clock, tmp_path):
    told = []
    tally = Tally(clock)
    away = Database(f"sqlite:///{tmp_path}/none/there.db", clock)
    tally.count("accepted")
    tally.attempted(ADDRESS, "mx.example.org", [(OK, "EOD")])
    keeper = activity.Keeper(away, tally, NODE, clock, lambda event, fields: told.append(event))
    asyncio.run(keeper.flush())
    asyncio.run(keeper.flush())
    tally.count("accepted")
    assert told == ["egress.activity_not_kept"]
    asyncio.run(activity.Keeper(database, tally, NODE, clock, no_log).flush())
    with database.read() as session:
        (hour,) = activity.series(session, activity.hour_of(clock.time()), activity.hour_of(clock.time()) + 1)
        assert hour.accepted == 2
        assert activity.uses(session, clock.time())[NODE, ADDRESS].messages_24h == 1


def test_processes_that_keep_at_once_lose_nothing(database_url, database, clock):
    def work() -> None:
        own, tally = Database(database_url, clock), Tally(clock)
        for number in range(10):
            tally.count("accepted")
            tally.attempted(f"192.0.2.{number % 3}", "mx.example.org", [(OK, "EOD")])
            activity.keep(own, NODE, tally.take())
        own.close()

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    hour = activity.hour_of(clock.time())
    with database.read() as session:
        assert activity.series(session, hour, hour + 1)[0].accepted == 40
        assert sum(use.messages_24h for use in activity.uses(session, clock.time()).values()) == 40

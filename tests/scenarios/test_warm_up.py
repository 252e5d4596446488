"""Warming up on real mail: what leaves from which address, by the hour, as the receiver saw it."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path

import pytest
from sqlalchemy import func, select

from hslpy.clock import SystemClock
from hslpy.egress.accounts import site
from hslpy.egress.store import activity, tables
from hslpy.egress.store.database import Database
from hslpy.egress.store.tally import Taken
from hslpy.egress.traffic.allowances import Ramp
from hslpy.egress.warm_up import warming
from hslpy.egress.warm_up.warm_view import view
from hslpy.egress.warm_up.warm_watch import Watch
from tests.egress.test_warming import list_it
from tests.scenarios.harness import Scenario, server
from tests.scenarios.test_delivery_ips import NODE, ROOT, configured, fill, known, put, run, seen
from tests.support.smtp_sink import Sink

NEW, WARM = "127.0.1.1", "127.0.1.2"


class Shifted(SystemClock):
    """The machine's clock, put to another date; it goes on by itself."""

    def __init__(self) -> None:
        self.offset_s = 0.0

    def put(self, day: int, hour: int, minute: int = 0) -> None:
        self.offset_s = datetime(2026, 3, day, hour, minute, tzinfo=UTC).timestamp() - time.time()

    def time(self) -> float:  # type: ignore[override]
        return time.time() + self.offset_s


@pytest.fixture
def clock() -> Shifted:
    found = Shifted()
    found.put(2, 8)
    return found


@pytest.fixture
def database(tmp_path: Path, clock: Shifted) -> Iterator[Database]:
    found = Database(f"sqlite:///{tmp_path}/delivery.db", clock)
    found.open()
    fill(found)
    yield found
    found.close()


async def send(s: Scenario, sink: Sink, number: int) -> Counter[str]:
    """Send messages of one sender, and give from where they came."""
    before = len(sink.received)
    client = await s.client()
    for _ in range(number):
        await client.send("y@example.com", "to@receiver.example")
    await client.close()
    await s.until(lambda: len(sink.received) == before + number)
    return Counter(one.peer_ip for one in sink.received[before:])


async def follows(s: Scenario, database: Database) -> None:
    await s.until(lambda: seen(s) == database.revision())


def test_outside_its_window_nothing_inside_no_more_than_its_cap(tmp_path: Path, database: Database, clock: Shifted) -> None:
    put(database, NEW, domain="example.com")
    put(database, WARM)
    warming.start(database, ROOT, NEW, hourly="5", burst=5)

    async def scenario() -> None:
        async with Sink() as sink, server(tmp_path, configured(database, sink), hostname=NODE, clock=clock) as s:
            await known(s)
            assert await send(s, sink, 4) == {WARM: 4}
            clock.put(2, 9, 10)
            assert await send(s, sink, 12) == {NEW: 5, WARM: 7}
            clock.put(2, 9, 25)  # the hour's five are sent, however long it still lasts
            assert await send(s, sink, 3) == {WARM: 3}
            looked = [str(one["looked_at"]) for one in s.fields_of("delivery.attempt")]
            assert any("day 1 of 7: the window opens 09:00 UTC" in one for one in looked)
            assert any("its 5 messages of this hour are sent, more from 10:00 UTC" in one for one in looked)
        async with Sink() as sink, server(tmp_path, configured(database, sink), hostname=NODE, clock=clock) as s:
            await known(s)
            assert await send(s, sink, 3) == {WARM: 3}  # a restart does not refill
            clock.put(2, 10, 1)
            assert await send(s, sink, 3) == {WARM: 3}
            clock.put(3, 9, 5)
            Watch(database).look(clock.time())
            await follows(s, database)
            assert await send(s, sink, 3) == {NEW: 3}  # day 2 has no cap
        shown = view(database, NEW, clock.time())
        assert [(one.day, one.state, one.messages) for one in shown.days[:2]] == [(1, "done", 5), (2, "today", 3)]
        assert shown.today.startswith("Today, day 2 of 7: 09:00–11:00 UTC, 2 hours")
        with database.read() as session:
            assert activity.uses(session, clock.time())[NODE, NEW].messages_24h == 3
            wanted = session.execute(select(tables.Activity.address, func.sum(tables.Activity.number)).where(
                tables.Activity.kind == "wanted").group_by(tables.Activity.address)).all()  # fmt: skip
            assert wanted == [(NEW, 28)]  # each message, wherever it left from

    run(scenario)


def test_what_was_sent_before_is_taken_up_by_the_loop_before_the_first_picture(
    tmp_path: Path, database: Database, clock: Shifted, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(database, NEW, domain="example.com")
    warming.start(database, ROOT, NEW, hourly="5", burst=5)
    clock.put(2, 9, 10)
    counts = {(activity.hour_of(clock.time()), NEW, "", "messages"): 4}
    activity.keep(database, NODE, Taken(counts, {}))
    activity.keep(database, "node2.example.net", Taken(counts, {}))
    loaded: list[object] = []
    load = Ramp.load

    def seen_load(ramp: Ramp, sent: Mapping[str, Mapping[str, int]]) -> None:
        loaded.append((threading.current_thread() is threading.main_thread(), len(ramp._warmings()), sent))
        load(ramp, sent)

    monkeypatch.setattr(Ramp, "load", seen_load)

    async def scenario() -> None:
        async with Sink() as sink, server(tmp_path, configured(database, sink), hostname=NODE, clock=clock) as s:
            await known(s)
            assert loaded == [(True, 0, {NEW: {"": 4}})]  # what another node sent is not of its part
        async with Sink() as sink, server(tmp_path, configured(database, sink), hostname=NODE, clock=clock):
            began = time.monotonic()  # stopped while the database is being opened
        assert time.monotonic() - began < 5

    run(scenario)


def test_beside_a_warm_one_it_has_its_share(tmp_path: Path, database: Database, clock: Shifted) -> None:
    put(database, NEW, WARM, domain="example.com")
    warming.start(database, ROOT, NEW)

    async def scenario() -> None:
        async with Sink() as sink, server(tmp_path, configured(database, sink), hostname=NODE, clock=clock) as s:
            await known(s)
            assert await send(s, sink, 10) == {WARM: 10}
            clock.put(2, 9, 10)
            found = await send(s, sink, 200)
            assert 25 < found[NEW] < 80 and found[NEW] + found[WARM] == 200  # a quarter
            wanted = sum(number for (_, address, _, kind), number in s.app.tally.take().counts.items() if kind == "wanted")
            assert 60 < wanted < 150  # a half, were it warm

    run(scenario)


def test_held_mail_waits_for_the_window_and_is_not_charged(tmp_path: Path, database: Database, clock: Shifted) -> None:
    put(database, NEW, domain="example.com")
    site.change(database, ROOT, {"overflow": "hold"})
    warming.start(database, ROOT, NEW)

    async def scenario() -> None:
        async with Sink() as sink, server(tmp_path, configured(database, sink), hostname=NODE, clock=clock) as s:
            await known(s)
            client = await s.client()
            await client.send("y@example.com", "to@receiver.example")
            await client.close()
            await s.until(lambda: s.events()["delivery.waiting"])
            waiting = s.fields_of("delivery.waiting")[0]
            assert "the window opens 09:00 UTC" in str(waiting["reason"]) and waiting["retries"] == 0
            assert not sink.received

    run(scenario)


def test_a_listing_and_a_refusal_that_names_a_list_pause(tmp_path: Path, database: Database, clock: Shifted) -> None:
    put(database, NEW, domain="example.com")
    put(database, WARM)
    warming.start(database, ROOT, NEW)
    clock.put(2, 9, 10)

    async def scenario() -> None:
        async with Sink() as sink, server(tmp_path, configured(database, sink), hostname=NODE, clock=clock) as s:
            await known(s)
            assert await send(s, sink, 2) == {NEW: 2}
            list_it(database, clock, address=NEW)
            assert "listed by SpamCop" in Watch(database).look(clock.time())[0].text
            await follows(s, database)
            assert await send(s, sink, 2) == {WARM: 2}
            warming.resume(database, ROOT, NEW)
            await follows(s, database)
            assert await send(s, sink, 2) == {NEW: 2}
            listed = f"554 5.7.1 Service unavailable; Client host [{NEW}] blocked using zen.spamhaus.org"
            sink.answers["RCPT"] = listed
            client = await s.client()
            await client.send("y@example.com", "to@receiver.example")
            await client.close()
            await s.until(lambda: view(database, NEW, clock.time()).badge == "paused")
            del sink.answers["RCPT"]
            await s.until(lambda: not s.app.queued)
            await follows(s, database)
            assert await send(s, sink, 2) == {WARM: 2}
        with database.read() as session:
            row = warming.rows(session)[0]
        assert row.paused == "blocked" and "zen.spamhaus.org" in row.paused_reason

    run(scenario)

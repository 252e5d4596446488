"""The checker against a DNS server of ours that plays lists of every kind, and a real database."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Awaitable, Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import select

from hslpy.clock import ManualClock, SystemClock
from hslpy.dns.resolver import DnsResolver
from hslpy.egress.accounts.site import Site
from hslpy.egress.accounts.site import change as change_site
from hslpy.egress.reputation import block_lists, listings, suspensions
from hslpy.egress.reputation.checker import ReputationChecker, next_run_at
from hslpy.egress.reputation.jobs import Estimate, Pacer, ReputationSettings, resolver_settings, settings_of
from hslpy.egress.reputation.suspensions import Pool, to_suspend
from hslpy.egress.rules.dnsbl import Meaning
from hslpy.egress.rules.names import NotFound, Refused
from hslpy.egress.store.database import Actor, Database
from hslpy.egress.store.tables import Address, DeliverySetting, Dnsbl, Node, PastListing, ReputationRun, Suspension
from tests.support.dnsbl_server import DnsblServer, List

ROOT = Actor("root", "page")
BAD, GOOD, BAD6, PRIVATE = "198.51.100.1", "198.51.100.2", "2001:db8::bad", "10.0.0.1"


class World:
    """A database with addresses and lists, a server that plays the lists, and a checker between them."""

    def __init__(
        self, database: Database, clock: ManualClock, lists: dict[str, List], addresses: tuple[str, ...], try_s: float = 0.4
    ) -> None:
        self.database, self.clock = database, clock
        self.server = DnsblServer(lists)
        self.settings: dict[str, object] = {"interval_s": 0.0, "try_s": try_s, "cell_s": 3.75 * try_s}
        self.alerts: list[str] = []
        self.logged: list[str] = []
        with database.change(ROOT, "test") as change:
            node = Node(name="node1.example.net")
            change.add(node)
            change.flush()
            self.node = node.id
            for address in addresses:
                change.add(Address(node_id=node.id, address=address, first_seen_at=0.0, seen_at=0.0))
        self.ids = {zone: self.add(zone, one) for zone, one in lists.items()}

    def add(self, zone: str, one: List) -> int:
        kind = "neighbourhood" if zone.startswith("area") else "address"
        draft = block_lists.Draft(zone.partition(".")[0], zone, one.families, (), Meaning(kind))  # type: ignore[arg-type]
        return block_lists.add(self.database, ROOT, draft).id

    async def start(self) -> None:
        await self.server.start()
        server = f"127.0.0.1:{self.server.port}"
        self.settings.setdefault("resolvers", (server,))
        self.resolver = DnsResolver(resolver_settings((server,), try_s=self.settings["try_s"]), self.clock)

        async def on_alerts(alerts, texts):
            self.alerts += [f"{one.kind} {one.address} {one.list_name} {one.severity}" for one in alerts] + list(texts)

        self.checker = ReputationChecker(
            self.database, self.resolver, self.clock, lambda: ReputationSettings(**self.settings), on_alerts,
            lambda: 0.5, lambda event, fields: self.logged.append(f"{event} {fields}"),
        )  # fmt: skip

    async def check(self, *addresses: str, lists: list[int] | None = None, **options):
        job = await self.checker.start("ann", addresses or None, lists, **options)
        await self.checker.wait(job.id)
        return job

    def cells(self) -> dict[tuple[str, str], listings.Cell]:
        names = {list_id: zone for zone, list_id in self.ids.items()}
        with self.database.read() as session:
            return {(row.address.asked, names[key]): one for row in listings.rows(session) for key, one in row.cells.items()}

    def words(self, zone: str) -> dict[str, str]:
        return {asked: one.word for (asked, of), one in self.cells().items() if of == zone}

    def list(self, zone: str) -> block_lists.BlockList:
        with self.database.read() as session:
            return block_lists.shown(session.scalars(select(Dnsbl).where(Dnsbl.zone == zone)).one())

    def suspended(self) -> list[str]:
        with self.database.read() as session:
            return sorted(session.scalars(select(Suspension.address)))


def entries(*addresses: str, code: str = "127.0.0.2") -> dict[str, tuple[str, ...]]:
    return dict.fromkeys(addresses, (code,))


@pytest.fixture
def play(database_url) -> Callable[..., None]:
    def run(
        test: Callable[[World], Awaitable[None]],
        lists: dict[str, List],
        addresses=(BAD, GOOD),
        clock: object = None,
        try_s: float = 0.4,
    ) -> None:
        async def main() -> None:
            own = clock or ManualClock()
            database = Database(database_url, own)
            database.open()
            world = World(database, own, lists, addresses, try_s)
            await world.start()
            try:
                await asyncio.wait_for(test(world), 60)
                assert world.logged == []
            finally:
                await world.checker.close()
                await world.resolver.close()
                world.server.close()
                database.close()

        asyncio.run(main())

    return run


def test_lists_of_every_kind(play):
    lists = {
        "honest.test": List(entries=entries(BAD, BAD6), families=(4, 6), reason="bad\\010 https://honest.test/x"),
        "v4only.test": List(entries=entries(BAD, BAD6)),
        "refusing.test": List("refusing"),
        "lying.test": List("rewriting"),
        "silent.test": List("silent"),
        "servfail.test": List("servfail"),
        "everything.test": List("lists everything"),
        "unproven.test": List("no test entry", entries(BAD)),
        "area.test": List(entries=entries(BAD)),
        "own-code.test": List(test_code="127.0.0.99"),
    }

    async def test(world: World) -> None:
        job = await world.check()
        assert job.progress.state == "done" and job.progress.done == 50 == len(job.cells)
        assert world.words("honest.test") == {
            BAD: "Listed",
            GOOD: "Clean",
            BAD6: "Listed",
            PRIVATE: "Private address",
            "2001:db8::1": "Clean",
        }
        assert world.words("v4only.test")[BAD6] == "Not applicable"
        assert world.words("unproven.test")[BAD] == "Listed" and world.list("unproven.test").status == "no test entry"
        assert world.words("area.test")[BAD] == "Listed (informational)"
        assert world.words("own-code.test")[BAD] == "Clean"
        for zone, word, status in [
            ("refusing.test", "Refused", "refusing"),
            ("lying.test", "List not usable", "lists everything"),
            ("silent.test", "No answer", "not answering"),
            ("servfail.test", "No answer", "not answering"),
            ("everything.test", "List not usable", "lists everything"),
        ]:
            assert world.words(zone)[BAD] == world.words(zone)[GOOD] == word, zone
            assert world.list(zone).status == status
        assert sorted(world.alerts) == [
            f"listed {BAD} honest warning", f"listed {BAD} unproven warning", f"listed {BAD} v4only warning",
            f"listed {BAD6} honest warning",
        ]  # fmt: skip
        cell = world.cells()[BAD, "honest.test"]
        assert cell.reasons == ("bad https://honest.test/x",) and cell.links == ("https://honest.test/x",)
        assert cell.query_name == "1.100.51.198.honest.test" and cell.codes == ("127.0.0.2",) and cell.ttl_s == 600
        assert cell.resolver == f"127.0.0.1:{world.server.port}"
        assert "2.0.0.0.0.0.f.7.f.f.f.f" + ".0" * 20 in world.server.names("honest.test")
        assert world.server.names("honest.test", "TXT") and not any("10.in" in name for name, _, _ in world.server.asked)
        assert len(world.server.names("refusing.test")) == 1 and "1.0.0.10" not in world.server.names("honest.test")
        assert len(world.server.names("silent.test")) == 2  # two tries of one test entry
        with world.database.read() as session:
            rows = {row.address.asked: row for row in listings.rows(session)}
            assert rows[BAD].summary == "3 listed, 1 informational, 1 clean, 5 unknown" and rows[BAD].worst == "listed"
            run = session.scalars(select(ReputationRun)).one()
            assert (run.state, run.done, run.by, run.counts["listed"]) == ("done", 50, "ann", 5)
            text = listings.export_csv(session, only_listed=True)
        assert (
            text.count("\r\n") == 6 and f"{BAD},{BAD},node1.example.net,,honest,honest.test,Listed,warning,127.0.0.2" in text
        )

    play(test, lists, (BAD, GOOD, BAD6, "2001:db8::1", PRIVATE))


def test_what_is_translated_is_asked_for_by_its_public_address(play):
    async def test(world: World) -> None:
        with world.database.change(ROOT, "test") as change:
            change.scalars(select(Address)).one().public_address = BAD
        await world.check(PRIVATE)
        assert world.words("honest.test") == {BAD: "Listed"}
        with pytest.raises(NotFound, match="not a delivery IP"):
            await world.check("203.0.113.99")
        with pytest.raises(NotFound, match="no list"):
            await world.check(lists=[10**6])

    play(test, {"honest.test": List(entries=entries(BAD))}, (PRIVATE,))


def test_listings_begin_and_end_and_only_changes_are_told(play):
    async def test(world: World) -> None:
        list_, start = world.server.lists["honest.test"], world.clock.time()
        await world.check()
        world.clock.advance(3700)
        await world.check()
        world.clock.advance(3700)
        list_.behaviour = "servfail"  # no answer: neither clean nor news
        await world.check()
        assert world.words("honest.test")[BAD] == "No answer"
        world.clock.advance(3700)
        list_.behaviour, list_.entries = "honest", {}
        await world.check()
        assert world.alerts == [f"listed {BAD} honest warning", f"cleared {BAD} honest warning"]
        with world.database.read() as session:
            past = session.scalars(select(PastListing)).one()
            assert listings.history(session, BAD) == [past]
            assert (past.from_at, past.to_at, past.codes) == (start, start + 3 * 3700, ["127.0.0.2"])

    play(test, {"honest.test": List(entries=entries(BAD))})


def test_results_hold_for_a_while(play):
    async def test(world: World) -> None:
        def asked() -> int:
            return world.server.names("honest.test").count("2.100.51.198")

        await world.check(GOOD)
        job = await world.check(GOOD)
        assert asked() == 1 and "checked 0 s ago" in job.events[-1].note and job.events[-1].word == "Clean"
        world.clock.advance(59)
        await world.check(GOOD, anyway=True)
        assert asked() == 1
        world.clock.advance(130)
        job = await world.check(GOOD)
        assert asked() == 1 and job.events[-1].note.startswith("checked 3 min ago; the list asks not")
        await world.check(GOOD, anyway=True)
        assert asked() == 2
        world.clock.advance(899)  # the zone's own time is 900 s
        await world.check(GOOD)
        assert asked() == 2
        world.clock.advance(2)
        await world.check(GOOD)
        assert asked() == 3
        block_lists.edit(world.database, ROOT, world.ids["honest.test"], {"codes": "127.0.0.9"})
        await world.check(GOOD)
        assert asked() == 4

    play(test, {"honest.test": List()})


def test_a_list_that_refuses_is_left_alone_for_an_hour(play):
    async def test(world: World) -> None:
        list_ = world.server.lists["list.test"]
        await world.check(GOOD)
        world.clock.advance(1000)
        list_.behaviour = "refusing"
        await world.check()
        assert set(world.words("list.test").values()) == {"Refused"} and world.list("list.test").status == "refusing"
        asked = len(world.server.asked)
        world.clock.advance(3500)
        await world.check()
        assert len(world.server.asked) == asked
        other = f"127.0.0.1:{world.server.port}"
        world.settings["resolvers"] = (other, other)  # another resolver: asked at once
        await world.check(GOOD)
        assert len(world.server.asked) == asked + 1
        world.clock.advance(3601)
        list_.behaviour = "honest"
        await world.check()
        assert set(world.words("list.test").values()) == {"Clean"} and world.list("list.test").status == "working"

    play(test, {"list.test": List()})


def test_a_list_that_begins_to_list_everything_is_found_out(play):
    many = tuple(f"198.51.100.{n}" for n in range(1, 7))

    async def test(world: World) -> None:
        await world.check()
        assert set(world.words("list.test").values()) == {"Clean"}
        world.clock.advance(3600)
        world.server.lists["list.test"].behaviour = "lists everything"
        await world.check()
        assert set(world.words("list.test").values()) == {"List not usable"} and world.alerts == []
        world.clock.advance(86_400)
        world.server.lists["list.test"].behaviour = "honest"
        world.server.lists["list.test"].entries = entries(*many)
        await world.check()
        assert len(world.alerts) == 6 and set(world.words("list.test").values()) == {"Listed"}

    play(test, {"list.test": List()}, many)


def test_one_listing_of_an_old_test_is_tested_first(play):
    async def test(world: World) -> None:
        await world.check()
        world.clock.advance(7 * 3600)
        world.server.lists["list.test"].behaviour = "lists everything"
        await world.check(GOOD)
        assert world.words("list.test")[GOOD] == "List not usable" and world.alerts == []

    play(test, {"list.test": List()})


def test_a_job_is_followed_by_several_and_can_be_stopped(play):
    async def test(world: World) -> None:
        job = await world.checker.start("ann")
        assert await world.checker.start("bob") is job

        async def follow() -> list[tuple[int, str]]:
            return [(event.number, event.state) async for event in world.checker.follow(job.id)]

        both = asyncio.gather(follow(), follow())
        while job.done < 2:
            await asyncio.sleep(0.01)
        progress = await world.checker.stop(job.id)
        first, second = await both
        assert (
            first == second
            and progress.state == "stopped"
            and [number for number, _ in first] == [*range(1, len(first) + 1)]
        )
        assert {job.latest[cell].state for cell in job.cells} == {"done", "stopped"}
        late = [event async for event in world.checker.follow(job.id, after=len(first) - 1)]
        assert len(late) == 1 and world.words("honest.test")[BAD] == "Listed"
        assert world.words("silent.test")[BAD] == "Not checked" and world.alerts == [f"listed {BAD} honest warning"]
        with pytest.raises(NotFound):
            await world.checker.stop(10**6)

    lists = {"honest.test": List(entries=entries(BAD)), "silent.test": List("silent")}
    play(test, lists, try_s=20)  # long enough for whatever the machine has to do: the silent list is never given up


def test_a_new_list_is_tested_before_it_is_saved(play):
    async def test(world: World) -> None:
        def draft(name: str, **options) -> block_lists.Draft:
            with world.database.read() as session:
                return block_lists.draft(session, name, f"{name}.test", **options)

        world.server.lists |= {
            "good.test": List(), "bad.test": List("no test entry"), "six.test": List(families=(4, 6)),
            "mute.test": List("silent"),
        }  # fmt: skip
        good = await world.checker.add(ROOT, draft("good"))
        assert good.enabled and good.word == "Working" and good.tested_at is not None
        for name in ("bad", "mute"):
            with pytest.raises(Refused, match="does not answer the standard test entry") as refused:
                await world.checker.add(ROOT, draft(name))
            assert refused.value.status == 409
        assert not (await world.checker.add(ROOT, draft("mute"), "disabled")).enabled
        bad = await world.checker.add(ROOT, draft("bad"), "anyway")
        assert bad.enabled and bad.status == "no test entry"
        assert (await world.checker.add(ROOT, draft("six", families=(4, 6)))).tests == {"4": "working", "6": "working"}
        with world.database.read() as session:
            sorbs = block_lists.draft(session, "SORBS", "dnsbl.sorbs.net")
        assert not (await world.checker.add(ROOT, sorbs)).enabled and not world.server.names("dnsbl.sorbs.net")
        world.server.lists["bad.test"].behaviour = "honest"
        assert (await world.checker.test(bad.id)).word == "Working"

    play(test, {})


def test_families_that_are_tried(play):
    async def test(world: World) -> None:
        with world.database.change(ROOT, "test") as change:
            for row in change.scalars(select(Dnsbl)):
                row.families, row.tried_families = [4], [6]
        await world.check()
        assert world.words("six.test")[BAD6] == "Listed" and world.words("four.test")[BAD6] == "Not applicable"

    lists = {"six.test": List(entries=entries(BAD6), families=(4, 6)), "four.test": List(entries=entries(BAD6))}
    play(test, lists, (BAD, BAD6))


def test_keys_stand_in_nothing_that_is_kept_or_told(play):
    secret = "abcdef1234567890"

    async def test(world: World) -> None:
        world.server.lists = {f"{secret}.zen.dq.spamhaus.net": List(entries=entries(BAD), reason=f"see {secret}")}
        with world.database.read() as session:
            draft = block_lists.draft(session, "DQS", f"{secret}.zen.dq.spamhaus.net", families=(4,))
        row = await world.checker.add(ROOT, draft)
        world.ids = {"KEY.zen.dq.spamhaus.net": row.id}
        job = await world.check()
        cell = world.cells()[BAD, "KEY.zen.dq.spamhaus.net"]
        assert cell.word == "Listed" and cell.severity == "critical" and cell.query_name.endswith(".KEY.zen.dq.spamhaus.net")
        assert cell.reasons == ("see KEY",)
        assert secret not in repr((world.cells(), world.alerts, job.events, row, job.alerts))
        with world.database.read() as session:
            assert secret not in listings.export_csv(session)

    play(test, {})


def test_listings_suspend_by_the_rule_and_leave_one_of_a_pool(play):
    async def test(world: World) -> None:
        pool = [BAD, GOOD]
        with world.database.change(ROOT, "test") as change:
            change.add(
                DeliverySetting(
                    scope="default",
                    level="default",
                    node_id=world.node,
                    ipv4=pool,
                    ipv6=[],
                    changed_at=0.0,
                    changed_by="ann",
                )
            )
        world.settings["rule"] = "counting"
        await world.check()
        assert world.suspended() == [BAD] and f"{BAD} is suspended: listed by list" in world.alerts
        world.clock.advance(3700)
        world.server.lists["list.test"].entries = entries(BAD, GOOD)
        await world.check()
        assert world.suspended() == [BAD] and f"{GOOD} stays in use: it is the last of its pool" in world.alerts
        world.clock.advance(3700)
        world.server.lists["list.test"].entries = entries(GOOD)
        before = world.database.revision()
        await world.check()
        assert world.suspended() == [GOOD] and world.database.revision() == before + 1
        world.settings["keep_last"] = False
        world.clock.advance(3700)
        world.server.lists["list.test"].entries = entries(BAD, GOOD)
        await world.check()
        assert world.suspended() == [BAD, GOOD]
        with world.database.change(ROOT, "by hand") as change:
            change.get(Suspension, (GOOD, "")).by = "ann"
        world.settings["rule"] = "never"
        world.clock.advance(3700)
        await world.check()
        assert world.suspended() == [GOOD]

    play(test, {"list.test": List(entries=entries(BAD))})


def test_what_was_lifted_stays_in_use_until_a_further_list_has_it(play):
    async def test(world: World) -> None:
        change_site(world.database, ROOT, {"suspend_on_listing": "counting"})
        world.settings |= {"rule": "counting", "keep_last": False}

        async def checked(one: dict[str, tuple[str, ...]], two: dict[str, tuple[str, ...]]) -> list[str]:
            world.clock.advance(3700)
            world.server.lists["one.test"].entries, world.server.lists["two.test"].entries = one, two
            await world.check()
            return [one.address for one in suspensions.suspensions(world.database, world.clock.time())]

        assert await checked(entries(BAD), entries(BAD)) == [BAD]
        done = suspensions.lift(world.database, ROOT, BAD)
        assert done.text == (
            f"{BAD} may be used again. It is still listed by one, two: it stays in use until a further list has it, "
            "or it is listed anew."
        )
        world.alerts.clear()
        assert await checked(entries(BAD), entries(BAD)) == [] and world.alerts == []
        assert await checked(entries(), entries(BAD)) == [], "of those it was lifted for"
        assert await checked(entries(BAD), entries(BAD)) == []
        assert world.suspended() == [BAD], "remembered"
        assert await checked(entries(), entries()) == [] == world.suspended()
        assert await checked(entries(BAD), entries()) == [BAD], "listed anew"
        suspensions.lift(world.database, ROOT, BAD, node="")
        assert await checked(entries(BAD), entries(BAD)) == [BAD], "a further list"
        suspensions.suspend(world.database, ROOT, BAD, hours=1)
        assert "still listed by one, two" in suspensions.lift(world.database, ROOT, BAD).text
        assert await checked(entries(BAD), entries(BAD)) == []
        world.settings["rule"] = "never"
        assert await checked(entries(BAD), entries(BAD)) == [] == world.suspended()
        world.settings["rule"] = "counting"
        assert await checked(entries(BAD), entries(BAD)) == [BAD]

    play(test, {"one.test": List(), "two.test": List()})


def test_an_address_that_is_not_there_is_none_that_a_pool_has_left(play):
    async def test(world: World) -> None:
        with world.database.change(ROOT, "test") as change:
            change.add(
                DeliverySetting(
                    scope="default", level="default", node_id=world.node, ipv4=[BAD, GOOD], ipv6=[], changed_at=0.0,
                    changed_by="ann",
                )
            )  # fmt: skip
            change.get(Address, 2).present = False
        world.settings["rule"] = "counting"
        await world.check()
        assert world.suspended() == [GOOD] and f"{BAD} stays in use: it is the last of its pool" in world.alerts

    play(test, {"list.test": List(entries=entries(BAD, GOOD))})


@given(st.lists(st.frozensets(st.sampled_from("abcde"), min_size=1), max_size=4), st.permutations("abcde"), st.booleans())
def test_a_pool_is_never_left_without_an_address(pools, listed, keep_last):
    held = {("a", "n1")}
    out = to_suspend([(one, "") for one in listed], [Pool("n1", pool) for pool in pools], held, keep_last)
    gone = {one for one, _ in out}
    for pool in pools:
        assert not keep_last or not pool <= gone
    if not keep_last:
        assert gone == set(listed)


def test_the_daily_run(play):
    async def test(world: World) -> None:
        task = asyncio.create_task(world.checker.run_daily())

        async def run(number: int) -> float:
            for _ in range(500):
                done = [job for job in world.checker.jobs if job.kind == "scheduled" and job.state == "done"]
                if len(done) == number:
                    return done[0].started_at
                world.clock.advance(60)
                await asyncio.sleep(0.01)
            raise AssertionError("it did not run")

        first = await run(1)
        world.clock.advance(first + 82_800 - world.clock.time())
        await asyncio.sleep(0.1)
        assert len(world.checker.jobs) == 1
        assert 82_800 <= await run(2) - first <= 86_400
        task.cancel()

    play(test, {"list.test": List()})


def test_when_the_next_run_is():
    day = 86_400.0
    assert next_run_at(None, 1000.0, 0.5) == 1300.0 and next_run_at(0.0, 1000.0, 0.5) == day - 1800
    assert next_run_at(0.0, 10 * day, 1.0) == 10 * day + 600


def test_what_a_check_costs():
    assert Estimate(4000, 400.0).text == "This is 4,000 DNS queries and takes about 7 minutes."
    assert Estimate(1, 0.2).text == "This is 1 DNS query and takes about 1 second."


def test_a_check_that_is_too_large_is_refused(play):
    async def test(world: World) -> None:
        assert world.checker.estimate(200, 20).text == "This is 4,000 DNS queries and takes about 7 minutes."
        with world.database.change(ROOT, "test") as change:
            for n in range(101):
                change.add(Address(node_id=world.node, address=f"203.0.113.{n}", first_seen_at=0.0, seen_at=0.0))
            for n in range(100):
                row = Dnsbl(name=f"n{n}", zone=f"n{n}.test", families=[4], codes={}, kind="address")
                change.add(row)
        with pytest.raises(Refused, match="10,403 results are more than 10,000"):
            await world.checker.start("ann")
        with world.database.read() as session:
            everything = [row.id for row in block_lists.lists(session)]
        block_lists.remove(world.database, ROOT, everything)
        with pytest.raises(Refused, match="No lists configured"):
            await world.checker.start("ann")

    play(test, {"list.test": List()})


def test_the_pace_is_kept():
    async def main() -> None:
        clock = SystemClock()
        pacer = Pacer(clock, ReputationSettings(interval_s=0.03, at_once=3))
        gone: dict[str, list[float]] = {"a": [], "b": [], "c": [], "d": []}
        under_way = {"all": 0, "most": 0, "zone": 0}

        async def query(zone: str) -> None:
            async with pacer.turn(zone):
                gone[zone].append(clock.monotonic())
                under_way["all"] += 1
                under_way["most"] = max(under_way["most"], under_way["all"])
                await asyncio.sleep(0.05)
                under_way["all"] -= 1

        await asyncio.gather(*(query(zone) for zone in gone for _ in range(6)))
        assert under_way["most"] == 3
        for times in gone.values():
            assert len(times) == 6 and min(b - a for a, b in itertools.pairwise(times)) >= 0.03

    asyncio.run(main())


def test_what_the_site_sets():
    assert settings_of(Site(), ("192.0.2.53",)) == ReputationSettings(("192.0.2.53",))
    site = Site(
        dnsbl_resolvers=("127.0.0.1:5353",), dnsbl_interval_s=0.0, suspend_on_listing="critical", keep_last_address=False
    )
    found = settings_of(site, ("192.0.2.53",))
    assert (found.resolvers, found.interval_s, found.rule, found.keep_last) == (("127.0.0.1:5353",), 0.0, "critical", False)

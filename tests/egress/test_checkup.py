"""Checks, run: facts from a database, from a name server on loopback, and from connections of this machine."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest
from sqlalchemy import select

from hslpy.clock import ManualClock
from hslpy.egress.accounts import directory, site
from hslpy.egress.accounts.nodes import add_node
from hslpy.egress.accounts.scopes import Target
from hslpy.egress.addresses import inventory
from hslpy.egress.addresses.interfaces import LocalAddress, Report
from hslpy.egress.checks import checkup
from hslpy.egress.checks.checkup import Checker, Draft
from hslpy.egress.checks.facts import Probe
from hslpy.egress.delivery_ips import settings
from hslpy.egress.delivery_ips.setting_rows import Value
from hslpy.egress.rules.names import NotFound
from hslpy.egress.store import activity
from hslpy.egress.store.database import Actor, Database
from hslpy.egress.store.tables import AddressUse, Checkup, Dnsbl, Listing, Node
from hslpy.egress.store.tally import Tally
from hslpy.egress.upkeep import ASK_S, LOOK_S, Upkeep, next_night

from .name_server import NameServer, name_server, reverse

ROOT = Actor("root", "cli")
PRIMARY, X, SIX = "193.0.2.1", "193.0.2.10", "2a00:1450::5"
ZONE = {
    **reverse(X, "out1.example.com"),
    **reverse(SIX, "out_6.example.com"),
    "out1.example.com": {"A": [X]},
    "out_6.example.com": {"AAAA": [SIX]},
    "node1.example.com": {"A": [PRIMARY]},
    "node2.example.com": {"A": ["193.0.2.2"]},
    "spf.example.com": {"A": [PRIMARY, X]},
    "good.example": {"TXT": ["v=spf1 a:spf.example.com -all"]},
    "bad.example": {"TXT": ["other", "v=spf1 mx -all"], "MX": ["10 mx.bad.example."]},
    "mx.bad.example": {"A": ["193.0.2.99"]},
    "soft.example": {"TXT": ["v=spf1 ip4:193.0.2.0/29 ~all"]},
    "shaky.example": {"*": "SERVFAIL"},
}


@pytest.fixture
def clock():
    return ManualClock()


@pytest.fixture
def database(database_url, clock):
    database = Database(database_url, clock)
    database.open()
    for node, primary in (("node1.example.com", PRIMARY), ("node2.example.com", "193.0.2.2")):
        add_node(database, ROOT, node, primary_ipv4=primary)
    for domain in ("good.example", "bad.example", "soft.example"):
        directory.add_domain(database, ROOT, domain)
    found = tuple(LocalAddress(one, "eth0") for one in (PRIMARY, X, SIX))
    with database.keep() as session:
        inventory.keep(session, Report("node1.example.com", found, {4: PRIMARY}))
    settings.set_interfaces(database, ROOT, domain="default", filtering_host="node1.example.com", interfaces=f"{X};{SIX}")
    yield database
    database.close()


def run(database, clock, test: Callable[[NameServer, Checker], Awaitable[None]], node="node3.example.com", **known):
    """Run with a checker of a node that has none of these addresses: what its own machine would find is not asked."""

    async def main():
        async with name_server(ZONE, clock) as (server, resolver):
            await test(server, Checker(database, resolver, clock, node, resolver_name="127.0.0.1", **known))

    asyncio.run(asyncio.wait_for(main(), 60))


def outcomes(findings):
    return {one.check: one.outcome for one in findings}


def text(findings, check):
    return next(one.text for one in findings if one.check == check)


def test_an_address_is_checked_and_the_findings_are_kept(database, clock):
    site.change(database, ROOT, {"spf_host": "spf.example.com"})

    async def test(server: NameServer, checker: Checker) -> None:
        findings = await checker.check("node1.example.com", X)
        found = outcomes(findings)
        good = [f"P{number:02}" for number in range(1, 19) if number not in (4, 6)]
        assert {check: found[check] for check in good} == dict.fromkeys(good, "pass")
        assert text(findings, "P20") == f"2 of 3 domains do not allow {X} in SPF. Add a:spf.example.com or ip4:{X}."
        spf = next(one for one in findings if one.check == "P20")
        assert spf.outcome == "critical" and spf.evidence == (
            "bad.example: fail (-all); record to publish: v=spf1 mx a:spf.example.com -all",
            "soft.example: softfail (~all); record to publish: v=spf1 ip4:193.0.2.0/29 a:spf.example.com ~all",
        )
        assert found["P21"] == "pass" and found["P22"] == "unknown" and found["P06"] == "unknown" and found["P23"] == "info"
        assert "P04" not in found and "P24" not in found and "P25" not in found
        with database.read() as session:
            (kept,) = checkup.kept(session, "Node1.example.com", X)
            assert (kept.status, kept.findings, kept.checked_at) == ("critical", findings, clock.time())
            assert session.scalars(select(Checkup)).one().findings[0]["resolver"] == "127.0.0.1"
            assert checkup.kept(session, "node2.example.com") == []

    run(database, clock, test)


def test_a_check_asked_for_sees_dns_that_was_put_right_a_moment_ago(database, clock):
    async def test(server: NameServer, checker: Checker) -> None:
        server.zone = {**ZONE, "10.2.0.193.in-addr.arpa": {}}
        assert outcomes((await checker.check_now("node1.example.com", [X]))[X])["P07"] == "critical"
        server.zone = ZONE
        found = await checker.check_now("node1.example.com", [X, SIX, X])
        assert list(found) == [X, SIX] and outcomes(found[X])["P07"] == "pass"

    run(database, clock, test)


def test_trouble_with_dns_is_unknown(database, clock):
    async def test(server: NameServer, checker: Checker) -> None:
        server.zone = {"*": {"*": "SERVFAIL"}}
        found = outcomes(await checker.check("node1.example.com", X))
        asked = ("P07", "P08", "P09", "P10", "P11", "P13", "P15", "P16", "P20", "P26")
        assert {check: found[check] for check in asked} == dict.fromkeys(asked, "unknown")
        assert found["P12"] == "critical"  # its HELO is the node's name for want of another

    run(database, clock, test)


def test_what_was_confirmed_once_is_the_helo_while_dns_is_silent(database, clock):
    async def test(server: NameServer, checker: Checker) -> None:
        assert (await checker.gather("node1.example.com", X)).helo.helo == "out1.example.com"
        await checker.check("node1.example.com", X)
        server.zone["10.2.0.193.in-addr.arpa"] = {"*": "SILENT"}
        clock.advance(3600)
        facts = await checker.gather("node1.example.com", X)
        assert facts.names.state == "failed" and facts.helo.helo == "out1.example.com" and facts.helo.origin == "ptr"

    run(database, clock, test)


def test_an_underscore_in_a_ptr_is_told_and_the_name_not_used(database, clock):
    async def test(server: NameServer, checker: Checker) -> None:
        findings = await checker.check("node1.example.com", SIX)
        assert text(findings, "P09").startswith("The PTR 'out_6.example.com' contains an underscore")
        assert outcomes(findings)["P10"] == "pass" and outcomes(findings)["P04"] == "pass"
        assert "HELO node1.example.com does not resolve" in text(findings, "P15")

    run(database, clock, test)


def test_a_setting_that_is_not_saved_yet(database, clock):
    async def test(server: NameServer, checker: Checker) -> None:
        with database.read() as session:
            domain_id = directory.domain_of(session, "good.example").id
        draft = Draft(Target("domain", None, domain_id), Value(("193.0.2.77",), (SIX,), True))
        findings = await checker.check("node1.example.com", "193.0.2.77", draft=draft, replacing=X)
        found = outcomes(findings)
        assert found["P03"] == "critical" and found["P07"] == "critical"
        assert text(findings, "P24").startswith("There are 1,240 queued messages from locked senders.")
        assert text(findings, "P25") == "62 % of last week's receivers have no IPv6 address."
        assert text(findings, "P20") == "No sender's domain uses 193.0.2.77."  # IPv4 is disabled there
        only = Draft(draft.target, Value(("193.0.2.77",)))
        findings = await checker.check("node1.example.com", "193.0.2.77", draft=only)
        assert "good.example does not allow" in text(findings, "P20")
        with database.read() as session:
            assert checkup.kept(session) == []

    async def queued() -> int:
        return 1240

    tally = Tally(clock)
    for number in range(50):
        tally.received(f"receiver{number}.example", number >= 31)
    activity.keep(database, "node1.example.com", tally.take())
    run(database, clock, test, queued_locked=queued)


def test_an_address_in_use_is_warm_and_one_long_unused_is_cold(database, clock):
    def used(days: float) -> None:
        with database.keep() as session:
            session.merge(AddressUse(node="node1.example.com", address=X, used_at=clock.time() - days * 86_400))

    async def test(server: NameServer, checker: Checker) -> None:
        assert "is new" in text(await checker.check("node1.example.com", X), "P23")
        used(1)
        assert text(await checker.check("node1.example.com", X), "P23") == f"{X} is warm."
        used(31)
        assert "no mail for 30 days" in text(await checker.check("node1.example.com", X), "P23")

    run(database, clock, test)


def test_what_cannot_be_checked(database, clock):
    async def test(server: NameServer, checker: Checker) -> None:
        assert outcomes(await checker.check("node1.example.com", "1.2.3")) == {"P01": "critical"}
        found = outcomes(await checker.check("node1.example.com", "10.0.0.5"))
        assert found["P05"] == "critical" and found["P07"] == "unknown" and found["P20"] == "unknown"
        assert server.asked and not any("10.in-addr.arpa" in name for name, _ in server.asked)
        with pytest.raises(NotFound):
            await checker.check("node9.example.com", X)

    run(database, clock, test)


def test_private_addresses_are_looked_up_by_their_public_ones(database, clock):
    with database.change(ROOT, "x") as change:
        inventory.set_public_address(change, "node1.example.com", "10.0.0.5", X)

    async def test(server: NameServer, checker: Checker) -> None:
        found = outcomes(await checker.check("node1.example.com", "10.0.0.5"))
        assert found["P05"] == "warning" and found["P10"] == "pass" and found["P15"] == "pass"

    run(database, clock, test)


def test_what_block_lists_said(database, clock):
    with database.keep() as session:
        for number, (address, status, severity) in enumerate(
            [
                (X, "listed", "critical"),
                (X, "clean", "none"),
                (X, "not applicable", "none"),
                ("2a00:1450::9", "listed", "warning"),
            ]
        ):
            name = f"List {number}"
            block = Dnsbl(name=name, zone=f"l{number}.example", families=[4, 6], codes={}, kind="address")
            session.add(block)
            session.flush()
            row = Listing(address=address, dnsbl_id=block.id, status=status, severity=severity, checked_at=1.0, since=1.0)
            row.codes, row.meanings, row.reasons, row.listed_codes, row.expires_at = [], ["SBL"], [], [], 2.0
            row.listed_since = 1.0 if status == "listed" else None
            session.add(row)

    async def test(server: NameServer, checker: Checker) -> None:
        findings = await checker.check("node1.example.com", X)
        assert text(findings, "P22") == f"{X} is listed by List 0." and outcomes(findings)["P22"] == "critical"
        assert "2a00:1450::9 of the same /64 is listed." in text(await checker.check("node1.example.com", SIX), "P19")

    run(database, clock, test)


# ---- the probe ------------------------------------------------------------------------------------


def probed(reply: bytes, timeout_s: float = 5.0) -> Probe:
    async def main():
        seen = []

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            seen.append(writer.get_extra_info("peername")[0])
            writer.write(b"220 probe ESMTP\r\n")
            await reader.readline()
            writer.write(reply)
            await reader.read()
            writer.close()

        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        try:
            found = await checkup.probe("127.0.0.7", "127.0.0.1", port, "out.example", timeout_s)
            assert seen == ["127.0.0.7"]
            return found
        finally:
            server.close()

    return asyncio.run(asyncio.wait_for(main(), 60))


def test_the_probe_leaves_from_the_address_and_learns_how_it_is_seen():
    assert probed(b"250-probe Hello out.example [127.0.0.7]\r\n250 SIZE\r\n") == Probe(seen="127.0.0.7")
    assert probed(b"250 probe\r\n") == Probe()
    assert probed(b"", 0.3) == Probe()  # it was reached
    refused = asyncio.run(checkup.probe("127.0.0.7", "127.0.0.1", 1, "out.example", 5.0))
    assert refused.error and refused.reached


def test_connections_are_tried_by_the_node_itself(database, clock):
    site.change(database, ROOT, {"probe_host": "probe.example.com"})

    async def test(server: NameServer, checker: Checker) -> None:
        elsewhere = await checker.check("node2.example.com", X)
        assert "can be tried by node2.example.com alone" in text(elsewhere, "P06")
        here = await checker.check("node1.example.com", X)
        assert text(here, "P03").startswith(f"Mail cannot leave from {X} on node1.example.com: it is not on this machine")

    run(database, clock, test, node="node1.example.com")


# ---- all the time ---------------------------------------------------------------------------------


def test_a_node_reports_looks_up_and_checks_by_itself(database, clock):
    add_node(database, ROOT, "node3.example.com")
    logged = []

    async def test(server: NameServer, checker: Checker) -> None:
        upkeep = Upkeep(
            database,
            checker._resolver,
            clock,
            lambda event, fields: logged.append((event, fields)),
            "node3.example.com",
            checker,
            allow_loopback=True,
        )

        def reported() -> float | None:
            with database.read() as session:
                return session.scalars(select(Node.reported_at).where(Node.name == "node3.example.com")).one()

        async def until(holds: Callable[[], bool]) -> None:
            async with asyncio.timeout(60):
                while not holds():
                    await asyncio.sleep(0.01)

        def checked(since: float) -> bool:
            with database.read() as session:
                found = checkup.kept(session, "node3.example.com")
                return any(one.address == "127.0.0.1" and one.checked_at >= since for one in found)

        task = asyncio.create_task(upkeep.run())
        await until(lambda: reported() == clock.time() and len(clock._sleepers) == 4)
        assert (await checker.check("node1.example.com", X)) and ("10.2.0.193.in-addr.arpa", "PTR") in server.asked
        with database.change(ROOT, "rescan") as change:
            clock.advance(0.5)
            change.now = clock.time()
            inventory.ask_rescan(change, ["node3.example.com"])
        clock.advance(ASK_S)
        await until(lambda: reported() == clock.time())
        await until(lambda: len(clock._sleepers) == 4)
        clock.advance(LOOK_S)
        await until(lambda: checked(0.0))  # a new one, at once
        await until(lambda: len(clock._sleepers) == 4)
        with database.keep() as session:
            block = Dnsbl(name="Ours", zone="bl.example.net", families=[4], codes={}, kind="address")
            session.add(block)
            session.flush()
            times = {name: clock.time() + 1 for name in ("checked_at", "since", "listed_since", "listed_at")}
            row = Listing(address="127.0.0.1", dnsbl_id=block.id, status="listed", severity="warning", **times)
            row.codes, row.meanings, row.reasons, row.listed_codes, row.expires_at = [], [], [], [], clock.time()
            session.add(row)
        clock.advance(LOOK_S)
        await until(lambda: checked(clock.time()))  # one that came on a list, too
        night = next_night(clock.time(), "node3.example.com")
        assert not checked(night)
        await until(lambda: len(clock._sleepers) == 4)
        clock.advance(night - clock.time())

        await until(lambda: checked(night))
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    run(database, clock, test)
    assert logged == []


def test_each_node_has_a_time_of_its_own_at_night():
    day = 1_700_006_400.0  # midnight
    at = next_night(day, "node1.example.com")
    assert day + 3 * 3600 <= at < day + 4 * 3600
    assert next_night(at, "node1.example.com") == at + 86_400 and next_night(at - 1, "node1.example.com") == at
    assert next_night(day, "node2.example.com") != at

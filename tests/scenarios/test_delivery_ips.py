"""Delivery IPs on real mail: who sends leaves from the address that is set for them, as the receiver saw it."""

from __future__ import annotations

import asyncio
import sqlite3
import time
from base64 import b64encode
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from hslpy.admin.site import Site
from hslpy.admin.web import web_app
from hslpy.admin.who import LOCAL
from hslpy.clock import SystemClock
from hslpy.egress.accounts import directory, site
from hslpy.egress.accounts.nodes import add_node, has_applied, list_nodes, lock_node, unlock_node
from hslpy.egress.addresses import helos
from hslpy.egress.delivery_ips import settings
from hslpy.egress.reputation import suspensions
from hslpy.egress.store import activity, tables
from hslpy.egress.store.database import Actor, Database
from hslpy.egress.traffic import following
from hslpy.log import no_log
from tests.scenarios.harness import Client, Scenario, server
from tests.support.smtp_sink import Sink
from tests.users.test_file import quick

ROOT = Actor("root", "cli")
NODE = "node1.example.net"
PRIMARY = "127.0.0.2"
POOL = [f"127.0.1.{n}" for n in range(1, 6)]


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    """A site of one node, with a domain and some users."""
    found = Database(f"sqlite:///{tmp_path}/delivery.db", SystemClock())
    found.open()
    fill(found)
    yield found
    found.close()


def fill(database: Database, *nodes: str) -> None:
    for node in nodes or (NODE,):
        add_node(database, ROOT, node)
        with database.change(ROOT, "primary") as change:
            change.query(tables.Node).filter_by(name=node).one().primary_ipv4 = PRIMARY
    directory.add_domain(database, ROOT, "example.com")
    directory.add_domain(database, ROOT, "alias.example", alias_of="example.com")
    directory.add_domain(database, ROOT, "other.example")
    directory.add_user(database, ROOT, "example.com", "bob", hashed=quick("secret"))
    directory.add_user(database, ROOT, "example.com", "eve", hashed=quick("secret"))


def put(database: Database, *addresses: str, domain: str = "default", node: str = NODE, **more: object) -> None:
    where = {"filtering_host": node, "domain": domain, "interfaces": ";".join(addresses), "allow_loopback": True}
    settings.set_interfaces(database, ROOT, **where, **more)  # type: ignore[arg-type]


def make_strict(database: Database) -> None:
    with database.change(ROOT, "strict") as change:
        for row in change.query(tables.DeliverySetting):
            row.strict = True


def configured(database: Database, sink: Sink, more: str = "", next_hop: str = "127.0.0.1") -> str:
    return (
        f'[egress]\ndatabase = "{database.url.render_as_string(hide_password=False)}"\n'
        '[smtp]\nauth_without_tls = true\nauth_delay_s = 0\nrelay_networks = ["127.0.0.1"]\n'
        f'[[transport]]\nid = "mailtransport:1"\nnext_hop = "{next_hop}"\nport = {sink.port}\ntls = "disabled"\n'
        f"allow_private_targets = true\n{more}"
    )


async def known(s: Scenario) -> None:
    await s.until(lambda: s.app.following is not None and s.app.following.known.is_set())


async def sign_in(s: Scenario, name: str, password: str = "secret", source: str = "127.0.0.9") -> tuple[Client, str]:
    client = await s.client(source)
    await client.say("EHLO x.test")
    return client, await client.say("AUTH PLAIN " + b64encode(f"\0{name}\0{password}".encode()).decode())


async def send_as(s: Scenario, name: str, content: str = "Subject: x\r\n\r\nx\r\n") -> str:
    client, answer = await sign_in(s, name)
    assert answer.startswith("235"), answer
    reply = await client.say("MAIL FROM:<x@elsewhere.example>")
    if reply.startswith("250"):
        await client.say("RCPT TO:<to@receiver.example>")
        await client.say("DATA")
        reply = await client.say(content + ".")
    await client.close()
    return reply


def run(scenario: Callable[[], object]) -> None:
    asyncio.run(scenario())  # type: ignore[arg-type]


def seen(s: Scenario) -> int:
    """Give the revision that the server goes by."""
    departures = s.app.departures
    assert departures is not None and departures.picture is not None
    return departures.picture.revision


def test_the_most_specific_level_decides_and_helo_goes_with_the_address(tmp_path: Path, database: Database) -> None:
    put(database, POOL[0])
    put(database, POOL[1], domain="example.com")
    put(database, POOL[2], domain="example.com", username="bob")
    put(database, POOL[3], domain="example.com", username="bob", identity="News")
    site.change(database, ROOT, {"identity_header": "X-Stream"})
    with database.change(ROOT, "helo") as change:
        helos.set_helo(change, POOL[2], "out2.example.com")

    async def scenario() -> None:
        async with Sink() as sink, server(tmp_path, configured(database, sink), hostname=NODE) as s:
            await known(s)
            await send_as(s, "bob@alias.example")
            await send_as(s, "BOB@example.com", content="x-stream:\r\n  news \r\nSubject: x\r\n\r\nx\r\n")
            await send_as(s, "eve@example.com")
            client = await s.client()  # one that may relay: the sender's domain decides
            await client.send("y@ALIAS.example", "to@receiver.example")
            await client.send("y@nobody.example", "to@receiver.example")
            await client.send("", "to@receiver.example")
            await client.close()
            await s.until(lambda: len(sink.received) == 6)
            peers = [(one.mail.partition(">")[0].lower(), one.peer_ip, one.helo) for one in sink.received]
            assert sorted(peers) == sorted(
                [
                    ("<x@elsewhere.example", POOL[2], "out2.example.com"),
                    ("<x@elsewhere.example", POOL[3], NODE),
                    ("<x@elsewhere.example", POOL[1], NODE),
                    ("<y@alias.example", POOL[1], NODE),
                    ("<y@nobody.example", POOL[0], NODE),
                    ("<", POOL[0], NODE),
                ]
            )
            tried = next(one for one in s.fields_of("delivery.attempt") if one["local_ip"] == POOL[2])
            assert (tried["named_by"], tried["scope_level"], tried["scope"]) == (
                "delivery_ips", "user", "user example.com/bob",
            )  # fmt: skip
            await s.app.stop(2.0)  # which keeps what was seen
            assert directory.identities(database, "example.com", "bob") == ["news"]

    run(scenario)


def test_a_change_is_followed_and_a_user_by_address_needs_no_password(tmp_path: Path, database: Database) -> None:
    directory.add_user(database, ROOT, "example.com", "127.0.0.64/28")

    async def scenario() -> None:
        async with Sink() as sink, server(tmp_path, configured(database, sink), hostname=NODE) as s:
            await known(s)
            client = await s.client("127.0.0.70")
            assert (await client.send("x@elsewhere.example", "to@receiver.example")).startswith("250")
            put(database, POOL[4], domain="example.com", username="127.0.0.64/28")
            await s.until(lambda: seen(s) == database.revision())
            assert (await client.send("x@elsewhere.example", "to@receiver.example")).startswith("250")
            await client.close()
            await s.until(lambda: len(sink.received) == 2)
            assert [one.peer_ip for one in sink.received] == [PRIMARY, POOL[4]]
            (node,) = list_nodes(database)
            assert node.revision == database.revision()
            stranger = await s.client("127.0.0.80")
            assert (await stranger.send("x@elsewhere.example", "to@receiver.example")).startswith("550 5.7.1")
            await stranger.close()

    run(scenario)


def test_a_change_holds_on_its_node_before_it_is_answered(tmp_path: Path, database: Database) -> None:
    async def scenario() -> None:
        async with Sink() as sink, server(tmp_path, configured(database, sink), hostname=NODE) as s:
            await known(s)
            app = web_app(Site(database, SystemClock(), no_log, NODE, control=s.app.settings.control_path))

            async def of_operator(scope: Any, receive: Any, send: Any) -> None:
                await app({**scope, LOCAL: True}, receive, send)

            asked = {"call": "api_set_outgoing_interfaces", "domain": "default", "filtering_host": NODE}
            transport = httpx.ASGITransport(of_operator)
            async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as web:
                for address in ("192.0.2.1", "192.0.2.2"):
                    reply = await web.get("/cgi-bin/api", params={**asked, "interfaces": address})
                    picture = s.app.departures.picture
                    assert reply.status_code == 200 and picture is not None and picture.revision == database.revision()

    run(scenario)


def test_a_locked_user_sends_nothing_more_and_its_mail_is_held(tmp_path: Path, database: Database) -> None:
    async def scenario() -> None:
        sink = Sink(answers={"EOD": "451 4.3.0 not now"})
        async with sink, server(tmp_path, configured(database, sink), hostname=NODE) as s:
            await known(s)
            client, _ = await sign_in(s, "bob@example.com")
            assert (await send_as(s, "bob@example.com")).startswith("250")
            assert (await send_as(s, "eve@example.com")).startswith("250")
            await s.until(lambda: s.events()["delivery.deferred"] == 2)
            directory.lock_user(database, ROOT, "example.com", "bob", "spam")
            revision = database.revision()
            await s.until(lambda: seen(s) == revision)
            assert (await client.say("MAIL FROM:<x@elsewhere.example>")).startswith("550 5.7.1")
            await client.close()
            other, answer = await sign_in(s, "bob@example.com")
            assert answer.startswith("535")
            await other.close()
            assert s.fields_of("smtp.login_failed")[-1]["reason"] == "the user is locked: spam"
            listed = (await s.app.commands["queue.list"]({"held": True}))["recipients"]
            assert [one["held_because"] for one in listed] == ["the outgoing user bob@example.com is locked: spam"]
            sink.answers.clear()
            await s.app.queue.release(s.app.queue._index.ids())  # an operator's order does not unlock
            await s.until(lambda: len(sink.received) == 1)
            await asyncio.sleep(0.2)
            assert s.app.queued == 1 and len(sink.received) == 1
            directory.unlock_user(database, ROOT, "example.com", "bob")
            await s.until(lambda: len(sink.received) == 2 and s.app.queued == 0)

    run(scenario)


def test_a_session_whose_user_is_removed_sends_nothing_more(tmp_path: Path, database: Database) -> None:
    """Not even in the name of a domain that it had nothing to do with."""

    async def scenario() -> None:
        async with Sink() as sink, server(tmp_path, configured(database, sink), hostname=NODE) as s:
            await known(s)
            client, _ = await sign_in(s, "bob@example.com")
            assert (await client.say("MAIL FROM:<x@elsewhere.example>")).startswith("250")
            assert (await client.say("RSET")).startswith("250")
            directory.remove_user(database, ROOT, "example.com", "bob")
            revision = database.revision()
            await s.until(lambda: seen(s) == revision)
            for sender in ("x@elsewhere.example", "x@example.com", ""):
                assert (await client.say(f"MAIL FROM:<{sender}>")).startswith("550 5.7.1")
            assert s.fields_of("smtp.sender_locked")[-1]["reason"] == "there is no such user any more"
            await client.close()

    run(scenario)


def test_a_locked_node_takes_mail_and_delivers_none(tmp_path: Path, database: Database) -> None:
    async def scenario() -> None:
        async with Sink() as sink, server(tmp_path, configured(database, sink), hostname=NODE) as s:
            await known(s)
            assert (await send_as(s, "bob@example.com")).startswith("250")
            await s.until(lambda: len(sink.received) == 1 and s.app.client.idle_connections == 1)
            sink.received.clear()
            lock_node(database, ROOT, NODE, "its address is\r\nlisted")
            await s.until(lambda: seen(s) == database.revision() and not s.app.client.idle_connections)
            assert (await send_as(s, "bob@example.com")).startswith("250")
            client = await s.client("127.0.0.1")
            assert (await client.send("y@nobody.example", "to@receiver.example")).startswith("250")
            await client.close()
            await s.app.queue.release(s.app.queue._index.ids())
            await asyncio.sleep(0.3)
            listed = (await s.app.commands["queue.list"]({"held": True}))["recipients"]
            why = f"the server {NODE} is locked: its address is listed"
            assert [one["held_because"] for one in listed] == [why, why] and not sink.received
            unlock_node(database, ROOT, NODE)
            await s.until(lambda: len(sink.received) == 2 and s.app.queued == 0)

    run(scenario)


def test_the_address_stays_for_retries_and_changes_after_a_block(tmp_path: Path, database: Database) -> None:
    put(database, *POOL)

    async def scenario() -> None:
        sink = Sink(answers={"RCPT": "451 4.7.1 Greylisted, come again"})
        async with sink, server(tmp_path, configured(database, sink), hostname=NODE) as s:
            await known(s)
            await send_as(s, "bob@example.com")

            async def tried_again(times: int) -> None:
                await s.until(lambda: s.events()["delivery.deferred"] == times and not s.app.delivery.under_way)
                await s.app.queue.release(s.app.queue._index.ids())

            await tried_again(1)
            put(database, *POOL, *(f"127.0.2.{n}" for n in range(1, 50)))
            revision = database.revision()
            await s.until(lambda: seen(s) == revision)
            await tried_again(2)
            sink.answers["RCPT"] = lambda line: f"451 4.7.1 {sink.peers[-1]} is listed at zen.spamhaus.org"
            await tried_again(3)
            await s.until(lambda: s.events()["delivery.deferred"] == 4)
            (row,) = (await s.app.commands["queue.list"]({}))["recipients"]
            assert len(row["egress"]["avoid"].split()) == 2
            sink.answers.clear()
            await tried_again(4)
            await s.until(lambda: len(sink.received) == 1)
            tried = [str(one["local_ip"]) for one in s.fields_of("delivery.attempt")]
            assert len(tried) == 5 and tried[0] == tried[1] == tried[2], "kept, though the pool has grown"
            assert len({*tried[2:]}) == 3, "another one after each block"

    run(scenario)


def test_an_address_that_is_not_here_is_skipped_alarmed_and_never_charged(tmp_path: Path, database: Database) -> None:
    put(database, "192.0.2.7", POOL[0], domain="example.com")
    put(database, "192.0.2.8", domain="example.com", username="eve")

    async def scenario() -> None:
        async with Sink() as sink, server(tmp_path, configured(database, sink), hostname=NODE) as s:
            await known(s)
            for _ in range(6):
                await send_as(s, "bob@example.com")
            await send_as(s, "eve@example.com")
            await s.until(lambda: len(sink.received) == 7)
            assert {one.peer_ip for one in sink.received} == {POOL[0]}
            assert s.events()["delivery.deferred"] == s.events()["delivery.waiting"] == 0
            missing = {one["address"] for one in s.fields_of("delivery.address_missing")}
            assert "192.0.2.8" in missing and s.fields_of("delivery.fell_back")[0]["level"] == "critical"

            def kept() -> set[str]:
                with database.read() as session:
                    return {one.address for one in session.query(tables.Suspension) if one.node == NODE}

            await s.until(lambda: kept() == missing)

    run(scenario)


def test_an_operator_takes_an_address_out_of_use_and_back(tmp_path: Path, database: Database) -> None:
    put(database, POOL[0])
    put(database, POOL[1], domain="example.com")

    async def scenario() -> None:
        async with Sink() as sink, server(tmp_path, configured(database, sink), hostname=NODE) as s:
            await known(s)

            async def source_of_the_next() -> str:
                revision, before = database.revision(), len(sink.received)
                await s.until(lambda: seen(s) == revision)
                await send_as(s, "bob@example.com")
                await s.until(lambda: len(sink.received) > before)
                return sink.received[-1].peer_ip

            assert await source_of_the_next() == POOL[1]
            suspensions.suspend(database, ROOT, POOL[1], reason="complaints")
            assert await source_of_the_next() == POOL[0]
            suspensions.lift(database, ROOT, POOL[1])
            assert await source_of_the_next() == POOL[1]

    run(scenario)


def test_a_strict_setting_keeps_its_mail_until_its_address_is_there(tmp_path: Path, database: Database) -> None:
    put(database, "192.0.2.7", domain="example.com")
    make_strict(database)

    async def scenario() -> None:
        async with Sink() as sink, server(tmp_path, configured(database, sink), hostname=NODE) as s:
            await known(s)
            await send_as(s, "bob@example.com")
            await s.until(lambda: s.events()["delivery.waiting"] == 1)
            (row,) = (await s.app.commands["queue.list"]({}))["recipients"]
            assert row["last_error"].startswith(f"4.3.5 no configured delivery address is available on {NODE}")
            assert row["retries"] == 0 and not sink.peers
            put(database, POOL[0], domain="example.com")
            revision = database.revision()
            await s.until(lambda: seen(s) == revision)
            await s.app.queue.release([row["queue_id"]])
            await s.until(lambda: len(sink.received) == 1)
            assert sink.peers == [POOL[0]]

    run(scenario)


def test_ipv4_switched_off(tmp_path: Path, database: Database) -> None:
    put(database, domain="example.com", disable_ipv4="1")

    async def scenario() -> None:
        async with Sink("::1") as sink, Sink("127.0.0.1", sink.port) as never:
            more = configured(database, sink, next_hop="mx.example.net")
            async with server(tmp_path, more, hostname=NODE) as s:
                await known(s)
                s.resolver.set("mx.example.net", "A", ["127.0.0.1"])
                await send_as(s, "bob@example.com")
                await s.until(lambda: s.events()["delivery.deferred"] == 1)
                (row,) = (await s.app.commands["queue.list"]({}))["recipients"]
                wanted = "4.4.0 IPv4 delivery is disabled for this sender and the receiver has no IPv6 address"
                assert (row["last_error"], row["retries"], row["state"]) == (wanted, 1, "waiting")
                s.resolver.set("mx.example.net", "AAAA", ["::1"])
                await s.app.queue.release([row["queue_id"]])
                await s.until(lambda: len(sink.received) == 1)
                assert not never.peers and sink.peers == ["::1"]

    run(scenario)


def test_scripts_and_transports_override_it(tmp_path: Path, database: Database) -> None:
    put(database, POOL[0])
    (tmp_path / "pre.hsl").write_text('if ($recipient == "to@receiver.example") Try(["sourceip" => ["netaddr:1"]]);\n')
    source = '[hooks]\npredelivery = "pre.hsl"\n[[source]]\nid = "netaddr:1"\naddress = "127.0.3.1"\n'

    async def scenario() -> None:
        async with Sink() as sink, server(tmp_path, configured(database, sink, source), hostname=NODE) as s:
            await known(s)
            client = await s.client()
            await client.send("x@example.com", "to@receiver.example")
            await client.send("x@example.com", "other@receiver.example")
            await client.close()
            await s.until(lambda: len(sink.received) == 2)
            assert {one.rcpts[0].partition(">")[0]: one.peer_ip for one in sink.received} == {
                "<to@receiver.example": "127.0.3.1",
                "<other@receiver.example": POOL[0],
            }

    run(scenario)


def test_mail_is_taken_while_the_database_is_away_and_waits_for_it(tmp_path: Path, database: Database) -> None:
    put(database, POOL[0])
    file = tmp_path / "delivery.db"
    database.close()
    file.rename(tmp_path / "gone")
    file.mkdir()  # no database

    async def scenario() -> None:
        async with Sink() as sink, server(tmp_path, configured(database, sink), hostname=NODE) as s:
            await s.until(lambda: s.events()["egress.not_opened"])
            client, answer = await sign_in(s, "bob@example.com")
            assert answer.startswith("454 4.7.0")
            await client.close()
            client = await s.client()
            assert (await client.send("x@example.com", "to@receiver.example")).startswith("250")
            await client.close()
            await asyncio.sleep(0.3)
            assert s.app.queued == 1 and not sink.peers
            file.rmdir()
            (tmp_path / "gone").rename(file)
            await s.until(lambda: len(sink.received) == 1)
            assert sink.peers == [POOL[0]]
            assert (await send_as(s, "bob@example.com")).startswith("250")
        # The next start finds it away again, and goes by the copy.
        await asyncio.to_thread(file.rename, tmp_path / "gone")
        file.mkdir()
        async with Sink() as sink, server(tmp_path, configured(database, sink), hostname=NODE) as s:
            await known(s)
            assert (await send_as(s, "bob@example.com")).startswith("250")
            await s.until(lambda: len(sink.received) == 1)
            assert sink.peers == [POOL[0]] and s.fields_of("egress.from_copy")[0]["level"] == "warning"
            assert (tmp_path / "data/delivery-ips.copy").stat().st_mode & 0o777 == 0o600

    run(scenario)


def test_what_the_database_says_stays_in_force_while_it_is_away(tmp_path: Path, database: Database) -> None:
    put(database, POOL[0])

    async def scenario() -> None:
        async with Sink() as sink, server(tmp_path, configured(database, sink), hostname=NODE) as s:
            await known(s)
            blocker = sqlite3.connect(tmp_path / "delivery.db")
            blocker.execute("ALTER TABLE revision RENAME TO hidden")
            blocker.commit()
            await s.until(lambda: s.events()["egress.away"])
            assert (await send_as(s, "bob@example.com")).startswith("250")
            await s.until(lambda: len(sink.received) == 1)
            assert sink.peers == [POOL[0]]
            blocker.execute("ALTER TABLE hidden RENAME TO revision")
            blocker.commit()
            blocker.close()
            await s.until(lambda: s.events()["egress.back"])

    run(scenario)


def test_mail_goes_on_from_the_same_address_when_the_file_is_removed_and_by_a_backup_once_it_is_there(
    tmp_path: Path, database: Database
) -> None:
    put(database, POOL[1])
    file, saved = tmp_path / "delivery.db", tmp_path / "backup"
    with sqlite3.connect(file) as source, sqlite3.connect(saved) as target:
        source.backup(target)
    target.close()
    source.close()
    put(database, POOL[0])
    database.close()

    async def scenario() -> None:
        async with Sink() as sink, server(tmp_path, configured(database, sink), hostname=NODE) as s:
            await known(s)
            file.unlink()
            await s.until(lambda: s.events()["egress.away"])
            away = s.fields_of("egress.away")[0]
            assert "was removed" in away["reason"] and "latest backup" in away["hint"]
            assert (await send_as(s, "bob@example.com")).startswith("250")
            await s.until(lambda: len(sink.received) == 1)
            assert sink.peers == [POOL[0]] and not file.exists()
        # Nothing is made in its place at the next start; what is known is the copy.
        async with Sink() as sink, server(tmp_path, configured(database, sink), hostname=NODE) as s:
            await s.until(lambda: s.events()["egress.not_opened"])
            told = s.fields_of("egress.not_opened")[0]
            assert "is gone" in told["reason"] and "delivery-ips.copy" in told["hint"]
            assert (await send_as(s, "bob@example.com")).startswith("250")
            await s.until(lambda: len(sink.received) == 1)
            assert sink.peers == [POOL[0]] and not file.exists()
            saved.rename(file)
            await s.until(lambda: s.app.departures.picture.book.settings and s.app.following.opened.done())
            assert (await send_as(s, "bob@example.com")).startswith("250")
            await s.until(lambda: len(sink.received) == 2)
            assert sink.peers[-1] == POOL[1]

    run(scenario)


def test_an_auth_script_asks_for_the_users_of_the_database(tmp_path: Path, database: Database) -> None:
    put(database, POOL[0], domain="example.com", username="bob")
    directory.lock_user(database, ROOT, "example.com", "eve")
    (tmp_path / "auth.hsl").write_text(
        """
        $user = outgoing_user($saslusername, $saslpassword);
        if (!$user or !$user["authenticated"] or $user["locked"]) Reject();
        Accept();
        """
    )

    async def scenario() -> None:
        async with Sink() as sink:
            more = configured(database, sink, '[hooks]\nauth = "auth.hsl"\n')
            async with server(tmp_path, more, hostname=NODE) as s:
                await known(s)
                for name, password, code in (
                    ("bob@example.com", "secret", "235"),
                    ("bob@example.com", "wrong", "535"),
                    ("eve@example.com", "secret", "535"),
                    ("nobody@example.com", "secret", "535"),
                ):
                    client, answer = await sign_in(s, name, password)
                    assert answer[:3] == code, (name, answer)
                    await client.close()
                assert (await send_as(s, "bob@example.com")).startswith("250")
                await s.until(lambda: len(sink.received) == 1)
                assert sink.peers == [POOL[0]]

    run(scenario)


@pytest.mark.parametrize("next_hop", ["", "127.0.0.1", "relay.example"])
def test_receivers_without_an_ipv6_address_are_counted(tmp_path: Path, database: Database, next_hop: str) -> None:
    """Where all mail goes by a next hop, it is that one's address that counts."""
    put(database, domain="example.com", disable_ipv4="1")

    async def scenario() -> None:
        async with (
            Sink("127.0.0.1") as sink,
            server(tmp_path, configured(database, sink, next_hop=next_hop), hostname=NODE) as s,
        ):
            await known(s)
            for name in ("receiver.example", "relay.example"):
                s.resolver.set(name, "A", ["127.0.0.1"])
            for _ in range(2):
                await send_as(s, "bob@example.com")
            await s.until(lambda: s.events()["delivery.deferred"] == 2)
        with database.read() as session:
            assert activity.without_ipv6(session, time.time()) == 1.0

    run(scenario)


def test_which_changes_a_node_goes_by_is_told_again_where_that_failed_once(
    tmp_path: Path, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Or the page would say for ever that the node does not follow."""
    tell, failed = has_applied, []

    def fail_once(*told: Any) -> None:
        if not failed:
            failed.append(told)
            raise sqlite3.OperationalError("database is locked")
        tell(*told)

    monkeypatch.setattr("hslpy.egress.accounts.nodes.has_applied", fail_once)
    monkeypatch.setattr(following, "_TELL_S", 0.0)

    async def scenario() -> None:
        async with Sink() as sink, server(tmp_path, configured(database, sink), hostname=NODE) as s:
            await known(s)
            await s.until(lambda: list_nodes(database)[0].revision == database.revision())
            assert failed and s.events()["egress.away"] == 0

    run(scenario)

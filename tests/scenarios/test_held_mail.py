"""What is held for a locked sender stays held: whatever it is renamed to, after a restart, and until somebody says else."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import httpx
import pytest

from hslpy.admin.site import Site
from hslpy.admin.web import web_app
from hslpy.admin.who import LOCAL
from hslpy.clock import SystemClock
from hslpy.egress.accounts import directory
from hslpy.egress.accounts.nodes import add_node, lock_node, remove_node, set_node
from hslpy.egress.store import queues
from hslpy.egress.store.database import Database
from hslpy.log import no_log
from tests.scenarios.harness import Scenario, server
from tests.scenarios.test_delivery_ips import (
    NODE,
    POOL,
    ROOT,
    configured,
    database,
    known,
    put,
    run,
    seen,
    send_as,
    sign_in,
)
from tests.support.smtp_sink import Sink
from tests.users.test_file import quick

__all__ = ["database"]

QUICK = quick("secret")
NOT_NOW: Mapping[str, str] = {"EOD": "451 4.3.0 not now"}


async def followed(s: Scenario, database: Database) -> None:
    await s.until(lambda: seen(s) == database.revision())


async def put_off(s: Scenario, sink: Sink, *names: str) -> None:
    """Have mail of these users be in the queue, tried once."""
    sink.answers.update(NOT_NOW)
    before = s.events()["delivery.deferred"]
    for name in names:
        assert (await send_as(s, name)).startswith("250")
    await s.until(lambda: s.events()["delivery.deferred"] == before + len(names))
    sink.answers.clear()
    sink.received.clear()


async def let_all_go(s: Scenario) -> None:
    """Have an operator try everything, and wait until nothing more can come of it."""
    await s.app.queue.release(s.app.queue._index.ids())
    await asyncio.sleep(0.2)
    await s.until(lambda: s.app.queue.in_flight == 0)


async def held(s: Scenario) -> list[str]:
    return [one["held_because"] for one in (await s.app.commands["queue.list"]({"held": True}))["recipients"]]


async def call(s: Scenario, database: Database, method: str, path: str, **asked: Any) -> httpx.Response:
    app = web_app(Site(database, SystemClock(), no_log, NODE, control=s.app.settings.control_path))

    async def of_operator(scope: Any, receive: Any, send: Any) -> None:
        await app({**scope, LOCAL: True}, receive, send)

    async with httpx.AsyncClient(transport=httpx.ASGITransport(of_operator), base_url="http://localhost") as web:
        return await web.request(method, "/api/v1" + path, **asked)


def test_renaming_keeps_the_hold_over_a_restart_and_mail_leaves_by_the_new_name(tmp_path: Path, database: Database) -> None:
    put(database, POOL[1], domain="example.com", username="bob")

    async def scenario() -> None:
        async with Sink() as sink:
            text = configured(database, sink)
            async with server(tmp_path, text, hostname=NODE) as s:
                await known(s)
                await put_off(s, sink, "bob@example.com", "eve@example.com")
                directory.lock_user(database, ROOT, "example.com", "bob", "spam")
                directory.set_user(database, ROOT, "example.com", "bob", new_name="rob")
                directory.set_domain(database, ROOT, "example.com", new_name="example.org")
                directory.set_user(database, ROOT, "example.org", "rob", new_name="robert")
                await followed(s, database)
                await let_all_go(s)
                assert [one.peer_ip for one in sink.received] != [] and len(sink.received) == 1
                assert await held(s) == ["the outgoing user robert@example.org is locked: spam"]
                found = await s.app.commands["queue.list"]({"egress": {"domain": ["example.org"], "username": ["robert"]}})
                assert found["matching"] == 1 and found["recipients"][0]["egress"]["username"] == "robert"
                for taken in (
                    lambda: directory.add_user(database, ROOT, "example.org", "bob", password="x"),
                    lambda: directory.set_user(database, ROOT, "example.org", "eve", new_name="rob"),
                    lambda: directory.add_domain(database, ROOT, "example.com"),
                    lambda: directory.add_domain(database, ROOT, "example.com", alias_of="other.example"),
                ):
                    with pytest.raises(directory.Refused, match=r"is the former name of another .* held for a lock$"):
                        taken()
            sink.received.clear()
            async with server(tmp_path, text, hostname=NODE) as s:
                await known(s)
                await let_all_go(s)
                assert await held(s) == ["the outgoing user robert@example.org is locked: spam"] and not sink.received
                directory.unlock_user(database, ROOT, "example.org", "robert")
                await s.until(lambda: s.app.queued == 0)
                assert [one.peer_ip for one in sink.received] == [POOL[1]]

    run(scenario)


def test_a_locked_user_is_not_removed_before_it_is_said_what_becomes_of_its_mail(tmp_path: Path, database: Database) -> None:
    async def scenario() -> None:
        async with Sink() as sink, server(tmp_path, configured(database, sink), hostname=NODE) as s:
            await known(s)
            await put_off(s, sink, "bob@example.com", "bob@example.com", "eve@example.com")
            directory.lock_user(database, ROOT, "example.com", "bob")
            directory.lock_user(database, ROOT, "example.com", "eve")
            await followed(s, database)
            bob, eve = ({"domain": "example.com", "username": name} for name in ("BOB", "eve"))
            look = await call(s, database, "DELETE", "/users", params={**bob, "only_look": "true"})
            assert look.json() == {"text": "outgoing user 'bob' of example.com was removed", "held": 2}
            refused = await call(s, database, "DELETE", "/users", params=bob)
            assert refused.status_code == 409
            assert "bob@example.com is locked, and 2 recipients of theirs wait in the queue, held" in refused.text
            refused = await call(s, database, "DELETE", "/domains/example.com")
            assert refused.status_code == 409 and "3 recipients of theirs" in refused.text
            await let_all_go(s)
            assert s.app.queued == 3 and not sink.received
            assert (await call(s, database, "DELETE", "/users", params={**bob, "queued": "remove"})).status_code == 200
            await s.until(lambda: s.app.queued == 1)
            assert (await call(s, database, "DELETE", "/users", params={**eve, "queued": "release"})).status_code == 200
            await s.until(lambda: s.app.queued == 0)
            assert len(sink.received) == 1
            directory.add_user(database, ROOT, "example.com", "bob", hashed=QUICK)  # whose mail is its own
            await followed(s, database)
            assert (await send_as(s, "bob@example.com")).startswith("250")
            await s.until(lambda: len(sink.received) == 2)

    run(scenario)


def test_who_takes_a_removed_name_keeps_its_own_mail(tmp_path: Path, database: Database) -> None:
    """What it sent before, by the name that it had, is not the removed one's, whether it was tried since or not."""

    async def scenario() -> None:
        async with Sink() as sink, server(tmp_path, configured(database, sink), hostname=NODE) as s:
            await known(s)
            directory.add_user(database, ROOT, "example.com", "kim", hashed=QUICK)
            await followed(s, database)
            await put_off(s, sink, "bob@example.com", "eve@example.com", "kim@example.com")
            directory.set_user(database, ROOT, "example.com", "bob", new_name="rob")
            directory.set_domain(database, ROOT, "example.com", new_name="example.org")
            directory.remove_user(database, ROOT, "example.org", "rob", queued="remove")
            await s.until(lambda: s.app.queued == 2)  # bob's is gone, by all its names
            directory.set_user(database, ROOT, "example.org", "eve", new_name="rob")
            await followed(s, database)
            sink.answers.update(NOT_NOW)
            await let_all_go(s)
            directory.set_user(database, ROOT, "example.org", "kim", new_name="kit")  # have the queue looked through
            directory.remove_user(database, ROOT, "example.org", "kit", queued="remove")
            await s.until(lambda: s.app.queued == 1)
            assert await held(s) == []
            sink.answers.clear()
            sink.received.clear()
            await let_all_go(s)
            assert s.app.queued == 0 and len(sink.received) == 1

    run(scenario)


def test_a_removed_domains_mail_goes_with_it_from_a_node_that_was_away(tmp_path: Path, database: Database) -> None:
    async def scenario() -> None:
        async with Sink() as sink:
            text = configured(database, sink)
            async with server(tmp_path, text, hostname=NODE) as s:
                await known(s)
                await put_off(s, sink, "bob@example.com", "eve@example.com")
                directory.set_domain(database, ROOT, "example.com", new_name="example.org", locked=True)
            with pytest.raises(directory.Refused, match="mail of theirs may be held in the queues, which cannot be asked"):
                directory.remove_domain(database, ROOT, "example.org", held=None)
            directory.remove_domain(database, ROOT, "example.org", held=None, queued="remove")
            async with server(tmp_path, text, hostname=NODE) as s:
                await s.until(lambda: s.app.queued == 0)
                assert not sink.received

    run(scenario)


@pytest.mark.parametrize("how", ["domain", "own user", "by address", "identity"])
def test_every_way_of_being_locked_holds_and_unlocking_lets_go(tmp_path: Path, database: Database, how: str) -> None:
    directory.add_user(database, ROOT, "example.com", hashed=QUICK)
    directory.add_user(database, ROOT, "example.com", "127.0.0.64/28")
    put(database, POOL[2], domain="example.com", username="bob", identity="news")

    def lock(locked: bool) -> None:
        change = directory.lock_user if locked else directory.unlock_user
        if how == "domain":
            directory.set_domain(database, ROOT, "example.com", locked=locked)
        else:
            name = {"own user": "", "by address": "127.0.0.64/28", "identity": "bob"}[how]
            change(database, ROOT, "example.com", name)

    async def scenario() -> None:
        hooks = '[hooks]\ndata = "data.hsl"\n'
        (tmp_path / "data.hsl").write_text('SetMetaData(["identity" => "news"]);\n')
        sink = Sink(answers=dict(NOT_NOW))
        async with sink, server(tmp_path, configured(database, sink, hooks), hostname=NODE) as s:
            await known(s)
            if how == "by address":
                client = await s.client("127.0.0.70")
                await client.say("EHLO x.test")
            else:
                client, _ = await sign_in(s, "example.com" if how == "own user" else "bob@example.com")
            for line in ("MAIL FROM:<x@elsewhere.example>", "RCPT TO:<to@receiver.example>"):
                assert (await client.say(line)).startswith("250")
            assert (await client.say("DATA")).startswith("354")
            lock(True)  # in that instant
            await followed(s, database)
            assert (await client.say("Subject: x\r\n\r\nx\r\n.")).startswith("250")
            assert (await client.say("MAIL FROM:<x@elsewhere.example>")).startswith("550 5.7.1")
            await client.close()
            sink.answers.clear()
            await let_all_go(s)
            assert len(await held(s)) == 1 and not sink.received
            lock(False)
            await s.until(lambda: s.app.queued == 0 and len(sink.received) == 1)

    run(scenario)


def test_a_user_removed_while_its_message_comes_in_is_refused_at_its_end(tmp_path: Path, database: Database) -> None:
    async def scenario() -> None:
        async with Sink() as sink, server(tmp_path, configured(database, sink), hostname=NODE) as s:
            await known(s)
            client, _ = await sign_in(s, "bob@example.com")
            for line in ("MAIL FROM:<x@example.com>", "RCPT TO:<to@receiver.example>", "DATA"):
                await client.say(line)
            directory.remove_user(database, ROOT, "example.com", "bob")
            await followed(s, database)
            assert (await client.say("Subject: x\r\n\r\nx\r\n.")).startswith("550 5.7.1")
            assert s.app.queued == 0
            await client.close()

    run(scenario)


def test_a_locked_node_is_neither_renamed_nor_removed(database: Database) -> None:
    lock_node(database, ROOT, NODE)
    for change in (
        lambda: remove_node(database, ROOT, NODE),
        lambda: set_node(database, ROOT, NODE, new_name="node9.example.net"),
    ):
        with pytest.raises(directory.Refused, match="is locked, and its mail is held: unlock it first"):
            change()


def test_each_node_tells_the_others_what_it_has_queued(
    tmp_path: Path, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who removes a locked user on one node is asked about its mail on the others, too."""
    other = "node2.example.net"
    add_node(database, ROOT, other)
    monkeypatch.setattr(queues, "KEEP_EVERY_S", 0.05)

    def told() -> queues.QueueOf:
        with database.read() as session:
            return next(one for one in queues.read(session, but=NODE) if one.node == other)

    async def scenario() -> None:
        (tmp_path / "one").mkdir()
        (tmp_path / "two").mkdir()
        async with (
            Sink() as sink,
            server(tmp_path / "one", configured(database, sink), hostname=NODE) as s,
            server(tmp_path / "two", configured(database, sink), hostname=other) as beside,
        ):
            await known(s)
            await known(beside)
            await put_off(beside, sink, "bob@example.com", "eve@example.com")
            directory.lock_user(database, ROOT, "example.com", "bob")
            await beside.until(lambda: told().counts.locked == {"bob@example.com": 1})
            assert (told().counts.total, told().counts.destinations) == (2, {"receiver.example": 2})
            assert told().counts.states["held"] == 1
            bob = {"domain": "example.com", "username": "bob"}
            refused = await call(s, database, "DELETE", "/users", params=bob)
            assert refused.status_code == 409 and "mail of theirs may be held" in refused.text  # it may not know of the lock
            with database.read() as session:
                changed_at = directory.changed_at(session)
            await beside.until(lambda: told().knows(changed_at))
            refused = await call(s, database, "DELETE", "/users", params=bob)
            assert refused.status_code == 409 and "1 recipient of theirs" in refused.text
            rows = (await call(s, database, "GET", "/queue/nodes")).json()
            assert [(row["node"], row["counts"]["total"]) for row in rows] == [(NODE, 0), (other, 2)]
            answer = (await call(s, database, "GET", "/queue")).json()
            assert (answer["node"], answer["other_nodes"]) == (NODE, {other: ""})

    run(scenario)

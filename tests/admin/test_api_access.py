"""Who may do what by the JSON API: roles, scopes, sessions, other sites, guesses."""

from __future__ import annotations

import asyncio
import json
import sqlite3

import pytest
from sqlalchemy import select
from sqlalchemy.exc import OperationalError

from hslpy.admin.api.application import describe, json_api, routes
from hslpy.admin.api.frame import needs_of
from hslpy.admin.sign_ins import SignIns
from hslpy.admin.site import Site
from hslpy.clock import ManualClock
from hslpy.egress.accounts import admins, guesses, sessions
from hslpy.egress.accounts.admins import SCOPES
from hslpy.egress.accounts.guesses import FREE, LONGEST_S, Guesses
from hslpy.egress.store.tables import SignIn
from hslpy.log import no_log

from .api_client import PASSWORD, ROOT, Client, populate

on_sqlite = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
API = json_api(Site(None, ManualClock(), no_log))  # type: ignore[arg-type]
ALL = [(method, one.path, one) for one in routes() for method in sorted(one.methods - {"HEAD"})]


@pytest.fixture
def client(database, clock):
    populate(database)
    return Client(database, clock)


def test_every_route_says_whom_it_is_for():
    for method, path, route in ALL:
        needed = needs_of(route)
        assert needed is not None, path
        assert needed.scope in (None, *SCOPES)
        assert route.summary and len(route.tags) == 1
        changes = method != "GET" and not getattr(route.endpoint, "only_reads", False)
        if changes and needed.scope is not None:
            assert needed.scope.endswith(":write") or path.startswith("/admins"), path
            own = path in ("/tokens",)  # one's own
            assert own or "read-only" not in needed.roles, path
        if changes and needed.scope == "ips:write":
            assert needed.roles == ("super-admin",), path
        if method == "GET" and needed.scope is not None:
            assert needed.scope.endswith(":read"), path


@on_sqlite
def test_nothing_is_reached_without_signing_in(client):
    for method, path, _ in ALL:
        path = path.replace("{", "").replace("}", "").replace(":path", "").replace(":int", "")
        for given in (
            {"user": None},
            {"user": "root", "password": "wrong", "source": f"203.0.113.{len(path)}"},
            {"token": "hslpy_x"},
        ):
            if given.get("password") and path != "/session":
                continue
            reply = client(method, path, **given)
            assert reply.status_code == 401, (method, path, reply.text)
            assert reply.json() == {"error": {"message": "authentication required"}}


@on_sqlite
def test_roles_and_scopes_hold_on_every_route(client, database):
    for number, scope in enumerate(SCOPES):
        tokens = {who: admins.add_token(database, ROOT, who, f"t{number}", [scope])[0] for who in ("root", "ann", "eve")}
        roles = {"root": "super-admin", "ann": "admin", "eve": "read-only"}
        for method, path, route in ALL:
            needed = needs_of(route)
            if method == "GET" or needed.scope is None:
                continue
            path = path.replace("{", "").replace("}", "").replace(":path", "").replace(":int", "")
            for who, token in tokens.items():
                reply = client(method, path, token=token)  # without a body: what may be done is bad or not found
                has_scope = scope in ("all", needed.scope, needed.scope.replace(":read", ":write"))
                if roles[who] not in needed.roles or not has_scope:
                    assert reply.status_code == 403, (method, path, who, scope, reply.text)
        if number > 1:
            break


def test_a_token_does_what_its_scopes_allow(client, database):
    text, _ = admins.add_token(database, ROOT, "root", "t", ["directory:read"])
    assert client("GET", "/domains", token=text).status_code == 200
    writes, _ = admins.add_token(database, ROOT, "root", "w", ["directory:write"])
    made = {"name": "mallory", "password": "long enough", "role": "super-admin"}
    assert client("POST", "/admins", made, token=writes).status_code == 403
    assert client("POST", "/tokens", {"name": "more", "scopes": ["all"]}, token=writes).status_code == 403
    assert client("POST", "/domains", {"name": "b.example"}, token=writes).status_code == 201
    reply = client("POST", "/domains", {"name": "a.example"}, token=text)
    assert (reply.status_code, reply.json()["error"]["message"]) == (403, "this token has not the scope directory:write")
    admins.set_admin(database, ROOT, "ann", allowed_networks=["10.0.0.0/8"])
    assert client("GET", "/domains", user="ann").status_code == 403
    assert client("GET", "/domains", user="ann", source="10.1.2.3").status_code == 200


def test_an_admin_does_not_unlock_what_a_super_admin_has_locked(client):
    user = "/users?domain=example.com&username=bob"
    mine = client.good("PATCH", user, {"locked": True}, local=False, user="ann")
    assert (mine["locked"], mine["locked_by"]) == (True, "ann")
    assert not client.good("PATCH", user, {"locked": False}, local=False, user="ann")["locked"]
    client.good("PATCH", user, {"locked": True, "reason": "spam"}, local=False, user="root")
    client.good("PATCH", "/domains/example.com", {"locked": True}, local=False, user="root")
    for method, path, body, who in (
        ("PATCH", user, {"locked": False}, "bob of example.com"),
        ("PATCH", user, {"new_name": "rob"}, "bob of example.com"),
        ("DELETE", user, None, "bob of example.com"),
        ("PATCH", "/domains/example.com", {"locked": False}, "the domain example.com"),
        ("DELETE", "/domains/example.com", None, "the domain example.com"),
    ):
        error = client.refused(403, method, path, body, local=False, user="ann")
        assert error["message"] == f"{who} was locked by root: they or a super-admin have to unlock it first"
    assert not client.good("PATCH", "/domains/example.com", {"locked": False}, local=False, user="root")["locked"]
    assert client.good("PATCH", user, {"locked": False})["locked_by"] == ""


def test_an_api_user_of_some_calls_has_those_alone(client, database):
    admins.add_admin(database, ROOT, "bot", password=PASSWORD, role="super-admin", allowed_calls=["api_help"])
    reply = client("GET", "/session", user="bot")
    assert (reply.status_code, "only use those calls" in reply.text) == (403, True)


def test_a_session_changes_things_only_with_its_token(client, database, clock):
    text = sessions.open_session(database, "root")
    csrf = sessions.find_session(database, text, clock.time()).csrf
    cookie = {"Cookie": f"__Host-hslpy={text}"}
    assert client("GET", "/session", user=None, headers=cookie).json()["client"] == "page"
    body = {"name": "new.example"}
    assert client("POST", "/domains", body, user=None, headers=cookie).status_code == 403
    assert client("POST", "/domains", body, user=None, headers={**cookie, "X-CSRF-Token": "x"}).status_code == 403
    good = {**cookie, "X-CSRF-Token": csrf}
    evil = {**good, "Origin": "https://evil.example"}
    assert client("POST", "/domains", body, user=None, headers=evil).status_code == 403
    assert client("POST", "/domains", body, user=None, headers={**good, "Sec-Fetch-Site": "cross-site"}).status_code == 403
    assert (
        client("POST", "/domains", body, user=None, headers={**good, "Origin": "https://api.example.com"}).status_code == 201
    )


def test_what_another_web_site_asks_for_is_refused(client):
    for headers in (
        {"Origin": "https://evil.example"},
        {"Referer": "https://evil.example/x"},
        {"Sec-Fetch-Site": "cross-site"},
    ):
        reply = client("GET", "/session", headers=headers)
        assert (reply.status_code, reply.json()["error"]["message"]) == (403, "request came from another web site")


def test_guesses_are_slowed_down(client, clock):
    for _ in range(FREE["both"]):
        assert client("GET", "/session", password="wrong").status_code == 401
    blocked = client("GET", "/session")
    assert (blocked.status_code, blocked.headers["retry-after"]) == (429, "4")
    assert client("GET", "/session", source="192.0.2.2").status_code == 200  # the name is not kept out elsewhere
    assert client("GET", "/session", user="eve").status_code == 200
    clock.advance(4)
    assert client("GET", "/session").status_code == 200
    assert client("GET", "/session", password="wrong").status_code == 401
    assert "admin.sign_in_blocked" in client.logged


@on_sqlite
def test_the_classic_api_counts_the_same_guesses(client):
    for _ in range(FREE["both"]):
        client("GET", "/session", password="wrong")
    assert client("GET", "https://api.example.com/cgi-bin/api?call=api_help").status_code == 429


def test_waits_double_and_end():
    tries = Guesses()
    now, waited = 0.0, []
    for _ in range(40):
        tries.failed(now, "192.0.2.1", "root")
        wait_s = tries.wait_s(now, "192.0.2.1", " ROOT")
        waited.append(wait_s)
        now += wait_s
    assert waited[: FREE["both"]] == [0, 0, 0, 0, 4.0]
    assert waited[5:7] == [8.0, 16.0] and waited[-1] == LONGEST_S
    assert tries.wait_s(now - 1, "192.0.2.1", "other") > 0  # from there nobody
    assert tries.wait_s(now - 1, "192.0.2.9", "root") > 0  # a name that was guessed from everywhere
    tries.succeeded(now, "192.0.2.8", "root")
    assert tries.wait_s(now - 1, "192.0.2.8", "root") == 0
    assert tries.wait_s(now + 3600, "192.0.2.1", "root") == 0


def test_guesses_outlast_a_restart_and_count_on_all_nodes(database, clock):
    at_home, guesser = "192.0.2.7", "2001:db8::1"

    async def guess() -> None:
        first = SignIns()
        await first.succeeded(database, clock.time(), at_home, "root")
        for _ in range(FREE["name"]):
            await first.failed(database, clock.time(), guesser, "root")
        for restarted in (SignIns(), SignIns()):
            assert await restarted.wait_s(database, clock.time(), guesser, "Root") > 0
            assert await restarted.wait_s(database, clock.time(), "192.0.2.9", "root") > 0
            assert await restarted.wait_s(database, clock.time(), at_home, "root") == 0

    asyncio.run(guess())


@on_sqlite
def test_guesses_count_while_the_database_takes_nothing(database, clock, monkeypatch):

    def refuse(*_):
        raise OperationalError("", {}, sqlite3.OperationalError("attempt to write a readonly database"))

    monkeypatch.setattr(guesses, "note_failed", refuse)

    async def guess() -> None:
        tries = SignIns()
        for _ in range(FREE["both"]):
            await tries.failed(database, clock.time(), "192.0.2.1", "root")
        assert await tries.wait_s(database, clock.time(), "192.0.2.1", "root") > 0

    asyncio.run(guess())


def test_one_network_is_one_client_and_one_success_forgets_its_own_failures_only():
    tries = Guesses()
    for number in range(FREE["client"]):
        tries.failed(0, f"2001:db8::{number}", f"user{number % 6}")
    assert tries.wait_s(0, "2001:db8::ffff", "new") > 0
    tries.succeeded(0, "2001:db8::1", "user1")
    assert tries.wait_s(0, "2001:db8::ffff", "new") == 0
    assert tries.wait_s(0, "::ffff:192.0.2.1", "user2") == tries.wait_s(0, "192.0.2.1", "user2")


@on_sqlite
def test_the_description_is_for_who_is_signed_in(client):
    assert client("GET", "/openapi.json", user=None).status_code == 401
    found = client("GET", "/openapi.json", user="eve").json()
    assert found["openapi"].startswith("3.1")
    assert found == json.loads(json.dumps(describe(API)))
    for path, operations in found["paths"].items():
        for method, operation in operations.items():
            assert operation["summary"], (method, path)
            assert operation["responses"]["4XX"]
    text = str(found)
    assert "HTTPValidationError" not in text


@on_sqlite
def test_faults_of_ours_say_nothing_of_themselves(client, monkeypatch):
    def broken(*_, **__):
        raise RuntimeError("secret path /var/lib")

    monkeypatch.setattr("hslpy.egress.accounts.directory.list_domains", broken)
    reply = client("GET", "/domains", local=True)
    assert reply.status_code == 500
    assert "secret" not in reply.text and reply.json()["error"]["message"]
    assert "admin.fault" in client.logged


def test_guesses_from_ever_new_networks_do_not_fill_the_database(database, clock, monkeypatch):
    monkeypatch.setattr(guesses, "_MOST", 2)
    for number in range(9):
        clock.advance(1)
        guesses.note_failed(database, f"198.51.100.{number}", "root")
    with database.read() as session:
        kept = {row.client for row in session.scalars(select(SignIn).where(SignIn.kind == "client"))}
    assert kept == {f"198.51.100.{number}" for number in range(9)[-len(kept) :]} and 1 <= len(kept) <= 3
    assert guesses.read(database, "198.51.100.8", "root").failures["name", "", "root"][0] == 9

"""What somebody tries who may do less than they would like: at the page, the JSON API and the classic API."""

from __future__ import annotations

import asyncio
import json
from functools import partial
from urllib.parse import urlencode

import httpx
import pytest

from hslpy.egress.accounts import admins, directory
from hslpy.egress.delivery_ips import queries
from tests.support.yardstick import assert_within, timed

from .api_client import PASSWORD, ROOT, Client, populate

pytestmark = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
SITE = "https://api.example.com"


class Window:
    """A browser as far as forms go: signed in, with its session's token."""

    def __init__(self, client: Client, user: str) -> None:
        self._client = client
        self.cookies: dict[str, str] = {}
        reply = self.post("/sign-in", name=user, password=PASSWORD)
        self.entered = reply.status_code == 303
        self.text = reply.text
        self.cookies = dict(reply.cookies)
        self.csrf = self.get("/session").json()["csrf"] if self.entered else ""

    def get(self, path: str) -> httpx.Response:
        return self._ask("GET", path, headers={"Accept": "application/json"})

    def post(self, path: str, **fields: str | list[str]) -> httpx.Response:
        body = urlencode({"csrf": getattr(self, "csrf", ""), **fields}, doseq=True).encode()
        return self._ask("POST", path, body, {"Content-Type": "application/x-www-form-urlencoded"})

    def send(self, path: str, body: bytes, kind: str) -> httpx.Response:
        return self._ask("POST", path, body, {"Content-Type": kind})

    def _ask(self, method: str, path: str, body: bytes = b"", headers: dict[str, str] | None = None) -> httpx.Response:
        async def ask() -> httpx.Response:
            transport = httpx.ASGITransport(self._client.app, client=("192.0.2.1", 4711))
            async with httpx.AsyncClient(transport=transport, base_url=SITE, cookies=self.cookies) as client:
                return await client.request(method, path, content=body, headers=headers)

        return asyncio.run(ask())


@pytest.fixture
def client(database, clock):
    populate(database)
    return Client(database, clock)


@pytest.fixture
def database_of(client):
    return client.site.database


def test_who_may_make_some_calls_alone_does_not_get_into_the_page(client, database_of):
    admins.add_admin(database_of, ROOT, "bot", password=PASSWORD, role="super-admin", is_api_user=True)
    before = Window(client, "bot")
    assert before.entered
    admins.set_admin(database_of, ROOT, "bot", allowed_calls=["api_help"])
    assert before.get("/session").status_code == 401, "a session from before the limit"
    reply = before.post("/access/admins/new", name="mine", password=PASSWORD, role="super-admin")
    assert reply.status_code in (401, 403)
    assert [one.name for one in admins.list_admins(database_of) if one.name == "mine"] == []
    window = Window(client, "bot")
    assert not window.entered and "may only use those calls" in window.text
    assert classic(client, "call=api_help", "bot").status_code == 200


def test_an_api_user_that_only_reads_sets_nothing(client, database_of):
    admins.add_admin(database_of, ROOT, "bot", password=PASSWORD, role="read-only", is_api_user=True)
    assert classic(client, "call=api_get_outgoing_interfaces&domain=default", "bot").status_code == 200
    for call in (
        "api_set_outgoing_ehlo&ip=192.0.2.9&ehlo=x.example.com",
        "api_remove_outgoing_ehlo&ip=192.0.2.9",
        "api_set_outgoing_interfaces&domain=default&filtering_host=node2.example.net&interfaces=1.1.1.1",
    ):
        reply = classic(client, f"call={call}", "bot")
        name = call.partition("&")[0]
        assert (reply.status_code, reply.text) == (403, f"ERROR: this API user may not use '{name}'\n")


def classic(client: Client, query: str, user: str) -> httpx.Response:
    return client("GET", f"{SITE}/cgi-bin/api?{query}", user=user)


@pytest.mark.parametrize("name", ["0.0.0.0/0", "127.0.0.1", "2001:db8::/32"])
def test_a_customers_admin_lets_nobody_send_without_a_password(client, database_of, name):
    """Such a user would make an open relay, or take over the mail of another customer's clients."""
    error = client.refused(403, "POST", "/users", {"domain": "example.com", "username": name}, local=False, user="ann")
    assert "only a super-admin" in error["message"]
    reply = Window(client, "ann").post("/customers/users/new", domain="example.com", username=name)
    assert reply.status_code == 400 and "only a super-admin" in reply.text
    directory.add_user(database_of, ROOT, "example.com", "192.0.2.7")
    path = "/users?domain=example.com&username=192.0.2.7"
    client.refused(403, "PATCH", path, {"new_name": name}, local=False, user="ann")
    reply = Window(client, "ann").post("/customers/users/edit", domain="example.com", username="192.0.2.7", new_name=name)
    assert reply.status_code == 400
    client.good("PATCH", path, {"new_name": name}, local=False, user="root")


def test_a_form_in_a_slow_alphabet_is_not_read(client):
    """Python takes time by the square for `punycode`: minutes for the largest form, from anybody."""
    window = Window(client, "nobody")
    body = b'--x\r\nContent-Disposition: form-data; name="a"\r\n\r\n' + b"a" * 400_000 + b"\r\n--x--\r\n"
    for charset in ("charset=punycode", "CHARSET=idna", "charset=utf-8; charset=punycode", "charset*=utf-8''punycode"):
        kind = f"multipart/form-data; boundary=x; {charset}"
        assert_within(1000, partial(timed, partial(window.send, "/sign-in", body, kind)))
        assert window.send("/sign-in", body, kind).status_code == 415
    assert window.send("/sign-in", body, "multipart/form-data; boundary=x; charset=UTF-8").status_code == 401


def test_numbers_and_texts_that_cannot_be_are_the_clients_fault(client):
    huge, half = 10**30, "\ud800"
    assert client("GET", f"/delivery-ips/{huge}", local=True).status_code == 400
    for method, path, body in (
        ("POST", "/delivery-ips/remove", {"ids": [2**63]}),
        ("POST", "/block-lists/remove", {"ids": [huge]}),
        ("GET", f"/audit?page={huge}", None),
        ("GET", f"/delivery-ips?page={huge}", None),
        ("POST", "/domains", {"name": half}),
        ("PUT", "/delivery-ips", {"domain": "a", "filtering_host": half}),
        ("POST", "/users", {"domain": "example.com", half: "x"}),
        ("PATCH", "/site", {"dnsbl_at_once": "9" * 5000}),
        ("PATCH", "/site", {"dnsbl_resolvers": ["192.0.2.1:" + "9" * 5000]}),
        ("POST", "/warm-ups/1.1.1.1/start", {"days": huge}),
    ):
        content = {} if body is None else {"content": json.dumps(body), "headers": {"Content-Type": "application/json"}}
        reply = client(method, path, local=True, **content)
        assert reply.status_code == 400, (path, reply.text)
        assert reply.json()["error"]["message"]
    assert "admin.fault" not in client.logged


@pytest.mark.parametrize("number", ["²", "9" * 5000, "9" * 30, "-1", "٣"])
def test_numbers_in_the_address_of_a_page_may_be_anything(client, number):
    window = Window(client, "root")
    removed = {"tab": "settings", "f": "domain", "o": "is", "v": "", "do": f"remove-{number}"}
    for path in (
        f"/outgoing/queue?{urlencode({'page': number})}",
        f"/outgoing/delivery-ips?{urlencode(removed)}",
        f"/outgoing/delivery-ips/lists/remove?{urlencode({'id': number})}",
        f"/outgoing/delivery-ips/remove?{urlencode({'id': number})}",
        f"/server/audit?{urlencode({'page': number})}",
    ):
        assert window.get(path).status_code < 500, path
    for path, fields in (
        ("/access/tokens/new", {"admin": "root", "name": "x", "days": number, "scopes": "all"}),
        ("/outgoing/delivery-ips/save", {"id": number, "version": number}),
        ("/outgoing/delivery-ips/bulk", {"id": number, "action": "remove"}),
    ):
        assert window.post(path, **fields).status_code < 500, path
    assert "admin.fault" not in client.logged


def test_control_characters_do_not_get_into_a_page(client):
    page = Window(client, "root").get("/outgoing/queue?recipient=a%1b%5b31m%01%85b").text
    assert "a\ufffd[31m\ufffd\ufffdb" in page
    assert not {"\x1b", "\x01", "\x85"} & set(page)


def test_a_domain_is_not_renamed_while_somebody_else_has_locked_a_user_of_it(client, database_of):
    """Its mail in the queue is held by its name; under another the domain would send it."""
    directory.lock_user(database_of, ROOT, "example.com", "bob", "spam")
    error = client.refused(403, "PATCH", "/domains/example.com", {"new_name": "other.example"}, local=False, user="ann")
    assert error["message"].startswith("bob of example.com was locked by root")
    reply = Window(client, "ann").post("/customers/domains/edit", domain="example.com", name="other.example", admin="ann")
    assert reply.status_code == 400 and "was locked by root" in reply.text
    client.good("PATCH", "/domains/example.com", {"new_name": "other.example"}, local=False, user="root")


def test_a_change_has_ten_thousand_rows_at_most(client):
    for path in ("/delivery-ips/remove", "/block-lists/remove"):
        assert client.refused(400, "POST", path, {"ids": list(range(10_001))})["field"] == "ids"
    client.good("POST", "/block-lists/remove", {"ids": list(range(100_000, 110_000))})


def test_a_token_that_may_do_some_things_makes_none_in_anothers_name(client, database_of):
    """What is done with it would stand under the other's name in the audit, and outlive its own admin."""
    admins.add_admin(database_of, ROOT, "sue", password=PASSWORD, role="super-admin")
    text, _ = admins.add_token(database_of, ROOT, "sue", "sync", ["directory:write"])
    new = {"name": "mine", "scopes": ["directory:write"]}
    client.refused(403, "POST", "/tokens", {**new, "admin": "root"}, local=False, token=text)
    client.refused(403, "DELETE", "/tokens?admin=root&name=mine", local=False, token=text)
    assert client("POST", "/tokens", new, token=text).status_code == 201
    every, _ = admins.add_token(database_of, ROOT, "sue", "every", ["all"])
    assert client("POST", "/tokens", {**new, "admin": "root"}, token=every).status_code == 201


def test_the_last_super_admin_is_not_limited_to_calls(client, database_of):
    admins.add_admin(database_of, ROOT, "bot", password=PASSWORD, role="super-admin", allowed_calls=["api_help"])
    for change in ({"allowed_calls": ["api_help"]}, {"role": "admin"}, {"locked": True}):
        assert "has to be left" in client.refused(409, "PATCH", "/admins/root", change)["message"]
    client.good("PATCH", "/admins/bot", {"allowed_calls": None})
    client.good("PATCH", "/admins/root", {"locked": True})


def test_saved_filters_are_bounded(client, database_of, monkeypatch):
    monkeypatch.setattr(queries, "MOST_FILTERS", 3)
    path, given = "/filters/delivery-ips", {"local": False, "user": "eve"}
    for number in range(3):
        client.good("PUT", f"{path}/{number}", {"rules": [["domain", "is", "x"]]}, **given)
    client.good("PUT", f"{path}/1", {}, **given)
    assert "3 filters" in client.refused(409, "PUT", f"{path}/more", {}, **given)["message"]
    client.good("PUT", f"{path}/more", {}, local=False, user="root")
    client.refused(400, "PUT", f"{path}/1", {"rules": [["domain", "is", "x" * 30_000]]}, **given)
    client.refused(404, "PUT", f"/filters/{'p' * 33}/1", {}, **given)

"""The classic API over HTTP: the calls of section A, their errors, and who may make them."""

from __future__ import annotations

import asyncio
import json

import httpx
import pytest
from sqlalchemy import select

from hslpy.admin import site as sites
from hslpy.admin.cgi import CALLS
from hslpy.admin.web import web_app
from hslpy.egress.accounts import admins, directory
from hslpy.egress.accounts.nodes import add_node
from hslpy.egress.store import tables
from hslpy.egress.store.database import Actor

from ..egress.name_server import name_server, reverse

ROOT = Actor("root", "cli")
NODE1, NODE2 = "node1.demo-domain.invalid", "node2.demo-domain.invalid"
PASSWORD = "long enough"
HOST = "https://api.demo-domain.invalid"
GET = "call=api_get_outgoing_interfaces&domain=default&username="
SET = f"call=api_set_outgoing_interfaces&domain=default&filtering_host={NODE2}&interfaces="


@pytest.fixture
def site(database, clock):
    add_node(database, ROOT, NODE1, primary_ipv4="198.51.100.1")
    add_node(database, ROOT, NODE2, primary_ipv4="198.51.100.2", addresses=["1.1.1.1", "2.2.2.2", "2001:db8::5"])
    admins.add_admin(database, ROOT, "root", password=PASSWORD, role="super-admin")
    directory.add_domain(database, ROOT, "example.com")
    directory.add_user(database, ROOT, "example.com", "bob", password="x")
    return Site(database, clock)


class Site:
    def __init__(self, database, clock):
        self.database, self.clock, self.logged = database, clock, []

    async def ask(self, query, method="GET", *, user="root", password=PASSWORD, source="192.0.2.1", resolver=None, **given):
        app = web_app(
            sites.Site(self.database, self.clock, lambda event, fields: self.logged.append(event), resolver=resolver)
        )
        auth = (user, password) if user else None
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app, client=(source, 4711)), base_url=HOST) as client:
            return await client.request(method, f"/cgi-bin/api?{query}", auth=auth, **given)

    def __call__(self, query, method="GET", **given):
        reply = asyncio.run(self.ask(query, method, **given))
        assert reply.headers["content-type"] == "text/plain; charset=utf-8"
        return reply

    def text(self, query, **given):
        reply = self(query, **given)
        assert reply.status_code == 200, reply.text
        return reply.text

    def audit(self):
        with self.database.read() as session:
            found = session.scalars(select(tables.Audit).order_by(tables.Audit.id)).all()
            session.expunge_all()
            return found

    def last(self):
        return self.audit()[-1]


def test_the_transcript(site):
    assert site.text("call=api_set_outgoing_ehlo&ip=1.1.1.1&ehlo=out1.demo-domain.invalid") == ""
    assert site.text("call=api_set_outgoing_ehlo&ip=2.2.2.2&ehlo=out2.demo-domain.invalid") == ""
    setting = "call=api_set_outgoing_interfaces&domain=default&filtering_host=node2.demo-domain.invalid"
    assert site.text(f"{setting}&interfaces=1.1.1.1%3B2.2.2.2&username=") == ""
    assert site.text("call=api_get_outgoing_interfaces&domain=default&username=") == (
        "node1.demo-domain.invalid 0.0.0.0;::0\nnode2.demo-domain.invalid 1.1.1.1;2.2.2.2;::0\n"
    )
    assert site.text(f"{setting}&interfaces=&username=") == ""
    assert site.text(GET) == f"{NODE1} 0.0.0.0;::0\n{NODE2} 0.0.0.0;::0\n"


LONG = "x" * 1001
on_sqlite = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)  # where the database has no part in it


@on_sqlite
@pytest.mark.parametrize(
    ("query", "status", "text"),
    [
        ("call=api_nothing", 404, "unknown call 'api_nothing' (see api_help)"),
        ("", 400, "missing argument 'call'"),
        ("call=api_get_outgoing_interfaces&domain=", 400, "missing argument 'domain'"),
        ("call=api_set_outgoing_interfaces&domain=default", 400, "missing argument 'filtering_host'"),
        ("call=api_set_outgoing_interfaces&username=bob", 400, "missing argument 'domain'"),
        ("call=api_get_outgoing_ehlo", 400, "missing argument 'ip'"),
        (
            f"call=api_set_outgoing_interfaces&domain=default&filtering_host={NODE2}&interface=1.1.1.1",
            400,
            "unexpected argument 'interface'; did you mean 'interfaces'?",
        ),
        (f"{GET}&zzz=", 400, "unexpected argument 'zzz'"),
        (f"{GET}bob", 400, "'default' applies to every user; leave 'username' empty"),
        ("call=api_get_outgoing_interfaces&domain=example.org", 404, "domain 'example.org' does not exist"),
        (
            "call=api_get_outgoing_interfaces&domain=example.com&username=ann",
            404,
            "outgoing user 'ann' does not exist in example.com",
        ),
        (
            "call=api_set_outgoing_interfaces&domain=default&filtering_host=mx1.example.net",
            404,
            f"'mx1.example.net' is not a filtering server; servers: {NODE1}, {NODE2}",
        ),
        (f"{SET}1.2.3", 400, "'1.2.3' is not an IP address"),
        (f"{SET}224.0.0.1", 400, "'224.0.0.1' cannot be used as a source address (multicast)"),
        (
            "call=api_set_outgoing_ehlo&ip=1.1.1.1&ehlo=out_1.example.com",
            400,
            "'out_1.example.com' is not a valid HELO name: underscore is not allowed (RFC 5321 section 4.1.2)",
        ),
        ("call=api_set_outgoing_ehlo&ip=1.1.1.1&ehlo=out.example.com%0d%0a", 400, "argument 'ehlo' has control characters"),
        (f"{GET}&domain=", 400, "argument 'domain' given more than once"),
        (f"{GET}&identity={LONG}", 414, "argument 'identity' is longer than 1000 octets"),
        (f"{GET}&identity=%ff", 400, "arguments are written as UTF-8 in %xx"),
        (f"{GET}&%00%0a=1", 400, "unexpected argument '??'"),
        ("&".join(f"a{number}=" for number in range(101)), 400, "more than 100 arguments"),
    ],
)
def test_what_is_refused(site, query, status, text):
    reply = site(query)
    assert (reply.status_code, reply.text) == (status, f"ERROR: {text}\n")
    assert site.last().result == f"ERROR: {text}" and site.last().actor == "root"
    assert site.text(GET) == f"{NODE1} 0.0.0.0;::0\n{NODE2} 0.0.0.0;::0\n"


def test_a_secret_given_by_mistake_is_not_recorded(site):
    site(f"{GET}&password=secret")
    assert site.last().arguments == {"domain": "default", "username": "", "password": ""}
    assert site(f"{GET}&%00=%00").status_code == site("call=%00").status_code == 400
    assert site(f"call={'x' * 500}").status_code == 404
    assert site.last().action == "api" and site.last().arguments == {"call": "x" * 500}


@pytest.mark.parametrize(
    "who", [{"user": None}, {"password": "wrong password"}, {"user": "nobody"}, {"user": "ro\x00ot", "password": "\x00"}]
)
def test_without_the_right_password(site, who):
    reply = site(f"{SET}1.1.1.1", **who)
    assert (reply.status_code, reply.text) == (401, "ERROR: authentication required\n")
    assert reply.headers["www-authenticate"].startswith('Basic realm="Software API"')
    assert site.logged == (["admin.sign_in_failed"] if who.get("user", "root") else [])
    assert site.text(GET).endswith(f"{NODE2} 0.0.0.0;::0\n")


@on_sqlite
@pytest.mark.parametrize("value", ["Basic", "Basic %%%", "Basic /w==", "Bearer cm9vdDp4", "Basic cm9vdA=="])
def test_credentials_that_cannot_be_read(site, value):
    assert site(GET, user=None, headers={"Authorization": value}).status_code == 401


def test_an_api_user_may_be_limited_to_any_call_that_there_is():
    assert tuple(CALLS) == admins.CALLS


def test_calls_and_addresses_of_a_user(site):
    add = admins.add_admin
    limits = {"allowed_calls": ["api_get_outgoing_interfaces"], "allowed_networks": ["192.0.2.0/24"]}
    add(site.database, ROOT, "app", password=PASSWORD, is_api_user=True, **limits)
    add(site.database, ROOT, "ann", password=PASSWORD)
    assert site.text(GET, user="app") and site.text(GET, user="app", source="::ffff:192.0.2.7")
    reply = site(f"{SET}1.1.1.1", user="app")
    assert (reply.status_code, reply.text) == (403, "ERROR: this API user may not use 'api_set_outgoing_interfaces'\n")
    for source in ("203.0.113.9", "2001:db8::1", ""):
        reply = site(GET, user="app", source=source)
        wanted = "ERROR: this API user may not use 'api_get_outgoing_interfaces' from this address\n"
        assert (reply.status_code, reply.text) == (403, wanted)
    assert site.last().actor == "app"
    assert site(GET, user="ann").status_code == 403


@on_sqlite
@pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH", "OPTIONS", "HEAD"])
def test_other_methods(site, method):
    reply = site(f"{SET}1.1.1.1", method)
    assert (reply.status_code, reply.headers["allow"]) == (405, "GET, POST")
    assert reply.text == ("" if method == "HEAD" else "ERROR: use GET or POST\n")


@on_sqlite
@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Sec-Fetch-Site": "cross-site"}, 403),
        ({"Origin": "https://evil.invalid"}, 403),
        ({"Origin": "null"}, 403),
        ({"Referer": "https://evil.invalid/api.demo-domain.invalid"}, 403),
        ({"Referer": "https://api.demo-domain.invalid@evil.invalid/"}, 403),
        ({"Referer": "https://[evil"}, 403),
        ({"Sec-Fetch-Site": "none"}, 200),
        ({"Sec-Fetch-Site": "same-origin", "Referer": f"{HOST}/page", "Origin": HOST}, 200),
        ({"Referer": f"{HOST.upper()}:443/"}, 200),
    ],
)
def test_other_web_sites(site, headers, status):
    reply = site(f"{SET}1.1.1.1", headers=headers)
    assert reply.status_code == status
    if status == 403:
        assert reply.text == "ERROR: request came from another web site\n" and site.last().result == reply.text.strip()
    assert ("1.1.1.1" in site.text(GET)) == (status == 200)


def test_a_form(site):
    form = {"domain": "default", "filtering_host": NODE2, "interfaces": "1.1.1.1; 2.2.2.2;"}
    assert site("call=api_set_outgoing_interfaces", "POST", data=form).text == ""
    assert "1.1.1.1;2.2.2.2" in site.text(
        "", method="POST", data={"call": "api_get_outgoing_interfaces", "domain": "default"}
    )
    reply = site(SET, "POST", data={"interfaces": "1.1.1.1"})
    assert (reply.status_code, reply.text) == (400, "ERROR: argument 'interfaces' given more than once\n")
    assert site(GET, "POST", data={"identity": LONG}).status_code == 413
    assert site(GET, "POST", data={"identity": "x" * 70_000}).status_code == 413
    assert site(GET, "POST", json={"identity": "x"}).status_code == 400


@pytest.mark.parametrize("text", ["1.1.1.1;2.2.2.2", "1.1.1.1%3B+2.2.2.2", "+1.1.1.1;%202.2.2.2%20;"])
def test_how_addresses_may_be_written(site, text):
    assert site.text(f"{SET}{text}&api_language=en") == ""
    assert site.text(GET).endswith(f"{NODE2} 1.1.1.1;2.2.2.2;::0\n")


def test_every_call_is_recorded(site):
    site.text(f"{SET}192.0.2.99&api_client_username=portal")
    one = site.last()
    assert (one.actor, one.client, one.source_address) == ("root", "api: portal", "192.0.2.1")
    assert one.action == "api_set_outgoing_interfaces"
    assert one.arguments == {"domain": "default", "filtering_host": NODE2, "interfaces": "192.0.2.99"}
    assert one.result.startswith(f"192.0.2.99 is not an address of {NODE2}")
    count = len(site.audit())
    text = site.text(GET)
    assert len(site.audit()) == count + 1 and site.last().client == "api" and site.last().result == text


def test_warnings_are_a_success(site):
    wanted = f"WARNING: 192.0.2.99 is not an address of {NODE2}; mail cannot leave from it until it is added\n"
    assert site.text(f"{SET}192.0.2.99") == wanted


def test_json_by_server(site):
    site.text(f"{SET}1.1.1.1")
    site.text(f"call=api_set_outgoing_interfaces&admin=root&filtering_host={NODE2}&interfaces=2.2.2.2")
    found = json.loads(site.text("call=api_get_outgoing_interfaces_json"))
    assert [one["level"] for one in found[NODE2]] == ["default", "admin"]
    found = json.loads(site.text("call=api_get_outgoing_interfaces_json&domain=default"))
    assert found[NODE2][0]["effective"] == {"ipv4": ["1.1.1.1"], "ipv6": ["::0"]}


def test_helo_names(site):
    address = "ip=1.1.1.1"
    assert site.text(f"call=api_get_outgoing_ehlo&{address}") == f"{NODE2}\n"
    assert site.text(f"call=api_set_outgoing_ehlo&{address}&ehlo=Out1.Example") == ""
    assert site.text(f"call=api_set_incoming_ehlo&{address}&ehlo=in1.example") == ""
    warning = f"WARNING: not the default value (default: {NODE2})\n"
    assert site.text(f"call=api_get_outgoing_ehlo&{address}") == f"{warning}out1.example\n"
    assert site.text(f"call=api_get_incoming_ehlo&{address}") == f"{warning}in1.example\n"
    assert site.text("call=api_list_outgoing_ehlo") == "1.1.1.1 out1.example\n"
    assert site.text(f"call=api_remove_outgoing_ehlo&{address}") == ""
    assert site.last().action == "api_remove_outgoing_ehlo"
    assert site.text("call=api_list_outgoing_ehlo") == ""
    assert site("call=api_set_outgoing_ehlo&ip=::0&ehlo=out1.example").status_code == 400


def test_a_helo_name_is_compared_with_dns(site):
    async def run():
        zone = {**reverse("1.1.1.1", "one.example"), "one.example": {"A": ["1.1.1.1"]}, "two.example": {"A": ["2.2.2.2"]}}
        async with name_server(zone) as (_, resolver):
            call = "call=api_set_outgoing_ehlo&ip=1.1.1.1&ehlo="
            replies = [await site.ask(f"{call}{name}.example", resolver=resolver) for name in ("one", "two")]
            return [one.text for one in replies]

    good, bad = asyncio.run(run())
    assert good == ""
    assert bad.splitlines() == [
        "WARNING: two.example does not resolve to 1.1.1.1",
        "WARNING: two.example is not the reverse DNS name (PTR) of 1.1.1.1, which is: one.example",
    ]


def test_help_lists_every_call(site):
    text = site.text("call=api_help")
    wanted = "api_set_outgoing_interfaces(domain, filtering_host, interfaces='', username='', identity=''"
    assert wanted in text and f"{HOST}/cgi-bin/api?call=api_get_outgoing_interfaces&domain=default" in text
    assert [line.partition("(")[0] for line in text.splitlines() if line.startswith("api_")] == list(CALLS)


def test_a_fault_is_no_success(site):
    with site.database.change(ROOT, "break") as change:
        change.connection().exec_driver_sql("DROP TABLE site_settings")
    reply = site(GET)
    assert reply.status_code in (500, 503) and reply.text.startswith("ERROR: ")
    assert site.logged in (["admin.fault"], ["admin.database_away"])


def test_calls_at_the_same_time(site):
    values = [f"{one};{two}" for one, two in (("1.1.1.1", "2.2.2.2"), ("2.2.2.2", "1.1.1.1"), ("1.1.1.1", "2001:db8::5"))]

    async def run():
        return await asyncio.gather(*(site.ask(f"{SET}{value}") for value in values * 3))

    assert {one.status_code for one in asyncio.run(run())} == {200}
    held = site.text(GET).splitlines()[1].partition(" ")[2]
    assert held in {"1.1.1.1;2.2.2.2;::0", "2.2.2.2;1.1.1.1;::0", "1.1.1.1;2001:db8::5"}

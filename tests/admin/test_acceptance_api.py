"""The classic API as somebody sees it who has only its specification: each case is a sentence of sections A1 to A6.

The calls go over real connections to the web application, as the bytes that are written here.
"""

from __future__ import annotations

import base64
import http.client
import json
import re
import socket
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from urllib.parse import quote

import pytest
import uvicorn
from argon2 import PasswordHasher
from sqlalchemy import delete, select, update

from hslpy.admin.site import Site
from hslpy.admin.web import web_app
from hslpy.clock import SystemClock
from hslpy.egress.accounts import admins, directory
from hslpy.egress.accounts.nodes import add_node, remove_node
from hslpy.egress.store import tables
from hslpy.egress.store.database import Actor, Database
from hslpy.records import record

from ..support.databases import new_database

ROOT = Actor("root", "cli")
PASSWORD = "correct horse"
N1, N2 = "node1.example.net", "node2.example.net"
AUTO = "0.0.0.0;::0"


@record
class Said:
    status: int
    headers: Mapping[str, str]
    body: str

    @property
    def rows(self) -> Sequence[str]:
        """The lines that are no warnings: what a program that calls the API has to read."""
        return [line for line in self.body.splitlines() if not line.startswith("WARNING: ")]


class Cluster:
    """Two servers, and who sends through them; asked over one port of this machine."""

    def __init__(self, database: Database, port: int) -> None:
        self.database, self.port, self.since = database, port, 0

    def ask(self, query, method="GET", *, user="root", password=PASSWORD, form=None, headers=None):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        given = dict(headers or {})
        if user:
            given["Authorization"] = "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()
        if form is not None:
            method, given["Content-Type"] = "POST", "application/x-www-form-urlencoded"
        try:
            connection.request(method, f"/cgi-bin/api?{query}", form, given)
            reply = connection.getresponse()
            return Said(reply.status, {key.lower(): value for key, value in reply.getheaders()}, reply.read().decode())
        finally:
            connection.close()

    def get(self, scope="domain=default", **given):
        said = self.ask(f"call=api_get_outgoing_interfaces&{scope}", **given)
        assert said.status == 200, said.body
        return said.rows

    def put(self, interfaces, scope="domain=default", host=N2, **given):
        return self.ask(
            f"call=api_set_outgoing_interfaces&{scope}&filtering_host={host}&interfaces={quote(interfaces)}", **given
        )

    def begin(self):
        with self.database.change(ROOT, "begin") as change:
            change.execute(delete(tables.DeliverySetting).where(tables.DeliverySetting.level != "default"))
            change.execute(update(tables.DeliverySetting).values(ipv4=[], ipv6=[], ipv4_disabled=False))
            change.execute(delete(tables.SettingAddress))
            change.execute(delete(tables.Helo))
        with self.database.read() as session:
            self.since = max(session.scalars(select(tables.Audit.id)).all())

    def is_untouched(self):
        with self.database.read() as session:
            settings = session.scalars(select(tables.DeliverySetting)).all()
            return not session.scalars(select(tables.Helo)).all() and all(
                one.level == "default" and not (one.ipv4 or one.ipv6 or one.ipv4_disabled) for one in settings
            )

    def audit(self):
        with self.database.read() as session:
            found = session.scalars(select(tables.Audit).where(tables.Audit.id > self.since).order_by(tables.Audit.id)).all()
            session.expunge_all()
            return found


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def served(request, tmp_path_factory):
    database = Database(new_database(request, tmp_path_factory.mktemp("cluster"), request.param), SystemClock())
    database.open()
    add_node(database, ROOT, N1, primary_ipv4="198.51.100.1", addresses=["198.51.100.21"])
    add_node(
        database,
        ROOT,
        N2,
        primary_ipv4="198.51.100.2",
        primary_ipv6="2001:db8::2",
        addresses=["192.0.2.11", "192.0.2.12", "2001:db8::5", "10.0.0.5", *(f"192.0.2.{100 + one}" for one in range(70))],
    )
    admins.add_admin(database, ROOT, "root", password=PASSWORD, role="super-admin")
    admins.add_admin(database, ROOT, "boss", password=PASSWORD)
    admins.add_admin(database, ROOT, "ann", password=PASSWORD, parent="boss")
    admins.add_admin(database, ROOT, "portal", password=PASSWORD, is_api_user=True)
    admins.add_admin(
        database, ROOT, "reader", password=PASSWORD, is_api_user=True, allowed_calls=["api_get_outgoing_interfaces"]
    )
    admins.add_admin(
        database, ROOT, "far", password=PASSWORD, is_api_user=True, allowed_networks=["203.0.113.0/24", "2001:db8:f::/48"]
    )
    admins.add_admin(database, ROOT, "near", password=PASSWORD, is_api_user=True, allowed_networks=["127.0.0.0/8"])
    with database.change(ROOT, "cheap passwords") as change:  # the suite asks hundreds of times
        change.execute(update(tables.Admin).values(password_hash=PasswordHasher(1, 8, 1).hash(PASSWORD)))
    for name in ("example.com", "bücher.example"):
        directory.add_domain(database, ROOT, name, admin="ann")
    directory.add_domain(database, ROOT, "example.org")
    directory.add_domain(database, ROOT, "alias.example", alias_of="example.com")
    for name, owner in (("bob", "example.com"), ("carl", "example.com"), ("dora", "example.org")):
        directory.add_user(database, ROOT, owner, name, password="x" * 12)
    for name in ("192.0.2.7", "203.0.113.0/28", "2001:db8:77::/48"):
        directory.add_user(database, ROOT, "example.com", name)
    listener = socket.create_server(("127.0.0.1", 0))
    app = web_app(Site(database, SystemClock(), lambda event, fields: None))
    server = uvicorn.Server(uvicorn.Config(app, log_level="warning", lifespan="off"))
    thread = threading.Thread(target=server.run, args=([listener],))
    thread.start()
    while not server.started:
        time.sleep(0.01)
    yield Cluster(database, listener.getsockname()[1])
    server.should_exit = True
    thread.join()
    listener.close()
    database.close()


@pytest.fixture
def cluster(served):
    served.begin()
    return served


CALL_GET = "call=api_get_outgoing_interfaces&domain=default"
CALL_SET = f"call=api_set_outgoing_interfaces&domain=default&filtering_host={N2}"
EHLO = "call=api_set_outgoing_ehlo&ip=192.0.2.11&ehlo="
MANY = ";".join(f"192.0.2.{100 + one}" for one in range(65))

WORDS = {
    "get": CALL_GET,
    "set": CALL_SET,
    "ehlo": EHLO,
    "of": "call=api_get_outgoing_interfaces&domain=",
    "1001 octets": "x" * 1001,
    "65 addresses": MANY,
    "64 letters": "a" * 64,
    "5 times 60 letters": ".".join(["a" * 60] * 5),
    "node1": f"{N1} {AUTO}",
    "node2": f"{N2} {AUTO}",
}


def one_request_each():
    for line in (Path(__file__).parent / "acceptance_api.txt").read_text().splitlines():
        if not line.startswith("#"):
            for word, text in WORDS.items():
                line = line.replace(f"{{{word}}}", text)
            name, _, query, status, body = line.split(" | ")
            body = body.replace("\\n", "\n")
            yield pytest.param(query, int(status), body if body.endswith("~") else f"{body}\n", id=name)


def agrees(body: str, wanted: str) -> bool:
    parts = [re.escape(part) for part in wanted.split("~")]
    return re.fullmatch("[^\0]*".join(parts), body) is not None


@pytest.mark.parametrize(("query", "status", "wanted"), list(one_request_each()))
def test_one_request(cluster, query, status, wanted):
    said = cluster.ask(query)
    assert (said.status, agrees(said.body, wanted)) == (status, True), said
    assert said.headers["content-type"] == "text/plain; charset=utf-8" and "\r" not in said.body
    assert len(cluster.audit()) == 1, "every call is in the history"
    assert cluster.is_untouched()


# Each row: id · the sentence · `interfaces` as sent to node2 · what the getter says of node2 · pattern of the body.
NOT_THERE = f"WARNING: {{}} is not an address of {N2}; mail cannot leave from it until it is added\n"
LAST = ("192.0.2.98", "192.0.2.99")
VALUES = [
    ("A3-one", "1 or more addresses", "192.0.2.11", "192.0.2.11;::0", ""),
    ("A3-two", "separated by %3B", "192.0.2.11;192.0.2.12", "192.0.2.11;192.0.2.12;::0", ""),
    ("A3-order", "de-duplicate keeping order", "192.0.2.12;192.0.2.11;192.0.2.12", "192.0.2.12;192.0.2.11;::0", ""),
    ("A3-mixed", "IPv4 first, then IPv6", "2001:db8::5;192.0.2.11", "192.0.2.11;2001:db8::5", ""),
    ("A3-ipv6-only", "both tokens are printed for a family with nothing chosen", "2001:db8::5", "0.0.0.0;2001:db8::5", ""),
    ("A3-canonical", "lower-case compressed form", "2001:0DB8:0:0::0005", "0.0.0.0;2001:db8::5", ""),
    ("A3-same-ipv6", "… and de-duplicated so", "2001:DB8::5;2001:db8:0::5", "0.0.0.0;2001:db8::5", ""),
    ("A3-empty-items", "drop empty items", ";192.0.2.11;;", "192.0.2.11;::0", ""),
    ("A3-blanks", "trim blanks", " 192.0.2.11 ; 192.0.2.12 ", "192.0.2.11;192.0.2.12;::0", ""),
    ("A3-64", "64 addresses", MANY.rpartition(";")[0], MANY.rpartition(";")[0] + ";::0", ""),
    ("A24-empty", "empty: back to the primary interface", "", AUTO, ""),
    ("A24-default", "`default`: same as empty", "default", AUTO, ""),
    ("A24-primary", "0.0.0.0: the primary IPv4", "0.0.0.0", AUTO, ""),
    ("A24-primary-6", "::0 (or ::)", "::", AUTO, ""),
    ("A24-both", "both", "0.0.0.0;::0", AUTO, ""),
    ("A24-other-family", "primary of one family", "0.0.0.0;2001:db8::5", "0.0.0.0;2001:db8::5", ""),
    ("A35-not-there", "valid but not there: saved, 200", "192.0.2.99", "192.0.2.99;::0", NOT_THERE.format("192.0.2.99")),
    ("A35-two", "a line for each", ";".join(LAST), ";".join((*LAST, "::0")), "".join(map(NOT_THERE.format, LAST))),
    ("A35-private", "private range: saved with a warning (NAT)", "10.0.0.5", "10.0.0.5;::0", "WARNING: 10.0.0.5 ~"),
    ("A35-other-node", "of another node: naming it", "198.51.100.21", "198.51.100.21;::0", f"WARNING: ~198.51.100.21~{N1}~"),
]  # fmt: skip


SCOPES = ["domain=default", "domain=example.com", "domain=example.com&username=bob"]


@pytest.mark.parametrize(
    ("scope", "interfaces", "held", "wanted"),
    [pytest.param(SCOPES[number % 3], *row[2:], id=row[0]) for number, row in enumerate(VALUES)],
)
def test_values(cluster, scope, interfaces, held, wanted):
    said = cluster.put(interfaces, scope)
    assert said.status == 200 and agrees(said.body, wanted), said
    assert cluster.get(scope) == [f"{N1} {AUTO}", f"{N2} {held}"]
    assert cluster.put("", scope).body == "" and cluster.is_untouched(), "inherit again"


@pytest.mark.parametrize(
    "raw", ["192.0.2.11;192.0.2.12", "192.0.2.11%3B192.0.2.12", "192.0.2.11%3b+192.0.2.12", "+192.0.2.11;%20192.0.2.12;"]
)
def test_semi_colons_as_typed(cluster, raw):
    """A raw `;` is accepted too, because only `&` separates arguments; + and %20 are blanks."""
    assert cluster.ask(f"{CALL_SET}&interfaces={raw}&username=").body == ""
    assert cluster.get()[1] == f"{N2} 192.0.2.11;192.0.2.12;::0"


class TestLevels:
    def test_most_specific_wins_and_absent_inherits(self, cluster):
        """A2: what is in force after inheritance. A3.1: the scopes."""
        who = [
            ("192.0.2.100", "domain=default"),
            ("192.0.2.101", "admin=boss"),
            ("192.0.2.102", "admin=ann"),
            ("192.0.2.103", "domain=example.com"),
            ("192.0.2.104", "domain=example.com&username=bob"),
            ("192.0.2.105", "domain=example.com&username=bob&identity=News@example.com"),
        ]
        bob = "domain=example.com&username=bob&identity=news@EXAMPLE.com"
        for address, scope in who:
            assert cluster.put(address, scope).body == ""
            assert cluster.get(bob)[1] == f"{N2} {address};::0", scope
        assert cluster.get("domain=example.com&username=carl")[1] == f"{N2} 192.0.2.103;::0"
        assert cluster.get("domain=example.com&username=bob&identity=other")[1] == f"{N2} 192.0.2.104;::0"
        assert cluster.get("domain=example.org")[1] == f"{N2} 192.0.2.100;::0"
        assert cluster.get("domain=alias.example&username=bob")[1] == f"{N2} 192.0.2.104;::0"
        for (_, scope), (address, _) in zip(reversed(who), reversed([(AUTO, ""), *who[:-1]]), strict=True):
            assert cluster.put("default", scope).body == ""
            assert cluster.get(bob)[1] == (f"{N2} {AUTO}" if address == AUTO else f"{N2} {address};::0")

    def test_the_authenticating_domain(self, cluster):
        """The pair with an empty username, with an identity."""
        assert cluster.put("192.0.2.11", "domain=example.com&identity=a@example.com").body == ""
        assert cluster.get("domain=example.com&identity=a@example.com")[1] == f"{N2} 192.0.2.11;::0"
        assert cluster.get("domain=example.com")[1] == f"{N2} {AUTO}"
        assert cluster.get("domain=example.com&username=bob&identity=a@example.com")[1] == f"{N2} {AUTO}"

    def test_explicit_primary_does_not_inherit(self, cluster):
        """A2.4: 0.0.0.0 is an explicit choice; what the setting lacks is automatic."""
        cluster.put("192.0.2.11;2001:db8::5")
        cluster.put("0.0.0.0", "domain=example.com")
        assert cluster.get("domain=example.com")[1] == f"{N2} {AUTO}"
        assert cluster.get("domain=example.com&username=bob")[1] == f"{N2} {AUTO}"
        cluster.put("default", "domain=example.com")
        assert cluster.get("domain=example.com")[1] == f"{N2} 192.0.2.11;2001:db8::5"

    def test_the_warning_of_a_value_that_is_not_the_default(self, cluster):
        """A2: only where a setting is at the asked scope and differs from what it would inherit."""
        cluster.put("192.0.2.11", "domain=example.com")
        get = "call=api_get_outgoing_interfaces&domain=example.com"
        row = f"{N1} {AUTO}\n{N2} 192.0.2.11;::0\n"
        warning = f"WARNING: {N2}: not the default value (default: {{}})\n"
        assert cluster.ask(get).body == warning.format(AUTO) + row
        assert cluster.ask(f"{get}&username=bob").body == row
        cluster.put("192.0.2.12")
        assert cluster.ask(get).body == warning.format("192.0.2.12;::0") + row
        cluster.put("192.0.2.11")
        assert cluster.ask(get).body == row

    def test_one_call_is_one_node(self, cluster):
        cluster.put("198.51.100.21", host=N1)
        cluster.put("192.0.2.11", host=f"{N2.upper()}.")
        assert cluster.get() == [f"{N1} 198.51.100.21;::0", f"{N2} 192.0.2.11;::0"]
        cluster.put("", host=N1)
        assert cluster.get() == [f"{N1} {AUTO}", f"{N2} 192.0.2.11;::0"]

    def test_replaced_not_added(self, cluster):
        """A3.4: the value replaces the whole list of both families."""
        cluster.put("192.0.2.11;2001:db8::5")
        cluster.put("192.0.2.12")
        assert cluster.get()[1] == f"{N2} 192.0.2.12;::0"

    def test_several_domains(self, cluster):
        assert cluster.put("192.0.2.11", "domain=example.com;example.org").body == ""
        assert cluster.get("domain=example.com")[1] == cluster.get("domain=example.org")[1] == f"{N2} 192.0.2.11;::0"
        assert cluster.put("192.0.2.12", "domain=example.org%3Bnowhere.example").status == 404
        assert cluster.get("domain=example.org")[1] == f"{N2} 192.0.2.11;::0"

    def test_ipv4_disabled(self, cluster):
        assert cluster.put("2001:db8::5", "domain=default&disable_ipv4=1").status == 200
        assert cluster.get()[1] == f"{N2} disabled;2001:db8::5"
        assert cluster.put("", "domain=example.com&disable_ipv4=1").status == 200
        assert cluster.get("domain=example.com")[1] == f"{N2} disabled;::0"
        assert cluster.put("", "domain=example.com&disable_ipv4=0").status == 200
        assert cluster.get("domain=example.com")[1] == f"{N2} disabled;2001:db8::5"
        assert cluster.put("2001:db8::5", "domain=default&disable_ipv4=0").status == 200
        assert cluster.get()[1] == f"{N2} 0.0.0.0;2001:db8::5"

    def test_ip_and_range_users(self, cluster):
        for user in ("192.0.2.7", "203.0.113.0/28", "2001:db8:77::/48"):
            scope = f"domain=example.com&username={user}"
            assert cluster.put("192.0.2.11", scope).body == ""
            assert cluster.get(scope)[1] == f"{N2} 192.0.2.11;::0"

    def test_json(self, cluster):
        cluster.put("192.0.2.11;192.0.2.12")
        ask = "call=api_get_outgoing_interfaces_json"
        wanted = {
            "level": "default",
            "admin": None,
            "domain": None,
            "username": None,
            "identity": None,
            "ipv4": ["192.0.2.11", "192.0.2.12"],
            "ipv6": [],
            "ipv4_disabled": False,
            "effective": {"ipv4": ["192.0.2.11", "192.0.2.12"], "ipv6": ["::0"]},
        }
        found = json.loads(cluster.ask(f"{ask}&domain=default").body)
        assert found[N2] == [wanted]
        cluster.put("2001:db8::5", "domain=example.com&username=bob&identity=a")
        cluster.put("192.0.2.99", "domain=example.org")
        body = cluster.ask(ask).body
        assert sorted(one["level"] for one in json.loads(body)[N2]) == ["default", "domain", "identity"]
        assert "WARNING" not in body
        (one,) = json.loads(cluster.ask(f"{ask}&domain=example.com&username=bob&identity=a").body)[N2]
        assert (one["domain"], one["username"], one["identity"]) == ("example.com", "bob", "a")
        assert one["effective"] == {"ipv4": ["0.0.0.0"], "ipv6": ["2001:db8::5"]}


class TestHelo:
    def test_set_shown_and_removed(self, cluster):
        """A4: keyed by the address, cluster wide; an empty `ehlo` removes it."""
        assert cluster.ask(f"{EHLO}Out1.Example.COM.").body == ""
        said = cluster.ask("call=api_get_outgoing_ehlo&ip=192.0.2.11").body
        assert said.splitlines()[-1] == "out1.example.com"
        assert said.startswith("WARNING: not the default value (default: ")
        assert cluster.ask("call=api_list_outgoing_ehlo").body == "192.0.2.11 out1.example.com\n"
        assert cluster.ask(EHLO).body == ""
        assert cluster.ask("call=api_get_outgoing_ehlo&ip=192.0.2.11").body == f"{N2}\n"
        cluster.ask(f"{EHLO}out1.example.com")
        assert cluster.ask("call=api_remove_outgoing_ehlo&ip=192.0.2.11").body == ""
        assert cluster.ask("call=api_list_outgoing_ehlo").body == ""

    def test_ipv6_in_any_form(self, cluster):
        assert cluster.ask("call=api_set_outgoing_ehlo&ip=2001:DB8:0::5&ehlo=six.example.com").body == ""
        assert cluster.ask("call=api_get_outgoing_ehlo&ip=2001:db8::5").rows == ["six.example.com"]

    def test_names_in_other_scripts(self, cluster):
        """U-labels are converted, with a warning; A-labels are as they should be."""
        said = cluster.ask(EHLO + quote("aus.bücher.example"))
        assert said.status == 200 and said.body.startswith("WARNING: ")
        assert cluster.ask("call=api_get_outgoing_ehlo&ip=192.0.2.11").rows == ["aus.xn--bcher-kva.example"]
        assert cluster.ask(EHLO + "aus.xn--bcher-kva.example").body == ""

    def test_an_address_literal(self, cluster):
        said = cluster.ask(EHLO + quote("[192.0.2.11]"))
        assert said.status == 200 and said.body.startswith("WARNING: ")
        assert cluster.ask("call=api_get_outgoing_ehlo&ip=192.0.2.11").rows == ["[192.0.2.11]"]

    def test_incoming(self, cluster):
        assert cluster.ask("call=api_set_incoming_ehlo&ip=192.0.2.11&ehlo=in.example.com").body == ""
        assert cluster.ask("call=api_get_incoming_ehlo&ip=192.0.2.11").rows == ["in.example.com"]
        assert cluster.ask("call=api_get_outgoing_ehlo&ip=192.0.2.11").rows == [N2]


class TestWho:
    @pytest.mark.parametrize("who", [{"user": ""}, {"password": "wrong"}, {"user": "nobody"}, {"user": "ROOT:x"}])
    def test_no_or_wrong_credentials(self, cluster, who):
        said = cluster.ask(f"{CALL_SET}&interfaces=192.0.2.11", **who)
        assert (said.status, said.body.rstrip("\n")) == (401, "ERROR: authentication required")
        assert said.headers["www-authenticate"] == 'Basic realm="Software API"'
        assert cluster.is_untouched()

    def test_credentials_come_before_everything(self, cluster):
        for query in ("call=api_nothing", "call=api_help", "", f"{CALL_GET}&x=1"):
            assert cluster.ask(query, user="").status == 401

    def test_who_may_call(self, cluster):
        assert cluster.put("192.0.2.11", user="portal").body == ""
        assert cluster.get(user="near")[1] == f"{N2} 192.0.2.11;::0"
        assert cluster.put("", user="ann").status == 403
        assert cluster.get()[1] == f"{N2} 192.0.2.11;::0"

    def test_e11_calls(self, cluster):
        assert cluster.get(user="reader")
        said = cluster.put("192.0.2.11", user="reader")
        assert (said.status, said.body) == (403, "ERROR: this API user may not use 'api_set_outgoing_interfaces'\n")

    def test_e11_source_addresses(self, cluster):
        said = cluster.ask(CALL_GET, user="far")
        assert said.status == 403
        assert said.body == "ERROR: this API user may not use 'api_get_outgoing_interfaces' from this address\n"

    @pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH", "HEAD", "OPTIONS", "TRACE"])
    def test_e12_methods(self, cluster, method):
        said = cluster.ask(f"{CALL_SET}&interfaces=192.0.2.11", method)
        assert said.status == 405 and "GET" in said.headers["allow"]
        assert said.body.startswith("ERROR: use GET") or method == "HEAD"
        assert cluster.is_untouched()

    @pytest.mark.parametrize(
        "headers",
        [
            {"Sec-Fetch-Site": "cross-site"},
            {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate"},
            {"Origin": "https://shop.example"},
            {"Origin": "null"},
            {"Referer": "https://shop.example/page"},
        ],
    )
    def test_e14_another_web_site(self, cluster, headers):
        said = cluster.ask(f"{CALL_SET}&interfaces=192.0.2.11", headers=headers)
        assert (said.status, said.body) == (403, "ERROR: request came from another web site\n")
        assert cluster.is_untouched()

    def test_typed_in_a_browser(self, cluster):
        """Execute a call from any browser: top-level typing has to work."""
        typed = {
            "Sec-Fetch-Site": "none",
            "Sec-Fetch-Mode": "navigate",
            "Sec-Fetch-User": "?1",
            "Sec-Fetch-Dest": "document",
        }
        assert cluster.put("192.0.2.11", headers=typed).body == ""
        own = {"Origin": f"http://127.0.0.1:{cluster.port}", "Referer": f"http://127.0.0.1:{cluster.port}/x"}
        assert cluster.put("192.0.2.12", headers=own).body == ""


class TestForms:
    def test_a_form(self, cluster):
        form = f"call=api_set_outgoing_interfaces&domain=default&filtering_host={N2}&interfaces=192.0.2.11%3B+192.0.2.12"
        assert cluster.ask("", form=form).body == ""
        assert cluster.get()[1] == f"{N2} 192.0.2.11;192.0.2.12;::0"
        assert cluster.ask(CALL_SET, form="interfaces=192.0.2.12").body == ""
        assert cluster.get()[1] == f"{N2} 192.0.2.12;::0"

    def test_no_mixture_for_the_same_argument(self, cluster):
        said = cluster.ask(f"{CALL_SET}&interfaces=192.0.2.11", form="interfaces=192.0.2.12")
        assert said.status == 400 and said.body.startswith("ERROR: ")
        assert cluster.get()[1] == f"{N2} {AUTO}"

    def test_e13_in_a_form(self, cluster):
        assert cluster.ask(CALL_GET, form=f"identity={'x' * 1001}").status == 413

    def test_1000_octets_are_fine(self, cluster):
        assert cluster.ask(f"{CALL_SET}&interfaces=192.0.2.11{'%20' * 990}").body == ""


class TestHistory:
    def test_what_is_kept(self, cluster):
        """Time, user, client label, source address, call, arguments, result."""
        before = time.time()
        cluster.ask(f"{CALL_SET}&interfaces=192.0.2.11&username=&api_client_username=billing", user="portal")
        (one,) = cluster.audit()
        assert before <= one.at <= time.time()
        assert (one.actor, one.source_address, one.action) == ("portal", "127.0.0.1", "api_set_outgoing_interfaces")
        assert "billing" in one.client
        assert one.arguments["interfaces"] == "192.0.2.11" and one.arguments["filtering_host"] == N2

    def test_sent_again(self, cluster):
        """A3.7: a no-op, but audited."""
        for _ in range(2):
            assert cluster.put("192.0.2.11").body == ""
        assert [one.action for one in cluster.audit()] == ["api_set_outgoing_interfaces"] * 2

    def test_refusals_and_warnings_are_results(self, cluster):
        cluster.put("1.2.3")
        cluster.put("192.0.2.99")
        cluster.get()
        refused, warned, read = cluster.audit()
        assert refused.result == "ERROR: '1.2.3' is not an IP address"
        assert "192.0.2.99 is not an address of" in warned.result
        assert read.action == "api_get_outgoing_interfaces" and "192.0.2.99;::0" in read.result

    def test_no_passwords(self, cluster):
        cluster.put("192.0.2.11")
        cluster.ask(f"{CALL_SET}&password={quote(PASSWORD)}&interfaces=192.0.2.11")
        cluster.ask(CALL_GET, password="another secret")
        for one in cluster.audit():
            told = f"{one.arguments} {one.result} {one.actor} {one.client} {one.action}"
            assert PASSWORD not in told and "another secret" not in told
            assert base64.b64encode(f"root:{PASSWORD}".encode()).decode() not in told


def test_the_last_writer_wins(cluster):
    """Concurrent setters are serialised: never a merge of two lists."""
    lists = ["192.0.2.11;192.0.2.12", "192.0.2.101;2001:db8::5"]
    wrong, done = [], threading.Event()

    def write(one):
        for _ in range(5):
            if cluster.put(one).status != 200:
                wrong.append(one)

    def read():
        while not done.is_set():
            held = cluster.get()[1].partition(" ")[2]
            if held not in (AUTO, f"{lists[0]};::0", lists[1]):
                wrong.append(held)

    writers = [threading.Thread(target=write, args=(one,)) for one in lists]
    reader = threading.Thread(target=read)
    for thread in (*writers, reader):
        thread.start()
    for thread in writers:
        thread.join()
    done.set()
    reader.join()
    assert not wrong
    last = [one.arguments["interfaces"] for one in cluster.audit() if one.action == "api_set_outgoing_interfaces"][-1]
    assert cluster.get()[1].partition(" ")[2] == {lists[0]: f"{lists[0]};::0", lists[1]: lists[1]}[last]


def test_the_help(cluster):
    """Every call as a signature, `->` result, description, sample URL."""
    text = cluster.ask("call=api_help").body
    for signature in (
        "api_get_outgoing_interfaces(domain, username=''",
        "api_get_outgoing_interfaces_json(domain='', username='', identity=''",
        "api_set_outgoing_interfaces(domain, filtering_host, interfaces='', username='', identity=''",
        "api_set_outgoing_ehlo(ip, ehlo='') -> \"\"",
        "api_get_outgoing_ehlo(ip) -> ",
        "api_set_incoming_ehlo(ip, ehlo='')",
        "api_get_incoming_ehlo(ip)",
        "api_remove_outgoing_ehlo(ip)",
        "api_list_outgoing_ehlo()",
        "api_help()",
    ):
        assert signature in text, signature
        name = signature.partition("(")[0]
        assert re.search(rf"^{name}\(.*\) -> \S", text, re.M) and f"/cgi-bin/api?call={name}" in text
    assert "username='', identity=''" in text and ' -> ""' in text


def test_the_seeds_example(served):
    """A6, word for word, on servers of those names."""
    one, two = "node1.demo-domain.invalid", "node2.demo-domain.invalid"
    served.begin()
    add_node(served.database, ROOT, one, primary_ipv4="198.51.100.11")
    add_node(served.database, ROOT, two, primary_ipv4="198.51.100.12", addresses=["1.1.1.1", "2.2.2.2"])
    try:
        ask = served.ask
        assert ask("call=api_set_outgoing_ehlo&ip=1.1.1.1&ehlo=out1.demo-domain.invalid").rows == []
        assert ask("call=api_set_outgoing_ehlo&ip=2.2.2.2&ehlo=out2.demo-domain.invalid").rows == []
        put = f"call=api_set_outgoing_interfaces&domain=default&filtering_host={two}"
        said = ask(f"{put}&interfaces=1.1.1.1%3B2.2.2.2&username=")
        assert (said.status, said.body) == (200, "")
        rows = ask("call=api_get_outgoing_interfaces&domain=default&username=").body.splitlines()
        assert rows[-2:] == [f"{one} {AUTO}", f"{two} 1.1.1.1;2.2.2.2;::0"]
        said = ask(f"{put}&interfaces=&username=")
        assert (said.status, said.body) == (200, "")
        assert served.get()[-2:] == [f"{one} {AUTO}", f"{two} {AUTO}"]
    finally:
        for name in (one, two):
            remove_node(served.database, ROOT, name)

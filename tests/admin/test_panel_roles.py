"""The panel's pages asked without a browser: who may open what, who sees whose mail, what is refused."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import httpx
import pytest
from fastapi.testclient import TestClient

from hslpy.admin.guard import Guard
from hslpy.admin.site import Site
from hslpy.admin.web import web_app
from hslpy.clock import ManualClock
from hslpy.egress.accounts import directory, former
from hslpy.egress.delivery_ips.in_force import list_settings
from hslpy.egress.store import queues
from hslpy.egress.store.database import Database
from hslpy.egress.store.tables import NodeQueue

from ..support.mail_server import MailServer, mail_server
from .browser.seed import EVIL, PASSWORD, seed
from .busy import busy, mail

EVERYBODY = ("/", "/outgoing/queue", "/outgoing/log", "/customers/domains", "/customers/users", "/server/audit")
READERS = ("/server/nodes", "/server/nodes/node1.example.net", "/server/settings", "/outgoing/delivery-ips/warm-up")
SUPER = (
    "/access/admins",
    "/access/admins/new",
    "/access/tokens",
    "/server/nodes/new",
    "/outgoing/delivery-ips/warm-up/order",
    "/outgoing/delivery-ips/suspension?address=198.51.100.12",
)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[MailServer]:
    with mail_server(tmp_path / "control", ManualClock(1_767_607_200.0)) as found:
        yield found


@pytest.fixture
def site(tmp_path: Path, server: MailServer) -> Iterator[Site]:
    clock = ManualClock(1_767_607_200.0)
    database = Database(f"sqlite:///{tmp_path / 'egress.db'}", clock)
    database.open()
    seed(database, clock)
    busy(database, clock)
    mail(server, clock)
    yield Site(database, clock, print, node="node1.example.net", control=server.path)
    database.close()


class Browser:
    """A client of the pages, signed in as somebody."""

    def __init__(self, site: Site, user: str) -> None:
        app = Guard(web_app(site), print, lambda: ("panel.example.com",))
        address = ("192.0.2.1", 4711)
        self._client = TestClient(app, "https://panel.example.com", follow_redirects=False, client=address)
        if user:
            form = {"name": user, "password": PASSWORD}
            assert self._client.post("/sign-in", data=form).status_code == 303

    def get(self, path: str, **more: Any) -> httpx.Response:
        reply: httpx.Response = self._client.get(path, **more)
        return reply

    def post(self, path: str, csrf: str = "", **fields: Any) -> httpx.Response:
        csrf = csrf or re.search(r'data-csrf="([^"]+)"', self.get("/").text)[1]  # type: ignore[index]
        reply: httpx.Response = self._client.post(path, data={"csrf": csrf, **fields})
        return reply


def test_each_role_opens_its_pages_and_no_other(site: Site) -> None:
    opens = {"root": (*EVERYBODY, *READERS), "alice": EVERYBODY, "looker": (*EVERYBODY, *READERS)}
    for user, paths in opens.items():
        browser = Browser(site, user)
        for path in (*EVERYBODY, *READERS):
            assert browser.get(path).status_code == (200 if path in paths else 403), (user, path)
        for path in SUPER:
            reply = browser.get(path)
            assert (reply.status_code == 403) == (user != "root"), (user, path)
            assert user == "root" or "super-admin" in reply.text
    nobody = Browser(site, "")
    for path in (*EVERYBODY, *READERS, *SUPER):
        assert nobody.get(path).status_code == 303


def test_who_uses_a_suspended_address_again(site: Site) -> None:
    path, tab = "/outgoing/delivery-ips/suspension", "/outgoing/delivery-ips?tab=reputation&amp;select=198.51.100.12"
    settings = "/outgoing/delivery-ips?tab=settings&show=1"
    for user, links in (("looker", [tab]), ("alice", [])):
        browser = Browser(site, user)
        text = browser.get(settings).text
        assert "Suspended" in text and f"{path}?" not in text + browser.get("/").text
        assert all(link in text for link in links)
        assert browser.post(f"{path}/lift", address="198.51.100.12").status_code == 403
        assert browser.post(f"{path}/suspend", address="198.51.100.12").status_code == 403
    root = Browser(site, "root")
    assert f"{path}?address=198.51.100.12" in root.get("/").text
    assert root.post(f"{path}/lift", "wrong", address="198.51.100.12").status_code == 403
    assert root.get(f"{path}?address=198.51.100.12&to=//evil.example").status_code == 200
    assert root.post(f"{path}/lift", address="198.51.100.12", to="//evil.example").headers["location"] == "/"
    assert root.post(f"{path}/lift", address="198.51.100.12").status_code == 404
    refused = root.post(f"{path}/suspend", address="198.51.100.12", hours="soon", reason=EVIL)
    assert refused.status_code == 400 and "Write a number" in refused.text and EVIL not in refused.text
    assert root.post(f"{path}/suspend", address="198.51.100.12", hours="2", reason=EVIL).status_code == 303
    assert EVIL not in root.get(settings).text + root.get("/").text


def test_an_admin_sees_the_mail_of_their_own_domains(site: Site, server: MailServer) -> None:
    root, alice = Browser(site, "root"), Browser(site, "alice")
    assert "11 queued recipients" in root.get("/outgoing/queue").text
    page = alice.get("/outgoing/queue").text
    assert "10 queued recipients" in page and "y@example.org" not in page
    assert "10 queued recipients" not in alice.get("/outgoing/queue?owner=example.org").text
    others = next(entry for entry in mail_of(server, "example.org"))
    assert alice.get(f"/outgoing/queue/message/{others.queue_id}").status_code == 404
    assert root.get(f"/outgoing/queue/message/{others.queue_id}").status_code == 200
    assert "z@example.net" in root.get("/outgoing/log").text
    assert "z@example.net" not in alice.get("/outgoing/log").text
    assert "Rejected" not in alice.get("/").text


def mail_of(server: MailServer, domain: str) -> list[Any]:
    return [entry for number in range(1, 30) if (entry := server.queue.get(number)) and entry.sender.domain == domain]


def test_orders_to_the_queue(site: Site, server: MailServer) -> None:
    root = Browser(site, "root")
    entries = mail_of(server, "example.com")
    asked = root.post("/outgoing/queue/order", do="hold", id=[str(entries[0].queue_id)])
    assert "Hold: 1 recipient?" in asked.text and "bob@example.com to to0@gmail.example" in asked.text
    assert not entries[0].hold, "nothing is done before it is confirmed"
    assert root.post("/outgoing/queue/carry-out", do="hold", id=[str(entries[0].queue_id)]).status_code == 303
    assert entries[0].hold
    asked = root.post("/outgoing/queue/order", do="remove", all="1", destination="outlook.example")
    assert "Remove: 3 recipients?" in asked.text
    root.post("/outgoing/queue/carry-out", do="remove", all="1", destination="outlook.example")
    assert len(server.queue) == 8
    assert "3 recipients removed" in root.get("/server/audit?action=queue").text
    assert root.post("/outgoing/queue/carry-out", do="remove").status_code == 400, "no id means nothing, not all"
    assert root.post("/outgoing/queue/carry-out", do="burn", id="1").status_code == 400
    for user in ("alice", "looker"):
        assert Browser(site, user).post("/outgoing/queue/carry-out", do="remove", all="1").status_code == 403
    assert len(server.queue) == 8


def test_a_message_is_read_by_super_admins_and_that_is_recorded(site: Site) -> None:
    root = Browser(site, "root")
    assert "Subject:" not in root.get("/outgoing/queue/message/3").text
    assert "<pre" in root.get("/outgoing/queue/message/3?content=1").text
    assert "queue read" in root.get("/server/audit?action=queue").text
    assert "<pre" not in Browser(site, "alice").get("/outgoing/queue/message/3?content=1").text


def test_an_admin_changes_their_own_customers_alone(site: Site) -> None:
    alice = Browser(site, "alice")
    assert alice.post("/customers/domains/new", name="more.example", admin="alice").status_code == 303
    assert alice.post("/customers/users/lock", domain="example.org", username="").status_code == 404
    assert alice.post("/customers/users/new", domain="example.org", username="x", password="y").status_code == 400
    assert alice.post("/customers/domains/new", name="evil.example", admin="root").status_code == 400
    assert alice.post("/customers/domains/remove", domain="example.org").status_code == 404
    looker = Browser(site, "looker")
    assert looker.post("/customers/domains/new", name="no.example").status_code == 403
    assert looker.post("/server/settings", pool="sticky").status_code == 403


def test_what_did_not_come_from_a_page_of_ours_is_refused(site: Site) -> None:
    root = Browser(site, "root")
    for path in ("/customers/domains/new", "/access/admins/new", "/outgoing/queue/carry-out", "/server/settings"):
        assert root.post(path, csrf="wrong").status_code == 403


def test_a_page_says_when_the_mail_server_does_not_answer(site: Site, tmp_path: Path) -> None:
    lost = Site(site.database, site.clock, print, node=site.node, control=tmp_path / "nobody")
    browser = Browser(lost, "root")
    for path in ("/", "/outgoing/queue", "/outgoing/log"):
        reply = browser.get(path)
        assert reply.status_code == 200 and "does not answer" in reply.text, path
    assert browser.get("/outgoing/queue/message/3").status_code == 503


def test_the_overview_says_that_the_database_takes_no_changes_and_all_can_still_be_read(site: Site, tmp_path: Path) -> None:
    file = tmp_path / "egress.db"
    watched = Site(site.database, site.clock, print, node=site.node, trouble=site.database.trouble)
    browser = Browser(watched, "root")
    assert "takes no changes" not in browser.get("/").text
    file.rename(tmp_path / "elsewhere")
    site.clock.advance(120)  # type: ignore[attr-defined]
    page = browser.get("/").text
    assert "The database of delivery IPs takes no changes" in page and "was removed" in page and "latest backup" in page
    refused = browser.post("/customers/domains/new", name="new.example")
    assert refused.status_code == 503 and "database was removed; nothing was changed" in refused.text
    assert Browser(watched, "").get("/api/v1/session", auth=("root", PASSWORD)).status_code == 200
    (tmp_path / "elsewhere").rename(file)
    assert "takes no changes" not in browser.get("/").text


def test_a_fresh_install_is_told_what_to_do_first(tmp_path: Path) -> None:
    clock = ManualClock(1_767_607_200.0)
    database = Database(f"sqlite:///{tmp_path / 'egress.db'}", clock)
    database.open()
    from hslpy.egress.accounts import admins
    from hslpy.egress.store.database import Actor

    admins.add_admin(database, Actor("start"), "root", password=PASSWORD, role="super-admin")
    browser = Browser(Site(database, clock, print), "root")
    page = browser.get("/").text
    assert "First steps" in page and "Nothing has been counted yet" in page and "Nothing needs doing" in page
    for path in (*EVERYBODY, "/server/nodes", "/outgoing/delivery-ips/warm-up", "/access/tokens"):
        assert browser.get(path).status_code == 200, path
    assert "No domains yet" in browser.get("/customers/domains").text
    database.close()


def test_an_address_with_a_nul_is_no_fault_of_ours(site: Site) -> None:
    assert Browser(site, "root").get("/outgoing/delivery-ips?show=1&rule=domain:is:a%00").status_code == 400


def test_names_cannot_break_out(site: Site) -> None:
    root = Browser(site, "root")
    for path in ("/", "/customers/users", "/outgoing/queue", "/outgoing/queue/message/3", "/outgoing/log", "/server/audit"):
        text = root.get(path).text
        assert "<img" not in text and (EVIL not in text), path


def test_a_secret_is_shown_once_and_works(site: Site) -> None:
    from hslpy.egress.accounts import admins

    root = Browser(site, "root")
    reply = root.post("/access/tokens/new", admin="root", name="nightly", days="30", scopes=["ips:read"])
    text = re.search(r"<code>(hslpy_[^<]+)</code>", reply.text)[1]  # type: ignore[index]
    assert reply.headers["cache-control"] == "no-store"
    assert admins.sign_in_with_token(site.database, text, site.clock.time()).scopes == {"ips:read"}
    assert text not in root.get("/access/tokens").text
    assert root.post("/access/tokens/new", admin="root", name="x", days="-1", scopes=["ips:read"]).status_code == 400


def test_the_queues_of_other_servers_are_told_of_and_linked(site: Site) -> None:
    """The numbers are of everybody's mail: an admin is told where else there is some, not how much."""
    counts = {"total": 1234, "states": {"held": 12}, "destinations": {"big.example": 1000}, "locked": {}}
    row = NodeQueue(node="node2.example.net", process=0, at=site.clock.time() - 10, counts=counts)
    row.page_url = "https://node2.example.net/"
    queues.keep(site.database, row, 1)
    root, alice = Browser(site, "root"), Browser(site, "alice")
    text = root.get("/outgoing/queue?state=held").text
    assert 'href="https://node2.example.net/outgoing/queue?state=held"' in text and "1,234" in text and "big.example" in text
    assert "node2.example.net</a> 1,234 (just now)" in root.get("/").text
    link = 'href="https://node2.example.net/outgoing/log?domain=x.example"'
    assert link in root.get("/outgoing/log?domain=x.example").text
    seen = alice.get("/outgoing/queue").text
    assert "node2.example.net" in seen and "1,234" not in seen + alice.get("/").text and "big.example" not in seen
    row = NodeQueue(node="node2.example.net", process=1, at=site.clock.time() - 3600, page_url="", counts=counts)
    queues.keep(site.database, row, 2)
    text = root.get("/outgoing/queue").text
    assert "2,468" in text and '<span class="badge warning"' in text.partition("On other servers")[2]


def test_a_locked_user_is_removed_once_it_is_said_what_becomes_of_its_mail(site: Site) -> None:
    (locked, *_) = [one for one in directory.list_users(site.database) if one.locked and one.username]
    who = {"domain": locked.domain, "username": locked.username}
    root = Browser(site, "root")
    asked = root.get("/customers/users/remove?" + urlencode(who)).text
    assert "It is locked. How much of its mail is held" in asked and 'name="queued"' in asked
    refused = root.post("/customers/users/remove", **who)
    assert refused.status_code == 400 and "is locked, and" in refused.text and 'name="queued"' in refused.text
    assert root.post("/customers/users/remove", **who, queued="remove").status_code == 303
    with site.database.read() as session:
        assert (locked.domain, locked.username) in former.read(session).discarded


def test_a_form_that_comes_back_after_a_sign_in_is_shown_with_its_fields_and_not_carried_out(site: Site) -> None:
    root = Browser(site, "root")
    shown = root.post("/customers/domains/new", name="late.example", resume="1")
    assert shown.status_code == 200 and 'value="late.example"' in shown.text
    assert all(one.name != "late.example" for one in directory.list_domains(site.database))
    assert root.post("/customers/domains/new", name="late.example").headers["location"] == "/customers/domains"
    again = root.post("/customers/domains/new", name="late.example")
    assert again.status_code == 400 and "There is a domain" in again.text and 'value="late.example"' in again.text


def test_the_form_of_a_setting_keeps_whether_its_mail_waits(site: Site) -> None:
    root, here = Browser(site, "root"), "/outgoing/delivery-ips"
    fields = {"level": "domain", "domain": "example.org", "hostname": "node1.example.net", "do": "save", "anyway": "1"}
    saved = root.post(f"{here}/save", **fields, ipv4="198.51.100.11", strict="1")
    assert saved.status_code == 303, saved.text
    (row,) = [
        one.row for one in list_settings(site.database, domain="example.org") if one.row.hostname == fields["hostname"]
    ]
    assert row.strict and row.ipv4 == ("198.51.100.11",)
    assert re.search(r'name="strict"[^>]* checked', root.get(f"{here}/{row.id}/edit").text)
    root.post(f"{here}/save", **fields, id=row.id, version=row.version, ipv4="198.51.100.11")
    assert not list_settings(site.database, domain="example.org")[0].row.strict

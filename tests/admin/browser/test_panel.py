"""Overview, customers, queue, messages, deliveries, nodes, audit, site settings: in a browser, for each role."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from hslpy.egress.accounts import directory
from hslpy.egress.reputation import block_lists
from hslpy.egress.store.database import Actor

from ...support.mail_server import MailServer, mail_server
from ..busy import busy, mail
from .conftest import shot


@pytest.fixture
def server(tmp_path: Path, clock) -> Iterator[MailServer]:
    with mail_server(tmp_path / "control", clock) as found:
        mail(found, clock)
        yield found


@pytest.fixture
def control(server: MailServer) -> Path:
    return server.path


@pytest.fixture
def web(web, clock):
    busy(web.database, clock)
    return web


@pytest.mark.parametrize(("size", "theme"), [("wide", "dark"), ("phone", "light")])
def test_overview(visit, size: str, theme: str) -> None:
    page = visit("/", size=size, theme=theme)
    page.get_by_role("heading", name="To do today").wait_for()
    shot(page, f"panel-overview-{size}-{theme}")


@pytest.mark.parametrize("size", ["wide", "phone"])
def test_queue_and_message(visit, size: str) -> None:
    page = visit("/outgoing/queue", size=size)
    page.get_by_text("11 queued recipients").first.wait_for()
    shot(page, f"panel-queue-{size}")
    page.get_by_role("link", name="to2@gmail.example").click()
    page.get_by_role("heading", name="Attempts").wait_for()
    shot(page, f"panel-message-{size}")
    page.get_by_role("button", name="Remove: to2@gmail.example").click()
    page.get_by_role("heading", name="Remove: 1 recipient?").wait_for()
    shot(page, f"panel-message-remove-{size}")
    page.get_by_role("button", name="Remove", exact=True).click()
    page.get_by_text("1 recipient removed").wait_for()


def test_deliveries(visit) -> None:
    page = visit("/outgoing/log?address=198.51.100.11")
    page.get_by_text("8 attempts").first.wait_for()
    shot(page, "panel-deliveries")
    page.goto("/outgoing/log?address=198.51.100.21")
    page.get_by_text("198.51.100.21 is on node2.example.net: what left from it there is on that server's page.").wait_for()


PAGES = {
    "/customers/domains": "Domains",
    "/customers/users": "Outgoing users",
    "/server/nodes": "Nodes",
    "/server/nodes/node1.example.net": "node1.example.net",
    "/server/audit": "Audit",
    "/server/settings": "Site settings",
    "/access/admins": "Admins and API users",
    "/access/tokens": "API tokens",
}


@pytest.mark.parametrize("size", ["phone"])
def test_each_page_opens(visit, size: str) -> None:
    page = visit("/", size=size)
    for path, title in PAGES.items():
        page.goto(path)
        page.get_by_role("heading", name=title, exact=True, level=1).wait_for()
        shot(page, f"panel-{path.strip('/').replace('/', '-')}-{size}")
        wide = page.evaluate("document.documentElement.scrollWidth - innerWidth")
        assert wide <= 0, f"{path} is {wide} pixels too wide"


def test_a_customer_is_set_up(visit, web) -> None:
    page = visit("/customers/domains")
    page.get_by_role("link", name="Add a domain").click()
    page.locator("dialog").get_by_label("Domain").fill("customer.example")
    page.get_by_role("button", name="Add", exact=True).click()
    page.get_by_text("The domain customer.example has been added.").wait_for()
    page.goto("/customers/users")
    page.get_by_role("link", name="Add an outgoing user").click()
    page.locator("dialog").wait_for()
    shot(page, "panel-user-new")
    page.locator("dialog").get_by_label("Domain").select_option("customer.example")
    page.locator("dialog").get_by_label("User").fill("app")
    page.get_by_role("button", name="Add", exact=True).click()
    page.get_by_role("heading", name="app@customer.example can send now").wait_for()
    shot(page, "panel-user-secret")
    secret = page.locator(".secret code").inner_text()
    page.get_by_role("link", name="Done").click()
    page.get_by_role("heading", name="Outgoing users", exact=True).wait_for()
    assert secret not in page.content()
    page.get_by_role("button", name="Actions for app of customer.example").click()
    page.get_by_role("menuitem", name="Lock…").click()
    page.get_by_label("Reason").fill("sends spam <b>")
    page.get_by_role("button", name="Lock", exact=True).click()
    page.get_by_text("app of customer.example is locked.").wait_for()
    page.get_by_text("just now by root: sends spam <b>").wait_for()
    page.goto("/customers/domains")
    page.get_by_role("button", name="Actions for customer.example").click()
    page.get_by_role("menuitem", name="Remove…").click()
    page.locator("dialog").get_by_text("1 user", exact=True).wait_for()
    shot(page, "panel-domain-remove")
    page.get_by_label("Its held mail").select_option("remove")  # how much it is other servers have not told
    page.get_by_role("button", name="Remove", exact=True).click()
    page.get_by_text("Removed: domain 'customer.example'").wait_for()


def test_an_admin_does_not_unlock_what_a_super_admin_has_locked(visit, web) -> None:
    directory.lock_user(web.database, Actor("root"), "example.com", "bob", "spam")
    page = visit("/customers/users", user="alice")
    page.get_by_text("just now by root: spam").wait_for()
    page.get_by_role("button", name="Actions for bob of example.com").click()
    page.get_by_role("menuitem", name="Unlock…").click()
    shot(page, "panel-user-unlock")
    page.get_by_role("button", name="Unlock", exact=True).click()
    page.get_by_text("bob of example.com was locked by root: they or a super-admin have to unlock it first").first.wait_for()
    shot(page, "panel-user-unlock-refused")
    assert any(one.locked for one in directory.list_users(web.database, "example.com"))


def test_a_node_is_locked_and_unlocked(visit) -> None:
    page = visit("/server/nodes")
    name = page.locator("tbody th a").first.inner_text()
    page.get_by_role("button", name=f"Actions for {name}").click()
    page.get_by_role("menuitem", name="Lock…").click()
    page.get_by_label("Reason").fill("its address is listed")
    shot(page, "panel-node-lock")
    page.get_by_role("button", name="Lock", exact=True).click()
    page.get_by_text(f"{name} is locked: it delivers nothing.").wait_for()
    page.get_by_text("just now by root: its address is listed").wait_for()
    shot(page, "panel-node-locked")
    page.goto("/")
    page.get_by_text(f"{name} is locked: it delivers nothing, and the mail in its queue is held").wait_for()
    page.goto(f"/server/nodes/{name}")
    page.get_by_text("This server is locked, just now by root: its address is listed").wait_for()
    page.goto("/outgoing/delivery-ips?tab=settings&show=1")
    page.get_by_text("locked: its address is listed").first.wait_for()
    page.goto(f"/outgoing/delivery-ips/explain?node={name}&domain=&username=&identity=&family=4")
    page.get_by_text(f"Its mail is held all the same: the server {name} is locked").wait_for()
    page.goto("/server/nodes")
    page.get_by_role("button", name=f"Actions for {name}").click()
    page.get_by_role("menuitem", name="Unlock…").click()
    page.get_by_role("button", name="Unlock", exact=True).click()
    page.get_by_text(f"{name} is no longer locked.").wait_for()


def test_an_api_user_and_a_token(visit) -> None:
    page = visit("/access/admins")
    page.get_by_role("link", name="Add an API user").click()
    page.locator("dialog").wait_for()
    shot(page, "panel-admin-new")
    page.locator("dialog").get_by_label("Name").fill("billing")
    page.get_by_label("api_get_outgoing_ehlo").check()
    page.get_by_label("May come from").fill("192.0.2.0/33")
    page.get_by_role("button", name="Add", exact=True).click()
    page.locator("#errors").wait_for()
    assert page.get_by_label("api_get_outgoing_ehlo").is_checked()
    page.get_by_label("May come from").fill("192.0.2.0/24")
    page.get_by_role("button", name="Add", exact=True).click()
    page.get_by_role("heading", name="billing can sign in now").wait_for()
    page.goto("/access/tokens/new")
    page.get_by_label("Of").select_option("billing")
    page.get_by_label("Name", exact=True).fill("nightly")
    page.get_by_role("button", name="Add", exact=True).click()
    page.locator("#errors").wait_for()
    page.get_by_label("ips:read").check()
    page.get_by_role("button", name="Add", exact=True).click()
    page.get_by_role("heading", name="Token nightly of billing").wait_for()
    assert page.locator(".secret code").inner_text().startswith("hslpy_")


def test_site_settings(visit) -> None:
    page = visit("/server/settings")
    page.get_by_label("Alert addresses").fill("nobody")
    page.get_by_role("button", name="Save").click()
    page.get_by_text("Nothing was saved").wait_for()
    shot(page, "panel-settings-error")
    page.get_by_label("Alert addresses").fill("ops@example.com")
    page.get_by_label("Pause on listing").uncheck()
    page.get_by_role("button", name="Save").click()
    page.get_by_text("2 settings changed.").wait_for()
    page.goto("/server/audit?action=site")
    page.get_by_text("site set").first.wait_for()


@pytest.mark.parametrize("size", ["phone"])
def test_warm_up(visit, size: str) -> None:
    page = visit("/outgoing/delivery-ips/warm-up", size=size)
    page.get_by_text("12 % of messages deferred").wait_for()
    shot(page, f"panel-warm-ups-{size}")
    page.get_by_role("link", name="198.51.100.13").click()
    page.get_by_text("Paused on day 1 of 7").first.wait_for()
    page.get_by_role("button", name="Resume").click()
    page.get_by_text("goes on, with the day on which it was paused").wait_for()
    shot(page, f"panel-warm-up-{size}")
    page.get_by_role("link", name="Skip to warm").click()
    page.get_by_role("heading", name="Skip to warm: 198.51.100.13?").wait_for()
    shot(page, f"panel-warm-up-skip-{size}")
    page.get_by_role("button", name="Skip to warm").click()
    page.get_by_text("198.51.100.13 is warm now.").wait_for()
    page.get_by_role("link", name="Start warm-up").click()
    page.get_by_label("Days", exact=True).fill("5")
    page.get_by_role("button", name="Start warm-up").click()
    page.get_by_text("fewer than 7").first.wait_for()
    page.get_by_label("Fewer than 7 days are meant").check()
    page.get_by_role("button", name="Start warm-up").click()
    page.get_by_text("The warm-up of 198.51.100.13 has been started.").wait_for()


def test_a_suspended_address_is_used_again(web, visit) -> None:
    block_lists.restore_defaults(web.database, Actor("root", "cli"))
    page = visit("/")
    page.get_by_role("link", name="Use again: 198.51.100.12 on node1.example.net is suspended").click()
    dialog = page.get_by_role("dialog", name="Use 198.51.100.12 again?")
    dialog.get_by_text("Suspended on all servers: blocked by google.").wait_for()
    shot(page, "panel-suspension-lift")
    dialog.get_by_role("button", name="Use again").click()
    page.get_by_text("198.51.100.12 may be used again.").wait_for()
    page.goto("/outgoing/delivery-ips?tab=reputation&show=1")
    page.get_by_role("button", name="Actions for 198.51.100.12").click()
    page.get_by_role("menuitem", name="Suspend…").click()
    dialog = page.get_by_role("dialog", name="Suspend 198.51.100.12")
    dialog.get_by_label("Hours").fill("-2")
    dialog.get_by_role("button", name="Suspend").click()
    page.locator("#errors").wait_for()
    dialog.get_by_label("Hours").fill("2")
    dialog.get_by_label("Reason").fill("complaints")
    shot(page, "panel-suspension")
    dialog.get_by_role("button", name="Suspend").click()
    page.get_by_text("Nothing is sent from 198.51.100.12 for 2 hours.").wait_for()
    shot(page, "panel-suspension-tab")
    page.goto("/outgoing/delivery-ips?tab=settings&show=1")
    shot(page, "panel-suspension-settings")
    page.get_by_role("link", name="198.51.100.12 is suspended: complaints").click()
    page.get_by_role("button", name="Use again").click()
    page.get_by_text("198.51.100.12 may be used again.").wait_for()
    assert not page.get_by_role("link", name="is suspended").count()

"""The tabs "Reputation check" and "Configure reputation check" in a browser; a DNS server of ours plays the lists."""

from __future__ import annotations

import asyncio
import random
import re
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import uvicorn
from playwright.sync_api import Page, expect

from hslpy.admin.pages import reputation
from hslpy.admin.site import Site
from hslpy.admin.web import web_app
from hslpy.clock import ManualClock
from hslpy.dns.resolver import DnsResolver
from hslpy.egress.accounts import site
from hslpy.egress.reputation import block_lists
from hslpy.egress.reputation.checker import ReputationChecker
from hslpy.egress.reputation.jobs import ReputationSettings, resolver_settings
from hslpy.egress.rules.dnsbl import Code, Meaning
from hslpy.egress.store.database import Database
from tests.support.dnsbl_server import DnsblServer, List

from .conftest import SHOTS, Web, shot
from .seed import EVIL, ROOT, seed

TAB = "/outgoing/delivery-ips?tab=reputation"
LISTS = "/outgoing/delivery-ips?tab=lists"
BAD, GOOD = "198.51.100.11", "198.51.100.12"
PLAYED = {
    "bl.stop.test": List(entries={BAD: ("127.0.0.2",), "198.51.100.20": ("127.0.0.3",)}, reason="see https://stop.test/why"),
    "clean.test": List(),
    "area.test": List(entries={BAD: ("127.0.0.2",)}),
    "refuse.test": List("refusing"),
    "lies.test": List("rewriting"),
    "silent.test": List("silent"),
    "v6.test": List(families=(4, 6), entries={"2001:db8:1::11": ("127.0.0.2",)}),
}
NAMES = {
    "bl.stop.test": "Spam Stop", "clean.test": "Clean List", "area.test": "Area", "refuse.test": "Refuser",
    "lies.test": "Liar", "silent.test": "Silence", "v6.test": "Both families",
}  # fmt: skip


LOOKS = [(size, theme) for size in ("wide", "phone") for theme in ("light", "dark")] if SHOTS else [("phone", "dark")]


class Site2(Web):
    """A running web application with a checker; `lists` is the server that plays the lists, `ids` their ids by zone."""

    clock: ManualClock
    lists: DnsblServer
    ids: dict[str, int]
    slow: dict[str, float]


@pytest.fixture
def web(tmp_path: Path) -> Iterator[Site2]:
    clock = ManualClock(1_767_607_200.0)  # 2026-01-05 10:00 UTC
    database = Database(f"sqlite:///{tmp_path / 'egress.db'}", clock)
    database.open()
    seed(database, clock)
    ids = {zone: add(database, zone, one) for zone, one in PLAYED.items()}
    faults: list[object] = []

    def log(event: str, fields: object) -> None:
        if event in ("admin.fault", "reputation.failed"):
            faults.append(fields)

    listener = socket.create_server(("127.0.0.1", 0))
    found: list[Site2] = []
    slow = {"try_s": 0.3}
    stop = threading.Event()

    async def main() -> None:
        lists = DnsblServer(dict(PLAYED), 0.01)
        await lists.start()
        through = f"127.0.0.1:{lists.port}"

        def settings() -> ReputationSettings:
            return ReputationSettings((through,), interval_s=0.0, tries=1, cell_s=9.0, **slow)

        resolver = DnsResolver(resolver_settings((through,), try_s=5.0), clock)

        async def on_alerts(alerts: object, texts: object) -> None:
            pass

        checker = ReputationChecker(database, resolver, clock, settings, on_alerts, random.Random(1).random, log)
        one = Site(database, clock, log, node="node1.example.net", reputation=checker)
        config = uvicorn.Config(web_app(one), log_level="warning", lifespan="off", timeout_graceful_shutdown=1)
        server = uvicorn.Server(config)
        serving = asyncio.create_task(server.serve(sockets=[listener]))
        while not server.started:
            await asyncio.sleep(0.01)
        web = Site2(one, listener.getsockname()[1], faults)
        web.clock, web.lists, web.ids, web.slow = clock, lists, ids, slow
        found.append(web)
        while not stop.is_set():
            await asyncio.sleep(0.02)
        await checker.close()
        server.should_exit = True
        await serving
        await resolver.close()
        lists.close()

    thread = threading.Thread(target=lambda: asyncio.run(main()), daemon=True)
    thread.start()
    while not found:
        time.sleep(0.01)
    try:
        yield found[0]
    finally:
        stop.set()
        thread.join(10)
        database.close()
    assert not faults, faults


def add(database: Database, zone: str, one: List) -> int:
    codes = (Code("127.0.0.2", "spam source"), Code("127.0.0.3", "dynamic address"))
    kind = "neighbourhood" if zone == "area.test" else "address"
    meaning = Meaning(kind, codes)  # type: ignore[arg-type]
    draft = block_lists.Draft(NAMES[zone], zone, one.families, (), meaning, removal_url="https://stop.test/removal")
    return block_lists.add(database, ROOT, draft).id


def cell(page: Page, address: str, web: Site2, zone: str):
    return page.locator(f'[data-cell="{address} {web.ids[zone]}"]')


def test_the_matrix_row_by_row_and_all(web, visit) -> None:
    page = visit(TAB)
    expect(page.get_by_text("Press Show results to list the delivery IPs.")).to_be_visible()
    shot(page, "reputation-before")
    page.get_by_role("button", name="Show results").last.click()
    expect(page.get_by_text("13 delivery IPs on 7 block lists")).to_be_visible()
    expect(cell(page, BAD, web, "bl.stop.test")).to_contain_text("Not checked")
    expect(cell(page, "2001:db8:1::11", web, "bl.stop.test")).to_contain_text("Not applicable")
    # one cell
    page.get_by_role("button", name=f"Check {BAD} against Spam Stop").click()
    expect(cell(page, BAD, web, "bl.stop.test")).to_contain_text("Listed")
    expect(page.locator("[data-progress]")).to_have_text("Checked 1 result: 1 listed, 0 unknown.")
    assert "job=" in page.url
    expect(cell(page, GOOD, web, "bl.stop.test")).to_contain_text("Not checked")
    # one row
    page.get_by_label(f"Select {GOOD}").check()
    page.get_by_label("With selected:").select_option("Check")
    page.get_by_role("button", name="Apply").click()
    for zone, word in (
        ("bl.stop.test", "Clean"), ("refuse.test", "Refused"), ("lies.test", "List not usable"),
        ("silent.test", "No answer"),
    ):  # fmt: skip
        expect(cell(page, GOOD, web, zone)).to_contain_text(word)
    # one column
    page.get_by_role("button", name="Check all addresses against Area").click()
    expect(cell(page, BAD, web, "area.test")).to_contain_text("Listed (informational)")
    expect(cell(page, "198.51.100.22", web, "area.test")).to_contain_text("Clean")
    # all
    page.get_by_label("Select all rows of this page").check()
    page.get_by_role("button", name="Apply").click()
    row = page.get_by_role("row", name=re.compile(re.escape(BAD)))
    expect(row.locator("[data-summary]")).to_have_text("1 listed, 1 informational, 2 clean, 3 unknown")
    expect(page.locator("[data-progress]")).to_contain_text("Checked 91 results")
    shot(page, "reputation")
    # somebody else sees the same
    other = visit(TAB, user="looker")
    other.get_by_role("button", name="Show results").last.click()
    expect(cell(other, BAD, web, "bl.stop.test")).to_contain_text("Listed")
    assert other.get_by_role("button", name=re.compile("^Check ")).count() == 0
    # what is only listed
    page.get_by_role("link", name="Only listed").click()
    expect(page.get_by_text("3 delivery IPs on 7 block lists")).to_be_visible()


def test_a_cell_in_detail_and_checked_again(web, visit) -> None:
    page = visit(f"{TAB}&show=1")
    page.get_by_role("button", name=f"Check {BAD} against Spam Stop").click()
    expect(cell(page, BAD, web, "bl.stop.test")).to_contain_text("Listed")
    cell(page, BAD, web, "bl.stop.test").get_by_role("link").click()
    dialog = page.get_by_role("dialog")
    for text in (
        "127.0.0.2: spam source", "see https://stop.test/why", "11.100.51.198.bl.stop.test", "https://stop.test/removal",
        "600 s", "2026-01-05 10:00 UTC",
    ):  # fmt: skip
        expect(dialog.get_by_text(text).first).to_be_visible()
    shot(page, "reputation-cell")
    page.keyboard.press("Escape")
    expect(dialog).to_have_count(0)
    web.clock.advance(180)
    page.get_by_role("button", name=f"Check {BAD} against Spam Stop").click()
    expect(page.get_by_text("checked 3 min ago; the list asks not to be queried more often")).to_be_visible()
    asked = len(web.lists.asked)
    page.get_by_role("button", name="Check anyway").click()
    expect(page.get_by_role("button", name="Check anyway")).to_have_count(0)
    expect(page.locator("[data-progress]")).to_have_text("Checked 1 result: 1 listed, 0 unknown.")
    expect(cell(page, BAD, web, "bl.stop.test")).to_contain_text("just now")
    assert len(web.lists.asked) > asked
    # but never under a minute
    page.get_by_role("button", name=f"Check {BAD} against Spam Stop").click()
    expect(page.get_by_text("checked 0 s ago; the list asks not to be queried more often")).to_be_visible()
    expect(page.get_by_role("button", name="Check anyway")).to_have_count(0)


def test_it_is_a_grid_for_keys(web, visit) -> None:
    page = visit(f"{TAB}&show=1")
    grid = page.get_by_role("grid")
    assert grid.locator('[tabindex="0"]').count() == 1
    first = grid.locator('[tabindex="0"]')
    first.focus()
    row = grid.get_by_role("row").nth(1)
    assert page.evaluate("document.activeElement.dataset.cell").startswith("198.51.100.10 ")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowDown")
    assert page.evaluate("document.activeElement.dataset.cell").startswith("198.51.100.11 ")
    assert grid.locator('[tabindex="0"]').count() == 1
    page.keyboard.press("Home")
    assert page.evaluate("document.activeElement.getAttribute('aria-label')") == f"Select {BAD}"
    page.keyboard.press("End")
    page.keyboard.press("ArrowUp")
    page.keyboard.press("Control+Home")
    assert page.evaluate("document.activeElement.getAttribute('aria-label')") == "Select all rows of this page"
    page.keyboard.press("Control+End")
    last = page.evaluate("document.activeElement.dataset.cell")
    assert last.startswith("2001:db8:1::11 ")
    while "Both" not in page.evaluate("document.querySelectorAll('thead th')[document.activeElement.cellIndex].textContent"):
        page.keyboard.press("ArrowLeft")
    page.keyboard.press("Space")
    expect(cell(page, "2001:db8:1::11", web, "v6.test")).to_contain_text("Listed")
    page.keyboard.press("Enter")
    expect(page.get_by_role("dialog")).to_be_visible()
    page.keyboard.press("Escape")
    assert page.evaluate("document.activeElement.dataset.cell") == f"2001:db8:1::11 {web.ids['v6.test']}"
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.closest('table') === null")
    assert row.get_by_role("rowheader").count() == 1


def test_a_check_is_stopped_and_outlasts_leaving(web, visit) -> None:
    web.lists.delay_s, web.slow["try_s"] = 1.0, 4.0
    page = visit(f"{TAB}&show=1")
    page.get_by_label("Select all rows of this page").check()
    page.get_by_label("With selected:").select_option("Check")
    page.get_by_role("button", name="Apply").click()
    expect(page.locator("[data-waiting]").first).to_be_visible()
    here = page.url
    page.goto("/account/password")
    other = visit(f"{TAB}&show=1")
    expect(other.locator("[data-waiting]").first).to_be_visible()
    page.goto(here)
    expect(page.get_by_role("button", name="Stop", exact=True)).to_be_visible()
    expect(page.get_by_text("Queued").first).to_be_visible()
    shot(page, "reputation-running")
    page.get_by_role("button", name="Stop", exact=True).click()
    for one in (page, other):
        expect(one.locator("[data-progress]")).to_contain_text("Stopped after")
        expect(one.locator("[data-waiting]")).to_have_count(0)
        expect(one.get_by_role("button", name="Stop", exact=True)).to_be_hidden()


def test_a_large_check_is_asked_about(web, visit, monkeypatch) -> None:
    monkeypatch.setattr(reputation, "ASK_QUERIES", 50)
    page = visit(f"{TAB}&show=1")
    page.get_by_label("Select all rows of this page").check()
    page.get_by_label("With selected:").select_option("Check")
    page.get_by_role("button", name="Apply").click()
    dialog = page.get_by_role("dialog")
    text = re.compile(r"This is 91 DNS queries and takes about \d+ (minutes?|seconds)\.")
    expect(dialog.get_by_text(text)).to_be_visible()
    expect(page.get_by_role("dialog").get_by_text("Cancel", exact=True)).to_be_focused()
    dialog.get_by_role("button", name="Check").click()
    expect(page.locator("[data-progress]")).to_contain_text("Checked 91 results")


def test_without_a_script(web, visit) -> None:
    page = visit(f"{TAB}&show=1", script=False)
    page.get_by_role("button", name=f"Check {BAD} against Spam Stop").click()
    expect(cell(page, BAD, web, "bl.stop.test")).to_contain_text("Listed")
    expect(page.get_by_text("Checked 1 result: 1 listed, 0 unknown.")).to_be_visible()
    cell(page, BAD, web, "bl.stop.test").get_by_role("link").click()
    expect(page.get_by_text("127.0.0.2: spam source")).to_be_visible()
    page.get_by_role("link", name="Close").click()
    expect(cell(page, BAD, web, "bl.stop.test")).to_contain_text("Listed")
    page.goto(LISTS)
    page.get_by_role("button", name="Show results").last.click()
    expect(page.get_by_text("7 DNSBLs")).to_be_visible()


def test_results_as_a_file_and_the_daily_check(web, visit) -> None:
    page = visit(f"{TAB}&show=1")
    page.get_by_role("button", name=f"Check {BAD} against Spam Stop").click()
    expect(cell(page, BAD, web, "bl.stop.test")).to_contain_text("Listed")
    with page.expect_download() as download:
        page.get_by_role("link", name="Export results as CSV").first.click()
    lines = Path(download.value.path()).read_text().splitlines()
    assert lines[0].startswith("address,public_address,hostname,ptr,rbl_name") and lines[1].startswith(BAD)
    page.get_by_role("link", name="Daily check and alerts").click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_label("Alert addresses").fill("ops@@example")
    dialog.get_by_role("button", name="Save").click()
    expect(dialog.get_by_role("alert")).to_be_visible()
    dialog.get_by_label("Alert addresses").fill("ops@example.com")
    dialog.get_by_label("Suspend an address that is listed").select_option("counting")
    dialog.get_by_role("button", name="Save").click()
    expect(page.get_by_text("alerts to ops@example.com")).to_be_visible()
    with web.database.read() as session:
        assert site.read(session).suspend_on_listing == "counting"


def test_banners_of_what_keeps_results_from_meaning_anything(web, visit) -> None:
    block_lists.set_enabled(web.database, ROOT, [id for zone, id in web.ids.items() if zone != "refuse.test"], False)
    page = visit(f"{TAB}&show=1")
    page.get_by_role("button", name="Check all addresses against Refuser").click()
    expect(page.locator("[data-progress]")).to_contain_text("Checked 13 results")
    page.reload()
    expect(
        page.get_by_text("Lists refuse this server's DNS resolver. Use a resolver of your own or enter a key.")
    ).to_be_visible()
    block_lists.remove(web.database, ROOT, web.ids.values())
    page.reload()
    expect(page.get_by_text("No lists configured.")).to_be_visible()
    page.get_by_role("button", name="Restore default lists").click()
    expect(page.get_by_role("columnheader", name=re.compile("SpamCop"))).to_be_visible()
    shot(page, "reputation-defaults")


# ---- the lists ------------------------------------------------------------------------------------


def test_lists_by_rules_and_one_by_one(web, visit) -> None:
    page = visit(LISTS)
    page.get_by_role("button", name="Add new rule").click()
    options = page.get_by_label("Field of rule 1").locator("option").all_text_contents()
    assert options == ["DNSBL name", "DNSBL domain", "Both"]
    page.get_by_label("Field of rule 1").select_option("Both")
    page.get_by_label("Operator").select_option("contains")
    page.get_by_label("Value").fill("STOP")
    page.keyboard.press("Enter")
    expect(page.get_by_text("1 DNSBL", exact=True)).to_be_visible()
    expect(page.get_by_role("row", name=re.compile("Spam Stop"))).to_contain_text("Not tested")
    page.get_by_role("button", name="Actions for Spam Stop").click()
    names = page.get_by_role("menuitem").all_text_contents()
    assert names == ["Edit", "Remove", "Export as CSV", "Test now", "Disable", "Policy and removal page"]
    page.get_by_role("menuitem", name="Test now").click()
    expect(page.get_by_text("Spam Stop: Working")).to_be_visible()
    page.wait_for_load_state()
    shot(page, "lists-one")
    page.get_by_role("button", name="Actions for Spam Stop").click()
    page.get_by_role("menuitem", name="Disable").click()
    expect(page.get_by_text("Spam Stop was disabled.")).to_be_visible()
    page.get_by_role("button", name="Undo").click()
    expect(page.get_by_text("1 list enabled again.")).to_be_visible()
    page.wait_for_load_state()
    page.get_by_role("button", name="Actions for Spam Stop").click()
    page.get_by_role("menuitem", name="Edit").click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_label("Name").fill("Clean List")
    dialog.get_by_role("button", name="Save").click()
    expect(dialog.get_by_text("there is a list named 'Clean List' already").first).to_be_visible()
    shot(page, "lists-edit")
    dialog.get_by_label("Name").fill("Stop Spam")
    dialog.get_by_role("button", name="Save").click()
    expect(page.get_by_text("Stop Spam was saved.")).to_be_visible()
    page.wait_for_load_state()
    page.get_by_role("button", name="Actions for Stop Spam").click()
    page.get_by_role("menuitem", name="Remove").click()
    expect(page.get_by_role("dialog").get_by_text("Cancel", exact=True)).to_be_focused()
    page.get_by_role("dialog").get_by_role("button", name="Remove 1 list").click()
    expect(page.get_by_text("Stop Spam was removed.")).to_be_visible()


def test_a_list_is_added(web, visit) -> None:
    web.lists.lists |= {"new.test": List(), "quiet.test": List("no test entry")}
    page = visit(f"{LISTS}&show=1")

    def fill(name: str, domain: str):
        page.wait_for_load_state()
        page.get_by_role("link", name="Add New DNSBL").click()
        dialog = page.get_by_role("dialog")
        dialog.get_by_label("Name").fill(name)
        dialog.get_by_label("DNSBL domain").fill(domain)
        dialog.get_by_role("button", name="Save").click()
        return dialog

    fill("New", "https://new.test/lookup")
    expect(page.get_by_text("New was added: Working.")).to_be_visible()
    dialog = fill("Newer", "new.test")
    expect(dialog.get_by_text("'new.test' is already present: New").first).to_be_visible()
    shot(page, "lists-add-error")
    dialog.get_by_role("link", name="Cancel").click()
    dialog = fill("Quiet", "quiet.test")
    expect(dialog.get_by_text("The list does not answer the standard test entry")).to_be_visible()
    shot(page, "lists-add-question")
    dialog.get_by_role("button", name="Save as disabled").click()
    expect(page.get_by_text("Quiet was added")).to_be_visible()
    dialog = fill("SORBS", "dnsbl.sorbs.net")
    expect(dialog.get_by_text("It will be saved disabled.")).to_be_visible()
    dialog.get_by_role("button", name="Save as disabled").click()
    expect(page.get_by_text("SORBS was added: Retired.")).to_be_visible()
    with web.database.read() as session:
        found = {one.name: one.enabled for one in block_lists.lists(session)}
    assert (found["New"], found["Quiet"], found["SORBS"]) == (True, False, False)


def test_lists_come_and_go_as_a_file(web, visit, tmp_path) -> None:
    file = tmp_path / "lists.csv"
    file.write_text(
        "rbl_domain,rbl\nbl.spamcop.net,SpamCop\ndnsbl.sorbs.net,SORBS\nbl.stop.test,Spam Stop\nnot a host,Nothing\n"
    )
    page = visit(f"{LISTS}&show=1")
    page.get_by_role("link", name="Import From CSV").click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_label("Select file").set_input_files(file)
    expect(dialog.get_by_text("2 new, 1 skipped (already present), 1 error (line 5)")).to_be_visible()
    expect(dialog.get_by_role("row", name=re.compile("sorbs"))).to_contain_text("new")
    shot(page, "lists-import")
    dialog.get_by_role("button", name="Import").click()
    expect(page.get_by_text("2 added, 1 skipped (already present), 1 error (line 5).")).to_be_visible()
    with page.expect_download() as download:
        page.get_by_role("link", name="Export to CSV").click()
    text = Path(download.value.path()).read_text()
    assert text.startswith("rbl_hostname,rbl_name\n") and "bl.spamcop.net,SpamCop" in text
    # those that are selected
    page.get_by_label("Select SpamCop").check()
    page.get_by_label("Select SORBS").check()
    page.get_by_label("With selected:").select_option("Enable")
    page.get_by_role("button", name="Apply").click()
    expect(page.get_by_text("SpamCop was enabled. 1 could not be.")).to_be_visible()
    page.get_by_label("Select SpamCop").check()
    page.get_by_label("Select SORBS").check()
    page.get_by_label("With selected:").select_option("Export to CSV")
    with page.expect_download() as download:
        page.get_by_role("button", name="Apply").click()
    assert len(Path(download.value.path()).read_text().splitlines()) == 3
    page.reload()
    page.get_by_label("Select all rows of this page").check()
    page.get_by_label("With selected:").select_option("Remove")
    page.get_by_role("button", name="Apply").click()
    page.get_by_role("dialog").get_by_role("button", name="Remove 9 lists").click()
    expect(page.get_by_text("No lists configured.")).to_be_visible()


def test_names_that_try_to_break_out_and_keys_that_must_not(web, visit) -> None:
    key = "abcdefghijklmnopqrstuvwxyz"
    evil = List(entries={BAD: ("127.0.0.2",)}, reason="<img src=x onerror=alert(1)> https://stop.test/x")
    web.lists.lists |= {"evil.test": evil, f"{key}.zen.dq.spamhaus.net": List("refusing")}
    block_lists.add(web.database, ROOT, block_lists.Draft(EVIL, "evil.test"))
    with web.database.read() as session:
        draft = block_lists.draft(session, "Keyed", f"{key}.zen.dq.spamhaus.net")
    keyed = block_lists.add(web.database, ROOT, draft).id
    page = visit(f"{TAB}&show=1")
    page.get_by_role("button", name=f"Check {BAD} against {EVIL}").click()
    found = page.get_by_role("row", name=re.compile(re.escape(BAD))).get_by_role("link", name="Listed")
    found.click()
    expect(page.get_by_role("dialog").get_by_text("<img src=x onerror=alert(1)>").first).to_be_visible()
    page.keyboard.press("Escape")
    page.get_by_role("button", name=f"Check {BAD} against Keyed").click()
    expect(page.locator(f'[data-cell="{BAD} {keyed}"]')).to_contain_text("Refused")
    for path in (
        f"{TAB}&show=1", f"{LISTS}&show=1", f"/outgoing/delivery-ips/lists/{keyed}",
        f"/outgoing/delivery-ips/reputation/cell?address={BAD}&list={keyed}",
    ):  # fmt: skip
        page.goto(path)
        assert key not in page.content()
    expect(page.get_by_text("KEY.zen.dq.spamhaus.net")).to_be_visible()


def test_who_may_see_and_change(web, visit) -> None:
    page = visit(f"{LISTS}&show=1", user="looker")
    expect(page.get_by_text("7 DNSBLs")).to_be_visible()
    assert page.get_by_role("link", name="Add New DNSBL").count() == 0
    page.goto("/outgoing/delivery-ips/lists/new")
    expect(page.get_by_text("needs the role super-admin")).to_be_visible()
    page = visit(TAB, user="alice")
    expect(page.get_by_text("super-admin or read-only")).to_be_visible()


@pytest.mark.parametrize(("size", "theme"), LOOKS)
def test_pictures(web, visit, size, theme) -> None:
    page = visit(f"{TAB}&show=1", size=size, theme=theme)
    page.get_by_label("Select all rows of this page").check()
    page.get_by_label("With selected:").select_option("Check")
    page.get_by_role("button", name="Apply").click()
    expect(page.locator("[data-progress]")).to_contain_text("Checked 91 results")
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    shot(page, f"matrix-{size}-{theme}")
    cell(page, BAD, web, "bl.stop.test").get_by_role("link").click()
    expect(page.get_by_role("dialog")).to_be_visible()
    shot(page, f"matrix-cell-{size}-{theme}")
    page.goto(f"{LISTS}&show=1")
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    shot(page, f"lists-{size}-{theme}")
    page.goto("/outgoing/delivery-ips/lists/new")
    shot(page, f"lists-new-{size}-{theme}")

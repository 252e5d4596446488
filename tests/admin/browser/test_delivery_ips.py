"""The tab "Delivery IPs", as section B2 has it: rules, columns, menus, bulk actions, with and without the script."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import Page, expect

from hslpy.egress.accounts import admins, directory
from hslpy.egress.delivery_ips import settings
from hslpy.egress.delivery_ips.setting_rows import Edit
from hslpy.mail.address import Address
from tests.spool.messages import recipient

from ...support.mail_server import mail_server
from .conftest import shot
from .seed import EVIL, NODE1, NODE2, ROOT, report

LIST = "/outgoing/delivery-ips"
SHOWN = f"{LIST}?tab=settings&show=1&match=all"


def rows(page: Page) -> list[str]:
    return page.locator("form.results tbody tr").all_inner_texts()


@pytest.mark.parametrize("script", [True, False])
def test_show_results_without_rules_lists_the_defaults_of_each_node(visit, script: bool) -> None:
    page = visit(LIST, script=script)
    expect(page.get_by_text("Press Show results to list the settings.")).to_be_visible()
    page.locator("button.primary[value=show]").click()
    for node in ("node1.example.net", "node2.example.net"):
        assert sum(node in row and "Default" in row for row in rows(page)) == 1
    assert "7 delivery IP settings" in page.locator("caption").inner_text()
    assert page.locator("th").all_inner_texts()[2:] == [
        "Admin",
        "Domain",
        "Username",
        "Identity",
        "Hostname",
        "IPv4",
        "IPv6",
        "Status",
    ]


@pytest.mark.parametrize("script", [True, False])
def test_rules_are_added_and_kept_in_the_address(visit, script: bool) -> None:
    page = visit(LIST, script=script)
    page.get_by_role("button", name="New rule").click()
    page.get_by_label("Field of rule 1").select_option("Username")
    page.locator("select[name=o]").first.select_option("is")
    page.locator("[name=v]").first.fill("bob")
    page.locator("[name=v]").first.press("Enter")
    expect(page.locator("caption")).to_have_text("2 delivery IP settings")
    assert "f=username" in page.url and "v=bob" in page.url
    page.reload()
    expect(page.locator("caption")).to_have_text("2 delivery IP settings")
    page.goto(LIST)  # remembered
    expect(page.locator("[name=v]").first).to_have_value("bob")
    page.get_by_role("button", name="Clear", exact=True).click()
    expect(page.locator(".rule-list li")).to_have_count(0)


def test_a_bad_network_is_told_beside_its_rule_and_nothing_is_asked(visit) -> None:
    page = visit(f"{LIST}?f=ipv4&o=is+in+network&v=300.1.1.1%2F99&show=1")
    fault = page.locator(".rule .fault")
    expect(fault).to_contain_text("is not a network")
    assert page.locator(".rule [name=v]").get_attribute("aria-describedby") == fault.get_attribute("id")
    expect(page.locator("table")).to_have_count(0)
    shot(page, "bad-network")


def test_no_match(visit) -> None:
    page = visit(f"{LIST}?f=domain&o=is&v=nowhere.example&show=1&match=all")
    page.get_by_text("No settings match these rules.").wait_for()
    page.get_by_role("link", name="Clear rules").click()
    expect(page.locator("caption")).to_have_text("7 delivery IP settings")


@pytest.mark.parametrize("script", [True, False])
def test_columns_are_chosen_and_remembered(visit, script: bool) -> None:
    page = visit(SHOWN, script=script)
    page.get_by_text("Columns to be displayed").first.click()
    for name in ("Admin", "Domain", "Username", "Identity", "IPv4", "IPv6", "Status"):
        page.locator(".columns label", has_text=re.compile(f"^ *{name}$")).locator("input").uncheck()
    if script:
        last = page.locator(".columns label", has_text="Hostname").locator("input")
        assert last.get_attribute("aria-disabled") == "true"
        page.get_by_text("You must select at least one column").wait_for()
    page.locator(".columns").get_by_role("button", name="Apply").click()
    assert page.locator("th").all_inner_texts()[2:] == ["Hostname"]
    page.goto(SHOWN)
    assert page.locator("th").all_inner_texts()[2:] == ["Hostname"]
    page.get_by_text("Columns to be displayed").first.click()
    page.get_by_role("button", name="Reset to default").click()
    assert len(page.locator("th").all()) == 10


def test_no_column_at_all_is_refused(visit) -> None:
    page = visit(f"{LIST}?tab=settings&show=1&match=all&do=columns", script=False)
    expect(page.get_by_text("You must select at least one column")).to_be_visible()


def test_a_filter_is_saved(visit) -> None:
    page = visit(f"{LIST}?f=level&o=is&v=user&show=1&match=all")
    page.get_by_text("Saved filters").click()
    page.get_by_label("Save these rules as").fill(EVIL[:60])
    page.get_by_role("button", name="Save filter").click()
    page.get_by_text("has been saved").wait_for()
    page.get_by_text("Saved filters").click()
    page.get_by_role("link", name=EVIL[:60], exact=True).click()
    expect(page.locator("caption")).to_have_text("2 delivery IP settings")


def test_headers_sort(visit) -> None:
    page = visit(SHOWN)
    page.get_by_role("columnheader", name="Hostname").get_by_role("link").click()
    assert page.get_by_role("columnheader", name="Hostname").get_attribute("aria-sort") == "ascending"
    page.get_by_role("columnheader", name="Hostname").get_by_role("link").click()
    assert page.get_by_role("columnheader", name="Hostname").get_attribute("aria-sort") == "descending"
    assert "node2" in rows(page)[0]


def test_the_row_menu_by_keyboard(visit) -> None:
    page = visit(SHOWN)
    button = page.locator(".menu > button").first
    button.focus()
    page.keyboard.press("ArrowDown")
    assert focused(page) == "Edit"
    items = page.locator("[role=menu]:visible [role=menuitem]").all_inner_texts()
    assert items == [
        "Edit",
        "Revert to primary",
        "Check now",
        "Check reputation",
        "Warm-up…",
        "View deliveries",
        "Explain",
    ]
    shot(page, "menu")
    page.keyboard.press("End")
    assert focused(page) == "Explain"
    page.keyboard.press("w")
    assert focused(page) == "Warm-up…"
    page.keyboard.press("Escape")
    assert page.evaluate("document.activeElement.getAttribute('aria-haspopup')") == "menu"
    page.keyboard.press("Enter")
    page.keyboard.press("r")
    page.keyboard.press("Enter")
    dialog = page.get_by_role("dialog", name="Revert to primary")
    expect(dialog.get_by_role("link", name="Cancel")).to_be_focused()
    shot(page, "revert")
    page.keyboard.press("Escape")
    expect(dialog).to_have_count(0)
    assert page.evaluate("document.activeElement.getAttribute('aria-haspopup')") == "menu"


def focused(page: Page) -> str:
    return str(page.evaluate("document.activeElement.textContent.trim()"))


def test_rows_are_removed_and_that_is_undone(visit) -> None:
    page = visit(SHOWN)
    apply = page.get_by_role("button", name="Apply", exact=True).last
    assert apply.is_disabled()
    for name in ("bob", "alice"):
        page.locator("tbody tr", has_text=name).last.get_by_role("checkbox").check()
    page.get_by_label("With selected:").select_option("Remove")
    apply.click()
    dialog = page.get_by_role("dialog")
    expect(dialog).to_contain_text("Remove 1 delivery IP setting")
    dialog.get_by_role("button", name="Remove").click()
    page.get_by_text("1 setting removed.").wait_for()
    expect(page.locator("caption")).to_have_text("6 delivery IP settings")
    shot(page, "removed")
    page.get_by_role("button", name="Undo").click()
    page.get_by_text("Taken back: 1 setting as before.").wait_for()
    expect(page.locator("caption")).to_have_text("7 delivery IP settings")


def test_removing_without_the_script(visit) -> None:
    page = visit(SHOWN, script=False)
    row = page.locator("tbody tr", has_text="bob").first
    row.locator("summary").first.click()
    row.get_by_role("link", name="Remove").click()
    expect(page.locator(".named")).to_contain_text("bob")
    page.get_by_role("button", name="Remove").click()
    expect(page.locator("caption")).to_have_text("6 delivery IP settings")


def test_bulk_edit_changes_only_what_is_ticked(visit, web) -> None:
    page = visit(SHOWN)
    page.locator("tbody tr", has_text="198.51.100.16").get_by_role("checkbox").check()
    page.locator("tbody tr", has_text="198.51.100.11").get_by_role("checkbox").check()
    page.get_by_label("With selected:").select_option("Edit")
    page.get_by_role("button", name="Apply", exact=True).last.click()
    dialog = page.get_by_role("dialog")
    dialog.locator("#change_ipv6").check()
    dialog.get_by_label("2001:db8:1::11").check()
    shot(page, "bulk-edit")
    dialog.get_by_role("button", name="Apply").click()
    page.get_by_text("2 settings changed.").wait_for()
    assert sum("2001:db8:1::11" in row for row in rows(page)) == 2
    assert sum("198.51.100.16" in row for row in rows(page)) == 1


def test_all_results_are_chosen(visit) -> None:
    page = visit(f"{SHOWN}&per_page=25")
    page.get_by_label("Select all rows of this page").check()
    expect(page.locator("[data-chosen]")).to_have_text("7 selected")


def test_replacing_an_address(visit) -> None:
    page = visit(SHOWN)
    page.locator("tbody tr", has_text="198.51.100.16").get_by_role("checkbox").check()
    page.get_by_label("With selected:").select_option("Replace IP…")
    page.get_by_role("button", name="Apply", exact=True).last.click()
    dialog = page.get_by_role("dialog", name="Replace IP")
    expect(dialog).to_contain_text(
        "Remove spam from the outgoing queue first, otherwise the new address is likely to be listed as well."
    )
    shot(page, "replace")
    dialog.get_by_label("New address").fill("198.51.100.300")
    dialog.get_by_role("button", name="Replace").click()
    page.get_by_role("dialog").get_by_role("alert").wait_for()
    page.get_by_role("dialog").get_by_label("New address").fill("198.51.100.15")
    page.get_by_role("dialog").get_by_role("button", name="Replace").click()
    page.get_by_text("1 setting changed: 198.51.100.16 is now 198.51.100.15.").wait_for()


def test_a_queue_with_mail_of_locked_users_has_to_be_dealt_with_first(visit, web, tmp_path, clock) -> None:
    with mail_server(tmp_path / "control", clock) as server:
        web.site.control = server.path
        bob = {"domain": "example.com", "username": "bob"}
        server.accept(*(recipient(recipient=Address(f"to{n}", "example.net"), egress=bob) for n in range(3)))
        page = visit(SHOWN, script=False)
        replace = form_of(page, "198.51.100.16")
        assert "locked senders" not in page.request.post(f"{LIST}/bulk", form=replace).text()
        directory.lock_user(web.database, ROOT, "example.com", "bob", "spam")
        asked = page.request.post(f"{LIST}/bulk", form=replace).text()
        assert "There are 3 queued messages from locked senders." in asked and 'href="/outgoing/queue"' in asked
        new = {**replace, "old": "198.51.100.16", "new": "198.51.100.15"}
        assert page.request.post(f"{LIST}/replace", form=new, max_redirects=0).status == 400
        assert page.request.post(f"{LIST}/replace", form={**new, "cleaned": "1"}, max_redirects=0).status == 303


def form_of(page: Page, address: str) -> dict[str, str]:
    row = page.locator("tbody tr", has_text=address).get_by_role("checkbox").get_attribute("value")
    return {"csrf": page.locator("body").get_attribute("data-csrf"), "id": row, "do": "replace"}


def test_a_node_that_has_gone_silent_is_told(visit, web, clock) -> None:
    report(web.database, NODE2, "198.51.100.20", "198.51.100.99")
    report(web.database, NODE2, "198.51.100.20")
    clock.advance(3 * 3600)
    report(web.database, NODE1, "198.51.100.10")
    page = visit(SHOWN)
    texts = " ".join(rows(page))
    assert "server not reachable since 10:00; shown values are the last known" in texts
    assert "no longer on this server" in texts
    shot(page, "silent")


def test_csv_goes_out_and_comes_in_by_a_preview(visit, web, tmp_path) -> None:
    page = visit(f"{LIST}/csv")
    with page.expect_download() as download:
        page.get_by_role("link", name="Export to CSV").click()
    text = download.value.path().read_text()
    assert text.startswith("level,admin,domain,username,identity,hostname,ipv4,ipv6,ipv4_disabled")
    file = tmp_path / "in.csv"
    file.write_text(
        text + "domain,,example.org,,,node2.example.net,198.51.100.21;198.51.100.22,,0\ndomain,,x,,,nowhere,1,,\n"
    )
    page.get_by_label("Select file").set_input_files(file)
    page.get_by_role("button", name="Import").click()
    page.get_by_role("heading", name="What will happen").wait_for()
    shot(page, "csv-preview")
    page.get_by_role("button", name=re.compile("Import 1 line")).click()
    page.get_by_text(re.compile("lines imported: 1 added")).wait_for()
    expect(page.locator("caption")).to_have_text("8 delivery IP settings")


def test_explain(visit) -> None:
    page = visit(SHOWN)
    page.locator("tbody tr", has_text="198.51.100.16").locator(".menu > button").click()
    page.get_by_role("menuitem", name="Explain").click()
    page.get_by_role("heading", name="Mail leaves node1.example.net from 198.51.100.16.").wait_for()
    expect(page.locator("tr.picked")).to_contain_text("decides")
    shot(page, "explain")


def test_the_help_drawer(visit) -> None:
    page = visit(LIST)
    opener = page.get_by_role("link", name="Help: adding addresses")
    opener.click()
    dialog = page.get_by_role("dialog", name="Adding addresses to a server")
    expect(dialog).to_contain_text("/etc/network/interfaces")
    shot(page, "help")
    dialog.get_by_role("link", name="Close").click()
    expect(dialog).to_have_count(0)
    expect(opener).to_be_focused()


def test_an_admin_sees_its_own_rows_and_changes_nothing(visit) -> None:
    page = visit(SHOWN, user="alice")
    assert all("alice" in row for row in rows(page)) and len(rows(page)) == 5
    expect(page.get_by_role("link", name="Configure outgoing IP")).to_have_count(0)
    assert page.get_by_role("tab").all_text_contents() == ["Delivery IPs"], "the others are not for this role"
    page.goto(f"{LIST}/new")
    expect(page.get_by_text("This page needs the role super-admin.")).to_be_visible()
    shot(page, "forbidden")


def test_the_default_columns_are_all_seen_at_1280_pixels(visit, web) -> None:
    """Where values are of usual length; else the table scrolls in a region that keys reach."""
    database = web.database
    admins.add_admin(database, ROOT, "reseller-north", password="long enough")
    directory.add_domain(database, ROOT, "customer-shop.example.org", admin="reseller-north")
    directory.add_user(database, ROOT, "customer-shop.example.org", "newsletter", password="x")
    report(database, NODE1, "198.51.100.10", "198.51.100.111", "2001:db8:1::10", "2001:db8:12:34::1111")
    whose = {"domain": "customer-shop.example.org", "username": "newsletter", "identity": "weekly-offers"}
    edit = Edit(ipv4=["198.51.100.111"], ipv6=["2001:db8:12:34::1111"])
    settings.add(database, ROOT, edit, level="identity", hostnames=[NODE1], **whose)
    page = visit(f"{SHOWN}&f=domain&o=is&v=customer-shop.example.org")
    assert page.viewport_size["width"] == 1280
    region = page.locator("form.results .scroll")
    shot(page, "list-1280")
    beyond = "one => one.scrollWidth - one.clientWidth"
    assert region.evaluate(beyond) <= 0
    page.set_viewport_size({"width": 1250, "height": 900})  # with a scrollbar beside the page, and one beside the table
    assert region.evaluate(beyond) <= 0
    assert (region.get_attribute("role"), region.get_attribute("tabindex")) == ("region", "0")

"""Configure outgoing IP, and Edit, as section B3 has it, with and without the script."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import Page, expect

from hslpy.dns.scripted import ScriptedResolver
from hslpy.egress.checks.checkup import Checker
from hslpy.egress.delivery_ips import settings
from hslpy.egress.delivery_ips.setting_rows import Edit, get_row

from .conftest import shot
from .seed import NODE1, NODE2, ROOT, report

LIST = "/outgoing/delivery-ips"
SHOWN = f"{LIST}?tab=settings&show=1&match=all"


def domain_field(page: Page):
    return page.locator("input#domain")


def test_the_form_follows_what_is_chosen(visit) -> None:
    page = visit(f"{LIST}/new")
    assert page.locator(".levels label").all_text_contents() == [
        "Default",
        "Admin",
        "Domain",
        "Domain + Username",
        "Domain + Username + Identity",
    ]
    page.get_by_label("Domain + Username", exact=True).check()
    domain_field(page).fill("example.com")
    page.keyboard.press("Tab")
    page.get_by_label("Username", exact=True).select_option("bob")
    page.get_by_label("Hostname").select_option(NODE2)
    page.get_by_label("198.51.100.21").check()
    page.get_by_label("198.51.100.22").check()
    page.get_by_text("Mail is spread over these addresses at random.").wait_for()
    expect(page.get_by_role("tab", name="IPv4")).to_contain_text("has choices")
    page.get_by_text("Checks are done").wait_for(state="attached")
    expect(page.locator("[data-part=affected]")).to_contain_text("1 domain, 1 user will use this setting")
    shot(page, "new-filled")


def test_a_domain_that_does_not_exist_is_told_at_once(visit) -> None:
    page = visit(f"{LIST}/new?level=domain&hostname={NODE1}")
    expect(page.locator("[data-part=affected]")).to_have_text("Say whom it is for, and they are counted here.")
    domain_field(page).fill("nowhere.example")
    page.keyboard.press("Tab")
    expect(page.locator("#domain-error")).to_have_text("Domain 'nowhere.example' does not exist.")
    domain_field(page).fill("example.org")
    page.keyboard.press("Tab")
    expect(page.locator("#domain-error")).to_have_count(0)


def test_the_authenticating_domain_has_the_setting_of_its_domain(visit) -> None:
    page = visit(f"{LIST}/new?level=user&domain=example.org&hostname={NODE2}")
    assert page.get_by_label("Username", exact=True).locator("option").first.text_content() == "(authenticating domain)"
    page.get_by_role("button", name="Save", exact=True).click()
    page.get_by_text("Saved: Domain example.org on node2.example.net uses").wait_for()


def test_a_helo_name_is_set_while_the_form_stays_as_it_is(visit, web) -> None:
    page = visit(f"{LIST}/new?level=domain&domain=example.org&hostname={NODE1}")
    for number in (12, 13):
        page.get_by_label(f"198.51.100.{number}").check()
    page.get_by_role("link", name="Set… the HELO of 198.51.100.13").click()
    dialog = page.get_by_role("dialog", name="HELO of 198.51.100.13")
    dialog.get_by_label("HELO name").fill("out13.example.com")
    dialog.get_by_role("button", name="Save").click()
    expect(page.locator("[data-part=helo]")).to_contain_text("out13.example.com (set by API)")
    expect(page.get_by_label("198.51.100.12")).to_be_checked()
    assert domain_field(page).input_value() == "example.org"


def test_saving_in_spite_of_a_critical_finding_asks_first(visit) -> None:
    page = visit(f"{LIST}/new?level=domain&domain=example.org&hostname={NODE2}")
    page.get_by_label("198.51.100.21").check()
    page.get_by_role("button", name="Save anyway…").click()
    dialog = page.get_by_role("dialog", name="This may keep mail from being delivered")
    expect(dialog.get_by_role("button", name="Cancel")).to_be_focused()
    expect(dialog.get_by_role("listitem").first).to_contain_text("198.51.100.21")
    shot(page, "save-anyway")
    dialog.get_by_role("button", name="Save anyway").click()
    page.get_by_text("Saved: Domain example.org on node2.example.net uses 198.51.100.21").wait_for()
    expect(page.get_by_text("The warm-up of 198.51.100.21")).to_be_visible()
    page.get_by_role("button", name="Undo").wait_for()
    shot(page, "saved")


def test_checks_run_while_the_form_is_open(visit, web, clock) -> None:
    report(web.database, NODE2, "20.30.40.50", "20.30.40.51", "20.30.40.52")
    zone = {
        "51.40.30.20.in-addr.arpa": {"PTR": ["out_1.example.com"]},
        "52.40.30.20.in-addr.arpa": {"PTR": ["out2.example.com"]},
        "out2.example.com": {"A": ["20.30.40.52"]},
        NODE2: {"A": ["20.30.40.50"]},
        "example.org": {"TXT": ["v=spf1 ip4:20.30.40.52 -all"]},
    }
    web.site.checker = Checker(web.database, ScriptedResolver(zone), clock, NODE1, resolver_name="192.0.2.53")
    page = visit(f"{LIST}/new?level=domain&domain=example.org&hostname={NODE2}")
    page.get_by_label("20.30.40.52").check()
    good = page.locator(".check[data-address='20.30.40.52']")
    expect(good.locator("h4")).not_to_contain_text("Checking")
    expect(page.locator("[data-spf]")).to_contain_text("SPF of example.org allows 20.30.40.52.")
    expect(good.locator("[data-outcome=critical]")).to_have_count(0)
    expect(page.get_by_role("button", name="Save", exact=True).last).to_be_visible()
    page.get_by_label("20.30.40.51").check()
    bad = page.locator(".check[data-address='20.30.40.51']")
    expect(bad).to_contain_text("The PTR 'out_1.example.com' contains an underscore")
    expect(page.get_by_role("button", name="Save anyway…")).to_be_visible()
    shot(page, "checks")
    page.get_by_label("20.30.40.51").uncheck()
    expect(page.get_by_role("button", name="Save anyway…")).to_have_count(0)


def test_the_addresses_of_a_node_are_checked_where_no_setting_has_them(visit, web, clock) -> None:
    report(web.database, NODE2, "20.30.40.50", "20.30.40.51")
    web.site.checker = Checker(web.database, ScriptedResolver({}), clock, NODE1, resolver_name="192.0.2.53")
    page = visit(SHOWN)
    page.get_by_role("button", name=f"Actions for Default on {NODE2}").click()
    page.get_by_role("menuitem", name="Check now").click()
    page.get_by_text("1 address checked:").wait_for()
    page.goto(f"/server/nodes/{NODE2}")
    page.get_by_role("button", name="Check now").click()
    page.get_by_text("addresses checked:").wait_for()
    row = page.locator("tbody tr", has_text="20.30.40.51")
    row.locator("details summary").click()
    expect(row).to_contain_text("20.30.40.51 has no reverse DNS (PTR).")
    shot(page, "node-findings")


def test_saving_without_the_script(visit) -> None:
    page = visit(f"{LIST}/new", script=False)
    page.get_by_label("Domain", exact=True).and_(page.locator("[type=radio]")).check()
    page.get_by_role("button", name="Update the form").click()
    domain_field(page).fill("nowhere.example")
    page.get_by_role("button", name="Save", exact=True).click()
    expect(page.get_by_role("alert")).to_contain_text("Domain 'nowhere.example' does not exist.")
    assert "domain-error" in domain_field(page).get_attribute("aria-describedby")
    domain_field(page).fill("example.org")
    page.get_by_label("Hostname").select_option(NODE2)
    page.get_by_role("button", name="Update the form").click()
    page.get_by_label("198.51.100.21").check()
    page.get_by_role("button", name="Check", exact=True).click()
    expect(page.locator(".check h4")).to_contain_text("198.51.100.21")
    page.get_by_role("button", name="Save anyway").click()
    expect(page.locator("caption")).to_have_text("8 delivery IP settings")


def test_what_is_wrong_is_told_above_and_beside(visit) -> None:
    page = visit(f"{LIST}/new?level=domain&hostname={NODE1}")
    page.get_by_role("button", name="Save", exact=True).click()
    expect(page.locator("#errors")).to_be_focused()
    page.locator("#errors").get_by_role("link", name="Choose a domain.").click()
    expect(domain_field(page)).to_be_focused()
    shot(page, "errors")


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("1.2.3", "'1.2.3' is not an IP address."),
        ("224.0.0.1", "'224.0.0.1' cannot be used as a source address (multicast)."),
        ("2001:db8::1", "'2001:db8::1' is not an IPv4 address."),
    ],
)
def test_other_addresses_are_looked_at(visit, text: str, told: str) -> None:
    page = visit(f"{LIST}/new?level=domain&domain=example.org&hostname={NODE1}", script=False)
    page.locator("#other4").fill(text)
    page.get_by_role("button", name="Save", exact=True).click()
    expect(page.locator("#other4-error")).to_contain_text(told)
    expect(page.locator("#other4")).to_have_value(text)


def test_an_address_that_is_not_there_yet_is_saved_with_a_warning(visit) -> None:
    page = visit(f"{LIST}/new?level=domain&domain=example.org&hostname={NODE1}", script=False)
    page.locator("#other4").fill("198.51.100.200")
    page.get_by_role("button", name="Save", exact=True).click()
    page.get_by_role("button", name="Save anyway").click()
    page.get_by_text("198.51.100.200 is not an address of node1.example.net").first.wait_for()
    expect(page.locator("tbody tr", has_text="198.51.100.200")).to_contain_text("not on this server yet")


def test_switching_ipv4_off_is_confirmed(visit) -> None:
    page = visit(f"{LIST}/new?level=domain&domain=example.org&hostname={NODE2}")
    page.get_by_label("198.51.100.21").check()
    page.get_by_label("Disable delivery over IPv4", exact=True).check()
    expect(page.get_by_label("198.51.100.21")).not_to_be_checked()
    expect(page.get_by_label("198.51.100.21")).to_be_disabled()
    page.get_by_role("button", name="Save", exact=True).click()
    page.locator("#errors").get_by_text("Confirm that delivery over IPv4 is to be disabled.").wait_for()
    page.get_by_label("Yes, only IPv6 is to be used here").check()
    page.get_by_role("button", name="Save", exact=True).click()
    page.locator("#errors").get_by_text("node2.example.net has no IPv6 address that works").wait_for()
    shot(page, "ipv4-off")
    page.get_by_label("Type node2.example.net to confirm").fill(NODE2)
    page.get_by_role("button", name="Save", exact=True).click()
    expect(page.locator("tbody tr", has_text="example.org")).to_contain_text("Off")


def test_the_warning_about_ipv6_leads_to_its_tab(visit) -> None:
    page = visit(f"{LIST}/new?level=domain&domain=example.org&hostname={NODE1}")
    page.get_by_label("198.51.100.11").check()
    page.get_by_role("link", name="Choose IPv6").click()
    expect(page.get_by_role("tab", name="IPv6")).to_have_attribute("aria-selected", "true")
    page.get_by_label("2001:db8:1::11").check()
    expect(page.get_by_text("IPv6 addresses are not set")).to_have_count(0)
    page.get_by_role("tab", name="IPv6").focus()
    page.keyboard.press("Home")
    expect(page.get_by_role("tab", name="IPv6")).to_have_attribute("aria-selected", "true")  # by hand
    page.keyboard.press("Enter")
    expect(page.get_by_role("tab", name="IPv4")).to_have_attribute("aria-selected", "true")
    expect(page.get_by_label("198.51.100.11")).to_be_checked()


def test_two_change_it_at_once(visit, web) -> None:
    page = visit(f"{LIST}/4/edit", script=False)
    expect(page.get_by_text("Remove and add to change the scope.")).to_be_visible()
    with web.database.read() as session:
        row = get_row(session, 4)
    settings.edit_row(web.database, ROOT, 4, row.version, Edit(ipv4=["198.51.100.16"]))
    page.get_by_label("198.51.100.15").uncheck()
    page.get_by_role("button", name="Save", exact=True).click()
    if page.get_by_role("button", name="Save anyway").count():
        page.get_by_role("button", name="Save anyway").click()
    page.get_by_role("heading", name="Somebody else has changed this setting").wait_for()
    expect(page.locator(".box", has_text="Theirs")).to_contain_text("198.51.100.16")
    shot(page, "conflict")
    page.get_by_role("button", name="Use mine").click()
    expect(page.locator("tbody tr", has_text="198.51.100.14")).to_have_count(1)


def test_a_form_that_is_sent_twice_is_carried_out_once(visit, web) -> None:
    page = visit(f"{LIST}/new?level=domain&domain=example.org&hostname={NODE2}")
    before = web.database.revision()
    form = page.evaluate("Object.fromEntries(new FormData(document.querySelector('form[data-setting]')))")
    replies = [page.request.post(f"{LIST}/save", form={**form, "do": "save"}, max_redirects=0) for _ in range(2)]
    assert [one.status for one in replies] == [303, 303]
    assert web.database.revision() == before + 1


def test_what_was_entered_outlasts_the_session(visit, web) -> None:
    page = visit(f"{LIST}/new?level=domain&domain=example.org&hostname={NODE2}", script=False)
    page.get_by_label("198.51.100.21").check()
    page.context.clear_cookies()
    page.get_by_role("button", name="Save", exact=True).click()
    expect(page.get_by_text("what you entered is kept")).to_be_visible()
    page.get_by_label("Name").fill("root")
    page.get_by_label("Password").fill("long enough")
    page.get_by_role("button", name="Sign in").click()
    page.get_by_role("button", name="Go on with it").click()
    expect(page.get_by_label("198.51.100.21")).to_be_checked()
    expect(domain_field(page)).to_have_value("example.org")


def test_a_dialog_asks_to_sign_in_again(visit) -> None:
    page = visit(f"{LIST}/new?level=domain&domain=example.org&hostname={NODE2}")
    page.context.clear_cookies()
    page.get_by_role("button", name="Save", exact=True).click()
    dialog = page.get_by_role("dialog", name="Your session is over")
    shot(page, "session-over")
    dialog.get_by_label("Password").fill("wrong wrong")
    dialog.get_by_role("button", name="Sign in").click()
    dialog.get_by_text("The name or the password is not right.").wait_for()
    dialog.get_by_label("Password").fill("long enough")
    dialog.get_by_role("button", name="Sign in").click()
    page.get_by_text(re.compile("Saved: Domain example.org")).wait_for()


def test_a_helo_with_a_line_end_is_refused(visit) -> None:
    page = visit(f"{LIST}/helo?address=198.51.100.11", script=False)
    csrf = page.locator("main input[name=csrf]").first.get_attribute("value")
    form = {"csrf": csrf, "address": "198.51.100.11", "helo": "a.example.com\r\nMAIL FROM:<x@y>"}
    reply = page.request.post(f"{LIST}/helo", form=form, max_redirects=0)
    assert reply.status == 400
    page.locator("#helo").fill("out_1.example.com")
    page.get_by_role("button", name="Save").click()
    expect(page.locator("#helo-error")).to_contain_text("underscore is not allowed (RFC 5321 section 4.1.2)")

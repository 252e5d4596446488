"""Configure outgoing IP, and Edit, as section B3 has it."""

from __future__ import annotations

from .conftest import shot

LIST = "/outgoing/delivery-ips"


def test_a_new_setting(visit) -> None:
    page = visit(f"{LIST}/new")
    shot(page, "new")
    assert page.locator(".levels label").all_text_contents() == [
        "Default",
        "Admin",
        "Domain",
        "Domain + Username",
        "Domain + Username + Identity",
    ]
    page.get_by_label("Domain + Username", exact=True).check()
    page.get_by_label("Domain", exact=True).and_(page.locator("input:not([type=radio])")).fill("example.com")
    page.keyboard.press("Tab")
    page.get_by_label("Username", exact=True).select_option("bob")
    page.get_by_label("Hostname").select_option("node2.example.net")
    page.get_by_label("198.51.100.21").check()
    page.get_by_label("198.51.100.22").check()
    page.get_by_text("Mail is spread over these addresses at random.").wait_for()
    page.get_by_text("Checks are done").wait_for(state="attached")
    page.wait_for_timeout(300)
    shot(page, "new-filled")

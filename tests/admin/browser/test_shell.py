"""The frame of all pages: signing in and out, sessions, tokens, roles, the navigation."""

from __future__ import annotations

from .conftest import shot, sign_in
from .seed import PASSWORD

LIST = "/outgoing/delivery-ips"


def test_signing_in_and_out(visit) -> None:
    page = visit(LIST, user="")
    assert "/sign-in?to=" in page.url
    shot(page, "sign-in")
    sign_in(page, "root", "wrong wrong")
    page.get_by_role("alert").get_by_text("The name or the password is not right.").wait_for()
    page.goto(f"/sign-in?to={LIST}")
    page.get_by_label("Name").fill("root")
    page.get_by_label("Password").fill(PASSWORD)
    page.keyboard.press("Enter")
    page.get_by_role("heading", name="Manage outgoing delivery IPs").wait_for()
    shot(page, "list-before")
    page.get_by_role("button", name="Show results").first.click()
    page.get_by_text("7 delivery IP settings").first.wait_for()
    shot(page, "list")
    page.get_by_role("button", name="Sign out").click()
    page.wait_for_url("**/sign-in")
    page.goto(LIST)
    assert "/sign-in" in page.url

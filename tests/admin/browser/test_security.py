"""What keeps others out: sessions, tokens, roles, redirects, names that try to break out of the page."""

from __future__ import annotations

from urllib.parse import urlsplit

from hslpy.admin.pages.table import PAGES
from hslpy.admin.pages.visit import local
from hslpy.admin.who import COOKIE

from .conftest import sign_in
from .seed import EVIL, PASSWORD

LIST = "/outgoing/delivery-ips"


def test_nothing_but_the_door_opens_without_signing_in(visit, web) -> None:
    page = visit("/sign-in", user="")
    for row in PAGES:
        path = row.path.replace("{id:int}", "1").replace("{id}", "1").replace("{name}", "x")
        for method in row.methods:
            reply = page.request.fetch(path, method=method, max_redirects=0)
            if row.is_open:
                continue
            assert reply.status in (303, 401, 413), (path, reply.status)
            if reply.status == 303:
                assert urlsplit(reply.headers["location"]).path == "/sign-in"


def test_a_session_is_new_after_each_sign_in(visit) -> None:
    page = visit("/sign-in", user="")
    page.context.add_cookies([{"name": COOKIE, "value": "planted", "url": page.url}])
    sign_in(page, "root")
    first = cookie(page)
    assert first["value"] != "planted" and first["httpOnly"] and first["sameSite"] == "Lax"
    old = page.context.cookies()
    page.get_by_role("button", name="Sign out").click()
    page.wait_for_url("**/sign-in")
    page.context.add_cookies(old)  # it is over on the server, too
    page.goto(LIST)
    assert "/sign-in" in page.url
    sign_in(page, "root")
    assert cookie(page)["value"] != first["value"]


def cookie(page):
    return next(one for one in page.context.cookies() if one["name"] == COOKIE)


def test_a_change_without_the_token_is_refused(visit, web) -> None:
    page = visit(LIST)
    before = web.database.revision()
    for form in ({"id": "4"}, {"id": "4", "csrf": "wrong"}):
        assert page.request.post(f"{LIST}/remove", form=form, max_redirects=0).status == 403
    csrf = page.evaluate("document.body.dataset.csrf")
    other = {"Origin": "https://evil.example"}
    assert page.request.post(f"{LIST}/remove", form={"id": "4", "csrf": csrf}, headers=other).status == 403
    assert web.database.revision() == before


def test_another_site_cannot_sign_somebody_in(visit) -> None:
    page = visit("/sign-in", user="")
    form = {"name": "root", "password": PASSWORD}
    reply = page.request.post("/sign-in", form=form, headers={"Origin": "https://evil.example"}, max_redirects=0)
    assert reply.status == 403


def test_only_its_own_paths_are_gone_to(visit) -> None:
    for path in ("//evil.example/", "https://evil.example", "/\\evil.example", "\\\\evil", "javascript:alert(1)", "/a\nb"):
        assert local(path) == "/"
    assert local("/outgoing/queue?x=%2F%2F") == "/outgoing/queue?x=%2F%2F"
    page = visit("/sign-in?to=//evil.example/", user="")
    page.get_by_label("Name").fill("root")
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Sign in").click()
    page.wait_for_load_state()
    assert "evil" not in page.url


def test_guessing_is_slowed_down(visit) -> None:
    page = visit("/sign-in", user="")
    statuses = [page.request.post("/sign-in", form={"name": "root", "password": "guess"}).status for _ in range(8)]
    assert statuses[:4] == [401] * 4 and statuses[-1] == 429


def test_changes_need_the_role(visit, web) -> None:
    before = web.database.revision()
    for user in ("alice", "looker"):
        page = visit(LIST, user=user)
        csrf = page.evaluate("document.body.dataset.csrf")
        for row in PAGES:
            path = row.path.replace("{id:int}", "4").replace("{id}", "4").replace("{name}", "x")
            if path.startswith(LIST) and "POST" in row.methods and "admin" not in row.roles:
                reply = page.request.post(path, form={"csrf": csrf, "id": "4"}, max_redirects=0)
                assert reply.status == 403, path
                assert "needs the role super-admin" in reply.text()
    assert web.database.revision() == before


def test_names_stay_text(visit) -> None:
    page = visit(f"{LIST}?tab=settings&show=1&match=all&f=username&o=contains&v={EVIL[:8]}")
    page.on("dialog", lambda dialog: (_ for _ in ()).throw(AssertionError("a script ran")))
    assert page.locator("td", has_text=EVIL).count() == 1
    assert page.locator("img").count() == 0


def test_replies_say_what_browsers_may_do(visit) -> None:
    page = visit(LIST)
    headers = page.request.get(LIST).headers
    assert headers["content-security-policy"].startswith("default-src 'self'")
    assert headers["x-frame-options"] == "DENY" and headers["cache-control"] == "no-store"
    assert not page.locator("script:not([src]), style, [style], [onclick]").count()

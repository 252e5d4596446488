"""The pages of the web application: each is a row that a module of this folder adds, by being named here.

In: an application, a `Site`. Out: routes. Who calls, whether they may, and whether the request is of our own making is found
out here, once for all pages. Source: section B of the specification of delivery IPs.
"""

from __future__ import annotations

import asyncio
import hmac
from collections.abc import Awaitable, Callable, Mapping
from importlib import import_module
from typing import Any, cast

from fastapi import FastAPI, HTTPException, Request
from fastapi.datastructures import FormData
from fastapi.responses import HTMLResponse, JSONResponse, RedirectResponse, Response
from fastapi.staticfiles import StaticFiles

from hslpy.admin import faults
from hslpy.admin.guard import has_nul
from hslpy.admin.pages import sign_in
from hslpy.admin.pages.render import STATIC, Renderer
from hslpy.admin.pages.table import PAGES, Page
from hslpy.admin.pages.visit import Shared, Visit
from hslpy.admin.site import Site
from hslpy.admin.who import CSRF_HEADER, cookie_name, refuse_other_sites
from hslpy.egress.accounts.sessions import SignedIn, find_session
from hslpy.egress.rules.names import Refused

MODULES = (
    "access",
    "account",
    "audit_record",
    "block_lists",
    "customers",
    "delivery_ips",
    "explain",
    "listing",
    "nodes",
    "overview",
    "queue",
    "reputation",
    "setting_bulk",
    "setting_csv",
    "setting_edit",
    "site_settings",
    "suspensions",
    "warm_up",
)
for _name in MODULES:  # each adds its pages by being imported
    import_module(f"{__name__}.{_name}")
MOST_FORM_BYTES = 2 << 20  # a file of settings has 1 MiB at most
MOST_FIELDS = 2000
_TYPES = ("application/x-www-form-urlencoded", "multipart/form-data")


class _Static(StaticFiles):
    def file_response(self, *args: Any, **given: Any) -> Response:
        reply = super().file_response(*args, **given)
        reply.headers["Cache-Control"] = "no-cache"  # asked again by its tag: modules name each other without a version
        return reply


def add_pages(app: FastAPI, site: Site) -> None:
    """Add all pages, and the files that they use."""
    shared = Shared(Renderer())
    app.mount("/static", _Static(directory=STATIC), name="static")
    for row in PAGES:
        app.add_api_route(
            row.path,
            _endpoint(site, row, shared),
            methods=list(row.methods),
            response_model=None,
            include_in_schema=False,
        )


def from_elsewhere(request: Request) -> bool:
    """Say whether a page of another web site has made a request."""
    try:
        refuse_other_sites(request.headers)
    except Refused:
        return True
    return False


def signed_in(site: Site, request: Request) -> SignedIn:
    """Give whose session comes with a request. Blocks. Raises Refused."""
    text = request.cookies.get(cookie_name(request.url.scheme), "")
    if not text:
        raise Refused("authentication required", 401)
    found = find_session(site.database, text, site.clock.time())
    found.principal.require_network(request.client.host if request.client is not None else "")
    found.principal.require_all_calls()
    return found


def check_csrf(request: Request, session: SignedIn, given: str) -> None:
    """Raise Refused for a request that changes something and is not known to come from a page of ours."""
    given = given or request.headers.get(CSRF_HEADER, "")
    if from_elsewhere(request) or not hmac.compare_digest(given.encode(), session.csrf.encode()):
        raise Refused("this request did not come from a page of this session; open the page again", 403)


def _endpoint(site: Site, row: Page, shared: Shared) -> Callable[[Request], Awaitable[Response]]:
    async def answer(request: Request) -> Response:
        visit = Visit(site, request, FormData(), None, shared)
        try:
            reply = await _answer(visit, row)
        except Refused as error:
            reply = await asyncio.to_thread(_refused, visit, row, error)
        except Exception as error:
            refused = faults.told(site.log, request.url.path, error)
            reply = await asyncio.to_thread(_refused, visit, row, refused)
        return reply

    return answer


async def _answer(visit: Visit, row: Page) -> Response:
    request = visit.request
    if has_nul(request.scope):
        raise Refused("the address has a character that no text has: NUL")
    if request.method == "POST":
        visit.form = await _form(request)
    try:
        visit.session = await asyncio.to_thread(signed_in, visit.site, request)
    except Refused as error:
        if not row.is_open:
            return await asyncio.to_thread(_ask_to_sign_in, visit, error)
    if not row.is_open:
        assert visit.session is not None
        if request.method == "POST":
            check_csrf(request, visit.session, visit.field("csrf"))
        if visit.principal.role not in row.roles:
            raise Refused(_needed(visit, row), 403)
    elif request.method == "POST" and from_elsewhere(request):
        raise Refused("this request came from another web site", 403)
    if asyncio.iscoroutinefunction(row.handler):
        return await cast(Awaitable[Response], row.handler(visit))
    return await asyncio.to_thread(cast(Callable[[Visit], Response], row.handler), visit)


async def _form(request: Request) -> FormData:
    """Give the fields of a form. Raises Refused for one that is too large or none."""
    kind, _, rest = request.headers.get("content-type", "").partition(";")
    kind = kind.strip().lower()
    length = request.headers.get("content-length", "")
    if not (length.isascii() and length.isdigit()) or int(length) > MOST_FORM_BYTES:
        raise Refused(f"a form has {MOST_FORM_BYTES >> 20} MiB at most, and says how long it is", 413)
    if kind not in _TYPES and int(length):
        raise Refused("a form is wanted", 415)
    if "charset" in rest.lower().replace("charset=utf-8", ""):  # some that Python knows take minutes for a form
        raise Refused("a form is written as UTF-8", 415)
    try:
        return await request.form(max_fields=MOST_FIELDS, max_files=4, max_part_size=MOST_FORM_BYTES)
    except HTTPException as error:
        raise Refused(f"the form cannot be read: {error.detail}", 400) from None


def _ask_to_sign_in(visit: Visit, error: Refused) -> Response:
    """Answer somebody who has not signed in, or whose session is over: what they entered is kept."""
    if visit.is_dialog or "application/json" in visit.request.headers.get("accept", ""):
        return JSONResponse({"error": "sign in again", "status": 401}, 401)
    if visit.request.method == "POST":
        kept = () if from_elsewhere(visit.request) else sign_in.kept_fields(visit.form)
        note = "Your session is over. Sign in again; what you entered is kept." if kept else ""
        return sign_in.ask(visit, path=visit.path, kept=kept, note=note, status=401)
    here = visit.path + (f"?{visit.request.url.query}" if visit.request.url.query else "")
    if error.status != 401:
        return sign_in.ask(visit, path=here, error=error.message, status=error.status)
    return RedirectResponse(sign_in.address(here), 303)


def _needed(visit: Visit, row: Page) -> str:
    roles = " or ".join(row.roles)
    name, role = visit.principal.name, visit.principal.role
    return f"This page needs the role {roles}. You are signed in as {name}, with the role {role}."


def _refused(visit: Visit, row: Page, error: Refused) -> Response:
    if visit.is_dialog or "application/json" in visit.request.headers.get("accept", ""):
        return JSONResponse({"error": error.message, "status": error.status}, error.status)
    titles: Mapping[int, str] = {
        401: "Sign in",
        403: "Not allowed",
        404: "Not found",
        409: "That has changed",
        413: "Too large",
        429: "Too many attempts",
        500: "Something went wrong",
    }
    title = titles.get(error.status, "That cannot be done")
    context: dict[str, Any] = {"title": title, "message": error.message, "status": error.status}
    reply = visit.render("error.html", error.status, **context)
    assert isinstance(reply, HTMLResponse)
    return reply

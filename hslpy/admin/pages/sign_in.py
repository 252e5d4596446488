"""Signing in and out. In: a name and a password. Out: a session in a cookie, and the page that was wanted.

What was entered in a form while the session ran out comes along, and goes back to its page. Source: B9 of the specification
of delivery IPs.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from urllib.parse import urlencode

from fastapi.datastructures import FormData
from fastapi.responses import JSONResponse, RedirectResponse, Response

from hslpy.admin import who
from hslpy.admin.pages.table import EVERYBODY, page
from hslpy.admin.pages.visit import Visit, local
from hslpy.egress.accounts import sessions
from hslpy.egress.rules.names import Refused

PATH = "/sign-in"
WRONG = "The name or the password is not right."
_KEEP = "keep."
_NOT_KEPT = ("csrf", "resume")

Kept = Sequence[tuple[str, str]]


def address(path: str) -> str:
    return f"{PATH}?{urlencode({'to': path})}" if local(path) != "/" else PATH


def kept_fields(form: FormData) -> Kept:
    """Give the fields of a form that come along through a sign-in; files do not."""
    pairs = [(name, value) for name, value in form.multi_items() if isinstance(value, str)]
    return [(name, value) for name, value in pairs if name not in _NOT_KEPT and "password" not in name]


def ask(
    visit: Visit,
    *,
    path: str,
    name: str = "",
    kept: Kept = (),
    error: str = "",
    note: str = "",
    status: int = 200,
) -> Response:
    """Give the page to sign in at, with what is to be done after it."""
    fields = [(f"{_KEEP}{key}", value) for key, value in kept]
    context = {"to": local(path), "name": name, "kept": fields, "error": error, "note": note}
    return visit.render("sign_in.html", status, title="Sign in", **context)


@page(PATH, is_open=True, roles=EVERYBODY)
def form(visit: Visit) -> Response:
    to = local(visit.asked("to", "/"))
    if visit.session is not None:
        return visit.redirect(to)
    note = "Your password has been changed. Sign in with the new one." if visit.asked("changed") else ""
    return ask(visit, path=to, note=note)


@page(PATH, methods=("POST",), is_open=True, roles=EVERYBODY)
async def enter(visit: Visit) -> Response:
    name, to = visit.field("name").strip(), local(visit.field("to", "/"))
    kept = [(key.removeprefix(_KEEP), str(value)) for key, value in visit.form.multi_items() if key.startswith(_KEEP)]
    try:
        text = await _sign_in(visit, name, visit.field("password"))
    except Refused as error:
        if visit.is_dialog:
            return JSONResponse({"error": error.message}, error.status)
        text, status = error.message, error.status
        return await asyncio.to_thread(lambda: ask(visit, path=to, name=name, kept=kept, error=text, status=status))
    visit.session = await asyncio.to_thread(sessions.find_session, visit.database, text, visit.now)
    reply: Response
    if visit.is_dialog:
        reply = JSONResponse({"csrf": visit.session.csrf})
    elif kept:
        reply = await asyncio.to_thread(lambda: visit.render("resume.html", title="Signed in again", to=to, kept=kept))
    else:
        reply = RedirectResponse(to, 303)
    is_tls = visit.request.url.scheme == "https"
    reply.set_cookie(
        who.cookie_name(visit.request.url.scheme),
        text,
        max_age=int(sessions.LONGEST_S),
        path="/",
        secure=is_tls,
        httponly=True,
        samesite="lax",
    )
    return reply


async def _sign_in(visit: Visit, name: str, password: str) -> str:
    """Give the secret of a new session; the one that the browser had is over. Raises Refused."""
    source = visit.source_address
    try:
        principal = await who.sign_in(visit.site, name, password, source)
        principal.require_network(source)
        principal.require_all_calls()
    except who.TooMany as error:
        raise Refused(f"Too many sign-ins have failed. Try again in {error.wait_s} s.", 429) from None
    except Refused as error:
        raise Refused(WRONG if error.status == 401 else f"{error.message}.", error.status) from None

    def begin() -> str:
        old = visit.request.cookies.get(who.cookie_name(visit.request.url.scheme), "")
        if old:
            sessions.close_session(visit.database, old)
        visit.database.record(principal.actor("page", source), "sign in", {}, "")
        return sessions.open_session(visit.database, principal.name)

    return await asyncio.to_thread(begin)


@page("/sign-out", methods=("POST",), roles=EVERYBODY)
def leave(visit: Visit) -> Response:
    name = who.cookie_name(visit.request.url.scheme)
    sessions.close_session(visit.database, visit.request.cookies.get(name, ""))
    reply = RedirectResponse(PATH, 303)
    reply.delete_cookie(name, path="/", secure=visit.request.url.scheme == "https", httponly=True, samesite="lax")
    return reply


@page("/session", roles=EVERYBODY)
def alive(visit: Visit) -> Response:
    """Say that the session goes on: what the script asks before it sends a form."""
    return visit.json({"csrf": visit.signed_in.csrf, "name": visit.principal.name})

"""What somebody sets for themselves: the password, the colours. In: forms. Out: pages."""

from __future__ import annotations

import asyncio

from fastapi.responses import Response

from hslpy.admin import who
from hslpy.admin.pages.table import EVERYBODY, SUPER, page
from hslpy.admin.pages.visit import Visit
from hslpy.egress.accounts import admins
from hslpy.egress.rules.names import Refused
from hslpy.egress.undo import take_back

THEMES = ("", "light", "dark")
_YEAR_S = 365 * 86400


@page("/account/password", roles=EVERYBODY, title="Change password", group="Account")
def password(visit: Visit) -> Response:
    return _form(visit, {})


@page("/account/password", methods=("POST",), roles=EVERYBODY)
async def set_password(visit: Visit) -> Response:
    name, new = visit.principal.name, visit.field("new_password")
    errors: dict[str, str] = {}
    try:
        await who.sign_in(visit.site, name, visit.field("old_password"), visit.source_address)
    except who.TooMany as error:
        raise Refused(f"too many attempts; try again in {error.wait_s} s", 429) from None
    except Refused:
        errors["old_password"] = "This is not your present password."
    if new != visit.field("again"):
        errors["again"] = "The two are not the same."
    if len(new) < admins.SHORTEST_PASSWORD:
        errors["new_password"] = f"A password has {admins.SHORTEST_PASSWORD} characters at least."
    if errors:
        return await asyncio.to_thread(_form, visit, errors)

    def work() -> Response:
        admins.set_admin(visit.database, visit.actor, name, password=new)
        return visit.redirect("/sign-in", changed="1")

    return await asyncio.to_thread(work)


@page("/account/theme", methods=("POST",), roles=EVERYBODY)
def set_theme(visit: Visit) -> Response:
    """Keep the colours that somebody wants in the browser; empty: as the system has them."""
    theme = visit.field("theme")
    reply = visit.redirect(visit.field("to", "/"))
    if theme in THEMES:
        is_tls = visit.request.url.scheme == "https"
        reply.set_cookie("theme", theme, max_age=_YEAR_S, path="/", secure=is_tls, httponly=True, samesite="lax")
    return reply


@page("/undo", methods=("POST",), roles=SUPER)
def undo(visit: Visit) -> Response:
    """Take back what the banner tells of: what can be taken back are changes that only a super-admin makes."""
    visit.banner(take_back(visit.database, visit.actor, visit.field("token")))
    return visit.redirect(visit.field("to", "/"))


def _form(visit: Visit, errors: dict[str, str]) -> Response:
    return visit.render("password.html", 400 if errors else 200, title="Change password", errors=errors)

"""Who may sign in: admins, users of the software API, tokens. In: visits. Out: pages, for super-admins."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import urlencode

from fastapi.responses import Response

from hslpy.admin.cgi import CALLS
from hslpy.admin.pages import simple
from hslpy.admin.pages.customers import again, choice_test, removal
from hslpy.admin.pages.render import ago, moment
from hslpy.admin.pages.simple import Form, Input
from hslpy.admin.pages.table import page
from hslpy.admin.pages.things import Cell, Column, Things, listed
from hslpy.admin.pages.visit import Visit
from hslpy.egress.accounts import admins, site
from hslpy.egress.accounts.admins import ROLES, SCOPES, Admin, Token
from hslpy.egress.delivery_ips.queries import Field, text_test
from hslpy.egress.rules.names import Refused

ADMINS = "/access/admins"
TOKENS = "/access/tokens"
_ROLE_WORDS = {
    "super-admin": "Super-admin: everything",
    "admin": "Admin: their own domains",
    "read-only": "Read-only: sees everything, changes nothing",
}
_DAY_S = 86400


@page(ADMINS, title="Admins and API users", group="Access", order=10)
def list_admins(visit: Visit) -> Response:
    def menu(one: Admin) -> Sequence[Mapping[str, str]]:
        asked = urlencode({"name": one.name})
        is_me = one.name == visit.principal.name
        out = [
            {"text": "Edit", "href": f"{ADMINS}/edit?{asked}", "dialog": "1"},
            {"text": "Set a password…", "href": f"{ADMINS}/password?{asked}", "dialog": "1"},
            {"text": "Add a token", "href": f"{TOKENS}/new?{urlencode({'admin': one.name})}", "dialog": "1"},
            {"text": "What they did", "href": f"/server/audit?{urlencode({'actor': one.name})}"},
        ]
        if not is_me:
            out += [
                {"text": "Unlock…" if one.locked else "Lock…", "href": f"{ADMINS}/lock?{asked}", "dialog": "1"},
                {"text": "Remove…", "href": f"{ADMINS}/remove?{asked}", "dialog": "1", "danger": "1"},
            ]
        return out

    columns = {
        "name": Column("Name", lambda one: Cell(one.name, more="you" if one.name == visit.principal.name else "")),
        "role": Column("Role", lambda one: one.role),
        "parent": Column("Below", lambda one: one.parent, shown=False),
        "use": Column("Used for", lambda one: "software API" if one.is_api_user else "page and API"),
        "calls": Column("Allowed calls", lambda one: _some(one.allowed_calls, "all"), shown=True),
        "networks": Column("From", lambda one: _some(one.allowed_networks, "anywhere")),
        "state": Column("State", lambda one: Cell("Locked", "critical") if one.locked else Cell("Active", "ok")),
        "seen": Column("Last sign-in", lambda one: ago(one.signed_in_at, visit.now), lambda one: one.signed_in_at or 0),
        "created": Column("Added", lambda one: ago(one.created_at, visit.now), lambda one: one.created_at, shown=False),
    }
    fields = (
        Field("name", "Name", "text", text_test(lambda one: (one.name,))),
        Field("role", "Role", "choice", choice_test(lambda one: one.role), tuple(ROLES)),
        Field("parent", "Below", "text", text_test(lambda one: (one.parent,))),
        Field("use", "API user", "choice", choice_test(lambda one: "yes" if one.is_api_user else "no"), ("yes", "no")),
    )
    things = Things(
        "admins", ADMINS, "Admins and API users",
        "Who may sign in to this page, and whose software may call the API, from where and for what.",
        "admin", "admins", columns, {one.key: one for one in fields}, lambda one: one.name, menu,
        (("Add an admin", f"{ADMINS}/new"), ("Add an API user", f"{ADMINS}/new?api=1")),
    )  # fmt: skip
    return listed(visit, things, admins.list_admins(visit.database))


@page(f"{ADMINS}/new")
def new_admin(visit: Visit) -> Response:
    return simple.show(visit, _admin_form(visit, None, visit.asked("api") == "1"))


@page(f"{ADMINS}/new", methods=("POST",))
def add_admin(visit: Visit) -> Response:
    password, name = visit.field("password"), visit.field("name").strip()
    made = "" if password else admins.make_password()
    try:
        admins.add_admin(visit.database, visit.actor, name, password=password or made, **_given(visit))
    except Refused as error:
        return again(visit, _admin_form(visit, None, visit.field("is_api_user") == "1"), error, "name")
    visit.banner(f"{name} has been added.")
    return simple.secret(visit, f"{name} can sign in now", "The password:", made, ADMINS) if made else visit.redirect(ADMINS)


@page(f"{ADMINS}/edit")
def edit_admin(visit: Visit) -> Response:
    return simple.show(visit, _admin_form(visit, admins.get_admin(visit.database, visit.asked("name"))))


@page(f"{ADMINS}/edit", methods=("POST",))
def save_admin(visit: Visit) -> Response:
    before = admins.get_admin(visit.database, visit.field("before"))
    try:
        admins.set_admin(visit.database, visit.actor, before.name, new_name=visit.field("name").strip(), **_given(visit))
    except Refused as error:
        return again(visit, _admin_form(visit, before), error, "name")
    visit.banner(f"{before.name} has been changed.")
    return visit.redirect(ADMINS)


@page(f"{ADMINS}/password")
def ask_password(visit: Visit) -> Response:
    return simple.show(visit, _password_form(visit.asked("name")))


@page(f"{ADMINS}/password", methods=("POST",))
def set_password(visit: Visit) -> Response:
    name, password = visit.field("name"), visit.field("password")
    made = "" if password else admins.make_password()
    try:
        admins.set_admin(visit.database, visit.actor, name, password=password or made)
    except Refused as error:
        return again(visit, _password_form(name), error, "password")
    if name == visit.principal.name and password:
        return visit.redirect("/sign-in", changed="1")
    if name != visit.principal.name:
        visit.banner(f"The password of {name} has been set; they are signed out everywhere.")
    return simple.secret(visit, f"Password of {name}", "The new password:", made, ADMINS) if made else visit.redirect(ADMINS)


@page(f"{ADMINS}/lock")
def ask_lock(visit: Visit) -> Response:
    one = admins.get_admin(visit.database, visit.asked("name"))
    hidden = {"name": one.name, "locked": "" if one.locked else "1"}
    word = "Unlock" if one.locked else "Lock"
    text = "They can sign in again." if one.locked else "They are signed out, and their tokens stop working."
    form = Form(f"{word} {one.name}?", f"{ADMINS}/lock", word, ADMINS, text=text, hidden=hidden, is_danger=not one.locked)
    return simple.show(visit, form)


@page(f"{ADMINS}/lock", methods=("POST",))
def lock(visit: Visit) -> Response:
    name, locked = visit.field("name"), visit.field("locked") == "1"
    admins.set_admin(visit.database, visit.actor, name, locked=locked)
    visit.banner(f"{name} is {'locked' if locked else 'no longer locked'}.")
    return visit.redirect(ADMINS)


@page(f"{ADMINS}/remove")
def ask_remove(visit: Visit) -> Response:
    one = admins.get_admin(visit.database, visit.asked("name"))
    tokens = admins.count(len(admins.list_tokens(visit.database, one.name)), "token")
    found = admins.Removed(one.name, (f"its delivery IP settings, {tokens} and saved filters",))
    return simple.show(visit, removal(f"Remove {one.name}?", f"{ADMINS}/remove", ADMINS, found, name=one.name))


@page(f"{ADMINS}/remove", methods=("POST",))
def remove(visit: Visit) -> Response:
    visit.banner(f"Removed: {admins.remove_admin(visit.database, visit.actor, visit.field('name')).text}.")
    return visit.redirect(ADMINS)


# Tokens


@page(TOKENS, title="API tokens", group="Access", order=20)
def list_tokens(visit: Visit) -> Response:
    zone = _zone(visit)

    def menu(one: Token) -> Sequence[Mapping[str, str]]:
        asked = urlencode({"admin": one.admin, "name": one.name})
        return [{"text": "Remove…", "href": f"{TOKENS}/remove?{asked}", "dialog": "1", "danger": "1"}]

    def expiry(one: Token) -> Cell:
        if one.expires_at is None:
            return Cell("Never")
        return Cell("Expired", "warning") if one.expires_at <= visit.now else Cell(moment(one.expires_at, zone))

    columns = {
        "name": Column("Token", lambda one: one.name),
        "admin": Column("Of", lambda one: one.admin),
        "scopes": Column("May", lambda one: ", ".join(one.scopes)),
        "expires": Column("Expires", expiry, lambda one: one.expires_at or 0),
        "used": Column("Last used", lambda one: ago(one.used_at, visit.now), lambda one: one.used_at or 0),
        "created": Column("Made", lambda one: ago(one.created_at, visit.now), lambda one: one.created_at),
    }
    fields = (
        Field("name", "Token", "text", text_test(lambda one: (one.name,))),
        Field("admin", "Of", "text", text_test(lambda one: (one.admin,))),
        Field("scope", "May", "choice", lambda operator, value: lambda one: (value in one.scopes) == (operator == "is"),
              tuple(SCOPES)),
    )  # fmt: skip
    things = Things(
        "tokens", TOKENS, "API tokens",
        "Tokens let a program use the API as an admin, within what each is for. A token is shown once, when it is made.",
        "token", "tokens", columns, {one.key: one for one in fields}, lambda one: f"{one.name} of {one.admin}", menu,
        (("Add a token", f"{TOKENS}/new"),), "No tokens yet.",
    )  # fmt: skip
    return listed(visit, things, admins.list_tokens(visit.database))


@page(f"{TOKENS}/new")
def new_token(visit: Visit) -> Response:
    return simple.show(visit, _token_form(visit))


@page(f"{TOKENS}/new", methods=("POST",))
def add_token(visit: Visit) -> Response:
    days = visit.field("days").strip()
    try:
        if days and not (days.isascii() and days.isdigit() and len(days) < 9 and 0 < int(days) <= 3650):
            error = Refused("a number of days from 1 to 3650 is wanted, or nothing")
            error.field = "days"
            raise error
        expires_at = visit.now + int(days) * _DAY_S if days else None
        name, owner = visit.field("name").strip(), visit.field("admin")
        text, token = admins.add_token(visit.database, visit.actor, owner, name, visit.fields("scopes"), expires_at)
    except Refused as error:
        return again(visit, _token_form(visit), error, "name")
    return simple.secret(visit, f"Token {token.name} of {token.admin}", "The token:", text, TOKENS)


@page(f"{TOKENS}/remove")
def ask_remove_token(visit: Visit) -> Response:
    owner, name = visit.asked("admin"), visit.asked("name")
    text = "Programs that use it are refused from now on."
    hidden = {"admin": owner, "name": name}
    form = Form(f"Remove the token {name} of {owner}?", f"{TOKENS}/remove", "Remove", TOKENS, text=text, hidden=hidden,
                is_danger=True)  # fmt: skip
    return simple.show(visit, form)


@page(f"{TOKENS}/remove", methods=("POST",))
def remove_token(visit: Visit) -> Response:
    found = admins.remove_token(visit.database, visit.actor, visit.field("admin"), visit.field("name"))
    visit.banner(f"Removed: {found.text}.")
    return visit.redirect(TOKENS)


# Forms


def _admin_form(visit: Visit, one: Admin | None, is_api: bool = False) -> Form:
    others = [row.name for row in admins.list_admins(visit.database) if one is None or row.name != one.name]
    calls = frozenset(one.allowed_calls or ()) if one is not None else frozenset()
    networks = "\n".join(one.allowed_networks or ()) if one is not None else ""
    name, role, parent = (one.name, one.role, one.parent) if one is not None else ("", "admin", "")
    is_api = one.is_api_user if one is not None else is_api
    inputs = [
        Input("name", "Name", value=name, required=True),
        Input("role", "Role", "select", role, [(key, _ROLE_WORDS[key]) for key in ROLES]),
        Input(
            "parent",
            "Below",
            "select",
            parent,
            [("", "nobody"), *((name, name) for name in others)],
            "The admin who sees what this one has.",
        ),
        Input("is_api_user", "Used by software alone, for the API", "tick", "1" if is_api else ""),
        Input(
            "allowed_calls",
            "Calls of the classic API that are allowed",
            "ticks",
            options=[(name, name) for name in CALLS],
            hint="None ticked: all that the role allows.",
            chosen=calls,
        ),
        Input(
            "allowed_networks",
            "May come from",
            "lines",
            networks,
            hint="An address or a network a line; empty: from anywhere.",
        ),
    ]
    if one is None:
        hint = "Leave it empty to have one made, which is shown once."
        inputs.insert(1, Input("password", "Password", "password", hint=hint))
        return Form("Add an API user" if is_api else "Add an admin", f"{ADMINS}/new", "Add", ADMINS, inputs)
    return Form(f"Edit {one.name}", f"{ADMINS}/edit", "Save", ADMINS, inputs, hidden={"before": one.name})


def _given(visit: Visit) -> dict[str, Any]:
    calls = list(visit.fields("allowed_calls"))
    networks = visit.field("allowed_networks").replace(",", " ").split()
    return {
        "role": visit.field("role"),
        "parent": visit.field("parent"),
        "is_api_user": visit.field("is_api_user") == "1",
        "allowed_calls": calls or None,
        "allowed_networks": networks or None,
    }


def _password_form(name: str) -> Form:
    hint = f"{admins.SHORTEST_PASSWORD} characters at least; leave it empty to have one made, which is shown once."
    inputs = (Input("password", "New password", "password", hint=hint),)
    text = "They are signed out everywhere."
    return Form(f"Set the password of {name}", f"{ADMINS}/password", "Set", ADMINS, inputs, text, hidden={"name": name})


def _token_form(visit: Visit) -> Form:
    names = [(one.name, one.name) for one in admins.list_admins(visit.database)]
    inputs = (
        Input(
            "admin",
            "Of",
            "select",
            visit.asked("admin", visit.principal.name),
            names,
            "It may never do more than its admin.",
        ),
        Input("name", "Name", hint="What it is for, so that you know it later.", required=True),
        Input("days", "Days that it is good for", hint="Empty: until it is removed."),
        Input("scopes", "What it may do", "ticks", options=[(key, f"{key}: {text}") for key, text in SCOPES.items()]),
    )
    return Form("Add a token", f"{TOKENS}/new", "Add", TOKENS, inputs)


def _some(names: Sequence[str] | None, nothing: str) -> str:
    return nothing if names is None else admins.some(names, 3)


def _zone(visit: Visit) -> str:
    with visit.database.read() as session:
        return site.read(session).time_zone

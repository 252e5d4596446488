"""Who may sign in: admins, users of the software API, tokens. In: visits. Out: pages, for super-admins."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import urlencode

from fastapi.responses import Response

from hslpy.admin.cgi import CALLS
from hslpy.admin.pages import simple
from hslpy.admin.pages.render import ago, moment
from hslpy.admin.pages.simple import Form, Input, form_page, made_known, removal
from hslpy.admin.pages.table import page
from hslpy.admin.pages.things import Cell, Column, Things, choice_test, listed
from hslpy.admin.pages.visit import Visit
from hslpy.egress.accounts import admins, site
from hslpy.egress.accounts.admins import ROLES, SCOPES, Admin, Token
from hslpy.egress.delivery_ips.queries import Field, text_test
from hslpy.egress.rules.names import Refused, about

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
        "admin", "admins", columns, fields, lambda one: one.name, menu,
        (("Add an admin", f"{ADMINS}/new"), ("Add an API user", f"{ADMINS}/new?api=1")),
    )  # fmt: skip
    return listed(visit, things, admins.list_admins(visit.database))


def _new_admin(visit: Visit) -> Form:
    return _admin_form(visit, None, "1" in (visit.asked("api"), visit.field("is_api_user")))


@form_page(f"{ADMINS}/new", _new_admin, back=ADMINS, field="name")
def add_admin(visit: Visit) -> Response | str:
    password, name = visit.field("password"), visit.field("name").strip()
    made = "" if password else admins.make_password()
    admins.add_admin(visit.database, visit.actor, name, password=password or made, **_given(visit))
    return made_known(visit, f"{name} has been added.", f"{name} can sign in now", made, ADMINS)


def _edited_admin(visit: Visit) -> Form:
    return _admin_form(visit, admins.get_admin(visit.database, visit.field("before") or visit.asked("name")))


@form_page(f"{ADMINS}/edit", _edited_admin, back=ADMINS, field="name")
def save_admin(visit: Visit) -> str:
    before = admins.get_admin(visit.database, visit.field("before"))
    admins.set_admin(visit.database, visit.actor, before.name, new_name=visit.field("name").strip(), **_given(visit))
    return f"{before.name} has been changed."


def _password_form(visit: Visit) -> Form:
    name = visit.given("name")
    hint = f"{admins.SHORTEST_PASSWORD} characters at least; leave it empty to have one made, which is shown once."
    inputs = (Input("password", "New password", "password", hint=hint),)
    text = "They are signed out everywhere."
    return Form(f"Set the password of {name}", f"{ADMINS}/password", "Set", ADMINS, inputs, text, hidden={"name": name})


@form_page(f"{ADMINS}/password", _password_form, back=ADMINS, field="password")
def set_password(visit: Visit) -> Response | str:
    name, password = visit.field("name"), visit.field("password")
    made = "" if password else admins.make_password()
    admins.set_admin(visit.database, visit.actor, name, password=password or made)
    if name != visit.principal.name:
        text = f"The password of {name} has been set; they are signed out everywhere."
        return made_known(visit, text, f"Password of {name}", made, ADMINS)
    if password:
        return visit.redirect("/sign-in", changed="1")
    return simple.secret(visit, f"Password of {name}", "The password:", made, ADMINS)


def _lock_form(visit: Visit) -> Form:
    one = admins.get_admin(visit.database, visit.given("name"))
    hidden = {"name": one.name, "locked": "" if one.locked else "1"}
    word = "Unlock" if one.locked else "Lock"
    text = "They can sign in again." if one.locked else "They are signed out, and their tokens stop working."
    return Form(f"{word} {one.name}?", f"{ADMINS}/lock", word, ADMINS, text=text, hidden=hidden, is_danger=not one.locked)


@form_page(f"{ADMINS}/lock", _lock_form, back=ADMINS)
def lock(visit: Visit) -> str:
    name, locked = visit.field("name"), visit.field("locked") == "1"
    admins.set_admin(visit.database, visit.actor, name, locked=locked)
    return f"{name} is {'locked' if locked else 'no longer locked'}."


def _removal_form(visit: Visit) -> Form:
    one = admins.get_admin(visit.database, visit.given("name"))
    tokens = admins.count(len(admins.list_tokens(visit.database, one.name)), "token")
    found = admins.Removed(one.name, (f"its delivery IP settings, {tokens} and saved filters",))
    return removal(f"Remove {one.name}?", f"{ADMINS}/remove", ADMINS, found, name=one.name)


@form_page(f"{ADMINS}/remove", _removal_form, back=ADMINS)
def remove(visit: Visit) -> str:
    return f"Removed: {admins.remove_admin(visit.database, visit.actor, visit.field('name')).text}."


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
        "token", "tokens", columns, fields, lambda one: f"{one.name} of {one.admin}", menu,
        (("Add a token", f"{TOKENS}/new"),), "No tokens yet.",
    )  # fmt: skip
    return listed(visit, things, admins.list_tokens(visit.database))


def _token_form(visit: Visit) -> Form:
    names = [(one.name, one.name) for one in admins.list_admins(visit.database)]
    owner = visit.asked("admin", visit.principal.name)
    inputs = (
        Input("admin", "Of", "select", owner, names, "It may never do more than its admin."),
        Input("name", "Name", hint="What it is for, so that you know it later.", required=True),
        Input("days", "Days that it is good for", hint="Empty: until it is removed."),
        Input("scopes", "What it may do", "ticks", options=[(key, f"{key}: {text}") for key, text in SCOPES.items()]),
    )
    return Form("Add a token", f"{TOKENS}/new", "Add", TOKENS, inputs)


@form_page(f"{TOKENS}/new", _token_form, back=TOKENS, field="name")
def add_token(visit: Visit) -> Response:
    days = visit.field("days").strip()
    if days and not (days.isascii() and days.isdigit() and len(days) < 9 and 0 < int(days) <= 3650):
        with about("days"):
            raise Refused("a number of days from 1 to 3650 is wanted, or nothing")
    expires_at = visit.now + int(days) * _DAY_S if days else None
    name, owner = visit.field("name").strip(), visit.field("admin")
    text, token = admins.add_token(visit.database, visit.actor, owner, name, visit.fields("scopes"), expires_at)
    return simple.secret(visit, f"Token {token.name} of {token.admin}", "The token:", text, TOKENS)


def _token_removal(visit: Visit) -> Form:
    owner, name = visit.given("admin"), visit.given("name")
    title, text = f"Remove the token {name} of {owner}?", "Programs that use it are refused from now on."
    hidden = {"admin": owner, "name": name}
    return Form(title, f"{TOKENS}/remove", "Remove", TOKENS, text=text, hidden=hidden, is_danger=True)


@form_page(f"{TOKENS}/remove", _token_removal, back=TOKENS)
def remove_token(visit: Visit) -> str:
    found = admins.remove_token(visit.database, visit.actor, visit.field("admin"), visit.field("name"))
    return f"Removed: {found.text}."


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


def _some(names: Sequence[str] | None, nothing: str) -> str:
    return nothing if names is None else admins.some(names, 3)


def _zone(visit: Visit) -> str:
    with visit.database.read() as session:
        return site.read(session).time_zone

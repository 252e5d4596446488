"""Customers: their domains, and the outgoing users that send for them. In: visits. Out: pages.

An admin sees and changes those of their own; somebody who only reads sees all.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any
from urllib.parse import urlencode

from fastapi.responses import Response

from hslpy.admin import queued_mail
from hslpy.admin.pages import simple
from hslpy.admin.pages.render import ago
from hslpy.admin.pages.simple import Form, Input
from hslpy.admin.pages.table import EVERYBODY, page
from hslpy.admin.pages.things import Cell, Column, Things, listed
from hslpy.admin.pages.visit import Visit
from hslpy.egress.accounts import admins, directory
from hslpy.egress.accounts.admins import Role
from hslpy.egress.accounts.directory import Domain, Node, User
from hslpy.egress.accounts.former import Queued
from hslpy.egress.delivery_ips.queries import Field, text_test
from hslpy.egress.rules.names import Refused

DOMAINS = "/customers/domains"
USERS = "/customers/users"
CHANGERS: Sequence[Role] = ("super-admin", "admin")
_NAME_HINT = "The part before the @; or an address, or a network such as 192.0.2.0/28."
OWN = "(the domain's own user)"
STATES = ("active", "locked")
Choice = Callable[[str, str], Callable[[Any], bool]]


def choice_test(text: Callable[[Any], str]) -> Choice:
    """Give the test of a row by a choice."""
    return lambda operator, value: lambda row: (text(row) == value) == (operator == "is")


# Domains


@page(DOMAINS, roles=EVERYBODY, title="Domains", group="Customers", order=10)
def domains(visit: Visit) -> Response:
    may_change = visit.principal.role in CHANGERS

    def menu(one: Domain) -> Sequence[Mapping[str, str]]:
        asked = urlencode({"domain": one.name})
        entries = [
            {"text": "Outgoing users", "href": _users_of(one.name)},
            {"text": "Delivery IPs", "href": _settings_of("domain", one.name)},
            {"text": "Queue", "href": f"/outgoing/queue?{urlencode({'owner': one.name})}"},
        ]
        if not may_change:
            return entries
        return [
            {"text": "Edit", "href": f"{DOMAINS}/edit?{asked}", "dialog": "1"},
            {"text": "Add an alias", "href": f"{DOMAINS}/new?{urlencode({'alias_of': one.name})}", "dialog": "1"},
            *entries,
            {"text": "Unlock" if one.locked else "Lock…", "href": f"{DOMAINS}/lock?{asked}", "dialog": "1"},
            {"text": "Remove…", "href": f"{DOMAINS}/remove?{asked}", "dialog": "1", "danger": "1"},
        ]

    things = Things(
        "domains",
        DOMAINS,
        "Domains",
        "Your customers' domains. Each has an admin, aliases, and users who send for it.",
        "domain",
        "domains",
        {
            "name": Column("Domain", lambda one: Cell(one.name, href=_users_of(one.name))),
            "admin": Column("Admin", lambda one: one.admin),
            "aliases": Column("Aliases", lambda one: Cell(", ".join(one.aliases))),
            "users": Column("Users", lambda one: str(one.users), lambda one: one.users),
            "state": Column("State", _domain_state),
            "created": Column("Added", lambda one: ago(one.created_at, visit.now), lambda one: one.created_at),
        },
        _by_key(
            Field("name", "Domain", "text", text_test(lambda one: (one.name,))),
            Field("alias", "Alias", "text", text_test(lambda one: one.aliases)),
            Field("admin", "Admin", "text", text_test(lambda one: (one.admin,))),
            Field(
                "state",
                "State",
                "choice",
                choice_test(lambda one: "locked" if one.locked else "active"),
                ("active", "locked"),
            ),
        ),
        lambda one: one.name,
        menu,
        (("Add a domain", f"{DOMAINS}/new"),) if may_change else (),
        "No domains yet. Add the domain of a customer first, then the users who send for it.",
    )
    return listed(visit, things, directory.list_domains(visit.database, admins=visit.principal.admins))


@page(f"{DOMAINS}/new", roles=CHANGERS)
def new_domain(visit: Visit) -> Response:
    return simple.show(visit, _domain_form(visit, visit.asked("alias_of")))


@page(f"{DOMAINS}/new", methods=("POST",), roles=CHANGERS)
def add_domain(visit: Visit) -> Response:
    alias_of, name = visit.field("alias_of"), visit.field("name")
    form = _domain_form(visit, alias_of)
    try:
        if alias_of:
            _own(visit, alias_of)
        admin = "" if alias_of else _admin_given(visit)
        directory.add_domain(visit.database, visit.actor, name, admin=admin, alias_of=alias_of)
    except Refused as error:
        return again(visit, form, error, "name")
    visit.banner(f"The domain {name.strip().lower()} has been added" + (f" as an alias of {alias_of}." if alias_of else "."))
    return visit.redirect(DOMAINS)


@page(f"{DOMAINS}/edit", roles=CHANGERS)
def edit_domain(visit: Visit) -> Response:
    return simple.show(visit, _edit_form(visit, _own(visit, visit.asked("domain"))))


@page(f"{DOMAINS}/edit", methods=("POST",), roles=CHANGERS)
def save_domain(visit: Visit) -> Response:
    before = _own(visit, visit.field("domain"))
    try:
        directory.set_domain(
            visit.database,
            visit.actor,
            before.name,
            new_name=visit.field("name"),
            admin=_admin_given(visit),
            admins=visit.principal.admins,
        )
    except Refused as error:
        return again(visit, _edit_form(visit, before), error, "name")
    visit.banner(f"The domain {before.name} has been changed.")
    return visit.redirect(DOMAINS)


@page(f"{DOMAINS}/lock", roles=CHANGERS)
def ask_lock_domain(visit: Visit) -> Response:
    one = _own(visit, visit.asked("domain"))
    hidden = {"domain": one.name, "locked": "" if one.locked else "1"}
    if one.locked:
        form = Form(
            f"Unlock {one.name}?", f"{DOMAINS}/lock", "Unlock", DOMAINS, text="Its users may send again.", hidden=hidden
        )
    else:
        text = f"None of its {admins.count(one.users, 'user')} may send any more, and their mail in the queue is held."
        form = Form(f"Lock {one.name}?", f"{DOMAINS}/lock", "Lock", DOMAINS, text=text, hidden=hidden, is_danger=True)
    return simple.show(visit, form)


@page(f"{DOMAINS}/lock", methods=("POST",), roles=CHANGERS)
def lock_domain(visit: Visit) -> Response:
    one, locked = _own(visit, visit.field("domain")), visit.field("locked") == "1"
    directory.set_domain(visit.database, visit.actor, one.name, locked=locked, admins=visit.principal.admins)
    visit.banner(f"The domain {one.name} is {'locked' if locked else 'no longer locked'}.")
    return visit.redirect(DOMAINS)


@page(f"{DOMAINS}/remove", roles=CHANGERS)
def ask_remove_domain(visit: Visit) -> Response:
    one = _own(visit, visit.asked("domain"))
    return simple.show(visit, _domain_removal(one.name, _remove_domain(visit, one.name, only_look=True)))


@page(f"{DOMAINS}/remove", methods=("POST",), roles=CHANGERS)
def remove_domain(visit: Visit) -> Response:
    one = _own(visit, visit.field("domain"))
    try:
        removed = _remove_domain(visit, one.name)
    except Refused as error:
        if error.field != "queued":
            raise
        return again(visit, _domain_removal(one.name, _remove_domain(visit, one.name, only_look=True)), error, "queued")
    visit.banner(f"Removed: {removed.text}.")
    return visit.redirect(DOMAINS)


# Outgoing users


@page(USERS, roles=EVERYBODY, title="Outgoing users", group="Customers", order=20)
def users(visit: Visit) -> Response:
    may_change = visit.principal.role in CHANGERS

    def menu(one: User) -> Sequence[Mapping[str, str]]:
        asked = urlencode({"domain": one.domain, "username": one.username})
        name = f"{one.username}@{one.domain}"
        entries = [
            {"text": "Delivery IPs", "href": _settings_of("username", one.username)},
            {"text": "Deliveries", "href": f"/outgoing/log?{urlencode({'user': name})}"},
            {"text": "Queue", "href": f"/outgoing/queue?{urlencode({'owner': one.domain, 'user': one.username})}"},
        ]
        if not may_change:
            return entries
        password = [] if one.network else [{"text": "Set a password…", "href": f"{USERS}/password?{asked}", "dialog": "1"}]
        rename = [{"text": "Rename…", "href": f"{USERS}/edit?{asked}", "dialog": "1"}] if one.username else []
        return [
            *password,
            *rename,
            {"text": "Unlock…" if one.locked else "Lock…", "href": f"{USERS}/lock?{asked}", "dialog": "1"},
            *entries,
            {"text": "Remove…", "href": f"{USERS}/remove?{asked}", "dialog": "1", "danger": "1"},
        ]

    def state(one: User) -> Cell:
        if not one.locked:
            return Cell("Active", "ok")
        return Cell("Locked", "critical", more=lock_told(one, visit.now))

    things = Things(
        "users",
        USERS,
        "Outgoing users",
        "Who may send: by a name and a password, or from an address or a network without one.",
        "outgoing user",
        "outgoing users",
        {
            "name": Column("User", lambda one: Cell(one.username or OWN)),
            "domain": Column("Domain", lambda one: one.domain),
            "kind": Column("Signs in by", lambda one: "its address" if one.network else "password"),
            "state": Column("State", state),
            "created": Column("Added", lambda one: ago(one.created_at, visit.now), lambda one: one.created_at),
        },
        _by_key(
            Field("name", "User", "text", text_test(lambda one: (one.username,))),
            Field("domain", "Domain", "text", text_test(lambda one: (one.domain,))),
            Field("reason", "Reason of the lock", "text", text_test(lambda one: (one.locked_reason,))),
            Field(
                "state",
                "State",
                "choice",
                choice_test(lambda one: "locked" if one.locked else "active"),
                ("active", "locked"),
            ),
        ),
        lambda one: f"{one.username or OWN} of {one.domain}",
        menu,
        (("Add an outgoing user", f"{USERS}/new"),) if may_change else (),
        "No outgoing users yet. Add a domain first: it comes with a user of its own.",
    )
    return listed(visit, things, directory.list_users(visit.database, admins=visit.principal.admins))


@page(f"{USERS}/new", roles=CHANGERS)
def new_user(visit: Visit) -> Response:
    return simple.show(visit, _user_form(visit))


@page(f"{USERS}/new", methods=("POST",), roles=CHANGERS)
def add_user(visit: Visit) -> Response:
    domain, username, password = visit.field("domain"), visit.field("username").strip(), visit.field("password")
    made = ""
    try:
        owner = _own(visit, domain)
        _, network = directory.user_name(username)
        if not password and not network:
            password = made = admins.make_password()
        mine = visit.principal.admins
        directory.add_user(visit.database, visit.actor, owner.name, username, password=password, admins=mine)
    except Refused as error:
        return again(visit, _user_form(visit), error, "username")
    name = f"{username}@{owner.name}" if username else owner.name
    visit.banner(f"The outgoing user {name} has been added.")
    return simple.secret(visit, f"{name} can send now", "The password:", made, USERS) if made else visit.redirect(USERS)


@page(f"{USERS}/edit", roles=CHANGERS)
def edit_user(visit: Visit) -> Response:
    return simple.show(visit, _rename_form(visit.asked("domain"), visit.asked("username")))


@page(f"{USERS}/edit", methods=("POST",), roles=CHANGERS)
def save_user(visit: Visit) -> Response:
    domain, username, name = _own(visit, visit.field("domain")).name, visit.field("username"), visit.field("new_name")
    try:
        directory.set_user(visit.database, visit.actor, domain, username, new_name=name, admins=visit.principal.admins)
    except Refused as error:
        return again(visit, _rename_form(domain, username), error, "new_name")
    visit.banner(f"{username}@{domain} is now {name.strip()}@{domain}; its delivery IPs went with it.")
    return visit.redirect(USERS)


@page(f"{USERS}/password", roles=CHANGERS)
def ask_password(visit: Visit) -> Response:
    return simple.show(visit, _password_form(visit.asked("domain"), visit.asked("username")))


@page(f"{USERS}/password", methods=("POST",), roles=CHANGERS)
def set_password(visit: Visit) -> Response:
    domain, username, password = _own(visit, visit.field("domain")).name, visit.field("username"), visit.field("password")
    made = "" if password else admins.make_password()
    try:
        directory.set_user(visit.database, visit.actor, domain, username, password=password or made)
    except Refused as error:
        return again(visit, _password_form(domain, username), error, "password")
    name = f"{username}@{domain}" if username else domain
    visit.banner(f"The password of {name} has been set.")
    return simple.secret(visit, f"Password of {name}", "The new password:", made, USERS) if made else visit.redirect(USERS)


@page(f"{USERS}/lock", roles=CHANGERS)
def ask_lock_user(visit: Visit) -> Response:
    domain, username = visit.asked("domain"), visit.asked("username")
    found = [one for one in directory.list_users(visit.database, _own(visit, domain).name) if one.username == username]
    locked = bool(found) and found[0].locked
    name, hidden = f"{username or OWN} of {domain}", {"domain": domain, "username": username}
    if locked:
        text = f"It may send again, and its mail in the queue goes on. It was locked {lock_told(found[0], visit.now)}."
        form = Form(f"Unlock {name}?", f"{USERS}/unlock", "Unlock", USERS, text=text, hidden=hidden)
    else:
        reason = Input("reason", "Reason", hint="For you and your colleagues; the user is not told it.")
        text = "It may send nothing more, and its mail in the queue is held."
        form = Form(f"Lock {name}?", f"{USERS}/lock", "Lock", USERS, (reason,), text, hidden=hidden, is_danger=True)
    return simple.show(visit, form)


@page(f"{USERS}/lock", methods=("POST",), roles=CHANGERS)
def lock_user(visit: Visit) -> Response:
    domain, username = _own(visit, visit.field("domain")).name, visit.field("username")
    directory.lock_user(visit.database, visit.actor, domain, username, visit.field("reason"), admins=visit.principal.admins)
    visit.banner(f"{username or OWN} of {domain} is locked.")
    return visit.redirect(USERS)


@page(f"{USERS}/unlock", methods=("POST",), roles=CHANGERS)
def unlock_user(visit: Visit) -> Response:
    domain, username = _own(visit, visit.field("domain")).name, visit.field("username")
    directory.unlock_user(visit.database, visit.actor, domain, username, admins=visit.principal.admins)
    visit.banner(f"{username or OWN} of {domain} is no longer locked.")
    return visit.redirect(USERS)


@page(f"{USERS}/remove", roles=CHANGERS)
def ask_remove_user(visit: Visit) -> Response:
    domain, username = _own(visit, visit.asked("domain")).name, visit.asked("username")
    return simple.show(visit, _user_removal(domain, username, _remove_user(visit, domain, username, only_look=True)))


@page(f"{USERS}/remove", methods=("POST",), roles=CHANGERS)
def remove_user(visit: Visit) -> Response:
    domain, username = _own(visit, visit.field("domain")).name, visit.field("username")
    try:
        removed = _remove_user(visit, domain, username)
    except Refused as error:
        if error.field != "queued":
            raise
        form = _user_removal(domain, username, _remove_user(visit, domain, username, only_look=True))
        return again(visit, form, error, "queued")
    visit.banner(f"Removed: {removed.text}.")
    return visit.redirect(USERS)


# Shared


def again(visit: Visit, form: Form, error: Refused, field: str) -> Response:
    """Give a form again with what was entered, and what is wrong with it."""
    names = [one.name for one in form.inputs]
    at = error.field if error.field in names else field
    text = error.message[:1].upper() + error.message[1:]
    inputs = simple.given(visit, form.inputs)
    shown = Form(form.title, form.action, form.button, form.back, inputs, form.text, form.items, form.hidden)
    return simple.show(visit, shown, {at: text if text.endswith((".", "?")) else text + "."})


def removal(title: str, action: str, back: str, found: admins.Removed, **hidden: str) -> Form:
    """Give the question before something is removed, with what goes along."""
    text = "With it goes:" if found.also else "Nothing else goes with it."
    asked = () if found.held == 0 else (_of_held(found.held),)
    return Form(title, action, "Remove", back, asked, text, found.also, hidden, is_danger=True)


def _of_held(held: int | None) -> Input:
    """Ask what becomes of the mail of somebody locked."""
    hint = "It is locked. How much of its mail is held in the queues cannot be found out now."
    if held is not None:
        hint = f"It is locked, and its mail for {admins.count(held, 'recipient')} is held in the queue."
    options = (("", "choose"), ("remove", "Remove it from the queue, without a bounce"), ("release", "Send it"))
    return Input("queued", "Its held mail", "select", "", options, hint, required=True)


def _remove_domain(visit: Visit, name: str, *, only_look: bool = False) -> admins.Removed:
    change = partial(directory.remove_domain, visit.database, visit.actor, name, admins=visit.principal.admins)
    return queued_mail.remove(visit.site, change, name, queued=_queued(visit), only_look=only_look)


def _remove_user(visit: Visit, domain: str, username: str, *, only_look: bool = False) -> admins.Removed:
    mine = visit.principal.admins
    change = partial(directory.remove_user, visit.database, visit.actor, domain, username, admins=mine)
    return queued_mail.remove(visit.site, change, domain, username, queued=_queued(visit), only_look=only_look)


def _queued(visit: Visit) -> Queued:
    given = visit.field("queued")
    return "release" if given == "release" else "remove" if given == "remove" else ""


def _domain_removal(name: str, found: admins.Removed) -> Form:
    return removal(f"Remove the domain {name}?", f"{DOMAINS}/remove", DOMAINS, found, domain=name)


def _user_removal(domain: str, username: str, found: admins.Removed) -> Form:
    title = f"Remove {username}@{domain}?" if username else f"Remove the password of {domain}'s own user?"
    return removal(title, f"{USERS}/remove", USERS, found, domain=domain, username=username)


def lock_told(one: User | Node, now: float) -> str:
    """Say when somebody was locked, by whom and why: `2 hours ago by ops: spam`."""
    when = f"{ago(one.locked_at, now)} by {one.locked_by}" if one.locked_at is not None else ""
    return f"{when}: {one.locked_reason}" if one.locked_reason else when


def _by_key(*fields: Field) -> Mapping[str, Field]:
    return {one.key: one for one in fields}


def _own(visit: Visit, name: str) -> Domain:
    """Give a domain that somebody may see. Raises NotFound for others'."""
    return directory.get_domain(visit.database, name, admins=visit.principal.admins)


def _admin_given(visit: Visit) -> str:
    """Give the admin that a domain is to have. Raises Refused for another's."""
    mine, admin = visit.principal.admins, visit.field("admin")
    return admin if mine is None else directory.admin_allowed(admin or visit.principal.name, mine) or ""


def _admin_input(visit: Visit, value: str) -> Input:
    found = admins.list_admins(visit.database, within=visit.principal.admins)
    names = [(one.name, one.name) for one in found if not one.is_api_user]
    none = [("", "none")] if visit.principal.admins is None else []
    return Input("admin", "Admin", "select", value, [*none, *names], "Whose settings hold for it, and who sees it.")


def _domain_form(visit: Visit, alias_of: str) -> Form:
    name = Input("name", "Domain", hint="Such as example.com", required=True)
    if alias_of:
        title, text = f"Add an alias of {alias_of}", f"Mail of the alias is that of {alias_of}: its users and settings hold."
        return Form(title, f"{DOMAINS}/new", "Add", DOMAINS, (name,), text, hidden={"alias_of": alias_of})
    admin = _admin_input(visit, visit.principal.name if visit.principal.admins is not None else "")
    return Form("Add a domain", f"{DOMAINS}/new", "Add", DOMAINS, (name, admin))


def _edit_form(visit: Visit, one: Domain) -> Form:
    inputs = (Input("name", "Domain", value=one.name, required=True), _admin_input(visit, one.admin))
    return Form(f"Edit {one.name}", f"{DOMAINS}/edit", "Save", DOMAINS, inputs, hidden={"domain": one.name})


def _user_form(visit: Visit) -> Form:
    names = [(one.name, one.name) for one in directory.list_domains(visit.database, admins=visit.principal.admins)]
    inputs = (
        Input("domain", "Domain", "select", visit.asked("domain"), names),
        Input("username", "User", hint=_NAME_HINT if visit.principal.admins is None else "The part before the @."),
        Input("password", "Password", "password", hint="Leave it empty to have one made, which is shown once."),
    )
    return Form("Add an outgoing user", f"{USERS}/new", "Add", USERS, inputs)


def _rename_form(domain: str, username: str) -> Form:
    inputs = (Input("new_name", "New name", value=username, required=True),)
    text = "Its delivery IPs and its queued mail go with it. The client has to sign in by the new name."
    hidden = {"domain": domain, "username": username}
    return Form(f"Rename {username}@{domain}", f"{USERS}/edit", "Rename", USERS, inputs, text, hidden=hidden)


def _password_form(domain: str, username: str) -> Form:
    inputs = (Input("password", "New password", "password", hint="Leave it empty to have one made, which is shown once."),)
    hidden = {"domain": domain, "username": username}
    name = f"{username}@{domain}" if username else domain
    return Form(f"Set the password of {name}", f"{USERS}/password", "Set", USERS, inputs, hidden=hidden)


def _domain_state(one: Domain) -> Cell:
    return Cell("Locked", "critical", more=f"by {one.locked_by}") if one.locked else Cell("Active", "ok")


def _users_of(domain: str) -> str:
    return f"{USERS}?{urlencode({'f': 'domain', 'o': 'is', 'v': domain})}"


def _settings_of(field: str, value: str) -> str:
    return f"/outgoing/delivery-ips?{urlencode({'tab': 'settings', 'f': field, 'o': 'is', 'v': value, 'show': '1'})}"

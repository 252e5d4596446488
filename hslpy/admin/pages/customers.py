"""Customers: their domains, and the outgoing users that send for them. In: visits. Out: pages.

An admin sees and changes those of their own; somebody who only reads sees all.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from urllib.parse import urlencode

from fastapi.responses import Response

from hslpy.admin import queued_mail
from hslpy.admin.pages.render import ago
from hslpy.admin.pages.simple import Form, Input, form_page, made_known, removal
from hslpy.admin.pages.table import EVERYBODY, page
from hslpy.admin.pages.things import STATE, Cell, Column, Things, listed, lock_told
from hslpy.admin.pages.visit import Visit
from hslpy.egress.accounts import admins, directory
from hslpy.egress.accounts.admins import Role
from hslpy.egress.accounts.directory import Domain, User
from hslpy.egress.accounts.former import Queued
from hslpy.egress.delivery_ips.queries import Field, text_test

DOMAINS = "/customers/domains"
USERS = "/customers/users"
CHANGERS: Sequence[Role] = ("super-admin", "admin")
_NAME_HINT = "The part before the @; or an address, or a network such as 192.0.2.0/28."
_MADE_HINT = "Leave it empty to have one made, which is shown once."
OWN = "(the domain's own user)"


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
        (
            Field("name", "Domain", "text", text_test(lambda one: (one.name,))),
            Field("alias", "Alias", "text", text_test(lambda one: one.aliases)),
            Field("admin", "Admin", "text", text_test(lambda one: (one.admin,))),
            STATE,
        ),
        lambda one: one.name,
        menu,
        (("Add a domain", f"{DOMAINS}/new"),) if may_change else (),
        "No domains yet. Add the domain of a customer first, then the users who send for it.",
    )
    return listed(visit, things, directory.list_domains(visit.database, admins=visit.principal.admins))


def _domain_form(visit: Visit) -> Form:
    alias_of = visit.given("alias_of")
    name = Input("name", "Domain", hint="Such as example.com", required=True)
    if alias_of:
        title, text = f"Add an alias of {alias_of}", f"Mail of the alias is that of {alias_of}: its users and settings hold."
        return Form(title, f"{DOMAINS}/new", "Add", DOMAINS, (name,), text, hidden={"alias_of": alias_of})
    admin = _admin_input(visit, visit.principal.name if visit.principal.admins is not None else "")
    return Form("Add a domain", f"{DOMAINS}/new", "Add", DOMAINS, (name, admin))


@form_page(f"{DOMAINS}/new", _domain_form, back=DOMAINS, field="name", roles=CHANGERS)
def add_domain(visit: Visit) -> str:
    alias_of, name = visit.field("alias_of"), visit.field("name")
    if alias_of:
        _own(visit, alias_of)
    admin = "" if alias_of else _admin_given(visit)
    directory.add_domain(visit.database, visit.actor, name, admin=admin, alias_of=alias_of)
    return f"The domain {name.strip().lower()} has been added" + (f" as an alias of {alias_of}." if alias_of else ".")


def _edit_form(visit: Visit) -> Form:
    one = _own(visit, visit.given("domain"))
    inputs = (Input("name", "Domain", value=one.name, required=True), _admin_input(visit, one.admin))
    return Form(f"Edit {one.name}", f"{DOMAINS}/edit", "Save", DOMAINS, inputs, hidden={"domain": one.name})


@form_page(f"{DOMAINS}/edit", _edit_form, back=DOMAINS, field="name", roles=CHANGERS)
def save_domain(visit: Visit) -> str:
    before, name, mine = _own(visit, visit.field("domain")), visit.field("name"), visit.principal.admins
    directory.set_domain(visit.database, visit.actor, before.name, new_name=name, admin=_admin_given(visit), admins=mine)
    return f"The domain {before.name} has been changed."


def _domain_lock(visit: Visit) -> Form:
    one = _own(visit, visit.given("domain"))
    hidden = {"domain": one.name, "locked": "" if one.locked else "1"}
    word = "Unlock" if one.locked else "Lock"
    text = f"None of its {admins.count(one.users, 'user')} may send any more, and their mail in the queue is held."
    text = "Its users may send again." if one.locked else text
    return Form(f"{word} {one.name}?", f"{DOMAINS}/lock", word, DOMAINS, text=text, hidden=hidden, is_danger=not one.locked)


@form_page(f"{DOMAINS}/lock", _domain_lock, back=DOMAINS, roles=CHANGERS)
def lock_domain(visit: Visit) -> str:
    one, locked = _own(visit, visit.field("domain")), visit.field("locked") == "1"
    directory.set_domain(visit.database, visit.actor, one.name, locked=locked, admins=visit.principal.admins)
    return f"The domain {one.name} is {'locked' if locked else 'no longer locked'}."


def _domain_removal(visit: Visit) -> Form:
    name = _own(visit, visit.given("domain")).name
    found = _remove_domain(visit, name, only_look=True)
    return removal(f"Remove the domain {name}?", f"{DOMAINS}/remove", DOMAINS, found, domain=name)


@form_page(f"{DOMAINS}/remove", _domain_removal, back=DOMAINS, roles=CHANGERS)
def remove_domain(visit: Visit) -> str:
    return f"Removed: {_remove_domain(visit, _own(visit, visit.field('domain')).name).text}."


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
        (
            Field("name", "User", "text", text_test(lambda one: (one.username,))),
            Field("domain", "Domain", "text", text_test(lambda one: (one.domain,))),
            Field("reason", "Reason of the lock", "text", text_test(lambda one: (one.locked_reason,))),
            STATE,
        ),
        lambda one: f"{one.username or OWN} of {one.domain}",
        menu,
        (("Add an outgoing user", f"{USERS}/new"),) if may_change else (),
        "No outgoing users yet. Add a domain first: it comes with a user of its own.",
    )
    return listed(visit, things, directory.list_users(visit.database, admins=visit.principal.admins))


def _user_form(visit: Visit) -> Form:
    names = [(one.name, one.name) for one in directory.list_domains(visit.database, admins=visit.principal.admins)]
    inputs = (
        Input("domain", "Domain", "select", visit.asked("domain"), names),
        Input("username", "User", hint=_NAME_HINT if visit.principal.admins is None else "The part before the @."),
        Input("password", "Password", "password", hint=_MADE_HINT),
    )
    return Form("Add an outgoing user", f"{USERS}/new", "Add", USERS, inputs)


@form_page(f"{USERS}/new", _user_form, back=USERS, field="username", roles=CHANGERS)
def add_user(visit: Visit) -> Response | str:
    username, password = visit.field("username").strip(), visit.field("password")
    made, mine = "", visit.principal.admins
    owner = _own(visit, visit.field("domain"))
    _, network = directory.user_name(username)
    if not password and not network:
        password = made = admins.make_password()
    directory.add_user(visit.database, visit.actor, owner.name, username, password=password, admins=mine)
    name = f"{username}@{owner.name}" if username else owner.name
    return made_known(visit, f"The outgoing user {name} has been added.", f"{name} can send now", made, USERS)


def _rename_form(visit: Visit) -> Form:
    domain, username = _user(visit)
    inputs = (Input("new_name", "New name", value=username, required=True),)
    text = "Its delivery IPs and its queued mail go with it. The client has to sign in by the new name."
    hidden = {"domain": domain, "username": username}
    return Form(f"Rename {username}@{domain}", f"{USERS}/edit", "Rename", USERS, inputs, text, hidden=hidden)


@form_page(f"{USERS}/edit", _rename_form, back=USERS, field="new_name", roles=CHANGERS)
def save_user(visit: Visit) -> str:
    (domain, username), name = _user(visit), visit.field("new_name")
    directory.set_user(visit.database, visit.actor, domain, username, new_name=name, admins=visit.principal.admins)
    return f"{username}@{domain} is now {name.strip()}@{domain}; its delivery IPs went with it."


def _password_form(visit: Visit) -> Form:
    domain, username = _user(visit)
    inputs = (Input("password", "New password", "password", hint=_MADE_HINT),)
    hidden = {"domain": domain, "username": username}
    name = f"{username}@{domain}" if username else domain
    return Form(f"Set the password of {name}", f"{USERS}/password", "Set", USERS, inputs, hidden=hidden)


@form_page(f"{USERS}/password", _password_form, back=USERS, field="password", roles=CHANGERS)
def set_password(visit: Visit) -> Response | str:
    (domain, username), password = _user(visit), visit.field("password")
    made = "" if password else admins.make_password()
    directory.set_user(visit.database, visit.actor, domain, username, password=password or made)
    name = f"{username}@{domain}" if username else domain
    return made_known(visit, f"The password of {name} has been set.", f"Password of {name}", made, USERS)


def _user_lock(visit: Visit) -> Form:
    domain, username = _user(visit)
    found = [one for one in directory.list_users(visit.database, domain) if one.username == username]
    name, hidden = f"{username or OWN} of {domain}", {"domain": domain, "username": username}
    if found and found[0].locked:
        text = f"It may send again, and its mail in the queue goes on. It was locked {lock_told(found[0], visit.now)}."
        return Form(f"Unlock {name}?", f"{USERS}/unlock", "Unlock", USERS, text=text, hidden=hidden)
    reason = Input("reason", "Reason", hint="For you and your colleagues; the user is not told it.")
    text = "It may send nothing more, and its mail in the queue is held."
    return Form(f"Lock {name}?", f"{USERS}/lock", "Lock", USERS, (reason,), text, hidden=hidden, is_danger=True)


@form_page(f"{USERS}/lock", _user_lock, back=USERS, roles=CHANGERS)
def lock_user(visit: Visit) -> str:
    (domain, username), mine = _user(visit), visit.principal.admins
    directory.lock_user(visit.database, visit.actor, domain, username, visit.field("reason"), admins=mine)
    return f"{username or OWN} of {domain} is locked."


@form_page(f"{USERS}/unlock", _user_lock, back=USERS, roles=CHANGERS)
def unlock_user(visit: Visit) -> str:
    domain, username = _user(visit)
    directory.unlock_user(visit.database, visit.actor, domain, username, admins=visit.principal.admins)
    return f"{username or OWN} of {domain} is no longer locked."


def _user_removal(visit: Visit) -> Form:
    domain, username = _user(visit)
    title = f"Remove {username}@{domain}?" if username else f"Remove the password of {domain}'s own user?"
    found = _remove_user(visit, domain, username, only_look=True)
    return removal(title, f"{USERS}/remove", USERS, found, domain=domain, username=username)


@form_page(f"{USERS}/remove", _user_removal, back=USERS, roles=CHANGERS)
def remove_user(visit: Visit) -> str:
    return f"Removed: {_remove_user(visit, *_user(visit)).text}."


# Shared


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


def _own(visit: Visit, name: str) -> Domain:
    """Give a domain that somebody may see. Raises NotFound for others'."""
    return directory.get_domain(visit.database, name, admins=visit.principal.admins)


def _user(visit: Visit) -> tuple[str, str]:
    """Give the domain that somebody may see, and the name of its user. Raises NotFound for others'."""
    return _own(visit, visit.given("domain")).name, visit.given("username")


def _admin_given(visit: Visit) -> str:
    """Give the admin that a domain is to have. Raises Refused for another's."""
    mine, admin = visit.principal.admins, visit.field("admin")
    return admin if mine is None else directory.admin_allowed(admin or visit.principal.name, mine) or ""


def _admin_input(visit: Visit, value: str) -> Input:
    found = admins.list_admins(visit.database, within=visit.principal.admins)
    names = [(one.name, one.name) for one in found if not one.is_api_user]
    none = [("", "none")] if visit.principal.admins is None else []
    return Input("admin", "Admin", "select", value, [*none, *names], "Whose settings hold for it, and who sees it.")


def _domain_state(one: Domain) -> Cell:
    return Cell("Locked", "critical", more=f"by {one.locked_by}") if one.locked else Cell("Active", "ok")


def _users_of(domain: str) -> str:
    return f"{USERS}?{urlencode({'f': 'domain', 'o': 'is', 'v': domain})}"


def _settings_of(field: str, value: str) -> str:
    return f"/outgoing/delivery-ips?{urlencode({'tab': 'settings', 'f': field, 'o': 'is', 'v': value, 'show': '1'})}"

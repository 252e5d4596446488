"""Domains, outgoing users, and the identities that were seen of them."""

from __future__ import annotations

from functools import partial
from typing import Annotated, Literal

from fastapi import Query

from hslpy.admin import queued_mail
from hslpy.admin.api.frame import SUPER, Body, Caller, Done, Paged, Refused, Which, needs, noun
from hslpy.egress.accounts import directory
from hslpy.egress.accounts.admins import Removed
from hslpy.egress.accounts.directory import Domain, User

router = noun("domains and users")

READ = needs("directory:read", SUPER, "admin", "read-only")
WRITE = needs("directory:write", SUPER, "admin")


class NewDomain(Body):
    """`alias_of`: the domain that it stands for."""

    name: str
    admin: str = ""
    alias_of: str = ""


class DomainChange(Body):
    new_name: str | None = None
    admin: str | None = None
    locked: bool | None = None


class Gone(Done):
    """`held`: how many recipients of its mail are held in the queues for a lock, null where that is not known."""

    held: int | None = 0


class NewUser(Body):
    """An empty `username` is the domain's own user; an address or a network needs no password."""

    domain: str
    username: str = ""
    password: str = ""
    hashed: str = ""


class UserChange(Body):
    """`locked` with its `reason` keeps a user from sending."""

    new_name: str | None = None
    password: str = ""
    hashed: str = ""
    locked: bool | None = None
    reason: str = ""


OfHeld = Annotated[
    Literal["", "release", "remove"],
    Query(description="what becomes of queued mail that is held for a lock: it is sent, or removed without a bounce"),
]


def own_domain(caller: Caller, name: str) -> Domain:
    """Give a domain that the caller may see. Raises NotFound for others'."""
    return directory.get_domain(caller.site.database, name, admins=caller.principal.admins)


@router.get("/domains", summary="List domains")
def list_domains(caller: Annotated[Caller, READ], page: Which, contains: str = "") -> Paged[Domain]:
    found = directory.list_domains(caller.site.database, admins=caller.principal.admins)
    wanted = contains.strip().lower()
    return page.of([one for one in found if any(wanted in name for name in (one.name, *one.aliases))])


@router.post("/domains", summary="Add a domain, or an alias of one", status_code=201)
def add_domain(caller: Annotated[Caller, WRITE], body: NewDomain) -> Domain:
    admin, who = body.admin, caller.principal
    if body.alias_of:
        own_domain(caller, body.alias_of)
    elif who.admins is not None:
        admin = directory.admin_allowed(admin or who.name, who.admins) or ""
    return directory.add_domain(caller.site.database, caller.actor, body.name, admin=admin, alias_of=body.alias_of)


@router.get("/domains/{name}", summary="Show a domain")
def show_domain(caller: Annotated[Caller, READ], name: str) -> Domain:
    return own_domain(caller, name)


@router.patch("/domains/{name}", summary="Rename, lock or unlock a domain, or give it another admin")
def set_domain(caller: Annotated[Caller, WRITE], name: str, body: DomainChange) -> Domain:
    own_domain(caller, name)
    return directory.set_domain(caller.site.database, caller.actor, name, admins=caller.principal.admins, **body.given)


@router.delete("/domains/{name}", summary="Remove a domain with its users and delivery IPs, or an alias alone")
def remove_domain(caller: Annotated[Caller, WRITE], name: str, only_look: bool = False, queued: OfHeld = "") -> Gone:
    own = own_domain(caller, name).name
    change = partial(directory.remove_domain, caller.site.database, caller.actor, name, admins=caller.principal.admins)
    return _removed(queued_mail.remove(caller.site, change, own, queued=queued, only_look=only_look))


@router.get("/users", summary="List outgoing users, of all domains or of one")
def list_users(caller: Annotated[Caller, READ], page: Which, domain: str = "", contains: str = "") -> Paged[User]:
    if domain:
        own_domain(caller, domain)
    found = directory.list_users(caller.site.database, domain or None, admins=caller.principal.admins)
    wanted = contains.strip().lower()
    return page.of([one for one in found if wanted in one.username.lower()])


@router.post("/users", summary="Add an outgoing user", status_code=201)
def add_user(caller: Annotated[Caller, WRITE], body: NewUser) -> User:
    own_domain(caller, body.domain)
    given = body.given
    mine = caller.principal.admins
    return directory.add_user(caller.site.database, caller.actor, given.pop("domain"), admins=mine, **given)


OfDomain = Annotated[str, Query(description="the domain of the user")]
Username = Annotated[str, Query(description="the user's name; empty: the domain's own user")]


@router.patch("/users", summary="Change an outgoing user's name or password, lock or unlock it")
def set_user(caller: Annotated[Caller, WRITE], domain: OfDomain, body: UserChange, username: Username = "") -> User:
    own_domain(caller, domain)
    database, actor, mine, given = caller.site.database, caller.actor, caller.principal.admins, body.given
    locked, reason = given.pop("locked", None), given.pop("reason", "")
    if reason and not locked:
        raise Refused("'reason' goes with 'locked'")
    found = None
    if given or locked is None:
        found = directory.set_user(database, actor, domain, username, admins=mine, **given)
        username = found.username
    if locked is not None:
        lock = directory.lock_user if locked else directory.unlock_user
        found = lock(database, actor, domain, username, *([reason] if locked else []), admins=mine)
    assert found is not None
    return found


@router.delete("/users", summary="Remove an outgoing user with its delivery IPs")
def remove_user(
    caller: Annotated[Caller, WRITE],
    domain: OfDomain,
    username: Username = "",
    only_look: bool = False,
    queued: OfHeld = "",
) -> Gone:
    own = own_domain(caller, domain).name
    mine = caller.principal.admins
    change = partial(directory.remove_user, caller.site.database, caller.actor, own, username, admins=mine)
    return _removed(queued_mail.remove(caller.site, change, own, username, queued=queued, only_look=only_look))


def _removed(found: Removed) -> Gone:
    return Gone(text=found.text, held=found.held)


@router.get("/identities", summary="List identities that a user's messages had, the latest first")
def list_identities(
    caller: Annotated[Caller, READ],
    domain: OfDomain,
    username: Username = "",
    beginning: str = "",
    most: Annotated[int, Query(ge=1, le=200)] = 20,
) -> list[str]:
    own_domain(caller, domain)
    return list(directory.identities(caller.site.database, domain, username, beginning, most))

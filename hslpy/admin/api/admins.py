"""Admins and their tokens."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel

from hslpy.admin.api.frame import SUPER, Body, Caller, Done, Paged, Refused, Which, needs, noun
from hslpy.egress.accounts import admins
from hslpy.egress.accounts.admins import SCOPES, Admin, Role, Token

router = noun("admins")

READ = needs("directory:read", SUPER, "admin", "read-only")
WRITE = needs("all")  # whoever may make admins may do everything
OWN = needs("directory:write", SUPER, "admin", "read-only")


class NewAdmin(Body):
    name: str
    password: str
    role: str = "admin"
    parent: str = ""
    is_api_user: bool = False
    allowed_calls: list[str] | None = None
    allowed_networks: list[str] | None = None


class AdminChange(Body):
    """What is left out stays; null takes a limit away."""

    new_name: str | None = None
    password: str | None = None
    role: str | None = None
    parent: str | None = None
    is_api_user: bool | None = None
    locked: bool | None = None
    allowed_calls: list[str] | None = None
    allowed_networks: list[str] | None = None


class NewToken(Body):
    """`expires_at` in Unix seconds, null: it does not expire. `admin` left out: one's own."""

    name: str
    scopes: list[str]
    admin: str = ""
    expires_at: float | None = None


class MadeToken(BaseModel):
    """A token with its text, which is shown this once."""

    token: Token
    text: str


@router.get("/admins", summary="List admins")
def list_admins(caller: Annotated[Caller, READ], page: Which) -> Paged[Admin]:
    return page.of(admins.list_admins(caller.site.database, within=caller.principal.admins))


@router.get("/admins/{name:path}", summary="Show an admin")
def show_admin(caller: Annotated[Caller, READ], name: str) -> Admin:
    return admins.get_admin(caller.site.database, name, within=caller.principal.admins)


@router.post("/admins", summary="Add an admin", status_code=201)
def add_admin(caller: Annotated[Caller, WRITE], body: NewAdmin) -> Admin:
    given = body.given
    return admins.add_admin(caller.site.database, caller.actor, given.pop("name"), **given)


@router.patch("/admins/{name:path}", summary="Change, lock or unlock an admin")
def set_admin(caller: Annotated[Caller, WRITE], name: str, body: AdminChange) -> Admin:
    return admins.set_admin(caller.site.database, caller.actor, name, **body.given)


@router.delete("/admins/{name:path}", summary="Remove an admin")
def remove_admin(caller: Annotated[Caller, WRITE], name: str) -> Done:
    return Done(text=admins.remove_admin(caller.site.database, caller.actor, name).text)


@router.get("/roles", summary="List the roles of admins")
def list_roles(caller: Annotated[Caller, needs(None)]) -> list[Role]:
    return list(admins.ROLES)


@router.get("/scopes", summary="List the scopes that tokens can have")
def list_scopes(caller: Annotated[Caller, needs(None)]) -> dict[str, str]:
    return dict(SCOPES)


def _own(caller: Caller, admin: str, *, changes: bool = False) -> str:
    """Give whose tokens are meant. Raises Refused for another's, unless a super-admin asks.

    A token that may not do everything changes its own admin's alone: the audit would name the other for what is done next.
    """
    who = caller.principal
    name = admin or who.name
    if who.role != SUPER and name.lower() != who.name.lower():
        raise Refused("only a super-admin sees or changes another's tokens", 403)
    if changes and name.lower() != who.name.lower() and who.scopes is not None and "all" not in who.scopes:
        raise Refused("a token without the scope all changes no tokens of others", 403)
    return name


@router.get("/tokens", summary="List tokens: a super-admin's are all, or those of one admin")
def list_tokens(caller: Annotated[Caller, READ], page: Which, admin: str = "") -> Paged[Token]:
    everyone = caller.principal.role == SUPER and not admin
    return page.of(admins.list_tokens(caller.site.database, None if everyone else _own(caller, admin)))


@router.post("/tokens", summary="Add a token; its text is in the answer, and nowhere else", status_code=201)
def add_token(caller: Annotated[Caller, OWN], body: NewToken) -> MadeToken:
    name = _own(caller, body.admin, changes=True)
    if caller.principal.scopes is not None and not set(body.scopes) <= caller.principal.scopes | _all(caller):
        raise Refused("a token cannot make another that may do more", 403)
    text, token = admins.add_token(
        caller.site.database, caller.actor, name, body.name, body.scopes, expires_at=body.expires_at
    )
    return MadeToken(token=token, text=text)


def _all(caller: Caller) -> frozenset[str]:
    return frozenset(SCOPES) if "all" in (caller.principal.scopes or ()) else frozenset()


@router.delete("/tokens", summary="Remove a token: it can be used no more")
def remove_token(caller: Annotated[Caller, OWN], name: str, admin: str = "") -> Done:
    owner = _own(caller, admin, changes=True)
    return Done(text=admins.remove_token(caller.site.database, caller.actor, owner, name).text)

"""Who is signed in, and their own password."""

from __future__ import annotations

import asyncio
from typing import Annotated

from pydantic import BaseModel

from hslpy.admin.api.frame import Body, Caller, Done, Refused, needs, noun
from hslpy.admin.who import LOCAL_NAME, sign_in
from hslpy.egress.accounts import admins
from hslpy.egress.accounts.admins import Role

router = noun("session")


class Me(BaseModel):
    """Who calls. `admins` are those whose rows it sees, null: of all; `scopes` null: all that the role allows."""

    name: str
    role: Role
    client: str
    scopes: list[str] | None
    admins: list[str] | None


class NewPassword(Body):
    old: str
    new: str


@router.get("/session", summary="Say who calls, and what they may do")
def read(caller: Annotated[Caller, needs(None)]) -> Me:
    who = caller.principal
    scopes = None if who.scopes is None else sorted(who.scopes)
    return Me(
        name=who.name,
        role=who.role,
        client=caller.client,
        scopes=scopes,
        admins=None if who.admins is None else sorted(who.admins),
    )


@router.put("/session/password", summary="Change one's own password; other sessions end")
async def set_password(caller: Annotated[Caller, needs(None)], body: NewPassword) -> Done:
    name = caller.principal.name
    if caller.principal.scopes is not None or name == LOCAL_NAME:
        raise Refused("sign in with a password to change it", 403)
    await sign_in(caller.site, name, body.old, caller.source_address)
    await asyncio.to_thread(admins.set_admin, caller.site.database, caller.actor, name, password=body.new)
    return Done(text="the password was changed")

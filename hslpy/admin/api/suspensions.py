"""Addresses that are not used for now."""

from __future__ import annotations

from typing import Annotated

from fastapi import Query as Asked

from hslpy.admin.api.frame import Body, Caller, needs, noun
from hslpy.egress.reputation import suspensions
from hslpy.egress.reputation.suspensions import Lifted, Suspended

router = noun("suspensions")

READ = needs("ips:read")
WRITE = needs("ips:write")


class Suspend(Body):
    """`node` empty: on all servers. `hours` null: until it is lifted."""

    address: str
    node: str = ""
    hours: float | None = None
    reason: str = ""


@router.get("/suspensions", summary="List the addresses that are not used for now, and why")
def list_all(caller: Annotated[Caller, READ]) -> list[Suspended]:
    return list(suspensions.suspensions(caller.site.database, caller.site.clock.time()))


@router.post("/suspensions", summary="Send nothing from an address for a while", status_code=201)
def suspend(caller: Annotated[Caller, WRITE], body: Suspend) -> Suspended:
    database, actor = caller.site.database, caller.actor
    return suspensions.suspend(database, actor, body.address, node=body.node, hours=body.hours, reason=body.reason)


@router.delete("/suspensions/{address}", summary="Use an address again that was suspended")
def lift(
    caller: Annotated[Caller, WRITE],
    address: str,
    node: Annotated[
        str | None, Asked(description="only what is suspended for this server, empty: for all; left out: all of it")
    ] = None,
) -> Lifted:
    return suspensions.lift(caller.site.database, caller.actor, address, node=node)

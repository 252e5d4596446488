"""HELO names of addresses."""

from __future__ import annotations

import asyncio
from typing import Annotated

from pydantic import BaseModel

from hslpy.admin.api.frame import Body, Caller, needs, noun
from hslpy.egress.addresses import helos
from hslpy.egress.addresses.helos import Direction, Effective

router = noun("HELO names")


class Helo(Body):
    """An empty name removes the one that was set: it is the reverse DNS name again."""

    helo: str = ""


class HeloChanged(BaseModel):
    effective: Effective
    warnings: list[str]


@router.get("/helos", summary="List the HELO names that were set by hand")
def list_helos(caller: Annotated[Caller, needs("ips:read")], direction: Direction = "outgoing") -> list[Effective]:
    with caller.site.database.read() as session:
        return list(helos.list_helos(session, caller.site.clock.time(), direction=direction))


@router.get("/helos/{address}", summary="Show the HELO name in force for an address")
def get_helo(caller: Annotated[Caller, needs("ips:read")], address: str, direction: Direction = "outgoing") -> Effective:
    with caller.site.database.read() as session:
        return helos.get_helo(session, address, caller.site.clock.time(), direction=direction)


@router.put("/helos/{address}", summary="Set the HELO name of an address on all nodes, or remove it")
async def set_helo(
    caller: Annotated[Caller, needs("ips:write")], address: str, body: Helo, direction: Direction = "outgoing"
) -> HeloChanged:
    site = caller.site
    seen = await helos.look_before(site.resolver, address, body.helo) if site.resolver is not None else None

    def work() -> HeloChanged:
        told = {"ip": address, "ehlo": body.helo, "direction": direction}
        with site.database.change(caller.actor, "ip ehlo", told) as change:
            warnings = helos.set_helo(change, address, body.helo, direction=direction, seen=seen)
            change.result = "\n".join(warnings)
            change.flush()
            effective = helos.get_helo(change, address, site.clock.time(), direction=direction)
        return HeloChanged(effective=effective, warnings=list(warnings))

    return await asyncio.to_thread(work)

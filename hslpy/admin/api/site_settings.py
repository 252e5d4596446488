"""The site's settings, and the record of what was done."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import Body as JsonBody

from hslpy.admin.api.frame import Caller, Paged, Which, needs, noun
from hslpy.egress.accounts import site
from hslpy.egress.delivery_ips.queries import pages_of
from hslpy.egress.store import audit
from hslpy.egress.store.audit import Entry

router = noun("site")


@router.get("/site", summary="List the site's settings with their values and what they mean")
def list_rows(caller: Annotated[Caller, needs("site:read")]) -> list[site.Row]:
    return list(site.rows(caller.site.database))


@router.patch("/site", summary="Change settings by their keys, all or none; null sets a default again")
def change(caller: Annotated[Caller, needs("site:write")], values: Annotated[dict[str, Any], JsonBody()]) -> list[site.Row]:
    return list(site.change(caller.site.database, caller.actor, values))


@router.get("/audit", summary="List what was done, the latest first")
def list_audit(
    caller: Annotated[Caller, needs("site:read")],
    page: Which,
    actor: str = "",
    client: str = "",
    action: str = "",
    contains: str = "",
    since: float | None = None,
    until: float | None = None,
) -> Paged[Entry]:
    found, total = audit.entries(
        caller.site.database,
        actor=actor,
        client=client,
        action=action,
        contains=contains,
        since=since,
        until=until,
        limit=page.size,
        offset=(page.number - 1) * page.size,
    )
    return Paged(items=list(found), total=total, page=page.number, pages=pages_of(total, page.size))

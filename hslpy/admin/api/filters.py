"""Rules that one has saved, by the page that they are for."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field

from hslpy.admin.api.frame import Body, Caller, Done, needs, noun
from hslpy.egress.delivery_ips import queries

router = noun("filters")

MINE = needs(None)


class Filter(Body):
    """A rule is `[field, operator, value]`."""

    rules: list[list[str]] = Field(default_factory=list)
    match: str = "all"
    sort: str = ""
    per_page: int = queries.PER_PAGE[0]
    columns: list[str] = Field(default_factory=list)


@router.get("/filters/{page}", summary="List one's saved filters of a page, by name")
def list_filters(caller: Annotated[Caller, MINE], page: str) -> dict[str, dict[str, Any]]:
    found = queries.saved_filters(caller.site.database, caller.principal.name, page)
    return {name: query.as_json() for name, query in found.items() if name != queries.LAST}


@router.put("/filters/{page}/{name}", summary="Save a filter, in the place of one of that name")
def save(caller: Annotated[Caller, MINE], page: str, name: str, body: Filter) -> Done:
    query = queries.query_of(body.model_dump())
    queries.save_filter(caller.site.database, caller.principal.name, page, name, query)
    return Done(text=f"'{name}' was saved")


@router.delete("/filters/{page}/{name}", summary="Remove a saved filter")
def remove(caller: Annotated[Caller, MINE], page: str, name: str) -> Done:
    queries.remove_filter(caller.site.database, caller.principal.name, page, name)
    return Done(text=f"'{name}' was removed")

"""The block lists that addresses are checked on."""

from __future__ import annotations

import asyncio
from typing import Annotated, Literal

from fastapi import Query as Asked
from fastapi.responses import Response
from pydantic import BaseModel, Field

from hslpy.admin.api.frame import (
    Body,
    Caller,
    CsvFile,
    Done,
    Id,
    ManyIds,
    Paged,
    Ticket,
    Unavailable,
    csv_reply,
    needs,
    noun,
)
from hslpy.admin.api.rules import Rules, asked_rows
from hslpy.egress.delivery_ips.queries import pages_of
from hslpy.egress.reputation import block_lists, page_tables
from hslpy.egress.reputation.block_lists import BlockList, Draft, Import, Outcome
from hslpy.egress.reputation.checker import ReputationChecker

router = noun("block lists")

READ = needs("reputation:read")
WRITE = needs("reputation:write")


class NewList(Body):
    """`domain` may be pasted from a page. `codes` is text such as `127.0.0.2 spam source`, a line each.

    A list that does not pass its test is refused, unless `untested` says `disabled` or `anyway`.
    """

    name: str
    domain: str
    families: list[int] | None = None
    codes: str = ""
    kind: str = ""
    key: str = ""
    removal_url: str = ""
    untested: Literal["ask", "disabled", "anyway"] = "ask"


class ListChange(Body):
    """What is left out stays; a `key` is shown as a mask, and stays where that is given."""

    name: str | None = None
    domain: str | None = None
    families: list[int] | None = None
    codes: str | None = None
    kind: str | None = None
    key: str | None = None
    removal_url: str | None = None


class Ids(Body):
    ids: ManyIds


class Switch(Ids):
    enabled: bool


class Drafted(BaseModel):
    """A list as it would be added; `warning` says what is known against it."""

    name: str
    zone: str
    families: list[int]
    kind: str
    warning: str


class Several(BaseModel):
    """What became of each list. `undo` takes it back, for a while; empty: there is nothing to take back."""

    outcomes: list[Outcome]
    undo: str = ""


class Imported(BaseModel):
    text: str
    rows: list[block_lists.ImportRow] = Field(default_factory=list)


def checker(caller: Caller) -> ReputationChecker:
    """Raises Unavailable."""
    if caller.site.reputation is None:
        raise Unavailable("block lists are asked by the server; start it with `hslpy serve`")
    return caller.site.reputation


def _draft(caller: Caller, body: NewList) -> Draft:
    given = body.model_dump(exclude={"name", "domain", "untested"})
    with caller.site.database.read() as session:
        return block_lists.draft(session, body.name, body.domain, **given)


@router.get("/block-lists", summary="List block lists by rules, a page at a time")
def list_lists(caller: Annotated[Caller, READ], query: Rules) -> Paged[BlockList]:
    found = page_tables.lists(caller.site.database, query)
    total = len(found.ids)
    rows = asked_rows(query, found.query.page, found.rows)
    return Paged(items=rows, total=total, page=query.page, pages=pages_of(total, query.per_page))


@router.get("/block-lists/export.csv", summary="Export block lists as CSV, without their keys")
def export(caller: Annotated[Caller, READ], id: Annotated[list[int], Asked()] = []) -> Response:  # noqa: B006
    with caller.site.database.read() as session:
        return csv_reply(block_lists.export_csv(session, id or None), "dnsbl.csv")


@router.post("/block-lists/draft", summary="Say what adding a list would come to; nothing is changed")
def draft(caller: Annotated[Caller, WRITE], body: NewList) -> Drafted:
    found = _draft(caller, body)
    return Drafted(
        name=found.name, zone=found.zone, families=list(found.families), kind=found.meaning.kind, warning=found.warning
    )


@router.post("/block-lists", summary="Test a list and add it", status_code=201)
async def add(caller: Annotated[Caller, WRITE], body: NewList) -> BlockList:
    wanted = await asyncio.to_thread(_draft, caller, body)
    return await checker(caller).add(caller.actor, wanted, body.untested)


@router.post("/block-lists/import", summary="Add and rename lists by a CSV file, or say what that would come to")
def load(caller: Annotated[Caller, WRITE], file: CsvFile, preview: bool = False) -> Imported:
    found: Import = block_lists.import_csv(caller.site.database, caller.actor, file, preview=preview)
    return Imported(text=found.text, rows=list(found.rows))


@router.post("/block-lists/restore", summary="Bring back the lists that come with hslpy and were removed")
def restore(caller: Annotated[Caller, WRITE]) -> Done:
    number = block_lists.restore_defaults(caller.site.database, caller.actor)
    return Done(text=f"{number} {'list was' if number == 1 else 'lists were'} restored")


@router.post("/block-lists/enable", summary="Switch lists on or off")
def enable(caller: Annotated[Caller, WRITE], body: Switch) -> Several:
    outcomes, ticket = block_lists.set_enabled(caller.site.database, caller.actor, body.ids, body.enabled)
    return Several(outcomes=outcomes, undo=ticket)


@router.post("/block-lists/undo", summary="Take back a switching of one's own")
def undo(caller: Annotated[Caller, WRITE], body: Ticket) -> Several:
    outcomes, _ = block_lists.undo(caller.site.database, caller.actor, body.undo)
    return Several(outcomes=outcomes)


@router.post("/block-lists/remove", summary="Remove lists; those that come with hslpy can be had back")
def remove(caller: Annotated[Caller, WRITE], body: Ids) -> Several:
    return Several(outcomes=block_lists.remove(caller.site.database, caller.actor, body.ids))


@router.patch("/block-lists/{id}", summary="Change a list")
def edit(caller: Annotated[Caller, WRITE], id: Id, body: ListChange) -> BlockList:
    changes = {name: value for name, value in body.given.items() if value is not None}
    return block_lists.edit(caller.site.database, caller.actor, id, changes)


@router.post("/block-lists/{id}/test", summary="Ask a list for its test entries now")
async def test(caller: Annotated[Caller, WRITE], id: Id) -> BlockList:
    return await checker(caller).test(id)

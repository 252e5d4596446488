"""What block lists said of addresses, and checks of them that are under way."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import asdict
from typing import Annotated

from fastapi import Header
from fastapi import Query as Asked
from fastapi.responses import Response, StreamingResponse
from pydantic import BaseModel

from hslpy.admin.api.block_lists import checker
from hslpy.admin.api.frame import Body, Caller, Id, Paged, csv_reply, needs, noun
from hslpy.admin.api.rules import Rules, asked_rows
from hslpy.admin.event_stream import message, stream_of
from hslpy.egress.delivery_ips.queries import pages_of
from hslpy.egress.reputation import listings, page_tables
from hslpy.egress.reputation.block_lists import BlockList
from hslpy.egress.reputation.checker import ReputationChecker
from hslpy.egress.reputation.jobs import Progress
from hslpy.egress.reputation.listings import Row
from hslpy.egress.rules.names import canonical_address

router = noun("reputation")

READ = needs("reputation:read")
WRITE = needs("reputation:write")


class Start(Body):
    """Which addresses to check on which lists; null: all. `anyway`: results that still hold are asked for again too."""

    addresses: list[str] | None = None
    lists: list[int] | None = None
    anyway: bool = False


class Estimated(BaseModel):
    queries: int
    duration_s: float
    text: str


class Past(BaseModel):
    """A listing that is over."""

    list_name: str
    zone: str
    codes: list[str]
    from_at: float
    to_at: float


class Results(Paged[Row]):
    """Addresses by the lists that are enabled; `cells` of a row are by the lists' ids. `fault`: why nothing can be told.

    `suspended`: why addresses are not used for now.
    """

    lists: list[BlockList]
    last_run: Progress | None
    fault: str
    suspended: dict[str, str]


@router.get("/reputation", summary="List the results of addresses on all lists that are enabled")
def matrix(caller: Annotated[Caller, READ], query: Rules, only_listed: bool = False) -> Results:
    found = page_tables.matrix(caller.site.database, query, caller.site.clock.time(), only_listed=only_listed)
    total = len(found.addresses)
    return Results(
        items=asked_rows(query, found.query.page, found.rows),
        total=total,
        page=query.page,
        pages=pages_of(total, query.per_page),
        lists=list(found.lists),
        last_run=found.last_run,
        fault=found.fault,
        suspended=dict(found.suspended),
    )


@router.get("/reputation/export.csv", summary="Export the results as CSV")
def export(caller: Annotated[Caller, READ], only_listed: bool = False) -> Response:
    with caller.site.database.read() as session:
        return csv_reply(listings.export_csv(session, only_listed=only_listed), "reputation.csv")


@router.get("/reputation/history/{address}", summary="List the listings of an address that are over, the latest first")
def history(caller: Annotated[Caller, READ], address: str) -> list[Past]:
    with caller.site.database.read() as session:
        return [
            Past(list_name=one.list_name, zone=one.zone, codes=list(one.codes), from_at=one.from_at, to_at=one.to_at)
            for one in listings.history(session, canonical_address(address))
        ]


@router.get("/reputation/estimate", summary="Say what checking so many addresses on so many lists costs")
def estimate(
    caller: Annotated[Caller, READ], addresses: Annotated[int, Asked(ge=0)], lists: Annotated[int, Asked(ge=0)]
) -> Estimated:
    found = checker(caller).estimate(addresses, lists)
    return Estimated(queries=found.queries, duration_s=found.duration_s, text=found.text)


@router.post("/reputation/jobs", summary="Begin to check addresses on lists", status_code=201)
async def start(caller: Annotated[Caller, WRITE], body: Start) -> Progress:
    job = await checker(caller).start(caller.principal.name, body.addresses, body.lists, anyway=body.anyway)
    return job.progress


@router.get("/reputation/jobs", summary="List the checks under way and the latest that are done")
async def list_jobs(caller: Annotated[Caller, READ]) -> list[Progress]:
    return [one.progress for one in checker(caller).jobs]


@router.get("/reputation/jobs/{id}", summary="Say how far a check is")
async def show_job(caller: Annotated[Caller, READ], id: Id) -> Progress:
    return checker(caller).job(id).progress


@router.delete("/reputation/jobs/{id}", summary="Stop a check; what was found so far is kept")
async def stop(caller: Annotated[Caller, WRITE], id: Id) -> Progress:
    return await checker(caller).stop(id)


@router.get(
    "/reputation/jobs/{id}/events",
    summary="Follow a check, as server-sent events: `cell` for each result, `end` with how far it came",
    response_class=StreamingResponse,
    responses={200: {"content": {"text/event-stream": {"schema": {"type": "string"}}}}},
)
async def follow(
    caller: Annotated[Caller, READ],
    id: Id,
    after: Annotated[int, Asked(ge=0, description="the number of the last event that is known")] = 0,
    last_event_id: Annotated[str, Header()] = "",
) -> StreamingResponse:
    found = checker(caller)
    found.job(id)
    known = int(last_event_id) if last_event_id.isascii() and last_event_id.isdigit() else after
    return stream_of(_messages(found, id, known))


async def _messages(found: ReputationChecker, id: int, after: int) -> AsyncIterator[str]:
    async for event in found.follow(id, after):
        yield message(asdict(event), id=event.number, event="cell")
    yield message(asdict(found.job(id).progress), event="end")

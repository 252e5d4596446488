"""The tab "Reputation check": addresses by block lists, checked while one looks on. In: visits. Out: pages, a stream.

All who look see the same jobs: what happens is told to each over one connection, whoever began it. Without a script each
button is a form, and a page comes back when the check is done. Source: sections B5, B9 and B10 of the specification of
delivery IPs.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any
from urllib.parse import urlencode

from fastapi.responses import Response

from hslpy.admin.event_stream import message, stream_of
from hslpy.admin.pages.delivery_ips import PATH, TITLE, tab, tabs
from hslpy.admin.pages.listing import Listing, query_from
from hslpy.admin.pages.table import page
from hslpy.admin.pages.visit import Visit
from hslpy.egress.accounts import site
from hslpy.egress.accounts.admins import Role
from hslpy.egress.delivery_ips.queries import pages_of
from hslpy.egress.reputation import block_lists, listings, page_tables
from hslpy.egress.reputation.block_lists import BlockList
from hslpy.egress.reputation.checker import AGAIN_S, MOST_CELLS, ReputationChecker
from hslpy.egress.reputation.jobs import Event, Job
from hslpy.egress.reputation.listings import OwnAddress, counted
from hslpy.egress.reputation.page_tables import ADDRESS_FIELDS, history, matrix
from hslpy.egress.rules.names import NotFound, Refused

HERE = f"{PATH}/reputation"
COLUMNS: Mapping[str, str] = {"address": "Address", "result": "Summary"}
VIEWERS: Sequence[Role] = ("super-admin", "read-only")
ASK_QUERIES, ASK_S = 1000, 60.0  # a check larger than that is asked about first
WAIT_S = 12.0  # how long a page without a script waits for a check; one cell takes 8 s at most
TELL_S = 0.3  # between two messages of a stream
STREAM_S = 300.0  # then the browser connects again, and is asked who it is

TONES: Mapping[str, str] = {
    "clean": "ok", "listed": "critical", "refused": "warning", "rewritten": "unknown", "unknown": "unknown",
    "no answer": "unknown", "not usable": "warning", "not applicable": "plain", "private": "plain", "not checked": "plain",
    "queued": "busy", "checking": "busy",
}  # fmt: skip
UNDER_WAY: Mapping[str, str] = {"queued": "Queued", "checking": "Checking…"}


def tone_of(status: str, severity: str) -> str:
    """Give the tone of a badge: a listing is as bad as its severity."""
    if status == "listed":
        return {"critical": "critical", "warning": "critical", "information": "info"}.get(severity, "info")
    return TONES.get(status, "unknown")


def short(word: str) -> str:
    """Give a state as a cell has it; its detail says more."""
    return word.partition(":")[0]


def checker_of(visit: Visit) -> ReputationChecker:
    """Raises Refused where no checks can be run."""
    if visit.site.reputation is None:
        raise Refused("checks cannot be run by this process", 503)
    return visit.site.reputation


# The page


@tab("reputation", "Reputation check", VIEWERS)
def reputation_tab(visit: Visit) -> Response:
    picked = visit.asked_all("select")
    if picked and not visit.asked("f"):
        rules = [pair for one in picked for pair in (("f", "address"), ("o", "is"), ("v", one), ("select", one))]
        return visit.redirect(f"{PATH}?{urlencode([('tab', 'reputation'), ('match', 'any'), *rules, ('show', '1')])}")
    only_listed = visit.asked("listed") == "1"
    fixed = {"tab": "reputation", "listed": "1" if only_listed else "", "job": visit.asked("job")}
    listing = Listing(
        visit, "reputation", PATH, ADDRESS_FIELDS, COLUMNS, tuple(COLUMNS), sortable=tuple(COLUMNS), fixed=fixed
    )
    if listing.redirect:
        return visit.redirect(listing.redirect)
    checker = visit.site.reputation
    jobs = checker.jobs if checker is not None else []
    told = {job.id: _position(job) for job in jobs}  # before the results are read: none is missed
    under_way = checker.under_way if checker is not None else {}
    found = None
    if listing.is_shown:
        try:
            found = matrix(visit.database, listing.query, visit.now, only_listed=only_listed)
            listing.found(len(found.addresses), found.query.page, _pages(listing, len(found.addresses)))
        except Refused as error:
            listing.refused(error)
    with visit.database.read() as session:
        settings = site.read(session)
    job = next((one for one in jobs if str(one.id) == visit.asked("job")), None)

    def suspension(address: str) -> str:
        if visit.principal.role != "super-admin":
            return ""
        return f"{PATH}/suspension?{urlencode({'address': address, 'to': listing.url()})}"

    return visit.render(
        "reputation.html",
        title=TITLE,
        tabs=tabs(visit, "reputation"),
        listing=listing,
        found=found,
        picked=frozenset(picked),
        only_listed=only_listed,
        settings=settings,
        may_check=checker is not None and visit.principal.role == "super-admin",
        has_checker=checker is not None,
        running=any(one.state == "running" for one in jobs),
        told=",".join(f"{number}:{count}" for number, count in told.items()),
        under_way=under_way,
        summary=job_text(job) if job is not None else "",
        notes=notes_of([job] if job is not None and job.state != "running" else []),
        state=_state(under_way),
        menu=lambda row, suspended: _menu(row.address, suspension(row.address.address), row.address.address in suspended),
        suspension=suspension,
        no_lists=page_tables.NO_LISTS,
        tone_of=tone_of,
        short=short,
        counted=counted,
    )


def _pages(listing: Listing, total: int) -> int:
    return pages_of(total, listing.query.per_page)


def _state(under_way: Mapping[tuple[str, int], str]) -> Any:
    """Give what makes the badge of a cell: tone, word, what it counts as, and whether it is under way."""

    def state(asked: str, list_id: int, cell: listings.Cell) -> tuple[str, str, str, str]:
        waiting = under_way.get((asked, list_id), "")
        if waiting:
            return "busy", UNDER_WAY[waiting], "not checked", waiting
        return tone_of(cell.status, cell.severity), short(cell.word), counted(cell.status, cell.severity), ""

    return state


def _menu(own: OwnAddress, suspension: str, is_suspended: bool) -> Sequence[Mapping[str, str]]:
    address = urlencode({"address": own.address})
    settings = urlencode(
        {"tab": "settings", "f": "ipv4" if own.family == 4 else "ipv6", "o": "is", "v": own.address, "show": "1"}
    )
    return (
        {"text": "Check", "post": f"{HERE}/check?{address}"},
        *([{"text": "Use again…" if is_suspended else "Suspend…", "href": suspension, "dialog": "1"}] if suspension else []),
        {"text": "Export results as CSV", "href": f"{HERE}/results.csv?{address}"},
        {"text": "Settings with this address", "href": f"{PATH}?{settings}"},
    )


# Checks


@page(f"{HERE}/check", methods=("POST",))
async def check(visit: Visit) -> Response:
    """Begin a check of what was chosen: a `cell`, a `list`, rows, a row by its menu, or a job's results `again`."""
    checker = checker_of(visit)
    addresses, ids, anyway = await asyncio.to_thread(_chosen, visit, checker)
    how_many = await asyncio.to_thread(_size, visit, addresses, ids)
    estimate = checker.estimate(*how_many)
    if estimate.queries > MOST_CELLS:
        raise Refused(f"{estimate.text} {MOST_CELLS:,} at a time is the limit: check fewer addresses or lists.")
    is_large = estimate.queries > ASK_QUERIES or estimate.duration_s > ASK_S
    if is_large and not visit.field("confirmed"):
        fields = {name: visit.fields(name) for name in ("cell", "list", "do", "id", "all", "query", "to", "again")}
        return visit.render(
            "reputation_confirm.html", title="Check on block lists", text=estimate.text, fields=fields, path=_here(visit)
        )
    job = await checker.start(visit.principal.name, addresses, ids, anyway=anyway)
    if "application/json" in visit.request.headers.get("accept", ""):
        return visit.json({"job": job.id})
    if not visit.is_dialog:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(WAIT_S):
                await checker.wait(job.id)
    back = visit.field("to", f"{PATH}?tab=reputation&show=1")
    return visit.redirect(_with_job(back, job.id))


def _here(visit: Visit) -> str:
    return visit.path + (f"?{visit.request.url.query}" if visit.request.url.query else "")


def _with_job(path: str, job_id: int) -> str:
    """Give the address of the tab with a job in it, whatever job it had before."""
    start, _, query = path.partition("?")
    kept = [part for part in query.split("&") if part and not part.startswith("job=")]
    return f"{start}?{'&'.join([*kept, f'job={job_id}'])}"


def _chosen(visit: Visit, checker: ReputationChecker) -> tuple[list[str] | None, list[int] | None, bool]:
    """Give addresses and lists to check, None for all, and whether although results still hold. Raises Refused."""
    if visit.field("again"):
        job = checker.job(visit.id("again"))
        noted = [event for event in job.latest.values() if event.note]
        if not noted:
            raise Refused("there is nothing to check again")
        return sorted({one.asked for one in noted}), sorted({one.list_id for one in noted}), True
    if visit.field("cell"):
        address, _, list_id = visit.field("cell").rpartition(" ")
        return [address], [_number(list_id)], visit.field("anyway") == "1"
    if visit.field("list"):
        return None, [_number(visit.field("list"))], False
    if visit.asked("address"):
        return [visit.asked("address")], None, False
    if visit.field("do") != "check":
        raise Refused("choose an action")
    if visit.field("all") == "1":
        listed = "listed=1" in visit.field("query").split("&")
        return (
            list(matrix(visit.database, query_from(visit.field("query")), visit.now, only_listed=listed).addresses),
            None,
            False,
        )
    chosen = list(visit.fields("id"))
    if not chosen:
        raise Refused("select at least one address")
    return chosen, None, False


def _number(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) < 19):
        raise NotFound("there is no such list")
    return int(text)


def _size(visit: Visit, addresses: list[str] | None, ids: list[int] | None) -> tuple[int, int]:
    """Give how many addresses and lists a check has."""
    with visit.database.read() as session:
        of_lists = len(ids) if ids is not None else sum(one.enabled for one in block_lists.lists(session))
        return len(set(addresses)) if addresses is not None else len(listings.own_addresses(session)), of_lists


@page(f"{HERE}/stop", methods=("POST",))
async def stop(visit: Visit) -> Response:
    """Stop all that is running, or one job."""
    checker = checker_of(visit)
    wanted = visit.field("job")
    running = [job for job in checker.jobs if job.state == "running" and wanted in ("", str(job.id))]
    for job in running:
        await checker.stop(job.id)
    if "application/json" in visit.request.headers.get("accept", ""):
        return visit.json({"stopped": [job.id for job in running]})
    done = sum(job.done for job in running)
    visit.banner(f"Stopped. {done} results were found; they are kept." if running else "Nothing was running.", "info")
    return visit.redirect(visit.field("to", f"{PATH}?tab=reputation&show=1"))


def job_text(job: Job) -> str:
    """Give how far a job is, or what it came to, in words."""
    total = f"{len(job.cells):,} result{'s' if len(job.cells) != 1 else ''}"
    latest = list(job.latest.values())
    listed = sum(counted(one.status, one.severity) == "listed" for one in latest)
    unknown = sum(counted(one.status, one.severity) == "unknown" for one in latest if one.state == "done")
    what = f"{listed} listed, {unknown} unknown"
    if job.state == "running":
        return f"Checking: {job.done:,} of {total}; {what}."
    how = {"done": "Checked", "stopped": "Stopped after", "failed": "The check failed after"}[job.state]
    return f"{how} {f'{job.done:,} of ' if job.done < len(job.cells) else ''}{total}: {what}."


def notes_of(jobs: Sequence[Job]) -> Sequence[Mapping[str, Any]]:
    """Give what to say of results that were not asked for again, and whether they can be, job by job."""
    found = []
    for job in jobs:
        noted = [one for one in job.latest.values() if one.note]
        if len(noted) == 1:
            text = f"{noted[0].asked}: {noted[0].note}."
        elif noted:
            text = f"{len(noted):,} results are of shortly before; the lists ask not to be queried more often."
        if noted:
            found.append({"job": job.id, "text": text, "again": any(one.age_s >= AGAIN_S for one in noted)})
    return found


# What happens, as it happens


@page(f"{HERE}/events", roles=VIEWERS)
async def events(visit: Visit) -> Response:
    """Tell what became of cells since `told` (`job:event,job:event`), as a stream of events or, by JSON, until now."""
    checker = checker_of(visit)
    told = _told(visit.request.headers.get("last-event-id", "") or visit.asked("told"))
    if "text/event-stream" not in visit.request.headers.get("accept", ""):
        return visit.json(_news(checker, told))
    return stream_of(_messages(checker, told))


async def _messages(checker: ReputationChecker, told: dict[int, int]) -> AsyncIterator[str]:
    """Give news until no job is running any more. What comes in quick succession is one message."""
    loop = asyncio.get_running_loop()
    news, begun = _news(checker, told), loop.time()
    yield message(news, id=news["told"])
    while news["running"] and loop.time() - begun < STREAM_S:
        await asyncio.sleep(TELL_S)
        news = _news(checker, told)
        if news["cells"] or news["ended"]:
            yield message(news, id=news["told"])


def _told(text: str) -> dict[int, int]:
    pairs = [part.split(":") for part in text.split(",") if part]
    if not all(len(pair) == 2 and all(one.isascii() and one.isdigit() and len(one) < 16 for one in pair) for pair in pairs):
        raise Refused("`told` is a list of job:event")
    return {int(job): int(event) for job, event in pairs}


def _news(checker: ReputationChecker, told: dict[int, int]) -> Mapping[str, Any]:
    """Give what happened since, and note in `told` that it was told."""
    cells: dict[tuple[str, int], Mapping[str, Any]] = {}
    jobs = checker.jobs
    ended: list[Job] = []
    for job in reversed(jobs):
        if job.id not in told:  # it has just begun: all of it waits
            cells |= {(asked, list_id): _queued(asked, list_id) for asked, list_id in job.cells}
        for event in job.events[told.get(job.id, 0) :]:
            cells[event.asked, event.list_id] = _told_cell(event)
        if job.state != "running" and told.get(job.id) != _position(job):
            ended.append(job)
        told[job.id] = _position(job)
    running = [job for job in jobs if job.state == "running"]
    return {
        "cells": list(cells.values()),
        "running": [{"job": job.id, "text": job_text(job), "done": job.done, "total": len(job.cells)} for job in running],
        "ended": [{"job": job.id, "text": job_text(job), "state": job.state} for job in ended],
        "notes": notes_of(ended),
        "told": ",".join(f"{number}:{count}" for number, count in told.items()),
    }


def _position(job: Job) -> int:
    """Give up to where a job has been told: how many events, and one more for its end."""
    return len(job.events) + (job.state != "running")


def _queued(asked: str, list_id: int) -> Mapping[str, Any]:
    return {"asked": asked, "list": list_id, "tone": "busy", "word": UNDER_WAY["queued"], "state": "queued"}


def _told_cell(event: Event) -> Mapping[str, Any]:
    told: dict[str, Any] = {"asked": event.asked, "list": event.list_id, "state": event.state}
    if event.state == "checking":
        return {**told, "tone": "busy", "word": UNDER_WAY["checking"]}
    if event.state == "stopped":  # what it was before is to be shown again
        return told
    tone = tone_of(event.status, event.severity)
    age = "just now" if event.age_s < 60 else f"{int(event.age_s // 60)} min ago"  # a result holds for an hour at most
    counts = counted(event.status, event.severity)
    return {**told, "tone": tone, "word": short(event.word), "counts": counts, "age": age}


# One cell


@page(f"{HERE}/cell", roles=VIEWERS)
def cell(visit: Visit) -> Response:
    """Show all that is known of an address on a list."""
    own, one, found = _cell(visit, visit.asked("address"), _number(visit.asked("list")))
    with visit.database.read() as session:
        past = history(session, own.asked, one.zone)
    age_s = visit.now - found.checked_at if found.checked_at is not None else None
    holds = found.expires_at is not None and found.expires_at > visit.now and found.status not in ("refused", "not usable")
    return visit.render(
        "reputation_cell.html",
        title=f"{own.address} on {one.name}",
        own=own,
        list=one,
        cell=found,
        tone=tone_of(found.status, found.severity),
        word=short(found.word),
        past=past,
        holds=holds and age_s is not None,
        may_anyway=age_s is not None and age_s >= AGAIN_S,
        may_check=visit.site.reputation is not None and visit.principal.role == "super-admin",
        back=visit.asked("to", f"{PATH}?tab=reputation&show=1"),
        codes=list(zip(found.codes, [*found.meanings, *[""] * len(found.codes)], strict=False)),
    )


def _cell(visit: Visit, address: str, list_id: int) -> tuple[OwnAddress, BlockList, listings.Cell]:
    with visit.database.read() as session:
        own = [one for one in listings.own_addresses(session) if address in (one.address, one.asked)]
        own.sort(key=lambda one: one.asked != address)
        if not own:
            raise NotFound(f"'{address}' is not a delivery IP")
        one = next((row for row in block_lists.lists(session) if row.id == list_id), None)
        cells = listings.rows(session, own[:1])[0].cells
        if one is None or list_id not in cells:
            raise NotFound(f"there is no list {list_id} that is enabled")
        return own[0], one, cells[list_id]


# Results as a file, and the daily run


@page(f"{HERE}/results.csv", roles=VIEWERS)
def results(visit: Visit) -> Response:
    with visit.database.read() as session:
        wanted = frozenset(visit.asked_all("address"))
        text = listings.export_csv(session, only_listed=visit.asked("listed") == "1", addresses=wanted or None)
    return visit.csv(text, "reputation.csv")


SCHEDULE = ("dnsbl_daily", "alert_addresses", "alert_webhook", "suspend_on_listing", "keep_last_address")


@page(f"{HERE}/schedule")
def schedule(visit: Visit) -> Response:
    return _schedule(visit, {row.key: row.value for row in site.rows(visit.database) if row.key in SCHEDULE}, {})


@page(f"{HERE}/schedule", methods=("POST",))
def set_schedule(visit: Visit) -> Response:
    given: dict[str, Any] = {key: visit.field(key) for key in SCHEDULE}
    for key in ("dnsbl_daily", "keep_last_address"):
        given[key] = "yes" if given[key] else "no"
    errors: dict[str, str] = {}
    for key, value in given.items():
        try:
            site.value_of(key, value)
        except Refused as error:
            errors[key] = error.message
    if errors or visit.is_resumed:
        return _schedule(visit, given, errors)
    site.change(visit.database, visit.actor, given)
    visit.banner("The daily check has been set.")
    return visit.redirect(visit.field("to", f"{PATH}?tab=reputation&show=1"))


def _schedule(visit: Visit, values: Mapping[str, Any], errors: Mapping[str, str]) -> Response:
    return visit.render(
        "reputation_schedule.html",
        400 if errors else 200,
        title="Daily check and alerts",
        values=values,
        errors=errors,
        back=visit.asked("to") or visit.field("to", f"{PATH}?tab=reputation&show=1"),
    )

"""The tables of the checks of block lists: addresses by lists, and the lists. In: queries. Out: rows, a page at a time.

Source: sections B5, B6 and B9 of the specification of delivery IPs. Must not know of HTML.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from sqlalchemy import or_, select
from sqlalchemy.orm import Session

from hslpy.egress.delivery_ips.queries import Field, Query, address_test, select_rows, text_test
from hslpy.egress.reputation import block_lists, listings
from hslpy.egress.reputation.block_lists import BlockList
from hslpy.egress.reputation.jobs import Progress
from hslpy.egress.reputation.listings import Row
from hslpy.egress.store.database import Database
from hslpy.egress.store.tables import Listing, ReputationRun, Suspension
from hslpy.records import record

FAMILIES = ("IPv4", "IPv6")
USES = ("used", "unused")
RESULTS = ("listed", "informational", "clean", "unknown", "not checked")

LIST_COLUMNS: Mapping[str, str] = {
    "name": "Name",
    "domain": "DNSBL domain",
    "status": "Status",
    "enabled": "Enabled",
    "families": "Families",
    "class": "Class",
    "needs_key": "Needs key",
    "source": "Source",
    "tested": "Last test",
}

NO_LISTS = "No lists configured."
ALL_REFUSE = "Lists refuse this server's DNS resolver. Use a resolver of your own or enter a key."
NO_DNS = "DNS is not answering; results are unknown, not clean."


def _choice(value: Callable[[Any], str]) -> Callable[[str, str], Callable[[Any], bool]]:
    return lambda _operator, wanted: lambda row: value(row) == wanted


def _address(operator: str, value: str) -> Callable[[Row], bool]:
    test = address_test(operator, value)
    return lambda row: test(row.address.address)


ADDRESS_FIELDS: Mapping[str, Field] = {
    one.key: one
    for one in (
        Field("hostname", "Hostname", "text", text_test(lambda row: row.address.nodes)),
        Field("address", "Address", "address", _address),
        Field("family", "Family", "choice", _choice(lambda row: f"IPv{row.address.family}"), FAMILIES),
        Field("use", "Used/unused", "choice", _choice(lambda row: "used" if row.address.used else "unused"), USES),
        Field("result", "Last result", "choice", _choice(lambda row: row.worst), RESULTS),
    )
}
LIST_FIELDS: Mapping[str, Field] = {
    one.key: one
    for one in (
        Field("name", "DNSBL name", "text", text_test(lambda one: (one.name,))),
        Field("domain", "DNSBL domain", "text", text_test(lambda one: (one.zone,))),
        Field("both", "Both", "text", text_test(lambda one: (one.name, one.zone))),
    )
}
_ADDRESS_ORDER: Mapping[str, Callable[[Row], Any]] = {
    "address": lambda row: (row.address.family, int(ipaddress.ip_address(row.address.address))),
    "hostname": lambda row: row.address.nodes,
    "ptr": lambda row: row.address.ptr.casefold(),
    "result": lambda row: RESULTS.index(row.worst),
}
_LIST_ORDER: Mapping[str, Callable[[BlockList], Any]] = {
    "name": lambda one: one.name.casefold(),
    "domain": lambda one: one.zone,
    "status": lambda one: one.word,
    "enabled": lambda one: not one.enabled,
    "families": lambda one: one.families,
    "class": lambda one: one.kind,
    "needs_key": lambda one: not one.needs_key,
    "source": lambda one: not one.is_builtin,
    "tested": lambda one: one.tested_at or 0.0,
}


@record
class Matrix:
    """A page of addresses on all lists that are enabled; `cells` of a row has one for each list, by its id.

    `addresses` are those of all pages. `last_run` is the latest that checked everything; `fault` says what keeps results
    from meaning anything, empty where there is nothing. `suspended` has why addresses are not used for now.
    """

    rows: Sequence[Row]
    lists: Sequence[BlockList]
    addresses: Sequence[str]
    query: Query
    last_run: Progress | None
    fault: str
    suspended: Mapping[str, str]


@record
class Lists:
    """A page of block lists; `ids` are those of all pages, `total` counts the lists without any rule."""

    rows: Sequence[BlockList]
    ids: Sequence[int]
    query: Query
    total: int


@record
class Past:
    """A listing that is over. Times are Unix seconds."""

    codes: tuple[str, ...]
    from_at: float
    to_at: float


def matrix(database: Database, query: Query, now: float, *, only_listed: bool = False) -> Matrix:
    """Give a page of the matrix at `now`, Unix seconds. Raises Refused, and BadRule for a rule that cannot be followed."""
    with database.read() as session:
        rows = [row for row in listings.rows(session) if not only_listed or row.worst in ("listed", "informational")]
        lists = [one for one in block_lists.lists(session) if one.enabled]
        found, page, query = select_rows(rows, query, ADDRESS_FIELDS, _ADDRESS_ORDER)
        cells = sum(len(row.cells) for row in rows)
        return Matrix(
            page,
            lists,
            [row.address.address for row in found],
            query,
            last_run(session, cells),
            _fault(session, lists),
            {one.address: one.reason for one in session.scalars(select(Suspension)) if one.until is None or one.until > now},
        )


def lists(database: Database, query: Query) -> Lists:
    """Give a page of the lists by their names, where no other order is wanted. Raises Refused, BadRule."""
    with database.read() as session:
        all_lists = block_lists.lists(session)
    found, page, query = select_rows(all_lists, query, LIST_FIELDS, _LIST_ORDER)
    return Lists(page, [one.id for one in found], query, len(all_lists))


def last_run(session: Session, cells: int) -> Progress | None:
    """Give the latest run that ended and checked all there is: a scheduled one, or one of so many cells."""
    run = ReputationRun
    found = select(run).where(run.state == "done", or_(run.kind == "scheduled", run.total >= max(cells, 1)))
    one = session.scalars(found.order_by(run.id.desc()).limit(1)).first()
    if one is None:
        return None
    return Progress(one.id, one.kind, one.by, one.state, one.total, one.done, one.counts, one.started_at, one.finished_at)


def history(session: Session, asked: str, zone: str) -> Sequence[Past]:
    """Give the listings of an address by a list that are over, the latest first."""
    found = listings.history(session, asked)
    return [Past(tuple(one.codes), one.from_at, one.to_at) for one in found if one.zone == zone]


def _fault(session: Session, lists: Sequence[BlockList]) -> str:
    """Give what keeps the results of all lists from meaning anything. Each is as its latest test or result has it."""
    if not lists:
        return NO_LISTS
    newest: dict[int, tuple[float, str]] = {
        one.id: (one.tested_at, {"refusing": "refused", "not answering": "no answer"}.get(one.status, ""))
        for one in lists
        if one.tested_at is not None
    }
    for list_id, at, status in session.execute(select(Listing.dnsbl_id, Listing.checked_at, Listing.status)):
        newest[list_id] = max(newest.get(list_id, (0.0, "")), (at, status))
    states = {newest.get(one.id, (0.0, ""))[1] for one in lists}
    return ALL_REFUSE if states == {"refused"} else NO_DNS if states == {"no answer"} else ""

"""The record of changes and calls, read. In: what is looked for. Out: entries, the latest first."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Text, cast, func, or_, select

from hslpy.egress.store import tables
from hslpy.egress.store.database import Database
from hslpy.records import record


@record
class Entry:
    """A row of `audit`; `at` in Unix seconds."""

    id: int
    at: float
    actor: str
    client: str
    source_address: str
    action: str
    arguments: Mapping[str, Any]
    result: str


def entries(
    database: Database,
    *,
    actor: str = "",
    client: str = "",
    action: str = "",
    contains: str = "",
    since: float | None = None,
    until: float | None = None,
    limit: int = 100,
    offset: int = 0,
) -> tuple[Sequence[Entry], int]:
    """Give some entries and how many there are in all. Compared without case: `action` by its beginning, `contains` by
    any part of action, arguments and result."""
    row = tables.Audit
    found = select(row)
    if actor:
        found = found.where(func.lower(row.actor) == actor.lower())
    if client:
        found = found.where(func.lower(row.client) == client.lower())
    if action:
        found = found.where(func.lower(row.action).startswith(action.lower(), autoescape=True))
    if contains:
        columns = (row.action, cast(row.arguments, Text), row.result, row.source_address)
        found = found.where(or_(*(func.lower(one).contains(contains.lower(), autoescape=True) for one in columns)))
    if since is not None:
        found = found.where(row.at >= since)
    if until is not None:
        found = found.where(row.at < until)
    with database.read() as session:
        total = session.scalar(select(func.count()).select_from(found.subquery())) or 0
        rows = session.scalars(found.order_by(row.id.desc()).limit(limit).offset(offset)).all()
        return [
            Entry(one.id, one.at, one.actor, one.client, one.source_address, one.action, one.arguments, one.result)
            for one in rows
        ], total

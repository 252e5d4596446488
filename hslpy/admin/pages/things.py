"""A list of things with the query rules above it: prepared here as cells, drawn by one template. In: rows. Out: a page."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TypeVar

from fastapi.responses import Response

from hslpy.admin.pages.listing import Listing
from hslpy.admin.pages.render import ago
from hslpy.admin.pages.visit import Visit
from hslpy.egress.accounts.directory import User
from hslpy.egress.accounts.nodes import Node
from hslpy.egress.delivery_ips.queries import Field, Query, pages_of, select_rows
from hslpy.egress.rules.names import Refused
from hslpy.records import record

T = TypeVar("T")


@record
class Cell:
    """What stands in a cell: a text, with a tone as a badge, with a link, with a line of more below it."""

    text: str
    tone: str = ""
    href: str = ""
    more: str = ""
    mono: bool = False


@record
class Column:
    """A column: its title, what a thing has there, by what it is sorted (empty: by the text)."""

    title: str
    cell: Callable[[Any], Cell | str]
    sort: Callable[[Any], Any] | None = None
    shown: bool = True


@record
class Things:
    """What a page lists: `menu` gives the entries of a row, `name` its name for who hears the page."""

    key: str
    path: str
    title: str
    text: str
    word: str
    words: str
    columns: Mapping[str, Column]
    fields: Sequence[Field]
    name: Callable[[Any], str]
    menu: Callable[[Any], Sequence[Mapping[str, str]]]
    buttons: Sequence[tuple[str, str]] = ()
    empty: str = ""
    fixed: Mapping[str, str] | None = None


def choice_test(text: Callable[[Any], str]) -> Callable[[str, str], Callable[[Any], bool]]:
    """Give the test of a row by a choice."""
    return lambda operator, value: lambda row: (text(row) == value) == (operator == "is")


STATE = Field(
    "state", "State", "choice", choice_test(lambda one: "locked" if one.locked else "active"), ("active", "locked")
)
"""The field of what can be locked."""


def lock_told(one: User | Node, now: float) -> str:
    """Say when somebody was locked, by whom and why: `2 hours ago by ops: spam`."""
    when = f"{ago(one.locked_at, now)} by {one.locked_by}" if one.locked_at is not None else ""
    return f"{when}: {one.locked_reason}" if one.locked_reason else when


def listed(visit: Visit, things: Things, rows: Iterable[T]) -> Response:
    """Give the page of a list."""
    columns, fields = things.columns, {one.key: one for one in things.fields}
    listing = Listing(
        visit,
        things.key,
        things.path,
        fields,
        {key: one.title for key, one in columns.items()},
        [key for key, one in columns.items() if one.shown],
        sortable=list(columns),
        fixed=things.fixed,
    )
    if listing.redirect:
        return visit.redirect(listing.redirect)
    listing.is_shown = True
    everything = list(rows)
    page: Sequence[T] = ()
    try:
        sorts = {key: one.sort or _by_text(one) for key, one in columns.items()}
        found, page, query = select_rows(everything, listing.query, fields, sorts)
        listing.found(len(found), query.page, pages_of(len(found), query.per_page))
    except Refused as error:
        listing.refused(error)
    context: dict[str, Any] = {
        "things": things,
        "listing": listing,
        "rows": page,
        "is_empty": not everything,
        "cells": lambda row: [_cell(columns[key].cell(row)) for key in listing.shown],
        "clear": listing.url(Query(), match="all"),
    }
    return visit.render("things.html", title=things.title, **context)


def _cell(found: Cell | str) -> Cell:
    return found if isinstance(found, Cell) else Cell(found)


def _by_text(column: Column) -> Callable[[Any], Any]:
    return lambda row: _cell(column.cell(row)).text.casefold()

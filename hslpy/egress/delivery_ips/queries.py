"""Rules of a query, as the page and the API have them: all or any of them, sorted, a page at a time. In: rules. Out: SQL.

The fields are the table's that is asked; `setting_list.py` has those of delivery settings. Where few rows are made of much,
as those of `page_tables.py`, rules become tests of rows instead. Source: section B1 of the specification of delivery
IPs. Must not know of HTML.
"""

from __future__ import annotations

import difflib
import ipaddress
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import date, datetime, timedelta
from typing import Any, Literal, TypeVar
from zoneinfo import ZoneInfo

from sqlalchemy import ColumnElement, and_, delete, func, not_, or_, select, true

from hslpy.egress.accounts.admins import admin_of
from hslpy.egress.rules.book import comparable
from hslpy.egress.rules.names import NotFound, Refused, canonical_address
from hslpy.egress.store import tables
from hslpy.egress.store.database import Database
from hslpy.records import record

T = TypeVar("T")
Kind = Literal["text", "choice", "address", "number", "date"]

OPERATORS: Mapping[Kind, Sequence[str]] = {
    "text": (
        "is",
        "is not",
        "contains",
        "does not contain",
        "starts with",
        "does not start with",
        "ends with",
        "does not end with",
        "is one of",
        "is empty",
        "is not empty",
    ),
    "choice": ("is", "is not"),
    "address": ("is", "is not", "is in network"),
    "number": ("=", "<", ">", "between"),
    "date": ("=", "<", ">", "between"),
}
PER_PAGE: Sequence[int] = (25, 50, 100, 500)
_NOTHING: Sequence[str] = ("is empty", "is not empty")
MOST_RULES = 50
MOST_VALUES = 20_000  # characters of all rules together: a list of some hundred addresses
MOST_FILTERS = 500  # of one admin: each page reads those of its own
LAST = ""
"""The name under which what an admin last asked is kept."""

Condition = Callable[[str, str], ColumnElement[bool]]
"""Of an operator, one of the positive ones, and a value: what a row has to satisfy."""
Test = Callable[[str, str], Callable[[Any], bool]]
"""The same for rows that are not in SQL."""


@record
class Field:
    """What can be asked for. `condition` makes SQL, or a test, of an operator and its value."""

    key: str
    label: str
    kind: Kind
    condition: Condition | Test
    choices: tuple[str, ...] = ()


@record
class Rule:
    field: str
    operator: str
    value: str = ""


@record
class Query:
    """What is asked. No rules give everything; `sort` is a column's key, with `-` before it for the largest first."""

    rules: tuple[Rule, ...] = ()
    match: Literal["all", "any"] = "all"
    sort: str = ""
    page: int = 1
    per_page: int = 25
    columns: tuple[str, ...] = ()

    def as_json(self) -> dict[str, Any]:
        rules = [[one.field, one.operator, one.value] for one in self.rules]
        out = {
            "rules": rules,
            "match": self.match,
            "sort": self.sort,
            "per_page": self.per_page,
            "columns": list(self.columns),
        }
        return {**out, "page": self.page}


class BadRule(Refused):
    """A rule cannot be followed: `index` is its place, from 0."""

    def __init__(self, index: int, message: str) -> None:
        super().__init__(message)
        self.index = index


def query_of(given: Mapping[str, Any]) -> Query:
    """Give the query that `Query.as_json` wrote, or somebody else did. Raises Refused."""
    try:
        rules = tuple(Rule(*map(str, one)) for one in given.get("rules", ()))
        page, per_page = int(given.get("page", 1)), int(given.get("per_page", PER_PAGE[0]))
        columns = tuple(map(str, given.get("columns", ())))
    except (TypeError, ValueError):
        raise Refused("this is no query") from None
    match = given.get("match", "all")
    if match not in ("all", "any"):
        raise Refused(f"'{match}' is neither 'all' nor 'any'")
    if per_page not in PER_PAGE:
        raise Refused(f"{per_page} rows a page cannot be: {', '.join(map(str, PER_PAGE))}")
    if len(rules) > MOST_RULES:
        raise Refused(f"{len(rules)} rules are more than {MOST_RULES}")
    if sum(len(one.field) + len(one.operator) + len(one.value) for one in rules) > MOST_VALUES:
        raise Refused(f"rules have {MOST_VALUES} characters at most")
    return Query(rules, match, str(given.get("sort", "")), max(page, 1), per_page, columns)


def condition_of(query: Query, fields: Mapping[str, Field]) -> ColumnElement[bool]:
    """Give what rows have to satisfy. Raises BadRule."""
    parts = [not_(one) if is_negated else one for one, is_negated in _parts(query, fields)]
    if not parts:
        return true()
    return and_(*parts) if query.match == "all" else or_(*parts)


def test_of(query: Query, fields: Mapping[str, Field]) -> Callable[[Any], bool]:
    """Give the test of a row, by fields whose conditions are tests. Raises BadRule."""
    parts = _parts(query, fields)
    together = all if query.match == "all" else any
    return lambda row: not parts or together(one(row) != is_negated for one, is_negated in parts)


def select_rows(
    rows: Iterable[T], query: Query, fields: Mapping[str, Field], sortable: Mapping[str, Callable[[T], Any]]
) -> tuple[Sequence[T], Sequence[T], Query]:
    """Give all rows that the rules hold for, in order, those of the page, and the query with the page that there is.

    Raises Refused, and BadRule for a rule that cannot be followed.
    """
    matches = test_of(query, fields)
    found = [row for row in rows if matches(row)]
    key = query.sort.removeprefix("-")
    if key and key not in sortable:
        raise Refused(f"the list cannot be sorted by '{key}'")
    if key:
        found.sort(key=sortable[key], reverse=query.sort.startswith("-"))
    page = min(query.page, pages_of(len(found), query.per_page))
    first = (page - 1) * query.per_page
    return found, found[first : first + query.per_page], replace(query, page=page)


def pages_of(total: int, per_page: int) -> int:
    """Give how many pages so many rows take, 1 where there is none."""
    return max(1, -(-total // per_page))


def _parts(query: Query, fields: Mapping[str, Field]) -> Sequence[tuple[Any, bool]]:
    """Give each rule's condition, and whether it must not hold. Raises BadRule."""
    parts = []
    for index, rule in enumerate(query.rules):
        field = fields.get(rule.field)
        if field is None:
            near = difflib.get_close_matches(rule.field, fields, 1)
            raise BadRule(index, f"there is no field '{rule.field}'" + (f"; did you mean '{near[0]}'?" if near else ""))
        if rule.operator not in OPERATORS[field.kind]:
            raise BadRule(index, f"'{rule.operator}' is no operator of {field.label}")
        if not rule.value.strip() and rule.operator not in _NOTHING:
            raise BadRule(index, f"{field.label}: a value is wanted")
        value = rule.value.strip()
        value = next((one for one in field.choices if one.lower() == value.lower()), value)
        if field.choices and value not in field.choices:
            raise BadRule(index, f"'{rule.value}' is no value of {field.label}: {', '.join(field.choices)}")
        operator, is_negated = _POSITIVE.get(rule.operator, (rule.operator, False))
        try:
            one = field.condition(operator, value)
        except Refused as error:
            raise BadRule(index, error.message) from None
        parts.append((one, is_negated))
    return parts


_POSITIVE: Mapping[str, tuple[str, bool]] = {
    "is not": ("is", True),
    "does not contain": ("contains", True),
    "does not start with": ("starts with", True),
    "does not end with": ("ends with", True),
    "is not empty": ("is empty", True),
}


def text_matches(operator: str, value: str) -> Callable[[str], bool]:
    """Give the test of a text, which compares without case."""
    wanted = comparable(value)
    several = [comparable(part.strip()) for part in re.split(r"[,;\n]", value) if part.strip()]
    tests: Mapping[str, Callable[[str], bool]] = {
        "is": lambda text: text == wanted,
        "contains": lambda text: wanted in text,
        "starts with": lambda text: text.startswith(wanted),
        "ends with": lambda text: text.endswith(wanted),
        "is one of": lambda text: text in several,
        "is empty": lambda text: not text,
    }
    return lambda text: tests[operator](comparable(text))


def text_condition(column: Any) -> Condition:
    """Give the conditions of a text in SQL; no text is an empty one."""
    column = func.lower(func.coalesce(column, ""))

    def condition(operator: str, value: str) -> ColumnElement[bool]:
        wanted = comparable(value)
        found: ColumnElement[bool]
        if operator == "is one of":
            found = column.in_([comparable(part.strip()) for part in re.split(r"[,;\n]", value) if part.strip()])
        elif operator == "contains":
            found = column.contains(wanted, autoescape=True)
        elif operator == "starts with":
            found = column.startswith(wanted, autoescape=True)
        elif operator == "ends with":
            found = column.endswith(wanted, autoescape=True)
        else:
            found = column == ("" if operator == "is empty" else wanted)
        return found

    return condition


def text_test(texts: Callable[[Any], Sequence[str]]) -> Test:
    """Give the test of a row by its texts, of which one has to match."""

    def test(operator: str, value: str) -> Callable[[Any], bool]:
        matches = text_matches(operator, value)
        return lambda row: any(map(matches, texts(row) or ("",)))

    return test


def choice_condition(column: Any, values: Mapping[str, Any]) -> Condition:
    """Give the condition of a column that has `values[choice]`."""
    return lambda _operator, value: column == values[value]


def date_condition(column: Any, zone: str) -> Condition:
    """Give the conditions of a time in Unix seconds, asked for by days of a zone."""

    def condition(operator: str, value: str) -> ColumnElement[bool]:
        days = [_day(part) for part in _bounds(operator, value)]
        first, after = _starts(days[0], zone), _starts(days[-1] + timedelta(days=1), zone)
        if operator == "<":
            return _checked(column < first)
        if operator == ">":
            return _checked(column >= after)
        return and_(column >= first, column < after)

    return condition


def address_test(operator: str, value: str) -> Callable[[str], bool]:
    """Give the test of an address: `is` one, or is in a network. Raises Refused for a value that is none."""
    if operator == "is":
        wanted = canonical_address(value)
        return lambda address: address == wanted
    try:
        network = ipaddress.ip_network(value, strict=False)
    except ValueError:
        raise Refused(f"'{value}' is not a network, such as 192.0.2.0/24 or 2001:db8::/32") from None
    return lambda address: ipaddress.ip_address(address) in network


def save_filter(database: Database, admin: str, page: str, name: str, query: Query) -> None:
    """Keep a query of an admin under a name, in the place of one of that name. Raises Refused, NotFound."""
    if len(name) > 64 or not name.isprintable():
        raise Refused("the name of a filter has 64 characters at most, and no control characters")
    if len(page) > 32 or not page.isprintable():
        raise NotFound("there is no such page")
    with database.keep() as session:
        owner = admin_of(session, admin)
        one = session.query(tables.SavedFilter).filter_by(admin_id=owner.id, page=page, name=name.strip()).one_or_none()
        if one is None:
            saved = select(func.count()).where(tables.SavedFilter.admin_id == owner.id)
            most = MOST_FILTERS if name != LAST else 2 * MOST_FILTERS  # lists keep these by themselves
            if (session.scalar(saved) or 0) >= most:
                raise Refused(f"{MOST_FILTERS} filters are kept at most; remove one first", 409)
            one = tables.SavedFilter(admin_id=owner.id, page=page, name=name.strip())
            session.add(one)
        one.rules = query.as_json()


def saved_filters(database: Database, admin: str, page: str) -> Mapping[str, Query]:
    """Give an admin's filters of a page by name; that of `LAST` is what was last asked, where it was kept."""
    with database.read() as session:
        saved = tables.SavedFilter
        query = select(saved.name, saved.rules).where(saved.admin_id == admin_of(session, admin).id, saved.page == page)
        return {name: query_of(rules) for name, rules in session.execute(query.order_by(saved.name))}


def remove_filter(database: Database, admin: str, page: str, name: str) -> None:
    with database.keep() as session:
        saved, owner = tables.SavedFilter, admin_of(session, admin)
        mine = (saved.admin_id == owner.id, saved.page == page, saved.name == name.strip())
        if session.scalar(select(saved.id).where(*mine)) is None:
            raise NotFound(f"there is no filter '{name.strip()}'")
        session.execute(delete(saved).where(*mine))


def _bounds(operator: str, value: str) -> Sequence[str]:
    if operator != "between":
        return [value]
    parts = [part.strip() for part in re.split(r"[,;]|\band\b|\.\.", value) if part.strip()]
    if len(parts) != 2:
        raise Refused(f"'{value}' has not the two values that 'between' wants: write `1, 5`")
    return parts


def _checked(condition: Any) -> ColumnElement[bool]:
    found: ColumnElement[bool] = condition
    return found


def _day(text: str) -> date:
    try:
        found = date.fromisoformat(text)
        if not date.min.year < found.year < date.max.year:  # the days beside it, and its hours in any zone, exist
            raise ValueError
        return found
    except ValueError:
        raise Refused(f"'{text}' is not a day, such as 2026-03-31") from None


def _starts(day: date, zone: str) -> float:
    return datetime(day.year, day.month, day.day, tzinfo=ZoneInfo(zone)).timestamp()

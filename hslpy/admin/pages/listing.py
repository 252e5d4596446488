"""Lists asked by rules: what the address of a page says, remembered and taken apart. In: a visit, fields. Out: a `Listing`.

The forms are plain GET forms, whose buttons add and remove rules on the server. `templates/blocks.html` draws them.
Source: section B1 of the specification of delivery IPs. Must not know what is listed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any
from urllib.parse import parse_qs, urlencode

from fastapi.responses import Response

from hslpy.admin.pages.table import EVERYBODY, page
from hslpy.admin.pages.visit import Visit
from hslpy.egress.delivery_ips.queries import (
    LAST,
    OPERATORS,
    PER_PAGE,
    BadRule,
    Field,
    Kind,
    Query,
    Rule,
    query_of,
    remove_filter,
    save_filter,
    saved_filters,
)
from hslpy.egress.rules.book import LEVEL_NAMES
from hslpy.egress.rules.names import Refused

KIND_NAMES: Mapping[Kind, str] = {
    "text": "Text",
    "choice": "Choice",
    "address": "Address",
    "number": "Number",
    "date": "Date",
}


class Listing:
    """A list with what is asked of it. `fixed` are arguments of its address that always stay; `key` names its filters.

    `redirect` is where the browser is to go instead, for a button that was pressed. The page fills in what it found by
    `found`, and what is wrong with a rule by `refused`.
    """

    page_sizes = PER_PAGE
    kind_names = KIND_NAMES

    def __init__(
        self,
        visit: Visit,
        key: str,
        path: str,
        fields: Mapping[str, Field],
        columns: Mapping[str, str],
        shown: Sequence[str],
        *,
        sortable: Sequence[str] = (),
        fixed: Mapping[str, str] | None = None,
        add_label: str = "New rule",
    ) -> None:
        self.key, self.path, self.columns = key, path, columns
        self.fields = list(fields.values())
        self.sortable, self.fixed, self.add_label = frozenset(sortable), dict(fixed or {}), add_label
        self.errors: dict[int | str, str] = {}
        self.column_error = self.filter_error = False
        self.redirect: str = ""
        self.total, self.pages = 0, 1
        self._by_key = fields
        self._default = shown
        name = visit.principal.name
        saved = saved_filters(visit.database, name, key)
        asked = visit.request.query_params
        self.is_shown = asked.get("show") == "1"
        self.query = self._asked(visit, saved.get(LAST, Query()))
        self.saved = [(one, self.url(query, show=True)) for one, query in saved.items() if one != LAST]
        if asked.get("do"):
            self._press(asked["do"], visit.asked_all("column"))
        if (asked.get("do") or self.is_shown) and self.query != saved.get(LAST, Query()) and not self.column_error:
            save_filter(visit.database, name, key, LAST, replace(self.query, page=1))

    @property
    def shown(self) -> Sequence[str]:
        """The columns to show, in their order."""
        return [one for one in self.columns if one in (self.query.columns or self._default)]

    @property
    def blank(self) -> Rule:
        first = self.fields[0]
        return Rule(first.key, OPERATORS[first.kind][0], "")

    @property
    def description(self) -> Mapping[str, Any]:
        """What the script has to know to change a rule without asking the server."""
        fields = {
            one.key: {
                "kind": one.kind,
                "choices": [(name, LEVEL_NAMES.get(name, name.capitalize())) for name in one.choices],
            }
            for one in self.fields
        }
        return {"fields": fields, "operators": {KIND_NAMES[kind]: found for kind, found in OPERATORS.items()}}

    def field(self, key: str) -> Field:
        return self._by_key.get(key, self.fields[0])

    def operators(self, kind: Kind) -> Sequence[tuple[str, Sequence[str]]]:
        """Give all operators by kind, those of `kind` first: without a script the field may change under them."""
        kinds = [kind, *(one for one in OPERATORS if one != kind and any(field.kind == one for field in self.fields))]
        return [(KIND_NAMES[one], OPERATORS[one]) for one in kinds]

    def found(self, total: int, page_number: int, pages: int) -> None:
        self.total, self.pages = total, pages
        self.query = replace(self.query, page=page_number)

    def refused(self, error: Refused) -> None:
        """Show what is wrong beside its rule. Raises the error where it is of no rule."""
        if not isinstance(error, BadRule):
            raise error
        self.errors[error.index] = error.message
        self.is_shown = False

    # addresses

    def arguments(self, query: Query | None = None, *, show: bool | None = None, **changed: Any) -> Mapping[str, Any]:
        """Give the arguments of an address: those of the query, changed; None leaves one out."""
        query = query or self.query
        out: dict[str, Any] = {**self.fixed, "match": query.match if query.match != "all" else ""}
        out |= {"f": [one.field for one in query.rules], "o": [one.operator for one in query.rules]}
        out["v"] = [one.value for one in query.rules]
        out |= {"sort": query.sort, "columns": ",".join(query.columns)}
        out["per_page"] = query.per_page if query.per_page != PER_PAGE[0] else ""
        out["page"] = query.page if query.page > 1 else ""
        out["show"] = "1" if (self.is_shown if show is None else show) else ""
        out |= changed
        return {key: value for key, value in out.items() if value is not None and value != "" and value != []}

    def url(self, query: Query | None = None, *, show: bool | None = None, **changed: Any) -> str:
        arguments = self.arguments(query, show=show, **changed)
        return self.path + (f"?{urlencode(arguments, doseq=True)}" if arguments else "")

    @property
    def query_string(self) -> str:
        """The query for a hidden field; `query_from` reads it."""
        return urlencode(self.arguments(show=False), doseq=True)

    def sorted_by(self, key: str) -> str:
        return self.url(sort=f"-{key}" if self.query.sort == key else key, page=None)

    def direction(self, key: str) -> str:
        """Give how the list is sorted by a column, as `aria-sort` says it."""
        return {key: "ascending", f"-{key}": "descending"}.get(self.query.sort, "")

    # what was pressed

    def _asked(self, visit: Visit, last: Query) -> Query:
        asked = visit.request.query_params
        if not any(name in asked for name in ("f", "match", "show", "do", "page", "sort", "per_page", "columns")):
            return replace(last, sort="", page=1)
        read = query_from(str(visit.request.url.query))
        columns = read.columns if "columns" in asked else last.columns
        known = tuple(one for one in columns if one in self.columns)
        sort = read.sort if read.sort.removeprefix("-") in self.sortable else ""
        return replace(read, columns=known, sort=sort)

    def _press(self, button: str, ticked: Sequence[str]) -> None:
        rules, show, arguments = list(self.query.rules), self.is_shown, self.query
        if button == "add":
            rules.append(self.blank)
        elif button.startswith("remove-") and button[7:] in map(str, range(len(rules))):
            rules.pop(int(button[7:]))
        elif button == "clear":
            rules, show = [], False
        elif button == "show":
            show, arguments = True, replace(arguments, page=1)
        elif button == "columns":
            columns = tuple(one for one in self.columns if one in ticked)
            if not columns:
                self.column_error = True
                return
            arguments = replace(arguments, columns=columns)
        elif button == "default-columns":
            arguments = replace(arguments, columns=())
        self.query = replace(arguments, rules=tuple(rules))
        match = "all" if button == "clear" else self.query.match
        self.query = replace(self.query, match=match)
        self.is_shown = show
        # An empty list of rules has to be said, or the last ones would be taken.
        self.redirect = self.url(match=match)


def query_from(text: str) -> Query:
    """Give the query that an address or a hidden field has. Raises Refused."""
    try:
        found = parse_qs(text, keep_blank_values=True, max_num_fields=500)
    except ValueError:
        raise Refused("this is no query") from None
    parts = [found.get(name, []) for name in "fov"]
    rules = list(zip(*parts, strict=False))
    given: dict[str, Any] = {name: found[name][0] for name in ("match", "sort", "page", "per_page") if found.get(name)}
    columns = [one for one in found.get("columns", [""])[0].split(",") if one]
    return query_of({**given, "rules": rules, "columns": columns})


@page("/filters/save", methods=("POST",), roles=EVERYBODY)
def save(visit: Visit) -> Response:
    name = visit.field("name").strip()
    if not name:
        raise Refused("a filter wants a name")
    save_filter(visit.database, visit.principal.name, visit.field("key")[:32], name, query_from(visit.field("query")))
    visit.banner(f"The filter '{name}' has been saved.")
    return visit.redirect(visit.field("to", "/"))


@page("/filters/remove", methods=("POST",), roles=EVERYBODY)
def remove(visit: Visit) -> Response:
    name = visit.field("name").strip()
    remove_filter(visit.database, visit.principal.name, visit.field("key"), name)
    visit.banner(f"The filter '{name}' has been removed.")
    return visit.redirect(visit.field("to", "/"))

"""Rules of a query as a URL has them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, TypeVar

from fastapi import Depends
from fastapi import Query as Asked

from hslpy.admin.api.frame import MOST_PAGE, MOST_PER_PAGE, Refused
from hslpy.egress.delivery_ips.queries import MOST_RULES, Query, Rule

T = TypeVar("T")


def query(
    rule: Annotated[list[str], Asked(description="`field:operator:value`, such as `domain:contains:example`")] = [],  # noqa: B006
    match: Annotated[str, Asked(description="`all` of the rules, or `any`")] = "all",
    sort: Annotated[str, Asked(description="a column; with `-` before it the largest first")] = "",
    page: Annotated[int, Asked(ge=1, le=MOST_PAGE)] = 1,
    per_page: Annotated[int, Asked(ge=1, le=MOST_PER_PAGE)] = 100,
    columns: Annotated[str, Asked(description="the columns that are wanted, with `,` between")] = "",
) -> Query:
    """Raises Refused."""
    if match not in ("all", "any"):
        raise Refused(f"'{match}' is neither 'all' nor 'any'")
    if len(rule) > MOST_RULES:
        raise Refused(f"{len(rule)} rules are more than {MOST_RULES}")
    rules = []
    for text in rule:
        field, colon, rest = text.partition(":")
        if not colon:
            raise Refused(f"'{text}' is no rule: field:operator:value")
        operator, _, value = rest.partition(":")
        rules.append(Rule(field.strip(), operator.strip(), value))
    chosen = tuple(one.strip() for one in columns.split(",") if one.strip())
    return Query(tuple(rules), match, sort, page, per_page, chosen)  # type: ignore[arg-type]


def asked_rows(asked: Query, shown: int, rows: Sequence[T]) -> list[T]:
    """Give the rows of the page that was asked for, of those of the page `shown`: none where that is the last instead.

    Who reads page after page until one is empty comes to an end.
    """
    return list(rows) if shown == asked.page else []


Rules = Annotated[Query, Depends(query)]

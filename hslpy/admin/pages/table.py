"""The pages, as rows: where each is, who may open it, where it stands in the navigation. In: functions. Out: the list.

A page is a function of a `Visit` that gives a reply. One that waits for something is `async`; the others run in threads.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

from fastapi.responses import Response

from hslpy.admin.pages.visit import Visit
from hslpy.egress.accounts.admins import ROLES, Role
from hslpy.records import record

SUPER: Sequence[Role] = ("super-admin",)
EVERYBODY: Sequence[Role] = ROLES
GROUPS: Sequence[str] = ("", "Outgoing", "Customers", "Server", "Access", "Account")
"""The headings of the navigation, in their order; the first one has none."""

Handler = Callable[[Visit], Response | Awaitable[Response]]


@record
class Page:
    """A path and what answers there. `title` is its entry in the navigation under `group`; without one it has none.

    `order` sorts the entries of a group. `is_open`: nobody has to have signed in.
    """

    path: str
    methods: tuple[str, ...]
    roles: tuple[Role, ...]
    handler: Handler
    title: str = ""
    group: str = ""
    order: int = 50
    is_open: bool = False


PAGES: list[Page] = []


def page(
    path: str,
    *,
    methods: Sequence[str] = ("GET",),
    roles: Sequence[Role] = SUPER,
    title: str = "",
    group: str = "",
    order: int = 50,
    is_open: bool = False,
) -> Callable[[Handler], Handler]:
    """Add a page to the list."""

    def add(handler: Handler) -> Handler:
        PAGES.append(Page(path, tuple(methods), tuple(roles), handler, title, group, order, is_open))
        return handler

    return add


def navigation(role: Role, path: str) -> Sequence[tuple[str, Sequence[tuple[str, str, bool]]]]:
    """Give the entries that a role sees, by heading: title, path, and whether it is the page at `path` or above it."""
    out = []
    entries = [one for one in PAGES if one.title and role in one.roles]
    here = max(
        (one.path for one in entries if path == one.path or path.startswith(one.path.rstrip("/") + "/")),
        key=len,
        default="",
    )
    for group in GROUPS:
        rows = sorted((one for one in entries if one.group == group), key=lambda one: (one.order, one.title))
        if rows:
            out.append((group, [(one.title, one.path, one.path == here) for one in rows]))
    return out

"""The record of changes and calls. In: visits. Out: a page: super-admins see all of it, others what they did themselves."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import urlencode
from zoneinfo import ZoneInfo

from fastapi.responses import Response

from hslpy.admin.pages.table import EVERYBODY, page
from hslpy.admin.pages.visit import Visit
from hslpy.egress.accounts import site
from hslpy.egress.store import audit

PATH = "/server/audit"
PER_PAGE = 50
FIELDS = ("actor", "client", "action", "contains", "since", "until")
CLIENTS = ("page", "api", "cli")


@page(PATH, roles=EVERYBODY, title="Audit", group="Server", order=30)
def show(visit: Visit) -> Response:
    sees_all = visit.principal.role == "super-admin"
    asked = {name: visit.asked(name).strip() for name in FIELDS}
    if not sees_all:
        asked["actor"] = visit.principal.name
    text = visit.asked("page", "1")
    number = max(int(text), 1) if text.isascii() and text.isdigit() and len(text) < 7 else 1
    with visit.database.read() as session:
        zone = site.read(session).time_zone
    errors: dict[str, str] = {}
    since, until = (_day(asked[name], zone, name, errors) for name in ("since", "until"))
    if until is not None:
        until += timedelta(days=1)
    rows, total = audit.entries(
        visit.database,
        actor=asked["actor"],
        client=asked["client"],
        action=asked["action"],
        contains=asked["contains"],
        since=since.timestamp() if since is not None else None,
        until=until.timestamp() if until is not None else None,
        limit=PER_PAGE,
        offset=(number - 1) * PER_PAGE,
    )
    arguments = {key: value for key, value in asked.items() if value}
    context: dict[str, Any] = {
        "rows": rows,
        "total": total,
        "page": number,
        "pages": -(-total // PER_PAGE),
        "at": lambda page: f"{PATH}?{urlencode({**arguments, 'page': page})}",
        "asked": asked,
        "errors": errors,
        "zone": zone,
        "sees_all": sees_all,
        "clients": CLIENTS,
        "told": told,
        "whole": lambda value: json.dumps(value, ensure_ascii=False, indent=1),
    }
    return visit.render("audit.html", 400 if errors else 200, title="Audit", **context)


def told(arguments: Mapping[str, Any]) -> str:
    """Give the arguments of a change in one line."""
    return ", ".join(f"{key}: {_text(value)}" for key, value in arguments.items() if value not in ("", None, [], {}))


def _text(value: Any) -> str:
    if isinstance(value, list):
        return " ".join(map(_text, value))
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _day(text: str, zone: str, name: str, errors: dict[str, str]) -> datetime | None:
    if not text:
        return None
    try:
        found = datetime.strptime(text, "%Y-%m-%d").replace(tzinfo=ZoneInfo(zone))
        found.timestamp()
    except (ValueError, OverflowError):
        errors[name] = "A date such as 2026-01-31 is wanted."
        return None
    return found

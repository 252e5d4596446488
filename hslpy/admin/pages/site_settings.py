"""What holds for the whole site, as a form. In: visits. Out: a page, for super-admins; who only reads sees the values."""

from __future__ import annotations

import re
from typing import Any

from fastapi.responses import Response
from markupsafe import Markup, escape

from hslpy.admin.pages.table import SUPER, page
from hslpy.admin.pages.visit import Visit
from hslpy.egress.accounts import site
from hslpy.egress.accounts.admins import count
from hslpy.egress.accounts.site import Row
from hslpy.egress.rules.names import Refused

PATH = "/server/settings"
GROUPS = (
    ("Choosing addresses", ("missing_family", "auto_ipv6", "pool", "identity_header", "spf_host", "probe_host")),
    ("Warming up", ("overflow", "max_warming_share", "pause_on_listing", "require_traffic", "time_zone")),
    ("Block lists", ("dnsbl_resolvers", "dnsbl_daily", "dnsbl_interval_s", "dnsbl_at_once", "suspend_on_listing",
                     "keep_last_address")),
    ("Alerts", ("alert_addresses", "alert_webhook")),
)  # fmt: skip
_YES = "yes or no"


@page(PATH, roles=(*SUPER, "read-only"), title="Site settings", group="Server", order=20)
def show(visit: Visit) -> Response:
    return _form(visit, {}, {})


@page(PATH, methods=("POST",))
def save(visit: Visit) -> Response:
    rows = site.rows(visit.database)
    given: dict[str, str] = {}
    errors: dict[str, str] = {}
    changed: dict[str, Any] = {}
    for row in rows:
        text = visit.field(row.key, shown(row.value))
        if row.kind == _YES and visit.field(f"has.{row.key}"):
            text = "yes" if visit.field(row.key) else "no"
        given[row.key] = text
        try:
            value = site.value_of(row.key, text)
        except Refused as error:
            errors[row.key] = error.message[:1].upper() + error.message[1:] + "."
            continue
        now = list(row.value) if isinstance(row.value, tuple) else row.value
        if value != now:
            is_default = value == (list(row.default) if isinstance(row.default, tuple) else row.default)
            changed[row.key] = None if is_default else value
    if errors:
        return _form(visit, given, errors)
    if changed:
        site.change(visit.database, visit.actor, changed)
    visit.banner(
        f"{count(len(changed), 'setting')} changed." if changed else "Nothing was changed.", "ok" if changed else "info"
    )
    return visit.redirect(PATH)


def shown(value: Any) -> str:
    """Give a value as it is written."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    return ", ".join(value) if isinstance(value, tuple | list) else str(value)


def _form(visit: Visit, given: dict[str, str], errors: dict[str, str]) -> Response:
    rows = {row.key: row for row in site.rows(visit.database)}
    named = {key for _, keys in GROUPS for key in keys}
    groups = [(title, [rows[key] for key in keys if key in rows]) for title, keys in GROUPS]
    rest = [row for key, row in rows.items() if key not in named]
    groups += [("More", rest)] if rest else []
    context = {
        "groups": groups,
        "value": lambda row: given.get(row.key, shown(row.value)),
        "default": lambda row: shown(row.default) or "empty",
        "errors": errors,
        "may_change": visit.principal.role == "super-admin",
        "title_of": title_of,
        "help": help_of,
    }
    return visit.render("site_settings.html", 400 if errors else 200, title="Site settings", **context)


def title_of(row: Row) -> str:
    """Give a setting's key in words."""
    words = row.key.removesuffix("_s").replace("_", " ")
    for small, right in (("ipv6", "IPv6"), ("dnsbl", "DNSBL"), ("spf", "SPF")):
        words = words.replace(small, right)
    return words[:1].upper() + words[1:]


def help_of(row: Row) -> Markup:
    """Give what a setting is for, with what it has between backticks as code."""
    text = str(escape(row.help[:1].upper() + row.help[1:]))
    return Markup(re.sub(r"`([^`]+)`", r"<code>\1</code>", text))

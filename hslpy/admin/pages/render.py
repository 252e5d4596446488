"""Templates to HTML. In: a template's name, its context. Out: text. All that is put in is escaped."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import urlencode
from zoneinfo import ZoneInfo

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from hslpy.admin.pages.table import navigation
from hslpy.admin.pages.visit import Visit
from hslpy.egress.accounts.admins import count
from hslpy.egress.rules.names import shown_address

HERE = Path(__file__).parents[1]
STATIC = HERE / "static"
_CONTROLS = {number: "\ufffd" for number in (*range(0x20), *range(0x7F, 0xA0)) if chr(number) not in "\t\n\r"}
"""What no page may have: other servers' replies can. Source: the HTML standard, section 13.1.4."""
_UNITS = ((86400, "day"), (3600, "hour"), (60, "min"))


@cache
def asset(name: str) -> str:
    """Give the address of a static file; it changes with its contents."""
    digest = hashlib.sha256((STATIC / name).read_bytes()).hexdigest()[:12]
    return f"/static/{name}?v={digest}"


def moment(at: float | None, zone: str = "UTC") -> str:
    """Give a time in Unix seconds as people read it."""
    if at is None:
        return "never"
    return datetime.fromtimestamp(at, ZoneInfo(zone)).strftime("%Y-%m-%d %H:%M")


def ago(at: float | None, now: float) -> str:
    """Give how long ago a time was: `3 min ago`."""
    if at is None:
        return "never"
    for seconds, word in _UNITS:
        if now - at >= seconds:
            number = int((now - at) // seconds)
            return f"{number} {word}{'s' if number > 1 and word != 'min' else ''} ago"
    return "just now"


def sentence(text: str) -> str:
    """Give a text that says what is wrong as a sentence, with its full stop."""
    return f"{text[:1].upper()}{text[1:]}" + ("" if text.endswith((".", "?", "!")) or not text else ".")


def icon(name: str) -> Markup:
    """Give an icon of ours, of `static/icons.svg`; it says nothing to screen readers, for a word stands beside it."""
    return Markup('<svg class="icon" aria-hidden="true" focusable="false"><use href="{}#{}"></use></svg>').format(
        asset("icons.svg"), name
    )


def environment() -> Environment:
    env = Environment(
        loader=FileSystemLoader(HERE / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    env.globals |= {"asset": asset, "icon": icon, "count": count, "shown_address": shown_address}
    env.filters |= {
        "moment": moment,
        "ago": ago,
        "number": lambda value: f"{value:,}",
        "query": _query,
        "sentence": sentence,
    }
    env.filters["json"] = lambda value: json.dumps(value, ensure_ascii=False)
    return env


def _query(arguments: Mapping[str, Any]) -> str:
    return urlencode({key: value for key, value in arguments.items() if value not in ("", None)}, doseq=True)


class Renderer:
    def __init__(self) -> None:
        self._environment = environment()

    def __call__(self, visit: Visit, template: str, context: Mapping[str, Any]) -> str:
        session = visit.session
        common: dict[str, Any] = {
            "visit": visit,
            "now": visit.now,
            "theme": visit.request.cookies.get("theme", ""),
            "nav": navigation(session.principal.role, visit.path) if session is not None else (),
            "csrf": session.csrf if session is not None else "",
            "banners": visit.shared.banners.take(session.key) if session is not None and not visit.is_dialog else (),
        }
        return self._environment.get_template(template).render({**common, **context}).translate(_CONTROLS)

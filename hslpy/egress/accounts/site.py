"""What holds for the whole site. In: values as operators write them. Out: rows of the table, a record of all values.

The fields of `Site` are the table: key, kind, default, help. Must not know who asks.
"""

from __future__ import annotations

import dataclasses
import difflib
import ipaddress
import re
import zoneinfo
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Literal
from urllib.parse import urlsplit

from sqlalchemy import select
from sqlalchemy.orm import Session

from hslpy.egress.rules.choice import Policies
from hslpy.egress.rules.names import NotFound, Refused, fault_of_host
from hslpy.egress.store.database import Actor, Database
from hslpy.egress.store.tables import SiteSetting
from hslpy.records import record

Kind = Literal[
    "choice",
    "yes or no",
    "share",
    "header",
    "host",
    "zone of time",
    "URL",
    "resolvers",
    "mail addresses",
    "seconds",
    "count",
]


def _row(default: Any, kind: Kind, help: str, *choices: str) -> Any:
    return dataclasses.field(default=default, metadata={"kind": kind, "help": help, "choices": choices})


@record
class Site:
    """The values of all settings. Source: C1, C2, C4, D3, D5, E1, F (P06, P20, P21) of the specification."""

    missing_family: Literal["auto", "inherit"] = _row(
        "auto", "choice", "what a setting without addresses of a family means for that family", "auto", "inherit"
    )
    auto_ipv6: Literal["any", "primary"] = _row(
        "any", "choice", "which IPv6 address is taken where none is chosen", "any", "primary"
    )
    pool: Literal["random", "sticky"] = _row(
        "random", "choice", "how mail is spread over several addresses; `sticky`: by the sender's domain", "random", "sticky"
    )
    overflow: Literal["next_level", "hold", "ignore"] = _row(
        "next_level", "choice", "where mail goes when all its addresses are warming up", "next_level", "hold", "ignore"
    )
    max_warming_share: float = _row(0.25, "share", "how much of a pool's mail its warming addresses get together, 0 to 1")
    pause_on_listing: bool = _row(True, "yes or no", "whether a counting listing pauses an address's warm-up")
    require_traffic: bool = _row(True, "yes or no", "whether a warm-up day without mail is repeated")
    time_zone: str = _row("UTC", "zone of time", "the zone of the hours of warm-up, such as `Europe/Vienna`")
    identity_header: str = _row("", "header", "the header of a message that names its identity")
    spf_host: str = _row("", "host", "the host name with all delivery addresses, for customers' SPF")
    probe_host: str = _row("", "host", "the host that pre-flight checks connect to on port 25")
    dnsbl_resolvers: tuple[str, ...] = _row((), "resolvers", "the resolvers that block lists are asked through")
    dnsbl_daily: bool = _row(True, "yes or no", "whether addresses are checked on block lists once a day")
    dnsbl_interval_s: float = _row(
        0.25, "seconds", "the least time between two queries to one block list; 0 is for lists of your own"
    )
    dnsbl_at_once: int = _row(8, "count", "how many queries to block lists are under way at once")
    suspend_on_listing: Literal["never", "critical", "counting"] = _row(
        "never",
        "choice",
        "which listings suspend an address: none, those by major lists, or all that count",
        "never",
        "critical",
        "counting",
    )
    keep_last_address: bool = _row(True, "yes or no", "whether one address of a pool stays in use when all of it are listed")
    alert_addresses: tuple[str, ...] = _row((), "mail addresses", "who is told of new and cleared listings")
    alert_webhook: str = _row("", "URL", "where alerts are posted to, as JSON")

    @property
    def policies(self) -> Policies:
        return Policies(self.missing_family, self.auto_ipv6, self.overflow, self.pool, self.max_warming_share)


@record
class Row:
    """One setting with its value. `is_default`: nobody has set it."""

    key: str
    kind: Kind
    default: Any
    help: str
    choices: tuple[str, ...]
    value: Any
    is_default: bool


def read(session: Session) -> Site:
    """Give the values in force. One that this version has no use for is passed over."""
    known = {field.name for field in dataclasses.fields(Site)}
    found: dict[str, Any] = {one.key: one.value["value"] for one in session.scalars(select(SiteSetting)) if one.key in known}
    values: Any = {key: tuple(value) if isinstance(value, list) else value for key, value in found.items()}
    return Site(**values)


def rows(database: Database) -> Sequence[Row]:
    """Give all settings, in the table's order."""
    with database.read() as session:
        site, found = read(session), set(session.scalars(select(SiteSetting.key)))
    return [
        Row(one.name, default=one.default, value=getattr(site, one.name), is_default=one.name not in found, **one.metadata)
        for one in dataclasses.fields(Site)
    ]


def change(database: Database, actor: Actor, values: Mapping[str, Any]) -> Sequence[Row]:
    """Set what `values` names, all or nothing, and give all settings; None sets a default again. Raises Refused."""
    checked = {key: None if value is None else value_of(key, value) for key, value in values.items()}
    with database.change(actor, "site set", checked) as session:
        for key, value in checked.items():
            found = session.get(SiteSetting, key)
            if value is None:
                if found is not None:
                    session.delete(found)
            elif found is None:
                session.add(SiteSetting(key=key, value={"value": value}))
            else:
                found.value = {"value": value}
    return rows(database)


def value_of(key: str, given: Any) -> Any:
    """Give a value as it is kept: from text, or of its own type. Raises Refused, NotFound for a key that is none."""
    fields = {field.name: field for field in dataclasses.fields(Site)}
    if key not in fields:
        near = difflib.get_close_matches(key, fields, 1)
        raise NotFound(f"there is no setting '{key}'" + (f"; did you mean '{near[0]}'?" if near else ""))
    kind, choices = fields[key].metadata["kind"], fields[key].metadata["choices"]
    if kind == "choice":
        if given not in choices:
            near = difflib.get_close_matches(str(given), choices, 1)
            hint = f"; did you mean '{near[0]}'?" if near else ""
            raise Refused(f"'{given}' is no value of '{key}': {', '.join(choices)}{hint}")
        return given
    value = _READ[kind](given)
    if value is None:
        raise Refused(f"'{given}' is no value of '{key}': {_WANTED[kind]} is wanted")
    return value


def _yes_or_no(given: Any) -> bool | None:
    words = {"1": True, "true": True, "yes": True, "on": True, "0": False, "false": False, "no": False, "off": False}
    return words.get(str(given).strip().lower())


def _share(given: Any) -> float | None:
    try:
        value = float(given)
    except (TypeError, ValueError):
        return None
    return value if 0 <= value <= 1 else None


def _seconds(given: Any) -> float | None:
    try:
        value = float(given)
    except (TypeError, ValueError):
        return None
    return value if 0 <= value <= 3600 else None


def _count(given: Any) -> int | None:
    text = str(given).strip()
    return int(text) if text.isascii() and text.isdigit() and len(text) < 9 and 1 <= int(text) <= 64 else None


def _text(matches: Callable[[str], bool]) -> Callable[[Any], str | None]:
    def read_text(given: Any) -> str | None:
        text = given.strip() if isinstance(given, str) else None
        return text if text is not None and (not text or matches(text)) else None

    return read_text


def _list(matches: Callable[[str], bool]) -> Callable[[Any], list[str] | None]:
    def read_list(given: Any) -> list[str] | None:
        parts: Iterable[Any] = re.split(r"[;,\s]+", given) if isinstance(given, str) else given
        if not isinstance(parts, list | tuple):
            return None
        texts = list(dict.fromkeys(str(part).strip() for part in parts if str(part).strip()))
        return texts if all(map(matches, texts)) else None

    return read_list


def _is_zone(text: str) -> bool:
    try:
        return bool(text) and zoneinfo.ZoneInfo(text) is not None
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):
        return False


def _is_url(text: str) -> bool:
    try:
        found = urlsplit(text)
        return text.isprintable() and " " not in text and found.scheme in ("http", "https") and bool(found.hostname)
    except ValueError:
        return False


def _is_resolver(text: str) -> bool:
    """An address, with `:port` after an IPv4 address, or `[address]:port`."""
    found = re.fullmatch(r"\[([0-9a-fA-F:.]+)\](?::([0-9]{1,5}))?|([0-9.]+):([0-9]{1,5})", text)
    address, port = (found[1] or found[3], found[2] or found[4]) if found else (text, None)
    try:
        ipaddress.ip_address(address)
    except ValueError:
        return False
    return port is None or 0 < int(port) < 65536


def _is_mail_address(text: str) -> bool:
    local, at, domain = text.rpartition("@")
    return bool(local and at) and text.isprintable() and " " not in text and fault_of_host(domain) is None


_READ: Mapping[str, Callable[[Any], Any]] = {
    "yes or no": _yes_or_no,
    "share": _share,
    "seconds": _seconds,
    "count": _count,
    "header": _text(lambda text: re.fullmatch(r"[!-9;-~]{1,70}", text) is not None),  # RFC 5322 section 3.6.8
    "host": _text(lambda text: fault_of_host(text) is None),
    "zone of time": lambda given: given if isinstance(given, str) and _is_zone(given) else None,
    "URL": _text(_is_url),
    "resolvers": _list(_is_resolver),
    "mail addresses": _list(_is_mail_address),
}
_WANTED: Mapping[str, str] = {
    "yes or no": "`yes` or `no`",
    "share": "a number from 0 to 1",
    "seconds": "a number of seconds from 0 to 3600",
    "count": "a number from 1 to 64",
    "header": "the name of a header",
    "host": "a host name with its domain, such as `out.example.com`",
    "zone of time": "a name such as `Europe/Vienna`",
    "URL": "an address that begins with `https://`",
    "resolvers": "a list of addresses such as `127.0.0.1` or `[::1]:5353`",
    "mail addresses": "a list such as `ops@example.com`",
}

"""Delivery settings as CSV, out and in. In: rows, or the bytes of a file. Out: text, or what came of each line.

Source: B2.7 of the specification of delivery IPs. Must not know of HTTP.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from hslpy.egress.delivery_ips import settings
from hslpy.egress.delivery_ips.setting_rows import Edit, Row, Value
from hslpy.egress.rules.csv_text import read_csv, write_csv
from hslpy.egress.rules.names import Refused
from hslpy.egress.store.database import Actor, Change, Database
from hslpy.records import record

COLUMNS = ("level", "admin", "domain", "username", "identity", "hostname", "ipv4", "ipv6", "ipv4_disabled")
MOST_ROWS = 20_000
_SWITCH = {"": False, "0": False, "no": False, "false": False, "1": True, "yes": True, "true": True}


@record
class Line:
    """What came, or would come, of a line; `text` says why not, or has the warnings."""

    line: int
    outcome: Literal["added", "changed", "unchanged", "failed"]
    text: str = ""


def export(rows: Sequence[Row]) -> str:
    """Give rows as CSV, with `;` inside lists."""
    lines = (
        (
            *(getattr(one, name) for name in COLUMNS[:6]),
            ";".join(one.ipv4),
            ";".join(one.ipv6),
            int(one.ipv4_disabled),
        )
        for one in rows
    )
    return write_csv([COLUMNS, *lines])


def load(
    database: Database, actor: Actor, data: bytes, *, only_look: bool = False, allow_loopback: bool = False
) -> Sequence[Line]:
    """Set what each line says, in the place of what was; lines that cannot be are told and left out.

    `only_look` tells what would come of it. Raises Refused for a file that is no such table.
    """
    lines = read_csv(data, MOST_ROWS)
    if not lines:
        raise Refused("the file is empty")
    header = [cell.lower() for cell in lines[0][1]]
    has_header = "hostname" in header
    names = header if has_header else list(COLUMNS)
    unknown = [name for name in names if name not in COLUMNS]
    missing = [name for name in ("level", "hostname") if name not in names]
    if unknown or missing:
        raise Refused(f"the first line has to have the columns {','.join(COLUMNS)}")
    out: list[Line] = []
    warned: dict[tuple[int, Value], Sequence[str]] = {}
    try:
        with database.change(actor, "ip import", {"lines": len(lines) - has_header}) as change:
            out = [_take(change, number, names, cells, allow_loopback, warned) for number, cells in lines[has_header:]]
            change.result = ", ".join(
                f"{sum(one.outcome == word for one in out)} {word}" for word in ("added", "changed", "failed")
            )
            if only_look:
                raise _OnlyLooked
    except _OnlyLooked:
        pass
    return out


class _OnlyLooked(Exception):
    """Undoes the change."""


def _take(
    change: Change,
    number: int,
    names: Sequence[str],
    cells: Sequence[str],
    allow_loopback: bool,
    warned: dict[tuple[int, Value], Sequence[str]],
) -> Line:
    if len(cells) != len(names):
        return Line(number, "failed", f"{len(cells)} cells are not the {len(names)} of the first line")
    given = dict.fromkeys(COLUMNS, "") | dict(zip(names, cells, strict=True))
    disabled = _SWITCH.get(given["ipv4_disabled"].lower())
    if disabled is None:
        return Line(number, "failed", f"'{given['ipv4_disabled']}' is no value of 'ipv4_disabled': 0 or 1")
    try:
        (before, after), warnings = settings.put(
            change,
            Edit(given["ipv4"], given["ipv6"], disabled),
            allow_loopback=allow_loopback,
            warned=warned,
            **{name: given[name] for name in COLUMNS[:6]},
        )
    except Refused as error:
        return Line(number, "failed", error.message)
    text = "; ".join(one.removesuffix(".") for one in warnings)
    return Line(number, "added" if before is None else "unchanged" if before == after else "changed", text)

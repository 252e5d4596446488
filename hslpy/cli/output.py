"""What commands print: tables for people. In: rows. Out: text that no terminal obeys."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any


def line(text: str) -> str:
    """Give text of clients and peers as one line, without what a terminal would obey."""
    return text if text.isprintable() else "".join(ch if ch.isprintable() or ch == "\t" else "?" for ch in text)


def when(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%SZ")


def shown(name: str, value: Any) -> str:
    """Give a value of a field by its name: times end in `_at` or are `at`."""
    if value is None or value == "" or value == []:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if (name.endswith("_at") or name in ("at", "until")) and isinstance(value, int | float):
        return when(value)
    if isinstance(value, list):
        return "; ".join(map(str, value))
    if isinstance(value, Mapping):
        return "; ".join(f"{key}={one}" for key, one in value.items())
    return line(str(value))


def table(rows: Sequence[Mapping[str, Any]], columns: Sequence[str], nothing: str = "nothing") -> str:
    """Give rows as a table of those columns, headed by their names."""
    if not rows:
        return nothing
    cells = [[name.removesuffix("_at").replace("_", " ") for name in columns]]
    cells += [[shown(name, row.get(name)) for name in columns] for row in rows]
    widths = [max(len(row[index]) for row in cells) for index in range(len(columns))]
    return "\n".join("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in cells)


def sheet(row: Mapping[str, Any]) -> str:
    """Give one row, a line a field."""
    width = max(map(len, row))
    return "\n".join(f"{name.replace('_', ' '):<{width}}  {shown(name, value)}" for name, value in row.items())

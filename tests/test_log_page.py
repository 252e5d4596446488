"""Every event of the log has a row in the guide, and every row is an event that the code writes."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import hslpy

ROOT = Path(hslpy.__file__).parent
PAGE = (ROOT.parent / "docs/guide/log.md").read_text()
WRITERS = {"log", "_log", "warn", "line"}
EVENT = re.compile(r"[a-z*]+(?:_[a-z]+)*\.[a-z_*]+")


def written() -> set[str]:
    """Give the events that calls write; a part that is put in is `*`."""
    found = set()
    for path in ROOT.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if not isinstance(node, ast.Call) or not node.args:
                continue
            name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            if name not in WRITERS:
                continue
            for part in ast.walk(ast.Tuple(node.args)):
                if isinstance(part, ast.Constant) and isinstance(part.value, str) and EVENT.fullmatch(part.value):
                    found.add(part.value)
                elif isinstance(part, ast.JoinedStr):
                    text = "".join(str(each.value) if isinstance(each, ast.Constant) else "*" for each in part.values)
                    if EVENT.fullmatch(text):
                        found.add(text)
    return found


def constants() -> set[str]:
    """Give all strings of the code that could be events."""
    nodes = (node for path in ROOT.rglob("*.py") for node in ast.walk(ast.parse(path.read_text())))
    return {node.value for node in nodes if isinstance(node, ast.Constant) and isinstance(node.value, str)}


def told() -> set[str]:
    """Give the events that have a row."""
    cells = [line.split("|")[1] for line in PAGE.splitlines() if line.startswith("| `")]
    return {event for cell in cells for event in re.findall(r"`([^`]+)`", cell)}


def fits(pattern: str, event: str) -> bool:
    return re.fullmatch(re.escape(pattern).replace(r"\*", "[a-z_]+"), event) is not None


def test_every_event_has_a_row() -> None:
    rows = told()
    assert len(rows) > 80
    assert not {event for event in written() if not any(fits(event, row) for row in rows)}


def test_every_row_is_an_event() -> None:
    patterns, texts = {event for event in written() if "*" in event}, constants()
    assert not {row for row in told() if row not in texts and not any(fits(pattern, row) for pattern in patterns)}

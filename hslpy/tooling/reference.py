"""The reference pages, made from the tables. In: the rows. Out: Markdown by file name. Nothing is written down twice."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from hslpy.lang.declare import Builtin
from hslpy.lang.diagnostics import Code

_HEAD = "<!-- Made from the tables by `python -m hslpy.cli.reference`; change the rows, not this page. -->\n\n"
_FAMILIES = {
    "E1": "Syntax",
    "E2": "Names and calls",
    "E3": "Classes and modules",
    "E4": "Not supported here",
    "W5": "Warnings",
    "R1": "Run time: operators and functions",
    "R2": "Run time: limits",
    "R3": "Run time: hooks and services",
}


def functions_page(rows: Iterable[Builtin]) -> str:
    """Give the page of all builtins: signature, what it does, where it exists, examples."""
    topics: dict[str, list[Builtin]] = {}
    for row in rows:
        topics.setdefault(row.topic, []).append(row)
    out = [_HEAD, "# Functions\n"]
    for topic in sorted(topics):
        out.append(f"\n## {topic.capitalize()}\n")
        for row in sorted(topics[topic], key=lambda r: (r.owner or "", r.name.lower(), r.hooks or ())):
            title = f"{row.owner}{'::' if row.kind == 'static method' else '->'}{row.name}" if row.owner else row.name
            out.append(f"\n### {title}\n\n```\n{row.signature.text}\n```\n\n{_paragraphs(row.doc)}\n")
            if row.hooks:
                out.append(f"\nAt: {', '.join(row.hooks)}.\n")
            if row.deprecated:
                out.append(f"\nOlder name; today: {row.deprecated}.\n")
            if row.examples:
                out.append("\n```php\n" + "\n".join(row.examples) + "\n```\n")
    return "".join(out)


def diagnostics_page(codes: Sequence[Code]) -> str:
    """Give the page of all diagnostics with their cures."""
    out = [
        _HEAD,
        "# Diagnostics\n\n`E` codes are errors of the checker, `W` its warnings, `R` errors while a script runs.\n",
    ]
    for family, title in _FAMILIES.items():
        rows = sorted((c for c in codes if c.code.startswith(family)), key=lambda c: c.code)
        if rows:
            out.append(f"\n## {title}\n\n| code | what it says | cure |\n|---|---|---|\n")
            out += [f"| {c.code} | {_cell(c.title)} | {_cell(c.cure)} |\n" for c in rows]
    return "".join(out)


def table_page(title: str, introduction: str, columns: Sequence[str], rows: Iterable[tuple[str, Sequence[str]]]) -> str:
    """Give a page of tables: `rows` are (heading, cells); a new heading starts a new table."""
    out = [_HEAD, f"# {title}\n\n{introduction}\n"]
    heading = None
    for section, cells in rows:
        if section != heading:
            heading = section
            out.append(f"\n## {section}\n\n| {' | '.join(columns)} |\n|{'---|' * len(columns)}\n")
        out.append(f"| {' | '.join(_cell(cell) for cell in cells)} |\n")
    return "".join(out)


def _paragraphs(doc: str) -> str:
    return "\n".join(line.strip() for line in doc.strip().splitlines())


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")

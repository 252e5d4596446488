"""Tables as CSV, as spreadsheets write them and may read them. In: bytes or rows of cells. Out: rows of cells, or text.

Source: RFC 4180; sections B2 and B7 of the specification of delivery IPs. Must not know what the cells mean.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Sequence

from hslpy.egress.rules.names import Refused

MOST_BYTES = 1 << 20
MOST_ROWS = 1000
_FORMULA = re.compile(r"'*[=+\-@\t\r]").match  # a spreadsheet takes a cell for one that begins so; or it was guarded once


def write_csv(rows: Iterable[Sequence[object]]) -> str:
    """Give the rows as text, with `'` before cells that a spreadsheet would take for a formula."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\r\n").writerows([guarded(str(cell)) for cell in row] for row in rows)
    return text.getvalue()


def read_csv(data: bytes, most_rows: int = MOST_ROWS) -> list[tuple[int, list[str]]]:
    """Give the rows that are not empty, each with the number of its first line; cells are stripped.

    The separator is `,`, or `;` where the first row has that and no `,`. Raises Refused for a file that cannot be read.
    """
    if len(data) > MOST_BYTES:
        raise Refused("the file is larger than 1 MiB", 413)
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        raise Refused(f"the file is not UTF-8 (line {line})") from None
    if "\0" in text:
        raise Refused("the file is no text")
    first = next((line for line in text.splitlines() if line.strip()), "")
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=";" if ";" in first and "," not in first else ",")
    rows: list[tuple[int, list[str]]] = []
    line = 1
    try:
        for cells in reader:
            if any(cell.strip() for cell in cells):
                rows.append((line, [unguarded(cell.strip()) for cell in cells]))
            if len(rows) > most_rows + 1:  # the header's row is not counted
                raise Refused(f"the file has more than {most_rows} rows", 413)
            line = reader.line_num + 1
    except csv.Error as error:
        raise Refused(f"the file cannot be read at line {reader.line_num}: {error}") from None
    return rows


def guarded(cell: str) -> str:
    return f"'{cell}" if _FORMULA(cell) else cell


def unguarded(cell: str) -> str:
    return cell[1:] if cell.startswith("'") and _FORMULA(cell) else cell

"""Diagnostics as data, the table of their codes, and the one place that turns them into text.

In: spans and messages from parse, resolve, check and run. Out: `Diagnostic`, `CODES`, `render`.
E1xx syntax, E2xx names and calls, E3xx classes and modules, E4xx not supported here; W5xx warnings;
R1xx run-time errors of operators and builtins, R2xx limits, R3xx hooks and services.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from dataclasses import dataclass

from hslpy.lang.source import Span

MOST_DIAGNOSTICS = 50  # gathered for one program; beyond that a reader is not helped


@dataclass(frozen=True, slots=True)
class Code:
    """A row of the table: what the code stands for, and what cures it."""

    code: str
    title: str
    cure: str


@dataclass(frozen=True, slots=True)
class Diagnostic:
    """One finding. `code` is a row of CODES; its first letter gives the severity."""

    code: str
    span: Span
    message: str
    hint: str | None = None
    notes: tuple[str, ...] = ()

    @property
    def is_error(self) -> bool:
        return not self.code.startswith("W")


_ROWS: list[Code] = [
    # E1xx syntax (front end)
    # E2xx names and calls (back end)
    # E3xx classes and modules (back end)
    # E4xx parsed but not supported here
    # W5xx warnings
    # R1xx run time: operators and builtins
    Code("R101", "none where text is wanted", "give a default with `??`, or test with `isset` first"),
    Code("R102", "operand of the wrong type", "convert with `number()` or `string()`, or test the type first"),
    Code("R103", "division or modulus by zero", "test the divisor first"),
    Code("R104", "values that have no order", "compare numbers with numbers and strings with strings"),
    Code(
        "R105",
        "a key or an element that cannot be",
        "keys are strings, numbers or booleans; only arrays and strings have elements",
    ),
    Code("R106", "a slice that cannot be", "bounds are numbers, the step is not zero, and arrays and strings are sliced"),
    Code(
        "R107",
        "a format that cannot be filled",
        "match each placeholder with a value: `%s` text, `%f` `%x` `%b` `%c` numbers",
    ),
    Code("R108", "an argument out of range", "read the reference of the function for what it takes"),
    Code("R109", "a regular expression that does not compile", "patterns are Perl-compatible; escape literal characters"),
    # R2xx run time: limits
    # R3xx run time: hooks and services
]
CODES: dict[str, Code] = {row.code: row for row in _ROWS}


def suggest(name: str, known: Iterable[str]) -> str | None:
    """Give the hint "did you mean `x`?" for the known name nearest to `name`, or None."""
    names = list(known)
    near = difflib.get_close_matches(name, names, n=1, cutoff=0.7) or [n for n in names if n.lower() == name.lower()][:1]
    return f"did you mean `{near[0]}`?" if near else None

"""Holds the compiler against the oracle. In: the text of a script. Out: nothing, or what differs."""

from __future__ import annotations

import random
from collections.abc import Mapping

from hslpy.clock import ManualClock
from hslpy.errors import ScriptError
from hslpy.lang.load import load_program
from hslpy.lang.program import Program
from hslpy.lang.run import LimitExceeded, Limits, Run, execute
from hslpy.lang.source import Source, Span
from tests.lang.oracle.interpreter import MOST_STEPS, TABLE, outcome
from tests.lang.oracle.rules import Skip

LIMITS = Limits(steps=2_000_000, depth=120, cpu_s=60.0, wall_s=120.0)


def compiled_outcome(program: Program) -> tuple[list[str], str]:
    """Give what the compiled program echoes, and its end: "" or the code and line of an error."""
    said: list[str] = []
    try:
        execute(program, Run(clock=ManualClock(), random=random.Random(1), limits=LIMITS, echo=said.append))
    except ScriptError as error:
        assert isinstance(error.span, Span), error
        return said, f"{error.code} at {error.span.source.position(error.span.start)[0]}"
    except Exception as error:  # a bug, whatever the oracle says
        return said, f"{type(error).__name__}: {error}"
    return said, ""


def difference(text: str, files: Mapping[str, str] | None = None, steps: int = MOST_STEPS) -> str | None:
    """Give what the compiled script does otherwise than the oracle, or None. Raises Skip for a script of no use."""
    everything = {**(files or {}), "main.hsl": text}
    loaded = load_program("main.hsl", lambda path, importer: Source(path, everything[path]), TABLE, {})
    if loaded.program is None:
        raise Skip
    try:
        wanted = outcome(text, files, steps)
    except RecursionError:
        raise Skip from None
    for _ in range(2):  # a run leaves nothing behind for the next
        try:
            got = compiled_outcome(loaded.program)
        except LimitExceeded as error:
            return f"limit {error.code}"
        if got != wanted and not (got[0] == wanted[0] and {got[1][:4], wanted[1][:4]} == {"R101", "R106"}):
            # a builtin's argument may be looked at before the next one is evaluated
            first = next((n for n, pair in enumerate(zip(got[0], wanted[0], strict=False)) if pair[0] != pair[1]), None)
            at = min(len(got[0]), len(wanted[0])) if first is None else first
            return f"echo {at}: got {got[0][at : at + 3]} {got[1]!r}, wanted {wanted[0][at : at + 3]} {wanted[1]!r}"
    return None


def shrunk(text: str) -> str:
    """Give a shorter script that still differs, by leaving out lines. Raises Skip."""

    def differs(lines: list[str]) -> bool:
        try:
            found = difference("\n".join(lines) + "\n")
        except Skip:
            return False
        return found is not None and found.startswith("limit") == is_limit

    is_limit = (difference(text) or "").startswith("limit")
    lines = text.splitlines()
    size = len(lines) // 2
    while size:
        at = 0
        while at < len(lines):
            if differs(lines[:at] + lines[at + size :]):
                del lines[at : at + size]
            elif size > 1 and differs(lines[:at] + lines[at + 1 : at + size - 1] + lines[at + size :]):
                lines = lines[:at] + lines[at + 1 : at + size - 1] + lines[at + size :]
            else:
                at += 1
        size = size - 1 if size <= 12 else size // 2
    return "\n".join(lines) + "\n"

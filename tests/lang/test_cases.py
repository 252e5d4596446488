"""Runs the HSL programs in tests/lang/cases, each behaviour a file, and compares golden diagnostics."""

from __future__ import annotations

import os
import random
import sys
from pathlib import Path

import pytest

from hslpy.builtins import for_hook
from hslpy.clock import ManualClock
from hslpy.errors import ScriptError
from hslpy.hooks.data import DATA
from hslpy.lang.diagnostics import render, render_all
from hslpy.lang.faults import call_lines
from hslpy.lang.load import Loaded, load_program
from hslpy.lang.predefined import Predefined
from hslpy.lang.profiles import NEWEST, Profile
from hslpy.lang.program import Program
from hslpy.lang.run import LimitExceeded, Limits, Run, execute
from hslpy.lang.source import Source, Span
from hslpy.lang.values import Array
from hslpy.store.memory import SharedMemory
from tests.lang.cases_reader import Case, read_cases, read_guide, written_for

HERE = Path(__file__).parent
CASES = [case for path in sorted((HERE / "cases").rglob("*.hsl")) for case in read_cases(path)]
GUIDE = read_guide(HERE.parents[1] / "docs" / "guide" / "language.md")
GOLDEN = sorted((HERE / "golden" / "programs").glob("*.hsl"))
PREDEFINED = {
    "fixed": Predefined(("string",)),
    "table": Predefined(("array",)),
    "context": Predefined(("any",), writable=True),
}
NOT_RUN = (
    "nothing was echoed: a program with an error that is found before it runs never runs, so that its `// expect:` cannot"
    " hold beside `// error[...]`; part the two with a line `// ---`"
)
LIMITS = Limits(steps=500_000, depth=50, cpu_s=60.0)  # steps are what ends endless loops, however slow the machine


def load(text: str, files: dict[str, str], profile: Profile = NEWEST) -> Loaded:
    def reader(path: str, importer: str | None) -> Source:
        if path == "main.hsl" and importer is None:
            return Source(path, text, profile)
        if path not in files:
            raise FileNotFoundError(path)
        return Source(path, files[path], written_for(files[path]))

    return load_program("main.hsl", reader, for_hook(None), PREDEFINED, data=DATA)


def run_case(case: Case) -> tuple[dict[int, list[str]], list[tuple[int, str, str]]]:
    """Give what was echoed by line, and the problems as (line, code, message)."""
    loaded = load(case.text, case.files, case.profile)
    problems = [(line_of(case, d.span, d.code), d.code, d.message) for d in loaded.diagnostics]
    if loaded.program is None:
        return {}, problems
    first = run_program(loaded.program, list(problems))
    second = run_program(loaded.program, list(problems))
    assert first == second, "a run left something behind for the next"
    return first


def line_of(case: Case, span: Span, code: str) -> int:
    """Give the line of a problem; one in another file counts where the case expects its code."""
    if span.source.path == "main.hsl":
        return span.source.position(span.start)[0]
    return next((line for line, problem in case.problems.items() if problem[0] == code), 0)


def run_program(
    program: Program, problems: list[tuple[int, str, str]]
) -> tuple[dict[int, list[str]], list[tuple[int, str, str]]]:
    echoed: dict[int, list[str]] = {}

    def echo(text: str) -> None:
        frame = sys._getframe(1)
        while frame.f_code.co_filename != program.file:
            frame = frame.f_back  # type: ignore[assignment]
        span = program.spans[frame.f_lineno - 1]
        line = span.source.position(span.start)[0] if span.source.path == "main.hsl" else 0
        echoed.setdefault(line, []).append(text)

    facts = {"fixed": "as it is", "table": Array.mapping({"a": 1.0})}
    run = Run(clock=ManualClock(), random=random.Random(1), limits=LIMITS, facts=facts, echo=echo, shared=SharedMemory())
    try:
        execute(program, run)
    except (ScriptError, LimitExceeded) as error:
        assert isinstance(error.span, Span), error
        problems.append((error.span.source.position(error.span.start)[0], error.code, error.message))
    return echoed, problems


@pytest.mark.parametrize("case", [*CASES, *GUIDE], ids=lambda case: case.name)
def test_case(case: Case) -> None:
    echoed, problems = run_case(case)
    unexpected = []
    left = dict(case.problems)
    for line, code, message in problems:
        wanted = left.get(line) or case.problems.get(line)
        if wanted is None or wanted[0] != code or not message.startswith(wanted[1]):
            unexpected.append(f"line {line}: [{code}] {message}")
        left.pop(line, None)
    assert not unexpected, "problems that nothing expects"
    assert not left, (
        f"expected, but did not come: {', '.join(f'line {n}: [{code}] {text}' for n, (code, text) in left.items())}"
    )
    got = {line: " | ".join(texts) for line, texts in echoed.items() if line}
    wanted_echoes = dict(case.echoes)
    assert got or not (wanted_echoes and problems), NOT_RUN
    assert {line: got.get(line) for line in wanted_echoes} == wanted_echoes
    assert not set(got) - set(wanted_echoes), "echoes that nothing expects"


def with_stack(error: ScriptError | LimitExceeded) -> ScriptError:
    """Give the error with its callers as text."""
    shown = ScriptError(error.code, error.message, span=error.span, hint=error.hint)
    shown.stack = call_lines(error.stack)
    return shown


@pytest.mark.parametrize("path", GOLDEN, ids=lambda path: path.stem)
def test_golden(path: Path) -> None:
    """Whole rendered diagnostics, and the run-time error if there is one. Write anew with HSLPY_GOLDEN=1."""
    loaded = load(path.read_bytes().decode("latin-1"), {})
    found = render_all(loaded.diagnostics)
    if loaded.program is not None:
        try:
            execute(loaded.program, Run(clock=ManualClock(), limits=LIMITS))
        except (ScriptError, LimitExceeded) as error:
            found += ("\n\n" if found else "") + render(with_stack(error))
    golden = path.with_suffix(".txt")
    if os.environ.get("HSLPY_GOLDEN"):
        golden.write_text(found + "\n")
    assert found + "\n" == golden.read_text()

"""Every builtin has a doc and examples, the examples say the truth, and every error code in use has a row."""

from __future__ import annotations

import random
import re
from pathlib import Path

import pytest

import hslpy
from hslpy import builtins
from hslpy.builtins import core
from hslpy.builtins.absent import ABSENT
from hslpy.builtins.generations import FIRST_YEAR, LAST_YEAR, generation
from hslpy.clock import SystemClock
from hslpy.errors import OperatorError
from hslpy.lang.declare import Builtin, Effect
from hslpy.lang.diagnostics import CODES
from hslpy.lang.exceptions import TOPIC as EXCEPTIONS
from hslpy.lang.load import load_program
from hslpy.lang.program import Program
from hslpy.lang.run import Run, execute
from hslpy.lang.source import Source
from tests.support.certificates import GIVEN

_ARROW = "  // "


def load(text: str, hook: str | None) -> Program:
    def reader(path: str, importer: str | None) -> Source:
        if importer is not None:
            raise OperatorError("examples import nothing")
        return Source(path, text)

    loaded = load_program("example.hsl", reader, builtins.for_hook(hook), {}, hook=hook)
    errors = [f"{found.code} {found.message}" for found in loaded.diagnostics if found.is_error]
    assert not errors, f"{text}: {errors}"
    assert loaded.program is not None
    return loaded.program


def titles(row: Builtin) -> str:
    return f"{builtins.key_of(row)} of {'/'.join(row.hooks) if row.hooks else 'everywhere'}"


EXAMPLES = [pytest.param(row, example, id=f"{row.name}: {example}") for row in builtins.ALL for example in row.examples]


@pytest.mark.parametrize("row", builtins.ALL, ids=titles)
def test_each_row_has_a_doc_and_an_example(row: Builtin) -> None:
    assert row.doc, "a docstring is missing"
    assert row.doc.split("\n")[0].endswith((".", ":")), "the first line of a docstring is a statement"
    assert row.examples, "an example is missing"


@pytest.mark.parametrize(("row", "example"), EXAMPLES)
def test_examples_compile(row: Builtin, example: str) -> None:
    expression = example.partition(_ARROW)[0].rstrip(" ;")
    load(expression + ";", row.hooks[0] if row.hooks else None)


CORE_ROWS = {id(row) for topic in core.TOPICS for row in topic.rows}
TRUE_EXAMPLES = [
    param
    for param in EXAMPLES
    for row in param.values[:1]
    if (id(row) in CORE_ROWS and row.effect is not Effect.IO) or (row.effect is Effect.PURE and not row.hooks)
]


@pytest.mark.parametrize(("row", "example"), TRUE_EXAMPLES)
def test_examples_say_the_truth(row: Builtin, example: str) -> None:
    expression, arrow, result = example.partition(_ARROW)
    assert arrow, "an example of a function on values shows its result"
    echoed: list[str] = []
    run = Run(clock=SystemClock(), random=random.Random(1), echo=echoed.append)
    given = "".join(f"{name} = ''{text}'';" for name, text in GIVEN.items() if name in example)
    execute(load(f"{given} $got = {expression}; $wanted = {result}; echo $got === $wanted; echo $got;", None), run)
    assert echoed[0] == "true", f"{expression} gives {echoed[1]}, not {result}"


def test_no_two_rows_of_a_hook_share_a_key() -> None:
    seen: set[tuple[str, str | None]] = set()
    for row in builtins.ALL:
        for hook in row.hooks or (None,):
            mark = (builtins.key_of(row), hook)
            assert mark not in seen, mark
            seen.add(mark)


def test_every_code_in_use_has_a_row() -> None:
    folder = Path(hslpy.__file__).parent
    used: dict[str, str] = {}
    for path in folder.rglob("*.py"):
        for code in re.findall(r"\"([ERW][0-9]{3})\"", path.read_text()):
            used.setdefault(code, str(path.relative_to(folder)))
    missing = {code: where for code, where in used.items() if code not in CODES}
    assert not missing


def test_years_are_of_names_there_are() -> None:
    known = {builtins.key_of(row) for row in (*builtins.ALL, *EXCEPTIONS.rows)} | set(ABSENT)
    assert not [name for name in FIRST_YEAR if name not in known]
    assert all(FIRST_YEAR[name] <= year for name, year in LAST_YEAR.items())
    assert generation("strlen") == "in the original from 2015 to 2018"
    assert generation("array_find") == "in the original since 2018"
    assert generation("nothing") is None

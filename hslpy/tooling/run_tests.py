"""Runs the tests of `*.test.hsl` files, each in a world of its own. In: paths. Out: a `Result` a test.

A file's top level runs once to find its tests, and anew for each of them. Must not know how results are shown.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Sequence
from dataclasses import replace
from pathlib import Path

from hslpy.clock import Clock
from hslpy.errors import OperatorError, ScriptError
from hslpy.lang.declare import Builtin
from hslpy.lang.diagnostics import render
from hslpy.lang.faults import as_script_error, place
from hslpy.lang.profiles import ALL_NEWEST, ProfileChoice
from hslpy.lang.program import Program
from hslpy.lang.run import LimitExceeded, Run, execute
from hslpy.records import dataclass
from hslpy.tooling.bench import ENDLESS_S, rendered
from hslpy.tooling.notation import readable
from hslpy.tooling.script_tests import STATE, TOPIC, TestState

SUFFIX = ".test.hsl"
FUNCTIONS: dict[str, Builtin] = {row.name: row for row in TOPIC.rows}


@dataclass(frozen=True, slots=True)
class Result:
    """What one test came to; `name` None for a file that could not be run at all. `error` is rendered."""

    file: Path
    name: str | None
    duration_s: float
    error: str | None = None
    echoes: tuple[str, ...] = ()


def find_files(paths: Iterable[Path], suffix: str = SUFFIX) -> list[Path]:
    """Give the files at the paths, and those below that end so, in order. Raises OperatorError where a path isn't."""
    found: dict[Path, None] = {}
    for path in paths:
        if path.is_dir():
            found.update(dict.fromkeys(sorted(path.rglob(f"*{suffix}"))))
        elif path.is_file():
            found[path] = None
        else:
            raise OperatorError(f"there is no file or folder {path}")
    return list(found)


async def run_file(
    file: Path, clock: Clock, wanted: str = "", profiles: ProfileChoice = ALL_NEWEST
) -> AsyncIterator[Result]:
    """Run the tests of one file whose names contain `wanted`. `clock` tells how long each takes.

    `profiles` says which year's behaviour the test, its modules and the scripts that it runs at hooks are written for.
    """
    started = clock.monotonic()
    compiled: dict[tuple[str, tuple[Path, ...]], Sequence[Program]] = {}
    try:
        loaded = TestState(file, compiled, profiles).bench.load_plain(file, FUNCTIONS)
    except OperatorError as error:
        yield Result(file, None, 0.0, f"error: {error.message}" + (f"\n = hint: {error.hint}" if error.hint else ""))
        return
    errors = [render(finding) for finding in loaded.diagnostics if finding.is_error]
    if loaded.program is None or errors:
        yield Result(file, None, 0.0, "\n\n".join(errors))
        return
    survey = TestState(file, compiled, profiles)
    failure, echoes = await run_test(loaded.program, survey, None)
    if failure is not None:
        yield Result(file, None, clock.monotonic() - started, failure, echoes)
        return
    for name in survey.tests:
        if wanted in name:
            started = clock.monotonic()
            failure, echoes = await run_test(loaded.program, TestState(file, compiled, profiles), name)
            yield Result(file, readable(name), clock.monotonic() - started, failure, echoes)


async def run_test(program: Program, state: TestState, name: str | None) -> tuple[str | None, tuple[str, ...]]:
    """Run the top level, and then the test `name`; give the rendered error and what was echoed."""
    echoes: list[str] = []
    # A test's own clock moves by hours at a call; the real time of its run is bounded by the pool.
    run = state.bench.plain_run(echoes.append, replace(state.bench.limits, wall_s=ENDLESS_S))
    run.scratch[STATE] = state

    def body() -> None:
        execute(program, run)
        if name is not None:
            echoes.clear()  # those of the top level are the same in each test
            _call(program, run, name)

    try:
        await state.bench.in_greenlet(body)
    except (ScriptError, LimitExceeded) as error:
        return rendered(error), tuple(echoes)
    finally:
        run.let_go()
    return None, tuple(echoes)


def _call(program: Program, run: Run, name: str) -> None:
    """Call a test's function. Raises ScriptError or LimitExceeded with its place, as `execute` does."""
    tests = run.scratch[STATE].tests
    if name not in tests:
        raise ScriptError("R321", "the test was not declared when the file ran again", hint="declare tests unconditionally")
    try:
        run.invoke(tests[name])
    except (Exception, LimitExceeded) as error:
        found = as_script_error(program, error)
        place(program, found, error.__traceback__)
        raise found from None

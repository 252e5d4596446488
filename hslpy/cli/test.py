"""`hslpy test PATH...`: tests of scripts, written in HSL."""

from __future__ import annotations

import argparse
import asyncio
from pathlib import Path
from textwrap import indent

from hslpy.cli.command import Command
from hslpy.cli.run import add_profile_argument, profiles_of
from hslpy.clock import SystemClock
from hslpy.lang.profiles import ProfileChoice
from hslpy.tooling.run_tests import SUFFIX, Result, find_files, run_file


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("paths", nargs="+", type=Path, metavar="PATH", help=f"test file, or a folder of *{SUFFIX} files")
    add_profile_argument(parser)
    parser.add_argument("--match", default="", metavar="TEXT", help="only tests with TEXT in their names")


def _run(arguments: argparse.Namespace) -> int:
    return asyncio.run(_run_all(find_files(arguments.paths), arguments.match, profiles_of(arguments)))


async def _run_all(files: list[Path], wanted: str, profiles: ProfileChoice) -> int:
    passed = failed = 0
    for file in files:
        print(file)
        async for result in run_file(file, SystemClock(), wanted.encode().decode("latin-1"), profiles):
            _show(result)
            passed += result.error is None
            failed += result.error is not None
    if not passed and not failed:
        print(f'no tests found: they are in files named *{SUFFIX}, as `test("name", function () {{ ... }});`')
        return 1
    print(f"\n{passed} passed, {failed} failed")
    return 1 if failed else 0


def _show(result: Result) -> None:
    state = "ok" if result.error is None else "FAILED"
    name = "the file" if result.name is None else result.name
    print(f"  {state:<6}  {name} ({result.duration_s * 1000:.0f} ms)")
    if result.echoes:
        print(indent("\n".join(f"echo: {text}" for text in result.echoes), "          "))
    if result.error is not None:
        print(f"\n{indent(result.error, '    ')}\n")


COMMAND = Command(
    "test",
    "run tests of scripts",
    _add_arguments,
    _run,
    description=f"Runs the tests in *{SUFFIX} files, which call test(name, function), expect(actual, expected),\n"
    "expect_error(function, text), run_hook(hook, files, facts), clock_advance(seconds), scanner_answer, dns_answer and\n"
    "queue_answer. Each test has a clock that stands still, and counters and memory of its own.\n"
    "Exit status 1 when a test fails, or none is found.",
)

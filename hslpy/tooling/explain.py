"""Explains diagnostics: each code with an example, what is said of it, and its cure. In: codes. Out: text and Markdown.

The examples are loaded, and run where loading finds nothing, in a world in memory. Must not know commands.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from hslpy.builtins import ALL, for_hook
from hslpy.builtins.absent import ABSENT
from hslpy.clock import SystemClock
from hslpy.errors import OperatorError, ScriptError
from hslpy.hooks.data import DATA
from hslpy.hooks.table import BY_NAME
from hslpy.lang.diagnostic_examples import EXAMPLES, Example
from hslpy.lang.diagnostics import CODES, Code, render, suggest
from hslpy.lang.load import Loaded, load_program
from hslpy.lang.program import Program
from hslpy.lang.run import LimitExceeded, Limits
from hslpy.lang.source import Source
from hslpy.tooling.bench import Bench, rendered, services_in_memory
from hslpy.tooling.events import DEFAULT_CONTENT, facts_from_texts, make_event
from hslpy.tooling.run_tests import FUNCTIONS, run_test
from hslpy.tooling.script_tests import TestState

NAME = "example.hsl"


def found_in(example: Example, text: str) -> list[str]:
    """Give what is said of one of an example's two programs, rendered: by the checker, else when it is run."""
    return asyncio.run(_found_in(example, text))


async def _found_in(example: Example, text: str) -> list[str]:
    loaded = _load(example, text)
    found = [render(finding) for finding in loaded.diagnostics]
    if loaded.program is None:
        return found
    services = replace(services_in_memory(SystemClock()), source_addresses={"netaddr:1": "192.0.2.1"})
    limits = Limits(**{name: type(getattr(Limits(), name))(value) for name, value in example.limits.items()})
    bench = Bench(services, limits=limits)
    try:
        error = await _error_of(example, loaded.program, bench)
    finally:
        await bench.services.close()
    return [*found, error] if error is not None else found


def _load(example: Example, text: str) -> Loaded:
    def read(name: str, importer: str | None) -> Source:
        if importer is None:
            return Source(NAME, text)
        if name not in example.files:
            raise OperatorError(f"there is no file `{name}`", hint="looked beside the script")
        return Source(name, example.files[name])

    if example.hook == "test":
        return load_program(NAME, read, {**for_hook(None), **FUNCTIONS}, {}, elsewhere=ALL, absent=ABSENT, data=DATA)
    predefined = BY_NAME[example.hook].predefined if example.hook is not None else {}
    return load_program(
        NAME, read, for_hook(example.hook), predefined, hook=example.hook, elsewhere=ALL, absent=ABSENT, data=DATA
    )


async def _error_of(example: Example, program: Program, bench: Bench) -> str | None:
    """Run the program where the example says and give its rendered error, if it has one."""
    if example.hook == "test":
        survey = TestState(Path(NAME), {})
        error, _ = await run_test(program, survey, None)
        for name in survey.tests if error is None else ():
            error, _ = await run_test(program, TestState(Path(NAME), {}), name)
        return error
    if example.hook is not None:
        event = make_event(example.hook, facts_from_texts(example.facts), DEFAULT_CONTENT, bench.clock.time())
        return (await bench.run_hook([program], example.hook, event)).error
    try:
        await bench.run_plain(program, lambda text: None)
    except (ScriptError, LimitExceeded) as fault:
        return rendered(fault)
    return None


def page_of(code: str) -> str:
    """Give what there is to say of a code, for a terminal. Raises OperatorError when there is no such code."""
    row = CODES.get(code.upper())
    if row is None:
        raise OperatorError(f"there is no diagnostic {code!r}", hint=suggest(code.upper(), CODES))
    example = EXAMPLES[row.code]
    where = _where(example)
    script = f"This script, {where}:" if where else "This script:"
    parts = [f"{row.code}: {row.title}", f"Cure: {row.cure}.", *_files(example), script]
    parts += [_indented(example.wrong), "gives:", _indented("\n\n".join(found_in(example, example.wrong))), "This does not:"]
    return "\n\n".join([*parts, _indented(example.right)])


def _indented(text: str) -> str:
    return "\n".join(f"    {line}".rstrip() for line in text.splitlines())


def _files(example: Example) -> list[str]:
    return [f"{name}:\n\n{_indented(text)}" for name, text in example.files.items()]


def _where(example: Example) -> str:
    """Say where the example is run, and under which limits; "" where it is any script."""
    where = "" if example.hook is None else " as a test" if example.hook == "test" else f" at hook {example.hook}"
    limits = ", ".join(f"`{name} = {value:g}`" for name, value in example.limits.items())
    where += f" under {limits}" if limits else ""
    return f"run{where}" if where else ""


def diagnostics_page(head: str, families: Mapping[str, str]) -> str:
    """Give the page of all diagnostics in Markdown: a table a family, then each with its example and its cure."""
    out = [
        head,
        "# Diagnostics\n\n`E` codes are errors of the checker, `W` its warnings, `R` errors while a script runs.\n"
        "`hslpy check --explain CODE` prints what stands here of one.\n",
    ]
    for family, title in families.items():
        rows = sorted((row for row in CODES.values() if row.code.startswith(family)), key=lambda row: row.code)
        out.append(f"\n## {title}\n")
        out += [_section(row, EXAMPLES[row.code]) for row in rows]
    return "".join(out)


def _section(row: Code, example: Example) -> str:
    said = "\n\n".join(found_in(example, example.wrong))
    files = "".join(f"\n`{name}`:\n\n```php\n{text.rstrip()}\n```\n" for name, text in example.files.items())
    where = _where(example)
    return (
        f"\n### {row.code}: {row.title}\n\n{row.cure[0].upper()}{row.cure[1:]}.\n{files}"
        + (f"\n{where.capitalize()}:\n" if where else "")
        + f"\n```php\n{example.wrong}\n```\n\n```\n{said}\n```\n\nCured:\n\n```php\n{example.right}\n```\n"
    )

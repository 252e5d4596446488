"""From source text to a compiled program: read, parse, resolve, check, compile. In: a path, a reader, what scripts may use.

Out: `Compiled` or what is wrong, with the files read. Imported where a program is not in the cache, and only then: with Lark
and the trees it is a tenth of a server's start.
"""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager

from hslpy.errors import OperatorError
from hslpy.lang import syntax
from hslpy.lang.cache import Request, source_digest
from hslpy.lang.check import check
from hslpy.lang.compile import compile_program
from hslpy.lang.data import DataImports
from hslpy.lang.declare import Builtin
from hslpy.lang.diagnostics import MOST_DIAGNOSTICS, Diagnostic
from hslpy.lang.link import Compiled
from hslpy.lang.parse import parse
from hslpy.lang.predefined import Predefined
from hslpy.lang.resolve import resolve
from hslpy.lang.scopes import World
from hslpy.lang.source import Source

_RECURSION = 20_000  # frames of ours and levels of Python's compiler: some ten a level of nodes (nesting.MOST_NESTING)


class Opener:
    """Reads and parses each file once."""

    def __init__(self, reader: Callable[[str, str | None], Source]) -> None:
        self.reader = reader
        self.sources: list[Source] = []
        self.found: list[Diagnostic] = []
        self.requests: list[tuple[Request, Source | None]] = []  # without a source where there was no file
        self._scripts: dict[str, tuple[Source, syntax.Script | None]] = {}
        self._data: dict[str, Source] = {}

    def __call__(self, path: str, importer: str | None) -> tuple[Source, syntax.Script | None]:
        try:
            source = self.reader(path, importer)
        except (OperatorError, OSError):
            self.requests.append(((path, importer), None))
            raise
        known = self._scripts.get(source.path)
        if known is None:
            script, diagnostics = parse(source)
            self.sources.append(source)
            self.found.extend(diagnostics)
            known = self._scripts[source.path] = (source, script)
        self.requests.append(((path, importer), known[0]))
        return known

    def data(self, path: str, importer: str | None) -> Source:
        """Read a file that is no script."""
        source = self.reader(path, importer)
        known = self._data.get(source.path)
        if known is None:
            known = self._data[source.path] = source
            self.sources.append(source)
        self.requests.append(((path, importer), known))
        return known


def _hooks_of(rows: Sequence[Builtin]) -> dict[str, tuple[str, ...]]:
    """Give the hooks of each function that is at some only; one that differs by hook has a row for each form."""
    found: dict[str, tuple[str, ...]] = {}
    for row in rows:
        if row.owner is None and row.hooks is not None:
            found[row.name] = (*found.get(row.name, ()), *row.hooks)
    return found


def compile_script(
    opener: Opener,
    path: str,
    builtins: Mapping[str, Builtin],
    predefined: Mapping[str, Predefined],
    hook: str | None,
    elsewhere: Sequence[Builtin],
    absent: Mapping[str, str],
    data: DataImports,
) -> tuple[Compiled | None, list[Diagnostic]]:
    """Read and compile; without a result after errors. Takes what `lang.load.load_program` does."""
    world = World(builtins, predefined, opener, opener.data, data, hook, _hooks_of(elsewhere), absent)
    with _deep_recursion():
        return _compile(opener, path, world)


@contextmanager
def _deep_recursion() -> Iterator[None]:
    """Let our visitors and Python's compiler recurse over deeply nested nodes, of which there are bounds."""
    limit = sys.getrecursionlimit()
    sys.setrecursionlimit(max(limit, _RECURSION))
    try:
        yield
    finally:
        sys.setrecursionlimit(limit)


def _compile(opener: Opener, path: str, world: World) -> tuple[Compiled | None, list[Diagnostic]]:
    """Read and compile; without a result after errors."""
    _, script = opener(path, None)
    if script is None:
        return None, _in_order(opener.found, opener.sources)
    resolution = resolve(world, script)
    if world.taken:
        world = _with_taken(world)
        resolution = resolve(world, script)
    check(world, resolution)
    found = _in_order([*opener.found, *world.findings()], opener.sources)
    if any(diagnostic.is_error for diagnostic in found):
        return None, found
    digest = hashlib.sha256(b"".join(source_digest(source) for source in opener.sources)).hexdigest()
    return compile_program(resolution, opener.sources, f"<hsl {digest[:16]}>"), found


def _with_taken(world: World) -> World:
    """Give a world for resolving anew, in which the predefined names that the program assigns are variables of its own.

    That is worth a warning but in a program that reads the arrays of the newer generation, where those names are free.
    """
    own = {name: Predefined(("any",), writable=True) for name in world.taken}
    fresh = World(
        world.builtins,
        {**world.predefined, **own},
        world.open_script,
        world.open_data,
        world.data,
        world.hook,
        world.elsewhere,
        world.absent,
    )
    given = [world.predefined[name] for name in world.facts]
    is_newer = any(not fact.yields and not fact.writable for fact in given)
    for name, span in () if is_newer else world.taken.items():
        fresh.report("W506", span, f"`${name}` is predefined here; the script makes it a variable of its own")
    return fresh


def _in_order(found: Sequence[Diagnostic], sources: Sequence[Source]) -> list[Diagnostic]:
    """Give the findings in source order, each once, the errors first to stay within the limit."""
    numbers = {id(source): number for number, source in enumerate(sources)}
    unique = list({(d.code, d.span, d.message): d for d in found}.values())
    errors = [d for d in unique if d.is_error]
    kept = [*errors, *(d for d in unique if not d.is_error)][:MOST_DIAGNOSTICS]
    return sorted(kept, key=lambda d: (numbers.get(id(d.span.source), 0), d.span.start))

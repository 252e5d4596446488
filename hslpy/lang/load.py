"""From a path to a program that can run, by way of the cache or the compiler.

In: a path, a reader of files, the builtins and the predefined variables of a hook. Out: `Loaded`.
Must not know where files are found or what hooks there are.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from hslpy.lang.cache import Entry, ProgramCache
from hslpy.lang.data import NO_DATA, DataImports
from hslpy.lang.declare import Builtin
from hslpy.lang.diagnostics import Diagnostic
from hslpy.lang.exceptions import TOPIC as EXCEPTIONS
from hslpy.lang.link import link
from hslpy.lang.predefined import Predefined
from hslpy.lang.program import Program
from hslpy.lang.source import Source
from hslpy.records import dataclass

Reader = Callable[[str, str | None], Source]


@dataclass(frozen=True, slots=True)
class Loaded:
    """What loading gave: `program` is None after errors; `sources` are all the files that were read."""

    program: Program | None
    diagnostics: list[Diagnostic]
    sources: list[Source]


def load_program(
    path: str,
    reader: Reader,
    builtins: Mapping[str, Builtin],
    predefined: Mapping[str, Predefined],
    *,
    hook: str | None = None,
    elsewhere: Sequence[Builtin] = (),
    absent: Mapping[str, str] | None = None,
    cache: Path | None = None,
    data: DataImports = NO_DATA,
) -> Loaded:
    """Load the script at `path` with everything it includes and imports.

    `reader(path, importer)` gives a file named in a script (the importer's path, None for the script itself) and raises
    OperatorError where there is none. `elsewhere` are all builtins, for hints about those of another hook than `hook`;
    `absent` are names that the original has, with the reason why they are not provided.
    `cache` is a private directory for compiled programs. `data` reads the files of data imports.
    """
    builtins = {**{row.name: row for row in EXCEPTIONS.rows}, **builtins}
    kept = ProgramCache(cache, path, builtins, predefined, hook) if cache is not None else None
    entry = kept.fetch(reader) if kept is not None else None
    if entry is None:
        from hslpy.lang.compiling import Opener, compile_script  # not in a server whose scripts are in the cache

        opener = Opener(reader)
        compiled, found = compile_script(opener, path, builtins, predefined, hook, elsewhere, absent or {}, data)
        if compiled is None:
            return Loaded(None, found, opener.sources)
        entry = Entry(compiled, found, opener.sources)
        if kept is not None:
            kept.store(entry, opener.requests)
    return Loaded(link(entry.compiled, entry.sources, builtins, data), entry.diagnostics, entry.sources)


__all__ = ["Loaded", "Predefined", "Program", "Reader", "load_program"]

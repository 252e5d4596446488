"""From a path to a program that can run: read, parse, resolve, check, compile, or take it from the cache.

In: a path, a reader of files, the builtins and the predefined variables of a hook. Out: `Loaded`.
Must not know where files are found or what hooks there are.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from hslpy.lang.declare import Builtin
from hslpy.lang.diagnostics import Diagnostic
from hslpy.lang.resolved import Predefined
from hslpy.lang.run import Program
from hslpy.lang.source import Source

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
    cache: Path | None = None,
) -> Loaded:
    """Load the script at `path` with everything it includes and imports.

    `reader(path, importer)` gives a file named in a script (the importer's path, None for the script itself) and raises
    OperatorError where there is none. `elsewhere` are all builtins, for hints about those of another hook than `hook`.
    `cache` is a private directory for compiled programs.
    """
    raise NotImplementedError


__all__ = ["Loaded", "Predefined", "Program", "Reader", "load_program"]

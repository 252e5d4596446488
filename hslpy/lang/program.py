"""What the compiler makes of a script. In: nothing. Out: the record that a run executes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from hslpy.lang.declare import Builtin
from hslpy.lang.source import Source, Span
from hslpy.records import dataclass


@dataclass(frozen=True, slots=True)
class Program:
    """A compiled script with all it includes and imports. `body(run)` executes it; a line number in its code objects is
    an index into `spans`; `names` maps code names to HSL function names. `reads` are the predefined variables and
    builtins that the program uses.
    """

    body: Callable[[Any], None]
    file: str
    spans: tuple[Span, ...]
    names: Mapping[str, str | None]
    variables: Mapping[str, str]
    sources: tuple[Source, ...]
    reads: frozenset[str]
    methods: Mapping[str, Builtin]

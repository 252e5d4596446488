"""Data imports as the language sees them: paths with a loader, constant options, and what reads the files.

In: a path as written, pairs of constants. Out: the kind of data, arrays. What a kind means is given from above.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any

from hslpy.lang.diagnostics import suggest
from hslpy.lang.run import Run
from hslpy.lang.source import Source
from hslpy.lang.values import Array, Value
from hslpy.records import dataclass

Constants = tuple[tuple[Any, Any], ...]  # keys and values of an array; inner arrays are such tuples
Give = Callable[[Run], Value]

_LOADER = re.compile(r"([A-Za-z0-9]+)!(.*)", re.DOTALL)
_EXTENSION = re.compile(r"\.([A-Za-z0-9]+)$")


@dataclass(frozen=True, slots=True)
class DataImports:
    """The kinds of data there are, and what reads one: `read(kind, source, options)`, which raises ScriptError."""

    kinds: Sequence[str] = ()
    read: Callable[[str, Source, Constants], Give] | None = None

    def kind_of(self, path: str) -> tuple[str, str]:
        """Give the kind that a path as written asks for, by a loader (`txt!name.eml`) or its extension, and the path."""
        loader = _LOADER.fullmatch(path)
        if loader is not None:
            return loader[1], loader[2]
        extension = _EXTENSION.search(path)
        return (extension[1].lower() if extension is not None else ""), path

    def refusal(self, kind: str, path: str) -> tuple[str, str] | None:
        """Give message and hint for a kind that there is not."""
        if kind in self.kinds:
            return None
        known = ", ".join(f".{one}" for one in self.kinds)
        if kind == "hsl" or not kind:
            message = "this imports data into a variable, and the path has no extension that says which"
            return message, f'a module\'s variable is `import {{ $x }} from "{path}"`; data is {known}'
        near = suggest(kind, self.kinds)
        return f"no way to read `.{kind}` as data", near or f'as text by `"txt!{path}"`; else {known}'


NO_DATA = DataImports()


def array_of_constants(pairs: Constants) -> Array:
    """Make a constant array. Marked as shared: whoever comes to own it and writes copies first."""
    items = {key: array_of_constants(value) if isinstance(value, tuple) else value for key, value in pairs}
    following = max((key + 1 for key in items if isinstance(key, int) and key >= 0), default=0)
    return Array(items, following, True)

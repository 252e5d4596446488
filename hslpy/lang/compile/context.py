"""What the parts of one compilation share: the span table, names of Python variables, links to runtime objects.

In: a `Resolution` and its `Types`. Out: line numbers, names, and `Link`s that `lang/link.py` binds when a program is loaded.
"""

from __future__ import annotations

from dataclasses import field

from hslpy.lang import resolved as r
from hslpy.lang.compile.pyast import Builder
from hslpy.lang.compile.types import Types
from hslpy.lang.declare import Builtin
from hslpy.lang.link import IN_NUMBERS, Link
from hslpy.lang.older import NumbersBuiltin
from hslpy.lang.source import Span
from hslpy.records import dataclass


def builtin_key(row: Builtin) -> str:
    """Give the key of a row in the table of builtins, with a mark where an older profile has it otherwise."""
    key = f"{row.owner}::{row.name}" if row.kind == "static method" else row.name
    return f"{IN_NUMBERS}{key}" if isinstance(row, NumbersBuiltin) else key


@dataclass(slots=True)
class Context:
    types: Types
    b: Builder = field(default_factory=Builder)
    spans: list[Span] = field(default_factory=list)
    links: dict[tuple[str, str], Link] = field(default_factory=dict)
    variables: dict[str, str] = field(default_factory=dict)  # Python name -> HSL name
    names: dict[str, str | None] = field(default_factory=dict)  # code name -> HSL function name
    _lines: dict[tuple[int, int, int], int] = field(default_factory=dict)

    def line_of(self, span: Span) -> int:
        """Give the line number that stands for a span."""
        key = (id(span.source), span.start, span.end)
        line = self._lines.get(key)
        if line is None:
            self.spans.append(span)
            line = self._lines[key] = len(self.spans)
        return line

    def link(self, kind: str, what: object) -> str:
        """Give the global name under which a runtime object will be found."""
        key = (kind, repr(what))  # repr tells 1.0 from True
        link = self.links.get(key)
        if link is None:
            link = self.links[key] = (f"{kind}_{len(self.links)}", kind, what)
        return link[0]

    def variable(self, var: r.Var) -> str:
        name = f"v{var.id}"
        self.variables.setdefault(name, var.name)
        return name

    def function(self, symbol: r.Symbol) -> str:
        return f"c{symbol.id}" if isinstance(symbol, r.ClassDef) else f"f{symbol.id}"

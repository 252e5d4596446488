"""The functions, classes and imports of earlier inputs, for the REPL. In: syntax nodes. Out: sources with them alone.

Each input is a program of its own; what it declared is given to the later ones as an included source of the same path,
in which all but the declarations is blank, so that places in it stay true. Must not know how programs run.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import field

from hslpy.errors import OperatorError
from hslpy.lang import syntax
from hslpy.lang.parse import parse
from hslpy.lang.source import Source, Span
from hslpy.records import dataclass

Reader = Callable[[str, str | None], Source]


@dataclass(slots=True)
class Declarations:
    """The live declarations by name, or by their text for imports; the latest of a name wins."""

    spans: dict[str, Span] = field(default_factory=dict)

    def without(self, new: dict[str, Span]) -> Declarations:
        """Give those that stay beside new ones: not of their names, nor of their files."""
        paths = {span.source.path for span in new.values()}
        kept = {name: span for name, span in self.spans.items() if name not in new and span.source.path not in paths}
        return Declarations(kept)

    def sources(self) -> list[Source]:
        """Give a source for each file or input that holds live declarations."""
        by_source: dict[Source, list[Span]] = {}
        for span in self.spans.values():
            by_source.setdefault(span.source, []).append(span)
        return [_blanked(source, spans) for source, spans in by_source.items()]

    def functions(self) -> list[str]:
        return [name for name in self.spans if name.isidentifier()]


def declared(script: syntax.Script, reader: Reader) -> dict[str, Span]:
    """Give the declarations of a script, those of files that it includes among them."""
    found: dict[str, Span] = {}
    seen: set[str] = set()
    todo = [script]
    while todo:
        for statement in todo.pop().body:
            if isinstance(statement, syntax.FunctionStmt):
                found[statement.function.name or ""] = statement.span
            elif isinstance(statement, syntax.ClassStmt):
                found[statement.name] = statement.span
            elif isinstance(statement, syntax.ImportStmt | syntax.ImportAllStmt):
                span = statement.span
                found[span.source.text[span.start : span.end]] = span
            elif isinstance(statement, syntax.IncludeStmt):
                todo += _included(statement, reader, seen)
    return found


def _included(statement: syntax.IncludeStmt, reader: Reader, seen: set[str]) -> Iterator[syntax.Script]:
    try:
        source = reader(statement.path.value, statement.span.source.path)
    except OperatorError:
        return  # the loader reports it
    if source.path not in seen:
        seen.add(source.path)
        script, _ = parse(source)
        if script is not None:
            yield script


def _blanked(source: Source, spans: list[Span]) -> Source:
    """Give the source with blanks for all but the spans; line ends stay."""
    out = [letter if letter in "\r\n" else " " for letter in source.text]
    for span in spans:
        end = span.end + (source.text[span.end : span.end + 1] == ";")
        out[span.start : end] = source.text[span.start : end]
    return Source(source.path, "".join(out), source.profile)

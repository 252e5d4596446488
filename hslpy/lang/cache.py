"""Compiled programs on disk, so that an unchanged script is not parsed again.

In: a private directory, what a program depends on. Out: `Compiled` data with its warnings, or None. A file is taken only
when all sources, the tables, Python and this package are the same as when it was written; anything odd is a miss.
Nobody else may write into the directory, since what is in it gets executed: it is made with mode 0700 and checked.
"""

from __future__ import annotations

import hashlib
import marshal
import os
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from functools import cache as once
from pathlib import Path
from typing import Any

from hslpy.errors import OperatorError
from hslpy.lang.declare import Builtin
from hslpy.lang.diagnostics import Diagnostic
from hslpy.lang.link import Compiled
from hslpy.lang.predefined import Predefined
from hslpy.lang.source import Source, Span
from hslpy.records import dataclass

Request = tuple[str, str | None]  # a path as written, and the path of the file that names it


_NO_FILE = -1  # in place of a source's number


@dataclass(frozen=True, slots=True)
class Entry:
    """A compiled program with the files it came from: each request, and the number of the source it gave."""

    compiled: Compiled
    diagnostics: list[Diagnostic]
    sources: list[Source]


@once
def _package_digest() -> bytes:
    """Give a digest of the compiler itself."""
    digest = hashlib.sha256(sys.version.encode())
    for path in sorted(Path(__file__).parent.rglob("*.py")):
        digest.update(path.read_bytes())
    return digest.digest()


class ProgramCache:
    """One program's place in the directory."""

    def __init__(
        self,
        folder: Path,
        path: str,
        builtins: Mapping[str, Builtin],
        predefined: Mapping[str, Predefined],
        hook: str | None,
    ) -> None:
        digest = hashlib.sha256(_package_digest())
        digest.update(repr((path, hook)).encode())
        for key, row in sorted(builtins.items()):
            emitted = (row.takes_call, row.whole, row.elements, sorted(row.inline.items()))
            digest.update(repr((key, row.signature.text, row.kind, row.owner, emitted)).encode())
        for name, variable in sorted(predefined.items()):
            digest.update(repr((name, variable.types, variable.writable, variable.yields)).encode())
        self.folder = folder
        self.file = folder / f"{digest.hexdigest()}.hslc"

    def _is_private(self) -> bool:
        try:
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            status = self.folder.stat()
        except OSError:
            return False
        return status.st_uid == os.getuid() and status.st_mode & 0o077 == 0

    def fetch(self, reader: Callable[[str, str | None], Source]) -> Entry | None:
        """Give the program if nothing it came from has changed."""
        if not self._is_private():
            return None
        try:
            requests, digests, warnings, compiled = marshal.loads(self.file.read_bytes())
            sources: dict[int, Source] = {}
            for (path, importer), number in requests:
                if number == _NO_FILE:
                    if _is_there(reader, path, importer):
                        return None
                    continue
                source = reader(path, importer)
                if source_digest(source) != digests[number]:
                    return None
                sources.setdefault(number, source)
            ordered = [sources[number] for number in range(len(digests))]
            diagnostics = [
                Diagnostic(code, Span(ordered[number], start, end), message, hint, notes)
                for code, number, start, end, message, hint, notes in warnings
            ]
            code, file, spans, names, variables, links, reads = compiled
            return Entry(Compiled(code, file, spans, names, variables, links, reads), diagnostics, ordered)
        except (OSError, OperatorError, EOFError, ValueError, TypeError, KeyError):
            return None

    def store(self, entry: Entry, requests: Sequence[tuple[Request, Source | None]]) -> None:
        """Keep a program; a disk that does not want it is no reason to fail."""
        if not self._is_private():
            return
        numbers = {id(source): number for number, source in enumerate(entry.sources)}
        c = entry.compiled
        content: Any = (
            [(request, numbers[id(source)] if source is not None else _NO_FILE) for request, source in requests],
            [source_digest(source) for source in entry.sources],
            [
                (d.code, numbers[id(d.span.source)], d.span.start, d.span.end, d.message, d.hint, d.notes)
                for d in entry.diagnostics
            ],
            (c.code, c.file, c.spans, c.names, c.variables, c.links, c.reads),
        )
        data = marshal.dumps(content)
        try:
            handle, name = tempfile.mkstemp(dir=self.folder)
            with os.fdopen(handle, "wb") as file:
                file.write(data)
            os.replace(name, self.file)
        except OSError:
            return


def _is_there(reader: Callable[[str, str | None], Source], path: str, importer: str | None) -> bool:
    try:
        reader(path, importer)
    except (OSError, OperatorError):
        return False
    return True


def source_digest(source: Source) -> bytes:
    """Give the digest of a file: its path, which messages name, its profile and its text."""
    head = f"{source.path}\0{source.profile.name}\0".encode("utf-8", "surrogateescape")
    return hashlib.sha256(head + source.text.encode("latin-1")).digest()

"""Source texts and places in them. In: bytes of a script. Out: `Source` and `Span`. Knows nothing of syntax."""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import field
from functools import cached_property

from hslpy.lang.profiles import NEWEST, Profile
from hslpy.records import dataclass


@dataclass(frozen=True, eq=False)
class Source:
    """One script's text. `path` is as the operator wrote it; `text` holds one character a byte (latin-1)."""

    path: str
    text: str = field(repr=False)
    profile: Profile = NEWEST

    @cached_property
    def line_starts(self) -> list[int]:
        starts = [0]
        at = self.text.find("\n")
        while at >= 0:
            starts.append(at + 1)
            at = self.text.find("\n", at + 1)
        return starts

    def position(self, offset: int) -> tuple[int, int]:
        """Give line and column of an offset, both from 1; the column counts bytes."""
        line = bisect_right(self.line_starts, offset)
        return line, offset - self.line_starts[line - 1] + 1

    def line(self, number: int) -> str:
        """Give the text of line `number` (from 1) without its end."""
        start = self.line_starts[number - 1]
        end = self.text.find("\n", start)
        return self.text[start : end if end >= 0 else len(self.text)].rstrip("\r")


@dataclass(frozen=True, slots=True)
class Span:
    """A place: offsets `start` (inclusive) and `end` (exclusive) into `source.text`."""

    source: Source
    start: int
    end: int

    def to(self, other: Span) -> Span:
        """Give the span from the start of this one to the end of the other."""
        return Span(self.source, self.start, other.end)

    def __str__(self) -> str:
        line, column = self.source.position(self.start)
        return f"{self.source.path}:{line}:{column}"

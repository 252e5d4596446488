"""What is written inside a literal. In: the place of one that the grammar accepted. Out: its node.

Knows how numbers, strings and regexes are spelled, and nothing else of the language.
"""

from __future__ import annotations

import re

from hslpy.lang import syntax as s
from hslpy.lang.source import Span

_BASES = {"0x": 16, "0o": 8, "0b": 2}
_ESCAPES = {"n": "\n", "r": "\r", "t": "\t", "\\": "\\", '"': '"', "$": "$"}
_STRING_PART = re.compile(
    r"\\x(?P<hex>[0-9a-fA-F]{2})|\\(?P<escape>.)|\$(?:\{(?P<braced>[a-zA-Z_]\w*)\}|(?P<plain>[a-zA-Z_]\w*))",
    re.DOTALL | re.ASCII,
)


def number(text: str) -> float:
    """Give the value of a number as it is written; infinity when it is beyond the largest there is."""
    text = text.replace("_", "")
    base = _BASES.get(text[:2])
    try:
        return float(text) if base is None else float(int(text[2:], base))
    except OverflowError:
        return float("inf")


def string(place: Span) -> s.StringLit | s.Interpolation:
    """Read a double-quoted string: its escapes, and the variables in it with their places."""
    source, start, end = place.source, place.start + 1, place.end - 1
    written = source.text
    parts: list[s.StringLit | s.Variable] = []
    text: list[str] = []
    bad: list[Span] = []
    part_start = at = start

    def close_part(stop: int) -> None:
        if text:
            parts.append(s.StringLit(Span(source, part_start, stop), "".join(text), bad_escapes=tuple(bad)))
            text.clear()
            bad.clear()

    for match in _STRING_PART.finditer(written, start, end):
        if match.start() > at:
            text.append(written[at : match.start()])
        at = match.end()
        if match["hex"]:
            text.append(chr(int(match["hex"], 16)))
        elif match["escape"] is None:
            close_part(match.start())
            parts.append(s.Variable(Span(source, match.start(), at), match["braced"] or match["plain"]))
            part_start = at
        elif match["escape"] in _ESCAPES:
            text.append(_ESCAPES[match["escape"]])
        else:  # kept as written
            text.append(match[0])
            bad.append(Span(source, match.start(), at))
    if end > at:
        text.append(written[at:end])
    if not parts:
        return s.StringLit(place, "".join(text), bad_escapes=tuple(bad))
    close_part(end)
    return s.Interpolation(place, tuple(parts))


def raw_string(place: Span) -> s.StringLit:
    """Read `'TAG'text'TAG'`: nothing inside means anything."""
    written = place.source.text[place.start : place.end]
    width = written.index("'", 1) + 1
    return s.StringLit(place, written[width:-width], written[:width])


def regex(place: Span) -> s.RegexLit:
    """Read `#/pattern/modifiers`: `\\/` stands for a slash, all else is the pattern's."""
    pattern, _, modifiers = place.source.text[place.start + 2 : place.end].rpartition("/")
    unescaped = re.sub(r"\\(.)", lambda match: "/" if match[1] == "/" else match[0], pattern)
    return s.RegexLit(place, unescaped, modifiers)

"""Scripts gone wrong: words of real programs left out, doubled, exchanged, cut off, and bytes thrown in.

In: a source of randomness and texts of scripts. Out: a text, and what it does: diagnostics, or a run that ends as runs do.
"""

from __future__ import annotations

import random
import re
from collections.abc import Sequence

from hslpy.clock import ManualClock
from hslpy.errors import ScriptError
from hslpy.lang.diagnostics import render_all
from hslpy.lang.load import load_program
from hslpy.lang.run import LimitExceeded, Limits, Run, execute
from hslpy.lang.source import Source
from tests.lang.oracle.interpreter import TABLE

_WORD = re.compile(r"\s+|\w+|\$\w+|\"[^\"\n]*\"|[-+*/%.=<>!&|^~?:]+|.", re.DOTALL)
_LIMITS = Limits(steps=3_000, depth=40, cpu_s=20.0, memory_bytes=32 * 1024 * 1024, string_bytes=1024 * 1024)
_WORDS = (
    "if else while for foreach ( ) { } [ ] ; , => -> :: = += . ... ?? ? : $x $y $this 1 2.5 \"a$x\" ''r'' class function"
)
_ODD = [*_WORDS.split(" "), "closure", "global", "yield", "match", "default", "try", "catch", "throw", "return", "break"]
_ODD += [
    "import",
    "from",
    "static",
    "private",
    "readonly",
    "isset",
    "unset",
    "builtin",
    "cache",
    "barrier",
    "object",
    "#/a/",
]
_ODD += [
    "\\",
    '"',
    "''",
    "/*",
    "//",
    "\x00",
    "\xff",
    "\n",
    "none",
    "continue",
    "switch",
    "case",
    "constructor",
    "echo",
    "array",
]


def mutated(chance: random.Random, texts: Sequence[str]) -> str:
    """Give one of the texts with a few words changed."""
    words = _WORD.findall(chance.choice(texts))
    other = _WORD.findall(chance.choice(texts))
    for _ in range(chance.choice([1, 1, 2, 3, 8])):
        at = chance.randrange(len(words) + 1)
        length = chance.choice([1, 1, 2, 5])
        kind = chance.randrange(7)
        if kind == 0:
            del words[at : at + length]
        elif kind == 1:
            words[at:at] = words[at : at + length]
        elif kind == 2:
            words[at:at] = [chance.choice(_ODD)]
        elif kind == 3:
            words[at : at + 1] = [chance.choice(_ODD)]
        elif kind == 4:
            start = chance.randrange(len(other) + 1)
            words[at:at] = other[start : start + length * 3]
        elif kind == 5 and chance.random() < 0.3:
            words = words[:at]
        else:
            end = chance.randrange(len(words) + 1)
            words[at : at + 1], words[end : end + 1] = words[end : end + 1], words[at : at + 1]
    return "".join(words)


def outcome_of(text: str) -> str:
    """Load the text and run it. Gives how far that came; lets any exception rise that is no diagnostic and no limit."""
    loaded = load_program("main.hsl", lambda path, importer: _source(path, text), TABLE, {})
    render_all(loaded.diagnostics)
    if loaded.program is None:
        assert any(found.is_error for found in loaded.diagnostics)
        return "refused"
    try:
        execute(loaded.program, Run(clock=ManualClock(), random=random.Random(1), limits=_LIMITS))
    except ScriptError as error:
        assert error.span is not None
        render_all([error])
        return "failed"
    except LimitExceeded:
        return "limited"
    return "ran"


def _source(path: str, text: str) -> Source:
    if path != "main.hsl":
        raise FileNotFoundError(path)
    return Source(path, text)

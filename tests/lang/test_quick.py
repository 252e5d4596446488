"""The quick search finds what the watched one finds."""

from __future__ import annotations

import re

from hypothesis import example, given
from hypothesis import strategies as st

from hslpy.lang.pcre import PatternError
from hslpy.lang.quick import quickest_search
from hslpy.lang.regex import quick_search

PIECES = [
    "a",
    "b",
    "A",
    "1",
    " ",
    ".",
    "^",
    "$",
    "[ab]",
    "[^a]",
    "[a-z]",
    r"[\w-]",
    r"\d",
    r"\W",
    r"\s",
    r"\b",
    "(",
    ")",
    "(?:",
    "|",
]
PIECES += ["*", "+", "?", "*?", "{2}", "{1,2}", "++", r"\n", r"\.", "@", "\xe9", "[[:alpha:]]", "(?i)", r"\Q.\E"]
PATTERNS = st.lists(st.sampled_from(PIECES), max_size=8).map("".join)
SUBJECTS = st.text("abAB1 .\n@\xe9\xc9_-", max_size=12)


@given(PATTERNS, st.sampled_from(["", "i", "m", "s", "x", "X", "U"]), SUBJECTS)
@example("^a$", "", "a\n")
@example("a|", "m", "b")
def test_same_as_the_watched_search(pattern: str, modifiers: str, subject: str) -> None:
    try:
        watched, below = quick_search(pattern, modifiers)
    except PatternError:
        return
    quick, quick_below = quickest_search(pattern, modifiers)
    assert quick_below == below
    wanted, got = watched(subject), quick(subject)
    assert (wanted is None) == (got is None)
    if wanted is not None and isinstance(got, re.Match):
        assert got.span() == wanted.span()


def test_plain_patterns_are_quick() -> None:
    for pattern in ("^[a-z]+$", r"^([^@]+)@example\.com$", r"\d+", "^netaddr:"):
        assert isinstance(quickest_search(pattern, "")[0]("x@y"), re.Match | None)
        assert quickest_search(pattern, "")[0].__self__.__class__ is re.Pattern  # type: ignore[attr-defined]

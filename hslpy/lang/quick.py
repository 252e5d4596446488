"""Search for constant patterns of the plainest kind by Python's own `re`, some eight times as fast as `regex`.

In: a pattern and its modifiers. Out: a search function and the length of subject up to which it may be used unwatched.
Only patterns of finite degree are taken, whose steps on a short subject are bounded, and only constructs that mean the
same to both engines. Must not know runs.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from hslpy.lang.pcre import translate
from hslpy.lang.regex import quick_search, unwrap

_ATOM = r"""[A-Za-z0-9_ !"#%',/:;<=>@`~-]|\\x[0-9a-f]{2}|\\[dDwWsSntrf]|\."""
_PLACE = r"\^|\$|\\[bB]|\||\((?:\?:)?"
_SET = r"\[\^?(?:(?:[A-Za-z0-9_ ]|\\x[0-9a-f]{2})(?:-(?:[A-Za-z0-9]|\\x[0-9a-f]{2}))?|\\[dDwWsS])+\]"
_TIMES = r"(?:(?:[*+?]|\{[0-9]+(?:,[0-9]*)?\})\??(?![*+?{]))?"
_PLAIN = re.compile(rf"(?:(?:{_ATOM}|{_SET}|\)){_TIMES}|{_PLACE})*")
_LONGEST_PATTERN = 200  # characters: compiling one takes well under a millisecond
_FLAGS = {"i": re.IGNORECASE, "m": re.MULTILINE, "s": re.DOTALL}


def quickest_search(pattern: str, modifiers: str | None) -> tuple[Callable[[str], object], int]:
    """Give the quickest search for a constant pattern, and below which length of subject it needs no clock.

    The result of the search is None or a match. Raises PatternError.
    """
    search, below = quick_search(pattern, modifiers)
    text, letters = unwrap(pattern) if modifiers is None else (pattern, modifiers)
    if below and len(text) <= _LONGEST_PATTERN:
        translation = translate(text, letters)
        if _PLAIN.fullmatch(translation.text):
            flags = re.ASCII
            for letter in translation.flags:
                flags |= _FLAGS[letter]
            try:
                return re.compile(translation.text, flags).search, below
            except re.error:
                return search, below
    return search, below

"""The resolved program: a tree of its own, every name bound to what it means. In: nothing. Out: the classes.

`resolve.py` makes it from syntax nodes, `check.py` and `compile/` read it. It holds no syntax nodes but their spans.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Predefined:
    """A predefined variable of a hook: its HSL types, and whether a script may assign it."""

    types: tuple[str, ...]
    writable: bool = False

"""Objects of class Iterator: what `foreach` takes besides arrays. In: pairs of key and value. Out: objects.

Each pair is given once; the class's rows are `builtins/core/collections.py`'s.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from hslpy.errors import ScriptError
from hslpy.lang.values import Array, HslObject, Value
from hslpy.records import dataclass

CLASS = "Iterator"
_AT_WORK = "generator already executing"  # Python's words


@dataclass(slots=True)
class Pairs:
    """What an Iterator holds. `is_paired`: next() gives both of a pair, else the value alone."""

    source: Iterator[tuple[Value, Value]]
    is_paired: bool = False


def iterator(pairs: Iterable[tuple[Value, Value]], is_paired: bool = False) -> HslObject:
    """Give an Iterator over pairs whose arrays are the taker's own."""
    return HslObject(CLASS, None, Pairs(iter(pairs), is_paired))


def numbered(values: Iterable[Value]) -> HslObject:
    """Give an Iterator over values, numbered from 0: the calls of a script's generators give that."""
    return iterator(enumerate(values))


def advance(this: HslObject) -> Value:
    """Give the next value, none at the end."""
    held: Any = this.host
    try:
        pair = next(held.source, None)
    except ValueError as error:
        raise (at_work(error) or error) from None
    if pair is None:
        return None
    return Array.of(pair) if held.is_paired else pair[1]


def at_work(error: BaseException) -> ScriptError | None:
    """Give the error of a generator that asks itself for its next value, if it is that."""
    if isinstance(error, ValueError) and str(error) == _AT_WORK:
        return ScriptError("R115", "a generator cannot ask itself for its next value")
    return None

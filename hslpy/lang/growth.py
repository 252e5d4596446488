"""Building long texts and arrays a stretch at a time. In: parts and the run's `Budget`. Out: the text or array.

What one operation builds is not yet part of the script's values, so the run cannot see it: it is booked as a whole each
time it has doubled. Work is charged as it goes, so that other sessions get their turns.
"""

from __future__ import annotations

import codecs

from hslpy.lang.budget import Budget
from hslpy.lang.values import Array, Key, Value

ELEMENT_BYTES = 100  # an array element in CPython 3.11: dict entry and a boxed float or a short str
_FIRST_BOOKED = 65_536
_PARTS_A_BLOCK = 512
_BYTES_A_BLOCK = 262_144
_CHUNK = 8192  # array elements, about half a millisecond


class Growth:
    """Books what one operation builds up. `run` None: nobody keeps books."""

    __slots__ = ("_booked", "_run", "total")

    def __init__(self, run: Budget | None) -> None:
        self._run = run
        self._booked = _FIRST_BOOKED
        self.total = 0

    def add(self, size_bytes: int) -> None:
        """Note that so many bytes more are held."""
        self.total += size_bytes
        if self.total >= self._booked and self._run is not None:
            self._run.reserve(self.total)
            self._booked = 2 * self.total


class TextBuilder:
    """A text in the making."""

    __slots__ = ("_blocks", "_growth", "_parts", "_pending", "_run")

    def __init__(self, run: Budget | None) -> None:
        self._run = run
        self._growth = Growth(run)
        self._parts: list[str] = []
        self._blocks: list[str] = []
        self._pending = 0

    def add(self, text: str) -> None:
        parts = self._parts
        parts.append(text)
        self._pending += len(text)
        if len(parts) >= _PARTS_A_BLOCK or self._pending >= _BYTES_A_BLOCK:
            self._end_block()

    def _end_block(self) -> None:
        if self._run is not None:
            self._run.charge(len(self._parts) // 2 + (self._pending >> 12))
        self._growth.add(self._pending + 100)
        self._blocks.append("".join(self._parts))
        self._parts = []
        self._pending = 0

    def text(self) -> str:
        """Give the whole; the builder is used up."""
        if not self._blocks:
            return "".join(self._parts)
        self._end_block()
        if self._run is not None:
            self._run.reserve(2 * self._growth.total)
        return "".join(self._blocks)


def array_of(run: Budget | None, values: list[Value]) -> Array:
    """Give an array with keys 0, 1, ..., as `Array.of`, built a stretch at a time. `values` are the caller's to give."""
    size = len(values)
    if run is None or size <= _CHUNK:
        return Array.of(values)
    run.reserve(size * ELEMENT_BYTES)
    items: dict[Key, Value] = {}
    for start in range(0, size, _CHUNK):
        items.update(zip(range(start, size), values[start : start + _CHUNK], strict=False))
        run.charge(_CHUNK >> 4)
    return Array(items, size)


def decode_utf8(run: Budget, text: str) -> str | None:
    """Give a byte string decoded, or None when it is not valid UTF-8."""
    if text.isascii():
        return text
    if len(text) > _BYTES_A_BLOCK:
        run.reserve(4 * len(text))
    decoder = codecs.getincrementaldecoder("utf-8")()
    parts: list[str] = []
    try:
        for start in range(0, len(text), _BYTES_A_BLOCK):
            parts.append(decoder.decode(text[start : start + _BYTES_A_BLOCK].encode("latin-1")))
            if start:
                run.charge(_BYTES_A_BLOCK >> 9)
        parts.append(decoder.decode(b"", True))
    except UnicodeDecodeError:
        return None
    return "".join(parts)

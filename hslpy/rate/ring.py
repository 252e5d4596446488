"""The arithmetic of a sliding window. In: a packed ring, a time, a limit. Out: a count, or the ring with one hit more.

A ring is 25 buckets of a 24th of the interval each, counted whole. A hit at `t` is still counted at `now` while
`now // width - t // width <= 24`, so always within the interval and at most a 24th of it longer. No clock, no store.
"""

from __future__ import annotations

import struct

BUCKETS = 25
"""24 buckets would admit up to twice the limit around a bucket's edge (measured); 25 never admit more than it."""

_PARTS = BUCKETS - 1
_HEAD = struct.Struct("<Q")
_FORMS = {size: struct.Struct(f"<Q{BUCKETS}{letter}") for size, letter in ((1, "B"), (2, "H"), (4, "I"), (8, "Q"))}
_SMALL = _FORMS[1]
# By the packed length, as the width of the slots is told by it alone.
_FORM_OF = {form.size: form for form in _FORMS.values()}


def width_us(interval: int) -> int:
    """Give the width of one bucket for an interval, both in microseconds; rounded up, never 0."""
    return -(-interval // _PARTS)


def hits(packed: bytes | None, now_us: int, width: int) -> int:
    """Give how many hits are counted at `now_us`. `packed` is None for an entry without any."""
    return sum(_slots(packed, now_us // width)) if packed is not None else 0


def hit(packed: bytes | None, now_us: int, width: int, limit: int) -> bytes | None:
    """Give the ring with one hit more, or None when `limit` hits are counted already."""
    bucket = now_us // width
    if packed is None:
        return _FORMS[1].pack(bucket, 1, *(0,) * _PARTS) if limit > 0 else None
    if len(packed) == _SMALL.size:  # the usual one, without unpacking: a third of the time (measured)
        age = bucket - int.from_bytes(packed[:8], "little")
        counts = packed[8:] if age <= 0 else bytes(min(age, BUCKETS)) + packed[8 : max(8, _SMALL.size - age)]
        if sum(counts) >= limit:
            return None
        if counts[0] < 255:
            return b"%b%c%b" % (packed[:8] if age == 0 else bucket.to_bytes(8, "little"), counts[0] + 1, counts[1:])
    else:
        form = _FORM_OF[len(packed)]
        values = form.unpack(packed)
        if values[0] == bucket:  # a busy entry: all but the newest slot stays (a quarter of the time)
            if sum(values) - bucket >= limit:
                return None
            size = (form.size - _HEAD.size) // BUCKETS
            if (values[1] + 1) >> 8 * size == 0:
                return b"%b%b%b" % (packed[:8], (values[1] + 1).to_bytes(size, "little"), packed[8 + size :])
    slots = _slots(packed, bucket)
    if sum(slots) >= limit:
        return None
    slots[0] += 1
    return _form_for(max(slots)).pack(bucket, *slots)


def without_hit(packed: bytes, at_us: int, width: int) -> bytes:
    """Give the ring with one hit of `at_us` less, the same where it holds none of that time."""
    head, *slots = _FORM_OF[len(packed)].unpack(packed)
    age = max(0, head - at_us // width)
    if age >= BUCKETS or slots[age] == 0:
        return packed
    slots[age] -= 1
    return _FORM_OF[len(packed)].pack(head, *slots)


def expires_us(packed: bytes, width: int) -> int:
    """Give the time from which on the ring counts nothing."""
    (head,) = _HEAD.unpack_from(packed)
    return int(head + BUCKETS) * width


def _slots(packed: bytes, bucket: int) -> list[int]:
    """Give the 25 slots, newest first, moved on to `bucket`.

    When the time went back, the newest slot is taken for the present: its hits are counted longer, never shorter.
    """
    head, *slots = _FORM_OF[len(packed)].unpack(packed)
    age = bucket - head
    if age <= 0:
        return slots
    if age >= BUCKETS:
        return [0] * BUCKETS
    return [0] * age + slots[:-age]


def _form_for(largest: int) -> struct.Struct:
    """Give the narrowest form that holds `largest`, so that no slot can overflow and most rings are 33 bytes."""
    if largest < 1 << 8:
        return _FORMS[1]
    if largest < 1 << 16:
        return _FORMS[2]
    return _FORMS[4] if largest < 1 << 32 else _FORMS[8]

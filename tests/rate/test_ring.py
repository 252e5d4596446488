"""The ring's arithmetic alone."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from hslpy.rate import ring
from hslpy.rate.contract import key_of

INTERVALS = st.sampled_from([1, 23, 24, 25, 1_000, 999_983, 3_600_000_000, 28_800_000_000])


@given(INTERVALS, st.integers(1, 6), st.integers(0, 10**16), st.lists(st.floats(0, 0.4), max_size=60))
def test_never_more_than_the_limit_in_any_window(interval: int, limit: int, start: int, gaps: list[float]) -> None:
    width = ring.width_us(interval)
    now, packed, admitted = start, None, []
    for gap in gaps:
        now += int(gap * interval)
        counted = ring.hits(packed, now, width)
        recent = [at for at in admitted if now - at <= interval]
        not_longer = [at for at in admitted if now - at < ring.BUCKETS * width]
        assert len(recent) <= counted <= len(not_longer)
        changed = ring.hit(packed, now, width, limit)
        if changed is None:
            assert len(not_longer) >= limit
        else:
            admitted.append(now)
            assert len(recent) + 1 <= limit
            packed = changed


def test_a_ring_of_few_hits_is_33_bytes_and_grows_with_its_fullest_slot() -> None:
    packed = None
    for _ in range(255):
        packed = ring.hit(packed, 0, 1000, 10**9)
    assert packed is not None and len(packed) == 33
    packed = ring.hit(packed, 0, 1000, 10**9)
    assert packed is not None and len(packed) == 58
    assert ring.hits(packed, 0, 1000) == 256


def test_slots_above_32_bits_do_not_overflow() -> None:
    full = ring._FORMS[4].pack(7, 2**32 - 1, *(0,) * 24)
    packed = ring.hit(full, 7_000, 1000, 2**53)
    assert packed is not None and ring.hits(packed, 7_000, 1000) == 2**32


def test_a_ring_narrows_when_its_full_slot_has_left() -> None:
    wide = ring._FORMS[2].pack(0, 300, *(0,) * 24)
    packed = ring.hit(wide, 25_000, 1000, 5)
    assert packed is not None and len(packed) == 33


def test_hits_stay_counted_when_the_time_goes_back() -> None:
    packed = ring.hit(None, 1_000_000, 1000, 2)
    packed = ring.hit(packed, 10_000, 1000, 2)
    assert packed is not None
    assert ring.hit(packed, 10_000, 1000, 2) is None
    assert ring.hits(packed, 34_999, 1000) == 2
    assert ring.hits(packed, 35_000, 1000) == 0


def test_a_ring_expires_when_its_last_hit_is_no_longer_counted() -> None:
    packed = ring.hit(None, 5_500, 1000, 1)
    assert packed is not None
    expires = ring.expires_us(packed, 1000)
    assert ring.hits(packed, expires - 1, 1000) == 1
    assert ring.hits(packed, expires, 1000) == 0


NAMES = st.text(st.characters(max_codepoint=255), max_size=8) | st.sampled_from([":", "1:", "#", "1:a:", "a" * 300])


@given(st.tuples(NAMES, NAMES, st.integers(1, 3)), st.tuples(NAMES, NAMES, st.integers(1, 3)))
def test_keys_of_different_counters_differ(one: tuple[str, str, int], other: tuple[str, str, int]) -> None:
    assert (key_of(*one) == key_of(*other)) == (one == other)


def test_a_long_entry_has_a_short_key() -> None:
    assert len(key_of("n", "x" * 1_000_000, 1)) < 100
    assert key_of("n", "x" * 1_000_000, 1) != key_of("n", "x" * 1_000_001, 1)

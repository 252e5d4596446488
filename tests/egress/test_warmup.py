"""Section D: windows and volumes of the plan, with the published sequences."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime, time, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hslpy.egress.warmup import HOURLY, Plan, hourly_limit, hours_on, window_at

PLAN = Plan(date(2026, 3, 2), zone="UTC")


@pytest.mark.parametrize(
    ("days", "curve", "hours"),
    [
        (7, "gentle", [1, 2, 3, 5, 8, 14, 24]),
        (10, "gentle", [1, 1, 2, 3, 4, 6, 8, 12, 17, 24]),
        (14, "gentle", [1, 1, 2, 2, 3, 3, 4, 6, 7, 9, 12, 15, 19, 24]),
        (7, "linear", [1, 5, 9, 12, 16, 20, 24]),
        (14, "linear", [1, 3, 5, 6, 8, 10, 12, 13, 15, 17, 19, 20, 22, 24]),
    ],
)
def test_hours_by_day(days, curve, hours):
    assert [hours_on(day, days, curve) for day in range(1, days + 1)] == hours


@given(st.integers(7, 60), st.sampled_from(["gentle", "linear"]))
def test_hours_grow_from_one_to_a_day(days, curve):
    hours = [hours_on(day, days, curve) for day in range(1, days + 2)]
    assert hours[0] == 1 and hours[-2:] == [24, 24] and hours == sorted(hours)


def at(day: int, hour: int, minute: int = 0) -> datetime:
    return datetime(2026, 3, day, hour, minute, tzinfo=UTC)


def test_windows():
    assert window_at(PLAN, at(1, 12)) == window_at(PLAN, at(1, 12))
    assert window_at(PLAN, at(1, 12)).opens == at(2, 9) and not window_at(PLAN, at(1, 12)).is_open
    assert not window_at(PLAN, at(2, 8, 59)).is_open and window_at(PLAN, at(2, 8, 59)).opens == at(2, 9)
    assert window_at(PLAN, at(2, 9)).is_open and window_at(PLAN, at(2, 9)).closes == at(2, 10)
    assert not window_at(PLAN, at(2, 10)).is_open and window_at(PLAN, at(2, 10)).opens == at(3, 9)
    assert (window_at(PLAN, at(4, 11)).day, window_at(PLAN, at(4, 11)).is_open) == (3, True)
    assert window_at(PLAN, at(8, 3)).day == 7
    late = window_at(PLAN, at(9, 9))
    assert (late.day, late.is_open) == (8, True)


def test_a_window_over_midnight_belongs_to_the_day_it_began_on():
    plan = replace(PLAN, window_start=time(22))  # day 4 has five hours
    night = window_at(plan, at(6, 2))
    assert (night.day, night.is_open, night.closes) == (4, True, at(6, 3))


def test_days_that_do_not_count_put_the_plan_off():
    assert window_at(PLAN, at(4, 11), skipped_days=2).day == 1
    assert not window_at(PLAN, at(4, 11), skipped_days=2).is_open


def test_windows_are_by_the_clock_on_the_wall():
    plan = Plan(date(2026, 3, 28), zone="Europe/Berlin")  # clocks go forward on the 29th
    assert window_at(plan, datetime(2026, 3, 28, 8, 30, tzinfo=UTC)).is_open
    assert window_at(plan, datetime(2026, 3, 29, 7, 30, tzinfo=UTC)).is_open
    assert not window_at(plan, datetime(2026, 3, 29, 9, 30, tzinfo=UTC)).is_open


@given(st.integers(0, 24 * 60 * 12), st.integers(0, 23), st.integers(7, 10))
def test_what_is_said_of_the_next_window_is_so(minutes, hour, days):
    plan = Plan(date(2026, 3, 2), days, time(hour), "UTC")
    now = at(1, 0) + timedelta(minutes=minutes)
    window = window_at(plan, now)
    if window.closes is not None:
        assert window.is_open and window_at(plan, window.closes - timedelta(seconds=1)).is_open
    if window.opens is not None:
        assert not window.is_open and window_at(plan, window.opens).is_open
        assert not window_at(plan, window.opens - timedelta(seconds=1)).is_open
    assert window.is_open or window.opens is not None


def test_volumes():
    plan = replace(PLAN, hourly=tuple(HOURLY), hourly_of={"google": (5, 10)}, days=14)
    assert [hourly_limit(plan, day) for day in (1, 2, 14, 15)] == [20, 28, 1587, None]
    assert [hourly_limit(plan, day, "google") for day in (1, 2, 3)] == [5, 10, None]
    assert hourly_limit(PLAN, 1) is None

"""Section D: windows and volumes of the plan, with the published sequences."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hslpy.egress.rules.warmup import (
    HOURLY,
    Plan,
    Progress,
    Sent,
    Window,
    begun,
    date_of,
    hourly_limit,
    hours_on,
    roll,
    window_at,
)

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


def test_the_progress_says_which_day_it_is():
    behind = Progress(1, date(2026, 3, 4))
    assert (window_at(PLAN, at(4, 11), behind).day, window_at(PLAN, at(4, 11), behind).is_open) == (1, False)
    assert window_at(PLAN, at(4, 9, 30), behind).is_open and window_at(PLAN, at(5, 9, 30), behind).day == 1
    late = replace(PLAN, window_start=time(22))
    far = Progress(4, date(2026, 3, 9), 4)  # a repeated day keeps the night it began with
    assert window_at(late, at(9, 2), far).closes == at(9, 3)
    assert window_at(PLAN, at(9, 3), Progress(8, date(2026, 3, 9), 7)).day == 7  # its whole day is not over
    assert window_at(PLAN, at(9, 9), Progress(8, date(2026, 3, 9), 7)) == Window(8, True)


def sent(**by_day):
    return {date(2026, 3, int(day.removeprefix("d"))): found for day, found in by_day.items()}


def test_days_that_count_and_days_that_do_not():
    start = begun(PLAN)
    assert roll(PLAN, start, at(2, 23), sent(d2=Sent(5))) == []
    assert roll(PLAN, start, at(3, 0), sent(d2=Sent(5))) == [Progress(2, date(2026, 3, 3), 1)]
    assert roll(PLAN, start, at(3, 0), sent()) == [Progress(1, date(2026, 3, 3), 1)]
    assert roll(PLAN, start, at(3, 0), sent(d2=Sent(5, spoiled=True))) == [Progress(1, date(2026, 3, 3), 1)]
    assert roll(PLAN, start, at(6, 0), sent(d2=Sent(5), d5=Sent(5)))[-1] == Progress(3, date(2026, 3, 6), 2)
    assert roll(replace(PLAN, require_traffic=0), start, at(6, 0), {})[-1].day == 5
    assert roll(replace(PLAN, require_traffic=9), start, at(3, 0), sent(d2=Sent(8)))[-1].day == 1


def test_a_window_over_midnight_may_still_make_its_day_count():
    late = replace(PLAN, window_start=time(23))
    third = Progress(3, date(2026, 3, 4), 2)  # three hours, until 02:00
    assert roll(late, third, at(5, 1), sent()) == []
    assert roll(late, third, at(5, 1), sent(d4=Sent(1))) == [Progress(4, date(2026, 3, 5), 3)]
    assert roll(late, third, at(5, 2), sent()) == [Progress(3, date(2026, 3, 5), 3)]
    assert date_of(late, third, at(5, 1)) == date(2026, 3, 4) and date_of(late, third, at(5, 3)) == date(2026, 3, 5)
    assert date_of(PLAN, third, at(4, 1)) == date(2026, 3, 4)


ZONES = st.sampled_from(["UTC", "Europe/Vienna", "America/New_York", "Australia/Lord_Howe", "Asia/Kolkata"])
PLANS = st.builds(
    Plan,
    start=st.dates(date(2026, 3, 20), date(2026, 4, 10)),
    days=st.integers(7, 14),
    window_start=st.times().map(lambda one: one.replace(second=0, microsecond=0)),
    zone=ZONES,
    curve=st.sampled_from(["gentle", "linear"]),
)


@given(PLANS, st.lists(st.integers(0, 2), min_size=40, max_size=40), st.sets(st.integers(0, 39)))
def test_a_plan_never_goes_faster_than_its_days(plan, messages, spoiled):
    """Through clock changes, days without mail and pauses: a day a date at most, none lost, none twice."""
    found = {plan.start + timedelta(days=n): Sent(number, n in spoiled) for n, number in enumerate(messages)}
    progress, zone = begun(plan), ZoneInfo(plan.zone)
    for n in range(1, 40):
        now = datetime.combine(plan.start + timedelta(days=n), time(), zone)
        seen = {on: one for on, one in found.items() if on < now.date()}
        steps = roll(plan, progress, now, seen)
        for step in steps:
            assert step.day - progress.day in (0, 1) and step.before == progress.day
            assert step.on - progress.on == timedelta(days=1)
            counts = found[progress.on].messages >= 1 and not found[progress.on].spoiled
            assert step.day - progress.day == counts
            progress = step
        assert progress.on <= now.date() or progress.day > plan.days
    assert roll(plan, begun(plan), datetime.combine(plan.start + timedelta(days=39), time(12), zone), found)[-1].day >= min(
        progress.day, plan.days
    )


@given(PLANS, st.integers(0, 24 * 60 * 20))
def test_the_open_hours_of_a_day_are_those_of_the_plan(plan, minutes):
    zone = ZoneInfo(plan.zone)
    now = datetime.combine(plan.start, time(), zone).astimezone(UTC) + timedelta(minutes=minutes)
    window = window_at(plan, now)
    if window.is_open and window.day <= plan.days:
        assert window.closes is not None
        wall = window.closes.replace(tzinfo=None) - timedelta(hours=hours_on(window.day, plan.days, plan.curve))
        assert wall.time() == plan.window_start
        began = wall.replace(tzinfo=zone)
        assert began <= now < window.closes
        assert window.day == (began.date() - plan.start).days + 1


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

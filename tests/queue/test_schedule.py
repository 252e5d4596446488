"""Retry times: they grow, stay within the ceiling and end with the lifetime, whatever the schedule."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hslpy.errors import OperatorError
from hslpy.queue.schedule import QueueExpired, RetrySchedule, most_retries, next_attempt_at, spread_over, wait_after

_ROLLS = st.floats(0, 1)
_TRIES = st.integers(0, 10_000)


@st.composite
def schedules(draw: st.DrawFn) -> RetrySchedule:
    wait = draw(st.floats(1, 1e4))
    return RetrySchedule(
        wait_s=wait,
        factor=draw(st.floats(1, 4)),
        ceiling_s=wait * draw(st.floats(1, 1000)),
        jitter=draw(st.floats(0, 0.99)),
        lifetime_s=draw(st.floats(1, 1e7)),
        bounce_lifetime_s=draw(st.floats(1, 1e7)),
    )


@given(schedules(), _TRIES, _TRIES)
def test_waits_never_get_shorter(schedule: RetrySchedule, one: int, other: int) -> None:
    assert wait_after(min(one, other), schedule) <= wait_after(max(one, other), schedule)


@given(schedules(), _TRIES, _ROLLS)
def test_waits_stay_between_first_wait_and_ceiling_give_or_take_the_jitter(
    s: RetrySchedule, tries: int, roll: float
) -> None:
    wait = wait_after(tries, s, roll)
    assert s.wait_s * (1 - s.jitter) * 0.999 <= wait <= s.ceiling_s * (1 + s.jitter) * 1.001
    assert wait > 0


@given(schedules(), _TRIES, _ROLLS, st.floats(0, 1e7), st.booleans())
def test_an_attempt_lies_after_the_last_and_within_the_lifetime(
    schedule: RetrySchedule, tries: int, roll: float, age: float, bounce: bool
) -> None:
    first = 1.7e9
    lifetime = schedule.bounce_lifetime_s if bounce else schedule.lifetime_s
    try:
        at = next_attempt_at(first, first + age, tries, schedule, roll, bounce=bounce)
    except QueueExpired:
        assert first + age + wait_after(tries, schedule, roll) > first + lifetime
    else:
        assert first + age < at <= first + lifetime


def test_the_default_schedule_is_what_its_description_says() -> None:
    schedule = RetrySchedule()
    now = first = 0.0
    times = []
    for tries in range(1, 1000):
        try:
            now = next_attempt_at(first, now, tries, schedule)
        except QueueExpired:
            break
        times.append(now / 60)
    assert times[:6] == [5, 15, 35, 75, 155, 315]
    assert times[7] - times[6] == 240
    assert 4.8 * 1440 < times[-1] <= 5 * 1440


def test_a_schedule_that_makes_no_sense_is_the_operators() -> None:
    for wrong in (
        {"wait_s": 0},
        {"ceiling_s": 1},
        {"factor": 0.5},
        {"jitter": 1},
        {"lifetime_s": 0},
        {"bounce_lifetime_s": -1},
    ):
        with pytest.raises(OperatorError):
            RetrySchedule(**wrong)


@given(st.lists(_ROLLS, max_size=50), st.floats(1, 1e4))
def test_spreading_keeps_the_order_and_the_window(rolls: list[float], window: float) -> None:
    times = spread_over([0.0] * len(rolls), 1000.0, window, rolls)
    assert times == sorted(times)
    assert all(1000 <= at <= 1000 + window * 1.001 for at in times)
    if rolls:
        assert times[-1] >= 1000 + window * (1 - 1 / len(rolls)) * 0.999


@pytest.mark.parametrize("bounce", [False, True])
@pytest.mark.parametrize(
    "schedule", [RetrySchedule(), RetrySchedule(factor=1), RetrySchedule(600, 1.5, 7200), RetrySchedule(1e6, 2, 1e7)]
)
def test_the_room_for_retries_is_what_the_schedule_gives(schedule: RetrySchedule, bounce: bool) -> None:
    at, tries = 0.0, 0
    with pytest.raises(QueueExpired):
        while True:
            at = next_attempt_at(0.0, at, tries + 1, schedule, bounce=bounce)
            tries += 1
    assert most_retries(schedule, bounce=bounce) == tries

"""Forecasts: when it is warm, how much waits."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from hslpy.egress.rules.forecast import WEEK, backlog, expected, forecast, traffic_of
from hslpy.egress.rules.warmup import Plan, Progress, Sent, begun, roll

PLAN = Plan(date(2026, 3, 2))  # a Monday
START = begun(PLAN)


def at(day: int, hour: int = 0) -> datetime:
    return datetime(2026, 3, day, hour, tzinfo=UTC)


def hour_of_week(day: int, hour: int) -> int:
    return int(at(day, hour).timestamp() // 3600) % WEEK


STEADY = dict.fromkeys(range(WEEK), 10.0)


def test_with_mail_every_hour_it_is_warm_when_the_plan_ends():
    assert forecast(PLAN, START, at(2), STEADY).text == "At this plan and this traffic, warm on Monday, 9 March 2026."
    assert forecast(PLAN, Progress(5, date(2026, 3, 6), 4), at(6), STEADY).warm_on == date(2026, 3, 9)
    assert forecast(PLAN, START, at(1), STEADY).warm_on == date(2026, 3, 9)
    paused = forecast(PLAN, START, at(2), STEADY, paused=True)
    assert paused.text == "Paused. If it went on now, it would be warm on Monday, 9 March 2026."


def test_days_without_mail_put_it_off():
    weekdays = {hour_of_week(day, hour): 5.0 for day in range(2, 7) for hour in range(24)}
    assert forecast(PLAN, START, at(2), weekdays).text == "At this plan and this traffic, warm on Wednesday, 11 March 2026."
    assert forecast(PLAN, START, at(2, 12), weekdays).warm_on == date(2026, 3, 12)  # today's window is over
    assert forecast(PLAN, START, at(2, 12), weekdays, sent_today=3).warm_on == date(2026, 3, 11)


def test_where_there_is_never_mail_it_says_so():
    nights = {hour_of_week(day, 2): 5.0 for day in range(2, 9)}
    found = forecast(PLAN, START, at(2), nights)
    assert found.warm_on is None
    assert found.text.endswith("never gets warm: there is no mail from 09:00 to 10:00, on day 1.")
    unknown = forecast(PLAN, START, at(2), {})
    assert unknown.text == "No traffic is known yet: warm on Monday, 9 March 2026 at the earliest."


def test_what_a_window_lets_go():
    assert expected(PLAN, date(2026, 3, 4), 3, STEADY) == 30
    capped = Plan(date(2026, 3, 2), hourly=(4, 4, 4))
    assert expected(capped, date(2026, 3, 4), 3, STEADY) == 12
    assert expected(PLAN, date(2026, 3, 4), 3, STEADY, at(4, 11)) == 10


def test_what_waits_while_mail_is_held():
    found = backlog(PLAN, START, at(2, 10), STEADY)
    assert (found.messages, found.text) == (230, "about 230 messages wait at 09:00 UTC")
    assert backlog(PLAN, START, at(2, 10), {}).text == "no message waits"
    capped = backlog(Plan(date(2026, 3, 2), hourly=(20,)), START, at(2, 9), STEADY)
    assert capped.messages > 230  # an hour of 20 does not empty it


def test_the_traffic_of_a_week_is_its_hours():
    base = int(at(2).timestamp() // 3600)
    assert traffic_of({base: 4, base + 100: 6}, base + WEEK) == {base % WEEK: 4.0, (base + 100) % WEEK: 6.0}
    young = traffic_of({base: 4, base + 24: 6}, base + 48)
    assert young == {hour: 5.0 for hour in range(WEEK) if hour % 24 == base % 24}
    assert traffic_of({}, base) == {}


@given(st.integers(7, 14), st.lists(st.integers(0, 3), min_size=7, max_size=7).filter(any))
def test_what_is_forecast_comes_to_pass(days, by_weekday):
    """Where each week is like the last, the day it names is the day on which the plan is over."""
    plan = Plan(date(2026, 3, 2), days)
    traffic = {hour_of_week(2 + day, 9): float(number) for day, number in enumerate(by_weekday)}
    found = forecast(plan, begun(plan), at(2), {key: one for key, one in traffic.items() if one})
    progress, now = begun(plan), at(2)
    while progress.day <= days:
        now += timedelta(days=1)
        dates = (plan.start + timedelta(days=number) for number in range((now.date() - plan.start).days))
        for step in roll(plan, progress, now, {on: Sent(by_weekday[on.weekday()]) for on in dates}):
            progress = step
    assert found.warm_on == now.date()

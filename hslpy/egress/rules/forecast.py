"""When an address will be warm, and how much mail waits until then. In: plan, progress, the last week's traffic. Out: words.

Plain functions. The traffic is that of the last seven days: the coming ones are taken to be like them, hour by hour of the
week. Source: sections D5 and B4 of the specification of delivery IPs.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

from hslpy.egress.rules.warmup import Plan, Progress, bounds, hourly_limit, window_at
from hslpy.records import record

Traffic = Mapping[int, float]
"""Messages in each hour of the week that had any; the key is the Unix hour modulo 168."""
WEEK = 168
MOST_DATES = 365
_HOUR = timedelta(hours=1)


@record
class Forecast:
    """`warm_on` is the first date on which the address is warm, None where it never will be; `text` says it."""

    warm_on: date | None
    text: str


@record
class Backlog:
    """The most messages that wait at once within the next two days where mail is held, and when (Unix seconds)."""

    messages: int
    at: float
    text: str


def traffic_of(messages: Mapping[int, int], now_hour: int) -> Traffic:
    """Give the traffic of messages by Unix hour, of the seven days before `now_hour`.

    Where less than a week is known each day is taken to be like the mean of those.
    """
    if not messages:
        return {}
    known = now_hour - min(messages)
    if known >= WEEK - 24:
        return {hour % WEEK: float(number) for hour, number in messages.items()}
    days = max(1, math.ceil(known / 24))
    of_day: dict[int, float] = {}
    for hour, number in messages.items():
        of_day[hour % 24] = of_day.get(hour % 24, 0.0) + number / days
    return {hour: of_day[hour % 24] for hour in range(WEEK) if hour % 24 in of_day}


def expected(plan: Plan, on: date, day: int, traffic: Traffic, since: datetime | None = None) -> float:
    """Give the messages that the window of a date lets go, by its caps, from `since` on."""
    opens, closes = (one.astimezone(UTC) for one in bounds(plan, on, day))
    at = max(opens, since) if since is not None else opens
    cap = hourly_limit(plan, day)
    total = 0.0
    while at < closes:
        ends = min(at.replace(minute=0, second=0, microsecond=0) + _HOUR, closes)
        number = traffic.get(int(at.timestamp() // 3600) % WEEK, 0.0)
        total += min(number, number if cap is None else cap) * ((ends - at) / _HOUR)
        at = ends
    return total


def forecast(
    plan: Plan, progress: Progress, now: datetime, traffic: Traffic, sent_today: int = 0, *, paused: bool = False
) -> Forecast:
    """Give when an address is warm; where it is paused, as if it went on now."""
    today = max(now.astimezone(ZoneInfo(plan.zone)).date(), plan.start)
    day = progress.day_of(plan, today) or progress.day
    if day > plan.days:
        return Forecast(today, "It is warm.")
    first = "Paused. If it went on now, it would be" if paused else ""
    if not traffic:
        earliest = today + timedelta(days=plan.days - day + 1)
        begins = first.replace("would be", "would be ") if first else "No traffic is known yet:"
        return Forecast(earliest, f"{begins.strip()} warm on {dated(earliest, today)} at the earliest.")
    on = today
    for _ in range(MOST_DATES):
        messages = expected(plan, on, day, traffic, now if on == today else None) + (sent_today if on == today else 0)
        if messages >= plan.require_traffic - 0.5 or not plan.require_traffic:
            day += 1
        on += timedelta(days=1)
        if day > plan.days:
            begins = first or "At this plan and this traffic,"
            return Forecast(on, f"{begins} warm on {dated(on, today)}.")
    opens, closes = bounds(plan, today, day)
    hours = f"from {opens:%H:%M} to {closes:%H:%M}"
    return Forecast(None, f"At this plan and this traffic it never gets warm: there is no mail {hours}, on day {day}.")


def backlog(plan: Plan, progress: Progress, now: datetime, traffic: Traffic) -> Backlog:
    """Give how much mail waits at most within the next two days where it is held for this address alone."""
    waiting, most, most_at = 0.0, 0.0, now
    at = now.astimezone(UTC)
    for _ in range(48):
        ends = at.replace(minute=0, second=0, microsecond=0) + _HOUR
        window = window_at(plan, at, progress)
        cap = hourly_limit(plan, window.day)
        room = 0.0 if not window.is_open else math.inf if cap is None else cap
        waiting = max(waiting + traffic.get(int(at.timestamp() // 3600) % WEEK, 0.0) * ((ends - at) / _HOUR) - room, 0.0)
        if waiting > most:
            most, most_at = waiting, ends
        at = ends
    zone = ZoneInfo(plan.zone)
    when = most_at.astimezone(zone)
    number = round(most)
    text = f"about {number:,} message{'' if number == 1 else 's'} wait at {when:%H:%M} {plan.zone}"
    return Backlog(number, most_at.timestamp(), text if number else "no message waits")


def dated(on: date, today: date) -> str:
    """Give a date for people, with its day of the week."""
    return f"{on:%A}, {on.day} {on:%B %Y}" if on != today else "today"

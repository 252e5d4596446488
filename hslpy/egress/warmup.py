"""The plan by which a new address is warmed up. In: a plan, a day, a time. Out: whether it is open, how much it may send.

Plain functions: the clock, what was sent and who keeps the plans stand around them. Source: section D of the specification
of delivery IPs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import field
from datetime import date, datetime, time, timedelta
from typing import Literal
from zoneinfo import ZoneInfo

from hslpy.records import record

Curve = Literal["gentle", "linear"]

FEWEST_DAYS = 7
"""Fewer are to be confirmed. Source: the seed, "at least 7 days"."""

HOURLY: Sequence[int] = (20, 28, 39, 55, 77, 108, 151, 211, 295, 413, 579, 810, 1000, 1587)
"""Messages an hour on each day, where volume is limited and no list is given. Source: SendGrid's published schedule."""


@record
class Plan:
    """How an address is warmed up: `days` from `start`, each with a window from `window_start` in `zone`.

    `hourly` has the most messages an hour by day, empty for no limit; the days after its last have none.
    `hourly_of` is the same by group of receivers (`google`), which holds besides. `burst` is how many may go at once.
    """

    start: date
    days: int = FEWEST_DAYS
    window_start: time = time(9)
    zone: str = "UTC"
    curve: Curve = "gentle"
    windows: bool = True
    hourly: tuple[int, ...] = ()
    hourly_of: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    burst: int = 3
    require_traffic: int = 1


@record
class Window:
    """Whether mail may go now, and on which day of the plan (from 1; above `days`: warm). Times are aware.

    `opens` is when the next window begins, None while one is open or where none is left; `closes` when this one ends.
    """

    day: int
    is_open: bool
    opens: datetime | None = None
    closes: datetime | None = None


def hours_on(day: int, days: int, curve: Curve = "gentle") -> int:
    """Give the hours of the window on a day of the plan, both from 1: one on the first, 24 on the last and after."""
    if day >= days:
        return 24
    share = (day - 1) / (days - 1)
    return round(24**share) if curve == "gentle" else round(1 + 23 * share)


def window_at(plan: Plan, now: datetime, skipped_days: int = 0) -> Window:
    """Give the window that holds at `now` (aware). `skipped_days` of the calendar did not count: paused or without mail.

    A window that crosses midnight belongs to the day on which it began; it is by the clock on the wall, so a day of 23 or
    25 hours only has a shorter or longer one.
    """
    local = now.astimezone(ZoneInfo(plan.zone))
    today = local.date()
    for start in (today - timedelta(days=1), today):
        day = _day(plan, start, skipped_days)
        if day < 1:
            continue
        opens, closes = _bounds(plan, start, day)
        if opens <= now < closes:
            return Window(day, True, closes=closes)
    day = _day(plan, today, skipped_days)
    if day > plan.days:
        return Window(day, True)
    for start in (today, today + timedelta(days=1), plan.start):
        opens, _ = _bounds(plan, start, max(1, _day(plan, start, skipped_days)))
        if opens > now and start >= plan.start:
            return Window(max(day, 0), False, opens=opens)
    return Window(max(day, 0), False)


def hourly_limit(plan: Plan, day: int, group: str = "") -> int | None:
    """Give the most messages an hour on that day, of all receivers or of a group; None for no limit."""
    limits = plan.hourly_of.get(group, ()) if group else plan.hourly
    return limits[max(day, 1) - 1] if day <= min(plan.days, len(limits)) else None


def is_warm(plan: Plan, day: int) -> bool:
    return day > plan.days


def _day(plan: Plan, on: date, skipped_days: int) -> int:
    return (on - plan.start).days + 1 - skipped_days


def _bounds(plan: Plan, start: date, day: int) -> tuple[datetime, datetime]:
    """Give the window that begins on a date of the plan's zone."""
    zone = ZoneInfo(plan.zone)
    hours = hours_on(day, plan.days, plan.curve) if plan.windows else 24
    opens = datetime.combine(start, plan.window_start)
    return opens.replace(tzinfo=zone), (opens + timedelta(hours=hours)).replace(tzinfo=zone)

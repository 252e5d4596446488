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


State = Literal["new", "checking", "warming", "warm", "cold"]


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


@record
class Progress:
    """How far a plan is: on the date `on`, in its zone, its day is `day`, and on the date before that it was `before`.

    Later dates have the same day until the one at `on` is over and has counted: whoever does not see that sends too little,
    not too much.
    """

    day: int
    on: date
    before: int = 0

    def day_of(self, plan: Plan, on: date) -> int:
        """Give the plan's day on a date, 0 where it has none."""
        if on < plan.start:
            return 0
        if on >= self.on:
            return self.day
        return self.before if on == self.on - timedelta(days=1) else 0


@record
class Sent:
    """What is known of one date of a plan. `spoiled`: the day was paused, or is to be repeated."""

    messages: int = 0
    spoiled: bool = False


def begun(plan: Plan) -> Progress:
    return Progress(1, plan.start)


def window_at(plan: Plan, now: datetime, progress: Progress | None = None) -> Window:
    """Give the window that holds at `now` (aware); without `progress` as if each day had counted so far.

    A window that crosses midnight belongs to the day on which it began; it is by the clock on the wall, so a day of 23 or
    25 hours only has a shorter or longer one.
    """
    today = now.astimezone(ZoneInfo(plan.zone)).date()
    far = progress or by_calendar(plan, today)
    for start in (today - timedelta(days=1), today):
        day = far.day_of(plan, start)
        if 1 <= day <= plan.days:
            opens, closes = bounds(plan, start, day)
            if opens <= now < closes:
                return Window(day, True, closes=closes)
    day = far.day_of(plan, today)
    if day > plan.days:
        return Window(day, True)
    for start in (today, today + timedelta(days=1), plan.start):
        opens, _ = bounds(plan, start, max(1, far.day_of(plan, start)))
        if opens > now and start >= plan.start:
            return Window(day, False, opens=opens)
    return Window(day, False)


def by_calendar(plan: Plan, today: date) -> Progress:
    """Give the progress of a plan each of whose days has counted."""
    day = max(1, (today - plan.start).days + 1)
    return Progress(day, max(today, plan.start), day - 1)


def roll(plan: Plan, progress: Progress, now: datetime, sent: Mapping[date, Sent]) -> Sequence[Progress]:
    """Give the progress after each date that is over at `now`, in order, by what was sent on each.

    A day counts when it is over, was not spoiled, and had the traffic that the plan requires; else it is repeated. As long
    as its window is open beyond midnight, a day without traffic is not given up.
    """
    today = now.astimezone(ZoneInfo(plan.zone)).date()
    steps: list[Progress] = []
    while progress.on < today and progress.day <= plan.days:
        found = sent.get(progress.on, Sent())
        counts = not found.spoiled and found.messages >= plan.require_traffic
        tomorrow = progress.on + timedelta(days=1)
        if not counts and not found.spoiled and tomorrow == today and now < bounds(plan, progress.on, progress.day)[1]:
            break
        progress = Progress(progress.day + counts, tomorrow, progress.day)
        steps.append(progress)
    return steps


def date_of(plan: Plan, progress: Progress, at: datetime) -> date:
    """Give the date that mail sent at a time counts to: that on which the window began, else that of the clock."""
    today = at.astimezone(ZoneInfo(plan.zone)).date()
    before = today - timedelta(days=1)
    day = progress.day_of(plan, before) or progress.day
    if 1 <= day <= plan.days and plan.windows and before >= plan.start:
        _, closes = bounds(plan, before, day)
        opens, _ = bounds(plan, today, day)
        if at < min(closes, opens):
            return before
    return today


@record
class Warming:
    """An address of a node that is not to be used freely: not yet, or by a plan.

    Nodes of the same public address share its allowance: `nodes` of them, of which this one is number `rank`. `key`, that
    address, is of its counters. `stopped` says why nothing is sent, empty where the plan decides.
    """

    address: str
    plan: Plan
    progress: Progress
    stopped: str = ""
    key: str = ""
    nodes: int = 1
    rank: int = 0


def hourly_limit(plan: Plan, day: int, group: str = "") -> int | None:
    """Give the most messages an hour on that day, of all receivers or of a group; None for no limit."""
    limits = plan.hourly_of.get(group, ()) if group else plan.hourly
    return limits[max(day, 1) - 1] if day <= min(plan.days, len(limits)) else None


def bounds(plan: Plan, start: date, day: int) -> tuple[datetime, datetime]:
    """Give the window that begins on a date of the plan's zone; a whole day where windows are not limited."""
    zone = ZoneInfo(plan.zone)
    hours = hours_on(day, plan.days, plan.curve) if plan.windows else 24
    opens = datetime.combine(start, plan.window_start if plan.windows else time())
    return opens.replace(tzinfo=zone), (opens + timedelta(hours=hours)).replace(tzinfo=zone)

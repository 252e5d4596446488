"""What operators see of a warm-up: the drawer, its strip of hours and table of days. In: a database, the time. Out: records.

Source: section B4 of the specification of delivery IPs. Must not know of HTML.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime, time, timedelta
from typing import Literal
from zoneinfo import ZoneInfo

from sqlalchemy import ColumnElement, func, select, tuple_
from sqlalchemy.orm import Session

from hslpy.egress.accounts import site
from hslpy.egress.rules.dnsbl import COUNTING
from hslpy.egress.rules.forecast import WEEK, Backlog, Forecast, Traffic, backlog, dated, forecast, traffic_of
from hslpy.egress.rules.warmup import Plan, Window, bounds, hourly_limit, hours_on, window_at
from hslpy.egress.store import activity, tables
from hslpy.egress.store.database import Database
from hslpy.egress.warm_up.warming import (
    Row,
    counts_by_date,
    critical_checks,
    date_now,
    plan_text,
    public_of,
    row_of,
    rows,
    sources_of,
    stopped_because,
)
from hslpy.records import record

Order = Literal[
    "start", "pause", "resume", "repeat day", "skip to warm", "restart", "plan", "already warm", "do not send yet"
]
Badge = Literal["none", "warming", "paused", "done", "cold"]

_Date = date  # a field of that name hides it from who reads its type


@record
class Day:
    """One date of a plan. `state`: `done`, `repeated` (it did not count), `today`, `planned`. What is not known yet is None.

    `limit` is the most messages on it, `hours_used` those in which mail left, `rate` the share of attempts that was put
    off.
    """

    date: _Date
    day: int
    state: Literal["done", "repeated", "today", "planned"]
    hours: int
    limit: int | None
    hours_used: int | None = None
    messages: int | None = None
    rate: float | None = None
    listings: tuple[str, ...] = ()


@record
class View:
    """A warm-up as the drawer shows it. `address` is the public one, `sources` who has it: (node, address).

    `state` is of the database, `badge` what a list shows of it. `strip` has the 24 hours of today in the plan's zone, with
    True where mail may leave; `today` says the same. `limit` and `hourly` are None where nothing but the hours is limited.
    `orders` are those that make sense now.
    """

    address: str
    sources: tuple[tuple[str, str], ...]
    state: str
    badge: Badge
    text: str
    plan: Plan | None
    plan_text: str
    start: date | None
    day: int
    paused_reason: str
    window: Window | None
    strip: tuple[bool, ...]
    today: str
    messages: int
    limit: int | None
    hourly: int | None
    days: tuple[Day, ...]
    forecast: Forecast | None
    backlog: Backlog | None
    overflow: str
    orders: tuple[Order, ...]
    changed_at: float | None
    changed_by: str


def view(database: Database, address: str, now: float) -> View:
    """Give the warm-up of an address, of its public one. Raises Refused, NotFound."""
    with database.read() as session:
        public = public_of(session, address)
        found = session.get(tables.Warmup, public)
        return _view(session, public, None if found is None else row_of(found), now)


def views(database: Database, now: float) -> Sequence[View]:
    """Give all that are known, by address."""
    with database.read() as session:
        return [_view(session, one.address, one, now) for one in rows(session)]


def _view(session: Session, public: str, row: Row | None, now: float) -> View:
    sources = tuple(sources_of(session, public))
    overflow = site.read(session).overflow
    if row is None or row.state in ("new", "warm", "cold"):
        state = row.state if row is not None else ""
        text = {
            "": "It has no warm-up: mail leaves from it as its settings say.",
            "new": "It is new, and nothing is sent from it until its warm-up is started.",
            "warm": "It is warm.",
            "cold": "No mail has left from it for 30 days: receivers have forgotten it. Warm it up again.",
        }[state]
        badge: Badge = "done" if state == "warm" else "cold" if state == "cold" else "none"
        days = _past(session, row) if row is not None else ()
        return View(
            public, sources, state, badge, text, row.plan if days and row else None,
            plan_text(row.plan) if days and row else "", row.plan.start if days and row else None, 0, "", None, (), text,
            _today(session, row, now) if row is not None else 0, None, None, days, None, None, overflow, _orders(row),
            row.changed_at if row else None, row.changed_by if row else "",
        )  # fmt: skip
    plan, at = row.plan, datetime.fromtimestamp(now, UTC)
    window = window_at(plan, at, row.progress)
    counts = counts_by_date(session, row, row.progress.on)
    on = date_now(row, now)
    sent = counts[on].messages if on in counts else 0
    traffic = traffic_for(session, sources, now)
    day = row.progress.day_of(plan, on) or row.progress.day
    stopped = stopped_because(row)
    said = forecast(plan, row.progress, at, traffic, sent, paused=bool(row.paused))
    return View(
        public,
        sources,
        row.state,
        "paused" if row.paused else "warming",
        _text(session, row),
        plan,
        plan_text(plan),
        plan.start,
        day,
        row.paused_reason,
        window,
        strip(row, now),
        today_text(row, now),
        sent,
        _limit(plan, day),
        hourly_limit(plan, day),
        _days(session, row, now, counts),
        said,
        backlog(plan, row.progress, at, traffic) if overflow == "hold" and not stopped else None,
        overflow,
        _orders(row),
        row.changed_at,
        row.changed_by,
    )


def _text(session: Session, row: Row) -> str:
    day = f"day {row.progress.day} of {row.plan.days}"
    if row.state == "checking":
        return f"Its warm-up waits for its checks: {' '.join(critical_checks(session, row.address)) or 'they are clean'}"
    if row.paused:
        return f"Paused on {day}: {row.paused_reason}."
    critical = critical_checks(session, row.address)
    return f"Warming up, {day}." + (f" Its checks found: {' '.join(critical)}" if critical else "")


def _orders(row: Row | None) -> tuple[Order, ...]:
    if row is None:
        return ("start", "already warm", "do not send yet")
    if row.state == "new":
        return ("start", "already warm")
    if row.state in ("warm", "cold"):
        return ("start", "do not send yet") if row.state == "warm" else ("start", "already warm", "do not send yet")
    if row.state == "checking":
        return ("pause", "skip to warm", "restart", "plan", "do not send yet")
    return ("resume" if row.paused else "pause", "repeat day", "skip to warm", "restart", "plan", "do not send yet")


def today_text(row: Row, now: float) -> str:
    """Say in words what the strip shows: "Today, day 3 of 7: 09:00–12:00 UTC, 3 hours"."""
    plan = row.plan
    today = datetime.fromtimestamp(now, ZoneInfo(plan.zone)).date()
    if today < plan.start:
        opens, _ = bounds(plan, plan.start, 1)
        return f"Starts on {dated(plan.start, today)}, {opens:%H:%M} {plan.zone}: day 1 of {plan.days}"
    day = row.progress.day_of(plan, today) or row.progress.day
    opens, closes = bounds(plan, today, day)
    hours = hours_on(day, plan.days, plan.curve) if plan.windows else 24
    what = f"day {day} of {plan.days}: {opens:%H:%M}–{closes:%H:%M} {plan.zone}, {hours} hour{'' if hours == 1 else 's'}"
    return f"Paused: today would be {what}" if row.paused else f"Today, {what}"


def strip(row: Row, now: float) -> tuple[bool, ...]:
    """Give, for the 24 hours of today in the plan's zone, whether mail may leave in some part of each by the plan."""
    plan = row.plan
    zone = ZoneInfo(plan.zone)
    today = datetime.fromtimestamp(now, zone).date()
    found = []
    for hour in range(24):
        times = (datetime.combine(today, time(hour, minute), zone).astimezone(UTC) for minute in (0, 15, 30, 45, 59))
        found.append(any(window_at(plan, at, row.progress).is_open for at in times))
    return tuple(found)


def traffic_for(session: Session, sources: Sequence[tuple[str, str]], now: float) -> Traffic:
    """Give what there was in the last seven days to be sent from addresses of nodes, whether it was or not.

    Until that has been counted for a day it is all that their nodes sent.
    """
    one = tables.Activity
    hour = activity.hour_of(now)
    query = select(one.hour, func.sum(one.number)).where(one.hour >= hour - WEEK).group_by(one.hour)

    def by_hour(*which: ColumnElement[bool]) -> Mapping[int, int]:
        return {at: int(number) for at, number in session.execute(query.where(*which))}

    wanted = by_hour(tuple_(one.node, one.address).in_(sources), one.kind == "wanted")
    if wanted and hour - min(wanted) >= 24:
        return traffic_of(wanted, hour)
    nodes = [node for node, _ in sources]
    return traffic_of(by_hour(one.node.in_(nodes), one.address != "", one.kind == "messages"), hour)


def _limit(plan: Plan, day: int) -> int | None:
    cap = hourly_limit(plan, day)
    return None if cap is None else cap * (hours_on(day, plan.days, plan.curve) if plan.windows else 24)


def _today(session: Session, row: Row, now: float) -> int:
    on = datetime.fromtimestamp(now, ZoneInfo(row.plan.zone)).date()
    counts = counts_by_date(session, row, on)
    return counts[on].messages if on in counts else 0


def _past(session: Session, row: Row) -> tuple[Day, ...]:
    kept = tables.WarmupDay
    found = session.scalars(select(kept).where(kept.address == row.address).order_by(kept.date)).all()
    return tuple(_done(session, row, one) for one in found)


def _done(session: Session, row: Row, one: tables.WarmupDay) -> Day:
    on = date.fromisoformat(one.date)
    rate = one.deferred / one.attempts if one.attempts else 0.0
    listings = tuple(dict.fromkeys([*one.listings, *_listings_on(session, row, on)]))
    state: Literal["done", "repeated"] = "done" if one.counted else "repeated"
    return Day(on, one.day, state, one.hours, _limit(row.plan, one.day), one.hours_used, one.messages, rate, listings)


def _days(session: Session, row: Row, now: float, counts: Mapping[date, activity.Counts]) -> tuple[Day, ...]:
    """Give the dates done, today, and those to come as if each counted."""
    plan, on = row.plan, row.progress.on
    done = [day for day in _past(session, row) if day.date < on]
    day = row.progress.day
    hours = hours_on(day, plan.days, plan.curve) if plan.windows else 24
    found = counts.get(on, activity.Counts())
    listings = tuple(_listings_on(session, row, on))
    now_on = Day(on, day, "today", hours, _limit(plan, day), found.hours, found.messages, found.deferral_rate, listings)
    if datetime.fromtimestamp(now, ZoneInfo(plan.zone)).date() < on:
        now_on = Day(on, day, "planned", hours, _limit(plan, day))
    coming = [
        Day(
            on + timedelta(days=ahead),
            day + ahead,
            "planned",
            hours_on(day + ahead, plan.days, plan.curve) if plan.windows else 24,
            _limit(plan, day + ahead),
        )
        for ahead in range(1, plan.days - day + 1)
    ]
    return (*done, now_on, *coming)


def _listings_on(session: Session, row: Row, on: date) -> Sequence[str]:
    """Give the lists that count and had the address on a date of the plan's zone."""
    zone = ZoneInfo(row.plan.zone)
    begins = datetime(on.year, on.month, on.day, tzinfo=zone).timestamp()
    ends = begins + 86_400
    listing, past, dnsbl = tables.Listing, tables.PastListing, tables.Dnsbl
    still = (
        select(dnsbl.name)
        .join(listing, listing.dnsbl_id == dnsbl.id)
        .where(listing.address == row.address, listing.listed_since < ends, listing.listed_at >= begins)
        .where(listing.listed_severity.in_(COUNTING))
    )
    over = select(past.list_name).where(past.address == row.address, past.from_at < ends, past.to_at >= begins)
    return sorted({*session.scalars(still), *session.scalars(over)})

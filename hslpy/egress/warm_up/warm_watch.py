"""What follows by itself while addresses warm up: days pass, signs pause, clean days resume, idle ones grow cold.

In: a database, the time. Out: changes of it, in words. Source: sections D2, D5 and D6 of the specification of delivery IPs.
"""

from __future__ import annotations

import dataclasses
from collections import deque
from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime

from sqlalchemy import Select, select
from sqlalchemy.orm import Session

from hslpy.egress.accounts import site
from hslpy.egress.rules.dnsbl import COUNTING
from hslpy.egress.rules.warmup import Progress, Sent, roll
from hslpy.egress.store import activity, tables
from hslpy.egress.store.database import Actor, Change, Database
from hslpy.egress.warm_up.warming import (
    Pause,
    Row,
    counts_by_date,
    critical_checks,
    date_now,
    day_row,
    made,
    row_of,
    rows,
    set_paused,
    set_running,
    set_warm,
    sources_by_public,
    sources_of,
    today_of,
)
from hslpy.records import dataclass, record

COLD_S = 30 * 86_400
"""An address that has sent nothing for so long is a stranger again. Source: D2."""
CLEAN_S = 86_400
"""What paused by itself goes on after a day without another sign. Source: D5."""
FEWEST_ATTEMPTS = 50
MOST_THROTTLED = 0.2
"""Of as many attempts within an hour, more than this share put off for rate or reputation pauses. Source: D5."""
ITSELF = Actor("hslpy", "warm-up")


KEPT_LATE_HOURS = 2
"""Of as many hours before this one, a process may still keep counts: they are asked for again."""

_Sum = tuple[int, int, int]
"""Attempts, those throttled, those blocked."""


@record
class _Total:
    at: float
    attempts: int
    throttled: int
    blocked: int


@dataclass
class _Window:
    """The totals of the last hour; `gone` is the part of them from hours that are not asked for any more."""

    gone: _Sum = (0, 0, 0)
    totals: deque[_Total] = dataclasses.field(default_factory=deque)


@record
class Event:
    """What became of a warm-up, in words; with `alerts`, what operators are to be told of."""

    text: str
    alerts: bool = False


class Watch:
    """Sees what becomes of addresses that are warming up, and acts: days pass, signs pause, clean days resume.

    `look` is called every few seconds by some process of each node; who comes first acts. It keeps the totals of the last
    hour, so that an hour is one wherever it begins.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._windows: dict[tuple[str, float | None], _Window] = {}  # by when it began or went on, too
        self._since: int | None = None

    def look(self, now: float) -> Sequence[Event]:
        """Give what was done, and the pauses of `pause_blocked` that no node has told of. Blocks. Raises SQLAlchemyError."""
        with self._database.read() as session:
            known = rows(session)
            self._count(session, [row for row in known if row.is_running], now)
            due = [row.address for row in known if row.state != "new"]
            idle = _idle(session, now)
            has_untold = session.scalar(_untold().limit(1)) is not None
        done: list[Event] = []
        for address in [*due, *idle]:
            while event := self._follow(address, now):
                done.append(event)
        return [*done, *_tell(self._database)] if has_untold else done

    def _follow(self, address: str, now: float) -> Event | None:
        """Do what is next for an address, and say so; None where nothing is: then nothing was written."""
        with self._database.read() as session:
            what = _peek(session, address, now, self._signs(address))
        if not what:
            return None
        with self._database.change(ITSELF, "warmup by itself", {"address": address}) as change:
            what, text = _act(change, address, now, self._signs(address))
            change.result = text
        return Event(text, what in ("cold", "pause")) if text else None

    def _count(self, session: Session, running: Sequence[Row], now: float) -> None:
        keys = {(row.address, row.begun_at) for row in running}
        self._windows = {key: window for key, window in self._windows.items() if key in keys}
        hour = activity.hour_of(now)
        first = hour - KEPT_LATE_HOURS
        if not running:
            self._since = None
            return
        found = activity.signs(session, first if self._since is None else min(first, self._since))
        one = tables.Warmup
        sources_by = sources_by_public(session, select(one.address).where(one.state == "warming"))
        for row in running:
            window = self._windows.setdefault((row.address, row.begun_at), _Window())
            sources = {address for _, address in sources_by.get(row.address, ())}
            counts = [pair for address in sources for pair in found.get(address, {}).items()]
            window.gone = _sum([window.gone, *(sums for at, sums in counts if at < first)])
            totals = window.totals
            if not totals:  # what this hour of the clock has seen counts, unless it was before it went on
                late = row.begun_at is not None and activity.hour_of(row.begun_at) == hour and len(row.begun_with) == 3
                before: _Sum = (row.begun_with[0], row.begun_with[1], row.begun_with[2]) if late else (0, 0, 0)
                past = _sum([window.gone, before, *(sums for at, sums in counts if first <= at < hour)])
                totals.append(_Total(now, *past))
            totals.append(_Total(now, *_sum([window.gone, *(sums for at, sums in counts if at >= first)])))
            while len(totals) > 2 and totals[1].at <= now - activity.HOUR_S:
                totals.popleft()
        self._since = first

    def _signs(self, address: str) -> tuple[Pause, str]:
        """Give what receivers say against an address: its kind, empty for nothing, and in words."""
        totals = next((window.totals for (one, _), window in self._windows.items() if one == address), None)
        if not totals:
            return "", ""
        first, last = totals[0], totals[-1]
        if last.blocked > first.blocked:
            return "blocked", "a receiver refused its mail for being on a block list"
        attempts, throttled = last.attempts - first.attempts, last.throttled - first.throttled
        if attempts >= FEWEST_ATTEMPTS and throttled > MOST_THROTTLED * attempts:
            return "throttled", f"{throttled} of {attempts} attempts within an hour were put off for its rate or reputation"
        return "", ""


def _sum(counts: Sequence[_Sum]) -> _Sum:
    return sum(one[0] for one in counts), sum(one[1] for one in counts), sum(one[2] for one in counts)


def pause_blocked(database: Database, address: str, reply: str) -> bool:
    """Pause the warm-up of an address that a receiver has just refused by a block list; say whether it was running."""
    with database.read() as session:
        public = _public(session, address)
        one = session.get(tables.Warmup, public)
        if one is None or not row_of(one).is_running:
            return False
    with database.change(ITSELF, "warmup pause", {"address": public}) as change:
        one = change.get(tables.Warmup, public)
        if one is not None and row_of(one).is_running:
            reason = f"a receiver refused its mail for being on a block list: {reply}"
            set_paused(change, one, "blocked", reason, told=False)
            one.changed_at, one.changed_by = change.now, ITSELF.name
        return True


def _untold() -> Select[tables.Warmup]:
    one = tables.Warmup
    return select(one).where(one.paused != "", one.pause_told.is_(False)).order_by(one.address)


def _tell(database: Database) -> list[Event]:
    """Give the pauses that nobody was told of yet. They count as told then: of several nodes that ask, one has them."""
    with database.keep() as session:
        found = list(session.scalars(_untold()))
        for one in found:
            one.pause_told = True
        return [Event(_pause_text(row_of(one)), alerts=True) for one in found]


def _pause_text(row: Row) -> str:
    return f"the warm-up of {row.address} is paused on day {row.progress.day} of {row.plan.days}: {row.paused_reason}"


def _public(session: Session, address: str) -> str:
    one = tables.Address
    found = session.scalar(select(one.public_address).where(one.address == address, one.public_address != "").limit(1))
    return found or address


def _peek(session: Session, address: str, now: float, signs: tuple[Pause, str]) -> str:
    """Say what `_act` would do, without doing it."""
    one = session.get(tables.Warmup, address)
    if one is None:
        return "cold"
    row = row_of(one)
    if row.state == "checking":
        return "" if critical_checks(session, address) else "checked"
    if row.state == "warm":
        return "cold" if _last_use(session, row) < now - COLD_S else ""
    if row.state != "warming":
        return ""
    if row.paused:
        return "clean" if _is_clean(session, row, now) else ""
    if _steps(session, row, now)[0]:
        return "rolled"
    return "pause" if _listing(session, row) or signs[0] else ""


def _act(change: Change, address: str, now: float, signs: tuple[Pause, str]) -> tuple[str, str]:
    """Do what `_peek` says; give that, and in words what was done: empty where it was nothing."""
    what = _peek(change, address, now, signs)
    one = change.get(tables.Warmup, address)
    if one is None:
        one = made(change, address)
    row = row_of(one)
    one.changed_at, one.changed_by = change.now, ITSELF.name
    if what == "cold":
        one.state = "cold"
        return what, f"{address} has sent no mail for 30 days: it is cold, and should be warmed up again"
    if what == "checked":
        one.state, one.begun_at = "warming", change.now
        return what, f"the checks of {address} are clean: its warm-up begins"
    if what == "clean":
        set_running(change, one)
        return what, f"{address} had a clean day: its warm-up goes on with day {one.day} of {row.plan.days}"
    if what == "pause":
        listing = _listing(change, row)
        kind, text = signs
        if listing:
            kind, text = "listing", f"listed by {', '.join(listing)}"
            day_row(change, row, date_now(row, now)).listings = list(listing)
        set_paused(change, one, kind, text)
        return what, _pause_text(row_of(one))
    if what == "rolled":
        return what, _roll(change, one, row, now)
    return what, ""


def _roll(change: Change, one: tables.Warmup, row: Row, now: float) -> str:
    steps, counts = _steps(change, row, now)
    before = row.progress
    for step in steps:
        kept = day_row(change, dataclasses.replace(row, progress=before), before.on)
        found = counts.get(before.on, activity.Counts())
        kept.hours_used, kept.messages = found.hours, found.messages
        kept.attempts, kept.deferred = found.attempts, found.deferred
        kept.counted = step.day > before.day
        before = step
    one.day, one.on_date, one.before = before.day, before.on.isoformat(), before.before
    if before.day > row.plan.days:
        set_warm(one)
        return f"{row.address} is warm: day {row.plan.days} of its plan is over"
    if before.day > row.progress.day:
        return f"{row.address} is on day {before.day} of {row.plan.days} of its warm-up"
    return f"day {before.day} of {row.plan.days} of the warm-up of {row.address} is repeated"


def _steps(session: Session, row: Row, now: float) -> tuple[Sequence[Progress], Mapping[date, activity.Counts]]:
    if today_of(row.plan, now) <= row.progress.on:
        return (), {}
    counts = counts_by_date(session, row, row.progress.on)
    kept = tables.WarmupDay
    found = session.scalars(select(kept.date).where(kept.address == row.address, kept.spoiled))
    spoiled = set(map(date.fromisoformat, found))
    sent = {on: Sent(counts[on].messages if on in counts else 0, on in spoiled) for on in {*counts, *spoiled}}
    return roll(row.plan, row.progress, datetime.fromtimestamp(now, UTC), sent), counts


def _listing(session: Session, row: Row) -> Sequence[str]:
    """Give the lists that count and were found to have the address since its warm-up began or went on."""
    if not site.read(session).pause_on_listing:
        return []
    return [name for name, at in _listings(session, row.address) if row.begun_at is None or at > row.begun_at]


def _listings(session: Session, address: str) -> Sequence[tuple[str, float]]:
    listing, dnsbl = tables.Listing, tables.Dnsbl
    query = (
        select(dnsbl.name, listing.listed_at)
        .join(dnsbl, dnsbl.id == listing.dnsbl_id)
        .where(listing.address == address, listing.listed_since.is_not(None))
        .where(listing.listed_severity.in_(COUNTING), dnsbl.enabled)
        .order_by(dnsbl.name)
    )
    return [(name, at or 0.0) for name, at in session.execute(query)]


def _is_clean(session: Session, row: Row, now: float) -> bool:
    if row.paused == "hand" or row.paused_at is None or now - row.paused_at < CLEAN_S:
        return False
    if _listings(session, row.address):
        return False
    past = tables.PastListing
    ended = select(past.to_at).where(past.address == row.address, past.to_at > now - CLEAN_S)
    return session.scalar(ended.limit(1)) is None


def _last_use(session: Session, row: Row) -> float:
    use = tables.AddressUse
    sources = [address for _, address in sources_of(session, row.address)]
    used = session.scalars(select(use.used_at).where(use.address.in_(sources))).all()
    return max([*used, row.begun_at or 0.0, row.changed_at])


def _idle(session: Session, now: float) -> Sequence[str]:
    """Give the public addresses without a warm-up that were used once, and not for 30 days."""
    use, one = tables.AddressUse, tables.Address
    publics = {row.address: row.public_address for row in session.execute(select(one.address, one.public_address))}
    known = set(session.scalars(select(tables.Warmup.address)))
    last: dict[str, float] = {}
    for address, at in session.execute(select(use.address, use.used_at)):
        if address in publics:
            public = publics[address] or address
            last[public] = max(last.get(public, 0.0), at)
    return sorted(address for address, at in last.items() if at < now - COLD_S and address not in known)

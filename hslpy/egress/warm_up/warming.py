"""Warming up addresses: what operators order, what follows by itself, what mail processes have to know. In: a database.

The plan's arithmetic is in `warmup.py`; what is sent is counted in `activity.py`. Each order is one change with its row in
`audit`, and is refused with the reason. Source: section D of the specification of delivery IPs.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, date, datetime, time
from typing import Any, Literal
from zoneinfo import ZoneInfo

from sqlalchemy import Select, delete, select
from sqlalchemy.orm import Session

from hslpy.egress.accounts import site
from hslpy.egress.rules.names import NotFound, Refused, about, canonical_address
from hslpy.egress.rules.receivers import GROUPS
from hslpy.egress.rules.warmup import (
    FEWEST_DAYS,
    HOURLY,
    Curve,
    Plan,
    Progress,
    State,
    Warming,
    begun,
    date_of,
    hours_on,
)
from hslpy.egress.store import activity, tables
from hslpy.egress.store.database import Actor, Change, Database
from hslpy.records import record

Pause = Literal["", "hand", "listing", "throttled", "blocked"]

MOST_DAYS = 90
MOST_BURST = 5


@record
class Row:
    """The warm-up of a public address as it stands. `begun_at` is when it began, or went on (Unix seconds), `begun_with`
    the attempts, those throttled and those blocked of that hour before it."""

    address: str
    state: State
    plan: Plan
    progress: Progress
    paused: Pause
    paused_reason: str
    paused_at: float | None
    begun_at: float | None
    begun_with: tuple[int, ...]
    changed_at: float
    changed_by: str

    @property
    def is_running(self) -> bool:
        return self.state == "warming" and not self.paused


def plan_of(kept: Mapping[str, Any]) -> Plan:
    """Give the plan that `kept_plan` has made."""
    start = date.fromisoformat(kept.get("start", "2000-01-01"))
    window = time.fromisoformat(kept.get("window_start", "09:00"))
    lists = {name: tuple(limits) for name, limits in kept.get("hourly_of", {}).items()}
    same = ("days", "zone", "curve", "windows", "burst", "require_traffic")
    more = {key: kept[key] for key in same if key in kept}
    return Plan(start, window_start=window, hourly=tuple(kept.get("hourly", ())), hourly_of=lists, **more)


def kept_plan(plan: Plan) -> dict[str, Any]:
    """Give a plan as the database keeps it."""
    return {
        **dataclasses.asdict(plan),
        "start": plan.start.isoformat(),
        "window_start": plan.window_start.isoformat("minutes"),
        "hourly": list(plan.hourly),
        "hourly_of": {name: list(limits) for name, limits in plan.hourly_of.items()},
    }


def plan_text(plan: Plan) -> str:
    """Give a plan in words: "7 days from 2026-03-02, 09:00 UTC: 1, 2, 3, 5, 8, 14, 24 hours"."""
    said = f"{plan.days} days from {plan.start}"
    if plan.windows:
        hours = ", ".join(str(hours_on(day, plan.days, plan.curve)) for day in range(1, plan.days + 1))
        said += f", {plan.window_start:%H:%M} {plan.zone}: {hours} hours"
    if plan.hourly:
        said += f"; at most {', '.join(map(str, plan.hourly))} messages an hour"
    for group, limits in plan.hourly_of.items():
        said += f"; to {group} {', '.join(map(str, limits))}"
    return said


def row_of(one: tables.Warmup) -> Row:
    plan = plan_of(one.plan)
    on = date.fromisoformat(one.on_date) if one.on_date else plan.start
    return Row(
        one.address,
        one.state,  # type: ignore[arg-type]
        plan,
        Progress(one.day, on, one.before),
        one.paused,  # type: ignore[arg-type]
        one.paused_reason,
        one.paused_at,
        one.begun_at,
        tuple(one.begun_with),
        one.changed_at,
        one.changed_by,
    )


def rows(session: Session) -> Sequence[Row]:
    """Give all that are known, by address."""
    return [row_of(one) for one in session.scalars(select(tables.Warmup).order_by(tables.Warmup.address))]


# ---- plans ---------------------------------------------------------------------------------------------


def plan_from(
    session: Session,
    now: float,
    *,
    start: str = "",
    days: int | str = FEWEST_DAYS,
    window_start: str = "09:00",
    curve: str = "gentle",
    windows: bool = True,
    hourly: Sequence[int] | str = (),
    hourly_of: Mapping[str, Sequence[int] | str] | None = None,
    burst: int | str = 3,
    require_traffic: int | str | None = None,
    confirmed: bool = False,
) -> Plan:
    """Give the plan of what an operator asks for; its times are of the site's zone.

    `start` is a date, today where empty. `hourly` and each of `hourly_of` (by group of receivers) are caps by day, as
    numbers or as text with commas; `default` are the published ones. Raises Refused with the field at fault, and the status
    409 for what has to be confirmed.
    """
    of_site = site.read(session)
    with about("days"):
        count = _number(days, 1, MOST_DAYS, "the number of days")
        if count < FEWEST_DAYS and not confirmed:
            text = f"{count} days are fewer than {FEWEST_DAYS}: receivers may not trust the address; confirm it"
            raise Refused(text, 409, "`confirmed` does it all the same")
    with about("start"):
        first = _start(start, datetime.fromtimestamp(now, ZoneInfo(of_site.time_zone)).date())
    with about("window_start"):
        opens = _time_of_day(window_start)
    with about("curve"):
        if curve not in ("gentle", "linear"):
            raise Refused(f"'{curve}' is no curve: gentle, linear")
    shape: Curve = "linear" if curve == "linear" else "gentle"
    with about("hourly"):
        caps = _caps(hourly, count)
    of_groups = {name.strip().lower(): _caps(limits, count) for name, limits in (hourly_of or {}).items()}
    of_groups = {name: limits for name, limits in of_groups.items() if name and limits}
    unknown = next((name for name in of_groups if name not in GROUPS), None)
    if unknown is not None:
        raise Refused(f"'{unknown}' is no group of receivers: {', '.join(GROUPS)}")
    if not windows and not caps:
        raise Refused("a plan limits the hours, or the messages an hour, or both")
    with about("burst"):
        at_once = _number(burst, 1, MOST_BURST, "the burst")
    required = int(of_site.require_traffic) if require_traffic is None else _number(require_traffic, 0, 10**6, "the traffic")
    return Plan(
        first,
        count,
        opens,
        of_site.time_zone,
        shape,
        windows,
        caps,
        of_groups,
        at_once,
        required,
    )


def _start(text: str, today: date) -> date:
    try:
        first = date.fromisoformat(text.strip()) if text.strip() else today
    except ValueError:
        raise Refused(f"'{text}' is not a date: write it as 2026-03-02") from None
    if first < today:
        raise Refused(f"the start, {first}, is in the past")
    return first


def _time_of_day(text: str) -> time:
    try:
        found = time.fromisoformat(text.strip())
        if found.tzinfo is not None or found.second or found.microsecond:
            raise ValueError
    except ValueError:
        raise Refused(f"'{text}' is not a time of day: write it as 09:00") from None
    return found


def _number(given: int | str, least: int, most: int, what: str) -> int:
    text = str(given).strip()
    if not (text.isascii() and text.isdigit() and len(text) < 19) or not least <= int(text) <= most:
        raise Refused(f"{what} is a number from {least} to {most}, not '{text[:32]}'")
    return int(text)


def _caps(given: Sequence[int] | str, days: int) -> tuple[int, ...]:
    if isinstance(given, str):
        if given.strip().lower() == "default":
            return tuple(HOURLY[:days])
        given = given.replace(",", " ").split()  # type: ignore[assignment]
    found = tuple(_number(one, 1, 10**9, "the number of messages an hour") for one in given)
    if len(found) > days:
        raise Refused(f"{len(found)} caps are more than the plan has days")
    return found


# ---- orders --------------------------------------------------------------------------------------------


def public_of(session: Session, address: str) -> str:
    """Give the public address of one that an operator names. Raises Refused, NotFound for one that no node has."""
    asked = canonical_address(address)
    one, chosen = tables.Address, tables.SettingAddress
    found = session.execute(select(one.public_address).where(one.address == asked)).scalars().all()
    public = next((public for public in found if public), "")
    if public:
        return public
    known = bool(found) or session.scalar(select(one.id).where(one.public_address == asked).limit(1)) is not None
    known = known or session.scalar(select(chosen.address).where(chosen.address == asked).limit(1)) is not None
    known = known or session.get(tables.Warmup, asked) is not None
    if not known:
        raise NotFound(f"'{address}' is not an address of any server, nor of a setting")
    return asked


@contextmanager
def _order(
    database: Database, actor: Actor, what: str, address: str, **arguments: object
) -> Iterator[tuple[Change, str, tables.Warmup | None]]:
    with database.change(actor, f"warmup {what}", {"address": address, **arguments}) as change:
        public = public_of(change, address)
        one = change.get(tables.Warmup, public)
        if one is not None:
            one.changed_at, one.changed_by = change.now, actor.name
        yield change, public, one


def start(database: Database, actor: Actor, address: str, *, anyway: bool = True, **plan: Any) -> Row:
    """Begin to warm up an address, also one that is cold; `plan` is that of `plan_from`.

    Not `anyway`: it begins once the checks of the address find nothing critical.
    Raises Refused, NotFound.
    """
    with _order(database, actor, "start", address, **plan) as (change, public, one):
        if one is not None and one.state == "warming":
            raise Refused(f"{public} is being warmed up: pause it, restart it or change its plan", 409)
        wanted = plan_from(change, change.now, **plan)
        waits = not anyway and bool(critical_checks(change, public))
        return row_of(_begin(change, public, wanted, "checking" if waits else "warming"))


def restart(database: Database, actor: Actor, address: str, **plan: Any) -> Row:
    """Begin again with the first day, today: by the plan that it had, or by a new one. Raises Refused, NotFound."""
    with _order(database, actor, "restart", address, **plan) as (change, public, one):
        if one is None:
            raise Refused(f"{public} has no warm-up: start one", 409)
        if plan:
            wanted = plan_from(change, change.now, **plan)
        else:
            before = plan_of(one.plan)
            today = datetime.fromtimestamp(change.now, ZoneInfo(before.zone)).date()
            wanted = dataclasses.replace(before, start=today)
        return row_of(_begin(change, public, wanted, "warming"))


def change_plan(database: Database, actor: Actor, address: str, **plan: Any) -> Row:
    """Go on by another plan; the days done stay done. `start` is kept once it has begun. Raises Refused, NotFound."""
    with _order(database, actor, "plan", address, **plan) as (change, public, one):
        row = _under_way(one, public)
        has_begun = row.progress.on > row.plan.start or today_of(row.plan, change.now) >= row.plan.start
        wanted = plan_from(change, change.now, **plan)
        if has_begun:
            wanted = dataclasses.replace(wanted, start=row.plan.start)
        assert one is not None
        one.plan = kept_plan(wanted)
        if not has_begun:
            one.on_date = wanted.start.isoformat()
        elif one.day > wanted.days:
            raise Refused(f"{public} is on day {one.day}: a plan of {wanted.days} days is over")
        return row_of(one)


def pause(database: Database, actor: Actor, address: str, *, reason: str = "") -> Row:
    """Send nothing from it until it is resumed. Raises Refused, NotFound."""
    with _order(database, actor, "pause", address, reason=reason) as (change, public, one):
        if _under_way(one, public).paused:
            raise Refused(f"the warm-up of {public} is paused already", 409)
        assert one is not None
        set_paused(change, one, "hand", reason.strip() or f"by {actor.name}")
        return row_of(one)


def resume(database: Database, actor: Actor, address: str) -> Row:
    """Go on with the day on which it was paused, which is repeated. Raises Refused, NotFound."""
    with _order(database, actor, "resume", address) as (change, public, one):
        if not _under_way(one, public).paused:
            raise Refused(f"the warm-up of {public} is not paused", 409)
        assert one is not None
        set_running(change, one)
        return row_of(one)


def repeat_day(database: Database, actor: Actor, address: str, *, day: int | str | None = None) -> Row:
    """Have tomorrow be the same day of the plan as today; with `day`, an earlier one, step back to that at once.

    Raises Refused, NotFound.
    """
    with _order(database, actor, "repeat day", address, day=day) as (change, public, one):
        row = _under_way(one, public)
        assert one is not None
        if day is None or str(day).strip() == str(row.progress.day):
            _spoil(change, row, date_now(row, change.now))
        else:
            to = _number(day, 1, row.progress.day, "the day")
            one.day, one.on_date, one.before = to, today_of(row.plan, change.now).isoformat(), 0
        return row_of(one)


def skip_to_warm(database: Database, actor: Actor, address: str) -> Row:
    """End the warm-up: from now on it is used as any other. Raises Refused, NotFound."""
    with _order(database, actor, "skip to warm", address) as (_, public, one):
        _under_way(one, public)
        assert one is not None
        set_warm(one)
        return row_of(one)


def mark_warm(database: Database, actor: Actor, address: str) -> Row:
    """Say that an address needs no warming up: "Already warm". Raises NotFound."""
    with _order(database, actor, "already warm", address) as (change, public, one):
        one = one or made(change, public)
        set_warm(one)
        _note_begun(change, one)
        return row_of(one)


def hold_back(database: Database, actor: Actor, address: str) -> Row:
    """Send nothing from an address until its warm-up is started: "Do not send yet". Raises NotFound."""
    with _order(database, actor, "do not send yet", address) as (change, public, one):
        one = one or made(change, public)
        one.state, one.paused, one.paused_reason, one.paused_at = "new", "", "", None
        return row_of(one)


def forget(database: Database, actor: Actor, address: str) -> None:
    """Know nothing of its warm-up any more: it is used as one that never had any. Raises Refused, NotFound."""
    with _order(database, actor, "forget", address) as (change, public, one):
        if one is None:
            raise NotFound(f"{public} has no warm-up")
        change.delete(one)
        change.flush()


def made(change: Change, public: str) -> tables.Warmup:
    one = tables.Warmup(address=public, state="new", plan={}, changed_at=change.now)
    one.day, one.on_date, one.before, one.paused, one.paused_reason, one.changed_by = 1, "", 0, "", "", change.actor.name
    one.begun_with = []
    change.add(one)
    change.flush()
    return one


def _begin(change: Change, public: str, plan: Plan, state: State) -> tables.Warmup:
    one = change.get(tables.Warmup, public) or made(change, public)
    change.execute(delete(tables.WarmupDay).where(tables.WarmupDay.address == public))
    far = begun(plan)
    one.state, one.plan, one.day, one.on_date, one.before = state, kept_plan(plan), far.day, far.on.isoformat(), far.before
    one.paused, one.paused_reason, one.paused_at = "", "", None
    _note_begun(change, one)
    change.note(plan=one.plan)
    return one


def _under_way(one: tables.Warmup | None, public: str) -> Row:
    if one is None or one.state not in ("warming", "checking"):
        raise Refused(f"{public} is not being warmed up", 409)
    return row_of(one)


def set_paused(change: Change, one: tables.Warmup, what: Pause, reason: str, *, told: bool = True) -> None:
    """`told` says whether operators know of it already, or who calls tells them."""
    row = row_of(one)
    one.paused, one.paused_reason, one.paused_at, one.pause_told = what, reason[:255], change.now, told
    _spoil(change, row, date_now(row, change.now))


def set_running(change: Change, one: tables.Warmup) -> None:
    """A day that has not begun yet is no day to repeat."""
    row = row_of(one)
    one.paused, one.paused_reason, one.paused_at = "", "", None
    _note_begun(change, one)
    today = today_of(row.plan, change.now)
    if today > row.progress.on:
        one.on_date, one.before = today.isoformat(), 0


def _note_begun(change: Change, one: tables.Warmup) -> None:
    """What was before does not count against it any more."""
    hour = activity.hour_of(change.now)
    counts = activity.of_addresses(change, [address for _, address in sources_of(change, one.address)], hour)
    one.begun_at, one.begun_with = change.now, [counts.attempts, counts.throttled, counts.blocked]


def set_warm(one: tables.Warmup) -> None:
    one.state, one.paused, one.paused_reason, one.paused_at = "warm", "", "", None


def today_of(plan: Plan, now: float) -> date:
    return datetime.fromtimestamp(now, ZoneInfo(plan.zone)).date()


def date_now(row: Row, now: float) -> date:
    return max(row.plan.start, date_of(row.plan, row.progress, datetime.fromtimestamp(now, UTC)))


def day_row(change: Change, row: Row, on: date) -> tables.WarmupDay:
    one = change.get(tables.WarmupDay, (row.address, on.isoformat()))
    if one is None:
        day = row.progress.day_of(row.plan, on) or row.progress.day
        hours = hours_on(day, row.plan.days, row.plan.curve) if row.plan.windows else 24
        one = tables.WarmupDay(address=row.address, date=on.isoformat(), day=day, hours=hours)
        one.hours_used = one.messages = one.attempts = one.deferred = 0
        one.counted = one.spoiled = False
        one.listings = []
        change.add(one)
    return one


def _spoil(change: Change, row: Row, on: date) -> None:
    day_row(change, row, on).spoiled = True


def critical_checks(session: Session, public: str) -> Sequence[str]:
    """Give what the last checks of an address found that is critical, in words."""
    sources = [address for _, address in sources_of(session, public)]
    checkup = tables.Checkup
    found = session.scalars(select(checkup).where(checkup.address.in_(sources), checkup.status == "critical"))
    findings = [finding for one in found for finding in one.findings if finding.get("outcome") == "critical"]
    return list(dict.fromkeys(str(finding.get("text", "")) for finding in findings))


def sources_of(session: Session, public: str) -> Sequence[tuple[str, str]]:
    """Give the addresses of nodes that the world sees as this one: (node, address)."""
    return sources_by_public(session, [public]).get(public, ())


def sources_by_public(session: Session, publics: Collection[str] | Select[str]) -> Mapping[str, Sequence[tuple[str, str]]]:
    """Give `sources_of` for each of many, or of those that a query gives; the same three queries however many they are."""
    one, node, chosen = tables.Address, tables.Node, tables.SettingAddress
    setting = tables.DeliverySetting
    mine = select(node.name, one.address, one.public_address).join(one, one.node_id == node.id)
    own = mine.where(one.public_address.in_(publics) | (one.address.in_(publics) & (one.public_address == "")))
    known = {(public or address, name, address) for name, address, public in session.execute(own)}
    of_settings = (
        select(node.name, chosen.address)
        .join(setting, setting.node_id == node.id)
        .join(chosen, chosen.setting_id == setting.id)
        .where(chosen.address.in_(publics))
        .distinct()
    )
    elsewhere = mine.where(one.public_address != "", one.public_address != one.address, one.address.in_(publics))
    translated = {(name, address) for name, address, _ in session.execute(elsewhere)}
    known |= {
        (address, name, address) for name, address in session.execute(of_settings) if (name, address) not in translated
    }
    found: dict[str, list[tuple[str, str]]] = {}
    for public, name, address in sorted(known):
        found.setdefault(public, []).append((name, address))
    return found


# ---- what mail processes have to know ------------------------------------------------------------------


def warmings(session: Session) -> Mapping[str, Mapping[str, Warming]]:
    """Give, by node and address, those that are not to be used freely."""
    found: dict[str, dict[str, Warming]] = {}
    one = tables.Warmup
    sources_by = sources_by_public(session, select(one.address).where(one.state.not_in(("warm", "cold"))))
    for row in rows(session):
        if row.state in ("warm", "cold"):
            continue
        sources = sources_by.get(row.address, ())
        nodes = [node for node, _ in sources]
        stopped = stopped_because(row)
        for rank, (node, address) in enumerate(sources):
            found.setdefault(node, {})[address] = Warming(
                address, row.plan, row.progress, stopped, row.address, len(nodes), rank
            )
    return found


def stopped_because(row: Row) -> str:
    """Say why nothing is sent from an address whatever the hour, empty where its plan decides."""
    if row.state == "new":
        return "not to be used yet: its warm-up was not started"
    if row.state == "checking":
        return "its warm-up waits for its checks"
    return f"its warm-up is paused: {row.paused_reason}" if row.paused else ""


def sent_this_hour(session: Session, now: float, node: str) -> Mapping[str, Mapping[str, int]]:
    """Give what a node has sent in this hour of the clock from addresses that are warming up, by key and group of receivers.

    Of other nodes it is none of its business: counters that span nodes outlast its start, and of others it has its own part.
    """
    hour = activity.hour_of(now)
    found: dict[str, dict[str, int]] = {}
    sources_by = sources_by_public(session, select(tables.Warmup.address).where(tables.Warmup.state == "warming"))
    for row in rows(session):
        if row.state != "warming":
            continue
        counts = activity.of_addresses(session, [one for _, one in sources_by.get(row.address, ())], hour, node=node)
        found[row.address] = {"": counts.messages, **counts.messages_of}
    return found


def counts_by_date(session: Session, row: Row, since: date) -> Mapping[date, activity.Counts]:
    """Give what an address did on each date of its plan, from one on."""
    first = datetime.combine(since, time(), ZoneInfo(row.plan.zone)).timestamp()
    sources = [address for _, address in sources_of(session, row.address)]
    return activity.by_day(session, sources, activity.hour_of(first), lambda at: date_of(row.plan, row.progress, at))

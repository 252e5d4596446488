"""What happened, by hour: kept by each mail process, read for charts, lists and warm-up. In: a tally. Out: counts.

Hours are Unix seconds by 3600. Source: B2.4, B4 and D5 of the specification of delivery IPs.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import field, fields
from datetime import UTC, date, datetime

from sqlalchemy import ColumnElement, delete, func, select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session

from hslpy.clock import Clock
from hslpy.egress.store.database import Database
from hslpy.egress.store.faults import DatabaseFault
from hslpy.egress.store.tables import Activity, AddressUse
from hslpy.egress.store.tally import Taken, Tally
from hslpy.log import Log
from hslpy.records import record

KEEP_EVERY_S = 10.0
KEPT_HOURS = 40 * 24
"""An address is cold after 30 days; ten more show what came before."""
HOUR_S = 3600


@record
class Hour:
    """One hour of the site, or of a node. Messages `accepted`, messages and recipients `rejected`, limits hit; recipients
    `delivered`, `deferred` (an attempt each), `bounced`."""

    hour: int
    accepted: int = 0
    rejected: int = 0
    limited: int = 0
    delivered: int = 0
    deferred: int = 0
    bounced: int = 0


@record
class Use:
    """How an address of a node is used: when last (Unix seconds, None for never), and its messages of the last 24 hours."""

    last_used_at: float | None = None
    messages_24h: int = 0


@record
class Counts:
    """What an address did in some time: attempts, and what came of them; `messages` had a recipient accepted.

    `messages_of` has these by group of receivers, `hours` how many hours had any.
    """

    attempts: int = 0
    messages: int = 0
    delivered: int = 0
    deferred: int = 0
    bounced: int = 0
    throttled: int = 0
    blocked: int = 0
    hours: int = 0
    messages_of: Mapping[str, int] = field(default_factory=dict)

    @property
    def deferral_rate(self) -> float:
        """The share of attempts that was deferred, 0 where there was none."""
        return self.deferred / self.attempts if self.attempts else 0.0


class Keeper:
    """Keeps what a process counts, every ten seconds and at the end. What cannot be kept is counted on."""

    def __init__(self, database: Database, tally: Tally, node: str, clock: Clock, log: Log) -> None:
        self._database = database
        self._tally = tally
        self._node = node
        self._clock = clock
        self._log = log
        self._told = ""

    async def run(self) -> None:
        """Never ends."""
        while True:
            await self._clock.sleep(KEEP_EVERY_S)
            await self.flush()

    async def flush(self) -> None:
        """Keep what was counted; blocks no loop."""
        taken = self._tally.take()
        if not taken.counts and not taken.used_at:
            return
        try:
            await asyncio.to_thread(keep, self._database, self._node, taken)
            self._told = ""
        except DatabaseFault as error:
            self._tally.give_back(taken)
            reason = str(error).partition("\n")[0]
            if reason != self._told:
                self._told = reason
                self._log("egress.activity_not_kept", {"level": "error", "reason": reason})


def keep(database: Database, node: str, taken: Taken) -> None:
    """Add counts to those that are there, and drop what is too old. Raises DatabaseFault, and nothing of it is kept."""
    with database.keep() as session:
        insert = postgresql.insert if session.get_bind().dialect.name == "postgresql" else sqlite.insert
        rows = [
            {"hour": hour, "node": node, "address": address, "about": about, "kind": kind, "number": number}
            for (hour, address, about, kind), number in taken.counts.items()
        ]
        if rows:
            count = insert(Activity)
            count = count.on_conflict_do_update(
                index_elements=list(Activity.__table__.primary_key),
                set_={"number": Activity.number + count.excluded.number},
            )
            session.execute(count, rows)
        used = [{"node": node, "address": address, "used_at": at} for address, at in taken.used_at.items()]
        if used:
            use = insert(AddressUse)
            use = use.on_conflict_do_update(index_elements=["node", "address"], set_={"used_at": use.excluded.used_at})
            session.execute(use, used)
        session.execute(delete(Activity).where(Activity.hour < hour_of(session.now) - KEPT_HOURS))


def hour_of(at: float) -> int:
    """Give the hour of a time in Unix seconds."""
    return int(at // HOUR_S)


def series(session: Session, since: int, until: int, *, node: str = "") -> Sequence[Hour]:
    """Give each hour from `since` up to and without `until`, of all nodes or of one."""
    kinds = [one.name for one in fields(Hour)]
    query = select(Activity.hour, Activity.kind, func.sum(Activity.number)).where(
        Activity.address == "", Activity.hour >= since, Activity.hour < until, Activity.kind.in_(kinds)
    )
    if node:
        query = query.where(Activity.node == node)
    found: dict[int, dict[str, int]] = {}
    for hour, kind, number in session.execute(query.group_by(Activity.hour, Activity.kind)):
        found.setdefault(hour, {})[kind] = int(number)
    return [Hour(hour, **found.get(hour, {})) for hour in range(since, until)]


def began(session: Session) -> float | None:
    """Give how far back what was counted reaches, in Unix seconds; None where nothing was counted yet."""
    first = session.scalar(select(func.min(Activity.hour)).where(Activity.address == ""))
    return None if first is None else float(first * HOUR_S)


def limits_hit(session: Session, since: int) -> Mapping[str, int]:
    """Give how often limits of `rate()` were hit from an hour on, by namespace, the most hit first."""
    query = select(Activity.about, func.sum(Activity.number)).where(
        Activity.address == "", Activity.kind == "limited", Activity.hour >= since
    )
    found = {about: int(number) for about, number in session.execute(query.group_by(Activity.about))}
    return dict(sorted(found.items(), key=lambda pair: (-pair[1], pair[0])))


def without_ipv6(session: Session, now: float) -> float | None:
    """Give the share of last week's receivers that have no IPv6 address, 0 to 1; None where none is known."""
    query = select(Activity.kind, func.sum(Activity.number)).where(
        Activity.address == "", Activity.kind.in_(("receivers", "without_ipv6")), Activity.hour > hour_of(now) - 7 * 24
    )
    found = {kind: int(number) for kind, number in session.execute(query.group_by(Activity.kind))}
    receivers = found.get("receivers", 0)
    return found.get("without_ipv6", 0) / receivers if receivers else None


def uses(session: Session, now: float, addresses: Collection[str] | None = None) -> Mapping[tuple[str, str], Use]:
    """Give the use of each address that was used, by node and address: of all, or of these."""
    last = select(AddressUse.node, AddressUse.address, AddressUse.used_at)
    sent = select(Activity.node, Activity.address, func.sum(Activity.number)).where(*last_day(now))
    if addresses is not None:
        last = last.where(AddressUse.address.in_(addresses))
        sent = sent.where(Activity.address.in_(addresses))
    counts = {
        (node, address): int(number)
        for node, address, number in session.execute(sent.group_by(Activity.node, Activity.address))
    }
    return {(node, address): Use(at, counts.get((node, address), 0)) for node, address, at in session.execute(last)}


def together(uses: Iterable[Use | None]) -> Use:
    """Give the use of several addresses as that of one."""
    known = [one for one in uses if one is not None]
    last = max((one.last_used_at for one in known if one.last_used_at is not None), default=None)
    return Use(last, sum(one.messages_24h for one in known))


def last_day(now: float) -> Sequence[ColumnElement[bool]]:
    """Give the conditions of what counts as messages of the last 24 hours."""
    return (Activity.hour > hour_of(now) - 24, Activity.kind == "messages")


def of_addresses(
    session: Session, addresses: Collection[str], since: int, until: int | None = None, *, node: str = ""
) -> Counts:
    """Give what these addresses did together from an hour on, up to and without `until`; on all nodes, or on one."""
    by_hour = _by_hour(session, addresses, since, until, node)
    return _sum([one for hours in by_hour.values() for one in hours], len(by_hour))


def signs(session: Session, since: int) -> Mapping[str, Mapping[int, tuple[int, int, int]]]:
    """Give, by address and hour from one on, the attempts, those throttled and those blocked."""
    kinds = ("attempts", "throttled", "blocked")
    query = select(Activity.address, Activity.hour, Activity.kind, func.sum(Activity.number)).where(
        Activity.hour >= since, Activity.address != "", Activity.kind.in_(kinds)
    )
    found: dict[str, dict[int, dict[str, int]]] = {}
    for address, hour, kind, number in session.execute(query.group_by(Activity.address, Activity.hour, Activity.kind)):
        found.setdefault(address, {}).setdefault(hour, {})[kind] = int(number)
    return {
        address: {hour: (of.get("attempts", 0), of.get("throttled", 0), of.get("blocked", 0)) for hour, of in hours.items()}
        for address, hours in found.items()
    }


def by_day(
    session: Session, addresses: Collection[str], since: int, day_of: Callable[[datetime], date]
) -> Mapping[date, Counts]:
    """Give what these addresses did together on each day, from an hour on; days without anything are left out.

    `day_of` gives the day that a time (in UTC) counts to.
    """
    days: dict[date, list[tuple[str, str, int]]] = {}
    hours: dict[date, int] = {}
    for hour, counts in _by_hour(session, addresses, since, None, "").items():
        day = day_of(datetime.fromtimestamp(hour * HOUR_S, UTC))
        days.setdefault(day, []).extend(counts)
        hours[day] = hours.get(day, 0) + any(kind == "messages" for _, kind, _ in counts)
    return {day: _sum(counts, hours[day]) for day, counts in sorted(days.items())}


def _by_hour(
    session: Session, addresses: Collection[str], since: int, until: int | None, node: str
) -> Mapping[int, Sequence[tuple[str, str, int]]]:
    """Give, by hour, (group of receivers, kind, number)."""
    query = select(Activity.hour, Activity.about, Activity.kind, func.sum(Activity.number)).where(
        Activity.address.in_(addresses), Activity.hour >= since, Activity.kind != "wanted"
    )
    if until is not None:
        query = query.where(Activity.hour < until)
    if node:
        query = query.where(Activity.node == node)
    found: dict[int, list[tuple[str, str, int]]] = {}
    for hour, about, kind, number in session.execute(query.group_by(Activity.hour, Activity.about, Activity.kind)):
        found.setdefault(hour, []).append((about, kind, int(number)))
    return found


def _sum(counts: Sequence[tuple[str, str, int]], hours: int) -> Counts:
    kinds: dict[str, int] = {}
    groups: dict[str, int] = {}
    for about, kind, number in counts:
        kinds[kind] = kinds.get(kind, 0) + number
        if kind == "messages" and about:
            groups[about] = groups.get(about, 0) + number
    return Counts(**kinds, hours=hours, messages_of=groups)

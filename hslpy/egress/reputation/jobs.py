"""A check of block lists under way: its settings, its pace, what it tells. In: turns, findings. Out: events and progress.

Must not know how lists are asked, nor where results are kept. Source: B5 and E1 of the specification of delivery IPs.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import field
from typing import Literal

from hslpy.clock import Clock
from hslpy.dns.resolver import ResolverSettings
from hslpy.egress.accounts.site import Site
from hslpy.egress.reputation.listings import Alert, Checked
from hslpy.egress.reputation.suspensions import Rule
from hslpy.egress.rules.dnsbl import Finding
from hslpy.records import dataclass, record

_MARGIN_S = 0.01  # on the interval: queries of which the second goes out faster are still far enough apart on arrival

_PASSES = 6  # of the event loop, from the beginning of a query to its datagram
_GOLDEN = 0.618034  # whose multiples lie well apart, modulo 1

Kind = Literal["manual", "scheduled"]
State = Literal["running", "done", "stopped", "failed"]


@record
class ReputationSettings:
    """What the site has set. `resolvers` are asked in turn, `address` or `address:port`.

    `interval_s` is the least time between two queries to one list, `per_list` and `at_once` how many may be under way. An
    interval of 0 is for lists of one's own: then twice as many go out at once. `rule` is which listings suspend an address;
    with `keep_last` one address of each pool stays in use. Source: E1.
    """

    resolvers: tuple[str, ...] = ()
    interval_s: float = 0.25
    per_list: int = 2
    at_once: int = 8
    try_s: float = 3.0
    tries: int = 2
    cell_s: float = 8.0
    daily: bool = True
    rule: Rule = "never"
    keep_last: bool = True


def settings_of(site: Site, nameservers: tuple[str, ...] = ()) -> ReputationSettings:
    """Give what the site has set; lists are asked through `nameservers` where it names no resolvers."""
    return ReputationSettings(
        site.dnsbl_resolvers or nameservers,
        site.dnsbl_interval_s,
        at_once=site.dnsbl_at_once,
        daily=site.dnsbl_daily,
        rule=site.suspend_on_listing,
        keep_last=site.keep_last_address,
    )


def resolver_settings(nameservers: tuple[str, ...], port: int = 53, try_s: float = 3.0) -> ResolverSettings:
    """Give settings of the resolver that a checker needs: one try a question, nothing kept, TTLs up to an hour."""
    return ResolverSettings(nameservers, port, try_s, try_s, cache_entries=0, negative_ceiling_s=3600.0)


@record
class Event:
    """A change of one cell of a job: `checking`, then `done` or `stopped`.

    `note` says why a list was not asked again: its result is `age_s` old.
    """

    number: int
    asked: str
    list_id: int
    state: Literal["checking", "done", "stopped"]
    status: str = ""
    word: str = ""
    severity: str = "none"
    note: str = ""
    age_s: float = 0.0


@record
class Progress:
    """How far a job is; `counts` has how many results there are by status."""

    id: int
    kind: str
    by: str
    state: str
    total: int
    done: int
    counts: Mapping[str, int]
    started_at: float
    finished_at: float | None


@record
class Estimate:
    """What a check costs; the text is for people."""

    queries: int
    duration_s: float

    @property
    def text(self) -> str:
        minutes = round(self.duration_s / 60)
        seconds = max(1, round(self.duration_s))
        unit = (
            f"{minutes} minute{'s' if minutes > 1 else ''}" if minutes else f"{seconds} second{'s' if seconds > 1 else ''}"
        )
        return f"This is {self.queries:,} DNS quer{'ies' if self.queries != 1 else 'y'} and takes about {unit}."


class Pacer:
    """Keeps the queries to each list apart, and all of them few. One turn is one query."""

    def __init__(self, clock: Clock, settings: ReputationSettings) -> None:
        self.settings = settings
        self._clock = clock
        self._all = asyncio.Semaphore(settings.at_once * (1 if settings.interval_s else 2))
        self._zones: dict[str, _Turns] = {}

    @asynccontextmanager
    async def turn(self, zone: str) -> AsyncIterator[None]:
        turns = self._zones.get(zone)
        if turns is None:  # each list begins at another time, so that not all go out at once again and again
            begins_at = self._clock.monotonic() + self.settings.interval_s * (len(self._zones) * _GOLDEN % 1)
            turns = self._zones[zone] = _Turns(asyncio.Semaphore(self.settings.per_list), next_at=begins_at)
        async with turns.room:
            async with turns.order:  # held while waiting: whoever is next waits from the query that went out
                while (wait_s := turns.next_at - self._clock.monotonic()) > 0:
                    await self._clock.sleep(wait_s)
                await self._all.acquire()
                self._went(turns)
            sent = asyncio.create_task(self._later(turns)) if self.settings.interval_s else None
            try:
                yield
            finally:
                if sent is not None:
                    sent.cancel()
                self._all.release()

    async def _later(self, turns: _Turns) -> None:
        """Count the interval from when the query has left: a busy loop may come to that much later."""
        for _ in range(_PASSES):
            await asyncio.sleep(0)
            self._went(turns)

    def _went(self, turns: _Turns) -> None:
        if self.settings.interval_s:
            turns.next_at = self._clock.monotonic() + self.settings.interval_s + _MARGIN_S


@dataclass
class _Turns:
    room: asyncio.Semaphore
    order: asyncio.Lock = field(default_factory=asyncio.Lock)
    next_at: float = float("-inf")


@dataclass
class Job:
    """A check under way or done. Events are numbered from 1 and stay as long as the job is known."""

    id: int
    kind: Kind
    by: str
    cells: frozenset[tuple[str, int]]
    started_at: float
    anyway: bool = False
    state: State = "running"
    finished_at: float | None = None
    done: int = 0
    counts: Counter[str] = field(default_factory=Counter)
    events: list[Event] = field(default_factory=list)
    latest: dict[tuple[str, int], Event] = field(default_factory=dict)
    alerts: list[Alert] = field(default_factory=list)
    changed: asyncio.Event = field(default_factory=asyncio.Event)
    task: asyncio.Task[None] | None = None
    pending: list[Checked] = field(default_factory=list)

    @property
    def progress(self) -> Progress:
        return Progress(
            self.id, self.kind, self.by, self.state, len(self.cells), self.done, dict(self.counts), self.started_at,
            self.finished_at,
        )  # fmt: skip

    def tell(
        self,
        cell: tuple[str, int],
        state: Literal["checking", "done", "stopped"],
        finding: Finding | None,
        note: str = "",
        age_s: float = 0.0,
    ) -> None:
        before = self.latest.get(cell)
        if before is not None and before.state == "done":
            self.counts[before.status] -= 1
            self.done -= 1
        status, word, severity = (
            (finding.status, finding.word, finding.severity) if finding is not None else ("", "", "none")
        )
        event = Event(len(self.events) + 1, *cell, state, status, word, severity, note, age_s)
        self.events.append(event)
        self.latest[cell] = event
        if state == "done":
            self.counts[status] += 1
            self.done += 1
        self.wake()

    def wake(self) -> None:
        changed, self.changed = self.changed, asyncio.Event()
        changed.set()

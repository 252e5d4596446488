"""The checker of block lists: has them asked about addresses, and keeps what they say. In: addresses, lists. Out: jobs.

Whoever wants follows a job, which goes on without them. Must not know how lists are managed or what alerts are sent by.
Source: section E1 of the specification of delivery IPs.
"""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from typing import Literal

from sqlalchemy import delete, select

from hslpy.clock import Clock
from hslpy.dns.contract import Resolver
from hslpy.egress.reputation import block_lists, listings, suspensions
from hslpy.egress.reputation.asking import AskedList, Asker, list_of
from hslpy.egress.reputation.block_lists import BlockList, Draft, asked_zone, shown
from hslpy.egress.reputation.jobs import Estimate, Event, Job, Kind, Progress, ReputationSettings, State
from hslpy.egress.reputation.listings import Alert, Checked
from hslpy.egress.rules.dnsbl import (
    KEY,
    Finding,
    family_of,
    is_reserved,
    keep_s,
)
from hslpy.egress.rules.names import NotFound, Refused
from hslpy.egress.store.database import Actor, Database
from hslpy.egress.store.tables import Dnsbl, Listing, ReputationRun
from hslpy.log import Log

MOST_CELLS = 10_000
AGAIN_S = 60.0  # the same cell is never asked more often
MANY = 3  # so many addresses newly listed in one run have the list tested again
_KEPT_JOBS = 50
_KEPT_RUNS_S = 90 * 86_400.0
_FLUSH_AT = 200
_LOOK_S = 60.0  # how often it is looked whether the daily run is due


class Untested(Refused):
    """A list has not passed its test, for the reason `detail`."""

    def __init__(self, detail: str) -> None:
        super().__init__(
            f"The list does not answer the standard test entry ({detail}). Save it as disabled, or save it anyway.",
            409,
            "`untested` says which: disabled or anyway",
        )
        self.detail = detail


class ReputationChecker:
    """Checks addresses. `settings` gives those in force, `on_alerts` is told once a run of listings that began or ended.

    `resolver` is one of `resolver_settings`; `close` stops all jobs. `chance` gives a number from 0 to 1. `refresh`, which
    may block, makes `settings` give what was set a moment ago: it is called, in a thread, before anything begins.
    """

    def __init__(
        self,
        database: Database,
        resolver: Resolver,
        clock: Clock,
        settings: Callable[[], ReputationSettings],
        on_alerts: Callable[[Sequence[Alert], Sequence[str]], Awaitable[None]],
        chance: Callable[[], float],
        log: Log,
        refresh: Callable[[], None] = lambda: None,
    ) -> None:
        self._database = database
        self._asker = Asker(database, resolver, clock, settings)
        self._refresh = refresh
        self._clock = clock
        self._settings = settings
        self._on_alerts = on_alerts
        self._chance = chance
        self._log = log
        self._lists: dict[int, AskedList] = {}
        self._jobs: dict[int, Job] = {}
        self._under_way: dict[tuple[str, int], asyncio.Event] = {}
        self._results: dict[tuple[str, int], Checked] = {}
        self._write = asyncio.Lock()
        self._starting = asyncio.Lock()

    # Jobs

    async def start(
        self,
        by: str,
        addresses: Iterable[str] | None = None,
        list_ids: Iterable[int] | None = None,
        *,
        anyway: bool = False,
        kind: Kind = "manual",
    ) -> Job:
        """Begin to check addresses on lists, all of both where none are named, and give the job.

        With `anyway` results that still hold are asked for again, but none that is not a minute old. Where a job with
        the same cells is under way it is that one. Raises Refused, NotFound.
        """
        chosen = list(addresses) if addresses is not None else None
        ids = list(list_ids) if list_ids is not None else None
        await asyncio.to_thread(self._refresh)
        async with self._starting:
            plan = Job(0, kind, by, frozenset(), self._clock.time(), anyway)
            job, lists, known = await asyncio.to_thread(self._prepare, plan, chosen, ids)
            same = next((one for one in self._jobs.values() if one.state == "running" and one.cells == job.cells), None)
            if same is not None:
                return same
            self._renew(lists)
            for checked in known:  # what another process may have found
                before = self._results.get((checked.asked, checked.list_id))
                if before is None or before.at < checked.at:
                    self._results[checked.asked, checked.list_id] = checked
            job.id = await asyncio.to_thread(self._insert_run, job)
            self._jobs[job.id] = job
        for old in [one for one in self._jobs.values() if one.state != "running"][:-_KEPT_JOBS]:
            del self._jobs[old.id]
        job.task = asyncio.create_task(self._run(job))
        await asyncio.sleep(0)  # a task that was cancelled before it began would never end as it should
        return job

    def job(self, job_id: int) -> Job:
        """Raises NotFound."""
        if job_id not in self._jobs:
            raise NotFound(f"there is no check {job_id}")
        return self._jobs[job_id]

    @property
    def jobs(self) -> list[Job]:
        """The jobs that are known, the latest first."""
        return sorted(self._jobs.values(), key=lambda job: -job.id)

    @property
    def under_way(self) -> Mapping[tuple[str, int], Literal["queued", "checking"]]:
        """The cells that jobs are about to check, or are checking."""
        found: dict[tuple[str, int], Literal["queued", "checking"]] = {}
        for job in self._jobs.values():
            if job.state == "running":
                for cell in job.cells:
                    latest = job.latest.get(cell)
                    if latest is None or latest.state == "checking":
                        found[cell] = "queued" if latest is None else "checking"
        return found

    async def follow(self, job_id: int, after: int = 0) -> AsyncIterator[Event]:
        """Give the events of a job after that number, as they come, until it ends. Raises NotFound."""
        job = self.job(job_id)
        while True:
            changed = job.changed
            while after < len(job.events):
                yield job.events[after]
                after += 1
            if job.state != "running":
                return
            await changed.wait()

    async def wait(self, job_id: int) -> Progress:
        """Wait until a job has ended. Raises NotFound."""
        job = self.job(job_id)
        if job.task is not None:
            await asyncio.wait([job.task])
        return job.progress

    async def stop(self, job_id: int) -> Progress:
        """Stop a job; what was found so far is kept. Raises NotFound."""
        job = self.job(job_id)
        if job.task is not None:
            job.task.cancel()
        return await self.wait(job_id)

    async def close(self) -> None:
        for job in self._jobs.values():
            if job.state == "running":
                await self.stop(job.id)

    def estimate(self, addresses: int, lists: int) -> Estimate:
        """Give what checking so many addresses on so many lists costs."""
        settings = self._settings()
        queries = addresses * lists
        return Estimate(queries, max(addresses * settings.interval_s, queries * self._asker.mean_s / settings.at_once))

    # The daily run

    async def run_daily(self) -> None:
        """Check all addresses once a day, at a time that is never quite the same, until cancelled."""
        told = ""
        while True:
            try:
                last = await asyncio.to_thread(self._last_scheduled)
                due = next_run_at(last, self._clock.time(), self._chance())
                while self._clock.time() < due:
                    await self._clock.sleep(min(_LOOK_S, due - self._clock.time()))
                if self._settings().daily and await asyncio.to_thread(self._last_scheduled) == last:
                    await self.wait((await self.start("hslpy", kind="scheduled")).id)
                    told = ""
                    continue
            except Exception as error:  # nothing to check, or a database that is gone: there is another time
                if str(error) != told:
                    told = str(error)
                    self._log("reputation.not_run", {"level": "warning", "error": told})
            await self._clock.sleep(_LOOK_S)

    def _last_scheduled(self) -> float | None:
        with self._database.read() as session:
            runs = select(ReputationRun.started_at).where(ReputationRun.kind == "scheduled")
            return session.scalars(runs.order_by(ReputationRun.started_at.desc()).limit(1)).first()

    # Tests of lists

    async def test(self, list_id: int) -> BlockList:
        """Ask a list for its test entries now and give it with what came of that. Raises NotFound."""
        await asyncio.to_thread(self._refresh)
        self._renew([(await asyncio.to_thread(self._row, list_id))[0]])
        one = self._lists[list_id]
        async with one.lock:
            await self._asker.test(one)
        return (await asyncio.to_thread(self._row, list_id))[1]

    async def add(self, actor: Actor, wanted: Draft, untested: Literal["ask", "disabled", "anyway"] = "ask") -> BlockList:
        """Test a list and add it; one that does not pass as `untested` says. Raises Refused; Untested where that says so."""
        one = AskedList(
            0, wanted.name, asked_zone(wanted.zone, wanted.key), wanted.key, wanted.families, wanted.tried, wanted.meaning
        )
        await asyncio.to_thread(self._refresh)
        enabled = True
        if not wanted.retired and not (KEY in wanted.zone.split(".") and not wanted.key):
            await self._asker.ask_entries(one)
            if one.status != "working":
                if untested == "ask":
                    raise Untested(one.detail)
                enabled = untested == "anyway"
        row = await asyncio.to_thread(block_lists.add, self._database, actor, wanted, enabled=enabled)
        if one.tested_at is not None:
            one.id = row.id
            await asyncio.to_thread(self._asker.keep_test, one)
        return (await asyncio.to_thread(self._row, row.id))[1]

    # What a job does

    async def _run(self, job: Job) -> None:
        if all(one is job or one.state != "running" for one in self._jobs.values()):
            self._asker.renew_pace()
        by_list: dict[int, list[str]] = {}
        for asked, list_id in job.cells:
            by_list.setdefault(list_id, []).append(asked)
        state: State = "failed"
        try:
            async with asyncio.TaskGroup() as group:
                for list_id, addresses in by_list.items():
                    group.create_task(self._run_list(job, self._lists[list_id], addresses))
            state = "done"
        except asyncio.CancelledError:
            state = "stopped"
        except Exception as error:  # a fault of ours, or a database that is gone: the job ends, the server goes on
            self._log("reputation.failed", {"level": "error", "run": job.id, "error": repr(error)})
        finally:
            await asyncio.shield(asyncio.create_task(self._finish(job, state)))

    async def _finish(self, job: Job, state: State) -> None:
        for cell in job.cells:
            if (latest := job.latest.get(cell)) is None or latest.state != "done":
                job.tell(cell, "stopped", None)
        job.finished_at = self._clock.time()
        settings = self._settings()
        try:
            await self._flush(job)
            texts, spared = await asyncio.to_thread(
                suspensions.settle, self._database, settings.rule, settings.keep_last, job.finished_at
            )
            await asyncio.to_thread(self._update_run, job, state)
            if job.alerts or texts:
                await self._on_alerts(job.alerts, [*texts, *spared])
        except Exception as error:
            self._log("reputation.failed", {"level": "error", "run": job.id, "error": repr(error)})
        finally:
            job.state = state
            job.wake()

    async def _run_list(self, job: Job, one: AskedList, addresses: list[str]) -> None:
        todo = iter(sorted(addresses))
        begun: dict[str, Finding] = {}  # newly listed: kept when the list is through

        async def worker() -> None:
            for asked in todo:
                await self._cell(job, one, asked, begun)

        try:
            async with asyncio.TaskGroup() as group:
                for _ in range(min(self._settings().per_list, len(addresses))):
                    group.create_task(worker())
            if len(begun) >= MANY:
                async with one.lock:
                    await self._asker.test(one)
                for asked in begun:
                    unusable = self._asker.unusable(one, family_of(asked))
                    if unusable is not None:
                        begun[asked] = unusable
                        job.tell((asked, one.id), "done", unusable)
        except asyncio.CancelledError:
            if len(begun) >= MANY:  # not tested again: they are not believed
                for asked in begun:
                    del self._results[asked, one.id]
                begun.clear()
            raise
        finally:
            self._keep(job, [Checked(asked, one.id, finding, self._clock.time()) for asked, finding in begun.items()])
        await self._flush(job)

    async def _cell(self, job: Job, one: AskedList, asked: str, begun: dict[str, Finding]) -> None:
        cell = (asked, one.id)
        if is_reserved(asked):
            job.tell(cell, "done", Finding("private"))
            return
        while (other := self._under_way.get(cell)) is not None:  # by another job: its result will do
            await other.wait()
        before = self._results.get(cell)
        if before is not None and (note := self._holds(before, job.anyway)):
            job.tell(cell, "done", before.finding, note, self._clock.time() - before.at)
            return
        self._under_way[cell] = done = asyncio.Event()
        try:
            job.tell(cell, "checking", None)
            finding = await self._asker.check(one, asked)
            if finding.status == "not applicable":
                job.tell(cell, "done", finding)
                return
            checked = Checked(asked, one.id, finding, self._clock.time())
            self._results[cell] = checked
            job.tell(cell, "done", finding)
            if finding.counts and not (before is not None and before.finding.counts):
                begun[asked] = finding
            else:
                self._keep(job, [checked])
                if len(job.pending) >= _FLUSH_AT:
                    await self._flush(job)
        finally:
            del self._under_way[cell]
            done.set()

    def _holds(self, before: Checked, anyway: bool) -> str:
        """Say why a result is not asked for again; empty where it is."""
        if before.finding.status in ("refused", "not usable"):
            return ""  # the list as a whole says when it may be asked again
        age_s = self._clock.time() - before.at
        if age_s >= (AGAIN_S if anyway else keep_s(before.finding)):
            return ""
        ago = f"{int(age_s // 60)} min" if age_s >= 60 else f"{int(age_s)} s"
        return f"checked {ago} ago; the list asks not to be queried more often"

    # The database; each of these runs in a thread

    def _prepare(
        self, plan: Job, addresses: list[str] | None, ids: list[int] | None
    ) -> tuple[Job, list[AskedList], list[Checked]]:
        with self._database.read() as session:
            own = listings.own_addresses(session)
            enabled = list(session.scalars(select(Dnsbl).where(Dnsbl.enabled.is_(True), Dnsbl.hidden.is_(False))))
            if addresses is not None:
                missing = [text for text in addresses if not any(text in (one.address, one.asked) for one in own)]
                if missing:
                    raise NotFound(f"'{missing[0]}' is not a delivery IP")
                own = [one for one in own if one.address in addresses or one.asked in addresses]
            if ids is not None:
                off = set(ids) - {row.id for row in enabled}
                if off:
                    raise NotFound(f"there is no list {min(off)} that is enabled")
                enabled = [row for row in enabled if row.id in ids]
            if not enabled:
                raise Refused("No lists configured.")
            if not own:
                raise Refused("There are no addresses to check.")
            cells = frozenset((one.asked, row.id) for one in own for row in enabled)
            if len(cells) > MOST_CELLS:
                raise Refused(f"{len(cells):,} results are more than {MOST_CELLS:,}: check fewer addresses or lists")
            known = [
                Checked(one.address, one.dnsbl_id, listings.finding_of(one), one.checked_at)
                for one in session.scalars(select(Listing).where(Listing.dnsbl_id.in_({row.id for row in enabled})))
                if one.expires_at and (one.address, one.dnsbl_id) in cells
            ]
            return dataclasses.replace(plan, cells=cells), [list_of(row) for row in enabled], known

    def _row(self, list_id: int) -> tuple[AskedList, BlockList]:
        with self._database.read() as session:
            row = session.get(Dnsbl, list_id)
            if row is None or row.hidden:
                raise NotFound(f"there is no list {list_id}")
            return list_of(row), shown(row)

    def _insert_run(self, job: Job) -> int:
        with self._database.keep() as session:
            session.execute(delete(ReputationRun).where(ReputationRun.started_at < job.started_at - _KEPT_RUNS_S))
            row = ReputationRun(kind=job.kind, by=job.by, total=len(job.cells), started_at=job.started_at)
            session.add(row)
            session.flush()
            return row.id

    def _update_run(self, job: Job, state: State) -> None:
        with self._database.keep() as session:
            row = session.get(ReputationRun, job.id)
            if row is not None:
                row.done, row.counts, row.state, row.finished_at = job.done, dict(job.counts), state, job.finished_at

    # Between them

    def _renew(self, lists: Iterable[AskedList]) -> None:
        """Take over how lists are set and, where they were changed or tested by another process, what is known of them."""
        for new in lists:
            known = self._lists.get(new.id)
            if known is None or known.config != new.config or known.tested_at != new.tested_at:
                if known is not None and known.config != new.config:
                    self._results = {cell: one for cell, one in self._results.items() if cell[1] != new.id}
                self._lists[new.id] = new

    def _keep(self, job: Job, checked: Sequence[Checked]) -> None:
        for one in checked:
            self._results[one.asked, one.list_id] = one
        job.pending.extend(checked)

    async def _flush(self, job: Job) -> None:
        """Write what was found; to the end, though the job be stopped meanwhile."""
        await asyncio.shield(asyncio.create_task(self._flush_all(job)))

    async def _flush_all(self, job: Job) -> None:
        async with self._write:
            checked, job.pending = job.pending, []
            job.alerts.extend(await asyncio.to_thread(listings.keep, self._database, checked))


def next_run_at(last: float | None, now: float, chance: float) -> float:
    """Give when all addresses are checked next, Unix seconds: a day after the last run, less up to an hour by `chance`.

    Where there was none, or it is long ago, within ten minutes.
    """
    due = last + 86_400.0 - 3600.0 * chance if last is not None else now
    return due if due > now else now + 600.0 * chance

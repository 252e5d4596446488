"""The checker of block lists: asks them about addresses, politely, and keeps what they say. In: addresses, lists. Out: jobs.

A list is believed only after its test entries, and asked no faster than is set. Whoever wants follows a job, which goes on
without them. Must not know how lists are managed or what alerts are sent by. Source: section E1 of the specification of
delivery IPs; RFC 5782.
"""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import field
from typing import Literal

from sqlalchemy import delete, select

from hslpy.clock import Clock
from hslpy.dns.contract import NameNotFound, ResolutionFailed, Resolver
from hslpy.egress.reputation import block_lists, listings, suspensions
from hslpy.egress.reputation.block_lists import BlockList, Draft, asked_zone, meaning_of, shown
from hslpy.egress.reputation.jobs import Estimate, Event, Job, Kind, Pacer, Progress, ReputationSettings, State
from hslpy.egress.reputation.listings import Alert, Checked
from hslpy.egress.rules.dnsbl import (
    KEY,
    NEGATIVE,
    POSITIVE,
    Finding,
    ListStatus,
    Meaning,
    Reply,
    decode,
    family_of,
    is_reserved,
    judge,
    keep_s,
    overall,
    query_name,
    reason_of,
    usable,
)
from hslpy.egress.rules.names import NotFound, Refused
from hslpy.egress.store.database import Actor, Database
from hslpy.egress.store.tables import Dnsbl, Listing, ReputationRun
from hslpy.log import Log
from hslpy.records import dataclass

MOST_CELLS = 10_000
AGAIN_S = 60.0  # the same cell is never asked more often
REFUSED_S = 3600.0  # a list that refused is left alone for so long
TEST_S = 86_400.0  # how long a test of a list holds
TEST_FOR_LISTING_S = 6 * 3600.0  # how old it may be for a listing to be believed
TEST_FAILED_S = 300.0  # how long a list that did not answer is left alone
MANY = 3  # so many addresses newly listed in one run have the list tested again
_FIRST_GUESS_S = 0.8  # how long an answer takes, until it was measured
_GRACE_S = 0.5  # the resolver ends a try by itself; a second one beside it would be taken for the same question
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


@dataclass
class _List:
    """A list as it is asked; `zone` has the key in it."""

    id: int
    name: str
    zone: str
    key: str
    families: tuple[int, ...]
    tried: tuple[int, ...]
    meaning: Meaning
    tests: dict[str, str] = field(default_factory=dict)
    status: str = "not tested"
    detail: str = ""
    tested_at: float | None = None
    through: str = ""
    refused_until: float | None = None
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)

    @property
    def config(self) -> tuple[object, ...]:
        return self.zone, self.families, self.tried, self.meaning


@dataclass
class _Budget:
    left_s: float


def _list_of(row: Dnsbl) -> _List:
    return _List(
        row.id, row.name, asked_zone(row.zone, row.key), row.key, tuple(row.families), tuple(row.tried_families),
        meaning_of(row), dict(row.tests), row.status, row.status_detail, row.tested_at, row.tested_through,
        row.refused_until,
    )  # fmt: skip


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
        self._resolver = resolver
        self._refresh = refresh
        self._clock = clock
        self._settings = settings
        self._on_alerts = on_alerts
        self._chance = chance
        self._log = log
        self._pacer = Pacer(clock, settings())
        self._lists: dict[int, _List] = {}
        self._jobs: dict[int, Job] = {}
        self._under_way: dict[tuple[str, int], asyncio.Event] = {}
        self._results: dict[tuple[str, int], Checked] = {}
        self._write = asyncio.Lock()
        self._starting = asyncio.Lock()
        self._mean_s = _FIRST_GUESS_S

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
        return Estimate(queries, max(addresses * settings.interval_s, queries * self._mean_s / settings.at_once))

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
            await self._test(one)
        return (await asyncio.to_thread(self._row, list_id))[1]

    async def add(self, actor: Actor, wanted: Draft, untested: Literal["ask", "disabled", "anyway"] = "ask") -> BlockList:
        """Test a list and add it; one that does not pass as `untested` says. Raises Refused; Untested where that says so."""
        one = _List(
            0, wanted.name, asked_zone(wanted.zone, wanted.key), wanted.key, wanted.families, wanted.tried, wanted.meaning
        )
        await asyncio.to_thread(self._refresh)
        enabled = True
        if not wanted.retired and not (KEY in wanted.zone.split(".") and not wanted.key):
            await self._ask_entries(one)
            if one.status != "working":
                if untested == "ask":
                    raise Untested(one.detail)
                enabled = untested == "anyway"
        row = await asyncio.to_thread(block_lists.add, self._database, actor, wanted, enabled=enabled)
        if one.tested_at is not None:
            one.id = row.id
            await asyncio.to_thread(self._keep_test, one)
        return (await asyncio.to_thread(self._row, row.id))[1]

    # What a job does

    async def _run(self, job: Job) -> None:
        if self._pacer.settings != self._settings() and all(
            one is job or one.state != "running" for one in self._jobs.values()
        ):
            self._pacer = Pacer(self._clock, self._settings())
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

    async def _run_list(self, job: Job, one: _List, addresses: list[str]) -> None:
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
                    await self._test(one)
                for asked in begun:
                    unusable = self._unusable(one, family_of(asked))
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

    async def _cell(self, job: Job, one: _List, asked: str, begun: dict[str, Finding]) -> None:
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
            finding = await self._check(one, asked)
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

    async def _check(self, one: _List, asked: str) -> Finding:
        family = family_of(asked)
        unusable = await self._ready(one, family)
        if unusable is not None:
            return unusable
        budget = _Budget(self._settings().cell_s)
        name = query_name(asked, one.zone)
        reply, through = await self._ask(one, name, "A", budget)
        finding = dataclasses.replace(decode(reply, one.meaning), resolver=through)
        if finding.status == "refused":
            await self._refused(one, finding.detail)
        if finding.status != "listed":
            return finding
        async with one.lock:
            if one.tested_at is None or self._clock.time() - one.tested_at > TEST_FOR_LISTING_S:
                await self._test(one)
        unusable = self._unusable(one, family)
        if unusable is not None:
            return unusable
        text, _ = await self._ask(one, name, "TXT", budget)
        return dataclasses.replace(finding, reasons=tuple(reason_of(part, one.key) for part in text.records))

    # What lists are known to be

    async def _ready(self, one: _List, family: int) -> Finding | None:
        """Test the list where that is due; give the finding for all addresses where it cannot be used."""
        async with one.lock:
            now, through = self._clock.time(), self._through()
            if one.through and one.through != through:
                one.tested_at, one.refused_until = None, None
            if one.refused_until is None or one.refused_until <= now:
                holds_s = TEST_FAILED_S if one.status == "not answering" else TEST_S
                if one.tested_at is None or one.status == "refusing" or now - one.tested_at >= holds_s:
                    await self._test(one)
        return self._unusable(one, family)

    def _unusable(self, one: _List, family: int) -> Finding | None:
        if one.refused_until is not None and one.refused_until > self._clock.time():
            return Finding("refused", detail=f"the list refuses: {one.detail}; it is not asked for an hour")
        if one.status == "lists everything":
            return Finding("not usable", detail=one.detail)
        if not listings.applies(one.families, one.tried, one.tests, family):
            return Finding("not applicable")
        state = one.tests.get(str(family), "")
        if usable(state):
            return None
        return Finding("no answer" if state == "not answering" else "not usable", detail=one.detail)

    async def _refused(self, one: _List, detail: str) -> None:
        one.status, one.detail, one.refused_until = "refusing", detail, self._clock.time() + REFUSED_S
        await asyncio.to_thread(self._keep_test, one)

    async def _test(self, one: _List) -> None:
        await self._ask_entries(one)
        await asyncio.to_thread(self._keep_test, one)

    async def _ask_entries(self, one: _List) -> None:
        """Ask a list for its test entries. Source: RFC 5782 section 5."""
        tests: dict[str, str] = {}
        details: dict[ListStatus, str] = {}
        states: list[ListStatus] = []
        for family in (*one.families, *one.tried):
            replies = []
            for entry in (POSITIVE, NEGATIVE):
                budget = _Budget(self._settings().cell_s)
                replies.append((await self._ask(one, query_name(entry[family], one.zone), "A", budget))[0])  # type: ignore[index]
                if judge(replies[0], Reply(), one.meaning)[0] in ("refusing", "not answering"):
                    break
            state, detail = judge(replies[0], replies[-1] if len(replies) > 1 else Reply(), one.meaning)
            if family == 6:
                detail = detail.replace("127.0.0.2", "::ffff:7f00:2").replace(
                    "127.0.0.1 is listed", "::ffff:7f00:1 is listed"
                )
            tests[str(family)] = state
            if family in one.families:
                details.setdefault(state, detail)
                states.append(state)
                if state == "refusing":
                    break
        one.status = overall(states)
        one.detail = details[one.status]
        one.tests, one.tested_at, one.through = tests, self._clock.time(), self._through()
        one.refused_until = one.tested_at + REFUSED_S if one.status == "refusing" else None

    # Asking

    def _through(self) -> str:
        return " ".join(self._settings().resolvers) or "system"

    async def _ask(self, one: _List, name: str, record_type: Literal["A", "TXT"], budget: _Budget) -> tuple[Reply, str]:
        """Give the answer and which resolver gave it. The name may have a key in it: it stands in no text."""
        settings = self._settings()
        failure, through = "no answer in time", ""
        for attempt in range(settings.tries):
            if budget.left_s <= 0:
                break
            servers = settings.resolvers[attempt % len(settings.resolvers) :][:1] if settings.resolvers else ()
            through = servers[0] if servers else ""
            async with self._pacer.turn(one.zone):
                begun = self._clock.monotonic()
                try:
                    async with asyncio.timeout(min(settings.try_s + _GRACE_S, budget.left_s)):
                        answer = await self._resolver.query(name, record_type, servers)
                    return Reply(answer.records, answer.ttl_s), through
                except NameNotFound as missing:
                    return Reply((), missing.ttl_s), through
                except TimeoutError:
                    failure = "no answer in time"
                except ResolutionFailed as failed:
                    failure = (
                        "no answer in time" if failed.kind == "TRY_AGAIN" else "the resolver found no answer (SERVFAIL)"
                    )
                finally:
                    taken = self._clock.monotonic() - begun
                    budget.left_s -= taken
                    self._mean_s += (taken - self._mean_s) / 32
        return Reply(failure=failure), through

    # The database; each of these runs in a thread

    def _prepare(
        self, plan: Job, addresses: list[str] | None, ids: list[int] | None
    ) -> tuple[Job, list[_List], list[Checked]]:
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
            return dataclasses.replace(plan, cells=cells), [_list_of(row) for row in enabled], known

    def _row(self, list_id: int) -> tuple[_List, BlockList]:
        with self._database.read() as session:
            row = session.get(Dnsbl, list_id)
            if row is None or row.hidden:
                raise NotFound(f"there is no list {list_id}")
            return _list_of(row), shown(row)

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

    def _keep_test(self, one: _List) -> None:
        with self._database.keep() as session:
            row = session.get(Dnsbl, one.id)
            if row is not None:
                row.status, row.status_detail, row.tests = one.status, one.detail[:255], dict(one.tests)
                row.tested_at, row.tested_through, row.refused_until = one.tested_at, one.through[:255], one.refused_until

    # Between them

    def _renew(self, lists: Iterable[_List]) -> None:
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

"""Block lists, asked one by one: tested before they are believed, at a pace, left alone where they refuse. Out: findings.

Must not know what is checked for whom, nor how lists are managed. Source: section E1 of the specification of delivery IPs;
RFC 5782.
"""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Callable
from dataclasses import field
from typing import Literal

from hslpy.clock import Clock
from hslpy.dns.contract import NameNotFound, ResolutionFailed, Resolver
from hslpy.egress.reputation import listings
from hslpy.egress.reputation.block_lists import asked_zone, meaning_of
from hslpy.egress.reputation.jobs import Pacer, ReputationSettings
from hslpy.egress.rules.dnsbl import (
    NEGATIVE,
    POSITIVE,
    Finding,
    ListStatus,
    Meaning,
    Reply,
    decode,
    family_of,
    judge,
    overall,
    query_name,
    reason_of,
    usable,
)
from hslpy.egress.store.database import Database
from hslpy.egress.store.tables import Dnsbl
from hslpy.records import dataclass

REFUSED_S = 3600.0  # a list that refused is left alone for so long
TEST_S = 86_400.0  # how long a test of a list holds
TEST_FOR_LISTING_S = 6 * 3600.0  # how old it may be for a listing to be believed
TEST_FAILED_S = 300.0  # how long a list that did not answer is left alone
_FIRST_GUESS_S = 0.8  # how long an answer takes, until it was measured
_GRACE_S = 0.5  # the resolver ends a try by itself; a second one beside it would be taken for the same question


@dataclass
class AskedList:
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


def list_of(row: Dnsbl) -> AskedList:
    """Give a list as it is to be asked."""
    return AskedList(
        row.id, row.name, asked_zone(row.zone, row.key), row.key, tuple(row.families), tuple(row.tried_families),
        meaning_of(row), dict(row.tests), row.status, row.status_detail, row.tested_at, row.tested_through,
        row.refused_until,
    )  # fmt: skip


class Asker:
    """Asks lists, each no faster than is set, and keeps what its tests came to.

    `settings` gives those in force. `mean_s` is how long an answer takes, as was measured.
    """

    def __init__(
        self, database: Database, resolver: Resolver, clock: Clock, settings: Callable[[], ReputationSettings]
    ) -> None:
        self._database = database
        self._resolver = resolver
        self._clock = clock
        self._settings = settings
        self._pacer = Pacer(clock, settings())
        self.mean_s = _FIRST_GUESS_S

    def renew_pace(self) -> None:
        """Go by what is set now; for when nothing is being asked."""
        if self._pacer.settings != self._settings():
            self._pacer = Pacer(self._clock, self._settings())

    async def check(self, one: AskedList, asked: str) -> Finding:
        """Ask a list about an address, after its test entries where they are due."""
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
                await self.test(one)
        unusable = self.unusable(one, family)
        if unusable is not None:
            return unusable
        text, _ = await self._ask(one, name, "TXT", budget)
        return dataclasses.replace(finding, reasons=tuple(reason_of(part, one.key) for part in text.records))

    async def _ready(self, one: AskedList, family: int) -> Finding | None:
        """Test the list where that is due; give the finding for all addresses where it cannot be used."""
        async with one.lock:
            now, through = self._clock.time(), self._through()
            if one.through and one.through != through:
                one.tested_at, one.refused_until = None, None
            if one.refused_until is None or one.refused_until <= now:
                holds_s = TEST_FAILED_S if one.status == "not answering" else TEST_S
                if one.tested_at is None or one.status == "refusing" or now - one.tested_at >= holds_s:
                    await self.test(one)
        return self.unusable(one, family)

    def unusable(self, one: AskedList, family: int) -> Finding | None:
        """Give the finding for all addresses of a family where a list cannot be used for them."""
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

    async def _refused(self, one: AskedList, detail: str) -> None:
        one.status, one.detail, one.refused_until = "refusing", detail, self._clock.time() + REFUSED_S
        await asyncio.to_thread(self.keep_test, one)

    async def test(self, one: AskedList) -> None:
        """Ask a list for its test entries, and keep what came of that."""
        await self.ask_entries(one)
        await asyncio.to_thread(self.keep_test, one)

    async def ask_entries(self, one: AskedList) -> None:
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

    def _through(self) -> str:
        return " ".join(self._settings().resolvers) or "system"

    async def _ask(self, one: AskedList, name: str, record_type: Literal["A", "TXT"], budget: _Budget) -> tuple[Reply, str]:
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
                    self.mean_s += (taken - self.mean_s) / 32
        return Reply(failure=failure), through

    def keep_test(self, one: AskedList) -> None:
        """Write what a list is known to be. Blocks."""
        with self._database.keep() as session:
            row = session.get(Dnsbl, one.id)
            if row is not None:
                row.status, row.status_detail, row.tests = one.status, one.detail[:255], dict(one.tests)
                row.tested_at, row.tested_through, row.refused_until = one.tested_at, one.through[:255], one.refused_until

"""What a node does for its addresses all the time: report them, look up their names, check them at night. In: a database.

`Upkeep.run` never ends. What fails is logged and tried again. Source: A4, B8 and F of the specification of delivery IPs.
"""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import Awaitable, Callable, Mapping, Sequence

from sqlalchemy import select

from hslpy.clock import Clock
from hslpy.dns.contract import Resolver
from hslpy.egress.addresses import helos, inventory
from hslpy.egress.addresses.interfaces import survey
from hslpy.egress.checks import checkup
from hslpy.egress.checks.checkup import Checker
from hslpy.egress.reputation.alerts import Notice
from hslpy.egress.rules.book import Family
from hslpy.egress.rules.names import Refused
from hslpy.egress.store.database import Database
from hslpy.egress.store.faults import DatabaseFault
from hslpy.egress.store.tables import SettingAddress
from hslpy.egress.warm_up.warm_watch import Watch
from hslpy.log import Log

ASK_S = 2.0
"""How often a node looks whether somebody asked for a rescan, which is promised within 10 s."""
WARM_S = 10.0
"""How soon what a receiver says against an address that is warming up is seen, once it is kept."""
LOOK_S = 5.0
"""How often a node looks for addresses without a name: a new one is to greet by its own name soon."""
NIGHT_S = 3 * 3600  # 03:00 UTC, and up to an hour later by the node's name
_DAY_S = 86_400


class Upkeep:
    """`primary` has the node's primary addresses where they are set; others are found.

    `tell` is told of addresses that are gone though mail is to leave from them, and of those that turned critical.
    """

    def __init__(
        self,
        database: Database,
        resolver: Resolver,
        clock: Clock,
        log: Log,
        node: str,
        checker: Checker,
        *,
        primary: Mapping[Family, str] | None = None,
        allow_loopback: bool = False,
        tell: Callable[[Sequence[Notice]], Awaitable[None]] | None = None,
    ) -> None:
        self._database = database
        self._resolver = resolver
        self._clock = clock
        self._log = log
        self._node = node
        self._checker = checker
        self._primary = primary
        self._allow_loopback = allow_loopback
        self._tell = tell or _nobody
        self._watch = Watch(database)
        self._has_reported = False
        self._night_at = next_night(clock.time(), node)

    async def run(self) -> None:
        await asyncio.gather(
            self._every(ASK_S, self.report),
            self._every(LOOK_S, self.look_up),
            self._every(LOOK_S, self.check),
            self._every(WARM_S, self.warm_up),
        )

    async def report(self) -> None:
        """Report this node's addresses where that is due. Raises NotFound, OSError, DatabaseFault."""
        gone = await asyncio.to_thread(self._report)
        await self._tell([vanished(one, self._node) for one in gone])

    async def look_up(self) -> None:
        """Look up the names of addresses whose turn it is. Raises DatabaseFault."""
        await helos.refresh(self._database, self._resolver, await asyncio.to_thread(self._due))

    async def check(self) -> None:
        """Check this node's addresses once a night, and new ones at once. Raises NotFound, DatabaseFault."""
        if self._clock.time() < self._night_at:
            await self._checker.check_all(only_new=True)
            return
        self._night_at = next_night(self._clock.time(), self._node)
        before = await asyncio.to_thread(self._unfit)
        await self._checker.check_all()
        after = await asyncio.to_thread(self._unfit)
        await self._tell([unfit(after[one], self._node) for one in after.keys() - before.keys()])

    async def warm_up(self) -> None:
        """Have the days of warm-ups pass, and pause those that have to. Raises DatabaseFault."""
        done = await asyncio.to_thread(self._watch.look, self._clock.time())
        for one in done:
            self._log("warmup.changed", {"text": one.text})
        await self._tell([Notice("warm-up", one.text) for one in done if one.alerts])

    async def _every(self, seconds: float, job: Callable[[], Awaitable[None]]) -> None:
        told = ""
        while True:
            try:
                await job()
                told = ""
            except (DatabaseFault, OSError, Refused) as error:
                if (reason := str(error).partition("\n")[0]) != told:
                    told = reason
                    self._log("egress.upkeep_failed", {"level": "error", "job": job.__name__, "reason": told})
            await self._clock.sleep(seconds)

    def _report(self) -> Sequence[str]:
        with self._database.read() as session:
            node = inventory.node_of(session, self._node)
            due = inventory.is_due(node.reported_at, node.rescan_asked_at, self._clock.time())
            if self._has_reported and not due:
                return ()
            name, also = node.name, inventory.interesting(session, node.name)
        report = survey(name, primary=self._primary, also=also, allow_loopback=self._allow_loopback)
        with self._database.keep() as session:
            found = inventory.keep(session, report)
        self._has_reported = True  # a start may come after a change of the network
        return found

    def _unfit(self) -> Mapping[str, checkup.Kept]:
        """Give what the checks found of this node's addresses that are critical, of those that mail is to leave from."""
        with self._database.read() as session:
            used = set(session.scalars(select(SettingAddress.address)))
            found = checkup.kept(session, self._node)
            return {one.address: one for one in found if one.status == "critical" and one.address in used}

    def _due(self) -> list[str]:
        with self._database.read() as session:
            return list(helos.due(session, self._clock.time()))


def vanished(address: str, node: str) -> Notice:
    text = f"{address} is no longer on {node}. Mail that was to leave from it leaves from elsewhere until it is back."
    return Notice("vanished", text, {"address": address, "nodes": [node]})


def unfit(found: checkup.Kept, node: str) -> Notice:
    faults = [one.text for one in found.findings if one.outcome == "critical"]
    return Notice("critical", f"{found.address} on {node}: {' '.join(faults)}", {"address": found.address, "nodes": [node]})


async def _nobody(notices: Sequence[Notice]) -> None:
    pass


def next_night(now: float, node: str) -> float:
    """Give when a node checks its addresses next, in Unix seconds: each at a time of its own between 03:00 and 04:00 UTC."""
    at = now - now % _DAY_S + NIGHT_S + zlib.crc32(node.encode()) % 3600
    return at if at > now else at + _DAY_S

"""What a node does for its addresses beside serving the page: its upkeep, its checks, those of block lists. In: a database.

Ends with the process; what fails is logged and tried again. The database is asked in threads. Must not know of requests.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import traceback
from collections.abc import Awaitable, Callable
from pathlib import Path

from hslpy.admin import queued_mail
from hslpy.admin.site import Site
from hslpy.admin.submit import submitter
from hslpy.client.http_contract import HttpClient
from hslpy.clock import Clock
from hslpy.dns.resolver import DnsResolver, ResolverSettings
from hslpy.egress.accounts import site
from hslpy.egress.accounts.nodes import ensure_node
from hslpy.egress.checks.checkup import Checker
from hslpy.egress.reputation import block_lists
from hslpy.egress.reputation.alerts import Alerter
from hslpy.egress.reputation.checker import ReputationChecker
from hslpy.egress.reputation.jobs import resolver_settings, settings_of
from hslpy.egress.rules.names import Refused
from hslpy.egress.store.database import Actor, Database
from hslpy.egress.store.faults import DatabaseFault, Trouble
from hslpy.egress.traffic.picture import ASK_S
from hslpy.egress.upkeep import Upkeep
from hslpy.log import Log

AGAIN_S = 60.0
WATCH_S = 3.0
"""How soon it is seen that the database takes no changes."""
_START = Actor("hslpy", "start")


class Agent:
    """The parts at work for the node `node`: `checker`, `reputation`, `resolver`, `alerter`. `run` once, `close` once."""

    def __init__(
        self,
        database: Database,
        node: str,
        dns: ResolverSettings,
        http: HttpClient,
        control: Path,
        clock: Clock,
        log: Log,
        *,
        allow_loopback: bool = False,
    ) -> None:
        """`control` is the mail server's socket, which takes alerts by mail; `http` takes them to a webhook.

        With `allow_loopback` addresses of the loopback network are the node's too.
        """
        self._database = database
        self._node = node
        self._clock = clock
        self._log = log
        self._site = site.Site()
        self._seen = (-1, -1)
        self._trouble: Trouble | None = None
        self._is_node = False
        self._control = control
        self._allow_loopback = allow_loopback
        self.resolver = DnsResolver(dns, clock)
        self._list_resolver = DnsResolver(resolver_settings(dns.nameservers, dns.port), clock)
        name = " ".join(dns.nameservers) or "system"
        self.checker = Checker(
            database,
            self.resolver,
            clock,
            node,
            resolver_name=name,
            queued_locked=lambda: queued_mail.of_locked(database, control, node),
        )
        self.alerter = Alerter(database, http, submitter(control), clock, node, log)
        self.reputation = ReputationChecker(
            database,
            self._list_resolver,
            clock,
            lambda: settings_of(self._site, dns.nameservers),
            self.alerter.listings,
            random.SystemRandom().random,
            log,
            self._read_site,
        )
        self._upkeep = Upkeep(
            database, self.resolver, clock, log, node, self.checker, allow_loopback=allow_loopback, tell=self.alerter.tell
        )

    def prepare(self) -> None:
        """Make what a node finds there: itself, the block lists. Blocks. Raises DatabaseFault."""
        try:
            ensure_node(self._database, _START, self._node)
            self._is_node = True
        except Refused as error:
            self._log("egress.no_node", {"level": "warning", "node": self._node, "why": str(error)})
        block_lists.populate(self._database)
        self._read_site()

    def of_requests(self) -> Site:
        """Give what requests to the web application work on: these parts."""
        return Site(
            self._database,
            self._clock,
            self._log,
            self._node,
            self.resolver,
            self.checker,
            self.reputation,
            self._control,
            allow_loopback=self._allow_loopback,
            trouble=lambda: self._trouble,
        )

    async def run(self) -> None:
        """Work until cancelled. What ends by a fault of ours is begun again: nothing else stands for it."""
        jobs = [self._follow_site, self._watch_database, self.reputation.run_daily]
        if self._is_node:
            jobs.append(self._upkeep.run)
        await asyncio.gather(*map(self._insist, jobs))

    async def close(self) -> None:
        await self.reputation.close()
        await self.alerter.close()
        await self.resolver.close()
        await self._list_resolver.close()

    async def _insist(self, job: Callable[[], Awaitable[None]]) -> None:
        while True:
            try:
                await job()
            except Exception as error:
                text = "".join(traceback.format_exception(error))
                self._log("admin.fault", {"level": "error", "path": job.__qualname__, "error": repr(error), "text": text})
            await self._clock.sleep(AGAIN_S)

    async def _follow_site(self) -> None:
        """Have what is set for the site hold at once."""
        while True:
            await self._clock.sleep(ASK_S)
            with contextlib.suppress(DatabaseFault):  # the upkeep tells of it
                await asyncio.to_thread(self._read_site)

    def _read_site(self) -> None:
        seen = self._database.opened, self._database.revision()
        if seen != self._seen:
            with self._database.read() as session:
                self._site = site.read(session)
            self._seen = seen

    async def _watch_database(self) -> None:
        """Tell when the database takes no changes, and when it does again; nobody else may try to make one for hours."""
        while True:
            before, self._trouble = self._trouble, await asyncio.to_thread(self._database.trouble)
            if self._trouble is not None and self._trouble != before:
                fields = {"level": "error", "reason": self._trouble.reason, "hint": self._trouble.hint}
                self._log("egress.takes_no_changes", fields)
            elif self._trouble is None and before is not None:
                self._log("egress.takes_changes", {})
            await self._clock.sleep(WATCH_S)

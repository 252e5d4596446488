"""Where the parts are joined into a server. In: `Settings`. Out: a running `App`.

The rooms know nothing of each other but what is handed to them here. Start order: scripts, spool and queue, the
listeners, then delivery, which is told where these ended up; the listeners stop first and the spool last, so that
nothing is accepted that can't be kept.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import importlib
import ipaddress
import os
import random
import traceback
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

from hslpy.admin.control import ControlServer
from hslpy.admin.exchange import Exchange
from hslpy.admin.queue_commands import queue_commands
from hslpy.admin.recent import Recent, recent_commands
from hslpy.admin.submit import submit_command
from hslpy.builtins.host.contract import QueueMetric, Services
from hslpy.client.bounce_lists import BounceLists
from hslpy.client.files import Files
from hslpy.client.http_contract import HttpClient
from hslpy.client.logfiles import LogFiles
from hslpy.client.lookup_contract import Lookups, Server
from hslpy.client.lookups import RealLookups
from hslpy.client.on_demand import HttpOnDemand
from hslpy.client.smtp import SmtpClient
from hslpy.clock import Clock, SystemClock
from hslpy.config import Settings
from hslpy.delivery.loop import Delivery
from hslpy.delivery.plan import OwnListeners, TargetRules
from hslpy.delivery.settings import Transport
from hslpy.delivery.targets import hosts_of
from hslpy.dns.contract import Resolver
from hslpy.dns.hosts import addresses_of
from hslpy.dns.resolver import DnsResolver
from hslpy.egress.rules.book import comparable_domain
from hslpy.egress.rules.sources import Sources
from hslpy.egress.rules.warmup import Warming
from hslpy.egress.store.tally import Tally
from hslpy.egress.traffic.allowances import Ramp
from hslpy.egress.traffic.departures import Departures
from hslpy.egress.traffic.following import Following
from hslpy.egress.traffic.logins import StoreLogins
from hslpy.egress.traffic.origin import is_discarded, locked, of_entry
from hslpy.errors import MailError, OperatorError
from hslpy.hooks.files import Snapshot
from hslpy.hooks.runner import Hooks
from hslpy.log import Log, no_log
from hslpy.mail.attempt import AttemptFacts, Sending
from hslpy.queue.queue import Queue
from hslpy.queue.search import QueueFilter
from hslpy.rate.contract import RateCounters
from hslpy.rate.memory import MemoryRateCounters
from hslpy.rate.quota import Quotas
from hslpy.rate.quota_file import quotas_of_node
from hslpy.records import dataclass
from hslpy.scan.clamd import ClamdClient
from hslpy.scan.contract import Clamd, Rspamd, SpamAssassin
from hslpy.scan.dlp import DlpEngine
from hslpy.scan.rspamd import RspamdClient
from hslpy.scan.spamc import SpamdClient
from hslpy.smtp.server import SmtpServer
from hslpy.spool.contract import NewMessage, QueuedRecipient, SpoolError
from hslpy.spool.folder import when_free
from hslpy.spool.shards import sharded_spool
from hslpy.startup import LOCK_WAIT_S, STOP_GRACE_S, hook_settings, make_data_dir
from hslpy.store.leases import Leases
from hslpy.store.memory import SharedMemory
from hslpy.store.profiles import RedisProfiles

if TYPE_CHECKING:
    from hslpy.egress.store.activity import Keeper
    from hslpy.egress.store.database import Database
    from hslpy.egress.traffic.picture import Picture
    from hslpy.store.shared import RedisMemory
    from hslpy.users.file import UsersFile

STORAGE_CHECK_S = 1.0  # the spool measures no oftener while it is idle
OWN_NAME_S = 2.0  # how long the first delivery waits for our own addresses in DNS, at most
IMPORT_AFTER_S = 1.0  # the first sessions have what processor there is
TIDY_S = 1.0  # how long slots may lie idle in one worker


@dataclass(frozen=True, slots=True)
class Overrides:
    """What a demo, a benchmark or a test puts in place of the real thing. `deliver` False leaves mail in the queue."""

    clock: Clock | None = None
    random: random.Random | None = None
    resolver: Resolver | None = None
    spamassassin: SpamAssassin | None = None
    rspamd: Rspamd | None = None
    clamd: Clamd | None = None
    http: HttpClient | None = None
    lookups: Lookups | None = None
    deliver: bool = True
    log: Log = no_log


_AS_SET = Overrides()


@dataclass(frozen=True, slots=True)
class Node:
    """What a worker has of the node that it is part of: its number, their number, what they share.

    `scripts` are the files to start with.
    """

    worker: int
    workers: int
    slots: Leases
    scripts: Snapshot
    queues: Exchange
    quotas: Quotas


class _Outbox:
    """Where scripts' own mail goes: the queue, or straight to a server."""

    def __init__(self, app: App) -> None:
        self._app = app

    async def queue(self, message: NewMessage) -> tuple[QueuedRecipient, ...]:
        return await self._app.queue.accept(message)

    async def send(self, sending: Sending) -> tuple[AttemptFacts, ...]:
        return await self._app.delivery.sender.send(sending)


class App:
    """One server: `start` once, `stop` once. `listening` has (host, port, server id) of each listener."""

    def __init__(self, settings: Settings, overrides: Overrides | None = None, node: Node | None = None) -> None:
        """Without `node` it is alone, with a control socket. Raises OperatorError where settings contradict each other."""
        over = overrides or _AS_SET
        self.settings = settings
        self.listening: list[tuple[str, int, str]] = []
        self._over = over
        self._clock = over.clock or SystemClock()
        self.tally = Tally(self._clock)
        self.recent = Recent(self._clock)
        self.log = self.recent.listening(self.tally.listening(over.log))
        chance = over.random or random.SystemRandom()
        self.sources = Sources(settings.sources, self._clock)
        self._node = node
        slots = node.slots if node is not None else None
        place = (node.worker, node.workers) if node is not None else (0, 1)
        self.spool = sharded_spool(settings.spool, *place, self._clock, self.log)
        self.queue = Queue(self.spool, settings.queue, self._clock, chance, self.log)
        self.client = SmtpClient(settings.client, self._clock)
        self.departures: Departures | None = None
        self.ramp: Ramp | None = None
        self._keeper: Keeper | None = None
        self.logins: StoreLogins | None = None
        self.following: Following | None = None
        if settings.egress.database:
            self.ramp = self._ramp(node.quotas if node is not None else quotas_of_node(settings.data_dir))
            self.departures = known = Departures(settings.hostname, self._clock, self.log, self.ramp)
            self.logins = StoreLogins(known, settings.smtp.auth_threads, settings.smtp.auth_waiting, self._clock)
            self.client.may_leave_from = known.keeps
            self.queue.withheld = lambda entry: locked(known.picture, known.node, entry)
            self.queue.told = lambda entry: of_entry(known.picture, entry)
            self.following = Following(
                settings.egress.database,
                settings.hostname,
                self.departures,
                settings.data_dir,
                self._clock,
                self.log,
                changed=self._picture_changed,
                keeps_copy=node is None or node.worker == 0,
                prepare=self._take_up_counts,
            )
        rates = rate_counters(settings, self._clock, self.log)
        services = make_services(settings, self._clock, rates, self._metric, self.log, over)
        self.services = replace(
            services,
            outbox=_Outbox(self),
            queue_metric_ready=self._metric_ready,
            limited=self.tally.limited,
            departures=self.departures,
            logins=self.logins,
        )
        self.hooks = Hooks(hook_settings(settings), self.services, self._clock, chance, self.log)
        self.delivery = Delivery(
            settings.delivery,
            self.queue,
            self.spool,
            self.hooks,
            self.services.resolver,
            self.client,
            self.sources,
            self._clock,
            chance,
            self.log,
            slots,
            self.tally,
            self.departures,
        )
        smtp = settings.smtp
        self.users: UsersFile | None = None
        if smtp.users_file is not None:
            from hslpy.users.argon import HashPool  # argon2 takes 10 ms to import, and few starts need it
            from hslpy.users.file import UsersFile

            self.users = UsersFile(smtp.users_file, HashPool(smtp.auth_threads, smtp.auth_waiting, self._clock), self.log)
        ids = Ids(chance)
        self.smtp = SmtpServer(
            settings.smtp,
            self.hooks,
            self.queue.accept,
            self._clock,
            ids,
            self.log,
            self._name_of,
            self.users or self.logins,
            rates if settings.rate.store == "redis" else None,
            slots,
            self.departures,
        )
        self.commands = {
            **queue_commands(self.queue, self.spool),
            **recent_commands(self.recent),
            **submit_command(self.queue.accept, self._clock, ids, smtp.transport_id),
            "workers": self._status,
            "user.unblock": self._unblock,
            "settings.look": self._look,
        }
        self._control = ControlServer(settings.control_path, self.commands, self.log) if node is None else None
        self._started_at = self._clock.time()
        self._storage_full = False
        self._discarded: Mapping[tuple[str, str], float] = {}
        self._discarding: set[asyncio.Task[None]] = set()
        self._watchers: list[asyncio.Task[None]] = []

    @property
    def queued(self) -> int:
        """How many recipients are in the queue."""
        return len(self.queue)

    async def _name_of(self, address: str) -> str | None:
        """Give a client's name in DNS, None where it has none or it can't be found out."""
        try:
            answer = await self.services.resolver.query(ipaddress.ip_address(address).reverse_pointer, "PTR")
        except MailError:
            return None
        return answer.records[0] if answer.records else None

    def _metric(self, metric: str, filters: Mapping[str, Sequence[str]]) -> float:
        own = self.queue.metric(metric, filters)
        return own if self._node is None else own + self._node.queues.metric(metric, filters)

    def _metric_ready(self, fields: Collection[str]) -> asyncio.Future[None] | None:
        own = self.queue.metric_ready(fields)
        others = None if self._node is None else self._node.queues.ready(fields)
        return asyncio.ensure_future(_both(own, others)) if own is not None and others is not None else own or others

    async def _status(self, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """Give how this process fares, in the form of several: source of `hslpy workers`."""
        figures = {
            "worker": self._node.worker if self._node is not None else 0,
            "state": "running",
            "pid": os.getpid(),
            "uptime_s": round(self._clock.time() - self._started_at, 1),
            "connections": len(self.smtp.connections),
            "queued": len(self.queue),
            "attempts": self.delivery.under_way,
            "content_bytes": self.delivery.content_bytes,
            "restarts": 0,
        }
        return {"workers": [figures]}

    async def _unblock(self, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """Hear a client or a user again whose logins failed too often; source of `hslpy user unblock`."""
        name = arguments.get("name")
        username = name.encode("utf-8", "surrogateescape").decode("latin-1") if name else None
        try:
            return {"unblocked": await self.smtp.shared.guesses.forget(arguments.get("ip"), username)}
        except OSError as error:
            raise OperatorError(f"the counters in Redis cannot be changed: {error or 'no answer'}") from error

    async def _look(self, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """Take changes of delivery IPs in now; source of what page, API and commands do after one."""
        return {"revision": await self.following.look() if self.following is not None else -1}

    async def start(self) -> None:
        """Start everything, or nothing: raises OperatorError with all that was started stopped again."""
        make_data_dir(self.settings.data_dir, self.log)
        async with contextlib.AsyncExitStack() as undo:
            if self._control is not None:
                await self._control.check()  # before the spool is waited for, which a killed server's workers may still have
            self.hooks.load(self._node.scripts if self._node is not None else None)
            self.services.bounce_lists.check()
            undo.push_async_callback(self.spool.close)
            await when_free(self.spool.open, self._clock, LOCK_WAIT_S)
            gc.disable()  # its passes over what is loaded would take a third of the time
            try:
                await self.queue.open()
            finally:
                gc.enable()
            undo.push_async_callback(self.queue.close)
            gc.collect()
            gc.freeze()  # a full collection over a million queued recipients would stop everything for 0.7 s
            gc.set_threshold(50_000, 20, 100)  # and one over a busy server's sessions for 10 ms: have few of them
            if self._control is not None:
                await self._control.start()
                undo.push_async_callback(self._control.stop)
            self._check_storage()
            if self.users is not None and self.hooks.current.has("auth"):
                self.log("users.not_asked", {"level": "warning", "why": "hooks.auth is set, and decides alone"})
            self.listening = await self.smtp.start()
            undo.push_async_callback(self.smtp.stop, 1.0)
            if self._over.deliver and self.following is None:
                await self.delivery.start(await self._own_listeners())
            undo.pop_all()
        if self.following is not None:
            self.following.start()
            self._watchers.append(asyncio.create_task(self._keep_counts(self.following)))
            if self._over.deliver:
                self._watchers.append(asyncio.create_task(self._deliver_once_known(self.following)))
            self._watchers.append(asyncio.create_task(self._keep_queue(self.following)))
        self._watchers.append(asyncio.create_task(self._import_for_mail()))
        self._watchers.append(asyncio.create_task(self._watch_storage()))
        if self.settings.rate.store == "redis":
            self._watchers.append(asyncio.create_task(self._look_at_rates()))
        if self._node is not None:
            self._watchers.append(asyncio.create_task(self._tidy_slots(self._node.slots)))
        if self.settings.reload_check_s > 0:
            self._watchers.append(asyncio.create_task(self._watch_files()))

    async def stop(self, grace_s: float = STOP_GRACE_S) -> None:
        """Stop accepting, let attempts and transactions finish within `grace_s`, and close everything.

        What fails to close is logged, and keeps nothing else open.
        """
        for watcher in self._watchers:
            watcher.cancel()
        steps: list[tuple[str, Callable[[], Awaitable[None]]]] = [("listeners", lambda: self.smtp.stop(grace_s))]
        if self._over.deliver:
            steps.append(("delivery", lambda: self.delivery.stop(grace_s)))
        if self._control is not None:
            steps.append(("control socket", self._control.stop))
        steps += [("connections", self.client.close), ("queue", self.queue.close), ("spool", self.spool.close)]
        steps.append(("services", self.services.close))
        if self.ramp is not None:
            steps.append(("allowances", self.ramp.close))
        if self._keeper is not None:
            steps.append(("counts", self._keeper.flush))
        if self.following is not None:
            steps.append(("database of delivery IPs", self.following.stop))
        for users in (self.users, self.logins):
            if users is not None:
                steps.append(("users", users.close))
        for name, step in steps:
            try:
                await step()
            except Exception as error:
                text = "".join(traceback.format_exception(error))
                self.log("server.not_closed", {"level": "error", "what": name, "error": repr(error), "text": text})

    async def _own_listeners(self) -> OwnListeners:
        """Give where we receive, as the sockets say; where one is on all addresses, with those that we know as ours."""
        bound = OwnListeners(frozenset((host, port) for host, port, _ in self.listening))
        if not bound.on_all_addresses:
            return bound
        local = {source.address for source in self.sources.all}
        for kind in ("A", "AAAA"):
            with contextlib.suppress(MailError, TimeoutError):
                async with asyncio.timeout(OWN_NAME_S):
                    local |= set((await self.services.resolver.query(self.settings.hostname, kind)).records)
        return replace(bound, local=frozenset(local))

    async def _deliver_once_known(self, following: Following) -> None:
        """Begin to deliver when it is known from where: a late message is better than one from the wrong address."""
        own_listeners = await self._own_listeners()
        await following.known.wait()
        await self.delivery.start(own_listeners)

    def _ramp(self, own: Quotas) -> Ramp:
        """Give what addresses that are warming up may send, counted where rates are: in Redis, else on this node."""
        quotas = hourly_quotas(self.settings, self._clock, self.log) or own
        node = comparable_domain(self.settings.hostname)

        def warmings() -> Mapping[str, Warming]:
            picture = self.departures.picture if self.departures is not None else None
            return picture.warmups.get(node, {}) if picture is not None else {}

        return Ramp(warmings, quotas, self._clock)

    def _take_up_counts(self, database: Database) -> Callable[[], None]:
        """Read what was sent in this hour before the start, and give what has it count, for the event loop. Blocks."""
        from hslpy.egress.warm_up.warming import sent_this_hour

        with database.read() as session:
            sent = sent_this_hour(session, self._clock.time(), comparable_domain(self.settings.hostname))
        assert self.ramp is not None
        return partial(self.ramp.load, sent)

    async def _import_for_mail(self) -> None:
        """Import what a start did not wait for, in a thread: at its first use all sessions would wait for it."""
        await self._clock.sleep(IMPORT_AFTER_S)
        for name in ("hslpy.crypto", "hslpy.dns.asking"):
            try:
                await asyncio.to_thread(importlib.import_module, name)
            except Exception as error:
                self.log("server.import_failed", {"level": "error", "module": name, "reason": str(error)})

    async def _keep_counts(self, following: Following) -> None:
        """Keep what is counted in the database, and pause at once what a receiver refuses by a block list."""
        assert following.opened is not None and self.ramp is not None
        database = await asyncio.shield(following.opened)
        from hslpy.egress.store.activity import Keeper
        from hslpy.egress.store.faults import DatabaseFault
        from hslpy.egress.warm_up.warm_watch import pause_blocked

        pausing: set[asyncio.Task[None]] = set()

        async def tell(address: str, reply: str) -> None:
            try:
                await asyncio.to_thread(pause_blocked, database, address, reply)
            except DatabaseFault as error:  # the counts tell of it once they are kept
                fields = {"level": "warning", "address": address, "reason": str(error).partition("\n")[0]}
                self.log("egress.not_paused", fields)

        def pause(address: str, reply: str) -> None:
            task = asyncio.create_task(tell(address, reply))
            pausing.add(task)
            task.add_done_callback(pausing.discard)

        self.ramp.on_blocked = pause
        self._keeper = Keeper(database, self.tally, comparable_domain(self.settings.hostname), self._clock, self.log)
        await self._keeper.run()

    async def _keep_queue(self, following: Following) -> None:
        """Tell other nodes of what is queued on this one."""
        assert following.opened is not None and self.departures is not None
        database, known = await asyncio.shield(following.opened), self.departures
        from hslpy.egress.store.queues import QueueKeeper

        keeper = QueueKeeper(
            database,
            self.queue,
            known.node,
            (self._node.worker, self._node.workers) if self._node is not None else (0, 1),
            self.settings.admin.url_elsewhere(known.node),
            self._clock,
            self.log,
            wanted=lambda: known.picture is not None and len(known.picture.book.nodes) > 1,
            is_locked=lambda domain, username: known.picture is not None and bool(known.picture.locked(domain, username)),
        )
        await keeper.run()

    def _picture_changed(self) -> None:
        """What was held for its locked sender may go on, or the other way round; addresses may be there no longer."""
        self.queue.look_again()
        self.client.look_again()
        picture = self.departures.picture if self.departures is not None else None
        if picture is not None and picture.former.discarded != self._discarded:
            self._discarded = picture.former.discarded
            task = asyncio.create_task(self._discard(picture))
            self._discarding.add(task)
            task.add_done_callback(self._discarding.discard)

    async def _discard(self, picture: Picture) -> None:
        """Remove queued mail whose sender was removed with it; what comes of an attempt under way goes after that."""
        domains = {domain for domain, _ in picture.former.discarded}
        now = {picture.now_of(domain, "")[0] for domain in domains}  # a queue tells the names of now
        wanted = QueueFilter(egress={"domain": domains | now})
        _, entries = await self.queue.list(wanted, len(self.queue))
        if ids := [entry.queue_id for entry in entries if is_discarded(picture, entry)]:
            try:
                await self.queue.delete(ids)
            except SpoolError as error:
                self._discarded = {}  # the next picture has it done again
                self.log("egress.not_removed", {"level": "error", "recipients": len(ids), "reason": error.message})

    async def _look_at_rates(self) -> None:
        """Ask for a counter, so that the log tells at the start already where the store cannot be used."""
        await self.services.rates.check("server:started", "", 0, 1.0)

    async def _watch_storage(self) -> None:
        while True:
            await self._clock.sleep(STORAGE_CHECK_S)
            self._check_storage()

    def _check_storage(self) -> None:
        """Have MAIL refused while the spool is full, so that no client sends a message in vain; log the change."""
        stats = self.spool.stats()
        if stats.full == self._storage_full:
            return
        self._storage_full = stats.full
        self.smtp.set_storage_full(stats.full)
        fields = {"level": "error" if stats.full else "info", "free_bytes": stats.free_bytes}
        self.log("spool.full" if stats.full else "spool.has_room", fields)

    async def _watch_files(self) -> None:
        while True:
            await self._clock.sleep(self.settings.reload_check_s)
            if self._node is None:  # a worker's supervisor looks at the scripts, for all
                await self.reload_if_changed()
            await self.refresh()

    async def reload_if_changed(self) -> bool:
        """Take up changed scripts as a set; give whether there were any that compile. Sessions under way keep theirs."""
        return await asyncio.to_thread(self.hooks.changed) and await self._reload_scripts()

    async def _tidy_slots(self, slots: Leases) -> None:
        while True:
            await self._clock.sleep(TIDY_S)
            slots.tidy()

    async def reload(self) -> bool:
        """Load all scripts, certificates and users anew; give whether all can be used. What can't stays as it was."""
        whole = await self.refresh(everything=True)
        return await self._reload_scripts() and whole

    async def refresh(self, *, everything: bool = False) -> bool:
        """Take up certificates and users, where they have changed or all; give whether what was read can be used."""
        certificates = await self.smtp.certificates.refresh(everything=everything)
        users = self.users is None or await self.users.refresh(everything=everything)
        return certificates and users

    async def _reload_scripts(self) -> bool:
        try:
            await self.hooks.reload()
        except OperatorError as error:
            self.log("scripts.kept", {"level": "error", "why": "the changed scripts have errors", "errors": error.message})
            return False
        self.log("scripts.reloaded", {"files": len(self.hooks.current.sources)})
        return True


class Ids:
    """Gives random UUIDs. Source: RFC 9562 section 5.4 (version and variant).

    The bits are drawn for many at a time: each draw from the system lets other threads have Python's lock.
    """

    _AT_ONCE = 64

    def __init__(self, chance: random.Random) -> None:
        self._chance = chance
        self._drawn: list[str] = []

    def __call__(self) -> str:
        if not self._drawn:
            bits = f"{self._chance.getrandbits(128 * self._AT_ONCE):0{32 * self._AT_ONCE}x}"
            self._drawn = [bits[start : start + 32] for start in range(0, len(bits), 32)]
        text = self._drawn.pop()
        return f"{text[:8]}-{text[8:12]}-4{text[13:16]}-{'89ab'[int(text[16], 16) & 3]}{text[17:20]}-{text[20:]}"


async def _both(one: asyncio.Future[None], other: asyncio.Future[None]) -> None:
    await one
    await other


def rate_counters(settings: Settings, clock: Clock, log: Log) -> RateCounters:
    """Give the counters, where the settings have them."""
    if settings.rate.store == "redis":
        from hslpy.rate.redis import RedisRateCounters  # 0.1 s that a server without Redis need not wait for
        from hslpy.store.servers import Servers

        return RedisRateCounters(settings.rate, Servers(settings.redis), clock, log)
    return MemoryRateCounters(settings.rate, clock, log)


def hourly_quotas(settings: Settings, clock: Clock, log: Log) -> Quotas | None:
    """Give the counters of warm-up that all nodes share, where the settings have those of rates in Redis."""
    if settings.rate.store == "redis":
        from hslpy.rate.quota_redis import RedisQuotas
        from hslpy.store.servers import Servers

        return RedisQuotas(Servers(settings.redis), clock, log)
    return None


def shared_memory(settings: Settings, clock: Clock, log: Log) -> SharedMemory | RedisMemory:
    """Give what `memory_*`, `barrier` and `cache` are kept in, where the settings have it."""
    if settings.memory.store == "redis":
        from hslpy.store.servers import Servers
        from hslpy.store.shared import RedisMemory

        process = f"{random.SystemRandom().getrandbits(128):x}"  # not of a generator that two processes may have alike
        return RedisMemory(settings.memory, Servers(settings.redis), process, clock, log, settings.search_path)
    return SharedMemory(folders=settings.search_path)


def make_services(
    settings: Settings,
    clock: Clock,
    rates: RateCounters,
    queue_metric: QueueMetric,
    log: Log = no_log,
    over: Overrides = _AS_SET,
) -> Services:
    """Give what scripts can reach, by the settings, for a server as for a script run by hand. The caller closes it."""
    resolver = over.resolver or DnsResolver(settings.resolver, clock)
    lookup = partial(addresses_of, resolver)
    rules = TargetRules(allow_private=settings.delivery.allow_private_targets)
    find_hosts = partial(hosts_of, resolver, over.random or random.SystemRandom(), rules)

    def make_http() -> HttpClient:
        from hslpy.client.http import AiohttpClient  # with aiohttp, 0.2 s that a server's start need not wait for

        return AiohttpClient(settings.http, clock, lookup, log)

    return Services(
        rates=rates,
        memory=shared_memory(settings, clock, log),
        resolver=resolver,
        http=over.http or HttpOnDemand(make_http),
        lookups=over.lookups or RealLookups(lookup, find_hosts, settings.hostname, settings.client.ca_file),
        servers={transport.id: server_of(transport) for transport in settings.delivery.transports.values()},
        queue_metric=queue_metric,
        spamassassin=over.spamassassin or (SpamdClient(settings.spamassassin) if settings.spamassassin else None),
        rspamd=over.rspamd or (RspamdClient(settings.rspamd) if settings.rspamd else None),
        dlp=DlpEngine(settings.dlp),
        clamd=over.clamd or (ClamdClient(settings.clamd) if settings.clamd else None),
        files=Files(settings.file_folders, settings.search_path),
        sockets=settings.sockets,
        ldap_profiles=settings.ldap_profiles,
        log_files=LogFiles(settings.log_files),
        bounce_lists=BounceLists(settings.bounce_lists, log),
        redis=RedisProfiles(settings.redis_profiles),
        environment=settings.script_environment,
        source_addresses={source.id: source.address for source in settings.sources},
        hostname=settings.hostname,
        transport_id=settings.smtp.transport_id,
        scanner_failure=settings.scanner_failure,
        log=log,
    )


def server_of(transport: Transport) -> Server:
    """Give a transport as scripts ask it whether it takes a recipient."""
    return Server(
        host=transport.next_hop,
        port=transport.port,
        helo=transport.helo,
        protocol=transport.protocol,
        tls=transport.tls,
        tls_verify_host=True,
        tls_names=transport.tls_names,
        sasl_username=transport.username,
        sasl_password=transport.password,
        timeouts=transport.timeouts,
    )

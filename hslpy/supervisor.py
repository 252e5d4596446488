"""The supervisor of several workers: starts them, keeps them running, speaks for them all. In: `Settings`. Out: a server.

It holds the ports (each worker listens on them by SO_REUSEPORT), loads the scripts and hands the same files to all, grants
what is limited over all workers (`store/leases.py`), and has the control socket. Mail never passes through it. A worker that
ends is started again with its shards; workers whose supervisor ends leave soon.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import subprocess
import sys
from collections.abc import Coroutine, Mapping, Sequence
from dataclasses import field, replace
from functools import partial
from pathlib import Path
from typing import Any

from hslpy.admin.control import ControlServer, Handler
from hslpy.admin.hub import Link, NoAnswer
from hslpy.admin.node_quotas import quota_notes, quota_questions
from hslpy.admin.whole import LOOK_S, Whole
from hslpy.clock import Clock, SystemClock
from hslpy.config import Settings
from hslpy.errors import OperatorError
from hslpy.hooks.scripts import Loader
from hslpy.log import Log
from hslpy.rate.quota import MemoryQuotas, Quotas
from hslpy.rate.quota_file import quotas_of_node
from hslpy.records import dataclass
from hslpy.smtp.settings import Listener, cannot_listen
from hslpy.spool.folder import Folder, when_free
from hslpy.spool.shards import shard_folder, shards_of
from hslpy.startup import LOCK_WAIT_S, STOP_GRACE_S, Start, hook_settings, make_data_dir, packed
from hslpy.store.leases import Pools

COMMAND = (sys.executable, "-m", "hslpy.worker")
START_S = 120.0  # recovery of some million queued recipients
LEAVE_S = 25.0  # beyond the grace: what is being stored, connections of scripts, the last commit
HEALTHY_S = 1.0  # a worker that ran so long is started again at once
FIRST_WAIT_S, LONGEST_WAIT_S = 0.25, 10.0  # before one is started again that keeps dying as it starts
FIRST_TRIES = 4  # of a worker that something kills before all are there; what it says by itself is believed at once
RELOAD_S = 30.0  # for a worker to take up changed scripts: compiled already, a second at most
TELL_S = 1.5  # below what the worker that asks waits
CLOSED_S = 1.0  # for what an ended worker has said last
# A worker that hangs still gets its part of the connections: one that does not answer so often in a row is killed.
WATCH_S, ANSWER_S, MISSES = 10.0, 20.0, 3


@dataclass(slots=True)
class _Worker:
    number: int
    state: str = "starting"  # starting, running, waiting (to be started again), stopped
    link: Link | None = None
    process: asyncio.subprocess.Process | None = None
    started_at: float = 0.0
    restarts: int = 0
    failures: int = 0  # in a row, as it started
    version: int = 0  # of the scripts
    queued: int = 0
    why: str = ""  # it said that it can't start
    misses: int = 0  # questions in a row that it did not answer
    ready: asyncio.Future[None] = field(default_factory=lambda: asyncio.get_running_loop().create_future())
    keeper: asyncio.Task[None] | None = None


class Supervisor:
    """The workers of `settings`: `start` once, `stop` once. `command` starts a worker; a benchmark has its own."""

    def __init__(self, settings: Settings, log: Log, clock: Clock | None = None, command: Sequence[str] = COMMAND) -> None:
        self.settings = settings
        self.listening: list[tuple[str, int, str]] = []
        self._log = log
        self._clock = clock or SystemClock()
        self._command = command
        self._loader = Loader(hook_settings(settings), log)
        self._version = 1
        self._reloading = asyncio.Lock()
        self._ports: list[socket.socket] = []
        self._prepared: asyncio.Event = asyncio.Event()
        self._stopping = False
        self._listeners: tuple[Listener, ...] = ()
        self._tasks: set[asyncio.Task[object]] = set()
        self._watchers: list[asyncio.Task[None]] = []
        self._workers = [_Worker(number) for number in range(settings.workers)]
        self._pools = Pools(self._tell)
        self._quotas: Quotas = MemoryQuotas()
        self._tracked: dict[tuple[str, ...], None] = {}  # sets of fields that scripts ask for, the latest last
        whole = Whole(settings.workers, self._ask)
        self._control = ControlServer(settings.control_path, {**whole.handlers(), "workers": self._status}, log)

    @property
    def queued(self) -> int:
        """What the workers had in their queues when they started."""
        return sum(worker.queued for worker in self._workers)

    async def start(self) -> None:
        """Start all workers, or none: raises OperatorError with what kept the first one from it."""
        make_data_dir(self.settings.data_dir, self._log)
        await self._control.check()
        self._quotas = quotas_of_node(self.settings.data_dir)
        try:
            for worker in self._workers:  # Python starts meanwhile
                worker.keeper = asyncio.create_task(self._keep(worker))
            await asyncio.to_thread(self._loader.load)
            await when_free(self._look_at_shards, self._clock, LOCK_WAIT_S)
            self._ports, listeners = _reserve(self.settings.smtp.listeners)
            self.listening = [(each.host, each.port, each.server_id) for each in listeners]
            self._listeners = listeners
            await self._control.start()
            self._prepared.set()
            async with asyncio.timeout(START_S):
                await asyncio.gather(*(worker.ready for worker in self._workers))
        except BaseException as error:
            await self.stop(0.0)
            if isinstance(error, TimeoutError):
                late = [str(worker.number) for worker in self._workers if worker.state != "running"]
                raise OperatorError(f"not started after {START_S:g} s: worker {', '.join(late)}") from None
            raise
        self._watchers.append(asyncio.create_task(self._watch_workers()))
        if self.settings.reload_check_s > 0:
            self._watchers.append(asyncio.create_task(self._watch_scripts()))

    async def stop(self, grace_s: float = STOP_GRACE_S) -> None:
        """Let all workers stop in order within `grace_s` and a little, and end those that don't."""
        self._stopping = True
        for watcher in self._watchers:
            watcher.cancel()
        keepers = []
        for worker in self._workers:
            if worker.keeper is None:
                continue
            keepers.append(worker.keeper)
            if worker.link is not None:
                worker.link.tell("stop", [grace_s])
            elif worker.process is not None:
                worker.process.kill()  # it does not know yet what it is to do
            else:
                worker.keeper.cancel()
        if keepers:
            await asyncio.wait(keepers, timeout=grace_s + LEAVE_S)
        for worker in self._workers:
            if worker.keeper is not None and not worker.keeper.done() and worker.process is not None:
                self._log("worker.killed", {"level": "error", "worker": worker.number, "why": "it did not stop in time"})
                with contextlib.suppress(ProcessLookupError):
                    worker.process.kill()
        if keepers:
            await asyncio.gather(*keepers, return_exceptions=True)
        for worker in self._workers:
            if worker.ready.done() and not worker.ready.cancelled():
                worker.ready.exception()  # one told the reason, and that is enough
        await self._control.stop()
        await self._quotas.close()
        for port in self._ports:
            port.close()

    async def reload(self, everything: bool = True) -> bool:
        """Load all scripts anew and hand them to all workers, and have those load their certificates (`everything`).

        Give whether all can be used. What can't be stays as it was, in all workers.
        """
        async with self._reloading:
            try:
                await asyncio.to_thread(self._loader.load)
            except OperatorError as error:
                why = "the changed scripts have errors"
                self._log("scripts.kept", {"level": "error", "why": why, "errors": error.message})
                return False
            self._version += 1
            running = [worker for worker in self._workers if worker.state == "running"]
            taken = await asyncio.gather(*(self._hand_scripts(worker, everything) for worker in running))
            self._log("scripts.reloaded", {"files": len(self._loader.snapshot), "workers": sum(taken)})
            return all(taken)

    async def _look_at_shards(self) -> None:
        """See that workers of a killed supervisor have left, so that their ports are free too. Raises OperatorError."""
        await asyncio.to_thread(_try_locks, self.settings.spool.folder, self.settings.workers)

    # --- workers

    async def _keep(self, worker: _Worker) -> None:
        """Run the worker, again and again."""
        while not self._stopping:
            began = self._clock.monotonic()
            status: int | None = None
            try:
                status = await self._run(worker)
            except OSError as error:
                worker.why = worker.why or f"it can't be started: {error.strerror or error}"
            ran_s = self._clock.monotonic() - began if worker.state == "running" else 0.0
            worker.state = "stopped"
            worker.failures = 0 if ran_s >= HEALTHY_S else worker.failures + 1
            killed = status is not None and status < 0
            if not worker.ready.done() and (self._stopping or not killed or worker.failures >= FIRST_TRIES):
                worker.ready.set_exception(
                    OperatorError(worker.why or f"worker {worker.number} ended with status {status} as it started")
                )
                return
            if self._stopping:
                return
            wait_s = min(FIRST_WAIT_S * 2.0 ** (worker.failures - 1), LONGEST_WAIT_S) if worker.failures else 0.0
            fields = {"worker": worker.number, "status": status, "why": worker.why, "ran_s": round(ran_s, 3)}
            self._log("worker.ended", {"level": "error", **fields, "again_in_s": wait_s})
            worker.state = "waiting"
            await self._clock.sleep(wait_s)
            worker.restarts += 1

    async def _run(self, worker: _Worker) -> int:
        """Start a process, and give its status when it has ended. Raises OSError."""
        loop = asyncio.get_running_loop()
        worker.state, worker.why, worker.misses = "starting", "", 0
        closed = asyncio.Event()
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        try:
            try:
                worker.process = process = await asyncio.create_subprocess_exec(
                    *(*self._command, "--worker", str(worker.number), "--hub", str(theirs.fileno())),
                    stdin=subprocess.DEVNULL,
                    pass_fds=[theirs.fileno()],
                    start_new_session=True,  # Ctrl-C is the supervisor's to hear
                )
            finally:
                theirs.close()
            ended = asyncio.ensure_future(process.wait())
            prepared = asyncio.ensure_future(self._prepared.wait())
            try:
                await asyncio.wait((ended, prepared), return_when=asyncio.FIRST_COMPLETED)
                if not ended.done():
                    worker.version = self._version
                    settings = share_of(self.settings, worker.number, self._listeners)
                    start = Start(settings, worker.number, len(self._workers), self._loader.snapshot)
                    with contextlib.suppress(ConnectionError):
                        await loop.sock_sendall(ours, start.frame())
                    questions: dict[str, Handler] = {
                        "track": partial(self._track, worker),
                        **quota_questions(self._quotas),
                    }
                    worker.link = Link(self._notes(worker), questions, closed.set, self._log)
                    await worker.link.connect(ours)
                status = await ended
            finally:
                prepared.cancel()
                if process.returncode is None:
                    with contextlib.suppress(ProcessLookupError):
                        process.kill()
            if worker.link is not None:
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(CLOSED_S):
                        await closed.wait()
            return status
        finally:
            worker.process = None
            if worker.link is not None:
                worker.link.close()
                worker.link = None
            else:
                ours.close()
            self._pools.gone(worker.number)

    def _spawn(self, work: Coroutine[Any, Any, object]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _notes(self, worker: _Worker) -> Mapping[str, Any]:
        number = worker.number

        def started(queued: int) -> None:
            worker.state, worker.started_at, worker.queued = "running", self._clock.time(), queued
            if worker.ready.done():
                self._log("worker.started", {"worker": number, "pid": worker.process.pid if worker.process else 0})
                for fields in self._tracked:
                    self._spawn(self._ask_to_tell(worker, {"fields": fields, "known": False}))
                if worker.version != self._version:
                    self._spawn(self._hand_scripts(worker))
            else:
                worker.ready.set_result(None)

        def failed(message: str, hint: str | None, exit_code: int) -> None:
            worker.why = message
            if not worker.ready.done():
                worker.ready.set_exception(OperatorError(message, hint=hint, exit_code=exit_code))

        return {
            "started": started,
            "failed": failed,
            "total": lambda *values: self._pass_on(worker, "total", values),
            "cells": lambda *values: self._pass_on(worker, "cells", values),
            "want": lambda *values: self._pools.want(number, *values),
            "gave": lambda *values: self._pools.gave(number, *values),
            **quota_notes(self._quotas),
        }

    def _pass_on(self, worker: _Worker, kind: str, values: Sequence[object]) -> None:
        """Tell the others what a worker has in its queue."""
        for other in self._workers:
            if other is not worker and other.state == "running":
                self._tell(other.number, kind, [worker.number, *values])

    async def _track(self, worker: _Worker, arguments: Mapping[str, Any]) -> bool:
        """Have the others tell a set of fields, which a script of the worker has asked for."""
        self._tracked.pop(fields := tuple(arguments["fields"]), None)
        self._tracked[fields] = None
        if len(self._tracked) > self.settings.queue.max_metric_sets:
            del self._tracked[next(iter(self._tracked))]
        others = [other for other in self._workers if other is not worker]
        await asyncio.gather(*(self._ask_to_tell(other, arguments) for other in others))
        return True

    async def _ask_to_tell(self, worker: _Worker, arguments: Mapping[str, Any]) -> None:
        with contextlib.suppress(NoAnswer, OperatorError):
            await self._ask(worker.number, "track", arguments, TELL_S)

    def _tell(self, number: int, kind: str, values: Sequence[object]) -> None:
        link = self._workers[number].link
        if link is not None:
            link.tell(kind, values)

    async def _ask(self, number: int, command: str, arguments: Mapping[str, Any], timeout_s: float) -> Any:
        worker = self._workers[number]
        if worker.link is None or worker.state != "running":
            raise NoAnswer("it is not running")
        return await worker.link.ask(command, arguments, timeout_s)

    async def _hand_scripts(self, worker: _Worker, everything: bool = False) -> bool:
        version = self._version
        arguments = {"scripts": packed(self._loader.snapshot), "everything": everything}
        try:
            whole: bool = await self._ask(worker.number, "reload", arguments, RELOAD_S)
        except (NoAnswer, OperatorError) as error:
            fields = {"worker": worker.number, "why": "it did not take the changed scripts", "errors": str(error)}
            self._log("scripts.kept", {"level": "error", **fields})
            return False
        worker.version = version
        return whole

    async def _watch_scripts(self) -> None:
        while True:
            await self._clock.sleep(self.settings.reload_check_s)
            if await asyncio.to_thread(self._loader.changed):
                await self.reload(everything=False)

    async def _watch_workers(self) -> None:
        """End workers that hang, which are started again then; what they had accepted is in their shards."""
        while True:
            await self._clock.sleep(WATCH_S)
            await asyncio.gather(*(self._look_at(worker) for worker in self._workers if worker.state == "running"))

    async def _look_at(self, worker: _Worker) -> None:
        process = worker.process
        try:
            await self._ask(worker.number, "alive", {}, ANSWER_S)
        except OperatorError:
            pass  # an answer of a kind
        except NoAnswer:
            if worker.process is not process or process is None or process.returncode is not None:
                return  # it has ended meanwhile
            worker.misses += 1
            if worker.misses >= MISSES:
                worker.why = f"it hung: no answer to {MISSES} questions, {ANSWER_S:g} s each"
                self._log("worker.killed", {"level": "error", "worker": worker.number, "why": worker.why})
                with contextlib.suppress(ProcessLookupError):
                    process.kill()
            return
        worker.misses = 0

    async def _status(self, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """Give how each worker fares; source of `hslpy workers`."""

        async def one(worker: _Worker) -> dict[str, Any]:
            row = {"worker": worker.number, "state": worker.state, "pid": worker.process.pid if worker.process else None}
            try:
                row |= (await self._ask(worker.number, "workers", {}, LOOK_S))["workers"][0]
            except (NoAnswer, OperatorError) as error:
                row |= {"why": worker.why or str(error)}
            return {**row, "restarts": worker.restarts}

        return {"workers": await asyncio.gather(*map(one, self._workers))}


def share_of(settings: Settings, worker: int, listeners: tuple[Listener, ...]) -> Settings:
    """Give the settings that a worker runs by: real ports, and its part of the limits that are simply divided."""
    workers = settings.workers

    def part(whole: int) -> int:
        return whole // workers + (worker < whole % workers)

    smtp, delivery = settings.smtp, settings.delivery

    def memory(whole: int) -> int:
        return max(part(whole), min(whole, 2 * smtp.size_limit_bytes))

    return replace(
        settings,
        smtp=replace(smtp, listeners=listeners, data_memory_bytes=memory(smtp.data_memory_bytes)),
        delivery=replace(
            delivery,
            attempts=part(delivery.attempts),
            slow_attempts=part(delivery.slow_attempts),
            content_memory_bytes=memory(delivery.content_memory_bytes),
        ),
    )


def _try_locks(spool: Path, workers: int) -> None:
    for shard in sorted({shard for worker in range(workers) for shard in shards_of(worker, workers, spool)}):
        folder = shard_folder(spool, shard)
        if folder.exists():
            lock = Folder(folder)
            lock.open()
            lock.close()


def _reserve(listeners: Sequence[Listener]) -> tuple[list[socket.socket], tuple[Listener, ...]]:
    """Give sockets that hold the ports without listening, and a listener for each with the real address and port.

    Raises OperatorError where one is in use, be it by a process that would share it.
    """
    held: list[socket.socket] = []
    found: list[Listener] = []
    try:
        for listener in listeners:
            try:
                places = socket.getaddrinfo(
                    listener.host or None, listener.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
                )
                for family, _, _, _, address in dict.fromkeys(places):
                    if listener.port:
                        _bound(family, address, share=False).close()
                    held.append(_bound(family, address, share=True))
                    name = held[-1].getsockname()
                    found.append(replace(listener, host=name[0], port=name[1]))
            except OSError as error:
                raise cannot_listen(listener, error) from error
    except BaseException:
        for each in held:
            each.close()
        raise
    return held, tuple(found)


def _bound(family: int, address: Any, *, share: bool) -> socket.socket:
    port = socket.socket(family, socket.SOCK_STREAM)
    try:
        port.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if share:
            port.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        if family == socket.AF_INET6:
            port.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        port.bind(address)
    except BaseException:
        port.close()
        raise
    return port

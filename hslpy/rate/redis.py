"""Rate counters that many processes share, in Redis. In: checks. Out: answers, or what `on_unreachable` says.

Checks that come while others are under way go out together as one call of `ring.lua`, on a Redis Cluster as one write of
single-key calls to each node; while a server is away nobody waits for it. What this process let through it counts itself,
too. Must not know scripts.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Coroutine, Sequence
from functools import partial
from importlib import resources
from typing import Any

from hslpy.clock import Clock
from hslpy.log import Log
from hslpy.rate import ring
from hslpy.rate.contract import ABOVE_ANY_LIMIT, RateHealth, RateSettings, interval_us, key_of
from hslpy.rate.memory import MemoryRateCounters
from hslpy.records import dataclass
from hslpy.store.circuit import LOG_EVERY_S, Circuit
from hslpy.store.lane import Lane, Replies
from hslpy.store.redis import AskError, MovedError, NoScriptError, RedisError, Script, is_away, pack
from hslpy.store.servers import MOST_REDIRECTS, RedisUnknown, Servers

SCRIPT = Script(resources.files("hslpy.rate").joinpath("ring.lua").read_text())
FORGET = Script("return redis.call('DEL', KEYS[1])")

_GATHERED = 16  # checks: 0.15 ms of Redis' time

_ASKING = pack((b"ASKING",))


@dataclass(slots=True, eq=False)
class _Check:
    """`counted_us` is when this process counted the hit as its own, -1 where it did not."""

    key: bytes
    limit: int
    width: int
    counted_us: int
    asked_at: float
    answer: asyncio.Future[bool | float | None]
    redirects: int = 0
    asking: bool = False


class _Server:
    """The checks for one server. While a batch is under way the next gathers, but not past `_GATHERED`: Redis then works on
    it while the event loop runs what asks for more."""

    __slots__ = ("circuit", "idle", "lane", "name", "pending", "tasks", "timer", "under_way")

    def __init__(self, name: str, circuit: Circuit) -> None:
        self.name = name
        self.circuit = circuit
        self.lane: Lane | None = None
        self.pending: list[_Check] = []
        self.under_way: deque[list[_Check]] = deque()  # sent, where no task looks after them
        self.timer: asyncio.TimerHandle | None = None  # set to the deadline of these, or of earlier ones
        self.tasks: set[asyncio.Task[None]] = set()
        self.idle: asyncio.Future[None] | None = None  # whoever closes waits for what is under way

    @property
    def busy(self) -> bool:
        return bool(self.under_way or self.tasks)

    def take(self, most: int) -> list[_Check]:
        batch = self.pending[:most]
        del self.pending[:most]
        return batch


class RedisRateCounters:
    """Counters in Redis. Owns `servers`: `close` closes them.

    A batch that failed or ran out of time is never sent again, as it may have been counted; checks that a server refused
    to do are (an unknown script, another node's slot). After a failure, checks for that server are answered by the setting
    at once, until a look every `retry_s` finds it working.

    What this process let through is counted in its memory as well, and refused at the limit without asking Redis: so it
    never lets through more than `count` in any window, whatever Redis forgets.
    """

    def __init__(self, settings: RateSettings, servers: Servers, clock: Clock, log: Log) -> None:
        self.health = RateHealth()
        self.time_offset_us = 0
        """Added to the server's time and to ours; tests move it."""
        self.answered_at_us = 0
        """The server's time, offset included, of the latest batch answered."""
        self._settings = settings
        self._redis = servers
        self._clock = clock
        self._log = log
        self._prefix = settings.key_prefix.encode()
        self._gathered = min(_GATHERED, settings.batch_max)
        self._own = MemoryRateCounters(settings, clock, log)
        self._unshared = MemoryRateCounters(settings, clock, log)
        self._servers: dict[str, _Server] = {}
        self._key_error_logged_at = -LOG_EVERY_S
        self._closed = False
        self._loop: asyncio.AbstractEventLoop | None = None

    async def check(
        self, namespace: str, entry: str, count: int, interval_s: float, *, shared: bool = True
    ) -> bool | float | None:
        interval = interval_us(count, interval_s)
        key, width = key_of(namespace, entry, interval), ring.width_us(interval)
        if not shared:
            return self._unshared.check_now(key, count, width)
        server = self._server_of(key)
        now_us = -1
        reachable = server.circuit.reachable and not self._closed
        if reachable and count:
            now_us = self._own_us()
            if not self._own.check_now(key, count, width, now_us, refuse_for_space=False):
                return False
        loop = self._loop or self._running_loop()
        check = _Check(key, count, width, now_us, loop.time(), loop.create_future())
        if not reachable:
            return self._unreachable(server, check)
        self._enqueue(server, check)
        return await check.answer

    async def forget(self, namespace: str, entry: str, interval_s: float) -> None:
        for own in (self._own, self._unshared):
            await own.forget(namespace, entry, interval_s)
        key = self._prefix + key_of(namespace, entry, interval_us(0, interval_s))
        try:
            async with asyncio.timeout(self._settings.timeout_s):
                await self._redis.call(FORGET, key)
        except RedisError as error:
            raise OSError(str(error)) from error

    async def close(self) -> None:
        """Wait for the batches under way, each within its deadline, and close the connections."""
        self._closed = True
        servers = list(self._servers.values())
        for server in servers:
            await server.circuit.close()
        for server in servers:
            while server.busy:
                server.idle = asyncio.get_running_loop().create_future()
                await server.idle
            if server.timer is not None:
                server.timer.cancel()
            self._answer_unreachable(server, server.take(len(server.pending)))
            if server.lane is not None:
                await server.lane.close()
        await self._redis.close()

    # ---- servers and batches ---------------------------------------------------------------------------

    def _server_of(self, key: bytes) -> _Server:
        name = self._redis.name_of(self._prefix + key if self._redis.is_cluster else b"")
        return self._servers.get(name) or self._server(name)

    def _server(self, name: str) -> _Server:
        server = self._servers.get(name)
        if server is None:
            fields = {"redis": self._redis.place, "answers": self._settings.on_unreachable}
            fields |= {"server": name} if self._redis.is_cluster else {}
            times = self._settings.timeout_s, self._settings.retry_s
            probe = partial(self._redis.probe, name, self._prefix + b"?")
            circuit = Circuit("rate", probe, *times, self._clock, self._log, fields, self._changed)
            server = self._servers[name] = _Server(name, circuit)
        return server

    def _changed(self) -> None:
        errors = [server.circuit.error for server in self._servers.values() if not server.circuit.reachable]
        self.health.reachable = not errors
        self.health.error = errors[0] if errors else ""

    def _running_loop(self) -> asyncio.AbstractEventLoop:
        """Give the event loop, and keep it: asking for it is a system call (`getpid`) in CPython 3.11."""
        self._loop = asyncio.get_running_loop()
        return self._loop

    def _own_us(self) -> int:
        return self._own.now_us() + self.time_offset_us

    def _enqueue(self, server: _Server, check: _Check) -> None:
        server.pending.append(check)
        if len(server.pending) == self._gathered or not server.busy:
            self._flush(server)

    def _flush(self, server: _Server) -> None:
        """Send what waits: at once where the connection is ready, else by a task that sees to it, one at a time."""
        if not server.pending or not server.circuit.reachable:
            return
        loop = self._loop or self._running_loop()
        deadline = server.pending[0].asked_at + self._settings.timeout_s
        lane = server.lane
        ready = lane is not None and lane.ready and lane.client is self._redis.client(server.name)
        if lane is None or not ready or self._redis.is_cluster or loop.time() >= deadline:
            if not server.busy:
                self._see_to(server, self._send(server, server.take(self._settings.batch_max)))
            return
        batch = server.take(self._settings.batch_max)
        server.under_way.append(batch)
        if server.timer is None:
            server.timer = loop.call_at(deadline, self._look, server)
        lane.send(pack((b"EVALSHA", SCRIPT.sha.encode(), *self._words(batch))), 1, partial(self._replied, server, batch))

    def _look(self, server: _Server) -> None:
        """Give up what has had its time. One timer serves many batches: it comes again for one that was sent since."""
        server.timer = None
        if not server.under_way or server.lane is None:
            return
        deadline = server.under_way[0][0].asked_at + self._settings.timeout_s
        loop = self._loop or self._running_loop()
        if loop.time() < deadline:
            server.timer = loop.call_at(deadline, self._look, server)
        else:
            server.lane.break_off(TimeoutError())

    def _replied(self, server: _Server, batch: list[_Check], replies: Replies) -> None:
        server.under_way.remove(batch)  # the first, but where the connection is another one by now
        answer = replies[0] if isinstance(replies, list) else replies
        if isinstance(answer, list):
            try:
                self.answered_at_us = int(answer.pop())
                away = self._take_replies(server, batch, answer)
            except Exception as error:
                _raise_in(batch, error)
                away = False
            if away:
                self._see_to(server, self._leave(server))
        elif isinstance(answer, NoScriptError):
            self._see_to(server, self._send(server, batch))
        else:
            self._fail(server, batch, answer)
            self._see_to(server, self._leave(server))
        self._go_on(server)

    def _see_to(self, server: _Server, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        server.tasks.add(task)
        task.add_done_callback(partial(self._seen_to, server))

    def _seen_to(self, server: _Server, task: asyncio.Task[None]) -> None:
        server.tasks.discard(task)
        self._go_on(server)

    def _go_on(self, server: _Server) -> None:
        if server.busy:
            return
        self._flush(server)
        if server.idle is not None and not server.busy:
            if not server.idle.done():  # who closes may have been cancelled
                server.idle.set_result(None)
            server.idle = None

    async def _send(self, server: _Server, batch: list[_Check]) -> None:
        """Have one batch answered. An exception other than a failing store is our bug: it rises in every check."""
        deadline = batch[0].asked_at + self._settings.timeout_s
        if asyncio.get_running_loop().time() >= deadline:  # too many checks before these
            self._answer_unreachable(server, batch)
            return
        try:
            async with asyncio.timeout_at(deadline):
                if server.name:
                    replies = await self._call(server, batch)
                else:
                    await self._redis.find()
        except (RedisError, OSError, TimeoutError) as error:
            self._fail(server, batch, error)
            await self._leave(server)
        except BaseException as error:
            _raise_in(batch, error)
            if not isinstance(error, Exception):
                raise
        else:
            if server.name:
                if self._take_replies(server, batch, replies):
                    await self._leave(server)
            else:
                self._hand_out(server, batch)

    async def _call(self, server: _Server, batch: Sequence[_Check]) -> list[Any]:
        """Give for each check the script's answer or what was raised."""
        client = self._redis.client(server.name)
        if server.lane is None or server.lane.client is not client:
            server.lane = Lane(client)
        if self._redis.is_cluster:
            return await self._call_each(server.lane, batch)
        words = self._words(batch)
        try:
            replies: list[Any] = await server.lane.call(pack((b"EVALSHA", SCRIPT.sha.encode(), *words)))
        except NoScriptError:  # nothing ran: a new server, or one whose scripts were flushed
            replies = await server.lane.call(pack((b"EVAL", SCRIPT.text.encode(), *words)))
        self.answered_at_us = int(replies.pop())
        return replies

    def _words(self, batch: Sequence[_Check]) -> list[bytes]:
        words = [b"%d" % len(batch), *[self._prefix + check.key for check in batch], b"%d" % self.time_offset_us]
        for check in batch:
            words += (b"%d" % check.limit, b"%d" % check.width)
        return words

    async def _call_each(self, lane: Lane, batch: Sequence[_Check]) -> list[Any]:
        replies = await self._each(lane, batch, b"EVALSHA", SCRIPT.sha.encode())
        unknown = [n for n, reply in enumerate(replies) if isinstance(reply, NoScriptError)]
        if unknown:
            again = await self._each(lane, [batch[n] for n in unknown], b"EVAL", SCRIPT.text.encode())
            for n, reply in zip(unknown, again, strict=True):
                replies[n] = reply
        for n, reply in enumerate(replies):
            if isinstance(reply, list):
                replies[n], time = reply
                self.answered_at_us = int(time)
        return replies

    async def _each(self, lane: Lane, batch: Sequence[_Check], verb: bytes, script: bytes) -> list[Any]:
        commands: list[bytes] = []
        calls: list[int] = []  # which of the replies are the script's, not to an ASKING
        offset = b"%d" % self.time_offset_us
        for check in batch:
            if check.asking:
                commands.append(_ASKING)
            calls.append(len(commands))
            key = self._prefix + check.key
            commands.append(pack((verb, script, b"1", key, offset, b"%d" % check.limit, b"%d" % check.width)))
        replies = await lane.calls(b"".join(commands), len(commands))
        return [replies[n] for n in calls]

    # ---- answers ---------------------------------------------------------------------------------------

    def _take_replies(self, server: _Server, batch: Sequence[_Check], replies: Sequence[Any]) -> bool:
        """Answer the checks; say whether the server is taken for away by what it replied."""
        away: object = None
        failed: list[_Check] = []
        for check, reply in zip(batch, replies, strict=True):
            if isinstance(reply, int):
                if check.answer.done():
                    continue  # cancelled
                if check.limit == 0:
                    check.answer.set_result(float(reply))
                else:
                    check.answer.set_result(reply == 1)
                    if reply != 1:
                        self._own.take_back(check.key, check.width, check.counted_us)
            elif isinstance(reply, AskError) and reply.host and check.redirects < MOST_REDIRECTS:
                check.redirects += 1
                check.asking = not isinstance(reply, MovedError)
                self._pass_on(self._server(self._redis.moved(reply)), check)
            else:
                text = reply.decode(errors="replace") if isinstance(reply, bytes) else reply
                if is_away(text):
                    away = text
                else:
                    self._key_failed(text)
                failed.append(check)
        if away is not None:
            self._fail(server, failed, away)
        else:
            self._answer_unreachable(server, failed)
        return away is not None

    def _hand_out(self, server: _Server, batch: Sequence[_Check]) -> None:
        """Give checks whose server was not known to theirs."""
        for check in batch:
            found = self._server_of(check.key)
            if found is server:
                self._fail(server, [check], RedisUnknown("no node of the cluster has the key's slot"))
            else:
                self._pass_on(found, check)

    def _pass_on(self, server: _Server, check: _Check) -> None:
        if server.circuit.reachable and not self._closed:
            self._enqueue(server, check)
        else:
            self._answer_unreachable(server, [check])

    def _answer_unreachable(self, server: _Server, batch: Sequence[_Check]) -> None:
        for check in batch:
            if not check.answer.done():
                check.answer.set_result(self._unreachable(server, check))

    def _unreachable(self, server: _Server, check: _Check) -> bool | float | None:
        self.health.unreachable_answers += 1
        server.circuit.answered += 1
        limit, counted = check.limit, check.counted_us >= 0
        match self._settings.on_unreachable:
            case "local":
                return counted or self._own.check_now(check.key, limit, check.width, self._own_us())
            case "open":
                return 0.0 if limit == 0 else True
            case "closed":
                answer: bool | float | None = ABOVE_ANY_LIMIT if limit == 0 else False
            case "none":
                answer = None
        if counted:
            self._own.take_back(check.key, check.width, check.counted_us)
        return answer

    def _key_failed(self, reply: object) -> None:
        now = self._clock.monotonic()
        if now - self._key_error_logged_at >= LOG_EVERY_S:
            self._key_error_logged_at = now
            fields = {"level": "error", "error": str(reply), "answers": self._settings.on_unreachable}
            self._log("rate.counter_failed", fields)

    def _fail(self, server: _Server, batch: Sequence[_Check], error: object) -> None:
        """Take the server for away: its checks are answered by the setting."""
        if not self._closed:
            server.circuit.failed(error)
            self._answer_unreachable(server, server.take(len(server.pending)))
        self._answer_unreachable(server, batch)

    async def _leave(self, server: _Server) -> None:
        """Leave the connection: it may lead to a server that is no master any longer."""
        lane, server.lane = server.lane, None
        if lane is not None:
            await lane.close()


def _raise_in(batch: Sequence[_Check], error: BaseException) -> None:
    """Have the checks that wait raise the error, a bug of ours: none waits for ever."""
    for check in batch:
        if not check.answer.done():
            check.answer.set_exception(error)

"""Rate counters that many processes share, in Redis. In: checks. Out: answers, or what `on_unreachable` says.

All checks of one turn of the event loop go out as one call of `ring.lua`; while the store is away nobody waits for it.
Must not know scripts. Not for Redis Cluster: a batch holds keys of many slots.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from importlib import resources
from typing import Any, cast

from redis.exceptions import NoScriptError, RedisError

from hslpy.clock import Clock
from hslpy.log import Log
from hslpy.rate import ring
from hslpy.rate.contract import ABOVE_ANY_LIMIT, RateHealth, RateSettings, interval_us, key_of
from hslpy.rate.memory import MemoryRateCounters
from hslpy.store.redis import Lane, Redis, pack

SCRIPT = resources.files("hslpy.rate").joinpath("ring.lua").read_text()

IN_FLIGHT_MAX = 1  # while one is under way the next gathers: fewer calls under load, none later when there is none
"""Batches under way at once: one with Redis while the other is packed or unpacked here. More only make them smaller."""

LOG_EVERY_S = 60.0
"""How often a store that stays away is told again."""


@dataclass(slots=True, eq=False)
class _Check:
    key: bytes
    limit: int
    width: int
    asked_at: float
    answer: asyncio.Future[bool | float | None]


class RedisRateCounters:
    """Counters in Redis. Owns `client`: `close` closes it.

    A batch that failed or ran out of time is never sent again, as it may have been counted. After that, checks are
    answered by the setting at once, until a ping every `retry_s` gets through.
    """

    def __init__(self, settings: RateSettings, client: Redis, clock: Clock, log: Log) -> None:
        self.health = RateHealth()
        self.time_offset_us = 0
        """Added to the server's time; tests move it."""
        self.answered_at_us = 0
        """The server's time, offset included, of the latest batch answered."""
        self._settings = settings
        self._client = client
        self._clock = clock
        self._log = log
        self._prefix = settings.key_prefix.encode()
        self._local = MemoryRateCounters(settings, clock, log)
        self._unshared = MemoryRateCounters(settings, clock, log)
        self._lane = Lane(client)
        self._sha = hashlib.sha1(SCRIPT.encode(), usedforsecurity=False).hexdigest().encode()
        self._pending: list[_Check] = []
        self._flush_due = False
        self._sending: set[asyncio.Task[None]] = set()
        self._probing: asyncio.Task[None] | None = None
        self._key_error_logged_at = -LOG_EVERY_S
        self._closed = False

    async def check(
        self, namespace: str, entry: str, count: int, interval_s: float, *, shared: bool = True
    ) -> bool | float | None:
        interval = interval_us(count, interval_s)
        key, width = key_of(namespace, entry, interval), ring.width_us(interval)
        if not shared:
            return self._unshared.check_now(key, count, width)
        if not self.health.reachable or self._closed:
            return self._unreachable(key, count, width)
        loop = asyncio.get_running_loop()
        check = _Check(key, count, width, loop.time(), loop.create_future())
        self._pending.append(check)
        if not self._flush_due:
            self._flush_due = True
            loop.call_soon(self._flush)
        return await check.answer

    async def close(self) -> None:
        """Wait for the batches under way, each within its deadline, and close the connections."""
        self._closed = True
        if self._probing is not None:
            self._probing.cancel()
            with suppress(asyncio.CancelledError):
                await self._probing
        while self._sending:
            await asyncio.wait(self._sending)
        self._answer_unreachable(self._take(len(self._pending)))
        with suppress(RedisError, OSError):
            await self._lane.close()
            await self._client.aclose()

    def _take(self, most: int) -> list[_Check]:
        batch = self._pending[:most]
        del self._pending[:most]
        return batch

    def _flush(self) -> None:
        self._flush_due = False
        while self._pending and len(self._sending) < IN_FLIGHT_MAX and self.health.reachable:
            task = asyncio.get_running_loop().create_task(self._send(self._take(self._settings.batch_max)))
            self._sending.add(task)
            task.add_done_callback(self._sent)

    def _sent(self, task: asyncio.Task[None]) -> None:
        self._sending.discard(task)
        if self._pending and not self._flush_due:
            self._flush()

    async def _send(self, batch: list[_Check]) -> None:
        """Have one batch answered. An exception other than a failing store is our bug: it rises in every check."""
        deadline = batch[0].asked_at + self._settings.timeout_s
        if asyncio.get_running_loop().time() >= deadline:  # too many checks before these
            self._answer_unreachable(batch)
            return
        try:
            async with asyncio.timeout_at(deadline):
                replies = await self._call(batch)
        except (RedisError, OSError, TimeoutError) as error:
            self._went_away(error)
            self._answer_unreachable(batch)
        except BaseException as error:
            for check in batch:
                if not check.answer.done():
                    check.answer.set_exception(error)
            if not isinstance(error, Exception):
                raise
        else:
            self.answered_at_us = int(replies[-1])
            for check, reply in zip(batch, replies, strict=False):
                if isinstance(reply, int):
                    if not check.answer.done():
                        check.answer.set_result(float(reply) if check.limit == 0 else reply == 1)
                else:
                    self._key_failed(reply)
                    self._answer_unreachable([check])

    async def _call(self, batch: Sequence[_Check]) -> list[Any]:
        arguments = [b"%d" % len(batch), *[self._prefix + check.key for check in batch], b"%d" % self.time_offset_us]
        for check in batch:
            arguments += (b"%d" % check.limit, b"%d" % check.width)
        try:
            reply = await self._lane.call(pack((b"EVALSHA", self._sha, *arguments)))
        except NoScriptError:  # nothing ran: a new server, or one whose scripts were flushed
            reply = await self._lane.call(pack((b"EVAL", SCRIPT.encode(), *arguments)))
        return cast(list[Any], reply)

    def _answer_unreachable(self, batch: Sequence[_Check]) -> None:
        for check in batch:
            if not check.answer.done():
                check.answer.set_result(self._unreachable(check.key, check.limit, check.width))

    def _unreachable(self, key: bytes, limit: int, width: int) -> bool | float | None:
        self.health.unreachable_answers += 1
        match self._settings.on_unreachable:
            case "local":
                return self._local.check_now(key, limit, width)
            case "open":
                return 0.0 if limit == 0 else True
            case "closed":
                return ABOVE_ANY_LIMIT if limit == 0 else False
            case "none":
                return None

    def _key_failed(self, reply: object) -> None:
        now = self._clock.monotonic()
        if now - self._key_error_logged_at >= LOG_EVERY_S:
            self._key_error_logged_at = now
            reason = reply.decode(errors="replace") if isinstance(reply, bytes) else str(reply)
            self._log("rate.counter_failed", {"level": "error", "error": reason, "answers": self._settings.on_unreachable})

    def _went_away(self, error: BaseException) -> None:
        if not self.health.reachable or self._closed:
            return
        self.health.reachable = False
        self.health.error = str(error) or f"no answer within {self._settings.timeout_s:g} s"
        self._log(
            "rate.store_unreachable",
            {"level": "error", "error": self.health.error, "answers": self._settings.on_unreachable},
        )
        self._answer_unreachable(self._take(len(self._pending)))
        self._probing = asyncio.get_running_loop().create_task(self._probe(self.health.unreachable_answers))

    async def _probe(self, answered_before: int) -> None:
        """Ping until the store answers; say so now and then."""
        since = logged_at = self._clock.monotonic()
        while True:
            await self._clock.sleep(self._settings.retry_s)
            try:
                async with asyncio.timeout(self._settings.timeout_s):
                    await self._client.ping()
                break
            except (RedisError, OSError, TimeoutError) as error:
                self.health.error = str(error) or self.health.error
            now = self._clock.monotonic()
            if now - logged_at >= LOG_EVERY_S:
                logged_at = now
                self._log(
                    "rate.store_still_unreachable",
                    {
                        "level": "error",
                        "error": self.health.error,
                        "answered": self.health.unreachable_answers - answered_before,
                    },
                )
        self.health.reachable = True
        self.health.error = ""
        self._log(
            "rate.store_reachable",
            {
                "answered": self.health.unreachable_answers - answered_before,
                "away_s": round(self._clock.monotonic() - since, 3),
            },
        )

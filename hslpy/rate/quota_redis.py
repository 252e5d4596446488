"""Quotas that processes and nodes share, in Redis: one call of a script a message. In: caps, a time. Out: answers.

While Redis is away nothing is granted: who counts alone may send too much. Source: section D4 of the specification of
delivery IPs.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from hslpy.clock import Clock
from hslpy.log import Log
from hslpy.rate.quota import GRANTED, HOUR_MS, Answer, Cap
from hslpy.store.circuit import Circuit
from hslpy.store.redis import RedisError, Script
from hslpy.store.servers import HERE, Servers

# KEYS[1] is of one key and hour; of each cap: name, limit, interval (ms), burst. The same arithmetic as `quota.decide`.
_RESERVE = Script("""
local now, hour = tonumber(ARGV[1]), tonumber(ARGV[2])
local caps = {}
for at = 3, #ARGV, 4 do
  local name, limit, interval, burst = ARGV[at], tonumber(ARGV[at+1]), tonumber(ARGV[at+2]), tonumber(ARGV[at+3])
  local found = redis.call('HMGET', KEYS[1], 'n' .. name, 't' .. name)
  local count, busy = tonumber(found[1] or 0), tonumber(found[2] or 0)
  if count >= limit then return {0, (hour + 1) * 3600000, name} end
  local free = busy - (burst - 1) * interval
  if free > now then return {0, free, name} end
  caps[#caps + 1] = {name, count + 1, math.max(busy, now) + interval}
end
for _, cap in ipairs(caps) do
  redis.call('HSET', KEYS[1], 'n' .. cap[1], cap[2], 't' .. cap[1], string.format('%.0f', cap[3]))
end
redis.call('EXPIRE', KEYS[1], 7200)
return {1, 0, ''}
""")
_RELEASE = Script("""
if redis.call('EXISTS', KEYS[1]) == 0 then return 0 end
for at = 1, #ARGV, 2 do
  local count = tonumber(redis.call('HGET', KEYS[1], 'n' .. ARGV[at]) or 0)
  if count > 0 then
    redis.call('HINCRBY', KEYS[1], 'n' .. ARGV[at], -1)
    redis.call('HINCRBY', KEYS[1], 't' .. ARGV[at], -tonumber(ARGV[at+1]))
  end
end
return 1
""")
_AWAY_S = 5.0
"""When to ask again while Redis is away; the circuit looks for it oftener."""


class RedisQuotas:
    """Owns `servers`: `close` closes them. `prefix` begins all its keys."""

    spans_nodes = True

    def __init__(
        self,
        servers: Servers,
        clock: Clock,
        log: Log,
        *,
        timeout_s: float = 0.5,
        retry_s: float = 0.15,
        prefix: str = "hslpy:warm:",
    ) -> None:
        self._servers = servers
        self._timeout_s = timeout_s
        self._prefix = prefix.encode()
        probe = self._prefix + b"probe"
        fields = {"redis": servers.place, "answers": "closed"}
        name = "" if servers.is_cluster else HERE
        self._circuit = Circuit("warmup", lambda: servers.probe(name, probe), timeout_s, retry_s, clock, log, fields)

    def load(self, key: str, name: str, count: int, now: float) -> None:
        """The counters are still there."""

    async def reserve(self, key: str, caps: Sequence[Cap], now: float) -> Answer:
        now_ms = int(now * 1000)
        if self._circuit.reachable:
            words: list[str | bytes | float] = [now_ms, now_ms // HOUR_MS]
            for cap in caps:
                words += [cap.name, cap.limit, cap.interval_ms, cap.burst]
            try:
                async with asyncio.timeout(self._timeout_s):
                    granted, again_ms, name = await self._servers.call(_RESERVE, self._key(key, now_ms), *words)
                return GRANTED if granted else Answer(False, int(again_ms) / 1000, name.decode())
            except (RedisError, OSError, TimeoutError) as error:
                self._circuit.failed(error)
        self._circuit.answered += 1
        return Answer(False, now + _AWAY_S, "Redis")

    async def release(self, key: str, caps: Sequence[Cap], reserved_at: float) -> None:
        """What cannot be given back stays counted."""
        words: list[str | bytes | float] = []
        for cap in caps:
            words += [cap.name, cap.interval_ms]
        if not self._circuit.reachable:
            return
        try:
            async with asyncio.timeout(self._timeout_s):
                await self._servers.call(_RELEASE, self._key(key, int(reserved_at * 1000)), *words)
        except (RedisError, OSError, TimeoutError) as error:
            self._circuit.failed(error)

    async def close(self) -> None:
        await self._circuit.close()
        await self._servers.close()

    def _key(self, key: str, now_ms: int) -> bytes:
        return self._prefix + f"{key}:{now_ms // HOUR_MS}".encode()

"""The values behind `memory_*` and `barrier` in Redis, for several processes at once; the same contract as `memory.py`.

In: keys and values. Out: values under locks. A lock is a process's for `lock_s`, renewed while it is held, so that one whose
holder died is free soon; the value and the end of the lock go out as one call. What `cache` keeps is each process's own.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Sequence
from functools import partial
from importlib import resources
from pathlib import Path
from typing import Any

from hslpy.clock import Clock
from hslpy.errors import ScriptError
from hslpy.lang.values import Value
from hslpy.log import Log
from hslpy.store.caches import Caches
from hslpy.store.circuit import Circuit
from hslpy.store.memory import KeyLocks
from hslpy.store.packed import pack, unpack
from hslpy.store.redis import RedisError, Script, is_away
from hslpy.store.servers import Servers
from hslpy.store.settings import MemorySettings

SCRIPT = Script(resources.files("hslpy.store").joinpath("shared.lua").read_text())

MOST_VALUE_BYTES = 4 * 1024 * 1024
"""Of one value as packed: about 20 ms of this process's time, and of Redis'."""

MOST_KEY_BYTES = 256
"""Longer keys are replaced by their SHA-256."""

FIRST_LOOK_S, LATEST_LOOK_S = 0.001, 0.02
"""How soon a lock that another process holds is asked for again: waits double from the first to the latest."""

STALE_MS = 1000
"""Who has not asked for a lock for so long has gone away: a hundred of the looks above, with a busy machine in mind."""


class _Held:
    """A key under its lock. What was put goes to Redis as the lock is given back."""

    __slots__ = ("_memory", "_packed", "_verb", "key", "lost", "released", "token")

    def __init__(self, memory: RedisMemory, key: str, token: str, packed: bytes | None) -> None:
        self._memory = memory
        self.key = key
        self.token = token
        self._packed = packed
        self._verb = "keep"
        self.lost = False
        self.released = False

    def get(self, default: Value = None) -> Value:
        if self._packed is None:
            return default
        try:
            return unpack(self._packed)
        except (ValueError, KeyError, TypeError, RecursionError):
            raise ScriptError("R340", "what Redis has under that key was not put there by `memory_*` or `barrier`") from None

    def put(self, value: Value, size_bytes: int) -> None:
        """Keep the value. Raises ScriptError R309 for one that is too large, or arrays in arrays too deep."""
        try:
            packed = pack(value) if size_bytes <= 16 * MOST_VALUE_BYTES else None
        except RecursionError:
            raise ScriptError("R309", "the arrays in the value are nested too deep to be shared through Redis") from None
        if packed is None or len(packed) > MOST_VALUE_BYTES:
            raise ScriptError("R309", f"a value shared through Redis takes at most {MOST_VALUE_BYTES >> 20} MiB")
        self._packed, self._verb = packed, "put"

    def drop(self) -> None:
        self._verb = "drop" if self._packed is not None else self._verb
        self._packed = None

    def release(self) -> None:
        if not self.released:
            self._memory.let_go(self)

    async def settle(self) -> None:
        """Raises ScriptError R340 where what was put is not known to be kept."""
        if not self.released:
            await asyncio.shield(self._memory.let_go(self))

    def words(self, kept_s: float) -> tuple[str | bytes | int, ...]:
        """Give what the script is told as the lock is given back."""
        if self._verb == "put" and self._packed is not None:
            return ("put", self.token, self._packed, int(kept_s * 1000))
        return (self._verb, self.token)

    @property
    def changed(self) -> bool:
        return self._verb != "keep"


class RedisMemory:
    """Values in Redis with a lock a key, and caches of this process. Owns `servers`: `close` closes them.

    While Redis is away every use is a script error at once: a limit or a greylist that forgets would let mail through.
    """

    def __init__(
        self, settings: MemorySettings, servers: Servers, process: str, clock: Clock, log: Log, folders: Sequence[Path] = ()
    ) -> None:
        """`process` is a word that no other process has, now or before."""
        self.caches = Caches()
        self.folders = tuple(folders)
        self._circuits: dict[str, Circuit] = {}  # by the names of servers
        self._clock = clock
        self._settings = settings
        self._servers = servers
        self._log = log
        self._locks = KeyLocks()
        self._held: set[_Held] = set()
        self._letting_go: set[asyncio.Task[None]] = set()
        self._renewing: asyncio.Task[None] | None = None
        self._lock_ms = int(settings.lock_s * 1000)
        self._process = process
        self._tokens = 0

    def try_lock(self, key: str) -> None:
        """Give None: taking a lock always waits for Redis."""

    async def lock(self, key: str) -> _Held:
        """Take the key's lock, after those who wait already. Raises ScriptError R340 where Redis does not answer."""
        await self._locks.wait(key)
        self._tokens += 1
        token = f"{self._process}.{self._tokens}"
        wait_s = FIRST_LOOK_S
        try:
            while True:
                got, found = await self._call(key, "lock", token, self._lock_ms, STALE_MS)
                if got == 1:
                    break
                await asyncio.sleep(wait_s)
                wait_s = min(2 * wait_s, LATEST_LOOK_S * (1 + min(found, 10)))
        except BaseException:
            self.let_go(_Held(self, key, token, None))  # Redis may have given it to us, or have us in the queue
            raise
        held = _Held(self, key, token, found)
        self._held.add(held)
        if self._renewing is None:
            self._renewing = asyncio.get_running_loop().create_task(self._renew())
        return held

    def let_go(self, held: _Held) -> asyncio.Task[None]:
        """Have the lock given back with what was put, and then to the next run of this process. Never waits."""
        held.released = True
        self._held.discard(held)
        task = asyncio.get_running_loop().create_task(self._let_go(held))
        self._letting_go.add(task)
        task.add_done_callback(self._gone)
        return task

    async def close(self) -> None:
        """Give back what is under way, each call within its deadline, and close the connections."""
        if self._renewing is not None:
            self._renewing.cancel()
        while self._letting_go:
            await asyncio.wait(self._letting_go)
        for circuit in self._circuits.values():
            await circuit.close()
        await self._servers.close()

    def _gone(self, task: asyncio.Task[None]) -> None:
        self._letting_go.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None and not isinstance(error, ScriptError):
            raise error  # our bug: the loop's handler has it

    async def _let_go(self, held: _Held) -> None:
        try:
            kept = await self._call(held.key, *held.words(self._settings.kept_s))
            if held.changed and (held.lost or kept == 0):
                raise ScriptError("R340", "the lock was lost while it was held: Redis was away, or began anew")
        except ScriptError as error:
            if held.changed:
                self._log("memory.not_kept", {"level": "error", "error": error.message})
                raise
        finally:
            self._locks.give(held.key)

    async def _renew(self) -> None:
        """Have the locks held live on, until there are none."""
        while True:
            await asyncio.sleep(self._settings.lock_s / 3)
            if not self._held:
                self._renewing = None
                return
            await asyncio.gather(*(self._renew_one(held) for held in tuple(self._held)))

    async def _renew_one(self, held: _Held) -> None:
        try:
            kept = await self._call(held.key, "renew", held.token, self._lock_ms)
        except ScriptError:
            return  # it lives for two more turns yet
        if kept == 0 and not held.released:
            held.lost = True

    async def _call(self, key: str, *words: str | bytes | int) -> Any:
        name = self._name(key)
        circuit = self._circuit_of(self._servers.name_of(name))
        if not circuit.reachable:
            circuit.answered += 1
            raise _away(circuit.error)
        try:
            async with asyncio.timeout(self._settings.timeout_s):
                return await self._servers.call(SCRIPT, name, *words)
        except (RedisError, OSError, TimeoutError) as error:
            if is_away(error):
                circuit.failed(error)
            circuit.answered += 1
            raise _away(str(error) or circuit.error) from None

    def _circuit_of(self, server: str) -> Circuit:
        circuit = self._circuits.get(server)
        if circuit is None:
            times = self._settings.timeout_s, self._settings.retry_s
            probe = partial(self._servers.probe, server, self._settings.key_prefix.encode() + b"?")
            fields = {"redis": self._servers.place} | ({"server": server} if self._servers.is_cluster else {})
            circuit = self._circuits[server] = Circuit("memory", probe, *times, self._clock, self._log, fields)
        return circuit

    @property
    def reachable(self) -> bool:
        """Whether Redis answers, each server of a cluster."""
        return all(circuit.reachable for circuit in self._circuits.values())

    def _name(self, key: str) -> bytes:
        name = key.encode("latin-1")
        if len(name) > MOST_KEY_BYTES:
            return self._settings.key_prefix.encode() + b"#" + hashlib.sha256(name).hexdigest().encode()
        return self._settings.key_prefix.encode() + b":" + name


def _away(why: str) -> ScriptError:
    return ScriptError(
        "R340", f"the values that `memory_*` and `barrier` share are in Redis (`memory.store`), which fails: {why}"
    )

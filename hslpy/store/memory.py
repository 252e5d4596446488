"""The store behind `memory_*`, `barrier` and `cache`: values shared by all runs of this process, locks by key.

In: keys and values. Out: values. A lock is handed from its holder to the next who waits, so that giving it back never
waits. Source: the HSL manual, memory_*, barrier.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hslpy.lang.shared_contract import Held
from hslpy.store.caches import Caches

MOST_BYTES = 256 * 1024 * 1024  # twice what one run may hold (`hooks.limits.memory_bytes`)
ENTRY_BYTES = 250  # a key with its value in both dictionaries, CPython 3.11


class Values(dict[str, Any]):
    """The values by key. `bytes` is what they take; `put` makes room by dropping what was put longest ago."""

    def __init__(self, most_bytes: int) -> None:
        super().__init__()
        self.bytes = 0
        self.dropped = 0
        self._most_bytes = most_bytes
        self._sizes: dict[str, int] = {}

    def put(self, key: str, value: Any, size_bytes: int) -> None:
        """Keep the value, of about `size_bytes`, which must be less than the whole room."""
        self.pop(key)
        size_bytes += len(key) + ENTRY_BYTES
        while self._sizes and self.bytes + size_bytes > self._most_bytes:
            self.pop(next(iter(self._sizes)))
            self.dropped += 1
        self[key] = value
        self._sizes[key] = size_bytes
        self.bytes += size_bytes

    def pop(self, key: str, default: Any = None) -> Any:
        self.bytes -= self._sizes.pop(key, 0)
        return super().pop(key, default)


class KeyLocks:
    """A lock a key, for the runs of this process; who waits has it in the order of coming."""

    def __init__(self) -> None:
        self._waiting: dict[str, deque[asyncio.Future[None]]] = {}  # by the keys that are held

    def take(self, key: str) -> bool:
        """Take the key's lock if nobody holds it, and say whether that was so."""
        if key in self._waiting:
            return False
        self._waiting[key] = deque()
        return True

    async def wait(self, key: str) -> None:
        """Take the key's lock, after those who wait already."""
        if self.take(key):
            return
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting[key].append(turn)
        try:
            await turn
        except BaseException:
            if turn.done() and not turn.cancelled():
                self.give(key)  # it was handed over, and nobody is there to take it
            elif turn in self._waiting[key]:
                self._waiting[key].remove(turn)
            raise

    def give(self, key: str) -> None:
        """Give the lock to the next who waits; it goes away with its last user."""
        waiting = self._waiting[key]
        while waiting:
            turn = waiting.popleft()
            if not turn.done():
                turn.set_result(None)
                return
        del self._waiting[key]


class _Held:
    """A key of this process's values, under its lock."""

    __slots__ = ("_key", "_locks", "_values")

    def __init__(self, key: str, values: Values, locks: KeyLocks) -> None:
        self._key = key
        self._values = values
        self._locks: KeyLocks | None = locks

    def get(self, default: Any = None) -> Any:
        return self._values.get(self._key, default)

    def put(self, value: Any, size_bytes: int) -> None:
        self._values.put(self._key, value, size_bytes)

    def drop(self) -> None:
        self._values.pop(self._key, None)

    def release(self) -> None:
        if self._locks is not None:
            self._locks.give(self._key)
            self._locks = None

    def settle(self) -> None:
        self.release()


class SharedMemory:
    """Values with a lock a key, and caches. They must be own copies (arrays shared) and never functions.

    `folders` are where a namespace `file:X` of `cache` looks for its file, after the script's own.
    """

    def __init__(self, most_bytes: int = MOST_BYTES, folders: Sequence[Path] = ()) -> None:
        self.values = Values(most_bytes)
        self.caches = Caches()
        self.folders = tuple(folders)
        self._locks = KeyLocks()

    def try_lock(self, key: str) -> Held | None:
        """Take the key's lock if nobody holds it."""
        return _Held(key, self.values, self._locks) if self._locks.take(key) else None

    async def lock(self, key: str) -> Held:
        """Take the key's lock, after those who wait already."""
        await self._locks.wait(key)
        return _Held(key, self.values, self._locks)

    async def close(self) -> None:
        """Nothing is open."""

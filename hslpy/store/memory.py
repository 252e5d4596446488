"""The store behind `memory_*`: values by key, shared by all runs of this process. In: keys and values. Out: values.

Each operation is atomic; `locked` holds a key for a callback that may suspend. Source: the HSL manual, memory_*.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

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


class SharedMemory:
    """Values with a lock a key. They must be own copies (arrays shared) and never functions."""

    def __init__(self, most_bytes: int = MOST_BYTES) -> None:
        self.values = Values(most_bytes)
        self._locks: dict[str, tuple[asyncio.Lock, int]] = {}

    @asynccontextmanager
    async def locked(self, key: str) -> AsyncIterator[None]:
        """Hold the key's lock; the lock goes away with its last user."""
        lock, users = self._locks.get(key, (None, 0))
        if lock is None:
            lock = asyncio.Lock()
        self._locks[key] = (lock, users + 1)
        try:
            async with lock:
                yield
        finally:
            lock, users = self._locks[key]
            if users == 1:
                del self._locks[key]
            else:
                self._locks[key] = (lock, users - 1)

"""The store behind `memory_*`: values by key, shared by all runs of this process. In: keys and values. Out: values.

Each operation is atomic; `locked` holds a key for a callback that may suspend. Source: the HSL manual, memory_*.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any


class SharedMemory:
    """A dictionary with a lock a key. Values must be own copies (arrays shared) and never functions."""

    def __init__(self) -> None:
        self.values: dict[str, Any] = {}
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

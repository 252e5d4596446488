"""What runs share, as the language wants it: kept results, values under locks. In: nothing. Out: protocols."""

from __future__ import annotations

from collections.abc import Awaitable, Hashable, Sequence
from pathlib import Path
from typing import Any, Protocol


class Kept(Protocol):
    """One result kept by a cache."""

    value: Any
    expires_at: float


class Caches(Protocol):
    """What keeps results of calls; a bucket is a namespace with a function's name."""

    def find(self, bucket: tuple[str, ...], key: Hashable, most: int, mark: object = None) -> Kept | None: ...
    def used(self, bucket: tuple[str, ...], key: Hashable) -> None: ...
    def keep(
        self,
        bucket: tuple[str, ...],
        key: Hashable,
        value: Any,
        size_bytes: int,
        most: int,
        now: float,
        ttl_s: float,
        *,
        lru: bool = True,
        mark: object = None,
    ) -> None: ...


class Held(Protocol):
    """A key whose lock a run holds, with its value. Where others keep it, what was put is theirs once it is released."""

    def get(self, default: Any = None) -> Any: ...
    def put(self, value: Any, size_bytes: int) -> None: ...
    def drop(self) -> None: ...
    def release(self) -> None:
        """Give the lock back. Never waits, so that it can stand in a `finally`; a second time it does nothing."""
        ...

    def settle(self) -> Awaitable[None] | None:
        """Give back the lock as `release` does, and what to wait for to know that what was put is kept; None for nothing."""
        ...


class Shared(Protocol):
    """What all runs of a process share, or of several processes."""

    @property
    def caches(self) -> Caches: ...
    @property
    def folders(self) -> Sequence[Path]: ...
    def try_lock(self, key: str) -> Held | None:
        """Take the key's lock if that needs no waiting."""
        ...

    def lock(self, key: str) -> Awaitable[Held]: ...

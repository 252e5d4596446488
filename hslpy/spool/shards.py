"""A spool in shards: a worker's own, and those of workers there are no longer. In: what a spool gets. Out: the same.

Shard 0 is the folder `spool`, shard k `spool-k`. Ids of shard k begin at k * 10**12, so that they are unique over the node,
exact in a script's numbers, and say by themselves where they belong. New mail goes to the own shard; the others empty.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from hslpy.clock import Clock
from hslpy.log import Log, no_log
from hslpy.spool.contract import NewMessage, QueuedRecipient, Remove, SpoolError, SpoolStats, Then, Update
from hslpy.spool.sqlite import SpoolSettings, SqliteSpool

IDS = 10**12  # of a shard: a thousand a second for thirty years; 9,000 shards stay exact in a double


def shard_of(queue_id: int) -> int:
    """Give the shard that gave the id."""
    return queue_id // IDS


def worker_of(queue_id: int, workers: int) -> int:
    """Give the worker that has the recipient: that of the id's shard, round and round over those there are."""
    return shard_of(queue_id) % workers


def shard_folder(spool: Path, shard: int) -> Path:
    """Give a shard's folder, `spool` being that of shard 0."""
    return spool.with_name(f"{spool.name}-{shard}") if shard else spool


def shards_of(worker: int, workers: int, spool: Path) -> list[int]:
    """Give the shards that a worker owns: its own first, then those left behind by more workers than there are now."""
    names = (path.name.removeprefix(f"{spool.name}-") for path in spool.parent.glob(f"{spool.name}-*/"))
    there = sorted(int(name) for name in names if name.isdecimal() and name == str(int(name)))
    return [worker, *(shard for shard in there if shard >= workers and shard % workers == worker)]


def sharded_spool(
    settings: SpoolSettings, worker: int = 0, workers: int = 1, clock: Clock | None = None, log: Log = no_log
) -> SqliteSpool | Shards:
    """Give the spool over the shards that a worker owns."""

    def made(shard: int) -> SqliteSpool:
        own = replace(settings, folder=shard_folder(settings.folder, shard), first_id=shard * IDS + 1)
        return SqliteSpool(own, clock=clock, log=log)

    own, *others = shards_of(worker, workers, settings.folder)
    return Shards({own: made(own), **{shard: made(shard) for shard in others}}) if others else made(own)


class Shards:
    """Several shards as one spool. Source of all methods: `Spool`."""

    def __init__(self, shards: Mapping[int, SqliteSpool]) -> None:
        """The first of `shards` takes new mail."""
        self._shards = shards
        self._own = next(iter(shards.values()))
        self._opened: set[int] = set()

    async def open(self) -> None:
        """Open all that are not open yet. Raises OperatorError; what was opened before stays open until `close`."""
        for number, shard in self._shards.items():
            if number not in self._opened:
                await shard.open()
                self._opened.add(number)

    async def store(self, message: NewMessage, then: Then | None = None) -> tuple[QueuedRecipient, ...]:
        return await self._own.store(message, then)

    async def apply(self, changes: Sequence[Update | Remove], new: NewMessage | None = None) -> tuple[QueuedRecipient, ...]:
        """Write the changes shard by shard, the new message in one transaction with the last change: a report is in the
        shard of the recipient that it ends. What was written before a failure may be written again.
        """
        by_shard: dict[int, list[Update | Remove]] = {}
        for change in changes:
            by_shard.setdefault(shard_of(change.queue_id), []).append(change)
        last = shard_of(changes[-1].queue_id) if changes else next(iter(self._shards))
        in_last = by_shard.pop(last, [])
        for shard, some in by_shard.items():
            await self._of(shard).apply(some)
        return await self._of(last).apply(in_last, new)

    async def read(self, message_id: int, variant: int) -> bytes:
        return await self._of(shard_of(message_id)).read(message_id, variant)

    async def recover(self) -> AsyncIterator[Iterable[QueuedRecipient]]:
        for shard in self._shards.values():
            async for batch in shard.recover():
                yield batch

    def stats(self) -> SpoolStats:
        """Give the own shard's room, and the sizes and counts of all."""
        all_stats = [shard.stats() for shard in self._shards.values()]
        return replace(
            all_stats[0],
            database_bytes=sum(stats.database_bytes for stats in all_stats),
            commits=sum(stats.commits for stats in all_stats),
            stored=sum(stats.stored for stats in all_stats),
            removed=sum(stats.removed for stats in all_stats),
            set_aside=tuple(folder for stats in all_stats for folder in stats.set_aside),
        )

    async def close(self) -> None:
        for shard in self._shards.values():
            await shard.close()

    def _of(self, shard: int) -> SqliteSpool:
        if shard not in self._shards:
            raise SpoolError(f"shard {shard} of the spool is not this process's")
        return self._shards[shard]

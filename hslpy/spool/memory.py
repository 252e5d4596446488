"""The spool in memory, for tests and trials: the same contract, nothing survives but what `reopened` carries over.

In: messages. Out: ids, content, recovery. A test can make it fail or fill it.
"""

from __future__ import annotations

import asyncio
import copy
from collections.abc import AsyncIterator, Iterable, Sequence
from dataclasses import replace

from hslpy.spool.contract import (
    NewMessage,
    QueuedRecipient,
    Remove,
    SpoolDamaged,
    SpoolError,
    SpoolFull,
    SpoolStats,
    Then,
    Update,
)
from hslpy.spool.rows import content_of, queued_recipients, update_row


class MemorySpool:
    """Everything in dictionaries. `failing` makes each write raise SpoolError, `full` each new message SpoolFull."""

    def __init__(self) -> None:
        self._messages: dict[int, NewMessage] = {}
        self._rows: dict[int, QueuedRecipient] = {}
        self._next_id = 1
        self._commits = self._stored = self._removed = 0
        self._open = False
        self.failing = False
        self.full = False

    async def open(self) -> None:
        self._open = True

    def reopened(self) -> MemorySpool:
        """Give the spool as a restarted process would find it (to be opened)."""
        other = MemorySpool()
        other._messages = dict(self._messages)
        other._rows = copy.deepcopy(self._rows)
        other._next_id = self._next_id
        return other

    async def store(self, message: NewMessage, then: Then | None = None) -> tuple[QueuedRecipient, ...]:
        self._check_open()
        if self.full:
            raise SpoolFull("the spool was set full")
        task = asyncio.ensure_future(self._store(message, then))
        return await asyncio.shield(task)

    async def _store(self, message: NewMessage, then: Then | None) -> tuple[QueuedRecipient, ...]:
        entries = await self.apply((), message)
        if then is not None:
            then(entries)
        return entries

    async def apply(self, changes: Sequence[Update | Remove], new: NewMessage | None = None) -> tuple[QueuedRecipient, ...]:
        self._check_open()
        for change in changes:
            if isinstance(change, Update):
                update_row(change)  # refuses what may not be changed
        entries = queued_recipients(new, self._next_id) if new is not None else ()
        if self.failing:
            raise SpoolError("the spool was set to fail")
        if new is not None:
            self._next_id += len(entries)
            self._messages[entries[0].message_id] = new
            self._rows.update((entry.queue_id, replace(entry)) for entry in entries)
            self._stored += len(entries)
        for change in changes:
            if isinstance(change, Update) and change.queue_id in self._rows:
                for name, value in change.values.items():
                    setattr(self._rows[change.queue_id], name, value)
        for change in changes:
            if isinstance(change, Remove) and change.queue_id in self._rows:
                gone = self._rows.pop(change.queue_id)
                self._removed += 1
                count = len(self._messages[gone.message_id].recipients)
                if not any(other in self._rows for other in range(gone.message_id, gone.message_id + count)):
                    del self._messages[gone.message_id]
        self._commits += 1
        return entries

    async def read(self, message_id: int, variant: int) -> bytes:
        self._check_open()
        try:
            header, body = content_of(self._messages[message_id], variant)
        except LookupError as error:
            raise SpoolDamaged(f"no variant {variant} of message {message_id} in the spool") from error
        return header + body

    async def recover(self) -> AsyncIterator[Iterable[QueuedRecipient]]:
        self._check_open()
        waiting = [replace(self._rows[queue_id]) for queue_id in sorted(self._rows)]
        for start in range(0, len(waiting), 100):
            yield waiting[start : start + 100]

    def stats(self) -> SpoolStats:
        return SpoolStats(0 if self.full else 1 << 40, self.full, 0, self._commits, self._stored, self._removed)

    async def close(self) -> None:
        self._open = False

    def _check_open(self) -> None:
        if not self._open:
            raise SpoolError("the spool is not open")

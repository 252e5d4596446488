"""Changes of the queue on their way to the spool. In: changes. Out: the same, written as soon as the spool takes them.

What has happened already (an attempt was made) cannot be refused: if the spool fails to take it, it is owed and written
with the next change. Knows nothing of what the changes mean.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Coroutine, Iterable, Sequence
from typing import Any

from hslpy.clock import Clock
from hslpy.log import Log
from hslpy.queue.entries import named
from hslpy.spool.contract import NewMessage, QueuedRecipient, Remove, Spool, SpoolError, Update

_AGAIN_S = 1.0  # the wait before changes are written again that the spool failed to take


class Journal:
    """Writes to `spool`, from its making to `close` and `flush`. `behind` is True while changes are owed.

    `spawn` starts what goes on by itself; `resumed` is called when nothing is owed any more.
    """

    def __init__(
        self,
        spool: Spool,
        clock: Clock,
        log: Log,
        spawn: Callable[[Coroutine[Any, Any, None]], object],
        resumed: Callable[[], None],
    ) -> None:
        self._spool = spool
        self._clock = clock
        self._log = log
        self._spawn = spawn
        self._resumed = resumed
        self.behind = False
        self._owed: list[Update | Remove] = []  # written with the next
        self._carried = 0  # calls under way that write what is owed
        self._naps: set[asyncio.Future[None]] = set()
        self._closing = False

    def close(self) -> None:
        """Wait for the spool no longer."""
        self._closing = True
        for nap in self._naps:
            nap.cancel()

    async def flush(self) -> None:
        """Write what is still owed, for the last time."""
        if self._owed:
            try:
                await self.apply(())
            except SpoolError as error:
                self._log("queue.changes_lost", {"level": "error", "changes": len(self._owed), "error": error.message})

    async def apply(self, changes: Sequence[Update | Remove], new: NewMessage | None = None) -> tuple[QueuedRecipient, ...]:
        """Write changes in one commit, with a new message and what is owed; give the message's recipients.

        Raises SpoolError: nothing was written.
        """
        if not self._owed:
            return await self._spool.apply(changes, new)
        owed, self._owed = self._owed, []
        self._carried += 1
        try:
            return await self._spool.apply([*owed, *changes], new)
        except SpoolError as error:
            self._owe(owed, error)
            raise
        finally:
            self._carried -= 1

    async def record(self, entry: QueuedRecipient, change: Update | Remove) -> None:
        """Write what has happened already: if the spool fails to take it now, it is written with the next change."""
        try:
            await self.apply((change,))
        except SpoolError as error:
            if not error.unfit:
                self._owe([change], error)
            fields = {**named(entry), "error": error.message, "owed": len(self._owed)}
            self._log("queue.change_not_written", {"level": "error", **fields})

    async def nap(self) -> None:
        """Wait until the spool is to be tried again, or the queue closes."""
        nap = asyncio.ensure_future(self._clock.sleep(_AGAIN_S))
        self._naps.add(nap)
        await asyncio.wait([nap])
        self._naps.discard(nap)

    def _owe(self, changes: Iterable[Update | Remove], error: SpoolError) -> None:
        self._owed = [*changes, *self._owed]
        if not self.behind:
            self.behind = True
            self._log("queue.paused", {"level": "error", "error": error.message})
            self._spawn(self._catch_up())

    async def _catch_up(self) -> None:
        """Write what is owed as soon as the spool takes it, then let deliveries go on."""
        while self._owed or self._carried:
            await self.nap()
            if self._closing:
                return
            with contextlib.suppress(SpoolError):
                await self.apply(())
        self.behind = False
        self._log("queue.resumed", {})
        self._resumed()

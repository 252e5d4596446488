"""Whether a store answers. In: failures, and a way to look for it. Out: `reachable`, so that nobody waits in vain.

After a failure it counts as away at once; one task looks for it every `retry_s` and says when it is back.
Must not know what is kept there, nor what is answered in its place.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress

from hslpy.clock import Clock
from hslpy.log import Log
from hslpy.store.redis import RedisError

LOG_EVERY_S = 60.0
"""How often a store that stays away is told again."""


class Circuit:
    """One store, or one server of several. `probe` raises RedisError, OSError or TimeoutError while it is away.

    `name` begins its events: `<name>.store_unreachable` and so on. `answered` counts what was answered in its place since
    the process began; `changed` is called as `reachable` or `error` change. All times in seconds.
    """

    def __init__(
        self,
        name: str,
        probe: Callable[[], Awaitable[object]],
        timeout_s: float,
        retry_s: float,
        clock: Clock,
        log: Log,
        fields: Mapping[str, object] | None = None,
        changed: Callable[[], None] = lambda: None,
    ) -> None:
        self.reachable = True
        self.error = ""
        self.answered = 0
        self._name = name
        self._probe = probe
        self._timeout_s = timeout_s
        self._retry_s = retry_s
        self._clock = clock
        self._log = log
        self._fields = dict(fields or {})
        self._changed = changed
        self._looking: asyncio.Task[None] | None = None
        self._closed = False

    def failed(self, error: object) -> None:
        """Take the store for away from now on."""
        if not self.reachable or self._closed:
            return
        self.reachable = False
        self.error = str(error) or f"no answer within {self._timeout_s:g} s"
        self._changed()
        self._log(f"{self._name}.store_unreachable", {"level": "error", "error": self.error, **self._fields})
        self._looking = asyncio.get_running_loop().create_task(self._look(self.answered))

    async def close(self) -> None:
        """Look no more."""
        self._closed = True
        if self._looking is not None:
            self._looking.cancel()
            with suppress(asyncio.CancelledError):
                await self._looking

    async def _look(self, answered_before: int) -> None:
        since = logged_at = self._clock.monotonic()
        while True:
            await self._clock.sleep(self._retry_s)
            try:
                async with asyncio.timeout(self._timeout_s):
                    await self._probe()
                break
            except (RedisError, OSError, TimeoutError) as error:
                self.error = str(error) or self.error
                self._changed()
            now = self._clock.monotonic()
            if now - logged_at >= LOG_EVERY_S:
                logged_at = now
                fields = {"level": "error", "error": self.error, "answered": self.answered - answered_before, **self._fields}
                self._log(f"{self._name}.store_still_unreachable", fields)
        self.reachable = True
        self.error = ""
        self._changed()
        away_s = round(self._clock.monotonic() - since, 3)
        self._log(
            f"{self._name}.store_reachable", {"answered": self.answered - answered_before, "away_s": away_s, **self._fields}
        )

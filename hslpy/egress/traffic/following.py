"""A mail process's link to the database of delivery IPs: the picture it goes by, and what it tells of what it saw.

In: a URL. Out: pictures, given to `Departures` and to whoever asked. The database and SQLAlchemy with it are opened in a
thread, by a task that never holds up mail; while they are away the last picture stays, or the copy of it on disk.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from hslpy.clock import Clock
from hslpy.egress.rules.book import Sender
from hslpy.egress.traffic import picture_copy
from hslpy.egress.traffic.departures import Departures
from hslpy.log import Log

if TYPE_CHECKING:
    from hslpy.egress.store.database import Database
    from hslpy.egress.store.faults import Trouble
    from hslpy.egress.traffic.picture import Follower, Picture

_OPEN_AGAIN_S = 1.0
_LOOK_S = 0.5
_TELL_S = 5.0
_TOLD_AGAIN_S = 60.0
_STOP_S = 6.0  # above the time that PostgreSQL has to answer a connection
_MOST_SEEN = 10_000
_FORGET_SEEN_S = 3600.0


class Following:
    """One process's. `opened` is done when the database is, with it; `known` is set while there is a picture."""

    def __init__(
        self,
        url: str,
        hostname: str,
        departures: Departures,
        folder: Path,
        clock: Clock,
        log: Log,
        *,
        changed: Callable[[], None] = lambda: None,
        keeps_copy: bool = True,
        prepare: Callable[[Database], Callable[[], None]] = lambda database: lambda: None,
    ) -> None:
        """`changed` is called in the event loop with each new picture; `keeps_copy`: the copy in `folder` is this one's.

        `prepare` is called with the database, in a thread, and what it gives in the event loop, both before the database's
        first picture is gone by.
        """
        self._prepare = prepare
        self.opened: asyncio.Future[Database] | None = None
        self.known = asyncio.Event()
        self._url = url
        self._hostname = hostname
        self._departures = departures
        self._folder = folder
        self._keeps_copy = keeps_copy
        self._changed = changed
        self._clock = clock
        self._log = log
        self._follower: Follower | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._task: asyncio.Task[None] | None = None
        self._missing: dict[str, tuple[float, str]] = {}
        self._seen: set[Sender] = set()
        self._told: dict[Sender, float] = {}
        self._noted = -1  # the revision that the database has been told this node goes by
        departures.alarm = self._could_not_bind
        departures.saw = self.saw

    def start(self) -> None:
        self._loop = asyncio.get_running_loop()
        self.opened = self._loop.create_future()
        self._task = asyncio.create_task(self._run())

    async def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task], timeout=_STOP_S)
        if self.opened is not None and self.opened.done() and not self.opened.cancelled():
            await asyncio.to_thread(self._tell, self.opened.result(), *self._taken())
            if self._follower is not None:
                await asyncio.to_thread(self._follower.stop)
            self.opened.result().close()
        elif self.opened is not None:
            self.opened.cancel()

    async def look(self) -> int:
        """Take in what has changed, now, and give the revision that holds; while the database is away that is the last."""
        if self._follower is not None:
            with contextlib.suppress(Exception):  # `fault` tells of it with the next look
                await asyncio.to_thread(self._follower.refresh)
        picture = self._departures.picture
        return picture.revision if picture is not None else -1

    def saw(self, sender: Sender) -> None:
        """Remember that a message had an identity, for suggestions."""
        now = self._clock.monotonic()
        if not (sender.domain and sender.identity) or now < self._told.get(sender, 0.0) or len(self._seen) >= _MOST_SEEN:
            return
        if len(self._told) >= _MOST_SEEN:
            self._told.clear()
        self._told[sender] = now + _FORGET_SEEN_S
        self._seen.add(sender)

    async def _run(self) -> None:
        database = await self._opened()
        assert self.opened is not None
        self.opened.set_result(database)
        told, tell_at = "", self._clock.monotonic() + _TELL_S
        while True:
            await self._clock.sleep(_LOOK_S)
            now = self._follower.fault if self._follower is not None else None
            if now is None and told:
                self._log("egress.back", {})
            elif now is not None and now.reason != told:
                self._log("egress.away", {"level": "error", "reason": now.reason, "hint": now.hint})
            told = now.reason if now is not None else ""
            is_time = self._clock.monotonic() >= tell_at
            if now is None and is_time and self._is_unnoted:
                tell_at = self._clock.monotonic() + _TELL_S
                await asyncio.to_thread(self._note, database)
            if now is None and (self._missing or (self._seen and is_time)):
                tell_at = self._clock.monotonic() + _TELL_S
                await asyncio.to_thread(self._tell, database, *self._taken())

    async def _opened(self) -> Database:
        """Open the database, as often as it takes."""
        told_at, tries = -_TOLD_AGAIN_S, 0
        while True:
            try:
                database, prepared = await asyncio.to_thread(self._open)
                prepared()
                await asyncio.to_thread(self._follow, database)
                return database
            except Exception as error:
                tries += 1
                if tries == 1:
                    await asyncio.to_thread(self._read_copy)
                now = self._clock.monotonic()
                if now >= told_at + _TOLD_AGAIN_S:
                    told_at = now
                    goes_on = "with the copy of the last settings" if self._departures.picture is not None else "mail waits"
                    why = await asyncio.to_thread(_trouble_of, error)
                    fields = {"level": "error", "reason": why.reason, "hint": why.hint, "delivery": goes_on}
                    self._log("egress.not_opened", fields)
                await self._clock.sleep(_OPEN_AGAIN_S)

    def _open(self) -> tuple[Database, Callable[[], None]]:
        from hslpy.egress.store.database import Database  # a third of a second, which the start has no time for

        database = Database(self._url, self._clock)
        try:
            database.open(former=picture_copy.former(self._folder, database.place))
            return database, self._prepare(database)
        except BaseException:
            database.close()
            raise

    def _follow(self, database: Database) -> None:
        from hslpy.egress.accounts.nodes import ensure_node
        from hslpy.egress.rules.names import Refused
        from hslpy.egress.store.database import Actor
        from hslpy.egress.traffic.picture import Follower

        try:
            try:
                ensure_node(database, Actor("node"), self._hostname)
            except Refused as error:
                self._say("egress.no_node", {"level": "warning", "hostname": self._hostname, "reason": error.message})
            follower = Follower(database, lambda picture: self._take(database, picture))
            follower.start()
        except BaseException:
            database.close()
            raise
        self._follower = follower

    def _take(self, database: Database, picture: Picture) -> None:
        """Go by a picture from now on, and say so; in the thread that made it."""
        self._departures.picture = picture
        self._in_loop(self._has_changed)
        if self._keeps_copy:
            self._write_copy(database, picture)
            self._note(database)

    @property
    def _is_unnoted(self) -> bool:
        picture = self._departures.picture
        return self._keeps_copy and picture is not None and picture.revision != self._noted

    def _note(self, database: Database) -> None:
        """Tell the database which revision this node goes by; where that fails it is told later."""
        from hslpy.egress.accounts.nodes import has_applied

        picture = self._departures.picture
        assert picture is not None
        with contextlib.suppress(Exception):  # whatever it is: the settings hold, and who writes what matters tells of it
            has_applied(database, self._departures.node, picture.revision)
            self._noted = picture.revision

    def _has_changed(self) -> None:
        self.known.set()
        self._changed()

    def _in_loop(self, call: Callable[[], None]) -> None:
        if self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(call)

    def _say(self, event: str, fields: dict[str, object]) -> None:
        self._in_loop(lambda: self._log(event, fields))

    # ---- the copy

    def _write_copy(self, database: Database, picture: Picture) -> None:
        try:
            picture_copy.write(self._folder, database.place, database.key, picture, self._clock.time())
        except OSError as error:
            file = self._folder / picture_copy.FILE
            self._say("egress.copy_not_written", {"level": "warning", "file": file, "reason": str(error)})

    def _read_copy(self) -> None:
        """Go by the copy of the last picture, if there is one of this version."""
        try:
            found = picture_copy.read(self._folder)
        except picture_copy.Unusable as error:
            file = self._folder / picture_copy.FILE
            self._say("egress.copy_unusable", {"level": "warning", "file": file, "reason": str(error)})
            return
        if found is None:
            return
        picture, saved_at = found
        self._departures.picture = picture
        age_s = round(self._clock.time() - saved_at)
        self._say("egress.from_copy", {"level": "warning", "age_s": age_s, "revision": picture.revision})
        self._in_loop(self._has_changed)

    # ---- what it tells

    def _could_not_bind(self, address: str, until: float, reason: str) -> None:
        self._missing[address] = (until, reason)

    def _taken(self) -> tuple[dict[str, tuple[float, str]], set[Sender]]:
        """Give what is to be told, and begin anew; in the loop's thread, in which it is added to."""
        taken = self._missing, self._seen
        self._missing, self._seen = {}, set()
        return taken

    def _give_back(self, missing: dict[str, tuple[float, str]], seen: set[Sender]) -> None:
        self._missing = {**missing, **self._missing}
        self._seen |= seen

    def _tell(self, database: Database, missing: dict[str, tuple[float, str]], seen: set[Sender]) -> None:
        from hslpy.egress.accounts.directory import saw_identities
        from hslpy.egress.addresses.inventory import cannot_bind

        try:
            if missing:
                with database.keep() as session:
                    for address, (until, reason) in missing.items():
                        cannot_bind(session, self._departures.node, address, until, reason)
            if seen:
                saw_identities(database, [(one.domain, one.username, one.identity) for one in seen])
        except Exception as error:  # the task goes on, whatever it is
            reason = str(error).partition("\n")[0]
            self._say("egress.not_told", {"level": "warning", "reason": reason})
            self._in_loop(lambda: self._give_back(missing, seen))


def _trouble_of(error: Exception) -> Trouble:
    from hslpy.egress.store.faults import trouble_of

    return trouble_of(error)

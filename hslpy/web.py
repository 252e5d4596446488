"""The process of page and API, beside that of the mail server, and who keeps it running. In: `Settings`. Out: a web server.

`python -m hslpy.web`, which only `WebProcess` starts: what is to run comes on its standard input, as a length of 8 bytes and
pickled `Settings`; when that ends, so does the process. Whatever happens to it, mail goes on.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import pickle
import signal
import sys
import traceback
from functools import partial
from typing import TYPE_CHECKING, BinaryIO

from hslpy.clock import Clock, SystemClock
from hslpy.config import Settings
from hslpy.dns.hosts import addresses_of
from hslpy.dns.resolver import DnsResolver
from hslpy.errors import OperatorError
from hslpy.event_log import EventLog, set_up_logging
from hslpy.log import Log
from hslpy.startup import run

if TYPE_CHECKING:
    from hslpy.admin.agent import Agent
    from hslpy.egress.store.database import Database

COMMAND = (sys.executable, "-m", "hslpy.web")
HEALTHY_S = 30.0  # who ran so long is started again after the shortest wait
FIRST_WAIT_S, LONGEST_WAIT_S = 1.0, 60.0
LEAVE_S = 6.0  # beyond what requests under way are given


class WebProcess:
    """The process, kept running from `start` to `stop`: one that ends is started again, after a wait that grows."""

    def __init__(self, settings: Settings, log: Log, clock: Clock | None = None) -> None:
        self._settings = settings
        self._log = log
        self._clock = clock or SystemClock()
        self._process: asyncio.subprocess.Process | None = None
        self._keeper: asyncio.Task[None] | None = None
        self._stopping = False

    def start(self) -> None:
        self._keeper = asyncio.create_task(self._keep())

    async def stop(self) -> None:
        """Let requests under way end, and end the process."""
        self._stopping = True
        if self._keeper is None:
            return
        if self._process is None:
            self._keeper.cancel()
        else:
            with contextlib.suppress(ProcessLookupError):
                self._process.terminate()
        await asyncio.wait([self._keeper], timeout=LEAVE_S)
        if not self._keeper.done() and self._process is not None:
            with contextlib.suppress(ProcessLookupError):
                self._process.kill()
        await asyncio.gather(self._keeper, return_exceptions=True)

    async def _keep(self) -> None:
        wait_s = FIRST_WAIT_S
        while not self._stopping:
            began = self._clock.monotonic()
            try:
                why: object = await self._run()
            except OSError as error:
                why = f"it can't be started: {error.strerror or error}"
            self._process = None
            if self._stopping:
                return
            wait_s = FIRST_WAIT_S if self._clock.monotonic() - began >= HEALTHY_S else wait_s
            self._log("admin.ended", {"level": "error", "status": why, "again_in_s": wait_s})
            await self._clock.sleep(wait_s)
            wait_s = min(2 * wait_s, LONGEST_WAIT_S)

    async def _run(self) -> int:
        """Start a process, and give its status when it has ended. Raises OSError."""
        content = pickle.dumps(self._settings)
        self._process = process = await asyncio.create_subprocess_exec(
            *COMMAND,
            stdin=asyncio.subprocess.PIPE,
            start_new_session=True,  # Ctrl-C is the server's to hear
        )
        try:
            assert process.stdin is not None
            process.stdin.write(len(content).to_bytes(8, "big") + content)
            with contextlib.suppress(ConnectionError):
                await process.stdin.drain()
            return await process.wait()
        finally:
            if process.returncode is None:
                with contextlib.suppress(ProcessLookupError):
                    process.kill()


def main() -> int:
    """Serve until standard input ends, or a SIGTERM."""
    settings = _received(sys.stdin.buffer)
    if settings is None:
        return 0
    os.umask(0o077)
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    events = set_up_logging(sys.stderr, settings.log_level, settings.log_format, SystemClock(), process="web")
    status: int = run(lambda: _serve(settings, events), uvloop=settings.uvloop)
    return status


def _received(stream: BinaryIO) -> Settings | None:
    size = int.from_bytes(stream.read(8), "big")
    content = stream.read(size)
    if not content or len(content) < size:
        return None  # the server is gone already
    settings: Settings = pickle.loads(content)
    return settings


async def _serve(settings: Settings, events: EventLog) -> int:
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGTERM, stopping.set)
    loop.add_reader(sys.stdin.fileno(), stopping.set)  # nothing more comes but its end
    clock, log = SystemClock(), events.write
    # What serving takes is imported here, and not by the process of the mail server, which has no time for it.
    from hslpy.admin.agent import Agent
    from hslpy.admin.server import WebServer
    from hslpy.admin.web import web_app
    from hslpy.client.http import AiohttpClient
    from hslpy.egress.store.database import Database

    node = settings.hostname.lower().removesuffix(".")
    database = Database(settings.egress.database or "", clock)
    loopback = settings.delivery.allow_private_targets
    http = AiohttpClient(settings.http, clock, partial(addresses_of, DnsResolver(settings.resolver, clock)), log)
    agent = Agent(database, node, settings.resolver, http, settings.control_path, clock, log, allow_loopback=loopback)
    if not await _prepared(settings, database, agent, stopping, log):
        return 0
    server = WebServer(web_app(agent.of_requests()), settings.admin, settings.hostname, settings.admin_path, clock, log)
    serving, working = asyncio.create_task(server.run()), asyncio.create_task(agent.run())
    told = asyncio.create_task(stopping.wait())
    await asyncio.wait((serving, working, told), return_when=asyncio.FIRST_COMPLETED)
    server.stop()
    working.cancel()
    ended = await asyncio.gather(serving, working, return_exceptions=True)
    told.cancel()
    await agent.close()
    await http.close()
    database.close()
    faults = [one for one in ended if isinstance(one, Exception)]
    for fault in faults:
        text = "".join(traceback.format_exception(fault))
        log("admin.fault", {"level": "error", "path": "", "error": repr(fault), "text": text})
    return 1 if faults else 0


async def _prepared(settings: Settings, database: Database, agent: Agent, stopping: asyncio.Event, log: Log) -> bool:
    """Open the database as soon as that can be done, and see that somebody can sign in; False where it is to stop before."""
    from hslpy.egress.accounts import admins
    from hslpy.egress.store.faults import DatabaseFault, trouble_of
    from hslpy.egress.traffic import picture_copy

    wait_s, told = FIRST_WAIT_S, ""
    while not stopping.is_set():
        try:
            former = picture_copy.former(settings.data_dir, database.place)
            await asyncio.to_thread(database.open, former=former)
            await asyncio.to_thread(agent.prepare)
            password = await asyncio.to_thread(admins.first_admin, database)
        except (OperatorError, DatabaseFault) as error:
            trouble = trouble_of(error)
            if trouble.reason != told:
                told = trouble.reason
                log("admin.no_database", {"level": "error", "why": trouble.reason, "hint": trouble.hint})
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(wait_s):
                    await stopping.wait()
            wait_s = min(2 * wait_s, LONGEST_WAIT_S / 4)
            continue
        if password is not None:
            print(_first(settings, admins.FIRST, password), flush=True)
        return True
    return False


def _first(settings: Settings, name: str, password: str) -> str:
    """Give what the operator is told once. It goes to standard output alone, and never to the log."""
    pages = [settings.admin.url(address) for address in settings.admin.addresses]
    return "\n".join(
        [
            f"The first administrator{', who signs in at ' + pages[0] if pages else ''}:",
            f"  name        {name}",
            f"  password    {password}",
            f"This password is not shown again. `hslpy admin set {name} --password` sets another.",
        ]
    )


if __name__ == "__main__":
    sys.exit(main())

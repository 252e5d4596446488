"""A mail server as far as pages ask it: a real queue and its attempts behind a real control socket, in a thread."""

from __future__ import annotations

import asyncio
import random
import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from hslpy.admin.control import ControlServer
from hslpy.admin.queue_commands import queue_commands
from hslpy.admin.recent import Recent, recent_commands
from hslpy.clock import Clock
from hslpy.log import no_log
from hslpy.queue.queue import Queue, QueueSettings
from hslpy.spool.contract import QueuedRecipient
from hslpy.spool.memory import MemorySpool
from tests.spool.messages import message, recipient


class MailServer:
    """`path` is its control socket. `do` runs a coroutine function in its loop."""

    def __init__(self, path: Path, clock: Clock) -> None:
        self.path = path
        self.spool = MemorySpool()
        self.recent = Recent(clock)
        self.queue = Queue(self.spool, QueueSettings(), clock, random.Random(1), no_log)
        self.loop = asyncio.new_event_loop()

    def do(self, work: Callable[[], Awaitable[Any]]) -> Any:
        async def run() -> Any:
            return await work()

        return asyncio.run_coroutine_threadsafe(run(), self.loop).result(10)

    def accept(self, *recipients: Any, **fields: Any) -> list[QueuedRecipient]:
        return list(self.do(lambda: self.queue.accept(message(*recipients, **fields))))


@contextmanager
def mail_server(path: Path, clock: Clock) -> Iterator[MailServer]:
    server = MailServer(path, clock)
    thread = threading.Thread(target=server.loop.run_forever, daemon=True)
    thread.start()
    handlers = {**queue_commands(server.queue, server.spool), **recent_commands(server.recent)}
    control = ControlServer(path, handlers, no_log)
    server.do(server.spool.open)
    server.do(server.queue.open)
    server.do(control.start)
    try:
        yield server
    finally:
        for work in (control.stop, server.queue.close, server.spool.close):
            server.do(work)
        server.loop.call_soon_threadsafe(server.loop.stop)
        thread.join(60)
        server.loop.close()


__all__ = ["MailServer", "mail_server", "message", "recipient"]

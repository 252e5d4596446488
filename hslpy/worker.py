"""One worker of several: a server over its shards of the queue, told by its supervisor what to do. In: a socket. Out: mail.

`python -m hslpy.worker --worker N --hub FD`, which only the supervisor starts: `FD` is its end of the link. What is to run
comes first on it, as a length of 8 bytes and a pickled `startup.Start`; after that it is an `admin.hub.Link`.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import os
import pickle
import signal
import socket
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from hslpy.admin.control import Handler
from hslpy.admin.exchange import Exchange
from hslpy.admin.hub import Link
from hslpy.admin.node_quotas import NodeQuotas
from hslpy.app import App, Node, Overrides
from hslpy.clock import SystemClock
from hslpy.errors import OperatorError
from hslpy.event_log import EventLog, set_up_logging
from hslpy.startup import STOP_GRACE_S, Start, run
from hslpy.store.leases import Leases

ORPHAN_GRACE_S = 2.0  # without a supervisor it makes room soon: a new one waits for its shards


def main(argv: Sequence[str] | None = None, overrides: Overrides | None = None) -> int:
    """Run until told to stop, or until the supervisor is gone. `overrides` are a benchmark's."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--worker", type=int, help="its number, for the list of processes")
    parser.add_argument("--hub", type=int, required=True, metavar="FD")
    hub = socket.socket(fileno=parser.parse_args(argv).hub)
    try:
        start = _received(hub)
    except (OSError, EOFError):
        return 0  # the supervisor has gone, or has found that it can't start
    os.umask(0o077)
    settings = start.settings
    events = set_up_logging(sys.stderr, settings.log_level, settings.log_format, SystemClock(), worker=start.worker)
    status: int = run(lambda: _work(start, hub, overrides or Overrides(), events), uvloop=settings.uvloop)
    return status


def _received(hub: socket.socket) -> Start:
    def exactly(size: int) -> bytes:
        parts = bytearray()
        while len(parts) < size:
            part = hub.recv(min(size - len(parts), 1 << 20))
            if not part:
                raise EOFError
            parts += part
        return bytes(parts)

    start: Start = pickle.loads(exactly(int.from_bytes(exactly(8), "big")))
    return start


async def _work(start: Start, hub: socket.socket, overrides: Overrides, events: EventLog) -> int:
    loop = asyncio.get_running_loop()
    stopping: asyncio.Future[float] = loop.create_future()

    def stop(grace_s: float) -> None:
        if not stopping.done():
            stopping.set_result(grace_s)

    loop.add_signal_handler(signal.SIGTERM, stop, STOP_GRACE_S)
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)  # the supervisor's to obey
    slots = Leases(lambda kind, values: link.tell(kind, values))
    questions: dict[str, Handler] = {}
    notes: dict[str, Callable[..., None]] = {"granted": slots.granted, "recall": slots.recall, "stop": stop}
    link = Link(notes, questions, lambda: stop(ORPHAN_GRACE_S), events.write)
    queues = Exchange(link, SystemClock(), start.settings.queue.max_metric_sets)
    notes |= {"total": queues.told_total, "cells": queues.told_cells}
    await link.connect(hub)
    try:
        app = App(
            start.settings,
            replace(overrides, log=events.write),
            Node(start.worker, start.workers, slots, start.scripts, queues, NodeQuotas(link)),
        )
        await app.start()
    except OperatorError as error:
        link.tell("failed", [error.message, error.hint, error.exit_code])
        link.close()
        await asyncio.sleep(0)
        return error.exit_code

    async def reload(arguments: Any) -> bool:
        await app.hooks.reload(pickle.loads(base64.b64decode(arguments["scripts"])))
        return not arguments["everything"] or await app.refresh(everything=True)

    queues.queue = app.queue
    questions |= {**app.commands, "reload": reload, "track": queues.track}
    link.tell("started", [len(app.queue)])
    publishing = asyncio.create_task(queues.keep_publishing())
    grace_s = await stopping
    publishing.cancel()
    await app.stop(grace_s)
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""The server under `hour.py`: the real one, with a clock that a file moves and a DNS of its own.

usage: python -m tests.soak.hour_server FOLDER
FOLDER has hslpy.toml, zone.json (name to record type to answers), and `offset`, the seconds that the clock is wrong by.
`stats.json` there says each second what only the process itself knows.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import json
import os
import signal
import sys
import threading
from pathlib import Path

from hslpy.app import App, Overrides
from hslpy.clock import SystemClock
from hslpy.config import read_settings
from hslpy.dns.contract import Answer
from hslpy.dns.scripted import ScriptedResolver
from hslpy.event_log import EventLog, set_up_logging
from hslpy.startup import run


class SteppedClock(SystemClock):
    """The machine's clock, set wrong by `offset_s`: as by an operator, or by a time server after a long sleep."""

    offset_s = 0.0

    def time(self) -> float:
        return super().time() + self.offset_s


class ForgetfulResolver(ScriptedResolver):
    """Keeps no record of what was asked: that would grow."""

    async def query(self, name: str, record_type: object, servers: object = ()) -> Answer:
        self.queries.clear()
        return await super().query(name, record_type, servers)  # type: ignore[arg-type]


async def _watch(app: App, clock: SteppedClock, folder: Path) -> None:
    objects, turn, lag_s = 0, 0, 0.0
    while True:
        with contextlib.suppress(OSError, ValueError):
            clock.offset_s = float((folder / "offset").read_text())
        if turn % 10 == 5:
            objects = len(gc.get_objects())
        turn += 1
        stats = {
            "tasks": len(asyncio.all_tasks()),
            "threads": threading.active_count(),
            "queue": len(app.queue),
            "connections": len(app.smtp.connections),
            "data_bytes": app.smtp.shared.data_bytes,
            "objects": objects,
            "lag_ms": round(lag_s * 1000),  # how much longer than wanted the loop slept, at most in ten seconds
        }
        (folder / "stats.new").write_text(json.dumps(stats))
        (folder / "stats.new").replace(folder / "stats.json")
        if turn % 10 == 0:
            lag_s = 0.0
        before = clock.monotonic()
        while clock.monotonic() - before < 1.0:
            at = clock.monotonic()
            await asyncio.sleep(0.05)
            lag_s = max(lag_s, clock.monotonic() - at - 0.05)


async def serve(folder: Path, clock: SteppedClock, events: EventLog) -> None:
    stopping = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stopping.set)
    zone = {
        name: {kind: [tuple(each) if kind == "MX" else each for each in answers] for kind, answers in records.items()}
        for name, records in json.loads((folder / "zone.json").read_text()).items()
    }
    resolver = ForgetfulResolver(zone)
    app = App(read_settings(folder / "hslpy.toml", {}), Overrides(clock=clock, resolver=resolver, log=events.write))
    await app.start()
    watching = asyncio.create_task(_watch(app, clock, folder))
    (folder / "port").write_text(str(app.listening[0][1]))
    await stopping.wait()
    watching.cancel()
    await app.stop(10.0)


def main() -> None:
    folder = Path(sys.argv[1])
    os.umask(0o077)
    clock = SteppedClock()
    events = set_up_logging(sys.stderr, "info", "text", clock)
    run(lambda: serve(folder, clock, events), uvloop=True)


if __name__ == "__main__":
    main()

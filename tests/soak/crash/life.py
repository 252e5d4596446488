"""A life of the server under test, in a process forked for it: started, then loaded until it is killed, or drained.

The server is the whole App. Its log is noted event by event, so that what it had recorded is known after its death.
"""

from __future__ import annotations

import asyncio
import os
import signal
import threading
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hslpy.app import App, Overrides
from hslpy.config import Settings
from hslpy.dns.scripted import ScriptedResolver
from hslpy.spool import schema, segments, writer
from hslpy.startup import run
from tests.soak.crash import marks
from tests.support import disk_shim

# what became of recipients, and nothing else
_RECORDED = frozenset({"delivery.delivered", "delivery.bounced", "delivery.deleted"})
_DRAIN_S = 30.0


@dataclass(frozen=True, slots=True)
class Plan:
    """How a life ends: at the `count`th pass of the mark `step`, at the I/O call number `calls`, or when drained.

    `calls_from` is `start` or `listening`. `small` makes checkpoints and vacuums frequent.
    """

    step: str = ""
    count: int = 0
    calls: int = -1
    calls_from: str = "listening"
    torn: bool = False
    drain: bool = False
    small: bool = False


class _Notes:
    def __init__(self, path: Path) -> None:
        self._descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)

    def log(self, event: str, fields: Mapping[str, object]) -> None:
        if event in _RECORDED:
            self.write(f"{event} {fields['recipient']}")
        elif fields.get("level") == "error":
            self.write(f"error {event} {dict(fields)!r}".replace("\n", " | "))

    def write(self, text: str) -> None:
        os.write(self._descriptor, f"{text}\n".encode("utf-8", "replace"))


def live(settings: Settings, notes: Path, reached: Path, ready: int, plan: Plan) -> None:
    """Run the server by the plan; its port is written to `ready` when it listens."""
    log = _Notes(notes)
    passed: Counter[str] = Counter()
    lock = threading.Lock()
    coverage = os.open(reached, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)

    def at(step: str) -> None:
        with lock:
            passed[step] += 1
            if passed[step] == 1:
                os.write(coverage, f"{step}\n".encode())
            if step == plan.step and passed[step] == plan.count:
                os.kill(os.getpid(), signal.SIGKILL)

    marks.install(at)
    small: Any = writer
    small._SEGMENT_BODY_BYTES, small._SEGMENT_BATCH_BYTES = 2000, 3000  # six clients fill no large batch
    segments.SEGMENT_BYTES = 1 << 20
    if plan.small:
        segments.SEGMENT_BYTES = 50_000
        small._SPARE_PAGES, small._IDLE_S, small._VACUUM_PAGES = 2, 0.01, 4
        schema.CHECKPOINT_PAGES = 20
    if plan.calls >= 0 and plan.calls_from == "start":
        disk_shim.kill_after(plan.calls, torn=plan.torn)

    async def main() -> None:
        app = App(settings, Overrides(resolver=ScriptedResolver(), log=log.log))
        await app.start()
        os.write(ready, b"%d\n" % app.listening[0][1])
        if plan.calls >= 0 and plan.calls_from == "listening":
            disk_shim.kill_after(plan.calls, torn=plan.torn)
        if not plan.drain:
            await asyncio.sleep(60)
            return
        await _drained(app, log)
        await app.stop(2.0)

    run(main, uvloop=settings.uvloop)


async def _drained(app: App, log: _Notes) -> None:
    """Wait until all but held mail is gone, release that, and wait until it is gone too."""
    try:
        async with asyncio.timeout(_DRAIN_S):
            while True:
                held = [entry.queue_id for entry in (await app.queue.list(limit=100_000))[1] if entry.hold]
                if len(app.queue) == len(held) and not app.queue.in_flight:
                    break
                await asyncio.sleep(0.01)
            log.write(f"held {len(held)}")
            await app.queue.release(held)
            while len(app.queue):
                await asyncio.sleep(0.01)
    except TimeoutError:
        left = (await app.queue.list(limit=20))[1]
        log.write(f"error not drained: {[(str(each.recipient), app.queue.state(each), each.last_error) for each in left]}")

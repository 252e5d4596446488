"""The server under `drain.py`: the real one, that keeps what it accepts until SIGUSR1, and then delivers.

usage: python -m tests.bench.drain_server SETTINGS
"""

import asyncio
import signal
import sys
from pathlib import Path

from hslpy.app import App, Overrides
from hslpy.clock import SystemClock
from hslpy.config import read_settings
from hslpy.delivery.plan import OwnListeners
from hslpy.event_log import EventLog, set_up_logging
from hslpy.startup import run


async def serve(settings_file: Path, events: EventLog) -> None:
    loop, stopping, released = asyncio.get_running_loop(), asyncio.Event(), asyncio.Event()
    loop.add_signal_handler(signal.SIGTERM, stopping.set)
    loop.add_signal_handler(signal.SIGUSR1, released.set)
    app = App(read_settings(settings_file, {}), Overrides(deliver=False, log=events.write))
    await app.start()
    own = OwnListeners(frozenset((host, port) for host, port, _ in app.listening))
    ending = asyncio.create_task(stopping.wait())
    while not stopping.is_set():
        releasing = asyncio.create_task(released.wait())
        await asyncio.wait({releasing, ending}, return_when=asyncio.FIRST_COMPLETED)
        releasing.cancel()
        if not stopping.is_set():
            released.clear()
            await app.delivery.start(own)
            while len(app.queue) and not stopping.is_set():
                await asyncio.sleep(0.05)
            await app.delivery.stop()  # the next filling is kept again
    await app.stop(1.0)


def main() -> None:
    events = set_up_logging(sys.stderr, "info", "text", SystemClock())
    run(lambda: serve(Path(sys.argv[1]), events), uvloop=True)


if __name__ == "__main__":
    main()

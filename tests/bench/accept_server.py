"""The server under `accept.py`: the real one, with scanners that answer at once and without delivery.

usage: python -m tests.bench.accept_server PORT FOLDER REDIS_URL
"""

import asyncio
import signal
import sys
from pathlib import Path

from hslpy.app import App, Overrides, run
from hslpy.clock import SystemClock
from hslpy.config import read_settings
from hslpy.event_log import EventLog, set_up_logging
from hslpy.scan.contract import RspamdResult, ScanRequest, SpamScore


class InstantSpamAssassin:
    """A stand-in that answers at once: score 7, so that both rate limits of the DATA policy are checked."""

    async def scan(self, request: ScanRequest) -> SpamScore:
        return SpamScore(7.0)

    async def close(self) -> None:
        pass


class InstantRspamd:
    """A stand-in that answers at once: class 50."""

    async def scan(self, request: ScanRequest) -> RspamdResult:
        return RspamdResult(7.0, 15.0, "add header", 50)

    async def close(self) -> None:
        pass


async def serve(folder: Path, events: EventLog) -> None:
    stopping = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stopping.set)
    overrides = Overrides(spamassassin=InstantSpamAssassin(), rspamd=InstantRspamd(), deliver=False, log=events.write)
    app = App(read_settings(folder / "hslpy.toml", {}), overrides)
    await app.start()
    await stopping.wait()
    await app.stop(1.0)


def main() -> None:
    port, folder, redis_url = int(sys.argv[1]), Path(sys.argv[2]), sys.argv[3]
    (folder / "hslpy.toml").write_text(
        f"""[server]
hostname = "bench.test"
data_dir = "data"
[[listen]]
port = {port}
[hooks]
rcptto = "rcptto.hsl"
data = "data.hsl"
[rate]
store = "redis"
[redis]
url = "{redis_url}"
[log]
level = "info"
"""
    )
    events = set_up_logging(sys.stderr, "info", "text", SystemClock())
    run(lambda: serve(folder, events), uvloop=True)


if __name__ == "__main__":
    main()

"""The server under `accept.py`: the real one, with scanners that answer at once and without delivery.

usage: python -m tests.bench.accept_server PORT FOLDER REDIS_URL [WORKERS [DATABASE]]

DATABASE is a URL of delivery IPs, in which the sender's domain is made a customer with an address; without one
there is none.
"""

import asyncio
import signal
import sys
from dataclasses import replace
from pathlib import Path

from sqlalchemy import insert

from hslpy import worker
from hslpy.app import App, Overrides
from hslpy.clock import SystemClock
from hslpy.config import read_settings
from hslpy.egress.accounts import directory
from hslpy.egress.accounts.nodes import add_node
from hslpy.egress.delivery_ips import settings
from hslpy.egress.store import tables
from hslpy.egress.store.database import Actor, Database
from hslpy.event_log import EventLog, set_up_logging
from hslpy.scan.contract import RspamdResult, ScanRequest, SpamScore
from hslpy.startup import run
from hslpy.supervisor import Supervisor

ROOT = Actor("root", "cli")


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


STAND_INS = Overrides(spamassassin=InstantSpamAssassin(), rspamd=InstantRspamd(), deliver=False)


async def serve(folder: Path, events: EventLog) -> None:
    stopping = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stopping.set)
    given = read_settings(folder / "hslpy.toml", {})
    server: App | Supervisor
    if given.workers == 1:
        server = App(given, replace(STAND_INS, log=events.write))
    else:
        server = Supervisor(given, events.write, command=(sys.executable, "-m", "tests.bench.accept_server"))
    await server.start()
    await stopping.wait()
    await server.stop(1.0)


def fill(url: str) -> None:
    """Make the sender of the benchmark a customer, one of a thousand, with an address on this node."""
    database = Database(url, SystemClock())
    database.open()
    add_node(database, ROOT, "bench.test", addresses=("192.0.2.1",))
    directory.add_domain(database, ROOT, "client.test")
    with database.change(ROOT, "fill") as change:
        others = [{"name": f"client{one}.test", "locked": False, "created_at": 0.0} for one in range(1000)]
        change.execute(insert(tables.Domain), others)
    put = {"domain": "client.test", "filtering_host": "bench.test", "interfaces": "192.0.2.1"}
    settings.set_interfaces(database, ROOT, **put)
    database.close()


def main() -> None:
    if sys.argv[1] == "--worker":
        sys.exit(worker.main(overrides=STAND_INS))
    port, folder, redis_url = int(sys.argv[1]), Path(sys.argv[2]), sys.argv[3]
    workers = f"workers = {sys.argv[4]}" if len(sys.argv) > 4 else ""
    database = sys.argv[5] if len(sys.argv) > 5 else ""
    if database:
        fill(database)
    (folder / "hslpy.toml").write_text(
        f"""{workers}
[server]
hostname = "bench.test"
data_dir = "data"
[egress]
database = "{database}"
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

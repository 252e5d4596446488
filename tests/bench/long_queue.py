"""A long queue: how soon a server with it answers, what a recipient takes in memory, and that the files shrink as it drains.

usage: python -m tests.bench.long_queue [--recipients 1000000] [--folder FOLDER] [--body BYTES]
Goals: the first 220 within 20 s of the start, under 1 KiB of memory a recipient. The spool is filled first, a recipient a
message, none of them due; the server is `hslpy serve`; the draining and the shrinking are the spool's alone. What a
metric takes is `tests.bench.queue`'s.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import socket
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import uvloop

from hslpy.mail.address import Address
from hslpy.spool.contract import Remove
from hslpy.spool.sqlite import SpoolSettings, SqliteSpool
from tests.bench.servers import free_port
from tests.bench.spool import message
from tests.bench.start import SETTINGS, cpu_ms, environment

WAITERS = 500
FAR_S = 30 * 86400.0
MIB = 1 << 20


async def fill(folder: Path, count: int, body: bytes) -> None:
    spool = SqliteSpool(SpoolSettings(folder, min_free_bytes=0))
    await spool.open()
    numbers = iter(range(count))
    due_at = time.time() + FAR_S

    async def store() -> None:
        for number in numbers:
            one = message(number, body)
            to = Address(f"user{number}", f"domain{number % 20000}.example")
            recipient = replace(one.recipients[0], recipient=to, due_at=due_at)
            await spool.store(replace(one, recipients=(recipient,)))

    await asyncio.gather(*(store() for _ in range(WAITERS)))
    await spool.close()


def serve(folder: Path) -> tuple[float, float, float]:
    """Give the seconds until the first 220, the processor's seconds, and the resident bytes then."""
    port = free_port()
    settings = folder / "hslpy.toml"
    settings.write_text(SETTINGS.format(folder=folder, port=port, egress='database = ""'))
    command = [str(Path(sys.executable).with_name("hslpy")), "serve", "--config", str(settings)]
    began = time.perf_counter()
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=environment()) as server:
        while True:
            with socket.socket() as client:
                try:
                    client.connect(("127.0.0.1", port))
                    if client.recv(3) == b"220":
                        break
                except ConnectionRefusedError:
                    if server.poll() is not None:
                        raise SystemExit("the server did not start") from None
                time.sleep(0.01)
        took = time.perf_counter() - began
        pages = int(Path(f"/proc/{server.pid}/statm").read_text().split()[1])
        cpu_s = cpu_ms(server.pid) / 1000
        server.terminate()
    return took, cpu_s, pages * os.sysconf("SC_PAGE_SIZE")


async def drain(folder: Path) -> None:
    """Remove all in order, then wait until the database has given its room back."""
    spool = SqliteSpool(SpoolSettings(folder, min_free_bytes=0))
    await spool.open()
    database = folder / "spool.db"
    before = database.stat().st_size
    removed = 0
    start = time.perf_counter()
    async for batch in spool.recover():
        ids = [entry.queue_id for entry in batch]
        for first in range(0, len(ids), WAITERS):
            await spool.apply([Remove(queue_id) for queue_id in ids[first : first + WAITERS]])
        removed += len(ids)
    took = time.perf_counter() - start
    print(f"drained: {took / max(removed, 1) * 1e6:.0f} us a recipient, 500 a commit; {before / MIB:.0f} MiB before")
    start = time.perf_counter()
    last = -1
    while (size := database.stat().st_size) != last:
        last = size
        await asyncio.sleep(2)
    print(f"shrunk to {last / MIB:.0f} MiB within {time.perf_counter() - start - 2:.0f} s of the last removal")
    await spool.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--recipients", type=int, default=1_000_000)
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--body", type=int, default=1024, help="bytes (default 1024)")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="hslpy-long-", dir=options.folder) as place:
        folder = Path(place)
        (folder / "data").mkdir()
        _, _, empty = serve(folder)
        uvloop.run(fill(folder / "data/spool", options.recipients, os.urandom(options.body // 2).hex().encode()))
        took, cpu_s, resident = serve(folder)
        each = (resident - empty) / options.recipients
        print(f"{options.recipients} recipients: 220 after {took:.1f} s (processor {cpu_s:.1f} s), {each:.0f} B each")
        uvloop.run(drain(folder / "data/spool"))


if __name__ == "__main__":
    main()

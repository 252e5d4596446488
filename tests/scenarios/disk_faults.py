"""A server whose disk fails and comes back, run under `disk_shim`: `python -m tests.scenarios.disk_faults FOLDER FAULT`.

Mail waits in the queue, then the disk fails: new mail is refused with a 4xx, and deliveries stop after those that were
under way. Then the disk is back: mail is taken, and everything was delivered once.
"""

from __future__ import annotations

import asyncio
import errno
import sys
from collections import Counter
from pathlib import Path

from tests.scenarios.harness import server
from tests.support import disk_shim
from tests.support.smtp_sink import Sink

FAULTS = {"read-only": errno.EROFS, "full": errno.ENOSPC, "bad": errno.EIO, "unsynced": errno.EIO}
UNDER_WAY = 3
LARGE = ("x" * 70 + "\r\n") * 5000
MAIL = 40


async def main(folder: Path, fault: str) -> None:
    async with Sink("127.0.0.50") as sink:
        transport = f'next_hop = "127.0.0.50"\nport = {sink.port}\ndestination_connections = {UNDER_WAY}\n'
        settings = f'[spool]\nmin_free_bytes = 0\n[[transport]]\nid = "mailtransport:1"\n{transport}'
        sink.hold = asyncio.Event()
        async with server(folder, settings) as s:
            client = await s.client()
            for number in range(MAIL):
                content = f"Subject: x\r\n\r\n{LARGE if number % 8 == 0 else 'x'}\r\n"
                assert (await client.send("a@example.com", f"r{number}@example.net", content=content)).startswith("250")
            await s.until(lambda: sink.open_now == UNDER_WAY and len(sink.raw) == UNDER_WAY)
            spool = folder / "data" / "spool"
            disk_shim.fail(spool, FAULTS[fault], syncs_only=fault == "unsynced")
            sink.hold.set()
            await s.until(lambda: s.events()["queue.change_not_written"] >= UNDER_WAY)
            for body in ("x", LARGE):  # in the database, in a file
                reply = await client.send("a@example.com", "new@example.net", content=f"Subject: x\r\n\r\n{body}\r\n")
                wanted = "452 4.3.1" if fault == "full" else "451 4.3.0"
                assert reply.startswith(wanted), reply
            await asyncio.sleep(0.3)
            assert len(sink.received) == UNDER_WAY, "mail leaves that cannot be recorded"
            disk_shim.fail(spool, 0)
            await s.until(lambda: len(s.app.queue) == 0)
            assert (await client.send("a@example.com", "last@example.net")).startswith("250")
            await s.until(lambda: len(sink.received) == MAIL + 1 and len(s.app.queue) == 0)
            assert s.events()["queue.paused"] == s.events()["queue.resumed"] == 1, s.events()
        assert set(Counter(one.rcpts[0] for one in sink.received).values()) == {1}
        async with server(folder, settings) as s:
            assert len(s.app.queue) == 0 and s.app.spool.stats().set_aside == ()


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), sys.argv[2]))
    print("as it should be")

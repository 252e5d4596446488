"""Many large messages for hosts that hardly read: a real server's memory stays in bounds, and small mail passes."""

from __future__ import annotations

import asyncio
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from tests.scenarios.harness import ROOT, Client

MIB = 1 << 20
MESSAGES, SIZE, LIMIT = 20, 8 * MIB, 32 * MIB


class Lazy:
    """A receiving server that reads no more of large messages than their beginning until it is `awake`."""

    def __init__(self) -> None:
        self.awake = asyncio.Event()
        self.seen: set[bytes] = set()
        self.busy = self.peak = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            writer.write(b"220 lazy ESMTP\r\n")
            while line := await reader.readline():
                if line.upper().startswith(b"DATA"):
                    writer.write(b"354 go ahead\r\n")
                    await self.message(reader)
                writer.write(b"250 2.0.0 ok\r\n")
        except ConnectionError:
            pass
        finally:
            writer.close()

    async def message(self, reader: asyncio.StreamReader) -> None:
        size, subject, large = 0, b"", False
        while (line := await reader.readline()) not in (b".\r\n", b""):
            size += len(line)
            subject = line if line.startswith(b"Subject:") else subject
            if size > MIB and not large:
                large = True
                self.busy += 1
                self.peak = max(self.peak, self.busy)
                await self.awake.wait()
        self.busy -= large
        self.seen.add(subject)


def memory_of(pid: int, name: str) -> int:
    found = re.search(rf"{name}:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    assert found is not None
    return int(found[1]) * 1024


def test_large_mail_for_a_slow_host_stays_in_bounds(tmp_path: Path) -> None:
    async def test() -> None:
        lazy = Lazy()
        peer = await asyncio.start_server(lazy.serve, "127.0.0.9", 0)
        port = peer.sockets[0].getsockname()[1]
        (tmp_path / "hslpy.toml").write_text(
            f'[server]\nhostname = "mail.example.com"\ndata_dir = "{tmp_path}/data"\n'
            '[egress]\ndatabase = ""\n[[listen]]\nport = 0\n'
            f"[delivery]\ncontent_memory_bytes = {LIMIT}\ndestination_connections = 50\n"
            '[[transport]]\nid = "mailtransport:1"\nnext_hop = "127.0.0.9"\nallow_private_targets = true\n'
            f'port = {port}\ntls = "disabled"\n'
        )
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "hslpy", "serve", "--config", str(tmp_path / "hslpy.toml")),
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=dict(os.environ, PYTHONUNBUFFERED="1"),
        )
        assert process.stdout is not None
        try:
            line = ""
            while "listening" not in line:
                line = (await asyncio.wait_for(process.stdout.readline(), 60)).decode()
                assert line, "the server ended"
            client = await Client.connect(int(line.split("port ")[1].split()[0]))

            async def send(subject: str, body: str) -> None:
                text = f"Subject: {subject}\r\n\r\n{body}"
                assert (await client.send("a@b.example", "u@c.example", content=text)).startswith("250")

            body = ("0123456789" * 7 + "\r\n") * (SIZE // 72)
            await send("first", body)
            await wait(lambda: lazy.busy == 1)
            before = memory_of(process.pid, "VmRSS")  # with a first one, and what receiving one takes
            for n in range(1, MESSAGES):
                await send(str(n), body)
            await send("small", "x\r\n")
            await wait(lambda: b"Subject: small\r\n" in lazy.seen and lazy.busy == LIMIT // (SIZE + 1))
            lazy.awake.set()
            await wait(lambda: len(lazy.seen) == MESSAGES + 1)
            most = memory_of(process.pid, "VmHWM")
            print(f"{before / MIB:.0f} MiB with one, up to {most / MIB:.0f}")
            assert lazy.peak <= LIMIT // SIZE
            assert most - before < LIMIT + 3 * SIZE < MESSAGES * SIZE / 2
        finally:
            process.terminate()
            await process.wait()
            peer.close()

    asyncio.run(asyncio.wait_for(test(), 120))


async def wait(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(60):
        while not holds():
            await asyncio.sleep(0.02)

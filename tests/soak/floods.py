"""Floods: `python -m tests.soak.floods [share, 1.0]`. What each costs the server, and what is left of it afterwards.

1,000 connections at a time, 100,000 wrong commands, 10,000 connections that come and go, 100,000 RSETs, pipelines on a
hundred connections, lines and headers without end, clients that drip or say nothing. The server is a process of its own,
with a script at each hook of the session. Exit status 1 where an answer is missing or wrong, where the log has a traceback,
or where descriptors, tasks or memory stay above what they were after the first round of all floods.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Coroutine
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
LIMIT_S = 120.0
IDLE_S = 5.0  # the server's idle timeout here
AT_A_TIME = 200
MESSAGE = b"Subject: x\r\n\r\n" + b"text\r\n" * 300
ENVELOPE = b"EHLO x\r\n", b"MAIL FROM:<a@x.test>\r\nRCPT TO:<b@y.test>\r\nDATA\r\n", MESSAGE + b".\r\n"

SETTINGS = f"""
[server]
hostname = "floods.test"
data_dir = "data"
[egress]
database = ""
[[listen]]
port = 0
[smtp]
idle_timeout_s = {IDLE_S}
max_errors = 1000000
max_unknown_commands = 1000000
max_connections_per_client = 2000
[queue.schedule]
wait_s = 3600
[hooks]
connect = "any.hsl"
helo = "any.hsl"
mailfrom = "any.hsl"
rcptto = "any.hsl"
disconnect = "any.hsl"
"""


class Client:
    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    @classmethod
    async def connect(cls, port: int) -> Client:
        return cls(*await asyncio.open_connection("127.0.0.1", port))

    async def replies(self, count: int) -> list[bytes]:
        codes: list[bytes] = []
        async with asyncio.timeout(LIMIT_S):
            while len(codes) < count:
                line = await self.reader.readline()
                if not line:
                    break
                if line[3:4] != b"-":
                    codes.append(line[:3])
        return codes

    async def ask(self, data: bytes, replies: int = 1) -> list[bytes]:
        self.writer.write(data)
        return await self.replies(replies)

    def reset(self) -> None:
        """Close without a goodbye of any kind."""
        sock = self.writer.get_extra_info("socket")
        with contextlib.suppress(OSError):  # it may be closed by now
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.writer.transport.abort()


async def many(count: int, one: Callable[[int], Awaitable[None]], at_a_time: int = AT_A_TIME) -> None:
    """Run `one` so many times, some of them at a time; what one raises is raised."""
    turns = asyncio.Semaphore(at_a_time)

    async def turn(number: int) -> None:
        async with turns:
            await one(number)

    async with asyncio.TaskGroup() as group:
        for number in range(count):
            group.create_task(turn(number))


async def send_message(client: Client) -> None:
    codes = await client.ask(ENVELOPE[0])
    codes += await client.ask(ENVELOPE[1], 3)
    codes += await client.ask(ENVELOPE[2])
    assert codes == [b"250", b"250", b"250", b"354", b"250"], codes


async def connections(port: int, count: int) -> None:
    """All of them open at a time, each greeted, each sending a message."""
    clients = [await Client.connect(port) for _ in range(count)]

    async def one(number: int) -> None:
        assert await clients[number].replies(1) == [b"220"]
        await send_message(clients[number])

    await many(count, one)
    for client in clients:
        client.writer.close()


async def errors_on_one(port: int, count: int) -> None:
    client = await Client.connect(port)
    await client.replies(1)
    for _ in range(count // 100):
        codes = await client.ask(b"WRONG\r\nRCPT TO:<x\r\n\xff\r\nMAIL FROM:<\r\nRSET x\r\n" * 20, 100)
        assert len(codes) == 100 and all(code[:1] == b"5" for code in codes), codes
    client.writer.close()


async def errors_on_many(port: int, count: int) -> None:
    async def one(number: int) -> None:
        client = await Client.connect(port)
        assert await client.replies(1) == [b"220"]
        assert await client.ask(b"WRONG\r\n" * 20, 20) == [b"500"] * 20
        client.writer.close()

    await many(count // 20, one)


async def come_and_go(port: int, count: int) -> None:
    async def one(number: int) -> None:
        client = await Client.connect(port)
        if number % 3 == 0:
            client.reset()
        elif number % 3 == 1:
            client.writer.close()
        else:
            await client.replies(1)
            client.writer.write(b"EHLO x\r\nMAIL FR")
            client.reset()

    await many(count, one, 50)


async def resets(port: int, count: int) -> None:
    client = await Client.connect(port)
    await client.replies(1)
    await client.ask(b"EHLO x\r\n")
    for _ in range(count // 100):
        assert await client.ask(b"MAIL FROM:<a@x.test>\r\nRSET\r\n" * 50, 100) == [b"250"] * 100
    client.writer.close()


async def pipelines(port: int, count: int) -> None:
    wanted = [b"250", b"250", b"503", b"250", b"500", b"250", b"252", b"214", b"553", b"250"] * 2

    async def one(number: int) -> None:
        client = await Client.connect(port)
        await client.replies(1)
        await client.ask(b"EHLO x\r\n")
        for _ in range(10):
            lines = (
                b"MAIL FROM:<a@x.test>\r\nRCPT TO:<b@y.test>\r\nMAIL FROM:<c@x.test>\r\nNOOP\r\nX\r\nRCPT TO:<d@y.test>\r\n"
            )
            lines += b"VRFY a\r\nHELP\r\nRCPT TO:<>\r\nRSET\r\n"
            assert await client.ask(lines * 2, 20) == wanted
        client.writer.close()

    await many(count, one, count)


async def no_end_of_line(port: int, count: int) -> None:
    async def one(number: int) -> None:
        client = await Client.connect(port)
        await client.replies(1)
        with contextlib.suppress(ConnectionError):
            for _ in range(100):
                client.writer.write(b"x" * 65536)
                await client.writer.drain()
            assert await client.replies(1) in ([b"500"], [])
        client.reset()

    await many(count, one, 20)


async def large_headers(port: int, count: int) -> None:
    async def one(number: int) -> None:
        client = await Client.connect(port)
        await client.replies(1)
        await client.ask(ENVELOPE[0])
        await client.ask(ENVELOPE[1], 3)
        line = (b"X: y\r\n", b"A: b\r\n c\r\n", b"X:" + b"y" * 990 + b"\r\n", b"Received: x\r\n")[number % 4]
        client.writer.write(line * (4_000_000 // len(line)) + b"\r\n.\r\n")
        assert await client.replies(1) == [b"552"]
        client.writer.close()

    await many(count, one, 10)


async def cut_off(port: int, count: int) -> None:
    async def one(number: int) -> None:
        client = await Client.connect(port)
        await client.replies(1)
        await client.ask(ENVELOPE[0])
        await client.ask(ENVELOPE[1], 3)
        client.writer.write(MESSAGE * 20)
        client.reset()

    await many(count, one)


async def slow(port: int, count: int) -> None:
    """Silent ones, and ones that drip, in a command or a message: each is told, or closed, in its time."""

    async def one(number: int) -> None:
        client = await Client.connect(port)
        await client.replies(1)
        if number % 4 == 1:
            await client.ask(ENVELOPE[0])
            await client.ask(ENVELOPE[1], 3)
        drips = number % 4 in (1, 2)
        until = time.monotonic() + IDLE_S * 6
        with contextlib.suppress(ConnectionError):
            while not client.reader.at_eof() and time.monotonic() < until:
                if drips:
                    client.writer.write(b"x")
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(0.5):
                        await client.reader.read(100)
        assert client.reader.at_eof() or client.reader.exception(), f"kind {number % 4} is still there"
        client.writer.close()

    await many(count, one, count)


FLOODS: list[tuple[Callable[[int, int], Coroutine[Any, Any, None]], int]] = [
    (connections, 1000),
    (errors_on_one, 100_000),
    (errors_on_many, 100_000),
    (come_and_go, 10_000),
    (resets, 100_000),
    (pipelines, 100),
    (no_end_of_line, 100),
    (large_headers, 40),
    (cut_off, 1000),
    (slow, 200),
]


class Server:
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "hslpy.toml").write_text(SETTINGS)
        (folder / "any.hsl").write_text("$x = 1 + 2;\n")
        (folder / "offset").write_text("0")
        (folder / "zone.json").write_text("{}")
        command = [sys.executable, "-m", "tests.soak.hour_server", str(folder)]
        with (folder / "log").open("wb") as log:
            self.process = subprocess.Popen(command, cwd=ROOT, stderr=log)
        until = time.monotonic() + 60
        while not (folder / "port").exists():
            if self.process.poll() is not None or time.monotonic() > until:
                raise SystemExit((folder / "log").read_text())
            time.sleep(0.05)
        self.port = int((folder / "port").read_text())

    def figures(self) -> dict[str, int]:
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        rss = re.search(r"VmRSS:\s+(\d+)", status)
        fds = len(list(Path(f"/proc/{self.process.pid}/fd").iterdir()))
        stats = json.loads((self.folder / "stats.json").read_text())
        return {"rss_kb": int(rss[1]) if rss else 0, "fds": fds, **stats}

    async def quiet(self) -> dict[str, int]:
        """Wait until nobody is connected, and give the figures."""
        until = time.monotonic() + 60
        await asyncio.sleep(1.5)
        while self.figures()["connections"] and time.monotonic() < until:
            await asyncio.sleep(0.5)
        return self.figures()


async def one_flood(server: Server, flood: Callable[[int, int], Coroutine[Any, Any, None]], count: int) -> str:
    """Run one and print what it cost; give what went wrong, or ""."""
    highest = 0

    async def watch() -> None:
        nonlocal highest
        while True:
            highest = max(highest, server.figures()["rss_kb"])
            await asyncio.sleep(0.1)

    started, before, wrong = time.monotonic(), server.figures()["rss_kb"], ""
    watching = asyncio.create_task(watch())
    try:
        await flood(server.port, count)
    except Exception as error:
        wrong = f"{flood.__name__}: {error!r} {getattr(error, 'exceptions', '')}"
    took = time.monotonic() - started
    watching.cancel()
    after = await server.quiet()
    shown = " ".join(f"{key} {after[key]}" for key in ("rss_kb", "fds", "tasks", "connections", "data_bytes"))
    print(f"{flood.__name__:16} {count:7} in {took:6.1f} s, rss {before} up to {highest} kB; after: {shown}", flush=True)
    return wrong


async def main(share: float) -> int:
    wrong: list[str] = []
    rounds: list[dict[str, int]] = []
    with tempfile.TemporaryDirectory(prefix="hslpy-floods-") as name:
        server = Server(Path(name))
        try:
            await asyncio.sleep(2)
            idle = await server.quiet()
            for _ in range(2):
                for flood, count in FLOODS:
                    wrong.append(await one_flood(server, flood, max(int(count * share), 20)))
                rounds.append(await server.quiet())
            server.process.send_signal(signal.SIGTERM)
            status = await asyncio.to_thread(server.process.wait, 60)
        finally:
            if server.process.poll() is None:
                server.process.kill()
        bad = re.findall(r".* error .*|.*Traceback[^\0]{500}", (Path(name) / "log").read_text(errors="replace"))
    first, last = rounds
    print(f"idle: {idle}\nafter one round: {first}\nafter two:       {last}")
    most = {"rss_kb": first["rss_kb"] * 1.1 + 5000, "fds": idle["fds"] + 10, "tasks": idle["tasks"] + 3}
    wrong += [f"{key} is {last[key]}, above {limit:.0f}" for key, limit in most.items() if last[key] > limit]
    wrong += [f"{key} left over" for key in ("connections", "data_bytes") if last[key]]
    wrong += [f"exit status {status}"] * (status != 0) + bad[:5]
    wrong = [each for each in wrong if each]
    print("\n".join(wrong) or "nothing missing, nothing left over")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(asyncio.run(main(float(sys.argv[1]) if len(sys.argv) > 1 else 1.0)))

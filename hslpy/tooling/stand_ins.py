"""Stand-ins for spamd and rspamd: they speak the protocols over real sockets and score by a few words. For demos only.

In: connections from our own scanner clients. Out: answers of the true shape. Not scanners: they know eight words.
Source: spamd's PROTOCOL document; rspamd's protocol documentation, `/checkv2`.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import field

from hslpy.records import dataclass

# Words, the rule that each hits, and its score with SpamAssassin (5 is spam).
RULES: Mapping[str, tuple[str, float]] = {
    "miracle": ("MIRACLE_CURE", 1.9),
    "weight": ("LOSE_WEIGHT", 1.6),
    "lottery": ("LOTTERY_WIN", 3.2),
    "inheritance": ("NIGERIAN_PRINCE", 4.0),
    "casino": ("ONLINE_CASINO", 2.8),
}
# Words that make a mailing of a message, and what rspamd's action is then.
BULK_WORDS = ("unsubscribe", "newsletter", "special offer")


def score(content: str) -> tuple[float, dict[str, float]]:
    """Give a message's score and the rules that it hits."""
    text = content.lower()
    rules = {rule: points for word, (rule, points) in RULES.items() if word in text}
    return sum(rules.values()), rules


def action(content: str) -> str:
    """Give what rspamd would advise."""
    points, _ = score(content)
    if points > 6:
        return "reject"
    if any(word in content.lower() for word in BULK_WORDS):
        return "add header"
    return "greylist" if points > 3 else "no action"


@dataclass(slots=True)
class StandIns:
    """Both players, on ports that the system chose. `scans` counts the messages each has seen."""

    scans: dict[str, int] = field(default_factory=lambda: {"spamd": 0, "rspamd": 0})
    spamd_port: int = 0
    rspamd_port: int = 0
    _servers: list[asyncio.Server] = field(default_factory=list)
    _tasks: set[asyncio.Task[None]] = field(default_factory=set)

    async def start(self, host: str = "127.0.0.1") -> None:
        self.spamd_port = await self._listen(host, self._spamd)
        self.rspamd_port = await self._listen(host, self._rspamd)

    async def close(self) -> None:
        for server in self._servers:
            server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _listen(self, host: str, play: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]) -> int:
        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            task = asyncio.current_task()
            assert task is not None
            self._tasks.add(task)
            try:
                await play(reader, writer)
            except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
                pass
            finally:
                self._tasks.discard(task)
                writer.close()

        server = await asyncio.start_server(serve, host, 0)
        self._servers.append(server)
        return int(server.sockets[0].getsockname()[1])

    async def _spamd(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One request a connection: `REPORT SPAMC/1.5`, headers, the message."""
        _, headers = await _head(reader)
        content = await reader.readexactly(int(headers["content-length"]))
        self.scans["spamd"] += 1
        points, rules = score(content.decode("latin-1"))
        rows = "".join(f"{value:4.1f} {name:<22} a word of the stand-in\n" for name, value in rules.items())
        body = f" pts rule name              description\n---- ---------------------- {'-' * 50}\n{rows}\n"
        spam = f"{points >= 5} ; {points:.1f} / 5.0"
        writer.write(f"SPAMD/1.1 0 EX_OK\r\nContent-length: {len(body)}\r\nSpam: {spam}\r\n\r\n{body}".encode())
        await writer.drain()

    async def _rspamd(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Any number of `POST /checkv2` a connection."""
        while True:
            _, headers = await _head(reader)
            content = (await reader.readexactly(int(headers.get("content-length", "0")))).decode("latin-1")
            self.scans["rspamd"] += 1
            points, rules = score(content)
            answer = {
                "is_skipped": False,
                "score": points,
                "required_score": 15.0,
                "action": action(content),
                "symbols": {name: {"name": name, "score": value} for name, value in rules.items()},
            }
            body = json.dumps(answer).encode()
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n")
            writer.write(b"Content-Length: %d\r\n\r\n" % len(body) + body)
            await writer.drain()


async def _head(reader: asyncio.StreamReader) -> tuple[str, dict[str, str]]:
    """Read a request line and headers. Raises IncompleteReadError when the peer has gone."""
    block = await reader.readuntil(b"\r\n\r\n")
    first, *lines = block.decode("latin-1").rstrip("\r\n").split("\r\n")
    return first, {name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}

"""A receiving SMTP server for the demo: it remembers what comes.

In: connections. Out: `Received`. Not a mail server: no queue, no limits, no security; only ever bound to loopback.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import field

from hslpy.records import dataclass


@dataclass(frozen=True, slots=True)
class Received:
    """One transaction as the sink saw it: who connected from where, and what they said."""

    peer_ip: str
    helo: str
    sender: str
    recipients: tuple[str, ...]
    content: bytes
    listener: str


@dataclass(slots=True)
class Sink:
    """Listens on any number of loopback addresses. `answer(command, argument)` may give a reply other than 250.

    `command` is MAIL, RCPT, EOD or CONNECT; `argument` the address, or the whole content at EOD. `asked` has who last
    asked to deliver from a sender to a recipient, refused or not: peer IP and HELO.
    """

    answer: Callable[[str, str], str | None] = lambda command, argument: None
    received: list[Received] = field(default_factory=list)
    asked: dict[tuple[str, str], tuple[str, str]] = field(default_factory=dict)
    connections: int = 0
    _servers: list[asyncio.Server] = field(default_factory=list)
    _tasks: set[asyncio.Task[None]] = field(default_factory=set)

    async def listen(self, host: str, port: int = 0) -> int:
        """Listen on one more address and give its port."""
        server = await asyncio.start_server(self._serve, host, port, limit=1 << 26)
        self._servers.append(server)
        return int(server.sockets[0].getsockname()[1])

    async def close(self) -> None:
        for server in self._servers:
            server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self.connections += 1
        try:
            await self._session(reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass
        finally:
            self._tasks.discard(task)
            writer.close()

    async def _session(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        peer_ip = writer.get_extra_info("peername")[0]
        listener = writer.get_extra_info("sockname")[0]
        helo, sender = "", ""
        recipients: list[str] = []
        greeting = self.answer("CONNECT", peer_ip)
        writer.write(f"{greeting or '220 sink.test ESMTP'}\r\n".encode())
        while line := await reader.readline():
            verb, _, argument = line.decode("latin-1").strip().partition(" ")
            verb = verb.upper()
            reply = "250 2.0.0 Ok"
            if verb == "EHLO":
                helo = argument
                reply = "250-sink.test\r\n250-PIPELINING\r\n250-8BITMIME\r\n250-ENHANCEDSTATUSCODES\r\n250 SIZE 50000000"
            elif verb == "HELO":
                helo = argument
            elif verb == "MAIL":
                sender, recipients = _path(argument), []
                reply = self.answer("MAIL", sender) or reply
            elif verb == "RCPT":
                recipient = _path(argument)
                self.asked[sender, recipient] = (peer_ip, helo)
                reply = self.answer("RCPT", recipient) or reply
                if reply.startswith("2"):
                    recipients.append(recipient)
            elif verb == "DATA":
                if not recipients:
                    reply = "554 5.5.1 No valid recipients"
                else:
                    writer.write(b"354 End data with <CR><LF>.<CR><LF>\r\n")
                    await writer.drain()
                    content = await reader.readuntil(b"\r\n.\r\n")
                    content = content[:-3].replace(b"\r\n..", b"\r\n.")
                    reply = self.answer("EOD", content.decode("latin-1")) or reply
                    if reply.startswith("2"):
                        self.received.append(Received(peer_ip, helo, sender, tuple(recipients), content, listener))
            elif verb == "QUIT":
                writer.write(b"221 2.0.0 Bye\r\n")
                await writer.drain()
                return
            writer.write(reply.encode("latin-1") + b"\r\n")
            await writer.drain()


def _path(argument: str) -> str:
    start, end = argument.find("<"), argument.find(">")
    return argument[start + 1 : end]

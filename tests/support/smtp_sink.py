"""A receiving SMTP server for tests, on any loopback address, that can be told to misbehave. Records all it sees."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field


@dataclass
class Received:
    peer_ip: str
    helo: str
    mail: str
    rcpts: list[str]
    content: bytes
    tls: bool


@dataclass
class Sink:
    """`answers` maps a command's beginning (upper case, `EOD` for the final dot, `BANNER` for the greeting) to a reply.

    A reply None closes the connection; `HANG` keeps silent; a callable gets the command line.
    """

    host: str = "127.0.0.1"
    port: int = 0
    extensions: tuple[str, ...] = ("PIPELINING", "8BITMIME", "SIZE 10000000", "DSN", "ENHANCEDSTATUSCODES")
    answers: dict[str, str | Callable[[str], str | None] | None] = field(default_factory=dict)
    tls: ssl.SSLContext | None = None
    lmtp: bool = False
    received: list[Received] = field(default_factory=list)
    commands: list[str] = field(default_factory=list)
    raw: list[bytes] = field(default_factory=list)
    connections: int = 0
    peers: list[str] = field(default_factory=list)
    open_now: int = 0
    peak: int = 0
    hold: asyncio.Event | None = None

    async def __aenter__(self) -> Sink:
        self._writers: set[asyncio.StreamWriter] = set()
        self._server = await asyncio.start_server(self._serve, self.host, self.port, limit=2**23)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        for writer in self._writers:
            writer.transport.abort()
        await asyncio.sleep(0)

    def drop_all(self) -> None:
        for writer in self._writers:
            writer.transport.abort()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self.open_now += 1
        self.peak = max(self.peak, self.open_now)
        self._writers.add(writer)
        try:
            await self._dialogue(reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError, ssl.SSLError):
            pass
        finally:
            self.open_now -= 1
            self._writers.discard(writer)
            writer.close()

    def _answer(self, key: str, line: str, default: str) -> str | None:
        for prefix in sorted(self.answers, key=len, reverse=True):
            if key.upper().startswith(prefix.upper()):
                answer = self.answers[prefix]
                answer = answer(line) if callable(answer) else answer
                return default if answer == "" else answer
        return default

    async def _say(self, writer: asyncio.StreamWriter, text: str | None) -> None:
        if text is None:
            raise ConnectionResetError
        if text == "HANG":
            await asyncio.sleep(3600)
        writer.write(text.encode("latin-1") + b"\r\n")
        await writer.drain()

    async def _dialogue(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        peer = writer.get_extra_info("peername")[0]
        self.peers.append(peer)
        helo, mail, tls = "", "", False
        rcpts: list[str] = []
        await self._say(writer, self._answer("BANNER", "", "220 sink.example ESMTP"))
        while True:
            raw = await reader.readuntil(b"\r\n")
            line = raw[:-2].decode("latin-1")
            self.commands.append(line)
            verb = line.split(" ")[0].upper()
            if verb in ("EHLO", "LHLO"):
                helo = line[5:]
                offers = list(self.extensions) + (["STARTTLS"] if self.tls and not tls else [])
                lines = ["sink.example", *offers]
                text = "\r\n".join(f"250{'-' if i < len(lines) - 1 else ' '}{word}" for i, word in enumerate(lines))
                await self._say(writer, self._answer(line, line, text))
            elif verb == "STARTTLS":
                answer = self._answer(line, line, "220 go ahead")
                await self._say(writer, answer)
                if answer is not None and answer.startswith("220") and self.tls is not None:
                    plain = writer.transport
                    try:
                        await writer.start_tls(self.tls)
                    except BaseException as error:
                        writer._transport = plain  # 3.11 leaves None there, and complains of it when it is collected
                        if isinstance(error, AttributeError):  # and so it does where the client has gone meanwhile
                            raise ConnectionResetError from error
                        raise
                    tls = True
            elif verb == "DATA":
                answer = self._answer(line, line, "354 go ahead" if rcpts else "554 5.5.1 no valid recipients")
                await self._say(writer, answer)
                if answer is not None and answer.startswith("354"):
                    content = b"" if not rcpts else None
                    if content is None:
                        self.raw.append(await reader.readuntil(b"\r\n.\r\n"))
                        content = self.raw[-1][:-3].replace(b"\r\n..", b"\r\n.")
                        content = content[1:] if content.startswith(b"..") else content
                    else:
                        await reader.readuntil(b".\r\n")
                    if self.hold is not None:
                        await self.hold.wait()
                    replies = []
                    for rcpt in rcpts if self.lmtp else rcpts[:1]:
                        replies.append(self._answer(f"EOD {rcpt}" if self.lmtp else "EOD", rcpt, "250 2.0.0 queued"))
                    if replies and replies[0] is not None and replies[0].startswith("2"):
                        self.received.append(Received(peer, helo, mail, list(rcpts), content, tls))
                    await self._say(
                        writer, None if None in replies else "\r\n".join(map(str, replies)) if replies else "554 none"
                    )
                mail, rcpts = "", []
            else:
                default = {"MAIL": "250 2.1.0 ok", "RCPT": "250 2.1.5 ok", "QUIT": "221 bye", "HELO": "250 sink"}.get(
                    verb, "250 ok"
                )
                answer = "503 5.5.1 MAIL first" if verb == "RCPT" and not mail else self._answer(line, line, default)
                await self._say(writer, answer)
                good = answer is not None and answer.startswith("25")
                if verb == "HELO":
                    helo = line[5:]
                elif verb == "MAIL" and good:
                    mail = line[10:]
                elif verb == "RCPT" and good:
                    rcpts.append(line[8:])
                elif verb == "RSET":
                    mail, rcpts = "", []
                if verb == "QUIT" or (answer or "").startswith("421"):
                    return


def zone_for(sinks: Mapping[str, Sink]) -> dict[str, dict[str, list[object]]]:
    """Give a scripted zone where each domain has one MX, at its sink's address."""
    zone: dict[str, dict[str, list[object]]] = {}
    for domain, sink in sinks.items():
        zone[domain] = {"MX": [(10, f"mx.{domain}")]}
        zone[f"mx.{domain}"] = {"A": [sink.host]}
    return zone

"""A plain SMTP sender for the demo: it says what it is told and keeps every reply. In: messages. Out: `Injected`.

Not a mail client: no TLS, no retries, and only ever pointed at a server on loopback.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence

from hslpy.records import dataclass


@dataclass(frozen=True, slots=True)
class Mail:
    """One message to be sent. `content` has CRLF line ends and ends in one."""

    sender: str
    recipients: tuple[str, ...]
    content: bytes


@dataclass(frozen=True, slots=True)
class Injected:
    """The server's replies to one message: one a recipient, and the last one; `data` "" when no recipient was taken."""

    mail: Mail
    recipients: tuple[str, ...]
    data: str


async def send(host: str, port: int, mails: Iterable[Mail], helo: str = "client.demo.test") -> list[Injected]:
    """Send the messages one after another, over a new connection after each 421. Raises ConnectionError when one breaks."""
    done: list[Injected] = []
    todo = list(mails)
    while todo:
        reader, writer = await asyncio.open_connection(host, port)
        try:
            await _reply(reader)
            await _say(reader, writer, f"EHLO {helo}")
            while todo:
                done.append(await _transaction(reader, writer, todo.pop(0)))
                if done[-1].data.startswith("421"):
                    break
            else:
                await _say(reader, writer, "QUIT")
        finally:
            writer.close()
    return done


async def send_in_parallel(host: str, port: int, mails: Sequence[Mail], connections: int) -> list[Injected]:
    """Send the messages over several connections; give the results in the order of the messages."""
    shares = [mails[start::connections] for start in range(connections)]
    results = await asyncio.gather(*(send(host, port, share) for share in shares if share))
    order = {id(mail): number for number, mail in enumerate(mails)}
    return sorted((one for share in results for one in share), key=lambda one: order[id(one.mail)])


async def _transaction(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, mail: Mail) -> Injected:
    await _say(reader, writer, f"MAIL FROM:<{mail.sender}>")
    for recipient in mail.recipients:  # pipelined: RFC 2920
        writer.write(f"RCPT TO:<{recipient}>\r\n".encode())
    replies = [await _reply(reader) for _ in mail.recipients]
    if not any(reply.startswith("2") for reply in replies):
        await _say(reader, writer, "RSET")
        return Injected(mail, tuple(replies), "")
    await _say(reader, writer, "DATA")
    stuffed = mail.content.replace(b"\r\n.", b"\r\n..")
    writer.write(stuffed + b".\r\n")
    return Injected(mail, tuple(replies), await _reply(reader))


async def _say(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, command: str) -> str:
    writer.write(command.encode() + b"\r\n")
    return await _reply(reader)


async def _reply(reader: asyncio.StreamReader) -> str:
    """Read a reply, its lines joined."""
    lines = []
    while line := (await reader.readline()).decode("latin-1").rstrip("\r\n"):
        lines.append(line)
        if line[3:4] != "-":
            return " ".join(lines)
    raise ConnectionError(f"the server closed the connection{': ' + lines[-1] if lines else ''}")

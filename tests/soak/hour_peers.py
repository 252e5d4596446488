"""The other ends of `hour.py`: receiving servers that misbehave by plan, and clients of all kinds. One ledger for both.

What becomes of a recipient is in its address, `r<number>@d<k>.test`: by the number's last three digits a receiving server
defers it, refuses it, answers late, or closes the connection. Reports of refused ones go to `from.test`.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import random
import re
import ssl
from collections import Counter
from dataclasses import dataclass, field

DOMAINS = 10
LIMIT_S = 60.0  # a reply that takes longer is a hang

_NUMBER = re.compile(rb"<r(\d+)@").search
_FAILED = re.compile(rb"Final-Recipient: rfc822; *r(\d+)@").findall


@dataclass
class Ledger:
    """A byte a recipient. `sent`: 1 the dot went out, 2 the 250 came, 3 it was refused."""

    sent: bytearray = field(default_factory=bytearray)
    delivered: bytearray = field(default_factory=bytearray)
    bounced: bytearray = field(default_factory=bytearray)
    unsure: set[int] = field(default_factory=set)  # delivered, but the server was not told so
    faults: list[str] = field(default_factory=list)
    seen: Counter[str] = field(default_factory=Counter)

    def number(self) -> int:
        for each in (self.sent, self.delivered, self.bounced):
            each.append(0)
        return len(self.sent) - 1

    def fault(self, text: str) -> None:
        self.seen["faults"] += 1
        if len(self.faults) < 50:
            self.faults.append(text)

    def accepted(self) -> int:
        return self.sent.count(2)

    def lost(self) -> list[int]:
        """Give those that were accepted, and are neither delivered nor bounced."""
        ends = zip(self.sent, self.delivered, self.bounced, strict=True)
        return [n for n, (sent, delivered, bounced) in enumerate(ends) if sent == 2 and not delivered and not bounced]

    def ghosts(self) -> list[int]:
        """Give those delivered although they were refused, or never sent whole."""
        ends = zip(self.sent, self.delivered, strict=True)
        return [n for n, (sent, delivered) in enumerate(ends) if sent in (0, 3) and delivered]

    def twice(self) -> list[int]:
        """Give those delivered more than once although the server was told each time."""
        return [n for n, times in enumerate(self.delivered) if times > 1 and n not in self.unsure]


class Receiver(asyncio.Protocol):
    """A receiving server, strict about framing. `calm` ends all temporary misbehaviour."""

    calm = False

    def __init__(self, ledger: Ledger, tried: set[int]) -> None:
        self._ledger = ledger
        self._tried = tried
        self._buffer = bytearray()
        self._numbers: list[int] = []
        self._rcpts = 0
        self._in_data = False
        self._busy = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        transport.write(b"220 sink.test\r\n")

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        if not self._busy:
            self._work()

    def _work(self) -> None:
        buffer, out = self._buffer, []
        while not self._busy and not self._transport.is_closing():
            if self._in_data:
                end = 0 if buffer.startswith(b".\r\n") else buffer.find(b"\r\n.\r\n") + 2
                if end < 2 and not buffer.startswith(b".\r\n"):
                    break
                content = bytes(buffer[:end])
                del buffer[: end + 3]
                self._in_data = False
                self._message(content)
                continue
            end = buffer.find(b"\r\n")
            if end < 0:
                break
            line = bytes(buffer[:end])
            del buffer[: end + 2]
            out.append(self._command(line))
        if out:
            self._transport.write(b"".join(out))

    def _command(self, line: bytes) -> bytes:
        verb = line[:4].upper()
        if b"\n" in line or b"\r" in line:
            self._ledger.fault(f"a command with a bare line end: {line!r}")
        if verb == b"EHLO":
            return b"250-sink.test\r\n250-PIPELINING\r\n250-8BITMIME\r\n250-ENHANCEDSTATUSCODES\r\n250 SIZE 50000000\r\n"
        if verb in (b"MAIL", b"RSET"):
            self._numbers, self._rcpts = [], 0
        elif verb == b"RCPT":
            return self._rcpt(line)
        elif verb == b"DATA":
            if not self._rcpts:
                return b"554 5.5.1 nobody\r\n"
            self._in_data = True
            return b"354 go\r\n"
        elif verb == b"QUIT":
            self._transport.write(b"221 bye\r\n")
            self._transport.close()
            return b""
        return b"250 2.0.0 ok\r\n"

    def _rcpt(self, line: bytes) -> bytes:
        found = _NUMBER(line)
        if found is not None:
            number = int(found[1])
            kind = number % 1000
            if kind < 50 and self._first(number):
                return b"451 4.7.1 later\r\n"
            if 50 <= kind < 60:
                return b"550 5.1.1 nobody\r\n"
            if 78 <= kind < 80 and self._first(number):
                self._transport.write(b"421 4.3.2 going down\r\n")
                self._transport.close()
                return b""
            self._numbers.append(number)
        self._rcpts += 1
        return b"250 2.1.5 ok\r\n"

    def _first(self, number: int) -> bool:
        if self.calm or number in self._tried:
            self._tried.discard(number)
            return False
        self._tried.add(number)
        return True

    def _message(self, content: bytes) -> None:
        ledger, numbers = self._ledger, self._numbers
        self._numbers, self._rcpts = [], 0
        if not content.count(b"\r\n") == content.count(b"\n") == content.count(b"\r") or b"\r\n.\r\n" in content:
            ledger.fault(f"a message with bare line ends for {numbers}")
        for each in _FAILED(content) if not numbers else ():
            ledger.bounced[int(each)] = 1
        kinds = {number % 1000 for number in numbers}
        if any(60 <= kind < 70 for kind in kinds) and self._first(numbers[0]):
            self._transport.write(b"451 4.3.0 not now\r\n")
            return
        for number in numbers:
            ledger.delivered[number] = min(ledger.delivered[number] + 1, 255)
        if any(75 <= kind < 78 for kind in kinds) and self._first(numbers[0]):
            ledger.unsure.update(numbers)
            self._transport.abort()
            return
        if any(70 <= kind < 75 for kind in kinds) and not self.calm:
            self._busy = True
            asyncio.get_running_loop().call_later(3.0, self._late)
            return
        self._transport.write(b"250 2.0.0 taken\r\n")

    def _late(self) -> None:
        self._busy = False
        if not self._transport.is_closing():
            self._transport.write(b"250 2.0.0 taken at last\r\n")
            self._work()


class Pace:
    """Gives one message its turn after another, `rate` a second; 0 is as fast as they come."""

    def __init__(self) -> None:
        self.rate = 0.0
        self._next = 0.0

    async def turn(self) -> None:
        if self.rate:
            now = asyncio.get_running_loop().time()
            self._next = max(self._next + 1 / self.rate, now - 1.0)
            if self._next > now:
                await asyncio.sleep(self._next - now)


class Sender:
    """One client after another, each of a kind by chance, until `stop`."""

    def __init__(self, port: int, ledger: Ledger, pace: Pace, tls: ssl.SSLContext, seed: int) -> None:
        self._port, self._ledger, self._pace, self._tls = port, ledger, pace, tls
        self._chance = random.Random(seed)
        self.stop = False

    async def run(self) -> None:
        kinds = (self.steady, self.single, self.secure, self.guess, self.cut, self.junk)
        while not self.stop:
            kind = self._chance.choices(kinds, (60, 20, 8, 4, 4, 4))[0]
            self._ledger.seen[kind.__name__] += 1
            writer: asyncio.StreamWriter | None = None
            try:
                # Who guesses is blocked by address after a while: not from that of the others.
                source = ("127.0.0.66", 0) if kind == self.guess else None
                reader, writer = await asyncio.open_connection("127.0.0.1", self._port, local_addr=source)
                async with asyncio.timeout(600):
                    await kind(reader, writer)
            except (ConnectionError, asyncio.IncompleteReadError):
                self._ledger.seen[f"{kind.__name__} cut off"] += 1
            except TimeoutError:
                self._ledger.fault(f"no answer in time: {kind.__name__}")
            finally:
                if writer is not None:
                    writer.close()

    async def _reply(self, reader: asyncio.StreamReader) -> bytes:
        async with asyncio.timeout(LIMIT_S):
            while (line := await reader.readuntil(b"\r\n"))[3:4] == b"-":
                pass
            return line

    async def _ask(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, line: bytes) -> bytes:
        writer.write(line + b"\r\n")
        return await self._reply(reader)

    async def _hello(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, greeted: bool = False) -> None:
        if not greeted and not (await self._reply(reader)).startswith(b"220 "):
            raise ConnectionResetError
        await self._ask(reader, writer, b"EHLO client.test")

    async def _message(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, cut: bool = False) -> None:
        await self._pace.turn()
        ledger, chance = self._ledger, self._chance
        numbers = [ledger.number() for _ in range(3 if chance.random() < 0.2 else 1)]
        lines = [b"MAIL FROM:<s%d@from.test>" % numbers[0]]
        lines += [b"RCPT TO:<r%d@d%d.test>" % (number, number % DOMAINS) for number in numbers]
        writer.write(b"\r\n".join([*lines, b"DATA\r\n"]))
        replies = [await self._reply(reader) for _ in range(len(lines) + 1)]
        if not replies[-1].startswith(b"354"):
            ledger.fault(f"no 354: {replies[-1]!r}")
            raise ConnectionResetError
        content = self._content(numbers[0])
        if cut:
            writer.write(content[: chance.randrange(len(content))])
            await writer.drain()
            writer.transport.abort()
            raise ConnectionResetError
        for number in numbers:
            ledger.sent[number] = 1
        writer.write(content + b".\r\n")
        await writer.drain()
        reply = await self._reply(reader)
        ledger.seen[f"message {reply[:3].decode('latin-1')}"] += 1
        for number in numbers:
            ledger.sent[number] = 2 if reply.startswith(b"250") else 3

    def _content(self, number: int) -> bytes:
        chance = self._chance
        size = chance.choices(
            (chance.randint(500, 6000), chance.randint(20_000, 60_000), chance.randint(280_000, 500_000)), (74, 25, 1)
        )[0]
        line = b"..%08d " % number + bytes(chance.choices(range(0x20, 0x7F), k=68)) + b"\r\n"
        head = b"From: s%d@from.test\r\nSubject: soak %d\r\nMessage-ID: <%d@from.test>\r\n\r\n" % ((number,) * 3)
        return head + line * (size // len(line))

    async def steady(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await self._hello(reader, writer)
        for _ in range(self._chance.randint(5, 30)):
            await self._message(reader, writer)
            if self.stop:
                break
        await self._ask(reader, writer, b"QUIT")

    async def single(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await self._hello(reader, writer)
        await self._message(reader, writer)
        writer.write(b"QUIT\r\n")

    async def _start_tls(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await self._hello(reader, writer)
        if not (await self._ask(reader, writer, b"STARTTLS")).startswith(b"220"):
            self._ledger.fault("no STARTTLS")
            raise ConnectionResetError
        await writer.start_tls(self._tls, server_hostname="localhost")
        await self._hello(reader, writer, greeted=True)

    async def secure(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await self._start_tls(reader, writer)
        if self._chance.random() < 0.5:
            reply = await self._ask(reader, writer, b"AUTH PLAIN " + base64.b64encode(b"\0soak\0right"))
            if not reply.startswith(b"235"):
                self._ledger.fault(f"a right login: {reply!r}")
        for _ in range(self._chance.randint(1, 5)):
            await self._message(reader, writer)
        await self._ask(reader, writer, b"QUIT")

    async def guess(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await self._start_tls(reader, writer)
        for _ in range(self._chance.randint(1, 5)):
            if (await self._ask(reader, writer, b"AUTH PLAIN " + base64.b64encode(b"\0soak\0wrong"))).startswith(b"2"):
                self._ledger.fault("a wrong login was taken")

    async def cut(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await self._hello(reader, writer)
        await self._message(reader, writer, cut=True)

    async def junk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await self._reply(reader)
        for _ in range(50):
            writer.write(self._chance.randbytes(self._chance.randint(1, 300)) + b"\r\n")
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(0.05):
                    if not await reader.read(65536):
                        return

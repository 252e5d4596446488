"""The client against peers that lie, dawdle and babble, over raw sockets: bounded time and memory, and nothing made up."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace

import pytest
import uvloop
from hypothesis import given, settings
from hypothesis import strategies as st

from hslpy.client.contract import Route, Timeouts, TransactionResult
from hslpy.client.smtp import ClientSettings, SmtpClient
from hslpy.clock import SystemClock
from hslpy.mail.address import Address

TIMEOUTS = Timeouts(connect_s=50, greeting_s=50, command_s=50, data_s=50, block_s=50, final_s=50, quit_s=0.2)
EHLO = b"250-peer.example\r\n250-PIPELINING\r\n250-8BITMIME\r\n250 SIZE\r\n"

Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@dataclass
class Peer:
    """A listening socket, and how many connections came."""

    port: int = 0
    connections: int = 0

    def route(self, timeouts: Timeouts = TIMEOUTS) -> Route:
        return Route("mx.example", "127.0.0.1", self.port, "127.0.0.2", "out.example", tls="disabled", timeouts=timeouts)


@asynccontextmanager
async def peer(serve: Serve) -> AsyncIterator[Peer]:
    here = Peer()
    tasks: set[asyncio.Task[None]] = set()

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        here.connections += 1
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        try:
            await serve(reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass
        finally:
            tasks.discard(task)
            writer.transport.abort()

    server = await asyncio.start_server(accept, "127.0.0.1", 0, limit=2**24)
    here.port = server.sockets[0].getsockname()[1]
    try:
        yield here
    finally:
        server.close()
        for task in list(tasks):
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def run(main: Callable[[SmtpClient], Awaitable[None]]) -> None:
    async def whole() -> None:
        client = SmtpClient(ClientSettings(), SystemClock())
        try:
            await main(client)
        finally:
            await client.close()

    with asyncio.Runner(loop_factory=_Loop.new) as runner:
        runner.run(asyncio.wait_for(whole(), 60))


class _Loop:
    new: Callable[[], asyncio.AbstractEventLoop] = asyncio.new_event_loop


@pytest.fixture(
    scope="module", autouse=True, params=[asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"]
)
def loop_factory(request: pytest.FixtureRequest) -> None:
    """Have each test on both kinds of event loop: their transports differ."""
    _Loop.new = request.param


async def send(
    client: SmtpClient, route: Route, *names: str, content: bytes = b"Subject: x\r\n\r\nhello\r\n", limit_s: float = 20.0
) -> TransactionResult:
    to = tuple(Address(name, "rcpt.example") for name in names or ("to",))
    return await client.send(route, Address("from", "s.example"), to, content, {}, ({},) * len(to), limit_s)


def codes(result: TransactionResult) -> list[int | None]:
    return [None if one is None else one.reply.code for one in result.results]


async def greet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b"220 peer.example ESMTP\r\n")
    await reader.readline()
    writer.write(EHLO)


def test_the_envelope_comes_in_one_piece() -> None:
    pieces: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await greet(reader, writer)
        for _ in range(2):
            pieces.append(await reader.read(65536))
            writer.write(b"250 sender\r\n250 one\r\n550 two\r\n354 go\r\n")
            pieces.append(await reader.readuntil(b"\r\n.\r\n"))
            writer.write(b"250 kept\r\n")
        await reader.read()

    async def main(client: SmtpClient) -> None:
        async with peer(serve) as here:
            for _ in range(2):
                assert codes(await send(client, here.route(), "one", "two")) == [250, 550]
            envelope = (
                b"MAIL FROM:<from@s.example> SIZE=21\r\nRCPT TO:<one@rcpt.example>\r\nRCPT TO:<two@rcpt.example>\r\nDATA\r\n"
            )
            assert pieces == [envelope, b"Subject: x\r\n\r\nhello\r\n.\r\n"] * 2 and here.connections == 1

    run(main)


@pytest.mark.parametrize(
    "babble",
    [
        b"250-more\r\n",
        b"250-" + b"x" * 500,
        b"x" * 500 + b"\r\n",
        b"250-\x00\r\n",
        b"\r\n",
        b"25\r\n",
        b"-50 no\r\n",
        b"\xff" * 99,
    ],
)
@pytest.mark.parametrize("after", ["connect", "EHLO", "MAIL", "DATA"])
def test_replies_without_end_are_cut_short(babble: bytes, after: str) -> None:
    sent = 0

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal sent
        if after != "connect":
            writer.write(b"220 hello\r\n")
            await reader.readline()
        if after not in ("connect", "EHLO"):
            writer.write(EHLO)
            await reader.readuntil(b"DATA\r\n")
        if after == "DATA":
            writer.write(b"250 a\r\n250 b\r\n354 c\r\n")
        while True:
            writer.write(babble * 100)
            sent += len(babble) * 100
            await writer.drain()

    async def main(client: SmtpClient) -> None:
        async with peer(serve) as here:
            result = await send(client, here.route())
            assert codes(result) == [None] and result.error and result.error_temporary
            assert client.idle_connections == 0
            assert sent < 64 << 20  # what the sockets' buffers and a chunk hold

    run(main)


@pytest.mark.parametrize(
    "early", [b"250 a\r\n", b"250 a\r\n250 b\r\n354 c\r\n", b"250 a\r\n250 b\r\n354 c\r\n250 taken\r\n", b"2"]
)
def test_answers_before_the_questions_are_none(early: bytes) -> None:
    """Said together with the reply to EHLO, or between two messages: the peer is hung up on."""
    received = b""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal received
        writer.write(b"220 hello\r\n")
        await reader.readline()
        writer.write(EHLO + early)
        received += await reader.read()

    async def main(client: SmtpClient) -> None:
        async with peer(serve) as here:
            result = await send(client, here.route())
            assert codes(result) == [None] and result.error_temporary and result.failed_at_connect
            assert received == b""

    run(main)


def test_what_is_said_between_messages_ends_the_connection() -> None:
    said = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await greet(reader, writer)
        await reader.readuntil(b"DATA\r\n")
        writer.write(b"250 a\r\n250 b\r\n354 c\r\n")
        await reader.readuntil(b"\r\n.\r\n")
        writer.write(b"250 taken\r\n")
        await asyncio.sleep(0.05)
        writer.write(b"250 a\r\n250 b\r\n354 c\r\n250 taken\r\n")
        assert await reader.read() == b""  # the client hangs up at once
        said.set()

    async def main(client: SmtpClient) -> None:
        async with peer(serve) as here:
            assert codes(await send(client, here.route())) == [250]
            await asyncio.wait_for(said.wait(), 60)
            said.clear()
            assert codes(await send(client, here.route())) == [250] and here.connections == 2

    run(main)


def test_replies_a_byte_at_a_time() -> None:
    async def drip(writer: asyncio.StreamWriter, data: bytes) -> None:
        for n in range(len(data)):
            writer.write(data[n : n + 1])
            await writer.drain()
            await asyncio.sleep(0)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await drip(writer, b"220-a\r\n220 b\r\n")
        await reader.readline()
        await drip(writer, EHLO)
        while await reader.readuntil(b"DATA\r\n"):
            await drip(writer, b"250 a\r\n250-b\r\n250 b\r\n354 c\r\n")
            await reader.readuntil(b"\r\n.\r\n")
            await drip(writer, b"250-taken\r\n250 all\r\n")

    async def main(client: SmtpClient) -> None:
        async with peer(serve) as here:
            for _ in range(2):
                result = await send(client, here.route())
                assert codes(result) == [250]
                assert result.results[0] is not None and result.results[0].reply.lines == ("taken", "all")
            assert here.connections == 1

    run(main)


def test_yes_to_a_message_that_was_not_all_sent_is_no() -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await greet(reader, writer)
        await reader.readuntil(b"DATA\r\n")
        writer.write(b"250 a\r\n250 b\r\n354 c\r\n")
        await reader.readexactly(1000)
        writer.transport.pause_reading()  # type: ignore[attr-defined]
        writer.write(b"250 taken\r\n")
        await asyncio.sleep(20)

    async def main(client: SmtpClient) -> None:
        async with peer(serve) as here:
            result = await send(client, here.route(), content=b"Subject: x\r\n\r\n" + (b"y" * 70 + b"\r\n") * 800_000)
            assert codes(result) == [451] and client.idle_connections == 0

    run(main)


@pytest.mark.parametrize("where", ["greeting", "MAIL", "content"])
def test_the_time_for_an_attempt_is_over(where: str) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if where == "greeting":
            for _ in range(1000):
                writer.write(b"2" if _ == 0 else b"")
                await asyncio.sleep(0.02)
        await greet(reader, writer)
        await reader.readuntil(b"DATA\r\n")
        if where == "MAIL":  # an answer a while, each in its own time
            for reply in (b"250 a\r\n", b"250 b\r\n" * 50):
                for n in range(len(reply)):
                    writer.write(reply[n : n + 1])
                    await asyncio.sleep(0.02)
        writer.write(b"250 a\r\n" + b"250 b\r\n" * 49 + b"354 c\r\n")
        writer.transport.pause_reading()  # type: ignore[attr-defined]
        await asyncio.sleep(20)

    async def main(client: SmtpClient) -> None:
        async with peer(serve) as here:
            content = b"Subject: x\r\n\r\n" + (b"y" * 70 + b"\r\n") * (800_000 if where == "content" else 1)
            result = await send(client, here.route(), *(f"r{n}" for n in range(49)), content=content, limit_s=0.6)
            assert None in codes(result) and 250 not in codes(result)
            assert result.error_temporary and result.error == "the time for the attempt was over"
            assert client.idle_connections == 0

    run(main)


@pytest.mark.parametrize("answers", [True, False])
def test_after_the_final_dot_the_answer_is_waited_for_in_its_own_time(answers: bool) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await greet(reader, writer)
        await reader.readuntil(b"DATA\r\n")
        writer.write(b"250 a\r\n250 b\r\n354 c\r\n")
        await reader.readuntil(b"\r\n.\r\n")
        await asyncio.sleep(1.2)
        if answers:
            writer.write(b"250 taken\r\n")
        await asyncio.sleep(20)

    async def main(client: SmtpClient) -> None:
        async with peer(serve) as here:
            timeouts = replace(TIMEOUTS, final_s=50 if answers else 1.4)
            result = await send(client, here.route(timeouts), limit_s=1.0)
            assert codes(result) == [250 if answers else None]
            assert result.reused is False and not result.failed_at_connect
            assert answers or (result.error_state == "EOD" and client.idle_connections == 0)

    run(main)


REPLIES = [b"250 ok", b"250-a\r\n250 b", b"450 later", b"550 5.1.1 no", b"251 ok", b"354 what", b"220 x", b"421 bye"]


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32))
def test_what_is_reported_is_what_the_peer_said(seed: int) -> None:
    """Two messages over what connections there are; replies at random, in pieces at random, each to its own command."""
    chance = random.Random(seed)  # the peer's tasks draw too, and may outlive the test's own
    names = [[f"m{message}r{n}" for n in range(chance.randint(1, 4))] for message in range(2)]
    pieces = chance.randint(1, 40)
    taken: list[list[str]] = []
    said: dict[str, int] = {}

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        async def say(reply: bytes) -> int:
            reply += b"\r\n"
            for start in range(0, len(reply), pieces):
                writer.write(reply[start : start + pieces])
                if pieces < 20:
                    await asyncio.sleep(0)
            if reply.startswith(b"421"):
                raise ConnectionResetError
            return int(reply[:3])

        await greet(reader, writer)
        there: list[str] = []
        opened = False
        while line := await reader.readline():
            verb = line[:4].upper()
            if verb == b"MAIL":
                there, opened = [], await say(chance.choice(REPLIES)) == 250
            elif verb == b"RCPT":
                name = line.split(b"<")[1].split(b"@")[0].decode()
                reply = chance.choice(REPLIES) if opened else b"503 MAIL first"
                said[name] = int(reply[:3])
                if await say(reply) in (250, 251):
                    there.append(name)
            elif verb == b"DATA":
                reply = chance.choice((b"354 go", b"354 go", b"451 no")) if opened else b"503 MAIL first"
                if await say(reply) == 354:
                    content = await reader.readline()
                    while not content.endswith(b".\r\n") or (content != b".\r\n" and not content.endswith(b"\r\n.\r\n")):
                        content += await reader.readline()
                    assert bool(there) == (content != b".\r\n")
                    if await say(chance.choice(REPLIES)) in range(200, 300) and there:
                        taken.append(there)
                there, opened = [], False
            else:
                await say(b"221 bye" if verb == b"QUIT" else b"250 ok")
                there, opened = [], False

    async def main(client: SmtpClient) -> None:
        async with peer(serve) as here:
            for wanted in names:
                taken.clear()
                result = await send(client, here.route(), *wanted)
                delivered = [
                    name for name, code in zip(wanted, codes(result), strict=True) if code is not None and code < 300
                ]
                assert delivered == (taken[0] if taken else []) and len(taken) <= 1
                for name, one in zip(wanted, result.results, strict=True):
                    if one is not None and one.state == "RCPT" and one.reply.code >= 500:
                        assert one.reply.code == said[name]

    run(main)

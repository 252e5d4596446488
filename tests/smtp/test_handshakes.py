"""TLS handshakes that fail, hang, are cut off or are none: nothing leaks, nothing is told, nobody else waits."""

from __future__ import annotations

import asyncio
import gc
import io
import os
import socket
import ssl
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from hslpy.clock import SystemClock
from hslpy.event_log import set_up_logging
from hslpy.smtp import adapter
from tests.smtp.harness import Client, World, run, serving, until
from tests.smtp.pairs import pair

LOOPS = pytest.mark.parametrize("uvloop", [False, True])
ANY = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
ANY.check_hostname = False
ANY.verify_mode = ssl.CERT_NONE


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    return pair(tmp_path_factory.mktemp("tls"))


def hello(name: str | None = "localhost") -> bytes:
    """Give a client's first flight."""
    sent = ssl.MemoryBIO()
    handshake = ANY.wrap_bio(ssl.MemoryBIO(), sent, server_hostname=name)
    with pytest.raises(ssl.SSLWantReadError):
        handshake.do_handshake()
    return sent.read()


@asynccontextmanager
async def watched(made: tuple[Path, Path], **settings: Any) -> AsyncIterator[World]:
    """Serve; at the end every connection must be gone, without a fault in the log or the loop."""
    faults: list[Any] = []
    asyncio.get_running_loop().set_exception_handler(lambda _loop, context: faults.append(context))
    async with serving(tls_certificate=made[0], tls_key=made[1], **settings) as world:
        yield world
        for client in world.clients:
            client.writer.transport.abort()
        await until(lambda: not world.server._connections and not world.server._clients)
        assert "smtp.fault" not in [event for event, _ in world.log]
    gc.collect()
    await asyncio.sleep(0)
    assert not faults


async def after_220(world: World) -> Client:
    client = await world.greeted()
    assert (await client.ask(b"STARTTLS"))[:4] == b"220 "
    return client


async def at_implicit(world: World) -> Client:
    return await world.connect()


Opening = Callable[[World], Awaitable[Client]]
WAYS = pytest.mark.parametrize(("tls", "opened"), [("starttls", after_220), ("implicit", at_implicit)])


async def gone(client: Client) -> bytes:
    """Give what the server still sends before it closes."""
    try:
        return await client.rest()
    except ConnectionResetError:
        return b""


@LOOPS
@WAYS
def test_what_is_no_handshake(
    made: tuple[Path, Path], tls: str, opened: Opening, uvloop: bool, capfd: pytest.CaptureFixture[str]
) -> None:
    async def work() -> None:
        async with watched(made, tls=tls) as world:
            for garbage in (
                b"EHLO x.test\r\nMAIL FROM:<a@x.test>\r\n",
                b"\0" * 5000,
                b"\x16\x03\x01\xff\xff" + b"\xff" * 70_000,
                b"\x80\x2e\x01\x03\x01",
                b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
                hello()[:-20] + b"x" * 30,
                hello("q" * 60).replace(b"q" * 60, b"a\0b" * 20),
            ):
                client = await opened(world)
                client.send(garbage)
                if garbage[:1] in b"\x16\x80":  # a half record: the server waits for the rest of it
                    await asyncio.sleep(0.05)
                    with suppress(RuntimeError):  # uvloop's, where it is closed by now
                        client.writer.write_eof()
                answer = await gone(client)
                assert b"250" not in answer and b"220" not in answer and b"5.5" not in answer, garbage[:20]
            await until(lambda: not world.server._connections)

    run(work, uvloop)
    assert capfd.readouterr().err == ""


@LOOPS
def test_a_server_name_that_is_not_ascii(made: tuple[Path, Path], uvloop: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Python's ssl writes a traceback to standard error for each; clients could fill the log with them."""

    async def work() -> None:
        async with watched(made, tls="implicit") as world:
            client = await world.connect()
            client.send(hello("q" * 60).replace(b"q" * 60, b"\xff" * 60))
            await gone(client)

    monkeypatch.setattr(sys, "unraisablehook", sys.unraisablehook)
    lines = io.StringIO()
    log = set_up_logging(lines, "info", "text", SystemClock())
    run(work, uvloop)
    assert lines.getvalue() == ""
    log.write("said", {})
    log.close()
    assert lines.getvalue().endswith("info said\n")


@LOOPS
@WAYS
def test_clients_that_leave_within_the_handshake(
    made: tuple[Path, Path], tls: str, opened: Opening, uvloop: bool, capfd: pytest.CaptureFixture[str]
) -> None:
    async def work() -> None:
        async with watched(made, tls=tls) as world:
            for part in (b"", hello()[:1], hello()[:100], hello()):
                for leave in ("close", "abort", "eof"):
                    client = await opened(world)
                    client.send(part)
                    await asyncio.sleep(0.01)
                    if leave == "eof":
                        client.writer.write_eof()
                        await gone(client)
                    elif leave == "close":
                        client.close()
                    else:
                        client.writer.transport.abort()
                    await until(lambda: not world.server._connections)

    run(work, uvloop)
    assert capfd.readouterr().err == ""


@LOOPS
@WAYS
def test_a_handshake_that_hangs(
    made: tuple[Path, Path], tls: str, opened: Opening, uvloop: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(adapter, "TLS_HANDSHAKE_S", 0.3)

    async def work() -> None:
        async with watched(made, tls=tls) as world:
            for part in (b"", hello()[:50], hello()):
                client = await opened(world)
                client.send(part)
                await gone(client)
                await until(lambda: not world.server._connections)
            assert [event for event, _ in world.log] == ["smtp.tls_failed"] * 3

    run(work, uvloop)


@LOOPS
@WAYS
def test_half_open_handshakes_are_connections(made: tuple[Path, Path], tls: str, opened: Opening, uvloop: bool) -> None:
    async def work() -> None:
        async with watched(made, tls=tls, max_connections=20) as world:
            waiting = [await opened(world) for _ in range(20)]
            await until(lambda: len(world.server._connections) == 20)
            for _ in range(30):
                client = await world.connect()
                answer = await gone(client)
                assert answer == (b"" if tls == "implicit" else b"421 4.3.2 Too many connections\r\n")
            assert len(world.server._connections) == 20
            for client in waiting:
                client.writer.transport.abort()
            await until(lambda: not world.server._connections)
            if tls == "implicit":
                client = await world.connect(ssl=ANY)
                await client.hello()
            else:
                client = await after_220(world)
                await client.writer.start_tls(ANY)
            assert (await client.ask(b"EHLO x.test"))[:4] == b"250-"

    run(work, uvloop)


@LOOPS
@WAYS
def test_the_server_stops_within_handshakes(made: tuple[Path, Path], tls: str, opened: Opening, uvloop: bool) -> None:
    async def work() -> None:
        async with watched(made, tls=tls) as world:
            client = await opened(world)
            client.send(hello()[:50])
            await until(lambda: any(each.handshaking for each in world.server._connections))
            async with asyncio.timeout(60):
                await world.server.stop(60.0)

    run(work, uvloop)


@LOOPS
def test_clear_text_after_220_never_reaches_the_session(made: tuple[Path, Path], uvloop: bool) -> None:
    """Neither run nor answered, when it stands before a good ClientHello (command injection, RFC 3207 section 5)."""

    async def work() -> None:
        async with watched(made) as world:
            for injected in (b"NOOP\r\n", b"MAIL FROM:<evil@x.test>\r\nRCPT TO:<b@dest.test>\r\n", b"\r\n"):
                client = await after_220(world)
                client.send(injected + hello())
                assert b"250" not in await gone(client)
            client = await world.greeted()
            client.send(b"STARTTLS\r\n" + hello())
            assert await client.rest() == b"503 5.5.0 Improper command pipelining\r\n"

    run(work, uvloop)


@LOOPS
@WAYS
def test_the_end_of_tls(made: tuple[Path, Path], tls: str, opened: Opening, uvloop: bool) -> None:
    """Ended in order, cut off, or ended with commands still to be worked off."""

    async def work() -> None:
        async with watched(made, tls=tls) as world:
            for last in (b"", b"NOOP\r\n", b"MAIL FROM:<a@x.test>\r\n", b"MAIL FR", b"QUIT\r\n"):
                for end in ("close", "abort", "half"):
                    client = await world.connect(ssl=ANY) if tls == "implicit" else await after_220(world)
                    if tls == "implicit":
                        await client.reply()
                    else:
                        await client.writer.start_tls(ANY)
                    await client.ask(b"EHLO x.test")
                    client.send(last)
                    if end == "close":
                        client.close()
                    elif end == "abort":
                        client.writer.transport.abort()
                    else:  # the TCP side alone is shut, without TLS's own farewell
                        number = os.dup(client.writer.get_extra_info("socket").fileno())
                        with socket.socket(fileno=number) as connection:
                            connection.shutdown(socket.SHUT_WR)
                        await gone(client)
                    await until(lambda: not world.server._connections)

    run(work, uvloop)


@LOOPS
def test_the_handshakes_first_bytes_may_come_one_by_one_or_at_once(made: tuple[Path, Path], uvloop: bool) -> None:
    async def work() -> None:
        async with watched(made, tls="implicit") as world:
            for step in (1, 7, 1000):
                incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
                session = ANY.wrap_bio(incoming, outgoing)
                client = await world.connect()
                text = b""
                while b"250 HELP" not in text:
                    try:
                        if session.version() is None:
                            session.do_handshake()
                        more = session.read(65_536)
                        assert more, text
                        if not text:
                            session.write(b"EHLO x.test\r\n")
                        text += more
                    except ssl.SSLWantReadError:
                        pass
                    out = outgoing.read()
                    for at in range(0, len(out), step):
                        client.send(out[at : at + step])
                        await asyncio.sleep(0)
                    if b"250 HELP" not in text and not incoming.pending:
                        came = await asyncio.wait_for(client.reader.read(65_536), 60)
                        assert came
                        incoming.write(came)
                assert text.startswith(b"220 mx.test")

    run(work, uvloop)

"""What we changed of aiosmtplib's protocol, held against the version pinned; reading replies; names in certificates."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest
from aiosmtplib import SMTPReadTimeoutError, SMTPResponse, SMTPResponseException, SMTPServerDisconnected

from hslpy.client.protocol import ReplyProtocol, reply_of
from hslpy.client.tls import bears_name
from tests.support.yardstick import assert_grows_linearly, timed


class Wire(asyncio.Transport):
    """The peer's side of a protocol: what was written."""

    def __init__(self) -> None:
        super().__init__()
        self.written = b""
        self.hung_up = False

    def abort(self) -> None:
        self.hung_up = True

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.written += bytes(data)

    def is_closing(self) -> bool:
        return False


def run(test: Callable[[ReplyProtocol, Wire], Awaitable[None]]) -> None:
    async def main() -> None:
        protocol, wire = ReplyProtocol(lambda: None), Wire()
        protocol.connection_made(wire)
        protocol.data_received(b"220 hello\r\n")
        assert (await protocol.read_response(60)).code == 220
        await test(protocol, wire)

    asyncio.run(main())


@pytest.mark.parametrize("pieces", [1, 3, 1000])
def test_replies_that_come_together_are_kept_for_their_readers(pieces: int) -> None:
    async def test(protocol: ReplyProtocol, wire: Wire) -> None:
        protocol.write_commands(b"A\r\nB\r\nC\r\n", 3)
        data = b"250 a\r\n550-b1\r\n550 b2\r\n354 c\r\n"
        step = max(len(data) // pieces, 1)
        for start in range(0, len(data), step):
            protocol.data_received(data[start : start + step])
        replies = [await protocol.read_response(60) for _ in range(3)]
        assert [(r.code, r.message) for r in replies] == [(250, "a"), (550, "b1\nb2"), (354, "c")]
        assert wire.written == b"A\r\nB\r\nC\r\n" and not protocol.out_of_step

    run(test)


@pytest.mark.parametrize("extra", [b"250 again\r\n", b"250-half", b"\r\n"])
def test_what_nobody_asked_for_puts_it_out_of_step(extra: bytes) -> None:
    async def test(protocol: ReplyProtocol, wire: Wire) -> None:
        protocol.data_received(extra)
        assert protocol.out_of_step and wire.hung_up
        with pytest.raises(SMTPServerDisconnected):
            await protocol.execute_command(b"NOOP", timeout=60)
        with pytest.raises(SMTPServerDisconnected):
            protocol.write_commands(b"NOOP\r\n", 1)
        assert wire.written == b""

    run(test)


def test_one_reply_too_many_in_the_same_breath() -> None:
    async def test(protocol: ReplyProtocol, wire: Wire) -> None:
        asking = asyncio.create_task(protocol.execute_command(b"NOOP", timeout=60))
        await asyncio.sleep(0)
        protocol.data_received(b"250 one\r\n250 two\r\n")
        assert (await asking).message == "one" and protocol.out_of_step

    run(test)


@pytest.mark.parametrize("data", [b"what is this\r\n", b"250-" + b"x" * 40_000, b"250 " + b"x" * 9000 + b"\r\n"])
def test_what_is_no_reply(data: bytes) -> None:
    async def test(protocol: ReplyProtocol, wire: Wire) -> None:
        protocol.write_commands(b"NOOP\r\n", 1)
        protocol.data_received(data)
        with pytest.raises(SMTPResponseException):
            await protocol.read_response(60)
        assert protocol.out_of_step

    run(test)


def test_a_long_reply_in_small_pieces_takes_no_time() -> None:
    def cost_s(lines: int) -> float:
        def feed(protocol: ReplyProtocol) -> None:
            for _ in range(lines):
                for piece in (b"250-", b"x\r\n"):
                    protocol.data_received(piece)

        async def test(protocol: ReplyProtocol, wire: Wire) -> None:
            nonlocal spent
            protocol.write_commands(b"EHLO x\r\n", 1)
            spent = timed(lambda: feed(protocol))
            protocol.data_received(b"250 end\r\n")
            assert (await protocol.read_response(60)).message.count("\n") == lines

        spent = 0.0
        run(test)
        return spent

    assert_grows_linearly(cost_s, 1000)


def test_a_reply_without_end_is_too_long() -> None:
    async def test(protocol: ReplyProtocol, wire: Wire) -> None:
        protocol.write_commands(b"EHLO x\r\n", 1)
        for _ in range(1000):
            protocol.data_received(b"250-x\r\n" * 10)
        with pytest.raises(SMTPResponseException):
            await protocol.read_response(60)
        assert protocol.out_of_step

    run(test)


def test_silence_and_loss() -> None:
    async def test(protocol: ReplyProtocol, wire: Wire) -> None:
        with pytest.raises(SMTPReadTimeoutError):
            await protocol.read_response(0.01)
        protocol.write_commands(b"A\r\nB\r\nC\r\nD\r\n", 4)
        protocol.data_received(b"250 a\r\n250 b\r\n250 c\r\n")
        assert (await protocol.read_response(60)).message == "a"
        protocol.connection_lost(None)
        assert [(await protocol.read_response(60)).message for _ in range(2)] == ["b", "c"]
        with pytest.raises(SMTPServerDisconnected):
            await protocol.read_response(60)

    run(test)


@pytest.mark.parametrize(
    ("code", "text", "enhanced", "lines"),
    [
        (250, "2.0.0 ok", (2, 0, 0), ("ok",)),
        (550, "5.1.1 no\n5.1.1 such user", (5, 1, 1), ("no", "such user")),
        (550, "4.1.1 class of another code", None, ("4.1.1 class of another code",)),
        (450, "4.7.1", (4, 7, 1), ("",)),
        (250, "2.0.0.1 is no status", None, ("2.0.0.1 is no status",)),
        (250, "r\u00e5", None, ("r\u00c3\u00a5",)),
        (250, "\udce5", None, ("\u00e5",)),
    ],
)
def test_replies(code: int, text: str, enhanced: tuple[int, int, int] | None, lines: tuple[str, ...]) -> None:
    reply = reply_of(SMTPResponse(code, text))
    assert reply is not None and (reply.code, reply.enhanced, reply.lines) == (code, enhanced, lines)


@pytest.mark.parametrize("code", [-1, 0, 25, 199, 600, 999])
def test_codes_that_are_none(code: int) -> None:
    assert reply_of(SMTPResponse(code, "x")) is None


@pytest.mark.parametrize(
    ("wanted", "bears"),
    [
        (("mx.a.example",), True),
        (("MX.a.example.",), True),
        (("other.example", "x.pool.example"), True),
        (("x.y.pool.example",), False),
        (("pool.example",), False),
        (("192.0.2.1",), True),
        (("192.0.2.2",), False),
        (("2001:db8::1",), True),
        ((), False),
    ],
)
def test_names_in_certificates(wanted: tuple[str, ...], bears: bool) -> None:
    names = (
        ("DNS", "mx.A.example"),
        ("DNS", "*.pool.example"),
        ("IP Address", "192.0.2.1"),
        ("IP Address", "2001:DB8:0:0::1"),
    )
    assert bears_name({"subjectAltName": names}, wanted) is bears
    assert not bears_name({}, wanted)

"""The client against servers that mean harm, and with messages and addresses that do.

Whatever a script or the spool holds: on the wire one message, its lines ended by CR LF, its dots doubled, and no command
that the client did not mean. Whatever a server says: an end within the time set, little memory, and the right result.
"""

from __future__ import annotations

import asyncio
import base64
import re
import tracemalloc
from collections.abc import Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from hslpy.client import transaction
from hslpy.client.contract import Route, Timeouts, TransactionResult
from hslpy.client.smtp import ClientSettings, SmtpClient
from hslpy.clock import SystemClock
from hslpy.mail.address import Address

SENDER, TO = Address("from", "sender.example"), Address("to", "rcpt.example")
SHORT = Timeouts(connect_s=2, greeting_s=0.4, command_s=0.4, data_s=0.4, block_s=0.4, final_s=0.4, quit_s=0.2)
LONG = Timeouts(connect_s=60, greeting_s=60, command_s=60, data_s=60, block_s=60, final_s=60, quit_s=1)
PATH = rb'<(?:[^\s<>"\\]*|"(?:[ !#-\[\]-~\x80-\xff]|\\[ -~])*"(?:@[^\s<>"]+)?)>'
MAIL = re.compile(
    rb"MAIL FROM:" + PATH + rb"(?: SIZE=\d+)?(?: BODY=8BITMIME)?(?: SMTPUTF8)?(?: RET=\S+)?(?: ENVID=\S+)?"
).fullmatch
RCPT = re.compile(rb"RCPT TO:" + PATH + rb"(?: NOTIFY=\S+)?(?: ORCPT=\S+)?").fullmatch


class Wire:
    """A plain server that takes everything, and keeps the bytes of each connection."""

    def __init__(self, extensions: tuple[bytes, ...]) -> None:
        self.extensions = extensions
        self.lines: list[bytes] = []
        self.messages: list[bytes] = []

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 wire\r\n")
        with suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                line = await reader.readuntil(b"\r\n")
                self.lines.append(line[:-2])
                verb = line[:4].upper()
                if verb in (b"EHLO", b"XCLI"):
                    offers = (b"wire", *self.extensions)
                    if verb == b"XCLI":
                        writer.write(b"220 again\r\n")
                        continue
                    writer.write(b"".join(b"250-" + each + b"\r\n" for each in offers) + b"250 HELP\r\n")
                elif verb == b"DATA":
                    writer.write(b"354 go\r\n")
                    content = b""
                    while not content.endswith(b"\r\n.\r\n") and content != b".\r\n":
                        content += await reader.readuntil(b"\r\n")
                    self.messages.append(content)
                    writer.write(b"250 taken\r\n")
                elif verb == b"AUTH":
                    writer.write(b"235 in\r\n")
                else:
                    writer.write(b"250 ok\r\n" if verb != b"QUIT" else b"221 bye\r\n")
        writer.close()

    def check(self) -> None:
        """No bare line end anywhere, and nothing but what a client says, in its order."""
        for line in (*self.lines, *(line for message in self.messages for line in message[:-2].split(b"\r\n"))):
            assert b"\r" not in line and b"\n" not in line, line
        verbs = b" ".join(line.split(b" ")[0].split(b":")[0].upper() for line in self.lines)
        assert re.fullmatch(rb"(EHLO )(XCLIENT EHLO )?(AUTH )?(MAIL (RCPT )*(DATA )?(RSET )?)*(QUIT )?", verbs + b" "), verbs
        for line in self.lines:
            assert len(line) <= 2000
            if line.startswith(b"MAIL"):
                assert MAIL(line), line
            if line.startswith(b"RCPT"):
                assert RCPT(line), line


@asynccontextmanager
async def serving(answer: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]) -> Any:
    server = await asyncio.start_server(answer, "127.0.0.1", 0, limit=2**24)
    async with server:
        yield server.sockets[0].getsockname()[1]


def route(port: int, timeouts: Timeouts = SHORT, **changes: Any) -> Route:
    return replace(Route("mx.test", "127.0.0.1", port, None, "out.example", tls="disabled", timeouts=timeouts), **changes)


async def send(where: Route, content: bytes = b"Subject: x\r\n\r\nhello\r\n", **kw: Any) -> TransactionResult:
    client = SmtpClient(ClientSettings(), SystemClock())
    to = kw.get("to", (TO,))
    try:
        return await client.send(
            where, kw.get("sender", SENDER), to, content, kw.get("params", {}), (kw.get("rcpt_params", {}),) * len(to)
        )
    finally:
        await client.close()


def run(work: Callable[[], Awaitable[None]]) -> None:
    asyncio.run(asyncio.wait_for(work(), 60))


pieces = st.lists(
    st.sampled_from(
        (
            b"\r\n",
            b"\r",
            b"\n",
            b".",
            b"..",
            b"a",
            b"\r\n.\r\n",
            b"\n.\n",
            b"\r.\r",
            b"\xff",
            b"QUIT",
            b"\r\r\n",
            b"\x0b\x85",
        )
    ),
    max_size=14,
).map(b"".join)


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(pieces, st.booleans())
@example(b"", True)
@example(b".", True)
@example(b".\r\n", False)
@example(b"\r\n.\r\nMAIL FROM:<evil@x.test>\r\n", True)
@example(b"a\r\n.\rMAIL", True)
def test_any_content_is_one_message(content: bytes, pipelining: bool) -> None:
    async def work() -> None:
        wire = Wire((b"8BITMIME", b"PIPELINING") if pipelining else (b"8BITMIME",))
        async with serving(wire.serve) as port:
            result = await send(route(port, LONG), content)
        assert result.results[0] is not None and result.results[0].reply.code == 250
        wire.check()
        (message,) = wire.messages
        lines = message[: message.rindex(b".\r\n")].split(b"\r\n")
        assert not [line for line in lines if line.startswith(b".") and not line.startswith(b"..")]
        plain = re.sub(rb"\r\n|\r|\n", b"\r\n", content)
        plain += b"" if not plain or plain.endswith(b"\r\n") else b"\r\n"
        assert b"\r\n".join(line[1:] if line.startswith(b".") else line for line in lines) == plain

    run(work)


def test_a_nul_is_not_sent() -> None:
    async def work() -> None:
        wire = Wire((b"8BITMIME",))
        async with serving(wire.serve) as port:
            result = await send(route(port, LONG), b"Subject: x\r\n\r\n\0.\r\n")
        assert result.results[0] is not None and result.results[0].ours
        assert str(result.results[0].reply).startswith("554 5.6.0 ")
        assert wire.messages == []

    run(work)


NASTY = st.text(st.sampled_from('ab@.<>:,; \t\r\n\0\\"()[]\x7f\xe9=-'), max_size=10)


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(NASTY, NASTY, NASTY, NASTY, st.booleans())
@example("a", "b.test> SIZE=1 X=<", "c", "d.test>\r\nRCPT TO:<e@f.test", True)
@example("a", "b.test", "c>", "d.test> NOTIFY=NEVER", False)
@example("a\r\nDATA", "b", "c d", "e f", True)
def test_any_address_is_one_address(from_local: str, from_domain: str, local: str, domain: str, pipelining: bool) -> None:
    async def work() -> None:
        more = (b"PIPELINING",) if pipelining else ()
        wire = Wire((b"8BITMIME", b"SMTPUTF8", b"DSN", b"SIZE 100000", *more))
        nasty = f"{local}> {domain}\r\n"
        async with serving(wire.serve) as port:
            await send(
                route(port, LONG),
                sender=Address(from_local, from_domain),
                to=(Address(local, domain), TO),
                params={"ENVID": nasty, "RET": nasty, nasty: "x", "BODY": nasty},
                rcpt_params={"NOTIFY": nasty, "ORCPT": nasty},
            )
        wire.check()
        assert len(wire.messages) <= 1

    run(work)


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(NASTY, NASTY, NASTY)
@example("x\r\nMAIL FROM:<a>", "NAME\r\nQUIT", "v\r\nQUIT")
@example("x y", "NAME ADDR=1", "v ADDR=1.2.3.4")
def test_any_name_is_one_word(helo: str, name: str, value: str) -> None:
    async def work() -> None:
        wire = Wire((b"8BITMIME", b"XCLIENT NAME ADDR", b"AUTH PLAIN"))
        async with serving(wire.serve) as port:
            await send(route(port, LONG, helo=helo, xclient=((name, value),), sasl_username=value, sasl_password=helo))
        if wire.lines:
            wire.check()
        for line in wire.lines:
            if line.startswith(b"EHLO"):
                assert len(line.split(b" ")) == 2, line
            if line.startswith(b"XCLIENT"):
                assert re.fullmatch(rb"XCLIENT [A-Za-z]+=\S*", line), line
            if line.startswith(b"AUTH"):
                base64.b64decode(line.split(b" ")[2], validate=True)

    run(work)


# servers that mean harm ---------------------------------------------------------------------------------------------

EHLO = b"250-evil\r\n250-PIPELINING\r\n250 8BITMIME\r\n"


class Evil:
    """Says `banner`, then for each command the answer for its first four letters, `EOD` that for the dot."""

    def __init__(self, banner: bytes = b"220 evil\r\n", drip_s: float = 0.0, **answers: bytes | None) -> None:
        self.answers = {
            "EHLO": EHLO,
            "MAIL": b"250 ok\r\n",
            "RCPT": b"250 ok\r\n",
            "DATA": b"354 go\r\n",
            "EOD": b"250 ok\r\n",
        }
        self.answers |= {"RSET": b"250 ok\r\n", "QUIT": b"221 bye\r\n"} | answers  # type: ignore[operator]
        self.banner, self.drip_s = banner, drip_s
        self.commands: list[bytes] = []

    async def say(self, writer: asyncio.StreamWriter, text: bytes | None) -> None:
        """None hangs up; what ends with `...` is said again and again."""
        if text is None:
            raise ConnectionResetError
        if text.endswith(b"..."):
            for _ in range(200_000):
                writer.write(text[:-3])
                await writer.drain()
                if self.drip_s:
                    await asyncio.sleep(self.drip_s)
        writer.write(text)
        await writer.drain()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(asyncio.IncompleteReadError, ConnectionError):
            await self.say(writer, self.banner)
            while True:
                line = await reader.readuntil(b"\r\n")
                self.commands.append(line)
                key = line[:4].decode("latin-1").upper()
                await self.say(writer, self.answers.get(key, b"250 ok\r\n"))
                if key == "DATA" and (self.answers["DATA"] or b"").startswith(b"354"):
                    await reader.readuntil(b".\r\n")
                    await self.say(writer, self.answers["EOD"])
        with suppress(ConnectionError):
            writer.transport.abort()


HOSTILE: list[tuple[str, Evil, tuple[int, str] | None]] = [
    # what it does; the reply recorded and its command, None for a fault of the network, that is to be tried again
    ("an endless banner", Evil(b"220-hello\r\n..."), None),
    ("a banner without line ends", Evil(b"x" * 1000 + b"..."), None),
    ("a dripping banner", Evil(b"2...", drip_s=0.05), None),
    ("no banner", Evil(b""), None),
    ("a banner of junk", Evil(b"\x00\xff\x16\x03\r\n"), None),
    ("HTTP", Evil(b"HTTP/1.1 400 Bad Request\r\nServer: x\r\n\r\n"), None),
    ("a code that is none", Evil(b"999 x\r\n"), None),
    ("a code of two digits", Evil(b"22 x\r\n"), None),
    ("a banner that refuses", Evil(b"554 go away\r\n"), (554, "BANNER")),
    ("two banners", Evil(b"220 a\r\n220 b\r\n"), None),
    ("EHLO for ever", Evil(EHLO=b"250-x\r\n..."), None),
    ("EHLO of megabytes", Evil(EHLO=b"250-" + b"x" * 1_000_000 + b"\r\n250 x\r\n"), None),
    ("EHLO that ends in a refusal", Evil(EHLO=b"250-a\r\n550 b\r\n"), (250, "EOD")),
    ("EHLO and the replies to all that follows", Evil(EHLO=EHLO + b"250 ok\r\n" * 2 + b"354 go\r\n250 taken\r\n"), None),
    ("MAIL and more", Evil(MAIL=b"250 ok\r\n250 ok\r\n354 go\r\n250 taken\r\n"), None),
    ("354 to MAIL", Evil(MAIL=b"354 go\r\n"), (451, "MAIL")),
    ("354 to RCPT", Evil(RCPT=b"354 go\r\n"), (451, "RCPT")),
    ("250 to DATA", Evil(DATA=b"250 ok\r\n"), (451, "DATA")),
    ("354 to the dot", Evil(EOD=b"354 go\r\n"), (451, "EOD")),
    ("250 before the message", Evil(DATA=b"354 go\r\n250 taken\r\n"), None),
    ("junk to the dot", Evil(EOD=b"what?\r\n"), None),
    ("a bare LF ends the last reply", Evil(EOD=b"250 ok\n"), (250, "EOD")),
    ("a dot taken and then not", Evil(EOD=b"250-ok\r\n451 no\r\n"), (451, "EOD")),
    ("250- for ever to the dot", Evil(EOD=b"250-ok\r\n..."), None),
    ("NUL and 8 bits in a reply", Evil(EOD=b"550 \x00\xff\xfe no\r\n"), (550, "EOD")),
    ("half a reply", Evil(EOD=b"250 o"), None),
    ("gone in the middle of a reply", Evil(RCPT=b"25", EOD=None), None),
    ("gone at the dot", Evil(EOD=None), None),
    ("silent at the dot", Evil(EOD=b""), None),
    ("dripping at RCPT", Evil(RCPT=b"250-x\r\n...", drip_s=0.05), None),
    ("421 at RCPT", Evil(RCPT=b"421 later\r\n"), (421, "RCPT")),
]


@pytest.mark.parametrize(("evil", "wanted"), [row[1:] for row in HOSTILE], ids=[row[0] for row in HOSTILE])
@pytest.mark.parametrize("pipelining", [True, False])
def test_a_hostile_server(evil: Evil, wanted: tuple[int, str] | None, pipelining: bool) -> None:
    async def work() -> None:
        evil.answers["EHLO"] = (evil.answers["EHLO"] or b"").replace(
            b"PIPELINING", b"PIPELINING" if pipelining else b"OTHER"
        )
        async with serving(evil.serve) as port:
            result = await send(route(port, SHORT if wanted is None else LONG))
        said = result.results[0]
        if wanted is None:
            # either nothing is known of the message, or it was refused for a while: never taken, never bounced
            assert (said is None and result.error and result.error_temporary) or (said and 400 <= said.reply.code <= 499)
        else:
            assert said is not None and (said.reply.code, said.state) == wanted

    run(work)


def test_a_hostile_server_takes_little_memory() -> None:
    async def work() -> None:
        for evil in (Evil(b"220-" + b"x" * 50_000 + b"\r\n..."), Evil(EOD=b"250-" + b"y" * 50_000 + b"\r\n...")):
            async with serving(evil.serve) as port:
                tracemalloc.start()
                await send(route(port))
                _, peak = tracemalloc.get_traced_memory()
                tracemalloc.stop()
                assert peak < 5_000_000

    run(work)


async def _slow_to_read(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, then: bytes, seen: bytearray) -> None:
    """Take a message a little at a time; say `then` in the middle of it, or nothing where empty."""
    writer.write(b"220 wire\r\n")
    with suppress(asyncio.IncompleteReadError, ConnectionError):
        while not (await reader.readuntil(b"\r\n")).startswith(b"DATA"):
            writer.write(b"250 ok\r\n")
        writer.write(b"354 go\r\n")
        while not seen.endswith(b"\r\n.\r\n"):
            part = await reader.read(1 << 16)
            if not part:
                break
            seen += part
            if then and len(seen) > 1 << 20:
                transport: Any = writer.transport
                transport.pause_reading()
                writer.write(then)
                then = b""
                await asyncio.sleep(0.3)
                transport.resume_reading()
        writer.write(b"250 taken\r\n")
    writer.close()


@pytest.mark.parametrize("early", [b"", b"452 4.3.1 no room\r\n", b"250 ok\r\n"])
def test_large_content_goes_piece_by_piece(early: bytes) -> None:
    line = b".leading dots\r\n..\r\n.\r\nand a bare\nand\r" + b"x" * 900 + b"\r\n"
    content = b"Subject: x\r\n\r\n" + line * 25_000

    async def work() -> None:
        seen = bytearray()
        async with serving(lambda reader, writer: _slow_to_read(reader, writer, early, seen)) as port:
            result = await send(route(port, LONG), content)
        assert result.results[0] is not None
        if early:  # what it says before it has everything is never a yes, and the rest is not sent
            assert result.results[0].reply.code in (452, 451)
            assert len(seen) < len(content)
        else:
            assert result.results[0].reply.code == 250
            assert seen == transaction.dot_stuffed(content) + b".\r\n"

    run(work)


@given(st.lists(st.sampled_from([b"a", b".", b"\r\n", b"\n", b"\r", b"\r\n.\r\n", b"x" * 9]), max_size=60))
def test_pieces_are_the_whole(parts: list[bytes]) -> None:
    content, sent, at = b"".join(parts), [], 0
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(transaction, "_PIECE", 7)
        while not sent or at < len(content):
            data, at = transaction._piece(content, at)
            sent.append(data)
    assert b"".join(sent) == transaction.dot_stuffed(content) + b".\r\n"

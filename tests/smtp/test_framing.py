"""Where messages end, over a raw socket: smuggling, split packets, pipelining, overlong and foreign bytes."""

from __future__ import annotations

import asyncio
import random
from contextlib import suppress

import pytest

from hslpy.mail.transfer import has_long_line
from hslpy.smtp import framing
from hslpy.smtp.networks import client_of
from tests.smtp.harness import FakeHooks, run, serving, until

SESSION = (
    b"MAIL FROM:<a@sender.test> SIZE=100\r\nRCPT TO:<b@dest.test>\r\nRCPT TO:<c@dest.test>\r\n",
    b"DATA\r\n",
    b"Subject: x\r\n\r\n..dot\r\nline\r\n.\r\n",
    b"QUIT\r\n",
)


@pytest.mark.parametrize("uvloop", [False, True])
def test_pipelined_replies_come_in_one_write(uvloop: bool) -> None:
    async def work() -> None:
        async with serving() as world:
            client = await world.greeted()
            client.send(SESSION[0] + SESSION[1])
            got = await client.reader.read(65536)
            assert got.count(b"\r\n") == 4 and got.endswith(b"354 End data with <CR><LF>.<CR><LF>\r\n")
            client.send(SESSION[2] + SESSION[3])
            assert await client.rest() == b"250 2.0.0 Ok: queued as id-2 (queue 1,2)\r\n221 2.0.0 Bye\r\n"
            assert world.spool.messages[0].body == b".dot\r\nline\r\n"

    run(work, uvloop)


def test_split_at_every_byte() -> None:
    """One message after another on one connection, each cut at another place of the DATA phase, then byte by byte."""

    async def work() -> None:
        async with serving() as world:
            client = await world.greeted()
            content = b"Subject: x\r\n\r\n.\r\r\n"[:14] + b"..\r\n...a\r\nb\r\n.\r\n"
            for cut in range(1, len(content)):
                await client.envelope()
                assert (await client.ask(b"DATA"))[:3] == b"354"
                client.send(content[:cut])
                await client.writer.drain()
                await _settle()
                client.send(content[cut:])
                assert (await client.reply())[:3] == b"250", cut
                assert world.spool.messages[-1].body == b".\r\n..a\r\nb\r\n", cut
            for byte in b"MAIL FROM:<a@b.test>\r\n":
                client.send(bytes([byte]))
                await _settle()
            assert (await client.reply())[:3] == b"250"

    run(work)


async def _settle() -> None:
    await asyncio.sleep(0.001)


@pytest.mark.parametrize(
    "end",
    [
        b"\n.\n",
        b"\n.\r\n",
        b"\r\n.\n",
        b"\r.\r",
        b"\r\n.\r",
        b"\r.\r\n",
        b"\n\n.\r\n",
        b"\r\r\n.\r\n",
        b"\r\n\x00.\r\n",
        b"\r\n.\r\r\n",
    ],
)
def test_only_crlf_dot_crlf_ends_a_message(end: bytes) -> None:
    """What another server might take for the end must not let commands hide in a message: smuggling."""

    async def work() -> None:
        async with serving() as world:
            client = await world.greeted()
            await client.envelope()
            smuggled = b"MAIL FROM:<evil@x.test>\r\nRCPT TO:<v@y.test>\r\nDATA\r\nSubject: evil\r\n\r\nevil\r\n"
            reply = await client.data(b"Subject: x\r\n\r\nhello" + end + smuggled)
            said = b"5.6.0 Message has a NUL character" if b"\x00" in end else b"5.5.2 Message has a bare CR or LF"
            assert reply == b"550 " + said + b"\r\n"
            assert world.spool.messages == []
            if end == b"\r\r\n.\r\n":
                assert await client.rest() == b""
            else:
                assert (await client.ask(b"NOOP")) == b"250 2.0.0 Ok\r\n"
            assert len(world.spool.messages) <= 1

    run(work)


@pytest.mark.parametrize(
    ("command", "code"),
    [
        (b"NOOP\n", b"500 5.5.2"),
        (b"NOOP\r\r\n", b"500 5.5.2"),
        (b"NO\rOP\r\n", b"500 5.5.2"),
        (b"NOOP \x00\r\n", b"500 5.5.2"),
        (b"NOOP \xff\r\n", b"500 5.5.2"),
        (b"\xff\xfe\r\n", b"500 5.5.2"),
        (b"\r\n", b"500 5.5.1"),
        (b"FOO\r\n", b"500 5.5.1"),
        (b"NOOP " + b"x" * 600 + b"\r\n", b"500 5.5.2"),
        (b"NOOP " + b"x" * 200_000 + b"\r\n", b"500 5.5.2"),
        (b"MAIL FROM:<\xc3\xa5@x.test>\r\n", b"553 5.6.7"),
        (b"MAIL FROM:<\xff@x.test>\r\n", b"553 5.6.7"),
        (b"MAIL FROM:<a\x00@x.test>\r\n", b"500 5.5.2"),
        (b"MAIL FROM:<a@x.test\r\n", b"501 5.5.4"),
        (b"MAIL FROM:a@x.test\r\n", b"501 5.5.4"),
        (b"MAIL FROM:<a@x.test>junk\r\n", b"501 5.5.4"),
        (b"MAIL FROM:<a@x..test>\r\n", b"553 5.1.7"),
        (b"MAIL FROM:<a b@x.test>\r\n", b"553 5.1.7"),
        (b"MAIL FROM:<a>\r\n", b"553 5.1.7"),
        (b"MAIL FROM:<" + b"a" * 65 + b"@x.test>\r\n", b"553 5.1.7"),
        (b"MAIL FROM:<@r.test:a@x.test>\r\n", b"250 2.1.0"),
        (b"MAIL FROM:<a@x.test> SIZE=\xb2\r\n", b"553 5.6.7"),
        (b"MAIL FROM:<a@x.test> SIZE=x\r\n", b"501 5.5.4"),
        (b"MAIL FROM:<a@x.test> SIZE\r\n", b"501 5.5.4"),
        (b"MAIL FROM:<a@x.test> SIZE=" + b"9" * 5000 + b"\r\n", b"500 5.5.2"),
        (b"MAIL FROM:<a@x.test> SIZE=99999999999999999999\r\n", b"552 5.3.4"),
        (b"MAIL FROM:<a@x.test> SIZE=1 SIZE=2\r\n", b"501 5.5.4"),
        (b"MAIL FROM:<a@x.test> BODY=BINARYMIME\r\n", b"501 5.5.4"),
        (b"MAIL FROM:<a@x.test> FOO=1\r\n", b"555 5.5.4"),
        (b"MAIL FROM:<a@x.test> SMTPUTF8\r\n", b"250 2.1.0"),
        (b"MAIL FROM:<a@x.test> =\r\n", b"501 5.5.4"),
        (b"MAIL\r\n", b"501 5.5.4"),
        (b"RCPT TO:<b@x.test>\r\n", b"503 5.5.1"),
        (b"DATA\r\n", b"503 5.5.1"),
        (b"EXPN x\r\n", b"502 5.5.1"),
        (b"BDAT 0 LAST\r\n", b"502 5.5.1"),
        (b"STARTTLS\r\n", b"502 5.5.1"),
        (b"AUTH PLAIN\r\n", b"502 5.5.1"),
        (b"RSET x\r\n", b"501 5.5.4"),
        (b"EHLO\r\n", b"501 5.5.4"),
        (b"HELO a b\r\n", b"501 5.5.4"),
        (b"VRFY a@b.test\r\n", b"252 2.1.5"),
        (b"HELP\r\n", b"214 2.0.0"),
        (b"mail from:<>\r\n", b"250 2.1.0"),
        (b"MAIL FROM: <a@x.test>  SIZE=10  BODY=8BITMIME AUTH=<>\r\n", b"250 2.1.0"),
        (b'MAIL FROM:<"a > b"@x.test>\r\n', b"250 2.1.0"),
        (b"MAIL FROM:<a@[192.0.2.1]>\r\n", b"250 2.1.0"),
    ],
)
def test_a_command_survives(command: bytes, code: bytes) -> None:
    async def work() -> None:
        async with serving() as world:
            client = await world.greeted()
            client.send(command)
            assert (await client.reply())[:9] == code
            assert await client.ask(b"NOOP") == b"250 2.0.0 Ok\r\n"

    run(work)


@pytest.mark.parametrize(
    ("argument", "code"),
    [
        (b"<>", b"553 5.1.3"),
        (b"<b@x.test", b"501 5.5.4"),
        (b"<b@x.test\x00>", b"500 5.5.2"),
        (b"<\xff\xfe@x.test>", b"553 5.6.7"),
        (b"<user>", b"553 5.1.3"),
        (b"<b@x.test> NOTIFY=NEVER", b"250 2.1.5"),
        (b"<b@x.test> NOTIFY=NEVER,SUCCESS", b"501 5.5.4"),
        (b"<PostMaster>", b"250 2.1.5"),
        (b"<B.c+D@X.test>", b"250 2.1.5"),
    ],
)
def test_recipient(argument: bytes, code: bytes) -> None:
    async def work() -> None:
        async with serving() as world:
            client = await world.greeted()
            await client.ask(b"MAIL FROM:<>")
            assert (await client.ask(b"RCPT TO:" + argument))[:9] == code

    run(work)


@pytest.mark.parametrize("first", [b"EHLO x.test", b"HELO x.test", b"DATA", b"STARTTLS", b"AUTH PLAIN"])
def test_talking_early_ends_the_session(first: bytes) -> None:
    async def work() -> None:
        async with serving(FakeHooks(auth=None), auth_without_tls=True) as world:
            client = await world.greeted()
            await client.envelope() if first == b"DATA" else None
            client.send(first + b"\r\nNOOP\r\n")
            assert await client.rest() == b"503 5.5.0 Improper command pipelining\r\n"

    run(work)


def test_no_end_of_line_is_not_kept() -> None:
    async def work() -> None:
        async with serving() as world:
            client = await world.greeted()
            client.send(b"x" * 3_000_000)
            # closed with input unread, so the reply may be lost to a reset
            with suppress(ConnectionError):
                assert await client.rest() in (b"", b"500 5.5.2 Line too long\r\n")

    run(work)


@pytest.mark.parametrize(
    ("content", "code"),
    [
        (b"Subject: x\r\n\r\n" + b"y" * 998 + b"\r\n", b"250"),
        (b"Subject: x\r\n\r\n." + b"." + b"y" * 997 + b"\r\n", b"250"),
        (b"Subject: x\r\n\r\n" + b"y" * 999 + b"\r\n", b"500"),
        (b"Subject: x\r\n\r\n" + b"y" * 998 + b"\r\n" + b"z" * 5000 + b"\r\n", b"500"),
        (b"", b"250"),
        (b"\r\n", b"250"),
        (b"." + b".\r\n", b"250"),
        (b"X: y\r\n" * 3000 + b"\r\n", b"250"),
        (b"X: y\r\n" * 30_000 + b"\r\n", b"552"),
        (b"Received: y\r\n" * 50 + b"\r\n", b"250"),
        (b"RECEIVED: y\r\n" * 51 + b"\r\n", b"554"),
        (b"a: " + b"\xe5\r\n\r\n\xe5\r\n", b"250"),
    ],
)
def test_content_limits(content: bytes, code: bytes) -> None:
    async def work() -> None:
        async with serving() as world:
            client = await world.greeted()
            await client.envelope()
            reply = await client.data(content)
            assert reply[:3] == code
            assert len(world.spool.messages) == (code == b"250")
            await client.envelope()

    run(work)


@pytest.mark.parametrize("uvloop", [False, True])
def test_size_limit_during_data(uvloop: bool) -> None:
    async def work() -> None:
        async with serving(size_limit_bytes=100_000) as world:
            client = await world.greeted()
            await client.envelope()
            line = b"y" * 98 + b"\r\n"
            assert (await client.data(b"\r\n" + line * 999 + line[2:]))[:3] == b"250"
            await client.envelope()
            assert await client.data(b"\r\n" + line * 1000) == b"552 5.3.4 Message exceeds the size limit\r\n"
            await client.envelope()
            assert (await client.ask(b"DATA"))[:3] == b"354"
            for _ in range(300):
                client.send(line * 100)
                await client.writer.drain()
            assert world.server.shared.data_bytes < 2_000_000
            client.send(b".\r\nNOOP\r\n")
            assert await client.reply() == b"552 5.3.4 Message exceeds the size limit\r\n"
            assert (await client.reply())[:3] == b"250"
            assert world.server.shared.data_bytes == 0
            assert len(world.spool.messages) == 1
            # dots that only keep lines apart do not count
            await client.envelope()
            assert (await client.data(b"..\r\n" * 33_000))[:3] == b"250"

    run(work, uvloop)


def test_memory_of_all_messages_is_limited() -> None:
    async def work() -> None:
        async with serving(data_memory_bytes=50_000) as world:
            client = await world.greeted()
            await client.envelope()
            assert (await client.data(b"\r\n" + b"y\r\n" * 30_000))[:9] == b"452 4.3.1"
            assert world.server.shared.data_bytes == 0
            await client.envelope()
            assert (await client.data(b"\r\n" + b"y\r\n" * 3_000))[:3] == b"250"

    run(work)


def test_one_client_has_half_of_the_memory() -> None:
    """It may send a little now and then for hours."""

    async def work() -> None:
        async with serving(data_memory_bytes=50_000, size_limit_bytes=12_000) as world:
            slow = [await world.greeted() for _ in range(2)]
            for client in slow:
                await client.envelope()
                await client.ask(b"DATA")
                client.send(b"x: y\r\n" * 1_500)
            await until(lambda: world.server.shared.data_of.get("127.0.0.1") == 18_000)
            third = await world.greeted()
            await third.envelope()
            assert (await third.data(b"x: y\r\n" * 1_500))[:9] == b"452 4.3.1"
            other = await world.greeted(source="127.0.0.2")
            await other.envelope()
            assert (await other.data(b"\r\n" + b"y\r\n" * 3_000))[:3] == b"250"
            for client in slow:
                client.close()
            await until(lambda: not world.server.shared.data_of)
            assert world.server.shared.data_bytes == 0

    run(work)


def test_what_counts_as_one_client() -> None:
    assert client_of("192.0.2.1") == "192.0.2.1"
    assert client_of("2001:db8::1") == client_of("2001:db8::ffff:2") != client_of("2001:db8:0:1::1")


@pytest.mark.parametrize(
    ("content", "header", "body"),
    [
        (b"A: b\r\n c\r\nD : e\r\n\r\nbody\r\n", b"A: b\r\n c\r\nD : e\r\n\r\n", b"body\r\n"),
        (b"A: b\r\n", b"A: b\r\n\r\n", b""),
        (b"hello\r\nworld\r\n", b"\r\n", b"hello\r\nworld\r\n"),
        (b"A: b\r\nhello\r\n\r\nx: y\r\n", b"A: b\r\n\r\n", b"hello\r\n\r\nx: y\r\n"),
        (b" folded\r\n", b"\r\n", b" folded\r\n"),
        (b"\r\nA: b\r\n", b"\r\n", b"A: b\r\n"),
        (b"", b"\r\n", b""),
    ],
)
def test_header_ends_where_fields_end(content: bytes, header: bytes, body: bytes) -> None:
    assert framing.split_header(content, 1000) == (header, body)


def test_a_header_over_the_limit_is_not_gone_through() -> None:
    """Each field matched takes memory: 32 MiB of short ones took 2 GB."""
    most = 4000
    for size in (most - 6, most, most + 2, most + 6, 2 * most, 2 * most + 2, 32 * 1024 * 1024):
        for line in (b"X: y\r\n", b"X: y\r\n z\r\n", b"X: " + b"y" * 995 + b"\r\n"):
            fields = line * (size // len(line))
            split = framing.split_header(fields + b"\r\nbody", most)
            assert split == ((fields + b"\r\n", b"body") if len(fields) <= most else None)


def test_long_lines_are_found_wherever_they_are() -> None:
    for before in range(40):
        for length in (8, 9, 10, 11, 25):
            content = b"ab\r\n" * 3 + b"c" * before + b"\r\n" + b"d" * (length - 2) + b"\r\n" + b"ef\r\n"
            longest = max(len(line) for line in content.splitlines(keepends=True))
            assert has_long_line(content, 10) == (longest > 10)


def test_ends_and_line_ends_do_not_depend_on_the_chunks() -> None:
    """Random messages in random pieces, against the definition."""
    chance = random.Random(7)
    for _ in range(4000):
        content = b"".join(chance.choice((b"\r\n", b"\r", b"\n", b".", b"..", b"ab", b"\r\n", b"c\r\n")) for _ in range(12))
        stream = content + b"\r\n.\r\nQUIT\r\n"
        true_end = 0 if stream.startswith(b".\r\n") else stream.index(b"\r\n.\r\n") + 2
        message = stream[:true_end]
        bare = b"\r" in message.replace(b"\r\n", b"") or b"\n" in message.replace(b"\r\n", b"")
        buffer, seen, ends, at = bytearray(), 0, framing.LineEnds(), 0
        while True:
            step = chance.randint(1, 7)
            buffer += stream[at : at + step]
            at += step
            end = framing.find_end(buffer, seen, True)
            if end >= 0:
                break
            ends.arrived(buffer)
            seen = len(buffer)
        assert (end, ends.ended(buffer, end)) == (true_end, bare), stream
        lines = message.split(b"\r\n")
        assert framing.unstuff(message) == b"\r\n".join(line[1:] if line.startswith(b".") else line for line in lines)

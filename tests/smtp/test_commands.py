"""Command lines at their limits, groups of them in order, and what of a client's text comes into a message's header."""

from __future__ import annotations

import asyncio
import re

import pytest

from tests.smtp.harness import FakeHooks, run, serving

LONG_DOMAIN = b".".join([b"d" * 63] * 3)  # 191 bytes


@pytest.mark.parametrize(
    ("command", "code"),
    [
        (b"NOOP " + b"x" * 505, b"250"),
        (b"NOOP " + b"x" * 506, b"500"),
        (b"noop\t", b"500"),
        (b"NOOP \t x \t", b"250"),
        (b" NOOP", b"500"),
        (b"NOOP" + b" " * 400, b"250"),
        (b"nOoP", b"250"),
        (b"QUITX", b"500"),
        (b"RSET  ", b"250"),
        (b"HELP " + b"y" * 100, b"214"),
        (b"VRFY <a@b.test>", b"252"),
        (b"VRFY", b"252"),
        (b"EXPN list", b"502"),
        (b"TURN", b"500"),
        (b"ETRN x", b"500"),
        (b"SEND FROM:<a@b.test>", b"500"),
        (b"XCLIENT ADDR=127.0.0.1", b"500"),
        (b"XFORWARD NAME=x", b"500"),
        (b"PROXY TCP4 127.0.0.1 127.0.0.1 1 2", b"500"),
        (b"MAIL FROM:<" + b"a" * 64 + b"@x.test>", b"250"),
        (b"MAIL FROM:<" + b"a" * 65 + b"@x.test>", b"553"),
        (b'MAIL FROM:<"' + b"a" * 64 + b'"@x.test>', b"250"),
        (b'MAIL FROM:<"' + b"a" * 65 + b'"@x.test>', b"553"),
        (b"MAIL FROM:<" + b"a" * 61 + b"@" + LONG_DOMAIN + b">", b"250"),  # a path of 255 bytes
        (b"MAIL FROM:<" + b"a" * 62 + b"@" + LONG_DOMAIN + b">", b"250"),  # of 256
        (b"MAIL FROM:<" + b"a" * 63 + b"@" + LONG_DOMAIN + b">", b"553"),  # of 257
        (b"MAIL FROM:<a@" + b"d" * 64 + b".test>", b"553"),
        (b'MAIL FROM:<"a\\"b>\\\\"@x.test>', b"250"),
        (b'MAIL FROM:<"a@x.test>', b"501"),
        (b'MAIL FROM:<"a\rb"@x.test>', b"500"),
        (b'MAIL FROM:<"a\\\x00b"@x.test>', b"500"),
        (b"MAIL FROM:<a@x.test", b"501"),
        (b"MAIL FROM:<a@x.test>>", b"501"),
        (b"MAIL FROM:<<a@x.test>>", b"553"),
        (b"MAIL FROM:<a@x.test> <b@x.test>", b"501"),
        (b"MAIL FROM:<a@x.test>,<b@x.test>", b"501"),
        (b"MAIL FROM:<a@x.test,b@x.test>", b"553"),
        (b"MAIL FROM: a@x.test", b"501"),
        (b"MAIL FROM :<a@x.test>", b"501"),
        (b"MAIL FROM:\t<a@x.test>", b"501"),
        (b"MAIL FROM:<@a.test,@b.test:c@d.test>", b"250"),
        (b"MAIL FROM:<@a.test,:c@d.test>", b"553"),
        (b"MAIL FROM:<@a.test:>", b"553"),
        (b"MAIL FROM:<@a.test>", b"553"),
        (b"MAIL FROM:<a@[127.0.0.1]>", b"250"),
        (b"MAIL FROM:<a@[IPv6:::1]>", b"250"),
        (b"MAIL FROM:<a@[]>", b"553"),
        (b"MAIL FROM:<a@[127.0.0.1>", b"553"),
        (b"MAIL FROM:<a@[127.0.0.256]>", b"553"),
        (b"MAIL FROM:<a@[127.1]>", b"553"),
        (b"MAIL FROM:<a@[::1]>", b"553"),
        (b"MAIL FROM:<a@[IPv6:::1%lo]>", b"553"),
        (b"MAIL FROM:<a@[IPv6:x]>", b"553"),
        (b"MAIL FROM:<a@[x:y>z]>", b"553"),
        (b"MAIL FROM:<a@x.test> SIZE=", b"501"),
        (b"MAIL FROM:<a@x.test> SIZE=-1", b"501"),
        (b"MAIL FROM:<a@x.test> SIZE=1e3", b"501"),
        (b"MAIL FROM:<a@x.test> SIZE=0x10", b"501"),
        (b"MAIL FROM:<a@x.test> SIZE=" + b"9" * 21, b"501"),
        (b"MAIL FROM:<a@x.test> SIZE=50000", b"250"),
        (b"MAIL FROM:<a@x.test> SIZE=50001", b"552"),
        (b"MAIL FROM:<a@x.test> SIZE=1 size=2", b"501"),
        (b"MAIL FROM:<a@x.test> BODY=8BITMIME BODY=7BIT", b"501"),
        (b"MAIL FROM:<a@x.test> body=7bit", b"250"),
        (b"MAIL FROM:<a@x.test> BODY", b"501"),
        (b"MAIL FROM:<a@x.test> BODY=BINARYMIME", b"501"),
    ],
)
def test_a_line_at_its_limits(command: bytes, code: bytes) -> None:
    async def work() -> None:
        async with serving(size_limit_bytes=50_000) as world:
            client = await world.greeted()
            assert (await client.ask(command))[:3] == code
            assert (await client.ask(b"NOOP"))[:3] == b"250"

    run(work)


def test_a_line_may_be_any_length_up_to_the_limit_of_all() -> None:
    """Up to a mebibyte without an end is an error like another; beyond it nothing is believed."""

    async def work() -> None:
        async with serving() as world:
            client = await world.greeted()
            for size in (513, 4096, 12_287, 12_288, 12_289, 65_536, 131_073, 1_000_000):
                client.send(b"NOOP " + b"x" * size + b"\r\n")
                assert (await client.reply())[:9] == b"500 5.5.2", size
                assert (await client.ask(b"NOOP"))[:3] == b"250"
            client.send(b"y" * 1_100_000)
            assert await client.rest() == b"500 5.5.2 Line too long\r\n"

    run(work)


def test_replies_of_a_group_come_in_its_order() -> None:
    """Good, bad and slow commands mixed: one reply each, whichever way the group is cut."""
    group = [
        (b"MAIL FROM:<a@x.test>", b"250 2.1.0"),
        (b"RCPT TO:<slow@y.test>", b"250 2.1.5"),
        (b"RCPT TO:<>", b"553 5.1.3"),
        (b"MAIL FROM:<b@x.test>", b"503 5.5.1"),
        (b"NOOP\x00", b"500 5.5.2"),
        (b"RCPT TO:<b@y.test>", b"250 2.1.5"),
        (b"VRFY x", b"252 2.1.5"),
        (b"RCPT TO:<b@y.test> X=1", b"555 5.5.4"),
        (b"HELP", b"214 2.0.0"),
        (b"z" * 600, b"500 5.5.2"),
        (b"RSET", b"250 2.0.0"),
        (b"RCPT TO:<b@y.test>", b"503 5.5.1"),
        (b"NOOP", b"250 2.0.0"),
        (b"DATA", b"503 5.5.1"),
    ]
    sent, wanted = b"".join(line + b"\r\n" for line, _ in group), [code for _, code in group]

    async def slow(event: object) -> None:
        if event.recipient.address.local_part == "slow":  # type: ignore[attr-defined]
            await asyncio.sleep(0.01)

    async def work() -> None:
        async with serving(FakeHooks(rcptto=slow)) as world:
            for cut in range(0, len(sent), 7):
                client = await world.greeted()
                client.send(sent[:cut])
                await asyncio.sleep(0)
                client.send(sent[cut:])
                assert [(await client.reply())[:9] for _ in wanted] == wanted, cut
                client.close()

    run(work)


def test_a_group_ends_with_the_connection() -> None:
    async def work() -> None:
        async with serving() as world:
            client = await world.greeted()
            client.send(b"NOOP\r\nQUIT\r\nNOOP\r\nMAIL FROM:<a@x.test>\r\n")
            assert await client.rest() == b"250 2.0.0 Ok\r\n221 2.0.0 Bye\r\n"
            client = await world.greeted()
            await client.envelope()
            await client.ask(b"DATA")
            client.send(b"x\r\n.\r\nRSET\r\nMAIL FROM:<c@x.test>\r\nQUIT\r\n")
            assert re.sub(rb" [^\r]*", b"", await client.rest()).split() == [b"250", b"250", b"250", b"221"]
            assert len(world.spool.messages) == 1

    run(work)


@pytest.mark.parametrize(
    "name",
    [b"x\tby", b"x;(", b"<x>", b'"x"', b"x)by", b"[127.0.0.1]", b"a" * 255, b"%s%n", b"x\\", b"$x", b"x,y=z", b"[IPv6:::1]"],
)
def test_a_clients_name_stays_within_its_field(name: bytes) -> None:
    """Whatever HELO says, our Received is one field of the form that it should have."""

    async def work() -> None:
        async with serving() as world:
            client = await world.connect()
            await client.reply()
            if (await client.ask(b"EHLO " + name))[:3] != b"250":
                return
            await client.envelope(b'"o; (x) \\"by"@dest.test')
            assert (await client.data(b"Subject: x\r\n\r\nx\r\n"))[:3] == b"250"
            fields = re.split(rb"\r\n(?![ \t])", world.spool.messages[0].header)
            assert fields[1:] == [b"Subject: x", b"", b""]
            assert re.fullmatch(
                rb"Received: from [A-Za-z0-9.:_\[\]?-]+ \(\[127\.0\.0\.1\]\)\r\n\tby mx\.test with ESMTP id \S+"
                rb'(\r\n\tfor <"[^\r\n]*"@dest\.test>)?;\r\n\t[^\r\n]+',
                fields[0],
            )
            assert all(len(line) <= 998 for line in fields[0].split(b"\r\n"))

    run(work)


@pytest.mark.parametrize(
    ("content", "code"),
    [
        (b"A: " + b"x" * 100_000 + b"\r\n\r\n", b"500"),  # a line of 100 kB
        (b"A: b\r\n" + b" " + b"x" * 990 + b"\r\n", b"250"),
        (b"A:" + b"\r\n b" * 20_000 + b"\r\n\r\n", b"250"),
        (b"A:" + b"\r\n b" * 30_000 + b"\r\n\r\n", b"552"),
        (b"A: b\r\n" * 10_000 + b"\r\n", b"250"),
        (b"no header here\r\nReceived: x\r\n" + b"Received: y\r\n" * 100, b"250"),
        (b"Received: x\r\n" * 51 + b"\r\n", b"554"),
        (b"A: b\r\nReceived:\r\n x\r\n" * 51 + b"\r\n", b"554"),
        (b"X-Received: x\r\n" * 60 + b"\r\n", b"250"),
        (b"A: \0\r\n\r\n", b"550"),
        (b"\0: b\r\n\r\n", b"550"),
        (b"A: \xe5\xff\r\n\r\n\xff\xfe\r\n", b"250"),
        (b"\r\n" * 1000, b"250"),
        (b"x" * 998 + b"\r\n", b"250"),
        (b"x" * 999 + b"\r\n", b"500"),
        (b"." * 999 + b"\r\n", b"250"),  # one of them is transparency's
        (b"." * 1000 + b"\r\n", b"500"),
        (b"\r\n" + b"y" * 98 + b"\r\n" + b"z" * 49_896 + b"\r\n", b"500"),
        (b"\r\n" + (b"y" * 98 + b"\r\n") * 499 + b"z" * 96 + b"\r\n", b"250"),  # 50,000 bytes
        (b"\r\n" + (b"y" * 98 + b"\r\n") * 499 + b"z" * 97 + b"\r\n", b"552"),
    ],
)
def test_a_message_at_its_limits(content: bytes, code: bytes) -> None:
    async def work() -> None:
        async with serving(size_limit_bytes=50_000 if content.startswith(b"\r\ny") else 1_000_000) as world:
            client = await world.greeted()
            await client.envelope()
            assert (await client.data(content))[:3] == code
            assert len(world.spool.messages) == (code == b"250")
            await client.envelope()

    run(work)

"""SMTP smuggling: one message in, never two stored. Every spelling of a false end, in one piece, in bytes or in halves.

What a message holds is judged by a definition of its own here: the first CR LF dot CR LF ends it, and a CR or LF outside
CR LF, or a NUL, refuses it.
"""

from __future__ import annotations

import asyncio
import itertools
import re
from collections.abc import Iterable

import pytest

from hslpy.clock import ManualClock
from tests.smtp.harness import Client, FakeHooks, World, run, serving, until

HEAD = b"Subject: x\r\n\r\nhello"
EVIL = b"MAIL FROM:<evil@x.test>\r\nRCPT TO:<v@y.test>\r\nDATA\r\nSubject: evil\r\n\r\nevil\r\n.\r\n"

LINE_ENDS = (
    *(b"\r\n", b"\n", b"\r", b"\n\r", b"\r\r", b"\n\n", b"\r\r\n", b"\r\n\r"),
    *(b"\r\n\x00", b"\x00\r\n", b"\r\x00\n", b"\x0b", b"\x85"),
)
DOTS = (b".", b"..", b"\x00.", b".\x00", b". ", b" .", b".\t", b"\x7f.")
SEQUENCES = [first + dot + last for first, dot, last in itertools.product(LINE_ENDS, DOTS, LINE_ENDS)]
SEQUENCES += [b"\r\n.", b"\n.", b"\r.", b"\r\n.\r", b"\r\n.\n", b".\r\n", b".\n", b"\r\n.\\r\\n", b"\r\n=2E\r\n"]
FALSE_ENDS = [each for each in dict.fromkeys(SEQUENCES) if b"\r\n.\r\n" not in each]


def defined(stream: bytes) -> tuple[bytes, bytes]:
    """Give the message that DATA begins, with its dots, and what comes behind its end."""
    if stream.startswith(b".\r\n"):
        return b"", stream[3:]
    end = stream.index(b"\r\n.\r\n")
    return stream[: end + 2], stream[end + 5 :]


def is_sound(message: bytes) -> bool:
    return re.fullmatch(rb"(?:[^\r\n\0]|\r\n)*", message) is not None


def unstuffed(message: bytes) -> bytes:
    return b"\r\n".join(line[1:] if line.startswith(b".") else line for line in message.split(b"\r\n"))


async def send_in(client: Client, pieces: Iterable[bytes]) -> None:
    """Send pieces that the server reads one by one."""
    for piece in pieces:
        client.send(piece)
        for _ in range(3):
            await asyncio.sleep(0)


async def replies_to(world: World, stream: bytes, cuts: Iterable[int]) -> list[bytes]:
    """Give the codes of all replies after 354 to a stream sent in pieces, QUIT behind it."""
    client = await world.greeted()
    await client.envelope()
    assert (await client.ask(b"DATA"))[:4] == b"354 "
    stream += b"QUIT\r\n"
    places = [0, *cuts, len(stream)]
    await send_in(client, (stream[start:end] for start, end in itertools.pairwise(places)))
    said = await client.rest()
    client.close()
    return [line[:3] for line in said.split(b"\r\n")[:-1]]


@pytest.mark.parametrize("way", ["at once", "byte by byte", "halves"])
def test_a_false_end_never_makes_two_messages(way: str) -> None:
    async def work() -> None:
        async with serving(max_connections_per_client=2000) as world:
            for sequence in FALSE_ENDS:
                stream = HEAD + sequence + EVIL
                message, behind = defined(stream)
                assert behind == b"" and b"evil@x.test" in message
                around = range(len(HEAD) - 1, len(HEAD) + len(sequence) + 2)
                if way == "at once":
                    tries: list[Iterable[int]] = [()]
                elif way == "byte by byte":
                    tries = [range(1, len(stream) + 6)] if len(sequence) <= 5 else []
                else:
                    tries = [(cut,) for cut in around] if len(sequence) <= 4 else []
                for cuts in tries:
                    world.spool.messages.clear()
                    codes = await replies_to(world, stream, cuts)
                    good = is_sound(message)
                    assert codes == ([b"250", b"221"] if good else [b"550", b"221"]), (sequence, cuts)
                    assert [each.body for each in world.spool.messages] == (
                        [unstuffed(message).partition(b"\r\n\r\n")[2]] if good else []
                    ), (sequence, cuts)
            assert not [fields for event, fields in world.log if event == "smtp.fault"]
            assert world.server.shared.data_bytes == 0

    run(work)


@pytest.mark.parametrize("sequence", [b"\r\r\n.\r\n", b"\n\r\r\n.\r\n", b"\r\r\r\n.\r\n"])
def test_an_end_that_others_may_not_see_ends_the_session(sequence: bytes) -> None:
    """CR CR LF before the dot: a client that takes that for no line end sent one message, and means no commands."""

    async def work() -> None:
        async with serving() as world:
            stream = HEAD + sequence + EVIL
            for cuts in ((), range(1, len(stream) + 6), *((cut,) for cut in range(len(HEAD), len(HEAD) + 8))):
                codes = await replies_to(world, stream, cuts)
                assert codes == [b"550"], cuts
                assert world.spool.messages == []

    run(work)


def test_a_true_end_is_one_wherever_it_is_cut() -> None:
    """The same commands behind a true end are a second message, as its sender meant."""

    async def work() -> None:
        async with serving() as world:
            # DATA must be the last of its group: the second message goes after its 354
            at = EVIL.index(b"Subject")
            first, second = HEAD + b"\r\n.\r\n" + EVIL[:at], EVIL[at:] + b"QUIT\r\n"
            for cut in range(1, len(first)):
                world.spool.messages.clear()
                client = await world.greeted()
                await client.envelope()
                await client.ask(b"DATA")
                await send_in(client, (first[:cut], first[cut:]))
                assert [(await client.reply())[:3] for _ in range(4)] == [b"250", b"250", b"250", b"354"]
                await send_in(client, (second,))
                assert (await client.rest()).count(b"\r\n") == 2
                assert [each.body for each in world.spool.messages] == [b"hello\r\n", b"evil\r\n"]

    run(work)


@pytest.mark.parametrize(
    ("stream", "body"),
    [
        (b".\r\n", b""),
        (b"\r\n.\r\n", b""),
        (b"..\r\n.\r\n", b".\r\n"),
        (b"\r\n..\r\n.\r\n", b".\r\n"),
        (b"\r\n...\r\n.\r\n", b"..\r\n"),
        (b"\r\n.x\r\n.\r\n", b"x\r\n"),
        (b"\r\n. \r\n.\r\n", b" \r\n"),
        (b"\r\n.\tx\r\n.\r\n", b"\tx\r\n"),
        (b"\r\n..\r\n..\r\n.\r\n", b".\r\n.\r\n"),
        (b"\r\n\r\n\r\n.\r\n", b"\r\n\r\n"),
        (b"\r\n" + b"\xff\x80\xe2\x80\xa8\x85\r\n.\r\n", b"\xff\x80\xe2\x80\xa8\x85\r\n"),
    ],
)
def test_dots(stream: bytes, body: bytes) -> None:
    async def work() -> None:
        async with serving() as world:
            for cuts in ((), *((cut,) for cut in range(1, len(stream) + 6)), range(1, len(stream) + 6)):
                assert await replies_to(world, stream, cuts) == [b"250", b"221"]
                assert world.spool.messages.pop().body == body, cuts

    run(work)


@pytest.mark.parametrize("size", [4 * 1024, 1024 * 1024])
def test_false_ends_in_large_messages(size: int) -> None:
    """Wherever the pieces of a large message are cut, the fault is seen and the end is found."""

    async def work() -> None:
        async with serving(max_connections_per_client=2000) as world:
            line = b"y" * 70 + b"\r\n"
            for fault in (b"\n.\r\n", b"\r\n.\n", b"\r\n.\r", b"\0"):
                for before in (0, size // 2, size - 2):
                    start = HEAD + b"\r\n" + line * (before // len(line))
                    rest = line * ((size - before) // len(line))
                    cut = len(start) + 1
                    codes = await replies_to(world, start + fault + rest + EVIL, (cut, cut + 1, cut + 2))
                    assert codes == [b"550", b"221"]
            assert world.spool.messages == []

    run(work)


@pytest.mark.parametrize("command", [b"BDAT 5 LAST", b"BDAT", b"BDAT 00010", b"BDAT 0x5", b"BDAT -1", b"BDAT 0 0 LAST"])
def test_chunks_that_were_not_offered_are_not_run(command: bytes) -> None:
    """BDAT's octets follow without waiting for a reply: they must not become commands."""

    async def work() -> None:
        async with serving() as world:
            client = await world.greeted()
            await client.envelope()
            client.send(b"BDAT %d LAST\r\n" % len(EVIL) + EVIL)
            assert [line[:3] for line in (await client.rest()).split(b"\r\n")[:-1]] == [b"503"]
            assert world.spool.messages == []
            client = await world.greeted()
            for empty in (b"BDAT 0", b"bdat 0 last"):
                assert (await client.ask(empty))[:9] == b"502 5.5.1"
            assert (await client.ask(command))[:9] == b"502 5.5.1"
            client.send(EVIL)
            assert await client.rest() == b"" and world.spool.messages == []

    run(work)


@pytest.mark.parametrize("verb", [b"GET / HTTP/1.1", b"POST / HTTP/1.1", b"CONNECT a:25 HTTP/1.1", b"OPTIONS * HTTP/1.0"])
@pytest.mark.parametrize("greeted", [False, True])
def test_a_browser_is_turned_away(verb: bytes, greeted: bool) -> None:
    """Commands within what a browser posts are not run."""

    async def work() -> None:
        async with serving() as world:
            client = await (world.greeted() if greeted else world.connect())
            client.send(verb + b"\r\nHost: mx.test\r\nContent-Length: 200\r\n\r\nEHLO x\r\n" + EVIL)
            said = (await client.rest()).split(b"\r\n")
            assert said[-2] == b"421 4.7.0 This is a mail server" and len(said) <= 3
            assert world.spool.messages == []

    run(work)


def test_input_before_the_greeting() -> None:
    async def work() -> None:
        async def heard(_: object = None) -> None:
            await until(lambda: any(each._reader._buffer for each in world.server._connections))

        clock = ManualClock()
        async with serving(greeting_delay_s=0.2, clock=clock) as world:
            client = await world.connect()
            client.send(b"EHLO x.test\r\n")
            await heard()
            clock.advance(0.2)
            assert await client.rest() == b"554 5.5.0 You spoke before the greeting\r\n"
            greeted = asyncio.create_task(world.greeted())
            while not greeted.done():
                clock.advance(0.1)
                await asyncio.sleep(0.01)
            assert await (await greeted).ask(b"NOOP") == b"250 2.0.0 Ok\r\n"

        async with serving(FakeHooks(connect=heard)) as world:
            client = await world.connect()
            client.send(EVIL)
            assert (await client.rest())[:4] == b"554 "
            assert world.spool.messages == []

    run(work)

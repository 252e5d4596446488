"""A stop while servers answer: what they said of a message, and was read, is recorded."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest

from hslpy.client.protocol import ReplyProtocol
from hslpy.delivery.settings import Transport
from hslpy.mail.attempt import Sending
from hslpy.mail.verdict import QueueVerdict, TryOptions
from tests.delivery.server import TIMEOUTS, address, until, world
from tests.delivery.test_delivery import run
from tests.support.smtp_sink import Sink, zone_for

FINAL = b"2.0.0 queued"


@pytest.fixture
def replies(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[bytes]]:
    """What clients were told, as it came."""
    told: list[bytes] = []
    received = ReplyProtocol.data_received

    def listen(self: ReplyProtocol, data: bytes) -> None:
        told.append(data)
        received(self, data)

    monkeypatch.setattr(ReplyProtocol, "data_received", listen)
    yield told


@pytest.mark.parametrize("lmtp", [False, True])
@pytest.mark.parametrize("answer", ["250 2.0.0 queued", "550 5.7.1 2.0.0 queued not"])
def test_an_answer_that_was_read_is_recorded_whenever_the_stop_comes(replies: list[bytes], answer: str, lmtp: bool) -> None:
    seen: list[bool] = []

    async def one(ticks: int, recipients: int) -> None:
        hold = asyncio.Event()
        async with Sink("127.0.0.9", answers={"EOD": answer}, lmtp=lmtp, hold=hold) as sink:
            transport = Transport("t", port=sink.port, timeouts=TIMEOUTS, protocol="lmtp" if lmtp else "smtp")
            async with world(zone_for({"a.example": sink}), port=sink.port, transports=(transport,)) as w:

                async def post(event: Any) -> QueueVerdict:
                    for _ in range(3):
                        await asyncio.sleep(0)
                    return QueueVerdict("default")

                w.hooks.post = post
                replies.clear()
                await w.put(*(f"u{n}@a.example" for n in range(recipients)), sender="", transport_id="t")
                await until(lambda: sink.raw)
                if ticks >= 0:
                    hold.set()
                for _ in range(ticks):
                    await asyncio.sleep(0)
                stopping = asyncio.create_task(w.delivery.stop(0))
                for _ in range(-ticks):
                    await asyncio.sleep(0)
                hold.set()
                await asyncio.wait_for(stopping, 60)
                read = sum(data.count(FINAL) for data in replies)
                seen.append(read > 0)
                wanted = 0 if read == 0 else recipients
                assert sum(w.delivery.counts.values()) == wanted, (ticks, recipients, dict(w.delivery.counts))
                assert len(w.queue) == recipients - wanted and w.queue.in_flight == 0
                assert len(w.hooks.posts) == wanted

    async def test() -> None:
        for recipients in (1, 3):
            for ticks in range(-8, 12):
                await one(ticks, recipients)

    run(test())
    assert any(seen) and not all(seen), "there are stops before the answer was read, and after"


def test_of_several_answers_those_that_came_are_recorded(replies: list[bytes]) -> None:
    """LMTP: the first recipient is answered for, the stop comes, and the others are tried again."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 ready\r\n")
        while line := await reader.readline():
            if line == b"DATA\r\n":
                writer.write(b"354 go ahead\r\n")
                await reader.readuntil(b"\r\n.\r\n")
                writer.write(b"250 " + FINAL + b"\r\n")
            else:
                writer.write(b"250 ok\r\n")
        writer.close()

    async def test() -> None:
        server = await asyncio.start_server(serve, "127.0.0.9", 0)
        port = server.sockets[0].getsockname()[1]
        transport = Transport("t", next_hop="127.0.0.9", port=port, protocol="lmtp")
        async with world(transports=(transport,)) as w:
            await w.put("u0@a.example", "u1@a.example", "u2@a.example", transport_id="t")
            await until(lambda: any(FINAL in data for data in replies))
            await w.delivery.stop(0.05)
            assert dict(w.delivery.counts) == {"delivered": 1, "deferred": 2}
            assert {fields["reason"] for fields in w.events("delivery.deferred")} == {
                "127.0.0.9 [127.0.0.9]: the server was stopped (EOD)"
            }
            assert [fields["recipient"] for fields in w.events("delivery.delivered")] == ["u0@a.example"]
        server.close()

    run(test())


def test_a_script_that_sends_is_ended_all_the_same_when_its_session_is() -> None:
    async def one(ticks: int) -> None:
        hold = asyncio.Event()
        async with Sink("127.0.0.9", hold=hold) as sink, world(zone_for({"a.example": sink}), port=sink.port) as w:
            people = address("from@b.example"), (address("u@a.example"),)
            sending = Sending(*people, b"Subject: x\r\n\r\n", {}, ({},), "mailtransport:1", TryOptions(), {})
            task = asyncio.create_task(w.delivery.sender.send(sending))
            await until(lambda: sink.raw)
            hold.set()
            for _ in range(ticks):
                await asyncio.sleep(0)
            if task.cancel():
                with pytest.raises(asyncio.CancelledError):
                    await task

    async def test() -> None:
        for ticks in range(8):
            await one(ticks)

    run(test())

"""Clients that leave, stay silent or wait too long; shutdown with mail under way."""

from __future__ import annotations

import asyncio
import gc
import weakref

import pytest

from hslpy.clock import ManualClock
from hslpy.hooks.facts import DataEvent
from hslpy.mail.verdict import DataVerdict
from tests.smtp.harness import LIMIT_S, FakeHooks, deliver_all, run, serving, until
from tests.soak import floods

MESSAGE = b"Subject: x\r\n\r\nhello\r\n"


@pytest.mark.parametrize("uvloop", [False, True])
def test_a_client_that_closes_its_side_is_still_served(uvloop: bool) -> None:
    """`printf ... | nc` closes its side at once; aiosmtpd drops all of it."""

    async def work() -> None:
        async with serving() as world:
            client = await world.greeted()
            await client.envelope()
            await client.ask(b"DATA")
            client.send(MESSAGE + b".\r\nQUIT\r\n")
            client.writer.write_eof()
            assert await client.rest() == b"250 2.0.0 Ok: queued as id-2 (queue 1)\r\n221 2.0.0 Bye\r\n"
            assert len(world.spool.messages) == 1

    run(work, uvloop)


@pytest.mark.parametrize("uvloop", [False, True])
@pytest.mark.parametrize("reset", [False, True])
def test_a_client_that_left_during_the_hook_is_not_accepted(uvloop: bool, reset: bool) -> None:
    async def work() -> None:
        started, go_on = asyncio.Event(), asyncio.Event()

        async def slow(event: DataEvent) -> DataVerdict:
            started.set()
            await go_on.wait()
            return deliver_all(event)

        async with serving(FakeHooks(data=slow)) as world:
            client = await world.greeted()
            await client.envelope()
            await client.ask(b"DATA")
            client.send(MESSAGE + b".\r\n")
            await started.wait()
            if reset:
                client.writer.transport.abort()
            else:
                client.close()
            await asyncio.sleep(0.05)
            go_on.set()
            await until(lambda: not world.server.connections)
            assert world.spool.messages == []

    run(work, uvloop)


@pytest.mark.parametrize("uvloop", [False, True])
def test_a_client_that_left_during_the_store_is_not_forgotten(uvloop: bool) -> None:
    async def work() -> None:
        started, go_on = asyncio.Event(), asyncio.Event()

        async def slow() -> None:
            started.set()
            await go_on.wait()

        async with serving() as world:
            world.spool.before = slow
            client = await world.greeted()
            await client.envelope()
            await client.ask(b"DATA")
            client.send(MESSAGE + b".\r\n")
            await started.wait()
            client.writer.transport.abort()
            await asyncio.sleep(0.05)
            go_on.set()
            await until(lambda: not world.server.connections)
            assert len(world.spool.messages) == 1
            assert world.log[-1][1]["action"] == "accept"

    run(work, uvloop)


def test_half_a_message_is_nothing() -> None:
    async def work() -> None:
        async with serving() as world:
            client = await world.greeted()
            await client.envelope()
            await client.ask(b"DATA")
            client.send(MESSAGE + b".")
            client.writer.write_eof()
            assert await client.rest() == b""
            assert world.spool.messages == [] and world.server.shared.data_bytes == 0

    run(work)


async def tick(clock: ManualClock, seconds: float) -> None:
    for _ in range(int(seconds)):
        clock.advance(1.0)
        await asyncio.sleep(0)
        await asyncio.sleep(0)


def test_idle_clients_are_told() -> None:
    async def work() -> None:
        clock = ManualClock()
        async with serving(clock=clock) as world:
            clients = [await world.greeted() for _ in range(3)]
            await clients[1].envelope()
            await clients[2].envelope()
            await clients[2].ask(b"DATA")
            await asyncio.sleep(0.05)
            await tick(clock, 290)
            assert len(world.server.connections) == 3
            await clients[0].ask(b"NOOP")
            await asyncio.sleep(0.05)
            await tick(clock, 20)
            for client in clients[1:]:
                assert await client.rest() == b"421 4.4.2 Timeout\r\n"
            await until(lambda: len(world.server.connections) == 1)

    run(work)


@pytest.mark.parametrize("where", ["command", "message"])
def test_a_client_that_drips_is_told(where: str) -> None:
    """A byte now and then, never an end: a message gets time by its size, at 500 bytes a second, not by its pauses."""

    async def work() -> None:
        clock = ManualClock()
        async with serving(clock=clock) as world:
            client, steady = await world.greeted(), await world.greeted()
            for each in (client, steady):
                await each.envelope()
                await each.ask(b"DATA")
            if where == "command":
                client.send(MESSAGE + b".\r\n")
                await client.reply()
            for _ in range(2):
                client.send(b"x")
                steady.send(b"0123456789abcdef\r\n" * 5000)
                await asyncio.sleep(0.05)
                await tick(clock, 160)
            assert await client.rest() == b"421 4.4.2 Timeout\r\n"
            steady.send(b".\r\n")
            assert (await steady.reply())[:4] == b"250 "

    run(work)


@pytest.mark.parametrize("uvloop", [False, True])
def test_a_hook_that_takes_too_long_defers(uvloop: bool) -> None:
    async def work() -> None:
        clock = ManualClock()
        never = asyncio.Event()

        async def hang(_event: DataEvent) -> DataVerdict:
            await never.wait()
            raise AssertionError

        hooks = FakeHooks(data=hang)
        async with serving(hooks, clock=clock) as world:
            client = await world.greeted()
            await client.envelope()
            await client.ask(b"DATA")
            client.send(MESSAGE + b".\r\n")
            await until(lambda: hooks.of("data"))
            await tick(clock, 280)
            assert await client.reply() == b"451 4.3.0 Processing took too long\r\n"
            assert world.spool.messages == []
            hooks.answers.clear()
            await client.envelope()
            assert (await client.data(MESSAGE))[:3] == b"250"

    run(work, uvloop)


@pytest.mark.parametrize("uvloop", [False, True])
def test_shutdown_lets_transactions_end(uvloop: bool) -> None:
    async def work() -> None:
        async with serving() as world:
            idle, busy = await world.greeted(), await world.greeted()
            await busy.envelope()
            stop = asyncio.create_task(world.server.stop(5.0))
            assert await idle.rest() == b"421 4.3.2 Shutting down\r\n"
            with pytest.raises(OSError):
                await world.connect()
            assert (await busy.data(MESSAGE))[:3] == b"250"
            assert await busy.rest() == b"421 4.3.2 Shutting down\r\n"
            await stop

    run(work, uvloop)


def test_shutdown_does_not_wait_for_ever() -> None:
    async def work() -> None:
        async with serving(FakeHooks(data=lambda _: asyncio.sleep(1000))) as world:
            client = await world.greeted()
            await client.envelope()
            await client.ask(b"DATA")
            client.send(MESSAGE + b".\r\n")
            await asyncio.sleep(0.05)
            await world.server.stop(0.1)
            assert world.server.connections == []
            assert world.spool.messages == []

    run(work)


def test_a_client_that_does_not_read_is_not_fed_for_ever() -> None:
    async def work() -> None:
        async with serving() as world:
            client = await world.greeted()
            client.writer.transport.pause_reading()
            chunk = b"NOOP\r\n" * 5000
            sent = 0
            try:
                async with asyncio.timeout(0.7):
                    while sent < 3000:
                        client.send(chunk)
                        await client.writer.drain()
                        sent += 1
            except TimeoutError:
                pass
            assert sent < 3000
            (connection,) = world.server._connections
            assert connection.transport.get_write_buffer_size() < 2_000_000
            assert len(connection._reader._buffer) < 1_000_000

    run(work)


def test_a_flood_of_commands_does_not_stop_others() -> None:
    async def work() -> None:
        async with serving() as world:
            flood, other = await world.greeted(), await world.greeted()
            order: list[str] = []

            async def first() -> None:
                flood.send(b"NOOP\r\n" * 10_000)
                for _ in range(10_000):
                    await flood.reply()
                order.append("flood")

            async def second() -> None:
                await asyncio.sleep(0.005)
                await other.ask(b"NOOP")
                order.append("other")

            await asyncio.gather(first(), second())
            assert order == ["other", "flood"]

    run(work)


def test_a_peer_that_never_reads_its_goodbye_is_cut_off() -> None:
    async def work() -> None:
        clock = ManualClock()
        async with serving(clock=clock) as world:
            client = await world.greeted()
            client.writer.transport.pause_reading()
            for _ in range(500):
                client.send(b"NOOP\r\n" * 1000)
            client.send(b"QUIT\r\n")
            assert len(world.server.connections) == 1

            async def cut_off() -> None:
                while world.server.connections:
                    await tick(clock, 345)
                    await asyncio.sleep(0.005)

            await asyncio.wait_for(cut_off(), LIMIT_S)

    run(work)


@pytest.mark.parametrize(
    "end", [b"QUIT\r\n", b"GET / HTTP/1.1\r\n", b"MAIL FROM:<a@x.test>\r\n", b"EHLO x\r\nNOOP\r\n", b""]
)
@pytest.mark.parametrize("reset", [False, True])
def test_a_connection_that_ended_is_free_at_once(end: bytes, reset: bool) -> None:
    """Not when the collector of circles comes by: thousands would have gathered by then."""

    async def work() -> None:
        async with serving() as world:
            client = await world.greeted()
            (connection,) = (weakref.ref(each) for each in world.server._connections)
            session = weakref.ref(connection().session)
            client.send(end)
            if reset:
                client.writer.transport.abort()
            else:
                client.close()
            await until(lambda: connection() is None and session() is None)

    gc.disable()
    try:
        run(work, uvloop=True)
    finally:
        gc.enable()


def test_floods_leave_nothing() -> None:
    """The floods of `tests.soak.floods`, small: every answer comes, and nothing of them stays."""

    async def work() -> None:
        plenty = {"max_errors": 10**9, "max_unknown_commands": 10**9, "max_connections_per_client": 2000}
        async with serving(idle_timeout_s=floods.IDLE_S, **plenty) as world:
            tasks = len(asyncio.all_tasks())
            for flood, count in (
                (floods.connections, 200),
                (floods.errors_on_one, 2000),
                (floods.errors_on_many, 2000),
                (floods.come_and_go, 300),
                (floods.resets, 2000),
                (floods.pipelines, 20),
                (floods.no_end_of_line, 4),
                (floods.large_headers, 4),
                (floods.cut_off, 50),
            ):
                await flood(world.port, count)
                await until(lambda: not world.server.connections and world.server.shared.data_bytes == 0)
            await until(lambda: len(asyncio.all_tasks()) == tasks)
            assert len(world.spool.messages) == 200
            assert not [event for event, _ in world.log if event == "smtp.fault"]

    run(work, uvloop=True)

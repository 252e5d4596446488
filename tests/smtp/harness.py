"""A server on a free port with doubles for the hooks and the spool, and a client that speaks bytes."""

from __future__ import annotations

import asyncio
import itertools
import subprocess
from collections.abc import Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from hslpy.clock import Clock, SystemClock
from hslpy.hooks.facts import DataEvent
from hslpy.mail.verdict import DataVerdict, Delivery, SmtpVerdict
from hslpy.smtp.server import SmtpServer
from hslpy.smtp.settings import Listener, SmtpSettings
from hslpy.spool.contract import NewMessage, QueuedRecipient

LIMIT_S = 60.0


class Scripts:
    def __init__(self, names: set[str]) -> None:
        self.names = names

    def has(self, hook: str) -> bool:
        return hook in self.names


class FakeHooks:
    """`answers` maps a hook to a verdict, or to a function (async or not) of the event that gives one."""

    def __init__(self, **answers: Any) -> None:
        self.answers = answers
        self.events: list[tuple[str, Any]] = []

    @property
    def current(self) -> Scripts:
        return Scripts(set(self.answers))

    async def run(self, scripts: Any, hook: str, event: Any) -> Any:
        self.events.append((hook, event))
        answer = self.answers.get(hook)
        if callable(answer):
            answer = answer(event)
            if isinstance(answer, Awaitable):
                answer = await answer
        if answer is None:
            answer = deliver_all(event) if isinstance(event, DataEvent) else SmtpVerdict("accept")
        return answer

    def of(self, hook: str) -> list[Any]:
        return [event for name, event in self.events if name == hook]


def deliver_all(event: DataEvent, **more: Any) -> DataVerdict:
    transaction = event.transaction
    return DataVerdict(
        "accept",
        deliveries=tuple(
            Delivery(transaction.sender, each.address, each.transport_id, transaction.sender_params, each.params, **more)
            for each in transaction.recipients
        ),
    )


class FakeSpool:
    def __init__(self) -> None:
        self.messages: list[NewMessage] = []
        self.ids = itertools.count(1)
        self.before: Callable[[], Awaitable[None]] | None = None

    async def accept(self, message: NewMessage) -> tuple[QueuedRecipient, ...]:
        if self.before is not None:
            await self.before()
        self.messages.append(message)
        return tuple(
            QueuedRecipient(
                next(self.ids),
                len(self.messages),
                message.transaction_id,
                message.received_at,
                each.sender,
                each.recipient,
                each.transport_id,
                each.due_at,
                len(message.header) + len(message.body),
                each.variant,
            )
            for each in message.recipients
        )


class Client:
    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    def send(self, data: bytes) -> None:
        self.writer.write(data)

    async def reply(self) -> bytes:
        """Give one whole reply, its CRLFs included; b"" at the end of the connection."""
        lines = b""
        while True:
            line = await asyncio.wait_for(self.reader.readline(), LIMIT_S)
            lines += line
            if line[3:4] != b"-":
                return lines

    async def ask(self, command: bytes) -> bytes:
        self.send(command + b"\r\n")
        return await self.reply()

    async def rest(self) -> bytes:
        return await asyncio.wait_for(self.reader.read(), LIMIT_S)

    async def hello(self) -> bytes:
        assert (await self.reply())[:4] == b"220 "
        return await self.ask(b"EHLO client.test")

    async def envelope(self, *recipients: bytes) -> None:
        assert (await self.ask(b"MAIL FROM:<a@sender.test>"))[:4] == b"250 "
        for each in recipients or (b"b@dest.test",):
            assert (await self.ask(b"RCPT TO:<" + each + b">"))[:4] == b"250 "

    async def data(self, content: bytes) -> bytes:
        assert (await self.ask(b"DATA"))[:4] == b"354 "
        self.send(content + b".\r\n")
        return await self.reply()

    def close(self) -> None:
        self.writer.close()


class World:
    def __init__(
        self, server: SmtpServer, hooks: FakeHooks, spool: FakeSpool, log: list[tuple[str, Any]], port: int
    ) -> None:
        self.server, self.hooks, self.spool, self.log, self.port = server, hooks, spool, log, port
        self.clients: list[Client] = []

    async def connect(self, ssl: Any = None, server_hostname: str = "localhost", source: str = "127.0.0.1") -> Client:
        names: dict[str, Any] = {"server_hostname": server_hostname} if ssl else {}
        if source != "127.0.0.1":
            names["local_addr"] = (source, 0)
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port, ssl=ssl, **names)
        self.clients.append(Client(reader, writer))
        return self.clients[-1]

    async def greeted(self, source: str = "127.0.0.1") -> Client:
        client = await self.connect(source=source)
        await client.hello()
        return client


@asynccontextmanager
async def serving(
    hooks: FakeHooks | None = None,
    clock: Clock | None = None,
    tls: str = "starttls",
    logins: Any = None,
    rates: Any = None,
    **settings: Any,
) -> Any:
    hooks = hooks or FakeHooks()
    spool = FakeSpool()
    log: list[tuple[str, Any]] = []
    ids = itertools.count(1)
    settings.setdefault("auth_delay_s", 0.0)
    listener = Listener("127.0.0.1", 0, "mailserver:1", tls)  # type: ignore[arg-type]
    server = SmtpServer(
        replace(SmtpSettings(listeners=(listener,), hostname="mx.test"), **settings),
        hooks,
        spool.accept,
        clock or SystemClock(),
        lambda: f"id-{next(ids)}",
        lambda event, fields: log.append((event, dict(fields))),
        logins=logins,
        rates=rates,
    )
    (_host, port, _id), *_ = await server.start()
    world = World(server, hooks, spool, log, port)
    try:
        yield world
    finally:
        for client in world.clients:
            client.close()
        await server.stop(1.0)


def run(work: Callable[[], Awaitable[None]], uvloop: bool = False) -> None:
    """Run a test's coroutine, never for long."""

    async def limited() -> None:
        async with asyncio.timeout(60):
            await work()

    if uvloop:
        import uvloop as loops

        with asyncio.Runner(loop_factory=loops.new_event_loop) as runner:
            runner.run(limited())
    else:
        asyncio.run(limited())


async def until(condition: Callable[[], object]) -> None:
    """Wait for what another task is about to do."""
    async with asyncio.timeout(LIMIT_S):
        while not condition():
            await asyncio.sleep(0.005)


def certificate(folder: Path) -> tuple[Path, Path]:
    cert, key = folder / "cert.pem", folder / "key.pem"
    subprocess.run(
        "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=localhost"
        f" -addext subjectAltName=DNS:localhost -keyout {key} -out {cert}".split(),
        check=True,
        capture_output=True,
    )
    return cert, key

"""A whole server for scenarios: the real App on loopback, receiving servers, a scripted DNS, a client that speaks lines."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from hslpy.app import App, Overrides
from hslpy.config import read_settings
from hslpy.dns.scripted import ScriptedResolver

ROOT = Path(__file__).resolve().parents[2]
SEEDS = ROOT / "scripts/examples/seeds"
LIMIT_S = 60.0

SEED_HOOKS = f"""
[hooks]
rcptto = ["{SEEDS}/rcpt-limit.hsl", "{SEEDS}/rcpt-deliverability.hsl"]
data = "{SEEDS}/data.hsl"
predelivery = "{SEEDS}/pre-delivery.hsl"
postdelivery = "{SEEDS}/post-delivery.hsl"
"""

FOUR_SOURCES = "".join(
    f'[[source]]\nid = "netaddr:{n}"\naddress = "127.0.0.{10 + n}"\nhelo = "out{n}.example.com"\n' for n in (1, 2, 3, 4)
)


class Client:
    """An SMTP client that gives back raw replies: `await client.say("MAIL FROM:<a@b>")` is `"250 2.1.0 ..."`."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    @classmethod
    async def connect(cls, port: int, host: str = "127.0.0.1", source: str = "127.0.0.1") -> Client:
        client = cls(*await asyncio.open_connection(host, port, local_addr=(source, 0)))
        client.greeting = await client.reply()
        return client

    greeting = ""

    async def reply(self) -> str:
        lines = []
        while True:
            line = (await asyncio.wait_for(self.reader.readline(), LIMIT_S)).decode("latin-1")
            if not line:
                raise ConnectionError("closed")
            lines.append(line.rstrip("\r\n"))
            if line[3:4] != "-":
                return "\n".join(lines)

    async def say(self, line: str) -> str:
        self.writer.write(line.encode("latin-1") + b"\r\n")
        return await self.reply()

    async def send(
        self,
        sender: str,
        *recipients: str,
        content: str = "Subject: hello\r\n\r\nHello\r\n",
        helo: str = "client.example.com",
    ) -> str:
        """Send one message; give the reply that decided: the first refusal, or that of the final dot."""
        if not self.greeting.startswith("220 "):
            return self.greeting
        await self.say(f"EHLO {helo}")
        reply = await self.say(f"MAIL FROM:<{sender}>")
        if not reply.startswith("250"):
            return reply
        accepted = 0
        for recipient in recipients:
            reply = await self.say(f"RCPT TO:<{recipient}>")
            accepted += reply.startswith("250")
        if not accepted:
            return reply
        reply = await self.say("DATA")
        if not reply.startswith("354"):
            return reply
        return await self.say(content.replace("\r\n.", "\r\n..") + ".")

    async def close(self) -> None:
        self.writer.close()


class Scenario:
    """A running server. `events` counts what was logged; `port` is its first listener's."""

    def __init__(self, app: App, resolver: ScriptedResolver) -> None:
        self.app = app
        self.resolver = resolver
        self.logged: list[tuple[str, Mapping[str, object]]] = []

    @property
    def port(self) -> int:
        return self.app.listening[0][1]

    def events(self) -> Counter[str]:
        return Counter(event for event, _ in self.logged)

    def fields_of(self, event: str) -> list[Mapping[str, object]]:
        return [fields for name, fields in self.logged if name == event]

    async def client(self, source: str = "127.0.0.1") -> Client:
        return await Client.connect(self.port, source=source)

    async def until(self, condition: Any) -> None:
        """Wait until `condition()` holds; the test fails when it never does."""
        async with asyncio.timeout(LIMIT_S):
            while not condition():
                await asyncio.sleep(0.01)


@asynccontextmanager
async def server(
    folder: Path, settings: str = "", *, listen: str = "127.0.0.1", hostname: str = "mail.example.com", **overrides: Any
) -> AsyncIterator[Scenario]:
    """Give a server with its data in `folder`, a free port, private targets allowed, no database but where one is set."""
    if "[egress]" not in settings:
        settings += '[egress]\ndatabase = ""\n'
    file = folder / "hslpy.toml"
    file.write_text(
        f'[server]\nhostname = "{hostname}"\ndata_dir = "{folder}/data"\n'
        f'[[listen]]\nhost = "{listen}"\nport = 0\n'
        f"[delivery]\nallow_private_targets = true\n{settings}"
    )
    resolver = ScriptedResolver()
    seen: list[tuple[str, Mapping[str, object]]] = []
    app = App(
        read_settings(file, {}),
        Overrides(resolver=resolver, log=lambda event, fields: seen.append((event, fields)), **overrides),
    )
    scenario = Scenario(app, resolver)
    scenario.logged = seen
    await app.start()
    try:
        yield scenario
    finally:
        await app.stop(2.0)

"""A delivery with everything around it: memory spool, real queue, scripted DNS, real client, and hooks that are Python."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from hslpy.client.contract import Timeouts
from hslpy.client.smtp import ClientSettings, SmtpClient
from hslpy.clock import ManualClock
from hslpy.delivery.loop import Delivery
from hslpy.delivery.plan import OwnListeners
from hslpy.delivery.settings import DeliverySettings, Transport
from hslpy.dns.contract import Resolver
from hslpy.dns.scripted import ScriptedResolver
from hslpy.egress.rules.sources import Source, Sources
from hslpy.hooks.facts import PostDeliveryEvent, PreDeliveryEvent
from hslpy.mail.address import Address, parse_address
from hslpy.mail.verdict import QueueVerdict
from hslpy.queue.queue import Queue, QueueSettings
from hslpy.spool.contract import NewMessage, NewRecipient, QueuedRecipient
from hslpy.spool.memory import MemorySpool

TIMEOUTS = Timeouts(connect_s=60, greeting_s=60, command_s=60, data_s=60, block_s=60, final_s=60, quit_s=0.3)
SOURCES = (
    Source("netaddr:1", "127.0.0.11", "one.example"),
    Source("netaddr:2", "127.0.0.12", "two.example"),
    Source("netaddr:3", "127.0.0.13"),
    Source("netaddr:9", "192.0.2.99", "gone.example"),
)

Pre = Callable[[PreDeliveryEvent], QueueVerdict | Awaitable[QueueVerdict]]
Post = Callable[[PostDeliveryEvent], QueueVerdict | Awaitable[QueueVerdict]]


class PythonHooks:
    """Hooks as Python functions; records the events it was given."""

    def __init__(self) -> None:
        self.current: Any = object()
        self.pre: Pre = lambda _: QueueVerdict("try")
        self.post: Post = lambda _: QueueVerdict("default")
        self.pres: list[PreDeliveryEvent] = []
        self.posts: list[PostDeliveryEvent] = []

    async def run(self, scripts: object, hook: str, event: Any) -> QueueVerdict:
        if hook == "predelivery":
            self.pres.append(event)
            verdict = self.pre(event)
        else:
            assert hook == "postdelivery"
            self.posts.append(event)
            verdict = self.post(event)
        return verdict if isinstance(verdict, QueueVerdict) else await verdict


@dataclass
class World:
    clock: ManualClock
    spool: MemorySpool
    queue: Queue
    hooks: PythonHooks
    dns: ScriptedResolver
    sources: Sources
    delivery: Delivery
    client: SmtpClient
    log: list[tuple[str, Mapping[str, Any]]] = field(default_factory=list)

    async def put(
        self, *recipients: str, sender: str = "from@sender.example", **changes: Any
    ) -> tuple[QueuedRecipient, ...]:
        """Queue a message; `changes` are NewRecipient's."""
        content = changes.pop("content", b"Subject: x\r\n\r\nhello\r\n")
        header, _, body = content.partition(b"\r\n\r\n")
        fields = {"transport_id": "mailtransport:1", "due_at": self.clock.time(), **changes}
        new = tuple(NewRecipient(address(r), address(sender), **fields) for r in recipients)
        message = NewMessage("tx", self.clock.time(), "192.0.2.5", "client", "user", "s", header + b"\r\n\r\n", body, new)
        return await self.queue.accept(message)

    async def settled(self, count: int, timeout_s: float = 60.0) -> Mapping[str, int]:
        """Wait until so many recipients came to something, and give the counts."""

        try:
            await until(
                lambda: sum(self.delivery.counts.values()) >= count and not self.delivery.under_way, timeout_s=timeout_s
            )
        except TimeoutError:
            raise AssertionError(f"only {dict(self.delivery.counts)} of {count}: {self.log[-5:]}") from None
        return dict(self.delivery.counts)

    def events(self, name: str) -> list[Mapping[str, Any]]:
        return [fields for event, fields in self.log if event == name]


async def until(holds: Callable[[], object], *, timeout_s: float = 60.0, tick: Callable[[], None] = lambda: None) -> None:
    """Wait until something holds, calling `tick` now and then."""
    async with asyncio.timeout(timeout_s):
        while not holds():
            await asyncio.sleep(0.005)
            tick()


def address(text: str) -> Address:
    parsed = parse_address(text)
    assert parsed is not None
    return parsed


@asynccontextmanager
async def world(
    zone: Mapping[str, Mapping[str, Any]] | None = None,
    *,
    port: int = 25,
    transports: tuple[Transport, ...] = (),
    spool: MemorySpool | None = None,
    own_listeners: OwnListeners | None = None,
    resolver: Resolver | None = None,
    **settings: Any,
) -> AsyncIterator[World]:
    """Give a world at work; `port` is the default transport's."""
    clock, rng, log = ManualClock(), random.Random(7), []
    record = lambda event, fields: log.append((event, fields))  # noqa: E731
    spool = spool or MemorySpool()
    await spool.open()
    queue = Queue(spool, QueueSettings(), clock, rng, record)
    await queue.open()
    named = {t.id: t for t in (Transport("mailtransport:1", port=port, timeouts=TIMEOUTS), *transports)}
    given: dict[str, Any] = {"sources": ("netaddr:1",), "allow_private_targets": True, **settings}
    dns, hooks, sources, client = (
        ScriptedResolver(zone),
        PythonHooks(),
        Sources(SOURCES, clock),
        SmtpClient(ClientSettings(), clock),
    )
    options = DeliverySettings("mta.example", named, **given)
    delivery = Delivery(options, queue, spool, hooks, resolver or dns, client, sources, clock, rng, record)  # type: ignore[arg-type]
    await delivery.start(own_listeners or OwnListeners())
    here = World(clock, spool, queue, hooks, dns, sources, delivery, client, log)
    try:
        yield here
    finally:
        await delivery.stop(0.5)
        await client.close()
        await queue.close()
    assert not here.events("delivery.fault"), here.events("delivery.fault")

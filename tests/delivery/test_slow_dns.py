"""Name servers that keep silent: they hold no attempt beyond its time, and what others said is used."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from hslpy.clock import ManualClock
from hslpy.dns.resolver import DnsResolver, ResolverSettings
from tests.delivery.server import world
from tests.delivery.test_delivery import run
from tests.dns.test_resolver import ZONE, Server
from tests.support.smtp_sink import Sink


class Forgetful(Server):
    """Answers nothing on names that begin with `silent`."""

    def datagram_received(self, data: bytes, peer: tuple[str, int]) -> None:
        self.silent = b"\x06silent" in data
        super().datagram_received(data, peer)


@asynccontextmanager
async def resolver() -> AsyncIterator[DnsResolver]:
    transport, _ = await asyncio.get_running_loop().create_datagram_endpoint(Forgetful, local_addr=("127.0.0.1", 0))
    port = transport.get_extra_info("sockname")[1]
    asked = DnsResolver(ResolverSettings(("127.0.0.1",), port, try_s=3600, lifetime_s=3600), ManualClock())
    try:
        yield asked
    finally:
        await asked.close()
        transport.close()


def test_silence_of_dns_ends_with_the_attempts_share_of_time() -> None:
    async def test() -> None:
        async with resolver() as dns, world(resolver=dns, attempt_s=0.4, slow_after_s=3600) as w:
            await w.put("u@silent.test")
            assert await w.settled(1) == {"deferred": 1}
            assert "DNS has no answer on silent.test now: no answer in time" in w.events("delivery.deferred")[0]["reason"]

    run(test())


def test_hosts_known_by_then_are_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(
        ZONE, "half.test.", [f"half.test. 300 IN MX {n} {name}.test." for n, name in ((10, "good"), (20, "silent"))]
    )
    monkeypatch.setitem(ZONE, "good.test.", ["good.test. 300 IN A 127.0.0.9"])

    async def test() -> None:
        async with (
            Sink("127.0.0.9") as sink,
            resolver() as dns,
            world(port=sink.port, resolver=dns, attempt_s=2, slow_after_s=3600) as w,
        ):
            await w.put("u@half.test")
            assert await w.settled(1) == {"delivered": 1}

    run(test())

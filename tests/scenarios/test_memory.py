"""What a message held is free when it is done with, hooks and all: bodies left in circles of references would gather."""

from __future__ import annotations

import asyncio
import gc
from collections import Counter
from pathlib import Path

import uvloop

from tests.scenarios.harness import Client, server
from tests.support.smtp_sink import Sink

SCRIPTS = {
    "mailfrom": '$context = [1, ["a" => 2]];',
    "rcptto": 'if (rate("a", "b", 1000000, 60) == false) Defer();',
    "data": 'SetMetaData(["s" => GetHeader("Subject")]); AddHeader("X-A", "b");',
    "predelivery": "$f = function ($x) { return $x; }; $context = [$f(1)];",
    "postdelivery": "$x = [$context, $message ?? none];",
    "disconnect": "$x = 1;",
}
LASTING = (
    "Session",
    "Connection",
    "HookHost",
    "Facts",
    "DataEvent",
    "PreDeliveryEvent",
    "QueuedFacts",
    "_Item",
    "NewMessage",
    "Run",
)


def test_what_a_message_held_is_free_at_once(tmp_path: Path) -> None:
    async def work() -> None:
        settings = "[hooks]\n"
        for hook, text in SCRIPTS.items():
            (tmp_path / f"{hook}.hsl").write_text(text)
            settings += f'{hook} = "{tmp_path}/{hook}.hsl"\n'
        async with (
            Sink("127.0.0.9") as sink,
            server(tmp_path, f'[[transport]]\nid = "mailtransport:1"\nport = {sink.port}\n{settings}') as world,
        ):
            world.resolver.set("rcpt.test", "MX", [(10, "mx.rcpt.test")])
            world.resolver.set("mx.rcpt.test", "A", ["127.0.0.9"])

            async def messages(count: int) -> None:
                for _ in range(count):
                    client = await Client.connect(world.port)
                    assert (await client.send("a@sender.test", "b@rcpt.test")).startswith("250 ")
                    await client.close()
                await world.until(lambda: not len(world.app.queue) and not world.app.smtp.connections)
                await asyncio.sleep(0.1)  # the last disconnect hook

            await messages(5)
            world.logged.clear()
            gc.collect()
            gc.disable()
            try:
                await messages(20)
                world.logged.clear()
                kept = Counter(type(each).__name__ for each in gc.get_objects())
                assert {name: kept[name] for name in LASTING if kept[name] > 5} == {}
            finally:
                gc.enable()

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(asyncio.wait_for(work(), 60))

"""`hslpy demo`: the whole server at work on loopback, with receivers, stand-ins for scanners and three customers' mail."""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from hslpy.app import App, Overrides
from hslpy.cli.command import Command
from hslpy.client.http_scripted import ScriptedHttp
from hslpy.client.lookup_contract import ScriptedLookups
from hslpy.clock import SystemClock
from hslpy.config import read_settings
from hslpy.dns.scripted import ScriptedResolver
from hslpy.errors import OperatorError
from hslpy.event_log import set_up_logging
from hslpy.hooks.files import packaged_scripts
from hslpy.log import Log, no_log
from hslpy.records import dataclass
from hslpy.tooling import fates
from hslpy.tooling.inject import Injected, Mail, send, send_in_parallel
from hslpy.tooling.sink import Sink
from hslpy.tooling.stand_ins import StandIns

# Receiving servers: each recipient domain's MX at a loopback address of its own.
RECEIVERS = {"north.example": "127.0.1.1", "south.example": "127.0.1.2", "east.example": "127.0.1.3"}
OLD_LIST = {"gone.example": "127.0.1.4"}
SENDERS = {"bakery.example": "127.0.1.5"}  # takes the bounce reports
SOURCES = {f"netaddr:{n}": (f"127.0.0.{10 + n}", f"out{n}.demo.test") for n in (1, 2, 3, 4)}

SETTINGS = """\
[server]
hostname = "demo.test"
data_dir = "{data_dir}"

[egress]
database = ""

[[listen]]
port = 0

[hooks]
rcptto = ["{seeds}/rcpt-limit.hsl", "{seeds}/rcpt-deliverability.hsl"]
data = "{seeds}/data.hsl"
predelivery = "{seeds}/pre-delivery.hsl"
postdelivery = "{seeds}/post-delivery.hsl"

[queue.schedule]   # a second for what takes minutes elsewhere
wait_s = 1
factor = 1
jitter = 0

[[transport]]
id = "mailtransport:1"
port = {port}
allow_private_targets = true

[scanners.spamassassin]
address = "127.0.0.1:{spamd}"

[scanners.rspamd]
url = "http://127.0.0.1:{rspamd}"
"""


@dataclass(slots=True)
class World:
    """Everything that runs in the demo."""

    app: App
    sink: Sink
    stand_ins: StandIns
    watch: fates.Watch
    folder: Path

    async def send(self, mails: list[Mail], connections: int = 8) -> list[Injected]:
        host, port, _ = self.app.listening[0]
        return await send_in_parallel(host, port, mails, connections)

    async def failures(self, domain: str) -> float:
        return float(await self.app.services.rates.check("delivery-failures", domain, 0, 3600) or 0)


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--log", action="store_true", help="print the server's log as well")


def _run(arguments: argparse.Namespace) -> int:
    if arguments.log:
        log: Log = set_up_logging(sys.stderr, "info", "text", SystemClock()).write
    else:
        log = no_log
    return asyncio.run(_demo(log))


async def _demo(log: Log) -> int:
    started = SystemClock().monotonic()
    async with _world(log) as world:
        _introduce(world)
        limit = await _shop(world)
        await _bakery(world)
        refused = await _club(world)
        await _settled(world)
        print("\nWhat each hook decided, and where the mail left from as its receivers saw it:\n")
        found = fates.rows(world.watch.fates.values(), world.sink.asked)
        print("\n".join(fates.table(fates.COLUMNS, found)))
        print("\nWhat the customers were told:\n")
        for what, reply in [*limit, *refused]:
            print(f"  {what}\n    {reply}")
        runs = ", ".join(f"{hook} {count}" for hook, count in world.watch.runs.items())
        print(f"\nHook runs: {runs}.")
        print(f"Scans by the stand-ins: {', '.join(f'{name} {count}' for name, count in world.stand_ins.scans.items())}.")
        print(f"All of it in {SystemClock().monotonic() - started:.1f} seconds; nothing left this machine.")
    return 0


# ---- the world --------------------------------------------------------------------------------------


@asynccontextmanager
async def _world(log: Log) -> AsyncIterator[World]:
    sink = Sink(_answer)
    stand_ins = StandIns()
    with tempfile.TemporaryDirectory(prefix="hslpy-demo-") as name:
        folder = Path(name)
        await stand_ins.start()
        port = await _listen(sink)
        file = folder / "hslpy.toml"
        text = SETTINGS.format(
            data_dir=folder / "data",
            seeds=packaged_scripts() / "examples" / "seeds",
            port=port,
            spamd=stand_ins.spamd_port,
            rspamd=stand_ins.rspamd_port,
        )
        for source, (address, helo) in SOURCES.items():
            text += f'\n[[source]]\nid = "{source}"\naddress = "{address}"\nhelo = "{helo}"\n'
        file.write_text(text, "utf-8")
        resolver = ScriptedResolver()
        for domain, address in _hosts().items():
            resolver.set(domain, "MX", [(10, f"mx.{domain}")])
            resolver.set(f"mx.{domain}", "A", [address])
        app = App(
            read_settings(file, {}), Overrides(resolver=resolver, http=ScriptedHttp(), lookups=ScriptedLookups(), log=log)
        )
        watch = fates.Watch()
        app.hooks.observers.append(watch)
        await app.start()
        try:
            yield World(app, sink, stand_ins, watch, folder)
        finally:
            await app.stop(1.0)
            await sink.close()
            await stand_ins.close()


def _hosts() -> dict[str, str]:
    return {**RECEIVERS, **OLD_LIST, **SENDERS}


async def _listen(sink: Sink) -> int:
    """Have all receivers listen at one port, as mail servers do. Raises OperatorError where that can't be."""
    for _ in range(20):
        first, *others = _hosts().values()
        port = await sink.listen(first)
        try:
            for address in others:
                await sink.listen(address, port)
            return port
        except OSError:
            await sink.close()
    raise OperatorError("the demo needs loopback addresses 127.0.1.1 to 127.0.1.5", hint="on Linux they are there")


def _answer(command: str, argument: str) -> str | None:
    """What the receivers say: unknown users get 550, and gone.example defers everybody for ever."""
    if command == "RCPT" and argument.startswith("nobody"):
        return "550 5.1.1 No such user"
    if command == "RCPT" and argument.endswith("@gone.example"):
        return "450 4.2.1 Mailbox not available now"
    return None


def _introduce(world: World) -> None:
    host, port, _ = world.app.listening[0]
    print(f"The server listens on {host} port {port}; its settings and data are in {world.folder}, gone at the end.")
    for hook, files in world.app.hooks.settings.scripts.items():
        print(f"  {hook:<13} {', '.join(file.name for file in files)}")
    for name, (address, helo) in SOURCES.items():
        print(f"  source        {name} is {address}, HELO {helo}")
    for domain, address in _hosts().items():
        print(f"  receiver      {domain} at {address}")
    print("  scanners      stand-ins for spamd and rspamd: real protocols, but they only know a few words\n")


# ---- the customers ----------------------------------------------------------------------------------


def _mail(sender: str, recipients: tuple[str, ...], subject: str, body: str, header: str = "") -> Mail:
    text = f"From: <{sender}>\r\nTo: <{recipients[0]}>\r\nSubject: {subject}\r\n{header}\r\n{body}\r\n"
    return Mail(sender, recipients, text.encode())


def _recipient(number: int) -> str:
    return f"user{number}@{list(RECEIVERS)[number % len(RECEIVERS)]}"


async def _shop(world: World) -> list[tuple[str, str]]:
    """A web shop's bulk mail from two domains: one meets the limit an hour, both together that of bulk mail."""
    print("shop.example: 320 mailings by one PHP script, 260 of them from shop.example, 60 from outlet.example")
    header = "X-PHP-Originating-Script: 1001:mailing.php\r\n"
    told: list[tuple[str, str]] = []
    for domain, first, count in (("shop.example", 0, 260), ("outlet.example", 260, 60)):
        mails = [
            _mail(f"news@{domain}", (_recipient(n),), "Our newsletter", "A special offer. To unsubscribe, answer.", header)
            for n in range(first, first + count)
        ]
        for one in await world.send(mails):
            if not one.recipients[0].startswith("2") and domain == "shop.example" and not told:
                told.append(("shop.example at its 251st recipient within an hour:", one.recipients[0]))
            if one.data.startswith("4") and domain == "outlet.example" and len(told) < 2:
                told.append(("the same PHP script at its 301st bulk message within 8 hours:", one.data))
    return told


async def _bakery(world: World) -> None:
    """Clean mail, some of it to people who aren't there."""
    print("bakery.example: 24 orders, clean; three of them to people who aren't there")
    mails = []
    for n in range(24):
        recipient = _recipient(400 + n) if n % 8 else f"nobody{n}@north.example"
        mails.append(_mail("orders@bakery.example", (recipient,), f"Your order {n}", "Thank you. It will be ready at noon."))
    await world.send(mails)


async def _club(world: World) -> list[tuple[str, str]]:
    """Suspect mail, and an old address list that nobody takes, until the domain has failed too often."""
    print("choir.example: 8 mails that look like spam, and an old list of 240 addresses that all fail")
    suspect = [
        _mail("fun@choir.example", (_recipient(500 + n),), "Lose weight", "Lose weight by a miracle!") for n in range(8)
    ]
    await world.send(suspect)
    old = tuple(f"member{n}@gone.example" for n in range(240))
    await world.send([_mail("fun@choir.example", old, "See you again", "We meet on Friday.")])
    clock = SystemClock()
    give_up_at = clock.monotonic() + 10
    while await world.failures("choir.example") < 1000 and clock.monotonic() < give_up_at:
        await clock.sleep(0.1)
    host, port, _ = world.app.listening[0]
    (probe,) = await send(host, port, [_mail("fun@choir.example", ("user1@north.example",), "Hello", "Hello again.")])
    return [("choir.example after 1000 failed attempts:", probe.recipients[0])]


async def _settled(world: World) -> None:
    """Wait until all is delivered but what its receiver defers."""
    clock = SystemClock()
    give_up_at = clock.monotonic() + 4
    while clock.monotonic() < give_up_at:
        waiting = world.app.queue.metric("count", {"recipientdomain": [*RECEIVERS, *SENDERS]})
        if not waiting and not world.app.delivery.under_way:
            return
        await clock.sleep(0.05)


COMMAND = Command(
    "demo",
    "a whole system at work on loopback, in a few seconds",
    _add_arguments,
    _run,
    description="Starts the server in a temporary folder with the five example scripts, receiving servers on loopback\n"
    "addresses and stand-ins for spamd and rspamd, sends three customers' mail through it by SMTP, and prints what each\n"
    "hook decided and which address and HELO each message left from.",
)

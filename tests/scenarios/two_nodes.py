"""Two nodes that share PostgreSQL and Redis, senders at every level, and a receiver that records who connected.

usage: `tests.soak.delivery_ips` runs it at size, `test_two_nodes.py` at a tenth of that.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path

from hslpy.clock import SystemClock
from hslpy.egress.accounts import admins, directory, site
from hslpy.egress.accounts.nodes import add_node
from hslpy.egress.delivery_ips import settings
from hslpy.egress.store.database import Actor, Database
from tests.scenarios.harness import Scenario, server
from tests.support.smtp_sink import Sink
from tests.users.test_file import quick

ROOT = Actor("root", "cli")
NODES = ("node1.example.net", "node2.example.net")
SENDERS: Mapping[str, tuple[str, str]] = {  # who signs in, and what the message says of its identity
    "identity": ("bob@example.com", "X-Stream: News\r\n"),
    "user": ("bob@example.com", ""),
    "domain": ("eve@example.com", ""),
    "admin": ("carol@other.example", ""),
    "default": ("dave@third.example", ""),
}
SIZES: Mapping[str, int] = {"identity": 1, "user": 2, "domain": 1, "admin": 2, "default": 4}  # ten addresses a node


@dataclass
class Found:
    """What came of it: `mismatches` are recipients whose mail came from elsewhere than chosen, or than their level has."""

    received: int = 0
    mismatches: list[tuple[str, str, str]] = field(default_factory=list)
    by_level: dict[tuple[str, str], Counter[str]] = field(default_factory=dict)
    seconds: float = 0.0
    looks: int = 0  # that it took a node to see a change that was made elsewhere


def pools() -> Mapping[tuple[str, str], Sequence[str]]:
    """Give the addresses by node and level: no address is anywhere twice."""
    found: dict[tuple[str, str], Sequence[str]] = {}
    last = 0
    for node in NODES:
        for level, size in SIZES.items():
            found[node, level] = [f"127.0.1.{last + number}" for number in range(1, size + 1)]
            last += size
    return found


def fill(database: Database) -> None:
    admins.add_admin(database, ROOT, "reseller", password="long enough")
    for node in NODES:
        add_node(database, ROOT, node)
    for name, admin, users in (
        ("example.com", "reseller", ("bob", "eve")),
        ("other.example", "reseller", ("carol",)),
        ("third.example", "", ("dave",)),
    ):
        directory.add_domain(database, ROOT, name, admin=admin)
        for user in users:
            directory.add_user(database, ROOT, name, user, hashed=quick("secret"))
    site.change(database, ROOT, {"identity_header": "X-Stream"})
    for (node, level), addresses in pools().items():
        put(database, node, level, addresses)


def put(database: Database, node: str, level: str, addresses: Sequence[str]) -> None:
    scope = {
        "identity": {"domain": "example.com", "username": "bob", "identity": "news"},
        "user": {"domain": "example.com", "username": "bob"},
        "domain": {"domain": "example.com"},
        "admin": {"admin": "reseller"},
        "default": {"domain": "default"},
    }[level]
    settings.set_interfaces(
        database, ROOT, filtering_host=node, interfaces=";".join(addresses), allow_loopback=True, **scope
    )


async def send(s: Scenario, node: str, level: str, numbers: Sequence[int]) -> None:
    """Send messages over one connection; their recipients' names say what they are."""
    login, header = SENDERS[level]
    client = await s.client("127.0.0.9")
    await client.say("EHLO client.example")
    assert (await client.say("AUTH PLAIN " + plain(login))).startswith("235")
    for number in numbers:
        await client.say("MAIL FROM:<x@elsewhere.example>")
        await client.say(f"RCPT TO:<{node.partition('.')[0]}-{level}-{number}@receiver.example>")
        await client.say("DATA")
        reply = await client.say(f"{header}Subject: {number}\r\n\r\nhello\r\n.")
        assert reply.startswith("250"), reply
    await client.close()


def plain(login: str) -> str:
    from base64 import b64encode

    return b64encode(f"\0{login}\0secret".encode()).decode()


async def run(folder: Path, url: str, redis: str, messages: int, clients: int = 2) -> Found:
    """Send `messages` in all, from each level at each node as many, over `clients` connections each."""
    database = Database(url, SystemClock())
    database.open()
    fill(database)
    found, wanted = Found(), pools()
    async with AsyncExitStack() as stack:
        sink = await stack.enter_async_context(Sink())
        nodes: dict[str, Scenario] = {}
        for node in NODES:
            place = folder / node
            place.mkdir()
            more = (
                f'[egress]\ndatabase = "{url}"\n[redis]\nurl = "{redis}"\n[rate]\nstore = "redis"\n'
                '[memory]\nstore = "redis"\n[smtp]\nauth_without_tls = true\nrelay_networks = []\n'
                f'[[transport]]\nid = "mailtransport:1"\nnext_hop = "127.0.0.1"\nport = {sink.port}\ntls = "disabled"\n'
                "allow_private_targets = true\n"
            )
            s = nodes[node] = await stack.enter_async_context(server(place, more, hostname=node))
            following = s.app.following
            assert following is not None
            await asyncio.wait_for(following.known.wait(), 60)
        started = time.monotonic()
        each = messages // (len(wanted) * clients)
        await asyncio.gather(
            *(
                send(nodes[node], node, level, range(number * each, (number + 1) * each))
                for node, level in wanted
                for number in range(clients)
            )
        )
        while len(sink.received) < each * clients * len(wanted) and time.monotonic() < started + 300:
            await asyncio.sleep(0.05)
        found.seconds = time.monotonic() - started
        judge(found, sink, nodes)
        found.looks = await looks_until_followed(database, nodes[NODES[1]])
    database.close()
    return found


def judge(found: Found, sink: Sink, nodes: Mapping[str, Scenario]) -> None:
    """Hold what the receiver saw against what was chosen, and both against what is set."""
    wanted = pools()
    chosen = {
        str(one["recipient"]): (str(one["chosen"]), str(one["local_ip"]))
        for s in nodes.values()
        for one in s.fields_of("delivery.attempt")
    }
    for one in sink.received:
        recipient = one.rcpts[0].partition("<")[2].partition(">")[0]
        node, level, _ = recipient.partition("@")[0].split("-")
        where = (f"{node}.example.net", level)
        found.by_level.setdefault(where, Counter())[one.peer_ip] += 1
        if chosen[recipient] != (one.peer_ip, one.peer_ip) or one.peer_ip not in wanted[where]:
            found.mismatches.append((recipient, chosen[recipient][0], one.peer_ip))
        if one.helo != where[0]:
            found.mismatches.append((recipient, where[0], one.helo))
    found.received = len({one.rcpts[0] for one in sink.received})


async def looks_until_followed(database: Database, s: Scenario) -> int:
    """Give how often a node looks at the database until it goes by a change that was made elsewhere; the first look may
    have begun before."""
    departures, following = s.app.departures, s.app.following
    assert (
        departures is not None and departures.picture is not None and following is not None and following.opened is not None
    )
    theirs = following.opened.result()
    ask, looks = theirs.revision, 0

    def counted() -> int:
        nonlocal looks
        looks += 1
        return ask()

    await asyncio.to_thread(put, database, NODES[1], "domain", ["127.0.1.20"])
    revision = database.revision()
    theirs.revision = counted  # type: ignore[method-assign]
    while departures.picture.revision < revision and looks < 9:
        await asyncio.sleep(0.01)
    return looks

"""A site at work: figures by hour, addresses in each state, a locked user, mail in the queue, attempts."""

from __future__ import annotations

from typing import Any

from hslpy.clock import ManualClock
from hslpy.egress.accounts import directory
from hslpy.egress.store import activity, tables
from hslpy.egress.store.database import Actor, Database
from hslpy.egress.store.tally import Taken
from hslpy.egress.warm_up import warming
from hslpy.mail.address import Address

from ..support.mail_server import MailServer, recipient

ROOT = Actor("root", "cli")
NODE = "node1.example.net"
EVIL = "<img src=x onerror=alert(1)>\"'&"
SHAPE = (3, 2, 2, 1, 1, 2, 5, 11, 24, 31, 30, 28, 22, 27, 29, 26, 19, 12, 9, 8, 7, 6, 5, 4)


def busy(database: Database, clock: ManualClock) -> None:
    now = int(clock.time() // 3600)
    counts: dict[tuple[int, str, str, str], int] = {}
    for back in range(168):
        hour, size = now - back, SHAPE[(now - back) % 24]
        for kind, number in (("accepted", size * 41), ("rejected", size * 3), ("delivered", size * 39),
                             ("deferred", size * 5), ("bounced", size)):  # fmt: skip
            counts[hour, "", "", kind] = number
        if size > 25:
            counts[hour, "", "outbound:user", "limited"] = size // 5
            counts[hour, "", f"burst {EVIL}"[:64], "limited"] = 1
    activity.keep(database, NODE, Taken(counts, {}))
    directory.lock_user(database, ROOT, "example.com", "bob", f"sends spam {EVIL}")
    with database.keep() as session:
        session.add(tables.Suspension(address="198.51.100.12", node="", until=None, reason="blocked by google", by="root"))
    for address, what in (("198.51.100.13", warming.pause), ("198.51.100.14", None)):
        warming.start(database, ROOT, address, hourly="default")
        if what is not None:
            what(database, ROOT, address, reason="12 % of messages deferred")


def mail(server: MailServer, clock: ManualClock) -> list[Any]:
    """Queue some mail, and try some of it."""
    bob = {"domain": "example.com", "username": "bob", "from4": "198.51.100.11", "why": "level user: bob@example.com"}
    now = clock.time()
    entries = []
    for number, domain in enumerate(
        ["gmail.example"] * 5 + ["outlook.example"] * 3 + ["b\u00fccher.example", "example.net"]
    ):
        address = Address(f"to{number}", domain.encode().decode("latin-1"))
        entries += server.accept(
            recipient(recipient=address, sender=Address("bob", "example.com"), egress=bob, due_at=now + 60 * number,
                      hold=number == 1, metadata={"campaign": EVIL}),
            transaction_id=f"7d3c2a90-{number}", received_at=now - 600 * number, sasl_username="bob@example.com",
        )  # fmt: skip
    other = {"domain": "example.org"}
    entries += server.accept(
        recipient(recipient=Address("x", "example.net"), sender=Address("y", "example.org"), egress=other),
        transaction_id="7d3c2a90-other",
        received_at=now - 30,
    )
    for entry in entries[2:6]:
        ids = {"transaction": entry.transaction_id, "queue_id": entry.queue_id}
        for host, result in (("mx1", f"451 4.7.1 try later {EVIL}"), ("mx2", "421 4.7.0 too many connections")):
            server.recent.heard("attempt", {**ids, "local_ip": "198.51.100.11", "helo": "out1.example.net", "port": 25,
                "host": f"{host}.{entry.recipient.domain}", "remote_ip": "203.0.113.5", "result": result, "tls": "TLSv1.3",
                "duration_s": 0.42, "named_by": "delivery_ips", "scope_level": "user", "scope": "bob@example.com",
                "pool": "198.51.100.11 198.51.100.12", "chosen": "198.51.100.11", "kind": "address"})  # fmt: skip
        server.recent.heard("deferred", {**ids, "sender": str(entry.sender), "recipient": str(entry.recipient),
            "domain": "example.com", "username": "bob", "reason": "later", "retries": 0, "due_at": now + 300.0})  # fmt: skip
    ids = {"transaction": "gone", "queue_id": 999}
    server.recent.heard("attempt", {**ids, "local_ip": "198.51.100.16", "host": "mx.example.net", "result": "250 2.0.0 ok"})
    server.recent.heard("delivered", {**ids, "sender": "bob@example.com", "recipient": "z@example.net", **other})
    return entries

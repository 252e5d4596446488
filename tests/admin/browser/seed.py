"""What is in the database when a browser comes: nodes, admins, domains, users, settings, and names that try to break out."""

from __future__ import annotations

from hslpy.clock import ManualClock
from hslpy.egress.accounts import admins, directory
from hslpy.egress.accounts.nodes import add_node
from hslpy.egress.addresses import inventory
from hslpy.egress.addresses.interfaces import LocalAddress, Report
from hslpy.egress.delivery_ips import settings
from hslpy.egress.delivery_ips.setting_rows import Edit
from hslpy.egress.rules.book import Family
from hslpy.egress.store.database import Actor, Database

PASSWORD = "long enough"
ROOT = Actor("root", "cli")
NODE1, NODE2 = "node1.example.net", "node2.example.net"
EVIL = "<img src=x onerror=alert(1)>\"'&"


def seed(database: Database, clock: ManualClock) -> None:
    add_node(database, ROOT, NODE1, primary_ipv4="198.51.100.10", primary_ipv6="2001:db8:1::10")
    add_node(database, ROOT, NODE2, primary_ipv4="198.51.100.20")
    report(database, NODE1, "198.51.100.10", *(f"198.51.100.{n}" for n in range(11, 17)), "2001:db8:1::10", "2001:db8:1::11")
    report(database, NODE2, "198.51.100.20", "198.51.100.21", "198.51.100.22")
    admins.add_admin(database, ROOT, "root", password=PASSWORD, role="super-admin")
    admins.add_admin(database, ROOT, "alice", password=PASSWORD)
    admins.add_admin(database, ROOT, "looker", password=PASSWORD, role="read-only")
    directory.add_domain(database, ROOT, "example.com", admin="alice")
    directory.add_domain(database, ROOT, "example.org")
    directory.add_user(database, ROOT, "example.com", "bob", password="secret1")
    directory.add_user(database, ROOT, "example.com", EVIL, password="secret1")
    directory.saw_identities(database, [("example.com", "bob", "newsletter"), ("example.com", "bob", EVIL)])
    for level, host, addresses, more in (
        ("admin", NODE1, ["198.51.100.11"], {"admin": "alice"}),
        ("domain", NODE1, ["198.51.100.12", "198.51.100.13", "198.51.100.14", "198.51.100.15"], {"domain": "example.com"}),
        ("user", NODE1, ["198.51.100.16"], {"domain": "example.com", "username": "bob"}),
        ("user", NODE2, ["198.51.100.99"], {"domain": "example.com", "username": EVIL}),
        ("identity", NODE1, [], {"domain": "example.com", "username": "bob", "identity": "newsletter"}),
    ):
        settings.add(database, ROOT, Edit(ipv4=addresses), level=level, hostnames=[host], **more)


def report(database: Database, node: str, *addresses: str) -> None:
    """Let a node report addresses, the first one of each family as its primary."""
    with database.keep() as session:
        inventory.keep(session, Report(node, tuple(LocalAddress(one, "eth0") for one in addresses), primary_of(addresses)))


def primary_of(addresses: tuple[str, ...]) -> dict[Family, str]:
    found: dict[Family, str] = {}
    for one in addresses:
        found.setdefault(6 if ":" in one else 4, one)
    return found

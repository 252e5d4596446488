"""Delivery IPs at size: the list of 10,000 settings, a choice among 10,000 users, a new picture of them.

usage: python -m tests.bench.egress [--database URL] [--check]

SQLite in a temporary folder unless a database is named. The list: the slowest of several queries, each the median of its
runs, goal 150 ms; then the same list as the page and as the JSON API give it, over the web application without a socket,
with the same goal at 25 to 100 rows. A choice: the mean over senders at each level with pools of 500 addresses, goal 20 us.
`--check` exits 1 above a goal. The picture and the change are printed without one: what a process does when something was
changed.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import sys
import tempfile
import time
from collections.abc import Callable

import httpx
from sqlalchemy import insert

from hslpy.admin.site import Site
from hslpy.admin.web import web_app
from hslpy.admin.who import COOKIE
from hslpy.clock import SystemClock
from hslpy.egress.accounts import admins, directory
from hslpy.egress.accounts.nodes import add_node
from hslpy.egress.accounts.sessions import open_session
from hslpy.egress.delivery_ips import setting_list, settings
from hslpy.egress.delivery_ips.queries import Query, Rule
from hslpy.egress.rules import choice
from hslpy.egress.rules.book import Sender
from hslpy.egress.store import tables
from hslpy.egress.store.database import Actor, Database
from hslpy.egress.traffic import departures, picture

ROOT = Actor("root", "cli")
NODES, DOMAINS, USERS, ADDRESSES = 2, 1000, 10_000, 500
LIST_MS, CHOICE_US = 150.0, 20.0

QUERIES = {
    "no rules": Query(per_page=100),
    "by a user": Query((Rule("username", "contains", "77"),)),
    "in a network": Query((Rule("ipv4", "is in network", "192.0.2.0/25"),), sort="-changed"),
    "any of three": Query(
        (Rule("domain", "ends with", "9.example"), Rule("admin", "is", "admin3"), Rule("status", "is not", "ok")), "any"
    ),
    "by reputation, sorted": Query((Rule("reputation", "is", "unknown"),), sort="-reputation", per_page=500),
    "by HELO": Query((Rule("helo", "contains", "node1"),), sort="ipv4"),
    "last page": Query(page=10_000, per_page=25),
}

PAGE, API = "/outgoing/delivery-ips?show=1", "/api/v1/delivery-ips"
ASKED = {
    "page, 25 rows": PAGE,
    "page, 100 rows sorted by domain": f"{PAGE}&per_page=100&sort=-domain",
    "page, by a user": f"{PAGE}&f=username&o=contains&v=77",
    "API, 100 rows": f"{API}?per_page=100",
}


def fill(database: Database) -> None:
    admins.add_admin(database, ROOT, "root", password="long enough", role="super-admin")
    for number in range(10):
        admins.add_admin(database, ROOT, f"admin{number}", password="long enough")
    addresses = [f"192.0.{2 + number // 250}.{1 + number % 250}" for number in range(ADDRESSES)]
    for number in range(NODES):
        add_node(database, ROOT, f"node{number}.example.net", addresses=addresses if number else ())
    with database.change(ROOT, "fill") as change:
        change.execute(
            insert(tables.Domain),
            [
                {"id": one, "name": f"d{one}.example", "admin_id": one % 10 + 2, "locked": False, "created_at": 0.0}
                for one in range(1, DOMAINS + 1)
            ],
        )
        users = [(1 + one % DOMAINS, f"user{one}") for one in range(USERS)]
        common = {"password_hash": "", "network": "", "locked": False, "locked_reason": "", "created_at": 0.0}
        change.execute(insert(tables.User), [{"domain_id": domain, "name": name, **common} for domain, name in users])
        rows, chosen = [], []
        for number, (domain, name) in enumerate(users):
            ipv4 = [addresses[(number + step) % ADDRESSES] for step in range(1 + number % 3)]
            rows.append(
                {
                    "id": 100 + number, "scope": directory.scope_key("user", None, domain, name, ""), "level": "user",
                    "domain_id": domain, "username": name, "identity": "", "node_id": 2, "ipv4": ipv4, "ipv6": [],
                    "ipv4_disabled": False, "strict": False, "version": 1, "changed_at": float(number), "changed_by": "x",
                }
            )  # fmt: skip
            chosen += [{"setting_id": 100 + number, "address": one} for one in ipv4]
        change.execute(insert(tables.DeliverySetting), rows)
        change.execute(insert(tables.SettingAddress), chosen)
    all_of_them = ";".join(addresses[:64])
    settings.set_interfaces(database, ROOT, domain="default", filtering_host="node1.example.net", interfaces=all_of_them)


def median_ms(call: Callable[[], object], runs: int = 7) -> float:
    times = []
    for _ in range(runs):
        started = time.perf_counter()
        call()
        times.append((time.perf_counter() - started) * 1000)
    return statistics.median(times)


def answers_ms(database: Database) -> dict[str, float]:
    """Give the medians of whole answers: the page's and the API's."""
    site = Site(database, SystemClock(), lambda event, fields: print(event, fields), node="node1.example.net")
    transport = httpx.ASGITransport(web_app(site), client=("127.0.0.1", 4711))
    cookies = {COOKIE: open_session(database, "root")}

    async def ask() -> dict[str, float]:
        found = {}
        async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1", cookies=cookies) as web:
            for name, path in ASKED.items():
                times = []
                for _ in range(7):
                    started = time.perf_counter()
                    reply = await web.get(path)
                    times.append((time.perf_counter() - started) * 1000)
                    if reply.status_code != 200 or "user" not in reply.text:
                        sys.exit(f"{path}: {reply.status_code} {reply.text[:200]}")
                found[name] = statistics.median(times)
        return found

    return asyncio.run(ask())


def choice_us(seen: picture.Picture) -> tuple[float, float]:
    """Give the mean of a choice: users with settings of their own, and senders that come down to the default's pool.

    The second is what a process that delivers takes for one, with what it knows of addresses.
    """
    node, policies = "node1.example.net", seen.site.policies
    exceptions = seen.exceptions(node, 0.0)
    known = departures.Departures(node, SystemClock(), lambda event, fields: None)
    known.picture = seen
    senders = [Sender(f"d{1 + one % DOMAINS}.example", f"user{one}") for one in range(0, USERS, 7)]
    senders += [Sender(f"other{one}.example", "x", "news") for one in range(len(senders) // 4)]
    keys = [str(one).encode() for one in range(len(senders))]
    for sender, key in zip(senders, keys, strict=True):
        choice.choose(seen.book, node, sender, 4, key, exceptions, policies)
    started = time.perf_counter()
    for _ in range(10):
        for sender, key in zip(senders, keys, strict=True):
            choice.choose(seen.book, node, sender, 4, key, exceptions, policies)
    plain = (time.perf_counter() - started) / (10 * len(senders)) * 1e6
    started = time.perf_counter()
    for _ in range(10):
        for sender, key in zip(senders, keys, strict=True):
            known.choose(sender, 4, key, "mx.example.org")
    return plain, (time.perf_counter() - started) / (10 * len(senders)) * 1e6


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--database")
    parser.add_argument("--check", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        database = Database(options.database or f"sqlite:///{folder}/egress.db", SystemClock())
        database.open()
        fill(database)
        worst = 0.0
        for name, query in QUERIES.items():
            page = setting_list.list_page(database, query, 0.0)
            took = median_ms(lambda query=query: setting_list.list_page(database, query, 0.0))
            worst = max(worst, took)
            print(f"list, {name}: {took:.0f} ms ({page.total} rows)")
        for name, took in answers_ms(database).items():
            worst = max(worst, took)
            print(f"{name}: {took:.0f} ms")
        with database.read() as session:
            seen = picture.read(session)
        print(f"picture: {median_ms(lambda: picture.Follower(database).refresh(), 3):.0f} ms")
        put = {"domain": "d1.example", "filtering_host": "node0.example.net", "interfaces": "0.0.0.0"}
        print(f"a change: {median_ms(lambda: settings.set_interfaces(database, ROOT, **put)):.1f} ms")
        plain, mean = choice_us(seen)
        print(f"choice: {plain:.1f} us; by a process that delivers: {mean:.1f} us")
        database.close()
    if options.check and (worst > LIST_MS or mean > CHOICE_US):
        sys.exit(1)


if __name__ == "__main__":
    main()

"""The picture that choices are made from, and how soon a process has it."""

from __future__ import annotations

import subprocess
import sys

import pytest

from hslpy.egress.accounts import admins, directory, site
from hslpy.egress.accounts.nodes import add_node, lock_node, set_node
from hslpy.egress.delivery_ips import settings
from hslpy.egress.rules.book import Scope, Sender
from hslpy.egress.rules.choice import choose
from hslpy.egress.store import tables
from hslpy.egress.store.database import Actor
from hslpy.egress.traffic import picture
from hslpy.egress.traffic.picture import Follower

ROOT = Actor("root", "cli")
NODE = "node1.example.net"

FOLLOWING = """
import sys, time
from hslpy.clock import SystemClock
from hslpy.egress.store.database import Database
from hslpy.egress.traffic.picture import Follower

class Watched(Database):
    looks = 0
    def revision(self):
        self.looks += 1
        return super().revision()

database = Watched(sys.argv[1], SystemClock())
follower = Follower(database)
follower.start()
print(len(follower.picture.accounts), flush=True)
for line in sys.stdin:
    before = database.looks
    while len(follower.picture.accounts) != int(line) and database.looks < before + 9:
        time.sleep(0.01)
    print(database.looks - before, flush=True)
follower.stop()
"""


@pytest.fixture
def site_of_one(database):
    add_node(database, ROOT, NODE, primary_ipv4="192.0.2.1", addresses=["192.0.2.2", "192.0.2.3", "2001:db8::2"])
    admins.add_admin(database, ROOT, "ann", password="long enough")
    admins.add_admin(database, ROOT, "bob", password="long enough", parent="ann")
    directory.add_domain(database, ROOT, "example.com", admin="bob")
    directory.add_domain(database, ROOT, "alias.example", alias_of="example.com")
    directory.add_user(database, ROOT, "example.com", "eve", password="x")
    directory.add_user(database, ROOT, "example.com", "198.51.100.0/24")
    directory.add_user(database, ROOT, "example.com", "198.51.100.7")
    return database


def put(database, interfaces, **scope):
    settings.set_interfaces(database, ROOT, filtering_host=NODE, interfaces=interfaces, **scope)


def seen(database):
    with database.read() as session:
        return picture.read(session)


def test_all_that_is_set_is_in_the_picture(site_of_one):
    put(site_of_one, "192.0.2.2", admin="ann")
    put(site_of_one, "192.0.2.3;2001:db8::9", domain="example.com", username="eve", identity="news")
    site.change(site_of_one, ROOT, {"pool": "sticky"})
    found = seen(site_of_one)
    assert found.revision == site_of_one.revision() and found.site.pool == "sticky"
    assert set(found.book.settings) == {
        (Scope("admin", "ann"), NODE),
        (Scope("identity", "", "example.com", "eve", "news"), NODE),
    }
    assert found.identities == {("example.com", "eve")}
    assert found.book.nodes[NODE].primary_ipv4 == "192.0.2.1"

    def leaves(family, *sender):
        return choose(
            found.book, NODE, Sender(*sender), family, b"k", found.exceptions(NODE, 0.0), found.site.policies
        ).address  # fmt: skip

    assert leaves(4, "alias.example", "eve", "news") == "192.0.2.3"
    assert leaves(4, "example.com", "eve") == "192.0.2.2"
    assert leaves(4) == "192.0.2.1"
    assert found.exceptions(NODE, 0.0)["2001:db8::9"].reason == "not on this server"


def test_what_cannot_be_used_and_until_when(site_of_one):
    put(site_of_one, "192.0.2.2;2001:db8::2", domain="default")
    with site_of_one.change(ROOT, "suspend") as change:
        change.add(tables.Suspension(address="192.0.2.2", node="", until=100.0, reason="listed", by="ann"))
        change.add(tables.Suspension(address="192.0.2.3", node="other.example.net", until=None, reason="", by="ann"))
        for one in change.query(tables.Address).filter_by(address="2001:db8::2"):
            one.flags = ["tentative"]
    found = seen(site_of_one)
    assert {address: one.reason for address, one in found.exceptions(NODE, 99.0).items()} == {
        "192.0.2.2": "suspended: listed", "2001:db8::2": "IPv6 state tentative",
    }  # fmt: skip
    assert set(found.exceptions(NODE, 101.0)) == {"2001:db8::2"}
    assert set(found.exceptions("other.example.net", 101.0)) == {"192.0.2.3"}
    set_node(site_of_one, ROOT, NODE, ipv6_enabled=False)
    assert seen(site_of_one).exceptions(NODE, 101.0)["2001:db8::2"].reason == "IPv6 is switched off"


def test_who_signs_in(site_of_one):
    found = seen(site_of_one)
    assert found.account("Eve@Alias.example").username == "eve" and found.account("eve@example.com").password_hash
    assert found.account(" eve@example.com ").username == "eve" and found.account("eve@example.com\r\n") is None
    assert found.account("example.com").username == "" and found.account("carl@example.com") is None
    assert found.account_at("198.51.100.7").username == "198.51.100.7"
    assert found.account_at("::ffff:198.51.100.8").username == "198.51.100.0/24"
    assert found.account_at("2001:db8::1") is None
    directory.lock_user(site_of_one, ROOT, "example.com", "eve", "spam")
    assert seen(site_of_one).account("eve@example.com").locked == "spam"
    directory.set_domain(site_of_one, ROOT, "example.com", locked=True)
    assert seen(site_of_one).account_at("198.51.100.7").locked == "the domain is locked"
    lock_node(site_of_one, ROOT, NODE)
    assert seen(site_of_one).locked_nodes == {NODE: f"the server {NODE} is locked"}


def test_another_process_sees_a_change_within_a_second(site_of_one, database_url):
    assert 2 * picture.ASK_S <= 1.0
    process = subprocess.Popen(
        [sys.executable, "-c", FOLLOWING, database_url], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout.readline() == "4\n"
        for number in range(3):
            directory.add_user(site_of_one, ROOT, "example.com", f"user{number}", hashed=HASH)
            process.stdin.write(f"{5 + number}\n")
            process.stdin.flush()
            assert int(process.stdout.readline()) <= 2  # one look may have begun before the change was there
    finally:
        process.stdin.close()
        assert process.wait(60) == 0
        process.stdout.close()


def test_the_picture_stays_while_the_database_is_away(site_of_one):
    follower = Follower(site_of_one)
    own = follower.refresh()
    assert follower.refresh() is own
    put(site_of_one, "192.0.2.2", domain="default")
    assert follower.refresh() is not own and follower.picture.book.settings
    follower.start()
    follower.stop()


HASH = "$argon2id$v=19$m=19456,t=2,p=1$MDEyMzQ1Njc4OWFiY2RlZg$3bVw2G0gqXH0iX0d5mFzWm2o2dW1k9mXcM3o5b9Ucb4"

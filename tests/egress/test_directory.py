"""Admins, domains, users, nodes: added, changed, removed with what depends on them."""

from __future__ import annotations

import threading
from datetime import UTC, datetime

import pytest
from sqlalchemy import func, select

from hslpy.egress.accounts import admins, directory, former
from hslpy.egress.accounts.nodes import (
    add_node,
    ensure_node,
    has_applied,
    list_nodes,
    lock_node,
    remove_node,
    set_node,
    unlock_node,
)
from hslpy.egress.addresses.inventory import node_of
from hslpy.egress.rules.names import NotFound, Refused
from hslpy.egress.store import tables
from hslpy.egress.store.database import Actor, Database
from hslpy.users import argon

ROOT = Actor("root", "cli")


@pytest.fixture
def site(database):
    admins.add_admin(database, ROOT, "root", password="long enough", role="super-admin")
    admins.add_admin(database, ROOT, "ann", password="long enough")
    directory.add_domain(database, ROOT, "Example.COM", admin="ann")
    add_node(database, ROOT, "Node1.example.net.", primary_ipv4="192.0.2.1", addresses=["2001:DB8::1"])
    return database


def test_the_first_start_gives_a_password_once(database, database_url, clock):
    found = []

    def start():
        own = Database(database_url, clock)
        found.append(admins.first_admin(own))
        own.close()

    threads = [threading.Thread(target=start) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    (password,) = [one for one in found if one]
    assert admins.first_admin(database) is None
    principal = admins.sign_in(database, "Admin", password)
    assert (principal.name, principal.role, principal.admins) == ("admin", "super-admin", None)
    assert admins.list_admins(database)[0].signed_in_at == clock.time()
    for name, wrong in (("admin", "x"), ("nobody", password)):
        with pytest.raises(Refused, match="authentication required") as raised:
            admins.sign_in(database, name, wrong)
        assert raised.value.status == 401


def test_roles_and_what_they_see(site):
    admins.add_admin(site, ROOT, "bob", password="long enough", parent="ann")
    admins.add_admin(site, ROOT, "eve", password="long enough", parent="bob", role="read-only")
    assert admins.principal(site, "ann").admins == {"ann", "bob", "eve"}
    assert admins.principal(site, "eve").admins is None
    with pytest.raises(Refused, match="this needs the role super-admin; ann has admin"):
        admins.principal(site, "ann").require("super-admin")
    with pytest.raises(Refused, match="cannot be below itself"):
        admins.set_admin(site, ROOT, "ann", parent="eve")
    with pytest.raises(Refused, match=r"has 1 domain: example\.com"):
        admins.remove_admin(site, ROOT, "ann")
    directory.set_domain(site, ROOT, "example.com", admin="bob")
    with pytest.raises(Refused, match="has 1 admin: bob"):
        admins.remove_admin(site, ROOT, "ann")
    for lost in ({"role": "admin"}, {"locked": True}):
        with pytest.raises(Refused, match="super-admin who can sign in"):
            admins.set_admin(site, ROOT, "root", **lost)
    with pytest.raises(Refused, match="super-admin who can sign in"):
        admins.remove_admin(site, ROOT, "root")
    admins.set_admin(site, ROOT, "eve", locked=True)
    with pytest.raises(Refused):
        admins.principal(site, "eve")
    assert admins.set_admin(site, ROOT, "eve", new_name="Eve", parent="").parent == ""


def test_a_misspelt_call_leaves_no_api_user_without_its_call(site):
    with pytest.raises(Refused, match=r"^there is no call 'api_set_outgoing_interface'; did you mean '\w+s'\?$"):
        admins.add_admin(site, ROOT, "soft", password="long enough", allowed_calls=["api_set_outgoing_interface"])


def test_a_user_of_the_api_has_its_calls_and_networks(site):
    admins.add_admin(
        site, ROOT, "soft", password="long enough", is_api_user=True,
        allowed_calls=["api_help"], allowed_networks=["192.0.2.0/24", "2001:db8::/32"],
    )  # fmt: skip
    soft = admins.principal(site, "soft")
    soft.require_call("api_help", "::ffff:192.0.2.9")
    for call, address, text in (
        ("api_x", "192.0.2.9", "this API user may not use 'api_x'"),
        ("api_help", "198.51.100.1", "this API user may not use 'api_help' from this address"),
    ):
        with pytest.raises(Refused) as raised:
            soft.require_call(call, address)
        assert (raised.value.message, raised.value.status) == (text, 403)
    with pytest.raises(Refused):
        admins.principal(site, "ann").require_call("api_help", "192.0.2.9")
    admins.principal(site, "root").require_call("anything", "198.51.100.1")
    with pytest.raises(Refused, match="is not a network"):
        admins.set_admin(site, ROOT, "soft", allowed_networks=["192.0.2.1/24"])
    assert admins.set_admin(site, ROOT, "soft", allowed_networks=None).allowed_networks is None


def test_tokens(site, clock):
    text, token = admins.add_token(site, ROOT, "root", "ci", ["ips:read"], expires_at=clock.time() + 60)
    assert token.scopes == ("ips:read",) and text not in str(token)
    principal = admins.sign_in_with_token(site, text, clock.time())
    principal.require_scope("ips:read")
    with pytest.raises(Refused, match="has not the scope ips:write"):
        principal.require_scope("ips:write")
    admins.add_token(site, ROOT, "root", "more", ["ips:write"])
    assert [one.name for one in admins.list_tokens(site, "root")] == ["ci", "more"]
    with pytest.raises(Refused, match="no scope"):
        admins.add_token(site, ROOT, "root", "x", ["ips"])
    clock.advance(61)
    for bad in (text, "hslpy_x"):
        with pytest.raises(Refused, match="authentication required"):
            admins.sign_in_with_token(site, bad, clock.time())
    assert admins.remove_token(site, ROOT, "root", "more").text == "token 'more' of 'root' was removed"


def test_domains_and_aliases(site):
    directory.add_domain(site, ROOT, "bücher.example", alias_of="example.com")
    (domain,) = directory.list_domains(site)
    assert (domain.name, domain.admin, domain.aliases, domain.users) == ("example.com", "ann", ("xn--bcher-kva.example",), 1)
    assert directory.list_domains(site, admins=frozenset({"bob"})) == []
    with site.read() as session:
        assert directory.domain_of(session, "BÜCHER.example.").name == "example.com"
        with pytest.raises(NotFound, match=r"^domain 'other.example' does not exist$"):
            directory.domain_of(session, "other.example")
    for name, text in (("default", "stands for every user"), ("example.com", "already"), ("a b", "not a domain name")):
        with pytest.raises(Refused, match=text):
            directory.add_domain(site, ROOT, name)
    directory.add_user(site, ROOT, "example.com", "bob", password="x")
    directory.saw_identities(site, [("example.com", "bob", "News"), ("example.com", "bob", " news ")])
    assert directory.identities(site, "example.com", "BOB", "ne") == ["news"]
    assert directory.set_domain(site, ROOT, "example.com", new_name="example.org", locked=True).locked
    assert directory.identities(site, "example.org", "bob") == ["news"]
    look = directory.remove_domain(site, ROOT, "example.org", only_look=True)
    assert look.text == "domain 'example.org' was removed, with 1 alias and 1 user"
    assert directory.remove_domain(site, ROOT, "example.org") == look
    assert directory.list_domains(site) == [] and directory.list_users(site) == []
    with site.read() as session:
        assert session.scalar(select(func.count()).select_from(tables.Identity)) == 0


def test_users(site, clock):
    hashed = argon.make_hash(b"secret")
    directory.add_user(site, ROOT, "example.com", "Bob", hashed=hashed)
    directory.add_user(site, ROOT, "example.com", "192.0.2.0/24")
    directory.add_user(site, ROOT, "example.com", "2001:DB8:0::/48")
    directory.add_user(site, ROOT, "example.com", password="own")
    assert [(one.username, one.network) for one in directory.list_users(site, "example.com")] == [
        ("", ""), ("192.0.2.0/24", "192.0.2.0/24"), ("2001:db8::/48", "2001:db8::/48"), ("bob", "")
    ]  # fmt: skip
    for name, text in (
        ("BOB", "already"), ("192.0.2.1/24", "the network is 192.0.2.0/24"), ("192.0.2.0/24", "already"), ("", "already"),
        ("eve", "a password is wanted"),
    ):  # fmt: skip
        with pytest.raises(Refused, match=text):
            directory.add_user(site, ROOT, "example.com", name, password="" if name == "eve" else "x")
    with pytest.raises(Refused, match="no argon2 hash"):
        directory.add_user(site, ROOT, "example.com", "eve", hashed="x")
    locked = directory.lock_user(site, ROOT, "example.com", "bob", "sends\r\nspam")
    assert (locked.locked, locked.locked_reason, locked.locked_at) == (True, "sends spam", clock.time())
    assert not directory.unlock_user(site, ROOT, "example.com", "bob").locked
    with pytest.raises(NotFound, match=r"^outgoing user 'carl' does not exist in example.com$"):
        directory.lock_user(site, ROOT, "example.com", "carl")
    assert directory.set_user(site, ROOT, "example.com", "bob", new_name="rob", password="y").username == "rob"
    with pytest.raises(Refused, match="known by its address"):
        directory.set_user(site, ROOT, "example.com", "rob", new_name="192.0.2.7")
    assert directory.remove_user(site, ROOT, "example.com", "rob").text == "outgoing user 'rob' of example.com was removed"
    directory.remove_user(site, ROOT, "example.com", "")
    assert len(directory.list_users(site)) == 3


def test_a_former_name_is_nobody_elses_while_mail_may_be_queued_by_it(site, clock):
    """It would be its taker's mail: under another's domain, and free of a lock that comes later."""
    directory.add_domain(site, ROOT, "second.example")
    directory.add_user(site, ROOT, "example.com", "bob", password="x")
    directory.set_user(site, ROOT, "example.com", "bob", new_name="rob")
    directory.set_domain(site, ROOT, "example.com", new_name="hidden.example")
    takers = (
        lambda: directory.add_user(site, ROOT, "hidden.example", "bob", password="x"),
        lambda: directory.add_domain(site, ROOT, "example.com", admin="ann"),
        lambda: directory.add_domain(site, ROOT, "example.com", alias_of="second.example"),
        lambda: directory.set_domain(site, ROOT, "second.example", new_name="example.com"),
    )
    day = datetime.fromtimestamp(clock.time() + former.KEPT_S, UTC).date()
    for take in takers:
        with pytest.raises(Refused, match=rf"is the former name of another .* until {day} \(UTC\)$") as raised:
            take()
        assert raised.value.status == 409 and "hidden" not in raised.value.message + raised.value.hint
    directory.add_domain(site, ROOT, "example.com", alias_of="hidden.example")  # its own, and mail goes on following it
    directory.remove_domain(site, ROOT, "example.com")
    with pytest.raises(Refused, match="is the former name of another domain"):
        takers[1]()
    directory.set_user(site, ROOT, "hidden.example", "rob", new_name="bob")
    directory.set_domain(site, ROOT, "hidden.example", new_name="example.com")
    directory.set_domain(site, ROOT, "example.com", new_name="hidden.example")
    clock.advance(former.KEPT_S + 1)
    assert directory.add_domain(site, ROOT, "example.com", admin="ann").name == "example.com"


def test_what_somebody_else_has_locked_stays_locked(site):
    """An admin unlocks what it or somebody below it has locked, and gets around no other lock."""
    directory.add_user(site, ROOT, "example.com", "bob", password="x")
    mine = {"admins": frozenset({"ann", "kim"})}
    directory.lock_user(site, Actor("kim"), "example.com", "bob", **mine)
    assert not directory.unlock_user(site, Actor("ann"), "example.com", "bob", **mine).locked
    directory.lock_user(site, Actor("ann"), "example.com", "bob", **mine)
    directory.lock_user(site, Actor("eve"), "example.com", "bob", "spam")  # who may, makes it theirs
    for around in (
        lambda: directory.unlock_user(site, Actor("ann"), "example.com", "bob", **mine),
        lambda: directory.lock_user(site, Actor("ann"), "example.com", "bob", **mine),
        lambda: directory.set_user(site, Actor("ann"), "example.com", "bob", new_name="rob", **mine),
        lambda: directory.remove_user(site, Actor("ann"), "example.com", "bob", **mine),
        lambda: directory.remove_domain(site, Actor("ann"), "example.com", **mine),
    ):
        with pytest.raises(Refused, match=r"^bob of example.com was locked by eve: ") as raised:
            around()
        assert raised.value.status == 403
    directory.set_user(site, Actor("ann"), "example.com", "bob", password="y", **mine)
    (bob,) = [one for one in directory.list_users(site) if one.username == "bob"]
    assert (bob.locked, bob.locked_by, bob.locked_reason) == (True, "eve", "spam")
    directory.unlock_user(site, ROOT, "example.com", "bob")
    directory.set_domain(site, ROOT, "example.com", locked=True)
    for change in ({"locked": False}, {"locked": True}, {"new_name": "example.org"}):
        with pytest.raises(Refused, match=r"^the domain example.com was locked by root: "):
            directory.set_domain(site, Actor("ann"), "example.com", **change, **mine)
    assert directory.set_domain(site, Actor("ann"), "example.com", new_name="example.com", **mine).locked
    admins.add_admin(site, ROOT, "lee", password="long enough", role="super-admin")
    directory.set_domain(site, Actor("lee"), "example.com", locked=True)
    admins.set_admin(site, ROOT, "lee", new_name="leo")
    assert directory.get_domain(site, "example.com").locked_by == "leo"


def test_a_node_has_no_address_that_no_host_has(site):
    for given in ({"primary_ipv4": "224.0.0.1"}, {"primary_ipv6": "::ffff:192.0.2.1"}, {"addresses": ["0.0.0.0"]}):
        with pytest.raises(Refused, match="cannot be used as a source address"):
            add_node(site, ROOT, "new.example.net", **given)


def test_nodes(site, clock):
    ensure_node(site, ROOT, "node2.example.net")
    ensure_node(site, ROOT, "node2.example.net")
    first, second = list_nodes(site)
    assert (first.name, first.primary_ipv4, first.addresses) == (
        "node1.example.net",
        "192.0.2.1",
        ("192.0.2.1", "2001:db8::1"),
    )
    assert second.addresses == ()
    locked = lock_node(site, ROOT, second.name, "listed")
    assert locked.locked and (locked.locked_reason, locked.locked_at, locked.locked_by) == ("listed", clock.time(), "root")
    clock.advance(60)
    again = lock_node(site, Actor("eve"), second.name, "still listed")
    assert (again.locked_reason, again.locked_at, again.locked_by) == ("still listed", locked.locked_at, "eve")
    assert unlock_node(site, ROOT, second.name) == second
    with site.read() as session, pytest.raises(NotFound) as raised:
        node_of(session, "mx1.example.net")
    assert raised.value.message == (
        "'mx1.example.net' is not a filtering server; servers: node1.example.net, node2.example.net"
    )
    with pytest.raises(Refused, match="not an IPv4 address"):
        set_node(site, ROOT, "node1.example.net", primary_ipv4="2001:db8::1")
    assert set_node(site, ROOT, "NODE1.example.net", new_name="a.example.net", addresses=["192.0.2.9"]).addresses
    assert remove_node(site, ROOT, "a.example.net").text == "node 'a.example.net' was removed"
    with site.read() as session:
        assert session.scalar(select(func.count()).select_from(tables.Address)) == 0
        assert session.scalar(select(func.count()).select_from(tables.DeliverySetting)) == 1


def test_no_password_is_in_the_audit_record(site):
    directory.add_user(site, ROOT, "example.com", "bob", password="geheim")
    admins.set_admin(site, ROOT, "ann", password="sehr geheim")
    with site.read() as session:
        told = [f"{one.arguments} {one.result}" for one in session.scalars(select(tables.Audit))]
    assert not any("geheim" in one or "argon2" in one for one in told)


def test_nodes_tell_which_revision_they_have(database):
    add_node(database, ROOT, "node1.example.net")
    revision = database.revision()
    has_applied(database, "node1.example.net", revision)
    has_applied(database, "node1.example.net", revision - 1)  # of a worker that was slower
    (node,) = list_nodes(database)
    assert (node.revision, database.revision()) == (revision, revision)

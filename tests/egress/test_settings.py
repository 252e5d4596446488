"""Delivery settings: the calls of section A, the changes of section B2 and B3."""

from __future__ import annotations

import threading

import pytest
from sqlalchemy import select

from hslpy.clock import ManualClock
from hslpy.egress.accounts import admins, directory, scopes, site
from hslpy.egress.accounts.nodes import add_node, remove_node
from hslpy.egress.addresses.inventory import node_of
from hslpy.egress.delivery_ips import in_force, settings
from hslpy.egress.delivery_ips.setting_rows import Conflict, Edit
from hslpy.egress.rules.names import Refused
from hslpy.egress.store import tables
from hslpy.egress.store.database import Actor, Database

ROOT = Actor("root", "api")
NODE1, NODE2 = "node1.demo-domain.invalid", "node2.demo-domain.invalid"


@pytest.fixture
def cluster(database):
    add_node(database, ROOT, NODE1, primary_ipv4="198.51.100.1", addresses=["198.51.100.9"])
    add_node(database, ROOT, NODE2, primary_ipv4="198.51.100.2", addresses=["1.1.1.1", "2.2.2.2", "2001:db8::5", "10.0.0.5"])
    admins.add_admin(database, ROOT, "ann", password="long enough")
    admins.add_admin(database, ROOT, "bob", password="long enough", parent="ann")
    directory.add_domain(database, ROOT, "example.com", admin="bob")
    directory.add_domain(database, ROOT, "example.org")
    directory.add_domain(database, ROOT, "alias.example", alias_of="example.com")
    directory.add_user(database, ROOT, "example.com", "bob", password="x")
    directory.add_user(database, ROOT, "example.com", "2001:db8:7::/48")
    return database


def put(database, interfaces="", host=NODE2, **scope):
    return settings.set_interfaces(database, ROOT, filtering_host=host, interfaces=interfaces, **scope)


def get(database, **scope):
    return list(in_force.get_interfaces(database, **scope).lines)


def test_the_example_of_two_nodes(cluster):
    assert put(cluster, "1.1.1.1;2.2.2.2", domain="default", username="").lines == ()
    assert get(cluster, domain="default", username="") == [f"{NODE1} 0.0.0.0;::0", f"{NODE2} 1.1.1.1;2.2.2.2;::0"]
    assert put(cluster, "", domain="default").lines == ()
    assert get(cluster, domain="default") == [f"{NODE1} 0.0.0.0;::0", f"{NODE2} 0.0.0.0;::0"]


def test_what_is_in_force_and_what_is_not_the_default(cluster):
    put(cluster, "1.1.1.1", domain="default")
    assert get(cluster, domain="example.com", username="bob", filtering_host=NODE2.upper() + ".") == [f"{NODE2} 1.1.1.1;::0"]
    put(cluster, "2.2.2.2", admin="ann")
    assert get(cluster, domain="example.com") == [f"{NODE1} 0.0.0.0;::0", f"{NODE2} 2.2.2.2;::0"]
    put(cluster, "2001:DB8:0::5", domain="Example.COM.", username="BOB")
    assert get(cluster, domain="example.com", username="bob") == [
        f"WARNING: {NODE2}: not the default value (default: 2.2.2.2;::0)",
        f"{NODE1} 0.0.0.0;::0",
        f"{NODE2} 0.0.0.0;2001:db8::5",
    ]
    put(cluster, "0.0.0.0;::", domain="example.com", username="bob", identity=" News ")
    assert get(cluster, domain="alias.example", username="bob", identity="NEWS")[-1] == f"{NODE2} 0.0.0.0;::0"
    put(cluster, "", domain="example.com", username="bob")
    put(cluster, "2.2.2.2", domain="example.com")  # as inherited: no warning
    assert get(cluster, domain="example.com") == [f"{NODE1} 0.0.0.0;::0", f"{NODE2} 2.2.2.2;::0"]
    put(cluster, "2001:db8::5", domain="example.com", disable_ipv4="1")
    assert get(cluster, domain="example.com")[-1] == f"{NODE2} disabled;2001:db8::5"
    site.change(cluster, ROOT, {"missing_family": "inherit"})
    put(cluster, "2001:db8::5", domain="example.com")
    assert get(cluster, domain="example.com")[-1] == f"{NODE2} 2.2.2.2;2001:db8::5"


def test_a_network_is_a_user(cluster):
    put(cluster, "2001:db8::5", domain="example.com", username="2001:DB8:7:0::/48")
    assert get(cluster, domain="example.com", username="2001:db8:7::/48")[-1] == f"{NODE2} 0.0.0.0;2001:db8::5"


@pytest.mark.parametrize(
    ("arguments", "status", "text"),
    [
        ({}, 400, "missing argument 'domain'"),
        ({"domain": "example.com", "host": ""}, 400, "missing argument 'filtering_host'"),
        ({"domain": "default", "username": "x"}, 400, "'default' applies to every user; leave 'username' empty"),
        ({"domain": "default", "identity": "x"}, 400, "'default' applies to every user; leave 'identity' empty"),
        ({"domain": "example.net"}, 404, "domain 'example.net' does not exist"),
        ({"domain": "no domain"}, 404, "domain 'no domain' does not exist"),
        ({"domain": "example.com", "username": "carl"}, 404, "outgoing user 'carl' does not exist in example.com"),
        ({"domain": "example.com;example.org", "username": "bob"}, 404, "outgoing user 'bob' does not exist in example.org"),
        ({"admin": "eve"}, 404, "admin 'eve' does not exist"),
        ({"admin": "ann", "domain": "example.com"}, 400, "'admin' applies to all domains of an admin; leave 'domain' empty"),
        (
            {"domain": "default", "host": "mx1.example.net"},
            404,
            f"'mx1.example.net' is not a filtering server; servers: {NODE1}, {NODE2}",
        ),
        ({"domain": "default", "interfaces": "1.1.1.1;1.2.3"}, 400, "'1.2.3' is not an IP address"),
        ({"domain": "default", "interfaces": "010.0.0.1"}, 400, "'010.0.0.1' is not an IP address"),
        ({"domain": "default", "interfaces": "192.0.2.0/24"}, 400, "'192.0.2.0/24' is not an IP address"),
        ({"domain": "default", "interfaces": "fe80::1%eth0"}, 400, "'fe80::1%eth0' is not an IP address"),
        ({"domain": "default", "interfaces": "224.0.0.1"}, 400, "'224.0.0.1' cannot be used as a source address (multicast)"),  # noqa: E501
        ({"domain": "default", "interfaces": "127.0.0.1"}, 400, "'127.0.0.1' cannot be used as a source address (loopback)"),
        ({"domain": "default", "interfaces": "1.1.1.1", "disable_ipv4": "yes"}, 400, "'yes' is no value of 'disable_ipv4': 0 or 1"),  # noqa: E501
    ],
)  # fmt: skip
def test_what_is_wrong_changes_nothing(cluster, arguments, status, text):
    put(cluster, "2.2.2.2", domain="default")
    with pytest.raises(Refused) as raised:
        put(cluster, **{"interfaces": "1.1.1.1", **arguments})
    assert (raised.value.message, raised.value.status) == (text, status)
    assert get(cluster, domain="default")[-1] == f"{NODE2} 2.2.2.2;::0"
    assert len(in_force.list_settings(cluster)) == 1


def test_primary_and_explicit_do_not_mix(cluster):
    with pytest.raises(Refused, match="mixes primary and explicit"):
        put(cluster, "::0;0.0.0.0;1.1.1.1", domain="default")
    put(cluster, "0.0.0.0;2001:db8::5", domain="default")
    assert get(cluster, domain="default")[-1] == f"{NODE2} 0.0.0.0;2001:db8::5"


def test_warnings(cluster):
    assert put(cluster, "192.0.2.99", domain="default").lines == (
        f"WARNING: 192.0.2.99 is not an address of {NODE2}; mail cannot leave from it until it is added",
    )
    assert put(cluster, "198.51.100.9", domain="default").lines[1:] == (f"WARNING: 198.51.100.9 is assigned to {NODE1}",)
    (private,) = put(cluster, "10.0.0.5", domain="default").lines
    assert "private address" in private
    (silent,) = put(cluster, "", domain="default", host=NODE1, disable_ipv4="1").lines
    assert "no IPv6 address" in silent
    with cluster.change(ROOT, "check") as change:
        node = change.scalars(select(tables.Node).where(tables.Node.name == NODE2)).one()
        finding = {"check": "P07", "outcome": "critical", "text": "1.1.1.1 has no reverse DNS (PTR)."}
        change.add(tables.Checkup(node_id=node.id, address="1.1.1.1", status="critical", findings=[finding], checked_at=0.0))
    assert put(cluster, "1.1.1.1", domain="default").lines == ("WARNING: 1.1.1.1 has no reverse DNS (PTR).",)
    (alias,) = put(cluster, "1.1.1.1", domain="alias.example", host=NODE2).lines[:1]
    assert "alias of" not in alias.replace("alias.example is an alias", "") and "example.com" in alias


def test_the_same_again_changes_nothing_but_is_told(cluster, clock):
    put(cluster, "1.1.1.1; 2.2.2.2 ;1.1.1.1;", domain="example.com")
    (before,) = in_force.list_settings(cluster)
    clock.advance(5)
    put(cluster, "1.1.1.1;2.2.2.2", domain="example.com")
    assert list(in_force.list_settings(cluster)) == [before]
    with cluster.read() as session:
        told = session.scalars(select(tables.Audit.arguments).where(tables.Audit.action == "ip set")).all()
    assert len(told) == 2 and told[1]["interfaces"] == "1.1.1.1;2.2.2.2"


def test_several_domains_are_set_together(cluster):
    put(cluster, "1.1.1.1", domain="example.com; example.org;alias.example")
    assert [one.row.domain for one in in_force.list_settings(cluster)] == ["example.com", "example.org"]
    with pytest.raises(Refused):
        put(cluster, "2.2.2.2", domain="example.com;example.net")
    assert [one.row.ipv4 for one in in_force.list_settings(cluster)] == [("1.1.1.1",)] * 2


def test_json(cluster):
    put(cluster, "1.1.1.1;2.2.2.2", domain="default")
    put(cluster, "2001:db8::5", domain="example.com", identity="news", disable_ipv4="1")
    found = in_force.get_json(cluster)
    assert list(found) == [NODE2]
    assert found[NODE2][0] == {
        "level": "default", "admin": None, "domain": None, "username": None, "identity": None,
        "ipv4": ["1.1.1.1", "2.2.2.2"], "ipv6": [], "ipv4_disabled": False,
        "effective": {"ipv4": ["1.1.1.1", "2.2.2.2"], "ipv6": ["::0"]},
    }  # fmt: skip
    (row,) = in_force.get_json(cluster, domain="example.com", identity="NEWS")[NODE2]
    assert (row["level"], row["username"], row["ipv4_disabled"]) == ("identity", None, True)
    assert row["effective"] == {"ipv4": [], "ipv6": ["2001:db8::5"]}
    assert in_force.get_json(cluster, domain="example.org") == {}
    with pytest.raises(Refused, match="does not exist"):
        in_force.get_json(cluster, domain="example.net")


def test_setters_at_once_never_mix_their_lists(cluster, database_url):
    lists = ["1.1.1.1;2.2.2.2", "2001:db8::5", "10.0.0.5", ""]

    def work(interfaces):
        own = Database(database_url, ManualClock())
        for _ in range(5):
            put(own, interfaces, domain="example.com")
        own.close()

    threads = [threading.Thread(target=work, args=(one,)) for one in lists]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert get(cluster, domain="example.com")[-1].removeprefix(NODE2 + " ") in (
        "1.1.1.1;2.2.2.2;::0", "0.0.0.0;2001:db8::5", "10.0.0.5;::0", "0.0.0.0;::0"
    )  # fmt: skip


def test_add_and_edit(cluster):
    made = settings.add(
        cluster, ROOT, Edit(ipv4=["1.1.1.1"]), level="user", domain="example.com", username="bob", hostnames=[NODE2]
    )
    ((_, row),) = made.done
    assert (row.level, row.scope, row.hostname, row.version) == ("user", "user example.com bob", NODE2, 1)
    with pytest.raises(Conflict) as raised:
        settings.add(cluster, ROOT, Edit(), level="user", domain="example.com", username="bob", hostnames=[NODE2])
    assert raised.value.theirs == row and raised.value.status == 409
    ((_, both),) = settings.edit_row(cluster, ROOT, row.id, 1, Edit(ipv6="2001:db8::5")).done
    assert (both.ipv4, both.ipv6, both.version) == (("1.1.1.1",), ("2001:db8::5",), 2)
    with pytest.raises(Conflict, match="changed by root") as raised:
        settings.edit_row(cluster, ROOT, row.id, 1, Edit(ipv4=[]))
    assert raised.value.theirs == both
    with pytest.raises(Refused, match="is not an IPv4 address"):
        settings.edit_row(cluster, ROOT, row.id, 2, Edit(ipv4=["2001:db8::5"]))
    ((_, off),) = settings.edit_row(cluster, ROOT, row.id, 2, Edit(ipv4_disabled=True)).done
    assert off.ipv4_disabled and off.ipv4 == ()
    settings.remove(cluster, ROOT, [row.id])
    with pytest.raises(Conflict, match="removed"):
        settings.edit_row(cluster, ROOT, row.id, 3, Edit(ipv4=[]))


def test_levels_want_their_names(cluster):
    for given, text in (
        ({"level": "admin"}, "choose an admin"),
        ({"level": "user", "domain": "example.com"}, "wants a username"),
        ({"level": "identity", "domain": "example.com"}, "wants an identity"),
        ({"level": "domain", "domain": "example.com", "username": "bob"}, "takes less"),
        ({"level": "domain"}, "choose a domain"),
        ({"level": "planet"}, "is no level"),
    ):
        with pytest.raises(Refused, match=text):
            settings.add(cluster, ROOT, Edit(), hostnames=[NODE2], **given)


def test_all_nodes_only_without_addresses(cluster):
    with pytest.raises(Refused, match="belong to one server"):
        settings.add(cluster, ROOT, Edit(ipv4="1.1.1.1"), level="domain", domain="example.com")
    assert len(settings.add(cluster, ROOT, Edit(), level="domain", domain="example.com").done) == 2
    with pytest.raises(Refused, match=f"Type {NODE1}"):
        settings.add(cluster, ROOT, Edit(ipv4_disabled=True), level="default", hostnames=[NODE1])
    settings.add(cluster, ROOT, Edit(ipv4_disabled=True), level="default", hostnames=[NODE1], confirmed_host=NODE1)
    assert get(cluster, domain="default")[0] == f"{NODE1} disabled;::0"


def test_bulk_and_undo(cluster):
    put(cluster, "1.1.1.1;2.2.2.2", domain="example.com")
    put(cluster, "1.1.1.1", domain="default")
    put(cluster, "198.51.100.9", domain="default", host=NODE1)
    rows = {(one.row.level, one.row.hostname): one.row for one in in_force.list_settings(cluster)}
    ids = [row.id for row in rows.values()]
    with pytest.raises(Refused, match="belong to one server"):
        settings.bulk_edit(cluster, ROOT, ids, Edit(ipv4="1.1.1.1"))
    edited = settings.bulk_edit(cluster, ROOT, [*ids, 999], Edit(strict=True))
    assert all(after.strict for _, after in edited.done) and edited.failed == ((999, "it is not there any more"),)
    assert settings.undo(cluster, ROOT, edited.undo).failed == ()
    with pytest.raises(Refused, match="There are 1,240 queued messages"):
        settings.replace_address(cluster, ROOT, ids, "1.1.1.1", "2.2.2.2", queued_spam=1240)
    swapped = settings.replace_address(cluster, ROOT, ids, "1.1.1.1", "2.2.2.2", queued_spam=1240, is_confirmed=True)
    assert [after.ipv4 for _, after in swapped.done] == [("2.2.2.2",)] * 2
    assert swapped.failed == ((rows["default", NODE1].id, "it does not have 1.1.1.1"),)
    for new in ("2001:db8::5", "0.0.0.0", "x"):
        with pytest.raises(Refused):
            settings.replace_address(cluster, ROOT, ids, "2.2.2.2", new)
    put(cluster, "10.0.0.5", domain="default")
    undone = settings.undo(cluster, ROOT, swapped.undo)
    assert undone.failed == ((rows["default", NODE2].id, "it was changed since"),)
    assert get(cluster, domain="example.com")[-1] == f"{NODE2} 1.1.1.1;2.2.2.2;::0"
    removed = settings.remove(cluster, ROOT, ids)
    assert in_force.list_settings(cluster) == [] and len(removed.done) == 3
    settings.undo(cluster, ROOT, removed.undo)
    assert len(in_force.list_settings(cluster)) == 3


def test_a_user_keeps_its_settings_when_renamed_and_takes_them_along(cluster):
    put(cluster, "1.1.1.1", domain="example.com", username="bob")
    put(cluster, "1.1.1.1", domain="example.com", username="bob", identity="news")
    directory.set_user(cluster, ROOT, "example.com", "bob", new_name="rob")
    assert get(cluster, domain="example.com", username="rob")[-1] == f"{NODE2} 1.1.1.1;::0"
    assert directory.remove_user(cluster, ROOT, "example.com", "rob").also == ("2 delivery IP settings",)
    assert in_force.list_settings(cluster) == []
    put(cluster, "1.1.1.1", admin="ann")
    assert remove_node(cluster, ROOT, NODE2).also == ("1 delivery IP setting",)


def test_whom_a_setting_is_for(cluster):
    put(cluster, "1.1.1.1", domain="example.com", username="bob")
    with cluster.read() as session:
        nodes = [node_of(session, name) for name in (NODE1, NODE2)]

        def told(node, **scope):
            return scopes.affected(session, scopes.target_of(session, **scope), node).text

        assert told(nodes[1], admin="ann") == "1 domain, 2 users will use this setting"
        assert told(nodes[0], admin="ann") == "1 domain, 3 users will use this setting"
        assert told(nodes[1], domain="default") == "2 domains, 3 users will use this setting"
        assert told(nodes[1], domain="example.com", username="bob") == "1 domain, 1 user will use this setting"

"""Delivery settings, nodes, HELO names and checks by the JSON API."""

from __future__ import annotations

import asyncio

import pytest

from hslpy.admin.control import ControlServer
from hslpy.clock import ManualClock
from hslpy.egress.accounts import directory
from hslpy.egress.checks.checkup import Checker
from hslpy.log import no_log

from ..egress.name_server import name_server
from .api_client import NODE1, NODE2, ROOT, Client, populate


@pytest.fixture
def client(database, clock):
    populate(database)
    return Client(database, clock)


on_sqlite = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)


def added(client, *ipv4, **more):
    body = {"level": "domain", "domain": "example.com", "hostnames": [NODE2], "ipv4": list(ipv4), **more}
    return client.good("POST", "/delivery-ips", body)["rows"][0]


def test_a_setting_is_added_changed_and_removed(client):
    row = added(client, "1.1.1.1")
    assert (row["domain"], row["hostname"], row["ipv4"], row["version"]) == ("example.com", NODE2, ["1.1.1.1"], 1)
    changed = client.good("PATCH", f"/delivery-ips/{row['id']}", {"version": 1, "ipv4": ["2.2.2.2", "1.1.1.1"]})
    assert changed["rows"][0]["ipv4"] == ["2.2.2.2", "1.1.1.1"]
    reply = client("PATCH", f"/delivery-ips/{row['id']}", {"version": 1, "ipv4": []}, local=True)
    assert reply.status_code == 409
    assert reply.json()["theirs"]["version"] == 2
    gone = client.good("DELETE", f"/delivery-ips/{row['id']}")
    assert [one["id"] for one in gone["removed"]] == [row["id"]]
    back = client.good("POST", "/delivery-ips/undo", {"undo": gone["undo"]})
    assert back["rows"][0]["ipv4"] == ["2.2.2.2", "1.1.1.1"]
    client.refused(404, "POST", "/delivery-ips/undo", {"undo": gone["undo"]})
    client.refused(404, "DELETE", "/delivery-ips/4711")


def test_another_ones_change_is_not_taken_back(client):
    changed = client.good("PUT", "/delivery-ips", {"domain": "default", "filtering_host": NODE2, "interfaces": ["1.1.1.1"]})
    assert client("POST", "/delivery-ips/undo", {"undo": changed["undo"]}).status_code == 404  # by root
    assert client.good("POST", "/delivery-ips/undo", {"undo": changed["undo"]})["rows"][0]["ipv4"] == []


def test_the_list_is_asked_by_rules(client):
    added(client, "1.1.1.1", "2.2.2.2")
    first = client.good("GET", "/delivery-ips")
    assert (first["total"], first["pages"]) == (3, 1)  # each node has its default
    found = client.good("GET", "/delivery-ips?rule=domain:is:example.com&columns=domain,ipv4")["items"]
    assert [sorted(one) for one in found] == [["domain", "id", "ipv4", "version"]]
    assert (
        client.good("GET", "/delivery-ips?rule=ipv4:is in network:1.0.0.0/8&rule=level:is:default&match=any")["total"] == 3
    )
    assert client.good("GET", "/delivery-ips/ids?rule=level:is:domain") == [found[0]["id"]]
    assert client.good("GET", "/delivery-ips?rule=level:is:Default")["total"] == 2
    error = client.refused(400, "GET", "/delivery-ips?rule=level:is:domain&rule=ipv4:is in network:1.2")
    assert (error["field"], "1.2" in error["message"]) == ("rules.1", True)
    assert client.refused(400, "GET", "/delivery-ips?columns=nothing")["message"] == "there is no column 'nothing'"
    assert client.refused(400, "GET", "/delivery-ips?per_page=501")["field"] == "per_page"
    assert client.refused(400, "GET", "/delivery-ips?rules=x")["hint"] == "did you mean 'rule'?"
    fields = client.good("GET", "/delivery-ips/fields")
    assert "is in network" in next(one for one in fields["fields"] if one["field"] == "ipv4")["operators"]


def test_reading_page_after_page_comes_to_an_end(client):
    for path in ("/delivery-ips", "/nodes"):
        last = client.good("GET", f"{path}?per_page=1&page=2")
        assert len(last["items"]) == 1
        assert client.good("GET", f"{path}?per_page=1&page=3") == {**last, "items": [], "page": 3}
    assert client.good("GET", "/delivery-ips?per_page=1&page=3&columns=domain")["items"] == []
    for path in ("/block-lists", "/reputation"):
        first = client.good("GET", path)
        assert client.good("GET", f"{path}?page=1001") == {**first, "items": [], "page": 1001}


def test_what_no_database_can_keep_is_refused_and_no_fault_of_ours(client):
    for query in ("delivery-ips?rule=domain:is:a%00", "audit?contains=%00", "delivery-ips?rule=changed:>:9999-12-31"):
        client.refused(400, "GET", f"/{query}")
    bob = "/users?domain=example.com&username=bob"
    client.refused(400, "PATCH", bob, {"locked": True, "reason": "a\x00"})
    assert client.good("PATCH", bob, {"locked": True, "reason": "\\u0000"})["locked_reason"] == "\\u0000"
    client.refused(400, "GET", f"/delivery-ips/{2**63}")
    client.refused(400, "POST", "/delivery-ips/remove", {"ids": [2**63]})


def test_an_admin_sees_its_own_domains_alone_and_changes_nothing(client):
    mine, other = added(client, "1.1.1.1"), added(client, "2.2.2.2", domain="example.org")
    items = client.good("GET", "/delivery-ips", user="ann", local=False)["items"]
    assert [one["id"] for one in items] == [mine["id"]]
    assert "example.org" not in client("GET", "/delivery-ips/export.csv", user="ann").text
    assert client("GET", f"/delivery-ips/{other['id']}", user="ann").status_code == 404
    assert client("GET", f"/delivery-ips/{mine['id']}", user="ann").status_code == 200
    explain = f"/delivery-ips/explain?node={NODE2}&domain="
    assert client("GET", f"{explain}example.com", user="ann").status_code == 200
    assert client("GET", f"{explain}example.org", user="ann").status_code == 404
    assert client("GET", "/delivery-ips/in-force", user="ann").status_code == 404
    assert client("DELETE", f"/delivery-ips/{mine['id']}", user="ann").status_code == 403
    assert client("GET", "/delivery-ips", user="eve").json()["total"] == 4
    assert client("GET", "/users", user="ann").json()["total"] == 2
    assert (
        client("POST", "/users", {"domain": "example.org", "username": "x", "password": "y"}, user="ann").status_code == 404
    )
    assert client("POST", "/domains", {"name": "sub.example", "admin": "root"}, user="ann").status_code == 403
    assert client("POST", "/domains", {"name": "sub.example"}, user="ann").json()["admin"] == "ann"


def test_several_settings_at_once(client):
    rows = [added(client, "1.1.1.1"), added(client, "1.1.1.1", domain="example.org")]
    ids = [one["id"] for one in rows]
    changed = client.good("POST", "/delivery-ips/bulk-edit", {"ids": [*ids, 4711], "strict": True})
    assert [one["strict"] for one in changed["rows"]] == [True, True]
    assert changed["failed"] == [{"id": 4711, "message": "it is not there any more"}]
    moved = client.good("POST", "/delivery-ips/replace", {"ids": ids, "old": "1.1.1.1", "new": "2.2.2.2"})
    assert [one["ipv4"] for one in moved["rows"]] == [["2.2.2.2"], ["2.2.2.2"]]
    gone = client.good("POST", "/delivery-ips/remove", {"ids": ids})
    assert len(gone["removed"]) == 2


@on_sqlite
def test_an_address_is_not_replaced_while_spam_is_queued(database, clock, tmp_path):
    populate(database)
    path = tmp_path / "control.sock"
    client = Client(database, clock, control=path)
    row = added(client, "1.1.1.1")
    directory.lock_user(database, ROOT, "example.com", "bob")
    body = {"ids": [row["id"]], "old": "1.1.1.1", "new": "2.2.2.2"}

    async def summary(arguments):
        assert arguments["values"] == ["bob@example.com"]
        return {"groups": [{"value": "bob@example.com", "count": 1240}]}

    async def run():
        server = ControlServer(path, {"queue.summary": summary}, no_log)
        await server.start()
        refused = await client.ask("POST", "/delivery-ips/replace", body, local=True)
        done = await client.ask("POST", "/delivery-ips/replace", {**body, "confirmed": True}, local=True)
        await server.stop()
        return refused, done.json()

    refused, done = asyncio.run(run())
    assert (refused.status_code, "1,240 queued messages" in refused.text) == (409, True)
    assert done["rows"][0]["ipv4"] == ["2.2.2.2"]


def test_settings_go_out_and_in_as_csv(client):
    added(client, "1.1.1.1")
    text = client.good("GET", "/delivery-ips/export.csv?rule=level:is:domain")
    assert text.splitlines()[1] == f"domain,,example.com,,,{NODE2},1.1.1.1,,0"
    changed = text.replace("1.1.1.1", "2.2.2.2")
    given = {"content": changed.encode(), "headers": {"Content-Type": "text/csv"}}
    assert client.good("POST", "/delivery-ips/import?preview=true", **given)[0]["outcome"] == "changed"
    assert client.good("GET", "/delivery-ips/export.csv?rule=level:is:domain") == text
    assert client.good("POST", "/delivery-ips/import", **given)[0]["outcome"] == "changed"
    assert client.good("GET", "/delivery-ips/export.csv?rule=level:is:domain") == changed
    too_large = {"content": b"x" * (2 << 20), "headers": {"Content-Type": "text/csv"}}
    assert client.refused(413, "POST", "/delivery-ips/import", **too_large)["message"]


def test_a_csv_file_may_name_levels_as_the_page_does(client):
    scopes = ("Domain,,example.com,,", "Domain + Username,,example.com,bob,", "domain+username+identity,,example.com,bob,x")
    lines = "".join(f"{scope},{NODE2},1.1.1.1,,\n" for scope in scopes)
    reply = client.good("POST", "/delivery-ips/import", content=lines.encode(), headers={"Content-Type": "text/csv"})
    assert [one["outcome"] for one in reply] == ["added"] * 3


def test_what_holds_is_shown_and_explained(client):
    added(client, "1.1.1.1")
    found = client.good("GET", "/delivery-ips/in-force?domain=example.com&username=bob")
    assert found["nodes"] == {NODE1: "0.0.0.0;::0", NODE2: "1.1.1.1;::0"}
    explained = client.good("GET", f"/delivery-ips/explain?node={NODE2}&domain=example.com&username=bob")
    assert (explained["address"], explained["steps"][-1]["wins"]) == ("1.1.1.1", True)
    before = client.good("GET", "/audit")["total"]
    client.good("GET", f"/delivery-ips/explain?node={NODE1}&family=6")
    assert client.good("GET", "/audit")["total"] == before


def test_nodes_and_their_addresses(client, database, clock):
    found = {one["address"]: one for one in client.good("GET", f"/nodes/{NODE2}/addresses")}
    assert found["198.51.100.2"]["is_primary"] and not found["1.1.1.1"]["used"]
    added(client, "1.1.1.1", "3.3.3.3")
    found = {one["address"]: one for one in client.good("GET", f"/nodes/{NODE2}/addresses")}
    assert found["1.1.1.1"]["used"] and not found["3.3.3.3"]["present"]
    client.good("PUT", f"/nodes/{NODE2}/addresses/10.0.0.1", {"public_address": "8.8.8.8"})
    assert client.refused(400, "PUT", f"/nodes/{NODE2}/addresses/10.0.0.1", {"public_address": "10.1.1.1"})["message"]
    client.good("POST", "/nodes/rescan", {"nodes": [NODE2]})
    client.refused(404, "POST", "/nodes/rescan", {"nodes": ["node9.example.net"]})
    assert client.good("POST", "/nodes", {"name": "node3.example.net"})["name"] == "node3.example.net"
    assert client.good("PATCH", "/nodes/node3.example.net", {"ipv6_enabled": False})["ipv6_enabled"] is False
    locked = client.good("PATCH", f"/nodes/{NODE1}", {"locked": True, "reason": "listed"})
    assert (locked["locked"], locked["locked_reason"]) == (True, "listed")
    held = client.good("GET", f"/delivery-ips/explain?node={NODE1}&domain=example.com")["held_because"]
    assert held == f"the server {NODE1} is locked: listed"
    assert client("PATCH", f"/nodes/{NODE1}", {"locked": False}, user="ann").status_code == 403
    assert client.refused(400, "PATCH", f"/nodes/{NODE1}", {"reason": "x"})["message"] == "'reason' goes with 'locked'"
    assert client.good("PATCH", f"/nodes/{NODE1}", {"locked": False})["locked"] is False
    assert "removed" in client.good("DELETE", "/nodes/node3.example.net")["text"]
    assert client("POST", "/nodes", {"name": "node4.example.net"}, user="ann").status_code == 403


def test_helo_names(client):
    changed = client.good("PUT", "/helos/1.1.1.1", {"helo": "Out1.Example.com"})
    assert (changed["effective"]["helo"], changed["effective"]["origin"]) == ("out1.example.com", "set")
    assert [one["address"] for one in client.good("GET", "/helos")] == ["1.1.1.1"]
    assert "underscore" in client.refused(400, "PUT", "/helos/1.1.1.1", {"helo": "out_1.example.com"})["message"]
    assert client.refused(400, "PUT", "/helos/1.1.1.1", {"helo": "a.example\r\nRSET"})["message"]
    assert client.good("PUT", "/helos/1.1.1.1", {"helo": ""})["effective"]["origin"] == "node"
    assert client.good("GET", "/helos/1.1.1.1")["helo"] == NODE2


@on_sqlite
def test_checks_are_run_and_kept(database):
    clock = ManualClock()
    populate(database)

    async def run():
        async with name_server({}) as (_, resolver):
            client = Client(database, clock, checker=Checker(database, resolver, clock, NODE2), resolver=resolver)
            body = {"node": NODE2, "addresses": ["1.1.1.1"]}
            now = await client.ask("POST", "/checks", body, local=True)
            kept = await client.ask("GET", f"/checks?node={NODE2}", local=True)
            draft = {"level": "domain", "domain": "example.com", "ipv4": ["2.2.2.2"]}
            as_it_would_be = await client.ask("POST", "/checks", {**body, "setting": draft}, local=True)
            bad = await client.ask("POST", "/checks", {**body, "setting": {"level": "domain"}}, local=True)
            return now.json(), kept.json(), as_it_would_be.json(), bad

    now, kept, draft, bad = asyncio.run(run())
    assert (now[0]["status"], kept[0]["status"]) == ("critical", "critical")
    assert any(one["check"] == "P07" for one in now[0]["findings"]) and now[0]["critical"]
    assert draft[0]["address"] == "1.1.1.1"
    assert (bad.status_code, bad.json()["error"]["message"]) == (400, "choose a domain")


@on_sqlite
def test_checks_need_a_server(client):
    assert "hslpy serve" in client.refused(503, "POST", "/checks", {"node": NODE2, "addresses": []})["message"]
    assert {"P01", "P26"} <= {one["id"] for one in client.good("GET", "/checks/all")}
    directory.lock_user(client.site.database, ROOT, "example.com", "bob")
    assert client.good("PATCH", "/users?domain=example.com&username=bob", {"locked": False})["locked"] is False


def test_filters_are_kept_for_oneself(client):
    body = {"rules": [["domain", "is", "example.com"]], "match": "any"}
    client.good("PUT", "/filters/delivery-ips/mine", body, local=False, user="eve")
    found = client.good("GET", "/filters/delivery-ips", local=False, user="eve")
    assert found["mine"]["rules"] == body["rules"] and found["mine"]["match"] == "any"
    assert client.good("GET", "/filters/delivery-ips", local=False) == {}
    assert client.refused(400, "PUT", "/filters/x/y", {"per_page": 7}, local=False)["message"]
    client.good("DELETE", "/filters/delivery-ips/mine", local=False, user="eve")
    client.refused(404, "DELETE", "/filters/delivery-ips/mine", local=False, user="eve")


def test_an_address_is_warmed_up(client, clock):
    added(client, "1.1.1.1", "2.2.2.2")
    assert client.good("GET", "/warm-ups/1.1.1.1")["badge"] == "none"
    assert client.refused(409, "POST", "/warm-ups/1.1.1.1/start", {"days": 3})["message"]
    assert client.refused(400, "POST", "/warm-ups/1.1.1.1/start", {"dais": 3})["hint"] == "did you mean 'days'?"
    begun = client.good("POST", "/warm-ups/1.1.1.1/start", {"days": 10, "hourly": [20, 40]})
    assert (begun["badge"], begun["plan"]["days"], begun["plan"]["hourly"]) == ("warming", 10, [20, 40])
    assert client.good("POST", "/warm-ups/1.1.1.1/pause", {"reason": "holiday"})["paused_reason"] == "holiday"
    explained = client.good("GET", f"/delivery-ips/explain?node={NODE2}&domain=example.com")
    reasons = {one["address"]: one["reason"] for step in explained["steps"] for one in step["candidates"]}
    assert "paused: holiday" in reasons["1.1.1.1"] and explained["address"] == "2.2.2.2"
    assert client.good("POST", "/warm-ups/1.1.1.1/resume")["badge"] == "warming"
    assert client.good("PUT", "/warm-ups/1.1.1.1/plan", {"days": 14})["plan"]["days"] == 14
    client.good("POST", "/warm-ups/1.1.1.1/repeat-day", {"day": 1})
    client.good("POST", "/warm-ups/1.1.1.1/restart", {})
    assert client.good("POST", "/warm-ups/1.1.1.1/skip-to-warm")["state"] == "warm"
    assert client.good("POST", "/warm-ups/2.2.2.2/hold-back")["state"] == "new"
    assert client.good("POST", "/warm-ups/2.2.2.2/already-warm")["state"] == "warm"
    assert [one["address"] for one in client.good("GET", "/warm-ups")] == ["1.1.1.1", "2.2.2.2"]
    client.good("DELETE", "/warm-ups/2.2.2.2")
    client.refused(404, "GET", "/warm-ups/9.9.9.9")
    assert client("POST", "/warm-ups/1.1.1.1/start", {}, user="eve").status_code == 403


def test_an_address_is_suspended_and_used_again(client):
    added(client, "1.1.1.1", "2.2.2.2")
    body = {"address": "1.1.1.1", "hours": 24, "reason": "complaints"}
    assert client.good("POST", "/suspensions", body)["by"] == "operator"
    explained = client.good("GET", f"/delivery-ips/explain?node={NODE2}&domain=example.com")
    reasons = {one["address"]: one["reason"] for step in explained["steps"] for one in step["candidates"]}
    assert reasons["1.1.1.1"] == "suspended: complaints" and explained["address"] == "2.2.2.2"
    (row,) = client.good("GET", "/suspensions", local=False, user="eve")
    assert (row["address"], row["node"], row["if_lifted"]) == ("1.1.1.1", "", "")
    for method, path, given in (("POST", "/suspensions", body), ("DELETE", "/suspensions/1.1.1.1", None)):
        assert {client(method, path, given, user=user).status_code for user in ("eve", "ann")} == {403}
    assert client.refused(400, "POST", "/suspensions", {"address": "1.1.1.1", "hours": -1})["field"] == "hours"
    client.refused(404, "DELETE", f"/suspensions/1.1.1.1?node={NODE2}")
    assert client.good("DELETE", "/suspensions/1.1.1.1?node=")["text"] == "1.1.1.1 may be used again."
    client.refused(404, "DELETE", "/suspensions/1.1.1.1")
    assert client.good("GET", "/suspensions") == []

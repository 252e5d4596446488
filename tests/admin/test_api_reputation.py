"""Block lists and checks of them by the JSON API, against a DNS server that plays the lists; the queue."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest

from hslpy.admin.control import ControlServer
from hslpy.egress.accounts import admins
from hslpy.errors import OperatorError

from ..egress.test_reputation import World, entries
from ..support.dnsbl_server import List
from .api_client import PASSWORD, ROOT, Client, populate

on_sqlite = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
BAD, GOOD = "198.51.100.7", "198.51.100.8"


def events_of(text):
    found = []
    for block in text.split("\n\n"):
        lines = dict(line.split(": ", 1) for line in block.splitlines() if not line.startswith(":"))
        if lines:
            found.append((lines["event"], json.loads(lines["data"])))
    return found


@on_sqlite
def test_addresses_are_checked_and_followed(database, clock):
    async def run():
        world = World(database, clock, {"one.test": List(entries=entries(BAD)), "two.test": List()}, (BAD, GOOD))
        await world.start()
        client = Client(database, clock, reputation=world.checker)

        async def good(method, path, body=None, **given):
            reply = await client.ask(method, path, body, local=True, **given)
            assert reply.status_code in (200, 201), reply.text
            return reply

        started = (await good("POST", "/reputation/jobs", {})).json()
        assert (started["total"], started["by"]) == (4, "local")
        stream = await good("GET", f"/reputation/jobs/{started['id']}/events")
        assert stream.headers["content-type"].startswith("text/event-stream")
        events = events_of(stream.text)
        assert [kind for kind, _ in events][-1] == "end" and events[-1][1]["state"] == "done"
        assert sum(one["status"] == "listed" for kind, one in events if kind == "cell") == 1
        last = events[-2][1]["number"]
        again = await good("GET", f"/reputation/jobs/{started['id']}/events", headers={"Last-Event-ID": str(last)})
        assert [kind for kind, _ in events_of(again.text)] == ["end"]
        found = (await good("GET", "/reputation?rule=address:is:" + BAD)).json()
        assert (found["total"], found["items"][0]["worst"], len(found["lists"])) == (1, "listed", 2)
        assert {one["status"] for one in found["items"][0]["cells"].values()} == {"listed", "clean"}
        assert (await good("GET", "/reputation?only_listed=true")).json()["total"] == 1
        assert BAD in (await good("GET", "/reputation/export.csv?only_listed=true")).text
        assert (await good("GET", f"/reputation/history/{BAD}")).json() == []
        assert "4,000" in (await good("GET", "/reputation/estimate?addresses=200&lists=20")).json()["text"]
        assert (await good("GET", "/reputation/jobs")).json()[0]["id"] == started["id"]
        assert (await good("DELETE", f"/reputation/jobs/{started['id']}")).json()["state"] == "done"
        missing = await client.ask("GET", "/reputation/jobs/99/events", local=True)
        assert (missing.status_code, missing.json()["error"]["message"]) == (404, "there is no check 99")
        tested = (await good("POST", f"/block-lists/{found['lists'][0]['id']}/test")).json()
        assert tested["status"] == "working"
        refused = await client.ask("POST", "/block-lists", {"name": "Three", "domain": "three.example"}, local=True)
        assert refused.status_code == 409 and "standard test entry" in refused.json()["error"]["message"]
        body = {"name": "Three", "domain": "https://three.example/x", "untested": "disabled"}
        assert (await good("POST", "/block-lists", body)).json()["enabled"] is False
        assert (await client.ask("POST", "/reputation/jobs", {}, user="eve")).status_code == 403
        assert (await client.ask("GET", "/reputation", user="ann")).status_code == 403
        await world.checker.close()
        await world.resolver.close()
        world.server.close()

    admins.add_admin(database, ROOT, "ann", password=PASSWORD)
    admins.add_admin(database, ROOT, "eve", password=PASSWORD, role="read-only")
    admins.add_admin(database, ROOT, "root", password=PASSWORD, role="super-admin")
    asyncio.run(run())


def test_lists_are_managed(database, clock):
    populate(database)
    client = Client(database, clock)
    assert client.good("POST", "/block-lists/restore")["text"].endswith("restored")
    found = client.good("GET", "/block-lists?rule=both:contains:spamcop")["items"]
    assert [one["name"] for one in found] == ["SpamCop"]
    list_id = found[0]["id"]
    assert client.good("PATCH", f"/block-lists/{list_id}", {"name": "Cop"})["name"] == "Cop"
    off = client.good("POST", "/block-lists/enable", {"ids": [list_id], "enabled": False})
    assert off["outcomes"][0]["done"]
    assert client.good("POST", "/block-lists/undo", {"undo": off["undo"]})["outcomes"][0]["done"]
    client.refused(404, "POST", "/block-lists/undo", {"undo": off["undo"]})
    assert client.good("GET", "/block-lists?rule=both:contains:spamcop")["items"][0]["enabled"]
    drafted = client.good("POST", "/block-lists/draft", {"name": "SORBS", "domain": "dnsbl.sorbs.net"})
    assert "saved disabled" in drafted["warning"]
    assert client.refused(409, "POST", "/block-lists/draft", {"name": "x", "domain": "bl.spamcop.net"})["message"]
    csv = {"content": b"rbl_domain,rbl\nnew.example.org,New\n1.2.3.4,Bad\n", "headers": {"Content-Type": "text/csv"}}
    assert client.good("POST", "/block-lists/import?preview=true", **csv)["text"] == "1 added, 1 error (line 3)"
    assert "new.example.org" not in client.good("GET", "/block-lists/export.csv")
    client.good("POST", "/block-lists/import", **csv)
    assert "new.example.org,New" in client.good("GET", "/block-lists/export.csv")
    assert client.good("GET", f"/block-lists/export.csv?id={list_id}").count("\n") == 2
    assert client.good("POST", "/block-lists/remove", {"ids": [list_id, 4711]})["outcomes"][1]["done"] is False
    assert "hslpy serve" in client.refused(503, "POST", f"/block-lists/{list_id}/test")["message"]
    client.good(
        "PATCH", f"/block-lists/{client.good('GET', '/block-lists?rule=name:is:New')['items'][0]['id']}", {"key": "secret1"}
    )
    assert "secret1" not in client.good("GET", "/block-lists", local=True).__str__()
    assert "secret1" not in str(client.good("GET", "/audit"))


@on_sqlite
def test_the_queue_is_asked_over_the_control_socket(database, clock, tmp_path: Path):
    populate(database)
    asked = []

    async def list_(arguments):
        asked.append(arguments)
        return {"recipients": [], "matching": 0, "total": 0, "set_aside": []}

    async def hold(arguments):
        return {"count": len(arguments["ids"]), "later": 0}

    async def show(arguments):
        raise OperatorError(f"nothing in the queue has the id {arguments['id']}")

    async def run():
        path = tmp_path / "control.sock"
        client = Client(database, clock, control=path)
        away = await client.ask("GET", "/queue", local=True)
        assert away.status_code == 503
        server = ControlServer(
            path, {"queue.list": list_, "queue.hold": hold, "queue.show": show}, lambda event, fields: None
        )
        await server.start()
        assert (await client.ask("GET", "/queue?filter=sender=a@example.com&held=true", local=True)).json()["total"] == 0
        assert asked[0]["filter"] == {"sender": "a@example.com"} and asked[0]["held"] is True
        assert (await client.ask("GET", "/queue?filter=colour=red", local=True)).status_code == 400
        assert (await client.ask("POST", "/queue/hold", {"ids": ["1"]}, local=True)).json()["count"] == 1
        assert (await client.ask("POST", "/queue/hold", {}, local=True)).status_code == 400
        assert (await client.ask("POST", "/queue/hold", {"all": True}, user="eve")).status_code == 403
        assert (await client.ask("GET", "/queue/7?content=true", user="eve")).status_code == 403
        missing = await client.ask("GET", "/queue/7", user="eve")
        assert (missing.status_code, missing.json()["error"]["message"]) == (404, "nothing in the queue has the id 7")
        audit = (await client.ask("GET", "/audit?action=queue", local=True)).json()["items"]
        assert (audit[0]["action"], audit[0]["result"]) == ("queue hold", "1 recipients")
        await server.stop()

    asyncio.run(run())

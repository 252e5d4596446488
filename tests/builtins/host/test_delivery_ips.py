"""outgoing_user and delivery_ips, over a picture in memory."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from hslpy.clock import ManualClock
from hslpy.egress.rules.book import Book, Node, Setting, scope_of
from hslpy.egress.traffic.departures import Departures
from hslpy.egress.traffic.logins import StoreLogins
from hslpy.egress.traffic.picture import Account, Picture
from hslpy.hooks.facts import AuthFacts
from tests.hooks.world import World
from tests.users.test_file import quick

NODE = "node1.example.net"
USER = scope_of("user", domain="example.com", username="bob")
IDENTITY = scope_of("identity", domain="example.com", username="bob", identity="news")


@pytest.fixture
def services() -> dict[str, Any]:
    clock = ManualClock()
    departures = Departures(NODE, clock, lambda event, fields: None)
    rows = [Setting(USER, NODE, ("192.0.2.11", "192.0.2.12")), Setting(IDENTITY, NODE, ("192.0.2.13",))]
    book = Book({(one.scope, one.node): one for one in rows}, {NODE: Node(NODE, "192.0.2.1")})
    accounts = [
        Account("example.com", "bob", quick("secret")),
        Account("example.com", "eve", quick("secret"), locked="spam"),
    ]
    departures.picture = Picture(
        1, book, accounts={(one.domain, one.username): one for one in accounts}, domains={"example.com": ""}
    )
    return {"departures": departures, "logins": StoreLogins(departures, 1, 10, clock)}


def test_who_an_outgoing_user_is(world: World, services: dict[str, Any]) -> None:
    world.run(
        "rcptto",
        """
        echo outgoing_user("Bob@example.com", "secret");
        echo outgoing_user("bob@example.com", "wrong")["authenticated"];
        echo outgoing_user("eve@example.com");
        echo outgoing_user("nobody@example.com", "secret");
        """,
        **services,
    )
    assert world.echoed() == [
        '["domain"=>"example.com","username"=>"bob","locked"=>false,"reason"=>"","authenticated"=>true]',
        "false",
        '["domain"=>"example.com","username"=>"eve","locked"=>true,"reason"=>"spam"]',
        "none",
    ]


def test_what_cannot_be_asked_is_an_error(world: World, services: dict[str, Any]) -> None:
    assert world.run("rcptto", 'outgoing_user("bob@example.com");').failed
    assert "there is no database of outgoing users here" in world.failure()


def test_users_that_are_not_known_yet_are_an_error(world: World, services: dict[str, Any]) -> None:
    services["departures"].picture = None
    assert world.run("rcptto", 'outgoing_user("bob@example.com");', **services).failed
    assert "not known yet" in world.failure()


def test_what_a_message_may_leave_from(world: World, services: dict[str, Any]) -> None:
    event = world.event("predelivery")
    event = replace(event, message=replace(event.message, egress={"domain": "example.com", "username": "bob"}))
    verdict = world.run(
        "predelivery",
        """
        $ips = delivery_ips();
        echo count($ips) . " " . $ips[0]["scope"] . " " . $ips[0]["helo"];
        echo [$ips[0]["chosen"], $ips[1]["chosen"]];
        echo delivery_ips(["domain" => "example.com"])[0]["address"];
        echo count(delivery_ips(["family" => 6]));
        SetMetaData(["identity" => "News"]);
        echo delivery_ips()[0]["address"];
        Try(["sourceip" => $ips]);
        """,
        event,
        **services,
    )
    assert world.echoed() == [
        "2 user example.com/bob node1.example.net",
        "[0=>true,1=>false]",
        "192.0.2.1",
        "0",
        "192.0.2.13",
    ]
    assert {one.address for one in verdict.attempt.sources} == {"192.0.2.11", "192.0.2.12"}


def test_at_reception_it_goes_by_the_session(world: World, services: dict[str, Any]) -> None:
    event = world.event("rcptto")
    event = replace(event, connection=replace(event.connection, auth=AuthFacts("PLAIN", "bob@example.com")))
    world.run("rcptto", 'echo delivery_ips()[0]["level"];', event, **services)
    assert world.echoed()[-1:] == ["user"]
    assert world.run("rcptto", 'delivery_ips(["family" => 5]);', event, **services).failed
    assert "4 or 6" in world.failure()

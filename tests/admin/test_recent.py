"""The latest attempts that a process keeps: what they tell, how they are found, how far back they reach."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from hslpy.admin.recent import Recent, recent_commands
from hslpy.clock import ManualClock
from hslpy.errors import OperatorError

OWNER = {"domain": "example.com", "username": "bob"}


def attempt(recent: Recent, queue_id: int, address: str, host: str = "mx.example.net", result: str = "250 ok") -> None:
    ids = {"transaction": f"t{queue_id}", "queue_id": queue_id, "recipient": "x@example.net"}
    recent.heard("attempt", {**ids, "local_ip": address, "host": host, "result": result, "scope_level": "user"})


def done(recent: Recent, queue_id: int, what: str = "delivered", **more: Any) -> None:
    people = {"sender": "bob@example.com", "recipient": "x@example.net", "retries": 0, **OWNER}
    recent.heard(what, {"transaction": f"t{queue_id}", "queue_id": queue_id, "reason": "no host", **people, **more})


def test_an_attempt_is_told_with_what_came_of_it() -> None:
    logged: list[str] = []
    recent = Recent(ManualClock(1000.0))
    log = recent.listening(lambda event, fields: logged.append(event))
    attempt(recent, 1, "192.0.2.1")
    assert recent.find({})[0]["outcome"] == "under way"
    log("delivery.delivered", {"queue_id": 1, "sender": "bob@example.com", "recipient": "x@example.net", **OWNER})
    log("smtp.message", {"action": "accept"})
    assert logged == ["delivery.delivered", "smtp.message"]
    (row,) = recent.find({"address": ["192.0.2.1"]})
    assert (row["outcome"], row["sender"], row["scope_level"], row["at"]) == ("delivered", "bob@example.com", "user", 1000.0)


def test_what_was_tried_before_another_host_was_deferred_there() -> None:
    recent = Recent(ManualClock(1000.0))
    attempt(recent, 1, "192.0.2.1", "mx1.example.net", "451 later")
    attempt(recent, 1, "192.0.2.2", "mx2.example.net")
    done(recent, 1)
    assert [(row["host"], row["outcome"]) for row in recent.find({})] == [
        ("mx2.example.net", "delivered"),
        ("mx1.example.net", "deferred"),
    ]


def test_what_reached_no_host_is_told_with_its_reason() -> None:
    recent = Recent(ManualClock(1000.0))
    done(recent, 7, "waiting", hold=True, recipient="jos\xc3\xa9@example.net")
    (row,) = recent.find({"queue_id": 7})
    assert (row["outcome"], row["result"], row["recipient"]) == ("waiting", "no host", "josé@example.net")


def test_attempts_are_found_by_each_field() -> None:
    recent = Recent(ManualClock(1000.0))
    attempt(recent, 1, "192.0.2.1")
    done(recent, 1)
    for wanted in (
        {"owner": "EXAMPLE.com"},
        {"user": "bob@example.com"},
        {"sender_domain": ["example.com", "example.org"]},
        {"domain": "example.net"},
        {"host": "mx."},
        {"outcome": "delivered"},
        {"transaction": "t1"},
        {"address": ""},
    ):
        assert len(recent.find(wanted)) == 1, wanted
    assert recent.find({"owner": "example.org"}) == []
    with pytest.raises(OperatorError):
        recent.find({"colour": "red"})


def test_only_so_many_are_kept_and_it_is_said_since_when() -> None:
    clock = ManualClock(1000.0)
    recent = Recent(clock, most=3)
    for number in range(5):
        attempt(recent, number, "192.0.2.1")
        done(recent, number)
        clock.advance(10)
    answer = asyncio.run(recent_commands(recent)["deliveries"]({"limit": 2}))
    assert ([row["queue_id"] for row in answer["rows"]], answer["matching"], answer["since"]) == ([4, 3], 3, 1020.0)

"""`hslpy demo`: the whole system, in time, with the decisions it is there to show."""

from __future__ import annotations

import resource

import pytest

from tests.cli.conftest import spawn


@pytest.mark.xdist_group("demo")
def test_the_demo_shows_what_it_promises() -> None:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = spawn("demo")
    assert done.status == 0, done.err
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert after.ru_utime - before.ru_utime < 15  # of computing: what else the machine does doesn't count
    rows = {tuple(line.split()) for line in done.out.splitlines()}
    assert ("shop.example", "10", "defer") in rows
    assert ("outlet.example", "10", "accept", "defer") in rows
    bakery = ("bakery.example", "21", "accept", "accept", "netaddr:3", "127.0.0.13", "out3.demo.test", "delivered")
    assert bakery in rows, done.out
    assert ("bakery.example", "3", *bakery[2:-1], "550:", "bounced") in rows
    marked = ("accept", "accept,", "spam=yes", "netaddr:4", "127.0.0.14", "out4.demo.test", "delivered")
    assert ("choir.example", "8", *marked) in rows and ("shop.example", "250", *marked) in rows
    assert "You may only send 250 messages per hour" in done.out
    assert "300 bulk messages per 8 hours" in done.out
    assert "choir.example has more than 1000 failed deliveries during the last hour" in done.out
    assert not done.err

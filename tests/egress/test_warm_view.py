"""What the drawer shows of a warm-up."""

from __future__ import annotations

from datetime import date

import pytest

from hslpy.egress.accounts import site
from hslpy.egress.rules.names import NotFound
from hslpy.egress.store import activity
from hslpy.egress.store.tally import Tally
from hslpy.egress.warm_up import warming
from hslpy.egress.warm_up.warm_view import view, views
from hslpy.egress.warm_up.warm_watch import Watch

from .test_warming import NODE, ROOT, SLOW, A, B, at, clock, go, list_it, nodes, send

__all__ = ["clock", "nodes", "send"]


def test_an_address_without_a_warm_up(nodes, clock):
    shown = view(nodes, A, clock.time())
    assert (shown.state, shown.badge, shown.sources) == ("", "none", ((NODE, A),))
    assert shown.orders == ("start", "already warm", "do not send yet") and views(nodes, clock.time()) == []
    with pytest.raises(NotFound):
        view(nodes, "203.0.113.9", clock.time())


def test_the_drawer_of_one_that_is_warming_up(nodes, clock, send):
    watch = Watch(nodes)
    warming.start(nodes, ROOT, A, hourly="20,28")
    shown = view(nodes, A, clock.time())
    assert shown.today == "Today, day 1 of 7: 09:00–10:00 UTC, 1 hour"
    assert [hour for hour, is_open in enumerate(shown.strip) if is_open] == [9]
    assert (shown.messages, shown.limit, shown.hourly) == (0, 20, 20)
    assert shown.forecast.text.startswith("No traffic is known yet")
    for day, number in ((2, 8), (3, 3)):
        go(clock, at(day, 9, 20))
        watch.look(clock.time())
        send(number)
    send(1, reply=SLOW, state="MAIL")
    list_it(nodes, clock)
    go(clock, at(4, 9, 20))
    watch.look(clock.time())
    shown = view(nodes, A, clock.time())
    assert shown.badge == "paused" and shown.orders[0] == "resume"
    warming.resume(nodes, ROOT, A)
    shown = view(nodes, A, clock.time())
    assert shown.today == "Today, day 3 of 7: 09:00–12:00 UTC, 3 hours"
    assert shown.window.is_open and shown.start == date(2026, 3, 2)
    first, second, now, *coming = shown.days
    assert (first.state, first.day, first.hours, first.hours_used, first.messages, first.rate) == ("done", 1, 1, 1, 8, 0.0)
    assert (second.state, second.day, second.listings) == ("done", 2, ("SpamCop",))
    assert (now.state, now.day, now.messages) == ("today", 3, 0)
    assert [(one.day, one.state, one.hours, one.limit, one.messages) for one in coming] == [
        (day, "planned", hours, None, None) for day, hours in ((4, 5), (5, 8), (6, 14), (7, 24))
    ]
    assert shown.plan_text.startswith("7 days from 2026-03-02, 09:00 UTC: 1, 2, 3, 5, 8, 14, 24 hours; at most 20, 28")


def test_a_pause_a_start_to_come_and_the_end(nodes, clock, send):
    warming.start(nodes, ROOT, A, start="2026-03-05")
    shown = view(nodes, A, clock.time())
    assert shown.today == "Starts on Thursday, 5 March 2026, 09:00 UTC: day 1 of 7" and not any(shown.strip)
    assert [one.state for one in shown.days] == ["planned"] * 7
    warming.restart(nodes, ROOT, A)
    warming.pause(nodes, ROOT, A, reason="the customer asked")
    shown = view(nodes, A, clock.time())
    assert shown.today.startswith("Paused: today would be day 1 of 7") and shown.text.endswith("the customer asked.")
    assert shown.forecast.text.startswith("Paused. If it went on now")
    warming.skip_to_warm(nodes, ROOT, A)
    shown = view(nodes, A, clock.time())
    assert (shown.badge, shown.text) == ("done", "It is warm.") and shown.changed_by == "root"
    warming.hold_back(nodes, ROOT, B)
    assert [(one.address, one.badge) for one in views(nodes, clock.time())] == [(A, "done"), (B, "none")]


def test_the_backlog_is_shown_where_mail_is_held(nodes, clock, send):
    for hour in range(24):
        go(clock, at(2, 0) + 8 * 3600 + hour * 3600)
        send(10, B)
    warming.start(nodes, ROOT, A)
    assert view(nodes, A, clock.time()).backlog is None
    site.change(nodes, ROOT, {"overflow": "hold"})
    shown = view(nodes, A, clock.time())
    assert shown.backlog.messages == 230 and "wait at 09:00 UTC" in shown.backlog.text


def test_the_forecast_goes_by_the_mail_that_is_for_the_address(nodes, clock, send):
    """Not by what all others of its server send."""
    warming.start(nodes, ROOT, A, days=7, window_start="09:00")
    tally = Tally(clock)
    for hour in range(48):
        go(clock, at(2, 0) + 8 * 3600 + hour * 3600)
        send(10, B)
    assert view(nodes, A, clock.time()).forecast.warm_on is not None  # as nothing else is known
    for day, hour in ((4, 15), (4, 16), (5, 16)):
        go(clock, at(day, hour))
        tally.wanted(A)
        activity.keep(nodes, NODE, tally.take())
    shown = view(nodes, A, clock.time())
    assert shown.forecast.warm_on is None and "there is no mail from 09:00" in shown.forecast.text
    assert activity_of(nodes, A).hours == 0


def activity_of(database, address):
    with database.read() as session:
        return activity.of_addresses(session, [address], 0)

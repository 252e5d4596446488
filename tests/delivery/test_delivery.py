"""Queued recipients through real sockets: sources, hosts, retries, bounces, and what scripts make of it all."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from dataclasses import replace
from typing import Any

import pytest

from hslpy.client.contract import Timeouts
from hslpy.delivery.plan import OwnListeners
from hslpy.delivery.settings import Transport
from hslpy.errors import OperatorError
from hslpy.hooks.facts import PostDeliveryEvent, PreDeliveryEvent
from hslpy.mail.verdict import QueueOptions, QueueVerdict, SourceChoice, TryOptions
from tests.delivery.server import TIMEOUTS, address, until, world
from tests.support.smtp_sink import Sink, zone_for


def run(test: Awaitable[None]) -> None:
    async def main() -> None:
        await asyncio.wait_for(test, 60)

    asyncio.run(main())


def trying(*ids: str, **options: Any) -> QueueVerdict:
    return QueueVerdict("try", TryOptions(sources=tuple(SourceChoice(i) for i in ids), **options))


def test_mail_leaves_from_the_source_the_script_named() -> None:
    async def test() -> None:
        async with Sink("127.0.0.9") as sink, world(zone_for({"a.example": sink}), port=sink.port) as w:
            wanted = {"u1": "netaddr:1", "u2": "2", "u3": "netaddr:3"}
            w.hooks.pre = lambda e: trying(wanted[e.message.recipient.local_part])
            for name in wanted:
                await w.put(f"{name}@a.example")
            assert await w.settled(3) == {"delivered": 3}
            seen = {r.rcpts[0][1:3]: (r.peer_ip, r.helo) for r in sink.received}
            assert seen == {
                "u1": ("127.0.0.11", "one.example"),
                "u2": ("127.0.0.12", "two.example"),
                "u3": ("127.0.0.13", "mta.example"),
            }
            assert len(w.queue) == 0
            post = next(p for p in w.hooks.posts if p.message.recipient.local_part == "u1")
            assert post.action is None and post.attempt is not None and post.attempt.code == 250
            assert (post.attempt.local_ip, post.attempt.source_id) == ("127.0.0.11", "netaddr:1")
            assert {id(e.context) for e in w.hooks.posts} == {id(e.context) for e in w.hooks.pres}

    run(test())


def test_configured_sources_spread_messages_and_stay_with_each() -> None:
    async def test() -> None:
        async with (
            Sink("127.0.0.9") as sink,
            world(zone_for({"a.example": sink}), port=sink.port, sources=("netaddr:1", "netaddr:2")) as w,
        ):
            sink.answers["EOD"] = "451 4.7.1 later"
            for _ in range(6):
                await w.put("u@a.example")
            await w.settled(6)
            first = {p.message.queue_id: p.attempt.source_id for p in w.hooks.posts if p.attempt}
            assert sorted(first.values()) == ["netaddr:1"] * 3 + ["netaddr:2"] * 3
            w.clock.advance(3600)
            await w.settled(12)
            again = {p.message.queue_id: p.attempt.source_id for p in w.hooks.posts[6:] if p.attempt}
            assert again == first

    run(test())


def test_recipients_of_a_message_share_a_transaction_and_keep_their_own_results() -> None:
    async def test() -> None:
        async with (
            Sink("127.0.0.9", answers={"RCPT TO:<bad": "550 5.1.1 no such user"}) as sink,
            world(zone_for({"a.example": sink}), port=sink.port) as w,
        ):
            await w.put("one@a.example", "bad@a.example", "two@A.example", sender="")
            counts = await w.settled(3)
            assert counts["delivered"] == 2 and counts["bounced"] == 1
            assert sink.connections == 1 and sink.received[0].rcpts == ["<one@a.example>", "<two@A.example>"]
            bad = next(p for p in w.hooks.posts if p.message.recipient.local_part == "bad")
            assert bad.action == "BOUNCE" and bad.attempt is not None
            assert (bad.attempt.code, bad.attempt.enhanced, bad.attempt.state) == (550, (5, 1, 1), "RCPT")

    run(test())


def test_different_decisions_are_different_transactions() -> None:
    async def test() -> None:
        async with Sink("127.0.0.9") as sink, world(zone_for({"a.example": sink}), port=sink.port) as w:
            w.hooks.pre = lambda e: trying("1" if e.message.recipient.local_part == "one" else "2")
            await w.put("one@a.example", "two@a.example", "three@a.example")
            await w.settled(3)
            assert sorted((r.peer_ip, len(r.rcpts)) for r in sink.received) == [("127.0.0.11", 1), ("127.0.0.12", 2)]

    run(test())


def test_a_bounce_reaches_the_sender_as_a_report() -> None:
    async def test() -> None:
        async with (
            Sink("127.0.0.9", answers={"RCPT TO:<bad": "550 5.1.1 no such user"}) as sink,
            world(zone_for({"a.example": sink, "sender.example": sink}), port=sink.port) as w,
        ):
            await w.put("bad@a.example", recipient_params={"ORCPT": "rfc822;bad@a.example"})
            await w.settled(2)
            report = sink.received[0]
            assert report.mail.startswith("<>") and report.rcpts == ["<from@sender.example> NOTIFY=NEVER"]
            assert b"Final-Recipient: rfc822; bad@a.example" in report.content
            assert b"Diagnostic-Code: smtp; 550 5.1.1 no such user" in report.content
            assert b"Remote-MTA: dns; mx.a.example" in report.content
            assert len(w.queue) == 0

    run(test())


def test_no_bounce_of_a_bounce() -> None:
    async def test() -> None:
        async with (
            Sink("127.0.0.9", answers={"RCPT": "550 no"}) as sink,
            world(zone_for({"a.example": sink}), port=sink.port) as w,
        ):
            await w.put("bad@a.example", sender="")
            assert await w.settled(1) == {"bounced": 1} and len(w.queue) == 0

    run(test())


def test_retries_follow_the_schedule_until_expiry() -> None:
    async def test() -> None:
        async with (
            Sink("127.0.0.9", answers={"RCPT": "450 4.2.1 greylisted"}) as sink,
            world(zone_for({"a.example": sink}), port=sink.port) as w,
        ):
            (entry,) = await w.put("u@a.example", sender="")
            assert await w.settled(1) == {"deferred": 1}
            assert entry.retries == 1 and "greylisted" in entry.last_error and 250 <= entry.due_at - w.clock.time() <= 350
            for attempt in range(2, 40):
                w.clock.advance(entry.due_at - w.clock.time())
                counts = await w.settled(attempt)
                if "bounced" in counts:
                    break
            last = w.hooks.posts[-1]
            assert last.expired and last.action == "BOUNCE" and last.attempt is not None and last.attempt.code == 450
            assert counts["deferred"] > 5 and len(w.queue) == 0

    run(test())


@pytest.mark.parametrize(
    ("zone", "action", "text"),
    [
        ({}, "BOUNCE", "does not exist"),
        ({"a.example": {"MX": [(0, "")]}}, "BOUNCE", "does not accept mail"),
        ({"a.example": {"MX": "SERVFAIL"}}, "QUEUE", "DNS has no answer"),
        ({"a.example": {"MX": [(10, "mx.a.example")]}, "mx.a.example": {"A": "TRY_AGAIN"}}, "QUEUE", "DNS has no answer"),
        ({"a.example": {"MX": [(10, "mx.a.example")]}}, "BOUNCE", "has an address"),
        ({"a.example": {"TXT": ["x"]}}, "BOUNCE", "has an address"),
    ],
)
def test_dns(zone: Any, action: str, text: str) -> None:
    async def test() -> None:
        async with world(zone) as w:
            await w.put("u@a.example", sender="")
            await w.settled(1)
            (post,) = w.hooks.posts
            assert post.action == action and post.attempt is not None
            assert text in (post.attempt.error or "") and post.attempt.error_type == "dns" and post.attempt.code == 0

    run(test())


def test_address_records_serve_only_where_there_is_no_mx() -> None:
    async def test() -> None:
        async with Sink("127.0.0.9") as sink, world({"a.example": {"A": ["127.0.0.9"]}}, port=sink.port) as w:
            await w.put("u@a.example", "v@[127.0.0.9]")
            assert await w.settled(2) == {"delivered": 2}

    run(test())


@pytest.mark.parametrize("target", ["127.0.0.9", "10.1.2.3", "169.254.1.1", "0.0.0.0"])
def test_private_targets_are_refused_unless_allowed(target: str) -> None:
    async def test() -> None:
        zone = {"a.example": {"A": [target]}}
        async with world(zone, allow_private_targets=False) as w:
            await w.put("u@a.example", sender="")
            assert await w.settled(1) == {"bounced": 1}
            assert w.hooks.posts[0].attempt is not None and w.hooks.posts[0].attempt.error_type == "policy"

    run(test())


def test_mail_is_not_sent_round_to_ourselves() -> None:
    async def test() -> None:
        async with Sink("127.0.0.9") as us, Sink("127.0.0.10", port=us.port) as backup:
            zone = {
                "a.example": {"MX": [(10, "us.example"), (20, "backup.example")]},
                "b.example": {"MX": [(20, "us.example"), (10, "backup.example"), (30, "no.example")]},
                "us.example": {"A": ["127.0.0.9"]},
                "backup.example": {"A": ["127.0.0.10"]},
            }
            async with world(zone, port=us.port, own_listeners=OwnListeners(frozenset({("127.0.0.9", us.port)}))) as w:
                await w.put("u@a.example", sender="")
                assert await w.settled(1) == {"bounced": 1}
                await w.put("u@b.example", sender="")
                assert (await w.settled(2))["delivered"] == 1
                assert us.connections == 0 and len(backup.received) == 1

    run(test())


def test_the_next_host_is_tried_when_one_fails_before_the_message() -> None:
    async def test() -> None:
        async with Sink("127.0.0.9") as good, Sink("127.0.0.10", port=good.port, answers={"BANNER": "421 busy"}) as busy:
            zone = {
                "a.example": {"MX": [(5, "dead.example"), (10, "busy.example"), (20, "good.example")]},
                "dead.example": {"A": ["127.0.0.66"]},
                "busy.example": {"A": ["127.0.0.10"]},
                "good.example": {"A": ["127.0.0.9"]},
            }
            async with world(zone, port=good.port) as w:
                await w.put("u@a.example")
                assert await w.settled(1) == {"delivered": 1}
                assert busy.connections == 1 and w.hooks.posts[0].attempt is not None
                assert w.hooks.posts[0].attempt.remote_mx == "good.example"
                assert [e["host"] for e in w.events("delivery.attempt")] == ["dead.example", "busy.example", "good.example"]

    run(test())


def test_a_source_that_cannot_be_bound_is_suspended_and_the_next_taken() -> None:
    async def test() -> None:
        async with (
            Sink("127.0.0.9") as sink,
            world(zone_for({"a.example": sink}), port=sink.port, sources=("netaddr:9", "netaddr:2")) as w,
        ):
            for _ in range(4):
                await w.put("u@a.example")
            assert await w.settled(4) == {"delivered": 4}
            assert {r.peer_ip for r in sink.received} == {"127.0.0.12"}
            assert list(w.sources.suspensions) == ["192.0.2.99"]

    run(test())


def test_mail_waits_uncharged_when_the_scripts_source_cannot_be_bound() -> None:
    async def test() -> None:
        async with Sink("127.0.0.9") as sink, world(zone_for({"a.example": sink}), port=sink.port) as w:
            w.hooks.pre = lambda _: trying("netaddr:9")
            (entry,) = await w.put("u@a.example")
            assert await w.settled(1) == {"waiting": 1}
            assert entry.retries == 0 and "netaddr:9" in entry.last_error and entry.due_at == w.clock.time() + 600
            assert w.hooks.posts == [] and sink.connections == 0
            w.hooks.pre = lambda _: trying("netaddr:7")
            w.clock.advance(600)
            await w.settled(2)
            assert entry.retries == 0 and "not configured" in entry.last_error and sink.connections == 0

    run(test())


def test_no_source_of_the_targets_family() -> None:
    async def test() -> None:
        async with world({"a.example": {"AAAA": ["2001:db8::1"]}}) as w:
            (entry,) = await w.put("u@a.example")
            await w.settled(1)
            assert entry.retries == 1 and "No source reaches" in entry.last_error

    run(test())


def test_transports() -> None:
    async def test() -> None:
        async with Sink("127.0.0.9") as sink:
            relay = Transport("relay", "127.0.0.9", sink.port, helo="r.example", sources=("netaddr:3",), timeouts=TIMEOUTS)
            async with world(transports=(relay,)) as w:
                await w.put("u@nowhere.example", transport_id="relay")
                assert await w.settled(1) == {"delivered": 1} and w.dns.queries == []
                assert (sink.received[0].peer_ip, sink.received[0].helo) == ("127.0.0.13", "r.example")
                assert w.hooks.pres[0].destination == "127.0.0.9" and w.hooks.pres[0].port == sink.port
                (lost,) = await w.put("u@a.example", transport_id="nosuch")
                await w.settled(2)
                assert lost.hold and "nosuch is not configured" in lost.last_error and lost.retries == 0

    run(test())


def test_settings_name_known_sources() -> None:
    async def test() -> None:
        with pytest.raises(OperatorError, match="netaddr:44"):
            async with world(sources=("netaddr:44",)):
                pass

    run(test())


def test_what_try_changes() -> None:
    async def test() -> None:
        async with Sink("127.0.0.9") as sink, world() as w:
            options = TryOptions(
                host="127.0.0.9",
                port=sink.port,
                helo="other.example",
                sender=address("bounces@sender.example"),
                recipient=address("moved@b.example"),
                timeout_s=1.0,
            )
            w.hooks.pre = lambda _: QueueVerdict("try", options)
            await w.put("u@a.example")
            await w.settled(1)
            seen = sink.received[0]
            assert seen.helo == "other.example" and seen.mail.startswith("<bounces@sender.example>")
            assert seen.rcpts == ["<moved@b.example>"] and seen.peer_ip == "127.0.0.11"

    run(test())


@pytest.mark.parametrize(("action", "count"), [("bounce", "bounced"), ("delete", "deleted")])
def test_pre_delivery_bounce_and_delete_pass_post_delivery(action: Any, count: str) -> None:
    async def test() -> None:
        async with world() as w:
            w.hooks.pre = lambda _: QueueVerdict(action, metadata={"why": "x"})
            (entry,) = await w.put("u@a.example", sender="")
            assert await w.settled(1) == {count: 1} and len(w.queue) == 0
            (post,) = w.hooks.posts
            assert post.action == action.upper() and post.attempt is None and post.message.metadata == {"why": "x"}

            w.hooks.post = lambda _: QueueVerdict("queue", queue=QueueOptions(delay_s=60, increment_retry=False))
            (entry,) = await w.put("u@a.example", sender="")
            await w.settled(2)
            assert entry.due_at == w.clock.time() + 60 and entry.retries == 0 and entry.metadata == {"why": "x"}

    run(test())


@pytest.mark.parametrize(("action", "count"), [("bounce", "bounced"), ("delete", "deleted")])
def test_a_settled_bounce_or_delete_asks_no_post_delivery_script(action: Any, count: str) -> None:
    async def test() -> None:
        async with world() as w:
            w.hooks.pre = lambda _: QueueVerdict(action, settled=True)
            await w.put("u@a.example", sender="")
            assert await w.settled(1) == {count: 1} and len(w.queue) == 0 and not w.hooks.posts

    run(test())


def test_pre_delivery_queue_makes_no_attempt_and_keeps_metadata() -> None:
    async def test() -> None:
        async with world() as w:
            options = QueueOptions(delay_s=300, increment_retry=False, reason="not now")
            w.hooks.pre = lambda _: QueueVerdict("queue", queue=options, metadata={"a": "b"})
            (entry,) = await w.put("u@a.example")
            assert await w.settled(1) == {"waiting": 1} and w.hooks.posts == []
            assert (entry.metadata, entry.last_error, entry.retries) == ({"a": "b"}, "not now", 0)
            restarted = w.spool.reopened()
            await restarted.open()
            rows = [row async for batch in restarted.recover() for row in batch]
            assert rows[0].metadata == {"a": "b"} and rows[0].due_at == w.clock.time() + 300

    run(test())


@pytest.mark.parametrize(
    ("reply", "verdict", "count"),
    [
        ("550 5.7.1 blocked", QueueVerdict("queue", queue=QueueOptions(delay_s=900, transport_id="other")), "deferred"),
        ("450 later", QueueVerdict("bounce"), "bounced"),
        ("550 no", QueueVerdict("delete"), "deleted"),
        ("450 later", QueueVerdict("default", metadata={"n": "1"}), "deferred"),
        ("250 2.0.0 fine", QueueVerdict("bounce"), "delivered"),
    ],
)
def test_post_delivery_overrides(reply: str, verdict: QueueVerdict, count: str) -> None:
    async def test() -> None:
        async with (
            Sink("127.0.0.9", answers={"EOD": reply}) as sink,
            world(zone_for({"a.example": sink}), port=sink.port) as w,
        ):
            w.hooks.post = lambda _: verdict
            (entry,) = await w.put("u@a.example", sender="")
            assert await w.settled(1) == {count: 1}
            if verdict.queue.transport_id:
                assert entry.transport_id == "other" and entry.due_at == w.clock.time() + 900
            if verdict.metadata:
                assert entry.metadata == verdict.metadata
            assert len(w.queue) == (1 if count == "deferred" else 0)

    run(test())


def test_a_slow_destination_does_not_keep_others_waiting() -> None:
    async def test() -> None:
        async with Sink("127.0.0.9", hold=asyncio.Event()) as slow, Sink("127.0.0.10", port=slow.port) as quick:
            zone = zone_for({"slow.example": slow, "quick.example": quick})
            async with world(zone, port=slow.port, attempts=6, destination_connections=3, parked=5) as w:
                for n in range(30):
                    await w.put(f"u{n}@slow.example")
                for n in range(10):
                    await w.put(f"u{n}@quick.example")

                await until(lambda: len(quick.received) == 10, tick=lambda: w.clock.advance(0.5))
                assert slow.peak == 3 and w.delivery.connections().get("mailtransport:1 slow.example") == 3
                assert slow.hold is not None
                slow.hold.set()

                await until(lambda: len(w.queue) == 0, tick=lambda: w.clock.advance(1))
                assert slow.peak == 3 and len(slow.received) == 30

    run(test())


def test_hosts_that_hang_hold_up_nobody_else() -> None:
    async def test() -> None:
        async with Sink("127.0.0.9", answers={"MAIL": "HANG"}) as tarpit, Sink("127.0.0.10", port=tarpit.port) as quick:
            zone = zone_for({**{f"t{n}.example": tarpit for n in range(9)}, "quick.example": quick})
            slow = Transport("slow", port=tarpit.port, timeouts=Timeouts(quit_s=0.2))
            async with world(zone, port=tarpit.port, transports=(slow,), attempts=4, slow_attempts=12) as w:
                for n in range(9):
                    await w.put(f"u@t{n}.example", transport_id="slow")
                await until(lambda: tarpit.open_now == 3)
                await w.put("other@quick.example")  # by a transport that has a slot of its own
                await until(lambda: len(quick.received) == 1)
                for n in range(20):
                    await w.put(f"u{n}@quick.example", transport_id="slow")
                await asyncio.sleep(0.05)
                assert len(quick.received) == 1
                await until(lambda: len(quick.received) == 21, tick=lambda: w.clock.advance(1))
                assert tarpit.open_now == 9

    run(test())


def test_an_attempt_ends_in_time_and_counts_as_failed_for_now() -> None:
    async def test() -> None:
        async with Sink("127.0.0.9", answers={"RCPT": "HANG"}) as first, Sink("127.0.0.10", port=first.port) as second:
            zone = {"a.example": {"MX": [(10, "one.example"), (20, "two.example")]}}
            zone |= {"one.example": {"A": [first.host]}, "two.example": {"A": [second.host]}}  # type: ignore[dict-item]
            slow = Transport("slow", port=first.port, timeouts=Timeouts(quit_s=0.2))
            async with world(zone, port=first.port, transports=(slow,), attempt_s=1.0) as w:
                (entry,) = await w.put("u@a.example", transport_id="slow")
                assert await w.settled(1) == {"deferred": 1}
                assert "the time for the attempt was over (RCPT)" in entry.last_error and entry.retries == 1
                assert first.connections == 1 and not second.connections and w.client.idle_connections == 0
                assert w.delivery.connections() == {}

    run(test())


def test_stopping_lets_attempts_finish_and_puts_the_rest_back() -> None:
    async def test() -> None:
        async with (
            Sink("127.0.0.9", hold=asyncio.Event()) as sink,
            world(zone_for({"a.example": sink}), port=sink.port, destination_connections=2) as w,
        ):
            for n in range(5):
                await w.put(f"u{n}@a.example")
            await until(lambda: len(sink.raw) == 2)
            stopping = asyncio.create_task(w.delivery.stop(60))
            await asyncio.sleep(0.05)
            assert sink.hold is not None
            sink.hold.set()
            await stopping
            assert len(sink.received) == 2 and len(w.queue) == 3 and w.queue.in_flight == 0

    run(test())


def test_an_attempt_cut_off_by_the_end_is_due_again() -> None:
    async def test() -> None:
        async with (
            Sink("127.0.0.9", hold=asyncio.Event()) as sink,
            world(zone_for({"a.example": sink}), port=sink.port) as w,
        ):
            await w.put("u@a.example")
            await until(lambda: sink.raw)
            await w.delivery.stop(0.05)
            assert len(w.queue) == 1 and w.queue.in_flight == 0 and w.queue.claim(1)

    run(test())


def test_our_own_fault_never_loses_a_recipient() -> None:
    async def test() -> None:
        async with world() as w:

            def broken(_: PreDeliveryEvent | PostDeliveryEvent) -> QueueVerdict:
                raise RuntimeError("a bug")

            w.hooks.pre = broken
            (entry,) = await w.put("u@a.example")
            assert await w.settled(1) == {"waiting": 1}
            assert entry.retries == 0 and entry.due_at == w.clock.time() + 300 and "bug" not in entry.last_error
            assert len(w.events("delivery.fault")) == 1
            w.log.clear()

    run(test())


def test_a_message_without_content_waits() -> None:
    async def test() -> None:
        async with Sink("127.0.0.9") as sink, world(zone_for({"a.example": sink}), port=sink.port) as w:
            w.hooks.pre = lambda e: w.spool._messages.clear() or QueueVerdict("try")  # type: ignore[func-returns-value]
            (entry,) = await w.put("u@a.example")
            assert await w.settled(1) == {"waiting": 1} and "content" in entry.last_error

    run(test())


def test_login_refused_is_not_the_messages_fault() -> None:
    async def test() -> None:
        async with Sink("127.0.0.9", extensions=("AUTH PLAIN",), answers={"AUTH": "535 5.7.8 no"}) as sink:
            relay = Transport("relay", "127.0.0.9", sink.port, tls="disabled", username="u", password="p", timeouts=TIMEOUTS)
            async with world(transports=(replace(relay),)) as w:
                (entry,) = await w.put("u@a.example", transport_id="relay")
                assert await w.settled(1) == {"deferred": 1} and "535" in entry.last_error

    run(test())


def test_what_an_operator_holds_while_it_is_parked_is_not_tried() -> None:
    async def test() -> None:
        async with (
            Sink("127.0.0.9", hold=asyncio.Event()) as sink,
            world(zone_for({"a.example": sink}), port=sink.port, destination_connections=1) as w,
        ):
            await w.put("first@a.example")
            (parked,) = await w.put("second@a.example")
            await until(lambda: sink.raw)
            await w.queue.hold([parked.queue_id])
            assert sink.hold is not None
            sink.hold.set()
            await until(lambda: w.queue.in_flight == 0)
            assert len(sink.received) == 1 and w.queue.state(parked) == "held"

    run(test())


def test_what_an_operator_deletes_while_it_is_parked_is_not_tried() -> None:
    async def test() -> None:
        async with (
            Sink("127.0.0.9", hold=asyncio.Event()) as sink,
            world(zone_for({"a.example": sink}), port=sink.port, destination_connections=1) as w,
        ):
            await w.put("first@a.example")
            (parked,) = await w.put("second@a.example")
            await until(lambda: sink.raw)
            await w.queue.delete([parked.queue_id])
            assert sink.hold is not None
            sink.hold.set()
            await until(lambda: len(w.queue) == 0)
            assert len(sink.received) == 1

    run(test())

"""The five scripts of the worked example, byte for byte, through real hooks with services in memory."""

from __future__ import annotations

import hashlib
from collections import Counter

import pytest

from hslpy.mail.verdict import SourceChoice
from hslpy.scan.scripted import ScriptedRspamd, ScriptedSpamAssassin
from tests.hooks.world import SEEDS, World, address, wait_for


def test_rcpt_limit_and_deliverability(world: World) -> None:
    hooks = world.hooks({"rcptto": (SEEDS / "rcpt-limit.hsl", SEEDS / "rcpt-deliverability.hsl")})
    event = world.event("rcptto")

    async def main() -> None:
        for _ in range(250):
            assert (await hooks.run(hooks.current, "rcptto", event)).action == "accept"
        refused = await hooks.run(hooks.current, "rcptto", event)
        assert str(refused.reply) == "450 4.7.1 You may only send 250 messages per hour, try later"
        world.clock.advance(3800)
        assert (await hooks.run(hooks.current, "rcptto", event)).action == "accept"
        world.metrics[("count", (("senderdomain", ("example.com",)),))] = 501.0
        refused = await hooks.run(hooks.current, "rcptto", event)
        assert refused.reply.lines == ("example.com has exeeded the max queue limit of 100 messages",)

    wait_for(main())
    assert not world.events


def test_failed_deliveries_are_counted_and_read(world: World) -> None:
    hooks = world.hooks(
        {"postdelivery": SEEDS / "post-delivery.hsl", "rcptto": SEEDS / "rcpt-deliverability.hsl"},
    )

    async def main() -> None:
        for i in range(1000):
            code = 550 if i % 2 else 450
            verdict = await hooks.run(hooks.current, "postdelivery", world.post(code, "BOUNCE"))
            assert verdict.action == "default" and not verdict.failed
            await hooks.run(hooks.current, "postdelivery", world.post(250, None))
        refused = await hooks.run(hooks.current, "rcptto", world.event("rcptto"))
        assert refused.reply.lines == ("example.com has more than 1000 failed deliveries during the last hour",)

    wait_for(main())


def test_sources_by_hash_of_the_domain(world: World) -> None:
    hooks = world.hooks({"predelivery": SEEDS / "pre-delivery.hsl"})
    seen: Counter[str | None] = Counter()

    async def main() -> None:
        for i in range(300):
            domain = f"d{i}.example"
            verdict = await hooks.run(hooks.current, "predelivery", world.pre(sender=address(f"a@{domain}")))
            expected = int(hashlib.md5(domain.encode()).hexdigest()[:6], 16) % 3 + 1
            assert verdict.attempt.sources == (SourceChoice(f"netaddr:{expected}"),)
            seen[verdict.attempt.sources[0].id] += 1
        marked = await hooks.run(hooks.current, "predelivery", world.pre(metadata={"spam": "yes"}))
        assert marked.attempt.sources == (SourceChoice("netaddr:4"),)

    wait_for(main())
    assert len(seen) == 3 and min(seen.values()) > 60


@pytest.mark.parametrize(
    ("spam_class", "score", "metadata"),
    [(0, 0.0, {}), (0, 3.5, {"spam": "yes"}), (10, 0.0, {"spam": "yes"}), (40, 3.0, {"spam": "yes"})],
)
def test_marking(world: World, spam_class: int, score: float, metadata: dict[str, str]) -> None:
    verdict = world.run(
        "data",
        SEEDS / "data.hsl",
        world.data("a@x.org", "b@x.org"),
        spamassassin=ScriptedSpamAssassin(score),
        rspamd=ScriptedRspamd(spam_class),
    )
    assert verdict.action == "accept"
    assert [one.metadata for one in verdict.deliveries] == [metadata, metadata]
    assert not world.events


@pytest.mark.parametrize(
    ("spam_class", "score", "limit", "kind"),
    [(50, 0.0, 300, "bulk"), (0, 4.5, 300, "bulk"), (100, 0.0, 100, "spam"), (0, 6.5, 100, "spam")],
)
def test_limits_of_bulk_and_spam(world: World, spam_class: int, score: float, limit: int, kind: str) -> None:
    services = {"spamassassin": ScriptedSpamAssassin(score), "rspamd": ScriptedRspamd(spam_class)}
    hooks = world.hooks({"data": SEEDS / "data.hsl"}, **services)

    async def main() -> None:
        for login in ("alice", "bob"):
            for i in range(limit):
                world.context.scans = ("", {})
                verdict = await hooks.run(hooks.current, "data", world.data(login=login))
                assert verdict.action == "accept", i
            world.context.scans = ("", {})
            verdict = await hooks.run(hooks.current, "data", world.data(login=login))
            text = f"You are only allowed to send {limit} {kind} messages per 8 hours, try later message-1"
            assert (verdict.action, verdict.reply.lines, verdict.deliveries) == ("defer", (text,), ())

    wait_for(main())
    assert not world.events


def test_customer_is_the_login_the_script_or_the_domain(world: World) -> None:
    services = {"spamassassin": ScriptedSpamAssassin(9.0), "rspamd": ScriptedRspamd(0)}
    hooks = world.hooks({"data": SEEDS / "data.hsl"}, **services)
    script = b"X-PHP-Originating-Script: 33:mail.php\r\nSubject: x\r\n\r\n"

    async def main() -> None:
        for _ in range(100):
            world.context.scans = ("", {})
            await hooks.run(hooks.current, "data", world.data(content=script))
        for event, action in (
            (world.data(content=script), "defer"),
            (world.data(content=script, sender="a@other.example"), "defer"),
            (world.data(content=script, login="alice"), "accept"),
            (world.data(), "accept"),
        ):
            world.context.scans = ("", {})
            assert (await hooks.run(hooks.current, "data", event)).action == action

    wait_for(main())

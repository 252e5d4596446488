"""The five scripts of the worked example, unmodified, on real mail through real servers."""

from __future__ import annotations

import asyncio

import pytest

from hslpy.scan.contract import SpamScore
from hslpy.scan.scripted import of_class
from tests.scenarios.harness import FOUR_SOURCES, SEED_HOOKS, server
from tests.support.smtp_sink import Sink


class Scanner:
    """Gives each message the answer that its X-Test-Score or X-Test-Class header asks for."""

    def __init__(self, header: bytes, make) -> None:
        self.header = header
        self.make = make

    async def scan(self, request):
        for line in request.content.split(b"\r\n"):
            if line.lower().startswith(self.header):
                return self.make(float(line.partition(b":")[2]))
        return self.make(0.0)

    async def close(self):
        pass


def settings(sink_port: int) -> str:
    return SEED_HOOKS + FOUR_SOURCES + f'[[transport]]\nid = "mailtransport:1"\nport = {sink_port}\n'


def scanners():
    return {
        "spamassassin": Scanner(b"x-test-score", SpamScore),
        "rspamd": Scanner(b"x-test-class", lambda x: of_class(int(x))),
    }


@pytest.fixture
def run():
    return asyncio.run


def test_marked_mail_leaves_from_the_bulk_source_and_a_domain_keeps_its_own(tmp_path, run):
    async def scenario():
        async with Sink("127.0.0.50") as sink, server(tmp_path, settings(sink.port), **scanners()) as s:
            s.resolver.set("dest.test", "MX", [(10, "mx.dest.test")])
            s.resolver.set("mx.dest.test", "A", ["127.0.0.50"])
            client = await s.client()
            for domain in ("one.example", "two.example", "three.example", "four.example"):
                for _ in range(2):
                    assert (await client.send(f"a@{domain}", "b@dest.test")).startswith("250 2.0.0 Ok: queued as ")
            suspect = "X-Test-Class: 10\r\nSubject: offer\r\n\r\nBuy\r\n"
            assert (await client.send("a@one.example", "b@dest.test", content=suspect)).startswith("250")
            await s.until(lambda: len(sink.received) == 9)
            await s.until(lambda: len(s.app.queue) == 0)
            by_domain = {}
            for message in sink.received:
                if b"offer" in message.content:
                    assert (message.peer_ip, message.helo) == ("127.0.0.14", "out4.example.com")
                    continue
                by_domain.setdefault(message.mail.partition("@")[2], set()).add((message.peer_ip, message.helo))
            assert all(len(sources) == 1 for sources in by_domain.values())
            assert {ip for sources in by_domain.values() for ip, _ in sources} <= {"127.0.0.11", "127.0.0.12", "127.0.0.13"}
            assert b"Received: from client.example.com" in sink.received[0].content

    run(scenario())


def test_the_251st_recipient_within_an_hour_is_deferred(tmp_path, run):
    async def scenario():
        async with server(tmp_path, settings(1), deliver=False, **scanners()) as s:
            client = await s.client()
            await client.say("EHLO client.example.com")
            replies = []
            for _ in range(251):
                await client.say("MAIL FROM:<a@one.example>")
                replies.append(await client.say("RCPT TO:<b@dest.test>"))
                await client.say("RSET")
            assert all(reply.startswith("250 ") for reply in replies[:250])
            assert replies[250].startswith("450 ")
            assert "You may only send 250 messages per hour, try later" in replies[250]

    run(scenario())


def test_the_101st_spam_message_is_deferred_and_named(tmp_path, run):
    async def scenario():
        async with server(tmp_path, settings(1), deliver=False, **scanners()) as s:
            client = await s.client()
            spam = "X-Test-Score: 7\r\nX-Test-Class: 100\r\n\r\nspam\r\n"
            for _ in range(100):
                assert (await client.send("a@one.example", "b@dest.test", content=spam)).startswith("250")
            reply = await client.send("a@one.example", "b@dest.test", content=spam)
            assert reply.startswith(("421 ", "45"))
            assert "100 spam messages per 8 hours, try later" in reply
            assert len(s.app.queue) == 100

    run(scenario())


def test_failed_deliveries_are_counted_and_close_the_door(tmp_path, run):
    async def scenario():
        refuse = {"RCPT": "550 5.1.1 No such user"}
        async with Sink("127.0.0.50", answers=refuse) as sink, server(tmp_path, settings(sink.port), **scanners()) as s:
            s.resolver.set("dest.test", "MX", [(10, "mx.dest.test")])
            s.resolver.set("mx.dest.test", "A", ["127.0.0.50"])
            client = await s.client()
            assert (await client.send("", "b@dest.test")).startswith("250")
            await s.until(lambda: len(s.app.queue) == 0)
            count = await s.app.services.rates.check("delivery-failures", "", 0, 3600)
            assert count == 1

    run(scenario())


def test_a_domain_with_too_much_in_the_queue_must_wait(tmp_path, run):
    async def scenario():
        async with server(tmp_path, settings(1), deliver=False, **scanners()) as s:
            client = await s.client()
            await client.say("EHLO client.example.com")
            for _ in range(3):
                await client.say("MAIL FROM:<a@one.example>")
                for n in range(83):
                    assert (await client.say(f"RCPT TO:<b{n}@dest.test>")).startswith("250")
                await client.say("DATA")
                assert (await client.say("Subject: x\r\n\r\nx\r\n.")).startswith("250")
            assert s.app.queue.metric("count", {"senderdomain": ["one.example"]}) == 249

    run(scenario())

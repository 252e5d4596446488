"""What hooks decide at each command, relay control, limits, and what a peer hears of our own faults: nothing."""

from __future__ import annotations

import pytest

from hslpy.hooks.facts import DataEvent
from hslpy.mail.address import NULL_SENDER, Address
from hslpy.mail.policy_replies import REJECTED
from hslpy.mail.reply import Reply
from hslpy.mail.verdict import DataVerdict, Delivery, SmtpVerdict
from hslpy.spool.contract import SpoolFull
from tests.smtp.harness import FakeHooks, deliver_all, run, serving, until

MESSAGE = b"Subject: x\r\n\r\nhello\r\n"


def test_a_whole_session_with_facts() -> None:
    async def work() -> None:
        names = ("connect", "helo", "mailfrom", "rcptto", "disconnect")
        hooks = FakeHooks(**dict.fromkeys(names))
        async with serving(hooks) as world:
            client = await world.connect()
            assert await client.reply() == b"220 mx.test ESMTP\r\n"
            assert await client.ask(b"EHLO client.test") == (
                b"250-mx.test\r\n250-PIPELINING\r\n250-SIZE 33554432\r\n250-8BITMIME\r\n250-ENHANCEDSTATUSCODES\r\n"
                b"250-DSN\r\n250-SMTPUTF8\r\n"
                b"250 HELP\r\n"
            )
            assert await client.ask(b"MAIL FROM:<A@Sender.test> BODY=8bitmime SIZE=10") == b"250 2.1.0 Sender ok\r\n"
            assert await client.ask(b"RCPT TO:<b@dest.test>") == b"250 2.1.5 Recipient ok\r\n"
            assert await client.ask(b"RCPT TO:<c@dest.test>") == b"250 2.1.5 Recipient ok\r\n"
            assert await client.data(MESSAGE) == b"250 2.0.0 Ok: queued as id-2 (queue 1,2)\r\n"
            assert await client.ask(b"QUIT") == b"221 2.0.0 Bye\r\n"
            await client.rest()
            await until(lambda: hooks.of("disconnect"))
        assert [name for name, _ in hooks.events] == [
            "connect",
            "helo",
            "mailfrom",
            "rcptto",
            "rcptto",
            "data",
            "disconnect",
        ]
        connect = hooks.of("connect")[0].connection
        assert (connect.id, connect.remote_ip, connect.server_id) == ("id-1", "127.0.0.1", "mailserver:1")
        helo = hooks.of("helo")[0]
        assert (helo.verb, helo.host, helo.extensions[0], helo.connection.helo) == (
            "EHLO",
            "client.test",
            "PIPELINING",
            None,
        )
        mail = hooks.of("mailfrom")[0]
        assert mail.connection.helo.host == "client.test"
        assert mail.transaction.sender == Address("A", "Sender.test")
        assert mail.transaction.sender_params == {"BODY": "8bitmime", "SIZE": "10"}
        second = hooks.of("rcptto")[1]
        assert [str(each.address) for each in second.transaction.recipients] == ["b@dest.test"]
        assert (str(second.recipient.address), second.recipient.transport_id) == ("c@dest.test", "mailtransport:1")
        data = hooks.of("data")[0]
        assert data.transaction.id == "id-2" and len(data.transaction.recipients) == 2
        message = world.spool.messages[0]
        assert data.content == message.header + message.body
        assert message.header.startswith(
            b"Received: from client.test ([127.0.0.1])\r\n\tby mx.test with ESMTP id id-2;\r\n\t"
        )
        assert message.header.endswith(b" +0000\r\nSubject: x\r\n\r\n")
        assert message.body == b"hello\r\n"
        assert (message.transaction_id, message.remote_ip, message.helo) == ("id-2", "127.0.0.1", "client.test")
        assert hooks.of("disconnect")[0].closed_by == "local"
        assert {event.context for _, event in hooks.events} == {hooks.of("connect")[0].context}
        (_event, fields), *_ = [each for each in world.log if each[0] == "smtp.message"]
        assert (fields["transaction"], fields["session"], fields["action"], fields["queued"]) == (
            "id-2",
            "id-1",
            "accept",
            2,
        )
        assert (fields["to"], fields["queue_ids"], fields["held"]) == ("b@dest.test,c@dest.test", "1,2", 0)

    run(work)


def test_a_refusal_is_logged_with_who_was_refused_and_the_line_that_did_it() -> None:
    async def work() -> None:
        hooks = FakeHooks(rcptto=SmtpVerdict("reject", by="policy.hsl:3"), mailfrom=None)
        async with serving(hooks) as world:
            client = await world.greeted()
            await client.ask(b"MAIL FROM:<a@sender.test>")
            await client.ask(b"RCPT TO:<b@dest.test>")
            hooks.answers["mailfrom"] = SmtpVerdict("defer", by="policy.hsl:9")
            await client.ask(b"RSET")
            await client.ask(b"MAIL FROM:<c@sender.test>")
        first, second = [fields for event, fields in world.log if event == "smtp.refused"]
        assert (str(first["sender"]), str(first["recipient"])) == ("a@sender.test", "b@dest.test")
        assert first["by"] == "policy.hsl:3"
        assert (str(second["sender"]), second["hook"], second["by"]) == ("c@sender.test", "mailfrom", "policy.hsl:9")
        assert first["transaction"] != second["transaction"] != ""

    run(work)


@pytest.mark.parametrize(
    ("verdict", "reply"),
    [
        (SmtpVerdict("reject"), b"521 5.7.1 Connection refused by policy\r\n"),
        (SmtpVerdict("defer"), b"421 4.7.1 Try again later\r\n"),
        (SmtpVerdict("defer", failed=True), b"421 4.3.0 Temporary policy failure\r\n"),
        (SmtpVerdict("reject", Reply(521, (5, 7, 0), ("go\raway",))), b"521 5.7.0 go?away\r\n"),
    ],
)
def test_connect_refused(verdict: SmtpVerdict, reply: bytes) -> None:
    async def work() -> None:
        async with serving(FakeHooks(connect=verdict)) as world:
            client = await world.connect()
            assert await client.rest() == reply

    run(work)


@pytest.mark.parametrize("hook", ["helo", "mailfrom", "rcptto"])
@pytest.mark.parametrize(
    ("verdict", "reply", "open_after"),
    [
        (SmtpVerdict("reject"), b"554 5.7.1 Refused by policy\r\n", True),
        (SmtpVerdict("defer"), b"450 4.7.1 Try again later\r\n", True),
        (SmtpVerdict("defer", failed=True), b"451 4.3.0 Temporary policy failure\r\n", True),
        (SmtpVerdict("reject", Reply(550, None, ("a", "b"))), b"550-a\r\n550 b\r\n", True),
        (SmtpVerdict("reject", disconnect=True), b"554 5.7.1 Refused by policy\r\n", False),
        (SmtpVerdict("defer", Reply(421, (4, 3, 2), ("later",))), b"421 4.3.2 later\r\n", False),
        (SmtpVerdict("accept", Reply(250, (2, 0, 0), ("fine",))), None, True),
    ],
)
def test_verdicts(hook: str, verdict: SmtpVerdict, reply: bytes | None, open_after: bool) -> None:
    async def work() -> None:
        async with serving(FakeHooks(**{hook: verdict})) as world:
            client = await world.connect()
            await client.reply()
            got = await client.ask(b"EHLO x.test")
            if hook != "helo":
                got = await client.ask(b"MAIL FROM:<a@x.test>")
            if hook == "rcptto":
                got = await client.ask(b"RCPT TO:<b@x.test>")
            if reply is None:
                assert got == (got if hook == "helo" else b"250 2.0.0 fine\r\n")
                assert b"fine" in got
            else:
                assert got == reply.replace(b"554 5.7.1 Refused by policy\r\n", REJECTED[hook].render())
            if open_after:
                assert (await client.ask(b"NOOP"))[:3] == b"250"
                if verdict.action != "accept" and hook == "rcptto":
                    assert await client.ask(b"DATA") == b"554 5.5.1 No valid recipients\r\n"
            else:
                assert await client.rest() == b""

    run(work)


def test_a_verdict_changes_what_follows() -> None:
    async def work() -> None:
        hooks = FakeHooks(
            connect=SmtpVerdict("accept", Reply(220, None, ("hi there",)), remote_ip="192.0.2.7", remote_ptr="c.test"),
            helo=SmtpVerdict("accept", host="other.test", extensions=("SIZE 5", "X-FOO")),
            mailfrom=SmtpVerdict("accept", sender=Address("new", "s.test")),
            rcptto=SmtpVerdict("accept", recipient=Address("new", "r.test"), transport_id="mailtransport:9"),
        )
        async with serving(hooks, relay_networks=("192.0.2.0/24",)) as world:
            client = await world.connect()
            assert await client.reply() == b"220 mx.test hi there\r\n"
            assert await client.ask(b"EHLO x.test") == b"250-mx.test\r\n250-SIZE 5\r\n250 X-FOO\r\n"
            await client.envelope()
            await client.data(MESSAGE)
            event = hooks.of("data")[0]
            assert event.connection.remote_ip == "192.0.2.7" and event.connection.remote_ptr == "c.test"
            assert event.connection.helo.host == "other.test"
            message = world.spool.messages[0]
            assert message.remote_ip == "192.0.2.7" and message.helo == "other.test"
            row = message.recipients[0]
            assert (str(row.sender), str(row.recipient), row.transport_id) == ("new@s.test", "new@r.test", "mailtransport:9")
            assert message.header.startswith(b"Received: from other.test (c.test [192.0.2.7])\r\n")
            assert b"\tfor <new@r.test>;\r\n" in message.header

    run(work)


def test_relaying_is_denied_whatever_the_script_says() -> None:
    async def work() -> None:
        hooks = FakeHooks(rcptto=SmtpVerdict("accept"))
        async with serving(hooks, relay_networks=("192.0.2.0/24",)) as world:
            client = await world.greeted()
            await client.ask(b"MAIL FROM:<a@x.test>")
            assert await client.ask(b"RCPT TO:<b@x.test>") == b"550 5.7.1 Relaying denied\r\n"
            assert await client.ask(b"DATA") == b"554 5.5.1 No valid recipients\r\n"
            assert len(hooks.of("rcptto")) == 1
        async with serving(relay_networks=()) as world:
            client = await world.greeted()
            await client.ask(b"MAIL FROM:<a@x.test>")
            assert await client.ask(b"RCPT TO:<b@x.test>") == b"550 5.7.1 Relaying denied\r\n"

    run(work)


def test_a_proxys_trust_is_not_lent_to_its_client() -> None:
    async def work() -> None:
        async with serving(FakeHooks(connect=SmtpVerdict("accept", remote_ip="203.0.113.9"))) as world:
            client = await world.greeted()
            await client.ask(b"MAIL FROM:<a@x.test>")
            assert await client.ask(b"RCPT TO:<b@x.test>") == b"550 5.7.1 Relaying denied\r\n"

    run(work)


def test_eod_is_asked_where_it_is_configured() -> None:
    async def work() -> None:
        for names in ({"data": deliver_all}, {"eod": deliver_all}, {"data": deliver_all, "eod": deliver_all}):
            hooks = FakeHooks(**names)
            async with serving(hooks) as world:
                client = await world.greeted()
                await client.envelope()
                assert (await client.data(MESSAGE))[:3] == b"250"
                assert len(hooks.of("eod")) == ("eod" in names) and len(hooks.of("data")) == ("eod" not in names)

    run(work)


def _verdict(action: str, *deliveries: Delivery, **more: object) -> DataVerdict:
    return DataVerdict(action, deliveries=deliveries, **more)  # type: ignore[arg-type]


_PLAIN = Delivery(NULL_SENDER, Address("b", "x.test"), "mailtransport:1")
_HELD = Delivery(NULL_SENDER, Address("q", "x.test"), "mailtransport:1", hold=True, quarantine_id="mailquarantine:1")


@pytest.mark.parametrize(
    ("verdict", "reply", "stored"),
    [
        (_verdict("accept"), b"250 2.0.0 Ok\r\n", 0),
        (_verdict("accept", _PLAIN, _HELD), b"250 2.0.0 Ok: queued as id-2 (queue 1,2)\r\n", 2),
        (_verdict("accept", _PLAIN, reply=Reply(250, (2, 0, 0), ("mine",))), b"250 2.0.0 mine\r\n", 1),
        (_verdict("reject", _PLAIN), b"550 5.7.1 Message refused by policy\r\n", 0),
        (_verdict("reject", _PLAIN, _HELD), b"550 5.7.1 Message refused by policy\r\n", 1),
        (_verdict("defer", _PLAIN, _HELD), b"421 4.7.1 Try again later\r\n", 0),
        (_verdict("defer", failed=True), b"451 4.3.0 Temporary policy failure\r\n", 0),
        (_verdict("reject", reply=Reply(554, (5, 7, 1), ("no",))), b"554 5.7.1 no\r\n", 0),
        (_verdict("reject", reply=Reply(421, (4, 7, 0), ("no",))), b"421 4.7.0 no\r\n", 0),
    ],
)
def test_data_verdicts(verdict: DataVerdict, reply: bytes, stored: int) -> None:
    async def work() -> None:
        async with serving(FakeHooks(data=verdict)) as world:
            client = await world.greeted()
            await client.envelope()
            assert await client.data(MESSAGE) == reply
            assert sum(len(each.recipients) for each in world.spool.messages) == stored
            if reply.startswith(b"421"):
                assert await client.rest() == b""
            else:
                await client.envelope()

    run(work)


def test_variants_are_shared() -> None:
    async def work() -> None:
        def answer(event: DataEvent) -> DataVerdict:
            header, _, body = event.content.partition(b"\r\n\r\n")
            same = header + b"\r\n\r\n"

            def to(name: str, new_header: bytes | None, new_body: bytes | None, delay_s: float = 0.0) -> Delivery:
                return Delivery(
                    event.transaction.sender, Address(name, "x.test"), "t", header=new_header, body=new_body, delay_s=delay_s
                )

            return _verdict(
                "accept",
                to("a", None, None),
                to("b", same, body),
                to("c", b"X: 1\r\n\r\n", None),
                to("d", b"".join((b"X: 1\r\n", b"\r\n")), body, 60.0),
                to("e", b"X: 1\r\n\r\n", b"new"),
            )

        async with serving(FakeHooks(data=answer)) as world:
            client = await world.greeted()
            await client.envelope()
            assert (await client.data(MESSAGE))[:3] == b"250"
            message = world.spool.messages[0]
            assert [each.variant for each in message.recipients] == [-1, -1, 0, 0, 1]
            assert message.variants == ((b"X: 1\r\n\r\n", None), (b"X: 1\r\n\r\n", b"new"))
            assert [each.due_at - message.received_at for each in message.recipients] == [0, 0, 0, 60, 0]

    run(work)


@pytest.mark.parametrize("hook", ["connect", "helo", "mailfrom", "rcptto", "data", "accept", "spool", "wrong"])
def test_our_faults_are_temporary_and_untold(hook: str) -> None:
    """aiosmtpd would answer 500 with the exception's text."""

    def fail(*_: object) -> None:
        raise RuntimeError("secret /etc/path")

    async def fail_to_store() -> None:
        if hook == "spool":
            raise SpoolFull("secret")
        raise RuntimeError("secret")

    async def work() -> None:
        hooks = FakeHooks(**({hook: fail} if hook not in ("accept", "spool", "wrong") else {}))
        if hook == "wrong":
            hooks.answers["data"] = SmtpVerdict("accept")
        async with serving(hooks) as world:
            if hook in ("accept", "spool"):
                world.spool.before = fail_to_store
            client = await world.connect()
            if hook == "connect":
                assert await client.rest() == b"421 4.3.0 Temporary failure\r\n"
                return
            await client.reply()
            if hook == "helo":
                assert await client.ask(b"EHLO x.test") == b"451 4.3.0 Temporary failure\r\n"
                return
            await client.ask(b"EHLO x.test")
            if hook == "mailfrom":
                assert await client.ask(b"MAIL FROM:<a@x.test>") == b"451 4.3.0 Temporary failure\r\n"
                return
            await client.ask(b"MAIL FROM:<a@x.test>")
            if hook == "rcptto":
                assert await client.ask(b"RCPT TO:<b@x.test>") == b"451 4.3.0 Temporary failure\r\n"
                assert await client.ask(b"DATA") == b"554 5.5.1 No valid recipients\r\n"
                return
            await client.ask(b"RCPT TO:<b@x.test>")
            expected = (
                b"452 4.3.1 Insufficient system storage\r\n" if hook == "spool" else b"451 4.3.0 Temporary failure\r\n"
            )
            assert await client.data(MESSAGE) == expected
            assert world.spool.messages == [] and world.server.shared.data_bytes == 0
            told = "smtp.not_stored" if hook == "spool" else "smtp.fault"
            assert [event for event, _ in world.log].count(told) == 1
            world.spool.before = None
            hooks.answers.clear()
            await client.envelope()
            assert (await client.data(MESSAGE))[:3] == b"250"

    run(work)


def test_limits_of_a_session() -> None:
    async def work() -> None:
        async with serving(max_recipients=2, max_errors=5, max_unknown_commands=3) as world:
            client = await world.greeted()
            await client.envelope(b"a@x.test", b"b@x.test")
            assert await client.ask(b"RCPT TO:<c@x.test>") == b"452 4.5.3 Too many recipients\r\n"
            assert await client.data(MESSAGE) == b"250 2.0.0 Ok: queued as id-2 (queue 1,2)\r\n"
            for _ in range(4):
                assert (await client.ask(b"RCPT TO:<c@x.test>"))[:3] == b"503"
            assert await client.ask(b"RCPT TO:<c@x.test>") == b"421 4.7.0 Too many errors\r\n"
            assert await client.rest() == b""
            client = await world.greeted()
            client.send(b"X\r\nX\r\nX\r\nX\r\n")
            assert (await client.rest()).split(b"\r\n")[2:] == [b"421 4.7.0 Too many errors", b""]

    run(work)


def test_limits_of_connections() -> None:
    async def work() -> None:
        async with serving(max_connections=3, max_connections_per_client=2) as world:
            first, _second = await world.greeted(), await world.greeted()
            assert await (await world.connect()).rest() == b"421 4.7.0 Too many connections from your address\r\n"
            assert len(world.server.connections) == 2
            await first.ask(b"QUIT")
            await first.rest()
            await until(lambda: len(world.server.connections) == 1)
            await world.greeted()
        async with serving(max_connections=1) as world:
            await world.greeted()
            assert await (await world.connect()).rest() == b"421 4.3.2 Too many connections\r\n"

    run(work)


def test_order_of_commands() -> None:
    async def work() -> None:
        async with serving() as world:
            client = await world.connect()
            await client.reply()
            assert (await client.ask(b"MAIL FROM:<a@x.test>"))[:9] == b"503 5.5.1"
            assert await client.ask(b"HELO x.test") == b"250 mx.test\r\n"
            assert (await client.ask(b"MAIL FROM:<a@x.test> SIZE=1"))[:9] == b"555 5.5.4"
            assert (await client.ask(b"MAIL FROM:<a@x.test>"))[:3] == b"250"
            assert (await client.ask(b"MAIL FROM:<a@x.test>"))[:9] == b"503 5.5.1"
            assert (await client.ask(b"DATA"))[:9] == b"554 5.5.1"
            assert (await client.ask(b"RCPT TO:<b@x.test>"))[:3] == b"250"
            assert (await client.ask(b"RSET"))[:3] == b"250"
            assert (await client.ask(b"RCPT TO:<b@x.test>"))[:9] == b"503 5.5.1"
            await client.envelope()
            assert (await client.ask(b"EHLO x.test"))[:3] == b"250"
            assert (await client.ask(b"RCPT TO:<b@x.test>"))[:9] == b"503 5.5.1"
            await client.ask(b"HELO x.test")
            await client.envelope()
            await client.data(MESSAGE)
            assert b" with SMTP id " in world.spool.messages[0].header
            world.server.set_storage_full(True)
            assert (await client.ask(b"MAIL FROM:<a@x.test>"))[:9] == b"452 4.3.1"

    run(work)

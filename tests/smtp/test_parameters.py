"""The parameters of MAIL and RCPT, and addresses beyond ASCII, over a raw socket."""

from __future__ import annotations

import pytest

from hslpy.mail.verdict import SmtpVerdict
from tests.smtp.harness import FakeHooks, run, serving

OK, BAD, UNKNOWN = b"250", b"501 5.5.4", b"555 5.5.4"


@pytest.mark.parametrize(
    ("parameters", "code"),
    [
        (b"RET=FULL", OK),
        (b"ret=hdrs ENVID=QQ314159", OK),
        (b"RET=HDRS ENVID=a+2Bb+3Dc SIZE=100 BODY=8BITMIME SMTPUTF8 AUTH=a+40b.test", OK),
        (b"ENVID=" + b"x" * 100, OK),
        (b"ENVID=" + b"x" * 101, BAD),
        (b"ENVID=a+2b", BAD),
        (b"ENVID=a+2", BAD),
        (b"ENVID=a+", BAD),
        (b"ENVID=a+00b", BAD),
        (b"ENVID=a+0Ab", BAD),
        (b"ENVID=a+C3+A5", BAD),
        (b"ENVID=", BAD),
        (b"ENVID", BAD),
        (b"ENVID=a=b", BAD),
        (b"RET", BAD),
        (b"RET=BODY", BAD),
        (b"RET=FULL RET=HDRS", BAD),
        (b"RET=FULL ret=FULL", BAD),
        (b"SMTPUTF8=1", BAD),
        (b"SMTPUTF8 SMTPUTF8", BAD),
        (b"NOTIFY=NEVER", UNKNOWN),
        (b"ORCPT=rfc822;a@b.test", UNKNOWN),
        (b"AUTH=a+4", BAD),
        (b"AUTH", BAD),
        (b"BODY", BAD),
        (b"ENVID=\xc3\xa5 SMTPUTF8", BAD),
        (b"RET=FULL ENVID=" + b"x" * 100 + b" SIZE=10000000 BODY=8BITMIME SMTPUTF8 AUTH=" + b"a" * 490, OK),
    ],
)
def test_parameters_of_mail(parameters: bytes, code: bytes) -> None:
    async def work() -> None:
        async with serving() as world:
            client = await world.greeted()
            assert (await client.ask(b"MAIL FROM:<a@x.test> " + parameters)).startswith(code)
            assert (await client.ask(b"NOOP"))[:3] == b"250"

    run(work)


@pytest.mark.parametrize(
    ("parameters", "code"),
    [
        (b"NOTIFY=NEVER", OK),
        (b"NOTIFY=SUCCESS", OK),
        (b"notify=success,Failure,DELAY", OK),
        (b"NOTIFY=SUCCESS,NEVER", BAD),
        (b"NOTIFY=NEVER,NEVER", BAD),
        (b"NOTIFY=", BAD),
        (b"NOTIFY=,", BAD),
        (b"NOTIFY=SUCCESS,", BAD),
        (b"NOTIFY=ALWAYS", BAD),
        (b"NOTIFY=NEVER NOTIFY=NEVER", BAD),
        (b"ORCPT=rfc822;b@y.test", OK),
        (b"ORCPT=rfc822;b+2Bc@y.test NOTIFY=DELAY", OK),
        (b"ORCPT=x400;/S+3DDoe/", OK),
        (b"ORCPT=rfc822", BAD),
        (b"ORCPT=rfc822;", BAD),
        (b"ORCPT=;b@y.test", BAD),
        (b"ORCPT=rfc(822;b@y.test", BAD),
        (b"ORCPT=rfc822;b+0D+0Ac", BAD),
        (b"ORCPT=rfc822;b+2c", BAD),
        (b"ORCPT=rfc822;b+E5", BAD),
        (b"ORCPT=rfc822;" + b"b" * 493, OK),
        (b"ORCPT=rfc822;" + b"b" * 494, BAD),
        (b"ORCPT=utf-8;\\x{E5}@y.test", OK),
        (b"ORCPT=UTF-8;\\x{1F600}@y.test", OK),
        (b"ORCPT=utf-8;\\x{D800}@y.test", BAD),
        (b"ORCPT=utf-8;\\x{0A}@y.test", BAD),
        (b"ORCPT=utf-8;\\x{FFFFFF}@y.test", BAD),
        (b"RET=FULL", UNKNOWN),
        (b"SIZE=1", UNKNOWN),
    ],
)
def test_parameters_of_rcpt(parameters: bytes, code: bytes) -> None:
    async def work() -> None:
        async with serving() as world:
            client = await world.greeted()
            assert (await client.ask(b"MAIL FROM:<a@x.test>"))[:3] == b"250"
            assert (await client.ask(b"RCPT TO:<b@y.test> " + parameters)).startswith(code)
            assert (await client.ask(b"NOOP"))[:3] == b"250"

    run(work)


def test_parameters_reach_the_spool_as_they_came() -> None:
    async def work() -> None:
        async with serving() as world:
            client = await world.greeted()
            assert (await client.ask(b"MAIL FROM:<a@x.test> RET=hdrs ENVID=a+2Bb"))[:3] == b"250"
            assert (await client.ask(b"RCPT TO:<b@y.test> NOTIFY=delay,FAILURE ORCPT=rfc822;B+40y.test"))[:3] == b"250"
            assert (await client.ask(b"RCPT TO:<c@y.test>"))[:3] == b"250"
            assert (await client.data(b"Subject: x\r\n\r\ny\r\n"))[:3] == b"250"
            first, second = world.spool.messages[0].recipients
            assert first.sender_params == {"RET": "hdrs", "ENVID": "a+2Bb"}
            assert first.recipient_params == {"NOTIFY": "delay,FAILURE", "ORCPT": "rfc822;B+40y.test"}
            assert second.recipient_params == {}

    run(work)


def test_parameters_need_ehlo_and_what_it_offered() -> None:
    async def work() -> None:
        hooks = FakeHooks(helo=SmtpVerdict("accept", extensions=("PIPELINING", "8BITMIME")))
        async with serving() as world, serving(hooks=hooks) as bare:
            client = await world.connect()
            await client.reply()
            assert (await client.ask(b"HELO client.test"))[:3] == b"250"
            for command in (b"MAIL FROM:<a@x.test> RET=FULL", b"MAIL FROM:<a@x.test> SMTPUTF8"):
                assert (await client.ask(command)).startswith(UNKNOWN)
            assert (await client.ask("MAIL FROM:<å@x.test> SMTPUTF8".encode())).startswith(b"553 5.6.7")
            assert (await client.ask(b"MAIL FROM:<a@x.test>"))[:3] == b"250"
            assert (await client.ask(b"RCPT TO:<b@x.test> NOTIFY=NEVER")).startswith(UNKNOWN)
            client = await bare.greeted()
            for command in (b"MAIL FROM:<a@x.test> RET=FULL", b"MAIL FROM:<a@x.test> SMTPUTF8"):
                assert (await client.ask(command)).startswith(UNKNOWN)

    run(work)


@pytest.mark.parametrize(
    ("sender", "code"),
    [
        ("<å@x.test> SMTPUTF8".encode(), OK),
        ("<å@räksmörgås.test> SMTPUTF8 BODY=8BITMIME".encode(), OK),
        ('<"å ä"@x.test> SMTPUTF8'.encode(), OK),
        ("<a@例え.テスト> SMTPUTF8".encode(), OK),
        (b"<a@x.test> SMTPUTF8", OK),
        ("<å@x.test>".encode(), b"553 5.6.7"),
        ("<å@x.test> BODY=8BITMIME".encode(), b"553 5.6.7"),
        ("<a@å.test>".encode(), b"553 5.6.7"),
        (b"<\xe5@x.test> SMTPUTF8", b"553 5.6.7"),
        (b"<\xc0\xaf@x.test> SMTPUTF8", b"553 5.6.7"),
        (b"<\xed\xa0\x80@x.test> SMTPUTF8", b"553 5.6.7"),
        ("<a\x85@x.test> SMTPUTF8".encode(), b"553 5.6.7"),
        ("<a\u2028@x.test> SMTPUTF8".encode(), b"553 5.6.7"),
        ("<å\x00@x.test> SMTPUTF8".encode(), b"500 5.5.2"),
        ("<a@å..test> SMTPUTF8".encode(), b"553 5.1.7"),
        (b"<a@" + b"\xe2\x80\x8d" + b".test> SMTPUTF8", b"553 5.1.7"),
        ("<a@x.test> FOO=å SMTPUTF8".encode(), UNKNOWN),
    ],
)
def test_senders_beyond_ascii(sender: bytes, code: bytes) -> None:
    async def work() -> None:
        async with serving() as world:
            client = await world.greeted()
            assert (await client.ask(b"MAIL FROM:" + sender)).startswith(code)
            assert (await client.ask(b"NOOP"))[:3] == b"250"

    run(work)


def test_recipients_beyond_ascii_want_smtputf8_at_mail() -> None:
    async def work() -> None:
        async with serving() as world:
            client = await world.greeted()
            assert (await client.ask(b"MAIL FROM:<a@x.test>"))[:3] == b"250"
            assert (await client.ask("RCPT TO:<å@y.test>".encode())).startswith(b"553 5.6.7")
            assert (await client.ask("RCPT TO:<b@y.test> ORCPT=utf-8;å@y.test".encode())).startswith(b"553 5.6.7")
            assert (await client.ask(b"RSET"))[:3] == b"250"
            assert (await client.ask(b"MAIL FROM:<a@x.test> SMTPUTF8"))[:3] == b"250"
            assert (await client.ask("RCPT TO:<å@y.test> ORCPT=utf-8;å@y.test".encode()))[:3] == b"250"
            assert (await client.ask("RCPT TO:<b@y.test> ORCPT=rfc822;å@y.test".encode())).startswith(BAD)
            assert (await client.ask("RCPT TO:<å@y.test> NOTIFY=å".encode())).startswith(BAD)
            assert (await client.ask("NOOP å".encode())).startswith(b"500 5.5.2")
            assert (await client.data("Subject: å\r\n\r\nå\r\n".encode()))[:3] == b"250"
            message = world.spool.messages[0]
            assert message.recipients[0].recipient.local_part == "å".encode().decode("latin-1")
            assert b" with UTF8SMTP id " in message.header

    run(work)

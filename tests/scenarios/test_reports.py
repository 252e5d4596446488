"""Reports through the whole server: what a sender asks for with RFC 3461, and gets, read by Python's email package."""

from __future__ import annotations

import asyncio
import email
import email.policy
from dataclasses import dataclass
from email.message import EmailMessage, Message
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any

import pytest

from hslpy.admin.queue_commands import queue_commands
from hslpy.clock import ManualClock
from tests.scenarios.harness import Scenario, server
from tests.support.smtp_sink import Received, Sink

AE = "å".encode().decode("latin-1")
CONTENT = "From: a@sender.test\r\nSubject: hello\r\nMessage-ID: <1@x>\r\n\r\nthe text\r\n"


def settings(sink: Sink, more: str = "", protocol: str = "smtp") -> str:
    return (
        f'{more}\n[[transport]]\nid = "mailtransport:1"\nnext_hop = "127.0.0.60"\nport = {sink.port}\n'
        f'protocol = "{protocol}"\ntls = "disabled"\n'
    )


async def submit(s: Scenario, mail: str, *rcpts: str, content: str = CONTENT) -> None:
    client = await s.client()
    for line in ("EHLO client.test", f"MAIL FROM:{mail}", *(f"RCPT TO:{one}" for one in rcpts)):
        assert (await client.say(line)).startswith("250"), line
    assert (await client.say("DATA")).startswith("354")
    assert (await client.say(content + ".")).startswith("250")
    await client.close()


@dataclass
class Report:
    """A report taken apart: the fields on the message, those on the recipient, and the part with the message."""

    envelope: Received
    message: EmailMessage
    text: str
    about: Message
    recipient: Message
    returned: EmailMessage


def read(received: Received) -> Report:
    message = email.message_from_bytes(received.content, policy=email.policy.SMTP)
    assert isinstance(message, EmailMessage) and not message.defects
    assert message.get_content_type() == "multipart/report"
    assert message["Content-Type"].params["report-type"] == "delivery-status"
    explanation, status, returned = message.iter_parts()
    blocks: Any = status.get_payload()
    about, recipient = blocks
    assert isinstance(returned, EmailMessage)
    assert received.mail.startswith("<>") and message["Auto-Submitted"] == "auto-replied"
    assert message["MIME-Version"] == "1.0" and message["Message-ID"] and message["Date"]
    return Report(received, message, explanation.get_content(), about, recipient, returned)


def reports(sink: Sink) -> list[Report]:
    return [read(one) for one in sink.received if one.mail.startswith("<>")]


async def idle(s: Scenario) -> None:
    await s.until(lambda: len(s.app.queue) == 0)


def run(test: Any) -> None:
    asyncio.run(asyncio.wait_for(test(), 60))


def test_a_failure_has_all_that_was_asked_for(tmp_path: Path) -> None:
    async def test() -> None:
        answers: dict[str, Any] = {"RCPT TO:<b": "550-5.1.1 no such\r\n550 5.1.1 user here"}
        more = 'report_from = "postmaster@example.com"\nreport_from_name = "Our Mail"'
        async with Sink("127.0.0.60", answers=answers) as sink, server(tmp_path, settings(sink, more)) as s:
            await submit(
                s,
                "<a@sender.test> RET=FULL ENVID=id+2B1",
                "<b@dest.test> NOTIFY=FAILURE,DELAY ORCPT=rfc822;first+2Btag@dest.test",
                "<b2@dest.test> NOTIFY=NEVER",
                "<good@dest.test> NOTIFY=SUCCESS",
            )
            await idle(s)
            (one,) = reports(sink)  # the server offers DSN: success is its to report
            assert one.envelope.rcpts == ["<a@sender.test> NOTIFY=NEVER"] and one.message["To"] == "a@sender.test"
            assert one.message["From"] == "Our Mail <postmaster@example.com>"
            assert one.about["Reporting-MTA"] == "dns; mail.example.com"
            assert one.about["Original-Envelope-Id"] == "id+1"
            assert one.about["Received-From-MTA"] == "dns; client.test"
            assert parsedate_to_datetime(one.about["Arrival-Date"])
            assert one.recipient["Original-Recipient"] == "rfc822; first+tag@dest.test"
            assert one.recipient["Final-Recipient"] == "rfc822; b@dest.test"
            assert one.recipient["Action"] == "failed" and one.recipient["Status"] == "5.1.1"
            assert one.recipient["Remote-MTA"] == "dns; 127.0.0.60"
            assert one.recipient["Diagnostic-Code"] == "smtp; 550 5.1.1 no such user here"
            assert parsedate_to_datetime(one.recipient["Last-Attempt-Date"])
            assert one.recipient["Will-Retry-Until"] is None
            assert "b@dest.test" in one.text and "no such user here" in one.text
            assert one.returned.get_content_type() == "message/rfc822"
            assert one.returned.get_content()["Subject"] == "hello"
            mail = next(received for received in sink.received if not received.mail.startswith("<>"))
            assert " RET=FULL ENVID=id+2B1" in mail.mail and mail.rcpts == ["<good@dest.test> NOTIFY=SUCCESS"]

    run(test)


@pytest.mark.parametrize(
    ("sender", "rcpt", "ret", "kind"),
    [
        ("<a@sender.test> RET=HDRS", "<b@dest.test>", "HDRS", "text/rfc822-headers"),
        ("<a@sender.test>", "<b@dest.test>", "", "message/rfc822"),
        ("<a@sender.test>", "<b@dest.test> NOTIFY=SUCCESS,DELAY", "", ""),
        ("<>", "<b@dest.test> NOTIFY=FAILURE", "", ""),
    ],
)
def test_what_comes_back_of_a_failure(tmp_path: Path, sender: str, rcpt: str, ret: str, kind: str) -> None:
    async def test() -> None:
        async with Sink("127.0.0.60", answers={"RCPT TO:<b": "554 no"}) as sink, server(tmp_path, settings(sink)) as s:
            await submit(s, sender, rcpt)
            await idle(s)
            found = reports(sink)
            assert [one.returned.get_content_type() for one in found] == ([kind] if kind else [])
            assert [one.recipient["Status"] for one in found] == ["5.0.0"] * len(found)

    run(test)


@pytest.mark.parametrize("protocol", ["smtp", "lmtp"])
def test_success_is_ours_to_report_where_the_next_server_does_not(tmp_path: Path, protocol: str) -> None:
    async def test() -> None:
        async with (
            Sink("127.0.0.60", extensions=("PIPELINING",), lmtp=protocol == "lmtp") as sink,
            server(tmp_path, settings(sink, protocol=protocol)) as s,
        ):
            await submit(
                s,
                "<a@sender.test> RET=FULL ENVID=e1",
                "<b@dest.test> NOTIFY=SUCCESS,FAILURE ORCPT=rfc822;o@dest.test",
                "<c@dest.test>",
                "<d@dest.test> NOTIFY=FAILURE",
                "<e@dest.test> NOTIFY=NEVER",
            )
            await idle(s)
            (one,) = reports(sink)
            assert one.recipient["Action"] == ("delivered" if protocol == "lmtp" else "relayed")
            assert one.recipient["Status"] == "2.0.0" and one.recipient["Final-Recipient"] == "rfc822; b@dest.test"
            assert one.recipient["Original-Recipient"] == "rfc822; o@dest.test"
            assert one.about["Original-Envelope-Id"] == "e1"
            assert one.recipient["Diagnostic-Code"] == "smtp; 250 2.0.0 queued"
            assert one.returned.get_content_type() == "text/rfc822-headers"
            assert one.envelope.rcpts == ["<a@sender.test>"]
            sent = sink.received[0]
            assert sent.mail == "<a@sender.test>" and all(" " not in rcpt for rcpt in sent.rcpts)
            assert len(sink.received) == 2

    run(test)


def test_a_delay_is_told_once_at_each_age_over_a_restart(tmp_path: Path) -> None:
    async def test() -> None:
        clock = ManualClock()
        hooks = (
            "[queue]\ndelay_warning_after_s = [3600, 20000]\n[queue.schedule]\nwait_s = 1800\nceiling_s = 1800\njitter = 0\n"
        )
        answers: dict[str, Any] = {"RCPT TO:<b": "451 4.7.1 greylisted"}
        async with Sink("127.0.0.60", answers=answers) as sink:
            start = clock.time()
            ages: list[float] = []
            async with server(tmp_path, settings(sink, hooks), clock=clock) as s:
                await submit(s, "<a@sender.test> ENVID=e1", "<b@dest.test> ORCPT=rfc822;b@dest.test")
                await s.until(lambda: s.events()["delivery.deferred"] == 1)
            for _ in range(14):
                async with server(tmp_path, settings(sink, hooks), clock=clock) as s:
                    clock.advance(1800.0)
                    await s.until(lambda s=s: s.events()["delivery.deferred"] == 1 and len(s.app.queue) == 1)
                    if len(reports(sink)) > len(ages):
                        ages.append(clock.time() - start)
            assert ages == [3600.0, 21600.0]
            one = reports(sink)[0]
            assert one.recipient["Action"] == "delayed" and one.recipient["Status"] == "4.7.1"
            assert one.recipient["Diagnostic-Code"] == "smtp; 451 4.7.1 greylisted"
            until = parsedate_to_datetime(one.recipient["Will-Retry-Until"]).timestamp()
            assert abs(until - start - 5 * 86400) <= 1
            assert one.returned.get_content_type() == "text/rfc822-headers" and "still tried" in one.text

    run(test)


def test_8bit_mail_comes_back_whole_over_any_server(tmp_path: Path) -> None:
    async def test() -> None:
        answers: dict[str, Any] = {"RCPT TO:<b": "550 5.1.1 no"}
        head = "Subject: x\r\nMIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\n"
        async with Sink("127.0.0.60", answers=answers, extensions=()) as sink, server(tmp_path, settings(sink)) as s:
            await submit(s, "<a@sender.test> BODY=8BITMIME", "<b@dest.test>", content=head + f"\r\nthe letter {AE}\r\n")
            await idle(s)
            (one,) = reports(sink)
            assert one.envelope.content.isascii()
            assert one.returned.get_content_type() == "message/rfc822"
            assert one.returned.get_content().get_content() == "the letter å\r\n"

    run(test)


def test_internationalised_mail_that_cannot_go_on(tmp_path: Path) -> None:
    async def test() -> None:
        async with Sink("127.0.0.60", extensions=("8BITMIME", "DSN")) as sink, server(tmp_path, settings(sink)) as s:
            utf8 = f"Subject: {AE}\r\n\r\nx\r\n"
            await submit(s, "<a@sender.test> SMTPUTF8", f"<{AE}@dest.test> ORCPT=utf-8;\\x{{E4}}@dest.test")
            await submit(s, "<a@sender.test> SMTPUTF8", "<b@dest.test>", content=utf8)
            await submit(s, "<a@sender.test> SMTPUTF8", "<b@xn--4ca.test>")
            await submit(s, "<a@sender.test> SMTPUTF8", f"<b@{AE}.test>")
            await idle(s)
            found = {one.recipient["Status"]: one for one in reports(sink)}
            assert set(found) == {"5.6.7", "5.6.9"} and len(reports(sink)) == 2
            one = found["5.6.7"]
            assert one.recipient["Final-Recipient"] == "utf-8; \\x{E5}@dest.test"
            assert one.recipient["Original-Recipient"] == "utf-8; \\x{E4}@dest.test"
            assert "å@dest.test" in one.text and one.envelope.content.isascii()
            assert found["5.6.9"].returned.get_content_type() == "message/global"
            assert found["5.6.9"].envelope.content.isascii()
            sent = [one for one in sink.received if not one.mail.startswith("<>")]
            assert sorted(one.rcpts for one in sent) == [["<b@xn--4ca.test>"], ["<b@xn--5ca.test>"]]
            assert not any("SMTPUTF8" in one.mail for one in sent)

    run(test)


def test_a_report_to_an_address_beyond_ascii_is_utf8(tmp_path: Path) -> None:
    async def test() -> None:
        answers: dict[str, Any] = {"RCPT TO:<b": "550 5.1.1 no"}
        able = ("8BITMIME", "SMTPUTF8", "DSN")
        async with Sink("127.0.0.60", answers=answers, extensions=able) as sink, server(tmp_path, settings(sink)) as s:
            await submit(s, f"<{AE}@sender.test> SMTPUTF8", "<b@dest.test>", content=f"Subject: {AE}\r\n\r\n{AE}\r\n")
            await idle(s)
            (got,) = sink.received
            assert got.mail == "<> BODY=8BITMIME SMTPUTF8"
            assert got.rcpts == [f"<{AE}@sender.test> NOTIFY=NEVER"]
            message = email.message_from_bytes(got.content, policy=email.policy.SMTPUTF8)
            assert isinstance(message, EmailMessage)
            assert "\r\nTo: <å@sender.test>\r\n".encode() in got.content
            kinds = [part.get_content_type() for part in message.iter_parts()]
            assert kinds == ["text/plain", "message/global-delivery-status", "message/global"]

    run(test)


def test_scripts_see_and_set_what_is_asked_of_reports(tmp_path: Path) -> None:
    async def test() -> None:
        files = {
            "mailfrom": 'if ($senderparams["ENVID"] != "e1" or $senderparams["SMTPUTF8"] != "") Reject("mailfrom");',
            "rcptto": 'if ($arguments["params"]["NOTIFY"] != "NEVER") Reject("rcptto");',
            "predelivery": """
                if ($sender == "") Try();
                if ($message["dsn"] != ["envid" => "e1", "ret" => "HDRS", "notify" => "NEVER", "orcpt" => ""]) Delete();
                SetRecipientParams(["NOTIFY" => "SUCCESS"]);
                SetDSN(["from" => "reports@example.com", "from_name" => "Reports", "recipient" => "other@sender.test"]);
                Try();
            """,
        }
        hooks = "[hooks]\n"
        for name, text in files.items():
            (tmp_path / f"{name}.hsl").write_text(text)
            hooks += f'{name} = "{tmp_path}/{name}.hsl"\n'
        async with Sink("127.0.0.60", extensions=()) as sink, server(tmp_path, settings(sink) + hooks) as s:
            await submit(s, "<a@sender.test> ENVID=e1 RET=HDRS SMTPUTF8", "<b@dest.test> NOTIFY=NEVER")
            await idle(s)
            (one,) = reports(sink)
            assert one.recipient["Action"] == "relayed" and one.message["From"] == "Reports <reports@example.com>"
            assert one.envelope.rcpts == ["<other@sender.test>"]

    run(test)


def test_an_operator_reads_and_finds_addresses_as_people_write_them(tmp_path: Path) -> None:
    async def test() -> None:
        async with server(tmp_path, deliver=False) as s:
            await submit(s, "<a@sender.test> SMTPUTF8", f"<{AE}@dest.test>", "<b@dest.test>")
            commands = queue_commands(s.app.queue, s.app.spool)
            answer = await commands["queue.list"]({"filter": {"recipient": "å@dest.test"}})
            assert [row["recipient"] for row in answer["recipients"]] == ["å@dest.test"]

    run(test)

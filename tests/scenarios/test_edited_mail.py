"""Mail that scripts change or make, through the whole server: what arrives is what was edited, and its signature holds."""

from __future__ import annotations

import asyncio
import email
import email.policy
from pathlib import Path
from typing import Any

import dkim

from tests.builtins.host.test_dkim import keys
from tests.scenarios.harness import Scenario, server
from tests.support.smtp_sink import Sink

MESSAGE = (
    "From: a@example.com\r\nSubject: hello\r\nContent-Type: text/html; charset=utf-8\r\n\r\n"
    '<a href="http://example.net/">here</a>\r\n.\r\n'
)


def hook(folder: Path, name: str, text: str) -> str:
    (folder / f"{name}.hsl").write_text(text)
    return f'{name} = "{folder}/{name}.hsl"\n'


def settings(sink: Sink, hooks: str) -> str:
    transports = "".join(
        f'[[transport]]\nid = "{name}"\nnext_hop = "127.0.0.50"\nport = {sink.port}\nallow_private_targets = true\n'
        for name in ("mailtransport:1", "default")
    )
    return f"{transports}[hooks]\n{hooks}"


def verified(content: bytes) -> bool:
    return bool(dkim.verify(content, dnsfunc=lambda name, timeout=5: keys()["rsa-sha256"][1]))


async def arrivals(s: Scenario, sink: Sink, number: int) -> list[Any]:
    await s.until(lambda: len(sink.received) == number and len(s.app.queue) == 0)
    return sorted(sink.received, key=lambda one: one.rcpts)


def test_a_body_edited_at_the_end_of_data_is_signed_and_delivered(tmp_path):
    script = f"""
    $mail = $arguments["mail"];
    $key = ''{keys()["rsa-sha256"][0]}'';
    foreach ($transaction["recipients"] as $recipient) {{
        $id = $mail->snapshot();
        $body = str_replace("example.net", "track.example", $mail->getBody());
        $mail->setBody($body . "<i>for " . $recipient["recipient"] . ", grün</i>");
        $mail->appendPart(MIME()->setType("text/x-footer")->setBody("the end"));
        $mail->signDKIM("s1", "example.com", $key, ["canonicalization_body" => "simple"]);
        $mail->queue($transaction["senderaddress"], $recipient["address"], $recipient["transportid"]);
        $mail->restore($id);
    }}
    Accept();
    """

    async def scenario():
        async with Sink("127.0.0.50") as sink, server(tmp_path, settings(sink, hook(tmp_path, "eod", script))) as s:
            client = await s.client()
            assert (await client.send("a@example.com", "b@example.org", "c@example.org", content=MESSAGE)).startswith("250")
            for name, received in zip("bc", await arrivals(s, sink, 2), strict=True):
                assert verified(received.content)
                assert not verified(received.content.replace(b"footer", b"header"))
                message = email.message_from_bytes(received.content, policy=email.policy.default)
                html, footer = message.iter_parts()
                assert html.get_content().replace("\r\n", "\n") == (
                    f'<a href="http://track.example/">here</a>\n.\n<i>for {name}@example.org, grün</i>'
                )
                assert footer.get_payload(decode=True) == b"the end" and message["subject"] == "hello"

    asyncio.run(scenario())


def test_the_classic_hook_edits_for_all_recipients_after_it(tmp_path):
    script = """
    if ($recipient == "c@example.org") GetMailMessage()->setBody("for c and who comes after");
    Deliver();
    """

    async def scenario():
        async with Sink("127.0.0.50") as sink, server(tmp_path, settings(sink, hook(tmp_path, "data", script))) as s:
            client = await s.client()
            to = ("b@example.org", "c@example.org", "d@example.org")
            assert (await client.send("a@example.com", *to, content=MESSAGE)).startswith("250")
            bodies = {}
            for received in await arrivals(s, sink, 2):
                for recipient in received.rcpts:
                    bodies[recipient[1]] = received.content.partition(b"\r\n\r\n")[2]
            assert bodies == {
                "b": MESSAGE.partition("\r\n\r\n")[2].encode(),
                "c": b"for c and who comes after\r\n",
                "d": b"for c and who comes after\r\n",
            }

    asyncio.run(scenario())


def test_mail_of_scripts_is_queued_at_rcpt_and_sent_at_eod(tmp_path):
    rcptto = """
    mail("postmaster@example.com", "info@example.org", "Seen", "someone writes to $recipient", "mailtransport:1");
    Accept();
    """
    eod = """
    $r = $arguments["mail"]->send($transaction["senderaddress"], ["x@example.org"], "mailtransport:1");
    if ($r["result"]["state"] == "EOD")
        Accept(["reason" => $r["result"]["reason"], "reply_codes" => ["code" => $r["result"]["code"]]]);
    Defer($r["error"]["message"]);
    """

    async def scenario():
        hooks = hook(tmp_path, "rcptto", rcptto) + hook(tmp_path, "eod", eod)
        async with Sink("127.0.0.50") as sink, server(tmp_path, settings(sink, hooks)) as s:
            sink.answers["EOD"] = "250 2.0.0 It is here"
            client = await s.client()
            reply = await client.send("a@example.com", "b@example.net", content=MESSAGE)
            assert reply == "250 2.0.0 It is here"
            told, sent = await arrivals(s, sink, 2)
            assert told.rcpts == ["<info@example.org>"] and b"Subject: Seen" in told.content
            assert sent.content.endswith(MESSAGE.encode()) and sent.rcpts == ["<x@example.org>"]
            assert s.events()["hooks.queued"] == 1

    asyncio.run(scenario())


def test_scripts_read_queued_mail_and_say_what_a_report_is_like(tmp_path):
    eod = """
    $arguments["mail"]->setBody("edited");
    $arguments["mail"]->queue($transaction["senderaddress"], "b@example.org", "default", ["tenantid" => "t1",
        "dsn" => ["envid" => "e1", "notify" => "FAILURE"]]);
    Accept();
    """
    pre = """
    if ($message["sender"] == "") Try();
    $mail = MailMessage::File(File($message["file"]["modified"]));
    echo [$mail->getBody(), MailMessage::File(File($message["file"]["original"]))->getType()];
    echo [$message["dsn"], $message["tenantid"]];
    SetDSN(["from_name" => "never seen"]);
    """
    post = f"""
    if ($message["sender"] == "") Default();
    $key = ''{keys()["rsa-sha256"][0]}'';
    echo $arguments["dsn"];
    echo File($message["file"]["modified"])->read() =~ "edited";
    Bounce(["dsn" => ["recipient" => "boss@example.com", "from" => "out@example.com", "from_name" => "Mail (grün)",
        "transportid" => "default", "jobid" => "reports", "metadata" => ["kind" => "report"],
        "dkim" => ["selector" => "s1", "domain" => "example.com", "key" => $key]]]);
    """

    async def scenario():
        hooks = hook(tmp_path, "eod", eod) + hook(tmp_path, "predelivery", pre) + hook(tmp_path, "postdelivery", post)
        async with Sink("127.0.0.50") as sink, server(tmp_path, settings(sink, hooks)) as s:
            sink.answers["RCPT TO:<b@"] = "550 5.1.1 No such user"
            client = await s.client()
            assert (await client.send("a@example.com", "b@example.org", content=MESSAGE)).startswith("250")
            (report,) = await arrivals(s, sink, 1)
            assert report.rcpts[0].startswith("<boss@example.com>") and verified(report.content)
            message = email.message_from_bytes(report.content, policy=email.policy.default)
            assert message["from"] == '"Mail (grün)" <out@example.com>' and message["to"] == "boss@example.com"
            assert message.get_content_type() == "multipart/report"
            assert [fields["text"] for fields in s.fields_of("hooks.echo")] == [
                '[0=>"edited\r\n",1=>"text/html"]',
                '[0=>["envid"=>"e1","ret"=>"","notify"=>"FAILURE","orcpt"=>""],1=>"t1"]',
                '["action"=>"failed","status"=>[0=>5,1=>1,2=>1],"diagnostictype"=>"smtp",'
                '"diagnosticcode"=>"550 5.1.1 No such user"]',
                "true",
            ]

    asyncio.run(scenario())

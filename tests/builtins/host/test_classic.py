"""What only the classic end of DATA has: the route, bounces, attachments, the client's name, delivery in line."""

from __future__ import annotations

import pytest

from hslpy.mail.attempt import AttemptFacts
from hslpy.mail.received import parse_received
from hslpy.spool.contract import SpoolError
from tests.hooks.world import World

MIXED = (
    b"Received: from a.example (ptr.example [192.0.2.9])\r\n\tby b.example with ESMTPS id 12 for <x@y.z>;\r\n"
    b"\tTue, 14 Nov 2023 22:13:20 +0000\r\nReceived: by c.example; nonsense\r\n"
    b'Received: from d ([IPv6:2001:db8::1]) by e\r\nFrom: "A, B" <a@b.c>, d@e.f\r\n'
    b"Content-Type: multipart/mixed; boundary=x\r\n\r\n--x\r\nContent-Type: text/plain\r\n\r\nhi\r\n--x\r\n"
    b'Content-Type: image/png; name="Logo.PNG"\r\nContent-Transfer-Encoding: base64\r\n\r\niVBORw0KGgo=\r\n--x--\r\n'
)
BOUNCE = (
    b"Content-Type: multipart/report; boundary=x\r\n\r\n--x\r\n\r\nSorry\r\n--x\r\n"
    b"Content-Type: message/delivery-status\r\n\r\n"
    b"Reporting-MTA: dns; mx.example\n\nFinal-Recipient: rfc822; a@b.c\nAction: failed\nStatus: 5.1.1\n\n"
    b"Final-Recipient: rfc822; d@e.f\nStatus: 4.2.2\n\r\n--x\r\nContent-Type: message/rfc822\r\n\r\n"
    b"Subject: =?UTF-8?Q?gr=C3=BCn?=\r\nMessage-ID: <1@b.c>\r\n\r\nbody\r\n--x--\r\n"
)


@pytest.mark.parametrize(
    ("expression", "wanted"),
    [
        ("GetRoute()", '[0=>"192.0.2.9",1=>"2001:db8::1"]'),
        ("count(GetRoute(true))", "3"),
        (
            "GetRoute(true)[0]",
            '["helo"=>"a.example","by"=>"b.example","with"=>"ESMTPS","id"=>"12","for"=>"x@y.z","ip"=>"192.0.2.9","ts"=>1700000000]',
        ),
        ("GetRoute(true)[1]", '["by"=>"c.example"]'),
        ('GetAddressList(GetHeader("From"))', '[0=>"a@b.c",1=>"d@e.f"]'),
        ('GetAddressList("<<")', "[]"),
        ('GetAttachmentsByName("logo")', '[0=>"2"]'),
        ("GetAttachmentsByName(#/logo/)", "[]"),
        ('GetAttachmentsByType("^TEXT/|^image/")', '[0=>"1",1=>"2"]'),
        ('GetAttachmentName(["2", "1", "9"])', '[0=>"Logo.PNG",1=>none,2=>none]'),
        ('GetAttachmentType("2")', '[0=>"image/png"]'),
        ('GetAttachmentSize(["2", "/"])', f"[0=>8,1=>{len(MIXED)}]"),
        ('GuessAttachmentType(["2", "1", "9"])', '[0=>"image/png",1=>"text/plain",2=>none]'),
        ("GetDSN()", "false"),
        ('GetDSNHeader("Subject")', ""),
        ("GetMailFile()->readline()", "Received: from a.example (ptr.example [192.0.2.9])"),
        ('SetSenderIP("nowhere")', "none"),
        ('SetSenderHELO("no where")', "none"),
        (
            'SetSender(["localpart" => "x", "domain" => "y.z", "params" => ["RET" => "HDRS"]])["domain"] . $sender',
            "y.zx@y.z",
        ),
    ],
)
def test_of_a_message(world: World, expression: str, wanted: str) -> None:
    world.run("data", f"echo {expression};", world.data(content=MIXED))
    assert world.echoed() == [wanted]


def test_a_bounce(world: World) -> None:
    script = """
    $dsn = GetDSN();
    echo [$dsn["message"], count($dsn["recipients"]), $dsn["recipients"][0]["status"]];
    echo [GetDSNHeader("subject"), GetDSNHeader("subject", true), GetDSNHeader("x")];
    """
    world.run("data", script, world.data(content=BOUNCE))
    assert world.echoed() == [
        '[0=>["reporting-mta"=>"dns; mx.example"],1=>2,2=>"5.1.1"]',
        '[0=>"grün",1=>"=?UTF-8?Q?gr=C3=BCn?=",2=>""]',
    ]


def test_attachments_are_removed_and_the_file_shows_it(world: World) -> None:
    script = """
    RemoveAttachments(GetAttachmentsByType("^image/"));
    RemoveAttachments("9");
    echo GetMailFile()->read() === GetMailFile(["changes" => true])->read();
    Deliver();
    """
    verdict = world.run("data", script, world.data(content=MIXED))
    (delivery,) = verdict.deliveries
    assert delivery.header is None or delivery.header in MIXED
    assert delivery.body == b"--x\r\nContent-Type: text/plain\r\n\r\nhi\r\n--x--\r\n"
    assert world.echoed() == ["false"]


def test_the_client_as_a_script_calls_it(world: World) -> None:
    script = """
    if ($recipient == "b@example.org") { echo [$senderip, $senderhelo]; Deliver(["jobid" => "j"]); }
    echo [SetSenderIP("2001:DB8::1"), SetSenderHELO("new.example")];
    echo [$senderip, $senderhelo, $connection["remoteip"], $connection["helo"]["host"]];
    Deliver();
    """
    verdict = world.run("data", script, world.data("a@example.org", "b@example.org"))
    assert (verdict.remote_ip, verdict.helo, verdict.deliveries[1].job_id) == ("2001:db8::1", "new.example", "j")
    assert world.echoed()[1:] == [
        '[0=>"2001:db8::1",1=>"new.example",2=>"2001:db8::1",3=>"new.example"]',
        '[0=>"2001:db8::1",1=>"new.example"]',
    ]


@pytest.mark.parametrize(
    ("answer", "action", "code", "text"),
    [
        (
            AttemptFacts(0.1, code=250, enhanced=(2, 0, 0), reason=("Ok: queued as 7",), state="EOD"),
            "accept",
            250,
            "queued as 7",
        ),
        (AttemptFacts(0.1, code=451, enhanced=None, reason=("Later",), state="RCPT"), "defer", 451, "Later"),
        (AttemptFacts(0.1, code=421, enhanced=None, reason=("Bye",), state="RCPT"), "defer", 451, "Bye"),
        (AttemptFacts(0.1, code=550, enhanced=(5, 7, 1), reason=("Spam", "go away"), state="EOD"), "reject", 550, "go away"),
        (AttemptFacts(0.1, error="no route to 10.0.0.1"), "defer", 451, "cannot be reached"),
        (AttemptFacts(0.1, error="null MX", error_temporary=False), "reject", 550, "takes no mail"),
    ],
)
@pytest.mark.parametrize("call", ["DirectDeliver();", 'Deliver(["queue" => false]);', 'DirectDeliver("x@y.z", "other");'])
def test_in_line(world: World, answer: AttemptFacts, action: str, code: int, text: str, call: str) -> None:
    world.outbox.answer = answer
    verdict = world.run("data", 'AddHeader("X-A", "1"); ' + call, world.data())
    assert (verdict.action, verdict.reply.code, verdict.deliveries) == (action, code, ())
    assert text in str(verdict.reply) and "10.0.0.1" not in str(verdict.reply)
    (sending,) = world.outbox.sent
    named = "x@y.z" in call
    assert str(sending.recipients[0]) == ("x@y.z" if named else "rcpt@example.org")
    assert sending.transport_id == ("other" if named else "default") and sending.content.startswith(b"X-A: 1\r\n")


@pytest.mark.parametrize(
    ("expression", "message"),
    [
        ('RemoveAttachments("/")', "not the whole message"),
        ('GetMailFile(["change" => true])', "did you mean `changes`?"),
        ("GetAttachmentName([1])", "wants strings"),
        ('Deliver(["quotas" => []])', "not supported"),
    ],
)
def test_mistakes(world: World, expression: str, message: str) -> None:
    assert world.run("data", f"{expression};", world.data(content=MIXED)).failed
    assert message in world.failure()


@pytest.mark.parametrize(
    ("value", "wanted"),
    [
        ("", {}),
        (";", {}),
        ("from x (1.2.3.4) by y", {"helo": "x", "ip": "1.2.3.4", "by": "y"}),
        ("from [9.9.9.9] (EHLO z) by y id\t5", {"helo": "[9.9.9.9]", "ip": "9.9.9.9", "by": "y", "id": "5"}),
        ("from 999.1.1.1 by y; 99 Foo 2023", {"helo": "999.1.1.1", "by": "y"}),
        ("(" * 5000, {}),
    ],
)
def test_received(value: str, wanted: dict[str, str]) -> None:
    assert parse_received(value) == wanted


def test_the_names_of_functions(world: World) -> None:
    names = '["GetHeader", "strlen", "Try", "MIME", "getBody"]'
    script = f"$all = get_defined_functions(); foreach ({names} as $f) echo array_includes($f, $all);"
    world.run("data", script, world.data(content=MIXED))
    assert world.echoed() == ["true", "true", "false", "false", "false"]


def test_the_file_of_a_queued_message(world: World) -> None:
    async def sent() -> bytes:
        return b"sent"

    async def received() -> bytes:
        raise SpoolError("gone")

    script = 'echo [GetMailFile(["changes" => true])->read(), GetMailFile()->read(), isset($message["file"]["original"])];'
    world.run("predelivery", script, world.pre(content=sent, received=received))
    world.run("predelivery", "echo GetMailFile();")
    assert world.echoed() == ['[0=>"sent",1=>none,2=>true]', "none"]

"""Mail that scripts make: queued at any hook, sent at once, as files; and what is refused."""

from __future__ import annotations

import email
import email.policy

import pytest

from hslpy.mail.attempt import AttemptFacts
from tests.hooks.world import World


def test_a_built_message_is_queued_from_any_hook(world: World) -> None:
    script = """
    $id = MIME()->addHeader("Subject", "Hello")->setBody("Hi")
        ->queue("", ["localpart" => "info", "domain" => "example.com", "params" => ["ORCPT" => "rfc822;x"]], "outbound", [
            "metadata" => ["a" => "b"], "hold" => true, "jobid" => "j", "delay" => 60, "priority" => 3, "tenantid" => "t",
            "dsn" => ["envid" => "e", "ret" => "hdrs", "notify" => ["FAILURE", "DELAY"]]]);
    echo [is_string($id["transaction"]), $id["queue"]];
    Reject();
    """
    assert world.run("connect", script).action == "reject"
    assert world.echoed() == ["[0=>true,1=>1]"]
    (message,) = world.outbox.queued
    (one,) = message.recipients
    assert str(one.recipient) == "info@example.com" and one.sender.is_null and one.transport_id == "outbound"
    assert (one.metadata, one.hold, one.job_id, one.priority, one.tenant_id) == ({"a": "b"}, True, "j", 3, "t")
    assert one.due_at == world.clock.time() + 60 and message.header.startswith(b"Subject: Hello\r\n")
    assert one.sender_params == {"ENVID": "e", "RET": "HDRS"}
    assert one.recipient_params == {"ORCPT": "rfc822;x", "NOTIFY": "FAILURE,DELAY"}
    assert world.logged("hooks.queued")[0]["hook"] == "connect"


@pytest.mark.parametrize(
    ("arguments", "transport", "kind"),
    [
        ('"mailtransport:7"', "mailtransport:7", "text/plain"),
        ('"mailtransport:7", ["headers" => ["X-A" => "1"]]', "mailtransport:7", "text/plain"),
        ('["plaintext" => false, "rawbody" => true, "jobid" => "j"]', "mailtransport:1", "text/html"),
    ],
)
def test_mail(world: World, arguments: str, transport: str, kind: str) -> None:
    script = f"""
    $body = "How about Friday?\\nYes\\xc3\\xa5";
    echo mail("postmaster@example.com", "info@example.org", "Lunch \\xc3\\xa5", $body, {arguments});
    """
    world.run("rcptto", script)
    (message,) = world.outbox.queued
    assert world.echoed() == [message.transaction_id]
    assert message.recipients[0].transport_id == transport
    assert message.recipients[0].job_id == ("j" if "jobid" in arguments else "")
    read = email.message_from_bytes(message.header + message.body, policy=email.policy.default)
    assert (read["subject"], read["from"], read["to"]) == ("Lunch å", "postmaster@example.com", "info@example.org")
    assert read.get_content_type() == kind and read.get_content().rstrip() == "How about Friday?\nYeså"
    assert read["message-id"].endswith("@localhost>") and read["date"] and read["x-a"] in (None, "1")


def test_names_in_mail_cannot_add_fields(world: World) -> None:
    script = """
    mail("", "b@c.d", "a\\r\\nBcc: x@y.z", "body", [
        "sender_name" => "A \\"B\\" \\r\\nBcc: x@y.z", "recipient_name" => "gr\\xc3\\xbcn"]);
    """
    world.run("rcptto", script)
    read = email.message_from_bytes(world.outbox.queued[0].header, policy=email.policy.default)
    assert "bcc" not in read and read["from"].addresses[0].addr_spec == "postmaster@localhost"
    assert read["to"].addresses[0].display_name == "grün"


def test_a_message_is_queued_as_edited(world: World) -> None:
    script = """
    $mail = $arguments["mail"];
    $copy = MailMessage::File($mail->toFile());
    $copy->setBody("other");
    echo $copy->toFile()->read() === $copy->toString();
    $copy->queue("a@b.c", "d@e.f", "default");
    echo MIME()->setBody("x")->toFile()->readline();
    $file = File::String("A: b\\n\\nc");
    $file->read();
    echo MailMessage::File($file)->getHeader("a");
    Reject();
    """
    assert not world.run("eod", script, world.data()).failed
    assert world.outbox.queued[0].body == b"other\r\n"
    assert world.echoed() == ["true", "MIME-Version: 1.0", "b"]


def test_the_early_send_queues(world: World) -> None:
    world.run("rcptto", 'echo MIME()->send("", "a@b.c", "mailtransport:1", ["metadata" => ["k" => "v"]]);')
    (message,) = world.outbox.queued
    assert world.echoed() == [message.transaction_id] and message.recipients[0].metadata == {"k": "v"}


def test_send(world: World) -> None:
    world.outbox.answer = AttemptFacts(0.5, code=250, enhanced=(2, 0, 0), reason=("Ok",), state="EOD", local_ip="192.0.2.1")
    script = """
    $r = MailMessage::String("A: b\\n\\nc")->send(
        ["localpart" => "nick", "domain" => "example.org"],
        [["localpart" => "chris", "domain" => "example.com", "params" => ["NOTIFY" => "DELAY"]], "d@example.com"],
        ["host" => "10.2.0.1", "port" => 2525, "tls" => "require", "sourceip" => "192.0.2.2", "helo" => "h.example",
         "saslusername" => "u", "saslpassword" => "p", "timeout" => ["EOD" => 5, "MAIL" => 2], "connect_timeout" => 1,
         "protocol" => "lmtp", "tls_verify_host" => true, "tls_protocols" => "TLSv1.3", "xclient" => ["ADDR" => "x"]]);
    echo [$r["result"], isset($r["error"]), count($r["recipients"]), $r["connection"]["localip"]];
    """
    world.run("connect", script)
    assert world.echoed() == [
        '[0=>["code"=>250,"reason"=>[0=>"Ok"],"state"=>"EOD","enhanced"=>[0=>2,1=>0,2=>0]],1=>false,2=>2,3=>"192.0.2.1"]'
    ]
    (sending,) = world.outbox.sent
    options = sending.options
    assert sending.content == b"A: b\r\n\r\nc\r\n" and sending.recipient_params == ({"NOTIFY": "DELAY"}, {})
    assert (options.host, options.port, options.tls, options.protocol) == ("10.2.0.1", 2525, "require", "lmtp")
    assert options.sources[0].id == "netaddr:2" and options.state_timeouts == {"EOD": 5, "MAIL": 2}
    assert options.tls_protocols == "TLSv1.3" and options.tls_verify_host is True


def test_send_without_a_server_at_hand(world: World) -> None:
    world.run("connect", 'echo MIME()->send("", ["a@b.c"], "mailtransport:1")["error"];')
    assert world.echoed() == ['["temporary"=>true,"message"=>"no mail is sent outside a server","type"=>"config"]']


@pytest.mark.parametrize(
    ("expression", "message"),
    [
        ('MIME()->queue("", "", "t")', "wants an address"),
        ('MIME()->queue("", "a@b.c", "t", ["quotas" => []])', "`quotas` of queue() is not supported"),
        ('MIME()->queue("", "a@b.c", "t", ["dsn" => ["notify" => "NEVER,DELAY"]])', "wants `notify`"),
        ('MIME()->queue("", "a@b.c", "t", ["dsn" => ["ret" => "half"]])', "wants `ret`"),
        ('MIME()->queue("", "a@b.c", "t", ["priority" => 1.5])', "wants `priority` as a whole number"),
        ('MIME()->send("", [], ["host" => "a"])', "1 to 1,000 recipients"),
        ('MIME()->send("", ["a@b.c"], [])', "wants `host`"),
        ('MIME()->send("", ["a@b.c"], ["host" => "a b"])', "wants a host name"),
        ('MIME()->send("", ["a@b.c"], ["host" => "a", "tls" => "no"])', "no TLS mode"),
        ('MIME()->send("", ["a@b.c"], ["host" => "a", "timeout" => ["BYE" => 1]])', 'knows no state "BYE"'),
        ('MIME()->send("", ["a@b.c"], ["host" => "a", "sourceip" => "192.0.2.99"])', "is not configured"),
        ('MIME()->send("", "a@b.c", ["host" => "a"])', "wants a transport's id"),
        ('MIME()->send("", ["a@b.c"], ["host" => "a", "xclient" => ["NAME=x ADDR" => "y"]])', "wants names such as ADDR"),
        ('mail("a@b.c", "d@e.f", "s", "b", "t", ["template" => "x"])', "not supported"),
        ('mail("a@b.c", "d@e.f", "s", "b", "t", ["header" => []])', "did you mean `headers`?"),
        ('mail("a@b.c", "no address", "s", "b", "t")', "wants an address"),
    ],
)
def test_mistakes(world: World, expression: str, message: str) -> None:
    assert world.run("rcptto", f"{expression};").failed
    assert message in world.failure()

"""Pre- and post-delivery: setters and options become TryOptions, verdicts become QueueVerdicts."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from hslpy.mail.verdict import QueueOptions, QueueVerdict, SourceChoice, TryOptions
from tests.hooks.world import World, address


def pre(world: World, script: str, **services: Any) -> QueueVerdict:
    verdict: QueueVerdict = world.run("predelivery", script, **services)
    return verdict


def test_implicit_verdicts(world: World) -> None:
    for script in ([], "", "$x = 1;"):
        assert world.run("predelivery", script) == QueueVerdict("try")
        assert world.run("postdelivery", script) == QueueVerdict("default")


def test_failures(world: World) -> None:
    expected = QueueVerdict("queue", queue=QueueOptions(delay_s=300.0, increment_retry=False), failed=True)
    assert pre(world, 'SetMetaData(["a" => "b"]); $x = 1 / 0;') == expected
    assert "outcome: hook predelivery fell back to Queue, in 300 seconds, the attempt not counted" in world.failure()
    (fields,) = world.logged("hooks.script_error")
    assert (fields["transaction"], fields["queue_id"]) == ("message-1", 7)
    world.events.clear()
    assert world.run("postdelivery", "$x = 1 / 0;") == QueueVerdict("default", failed=True)
    assert "outcome: hook postdelivery took the default action" in world.failure()


def test_setters_gather_until_the_script_ends(world: World) -> None:
    script = """
        SetSourceIP("netaddr:2");
        SetHELO("out.example.com");
        SetDestination("relay.example.net", 587);
        SetProtocol("lmtp");
        SetTLS(["tls" => "require_verify", "tls_verify_name" => ["a.example", "b.example"], "tls_verify_host" => true]);
        SetSASL("me", "secret");
        SetSender("New@x.org");
        SetRecipient("Other@y.org");
        SetSenderParams(["RET" => "HDRS"]);
        SetRecipientParams(["NOTIFY" => "NEVER"]);
        SetXCLIENT(["ADDR" => $senderip]);
        echo [$sourceip, $destination, $destinationport, $sender, $senderdomain, $recipient, $recipientdomain];
    """
    verdict = pre(world, script, source_addresses={"netaddr:2": "192.0.2.2"})
    assert verdict.action == "try"
    assert verdict.attempt == TryOptions(
        sources=(SourceChoice("netaddr:2"),),
        helo="out.example.com",
        host="relay.example.net",
        port=587,
        protocol="lmtp",
        tls="require_verify",
        tls_verify_name=("a.example", "b.example"),
        tls_verify_host=True,
        sasl_username="me",
        sasl_password="secret",
        sender=address("New@x.org"),
        recipient=address("Other@y.org"),
        sender_params={"RET": "HDRS"},
        recipient_params={"NOTIFY": "NEVER"},
        xclient={"ADDR": "192.0.2.7"},
    )
    assert world.echoed() == [
        '[0=>"192.0.2.2",1=>"relay.example.net",2=>587,3=>"new@x.org",4=>"x.org",5=>"other@y.org",6=>"y.org"]'
    ]


@pytest.mark.parametrize(
    ("given", "sources"),
    [
        ('["1"]', (SourceChoice("netaddr:1"),)),
        ('["netaddr:1", "2"]', (SourceChoice("netaddr:1"), SourceChoice("netaddr:2"))),
        ('"3"', (SourceChoice("netaddr:3"),)),
        ('[["id" => "1", "helo" => "a.example"]]', (SourceChoice("netaddr:1", helo="a.example"),)),
        ('["id" => 4]', (SourceChoice("netaddr:4"),)),
        ("[1, 2]", (SourceChoice("netaddr:1"), SourceChoice("netaddr:2"))),
    ],
)
def test_sources_by_id(world: World, given: str, sources: tuple[SourceChoice, ...]) -> None:
    assert pre(world, f'Try(["sourceip" => {given}]);').attempt.sources == sources


def test_addresses_need_leave(world: World) -> None:
    literal = (SourceChoice(address="192.0.2.99"),)
    assert pre(world, 'SetSourceIP("192.0.2.99", ["nonlocal_source" => true]);').attempt.sources == literal
    script = 'Try(["sourceip" => [["address" => "192.0.2.99"]], "nonlocal_source" => true]);'
    assert pre(world, script).attempt.sources == literal
    assert pre(world, 'Try(["sourceip" => [["address" => "192.0.2.99"]]]);').failed
    assert "nonlocal_source" in world.failure()


def test_try_adds_to_the_setters(world: World) -> None:
    script = """
        SetHELO("a.example");
        Try(["host" => "lookup-mx", "port" => 26, "tls" => "dane", "tls_sni" => "x.example", "mx_include" => ["*.x"],
            "mx_exclude" => ["y"], "jobid" => "j", "timeout" => 10, "connect_timeout" => 5, "saslusername" => "u",
            "saslpassword" => "p", "sourceip" => ["1"], "sourceip_random" => true, "protocol" => "smtp",
            "sender" => ["localpart" => "l", "domain" => "d.org", "params" => ["K" => "V"]]]);
    """
    assert pre(world, script).attempt == TryOptions(
        sources=(SourceChoice("netaddr:1"),),
        source_random=True,
        helo="a.example",
        host="lookup-mx",
        port=26,
        tls="dane",
        tls_sni="x.example",
        mx_include=("*.x",),
        mx_exclude=("y",),
        job_id="j",
        timeout_s=10.0,
        connect_timeout_s=5.0,
        sasl_username="u",
        sasl_password="p",
        protocol="smtp",
        sender=address("l@d.org"),
        sender_params={"K": "V"},
    )


@pytest.mark.parametrize(
    ("script", "verdict"),
    [
        ("Bounce();", QueueVerdict("bounce")),
        ("Delete();", QueueVerdict("delete")),
        ("Queue();", QueueVerdict("queue")),
        (
            'Queue(["hold" => true, "delay" => 60, "reason" => "r", "increment_retry" => false, "reset_retry" => true, '
            '"transportid" => "t"]);',
            QueueVerdict("queue", queue=QueueOptions(True, 60.0, "r", False, True, "t")),
        ),
        (
            'Reschedule(300, ["reason" => "busy", "increment_retry" => false]);',
            QueueVerdict("queue", queue=QueueOptions(delay_s=300.0, reason="busy", increment_retry=False)),
        ),
    ],
)
def test_verdicts_before(world: World, script: str, verdict: QueueVerdict) -> None:
    assert pre(world, script) == verdict


@pytest.mark.parametrize(
    ("script", "verdict"),
    [
        ("Bounce();", QueueVerdict("bounce")),
        ("GenerateDSN();", QueueVerdict("bounce")),
        ("Delete();", QueueVerdict("delete")),
        ("Default();", QueueVerdict("default")),
        ('Queue(["delay" => 60]);', QueueVerdict("queue", queue=QueueOptions(delay_s=60.0))),
        ('Retry(["delay" => 60]);', QueueVerdict("queue", queue=QueueOptions(delay_s=60.0))),
    ],
)
def test_verdicts_after(world: World, script: str, verdict: QueueVerdict) -> None:
    assert world.run("postdelivery", script) == verdict
    assert not world.events
    delivered = world.run("postdelivery", script, world.post(250, None))
    if verdict.action == "default":
        assert delivered == verdict
    else:
        assert delivered == QueueVerdict("default", failed=True)
        assert "has been delivered" in world.failure()


def test_metadata_is_replaced(world: World) -> None:
    event = world.pre(metadata={"a": "1", "5": "x"})
    script = '$m = GetMetaData(); $m["b"] = $m["a"] . $m[5]; SetMetaData($m); echo GetMetaData();'
    verdict = world.run("predelivery", script, event)
    assert verdict == QueueVerdict("try", metadata={"a": "1", "5": "x", "b": "1x"})
    assert world.run("predelivery", "echo GetMetaData();", event).metadata is None
    assert world.run("postdelivery", "SetMetaData([]);").metadata == {}


@pytest.mark.parametrize(
    ("script", "message"),
    [
        ('SetSourceIP("netaddr:9");', "did you mean `netaddr:"),
        ('SetSourceIP("elsewhere");', "configured sources: `netaddr:1`, `netaddr:2`"),
        ("SetSourceIP([]);", "at least one source"),
        ('Try(["sourceips" => ["1"]]);', "did you mean `sourceip`?"),
        ('Try(["plugin" => ["id" => "x"]]);', "option `plugin` of Try() is not supported here"),
        ('SetTLS(["tls" => "required"]);', "did you mean `require`?"),
        ('SetProtocol("http");', '"smtp" or "lmtp"'),
        ('SetDestination("x.example", 70000);', "from 1 to 65535"),
        ('SetHELO("a b");', "wants a host name"),
        ('SetRecipient("");', "wants an address"),
        ("Reschedule(-1);", "at least 0 seconds"),
        ('Queue(["delays" => 5]);', "did you mean `delay`?"),
        ('Bounce(["dsn" => ["transport" => "x"]]);', "did you mean `transportid`?"),
        ('SetDSN(["dkim" => ["selector" => "s", "domain" => "d.example"]]);', "wants `key` in `dkim`"),
        ('SetDSN(["from" => "nobody@@"]);', "wants an address"),
    ],
)
def test_mistakes(world: World, script: str, message: str) -> None:
    assert pre(world, script).failed
    assert message in world.failure()


def test_queue_variables(world: World) -> None:
    script = """
        echo [$messageid, $queueid, $actionid, $retry, $receivedtime, $senderip, $senderhelo, $serverid, $saslusername,
            $sender, $recipient, $transportid, $destination, $destinationport, $sourceip];
        echo [$message["id"]["transaction"], $message["id"]["queue"], 1, $arguments["retry"], $message["ts"]];
    """
    world.run("predelivery", script, world.pre(retries=3, sasl_username="alice"))
    classic, modern = world.echoed()
    assert classic == (
        '[0=>"message-1",1=>7,2=>1,3=>3,4=>1700000000,5=>"192.0.2.7",6=>"client.example.com",7=>"mailserver:1",8=>"alice",'
        '9=>"someone@example.com",10=>"rcpt@example.org",11=>"default",12=>"",13=>25,14=>""]'
    )
    assert modern == '[0=>"message-1",1=>7,2=>1,3=>3,4=>1700000000]'


@pytest.mark.parametrize(
    ("code", "action", "shown"),
    [
        (
            550,
            "BOUNCE",
            '[0=>550,1=>"5.7.1 We do not relay",2=>"5.7.1",3=>0.5,4=>"BOUNCE",5=>"198.51.100.1",6=>25,7=>"192.0.2.2"]',
        ),
        (450, "QUEUE", '[0=>450,1=>"We do not relay",2=>"",3=>0.5,4=>"RETRY",5=>"198.51.100.1",6=>25,7=>"192.0.2.2"]'),
        (250, None, '[0=>250,1=>"We do not relay",2=>"",3=>0.5,4=>"",5=>"198.51.100.1",6=>25,7=>"192.0.2.2"]'),
        (0, "QUEUE", '[0=>0,1=>"connection refused",2=>"",3=>0.5,4=>"RETRY",5=>"198.51.100.1",6=>25,7=>"192.0.2.2"]'),
    ],
)
def test_attempt_as_seen_after(world: World, code: int, action: str | None, shown: str) -> None:
    script = """
        echo [$errorcode, $errormsg, $errorndr, $transfertime, $action, $serverip, $serverport, $sourceip];
        echo [$arguments["action"] ?? "", $arguments["attempt"]["result"]["code"] ?? 0,
            $arguments["attempt"]["error"]["message"] ?? "", $arguments["attempt"]["connection"]["localipid"]];
    """
    world.run("postdelivery", script, world.post(code, action))
    classic, modern = world.echoed()
    assert classic == shown
    error = "" if code else "connection refused"
    assert modern == f'[0=>"{action or ""}",1=>{code},2=>"{error}",3=>"netaddr:1"]'


def test_no_attempt_was_made(world: World) -> None:
    event = replace(world.post(), attempt=None, action="DELETE")
    world.run("postdelivery", 'echo [$errorcode, $errormsg, $serverip, isset($arguments["attempt"]), $action];', event)
    assert world.echoed() == ['[0=>0,1=>"",2=>"",3=>false,4=>"DELETE"]']


def test_context_goes_from_before_to_after(world: World) -> None:
    world.run("predelivery", '$context = ["x" => 1];')
    world.run("postdelivery", 'echo $context["x"];')
    assert world.echoed() == ["1"]

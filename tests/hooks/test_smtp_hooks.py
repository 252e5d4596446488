"""The hooks of the dialogue: verdict functions, what they say by default, and what happens when scripts say nothing."""

from __future__ import annotations

import base64
from dataclasses import replace

import pytest

from hslpy.hooks.facts import AuthEvent, TlsFacts
from hslpy.mail.verdict import SmtpVerdict
from tests.hooks.world import World, address

DIALOGUE = ("connect", "helo", "auth", "mailfrom", "rcptto")


@pytest.mark.parametrize(
    ("hook", "reply"),
    [
        ("connect", "521 5.7.1 Connection refused by policy"),
        ("helo", "554 5.7.1 Refused by policy"),
        ("auth", "535 5.7.8 Authentication failed"),
        ("mailfrom", "554 5.7.1 Sender refused by policy"),
        ("rcptto", "554 5.7.1 Recipient refused by policy"),
    ],
)
def test_reject(world: World, hook: str, reply: str) -> None:
    verdict = world.run(hook, "Reject();")
    assert (verdict.action, str(verdict.reply), verdict.disconnect, verdict.failed) == ("reject", reply, False, False)


@pytest.mark.parametrize(
    ("hook", "code"), [("connect", "421"), ("helo", "450"), ("auth", "454"), ("mailfrom", "450"), ("rcptto", "450")]
)
def test_defer_with_a_reason(world: World, hook: str, code: str) -> None:
    verdict = world.run(hook, 'Defer("come back", ["disconnect" => true]);')
    assert verdict.action == "defer" and verdict.disconnect
    assert verdict.reply.code == int(code) and verdict.reply.lines == ("come back",)


@pytest.mark.parametrize(
    ("hook", "action"),
    [
        ("connect", "accept"),
        ("proxy", "pass"),
        ("helo", "accept"),
        ("auth", "reject"),
        ("mailfrom", "accept"),
        ("rcptto", "accept"),
        ("disconnect", "accept"),
    ],
)
@pytest.mark.parametrize("script", [None, "", "$x = 1;"])
def test_implicit_verdict(world: World, hook: str, action: str, script: str | None) -> None:
    verdict = world.run(hook, [] if script is None else script)
    assert isinstance(verdict, SmtpVerdict)
    assert (verdict.action, verdict.failed) == (action, False)
    assert not world.events


@pytest.mark.parametrize(
    ("hook", "action", "reply"),
    [
        ("connect", "defer", "421 4.3.0 Temporary policy failure"),
        ("proxy", "reply", "421 4.3.0 Temporary policy failure"),
        ("helo", "defer", "451 4.3.0 Temporary policy failure"),
        ("auth", "defer", "454 4.3.0 Temporary policy failure"),
        ("mailfrom", "defer", "451 4.3.0 Temporary policy failure"),
        ("rcptto", "defer", "451 4.3.0 Temporary policy failure"),
        ("data", "defer", "451 4.3.0 Temporary policy failure"),
        ("eod", "defer", "451 4.3.0 Temporary policy failure"),
        ("disconnect", "accept", "None"),
    ],
)
def test_failure_is_bland_and_logged(world: World, hook: str, action: str, reply: str) -> None:
    verdict = world.run(hook, "function f($x) {\n    return 1 / $x;\n}\n\nf(0);")
    assert (verdict.action, str(verdict.reply), verdict.failed) == (action, reply, True)
    text = world.failure()
    assert "division by zero" in text and "^" in text
    assert f"= called from {world.folder}/{hook}.hsl:5:1, hook {hook}" in text
    assert f"= outcome: hook {hook} " in text
    (fields,) = world.logged("hooks.script_error")
    assert fields["session"] == "conn-1" and fields["level"] == "error"


def test_accept_changes(world: World) -> None:
    assert world.run("connect", 'Accept(["remoteip" => "2001:db8::1", "remoteptr" => "x.example"]);') == SmtpVerdict(
        "accept", remote_ip="2001:db8::1", remote_ptr="x.example"
    )
    assert world.run("helo", 'Accept(["host" => "h.example", "extensions" => ["SIZE", "8BITMIME"]]);') == SmtpVerdict(
        "accept", host="h.example", extensions=("SIZE", "8BITMIME")
    )
    assert world.run("auth", 'Accept(["username" => "bob"]);').username == "bob"
    assert world.run("mailfrom", 'Accept(["sender" => ""]);').sender.is_null
    changed = world.run(
        "rcptto", 'Accept(["recipient" => ["localpart" => "x y", "domain" => "e.org"], "transportid" => "t2"]);'
    )
    assert (str(changed.recipient), changed.transport_id) == ('"x y"@e.org', "t2")


def test_accept_with_its_own_reply(world: World) -> None:
    verdict = world.run(
        "rcptto", 'Accept(["reason" => "welcome", "reply_codes" => ["code" => 251, "enhanced" => [2, 1, 9]]]);'
    )
    assert str(verdict.reply) == "251 2.1.9 welcome"


def test_auth_reply_is_plain_until_the_session_encodes_it(world: World) -> None:
    verdict = world.run("auth", 'Reply("Password:");')
    assert (verdict.action, verdict.reply.code, verdict.reply.text) == ("reply", 334, "Password:")


@pytest.mark.parametrize(
    ("reason", "wire"),
    [
        ('"a\\r\\nRCPT TO:<x>"', b"554-5.7.1 a\r\n554 5.7.1 RCPT TO:<x>\r\n"),
        ('"a\\nb\\n"', b"554-5.7.1 a\r\n554 5.7.1 b\r\n"),
        ('["a", "b\\rc"]', b"554-5.7.1 a\r\n554-5.7.1 b\r\n554 5.7.1 c\r\n"),
        ('""', b"554 5.7.1 Recipient refused by policy\r\n"),
        ('"\\x00\\xff"', b"554 5.7.1 ??\r\n"),
        ("none", b"554 5.7.1 Recipient refused by policy\r\n"),
    ],
)
def test_reason_never_breaks_out_of_the_reply(world: World, reason: str, wire: bytes) -> None:
    if reason == "none":
        reason = ""
    assert world.run("rcptto", f"Reject({reason});").reply.render() == wire


def test_long_reason_is_parted(world: World) -> None:
    wire = world.run("rcptto", 'Reject("x" * 1000);').reply.render()
    assert all(len(line) <= 510 for line in wire.split(b"\r\n"))
    assert wire.count(b"x") == 1000


@pytest.mark.parametrize(
    ("script", "message"),
    [
        ('Reject("x", ["reply_codes" => ["code" => 250]]);', "Reject() wants a reply code of 5xx, got 250"),
        ('Defer("x", ["reply_codes" => ["code" => 550]]);', "Defer() wants a reply code of 4xx, got 550"),
        ('Accept(["reply_codes" => ["code" => 450]]);', "Accept() wants a reply code of 2xx, got 450"),
        ('Reject("x", ["reply_codes" => ["enhanced" => [4, 7, 1]]]);', "enhanced code of 5.x.x"),
        (
            'Reject("x", ["reply_codes" => ["enhanced" => "5.7.1"]]);',
            "option `enhanced` of `reply_codes` of Reject() wants array, got string",
        ),
        ('Reject("x", ["reply_codes" => ["enhanced" => [5, 7]]]);', "three whole numbers"),
        ('Reject("x", ["disconect" => true]);', "did you mean `disconnect`?"),
        ('Reject("x", ["disconnect" => "yes"]);', "wants boolean, got string"),
        ('Reject(["a", 5]);', "wants strings, got number"),
        ('Reject("x\\n" * 100);', "more than 50 lines"),
        ('Accept(["transport" => "x"]);', "did you mean `transportid`?"),
        ('Accept(["recipient" => "not an address"]);', "wants an address"),
        ('Accept(["recipient" => ""]);', "wants an address"),
    ],
)
def test_what_a_verdict_does_not_take(world: World, script: str, message: str) -> None:
    verdict = world.run("rcptto", script)
    assert verdict.failed and verdict.action == "defer"
    assert message in world.failure()


def test_files_run_in_order_until_one_decides(world: World) -> None:
    verdict = world.run("rcptto", ['echo "1";', 'echo "2"; Defer("two");', 'echo "3"; Reject("three");'])
    assert verdict.reply.lines == ("two",)
    assert world.echoed() == ["1", "2"]


def test_catch_does_not_hold_a_verdict(world: World) -> None:
    assert world.run("rcptto", 'try { Reject("no"); } catch ($e) { Accept(); }').action == "reject"


def test_verdict_deep_inside_calls(world: World) -> None:
    script = 'function f() { array_map(function ($x) { Reject($x); }, ["deep"]); } f(); Accept();'
    assert world.run("rcptto", script).reply.lines == ("deep",)


def test_verdict_functions_can_be_overridden_and_reached(world: World) -> None:
    script = 'function Reject(...$a) { echo "rejecting"; builtin Reject(...$a); } Reject("no");'
    assert world.run("rcptto", script).reply.lines == ("no",)
    assert world.echoed() == ["rejecting"]


def test_echo_is_one_record_with_the_ids(world: World) -> None:
    world.run("rcptto", 'echo "hello\\nworld";')
    (fields,) = world.logged("hooks.echo")
    assert fields["text"] == "hello\nworld"
    assert (fields["session"], fields["transaction"], fields["hook"]) == ("conn-1", "message-1", "rcptto")


def test_tls(world: World) -> None:
    event = world.event("rcptto")
    secured = replace(
        event, connection=world.connection(tls=TlsFacts("TLSv1.3", "TLS_AES_256_GCM_SHA384", 256, "mx.example"))
    )
    for one in (event, secured):
        world.run("rcptto", 'echo [GetTLS(), $tlsstarted, $tlsprotocol, $tlskeysize, $connection["tls"]["sni"] ?? ""];', one)
    assert world.echoed() == [
        '[0=>["started"=>false],1=>false,2=>"",3=>0,4=>""]',
        '[0=>["started"=>true,"protocol"=>"TLSv1.3","ciphers"=>"TLS_AES_256_GCM_SHA384","keysize"=>256],'
        '1=>true,2=>"TLSv1.3",3=>256,4=>"mx.example"]',
    ]


def test_log_is_readable(world: World) -> None:
    world.run("rcptto", 'echo "\\xc3\\xa5 \\xff";')
    assert world.echoed() == ["\u00e5 \ufffd"]


def test_classic_and_modern_variables_agree(world: World) -> None:
    script = """
        echo [$sender, $senderdomain, $senderlocalpart, $senderip, $senderport, $serverip, $serverport, $serverid,
            $senderhelo, $saslauthed, $saslusername, $tlsstarted, $messageid, $recipient, $recipientdomain,
            $recipientparams, $transportid];
        echo [$transaction["sender"], $transaction["senderaddress"]["domain"], $transaction["senderaddress"]["localpart"],
            $connection["remoteip"], $connection["remoteport"], $connection["localip"], $connection["localport"],
            $connection["serverid"], $connection["helo"]["host"], isset($connection["auth"]),
            $connection["auth"]["username"] ?? "", isset($connection["tls"]), $transaction["id"], $arguments["recipient"],
            "example.org", $arguments["params"], $arguments["transportid"]];
        echo $arguments["address"];
    """
    world.run("rcptto", script)
    classic, modern, parts = world.echoed()
    assert classic == modern.replace("Example.com", "example.com", 1)
    assert parts == '["localpart"=>"Rcpt","domain"=>"Example.org"]'


def test_predefined_variables_are_read_only(world: World) -> None:
    with pytest.raises(Exception, match="connection"):
        world.run("rcptto", '$connection = "x";')


def test_context_lasts_for_the_connection(world: World) -> None:
    world.run("mailfrom", '$context["seen"] = ($context["seen"] ?? 0) + 1;')
    world.run("rcptto", '$context["seen"] += 1;')
    world.run("rcptto", "echo $context;")
    assert world.echoed() == ['["seen"=>2]']


def test_context_keeps_no_functions(world: World) -> None:
    world.run("mailfrom", '$context = ["f" => function () { return 1; }];')
    assert world.logged("hooks.script_warning")
    world.run("rcptto", 'echo $context ?? "gone";')
    assert world.echoed() == ["gone"]


def test_disconnect_cannot_decide_anything(world: World) -> None:
    world.run("disconnect", 'echo $arguments["close"]; Pass();')
    assert world.echoed() == ["remote"]


def test_function_of_another_hook_is_an_error(world: World) -> None:
    with pytest.raises(Exception, match="Deliver"):
        world.run("rcptto", "Deliver();")


def test_null_sender(world: World) -> None:
    hooks = world.hooks({"mailfrom": 'echo "[$sender][$senderdomain]"; echo $arguments["address"];'})
    from hslpy.hooks.facts import MailFromEvent
    from tests.hooks.world import wait_for

    event = MailFromEvent(world.connection(), world.context, world.transaction("", ()))
    wait_for(hooks.run(hooks.current, "mailfrom", event))
    assert world.echoed() == ["[][]", '["localpart"=>"","domain"=>""]']
    assert str(address("")) == ""


def test_an_error_tells_what_functions_were_called_with(world: World) -> None:
    script = 'function limited($key, $options, $interval) {\n  rate("out", $key, 100, $interval);\n}\n'
    world.run("rcptto", script + 'limited($recipient, ["count" => 100, "list" => [1, 2]], 0);')
    place = f"{world.folder}/rcptto.hsl:4:1, hook rcptto"
    assert (
        f'= called from {place}: limited("rcpt@example.org", ["count" => 100, "list" => [2 elements]], 0)' in world.failure()
    )


@pytest.mark.parametrize(
    "script",
    [
        "function check($u, $p) { return 1 / 0; } check($saslusername, $saslpassword);",
        "function check($u) { return 1 / 0; } check(sha1($saslpassword) . $saslpassword);",
        'function check($all) { return 1 / 0; } check($arguments + ["x" => [$saslpassword]]);',
        "round($saslpassword);",
        "round($arguments);",
        'throw "wrong: $saslpassword";',
        "throw Exception($saslpassword);",
        'function check($u) { throw [$u]; } check(["pw" => $arguments["password"]]);',
        "array_map(function ($x) { return 1 / 0; }, $arguments);",
    ],
)
@pytest.mark.parametrize("password", ["hunter2", "s\xc3\xa4cret!", 'a"b"c"d', "123456"])
def test_no_password_gets_into_the_log(world: World, script: str, password: str) -> None:
    event = replace(world.event("auth"), password=password)  # type: ignore[type-var]
    assert world.run("auth", script, event).failed
    text = world.failure()
    shown = password.encode("latin-1").decode("utf-8")
    assert not [form for form in (password, shown, shown.replace('"', '\\"')) if form in text], text


def test_no_word_of_a_sasl_answer_gets_into_the_log(world: World) -> None:
    answer = base64.b64encode(b"user=alice@example.com\x01auth=Bearer s3cr3t-t0ken\x01\x01").decode()
    event = AuthEvent(world.connection(), world.context, "XOAUTH2", None, None, 0, answer)
    assert world.run("auth", "round(base64_decode($saslresponse)[34:46]);", event).failed
    assert "R101" in world.failure() and "s3cr3t" not in world.failure()
    world.events.clear()
    assert world.run("auth", 'throw "$saslresponse";', event).failed
    assert answer not in world.failure()

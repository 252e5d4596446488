"""The proxy hook: what its scripts see of a command, and what Pass and Reply decide."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from hslpy.hooks.facts import ProxyEvent
from hslpy.mail.verdict import SmtpVerdict
from tests.hooks.world import World, wait_for


def on(world: World, command: str, script: str, mail: bool = False) -> Any:
    event = ProxyEvent(world.connection(), world.context, world.transaction() if mail else None, command)
    return world.run("proxy", script, event)


def test_what_scripts_see(world: World) -> None:
    show = 'echo $arguments; echo $command; echo $transaction["id"]; echo isset($transaction["sender"]); echo $messageid;'
    on(world, "XCLIENT ADDR=1.1.1.1", show + 'echo $connection["helo"]["host"];')
    assert world.echoed() == [
        '["command"=>"XCLIENT ADDR=1.1.1.1"]',
        "XCLIENT ADDR=1.1.1.1",
        "conn-1",
        "false",
        "conn-1",
        "client.example.com",
    ]
    world.events.clear()
    on(world, "DATA", 'echo $transaction["sender"]; echo $transaction["recipients"][0]["recipient"]; echo $messageid;', True)
    assert world.echoed() == ["someone@example.com", "rcpt@example.org", "message-1"]


def test_context_goes_on_to_the_next_hook(world: World) -> None:
    on(world, "NOOP x", '$context = $arguments["command"];')
    world.run("mailfrom", "echo $context;")
    assert world.echoed() == ["NOOP x"]


@pytest.mark.parametrize(
    ("script", "command", "again"),
    [
        ("Pass();", None, False),
        ("Pass([]);", None, False),
        ('Pass(["next" => true]);', None, True),
        ('Pass(["command" => "EHLO " . explode(" ", $arguments["command"])[1]]);', "EHLO x", False),
        ('Pass(["command" => "", "next" => false]);', "", False),
        ('Pass(["command" => none, "next" => 1]);', None, True),
        ("", None, False),
    ],
)
def test_pass(world: World, script: str, command: str | None, again: bool) -> None:
    verdict = on(world, "HELO x", script)
    assert replace(verdict, by="") == SmtpVerdict("pass", command=command, next=again)


@pytest.mark.parametrize(
    ("arguments", "reply"),
    [
        ("", "250 2.0.0 Ok"),
        ('"Done"', "250 2.0.0 Done"),
        ('["one", "two"]', "250 2.0.0 one two"),
        ('"", ["next" => true]', "250 2.0.0 Ok"),
        ('"No", ["reply_codes" => ["code" => 550]]', "550 5.0.0 No"),
        ('"No", ["reply_codes" => ["code" => 550, "enhanced" => [5, 7, 1]]]', "550 5.7.1 No"),
        ('"No", ["reply_codes" => ["enhanced" => [2, 1, 5]]]', "250 2.1.5 No"),
        ('"Later", ["reply_codes" => ["code" => 450]]', "450 4.0.0 Later"),
        ('"Go on", ["reply_codes" => ["code" => 334]]', "334 Go on"),
        ('"a\\r\\n250 b"', "250 2.0.0 a 250 b"),
    ],
)
def test_reply(world: World, arguments: str, reply: str) -> None:
    verdict = on(world, "XHELLO", f"Reply({arguments});")
    assert (verdict.action, str(verdict.reply), verdict.disconnect) == ("reply", reply, False)
    assert verdict.next == ("next" in arguments)


def test_reply_may_disconnect(world: World) -> None:
    assert on(world, "XHELLO", 'Reply("Bye", ["disconnect" => true]);').disconnect


@pytest.mark.parametrize(
    ("script", "code", "says"),
    [
        ('Pass(["command" => "NOOP\\r\\nMAIL FROM:<a@b.test>"]);', "R302", "without CR, LF and NUL"),
        ('Pass(["command" => "NOOP\\n"]);', "R302", "without CR, LF and NUL"),
        ('Pass(["command" => "NOOP\\x00"]);', "R302", "without CR, LF and NUL"),
        ('Pass(["comand" => "NOOP"]);', "R301", "command"),
        ('Reply("x", ["nxt" => true]);', "R301", "next"),
        ('Reply("x", ["reply_codes" => ["code" => 600]]);', "R304", "from 200 to 599"),
        ('Reply("x", ["reply_codes" => ["code" => 250.5]]);', "R304", "250.5"),
        ('Reply("x", ["reply_codes" => ["code" => 550, "enhanced" => [2, 0, 0]]]);', "R304", "5.x.x"),
    ],
)
def test_a_wrong_use_ends_the_connection(world: World, script: str, code: str, says: str) -> None:
    verdict = on(world, "NOOP", script)
    assert (verdict.action, str(verdict.reply)) == ("reply", "421 4.3.0 Temporary policy failure")
    assert verdict.disconnect and verdict.failed and not verdict.next
    (fields,) = world.logged("hooks.script_error")
    assert fields["code"] == code and says in str(fields["text"])
    assert "fell back to Reply 421 4.3.0" in str(fields["text"])


@pytest.mark.parametrize(
    "fault",
    ["return 1 / ($x === none);", "throw $x;", 'return pcre_match($x . "(", "a");', "return $x[[]];"],
)
def test_a_password_in_a_command_is_not_logged(world: World, fault: str) -> None:
    script = f'function f($x) {{ {fault} }}\nf(explode(" ", $arguments["command"])[2]);'
    assert on(world, "AUTH PLAIN AGpvZQBzZWNyZXQ=", script).failed
    assert "AGpvZQ" not in world.failure()


def test_several_files(world: World) -> None:
    event = ProxyEvent(world.connection(), world.context, None, "NOOP")
    verdict = wait_for(_run(world, ["$x = 1;", 'Reply("second");'], event))
    assert str(verdict.reply) == "250 2.0.0 second"


async def _run(world: World, scripts: list[str], event: ProxyEvent) -> Any:
    hooks = world.hooks({"proxy": scripts})
    return await hooks.run(hooks.current, "proxy", event)


def test_accept_is_not_for_it(world: World) -> None:
    with pytest.raises(Exception, match="Accept"):
        on(world, "NOOP", "Accept();")

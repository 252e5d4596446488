"""Look-ups in hooks: what options ask for, what scripts get, and what is no option."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from hslpy.client.lookup_contract import Finding, ScriptedLookups, Server
from hslpy.client.lookups import RealLookups
from hslpy.mail.reply import Reply
from tests.hooks.world import World
from tests.support.smtp_sink import Sink
from tests.support.web_server import server_context


async def _here(host: str) -> tuple[str, ...]:
    return ("127.0.0.1",)


async def _hosts(server: Server, domain: str) -> list[tuple[str, str]]:
    return [(server.host or f"mx.{domain}", "127.0.0.1")]


def on_sink(world: World, script: str, **sink: Any) -> Sink:
    """Run the script with `$port` as a real SMTP server's."""

    async def main() -> Sink:
        async with Sink(**sink) as it:
            lookups = RealLookups(_here, _hosts, "mx.example.org")
            hooks = world.hooks({"connect": f"$port = {it.port}; {script}"}, lookups=lookups)
            await hooks.run(hooks.current, "connect", world.event("connect"))
            return it

    return asyncio.run(asyncio.wait_for(main(), 60))


def scripted(world: World, script: str, finding: Finding | None = None, **services: Any) -> list[Any]:
    lookups = ScriptedLookups(dict.fromkeys(_FUNCTIONS, finding) if finding else {})
    world.run("connect", script, lookups=lookups, **services)
    return lookups.questions


_FUNCTIONS = (
    "smtp_lookup_rcpt",
    "smtp_lookup_auth",
    "ident_lookup",
    "dovecot_lookup_auth",
    "radius_authen",
    "tacplus_authen",
    "tacplus_author",
    "minger_lookup",
)


def test_smtp_lookup_rcpt(world: World) -> None:
    sink = on_sink(
        world,
        """
        $server = ["host" => "mx.example.net", "port" => $port];
        $more = ["extended_result" => true];
        echo smtp_lookup_rcpt($server, "a@example.com", "b@example.net");
        echo smtp_lookup_rcpt($server, "", ["localpart" => "no", "domain" => "example.net"], $more);
        echo smtp_lookup_rcpt(["port" => $port], "a@example.com", "gone@example.net", ["error_code" => true]);
        echo smtp_lookup_rcpt($server, "bad@example.com", "b@example.net", $more)["on_rcptto"];
        echo smtp_lookup_rcpt($server + ["tls" => "require"], "", "b@example.net", $more);
        """,
        answers={
            "MAIL": lambda line: "550 Not you" if "bad@" in line else "250 ok",
            "RCPT": lambda line: "550-5.1.1 No\r\n550 5.1.1 such user" if "<no@" in line else "250 2.1.5 Fine",
        },
    )
    assert world.echoed() == [
        "1",
        '["error_code"=>550,"error_message"=>"5.1.1 No such user","on_rcptto"=>true,"tls"=>["started"=>false]]',
        '["error_code"=>250,"error_message"=>"2.1.5 Fine","on_rcptto"=>true,"tls"=>["started"=>false]]',
        "false",
        '["error_code"=>0,"error_message"=>"the peer offers no TLS, which is required","on_rcptto"=>false,'
        '"tls"=>["started"=>false]]',
    ]
    assert "RCPT TO:<b@example.net>" in sink.commands and "EHLO mx.example.org" in sink.commands
    (failed,) = world.logged("hooks.lookup_failed")
    assert (failed["function"], failed["server"]) == ("smtp_lookup_rcpt", "mx.example.net")


def test_the_server_s_certificate(world: World, tmp_path: Path) -> None:
    on_sink(
        world,
        """
        $server = ["host" => "mail.example.com", "port" => $port, "tls" => "require", "tls_capture_peer_cert" => true];
        $tls = smtp_lookup_rcpt($server, "", "b@example.net", ["extended_result" => true])["tls"];
        echo [$tls["started"], $tls["protocol"], $tls["keysize"], $tls["peer_cert"]->serial_number()];
        """,
        tls=server_context(tmp_path),
    )
    assert world.echoed() == ['[0=>true,1=>"TLSv1.3",2=>256,3=>"0ABC"]']


def test_smtp_lookup_auth(world: World) -> None:
    sink = on_sink(
        world,
        """
        $server = ["host" => "mail.example.com", "port" => $port];
        echo smtp_lookup_auth($server, "me", "secret");
        echo smtp_lookup_auth($server, "me", "wrong");
        """,
        extensions=("AUTH PLAIN",),
        answers={"AUTH": lambda line: "235 in" if "AG1lAHNlY3JldA==" in line else "535 no"},
    )
    assert world.echoed() == ["1", "0"]
    assert not any(line.startswith("MAIL") for line in sink.commands)


def test_what_the_server_array_asks(world: World) -> None:
    (question,) = scripted(
        world,
        """
        smtp_lookup_rcpt(["host" => "lookup-mx", "port" => 26, "helo" => "me.example", "sourceipid" => "1",
            "nonlocal_source" => true, "sasl_username" => "u", "sasl_password" => "p", "tls" => "optional_verify",
            "tls_sni" => "sni.example", "tls_protocols" => "!TLSv1.2", "tls_ciphers" => "HIGH", "tls_verify_host" => true,
            "tls_verify_name" => ["a.example"], "tls_default_ca" => true, "xclient" => ["ADDR" => "192.0.2.7"],
            "protocol" => "lmtp", "mx_include" => ["*.a"], "mx_exclude" => ["b.*"], "connect_timeout" => 3,
            "timeout" => ["BANNER" => 4, "AUTH-PLAIN" => 5, "AUTH" => 2, "RCPT" => 6]], "", "a@example.com");
        """,
    )
    server = question.server
    assert (server.host, server.port, server.helo, server.source_ip) == (None, 26, "me.example", "192.0.2.1")
    assert (server.nonlocal_source, server.sasl_username, server.sasl_password) == (True, "u", "p")
    assert (server.tls, server.tls_sni, server.tls_verify_host) == ("optional_verify", "sni.example", True)
    assert (server.tls_wanted.protocols, server.tls_wanted.ciphers, server.tls_wanted.default_ca) == (
        "!TLSv1.2",
        "HIGH",
        True,
    )
    assert (server.xclient, server.protocol) == ((("ADDR", "192.0.2.7"),), "lmtp")
    assert (server.tls_names, server.mx_include, server.mx_exclude) == (("a.example",), ("*.a",), ("b.*",))
    waits = [server.timeouts.of(state) for state in ("BANNER", "AUTH", "RCPT", "MAIL", "DATA")]
    assert (waits, server.timeouts.connect_s) == ([4, 5, 6, 300, 120], 3)


def test_a_transport_by_its_id(world: World) -> None:
    servers = {"mailtransport:1": Server("relay.example", 587)}
    (question,) = scripted(world, 'smtp_lookup_rcpt("mailtransport:1", "", "a@example.com");', servers=servers)
    assert question.server == servers["mailtransport:1"]
    scripted(world, 'smtp_lookup_auth("mailtransport:2", "a", "b");', servers=servers)
    assert "did you mean `mailtransport:1`" in world.failure()


def test_what_the_others_ask_and_give(world: World) -> None:
    yes = Finding(1, values=(("os", "UNIX"), ("username", "joe")), number=5)
    questions = scripted(
        world,
        """
        echo ident_lookup("192.0.2.7", 40000, "192.0.2.1", 25, ["port" => 114, "timeout" => 2]);
        echo dovecot_lookup_auth(["host" => "d", "port" => 9, "service" => "imap", "rip" => "r", "lip" => "l",
            "secured" => true], "u", "p");
        echo radius_authen(["host" => "r", "secret" => "s", "clientip" => "c", "retry" => 0], "u", "p", ["one", "two"]);
        echo radius_authen(["host" => "r", "secret" => "s"], "u", "p", [7 => "seven"]);
        echo tacplus_authen(["host" => "t", "secret" => "s", "clientip" => "c"], "u", "p");
        echo tacplus_author(["host" => "t", "secret" => "s", "port" => 50], "u", ["a=b"]);
        echo minger_lookup("m", "a@example.com", ["secret" => "s"]);
        """,
        yes,
    )
    assert world.echoed() == ['["os"=>"UNIX","username"=>"joe"]', "1", "1", "1", "1", '[0=>"UNIX",1=>"joe"]', "5"]
    ident, dovecot, radius, other, login, rights, minger = questions
    assert (ident.peer.host, ident.peer.port, ident.peer.timeout_s) == ("192.0.2.7", 114, 2)
    assert (ident.peer_port, ident.own_ip, ident.own_port) == (40000, "192.0.2.1", 25)
    assert (dovecot.service, dovecot.remote_ip, dovecot.local_ip, dovecot.secured) == ("imap", "r", "l", True)
    assert (radius.peer.port, radius.retries, radius.vendor) == (1812, 0, ((1, "one"), (2, "two")))
    assert (other.retries, other.vendor, other.client_ip) == (3, ((7, "seven"),), "")
    assert (login.peer.port, login.peer.timeout_s, login.client_ip) == (49, 5, "c")
    assert (rights.peer.port, rights.pairs, minger.peer.port, minger.secret) == (50, ("a=b",), 4069, "s")


@pytest.mark.parametrize(
    ("finding", "number"), [(Finding(0, reply=Reply(550, None, ("no",))), "0"), (Finding(-1, "x"), "-1")]
)
def test_no_and_errors(world: World, finding: Finding, number: str) -> None:
    scripted(
        world,
        """
        echo smtp_lookup_rcpt(["host" => "h"], "", "a@example.com");
        echo smtp_lookup_auth(["host" => "h"], "u", "p");
        echo dovecot_lookup_auth(["host" => "d", "port" => 9], "u", "p");
        echo radius_authen(["host" => "r", "secret" => "s"], "u", "p");
        echo tacplus_authen(["host" => "t", "secret" => "s"], "u", "p");
        echo tacplus_author(["host" => "t", "secret" => "s"], "u", []);
        echo ident_lookup("192.0.2.7", 40000, "192.0.2.1", 25);
        echo minger_lookup("m", "a@example.com");
        """,
        finding,
    )
    assert world.echoed() == [number] * 6 + ["none", "-1"]
    logged = [fields["function"] for fields in world.logged("hooks.lookup_failed")]
    assert len(logged) == (8 if number == "-1" else 0)


@pytest.mark.parametrize(
    ("call", "error"),
    [
        ('smtp_lookup_rcpt(["hots" => "h"], "", "a@b.c")', "did you mean `host`"),
        ('smtp_lookup_rcpt(["host" => "a b"], "", "a@b.c")', "R302"),
        ('smtp_lookup_rcpt(["port" => 0], "", "a@b.c")', "R302"),
        ('smtp_lookup_rcpt([], "a@b.c", "")', "R303"),
        ('smtp_lookup_rcpt([], "x@", "a@b.c")', "R303"),
        ('smtp_lookup_rcpt([], "", "a@b.c", ["extended" => true])', "R301"),
        ('smtp_lookup_rcpt(["tls" => "yes"], "", "a@b.c")', "disabled, optional"),
        ('smtp_lookup_rcpt(["protocol" => "x"], "", "a@b.c")', "R302"),
        ('smtp_lookup_rcpt(["tls_protocols" => "TLSv9"], "", "a@b.c")', "TLSv9"),
        ('smtp_lookup_rcpt(["timeout" => ["RCTP" => 1]], "", "a@b.c")', "did you mean `RCPT`"),
        ('smtp_lookup_rcpt(["timeout" => ["RCPT" => "1"]], "", "a@b.c")', "R302"),
        ('smtp_lookup_rcpt(["sourceip" => "netaddr:9"], "", "a@b.c")', "R306"),
        ('smtp_lookup_auth([], "u", "p")', "wants `host`"),
        ('ident_lookup("192.0.2.7", 0, "192.0.2.1", 25)', "senderport"),
        ('dovecot_lookup_auth(["host" => "h"], "u", "p")', "wants `port`"),
        ('radius_authen(["host" => "h"], "u", "p")', "wants `secret`"),
        ('radius_authen(["host" => "h", "secret" => "s"], "u", "p", ["a" => "b"])', "R302"),
        ('tacplus_authen(["secret" => "s"], "u", "p")', "wants `host`"),
        ('tacplus_author(["host" => "h", "secret" => "s"], "u", [1])', "R302"),
        ('minger_lookup("h", "a b")', "R303"),
    ],
)
def test_wrong_uses(world: World, call: str, error: str) -> None:
    assert scripted(world, f"{call};") == []
    assert error in world.failure()

"""LDAP against a real OpenLDAP server: signing in, searching, TLS, numbers of errors, and the functions of older scripts."""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import Iterator

import pytest

from hslpy.client.ldap import LdapProfile, read_servers, whole_messages
from hslpy.client.ldap_text import split_dn
from hslpy.client.sockets import SocketSettings
from hslpy.lang.run import Limits
from tests.hooks.world import World
from tests.support.peer import peer
from tests.support.slapd import ADMIN, PASSWORD, PEOPLE, Slapd

pytestmark = pytest.mark.xdist_group("slapd")
ANN = "uid=ann,ou=people,dc=example,dc=org"


@pytest.fixture(scope="module")
def slapd() -> Iterator[Slapd]:
    with Slapd() as server:
        yield server


def echoed(world: World, script: str, **more: object) -> list[str]:
    verdict = world.run("rcptto", script, **more)  # type: ignore[arg-type]
    assert not verdict.failed, world.failure()
    return world.echoed()


def test_signing_in_and_searching(world: World, slapd: Slapd) -> None:
    script = f"""
        $l = LDAP("{slapd.uri}");
        echo is_object($l->bind("{ADMIN}", "{PASSWORD}"));
        $r = $l->search("ou=people,dc=example,dc=org", ["filter" => "(uid=ann)", "attributes" => ["mail", "uid"]]);
        echo $r->next(); echo $r->next(); echo $r->next();
        $r = $l->search("{ANN}", ["scope" => "base", "attributes" => ["jpegPhoto"]]);
        echo $r->next()["jpegPhoto"][0] === "\\xff\\xd8\\xff\\x00\\xff";
        $r = $l->search("dc=example,dc=org", ["scope" => "one", "attributes" => ["1.1"]]);
        while ($entry = $r->next()) echo $entry;
        echo $l->errno(); echo is_object($l->unbind()); echo $l->unbind() ?? "none"; echo $l->search("dc=example") ?? "none";
    """
    assert echoed(world, script) == [
        "true",
        f'["dn"=>"{ANN}","uid"=>[0=>"ann"],"mail"=>[0=>"ann@example.org",1=>"a.doe@example.org"]]',
        "false",
        "false",
        "true",
        '["dn"=>"ou=people,dc=example,dc=org"]',
        "0",
        "true",
        "none",
        "none",
    ]


def test_what_comes_from_outside_is_escaped(world: World, slapd: Slapd) -> None:
    script = f"""
        $l = LDAP("{slapd.uri}"); $l->bind();
        $r = $l->search("dc=example,dc=org", ["filter" => "(cn=" . LDAP::filter_escape("Doe, Bob (x*)") . ")"]);
        $e = $r->next(); echo $e["sn"][0]; echo LDAP::str2dn($e["dn"])[0];
        $dn = LDAP::dn2str([["cn", "Doe, Bob (x*)"], ["ou", "people"], ["dc", "example"], ["dc", "org"]]);
        echo $l->search($dn)->next()["uid"];
    """
    assert echoed(world, script) == ["Döe", '[0=>"cn",1=>"Doe, Bob (x*)"]', '[0=>"bob"]']


def test_numbers_of_errors(world: World, slapd: Slapd) -> None:
    with socket.create_server(("127.0.0.1", 0)) as gone:
        port = gone.getsockname()[1]
    script = f"""
        $l = LDAP("{slapd.uri}"); echo $l->errno();
        echo $l->bind("{ADMIN}", "wrong") ?? "none"; echo $l->errno(); echo LDAP::err2string($l->errno());
        echo $l->bind("no name", "x") ?? "none"; echo $l->errno(); echo $l->getoption("diagnostic_message");
        echo $l->search("dc=example,dc=org", ["filter" => "(uid="]) ?? "none"; echo $l->errno();
        echo $l->search("dc=nowhere")->next() ?? "none"; echo $l->errno();
        echo $l->search("\\xff") ?? "none"; echo $l->errno();
        echo is_object($l->bind());
        $l = LDAP("ldap://127.0.0.1:{port}"); echo $l->bind() ?? "none"; echo $l->errno(); echo $l->starttls() ?? "none";
        $l = LDAP("http://127.0.0.1"); echo $l->bind() ?? "none"; echo $l->errno();
        echo $l->getoption("diagnostic_message") ?? "none";
        $l = LDAP("ldap://127.0.0.1:{port} {slapd.uri}"); echo is_object($l->bind());
    """
    assert echoed(world, script) == [
        *(
            "0",
            "none",
            "49",
            "Invalid credentials",
            "none",
            "34",
            "invalid DN",
            "none",
            "-7",
            "none",
            "32",
            "none",
            "-9",
            "true",
        ),
        *("none", "-1", "none", "none", "-9", "none", "true"),
    ]


def test_a_long_result_and_two_at_once(world: World, slapd: Slapd) -> None:
    script = f"""
        $l = LDAP("{slapd.uri}"); $n = 0;
        $all = $l->search("ou=people,dc=example,dc=org", ["filter" => "(uid=p*)"]); $all->next();
        $one = $l->search("ou=people,dc=example,dc=org", ["filter" => "(uid=p7)"]); echo $one->next()["uid"];
        echo is_object($l->bind("{ANN}", "letmein"));
        while ($all->next()) $n++; echo $n; echo $one->next();
    """
    assert echoed(world, script) == ['[0=>"p7"]', "true", str(PEOPLE - 1), "false"]


def test_tls(world: World, slapd: Slapd) -> None:
    script = f"""
        $l = LDAP("{slapd.uri}"); echo $l->getpeerx509() ?? "none"; echo is_object($l->starttls());
        echo is_object($l->bind("{ANN}", "letmein")); echo $l->getpeerx509()->subject()[0][1];
        echo $l->starttls() ?? "none"; echo $l->errno();
        $l = LDAP("{slapd.secure}"); echo is_object($l->bind());
        $l = LDAP("{slapd.path_uri}"); echo is_object($l->bind());
    """
    trusting = SocketSettings(ca_file=str(slapd.certificate))
    wanted = ["none", "true", "true", "localhost", "none", "1", "true", "true"]
    assert echoed(world, script, sockets=trusting) == wanted


def test_a_certificate_that_is_not_trusted(world: World, slapd: Slapd) -> None:
    script = f"""
        $l = LDAP("{slapd.secure}"); echo $l->bind() ?? "none"; echo $l->errno();
        echo is_object($l->setoption("tls_verify_peer", false)); echo is_object($l->bind());
        $l = LDAP("{slapd.uri}"); echo $l->starttls() ?? "none"; echo $l->errno();
    """
    assert echoed(world, script) == ["none", "-1", "true", "true", "none", "-11"]


def test_options(world: World) -> None:
    script = """
        $l = LDAP("ldap://192.0.2.1");
        $good = ["protocol_version" => 3, "referrals" => false, "timeout" => 2, "timelimit" => 2, "network_timeout" => 2,
            "tls_verify_peer" => true, "tls_default_ca" => true];
        foreach ($good as $name => $value) echo is_object($l->setoption($name, $value));
        $bad = ["protocol_version" => 2, "referrals" => true, "timeout" => -1, "tls_verify_peer" => 1];
        foreach ($bad as $name => $value) {
            echo $l->setoption($name, $value) ?? "none"; echo $l->errno();
        }
    """
    assert echoed(world, script) == ["true"] * 7 + ["none", "-12", "none", "-12", "none", "-9", "none", "-9"]


def test_a_server_that_says_nothing_or_nonsense(world: World) -> None:
    def silent(connection: socket.socket) -> None:
        while connection.recv(1000):
            pass

    def nonsense(connection: socket.socket) -> None:
        connection.recv(1000)
        connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        silent(connection)

    def endless(connection: socket.socket) -> None:
        connection.recv(1000)
        with contextlib.suppress(OSError):
            connection.sendall(b"\x30\x84\x00\xf0\x00\x00" + b"x" * (16 << 20))

    with peer(silent) as quiet, peer(nonsense) as http, peer(endless) as big:
        script = f"""
            $l = LDAP("ldap://127.0.0.1:{quiet}"); $l->setoption("timeout", 0.05);
            echo $l->bind() ?? "none"; echo $l->errno(); $l->unbind();
            $l = LDAP("ldap://127.0.0.1:{http}"); $l->setoption("timeout", 2);
            echo $l->bind() ?? "none"; echo $l->errno() < 0;
            $l = LDAP("ldap://127.0.0.1:{big}"); echo $l->bind() ?? "none"; echo $l->errno();
        """
        assert echoed(world, script) == ["none", "-5", "none", "true", "none", "-4"]


def test_messages_of_very_many_attributes(world: World) -> None:
    """Such as a hostile server would send: they hold up nobody, and count as what they take, far more than their bytes."""
    attributes = b"\x30\x04\x04\x00\x31\x00" * 150_000
    entry = b"\x04\x00\x30\x84" + len(attributes).to_bytes(4, "big") + attributes
    message = b"\x02\x01\x01\x64\x84" + len(entry).to_bytes(4, "big") + entry

    def server(connection: socket.socket) -> None:
        connection.recv(4096)
        connection.sendall(b"\x30\x84" + len(message).to_bytes(4, "big") + message)

    with peer(server) as port:
        world.run(
            "rcptto", f'LDAP("ldap://127.0.0.1:{port}")->search("dc=x")->next();', limits=Limits(memory_bytes=16 << 20)
        )
        assert "16 MiB of memory" in world.failure()


def test_sessions_are_closed_when_the_run_ends(world: World, slapd: Slapd) -> None:
    before = len(os.listdir("/proc/self/fd"))
    echoed(world, f'class A {{ }} $l = LDAP("{slapd.uri}"); $l->bind(); $r = $l->search("dc=example,dc=org");')
    assert len(os.listdir("/proc/self/fd")) <= before


@pytest.mark.parametrize(
    ("script", "message"),
    [
        ('LDAP("ldap://x")->setoption("time_limit", 1);', "did you mean `timelimit`?"),
        ('LDAP("ldap://x")->getoption("referrals");', "cannot give an option"),
        ('LDAP("ldap://x")->search("dc=x", ["scoop" => "sub"]);', "did you mean `scope`?"),
        ('LDAP("ldap://x")->search("dc=x", ["scope" => "subtree"]);', "it may be sub, one, base"),
        ('LDAP("ldap://x")->search("dc=x", ["attributes" => [1]]);', "wants strings"),
        ('ldap_search("corp", "x");', "knows no profile"),
        ('ldap_bind("1", "x", "y", ["base" => "z"]);', "unknown option `base`"),
        ('ldap_search("1", none);', "wants a text or an array"),
    ],
)
def test_mistakes(world: World, script: str, message: str) -> None:
    profiles = {"1": LdapProfile("1", "ldap://127.0.0.1:1")}
    assert world.run("rcptto", script, ldap_profiles=profiles).failed
    assert message in world.failure()


def test_functions_of_older_scripts(world: World, slapd: Slapd) -> None:
    profiles = {
        "1": LdapProfile("1", slapd.uri, ADMIN, PASSWORD, "dc=example,dc=org", "(mail=%s)"),
        "two": LdapProfile("two", slapd.uri.removeprefix("ldap://"), "", "", "dc=example,dc=org", "(&(uid=$1)(sn=$2))"),
        "raw": LdapProfile("raw", slapd.uri, "", "", "dc=example,dc=org", "%x"),
        "locked": LdapProfile("locked", slapd.uri, ADMIN, "wrong", "dc=example,dc=org", "(uid=%s)"),
    }
    script = f"""
        $found = ldap_search("ldap:1", "ann@example.org"); echo count($found); echo $found[0]["dn"]; echo $found[0]["uid"];
        echo ldap_search("1", "*");
        echo count(ldap_search("1", "ann", ["query" => "(uid=%s)", "base" => "ou=people,dc=example,dc=org"]));
        echo ldap_search("two", ["ann", "Doe"])[0]["cn"]; echo ldap_search("two", ["*", "*"]);
        echo ldap_search("raw", "(uid=bob)")[0]["uid"]; echo count(ldap_search("raw", "(uid=p*)"));
        echo ldap_search("locked", "x"); echo ldap_search("1", "x", ["host" => "ldap://127.0.0.1:1"]);
        echo ldap_bind("1", "{ANN}", "letmein"); echo ldap_bind("1", "{ANN}", "wrong");
        echo ldap_bind("1", "ann", "letmein");
        echo ldap_bind("1", "{ANN}", ""); echo ldap_bind("1", "", "");
        echo ldap_bind("1", "x", "y", ["host" => "ldap://127.0.0.1:1"]);
    """
    assert echoed(world, script, ldap_profiles=profiles) == [
        *("1", ANN, '[0=>"ann"]', "[]", "1", '[0=>"Ann"]', "[]", '[0=>"bob"]', str(PEOPLE), "-1", "-1"),
        *("1", "0", "0", "0", "0", "-1"),
    ]
    texts = [str(fields["text"]) for fields in world.logged("hooks.script_warning")]
    assert texts[0] == "ldap_search() with profile locked: Invalid credentials"


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("", []),
        ("cn=admin, dc = example ", [("cn", "admin"), ("dc", "example")]),
        ("cn=a\\,b\\20", [("cn", "a,b ")]),
        ("cn=\\C3\\A9+ou=x,2.5.4.3=y", [("cn", "\xc3\xa9"), ("2.5.4.3", "y")]),
        ("cn=#0401AB,dc=", [("cn", "\x04\x01\xab"), ("dc", "")]),
        ("cn", None),
        ("cn=a,", None),
        ("cn=a;dc=b", None),
        ("cn=a\\zz", None),
        ("cn=#1", None),
        ("=a", None),
    ],
)
def test_distinguished_names(text: str, parts: list[tuple[str, str]] | None) -> None:
    assert split_dn(text) == parts


def test_values_that_distinguished_names_escape(world: World) -> None:
    script = """
        foreach ([" a ", "#x", "a=b", "<\\"\\\\>;+", "\\xc3\\xa9"] as $value) {
            $text = LDAP::dn2str([["cn", $value], ["dc", "x"]]);
            echo "$text " . (LDAP::str2dn($text) == [["cn", $value], ["dc", "x"]]);
        }
        echo LDAP::dn2str([["cn"]]) ?? "none"; echo LDAP::dn2str([["cn", 5]]) ?? "none";
        echo LDAP::dn2str([["cn", "\\xff"]]) ?? "none";
        echo LDAP::dn2str([]) . "."; echo LDAP::err2string(999);
    """
    assert echoed(world, script) == [
        "cn=\\20a\\20,dc=x true",
        "cn=\\23x,dc=x true",
        "cn=a\\3Db,dc=x true",
        "cn=\\3C\\22\\5C\\3E\\3B\\2B,dc=x true",
        "cn=é,dc=x true",
        "none",
        "none",
        "none",
        ".",
        "Unknown error",
    ]


def test_messages_are_parted() -> None:
    short, long = b"\x30\x03abc", b"\x30\x82\x01\x00" + b"x" * 256
    assert whole_messages(bytearray(short + long)) == (2, len(short + long))
    assert whole_messages(bytearray(short + long[:100])) == (len(long), len(short))
    assert whole_messages(bytearray(short + long[:3])) == (4, len(short))
    assert whole_messages(bytearray(b"\x30")) == (2, 0)
    for nonsense in (b"HTTP", b"\x30\x80ab", b"\x30\x85abcdef", b"\x30\x84\x7f\xff\xff\xff"):
        with pytest.raises(ValueError):
            whole_messages(bytearray(nonsense))


def test_addresses() -> None:
    found = read_servers("ldap://[::1]:3389 ldaps://a.example.com/ ldapi://%2Frun%2Fldapi ldap://")
    assert [(one.scheme, one.host, one.port) for one in found] == [
        ("ldap", "::1", 3389),
        ("ldaps", "a.example.com", 636),
        ("ldapi", "/run/ldapi", None),
        ("ldap", "localhost", 389),
    ]
    for text in ("", "example.com", "http://x", "ldap://x/dc=example", "ldap://x:port"):
        with pytest.raises(ValueError):
            read_servers(text)

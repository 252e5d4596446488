"""The class TLSSocket against Python's own TLS on loopback: handshakes, what is verified, ends, numbers of errors."""

from __future__ import annotations

import contextlib
import socket
import ssl
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from hslpy.client.sockets import KeyPair, SocketSettings
from hslpy.client.tls import chosen_protocols
from tests.hooks.world import World
from tests.support import certificates
from tests.support.peer import peer


@pytest.fixture
def files(tmp_path: Path) -> Path:
    folder = tmp_path / "certificates"
    folder.mkdir()
    for name in ("CA", "CERTIFICATE", "KEY"):
        (folder / name).write_text(getattr(certificates, name))
    return folder


def server_context(files: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(files / "CERTIFICATE", files / "KEY")
    return context


def talk(connection: ssl.SSLSocket) -> None:
    """Answer each line with it in capitals, until the client ends TLS."""
    while data := connection.recv(65536):
        connection.sendall(data.upper())
    connection.unwrap().close()


@contextlib.contextmanager
def tls_peer(
    files: Path, answer: Callable[[ssl.SSLSocket], None] = talk, context: ssl.SSLContext | None = None, fails: bool = False
) -> Iterator[int]:
    used = context or server_context(files)

    def serve(connection: socket.socket) -> None:
        with contextlib.ExitStack() as stack:
            if fails:
                stack.enter_context(contextlib.suppress(OSError))
            answer(stack.enter_context(used.wrap_socket(connection, server_side=True)))

    with peer(serve) as port:
        yield port


def echoed(world: World, script: str, **more: object) -> list[str]:
    verdict = world.run("rcptto", script, **more)  # type: ignore[arg-type]
    assert not verdict.failed, world.failure()
    return world.echoed()


def tls(port: int, options: str = "") -> str:
    connect = f'$s = Socket("AF_INET", "SOCK_STREAM"); $s->connect("127.0.0.1", {port});'
    return f"{connect} $t = TLSSocket($s{', ' if options else ''}{options});"


def test_talking(world: World, files: Path) -> None:
    with tls_peer(files) as port:
        script = (
            tls(port)
            + """
            echo $t->getpeerx509() ?? "none"; echo is_object($t->handshake()); echo is_object($t->handshake());
            echo $t->send("hello"); echo $t->recv(2); echo $t->recv(100);
            echo $t->getpeerx509()->subject()[0][1];
            $s->settimeout(0.05); echo $t->recv(100) ?? "none"; echo $t->errno(); $s->settimeout(20);
            $t->send(str_repeat("x", 100000)); $n = 0; while ($n < 100000) $n += length($t->recv(65536)); echo $n;
            echo $t->shutdown(); echo $t->shutdown(); echo $t->toSocket()->recv(1) === ""; $s->close();
            echo $t->send("x") ?? "none";
            """
        )
        assert echoed(world, script) == (
            ["none", "true", "true", "5", "HE", "LLO", "mail.example.com", "none", "2", "100000", "0", "1", "true", "none"]
        )


def test_a_handshake_comes_by_itself(world: World, files: Path) -> None:
    with tls_peer(files) as port:
        assert echoed(world, tls(port) + '$t->send("a"); echo $t->recv(9); $t->shutdown(); $t->shutdown();') == ["A"]


def test_starttls_and_back(world: World, files: Path) -> None:
    context = server_context(files)

    def serve(connection: socket.socket) -> None:
        assert connection.recv(100) == b"STARTTLS\r\n"
        connection.sendall(b"220 go\r\n")
        secured = context.wrap_socket(connection, server_side=True)
        secured.sendall(b"inside")
        assert secured.recv(100) == b""
        plain = secured.unwrap()
        plain.sendall(b"outside")
        plain.close()

    with peer(serve) as port:
        script = f"""
            $s = Socket("AF_INET", "SOCK_STREAM"); $s->connect("127.0.0.1", {port});
            $s->send("STARTTLS\\r\\n"); echo $s->recv(100)[:-2];
            $t = TLSSocket($s); $t->handshake(); echo $t->recv(100); echo $t->shutdown(); echo $t->shutdown();
            echo $s->recv(100); echo is_object($t->close()); echo $t->close() ?? "none"; echo $t->errno();
        """
        assert echoed(world, script) == ["220 go", "inside", "0", "1", "outside", "true", "none", "5"]


@pytest.mark.parametrize(
    ("options", "works"),
    [
        ("[]", True),
        ('["tls_verify_ca" => true]', True),
        ('["tls_verify_ca" => true, "tls_verify_name" => ["other.example.com", "mail.example.com"]]', True),
        ('["tls_verify_name" => ["MAIL.EXAMPLE.COM."]]', True),
        ('["tls_verify_name" => [".example.com"]]', True),
        ('["tls_verify_name" => ["other.example.com"]]', False),
        ('["tls_verify_name" => ["127.0.0.1"]]', False),
        ('["tls_verify_name" => [".com"]]', False),
        ('["tls_sni" => "mail.example.com"]', True),
        ('["tls_protocols" => "TLSv1.2"]', True),
        ('["tls_protocols" => "SSLv3"]', False),
        ('["tls_protocols" => "!SSLv2,!SSLv3,!TLSv1.2"]', True),
        ('["tls_protocols" => "!TLSv1.2,!TLSv1.3"]', False),
        ('["tls_ciphers" => "ECDHE-ECDSA-AES256-GCM-SHA384", "tls_protocols" => "TLSv1.2"]', True),
    ],
)
def test_what_is_verified(world: World, files: Path, options: str, works: bool) -> None:
    with tls_peer(files, fails=not works) as port:
        script = (
            tls(port, options) + 'echo $t->handshake() ? "yes" : "no"; echo $t->errno(); $t->shutdown(); $t->shutdown();'
        )
        wanted = ["yes", "0"] if works else ["no", "1"]
        assert echoed(world, script, sockets=SocketSettings(ca_file=str(files / "CA"))) == wanted


def test_an_unknown_authority(world: World, files: Path) -> None:
    with tls_peer(files, fails=True) as port:
        script = tls(port, '["tls_verify_ca" => true]') + (
            'echo $t->handshake() ?? "none"; echo $t->errno(); echo $t->send("x") ?? "none"; echo $t->getpeerx509();'
        )
        assert echoed(world, script) == ["none", "1", "none", "none"]


def test_a_wrong_name_is_found_without_an_own_handshake(world: World, files: Path) -> None:
    with tls_peer(files, fails=True) as port:
        script = (
            tls(port, '["tls_verify_name" => ["other.example.com"]]') + 'echo $t->send("secret") ?? "none"; $s->close();'
        )
        assert echoed(world, script) == ["none"]


def test_the_clients_certificate(world: World, files: Path) -> None:
    context = server_context(files)
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_verify_locations(files / "CA")

    def answer(connection: ssl.SSLSocket) -> None:
        certificate = connection.getpeercert()
        assert certificate is not None
        connection.sendall(str(certificate["serialNumber"]).encode())
        talk(connection)

    settings = SocketSettings(
        key_pairs=(
            KeyPair("1", files / "KEY", files / "CERTIFICATE"),
            KeyPair("2", files / "KEY"),
        )
    )
    with tls_peer(files, answer, context) as port:
        script = tls(port, '["tls_client_cert" => "pki:1"]') + "echo $t->recv(99); $t->shutdown(); $t->shutdown();"
        assert echoed(world, script, sockets=settings) == ["0ABC"]


def test_a_key_without_a_certificate(world: World, files: Path) -> None:
    settings = SocketSettings(key_pairs=(KeyPair("2", files / "KEY"),))
    script = 'TLSSocket(Socket("AF_INET", "SOCK_STREAM"), ["tls_client_cert" => "pki:2"]);'
    assert world.run("rcptto", script, sockets=settings).failed
    assert "is a key without a certificate" in world.failure()


def test_a_connection_that_breaks(world: World, files: Path) -> None:
    def answer(connection: ssl.SSLSocket) -> None:
        connection.sendall(b"a")
        connection.close()

    with tls_peer(files, answer) as port:
        script = tls(port) + 'echo $t->recv(9); echo $t->recv(9) ?? "none"; echo $t->errno();'
        assert echoed(world, script) == ["a", "none", "1"]


def test_a_peer_without_tls(world: World) -> None:
    def answer(connection: socket.socket) -> None:
        connection.sendall(b"220 hello\r\n")
        connection.recv(1000)

    with peer(answer) as port:
        assert echoed(world, tls(port) + 'echo $t->handshake() ?? "none"; echo $t->errno();') == ["none", "1"]


@pytest.mark.parametrize(
    ("script", "message"),
    [
        ('TLSSocket($s, ["tls_verify" => true]);', "did you mean `tls_verify_ca`?"),
        ('TLSSocket($s, ["tls_protocols" => "TLSv1.4"]);', "knows no protocol"),
        ('TLSSocket($s, ["tls_ciphers" => "FANCY"]);', "cannot set up TLS"),
        ('TLSSocket($s, ["tls_client_cert" => "pki:1"]);', "there is no certificate"),
        ('TLSSocket($s, ["tls_sni" => 5]);', "wants string"),
        ('TLSSocket(Socket("AF_INET", "SOCK_DGRAM"));', "SOCK_STREAM"),
        ("TLSSocket(5);", "TLSSocket() wants Socket as `socket`"),
    ],
)
def test_mistakes(world: World, script: str, message: str) -> None:
    assert world.run("rcptto", f'$s = Socket("AF_INET", "SOCK_STREAM"); {script}').failed
    assert message in world.failure()


def test_protocols() -> None:
    assert chosen_protocols("") == ["TLSv1.2", "TLSv1.3"]
    assert chosen_protocols("!SSLv2,!SSLv3") == ["TLSv1.2", "TLSv1.3"]
    assert chosen_protocols("TLSv1, TLSv1.1") == ["TLSv1", "TLSv1.1"]
    assert chosen_protocols("TLSv1,TLSv1.2") == ["TLSv1.2"]
    assert chosen_protocols("SSLv3") == []
    assert chosen_protocols("TLSv1.1,TLSv1.2,!TLSv1.1") == ["TLSv1.2"]

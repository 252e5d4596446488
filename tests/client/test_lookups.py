"""Look-ups at other servers: real Dovecot and FreeRADIUS, SMTP sinks, and small servers for what Debian has none of."""

from __future__ import annotations

import asyncio
import ssl
import struct
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from hslpy.client.contract import Timeouts, TlsWanted
from hslpy.client.lookup_contract import (
    Auth,
    Dovecot,
    Finding,
    Ident,
    Minger,
    Peer,
    Question,
    Radius,
    Rcpt,
    Server,
    TacacsLogin,
    TacacsRights,
)
from hslpy.client.lookups import RealLookups
from hslpy.client.on_demand import LookupsOnDemand
from hslpy.client.tacacs import obfuscated
from hslpy.errors import MailError
from hslpy.mail.address import NULL_SENDER, Address
from tests.support import certificates
from tests.support.login_servers import DovecotServer, RadiusServer
from tests.support.smtp_sink import Sink
from tests.support.web_server import server_context

TO = Address("to", "rcpt.example")


async def _addresses(host: str) -> tuple[str, ...]:
    if host == "nothing.example":
        raise MailError("nothing.example does not exist")
    return (host if host[0].isdigit() else "127.0.0.1",)


async def _find_hosts(server: Server, domain: str) -> list[tuple[str, str]]:
    host = server.host or f"mx.{domain}"
    if host == "two.example":
        return [("one", "127.0.0.250"), ("two", "127.0.0.1")]
    return [(host, address) for address in await _addresses(host)]


def ask(question: Question, ca_file: Path | None = None) -> Finding:
    lookups = RealLookups(_addresses, _find_hosts, "mx.example.org", str(ca_file) if ca_file else None)
    return asyncio.run(asyncio.wait_for(lookups.ask(question), 60))


def on_sink(test: Callable[[Callable[..., Awaitable[Finding]], Sink], Awaitable[None]], **sink: Any) -> None:
    """Run `test(ask, sink)`, where `ask(kind, **server)` asks the sink."""

    async def main() -> None:
        lookups = RealLookups(_addresses, _find_hosts, "mx.example.org")
        async with Sink(**sink) as it:

            async def asked(kind: type, **changes: Any) -> Finding:
                server = Server(**{"host": it.host, "port": it.port, **changes})
                return await lookups.ask(Rcpt(server, NULL_SENDER, TO) if kind is Rcpt else Auth(server))

            await test(asked, it)

    asyncio.run(asyncio.wait_for(main(), 60))


# ---- SMTP ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("answers", "code", "state", "reply"),
    [
        ({}, 1, "RCPT", 250),
        ({"RCPT": "550 5.1.1 No such user"}, 0, "RCPT", 550),
        ({"RCPT": "450 4.2.1 Later"}, 0, "RCPT", 450),
        ({"RCPT": "421 Bye"}, 0, "RCPT", 421),
        ({"MAIL": "553 5.7.1 Not you"}, 0, "MAIL", 553),
        ({"MAIL": None}, -1, "MAIL", None),
        ({"RCPT": None}, -1, "RCPT", None),
        ({"BANNER": "554 Go away"}, -1, "BANNER", 554),
        ({"EHLO": "421 No"}, -1, "EHLO", 421),
        ({"RCPT": "HANG"}, -1, "RCPT", None),
    ],
)
def test_recipients(answers: dict[str, str | None], code: int, state: str, reply: int | None) -> None:
    async def test(asked: Any, sink: Sink) -> None:
        found = await asked(Rcpt, timeouts=Timeouts(by_state=(("RCPT", 0.2),)))
        assert (found.code, found.state) == (code, state)
        assert (None if found.reply is None else found.reply.code) == reply
        assert (found.error != "") is (code < 0)
        assert sink.commands[0] == "EHLO mx.example.org" if code >= 0 else True
        if answers == {}:
            assert sink.commands[1:] == ["MAIL FROM:<>", "RCPT TO:<to@rcpt.example>", "QUIT"]
        assert sink.received == []

    on_sink(test, answers=answers)


def test_parameters_and_addresses_beyond_ascii() -> None:
    async def test(asked: Any, sink: Sink) -> None:
        server = Server(host=sink.host, port=sink.port, helo="me.example", source_ip="127.0.0.4")
        lookups = RealLookups(_addresses, _find_hosts, "x")
        question = Rcpt(server, Address("a", "b\xc3\xbccher.example"), TO, {"ENVID": "e"}, {"NOTIFY": "NEVER"})
        assert (await lookups.ask(question)).code == 1
        assert sink.commands[0] == "EHLO me.example"
        assert sink.commands[2] == "RCPT TO:<to@rcpt.example> NOTIFY=NEVER" and "ENVID=e" in sink.commands[1]
        found = await lookups.ask(Rcpt(server, NULL_SENDER, Address("t\xc3\xbc", "rcpt.example")))
        assert (found.code, "internationalised" in found.error) == (-1, True)

    on_sink(test)


def test_hosts_are_tried_in_turn() -> None:
    async def test(asked: Any, sink: Sink) -> None:
        assert (await asked(Rcpt, host="two.example")).code == 1
        assert (await asked(Rcpt, host=None)).code == 1
        found = await asked(Rcpt, host="nothing.example")
        assert (found.code, found.error) == (-1, "nothing.example does not exist")

    on_sink(test, host="127.0.0.1")


@pytest.mark.parametrize(("answer", "code"), [("235 2.7.0 in", 1), ("535 5.7.8 no", 0), ("454 4.7.0 later", -1), (None, -1)])
def test_logins(answer: str | None, code: int) -> None:
    async def test(asked: Any, sink: Sink) -> None:
        assert (await asked(Auth, sasl_username="me", sasl_password="secret")).code == code
        assert "AUTH PLAIN AG1lAHNlY3JldA==" in sink.commands

    on_sink(test, extensions=("AUTH PLAIN",), answers={"AUTH": answer})


def test_logins_that_cannot_be_asked() -> None:
    async def test(asked: Any, sink: Sink) -> None:
        assert (await asked(Auth, sasl_username="me", sasl_password="x")).code == -1
        assert "in clear text" in (await asked(Auth, sasl_username="me", sasl_password="x", tls="optional")).error

    on_sink(test)


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"tls": "require"}, 1),
        ({"tls": "require_verify"}, 1),
        ({"tls": "require_verify", "tls_verify_host": True}, -1),
        ({"tls": "require_verify", "tls_names": ("mail.example.com",)}, 1),
        ({"tls": "require_verify", "tls_names": ("other.example.com",)}, -1),
        ({"tls": "require", "tls_wanted": TlsWanted(protocols="TLSv1.2")}, 1),
        ({"tls": "require", "tls_wanted": TlsWanted(ciphers="NONSENSE")}, -1),
        ({"tls": "dane"}, -1),
    ],
)
def test_tls(tmp_path: Path, changes: dict[str, Any], code: int) -> None:
    (tmp_path / "ca.pem").write_text(certificates.CA)

    async def main() -> None:
        async with Sink(tls=server_context(tmp_path)) as sink:
            lookups = RealLookups(_addresses, _find_hosts, "x", str(tmp_path / "ca.pem"))
            server = Server(host="other.example.net", port=sink.port, **changes)
            found = await lookups.ask(Rcpt(server, NULL_SENDER, TO))
            assert found.code == code
            if code == 1:
                assert found.tls is not None
                assert found.tls.protocol == ("TLSv1.2" if "tls_wanted" in changes else "TLSv1.3")
                assert found.certificate == ssl.PEM_cert_to_DER_cert(certificates.CERTIFICATE)

    asyncio.run(main())


# ---- Dovecot and RADIUS -------------------------------------------------------------------------


@pytest.mark.parametrize("mechanisms", ["plain", "login", "cram-md5"])
def test_dovecot(mechanisms: str) -> None:
    with DovecotServer(mechanisms) as server:
        question = Dovecot(Peer(server.host, server.port), "me", "secret", "smtp", "192.0.2.7", "192.0.2.1", True)
        assert ask(question).code == 1
        assert ask(replace(question, service="imap\tnologin", local_ip="a\tb=c\nd")).code == 1
        assert ask(replace(question, password="wrong")).code == 0
        assert ask(replace(question, username="nobody")).code == 0
        assert ask(replace(question, password="secret\0x")).code == 0


@pytest.fixture(scope="module")
def radius() -> Iterator[RadiusServer]:
    with RadiusServer() as server:
        yield server


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({}, 1),
        ({"password": "wrong"}, 0),
        ({"password": ""}, 0),
        ({"username": ""}, 0),
        ({"password": "x" * 129}, 0),
        ({"username": "nobody"}, 0),
        ({"username": "client"}, 0),
        ({"username": "client", "client_ip": "192.0.2.7", "vendor": ((1, "one"), (2, "two"))}, 1),
        ({"username": "wants"}, -1),
        ({"username": "silent"}, -1),
        ({"secret": "another"}, -1),
    ],
)
def test_radius(radius: RadiusServer, changes: dict[str, Any], code: int) -> None:
    question = Radius(Peer(radius.host, radius.port, 0.3), radius.secret, "me", "secret", retries=1)
    if code == 1 or changes.get("password"):
        question = replace(question, peer=Peer(radius.host, radius.port, 5.0))
    found = ask(replace(question, **changes))
    assert found.code == code, found.error


def test_nobody_there() -> None:
    for question in (
        Radius(Peer("127.0.0.1", 1), "s", "me", "secret", retries=0),
        Dovecot(Peer("127.0.0.1", 1), "me", "secret"),
        TacacsLogin(Peer("127.0.0.1", 1), "s", "me", "secret"),
        Minger(Peer("127.0.0.1", 1), "a@example.com"),
        Ident(Peer("nothing.example", 1), 1, "127.0.0.1", 2),
    ):
        found = ask(question)
        assert found.code == -1 and found.error


# ---- small servers ------------------------------------------------------------------------------

Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def serving(serve: Serve) -> AsyncIterator[int]:
    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await serve(reader, writer)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(handle, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()


def ask_server(serve: Serve, make: Callable[[Peer], Question], timeout_s: float = 50.0) -> Finding:
    async def main() -> Finding:
        async with serving(serve) as port:
            lookups = RealLookups(_addresses, _find_hosts, "x")
            return await asyncio.wait_for(lookups.ask(make(Peer("127.0.0.1", port, timeout_s))), 60)

    return asyncio.run(main())


@pytest.mark.parametrize(
    ("reply", "values"),
    [
        ("6193, 23 : USERID : UNIX : stjohns\r\n", {"os": "UNIX", "username": "stjohns"}),
        ("6193,23:USERID:OTHER,US-ASCII:a:b\n", {"os": "OTHER,US-ASCII", "username": "a:b"}),
        ("6193, 23 : ERROR : HIDDEN-USER\r\n", {"error": "HIDDEN-USER"}),
        ("6193, 23 : ERROR : NO-USER", {"error": "NO-USER"}),
        ("6195, 23 : USERID : UNIX : stjohns\r\n", None),
        ("6193, 23 : WHATEVER : x\r\n", None),
        ("", None),
        ("x" * 100_000, None),
    ],
)
def test_ident(reply: str, values: dict[str, str] | None) -> None:
    seen: list[tuple[bytes, str]] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        seen.append((await reader.readline(), writer.get_extra_info("peername")[0]))
        writer.write(reply.encode())
        await writer.drain()

    found = ask_server(serve, lambda peer: Ident(peer, 6193, "127.0.0.6", 23))
    assert seen == [(b"6193, 23\r\n", "127.0.0.6")]
    assert (dict(found.values) if found.code == 1 else None) == values


def test_a_silent_server_is_given_up() -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()

    for make in (
        lambda peer: Ident(peer, 1, "127.0.0.1", 2),
        lambda peer: Dovecot(peer, "me", "x"),
        lambda peer: TacacsLogin(peer, "s", "me", "x"),
    ):
        assert ask_server(serve, make, 0.1).error == "no answer within 0.1 s"


@pytest.mark.parametrize(
    "hello", [b"VERSION\t2\t0\nDONE\n", b"VERSION\t1\t1\nMECH\tNTLM\nDONE\n", b"220 hello\n" * 200, b""]
)
def test_what_is_no_dovecot(hello: bytes) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(hello)
        await writer.drain()

    assert ask_server(serve, lambda peer: Dovecot(peer, "me", "x")).code == -1


SECRET = b"shared"
# What tacacs_plus 2.6 writes for the same questions.
LOGIN = "01000201020509066d6568736c70793139322e302e322e37736563726574"
RIGHTS = "06000201020509020c046d6568736c70793139322e302e322e37736572766963653d736d7470636d643d"


def tacacs(status: int, seen: list[bytes], rest: bytes = b"\0\0\0\0\0", secret: bytes = SECRET, flags: int = 0) -> Serve:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        version, kind, number, _, session, length = struct.unpack("!4B4sI", await reader.readexactly(12))
        seen.append(obfuscated(await reader.readexactly(length), secret, session, version, number))
        body = bytes((status,)) + rest
        writer.write(struct.pack("!4B4sI", version, kind, 2, flags, session, len(body)))
        writer.write(obfuscated(body, secret, session, version, 2))
        await writer.drain()

    return serve


def test_the_obfuscation_is_that_of_other_clients() -> None:
    """Bytes of tacacs_plus 2.6 for the same packet."""
    body = bytes.fromhex(LOGIN)
    assert (
        obfuscated(body, SECRET, bytes((1, 2, 3, 4)), 0xC1, 1).hex()
        == "9a4907a1ae2be961fd1c744b346c5128ff6a4ac8c32ed38dab9db3244616"
    )


@pytest.mark.parametrize(("status", "code"), [(1, 1), (2, 0), (5, -1), (7, -1), (0x21, -1)])
def test_tacacs_logins(status: int, code: int) -> None:
    seen: list[bytes] = []
    found = ask_server(tacacs(status, seen), lambda peer: TacacsLogin(peer, "shared", "me", "secret", "192.0.2.7"))
    assert found.code == code
    assert [body.hex() for body in seen] == [LOGIN]


def test_tacacs_rights() -> None:
    seen: list[bytes] = []
    pairs = b"\x02" + b"\0\x02\0\x01" + b"\x05\x03" + b"hi" + b"d" + b"a=bcd" + b"e*f"
    rest = pairs

    def asked(status: int, rest: bytes) -> Finding:
        question = ("shared", "me", ("service=smtp", "cmd="), "192.0.2.7")
        return ask_server(tacacs(status, seen, rest), lambda peer: TacacsRights(peer, *question))

    assert [text for _, text in asked(1, rest).values] == ["a=bcd", "e*f"]
    assert [text for _, text in asked(2, rest).values] == ["a=bcd", "e*f"]
    assert asked(1, b"\0\0\0\0\0").values == () and asked(0x10, rest).code == 0
    assert asked(0x11, rest).code == -1 and asked(1, rest[:-2]).code == -1 and asked(1, b"\xff" * 5).code == -1
    assert {body.hex() for body in seen} == {
        "06000201020509020c046d6568736c70793139322e302e322e37736572766963653d736d7470636d643d"
    }


def test_tacacs_with_another_secret_or_in_the_clear() -> None:
    for serve in (tacacs(1, [], secret=b"other"), tacacs(1, [], flags=1)):
        assert ask_server(serve, lambda peer: TacacsLogin(peer, "shared", "me", "secret")).code == -1
    assert ask(TacacsLogin(Peer("127.0.0.1", 1), "s", "x" * 256, "")).code == -1


@pytest.mark.parametrize(
    ("replies", "number"),
    [
        ([b"a@example.com 5"], 5),
        ([b"b@example.com 1", b"junk", b"A@Example.com 3 more"], 3),
        ([], None),
    ],
)
def test_minger(replies: list[bytes], number: int | None) -> None:
    seen: list[bytes] = []

    class Server_(asyncio.DatagramProtocol):
        def connection_made(self, transport: Any) -> None:
            self.transport = transport

        def datagram_received(self, data: bytes, addr: Any) -> None:
            seen.append(data)
            for reply in replies:
                self.transport.sendto(reply, addr)

    async def main() -> Finding:
        loop = asyncio.get_running_loop()
        transport, _ = await loop.create_datagram_endpoint(Server_, local_addr=("127.0.0.1", 0))
        port = transport.get_extra_info("sockname")[1]
        question = Minger(Peer("127.0.0.1", port, 0.2 if number is None else 5.0), "a@example.com", "key")
        found = await RealLookups(_addresses, _find_hosts, "x").ask(question)
        transport.close()
        return found

    found = asyncio.run(main())
    assert (found.number if found.code == 1 else None) == number
    assert seen == [b"a@example.com d=WOeccYH6ejj23AOketE0Gg=="]


def test_look_ups_on_demand_are_made_once() -> None:
    made: list[int] = []

    def make() -> RealLookups:
        made.append(1)
        return RealLookups(_addresses, _find_hosts, "x")

    async def main() -> None:
        lookups = LookupsOnDemand(make)
        for _ in range(2):
            assert (await lookups.ask(Minger(Peer("nothing.example", 1), "a@b"))).code == -1

    asyncio.run(main())
    assert made == [1]

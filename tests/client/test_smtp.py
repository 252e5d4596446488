"""The client against real sockets: source, HELO, framing, replies by recipient, reuse, TLS, and peers that misbehave."""

from __future__ import annotations

import asyncio
import ssl
import subprocess
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from hslpy.client.contract import Route, Timeouts, TransactionResult
from hslpy.client.smtp import ClientSettings, SmtpClient
from hslpy.client.transaction import dot_stuffed
from hslpy.clock import SystemClock
from hslpy.mail.address import NULL_SENDER, Address
from tests.support.smtp_sink import Sink

SENDER = Address("from", "sender.example")
CONTENT = b"Subject: x\r\n\r\nhello\r\n"
PATIENT = Timeouts(connect_s=60, greeting_s=60, command_s=60, data_s=60, block_s=60, final_s=60, quit_s=0.3)
SHORT = Timeouts(connect_s=60, greeting_s=0.3, command_s=0.3, data_s=0.3, block_s=0.3, final_s=0.3, quit_s=0.3)


def rcpts(*names: str) -> tuple[Address, ...]:
    return tuple(Address(name, "rcpt.example") for name in names)


def route(sink: Sink, **changes: Any) -> Route:
    base = Route("mx.rcpt.example", sink.host, sink.port, "127.0.0.2", "out.example", timeouts=PATIENT)
    return replace(base, **changes)


def run(test: Callable[[SmtpClient], Awaitable[None]], **settings: Any) -> None:
    async def main() -> None:
        client = SmtpClient(ClientSettings(**settings), SystemClock())
        try:
            await test(client)
        finally:
            await client.close()

    asyncio.run(asyncio.wait_for(main(), 60))


async def send(client: SmtpClient, where: Route, *names: str, content: bytes = CONTENT, **kw: Any) -> TransactionResult:
    to = rcpts(*(names or ("to",)))
    params = kw.get("rcpt_params", ({},) * len(to))
    return await client.send(where, kw.get("sender", SENDER), to, content, kw.get("mail_params", {}), params)


def codes(result: TransactionResult) -> list[tuple[int, str] | None]:
    return [None if r is None else (r.reply.code, r.state) for r in result.results]


@pytest.mark.parametrize("extensions", [("PIPELINING", "8BITMIME"), ()])
def test_leaves_from_the_chosen_source_under_its_helo(extensions: tuple[str, ...]) -> None:
    async def test(client: SmtpClient) -> None:
        async with Sink("127.0.0.9", extensions=extensions) as sink:
            for ip, helo in (("127.0.0.2", "two.example"), ("127.0.0.3", "three.example")):
                result = await send(client, route(sink, source_ip=ip, helo=helo))
                assert codes(result) == [(250, "EOD")] and result.local_ip == ip and result.error is None
            assert [(r.peer_ip, r.helo) for r in sink.received] == [
                ("127.0.0.2", "two.example"),
                ("127.0.0.3", "three.example"),
            ]
            assert sink.received[0].mail.startswith("<from@sender.example>") and sink.received[0].content == CONTENT

    run(test)


def test_a_source_that_is_not_here_is_reported_and_nothing_is_sent() -> None:
    async def test(client: SmtpClient) -> None:
        async with Sink() as sink:
            result = await send(client, route(sink, source_ip="192.0.2.77"))
            assert result.bind_failed and result.failed_at_connect and result.results == (None,)
            assert "192.0.2.77" in (result.error or "") and sink.connections == 0

    run(test)


def test_null_sender_parameters_and_size() -> None:
    async def test(client: SmtpClient) -> None:
        async with Sink() as sink:
            await send(
                client,
                route(sink),
                sender=NULL_SENDER,
                mail_params={"RET": "HDRS", "envid": "a+20b", "BODY": "7BIT", "X": "y"},
                rcpt_params=({"NOTIFY": "NEVER", "ORCPT": "rfc822;a@b", "BAD": "1"},),
            )
            assert f"MAIL FROM:<> SIZE={len(CONTENT)} RET=HDRS ENVID=a+20b" in sink.commands
            assert any(c.startswith("RCPT TO:<to@rcpt.example> NOTIFY=NEVER") for c in sink.commands)

    run(test)


@pytest.mark.parametrize("pipelining", [True, False])
def test_results_by_recipient(pipelining: bool) -> None:
    async def test(client: SmtpClient) -> None:
        answers: dict[str, Any] = {
            "RCPT TO:<bad": "550 5.1.1 no\r\n",
            "RCPT TO:<later": "450-4.2.1 first\r\n450 4.2.1 second",
        }
        answers["RCPT TO:<bad"] = "550 5.1.1 no such user"
        async with Sink(extensions=("PIPELINING",) if pipelining else (), answers=answers) as sink:
            result = await send(client, route(sink), "one", "bad", "later", "two")
            assert codes(result) == [(250, "EOD"), (550, "RCPT"), (450, "RCPT"), (250, "EOD")]
            bad, later = result.results[1], result.results[2]
            assert bad is not None and bad.reply.enhanced == (5, 1, 1) and bad.reply.lines == ("no such user",)
            assert later is not None and later.reply.lines == ("first", "second")
            assert len(sink.received[0].rcpts) == 2

    run(test)


@pytest.mark.parametrize("pipelining", [True, False])
@pytest.mark.parametrize(
    ("answers", "expected"),
    [
        ({"MAIL": "550 5.7.1 go away"}, [(550, "MAIL"), (550, "MAIL")]),
        ({"RCPT": "451 4.7.1 greylisted"}, [(451, "RCPT"), (451, "RCPT")]),
        ({"DATA": "554 5.7.0 no"}, [(554, "DATA"), (554, "DATA")]),
        ({"EOD": "552 5.2.2 full"}, [(552, "EOD"), (552, "EOD")]),
        ({"RCPT": "550 no", "DATA": "354 all the same"}, [(550, "RCPT"), (550, "RCPT")]),
        ({"EOD": "354 what"}, [(451, "EOD"), (451, "EOD")]),
    ],
)
def test_refusals_and_the_connection_is_usable_after_them(
    pipelining: bool, answers: dict[str, Any], expected: list[tuple[int, str]]
) -> None:
    async def test(client: SmtpClient) -> None:
        async with Sink(extensions=("PIPELINING",) if pipelining else (), answers=dict(answers)) as sink:
            assert codes(await send(client, route(sink), "a", "b")) == expected
            sink.answers.clear()
            again = await send(client, route(sink), "c")
            assert codes(again) == [(250, "EOD")] and again.reused and sink.connections == 1
            assert sink.received[0].rcpts == ["<c@rcpt.example>"]

    run(test)


def test_a_refusing_peer_that_takes_empty_data_gets_an_empty_message_only() -> None:
    async def test(client: SmtpClient) -> None:
        async with Sink(answers={"RCPT": "550 no", "DATA": "354 go"}) as sink:
            await send(client, route(sink))
            assert sink.received == [] and sink.raw == []

    run(test)


def test_reuse_is_bound_to_the_route_and_counted() -> None:
    async def test(client: SmtpClient) -> None:
        async with Sink() as sink:
            for _ in range(4):
                await send(client, route(sink))
            assert sink.connections == 2  # three messages, then a new one
            await send(client, route(sink, source_ip="127.0.0.3"))
            await send(client, route(sink, helo="other.example"))
            assert sink.connections == 4

    run(test, messages_per_connection=3)


def test_idle_connections_are_left_in_time() -> None:
    async def test(client: SmtpClient) -> None:
        async with Sink() as sink:
            await send(client, route(sink))
            assert client.idle_connections == 1
            while client.idle_connections or sink.commands[-1] != "QUIT":
                await asyncio.sleep(0.01)

    run(test, idle_s=0.05)


def test_connections_from_an_address_that_is_no_longer_ours_to_use_are_left_at_once() -> None:
    async def test(client: SmtpClient) -> None:
        async with Sink() as sink:
            gone: set[str] = set()
            client.may_leave_from = lambda address: address not in gone
            for address in ("127.0.0.2", "127.0.0.3"):
                await send(client, route(sink, source_ip=address))
            gone.add("127.0.0.2")
            client.look_again()
            assert client.idle_connections == 1
            await send(client, route(sink, source_ip="127.0.0.2"))  # one that was chosen before
            assert client.idle_connections == 1 and sink.connections == 3
            await send(client, route(sink, source_ip="127.0.0.3"))
            assert sink.connections == 3

    run(test)


def test_a_kept_connection_that_died_is_replaced_unnoticed() -> None:
    async def test(client: SmtpClient) -> None:
        async with Sink() as sink:
            await send(client, route(sink))
            sink.drop_all()
            assert codes(await send(client, route(sink))) == [(250, "EOD")]
            sink.answers["MAIL"] = lambda _: sink.answers.pop("MAIL") and "421 4.3.2 too many messages"
            assert codes(await send(client, route(sink))) == [(250, "EOD")]
            assert sink.connections == 3

    run(test)


@pytest.mark.parametrize(
    ("answers", "state"),
    [({"BANNER": "HANG"}, "BANNER"), ({"EHLO": None}, "EHLO"), ({"MAIL": "HANG"}, "MAIL"), ({"BANNER": "hello"}, "BANNER")],
)
def test_network_faults_before_the_message_allow_the_next_host(answers: dict[str, Any], state: str) -> None:
    async def test(client: SmtpClient) -> None:
        async with Sink(answers=answers) as sink:
            result = await send(client, route(sink, timeouts=SHORT if "HANG" in answers.values() else PATIENT))
            assert result.error and result.error_state == state and result.failed_at_connect and result.results == (None,)
            assert client.idle_connections == 0

    run(test)


@pytest.mark.parametrize("answers", [{"EOD": "HANG"}, {"EOD": None}, {"DATA": None}])
def test_network_faults_within_the_message(answers: dict[str, Any]) -> None:
    async def test(client: SmtpClient) -> None:
        async with Sink(answers=answers | {"RCPT TO:<bad": "550 5.1.1 no"}) as sink:
            timeouts = replace(PATIENT, final_s=0.3)
            result = await send(client, route(sink, timeouts=timeouts), "bad", "good")
            assert codes(result) == [(550, "RCPT"), None] and result.error and not result.failed_at_connect
            assert client.idle_connections == 0

    run(test)


def test_refused_connection_and_greeting() -> None:
    async def test(client: SmtpClient) -> None:
        async with Sink(answers={"BANNER": "554 5.7.1 blocked"}) as sink:
            result = await send(client, route(sink))
            assert codes(result) == [(554, "BANNER")] and result.failed_at_connect
            port = sink.port
        result = await send(client, Route("h", "127.0.0.1", port, None, "out.example", timeouts=PATIENT))
        assert result.error and "refused" in result.error.lower() and result.failed_at_connect and not result.bind_failed

    run(test)


def test_helo_where_ehlo_is_unknown() -> None:
    async def test(client: SmtpClient) -> None:
        async with Sink(answers={"EHLO": "502 what"}) as sink:
            assert codes(await send(client, route(sink))) == [(250, "EOD")]
            assert sink.received[0].helo == "out.example" and "SIZE" not in sink.received[0].mail

    run(test)


def test_a_cancelled_transaction_closes_its_connection() -> None:
    async def test(client: SmtpClient) -> None:
        async with Sink(answers={"EOD": "HANG"}) as sink:
            task = asyncio.create_task(send(client, route(sink, timeouts=Timeouts())))
            while not sink.raw:
                await asyncio.sleep(0.01)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert client.idle_connections == 0

    run(test)


def test_a_peer_that_says_too_much_is_not_reused() -> None:
    async def test(client: SmtpClient) -> None:
        async with Sink(answers={"EOD": "250 ok\r\n250 ok once more"}) as sink:
            assert codes(await send(client, route(sink))) == [(250, "EOD")]
            assert client.idle_connections == 0
            sink.answers.clear()
            assert not (await send(client, route(sink))).reused

    run(test)


def test_what_a_peer_cannot_take_is_refused_in_its_stead() -> None:
    async def test(client: SmtpClient) -> None:
        async with Sink(extensions=("SIZE 10",)) as sink:
            result = await send(client, route(sink), content="Subject: å\r\n\r\n".encode())
            assert result.results[0] is not None and result.results[0].reply.enhanced == (5, 6, 3) and result.results[0].ours
            result = await send(client, route(sink))
            assert result.results[0] is not None and result.results[0].reply.enhanced == (5, 3, 4)
            sender = Address("å".encode().decode("latin-1"), "x.example")
            result = await send(client, route(sink), sender=sender, content=b"A: b")
            assert result.results[0] is not None and result.results[0].reply.enhanced == (5, 6, 7)
            assert not any(c.startswith("MAIL") for c in sink.commands)

    run(test)


def test_framing() -> None:
    assert dot_stuffed(b".a\r\n..b\r\n.") == b"..a\r\n...b\r\n..\r\n"
    assert dot_stuffed(b"a\nb\rc\r\n.\n") == b"a\r\nb\r\nc\r\n..\r\n"
    assert dot_stuffed(b"") == b""

    async def test(client: SmtpClient) -> None:
        async with Sink() as sink:
            content = b"Subject: x\r\n\r\n.\r\n..\r\n.dot\r\n" + b"x" * 300_000 + b"\r\n"
            assert codes(await send(client, route(sink), content=content)) == [(250, "EOD")]
            assert sink.received[0].content == content

    run(test)


def test_many_recipients_go_in_several_batches() -> None:
    async def test(client: SmtpClient) -> None:
        async with Sink() as sink:
            names = [f"r{i}" for i in range(120)]
            result = await send(client, route(sink), *names)
            assert codes(result) == [(250, "EOD")] * 120 and len(sink.received[0].rcpts) == 120

    run(test)


def test_lmtp_has_a_reply_a_recipient() -> None:
    async def test(client: SmtpClient) -> None:
        async with Sink(lmtp=True, answers={"EOD <b@": "452 4.2.2 full"}) as sink:
            result = await send(client, route(sink, protocol="lmtp"), "a", "b", "c")
            assert codes(result) == [(250, "EOD"), (452, "EOD"), (250, "EOD")]
            assert sink.commands[0] == "LHLO out.example" and client.idle_connections == 1

    run(test)


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tls")
    both = folder / "both.pem"
    subprocess.run(
        [
            *(
                "openssl",
                "req",
                "-x509",
                "-newkey",
                "ec",
                "-pkeyopt",
                "ec_paramgen_curve:prime256v1",
                "-nodes",
                "-days",
                "2",
            ),
            *("-subj", "/CN=mx.rcpt.example", "-addext", "subjectAltName=DNS:mx.rcpt.example,DNS:*.pool.example"),
            *("-keyout", str(folder / "key.pem"), "-out", str(folder / "cert.pem")),
        ],
        check=True,
        capture_output=True,
    )
    both.write_bytes((folder / "key.pem").read_bytes() + (folder / "cert.pem").read_bytes())
    return both


def server_tls(certificate: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    return context


@pytest.mark.parametrize("mode", ["optional", "require", "require_verify", "optional_verify"])
def test_tls(certificate: Path, mode: Any) -> None:
    async def test(client: SmtpClient) -> None:
        async with Sink(tls=server_tls(certificate)) as sink:
            result = await send(client, route(sink, tls=mode))
            assert codes(result) == [(250, "EOD")] and sink.received[0].tls
            assert result.tls is not None and result.tls.protocol == "TLSv1.3"
            assert result.tls.verified == mode.endswith("verify")
            named = await send(client, route(sink, tls=mode, host="a.pool.example"))
            assert codes(named) == [(250, "EOD")]
            wrong = await send(client, route(sink, tls=mode, host="other.example"))
            assert (codes(wrong) == [(250, "EOD")]) != mode.endswith("verify")
            given = await send(client, route(sink, tls=mode, host="other.example", tls_names=("mx.rcpt.example",)))
            assert codes(given) == [(250, "EOD")]

    run(test, ca_file=str(certificate))


def test_tls_that_fails_falls_back_only_where_it_may(certificate: Path) -> None:
    async def test(client: SmtpClient) -> None:
        old = server_tls(certificate)
        old.set_ciphers("ADH")  # no cipher that a client would take
        old.maximum_version = ssl.TLSVersion.TLSv1_2
        async with Sink(tls=old) as sink:
            result = await send(client, route(sink))
            assert codes(result) == [(250, "EOD")] and result.tls is None and sink.connections == 2
            result = await send(client, route(sink, tls="require"))
            assert result.error and "TLS" in result.error and result.error_state == "STARTTLS" and len(sink.received) == 1
        async with Sink(tls=server_tls(certificate), answers={"STARTTLS": "454 4.7.0 not now"}) as sink:
            result = await send(client, route(sink))
            assert codes(result) == [(250, "EOD")] and result.tls is None and sink.connections == 1
        async with Sink() as sink:
            assert "offers no TLS" in ((await send(client, route(sink, tls="require"))).error or "")
            assert "DANE" in ((await send(client, route(sink, tls="dane"))).error or "")
            assert not sink.received

    run(test)


def test_login(certificate: Path) -> None:
    async def test(client: SmtpClient) -> None:
        login = {"sasl_username": "u", "sasl_password": "p"}
        offers = ("AUTH PLAIN", "8BITMIME")
        async with Sink(tls=server_tls(certificate), extensions=offers, answers={"AUTH": "235 2.7.0 ok"}) as sink:
            assert codes(await send(client, route(sink, **login))) == [(250, "EOD")]
            assert "AUTH PLAIN AHUAcA==" in sink.commands
        async with Sink(extensions=offers, answers={"AUTH": "535 5.7.8 no"}) as sink:
            refused = await send(client, route(sink, **login))
            assert "not sent in clear text" in (refused.error or "") and not any("AUTH" in c for c in sink.commands)
            refused = await send(client, route(sink, tls="disabled", **login))
            assert codes(refused) == [(535, "AUTH")] and refused.failed_at_connect
            count = len(sink.commands)
            for login in ({"sasl_username": "u\0p", "sasl_password": ""}, {"sasl_username": "u", "sasl_password": "p\0"}):
                refused = await send(client, route(sink, tls="disabled", **login))
                assert "a NUL is none" in (refused.error or "")
            assert not any("AUTH" in command for command in sink.commands[count:])

    run(test)


def test_xclient() -> None:
    async def test(client: SmtpClient) -> None:
        async with Sink(extensions=("XCLIENT NAME ADDR",), answers={"XCLIENT": "220 again"}) as sink:
            where = route(sink, xclient=(("ADDR", "192.0.2.1"), ("NAME", "a b")))
            assert codes(await send(client, where)) == [(250, "EOD")]
            assert sink.commands[1:3] == ["XCLIENT ADDR=192.0.2.1 NAME=a+20b", "EHLO out.example"]

    run(test)


def test_replies_smuggled_in_before_tls_are_not_taken_for_the_peers(certificate: Path) -> None:
    async def test(client: SmtpClient) -> None:
        inject = "220 go ahead\r\n250-evil\r\n250 AUTH PLAIN"
        async with Sink(tls=server_tls(certificate), answers={"STARTTLS": inject}) as sink:
            result = await send(client, route(sink, tls="require"))
            assert result.error and "out of turn" in result.error and not sink.received

    run(test, ca_file=str(certificate))


def test_one_recipient_that_cannot_be_written_does_not_take_the_others_along() -> None:
    async def test(client: SmtpClient) -> None:
        async with Sink() as sink:
            to = (
                Address("å".encode().decode("latin-1"), "x.example"),
                Address("b", "bücher.example".encode().decode("latin-1")),
            )
            result = await client.send(route(sink), SENDER, (*to, Address("a\nb", "x")), CONTENT, {}, ({}, {}, {}))
            assert [r and r.reply.enhanced for r in result.results] == [(5, 6, 7), (2, 0, 0), (5, 1, 3)]
            assert sink.received[0].rcpts == ["<b@xn--bcher-kva.example>"]
        async with Sink(extensions=("SMTPUTF8", "8BITMIME")) as sink:
            assert codes(await client.send(route(sink), SENDER, to[:1], CONTENT, {}, ({},))) == [(250, "EOD")]
            assert sink.received[0].mail.endswith(" SMTPUTF8")

    run(test)

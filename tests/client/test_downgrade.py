"""Mail for servers that do not take all of it: 8-bit content and internationalised mail, and what they hear instead."""

from __future__ import annotations

import email
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from hslpy.client.smtp import SmtpClient
from hslpy.mail.address import Address
from tests.client.test_smtp import SENDER, codes, rcpts, route, run
from tests.support.smtp_sink import Sink

AE = "å".encode()
EIGHT = b"Subject: x\r\nMIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\n\r\nthe letter " + AE + b"\r\n"
Work = Callable[[SmtpClient], Awaitable[None]]


async def sent(client: SmtpClient, sink: Sink, content: bytes, params: Any = None, sender: Address = SENDER) -> list[Any]:
    return codes(await client.send(route(sink), sender, rcpts("b"), content, params or {}, ({},)))


@pytest.mark.parametrize("extra", [("PIPELINING",), ()])
def test_8bit_content_is_converted_for_a_server_without_8bitmime(extra: tuple[str, ...]) -> None:
    async def test(client: SmtpClient) -> None:
        async with Sink(extensions=extra) as sink:
            assert await sent(client, sink, EIGHT) == [(250, "EOD")]
            got = sink.received[0]
            assert got.content.isascii() and "BODY" not in got.mail
            assert email.message_from_bytes(got.content).get_payload(decode=True) == b"the letter " + AE + b"\r\n"
            assert await sent(client, sink, EIGHT + AE * (1 << 20) + b"\r\n") == [(250, "EOD")]
            assert sink.received[1].content.isascii()

    run(test)


def test_8bit_content_goes_as_it_is_where_it_may() -> None:
    async def test(client: SmtpClient) -> None:
        async with Sink(extensions=("8BITMIME",)) as sink:
            assert await sent(client, sink, EIGHT) == [(250, "EOD")]
            assert sink.received[0].content == EIGHT and sink.received[0].mail.endswith("BODY=8BITMIME")

    run(test)


def test_what_cannot_be_converted_comes_back() -> None:
    signed = b"Content-Type: multipart/signed; boundary=s\r\n\r\n--s\r\n\r\n" + AE + b"\r\n--s\r\n\r\nx\r\n--s--\r\n"

    async def test(client: SmtpClient) -> None:
        async with Sink(extensions=()) as sink:
            result = await client.send(route(sink), SENDER, rcpts("b"), signed, {}, ({},))
            said = result.results[0]
            assert said is not None and said.ours
            assert str(said.reply).startswith("554 5.6.3 ") and str(said.reply).endswith(": it is signed")
            assert not any(command.startswith("MAIL") for command in sink.commands)

    run(test)


def test_conversion_can_be_switched_off() -> None:
    async def test(client: SmtpClient) -> None:
        async with Sink(extensions=()) as sink:
            result = await client.send(route(sink), SENDER, rcpts("b"), EIGHT, {}, ({},))
            assert result.results[0] is not None and result.results[0].reply.enhanced == (5, 6, 3)

    run(test, convert_8bit=False)


def test_internationalised_mail() -> None:
    header = b"Subject: " + AE + b"\r\n\r\nx\r\n"
    declared = {"SMTPUTF8": ""}
    local = Address(AE.decode("latin-1"), "y.example")
    domain = Address("a", "bücher.example".encode().decode("latin-1"))

    async def test(client: SmtpClient) -> None:
        async with Sink(extensions=("8BITMIME",)) as plain, Sink(extensions=("SMTPUTF8",)) as able:
            # declared, and nothing of it needed: sent without
            assert await sent(client, plain, b"Subject: x\r\n\r\ny\r\n", declared, domain) == [(250, "EOD")]
            assert plain.received[0].mail == "<a@xn--bcher-kva.example>"
            refused = await client.send(route(plain), SENDER, rcpts("b"), header, declared, ({},))
            assert refused.results[0] is not None and refused.results[0].reply.enhanced == (5, 6, 9)
            refused = await client.send(route(plain), local, rcpts("b"), EIGHT, declared, ({},))
            assert refused.results[0] is not None and refused.results[0].reply.enhanced == (5, 6, 7)
            assert len(plain.received) == 1
            inner = b"Content-Type: message/rfc822\r\n\r\n" + header
            refused = await client.send(route(plain), SENDER, rcpts("b"), inner, declared, ({},))
            assert refused.results[0] is not None and refused.results[0].reply.enhanced == (5, 6, 9)
            # SMTPUTF8 only where it is needed; it brings 8-bit content along
            assert await sent(client, able, b"Subject: x\r\n\r\ny\r\n", declared) == [(250, "EOD")]
            assert await sent(client, able, header, declared) == [(250, "EOD")]
            assert await sent(client, able, b"Subject: x\r\n\r\ny\r\n", {}, local) == [(250, "EOD")]
            assert [one.mail.endswith("SMTPUTF8") for one in able.received] == [False, True, True]
            assert able.received[1].content == header

    run(test)


def test_parameters_of_dsn_are_handed_on_to_who_offers_it() -> None:
    async def test(client: SmtpClient) -> None:
        given = {"RET": "HDRS", "ENVID": "a+2Bb", "SIZE": "5", "BODY": "7BIT"}
        theirs = {"NOTIFY": "SUCCESS,DELAY", "ORCPT": "utf-8;" + AE.decode("latin-1") + "+y\\x{E4}@y.example"}
        async with Sink(extensions=("DSN",)) as able, Sink(extensions=()) as plain:
            for sink in (able, plain):
                await client.send(route(sink), SENDER, rcpts("b"), b"Subject: x\r\n\r\ny\r\n", given, (theirs,))
            assert able.received[0].mail.endswith("> RET=HDRS ENVID=a+2Bb")
            assert able.received[0].rcpts[0].endswith("> NOTIFY=SUCCESS,DELAY ORCPT=utf-8;\\x{E5}+y\\x{E4}@y.example")
            assert plain.received[0].mail.endswith(">") and plain.received[0].rcpts[0].endswith(">")

    run(test)

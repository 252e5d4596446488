"""STARTTLS, implicit TLS and AUTH."""

from __future__ import annotations

import asyncio
import ssl
from base64 import b64encode
from pathlib import Path
from typing import Any

import pytest

from hslpy.errors import OperatorError
from hslpy.mail.reply import Reply
from hslpy.mail.verdict import SmtpVerdict
from hslpy.smtp.server import SmtpServer
from hslpy.smtp.settings import Listener, SmtpSettings
from tests.smtp.harness import Client, FakeHooks, certificate, run, serving, until

MESSAGE = b"Subject: x\r\n\r\nhello\r\n"


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    return certificate(tmp_path_factory.mktemp("tls"))


def trusting(pair: tuple[Path, Path]) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=str(pair[0]))


async def secured(client: Client, pair: tuple[Path, Path]) -> Client:
    assert (await client.ask(b"STARTTLS"))[:9] == b"220 2.0.0"
    await client.writer.start_tls(trusting(pair), server_hostname="localhost")
    return client


def check(event: Any) -> SmtpVerdict:
    good = (event.username, event.password) == ("joe", "p\xe5ss")
    return SmtpVerdict("accept", username="JOE") if good else SmtpVerdict("reject")


PLAIN = b64encode(b"\0joe\0p\xe5ss")


@pytest.mark.parametrize("uvloop", [False, True])
def test_starttls_then_auth(pair: tuple[Path, Path], uvloop: bool) -> None:
    async def work() -> None:
        hooks = FakeHooks(auth=check, mailfrom=None)
        async with serving(hooks, tls_certificate=pair[0], tls_key=pair[1], relay_networks=()) as world:
            client = await world.connect()
            await client.reply()
            hello = await client.ask(b"EHLO x.test")
            assert b"250-STARTTLS\r\n" in hello and b"AUTH" not in hello
            assert (await client.ask(b"AUTH PLAIN " + PLAIN))[:10] == b"538 5.7.11"
            await secured(client, pair)
            assert (await client.ask(b"MAIL FROM:<a@x.test>"))[:9] == b"503 5.5.1", "EHLO must be forgotten"
            hello = await client.ask(b"EHLO x.test")
            assert b"STARTTLS" not in hello and b"250-AUTH PLAIN LOGIN\r\n" in hello
            assert (await client.ask(b"STARTTLS"))[:9] == b"503 5.5.1"
            assert await client.ask(b"auth plain " + PLAIN) == b"235 2.7.0 Authentication successful\r\n"
            assert (await client.ask(b"AUTH PLAIN " + PLAIN))[:9] == b"503 5.5.1"
            assert b"AUTH" not in await client.ask(b"EHLO x.test")
            await client.envelope()
            assert (await client.data(b"X: " + b"y" * 500 + b"\r\n\r\n" + b"z\r\n" * 100_000))[:3] == b"250"
            event = hooks.of("mailfrom")[0].connection
            assert event.tls.protocol == "TLSv1.3" and event.tls.key_bits in (128, 256) and event.tls.sni == "localhost"
            assert (event.auth.mechanism, event.auth.username) == ("PLAIN", "JOE")
            message = world.spool.messages[0]
            assert message.sasl_username == "JOE"
            assert b"\tby mx.test with ESMTPSA id " in message.header and b"(using TLSv1.3 with cipher " in message.header
            assert await client.ask(b"QUIT") == b"221 2.0.0 Bye\r\n"

    run(work, uvloop)


@pytest.mark.parametrize("uvloop", [False, True])
def test_plaintext_behind_starttls_is_never_run(pair: tuple[Path, Path], uvloop: bool) -> None:
    async def work() -> None:
        async with serving(tls_certificate=pair[0], tls_key=pair[1]) as world:
            client = await world.greeted()
            client.send(b"STARTTLS\r\nMAIL FROM:<evil@x.test>\r\n")
            assert await client.rest() == b"503 5.5.0 Improper command pipelining\r\n"
            client = await world.greeted()
            client.send(b"STARTTLS\r\n")
            await client.reply()
            client.send(b"NOOP\r\n" * 10)
            assert b"250" not in await client.rest()
            client = await world.greeted()
            await client.envelope()
            assert (await client.ask(b"STARTTLS"))[:9] == b"503 5.5.1"
            assert (await client.ask(b"STARTTLS x"))[:9] == b"501 5.5.4"

    run(work, uvloop)


@pytest.mark.parametrize("uvloop", [False, True])
@pytest.mark.parametrize("command", [b"STARTTLS", b"XSTARTTLS"])
def test_plaintext_behind_starttls_is_never_run_however_long_the_proxy_takes(
    pair: tuple[Path, Path], uvloop: bool, command: bytes
) -> None:
    """Neither what came with the command nor what came while the hook was asked about it."""

    async def work() -> None:
        asked, go_on = asyncio.Event(), asyncio.Event()

        async def proxy(event: Any) -> SmtpVerdict:
            if event.command.endswith("STARTTLS"):
                asked.set()
                await go_on.wait()
                return SmtpVerdict("pass", command="STARTTLS", next=True)
            return SmtpVerdict("pass", next=True)

        hooks = FakeHooks(proxy=proxy, mailfrom=None)
        async with serving(hooks, tls_certificate=pair[0], tls_key=pair[1]) as world:
            client = await world.greeted()
            client.send(command + b"\r\n")
            await asked.wait()
            client.send(b"MAIL FROM:<evil@x.test>\r\n")
            await until(lambda: next(iter(world.server._connections))._reader._buffer)
            go_on.set()
            assert await client.rest() == b"503 5.5.0 Improper command pipelining\r\n"
            client = await world.greeted()
            client.send(command + b"\r\nMAIL FROM:<evil@x.test>\r\n")
            assert await client.rest() == b"503 5.5.0 Improper command pipelining\r\n"
            client = await world.greeted()
            client.send(command + b"\r\n")
            assert (await client.reply())[:9] == b"220 2.0.0"
            await client.writer.start_tls(trusting(pair), server_hostname="localhost")
            assert (await client.ask(b"MAIL FROM:<a@x.test>"))[:9] == b"503 5.5.1", "EHLO must be forgotten"
            assert hooks.of("proxy")[-1].connection.tls.protocol == "TLSv1.3"
            assert not hooks.of("mailfrom")

    run(work, uvloop)


def test_a_challenges_answer_is_not_the_proxys(pair: tuple[Path, Path]) -> None:
    async def work() -> None:
        hooks = FakeHooks(auth=check, proxy=SmtpVerdict("pass", next=True))
        async with serving(hooks, tls="implicit", tls_certificate=pair[0], tls_key=pair[1]) as world:
            client = await world.connect(ssl=trusting(pair))
            await client.hello()
            assert await client.ask(b"AUTH PLAIN") == b"334 \r\n"
            assert (await client.ask(PLAIN))[:9] == b"235 2.7.0"
            await client.ask(b"NOOP")
            assert [event.command for event in hooks.of("proxy")] == ["EHLO client.test", "AUTH PLAIN", "NOOP"]
            assert hooks.of("proxy")[-1].connection.auth.username == "JOE"

    run(work)


@pytest.mark.parametrize("uvloop", [False, True])
def test_implicit_tls(pair: tuple[Path, Path], uvloop: bool) -> None:
    async def work() -> None:
        async with serving(tls="implicit", tls_certificate=pair[0], tls_key=pair[1]) as world:
            client = await world.connect(ssl=trusting(pair))
            hello = await client.hello()
            assert b"STARTTLS" not in hello
            await client.envelope()
            assert (await client.data(MESSAGE))[:3] == b"250"
            assert b" with ESMTPS id " in world.spool.messages[0].header
            assert world.server.connections[0].tls

    run(work, uvloop)


def test_no_certificate() -> None:
    with pytest.raises(OperatorError):
        _server(SmtpSettings(tls_certificate=Path("/nonexistent")))
    with pytest.raises(OperatorError):
        asyncio.run(_server(SmtpSettings(listeners=(Listener(port=0, tls="implicit"),))).start())


def _server(settings: SmtpSettings) -> SmtpServer:
    hooks: Any = FakeHooks()
    clock: Any = None
    accept: Any = None
    return SmtpServer(settings, hooks, accept, clock, str, lambda *_: None)


def test_login_and_its_accidents() -> None:
    async def work() -> None:
        hooks = FakeHooks(auth=check)
        async with serving(hooks, auth_without_tls=True, max_auth_failures=3) as world:
            client = await world.greeted()
            assert await client.ask(b"AUTH LOGIN") == b"334 " + b64encode(b"Username:") + b"\r\n"
            assert await client.ask(b64encode(b"joe")) == b"334 " + b64encode(b"Password:") + b"\r\n"
            assert await client.ask(b64encode(b"p\xe5ss")) == b"235 2.7.0 Authentication successful\r\n"
            client = await world.greeted()
            assert await client.ask(b"AUTH LOGIN " + b64encode(b"joe")) == b"334 " + b64encode(b"Password:") + b"\r\n"
            assert (await client.ask(b"*"))[:9] == b"501 5.7.0"
            assert (await client.ask(b"AUTH PLAIN"))[:6] == b"334 \r\n"
            assert (await client.ask(b"!!"))[:9] == b"501 5.5.2"
            assert (await client.ask(b"AUTH PLAIN " + b64encode(b"no zeros")))[:9] == b"501 5.5.2"
            assert (await client.ask(b"AUTH PLAIN ="))[:9] == b"501 5.5.2"
            await client.ask(b"AUTH LOGIN " + b64encode(b"joe\0p\xe5ss"))
            assert (await client.ask(b64encode(b"x")))[:9] == b"501 5.5.2"
            assert (await client.ask(b"AUTH"))[:9] == b"501 5.5.4"
            assert (await client.ask(b"AUTH PLAIN a b"))[:9] == b"501 5.5.4"
            assert (await client.ask(b"AUTH CRAM-MD5"))[:9] == b"504 5.5.4"
            assert len(hooks.of("auth")) == 1
            for _ in range(2):
                wrong = b64encode(b"\0joe\0bad")
                assert await client.ask(b"AUTH PLAIN " + wrong) == b"535 5.7.8 Authentication failed\r\n"
            await client.ask(b"MAIL FROM:<a@x.test>")
            assert (await client.ask(b"AUTH PLAIN " + PLAIN))[:9] == b"503 5.5.1"
            await client.ask(b"RSET")
            client.send(b"AUTH PLAIN " + b64encode(b"\0joe\0bad") + b"\r\n")
            assert await client.rest() == b"421 4.7.0 Too many failed logins\r\n"
            assert not any("bad" in str(fields) for _, fields in world.log)

    run(work)


def test_failures_wait_longer_each_time() -> None:
    async def work() -> None:
        waits: list[float] = []

        async def sleep(seconds: float) -> None:
            waits.append(seconds)

        async with serving(FakeHooks(auth=check), auth_without_tls=True, auth_delay_s=2.0) as world:
            client = await world.greeted()
            world.server.shared.clock = _Clock(sleep)
            for _ in range(3):
                client.send(b"AUTH PLAIN " + b64encode(b"\0joe\0bad") + b"\r\n")
                await client.reply()
            assert waits == [2.0, 4.0, 6.0]

    run(work)


class _Clock:
    def __init__(self, sleep: Any) -> None:
        self.sleep = sleep

    def time(self) -> float:
        return 0.0

    def monotonic(self) -> float:
        return 0.0


@pytest.mark.parametrize(
    ("verdict", "reply"),
    [
        (SmtpVerdict("defer"), b"454 4.7.0 Temporary authentication failure\r\n"),
        (SmtpVerdict("defer", failed=True), b"454 4.3.0 Temporary policy failure\r\n"),
        (SmtpVerdict("reject", Reply(535, (5, 7, 8), ("who?",))), b"535 5.7.8 who?\r\n"),
    ],
)
def test_auth_verdicts(verdict: SmtpVerdict, reply: bytes) -> None:
    async def work() -> None:
        async with serving(FakeHooks(auth=verdict), auth_without_tls=True) as world:
            client = await world.greeted()
            assert await client.ask(b"AUTH PLAIN " + PLAIN) == reply

    run(work)


def test_a_scripts_own_mechanism() -> None:
    async def work() -> None:
        def steps(event: Any) -> SmtpVerdict:
            if event.state < 2:
                return SmtpVerdict("reply", Reply(334, None, (f"step {event.state}",)))
            return SmtpVerdict("accept", username=event.response)

        hooks = FakeHooks(auth=steps)
        async with serving(hooks, auth_without_tls=True, auth_mechanisms=("X-OWN",)) as world:
            client = await world.greeted()
            assert await client.ask(b"AUTH X-Own " + b64encode(b"first")) == b"334 " + b64encode(b"step 0") + b"\r\n"
            assert await client.ask(b64encode(b"second")) == b"334 " + b64encode(b"step 1") + b"\r\n"
            assert (await client.ask(b64encode(b"third")))[:3] == b"235"
            assert [(each.state, each.response) for each in hooks.of("auth")] == [(0, "first"), (1, "second"), (2, "third")]
            assert world.server.connections[0].username == "third"

    run(work)


def test_input_behind_a_response_is_early_talk() -> None:
    async def work() -> None:
        async with serving(FakeHooks(auth=check), auth_without_tls=True) as world:
            client = await world.greeted()
            assert (await client.ask(b"AUTH PLAIN"))[:3] == b"334"
            client.send(PLAIN + b"\r\nMAIL FROM:<a@x.test>\r\n")
            assert await client.rest() == b"503 5.5.0 Improper command pipelining\r\n"

    run(work)

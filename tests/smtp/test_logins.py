"""Signing in by the server's own users, and failed logins: counted over connections, slowed, and refused unheard."""

from __future__ import annotations

import asyncio
import socket
import struct
from base64 import b64encode
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from hslpy.clock import ManualClock
from hslpy.mail.verdict import SmtpVerdict
from hslpy.rate.contract import RateSettings
from hslpy.rate.memory import MemoryRateCounters
from hslpy.smtp.guesses import Guesses
from hslpy.smtp.settings import SmtpSettings
from hslpy.users.argon import HashPool
from hslpy.users.contract import ACCEPTED, UNKNOWN_USER, WRONG_PASSWORD, LoginResult
from hslpy.users.file import UsersFile
from tests.smtp.harness import FakeHooks, run, serving
from tests.smtp.pairs import pair
from tests.smtp.test_handshakes import ANY
from tests.users.test_file import quick


class Users:
    """Joe, whose password is `p`; `before` runs before each answer."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, bytes, str]] = []
        self.before: Callable[[], Awaitable[None]] | None = None
        self.busy = False

    offered = True

    async def verify(self, username: str, password: bytes, remote_ip: str) -> LoginResult:
        self.asked.append((username, password, remote_ip))
        if self.before is not None:
            await self.before()
        if self.busy:
            return LoginResult(False, "too many", temporary=True)
        if username != "joé":
            return UNKNOWN_USER
        return ACCEPTED if password == b"p" else WRONG_PASSWORD


def plain(name: str = "joé", password: str = "p", authzid: str = "") -> bytes:
    return b"AUTH PLAIN " + b64encode(f"{authzid}\0{name}\0{password}".encode())


REJECTED = b"535 5.7.8 Authentication failed\r\n"
SIGNED_IN = b"235 2.7.0 Authentication successful\r\n"
LATER = b"454 4.7.0 Temporary authentication failure\r\n"
TOO_MANY = b"421 4.7.0 Too many failed logins\r\n"


def test_users_sign_in_under_tls_alone(tmp_path: Path) -> None:
    """By a real file: what is offered, and when."""

    async def work() -> None:
        made = pair(tmp_path)
        (tmp_path / "users").write_text(f"joe:{quick('p')}\n")
        users = UsersFile(tmp_path / "users", HashPool(1, 5, ManualClock()), lambda *_: None)
        async with serving(logins=users, tls_certificate=made[0], tls_key=made[1], relay_networks=()) as world:
            client = await world.connect()
            assert b"AUTH" not in await client.hello()
            assert (await client.ask(plain("joe")))[:10] == b"538 5.7.11"
            await client.ask(b"STARTTLS")
            await client.writer.start_tls(ANY)
            assert b"250-AUTH PLAIN LOGIN\r\n" in await client.ask(b"EHLO x.test")
            assert await client.ask(plain("joe", "wrong")) == REJECTED
            assert await client.ask(plain("jim", "p")) == REJECTED
            assert await client.ask(plain("joe")) == SIGNED_IN
            await client.envelope()
            client = await world.connect()
            await client.hello()
            await client.ask(b"STARTTLS")
            await client.writer.start_tls(ANY)
            await client.ask(b"EHLO x.test")
            assert await client.ask(b"AUTH LOGIN " + b64encode(b"joe")) == b"334 UGFzc3dvcmQ6\r\n"
            assert await client.ask(b64encode(b"p")) == SIGNED_IN
            reasons = [fields["reason"] for event, fields in world.log if event == "smtp.login_failed"]
            assert reasons == ["wrong password", "unknown user"]
        await users.close()

    run(work)


def test_nothing_is_offered_without_users_or_script() -> None:
    async def work() -> None:
        async with serving(auth_without_tls=True) as world:
            client = await world.connect()
            assert b"AUTH" not in await client.hello()
            assert (await client.ask(plain()))[:9] == b"502 5.5.1"
        async with serving(auth_without_tls=True, logins=Users(), auth_mechanisms=("X-OWN",)) as world:
            client = await world.connect()
            assert b"AUTH" not in await client.hello(), "a mechanism of a script's that is not there"
        async with serving(auth_without_tls=True, logins=Users(), auth_mechanisms=("login", "X-OWN")) as world:
            client = await world.connect()
            assert b"250-AUTH login\r\n" in await client.hello()
            assert (await client.ask(b"AUTH X-OWN"))[:9] == b"504 5.5.4"
            assert (await client.ask(plain()))[:9] == b"504 5.5.4"

    run(work)


def test_a_script_decides_alone_where_there_is_one() -> None:
    async def work() -> None:
        users = Users()
        async with serving(FakeHooks(auth=SmtpVerdict("reject")), auth_without_tls=True, logins=users) as world:
            client = await world.greeted()
            assert await client.ask(plain()) == REJECTED
            assert not users.asked

    run(work)


def test_exchanges_and_their_accidents() -> None:
    async def work() -> None:
        users = Users()
        limits = {"max_auth_failures": 100, "max_errors": 1000, "auth_failures_per_client": 1000}
        async with serving(auth_without_tls=True, logins=users, **limits) as world:
            client = await world.greeted()
            for command, answer in {
                plain(authzid="joé"): SIGNED_IN,
                plain(authzid="someone"): REJECTED,
                plain(name=""): REJECTED,
                plain(password=""): REJECTED,
                b"AUTH PLAIN " + b64encode(b"\0jo\xe9\0p"): REJECTED,  # Latin-1: no user of that name
                b"AUTH PLAIN " + b64encode(b"\0joe\0p\0x"): b"501 5.5.2",
                b"AUTH PLAIN " + b64encode(b"joe"): b"501 5.5.2",
                b"AUTH PLAIN *": b"501 5.5.2",
                b"AUTH PLAIN =": b"501 5.5.2",
                b"AUTH PLAIN AGpvZQBwA": b"501 5.5.2",
                b"AUTH PLAIN AGpv ZQBw": b"501 5.5.4",
                b"AUTH": b"501 5.5.4",
                b"AUTH CRAM-MD5": b"504 5.5.4",
                b"AUTH =": b"504 5.5.4",
                b"AUTH PLAIN " + b"A" * 12_300: b"500 5.5.2",
            }.items():
                client = await world.greeted()
                assert (await client.ask(command)).startswith(answer), command
                assert (await client.ask(b"NOOP"))[:3] == b"250"
            assert [name for name, *_ in users.asked] == ["joé", "jo\ufffd"]
            client = await world.greeted()
            for first, second, answer in (
                (b"AUTH PLAIN", b"*", b"501 5.7.0"),
                (b"AUTH PLAIN", b"!", b"501 5.5.2"),
                (b"AUTH PLAIN", b"A" * 12_300, b"500 5.5.2"),
                (b"AUTH LOGIN", b"*", b"501 5.7.0"),
                (b"AUTH LOGIN", b"\xff", b"501 5.5.2"),
                (b"AUTH LOGIN am9l", b"*", b"501 5.7.0"),
                (b"AUTH LOGIN am9l", b"cAA=", b"501 5.5.2"),  # NUL
                (b"AUTH LOGIN =", b"cA==", b"535 5.7.8"),
                (b"AUTH LOGIN am9l", b"", b"535 5.7.8"),
            ):
                assert (await client.ask(first))[:3] == b"334"
                assert (await client.ask(second)).startswith(answer), second
            users.busy = True
            assert await client.ask(plain()) == LATER
            users.busy = False
            await client.ask(b"MAIL FROM:<a@x.test>")
            assert (await client.ask(plain()))[:9] == b"503 5.5.1"
            await client.ask(b"RSET")
            assert await client.ask(plain()) == SIGNED_IN
            assert (await client.ask(plain()))[:9] == b"503 5.5.1"
            client.send(plain(password="x") + b"\r\nNOOP\r\n")
            assert await client.rest() == b"503 5.5.0 Improper command pipelining\r\n"

    run(work)


def test_input_while_a_password_is_compared_is_early_talk() -> None:
    async def work() -> None:
        users = Users()
        asked, go_on = asyncio.Event(), asyncio.Event()

        async def wait() -> None:
            asked.set()
            await go_on.wait()

        users.before = wait
        async with serving(auth_without_tls=True, logins=users) as world:
            client = await world.greeted()
            client.send(plain() + b"\r\n")
            await asked.wait()
            client.send(b"MAIL FROM:<a@x.test>\r\n")
            await asyncio.sleep(0.05)
            go_on.set()
            assert await client.rest() == b"503 5.5.0 Improper command pipelining\r\n"
            client.close()
            asked.clear()
            go_on.clear()
            client = await world.greeted()
            client.send(plain() + b"\r\n")
            await asked.wait()
            client.writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            client.writer.transport.abort()  # a reset while the pool works
            while world.server._connections:
                await asyncio.sleep(0.01)
            assert not any(event == "smtp.fault" for event, _ in world.log)

    run(work)


def test_a_client_that_guesses_is_refused_unheard_over_connections() -> None:
    async def work() -> None:
        users = Users()
        async with serving(auth_without_tls=True, logins=users, auth_failures_per_client=5) as world:
            answers = []
            while len(answers) < 5:
                client = await world.greeted()
                for _ in range(2):
                    answers.append(await client.ask(plain(f"user{len(answers)}", "guess")))
                    if len(answers) == 5:
                        break
            assert answers == [REJECTED] * 5
            (blocked,) = [fields for event, fields in world.log if event == "smtp.login_blocked"]
            assert (blocked["remote_ip"], blocked["by"], blocked["for_s"]) == ("127.0.0.1", "client", 900.0)
            client = await world.greeted()
            assert await client.ask(plain()) == TOO_MANY, "even with the right password"
            assert len(users.asked) == 5

    run(work)


def test_the_guesses_of_a_burst_tell_nothing_above_the_limit() -> None:
    """Of many logins at a time only so many are heard, however they were started."""

    async def work() -> None:
        users = Users()
        go_on = asyncio.Event()
        users.before = lambda: go_on.wait()  # type: ignore[assignment,return-value]
        async with serving(auth_without_tls=True, logins=users, auth_failures_per_client=5) as world:
            clients = [await world.greeted() for _ in range(20)]
            for number, client in enumerate(clients):
                client.send(plain("joé", "p" if number == 19 else f"guess {number}") + b"\r\n")
            while len(users.asked) < 20:
                await asyncio.sleep(0.01)
            go_on.set()
            answers = [await client.reply() for client in clients]
            assert answers[:19] == [REJECTED] * 19 and answers[19] == TOO_MANY

    run(work)


def counted(clock: ManualClock, **settings: Any) -> Guesses:
    rates = MemoryRateCounters(RateSettings(), clock, lambda *_: None)
    return Guesses(SmtpSettings(**settings), rates, lambda *_: None)


def test_a_block_ends() -> None:
    async def work() -> None:
        clock = ManualClock()
        guesses = counted(clock, auth_failures_per_client=3, auth_window_s=600.0, auth_block_s=60.0)
        assert [await guesses.failed("192.0.2.1", "a") for _ in range(2)] == [1, 2]
        assert not await guesses.client_blocked("192.0.2.1")
        await guesses.failed("192.0.2.1", "a")
        assert await guesses.client_blocked("192.0.2.1") and not await guesses.client_blocked("192.0.2.2")
        clock.advance(63)
        assert not await guesses.client_blocked("192.0.2.1")
        await guesses.failed("192.0.2.1", "a")
        assert await guesses.client_blocked("192.0.2.1"), "the window still has the others"
        clock.advance(700)
        assert await guesses.failed("192.0.2.1", "a") == 1

    run(work)


def test_a_block_is_lifted_by_order() -> None:
    async def work() -> None:
        guesses = counted(ManualClock(), auth_failures_per_client=3, auth_failures_per_user_network=3)
        for _ in range(3):
            await guesses.failed("192.0.2.1", "joe")
        assert await guesses.forget(None, "joe") == [], "where he was refused is not known"
        assert await guesses.forget("192.0.2.1", "Joe") == ["client", "user-network"]
        assert not await guesses.client_blocked("192.0.2.1") and not await guesses.user_blocked("192.0.2.1", "joe")
        assert await guesses.failed("192.0.2.1", "joe") == 1

    run(work)


def test_clients_are_networks_in_ipv6() -> None:
    async def work() -> None:
        guesses = counted(ManualClock(), auth_failures_per_client=3)
        for number in range(3):
            await guesses.failed(f"2001:db8:0:1::{number}", "a")
        assert await guesses.client_blocked("2001:db8:0:1:ffff::1")
        assert not await guesses.client_blocked("2001:db8:0:2::1")

    run(work)


def test_ways_to_write_a_name_make_no_further_guesses() -> None:
    """A directory takes them all for one (RFC 4518)."""
    ways = ["Joé Doe", "joe\u0301 doe", " joé  doe ", "JOÉ DOE", "joé\u00a0doe", "ｊoé doe"]

    async def work() -> None:
        for way in ways:
            guesses = counted(ManualClock(), auth_failures_per_user_network=1)
            await guesses.failed("192.0.2.1", way.encode().decode("latin-1"))
            for other in ways:
                assert await guesses.user_blocked("192.0.2.2", other.encode().decode("latin-1")), (way, other)
        for name in ("\xff\xfe", "x" * 9000, "\u20ac"):  # neither UTF-8, nor short, nor of a character a byte
            await guesses.failed("192.0.2.1", name)
            assert await guesses.user_blocked("192.0.2.2", name)
        assert not await guesses.user_blocked("192.0.2.2", "x" * 9001)

    run(work)


def test_a_user_is_blocked_where_the_guesses_come_from() -> None:
    async def work() -> None:
        guesses = counted(ManualClock(), auth_failures_per_user_network=4)
        for number in range(4):
            await guesses.failed(f"192.0.2.{number}", "Joe")
        assert await guesses.user_blocked("192.0.2.99", "joe"), "the case of a name makes no further guesses"
        assert not await guesses.user_blocked("192.0.2.99", "jim")
        assert not await guesses.user_blocked("198.51.100.1", "joe")
        assert not await guesses.client_blocked("192.0.2.1")

    run(work)


def test_guesses_from_everywhere_do_not_lock_a_user_out() -> None:
    async def work() -> None:
        clock = ManualClock()
        guesses = counted(clock, auth_failures_per_user=10)
        await guesses.succeeded("203.0.113.5", "joe")
        clock.advance(20 * 86_400)
        for number in range(10):
            await guesses.failed(f"10.0.{number}.1", "joe")
        assert await guesses.user_blocked("198.51.100.1", "joe")
        assert not await guesses.user_blocked("203.0.113.77", "joe"), "from where the user signs in"
        clock.advance(1000)
        assert not await guesses.user_blocked("198.51.100.1", "joe")

    run(work)


def test_exempt_networks_count_for_nothing() -> None:
    async def work() -> None:
        guesses = counted(ManualClock(), auth_failures_per_client=1, auth_exempt_networks=("192.0.2.0/24",))
        assert await guesses.failed("192.0.2.1", "joe") == 0
        assert not await guesses.client_blocked("192.0.2.1") and not await guesses.user_blocked("192.0.2.1", "joe")
        assert await guesses.failed("192.0.3.1", "joe") == 1
        assert await guesses.client_blocked("192.0.3.1")

    run(work)


def test_counters_that_are_away_are_kept_here() -> None:
    """Whatever `rate()` gives then: otherwise Redis' absence would let nobody in, or all guesses."""

    class Away(MemoryRateCounters):
        async def check(self, *arguments: Any, shared: bool = True) -> bool | float | None:
            if not shared:
                return await super().check(*arguments)
            self.health.reachable = False
            return 2.0**53 if arguments[2] == 0 else False

    async def work() -> None:
        rates = Away(RateSettings(), ManualClock(), lambda *_: None)
        guesses = Guesses(SmtpSettings(auth_failures_per_client=3), rates, lambda *_: None)
        assert not await guesses.client_blocked("192.0.2.1")
        rates.health.reachable = True
        assert [await guesses.failed("192.0.2.1", "a") for _ in range(3)] == [1, 2, 2]
        assert await guesses.client_blocked("192.0.2.1")

    run(work)


def test_deferred_logins_are_no_guesses() -> None:
    async def work() -> None:
        hooks = FakeHooks(auth=SmtpVerdict("defer", failed=True))
        limits = {"auth_failures_per_client": 1, "max_auth_failures": 100}
        async with serving(hooks, auth_without_tls=True, **limits) as world:
            client = await world.greeted()
            for _ in range(5):
                assert (await client.ask(plain()))[:3] == b"454"
            assert not await world.server.shared.guesses.client_blocked("127.0.0.1")

    run(work)


@pytest.mark.parametrize("leaves", [True, False])
def test_a_failure_counts_though_its_answer_is_not_waited_for(leaves: bool) -> None:
    async def work() -> None:
        clock = ManualClock()
        async with serving(
            auth_without_tls=True, logins=Users(), clock=clock, auth_delay_s=100.0, auth_failures_per_client=3
        ) as world:
            for _ in range(3):
                client = await world.greeted()
                client.send(plain(password="x") + b"\r\n")
                before = len(world.log)
                while len(world.log) == before:
                    await asyncio.sleep(0.01)
                if leaves:
                    client.writer.get_extra_info("socket").setsockopt(
                        socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0)
                    )
                    client.writer.transport.abort()  # with that, as a reset
            while leaves and world.server._connections:
                await asyncio.sleep(0.01)
            client = await world.greeted()
            assert await client.ask(plain()) == TOO_MANY
            clock.advance(1001)

    run(work)

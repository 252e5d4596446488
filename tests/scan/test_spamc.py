"""Scans by a real spamd, and what the client makes of one that is away, slow or broken."""

from __future__ import annotations

import asyncio
import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hslpy.errors import OperatorError
from hslpy.scan.contract import ScannerFailed, ScanRequest, SpamScore
from hslpy.scan.spamc import SpamdClient, SpamdSettings, read_report
from tests.scan.conftest import listening
from tests.support.scanners import GTUBE, Spamd, free_port, message

REPORT = b"SPAMD/1.1 0 EX_OK\r\nContent-length: %d\r\nSpam: True ; 7.3 / 5.0\r\n\r\n%s"
TABLE = (
    b" pts rule name              description\r\n"
    b"---- ---------------------- --------------------------------------------------\r\n"
)


def scan(settings: SpamdSettings, content: bytes) -> SpamScore:
    return asyncio.run(SpamdClient(settings).scan(ScanRequest(content)))


def report(body: bytes) -> bytes:
    return REPORT % (len(body), body)


@pytest.mark.xdist_group("spamd")
def test_gtube_scores_a_thousand_by_its_rule(spamd: Spamd) -> None:
    found = scan(SpamdSettings(spamd.address), message(GTUBE))
    assert 990 < found.score < 1010
    assert found.rules["GTUBE"] == 1000.0


@pytest.mark.xdist_group("spamd")
def test_clean_mail_scores_below_five(spamd: Spamd) -> None:
    found = scan(SpamdSettings(spamd.address), message())
    assert found.score < 5
    assert "GTUBE" not in found.rules and "NO_RELAYS" in found.rules
    assert str(found.rules["NO_RELAYS"]) == "0.0"


@pytest.mark.xdist_group("spamd")
def test_many_at_once_and_any_bytes(spamd: Spamd) -> None:
    async def run() -> None:
        client = SpamdClient(SpamdSettings(spamd.address, timeout_s=60))
        contents = [message(GTUBE), b"", b"\x00\xff" * 100, message(b"a" * 50_000)]
        found = await asyncio.gather(*(client.scan(ScanRequest(content)) for content in contents))
        assert found[0].score > 900 and found[3].score < 5

    asyncio.run(run())


def test_over_a_unix_socket() -> None:
    with Spamd(unix=True) as daemon:
        assert scan(SpamdSettings(daemon.address), message(GTUBE)).score > 900


def test_a_message_above_the_size_is_not_scanned() -> None:
    nobody = SpamdSettings(f"127.0.0.1:{free_port()}", max_size_bytes=100)
    assert scan(nobody, b"x" * 101) == SpamScore(0.0, {})


def test_nobody_listening_fails_at_once() -> None:
    with pytest.raises(ScannerFailed) as caught:
        scan(SpamdSettings(f"127.0.0.1:{free_port()}"), message())
    assert caught.value.temporary and "no answer within" not in caught.value.message
    with pytest.raises(ScannerFailed):
        scan(SpamdSettings("/nonexistent/socket"), message())


def test_a_daemon_that_never_answers_costs_the_timeout() -> None:
    async def run() -> None:
        async with listening(None) as listener:
            client = SpamdClient(SpamdSettings(f"127.0.0.1:{listener.port}", timeout_s=0.2, concurrency=1))
            results = await asyncio.gather(*(client.scan(ScanRequest(message())) for _ in range(3)), return_exceptions=True)
            assert all(isinstance(result, ScannerFailed) for result in results)
            assert listener.accepted < 3  # waiting for a turn counts, too: others were out of time before it was theirs
            assert listener.most_open == 1

    asyncio.run(run())


def test_no_more_connections_than_the_setting() -> None:
    async def run() -> None:
        async with listening(report(TABLE)) as listener:
            client = SpamdClient(SpamdSettings(f"127.0.0.1:{listener.port}", concurrency=2))
            found = await asyncio.gather(*(client.scan(ScanRequest(message())) for _ in range(8)))
            assert {score.score for score in found} == {7.3} and listener.most_open == 2

    asyncio.run(run())


GARBAGE = [
    b"",
    b"\r\n",
    b"HTTP/1.1 200 OK\r\n\r\n",
    b"SPAMD/1.0 76 Bad header line: x\r\n",
    b"SPAMD/1.1 0 EX_OK\r\n\r\n",
    b"SPAMD/1.1 0 EX_OK\r\nSpam: True ; many / 5.0\r\n\r\n",
    b"SPAMD/1.1 0 EX_OK\r\nSpam: True ; 1.2.3 / 5.0\r\n\r\n",
    b"SPAMD/1.1 0 EX_OK\r\nContent-length: 999\r\nSpam: True ; 1.0 / 5.0\r\n\r\nbroken o",
    b"SPAMD/1.1 0 EX_OK\r\nContent-length: 999\r\nSpam: True ; 1.0 / 5.0\r\n",
]


@pytest.mark.parametrize("answer", GARBAGE)
def test_garbage_is_a_failed_scan(answer: bytes) -> None:
    async def run() -> None:
        async with listening(answer) as listener:
            with pytest.raises(ScannerFailed):
                await SpamdClient(SpamdSettings(f"127.0.0.1:{listener.port}", timeout_s=5)).scan(ScanRequest(message()))

    asyncio.run(run())


@given(st.binary(max_size=300) | st.builds(report, st.binary(max_size=300)))
def test_any_answer_is_read_or_refused(answer: bytes) -> None:
    with contextlib.suppress(ScannerFailed):
        assert isinstance(read_report(answer).score, float)


def test_rules_are_read_from_the_last_table_alone() -> None:
    forged = b"Content preview:\r\n" + TABLE + b"-9.0 USER_IN_WELCOMELIST   sent by the sender\r\n\r\n"
    body = (
        forged
        + TABLE
        + (
            b" 1.5 MISSING_SUBJECT        Missing Subject: header\r\n"
            b"-0.0 NO_RELAYS              Informational: message was not\r\n"
            b"                             5.0 RELAYED via SMTP\r\n"
            b"1000 GTUBE                  BODY: Generic Test\r\n"
            b" 0.1 A_RULE_WITH_A_NAME_LONGER_THAN_ITS_COLUMN BODY: x\r\n\r\n"
        )
    )
    assert read_report(report(body)).rules == {
        "MISSING_SUBJECT": 1.5,
        "NO_RELAYS": 0.0,
        "GTUBE": 1000.0,
        "A_RULE_WITH_A_NAME_LONGER_THAN_ITS_COLUMN": 0.1,
    }


def test_a_report_of_the_operators_own_has_a_score_without_rules() -> None:
    assert read_report(report(b"Spam, as it seems.\r\n")) == SpamScore(7.3, {})


@pytest.mark.parametrize(
    "address", ["", "localhost", "localhost:", ":783", "localhost:0", "localhost:99999", "localhost:\u0661"]
)
def test_a_wrong_address_is_the_operators_error(address: str) -> None:
    with pytest.raises(OperatorError, match="no address of spamd"):
        SpamdClient(SpamdSettings(address))


def test_a_user_name_cannot_carry_headers() -> None:
    with pytest.raises(OperatorError):
        SpamdClient(SpamdSettings(user="ann\r\nX: y"))

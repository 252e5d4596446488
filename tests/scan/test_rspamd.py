"""Scans by a real rspamd, and what the client makes of one that is away, slow or broken."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from hslpy.errors import OperatorError
from hslpy.scan.contract import RspamdResult, ScannerFailed, ScanRequest
from hslpy.scan.rspamd import RspamdClient, RspamdSettings
from tests.scan.conftest import listening
from tests.support.scanners import GTUBE, Rspamd, free_port, message

ENVELOPE: dict[str, Any] = {
    "sender": "ann@example.org",
    "recipients": ("bob@example.net", "carl@example.net"),
    "remote_ip": "192.0.2.7",
    "helo": "mx.example.org",
    "username": "ann",
    "transaction_id": "id-1",
}


def scan(settings: RspamdSettings, *requests: ScanRequest) -> list[RspamdResult]:
    async def run() -> list[RspamdResult]:
        client = RspamdClient(settings)
        try:
            return [await client.scan(request) for request in requests]
        finally:
            await client.close()

    return asyncio.run(run())


def answer_of(**fields: object) -> bytes:
    body = json.dumps({"score": 1.5, "required_score": 15.0, "action": "no action", "symbols": {}, **fields}).encode()
    return b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%s" % (len(body), body)


async def scan_answer(answer: bytes | None, **settings: Any) -> RspamdResult:
    async with listening(answer) as listener:
        client = RspamdClient(RspamdSettings(f"http://127.0.0.1:{listener.port}", **{"timeout_s": 5.0, **settings}))
        try:
            return await client.scan(ScanRequest(message()))
        finally:
            await client.close()


@pytest.mark.xdist_group("rspamd")
def test_gtube_is_class_100_and_clean_mail_0(rspamd: Rspamd) -> None:
    spam, clean = scan(RspamdSettings(rspamd.url), ScanRequest(message(GTUBE)), ScanRequest(message()))
    assert (spam.action, spam.spam_class) == ("reject", 100) and spam.score >= 15 and "GTUBE" in spam.symbols
    assert (clean.action, clean.spam_class, clean.score) == ("no action", 0, 0.0) and clean.required_score == 15.0


@pytest.mark.xdist_group("rspamd")
def test_a_rule_gives_its_score_and_the_add_header_action_class_50(rspamd: Rspamd) -> None:
    (found,) = scan(RspamdSettings(rspamd.url), ScanRequest(message(subject=b"An offer")))
    assert (found.action, found.spam_class) == ("add header", 50)
    assert found.symbols["HSLPY_OFFER"] == 7.0 and found.score == 7.0


@pytest.mark.xdist_group("rspamd")
def test_the_envelope_reaches_the_rules(rspamd: Rspamd) -> None:
    found, without = scan(RspamdSettings(rspamd.url), ScanRequest(message(), **ENVELOPE), ScanRequest(message()))
    assert "HSLPY_ENVELOPE" in found.symbols and "HSLPY_ENVELOPE" not in without.symbols


@pytest.mark.xdist_group("rspamd")
def test_bytes_that_no_header_can_have_do_not_fail_the_scan(rspamd: Rspamd) -> None:
    odd = ScanRequest(message(GTUBE), sender="a\r\nSubject: x\x00@\xff.org", helo="\xc3\xa5\x7f", username="\u20ac")
    empty = ScanRequest(b"")
    found, nothing = scan(RspamdSettings(rspamd.url), odd, empty)
    assert found.spam_class == 100 and nothing.spam_class == 0


def test_nobody_listening_fails_at_once() -> None:
    with pytest.raises(ScannerFailed) as caught:
        scan(RspamdSettings(f"http://127.0.0.1:{free_port()}"), ScanRequest(message()))
    with pytest.raises(ScannerFailed):
        scan(RspamdSettings("/nonexistent/socket"), ScanRequest(message()))
    assert "no answer within" not in caught.value.message


def test_a_daemon_that_never_answers_costs_the_timeout() -> None:
    with pytest.raises(ScannerFailed, match=r"within 0\.2 s"):
        asyncio.run(scan_answer(None, timeout_s=0.2))


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"nonsense",
        b"HTTP/1.1 500 Error\r\nContent-Length: 2\r\n\r\nno",
        b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n[]",
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}",
        b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n\xff\xfe\xfd\xfc",
        b"HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\n{",
        b"HTTP/1.1 200 OK\r\nContent-Length: 2000\r\n\r\n" + b"[" * 2000,
        answer_of(score="high"),
        answer_of(score=None),
        answer_of(symbols=[1]),
        answer_of(symbols={"A": 1}),
        answer_of(score=float("nan")),
    ],
)
def test_garbage_is_a_failed_scan(answer: bytes) -> None:
    with pytest.raises(ScannerFailed):
        asyncio.run(scan_answer(answer))


def test_a_message_above_the_size_is_not_scanned() -> None:
    nobody = RspamdSettings(f"http://127.0.0.1:{free_port()}", max_size_bytes=10)
    assert scan(nobody, ScanRequest(message()))[0].spam_class == 0


@pytest.mark.parametrize(
    ("action", "spam_class"),
    [
        ("no action", 0),
        ("greylist", 10),
        ("soft reject", 10),
        ("add header", 50),
        ("rewrite subject", 50),
        ("reject", 100),
        ("discard", 100),
        ("an action of the operator's", 10),
    ],
)
def test_actions_have_classes(action: str, spam_class: int) -> None:
    assert asyncio.run(scan_answer(answer_of(action=action))).spam_class == spam_class


def test_the_operator_maps_actions_and_the_others_stay() -> None:
    mapping = {"add header": 40.0, "bulk": 40}
    assert asyncio.run(scan_answer(answer_of(action="bulk"), classes=mapping)).spam_class == 40
    assert asyncio.run(scan_answer(answer_of(action="add header"), classes=mapping)).spam_class == 40
    assert asyncio.run(scan_answer(answer_of(action="reject"), classes=mapping)).spam_class == 100


@pytest.mark.parametrize(("score", "spam_class"), [(-5, 0), (3.99, 0), (4, 10), (6, 50), (14.9, 50), (15, 100), (1e9, 100)])
def test_the_operator_maps_scores(score: float, spam_class: int) -> None:
    mapping = {"10": 4.0, "50": 6.0, "100": 15.0}
    assert asyncio.run(scan_answer(answer_of(score=score), score_classes=mapping)).spam_class == spam_class


@pytest.mark.parametrize(
    "settings",
    [
        {"classes": {"reject": 99}},
        {"score_classes": {"spam": 1.0}},
        {"score_classes": {"20": 1.0}},
        {"url": "localhost:11333"},
    ],
)
def test_wrong_settings_are_the_operators_error(settings: dict[str, Any]) -> None:
    with pytest.raises(OperatorError):
        RspamdClient(RspamdSettings(**settings))

"""The scanners of script tests."""

from __future__ import annotations

import asyncio

import pytest

from hslpy.scan.contract import RspamdResult, ScannerFailed, ScanRequest, SpamScore
from hslpy.scan.rspamd import CLASSES
from hslpy.scan.scripted import ScriptedRspamd, ScriptedSpamAssassin, of_class


def test_answers_come_in_order_and_the_last_one_stays() -> None:
    async def run() -> None:
        scanner = ScriptedSpamAssassin(1, SpamScore(7.5, {"A": 7.5}))
        scores = [(await scanner.scan(ScanRequest(b"x"))).score for _ in range(3)]
        assert scores == [1.0, 7.5, 7.5] and len(scanner.requests) == 3
        scanner.then(SpamScore(2.0))
        assert (await scanner.scan(ScanRequest(b"y"))).score == 2.0

    asyncio.run(run())


def test_a_failure_can_be_scripted_and_nothing_scripted_is_one() -> None:
    async def run() -> None:
        result = of_class(50)
        scanner = ScriptedRspamd(ScannerFailed("away"), result, 100)
        with pytest.raises(ScannerFailed, match="away"):
            await scanner.scan(ScanRequest(b""))
        assert await scanner.scan(ScanRequest(b"")) == result
        assert (await scanner.scan(ScanRequest(b""))).action == "reject"
        with pytest.raises(ScannerFailed, match="scripted"):
            await ScriptedRspamd().scan(ScanRequest(b""))

    asyncio.run(run())


@pytest.mark.parametrize("spam_class", CLASSES)
def test_a_result_of_each_class(spam_class: int) -> None:
    assert isinstance(of_class(spam_class), RspamdResult) and of_class(spam_class).spam_class == spam_class

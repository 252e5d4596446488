"""The demo's stand-ins answer our own scanner clients, and its sender keeps every reply."""

from __future__ import annotations

import asyncio

import pytest

from hslpy.scan.contract import RspamdResult, ScanRequest, SpamScore
from hslpy.scan.rspamd import RspamdClient, RspamdSettings
from hslpy.scan.spamc import SpamdClient, SpamdSettings
from hslpy.tooling.fates import table
from hslpy.tooling.inject import Mail, send_in_parallel
from hslpy.tooling.sink import Sink
from hslpy.tooling.stand_ins import StandIns


async def scan(content: bytes) -> tuple[SpamScore, RspamdResult]:
    players = StandIns()
    await players.start()
    rspamd = RspamdClient(RspamdSettings(url=f"http://127.0.0.1:{players.rspamd_port}"))
    try:
        request = ScanRequest(content=content)
        first = await SpamdClient(SpamdSettings(address=f"127.0.0.1:{players.spamd_port}")).scan(request)
        return first, await rspamd.scan(request)
    finally:
        await rspamd.close()
        await players.close()


@pytest.mark.parametrize(
    ("words", "score", "rules", "spam_class"),
    [
        ("Hello", 0.0, {}, 0),
        ("Our newsletter", 0.0, {}, 50),
        ("Lose weight by a miracle", 3.5, {"MIRACLE_CURE": 1.9, "LOSE_WEIGHT": 1.6}, 10),
        ("An inheritance from a lottery", 7.2, {"LOTTERY_WIN": 3.2, "NIGERIAN_PRINCE": 4.0}, 100),
    ],
)
def test_scores(words: str, score: float, rules: dict[str, float], spam_class: int) -> None:
    spam, result = asyncio.run(scan(f"Subject: x\r\n\r\n{words}\r\n".encode()))
    assert (spam.score, dict(spam.rules), result.spam_class) == (pytest.approx(score), rules, spam_class)


def test_the_sender_keeps_replies_and_goes_on_after_421() -> None:
    async def run() -> tuple[Sink, list[tuple[tuple[str, ...], str]]]:
        answers = {"no@x.example": "550 5.1.1 No"}
        sink = Sink(lambda command, argument: "421 4.0.0 Later" if "later" in argument else answers.get(argument))
        port = await sink.listen("127.0.0.1")
        mails = [
            Mail("a@x.example", ("b@x.example", "no@x.example"), b"Subject: 1\r\n\r\n.dot\r\n"),
            Mail("a@x.example", ("no@x.example",), b"Subject: 2\r\n\r\n"),
            Mail("a@x.example", ("b@x.example",), b"Subject: later\r\n\r\n"),
            Mail("a@x.example", ("b@x.example",), b"Subject: 4\r\n\r\n"),
        ]
        done = await send_in_parallel("127.0.0.1", port, mails, 1)
        await sink.close()
        return sink, [(one.recipients, one.data) for one in done]

    sink, replies = asyncio.run(run())
    assert [data[:3] for _, data in replies] == ["250", "", "421", "250"]
    assert replies[0][0] == ("250 2.0.0 Ok", "550 5.1.1 No")
    assert sink.received[0].content.endswith(b"\r\n.dot\r\n") and sink.connections == 2


def test_a_table_is_aligned() -> None:
    assert table(("a", "mails"), [("xyz", "7")]) == ["a    mails", "---  -----", "xyz      7"]

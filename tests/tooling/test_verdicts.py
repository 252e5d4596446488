"""Verdicts as lines and as arrays."""

from __future__ import annotations

from hslpy.lang.values import Array
from hslpy.mail.address import Address
from hslpy.mail.reply import Reply
from hslpy.mail.verdict import (
    DataVerdict,
    Delivery,
    QueueOptions,
    QueueVerdict,
    SmtpVerdict,
    SourceChoice,
    TryOptions,
)
from hslpy.tooling.notation import notation
from hslpy.tooling.verdicts import verdict_array, verdict_lines

DEFER = Reply(450, (4, 7, 1), ("Try later",))


def test_a_reply_is_shown_as_the_client_sees_it() -> None:
    assert list(verdict_lines(SmtpVerdict("defer", DEFER))) == ['verdict: Defer 450 4.7.1 "Try later"']


def test_a_failed_hook_says_so() -> None:
    (line,) = verdict_lines(SmtpVerdict("defer", DEFER, failed=True))
    assert "instead of the script's, which failed" in line


def test_what_an_accept_changed_is_shown() -> None:
    verdict = SmtpVerdict("accept", sender=Address("a", "b.example"), transport_id="fast")
    assert list(verdict_lines(verdict)) == ["verdict: Accept", '  sender: "a@b.example"', '  transportid: "fast"']


def test_each_delivery_has_its_lines() -> None:
    one = Delivery(Address("a", "x"), Address("b", "y"), "t", metadata={"k": "v"}, header=b"X: 1\r\n\r\n", delay_s=5.0)
    lines = list(verdict_lines(DataVerdict("accept", deliveries=(one,))))
    assert lines == [
        "verdict: Accept",
        "  deliver to <b@y> from <a@x> by t",
        "    delay: 5 s",
        '    metadata: ["k" => "v"]',
        "    header:",
        "      X: 1",
    ]


def test_an_attempt_is_shown_with_hsls_names() -> None:
    attempt = TryOptions(sources=(SourceChoice("netaddr:1"), SourceChoice("netaddr:2", helo="h")), host="mx", port=26)
    verdict = QueueVerdict("try", attempt=attempt, metadata={"a": "b"})
    out = verdict_array(verdict)
    assert notation(out["sourceip"]) == '["netaddr:1", ["id" => "netaddr:2", "helo" => "h"]]'
    assert (out["action"], out["host"], out["port"]) == ("try", "mx", 26.0)
    assert isinstance(out["metadata"], Array) and out["metadata"].items == {"a": "b"}


def test_only_what_is_set_is_in_the_array() -> None:
    assert verdict_array(SmtpVerdict("accept")) == {"action": "accept", "failed": False}
    queue = verdict_array(QueueVerdict("queue", queue=QueueOptions(delay_s=60.0, increment_retry=False, reason="x")))
    assert queue == {"action": "queue", "failed": False, "delay": 60.0, "increment_retry": False, "reason": "x"}


def test_an_enhanced_code_is_three_numbers() -> None:
    out = verdict_array(SmtpVerdict("defer", DEFER, disconnect=True))
    assert (out["code"], notation(out["enhanced"]), out["reason"]) == (450.0, "[4, 7, 1]", "Try later")
    assert out["disconnect"] is True

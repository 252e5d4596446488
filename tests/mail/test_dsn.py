"""Reports: what RFC 3464 wants is in them, and nothing of a peer's or a sender's making breaks out of its place."""

from __future__ import annotations

import email
import email.policy
from email.message import EmailMessage

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hslpy.mail.address import Address
from hslpy.mail.dsn import Report, ReportedRecipient, build_report, wants_report

BOB = ReportedRecipient(
    Address("bob", "example.net"),
    (5, 1, 1),
    "550 5.1.1 no such user",
    from_peer=True,
    remote_host="mx.example.net",
    last_attempt_at=1_700_000_000.0,
)


def report(**fields: object) -> Report:
    values: dict[str, object] = {
        "action": "failed",
        "sender": Address("alice", "example.org"),
        "recipients": (BOB,),
        "header": b"From: alice@example.org\r\nSubject: hello\r\n\r\n",
        "body": b"the body\r\n",
        "hostname": "mail.example",
        "message_id": "1234@mail.example",
        "boundary": "boundary-1",
        "now": 1_700_000_100.0,
        "received_at": 1_699_000_000.0,
        **fields,
    }
    return Report(**values)  # type: ignore[arg-type]


def parsed(one: Report, full_max_bytes: int = 50_000) -> EmailMessage:
    header, body = build_report(one, full_max_bytes)
    message = email.message_from_bytes(header + body, policy=email.policy.default)
    assert isinstance(message, EmailMessage)
    assert not message.defects
    return message


def texts(one: Report, full_max_bytes: int = 50_000) -> tuple[str, str, EmailMessage]:
    """Give the explanation, the fields of the delivery status as text, and the part with the message."""
    message = parsed(one, full_max_bytes)
    explanation, status, returned = message.iter_parts()
    assert status.get_content_type() == "message/delivery-status"
    blocks = status.get_payload()
    assert isinstance(blocks, list)
    assert isinstance(returned, EmailMessage)
    return explanation.get_content(), "\n".join(str(block) for block in blocks), returned


def test_a_failure_report_is_what_mail_programs_look_for() -> None:
    message = parsed(report())
    assert message.get_content_type() == "multipart/report"
    assert message["Content-Type"].params["report-type"] == "delivery-status"
    assert message["To"].addresses[0].addr_spec == "alice@example.org"
    assert message["From"].addresses[0].addr_spec == "MAILER-DAEMON@mail.example"
    assert message["Auto-Submitted"] == "auto-replied"
    assert message["MIME-Version"] == "1.0"
    assert message["Date"].datetime.timestamp() == 1_700_000_100
    assert message["Message-ID"] == "<1234@mail.example>"
    explanation, status, returned = texts(report())
    assert "bob@example.net" in explanation and "550 5.1.1 no such user" in explanation
    assert "Reporting-MTA: dns; mail.example" in status
    assert "Arrival-Date: Fri, 3 Nov 2023 08:26:40 +0000" in status
    assert "Final-Recipient: rfc822; bob@example.net" in status
    assert "Action: failed" in status and "Status: 5.1.1" in status
    assert "Remote-MTA: dns; mx.example.net" in status
    assert "Diagnostic-Code: smtp; 550 5.1.1 no such user" in status
    assert returned.get_content_type() == "message/rfc822"
    inner = returned.get_content()
    assert inner["Subject"] == "hello" and inner.get_content().strip() == "the body"


def test_each_recipient_has_its_block() -> None:
    other = ReportedRecipient(Address("carol", "example.com"), (4, 4, 7), "delivery time expired")
    status = parsed(report(recipients=(BOB, other)))
    _, blocks, _ = status.iter_parts()
    payload = blocks.get_payload()
    assert isinstance(payload, list)
    assert [block["Final-Recipient"] for block in payload[1:]] == ["rfc822; bob@example.net", "rfc822; carol@example.com"]
    assert payload[2]["Diagnostic-Code"] == "x-hslpy; delivery time expired"
    assert payload[2]["Status"] == "4.4.7"
    assert payload[2]["Remote-MTA"] is None


def test_a_delay_report_says_that_nothing_need_be_done() -> None:
    waiting = ReportedRecipient(Address("bob", "example.net"), (4, 2, 0), "451 later", retry_until=1_700_400_000.0)
    explanation, status, returned = texts(report(action="delayed", recipients=(waiting,)))
    assert "still tried" in explanation
    assert "Action: delayed" in status and "Will-Retry-Until:" in status
    assert returned.get_content_type() == "text/rfc822-headers"


@pytest.mark.parametrize(
    ("fields", "limit"),
    [
        ({}, 20),
        ({"sender_params": {"RET": "HDRS"}}, 50_000),
        ({"sender_params": {"ret": "hdrs"}}, 50_000),
        ({"body": b"8-bit \xe5\r\n", "header": b"From: alice@a.test\r\nX: \xe5\r\n\r\n"}, 50_000),
        ({"body": b"bare\nline end\r\n"}, 50_000),
        ({"body": b"nul \x00\r\n"}, 50_000),
        ({"body": b"x" * 999 + b"\r\n"}, 50_000),
    ],
)
def test_only_the_header_comes_back_when_the_whole_would_not_do(fields: dict[str, object], limit: int) -> None:
    _, _, returned = texts(report(**fields), limit)
    assert returned.get_content_type() == "text/rfc822-headers"
    assert "the body" not in returned.get_content()
    assert "From: alice@" in returned.get_content()


def test_a_header_that_is_not_7bit_is_quoted_printable() -> None:
    header = b"Subject: \xe5\x00=\t \r\nX: " + b"y" * 2000 + b"\r\n\r\n"
    _, _, returned = texts(report(header=header))
    assert returned["Content-Transfer-Encoding"] == "quoted-printable"
    payload = returned.get_payload(decode=True)
    assert payload == header.removesuffix(b"\r\n")


def test_what_rfc_3461_asks_to_be_carried_is_carried() -> None:
    one = ReportedRecipient(
        Address("b", "example.net"), (5, 0, 0), "no", params={"ORCPT": "rfc822;Bob+2Btag@example.com", "NOTIFY": "FAILURE"}
    )
    _, status, _ = texts(report(recipients=(one,), sender_params={"ENVID": "a+3Db+0D+0AX: y"}))
    assert "Original-Recipient: rfc822; Bob+tag@example.com" in status
    assert "Original-Envelope-Id: a=b X: y" in status


def test_notify_decides() -> None:
    assert wants_report({}, "failed") and wants_report({}, "delayed")
    assert not wants_report({"NOTIFY": "NEVER"}, "failed")
    assert wants_report({"NOTIFY": "success,Failure"}, "failed")
    assert not wants_report({"NOTIFY": "SUCCESS,FAILURE"}, "delayed")
    assert wants_report({"notify": "DELAY"}, "delayed")


def test_an_address_beyond_ascii_is_written_as_rfc_6533_says() -> None:
    one = ReportedRecipient(Address("\xc3\xa5", "example.net"), (5, 6, 7), "no SMTPUTF8")
    _, status, _ = texts(report(recipients=(one,)))
    assert "Final-Recipient: utf-8; \\x{E5}@example.net" in status


_TEXT = st.text(st.characters(max_codepoint=255), max_size=60)
_NASTY = st.one_of(
    _TEXT,
    st.sampled_from(
        ["a\r\nBcc: x@y", "\r\n\r\n--boundary-1--\r\n", "x" * 5000, "\x00\x1b[31m", "a b " * 500, "\x85\xa0", ""]
    ),
)


@given(
    _NASTY, _NASTY, _NASTY, _NASTY, st.binary(max_size=300), st.binary(max_size=300), st.sampled_from(["failed", "delayed"])
)
def test_whatever_comes_in_the_report_is_clean(
    diagnostic: str, host: str, local: str, domain: str, head: bytes, body: bytes, action: str
) -> None:
    one = ReportedRecipient(
        Address(local, domain), (5, 0, 0), diagnostic, True, host, {"ORCPT": f"{domain};{diagnostic}"}, 1.0, 2.0
    )
    made = report(
        action=action,
        sender=Address(domain, host),
        recipients=(one,),
        header=head + b"\r\n\r\n",
        body=body,
        hostname=host,
        message_id=local,
        transaction_id=domain,
        sender_params={"ENVID": diagnostic},
    )
    header, report_body = build_report(made)
    content = header + report_body
    assert all(byte in b"\r\n\t\x1b" or 32 <= byte <= 126 or (byte > 127 and made.is_international) for byte in content)
    lines = content.split(b"\r\n")
    assert not any(b"\r" in line or b"\n" in line for line in lines)
    assert max(map(len, lines)) <= 998
    names = [line.split(b":")[0] for line in header.split(b"\r\n") if line and line[0] not in b" \t"]
    wanted = [b"From", b"To", b"Subject", b"Date", b"Message-ID", b"Auto-Submitted", b"MIME-Version", b"Content-Type"]
    if made.is_international:
        wanted.insert(7, b"Content-Transfer-Encoding")
    assert names == wanted
    message = email.message_from_bytes(content, policy=email.policy.compat32)
    assert len(message.get_payload()) == 3

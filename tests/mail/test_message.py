"""Header fields, their decoding, and edits: nothing an edit writes can end a field or the header."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hslpy.mail.encoded_word import decode_words, encode_words
from hslpy.mail.message import HeaderEditor, Message, field_text, parse_fields, split_content
from tests.support.yardstick import assert_within, timed

CONTENT = (
    b"Received: from a\r\n\tby b; today\r\n"
    b"Received: from c by d\r\n"
    b"Subject: =?utf-8?q?Hall=C3=A5?= =?UTF-8?B?IHbDpHJsZGVu?=\r\n"
    b"X-Empty:\r\n"
    b"From: A <a@example.org>\r\n"
    b"\r\n"
    b"Body: not a field\r\n\r\nmore\r\n"
)


def text(value: str) -> str:
    """A text as HSL holds it: UTF-8, a character a byte."""
    return value.encode().decode("latin-1")


@pytest.mark.parametrize(
    ("content", "header", "body"),
    [
        (b"A: 1\r\n\r\nx", b"A: 1\r\n\r\n", b"x"),
        (b"A: 1\r\n", b"A: 1\r\n\r\n", b""),
        (b"A: 1", b"A: 1\r\n\r\n", b""),
        (b"\r\nx", b"\r\n", b"x"),
        (b"", b"\r\n", b""),
    ],
)
def test_header_ends_with_its_empty_line(content: bytes, header: bytes, body: bytes) -> None:
    assert split_content(content) == (header, body)


def test_values_are_unfolded_and_decoded() -> None:
    message = Message(CONTENT)
    assert list(message.values("received")) == ["from a\tby b; today", "from c by d"]
    assert list(message.values("SUBJECT")) == [text("Hallå världen")]
    assert list(message.values("Subject", decode=False)) == ["=?utf-8?q?Hall=C3=A5?= =?UTF-8?B?IHbDpHJsZGVu?="]
    assert list(message.values("X-Empty")) == [""]
    assert list(message.values("Body")) == []
    assert message.body.startswith(b"Body: not a field")


def test_line_that_is_no_field_is_kept_and_has_no_name() -> None:
    fields = parse_fields(b"A: 1\r\nnonsense\r\n folded\r\nB: 2\r\n\r\n")
    assert [(field.name, field.raw) for field in fields] == [
        ("A", "A: 1\r\n"),
        ("", "nonsense\r\n folded\r\n"),
        ("B", "B: 2\r\n"),
    ]


@pytest.mark.parametrize(
    ("raw", "decoded"),
    [
        ("plain", "plain"),
        ("=?iso-8859-1?Q?a=E5?=", "aå"),
        ("=?iso-8859-1*sv?Q?a=E5?= b", "aå b"),
        ("=?utf-8?B?w6U=?=  =?utf-8?B?w6Q=?= x", "åä x"),
        ("=?utf-8?Q?=C3?= =?utf-8?Q?=A5?=", "å"),
        ("=?unknown?Q?abc?=", "abc"),
        ("=?rot13?Q?abc?=", "abc"),
        ("=?unicode-escape?Q?abc?=", "abc"),
        ("=?utf-8?Q?", "=?utf-8?Q?"),
    ],
)
def test_encoded_words(raw: str, decoded: str) -> None:
    assert decode_words(raw) == text(decoded)


def test_bytes_without_a_charset_become_utf8() -> None:
    assert decode_words("\xe5") == text("å")
    assert decode_words(text("å")) == text("å")


@given(st.text(alphabet=st.characters(codec="utf-8", exclude_categories=("Cs", "Cc", "Zs", "Zl", "Zp"))))
def test_encoding_round_trips(value: str) -> None:
    if "=?" in value:
        return
    encoded = encode_words(text(value))
    assert encoded.isascii()
    assert decode_words(encoded) == text(value)


def test_edits_are_applied_in_turn_and_not_seen() -> None:
    message = Message(CONTENT)
    editor = HeaderEditor(message)
    editor.add("X-First", "1")
    assert editor.set("subject", "new") == 1
    assert editor.prepend("Subject", "[spam] ") == 1
    assert editor.append("X-New", "made") == 1
    assert editor.delete("RECEIVED") == 2
    assert editor.delete("Received") == 0
    assert editor.render() == (
        b"X-New: made\r\nX-First: 1\r\nSubject: [spam] new\r\nX-Empty:\r\nFrom: A <a@example.org>\r\n\r\n"
    )
    assert list(message.values("Received"))[1] == "from c by d"
    assert editor.changes == 5
    assert editor.discard() == 5
    assert not editor.changed
    assert editor.render() == message.header


def test_indexes_count_what_was_received() -> None:
    editor = HeaderEditor(Message(CONTENT))
    editor.add("Received", "mine")
    assert editor.delete("Received", 0) == 1
    assert editor.delete("Received", 0) == 0
    assert editor.set("Received", "other", index=-1) == 1
    assert editor.set("Received", "none", index=5) == 0
    assert editor.render().startswith(b"Received: mine\r\nReceived: other\r\nSubject:")


def test_unchanged_header_is_byte_for_byte() -> None:
    content = b"A:1\r\n B\r\nbroken line\r\nC :  2  \r\n\r\nx"
    editor = HeaderEditor(Message(content))
    editor.add("X", "y")
    assert editor.render() == b"X: y\r\nA:1\r\n B\r\nbroken line\r\nC :  2  \r\n\r\n"


@pytest.mark.parametrize(
    "value", ["a\r\nBcc: b", "a\nBcc: b", "a\rBcc: b", "a\r\n\r\nbody", "\r\n\r\n", "a\r\n \r\nb", "a\0b"]
)
@pytest.mark.parametrize("refold", [True, False])
def test_values_cannot_end_the_field(value: str, refold: bool) -> None:
    fields = parse_fields((field_text("X", value, refold) + "End: 1\r\n\r\nbody").encode("latin-1"))
    assert [field.name for field in fields] == ["X", "End"]


@given(st.text(alphabet=st.characters(max_codepoint=255)), st.booleans())
def test_any_value_stays_in_its_field(value: str, refold: bool) -> None:
    block = (field_text("X", value, refold) + "End: 1\r\n\r\n").encode("latin-1")
    fields = parse_fields(block)
    assert [field.name for field in fields] == ["X", "End"]
    assert b"\n" not in block.replace(b"\r\n", b"") and b"\r" not in block.replace(b"\r\n", b"")
    for line in block.split(b"\r\n")[1:-3]:
        assert line.strip(b" \t")


@pytest.mark.parametrize("name", ["", "a b", "a:b", "a\r\nb", "å", "x" * 100])
def test_names_that_no_field_has(name: str) -> None:
    with pytest.raises(ValueError, match="name"):
        HeaderEditor(Message(CONTENT)).add(name, "x")


def test_long_values_are_folded() -> None:
    lines = field_text("X", "word " * 60).split("\r\n")
    assert all(len(line) <= 78 for line in lines)
    assert all(line.startswith(" ") for line in lines[1:-1])
    assert all(len(line) <= 998 for line in field_text("X", "y" * 5000).split("\r\n"))
    kept = "a=b;\r\n\tc=d"
    assert field_text("DKIM-Signature", kept, refold=False) == f"DKIM-Signature: {kept}\r\n"


def test_a_field_of_a_long_header_is_found_without_the_others() -> None:
    many = b"X-Many:\r\n" * 5000
    header = b"Subject : one\r\n two\r\n" + many + b"subject: three\r\nX-Subject: four\r\nSubjects: five\r\n\r\nSubject: six"
    message = Message(header)
    found = [(field.name, field.value()) for field in message.named("Subject")]
    assert found == [("Subject", "one two"), ("subject", "three")]
    assert [field.raw for field in message.named("x-subject")] == ["X-Subject: four\r\n"]
    assert not message.named("Date") and not message.named("ubject")
    assert [field.raw for field in message.fields if field.name.lower() == "subject"] == [
        field.raw for field in message.named("Subject")
    ]


def test_a_header_of_a_million_fields_is_not_read_for_one() -> None:
    def cost_s(fields: int) -> float:
        message = Message(b"a:\r\n" * fields + b"Subject: late\r\n\r\nx")
        assert not message.named("Subject")  # it stands beyond what is looked at
        return timed(lambda: message.named("b"))

    assert_within(50, lambda: cost_s(1_000_000))

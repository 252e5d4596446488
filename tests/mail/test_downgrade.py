"""Messages made 7-bit: what they hold stays the same, signed parts stay untouched, and what cannot be is refused."""

from __future__ import annotations

import email
import email.policy
from email.message import EmailMessage

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hslpy.mail import transfer
from hslpy.mail.compose import NewPart, render
from hslpy.mail.downgrade import NoSevenBitForm, to_7bit
from hslpy.mail.parts import Part
from hslpy.mail.transfer import has_long_line, quoted_printable, with_crlf

AE = "å".encode()
MIXED = b"Content-Type: multipart/mixed; boundary=b\r\n"


def leaves(content: bytes) -> list[tuple[str | None, bytes]]:
    """Give the types and decoded bodies of all parts that hold no others."""
    found: list[tuple[str | None, bytes]] = []

    def look(part: Part) -> None:
        children = part.children(lambda _: None) if part.type != "message/global" else []
        if not children:
            found.append((part.type or "text/plain", part.body()))
        for child in children:
            look(child)

    look(Part(content, 0, len(content)))
    return found


def checked(content: bytes) -> bytes:
    result = to_7bit(content)
    assert result.isascii()
    assert all(len(line) <= 998 for line in result.split(b"\r\n"))
    assert leaves(result) == leaves(content)
    assert to_7bit(result) is result
    return result


def test_ascii_stays_the_very_same() -> None:
    content = b"Subject: x\r\n\r\n" + b"y" * 2000 + b"\r\n"
    assert to_7bit(content) is content


def test_text_without_mime_fields_is_declared() -> None:
    result = checked(b"Subject: x\r\nFrom: a@b.test\r\n\r\nhej " + AE + b"\r\n.\r\nFrom x\r\n")
    message = email.message_from_bytes(result)
    assert result.startswith(b"Subject: x\r\nFrom: a@b.test\r\n")
    assert message["MIME-Version"] == "1.0" and message["Content-Type"] == "text/plain; charset=unknown-8bit"
    assert message.get_payload(decode=True) == b"hej " + AE + b"\r\n.\r\nFrom x\r\n"


@pytest.mark.parametrize("encoding", ["8bit", "8BIT", "binary", "7bit", None])
def test_a_transfer_encoding_is_replaced_where_it_stands(encoding: str | None) -> None:
    field = f"Content-Transfer-Encoding: {encoding}\r\n" if encoding else ""
    head = f"MIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\n{field}Subject: x\r\n\r\n".encode()
    result = checked(head + b"so much = " + AE + b" \r\n\tb\t\r\n")
    assert result.lower().count(b"content-transfer-encoding") == 1
    message = email.message_from_bytes(result, policy=email.policy.default)
    assert isinstance(message, EmailMessage) and not message.defects
    assert message.get_content() == "so much = å \r\n\tb\t\r\n"


def test_each_part_gets_what_it_needs() -> None:
    content = (
        b"MIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=b1\r\nContent-Transfer-Encoding: 8bit\r\n\r\n"
        b"pre" + AE + b"\r\n--b1\r\nContent-Type: text/plain; charset=utf-8\r\n\r\nthe letter " + AE + b"\r\n"
        b"--b1\r\nContent-Type: text/plain\r\n\r\nplain\r\n"
        b"--b1\r\nContent-Type: application/x-y\r\nContent-Transfer-Encoding: binary\r\n\r\n"
        + bytes(range(128, 256)) * 10
        + b"\r\n--b1\r\nContent-Type: text/plain\r\nContent-Transfer-Encoding: 8bit\r\n\r\n"
        + b"long " * 300
        + b"\r\n--b1\r\nContent-Type: message/rfc822\r\nContent-Transfer-Encoding: 8bit\r\n\r\n"
        b"Subject: inner\r\n\r\ninner " + AE + b"\r\n--b1\r\n\r\nuntyped " + AE + b"\r\n--b1--\r\nepilogue" + AE
    )
    result = checked(content)
    message = email.message_from_bytes(result)
    assert message["Content-Transfer-Encoding"] == "7bit"
    parts = message.get_payload()
    assert isinstance(parts, list)
    assert [part["Content-Transfer-Encoding"] for part in parts] == [
        "quoted-printable",
        None,
        "base64",
        "quoted-printable",
        "7bit",
        "quoted-printable",
    ]
    inner = parts[4].get_payload(0)
    assert inner["Content-Transfer-Encoding"] == "quoted-printable" and inner["MIME-Version"] == "1.0"
    assert parts[5]["Content-Type"] == "text/plain; charset=unknown-8bit" and parts[5]["MIME-Version"] is None


def test_messages_in_a_digest_are_messages() -> None:
    content = b"Content-Type: multipart/digest; boundary=b\r\n\r\n--b\r\n\r\nSubject: one\r\n\r\n" + AE + b"\r\n--b--\r\n"
    result = to_7bit(content)
    message = email.message_from_bytes(result)
    inner = message.get_payload(0).get_payload(0)  # type: ignore[union-attr]
    assert inner["Subject"] == "one" and inner.get_payload(decode=True) == AE  # type: ignore[union-attr]


def test_message_global_is_encoded_whole() -> None:
    inner = "Subject: å\r\n\r\nå\r\n".encode()
    content = MIXED + b"\r\n--b\r\nContent-Type: message/global\r\n\r\n" + inner + b"\r\n--b--\r\n"
    result = to_7bit(content)
    assert result.isascii()
    part = Part(result, 0, len(result)).children(lambda _: None)[0]
    assert part.encoding == "quoted-printable" and part.body() == inner


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"Subject: " + AE + b"\r\n\r\nx\r\n", "header"),
        (b"Content-Transfer-Encoding: x-uue\r\n\r\n" + AE, "unknown transfer encoding"),
        (b"Content-Type: multipart/mixed\r\n\r\n" + AE, "malformed"),
        (MIXED + b"\r\n" + AE, "malformed"),
        (
            MIXED + b"Content-Transfer-Encoding: base64\r\n\r\n--b\r\n\r\n" + AE,
            "malformed",
        ),
        (b"Content-Type: message/partial\r\n\r\n" + AE, "no transfer encoding"),
        (MIXED + b"\r\n--b\r\nX-A: " + AE + b"\r\n\r\nx\r\n--b--\r\n", "header"),
        (b"Content-Type: message/rfc822\r\n\r\nSubject: " + AE + b"\r\n\r\nx\r\n", "header"),
        (b"Content-Type: message/rfc822\r\n\r\n" * 30 + b"\r\n" + AE, "nested"),
        (
            MIXED + b"\r\n" + b"--b\r\n\r\nx\r\n" * 3000 + AE + b"\r\n--b--\r\n",
            "malformed",
        ),
    ],
)
def test_what_has_no_7bit_form(content: bytes, why: str) -> None:
    with pytest.raises(NoSevenBitForm, match=why):
        to_7bit(content)


def signed(inner: bytes) -> bytes:
    return (
        b"Content-Type: multipart/signed; boundary=s; protocol=application/pgp-signature\r\n\r\n--s\r\n"
        b"Content-Type: text/plain; charset=utf-8\r\n\r\n"
        + inner
        + b"\r\n--s\r\nContent-Type: application/pgp-signature\r\n"
        b"\r\nxyz\r\n--s--\r\n"
    )


def test_signed_parts_are_never_changed() -> None:
    with pytest.raises(NoSevenBitForm, match="signed"):
        to_7bit(signed(AE))
    whole = signed(b"plain")
    content = MIXED + b"\r\n--b\r\n" + whole + b"\r\n--b\r\n\r\n" + AE + b"\r\n--b--\r\n"
    assert whole in checked(content)


def test_encoded_bodies_with_8bit_bytes_in_them_are_encoded_anew() -> None:
    checked(b"Content-Type: text/plain\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\na=3Db " + AE + b"=\r\nc\r\n")
    checked(b"Content-Type: image/png\r\nContent-Transfer-Encoding: base64\r\n\r\naGVs\xe5bG8=\r\n")


def test_bare_line_ends_and_nul_survive_in_base64() -> None:
    checked(b"Content-Type: application/x-y\r\nContent-Transfer-Encoding: binary\r\n\r\na\rb\nc\0" + AE)
    assert b"\n" not in to_7bit(b"Subject: x\r\n\r\n" + AE + b"x" * 400).replace(b"\r\n", b"")


def bodies() -> st.SearchStrategy[bytes]:
    piece = st.one_of(
        st.binary(max_size=30).map(lambda data: data.replace(b"\r", b"").replace(b"\n", b"")),
        st.sampled_from([b"\r\n", b" \r\n", b"\t", b"=", b".\r\n", b"--", b"From ", AE * 300, b"x" * 1200, b"\r\n\r\n"]),
    )
    return st.lists(piece, max_size=12).map(b"".join)


LEAF_TYPES = ["", "text/plain; charset=utf-8", "text/html", "application/octet-stream", "image/png", "message/global"]


@st.composite
def entities(draw: st.DrawFn, depth: int = 0) -> bytes:
    """A MIME entity, header and body, whose boundary is in nothing within."""
    field = draw(
        st.sampled_from(["", "Content-Transfer-Encoding: 8bit\r\n", "CONTENT-TRANSFER-ENCODING: binary\r\n"])
    ).encode()
    shape = draw(st.sampled_from(["leaf", "leaf", "multipart", "message"])) if depth < 4 else "leaf"
    if shape == "multipart":
        boundary = f"=_b{depth}_{draw(st.integers(0, 99))}".encode()
        parts = draw(st.lists(entities(depth + 1), min_size=1, max_size=3))
        body = b"".join(b"--" + boundary + b"\r\n" + part + b"\r\n" for part in parts) + b"--" + boundary + b"--\r\n"
        return b'Content-Type: multipart/mixed; boundary="' + boundary + b'"\r\n' + field + b"\r\n" + body
    if shape == "message":
        return b"Content-Type: message/rfc822\r\n" + field + b"\r\nSubject: x\r\n" + draw(entities(depth + 1))
    kind = draw(st.sampled_from(LEAF_TYPES))
    return (f"Content-Type: {kind}\r\n" if kind else "").encode() + field + b"\r\n" + draw(bodies())


@settings(max_examples=300, deadline=None)
@given(entities())
def test_content_stays_the_same(entity: bytes) -> None:
    content = b"From: a@b.test\r\nMIME-Version: 1.0\r\n" + entity
    if not content.isascii():
        checked(content)


def test_what_was_built_is_made_7bit_before_it_is_signed() -> None:
    seen: list[bytes] = []

    def sign(header: bytes, body: bytes) -> bytes:
        seen.append(header + body)
        return b"X-Signature: y\r\n"

    fields = [("content-transfer-encoding", "Content-Transfer-Encoding: 8bit\r\n")]
    part = NewPart(fields=fields, body="the letter " + AE.decode("latin-1") + "\r\n", signers=[sign])
    content = render(part)
    assert content == b"X-Signature: y\r\n" + seen[0] and content.isascii()
    assert leaves(content) == [("text/plain", b"the letter " + AE + b"\r\n")]


def test_long_lines() -> None:
    assert not has_long_line(b"") and not has_long_line(b"x" * 998 + b"\r\n") and not has_long_line(b"x" * 998)
    assert has_long_line(b"a\r\n" * 400 + b"x" * 999 + b"\r\n" + b"a\r\n")


@given(st.lists(st.sampled_from([b"a", b" ", b"\xe9", b".", b"\t", b"=", b"x" * 80, b"\r\n", b"\r\n.\r\n", b"\r", b"\n"])))
def test_large_data_in_pieces_is_as_in_one(parts: list[bytes]) -> None:
    data = b"".join(parts)
    lines = transfer._LINE_END.sub(b"\r\n", data)
    assert with_crlf(data) == lines
    whole = quoted_printable(lines)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(transfer, "_PIECE_BYTES", 5)
        assert with_crlf(data) == lines
        assert quoted_printable(lines) == whole

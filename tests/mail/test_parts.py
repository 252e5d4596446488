"""Messages taken apart: boundaries, what is around them, names of files, transfer encodings, and what is broken."""

from __future__ import annotations

import email
import email.policy
import random

import pytest

from hslpy.mail.parts import MOST_DEPTH, MOST_PARTS, Part, decoded, parameters


def part(text: str) -> Part:
    content = text.replace("\n", "\r\n").encode("latin-1")
    return Part(content, 0, len(content))


def no_work(size_bytes: int) -> None:
    assert size_bytes >= 0


def shape(node: Part) -> list[tuple[str, str | None, bytes]]:
    return [(one.id, one.type, one.body()) for one in node.descendants(no_work)]


MIXED = """Content-Type: multipart/mixed; boundary="a b"

before
--a b
Content-Type: multipart/alternative; boundary=abc

--abc

plain
--abc
Content-Type: TEXT/HTML

<b>
--abc--
--a b \t
Content-Type: application/pdf; name=x.pdf
Content-Transfer-Encoding: BASE64

aGV
sbG8=
--a b--
after
"""


def test_parts_within_parts() -> None:
    root = part(MIXED)
    assert shape(root)[1:] == [
        ("1.1", None, b"plain"),
        ("1.2", "text/html", b"<b>"),
        ("2", "application/pdf", b"hello"),
    ]
    assert (root.preamble, root.epilogue, root.errors) == (b"before", b"after\r\n", [])
    assert root.children(no_work)[1].file_name == "x.pdf"


@pytest.mark.parametrize(
    ("text", "bodies", "errors"),
    [
        ("Content-Type: multipart/mixed\n\n--x\n\na\n--x--\n", [], ["bad_header"]),
        ("Content-Type: multipart/mixed; boundary=x\n\nnothing\n", [], ["unclosed_boundary"]),
        ("Content-Type: multipart/mixed; boundary=x\n\n--x\n\na", [b"a"], ["unclosed_boundary"]),
        ("Content-Type: multipart/mixed; boundary=x\n\n--x\n\na\n--x", [b"a", b""], ["unclosed_boundary"]),
        ("Content-Type: multipart/mixed; boundary=x\n\n--x\n--x\n\n--x--", [b"", b""], []),
        ("Content-Type: multipart/mixed; boundary=x\n\n--x\n\na --x\n--xy\n--x--", [b"a --x\r\n--xy"], []),
        ("Content-Type: multipart/mixed; boundary=x\n\n--x--\n--x\n\na", [], []),
        ("Content-Type: multipart/mixed; boundary=x", [], ["unclosed_boundary"]),
        ("Content-Type: message/rfc822\n\nSubject: in\n\nb", [b"b"], []),
        ("Content-Type: message/rfc822\nContent-Transfer-Encoding: base64\n\nSGk=", [], []),
        ("", [], []),
        ("\nbody", [], []),
    ],
)
def test_broken_and_empty(text: str, bodies: list[bytes], errors: list[str]) -> None:
    root = part(text)
    assert [one.body() for one in root.children(no_work)] == bodies
    assert root.errors == errors


def test_depth_and_count_have_bounds() -> None:
    deep = "".join(f"Content-Type: multipart/mixed; boundary=b{i}\n\n--b{i}\n" for i in range(100))
    found = list(part(deep).descendants(no_work))
    assert len(found) == MOST_DEPTH and found[-1].errors == ["unclosed_boundary", "too_deep"]
    many = part("Content-Type: multipart/mixed; boundary=x\n\n" + "--x\n\n" * 10_000)
    assert len(list(many.descendants(no_work))) == MOST_PARTS and "too_many_parts" in many.errors


@pytest.mark.parametrize(
    ("value", "wanted"),
    [
        ('attachment; filename="a \\"b\\".pdf"', {"filename": 'a "b".pdf'}),
        ("attachment; FileName = a.pdf ; x=y", {"filename": "a.pdf", "x": "y"}),
        ("attachment; filename*=UTF-8''bl%C3%A5.txt", {"filename": "bl\xc3\xa5.txt"}),
        ("attachment; filename*=iso-8859-1'sv'bl%E5.txt", {"filename": "bl\xc3\xa5.txt"}),
        ("a; filename*0*=UTF-8''bl%C3; filename*1*=%A5; filename*2=.txt", {"filename": "bl\xc3\xa5.txt"}),
        ("a; filename*1=b; filename*0=a", {"filename": "ab"}),
        ('a; filename="=?UTF-8?Q?bl=C3=A5?="', {"filename": "bl\xc3\xa5"}),
        ('a; filename="a;b=c"; filename=second', {"filename": "a;b=c"}),
        ('a; filename="open', {"filename": "open"}),
        ("a; filename", {}),
    ],
)
def test_parameters(value: str, wanted: dict[str, str]) -> None:
    assert parameters(value) == wanted


@pytest.mark.parametrize(
    ("raw", "encoding", "wanted"),
    [
        (b"aGVsbG8", "base64", b"hello"),
        (b"aGVsbG8=\r\n-- \r\nfooter", "base64", b"hello"),
        (b"a", "base64", b""),
        (b"a=C3=A5=\r\nb=\r\n", "quoted-printable", b"a\xc3\xa5b"),
        (b"a=C3", "8bit", b"a=C3"),
        (b"a", "x-unknown", b"a"),
    ],
)
def test_transfer_encodings(raw: bytes, encoding: str, wanted: bytes) -> None:
    assert decoded(raw, encoding)[: len(wanted) or None] == wanted


def test_it_agrees_with_pythons_parser_on_well_formed_messages() -> None:
    chance = random.Random(5)

    def made(depth: int) -> str:
        if depth == 0 or chance.random() < 0.3:
            return f"Content-Type: text/plain\n\nbody {chance.random()}\n" + "\n" * chance.randrange(3)
        boundary = f"b{chance.randrange(10**6)}"
        inner = "".join(f"--{boundary}\n{made(depth - 1)}\n" for _ in range(chance.randrange(1, 4)))
        return f"Content-Type: multipart/mixed; boundary={boundary}\n\npre\n{inner}--{boundary}--\n"

    for _ in range(50):
        root = part(made(3))
        theirs = email.message_from_bytes(root.content, policy=email.policy.SMTP)
        leaves = [one for one in root.descendants(no_work) if not (one.type or "").startswith("multipart/")]
        if not theirs.is_multipart():
            assert not leaves
            continue
        expected = [one.get_payload(decode=True) for one in theirs.walk() if not one.is_multipart()]
        assert [one.body() for one in leaves] == expected


def test_no_bytes_make_it_raise() -> None:
    chance = random.Random(6)
    pieces = [MIXED[i : i + 9] for i in range(0, len(MIXED), 9)] + ["\n", "\r", "--a b", "--", '"', "*0*=", "\0\xff", "\n\n"]
    for _ in range(500):
        root = part("".join(chance.choice(pieces) for _ in range(chance.randrange(60))))
        for one in [root, *root.descendants(no_work)]:
            _ = (one.type, one.file_name, one.body(), one.preamble, one.epilogue)
            assert root.start <= one.start <= one.body_start <= one.end <= root.end

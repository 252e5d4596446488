"""The MIME builder: what it renders, as Python's own parser reads it, and what it refuses."""

from __future__ import annotations

import base64
import email
import email.message
import email.policy
from typing import Any

import pytest

from hslpy.lang.run import Limits
from tests.hooks.world import World


def built(world: World, expression: str) -> tuple[bytes, email.message.EmailMessage]:
    world.run("rcptto", f"$m = {expression}; echo base64_encode($m->toString());")
    (text,) = world.echoed()
    data = base64.b64decode(text)
    parsed: Any = email.message_from_bytes(data, policy=email.policy.default)
    return data, parsed


def test_the_simplest(world: World) -> None:
    data, _ = built(world, 'MIME()->addHeader("Subject", "Hello")->setBody("Hello World")')
    assert data == (
        b"Subject: Hello\r\nMIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\n"
        b"Content-Transfer-Encoding: base64\r\n\r\nSGVsbG8gV29ybGQ=\r\n"
    )


def test_an_empty_one(world: World) -> None:
    data, parsed = built(world, "MIME()")
    assert data.endswith(b"base64\r\n\r\n") and parsed.get_content() == ""


def test_parts_within_parts(world: World) -> None:
    data, parsed = built(
        world,
        'MIME()->setType("multipart/mixed")->setBoundary("outer")->setBody("For old readers\\n")'
        '->appendPart(MIME()->setType("multipart/alternative")'
        '->appendPart(MIME()->setBody("*Hi*"))->appendPart(MIME()->setType("text/html")->setBody("<b>Hi</b>")))'
        '->appendPart(MIME()->setType("application/pdf")->setFileName("a \\"b\\".pdf")->setBody("\\x00\\xff"))',
    )
    assert data.count(b"MIME-Version") == 1 and b"\n" not in data.replace(b"\r\n", b"")
    alternative, attached = parsed.iter_parts()
    assert parsed.preamble == "For old readers\r\n" and parsed.get_boundary() == "outer"
    assert [part.get_content() for part in alternative.iter_parts()] == ["*Hi*", "<b>Hi</b>"]
    assert attached.get_filename() == 'a "b".pdf' and attached.get_content_disposition() == "attachment"
    assert attached.get_content() == b"\x00\xff" and not parsed.defects


def test_without_a_type_parts_make_it_mixed(world: World) -> None:
    _, parsed = built(world, 'MIME()->appendPart(MIME()->setBody("x"))')
    assert parsed.get_content_type() == "multipart/mixed" and len(list(parsed.iter_parts())) == 1
    assert len(parsed.get_boundary() or "") == 36


def test_a_boundary_stays_from_one_rendering_to_the_next(world: World) -> None:
    world.run("rcptto", '$m = MIME()->setType("multipart/mixed"); echo $m->toString() === $m->toString();')
    assert world.echoed() == ["true"]


def test_a_content_type_of_its_own_names_the_boundary(world: World) -> None:
    _, parsed = built(
        world,
        'MIME()->addHeader("Content-Type", "multipart/related; boundary=\\"own one\\"")->setBoundary("x")'
        '->appendPart(MIME()->setBody("y"))',
    )
    assert parsed.get_boundary() == "own one" and len(list(parsed.iter_parts())) == 1


def test_an_encoding_of_its_own_keeps_the_body(world: World) -> None:
    data, _ = built(world, 'MIME()->addHeader("Content-Transfer-Encoding", "7bit")->setBody("a\\nb\\r\\nc\\rd")')
    assert data.endswith(b"7bit\r\nMIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\n\r\na\r\nb\r\nc\r\nd")
    data, _ = built(World(world.folder), 'MIME()->addHeader("content-transfer-encoding", "Binary")->setBody("a\\nb")')
    assert data.endswith(b"\r\n\r\na\nb")


def test_a_base64_part_with_a_plain_body_is_encoded(world: World) -> None:
    data, parsed = built(world, 'MIME()->addHeader("Content-Transfer-Encoding", "base64")->setBody("\\x30\\x82\\x01")')
    assert data.endswith(b"\r\n\r\nMIIB\r\n") and parsed.get_payload(decode=True) == b"\x30\x82\x01"
    data, _ = built(World(world.folder), 'MIME()->addHeader("Content-Transfer-Encoding", "base64")->setBody("MII\\nB")')
    assert data.endswith(b"\r\n\r\nMII\r\nB")


def test_long_and_foreign_values_are_folded_and_encoded(world: World) -> None:
    data, parsed = built(
        world,
        f'MIME()->addHeader("Subject", "gr\\xc3\\xbc\\xc3\\x9fe {"word " * 40}")'
        '->addHeader("X", "\\xe5", ["encode" => false])',
    )
    assert str(parsed["Subject"]).startswith("grüße word word") and b"\r\nX: \xe5\r\n" in data
    assert all(len(line) <= 78 for line in data.split(b"\r\n"))


def test_a_foreign_file_name(world: World) -> None:
    _, parsed = built(world, 'MIME()->setFileName("bl\\xc3\\xa5 1.txt")->setDisposition("inline")')
    assert parsed.get_filename() == "blå 1.txt" and parsed.get_content_disposition() == "inline"


def test_dates(world: World) -> None:
    _, parsed = built(world, "MIME()->setDate(1)->setDate(1700000000)")
    assert parsed.get_all("Date") == ["Tue, 14 Nov 2023 22:13:20 +0000"]
    world.run("rcptto", "echo MIME()->setDate()->toString() === MIME()->setDate(time())->toString();")
    assert world.echoed()[-1] == "true"


@pytest.mark.parametrize(
    "expression",
    [
        'MIME()->addHeader("Subject", "a\\r\\nBcc: x@y")',
        'MIME()->addHeader("Subject", "a\\nBcc: x@y", ["encode" => false])',
        'MIME()->addHeader("Subject", "a\\r\\n\\r\\nBcc: x@y", ["encode" => false])',
        'MIME()->setFileName("a\\r\\nBcc: x@y")',
    ],
)
def test_nothing_adds_a_field(world: World, expression: str) -> None:
    _, parsed = built(world, expression)
    assert "Bcc" not in parsed


@pytest.mark.parametrize(
    ("expression", "message"),
    [
        ('MIME()->addHeader("A: b", "c")', "cannot be the name"),
        ('MIME()->addHeader("A", "c", ["encoding" => false])', "did you mean `encode`?"),
        ('MIME()->setBoundary("a\\r\\nb")', "setBoundary() wants"),
        ('MIME()->setBoundary("a ")', "setBoundary() wants"),
        ('MIME()->setType("text/html\\r\\nBcc: x")', "setType() wants"),
        ('MIME()->setType("html")', "setType() wants"),
        ('MIME()->setDisposition("in line")', "setDisposition() wants"),
        ("MIME()->setDate(-1)", "setDate() wants"),
        ('MIME()->appendPart("x")', "or EODMailMessage as `part`"),
        ("($m = MIME())->appendPart($m)->toString()", "too deep"),
    ],
)
def test_mistakes(world: World, expression: str, message: str) -> None:
    assert world.run("rcptto", f"{expression};").failed
    assert message in world.failure()


def test_a_part_many_times_over_hits_a_limit(world: World) -> None:
    script = """
    $m = MIME()->setBody("x");
    for ($i = 0; $i < 40; $i++) $m = MIME()->appendPart($m)->appendPart($m);
    $m->toString();
    """
    assert world.run("rcptto", script).failed and "at most 10,000 parts" in world.failure()


@pytest.mark.parametrize(
    "made",
    [
        "MIME()->setBody($text . $i)",
        'MIME()->addHeader("X", "y")->appendPart(MIME()->setBody($text . $i))',
        'MailMessage::String("Subject: x\\r\\n\\r\\n" . $text . $i)',
        'MailMessage::String("Subject: x\\r\\n\\r\\ny")->setBody($text . $i)',
        'MailMessage::String("Subject: x\\r\\n\\r\\ny")->appendPart(MIME()->setBody($text . $i))',
    ],
)
def test_what_messages_hold_counts_as_memory(world: World, made: str) -> None:
    script = f'$text = str_repeat("x", 200000); $all = []; for ($i = 0; $i < 300; $i += 1) $all[] = {made}; echo "done";'
    world.run("rcptto", script, limits=Limits(memory_bytes=16_000_000))
    assert not world.echoed() and "R205" in world.failure()


def test_what_is_ordered_counts_as_memory(world: World) -> None:
    script = (
        '$mail = $arguments["mail"]; $text = str_repeat("x", 200000); for ($i = 0; $i < 300; $i += 1) '
        '{ $mail->setBody($text . $i); $mail->queue("a@example.com", "b@example.com", "t"); } echo "done";'
    )
    world.run("eod", script, limits=Limits(memory_bytes=16_000_000))
    assert not world.echoed() and "R205" in world.failure()


def test_multiparts_around_a_part_have_an_end(world: World) -> None:
    around = '$m = MailMessage::String("Subject: x\\r\\n\\r\\ny"); for ($i = 0; $i < %d; $i += 1) '
    more = '$m->appendPart(MIME()->setBody("z"), ["type" => "multipart/x$i"]); echo count($m->getParts());'
    world.run("rcptto", around % 20 + more)
    assert not world.logged("hooks.script_error")
    world.run("rcptto", around % 21 + more)
    assert "at most 20 multiparts" in world.failure()

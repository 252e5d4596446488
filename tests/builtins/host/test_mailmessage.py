"""Messages and their parts as scripts see them: at eod, in the classic hook, and of a text."""

from __future__ import annotations

import email

import pytest

from tests.hooks.world import World

CONTENT = (
    b'Subject: =?UTF-8?Q?gr=C3=BC=C3=9F?=\r\nContent-Type: multipart/mixed; boundary="x"\r\n\r\npre\r\n--x\r\n'
    b"Content-Type: text/plain; charset=UTF-8\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\na=3Db\r\n--x\r\n"
    b'Content-Type: application/zip\r\nContent-Disposition: attachment; filename="A.Exe"\r\n\r\nPK\r\n--x--\r\npost'
)
READ = """
$parts = $mail->getParts();
echo [$mail->getID(), $mail->getSize(), $mail->getType(), $mail->getTypeParameter("Boundary"), $mail->getFileName()];
echo [$mail->getHeader("Subject"), $mail->getHeader("Subject", ["decode" => false]), $mail->getHeaders("x")];
echo [$parts[0]->getID(), $parts[0]->getBody(), $parts[0]->getBody(["decode" => false]), $parts[0]->getParts()];
echo [$mail->getPreamble(), $mail->getEpilogue(), $parts[0]->getPreamble(), $mail->getErrors()];
foreach ($mail->findByFileName("/[.]exe$/i") as $p) echo [$p->getFileName(), $p->getType(), $p->getHeaderNames()];
echo [count($mail->findByType("^(text|application)/")), count($mail->findByType(#/^TEXT/i)), $mail->getByID("3")];
echo $mail->getByID("2")->getBody();
"""
WANTED = [
    f'[0=>"0",1=>{len(CONTENT)},2=>"multipart/mixed",3=>"x",4=>none]',
    '[0=>"grüß",1=>"=?UTF-8?Q?gr=C3=BC=C3=9F?=",2=>[]]',
    '[0=>"1",1=>"a=b",2=>"a=3Db",3=>[]]',
    '[0=>"pre",1=>"post",2=>none,3=>[]]',
    '[0=>"A.Exe",1=>"application/zip",2=>[0=>"content-type",1=>"content-disposition"]]',
    "[0=>2,1=>1,2=>none]",
    "PK",
]


@pytest.mark.parametrize(
    ("hook", "start"),
    [
        ("eod", '$mail = $arguments["mail"];'),
        ("data", "$mail = GetMailMessage();"),
        ("data", '$mail = MIME("0");'),
        ("eod", '$mail = MailMessage::String($arguments["mail"]->toString());'),
    ],
)
def test_reading(world: World, hook: str, start: str) -> None:
    world.run(hook, start + READ, world.data(content=CONTENT))
    assert world.echoed() == WANTED


def test_classic_edits_and_the_objects_are_one(world: World) -> None:
    script = """
    AddHeader("X-A", "1");
    $mail = GetMailMessage();
    $id = $mail->snapshot();
    MIME("0")->addHeader("X-B", "2");
    echo [is_object(MIME()), MIME("7"), MIME("2")->getBody()];
    $mail->restore($id);
    $mail->setHeader("X-C", "3");
    echo GetHeader("X-A") === "";
    Deliver();
    """
    verdict = world.run("data", script, world.data(content=CONTENT))
    (delivery,) = verdict.deliveries
    assert delivery.header.startswith(b"X-C: 3\r\nX-A: 1\r\nSubject") and b"X-B" not in delivery.header
    assert world.echoed() == ['[0=>true,1=>none,2=>"PK"]', "true"]


def test_a_text_as_a_message(world: World) -> None:
    script = r"""
    $mail = MailMessage::String("Subject: a\nX: 1\n\nb\rc\n");
    echo $mail->getBody() === "b\r\nc\r\n";
    echo $mail->snapshot();
    $mail->addHeader("Y", "2");
    echo $mail->toString() === "Y: 2\r\nSubject: a\r\nX: 1\r\n\r\nb\r\nc\r\n";
    echo [$mail->reset(), $mail->restore(0), $mail->restore(1), $mail->delHeader("X"), $mail->setHeader("Subject", "c")];
    echo $mail->toString() === "Subject: c\r\n\r\nb\r\nc\r\n";
    echo MailMessage::String("")->toString() === "";
    """
    world.run("rcptto", script)
    assert world.echoed() == ["true", "0", "true", "[0=>1,1=>true,2=>false,3=>1,4=>1]", "true", "true"]


EDITS = r"""
[$text, $zip] = $mail->getParts();
$text->setBody("grün
und mehr");
$text->setHeader("X-Part", "1");
$zip->replacePart(MIME()->setBody("gone"));
$zip->prependPart(MIME()->setType("text/x")->setBody("before"));
$mail->appendPart(MailMessage::String("Subject: in

footer"));
$mail->setPreamble("new")->setEpilogue("end");
$mail->addHeader("X-Top", "2");
$mail->renameHeader("subject", "X-Was");
echo [$text->getBody(), $mail->getPreamble(), $mail->getHeader("X-Top"), count($mail->getParts())];
"""
EDITED_WANTED = [
    ("multipart/mixed", b""),
    ("multipart/mixed", b""),
    ("text/plain", "grün\r\nund mehr".encode("latin-1")),
    ("text/x", b"before"),
    ("text/plain", b"gone"),
    ("text/plain", b"footer"),
]


@pytest.mark.parametrize(
    ("hook", "start", "end"),
    [
        ("eod", '$mail = $arguments["mail"];', '$mail->queue("a@b.c", "d@e.f", "default"); Accept();'),
        ("data", "$mail = GetMailMessage();", "Deliver();"),
        ("eod", '$mail = MailMessage::String($arguments["mail"]->toString());', "echo $mail->toString(); Reject();"),
    ],
)
def test_edits_of_parts(world: World, hook: str, start: str, end: str) -> None:
    verdict = world.run(hook, start + EDITS + end, world.data(content=CONTENT))
    first, *rest = world.echoed()
    assert first == '[0=>"a=b",1=>"pre",2=>none,3=>2]'
    if rest:
        content = rest[0].encode("latin-1")
    else:
        (delivery,) = verdict.deliveries
        content = delivery.header + delivery.body
    message = email.message_from_bytes(content)
    found = [(one.get_content_type(), one.get_payload(decode=True) or b"") for one in message.walk()]
    assert found == EDITED_WANTED
    assert list(message.keys())[:2] == ["X-Top", "X-Was"] and "subject" not in message
    inner = message.get_payload()[0]  # type: ignore[index]
    assert (inner.preamble, inner.epilogue) == ("new", "end")  # type: ignore[union-attr]
    assert b"\r\n--x\r\nX-Part: 1\r\nContent-Type: text/plain; charset=UTF-8\r\n" in content


def test_snapshots_take_bodies_along(world: World) -> None:
    script = r"""
    $mail = $arguments["mail"];
    $plain = $mail->snapshot();
    $mail->getByID("1")->setBody("one");
    $one = $mail->snapshot();
    $mail->getByID("1")->setBody("two");
    $mail->getByID("2")->remove();
    $mail->modifyContent(0, 7, "X-First");
    $queue = function () closure ($mail) { $mail->queue("", "a@b.c", "default"); };
    $queue();
    $mail->restore($one);
    $queue();
    echo $mail->reset();
    $queue();
    $mail->restore($one);
    $mail->setDateLater();
    $queue();
    $mail->restore($plain);
    $queue();
    Accept();
    """
    verdict = world.run("eod", script, world.data(content=CONTENT))
    two, one, none, dated, plain = verdict.deliveries
    assert two.header.startswith(b"X-First: ") and b"two" in two.body and b"PK" not in two.body
    assert one.header == CONTENT[: CONTENT.index(b"pre")] and b"one" in one.body and b"PK" in one.body
    assert (none.header, none.body, plain.header, plain.body) == (None,) * 4
    assert dated.body == one.body and dated.header.startswith(b"Date: ")
    assert world.echoed() == ["1"]


def test_the_whole_field(world: World) -> None:
    world.run(
        "rcptto", r"""echo MailMessage::String("A:  b\n c\n\n")->getHeader("a", ["field" => true]) === "A:  b\r\n c\r\n";"""
    )
    assert world.echoed() == ["true"]


def test_what_is_wrong_with_a_part(world: World) -> None:
    script = r"""
    echo MailMessage::String("A: b\nno field\n\n")->getErrors();
    echo MailMessage::String("Content-Type: multipart/mixed; boundary=x\n\n--x\n\n")->getErrors();
    echo MailMessage::String("Content-Type: multipart/mixed\n\n")->getErrors();
    """
    world.run("rcptto", script)
    assert world.echoed() == ['[0=>"bad_header"]', '[0=>"unclosed_boundary"]', '[0=>"bad_header"]']


@pytest.mark.parametrize(
    ("expression", "message"),
    [
        ('$mail->setBody("a", ["encoding" => "base46"])', "did you mean `base64`?"),
        ('$mail->appendPart(MIME(), ["type" => "text/html"])', "multipart/mixed"),
        (
            '$mail->getParts()[0]->appendPart(MIME()->addHeader("Content-Transfer-Encoding", "7bit")->setBody("--x"))',
            "occurs",
        ),
        ('$mail->modifyContent(-1, 1, "")', "from 0 to"),
        ('$mail->getHeader("A", ["indx" => 1])', "did you mean `index`?"),
        ('$mail->addHeader("A:", "b")', "cannot be the name"),
        ("$mail->getParts()[0]->snapshot()", "has no method `snapshot`"),
        ("$mail->getHeadr()", "did you mean `getHeader`?"),
    ],
)
def test_mistakes(world: World, expression: str, message: str) -> None:
    assert world.run("eod", f'$mail = $arguments["mail"]; {expression};', world.data(content=CONTENT)).failed
    assert message in world.failure()

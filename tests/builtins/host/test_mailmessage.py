"""Messages and their parts as scripts see them: at eod, in the classic hook, and of a text."""

from __future__ import annotations

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


@pytest.mark.parametrize(
    ("expression", "message"),
    [
        ('$mail->getParts()[0]->addHeader("A", "b")', "works on the message itself"),
        ('$mail->getHeader("A", ["indx" => 1])', "did you mean `index`?"),
        ('$mail->addHeader("A:", "b")', "cannot be the name"),
        ("$mail->getParts()[0]->snapshot()", "has no method `snapshot`"),
    ],
)
def test_mistakes(world: World, expression: str, message: str) -> None:
    assert world.run("eod", f'$mail = $arguments["mail"]; {expression};', world.data(content=CONTENT)).failed
    assert message in world.failure()

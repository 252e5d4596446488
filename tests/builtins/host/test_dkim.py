"""DKIM signatures, verified by another implementation: canonical forms, oversigning, and the message as it leaves."""

from __future__ import annotations

import base64
import itertools
from functools import lru_cache

import dkim
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ed25519, rsa

from hslpy.client.sockets import KeyPair, SocketSettings
from hslpy.mail.dkim import canonical_body, canonical_field, tag_list
from tests.hooks.world import CONTENT, World
from tests.support.certificates import CERTIFICATE, KEY

BODIES = [
    b"",
    b"\r\n",
    b"\r\n\r\n\r\n",
    b"one line without an end",
    b"a  b \t c \r\n\t\r\n \r\nend \r\n\r\n\r\n",
    b" \t",
    b"a\r\n \r\n",
    b"8-bit: \xe5\r\n.\r\n",
]
HEADER = (
    b"Received: by x\r\nFROM:  A  Person\r\n\t<a@example.com>  \r\nTo: b@example.org,\r\n c@example.org\r\n"
    b"To: second@example.org\r\nsubject:folded\r\n\t \r\n  twice\r\nMessage-ID: <1@example.com>\r\n\r\n"
)


@lru_cache
def keys() -> dict[str, tuple[str, bytes]]:
    """Give PEM and DNS record by algorithm."""
    one, two = rsa.generate_private_key(65537, 2048), ed25519.Ed25519PrivateKey.generate()
    form = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    der = one.public_key().public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    raw = two.public_key().public_bytes_raw()
    return {
        "rsa-sha256": (one.private_bytes(*form).decode(), b"v=DKIM1; k=rsa; p=" + base64.b64encode(der)),
        "ed25519-sha256": (two.private_bytes(*form).decode(), b"v=DKIM1; k=ed25519; p=" + base64.b64encode(raw)),
    }


def verified(message: bytes, algorithm: str = "rsa-sha256") -> bool:
    def record(name: bytes, timeout: int = 5) -> bytes:
        assert name == b"s1._domainkey.example.com."
        return keys()[algorithm][1]

    if not message.endswith(b"\r\n"):
        message += b"\r\n"  # as SMTP transmits it
    return bool(dkim.verify(message, dnsfunc=record))


def signed(
    world: World, content: bytes, options: str = "[]", script: str = '$mail->signDKIM("s1", "example.com", $key, $options);'
) -> bytes:
    """Give the message that is queued after `script` had it signed."""
    algorithm = "ed25519-sha256" if "ed25519" in options else "rsa-sha256"
    text = f"""
    $mail = $arguments["mail"]; $key = ''{keys()[algorithm][0]}''; $options = {options};
    {script}
    $mail->queue("a@example.com", "b@example.org", "t");
    Accept();
    """
    verdict = world.run("eod", text, world.data(content=content))
    assert not verdict.failed, world.failure()
    (delivery,) = verdict.deliveries
    return (delivery.header or b"") + (content.partition(b"\r\n\r\n")[2] if delivery.body is None else delivery.body)


@pytest.mark.parametrize("body", BODIES)
@pytest.mark.parametrize(("header_form", "body_form"), list(itertools.product(["relaxed", "simple"], repeat=2)))
def test_all_forms_of_hard_messages(world: World, body: bytes, header_form: str, body_form: str) -> None:
    options = f'["canonicalization_header" => "{header_form}", "canonicalization_body" => "{body_form}"]'
    message = signed(world, HEADER + body, options)
    assert message.startswith(b"DKIM-Signature: v=1; a=rsa-sha256; c=%b/%b;" % (header_form.encode(), body_form.encode()))
    assert message.isascii()  # so that no server on the way has to change it
    assert verified(message)
    assert all(len(line) < 100 for line in message.split(b"\r\n\r\n")[0].split(b"\r\n"))
    assert not verified(message.replace(b"twice", b"thrice")) and not verified(message + b"x\r\n")


def test_ed25519(world: World) -> None:
    message = signed(world, CONTENT, '["algorithm" => "ed25519-sha256"]')
    assert b"a=ed25519-sha256" in message and verified(message, "ed25519-sha256")


def test_keys_of_the_settings(world: World) -> None:
    (world.folder / "dkim.pem").write_text(keys()["rsa-sha256"][0])
    (world.folder / "cert.pem").write_text(CERTIFICATE)
    (world.folder / "key.pem").write_text(KEY)
    pair = KeyPair("both", world.folder / "key.pem", world.folder / "cert.pem")
    sockets = SocketSettings(key_pairs=(KeyPair("main", world.folder / "dkim.pem"), pair))
    for key, options in (("pki:main", "[]"), ("main", '["id" => true]'), ("pki:main", '["id" => true]')):
        script = f"""
        $mail = $arguments["mail"];
        $mail->signDKIM("s1", "example.com", "{key}", {options});
        echo rsa_sign("m", "{key}", ["id" => true]) == rsa_sign("m", ''{keys()["rsa-sha256"][0]}'', ["pem" => true]);
        echo rsa_verify("m", rsa_sign("m", "{key}", ["id" => true]), "{key}", ["id" => true]);
        echo is_string(pkcs7_sign("m", "pki:both", ["id" => true])) and pkcs7_sign("m", "{key}", ["id" => true]) === none;
        $mail->queue("a@example.com", "b@example.org", "t"); Accept();
        """
        end = world.run("eod", script, sockets=sockets)
        assert not end.failed, world.failure()
        (delivery,) = end.deliveries
        assert verified(delivery.header + b"Body\r\n")
    assert world.echoed() == ["true"] * 9


def test_a_second_from_breaks_it(world: World) -> None:
    message = signed(world, CONTENT)
    assert verified(message) and not verified(b"From: evil@example.net\r\n" + message)
    plain = signed(World(world.folder), CONTENT, '["oversign_headers" => ["Subject", "X-None"]]')
    assert verified(plain) and not verified(b"X-None: there\r\n" + plain) and not verified(b"Subject: 2\r\n" + plain)


def test_which_fields_are_signed(world: World) -> None:
    message = signed(world, HEADER, '["headers" => ["To"], "additional_headers" => ["Received"]]')
    assert b"h=From:From:To:To:Received;" in message and verified(message)
    assert verified(message.replace(b"twice", b"thrice"))


def tags_of(message: bytes) -> dict[str, str]:
    found = tag_list(message.partition(b":")[2].split(b"\r\n\r\n")[0].split(b"\r\nReceived")[0].decode("latin-1"))
    assert found is not None
    return found


def test_times_identity_and_body_length(world: World) -> None:
    plain = tags_of(signed(world, CONTENT))
    assert {"t", "x", "i", "l"}.isdisjoint(plain)
    options = '["body_length" => 0, "timestamp" => true, "expiration_relative" => 3600, "identity" => "a@m.example.com"]'
    tags = tags_of(signed(World(world.folder), CONTENT, options))
    assert (tags["t"], tags["x"], tags["l"], tags["i"]) == ("1700000000", "1700003600", "0", "a@m.example.com")
    tags = tags_of(signed(World(world.folder), CONTENT, '["timestamp" => 1600000000, "expiration_relative" => 60]'))
    assert (tags["t"], tags["x"]) == ("1600000000", "1600000060")
    tags = tags_of(signed(World(world.folder), CONTENT, '["expiration" => 9999999999, "expiration_relative" => 60]'))
    assert "t" not in tags and tags["x"] == "9999999999"
    assert verified(signed(World(world.folder), CONTENT, '["timestamp" => 1600000000, "identity" => "@m.example.com"]'))


def test_sha1_as_older_scripts_ask_for_it(world: World) -> None:
    message = signed(world, CONTENT, '["algorithm" => "sha1"]')
    assert b"a=rsa-sha1;" in message and verified(message)


def test_classic_delivery_with_a_signature(world: World) -> None:
    pem = keys()["rsa-sha256"][0]
    script = f"""
    AddHeader("Subject", "x");
    DeliverWithDKIM("s1", "example.com", ''{pem}'', ["discard_changes" => true]);
    """
    (delivery,) = world.run("data", script + ' echo "never";').deliveries
    assert b"c=simple/simple" in delivery.header and verified(delivery.header + b"Body\r\n")
    assert delivery.header.count(b"Subject:") == 1 and world.echoed() == []
    (delivery,) = world.run("data", 'DeliverWithDKIM("s1", "example.com", "no key");').deliveries
    assert b"DKIM" not in (delivery.header or b"")


def test_edits_before_and_after_are_signed(world: World) -> None:
    script = """
    $mail->setHeader("Subject", "before");
    $mail->signDKIM("s1", "example.com", $key);
    $mail->setHeader("Subject", "after");
    echo $mail->toString() === $mail->toString();
    """
    message = signed(world, CONTENT, script=script)
    assert b"\r\nSubject: after\r\n" in message and verified(message) and world.echoed() == ["true"]


def test_snapshots_and_reset_hold_signatures(world: World) -> None:
    script = """
    $id = $mail->snapshot();
    $mail->signDKIM("s1", "example.com", $key);
    $two = $mail->snapshot();
    echo $mail->restore($id);
    echo is_string($mail->toString()) and $mail->toString() === MailMessage::String($mail->toString())->toString();
    echo pcre_match("(DKIM)", $mail->toString());
    $mail->restore($two); $mail->reset();
    """
    assert b"DKIM" not in signed(world, CONTENT, script=script)
    assert world.echoed()[2] == "[]"


def test_the_field_alone(world: World) -> None:
    script = """
    $field = $mail->signDKIM("s1", "example.com", $key, ["return_header" => true]);
    $mail->addHeader("DKIM-Signature", $field, ["encode" => false]);
    """
    message = signed(world, CONTENT, script=script)
    assert message.count(b"DKIM-Signature") == 1 and verified(message)


def test_classic_signs_once_for_all_recipients(world: World) -> None:
    pem = keys()["rsa-sha256"][0]
    script = f'echo DKIMSign("s1", "example.com", \'\'{pem}\'\'); AddHeader("Subject", "x"); Deliver();'
    verdict = world.run("data", script, world.data("a@x.example", "b@x.example"))
    for delivery in verdict.deliveries:
        assert delivery.header.count(b"DKIM-Signature") == 1 and verified(delivery.header + b"Body\r\n")
    assert world.echoed() == ["true", "true"]


def test_what_is_built(world: World) -> None:
    script = f"""
    $key = rsa_privatekey(''{keys()["rsa-sha256"][0]}'');
    $mail = MIME()->addHeader("From", "a@example.com")->signDKIM("s1", "example.com", $key)
        ->setType("multipart/mixed")->appendPart(MIME()->setBody("x"))->addHeader("Subject", "later");
    echo base64_encode($mail->toString());
    """
    world.run("rcptto", script)
    message = base64.b64decode(world.echoed()[0])
    assert message.startswith(b"DKIM-Signature:") and verified(message)


@pytest.mark.parametrize(
    ("expression", "message"),
    [
        ('$mail->signDKIM("s;x", "example.com", "")', "wants `selector`"),
        ('$mail->signDKIM("s", "example.com\\r\\nX: y", "")', "wants `domain`"),
        ('$mail->signDKIM("s", "e.com", "pki:1")', 'there is no key "pki:1"'),
        ('$mail->signDKIM("s", "e.com", "", ["algorithm" => "rsa-md5"])', "wants `algorithm`"),
        ('$mail->signDKIM("s", "e.com", "1", ["id" => true])', 'there is no key "1"'),
        ('rsa_sign("m", "1", ["id" => true])', 'there is no key "1"'),
        ('rsa_sign("m", "gone", ["id" => true])', "cannot be read: No such file"),
        ('$mail->signDKIM("s", "e.com", "", ["identity" => "x; b=@"])', "wants `identity`"),
        ('$mail->signDKIM("s", "e.com", "", ["canonicalization_body" => "none"])', "wants `canonicalization_body`"),
        ('$mail->signDKIM("s", "e.com", "", ["headers" => ["a;b"]])', "cannot sign a field"),
        ('$mail->signDKIM("s", "e.com", "", ["headers" => ["a:b"]])', "cannot be the name"),
        ('$mail->signDKIM("s", "e.com", "", ["expiration_relative" => -1])', "wants `expiration_relative`"),
        ('$mail->signDKIM("s", "e.com", "", ["arc" => 51])', "wants `arc`"),
        ('MIME()->signDKIM("s", "e.com", "", ["arc" => true])', "not supported here"),
        ('$mail->signDKIM("s", "e.com", "", ["header" => []])', "did you mean `headers`?"),
    ],
)
def test_mistakes(world: World, expression: str, message: str) -> None:
    sockets = SocketSettings(key_pairs=(KeyPair("gone", world.folder / "gone.pem"),))
    assert world.run("eod", f'$mail = $arguments["mail"]; {expression};', sockets=sockets).failed
    assert message in world.failure()


def test_a_wrong_key_gives_none(world: World) -> None:
    other = keys()["ed25519-sha256"][0]
    world.run(
        "eod",
        f"""
        $mail = $arguments["mail"];
        echo [$mail->signDKIM("s", "e.com", "no key"), $mail->signDKIM("s", "e.com", ''{other}'')];
        echo MIME()->signDKIM("s", "e.com", "");
        """,
    )
    world.run("data", 'echo DKIMSign("s", "e.com", "no key");')
    assert world.echoed() == ["[0=>none,1=>none]", "none", "false"]
    texts = [str(fields["text"]) for fields in world.logged("hooks.script_warning")]
    assert len(texts) == 4 and texts[0] == "signDKIM() signed nothing for e.com: the key is no private key for rsa-sha256"


def test_canonical_bodies() -> None:
    assert [canonical_body(body, relaxed=True) for body in (b"", b"\r\n\r\n", b" \t", b"a \t b \r\n\r\n", b"a\r\r\n")] == [
        *(b"", b"", b""),
        *(b"a b\r\n", b"a\r\r\n"),
    ]
    assert [canonical_body(body, relaxed=False) for body in (b"", b"\r\n\r\n", b"a \r\n\r\n", b"a")] == [
        *(b"\r\n", b"\r\n"),
        *(b"a \r\n", b"a\r\n"),
    ]


def test_canonical_fields() -> None:
    assert canonical_field("SubJect \t: A\r\n\t  b \r\n", relaxed=True) == "subject:A b\r\n"
    assert canonical_field("X:\r\n", relaxed=True) == "x:\r\n"
    assert canonical_field("SubJect : A\r\n", relaxed=False) == "SubJect : A\r\n"

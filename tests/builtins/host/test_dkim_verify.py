"""DKIM verification: another implementation's signatures and our own, what makes one bad, keys, the classic functions."""

from __future__ import annotations

import base64
from typing import Any

import dkim
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from hslpy.builtins.host.dkim import Signer
from hslpy.dns.scripted import ScriptedResolver
from hslpy.mail.dkim import Signing
from hslpy.mail.dkim_check import BadSignature, check, read_claim
from hslpy.mail.message import Message, split_content
from tests.builtins.host.test_dkim import BODIES, HEADER, keys
from tests.hooks.world import NOW, World

NAME = "s1._domainkey.example.com"
MESSAGE = b"From: a@example.com\r\nTo: b@example.org\r\nSubject: Hi\r\n  there\r\n\r\nHello  world\r\n"
FIELD = '$mail->getHeader("DKIM-Signature", ["field" => true])'


def record(algorithm: str = "rsa-sha256") -> str:
    return keys()[algorithm][1].decode()


def zone(text: str | None = None) -> ScriptedResolver:
    return ScriptedResolver({NAME: {"TXT": [text or record()]}})


def made(content: bytes = MESSAGE, algorithm: str = "rsa-sha256", **options: Any) -> bytes:
    """Give the content signed by ourselves, with any tags."""
    key = serialization.load_pem_private_key(keys()[algorithm][0].encode(), None)
    signing = Signing("s1", "example.com", algorithm, **options)
    header, body = split_content(content)

    return Signer(signing, key, NOW)(header, body) + content


def verdict(message: bytes, text: str | None = None, now: float = NOW, algorithm: str = "rsa-sha256") -> str:
    """Give "pass", or what is wrong."""
    held = Message(message)
    try:
        claim = read_claim(held.fields[0].raw.rstrip("\r\n"))
        check(claim, [text if text is not None else record(algorithm)], held, now)
    except BadSignature as error:
        return f"{error.kind}: {error.reason}"
    return "pass"


@pytest.mark.parametrize("algorithm", ["rsa-sha256", "ed25519-sha256"])
@pytest.mark.parametrize("form", [(b"relaxed", b"relaxed"), (b"simple", b"simple"), (b"relaxed", b"simple")])
@pytest.mark.parametrize("length", [True, False])
def test_signatures_of_another_implementation(form: tuple[bytes, bytes], algorithm: str, length: bool) -> None:
    pem, _ = keys()[algorithm]
    if algorithm.startswith("ed"):
        key = serialization.load_pem_private_key(pem.encode(), None)
        secret = base64.b64encode(key.private_bytes_raw())  # type: ignore[union-attr]
    else:
        secret = pem.encode()
    for body in BODIES:
        content = HEADER + body + (b"" if body.endswith(b"\r\n") else b"\r\n")
        field = dkim.sign(
            content,
            b"s1",
            b"example.com",
            secret,
            canonicalize=form,
            signature_algorithm=algorithm.encode(),
            include_headers=[b"from", b"to", b"to", b"subject", b"message-id", b"x-none"],
            length=length,
        )
        assert verdict(field + content, now=4e9, algorithm=algorithm) == "pass"
        assert verdict(field + content.replace(b"twice", b"thrice"), now=4e9, algorithm=algorithm).startswith(
            "fail: the head"
        )
        assert verdict(field + b"X-None: 1\r\n" + content, now=4e9, algorithm=algorithm).startswith("fail: the header")
        assert (verdict(field + content + b"more\r\n", now=4e9, algorithm=algorithm) == "pass") is length


def test_the_method(world: World) -> None:
    script = f"""
    $mail = $arguments["mail"]; $r = $mail->verifyDKIM({FIELD});
    echo $r["result"]; echo isset($r["error"]); echo $r["tags"]["d"] . $r["tags"]["s"]; echo array_keys($r["tags"]);
    $r = $mail->verifyDKIM("DKIM-Signature: v=1; d=x");
    echo $r["result"]; echo $r["error"]; echo $r["tags"]["d"];
    $r = $mail->verifyDKIM("nonsense"); echo [$r["result"], isset($r["tags"])];
    $mail->addHeader("Subject", "later"); echo $mail->verifyDKIM({FIELD})["result"];
    """
    assert not world.run("eod", script, world.data(content=made()), resolver=zone()).failed
    assert world.echoed() == [
        *("pass", "false", "example.coms1", '[0=>"a",1=>"b",2=>"bh",3=>"c",4=>"d",5=>"h",6=>"s",7=>"v"]'),
        *("permerror", "tag a= is missing", "x", '[0=>"permerror",1=>false]', "pass"),
    ]


@pytest.mark.parametrize(
    ("answer", "result"),
    [
        ('["result" => $record]', "pass"),
        ('["result" => ["v=spf1", $record]]', "pass"),
        ('["error" => "permerror"]', "permerror"),
        ('["error" => "permfail"]', "permerror"),
        ('["error" => "temperror"]', "temperror"),
        ('["error" => "SERVFAIL"]', "temperror"),
        ("[]", "permerror"),
        ('["result" => "v=DKIM1; p="]', "permerror"),
    ],
)
def test_keys_from_a_function(world: World, answer: str, result: str) -> None:
    script = f"""
    $mail = $arguments["mail"]; $record = "{record()}";
    $r = $mail->verifyDKIM({FIELD}, ["dns_function" => function ($name) {{ global $record; echo $name; return {answer}; }}]);
    echo $r["result"]; echo $r["tags"]["s"];
    """
    assert not world.run("eod", script, world.data(content=made())).failed
    assert world.echoed() == [NAME, result, "s1"]


@pytest.mark.parametrize(
    ("records", "result"),
    [
        ({"TXT": "SERVFAIL"}, "temperror"),
        ({"TXT": "TRY_AGAIN"}, "temperror"),
        ({"A": ["192.0.2.1"]}, "permerror"),
        ({}, "permerror"),
    ],
)
def test_keys_from_dns(world: World, records: Any, result: str) -> None:
    resolver = ScriptedResolver({NAME: records} if records else {})
    script = f'$mail = $arguments["mail"]; echo $mail->verifyDKIM({FIELD}, ["timeout" => 1])["result"];'
    world.run("eod", script, world.data(content=made()), resolver=resolver)
    assert world.echoed() == [result]


def test_bad_keys() -> None:
    message = made()
    plain = record().partition("p=")[2]
    small = rsa.RSAPublicNumbers(65537, (1 << 1015) + 1).public_key()
    der = small.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    bare = serialization.load_der_public_key(base64.b64decode(plain)).public_bytes(
        serialization.Encoding.DER,
        serialization.PublicFormat.PKCS1,  # type: ignore[call-arg, arg-type]
    )
    wanted = {
        f"p={plain}": "pass",
        f"v=DKIM1; h=sha1:sha256; s=*; t=y; n=a note; p={plain[:50]} \t{plain[50:]}": "pass",
        f"k=rsa; p={base64.b64encode(bare).decode()}": "pass",
        f"v=DKIM2; p={plain}": "permerror: the key's record is malformed",
        f"p={plain}; v=DKIM1": "permerror: the key's record is malformed",
        "v=DKIM1": "permerror: the key's record is malformed",
        "v=spf1 -all": "permerror: the key's record is malformed",
        "v=DKIM1; p=": "permerror: the key is revoked",
        f"s=web; p={plain}": "permerror: the key is not for mail",
        f"h=sha1; p={plain}": "permerror: the key is not for sha256",
        "p=AAAA": "permerror: the key's record has no key",
        "p=%%": "permerror: tag p= is no base64",
        f"k=dsa; p={plain}": "permerror: the key is of another type",
        record("ed25519-sha256"): "permerror: the key is of another type",
        f"p={base64.b64encode(der).decode()}": "permerror: the key has 1016 bits",
    }
    assert {text: verdict(message, text) for text in wanted} == wanted
    another = rsa.generate_private_key(65537, 1024).public_key()
    der = another.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    assert verdict(message, f"p={base64.b64encode(der).decode()}").startswith("fail: the header was changed")


def test_a_key_that_is_not_for_subdomains() -> None:
    strict = record().replace("v=DKIM1;", "v=DKIM1; t=y:s;")
    assert verdict(made(), strict) == "pass"
    assert verdict(made(identity="@example.com"), strict) == "pass"
    assert verdict(made(identity="x@m.example.com")) == "pass"
    assert verdict(made(identity="x@m.example.com"), strict) == "permerror: the key is not for subdomains"
    assert verdict(made(identity="@example.org")) == "permerror: tag i= is not within tag d="


def test_times() -> None:
    message = made(signed_at=True, lifetime_s=60)
    assert [verdict(message, now=NOW + seconds) for seconds in (0, 60, 61)] == ["pass", "pass", "permerror: it has expired"]
    assert verdict(message, now=NOW - 3600) == "pass"
    assert verdict(message, now=NOW - 100_000) == "permerror: it was made in the future"
    assert verdict(made(signed_at=True, expires_at=5)) == "permerror: it expires before it was made"


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        (b"v=1", b"v=2", "unknown version"),
        (b"a=rsa-sha256", b"a=rsa-sha1", "rsa-sha1 is no longer valid (RFC 8301)"),
        (b"a=rsa-sha256", b"a=dsa-sha256", "unknown algorithm"),
        (b"c=relaxed/relaxed", b"c=loose", "unknown canonicalization"),
        (b"d=example.com", b"d=exa mple.com", "tag d= or s= is no name in DNS"),
        (b"s=s1", b"s=s1; q=http", "unknown query method"),
        (b"s=s1", b"s=s1; l=-1", "tag l= is no number"),
        (b"s=s1", b"s=s1; s=s1", "malformed tags"),
        (b"h=From:From", b"h=To", "the field From is not signed"),
        (b"bh=", b"bh=\xe5", "tag bh= is no base64"),
        (b"DKIM-Signature:", b"X-Signature:", "no field DKIM-Signature or ARC-Message-Signature"),
    ],
)
def test_bad_fields(old: bytes, new: bytes, problem: str) -> None:
    assert verdict(made().replace(old, new, 1)) == f"permerror: {problem}"


def test_a_signature_does_not_sign_itself() -> None:
    first = made()
    second = made(first, additional=("DKIM-Signature",), oversigned=("DKIM-Signature",))
    assert verdict(second) == "pass"
    own, _, rest = second.partition(b"\r\nDKIM-Signature:")
    assert verdict(own + b"\r\nDKIM-Signature:" + rest.replace(b"s=s1", b"s=s2")).startswith("fail: the header")
    assert verdict(own + b"\r\nDKIM-Signature: x\r\nDKIM-Signature:" + rest).startswith("fail: the header")


def test_body_length() -> None:
    message = made(body_length=5)
    assert verdict(message) == "pass" and verdict(message + b"more\r\n") == "pass"
    assert verdict(message.replace(b"Hello", b"Hullo")) == "fail: the body was changed"
    assert verdict(message.replace(b"Hello  world", b"H")) == "fail: the body is shorter than what was signed"


def test_large_messages_leave_the_loop(world: World) -> None:
    content = made(MESSAGE + b"x" * 70 + b"\r\n" + b"y\r\n" * 400_000)
    script = f"""$mail = $arguments["mail"];
    echo $mail->verifyDKIM({FIELD})["result"]; echo DKIMVerify({FIELD})["result"]; echo DKIMSDID();"""
    world.run("eod", script, world.data(content=content), resolver=zone())
    assert world.echoed() == ["pass", "pass", '["example.com"=>"pass"]']


def test_domains_that_signed(world: World) -> None:
    content = made(made().replace(b"Subject", b"X-Subject", 1).replace(b"d=example.com", b"d=Example.ORG"))
    script = """
    echo DKIMSDID(); echo DKIMSDID(["EXAMPLE.com"]); echo DKIMSDID([], ["signature_limit" => 1]);
    echo DKIMSDID(["example.net"]);
    echo DKIMSDID([], ["dns_function" => function ($name) { return ["error" => "temperror"]; }]);
    """
    world.run("data", script, world.data(content=content), resolver=zone())
    assert world.echoed() == [
        '["example.com"=>"pass","example.org"=>"permerror"]',
        '["example.com"=>"pass","example.org"=>"skip"]',
        '["example.com"=>"pass","example.org"=>"skip"]',
        '["example.com"=>"skip","example.org"=>"skip"]',
        '["example.com"=>"temperror","example.org"=>"temperror"]',
    ]


def test_the_best_of_a_domains_signatures(world: World) -> None:
    good = made()
    bad = good.replace(b"bh=", b"bh=AAAA", 1)
    changed = bad.partition(b"From: ")[0] + good
    world.run("data", "echo DKIMSDID();", world.data(content=changed), resolver=zone())
    world.run("data", "echo DKIMSDID();", world.data(content=bad), resolver=zone())
    world.run("data", "echo DKIMSDID();", resolver=zone())
    assert world.echoed() == ['["example.com"=>"pass"]', '["example.com"=>"fail"]', "[]"]


@pytest.mark.parametrize(
    ("records", "result"),
    [
        ({"example.com": {"MX": [(1, "m")]}}, "none"),
        ({}, "nxdomain"),
        ({"example.com": {"MX": "SERVFAIL"}}, "temperror"),
        ({"example.com": {"A": ["192.0.2.1"]}, "_adsp._domainkey.example.com": {"TXT": "TRY_AGAIN"}}, "temperror"),
        *(
            ({"example.com": {"A": ["192.0.2.1"]}, "_adsp._domainkey.example.com": {"TXT": texts}}, result)
            for texts, result in [
                (["dkim=unknown"], "unknown"),
                (["dkim=all"], "fail"),
                (["dkim=Discardable; x=y"], "discard"),
                (["dkim=else"], "unknown"),
                (["v=spf1"], "none"),
                (["dkim=all", "dkim=all"], "permerror"),
            ]
        ),
    ],
)
def test_author_domain_policies(world: World, records: Any, result: str) -> None:
    world.run("data", "echo DKIMADSP();", world.data(content=MESSAGE), resolver=ScriptedResolver(records))
    world.run("data", "echo DKIMADSP();", world.data(content=made()), resolver=zone())
    world.run("data", "echo DKIMADSP();", world.data(content=b"Subject: none\r\n\r\n"), resolver=zone())
    assert world.echoed() == [f'["example.com"=>"{result}"]', '["example.com"=>"pass"]', "[]"]


@pytest.mark.parametrize(
    ("expression", "message"),
    [
        ('$mail->verifyDKIM("x", ["timeout" => 0])', "wants `timeout`"),
        ('$mail->verifyDKIM("x", ["dns_functions" => 0])', "did you mean `dns_function`?"),
        ('DKIMSDID([], ["signature_limit" => 51])', "wants `signature_limit`"),
        ("DKIMSDID([1])", "wants strings"),
        (f'$mail->verifyDKIM({FIELD}, ["dns_function" => function ($n) {{ return "x"; }}])', "must give an array"),
    ],
)
def test_mistakes(world: World, expression: str, message: str) -> None:
    assert world.run("eod", f'$mail = $arguments["mail"]; {expression};', world.data(content=made())).failed
    assert message in world.failure()

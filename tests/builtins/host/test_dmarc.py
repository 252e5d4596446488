"""ScanDMARC: alignment, organizational domains, policies and their records, samples, what cannot be decided."""

from __future__ import annotations

from typing import Any

import pytest

from hslpy.dns.scripted import ScriptedResolver
from hslpy.mail.dmarc import Policy, read_policy, sampled
from tests.builtins.host.test_dkim_verify import made, record
from tests.hooks.world import World

# The client of the world's events is 192.0.2.7.
PASSING = {"TXT": ["v=spf1 ip4:192.0.2.7 -all"]}
REJECT = {"TXT": ["v=DMARC1; p=reject; sp=quarantine"]}


def scan(
    world: World, zone: dict[str, Any], author: str = "a@example.com", sender: str = "x@other.example", **more: Any
) -> str:
    """Give the verdict on an author's unsigned message, or what else ScanDMARC gives."""
    content = more.get("content", f"From: {author}\r\n\r\nHello\r\n".encode())
    options = more.get("options", "")
    hook = more.get("hook", "data")
    world.run(
        hook, f"echo ScanDMARC({options});", world.data(content=content, sender=sender), resolver=ScriptedResolver(zone)
    )
    assert world.echoed(), world.failure()
    return world.echoed()[-1]


def test_no_policy(world: World) -> None:
    assert scan(world, {}) == '["example.com"=>"policy_absent"]'
    assert (
        scan(world, {"_dmarc.example.com": {"TXT": ["v=spf1 -all", "v=DMARC2; p=none"]}})
        == '["example.com"=>"policy_absent"]'
    )
    two = {"_dmarc.example.com": {"TXT": ["v=DMARC1; p=none", "v=DMARC1; p=reject"]}}
    assert scan(world, two) == '["example.com"=>"policy_absent"]'


@pytest.mark.parametrize(
    "content",
    [
        b"Subject: no author\r\n\r\n",
        b"From: a@example.com\r\nFrom: b@example.com\r\n\r\n",
        b"From: a@example.com, b@example.com\r\n\r\n",
        b"From: nobody\r\n\r\n",
        b"From: <a@exa\r\n\r\n",
        b"From: a@" + b"x" * 64 + b".example\r\n\r\n",
    ],
)
def test_not_one_author(world: World, content: bytes) -> None:
    assert scan(world, {}, content=content) == "permerror"


@pytest.mark.parametrize("hook", ["data", "eod"])
def test_aligned_spf(world: World, hook: str) -> None:
    zone = {"_dmarc.example.com": REJECT, "m.example.com": PASSING, "other.example": PASSING}
    assert scan(world, zone, sender="x@M.example.com", hook=hook) == '["example.com"=>"pass"]'
    assert scan(world, zone, hook=hook) == '["example.com"=>"reject"]'
    assert scan(world, zone, options='["domain" => "m.example.com"]', hook=hook) == '["example.com"=>"pass"]'
    options = '["domain" => "m.example.com", "ip" => "192.0.2.8"]'
    assert scan(world, zone, options=options, hook=hook) == '["example.com"=>"reject"]'
    assert scan(world, zone, options='["domain" => "", "helo" => "m.example.com"]') == '["example.com"=>"pass"]'


def test_strict_alignment(world: World) -> None:
    zone = {"_dmarc.example.com": {"TXT": ["v=DMARC1; p=reject; aspf=s; adkim=S"]}, "m.example.com": PASSING}
    zone |= {"example.com": PASSING, "s1._domainkey.example.com": {"TXT": [record()]}}
    assert scan(world, zone, sender="x@m.example.com") == '["example.com"=>"reject"]'
    assert scan(world, zone, sender="x@example.com") == '["example.com"=>"pass"]'
    assert scan(world, zone, content=made()) == '["example.com"=>"pass"]'
    below = made(b"From: a@sub.example.com\r\n\r\nx\r\n")
    assert scan(world, zone, content=below) == '["sub.example.com"=>"reject"]'
    zone["_dmarc.example.com"] = REJECT
    assert scan(world, zone, content=below) == '["sub.example.com"=>"pass"]'


def test_signatures_of_others_do_not_count(world: World) -> None:
    zone = {"_dmarc.example.org": REJECT, "s1._domainkey.example.com": {"TXT": [record()]}}
    assert scan(world, zone, content=made(b"From: a@example.org\r\n\r\nx\r\n")) == '["example.org"=>"reject"]'


def test_policies_of_the_organizational_domain(world: World) -> None:
    zone = {"_dmarc.example.co.uk": REJECT, "_dmarc.own.example.co.uk": {"TXT": ["v=DMARC1; p=none"]}, "_dmarc.uk": REJECT}
    assert scan(world, zone, "a@a.b.example.co.uk") == '["a.b.example.co.uk"=>"quarantine"]'
    assert scan(world, zone, "a@Example.CO.uk") == '["example.co.uk"=>"reject"]'
    assert scan(world, zone, "a@own.example.co.uk") == '["own.example.co.uk"=>"none"]'
    assert scan(world, zone, "a@other.co.uk") == '["other.co.uk"=>"policy_absent"]'


def test_names_beyond_ascii(world: World) -> None:
    zone = {"_dmarc.xn--bcher-kva.example": REJECT}
    content = "From: a@B\u00fccher.example\r\n\r\n".encode()
    assert scan(world, zone, content=content) == '["xn--bcher-kva.example"=>"reject"]'


def test_passing_errors(world: World) -> None:
    name = '["example.com"=>"temperror"]'
    assert scan(world, {"_dmarc.example.com": {"TXT": "SERVFAIL"}}) == name
    assert scan(world, {"_dmarc.example.com": REJECT, "example.com": {"TXT": "TRY_AGAIN"}}, sender="x@example.com") == name
    zone = {"_dmarc.example.com": REJECT, "s1._domainkey.example.com": {"TXT": "SERVFAIL"}}
    assert scan(world, zone, content=made()) == name
    assert scan(world, zone | {"example.com": PASSING}, content=made(), sender="x@example.com") == '["example.com"=>"pass"]'


def test_a_sample_of_the_mail(world: World) -> None:
    zone = {"_dmarc.example.com": {"TXT": ["v=DMARC1; p=reject; pct=0"]}}
    assert scan(world, zone) == '["example.com"=>"quarantine"]'
    assert [sampled("reject", Policy("reject", "reject", percent=30.0), dice) for dice in (0.0, 29.9, 30.0, 99.9)] == [
        *("reject", "reject", "quarantine", "quarantine")
    ]
    assert [sampled(action, Policy("none", "none", percent=0.0), 0.0) for action in ("quarantine", "none")] == [
        "none",
        "none",
    ]


def test_records() -> None:
    wanted = {
        "v=DMARC1; p=reject": Policy("reject", "reject"),
        "v = DMARC1 ; P=Quarantine; sp=none; pct=7;": Policy("quarantine", "none", percent=7.0),
        "v=DMARC1; p=none; pct=x; aspf=s; adkim=r": Policy("none", "none", strict_spf=True),
        "v=DMARC1; p=none; pct=1000; adkim=s": Policy("none", "none", strict_dkim=True),
        "v=DMARC1; p=maybe": None,
        "v=DMARC1": None,
        "v=DMARC1; rua=mailto:a@example.com": Policy("none", "none"),
        "v=DMARC1; p=reject; sp=maybe; rua=mailto:a@example.com": Policy("reject", "none"),
        "p=reject; v=DMARC1": None,
        "v=dmarc1; p=reject": None,
        "nonsense": None,
    }
    assert {text: read_policy([text]) for text in wanted} == wanted


def test_mistakes(world: World) -> None:
    assert world.run("data", 'ScanDMARC(["host" => "x"]);').failed
    assert "unknown option `host` of ScanDMARC()" in world.failure()

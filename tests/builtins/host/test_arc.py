"""ARC in HSL: ARC-Message-Signatures made by signDKIM() and checked by verifyDKIM(), with another implementation across."""

from __future__ import annotations

import re
import time

import dkim
import pytest

from hslpy.clock import ManualClock
from hslpy.dns.scripted import ScriptedResolver
from tests.builtins.host.test_dkim import keys
from tests.hooks.world import World

PEM, RECORD = keys()["rsa-sha256"]
CONTENT = (
    b"From: a@example.com\r\nTo: b@example.org\r\n"
    b"Subject: Hi\r\n  there\r\nDate: Mon, 1 Jan 2024 00:00:00 +0000\r\nMessage-ID: <1@example.com>\r\n\r\nHello  world\r\n"
)
# One ARC set over those there are, sealed as RFC 8617 section 5.1.1 has it.
SEAL = """
function canonical($name, $value) {
    $value = pcre_replace(''/[ \\t]+/'', " ", pcre_replace(''/\\r\\n/'', "", $value));
    return str_lower($name) . ":" . str_strip($value);
}
function field_value($mail, $name, $number) {
    foreach ($mail->getHeaders($name, ["field" => true]) as $field)
        if ($field =~ ("/[: ]i=" . $number . ";/")) return str_split($field, ":", 2)[1];
}
$names = ["ARC-Authentication-Results", "ARC-Message-Signature", "ARC-Seal"];
$count = count($mail->getHeaders("ARC-Seal"));
$data = "";
for ($i = 1; $i <= $count; ++$i)
    foreach ($names as $name) $data .= canonical($name, field_value($mail, $name, $i)) . "\\r\\n";
$i = $count + 1;
$set = [
    "i=$i; mx.example.net; arc=pass",
    $mail->signDKIM("s1", "example.com", $key, ["arc" => true, "return_header" => true]),
    "i=$i; a=rsa-sha256; t=" . $now . "; cv=" . ($count > 0 ? "pass" : "none") . "; d=example.com; s=s1; b="
];
foreach ($set as $n => $value) $data .= canonical($names[$n], $value) . ($n < 2 ? "\\r\\n" : "");
$set[2] .= base64_encode(rsa_sign($data, $key));
foreach ($set as $n => $value) $mail->addHeader($names[$n], $value, ["encode" => false]);
"""


def ask(name: bytes, timeout: int = 5) -> bytes:
    return RECORD


def run(world: World, script: str, content: bytes, imports: str = "") -> bytes:
    """Give what is queued."""
    now = time.time()  # the other implementation has no other clock
    world.clock = ManualClock(now)
    text = f"{imports} $mail = $arguments[\"mail\"]; $key = rsa_privatekey(''{PEM}''); $now = {now:.0f}; {script}"
    text += '$mail->queue("a@example.com", "b@example.org", "t"); Accept();'
    resolver = ScriptedResolver({"s1._domainkey.example.com": {"TXT": [RECORD.decode()]}})
    verdict = world.run("eod", text, world.data(content=content), resolver=resolver)
    assert not verdict.failed, world.failure()
    (delivery,) = verdict.deliveries
    return (delivery.header or content.partition(b"\r\n\r\n")[0] + b"\r\n\r\n") + content.partition(b"\r\n\r\n")[2]


def sealed(content: bytes) -> bytes:
    """Give the content with one ARC set more, by the other implementation; it wants results of its own host to seal."""
    result = b"pass" if b"ARC-Seal" in content else b"none"
    content = re.sub(rb"\nAuthentication-Results: [^\n]*", b"", content)
    content = b"Authentication-Results: mx.example.net; arc=" + result + b"\r\n" + content
    return b"".join(dkim.arc_sign(content, b"s1", b"example.com", PEM.encode(), b"mx.example.net")) + content


@pytest.mark.parametrize("others", [0, 1, 2])
def test_chains_verified_by_another_implementation(world: World, others: int) -> None:
    content = CONTENT
    for _ in range(others):
        content = sealed(content)
    message = run(world, SEAL, content)
    assert b"ARC-Message-Signature: i=%d; a=rsa-sha256; c=relaxed/relaxed" % (others + 1) in message
    assert dkim.arc_verify(message, dnsfunc=ask)[0] == b"pass"
    assert dkim.arc_verify(message.replace(b"Hello", b"Hullo"), dnsfunc=ask)[0] == b"fail"
    again = run(World(world.folder), SEAL, message)
    assert dkim.arc_verify(again, dnsfunc=ask)[0] == b"pass"


def test_message_signatures_of_another_implementation(world: World) -> None:
    script = """
    foreach ($mail->getHeaders("ARC-Message-Signature", ["field" => true]) as $field) {
        $r = $mail->verifyDKIM($field); echo $r["result"] . $r["tags"]["i"];
    }
    """
    content = sealed(sealed(CONTENT))
    run(world, script, content)
    run(world, script, content.replace(b"Hello", b"Hullo"))
    assert world.echoed() == ["pass2", "pass1", "permerror2", "permerror1"]


def test_signatures_put_on_when_the_message_leaves(world: World) -> None:
    message = run(
        world, '$mail->signDKIM("s1", "example.com", $key, ["arc" => 3]); $mail->signDKIM("s1", "e.com", $key);', CONTENT
    )
    names = [line.partition(b":")[0] for line in message.split(b"\r\n") if b"; a=rsa-sha256" in line]
    assert names == [b"DKIM-Signature", b"ARC-Message-Signature"]
    assert b"ARC-Message-Signature: i=3; a=rsa-sha256" in message and b"v=1; a=rsa-sha256" in message


@pytest.mark.parametrize(
    ("old", "new"), [(b"i=1; a=", b"i=51; a="), (b"i=1; a=", b"i=x; a="), (b"h=From", b"h=ARC-Seal:From")]
)
def test_bad_message_signatures(world: World, old: bytes, new: bytes) -> None:
    message = run(world, '$mail->signDKIM("s1", "example.com", $key, ["arc" => 1]);', CONTENT).replace(old, new)
    run(world, 'echo $mail->verifyDKIM($mail->getHeader("ARC-Message-Signature", ["field" => true]))["result"];', message)
    assert world.echoed() == ["permerror"]


MODULE = """
$chain = ARC::chainValidate($mail); echo [$chain["status"], $chain["instance"]];
ARC::seal($mail, "s1", "example.com", $key, $chain, "mx.example.net; arc=pass");
"""


@pytest.mark.parametrize("others", [0, 1, 3])
def test_the_module_checks_and_seals_chains_of_another_implementation(world: World, others: int) -> None:
    content = CONTENT
    for _ in range(others):
        content = sealed(content)
    message = run(world, MODULE, content, 'import { ARC } from "extras://arc";')
    assert world.echoed() == [f'[0=>"{"pass" if others else "none"}",1=>{others}]']
    assert dkim.arc_verify(message, dnsfunc=ask)[0] == b"pass"
    assert dkim.arc_verify(message.replace(b"Hello", b"Hallo"), dnsfunc=ask)[0] == b"fail"

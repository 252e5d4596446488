"""The messages of the crash suite: made so that whoever receives one can tell which it is and whether it is whole."""

from __future__ import annotations

import random
import re
import zlib
from collections.abc import Sequence

KINDS = ("plain", "defer", "later", "bounce", "hold", "variant")
_IDENTITY = re.compile(rb"^X-Crash: (\S+) (\d+)\r$", re.MULTILINE)
_FAILED = re.compile(rb"^Final-Recipient: rfc822; ?([^@\s]+)@", re.MULTILINE | re.IGNORECASE)
FORMS: Sequence[tuple[str, ...]] = (
    *((("plain",),) * 4),
    ("plain", "plain", "plain"),
    ("plain", "bounce", "defer"),
    ("variant", "plain", "variant"),
    ("hold", "plain"),
    ("later",),
    ("bounce",),
    ("bounce", "bounce", "variant", "defer", "later"),
)
SIZES = (10, 300, 300, 4000, 4000, 15_000, 40_000, 120_000)


def make(rng: random.Random, identity: str) -> tuple[list[str], bytes]:
    """Give the local parts of a message's recipients and its content as sent, the final dot included."""
    form = rng.choice(FORMS)
    locals_ = [f"{kind}.{identity}.{number}" for number, kind in enumerate(form)]
    size = rng.choice(SIZES)
    line = f".{rng.getrandbits(240):060x}\r\n"
    body = (line * (size // len(line) + 1)).encode()
    header = f"From: s.{identity}@sender.example\r\nX-Crash: {identity} {zlib.crc32(body)}\r\n\r\n".encode()
    return locals_, header + body.replace(b"\r\n.", b"\r\n..").replace(b".", b"..", 1) + b".\r\n"


def about(content: bytes) -> tuple[str, list[str]]:
    """Give the message's identity, and whom it is a report about."""
    found = _IDENTITY.search(content)
    report_on: list[str] = []
    if b"multipart/report" in content[:4000]:
        report_on = [each.decode() for each in _FAILED.findall(content)]
    return (found.group(1).decode() if found else ""), report_on


def is_sound(content: bytes, local: str) -> bool:
    """Say whether the message is what was sent, for this recipient."""
    header, _, body = content.partition(b"\r\n\r\n")
    found = _IDENTITY.search(header + b"\r\n")
    if found is None:
        return False
    if local.startswith("variant"):
        own, _, body = body.partition(b"\r\n")
        if own != b"for " + local.encode():
            return False
    return zlib.crc32(body) == int(found.group(2)) and f".{found.group(1).decode()}." in local


SCRIPT = """
$mail = $arguments["mail"];
foreach ($transaction["recipients"] as $recipient) {
    $id = $mail->snapshot();
    $kind = explode(".", $recipient["address"]["localpart"])[0];
    $options = [];
    if ($kind == "hold") $options["hold"] = true;
    if ($kind == "variant") $mail->setBody("for " . $recipient["address"]["localpart"] . "\\r\\n" . $mail->getBody());
    $mail->queue($transaction["senderaddress"], $recipient["address"], $recipient["transportid"], $options);
    $mail->restore($id);
}
Accept();
"""
AFTER = """
if ($arguments["action"] == "QUEUE") Queue(["delay" => 0.02]);
"""
BEFORE = """
SetMetaData(["seen" => "yes"]);
Try();
"""

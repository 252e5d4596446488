"""Mail to and from a real Postfix: what RFC 3461 carries arrives, and what it does not offer is not asked of it."""

from __future__ import annotations

import asyncio
import email
import json
import os
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import pytest

from tests.bench.servers import PATH, postfix, release
from tests.scenarios.harness import Client, Scenario, server

AE = "å".encode().decode("latin-1")
EIGHT = f"Subject: x\r\nMIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\n\r\nthe letter {AE}\r\n"


def held(folder: Path) -> list[dict[str, Any]]:
    """Give what Postfix holds, and with each the text of its envelope and content."""
    environment, etc = dict(os.environ, PATH=PATH), str(folder / "etc")
    listed = subprocess.run(["postqueue", "-c", etc, "-j"], env=environment, capture_output=True, check=True).stdout
    found = [json.loads(line) for line in listed.splitlines()]
    for one in found:
        for what, option in (("envelope", "-e"), ("content", "-hb")):
            command = ["postcat", "-c", etc, option, "-q", one["queue_id"]]
            one[what] = subprocess.run(command, env=environment, capture_output=True, check=True).stdout
    return found


def offer(folder: Path, setting: str) -> None:
    environment, etc = dict(os.environ, PATH=PATH), str(folder / "etc")
    subprocess.run(["postconf", "-c", etc, "-e", setting], env=environment, check=True)
    subprocess.run(["postfix", "-c", etc, "reload"], env=environment, check=True, capture_output=True)


async def submit(port: int, *lines: str, content: str = EIGHT) -> None:
    client = await Client.connect(port)
    for line in ("EHLO client.test", *lines):
        assert (await client.say(line)).startswith("250"), line
    assert (await client.say("DATA")).startswith("354")
    assert (await client.say(content + ".")).startswith("250")
    await client.close()


@pytest.mark.skipif(os.getuid() != 0, reason="Postfix is started by root")
def test_mail_to_and_from_postfix(tmp_path: Path) -> None:
    with tempfile.TemporaryDirectory(prefix="hslpy-postfix-") as name:
        asyncio.run(both_ways(tmp_path, Path(name)))


async def both_ways(tmp_path: Path, folder: Path) -> None:
    for name in ("from", "to"):
        (tmp_path / name).mkdir()
    (tmp_path / "hold.hsl").write_text('Deliver(["delay" => 3600]);')
    hold = f'[hooks]\ndata = "{tmp_path}/hold.hsl"\n'
    async with server(tmp_path / "from", hold) as behind:
        with postfix(folder, {"back.test": f"[127.0.0.1]:{behind.port}"}) as (port, _):
            settings = '[[transport]]\nid = "mailtransport:1"\nnext_hop = "127.0.0.1"\ntls = "disabled"\n'
            settings += f"port = {port}\n[client]\nmessages_per_connection = 1\n"
            async with server(tmp_path / "to", settings) as before:
                await to_postfix(before, folder)
            await from_postfix(behind, folder, port)


async def to_postfix(s: Scenario, folder: Path) -> None:
    await submit(
        s.port,
        "MAIL FROM:<a@sender.test> RET=HDRS ENVID=id+2B1 BODY=8BITMIME",
        "RCPT TO:<b@dest.test> NOTIFY=SUCCESS,DELAY ORCPT=rfc822;first+2Btag@dest.test",
        "RCPT TO:<c@dest.test> NOTIFY=NEVER",
    )
    await s.until(lambda: len(s.app.queue) == 0)
    (mail,) = await asyncio.to_thread(held, folder)
    envelope = mail["envelope"]
    for told in ("envelope_id=id+1", "ret_flags=2", "notify_flags=10", "notify_flags=1\n"):
        assert f"named_attribute: {told}".encode() in envelope
    assert b"dsn_orig_rcpt=rfc822;first+tag@dest.test" in envelope
    assert f"the letter {AE}".encode("latin-1") in mail["content"]
    # the same Postfix, offering less
    await asyncio.to_thread(offer, folder, "smtpd_discard_ehlo_keywords = 8bitmime, dsn, smtputf8")
    await submit(s.port, "MAIL FROM:<a@sender.test> SMTPUTF8 BODY=8BITMIME", "RCPT TO:<d@dest.test> NOTIFY=SUCCESS")
    await s.until(lambda: len(s.app.queue) == 0)
    mails = {one["recipients"][0]["address"]: one for one in await asyncio.to_thread(held, folder)}
    plain = mails["d@dest.test"]["content"]
    assert plain.isascii()
    payload = email.message_from_bytes(plain).get_payload(decode=True)
    assert isinstance(payload, bytes) and payload.strip().endswith("å".encode())
    assert b"Action: relayed" in mails["a@sender.test"]["content"]
    await asyncio.to_thread(offer, folder, "smtpd_discard_ehlo_keywords =")


async def from_postfix(s: Scenario, folder: Path, port: int) -> None:
    await submit(
        port,
        "MAIL FROM:<a@sender.test> RET=FULL ENVID=id+2B1 SMTPUTF8",
        f"RCPT TO:<{AE}@back.test> NOTIFY=DELAY,FAILURE ORCPT=utf-8;\\x{{E5}}@back.test",
        content=f"Subject: {AE}\r\n\r\n{AE}\r\n",
    )
    await asyncio.to_thread(release, folder)
    await s.until(lambda: len(s.app.queue) == 1)
    _, (entry,) = await s.app.queue.list()
    assert entry.recipient.local_part == AE
    assert entry.sender_params["RET"] == "FULL" and entry.sender_params["ENVID"] == "id+2B1"
    assert "SMTPUTF8" in entry.sender_params
    assert set(entry.recipient_params["NOTIFY"].split(",")) == {"DELAY", "FAILURE"}
    assert entry.recipient_params["ORCPT"].lower().startswith("utf-8;")

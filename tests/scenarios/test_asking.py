"""Scripts of a whole server ask other servers while a client waits: SMTP behind a transport, HTTP now and later."""

from __future__ import annotations

import asyncio
from pathlib import Path

from hslpy.app import App, Overrides
from hslpy.config import read_settings
from hslpy.dns.scripted import ScriptedResolver
from hslpy.tooling.inject import Mail, send
from tests.support.smtp_sink import Sink
from tests.support.web_server import WebServer

SCRIPT = """
$found = smtp_lookup_rcpt("mailtransport:1", $sender, $recipient, ["extended_result" => true]);
http("http://localhost:PORT/seen", ["background" => true], [], ["who" => $recipient, "code" => $found["error_code"]]);
if (http("http://localhost:PORT/allowed/$1", ["timeout" => 5], [$recipient]) === none) Defer("try later");
if ($found["error_code"] >= 500) Reject($found["error_message"]);
Accept();
"""


def test_recipients_are_asked_for_at_the_server_behind(tmp_path: Path) -> None:
    async def main() -> None:
        answers = {"RCPT": lambda line: "550 5.1.1 No such user" if "nobody" in line else "250 ok"}
        async with WebServer() as web, Sink("127.0.0.1", answers=answers) as behind:
            (tmp_path / "rcptto.hsl").write_text(SCRIPT.replace("PORT", str(web.port)))
            (tmp_path / "hslpy.toml").write_text(
                f'[egress]\ndatabase = ""\n[server]\ndata_dir = "data"\n'
                f'[[listen]]\nhost = "127.0.0.1"\nport = 0\n[hooks]\nrcptto = "rcptto.hsl"\n'
                f'[[transport]]\nid = "mailtransport:1"\nnext_hop = "127.0.0.1"\nport = {behind.port}\n'
                "allow_private_targets = true\n"
            )
            resolver = ScriptedResolver()
            app = App(read_settings(tmp_path / "hslpy.toml", {}), Overrides(resolver=resolver, deliver=False))
            await app.start()
            host, port, _ = app.listening[0]
            to = ("ann@example.com", "nobody@example.com")
            (sent,) = await send(host, port, [Mail("me@example.org", to, b"Subject: x\r\n\r\nhello\r\n")])
            assert sent.recipients[0].startswith("250") and sent.recipients[1].endswith("5.1.1 No such user")
            await app.stop(1.0)
            later = [request.body for request in web.requests if request.target == "/seen"]
            assert sorted(later) == [b"who=ann%40example.com&code=250", b"who=nobody%40example.com&code=550"]
            assert [r.target for r in web.requests if r.target != "/seen"] == [
                "/allowed/ann%40example.com",
                "/allowed/nobody%40example.com",
            ]
            assert not behind.received

    asyncio.run(asyncio.wait_for(main(), 60))

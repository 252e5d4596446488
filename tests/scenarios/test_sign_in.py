"""Signing in at a whole server: users and certificates from files, changed while it runs."""

from __future__ import annotations

import asyncio
import ssl
from base64 import b64encode
from pathlib import Path

from tests.scenarios.harness import Client, Scenario, server
from tests.smtp.pairs import pair
from tests.users.test_file import quick

ANY = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
ANY.check_hostname = False
ANY.verify_mode = ssl.CERT_NONE


async def secured(s: Scenario) -> Client:
    client = await s.client()
    await client.say("STARTTLS")
    await client.writer.start_tls(ANY)
    await client.say("EHLO x.test")
    return client


async def login(s: Scenario, name: str, password: str) -> str:
    client = await secured(s)
    answer = await client.say("AUTH PLAIN " + b64encode(f"\0{name}\0{password}".encode()).decode())
    await client.close()
    return answer[:3]


def configured(folder: Path, more: str = "") -> str:
    certificate, key = pair(folder, ["one.test"])
    return (
        f'[smtp]\ntls_certificate = "{certificate}"\ntls_key = "{key}"\nusers_file = "{folder}/users"\n'
        f"auth_delay_s = 0\nrelay_networks = []\n{more}"
    )


def test_users_and_certificates_are_taken_up_while_it_runs(tmp_path: Path) -> None:
    async def scenario() -> None:
        users = tmp_path / "users"
        users.write_text(f"alice:{quick('first')}\n")
        users.chmod(0o600)
        async with server(tmp_path, configured(tmp_path, "[hooks]\nreload_check_s = 0.05\n"), deliver=False) as s:
            client = await secured(s)
            await client.say("MAIL FROM:<alice@x.test>")
            assert (await client.say("RCPT TO:<b@example.net>"))[:3] == "550", "only who has signed in may relay"
            await client.close()
            assert await login(s, "alice", "first") == "235"
            assert await login(s, "bob", "second") == "535"
            users.write_text(f"alice:{quick('changed')}\nbob:{quick('second')}\n")
            pair(tmp_path, ["two.test"])
            await s.until(lambda: s.events()["users.loaded"] and s.events()["smtp.certificate_loaded"])
            assert await login(s, "alice", "first") == "535", "a password that was known is not, once it has changed"
            assert await login(s, "alice", "changed") == "235"
            assert await login(s, "bob", "second") == "235"
            assert s.fields_of("smtp.certificate_loaded")[0]["names"] == "two.test"
            users.write_text("alice\n")
            assert not await s.app.reload()
            assert s.events()["users.kept"] == 1 and await login(s, "bob", "second") == "235"

    asyncio.run(scenario())


def test_a_script_decides_in_place_of_the_file(tmp_path: Path) -> None:
    async def scenario() -> None:
        (tmp_path / "users").write_text(f"alice:{quick('first')}\n")
        (tmp_path / "auth.hsl").write_text('if ($arguments["username"] == "carol") Accept(); Reject();')
        settings = configured(tmp_path, f'[hooks]\nauth = "{tmp_path}/auth.hsl"\n')
        async with server(tmp_path, settings, deliver=False) as s:
            assert s.events()["users.not_asked"] == 1
            assert await login(s, "carol", "x") == "235"
            assert await login(s, "alice", "first") == "535"

    asyncio.run(scenario())

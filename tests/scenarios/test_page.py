"""`hslpy serve` with its page: the first password, what ends and comes back, mail that goes on whatever happens to it."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import stat
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import httpx

from hslpy.cli import main
from tests.scenarios.harness import ROOT, Client
from tests.support.scanners import free_port

LIMIT_S = 60.0


class Server:
    """A running server; `log` has what it has logged so far, `printed` what it has printed."""

    def __init__(self, process: asyncio.subprocess.Process, folder: Path, page_port: int) -> None:
        self.process = process
        self.folder = folder
        self.url = f"http://127.0.0.1:{page_port}/"

    @property
    def printed(self) -> str:
        return (self.folder / "out").read_text()

    @property
    def log(self) -> list[dict[str, object]]:
        return [json.loads(line) for line in (self.folder / "log").read_text().splitlines()]

    async def until(self, what: str) -> str:
        """Wait for a text among what is printed or logged, and give all that is printed."""
        async with asyncio.timeout(LIMIT_S):
            while what not in self.printed and what not in (self.folder / "log").read_text():
                assert self.process.returncode is None
                await asyncio.sleep(0.02)
        return self.printed

    async def get(self, path: str = "", **options: object) -> httpx.Response:
        async with httpx.AsyncClient(trust_env=False) as client:
            return await client.get(self.url + path, **options)  # type: ignore[arg-type]

    def children(self) -> list[int]:
        return [int(one) for one in Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()]


@asynccontextmanager
async def serving(folder: Path, page_port: int, settings: str = "") -> AsyncIterator[Server]:
    (folder / "hslpy.toml").write_text(
        f'[server]\nhostname = "mail.example.com"\ndata_dir = "data"\n[[listen]]\nport = 0\n[log]\nformat = "json"\n'
        '[dns]\nnameservers = "127.0.0.1"\nport = 9\n'
        f'[admin]\nlisten = ["127.0.0.1:{page_port}"]\n{settings}'
    )
    with (folder / "out").open("wb") as out, (folder / "log").open("wb") as log:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "hslpy", "serve", "--config", str(folder / "hslpy.toml")),
            stdout=out,
            stderr=log,
            cwd=ROOT,
        )
    server = Server(process, folder, page_port)
    try:
        await server.until("Try next:")
        yield server
        if process.returncode is None:
            process.terminate()
            async with asyncio.timeout(LIMIT_S):
                assert await process.wait() == 0
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def greeted(server: Server) -> bool:
    """Say whether mail is taken."""
    port = int(server.printed.partition(" port ")[2].split()[0])
    client = await Client.connect(port)
    reply = await client.say("NOOP")
    await client.close()
    return reply.startswith("250")


def test_the_first_start_prints_a_password_once(tmp_path: Path) -> None:
    port = free_port()

    async def scenario() -> None:
        async with serving(tmp_path, port) as server:
            printed = await server.until("This password is not shown again.")
            assert f"  page        http://127.0.0.1:{port}/\n" in printed
            password = printed.partition("  password    ")[2].split()[0]
            await server.until('"admin.listening"')
            assert password not in json.dumps(server.log)
            call = "cgi-bin/api?call=api_list_delivery_ips"
            assert (await server.get(call, auth=("admin", "wrong"))).status_code == 401
            assert (await server.get(call, auth=("admin", password))).status_code != 401
            assert (await server.get(headers={"Host": "evil.example"})).status_code == 421
            path = tmp_path / "data/admin.sock"
            assert stat.S_IMODE(os.stat(path).st_mode) == 0o600
            assert stat.S_IMODE(os.stat(tmp_path / "data/delivery.db").st_mode) == 0o600
            # Its end is the page's alone, and not for long.
            (child,) = server.children()
            os.kill(child, signal.SIGKILL)
            await server.until('"admin.ended"')
            assert await greeted(server)
            async with asyncio.timeout(LIMIT_S):
                while [one["event"] for one in server.log].count("admin.listening") < 2:
                    await asyncio.sleep(0.05)
            assert server.children() != [child]
            assert (await server.get(call, auth=("admin", password))).status_code != 401
            child = server.children()[0]
            assert server.printed.count("  password ") == 1  # the process that came after has found an administrator
        assert not Path(f"/proc/{child}").exists() and not path.exists()

    asyncio.run(scenario())


def test_mail_goes_on_without_port_and_database(tmp_path: Path) -> None:
    """The page comes when both are there; a server that is killed leaves nothing running."""
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = int(other.getsockname()[1])

        async def scenario() -> None:
            settings = '[egress]\ndatabase = "sqlite:///later/ips.db"\n'
            async with serving(tmp_path, port, settings) as server:
                await server.until('"admin.no_database"')
                assert await greeted(server)
                (tmp_path / "later").mkdir()
                await server.until('"admin.not_listening"')
                assert await greeted(server)
                other.close()
                await server.until('"admin.listening"')
                assert (await server.get()).status_code < 500
                server.process.kill()
                await server.process.wait()
                async with asyncio.timeout(LIMIT_S):
                    with suppress(httpx.ConnectError):
                        while True:
                            await server.get()
                            await asyncio.sleep(0.02)

        asyncio.run(scenario())


def test_others_reach_the_page_over_tls_alone(tmp_path: Path, capsys) -> None:
    file = tmp_path / "hslpy.toml"
    file.write_text('[server]\ndata_dir = "data"\n[admin]\nlisten = "0.0.0.0:8025"\n')
    assert main(["serve", "--config", str(file)]) == 2
    told = capsys.readouterr().err
    assert "admin.listen has 0.0.0.0:8025, which others can reach, and there is no admin.certificate" in told
    assert "The page is served over TLS when a certificate is set, and only on loopback until then" in told
    assert not (tmp_path / "data").exists()

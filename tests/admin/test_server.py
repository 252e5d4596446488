"""What serves page and API: TLS, names, headers, limits, slow clients, ports that are taken. Behind it: one of our own."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import ssl
import stat
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from hslpy.admin import guard, server
from hslpy.admin.guard import is_known
from hslpy.admin.server import WebServer
from hslpy.admin.settings import AdminSettings
from hslpy.admin.who import LOCAL
from hslpy.clock import SystemClock
from tests.smtp.pairs import pair

LIMIT_S = 60.0
PART = bytes(1 << 16)
ended: list[str] = []


async def told(scope: Any, receive: Any, send: Any) -> None:
    """Answer with what is known of the request: who asks, the size of the body."""
    size = 0
    while (message := await receive())["type"] == "http.request":
        size += len(message["body"])
        if not message["more_body"]:
            break
    else:
        return
    if scope["path"] == "/fault":
        raise ValueError("a secret of ours")
    client = scope["client"] and scope["client"][0]
    text = json.dumps({"local": scope[LOCAL], "client": client, "scheme": scope["scheme"], "size": size}).encode()
    large = 1000 * (scope["path"] == "/large")
    headers = [(b"content-length", b"%d" % (len(text) + large * len(PART)))]
    headers += [(b"Cache-Control", b"private")] * (scope["path"] == "/kept")
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    for _ in range(large):
        await send({"type": "http.response.body", "body": PART, "more_body": True})
    await send({"type": "http.response.body", "body": text})
    ended.append(scope["path"])


class Site:
    """A web server at `port` and at `path`, its log, and a client that speaks HTTP by the byte."""

    def __init__(self, folder: Path, **settings: Any) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = int(probe.getsockname()[1])
        self.path = folder / "admin.sock"
        self.log: list[tuple[str, dict[str, Any]]] = []
        self.web = WebServer(
            told,
            AdminSettings(**{"listen": (f"127.0.0.1:{self.port}",), **settings}),
            "mail.example.com",
            self.path,
            SystemClock(),
            lambda event, fields: self.log.append((event, dict(fields))),
        )

    def events(self) -> list[str]:
        return [event for event, _ in self.log]

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(LIMIT_S):
            while not condition():
                await asyncio.sleep(0.01)

    async def connect(self, tls: ssl.SSLContext | None = None) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return await asyncio.open_connection("127.0.0.1", self.port, ssl=tls)

    async def ask(self, request: str, tls: ssl.SSLContext | None = None) -> tuple[int, dict[str, str], str]:
        reader, writer = await self.connect(tls)
        writer.write(request.replace("\n", "\r\n").encode())
        return await answer(reader, writer)


async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> tuple[int, dict[str, str], str]:
    """Read an answer up to the end of the connection."""
    async with asyncio.timeout(LIMIT_S):
        head, _, body = (await reader.read()).decode().partition("\r\n\r\n")
    writer.close()
    lines = head.split("\r\n")
    return int(lines[0].split()[1]), {k.lower(): v for k, v in (line.split(": ", 1) for line in lines[1:])}, body


@asynccontextmanager
async def serving(folder: Path, *, wait: bool = True, **settings: Any) -> AsyncIterator[Site]:
    site = Site(folder, **settings)
    task = asyncio.create_task(site.web.run())
    try:
        if wait:
            await site.until(lambda: "admin.listening" in site.events() and site.path.exists())
        yield site
    finally:
        site.web.stop()
        async with asyncio.timeout(LIMIT_S):
            await task


def run(work: Coroutine[Any, Any, None]) -> None:
    asyncio.run(work)


def get(path: str = "/", host: str = "127.0.0.1:8025", more: str = "") -> str:
    return f"GET {path} HTTP/1.1\nHost: {host}\nConnection: close\n{more}\n"


KNOWN = ["127.0.0.1", "127.0.0.1:8025", "[::1]:8025", "[2001:db8::1]", "localhost:80", "a.localhost"]
UNKNOWN = ["", "evil.example", "127.0.0.1.evil.example", "localhost.evil.example", "mail.example.com@evil.example"]
UNKNOWN += ["wild.example", "a.b.wild.example", "mail.example.com:x", "127.0.0.1:80:80", "[::1", "[::1]x", "::1"]


@pytest.mark.parametrize("host", KNOWN)
def test_addresses_and_loopback_names_are_known(host: str) -> None:
    assert is_known(host, ())


@pytest.mark.parametrize("host", ["Mail.Example.com.", "mail.example.com:443", "a.wild.example"])
def test_own_names_are_known(host: str) -> None:
    assert is_known(host, ("mail.example.com", "*.wild.example"))


@pytest.mark.parametrize("host", UNKNOWN)
def test_other_names_are_not(host: str) -> None:
    assert not is_known(host, ("mail.example.com", "*.wild.example"))


def test_what_every_answer_has(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with serving(tmp_path) as site:
            status, headers, body = await site.ask(get(more="X-Forwarded-For: 192.0.2.9\nX-Forwarded-Proto: https\n"))
            assert status == 200
            assert json.loads(body) == {"local": False, "client": "127.0.0.1", "scheme": "http", "size": 0}
            assert headers["content-security-policy"].startswith("default-src 'self';")
            assert "frame-ancestors 'none'" in headers["content-security-policy"]
            assert headers["x-frame-options"] == "DENY" and headers["x-content-type-options"] == "nosniff"
            assert headers["referrer-policy"] == "same-origin" and headers["cache-control"] == "no-store"
            assert "server" not in headers and "strict-transport-security" not in headers
            assert "cache-control" not in (await site.ask(get("/static/page.css")))[1]
            assert (await site.ask(get("/kept")))[1]["cache-control"] == "private"

    run(scenario())


def test_a_name_that_is_not_ours_is_refused(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with serving(tmp_path, names=("Page.Example.com",)) as site:
            assert (await site.ask(get(host="evil.example")))[0] == 421
            assert (await site.ask("GET / HTTP/1.0\n\n"))[0] == 421
            assert (await site.ask("GET / HTTP/1.1\n\n"))[0] == 400
            for host in ("mail.example.com:8025", "page.example.com"):
                assert (await site.ask(get(host=host)))[0] == 200

    run(scenario())


def test_the_socket_is_the_operator_s(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with serving(tmp_path) as site:
            assert stat.S_IMODE(os.stat(site.path).st_mode) == 0o600
            reader, writer = await asyncio.open_unix_connection(str(site.path))
            writer.write(get(host="anything").replace("\n", "\r\n").encode())
            status, _, body = await answer(reader, writer)
            assert status == 200 and json.loads(body)["local"] is True and json.loads(body)["client"] is None
        assert not site.path.exists()

    run(scenario())


def test_without_addresses_there_is_the_socket_alone(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with serving(tmp_path, wait=False, listen=()) as site:
            await site.until(site.path.exists)
            with pytest.raises(ConnectionRefusedError):
                await site.connect()

    run(scenario())


def test_a_fault_is_logged_and_not_shown(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with serving(tmp_path) as site:
            status, _, body = await site.ask(get("/fault"))
            assert status == 500 and "secret" not in body
            assert "a secret of ours" in site.log[-1][1]["text"] and site.events()[-1] == "admin.fault"

    run(scenario())


def test_tls_and_a_new_certificate_without_a_restart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "WATCH_S", 0.02)

    async def scenario() -> None:
        files = pair(tmp_path, ["page.example.com"])
        async with serving(tmp_path, certificate=files[0], key=files[1]) as site:
            tls = ssl.create_default_context(cafile=files[0])
            reader, writer = await asyncio.open_connection(
                "127.0.0.1", site.port, ssl=tls, server_hostname="page.example.com"
            )
            writer.write(get(host="page.example.com").replace("\n", "\r\n").encode())
            status, headers, body = await answer(reader, writer)
            assert status == 200 and json.loads(body)["scheme"] == "https"
            assert headers["strict-transport-security"] == "max-age=31536000"
            assert site.log[0][1]["url"] == f"https://127.0.0.1:{site.port}/"
            reader, writer = await site.connect()  # not without TLS
            writer.write(get().encode())
            with suppress(ConnectionError):
                assert b"200" not in await reader.read()
            pair(tmp_path, ["new.example.com"])
            await site.until(lambda: "admin.certificate_loaded" in site.events())
            tls = ssl.create_default_context(cafile=files[0])
            tls.check_hostname = False
            assert (await site.ask(get(host="new.example.com"), tls))[0] == 200
            assert (await site.ask(get(host="page.example.com"), tls))[0] == 421

    run(scenario())


def test_a_port_that_is_taken_is_taken_when_it_is_free(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "FIRST_WAIT_S", 0.05)

    async def scenario() -> None:
        with socket.socket() as other:
            other.bind(("127.0.0.1", 0))
            other.listen()
            port = int(other.getsockname()[1])
            async with serving(tmp_path, wait=False, listen=(f"127.0.0.1:{port}", "[::1]:0")) as site:
                await site.until(lambda: {"admin.not_listening", "admin.listening"} <= set(site.events()))
                assert ("admin.not_listening", f"127.0.0.1:{port}") == (site.events()[0], site.log[0][1]["address"])
                other.close()
                await site.until(lambda: site.events().count("admin.listening") == 2)
                site.port = port
                assert (await site.ask(get()))[0] == 200

    run(scenario())


def test_a_certificate_that_is_missing_is_told_of(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with serving(tmp_path, wait=False, certificate=tmp_path / "none.pem") as site:
            await site.until(lambda: "admin.not_listening" in site.events())
            assert "none.pem" in site.log[0][1]["why"]

    run(scenario())


def test_bodies_have_a_size(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guard, "MOST_BODY_BYTES", 1000)
    head = "POST / HTTP/1.1\nHost: localhost\nConnection: close\n"

    async def scenario() -> None:
        async with serving(tmp_path) as site:
            assert (await site.ask(f"{head}Content-Length: 1001\n\n"))[0] == 413
            status, _, body = await site.ask(f"{head}Content-Length: 1000\n\n{'x' * 1000}")
            assert status == 200 and json.loads(body)["size"] == 1000
            chunk = f"190\n{'x' * 400}\n"
            status, _, _ = await site.ask(f"{head}Transfer-Encoding: chunked\n\n{chunk * 3}0\n\n")
            assert status == 413
            reader, writer = await site.connect()  # one that sends it all before it reads
            writer.write(b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 10000000\r\n\r\n")
            writer.write(bytes(10_000_000))
            await writer.drain()
            assert (await reader.readline()).split()[1] == b"413"
            writer.close()

    run(scenario())


def test_one_client_does_not_have_all_connections(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "MOST_OF_ONE_CLIENT", 10)

    async def scenario() -> None:
        async with serving(tmp_path) as site:
            mine = [await site.connect() for _ in range(10)]
            with pytest.raises((ConnectionError, IndexError)):  # no answer
                await site.ask(get())
            reader, writer = await asyncio.open_connection("127.0.0.1", site.port, local_addr=("127.0.0.2", 0))
            writer.write(get().replace("\n", "\r\n").encode())
            assert (await answer(reader, writer))[0] == 200
            for _, each in mine:
                each.close()

    run(scenario())


def test_slow_clients_are_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "HEAD_S", 0.3)
    monkeypatch.setattr(server, "STUCK_S", 0.3)
    monkeypatch.setattr(guard, "BODY_PART_S", 0.3)

    async def drip(writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError):
            while True:
                writer.write(b"X-A: b\r\n")
                await writer.drain()
                await asyncio.sleep(0.05)

    async def scenario() -> None:
        async with serving(tmp_path) as site:
            slow = [await site.connect() for _ in range(50)]
            for _, writer in slow[:25]:
                writer.write(b"GET / HTTP/1.1\r\nHost: localhost\r\n")
            drips = [asyncio.create_task(drip(writer)) for _, writer in slow[:25]]
            assert (await site.ask(get()))[0] == 200  # meanwhile
            async with asyncio.timeout(LIMIT_S):
                for reader, _ in slow:
                    with suppress(ConnectionError):
                        assert await reader.read() == b""
                await asyncio.gather(*drips)
            # One that has had an answer and begins another request.
            reader, writer = await site.connect()
            writer.write(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
            await reader.readuntil(b"}")
            again = asyncio.create_task(drip(writer))
            async with asyncio.timeout(LIMIT_S):
                with suppress(ConnectionError):
                    assert await reader.read() == b""
                await again
            # One that does not send the body that it has announced.
            assert (await site.ask("POST / HTTP/1.1\nHost: localhost\nContent-Length: 9\n\nabc"))[0] == 408
            # One that takes in nothing of a large answer.
            reader, writer = await site.connect()
            writer.write(get("/large").replace("\n", "\r\n").encode())
            await site.until(lambda: "/large" in ended)

    run(scenario())

"""Real HTTP servers on loopback, for tests: one that does as its path says, and a proxy. They record what they see."""

from __future__ import annotations

import asyncio
import ssl
from dataclasses import dataclass, field
from pathlib import Path

from aiohttp import web

from tests.support import certificates


@dataclass
class Request:
    method: str
    target: str
    headers: list[tuple[str, str]]
    body: bytes
    peer_ip: str
    client_certificate: object = None

    def header(self, name: str) -> str | None:
        return next((value for given, value in self.headers if given.lower() == name.lower()), None)


@dataclass
class WebServer:
    """`/status/N` answers N, `/to/N` redirects N times, `/chunks` comes in parts, `/huge` has 32 MiB, `/slow` hangs after
    the header, `/hang` before it, `/fails/N` answers 500 the first N times, all else 200 with method, target and body.
    """

    tls: ssl.SSLContext | None = None
    host: str = "127.0.0.1"
    port: int = 0
    requests: list[Request] = field(default_factory=list)
    fails: dict[str, int] = field(default_factory=dict)
    release: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def url(self) -> str:
        return f"{'https' if self.tls else 'http'}://{self.host}:{self.port}"

    async def __aenter__(self) -> WebServer:
        app = web.Application(client_max_size=1 << 26)
        app.router.add_route("*", "/{path:.*}", self._serve)
        self._runner = web.AppRunner(app, shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, self.host, self.port, ssl_context=self.tls)
        await site.start()
        self.port = self._runner.addresses[0][1]
        return self

    async def __aexit__(self, *raised: object) -> None:
        self.release.set()
        await self._runner.cleanup()

    async def _serve(self, request: web.Request) -> web.StreamResponse:
        body = await request.read()
        headers = [(name.decode("latin-1"), text.decode("latin-1")) for name, text in request.raw_headers]
        peer, *_ = request.transport.get_extra_info("peername") if request.transport else ("",)
        certificate = request.transport.get_extra_info("peercert") if request.transport else None
        self.requests.append(Request(request.method, request.raw_path, headers, body, peer, certificate))
        word, _, rest = request.path.lstrip("/").partition("/")
        if word == "status":
            return web.Response(status=int(rest), text="the reason why")
        if word == "to":
            raise web.HTTPFound(f"/to/{int(rest) - 1}" if int(rest) > 1 else "/end")
        if word == "fails":
            self.fails[rest] = self.fails.get(rest, int(rest)) - 1
            return web.Response(status=500 if self.fails[rest] >= 0 else 200)
        if word in ("chunks", "huge", "slow"):
            response = web.StreamResponse(headers={"X-Twice": "one"})
            response.headers.add("X-Twice", "two")
            await response.prepare(request)
            for part in range(32 if word == "huge" else 3):
                await response.write(b"x" * (1 << 20) if word == "huge" else b"part %d;" % part)
                if word == "slow":
                    await self.release.wait()
            return response
        if word == "hang":
            await self.release.wait()
        return web.Response(body=f"{request.method} {request.raw_path} ".encode() + body)


def server_context(folder: Path, *, client_ca: bool = False) -> ssl.SSLContext:
    """Give the TLS of a server that is mail.example.com, by an authority that nobody trusts by default."""
    (folder / "server.pem").write_text(certificates.CERTIFICATE + certificates.KEY)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "server.pem")
    if client_ca:
        context.load_verify_locations(cadata=certificates.CA)
        context.verify_mode = ssl.CERT_REQUIRED
    return context


@dataclass
class Proxy:
    """A forward proxy: CONNECT, and requests with whole URLs. `lines` are the first lines it got, `headers` all others."""

    port: int = 0
    lines: list[str] = field(default_factory=list)
    headers: list[str] = field(default_factory=list)

    async def __aenter__(self) -> Proxy:
        self._tasks: set[asyncio.Task[None]] = set()
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *raised: object) -> None:
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
            first, *others = head.rstrip("\r\n").split("\r\n")
            self.lines.append(first)
            self.headers += others
            method, target, version = first.split(" ")
            if method == "CONNECT":
                upstream = target
            else:
                upstream, _, path = target.removeprefix("http://").partition("/")
                head = "\r\n".join([f"{method} /{path} {version}", *others, "Connection: close", "", ""])
            # every name is on this machine, as in the tests' own DNS
            up_reader, up_writer = await asyncio.open_connection("127.0.0.1", int(upstream.rpartition(":")[2]))
            if method == "CONNECT":
                writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
            else:
                up_writer.write(head.encode("latin-1"))
            await asyncio.gather(_pump(reader, up_writer), _pump(up_reader, writer))
        except (OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass
        finally:
            self._tasks.discard(task)
            writer.close()


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while part := await reader.read(65536):
            writer.write(part)
            await writer.drain()
    finally:
        writer.close()

"""Page and API, served: over TCP with or without TLS, and over a Unix socket for commands. In: an ASGI application.

uvicorn reads HTTP/1.1; clients that send or take in too slowly are left. An address that is taken is tried again. Must not
know what is served.
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import os
import socket
import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from hslpy.admin.control import reachable
from hslpy.admin.guard import App, Guard
from hslpy.admin.settings import MINIMUM_VERSION, Address, AdminSettings
from hslpy.client.certificates import Certificates
from hslpy.clock import Clock
from hslpy.errors import OperatorError
from hslpy.log import Log

HEAD_S = 15.0  # for a whole request line with its headers, from the connection's beginning or the end of what was before
STUCK_S = 60.0  # how long a client may take in nothing of what it asked for
IDLE_S = 15  # how long a connection is kept for another request
MOST_CONNECTIONS = 512  # at an address; any beyond are answered 503
MOST_OF_ONE_CLIENT = 128  # of these, of an IPv4 address or an IPv6 /64; any beyond are closed
MOST_HEAD_BYTES = 32_768
LEAVE_S = 3  # for requests under way, when the server stops
FIRST_WAIT_S, LONGEST_WAIT_S = 1.0, 15.0  # before what cannot be listened at is tried again
WATCH_S = 1.0  # how often it is looked whether certificates have changed


class WebServer:
    """Serves `app` as the settings have it, and at the Unix socket `path`. `hostname` is the server's own name."""

    def __init__(self, app: App, settings: AdminSettings, hostname: str, path: Path, clock: Clock, log: Log) -> None:
        self._app = app
        self._settings = settings
        self._path = path
        self._clock = clock
        self._log = log
        self._own_names = frozenset(name.lower().removesuffix(".") for name in (hostname, *settings.names))
        self._certificates: Certificates | None = None
        self._servers: set[_Server] = set()
        self._stopping = asyncio.Event()

    async def run(self) -> None:
        """Serve until `stop`, and let requests under way end then."""
        watch = asyncio.create_task(self._watch_certificates())
        try:
            await asyncio.gather(*(self._keep(place) for place in (None, *self._settings.addresses)))
        finally:
            watch.cancel()

    def stop(self) -> None:
        self._stopping.set()
        for server in self._servers:
            server.leave()

    def names(self) -> frozenset[str]:
        """Give the names by which requests may ask for this server."""
        return self._own_names | (self._certificates.names if self._certificates is not None else frozenset())

    async def _keep(self, place: Address | None) -> None:
        """Serve at an address, or at the Unix socket, as soon as it can be listened at."""
        told, wait_s = "", FIRST_WAIT_S
        name = str(place or self._path)
        while not self._stopping.is_set():
            try:
                context = self._context() if place is not None else None
                listening = _bound(place) if place is not None else _bound_path(self._path)
            except (OSError, OperatorError) as error:
                why = error.message if isinstance(error, OperatorError) else error.strerror or str(error)
                if why != told:
                    told = why
                    self._log("admin.not_listening", {"level": "error", "address": name, "why": why})
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(wait_s):
                        await self._stopping.wait()
                wait_s = min(2 * wait_s, LONGEST_WAIT_S)
                continue
            if place is not None:
                port = listening.getsockname()[1]
                self._log("admin.listening", {"url": self._settings.url(Address(place.host, port))})
            await self._serve(listening, context, local=place is None)

    async def _serve(self, listening: socket.socket, context: ssl.SSLContext | None, *, local: bool) -> None:
        guard: Any = Guard(self._app, self._log, self.names, local=local)
        config = uvicorn.Config(
            guard,
            http=_Http,
            ws="none",
            lifespan="off",
            interface="asgi3",
            log_config=None,
            log_level="critical",  # what is worth telling the guard tells
            access_log=False,
            proxy_headers=False,
            server_header=False,
            limit_concurrency=MOST_CONNECTIONS,
            timeout_keep_alive=IDLE_S,
            timeout_graceful_shutdown=LEAVE_S,
            h11_max_incomplete_event_size=MOST_HEAD_BYTES,
        )
        config.load()
        config.ssl = context
        server = _Server(config)
        self._servers.add(server)
        inode = os.stat(self._path).st_ino if local else None
        try:
            await server.serve([listening])
        finally:
            self._servers.discard(server)
            listening.close()
            if local and self._path.exists() and os.stat(self._path).st_ino == inode:  # not that of one started since
                self._path.unlink()

    def _context(self) -> ssl.SSLContext | None:
        """Give a context whose handshakes take the latest certificate. Raises OperatorError."""
        files = self._settings.files
        if files is None:
            return None
        if self._certificates is None:
            self._certificates = Certificates("admin", [files], MINIMUM_VERSION, self._clock, self._log)
        certificates = self._certificates
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2

        def take_latest(secure: Any, name: str | None, _context: ssl.SSLContext) -> None:
            secure.context = certificates.context

        context.sni_callback = take_latest
        return context

    async def _watch_certificates(self) -> None:
        while True:
            if self._certificates is not None:
                await self._certificates.refresh()
                self._certificates.tell_of_expiry()
            await self._clock.sleep(WATCH_S)


class _Server(uvicorn.Server):
    """uvicorn's, which leaves signals to us and looks once a second whether to end, not ten times."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self._leaving = asyncio.Event()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    async def main_loop(self) -> None:
        while not await self.on_tick(0):
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(1.0):
                    await self._leaving.wait()

    def leave(self) -> None:
        self.should_exit = True
        self._leaving.set()


class _Http(H11Protocol):
    """HTTP/1.1 with deadlines: for the head of a request, and for a client that takes nothing in."""

    _head: asyncio.TimerHandle | None = None
    _stuck: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        one = _network(self.client)
        if one and sum(_network(getattr(each, "client", None)) == one for each in self.connections) > MOST_OF_ONE_CLIENT:
            transport.abort()
        self._look()

    def handle_events(self) -> None:
        super().handle_events()
        self._look()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        self._look()

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        for timer in (self._head, self._stuck):
            if timer is not None:
                timer.cancel()

    def pause_writing(self) -> None:
        super().pause_writing()
        self._stuck = self.loop.call_later(STUCK_S, self.transport.abort)

    def resume_writing(self) -> None:
        super().resume_writing()
        if self._stuck is not None:
            self._stuck.cancel()

    def _look(self) -> None:
        """Have a time run while no request is under way."""
        busy = self.transport.is_closing() or (self.cycle is not None and not self.cycle.response_complete)
        if busy and self._head is not None:
            self._head.cancel()
            self._head = None
        elif not busy and self._head is None:
            self._head = self.loop.call_later(HEAD_S, self.transport.abort)


def _network(client: tuple[str, int] | None) -> str:
    """Give what counts as one client; "" on a Unix socket."""
    if client is None or ":" not in client[0]:
        return client[0] if client is not None else ""
    return str(ipaddress.ip_network((client[0].partition("%")[0], 64), strict=False))


def _bound(address: Address) -> socket.socket:
    """Raises OSError."""
    found = socket.socket(socket.AF_INET6 if ":" in address.host else socket.AF_INET, socket.SOCK_STREAM)
    try:
        found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if found.family == socket.AF_INET6:
            found.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        found.bind((address.host, address.port))
        found.listen(128)
    except BaseException:
        found.close()
        raise
    return found


def _bound_path(path: Path) -> socket.socket:
    """Raises OSError."""
    found = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    old = os.umask(0o177)
    try:
        path.unlink(missing_ok=True)  # left over from a process that was killed
        with reachable(path) as name:
            found.bind(name)
        found.listen(128)
    except BaseException:
        found.close()
        raise
    finally:
        os.umask(old)
    return found

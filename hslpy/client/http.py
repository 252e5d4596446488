"""The real HTTP client. In: a request. Out: a response, or HttpFailed. Connections are kept for the next request.

Every request has its deadlines, and nothing of a response beyond what may be had is read. Proxies of the environment are
not used. Must not know of scripts.
"""

from __future__ import annotations

import asyncio
import re
import socket
from collections.abc import Callable
from typing import Any

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult
from yarl import URL

from hslpy.client.http_background import BackgroundRequests
from hslpy.client.http_contract import (
    Background,
    HttpFailed,
    HttpRequest,
    HttpResponse,
    HttpSettings,
    HttpTooLarge,
    Lookup,
    shown,
)
from hslpy.client.tls import TlsContexts
from hslpy.clock import Clock
from hslpy.errors import MailError
from hslpy.log import Log

MOST_REDIRECTS = 50
READ_BYTES = 1 << 16
_MOST_SESSIONS = 32  # one for each address to leave from
_NOT_IN_A_URL = re.compile(r"[^!-~]")
_AUTHORITY = re.compile(r"[^/?#]*")
_AGENT = "hslpy"


class AiohttpClient:
    """The real `HttpClient`; belongs to one event loop from the first request on."""

    def __init__(self, settings: HttpSettings, clock: Clock, lookup: Lookup, log: Log) -> None:
        self._settings = settings
        self._lookup = lookup
        self._contexts = TlsContexts(settings.ca_file)
        self._sessions: dict[str | None, aiohttp.ClientSession] = {}
        self._background = BackgroundRequests(self.request, settings, clock, log)

    async def request(self, request: HttpRequest) -> HttpResponse:
        deadline = asyncio.timeout(request.connect_timeout_s)
        is_first = True

        def connected() -> None:
            nonlocal is_first
            if is_first:  # redirects, which connect too, have what is left of the time
                is_first = False
                now = asyncio.get_running_loop().time()
                deadline.reschedule(None if request.timeout_s is None else now + request.timeout_s)

        try:
            async with deadline:
                return await self._exchange(request, connected)
        except TimeoutError:
            raise HttpFailed("no answer in time") from None
        except HttpFailed:
            raise
        except aiohttp.TooManyRedirects:
            raise HttpFailed("there are more redirects than may be followed") from None
        except MailError as error:
            raise HttpFailed(error.message) from None
        except (aiohttp.ClientError, OSError, ValueError) as error:
            raise HttpFailed(_shown(error)) from error

    def queue(self, request: HttpRequest, background: Background) -> bool:
        return self._background.put(request, background)

    async def close(self) -> None:
        await self._background.close()
        for session in self._sessions.values():
            await session.close()
        self._sessions.clear()

    async def _exchange(self, request: HttpRequest, connected: Callable[[], None]) -> HttpResponse:
        url = _url(request.url)
        async with self._session(request.source_ip).request(
            request.method,
            url,
            data=request.body,
            headers=[(_decoded(name), _decoded(value)) for name, value in request.headers],
            skip_auto_headers=("Accept-Encoding", *request.without),
            allow_redirects=request.redirects != 0,
            max_redirects=(request.redirects if request.redirects >= 0 else MOST_REDIRECTS) + 1,
            proxy=None if request.proxy is None else _url(request.proxy),
            ssl=await self._contexts.context(request.tls),
            trace_request_ctx=connected,
        ) as response:
            return HttpResponse(
                response.status,
                await _content(response, request.most_bytes),
                tuple((name.decode("latin-1"), value.decode("latin-1")) for name, value in response.raw_headers),
                (response.reason or "").encode("utf-8", "surrogateescape").decode("latin-1"),
                f"HTTP/{response.version.major}.{response.version.minor}" if response.version else "HTTP/1.1",
            )

    def _session(self, source_ip: str | None) -> aiohttp.ClientSession:
        """Give the session of a source, made at its first request."""
        session = self._sessions.get(source_ip)
        if session is None:
            if len(self._sessions) >= _MOST_SESSIONS:
                raise HttpFailed(f"requests already leave from {_MOST_SESSIONS} addresses")
            trace = aiohttp.TraceConfig()
            trace.on_connection_create_end.append(_connected)
            trace.on_connection_reuseconn.append(_connected)
            connector = aiohttp.TCPConnector(
                limit=self._settings.connections,
                resolver=_Names(self._lookup),
                use_dns_cache=False,
                local_addr=None if source_ip is None else (source_ip, 0),
                family=socket.AF_UNSPEC if source_ip is None else socket.AF_INET6 if ":" in source_ip else socket.AF_INET,
            )
            session = self._sessions[source_ip] = aiohttp.ClientSession(
                connector=connector,
                timeout=aiohttp.ClientTimeout(total=None, sock_connect=None),
                cookie_jar=aiohttp.DummyCookieJar(),
                auto_decompress=False,
                headers={"User-Agent": _AGENT},
                trace_configs=[trace],
            )
        return session


class _Names(AbstractResolver):
    """aiohttp's names, by our own resolver."""

    def __init__(self, lookup: Lookup) -> None:
        self._lookup = lookup

    async def resolve(self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET) -> list[ResolveResult]:
        found: list[ResolveResult] = []
        for address in await self._lookup(host):
            kind = socket.AF_INET6 if ":" in address else socket.AF_INET
            if family in (socket.AF_UNSPEC, kind):
                numeric = socket.AI_NUMERICHOST | socket.AI_NUMERICSERV
                found.append(ResolveResult(hostname=host, host=address, port=port, family=kind, proto=0, flags=numeric))
        if not found:
            raise OSError(f"{host} has no address of that family")
        return found

    async def close(self) -> None:
        """The resolver is not ours."""


async def _connected(session: object, context: Any, params: object) -> None:
    context.trace_request_ctx()


async def _content(response: aiohttp.ClientResponse, most_bytes: int | None) -> bytes:
    parts = bytearray()
    while part := await response.content.read(READ_BYTES):
        parts += part
        if most_bytes is not None and len(parts) > most_bytes:
            raise HttpTooLarge(most_bytes + 1)
    return bytes(parts)


def _url(text: str) -> URL:
    """Give the URL with what no URL may hold percent-encoded, and nothing else changed. Raises HttpFailed."""
    scheme, _, rest = text.partition("://")
    authority = _AUTHORITY.match(rest)
    assert authority is not None
    path = _NOT_IN_A_URL.sub(lambda found: f"%{ord(found[0]):02X}", rest[authority.end() :])
    try:
        host = _decoded(authority[0])
        if not host.isascii():
            host = str(URL.build(scheme="http", authority=host)).partition("://")[2].rstrip("/")
        url = URL(f"{scheme}://{host}{path}", encoded=True)
        if url.scheme not in ("http", "https") or not url.host or _NOT_IN_A_URL.search(host):
            raise ValueError
        assert url.port is not None  # the port is read at the first look
    except (ValueError, AssertionError):
        raise HttpFailed(f"`{shown(text)}` is no URL of http or https") from None
    return url


def _decoded(text: str) -> str:
    """Give bytes as the text that aiohttp makes the same bytes of."""
    return text if text.isascii() else text.encode("latin-1").decode("utf-8", "replace")


def _shown(error: Exception) -> str:
    if isinstance(error, aiohttp.ClientConnectorError) and not isinstance(error, aiohttp.ClientSSLError):
        return f"cannot connect to {error.host}:{error.port}: {error.os_error}"[:300]
    return str(error)[:300] or type(error).__name__

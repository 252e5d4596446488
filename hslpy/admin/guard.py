"""What stands before every request to page and API: who may ask by which name, how much, how long. In, out: ASGI.

Requests over the Unix socket are the operator's own, by that file's permissions: `who.LOCAL` in the scope says so, where no
client can write. Must not know what is asked for.
"""

from __future__ import annotations

import asyncio
import ipaddress
from collections.abc import Awaitable, Callable, Collection, MutableMapping
from typing import Any

from hslpy.admin import faults
from hslpy.admin.who import LOCAL
from hslpy.log import Log

STATIC = "/static/"
"""Where files are that are nobody's secret, and may be kept by browsers."""

MOST_BODY_BYTES = 8 << 20  # a sheet of 10,000 settings has 2 MB; what wants less says so itself
BODY_S = 120.0
BODY_PART_S = 20.0
HSTS_S = 365 * 86_400

POLICY = "; ".join(
    (
        "default-src 'self'",
        "object-src 'none'",
        "base-uri 'none'",
        "form-action 'self'",
        "frame-ancestors 'none'",
    )
)
_HEADERS = {
    b"content-security-policy": POLICY.encode(),
    b"cross-origin-opener-policy": b"same-origin",
    b"cross-origin-resource-policy": b"same-origin",
    b"permissions-policy": b"camera=(), geolocation=(), microphone=(), payment=(), usb=()",
    b"referrer-policy": b"same-origin",
    b"x-content-type-options": b"nosniff",
    b"x-frame-options": b"DENY",
}

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]


def is_known(host: str, names: Collection[str]) -> bool:
    """Say whether a request may ask for this `Host`: an IP address, a loopback name, or one of `names`.

    A page elsewhere whose name was turned to our address (DNS rebinding) asks by that name. `*.example.com` among the names
    stands for one label.
    """
    name = host.lower()
    if name.startswith("["):
        name, bracket, port = name[1:].partition("]")
        if not bracket or (port and not port.startswith(":")):
            return False
        port = port[1:]
    else:
        name, _, port = name.partition(":")
    if port and not (port.isascii() and port.isdecimal()):
        return False
    name = name.removesuffix(".")
    try:
        return ipaddress.ip_address(name) is not None
    except ValueError:
        return name == "localhost" or name.endswith(".localhost") or name in names or f"*.{name.partition('.')[2]}" in names


def has_nul(scope: Scope) -> bool:
    """Say whether a request's address has the character NUL: PostgreSQL keeps, and compares, no text with it."""
    return "\x00" in scope["path"] or b"%00" in scope["query_string"]


class Guard:
    """Passes to `app` what may pass. `names` gives this server's host names; with `local` it is the Unix socket's."""

    def __init__(self, app: App, log: Log, names: Callable[[], Collection[str]], *, local: bool = False) -> None:
        self._app = app
        self._log = log
        self._names = names
        self._local = local

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        scope[LOCAL] = self._local
        scope["client"] = None if self._local else _plain(scope["client"])
        exchange = _Exchange(scope, receive, send)
        if not self._local and not is_known(_header(scope, b"host"), self._names()):
            text = "This server is not known by the name that you asked for. If it is right, add it to `admin.names`."
            await exchange.answer(421, text)
        elif int(_header(scope, b"content-length") or 0) > MOST_BODY_BYTES:  # digits alone: the parser has seen to it
            await exchange.answer(413, f"A request has {MOST_BODY_BYTES} bytes at most.")
        else:
            await self._pass(scope, exchange)

    async def _pass(self, scope: Scope, exchange: _Exchange) -> None:
        try:
            await self._app(scope, exchange.receive, exchange.send)
        except Exception as error:
            if exchange.left:  # it went away, or was sent away
                return
            refused = faults.told(self._log, scope["path"], error)
            if exchange.begun:
                raise  # the connection is closed: nothing else tells that this was not all
            await exchange.answer(refused.status, refused.message)


class _Exchange:
    """One request's `receive` and `send`, within limits and with our headers. `left`: there is nobody to answer any more."""

    def __init__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self._receive = receive
        self._send = send
        self._headers = dict(_HEADERS)
        if not scope["path"].startswith(STATIC):
            self._headers[b"cache-control"] = b"no-store"
        if scope["scheme"] == "https":
            self._headers[b"strict-transport-security"] = f"max-age={HSTS_S}".encode()
        self._bytes = 0
        self._whole = False
        self._until = asyncio.get_running_loop().time() + BODY_S
        self.begun = False
        self.left = False

    async def receive(self) -> Message:
        if self.left:
            return {"type": "http.disconnect"}
        if self._whole:
            return await self._noted()
        try:
            async with asyncio.timeout_at(min(self._until, asyncio.get_running_loop().time() + BODY_PART_S)):
                message = await self._noted()
        except TimeoutError:
            return await self._turn_away(408, "The request did not come in time.")
        self._bytes += len(message.get("body", b""))
        if self._bytes > MOST_BODY_BYTES:
            return await self._turn_away(413, f"A request has {MOST_BODY_BYTES} bytes at most.")
        self._whole = not message.get("more_body", False)
        return message

    async def send(self, message: Message) -> None:
        if self.left:
            return
        if message["type"] == "http.response.start":
            self.begun = True
            theirs = [(name.lower(), value) for name, value in message.get("headers", ())]
            named = {name for name, _ in theirs}
            ours = [(name, value) for name, value in self._headers.items() if name not in named]
            message = {**message, "headers": [*theirs, *ours]}
        await self._send(message)

    async def answer(self, status: int, text: str) -> None:
        """Answer in place of the application. What is still sent is passed over: who sends it would not read this else."""
        body = f"{text}\n".encode()
        headers = [(b"content-type", b"text/plain; charset=utf-8"), (b"content-length", b"%d" % len(body))]
        await self.send({"type": "http.response.start", "status": status, "headers": headers})
        await self.send({"type": "http.response.body", "body": body})

    async def _noted(self) -> Message:
        message = await self._receive()
        if message["type"] == "http.disconnect":
            self.left = True
        return message

    async def _turn_away(self, status: int, text: str) -> Message:
        if not self.begun:
            await self.answer(status, text)
        self.left = True
        return {"type": "http.disconnect"}


def _header(scope: Scope, name: bytes) -> str:
    return next((value.decode("latin-1") for key, value in scope["headers"] if key == name), "")


def _plain(client: tuple[str, int] | None) -> tuple[str, int] | None:
    """Give a client with its own address: that of an IPv4 client is written so on a socket of both families."""
    if client is None:
        return None
    address = ipaddress.ip_address(client[0].partition("%")[0])
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return str(mapped or address), client[1]

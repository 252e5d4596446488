"""One connection to a peer, from the socket to the login. In: a route. Out: a `Link`, or `LinkFailed`.

The socket is bound to the route's source before it is connected, so mail leaves from there or not at all. Must not
know of messages.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import ipaddress
import os
import re
import socket
import ssl
from collections.abc import Awaitable
from dataclasses import replace
from typing import Any, TypeVar

from aiosmtplib import (
    SMTP,
    SMTPAuthenticationError,
    SMTPException,
    SMTPResponse,
    SMTPResponseException,
    SMTPServerDisconnected,
    SMTPTimeoutError,
)

from hslpy.client.contract import Route, TlsResult
from hslpy.client.protocol import ReplyProtocol, reply_of
from hslpy.client.sockets import IP_TRANSPARENT
from hslpy.client.tls import TlsContexts, bears_name, describe
from hslpy.mail import xtext
from hslpy.mail.reply import Reply

_T = TypeVar("_T")

NO_LOGIN = "a name or a password with a NUL is none"

_WORD = re.compile(r"[!-~]+").fullmatch
_VERIFIED_MODES = ("optional_verify", "require_verify")


class LinkFailed(Exception):
    """A step towards or on a connection failed: by a `reply`, or by the network (`reply` None). The link is closed."""

    def __init__(
        self,
        state: str,
        message: str,
        *,
        reply: Reply | None = None,
        bind_failed: bool = False,
        no_route: bool = False,
        temporary: bool = True,
    ) -> None:
        super().__init__(message)
        self.state = state
        self.message = message
        self.reply = reply
        self.bind_failed = bind_failed
        self.no_route = no_route
        self.temporary = temporary


class _HandshakeFailed(LinkFailed):
    """TLS could not be had, in a way that clear text may get round."""


class Link:
    """An open connection, greeted and logged in. The task that holds it owns it; `close` is never too early."""

    def __init__(self, route: Route, helo: str) -> None:
        self.route = route
        self.helo = helo
        self.smtp = SMTP(hostname=route.host, local_hostname=helo, timeout=route.timeouts.command_s, start_tls=False)
        self.protocol = ReplyProtocol(self.smtp.close)
        self.tls: TlsResult | None = None
        self.local_ip = ""
        self.messages = 0
        self.idle_since = 0.0  # of the loop's clock
        self.purpose = ""  # of the task that put it aside
        self.spoiled = False

    @property
    def usable(self) -> bool:
        """Whether another transaction may start on it."""
        return not self.spoiled and self.smtp.is_connected and not self.protocol.out_of_step

    def offers(self, extension: str) -> bool:
        return self.smtp.supports_extension(extension)

    def extension(self, extension: str) -> str:
        """Give the parameters of an extension offered, "" where it has none or isn't offered."""
        return self.smtp.esmtp_extensions.get(extension.lower(), "")

    async def command(self, state: str, line: bytes, timeout_s: float | None = None) -> Reply:
        """Send one line (without its CRLF) and give the reply, whatever its code. Raises LinkFailed."""
        return await self.reply(
            state, self.smtp.execute_command(line, timeout=self.route.timeouts.of(state) if timeout_s is None else timeout_s)
        )

    async def reply(self, state: str, pending: Awaitable[SMTPResponse]) -> Reply:
        """Await a response and give it as a reply. Raises LinkFailed, the link being closed, for anything else."""
        return self.checked(state, await self.guarded(state, pending))

    def checked(self, state: str, response: SMTPResponse) -> Reply:
        """Give a response as a reply. Raises LinkFailed, the link being closed, for one that is none."""
        reply = reply_of(response)
        if reply is None:
            self.close()
            raise LinkFailed(state, "the peer's reply has no valid code")
        if reply.code == 421:
            self.close()
        return reply

    async def guarded(self, state: str, pending: Awaitable[_T]) -> _T:
        """Await a step of aiosmtplib; its failures become LinkFailed, and close the link unless they are replies."""
        try:
            return await pending
        except SMTPTimeoutError as error:
            self.close()
            raise LinkFailed(state, "no answer in time") from error
        except SMTPServerDisconnected as error:
            self.close()
            ahead = self.protocol.out_of_step
            raise LinkFailed(state, "the peer spoke out of turn" if ahead else "the peer closed the connection") from error
        except SMTPResponseException as error:
            reply = reply_of(SMTPResponse(error.code, error.message))
            if reply is None or reply.code == 421:
                self.close()
            raise LinkFailed(state, f"the peer said: {error.code} {error.message}"[:500], reply=reply) from error
        except (SMTPException, OSError, ValueError) as error:
            self.close()
            raise LinkFailed(state, str(error) or type(error).__name__) from error
        except BaseException:
            self.close()
            raise

    async def quit(self) -> None:
        """Say goodbye and close; whatever happens, it is closed afterwards."""
        try:
            if self.usable:
                with contextlib.suppress(LinkFailed):
                    await self.command("QUIT", b"QUIT", self.route.timeouts.quit_s)
        finally:
            self.close()

    def close(self) -> None:
        self.spoiled = True
        self.protocol.hang_up()
        self.smtp.close()


async def open_link(route: Route, contexts: TlsContexts) -> Link:
    """Give a link over which mail may be sent. Raises LinkFailed; a cancelled one leaves nothing open."""
    if route.tls in ("dane", "dane_require"):
        raise LinkFailed("STARTTLS", f"TLS mode {route.tls} is not available: DANE is not supported")
    try:
        return await _open(route, contexts, try_tls=route.tls != "disabled")
    except _HandshakeFailed:
        if route.tls != "optional":
            raise
    return await _open(route, contexts, try_tls=False)


async def _open(route: Route, contexts: TlsContexts, *, try_tls: bool) -> Link:
    sock = await _connect(route)
    local_ip = sock.getsockname()[0]
    helo = (route.helo_of(local_ip) if route.helo_of is not None else "") or route.helo
    try:
        if not _WORD(helo):
            raise ValueError("not a word in ASCII")
        link = Link(route, helo)
    except ValueError as error:
        sock.close()
        raise LinkFailed("HELO", f"HELO name {helo!r}: {error}") from error
    try:
        link.local_ip = local_ip
        await _greet(link, sock)
        await _hello(link)
        if try_tls:
            await _secure(link, contexts)
        if route.xclient:
            await _introduce(link)
        if route.sasl_username is not None:
            await _log_in(link)
        if not link.usable:
            raise LinkFailed("EHLO", "the peer closed the connection")
        return link
    except BaseException:
        if link.protocol.transport is None:
            sock.close()  # it never came to belong to the link
        link.close()
        raise


async def _connect(route: Route) -> socket.socket:
    """Give a socket bound to the route's source and connected. Raises LinkFailed."""
    family = socket.AF_INET6 if ":" in route.address else socket.AF_INET
    where = f"{route.address} port {route.port}"
    try:
        sock = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    except OSError as error:
        raise LinkFailed("CONNECT", f"cannot open a socket: {_reason(error)}") from error
    try:
        sock.setblocking(False)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # or the final dot waits for an ACK, 40 ms
        if route.source_ip is not None:
            _bind(sock, route.source_ip, route.nonlocal_source)
        try:
            async with asyncio.timeout(route.timeouts.connect_s):
                await asyncio.get_running_loop().sock_connect(sock, (route.address, route.port))
        except TimeoutError as error:
            raise LinkFailed("CONNECT", f"no connection to {where} in time") from error
        except OSError as error:
            no_route = error.errno == errno.ENETUNREACH
            raise LinkFailed("CONNECT", f"cannot connect to {where}: {_reason(error)}", no_route=no_route) from error
        if route.source_ip is not None and not _same_address(sock.getsockname()[0], route.source_ip):
            raise LinkFailed(
                "CONNECT", f"the system left from {sock.getsockname()[0]}, not from {route.source_ip}", bind_failed=True
            )
    except BaseException:
        sock.close()
        raise
    return sock


def _bind(sock: socket.socket, source_ip: str, nonlocal_source: bool) -> None:
    if nonlocal_source:
        with contextlib.suppress(OSError):  # where that is not permitted the bind fails, and says so
            sock.setsockopt(*IP_TRANSPARENT[sock.family], 1)
    with contextlib.suppress(OSError):
        sock.setsockopt(socket.IPPROTO_IP, _IP_BIND_ADDRESS_NO_PORT, 1)
    try:
        sock.bind((source_ip, 0))
    except (OSError, UnicodeError) as error:
        used_up = isinstance(error, OSError) and error.errno == errno.EADDRINUSE
        message = f"cannot bind {source_ip}: {_reason(error)}"
        raise LinkFailed("CONNECT", message, bind_failed=not used_up) from error


# Linux, linux/in.h: the port is chosen at connect, so that one source can have more connections than ports.
_IP_BIND_ADDRESS_NO_PORT = 24


async def _greet(link: Link, sock: socket.socket) -> None:
    transport, _ = await asyncio.get_running_loop().create_connection(lambda: link.protocol, sock=sock)
    link.smtp.protocol = link.protocol
    link.smtp.transport = transport
    reply = await link.reply("BANNER", link.protocol.read_response(link.route.timeouts.of("BANNER")))
    if reply.code != 220:
        raise LinkFailed("BANNER", f"the peer said: {reply}", reply=reply)


async def _hello(link: Link) -> None:
    """EHLO, HELO where that isn't known (RFC 5321 section 3.2), LHLO for LMTP (RFC 2033)."""
    if link.route.protocol == "lmtp":
        response = await link.guarded(
            "LHLO",
            link.smtp.execute_command(b"LHLO " + link.helo.encode("ascii"), timeout=link.route.timeouts.of("LHLO")),
        )
        reply = await link.reply("LHLO", _ready(response))
        if reply.code != 250:
            raise LinkFailed("LHLO", f"the peer said: {reply}", reply=reply)
        link.smtp.last_ehlo_response = response
        return
    try:
        await link.guarded("EHLO", link.smtp.ehlo(timeout=link.route.timeouts.of("EHLO")))
    except LinkFailed as failure:
        if failure.reply is None or failure.reply.code < 500 or not link.usable:
            raise
        await link.guarded("HELO", link.smtp.helo(timeout=link.route.timeouts.of("HELO")))


async def _ready(response: SMTPResponse) -> SMTPResponse:
    return response


async def _secure(link: Link, contexts: TlsContexts) -> None:
    """STARTTLS as the route wants it. Raises _HandshakeFailed where trying without may help."""
    route = link.route
    required = route.tls in ("require", "require_verify")
    verify = route.tls in _VERIFIED_MODES
    if not link.offers("starttls"):
        if required:
            raise LinkFailed("STARTTLS", "the peer offers no TLS, which is required")
        return
    try:
        context = await contexts.context(replace(route.tls_wanted, verify_peer=verify, verify_host=False))
    except ValueError as error:
        raise LinkFailed("STARTTLS", str(error), temporary=False) from None
    name = route.tls_sni or route.host
    try:
        await link.guarded(
            "STARTTLS",
            link.smtp.starttls(tls_context=context, server_hostname=name, timeout=route.timeouts.of("STARTTLS")),
        )
    except LinkFailed as failure:
        if not required and failure.reply is not None and link.usable and not verify:
            return
        link.close()
        raise _HandshakeFailed("STARTTLS", f"TLS failed: {failure.message}", reply=failure.reply) from failure
    tls: ssl.SSLObject | None = link.smtp.get_transport_info("ssl_object") if link.smtp.is_connected else None
    if tls is None:
        raise _HandshakeFailed("STARTTLS", "TLS failed: the peer closed the connection")
    if verify and route.tls_verify_host:
        certificate: dict[str, Any] = tls.getpeercert() or {}
        if not bears_name(certificate, route.tls_names or (route.host,)):
            raise LinkFailed(
                "STARTTLS", f"TLS failed: the certificate is not for {' or '.join(route.tls_names) or route.host}"
            )
    link.tls = describe(tls, verify)
    try:
        await _hello(link)
    except LinkFailed as failure:
        if failure.reply is not None or required or verify:
            raise
        raise _HandshakeFailed("STARTTLS", f"TLS failed: {failure.message}") from failure


async def _introduce(link: Link) -> None:
    """XCLIENT with the route's attributes, after which the dialogue starts anew. Source: Postfix XCLIENT_README."""
    if not link.offers("xclient"):
        raise LinkFailed("XCLIENT", "the peer offers no XCLIENT")
    if any(not name.isascii() or not name.isalpha() for name, _ in link.route.xclient):
        raise LinkFailed("XCLIENT", "the name of an attribute has letters only", temporary=False)
    words = " ".join(f"{name}={xtext.encode(value)}" for name, value in link.route.xclient)
    reply = await link.command("XCLIENT", f"XCLIENT {words}".encode("latin-1"))
    if reply.code != 220:
        raise LinkFailed("XCLIENT", f"the peer said: {reply}", reply=reply)
    await _hello(link)


async def _log_in(link: Link) -> None:
    """SMTP AUTH; without TLS only where the route says `disabled`, so that no password is read on the way."""
    if link.tls is None and link.route.tls != "disabled":
        raise LinkFailed("AUTH", "the peer offers no TLS, and a login is not sent in clear text")
    if "\0" in f"{link.route.sasl_username}{link.route.sasl_password}":  # in PLAIN it would end the name: RFC 4616
        raise LinkFailed("AUTH", NO_LOGIN, temporary=False)
    try:
        await link.guarded(
            "AUTH",
            link.smtp.login(
                link.route.sasl_username or "", link.route.sasl_password or "", timeout=link.route.timeouts.of("AUTH")
            ),
        )
    except LinkFailed as failure:
        refused = isinstance(failure.__cause__, SMTPAuthenticationError)
        message = "the login was refused" if refused else failure.message
        raise LinkFailed("AUTH", message, reply=failure.reply) from None


def _reason(error: Exception) -> str:
    """Give the system's words; asyncio puts its own in their place."""
    number = getattr(error, "errno", None)
    return os.strerror(number).lower() if isinstance(number, int) else str(error)


def _same_address(one: str, other: str) -> bool:
    return ipaddress.ip_address(one) == ipaddress.ip_address(other)

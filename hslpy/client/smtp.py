"""The SMTP client: transactions over connections that are kept for a while. In: a route and a message. Out: results.

A connection is reused only under the very same `Route`, and owned by one transaction at a time. Must not know why
that route was chosen, nor what becomes of the results.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass

from hslpy.client.contract import RecipientResult, Route, TransactionResult
from hslpy.client.link import Link, LinkFailed, open_link
from hslpy.client.tls import TlsContexts
from hslpy.client.transaction import Envelope, Transaction
from hslpy.clock import Clock
from hslpy.mail.address import Address


@dataclass(frozen=True, slots=True)
class ClientSettings:
    """`idle_s` is how long a connection waits for another message (other servers wait 2 to 150).

    `messages_per_connection` and `idle_connections` bound the reuse of one connection and the number kept.
    `convert_8bit` makes messages 7-bit for servers without 8BITMIME; without it they come back.
    `ca_file` is a PEM bundle for the verifying TLS modes, the system's where None.
    """

    idle_s: float = 30.0
    messages_per_connection: int = 100
    idle_connections: int = 200
    ca_file: str | None = None
    convert_8bit: bool = True


class SmtpClient:
    """The real `Client`."""

    def __init__(self, settings: ClientSettings, clock: Clock) -> None:
        self._settings = settings
        self._clock = clock
        self._contexts = TlsContexts(settings.ca_file)
        self._idle: dict[Route, list[tuple[Link, asyncio.TimerHandle]]] = {}
        self._idle_count = 0
        self._leaving: set[asyncio.Task[None]] = set()
        self._closed = False

    async def send(
        self,
        route: Route,
        sender: Address,
        recipients: tuple[Address, ...],
        content: bytes,
        sender_params: Mapping[str, str],
        recipient_params: tuple[Mapping[str, str], ...],
    ) -> TransactionResult:
        started = self._clock.monotonic()
        envelope = Envelope(sender, recipients, sender_params, recipient_params)
        link = self._take(route)
        if link is not None:
            result = await self._transact(link, envelope, content, started, reused=True)
            if result is not None:
                return result
        try:
            link = await open_link(route, self._contexts)
        except LinkFailed as failure:
            return self._no_link(failure, len(recipients), started)
        result = await self._transact(link, envelope, content, started, reused=False)
        assert result is not None
        return result

    async def close(self) -> None:
        """Leave all idle connections politely, for a few seconds at most."""
        self._closed = True
        for kept in list(self._idle.values()):
            for link, timer in kept:
                timer.cancel()
                self._leave(link)
        self._idle.clear()
        self._idle_count = 0
        while self._leaving:
            await asyncio.gather(*self._leaving, return_exceptions=True)

    @property
    def idle_connections(self) -> int:
        return self._idle_count

    async def _transact(
        self, link: Link, envelope: Envelope, content: bytes, started: float, *, reused: bool
    ) -> TransactionResult | None:
        """Give the result, or None when a reused link turned out to be over: nothing was sent then."""
        transaction = Transaction(link, envelope, content, convert_8bit=self._settings.convert_8bit)
        error: LinkFailed | None = None
        try:
            await transaction.run()
        except LinkFailed as failure:
            error = failure
        except BaseException:
            link.close()
            raise
        link.messages += 1
        results = tuple(transaction.results)
        at_mail = transaction.state == "MAIL"
        turned_away = any(result is not None and result.state == "MAIL" and result.reply.code == 421 for result in results)
        if reused and ((error is not None and at_mail) or turned_away):
            link.close()
            return None
        self._keep(link)
        return TransactionResult(
            results,
            error.message if error is not None and None in results else None,
            error_state=error.state if error is not None else "",
            failed_at_connect=error is not None and at_mail and not transaction.content_sent,
            tls=link.tls,
            local_ip=link.local_ip,
            duration_s=self._clock.monotonic() - started,
            reused=reused,
        )

    def _no_link(self, failure: LinkFailed, recipients: int, started: float) -> TransactionResult:
        result = None if failure.reply is None else RecipientResult(failure.reply, failure.state)
        return TransactionResult(
            (result,) * recipients,
            failure.message if failure.reply is None else None,
            error_state=failure.state,
            error_temporary=failure.temporary,
            failed_at_connect=True,
            bind_failed=failure.bind_failed,
            duration_s=self._clock.monotonic() - started,
        )

    def _take(self, route: Route) -> Link | None:
        kept = self._idle.get(route, [])
        while kept:
            link, timer = kept.pop()
            timer.cancel()
            self._idle_count -= 1
            if not kept:
                del self._idle[route]
            if link.usable:
                return link
            link.close()
        return None

    def _keep(self, link: Link) -> None:
        settings = self._settings
        if not link.usable:
            link.close()
        elif (
            self._closed
            or link.messages >= settings.messages_per_connection
            or self._idle_count >= settings.idle_connections
        ):
            self._leave(link)
        else:
            timer = asyncio.get_running_loop().call_later(settings.idle_s, self._expire, link)
            self._idle.setdefault(link.route, []).append((link, timer))
            self._idle_count += 1

    def _expire(self, link: Link) -> None:
        kept = [pair for pair in self._idle.get(link.route, []) if pair[0] is not link]
        if kept:
            self._idle[link.route] = kept
        else:
            self._idle.pop(link.route, None)
        self._idle_count -= 1
        self._leave(link)

    def _leave(self, link: Link) -> None:
        task = asyncio.create_task(link.quit())
        self._leaving.add(task)
        task.add_done_callback(self._leaving.discard)

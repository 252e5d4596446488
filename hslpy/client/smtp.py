"""The SMTP client: transactions over connections that are kept for a while. In: a route and a message. Out: results.

A connection is reused only under the very same `Route`, and owned by one transaction at a time. Must not know why
that route was chosen, nor what becomes of the results.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Mapping

from hslpy.client.contract import PURPOSE, ClientSettings, RecipientResult, Route, TransactionResult
from hslpy.client.link import Link, LinkFailed, open_link
from hslpy.client.tls import TlsContexts
from hslpy.client.transaction import Envelope, Transaction
from hslpy.clock import Clock
from hslpy.mail.address import Address


class SmtpClient:
    """The real `Client`."""

    def __init__(self, settings: ClientSettings, clock: Clock) -> None:
        self._settings = settings
        self._clock = clock
        self._contexts = TlsContexts(settings.ca_file)
        self.may_leave_from: Callable[[str], bool] = lambda local_ip: True
        """Whether a connection from an address of ours may be kept for another message."""
        self._idle: dict[Route, list[Link]] = {}  # of each route the latest used last
        self._idle_count = 0
        self._sweeping: asyncio.TimerHandle | None = None
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
        limit_s: float = math.inf,
    ) -> TransactionResult:
        started = self._clock.monotonic()
        until = asyncio.get_running_loop().time() + limit_s
        envelope = Envelope(sender, recipients, sender_params, recipient_params)
        link = self._take(route)
        if link is not None:
            result = await self._transact(link, envelope, content, started, until, reused=True)
            if result is not None:
                return result
        try:
            async with asyncio.timeout_at(until if until < math.inf else None):
                link = await open_link(route, self._contexts)
        except LinkFailed as failure:
            return self._no_link(failure, len(recipients), started)
        except TimeoutError:
            return self._no_link(LinkFailed("CONNECT", _OVER), len(recipients), started)
        result = await self._transact(link, envelope, content, started, until, reused=False)
        assert result is not None
        return result

    async def close(self) -> None:
        """Leave all idle connections politely, for a few seconds at most."""
        self._closed = True
        for link in [link for kept in self._idle.values() for link in kept]:
            self._leave(link)
        self._idle.clear()
        self._idle_count = 0
        if self._sweeping is not None:
            self._sweeping.cancel()
        while self._leaving:
            await asyncio.gather(*self._leaving, return_exceptions=True)

    def look_again(self) -> None:
        """Leave the idle connections that may not be kept any more, now."""
        for route, links in list(self._idle.items()):
            for link in [link for link in links if not self.may_leave_from(link.local_ip)]:
                self._leave(link)
                links.remove(link)
                self._idle_count -= 1
            if not links:
                del self._idle[route]

    @property
    def idle_connections(self) -> int:
        return self._idle_count

    def kept(self, purpose: str) -> int:
        """Give how many connections used for the purpose are kept. Source: `Client.kept`."""
        return sum(link.purpose == purpose for links in self._idle.values() for link in links)

    async def leave(self, purpose: str, connections: int) -> None:
        """Leave that many of them at most, politely. Source: `Client.leave`."""
        found = [link for links in self._idle.values() for link in links if link.purpose == purpose][:connections]
        for link in found:
            links = self._idle[link.route]
            links.remove(link)
            self._idle_count -= 1
            if not links:
                del self._idle[link.route]
        await asyncio.gather(*(link.quit() for link in found), return_exceptions=True)

    async def _transact(
        self, link: Link, envelope: Envelope, content: bytes, started: float, until: float, *, reused: bool
    ) -> TransactionResult | None:
        """Give the result, or None when a reused link turned out to be over: nothing was sent then."""
        transaction = Transaction(link, envelope, content, until, convert_8bit=self._settings.convert_8bit)
        error: LinkFailed | None = None
        try:
            await transaction.run()
        except LinkFailed as failure:
            error = LinkFailed(failure.state, _OVER) if transaction.over else failure
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
            dsn=link.offers("dsn"),
            tls=link.tls,
            local_ip=link.local_ip,
            helo=link.helo,
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
            no_route=failure.no_route,
            duration_s=self._clock.monotonic() - started,
        )

    def _take(self, route: Route) -> Link | None:
        kept = self._idle.get(route)
        while kept:
            link = kept.pop()
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
            or not self.may_leave_from(link.local_ip)
        ):
            self._leave(link)
        else:
            loop = asyncio.get_running_loop()
            link.idle_since = loop.time()
            link.purpose = PURPOSE.get()
            self._idle.setdefault(link.route, []).append(link)
            self._idle_count += 1
            if self._sweeping is None:
                self._sweeping = loop.call_later(settings.idle_s, self._sweep, loop)

    def _sweep(self, loop: asyncio.AbstractEventLoop) -> None:
        """Leave the links that have been idle for long enough; come again while there are any."""
        idle_s = self._settings.idle_s
        since = loop.time() - idle_s
        for route, kept in list(self._idle.items()):
            while kept and (kept[0].idle_since <= since or not kept[0].usable):
                self._leave(kept.pop(0))
                self._idle_count -= 1
            if not kept:
                del self._idle[route]
        again_s = max(idle_s / 8, _SHORTEST_SWEEP_S)
        self._sweeping = loop.call_later(again_s, self._sweep, loop) if self._idle else None

    def _leave(self, link: Link) -> None:
        task = asyncio.create_task(link.quit())
        self._leaving.add(task)
        task.add_done_callback(self._leaving.discard)


_SHORTEST_SWEEP_S = 0.05
_OVER = "the time for the attempt was over"

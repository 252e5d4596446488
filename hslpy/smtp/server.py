"""The SMTP server: listeners, connections, limits, shutdown. In: settings and what decides and stores. Out: bound ports.

Must not know what a command or a verdict means.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import ssl
from collections import Counter
from collections.abc import Callable
from typing import Any

from hslpy.client.certificates import Certificates
from hslpy.clock import Clock
from hslpy.egress.traffic.departures import Departures
from hslpy.errors import OperatorError
from hslpy.log import Log
from hslpy.rate.contract import RateCounters, RateSettings
from hslpy.rate.memory import MemoryRateCounters
from hslpy.records import dataclass
from hslpy.smtp import replies
from hslpy.smtp.adapter import Connection
from hslpy.smtp.guesses import Guesses
from hslpy.smtp.networks import client_of
from hslpy.smtp.replies import OwnReply
from hslpy.smtp.session import Accept, HookRunner, PtrLookup, Shared
from hslpy.smtp.settings import Listener, SmtpSettings, cannot_listen
from hslpy.store.leases import Leases
from hslpy.users.contract import Logins

# How late an idle client is closed, or a hook stopped, at most.
_SWEEP_S = 5.0
# After the grace, how long messages being stored may still take before the server leaves them to the spool.
_COMMIT_WAIT_S = 10.0
# How long the supervisor may take to say whether a connection is one too many: it takes a millisecond.
_SLOT_WAIT_S = 5.0

# Slots shared with other processes: connections in all, and by client.
_CONNECTIONS, _CLIENT = "smtp", "smtp:"

# Clients and users whose failed logins are counted in this process, at 200 bytes or so; scripts' own counters are others.
_MOST_COUNTED = 300_000


@dataclass(frozen=True, slots=True)
class ConnectionInfo:
    """A connection as `hslpy top` shows it."""

    id: str
    remote_ip: str
    server_id: str
    helo: str
    username: str
    tls: bool
    in_transaction: bool
    accepted: int


class SmtpServer:
    """Owns its listeners and connections; `start` once, `stop` once."""

    def __init__(
        self,
        settings: SmtpSettings,
        hooks: HookRunner,
        accept: Accept,
        clock: Clock,
        new_id: Callable[[], str],
        log: Log,
        lookup_ptr: PtrLookup | None = None,
        logins: Logins | None = None,
        rates: RateCounters | None = None,
        slots: Leases | None = None,
        departures: Departures | None = None,
    ) -> None:
        """`rates` is where failed logins are counted: where None, in this process. `slots` are the connections of all
        processes that share the ports, None where this one is alone. `departures` know whose mail it is.
        """
        self.settings = settings
        self.certificates = Certificates("smtp", settings.certificate_files, settings.tls_minimum_version, clock, log)
        counters = rates or MemoryRateCounters(RateSettings(max_entries=_MOST_COUNTED), clock, log)
        guesses = Guesses(settings, counters, log)
        self.shared = Shared(settings, hooks, accept, clock, new_id, log, guesses, lookup_ptr, logins, departures)
        self._slots = slots
        self._servers: list[asyncio.Server] = []
        self._connections: set[Connection] = set()
        self._clients: Counter[str] = Counter()
        self._endings: set[asyncio.Task[None]] = set()
        self._emptied = asyncio.Event()
        self._sweeper: asyncio.Task[None] | None = None

    @property
    def tls_context(self) -> ssl.SSLContext | None:
        """What the next handshake is made with."""
        return self.certificates.context

    @property
    def connections(self) -> list[ConnectionInfo]:
        """What is connected now."""
        return [
            ConnectionInfo(
                session.id,
                session.remote_ip,
                session.server_id,
                session.host_name or "",
                session.auth.username or "" if session.auth else "",
                session.tls is not None,
                session.transaction is not None,
                session.accepted,
            )
            for session in (connection.session for connection in self._connections)
        ]

    def set_storage_full(self, full: bool) -> None:
        """While `full`, MAIL is answered 452 4.3.1."""
        self.shared.storage_full = full

    async def start(self) -> list[tuple[str, int, str]]:
        """Listen; give `(host, port, server_id)` of each socket. Raises OperatorError where one cannot be bound."""
        loop = asyncio.get_running_loop()
        bound: list[tuple[str, int, str]] = []
        try:
            for listener in self.settings.listeners:
                server = await self._listen(loop, listener)
                self._servers.append(server)
                for each in server.sockets:
                    name = each.getsockname()
                    bound.append((name[0], name[1], listener.server_id))
        except BaseException:
            for server in self._servers:
                server.close()
            raise
        self.certificates.tell_of_expiry()
        self._sweeper = loop.create_task(self._sweep())
        return bound

    async def _listen(self, loop: asyncio.AbstractEventLoop, listener: Listener) -> asyncio.Server:
        if listener.tls == "implicit" and not self.certificates:
            raise OperatorError(
                f"listener {listener.host}:{listener.port} wants implicit TLS without a certificate",
                hint="set tls_certificate and tls_key",
            )
        starttls = listener.tls == "starttls" and bool(self.certificates)

        def connect() -> Connection:
            return Connection(self, listener.server_id, starttls, loop, implicit_tls=listener.tls == "implicit")

        try:
            return await loop.create_server(
                connect,
                listener.host,
                listener.port,
                backlog=self.settings.backlog,
                reuse_port=self._slots is not None,
            )
        except OSError as error:
            raise cannot_listen(listener, error) from error

    async def stop(self, grace_s: float) -> None:
        """Stop accepting, say 421 to idle clients, let transactions end for `grace_s`, then close what is left.

        A message that is being stored is waited for beyond the grace, but not for ever.
        """
        self.shared.stopping = True
        for server in self._servers:
            server.close()
        for connection in list(self._connections):
            session = connection.session
            if connection.handshaking:
                connection.drop()
            elif connection.waiting_since < math.inf and session.transaction is None:
                connection.say_goodbye(replies.SHUTTING_DOWN)
            elif connection.lingering:
                connection.transport.close()
        await self._until_empty(grace_s)
        for connection in list(self._connections):
            connection.drop()
        await self._until_empty(_COMMIT_WAIT_S)
        if self._connections:
            self.shared.log("smtp.still_storing", {"level": "warning", "messages": len(self._connections)})
        if self._sweeper is not None:
            self._sweeper.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._sweeper
        if self._endings:
            await asyncio.wait(self._endings, timeout=max(grace_s, 1.0))

    async def _until_empty(self, limit_s: float) -> None:
        if self._connections:
            self._emptied.clear()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(limit_s):
                    await self._emptied.wait()

    # what a connection calls --------------------------------------------------------------------------------------

    async def admit(self, connection: Connection) -> OwnReply | None:
        """Count the connection; give the reply that refuses it, or None."""
        self._connections.add(connection)
        client = client_of(connection.session.remote_ip)
        self._clients[client] += 1
        connection.client = client
        if self.shared.stopping:
            return replies.SHUTTING_DOWN
        if len(self._connections) > self.settings.max_connections:
            return replies.TOO_MANY_CONNECTIONS
        if self._clients[client] > self.settings.max_connections_per_client:
            return replies.TOO_MANY_FROM_CLIENT
        return None if self._slots is None else await self._admit_with_others(self._slots, connection)

    async def _admit_with_others(self, slots: Leases, connection: Connection) -> OwnReply | None:
        wanted = (
            (_CONNECTIONS, self.settings.max_connections, replies.TOO_MANY_CONNECTIONS),
            (_CLIENT + connection.client, self.settings.max_connections_per_client, replies.TOO_MANY_FROM_CLIENT),
        )
        for key, limit, refusal in wanted:
            try:
                async with asyncio.timeout(_SLOT_WAIT_S):
                    if not await slots.acquire(key, limit):
                        return refusal
            except TimeoutError:
                return refusal
            connection.slots.append(key)
        return None

    def left(self, connection: Connection) -> None:
        """Forget the connection, and run its disconnect hook."""
        if connection not in self._connections:
            return
        self._connections.discard(connection)
        client = connection.client
        self._clients[client] -= 1
        if self._clients[client] <= 0:
            del self._clients[client]
        if self._slots is not None:
            for key in connection.slots:
                self._slots.give(key)
            connection.slots.clear()
        if not self._connections:
            self._emptied.set()
        session = connection.session
        if session.connected and session.scripts.has("disconnect"):
            task = asyncio.get_running_loop().create_task(self._end(session))
            self._endings.add(task)
            task.add_done_callback(self._endings.discard)

    async def _end(self, session: Any) -> None:
        try:
            await session.ended()
        except Exception as error:
            self.shared.log_fault(error, {"session": session.id})

    async def _sweep(self) -> None:
        """Look at every connection now and then: one timer for all, moved by the clock that is passed in."""
        clock = self.shared.clock
        step = max(0.01, min(_SWEEP_S, self.settings.idle_timeout_s / 4, self.settings.data_timeout_s / 4))
        while True:
            await clock.sleep(step)
            now = clock.monotonic()
            self.certificates.tell_of_expiry()
            for connection in list(self._connections):
                try:
                    connection.sweep(now)
                except Exception as error:
                    self.shared.log_fault(error, {"session": connection.session.id})

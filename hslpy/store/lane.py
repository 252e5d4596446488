"""One connection to a Redis server for commands that are many and small. In: packed commands. Out: their replies.

redis-py connects and signs in; then its stream makes way for a protocol that reads replies where they arrive, with no task
and no turn of the event loop between. Must not know what the commands are.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

import hiredis

from hslpy.store.redis import Redis, RedisConnectionError, RedisError, ResponseError

Replies = list[Any] | Exception
"""Those to all commands of one `send`, a ResponseError in the place of each that was refused; or why there are none."""

_MORE = object()


class _Protocol(asyncio.Protocol):
    """Reads replies. `before` is redis-py's own protocol, which is told how the connection ends, as it waits for that."""

    def __init__(
        self, transport: asyncio.Transport, before: asyncio.BaseProtocol, parse_error: Callable[[str], Any]
    ) -> None:
        self.transport = transport
        self.open = True
        self._before: Any = before
        self._reader = hiredis.Reader(protocolError=RedisError, replyError=parse_error, notEnoughData=_MORE)
        self._waiting: deque[tuple[int, Callable[[Replies], None]]] = deque()
        self._replies: list[Any] = []  # to the first of those

    def send(self, commands: bytes, count: int, done: Callable[[Replies], None]) -> None:
        self._waiting.append((count, done))
        self.transport.write(commands)

    def end(self, error: Exception) -> None:
        """Take the connection for broken, and say so to who waits."""
        self.open = False
        waiting, self._waiting = self._waiting, deque()
        self.transport.abort()
        for _, done in waiting:
            done(error)

    def data_received(self, data: bytes) -> None:
        try:
            self._reader.feed(data)
            while (reply := self._reader.gets()) is not _MORE:
                if not self._waiting:
                    self.end(RedisConnectionError("a reply that nobody waited for"))
                    return
                if isinstance(reply, RedisConnectionError):  # not signed in, loading: what comes next fails as well
                    self.end(reply)
                    return
                self._replies.append(reply)
                count, done = self._waiting[0]
                if len(self._replies) == count:
                    replies, self._replies = self._replies, []
                    self._waiting.popleft()
                    done(replies)
        except RedisError as error:  # no reply at all
            self.end(RedisConnectionError(str(error)))

    def eof_received(self) -> bool | None:
        self.end(RedisConnectionError("the connection was closed by the server"))
        return False

    def connection_lost(self, error: Exception | None) -> None:
        self.end(RedisConnectionError(f"the connection was lost: {error}"))
        self._before.connection_lost(error)

    def pause_writing(self) -> None:
        self._before.pause_writing()

    def resume_writing(self) -> None:
        self._before.resume_writing()


class Lane:
    """A connection of a client's pool, opened as it is first needed and again after it broke.

    Replies come in the order of what was sent. The caller has the deadline, and ends what is too late by `break_off`.
    """

    def __init__(self, client: Redis) -> None:
        self.client = client
        self._connection: Any = None
        self._protocol: _Protocol | None = None
        self._opening = asyncio.Lock()

    @property
    def ready(self) -> bool:
        """Whether `send` may be called."""
        return self._protocol is not None and self._protocol.open

    def send(self, commands: bytes, count: int, done: Callable[[Replies], None]) -> None:
        """Send `count` commands at once; `done` is called once, in the event loop, with what came of them."""
        assert self._protocol is not None
        self._protocol.send(commands, count, done)

    def break_off(self, error: Exception) -> None:
        """Have who waits called with the error, and the connection ended: a reply that comes later is nobody's."""
        if self._protocol is not None:
            self._protocol.end(error)

    async def open(self) -> None:
        """Be ready. Raises RedisError or OSError."""
        async with self._opening:
            if self.ready:
                return
            await self.close()
            pool = self.client.connection_pool
            self._connection = connection = await pool.get_connection()  # type: ignore[no-untyped-call]
            transport = connection._writer.transport
            self._protocol = _Protocol(transport, transport.get_protocol(), connection._parser.parse_error)
            transport.set_protocol(self._protocol)

    async def call(self, command: bytes) -> Any:
        """Send a command packed by `pack` and give the reply. Raises what a client's command raises."""
        (reply,) = await self.calls(command, 1)
        if isinstance(reply, ResponseError):
            raise reply
        return reply

    async def calls(self, commands: bytes, count: int) -> Sequence[Any]:
        """Send `count` commands at once and give the replies, a ResponseError in the place of each that was refused."""
        if not self.ready:
            await self.open()
        answer: asyncio.Future[Replies] = asyncio.get_running_loop().create_future()
        self.send(commands, count, lambda replies: None if answer.done() else answer.set_result(replies))
        try:
            replies = await answer
        except BaseException as error:
            self.break_off(RedisConnectionError(f"cut short: {error!r}"))
            raise
        if isinstance(replies, Exception):
            raise replies
        return replies

    async def close(self) -> None:
        """Close the connection, and have who waits called; another call opens a new one."""
        self.break_off(RedisConnectionError("the connection was closed here"))  # not by and by, as a TLS or slow one is
        connection, self._connection, self._protocol = self._connection, None, None
        if connection is not None:
            await connection.disconnect(nowait=True)
            await self.client.connection_pool.release(connection)

"""A connection to Redis from its URL. In: settings. Out: a client of redis-py that never repeats a command by itself.

Knows nothing of what is kept there. Whoever asks for the client closes it.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from redis.asyncio import Connection, Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import NoScriptError, ReadOnlyError, RedisError, ResponseError
from redis.exceptions import TimeoutError as RedisTimeoutError

from hslpy.errors import OperatorError

__all__ = ["Lane", "Redis", "RedisError", "RedisSettings", "Script", "Servers", "connect", "is_away", "pack"]

_AWAY = (
    "READONLY",
    "MISCONF",
    "LOADING",
    "BUSY",
    "NOAUTH",
    "WRONGPASS",
    "NOPERM",
    "MASTERDOWN",
    "CLUSTERDOWN",
    "NOREPLICAS",
)
"""Beginnings of replies by which a whole server does not do its work, whatever the key. Source: redis' server.c, 7.0."""


@dataclass(frozen=True, slots=True)
class RedisSettings:
    """`url`: `redis://[user:password@]host[:port][/db]`, `rediss://` for TLS, `unix:///path/to/socket[?db=n]`."""

    url: str = "redis://127.0.0.1:6379/0"
    connect_timeout_s: float = 0.5
    max_connections: int = 16


@dataclass(frozen=True, slots=True)
class Script:
    """A Lua script; Redis knows it by `sha` once it has seen it."""

    text: str
    sha: str = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "sha", hashlib.sha1(self.text.encode(), usedforsecurity=False).hexdigest())


def connect(settings: RedisSettings, **options: Any) -> Redis:
    """Give a client that connects at its first command, and again whenever the connection was lost.

    `options` go to redis-py. Commands are not repeated (its default is three times): a rate check sent twice counts twice.
    Raises OperatorError when the URL cannot be read.
    """
    try:
        return Redis.from_url(
            settings.url,
            socket_connect_timeout=settings.connect_timeout_s,
            max_connections=settings.max_connections,
            retry=Retry(NoBackoff(), 0),
            retry_on_error=[],
            **options,
        )
    except ValueError as error:
        raise OperatorError(
            f"the URL of the Redis server cannot be read: {error}", hint="write `redis://127.0.0.1:6379/0` or `unix:///path`"
        ) from None


class Lane:
    """One connection of a client's pool, kept for commands that are many and small: each takes a third of a client's time.

    One command at a time. The caller sets the deadline; a command cut short closes the connection, and the next one
    opens another.
    """

    def __init__(self, client: Redis) -> None:
        self._pool = client.connection_pool
        self._connection: Connection | None = None

    async def call(self, command: bytes) -> Any:
        """Send a command packed by `pack` and give the reply. Raises what a client's command raises."""
        connection, self._connection = self._connection, None
        if connection is None:
            connection = await self._pool.get_connection()  # type: ignore[no-untyped-call]
        elif await connection.can_read():  # closed by the server, or a reply that nobody waited for
            await connection.disconnect()
        try:
            await connection.send_packed_command(command, check_health=False)
            reply = await connection.read_response()
        except ResponseError:
            self._connection = connection
            raise
        except BaseException:
            await self._pool.release(connection)
            raise
        self._connection = connection
        return reply

    async def close(self) -> None:
        """Give the connection back to the client, which closes it."""
        connection, self._connection = self._connection, None
        if connection is not None:
            await self._pool.release(connection)


def pack(parts: Sequence[bytes]) -> bytes:
    """Give a command as Redis reads it. Source: the Redis serialization protocol, arrays of bulk strings."""
    return b"*%d\r\n%b" % (len(parts), b"".join([b"$%d\r\n%b\r\n" % (len(part), part) for part in parts]))


def is_away(error: BaseException) -> bool:
    """Say whether an error means that the server does not do its work, not that one key or command is at fault."""
    if isinstance(error, RedisConnectionError | RedisTimeoutError | ReadOnlyError | OSError | TimeoutError):
        return True
    text = f"{getattr(error, 'status_code', '')} {error}"
    return any(beginning in text for beginning in _AWAY)  # older servers have it within `ERR Error running script`


class Servers:
    """Where Redis keeps what we share."""

    def __init__(self, settings: RedisSettings) -> None:
        self._client = connect(settings)
        self._room = asyncio.Semaphore(settings.max_connections)  # redis-py's pool refuses where it has no more

    async def call(self, script: Script, key: bytes, *words: str | bytes | float) -> Any:
        """Run the script on the key, once. Raises RedisError or OSError; the caller has the deadline."""
        async with self._room:
            try:
                return await self._client.evalsha(script.sha, 1, key, *words)
            except NoScriptError:  # nothing ran: a new server, or one whose scripts were flushed
                return await self._client.eval(script.text, 1, key, *words)

    async def probe(self, key: bytes) -> None:
        """Write to `key`, as a server that only reads, is full or loads would not let us. Raises as `call` does."""
        await self._client.set(key, b"", px=1000)

    async def close(self) -> None:
        with suppress(RedisError, OSError):
            await self._client.aclose()

"""A connection to Redis from its URL. In: settings. Out: a client of redis-py that never repeats a command by itself.

Knows nothing of what is kept there. Whoever asks for the client closes it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from hslpy.errors import OperatorError

__all__ = ["Redis", "RedisError", "RedisSettings", "connect"]


@dataclass(frozen=True, slots=True)
class RedisSettings:
    """`url`: `redis://[user:password@]host[:port][/db]`, `rediss://` for TLS, `unix:///path/to/socket[?db=n]`."""

    url: str = "redis://127.0.0.1:6379/0"
    connect_timeout_s: float = 0.5
    max_connections: int = 16


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

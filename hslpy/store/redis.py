"""A connection to one Redis server. In: settings. Out: a client of redis-py that never repeats a command by itself.

Knows nothing of what is kept there, nor which server of several has it (`servers.py`). Whoever asks for the client closes
it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import field
from typing import Any

from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.crc import key_slot
from redis.exceptions import AskError, MovedError, NoScriptError, ReadOnlyError, RedisError, ResponseError
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError

from hslpy.errors import OperatorError
from hslpy.records import dataclass
from hslpy.store.settings import RedisSettings, split_address

__all__ = [
    "AskError",
    "MovedError",
    "NoScriptError",
    "Redis",
    "RedisConnectionError",
    "RedisError",
    "RedisSettings",
    "ResponseError",
    "Script",
    "connect",
    "connect_to",
    "connect_to_sentinel",
    "is_away",
    "key_slot",
    "pack",
]

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
class Script:
    """A Lua script; Redis knows it by `sha` once it has seen it."""

    text: str
    sha: str = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "sha", hashlib.sha1(self.text.encode(), usedforsecurity=False).hexdigest())


def connect(settings: RedisSettings, **options: Any) -> Redis:
    """Give a client of the server at `url`, which connects at its first command and again whenever the connection was lost.

    `options` go to redis-py. Commands are not repeated (its default is three times): a rate check sent twice counts twice.
    Nothing has a deadline but connecting: the caller sets it. Raises OperatorError when the URL cannot be read.
    """
    secure = settings.url.startswith("rediss:")
    try:
        return Redis.from_url(settings.url, **{**_options(settings, secure), **_login(settings), **options})
    except ValueError as error:
        raise OperatorError(
            f"the URL of the Redis server cannot be read: {error}", hint="write `redis://127.0.0.1:6379/0` or `unix:///path`"
        ) from None


def connect_to(settings: RedisSettings, address: str) -> Redis:
    """Give a client of the server at `host:port`, otherwise as `connect` does."""
    host, port = split_address(address)
    options = {**_options(settings, settings.tls), **_login(settings), "ssl": settings.tls, "db": settings.database}
    return Redis(host=host, port=port, **options)


def connect_to_sentinel(settings: RedisSettings, address: str) -> Redis:
    """Give a client of a Sentinel, otherwise as `connect` does."""
    host, port = split_address(address)
    login = {"username": settings.sentinel_username or None, "password": settings.sentinel_password or None}
    return Redis(host=host, port=port, **{**_options(settings, settings.tls), **login, "ssl": settings.tls})


def _options(settings: RedisSettings, secure: bool) -> dict[str, Any]:
    options: dict[str, Any] = {
        "socket_connect_timeout": settings.connect_timeout_s,
        "socket_timeout": None,
        "max_connections": settings.max_connections,
        "retry": Retry(NoBackoff(), 0),
        "retry_on_error": [],
        "protocol": 2,
    }
    if secure:
        options["ssl_check_hostname"] = settings.tls_verify_host
        files = {"ssl_ca_certs": settings.ca_file, "ssl_certfile": settings.tls_certificate, "ssl_keyfile": settings.tls_key}
        options |= {name: str(file) for name, file in files.items() if file is not None}
    return options


def _login(settings: RedisSettings) -> dict[str, Any]:
    login = {"username": settings.username, "password": settings.password}
    return {name: value for name, value in login.items() if value}


def pack(parts: Sequence[bytes]) -> bytes:
    """Give a command as Redis reads it. Source: the Redis serialization protocol, arrays of bulk strings."""
    return b"*%d\r\n%b" % (len(parts), b"".join([b"$%d\r\n%b\r\n" % (len(part), part) for part in parts]))


def is_away(error: object) -> bool:
    """Say whether an error, or its text, means that the server does not do its work, not that one key or command fails."""
    if isinstance(error, RedisConnectionError | RedisTimeoutError | ReadOnlyError | OSError | TimeoutError):
        return True
    text = f"{getattr(error, 'status_code', '')} {error}"
    return any(beginning in text for beginning in _AWAY)  # older servers have it within `ERR Error running script`

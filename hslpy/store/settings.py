"""What the settings say of Redis. In: nothing. Out: frozen dataclasses; a server without Redis imports no more of it.

Must not import redis.
"""

from __future__ import annotations

from dataclasses import field, replace
from pathlib import Path
from typing import Literal

from hslpy.errors import OperatorError
from hslpy.records import dataclass


@dataclass(frozen=True, slots=True)
class RedisSettings:
    """Where Redis is: a server's `url`, or `sentinels` that know the master of `sentinel_service`, or nodes of a `cluster`.

    `url`: `redis://[user:password@]host[:port][/db]`, `rediss://` for TLS, `unix:///path/to/socket[?db=n]`; the other two
    are lists of `host:port`. `username`, `password` and the files of TLS are for any of them; what a URL has wins.
    """

    url: str = "redis://127.0.0.1:6379/0"
    sentinels: tuple[str, ...] = ()
    sentinel_service: str = "mymaster"
    sentinel_username: str = ""
    sentinel_password: str = ""
    cluster: tuple[str, ...] = ()
    username: str = ""
    password: str = ""
    database: int = 0
    tls: bool = False
    tls_verify_host: bool = True
    ca_file: Path | None = None
    tls_certificate: Path | None = None
    tls_key: Path | None = None
    connect_timeout_s: float = 0.5
    max_connections: int = 16

    def __post_init__(self) -> None:
        """Raises OperatorError where the settings contradict each other or an address cannot be read."""
        if self.sentinels and self.cluster:
            raise OperatorError("redis.sentinels and redis.cluster are both set", hint="Redis Cluster has no Sentinels")
        if self.cluster and self.database:
            raise OperatorError("redis.database is set together with redis.cluster", hint="a cluster has database 0 only")
        for address in (*self.sentinels, *self.cluster):
            split_address(address)


@dataclass(frozen=True, slots=True)
class RedisProfile:
    """A server by the name that scripts have for it, `timeout_s` for each command; `login` has all else of `[redis]`."""

    id: str
    url: str
    timeout_s: float = 5.0
    max_connections: int = 16
    login: RedisSettings = field(default_factory=RedisSettings)

    @property
    def settings(self) -> RedisSettings:
        connect_timeout_s = min(self.timeout_s, 5.0)
        return replace(self.login, url=self.url, connect_timeout_s=connect_timeout_s, max_connections=self.max_connections)


@dataclass(frozen=True, slots=True)
class MemorySettings:
    """Where `memory_*` and `barrier` keep their values; the rest is for those in Redis.

    A call has `timeout_s`; a Redis that is away is looked for every `retry_s`. A lock ends `lock_s` after its holder died,
    a value `kept_s` after its last change.
    """

    store: Literal["memory", "redis"] = "memory"
    timeout_s: float = 0.5
    retry_s: float = 0.15
    lock_s: float = 3.0
    kept_s: float = 30 * 86400.0
    key_prefix: str = "hslpy:memory:"


def split_address(address: str) -> tuple[str, int]:
    """Give host and port of `host:port`, an IPv6 host in brackets or not. Raises OperatorError."""
    host, _, port = address.rpartition(":")
    if not host or not port.isdecimal() or not 0 < int(port) < 65536:
        raise OperatorError(f"{address!r} is no address of a Redis server", hint="write `host:port`")
    return host.removeprefix("[").removesuffix("]"), int(port)

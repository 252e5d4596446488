"""What an HTTP client does for scripts: one request, now or in the background. In: a request. Out: a response.

Must not know of scripts. Text in requests and responses is a character a byte, as scripts have it.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import field
from typing import Protocol

from hslpy.client.contract import TlsWanted
from hslpy.errors import MailError
from hslpy.records import dataclass

Lookup = Callable[[str], Awaitable[Sequence[str]]]
"""Gives the IP addresses of a host, the preferred first. Raises MailError where it has none."""


def shown(url: str) -> str:
    """Give a URL, or what was to be one, for a log: without query, user and password."""
    scheme, mark, rest = re.split(r"[?#]", url, maxsplit=1)[0].rpartition("://")
    authority, slash, path = rest.partition("/")
    return f"{scheme}{mark}{authority.rpartition('@')[2]}{slash}{path.rpartition('@')[2]}"[:200]


class HttpFailed(MailError):
    """No whole response came; always temporary."""


class HttpTooLarge(HttpFailed):
    """The response is larger than the caller can take; `size_bytes` of it had come."""

    def __init__(self, size_bytes: int) -> None:
        super().__init__(f"the response has more than {size_bytes - 1:,} bytes")
        self.size_bytes = size_bytes


@dataclass(frozen=True, slots=True)
class HttpSettings:
    """`ca_file` is a PEM bundle of who is trusted, the system's where None. `connections` bounds those open at a time.

    Background requests: `background_queues` of them are under way at a time, each from a queue of its own;
    `background_requests` and `background_bytes` bound what waits, `background_timeout_s` each try.
    `drain_s` is how long a stopping server goes on with them; what is left then is lost, and logged.
    """

    ca_file: str | None = None
    connections: int = 200
    background_queues: int = 4
    background_requests: int = 10_000
    background_bytes: int = 64 * 1024 * 1024
    background_timeout_s: float = 60.0
    drain_s: float = 10.0


@dataclass(frozen=True, slots=True)
class HttpRequest:
    """`headers` are sent as they are; of `without` none is added by the client. `body` None sends none.

    `connect_timeout_s` is for name, connection and TLS, `timeout_s` for all after that; None waits for ever.
    `most_bytes` bounds the response's content. `redirects` says how many are followed, -1 for any number (50).
    `proxy` is a URL, `source_ip` the address to leave from.
    """

    url: str
    method: str = "GET"
    headers: tuple[tuple[str, str], ...] = ()
    without: frozenset[str] = frozenset()
    body: bytes | AsyncIterator[bytes] | None = None
    connect_timeout_s: float | None = 10.0
    timeout_s: float | None = None
    most_bytes: int | None = None
    redirects: int = 0
    proxy: str | None = None
    source_ip: str | None = None
    tls: TlsWanted = field(default_factory=lambda: TlsWanted(verify_peer=True))

    @property
    def size_bytes(self) -> int:
        body = self.body if isinstance(self.body, bytes) else b""
        return len(body) + len(self.url) + sum(len(name) + len(value) for name, value in self.headers)

    @property
    def shown_url(self) -> str:
        """Give the URL for a log: without query, user and password."""
        return shown(self.url)


@dataclass(frozen=True, slots=True)
class HttpResponse:
    """`version` as in `HTTP/1.1`; `headers` in the order they came."""

    status: int
    content: bytes
    headers: tuple[tuple[str, str], ...] = ()
    reason: str = ""
    version: str = "HTTP/1.1"

    @property
    def is_success(self) -> bool:
        return 200 <= self.status <= 299


@dataclass(frozen=True, slots=True)
class Background:
    """How a request is made in the background: which queue, and how often it is tried again after it failed."""

    queue: int = 0
    retries: int = 0
    delay_s: float = 0.0


class HttpClient(Protocol):
    async def request(self, request: HttpRequest) -> HttpResponse:
        """Give the response, whatever its status. Raises HttpFailed; a cancelled request leaves nothing open."""
        ...

    def queue(self, request: HttpRequest, background: Background) -> bool:
        """Have the request made later, with a body of bytes; False where there is no room."""
        ...

    async def close(self) -> None:
        """Finish or drop what is in the background, and close all connections."""
        ...

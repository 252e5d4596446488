"""A client of rspamd's HTTP protocol. In: a message and its envelope. Out: score, action, symbols and a spam class.

Must not know scripts or the mail server.
Source: rspamd's protocol documentation, `/checkv2`; answers of rspamd 3.4.
"""

from __future__ import annotations

import asyncio
import json
import math
from collections.abc import Mapping
from dataclasses import field
from typing import TYPE_CHECKING, Any

from hslpy.errors import OperatorError
from hslpy.records import dataclass
from hslpy.scan.contract import RspamdResult, ScannerFailed, ScanRequest

if TYPE_CHECKING:
    import aiohttp

SCANNER = "rspamd"

CLASSES = (0, 10, 40, 50, 100)
"""What ScanRPD may give: not known as spam, suspect, valid bulk, bulk, spam. Source: the HSL manual, ScanRPD."""

DEFAULT_CLASSES: Mapping[str, int] = {
    "no action": 0,
    "greylist": 10,
    "soft reject": 10,
    "add header": 50,
    "rewrite subject": 50,
    "quarantine": 50,
    "reject": 100,
    "discard": 100,
}

UNKNOWN_ACTION_CLASS = 10
"""For an action of the operator's own that the mapping leaves out: rspamd gave it for some cause."""

REPLY_MAX_BYTES = 4 << 20
"""An answer is a few KiB, with long lists of URLs some hundred."""


@dataclass(frozen=True, slots=True)
class RspamdSettings:
    """`url` of a normal or proxy worker, or the path of a Unix socket. `timeout_s` holds for a whole scan.

    `classes` says which class an action is: names as rspamd gives them, to 0, 10, 40, 50 or 100. The names given are
    added to DEFAULT_CLASSES. `score_classes`, where not empty, decides instead: the class (as text) to the score from
    which on it holds, as in `{"10": 4, "50": 6, "100": 15}`; a score below all of them is class 0.
    A message above `max_size_bytes` is not scanned: its class is 0 (rspamd's own limit, 50 MiB).
    """

    url: str = "http://127.0.0.1:11333"
    password: str = ""
    timeout_s: float = 10.0
    max_size_bytes: int = 50 * 1024 * 1024
    concurrency: int = 20
    classes: Mapping[str, float] = field(default_factory=dict)
    score_classes: Mapping[str, float] = field(default_factory=dict)


class RspamdClient:
    """Scans over HTTP connections that are kept for the next scan. Must be closed."""

    def __init__(self, settings: RspamdSettings) -> None:
        """Raises OperatorError when a class or the URL cannot be used."""
        self._settings = settings
        self._classes = {**DEFAULT_CLASSES, **{action: _class(value) for action, value in settings.classes.items()}}
        self._score_classes = sorted(((least, _class(name)) for name, least in settings.score_classes.items()), reverse=True)
        self._socket = settings.url if settings.url.startswith("/") else ""
        base = "http://localhost" if self._socket else settings.url.rstrip("/")
        if not base.startswith(("http://", "https://")):
            raise OperatorError(f"`{settings.url}` is no URL of rspamd", hint="write `http://127.0.0.1:11333`")
        self._url = f"{base}/checkv2"
        self._session: aiohttp.ClientSession | None = None

    async def scan(self, request: ScanRequest) -> RspamdResult:
        """Raises ScannerFailed."""
        if len(request.content) > self._settings.max_size_bytes:
            return RspamdResult(0.0, 0.0, "no action", 0)
        import aiohttp  # not in a server that scans otherwise: it takes 0.1 s

        try:
            # The deadline is ours: a reply that trickles in would renew a library's read timeout for ever.
            async with asyncio.timeout(self._settings.timeout_s):
                return self.read_result(await self._exchange(request))
        except TimeoutError:
            raise ScannerFailed(f"{SCANNER} gave no answer within {self._settings.timeout_s:g} s") from None
        except (aiohttp.ClientError, OSError) as error:
            raise ScannerFailed(f"{SCANNER} at {self._settings.url}: {error or type(error).__name__}") from error

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()
            self._session = None

    def read_result(self, body: bytes) -> RspamdResult:
        """Give what an answer's JSON says. Raises ScannerFailed when it is no result."""
        try:
            answer = json.loads(body)
            symbols = {str(name): _number(symbol["score"]) for name, symbol in answer.get("symbols", {}).items()}
            score, action = _number(answer["score"]), str(answer["action"])
            required = _number(answer.get("required_score") or 0)
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise ScannerFailed(f"{SCANNER} answered {body[:100].decode('latin-1')!r}") from error
        return RspamdResult(score, required, action, self._spam_class(action, score), symbols)

    async def _exchange(self, request: ScanRequest) -> bytes:
        async with self._open().post(
            self._url, data=request.content, headers=_headers(request, self._settings.password), allow_redirects=False
        ) as response:
            body = await response.content.read(REPLY_MAX_BYTES + 1)
            while len(body) <= REPLY_MAX_BYTES and (part := await response.content.read(REPLY_MAX_BYTES)):
                body += part
            if len(body) > REPLY_MAX_BYTES:
                raise ScannerFailed(f"{SCANNER} answered more than {REPLY_MAX_BYTES} bytes")
            if response.status != 200:
                raise ScannerFailed(f"{SCANNER} answered status {response.status}: {body[:100].decode('latin-1')!r}")
            return body

    def _open(self) -> aiohttp.ClientSession:
        """Give the session, made at the first scan as it belongs to the running event loop."""
        if self._session is None:
            import aiohttp

            limit = self._settings.concurrency
            connector = (
                aiohttp.UnixConnector(self._socket, limit=limit) if self._socket else aiohttp.TCPConnector(limit=limit)
            )
            self._session = aiohttp.ClientSession(
                connector=connector,
                timeout=aiohttp.ClientTimeout(total=None, sock_connect=None),
                cookie_jar=aiohttp.DummyCookieJar(),
            )
        return self._session

    def _spam_class(self, action: str, score: float) -> int:
        if self._score_classes:
            return next((spam_class for least, spam_class in self._score_classes if score >= least), 0)
        return self._classes.get(action, UNKNOWN_ACTION_CLASS)


def _headers(request: ScanRequest, password: str) -> list[tuple[str, str]]:
    """Give what rspamd may know besides the bytes. Values come from clients: bytes no header can have are left out."""
    pairs = [("From", request.sender), *(("Rcpt", recipient) for recipient in request.recipients)]
    pairs += [("IP", request.remote_ip), ("Helo", request.helo), ("User", request.username)]
    pairs += [("Queue-Id", request.transaction_id), ("Password", password)]
    cleaned = [(name, _clean(value)) for name, value in pairs]
    return [
        ("Content-Type", "application/octet-stream"),
        ("Accept-Encoding", "identity"),
        *((name, value) for name, value in cleaned if value),
    ]


def _clean(value: str) -> str:
    text = value.encode("latin-1", "replace").decode("utf-8", "replace")
    return "".join(c for c in text if c >= " " and c != "\x7f").strip()


def _number(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise ValueError(f"{value!r} is no number")
    return float(value) + 0.0  # no -0


def _class(value: float | str) -> int:
    try:
        found = float(value)
    except ValueError:
        found = -1
    if found not in CLASSES:
        raise OperatorError(f"`{value}` is no spam class", hint=f"write one of {', '.join(map(str, CLASSES))}")
    return int(found)

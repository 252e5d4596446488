"""What scanners give. In: a message's bytes and envelope. Out: scores. They raise ScannerFailed, never block for long."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field
from typing import Protocol

from hslpy.errors import MailError
from hslpy.records import record


class ScannerFailed(MailError):
    """A scanner could not be reached, was too slow or answered nonsense; always temporary."""


@record
class ScanRequest:
    """What a scanner may know besides the bytes (CRLF line ends)."""

    content: bytes
    sender: str = ""
    recipients: tuple[str, ...] = ()
    remote_ip: str = ""
    helo: str = ""
    username: str = ""
    transaction_id: str = ""


@record
class SpamScore:
    """`score` (5 and above is spam to SpamAssassin) and the scores of the rules that hit."""

    score: float
    rules: Mapping[str, float] = field(default_factory=dict)


class SpamAssassin(Protocol):
    async def scan(self, request: ScanRequest) -> SpamScore: ...
    async def close(self) -> None: ...


@record
class RspamdResult:
    """rspamd's verdict: `score`, `required_score`, `action` (`no action`, `greylist`, `add header`, `reject`, ...)
    and the symbols with their scores; `spam_class` is 0, 10, 40, 50 or 100 by the mapping in the settings.
    """

    score: float
    required_score: float
    action: str
    spam_class: int
    symbols: Mapping[str, float] = field(default_factory=dict)


class Rspamd(Protocol):
    async def scan(self, request: ScanRequest) -> RspamdResult: ...
    async def close(self) -> None: ...


@record
class ClamResult:
    """`names` of the signatures that ClamAV found, none of a clean message."""

    names: tuple[str, ...] = ()


class Clamd(Protocol):
    async def scan(self, request: ScanRequest) -> ClamResult: ...
    async def close(self) -> None: ...

"""A client of spamd, SpamAssassin's daemon. In: a message. Out: its score and the scores of the rules that hit.

One connection a scan, as the protocol wants. Must not know scripts or the mail server.
Source: spamd's PROTOCOL document (version 1.5); replies of spamd 4.0.1.
"""

from __future__ import annotations

import asyncio
import re

from hslpy.errors import OperatorError
from hslpy.records import dataclass
from hslpy.scan.contract import ScannerFailed, ScanRequest, SpamScore
from hslpy.scan.daemon import read_address, read_all

SCANNER = "spamd"

REPLY_MAX_BYTES = 1 << 20
"""A report is a few KiB; what goes on beyond this is not one."""

_STATUS = re.compile(rb"SPAMD/[\d.]+ +(\d+) *(.*)")
_SPAM = re.compile(rb"(?:true|false|yes|no) *; *(-?[\d.]+) */ *-?[\d.]+", re.IGNORECASE)
# The head of the report's table. The last one counts: the preview of the content above it is the sender's to write.
_TABLE = re.compile(rb"^-{4} -{20,} -{20,}[ \r]*$", re.MULTILINE)
# A row begins at the line's start, wrapped descriptions are indented. The score has one decimal.
_ROW = re.compile(rb"^ {0,4}(-?\d+(?:\.\d+)?) ([A-Za-z_][A-Za-z0-9_]*)(?: |\r?$)", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class SpamdSettings:
    """`address`: `host:port` or the path of a Unix socket. `timeout_s` holds for a whole scan, waiting included.

    A message above `max_size_bytes` is not scanned: its score is 0, with no rules (spamc's own default, 500 KiB).
    `user` is whose preferences spamd takes; empty for its default.
    """

    address: str = "127.0.0.1:783"
    user: str = ""
    timeout_s: float = 10.0
    max_size_bytes: int = 500 * 1024
    concurrency: int = 5


class SpamdClient:
    """Scans by REPORT: the one request whose answer has the rules' scores whatever spamd's settings are."""

    def __init__(self, settings: SpamdSettings) -> None:
        """Raises OperatorError when the address or the user cannot be read."""
        self._settings = settings
        self._address = read_address(settings.address, SCANNER, "127.0.0.1:783")
        if not re.fullmatch(r"[A-Za-z0-9._@+-]*", settings.user):
            raise OperatorError(f"spamd cannot take the user name {settings.user!r}")
        # spamd takes 5 at once by default and lets the others wait unseen: better they wait here, under their deadline.
        self._turns = asyncio.Semaphore(settings.concurrency)

    async def scan(self, request: ScanRequest) -> SpamScore:
        """Raises ScannerFailed."""
        if len(request.content) > self._settings.max_size_bytes:
            return SpamScore(0.0)
        try:
            async with asyncio.timeout(self._settings.timeout_s), self._turns:
                return read_report(await self._exchange(request.content))
        except TimeoutError:
            raise ScannerFailed(f"{SCANNER} gave no answer within {self._settings.timeout_s:g} s") from None
        except (OSError, asyncio.IncompleteReadError) as error:
            raise ScannerFailed(f"{SCANNER} at {self._settings.address}: {error}") from error

    async def close(self) -> None:
        """Nothing is kept open between scans."""

    async def _exchange(self, content: bytes) -> bytes:
        reader, writer = await self._address.connect()
        try:
            user = f"User: {self._settings.user}\r\n" if self._settings.user else ""
            writer.write(f"REPORT SPAMC/1.5\r\nContent-length: {len(content)}\r\n{user}\r\n".encode())
            writer.write(content)
            await writer.drain()
            writer.write_eof()
            return await read_all(reader, SCANNER, REPLY_MAX_BYTES)
        finally:
            writer.transport.abort()


def read_report(reply: bytes) -> SpamScore:
    """Give what a whole reply to REPORT says. Raises ScannerFailed when it is none."""
    head, separator, body = reply.partition(b"\r\n\r\n")
    status, *lines = head.split(b"\r\n")
    match = _STATUS.fullmatch(status)
    if match is None:
        raise ScannerFailed(f"{SCANNER} answered {_shown(status)}")
    if int(match[1]) != 0:
        raise ScannerFailed(f"{SCANNER} failed with {_shown(match[1] + b' ' + match[2])}")
    headers = {name.strip().lower(): value.strip() for name, _, value in (line.partition(b":") for line in lines)}
    length = headers.get(b"content-length", b"")
    if not separator or (length.isdigit() and len(body) < int(length)):
        raise ScannerFailed(f"{SCANNER} broke its answer off")
    verdict = _SPAM.fullmatch(headers.get(b"spam", b""))
    if verdict is None:
        raise ScannerFailed(f"{SCANNER} answered without a score: {_shown(headers.get(b'spam', b''))}")
    try:
        return SpamScore(float(verdict[1]) + 0.0, _rules(body))  # spamd writes `-0.0`: plus 0.0 is 0
    except ValueError as error:
        raise ScannerFailed(f"{SCANNER} answered with a score that is none: {error}") from None


def _rules(body: bytes) -> dict[str, float]:
    table = 0
    for table_head in _TABLE.finditer(body):
        table = table_head.end()
    if table == 0:  # the operator's own report template
        return {}
    return {row[2].decode(): float(row[1]) + 0.0 for row in _ROW.finditer(body, table)}


def _shown(text: bytes) -> str:
    return repr(text[:100].decode("latin-1"))

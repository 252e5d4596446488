"""A client of clamd, ClamAV's daemon. In: a message. Out: the names of the signatures that were found in it.

One connection a scan, by INSTREAM. Must not know scripts or the mail server. Source: the manual page clamd(8); replies of
ClamAV 1.4.
"""

from __future__ import annotations

import asyncio
import re
import struct
from contextlib import suppress

from hslpy.records import dataclass
from hslpy.scan.contract import ClamResult, ScannerFailed, ScanRequest
from hslpy.scan.daemon import read_address, read_all

SCANNER = "clamd"

REPLY_MAX_BYTES = 1 << 16
"""An answer is a line; with `AllMatchScan`, one a signature."""

_CHUNK_BYTES = 1 << 16
_FOUND = re.compile(rb"stream: (.+) FOUND")


@dataclass(frozen=True, slots=True)
class ClamdSettings:
    """`address`: `host:port` or the path of a Unix socket. `timeout_s` holds for a whole scan, waiting included.

    A message above `max_size_bytes` is not scanned: nothing is found in it (clamd's own StreamMaxLength, 100 MiB).
    """

    address: str = "127.0.0.1:3310"
    timeout_s: float = 30.0
    max_size_bytes: int = 100 * 1024 * 1024
    concurrency: int = 10


class ClamdClient:
    """Scans by INSTREAM, which needs no file that both can read."""

    def __init__(self, settings: ClamdSettings) -> None:
        """Raises OperatorError when the address cannot be read."""
        self._settings = settings
        self._address = read_address(settings.address, SCANNER, "127.0.0.1:3310")
        # clamd has 10 threads and queues the rest: they wait here, under their deadline.
        self._turns = asyncio.Semaphore(settings.concurrency)

    async def scan(self, request: ScanRequest) -> ClamResult:
        """Raises ScannerFailed."""
        if len(request.content) > self._settings.max_size_bytes:
            return ClamResult()
        try:
            async with asyncio.timeout(self._settings.timeout_s), self._turns:
                return read_reply(await self._exchange(request.content))
        except TimeoutError:
            raise ScannerFailed(f"{SCANNER} gave no answer within {self._settings.timeout_s:g} s") from None
        except OSError as error:
            raise ScannerFailed(f"{SCANNER} at {self._settings.address}: {error or type(error).__name__}") from error

    async def close(self) -> None:
        """Nothing is kept open between scans."""

    async def _exchange(self, content: bytes) -> bytes:
        reader, writer = await self._address.connect()
        answered = asyncio.ensure_future(read_all(reader, SCANNER, REPLY_MAX_BYTES))
        try:
            try:
                await _send(writer, content)
            except OSError:
                # Its answer says so, unless asyncio has thrown that away with the connection.
                with suppress(OSError):
                    return await answered
                raise ScannerFailed(f"{SCANNER} hung up on {len(content)} bytes: above its StreamMaxLength?") from None
            return await answered
        finally:
            answered.cancel()
            writer.transport.abort()


async def _send(writer: asyncio.StreamWriter, content: bytes) -> None:
    writer.write(b"zINSTREAM\0")
    for start in range(0, len(content), _CHUNK_BYTES):
        chunk = content[start : start + _CHUNK_BYTES]
        writer.write(struct.pack("!I", len(chunk)) + chunk)
        await writer.drain()
    writer.write(struct.pack("!I", 0))
    await writer.drain()


def read_reply(reply: bytes) -> ClamResult:
    """Give what a whole reply says. Raises ScannerFailed when it is none, or an error."""
    lines = [line for line in re.split(rb"[\0\n]", reply) if line]
    found = [match[1].decode("latin-1") for match in map(_FOUND.fullmatch, lines) if match]
    if not lines or len(found) + lines.count(b"stream: OK") != len(lines):
        raise ScannerFailed(f"{SCANNER} answered {reply[:100].decode('latin-1')!r}")
    return ClamResult(tuple(dict.fromkeys(found)))

"""Daemons that scan: where one listens (`host:port` or the path of a Unix socket), and its whole answer.

In: a setting's text. Out: a connection, bytes. Must not know what is said.
"""

from __future__ import annotations

import asyncio

from hslpy.errors import OperatorError
from hslpy.records import dataclass
from hslpy.scan.contract import ScannerFailed


@dataclass(frozen=True, slots=True)
class DaemonAddress:
    """`port` None: `host` is a path."""

    host: str
    port: int | None

    async def connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        if self.port is None:
            return await asyncio.open_unix_connection(self.host)
        return await asyncio.open_connection(self.host, self.port)


def read_address(text: str, daemon: str, example: str) -> DaemonAddress:
    """Give the address. Raises OperatorError when `text` is none."""
    if text.startswith("/"):
        return DaemonAddress(text, None)
    host, _, port = text.rpartition(":")
    if not host or not port.isascii() or not port.isdigit() or not 0 < int(port) < 65536:
        raise OperatorError(f"`{text}` is no address of {daemon}", hint=f"write `{example}` or the path of a Unix socket")
    return DaemonAddress(host.removeprefix("[").removesuffix("]"), int(port))


async def read_all(reader: asyncio.StreamReader, daemon: str, most_bytes: int) -> bytes:
    """Give all that the daemon says until it hangs up. Raises ScannerFailed for more than `most_bytes`."""
    reply = bytearray()
    while part := await reader.read(1 << 16):
        reply += part
        if len(reply) > most_bytes:
            raise ScannerFailed(f"{daemon} answered more than {most_bytes} bytes")
    return bytes(reply)

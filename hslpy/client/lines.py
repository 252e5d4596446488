"""Connections for one short exchange with a server, all of it within a deadline. In: where to. Out: both streams."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from hslpy.client.lookup_contract import LookupFailed, Peer

LINE_BYTES = 1 << 16


@asynccontextmanager
async def connection(
    peer: Peer, address: str, source_ip: str | None = None
) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    """Give an open connection, closed whatever happens. Raises LookupFailed once the time is up, OSError before."""
    writer: asyncio.StreamWriter | None = None
    try:
        async with asyncio.timeout(peer.timeout_s):
            local = None if source_ip is None else (source_ip, 0)
            reader, writer = await asyncio.open_connection(address, peer.port, limit=LINE_BYTES, local_addr=local)
            yield reader, writer
    except TimeoutError:
        raise LookupFailed(f"no answer within {peer.timeout_s:g} s") from None
    except asyncio.LimitOverrunError:
        raise LookupFailed("the answer is too long") from None
    finally:
        if writer is not None:
            writer.transport.abort()


class Datagrams(asyncio.DatagramProtocol):
    """What arrives at a connected UDP socket; OSError where the peer's system says that nobody listens."""

    def __init__(self) -> None:
        self._arrived: asyncio.Queue[bytes | OSError] = asyncio.Queue()

    def datagram_received(self, data: bytes, addr: object) -> None:
        self._arrived.put_nowait(data)

    def error_received(self, exc: Exception) -> None:
        self._arrived.put_nowait(exc if isinstance(exc, OSError) else OSError(str(exc)))

    async def next(self) -> bytes:
        """Give the next datagram. Raises OSError."""
        found = await self._arrived.get()
        if isinstance(found, OSError):
            raise found
        return found


@asynccontextmanager
async def datagrams(address: str, port: int) -> AsyncIterator[tuple[asyncio.DatagramTransport, Datagrams]]:
    """Give a UDP socket connected to the peer, closed whatever happens."""
    loop = asyncio.get_running_loop()
    transport, protocol = await loop.create_datagram_endpoint(Datagrams, remote_addr=(address, port))
    try:
        yield transport, protocol
    finally:
        transport.abort()

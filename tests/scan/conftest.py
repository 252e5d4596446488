"""The real daemons, started once, and a listener that answers whatever a test wants."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import pytest

from tests.support.scanners import Clamd, Rspamd, Spamd


@pytest.fixture(scope="session")
def spamd() -> Iterator[Spamd]:
    with Spamd() as daemon:
        yield daemon


@pytest.fixture(scope="session")
def rspamd() -> Iterator[Rspamd]:
    with Rspamd() as daemon:
        yield daemon


@pytest.fixture(scope="session")
def clamd() -> Iterator[Clamd]:
    with Clamd() as daemon:
        yield daemon


class Listener:
    """Gives every connection `answer` once it was sent something, then closes it; None: never answers."""

    def __init__(self, answer: bytes | None) -> None:
        self.answer = answer
        self.port = 0
        self.open = 0
        self.accepted = 0
        self.most_open = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.open += 1
        self.accepted += 1
        self.most_open = max(self.open, self.most_open)
        try:
            await reader.read(65536)
            if self.answer is None:
                await asyncio.sleep(30)
            else:
                await asyncio.sleep(0.02)
                writer.write(self.answer)
                await writer.drain()
        except OSError:
            pass
        finally:
            self.open -= 1
            writer.close()


@asynccontextmanager
async def listening(answer: bytes | None) -> AsyncIterator[Listener]:
    listener = Listener(answer)
    server = await asyncio.start_server(listener.serve, "127.0.0.1", 0)
    listener.port = server.sockets[0].getsockname()[1]
    try:
        yield listener
    finally:
        server.close()

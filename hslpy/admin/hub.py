"""The line between the supervisor and a worker: JSON lines over a socket pair. In: notes and questions. Out: answers.

A note is `[kind, values]`, a question `[kind, values, number]`, its answer `[null, answer, number]` with an answer as on the
control socket. Each side says what it understands; neither knows here what it means.
"""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from hslpy.admin.control import Handler, answer_with
from hslpy.errors import OperatorError
from hslpy.log import Log

# What the other side has not read is kept in memory: one so far behind has stopped working.
MOST_UNREAD_BYTES = 64 << 20

_ENCODE = json.JSONEncoder(separators=(",", ":")).encode


class NoAnswer(Exception):
    """The other side did not answer in time, or is gone."""


class Link(asyncio.Protocol):
    """One end, from `connect` to `close`. `notes` are called as `note(*values)`, `questions` as control handlers."""

    def __init__(
        self,
        notes: Mapping[str, Callable[..., None]],
        questions: Mapping[str, Handler],
        closed: Callable[[], None],
        log: Log,
    ) -> None:
        self._notes = notes
        self._questions = questions
        self._closed = closed
        self._log = log
        self._transport: asyncio.Transport | None = None
        self._buffer = bytearray()
        self._seen = 0
        self._number = 0
        self._asked: dict[int, asyncio.Future[Any]] = {}
        self._answering: set[asyncio.Task[None]] = set()

    async def connect(self, end: socket.socket) -> None:
        """Take over a connected socket."""
        await asyncio.get_running_loop().create_connection(lambda: self, sock=end)

    def tell(self, kind: str, values: Sequence[object]) -> None:
        """Send a note. To a side that is gone, or hopelessly behind, nothing is sent: the latter is cut off."""
        self._write([kind, values])

    async def ask(self, kind: str, arguments: Mapping[str, Any], timeout_s: float) -> Any:
        """Give the answer to a question. Raises NoAnswer, or OperatorError where that is the answer."""
        if self._transport is None:
            raise NoAnswer("it is not running")
        self._number += 1
        number = self._number
        answer = self._asked[number] = asyncio.get_running_loop().create_future()
        try:
            self._write([kind, arguments, number])
            async with asyncio.timeout(timeout_s):
                result = await answer
        except TimeoutError:
            raise NoAnswer(f"it gave no answer in {timeout_s:g} s") from None
        finally:
            del self._asked[number]
        if not result["ok"]:
            raise OperatorError(result["error"], hint=result.get("hint"))
        return result["result"]

    def close(self) -> None:
        if self._transport is not None:
            self._transport.close()

    # what the loop calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport) or hasattr(transport, "write")
        self._transport = transport  # type: ignore[assignment]

    def data_received(self, data: bytes) -> None:
        buffer = self._buffer
        buffer += data
        start = 0
        while (end := buffer.find(b"\n", max(start, self._seen))) >= 0:
            self._received(json.loads(buffer[start:end]))
            start = end + 1
            self._seen = start
        del buffer[:start]
        self._seen = len(buffer)

    def connection_lost(self, error: Exception | None) -> None:
        self._transport = None
        for answer in self._asked.values():
            if not answer.done():
                answer.set_exception(NoAnswer("it has ended"))
        for task in self._answering:
            task.cancel()
        self._closed()

    # within

    def _received(self, message: list[Any]) -> None:
        kind, values, *number = message
        if kind is None:
            answer = self._asked.get(number[0])
            if answer is not None and not answer.done():
                answer.set_result(values)
        elif number:
            task = asyncio.get_running_loop().create_task(self._answer(kind, values, number[0]))
            self._answering.add(task)
            task.add_done_callback(self._answering.discard)
        else:
            self._notes[kind](*values)

    async def _answer(self, kind: str, arguments: Mapping[str, Any], number: int) -> None:
        self._write([None, await answer_with(self._questions, kind, arguments, self._log), number])

    def _write(self, message: list[object]) -> None:
        transport = self._transport
        if transport is None or transport.is_closing():
            return
        if transport.get_write_buffer_size() > MOST_UNREAD_BYTES:
            transport.abort()
            return
        transport.write(_ENCODE(message).encode() + b"\n")

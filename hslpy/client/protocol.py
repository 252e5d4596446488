"""aiosmtplib's wire protocol, made fit for several replies at once. In: bytes of a peer. Out: replies, in order.

Changed is how replies are read, with tests against the version pinned: those that arrive together are kept for the
readers to come (PIPELINING, LMTP), one already here costs no turn of the loop, and a peer that says what nobody asked for
is hung up on. Must not know of mail.
"""

from __future__ import annotations

import asyncio
import re
from collections import deque
from collections.abc import Callable
from functools import lru_cache
from typing import Any

from aiosmtplib import SMTPReadTimeoutError, SMTPResponse, SMTPResponseException, SMTPServerDisconnected
from aiosmtplib.protocol import SMTPProtocol

from hslpy.mail.reply import Enhanced, Reply

_ENHANCED = re.compile(r"([245])\.(\d{1,3})\.(\d{1,3})(?=[ \t]|$)[ \t]*")


class ReplyProtocol(SMTPProtocol):
    """A connection to a peer. `out_of_step` is set once the peer said something that nothing had asked for.

    What a peer can make it hold: one reply below its end, and the replies that were asked for.
    """

    def __init__(self, on_lost: Callable[[], None]) -> None:
        super().__init__(asyncio.get_running_loop(), lambda _: on_lost())
        self._replies: deque[SMTPResponse] = deque()
        self._owed = 0  # replies asked for that have not come
        self._surprised = False
        self._failure: Exception | None = None  # why no more replies will come
        self._waiting: asyncio.Future[bool] | None = None
        self._room: asyncio.Future[bool] | None = None
        self._lines: list[bytes] = []  # of the reply that is coming
        self._reply_bytes = 0
        self._looked_at = 0  # bytes of the buffer that hold no line end

    @property
    def out_of_step(self) -> bool:
        return self._surprised or bool(self._buffer) or bool(self._lines) or bool(self._replies)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self._owed = 1  # the greeting

    def data_received(self, data: bytes) -> None:
        if self._failure is not None or self._surprised:
            return
        if self._owed:
            self._buffer += data
            try:
                self._take_replies()
            except SMTPResponseException as error:
                self._surprised = True
                self._fail(error)
                return
        else:
            self._surprised = True
        if self._surprised:
            self.hang_up()
        if self._replies:
            self._wake(True)

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self._fail(SMTPServerDisconnected("Connection lost"))

    def eof_received(self) -> bool:
        self._fail(SMTPServerDisconnected("Unexpected EOF received"))
        return super().eof_received()

    def _take_replies(self) -> None:
        """Take whole lines off the buffer; each byte is looked at once, however it comes. Raises SMTPResponseException."""
        buffer = self._buffer
        start = 0
        while (end := buffer.find(b"\n", self._looked_at)) >= 0:
            line = bytes(buffer[start:end])
            start = self._looked_at = end + 1
            self._reply_bytes += len(line) + 1
            code = line[:3]
            if len(line) > _LONGEST_LINE or self._reply_bytes > _LONGEST_REPLY:
                raise SMTPResponseException(-1, "the reply is too long")
            if not code.isdigit():
                raise SMTPResponseException(-1, f"Malformed SMTP response line: {line.decode('utf-8', 'ignore')}")
            self._lines.append(line[4:].strip(b" \t\r\n"))
            if line[3:4] == b"-":
                continue
            text = self._lines[0] if len(self._lines) == 1 else b"\n".join(self._lines).lstrip(b"\n")
            self._replies.append(SMTPResponse(int(code), text.decode("utf-8", "surrogateescape")))
            self._lines.clear()
            self._reply_bytes = 0
            self._owed -= 1
            if not self._owed:
                self._surprised = start < len(buffer)
                start = len(buffer)
                break
        if start:
            del buffer[:start]
        self._looked_at = len(buffer)
        if self._reply_bytes + len(buffer) > _LONGEST_REPLY:
            raise SMTPResponseException(-1, "the reply is too long")

    def _fail(self, failure: Exception) -> None:
        self._failure = self._failure or failure
        self._wake(True)

    def _wake(self, arrived: bool) -> None:
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_result(arrived)
        self._make_room(arrived)

    def _make_room(self, there_is: bool) -> None:
        if self._room is not None and not self._room.done():
            self._room.set_result(there_is)

    def resume_writing(self) -> None:
        super().resume_writing()
        self._make_room(True)

    def hang_up(self) -> None:
        """Close at once: a closing transport would still wait for its buffer to drain."""
        transport: Any = self.transport  # uvloop's are no asyncio.WriteTransport by class
        if transport is not None:
            transport.abort()

    @property
    def unsent_bytes(self) -> int:
        transport: Any = self.transport
        return 0 if transport is None else int(transport.get_write_buffer_size())

    async def arrives(self, limit_s: float | None) -> bool:
        """Wait until there is a reply to read, or none will come; False when that takes too long."""
        if self._replies or self._failure is not None:
            return True
        self._owed = self._owed or 1
        self._waiting = self._loop.create_future()
        timer = None if limit_s is None else self._loop.call_later(limit_s, self._wake, False)
        try:
            return await self._waiting
        finally:
            self._waiting = None
            if timer is not None:
                timer.cancel()

    async def has_room(self, limit_s: float) -> bool:
        """Wait until most of what was written is sent, a reply is here, or none will come; False when it takes too long."""
        if not self._paused or self._replies or self._failure is not None:
            return True
        self._room = self._loop.create_future()
        timer = self._loop.call_later(limit_s, self._make_room, False)
        try:
            return await self._room
        finally:
            self._room = None
            timer.cancel()

    @property
    def is_quiet(self) -> bool:
        """Whether there is no reply to read, and one may still come."""
        return not self._replies and self._failure is None

    @property
    def has_reply(self) -> bool:
        return bool(self._replies)

    def here(self) -> SMTPResponse | None:
        """Give the next reply, None where it has not come."""
        return self._replies.popleft() if self._replies else None

    async def read_response(self, timeout: float | None = None) -> SMTPResponse:  # noqa: ASYNC109 (aiosmtplib's own)
        """Give the next reply. Raises SMTPServerDisconnected, SMTPReadTimeoutError or SMTPResponseException."""
        if not await self.arrives(timeout):
            raise SMTPReadTimeoutError("Timed out waiting for server response")
        if self._replies:  # a connection's end comes after what was said before it
            return self._replies.popleft()
        assert self._failure is not None
        raise self._failure.with_traceback(None)

    async def execute_command(self, *args: bytes, timeout: float | None = None) -> SMTPResponse:  # noqa: ASYNC109 (as above)
        """Send a command and give its reply; not where the peer is ahead of us, as after replies smuggled in before TLS."""
        if self.out_of_step:
            raise SMTPServerDisconnected(_UNASKED)
        return await super().execute_command(*args, timeout=timeout)

    def write_commands(self, lines: bytes, replies: int) -> None:
        """Send whole lines, to which as many `replies` will come, to be had by as many calls of `read_response`."""
        if self.out_of_step:
            raise SMTPServerDisconnected(_UNASKED)
        self._owed = replies
        self.write(lines)


_UNASKED = "the peer said something unasked"
_LONGEST_LINE = 8192  # bytes, aiosmtplib's
_LONGEST_REPLY = 32 * 1024  # bytes; the longest that are sent, to EHLO, have about 1 KB


@lru_cache(maxsize=256)
def reply_of(response: SMTPResponse) -> Reply | None:
    """Give the reply as ours, or None where its code is none of SMTP's (RFC 5321 section 4.2).

    The enhanced status is taken off the text when its class is the code's; a wrong one stays text.
    """
    if not 200 <= response.code <= 599:
        return None
    text = response.message.encode("utf-8", "surrogateescape").decode("latin-1")
    enhanced: Enhanced | None = None
    lines: list[str] = []
    for line in text.split("\n"):
        match = _ENHANCED.match(line)
        if match is not None and int(match[1]) == response.code // 100:
            enhanced = enhanced or (int(match[1]), int(match[2]), int(match[3]))
            line = line[match.end() :]
        lines.append(line)
    return Reply(response.code, enhanced, tuple(lines))

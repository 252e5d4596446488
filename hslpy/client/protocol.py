"""aiosmtplib's wire protocol, made fit for several replies at once. In: bytes of a peer. Out: replies, in order.

Three things are changed, each with a test against the version pinned: replies that arrive together are kept for the
readers to come (PIPELINING, LMTP), bytes nobody asked for mark the connection as out of step, and a reply's code must
be one of SMTP's. Must not know of mail.
"""

from __future__ import annotations

import asyncio
import re
from collections import deque
from collections.abc import Callable

from aiosmtplib import SMTPResponse, SMTPResponseException, SMTPServerDisconnected
from aiosmtplib.protocol import SMTPProtocol

from hslpy.mail.reply import Enhanced, Reply

_ENHANCED = re.compile(r"([245])\.(\d{1,3})\.(\d{1,3})(?=[ \t]|$)[ \t]*")


class ReplyProtocol(SMTPProtocol):
    """A connection to a peer. `out_of_step` is set once the peer said something that nothing had asked for."""

    def __init__(self, on_lost: Callable[[], None]) -> None:
        super().__init__(asyncio.get_running_loop(), lambda _: on_lost())
        self._replies: deque[SMTPResponse] = deque()
        self._surprised = False
        self._owed = 0
        self._line = 0  # where the first line begins that may not be all there
        self._looked_at = 0

    @property
    def out_of_step(self) -> bool:
        return self._surprised or bool(self._buffer) or bool(self._replies)

    def data_received(self, data: bytes) -> None:
        waiter = self._response_waiter
        if waiter is None or (waiter.done() and waiter.exception() is not None):
            return
        if not self._response_pending and not self._owed:
            self._surprised = True
            return
        self._buffer.extend(data)
        try:
            while self._has_reply() and (reply := self._read_response_from_buffer()) is not None:
                self._owed = max(self._owed - 1, 0)
                if waiter.done() or self._replies:  # what the waiter has is always older than what is kept
                    self._replies.append(reply)
                else:
                    waiter.set_result(reply)
            if len(self._buffer) > _LONGEST_REPLY or len(self._replies) > _MAX_WAITING:
                raise SMTPResponseException(-1, "the reply is too long")
        except SMTPResponseException as error:
            self._surprised = True
            if not waiter.done():
                self._set_response_exception(waiter, error)

    def _has_reply(self) -> bool:
        """Say whether a reply is all there, or a line that is none; each byte is looked at once, however it comes."""
        buffer = self._buffer
        while (end := buffer.find(b"\n", self._looked_at)) >= 0:
            start, self._line = self._line, end + 1
            self._looked_at = end + 1
            if buffer[start + 3 : start + 4] != b"-" or not buffer[start : start + 3].isdigit():
                self._line = self._looked_at = 0
                return True
        self._looked_at = len(buffer)
        return False

    async def read_response(self, timeout: float | None = None) -> SMTPResponse:  # noqa: ASYNC109 (aiosmtplib's own)
        """Give the next reply. Raises SMTPServerDisconnected, SMTPReadTimeoutError or SMTPResponseException."""
        waiter = self._response_waiter
        older = waiter is not None and waiter.done() and waiter.exception() is None
        if self._replies and not older:  # a connection's end comes after what was said before it
            return self._replies.popleft()
        return await super().read_response(timeout)

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
_LONGEST_REPLY = 32 * 1024  # bytes; the longest that are sent, to EHLO, have about 1 KB
_MAX_WAITING = 1000  # above the most commands we send in one go


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

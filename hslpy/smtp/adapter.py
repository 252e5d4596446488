"""aiosmtpd, with what it does too slowly or too loosely overridden. In: a connection. Out: lines for a Session, its replies.

The only file that imports aiosmtpd; `tests/smtp/test_adapter_contract.py` holds each override against the pinned version.
Must not know what a command means: that is `session.py`, `auth.py` and `receive.py`.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
import re
import ssl
from collections.abc import Awaitable, Callable
from typing import Any, Protocol

import aiosmtpd.smtp
from aiosmtpd.smtp import SMTP

from hslpy.hooks.facts import TlsFacts
from hslpy.mail.parameters import MAIL_EXTRA, RCPT_EXTRA, is_sound_utf8
from hslpy.smtp import framing, receive, replies
from hslpy.smtp.auth import authenticate
from hslpy.smtp.replies import OwnReply
from hslpy.smtp.session import Session, Shared

# aiosmtpd logs several lines a connection at INFO; ours are one a message. Its warnings stay.
aiosmtpd.smtp.log.setLevel(logging.WARNING)

COMMAND_LIMIT = 512  # RFC 5321 section 4.5.3.1.4, CRLF included
# MAIL: SIZE 26 (RFC 1870), BODY 17 (RFC 6152), AUTH 500 (RFC 4954); AUTH itself: RFC 4954 section 4.
COMMAND_LIMITS = {
    b"MAIL": COMMAND_LIMIT + 26 + 17 + 500 + MAIL_EXTRA,
    b"RCPT": COMMAND_LIMIT + RCPT_EXTRA,
    b"AUTH": 12_288,
}
LONGEST_LINE = 12_288
# What one may send without an end of line before it is taken for no SMTP client at all.
SWALLOW_LIMIT = 1024 * 1024
# While a hook runs, input over twice this stops the reading (StreamReader's rule).
INPUT_LIMIT = 64 * 1024
# Replies over this wait until the peer has read some.
OUTPUT_LIMIT = 64 * 1024
TLS_HANDSHAKE_S = 30.0
# A command line or a message has the idle timeout, and longer only at this rate: Postfix's smtpd_min_data_rate.
SLOWEST_BYTES_A_S = 500
# How long a peer may take to read our last reply.
CLOSE_S = 30.0
# Pipelined commands worked off before other sessions have a turn: about a millisecond's worth.
COMMANDS_A_TURN = 100

# A command: a word, then perhaps a blank and printable ASCII. What else comes is `line_fault`'s to name.
_SOUND_LINE = re.compile(rb"([A-Za-z]+)(?: ([\t -~]*))?\r\n\Z").match
# The two that may hold addresses beyond ASCII: RFC 6531 section 3.3.
_UTF8_LINE = re.compile(rb"([Mm][Aa][Ii][Ll]|[Rr][Cc][Pp][Tt]) ([\t -~\x80-\xff]*)\r\n\Z").match


class PeerGone(Exception):
    """The connection is over; there is nobody to answer."""


class _NoTimer:
    """Stands for aiosmtpd's timer a command: the server's sweep closes who is idle (`server.py`)."""

    def cancel(self) -> None:
        pass


_NO_TIMER: Any = _NoTimer()


class Owner(Protocol):
    """The server, as a connection sees it."""

    shared: Shared

    @property
    def tls_context(self) -> ssl.SSLContext | None: ...
    async def admit(self, connection: Connection) -> OwnReply | None: ...
    def left(self, connection: Connection) -> None: ...


class Connection(SMTP):
    """One connection. `waiting_since` (monotonic seconds): when it began to wait for its client; infinite while it works."""

    _closed: asyncio.Future[None]  # StreamReaderProtocol's

    def __init__(
        self,
        owner: Owner,
        server_id: str,
        starttls: bool,
        loop: asyncio.AbstractEventLoop,
        *,
        implicit_tls: bool = False,
    ) -> None:
        # aiosmtpd's own __init__ looks through `dir` and `inspect` at each connection: half of a short session's time.
        # The contract test compares the attributes set here with those that it sets.
        self.loop = loop
        asyncio.StreamReaderProtocol.__init__(
            self,
            asyncio.StreamReader(limit=INPUT_LIMIT, loop=loop),
            client_connected_cb=self._cb_client_connected,
            loop=loop,
        )
        self.event_handler: Any = None
        self.transport: Any = None
        self.envelope: Any = None
        self.session: Any = None
        self._original_transport: Any = None
        self._tls_protocol: Any = None
        self._handler_coroutine: Any = None
        self._timeout_handle: Any = _NO_TIMER
        self.owner = owner
        self.shared = owner.shared
        self.watch = receive.Watch()
        self.waiting_since = math.inf
        self.unit_since = math.inf  # when it began to wait for the command line or message under way
        self.unit_bytes = 0
        self.closing_since = math.inf
        self.gone = False
        self.lingering = False
        self.done = False
        self.client = ""  # as which it is counted
        self.slots: list[str] = []  # those it holds of what several processes share
        self._server_id = server_id
        self._starttls = starttls
        self._implicit_tls = implicit_tls
        self.handshaking = False  # stays so where the handshake fails
        self._out: list[bytes] = []
        self._held_bytes = 0

    # what aiosmtpd calls ------------------------------------------------------------------------------------------

    def _cb_client_connected(self, reader: Any, writer: Any) -> None:
        self._reader: Any = reader
        self._writer: Any = writer

    def _create_session(self) -> Any:
        return Session(self.shared, starttls=self._starttls, server_id=self._server_id)

    def _set_rset_state(self) -> None:
        """The transaction is the session's; aiosmtpd's envelope is not used."""

    def _reset_timeout(self, duration: float | None = None) -> None:
        """No timer a command."""

    def connection_lost(self, error: Exception | None) -> None:
        """End the dialogue; one that is storing a message finishes that first, so that nothing stored is forgotten."""
        self.gone = True
        if self.done:
            self.owner.left(self)
        asyncio.StreamReaderProtocol.connection_lost(self, error)
        if error is not None and self._closed.done():
            self._closed.exception()  # taken note of: left to `__del__`, a collected cycle may complain of it first
        if self._original_transport is not None:
            self._original_transport.close()
        # Within a handshake start_tls says what was wrong.
        if self._handler_coroutine is not None and not self.watch.committing and not self.handshaking:
            self._handler_coroutine.cancel()
        if self.done:
            self._let_go()

    def _let_go(self) -> None:
        """Break the circles of references, so that what the connection held is free now, not at the next collection."""
        self._reader = self._writer = self.transport = self._transport = self._original_transport = None
        self._handler_coroutine = self._tls_protocol = None
        self._client_connected_cb = None

    def data_received(self, data: bytes) -> None:
        """Give it to the reader, which the inherited method looks for by a weak reference."""
        self._reader.feed_data(data)

    def eof_received(self) -> bool:
        """Let what was sent be worked off: a client may close its side and still read (aiosmtpd would drop it all)."""
        reader = self._reader
        if not reader.at_eof() and not self.gone:
            reader.feed_eof()
        return self.session is not None and self.session.tls is None

    async def push(self, status: bytes | str) -> None:
        """Queue a reply; it is written when there is nothing more to read, in one write with its neighbours."""
        self._out.append(status if isinstance(status, bytes) else status.encode("ascii", "replace") + b"\r\n")

    async def handle_exception(self, error: Exception) -> str:
        """Log a fault of ours in full, and tell the peer nothing of it."""
        self.shared.log_fault(error, {"session": self.session.id})
        return str(replies.FAILURE.reply)

    # the loop -----------------------------------------------------------------------------------------------------

    async def _handle_client(self) -> None:
        session: Session = self.session
        try:
            transport = self.transport
            session.placed(transport.get_extra_info("peername"), transport.get_extra_info("sockname"))
            # Counted before the handshake: one that never ends is a connection too.
            refusal = await self.owner.admit(self)
            if self._implicit_tls:
                self.handshaking = True
                if refusal is not None:
                    session.close_with(refusal)  # clear text would mean nothing to the client
                    return
                await self._start_tls(session, begun=bytes(self._reader._buffer))
                if session.closing:
                    return
            if refusal is not None:
                await self.push(session.close_with(refusal))
            else:
                await self._converse(session)
                if not session.quitting:
                    await self._linger()
        except PeerGone:
            pass
        except Exception as error:
            await self.handle_exception(error)
            await self.push(session.close_with(replies.FAILURE_CLOSING))
        finally:
            self._release()
            if session.closing:
                session.closed_by = "local"
            self._flush()
            self.closing_since = self.shared.clock.monotonic()
            self.done = True
            if self.handshaking:  # the transport is no longer ours, or not yet: nobody will tell that it is lost
                self.owner.left(self)
                self.transport.abort()
            elif self.gone:
                self.owner.left(self)
                self._let_go()
            else:
                self.transport.close()

    async def _converse(self, session: Session) -> None:
        reader = self._reader
        buffer: bytearray = reader._buffer
        greeting = await session.greet()
        delay_s = session.settings.greeting_delay_s
        if delay_s > 0 and not session.closing:
            await self.shared.clock.sleep(delay_s)
        if buffer and not session.closing:
            buffer.clear()
            greeting = session.close_with(replies.TOO_SOON)
        await self.push(greeting)
        turns = 0
        while not session.closing:
            end = buffer.find(b"\n")
            if end >= 0:
                self.unit_since = math.inf
                turns += 1
                if turns > COMMANDS_A_TURN:
                    turns = 0
                    await asyncio.sleep(0)
                line = bytes(buffer[: end + 1])
                del buffer[: end + 1]
                try:
                    if session.proxying and _is_framed(line):
                        line = await self._proxied(session, line)
                    found = self._find_command(session, line) if line else None
                    if found is not None:
                        method, argument = found
                        await method(self, argument)
                except PeerGone:
                    raise
                except Exception as error:
                    await self.push((await self.handle_exception(error)).encode("ascii") + b"\r\n")
                continue
            if len(buffer) > LONGEST_LINE:
                await self._swallow_line(session, buffer)
                continue
            if self.shared.stopping and session.transaction is None:
                await self.push(session.close_with(replies.SHUTTING_DOWN))
                return
            turns = 0
            await self._more()

    async def _more(self) -> None:
        """Send what is to be sent and wait for more input. Raises PeerGone when there will be none."""
        self._flush()
        reader = self._reader
        if self.gone or reader._eof:
            raise PeerGone
        self.waiting_since = now = self.shared.clock.monotonic()
        if self.unit_since == math.inf:
            self.unit_since = now
        try:
            if self.transport.get_write_buffer_size() > OUTPUT_LIMIT:
                await self._writer.drain()
            if reader._paused:
                reader._paused = False
                self.transport.resume_reading()
            # What the reader's own method does, once for each piece of input; `feed_data` and `feed_eof` wake it.
            reader._waiter = waiter = self.loop.create_future()
            try:
                await waiter
            finally:
                reader._waiter = None
        except OSError as error:  # ssl.SSLError is one
            raise PeerGone from error
        self.waiting_since = math.inf

    def _flush(self) -> None:
        out = self._out
        if out:
            if not self.gone and self.transport is not None:
                self.transport.write(out[0] if len(out) == 1 else b"".join(out))
            out.clear()

    async def _linger(self) -> None:
        """Say the last reply, and drop what a client that was turned away still sends, until it closes or says too much.

        Closed with input unread, the connection would be reset, and the reply be lost to many a client.
        """
        self._flush()
        reader = self._reader
        in_clear = self._original_transport is None and self.transport.can_write_eof()  # TLS cannot be closed by halves
        if self.gone or self.shared.stopping or not in_clear:
            return
        self.lingering = True
        self.closing_since = self.shared.clock.monotonic()
        dropped = 0
        with contextlib.suppress(OSError):  # it may have gone already
            self.transport.write_eof()
            while not (self.gone or reader.at_eof()) and dropped < SWALLOW_LIMIT:
                dropped += len(reader._buffer)
                reader._buffer.clear()
                await reader._wait_for_data("hslpy")

    async def _swallow_line(self, session: Session, buffer: bytearray) -> None:
        """Drop an overlong command line up to its end, keeping none of it."""
        dropped = 0
        while (end := buffer.find(b"\n")) < 0:
            dropped += len(buffer)
            buffer.clear()
            if dropped > SWALLOW_LIMIT:
                await self.push(session.close_with(replies.LINE_TOO_LONG))
                return
            await self._more()
        del buffer[: end + 1]
        await self.push(session.fault(replies.LINE_TOO_LONG))

    async def _proxied(self, session: Session, line: bytes) -> bytes:
        """Give the line to run in place of a framed one, empty where the proxy hook answered."""
        command, answer = await session.proxied(line[:-2])
        if answer:
            self._out.append(answer)
            return b""
        return command + b"\r\n"

    def _find_command(self, session: Session, line: bytes) -> tuple[Method, str] | None:
        """Give the method for a line and its argument, None for one that was refused."""
        sound = _SOUND_LINE(line) or (_UTF8_LINE(line) if is_sound_utf8(line[:-2]) else None)
        if sound is None:
            wrong = line_fault(line)
            self._out.append(session.unrecognized() if wrong is replies.UNKNOWN else session.fault(wrong))
            return None
        verb, argument = sound[1].upper(), sound[2]
        if len(line) > COMMAND_LIMIT and len(line) > COMMAND_LIMITS.get(verb, COMMAND_LIMIT):
            self._out.append(session.fault(replies.LINE_TOO_LONG))
            return None
        method = COMMANDS.get(verb)
        if method is None:
            self._out.append(session.unrecognized(verb))
            return None
        # Only what may be followed by other commands in one write may have any input behind it (RFC 2920 section 3.1).
        if verb in LAST_IN_GROUP and self._reader._buffer:
            self._out.append(self._early_talk(session))
            return None
        return method, argument.decode("latin-1").strip(" \t") if argument else ""

    def _early_talk(self, session: Session) -> bytes:
        self._reader._buffer.clear()
        return session.close_with(replies.EARLY_TALK)

    # commands, under aiosmtpd's names -----------------------------------------------------------------------------

    async def smtp_HELO(self, hostname: str) -> None:
        await self._hello("HELO", hostname)

    async def smtp_EHLO(self, hostname: str) -> None:
        await self._hello("EHLO", hostname)

    async def _hello(self, verb: str, hostname: str) -> None:
        reply = await self.session.hello(verb, hostname)
        await self.push(self._early_talk(self.session) if self._reader._buffer else reply)

    async def smtp_MAIL(self, arg: str | None) -> None:
        self._out.append(await self.session.mail(arg or ""))

    async def smtp_RCPT(self, arg: str | None) -> None:
        self._out.append(await self.session.rcpt(arg or ""))

    async def smtp_RSET(self, arg: str) -> None:
        await self.push(self.session.reset(arg))

    async def smtp_NOOP(self, arg: str) -> None:
        await self.push(replies.RESET.wire)

    async def smtp_QUIT(self, arg: str) -> None:
        await self.push(self.session.quit(arg))

    async def smtp_HELP(self, arg: str) -> None:
        await self.push(replies.HELP.wire)

    async def smtp_VRFY(self, arg: str) -> None:
        await self.push(replies.VERIFY.wire)

    async def smtp_EXPN(self, arg: str) -> None:
        await self.push(self.session.fault(replies.NOT_IMPLEMENTED))

    async def smtp_BDAT(self, arg: str) -> None:
        await self.push(self.session.chunk(arg))

    async def smtp_AUTH(self, arg: str) -> None:
        session = self.session
        reply = await authenticate(session, arg, self._challenge)
        if reply:
            await self.push(self._early_talk(session) if self._reader._buffer else reply)

    async def _challenge(self, text: bytes) -> bytes | None:
        """Send a 334 and give the client's line, None where it was no line to go on with."""
        await self.push(b"334 " + text + b"\r\n")
        buffer: bytearray = self._reader._buffer
        while (end := buffer.find(b"\n")) < 0:
            if len(buffer) > LONGEST_LINE:
                await self._swallow_line(self.session, buffer)
                return None
            await self._more()
        self.unit_since = math.inf
        line = bytes(buffer[: end + 1])
        del buffer[: end + 1]
        if buffer:
            await self.push(self._early_talk(self.session))
            return None
        if line[-2:-1] != b"\r" or b"\r" in line[:-2] or len(line) > LONGEST_LINE:
            await self.push(self.session.fault(replies.BARE_LINE_END))
            return None
        return line[:-2]

    async def smtp_STARTTLS(self, arg: str) -> None:
        session: Session = self.session
        refusal = session.starttls_refusal(arg)
        if refusal is not None:
            await self.push(refusal)
            return
        await self.push(replies.START_TLS.wire)
        self._flush()
        await self._start_tls(session)

    async def _start_tls(self, session: Session, begun: bytes = b"") -> None:
        """Go on under TLS; the session is closing where that fails. `begun`: what came of the handshake. Raises PeerGone."""
        if self.gone or self._reader._eof:
            raise PeerGone
        # Up to its first suspension start_tls takes the socket over: no more clear text can come into the buffer, and what
        # is in it afterwards was sent under TLS, at times together with the end of the handshake.
        self._reader._buffer.clear()
        self._original_transport = self.transport
        self.handshaking = True
        if begun:  # run before what start_tls itself has run soon: the handshake's beginning, and more reading
            self.loop.call_soon(_give, self.transport, begun)
        error: object = "the client left"
        secure: Any = None
        try:
            secure = await self.loop.start_tls(
                self.transport,
                self,
                self.owner.tls_context,  # type: ignore[arg-type]  # a listener has no TLS without one
                server_side=True,
                ssl_handshake_timeout=TLS_HANDSHAKE_S,
            )
        except OSError as failure:  # ssl.SSLError is one
            error = failure
        if secure is None:
            self.shared.log("smtp.tls_failed", {"session": session.id, "remote_ip": session.remote_ip, "error": str(error)})
            session.closing = True
            return
        self.handshaking = False
        self._reader._transport = secure
        self._writer._transport = secure
        self._transport = secure
        self._over_ssl = True
        self.transport = secure
        session.secured(tls_facts(secure.get_extra_info("ssl_object")))

    async def smtp_DATA(self, arg: str) -> None:
        session: Session = self.session
        refusal = session.data_refusal(arg)
        if refusal is not None:
            await self.push(refusal)
            return
        self._out.append(replies.GO_AHEAD.wire)
        try:
            raw = await self._read_message(session)
        except PeerGone:
            raise
        except Exception:
            # Out of step with the client: what comes next may be the middle of a message.
            session.closing = True
            raise
        try:
            if isinstance(raw, OwnReply):
                await self.push(receive.refused(session, raw))
            else:
                self._out.append(await receive.end_of_data(session, raw, self.watch, self._hung_up))
        finally:
            self._release()

    async def _read_message(self, session: Session) -> bytes | OwnReply:
        """Read up to the lone dot; give the content, or why it was not kept, which is said after it all came."""
        settings, shared, reader = session.settings, self.shared, self._reader
        buffer: bytearray = reader._buffer
        # Transparency dots do not count (RFC 1870 section 3): at most one in three bytes is one.
        most = settings.size_limit_bytes + settings.size_limit_bytes // 3 + len(framing.END)
        reader._limit = most
        seen, fresh = 0, True
        line_ends = framing.LineEnds()
        refusal: OwnReply | None = None
        try:
            if not buffer:
                await self._more()
            while True:
                end = framing.find_end(buffer, seen, fresh)
                size = len(buffer)
                self.unit_bytes += size - seen
                if refusal is None:
                    self._held_bytes += size - seen
                    has_memory = shared.has_memory(self.client, size - seen)
                    if (end if end >= 0 else size) > most:
                        refusal = replies.TOO_BIG
                    elif not has_memory:
                        refusal = replies.NO_MEMORY
                if end >= 0:
                    break
                seen = size
                if refusal is None:
                    line_ends.arrived(buffer)
                else:
                    self._release()
                    del buffer[: 1 - len(framing.END)]
                    seen, fresh = len(buffer), False
                await self._more()
            if refusal is None and line_ends.ended(buffer, end):
                refusal = replies.BARE_IN_MESSAGE
                if buffer.startswith(b"\r\r\n", max(0, end - 3)):
                    # To a client that takes CR CR LF for no end of line, the message goes on past what we took for its
                    # end: what follows would be run as commands (SMTP smuggling).
                    session.closing = True
            raw = b"" if refusal is not None else bytes(memoryview(buffer)[:end])
            del buffer[: end + framing.END_SKIP]
        finally:
            reader._limit = INPUT_LIMIT
            self.unit_since, self.unit_bytes = math.inf, 0
        return raw if refusal is None else refusal

    def _release(self) -> None:
        if self._held_bytes:
            self.shared.forget_memory(self.client, self._held_bytes)
            self._held_bytes = 0

    def _hung_up(self) -> bool:
        """The client is known to have left: closed, or closed its side with nothing (no QUIT) behind the message."""
        return self.gone or (self._reader._eof and not self._reader._buffer)

    # what the server calls ----------------------------------------------------------------------------------------

    def sweep(self, now: float) -> None:
        """Close a client silent for too long, cancel a hook that is too late."""
        settings = self.shared.settings
        if now - self.closing_since >= CLOSE_S:
            self.transport.abort()
        elif (
            now - self.waiting_since >= settings.idle_timeout_s
            or now - self.unit_since >= settings.idle_timeout_s + self.unit_bytes / SLOWEST_BYTES_A_S
        ):
            self.say_goodbye(replies.IDLE)
        elif now >= self.watch.deadline and not self.watch.late:
            self.watch.late = True
            self._handler_coroutine.cancel()

    def say_goodbye(self, reply: OwnReply) -> None:
        """Say 421 to a client that is waited for, and close."""
        session: Session = self.session
        if self.transport is None or self.gone or session.closing:
            return
        session.close_with(reply)
        self.closing_since = self.shared.clock.monotonic()
        self._out.append(reply.wire)
        self._flush()
        if self.transport.get_write_buffer_size() > OUTPUT_LIMIT:
            self.transport.abort()
        else:
            self.transport.close()

    def drop(self) -> None:
        """Close at once, unless a message is being stored."""
        if not self.watch.committing:
            if self.transport is not None:
                self.transport.abort()
            if self._handler_coroutine is not None:
                self._handler_coroutine.cancel()


Method = Callable[[Connection, str], Awaitable[None]]

COMMANDS: dict[bytes, Method] = {
    b"EHLO": Connection.smtp_EHLO,
    b"HELO": Connection.smtp_HELO,
    b"MAIL": Connection.smtp_MAIL,
    b"RCPT": Connection.smtp_RCPT,
    b"DATA": Connection.smtp_DATA,
    b"RSET": Connection.smtp_RSET,
    b"NOOP": Connection.smtp_NOOP,
    b"QUIT": Connection.smtp_QUIT,
    b"HELP": Connection.smtp_HELP,
    b"VRFY": Connection.smtp_VRFY,
    b"EXPN": Connection.smtp_EXPN,
    b"BDAT": Connection.smtp_BDAT,
    b"STARTTLS": Connection.smtp_STARTTLS,
    b"AUTH": Connection.smtp_AUTH,
}
LAST_IN_GROUP = frozenset({b"EHLO", b"HELO", b"DATA", b"STARTTLS", b"AUTH", b"BDAT"})


def _is_framed(line: bytes) -> bool:
    """Say whether a line is one: CRLF at its end, no other CR and no NUL, and not too long for any command."""
    return line[-2:-1] == b"\r" and b"\r" not in line[:-2] and b"\0" not in line and len(line) <= LONGEST_LINE


def line_fault(line: bytes) -> OwnReply:
    """Give what is wrong with a line that is no command."""
    if line[-2:-1] != b"\r" or b"\r" in line[:-2]:
        return replies.BARE_LINE_END
    if len(line) > COMMAND_LIMIT:
        return replies.LINE_TOO_LONG
    verb, _, argument = line[:-2].partition(b" ")
    if verb.upper() in (b"MAIL", b"RCPT") and not argument.isascii() and b"\0" not in argument:
        return replies.ADDRESS_8BIT
    text = line[:-2].replace(b"\t", b" ")
    return replies.UNKNOWN if all(b" " <= bytes((byte,)) <= b"~" for byte in text) else replies.BAD_CHARACTER


def _give(transport: Any, data: bytes) -> None:
    """Give the transport's protocol, which by now is that of TLS, what was read before it was there."""
    protocol = transport.get_protocol()
    while data and not transport.is_closing():
        view = protocol.get_buffer(len(data))
        part = data[: len(view)]
        view[: len(part)] = part
        protocol.buffer_updated(len(part))
        data = data[len(part) :]


def tls_facts(secure: Any) -> TlsFacts:
    """Give the protocol, cipher and key size of an ssl object, with the name the client asked for."""
    cipher = secure.cipher() or ("", "", 0)
    return TlsFacts(secure.version() or "", cipher[0], int(cipher[2] or 0), getattr(secure, "asked_name", None))

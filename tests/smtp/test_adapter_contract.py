"""What the adapter takes for granted of aiosmtpd 1.4.6 and of asyncio's streams, checked against what is installed.

A failure here after an upgrade names the override to look at again.
"""

from __future__ import annotations

import asyncio
import inspect
from typing import Any

import aiosmtpd
import pytest
from aiosmtpd.smtp import SMTP

from hslpy.clock import SystemClock
from hslpy.smtp import replies
from hslpy.smtp.adapter import COMMANDS, Connection
from hslpy.smtp.server import SmtpServer
from hslpy.smtp.settings import SmtpSettings
from tests.smtp.harness import FakeHooks, run


async def _accept(_message: Any) -> Any:
    return ()


def _connection() -> Connection:
    server = SmtpServer(SmtpSettings(), FakeHooks(), _accept, SystemClock(), lambda: "id", lambda *_: None)
    return Connection(server, "mailserver:1", False, asyncio.get_running_loop())


def test_the_version_is_the_pinned_one() -> None:
    assert aiosmtpd.__version__ == "1.4.6"


def test_our_init_sets_what_the_inherited_methods_read() -> None:
    """`__init__` is not called. What of its attributes we leave out must be read only by methods that we replaced."""

    async def work() -> None:
        theirs = set(vars(SMTP(object(), hostname="x", loop=asyncio.get_running_loop())))
        ours = set(vars(_connection()))
        left_out = theirs - ours
        inherited = [
            function
            for name, function in inspect.getmembers(SMTP, inspect.isfunction)
            if name not in vars(Connection)
            and name in ("connection_made", "_create_envelope", "__del__", "_set_post_data_state")
        ]
        assert len(inherited) == 4
        for function in inherited:
            used = {name for name in left_out if f"self.{name}" in inspect.getsource(function)}
            # connection_made reads its STARTTLS hooks only in its own way of starting TLS, which we do not use
            assert used <= {"_handle_hooks", "_tls_handshake_okay"}, function

    run(work)


@pytest.mark.parametrize(
    "name",
    sorted(
        name
        for name in vars(SMTP)
        if name.startswith("smtp_")
        or name in ("push", "handle_exception", "_handle_client", "_reset_timeout", "eof_received")
    ),
)
def test_every_command_is_ours(name: str) -> None:
    """aiosmtpd's commands answer without enhanced codes, and several of them too kindly."""
    own = vars(Connection)[name]
    assert [*inspect.signature(own).parameters] == [*inspect.signature(getattr(SMTP, name)).parameters]
    if name.startswith("smtp_"):
        assert COMMANDS[name[5:].encode()] is own


def test_what_connection_made_does() -> None:
    """It asks for a session, forgets the transaction, hands over reader and writer, and starts our loop as a task."""

    async def work() -> None:
        connection = _connection()
        seen: list[str] = []

        class Transport(asyncio.Transport):
            def get_extra_info(self, name: str, default: Any = None) -> Any:
                return ("192.0.2.1", 1234) if name == "peername" else default

            def is_closing(self) -> bool:
                return True

        async def handle() -> None:
            seen.append("handled")

        connection._handle_client = handle  # type: ignore[method-assign]
        transport = Transport()
        connection.connection_made(transport)
        assert connection.transport is transport and connection.session.peer == ("192.0.2.1", 1234)
        assert connection._reader is connection._stream_reader and connection._writer.transport is transport
        await connection._handler_coroutine
        assert seen == ["handled"]

    run(work)


def test_what_we_use_of_the_stream_reader() -> None:
    async def work() -> None:
        reader: Any = asyncio.StreamReader(limit=10)
        assert isinstance(reader._buffer, bytearray) and reader._limit == 10 and reader._eof is False
        assert [*inspect.signature(reader._wait_for_data).parameters] == ["func_name"]
        waiting = asyncio.create_task(reader._wait_for_data("test"))
        await asyncio.sleep(0)
        reader.feed_data(b"abc")
        await waiting
        assert reader._buffer == b"abc"
        # the adapter waits by itself: what comes sets the waiter's result and forgets the waiter
        for feed in (lambda: reader.feed_data(b"d"), reader.feed_eof):
            waiter = reader._waiter = asyncio.get_running_loop().create_future()
            feed()
            assert waiter.done() and reader._waiter is None
        reader = asyncio.StreamReader(limit=10)
        assert reader._paused is False
        # pausing: over twice the limit; waiting for more resumes
        calls: list[str] = []

        class Transport(asyncio.Transport):
            def pause_reading(self) -> None:
                calls.append("pause")

            def resume_reading(self) -> None:
                calls.append("resume")

        reader.set_transport(Transport())
        reader.feed_data(b"x" * 30)
        waiting = asyncio.create_task(reader._wait_for_data("test"))
        await asyncio.sleep(0)
        reader.feed_eof()
        await waiting
        assert calls == ["pause", "resume"] and reader._eof

    run(work)


def test_every_reply_is_sound() -> None:
    """Each of our own has an enhanced code of its own class, is one line and fits the line limit."""
    for row in replies.TABLE:
        assert row.wire == row.reply.render() and row.wire.count(b"\r\n") == 1 and len(row.wire) <= 512 and row.when
        if row.reply.code != 354:
            assert row.reply.enhanced is not None
            # 538 5.7.11 and the like: the class is the code's first digit
            assert row.reply.enhanced[0] == row.reply.code // 100
    assert len({row.wire for row in replies.TABLE}) >= len(replies.TABLE) - 2

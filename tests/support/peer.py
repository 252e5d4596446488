"""A server in a thread, for tests of what connects: `answer(connection)` serves one connection after another."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable, Iterator

PATIENCE_S = 60.0  # a test that waits longer for its peer has gone wrong


@contextlib.contextmanager
def peer(answer: Callable[[socket.socket], None], listener: socket.socket | None = None) -> Iterator[int]:
    """Serve on a port of loopback, or on `listener`, and give the port. What `answer` raises is raised at the end."""
    if listener is None:
        listener = socket.create_server(("127.0.0.1", 0))
    failures: list[BaseException] = []

    def serve() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            with connection:
                connection.settimeout(PATIENCE_S)
                try:
                    answer(connection)
                except BaseException as error:
                    failures.append(error)

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        name = listener.getsockname()
        yield name[1] if isinstance(name, tuple) else 0
    finally:
        with contextlib.suppress(OSError):
            listener.shutdown(socket.SHUT_RDWR)
        thread.join(PATIENCE_S)
        listener.close()
    if failures:
        raise failures[0]

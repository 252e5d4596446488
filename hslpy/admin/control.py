"""The control socket: how commands reach the process that owns the queue. In: JSON lines. Out: JSON lines.

A request is `{"command": "queue.list", "arguments": {...}}`, its answer `{"ok": true, "result": ...}` or
`{"ok": false, "error": "...", "hint": "..."}`. The socket's folder is the server's own (0700); nothing here decides.
"""

from __future__ import annotations

import asyncio
import json
import os
import socket
import sys
import traceback
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from hslpy.errors import OperatorError
from hslpy.log import Log
from hslpy.spool.contract import SpoolError

Handler = Callable[[Mapping[str, Any]], Awaitable[Any]]

LONGEST_REQUEST_BYTES = 1 << 20  # an id list of a hundred thousand recipients fits

LONGEST_ANSWER_BYTES = 1 << 26  # a message of 25 MB as JSON, and ten thousand rows, fit

LONGEST_PATH = 107  # sun_path of Linux, less its final NUL


@contextmanager
def reachable(path: Path) -> Iterator[str]:
    """Give a name of the socket at `path` that is short enough to bind or connect to, while the context lasts."""
    if len(os.fsencode(path)) <= LONGEST_PATH:
        yield str(path)
        return
    folder = os.open(path.parent, os.O_PATH | os.O_DIRECTORY)
    try:
        yield f"/proc/self/fd/{folder}/{path.name}"
    finally:
        os.close(folder)


async def process_at(path: Path) -> int | None:
    """Give the id of the process that listens at `path`, None when none does."""
    try:
        with reachable(path) as name:
            _, writer = await asyncio.open_unix_connection(name)
    except OSError:
        return None
    try:
        peer: bytes = writer.get_extra_info("socket").getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)
        return int.from_bytes(peer[:4], sys.byteorder)
    finally:
        writer.close()


async def ask(path: Path, command: str, arguments: Mapping[str, Any], timeout_s: float = 30.0) -> Any:
    """Give the answer of the server that listens at `path`. Raises OperatorError: nobody does, or it refuses."""
    try:
        async with asyncio.timeout(timeout_s):
            with reachable(path) as name:
                reader, writer = await asyncio.open_unix_connection(name, limit=LONGEST_ANSWER_BYTES)
            try:
                writer.write(json.dumps({"command": command, "arguments": arguments}).encode() + b"\n")
                await writer.drain()
                answer = json.loads(await reader.readline())
            finally:
                writer.close()
    except (OSError, ValueError) as error:  # TimeoutError is an OSError
        raise OperatorError(f"no server answers at {path}", hint="is `hslpy serve` running?") from error
    if not answer["ok"]:
        raise OperatorError(answer["error"], hint=answer.get("hint"), exit_code=1)
    return answer["result"]


class ControlServer:
    """Listens at `path` and answers with what `handlers` give, by command name."""

    def __init__(self, path: Path, handlers: Mapping[str, Handler], log: Log) -> None:
        self.path = path
        self._handlers = handlers
        self._log = log
        self._server: asyncio.Server | None = None

    async def start(self) -> None:
        """Listen. Raises OperatorError when another process answers there or the path can't be used."""
        await self.check()
        old = os.umask(0o177)
        try:
            self.path.unlink(missing_ok=True)  # left over from a process that was killed
            with reachable(self.path) as name:
                self._server = await asyncio.start_unix_server(self._serve, name, limit=LONGEST_REQUEST_BYTES)
        except OSError as error:
            raise OperatorError(
                f"can't listen at {self.path}: {error.strerror or error}",
                hint="its folder must be there and writable",
            ) from error
        finally:
            os.umask(old)

    async def check(self) -> None:
        """Raises OperatorError when another process answers at the path."""
        other = await process_at(self.path)
        if other is not None:
            raise OperatorError(
                f"another server, process {other}, listens at {self.path}",
                hint="stop it, or set another server.data_dir",
            )

    async def stop(self) -> None:
        if self._server is not None:
            self._server.close()
            self.path.unlink(missing_ok=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while line := await reader.readline():
                answer = await self._answer(line)
                writer.write(json.dumps(answer, separators=(",", ":")).encode() + b"\n")
                await writer.drain()
        except (ConnectionError, ValueError):
            pass  # the command went away, or sent a line past the limit
        finally:
            writer.close()

    async def _answer(self, line: bytes) -> dict[str, Any]:
        try:
            request = json.loads(line)
            command, arguments = request["command"], request.get("arguments", {})
        except (ValueError, TypeError, KeyError, AttributeError):
            return _UNKNOWN
        return await answer_with(self._handlers, command, arguments, self._log)


_UNKNOWN = {"ok": False, "error": "not a known control request"}


async def answer_with(handlers: Mapping[str, Handler], command: Any, arguments: Any, log: Log) -> dict[str, Any]:
    """Give the answer to a request, whatever the handler does; a fault of ours is logged in full."""
    handler = handlers.get(command) if isinstance(command, str) else None
    if handler is None or not isinstance(arguments, dict):
        return _UNKNOWN
    try:
        return {"ok": True, "result": await handler(arguments)}
    except OperatorError as error:
        return {"ok": False, "error": error.message, "hint": error.hint}
    except SpoolError as error:  # the disk's fault, or what it gave back is not what was written
        return {"ok": False, "error": str(error), "hint": "see `When things go wrong` in docs/guide/operating.md"}
    except Exception as error:
        text = "".join(traceback.format_exception(error))
        log("control.fault", {"level": "error", "command": command, "error": repr(error), "text": text})
        return {"ok": False, "error": "the server failed to answer; its log has the story"}

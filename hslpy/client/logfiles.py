"""Log files of scripts, by id. In: lines. Out: appended bytes, on a thread of their own, in the order they came.

A file that was moved away, as log rotation does, is opened anew. Must not know what is written.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from hslpy.records import dataclass

_MODE = 0o640  # logs are read by the group, as of syslog's files


@dataclass(frozen=True, slots=True)
class LogFileSettings:
    """A file that scripts may append to. With `fsync` each write is on the disk before the script goes on."""

    id: str
    path: Path
    fsync: bool = False


class LogFiles:
    """The files of the settings; nothing is opened before the first write."""

    def __init__(self, files: Sequence[LogFileSettings] = ()) -> None:
        self.by_id = {file.id: file for file in files}
        self._open: dict[str, int] = {}
        self._thread = ThreadPoolExecutor(1, "script-logs") if files else None

    async def append(self, name: str, data: bytes) -> None:
        """Append to the file of that id, which there is. Raises OSError."""
        assert self._thread is not None
        await asyncio.get_running_loop().run_in_executor(self._thread, self._append, self.by_id[name], data)

    def _append(self, file: LogFileSettings, data: bytes) -> None:
        handle = self._handle(file)
        while data:
            data = data[os.write(handle, data) :]
        if file.fsync:
            os.fsync(handle)

    def _handle(self, file: LogFileSettings) -> int:
        handle = self._open.get(file.id)
        if handle is not None:
            try:
                if os.path.samestat(os.fstat(handle), os.stat(file.path)):
                    return handle
            except FileNotFoundError:
                pass
            os.close(self._open.pop(file.id))
        handle = self._open[file.id] = os.open(file.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, _MODE)
        return handle

    async def close(self) -> None:
        """Close the files once what is being written has been."""
        if self._thread is not None:
            await asyncio.to_thread(self._thread.shutdown)
        while self._open:
            os.close(self._open.popitem()[1])

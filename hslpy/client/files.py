"""Files that scripts read: which there are, and one that is open. In: names and folders. Out: bytes; never a write.

Which files a script may read is the operator's choice: those below `folders`, by default below the folders of the script
and of its modules, and of the library. Symbolic links are the operator's, and followed. Raises OSError, and FileRefused
for a path outside. Source: the class File of the HSL manual, 2019; `file:` and `file://` of 2015.
"""

from __future__ import annotations

import io
import os
import stat
from collections.abc import Iterable
from pathlib import Path
from typing import BinaryIO

from hslpy.records import dataclass

_SCHEMES = ("file://", "file:")
_BUFFER_BYTES = 1 << 16


class FileRefused(Exception):
    """A path that the settings don't let scripts read; the text says where they may."""


@dataclass(frozen=True, slots=True)
class Files:
    """The folders that scripts read: `folders` where the settings name some, else `library` and the script's own."""

    folders: tuple[Path, ...] = ()
    library: tuple[Path, ...] = ()

    def open(self, name: str, own: Iterable[Path]) -> ReadFile:
        """Give the file that a script (latin-1) calls `name`; relative names are looked for in each folder in turn."""
        wanted = os.fsdecode(name.encode("latin-1"))
        for scheme in _SCHEMES:
            if wanted.startswith(scheme):
                wanted = wanted.removeprefix(scheme)
                break
        if "\0" in wanted:
            raise FileNotFoundError(name)
        folders = [os.path.abspath(folder) for folder in self.folders or (*own, *self.library)]
        allowed = [path for folder in folders if _is_below(path := os.path.normpath(os.path.join(folder, wanted)), folders)]
        if not allowed:
            raise FileRefused(f"scripts may read files in {', '.join(dict.fromkeys(folders)) or 'no folder'}")
        for path in allowed:
            try:
                return ReadFile(_open_regular(path), path)
            except (FileNotFoundError, NotADirectoryError):
                continue
        raise FileNotFoundError(name)


def _is_below(path: str, folders: Iterable[str]) -> bool:
    return any(path.startswith(os.path.join(folder, "")) for folder in folders)


def _open_regular(path: str) -> BinaryIO:
    """Open a regular file; a pipe or a device, which could wait for ever, is as good as none."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise FileNotFoundError(path)
    return open(descriptor, "rb", buffering=_BUFFER_BYTES)


class ReadFile:
    """A file, or bytes in memory, with a position. `path` is None for bytes; `held_bytes` what these take.

    Every method raises ValueError once it is closed, and OSError.
    """

    def __init__(self, stream: BinaryIO, path: str | None = None, held_bytes: int = 0) -> None:
        self._stream = stream
        self.path = path
        self.held_bytes = held_bytes

    @classmethod
    def of(cls, data: bytes) -> ReadFile:
        """Give a file over bytes."""
        return cls(io.BytesIO(data), None, len(data))

    def __del__(self) -> None:
        self.close()

    def close(self) -> None:
        self._stream.close()
        self.held_bytes = 0

    def left(self) -> int:
        """Give how many bytes there are from here to the end."""
        at = self._stream.tell()
        end = self.held_bytes if self.path is None else os.fstat(self._stream.fileno()).st_size
        return max(0, end - at)

    def read(self, size: int) -> bytes:
        """Give up to `size` bytes, none at the end."""
        return self._stream.read(size)

    def piece_of_line(self, most: int) -> bytes:
        """Give the line from here, or its first `most` bytes; none at the end."""
        return self._stream.readline(most)

    def seek(self, offset: int, whence: int) -> int:
        """Go to an offset by `os.SEEK_SET`, `SEEK_CUR` or `SEEK_END`, and give the new position."""
        return self._stream.seek(offset, whence)

    def tell(self) -> int:
        return self._stream.tell()

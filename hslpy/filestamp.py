"""Whether a file was changed, as far as its folder tells. In: a path. Out: a stamp, to be compared with an earlier one."""

from __future__ import annotations

import os
from pathlib import Path

Stamp = tuple[int, int, int]

NO_FILE: Stamp = (0, -1, 0)


def stamp_of(path: Path) -> Stamp:
    """Give time of change (ns), size (bytes) and inode of what is at the path, NO_FILE where nothing can be looked at."""
    try:
        status = os.stat(path)
    except (OSError, ValueError):  # the latter: a NUL in the name
        return NO_FILE
    return (status.st_mtime_ns, status.st_size, status.st_ino)

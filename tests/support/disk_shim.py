"""Builds `disk_shim.c` and speaks to it: kill this process at its Nth I/O call, record what it does to a folder, or fail.

In: a process started with `environment()`. Out: a death, or a record for `tests/spool/power_cut.py`.
"""

from __future__ import annotations

import ctypes
import os
import subprocess
from collections.abc import Mapping
from pathlib import Path

SOURCE = Path(__file__).with_suffix(".c")


def environment(folder: Path) -> Mapping[str, str]:
    """Give the environment for a process under the shim, which is compiled into `folder`."""
    library = folder / "disk_shim.so"
    command = ["gcc", "-O2", "-Wall", "-fPIC", "-shared", "-o", str(library), str(SOURCE), "-ldl", "-lpthread"]
    subprocess.run(command, check=True)
    return {**os.environ, "LD_PRELOAD": str(library)}


def loaded() -> bool:
    """Say whether this process runs under the shim."""
    return "disk_shim" in os.environ.get("LD_PRELOAD", "")


def kill_after(calls: int, *, torn: bool) -> None:
    """Have this process killed at the I/O call after so many more; `torn` lets a write do half of its work first."""
    ctypes.CDLL(None).shim_kill_after(ctypes.c_long(calls), int(torn))


def calls_left() -> int:
    give = ctypes.CDLL(None).shim_calls_left
    give.restype = ctypes.c_long
    return int(give())


def record(file: Path, folder: Path) -> None:
    """Record what this process does below `folder` into `file`, from now on."""
    descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
    ctypes.CDLL(None).shim_record(descriptor, os.fsencode(folder))


def fail(folder: Path, error: int, *, syncs_only: bool = False) -> None:
    """Have every change below `folder` fail with the system's `error`, or the syncs alone; 0 ends it."""
    ctypes.CDLL(None).shim_fail(os.fsencode(folder), error, int(syncs_only))


def fail_after(calls: int, folder: Path, error: int) -> None:
    """Have every change below `folder` fail from the I/O call after so many more on."""
    ctypes.CDLL(None).shim_fail_after(ctypes.c_long(calls), os.fsencode(folder), error)


def note(text: str) -> None:
    """Put a line of the test's own into the record, in its order."""
    ctypes.CDLL(None).shim_note(text.encode())

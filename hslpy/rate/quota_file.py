"""The counts of an hour in a file, so that a process that is killed has them again. In, out: states by key and name.

A state is a line of its own, written in place by one call and never synced: it outlasts the process, not the machine. What
cannot be written is not kept.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Mapping
from pathlib import Path

from hslpy.rate.quota import MemoryQuotas, State

_LINE_BYTES = 256

Key = tuple[str, str]


class QuotaFile:
    """The file at `path`: of one process, made with the first state. `close` when done."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: int | None = None
        self._lines: dict[Key, int] = {}

    def read(self) -> tuple[int, Mapping[Key, State]]:
        """Give the latest hour that there are states of, and these; lines that were cut short are none."""
        latest, found = 0, dict[Key, State]()
        try:
            lines = self._path.read_bytes().splitlines()
        except OSError:
            return latest, found
        for line in lines:
            with contextlib.suppress(ValueError, TypeError):
                hour, key, name, count, busy_until_ms = json.loads(line)
                if hour > latest:
                    latest, found = hour, {}
                if hour == latest:
                    found[key, name] = State(count, busy_until_ms)
        return latest, found

    def begin(self, hour: int, states: Mapping[Key, State]) -> None:
        """Drop what was kept, and keep these."""
        self._lines = {}
        with contextlib.suppress(OSError):
            if self._file is not None:
                os.ftruncate(self._file, 0)
        for key, state in states.items():
            self.keep(hour, key, state)

    def keep(self, hour: int, key: Key, state: State) -> None:
        line = json.dumps([hour, *key, state.count, state.busy_until_ms]).encode()
        if len(line) >= _LINE_BYTES:
            return
        at = self._lines.setdefault(key, len(self._lines)) * _LINE_BYTES
        with contextlib.suppress(OSError):
            if self._file is None:
                self._file = os.open(self._path, os.O_WRONLY | os.O_CREAT, 0o600)
            os.pwrite(self._file, line.ljust(_LINE_BYTES - 1) + b"\n", at)

    def close(self) -> None:
        if self._file is not None:
            os.close(self._file)
            self._file = None


def quotas_of_node(folder: Path) -> MemoryQuotas:
    """Give the counters of all processes of a node, which outlast a kill: in a file of its data folder."""
    return MemoryQuotas(QuotaFile(folder / "warm-up.counts"))

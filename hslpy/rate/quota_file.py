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

from hslpy.rate.quota import HOUR_MS, MemoryQuotas, State

_LINE_BYTES = 256
_MOST = 1 << 40  # messages in an hour: more is damage
_FAR_MS = 24 * HOUR_MS  # from the hour that it is of: further is damage

Key = tuple[str, str]


class QuotaFile:
    """The file at `path`: of one process, made with the first state. `close` when done."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: int | None = None
        self._lines: dict[Key, int] = {}

    def begin(self, hour: int) -> Mapping[Key, State]:
        """Give the states of that hour, and drop all else: damaged lines, and those of another hour."""
        states = self._read(hour)
        self._lines = {key: at for at, key in enumerate(states)}
        lines = b"".join(_line(hour, key, state) for key, state in states.items())
        with contextlib.suppress(OSError):
            if lines or self._path.exists():
                file = self._opened()
                os.pwrite(file, lines, 0)  # lines only move up: whoever is killed here has lost none
                os.ftruncate(file, len(lines))
        return states

    def keep(self, hour: int, key: Key, state: State) -> None:
        line = _line(hour, key, state)
        if len(line) != _LINE_BYTES:
            return
        at = self._lines.setdefault(key, len(self._lines)) * _LINE_BYTES
        with contextlib.suppress(OSError):
            os.pwrite(self._opened(), line, at)

    def close(self) -> None:
        if self._file is not None:
            os.close(self._file)
            self._file = None

    def _opened(self) -> int:
        if self._file is None:
            self._file = os.open(self._path, os.O_WRONLY | os.O_CREAT, 0o600)
        return self._file

    def _read(self, hour: int) -> dict[Key, State]:
        """Give the states of an hour; of two lines of one key that with more, for the other may be an old one."""
        found = dict[Key, State]()
        try:
            whole = self._path.read_bytes()
        except OSError:
            return found
        for start in range(0, len(whole), _LINE_BYTES):  # by place: what is damaged takes no other line along
            with contextlib.suppress(ValueError, TypeError):
                of, key, name, count, busy_until_ms = json.loads(whole[start : start + _LINE_BYTES])
                if [type(one) for one in (of, key, name, count, busy_until_ms)] != [int, str, str, int, int]:
                    continue
                is_sane = 0 <= count <= _MOST and abs(busy_until_ms - hour * HOUR_MS) <= _FAR_MS
                if of == hour and is_sane and count >= found.get((key, name), State()).count:
                    found[key, name] = State(count, busy_until_ms)
        return found


def _line(hour: int, key: Key, state: State) -> bytes:
    return json.dumps([hour, *key, state.count, state.busy_until_ms]).encode().ljust(_LINE_BYTES - 1) + b"\n"


def quotas_of_node(folder: Path) -> MemoryQuotas:
    """Give the counters of all processes of a node, which outlast a kill: in a file of its data folder."""
    return MemoryQuotas(QuotaFile(folder / "warm-up.counts"))

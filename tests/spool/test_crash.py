"""A process killed at any moment loses nothing it acknowledged, and leaves nothing half written."""

from __future__ import annotations

import asyncio
import random
import signal
import subprocess
import sys
import zlib
from pathlib import Path

import pytest

from hslpy.spool.sqlite import SpoolSettings, SqliteSpool

_POINTS = ("taken", "appended", "begun", "written", "committed", "woken", "body written", "body renamed", "body synced")


class Ledger:
    """What the killed processes said, over all restarts."""

    def __init__(self) -> None:
        self.stored: dict[int, str] = {}
        self.asked: set[int] = set()
        self.removed: set[int] = set()
        self.changed: set[int] = set()
        self.reports_asked: set[int] = set()
        self.reported: set[int] = set()

    def read(self, lines: list[str]) -> None:
        for line in lines:
            queue_id, _, rest = line[1:].partition(" ")
            if line[0] == "+":
                assert int(queue_id) not in self.stored, "an id was given twice"
                self.stored[int(queue_id)] = rest
            elif line[0] == "-":
                self.asked.add(int(queue_id))
            elif line[0] == "=":
                self.removed.add(int(queue_id))
            elif line[0] == "?":
                self.reports_asked.add(int(queue_id))
            elif line[0] == "!":
                self.reported.add(int(queue_id))
            elif line[0] == "~":
                self.changed.add(int(queue_id))

    async def check(self, folder: Path) -> None:
        spool = SqliteSpool(SpoolSettings(folder, min_free_bytes=0))
        await spool.open()
        there = {}
        async for batch in spool.recover():
            for entry in batch:
                content = await spool.read(entry.message_id, entry.variant)
                assert str(zlib.crc32(content)) == entry.metadata["crc"], "half a message"
                there[entry.queue_id] = entry
        reports = {int(entry.metadata["of"]) for entry in there.values() if "of" in entry.metadata}
        assert self.reported <= reports, "an acknowledged report is lost"
        for queue_id in self.reports_asked - self.asked:
            assert (queue_id in there) != (queue_id in reports), "neither recipient nor report, or both"
        assert set(self.stored) - self.asked - self.reports_asked <= set(there), "an acknowledged recipient is lost"
        assert not self.removed & set(there), "a removed recipient is back"
        assert all(there[queue_id].retries == 7 for queue_id in self.changed & set(there))
        for queue_id in set(there) & set(self.stored):
            assert there[queue_id].metadata["crc"] == self.stored[queue_id]
        await spool.close()


def killed(folder: Path, seed: int, *point: str, after_lines: int = 0) -> list[str]:
    """Run the child until it is killed, by itself or by us once it has said so much; give its whole lines."""
    command = [sys.executable, "-m", "tests.spool.crash_child", str(folder), str(seed), *point]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as child:
        assert child.stdout is not None and child.stderr is not None
        output = b"".join(child.stdout.readline() for _ in range(after_lines))
        if after_lines:
            child.kill()
        output += child.stdout.read()
        errors = child.stderr.read()
    assert child.returncode == -signal.SIGKILL, errors.decode()
    return [line for line in output.decode().split("\n")[:-1] if line and line != "ready"]


@pytest.mark.parametrize("point", _POINTS)
def test_killed_at_each_step(tmp_path: Path, point: str) -> None:
    ledger = Ledger()
    for count in (1, 9):
        ledger.read(killed(tmp_path / "spool", count, point, str(count)))
        asyncio.run(ledger.check(tmp_path / "spool"))


def test_killed_at_any_moment(tmp_path: Path) -> None:
    ledger = Ledger()
    rng = random.Random(5)
    for seed in range(4):
        ledger.read(killed(tmp_path / "spool", seed, after_lines=rng.randint(2, 2000)))
        asyncio.run(ledger.check(tmp_path / "spool"))
    assert ledger.stored

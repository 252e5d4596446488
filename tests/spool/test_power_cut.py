"""After a power cut all that was acknowledged is there, whatever became of what was not synced yet."""

from __future__ import annotations

import asyncio
import random
import shutil
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from tests.spool.power_cut import Disk, Op, read_record
from tests.spool.test_crash import Ledger
from tests.support import disk_shim

WAYS = ("nothing", "all", "some", "torn", "torn")


def recorded(place: Path, seed: int, messages: int) -> list[Op]:
    """Run the child under the shim, and give what it did to `place/spool`."""
    command = [sys.executable, "-m", "tests.spool.crash_child", str(place / "spool"), str(seed), "record", str(messages)]
    environment = disk_shim.environment(place)
    subprocess.run(command, check=True, env=environment, stdout=subprocess.DEVNULL)
    return read_record(place / "spool.record")


def cut(place: Path, ops: list[Op], cuts: dict[int, list[str]], rng: random.Random) -> int:
    """Check the disks that cuts after these ops leave; give how many messages the fullest had."""
    disk = Disk(place / "spool")
    most = 0
    for number, op in enumerate(ops):
        disk.follow(op)
        for how in cuts.get(number, ()):
            state = place / "state"
            disk.leave(state, how, rng)
            ledger = Ledger()
            ledger.read([line for line in disk.notes if line != "ready"])
            try:
                asyncio.run(ledger.check(state))
                connection = sqlite3.connect(state / "spool.db")
                assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
                connection.close()
            except Exception as error:
                raise AssertionError(f"cut after op {number} ({op.kind}) of {len(ops)}, {how}: {error!r}") from error
            most = max(most, len(ledger.stored))
            shutil.rmtree(state)
    return most


def test_power_cuts_lose_nothing_acknowledged(tmp_path: Path) -> None:
    ops = recorded(tmp_path, 1, 8)
    rng = random.Random(1)
    moments = sorted(rng.sample(range(len(ops)), 60))
    most = cut(tmp_path, ops, {number: [rng.choice(WAYS)] for number in moments}, rng)
    assert most > 100
    kinds = {op.kind for op in ops}
    assert kinds >= set("OWSTRUDN"), kinds


def test_a_sync_left_out_would_be_seen(tmp_path: Path) -> None:
    ops = recorded(tmp_path, 2, 3)
    last = len(ops) - 1
    for kind in "SD":  # of files, and of folders
        without = [op for number, op in enumerate(ops) if op.kind != kind or number < 40]
        with pytest.raises(AssertionError, match="cut after op"):
            cut(tmp_path, without, {len(without) - 1: ["nothing"]}, random.Random(1))
        shutil.rmtree(tmp_path / "state")
    cut(tmp_path, ops, {last: ["nothing"]}, random.Random(1))

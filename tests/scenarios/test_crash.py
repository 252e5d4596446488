"""A short form of `tests.soak.crash`: the whole server is killed at random and at its steps, and nothing is lost."""

from __future__ import annotations

import os
import subprocess
import sys

from tests.scenarios.harness import ROOT


def test_killed_servers_lose_nothing_they_accepted(tmp_path):
    memory = "/dev/shm"  # death of a process needs no disk, and commits are quick there
    folder = memory if os.access(memory, os.W_OK) else str(tmp_path)
    command = [sys.executable, "-m", "tests.soak.crash", "--rounds", "8", "--seed", "11", "--folder", folder]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "lost 0" in done.stdout

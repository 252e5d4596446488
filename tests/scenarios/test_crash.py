"""A short form of `tests.soak.crash`: the whole server is killed at random and at its steps, and nothing is lost."""

from __future__ import annotations

import subprocess
import sys

from tests.scenarios.harness import ROOT


def test_killed_servers_lose_nothing_they_accepted(tmp_path):
    command = [sys.executable, "-m", "tests.soak.crash", "--rounds", "10", "--seed", "11", "--folder", str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "lost 0" in done.stdout

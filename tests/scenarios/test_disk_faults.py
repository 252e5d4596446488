"""Disks that turn read-only, full or bad while the server runs, and come back."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.scenarios.disk_faults import FAULTS
from tests.scenarios.harness import ROOT
from tests.support import disk_shim


@pytest.mark.parametrize("fault", FAULTS)
def test_mail_waits_for_a_disk_that_fails(tmp_path, fault):
    command = [sys.executable, "-m", "tests.scenarios.disk_faults", str(tmp_path), fault]
    done = subprocess.run(
        command, cwd=ROOT, env=disk_shim.environment(tmp_path), capture_output=True, text=True, timeout=120
    )
    assert done.stdout == "as it should be\n", done.stdout + done.stderr

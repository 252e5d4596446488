"""What is queued leaves, and the spool opens, on a disk without a byte left."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from hslpy.spool.folder import Folder
from tests.scenarios.harness import ROOT
from tests.support.namespaces import own


@pytest.mark.parametrize("how", ["live", "killed", "closed", "bare"])
def test_a_disk_that_others_fill(how: str) -> None:
    command = [*own("mount"), sys.executable, "-m", "tests.spool.full_disk", how]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert done.stdout == "as it should be\n", done.stdout + done.stderr


def test_the_reserve_is_made_anew_where_its_size_is_set_otherwise(tmp_path: Path) -> None:
    folder = Folder(tmp_path)
    for size_bytes in (8192, 8192, 4096):
        folder.reserve(size_bytes)
        assert [(file.name, file.stat().st_size) for file in tmp_path.iterdir()] == [("reserve", size_bytes)]
    assert folder.give_up_reserve() and not folder.give_up_reserve() and not list(tmp_path.iterdir())

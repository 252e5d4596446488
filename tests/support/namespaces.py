"""Networks and mounts of one's own: the command to run a test's process with them, as root or in a user namespace."""

from __future__ import annotations

import subprocess
from typing import Literal

import pytest


def own(kind: Literal["net", "mount"]) -> list[str]:
    """Give the command line before that of a process which may change its network, or mount disks, for itself alone.

    The test fails where the system lets nobody: what it would show is not known then.
    """
    ways = [["unshare", f"--{kind}"], ["unshare", "--map-root-user", f"--{kind}"]]
    tried = [subprocess.run([*way, "true"], capture_output=True, text=True) for way in ways]
    for way, done in zip(ways, tried, strict=True):
        if done.returncode == 0:
            return way
    pytest.fail(f"this test wants root, or user namespaces: {tried[-1].stderr.strip()}", pytrace=False)

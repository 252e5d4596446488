"""Runs commands as a user would, in this process or in one of their own."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from hslpy.cli import main

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Done:
    status: int
    out: str
    err: str


Hslpy = Callable[..., Done]


@pytest.fixture
def hslpy(capsys: pytest.CaptureFixture[str]) -> Hslpy:
    """Give a function that runs a command line in this process."""

    def run(*arguments: object) -> Done:
        try:
            status = main([str(argument) for argument in arguments])
        except SystemExit as ended:
            status = int(ended.code or 0)
        captured = capsys.readouterr()
        return Done(status, captured.out, captured.err)

    return run


def spawn(*arguments: object, stdin: str = "", timeout_s: float = 60, **environment: str) -> Done:
    """Run a command line in a process of its own."""
    import os

    done = subprocess.run(
        [sys.executable, "-m", "hslpy", *(str(argument) for argument in arguments)],
        input=stdin.encode(),
        capture_output=True,
        timeout=timeout_s,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT), **environment},
    )
    return Done(done.returncode, done.stdout.decode("utf-8", "replace"), done.stderr.decode("utf-8", "replace"))

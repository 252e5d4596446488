"""`hslpy repl`: from a pipe, and at a real terminal."""

from __future__ import annotations

import os
import pty
import signal
import subprocess
import sys
import time
from pathlib import Path

from hslpy.cli.repl import completions
from hslpy.clock import ManualClock
from hslpy.tooling.bench import Bench, services_in_memory
from hslpy.tooling.events import make_event
from hslpy.tooling.session import Session
from tests.cli.conftest import ROOT, spawn


def test_from_a_pipe() -> None:
    done = spawn("repl", stdin='$x = [1,\n2]\n$x\n"å"\n1 / 0\nfunction f($n) {\n  return $n * 2;\n}\nf(21)\n:vars\n:nope\n')
    lines = done.out.splitlines()
    assert done.status == 0 and lines[:2] == ["[1, 2]", '"å"'], done.out
    assert "error[R123]: division by zero" in lines and "42" in lines and "$x = [1, 2]" in lines
    assert any(line.startswith("unknown command `:nope`") for line in lines)


def test_a_hook_from_a_pipe() -> None:
    done = spawn(
        "repl", "--hook", "rcptto", "--set", "senderdomain=a.example", stdin='$senderdomain\nReject("no")\n:quit\n1\n'
    )
    assert done.out.splitlines()[:2] == ['"a.example"', 'verdict: Reject 554 5.7.1 "no"']
    assert "\n1\n" not in done.out


def test_help_and_functions() -> None:
    done = spawn("repl", stdin=":help\n:functions rat\n:functions rate\n:verdict\n")
    assert ":functions [TEXT]" in done.out and "rate(namespace: string" in done.out and "there is no hook" in done.out


def test_completions() -> None:
    clock = ManualClock()
    session = Session(Bench(services_in_memory(clock), clock=clock), "rcptto", make_event("rcptto", {}))
    assert "$senderdomain" in completions(session, "echo $senderd")
    assert "Defer" in completions(session, "if (1) def")
    assert completions(session, ":v") == [":vars", ":verdict"]
    assert completions(session, "1 + ") == []


def test_at_a_terminal(tmp_path: Path) -> None:
    """The prompt reads lines, goes on while a bracket is open, stops an endless loop, and remembers."""
    master, slave = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "hslpy", "repl"],
        stdin=slave,
        stdout=slave,
        stderr=slave,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT), "XDG_STATE_HOME": str(tmp_path), "TERM": "xterm"},
    )
    os.close(slave)
    try:
        seen = _until(master, "hsl>")
        os.write(master, b"$x = [40,\r")
        seen = _until(master, "...")
        os.write(master, b"2]\r")
        _until(master, "hsl>")
        os.write(master, b"$x[0] + $x[1]\r")
        seen = _until(master, "42")
        os.write(master, b"echo 40 + 3; while (true) { $a = [1, 2, 3]; $b = $a . md5($a . 1); }\r")
        _until(master, "43")
        process.send_signal(signal.SIGINT)
        _until(master, "stopped")
        os.write(master, b"\x04")
        assert process.wait(60) == 0, seen
    finally:
        process.kill()
        os.close(master)
    assert "$x[0] + $x[1]" in (tmp_path / "hslpy/repl_history").read_text()


def _until(master: int, wanted: str, timeout_s: float = 20) -> str:
    """Read the terminal until `wanted` shows; answer its question for the cursor's place."""
    os.set_blocking(master, False)
    seen = ""
    give_up_at = time.monotonic() + timeout_s
    while wanted not in seen and time.monotonic() < give_up_at:
        try:
            part = os.read(master, 65536).decode("utf-8", "replace")
        except BlockingIOError:
            time.sleep(0.02)
            continue
        if "\x1b[6n" in part:
            os.write(master, b"\x1b[1;1R")
        seen += part
    assert wanted in seen, seen
    return seen

"""From the start of `hslpy serve` to its first 220, scripts cached, with and without its page, beside Python's own.

usage: python -m tests.bench.start [--rounds 20] [--against FOLDER]
With `--against` the server of another checkout, installed in its `.venv`, takes turns too.
The goal is 400 ms on a quiet machine. On one at work quote the processor's time and the ratio: both are of the same turns.
"""

from __future__ import annotations

import argparse
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

SETTINGS = """
[server]
data_dir = "{folder}/data"
[admin]
listen = []
[egress]
{egress}
[[listen]]
host = "127.0.0.1"
port = {port}
[hooks]
packaged = true
"""


@dataclass(frozen=True, slots=True)
class Start:
    """Milliseconds on the clock, and of the processor."""

    wall_ms: float
    cpu_ms: float


def cpu_ms(pid: int) -> float:
    """Give the processor's time that a process has taken, all its threads."""
    total = 0
    for task in Path(f"/proc/{pid}/task").iterdir():
        total += int((task / "schedstat").read_text().split()[0])
    return total / 1e6


def environment() -> dict[str, str]:
    """Ours, but compiled modules are kept, as they are on a server."""
    return {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}


def start_server(folder: Path, egress: str = "", programs: Path = Path(sys.executable).parent) -> Start:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    settings = folder / "hslpy.toml"
    settings.write_text(SETTINGS.format(folder=folder, port=port, egress=egress))
    command = [str(programs / "hslpy"), "serve", "--config", str(settings)]
    began = time.perf_counter()
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, env=environment()) as server:
        while True:
            with socket.socket() as client:
                try:
                    client.connect(("127.0.0.1", port))
                    if client.recv(3) != b"220":
                        raise RuntimeError("no 220")
                except ConnectionRefusedError:
                    if server.poll() is not None:
                        assert server.stderr is not None
                        raise RuntimeError(server.stderr.read().decode()) from None
                    time.sleep(0.002)
                    continue
                found = Start((time.perf_counter() - began) * 1e3, cpu_ms(server.pid))
                break
        server.terminate()
    return found


def start_python() -> Start:
    began = time.perf_counter()
    command = [sys.executable, "-c", "import asyncio; print(1, flush=True); input()"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment()) as process:
        assert process.stdout is not None
        process.stdout.readline()
        found = Start((time.perf_counter() - began) * 1e3, cpu_ms(process.pid))
        process.kill()
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--against", type=Path, help="another checkout")
    options = parser.parse_args()
    ours: list[Start] = []
    bare: list[Start] = []
    plain: list[Start] = []
    theirs: list[Start] = []
    with tempfile.TemporaryDirectory(prefix="hslpy-start-") as folder:
        start_server(Path(folder))  # compiles scripts and modules
        for _ in range(options.rounds):
            ours.append(start_server(Path(folder)))
            bare.append(start_server(Path(folder), 'database = ""'))
            plain.append(start_python())
            if options.against is not None:
                with tempfile.TemporaryDirectory(prefix="hslpy-start-") as other:
                    start_server(Path(other), programs=options.against / ".venv/bin")
                    theirs.append(start_server(Path(other), programs=options.against / ".venv/bin"))
    for name, starts in (
        ("hslpy serve to 220", ours),
        ("the same without a page", bare),
        ("python, import asyncio", plain),
        ("that of the other checkout", theirs),
    ):
        if not starts:
            continue
        wall = [one.wall_ms for one in starts]
        cpu = statistics.median(one.cpu_ms for one in starts)
        print(f"{name}: {statistics.median(wall):.0f} ms (least {min(wall):.0f}), processor {cpu:.0f} ms")
    for name, others in (("python's", plain), ("that without a page", bare), ("the other checkout's", theirs)):
        if not others:
            continue
        ratios = [one.cpu_ms / other.cpu_ms for one, other in zip(ours, others, strict=True)]
        print(f"processor's time to {name}: {statistics.median(ratios):.2f}")


if __name__ == "__main__":
    main()

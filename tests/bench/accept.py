"""The accept path against Postfix: messages a second and CPU a message, as ratios from one interleaved run.

usage: python -m tests.bench.accept [--seconds S] [--passes N] [--cells NAME,...] [--workers N] [--store]
       [--against FOLDER] [--check]

Ours: source hashing at RCPT, the DATA policy of `scripts/examples/seeds/data.hsl` with its limits raised so that nothing is
deferred, and three rate checks a message in a real Redis; the 250 follows the durable write; delivery is not started.
Both servers log each message to a file. The scanners are STAND-INS that answer at once (class 50, score 7).
Postfix: no policy, every message on HOLD. Both are loaded by Postfix's smtp-source, A B A B.
The cells are sessions x size of a message, `conn` for a connection a message; `--check` exits 1 below a goal of `CELLS`.
With `--store` ours has a database of delivery IPs with a thousand customers, of which the sender is one.
With `--against` the other side is the server of another checkout, in place of Postfix: for a change before and after.
Needs root (Postfix) and the Debian packages that tests/run installs. Everything stays on loopback.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.bench.servers import PATH, free_port, postfix, tree_cpu_s, wait_for_port

ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True, slots=True)
class Cell:
    """A kind of load; `goal` is the rate as a multiple of Postfix's."""

    sessions: int
    kib: int
    each_connects: bool
    goal: float


CELLS = {
    "1x4K": Cell(1, 4, False, 0.9),
    "50x4K": Cell(50, 4, False, 2.5),
    "50x50K": Cell(50, 50, False, 1.8),
    "100x4Kconn": Cell(100, 4, True, 1.3),
}

RCPT_SCRIPT = """
$addrs = ["1", "2", "3"];
$context = "netaddr:" . $addrs[number("0x" . md5($senderdomain)[0:6]) % count($addrs)];
if (rate("outbound", $senderdomain, 1000000000, 3600) == false)
    Defer("rate");
"""


@contextmanager
def redis_server(folder: Path) -> Iterator[str]:
    path = folder / "redis.sock"
    process = subprocess.Popen(
        ["redis-server", "--port", "0", "--unixsocket", str(path), "--save", "", "--appendonly", "no", "--dir", str(folder)],
        stdout=subprocess.DEVNULL,
    )
    while not path.exists():
        time.sleep(0.02)
    try:
        yield f"unix://{path}"
    finally:
        process.terminate()
        process.wait()


@contextmanager
def ours(
    folder: Path, redis_url: str, checkout: Path = ROOT, workers: int = 1, store: bool = False
) -> Iterator[tuple[int, int]]:
    """Give port and process id of a server with the policies above, as `checkout` has it; with a database, if `store`."""
    data = (ROOT / "scripts/examples/seeds/data.hsl").read_text()
    data = data.replace("300, 28800", "1000000000, 28800").replace("100, 28800", "1000000000, 28800")
    (folder / "data.hsl").write_text(data)
    (folder / "rcptto.hsl").write_text(RCPT_SCRIPT)
    port = free_port()
    with (folder / "log").open("wb") as log:
        command = [sys.executable, "-m", "tests.bench.accept_server", str(port), str(folder), redis_url]
        command += [str(workers)] if workers > 1 or store else []
        command += [f"sqlite:///{folder}/delivery.db"] if store else []
        process = subprocess.Popen(command, cwd=checkout, stderr=log)
    try:
        wait_for_port(port, process)
        yield port, process.pid
    finally:
        process.terminate()
        process.wait()


def load(port: int, pid: int, cell: Cell, count: int) -> tuple[float, float]:
    """Send `count` messages; give seconds and the server's CPU seconds."""
    command = ["smtp-source", "-s", str(cell.sessions), "-m", str(count), "-l", str(cell.kib * 1024 - 256)]
    command += [] if cell.each_connects else ["-d"]
    command += ["-f", "sender@client.test", "-t", "user@dest.test", "-M", "client.test", f"inet:127.0.0.1:{port}"]
    cpu, started = tree_cpu_s(pid), time.perf_counter()
    result = subprocess.run(command, env=dict(os.environ, PATH=PATH), capture_output=True, text=True, timeout=180)
    if result.returncode:
        raise SystemExit(f"smtp-source: {result.stderr.strip()[:300]}")
    return time.perf_counter() - started, tree_cpu_s(pid) - cpu


def measure(name: str, cell: Cell, servers: dict[str, tuple[int, int]], seconds_a_run: float, passes: int) -> float:
    """Load the servers in turn, print what came of it, and give the first one's rate as a multiple of the second's."""
    counts = {}
    for server, (port, pid) in servers.items():
        load(port, pid, cell, 10 * cell.sessions)
        seconds, _ = load(port, pid, cell, 30 * cell.sessions)
        counts[server] = max(10 * cell.sessions, int(30 * cell.sessions / seconds * seconds_a_run))
    rates: dict[str, list[float]] = {server: [] for server in servers}
    cpus: dict[str, list[float]] = {server: [] for server in servers}
    for _ in range(passes):
        for server, (port, pid) in servers.items():
            seconds, cpu = load(port, pid, cell, counts[server])
            rates[server].append(counts[server] / seconds)
            cpus[server].append(cpu / counts[server] * 1000)
    for server in servers:
        print(
            f"{name:10s} {server:8s} {statistics.median(rates[server]):8.0f} msg/s"
            f" ({min(rates[server]):.0f}-{max(rates[server]):.0f})"
            f"  {statistics.median(cpus[server]):.3f} CPU-s/1000"
        )
    first, second = (statistics.median(each) for each in rates.values())
    return first / second


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=2.0, help="about how long a counted run takes")
    parser.add_argument("--passes", type=int, default=3)
    parser.add_argument("--cells", default=",".join(CELLS), help=f"of {', '.join(CELLS)}")
    parser.add_argument("--workers", type=int, default=1, help="processes of ours")
    parser.add_argument("--store", action="store_true", help="ours with a database of delivery IPs")
    parser.add_argument("--against", type=Path, help="another checkout, in place of Postfix")
    parser.add_argument("--check", action="store_true", help="exit 1 below the goals")
    arguments = parser.parse_args()
    failed = False
    with tempfile.TemporaryDirectory(prefix="hslpy-bench-") as temporary:
        base = Path(temporary)
        for name in ("redis", "ours", "theirs"):
            (base / name).mkdir()
        with (
            redis_server(base / "redis") as url,
            ours(base / "ours", url, workers=arguments.workers, store=arguments.store) as our_server,
        ):
            theirs = ours(base / "theirs", url, arguments.against) if arguments.against else postfix(base / "theirs")
            with theirs as their_server:
                servers = {"hslpy": our_server, "other" if arguments.against else "postfix": their_server}
                for name in arguments.cells.split(","):
                    cell = CELLS[name]
                    ratio = measure(name, cell, servers, arguments.seconds, arguments.passes)
                    failed |= ratio < cell.goal
                    print(f"{name:10s} ratio {ratio:.2f} (goal {cell.goal} times Postfix)", flush=True)
    return 1 if failed and arguments.check else 0


if __name__ == "__main__":
    sys.exit(main())

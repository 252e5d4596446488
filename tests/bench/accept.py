"""The accept path against Postfix: messages a second and CPU a message, as ratios from one interleaved run.

usage: python -m tests.bench.accept [--seconds S] [--passes N] [--check]

Ours: source hashing at RCPT, the DATA policy of `scripts/examples/seeds/data.hsl` with its limits raised so that nothing is
deferred, and three rate checks a message in a real Redis; the 250 follows the durable write; delivery is not started.
Both servers log each message to a file. The scanners are STAND-INS that answer at once (class 50, score 7).
Postfix: no policy, every message on HOLD. Both are loaded by Postfix's smtp-source with 50 sessions, A B A B.
Goals (`--check` exits 1 below them): 1.5 times Postfix at 4 KiB, 1.2 times at 50 KiB.
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
from pathlib import Path

from tests.bench.servers import PATH, free_port, postfix, tree_cpu_s, wait_for_port

ROOT = Path(__file__).resolve().parents[2]
SESSIONS = 50
GOALS = {4: 1.5, 50: 1.2}

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
def ours(folder: Path, redis_url: str) -> Iterator[tuple[int, int]]:
    """Give port and process id of a server with the policies above."""
    data = (ROOT / "scripts/examples/seeds/data.hsl").read_text()
    data = data.replace("300, 28800", "1000000000, 28800").replace("100, 28800", "1000000000, 28800")
    (folder / "data.hsl").write_text(data)
    (folder / "rcptto.hsl").write_text(RCPT_SCRIPT)
    port = free_port()
    with (folder / "log").open("wb") as log:
        command = [sys.executable, "-m", "tests.bench.accept_server", str(port), str(folder), redis_url]
        process = subprocess.Popen(command, cwd=ROOT, stderr=log)
    try:
        wait_for_port(port, process)
        yield port, process.pid
    finally:
        process.terminate()
        process.wait()


def load(port: int, pid: int, kib: int, count: int) -> tuple[float, float]:
    """Send `count` messages over 50 sessions; give seconds and CPU seconds."""
    command = ["smtp-source", "-s", str(SESSIONS), "-m", str(count), "-l", str(kib * 1024 - 256), "-d"]
    command += ["-f", "sender@client.test", "-t", "user@dest.test", "-M", "client.test", f"inet:127.0.0.1:{port}"]
    cpu, started = tree_cpu_s(pid), time.perf_counter()
    result = subprocess.run(command, env=dict(os.environ, PATH=PATH), capture_output=True, text=True, timeout=180)
    if result.returncode:
        raise SystemExit(f"smtp-source: {result.stderr.strip()[:300]}")
    return time.perf_counter() - started, tree_cpu_s(pid) - cpu


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=2.0, help="about how long a counted run takes")
    parser.add_argument("--passes", type=int, default=3)
    parser.add_argument("--check", action="store_true", help="exit 1 below the goals")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="hslpy-bench-") as temporary:
        base = Path(temporary)
        for name in ("redis", "ours", "postfix"):
            (base / name).mkdir()
        with (
            redis_server(base / "redis") as url,
            ours(base / "ours", url) as (our_port, our_pid),
            postfix(base / "postfix") as (their_port, their_pid),
        ):
            servers = {"hslpy": (our_port, our_pid), "postfix": (their_port, their_pid)}
            failed = False
            for kib, goal in GOALS.items():
                counts = {}
                for name, (port, pid) in servers.items():
                    load(port, pid, kib, 500)
                    seconds, _ = load(port, pid, kib, 1500)
                    counts[name] = max(500, int(1500 / seconds * arguments.seconds))
                rates: dict[str, list[float]] = {name: [] for name in servers}
                cpus: dict[str, list[float]] = {name: [] for name in servers}
                for _ in range(arguments.passes):
                    for name, (port, pid) in servers.items():
                        seconds, cpu = load(port, pid, kib, counts[name])
                        rates[name].append(counts[name] / seconds)
                        cpus[name].append(cpu / counts[name] * 1000)
                for name in servers:
                    print(
                        f"{SESSIONS}x{kib}K {name:8s} {statistics.median(rates[name]):8.0f} msg/s"
                        f" ({min(rates[name]):.0f}-{max(rates[name]):.0f})"
                        f"  {statistics.median(cpus[name]):.3f} CPU-s/1000"
                    )
                ratio = statistics.median(rates["hslpy"]) / statistics.median(rates["postfix"])
                failed |= ratio < goal
                print(f"{SESSIONS}x{kib}K ratio {ratio:.2f} (goal {goal})", flush=True)
    return 1 if failed and arguments.check else 0


if __name__ == "__main__":
    sys.exit(main())

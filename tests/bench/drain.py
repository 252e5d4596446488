"""Draining the queue against Postfix: messages a second and CPU a message, as ratios from one interleaved run.

usage: python -m tests.bench.drain [--count N] [--passes N] [--against FOLDER] [--only-ours] [--check]

10,000 messages of 4 KiB for ten domains are accepted by each server and kept, each made durable first. Then delivery is
started, and the time taken from that to the last message at the receiving servers: ten of Postfix's smtp-sink, one a domain,
on addresses of 127.0.0.0/8. Ours finds them by MX in a DNS server on loopback, Postfix by a table. A B A B.
Ours: the pre- and the post-delivery script of `scripts/examples/seeds` (the source by a hash of the sender's domain; a
count of failures), each attempt and each result logged, each result durable; afterwards the queue and its database
must be empty and the log have an attempt and a delivery for every message. Postfix: its defaults, its log.
With `--against` the other side is the server of another checkout, in place of Postfix: for a change before and after.
The goal (`--check` exits 1 below it): 1.5 times Postfix. Needs root (Postfix) and the Debian packages that tests/run
installs. Everything stays on loopback.
"""

from __future__ import annotations

import argparse
import os
import re
import signal
import socket
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path

import dns.flags
import dns.message
import dns.rcode
import dns.rrset

from tests.bench.servers import PATH, free_port, postfix, release, tree_cpu_s, wait_for_port

ROOT = Path(__file__).resolve().parents[2]
SEEDS = ROOT / "scripts/examples/seeds"
GOAL = 1.5
DOMAINS = {f"d{n}.test": f"127.0.0.{30 + n}" for n in range(1, 11)}
LIMIT_S = 120.0


@dataclass(frozen=True, slots=True)
class Server:
    """A server that keeps what it accepts until it is released; `settled` waits for all results, and checks them."""

    port: int
    pid: int
    release: Callable[[], object]
    settled: Callable[[int], None]


@contextmanager
def sinks(folder: Path) -> Iterator[tuple[int, Callable[[], int]]]:
    """Give the port on which each domain's address has a receiving server, and what counts the messages there."""
    port, processes, files = free_port(), [], []
    for domain, address in DOMAINS.items():
        files.append((folder / domain).open("w+b"))
        command = ["smtp-sink", "-c", *(["-u", "nobody"] if os.getuid() == 0 else []), f"{address}:{port}", "1024"]
        processes.append(subprocess.Popen(command, stdout=files[-1], env=dict(os.environ, PATH=PATH)))

    def count() -> int:
        total = 0
        for file in files:
            size = os.fstat(file.fileno()).st_size
            found = re.findall(rb"mesg=\s*(\d+)", os.pread(file.fileno(), 200, max(0, size - 200)))
            total += int(found[-1]) if found else 0
        return total

    try:
        for address in DOMAINS.values():
            wait_for_port(port, address=address)
        yield port, count
    finally:
        for process in processes:
            process.terminate()
            process.wait()


@contextmanager
def name_server() -> Iterator[int]:
    """Give the port of a DNS server on loopback that knows the domains."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", 0))
        sock.settimeout(0.2)
        ending = threading.Event()

        def serve() -> None:
            while not ending.is_set():
                try:
                    data, peer = sock.recvfrom(2048)
                except TimeoutError:
                    continue
                sock.sendto(_answer(dns.message.from_wire(data)).to_wire(), peer)

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield int(sock.getsockname()[1])
        finally:
            ending.set()
            thread.join()


def _answer(query: dns.message.Message) -> dns.message.Message:
    answer = dns.message.make_response(query)
    answer.flags |= dns.flags.RA
    name = query.question[0].name.to_text().lower()
    kind = dns.rdatatype.to_text(query.question[0].rdtype)
    domain = name.removeprefix("mx.").rstrip(".")
    if domain not in DOMAINS:
        answer.set_rcode(dns.rcode.NXDOMAIN)
    elif kind == "MX" and not name.startswith("mx."):
        answer.answer.append(dns.rrset.from_text(name, 3600, "IN", "MX", f"10 mx.{name}"))
    elif kind == "A":
        answer.answer.append(dns.rrset.from_text(name, 3600, "IN", "A", DOMAINS[domain]))
    if not answer.answer:
        soa = f"ns.{domain}. root.{domain}. 1 2 3 4 600"
        answer.authority.append(dns.rrset.from_text(f"{domain}.", 600, "IN", "SOA", soa))
    return answer


@contextmanager
def ours(folder: Path, dns_port: int, sink_port: int, checkout: Path = ROOT) -> Iterator[Server]:
    """Give a server with both delivery hooks, as `checkout` has it."""
    port, log = free_port(), folder / "log"
    sources = "".join(
        f'[[source]]\nid = "netaddr:{n}"\naddress = "127.0.0.{10 + n}"\nhelo = "out{n}.bench.test"\n' for n in (1, 2, 3, 4)
    )
    (folder / "hslpy.toml").write_text(
        f"""[server]
hostname = "bench.test"
data_dir = "data"
[egress]
database = ""
[[listen]]
port = {port}
[hooks]
predelivery = "{SEEDS}/pre-delivery.hsl"
postdelivery = "{SEEDS}/post-delivery.hsl"
[dns]
nameservers = ["127.0.0.1"]
port = {dns_port}
[delivery]
allow_private_targets = true
[[transport]]
id = "mailtransport:1"
port = {sink_port}
{sources}"""
    )
    with log.open("ab") as stderr:
        command = [sys.executable, "-m", "tests.bench.drain_server", str(folder / "hslpy.toml")]
        process = subprocess.Popen(command, cwd=checkout, stderr=stderr)

    def settled(count: int) -> None:
        database = sqlite3.connect(f"file:{folder}/data/spool/spool.db?mode=ro", uri=True)
        try:
            until = time.monotonic() + LIMIT_S
            while database.execute("SELECT count(*) FROM recipients").fetchone()[0]:
                if time.monotonic() > until:
                    raise SystemExit("the queue does not get empty")
                time.sleep(0.02)
        finally:
            database.close()
        time.sleep(0.2)  # the log is written at the end of a turn of the loop
        text = log.read_bytes()
        for event in (b" delivery.attempt ", b" delivery.delivered "):
            if text.count(event) != count:
                raise SystemExit(f"{text.count(event)} of{event.decode()}for {count} messages; see {log}")
        log.write_bytes(b"")

    try:
        wait_for_port(port, process)
        yield Server(port, process.pid, lambda: process.send_signal(signal.SIGUSR1), settled)
    finally:
        process.terminate()
        process.wait()


@contextmanager
def theirs(folder: Path, sink_port: int) -> Iterator[Server]:
    with postfix(folder, {domain: f"[{address}]:{sink_port}" for domain, address in DOMAINS.items()}) as (port, pid):

        def settled(count: int) -> None:
            until = time.monotonic() + LIMIT_S
            while any(file.is_file() for name in ("active", "deferred") for file in (folder / "spool" / name).rglob("*")):
                if time.monotonic() > until:
                    raise SystemExit("Postfix's queue does not get empty")
                time.sleep(0.1)

        yield Server(port, pid, lambda: release(folder), settled)


def fill(port: int, count: int) -> None:
    for domain in DOMAINS:
        command = ["smtp-source", "-d", "-s", "20", "-m", str(count // len(DOMAINS)), "-l", "3840"]
        command += ["-f", "sender@client.test", "-t", f"user@{domain}", "-M", "client.test", f"inet:127.0.0.1:{port}"]
        subprocess.run(command, env=dict(os.environ, PATH=PATH), check=True, capture_output=True, timeout=180)


def drain(server: Server, count: int, arrived: Callable[[], int]) -> tuple[float, float]:
    """Fill the server, release it; give seconds until the last message has arrived, and the server's CPU seconds."""
    fill(server.port, count)
    before, cpu = arrived(), tree_cpu_s(server.pid)
    server.release()
    started = time.perf_counter()
    while (here := arrived() - before) < count:
        if time.perf_counter() - started > LIMIT_S:
            raise SystemExit(f"only {here} of {count} messages arrived")
        time.sleep(0.005)
    seconds = time.perf_counter() - started
    server.settled(count)
    cpu = tree_cpu_s(server.pid) - cpu
    if arrived() - before != count:
        raise SystemExit(f"{arrived() - before} messages arrived of {count}")
    return seconds, cpu


def report(name: str, runs: Sequence[tuple[float, float]], count: int) -> float:
    rates = [count / seconds for seconds, _ in runs]
    cpus = [cpu / count * 1000 for _, cpu in runs]
    print(
        f"drain {name:8s} {statistics.median(rates):8.0f} msg/s ({min(rates):.0f}-{max(rates):.0f})"
        f"  {statistics.median(cpus):.3f} CPU-s/1000",
        flush=True,
    )
    return statistics.median(rates)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=10_000)
    parser.add_argument("--passes", type=int, default=3)
    parser.add_argument("--against", type=Path, help="another checkout, in place of Postfix")
    parser.add_argument("--only-ours", action="store_true", help="measure nothing else")
    parser.add_argument("--check", action="store_true", help="exit 1 below the goal")
    arguments = parser.parse_args()
    count = arguments.count
    with tempfile.TemporaryDirectory(prefix="hslpy-bench-") as temporary:
        base = Path(temporary)
        for name in ("sinks", "ours", "other"):
            (base / name).mkdir()
        with sinks(base / "sinks") as (sink_port, arrived), name_server() as dns_port:
            other: object = nullcontext()
            if arguments.against:
                other = ours(base / "other", dns_port, sink_port, arguments.against)
            elif not arguments.only_ours:
                other = theirs(base / "other", sink_port)
            with ours(base / "ours", dns_port, sink_port) as server, other as second:  # type: ignore[attr-defined]
                servers = {"hslpy": server}
                if second is not None:
                    servers["other" if arguments.against else "postfix"] = second
                runs: dict[str, list[tuple[float, float]]] = {name: [] for name in servers}
                for _ in range(arguments.passes):
                    for name, each in servers.items():
                        runs[name].append(drain(each, count, arrived))
                rates = [report(name, runs[name], count) for name in servers]
    if len(rates) == 1:
        return 0
    ratio = rates[0] / rates[1]
    print(f"drain ratio {ratio:.2f} (goal {GOAL} times Postfix)")
    return 1 if arguments.check and ratio < GOAL else 0


if __name__ == "__main__":
    sys.exit(main())

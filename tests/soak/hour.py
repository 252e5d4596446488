"""An hour of everything at about half of full load: nothing may grow, nothing leak, nothing be lost.

usage: python -m tests.soak.hour [--minutes 60] [--rate MESSAGES_A_SECOND] [--folder FOLDER] [--no-redis]

A server with a hook at every moment takes mail from clients of all kinds (steady, one message a connection, TLS, wrong
logins, cut off in DATA, junk) and delivers it to servers that defer, refuse, answer late and hang up (`hour_peers.py`). Its
scripts change every ten seconds, at times into ones that don't compile; its clock is set an hour forward or back every three
minutes. Without --rate full load is measured first, and half of it taken. Every ten seconds a line goes to
FOLDER/samples.jsonl.

At the end the load stops, the clock goes on two hours for what was deferred, and the books are closed:
accepted = delivered + bounced + queued. Exit status 1 where anything grew, leaked, was lost, was delivered unasked, or
left a traceback.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import re
import shutil
import signal
import ssl
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from tests.soak.hour_peers import DOMAINS, Ledger, Pace, Receiver, Sender
from tests.support.certificates import CERTIFICATE, KEY
from tests.support.redis_server import RedisServer

ROOT = Path(__file__).resolve().parents[2]
SENDERS = 20
SAMPLE_S = 10.0
STEPS_S = (0.0, 3600.0, 0.0, -3600.0)  # what the clock is wrong by, one after another
STEP_EVERY_S = 180.0

SCRIPTS = {
    "connect": 'if ($senderip == "192.0.2.1") Reject();',
    "helo": '$context = $senderhelo ?? "";',
    "auth": 'if ($saslusername == "soak" and $saslpassword == "right") Accept(); Reject();',
    "mailfrom": 'if (rate("soak-mail", $senderdomain, 1000000000, 3600) == false) Defer("rate");',
    "rcptto": 'if (rate("soak", "$recipientdomain", 1000000000, 3600) == false) Defer("rate");'
    'if (GetMailQueueMetric(["filter" => ["recipientdomain" => $recipientdomain]]) > 1000000) Defer("queue");',
    "data": 'SetMetaData(["n" => $messageid]); AddHeader("X-Soak", strtoupper(GetHeader("Subject")));',
    "predelivery": '$n = number("0x" . md5($recipient)[0:6]) % 3; SetSourceIP("netaddr:" . ($n + 1));',
    "postdelivery": 'rate("soak-done", $recipientdomain, 1000000000, 3600);',
    "disconnect": "$x = [1, 2, 3];",
}

# Errors that are meant to be; a Redis that does not answer in time is the machine's affair, and is shown with the events.
EXPECTED = ("scripts.kept", "rate.store_unreachable")

SETTINGS = """
[server]
hostname = "soak.test"
data_dir = "data"
[egress]
database = ""
[[listen]]
port = 0
[smtp]
tls_certificate = "cert.pem"
tls_key = "key.pem"
auth_delay_s = 0.1
[delivery]
allow_private_targets = true
sources = ["netaddr:1"]
[queue.schedule]
wait_s = 20
factor = 2
ceiling_s = 60
"""


class Server:
    """The server's process, its folder, and what can be seen of it from outside."""

    def __init__(self, folder: Path, sink_port: int, redis_url: str | None) -> None:
        self.folder = folder
        self.events: Counter[str] = Counter()
        self.bad: list[str] = []
        text = SETTINGS + f'[[transport]]\nid = "mailtransport:1"\nport = {sink_port}\n'
        text += "".join(f'[[source]]\nid = "netaddr:{n}"\naddress = "127.0.0.{10 + n}"\n' for n in (1, 2, 3))
        text += "[hooks]\n" + "".join(f'{hook} = "{hook}.hsl"\n' for hook in SCRIPTS)
        if redis_url is not None:
            text += f'[rate]\nstore = "redis"\n[redis]\nurl = "{redis_url}"\n'
        (folder / "hslpy.toml").write_text(text)
        (folder / "cert.pem").write_text(CERTIFICATE)
        (folder / "key.pem").write_text(KEY)
        (folder / "offset").write_text("0")
        zone: dict[str, Any] = {}
        for name in ("from.test", *(f"d{k}.test" for k in range(DOMAINS))):
            zone[name] = {"MX": [(10, f"mx.{name}")]}
            zone[f"mx.{name}"] = {"A": [sink_address(name)]}
        (folder / "zone.json").write_text(json.dumps(zone))
        for hook in SCRIPTS:
            self.write_script(hook, 0)
        command = [sys.executable, "-m", "tests.soak.hour_server", str(folder)]
        self.process = subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE)
        self._reader = threading.Thread(target=self._read_log, daemon=True)
        self._reader.start()
        until = time.monotonic() + 60
        while not (folder / "port").exists():
            if self.process.poll() is not None or time.monotonic() > until:
                raise SystemExit("\n".join(["the server did not start", *self.bad]))
            time.sleep(0.05)
        self.port = int((folder / "port").read_text())

    def log_ended(self) -> None:
        self._reader.join(30)

    def write_script(self, hook: str, turn: int, *, broken: bool = False) -> None:
        (self.folder / f"{hook}.hsl").write_text(f"// turn {turn}\n{SCRIPTS[hook]}\n{'if (' if broken else ''}")

    def set_clock(self, offset_s: float) -> None:
        (self.folder / "offset.new").write_text(str(offset_s))
        (self.folder / "offset.new").replace(self.folder / "offset")

    def _read_log(self) -> None:
        """Count the events of the log, and keep its errors; in a thread, as the log of an hour is too long for a file."""
        assert self.process.stderr is not None
        for line in self.process.stderr:
            words = line.split(b" ", 3)
            if len(words) >= 3 and re.match(rb"\d{4}-", words[0]):
                event = words[2].decode("latin-1")
                self.events[event] += 1
                bad = words[1] == b"error" and event not in EXPECTED
            else:
                bad = b"Traceback" in line or (line[:1].strip() != b"" and b"Error" in line)
            if bad and len(self.bad) < 100:
                self.bad.append(line.decode("latin-1").rstrip())

    def sample(self) -> dict[str, float]:
        """Give figures of now: sizes in bytes."""
        pid = self.process.pid
        status = Path(f"/proc/{pid}/status").read_text()
        sizes = {name: re.search(rf"{name}:\s+(\d+)", status) for name in ("VmRSS", "Threads")}
        found: dict[str, float] = {
            "rss": int(sizes["VmRSS"][1]) * 1024 if sizes["VmRSS"] else 0,
            "os_threads": int(sizes["Threads"][1]) if sizes["Threads"] else 0,
            "fds": len(os.listdir(f"/proc/{pid}/fd")),
        }
        for suffix in ("", "-wal"):
            total = 0
            for file in (self.folder / "data").rglob(f"*.db{suffix}"):
                with contextlib.suppress(OSError):
                    total += file.stat().st_size
            found["db" + suffix.replace("-", "_")] = total
        with contextlib.suppress(OSError, ValueError):
            found |= json.loads((self.folder / "stats.json").read_text())
        return found


def sink_address(domain: str) -> str:
    return "127.0.0.30" if domain == "from.test" else f"127.0.0.{20 + int(domain[1:-5])}"


@contextlib.asynccontextmanager
async def receivers(ledger: Ledger) -> AsyncIterator[int]:
    """Serve on the address of each domain, on one port; give it."""
    loop = asyncio.get_running_loop()
    tried: set[int] = set()
    addresses = [sink_address(name) for name in ("from.test", *(f"d{k}.test" for k in range(DOMAINS)))]
    first = await loop.create_server(lambda: Receiver(ledger, tried), addresses[0], 0)
    port = int(first.sockets[0].getsockname()[1])
    servers = [first] + [await loop.create_server(lambda: Receiver(ledger, tried), each, port) for each in addresses[1:]]
    try:
        yield port
    finally:
        for server in servers:
            server.close()


class Soak:
    def __init__(self, server: Server, ledger: Ledger) -> None:
        self.server, self.ledger = server, ledger
        self.pace = Pace()
        self.samples: list[dict[str, float]] = []
        tls = ssl.create_default_context()
        tls.check_hostname, tls.verify_mode = False, ssl.CERT_NONE
        self._senders = [Sender(server.port, ledger, self.pace, tls, seed) for seed in range(SENDERS)]

    async def full_load(self, seconds: float) -> float:
        """Give the messages a second that come in and go out again, when they come as fast as they can."""
        await asyncio.sleep(seconds / 3)
        started, before = time.monotonic(), sum(self.ledger.delivered)
        await asyncio.sleep(seconds)
        return (sum(self.ledger.delivered) - before) / 1.4 / (time.monotonic() - started)  # 1.4 recipients a message

    def queued(self) -> float:
        return self.server.sample().get("queue", 0)

    async def run(self, seconds: float, rate: float) -> None:
        tasks = [asyncio.create_task(sender.run()) for sender in self._senders]
        if not rate:
            rate = await self.full_load(min(15.0, seconds / 4)) / 2
            print(f"half of full load is {rate:.0f} messages a second", flush=True)
        self.pace.rate = rate
        others = [asyncio.create_task(each) for each in (self._scripts(), self._clock())]
        end = time.monotonic() + seconds
        while time.monotonic() < end and self.server.process.poll() is None:
            await asyncio.sleep(SAMPLE_S)
            self.take_sample()
        for sender in self._senders:
            sender.stop = True
        for task in others:
            task.cancel()
        await asyncio.wait(tasks, timeout=120)
        if any(not task.done() for task in tasks):
            self.ledger.fault("a client hangs")

    def take_sample(self) -> None:
        sample = {"at": time.time(), "accepted": self.ledger.accepted(), **self.server.sample()}
        self.samples.append(sample)
        with (self.server.folder / "samples.jsonl").open("a") as file:
            file.write(json.dumps(sample) + "\n")
        if len(self.samples) % 6 == 0:
            shown = ("accepted", "queue", "connections", "tasks", "fds", "os_threads", "objects", "lag_ms")
            words = " ".join(f"{name} {sample.get(name, -1):.0f}" for name in shown)
            sizes = " ".join(f"{name} {sample[name] / 1e6:.1f} MB" for name in ("rss", "db", "db_wal"))
            print(f"{len(self.samples) * SAMPLE_S / 60:5.1f} min  {words} {sizes} bad {len(self.server.bad)}", flush=True)

    async def _scripts(self) -> None:
        """Change a script every ten seconds; every third time it does not compile, until the next one."""
        hooks, turn, broken = list(SCRIPTS), 0, ""
        while True:
            await asyncio.sleep(10.0)
            turn += 1
            if broken:
                self.server.write_script(broken, turn)
            hook = hooks[turn % len(hooks)]
            broken = hook if turn % 3 == 0 else ""
            self.server.write_script(hook, turn, broken=bool(broken))

    async def _clock(self) -> None:
        turn = 0
        while True:
            await asyncio.sleep(STEP_EVERY_S)
            turn += 1
            self.server.set_clock(STEPS_S[turn % len(STEPS_S)])

    async def drain(self) -> None:
        """Let what is queued go out: no more misbehaviour, and the clock two hours on, a bit more each time."""
        Receiver.calm = True
        until = time.monotonic() + 300
        offset = 7200.0
        while self.queued() and time.monotonic() < until:
            self.server.set_clock(offset)
            offset += 120.0
            await asyncio.sleep(3.0)
        await asyncio.sleep(5.0)  # the last reports


def grown(samples: list[dict[str, float]], name: str) -> tuple[float, float, float]:
    """Give the means of the first and the last third, and the slope an hour, the first tenth left out: start-up."""
    rows = [row for row in samples[len(samples) // 10 :] if name in row]
    third = max(len(rows) // 3, 1)
    values, times = [row[name] for row in rows], [row["at"] for row in rows]
    mean_at, mean = sum(times) / len(times), sum(values) / len(values)
    spread = sum((at - mean_at) ** 2 for at in times)
    slope = sum((at - mean_at) * (value - mean) for at, value in zip(times, values, strict=True)) / spread if spread else 0
    return sum(values[:third]) / third, sum(values[-third:]) / third, slope * 3600


# How much the last third's mean may be above the first third's: a share, and an amount.
MAY_GROW = {
    "rss": (0.10, 8e6),
    "fds": (0.25, 20),
    "os_threads": (0.0, 4),
    "tasks": (0.25, 30),
    "queue": (0.5, 3000),
    "connections": (0.25, 10),
    "objects": (0.15, 60_000),
    "db": (0.5, 32e6),
    "db_wal": (0.5, 32e6),
}


def verdict(soak: Soak, idle_before: dict[str, float], idle_after: dict[str, float], status: int | None) -> list[str]:
    """Print the books and give what is wrong."""
    ledger, wrong = soak.ledger, []
    print(f"\n{'':12} {'first third':>14} {'last third':>14} {'slope an hour':>14}")
    for name, (share, amount) in MAY_GROW.items():
        if any(name in row for row in soak.samples):
            first, last, slope = grown(soak.samples, name)
            print(f"{name:12} {first:14.0f} {last:14.0f} {slope:14.0f}")
            if last > first * (1 + share) + amount:
                wrong.append(f"{name} grew")
    print(f"idle before: {idle_before}\nidle after:  {idle_after}")
    for name, more in (("fds", 20), ("tasks", 10), ("connections", 0), ("data_bytes", 0)):
        if idle_after.get(name, 0) > idle_before.get(name, 0) + more:
            wrong.append(f"{name} left over: {idle_after.get(name)}")
    lost, ghosts, twice = ledger.lost(), ledger.ghosts(), ledger.twice()
    queued = int(idle_after.get("queue", 0))
    delivered = sum(1 for sent, times in zip(ledger.sent, ledger.delivered, strict=True) if sent == 2 and times)
    bounced = sum(
        1 for sent, n, b in zip(ledger.sent, ledger.delivered, ledger.bounced, strict=True) if sent == 2 and b and not n
    )
    print(
        f"recipients: accepted {ledger.accepted()} = delivered {delivered} + bounced {bounced} + queued {queued}"
        f" + lost {len(lost) - queued}; refused {ledger.sent.count(3)}, no reply to the dot {ledger.sent.count(1)};"
        f" delivered again after a reply that was not sent {len(ledger.unsure)}, without reason {len(twice)}"
    )
    print(f"clients: {dict(ledger.seen)}\nevents: {dict(soak.server.events)}")
    if len(lost) > queued:
        wrong.append(f"lost: {lost[:20]}")
    if queued:
        wrong.append(f"still queued after the end: {queued}")
    if ghosts:
        wrong.append(f"delivered without having been accepted: {ghosts[:20]}")
    if twice:
        wrong.append(f"delivered twice: {twice[:20]}")
    if soak.server.bad:
        wrong.append(f"{len(soak.server.bad)} errors in the log:\n  " + "\n  ".join(soak.server.bad[:20]))
    if ledger.faults:
        wrong.append(f"{ledger.seen['faults']} faults seen by peers:\n  " + "\n  ".join(ledger.faults[:20]))
    if status != 0:
        wrong.append(f"the server's exit status is {status}")
    return wrong


async def main(arguments: argparse.Namespace, folder: Path, redis_url: str | None) -> int:
    ledger = Ledger()
    async with receivers(ledger) as sink_port:
        server = Server(folder, sink_port, redis_url)
        try:
            await asyncio.sleep(3.0)
            soak, idle_before = Soak(server, ledger), server.sample()
            await soak.run(arguments.minutes * 60, arguments.rate)
            if server.process.poll() is not None:
                print(f"the server ended with {server.process.returncode}\n" + "\n".join(server.bad))
                return 1
            await soak.drain()
            await asyncio.sleep(35.0)  # connections to peers are kept for 30 s
            idle_after = server.sample()
            server.process.send_signal(signal.SIGTERM)
            status = await asyncio.to_thread(server.process.wait, 60)
            server.log_ended()
        finally:
            if server.process.poll() is None:
                server.process.kill()
    wrong = verdict(soak, idle_before, idle_after, status)
    print("\n".join(wrong) or "nothing grew, leaked, or was lost")
    return 1 if wrong else 0


def start() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--rate", type=float, default=0.0, help="messages a second; half of full load where it is not given")
    parser.add_argument("--folder", type=Path, help="where to keep spool, log and samples; a temporary folder otherwise")
    parser.add_argument("--no-redis", action="store_true", help="count rates in memory, though there is a redis-server")
    arguments = parser.parse_args()
    folder = arguments.folder or Path(tempfile.mkdtemp(prefix="hslpy-soak-"))
    folder.mkdir(parents=True, exist_ok=True)
    redis = None if arguments.no_redis or not shutil.which("redis-server") else RedisServer()
    print(f"folder {folder}, counters {'in Redis' if redis else 'in memory'}", flush=True)
    try:
        if redis is None:
            return asyncio.run(main(arguments, folder, None))
        with redis:
            return asyncio.run(main(arguments, folder, redis.url))
    finally:
        if arguments.folder is None:
            shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(start())

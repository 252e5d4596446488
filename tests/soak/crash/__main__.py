"""Kills a whole server again and again, and counts what became of the mail: nothing accepted may be lost.

usage, in the checkout: python -m tests.soak.crash --rounds N [--seed N] [--kinds a,b] [--folder F] [--keep]

A round: a server forked from this warm process, six clients, a receiving server; the server dies at a random time, at a
marked step or at one of its I/O calls (a write done by half among them); often again while it recovers. The last life is
left to drain, then everything is counted. Prints the totals; the exit status is 1 where anything was lost or damaged.
"""

from __future__ import annotations

import argparse
import os
import random
import select
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from hslpy.config import Settings, read_settings
from tests.soak.crash import life, load, mail, receiver
from tests.soak.crash.ledger import Reader, Round, Totals
from tests.soak.crash.life import Plan
from tests.soak.crash.marks import AT_START_OR_STOP, MARKS
from tests.support import disk_shim

KINDS = ("time", "step", "call", "recovering", "often")
_READY_S = 20.0
_ROUND_S = 60.0


def forked(work: Callable[[], None], errors: Path) -> int:
    """Give the id of a child that does `work` and exits 0; a traceback goes to `errors`, with exit status 1."""
    child = os.fork()
    if child:
        return child
    status = 1
    try:
        signal.alarm(90)  # the child's own end, whatever happens to us
        work()
        status = 0
    except BaseException:
        with open(errors, "a") as file:
            traceback.print_exc(file=file)
    finally:
        os._exit(status)


def line_from(descriptor: int, timeout_s: float) -> str:
    """Give a line written to the pipe, "" when its writer has gone or the time is over."""
    data = b""
    while not data.endswith(b"\n"):
        if not select.select([descriptor], [], [], timeout_s)[0]:
            return ""
        more = os.read(descriptor, 100)
        if not more:
            return ""
        data += more
    return data.decode().strip()


class Suite:
    def __init__(self, folder: Path, seed: int, keep: bool) -> None:
        self._folder = folder
        self._random = random.Random(seed)
        self._keep = keep
        self.totals = Totals()
        self._received = folder / "received"
        self._received_lines = Reader(self._received)
        self._errors = folder / "errors"
        self.reached = folder / "reached"
        (folder / "compiled").mkdir(mode=0o700)
        for name, text in (("eod", mail.SCRIPT), ("predelivery", mail.BEFORE), ("postdelivery", mail.AFTER)):
            (folder / f"{name}.hsl").write_text(text)
        reading, writing = os.pipe()
        self._receiver = forked(lambda: self._receive(writing, seed), self._errors)
        os.close(writing)
        self._port = int(line_from(reading, _READY_S) or 0)
        os.close(reading)

    def _receive(self, ready: int, seed: int) -> None:
        signal.alarm(0)
        receiver.run(self._received, ready, seed)

    def close(self) -> None:
        os.kill(self._receiver, signal.SIGKILL)
        os.waitpid(self._receiver, 0)

    def settings(self, folder: Path) -> Settings:
        file = folder / "hslpy.toml"
        place = self._folder
        file.write_text(
            f'[server]\nhostname = "mail.example.com"\ndata_dir = "{folder}"\n'
            f'[egress]\ndatabase = ""\n[[listen]]\nhost = "127.0.0.1"\nport = 0\n'
            f'[hooks]\neod = "{place}/eod.hsl"\npredelivery = "{place}/predelivery.hsl"\n'
            f'postdelivery = "{place}/postdelivery.hsl"\nreload_check_s = 0\n'
            f"[spool]\nmin_free_bytes = 0\nbody_file_above_bytes = 20000\n"
            f'[delivery]\nallow_private_targets = true\n[[transport]]\nid = "mailtransport:1"\nnext_hop = "127.0.0.1"\n'
            f"port = {self._port}\n"
        )
        return read_settings(file, {})

    def round(self, kind: str, number: int) -> None:
        folder = self._folder / f"round-{number}"
        folder.mkdir()
        (folder / "compiled").symlink_to(self._folder / "compiled")  # of compiled scripts
        settings = self.settings(folder)
        story = Round()
        notes, sent = Reader(folder / "notes"), Reader(folder / "sent")
        for which, plan in enumerate(self._plans(kind)):
            self._life(settings, folder, f"{number}.{which}", plan, story)
        self._life(settings, folder, "", Plan(drain=True), story)
        story.clients(sent.lines())
        story.server(notes.lines())
        story.receiver(self._received_lines.lines())
        if self._errors.exists():
            story.errors += self._errors.read_text().splitlines()
            self._errors.unlink()
        faults = story.check(self.totals)
        self.totals.rounds[kind] += 1
        if faults:
            self.totals.faults += [f"round {number} ({kind}): {fault}" for fault in faults]
            print(*self.totals.faults[-len(faults) :], sep="\n", flush=True)
        if not faults and not self._keep:
            shutil.rmtree(folder)

    def _plans(self, kind: str) -> list[Plan]:
        """Give the lives that end in death."""
        rng = self._random
        small = rng.random() < 0.5
        if kind == "step":
            step = rng.choice([mark for mark in MARKS if mark not in AT_START_OR_STOP])
            return [Plan(step=step, count=rng.choice((1, 2, 3, 8, 20)), small=small)]
        if kind == "call":
            return [Plan(calls=int(rng.paretovariate(0.5)) % 3000, torn=rng.random() < 0.5, small=small)]
        if kind == "recovering":
            first = Plan(calls=rng.randrange(100, 1500), torn=True, small=small)
            if rng.random() < 0.4:
                step = rng.choice(AT_START_OR_STOP[:-2])
                return [first, Plan(step=step, count=1, small=small), Plan(calls=rng.randrange(300), small=small)]
            return [first] + [Plan(calls=rng.randrange(60), calls_from="start", torn=True, small=small) for _ in range(2)]
        if kind == "often":
            return [Plan(small=small) for _ in range(5)]
        return [Plan(small=small)]

    def _life(self, settings: Settings, folder: Path, seed: str, plan: Plan, story: Round) -> None:
        """Live a life to its end; with a `seed` clients send meanwhile."""
        reading, writing = os.pipe()
        server = forked(lambda: life.live(settings, folder / "notes", self.reached, writing, plan), self._errors)
        os.close(writing)
        port = line_from(reading, _READY_S)
        os.close(reading)
        clients = 0
        if port and seed:
            clients = forked(lambda: load.run(int(port), folder / "sent", seed, 40), self._errors)
        if port and not plan.step and plan.calls < 0 and not plan.drain:
            time.sleep(self._random.expovariate(8) % 0.4)
            os.kill(server, signal.SIGKILL)
        end = time.monotonic() + (_ROUND_S if plan.drain else 3.0)
        while True:
            found, status = os.waitpid(server, os.WNOHANG)
            if found:
                break
            if time.monotonic() > end:  # the step was not reached
                os.kill(server, signal.SIGKILL)
                self.totals.rounds["(not reached)"] += 1
            time.sleep(0.002)
        if not plan.drain:
            story.deaths.append(time.monotonic())
        elif status:
            story.errors.append(f"the draining life ended with status {status}")
        if clients:
            os.waitpid(clients, 0)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=100)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    parser.add_argument("--kinds", default=",".join(KINDS))
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--keep", action="store_true", help="keep the spools of all rounds")
    arguments = parser.parse_args()
    if disk_shim.loaded():
        place = Path(os.environ["LD_PRELOAD"]).parent
    else:
        place = Path(tempfile.mkdtemp(prefix="hslpy-crash-", dir=arguments.folder))
        environment = disk_shim.environment(place)
        os.execve(sys.executable, [sys.executable, "-m", "tests.soak.crash", *sys.argv[1:]], environment)
    suite = Suite(place, arguments.seed, arguments.keep)
    kinds = arguments.kinds.split(",")
    start = time.monotonic()
    try:
        for number in range(arguments.rounds):
            suite.round(kinds[number % len(kinds)], number)
    finally:
        suite.close()
    totals = suite.totals
    passed = Counter(Reader(suite.reached).lines())
    lost = sum("lost" in fault for fault in totals.faults)
    rounds = f"{sum(totals.rounds[kind] for kind in KINDS)} rounds {dict(totals.rounds)}"
    print(f"seed {arguments.seed}: {rounds}, {totals.deaths} deaths, {time.monotonic() - start:.0f} s")
    print(f"recipients: sent {totals.sent}, accepted {totals.accepted}, lost {lost}; faults in all {len(totals.faults)}")
    print(f"delivered {totals.delivered}, reported {totals.reported}; without a 250 seen {totals.unseen_but_delivered}")
    window = f"the final reply was seen {totals.window_s * 1000:.0f} ms before the death at most"
    print(f"delivered twice {totals.twice}, none of them recorded: {window}; reported twice {totals.reported_twice}")
    print(f"marks never passed: {', '.join(sorted(set(MARKS) - set(passed))) or 'none'} (of {len(MARKS)})")
    if not totals.faults:
        shutil.rmtree(place)
    return 1 if totals.faults else 0


if __name__ == "__main__":
    sys.exit(main())

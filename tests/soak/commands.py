"""Random dialogues for long: `python -m tests.soak.commands [commands, 100000]`. Prints what was said, and what it cost.

The state machine of `tests/smtp/test_machine.py` with seeds of its own until so many commands were sent. Exit status 1 where
a reply is missing, out of order or of the wrong kind, where the log has a fault of ours, where a client waits in vain, or
where memory, descriptors or tasks have grown.
"""

from __future__ import annotations

import asyncio
import gc
import os
import random
import re
import sys
import time
import traceback
from pathlib import Path

from hypothesis import HealthCheck, Phase, seed, settings
from hypothesis.stateful import run_state_machine_as_test

from tests.smtp.test_machine import Dialogue, ServerThread

WARM_UP = 0.2  # of the commands; what is allocated once is by then


def figures(server: ServerThread) -> dict[str, int]:
    gc.collect()
    memory = re.search(r"VmRSS:\s+(\d+)", Path("/proc/self/status").read_text())
    return {
        "rss_kb": int(memory[1]) if memory else 0,
        "fds": len(os.listdir("/proc/self/fd")),
        "tasks": server.call(lambda: len(asyncio.all_tasks())),
        "connections": server.call(lambda: len(server.world.server.connections)),
        "data_bytes": server.world.server.shared.data_bytes,
    }


def main(wanted: int) -> int:
    started, first, round_ = time.monotonic(), None, random.SystemRandom().randrange(1 << 30)
    chosen = settings(
        max_examples=50,
        stateful_step_count=40,
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
        print_blob=False,
        phases=(Phase.generate,),
    )
    Dialogue.server = server = ServerThread()
    try:
        while Dialogue.commands < wanted:
            round_ += 1
            try:
                run_state_machine_as_test(seed(round_)(type("Round", (Dialogue,), {})), settings=chosen)
            except Exception:
                traceback.print_exc()
                print(f"seed {round_}")
                return 1
            if first is None and Dialogue.commands > wanted * WARM_UP:
                first = figures(server)
        time.sleep(0.5)  # connections that are closing
        last = figures(server)
    finally:
        server.close()
    first = first or last
    print(f"commands {Dialogue.commands} in {time.monotonic() - started:.0f} s: {dict(Dialogue.seen.most_common())}")
    print(f"after a fifth: {first}\nat the end:    {last}")
    most = {"rss_kb": first["rss_kb"] * 1.15 + 10_000, "fds": first["fds"] + 5, "tasks": first["tasks"] + 3}
    wrong = [name for name, value in last.items() if value > most.get(name, 0)]
    print(f"grew or left over: {', '.join(wrong) or 'nothing'}")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]) if len(sys.argv) > 1 else 100_000))

"""Cuts the power of a recorded spool at many moments: `python -m tests.soak.power_cut [CUTS] [FIRST SEED] [FOLDER]`.

Each record is of twelve sessions that store, change, report on and remove; about 300 cuts are made in each.
"""

from __future__ import annotations

import random
import sys
import tempfile
from collections import Counter
from pathlib import Path

from tests.spool.test_power_cut import WAYS, cut, recorded

_CUTS_A_RECORD = 300


def main(cuts: int, seed: int, folder: str | None) -> None:
    made: Counter[str] = Counter()
    ops_seen = acknowledged = 0
    while made.total() < cuts:
        rng = random.Random(seed)
        with tempfile.TemporaryDirectory(dir=folder) as name:
            place = Path(name)
            ops = recorded(place, seed, 12)
            wanted: dict[int, list[str]] = {}
            for _ in range(min(_CUTS_A_RECORD, cuts - made.total())):
                how = rng.choice(WAYS)
                wanted.setdefault(rng.randrange(len(ops)), []).append(how)
                made[how] += 1
            acknowledged += cut(place, ops, wanted, rng)
        ops_seen += len(ops)
        seed += 1
        print(f"{made.total()} cuts {dict(made)}, {ops_seen} operations recorded, {acknowledged} acknowledged", flush=True)


if __name__ == "__main__":
    given = sys.argv[1:]
    main(int(given[0]) if given else 1000, int(given[1]) if given[1:] else 1, given[2] if given[2:] else None)

"""Runs many random programs through the compiler and the oracle: `python -m tests.soak.oracle [first seed] [how many]`.

Prints each disagreement with the shortest program found, and how many programs were compared.
"""

from __future__ import annotations

import random
import sys

from tests.lang.oracle.compare import difference, shrunk
from tests.lang.oracle.programs import program
from tests.lang.oracle.rules import Skip


def main(first: int, count: int, most: int = 5) -> int:
    compared = skipped = differing = 0
    for seed in range(first, first + count):
        text = program(random.Random(seed), 4 + seed % 30)
        try:
            found = difference(text)
        except Skip:
            skipped += 1
            continue
        compared += 1
        if found is not None:
            differing += 1
            short = shrunk(text)
            print(f"---- seed {seed}: {difference(short)}\n{short}", flush=True)
            if differing >= most:
                break
    print(f"{compared} compared, {skipped} skipped, {differing} differing")
    return 1 if differing else 0


if __name__ == "__main__":
    sys.exit(main(*map(int, sys.argv[1:])))

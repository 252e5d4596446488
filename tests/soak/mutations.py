"""Runs many scripts gone wrong: `python -m tests.soak.mutations [first seed] [how many]`. Prints those that raise."""

from __future__ import annotations

import random
import sys
import traceback
from collections import Counter

from tests.lang.oracle.mutations import mutated, outcome_of
from tests.lang.test_any_text import TEXTS


def main(first: int, count: int) -> int:
    ends: Counter[str] = Counter()
    for seed in range(first, first + count):
        text = mutated(random.Random(seed), TEXTS)
        try:
            ends[outcome_of(text)] += 1
        except BaseException:  # whatever it is, the text is wanted
            ends["raised"] += 1
            print(f"---- seed {seed}\n{text}")
            traceback.print_exc()
            if ends["raised"] >= 5:
                break
    print(dict(ends))
    return 1 if ends["raised"] else 0


if __name__ == "__main__":
    sys.exit(main(*map(int, sys.argv[1:])))

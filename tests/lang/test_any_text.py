"""Whatever a file holds, loading and running it gives diagnostics, a script error or a limit, and no other exception."""

from __future__ import annotations

import random
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.lang.cases_reader import read_cases
from tests.lang.oracle.mutations import mutated, outcome_of

CASES = [case for path in sorted((Path(__file__).parent / "cases").rglob("*.hsl")) for case in read_cases(path)]
TEXTS = [
    case.text
    for case in CASES
    if not any(code.startswith("E") for code, _ in case.problems.values()) and "memory_" not in case.text
]


@settings(max_examples=200, deadline=None, derandomize=True)
@given(st.integers(0, 2**32))
def test_a_script_gone_wrong(seed: int) -> None:
    outcome_of(mutated(random.Random(seed), TEXTS))


@settings(max_examples=60, deadline=None, derandomize=True)
@given(st.binary(max_size=60))
def test_bytes(data: bytes) -> None:
    outcome_of(data.decode("latin-1"))

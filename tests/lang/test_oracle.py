"""The compiler against the plain interpreter of `tests/lang/oracle`, on random programs.

The long form is `python -m tests.soak.oracle`.
"""

from __future__ import annotations

import random

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from tests.lang.oracle.compare import difference, shrunk
from tests.lang.oracle.programs import program
from tests.lang.oracle.rules import Skip

PARTS = 6  # so that they are tried side by side


@pytest.mark.parametrize("part", range(PARTS))
@settings(max_examples=10, deadline=None, derandomize=True)
@given(seed=st.integers(0, 2**32), size=st.integers(4, 25))
def test_compiled_programs_do_what_the_language_says(part: int, seed: int, size: int) -> None:
    text = program(random.Random(PARTS * seed + part), size)
    try:
        found = difference(text)
    except Skip:
        assume(False)
    if found is not None:
        short = shrunk(text)
        raise AssertionError(f"{difference(short)}\n{short}")

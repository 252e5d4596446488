"""All cases in the oldest profile: whatever they give there, it is echoes, diagnostics or script errors."""

from __future__ import annotations

import pytest

from hslpy.lang.profiles import PROFILES
from tests.lang.test_cases import CASES, load, run_program

SLICES = 8


@pytest.mark.parametrize("part", range(SLICES))
def test_every_case_in_the_oldest_profile(part: int) -> None:
    for case in CASES[part::SLICES]:
        loaded = load(case.text, case.files, PROFILES[0])
        if loaded.program is not None:
            run_program(loaded.program, [])
        else:
            assert any(code.startswith("E") for code, _ in case.problems.values()), case.name

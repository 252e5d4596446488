"""Every diagnostic has an example that gives it, a cure that doesn't, and a golden text; so they are what the pages say.

Write the golden file anew with HSLPY_GOLDEN=1.
"""

from __future__ import annotations

import os
import re
from functools import cache
from pathlib import Path

import pytest

from hslpy.errors import OperatorError
from hslpy.lang.diagnostic_examples import EXAMPLES
from hslpy.lang.diagnostics import CODES
from hslpy.tooling.explain import found_in, page_of

GOLDEN = Path(__file__).parents[1] / "lang/golden/diagnostics.txt"
_PART = re.compile(r"^==== (\w+)\n", re.MULTILINE)


def golden() -> dict[str, str]:
    _, *parts = _PART.split(GOLDEN.read_text())
    return dict(zip(parts[::2], (text.strip("\n") for text in parts[1::2]), strict=True))


@cache
def said(code: str) -> tuple[str, ...]:
    return tuple(found_in(EXAMPLES[code], EXAMPLES[code].wrong))


def test_every_code_has_an_example() -> None:
    assert set(EXAMPLES) == set(CODES)


@pytest.mark.parametrize("code", CODES)
def test_the_example_gives_the_code_and_its_cure_does_not(code: str) -> None:
    (found,) = said(code)
    assert re.match(rf"(error|warning)\[{code}\]: ", found), found
    assert found_in(EXAMPLES[code], EXAMPLES[code].right) == []


def test_what_is_said() -> None:
    texts = {code: "\n\n".join(said(code)) for code in sorted(CODES)}
    if os.environ.get("HSLPY_GOLDEN"):
        GOLDEN.write_text("".join(f"==== {code}\n{text}\n\n" for code, text in texts.items()))
    assert texts == golden()


def test_the_page_of_a_code() -> None:
    page = page_of("e204")
    assert page.startswith("E204: unknown function\n\nCure: ")
    assert "    echo lenght(" in page and "    error[E204]: unknown function `lenght`" in page and "    echo length(" in page
    assert "run at hook rcptto" in page_of("R303") and "run under `steps = 1000`" in page_of("R201")
    with pytest.raises(OperatorError, match="no diagnostic 'E999'"):
        page_of("E999")

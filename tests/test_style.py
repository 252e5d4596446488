"""Rules of the code that no linter knows: sizes of files, docstrings of modules, clocks and chance passed in."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

import hslpy

ROOT = Path(hslpy.__file__).parent
FILES = sorted(path.relative_to(ROOT).as_posix() for path in ROOT.rglob("*.py"))
LONGEST = 800  # lines; a file that is longer is to be split

NOT_HANDED_A_LOG = {"event_log.py"}

# Real time as a measure of what a run costs, which is no instant that a script or a message could see.
MEASURES = {"lang/run.py", "lang/regex.py", "scan/dlp.py"}
OUTSIDE = re.compile(
    r"(?<![\w.])(time\.(time|monotonic|sleep)|datetime\.(now|utcnow|today)|random\.[a-z]\w*|uuid\.uuid[14])\("
)
COSTS = re.compile(r"\btime\.(perf_counter|thread_time|process_time)\(")


@pytest.mark.parametrize("name", FILES)
def test_a_file_is_short_and_says_what_it_is_for(name: str) -> None:
    text = (ROOT / name).read_text()
    assert text.count("\n") <= LONGEST
    if text.strip():
        assert ast.get_docstring(ast.parse(text)), "a module says what comes in and what goes out"


@pytest.mark.parametrize("name", [name for name in FILES if name != "clock.py"])
def test_time_and_chance_are_passed_in(name: str) -> None:
    text = (ROOT / name).read_text()
    assert not [match[0] for match in OUTSIDE.finditer(text)]
    assert name in MEASURES or not COSTS.search(text)


@pytest.mark.parametrize("name", [name for name in FILES if name not in NOT_HANDED_A_LOG])
def test_the_log_is_passed_in(name: str) -> None:
    assert "getLogger" not in (ROOT / name).read_text()


@pytest.mark.parametrize("name", [name for name in FILES if not name.startswith("config/")])
def test_only_config_reads_the_environment(name: str) -> None:
    assert not re.search(r"\bos\.(environ|getenv)\b", (ROOT / name).read_text())

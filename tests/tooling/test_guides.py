"""The examples of the guides of modules and of coming from the original: scripts that compile, settings that are read."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import hslpy
from hslpy.config.load import read_settings
from hslpy.lang.scopes import MODULES_OF
from hslpy.tooling.check import check_file

GUIDES = Path(hslpy.__file__).parents[1] / "docs/guide"
TEXT = "".join((GUIDES / name).read_text() for name in ("modules.md", "coming-from-the-original.md"))


@pytest.mark.parametrize("script", re.findall(r"```hsl\n(.*?)```", TEXT, re.DOTALL))
def test_scripts_compile(script: str, tmp_path: Path) -> None:
    file = tmp_path / "eod.hsl"
    file.write_text(script)
    assert not [finding for finding in check_file(file, "eod").findings if finding.is_error]


@pytest.mark.parametrize("settings", re.findall(r"```toml\n(.*?)```", TEXT, re.DOTALL))
def test_settings_are_read(settings: str, tmp_path: Path) -> None:
    file = tmp_path / "hslpy.toml"
    file.write_text(settings)
    read_settings(file, {})


@pytest.mark.parametrize(("name", "module"), MODULES_OF.items())
def test_the_checker_knows_where_functions_of_modules_are(name: str, module: str, tmp_path: Path) -> None:
    file = tmp_path / "eod.hsl"
    file.write_text(f"{name}();")
    (finding,) = check_file(file, "eod").findings
    line = f'import {{ {name} }} from "extras://{module}";'
    assert finding.hint == f"import it: `{line}`"
    file.write_text(line)
    assert not check_file(file, "eod").findings

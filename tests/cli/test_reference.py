"""The reference pages are what the tables say."""

from __future__ import annotations

from pathlib import Path

import pytest

from hslpy.cli.reference import main, pages
from tests.cli.conftest import ROOT


def test_the_committed_pages_are_up_to_date(capsys: pytest.CaptureFixture[str]) -> None:
    status = main([str(ROOT / "docs/reference"), "--check"])
    assert status == 0, f"run python -m hslpy.cli.reference docs/reference:\n{capsys.readouterr().out}"


def test_pages_are_written_and_checked(tmp_path: Path) -> None:
    assert main([str(tmp_path), "--check"]) == 1
    assert main([str(tmp_path)]) == 0
    assert main([str(tmp_path), "--check"]) == 0
    (tmp_path / "hooks.md").write_text("old")
    assert main([str(tmp_path), "--check"]) == 1


def test_every_row_is_on_a_page() -> None:
    text = pages()
    assert "### rate\n" in text["functions.md"] and "### expect\n" in text["functions.md"]
    assert "## predelivery\n" in text["hooks.md"] and "`$senderdomain`" in text["hooks.md"]
    assert "| `data_dir` |" in text["settings.md"]
    assert "## hslpy run\n" in text["commands.md"] and "### hslpy queue list\n" in text["commands.md"]
    assert "### E204: " in text["diagnostics.md"] and "| `senderdomain` |" in text["facts.md"]

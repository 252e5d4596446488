"""`$context` between hooks, in script tests and by hand."""

from __future__ import annotations

from pathlib import Path

import pytest

from hslpy.cli import main


def test_a_test_hands_the_context_from_hook_to_hook(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "count.hsl").write_text('$context["rcpts"] += 1;\nif ($context["rcpts"] > 2) Reject("too many");')
    (tmp_path / "count.test.hsl").write_text(
        """test("the third is refused", function () {
            $context = ["rcpts" => 0];
            $actions = [];
            for ($i = 0; $i < 3; $i++) {
                $result = run_hook("rcptto", "count.hsl", ["context" => $context]);
                $actions[] = $result["action"];
                $context = $result["context"];
            }
            expect($actions, ["accept", "accept", "reject"]);
        });"""
    )
    assert main(["test", str(tmp_path)]) == 0, capsys.readouterr().out


def test_context_may_be_set_by_hand(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "x.hsl"
    file.write_text('if ($context == "trusted") Accept(); Reject("who are you");')
    assert main(["run", str(file), "--hook", "rcptto", "--set", "context=trusted"]) == 0
    assert "Accept" in capsys.readouterr().out

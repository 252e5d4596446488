"""`hslpy test`: our own script tests pass, and failures are told."""

from __future__ import annotations

from pathlib import Path

from tests.cli.conftest import ROOT, Hslpy, spawn


def test_our_script_tests_pass() -> None:
    done = spawn("test", "scripts")
    assert done.status == 0 and ", 0 failed" in done.out, done.out + done.err
    assert not done.err


def test_failures_are_told(hslpy: Hslpy, tmp_path: Path) -> None:
    (tmp_path / "a.test.hsl").write_text(
        'test("good", function () {});\ntest("bad å", function () { echo "here"; expect(1, 2); });\n'
    )
    done = hslpy("test", tmp_path)
    assert done.status == 1 and done.out.endswith("\n1 passed, 1 failed\n")
    assert "  ok      good (" in done.out and "  FAILED  bad å (" in done.out
    assert "echo: here" in done.out and "    error[R320]" in done.out and "^^^" in done.out


def test_no_tests_is_a_failure(hslpy: Hslpy, tmp_path: Path) -> None:
    done = hslpy("test", tmp_path)
    assert done.status == 1 and "no tests found" in done.out


def test_only_matching_tests(hslpy: Hslpy) -> None:
    done = hslpy("test", ROOT / "scripts/tests", "--match", "post-delivery")
    assert done.status == 0 and done.out.endswith("\n1 passed, 0 failed\n")

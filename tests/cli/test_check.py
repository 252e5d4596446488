"""`hslpy check`: findings, their count and the exit status."""

from __future__ import annotations

from pathlib import Path

from tests.cli.conftest import ROOT, Hslpy


def test_all_our_scripts_are_clean(hslpy: Hslpy) -> None:
    done = hslpy("check", ROOT / "scripts")
    assert done.status == 0 and done.out.endswith("files checked: 0 errors, 0 warnings\n"), done.out


def test_errors_and_warnings_are_counted(hslpy: Hslpy, tmp_path: Path) -> None:
    (tmp_path / "a.hsl").write_text("echo $nothing;\nlenght(1);\n")
    (tmp_path / "b.hsl").write_text("echo 1\n")
    done = hslpy("check", tmp_path)
    assert done.status == 1
    assert "did you mean `length`?" in done.out and "warning[W501]" in done.out and "error[E101]" in done.out
    assert done.out.endswith("2 files checked: 2 errors, 1 warning\n")


def test_a_script_that_is_not_there_is_told_with_its_setting(hslpy: Hslpy, tmp_path: Path) -> None:
    (tmp_path / "c.toml").write_text('[hooks]\nrcptto = "none.hsl"\n')
    done = hslpy("check", "--config", tmp_path / "c.toml")
    assert done.status == 2 and "there is no script" in done.err and "hint: `hooks.rcptto` of" in done.err


def test_warnings_alone_are_no_failure(hslpy: Hslpy, tmp_path: Path) -> None:
    (tmp_path / "a.hsl").write_text("echo $nothing;")
    assert hslpy("check", tmp_path).status == 0


def test_a_guessed_hook_is_named(hslpy: Hslpy, tmp_path: Path) -> None:
    (tmp_path / "rcpt-x.hsl").write_text("ScanSA();")
    done = hslpy("check", tmp_path)
    assert done.status == 1 and "was taken for a script of hook rcptto" in done.out
    assert hslpy("check", tmp_path, "--hook", "data").status == 0


def test_the_scripts_of_settings(hslpy: Hslpy, tmp_path: Path) -> None:
    (tmp_path / "any.hsl").write_text("ScanSA();")
    (tmp_path / "c.toml").write_text('[hooks]\nrcptto = "any.hsl"\n')
    done = hslpy("check", "--config", tmp_path / "c.toml")
    assert done.status == 1 and "not at rcptto" in done.out


def test_an_imported_module_is_found_wrong_once(hslpy: Hslpy, tmp_path: Path) -> None:
    (tmp_path / "m.hsl").write_text("function f() { return lenght(1); }")
    for name in ("rcptto.hsl", "data.hsl"):
        (tmp_path / name).write_text('import { f } from "m.hsl"; f();')
    assert hslpy("check", tmp_path).out.count("E204") == 1


def test_wrong_usage(hslpy: Hslpy, tmp_path: Path) -> None:
    assert hslpy("check").status == 2
    assert hslpy("check", tmp_path / "none").status == 2
    assert "did you mean `rcptto`?" in hslpy("check", tmp_path, "--hook", "rcpto").err
    assert hslpy("check", tmp_path).status == 1  # nothing there

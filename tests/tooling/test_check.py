"""Which hook a file is for, and that nothing is found where nothing is wrong."""

from __future__ import annotations

from pathlib import Path

import pytest

from hslpy.errors import OperatorError
from hslpy.tooling.check import check_file, hook_by_name
from hslpy.tooling.run_tests import find_files


@pytest.mark.parametrize(
    ("name", "hook"),
    [
        ("rcptto.hsl", "rcptto"),
        ("rcpt-limit.hsl", "rcptto"),
        ("pre-delivery.hsl", "predelivery"),
        ("preDelivery.hsl", "predelivery"),
        ("post_delivery_stats.hsl", "postdelivery"),
        ("mail-from.hsl", "mailfrom"),
        ("data.hsl", "data"),
        ("eod.hsl", "eod"),
        ("database.hsl", None),
        ("connections.hsl", None),
        ("authentication.hsl", "auth"),
        ("authentication-results.hsl", None),
        ("limits.hsl", None),
        ("lib/rcpt.hsl", None),
        ("hooks/rcptto/default.hsl", "rcptto"),
        ("hooks/pre/a.hsl", "predelivery"),
    ],
)
def test_the_hook_of_a_name(name: str, hook: str | None) -> None:
    assert hook_by_name(Path("/srv", name)) == hook  # whatever the folder is called that tests run in


@pytest.mark.parametrize(
    "text",
    [
        "function f($x) { return rate($x, $x, 1, 60); }",
        'function g() { SetSourceIP("netaddr:1"); }\nfunction h() { Reject("no"); }',
        'if ($senderdomain == "x") Defer("later");\nif ($errorcode > 1) SetMetaData([]);',
        'Accept(["sender" => "a@b.example"]);',
        "Deliver();",
        "Try();",
    ],
)
def test_a_module_is_checked_with_what_all_hooks_have(tmp_path: Path, text: str) -> None:
    file = tmp_path / "module.hsl"
    file.write_text(text)
    assert [f.message for f in check_file(file).findings] == []


@pytest.mark.parametrize(
    ("text", "codes"),
    [
        ('$sender = $transaction["senderaddress"];\necho $sender;', []),
        ('$sender = "postmaster@example.org";\necho $sender;', ["W506"]),
    ],
)
def test_older_names_are_free_where_the_newer_arrays_are_read(tmp_path: Path, text: str, codes: list[str]) -> None:
    file = tmp_path / "eod.hsl"
    file.write_text(text)
    assert [f.code for f in check_file(file).findings] == codes


def test_a_hooks_script_is_checked_at_its_hook(tmp_path: Path) -> None:
    file = tmp_path / "rcptto.hsl"
    file.write_text("$score = ScanSA();")
    checked = check_file(file)
    assert (checked.place, checked.guessed, [f.code for f in checked.findings]) == ("rcptto", True, ["E207"])
    assert not check_file(file, "data").findings


def test_a_test_file_has_the_functions_of_tests(tmp_path: Path) -> None:
    file = tmp_path / "rcptto.test.hsl"
    file.write_text('test("x", function () { expct(1, 1); });')
    (finding,) = check_file(file).findings
    assert (finding.code, finding.hint) == ("E204", "did you mean `expect`?")


def test_a_path_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(OperatorError, match="there is no file"):
        find_files([tmp_path / "none"])

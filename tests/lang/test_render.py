"""Diagnostics as text: the layout, and lines that are awkward to draw."""

from __future__ import annotations

import pytest

from hslpy.errors import ScriptError
from hslpy.lang.diagnostics import Diagnostic, render, render_all
from hslpy.lang.source import Source, Span


def place(line: str, marked: str, before: str = "") -> Span:
    text = (before + line + "\n").encode().decode("latin-1")
    mark = marked.encode().decode("latin-1")
    start = text.index(mark, len(before.encode()))
    return Span(Source("scripts/hooks/rcptto.hsl", text), start, start + len(mark))


def drawn(line: str, marked: str) -> list[str]:
    return render(Diagnostic("E103", place(line, marked), "message")).splitlines()[3:]


def test_the_layout() -> None:
    span = place('$mx = dns_querry($domain, ["type" => "mx"]);', "dns_querry", "\n" * 13)
    diagnostic = Diagnostic("E204", span, "unknown function `dns_querry`", "did you mean `dns_query`?")
    assert render(diagnostic) == (
        "error[E204]: unknown function `dns_querry`\n"
        "  --> scripts/hooks/rcptto.hsl:14:7\n"
        "   |\n"
        '14 | $mx = dns_querry($domain, ["type" => "mx"]);\n'
        "   |       ^^^^^^^^^^\n"
        "   = hint: did you mean `dns_query`?"
    )


def test_a_script_error_with_its_stack_and_notes() -> None:
    span = place('    if (!rate("out", $key, 100, $window)) {', "$window", "\n" * 8)
    caller = Span(span.source, 0, 1)
    error = ScriptError("R103", "rate() wants `interval` above 0 seconds, got 0", span=span, notes=("outcome: Defer",))
    error.stack = (caller, "scripts/a.hsl:22:3, hook rcptto")
    assert render(error) == (
        "error[R103]: rate() wants `interval` above 0 seconds, got 0\n"
        " --> scripts/hooks/rcptto.hsl:9:33\n"
        "  |\n"
        '9 |     if (!rate("out", $key, 100, $window)) {\n'
        "  |                                 ^^^^^^^\n"
        "  = called from scripts/hooks/rcptto.hsl:1:1\n"
        "  = called from scripts/a.hsl:22:3, hook rcptto\n"
        "  = outcome: Defer"
    )


def test_a_warning_and_several() -> None:
    warning = Diagnostic("W501", place("echo $x;", "$x"), "message")
    assert render_all([warning, warning]) == f"{render(warning)}\n\n{render(warning)}"
    assert render(warning).startswith("warning[W501]: message\n")


def test_without_a_place() -> None:
    assert render(ScriptError("R201", "too many steps", hint="is a loop without end?")).splitlines() == [
        "error[R201]: too many steps",
        " = hint: is a loop without end?",
    ]


@pytest.mark.parametrize(
    ("line", "marked", "shown"),
    [
        ("\techo $x;", "$x", ["1 |     echo $x;", "  |          ^^"]),
        ("a\tb\tc", "c", ["1 | a   b   c", "  |         ^"]),
        ("a\tb", "\tb", ["1 | a   b", "  |  ^^^^"]),
        ('echo "å€" . $x;', "$x", ['1 | echo "å€" . $x;', "  |             ^^"]),
        ('"å" + 1', '"å"', ['1 | "å" + 1', "  | ^^^"]),
        ('"漢字" + $x', "$x", ['1 | "漢字" + $x', "  |          ^^"]),
        ('"e\u0301" + $x', "$x", ['1 | "e\u0301" + $x', "  |       ^^"]),
        ("\x1b[31m $x", "$x", ["1 | \ufffd[31m $x", "  |       ^^"]),
    ],
)
def test_lines_that_are_awkward_to_draw(line: str, marked: str, shown: list[str]) -> None:
    assert drawn(line, marked) == shown


def test_bytes_that_are_no_utf_8() -> None:
    source = Source("a", '"\xe5\xff" . $x')
    assert render(Diagnostic("E103", Span(source, 7, 9), "m")).splitlines()[3:] == [
        '1 | "\ufffd\ufffd" . $x',
        "  |        ^^",
    ]


def test_only_the_first_line_of_several_is_drawn() -> None:
    source = Source("a", "f(1,\n2);\n")
    assert render(Diagnostic("E103", Span(source, 0, 8), "m")).splitlines()[3:] == ["1 | f(1,", "  | ^^^^"]


@pytest.mark.parametrize(("start", "end"), [(8, 8), (9, 9), (7, 9)])
def test_the_end_of_a_script_can_be_pointed_at(start: int, end: int) -> None:
    source = Source("a", "echo 1;\n\n")
    lines = render(Diagnostic("E103", Span(source, start, end), "m")).splitlines()
    assert lines[-1].count("^") == 1


def test_a_long_line_is_cut_around_the_place() -> None:
    source = Source("a", "x" * 5000 + "$y" + "z" * 5000)
    line, carets = render(Diagnostic("E103", Span(source, 5000, 5002), "m")).splitlines()[3:]
    assert len(line) < 200
    assert line[carets.index("^") : carets.index("^") + 2] == "$y"
    line, carets = render(Diagnostic("E103", Span(source, 0, 9000), "m")).splitlines()[3:]
    assert max(len(line), len(carets)) < 200


def test_a_message_may_hold_bytes_of_the_script() -> None:
    span = place('"å"', '"å"')
    assert "`å`" in render(Diagnostic("E103", span, "unexpected `\xc3\xa5`")).splitlines()[0]
    assert "`“`" in render(Diagnostic("E103", span, "unexpected `“`")).splitlines()[0]

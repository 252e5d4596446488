"""Inline fast paths and slow ones give the same: each operation with operands whose types are known and unknown."""

from __future__ import annotations

import itertools
import os

import pytest

from hslpy.builtins import for_hook
from hslpy.lang.load import load_program
from hslpy.lang.run import Run, execute
from hslpy.lang.source import Source

ALL_VALUES = [
    "none",
    "true",
    "false",
    "0",
    "1",
    "2.5",
    "-3",
    '""',
    '"a"',
    '"10"',
    '"0x1f"',
    '":"',
    "[]",
    "[1]",
    '["a" => 1]',
]
VALUES = ALL_VALUES if os.environ.get("HSLPY_THOROUGH") else ["none", "true", "-2.5", '"a"', '["a" => 1]']
BODIES = [
    f"A {op} B"
    for op in [
        "+",
        "-",
        "*",
        "/",
        "%",
        "**",
        "==",
        "!=",
        "===",
        "!==",
        "<",
        ">",
        "<=",
        ">=",
        "&",
        "|",
        "^",
        "<<",
        ">>",
        ">>>",
    ]
]
BODIES += [
    "A . B",
    '"$A-$B"',
    "A and B",
    "A or not B",
    "A ?? B",
    "A ? B : 5",
    "A ?: B",
    "A[B]",
    "A[B] ?? 1",
    "A[B:]",
    "A =~ B",
]
BODIES += ["-(A)", "!A", "~A", "A . 1 . B", "[A, ...[B]]", "isset(A[B])", "A[0:2]", "A[0]", 'A["a"]']
TABLE = for_hook(None)

# How the operands A and B come about: written out, typed locals, untyped parameters, elements, results of calls.
FORMS = {
    "literal": ("", "{a}", "{b}"),
    "typed": ("$a = {a}; $b = {b};", "$a", "$b"),
    "element": ("$all = [{a}, {b}];", "$all[0]", "$all[1]"),
    "dynamic": ("$all = [{a}, {b}]; $i = 0; $j = 1;", "$all[$i]", "$all[$j]"),
    "called": ("$a = {a}; $b = {b};", "give($a)", "give($b)"),
    "left called": ("$a = {a}; $b = {b};", "give($a)", "$b"),
    "right called": ("$a = {a}; $b = {b};", "$a", "give($b)"),
    "untyped": ("$a = give({a}); $b = give({b});", "$a", "$b"),
}


def program(form: str, body: str) -> str:
    """Give a program that echoes the body's result, or its error, for all pairs of values."""
    before, a, b = FORMS[form]
    lines = ["function give($x) { return $x; }"]
    for number, (left, right) in enumerate(itertools.product(VALUES, VALUES)):
        given = before.format(a=left, b=right)
        if '"$A' in body:
            whole = f"$x = {a.format(a=left, b=right)}; $y = {b.format(a=left, b=right)};"
            given, text = given + whole, body.replace("$A", "$x").replace("$B", "$y")
        else:
            text = body.replace("A", "\0").replace("B", b).replace("\0", a).format(a=left, b=right)
        lines.append(f"function f{number}() {{ {given} try {{ return [{text}]; }} catch ($e) {{ return $e->message(); }} }}")
        lines.append(f"echo f{number}();")
    return "\n".join(lines)


@pytest.mark.parametrize("body", BODIES)
def test_all_forms_agree(body: str) -> None:
    results: dict[str, list[str]] = {}
    for form in FORMS:
        if form == "literal" and ("[" in body or "=~" in body):
            continue  # a literal is no place, and a bad pattern is found before
        text = program(form, body)
        loaded = load_program("main.hsl", lambda path, importer, text=text: Source(path, text), TABLE, {})  # type: ignore[misc]
        assert loaded.program is not None, (form, [d.message for d in loaded.diagnostics])
        said: list[str] = []
        execute(loaded.program, Run(echo=said.append))
        results[form] = [line.replace("`$a`", "it").replace("the value", "it") for line in said]
    pairs = list(itertools.product(VALUES, VALUES))
    reference = results.pop("untyped")
    for form, said in results.items():
        wrong = [
            (pair, got, wanted)
            for pair, got, wanted in zip(pairs, said, reference, strict=True)
            if _plain(got) != _plain(wanted)
        ]
        assert not wrong, form


def _plain(line: str) -> str:
    """Leave out which name or side an error gives: it differs with the form, rightly."""
    return "is none" if "is none, and text was wanted" in line else line

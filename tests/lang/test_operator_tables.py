"""Every operator over values of all types, against the rules of the oracle: as constants, in variables, and as elements.

A table is one program of many lines, so that what the compiler folds, types or leaves to run time gets the same operands.
"""

from __future__ import annotations

import os
import re

import pytest

from tests.lang.oracle.compare import difference, shrunk

VALUES = [
    "none",
    "true",
    "false",
    "0",
    "-0",
    "1",
    "-1",
    "2",
    "3",
    "0.5",
    "-1.5",
    "7.9",
    "31",
    "32",
    "255",
    "2147483648",
    "4294967295",
    "-2147483649",
    "9007199254740991",
    "20000000000",
    "0.1",
    "(0 - 5)",
    "(10 ** 30)",
    "(10 ** 400)",
    "(10 ** 400 - 10 ** 400)",
    '""',
    '"0"',
    '"1"',
    '"01"',
    '"-1"',
    '"1.0"',
    '"1e2"',
    '"0x1F"',
    '" 1"',
    '"abc"',
    '"%s|%[1]5.1f"',
    '"true"',
    '"none"',
    "''a$''",
    '"\\xe5\\n"',
    "[]",
    "[1]",
    "[1, 2, 1]",
    '["abc", "0x1F"]',
    '["k" => 1]',
    '[3 => 1, "k" => none]',
    "[[1], [[]]]",
    "[none]",
    "[true, false]",
    "strlen",
    "own",
    "$closure",
    "$object",
    "$other",
    "#/a+/i",
]
STRIDE = 1 if os.environ.get("HSLPY_SOAK") else 13  # of the long tables, whose lines are compiled one by one
BINARY = [
    "==",
    "!=",
    "===",
    "!==",
    "<",
    ">",
    "<=",
    ">=",
    "+",
    "-",
    "*",
    "/",
    "%",
    "**",
    ".",
    "&",
    "|",
    "^",
    "<<",
    ">>",
    ">>>",
    "and",
    "or",
    "??",
    "=~",
    "!~",
]
ALL = ", ".join(VALUES)
START = "class Own { $v = 1; } function own($x = 1) { return $x; }"
START += " $closure = function () { }; $object = Own(); $other = Own();\n"
STEPS_OF_A_TABLE = 2_000_000
MANY = 40  # lines


def attempt(statement: str) -> str:
    return f'try {{ {statement} }} catch ($e) {{ echo "error " . $e->line(); }}'


def agree(lines: list[str]) -> None:
    """Check that lines do in both what they should; of many, each seventh."""
    if len(lines) > MANY:
        lines = lines[::STRIDE]
    text = START + "\n".join(lines) + "\n"
    found = difference(text, steps=STEPS_OF_A_TABLE)
    assert found is None, f"{found}\n{shrunk(text)}"


@pytest.mark.parametrize("op", BINARY)
def test_binary(op: str) -> None:
    few = [value for value in VALUES if not (op == "*" and re.search("[0-9]{10}|10 \\*\\*", value))]
    agree([attempt(f"echo {x} {op} {y};") for x in few for y in few])


@pytest.mark.parametrize("op", BINARY)
def test_binary_of_variables(op: str) -> None:
    """One variable that may be of any type, and one of the type it has."""
    body = attempt(f"echo $x {op} $y;")
    every = ALL if op != "*" else ", ".join(VALUES[:15] + VALUES[26:])  # a large count is refused by a limit
    agree([f"foreach ([{every}] as $x) foreach ([{every}] as $y) {body}"])
    agree([f"$y = {value}; foreach ([{ALL}] as $x) {body}" for value in VALUES[:: STRIDE + 2] if op != "*"])
    agree([f"$x = {value}; foreach ([{ALL}] as $y) {body}" for value in VALUES[1 :: STRIDE + 2] if op != "*"])


@pytest.mark.parametrize("op", ["+=", "-=", "*=", "/=", "%=", "**=", ".="])
def test_compound(op: str) -> None:
    few = [value for value in VALUES if not re.search("[0-9]{10}|10 \\*\\*", value)]
    for start, place in (("$x = {}", "$x"), ('$x = ["k" => {}]', '$x["k"]')):
        pairs = [(x, y) for x in few for y in few]
        agree([attempt(f"{start.format(x)}; {place} {op} {y}; echo $x;") for x, y in pairs])


def test_unary_and_conversions() -> None:
    forms = ["!{}", "not {}", "-({})", "~{}", '"" . {}', "number({})", "boolean({})", "string({})", "[{}]", "is_string({})"]
    forms += ["is_number({})", "is_array({})", "is_boolean({})", "is_function({})", "is_object({})", "{} ? 1 : 2", "{} ?: 2"]
    forms += ["({}) === ({})", "({}) == ({})", "length({})", "json_encode([({})])", "array_keys([{}])"]
    agree([attempt(f"echo {form.format(value, value)};") for form in forms for value in VALUES])
    agree([f"foreach ([{ALL}] as $x) " + attempt(f"echo {form.format('$x', '$x')};") for form in forms])
    for form in ["$x++", "++$x", "$x--", "--$x"]:
        agree([attempt(f"$x = {value}; echo {form}; echo $x;") for value in VALUES])
        part = form.replace("$x", '$x["k"]')
        agree([attempt(f'$x = ["k" => {value}]; echo {part}; echo $x;') for value in VALUES])


def test_keys() -> None:
    agree([attempt(f"echo [{value} => 1, 2];") for value in VALUES])
    agree([attempt(f"$a = [5, 6]; $a[{value}] = 1; $a[] = 2; echo $a;") for value in VALUES])
    holders = ["[5, 6, 7]", '["a" => 1, "1" => 2, 31 => 3, "" => 4]', '"text"', "none", "7", "$object", "true", "strlen"]
    for holder in holders:
        agree([attempt(f"echo ({holder})[{value}];") for value in VALUES])
        agree([attempt(f"$h = {holder}; echo $h[{value}] ?? 9; echo isset($h[{value}]);") for value in VALUES])
        agree([f"$h = {holder}; foreach ([{ALL}] as $x) " + attempt("echo $h[$x]; echo isset($h[$x]);")])
        agree([attempt(f"$h = {holder}; echo unset($h[{value}]); echo $h;") for value in VALUES])


BOUNDS = ["", "0", "1", "2", "3", "5", "-1", "-2", "-5", "1.9", '"1"', "true", "none", "[]", "(10 ** 400)", "-(10 ** 400)"]
STEPS = ["", ":", ":1", ":2", ":-1", ":-2", ":0", ":none", ":0.5"]


def test_slices() -> None:
    lines = [
        attempt(f"echo ({value})[{first}:{last}{step}];")
        for value in ['"Halon"', '[1, "k" => 2, 3, [4]]', '""', "[]"]
        for first in BOUNDS
        for last in BOUNDS
        for step in STEPS
        if not step or value == '"Halon"' or (first in BOUNDS[:9] and last in BOUNDS[:9])
    ]
    agree(lines)
    agree([attempt(f"echo ({value})[1:];") for value in VALUES])


def test_slices_are_replaced_and_removed() -> None:
    for new in ["[]", "[8]", "[8, 9]", '["k" => 8, "l" => [9]]', '"xy"', '""', "none", "5"]:
        agree(
            [
                attempt(f"$v = {value}; echo $v[{first}:{last}{step}] = {new}; echo $v; $v[] = 1; echo $v;")
                for value in ['[1, "k" => 2, 3, 5 => 4]', '"Halon"', "[]", "none", "5"]
                for first in BOUNDS[:8]
                for last in BOUNDS[:8]
                for step in ("", ":2", ":-1", ":0")
                if not step or (value[0] == "[" and first in BOUNDS[:4])
            ]
        )
    agree(
        [
            attempt(f"$v = {value}; echo unset($v[{first}:{last}{step}]); echo $v; $v[] = 1; echo $v;")
            for value in ['[1, "k" => 2, 3, 5 => 4]', "[]"]
            for first in BOUNDS[:12]
            for last in BOUNDS[:12]
            for step in ("", ":2", ":-1", ":0")
        ]
    )


def test_formats() -> None:
    specifiers = [
        f"%{argument}{fill}{align}{width}{precision}{letter}"
        for letter in "sfxcb"
        for fill in ("", "'0", "'-")
        for align in ("", "<", ">", "^", "=")
        for width in ("", "1", "8")
        for precision in ("", ".0", ".2")
        for argument in ("", "[1]")
    ]
    for first, second in [
        ("1.5", "-7.9"),
        ('"text"', '"12"'),
        ("-255", "true"),
        ("0.005", "65"),
        ("none", "[1]"),
        ("1e", "0"),
    ]:
        values = f"[{first.replace('1e', '(10 ** 400)')}, {second}]"
        agree([attempt(f'echo "<{specifier}>" % {values};') for specifier in specifiers])
    agree([attempt(f'echo "<%s %f %x %c %b %.3s %5.1f>" % [{value}, 1, 2, 65, 3, "abcd", 2.25];') for value in VALUES])
    odd = [
        "%",
        "%%",
        "a%",
        "%q",
        "%5",
        "%[0]",
        "%[2]s",
        "%[1]s%s",
        "%[1]s%[0]s%s",
        "%%%s%%",
        "%'s",
        "%''s5s",
        "%05f",
        "%-5f",
        "%.f",
    ]
    agree([attempt(f'echo "{template}" % [1, 2];') for template in odd])


def test_destructuring() -> None:
    patterns = [
        "[$a, $b]",
        "[$a, $b = 5]",
        "[$a, ...$b]",
        "[...$b]",
        '["k" => $a, "l" => $b]',
        '["k" => $a = 1, "l" => $b = [2]]',
        '[1 => $a, "0" => $b = none]',
        "[$a, [$b, $c = 7] = [1]]",
        '["k" => [$a, ["m" => $b]]]',
        "[[$a], [$b]]",
        '[$x["p"], $x["q"][]]',
        "[$object->v, $a]",
    ]
    sources = [
        *VALUES,
        "[1, 2, 3]",
        '["l" => 1, "k" => 2]',
        "[[1, 2], [3]]",
        '["k" => [1, ["m" => 2]]]',
        "[5 => 1, 0 => 2]",
        "[none, none]",
    ]
    shown = "echo [$a ?? 'no', $b ?? 'no', $c ?? 'no', $x ?? 'no', $object->v];".replace("'", '"')
    for pattern in patterns:
        agree(
            [
                attempt(f"unset($a); unset($b); unset($c); unset($x); echo {pattern} = {source}; {shown}")
                for source in sources
            ]
        )


def test_quiet_paths() -> None:
    paths = [
        "$u",
        "$u[0]",
        '$u["a"]["b"]',
        "$x[0]",
        "$x[0][1]",
        '$x["k"]',
        '$x["k"]["l"]',
        "$x->v",
        "$x->v->w",
        "$x[0]->v",
        "$x[0:1]",
    ]
    for value in [*VALUES[:: STRIDE // 2 + 1], '["k" => ["l" => none]]', '[["v" => 1]]', "$object"]:
        lines = [f"$x = {value};"]
        for path in paths:
            lines.append(attempt(f"echo {path} ?? 9;"))
            lines.append(attempt(f"echo isset({path});"))
            lines.append(attempt(f"$y = $x; echo unset({path.replace('$x', '$y')}); echo $y;") if "u" not in path else "")
        agree(lines)

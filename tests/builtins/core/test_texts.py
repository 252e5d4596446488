"""YAML and character sets: results, what is malformed, and long texts."""

from __future__ import annotations

from typing import Any

import pytest

from hslpy.errors import ScriptError
from hslpy.lang.run import BoundBuiltin, LimitExceeded
from tests.builtins.core.support import ROWS, call, fresh_run, python_of, value_of

YAML: list[tuple[str, Any]] = [
    ("", None),
    ("--- a", "a"),
    ("a: 1\nb:\n  - x\n  - 2.5e1\nc: {d: -3, e: .5}", {"a": 1, "b": ["x", 25], "c": {"d": -3, "e": 0.5}}),
    ("[true, False, null, ~, '', yes]", [True, False, None, None, "", "yes"]),
    ("[2020-01-01, 1:30, 1_000]", ["2020-01-01", "1:30", "1_000"]),
    ("['1', \"2\", 0x10, 0o17, 010, +1, '~']", ["1", "2", 16, 15, 10, 1, "~"]),
    ("[!!str 5, !custom x]", ["5", "x"]),
    ("[.inf, .nan, 1e999]", [".inf", ".nan", "1e999"]),
    ("5: a\n'6': b\n07: c", {5: "a", 6: "b", "07": "c"}),
    ("|\n  two\n  lines\n", "two\nlines\n"),
    (">\n  one\n  line\n", "one line\n"),
    ("a: 1 # comment\na: 2", {"a": 2}),
    ("x: &n [1]\ny: *n\nz: &s text\n*s : k", {"x": [1], "y": [1], "z": "text", "text": "k"}),
    ("<<: {a: 1}", {"<<": {"a": 1}}),
    ("å: ö".encode().decode("latin-1"), {"Ã¥": "Ã¶"}),
    ('"\\u00e5"', "Ã¥"),
    ("a: [", None),
    ("a: b: c", None),
    ("\tx: 1", None),
    ("a\n--- b\n", None),
    ("&a [*a]", None),
    ("*nowhere", None),
    ("? [a]\n: b", None),
    ("\xff", None),
    ("a\0b", None),
    ("!!python/object/apply:os.system [x]", ["x"]),
]  # fmt: skip


@pytest.mark.parametrize(("text", "expected"), YAML, ids=[text[:30] for text, _ in YAML])
def test_yaml(text: str, expected: Any) -> None:
    assert call("yaml_decode", text) == expected


def test_yaml_aliases_are_values_of_their_own() -> None:
    found = BoundBuiltin(ROWS["yaml_decode"], fresh_run()).call("a: &x [1]\nb: *x\nc: *x")
    found.items["b"].append(2.0)
    assert python_of(found) == {"a": [1], "b": [1, 2], "c": [1]}


def test_yaml_of_laughs_takes_no_memory() -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 40)]
    found = BoundBuiltin(ROWS["yaml_decode"], fresh_run(memory_bytes=1 << 20)).call("\n".join(lines))
    assert len(found.items) == 40


def test_yaml_is_bounded() -> None:
    with pytest.raises(LimitExceeded):
        call("yaml_decode", "- x\n" * 100_000, run=fresh_run(memory_bytes=1 << 20))
    assert call("yaml_decode", "[" * 50_000) is None  # deep, and never closed
    assert call("yaml_decode", "[" * 1_001 + "]" * 1_001) is None
    assert call("yaml_decode", "[" * 200 + "]" * 200) is not None
    with pytest.raises(ScriptError):
        call("yaml_decode", "a", {"x": True})


def convert(source: str, target: str, text: str) -> tuple[str | None, float]:
    one = BoundBuiltin(ROWS["Iconv"], fresh_run()).call(source, target)
    result = ROWS["Iconv->convert"].function(fresh_run(), one, value_of(text))
    return result, ROWS["Iconv->errno"].function(one)


SETS: list[tuple[str, str, str, tuple[str | None, float]]] = [
    ("ISO-8859-1", "UTF-8", "\xe5", ("\xc3\xa5", 0)),
    ("utf-8", "iso-8859-15", "\xe2\x82\xac", ("\xa4", 0)),
    ("UTF-8", "UTF-16LE", "a", ("a\0", 0)),
    ("SHIFT_JIS", "UTF-8", "\x82\xa0", ("\xe3\x81\x82", 0)),
    ("CP1252", "UTF-8", "\x80", ("\xe2\x82\xac", 0)),
    ("UTF-8", "ISO-8859-1", "\xe2\x82\xac", (None, 84)),
    ("UTF-8", "ISO-8859-1//IGNORE", "a\xe2\x82\xacb\xff", ("ab", 0)),
    ("UTF-8", "ASCII//TRANSLIT", "\xc3\xa9\xe2\x82\xac\xef\xac\x81", ("e?fi", 0)),
    ("UTF-8", "UTF-8", "a\xff", (None, 84)),
    ("UTF-8", "UTF-8", "a\xe2\x82", (None, 22)),
    ("NONSENSE", "UTF-8", "a", (None, 22)),
    ("UTF-8", "rot13", "a", (None, 22)),
    ("UTF-8", "hex", "a", (None, 22)),
    ("punycode", "UTF-8", "a", (None, 22)),
    ("UTF-8", "", "a", (None, 22)),
    ("UTF-8", "\0", "a", (None, 22)),
    ("UTF-8", "UTF-16LE", "\xc3\xa5" * 100_001, ("\xe5\0" * 100_001, 0)),
]


@pytest.mark.parametrize(
    ("source", "target", "text", "expected"), SETS, ids=[f"{s}-{t!r}-{n}" for n, (s, t, _, _) in enumerate(SETS)]
)
def test_iconv(source: str, target: str, text: str, expected: tuple[str | None, float]) -> None:
    assert convert(source, target, text) == expected


def test_a_closed_converter_converts_no_more() -> None:
    one = BoundBuiltin(ROWS["Iconv"], fresh_run()).call("UTF-8", "UTF-8")
    ROWS["Iconv->close"].function(one)
    assert ROWS["Iconv->convert"].function(fresh_run(), one, "a") is None
    assert ROWS["Iconv->errno"].function(one) == 9

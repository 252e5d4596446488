"""How values are told in logs: short, at a bounded cost, and without secrets."""

from __future__ import annotations

import pytest

from hslpy.lang.shown import arguments, shortened, without_secrets
from hslpy.lang.values import Array, HslObject, Regex, Value


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (None, "none"),
        (True, "true"),
        (3600.0, "3600"),
        (0.5, "0.5"),
        ("", '""'),
        ('a "b"\n', '"a \\"b\\"\\n"'),
        ("x" * 40, '"' + "x" * 40 + '"'),
        ("x" * 1234, '"' + "x" * 40 + '..." (1,234 bytes)'),
        (Array.of([]), "[]"),
        (Array.of([1.0, "a"]), '[1, "a"]'),
        (Array.mapping({"count": 100.0, "inner": Array.of([1.0, 2.0])}), '["count" => 100, "inner" => [2 elements]]'),
        (Array.of([1.0] * 10), "[1, 1, 1, ... 7 more]"),
        (Array.mapping({"Password": "x", "user": "u"}), '["Password" => ***, "user" => "u"]'),
        (HslObject("MIME"), "<MIME>"),
        (Regex("a+", "i"), "#/a+/i"),
    ],
)
def test_values(value: Value, shown: str) -> None:
    assert shortened(value) == shown


def test_arguments_by_name() -> None:
    given = [("user", "alice"), ("password", "hunter2"), ("saslpassword", "x"), ("apiKey", "k"), ("n", 1.0), ("token", None)]
    assert arguments(given, conceal=False) == '"alice", ***, ***, ***, 1, none'
    assert arguments(given, conceal=True) == "string, string, string, string, number, none"
    assert arguments([("passed", "shown")], conceal=False) == '"shown"'
    assert arguments([("n", float(n)) for n in range(20)], conceal=False) == "0, 1, 2, 3, 4, 5, 6, 7, ..."


def test_secrets_are_taken_out_of_texts() -> None:
    assert without_secrets('got "hunter2", or hunter2!', ["hunter2"]) == 'got "***", or ***!'
    assert without_secrets('got "ab" about', ["ab"]) == 'got "***" about'
    assert without_secrets('got "a\\"b\\"c"', ['a"b"c']) == 'got "***"'
    assert without_secrets("nothing", ["", "x"]) == "nothing"

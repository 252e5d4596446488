"""Values as HSL writes them, and where two of them part."""

from __future__ import annotations

import pytest

from hslpy.lang.values import Array, Value
from hslpy.tooling.notation import difference, notation


def table(**items: Value) -> Array:
    return Array.mapping(items)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "none"),
        (True, "true"),
        (2.0, "2"),
        (0.5, "0.5"),
        ("a", '"a"'),
        ('a"b\\\n', '"a\\"b\\\\\\n"'),
        ("$x costs $5", '"\\$x costs $5"'),
        ("Ã¥", '"å"'),
        ("\xff", '"ÿ"'),
        ("\x01", '"\\x01"'),
        (Array.of([1.0, "b"]), '[1, "b"]'),
        (Array.of([]), "[]"),
        (Array({0: 1.0, "k": Array.of([2.0])}, 1), '[0 => 1, "k" => [2]]'),
        (Array({1: "a"}, 2), '[1 => "a"]'),
    ],
)
def test_notation(value: Value, text: str) -> None:
    assert notation(value) == text


def test_a_long_value_is_cut() -> None:
    assert len(notation(Array.of(["x" * 100] * 1000))) < 2100
    assert notation("x" * 1_000_000).endswith("...")


def test_equal_values_have_no_difference() -> None:
    assert difference(table(a=1.0), table(a=1.0)) == []


def test_the_innermost_difference_is_named() -> None:
    lines = difference(table(a=1.0, b=Array.of([1.0, "x"])), table(a=1.0, b=Array.of([1.0, "y"])))
    assert lines == ['expected at ["b"][1]: "y"', '     got at ["b"][1]: "x"']


def test_values_that_look_alike_show_their_types() -> None:
    assert difference("1", 1.0) == ["expected: 1 (number)", '     got: "1" (string)']


def test_long_strings_say_where_they_part() -> None:
    assert difference("a" * 30 + "b", "a" * 30 + "c")[-1] == "they differ from byte 30 on"


def test_other_keys_are_a_difference_of_the_whole() -> None:
    assert difference(table(a=1.0), table(b=1.0)) == ['expected: ["b" => 1]', '     got: ["a" => 1]']

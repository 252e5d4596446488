"""No builtin on large arguments keeps other sessions waiting for long, or takes memory unasked."""

from __future__ import annotations

from typing import Any

import pytest

from hslpy.errors import ScriptError
from hslpy.lang.run import LimitExceeded
from hslpy.lang.values import Array
from tests.builtins.core.support import call, longest_stretch_s
from tests.support.yardstick import assert_within

TEXT = "lorem ipsum, dolor sit amet; " * 150_000  # 4 MB
WIDE = "caf\xc3\xa9 " * 300_000
NUMBERS = Array.of([float(n * 7919 % 100_003) for n in range(100_000)])
WORDS = Array.of([f"word{n}" for n in range(100_000)])
JSON = "[" + ",".join(f'{{"id":{n},"name":"caf\xc3\xa9 {n}"}}' for n in range(40_000)) + "]"

HEAVY: list[tuple[str, list[Any]]] = [
    ("str_lower", [TEXT]),
    ("str_upper", [WIDE]),
    ("str_replace", ["o", "00", TEXT]),
    ("str_replace", ["nowhere", "x", TEXT]),
    ("str_split", [TEXT[:600_000], " "]),
    ("explode", [", ", TEXT]),
    ("str_find", [TEXT, "nowhere"]),
    ("str_chunk", [TEXT, 30]),
    ("array_map", [lambda x: x, NUMBERS]),
    ("array_filter", [lambda x: True, NUMBERS]),
    ("array_includes", ["x", WORDS]),
    ("array_join", [WORDS, ","]),
    ("array_join", [NUMBERS, ","]),
    ("array_keys", [WORDS]),
    ("array_range", [0, 300_000]),
    ("array_reverse", [WORDS]),
    ("array_shuffle", [WORDS]),
    ("array_sort", [lambda a, b: a < b, Array.of(list(NUMBERS.values())[:20_000])]),
    ("array_unique", [WORDS]),
    ("array_combine", [WORDS, NUMBERS]),
    ("string", [WORDS]),
    ("pcre_match", ["nowhere[0-9]", TEXT]),
    ("pcre_match_all", [r"(\w+) (\w+)", TEXT[:600_000]]),
    ("pcre_replace", [r"\w+", "<$0>", TEXT[:600_000]]),
    ("pcre_replace", ["/\xc3\xa9/u", "e", WIDE[:600_000]]),
    ("pcre_quote", [TEXT]),
    ("md5", [TEXT]),
    ("hmac_sha2", [TEXT, TEXT, 512]),
    ("hash", [TEXT]),
    ("base64_encode", [TEXT]),
    ("base64_decode", [TEXT]),
    ("base32_encode", [TEXT[:1_000_000]]),
    ("url_encode", [TEXT[:1_000_000]]),
    ("url_decode", ["%20" * 300_000]),
    ("xtext_encode", [TEXT[:1_000_000]]),
    ("json_encode", [WORDS]),
    ("json_decode", [JSON]),
    ("random_bytes", [1 << 20]),
    ("pcre_quote", ["(" * 300_000]),
    ("csv_encode", [NUMBERS]),
    ("csv_decode", [TEXT]),
    ("csv_decode", ["," * 4_000_000]),
    ("csv_decode", ['"a\n",' * 100_000]),
    ("csv_decode", [("," * 130_000 + "\n") * 3]),
    ("str_strip", [TEXT, TEXT]),
    ("pack", [" " * 16_000_000]),
]


@pytest.mark.parametrize(("name", "args"), HEAVY, ids=[f"{name}-{n}" for n, (name, _) in enumerate(HEAVY)])
def test_turns_are_given(name: str, args: list[Any]) -> None:
    assert_within(25, lambda: longest_stretch_s(name, args))  # several times what they take


HUGE: list[tuple[str, list[Any]]] = [
    ("str_repeat", ["x" * 1000, 2_000_000]),
    ("str_replace", ["l", "x" * 10_000, TEXT]),
    ("array_range", [0, 1e12]),
    ("range", [0, 1e9]),
    ("array_join", [NUMBERS, "x" * 10_000]),
    ("pcre_replace", ["l", "x" * 10_000, TEXT]),
    ("str_split", ["," * 4_000_000, ","]),
]


@pytest.mark.parametrize(("name", "args"), HUGE, ids=[f"{name}-{n}" for n, (name, _) in enumerate(HUGE)])
def test_growth_without_end_is_stopped(name: str, args: list[Any]) -> None:
    with pytest.raises(LimitExceeded):
        call(name, *args)


def test_numbers_without_end_are_refused() -> None:
    with pytest.raises(ScriptError):
        call("array_range", 0, 1e30)


def test_long_texts_give_what_short_ones_do() -> None:
    text = " \n" * 50_000 + "x" * 300_000 + "\t" * 70_000
    assert call("str_strip", text) == text.strip()
    assert call("str_lstrip", text) == text.lstrip()
    assert call("str_rstrip", text) == text.rstrip()
    assert call("str_strip", " " * 100_000) == ""
    haystack = "ab" + "x" * 600_000
    assert call("str_rfind", haystack, "ab") == 0
    assert call("str_rfind", "x" * 300_000 + "needle" + "y" * 262_141, "needle") == 300_000
    assert call("str_find", "x" * 262_141 + "needle" + "y" * 300_000, "needle") == 262_141
    assert call("str_split", "a," * 40_000 + "b", ",", 30_000)[-1] == "a," * 10_001 + "b"
    assert call("str_replace", "ab", "c", "ab" * 200_000) == "c" * 200_000
    assert call("json_decode", '["' + "\xc3\xa5" * 200_000 + '"]') == ["\xc3\xa5" * 200_000]
    assert call("json_decode", '["' + "\xc3\xa5" * 200_000 + '\xc3"]') is None


def test_limits_beyond_any_count() -> None:
    assert call("str_split", "a,b", ",", 1e300) == ["a", "b"]
    assert call("explode", ",", "a,b", -1e300) == ["a", "b"]

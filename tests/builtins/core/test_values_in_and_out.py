"""Core builtins against their reference: results, edges and refusals, a table a topic."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from hslpy.builtins import for_hook
from hslpy.errors import ScriptError
from hslpy.lang.run import Limits, Run
from hslpy.lang.values import Array, HslFunction
from tests.builtins.core.support import call, fresh_run, value_of

RESULTS: list[tuple[str, list[Any], Any]] = [
    # strings
    ("chr", [255], "\xff"),
    ("str_lower", ["ABC\xc9"], "abc\xc9"),
    ("str_upper", ["abc\xff\xdf\xb5"], "ABC\xff\xdf\xb5"),
    ("str_strip", ["\x85 a\xa0 "], "\x85 a\xa0"),
    ("trim", ["\t\r\n a \n"], "a"),
    ("str_replace", ["", "x", "abc"], "abc"),
    ("str_replace", ["aa", "b", "aaa"], "ba"),
    ("str_split", ["a,b,c", ",", 1], ["a,b,c"]),
    ("str_split", ["a,b,c", ",", 2], ["a", "b,c"]),
    ("str_split", ["a,b,c", ",", -2], ["a,b", "c"]),
    ("str_split", ["abc", ","], ["abc"]),
    ("explode", ["\xff", "a\xffb"], ["a", "b"]),
    ("str_find", ["abc", "c", 99], -1),
    ("str_find", ["abc", ""], 0),
    ("str_rfind", ["abcabc", "c", 1], 2),
    ("str_rfind", ["abc", "a", 9], -1),
    ("substr", ["Halon", -3, 2], "lo"),
    ("substr", ["Halon"], "Halon"),
    ("str_slice", ["Halon", 1, -1], "alo"),
    ("str_slice", ["Halon", 2, 0], ""),
    ("str_slice", ["Halon", -99], "Halon"),
    ("str_chunk", ["", 3], []),
    ("str_repeat", ["ab", 2.9], "abab"),
    # arrays
    ("array_filter", [lambda x: x != "b", ["a", "b", "c"]], {0: "a", 2: "c"}),
    ("array_reverse", [{"k": 1, 5: 2}], {0: 2, "k": 1}),
    ("array_sort", [lambda a, b: a < b, [2, 3, 1]], {2: 1, 0: 2, 1: 3}),
    ("array_sort", [lambda a, b: a > b, [2, 3, 1]], {1: 3, 0: 2, 2: 1}),
    ("array_sort", [lambda a, b: True, [1, 2, 3]], {2: 3, 1: 2, 0: 1}),
    ("array_sort", [lambda a, b: a < b, {"b": 1, "a": 2}, {"keys": True}], {"a": 2, "b": 1}),
    ("array_sort", [lambda a, b: a < b, []], []),
    ("array_unique", [[1, True, "1", 1, None, None, [1], [1]]], {0: 1, 1: True, 2: "1", 4: None, 6: [1]}),
    ("array_reduce", [lambda a, b: a + b, [1, 2, 3]], 6),
    ("array_reduce", [lambda a, b: a + b, [5]], 5),
    ("array_reduce", [lambda a, b: a, [], None], None),
    ("array_find", [lambda x: x > 1, [1, 2, 3]], 2),
    ("array_includes", ["2", [1, 2]], False),
    ("in_array", ["2", [1, 2]], True),
    ("in_array", [None, [False, 0]], False),
    ("array_range", [0, 5, 2], [0, 2, 4]),
    ("array_range", [5, 0], []),
    ("array_range", [0, 1, 0.25], [0, 0.25, 0.5, 0.75]),
    ("range", [0, 5, 2], [0, 2, 4]),
    ("range", [1, 1], [1]),
    ("array_join", [[1, True, "x"], "-"], "1-true-x"),
    ("array_random", [[]], None),
    ("array_combine", [["a", "1", "a"], [1, 2, 3]], {"a": 3, 1: 2}),
    # numbers
    ("round", [0.5], 1),
    ("round", [-0.5], -1),
    ("round", [2.675, 2], 2.68),
    ("round", [1e300, 2], 1e300),
    ("round", [5, -400], 0),
    ("ceil", [float("inf")], float("inf")),
    ("log", [1000, 10], 3),
    ("pow", [10, 400], float("inf")),
    ("random_number", [5, 5], 5),
    ("rand", [5, 5], 5),
    # regular expressions
    ("pcre_match", ["(?<n>a)|(b)", "b"], {0: "b", 1: "", 2: "b", "n": ""}),
    ("pcre_match_all", ["(?<n>.)b", "abcb"], {0: ["ab", "cb"], 1: ["a", "c"], "n": ["a", "c"]}),
    ("pcre_replace", ["/x/i", "$0$0", "aXb"], "aXXb"),
    ("pcre_replace", ["(a)", "$1$2$$10", "a"], "a$2$a0"),
    ("pcre_replace", ["b*", "-", "abc"], "-a--c-"),
    ("pcre_replace", ["a", lambda m: "<" + m.items[0] + ">", "banana"], "b<a>n<a>n<a>"),
    ("pcre_replace", ["/\xc3\xa5/u", "a", "b\xc3\xa5\xc3\xa4"], "ba\xc3\xa4"),
    ("pcre_quote", ["a.b*c[d]#/-"], r"a\.b\*c\[d\]\#\/\-"),
    # hashes
    ("md5", ["\xff"], "00594fd4f42ba43fc1ca0427a0576295"),
    ("md5", ["a", {"binary": True}], "\x0c\xc1u\xb9\xc0\xf1\xb6\xa81\xc3\x99\xe2iw&a"),
    ("hmac_md5", ["k" * 100, "m"], "42b30474e1d3e8c54f2060cc0b35bf27"),
    # encodings
    ("base64_decode", ["SGVs\nbG8="], "Hello"),
    ("base64_decode", ["S"], ""),
    ("base64_decode", ["\xff\xe9"], ""),
    ("base64url_decode", ["__4_"], "\xff\xfe?"),
    ("base32_decode", ["JBSWY3DP====junk"], "Hello"),
    ("base32_decode", ["J"], ""),
    ("url_encode", ["\xc3\xa5 /"], "%C3%A5%20%2F"),
    ("url_decode", ["%zz%4"], "%zz%4"),
    ("url_decode", ["%41" * 20_000 + "%zz"], "A" * 20_000 + "%zz"),
    ("xtext_encode", ["\xc3 \x7f~"], "+C3+20+7F~"),
    ("xtext_decode", ["+4+41"], "+4A"),
    # JSON
    ("json_encode", [{1: "a"}], '{"1":"a"}'),
    ("json_encode", [[[], {"a": []}]], '[[],{"a":[]}]'),
    ("json_encode", ["\xff"], None),
    ("json_encode", [[float("inf")]], None),
    ("json_encode", [HslFunction(len, None, 1, 1)], None),
    ("json_encode", ["\xc3\xa5", {"ensure_ascii": False}], '"\xc3\xa5"'),
    ("json_encode", [{"a": [1]}, {"pretty_print": True}], '{\n    "a": [\n        1\n    ]\n}'),
    ("json_encode", [1e21], "1e+21"),
    ("json_decode", ['{"a": {"1": [1.5e1, null]}}'], {"a": {1: [15, None]}}),
    ("json_decode", ['"\\u00e5\\ud83d\\ude00"'], "\xc3\xa5\xf0\x9f\x98\x80"),
    ("json_decode", ['"\\ud800"'], None),
    ("json_decode", ["NaN"], None),
    ("json_decode", ["[1,]"], None),
    ("json_decode", ["01"], None),
    ("json_decode", ["\xff"], None),
    ("json_decode", ['"a\nb"'], None),
    ("json_decode", ["/*x*/ {\"a//b\": 1 // y\n}", {"allow_comments": True}], {"a//b": 1}),
    ("json_decode", ["// 1"], None),
    ("json_decode", ["1" + "0" * 5000], float("inf")),
    # time
    ("strftime", ["%d/%m/%Y", 0, {"local": False}], "01/01/1970"),
    ("strftime", ["\xc3\xa5 %Y", 0, {"local": False}], "\xc3\xa5 1970"),
    ("strptime", ["Tue, 01 Feb 2022 03:04:05 +0100", "%a, %d %b %Y %H:%M:%S %z"], 1643681045),
    ("strptime", ["22:13:21", "%H:%M:%S", {"local": False}], 1_700_000_001),
    ("strptime", ["22:13", "%R", {"local": False}], 1_699_999_980),
    ("strptime", ["2020-02", "%Y-%m", {"local": False}], 1_580_515_200),
    ("strptime", ["2020-02-30", "%F"], None),
    ("strptime", ["1", "%("], None),
    ("strpduration", ["1h 30m"], 5400),
    ("strpduration", ["1.5d"], 129_600),
    ("strpduration", [""], None),
    ("strpduration", ["1x"], None),
    ("time", [], 1_700_000_000),
    ("executiontime", [], 0),
    # networks
    ("inet_includes", ["10.1.2.3", "10.0.0.0/8"], True),
    ("inet_includes", ["10.1.2.3", "10.9.9.9/8"], True),
    ("inet_includes", ["10.1.2.3", "0.0.0.0/0"], True),
    ("inet_includes", ["10.1.2.3", "::/0"], False),
    ("inet_includes", ["10.1.2.3", "10.1.2.3"], True),
    ("inet_includes", ["10.1.2.3", "10.0.0.0/33"], None),
    ("inet_includes", ["10.1.2.3", "10.0.0.0/\xb2"], None),
    ("inet_includes", ["::1%eth0", "::/0"], None),
    ("in_network", ["nonsense", "10.0.0.0/8"], False),
    ("inet_pton", ["::1"], "\0" * 15 + "\x01"),
    ("inet_ntop", ["\0" * 15 + "\x01"], "::1"),
    ("inet_ntop", ["abc"], None),
    ("inet_reverse", ["2001:db8::1"], "1." + "0." * 23 + "8.b.d.0.1.0.0.2.ip6.arpa"),
    ("inet_reverse", ["bad"], None),
    ("domain_includes", ["WWW.Example.org", "example.ORG"], True),
    ("domain_includes", ["badexample.org", "example.org"], False),
    # types
    ("number", ["1_0"], 0),
    ("number", ["\xb2"], 0),
    ("string", [None], "none"),
    ("string", [True], "true"),
    ("is_function", [HslFunction(len, None, 1, 1)], True),
    ("is_function", [None], False),
    ("length", [True], None),
]  # fmt: skip


@pytest.mark.parametrize(("name", "args", "expected"), RESULTS, ids=[f"{r[0]}-{n}" for n, r in enumerate(RESULTS)])
def test_results(name: str, args: list[Any], expected: Any) -> None:
    result = call(name, *args)
    assert result == expected
    assert (result.__class__ is bool) == (expected.__class__ is bool)


REFUSED: list[tuple[str, list[Any], str]] = [
    ("chr", [256], "from 0 to 255"),
    ("chr", [float("nan")], "finite"),
    ("ord", [""], "at least one byte"),
    ("str_split", ["a", ""], "delimiter"),
    ("str_chunk", ["a", 0], "at least 1"),
    ("array_range", [0, 5, 0], "other than 0"),
    ("array_reduce", [lambda a, b: a, []], "initial"),
    ("array_join", [["a", None]], "element 1 is none"),
    ("array_join", [{"k": None}], 'element "k" is none'),
    ("array_sort", [lambda a, b: True, [1], {"key": True}], "unknown option `key`"),
    ("sqrt", [-1], "at least 0"),
    ("log", [0], "above 0"),
    ("sha2", ["a", 384], "256 or 512"),
    ("random_bytes", [1 << 21], "1048576"),
    ("pcre_match", ["(", "a"], "missing `)`"),
    ("pcre_compile", ["["], "missing `]`"),
    ("pcre_replace", ["a", lambda m: None, "a"], "must return a string"),
    ("strftime", ["%Y", 1e300], "cannot show"),
    ("strftime", ["a\0", 1], "wants `format`"),
    ("uuidv5", ["x", "y"], "as a UUID"),
    ("json_encode", [1, {"ensure_asci": True}], "unknown option"),
    ("strlen", [5], "wants string"),
    ("array_map", ["x", []], "wants function"),
]


@pytest.mark.parametrize(("name", "args", "message"), REFUSED, ids=[f"{r[0]}-{n}" for n, r in enumerate(REFUSED)])
def test_refusals(name: str, args: list[Any], message: str) -> None:
    with pytest.raises(ScriptError) as caught:
        call(name, *args)
    assert message in caught.value.message
    assert not caught.value.message.endswith(".")


def test_arguments_are_not_changed_and_results_are_owned() -> None:
    inner = value_of([1])
    outer = Array.of([inner])
    run = fresh_run()
    result = for_hook(None)["array_reverse"].function(run, outer)
    result.items[0].append(2.0)
    assert len(inner.items) == 1
    assert list(outer.items) == [0]


def test_deep_json_is_read_and_written() -> None:
    text = "[" * 3000 + "]" * 3000
    run = fresh_run()
    rows = for_hook(None)
    value = rows["json_decode"].function(run, text)
    assert rows["json_encode"].function(run, value) == text


def test_sleeping_waits_on_the_runs_clock() -> None:
    waited: list[float] = []

    class Clock:
        now = 100.0

        def time(self) -> float:
            return self.now

        def monotonic(self) -> float:
            return self.now

        async def sleep(self, seconds: float) -> None:
            waited.append(seconds)
            Clock.now += seconds

    run = Run(clock=Clock(), limits=Limits(wall_s=60), waiter=asyncio.run)  # type: ignore[arg-type]
    run.start()
    assert for_hook(None)["sleep"].function(run, 1.5) == 1.5
    assert waited == [1.5]

"""Binary records, CSV, URLs and the texts of mail: results and what is refused."""

from __future__ import annotations

from typing import Any

import pytest

from hslpy.lang.run import LimitExceeded, Limits, Run
from tests.builtins.core.support import call, longest_stretch_s
from tests.support.yardstick import assert_within

ENABLED = {"type": "boolean", "true": ["yes"]}
RESULTS: list[tuple[str, list[Any], Any]] = [
    ("pack", ["Z*C3", "ab", 1, 2, 3], "ab\0\1\2\3"),
    ("pack", ["a32", "key"], "key" + "\0" * 29),
    ("pack", ["x16"], "\0" * 16),
    ("pack", ["N*", 1, 2], "\0\0\0\1\0\0\0\2"),
    ("pack", ["v", 65537], "\1\0"),
    ("pack", ["E", 1.5], "?\xf8\0\0\0\0\0\0"),
    ("pack", ["H3", "abc"], "\xab\xc0"),
    ("pack", ["H*", "zz"], None),
    ("pack", ["C"], None),
    ("pack", ["C", 1, 2], None),
    ("pack", ["Q", 1], None),
    ("pack", ["C", "x"], None),
    ("unpack", ["N*", "\0\0\0\1\0\0\0\2\xff"], [1, 2]),
    ("unpack", ["cC", "\xff\xff"], [-1, 255]),
    ("unpack", ["Z*a*", "ab\0cd"], ["ab", "cd"]),
    ("unpack", ["Z4", "ab\0d"], ["ab"]),
    ("unpack", ["x2H*", "..\xab"], ["ab"]),
    ("unpack", ["H3", "\xab\xcd"], ["abc"]),
    ("unpack", ["e", "\0\0\0\0\0\0\xf8?"], [1.5]),
    ("unpack", ["C", "abc", 1], [98]),
    ("unpack", ["C", "abc", 9], None),
    ("unpack", ["n", "a"], None),
    ("zlib_uncompress", ["\x1f\x8b", 31], None),
    ("csv_encode", [['a"b', "c,d", 1, "x\ny"]], '"a""b","c,d",1,"x\ny"'),
    ("csv_encode", [["a b", "c", "\t", ""]], '"a b",c,"\t",'),
    ("csv_decode", ['a,b\n"1,\n2",3\n'], [{"a": "1,\n2", "b": "3"}]),
    ("csv_decode", ['"open'], None),
    ("csv_decode", [""], []),
    (
        "csv_decode",
        ["enabled,n\nyes,\nno,7", {"schema": {"enabled": ENABLED, "n": {"type": "number", "nullable": True}}}],
        [{"enabled": True, "n": None}, {"enabled": False, "n": 7}],
    ),
    ("csv_explode", ["a,b\nc,d"], ["a", "b"]),
    (
        "url_parse",
        ["https://u:p@Example.com:81/p?q=1#f"],
        {"schema": "https", "username": "u", "password": "p", "hostname": "example.com", "port": 81, "path": "/p"}
        | {"query": "q=1", "fragment": "f"},
    ),
    ("url_parse", ["http://h:99999/"], None),
    ("envelope_address_parse", ['"a\\"b c"@example.com'], {"localpart": 'a"b c', "domain": "example.com"}),
    ("envelope_address_parse", ["a@[192.0.2.1]"], {"localpart": "a", "domain": "[192.0.2.1]"}),
    ("envelope_address_parse", ["a@b@c"], None),
    ("envelope_address_parse", ["a.@b"], None),
    ("envelope_address_parse", ["a b@c"], None),
    ("header_addresslist_extract", ["Charlie <c@example.org>; James <j@example.com>"], ["c@example.org", "j@example.com"]),
    ("header_addresslist_extract", ['"a, b" <c@d> (x, y), Group: e@f, g@h;'], ["c@d", "e@f", "g@h"]),
    ("header_addresslist_extract", ["From: a@b.c\r\n", {"field": True}], ["a@b.c"]),
    ("header_addresslist_extract", [""], []),
    ("header_addresslist_extract", ["undisclosed-recipients:;"], []),
    ("header_addresslist_extract", ["a@b c@d"], None),
    ("header_addresslist_extract", ["(" * 100 + "a@b"], None),
    ("header_dkim_decode", ["DKIM-Signature: v=1; b=ab\r\n cd;", {"field": True}], {"b": "ab cd", "v": "1"}),
    ("header_dkim_decode", ["v=1; v=2"], None),
    ("mimeword_decode", ["=?utf-8?q?a?= =?utf-8?q?b?= c =?x?b?!!?="], "ab c =?x?b?!!?="),
    ("mimeword_decode", ["=?rot13?q?uryyb?="], "=?rot13?q?uryyb?="),
    ("mimeword_decode", ["=?rot13?q?a?= =?utf-8?q?b?="], "=?rot13?q?a?= b"),
    ("mimeword_decode", ["=?utf-8?q?=C3?=\r\n =?utf-8?q?=A5?="], "\xc3\xa5"),
    ("mimeword_decode", ["=?utf-8?b?/w==?="], "=?utf-8?b?/w==?="),
]  # fmt: skip


@pytest.mark.parametrize(("name", "args", "expected"), RESULTS, ids=[f"{r[0]}-{n}" for n, r in enumerate(RESULTS)])
def test_results(name: str, args: list[Any], expected: Any) -> None:
    assert call(name, *args) == expected


def test_encoded_words_come_back() -> None:
    text = "Gr\xc3\xbc\xc3\x9fe " * 30
    encoded = call("mimeword_encode", text)
    assert encoded.isascii()
    assert max(map(len, encoded.split(" "))) <= 75
    assert call("mimeword_decode", encoded) == text


def test_a_zip_bomb_is_stopped() -> None:
    bomb = call("zlib_compress", call("zlib_compress", "\0" * 100_000_000))
    with pytest.raises(LimitExceeded):
        call("zlib_uncompress", call("zlib_uncompress", bomb) * 1 + "", run=Run(limits=Limits(memory_bytes=50_000_000)))


HEAVY: list[tuple[str, list[Any]]] = [
    ("csv_decode", ["a,b,c\n" * 30_000]),
    ("unpack", ["C*", "x" * 200_000]),
    ("zlib_compress", ["lorem ipsum" * 200_000]),
    ("header_addresslist_extract", ["a@b.example, " * 60_000]),
    ("mimeword_decode", ["=?utf-8?q?a?= " * 60_000]),
    ("envelope_address_parse", ["a." * 490 + "@"]),
    ("header_dkim_decode", ["a=" + " " * 1_000_000 + "x"]),
]


@pytest.mark.parametrize(("name", "args"), HEAVY, ids=[name for name, _ in HEAVY])
def test_turns_are_given(name: str, args: list[Any]) -> None:
    assert_within(25, lambda: longest_stretch_s(name, args))  # several times what they take

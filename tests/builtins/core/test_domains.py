"""Public suffixes and internationalised names: results, and what is none of it."""

from __future__ import annotations

from typing import Any

import pytest

from hslpy.errors import ScriptError
from tests.builtins.core.support import call


def utf8(text: str) -> str:
    return text.encode().decode("latin-1")


RESULTS: list[tuple[str, list[Any], Any]] = [
    ("domain_publicsuffix", ["Mail.Example.COM"], "com"),
    ("domain_publicsuffix", ["com"], "com"),
    ("domain_publicsuffix", ["user.github.io"], "github.io"),
    ("domain_publicsuffix", ["a.b.ck"], "b.ck"),
    ("domain_publicsuffix", ["www.ck"], "ck"),
    ("domain_publicsuffix", [utf8("www.食狮.公司.cn")], utf8("公司.cn")),
    ("domain_publicsuffix", ["www.xn--85x722f.xn--55qx5d.cn"], "xn--55qx5d.cn"),
    ("domain_publicsuffix", [""], None),
    ("domain_publicsuffix", ["."], None),
    ("domain_publicsuffix", ["localhost"], None),
    ("domain_publicsuffix", ["192.0.2.1"], None),
    ("domain_publicsuffix", ["x." * 5000 + "com"], None),
    ("domain_publicsuffix", ["\xff.com"], None),
    ("idna_encode", [utf8("BÜCHER.Example")], "xn--bcher-kva.Example"),
    ("idna_encode", [utf8("日本語。jp")], "xn--wgv71a119e.jp"),
    ("idna_encode", ["Example.com."], "Example.com."),
    ("idna_encode", [utf8("a..ü")], None),
    ("idna_encode", [utf8("ü" * 64 + ".example")], None),
    ("idna_encode", ["x" * 64], None),
    ("idna_encode", ["\xff"], None),
    ("idna_encode", [utf8("☃.example")], None),
    ("idna_decode", ["XN--BCHER-KVA.example"], utf8("bücher.example")),
    ("idna_decode", ["plain.example"], "plain.example"),
    ("idna_decode", ["xn--.example"], None),
    ("idna_decode", ["xn--" + "9" * 59 + ".example"], None),
    ("idna_decode", ["\xff"], None),
]


@pytest.mark.parametrize(("name", "args", "expected"), RESULTS, ids=[f"{r[0]}-{n}" for n, r in enumerate(RESULTS)])
def test_results(name: str, args: list[Any], expected: Any) -> None:
    assert call(name, *args) == expected


def test_an_unknown_option_is_an_error() -> None:
    assert call("domain_includes", "a.b", "b", {}) is True
    with pytest.raises(ScriptError) as caught:
        call("domain_includes", "a.b", "b", {"x": True})
    assert caught.value.hint == "it takes no options"

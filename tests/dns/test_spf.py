"""SPF: terms, macros, limits and errors, over a scripted resolver. The names of cases say which section they are of."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from hslpy.dns.scripted import ScriptedResolver
from hslpy.dns.spf import SpfResult, check_host


def check(
    zone: dict[str, dict[str, Any]], ip: str = "192.0.2.1", sender: str = "a@d.example", helo: str = "h.example"
) -> SpfResult:
    return asyncio.run(check_host(ScriptedResolver(zone), ip, helo, sender, receiver="mx.r.example", now_s=1e9))


def record(text: str, **more: Any) -> dict[str, dict[str, Any]]:
    """Give a zone with this record at d.example; `more` are names (`_` for a dot) and what they have."""
    return {"d.example": {"TXT": [f"v=spf1 {text}"]}, **{name.replace("_", "."): types for name, types in more.items()}}


A1 = {"A": ["192.0.2.1"]}
RESULTS: list[tuple[str, dict[str, dict[str, Any]], str]] = [
    ("4.5 no record", {"d.example": {"TXT": ["v=spf10 -all", "other"]}}, "none"),
    ("4.5 no such domain", {}, "none"),
    ("4.5 two records", {"d.example": {"TXT": ["v=spf1 -all", "v=spf1"]}}, "permerror"),
    ("4.4 no answer", {"d.example": {"TXT": "SERVFAIL"}}, "temperror"),
    ("4.6 case and spaces", {"d.example": {"TXT": ["V=SPF1   IP4:192.0.2.1  -ALL "]}}, "pass"),
    ("4.6 no end of terms", record("ip4:192.0.2.1 " * 2000), "permerror"),
    ("4.6 errors come before matches", record("ip4:192.0.2.1 nonsense -all"), "permerror"),
    ("4.7 the default", record("ip4:198.51.100.1"), "neutral"),
    ("5.1 all", record("~all"), "softfail"),
    ("5.1 argument", record("all.com"), "permerror"),
    ("5.2 include passes", record("include:e.example -all", e_example={"TXT": ["v=spf1 ip4:192.0.2.0/24 -all"]}), "pass"),
    ("5.2 include fails", record("include:e.example ~all", e_example={"TXT": ["v=spf1 -all"]}), "softfail"),
    ("5.2 include of nothing", record("include:e.example -all"), "permerror"),
    ("5.2 include without an answer", record("include:e.example", e_example={"TXT": "TRY_AGAIN"}), "temperror"),
    ("5.3 a", record("a:e.example -all", e_example=A1), "pass"),
    ("5.3 a with a prefix", record("a:e.example/24//64 -all", e_example={"A": ["192.0.2.99"]}), "pass"),
    ("5.3 a of the domain", {"d.example": {"TXT": ["v=spf1 a -all"], **A1}}, "pass"),
    ("5.3 too long a prefix", record("a/33"), "permerror"),
    ("5.4 mx", {"d.example": {"TXT": ["v=spf1 mx -all"], "MX": [(1, "m.example")]}, "m.example": A1}, "pass"),
    (
        "5.4 too many",
        {"d.example": {"TXT": ["v=spf1 mx -all"], "MX": [(1, f"m{n}.example") for n in range(11)]}},
        "permerror",
    ),
    ("5.5 ptr", record("ptr -all", **{"1_2_0_192_in-addr_arpa": {"PTR": ["x.d.example"]}, "x_d_example": A1}), "pass"),
    ("5.5 ptr that doesn't lead back", record("ptr -all", **{"1_2_0_192_in-addr_arpa": {"PTR": ["x.d.example"]}}), "fail"),
    ("5.6 ip4 of another", record("ip4:192.0.3.0/24 -all"), "fail"),
    ("5.6 no address", record("ip4:192.0.2 -all"), "permerror"),
    ("5.6 leading zero", record("ip4:192.0.2.0/024"), "permerror"),
    ("5.6 ip6 of a v4 client", record("ip6:::/0 -all"), "fail"),
    ("5.7 exists", record("exists:%{ir}.%{l1r-}.e.example -all", **{"1_2_0_192_a_e_example": {"A": ["127.0.0.2"]}}), "pass"),
    ("6 redirect", record("redirect=e.example", e_example={"TXT": ["v=spf1 ?all"]}), "neutral"),
    ("6 redirect to nothing", record("redirect=e.example"), "permerror"),
    ("6 redirect twice", record("redirect=e.example redirect=e.example"), "permerror"),
    ("6 unknown modifier", record("x-y=%{d} -all"), "fail"),
    ("7 unknown macro", record("exists:%{x}.example"), "permerror"),
    ("7 macro of explanations", record("exists:%{t}.example"), "permerror"),
    ("7 lone percent", record("exists:50%.example"), "permerror"),
    ("4.6.4 two void lookups", record("a:a.example a:b.example -all"), "fail"),
    ("4.6.4 three void lookups", record("a:a.example a:b.example a:c.example -all"), "permerror"),
    ("4.6.4 ten lookups", record("a:e.example " * 10 + "~all", e_example={"A": ["10.0.0.1"]}), "softfail"),
    ("4.6.4 eleven lookups", record("a:e.example " * 11 + "~all", e_example={"A": ["10.0.0.1"]}), "permerror"),
    ("4.6.4 a circle", record("include:d.example -all"), "permerror"),
]  # fmt: skip


@pytest.mark.parametrize(("zone", "expected"), [r[1:] for r in RESULTS], ids=[r[0] for r in RESULTS])
def test_results(zone: dict[str, dict[str, Any]], expected: str) -> None:
    assert check(zone).result == expected


def test_who_is_checked() -> None:
    zone = {"h.example": {"TXT": ["v=spf1 exists:%{s}.example -all"]}, "postmaster@h.example.example": {"A": ["127.0.0.1"]}}
    assert check(zone, sender="").result == "pass"
    assert check(record("-all"), sender="d.example").result == "fail"
    assert check(record("-all"), ip="nonsense").result == "invalid"
    assert check(record("-all"), sender="a@localhost").result == "none"
    assert check(record("ip4:192.0.2.1 -all"), ip="::ffff:192.0.2.1").result == "pass"
    assert check(record("ip6:2001:db8::/32 -all"), ip="2001:db8::7").result == "pass"


def test_reasons() -> None:
    zone = record("ip4:10.0.0.0/8 -all exp=why.%{d}", why_d_example={"TXT": ["%{i} is not %{d}'s, says %{r} at %{t}%_%%"]})
    assert check(zone).reason == "192.0.2.1 is not d.example's, says mx.r.example at 1000000000 %"
    assert check(record("ip4:192.0.2.0/24 -all")).reason == "ip4:192.0.2.0/24"
    assert check(record("-all exp=nothing.example")).reason == "-all"
    assert "d.example has 2 SPF records" in check({"d.example": {"TXT": ["v=spf1", "v=spf1"]}}).reason


def test_macros_of_the_rfc() -> None:
    """Section 7.4."""
    sender = "strong-bad@email.example.com"
    cases = {
        "%{s}": sender,
        "%{d2}": "example.com",
        "%{dr}": "com.example.email",
        "%{d2r}": "example.email",
        "%{l-}": "strong.bad",
        "%{lr-}": "bad.strong",
        "%{l1r-}": "strong",
        "%{ir}.%{v}._spf.%{d2}": "3.2.0.192.in-addr._spf.example.com",
        "%{S}": "strong-bad%40email.example.com",
    }
    for macro, expected in cases.items():
        zone = {"email.example.com": {"TXT": ["v=spf1 -all exp=e.example"]}, "e.example": {"TXT": [macro]}}
        assert check(zone, "192.0.2.3", sender).reason == expected


def test_it_ends_in_time() -> None:
    class Slow(ScriptedResolver):
        async def query(self, name: str, record_type: Any, servers: Any = ()) -> Any:
            await asyncio.sleep(10)

    found = asyncio.run(check_host(Slow(), "192.0.2.1", "h.example", "a@d.example", lifetime_s=0.01))
    assert found == SpfResult("temperror", "DNS took too long")

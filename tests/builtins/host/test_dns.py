"""DNS functions over a scripted resolver: results, extended results, options, block lists and SPF."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest

from hslpy.dns.contract import Answer, RecordType
from hslpy.dns.scripted import ScriptedResolver
from tests.hooks.world import World

ZONE: dict[str, dict[str, Any]] = {
    "a.example": {"A": ["192.0.2.1", "192.0.2.2"], "AAAA": ["2001:db8::1"], "NS": ["ns.example"], "CAA": ['0 issue "ca"']},
    "four.example": {"A": ["192.0.2.4"]},
    "mx.example": {"MX": [(20, "b.example"), (10, "a.example"), (20, "a2.example")]},
    "txt.example": {"TXT": Answer(("onetwo", "three"), (), True, 60.0, (("one", "two"), ("three",)))},
    "www.example": {"CNAME": ["a.example"]},
    "down.example": {"A": "SERVFAIL", "AAAA": "TRY_AGAIN", "TXT": "TRY_AGAIN"},
    "half.example": {"A": "SERVFAIL", "AAAA": ["2001:db8::2"]},
    "1.2.0.192.in-addr.arpa": {"PTR": ["a.example"]},
    "1.2.0.192.bl.example": {"A": ["127.0.0.2", "127.0.0.3"]},
    "spf.example": {"TXT": ["v=spf1 ip4:192.0.2.0/24 -all"]},
    "soft.example": {"TXT": ["v=spf1 ~all"]},
}


def shown(world: World, *expressions: str, resolver: Any = None) -> list[str]:
    script = "".join(f"echo {expression};" for expression in expressions)
    world.run("rcptto", script, resolver=resolver or ScriptedResolver(ZONE))
    return world.echoed()


RESULTS: list[tuple[str, str]] = [
    ('dns_query("a.example")', '["result"=>[0=>"192.0.2.1",1=>"192.0.2.2"],"dnssec"=>false]'),
    ('dns_query("a.example", ["type" => "AAAA"])["result"]', '[0=>"2001:db8::1"]'),
    ('dns_query("mx.example", ["type" => "mx"])["result"]', '[0=>"a.example",1=>"b.example",2=>"a2.example"]'),
    ('dns_query("txt.example", ["type" => "txt"])', '["result"=>[0=>"onetwo",1=>"three"],"dnssec"=>true]'),
    ('dns_query("a.example", ["type" => "caa"])["result"][0]', '0 issue "ca"'),
    ('dns_query("a.example", ["type" => "txt"])', '["error"=>"NO_DATA","dnssec"=>false]'),
    ('dns_query("nowhere.example", ["extended_result" => true])', '["error"=>"NXDOMAIN","dnssec"=>false]'),
    ('dns_query("down.example")["error"]', "SERVFAIL"),
    ('dns_query("down.example", ["type" => "aaaa"])["error"]', "TRY_AGAIN"),
    ('dns_query(inet_reverse("192.0.2.1"), ["type" => "ptr"])["result"]', '[0=>"a.example"]'),
    ('dns("a.example")', '[0=>"192.0.2.1",1=>"192.0.2.2",2=>"2001:db8::1"]'),
    ('dns("four.example")', '[0=>"192.0.2.4"]'),
    ('dns("half.example")', '[0=>"2001:db8::2"]'),
    ('dns("nowhere.example")', "[]"),
    ('dns("down.example", ["extended_result" => true])', '["error"=>"SERVFAIL","dnssec"=>false]'),
    ('dns("mx.example", ["extended_result" => true])', '["error"=>"NO_DATA","dnssec"=>false]'),
    ('dns4("www.example")', '[0=>"192.0.2.1",1=>"192.0.2.2"]'),
    ('dns6("a.example")', '[0=>"2001:db8::1"]'),
    ('dnscname("www.example")', '[0=>"a.example"]'),
    ('dnsmx("mx.example")[0]', "a.example"),
    ('dnsns("a.example")', '[0=>"ns.example"]'),
    ('dnsptr("192.0.2.1")', '[0=>"a.example"]'),
    ('dnsptr("1.2.0.192.in-addr.arpa")', '[0=>"a.example"]'),
    ('dnstxt("txt.example")', '[0=>"one two",1=>"three"]'),
    ('dnsbl("192.0.2.1", "bl.example")', '[0=>"127.0.0.2",1=>"127.0.0.3"]'),
    ('dnsbl("192.0.2.9", "bl.example")', "[]"),
    ('dnsbl("nonsense", "bl.example")', "[]"),
    ('spf_query("192.0.2.9", "h", "a@spf.example")', '["result"=>"pass","reason"=>"ip4:192.0.2.0/24"]'),
    ('spf_query("198.51.100.1", "h", "spf.example")["result"]', "fail"),
    ('spf_query("192.0.2.9", "spf.example", "")["result"]', "pass"),
    ('spf_query("nonsense", "h", "spf.example")["result"]', "invalid"),
    ('spf("192.0.2.9", "h", "spf.example")', "0"),
    ('spf("192.0.2.9", "h", "soft.example")', "20"),
    ('spf("192.0.2.9", "h", "nowhere.example")', "50"),
    ('spf("10.0.0.1", "h", "spf.example")', "100"),
    ('spf("10.0.0.1", "h", "spf.example", ["extended_result" => true])', '["result"=>"fail"]'),
]  # fmt: skip


@pytest.mark.parametrize(("expression", "expected"), RESULTS, ids=[expression for expression, _ in RESULTS])
def test_results(world: World, expression: str, expected: str) -> None:
    assert shown(world, expression) == [expected]


@pytest.mark.parametrize(
    ("script", "message"),
    [
        ('dns_query("a.example", ["type" => "mxx"]);', "did you mean `mx`?"),
        ('dns_query("a.example", ["types" => "mx"]);', "did you mean `type`?"),
        ('dns_query("a.example", ["timeout" => 0]);', "wants `timeout` of at least 0.001 seconds"),
        ('dns("a.example", ["servers" => ["ns.example"]]);', 'wants IP addresses as `servers`, got "ns.example"'),
        ('dns4("a.example", ["type" => "a"]);', "unknown option `type` of dns4()"),
        ('spf_query("192.0.2.9", "h", "spf.example", ["servers" => "127.0.0.1"]);', "wants array, got string"),
        ('dns_query("a.example", ["servers" => "127.0.0.1"]);', "= hint: one element is a list too: `[$value]`"),
        ('dns_query("a.example", ["timeout" => "5"]);', "= hint: `number()` makes one of a text"),
        ('dnsbl("192.0.2.9", "bl.example", ["x"]);', "wants IP addresses"),
    ],
)
def test_mistakes(world: World, script: str, message: str) -> None:
    assert world.run("rcptto", script, resolver=ScriptedResolver(ZONE)).failed
    assert message in world.failure()


def test_servers_and_timeout_reach_the_resolver(world: World) -> None:
    asked: list[tuple[str, ...]] = []

    class Slow(ScriptedResolver):
        async def query(self, name: str, record_type: RecordType, servers: Sequence[str] = ()) -> Answer:
            asked.append(tuple(servers))
            if "slow" in name:
                await asyncio.sleep(10)
            return await super().query(name, record_type)

    script = (
        'dns_query("a.example", ["servers" => ["127.0.0.1", "::1"]])["dnssec"]',
        'dns_query("slow.example", ["timeout" => 0.01])["error"]',
        'dnsbl("192.0.2.1", "slow.example", [], 0.01)',
        'dnsbl("192.0.2.1", "bl.example", ["127.0.0.9"])[0]',
    )
    assert shown(world, *script, resolver=Slow(ZONE)) == ["false", "TRY_AGAIN", "[]", "127.0.0.2"]
    assert asked == [("127.0.0.1", "::1"), (), (), ("127.0.0.9",)]

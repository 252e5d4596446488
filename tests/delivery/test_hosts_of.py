"""Where a script's question to an SMTP server goes: a host it names, or the MX of a domain."""

from __future__ import annotations

import asyncio
import random

import pytest

from hslpy.client.lookup_contract import Server
from hslpy.delivery.plan import TargetRules
from hslpy.delivery.targets import find_targets, hosts_of
from hslpy.dns.scripted import ScriptedResolver
from hslpy.errors import MailError


def found(server: Server, domain: str = "example.com", *, private: bool = False) -> list[tuple[str, str]]:
    resolver = ScriptedResolver()
    resolver.set("example.com", "MX", [(20, "two.example.com"), (10, "one.example.com")])
    resolver.set("one.example.com", "A", ["8.8.8.8"])
    resolver.set("one.example.com", "AAAA", ["2001:4860:4860::8888"])
    resolver.set("two.example.com", "A", ["9.9.9.9"])
    resolver.set("inside.example", "MX", [(10, "private.example")])
    resolver.set("private.example", "A", ["127.0.0.1"])
    rules = TargetRules(allow_private=private)
    return asyncio.run(hosts_of(resolver, random.Random(1), rules, server, domain))


def test_a_host_that_the_script_names() -> None:
    assert found(Server("private.example")) == [("private.example", "127.0.0.1")]
    assert found(Server("10.1.2.3")) == [("10.1.2.3", "10.1.2.3")]
    assert [address for _, address in found(Server("one.example.com"))] == ["8.8.8.8", "2001:4860:4860::8888"]
    assert found(Server("one.example.com", source_ip="::1")) == [("one.example.com", "2001:4860:4860::8888")]
    with pytest.raises(MailError):
        found(Server("nothing.example"))


def test_the_mx_of_the_recipient_s_domain() -> None:
    assert [host for host, _ in found(Server())] == ["one.example.com", "one.example.com", "two.example.com"]
    assert found(Server(mx_exclude=("one.*",))) == [("two.example.com", "9.9.9.9")]
    assert found(Server(mx_include=("two.*",), source_ip="192.0.2.1")) == [("two.example.com", "9.9.9.9")]
    for domain in ("nothing.example", "inside.example"):  # DNS must not lead a script's question into our own network
        with pytest.raises(MailError):
            found(Server(), domain)
    assert found(Server(), "inside.example", private=True) == [("private.example", "127.0.0.1")]


def test_whether_a_receiver_has_an_ipv6_address_is_told_where_dns_said_so() -> None:
    resolver = ScriptedResolver()
    resolver.set("both.example", "MX", [(10, "four.example"), (20, "six.example")])
    resolver.set("four.example", "A", ["8.8.8.8"])
    resolver.set("six.example", "AAAA", ["2001:4860:4860::8888"])
    resolver.set("silent.example", "A", ["8.8.8.8"])
    resolver.set("silent.example", "AAAA", "TRY_AGAIN")

    def has_ipv6(domain: str, *families: int) -> bool | None:
        rules = TargetRules(families=families)
        return asyncio.run(find_targets(resolver, domain, 25, rules, random.Random(1), use_mx=True)).has_ipv6

    assert has_ipv6("both.example", 4, 6) is True and has_ipv6("six.example", 4) is True
    assert has_ipv6("four.example", 4, 6) is False and has_ipv6("four.example", 6) is False
    assert has_ipv6("four.example", 4) is None  # not asked
    assert has_ipv6("silent.example", 4, 6) is None and has_ipv6("nothing.example", 4, 6) is None

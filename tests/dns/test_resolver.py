"""The resolver against a name server on loopback: records, failures, what is kept and for how long."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import dns.flags
import dns.message
import dns.rcode
import dns.rrset
import pytest

from hslpy.clock import ManualClock
from hslpy.dns.contract import NameNotFound, ResolutionFailed
from hslpy.dns.resolver import DnsResolver, ResolverSettings
from hslpy.dns.scripted import ScriptedResolver
from hslpy.errors import OperatorError

SOA = "example. 600 IN SOA ns.example. root.example. 1 2 3 4 60"
ZONE = {
    "mx.test.": ["mx.test. 300 IN MX 10 a.mx.test.", "mx.test. 300 IN MX 20 b.mx.test."],
    "null.test.": ["null.test. 300 IN MX 0 ."],
    "a.test.": ["a.test. 30 IN A 192.0.2.1", "a.test. 30 IN A 192.0.2.2"],
    "aaaa.test.": ["aaaa.test. 30 IN AAAA 2001:db8::1"],
    "txt.test.": ['txt.test. 30 IN TXT "one " "two\\255"'],
    "alias.test.": ["alias.test. 10 IN CNAME a.test.", "a.test. 30 IN A 192.0.2.1"],
    "ptr.test.": ["ptr.test. 30 IN PTR host.test."],
    "xn--bcher-kva.test.": ["xn--bcher-kva.test. 30 IN A 192.0.2.3"],
    "nodata.test.": [],
}


class Server(asyncio.DatagramProtocol):
    def __init__(self) -> None:
        self.asked: list[str] = []
        self.silent = False
        self.servfail = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport

    def datagram_received(self, data: bytes, peer: tuple[str, int]) -> None:
        query = dns.message.from_wire(data)
        name = query.question[0].name.to_text().lower()
        self.asked.append(name)
        if self.silent:
            return
        answer = dns.message.make_response(query)
        answer.flags |= dns.flags.RA | dns.flags.AD
        records = ZONE.get(name)
        if self.servfail:
            answer.set_rcode(dns.rcode.SERVFAIL)
        elif records is None:
            answer.set_rcode(dns.rcode.NXDOMAIN)
        for text in records or []:
            owner, ttl, rdclass, rdtype, rdata = text.split(" ", 4)
            rrset = dns.rrset.from_text(owner, int(ttl), rdclass, rdtype, rdata)
            known = answer.get_rrset(answer.answer, rrset.name, rrset.rdclass, rrset.rdtype, create=True)
            known.update(rrset)
            known.ttl = rrset.ttl
        if not records and not self.servfail:
            owner, ttl, rdclass, rdtype, rdata = SOA.split(" ", 4)
            owner = name.split(".", 1)[1] or "."
            answer.authority.append(dns.rrset.from_text(owner, int(ttl), rdclass, rdtype, rdata))
        self.transport.sendto(answer.to_wire(), peer)  # type: ignore[attr-defined]


def run(test: Callable[[DnsResolver, Server, ManualClock], Awaitable[None]], **settings: object) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        transport, server = await loop.create_datagram_endpoint(Server, local_addr=("127.0.0.1", 0))
        port = transport.get_extra_info("sockname")[1]
        clock = ManualClock()
        given = {"nameservers": ("127.0.0.1",), "port": port, "try_s": 0.2, "lifetime_s": 0.4, **settings}
        resolver = DnsResolver(ResolverSettings(**given), clock)  # type: ignore[arg-type]
        try:
            await test(resolver, server, clock)
        finally:
            await resolver.close()
            transport.close()

    asyncio.run(asyncio.wait_for(main(), 60))


def test_records() -> None:
    async def test(resolver: DnsResolver, server: Server, clock: ManualClock) -> None:
        mx = await resolver.query("MX.test", "MX")
        assert sorted(mx.mx) == [(10, "a.mx.test"), (20, "b.mx.test")] and mx.ttl_s == 300 and not mx.secure
        assert (await resolver.query("null.test", "MX")).mx == ((0, ""),)
        assert sorted((await resolver.query("a.test.", "A")).records) == ["192.0.2.1", "192.0.2.2"]
        assert (await resolver.query("aaaa.test", "AAAA")).records == ("2001:db8::1",)
        assert (await resolver.query("txt.test", "TXT")).records == ("one two\xff",)
        assert (await resolver.query("ptr.test", "PTR")).records == ("host.test",)
        alias = await resolver.query("alias.test", "A")
        assert alias.records == ("192.0.2.1",) and alias.ttl_s == 10
        assert (await resolver.query("bücher.test".encode().decode("latin-1"), "A")).records == ("192.0.2.3",)

    run(test)


@pytest.mark.parametrize("name", ["", "a..b", "x" * 64 + ".test", "\xff.test", "." * 3])
def test_names_that_cannot_be(name: str) -> None:
    async def test(resolver: DnsResolver, server: Server, clock: ManualClock) -> None:
        with pytest.raises(NameNotFound) as caught:
            await resolver.query(name, "A")
        assert caught.value.kind == "NXDOMAIN" and server.asked == []

    run(test)


def test_failures() -> None:
    async def test(resolver: DnsResolver, server: Server, clock: ManualClock) -> None:
        with pytest.raises(NameNotFound) as missing:
            await resolver.query("nosuch.test", "A")
        assert missing.value.kind == "NXDOMAIN" and missing.value.ttl_s == 60 and not missing.value.temporary
        with pytest.raises(NameNotFound) as empty:
            await resolver.query("nodata.test", "MX")
        assert empty.value.kind == "NO_DATA"
        server.servfail = True
        with pytest.raises(ResolutionFailed) as failed:
            await resolver.query("x.test", "A")
        assert failed.value.kind == "SERVFAIL" and failed.value.temporary
        server.servfail, server.silent = False, True
        with pytest.raises(ResolutionFailed) as late:
            await resolver.query("y.test", "A")
        assert late.value.kind == "TRY_AGAIN"

    run(test)


def test_answers_are_kept_for_their_time_and_failures_are_not() -> None:
    async def test(resolver: DnsResolver, server: Server, clock: ManualClock) -> None:
        for _ in range(3):
            await resolver.query("a.test", "A")
        assert server.asked == ["a.test."]
        clock.advance(30)
        await resolver.query("a.test", "A")
        assert len(server.asked) == 2
        for _ in range(2):
            with pytest.raises(NameNotFound):
                await resolver.query("nosuch.test", "A")
        assert len(server.asked) == 3
        clock.advance(60)
        with pytest.raises(NameNotFound):
            await resolver.query("nosuch.test", "A")
        assert len(server.asked) == 4
        server.servfail = True
        for _ in range(2):
            with pytest.raises(ResolutionFailed):
                await resolver.query("z.test", "A")
        assert server.asked.count("z.test.") >= 2

    run(test)


def test_the_cache_is_bounded_and_equal_questions_are_one() -> None:
    async def test(resolver: DnsResolver, server: Server, clock: ManualClock) -> None:
        await asyncio.gather(*(resolver.query("a.test", "A") for _ in range(20)))
        assert len(server.asked) == 1
        await resolver.query("aaaa.test", "AAAA")
        await resolver.query("txt.test", "TXT")
        await resolver.query("a.test", "A")
        assert server.asked.count("a.test.") == 2

    run(test, cache_entries=2)


def test_one_who_gives_up_does_not_spoil_it_for_others() -> None:
    async def test(resolver: DnsResolver, server: Server, clock: ManualClock) -> None:
        first = asyncio.create_task(resolver.query("a.test", "A"))
        second = asyncio.create_task(resolver.query("a.test", "A"))
        await asyncio.sleep(0)
        first.cancel()
        assert (await second).records
        assert first.cancelled() or (await asyncio.gather(first, return_exceptions=True))

    run(test)


def test_secure_only_where_the_server_is_trusted() -> None:
    async def test(resolver: DnsResolver, server: Server, clock: ManualClock) -> None:
        assert (await resolver.query("a.test", "A")).secure

    run(test, trust_ad=True)


def test_settings() -> None:
    with pytest.raises(OperatorError, match="nameservers"):
        DnsResolver(ResolverSettings(nameservers=("dns.example",)), ManualClock())


def test_scripted() -> None:
    async def main() -> None:
        dns = ScriptedResolver(
            {"A.example": {"MX": [(10, "mx.a.example.")], "TXT": "SERVFAIL"}, "alias": {"CNAME": ["a.example"]}}
        )
        assert (await dns.query("a.EXAMPLE.", "MX")).mx == ((10, "mx.a.example"),)
        assert (await dns.query("alias", "MX")).records == ("mx.a.example",)
        with pytest.raises(NameNotFound) as empty:
            await dns.query("a.example", "A")
        assert empty.value.kind == "NO_DATA"
        with pytest.raises(NameNotFound) as missing:
            await dns.query("b.example", "A")
        assert missing.value.kind == "NXDOMAIN"
        with pytest.raises(ResolutionFailed):
            await dns.query("a.example", "TXT")
        dns.set("loop", "CNAME", ["loop"])
        with pytest.raises(ResolutionFailed):
            await dns.query("loop", "A")
        assert dns.queries[0] == ("a.example", "MX")

    asyncio.run(main())


def test_servers_named_by_the_asker_are_asked_apart() -> None:
    async def test(resolver: DnsResolver, server: Server, clock: ManualClock) -> None:
        first = await resolver.query("a.test", "A")
        again = await resolver.query("a.test", "A", ["127.0.0.1"])
        await resolver.query("a.test", "A", ["127.0.0.1"])
        assert (first.secure, again.secure) == (True, False)
        assert server.asked == ["a.test.", "a.test."]
        with pytest.raises(ResolutionFailed):
            await resolver.query("a.test", "A", ["127.0.0.99"])

    run(test, trust_ad=True, lifetime_s=0.2, try_s=0.1)


def test_the_strings_of_a_text_are_kept() -> None:
    async def test(resolver: DnsResolver, server: Server, clock: ManualClock) -> None:
        answer = await resolver.query("txt.test", "TXT")
        assert answer.records == ("one two\xff",)
        assert answer.strings == (("one ", "two\xff"),)

    run(test)

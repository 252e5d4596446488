"""A DNS server on loopback, and a resolver that asks it: for tests of what is concluded from DNS."""

from __future__ import annotations

import asyncio
import ipaddress
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rdatatype
import dns.rrset

from hslpy.clock import Clock, ManualClock
from hslpy.dns.resolver import DnsResolver, ResolverSettings

Zone = dict[str, dict[str, list[str] | str]]


def reverse(address: str, *names: str) -> Zone:
    return {ipaddress.ip_address(address).reverse_pointer: {"PTR": [name + "." for name in names]}}


class NameServer(asyncio.DatagramProtocol):
    """Answers from `zone`: names, to types, to records; SERVFAIL or SILENT in place of a list, NXDOMAIN for other names.

    The type `*` is for all that a name has no own entry of.
    """

    def __init__(self, zone: Mapping[str, Mapping[str, list[str] | str]], ttl_s: int) -> None:
        self.zone: Zone = {name.lower(): dict(types) for name, types in zone.items()}
        self.ttl_s = ttl_s
        self.asked: list[tuple[str, str]] = []

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport

    def datagram_received(self, data: bytes, peer: tuple[str, int]) -> None:
        query = dns.message.from_wire(data)
        question = query.question[0]
        name, kind = question.name.to_text(omit_final_dot=True).lower(), dns.rdatatype.to_text(question.rdtype)
        self.asked.append((name, kind))
        types = self.zone.get(name, self.zone.get("*"))
        records = [] if types is None else types.get(kind, types.get("*", []))
        if records == "SILENT":
            return
        answer = dns.message.make_response(query)
        answer.flags |= dns.flags.RA
        if records == "SERVFAIL":
            answer.set_rcode(dns.rcode.SERVFAIL)
        elif records:
            if kind == "TXT":
                records = ['"' + text + '"' for text in records]
            answer.answer.append(dns.rrset.from_text_list(question.name, self.ttl_s, "IN", kind, list(records)))
        else:
            if types is None:
                answer.set_rcode(dns.rcode.NXDOMAIN)
            answer.authority.append(dns.rrset.from_text(question.name, 60, "IN", "SOA", "ns.test. root.test. 1 2 3 4 60"))
        self.transport.sendto(answer.to_wire(), peer)  # type: ignore[attr-defined]


@asynccontextmanager
async def name_server(
    zone: Mapping[str, Mapping[str, list[str] | str]], clock: Clock | None = None, ttl_s: int = 3600
) -> AsyncIterator[tuple[NameServer, DnsResolver]]:
    loop = asyncio.get_running_loop()
    transport, server = await loop.create_datagram_endpoint(lambda: NameServer(zone, ttl_s), local_addr=("127.0.0.1", 0))
    settings = ResolverSettings(
        nameservers=("127.0.0.1",), port=transport.get_extra_info("sockname")[1], try_s=0.5, lifetime_s=2.0
    )
    resolver = DnsResolver(settings, clock or ManualClock())
    try:
        yield server, resolver
    finally:
        await resolver.close()
        transport.close()

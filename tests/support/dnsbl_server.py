"""A DNS server on loopback that plays block lists. In: zones and how each behaves. Out: answers, and what was asked when."""

from __future__ import annotations

import asyncio
import ipaddress
import time
from dataclasses import dataclass, field
from typing import Literal

import dns.flags
import dns.message
import dns.rcode
import dns.rrset

Behaviour = Literal["honest", "refusing", "rewriting", "silent", "servfail", "lists everything", "no test entry"]


@dataclass
class List:
    """A list's entries: addresses to codes. `families` have test entries; `test_code` is what that of 127.0.0.2 answers."""

    behaviour: Behaviour = "honest"
    entries: dict[str, tuple[str, ...]] = field(default_factory=dict)
    families: tuple[int, ...] = (4,)
    test_code: str = "127.0.0.2"
    reason: str = "see https://list.test/why"
    ttl_s: int = 600
    negative_ttl_s: int = 900


class DnsblServer(asyncio.DatagramProtocol):
    """`lists` by zone; `asked` has each question with its type and its time (`time.monotonic`)."""

    def __init__(self, lists: dict[str, List], delay_s: float = 0.0) -> None:
        self.lists = lists
        self.delay_s = delay_s
        self.asked: list[tuple[str, str, float]] = []
        self.port = 0

    async def start(self) -> None:
        loop = asyncio.get_running_loop()
        self._transport, _ = await loop.create_datagram_endpoint(lambda: self, local_addr=("127.0.0.1", 0))
        self.port = self._transport.get_extra_info("sockname")[1]

    def close(self) -> None:
        self._transport.close()

    def names(self, zone: str, record_type: str = "A") -> list[str]:
        """Give what was asked of a list, without its zone."""
        return [
            name.removesuffix(f".{zone}")
            for name, kind, _ in self.asked
            if kind == record_type and name.endswith(f".{zone}")
        ]

    def datagram_received(self, data: bytes, peer: tuple[str, int]) -> None:
        query = dns.message.from_wire(data)
        name = query.question[0].name.to_text(omit_final_dot=True).lower()
        record_type = query.question[0].rdtype.name
        self.asked.append((name, record_type, time.monotonic()))
        answer = self._answer(query, name, record_type)
        if answer is not None:
            asyncio.get_running_loop().call_later(self.delay_s, self._transport.sendto, answer, peer)

    def _answer(self, query: dns.message.Message, name: str, record_type: str) -> bytes | None:
        answer = dns.message.make_response(query)
        answer.flags |= dns.flags.RA
        zone = next((zone for zone in self.lists if name.endswith(f".{zone}")), "")
        found = self.lists.get(zone, List("rewriting") if not self.lists else List())
        if found.behaviour == "silent":
            return None
        if found.behaviour == "servfail":
            answer.set_rcode(dns.rcode.SERVFAIL)
            return answer.to_wire()
        codes = self._codes(found, name.removesuffix(f".{zone}"))
        if codes and record_type == "TXT":
            answer.answer.append(dns.rrset.from_text(f"{name}.", found.ttl_s, "IN", "TXT", f'"{found.reason}"'))
        elif codes and record_type == "A":
            answer.answer.append(dns.rrset.from_text(f"{name}.", found.ttl_s, "IN", "A", *codes))
        if not codes:
            answer.set_rcode(dns.rcode.NXDOMAIN)
            soa = f"ns.{zone}. root.{zone}. 1 2 3 4 {found.negative_ttl_s}"
            answer.authority.append(dns.rrset.from_text(f"{zone}.", 86400, "IN", "SOA", soa))
        return answer.to_wire()

    @staticmethod
    def _codes(found: List, asked: str) -> tuple[str, ...]:
        address = address_of(asked)
        if found.behaviour == "refusing":
            return ("127.255.255.254",)
        if found.behaviour == "rewriting":
            return found.entries.get(address, ("203.0.113.80",))
        if found.behaviour == "lists everything":
            return ("127.0.0.2",)
        family = {"127.0.0.2": 4, "::ffff:127.0.0.2": 6}.get(address)
        if found.behaviour == "honest" and family in found.families:
            return (found.test_code,)
        return found.entries.get(address, ())


def address_of(asked: str) -> str:
    """Give the address that was asked for, in canonical form; `::ffff:127.0.0.2` for the test entry of IPv6."""
    parts = asked.split(".")[::-1]
    if len(parts) == 4:
        return ".".join(parts)
    ip = ipaddress.IPv6Address(int("".join(parts), 16))
    return f"::ffff:{ip.ipv4_mapped}" if ip.ipv4_mapped is not None else str(ip)

"""Look-ups that are told apart by how they ended: found, none there, or DNS trouble. In: a resolver, names. Out: records.

Trouble is never the same as nothing found. Must not know what is concluded from either.
"""

from __future__ import annotations

import asyncio
import ipaddress
from typing import Literal

from hslpy.dns.contract import NameNotFound, RecordType, ResolutionFailed, Resolver
from hslpy.egress.rules.book import Family
from hslpy.records import record

DEADLINE_S = 8.0
MOST_NAMES = 10  # of one address that are looked at, as RFC 7208 section 4.6.4 has it


@record
class Lookup:
    """How a look-up ended. `failed`: no answer could be had, and `error` says why; `none`: there is no such record."""

    state: Literal["found", "none", "failed"]
    records: tuple[str, ...] = ()
    ttl_s: float = 0.0
    error: str = ""


NONE = Lookup("none")


@record
class Host:
    """The addresses of a name."""

    ipv4: Lookup = NONE
    ipv6: Lookup = NONE

    def of(self, family: Family) -> Lookup:
        return self.ipv4 if family == 4 else self.ipv6

    @property
    def addresses(self) -> tuple[str, ...]:
        return (*self.ipv4.records, *self.ipv6.records)

    @property
    def error(self) -> str:
        """Say what went wrong, "" where both families were answered."""
        return self.ipv4.error or self.ipv6.error


async def ask(resolver: Resolver, name: str, kind: RecordType, deadline_s: float = DEADLINE_S) -> Lookup:
    """Give how a look-up ends; names and addresses are in the form they are compared in, each once, sorted."""
    try:
        async with asyncio.timeout(deadline_s):
            answer = await resolver.query(name, kind)
    except NameNotFound:
        return NONE
    except ResolutionFailed as error:
        return Lookup("failed", error=error.message)
    except TimeoutError:
        return Lookup("failed", error=f"no answer for {kind} {name} within {deadline_s:g} s")
    records = answer.records
    if kind in ("A", "AAAA"):
        records = tuple(str(ipaddress.ip_address(one)) for one in records)
    elif kind == "PTR":
        records = tuple(one.lower().removesuffix(".") for one in records if one.strip("."))
    return Lookup("found", tuple(sorted(set(records))), answer.ttl_s) if records else NONE


async def ask_host(resolver: Resolver, name: str, deadline_s: float = DEADLINE_S) -> Host:
    """Give a name's addresses."""
    return Host(*await asyncio.gather(ask(resolver, name, "A", deadline_s), ask(resolver, name, "AAAA", deadline_s)))


async def ask_reverse(resolver: Resolver, address: str, deadline_s: float = DEADLINE_S) -> Lookup:
    """Give an address's names, in lower case."""
    return await ask(resolver, ipaddress.ip_address(address).reverse_pointer, "PTR", deadline_s)

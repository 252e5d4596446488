"""The list of checks of an address, and what all of them say alike. In: facts. Out: findings.

`CHECKS` is the one list that documents, pages and commands read: `preflight` names the modules that fill it.
Source: section F of the specification of delivery IPs.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from hslpy.egress.addresses.lookups import Lookup
from hslpy.egress.checks.facts import Facts, Finding
from hslpy.records import record

RECENT_S = 30 * 86400.0
"""How long a change of the primary address, or an address without mail, is new. Source: D2 has the 30 days."""


Judge = Callable[[Facts], Finding | None]


@record
class Check:
    """A row of the list: what it asks, how bad it is where it fails, what operators then read. None: it does not apply."""

    id: str
    title: str
    severity: str
    wording: str
    judge: Judge


CHECKS: list[Check] = []


def check(id: str, title: str, severity: str, wording: str) -> Callable[[Judge], Judge]:
    def add(judge: Judge) -> Judge:
        CHECKS.append(Check(id, title, severity, wording, judge))
        return judge

    return add


def passed(id: str, text: str, *evidence: str) -> Finding:
    return Finding(id, "pass", text, evidence)


def unknown(id: str, text: str, *evidence: str, counts: bool = True) -> Finding:
    return Finding(id, "unknown", text, evidence, counts)


def names_of(facts: Facts) -> tuple[tuple[str, ...], str]:
    """Give the address's names, and why they are not known."""
    if not facts.outside:
        return (), "the public address is not known"
    if facts.names is None:
        return (), "it was not looked up"
    return facts.names.records, facts.names.error


def told(name: str, lookup: Lookup) -> str:
    ttl = f" (TTL {lookup.ttl_s:.0f})" if lookup.state == "found" else ""
    return f"{name}: {', '.join(lookup.records) or lookup.error or 'no address'}{ttl}"


def date(at: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(at))


def of_ptr_names(id: str, facts: Facts, judge_names: Callable[[tuple[str, ...]], Finding]) -> Finding | None:
    """Judge the address's names: unknown where DNS did not give them, not at all where there are none, which P07 tells."""
    names, error = names_of(facts)
    if error:
        return unknown(id, f"The reverse DNS (PTR) of {facts.outside or facts.address} is not known: {error}.")
    return judge_names(names) if names else None

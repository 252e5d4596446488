"""Checks P07 to P16: its reverse DNS, names of servers, its HELO. In: `Facts`. Out: findings.

Source: section F of the specification of delivery IPs.
"""

from __future__ import annotations

from hslpy.egress.checks.check_table import check, names_of, of_ptr_names, passed, told, unknown
from hslpy.egress.checks.facts import SEVERITY, Facts, Finding, Outcome
from hslpy.egress.checks.generic import looks_generic
from hslpy.egress.rules.names import (
    fault_of_host,
    fault_of_server_name,
)
from hslpy.egress.rules.sources import family_of

_LOCAL = ("localhost", "localdomain", "local", "lan", "internal")


@check(
    "P07", "It has reverse DNS", "critical", "X has no reverse DNS (PTR). Many receivers refuse mail from such addresses."
)
def _p07(facts: Facts) -> Finding:
    names, error = names_of(facts)
    x = facts.outside or facts.address
    if error:
        return unknown("P07", f"The reverse DNS (PTR) of {x} is not known: {error}.")
    if not names:
        return Finding("P07", "critical", f"{x} has no reverse DNS (PTR). Many receivers refuse mail from such addresses.")
    return passed("P07", f"The reverse DNS name (PTR) is {', '.join(names)}.", *names)


@check("P08", "It has one PTR", "warning", "X has 3 PTR names; receivers may pick any. Keep one.")
def _p08(facts: Facts) -> Finding | None:
    def of(names: tuple[str, ...]) -> Finding:
        if len(names) > 1:
            text = f"{facts.outside} has {len(names)} PTR names; receivers may pick any. Keep one."
            return Finding("P08", "warning", text, names)
        return passed("P08", f"{facts.outside} has one PTR name.", *names)

    return of_ptr_names("P08", facts, of)


@check(
    "P09",
    "The PTR is a legal host name",
    "critical",
    "The PTR 'out_1.example.com' contains an underscore, which is not allowed in a host name (RFC 5321/1123). "
    "It is not used as HELO.",
)
def _p09(facts: Facts) -> Finding | None:
    def of(names: tuple[str, ...]) -> Finding:
        faults = {name: fault for name in names if (fault := fault_of_host(name)) is not None}
        if not faults:
            return passed("P09", "The PTR is a legal host name.", *names)
        name, fault = next(iter(faults.items()))
        why = f"is not a legal host name ({fault}; RFC 5321/1123)"
        if "_" in name:
            why = "contains an underscore, which is not allowed in a host name (RFC 5321/1123)"
        return Finding("P09", "critical", f"The PTR '{name}' {why}. It is not used as HELO.", tuple(faults))

    return of_ptr_names("P09", facts, of)


@check(
    "P10",
    "The PTR leads back to it",
    "critical",
    "PTR says out1.example.com, but that name resolves to 203.0.113.9, not to X.",
)
def _p10(facts: Facts) -> Finding | None:
    def of(names: tuple[str, ...]) -> Finding:
        found = {name: facts.host(name) for name in names}
        evidence = tuple(told(name, one) for name, one in found.items())
        for name, one in found.items():
            if one.state != "failed" and facts.outside not in one.records:
                where = f"that name resolves to {', '.join(one.records)}" if one.records else "that name has no such address"
                return Finding("P10", "critical", f"PTR says {name}, but {where}, not to {facts.outside}.", evidence)
        for name, one in found.items():
            if one.state == "failed":
                return unknown("P10", f"PTR says {name}; whether that leads back is not known: {one.error}.", *evidence)
        return passed("P10", f"{', '.join(names)} resolves to {facts.outside}.", *evidence)

    return of_ptr_names("P10", facts, of)


@check("P11", "The PTR is not a provider's generic one", "warning", "The PTR looks automatically generated.")
def _p11(facts: Facts) -> Finding | None:
    def of(names: tuple[str, ...]) -> Finding:
        generic = tuple(name for name in names if looks_generic(name, facts.outside))
        if generic:
            return Finding("P11", "warning", "The PTR looks automatically generated.", generic)
        return passed("P11", "The PTR does not look automatically generated.", *names)

    return of_ptr_names("P11", facts, of)


@check(
    "P12",
    "Its names are none of a server's",
    "critical",
    "'out.node1.example.com' lies below the server name node1.example.com. Use another name.",
)
def _p12(facts: Facts) -> Finding:
    names, error = names_of(facts)
    if facts.outside and facts.outside in facts.server.primary:
        return passed("P12", f"{facts.address} is the primary address of {facts.node}.")
    helo = (facts.helo.helo,) if facts.helo is not None and facts.helo.helo else ()
    for name in dict.fromkeys((*names, *helo)):
        if fault := fault_of_server_name(name, (server.name for server in facts.servers)):
            return Finding("P12", "critical", fault)
    if error:
        return unknown("P12", f"The reverse DNS (PTR) of {facts.outside or facts.address} is not known: {error}.")
    return passed("P12", "PTR and HELO are no names of servers.")


@check(
    "P13",
    "No server's name leads to it",
    "critical; warning: several AAAA",
    "node1.example.com also resolves to X. Server names must point only to the primary address.",
)
def _p13(facts: Facts) -> Finding:
    rule = "Server names must point only to the primary address."
    found: list[Finding] = []
    for server in facts.servers:
        host, mine = server.host, server.name == facts.node
        if host is None or host.error:
            error = "it was not looked up" if host is None else host.error
            found.append(unknown("P13", f"Where {server.name} resolves to is not known: {error}."))
        if host is None:
            continue
        evidence = (told(server.name, host.ipv4), told(server.name, host.ipv6))
        primary_families = {family_of(one) for one in server.primary}
        for one in host.addresses:
            known = family_of(one) in primary_families
            if one in server.primary or not (one == facts.outside or (mine and known)):
                continue
            if mine and not known:
                found.append(
                    unknown("P13", f"Whether {one} is the primary address of {server.name} is not known.", *evidence)
                )
                continue
            outcome: Outcome = "critical" if family_of(one) == 4 else "warning"
            found.append(Finding("P13", outcome, f"{server.name} also resolves to {one}. {rule}", evidence))
    if found:
        return max(found, key=lambda one: SEVERITY.index(one.outcome))
    return passed("P13", "The names of servers resolve to primary addresses only.")


@check("P14", "Its HELO is a full host name", "critical", "The HELO for X is 'localhost'.")
def _p14(facts: Facts) -> Finding:
    if facts.helo is None:
        return unknown("P14", f"The HELO for {facts.address} is not known.")
    helo = facts.helo.helo
    if helo.startswith("["):
        return Finding("P14", "warning", f"The HELO for {facts.address} is '{helo}', an address. Use a host name.")
    fault = fault_of_host(helo)
    if fault is not None or helo.rpartition(".")[2] in _LOCAL:
        evidence = (fault,) if fault else ("a name of the local network",)
        return Finding("P14", "critical", f"The HELO for {facts.address} is '{helo}'.", evidence)
    origin = {"set": "set by hand", "ptr": "from PTR", "node": "the name of the node"}[facts.helo.origin]
    return passed("P14", f"The HELO for {facts.address} is {helo}.", origin)


@check("P15", "Its HELO leads to it", "critical", "HELO out1.example.com does not resolve to X.")
def _p15(facts: Facts) -> Finding:
    x = facts.outside
    if facts.helo is None or not x:
        return unknown("P15", f"Whether the HELO resolves to {facts.address} is not known.")
    helo = facts.helo.helo
    if helo.startswith("["):
        same = helo[1:-1].removeprefix("IPv6:") == x
        return passed("P15", f"The HELO is {x}.") if same else Finding("P15", "critical", f"HELO {helo} is not {x}.")
    found = facts.host(helo)
    if found.state == "failed":
        return unknown("P15", f"Whether HELO {helo} resolves to {x} is not known: {found.error}.")
    if x not in found.records:
        return Finding("P15", "critical", f"HELO {helo} does not resolve to {x}.", (told(helo, found),))
    return passed("P15", f"HELO {helo} resolves to {x}.", told(helo, found))


@check("P16", "HELO and PTR are the same", "warning", "HELO and PTR differ.")
def _p16(facts: Facts) -> Finding | None:
    def of(names: tuple[str, ...]) -> Finding:
        if facts.helo is None:
            return unknown("P16", "The HELO is not known.")
        if facts.helo.helo.lower() in names:
            return passed("P16", "HELO and PTR are the same.", facts.helo.helo)
        evidence = (f"HELO: {facts.helo.helo}", f"PTR: {', '.join(names)}")
        return Finding("P16", "warning", "HELO and PTR differ.", evidence)

    return of_ptr_names("P16", facts, of)

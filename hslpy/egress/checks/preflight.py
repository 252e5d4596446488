"""Whether mail should leave from an address: one plain function per check. In: `Facts`. Out: findings, in operators' words.

DNS trouble is `unknown`, never a pass and never a fault. `CHECKS` is the one list that documents, pages and commands read.
Source: section F of the specification of delivery IPs.
"""

from __future__ import annotations

import ipaddress
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace

from hslpy.egress.addresses.interfaces import UNBINDABLE
from hslpy.egress.addresses.inventory import SILENT_S
from hslpy.egress.addresses.lookups import Lookup
from hslpy.egress.checks.facts import SEVERITY, Facts, Finding, Outcome
from hslpy.egress.checks.generic import looks_generic
from hslpy.egress.checks.spf_advice import ready_record, term_for
from hslpy.egress.rules.names import (
    Refused,
    canonical_address,
    fault_of_host,
    fault_of_server_name,
    fault_of_source,
    is_private,
)
from hslpy.egress.rules.sources import family_of
from hslpy.records import record

SHORT_TTL_S = 300
RECENT_S = 30 * 86400.0
"""How long a change of the primary address, or an address without mail, is new. Source: D2 has the 30 days."""
_LOCAL = ("localhost", "localdomain", "local", "lan", "internal")
_DOCUMENTATION = tuple(
    map(ipaddress.ip_network, ("192.0.2.0/24", "198.51.100.0/24", "203.0.113.0/24", "2001:db8::/32", "3fff::/20"))
)  # RFC 5737, RFC 3849, RFC 9637


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


def judge(facts: Facts) -> tuple[Finding, ...]:
    """Give the findings of all checks that apply, in the list's order; of text that is no address, the first one's alone."""
    try:
        known = replace(facts, address=canonical_address(facts.address))
    except Refused:
        return tuple(one for one in (CHECKS[0].judge(facts),) if one is not None)
    return tuple(one for one in (row.judge(known) for row in CHECKS) if one is not None)


def status(findings: Iterable[Finding]) -> Outcome:
    """Give the worst of what was found; `unknown` where nothing was."""
    counting = [one.outcome for one in findings if one.counts]
    return max(counting, key=SEVERITY.index, default="unknown")


def critical(findings: Iterable[Finding]) -> Sequence[Finding]:
    """Give the findings that ask for a confirmation before an address is used."""
    return [one for one in findings if one.outcome == "critical"]


def _pass(id: str, text: str, *evidence: str) -> Finding:
    return Finding(id, "pass", text, evidence)


def _unknown(id: str, text: str, *evidence: str, counts: bool = True) -> Finding:
    return Finding(id, "unknown", text, evidence, counts)


def _found(facts: Facts) -> tuple[tuple[str, ...], str]:
    """Give the address's names, and why they are not known."""
    if not facts.outside:
        return (), "the public address is not known"
    if facts.names is None:
        return (), "it was not looked up"
    return facts.names.records, facts.names.error


def _told(name: str, lookup: Lookup) -> str:
    ttl = f" (TTL {lookup.ttl_s:.0f})" if lookup.state == "found" else ""
    return f"{name}: {', '.join(lookup.records) or lookup.error or 'no address'}{ttl}"


def _date(at: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(at))


# ---- the address itself ---------------------------------------------------------------------------


@check("P01", "It is an IP address", "critical", "'X' is not an IP address.")
def _p01(facts: Facts) -> Finding:
    try:
        address = canonical_address(facts.address)
    except Refused as refused:
        return Finding("P01", "critical", f"{refused.message}.")
    return _pass("P01", f"{address} is an IP address.")


def reserved_as(address: str) -> str | None:
    """Say as what an address is reserved, None for one of the internet or of a private network."""
    ip = ipaddress.ip_address(address)
    fault = fault_of_source(address)
    if fault is not None or is_private(address):
        return fault
    if any(ip.version == one.version and ip in one for one in _DOCUMENTATION):
        return "documentation"
    return None if ip.is_global else "reserved"


@check("P02", "It is an address of the internet", "critical", "X cannot be used on the internet (link-local).")
def _p02(facts: Facts) -> Finding:
    kind = reserved_as(facts.address)
    if kind is not None:
        return Finding("P02", "critical", f"{facts.address} cannot be used on the internet ({kind}).")
    return _pass("P02", f"{facts.address} can be used on the internet.")


@check(
    "P03",
    "The node has it",
    "critical",
    "X is not configured on node2. Add it to the network configuration, then rescan. Until then it is skipped.",
)
def _p03(facts: Facts) -> Finding:
    x, node = facts.address, facts.node
    missing = f"{x} is not configured on {node}. Add it to the network configuration, then rescan. Until then it is skipped."
    if facts.reported_at is None:
        return _unknown("P03", f"{node} has not reported its addresses yet; whether it has {x} is not known.")
    seen = f"reported by {node} at {_date(facts.reported_at)}"
    if facts.now - facts.reported_at > SILENT_S:
        return _unknown(
            "P03", f"{node} was not reachable since {_date(facts.reported_at)}; whether it has {x} is not known."
        )
    if not facts.present:
        return Finding("P03", "critical", missing, (seen,))
    if facts.bind or UNBINDABLE in facts.flags:
        why = facts.bind or "it cannot be bound"
        return Finding("P03", "critical", f"Mail cannot leave from {x} on {node}: {why}. Until then it is skipped.", (seen,))
    if facts.family in facts.nonlocal_bind:
        text = f"ip_nonlocal_bind is on at {node}: a bind test proves nothing, and whether {x} goes away is not noticed."
        return Finding("P03", "warning", text, (seen,))
    return _pass("P03", f"{x} is configured on {node}.", seen)


@check("P04", "Its state lets it be used", "critical; warning: temporary", "X is a temporary IPv6 address and will change.")
def _p04(facts: Facts) -> Finding | None:
    x = facts.address
    if facts.family == 4 or (facts.reported_at is not None and not facts.present):
        return None
    if facts.reported_at is None:
        return _unknown("P04", f"The state of {x} is not known.")
    words = {
        "dadfailed": "is in use by another machine (duplicate address)",
        "tentative": "is not usable yet (tentative)",
        "deprecated": "is deprecated: the system no longer uses it for new connections",
    }
    for flag, text in words.items():
        if flag in facts.flags:
            return Finding("P04", "critical", f"{x} {text}.", facts.flags)
    if "temporary" in facts.flags:
        return Finding("P04", "warning", f"{x} is a temporary IPv6 address and will change.", facts.flags)
    return _pass("P04", f"{x} is usable.")


@check(
    "P05",
    "It is public, or its public address is known",
    "warning; critical: none",
    "X is private. Enter the public address it is translated to, so that DNS and block lists can be checked.",
)
def _p05(facts: Facts) -> Finding:
    x = facts.address
    if not is_private(x):
        return _pass("P05", f"{x} is not a private address.")
    if not facts.public_address:
        advice = "Enter the public address it is translated to, so that DNS and block lists can be checked."
        return Finding("P05", "critical", f"{x} is private. {advice}")
    text = f"{x} is private and translated to {facts.public_address}, which is checked in its place. NAT is best avoided."
    return Finding("P05", "warning", text)


@check(
    "P06",
    "Connections from it leave the server",
    "warning",
    "Connections from X do not leave the server (check gateway, policy routing, rp_filter, firewall port 25).",
)
def _p06(facts: Facts) -> Finding:
    x, host, probe = facts.address, facts.probe_host, facts.probe
    if not host:
        return _unknown("P06", "No probe host is set, so that connections were not tried.", counts=False)
    if probe is None:
        return _unknown("P06", f"Connections from {x} can be tried by {facts.node} alone.", counts=False)
    if not probe.reached:
        return _unknown("P06", f"Whether connections from {x} leave the server is not known: {probe.error}.")
    if probe.error:
        text = f"Connections from {x} do not leave the server (check gateway, policy routing, rp_filter, firewall port 25)."
        return Finding("P06", "warning", text, (f"to {host} port 25: {probe.error}",))
    if probe.seen and probe.seen != facts.outside:
        text = f"{host} sees connections from {x} as coming from {probe.seen}."
        return Finding("P06", "warning", text)
    return _pass("P06", f"Connections from {x} reach {host}.", *([f"seen as {probe.seen}"] if probe.seen else []))


# ---- reverse DNS ----------------------------------------------------------------------------------


@check(
    "P07", "It has reverse DNS", "critical", "X has no reverse DNS (PTR). Many receivers refuse mail from such addresses."
)
def _p07(facts: Facts) -> Finding:
    names, error = _found(facts)
    x = facts.outside or facts.address
    if error:
        return _unknown("P07", f"The reverse DNS (PTR) of {x} is not known: {error}.")
    if not names:
        return Finding("P07", "critical", f"{x} has no reverse DNS (PTR). Many receivers refuse mail from such addresses.")
    return _pass("P07", f"The reverse DNS name (PTR) is {', '.join(names)}.", *names)


def _of_names(id: str, facts: Facts, judge_names: Callable[[tuple[str, ...]], Finding]) -> Finding | None:
    """Judge the address's names: unknown where DNS did not give them, not at all where there are none, which P07 tells."""
    names, error = _found(facts)
    if error:
        return _unknown(id, f"The reverse DNS (PTR) of {facts.outside or facts.address} is not known: {error}.")
    return judge_names(names) if names else None


@check("P08", "It has one PTR", "warning", "X has 3 PTR names; receivers may pick any. Keep one.")
def _p08(facts: Facts) -> Finding | None:
    def of(names: tuple[str, ...]) -> Finding:
        if len(names) > 1:
            text = f"{facts.outside} has {len(names)} PTR names; receivers may pick any. Keep one."
            return Finding("P08", "warning", text, names)
        return _pass("P08", f"{facts.outside} has one PTR name.", *names)

    return _of_names("P08", facts, of)


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
            return _pass("P09", "The PTR is a legal host name.", *names)
        name, fault = next(iter(faults.items()))
        why = f"is not a legal host name ({fault}; RFC 5321/1123)"
        if "_" in name:
            why = "contains an underscore, which is not allowed in a host name (RFC 5321/1123)"
        return Finding("P09", "critical", f"The PTR '{name}' {why}. It is not used as HELO.", tuple(faults))

    return _of_names("P09", facts, of)


@check(
    "P10",
    "The PTR leads back to it",
    "critical",
    "PTR says out1.example.com, but that name resolves to 203.0.113.9, not to X.",
)
def _p10(facts: Facts) -> Finding | None:
    def of(names: tuple[str, ...]) -> Finding:
        found = {name: facts.host(name) for name in names}
        evidence = tuple(_told(name, one) for name, one in found.items())
        for name, one in found.items():
            if one.state != "failed" and facts.outside not in one.records:
                where = f"that name resolves to {', '.join(one.records)}" if one.records else "that name has no such address"
                return Finding("P10", "critical", f"PTR says {name}, but {where}, not to {facts.outside}.", evidence)
        for name, one in found.items():
            if one.state == "failed":
                return _unknown("P10", f"PTR says {name}; whether that leads back is not known: {one.error}.", *evidence)
        return _pass("P10", f"{', '.join(names)} resolves to {facts.outside}.", *evidence)

    return _of_names("P10", facts, of)


@check("P11", "The PTR is not a provider's generic one", "warning", "The PTR looks automatically generated.")
def _p11(facts: Facts) -> Finding | None:
    def of(names: tuple[str, ...]) -> Finding:
        generic = tuple(name for name in names if looks_generic(name, facts.outside))
        if generic:
            return Finding("P11", "warning", "The PTR looks automatically generated.", generic)
        return _pass("P11", "The PTR does not look automatically generated.", *names)

    return _of_names("P11", facts, of)


# ---- names of servers, HELO -----------------------------------------------------------------------


@check(
    "P12",
    "Its names are none of a server's",
    "critical",
    "'out.node1.example.com' lies below the server name node1.example.com. Use another name.",
)
def _p12(facts: Facts) -> Finding:
    names, error = _found(facts)
    if facts.outside and facts.outside in facts.server.primary:
        return _pass("P12", f"{facts.address} is the primary address of {facts.node}.")
    helo = (facts.helo.helo,) if facts.helo is not None and facts.helo.helo else ()
    for name in dict.fromkeys((*names, *helo)):
        if fault := fault_of_server_name(name, (server.name for server in facts.servers)):
            return Finding("P12", "critical", fault)
    if error:
        return _unknown("P12", f"The reverse DNS (PTR) of {facts.outside or facts.address} is not known: {error}.")
    return _pass("P12", "PTR and HELO are no names of servers.")


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
            found.append(_unknown("P13", f"Where {server.name} resolves to is not known: {error}."))
        if host is None:
            continue
        evidence = (_told(server.name, host.ipv4), _told(server.name, host.ipv6))
        primary_families = {family_of(one) for one in server.primary}
        for one in host.addresses:
            known = family_of(one) in primary_families
            if one in server.primary or not (one == facts.outside or (mine and known)):
                continue
            if mine and not known:
                found.append(
                    _unknown("P13", f"Whether {one} is the primary address of {server.name} is not known.", *evidence)
                )
                continue
            outcome: Outcome = "critical" if family_of(one) == 4 else "warning"
            found.append(Finding("P13", outcome, f"{server.name} also resolves to {one}. {rule}", evidence))
    if found:
        return max(found, key=lambda one: SEVERITY.index(one.outcome))
    return _pass("P13", "The names of servers resolve to primary addresses only.")


@check("P14", "Its HELO is a full host name", "critical", "The HELO for X is 'localhost'.")
def _p14(facts: Facts) -> Finding:
    if facts.helo is None:
        return _unknown("P14", f"The HELO for {facts.address} is not known.")
    helo = facts.helo.helo
    if helo.startswith("["):
        return Finding("P14", "warning", f"The HELO for {facts.address} is '{helo}', an address. Use a host name.")
    fault = fault_of_host(helo)
    if fault is not None or helo.rpartition(".")[2] in _LOCAL:
        evidence = (fault,) if fault else ("a name of the local network",)
        return Finding("P14", "critical", f"The HELO for {facts.address} is '{helo}'.", evidence)
    origin = {"set": "set by hand", "ptr": "from PTR", "node": "the name of the node"}[facts.helo.origin]
    return _pass("P14", f"The HELO for {facts.address} is {helo}.", origin)


@check("P15", "Its HELO leads to it", "critical", "HELO out1.example.com does not resolve to X.")
def _p15(facts: Facts) -> Finding:
    x = facts.outside
    if facts.helo is None or not x:
        return _unknown("P15", f"Whether the HELO resolves to {facts.address} is not known.")
    helo = facts.helo.helo
    if helo.startswith("["):
        same = helo[1:-1].removeprefix("IPv6:") == x
        return _pass("P15", f"The HELO is {x}.") if same else Finding("P15", "critical", f"HELO {helo} is not {x}.")
    found = facts.host(helo)
    if found.state == "failed":
        return _unknown("P15", f"Whether HELO {helo} resolves to {x} is not known: {found.error}.")
    if x not in found.records:
        return Finding("P15", "critical", f"HELO {helo} does not resolve to {x}.", (_told(helo, found),))
    return _pass("P15", f"HELO {helo} resolves to {x}.", _told(helo, found))


@check("P16", "HELO and PTR are the same", "warning", "HELO and PTR differ.")
def _p16(facts: Facts) -> Finding | None:
    def of(names: tuple[str, ...]) -> Finding:
        if facts.helo is None:
            return _unknown("P16", "The HELO is not known.")
        if facts.helo.helo.lower() in names:
            return _pass("P16", "HELO and PTR are the same.", facts.helo.helo)
        evidence = (f"HELO: {facts.helo.helo}", f"PTR: {', '.join(names)}")
        return Finding("P16", "warning", "HELO and PTR differ.", evidence)

    return _of_names("P16", facts, of)


@check("P17", "It belongs to this node alone", "critical; warning: assigned, changed", "X is the primary address of node1.")
def _p17(facts: Facts) -> Finding:
    x, node = facts.address, facts.node
    for server in facts.servers:
        if server.name != node and facts.outside in server.primary:
            return Finding("P17", "critical", f"{x} is the primary address of {server.name}.")
    others = [one.name for one in facts.servers if one.name != node and x in one.addresses]
    if others and not is_private(x):
        return Finding("P17", "critical", f"{x} is configured on {', '.join(others)} too.")
    assigned = sorted(set(facts.assigned) - {node})
    if assigned:
        return Finding("P17", "warning", f"{x} is assigned to {', '.join(assigned)} too.")
    if facts.former is not None and facts.now - facts.former[1] < RECENT_S:
        old, at = facts.former
        if x == old or facts.outside in facts.server.primary:
            text = f"The primary address of {node} was {old} until {_date(at)}. Keep the primary address unchanged."
            return Finding("P17", "warning", text)
    return _pass("P17", f"No other server has {x}.")


@check("P18", "Its HELO is its own", "info", "HELO out1.example.com is also used for Y.")
def _p18(facts: Facts) -> Finding:
    if facts.helo is None:
        return _unknown("P18", "The HELO is not known.")
    helo = facts.helo.helo
    if facts.same_helo:
        host = facts.hosts.get(helo)
        missing = [one for one in facts.same_helo if host is None or one not in host.addresses]
        if missing and (host is None or host.error):
            return _unknown("P18", f"HELO {helo} is also used for {', '.join(missing)}; where it resolves to is not known.")
        if missing:
            return Finding("P18", "info", f"HELO {helo} is also used for {', '.join(missing)}.")
    return _pass("P18", f"HELO {helo} is used for addresses that it resolves to.")


@check("P19", "No address of its /64 is listed", "info", "Receivers often judge a whole /64.")
def _p19(facts: Facts) -> Finding | None:
    if family_of(facts.outside or facts.address) == 4:
        return None
    if facts.neighbours is None:
        return _unknown("P19", f"Addresses of the /64 of {facts.address} have not been checked on lists.", counts=False)
    if facts.neighbours:
        text = f"{', '.join(facts.neighbours)} of the same /64 is listed. Receivers often judge a whole /64."
        return Finding("P19", "info", text)
    return _pass("P19", f"No other address of the /64 of {facts.address} is listed.")


# ---- SPF, reputation, warm-up ---------------------------------------------------------------------


@check(
    "P20",
    "SPF of its senders allows it",
    "critical: fail, permerror; warning: softfail, neutral, none",
    "7 of 12 domains do not allow X in SPF. Add a:spf.example.tld or ip4:X.",
)
def _p20(facts: Facts) -> Finding:
    x = facts.outside
    if facts.spf is None or not x:
        return _unknown("P20", f"Whether SPF allows {facts.address} was not checked.")
    domains = [one for one in facts.spf if not one.is_helo]
    helo = [one for one in facts.spf if one.is_helo and one.result not in ("none", "neutral")]
    refusing = [one for one in (*domains, *helo) if one.result not in ("pass", "temperror")]
    terms = term_for(x, facts.spf_host)
    evidence = tuple(
        f"{one.domain}{' (HELO)' if one.is_helo else ''}: {one.result} ({one.reason}); "
        f"record to publish: {ready_record(one.record, x, '' if one.is_helo else facts.spf_host)}"
        for one in refusing
    )
    if refusing:
        outcome: Outcome = "critical" if any(one.result in ("fail", "permerror") for one in refusing) else "warning"
        if not any(not one.is_helo for one in refusing):
            text = f"SPF of the HELO name {refusing[0].domain} does not allow {x}. Add {term_for(x, '')}."
            return Finding("P20", outcome, text, evidence)
        refused = sum(not one.is_helo for one in refusing)
        of = (
            f"{refused} of {len(domains)} domains do not allow"
            if len(domains) > 1
            else f"{domains[0].domain} does not allow"
        )
        return Finding("P20", outcome, f"{of} {x} in SPF. Add {terms}.", evidence)
    trouble = [one for one in (*domains, *helo) if one.result == "temperror"]
    if trouble:
        lines = [f"{one.domain}: {one.reason}" for one in trouble]
        return _unknown("P20", f"Whether SPF of {len(trouble)} of {len(facts.spf)} names allows {x} is not known.", *lines)
    if not domains:
        return Finding("P20", "info", f"No sender's domain uses {x}.")
    of = f"all {len(domains)} domains" if len(domains) > 1 else domains[0].domain
    return _pass("P20", f"SPF of {of} allows {x}.", *(one.domain for one in domains[:20]))


@check("P21", "The common SPF name lists it", "warning", "spf.example.tld does not list X yet.")
def _p21(facts: Facts) -> Finding | None:
    if not facts.spf_host:
        return None
    found = facts.host(facts.spf_host)
    if found.state == "failed" or not facts.outside:
        return _unknown(
            "P21", f"Whether {facts.spf_host} lists {facts.outside or facts.address} is not known: {found.error}."
        )
    if facts.outside not in found.records:
        text = f"{facts.spf_host} does not list {facts.outside} yet."
        return Finding("P21", "warning", text, (_told(facts.spf_host, found),))
    return _pass("P21", f"{facts.spf_host} lists {facts.outside}.")


@check("P22", "No block list has it", "critical, warning or info, by the list", "X is listed by SpamCop.")
def _p22(facts: Facts) -> Finding:
    x, found = facts.outside or facts.address, facts.reputation
    if found is None or not (found.listed or found.clean or found.unknown):
        return _unknown("P22", f"{x} has not been checked on any list.", counts=False)
    if found.listed:
        by_severity: Mapping[str, Outcome] = {"critical": "critical", "warning": "warning"}
        outcomes = [by_severity.get(severity, "info") for _, severity, _ in found.listed]
        outcome = max(outcomes, key=SEVERITY.index)
        evidence = tuple(f"{name}: {meaning}" if meaning else name for name, _, meaning in found.listed)
        return Finding("P22", outcome, f"{x} is listed by {', '.join(name for name, _, _ in found.listed)}.", evidence)
    if found.unknown:
        some = f"{found.unknown} of {found.unknown + found.clean} lists gave no usable answer"
        return _unknown("P22", f"{x} is on no list that answered; {some}.", counts=False)
    return _pass("P22", f"{x} is on none of {found.clean} lists.")


@check("P23", "It is warm", "info", "X is new. Warm it up for at least 7 days.")
def _p23(facts: Facts) -> Finding:
    x, used = facts.address, facts.used_at
    words = {
        "checking": f"{x} is new. Warm it up for at least 7 days.",
        "new": f"{x} is new. Warm it up for at least 7 days.",
        "warming": f"{x} is being warmed up.",
        "paused": f"The warm-up of {x} is paused.",
        "cold": f"{x} has sent no mail for 30 days. Warm it up again.",
    }
    state = facts.warmup
    if not state:
        if used is None:
            recent = facts.first_seen_at is None or facts.now - facts.first_seen_at < RECENT_S
            state = "new" if recent else ""
        elif facts.now - used > RECENT_S:
            state = "cold"
    if state in words:
        return Finding("P23", "info", words[state])
    return _pass("P23", f"{x} is warm.")


@check(
    "P24",
    "No spam waits for it",
    "critical",
    "There are 1,240 queued messages from locked senders. Remove them first or the new address will be listed too.",
)
def _p24(facts: Facts) -> Finding | None:
    if not facts.replacing:
        return None
    if facts.queued_locked is None:
        return _unknown("P24", "Whether messages of locked senders are queued is not known.")
    if facts.queued_locked:
        are = "is 1 queued message" if facts.queued_locked == 1 else f"are {facts.queued_locked:,} queued messages"
        advice = "Remove them first or the new address will be listed too."
        return Finding("P24", "critical", f"There {are} from locked senders. {advice}", (f"replaces {facts.replacing}",))
    return _pass("P24", "No messages of locked senders are queued.")


@check("P25", "Receivers can be reached without IPv4", "critical", "62 % of last week's receivers have no IPv6 address.")
def _p25(facts: Facts) -> Finding | None:
    if not facts.ipv4_disabled:
        return None
    if facts.has_ipv6 is False:
        return Finding("P25", "critical", f"{facts.node} has no usable IPv6 address with reverse DNS; no mail could leave.")
    if facts.without_ipv6:
        text = f"{_percent(facts.without_ipv6)} of last week's receivers have no IPv6 address."
        return Finding("P25", "critical", text)
    if facts.has_ipv6 is None or facts.without_ipv6 is None:
        return _unknown("P25", "How many receivers have an IPv6 address is not known.")
    return _pass("P25", "All of last week's receivers have an IPv6 address.")


def _percent(share: float) -> str:
    return "Less than 1 %" if share < 0.01 else f"{share * 100:.0f} %"


@check("P26", "Its DNS records are settled", "info", "The PTR was changed a short time ago.")
def _p26(facts: Facts) -> Finding | None:
    def of(names: tuple[str, ...]) -> Finding:
        assert facts.names is not None
        found = [facts.names, *(facts.host(name) for name in names)]
        changed_at = facts.before.changed_at
        ttl_s = max(facts.names.ttl_s, facts.before.ttl_s)
        if changed_at is not None and facts.now - changed_at < ttl_s:
            old = (
                f"The PTR of {facts.outside} was changed at {_date(changed_at)}; receivers may know the old one for a while."
            )
            return Finding("P26", "info", old)
        ttls_s = [one.ttl_s for one in found if one.state == "found"]
        if min(ttls_s) < SHORT_TTL_S:
            text = f"DNS records of {facts.outside} are kept for {min(ttls_s):.0f} s only (TTL below {SHORT_TTL_S})."
            return Finding("P26", "info", text)
        failed = next((one for one in found if one.state == "failed"), None)
        if failed is not None:
            return _unknown("P26", f"Whether the DNS records are settled is not known: {failed.error}.")
        return _pass("P26", "The DNS records are settled.")

    return _of_names("P26", facts, of)

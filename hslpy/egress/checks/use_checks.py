"""Checks P17 to P26: whose it is, what receivers know of it, what its use comes to. In: `Facts`. Out: findings.

Source: section F of the specification of delivery IPs.
"""

from __future__ import annotations

from collections.abc import Mapping

from hslpy.egress.checks.check_table import RECENT_S, check, date, of_ptr_names, passed, told, unknown
from hslpy.egress.checks.facts import SEVERITY, Facts, Finding, Outcome
from hslpy.egress.checks.spf_advice import ready_record, term_for
from hslpy.egress.rules.names import (
    is_private,
)
from hslpy.egress.rules.sources import family_of

SHORT_TTL_S = 300


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
            text = f"The primary address of {node} was {old} until {date(at)}. Keep the primary address unchanged."
            return Finding("P17", "warning", text)
    return passed("P17", f"No other server has {x}.")


@check("P18", "Its HELO is its own", "info", "HELO out1.example.com is also used for Y.")
def _p18(facts: Facts) -> Finding:
    if facts.helo is None:
        return unknown("P18", "The HELO is not known.")
    helo = facts.helo.helo
    if facts.same_helo:
        host = facts.hosts.get(helo)
        missing = [one for one in facts.same_helo if host is None or one not in host.addresses]
        if missing and (host is None or host.error):
            return unknown("P18", f"HELO {helo} is also used for {', '.join(missing)}; where it resolves to is not known.")
        if missing:
            return Finding("P18", "info", f"HELO {helo} is also used for {', '.join(missing)}.")
    return passed("P18", f"HELO {helo} is used for addresses that it resolves to.")


@check("P19", "No address of its /64 is listed", "info", "Receivers often judge a whole /64.")
def _p19(facts: Facts) -> Finding | None:
    if family_of(facts.outside or facts.address) == 4:
        return None
    if facts.neighbours is None:
        return unknown("P19", f"Addresses of the /64 of {facts.address} have not been checked on lists.", counts=False)
    if facts.neighbours:
        text = f"{', '.join(facts.neighbours)} of the same /64 is listed. Receivers often judge a whole /64."
        return Finding("P19", "info", text)
    return passed("P19", f"No other address of the /64 of {facts.address} is listed.")


@check(
    "P20",
    "SPF of its senders allows it",
    "critical: fail, permerror; warning: softfail, neutral, none",
    "7 of 12 domains do not allow X in SPF. Add a:spf.example.tld or ip4:X.",
)
def _p20(facts: Facts) -> Finding:
    x = facts.outside
    if facts.spf is None or not x:
        return unknown("P20", f"Whether SPF allows {facts.address} was not checked.")
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
        return unknown("P20", f"Whether SPF of {len(trouble)} of {len(facts.spf)} names allows {x} is not known.", *lines)
    if not domains:
        return Finding("P20", "info", f"No sender's domain uses {x}.")
    of = f"all {len(domains)} domains" if len(domains) > 1 else domains[0].domain
    return passed("P20", f"SPF of {of} allows {x}.", *(one.domain for one in domains[:20]))


@check("P21", "The common SPF name lists it", "warning", "spf.example.tld does not list X yet.")
def _p21(facts: Facts) -> Finding | None:
    if not facts.spf_host:
        return None
    found = facts.host(facts.spf_host)
    if found.state == "failed" or not facts.outside:
        return unknown(
            "P21", f"Whether {facts.spf_host} lists {facts.outside or facts.address} is not known: {found.error}."
        )
    if facts.outside not in found.records:
        text = f"{facts.spf_host} does not list {facts.outside} yet."
        return Finding("P21", "warning", text, (told(facts.spf_host, found),))
    return passed("P21", f"{facts.spf_host} lists {facts.outside}.")


@check("P22", "No block list has it", "critical, warning or info, by the list", "X is listed by SpamCop.")
def _p22(facts: Facts) -> Finding:
    x, found = facts.outside or facts.address, facts.reputation
    if found is None or not (found.listed or found.clean or found.unknown):
        return unknown("P22", f"{x} has not been checked on any list.", counts=False)
    if found.listed:
        by_severity: Mapping[str, Outcome] = {"critical": "critical", "warning": "warning"}
        outcomes = [by_severity.get(severity, "info") for _, severity, _ in found.listed]
        outcome = max(outcomes, key=SEVERITY.index)
        evidence = tuple(f"{name}: {meaning}" if meaning else name for name, _, meaning in found.listed)
        return Finding("P22", outcome, f"{x} is listed by {', '.join(name for name, _, _ in found.listed)}.", evidence)
    if found.unknown:
        some = f"{found.unknown} of {found.unknown + found.clean} lists gave no usable answer"
        return unknown("P22", f"{x} is on no list that answered; {some}.", counts=False)
    return passed("P22", f"{x} is on none of {found.clean} lists.")


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
    return passed("P23", f"{x} is warm.")


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
        return unknown("P24", "Whether messages of locked senders are queued is not known.")
    if facts.queued_locked:
        are = "is 1 queued message" if facts.queued_locked == 1 else f"are {facts.queued_locked:,} queued messages"
        advice = "Remove them first or the new address will be listed too."
        return Finding("P24", "critical", f"There {are} from locked senders. {advice}", (f"replaces {facts.replacing}",))
    return passed("P24", "No messages of locked senders are queued.")


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
        return unknown("P25", "How many receivers have an IPv6 address is not known.")
    return passed("P25", "All of last week's receivers have an IPv6 address.")


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
                f"The PTR of {facts.outside} was changed at {date(changed_at)}; receivers may know the old one for a while."
            )
            return Finding("P26", "info", old)
        ttls_s = [one.ttl_s for one in found if one.state == "found"]
        if min(ttls_s) < SHORT_TTL_S:
            text = f"DNS records of {facts.outside} are kept for {min(ttls_s):.0f} s only (TTL below {SHORT_TTL_S})."
            return Finding("P26", "info", text)
        failed = next((one for one in found if one.state == "failed"), None)
        if failed is not None:
            return unknown("P26", f"Whether the DNS records are settled is not known: {failed.error}.")
        return passed("P26", "The DNS records are settled.")

    return of_ptr_names("P26", facts, of)

"""Checks P01 to P06: the address itself, on its node. In: `Facts`. Out: findings.

Source: section F of the specification of delivery IPs.
"""

from __future__ import annotations

import ipaddress

from hslpy.egress.addresses.interfaces import UNBINDABLE
from hslpy.egress.addresses.inventory import SILENT_S
from hslpy.egress.checks.check_table import check, date, passed, unknown
from hslpy.egress.checks.facts import Facts, Finding
from hslpy.egress.rules.names import (
    Refused,
    canonical_address,
    fault_of_source,
    is_private,
)

_DOCUMENTATION = tuple(
    map(ipaddress.ip_network, ("192.0.2.0/24", "198.51.100.0/24", "203.0.113.0/24", "2001:db8::/32", "3fff::/20"))
)  # RFC 5737, RFC 3849, RFC 9637


@check("P01", "It is an IP address", "critical", "'X' is not an IP address.")
def _p01(facts: Facts) -> Finding:
    try:
        address = canonical_address(facts.address)
    except Refused as refused:
        return Finding("P01", "critical", f"{refused.message}.")
    return passed("P01", f"{address} is an IP address.")


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
    return passed("P02", f"{facts.address} can be used on the internet.")


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
        return unknown("P03", f"{node} has not reported its addresses yet; whether it has {x} is not known.")
    seen = f"reported by {node} at {date(facts.reported_at)}"
    if facts.now - facts.reported_at > SILENT_S:
        return unknown("P03", f"{node} was not reachable since {date(facts.reported_at)}; whether it has {x} is not known.")
    if not facts.present:
        return Finding("P03", "critical", missing, (seen,))
    if facts.bind or UNBINDABLE in facts.flags:
        why = facts.bind or "it cannot be bound"
        return Finding("P03", "critical", f"Mail cannot leave from {x} on {node}: {why}. Until then it is skipped.", (seen,))
    if facts.family in facts.nonlocal_bind:
        text = f"ip_nonlocal_bind is on at {node}: a bind test proves nothing, and whether {x} goes away is not noticed."
        return Finding("P03", "warning", text, (seen,))
    return passed("P03", f"{x} is configured on {node}.", seen)


@check("P04", "Its state lets it be used", "critical; warning: temporary", "X is a temporary IPv6 address and will change.")
def _p04(facts: Facts) -> Finding | None:
    x = facts.address
    if facts.family == 4 or (facts.reported_at is not None and not facts.present):
        return None
    if facts.reported_at is None:
        return unknown("P04", f"The state of {x} is not known.")
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
    return passed("P04", f"{x} is usable.")


@check(
    "P05",
    "It is public, or its public address is known",
    "warning; critical: none",
    "X is private. Enter the public address it is translated to, so that DNS and block lists can be checked.",
)
def _p05(facts: Facts) -> Finding:
    x = facts.address
    if not is_private(x):
        return passed("P05", f"{x} is not a private address.")
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
        return unknown("P06", "No probe host is set, so that connections were not tried.", counts=False)
    if probe is None:
        return unknown("P06", f"Connections from {x} can be tried by {facts.node} alone.", counts=False)
    if not probe.reached:
        return unknown("P06", f"Whether connections from {x} leave the server is not known: {probe.error}.")
    if probe.error:
        text = f"Connections from {x} do not leave the server (check gateway, policy routing, rp_filter, firewall port 25)."
        return Finding("P06", "warning", text, (f"to {host} port 25: {probe.error}",))
    if probe.seen and probe.seen != facts.outside:
        text = f"{host} sees connections from {x} as coming from {probe.seen}."
        return Finding("P06", "warning", text)
    return passed("P06", f"Connections from {x} reach {host}.", *([f"seen as {probe.seen}"] if probe.seen else []))

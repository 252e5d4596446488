"""Whether mail should leave from an address, by plain functions of what is known of it. In: `Facts`. Out: findings.

DNS trouble is `unknown`, never a pass and never a fault. Source: section F of the specification of delivery IPs.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from hslpy.egress.checks import address_checks, name_checks, use_checks
from hslpy.egress.checks.check_table import CHECKS
from hslpy.egress.checks.facts import SEVERITY, Facts, Finding, Outcome
from hslpy.egress.rules.names import (
    Refused,
    canonical_address,
)

MODULES = (address_checks, name_checks, use_checks)
"""Those that fill the table, in its order."""


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


__all__ = ["CHECKS", "critical", "judge", "status"]

"""What is known of an address before mail leaves from it, and what was found. In: nothing. Out: records.

Must not know how facts are had, nor what is concluded from them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import field
from typing import Literal

from hslpy.egress.addresses.helos import NEVER, Effective, Reversed
from hslpy.egress.addresses.lookups import Host, Lookup
from hslpy.egress.checks.spf_advice import SpfVerdict
from hslpy.egress.rules.book import Family
from hslpy.egress.rules.names import is_private
from hslpy.egress.rules.sources import family_of
from hslpy.records import record

Outcome = Literal["pass", "info", "warning", "critical", "unknown"]
SEVERITY: Sequence[Outcome] = ("pass", "info", "unknown", "warning", "critical")
"""Least first."""


@record
class Finding:
    """What a check found. `counts` False: nothing could be asked for want of a setting; it says nothing of the address."""

    check: str
    outcome: Outcome
    text: str
    evidence: tuple[str, ...] = ()
    counts: bool = True


@record
class Server:
    """A node: its public primary addresses, those it reported, and what its name leads to (None: not looked up)."""

    name: str
    primary: frozenset[str] = frozenset()
    addresses: frozenset[str] = frozenset()
    host: Host | None = None


@record
class Probe:
    """What came of a connection from the address to the probe host. `seen` is the address the host said it sees."""

    error: str = ""
    seen: str = ""
    reached: bool = True


@record
class Reputation:
    """What block lists say: `(list, severity, meaning)` where it is listed; how many are clean and gave no usable answer."""

    listed: tuple[tuple[str, str, str], ...] = ()
    clean: int = 0
    unknown: int = 0


@record
class Facts:
    """All that is known of an address on a node. None stands for what was not asked or not answered.

    `address` is as it was written. `present`, `flags` and `nonlocal_bind` are of the node's report at `reported_at`;
    `bind` is the bind test made now, "" where it went well. `hosts` has what the names in question lead to. `same_helo`:
    other addresses with this one's HELO. `former`: the node's primary address before, and when that changed.
    `neighbours`: listed addresses of the same /64. `without_ipv6`: share of last week's receivers, 0 to 1. `replacing`:
    the address that this one is to replace; `queued_locked` how many messages of locked senders are queued.
    """

    address: str
    node: str
    now: float
    resolver: str = ""
    reported_at: float | None = None
    present: bool = False
    flags: tuple[str, ...] = ()
    nonlocal_bind: tuple[Family, ...] = ()
    bind: str | None = None
    public_address: str = ""
    servers: tuple[Server, ...] = ()
    assigned: tuple[str, ...] = ()
    former: tuple[str, float] | None = None
    names: Lookup | None = None
    hosts: Mapping[str, Host] = field(default_factory=dict)
    helo: Effective | None = None
    same_helo: tuple[str, ...] = ()
    before: Reversed = NEVER
    probe_host: str = ""
    probe: Probe | None = None
    spf: tuple[SpfVerdict, ...] | None = None
    spf_host: str = ""
    reputation: Reputation | None = None
    neighbours: tuple[str, ...] | None = None
    warmup: str = ""
    first_seen_at: float | None = None
    used_at: float | None = None
    ipv4_disabled: bool = False
    has_ipv6: bool | None = None
    without_ipv6: float | None = None
    replacing: str = ""
    queued_locked: int | None = None

    @property
    def family(self) -> Family:
        return family_of(self.address)

    @property
    def outside(self) -> str:
        """The address as receivers see it, "" where that is not known."""
        return self.public_address if is_private(self.address) else self.address

    @property
    def server(self) -> Server:
        return next((one for one in self.servers if one.name == self.node), Server(self.node))

    def host(self, name: str) -> Lookup:
        """What a name leads to, in the address's family."""
        found = self.hosts.get(name)
        return found.of(self.family) if found is not None else Lookup("failed", error=f"{name} was not looked up")

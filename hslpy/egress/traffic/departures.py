"""Which address an attempt leaves from by the settings of delivery IPs. In: a picture, a sender, a target. Out: a decision.

`Departures` is what one process knows: the picture, addresses that could not be bound, and what `Allowances` says of those
that are warming up. Must not know of messages, queues or sockets, nor import the database: the server's start has no time
for that. Source: section C of the specification of delivery IPs.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Protocol

from hslpy.clock import Clock
from hslpy.egress.rules.book import PRIMARY, Family, Scope, Sender, comparable_domain
from hslpy.egress.rules.choice import USABLE, Availability, Decision, choose, meant
from hslpy.log import Log
from hslpy.records import record

if TYPE_CHECKING:
    from hslpy.egress.traffic.picture import Picture

UNBOUND_S = 300.0
"""How long an address that could not be bound is left out. Source: C4."""
NOT_HERE = "not on this server"
_TOLD_AGAIN_S = 60.0
_NONE: Mapping[str, Availability] = {}


class Allowances(Protocol):
    """What addresses that are warming up may still send. Addresses that it does not know may send without bounds."""

    def exceptions(self, host: str, now: float) -> Mapping[str, Availability]:
        """Give the addresses that cannot be used for mail to an MX host now, or not wholly.

        It is asked for each choice: no I/O. As long as nothing has changed it gives the same object.
        """
        ...

    async def reserve(self, address: str, host: str) -> Availability:
        """Take what one message to an MX host needs of an address's allowance; where there is none left, give why.

        Where it gives no reason `settle` follows, once, whatever becomes of the attempt.
        """
        ...

    def settle(self, address: str, host: str, *, reached: bool) -> None:
        """End a reservation: what had no recipient accepted takes nothing."""
        ...

    def blocked(self, address: str, reply: str) -> None:
        """A receiver refused mail of an address, naming a block list."""
        ...


class NoBounds:
    """Every address may send."""

    def exceptions(self, host: str, now: float) -> Mapping[str, Availability]:
        return _NONE

    async def reserve(self, address: str, host: str) -> Availability:
        return USABLE

    def settle(self, address: str, host: str, *, reached: bool) -> None:
        pass

    def blocked(self, address: str, reply: str) -> None:
        pass


@record
class Candidate:
    """An address that may be left from, by the setting of a scope. `chosen`: it would be."""

    address: str
    helo: str
    family: Family
    scope: Scope
    chosen: bool


class Departures:
    """What one process of a node knows. `picture` is None until the first one is there."""

    def __init__(self, node: str, clock: Clock, log: Log, allowances: Allowances | None = None) -> None:
        """`node` is the server's host name."""
        self.node = comparable_domain(node)
        self.picture: Picture | None = None
        self.allowances = allowances or NoBounds()
        self.saw: Callable[[Sender], None] = lambda sender: None
        """Told of each message's sender that has an identity."""
        self.alarm: Callable[[str, float, str], None] = lambda address, until, reason: None
        """Told of an address that could not be bound, until when it is left out, and why."""
        self._clock = clock
        self._log = log
        self._unbound: dict[str, float] = {}
        self._suspended: frozenset[str] = frozenset()  # of the picture before
        self._there: frozenset[str] | None = None
        self._told: dict[Scope, float] = {}
        self._known: tuple[object, float, Mapping[str, Availability]] = (None, 0.0, _NONE)
        self._own: tuple[object, frozenset[str]] = (None, frozenset())
        self._had: set[str] = set()  # of which connections were kept
        self._merged: tuple[object, object, Mapping[str, Availability]] = (None, None, _NONE)

    def choose(
        self,
        sender: Sender,
        family: Family,
        key: bytes,
        host: str = "",
        *,
        kept: str = "",
        avoid: Collection[str] = (),
        patient: bool = False,
        more: Mapping[str, Availability] = _NONE,
    ) -> Decision:
        """Give what a message leaves from towards an MX host; `more` are exceptions, too. Source of the others: `choose`.

        A primary address that cannot be bound is left to the system. There must be a picture.
        """
        picture = self.picture
        assert picture is not None
        exceptions = self.exceptions(host)
        if more:
            exceptions = {**exceptions, **more}
        policies = picture.site.policies
        decision = choose(
            picture.book, self.node, sender, family, key, exceptions, policies, avoid, kept=kept, patient=patient
        )
        if decision.fell_back:
            self._tell_of_fall(decision, exceptions)
        if decision.kind in ("primary", "automatic") and decision.address in self._unbound:
            return replace(decision, address="", fell_back=True)
        return decision

    def warms(self, decision: Decision, sender: Sender, family: Family, key: bytes, host: str) -> str:
        """Give the address that a message would help to warm up, if that let it; empty for none."""
        exceptions = self.exceptions(host)
        if not exceptions or self.picture is None:
            return ""
        address = meant(decision, family, sender, key, self.picture.site.policies)
        return address if exceptions.get(address, USABLE).warming else ""

    def _tell_of_fall(self, decision: Decision, exceptions: Mapping[str, Availability]) -> None:
        """Sound the alarm where a setting is not followed because none of its addresses is there, once a minute each."""
        now = self._clock.time()
        for rung in decision.ladder[:-1]:
            missing = [look for look in rung.looks if look.finding and not exceptions[look.address].warming]
            if not missing or len(missing) < len(rung.looks) or now < self._told.get(rung.scope, 0.0):
                continue
            self._told[rung.scope] = now + _TOLD_AGAIN_S
            skipped = "; ".join(f"{look.address}: {look.finding}" for look in missing)
            fields = {"level": "critical", "node": self.node, "scope": str(rung.scope), "skipped": skipped}
            self._log("delivery.fell_back", {**fields, "instead": decision.reason})

    def candidates(
        self, sender: Sender, family: Family, key: bytes, *, kept: Collection[str] = (), avoid: Collection[str] = ()
    ) -> Sequence[Candidate]:
        """Give the addresses that a message may leave from, the one that `choose` would give first.

        None where it is left to the system, or where nothing may be sent.
        """
        before = next((one for one in kept if (":" in one) == (family == 6)), "")
        decision = self.choose(
            sender, family, key, kept=before, avoid=[one for one in avoid if (":" in one) == (family == 6)]
        )
        if not decision.address or self.picture is None:
            return ()
        rung, usable = decision.ladder[-1], [decision.address]
        if decision.kind == "address" and rung.setting is not None:
            exceptions = self.exceptions()
            usable += [
                one
                for one in rung.setting.addresses(family)
                if one != decision.address and not exceptions.get(one, USABLE).reason
            ]
        return [Candidate(one, self.helo(one) or self.node, family, rung.scope, one == decision.address) for one in usable]

    def has(self, address: str) -> bool:
        """Say whether an address is one of this node's, or set for somebody on it."""
        picture = self.picture
        if picture is None:
            return False
        if self._own[0] is not picture:
            here = picture.book.nodes.get(self.node)
            found = {*here.addresses, here.primary_ipv4, here.primary_ipv6} if here is not None else set()
            for (_, node), setting in picture.book.settings.items():
                if node == self.node:
                    found.update(setting.ipv4, setting.ipv6)
            self._own = (picture, frozenset(found - {"", *PRIMARY.values()}))
        return address in self._own[1]

    def exceptions(self, host: str = "") -> Mapping[str, Availability]:
        """Give the addresses that cannot be used now for mail to an MX host, or not wholly."""
        now = self._clock.time()
        known = self._unusable(now)
        warming = self.allowances.exceptions(host, now)
        if not warming:
            return known
        first, second, merged = self._merged
        if first is not known or second is not warming:
            merged = {**warming, **known}
            self._merged = (known, warming, merged)
        return merged

    def keeps(self, address: str) -> bool:
        """Say whether a connection that left from an address may be kept for another message.

        Not of a locked node, nor from an address that cannot be used, or was this node's and no longer is.
        """
        if self.picture is None:
            return True
        if self.has(address):
            self._had.add(address)
        elif address in self._had:
            return False
        locked = self.node in self.picture.locked_nodes
        return not locked and not self._unusable(self._clock.time()).get(address, USABLE).reason

    def _unusable(self, now: float) -> Mapping[str, Availability]:
        picture, until, known = self._known
        return known if picture is self.picture and now < until else self._found(now)

    def _found(self, now: float) -> Mapping[str, Availability]:
        picture = self.picture
        if picture is None:
            return _NONE
        known = dict(picture.exceptions(self.node, now))
        here = picture.book.nodes.get(self.node)
        there = here.addresses if here is not None else frozenset()
        back, self._there = there - (there if self._there is None else self._there), there
        suspended = frozenset(one for one, node, until, _ in picture.suspended if node in ("", self.node) and until > now)
        back, self._suspended = back | (self._suspended - suspended), suspended  # lifted: it is tried again
        self._unbound = {one: until for one, until in self._unbound.items() if until > now and one not in back}
        for address, until in self._unbound.items():
            known[address] = Availability(NOT_HERE, again_at=until)
        ends = [one.again_at for one in known.values() if one.again_at > now]
        starts = [until for *_, until, _ in picture.suspended if until > now]
        self._known = (picture, min([*ends, *starts, math.inf]), known)
        return known

    def cannot_bind(self, address: str, reason: str) -> None:
        """Leave an address out for a while that is not on this machine, whatever the settings say, and sound the alarm."""
        until = self._clock.time() + UNBOUND_S
        self._unbound[address] = until
        self._known = (None, 0.0, _NONE)
        fields = {"level": "critical", "node": self.node, "address": address, "error": reason, "seconds": UNBOUND_S}
        self._log("delivery.address_missing", fields)
        self.alarm(address, until, reason)

    def helo(self, address: str) -> str:
        """Give the name to say in EHLO when leaving from an address: one that was set or confirmed, else empty."""
        if self.picture is None:
            return ""
        found = self.picture.helos.of(address, self._clock.time(), node=self.node)
        return "" if found.origin == "node" else found.helo

    def closed(self, sender: Sender) -> Mapping[int, str]:
        """Give the families in which mail of a sender cannot leave by policy, with what to say of receivers in no other.

        Source: C3.
        """
        picture = self.picture
        assert picture is not None
        found: dict[int, str] = {}
        here = picture.book.nodes.get(self.node)
        no_ipv6 = ""
        if here is not None and not here.ipv6_enabled:
            no_ipv6 = f"IPv6 is switched off on {self.node}"
        elif here is not None and here.addresses and not here.primary_ipv6 and not any(":" in one for one in here.addresses):
            no_ipv6 = f"{self.node} has no IPv6 address"
        if no_ipv6:
            found[6] = f"{no_ipv6} and the receiver has no IPv4 address"
        if self.choose(sender, 4, b"").kind == "disabled":
            off = "IPv4 delivery is disabled for this sender"
            found[4] = f"{off} and the receiver has no IPv6 address"
            if no_ipv6:
                found[4] = found[6] = f"{off} and {no_ipv6}"
        return found


def shown(decision: Decision) -> str:
    """Give how a decision came about, in one line: each level that was looked at, and what was found of its addresses."""
    parts = []
    for rung in decision.ladder:
        skipped = ", ".join(f"{look.address} {look.finding}" for look in rung.looks if look.finding)
        parts.append(f"{rung.scope}: {rung.finding}" + (f" ({skipped})" if skipped else ""))
    return "; ".join(parts)

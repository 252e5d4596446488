"""Where one attempt leaves from, target by target: sources that somebody named, or what the delivery IPs' settings say.

In: targets. Out: a `Departure` for each, and what to tell when there was none. Must not know of connections.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import field
from typing import Protocol

from hslpy.client.contract import TransactionResult
from hslpy.clock import Clock
from hslpy.delivery.outcome import Outcome, waiting
from hslpy.delivery.plan import Target
from hslpy.egress.rules.book import PRIMARY, Family, Sender
from hslpy.egress.rules.choice import Availability, Decision
from hslpy.egress.rules.sources import Source, Sources, choose_source, family_of
from hslpy.egress.traffic.departures import Departures, shown
from hslpy.log import Log
from hslpy.records import dataclass

PATIENT_S = 3600.0
"""How long a message waits for an address that it was tried from and that is only warming up. Source: D5."""
_POOL_SHOWN = 8
_NOBODY = Sender()


@dataclass(frozen=True, slots=True)
class Origin:
    """Whose message it is, and what is known of its way: `key` spreads messages over addresses, the same one each time.

    `kept` are addresses that it was tried from, `avoid` those that were refused it, `first_at` the time of its first
    attempt (Unix seconds, 0.0 before that).
    """

    sender: Sender = _NOBODY
    key: bytes = b""
    kept: tuple[str, ...] = ()
    avoid: frozenset[str] = frozenset()
    first_at: float = 0.0


NODES_OWN = Origin()


@dataclass(frozen=True, slots=True)
class Departure:
    """What to leave from for one target: `source` None is from nowhere now, until `again_at` where that is known.

    `looked_at` says how that came about, `about` is more of it for the log. `chosen`: by the delivery IPs' settings, which
    `reserved` an allowance for it.
    """

    source: Source | None
    looked_at: str = ""
    again_at: float | None = None
    about: Mapping[str, object] = field(default_factory=dict)
    chosen: bool = False
    strict: bool = False
    reserved: str = ""


class Leaving(Protocol):
    """`named_by` is who decides; `families` those that can be reached, `closed` what to say of receivers in another."""

    named_by: str
    families: tuple[int, ...]
    closed: Mapping[int, str]

    async def choose(self, target: Target) -> Departure: ...

    def cannot_bind(self, departure: Departure, result: TransactionResult, ids: Mapping[str, object]) -> None:
        """The source is not on this machine: leave it out from now on."""
        ...

    def nowhere(self, missed: Sequence[Departure]) -> Outcome:
        """Give what becomes of a message that no target could be tried with."""
        ...


class FromNamed:
    """Sources that a script, a transport or the server's settings name; without any the system chooses."""

    def __init__(
        self,
        candidates: Sequence[Source],
        named_by: str,
        sources: Sources,
        clock: Clock,
        log: Log,
        suspension_s: float,
        wait_s: float,
    ) -> None:
        self.named_by = named_by
        self.closed: Mapping[int, str] = {}
        self.families: tuple[int, ...] = tuple(sorted({source.family for source in candidates})) or (4, 6)
        self._candidates = candidates
        self._sources = sources
        self._clock = clock
        self._log = log
        self._suspension_s = suspension_s
        self._wait_s = wait_s
        self._unbound: dict[str, float] = {}

    async def choose(self, target: Target) -> Departure:
        if not self._candidates:
            return Departure(Source("", ""), ": the system's choice")
        suspended = {**self._sources.suspended, **self._unbound}
        choice = choose_source(self._candidates, suspended, family_of(target.address), self._clock.time())
        return Departure(choice.source, choice.reason, choice.again_at)

    def cannot_bind(self, departure: Departure, result: TransactionResult, ids: Mapping[str, object]) -> None:
        source = departure.source
        assert source is not None
        self._sources.suspend(source.address, self._suspension_s, result.error or "it cannot be bound")
        fields = {"source": source.id, "address": source.address, "error": result.error, "seconds": self._suspension_s}
        self._log("delivery.source_suspended", {"level": "warning", **ids, **fields})
        self._unbound[source.address] = self._clock.time() + max(self._suspension_s, 1.0)

    def nowhere(self, missed: Sequence[Departure]) -> Outcome:
        """It waits until a source is back."""
        backs = [departure.again_at for departure in missed if departure.again_at is not None]
        wait_s = max(min(backs) - self._clock.time(), 1.0) if backs else self._wait_s
        return waiting(f"no source can be used: {missed[-1].looked_at if missed else 'no candidate'}", wait_s)


class FromSettings:
    """What the settings of delivery IPs say of the message's sender. There must be a picture."""

    named_by = "delivery_ips"

    def __init__(
        self,
        departures: Departures,
        origin: Origin,
        clock: Clock,
        wait_s: float,
        wanted: Callable[[str], None] = lambda address: None,
    ) -> None:
        """`wanted` is told, at a first attempt, of the address warming up that it is for, whether that lets it go or not."""
        closed = departures.closed(origin.sender)
        self.families: tuple[int, ...] = tuple(family for family in PRIMARY if family not in closed)
        self.closed = closed
        self._departures = departures
        self._origin = origin
        self._clock = clock
        self._wait_s = wait_s
        self._more: dict[str, Availability] = {}
        self._wanted = wanted
        self._told: set[Family] = set()

    async def choose(self, target: Target) -> Departure:
        family = family_of(target.address)
        while True:
            decision = self._decide(target.host, family)
            self._tell(decision, target.host, family)
            if decision.kind in ("hold", "disabled"):
                again_at = decision.again_at if decision.again_at < math.inf else None
                return Departure(None, shown(decision), again_at, strict=decision.strict)
            reserved = ""
            if decision.kind == "address" and decision.address not in self._more:  # else it is sent though it is warming
                allowed = await self._departures.allowances.reserve(decision.address, target.host)
                if allowed.reason:
                    self._more[decision.address] = allowed
                    continue
                reserved = decision.address
            return Departure(
                Source("", decision.address), shown(decision), None, _about(decision, family), True, reserved=reserved
            )

    def _tell(self, decision: Decision, host: str, family: Family) -> None:
        origin = self._origin
        if origin.first_at or family in self._told:
            return
        self._told.add(family)
        address = self._departures.warms(decision, origin.sender, family, origin.key, host)
        if address:
            self._wanted(address)

    def _decide(self, host: str, family: Family) -> Decision:
        origin = self._origin
        kept = next((address for address in origin.kept if family_of(address) == family), "")
        patient = bool(kept and origin.first_at) and self._clock.time() - origin.first_at <= PATIENT_S
        return self._departures.choose(
            origin.sender,
            family,
            origin.key,
            host,
            kept=kept,
            avoid=origin.avoid,
            patient=patient,
            more=self._more,
        )

    def cannot_bind(self, departure: Departure, result: TransactionResult, ids: Mapping[str, object]) -> None:
        assert departure.source is not None
        self._departures.cannot_bind(departure.source.address, result.error or "it cannot be bound")

    def nowhere(self, missed: Sequence[Departure]) -> Outcome:
        """It waits, uncharged, for an address of a strict setting, or until one that is warming up may be used again."""
        now = self._clock.time()
        backs = [departure.again_at for departure in missed if departure.again_at is not None]
        if self._origin.first_at and now < self._origin.first_at + PATIENT_S:
            backs.append(self._origin.first_at + PATIENT_S)  # from then on another address will do
        wait_s = min(max(min(backs) - now, 1.0), self._wait_s) if backs else self._wait_s
        strict = any(departure.strict for departure in missed)
        why = missed[-1].looked_at if missed else "no candidate"
        if strict:
            return waiting(f"4.3.5 no configured delivery address is available on {self._departures.node}: {why}", wait_s)
        return waiting(f"4.3.5 the delivery addresses are warming up: {why}", wait_s)


def _about(decision: Decision, family: Family) -> Mapping[str, object]:
    rung = decision.ladder[-1]
    pool = rung.setting.addresses(family) if rung.setting is not None else ()
    more = [f"and {len(pool) - _POOL_SHOWN} more"] if len(pool) > _POOL_SHOWN else []
    return {
        "scope_level": rung.scope.level,
        "scope": str(rung.scope),
        "pool": " ".join([*pool[:_POOL_SHOWN], *more]),
        "chosen": decision.address or "any",
        "kind": decision.kind,
        "fell_back": decision.fell_back,
    }

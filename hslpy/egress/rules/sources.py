"""Which IP mail leaves from. In: configured sources, what a script named, what is suspended. Out: one source, and why.

The choice itself is a plain function; `Sources` keeps what it looks at. Mail never leaves from an address that was not
chosen here. Must not know of messages or sockets.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Mapping, Sequence
from typing import Literal

from hslpy.clock import Clock
from hslpy.errors import OperatorError
from hslpy.late import difflib
from hslpy.mail.verdict import SourceChoice
from hslpy.records import dataclass

Family = Literal[4, 6]


@dataclass(frozen=True, slots=True)
class Source:
    """A local IP and its EHLO name. `id` is its configured one (`netaddr:1`), "" for an address a script gave.

    `helo` "" leaves the server's own name.
    """

    id: str
    address: str
    helo: str = ""

    @property
    def family(self) -> Family:
        return family_of(self.address)


@dataclass(frozen=True, slots=True)
class Look:
    """One candidate that the choice looked at, and what it found: `chosen`, or why not."""

    source_id: str
    address: str
    finding: str


@dataclass(frozen=True, slots=True)
class Choice:
    """`source` is None when no candidate can be used; `looks` has all that was looked at, in order.

    `again_at` is when a suspended candidate of the right family comes back, None when there is none such.
    """

    source: Source | None
    looks: tuple[Look, ...] = ()
    again_at: float | None = None

    @property
    def reason(self) -> str:
        """What was found, in one line."""
        return "; ".join(f"{look.source_id or look.address}: {look.finding}" for look in self.looks) or "no candidate"


def choose_source(candidates: Sequence[Source], suspended: Mapping[str, float], family: Family, now: float) -> Choice:
    """Give the first candidate of the target's family that is not suspended.

    `suspended` maps addresses to the Unix time until which they may not be used.
    """
    looks: list[Look] = []
    again_at: float | None = None
    for candidate in candidates:
        until = suspended.get(candidate.address, 0.0)
        if candidate.family != family:
            finding = f"is IPv{candidate.family}, the target IPv{family}"
        elif until > now:
            finding = f"suspended for {until - now:.0f} s"
            again_at = until if again_at is None else min(again_at, until)
        else:
            looks.append(Look(candidate.id, candidate.address, "chosen"))
            return Choice(candidate, tuple(looks))
        looks.append(Look(candidate.id, candidate.address, finding))
    return Choice(None, tuple(looks), again_at)


def rotated(candidates: Sequence[Source], key: int) -> tuple[Source, ...]:
    """Give the candidates beginning at the one that `key` falls on: even over keys, the same at each retry of one."""
    if not candidates:
        return ()
    start = key % len(candidates)
    return (*candidates[start:], *candidates[:start])


def family_of(address: str) -> Family:
    return 6 if ":" in address else 4


class UnknownSource(Exception):
    """A source id that the settings don't have; `message` says so, with what it may have been meant for."""

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message


class Sources:
    """The configured sources by id, and which addresses are suspended until when.

    A script's `1` means `netaddr:1`. Raises OperatorError for an id given twice or an address that is none.
    """

    def __init__(self, sources: Iterable[Source], clock: Clock) -> None:
        self._clock = clock
        self._sources: dict[str, Source] = {}
        self._suspended: dict[str, tuple[float, str]] = {}
        for source in sources:
            address = _checked_address(source.address)
            if address is None:
                raise OperatorError(f"source {source.id}: {source.address!r} is not an IP address")
            if source.id in self._sources:
                raise OperatorError(f"source {source.id} is there twice")
            self._sources[source.id] = Source(source.id, address, source.helo)

    @property
    def all(self) -> tuple[Source, ...]:
        return tuple(self._sources.values())

    @property
    def suspended(self) -> dict[str, float]:
        """Addresses that may not be used now, with the Unix times until which."""
        now = self._clock.monotonic()  # a clock that is set back prolongs nothing
        self._suspended = {address: entry for address, entry in self._suspended.items() if entry[0] > now}
        return {address: self._clock.time() + (until - now) for address, (until, _) in self._suspended.items()}

    @property
    def suspensions(self) -> dict[str, tuple[float, str]]:
        """As `suspended`, each with its reason."""
        return {address: (until, self._suspended[address][1]) for address, until in self.suspended.items()}

    def by_ids(self, ids: Iterable[str]) -> tuple[Source, ...]:
        """Give the sources with these ids, in that order. Raises UnknownSource."""
        return tuple(self._by_id(source_id) for source_id in ids)

    def resolve(self, named: Iterable[SourceChoice]) -> tuple[Source, ...]:
        """Give the sources that a script named, with the HELO it gave them. Raises UnknownSource."""
        found: list[Source] = []
        for choice in named:
            if choice.id is not None:
                source = self._by_id(choice.id)
            else:
                address = _checked_address(choice.address or "")
                if address is None:
                    raise UnknownSource(f"source {choice.address!r} is neither a configured id nor an IP address")
                source = next((known for known in self._sources.values() if known.address == address), Source("", address))
            found.append(Source(source.id, source.address, choice.helo or source.helo))
        return tuple(found)

    def suspend(self, address: str, duration_s: float, reason: str) -> None:
        """Keep mail from leaving by `address` for a while."""
        self._suspended[address] = (self._clock.monotonic() + duration_s, reason)

    def release(self, address: str) -> None:
        """Let mail leave by `address` again."""
        self._suspended.pop(address, None)

    def _by_id(self, source_id: str) -> Source:
        source = self._sources.get(source_id) or self._sources.get(f"netaddr:{source_id}")
        if source is None:
            near = difflib.get_close_matches(source_id, self._sources, 1)
            hint = f", did you mean {near[0]}?" if near else ""
            raise UnknownSource(f"source {source_id!r} is not configured{hint}")
        return source


def _checked_address(text: str) -> str | None:
    try:
        return str(ipaddress.ip_address(text))
    except ValueError:
        return None

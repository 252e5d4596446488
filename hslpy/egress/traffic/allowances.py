"""What addresses that are warming up may send, in one process: windows and hourly caps. In: a picture. Out: answers.

Windows are known without asking; caps are counted by `Quotas`, one round trip a message, and what they refuse is
remembered until it ends. Source: sections D3 to D5 of the specification of delivery IPs. Must not know of messages.
"""

from __future__ import annotations

import asyncio
import math
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

from hslpy.clock import Clock
from hslpy.egress.rules.choice import USABLE, Availability
from hslpy.egress.rules.receivers import group_of
from hslpy.egress.rules.warmup import Plan, Warming, hourly_limit, window_at
from hslpy.rate.quota import AWAY, HOUR_MS, Cap, Quotas
from hslpy.records import record

WARMING_WEIGHT = math.nextafter(1.0, 0.0)
"""As much as a warm one's, and told apart from it. Source: D5."""
_LONGEST_S = 3660.0
"""What counters refuse is for an hour at most; what is for longer was refused before the clock was set back."""
_NONE: Mapping[str, Availability] = {}
_OPEN = Availability("", True, math.inf, WARMING_WEIGHT)


_BLOCKED = Availability("its warm-up is paused: a receiver refused its mail by a block list", True, stopped=True)


@record
class _Known:
    of: object
    since: float
    until: float
    found: Mapping[str, Availability]


class Ramp:
    """The allowances of one process. `warmings` gives, by address, those of its node that are not to be used freely."""

    def __init__(self, warmings: Callable[[], Mapping[str, Warming]], quotas: Quotas, clock: Clock) -> None:
        self._warmings = warmings
        self._quotas = quotas
        self._clock = clock
        self._refused: dict[tuple[str, str], Availability] = {}
        self._known: dict[str, _Known] = {}
        self._of: Mapping[str, Warming] = {}
        self._standing: dict[str, tuple[Availability, float, int]] = {}
        self._open: dict[tuple[str, str], deque[tuple[str, Sequence[Cap], float]]] = {}
        self._giving: set[asyncio.Task[None]] = set()
        self._blocked: set[str] = set()
        self.on_blocked: Callable[[str, str], None] = lambda address, reply: None
        """Told of an address that is warming up and was refused by a block list, once a picture, with the reply."""

    def exceptions(self, host: str, now: float) -> Mapping[str, Availability]:
        """Give the addresses that are warming up, and whether each may be used for mail to a host now.

        As long as nothing has changed it is the same object.
        """
        warmings = self._now()
        if not warmings:
            return _NONE
        group = group_of(host)
        known = self._known.get(group)
        if known is None or known.of is not warmings or not known.since <= now < known.until:
            known = self._known[group] = self._found(warmings, group, now)
        return known.found

    async def reserve(self, address: str, host: str) -> Availability:
        """Take what one message needs; a reason where there is nothing to take. Else `settle` follows."""
        warming = self._now().get(address)
        if warming is None:
            return USABLE
        now = self._clock.time()
        found, _, day = self._stands(warming, now)
        if found.reason:
            return found
        group = group_of(host)
        caps = self._caps(warming, day, group)
        if not caps:
            return USABLE
        answer = await self._quotas.reserve(warming.key, caps, now)
        if answer.granted:
            self._open.setdefault((address, group), deque()).append((warming.key, caps, now))
            return USABLE
        refused = Availability(_why(warming.plan, caps, answer.cap, answer.again_at, now), True, answer.again_at)
        self._refused[address, answer.cap] = refused
        self._known.clear()
        return refused

    def settle(self, address: str, host: str, *, reached: bool) -> None:
        """End a reservation: where no recipient was accepted it is given back."""
        waiting = self._open.get((address, group_of(host)))
        if not waiting:
            return
        key, caps, at = waiting.popleft()
        if not reached:
            task = asyncio.get_running_loop().create_task(self._give_back(address, key, caps, at))
            self._giving.add(task)
            task.add_done_callback(self._giving.discard)

    def blocked(self, address: str, reply: str) -> None:
        """Send no more from an address that is warming up and was refused by a block list: it is going to be paused."""
        warming = self._now().get(address)
        if warming is not None and not warming.stopped and address not in self._blocked:
            self._blocked.add(address)
            self._known.clear()
            self.on_blocked(address, reply)

    def load(self, sent: Mapping[str, Mapping[str, int]]) -> None:
        """Take up what was sent in this hour before a restart, by key and group."""
        for key, counts in sent.items():
            for name, count in counts.items():
                self._quotas.load(key, name, count, self._clock.time())

    async def close(self) -> None:
        await asyncio.gather(*self._giving, return_exceptions=True)
        await self._quotas.close()

    async def _give_back(self, address: str, key: str, caps: Sequence[Cap], at: float) -> None:
        await self._quotas.release(key, caps, at)
        for cap in caps:
            self._refused.pop((address, cap.name), None)
        self._known.clear()

    def _now(self) -> Mapping[str, Warming]:
        """Give the picture as it is now; of another than before nothing is remembered, for its plans may be others."""
        warmings = self._warmings()
        if warmings is not self._of:
            self._of = warmings
            self._blocked.clear()
            self._standing.clear()
            self._refused.clear()
        return warmings

    def _stands(self, warming: Warming, now: float) -> tuple[Availability, float, int]:
        """Source: `availability`. It is kept as long as it holds: to know the hour of a zone takes time."""
        address = warming.address
        if address in self._blocked:
            return _BLOCKED, math.inf, 0
        known = self._standing.get(address)
        if known is None or not known[1] - 900 <= now < known[1]:
            known = self._standing[address] = availability(warming, now)
        return known

    def _caps(self, warming: Warming, day: int, group: str) -> Sequence[Cap]:
        found = caps_of(warming.plan, day, group)
        return found if self._quotas.spans_nodes else [_part(cap, warming) for cap in found]

    def _found(self, warmings: Mapping[str, Warming], group: str, now: float) -> _Known:
        self._refused = {key: one for key, one in self._refused.items() if now < one.again_at <= now + _LONGEST_S}
        found: dict[str, Availability] = {}
        until = math.inf
        for address, warming in warmings.items():
            one, ends, _ = self._stands(warming, now)
            until = min(until, ends)
            if not one.reason:
                for name in dict.fromkeys(("", group, *AWAY)):
                    refused = self._refused.get((address, name))
                    if refused is not None:
                        one = refused
                        until = min(until, refused.again_at)
                        break
            found[address] = one
        return _Known(warmings, now, until, found)


def availability(warming: Warming, now: float) -> tuple[Availability, float, int]:
    """Say whether an address may be used now by its state and windows, until when that holds, and on which day of its plan.

    `now` and the end are Unix seconds; it is looked at again after a quarter of an hour at most.
    """
    soon = now - now % 900 + 900  # in whatever zone, a date ends with a quarter of an hour
    if warming.stopped:
        return Availability(warming.stopped, True, math.inf, stopped=True), soon, 0
    plan = warming.plan
    window = window_at(plan, datetime.fromtimestamp(now, UTC), warming.progress)
    if window.is_open:
        closes = window.closes.timestamp() if window.closes is not None else math.inf
        return _OPEN, min(closes, soon), window.day
    opens = window.opens.timestamp() if window.opens is not None else math.inf
    at = f" opens {told(plan, opens, now)}" if window.opens is not None else " is closed"
    day = f"day {window.day} of {plan.days}" if window.day else "not begun"
    return Availability(f"warming up, {day}: the window{at}", True, opens), min(opens, soon), window.day


def caps_of(plan: Plan, day: int, group: str) -> Sequence[Cap]:
    """Give the caps that hold on a day for a message to a group of receivers, those of the whole first."""
    caps = []
    for name in dict.fromkeys(("", group)):
        limit = hourly_limit(plan, day, name)
        if limit is not None:
            caps.append(Cap(name, limit, plan.burst))
    return caps


def told(plan: Plan, at: float, now: float) -> str:
    """Give a time for people: of the plan's zone, with the date where that is not today's."""
    zone = ZoneInfo(plan.zone)
    then, today = datetime.fromtimestamp(at, zone), datetime.fromtimestamp(now, zone).date()
    date = "" if then.date() == today else f"{then:%Y-%m-%d} "
    return f"{date}{then:%H:%M} {plan.zone}"


def _why(plan: Plan, caps: Sequence[Cap], name: str, again_at: float, now: float) -> str:
    cap = next((one for one in caps if one.name == name), None)
    if cap is None:
        return f"warming up: its counters cannot be asked ({name} is away)"
    to = f" to {name}" if name else ""
    if int(again_at * 1000) % HOUR_MS == 0:
        return f"warming up: its {cap.limit} messages of this hour{to} are sent, more from {told(plan, again_at, now)}"
    return f"warming up: {cap.limit} messages an hour{to} leave evenly spread, the next in {max(again_at - now, 0):.0f} s"


def _part(cap: Cap, warming: Warming) -> Cap:
    """Give this node's part of a cap that nodes share without counting together."""
    whole, left = divmod(cap.limit, warming.nodes)
    return Cap(cap.name, whole + (warming.rank < left), cap.burst)

"""What this process has done since it last told the database, counted in memory. In: events. Out: counts by hour.

Counting costs a dictionary's look-up: no store, no lock, all in the event loop's thread. `activity.py` keeps what is taken.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

from hslpy.clock import Clock
from hslpy.egress.rules.receivers import Standing, group_of, standing
from hslpy.log import Log
from hslpy.mail.reply import Reply
from hslpy.records import record

Kind = Literal[
    "accepted", "rejected", "limited", "attempts", "messages", "delivered", "deferred", "bounced", "throttled", "blocked",
    "receivers", "without_ipv6", "wanted",
]  # fmt: skip
Key = tuple[int, str, str, str]
"""The hour (Unix seconds by 3600), the source address, what it is about, the kind."""

_CONTENT = ("DATA", "EOD")
"""What is said there is said of a recipient that was accepted."""

MOST_KEYS = 20_000
"""Beyond them nothing more is told apart by what it is about: names come from scripts, too."""

_OF_EVENTS: Mapping[str, Kind] = {
    "smtp.refused": "rejected",
    "smtp.relay_denied": "rejected",
    "delivery.delivered": "delivered",
    "delivery.deferred": "deferred",
    "delivery.bounced": "bounced",
}


@record
class Taken:
    """Counts, and when each address was last used (Unix seconds)."""

    counts: dict[Key, int]
    used_at: dict[str, float]


class Tally:
    """Counts of a process.

    Without an address: messages `accepted`, messages and recipients `rejected` (for good or for now), limits of `rate()`
    hit (`limited`, about the namespace), recipients `delivered`, `deferred`, `bounced`, and `receivers`: domains that mail
    was for, each once a day, with those `without_ipv6`. With a source address, about the
    group of receivers: `attempts`, `messages` of which a recipient was accepted, and attempts `delivered`, `deferred`,
    `bounced`, `throttled`, `blocked`; about nothing, messages `wanted` to leave from an address that is warming up.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._counts: dict[Key, int] = {}
        self._used_at: dict[str, float] = {}
        self._receivers: set[str] = set()  # of a day, as far as memory may go
        self._receivers_on = 0

    def count(self, kind: Kind, address: str = "", about: str = "", number: int = 1) -> None:
        counts = self._counts
        hour = int(self._clock.time() // 3600)
        key = (hour, address, about, kind)
        if key not in counts and len(counts) >= MOST_KEYS:
            key = (hour, address, "", kind)
        counts[key] = counts.get(key, 0) + number

    def listening(self, log: Log) -> Log:
        """Give a log that does what `log` does, and counts what its records tell."""

        def heard(event: str, fields: Mapping[str, object]) -> None:
            self.heard(event, fields)
            log(event, fields)

        return heard

    def heard(self, event: str, fields: Mapping[str, object]) -> None:
        """Count what a record of the log tells."""
        kind = _OF_EVENTS.get(event)
        if kind is not None:
            self.count(kind)
        elif event == "smtp.message":
            self.count("accepted" if fields["action"] == "accept" else "rejected")

    def limited(self, namespace: str) -> None:
        self.count("limited", about=namespace[:64])

    def wanted(self, address: str) -> None:
        self.count("wanted", address)

    def received(self, domain: str, has_ipv6: bool) -> None:
        """Count a domain that mail is for, by whether a host that takes it, or the next hop, has an IPv6 address."""
        today = int(self._clock.time() // 86_400)
        if today != self._receivers_on:
            self._receivers, self._receivers_on = set(), today
        domain = domain.lower()
        if domain in self._receivers or len(self._receivers) >= MOST_KEYS:
            return
        self._receivers.add(domain)
        self.count("receivers")
        if not has_ipv6:
            self.count("without_ipv6")

    def attempted(
        self, address: str, host: str, replies: Sequence[tuple[Reply, str] | None], broke_at: str = ""
    ) -> Standing:
        """Count an attempt that left from an address, by what was said for each recipient at which command, None where
        nothing was: the connection broke at `broke_at`. Give the worst of what it means for the address.
        """
        group = group_of(host)
        said = [one for one in replies if one is not None]
        codes = [reply.code for reply, _ in said]
        taken = any(code < 400 for code in codes)
        bounced = not taken and len(codes) == len(replies) and all(code >= 500 for code in codes)
        self.count("attempts", address, group)
        self.count("delivered" if taken else "bounced" if bounced else "deferred", address, group)
        if is_message(replies, broke_at):
            self.count("messages", address, group)
        self._used_at[address] = self._clock.time()
        found = {standing(reply.code, str(reply)) for reply, _ in said if reply.code >= 400}
        worst: Standing = "blocked" if "blocked" in found else "throttled" if "throttled" in found else ""
        if worst:
            self.count(worst, address, group)
        return worst

    def take(self) -> Taken:
        """Give what was counted, and begin anew."""
        taken = Taken(self._counts, self._used_at)
        self._counts, self._used_at = {}, {}
        return taken

    def give_back(self, taken: Taken) -> None:
        """Count again what could not be kept."""
        for key, number in taken.counts.items():
            self._counts[key] = self._counts.get(key, 0) + number
        self._used_at = {**taken.used_at, **self._used_at}


def is_message(replies: Sequence[tuple[Reply, str] | None], broke_at: str = "") -> bool:
    """Say whether a host accepted a recipient: then it had a message, whatever became of it. Source: D4."""
    return broke_at in _CONTENT or any(one is not None and (one[0].code < 400 or one[1] in _CONTENT) for one in replies)

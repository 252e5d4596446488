"""What became of each recipient, hook by hook, for the demo's table. In: hooks' verdicts as they are given. Out: rows.

`Watch` is an observer of `Hooks`. Must not know how mail is sent.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import field

from hslpy.hooks.facts import DataEvent, Event, PostDeliveryEvent, PreDeliveryEvent, RcptToEvent
from hslpy.mail.verdict import DataVerdict, QueueVerdict, SmtpVerdict, Verdict
from hslpy.records import dataclass


@dataclass(slots=True)
class Fate:
    """One recipient's way. Empty where it did not come so far. `failures` counts the attempts that failed."""

    sender: str = ""
    recipient: str = ""
    rcpt: str = ""
    data: str = ""
    source: str = ""
    then: str = ""
    failures: int = 0


@dataclass(slots=True)
class Watch:
    """The fates by transaction and recipient, and how often each hook ran."""

    fates: dict[tuple[str, str], Fate] = field(default_factory=dict)
    runs: Counter[str] = field(default_factory=Counter)

    def __call__(self, hook: str, event: Event, verdict: Verdict) -> None:
        """Note a verdict: see `hooks.runner.Observer`."""
        self.runs[hook] += 1
        if isinstance(event, RcptToEvent) and isinstance(verdict, SmtpVerdict):
            fate = self._fate(event.transaction.id, str(event.transaction.sender), str(event.recipient.address))
            fate.rcpt = verdict.action
        elif isinstance(event, DataEvent) and isinstance(verdict, DataVerdict):
            marks = {str(one.recipient): _marks(one.metadata) for one in verdict.deliveries}
            for one in event.transaction.recipients:
                recipient = str(one.address)
                fate = self._fate(event.transaction.id, str(event.transaction.sender), recipient)
                fate.data = verdict.action + marks.get(recipient, "")
        elif isinstance(event, PreDeliveryEvent) and isinstance(verdict, QueueVerdict):
            sources = verdict.attempt.sources
            self._queued(event).source = (sources[0].id or sources[0].address or "") if sources else verdict.action
        elif isinstance(event, PostDeliveryEvent):
            self._noted_attempt(event)

    def _noted_attempt(self, event: PostDeliveryEvent) -> None:
        fate = self._queued(event)
        code = event.attempt.code if event.attempt is not None else 0
        if event.action is None:
            fate.then = "delivered"
            return
        fate.failures += 1
        end = {"BOUNCE": "bounced", "DELETE": "deleted"}.get(event.action, "waits")
        fate.then = f"{code or 'no connection'}: {end}"

    def _queued(self, event: PreDeliveryEvent | PostDeliveryEvent) -> Fate:
        message = event.message
        return self._fate(message.transaction_id, str(message.sender), str(message.recipient))

    def _fate(self, transaction: str, sender: str, recipient: str) -> Fate:
        return self.fates.setdefault((transaction, recipient), Fate(sender, recipient))


def _marks(metadata: Mapping[str, str]) -> str:
    return f", {' '.join(f'{name}={value}' for name, value in metadata.items())}" if metadata else ""


_BOUNCES = "(bounces)"
COLUMNS = ("from", "mails", "RCPT TO", "end of DATA", "pre-delivery", "left from", "with HELO", "post-delivery")


def rows(fates: Iterable[Fate], seen: Mapping[tuple[str, str], tuple[str, str]]) -> list[tuple[str, ...]]:
    """Give the fates as rows of COLUMNS, like ones counted together, by domain in order of appearance, bounces last.

    `seen` has the IP and HELO from which receivers saw (sender, recipient) come.
    """
    counts: Counter[tuple[str, ...]] = Counter()
    order: dict[str, int] = {_BOUNCES: 1 << 30}
    for fate in fates:
        ip, helo = seen.get((fate.sender, fate.recipient), ("", ""))
        domain = fate.sender.rpartition("@")[2] or _BOUNCES
        order.setdefault(domain, len(order))
        counts[domain, fate.rcpt, fate.data, fate.source, ip, helo, fate.then] += 1
    ordered = sorted(counts.items(), key=lambda entry: order[entry[0][0]])
    return [(row[0], str(count), *row[1:]) for row, count in ordered]


def table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Give lines of a table; numbers stand right."""
    widths = [max(len(cell) for cell in column) for column in zip(columns, *rows, strict=True)]

    def line(cells: Sequence[str]) -> str:
        drawn = (f"{c:>{w}}" if c.isdigit() else f"{c:<{w}}" for c, w in zip(cells, widths, strict=True))
        return "  ".join(drawn).rstrip()

    return [line(columns), line(["-" * width for width in widths]), *(line(row) for row in rows)]

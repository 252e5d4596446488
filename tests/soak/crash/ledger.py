"""What the clients, the server's lives and the receiving server noted, and whether it adds up. In: notes. Out: faults.

The server must have: delivered or reported all that was accepted, once, but where a life ended before it had recorded
the final reply; delivered nothing damaged, nothing to others, nothing that nobody sent.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass, field
from pathlib import Path


class Reader:
    """Gives the whole lines that were added to a file since the last time."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._at = 0

    def lines(self) -> list[str]:
        if not self._path.exists():
            return []
        with open(self._path, "rb") as file:
            file.seek(self._at)
            data = file.read()
        end = data.rfind(b"\n") + 1
        self._at += end
        return data[:end].decode("utf-8", "replace").splitlines()


@dataclass
class Totals:
    """Over all rounds. `window_s` is the longest time between a final reply and the death that kept it from record."""

    rounds: Counter[str] = field(default_factory=Counter)
    deaths: int = 0
    sent: int = 0
    accepted: int = 0
    delivered: int = 0
    reported: int = 0
    twice: int = 0
    reported_twice: int = 0
    unseen_but_delivered: int = 0
    window_s: float = 0.0
    faults: list[str] = field(default_factory=list)


@dataclass
class Round:
    """One spool's story. `deaths` are the times (monotonic) at which its lives ended."""

    sent: dict[str, list[str]] = field(default_factory=dict)
    accepted: set[str] = field(default_factory=set)
    dots: defaultdict[str, list[tuple[float, float]]] = field(default_factory=lambda: defaultdict(list))
    answered: defaultdict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    reports: Counter[str] = field(default_factory=Counter)
    recorded: Counter[str] = field(default_factory=Counter)
    deaths: list[float] = field(default_factory=list)
    unsound: list[str] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)

    def clients(self, lines: list[str]) -> None:
        for line in lines:
            kind, identity, *recipients = line.split(" ")
            if kind == "S":
                self.sent[identity] = recipients
            else:
                self.accepted.add(identity)

    def receiver(self, lines: list[str]) -> None:
        for line in lines:
            kind, at, *words = line.split(" ")
            if kind == "D":
                opened, identity, local, sound = words
                self.dots[local].append((float(opened), float(at)))
                if sound != "1":
                    self.unsound.append(f"{identity} for {local}")
            elif kind == "A":
                self.answered[words[1]].append(float(at))
            else:
                self.reports[words[1]] += 1

    def server(self, lines: list[str]) -> None:
        for line in lines:
            event, _, rest = line.partition(" ")
            if event == "error":
                self.errors.append(rest)
            elif event.startswith("delivery."):
                self.recorded[rest.partition("@")[0]] += 1

    def check(self, totals: Totals) -> list[str]:
        """Give what is wrong, and add to the totals."""
        faults = [f"damaged: {each}" for each in self.unsound] + [f"logged: {each}" for each in self.errors]
        everyone = {local for recipients in self.sent.values() for local in recipients}
        for local in (set(self.dots) | set(self.reports)) - everyone:
            faults.append(f"never sent: {local}")
        for identity, recipients in self.sent.items():
            for local in recipients:
                faults += self._recipient(local, identity in self.accepted, totals)
        totals.deaths += len(self.deaths)
        totals.sent += len(everyone)
        return faults

    def _recipient(self, local: str, accepted: bool, totals: Totals) -> list[str]:
        faults = []
        delivered, reports = len(self.dots[local]), self.reports[local]
        totals.accepted += accepted
        totals.delivered += delivered > 0
        totals.reported += reports > 0
        totals.unseen_but_delivered += not accepted and bool(delivered or reports)
        if local.startswith("bounce"):
            if delivered:
                faults.append(f"delivered though refused: {local}")
            if accepted and not reports:
                faults.append(f"lost, no report: {local}")
        elif reports:
            faults.append(f"reported though not refused: {local}")
        elif accepted and not delivered:
            faults.append(f"lost: {local}")
        if self.recorded[local] > 1:
            faults.append(f"recorded {self.recorded[local]} times: {local}")
        if reports > 1:
            totals.reported_twice += 1
        if delivered > 1:
            totals.twice += 1
            faults += self._twice(local, totals)
        return faults

    def _twice(self, local: str, totals: Totals) -> list[str]:
        """Each life may deliver once: all but the last died before they recorded it, else it were recorded twice."""
        faults = []
        lives = [sum(death <= opened for death in self.deaths) for opened, _ in self.dots[local]]
        if len(set(lives)) < len(lives):
            faults.append(f"delivered twice within a life: {local}")
        for life, (_, dot) in zip(lives[:-1], self.dots[local], strict=False):
            answered = [at for at in self.answered[local] if at >= dot]
            if answered:
                totals.window_s = max(totals.window_s, self.deaths[life] - answered[0])
        return faults

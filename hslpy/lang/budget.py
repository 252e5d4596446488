"""What operations on values need of a run. In: nothing. Out: the protocol, and what comparing texts is charged."""

from __future__ import annotations

from typing import Protocol


class Budget(Protocol):
    """What conversions and operators need of a run: somewhere to book work and memory."""

    def charge(self, units: int) -> None: ...
    def reserve(self, size_bytes: int) -> None: ...
    def reserve_text(self, size_bytes: int) -> None: ...


def charge_text(run: Budget, left: str, right: str) -> None:
    """Charge for comparing two texts, which takes time where both are long."""
    size = min(len(left), len(right))
    if size >= 65_536:
        run.charge(size >> 12)

"""Changes of delivery settings that can be taken back, for a while. In: what was done. Out: a ticket, and that again.

They are kept here and not given away: who takes a change back must not be able to say what it was.
"""

from __future__ import annotations

import secrets
from collections import OrderedDict

from hslpy.egress.delivery_ips.settings import Outcome
from hslpy.egress.rules.names import NotFound

_MOST = 200


class Undo:
    """The latest changes by their tickets, for as long as the process lives."""

    def __init__(self) -> None:
        self._kept: OrderedDict[str, tuple[str, Outcome]] = OrderedDict()

    def keep(self, name: str, outcome: Outcome) -> str:
        """Give the ticket by which whoever has made the change may take it back; empty where nothing was changed."""
        if all(before == after for before, after in outcome.done):
            return ""
        ticket = secrets.token_urlsafe(12)
        self._kept[ticket] = (name, outcome)
        while len(self._kept) > _MOST:
            self._kept.popitem(last=False)
        return ticket

    def take(self, name: str, ticket: str) -> Outcome:
        """Give the change of a ticket, once. Raises NotFound."""
        owner, outcome = self._kept.get(ticket, ("", Outcome()))
        if owner != name:
            raise NotFound("this change cannot be taken back any more")
        del self._kept[ticket]
        return outcome

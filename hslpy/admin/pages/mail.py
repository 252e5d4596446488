"""What pages ask this node's mail server, over its control socket. In: a visit. Out: answers, or why there is none.

An admin is answered of their own domains alone. Must not know of HTML.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from hslpy.admin import control
from hslpy.admin.pages.visit import Visit
from hslpy.egress.accounts import directory
from hslpy.egress.rules.names import Refused
from hslpy.egress.store import queues
from hslpy.egress.store.queues import QueueOf
from hslpy.errors import OperatorError

ANSWER_S = 10.0


class Away(Refused):
    """The mail server of this node does not answer."""

    def __init__(self, message: str) -> None:
        super().__init__(message, 503)


def ask(visit: Visit, command: str, arguments: Mapping[str, Any], timeout_s: float = ANSWER_S) -> Any:
    """Give the answer of the mail server. Blocks. Raises Away, and Refused where it says no."""
    path = visit.site.control
    if path is None:
        raise Away("the page runs without a mail server")
    try:
        return visit.wait(control.ask(path, command, arguments, timeout_s))
    except OperatorError as error:
        if error.exit_code == 1:  # its own answer
            raise Refused(error.message) from None
        raise Away(f"the mail server of {visit.site.node} does not answer") from None


def own_domains(visit: Visit) -> Sequence[str] | None:
    """Give the domains that somebody may see mail of, None for all."""
    admins = visit.principal.admins
    if admins is None:
        return None
    return [one.name for one in directory.list_domains(visit.database, admins=admins)]


def scoped(visit: Visit, **egress: Sequence[str]) -> Mapping[str, Sequence[str]]:
    """Give what `egress` of a request to the queue has to be, so that only what somebody may see comes."""
    own = own_domains(visit)
    wanted = {kind: list(values) for kind, values in egress.items() if values}
    if own is not None:
        asked = wanted.get("domain", own)
        wanted["domain"] = [one for one in asked if one in own]
    return wanted


def elsewhere(visit: Visit) -> Sequence[QueueOf]:
    """Give the queues of the other nodes, as they told last; an admin is told of no numbers: they are of all domains."""
    with visit.database.read() as session:
        found = queues.read(session, but=visit.site.node)
    if visit.principal.admins is None:
        return found
    return [QueueOf(one.node, page_url=one.page_url) for one in found]


def gaps(answer: Mapping[str, Any]) -> Sequence[str]:
    """Give a line for each process of the mail server that could not be asked."""
    return [f"Without worker {one['worker']}: {one['why']}." for one in answer.get("missing", ())]

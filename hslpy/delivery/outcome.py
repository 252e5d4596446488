"""What follows from what was said. In: a reply, an error, a problem of ours. Out: an `Outcome`. Pure decisions.

Source: RFC 5321 section 4.2.1 (4yz and 5yz), 4.5.3.1.10 (552 at RCPT).
"""

from __future__ import annotations

from typing import Literal

from hslpy.client.contract import RecipientResult, TransactionResult
from hslpy.delivery.plan import Problem
from hslpy.hooks.facts import AttemptFacts
from hslpy.mail.reply import Enhanced, Reply
from hslpy.records import dataclass

Action = Literal["QUEUE", "BOUNCE", "DELETE"]
Success = Literal["", "relayed", "delivered"]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What comes of an attempt for one recipient unless a script says otherwise; `action` None is a delivery.

    `charged` False: no attempt was made, for a reason of ours; no post-delivery hook runs, and it waits `wait_s`.
    `hold`: an operator must put something right first. `text` is for the operator and the DSN, `status` the DSN's,
    `remote_host` who said it, "" where we did. `success` is what a report of success says, where it is ours to send.
    `left_from` is the address that the delivery IPs' settings gave, for `why`, which `avoid` says to use no more for it.
    """

    action: Action | None
    text: str
    facts: AttemptFacts | None = None
    status: Enhanced = (2, 0, 0)
    remote_host: str = ""
    charged: bool = True
    wait_s: float | None = None
    hold: bool = False
    reply: Reply | None = None
    success: Success = ""
    left_from: str = ""
    avoid: str = ""
    why: str = ""


def action_of(reply: Reply, state: str) -> Action | None:
    """Give what a reply means for its recipient.

    A refused login is ours to put right and no fault of the message; a bare 552 at RCPT means too many recipients.
    """
    if reply.code < 400:
        return None
    if reply.code < 500 or state.startswith("AUTH"):
        return "QUEUE"
    if reply.code == 552 and state == "RCPT" and reply.enhanced in (None, (5, 5, 3)):
        return "QUEUE"
    return "BOUNCE"


def outcome_of_reply(result: RecipientResult, facts: AttemptFacts, success: Success = "") -> Outcome:
    """`facts` are the attempt's, with `code`, `enhanced`, `reason` and `state` from the reply."""
    reply = result.reply
    action = action_of(reply, result.state)
    where = f"{facts.remote_mx} [{facts.remote_ip}]" if facts.remote_ip else facts.remote_mx
    text = str(reply) if action is None else f"{where}: {reply} ({result.state})"
    host = "" if result.ours else facts.remote_mx
    kind = {None: 2, "QUEUE": 4}.get(action, 5)
    status = (kind, *(reply.enhanced or (0, 0, 0))[1:])  # a peer's enhanced code may be of another class than its reply
    return Outcome(action, text, facts, status, host, reply=reply, success="" if action is not None else success)


def outcome_of_error(result: TransactionResult, facts: AttemptFacts) -> Outcome:
    """A network fault: `facts.error` says what."""
    where = f"{facts.remote_mx} [{facts.remote_ip}]"
    text = f"{where}: {facts.error} ({result.error_state})"
    if result.error_temporary:
        return Outcome("QUEUE", text, facts, (4, 4, 2))
    return Outcome("BOUNCE", text, facts, (5, 4, 0))


def outcome_of_problem(problem: Problem) -> Outcome:
    """There is no host to try."""
    facts = AttemptFacts(0.0, error=problem.text, error_temporary=problem.temporary, error_type=problem.kind)
    return Outcome("QUEUE" if problem.temporary else "BOUNCE", problem.text, facts, problem.enhanced)


def waiting(text: str, wait_s: float, *, hold: bool = False) -> Outcome:
    """No attempt could be made, for want of something of ours: it waits, and is not charged."""
    return Outcome("QUEUE", text, None, (4, 3, 5), charged=False, wait_s=wait_s, hold=hold)

"""From what the scripts of a hook left behind to its verdict. In: the state of a run. Out: verdicts, nothing else happens.

Over the recipients of one message the weightiest outcome gives the reply: reject, defer, quarantine, delete, deliver.
Nothing is queued when the reply is 4xx or 5xx, except the copies that a quarantine keeps while it answers 5xx.
Source: the HSL manual, the DATA context; design.md section 3.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from hslpy.builtins.host.state import DataState, Order, Outcome, QueueState
from hslpy.hooks.table import Hook
from hslpy.mail.verdict import DataVerdict, Delivery, QueueVerdict, TryOptions

_WEIGHT = {"reject": 4, "defer": 3, "quarantine": 2, "delete": 1, "deliver": 0}


def data_verdict(hook: Hook, state: DataState) -> DataVerdict:
    """Give the verdict over all recipients. Without any action the message is deferred."""
    if not state.outcomes:
        assert isinstance(hook.implicit, DataVerdict)
        return hook.implicit
    outcomes = state.outcomes
    number = 0 if len(outcomes) == 1 else max(range(len(outcomes)), key=lambda each: _weight(outcomes[each]))
    outcome, by = outcomes[number], state.places.get(number, "")
    disconnect = any(one.disconnect for one in outcomes)
    if outcome.kind == "reject" or outcome.keeps_held:
        kept = [_quarantined(order) for order in state.orders if order.survives_reject]
        return DataVerdict(
            "reject", outcome.reply, disconnect, False, _deliveries(state, kept), state.remote_ip, state.helo, by
        )
    if outcome.kind == "defer":
        return DataVerdict("defer", outcome.reply, disconnect, by=by)
    deliveries = _deliveries(state, state.orders)
    return DataVerdict("accept", outcome.reply, disconnect, False, deliveries, state.remote_ip, state.helo, by)


def _weight(outcome: Outcome) -> tuple[int, bool]:
    return _WEIGHT[outcome.kind], outcome.keeps_held


def _quarantined(order: Order) -> Order:
    """A copy held while the client is told 5xx is in quarantine, in one without a name if the script gave none."""
    return order if order.quarantine_id is not None else replace(order, quarantine_id="")


def _deliveries(state: DataState, orders: Sequence[Order]) -> tuple[Delivery, ...]:
    return tuple(
        [
            Delivery(
                order.sender if order.sender is not None else state.sender,
                order.recipient,
                order.transport_id,
                order.sender_params if order.sender_params is not None else state.sender_params,
                order.recipient_params,
                order.metadata,
                order.header,
                order.body,
                order.delay_s,
                order.hold,
                order.quarantine_id,
                order.job_id,
                order.priority,
                order.tenant_id,
            )
            for order in orders
        ]
    )


def queue_verdict(hook: Hook, state: QueueState, given: QueueVerdict | None, by: str = "") -> QueueVerdict:
    """Give the verdict in the queue: what the script gave, or the implicit one with what its setters asked for.

    Before an attempt the line that named the source counts as the one that decided.
    """
    assert isinstance(hook.implicit, QueueVerdict)
    verdict = given if given is not None else hook.implicit
    attempt = TryOptions(**state.attempt) if verdict.action == "try" and state.attempt else verdict.attempt
    metadata = dict(state.metadata) if state.metadata_changed else None
    if verdict.action == "try" and state.source_by:
        by = state.source_by
    settled = hook.settles and verdict.action in ("bounce", "delete")
    if metadata is None and attempt is verdict.attempt and state.dsn is None and not by and not settled:
        return verdict
    return QueueVerdict(
        verdict.action,
        attempt=attempt,
        queue=verdict.queue,
        metadata=metadata,
        settled=settled,
        dsn=state.dsn,
        by=by,
    )

"""The actions at the end of DATA, a recipient (`data`) or the whole message (`eod`). In: options. Out: orders and outcomes.

Nothing is queued here: `hooks/verdicts.py` weighs the outcomes over all recipients when the last script has ended.
Old positional forms are told from options by the type of the argument. Source: the HSL manual, the DATA context.
"""

from __future__ import annotations

from hslpy.builtins.host.contract import HookHost
from hslpy.builtins.host.mimepart import book_rendering, rendered_message
from hslpy.builtins.host.options import (
    ADDRESS,
    ARRAY,
    BOOLEAN,
    NUMBER,
    REASON,
    TEXT,
    read_address,
    read_metadata,
    read_options,
    read_reply,
    read_seconds,
    reply_lines,
)
from hslpy.builtins.host.outgoing import attempt_now
from hslpy.builtins.host.state import DataState, Order, Outcome
from hslpy.builtins.host.verdicts import END_OF_DATA_HOOKS, acceptance, refusal
from hslpy.errors import ScriptError
from hslpy.lang.declare import Effect, Topic
from hslpy.lang.run import Run, VerdictGiven
from hslpy.lang.values import Array, Value, type_name
from hslpy.mail.attempt import Sending
from hslpy.mail.policy_replies import DEFERRED, REJECTED
from hslpy.mail.reply import Reply
from hslpy.mail.verdict import TryOptions

TOPIC = Topic("end of data")

UNREACHABLE = Reply(451, (4, 4, 1), ("The destination cannot be reached now, try again later",))
UNDELIVERABLE = Reply(550, (5, 4, 1), ("The destination takes no mail",))
_DATA = ("data",)
_DELIVER = {
    "recipient": ADDRESS,
    "transportid": TEXT,
    "metadata": ARRAY,
    "delay": NUMBER,
    "done": BOOLEAN,
    "queue": BOOLEAN,
    "disconnect": BOOLEAN,
    "reason": REASON,
    "reply_codes": ARRAY,
    "jobid": TEXT,
}
_QUARANTINE = {
    "recipient": ADDRESS,
    "transportid": TEXT,
    "metadata": ARRAY,
    "done": BOOLEAN,
    "final_action": BOOLEAN,  # the name of `done` in 2015
    "reject": BOOLEAN,
    "reason": REASON,
    "reply_codes": ARRAY,
    "disconnect": BOOLEAN,
    "jobid": TEXT,
}


def _act(call: Run, outcome: Outcome, order: Order | None = None) -> None:
    """Note an action of this recipient; `$actionid` counts them."""
    state: DataState = call.host.state
    state.act(outcome, order)
    call.host.facts["actionid"] = float(state.actions + 1)


def _order(call: Run, function: str, given: dict[str, Value], **more: object) -> Order:
    """Give the copy for the current recipient as the options change it."""
    state: DataState = call.host.state
    changes: dict[str, object] = dict(more)
    if "metadata" in given:
        changes["metadata"] = state.metadata | read_metadata(given["metadata"])
    if "recipient" in given:
        changes["recipient"], params = read_address(function, given["recipient"])
        if params:
            changes["recipient_params"] = params
    if "transportid" in given:
        changes["transport_id"] = given["transportid"]
    if "jobid" in given:
        changes["job_id"] = given["jobid"]
    if "delay" in given:
        changes["delay_s"] = read_seconds(function, "delay", given["delay"])
    book_rendering(call, state)
    return state.order(**changes)


def _positional(function: str, arguments: tuple[Value, ...], names: tuple[str, ...]) -> dict[str, Value]:
    """Give positional texts by their names, none left out."""
    given: dict[str, Value] = {}
    for name, value in zip(names, arguments, strict=False):
        if value is None:
            continue
        if value.__class__ is not str:
            raise ScriptError("R302", f"{function}() wants {name} as a string, got {type_name(value)}")
        given[name] = value
    return given


@TOPIC.builtin(
    "Deliver([options: array | string | none], [transportid: string]) -> none",
    effect=Effect.IO,
    hooks=_DATA,
    examples=['Deliver(["transportid" => "mailtransport:2"]);', 'Deliver(["done" => false]);'],
)
def deliver(call: Run, options: Value = None, transportid: str | None = None) -> None:
    """Queue the message for this recipient and, unless `done` is false, end the script for it.

    | option | what it does | default |
    |---|---|---|
    | `recipient`, `transportid` | another recipient, another transport | this recipient's |
    | `metadata` | kept with it, name => text | what SetMetaData() says |
    | `delay` | seconds until the first attempt | 0 |
    | `done` | end the script for this recipient | true |
    | `queue` | false: try it at once; what its server answers is the answer to the client | true |
    | `reason`, `reply_codes` | the reply's text, and its codes as in ["code" => 250, "enhanced" => [2, 0, 0]] | |
    | `disconnect` | end the connection after the reply | false |
    | `jobid` | its job id | |

    Older scripts give the recipient and the transport's id in place of the options.
    """
    if options.__class__ is Array:
        given = read_options("Deliver", options, _DELIVER, ("quotas",))
    else:
        given = _positional("Deliver", (options, transportid), ("recipient", "transportid"))
    if given.get("queue") is False:
        _deliver_now(call, "Deliver", given)
        return
    reply = acceptance(call.host, "Deliver", given)
    _act(call, Outcome("deliver", reply, given.get("disconnect", False)), _order(call, "Deliver", given))
    if given.get("done", True):
        raise VerdictGiven(None)


def _deliver_now(call: Run, function: str, given: dict[str, Value]) -> None:
    """Try the message at once for this recipient; what comes of it is this recipient's outcome."""
    state: DataState = call.host.state
    order = _order(call, function, given)
    content = rendered_message(call, state)
    sending = Sending(
        sender=state.sender,
        recipients=(order.recipient,),
        content=content if content.endswith(b"\r\n") else content + b"\r\n",
        sender_params=state.sender_params,
        recipient_params=(order.recipient_params,),
        transport_id=order.transport_id,
        options=TryOptions(),
        ids=call.host.ids,
    )
    (facts,) = attempt_now(call, sending)
    disconnect = given.get("disconnect", False)
    if not facts.code:
        _act(call, Outcome("defer", UNREACHABLE) if facts.error_temporary else Outcome("reject", UNDELIVERABLE))
        raise VerdictGiven(None)
    code = 451 if facts.code == 421 else facts.code  # closing the connection is not what it says of ours
    reply = Reply(code, facts.enhanced, reply_lines(function, "\n".join(facts.reason), "Ok"))
    if code >= 400:
        _act(call, Outcome("defer" if code < 500 else "reject", reply, disconnect))
        raise VerdictGiven(None)
    _act(
        call,
        Outcome("deliver", acceptance(call.host, function, given) or Reply(250, facts.enhanced, facts.reason), disconnect),
    )
    if given.get("done", True):
        raise VerdictGiven(None)


@TOPIC.builtin(
    "DirectDeliver([recipient: string], [transportid: string]) -> terminates",
    effect=Effect.IO,
    hooks=_DATA,
    examples=["DirectDeliver();"],
    deprecated="2016",
)
def direct_deliver(call: Run, recipient: str | None = None, transportid: str | None = None) -> None:
    """Try the message at once, and answer the client what its server answers. Now `Deliver(["queue" => false])`."""
    given = _positional("DirectDeliver", (recipient, transportid), ("recipient", "transportid"))
    _deliver_now(call, "DirectDeliver", given)


@TOPIC.builtin(
    "CopyMail([recipient: string], [transportid: string]) -> none",
    effect=Effect.IO,
    hooks=_DATA,
    examples=['CopyMail("archive@example.org");'],
    deprecated="2016",
)
def copy_mail(call: Run, recipient: str | None = None, transportid: str | None = None) -> None:
    """Queue a copy and go on. Now `Deliver(["done" => false])`."""
    given = _positional("CopyMail", (recipient, transportid), ("recipient", "transportid"))
    _act(call, Outcome("deliver"), _order(call, "CopyMail", given))


@TOPIC.builtin(
    "Quarantine(quarantineid: string, [options: array | string | none], [transportid: string], [more: array]) -> none",
    effect=Effect.IO,
    hooks=_DATA,
    examples=['Quarantine("mailquarantine:1", ["reject" => false]);'],
)
def quarantine(
    call: Run, quarantineid: str, options: Value = None, transportid: str | None = None, more: Array | None = None
) -> None:
    """Keep a held copy of the message and, unless `reject` is false, answer 5xx.

    Option `reject` (true); the others are those of Deliver(), but for `delay` and `queue`.
    """
    if options.__class__ is Array:
        given = read_options("Quarantine", options, _QUARANTINE, ("quotas",))
    else:
        given = read_options("Quarantine", more, _QUARANTINE)
        given |= _positional("Quarantine", (options, transportid), ("recipient", "transportid"))
    rejects = given.get("reject", True)
    reply: Reply | None
    if rejects:
        reply = read_reply("Quarantine", given.get("reason"), given.get("reply_codes"), REJECTED["data"])
    else:
        reply = acceptance(call.host, "Quarantine", given)
    order = _order(call, "Quarantine", given, hold=True, quarantine_id=quarantineid, survives_reject=rejects)
    _act(call, Outcome("quarantine", reply, given.get("disconnect", False), keeps_held=rejects), order)
    if given.get("done", True) and given.get("final_action", True):
        raise VerdictGiven(None)


@TOPIC.builtin(
    "Reject([reason: string | array], [options: array]) -> terminates",
    effect=Effect.IO,
    hooks=END_OF_DATA_HOOKS,
    examples=['Reject("This is spam");'],
)
def reject(call: Run, reason: Value = None, options: Array | None = None) -> None:
    """Refuse the message (550) and end the script. At `data`, one recipient's rejection is the message's.

    Options: `reply_codes`, as in ["code" => 554, "enhanced" => [5, 7, 1]], and `disconnect` (false) to end the connection.
    """
    reply, disconnect = refusal(call.host, "Reject", REJECTED, reason, options)
    _act(call, Outcome("reject", reply, disconnect))
    raise VerdictGiven(None)


@TOPIC.builtin(
    "Defer([reason: string | array], [options: array]) -> terminates",
    effect=Effect.IO,
    hooks=END_OF_DATA_HOOKS,
    examples=['Defer("Try again in an hour");'],
)
def defer(call: Run, reason: Value = None, options: Array | None = None) -> None:
    """Refuse the message for now (421) and end the script."""
    reply, disconnect = refusal(call.host, "Defer", DEFERRED, reason, options)
    _act(call, Outcome("defer", reply, disconnect))
    raise VerdictGiven(None)


@TOPIC.builtin("Delete() -> terminates", effect=Effect.IO, hooks=_DATA, examples=["Delete();"])
def delete(call: Run) -> None:
    """Take the message from the client (250) and drop it for this recipient."""
    _act(call, Outcome("delete"))
    raise VerdictGiven(None)


@TOPIC.builtin("Done() -> terminates", effect=Effect.IO, hooks=_DATA, examples=["Done();"])
def done(call: Run) -> None:
    """End the script for this recipient without an action. A message without any action at all is deferred."""
    raise VerdictGiven(None)


@TOPIC.builtin("Abort() -> terminates", effect=Effect.IO, hooks=_DATA, examples=["Abort();"], deprecated="2015")
def abort(call: Run) -> None:
    """The early name of `Done`."""
    raise VerdictGiven(None)


@TOPIC.builtin(
    "Accept([reason: string | array], [options: array]) -> terminates",
    effect=Effect.IO,
    hooks=("eod",),
    examples=['Accept(["reason" => "Thank you"]);', 'Accept("Thank you", ["reply_codes" => ["code" => 250]]);'],
)
def accept(call: Run, reason: Value = None, options: Array | None = None) -> None:
    """Take the message from the client (250); what `$arguments["mail"]->queue()` ordered is queued, nothing else.

    The options are the first argument (with `reason` among them), or the second after a reason: text or list of lines.
    Source: the HSL manual's end-of-DATA page of 2020 (options), and of 2019 (a reason, then options).
    """
    host: HookHost = call.host
    if options is None and isinstance(reason, Array) and 0 not in reason.items:
        reason, options = None, reason
    given = read_options("Accept", options, {"reason": REASON, "reply_codes": ARRAY})
    if reason is not None:
        given["reason"] = reason
    _act(call, Outcome("deliver", acceptance(host, "Accept", given)))
    raise VerdictGiven(None)

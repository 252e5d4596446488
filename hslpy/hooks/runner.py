"""Runs the scripts of a hook on an event. In: a script set, a hook's name, an event. Out: a verdict, whatever happens.

A script's fault never rises: it becomes the hook's failure verdict and one log record with the whole story. Peers hear
only the failure's bland reply. Must not know SMTP, the spool or how sources are chosen.
"""

from __future__ import annotations

import asyncio
import random
import re
import traceback
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from typing import Any

from hslpy.builtins.host.contract import HookHost, Services
from hslpy.builtins.host.log import log_text
from hslpy.builtins.host.state import DataState, Outcome, QueueState
from hslpy.clock import Clock
from hslpy.errors import ScriptError
from hslpy.hooks.bind import Facts
from hslpy.hooks.facts import AuthEvent, DataEvent, Event, PostDeliveryEvent, PreDeliveryEvent, ProxyEvent
from hslpy.hooks.files import Snapshot
from hslpy.hooks.scripts import HookSettings, Loader, ScriptSet
from hslpy.hooks.suspend import Pool, wait
from hslpy.hooks.table import BY_NAME, Hook
from hslpy.hooks.verdicts import data_verdict, queue_verdict
from hslpy.lang.diagnostics import render
from hslpy.lang.faults import call_lines, place_of
from hslpy.lang.growth import ELEMENT_BYTES
from hslpy.lang.program import Program
from hslpy.lang.run import BoundBuiltin, LimitExceeded, Run, VerdictGiven, execute
from hslpy.lang.shown import HIDDEN, without_secrets
from hslpy.lang.source import Span
from hslpy.lang.values import Array, HslFunction, HslObject, Value
from hslpy.log import Log
from hslpy.mail.message import Message
from hslpy.mail.verdict import DataVerdict, Delivery, Verdict

CONTEXT_BYTES = 1 << 20  # of what one session keeps from hook to hook; looking through it takes a millisecond
ECHO_LINES = 10_000  # of one hook run; a loop that echoes must not fill a disk
CONCEALING = frozenset({"auth", "proxy"})  # where every value may be a password, or made of one
_QUOTED = re.compile(r'".*"', re.DOTALL)

Observer = Callable[[str, Event, Verdict], None]
"""Told of the hook, the event and the verdict after each run: nothing it does changes the verdict."""


class Hooks:
    """The hooks of one process. `current` is the script set for whatever begins now; `observers` see each verdict."""

    def __init__(self, settings: HookSettings, services: Services, clock: Clock, random: random.Random, log: Log) -> None:
        self.settings = settings
        self.services = services
        self.clock = clock
        self.random = random
        self.log = log
        self.current = ScriptSet()
        self.failures = 0
        self.observers: list[Observer] = []
        self._loader = Loader(settings, log)
        self._pool = Pool()
        self._run_kind: type[Run] = Run

    # ---- scripts --------------------------------------------------------------------------------

    def load(self, snapshot: Snapshot | None = None) -> ScriptSet:
        """Compile all scripts, of the disk or of a snapshot of it, and make them the current set.

        Raises OperatorError; the old set then stays.
        """
        self._loader.settings = self.settings
        self.current = self._loader.load(snapshot)
        return self.current

    async def reload(self, snapshot: Snapshot | None = None) -> ScriptSet:
        """As `load`, in a worker thread, so that sessions go on meanwhile."""
        self._loader.settings = self.settings
        self.current = await asyncio.to_thread(self._loader.load, snapshot)
        return self.current

    def changed(self) -> bool:
        """Say whether scripts have changed since the last load, one that failed included."""
        self._loader.settings = self.settings
        return self._loader.changed()

    # ---- runs -----------------------------------------------------------------------------------

    async def run(self, scripts: ScriptSet, hook: str, event: Event) -> Any:
        """Give the verdict of the hook's scripts on the event: SmtpVerdict, DataVerdict or QueueVerdict.

        Raises nothing for a script's fault; CancelledError when the task is cancelled.
        """
        row = BY_NAME[hook]
        programs = scripts.programs.get(hook)
        if not programs:
            verdict = implicit_verdict(row, event)
        else:
            execution = _Execution(self, row, programs, event)
            try:
                verdict = await self._pool.run(execution.run, self.settings.limits.wall_s)
            except (Exception, LimitExceeded) as error:
                verdict = self._failed(execution, error)
        for observer in self.observers:
            observer(hook, event, verdict)
        return verdict

    def run_kind(self) -> type[Run]:
        """Give the class of runs under the limits of the day."""
        if self._run_kind.limits is not self.settings.limits:
            self._run_kind = Run.kind(
                clock=self.clock,
                random=self.random,
                limits=self.settings.limits,
                waiter=wait,
                shared=self.services.memory,
            )
        return self._run_kind

    def _failed(self, execution: _Execution, error: Exception | LimitExceeded) -> Verdict:
        """Give the failure's verdict, and log what happened in full: a fault of the script, or of ours."""
        row, host, event = execution.row, execution.host, execution.event
        outcome = f"outcome: hook {row.name} {row.outcome}"
        if isinstance(error, ScriptError | LimitExceeded):
            if row.name in CONCEALING:
                error.message = _concealed(error)
            story = rendered_fault(error, f", hook {row.name}", outcome)
        else:
            story = f"{''.join(traceback.format_exception(error))} = {outcome}"
        self.failures += 1
        code = getattr(error, "code", "internal")
        text = without_secrets(story, _secrets(event))
        self.log("hooks.script_error", {"level": "error", **host.ids, "hook": row.name, "code": code, "text": text})
        return row.failure


def implicit_verdict(row: Hook, event: Event) -> Verdict:
    """Give what a hook without scripts decides. At the end of DATA that is delivery to all recipients."""
    if not isinstance(event, DataEvent):
        return row.implicit
    transaction = event.transaction
    deliveries = tuple(
        Delivery(transaction.sender, one.address, one.transport_id, transaction.sender_params, one.params)
        for one in transaction.recipients
    )
    return DataVerdict("accept", deliveries=deliveries)


def data_state(event: DataEvent) -> DataState:
    """Give the state of a message at the end of DATA, with the scanners' results of an earlier run on it."""
    transaction = event.transaction
    if event.context.scans[0] != transaction.id:
        event.context.scans = (transaction.id, {})
    return DataState(
        message=Message(event.content),
        sender=transaction.sender,
        sender_params=transaction.sender_params,
        transaction_id=transaction.id,
        scans=event.context.scans[1],
    )


class _Execution:
    """One run of a hook: its host, and the plain function that a greenlet runs.

    `hook` is the hook's row, `row` that row as it is for the script at hand.
    """

    __slots__ = ("by", "echoes", "event", "hook", "hooks", "host", "programs", "row")

    def __init__(self, hooks: Hooks, row: Hook, programs: tuple[Program, ...], event: Event) -> None:
        self.hooks = hooks
        self.hook = self.row = row
        self.programs = programs
        self.event = event
        self.host = HookHost(hook=row.name, services=hooks.services, event=event, facts={}, ids=_ids(event))
        self.echoes = 0
        self.by = ""  # the line of the script that gave the verdict

    def run(self) -> Verdict:
        """Run the scripts and give the verdict. Raises what a script raises."""
        event, host = self.event, self.host
        try:
            if isinstance(event, DataEvent):
                host.state = data_state(event)
                if self.row.name == "data":
                    self._each_recipient(event, host.state)
                elif self._programs() is not None:
                    self._note(host.state, 0)
                return data_verdict(self.row, host.state)
            if isinstance(event, PreDeliveryEvent | PostDeliveryEvent):
                host.state = QueueState(dict(event.message.metadata))
                if self.row.name == "predelivery":
                    event.context.defined = True
                given = self._programs()
                return queue_verdict(self.row, host.state, given.verdict if given is not None else None, self.by)
            given = self._programs()
            if given is None:
                return self.row.without_verdict(host.facts)
            verdict: Verdict = given.verdict
            return verdict if verdict.action == "accept" else replace(verdict, by=self.by)
        finally:
            # They know each other: left so, the message would stay in memory until the collector of circles comes by.
            host.facts = {}

    def _each_recipient(self, event: DataEvent, state: DataState) -> None:
        """Run the scripts once a recipient; one whose scripts say nothing is delivered."""
        for one in event.transaction.recipients:
            state.recipient = one.address
            state.recipient_params = one.params
            state.transport_id = one.transport_id
            state.delay_s = 0.0
            before = len(state.outcomes)
            if self._programs() is None:
                state.act(Outcome("deliver"), state.order())
            else:
                self._note(state, before)

    def _note(self, state: DataState, before: int) -> None:
        """Note the line that ended a run with the outcomes of that run."""
        for number in range(before, len(state.outcomes)):
            state.places[number] = self.by

    def _programs(self) -> VerdictGiven | None:
        """Run the files in order, with variables of their own, until one gives a verdict."""
        self.host.facts = Facts(self.hook.builders, self.host)
        try:
            return self._first_verdict()
        finally:
            self._keep_context()

    def _first_verdict(self) -> VerdictGiven | None:
        hooks, host = self.hooks, self.host
        for program in self.programs:
            self.row = self.hook.in_profile(program.sources[0].profile)
            run = hooks.run_kind()()
            run.facts = host.facts
            run.host = host
            run.echo = self._echo  # type: ignore[method-assign]
            run.message_id = str(host.ids.get("transaction", ""))
            if self.hook.name in CONCEALING:
                run.conceals = True
            try:
                execute(program, run)
            except VerdictGiven as given:
                if getattr(given.verdict, "action", "") != "accept":  # which the log does not show
                    self.by = place_of(program, given.__traceback__)
                return given
            finally:
                run.let_go()
        return None

    def _echo(self, text: str) -> None:
        self.echoes += 1
        if self.echoes > ECHO_LINES:
            return
        if self.echoes == ECHO_LINES:
            text = f"{ECHO_LINES:,} lines were echoed, what follows is not logged"
        self.hooks.log("hooks.echo", {**self.host.ids, "hook": self.row.name, "text": log_text(text)})

    def _keep_context(self) -> None:
        """Keep what the script left in `$context` for the next hook."""
        facts = self.host.facts
        if "context" not in facts:
            return
        context = self.event.context
        value = facts["context"]
        text = _cannot_outlive(value)
        if text:
            self.host.warn("hooks.script_warning", hook=self.row.name, text=text)
            value = None
        context.value = value
        context.defined = True


def _cannot_outlive(value: Value) -> str:
    """Say why a value cannot be kept after its run, "" where it can: every session under way keeps one."""
    todo = [value]
    size = 0
    while todo:
        one = todo.pop()
        if one.__class__ is Array:
            size += ELEMENT_BYTES * (1 + len(one))
            if size <= CONTEXT_BYTES:
                todo.extend(one.values())
        elif one.__class__ is str:
            size += len(one)
        elif one.__class__ in (HslFunction, HslObject, BoundBuiltin):
            return "functions and objects in $context end with their run"
        if size > CONTEXT_BYTES:
            return f"$context is dropped: it takes more than {CONTEXT_BYTES >> 20} MiB"
    return ""


def rendered_fault(error: ScriptError | LimitExceeded, outermost: str = "", *notes: str) -> str:
    """Give the whole story of a script's fault: message, line, carets, the script's stack, and the notes.

    `outermost` is what is said behind the place of the outermost call.
    """
    story = ScriptError(error.code, error.message, span=error.span, hint=error.hint, notes=(*error.notes, *notes))
    story.stack = call_lines(error.stack, outermost)
    return render(story)


def _secrets(event: Event) -> Iterator[str]:
    """Give what no log may hold: the password that a client sent, and its answer, as bytes and as the text that they are."""
    if isinstance(event, AuthEvent):
        for secret in (event.password, event.response):
            if secret:
                yield secret
                with suppress(UnicodeError):
                    yield secret.encode("latin-1").decode("utf-8")
    elif isinstance(event, ProxyEvent):
        verb, _, argument = event.command.partition(" ")
        if verb.upper() == "AUTH":
            yield argument.partition(" ")[2]


def _concealed(error: ScriptError | LimitExceeded) -> str:
    """Give an error's message without the values in it: what is quoted and does not stand so in the script."""
    text = error.span.source.text if isinstance(error.span, Span) else ""
    return _QUOTED.sub(lambda found: found[0] if found[0] in text else f'"{HIDDEN}"', error.message)


def _ids(event: Event) -> dict[str, object]:
    """Give the ids under which an event's log records are found."""
    if isinstance(event, PreDeliveryEvent | PostDeliveryEvent):
        return {"transaction": event.message.transaction_id, "queue_id": event.message.queue_id}
    ids: dict[str, object] = {"session": event.connection.id}
    transaction = getattr(event, "transaction", None)
    if transaction is not None:
        ids["transaction"] = transaction.id
    return ids

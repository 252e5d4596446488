"""A REPL's session: inputs run one after another, with the variables, functions and imports of those before.

In: texts. Out: lines to print. Variables live in the run's facts, as a hook's own do; each input is a program of its
own. Imported files run anew with each input. Must not know terminals.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import replace

from hslpy.builtins import ALL, for_hook
from hslpy.builtins.absent import ABSENT
from hslpy.builtins.host.contract import HookHost
from hslpy.builtins.host.state import Outcome, QueueState
from hslpy.errors import ScriptError
from hslpy.hooks.bind import Facts
from hslpy.hooks.data import DATA
from hslpy.hooks.facts import DataEvent, Event, PostDeliveryEvent, PreDeliveryEvent
from hslpy.hooks.runner import data_state
from hslpy.hooks.suspend import wait
from hslpy.hooks.table import BY_NAME
from hslpy.hooks.verdicts import data_verdict, queue_verdict
from hslpy.lang import syntax
from hslpy.lang.declare import Builtin, Effect, Topic
from hslpy.lang.diagnostics import Diagnostic, render
from hslpy.lang.faults import Frame, as_script_error, place
from hslpy.lang.load import Predefined, load_program
from hslpy.lang.parse import parse
from hslpy.lang.program import Program
from hslpy.lang.run import LimitExceeded, Run, VerdictGiven, execute
from hslpy.lang.source import Source, Span
from hslpy.lang.values import HslFunction, Value
from hslpy.mail.verdict import Verdict
from hslpy.records import dataclass
from hslpy.tooling.bench import ENDLESS_S, Bench, Echo, rendered
from hslpy.tooling.declarations import Declarations, declared
from hslpy.tooling.notation import notation
from hslpy.tooling.verdicts import verdict_lines

TOPIC = Topic("repl")
_MAIN = "<session>"
_SHOW = "__show("
_VARIABLE = re.compile(r"\$\{?([A-Za-z_][A-Za-z0-9_]*)", re.ASCII)
_UNASSIGNED = re.compile(r"nothing assigns `\$(\w+)`")
_OPEN_ENDS = ("E105", "E106", "E107")  # string, raw string, comment
_CLOSERS = ("E102", "E103")  # missing bracket, missing value or statement


@TOPIC.builtin("__show(value: any) -> none", effect=Effect.READS)
def show(call: Run, value: Value) -> None:
    """Print the result of an expression; the REPL puts it around one."""
    if value is not None:
        call.echo(notation(value).encode("utf-8").decode("latin-1"))


_SHOW_ROW = TOPIC.rows[0]


@dataclass(frozen=True, slots=True)
class _Input:
    """One input: `source` as it was typed, `program` as it is run, with the last expression shown.

    The first `shift_at` bytes are the same in both.
    """

    source: Source
    program: Source
    shift_at: int

    def original(self, span: object) -> object:
        """Give a place as it was typed."""
        if not isinstance(span, Span) or span.source is not self.program:
            return span
        return Span(self.source, self._moved(span.start), self._moved(span.end))

    def _moved(self, offset: int) -> int:
        if offset > self.shift_at:
            offset = max(self.shift_at, offset - len(_SHOW))
        return min(offset, len(self.source.text))


def is_open(text: str) -> bool:
    """Say whether the text wants another line: a bracket, string or comment is open, or a value is missing at its end."""
    if not text.strip():
        return False
    _, findings = parse(Source("<input>", text))
    end = len(text.rstrip())
    return any(f.code in _OPEN_ENDS or (f.code in _CLOSERS and f.span.start >= end) for f in findings)


class Session:
    """The state of one REPL, at a hook with its event or outside of hooks."""

    def __init__(self, bench: Bench, hook: str | None, event: Event | None) -> None:
        self.bench = bench
        self.hook = hook
        self.event = event
        self.names: set[str] = set()
        self.declarations = Declarations()
        self._row = BY_NAME[hook].in_profile(bench.profiles.default) if hook is not None else None
        self._predefined = dict(self._row.predefined) if self._row is not None else {}
        self._builtins: dict[str, Builtin] = {**for_hook(hook), _SHOW_ROW.name: _SHOW_ROW}
        self._host = self._new_host()
        self._programs: list[Program] = []
        self._count = 0

    # ---- inputs ---------------------------------------------------------------------------------

    async def submit(self, text: str, echo: Echo) -> list[str]:
        """Run one input (latin-1) and give what is to be printed after its echoes."""
        self._count += 1
        profile = self.bench.profiles.default
        source = Source(f"<input {self._count}>", text, profile)
        script, findings = parse(source)
        if script is None and [f.code for f in findings] == ["E101"] and findings[0].span.start >= len(text.rstrip()):
            source = Source(source.path, text.rstrip() + ";", profile)
            script, findings = parse(source)
        if script is None:
            return [render(finding) for finding in findings]
        typed = _shown(source, script)
        program, new, findings = self._load(typed, script)
        out = [render(_restored(finding, typed)) for finding in findings]
        if program is None:
            return out
        self.declarations = Declarations({**self.declarations.without(new).spans, **new})
        self._programs.append(program)
        return out + await self._run(program, typed, echo)

    def _load(self, typed: _Input, script: syntax.Script) -> tuple[Program | None, dict[str, Span], list[Diagnostic]]:
        """Compile an input with the declarations before it; the variables it assigns become the session's."""
        files = self.bench.reader()
        new = declared(script, files)
        earlier = self.declarations.without(new).sources()
        by_path = {source.path: source for source in (*earlier, typed.program)}
        order = [*by_path]

        def read(name: str, importer: str | None) -> Source:
            if importer is None:
                return Source(_MAIN, "".join(f'include "{path}";\n' for path in order), typed.source.profile)
            return by_path[name] if importer == _MAIN else files(name, importer)

        mentioned = set(_VARIABLE.findall(typed.source.text)) - self._predefined.keys()
        first = self._load_with(read, self.names - mentioned)
        unassigned = {m[1] for f in first if (m := _UNASSIGNED.search(f.message))} - self.names
        known = self.names | (mentioned - unassigned)
        loaded = load_program(
            _MAIN, read, self._builtins, self._facts(known), hook=self.hook, elsewhere=ALL, absent=ABSENT, data=DATA
        )
        if loaded.program is not None:
            self.names = known
        current = typed.program.path
        findings = [f for f in loaded.diagnostics if f.is_error or f.span.source.path == current]
        return loaded.program, new, findings

    def _load_with(self, read: object, names: Iterable[str]) -> list[Diagnostic]:
        """Give the findings when only `names` are the session's."""
        return load_program(_MAIN, read, self._builtins, self._facts(names), data=DATA).diagnostics  # type: ignore[arg-type]

    def _facts(self, names: Iterable[str]) -> dict[str, Predefined]:
        return {**self._predefined, **{name: Predefined(("any",), True) for name in names}}

    async def _run(self, program: Program, typed: _Input, echo: Echo) -> list[str]:
        run = Run(
            clock=self.bench.clock,
            random=self.bench.chance,
            # functions outlive the run that made them, and its time
            limits=replace(self.bench.limits, wall_s=ENDLESS_S, cpu_s=ENDLESS_S),
            host=self._host,
            facts=self._host.facts,
            echo=echo,
            waiter=wait,
            shared=self.bench.services.memory,
        )
        try:
            await self.bench.in_greenlet(lambda: execute(program, run))
        except VerdictGiven as given:
            return self._decided(given.verdict)
        except (ScriptError, LimitExceeded) as error:
            return [_story(error, typed)]
        except Exception as error:
            return [_story(self._placed(error), typed)]
        return []

    def _placed(self, error: Exception) -> ScriptError | LimitExceeded:
        """Give the script error that rose in a function of an earlier input. Raises what is a fault of ours."""
        for program in self._programs:
            found = as_script_error(program, error)
            if isinstance(found, (ScriptError, LimitExceeded)):
                place(program, found, error.__traceback__)
                return found
        raise error

    # ---- the hook -------------------------------------------------------------------------------

    def end(self) -> list[str]:
        """End the script here and give its verdict; the hook then begins anew, with the session's variables."""
        return self._decided(None) if self.hook is not None else ["there is no hook: start with --hook NAME"]

    def _decided(self, given: Verdict | None) -> list[str]:
        assert self._row is not None
        row, state = self._row, self._host.state
        verdict: Verdict
        if isinstance(self.event, DataEvent):
            if given is None and not state.outcomes and self.hook == "data":
                state.act(Outcome("deliver"), state.order())
            verdict = data_verdict(row, state)
        elif isinstance(self.event, PreDeliveryEvent | PostDeliveryEvent):
            verdict = queue_verdict(row, state, given)  # type: ignore[arg-type]
        else:
            verdict = given if given is not None else row.without_verdict(self._host.facts)
        self._host = self._new_host()
        return [*verdict_lines(verdict), "(the hook begins anew; your variables stay)"]

    def _new_host(self) -> HookHost:
        """Give a hook at its beginning, with the session's variables in its facts."""
        before = getattr(self, "_host", None)
        mine = {name: before.facts[name] for name in self.names if name in before.facts} if before is not None else {}
        host = HookHost(hook=self.hook or "", services=self.bench.services, event=self.event, facts={})
        host.facts = Facts(BY_NAME[self.hook].builders, host) if self.hook is not None else {}
        host.facts.update(mine)
        if isinstance(self.event, DataEvent):
            host.state = data_state(self.event)
            one = self.event.transaction.recipients[0]
            host.state.recipient, host.state.recipient_params = one.address, one.params
            host.state.transport_id = one.transport_id
        elif isinstance(self.event, PreDeliveryEvent | PostDeliveryEvent):
            host.state = QueueState(dict(self.event.message.metadata))
        return host

    # ---- what there is --------------------------------------------------------------------------

    def variables(self) -> Iterator[tuple[str, str]]:
        """Give each variable with its value in HSL's notation: the hook's, then those of the session."""
        for name in self._predefined:
            yield name, notation(self._host.facts[name], 100)
        for name in sorted(self.names):
            if name in self._host.facts:
                yield name, notation(self._host.facts[name], 100)

    def variable_names(self) -> list[str]:
        return sorted({*self._predefined, *(name for name in self.names if name in self._host.facts)})

    def function_names(self) -> list[str]:
        """Give the functions and classes that can be called."""
        own = [name for name, value in self._host.facts.items() if value.__class__ is HslFunction]
        known = [name for name, row in self._builtins.items() if row.owner is None and not name.startswith("__")]
        return sorted({*known, *self.declarations.functions()} - set(own))

    def describe(self, name: str) -> list[str]:
        """Give the signature and the meaning of a builtin, nothing when there is none of the name."""
        row = self._builtins.get(name)
        return [row.signature.text, *(f"  {line}" for line in row.doc.splitlines())] if row is not None else []


def _shown(source: Source, script: syntax.Script) -> _Input:
    """Put the call that shows a result around the last expression, where it is one that has a result of interest."""
    last = script.body[-1] if script.body else None
    if not isinstance(last, syntax.ExprStmt) or isinstance(last.value, syntax.Assign | syntax.Increment):
        return _Input(source, source, len(source.text))
    span = last.value.span
    text = source.text
    text = f"{text[: span.start]}{_SHOW}{text[span.start : span.end]}){text[span.end :]}"
    return _Input(source, Source(source.path, text, source.profile), span.start)


def _restored(finding: Diagnostic, typed: _Input) -> Diagnostic:
    span = typed.original(finding.span)
    assert isinstance(span, Span)
    return replace(finding, span=span)


def _story(error: ScriptError | LimitExceeded, typed: _Input) -> str:
    error.span = typed.original(error.span)
    error.stack = tuple(
        frame._replace(span=typed.original(frame.span)) if isinstance(frame, Frame) else frame  # type: ignore[arg-type]
        for frame in error.stack
    )
    return rendered(error)

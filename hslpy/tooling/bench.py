"""A workbench for scripts outside a server: services in memory, real hooks, one run at a time.

In: scripts, facts and messages. Out: what a hook's run came to, with what it echoed and its rendered error.
Must not know commands or settings files.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import field, replace
from pathlib import Path

from hslpy.builtins import ALL, for_hook
from hslpy.builtins.absent import ABSENT
from hslpy.builtins.host.contract import HookHost, Outbox, QueueMetric, Services
from hslpy.client.http_contract import HttpClient
from hslpy.client.http_scripted import ScriptedHttp
from hslpy.client.lookup_contract import Lookups, ScriptedLookups
from hslpy.clock import Clock, SystemClock
from hslpy.dns.contract import Resolver
from hslpy.dns.scripted import ScriptedResolver
from hslpy.errors import ScriptError
from hslpy.hooks.data import DATA
from hslpy.hooks.facts import Event
from hslpy.hooks.files import FileReader
from hslpy.hooks.runner import Hooks, rendered_fault
from hslpy.hooks.scripts import HookSettings, ScriptSet, check_hooks, load_hook
from hslpy.hooks.suspend import Pool, wait
from hslpy.lang.declare import Builtin
from hslpy.lang.diagnostics import Diagnostic
from hslpy.lang.load import Loaded, load_program
from hslpy.lang.profiles import ALL_NEWEST, ProfileChoice
from hslpy.lang.program import Program
from hslpy.lang.run import LimitExceeded, Limits, Run, execute
from hslpy.log import no_log
from hslpy.mail.verdict import Verdict
from hslpy.rate.contract import RateSettings
from hslpy.rate.memory import MemoryRateCounters
from hslpy.records import dataclass
from hslpy.scan.contract import Clamd, Rspamd, SpamAssassin
from hslpy.store.memory import SharedMemory
from hslpy.tooling.outbox import KeptOutbox

Echo = Callable[[str], None]
ENDLESS_S = 1e15  # a limit for runs whose time is bounded elsewhere


@dataclass(frozen=True, slots=True)
class Trial:
    """What one run of a hook came to. `error` is the rendered error of a script that failed, `echoes` a text an echo."""

    verdict: Verdict
    echoes: tuple[str, ...] = ()
    error: str | None = None


@dataclass(slots=True)
class _Record:
    """What a run has told so far."""

    echoes: list[str] = field(default_factory=list)
    error: str | None = None


class AnySource(dict[str, str]):
    """The sources of a bench without settings: every name is one, whose address the system chooses.

    A bare number is none, so that `1` is `netaddr:1`.
    """

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and not name.isdigit()

    def __missing__(self, name: str) -> str:
        return ""


def empty_queue(metric: str, filters: Mapping[str, Sequence[str]]) -> float:
    """A queue with nothing in it, to GetMailQueueMetric."""
    return 0.0


def services_in_memory(
    clock: Clock,
    *,
    resolver: Resolver | None = None,
    spamassassin: SpamAssassin | None = None,
    rspamd: Rspamd | None = None,
    clamd: Clamd | None = None,
    queue_metric: QueueMetric = empty_queue,
    http: HttpClient | None = None,
    outbox: Outbox | None = None,
    lookups: Lookups | None = None,
) -> Services:
    """Give services that need nothing running: fresh counters and memory; nothing outside but what is given."""
    return Services(
        rates=MemoryRateCounters(RateSettings(), clock, no_log),
        memory=SharedMemory(),
        resolver=resolver or ScriptedResolver(),
        queue_metric=queue_metric,
        spamassassin=spamassassin,
        rspamd=rspamd,
        clamd=clamd,
        http=http or ScriptedHttp(),
        lookups=lookups or ScriptedLookups(),
        source_addresses=AnySource(),
        outbox=outbox or KeptOutbox(),
    )


class Bench:
    """Loads and runs scripts on `services`. `on_echo` hears each echo of a hook at once, beside its being kept;
    `on_note` what else a server would log.
    """

    def __init__(
        self,
        services: Services,
        *,
        clock: Clock | None = None,
        chance: random.Random | None = None,
        limits: Limits | None = None,
        library: tuple[Path, ...] = (),
        profiles: ProfileChoice = ALL_NEWEST,
        on_echo: Echo | None = None,
        on_note: Echo | None = None,
    ) -> None:
        self.clock = clock or SystemClock()
        self.chance = chance or random.SystemRandom()
        self.limits = limits or Limits()
        self.library = library
        self.profiles = profiles
        self.on_echo = on_echo
        self.on_note = on_note
        self.services = replace(services, log=self._log, files=replace(services.files, library=library))
        self._hooks = Hooks(HookSettings(limits=self.limits), self.services, self.clock, self.chance, self._log)
        self._pool = Pool()
        self._record = _Record()

    # ---- loading --------------------------------------------------------------------------------

    def reader(self) -> FileReader:
        """Give a reader of files for one load."""
        return FileReader(self.library, self.profiles)

    def load(self, paths: Sequence[Path], hook: str | None) -> tuple[list[Program], list[Diagnostic]]:
        """Give the programs of the files, for a hook or for outside of hooks, and all findings. Raises OperatorError."""
        if hook is not None:
            check_hooks({hook: ()})
        reader = self.reader()
        programs: list[Program] = []
        findings: list[Diagnostic] = []
        for path in paths:
            loaded: Loaded = load_hook(str(path), reader, hook)
            findings += loaded.diagnostics
            if loaded.program is not None:
                programs.append(loaded.program)
        return programs, findings

    def load_plain(self, path: Path, more: Mapping[str, Builtin] | None = None) -> Loaded:
        """Load a file for outside of hooks, with `more` functions. Raises OperatorError."""
        more = more or {}
        builtins = {**for_hook(None), **more}
        return load_program(str(path), self.reader(), builtins, {}, elsewhere=ALL, absent=ABSENT, data=DATA)

    # ---- running --------------------------------------------------------------------------------

    async def run_hook(self, programs: Sequence[Program], hook: str, event: Event) -> Trial:
        """Run the programs at `hook` on `event`. Raises nothing for a script's fault."""
        record = self._record = _Record()
        verdict = await self._hooks.run(ScriptSet({hook: tuple(programs)}), hook, event)
        return Trial(verdict, tuple(record.echoes), record.error)

    async def run_plain(self, program: Program, echo: Echo) -> None:
        """Run a program outside of hooks. Raises ScriptError or LimitExceeded."""
        run = self.plain_run(echo)
        try:
            await self.in_greenlet(lambda: execute(program, run))
        finally:
            run.let_go()

    def plain_run(self, echo: Echo, limits: Limits | None = None) -> Run:
        """Give a run for a program outside of hooks; `in_greenlet` executes it."""
        host = HookHost(hook="", services=self.services, event=None, facts={})
        return Run(
            clock=self.clock,
            random=self.chance,
            limits=limits or self.limits,
            host=host,
            facts=host.facts,
            echo=echo,
            waiter=wait,
            shared=self.services.memory,
        )

    async def in_greenlet(self, function: Callable[[], None]) -> None:
        """Run a plain function in which scripts can wait."""
        await self._pool.run(function, self.limits.wall_s)

    def _log(self, event: str, fields: Mapping[str, object]) -> None:
        """Take what the server would log: echoes and errors are kept, anything else is a note."""
        if event == "hooks.echo":
            text = _bytes(str(fields["text"]))
            self._record.echoes.append(text)
            if self.on_echo is not None:
                self.on_echo(text)
        elif event == "hooks.script_error":
            self._record.error = str(fields["text"])
        elif self.on_note is not None:
            self.on_note(note_of(event, fields))


def _bytes(text: str) -> str:
    """Give a log's text as a script's: a character a byte."""
    return text.encode("utf-8", "replace").decode("latin-1")


def note_of(event: str, fields: Mapping[str, object]) -> str:
    """Give a log record as a line for people."""
    if event == "hooks.script_log":
        return f"log {fields['priority']}: {fields['text']}"
    if event == "hooks.script_warning":
        return f"warning: {fields['text']}"
    shown = " ".join(f"{name}={value}" for name, value in fields.items() if name not in ("level", "transaction", "session"))
    return f"{event} {shown}"


def rendered(error: ScriptError | LimitExceeded) -> str:
    """Give an error of a run outside of hooks with the script's stack: where each caller stands."""
    return rendered_fault(error)

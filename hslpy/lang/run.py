"""One execution of a compiled program: `Run`, its limits, and `execute`, which gives errors their places.

In: a `Program` and what the run may reach (clock, randomness, facts, a waiter). Out: effects, or ScriptError,
LimitExceeded, VerdictGiven. Must not know what hooks or builtins exist.
"""

from __future__ import annotations

import asyncio
import random
import time
import weakref
from collections.abc import Awaitable, Callable
from functools import cached_property
from typing import Any, Protocol

from hslpy.clock import Clock, SystemClock
from hslpy.errors import ScriptError
from hslpy.lang.declare import Builtin
from hslpy.lang.faults import LimitExceeded, as_script_error, place
from hslpy.lang.memory import live_bytes, resident_bytes
from hslpy.lang.program import Program
from hslpy.lang.shared_contract import Shared
from hslpy.lang.values import HslFunction, Value, type_name
from hslpy.records import dataclass

_FIRST_QUANTUM = 64  # steps before the first look at the clock: a step may be a long straight stretch of script
_MOST_QUANTUM = 1_000  # a look costs 1 µs; what costs more than a step, and is charged by nobody, is looked at as often
_UNITS_A_LOOK = 64  # 1 unit is about 1 µs, a slice about 1 ms; but many a builtin takes ten times what it charges
_LOOK_AT_MEMORY_S = 0.002  # at full memory bandwidth a script fills some 20 MB between two looks


@dataclass(frozen=True, slots=True)
class Limits:
    """What one run may use. `steps` counts loop back edges, calls and charged units; `wall_s` includes waiting."""

    steps: int = 20_000_000
    depth: int = 200
    wall_s: float = 60.0
    cpu_s: float = 10.0
    memory_bytes: int = 128 * 1024 * 1024
    string_bytes: int = 16 * 1024 * 1024  # what copies in some 4 ms
    regex_s: float = 1.0
    slice_s: float = 0.001


class Closable(Protocol):
    """Something of the system's that a run holds open: a file, a socket."""

    def close(self) -> None: ...


class VerdictGiven(BaseException):
    """The script called a verdict function; `verdict` is what the run decided."""

    def __init__(self, verdict: Any = None) -> None:
        super().__init__("verdict given")
        self.verdict = verdict


class Cancelled(BaseException):
    """The run was cancelled from outside, thrown into it where it waits."""


class Thrown(ScriptError):
    """A value thrown by `throw` in a script."""

    def __init__(self, value: Value, text: str) -> None:
        super().__init__("R107", text)
        self.value = value


class BoundBuiltin:
    """A builtin as a value: callable through `Run.invoke` with its arguments checked."""

    __slots__ = ("row", "run")

    def __init__(self, row: Builtin, run: Run) -> None:
        self.row = row
        self.run = run

    @property
    def name(self) -> str:
        return self.row.name

    def call(self, *args: Value) -> Value:
        check_arguments(self.row, args)
        return self.row.function(self.run, *args) if self.row.takes_call else self.row.function(*args)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, BoundBuiltin) and other.row is self.row

    def __hash__(self) -> int:
        return hash(id(self.row))


def fits(value: Value, types: tuple[str, ...]) -> bool:
    """Say whether `value` has one of the HSL types."""
    name = type_name(value)
    for wanted in types:
        if wanted == "any" or wanted == name or (wanted == getattr(value, "class_name", None)):
            return True
        if wanted == getattr(value, "kind", None):
            return True
    return False


def wrong_argument(row: Builtin, index: int, value: Value) -> ScriptError:
    """Give the error of a builtin's argument with the wrong type."""
    parameters = row.signature.parameters
    parameter = parameters[min(index, len(parameters) - 1)]
    wanted = " or ".join(parameter.types)
    return ScriptError("R101", f"{row.name}() wants {wanted} as `{parameter.name}`, got {describe(value)}")


def describe(value: Value) -> str:
    """Give a short text of a value for messages: its type, and the value itself where that is short and harmless."""
    name = type_name(value)
    if name == "number":
        return f"the number {value:g}"
    if name == "boolean":
        return "true" if value else "false"
    if name == "string" and len(value) <= 24 and value.isascii() and value.isprintable():
        return f'the string "{value}"'
    if name == "object":
        return f"an object of class {value.class_name}"
    if name == "array":
        return "an empty array" if not value.items else f"an array of {len(value.items)}"
    return {"none": "none", "string": f"a string of {len(value) if name == 'string' else 0} bytes"}.get(name, f"a {name}")


def count_text(required: int, maximum: int | None) -> str:
    """Give "2 arguments", "1 to 3 arguments" or "at least 1 argument"."""
    if maximum is None:
        return f"at least {required} argument{'s' if required != 1 else ''}"
    if required != maximum:
        return f"{required} to {maximum} arguments"
    return f"{required} argument{'s' if required != 1 else ''}"


def check_arguments(row: Builtin, args: tuple[Value, ...]) -> None:
    """Check count and types of a builtin's arguments. Raises ScriptError."""
    signature = row.signature
    maximum = signature.maximum
    if len(args) < signature.required or (maximum is not None and len(args) > maximum):
        wanted = count_text(signature.required, maximum)
        raise ScriptError("R102", f"{row.name}() takes {wanted}, got {len(args)}", hint=f"it is `{signature.text}`")
    last = len(signature.parameters) - 1
    for index, value in enumerate(args):
        if not fits(value, signature.parameters[min(index, last)].types):
            raise wrong_argument(row, index, value)


class Run:
    """One execution; what a builtin receives as `call`. Not shared between executions.

    `waiter` suspends the run until an awaitable is done and gives its result (`hooks/suspend.py`); without one nothing can
    wait, and nothing needs to be paused for. `host` is what host builtins work on. `shared` is what all runs share, and
    `message_id` tells the message at hand from others to `cache`.
    """

    __slots__ = ("__dict__", "facts", "program")
    facts: dict[str, Value]
    program: Program | None

    def __init__(
        self,
        clock: Clock | None = None,
        random: random.Random | None = None,
        limits: Limits | None = None,
        host: Any = None,
        facts: dict[str, Value] | None = None,
        echo: Callable[[str], None] | None = None,
        waiter: Callable[[Awaitable[Any]], Any] | None = None,
        shared: Shared | None = None,
        message_id: str = "",
    ) -> None:
        self.facts = facts if facts is not None else {}
        self.program = None
        if clock is not None:
            self.clock = clock
        if random is not None:
            self.random = random
        if limits is not None:
            self.limits = limits
        if host is not None:
            self.host = host
        if echo is not None:
            self.echo = echo  # type: ignore[method-assign, assignment]
        if waiter is not None:
            self.waiter = waiter
        if shared is not None:
            self.shared = shared
        if message_id:
            self.message_id = message_id

    @classmethod
    def kind(cls, **common: Any) -> type[Run]:
        """Give a class whose runs have these of the constructor's arguments in common.

        A run is made for every command of every session: one of such a class is made without arguments, in a tenth of
        the time, and has no `facts` until they are set.
        """
        given = {name: staticmethod(value) if name in ("echo", "waiter") else value for name, value in common.items()}
        return type(cls.__name__, (cls,), {"__slots__": (), "__init__": object.__init__, **given})

    # The rest begins as class attributes, for the same reason.
    clock: Clock = SystemClock()
    random: random.Random = random.SystemRandom()
    limits: Limits = Limits()
    host: Any = None
    waiter: Callable[[Awaitable[Any]], Any] | None = None
    shared: Shared | None = None
    message_id = ""
    conceals = False  # errors tell nothing of the values that functions were called with
    steps_used = 0
    _quantum = 0
    _stretch = _FIRST_QUANTUM
    _units = 0
    _cpu_s = 0.0  # how long the run held the loop: asking for the thread's own time costs ten times as much
    _allocated = 0
    _measure_at = -1
    _resident_at_measure = 0
    _looked_at_memory = 0.0
    _deadline = 0.0  # 0 before the first look at the clock
    _slice_started = 0.0

    def echo(self, text: str) -> None:
        """Take what the script echoes: replaced by what was given, else nobody listens."""

    @cached_property
    def scratch(self) -> dict[str, Any]:
        """State of builtins for this run, by topic."""
        return {}

    @cached_property
    def held(self) -> weakref.WeakSet[Closable]:
        """What is closed when the run ends; what the script drops before closes itself."""
        return weakref.WeakSet()

    def let_go(self) -> None:
        """Close what is held."""
        for one in list(self.__dict__.pop("held", ())):
            one.close()

    # ---- what builtins use ----------------------------------------------------------------------

    def wait(self, awaitable: Awaitable[Any]) -> Any:
        """Suspend the run until `awaitable` is done and give its result. Raises RuntimeError where nothing can wait."""
        if self.waiter is None:
            if asyncio.iscoroutine(awaitable):
                awaitable.close()
            raise RuntimeError("this run has no waiter: a builtin that waits was called outside an event loop")
        now = time.perf_counter() if self._deadline else self.begin()
        self._cpu_s += now - self._slice_started
        try:
            return self.waiter(awaitable)
        finally:
            self._slice_started = time.perf_counter()
            self._check_wall()

    def pause(self) -> None:
        """Give other sessions a turn if this run has held the loop for more than a slice."""
        if not self._deadline:
            self.begin()
        elif time.perf_counter() - self._slice_started >= self.limits.slice_s:
            self._end_slice()

    def charge(self, units: int) -> None:
        """Account work done inside a builtin, 1 unit about 1 µs. Raises LimitExceeded; pauses at the end of a slice."""
        self._units += units
        if self._units >= _UNITS_A_LOOK:
            self.steps_used += self._units
            self._units = 0
            self._check_steps()
            self.pause()
            self._check_time()

    def reserve(self, size_bytes: int) -> None:
        """Account a string or array about to be made. Raises LimitExceeded before the memory is there."""
        if size_bytes > self.limits.memory_bytes:
            raise self._out_of_memory()
        self._allocated += size_bytes
        if self._measure_at < 0:
            self._measure_at = self.limits.memory_bytes
        if self._allocated > self._measure_at:
            self._measure(size_bytes)
        if size_bytes >= 65_536:
            self.charge(size_bytes >> 12)  # filling memory takes about 0.25 µs a KB

    def reserve_text(self, size_bytes: int) -> None:
        """Account a string about to be made by one copy, which nothing can pause. Raises LimitExceeded."""
        if size_bytes > self.limits.string_bytes:
            raise LimitExceeded(
                "R207",
                f"a string of {size_bytes:,} bytes would be longer than {self.limits.string_bytes // (1024 * 1024)} MiB",
            )
        self.reserve(size_bytes)

    def invoke(self, function: Value, *args: Value) -> Value:
        """Call any function value. Raises ScriptError when it isn't one, or for a wrong number of arguments."""
        if function.__class__ is HslFunction:
            count = len(args)
            if count < function.required or (function.maximum is not None and count > function.maximum):
                name = function.name or "the anonymous function"
                wanted = count_text(function.required, function.maximum)
                raise ScriptError("R102", f"{name}{'()' if function.name else ''} takes {wanted}, got {count}")
            return function.call(*args)
        if function.__class__ is BoundBuiltin:
            return function.call(*args)
        raise ScriptError("R103", f"only a function can be called, got {describe(function)}")

    def offload(self, function: Callable[..., Any], *args: Any) -> Any:
        """Run a long call in a worker thread when this run can wait, else at once."""
        if self.waiter is None:
            return function(*args)
        return self.wait(asyncio.to_thread(function, *args))

    # ---- what compiled code uses ----------------------------------------------------------------

    def start(self) -> int:
        """Give the first number of steps."""
        steps = self.limits.steps
        self._quantum = quantum = _FIRST_QUANTUM if steps > _FIRST_QUANTUM else steps
        return quantum

    @property
    def started_at(self) -> float:
        """Give the time on the monotonic clock when the run began; exact for programs that ask for it."""
        if not self._deadline:
            self.begin()
        return self._deadline - self.limits.wall_s

    def begin(self) -> float:
        """Start the clocks, at the first look at them: most runs are over before it. Gives the time now."""
        self._deadline = self.clock.monotonic() + self.limits.wall_s
        self._slice_started = now = time.perf_counter()
        return now

    def slice(self) -> int:
        """End a stretch of steps: check the limits, pause if due, look at the memory; give the next number of steps."""
        self.steps_used += self._quantum
        self._check_steps()
        left = self.limits.steps - self.steps_used
        self._quantum = max(1, min(self._next_quantum(self._quantum), left))
        return self._quantum

    def stretch(self, wanted: int) -> int:
        """Count up to `wanted` steps at once, as many as may go without a look at the limits, and say how many."""
        self._stretch = self._next_quantum(self._stretch)
        size = min(self._stretch, wanted)
        self.steps_used += size
        self._check_steps()
        return size

    def _next_quantum(self, quantum: int) -> int:
        """Check the time, pause if due, look at the memory; give how many steps may follow these."""
        now = time.perf_counter() if self._deadline else self.begin()
        elapsed = now - self._slice_started
        slice_s = self.limits.slice_s
        if elapsed >= slice_s:
            quantum = max(1, int(quantum * 0.5 * slice_s / elapsed))
            self._end_slice()
            self._check_time()
        elif elapsed < slice_s / 4:
            quantum = min(_MOST_QUANTUM, quantum * 2)
        if now - self._looked_at_memory >= _LOOK_AT_MEMORY_S:
            self._looked_at_memory = now
            self._look_at_memory()
        return quantum

    def too_deep(self) -> LimitExceeded:
        return LimitExceeded(
            "R202", f"calls are nested more than {self.limits.depth} deep", hint="is a recursion without end?"
        )

    # ---- accounting -----------------------------------------------------------------------------

    def _start_watch(self) -> None:
        self._slice_started = time.perf_counter()

    def _stop_watch(self) -> None:
        self._cpu_s += time.perf_counter() - self._slice_started

    def _end_slice(self) -> None:
        self._stop_watch()
        if self.waiter is not None:
            self.waiter(asyncio.sleep(0))
        self._start_watch()

    def _check_steps(self) -> None:
        if self.steps_used > self.limits.steps or (self.steps_used == self.limits.steps and self._quantum):
            raise LimitExceeded(
                "R201", f"the script took more than {self.limits.steps:,} steps", hint="is a loop without end?"
            )

    def _check_time(self) -> None:
        if self._cpu_s > self.limits.cpu_s:
            raise LimitExceeded("R203", f"the script used more than {self.limits.cpu_s:g} s of CPU time")
        self._check_wall()

    def _check_wall(self) -> None:
        if self.clock.monotonic() > self._deadline:
            raise LimitExceeded("R204", f"the script took longer than {self.limits.wall_s:g} s")

    def _out_of_memory(self) -> LimitExceeded:
        return LimitExceeded(
            "R205", f"the script's values would take more than {self.limits.memory_bytes // (1024 * 1024)} MiB of memory"
        )

    def _look_at_memory(self) -> None:
        resident = resident_bytes()
        if not self._resident_at_measure:
            self._resident_at_measure = resident
        elif resident - self._resident_at_measure > self.limits.memory_bytes // 4:
            self._measure(0)
        elif resident < self._resident_at_measure:
            self._resident_at_measure = resident

    def _measure(self, size_bytes: int) -> None:
        """Measure what the run really holds, and stop it if that is too much. Paused in slices."""
        program = self.program
        held = (self.scratch, dict(self.facts), getattr(self.host, "state", None))
        live = live_bytes(held, program.file, self.limits.memory_bytes, self.pause) if program is not None else 0
        limit = self.limits.memory_bytes
        if live + size_bytes > limit:
            raise self._out_of_memory()
        self._allocated = live + size_bytes
        self._measure_at = self._allocated + max(limit - self._allocated, limit // 16)
        self._resident_at_measure = resident_bytes()


def execute(program: Program, run: Run) -> None:
    """Run the program. Raises ScriptError or LimitExceeded with `span` and `stack` (innermost first), VerdictGiven.

    Who made the run calls `let_go()` when nothing of it is used any more.
    """
    run.program = program
    try:
        program.body(run)
    except Exception as error:
        found = as_script_error(program, error)
        place(program, found, error.__traceback__, conceals=run.conceals)
        if found is error:
            raise
        raise found from None
    except LimitExceeded as error:
        place(program, error, error.__traceback__, conceals=run.conceals)
        raise


__all__ = [
    "BoundBuiltin",
    "Cancelled",
    "LimitExceeded",
    "Limits",
    "Run",
    "Thrown",
    "VerdictGiven",
    "check_arguments",
    "count_text",
    "describe",
    "execute",
    "fits",
    "wrong_argument",
]

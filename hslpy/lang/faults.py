"""How errors of compiled code get their place: tracebacks become spans and a script's call stack.

In: an exception and the program it came from. Out: ScriptError or LimitExceeded with `span` and `stack`.
Must not know how code is compiled beyond its file name, its line numbers and its names.
"""

from __future__ import annotations

import dis
import inspect
import re
import sys
from collections.abc import Iterator, Sequence
from itertools import islice, pairwise
from types import FrameType, TracebackType
from typing import NamedTuple

from hslpy.errors import ScriptError
from hslpy.lang.iterators import at_work
from hslpy.lang.program import Program
from hslpy.lang.shown import arguments
from hslpy.lang.source import Span
from hslpy.lang.values import Array, Value

_LOOKED_INTO = 8  # calls at either end of a stack whose arguments are told; a rendered stack shows no more


class Frame(NamedTuple):
    """A call of the script that was under way: the function's name, None for the top level and anonymous ones; where it
    was; its arguments as text, as they were when it failed, None for the top level and where nobody looked."""

    name: str | None
    span: Span
    arguments: str | None = None


class LimitExceeded(BaseException):
    """A limit was exceeded; no HSL `catch` holds it. Rendered like a ScriptError: same attributes, codes R2xx."""

    def __init__(self, code: str, message: str, *, hint: str | None = None) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code
        self.message = message
        self.hint = hint
        self.span: object | None = None
        self.notes: tuple[str, ...] = ()
        self.stack: tuple[object, ...] = ()


def frames_of(
    program: Program, traceback: TracebackType | None, *, looks: bool = False, conceals: bool = False
) -> list[Frame]:
    """Give the script's frames in a traceback, innermost first; with `looks` the arguments of those at either end."""
    found: list[tuple[FrameType, Span]] = []
    while traceback is not None:
        frame = traceback.tb_frame
        if frame.f_code.co_filename == program.file:
            line = traceback.tb_lineno
            if line is not None and 0 < line <= len(program.spans):
                found.append((frame, program.spans[line - 1]))
        traceback = traceback.tb_next
    found.reverse()
    names = program.names
    if not looks:
        return [Frame(names.get(frame.f_code.co_name), span) for frame, span in found]
    ends = (*range(_LOOKED_INTO), *range(len(found) - _LOOKED_INTO, len(found)))
    return [
        Frame(
            names.get(frame.f_code.co_name),
            span,
            _arguments_of(program, frame, conceals) if number in ends else None,
        )
        for number, (frame, span) in enumerate(found)
    ]


def _arguments_of(program: Program, frame: FrameType, conceals: bool) -> str | None:
    """Give the arguments of a function's frame as text, None for the top level of a file."""
    if frame.f_code.co_name[0] not in "fgc":
        return None
    return arguments(_parameters(program, frame), conceals)


def _parameters(program: Program, frame: FrameType) -> Iterator[tuple[str, Value]]:
    """Give the parameters of a frame with their values. A variadic one gives each of its values."""
    code, values = frame.f_code, frame.f_locals
    names = code.co_varnames[: code.co_argcount]
    for name in names:
        shown = program.variables.get(name)
        if shown is not None and shown != "this" and name in values and not _is_unset(values[name]):
            yield shown, values[name]
    if code.co_flags & inspect.CO_VARARGS:
        name = code.co_varnames[code.co_argcount + code.co_kwonlyargcount]
        rest = values.get(name, ())
        for value in rest.values() if rest.__class__ is Array else rest:
            yield program.variables.get(name, ""), value


def _is_unset(value: object) -> bool:
    return type(value).__name__ == "_Unset"


def call_lines(stack: Sequence[object], outermost: str = "") -> tuple[str, ...]:
    """Give a line for each caller in an error's stack: where the call stands, and what was called with which arguments.

    `outermost` is said behind the place of the outermost one.
    """
    frames = [frame for frame in stack if isinstance(frame, Frame)]
    lines: list[str] = []
    for called, caller in pairwise(frames):
        where = f", in {caller.name or 'a function'}" if caller is not frames[-1] else outermost
        call = f": {called.name or 'function'}({called.arguments})" if called.arguments is not None else ""
        lines.append(f"{caller.span}{where}{call}")
    return tuple(lines)


def place_of(program: Program, traceback: TracebackType | None) -> str:
    """Give the line that raised, as `file:line`, with the top level's line where that is in a function."""
    return _place(frames_of(program, traceback))


def place_now(program: Program) -> str:
    """Give the line that the script is at, as `place_of` does; for a builtin that notes who called it."""
    found: list[Frame] = []
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        if frame.f_code.co_filename == program.file and 0 < frame.f_lineno <= len(program.spans):
            found.append(Frame(None, program.spans[frame.f_lineno - 1]))
        frame = frame.f_back
    return _place(found)


def _place(frames: list[Frame]) -> str:
    if not frames:
        return ""
    spans = (frames[0].span, frames[-1].span)
    lines = [f"{span.source.path}:{span.source.position(span.start)[0]}" for span in spans]
    return lines[0] if len(frames) == 1 else f"{lines[0]}, called from {lines[1]}"


_LOAD_FAST = dis.opmap["LOAD_FAST"]
_UNBOUND = re.compile(r"variable '(\w+)'")


def as_script_error(program: Program, error: BaseException) -> BaseException:
    """Give the ScriptError that a Python error of compiled code stands for, or the error itself when it is ours."""
    if isinstance(error, (ScriptError, LimitExceeded)):
        return error
    if isinstance(error, RecursionError):
        return LimitExceeded("R202", "calls or values are nested too deep", hint="is a recursion without end?")
    if isinstance(error, MemoryError):
        return LimitExceeded("R205", "the script's values do not fit in memory")
    traceback = error.__traceback__
    while traceback is not None and traceback.tb_next is not None:
        traceback = traceback.tb_next
    if traceback is None or traceback.tb_frame.f_code.co_filename != program.file:
        if isinstance(error, KeyError) and error.args and error.args[0] in program.reads:
            return _unset(str(error.args[0]))
        return error
    if (found := at_work(error)) is not None:
        return found
    if isinstance(error, NameError):
        match = _UNBOUND.search(str(error))
        name = program.variables.get(match[1]) if match else None
        if match is None or name is None:
            return error
        found_unset = _unset(name)
        found_unset.span = _place_of_read(program, traceback, match[1])
        return found_unset
    if isinstance(error, KeyError) and error.args and error.args[0] in program.reads:
        return _unset(str(error.args[0]))
    if isinstance(error, ZeroDivisionError):
        return ScriptError("R123", "division by zero")
    if isinstance(error, (OverflowError, ValueError)):
        return ScriptError("R105", "the number is too large for this operation")
    return error


def _place_of_read(program: Program, traceback: TracebackType, variable: str) -> Span | None:
    """Give the place that read a local variable without value, None where the traceback has it right.

    CPython runs two instructions as one once code is warm, and then names the line of the first when the second fails.
    """
    code, at = traceback.tb_frame.f_code, traceback.tb_lasti
    if variable not in code.co_varnames:
        return None
    read = (_LOAD_FAST, code.co_varnames.index(variable))
    if tuple(code.co_code[at : at + 2]) == read or tuple(code.co_code[at + 2 : at + 4]) != read:
        return None
    line = next(islice(code.co_positions(), at // 2 + 1, None))[0]
    return program.spans[line - 1] if line is not None and 0 < line <= len(program.spans) else None


def _unset(name: str) -> ScriptError:
    return ScriptError(
        "R106", f"the variable `${name}` has no value yet", hint=f"assign it first, or test it with `isset(${name})`"
    )


def place(
    program: Program,
    error: BaseException,
    traceback: TracebackType | None,
    *,
    looks: bool = True,
    conceals: bool = False,
) -> None:
    """Fill in `span` and `stack` of a ScriptError or LimitExceeded from the traceback it was caught with.

    `looks`: with the arguments of calls, of which `conceals` lets only the kinds be seen.
    """
    if isinstance(error, (ScriptError, LimitExceeded)) and not error.stack:
        frames = frames_of(program, traceback, looks=looks, conceals=conceals)
        if error.code == "R202" and len(frames) > 1:
            del frames[0]  # the call that was refused is the place, not the function it would have entered
        if frames:
            error.stack = tuple(frames)
            if error.span is None:
                error.span = frames[0].span

"""How errors of compiled code get their place: tracebacks become spans and a script's call stack.

In: an exception and the program it came from. Out: ScriptError or LimitExceeded with `span` and `stack`.
Must not know how code is compiled beyond its file name, its line numbers and its names.
"""

from __future__ import annotations

import re
import sys
from types import FrameType, TracebackType
from typing import TYPE_CHECKING

from hslpy.errors import ScriptError
from hslpy.lang.iterators import at_work
from hslpy.lang.source import Span

if TYPE_CHECKING:
    from hslpy.lang.run import Program


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


def frames_of(program: Program, traceback: TracebackType | None) -> list[tuple[str | None, Span]]:
    """Give the script's frames in a traceback, innermost first."""
    found: list[tuple[str | None, Span]] = []
    while traceback is not None:
        code = traceback.tb_frame.f_code
        if code.co_filename == program.file:
            line = traceback.tb_lineno
            if line is not None and 0 < line <= len(program.spans):
                found.append((program.names.get(code.co_name), program.spans[line - 1]))
        traceback = traceback.tb_next
    found.reverse()
    return found


def place_of(program: Program, traceback: TracebackType | None) -> str:
    """Give the line that raised, as `file:line`, with the top level's line where that is in a function."""
    return _place(frames_of(program, traceback))


def place_now(program: Program) -> str:
    """Give the line that the script is at, as `place_of` does; for a builtin that notes who called it."""
    found: list[tuple[str | None, Span]] = []
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        if frame.f_code.co_filename == program.file and 0 < frame.f_lineno <= len(program.spans):
            found.append((None, program.spans[frame.f_lineno - 1]))
        frame = frame.f_back
    return _place(found)


def _place(frames: list[tuple[str | None, Span]]) -> str:
    if not frames:
        return ""
    lines = [f"{span.source.path}:{span.source.position(span.start)[0]}" for _, span in (frames[0], frames[-1])]
    return lines[0] if len(frames) == 1 else f"{lines[0]}, called from {lines[1]}"


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
        return _unset(name) if name is not None else error
    if isinstance(error, KeyError) and error.args and error.args[0] in program.reads:
        return _unset(str(error.args[0]))
    if isinstance(error, ZeroDivisionError):
        return ScriptError("R123", "division by zero")
    if isinstance(error, (OverflowError, ValueError)):
        return ScriptError("R105", "the number is too large for this operation")
    return error


def _unset(name: str) -> ScriptError:
    return ScriptError(
        "R106", f"the variable `${name}` has no value yet", hint=f"assign it first, or test it with `isset(${name})`"
    )


def place(program: Program, error: BaseException, traceback: TracebackType | None) -> None:
    """Fill in `span` and `stack` of a ScriptError or LimitExceeded from the traceback it was caught with."""
    if isinstance(error, (ScriptError, LimitExceeded)) and not error.stack:
        frames = frames_of(program, traceback)
        if error.code == "R202" and len(frames) > 1:
            del frames[0]  # the call that was refused is the place, not the function it would have entered
        if frames:
            error.stack = tuple(frames)
            if error.span is None:
                error.span = frames[0][1]

"""Where synchronous scripts wait: each run has a greenlet of a pool, and waiting switches to the event loop's side.

In: a plain function that may call `wait`. Out: its result, or what it raised. Cancelling the task throws `Cancelled` into
the function and waits until it has unwound. Must not know what runs in it. Source: design.md section 2.

A greenlet does not see the task's contextvars: whatever a run needs is passed to it.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar, cast

from greenlet import GreenletExit, getcurrent, greenlet

from hslpy.lang.run import Cancelled, LimitExceeded

T = TypeVar("T")

MOST_IDLE = 128  # greenlets kept for reuse; each holds a few KB of stack
SWEEP_S = 0.1  # how late a wait may be cut short; a timer for each run costs as much as the rest of its bookkeeping


def wait(awaitable: Awaitable[Any]) -> Any:
    """Suspend the run that calls this until `awaitable` is done, and give its result or raise its error."""
    return getcurrent().parent.switch(awaitable)


class _Ended:
    """What a greenlet hands over when a function has ended; emptied by the taker, for an idle greenlet keeps it."""

    __slots__ = ("error", "result")

    def __init__(self) -> None:
        self.result: Any = None
        self.error: BaseException | None = None


def _work(function: Callable[[], Any] | None) -> None:
    """Run one function after another, each handed in by a switch."""
    ended = _Ended()
    while True:
        assert function is not None
        try:
            ended.result = function()
        except GreenletExit:
            raise
        except BaseException as error:
            ended.error = error
        function = None
        function = getcurrent().parent.switch(ended)


class Pool:
    """Greenlets in which plain functions run and wait. Belongs to one event loop; needs no closing."""

    def __init__(self, most_idle: int = MOST_IDLE) -> None:
        self._idle: list[Any] = []
        self._most_idle = most_idle
        self._expiries: set[_Expiry] = set()
        self._sweeping: asyncio.AbstractEventLoop | None = None
        self.running = 0

    async def run(self, function: Callable[[], T], wall_s: float) -> T:
        """Run `function` and give its result. A wait that would last past `wall_s` is cancelled: LimitExceeded.

        Raises what the function raises, and CancelledError when the task was cancelled meanwhile.
        """
        worker = self._idle.pop() if self._idle else greenlet(_work)
        worker.parent = getcurrent()
        self.running += 1
        expiry = None
        try:
            asked = worker.switch(function)
            if asked.__class__ is not _Ended:
                expiry = self._expire_after(wall_s)
                while asked.__class__ is not _Ended:
                    try:
                        value = await asked
                    except BaseException as failure:
                        asked = _throw(worker, expiry, failure, wall_s)
                    else:
                        asked = worker.switch(value)
                if expiry.cancelled and asked.error is None:
                    asked.error = Cancelled()
        finally:
            self.running -= 1
            if expiry is not None:
                self._expiries.discard(expiry)
        result, error = asked.result, asked.error
        asked.result = asked.error = None
        if len(self._idle) < self._most_idle:
            self._idle.append(worker)
        else:
            worker.throw(GreenletExit)
        if error is None:
            return cast(T, result)
        try:
            if error.__class__ is Cancelled:
                raise asyncio.CancelledError
            raise error
        finally:
            del error, asked  # the traceback holds this frame: no cycle

    def _expire_after(self, wall_s: float) -> _Expiry:
        """Give the deadline of the run of the present task."""
        loop = asyncio.get_running_loop()
        task = asyncio.current_task(loop)
        assert task is not None
        expiry = _Expiry(task, loop.time() + wall_s)
        self._expiries.add(expiry)
        if self._sweeping is not loop:
            self._sweeping = loop
            loop.call_later(SWEEP_S, self._sweep, loop)
        return expiry

    def _sweep(self, loop: asyncio.AbstractEventLoop) -> None:
        """End the waits whose time is up; come again while there are any."""
        now = loop.time()
        for expiry in [one for one in self._expiries if one.deadline <= now]:
            self._expiries.discard(expiry)
            expiry.fired = True
            expiry.task.cancel()
        if self._expiries:
            loop.call_later(SWEEP_S, self._sweep, loop)
        elif self._sweeping is loop:
            self._sweeping = None


class _Expiry:
    """A deadline that cancels its task once, and says whether a cancellation was its own; `cancelled`: one was not."""

    __slots__ = ("cancelled", "deadline", "fired", "task")

    def __init__(self, task: asyncio.Task[Any], deadline: float) -> None:
        self.task = task
        self.deadline = deadline
        self.fired = False
        self.cancelled = False

    def take(self) -> bool:
        """Say whether the deadline alone cancelled the task, and take that cancellation back."""
        if not self.fired:
            return False
        self.fired = False
        return self.task.uncancel() == 0


def _too_long(wall_s: float) -> LimitExceeded:
    return LimitExceeded("R204", f"the script took longer than {wall_s:g} s", hint="what it waited for did not come in time")


def _throw(worker: Any, expiry: _Expiry, error: BaseException, wall_s: float) -> Any:
    """Raise in the run what its wait ended with, and give what it asks for next. Raises GeneratorExit, after it unwound."""
    if isinstance(error, asyncio.CancelledError):
        if expiry.take():
            error = _too_long(wall_s)
        elif expiry.task.cancelling():
            expiry.cancelled = True
            error = Cancelled()
        else:
            error = RuntimeError("what the script waited for was cancelled")
    elif isinstance(error, GeneratorExit):
        _abandon(worker)
        raise error
    return worker.throw(error)


def _abandon(worker: Any) -> None:
    """Unwind a run whose task is being destroyed; it can wait for nothing more."""
    asked = worker.throw(Cancelled())
    if asked.__class__ is _Ended:
        asked.result = asked.error = None
    elif asyncio.iscoroutine(asked):
        asked.close()
    with contextlib.suppress(BaseException):
        worker.throw(GreenletExit)

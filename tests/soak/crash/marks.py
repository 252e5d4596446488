"""The marked steps between DATA and the last delivery. In: a function to call at each. Out: functions wrapped with it.

A mark stands before or after a function of the server; the spool tells its own steps of a commit. Nothing of this is in
the server itself: `install` is called in the process that is to be killed.
"""

from __future__ import annotations

import functools
import importlib
import inspect
from collections.abc import Callable, Sequence
from typing import Any

At = Callable[[str], None]

# name, module, function; a mark is "before NAME" or "after NAME"
FUNCTIONS: Sequence[tuple[str, str, str]] = (
    ("the end of DATA", "hslpy.smtp.receive", "_decide"),
    ("a hook", "hslpy.hooks.runner", "Hooks.run"),
    ("accepting", "hslpy.queue.queue", "Queue.accept"),
    ("storing", "hslpy.spool.sqlite", "SqliteSpool.store"),
    ("a body file", "hslpy.spool.folder", "Folder.write_body"),
    ("removing body files", "hslpy.spool.folder", "Folder.remove_bodies"),
    ("appending bodies", "hslpy.spool.segments", "Segments.append"),
    ("emptying a segment", "hslpy.spool.segments", "Segments.move_some"),
    ("the reply", "hslpy.smtp.receive", "_answer"),
    ("claiming", "hslpy.queue.queue", "Queue.claim"),
    ("the pre-delivery step", "hslpy.delivery.job", "Jobs._before"),
    ("reading the content", "hslpy.spool.sqlite", "SqliteSpool.read"),
    ("an attempt", "hslpy.delivery.attempt", "Attempts.make"),
    ("connecting", "hslpy.client.smtp", "open_link"),
    ("the reply to MAIL", "hslpy.client.transaction", "Transaction._mail_reply"),
    ("the reply to RCPT", "hslpy.client.transaction", "Transaction._rcpt_reply"),
    ("sending the content", "hslpy.client.transaction", "Transaction._content_to"),
    ("the final reply", "hslpy.client.transaction", "Transaction._settle"),
    ("the post-delivery step", "hslpy.delivery.job", "Jobs._after"),
    ("recording a delivery", "hslpy.queue.queue", "Queue.finish"),
    ("recording a retry", "hslpy.queue.queue", "Queue.reschedule"),
    ("recording a bounce", "hslpy.queue.queue", "Queue.bounce"),
    ("a change in the spool", "hslpy.spool.sqlite", "SqliteSpool.apply"),
    ("giving space back", "hslpy.spool.writer", "Writer._give_back"),
    ("opening the spool", "hslpy.spool.sqlite", "SqliteSpool.open"),
    ("loading the queue", "hslpy.queue.queue", "Queue.open"),
    ("removing what a crash left", "hslpy.spool.mending", "Mender._orphans"),
    ("closing the spool", "hslpy.spool.sqlite", "SqliteSpool.close"),
)
SPOOL = ("taken", "appended", "begun", "written", "committed", "woken", "body written", "body renamed", "body synced")
MARKS = (*(f"{when} {name}" for name, _, _ in FUNCTIONS for when in ("before", "after")), *SPOOL)
# steps of the starting or stopping server, which a load does not reach
AT_START_OR_STOP = tuple(
    f"{when} {name}"
    for name in ("opening the spool", "loading the queue", "removing what a crash left", "closing the spool")
    for when in ("before", "after")
)


def install(at: At) -> None:
    """Wrap the functions, and have the spool tell its steps."""
    for name, module, path in FUNCTIONS:
        holder: Any = importlib.import_module(module)
        *classes, last = path.split(".")
        for each in classes:
            holder = getattr(holder, each)
        setattr(holder, last, _wrapped(getattr(holder, last), name, at))
    spool = importlib.import_module("hslpy.spool.sqlite").SqliteSpool
    made = spool.__init__

    @functools.wraps(made)
    def init(self: Any, settings: Any, *_: Any, **named: Any) -> None:
        made(self, settings, at, **named)

    spool.__init__ = init


def _wrapped(function: Any, name: str, at: At) -> Any:
    before, after = f"before {name}", f"after {name}"
    if inspect.iscoroutinefunction(function):

        @functools.wraps(function)
        async def wait(*arguments: Any, **named: Any) -> Any:
            at(before)
            try:
                return await function(*arguments, **named)
            finally:
                at(after)

        return wait

    @functools.wraps(function)
    def call(*arguments: Any, **named: Any) -> Any:
        at(before)
        try:
            return function(*arguments, **named)
        finally:
            at(after)

    return call

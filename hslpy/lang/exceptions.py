"""The builtin class `Exception`: what `catch` gets for a script error, and what scripts may throw themselves.

In: nothing. Out: the row of its constructor; the methods are `runtime.EXCEPTION`'s.
"""

from __future__ import annotations

from hslpy.errors import ScriptError
from hslpy.lang.declare import Effect, Topic
from hslpy.lang.runtime import exception_object
from hslpy.lang.values import HslObject

TOPIC = Topic("exceptions")


@TOPIC.builtin(
    "Exception([message: string]) -> Exception",
    effect=Effect.PURE,
    kind="class",
    examples=['Exception("no such customer")->message()  // no such customer'],
)
def exception(message: str = "") -> HslObject:
    """Make an exception to throw. `catch` gives the like for script errors.

    Its methods: toString(), message(), file(), line(), column(); only script errors have a place, here it is none.
    """
    return exception_object(ScriptError("R107", message))

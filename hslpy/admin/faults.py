"""What a request hears when it failed by no fault of its own; the log has the story. In: an exception. Out: `Refused`."""

from __future__ import annotations

import traceback

from hslpy.egress.rules.names import Refused
from hslpy.egress.store.faults import is_away, is_damaged, is_full, is_read_only, is_removed
from hslpy.log import Log

_STATES = (
    (is_damaged, "is damaged"),
    (is_removed, "was removed"),
    (is_full, "has no room on its disk"),
    (is_read_only, "cannot be written, only read"),
)


def told(log: Log, path: str, error: Exception) -> Refused:
    """Log it in full, and give what the client is told: 503 while the database is away, or can only be read, else 500.

    A number beyond 64 bits, which only SQLite cannot even compare, is the client's fault, and that of no row.
    """
    if isinstance(error, OverflowError) and "SQLite" in str(error):
        return Refused("a number is larger than any that there is", 400)
    fields = {"level": "error", "path": path, "error": f"{type(error).__name__}: {error}"}
    if is_away(error):
        log("admin.database_away", {**fields, "error": str(error).partition("\n")[0]})
        for it_is, text in _STATES:
            if it_is(error):
                return Refused(f"the database {text}; nothing was changed", 503, "the server's log says what to do")
        return Refused("the database does not answer; nothing was changed. Try again in a moment", 503)
    log("admin.fault", {**fields, "text": "".join(traceback.format_exception(error))})
    return Refused("the request failed by a fault of the server; its log has more", 500)

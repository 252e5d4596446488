"""What using the database may raise, and what an operator does about it. In: an error. Out: what it is, in words.

Source of the texts looked for: SQLite's `sqlite3ErrStr`; PostgreSQL's appendix A, class 25.
"""

from __future__ import annotations

from sqlalchemy.exc import DatabaseError, InterfaceError, OperationalError, SQLAlchemyError

from hslpy.errors import OperatorError
from hslpy.records import record

DatabaseFault = SQLAlchemyError  # any of them

_DAMAGED = ("malformed", "not a database")
REMOVED = "was removed while it was in use"
_FULL = ("is full", "No space", "disk quota")
_READ_ONLY = ("readonly", "read-only")
_BUSY = ("database is locked", "lock timeout")
_TO_DO = (
    (_DAMAGED, "put the latest backup in the place of the file: it is in use within seconds"),
    (_READ_ONLY, "its file, those beside it and the folder must be the server's user's, on a disk that takes writes"),
    (_FULL, "make room on its disk"),
    (("disk I/O error",), "look at the disk, `dmesg` tells more"),
)


@record
class Trouble:
    """Why the database takes no changes, and what to do about it."""

    reason: str
    hint: str


def is_away(error: Exception) -> bool:
    """Say whether the database did not do what it was asked, which is no fault of the request."""
    return isinstance(error, OperationalError | InterfaceError) or is_damaged(error)


def is_read_only(error: Exception) -> bool:
    """Say whether the database can only be read."""
    return _tells(error, _READ_ONLY)


def is_damaged(error: Exception) -> bool:
    """Say whether SQLite cannot make sense of the file."""
    return _tells(error, _DAMAGED)


def is_removed(error: Exception) -> bool:
    """Say whether the file of SQLite is not where it was."""
    return _tells(error, (REMOVED,))


def is_full(error: Exception) -> bool:
    return _tells(error, _FULL)


def is_busy(error: Exception) -> bool:
    """Say whether somebody else's change took too long, which is over soon."""
    return _tells(error, _BUSY)


def reason_of(error: Exception) -> str:
    """Give what the database said, in one line."""
    cause = error.orig if isinstance(error, DatabaseError) and error.orig is not None else error
    return str(cause).strip().partition("\n")[0] or repr(cause)


def trouble_of(error: Exception) -> Trouble:
    if isinstance(error, OperatorError):
        return Trouble(error.message, error.hint or "")
    reason = reason_of(error)
    hint = next((hint for texts, hint in _TO_DO if any(text in reason for text in texts)), "")
    return Trouble(reason, hint or "the database is looked for until it can be used")


def _tells(error: Exception, texts: tuple[str, ...]) -> bool:
    return isinstance(error, DatabaseError) and any(text in str(error.orig) for text in texts)

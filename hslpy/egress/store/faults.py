"""What using the database may raise. In: an error. Out: whether the database is away, or cannot be written."""

from __future__ import annotations

from sqlalchemy.exc import InterfaceError, OperationalError, SQLAlchemyError

DatabaseFault = SQLAlchemyError  # any of them


def is_away(error: Exception) -> bool:
    """Say whether the database did not do what it was asked, which is no fault of the request."""
    return isinstance(error, OperationalError | InterfaceError)


def is_read_only(error: Exception) -> bool:
    """Say whether the database can only be read."""
    text = str(error.orig) if isinstance(error, OperationalError | InterfaceError) else ""
    return "readonly" in text or "read-only" in text  # as SQLite, as PostgreSQL says it

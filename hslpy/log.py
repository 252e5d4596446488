"""How every room logs: it is handed a `Log` and never makes one. What becomes of the lines is `app.py`'s to say."""

from __future__ import annotations

from collections.abc import Callable, Mapping

Log = Callable[[str, Mapping[str, object]], None]
"""`log(event, fields)`: the event's name (`delivery.bounced`), and its fields; one named `level` is no field but that."""


def no_log(event: str, fields: Mapping[str, object]) -> None:
    """A `Log` that keeps nothing."""

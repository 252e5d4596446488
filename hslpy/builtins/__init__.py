"""All builtins: the table that the compiler, docs, completion and tests walk, made by naming the topics."""

from __future__ import annotations

from hslpy.builtins import core, host
from hslpy.lang.declare import Builtin, Topic

TOPICS: tuple[Topic, ...] = (*core.TOPICS, *host.TOPICS)
ALL: tuple[Builtin, ...] = tuple(row for topic in TOPICS for row in topic.rows)


def key_of(row: Builtin) -> str:
    """Give the key of a row in a table of builtins: `Class->method`, `Class::method` or the plain name."""
    if row.owner is None:
        return row.name
    return f"{row.owner}{'::' if row.kind == 'static method' else '->'}{row.name}"


def for_hook(hook: str | None) -> dict[str, Builtin]:
    """Give the builtins of a hook by key, a row of that hook before one for everywhere; None: outside of hooks."""
    found: dict[str, Builtin] = {key_of(row): row for row in ALL if row.hooks is None}
    if hook is not None:
        found.update({key_of(row): row for row in ALL if row.hooks is not None and hook in row.hooks})
    return found

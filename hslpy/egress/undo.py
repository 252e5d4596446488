"""Takes a change back, whatever it was of. In: the ticket of an actor's own change. Out: what was done, for people."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from hslpy.egress.accounts.admins import count
from hslpy.egress.delivery_ips import settings
from hslpy.egress.reputation import block_lists
from hslpy.egress.store import undoing
from hslpy.egress.store.database import Actor, Database


def take_back(database: Database, actor: Actor, ticket: str) -> str:
    """Raises NotFound for what was taken back, or is too long ago, or another's."""
    return _KINDS[undoing.kind_of(database, actor, ticket)](database, actor, ticket)


def _settings(database: Database, actor: Actor, ticket: str) -> str:
    outcome = settings.undo(database, actor, ticket)
    failed = f"; {count(len(outcome.failed), 'setting')} had been changed since" if outcome.failed else ""
    return f"Taken back: {count(len(outcome.done), 'setting')} as before{failed}."


def _lists(database: Database, actor: Actor, ticket: str) -> str:
    outcomes, enabled = block_lists.undo(database, actor, ticket)
    return f"{count(sum(one.done for one in outcomes), 'list')} {'enabled' if enabled else 'disabled'} again."


_KINDS: Mapping[str, Callable[[Database, Actor, str], str]] = {settings.UNDO: _settings, block_lists.UNDO: _lists}

"""What changes were of, kept with them for who made them. In: what it takes to take one back. Out: a ticket, and that again.

Must not know what is changed.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from typing import Any

from sqlalchemy import delete, select

from hslpy.egress.rules.names import NotFound
from hslpy.egress.store.database import Actor, Change, Database
from hslpy.egress.store.tables import Undo

KEPT_S = 86_400.0  # taking back is for now, not for next week
MOST = 100  # changes of one actor


def keep(change: Change, kind: str, what: Mapping[str, Any]) -> str:
    """Give the ticket by which whoever makes the change may take it back."""
    ticket, mine = secrets.token_urlsafe(12), Undo.actor == change.actor.name
    change.add(Undo(ticket=ticket, actor=change.actor.name, at=change.now, kind=kind, what=dict(what)))
    change.flush()
    newest = select(Undo.ticket).where(mine).order_by(Undo.at.desc(), Undo.ticket).limit(MOST)
    change.execute(delete(Undo).where(Undo.at < change.now - KEPT_S))
    change.execute(delete(Undo).where(mine, Undo.ticket.not_in(newest)))
    return ticket


def take(change: Change, kind: str, ticket: str) -> Mapping[str, Any]:
    """Give what a change of this kind was of, once, to who made it. Raises NotFound."""
    found = change.get(Undo, ticket)
    if found is None or (found.actor, found.kind) != (change.actor.name, kind) or found.at < change.now - KEPT_S:
        raise NotFound("this change cannot be taken back any more")
    change.delete(found)
    return found.what


def kind_of(database: Database, actor: Actor, ticket: str) -> str:
    """Give the kind of a change of the actor's own. Raises NotFound."""
    with database.read() as session:
        kind = session.scalar(select(Undo.kind).where(Undo.ticket == ticket, Undo.actor == actor.name))
    if kind is None:
        raise NotFound("this change cannot be taken back any more")
    return kind

"""Locks of users, domains and nodes: who set them, when and why. In: rows. Out: rows changed, or a refusal."""

from __future__ import annotations

from hslpy.egress.rules.names import Refused
from hslpy.egress.store import tables
from hslpy.egress.store.database import Change


def reason_of(text: str) -> str:
    """Give a reason as it is kept: one line of printable text, of 255 characters at most."""
    return "".join(one for one in " ".join(text.split()) if one.isprintable())[:255]


def lock(change: Change, found: tables.User | tables.Node, reason: str) -> None:
    """Lock somebody; whoever is locked keeps their time and takes the new reason."""
    found.locked_at = found.locked_at if found.locked else change.now
    found.locked, found.locked_reason, found.locked_by = True, reason, change.actor.name


def unlock(found: tables.User | tables.Node) -> None:
    found.locked, found.locked_reason, found.locked_at, found.locked_by = False, "", None, ""


def refuse_others_lock(found: tables.User | tables.Domain, name: str, admins: frozenset[str] | None) -> None:
    """Raise Refused where somebody else than `admins` has set the lock; None: anybody's will do."""
    if found.locked and admins is not None and found.locked_by not in admins:
        raise Refused(f"{name} was locked by {found.locked_by}: they or a super-admin have to unlock it first", 403)

"""Sign-ins to the page, as they are kept: by the hash of what the browser has. In: names, secrets. Out: who it is.

Must not know of cookies or HTTP. Source: section B of the specification of delivery IPs; NIST SP 800-63B section 7.1.
"""

from __future__ import annotations

import contextlib
import hashlib
import secrets

from sqlalchemy import delete, or_

from hslpy.egress.accounts.admins import Principal, admin_of, principal
from hslpy.egress.rules.names import Refused
from hslpy.egress.store import tables
from hslpy.egress.store.database import Database
from hslpy.egress.store.faults import DatabaseFault
from hslpy.records import record

IDLE_S = 12 * 3600.0  # a working day; what was being written is kept through a new sign-in
LONGEST_S = 7 * 86400.0
_SEEN_EVERY_S = 60.0  # so that looking at pages does not write all the time


@record
class SignedIn:
    """A session found good. `csrf` has to come with each request that changes something; `key` names it for the server."""

    principal: Principal
    csrf: str
    key: str


def open_session(database: Database, name: str) -> str:
    """Begin a session of an admin who has just proved who they are, and give its secret. Raises NotFound."""
    text = secrets.token_urlsafe(32)
    with database.keep() as session:
        gone = (tables.Session.created_at < session.now - LONGEST_S, tables.Session.seen_at < session.now - IDLE_S)
        session.execute(delete(tables.Session).where(or_(*gone)))
        row = tables.Session(sha256=_digest(text), admin_id=admin_of(session, name).id, csrf=secrets.token_urlsafe(32))
        row.created_at = row.seen_at = session.now
        session.add(row)
    return text


def find_session(database: Database, text: str, now: float) -> SignedIn:
    """Give whose session a secret is. Raises Refused, with the status 401, for one that is not known or over."""
    key = _digest(text)
    with database.read() as session:
        row = session.get(tables.Session, key)
        owner = session.get(tables.Admin, row.admin_id) if row is not None else None
        if row is None or owner is None or now >= min(row.created_at + LONGEST_S, row.seen_at + IDLE_S):
            raise Refused("authentication required", 401)
        name, csrf, seen_at = owner.name, row.csrf, row.seen_at
    if now - seen_at >= _SEEN_EVERY_S:
        with contextlib.suppress(DatabaseFault), database.keep() as session:  # who only looks need not change anything
            kept = session.get(tables.Session, key)
            if kept is not None:
                kept.seen_at = now
    return SignedIn(principal(database, name), csrf, key)


def close_session(database: Database, text: str) -> None:
    """End a session, where there is one."""
    with database.keep() as session:
        session.execute(delete(tables.Session).where(tables.Session.sha256 == _digest(text)))


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()

"""A delivery setting as it stands in the database, and what is written of it. In: sessions. Out: records.

Source: sections A2, A5 and B2 of the specification of delivery IPs. Must not know who may change what.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from hslpy.egress.accounts.scopes import Target, key_of
from hslpy.egress.rules.book import PRIMARY, Level
from hslpy.egress.rules.names import Refused
from hslpy.egress.store import tables
from hslpy.egress.store.database import Change
from hslpy.records import record

SCOPE = ("level", "admin", "domain", "username", "identity")
"""The fields that say whom a setting is for."""
DISABLED = "disabled"


@record
class Value:
    """What a setting says, without whom it is for. Addresses are canonical, in order."""

    ipv4: tuple[str, ...] = ()
    ipv6: tuple[str, ...] = ()
    ipv4_disabled: bool = False
    strict: bool = False

    @property
    def text(self) -> str:
        """The value as the API prints it: IPv4 first, the primary address's token for a family without any."""
        ipv4 = (DISABLED,) if self.ipv4_disabled else self.ipv4 or (PRIMARY[4],)
        return ";".join((*ipv4, *(self.ipv6 or (PRIMARY[6],))))


@record
class Row:
    """A setting as it stands in the database, with the names of what it is for. `version` counts its changes."""

    id: int
    level: Level
    admin: str
    domain: str
    username: str
    identity: str
    hostname: str
    ipv4: tuple[str, ...]
    ipv6: tuple[str, ...]
    ipv4_disabled: bool
    strict: bool
    version: int
    changed_at: float
    changed_by: str

    @property
    def names(self) -> dict[str, str]:
        """Whom it is for, by name of the field."""
        return {name: getattr(self, name) for name in SCOPE}

    @property
    def value(self) -> Value:
        return Value(self.ipv4, self.ipv6, self.ipv4_disabled, self.strict)

    @property
    def is_unset(self) -> bool:
        """Whether it is a node's default of which nothing was chosen."""
        return self.level == "default" and self.value == Value()

    @property
    def scope(self) -> str:
        """Whom it is for, in words."""
        return " ".join(part for part in self.names.values() if part)


Done = tuple[Row | None, Row | None]
"""A row before a change, None where there was none, and after it, None where there is none any more."""


@record
class Outcome:
    """What came of a change: rows, and warnings for people.

    `failed` has what could not be done of several, by row and reason. By the ticket `undo` it can be taken back; it is empty
    where nothing was changed.
    """

    done: tuple[Done, ...] = ()
    warnings: tuple[str, ...] = ()
    failed: tuple[tuple[int, str], ...] = ()
    undo: str = ""

    @property
    def lines(self) -> tuple[str, ...]:
        """The warnings as the API gives them."""
        return tuple(f"WARNING: {one}" for one in self.warnings)


class Conflict(Refused):
    """Somebody has changed the row meanwhile: `theirs` is what it is now, None where it is gone."""

    def __init__(self, message: str, theirs: Row | None) -> None:
        super().__init__(message, 409)
        self.theirs = theirs


@record
class Edit:
    """What is to be changed of a setting; None leaves it as it is. Addresses are a list, or text with `;` between."""

    ipv4: str | Sequence[str] | None = None
    ipv6: str | Sequence[str] | None = None
    ipv4_disabled: bool | None = None
    strict: bool | None = None


def get_row(session: Session, row_id: int) -> Row | None:
    found = session.execute(rows_query().where(tables.DeliverySetting.id == row_id)).first()
    return row_of(*found) if found is not None else None


def write(change: Change, found: tables.DeliverySetting, value: Value) -> tuple[Row | None, Row]:
    """Write what a row says; a new one has no version yet. Give it as it was and as it is."""
    before = known(change, found) if found.version else None
    if before is not None and value == before.value:
        return before, before
    found.ipv4, found.ipv6, found.strict = list(value.ipv4), list(value.ipv6), value.strict
    found.ipv4_disabled, found.version = value.ipv4_disabled, found.version + 1
    found.changed_at, found.changed_by = change.now, change.actor.name
    change.add(found)
    change.flush()
    change.execute(delete(tables.SettingAddress).where(tables.SettingAddress.setting_id == found.id))
    chosen = dict.fromkeys(one for one in (*value.ipv4, *value.ipv6) if one not in PRIMARY.values())
    change.add_all(tables.SettingAddress(setting_id=found.id, address=one) for one in chosen)
    change.flush()
    return before, known(change, found)


def find(session: Session, target: Target, node: tables.Node) -> tables.DeliverySetting | None:
    """Give the row of a scope on a node."""
    mine = (tables.DeliverySetting.scope == key_of(target), tables.DeliverySetting.node_id == node.id)
    return session.scalars(select(tables.DeliverySetting).where(*mine)).one_or_none()


def known(session: Session, found: tables.DeliverySetting) -> Row:
    """Give the record of a row."""
    admin = session.get(tables.Admin, found.admin_id) if found.admin_id is not None else None
    domain = session.get(tables.Domain, found.domain_id) if found.domain_id is not None else None
    node = session.get_one(tables.Node, found.node_id)
    return row_of(found, admin.name if admin else None, domain.name if domain else None, node.name)


def row_of(one: tables.DeliverySetting, admin: str | None, domain: str | None, node: str) -> Row:
    """Give the record of a row and the names of its admin, domain and node."""
    return Row(
        one.id,
        one.level,  # type: ignore[arg-type]
        admin or "",
        domain or "",
        one.username,
        one.identity,
        node,
        tuple(one.ipv4),
        tuple(one.ipv6),
        one.ipv4_disabled,
        one.strict,
        one.version,
        one.changed_at,
        one.changed_by,
    )


def rows_query() -> Any:
    """Give the query for rows with the names of their admin, domain and node, by node."""
    return (
        select(tables.DeliverySetting, tables.Admin.name, tables.Domain.name, tables.Node.name)
        .outerjoin(tables.Admin, tables.DeliverySetting.admin_id == tables.Admin.id)
        .outerjoin(tables.Domain, tables.DeliverySetting.domain_id == tables.Domain.id)
        .join(tables.Node, tables.DeliverySetting.node_id == tables.Node.id)
        .order_by(tables.Node.id, tables.DeliverySetting.id)
    )

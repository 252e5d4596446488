"""How the delivery IPs are, and what of it wants an operator today. In: a database. Out: records, the worst first.

What was found out is read from where it is kept; nothing is asked of anybody. Must not know how it is shown.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

from sqlalchemy import select
from sqlalchemy.orm import Session

from hslpy.egress import block_lists, checkup, directory, listings, node_addresses, tables, warming
from hslpy.egress.admins import count, some
from hslpy.egress.database import Database
from hslpy.egress.dnsbl import COUNTING
from hslpy.egress.inventory import REPORT_S
from hslpy.records import record

State = Literal["suspended", "gone", "listed", "critical", "paused", "warming", "unknown", "clean"]
STATES: Mapping[State, str] = {
    "suspended": "Suspended",
    "gone": "No longer on its server",
    "listed": "Listed",
    "critical": "Critical finding",
    "paused": "Warm-up paused",
    "warming": "Warming up",
    "unknown": "Not checked",
    "clean": "Clean",
}
"""The states of an address, the worst first, in words."""
SILENT_S = 2 * REPORT_S
"""A node that has missed two reports is silent."""


@record
class Health:
    """An address of a node with the worst that is known of it, and why. `used`: it stands in a setting, or is a primary."""

    node: str
    address: str
    state: State
    why: str
    used: bool


@record
class Silence:
    """A node that has not reported of late; `since` None: it never did."""

    node: str
    since: float | None


@record
class Locked:
    """An outgoing user that may not send, or a whole domain, of which the username is empty then."""

    domain: str
    username: str
    reason: str


def of_addresses(database: Database, now: float) -> Sequence[Health]:
    """Give each address that mail may leave from, the worst first."""
    with database.read() as session:
        suspended = _suspensions(session, now)
        findings = {(one.node, one.address): one for one in checkup.kept(session) if one.status == "critical"}
        lists = {one.id: one.name for one in session.scalars(select(tables.Dnsbl))}
        listed = {row.address.address: _listed(row, lists) for row in listings.rows(session)}
        warmups = {one.address: one for one in warming.rows(session)}
    found = []
    for node in directory.list_nodes(database):
        for one in node_addresses.addresses_of(database, node.name, now):
            if not one.can_send or not (one.present or one.used):
                continue
            row = warmups.get(one.public_address or one.address)
            state: State = "clean"
            why = ""
            key = (one.address, node.name)
            if key in suspended or (one.address, "") in suspended:
                state, why = "suspended", suspended.get(key) or suspended[one.address, ""]
            elif one.used and not one.present and node.reported_at is not None:
                state, why = "gone", "It is set for delivery, but the server does not have it"
            elif one.reputation == "listed":
                state, why = "listed", listed.get(one.address, "")
            elif one.status == "critical" and (one.used or one.is_primary):
                critical = [each for each in findings[node.name, one.address].findings if each.outcome == "critical"]
                more = f", and {count(len(critical) - 1, 'other finding')}" if len(critical) > 1 else ""
                state, why = "critical", f"{critical[0].text.rstrip('.')}{more}." if critical else ""
            elif row is not None and row.paused:
                state, why = "paused", row.paused_reason
            elif row is not None and row.state in ("warming", "checking", "new"):
                state, why = "warming", ""
            elif one.reputation not in ("clean", "informational") and one.status == "unknown":
                state = "unknown"
            found.append(Health(node.name, one.address, state, why, one.used or one.is_primary))
    order = list(STATES)
    return sorted(found, key=lambda one: order.index(one.state))


def counts(healths: Sequence[Health]) -> Mapping[State, int]:
    """Give how many addresses are in each state there is, the worst first."""
    return {state: number for state in STATES if (number := sum(one.state == state for one in healths))}


def silent(database: Database, now: float) -> Sequence[Silence]:
    """Give the nodes that have not reported their addresses for two hours, or never."""
    nodes = directory.list_nodes(database)
    return [
        Silence(one.name, one.reported_at) for one in nodes if one.reported_at is None or now - one.reported_at >= SILENT_S
    ]


def locked(database: Database, *, admins: frozenset[str] | None = None) -> Sequence[Locked]:
    """Give who may not send; with `admins`, those of these admins."""
    domains = [one for one in directory.list_domains(database, admins=admins) if one.locked]
    users = [one for one in directory.list_users(database, admins=admins) if one.locked]
    return [
        *(Locked(one.name, "", "the domain is locked") for one in domains),
        *(Locked(one.domain, one.username, one.locked_reason) for one in users),
    ]


def unusable_lists(database: Database) -> Sequence[str]:
    """Give the names of the block lists that are asked and refuse, or do not answer."""
    with database.read() as session:
        rows = block_lists.lists(session)
    return [one.name for one in rows if one.enabled and one.status in ("refusing", "not answering")]


def _suspensions(session: Session, now: float) -> Mapping[tuple[str, str], str]:
    rows = session.scalars(select(tables.Suspension))
    return {(one.address, one.node): one.reason for one in rows if one.until is None or one.until > now}


def _listed(row: listings.Row, names: Mapping[int, str]) -> str:
    found = [names[id] for id, cell in row.cells.items() if cell.status == "listed" and cell.severity in COUNTING]
    return f"on {count(len(found), 'list')}: {some(sorted(found))}" if found else ""

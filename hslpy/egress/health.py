"""How the delivery IPs are, and what of it wants an operator today. In: a database. Out: records, the worst first.

What was found out is read from where it is kept; nothing is asked of anybody. Must not know how it is shown.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Literal

from sqlalchemy import select
from sqlalchemy.orm import Session

from hslpy.egress.accounts import directory
from hslpy.egress.accounts.admins import count, some
from hslpy.egress.accounts.nodes import list_nodes
from hslpy.egress.addresses.inventory import SILENT_S
from hslpy.egress.reputation import block_lists
from hslpy.egress.rules.book import PRIMARY
from hslpy.egress.rules.dnsbl import COUNTING
from hslpy.egress.rules.names import fault_of_source
from hslpy.egress.store import tables
from hslpy.egress.store.database import Database
from hslpy.egress.warm_up import warming
from hslpy.records import record

State = Literal["suspended", "gone", "listed", "critical", "paused", "warming", "unready", "unknown", "clean"]
STATES: Mapping[State, str] = {
    "suspended": "Suspended",
    "gone": "Not on its server",
    "listed": "Listed",
    "critical": "Critical finding",
    "paused": "Warm-up paused",
    "warming": "Warming up",
    "unready": "Not in use, critical finding",
    "unknown": "Not checked",
    "clean": "Clean",
}
"""The states of an address, the worst first, in words."""


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
    """Give each address that mail may leave from, the worst first. 500 addresses on 20 lists take some 50 ms."""
    with database.read() as session:
        known = _known(session, now)
        nodes = {one.id: one for one in session.scalars(select(tables.Node).order_by(tables.Node.id))}
        found = []
        for node in nodes.values():
            rows = {
                one.address: one for one in session.scalars(select(tables.Address).where(tables.Address.node_id == node.id))
            }
            used = known.used.get(node.id, set())
            for address in sorted({*rows, *used}):
                row = rows.get(address)
                present = row is not None and row.present
                if fault_of_source(address) is not None or not (present or address in used):
                    continue
                is_used = address in used or address in (node.primary_ipv4, node.primary_ipv6)
                public = (row.public_address if row is not None else "") or address
                is_gone = address in used and not present and node.reported_at is not None
                state, why = _judged(known, node, address, public, is_used, is_gone)
                found.append(Health(node.name, address, state, why, is_used))
    order = list(STATES)
    return sorted(found, key=lambda one: order.index(one.state))


@record
class _Known:
    """What is known of addresses: `used` by the id of their node; what is listed and clean by the public address."""

    used: Mapping[int, set[str]]
    suspended: Mapping[tuple[str, str], str]
    checked: Mapping[tuple[int, str], tables.Checkup]
    listed: Mapping[str, Sequence[str]]
    clean: Collection[str]
    warmups: Mapping[str, warming.Row]


def _known(session: Session, now: float) -> _Known:
    setting, chosen, listing, dnsbl = tables.DeliverySetting, tables.SettingAddress, tables.Listing, tables.Dnsbl
    used: dict[int, set[str]] = {}
    mine = select(setting.node_id, chosen.address).join(chosen, chosen.setting_id == setting.id).distinct()
    for node_id, address in session.execute(mine):
        if address not in PRIMARY.values():
            used.setdefault(node_id, set()).add(address)
    listed: dict[str, list[str]] = {}
    of_lists = select(listing.address, dnsbl.name).join(dnsbl, dnsbl.id == listing.dnsbl_id)
    of_lists = of_lists.where(dnsbl.enabled.is_(True), dnsbl.hidden.is_(False))
    counting = of_lists.where(listing.status == "listed", listing.severity.in_(COUNTING)).order_by(dnsbl.name)
    for address, name in session.execute(counting):
        listed.setdefault(address, []).append(name)
    asked = of_lists.where(listing.status.in_(("clean", "listed"))).with_only_columns(listing.address).distinct()
    checked = {(one.node_id, one.address): one for one in session.scalars(select(tables.Checkup))}
    warmups = {one.address: one for one in warming.rows(session)}
    return _Known(used, _suspensions(session, now), checked, listed, set(session.scalars(asked)), warmups)


def _judged(known: _Known, node: tables.Node, address: str, public: str, is_used: bool, is_gone: bool) -> tuple[State, str]:
    """Give the worst that is known of an address, and why."""
    suspended = known.suspended.get((address, node.name)) or known.suspended.get((address, ""))
    checkup, warmup, lists = known.checked.get((node.id, address)), known.warmups.get(public), known.listed.get(public, ())
    if suspended is not None:
        return "suspended", suspended
    if is_gone:
        return "gone", "It is set for delivery, but the server does not have it."
    if lists:
        return "listed", f"on {count(len(lists), 'list')}: {some(lists)}"
    if checkup is not None and checkup.status == "critical" and is_used:
        texts = [str(one["text"]).rstrip(".") for one in checkup.findings if one["outcome"] == "critical"]
        more = f", and {count(len(texts) - 1, 'other finding')}" if len(texts) > 1 else ""
        return "critical", f"{texts[0]}{more}." if texts else ""
    if warmup is not None and warmup.paused:
        return "paused", warmup.paused_reason
    if warmup is not None and warmup.state in ("warming", "checking", "new"):
        return "warming", ""
    if checkup is not None and checkup.status == "critical":
        return "unready", ""
    return ("clean" if public in known.clean else "unknown"), ""


def counts(healths: Sequence[Health]) -> Mapping[State, int]:
    """Give how many addresses are in each state there is, the worst first."""
    return {state: number for state in STATES if (number := sum(one.state == state for one in healths))}


def silent(database: Database, now: float) -> Sequence[Silence]:
    """Give the nodes that have not reported their addresses for two hours, or never."""
    nodes = list_nodes(database)
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

"""What nodes reported of their addresses, as it is kept. In: a `Report`, requests. Out: rows of `nodes` and `addresses`.

Must not know how a report comes about. Source: B8 of the specification of delivery IPs.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from hslpy.egress.addresses.interfaces import NO_PRIMARY, Report
from hslpy.egress.rules.book import PRIMARY, Family, comparable_domain
from hslpy.egress.rules.names import NotFound, Refused, canonical_address, fault_of_source, is_private
from hslpy.egress.rules.sources import family_of
from hslpy.egress.store.database import Change
from hslpy.egress.store.tables import Address, Checkup, DeliverySetting, Node, SettingAddress, Suspension

BIND = "bind"
"""Who suspends an address that could not be bound."""
REPORT_S = 3600.0
"""How often a node reports."""
SILENT_S = 2 * REPORT_S
"""A node that has missed two reports is silent."""


def keep(session: Change, report: Report) -> Sequence[str]:
    """Write a report into `nodes` and `addresses`; a primary address that was entered by hand stays.

    Give the addresses that are gone since the last report though mail is to leave from them.
    Raises NotFound for a node that is not there.
    """
    node, now = node_of(session, report.node), session.now
    former, primary = dict(node.former), _steady(report, node.found)
    for family in PRIMARY:
        column, new = f"primary_ipv{family}", primary.get(family, "")
        old = getattr(node, column) or ""
        is_entered = old and old != node.found.get(str(family), "")
        if old != new and not is_entered:
            if old and new:
                former[str(family)] = [old, now]
            setattr(node, column, new)
            session.execute(delete(Checkup).where(Checkup.node_id == node.id))  # what was found went by the former one
            session.moved = True
    node.former, node.found = former, {str(family): one for family, one in primary.items()}
    node.nonlocal_bind, node.reported_at = list(report.nonlocal_bind), now
    known = {one.address: one for one in session.scalars(select(Address).where(Address.node_id == node.id))}
    back = []
    for local in report.addresses:
        row = known.pop(local.address, None)
        if row is None:
            row = Address(node_id=node.id, address=local.address, flags=[], present=False, first_seen_at=now)
            session.add(row)
        if not row.present:
            back.append(row.address)
        session.moved |= not row.present or row.flags != list(local.flags)
        row.interface, row.flags, row.present, row.seen_at = local.interface, list(local.flags), True, now
    lifted = (Suspension.address.in_(back), Suspension.node == node.name, Suspension.by == BIND)
    session.execute(delete(Suspension).where(*lifted))
    gone = {row.address for row in known.values() if row.present}
    for row in known.values():
        row.present = False
    session.moved |= bool(gone)
    setting = SettingAddress
    wanted = select(setting.address).join(DeliverySetting, DeliverySetting.id == setting.setting_id)
    return sorted(session.scalars(wanted.where(DeliverySetting.node_id == node.id, setting.address.in_(gone)).distinct()))


def _steady(report: Report, found: Mapping[str, str]) -> Mapping[Family, str]:
    """Give the primary addresses with that of IPv6 as it was `found` before, where it is still fit on the same interface.

    Of several addresses with one prefix the kernel takes the newest (measured, Linux 6): one that was only added would be
    the primary from then on.
    """
    places = {one.address: one.interface for one in report.addresses if not NO_PRIMARY.intersection(one.flags)}
    old, new = found.get("6", ""), report.primary.get(6, "")
    return {**report.primary, 6: old} if old in places and places[old] == places.get(new) else report.primary


def cannot_bind(session: Change, node: str, address: str, until: float, reason: str) -> None:
    """Keep that an address could not be bound on a node, until a time (Unix seconds); suspensions by others stay.

    Those of the past are forgotten. The node is asked to look at its addresses again, and tells of one that is gone.
    """
    for old in session.scalars(select(Suspension).where(Suspension.by == BIND)).all():
        if old.until is not None and old.until <= session.now:
            session.delete(old)
    session.flush()
    found = session.get(Suspension, (address, node))
    if found is None or (found.by != BIND and found.until is not None and found.until < until):
        session.merge(Suspension(address=address, node=node, until=until, reason=_told(reason), by=BIND))
    elif found.by == BIND:
        found.until, found.reason = until, _told(reason)
    for row in session.scalars(select(Node).where(Node.name == node)):
        row.rescan_asked_at = session.now
    session.moved = True


def _told(reason: str) -> str:
    return f"not on this server: {reason}"[:255]


def interesting(session: Session, node: str) -> set[str]:
    """Give what a node should look for though no interface lists it: addresses known before, or set for it.

    Raises NotFound.
    """
    row = node_of(session, node)
    found = set(session.scalars(select(Address.address).where(Address.node_id == row.id)))
    for setting in session.scalars(select(DeliverySetting).where(DeliverySetting.node_id == row.id)):
        found.update(setting.ipv4, setting.ipv6)
    return found - set(PRIMARY.values())


def elsewhere(session: Session, node: str, addresses: Iterable[str]) -> Sequence[tuple[str, str]]:
    """Give which of these addresses are on other nodes than this one: `(address, node)`."""
    query = select(Address.address, Node.name).join(Node, Address.node_id == Node.id)
    there = (Address.address.in_(list(addresses)), Address.present.is_(True), Node.name != node)
    return [(address, name) for address, name in session.execute(query.where(*there).order_by(Address.address, Node.name))]


def is_due(reported_at: float | None, asked_at: float | None, now: float) -> bool:
    """Say whether a node should report: it did not for an hour, or somebody asked since."""
    return reported_at is None or now - reported_at >= REPORT_S or (asked_at is not None and asked_at > reported_at)


def ask_rescan(change: Change, nodes: Iterable[str] = ()) -> None:
    """Make nodes report again at once, all of them where none is named. Raises NotFound."""
    rows = [node_of(change, name) for name in nodes] or list(change.scalars(select(Node)))
    for row in rows:
        row.rescan_asked_at = change.now


def set_public_address(change: Change, node: str, address: str, public: str) -> None:
    """Say what a private address of a node is translated to; empty: nothing is. Raises Refused or NotFound."""
    address, public = canonical_address(address), canonical_address(public) if public.strip() else ""
    if public and (is_private(public) or fault_of_source(public) is not None or family_of(public) != family_of(address)):
        raise Refused(f"'{public}' is no public address of the family of '{address}'")
    owner = node_of(change, node)
    row = change.scalars(select(Address).where(Address.node_id == owner.id, Address.address == address)).one_or_none()
    if row is None:
        row = Address(
            node_id=owner.id, address=address, flags=[], present=False, first_seen_at=change.now, seen_at=change.now
        )
        change.add(row)
    row.public_address = public


def only_node(session: Session) -> Node:
    """Give the row of the only node. Raises Refused where there are several, or none."""
    rows = session.scalars(select(Node).order_by(Node.id)).all()
    if len(rows) != 1:
        raise Refused(f"choose a server: {', '.join(row.name for row in rows)}" if rows else "there is no server yet")
    return rows[0]


def node_of(session: Session, name: str) -> Node:
    """Give a node's row; its name is compared without case or a trailing dot. Raises NotFound."""
    rows = {row.name: row for row in session.scalars(select(Node).order_by(Node.id))}
    row = rows.get(comparable_domain(name.strip()))
    if row is None:
        raise NotFound(f"'{name}' is not a filtering server; servers: {', '.join(rows)}")
    return row

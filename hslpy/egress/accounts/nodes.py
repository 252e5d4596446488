"""The servers that mail leaves from: added, changed, locked, removed. In: names. Out: records.

Each function is one change or one question. Must not know of HTTP or SMTP.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Sequence

from sqlalchemy import delete, select, update
from sqlalchemy.orm import Session

from hslpy.egress.accounts.admins import Removed, count
from hslpy.egress.accounts.locks import lock, reason_of, unlock
from hslpy.egress.addresses.inventory import node_of
from hslpy.egress.rules.book import DEFAULT
from hslpy.egress.rules.names import Refused, address_of_host, fault_of_host
from hslpy.egress.store import tables
from hslpy.egress.store.database import Actor, Change, Database
from hslpy.records import record


@record
class Node:
    """A server that mail leaves from, with the addresses it reported. `revision` is the change it has taken in.

    A locked one takes mail and delivers none.
    """

    name: str
    primary_ipv4: str
    primary_ipv6: str
    ipv6_enabled: bool
    addresses: tuple[str, ...]
    reported_at: float | None
    revision: int
    locked: bool
    locked_reason: str
    locked_at: float | None
    locked_by: str


def list_nodes(database: Database) -> Sequence[Node]:
    """Give the nodes in the order in which they were added."""
    with database.read() as session:
        return [_node(session, one) for one in session.scalars(select(tables.Node).order_by(tables.Node.id))]


def has_applied(database: Database, name: str, revision: int) -> None:
    """Note that a node goes by the settings as of a revision."""
    with database.keep() as session:
        node = tables.Node
        session.execute(update(node).where(node.name == name, node.revision < revision).values(revision=revision))


def add_node(
    database: Database,
    actor: Actor,
    name: str,
    *,
    primary_ipv4: str = "",
    primary_ipv6: str = "",
    ipv6_enabled: bool = True,
    addresses: Iterable[str] = (),
) -> Node:
    """Add a server, with the addresses an operator knows it to have. Raises Refused."""
    kept = _host(name)
    told = {"name": kept, "primary_ipv4": primary_ipv4, "primary_ipv6": primary_ipv6, "ipv6_enabled": ipv6_enabled}
    with database.change(actor, "node add", told) as change:
        if change.scalar(select(tables.Node.id).where(tables.Node.name == kept)):
            raise Refused(f"there is a node '{kept}' already", 409)
        added = tables.Node(name=kept, ipv6_enabled=ipv6_enabled)
        change.add(added)
        change.flush()
        change.add(
            tables.DeliverySetting(
                scope=DEFAULT,
                level=DEFAULT,
                node_id=added.id,
                ipv4=[],
                ipv6=[],
                changed_at=change.now,
                changed_by=actor.name,
            )
        )
        _set_primaries(change, added, primary_ipv4, primary_ipv6)
        for address in addresses:
            _add_address(change, added, address_of_host(address))
        change.flush()
        return _node(change, added)


def ensure_node(database: Database, actor: Actor, name: str) -> None:
    """Add a node that is not there yet: each server does so when it starts."""
    with database.read() as session:
        if session.scalar(select(tables.Node.id).where(tables.Node.name == _host(name))):
            return
    try:
        add_node(database, actor, name)
    except Refused as error:
        if error.status != 409:  # another of its processes was first
            raise


def set_node(
    database: Database,
    actor: Actor,
    name: str,
    *,
    new_name: str | None = None,
    primary_ipv4: str | None = None,
    primary_ipv6: str | None = None,
    ipv6_enabled: bool | None = None,
    addresses: Iterable[str] = (),
) -> Node:
    """Change what is given; `addresses` are added to those it has. Raises Refused, NotFound."""
    told = {"new_name": new_name, "primary_ipv4": primary_ipv4, "primary_ipv6": primary_ipv6, "ipv6_enabled": ipv6_enabled}
    arguments = {"name": name, **{key: value for key, value in told.items() if value is not None}}
    with database.change(actor, "node set", arguments) as change:
        found = node_of(change, name)
        if new_name is not None and (kept := _host(new_name)) != found.name:
            _refuse_locked_node(found)
            if change.scalar(select(tables.Node.id).where(tables.Node.name == kept)):
                raise Refused(f"there is a node '{kept}' already", 409)
            change.execute(update(tables.Suspension).where(tables.Suspension.node == found.name).values(node=kept))
            found.name = kept
        found.ipv6_enabled = ipv6_enabled if ipv6_enabled is not None else found.ipv6_enabled
        _set_primaries(change, found, primary_ipv4, primary_ipv6)
        for address in addresses:
            _add_address(change, found, address_of_host(address))
        change.flush()
        return _node(change, found)


def lock_node(database: Database, actor: Actor, name: str, reason: str = "") -> Node:
    """Keep a node from delivering: its mail stays in the queue. One that is locked is as in `lock_user`. Raises NotFound."""
    reason = reason_of(reason)
    with database.change(actor, "node lock", {"name": name, "reason": reason}) as change:
        found = node_of(change, name)
        lock(change, found, reason)
        return _node(change, found)


def unlock_node(database: Database, actor: Actor, name: str) -> Node:
    with database.change(actor, "node unlock", {"name": name}) as change:
        found = node_of(change, name)
        unlock(found)
        return _node(change, found)


def remove_node(database: Database, actor: Actor, name: str, *, only_look: bool = False) -> Removed:
    """Remove a node with its addresses and delivery IPs. `only_look` tells what would be."""
    with database.change_or_look(actor, "node remove", {"name": name}, only_look) as change:
        found = node_of(change, name)
        mine = tables.DeliverySetting.node_id == found.id
        settings = select(tables.DeliverySetting).where(mine)
        chosen = sum(
            one.level != DEFAULT or bool(one.ipv4 or one.ipv6 or one.ipv4_disabled) for one in change.scalars(settings)
        )
        also = [count(chosen, "delivery IP setting")] if chosen else []
        removed = Removed(f"node '{found.name}'", tuple(also))
        _refuse_locked_node(found)
        if isinstance(change, Change):
            change.execute(delete(tables.DeliverySetting).where(mine))
            change.execute(delete(tables.Suspension).where(tables.Suspension.node == found.name))
            change.execute(delete(tables.NodeQueue).where(tables.NodeQueue.node == found.name))
            change.delete(found)
            change.result = removed.text
        return removed


def _refuse_locked_node(found: tables.Node) -> None:
    """Its mail would be delivered by a node of another name, or by one that the server there adds anew."""
    if found.locked:
        raise Refused(f"{found.name} is locked, and its mail is held: unlock it first", 409)


def _node(session: Session, one: tables.Node) -> Node:
    query = select(tables.Address.address).where(tables.Address.node_id == one.id, tables.Address.present.is_(True))
    addresses = tuple(session.scalars(query.order_by(tables.Address.id)))
    return Node(
        one.name, one.primary_ipv4, one.primary_ipv6, one.ipv6_enabled, addresses, one.reported_at, one.revision,
        one.locked, one.locked_reason, one.locked_at, one.locked_by,
    )  # fmt: skip


def _host(text: str) -> str:
    name = text.strip().lower().removesuffix(".")
    fault = fault_of_host(name, fewest_labels=1)  # of a machine that was given no domain: its checks tell what that means
    if fault is not None:
        raise Refused(f"'{text.strip()}' is not a host name: {fault}")
    return name


def _set_primaries(change: Change, node: tables.Node, ipv4: str | None, ipv6: str | None) -> None:
    for text, name, version in ((ipv4, "primary_ipv4", 4), (ipv6, "primary_ipv6", 6)):
        if text is None:
            continue
        address = address_of_host(text) if text.strip() else ""
        if address and ipaddress.ip_address(address).version != version:
            raise Refused(f"'{text.strip()}' is not an IPv{version} address")
        if address != (getattr(node, name) or ""):
            change.execute(delete(tables.Checkup).where(tables.Checkup.node_id == node.id))  # it went by the former
        setattr(node, name, address)
        if address:
            _add_address(change, node, address)


def _add_address(change: Change, node: tables.Node, address: str) -> None:
    mine = (tables.Address.node_id == node.id, tables.Address.address == address)
    found = change.scalars(select(tables.Address).where(*mine)).one_or_none()
    if found is None:
        found = tables.Address(node_id=node.id, address=address, flags=[], first_seen_at=change.now)
        change.add(found)
    found.present, found.seen_at = True, change.now

"""Addresses not used for now: by hand, by the rule on listings, or as they could not be bound. In: orders. Out: rows.

All but the last are settings, and audited. What is lifted though lists have it keeps a row by `LIFTED`, which is not in
force and says which lists those were. Source: section E of the specification of delivery IPs.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Literal

from sqlalchemy import select
from sqlalchemy.orm import Session

from hslpy.egress.accounts import site
from hslpy.egress.accounts.admins import some
from hslpy.egress.addresses.inventory import BIND, node_of
from hslpy.egress.reputation.listings import own_addresses
from hslpy.egress.rules.book import PRIMARY
from hslpy.egress.rules.dnsbl import COUNTING
from hslpy.egress.rules.names import NotFound, Refused, about, canonical_address
from hslpy.egress.store.database import Actor, Change, Database
from hslpy.egress.store.tables import Address, DeliverySetting, Dnsbl, Listing, Node, Suspension
from hslpy.records import record

Rule = Literal["never", "critical", "counting"]
BY = "reputation"  # who suspends by the rule
OPERATOR = "operator"
LIFTED = "lifted"
MOST_HOURS = 24 * 366
_SEVERITIES: Mapping[Rule, Collection[str]] = {"never": (), "critical": ("critical",), "counting": COUNTING}
_Where = tuple[str, str]


@record
class Suspended:
    """An address that is not used, on a node or, where that is empty, on all; `until` is in Unix seconds, None for no end.

    `by` is `operator`, `reputation` or `bind`. `if_lifted` says what holds it back still, empty where nothing does.
    """

    address: str
    node: str
    reason: str
    by: str
    until: float | None
    if_lifted: str


@record
class Lifted:
    """What was lifted, in words too; a `node` that is empty stands for all."""

    address: str
    nodes: tuple[str, ...]
    text: str


def suspensions(database: Database, now: float, address: str = "") -> Sequence[Suspended]:
    """Give the suspensions in force at `now`, Unix seconds; those of one address where it is named."""
    with database.read() as session:
        return _in_force(session, now, address)


def places(database: Database, address: str) -> Sequence[str]:
    """Give the nodes that have an address, or are to use it. Raises NotFound where there are none."""
    with database.read() as session:
        return _places(session, canonical_address(address))


def suspend(
    database: Database, actor: Actor, address: str, *, node: str = "", hours: float | None = None, reason: str = ""
) -> Suspended:
    """Send nothing from an address, on one node or all, for so many hours or until it is lifted; in place of what was.

    Raises Refused, or NotFound.
    """
    with about("address"):
        address = canonical_address(address)
    reason = " ".join(reason.split())
    with about("hours"):
        if hours is not None and not 0 < hours <= MOST_HOURS:
            raise Refused(f"hours are more than 0, and {MOST_HOURS:,} at most")
    with about("reason"):
        if len(reason) > 255 or not reason.isprintable():
            raise Refused("a reason has 255 characters at most, on one line")
    with database.change(actor, "suspend address", {"address": address, "node": node, "hours": hours}) as change:
        there = _places(change, address)
        with about("node"):
            node = node_of(change, node).name if node.strip() else ""
            if node and node not in there:
                raise Refused(f"{node} does not have {address}; {some(there)} has it")
        until = change.now + hours * 3600 if hours is not None else None
        told = reason or "by hand"
        change.merge(Suspension(address=address, node=node, until=until, reason=told, by=OPERATOR))
        change.note(node=node, reason=told)
    return Suspended(address, node, told, OPERATOR, until, "")


def lift(database: Database, actor: Actor, address: str, *, node: str | None = None) -> Lifted:
    """Let an address be used again: what was suspended for a node, empty for all of them; None: whatever there is.

    What lists have stays in use until a further list has it, or it was cleared and is listed anew. Raises Refused, NotFound.
    """
    with about("address"):
        address = canonical_address(address)
    with database.change(actor, "lift suspension", {"address": address}) as change:
        if node is not None and node.strip():
            node = node_of(change, node).name
        found = _in_force(change, change.now, address)
        wanted = [one for one in found if node is None or one.node == node]
        if not wanted:
            told = f" there, but on {some([one.node or 'all servers' for one in found])}" if found else ""
            raise NotFound(f"{address} is not suspended{told}")
        for one in wanted:
            change.delete(change.get(Suspension, (address, one.node)))
        change.flush()
        for where, listing in _listed(change, site.read(change).suspend_on_listing).items():
            if where[0] == address and (node is None or where[1] == node):
                values = {"until": change.now, "reason": _reason(listing), "by": LIFTED}
                change.merge(Suspension(address=address, node=where[1], **values))
        nodes = tuple(one.node for one in wanted)
        change.note(nodes=[one or "all" for one in nodes], was=[one.reason for one in wanted])
    more = " ".join(dict.fromkeys(one.if_lifted for one in wanted if one.if_lifted))
    return Lifted(address, nodes, f"{address} may be used again.{f' {more}' if more else ''}")


def _in_force(session: Session, now: float, address: str = "") -> list[Suspended]:
    rows = session.scalars(select(Suspension).order_by(Suspension.address, Suspension.node))
    rows_now = [one for one in rows if (not address or one.address == address) and (one.until is None or one.until > now)]
    listed = _listed(session, site.read(session).suspend_on_listing) if rows_now else {}

    def told(one: Suspension) -> str:
        names = next((listed[where] for where in ((one.address, one.node), (one.address, "")) if where in listed), None)
        if names is None and not one.node:
            names = next((names for (address, _), names in listed.items() if address == one.address), None)
        if names is not None:
            return f"It is still {_reason(names)}: it stays in use until a further list has it, or it is listed anew."
        return "It is left out again where it still cannot be bound." if one.by == BIND else ""

    return [Suspended(one.address, one.node, one.reason, one.by, one.until, told(one)) for one in rows_now]


def _places(session: Session, address: str) -> list[str]:
    found = {node for one in own_addresses(session) if one.address == address for node in one.nodes}
    primary = select(Node.name).where((Node.primary_ipv4 == address) | (Node.primary_ipv6 == address))
    found.update(session.scalars(primary))
    if not found or address in PRIMARY.values():
        raise NotFound(f"'{address}' is not a delivery IP of any server")
    return sorted(found)


# By the rule


@record
class Pool:
    """The addresses of one setting, of one family."""

    node: str
    addresses: frozenset[str]


def to_suspend(listed: Sequence[_Where], pools: Iterable[Pool], held: Collection[_Where], keep_last: bool) -> set[_Where]:
    """Give which of the listed addresses, `(address, node)` in order of need, are not to be used.

    A node that is empty stands for all. `held` are those that cannot be used for another reason. With `keep_last` one
    address of each pool stays in use however many are listed: mail would go to addresses meant for others.
    """
    chosen: set[_Where] = set()
    pools = list(pools)

    def out(address: str, node: str) -> bool:
        return any(one in chosen or one in held for one in ((address, node), (address, "")))

    for address, node in listed:
        its = [pool for pool in pools if address in pool.addresses and node in ("", pool.node)]
        last = any(all(other == address or out(other, pool.node) for other in pool.addresses) for pool in its)
        if not (keep_last and last):
            chosen.add((address, node))
    return chosen


def stays_lifted(lifted: str, reason: str) -> bool:
    """Say whether what was lifted with a reason stays so with another: no list has come to those there were."""
    return reason == lifted or set(_names_in(reason)) <= set(_names_in(lifted))


def settle(database: Database, rule: Rule, keep_last: bool, now: float) -> tuple[list[str], list[str]]:
    """Suspend addresses that are listed, and let those be used again that no longer are. Give those texts, by the rule.

    An address that is not on its node is none that a pool has left. What an operator has lifted stays in use.
    The first list has what was suspended and let go, the second the listed addresses that stay in use as the last of a pool.
    Suspensions by others are left alone.
    """
    with database.read() as session:
        listed = _listed(session, rule)
        rows = session.scalars(select(Suspension)).all()
        ours = {(one.address, one.node) for one in rows if one.by == BY}
        held = {(one.address, one.node) for one in rows if one.by != BY and (one.until is None or one.until > now)}
        lifted = {(one.address, one.node): one.reason for one in rows if one.by == LIFTED}
        over = {where for where in lifted if where not in listed}
        for where, reason in lifted.items():
            if where in listed and stays_lifted(reason, _reason(listed[where])):
                del listed[where]
        if not listed and not ours and not over:
            return [], []
        pools, absent = _pools(session)
    order = sorted(listed, key=lambda where: (where not in ours, listed[where][0] != "critical", where))
    wanted = to_suspend(order, pools, held | absent, keep_last)
    spared = [
        f"{address} stays in use: it is the last of its pool" for address, node in order if (address, node) not in wanted
    ]
    begun, ended = wanted - ours - held, ours - wanted
    if not begun and not ended:
        if over:
            with database.keep() as session:
                _remove(session, over, LIFTED)
        return [], spared
    with database.change(Actor(BY), "suspend listed") as change:
        _remove(change, over, LIFTED)
        _remove(change, ended, BY)
        for address, node in sorted(begun):
            change.merge(Suspension(address=address, node=node, until=None, reason=_reason(listed[address, node]), by=BY))
        change.note(suspended=[one for one, _ in sorted(begun)], released=[one for one, _ in sorted(ended)])
    told = [f"{address} is suspended: {_reason(listed[address, node])}" for address, node in sorted(begun)]
    return [*told, *(f"{address} may be used again" for address, _ in sorted(ended))], spared


def _remove(change: Change, places: Iterable[_Where], by: str) -> None:
    for where in sorted(places):
        row = change.get(Suspension, where)
        if row is not None and row.by == by:
            change.delete(row)
    change.flush()


def _pools(session: Session) -> tuple[list[Pool], set[_Where]]:
    """Give the pools of all settings, and which of their addresses are not on their node."""
    nodes = {node.id: node.name for node in session.scalars(select(Node))}
    pools = [
        Pool(nodes[node_id], frozenset(addresses) - set(PRIMARY.values()))
        for node_id, *both in session.execute(select(DeliverySetting.node_id, DeliverySetting.ipv4, DeliverySetting.ipv6))
        for addresses in both
        if addresses
    ]
    present = select(Address.address, Address.node_id).where(Address.present.is_(True))
    there = {(address, nodes[node_id]) for address, node_id in session.execute(present)}
    return pools, {(one, pool.node) for pool in pools for one in pool.addresses if (one, pool.node) not in there}


def _reason(listed: tuple[str, Sequence[str]]) -> str:
    return f"listed by {', '.join(listed[1])}"[:255]


def _names_in(reason: str) -> Sequence[str]:
    return reason.removeprefix("listed by ").split(", ")


def _listed(session: Session, rule: Rule) -> dict[_Where, tuple[str, list[str]]]:
    """Give the addresses that are listed as the rule has it, each with its worst severity and the lists' names."""
    if rule == "never":
        return {}
    found: dict[str, tuple[str, list[str]]] = {}
    for listing, name in session.execute(
        select(Listing, Dnsbl.name)
        .join(Dnsbl, Dnsbl.id == Listing.dnsbl_id)
        .where(Listing.listed_severity.in_(_SEVERITIES[rule]), Dnsbl.enabled.is_(True), Dnsbl.hidden.is_(False))
        .order_by(Dnsbl.name)
    ):
        before, names = found.get(listing.address, ("", []))
        found[listing.address] = (
            "critical" if "critical" in (before, listing.listed_severity) else "warning",
            [*names, name],
        )
    result: dict[_Where, tuple[str, list[str]]] = {}
    for own in own_addresses(session):
        if own.asked in found:
            for node in ("",) if own.asked == own.address else own.nodes:
                result[own.address, node] = found[own.asked]
    return result

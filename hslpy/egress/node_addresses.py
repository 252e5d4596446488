"""The addresses of a node with what is known of each: for choosing some. In: a node. Out: records.

Source: section B3 of the specification of delivery IPs. Must not know who chooses.
"""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import select

from hslpy.egress.addresses import helos
from hslpy.egress.addresses.inventory import node_of
from hslpy.egress.reputation import listings
from hslpy.egress.rules.book import PRIMARY
from hslpy.egress.rules.names import fault_of_source
from hslpy.egress.store import tables
from hslpy.egress.store.database import Database
from hslpy.records import record


@record
class NodeAddress:
    """An address that a node has, or that is set for it. `used`: it stands in a setting. Times are Unix seconds, or None.

    `status` is of its checks, `reputation` of block lists, `warmup` its state; each is `unknown` or `none` where there is
    nothing. `can_send` False: mail can never leave from it.
    """

    address: str
    interface: str
    flags: tuple[str, ...]
    public_address: str
    present: bool
    is_primary: bool
    used: bool
    can_send: bool
    ptr: str
    helo: str
    helo_origin: str
    status: str
    warmup: str
    reputation: str
    first_seen_at: float | None
    seen_at: float | None


def addresses_of(database: Database, node: str, now: float) -> Sequence[NodeAddress]:
    """Give a node's addresses, IPv4 first, its primary ones before the others. Raises NotFound."""
    with database.read() as session:
        owner = node_of(session, node)
        rows = {
            one.address: one for one in session.scalars(select(tables.Address).where(tables.Address.node_id == owner.id))
        }
        setting = tables.DeliverySetting
        mine = select(tables.SettingAddress.address).join(setting, tables.SettingAddress.setting_id == setting.id)
        used = set(session.scalars(mine.where(setting.node_id == owner.id))) - set(PRIMARY.values())
        checkups = select(tables.Checkup.address, tables.Checkup.status).where(tables.Checkup.node_id == owner.id)
        checked = dict(session.execute(checkups).all())
        states = dict(session.execute(select(tables.Warmup.address, tables.Warmup.state)).all())
        known = helos.load(session)
        primaries = (owner.primary_ipv4, owner.primary_ipv6)
        own = [one for one in listings.own_addresses(session) if owner.name in one.nodes]
        listed = {row.address.address: row for row in listings.rows(session, own)}
        found = []
        for address in {*rows, *used}:
            row, result = rows.get(address), listed.get(address)
            helo = known.of(address, now, node=owner.name)
            reverse = known.reverses.get(known.publics.get(address, address), helos.NEVER)
            found.append(
                NodeAddress(
                    address,
                    row.interface if row is not None else "",
                    tuple(row.flags) if row is not None else (),
                    row.public_address if row is not None else "",
                    row is not None and row.present,
                    address in primaries,
                    address in used,
                    fault_of_source(address) is None,
                    reverse.confirmed or next(iter(reverse.names), ""),
                    helo.helo,
                    helo.origin,
                    checked.get(address, "unknown"),
                    states.get(row.public_address or address if row is not None else address, "none"),
                    result.worst if result is not None else "unknown",
                    row.first_seen_at if row is not None else None,
                    row.seen_at if row is not None else None,
                )
            )
    return sorted(found, key=lambda one: (":" in one.address, not one.is_primary, one.address))

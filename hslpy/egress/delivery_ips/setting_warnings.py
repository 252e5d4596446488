"""What may keep mail from leaving by a setting, for people. In: a value and a node. Out: warnings, or a refusal.

From what is known, without asking DNS. Source: sections A3 and B3 of the specification of delivery IPs.
"""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import select
from sqlalchemy.orm import Session

from hslpy.egress.accounts.admins import some
from hslpy.egress.addresses.interfaces import UNUSABLE
from hslpy.egress.delivery_ips.setting_rows import Value
from hslpy.egress.rules.book import PRIMARY
from hslpy.egress.rules.names import Refused, about, is_private
from hslpy.egress.store import tables


def warnings_of(session: Session, node: tables.Node, value: Value) -> Sequence[str]:
    """Say what may keep mail from leaving, for people: from what is known, without asking DNS. Source: A3 point 5."""
    out = []
    owners: dict[str, set[str]] = {}
    chosen = [one for one in (*value.ipv4, *value.ipv6) if one not in PRIMARY.values()]
    for address, name in session.execute(
        select(tables.Address.address, tables.Node.name)
        .join(tables.Node, tables.Address.node_id == tables.Node.id)
        .where(tables.Address.address.in_(chosen), tables.Address.present.is_(True))
    ):
        owners.setdefault(address, set()).add(name)
    for row in session.scalars(
        select(tables.Node).where(tables.Node.primary_ipv4.in_(chosen) | tables.Node.primary_ipv6.in_(chosen))
    ):
        for address in {row.primary_ipv4, row.primary_ipv6} & set(chosen):
            owners.setdefault(address, set()).add(row.name)
    elsewhere = session.execute(
        select(tables.SettingAddress.address, tables.Node.name)
        .join(tables.DeliverySetting, tables.SettingAddress.setting_id == tables.DeliverySetting.id)
        .join(tables.Node, tables.DeliverySetting.node_id == tables.Node.id)
        .where(tables.SettingAddress.address.in_(chosen), tables.Node.id != node.id)
        .distinct()
    )
    assigned: dict[str, set[str]] = {}
    for address, name in elsewhere:
        assigned.setdefault(address, set()).add(name)
    cached = {
        one.address: one.findings
        for one in session.scalars(
            select(tables.Checkup).where(tables.Checkup.node_id == node.id, tables.Checkup.address.in_(chosen))
        )
    }
    for address in chosen:
        found = owners.get(address, set())
        if node.name not in found:
            out.append(f"{address} is not an address of {node.name}; mail cannot leave from it until it is added")
        others = sorted((found | assigned.get(address, set())) - {node.name})
        if others:
            out.append(f"{address} is assigned to {some(others)}")
        if is_private(address):
            out.append(f"{address} is a private address; mail leaves from it only where it is translated (NAT)")
        out += [str(one["text"]) for one in cached.get(address, ()) if one.get("outcome") in ("warning", "critical")]
    if value.ipv6 and not node.ipv6_enabled:
        out.append(f"IPv6 is switched off on {node.name}; its IPv6 addresses are not used")
    if value.ipv4_disabled and not has_ipv6(session, node):
        out.append(f"delivery over IPv4 is disabled and {node.name} has no IPv6 address that works; no mail can leave")
    return list(dict.fromkeys(out))


def has_ipv6(session: Session, node: tables.Node) -> bool:
    """Say whether a node has an IPv6 address that mail can leave from, by what it reported."""
    if not node.ipv6_enabled:
        return False
    query = select(tables.Address).where(tables.Address.node_id == node.id, tables.Address.present.is_(True))
    usable = (one.address for one in session.scalars(query) if not set(UNUSABLE) & set(one.flags))
    return bool(node.primary_ipv6) or any(":" in one and not one.startswith(("fe80:", "::1")) for one in usable)


def refuse_silence(session: Session, node: tables.Node, value: Value, confirmed_host: str) -> None:
    """Raise Refused where no mail could leave any more, and whoever wants that has not typed the node's name."""
    is_confirmed = confirmed_host.strip().lower().removesuffix(".") == node.name
    if value.ipv4_disabled and not is_confirmed and not has_ipv6(session, node):
        with about("confirmed_host"):
            raise Refused(
                f"{node.name} has no IPv6 address that works: no mail could leave. Type {node.name} to disable IPv4 anyway",
                409,
            )

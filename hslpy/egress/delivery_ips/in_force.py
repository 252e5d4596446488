"""What is in force for a sender by all levels, and what is set. In: scopes as operators write them. Out: values, rows.

Source: sections A2, C1 and C2 of the specification of delivery IPs. Must not know of HTTP.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import field

from sqlalchemy import select
from sqlalchemy.orm import Session

from hslpy.egress.accounts import site
from hslpy.egress.accounts.scopes import Target, key_of, target_of, targets_of, tree_of
from hslpy.egress.addresses.inventory import node_of
from hslpy.egress.delivery_ips.setting_rows import Row, Value, row_of, rows_query
from hslpy.egress.rules.book import PRIMARY, Family
from hslpy.egress.store import tables
from hslpy.egress.store.database import Database
from hslpy.records import record


@record
class InForce:
    """A row with what holds for its scope by all levels."""

    row: Row
    effective: Value = field(default_factory=Value)


@record
class Interfaces:
    """What is in force for a sender, as the API prints it, by node; `lines` are those of `api_get_outgoing_interfaces`."""

    nodes: Mapping[str, str]
    warnings: tuple[str, ...]

    @property
    def lines(self) -> tuple[str, ...]:
        return (*(f"WARNING: {one}" for one in self.warnings), *(f"{name} {text}" for name, text in self.nodes.items()))


def get_interfaces(
    database: Database, *, domain: str = "", username: str = "", identity: str = "", filtering_host: str = ""
) -> Interfaces:
    """Give what is in force on all nodes, or on one. Raises Refused, NotFound. Source: A2."""
    with database.read() as session:
        target = target_of(session, domain=domain, username=username, identity=identity)
        nodes = session.scalars(select(tables.Node).order_by(tables.Node.id)).all()
        if filtering_host.strip():
            nodes = [node_of(session, filtering_host)]
        ladder = tree_of(session, target.domain_id).chain(target)
        missing_family = site.read(session).missing_family
        found = _values(session, [key_of(one) for one in ladder])
        warnings, texts = [], {}
        for node in nodes:
            values = [found.get((key_of(one), node.id)) for one in ladder]
            text, inherited = (in_force(some_values, missing_family).text for some_values in (values, values[1:]))
            if target.level != "default" and values[0] is not None and text != inherited:
                warnings.append(f"{node.name}: not the default value (default: {inherited})")
            texts[node.name] = text
    return Interfaces(texts, tuple(warnings))


def get_json(
    database: Database, *, domain: str = "", username: str = "", identity: str = "", admin: str = ""
) -> Mapping[str, Sequence[Mapping[str, object]]]:
    """Give the answer of `api_get_outgoing_interfaces_json`: rows by node, those of a scope where one is given."""
    out: dict[str, list[Mapping[str, object]]] = {}
    for one in list_settings(database, domain=domain, username=username, identity=identity, admin=admin):
        row, value = one.row, one.effective
        out.setdefault(row.hostname, []).append(
            {
                **{name: text or None for name, text in row.names.items()},
                "ipv4": list(row.ipv4),
                "ipv6": list(row.ipv6),
                "ipv4_disabled": row.ipv4_disabled,
                "effective": {
                    "ipv4": [] if value.ipv4_disabled else list(value.ipv4 or (PRIMARY[4],)),
                    "ipv6": list(value.ipv6 or (PRIMARY[6],)),
                },
            }
        )
    return out


def list_settings(
    database: Database, *, domain: str = "", username: str = "", identity: str = "", admin: str = ""
) -> Sequence[InForce]:
    """Give all rows that set something, or those of the scopes that are named, node by node. Raises Refused, NotFound."""
    with database.read() as session:
        query = rows_query()
        if any(part.strip() for part in (domain, username, identity, admin)):
            targets, _ = targets_of(session, domain=domain, username=username, identity=identity, admin=admin)
            query = query.where(tables.DeliverySetting.scope.in_([key_of(one) for one in targets]))
        rows = [(one, row_of(one, *names)) for one, *names in session.execute(query)]
        all_values = _values(session, None)
        ladders: dict[str, Sequence[str]] = {}
        tree = tree_of(session)
        missing_family = site.read(session).missing_family
        out = []
        for one, row in rows:
            if row.is_unset:
                continue
            if one.scope not in ladders:
                target = Target(row.level, one.admin_id, one.domain_id, one.username, one.identity)
                ladders[one.scope] = [key_of(step) for step in tree.chain(target)]
            values = [all_values.get((key, one.node_id)) for key in ladders[one.scope]]
            out.append(InForce(row, in_force(values, missing_family)))
        return out


def in_force(values: Iterable[Value | None], missing_family: str) -> Value:
    """Give what holds by the values of a ladder's levels, most specific first. Source: C1, C2."""
    found: dict[Family, tuple[str, ...]] = {}
    disabled = False
    for value in values:
        if value is None:
            continue
        if 4 not in found and value.ipv4_disabled:
            found[4], disabled = (), True
        for family, addresses in ((4, value.ipv4), (6, value.ipv6)):
            if addresses or missing_family == "auto":
                found.setdefault(family, addresses)  # type: ignore[arg-type]
    return Value(found.get(4, ()), found.get(6, ()), disabled)


def _values(session: Session, keys: Sequence[str] | None) -> dict[tuple[str, int], Value]:
    one = tables.DeliverySetting
    query = select(one.scope, one.node_id, one.ipv4, one.ipv6, one.ipv4_disabled, one.strict)
    if keys is not None:
        query = query.where(one.scope.in_(keys))
    return {
        (scope, node): Value(tuple(ipv4), tuple(ipv6), disabled, strict)
        for scope, node, ipv4, ipv6, disabled, strict in session.execute(query)
    }

"""Delivery settings: read, set, changed in bulk. In: scopes and addresses as operators write them. Out: rows, warnings.

Source: sections A2, A3, A5 and B2 of the specification of delivery IPs. Must not know of HTTP; DNS is never asked here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import field, replace
from typing import Any

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from hslpy.egress.accounts import site
from hslpy.egress.accounts.admins import count, some
from hslpy.egress.accounts.scopes import Target, key_of, target_of, targets_of, tree_of
from hslpy.egress.addresses.interfaces import UNUSABLE
from hslpy.egress.addresses.inventory import node_of
from hslpy.egress.rules.book import PRIMARY, Family, Level
from hslpy.egress.rules.names import NotFound, Refused, about, canonical_address, is_private, read_interfaces
from hslpy.egress.rules.sources import family_of
from hslpy.egress.store import tables
from hslpy.egress.store.database import Actor, Change, Database
from hslpy.records import record

DISABLED = "disabled"


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
    def is_unset(self) -> bool:
        """Whether it is a node's default of which nothing was chosen."""
        return self.level == "default" and not (self.ipv4 or self.ipv6 or self.ipv4_disabled or self.strict)

    @property
    def scope(self) -> str:
        """Whom it is for, in words."""
        parts = (self.admin, self.domain, self.username, self.identity)
        return " ".join((self.level, *(part for part in parts if part)))


Done = tuple[Row | None, Row | None]
"""A row before a change, None where there was none, and after it, None where there is none any more."""


@record
class Outcome:
    """What came of a change: rows, and warnings for people.

    `failed` has what could not be done of several, by row and reason.
    """

    done: tuple[Done, ...] = ()
    warnings: tuple[str, ...] = ()
    failed: tuple[tuple[int, str], ...] = ()

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
class Edit:
    """What is to be changed of a setting; None leaves it as it is. Addresses are a list, or text with `;` between."""

    ipv4: str | Sequence[str] | None = None
    ipv6: str | Sequence[str] | None = None
    ipv4_disabled: bool | None = None
    strict: bool | None = None


@record
class InForce:
    """A row with what holds for its scope by all levels."""

    row: Row
    effective: Value = field(default_factory=Value)


# Reading


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
                **{name: getattr(row, name) or None for name in ("level", "admin", "domain", "username", "identity")},
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
        query = _rows_query()
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


def get_row(session: Session, row_id: int) -> Row | None:
    found = session.execute(_rows_query().where(tables.DeliverySetting.id == row_id)).first()
    return row_of(*found) if found is not None else None


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


# Changing


def set_interfaces(
    database: Database,
    actor: Actor,
    *,
    domain: str = "",
    filtering_host: str = "",
    interfaces: str = "",
    username: str = "",
    identity: str = "",
    admin: str = "",
    disable_ipv4: str = "",
    strict: bool | None = None,
    allow_loopback: bool = False,
    action: str = "ip set",
) -> Outcome:
    """Set the addresses of one scope, or of several domains, on one node; without any, what was set is removed.

    The list replaces both families; where `strict` is None that stays as it was. All is done or nothing. Raises Refused,
    NotFound. Source: A3.
    """
    given = {"domain": domain, "filtering_host": filtering_host, "interfaces": interfaces, "username": username}
    given |= {"identity": identity, "admin": admin, "disable_ipv4": disable_ipv4}
    noted: dict[str, Any] = {name: value for name, value in given.items() if value}
    noted |= {} if strict is None else {"strict": strict}
    with database.change(actor, action, noted) as change:
        if not domain.strip() and not admin.strip():
            raise Refused("missing argument 'domain'")
        if not filtering_host.strip():
            raise Refused("missing argument 'filtering_host'")
        targets, warnings = targets_of(change, domain=domain, username=username, identity=identity, admin=admin)
        node = node_of(change, filtering_host)
        ipv4, ipv6 = read_interfaces(interfaces, allow_loopback=allow_loopback)
        disabled = _switch("disable_ipv4", disable_ipv4)
        if disabled and ipv4:
            warnings.append(f"delivery over IPv4 is disabled; {some(ipv4)} is not kept")
            ipv4 = ()
        value = Value(ipv4, ipv6, disabled, bool(strict))
        done = [_put(change, target, node, value, keeps_strict=strict is None, is_automatic=False) for target in targets]
        warnings += warnings_of(change, node, value)
        change.result = "\n".join(warnings)
        return Outcome(tuple(done), tuple(warnings))


def add(
    database: Database,
    actor: Actor,
    edit: Edit,
    *,
    level: str,
    hostnames: Sequence[str] = (),
    admin: str = "",
    domain: str = "",
    username: str = "",
    identity: str = "",
    confirmed_host: str = "",
    allow_loopback: bool = False,
) -> Outcome:
    """Add a setting on a node; without addresses the family is automatic. No `hostnames` means all nodes.

    `confirmed_host` is the node's name, typed by who disables IPv4 where no IPv6 works. Raises Refused, NotFound, Conflict.
    Source: B3.
    """
    with database.change(actor, "ip add", {"level": level, **_told(edit)}) as change:
        target = target_of(change, level=level, admin=admin, domain=domain, username=username, identity=identity)
        nodes = [node_of(change, name) for name in dict.fromkeys(hostnames)] or list(
            change.scalars(select(tables.Node).order_by(tables.Node.id))
        )
        value = _edited(Value(), edit, allow_loopback)
        if len(nodes) != 1 and set(value.ipv4 + value.ipv6) - set(PRIMARY.values()):
            raise Refused("addresses belong to one server: choose its host name")
        done: list[Done] = []
        warnings: list[str] = []
        for node in nodes:
            there = _find(change, target, node)
            if there is not None and not (theirs := _known(change, there)).is_unset:
                raise Conflict(f"there is a setting for {theirs.scope} on {node.name} already: edit that", theirs)
            _refuse_silence(change, node, value, confirmed_host)
            done.append(_put(change, target, node, value))
            warnings += warnings_of(change, node, value)
        change.note(rows=[after.id for _, after in done if after is not None])
        change.result = "\n".join(warnings)
        return Outcome(tuple(done), tuple(warnings))


def put(
    change: Change,
    edit: Edit,
    *,
    level: str,
    hostname: str,
    admin: str = "",
    domain: str = "",
    username: str = "",
    identity: str = "",
    allow_loopback: bool = False,
) -> tuple[Done, Sequence[str]]:
    """Set a scope on a node to what `edit` says, whatever it was, within a change; give rows and warnings.

    Raises Refused, NotFound.
    """
    target = target_of(change, level=level, admin=admin, domain=domain, username=username, identity=identity)
    node = node_of(change, hostname)
    if edit.ipv4_disabled and edit.ipv4:
        raise Refused("IPv4 is disabled and has addresses: one of both")
    value = _edited(Value(), edit, allow_loopback)
    return _put(change, target, node, value, keeps_strict=True), warnings_of(change, node, value)


def edit_row(
    database: Database,
    actor: Actor,
    row_id: int,
    version: int,
    edit: Edit,
    *,
    confirmed_host: str = "",
    allow_loopback: bool = False,
) -> Outcome:
    """Change a row that was read at `version`. Raises Conflict, with what it is now, where somebody else was first."""
    with database.change(actor, "ip edit", {"id": row_id, **_told(edit)}) as change:
        found = change.get(tables.DeliverySetting, row_id)
        theirs = get_row(change, row_id)
        if found is None or theirs is None:
            raise Conflict("this setting has been removed since you opened it", None)
        if found.version != version:
            raise Conflict(f"this setting was changed by {found.changed_by} since you opened it", theirs)
        done, warnings = _edit(change, found, edit, confirmed_host, allow_loopback)
        change.result = "\n".join(warnings)
        return Outcome((done,), tuple(warnings))


def bulk_edit(
    database: Database, actor: Actor, row_ids: Sequence[int], edit: Edit, *, allow_loopback: bool = False
) -> Outcome:
    """Change the same of several rows; addresses only where all are of one node. Source: B2.6."""
    with database.change(actor, "ip edit", {"ids": list(row_ids), **_told(edit)}) as change:
        hosts = sorted({row.hostname for one in row_ids if (row := get_row(change, one)) is not None})
        if len(hosts) > 1 and (edit.ipv4 is not None or edit.ipv6 is not None):
            raise Refused(f"addresses belong to one server; the chosen rows are of {some(hosts)}")
        if edit == Edit():
            raise Refused("nothing was chosen to be changed")
        return _each(change, row_ids, lambda found: _edit(change, found, edit, "", allow_loopback))


def remove(database: Database, actor: Actor, row_ids: Sequence[int]) -> Outcome:
    """Remove rows: their scopes inherit again. A node's default goes back to its primary address."""
    with database.change(actor, "ip remove", {"ids": list(row_ids)}) as change:

        def take(found: tables.DeliverySetting) -> tuple[Done, list[str]]:
            before = _known(change, found)
            if before.level == "default":
                return _write(change, found, Value()), []
            change.delete(found)
            change.flush()
            return (before, None), []

        return _each(change, row_ids, take)


CLEAN_FIRST = "Remove spam from the outgoing queue first, otherwise the new address is likely to be listed as well."  # B2.6


def replace_address(
    database: Database,
    actor: Actor,
    row_ids: Sequence[int],
    old: str,
    new: str,
    *,
    queued_spam: int | None = 0,
    is_confirmed: bool = False,
    allow_loopback: bool = False,
) -> Outcome:
    """Put one address in another's place, in rows that have it.

    `queued_spam` is how many queued messages are of locked or spamming senders, None where that is not known: unless there
    are none, `is_confirmed` has to be said.
    Raises Refused. Source: B2.6, F (P24).
    """
    new, old = new.strip(), old.strip()
    read_interfaces(new, allow_loopback=allow_loopback)
    old, new = canonical_address(old), canonical_address(new)
    if family_of(old) != family_of(new) or new in ("::", PRIMARY[4]):
        raise Refused(f"'{new}' cannot stand in the place of '{old}': it is no address of the same family")
    if queued_spam != 0 and not is_confirmed:
        known = "" if queued_spam is None else f"There are {queued_spam:,} queued messages from locked senders. "
        raise Refused(
            f"{known or 'The mail server does not say whether it has messages from locked senders. '}"
            "Remove them first or the new address will be listed too.",
            409,
            "`confirmed` does it all the same",
        )
    with database.change(actor, "ip replace", {"ids": list(row_ids), "old": old, "new": new}) as change:

        def swap(found: tables.DeliverySetting) -> tuple[Done, list[str]]:
            if old not in (*found.ipv4, *found.ipv6):
                raise Refused(f"it does not have {old}")
            ipv4, ipv6 = (
                tuple(dict.fromkeys(new if one == old else one for one in addresses))
                for addresses in (found.ipv4, found.ipv6)
            )
            value = Value(ipv4, ipv6, found.ipv4_disabled, found.strict)
            node = change.get_one(tables.Node, found.node_id)
            return _write(change, found, value), list(warnings_of(change, node, Value((new,), ())))

        return _each(change, row_ids, swap)


def undo(database: Database, actor: Actor, outcome: Outcome) -> Outcome:
    """Bring back what rows were before a change, but for those that were changed since."""
    with database.change(actor, "ip undo") as change:
        done: list[Done] = []
        failed = []
        for before, after in outcome.done:
            row = after or before
            if row is None:
                continue
            target = target_of(
                change,
                level=row.level,
                admin=row.admin,
                domain=row.domain,
                username=row.username,
                identity=row.identity,
            )
            node = node_of(change, row.hostname)
            found = _find(change, target, node)
            if (found.version if found is not None else None) != (after.version if after is not None else None):
                failed.append((row.id, "it was changed since"))
                continue
            value = Value(before.ipv4, before.ipv6, before.ipv4_disabled, before.strict) if before is not None else Value()
            done.append(_put(change, target, node, value, is_automatic=before is not None))
        return Outcome(tuple(done), (), tuple(failed))


def value_of(edit: Edit, *, allow_loopback: bool = False) -> Value:
    """Give what a new setting would say. Raises Refused."""
    return _edited(Value(), edit, allow_loopback)


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


# Rows


def _put(
    change: Change,
    target: Target,
    node: tables.Node,
    value: Value,
    *,
    keeps_strict: bool = False,
    is_automatic: bool = True,
) -> Done:
    """Write a scope's value; where it says nothing and is not to be `is_automatic`, there is no row for it any more."""
    found = _find(change, target, node)
    is_empty = not (value.ipv4 or value.ipv6 or value.ipv4_disabled)
    if found is None:
        if is_empty and not is_automatic:
            return None, None
        found = tables.DeliverySetting(
            scope=key_of(target),
            level=target.level,
            admin_id=target.admin_id,
            domain_id=target.domain_id,
            username=target.username,
            identity=target.identity,
            node_id=node.id,
        )
        found.version, found.ipv4, found.ipv6, found.ipv4_disabled, found.strict = 0, [], [], False, False
        return None, _write(change, found, value)[1]
    if is_empty and not is_automatic and target.level != "default":
        before = _known(change, found)
        change.delete(found)
        change.flush()
        return before, None
    if keeps_strict and not is_empty:
        value = replace(value, strict=found.strict)
    return _write(change, found, value)


def _write(change: Change, found: tables.DeliverySetting, value: Value) -> tuple[Row | None, Row]:
    before = _known(change, found) if found.version else None
    if before is not None and value == Value(before.ipv4, before.ipv6, before.ipv4_disabled, before.strict):
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
    return before, _known(change, found)


def _edit(
    change: Change, found: tables.DeliverySetting, edit: Edit, confirmed_host: str, allow_loopback: bool
) -> tuple[Done, list[str]]:
    before = Value(tuple(found.ipv4), tuple(found.ipv6), found.ipv4_disabled, found.strict)
    value = _edited(before, edit, allow_loopback)
    node = change.get_one(tables.Node, found.node_id)
    if value.ipv4_disabled and not before.ipv4_disabled:
        _refuse_silence(change, node, value, confirmed_host)
    return _write(change, found, value), list(warnings_of(change, node, value))


def _edited(value: Value, edit: Edit, allow_loopback: bool) -> Value:
    lists: dict[Family, tuple[str, ...]] = {4: value.ipv4, 6: value.ipv6}
    for family, given in ((4, edit.ipv4), (6, edit.ipv6)):
        if given is None:
            continue
        read = read_interfaces(given if isinstance(given, str) else ";".join(given), allow_loopback=allow_loopback)
        other = read[1] if family == 4 else read[0]
        if other:
            raise Refused(f"'{other[0]}' is not an IPv{family} address")
        lists[family] = read[0] if family == 4 else read[1]  # type: ignore[index]
    disabled = edit.ipv4_disabled if edit.ipv4_disabled is not None else value.ipv4_disabled
    if disabled and edit.ipv4 and edit.ipv4_disabled is None:
        disabled = False  # addresses were given: they are meant to be used
    return Value(() if disabled else lists[4], lists[6], disabled, value.strict if edit.strict is None else edit.strict)


def _each(
    change: Change,
    row_ids: Sequence[int],
    act: Callable[[tables.DeliverySetting], tuple[Done, list[str]]],
) -> Outcome:
    """Do the same with each row; what cannot be done is told by row, the others stay done. Source: B9."""
    done, warnings, failed = [], [], []
    for row_id in dict.fromkeys(row_ids):
        found = change.get(tables.DeliverySetting, row_id)
        try:
            if found is None:
                raise NotFound("it is not there any more")
            one, told = act(found)
            done.append(one)
            warnings += told
        except Refused as error:
            failed.append((row_id, error.message))
    change.result = f"{count(len(done), 'row')} done" + (f", {len(failed)} failed" if failed else "")
    return Outcome(tuple(done), tuple(dict.fromkeys(warnings)), tuple(failed))


def _refuse_silence(session: Session, node: tables.Node, value: Value, confirmed_host: str) -> None:
    is_confirmed = confirmed_host.strip().lower().removesuffix(".") == node.name
    if value.ipv4_disabled and not is_confirmed and not has_ipv6(session, node):
        with about("confirmed_host"):
            raise Refused(
                f"{node.name} has no IPv6 address that works: no mail could leave. Type {node.name} to disable IPv4 anyway",
                409,
            )


def _switch(name: str, text: str) -> bool:
    if text.strip() not in ("", "0", "1"):
        raise Refused(f"'{text.strip()}' is no value of '{name}': 0 or 1")
    return text.strip() == "1"


def _told(edit: Edit) -> dict[str, object]:
    given = {"ipv4": edit.ipv4, "ipv6": edit.ipv6, "ipv4_disabled": edit.ipv4_disabled, "strict": edit.strict}
    return {name: value for name, value in given.items() if value is not None}


def _find(session: Session, target: Target, node: tables.Node) -> tables.DeliverySetting | None:
    mine = (tables.DeliverySetting.scope == key_of(target), tables.DeliverySetting.node_id == node.id)
    return session.scalars(select(tables.DeliverySetting).where(*mine)).one_or_none()


def _known(session: Session, found: tables.DeliverySetting) -> Row:
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


def _rows_query() -> Any:
    return (
        select(tables.DeliverySetting, tables.Admin.name, tables.Domain.name, tables.Node.name)
        .outerjoin(tables.Admin, tables.DeliverySetting.admin_id == tables.Admin.id)
        .outerjoin(tables.Domain, tables.DeliverySetting.domain_id == tables.Domain.id)
        .join(tables.Node, tables.DeliverySetting.node_id == tables.Node.id)
        .order_by(tables.Node.id, tables.DeliverySetting.id)
    )


def _values(session: Session, keys: Sequence[str] | None) -> dict[tuple[str, int], Value]:
    one = tables.DeliverySetting
    query = select(one.scope, one.node_id, one.ipv4, one.ipv6, one.ipv4_disabled, one.strict)
    if keys is not None:
        query = query.where(one.scope.in_(keys))
    return {
        (scope, node): Value(tuple(ipv4), tuple(ipv6), disabled, strict)
        for scope, node, ipv4, ipv6, disabled, strict in session.execute(query)
    }

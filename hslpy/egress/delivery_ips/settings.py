"""Delivery settings: set, changed one by one and in bulk, taken back. In: scopes and addresses as operators write them.

Out: rows, warnings. Source: sections A3, A5 and B2 of the specification of delivery IPs. Must not know of HTTP; DNS is never
asked here.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from typing import Any

from sqlalchemy import select

from hslpy.egress.accounts.admins import count, some
from hslpy.egress.accounts.scopes import Target, key_of, target_of, targets_of
from hslpy.egress.addresses.inventory import node_of
from hslpy.egress.delivery_ips.setting_rows import Conflict, Done, Edit, Outcome, Value, find, get_row, known, write
from hslpy.egress.delivery_ips.setting_warnings import refuse_silence, warnings_of
from hslpy.egress.rules.book import PRIMARY, Family
from hslpy.egress.rules.names import NotFound, Refused, canonical_address, read_interfaces
from hslpy.egress.rules.sources import family_of
from hslpy.egress.store import tables, undoing
from hslpy.egress.store.database import Actor, Change, Database

UNDO = "settings"
"""The kind of changes that `undo` takes back."""


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
        return _outcome(change, done, warnings)


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
            there = find(change, target, node)
            if there is not None and not (theirs := known(change, there)).is_unset:
                raise Conflict(f"there is a setting for {theirs.scope} on {node.name} already: edit that", theirs)
            refuse_silence(change, node, value, confirmed_host)
            done.append(_put(change, target, node, value))
            warnings += warnings_of(change, node, value)
        change.note(rows=[after.id for _, after in done if after is not None])
        return _outcome(change, done, warnings)


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
    warned: dict[tuple[int, Value], Sequence[str]] | None = None,
) -> tuple[Done, Sequence[str]]:
    """Set a scope on a node to what `edit` says, whatever it was, within a change; give rows and warnings.

    `warned` keeps the warnings of a node's addresses for the next call of many. Raises Refused, NotFound.
    """
    target = target_of(change, level=level, admin=admin, domain=domain, username=username, identity=identity)
    node = node_of(change, hostname)
    if edit.ipv4_disabled and edit.ipv4:
        raise Refused("IPv4 is disabled and has addresses: one of both")
    value = _edited(Value(), edit, allow_loopback)
    done = _put(change, target, node, value, keeps_strict=True)
    warned = {} if warned is None else warned
    if (node.id, value) not in warned:
        warned[node.id, value] = warnings_of(change, node, value)
    return done, warned[node.id, value]


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
        if found is None:
            raise Conflict("this setting has been removed since you opened it", None)
        if found.version != version:
            raise Conflict(f"this setting was changed by {found.changed_by} since you opened it", known(change, found))
        done, warnings = _edit(change, found, edit, confirmed_host, allow_loopback)
        return _outcome(change, [done], warnings)


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
            before = known(change, found)
            if before.level == "default":
                return write(change, found, Value()), []
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
            return write(change, found, value), list(warnings_of(change, node, Value((new,), ())))

        return _each(change, row_ids, swap)


def undo(database: Database, actor: Actor, ticket: str) -> Outcome:
    """Bring back what rows were before a change of one's own, but for those that were changed since. Raises NotFound."""
    with database.change(actor, "ip undo") as change:
        done: list[Done] = []
        failed = []
        kept = undoing.take(change, UNDO, ticket)
        for one in kept["rows"]:
            try:
                target, node = target_of(change, **one["scope"]), node_of(change, one["hostname"])
                found = find(change, target, node)
                domain = change.get(tables.Domain, target.domain_id) if target.domain_id is not None else None
                mark = [found.version, found.changed_at] if found is not None else None
                if mark != one["mark"] or (domain is not None and domain.created_at > kept["at"]):
                    raise Refused("it was changed since")
            except Refused as error:
                failed.append((one["id"], error.message))
                continue
            before = one["before"] or asdict(Value())
            value = Value(tuple(before["ipv4"]), tuple(before["ipv6"]), before["ipv4_disabled"], before["strict"])
            done.append(_put(change, target, node, value, is_automatic=one["before"] is not None))
        return _outcome(change, done, (), failed)


def value_of(edit: Edit, *, allow_loopback: bool = False) -> Value:
    """Give what a new setting would say. Raises Refused."""
    return _edited(Value(), edit, allow_loopback)


def _outcome(
    change: Change, done: Sequence[Done], warnings: Sequence[str] = (), failed: Sequence[tuple[int, str]] = ()
) -> Outcome:
    """Give what came of a change, and keep what it was before."""
    change.result = change.result or "\n".join(warnings)
    rows = [
        {
            "id": row.id,
            "scope": row.names,
            "hostname": row.hostname,
            "before": asdict(before.value) if before is not None else None,
            "mark": [after.version, after.changed_at] if after is not None else None,  # of what others made since: another
        }
        for before, after in done
        if before != after and (row := after or before) is not None
    ]
    ticket = undoing.keep(change, UNDO, {"rows": rows, "at": change.now}) if rows else ""
    return Outcome(tuple(done), tuple(warnings), tuple(failed), ticket)


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
    found = find(change, target, node)
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
        return None, write(change, found, value)[1]
    if is_empty and not is_automatic and target.level != "default":
        before = known(change, found)
        change.delete(found)
        change.flush()
        return before, None
    if keeps_strict and not is_empty:
        value = replace(value, strict=found.strict)
    return write(change, found, value)


def _edit(
    change: Change, found: tables.DeliverySetting, edit: Edit, confirmed_host: str, allow_loopback: bool
) -> tuple[Done, list[str]]:
    before = known(change, found).value
    value = _edited(before, edit, allow_loopback)
    node = change.get_one(tables.Node, found.node_id)
    if value.ipv4_disabled and not before.ipv4_disabled:
        refuse_silence(change, node, value, confirmed_host)
    return write(change, found, value), list(warnings_of(change, node, value))


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
    return _outcome(change, done, list(dict.fromkeys(warnings)), failed)


def _switch(name: str, text: str) -> bool:
    if text.strip() not in ("", "0", "1"):
        raise Refused(f"'{text.strip()}' is no value of '{name}': 0 or 1")
    return text.strip() == "1"


def _told(edit: Edit) -> dict[str, object]:
    return {name: value for name, value in asdict(edit).items() if value is not None}

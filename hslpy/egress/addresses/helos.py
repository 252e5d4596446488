"""Which HELO name goes with an address: set by hand, from reverse DNS, or the node's own. In: look-ups, rows. Out: names.

`Effective` is a plain function of what is kept; `look_up` asks DNS, everything else reads or writes rows.
Source: section A4 of the specification of delivery IPs; RFC 5321 sections 2.3.5 and 4.1.2.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import field, fields
from typing import Literal

from sqlalchemy import select
from sqlalchemy.orm import Session

from hslpy.dns.contract import Resolver
from hslpy.egress.addresses.lookups import DEADLINE_S, MOST_NAMES, Lookup, ask, ask_reverse
from hslpy.egress.rules.names import (
    address_of_host,
    fault_of_host,
    fault_of_server_name,
    fault_of_source,
    helo_name,
    is_private,
    shown_address,
)
from hslpy.egress.rules.sources import family_of
from hslpy.egress.store import tables
from hslpy.egress.store.database import Change, Database
from hslpy.egress.store.tables import Address, Helo, Node, SettingAddress
from hslpy.records import record

Direction = Literal["outgoing", "incoming"]
Origin = Literal["set", "ptr", "node"]

KEPT_S = 72 * 3600.0
"""How long a confirmed name holds while DNS does not answer. Source: A4."""
FRESH_S = 3600.0  # as often as nodes report their addresses
AFTER_TROUBLE_S = 300.0  # the negative ceiling of ResolverSettings
_AT_ONCE = 16
_TYPES: Mapping[int, Literal["A", "AAAA"]] = {4: "A", 6: "AAAA"}


@record
class Reversed:
    """What reverse DNS last said of an address, as the row `Reverse` has it. Times are Unix seconds.

    `confirmed` is the name that the address confirmed last, at `confirmed_at`; `changed_at` is when the names changed last.
    `error` says why DNS gave no answer last time; the names are then older ones.
    """

    names: tuple[str, ...] = ()
    confirmed: str = ""
    confirmed_at: float | None = None
    checked_at: float = 0.0
    error: str = ""
    ttl_s: int = 0
    changed_at: float | None = None

    def name(self, now: float) -> str:
        """Give the name that can be used as HELO: confirmed within 72 hours, or none."""
        held = self.confirmed_at is not None and now - self.confirmed_at <= KEPT_S
        return self.confirmed if held else ""


NEVER = Reversed()


@record
class Seen:
    """What DNS says of an address now: its names, and for each what it leads to."""

    names: Lookup
    forward: Mapping[str, Lookup] = field(default_factory=dict)


@record
class Effective:
    """The HELO name in force, where it came from, and what it would be if none were set."""

    address: str
    helo: str
    origin: Origin
    default: str

    @property
    def warnings(self) -> Sequence[str]:
        return (f"not the default value (default: {self.default})",) if self.origin == "set" else ()


def effective(address: str, override: str, reverse: Reversed, node: str, now: float) -> Effective:
    """Give an address's HELO: the one set, else its confirmed name, else the name of its node."""
    name = reverse.name(now)
    default = name or node
    if override:
        return Effective(address, override, "set", default)
    return Effective(address, default, "ptr" if name else "node", default)


def remember(before: Reversed, address: str, seen: Seen, now: float) -> Reversed:
    """Give what is to be kept after a look-up: where DNS gave no answer, what was known before.

    A name that is no legal host name is never confirmed; of several that are, the one before stays.
    """
    if seen.names.state == "failed":
        return Reversed(
            before.names, before.confirmed, before.confirmed_at, now, seen.names.error, before.ttl_s, before.changed_at
        )
    names = seen.names.records
    changed_at = before.changed_at
    if before.checked_at and set(names) != set(before.names):
        changed_at = now
    confirmed, confirmed_at, error = "", None, ""
    for name in sorted(names, key=lambda one: (one != before.confirmed, one)):
        forward = seen.forward.get(name)
        if forward is None or fault_of_host(name) is not None:
            continue
        if address in forward.records:
            confirmed, confirmed_at = name, now
            break
        if forward.state == "failed" and name == before.confirmed:
            confirmed, confirmed_at, error = name, before.confirmed_at, forward.error
            break
        error = error or forward.error
    return Reversed(names, confirmed, confirmed_at, now, error, int(seen.names.ttl_s), changed_at)


def warnings_of(address: str, helo: str, seen: Seen | None) -> Sequence[str]:
    """Say what receivers may dislike in a HELO name for an address, by what DNS says of both; `seen` None: nothing known."""
    if seen is None or helo.startswith("["):
        return ()
    found: list[str] = []
    shown = shown_address(address)
    forward = seen.forward.get(helo)
    if forward is not None and address not in forward.records:
        if forward.state == "failed":
            found.append(f"whether {helo} resolves to {shown} is not known: {forward.error}")
        else:
            found.append(f"{helo} does not resolve to {shown}")
    if seen.names.state == "failed":
        found.append(f"whether {helo} is the reverse DNS name of {shown} is not known: {seen.names.error}")
    elif helo not in seen.names.records:
        names = ", ".join(seen.names.records) or "none"
        found.append(f"{helo} is not the reverse DNS name (PTR) of {shown}, which is: {names}")
    return found


async def look_up(resolver: Resolver, address: str, also: str = "", deadline_s: float = DEADLINE_S) -> Seen:
    """Ask DNS for an address's names and for what they, and `also`, lead to."""
    names, kind = await ask_reverse(resolver, address, deadline_s), _TYPES[family_of(address)]
    asked = [*names.records[:MOST_NAMES], *([also] if also and also not in names.records else [])]
    forward = await asyncio.gather(*(ask(resolver, name, kind, deadline_s) for name in asked))
    return Seen(names, dict(zip(asked, forward, strict=True)))


# ---- what is kept ---------------------------------------------------------------------------------


@record
class Helos:
    """All that the HELO names of addresses come from. `publics` has what private addresses are translated to."""

    overrides: Mapping[tuple[str, str], str] = field(default_factory=dict)
    reverses: Mapping[str, Reversed] = field(default_factory=dict)
    publics: Mapping[str, str] = field(default_factory=dict)
    owners: Mapping[str, str] = field(default_factory=dict)
    first_node: str = ""

    def of(self, address: str, now: float, *, node: str = "", direction: Direction = "outgoing") -> Effective:
        """Give an address's HELO name. `node` is the one that it is used on; left out, one that has it."""
        reverse = self.reverses.get(self.publics.get(address, address), NEVER)
        owner = node or self.owners.get(address) or self.first_node
        return effective(address, self.overrides.get((address, direction), ""), reverse, owner, now)


def load(session: Session) -> Helos:
    """Give all of it, for a process that sends mail."""
    nodes = {row.id: row.name for row in session.scalars(select(Node).order_by(Node.id))}
    publics: dict[str, str] = {}
    owners: dict[str, str] = {}
    for row in session.scalars(select(Address).order_by(Address.present.desc(), Address.node_id)):
        owners.setdefault(row.address, nodes[row.node_id])
        if row.public_address:
            publics.setdefault(row.address, row.public_address)
    overrides = {(row.address, row.direction): row.helo for row in session.scalars(select(Helo))}
    reverses = {row.address: _of_row(row) for row in session.scalars(select(tables.Reverse))}
    return Helos(overrides, reverses, publics, owners, next(iter(nodes.values()), ""))


def set_helo(
    change: Change, address: str, helo: str, *, direction: Direction = "outgoing", seen: Seen | None = None
) -> Sequence[str]:
    """Set the HELO name of an address, on all nodes; an empty one removes it. Give warnings. Raises Refused.

    `seen` is what `look_up` of this address and name gave, for warnings; without it none come from DNS.
    """
    address = address_of_host(address)
    row = change.get(Helo, (address, direction))
    if not helo:
        if row is not None:
            change.delete(row)
        return ()
    name, warnings = helo_name(helo)
    if row is None:
        row = Helo(address=address, direction=direction)
        change.add(row)
    row.helo, row.changed_at, row.changed_by = name, change.now, change.actor.name
    nodes = change.scalars(select(Node).order_by(Node.id)).all()
    is_primary = any(address in (node.primary_ipv4, node.primary_ipv6) for node in nodes)
    fault = "" if is_primary else fault_of_server_name(name, (node.name for node in nodes))
    return (*warnings, *([fault] if fault else []), *warnings_of(address, name, seen))


async def look_before(resolver: Resolver, address: str, helo: str, deadline_s: float = DEADLINE_S) -> Seen | None:
    """Give what `set_helo` takes as `seen`, None where there is nothing to look up. Raises Refused, as `set_helo`.

    DNS is asked anew: who sets a name may just have made it.
    """
    address = address_of_host(address)
    name = helo_name(helo)[0] if helo else ""
    if not name or name.startswith("[") or is_private(address) or fault_of_source(address) is not None:
        return None
    resolver.flush()
    return await look_up(resolver, address, name, deadline_s)


def get_helo(session: Session, address: str, now: float, *, direction: Direction = "outgoing") -> Effective:
    """Give the HELO name in force for an address. Raises Refused."""
    return load(session).of(address_of_host(address), now, direction=direction)


def list_helos(session: Session, now: float, *, direction: Direction = "outgoing") -> Sequence[Effective]:
    """Give the HELO names that were set by hand, in the order of their addresses."""
    known = load(session)
    return [known.of(address, now, direction=direction) for address, way in sorted(known.overrides) if way == direction]


def due(session: Session, now: float) -> Sequence[str]:
    """Give the public addresses whose names were not looked up for an hour, or five minutes after trouble."""
    wanted = {row.public_address or row.address for row in session.scalars(select(Address))}
    wanted.update(session.scalars(select(Helo.address)))
    wanted.update(session.scalars(select(SettingAddress.address).distinct()))
    known = {row.address: row for row in session.scalars(select(tables.Reverse))}

    def is_due(address: str) -> bool:
        row = known.get(address)
        return row is None or now - row.checked_at >= (AFTER_TROUBLE_S if row.error else FRESH_S)

    public = (one for one in wanted if fault_of_source(one) is None and not is_private(one))
    return sorted(address for address in public if is_due(address))


async def refresh(database: Database, resolver: Resolver, addresses: Iterable[str]) -> None:
    """Look up the names of addresses, some side by side, and keep them."""
    gate = asyncio.Semaphore(_AT_ONCE)

    async def one(address: str) -> Seen:
        async with gate:
            return await look_up(resolver, address)

    asked = list(addresses)
    if asked:
        seen = dict(zip(asked, await asyncio.gather(*map(one, asked)), strict=True))
        await asyncio.to_thread(_keep_all, database, seen)


def _keep_all(database: Database, seen: Mapping[str, Seen]) -> None:
    with database.keep() as session:
        for address, one in seen.items():
            keep(session, address, one)


def keep(session: Change, address: str, seen: Seen) -> Reversed:
    """Keep what was looked up of an address, and give what is known of it now."""
    row = session.get(tables.Reverse, address)
    before = NEVER if row is None else _of_row(row)
    after = remember(before, address, seen, session.now)
    if row is None:
        row = tables.Reverse(address=address)
        session.add(row)
    for name in (one.name for one in fields(after)):
        setattr(row, name, getattr(after, name))
    row.names, row.error = list(after.names), after.error[:255]
    session.moved |= before.name(session.now) != after.name(session.now)
    return after


def _of_row(row: tables.Reverse) -> Reversed:
    values = {one.name: getattr(row, one.name) for one in fields(Reversed)}
    return Reversed(**{**values, "names": tuple(row.names)})

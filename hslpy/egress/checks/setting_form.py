"""What somebody has to know to set delivery IPs: a node's addresses with their state, whom a setting holds for. In: names.

Nothing is asked of DNS and nothing changed. Source: section B3 of the specification of delivery IPs.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from sqlalchemy import select
from sqlalchemy.orm import Session

from hslpy.egress.accounts.scopes import Target, affected, target_of
from hslpy.egress.addresses import helos
from hslpy.egress.addresses.interfaces import UNUSABLE
from hslpy.egress.addresses.inventory import node_of
from hslpy.egress.checks.checkup import Draft, Kept, kept, stored
from hslpy.egress.checks.facts import Finding
from hslpy.egress.checks.preflight import critical, judge
from hslpy.egress.delivery_ips.setting_rows import Value
from hslpy.egress.delivery_ips.setting_warnings import has_ipv6
from hslpy.egress.rules.book import PRIMARY, Family
from hslpy.egress.rules.dnsbl import COUNTING
from hslpy.egress.rules.names import Refused, fault_of_source
from hslpy.egress.rules.sources import family_of
from hslpy.egress.store import tables
from hslpy.egress.store.database import Actor, Database
from hslpy.egress.warm_up import warming
from hslpy.records import record

ORIGINS: Mapping[str, str] = {"set": "set by API", "ptr": "from PTR", "node": "name of the server"}


_STATUS: Mapping[str, str] = {"pass": "ok", "info": "ok", "ok": "ok", "warning": "warning", "critical": "critical"}


FROM_STORE = ("P19", "P22")
"""Checks that go by the results of block lists, which are in the store: what it does not say now is not known."""


@record
class Choice:
    """An address that can be chosen on a node. `status` is that of its latest checks; `warmup` and `reputation` are words.

    `is_here` says that the node has it; `is_new` that it was never used and nobody has said how to begin; `is_held_back`
    that nothing is to be sent from it yet.
    """

    address: str
    ptr: str
    helo: str
    origin: str
    status: str
    warmup: str
    reputation: str
    is_primary: bool
    is_here: bool
    is_new: bool
    is_held_back: bool


@record
class Inventory:
    """A node and what can be chosen there. `is_silent`: it has never said which addresses it has."""

    hostname: str
    choices: tuple[Choice, ...]
    ipv6_enabled: bool
    has_ipv6: bool
    is_silent: bool

    def of(self, family: Family) -> Sequence[Choice]:
        return [one for one in self.choices if family_of(one.address) == family]


def inventory_of(
    session: Session, hostname: str, now: float, also: Sequence[str] = (), *, allow_loopback: bool = False
) -> Inventory:
    """Give what can be chosen on a node: its addresses, those that are set for it, and `also`. Raises NotFound."""
    node = node_of(session, hostname)
    rows = {row.address: row for row in session.scalars(select(tables.Address).where(tables.Address.node_id == node.id))}
    primary = {node.primary_ipv4, node.primary_ipv6} - {""}
    found = primary | {one for one, row in rows.items() if row.present and not set(UNUSABLE) & set(row.flags)}
    setting, chosen = tables.DeliverySetting, tables.SettingAddress
    found.update(
        session.scalars(
            select(chosen.address).join(setting, setting.id == chosen.setting_id).where(setting.node_id == node.id)
        )
    )
    harmless = (None, "loopback") if allow_loopback else (None,)
    found = {one for one in found | set(also) if one not in PRIMARY.values() and fault_of_source(one) in harmless}
    checks = {one.address: one.status for one in kept(session, node.name)}
    names = helos.load(session)
    publics = {one: names.publics.get(one, one) for one in found}
    warmups = {row.address: row for row in session.scalars(select(tables.Warmup))}
    listings: dict[str, str] = {}
    for row in session.scalars(select(tables.Listing).where(tables.Listing.address.in_(set(publics.values())))):
        counts = row.listed_since is not None and row.listed_severity in COUNTING
        if counts or (row.status == "clean" and listings.get(row.address) != "listed"):
            listings[row.address] = "listed" if counts else "clean"
    used = set(session.scalars(select(tables.AddressUse.address).where(tables.AddressUse.address.in_(found))))
    choices = []
    for one in sorted(found, key=lambda text: (text not in primary, ":" in text, _order(text))):
        helo = names.of(one, now, node=node.name)
        reverse = names.reverses.get(publics[one], helos.NEVER)
        warmup = warmups.get(publics[one])
        word = _warmup(warmup)
        choices.append(
            Choice(
                one,
                ", ".join(reverse.names),
                helo.helo,
                ORIGINS[helo.origin],
                _STATUS.get(checks.get(one, ""), "unknown"),
                word,
                listings.get(publics[one], "unknown"),
                one in primary,
                one in primary or (one in rows and rows[one].present),
                warmup is None and one not in used and one not in primary,
                warmup is not None and warmup.state == "new",
            )
        )
    return Inventory(node.name, tuple(choices), node.ipv6_enabled, has_ipv6(session, node), node.reported_at is None)


def _order(address: str) -> tuple[int, ...]:
    return tuple(int(part) for part in address.split(".")) if "." in address else tuple(address.encode())


def _warmup(row: tables.Warmup | None) -> str:
    if row is None:
        return "none"
    if row.paused_reason or row.state == "paused":
        return "paused"
    return {"warm": "done", "warming": "warming", "checking": "warming"}.get(row.state, "none")


def warm_up(database: Database, actor: Actor, addresses: Iterable[str], how: str, *, anyway: bool = False) -> Sequence[str]:
    """Do with new addresses what the form says: `start` warming up, `warm` already, `wait`. Give what was done, in words.

    One that cannot be started is told too. Source: B3 point 8.
    """
    told = []
    for one in addresses:
        try:
            if how == "warm":
                warming.mark_warm(database, actor, one)
                told.append(f"{one} is taken as warm already.")
            elif how == "wait":
                warming.hold_back(database, actor, one)
                told.append(f"Nothing is sent from {one} until its warm-up is started.")
            else:
                row = warming.start(database, actor, one, anyway=anyway)
                waits = " waits until its checks are without a critical finding" if row.state == "checking" else " has begun"
                told.append(f"The warm-up of {one}{waits}.")
        except Refused as error:
            told.append(f"{one}: {error.message}.")
    return told


def draft_of(session: Session, value: Value, **scope: str) -> Draft:
    """Give a setting as it would be; while the scope is not whole yet, as if it held for all."""
    try:
        target = target_of(session, **scope)
    except Refused:
        target = Target("default")
    return Draft(target, value)


def affected_by(session: Session, hostname: str, **scope: str) -> str:
    """Say how many senders a setting would hold for: `3 domains, 41 users will use this setting`."""
    try:
        target = target_of(session, **scope)
    except Refused:
        return "Say whom it is for, and they are counted here."
    return affected(session, target, node_of(session, hostname)).text


def known_findings(session: Session, hostname: str, address: str, draft: Draft, now: float) -> Sequence[Finding]:
    """Give what is known of an address without asking anybody: by the store, and by its latest checks."""
    facts = stored(session, hostname, address, draft, now).facts
    latest: Sequence[Kept] = kept(session, hostname, address)
    before = {one.check: one for row in latest for one in row.findings}
    fresh = [(one, one.check in FROM_STORE or one.outcome != "unknown") for one in judge(facts)]
    return [one if is_fresh else before.get(one.check, one) for one, is_fresh in fresh]


def known_critical(session: Session, hostname: str, draft: Draft, now: float) -> Sequence[tuple[str, Finding]]:
    """Give the critical findings for the addresses of a setting, each with its address, by what is known."""
    addresses = [one for one in (*draft.value.ipv4, *draft.value.ipv6) if one not in PRIMARY.values()]
    return [(one, finding) for one in addresses for finding in critical(known_findings(session, hostname, one, draft, now))]

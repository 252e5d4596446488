"""Checks of addresses, run: facts gathered side by side, judged, and kept. In: a database, a resolver. Out: findings.

Each wait has a deadline; what did not answer by then is unknown. Source: section F of the specification of delivery IPs.
"""

from __future__ import annotations

import asyncio
import ipaddress
import re
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any, TypeVar

from sqlalchemy import Select, func, select
from sqlalchemy.orm import Session

from hslpy.clock import Clock
from hslpy.dns.contract import Resolver
from hslpy.dns.spf import check_host
from hslpy.dns.spf_record import is_record
from hslpy.egress.accounts import site
from hslpy.egress.accounts.scopes import Target, key_of, tree_of
from hslpy.egress.addresses import helos
from hslpy.egress.addresses.interfaces import UNUSABLE, bind_fault
from hslpy.egress.addresses.inventory import node_of
from hslpy.egress.addresses.lookups import MOST_NAMES, Host, Lookup, ask, ask_host, ask_reverse
from hslpy.egress.checks.facts import Facts, Finding, Probe, Reputation, Server
from hslpy.egress.checks.preflight import judge, status
from hslpy.egress.checks.spf_advice import SpfVerdict
from hslpy.egress.delivery_ips.setting_rows import Value
from hslpy.egress.rules.book import PRIMARY
from hslpy.egress.rules.names import Refused, canonical_address, is_private
from hslpy.egress.rules.sources import family_of
from hslpy.egress.store import activity, tables
from hslpy.egress.store.database import Database
from hslpy.records import record

T = TypeVar("T")

LOOKUP_S = 8.0
SPF_S = 30.0  # for all domains together; RFC 7208 section 4.6.4 has 20 for one
PROBE_S = 10.0
_SPF_AT_ONCE = 16
_ADDRESSES_AT_ONCE = 4
_MOST_LINE_BYTES = 4096
_LITERAL = re.compile(r"\[(?:IPv6:)?([0-9A-Fa-f:.]+)\]")
_CLEAN = "clean"
_SAYS_NOTHING = ("not applicable", "private")  # of reputation: such lists are not asked


@record
class Draft:
    """A setting as it would be, for checks before it is saved."""

    target: Target
    value: Value


@record
class Kept:
    """What the latest checks of an address on a node found."""

    node: str
    address: str
    status: str
    findings: tuple[Finding, ...]
    checked_at: float


@record
class Stored:
    """What is stored of an address: facts, the senders' domains that use it on the node, other addresses' HELO names."""

    facts: Facts
    domains: Sequence[str]
    helos: tuple[tuple[str, str], ...]


class Checker:
    """Runs the checks on this node. Callables give what other rooms know, and None where that is not known.

    `queued_locked`: how many messages of locked senders are queued; it is asked where an address is to be replaced.
    """

    def __init__(
        self,
        database: Database,
        resolver: Resolver,
        clock: Clock,
        node: str,
        *,
        resolver_name: str = "",
        probe_port: int = 25,
        queued_locked: Callable[[], Awaitable[int | None]] = lambda: _just(None),
    ) -> None:
        self._database = database
        self._resolver = resolver
        self._clock = clock
        self._node = node
        self._resolver_name = resolver_name
        self._probe_port = probe_port
        self._queued_locked = queued_locked

    async def check(
        self, node: str, address: str, *, draft: Draft | None = None, replacing: str = ""
    ) -> tuple[Finding, ...]:
        """Check an address as it is set on a node, or would be by `draft`; without one the findings are kept.

        `replacing` is the address that this one is to replace. Raises NotFound for the node.
        """
        facts = await self.gather(node, address, draft=draft, replacing=replacing)
        findings = judge(facts)
        if draft is None and not replacing and findings[0].outcome == "pass":
            await asyncio.to_thread(self._keep, facts, findings)
        return findings

    async def check_now(
        self, node: str, addresses: Iterable[str], *, draft: Draft | None = None, replacing: str = ""
    ) -> Mapping[str, tuple[Finding, ...]]:
        """Check addresses as `check` does, each once, by what DNS says now: the asker may just have changed it."""
        self._resolver.flush()
        return await self._each(node, addresses, draft, replacing)

    async def check_all(self, *, only_new: bool = False) -> Sequence[str]:
        """Check this node's addresses, those that it has and those that are set for it, and give them.

        With `only_new` those alone that were never checked, or that came on a block list, or off it, since.
        """
        with_settings = await asyncio.to_thread(self._mine, only_new)
        await self._each(self._node, with_settings)
        return with_settings

    async def _each(
        self, node: str, addresses: Iterable[str], draft: Draft | None = None, replacing: str = ""
    ) -> Mapping[str, tuple[Finding, ...]]:
        gate = asyncio.Semaphore(_ADDRESSES_AT_ONCE)

        async def one(address: str) -> tuple[Finding, ...]:
            async with gate:
                return await self.check(node, address, draft=draft, replacing=replacing)

        asked = list(dict.fromkeys(addresses))
        return dict(zip(asked, await asyncio.gather(*map(one, asked)), strict=True))

    async def gather(self, node: str, address: str, *, draft: Draft | None = None, replacing: str = "") -> Facts:
        """Give all that can be known of an address now. Raises NotFound for the node."""
        try:
            address = canonical_address(address)
        except Refused:
            return Facts(address, node, self._clock.time())
        known = await asyncio.to_thread(self._stored, node, address, draft)
        facts, outside = known.facts, known.facts.outside
        reverse, forward = await self._reverse(outside) if outside else (None, {})
        helo = _effective(facts, reverse, forward)
        named = "" if helo.helo.startswith("[") else helo.helo
        asked = {*(one.name for one in facts.servers), facts.spf_host, named} - {"", *forward}
        found, spf, probe, queued = await asyncio.gather(
            self._hosts(sorted(asked)),
            self._spf(outside, named, known.domains) if outside else _just(None),
            self._probe(facts, named),
            self._queued_locked() if replacing else _just(None),
        )
        hosts = {**found, **forward}
        return replace(
            facts,
            names=reverse,
            hosts=hosts,
            helo=helo,
            same_helo=tuple(sorted({one for one, theirs in known.helos if theirs == helo.helo and one != outside})),
            servers=tuple(replace(one, host=hosts.get(one.name)) for one in facts.servers),
            spf=spf,
            probe=probe,
            replacing=replacing,
            queued_locked=queued,
        )

    # ---- what is asked ------------------------------------------------------------------------------

    async def _reverse(self, address: str) -> tuple[Lookup, Mapping[str, Host]]:
        names = await ask_reverse(self._resolver, address, LOOKUP_S)
        return names, await self._hosts(names.records[:MOST_NAMES])

    async def _hosts(self, names: Sequence[str]) -> Mapping[str, Host]:
        found = await asyncio.gather(*(ask_host(self._resolver, name, LOOKUP_S) for name in names))
        return dict(zip(names, found, strict=True))

    async def _spf(self, address: str, helo: str, domains: Sequence[str]) -> tuple[SpfVerdict, ...]:
        gate = asyncio.Semaphore(_SPF_AT_ONCE)
        asked = [*((domain, False) for domain in domains), *([(helo, True)] if helo else [])]

        async def one(domain: str, is_helo: bool) -> SpfVerdict:
            async with gate:
                now_s = self._clock.time()
                found = await check_host(self._resolver, address, helo, "" if is_helo else domain, now_s=now_s)
                texts = (await ask(self._resolver, domain, "TXT", LOOKUP_S)).records
                published = next((text for text in texts if is_record(text)), "")
                return SpfVerdict(domain, found.result, found.reason, published, is_helo)

        tasks = [asyncio.create_task(one(*each)) for each in asked]
        if tasks:
            _, late = await asyncio.wait(tasks, timeout=SPF_S)
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)
        late_reason = f"not answered within {SPF_S:g} s"
        return tuple(
            SpfVerdict(domain, "temperror", late_reason, "", is_helo) if task.cancelled() else task.result()
            for task, (domain, is_helo) in zip(tasks, asked, strict=True)
        )

    async def _probe(self, facts: Facts, helo: str) -> Probe | None:
        if not facts.probe_host or facts.node != self._node or facts.bind:
            return None
        try:
            targets: Sequence[str] = (canonical_address(facts.probe_host),)
        except Refused:
            kind = "A" if facts.family == 4 else "AAAA"
            found = await ask(self._resolver, facts.probe_host, kind, LOOKUP_S)  # type: ignore[arg-type]
            if found.state != "found":
                return Probe(found.error or f"{facts.probe_host} has no address of that family", reached=False)
            targets = found.records
        if family_of(targets[0]) != facts.family:
            return Probe(f"{facts.probe_host} has no address of that family", reached=False)
        return await probe(facts.address, targets[0], self._probe_port, helo)

    # ---- what is stored -----------------------------------------------------------------------------

    def _stored(self, node: str, address: str, draft: Draft | None) -> Stored:
        with self._database.read() as session:
            found = stored(session, node, address, draft, self._clock.time())
        facts = replace(
            found.facts,
            resolver=self._resolver_name,
            bind=bind_fault(address) or "" if found.facts.node == self._node else None,
        )
        return replace(found, facts=facts)

    def _mine(self, only_new: bool) -> Sequence[str]:
        with self._database.read() as session:
            node = node_of(session, self._node)
            there = tables.Address.present.is_(True)
            found = set(session.scalars(select(tables.Address.address).where(tables.Address.node_id == node.id, there)))
            query = select(tables.SettingAddress.address).join(
                tables.DeliverySetting, tables.DeliverySetting.id == tables.SettingAddress.setting_id
            )
            found.update(session.scalars(query.where(tables.DeliverySetting.node_id == node.id).distinct()))
            if only_new:
                found.difference_update(session.scalars(_still_true(node)))
        return sorted(found)

    def _keep(self, facts: Facts, findings: Sequence[Finding]) -> None:
        with self._database.keep() as session:
            node = node_of(session, facts.node)
            row = session.get(tables.Checkup, (node.id, facts.address))
            if row is None:
                row = tables.Checkup(node_id=node.id, address=facts.address)
                session.add(row)
            row.status, row.checked_at = status(findings), facts.now
            row.findings = [{**asdict(one), "resolver": facts.resolver} for one in findings]
            if facts.names is not None:
                helos.keep(session, facts.outside, _seen(facts, facts.names, facts.hosts))


def _still_true(node: tables.Node) -> Select[str]:
    """Select a node's addresses that were checked, and on no block list began or ended to be listed since."""
    kept, address = tables.Checkup, tables.Address
    outside = func.coalesce(func.nullif(address.public_address, ""), kept.address)
    listing, past = tables.Listing, tables.PastListing
    began = select(listing.address).where(listing.address == outside, listing.listed_since > kept.checked_at).exists()
    ended = select(past.address).where(past.address == outside, past.to_at > kept.checked_at).exists()
    known = (address.node_id == kept.node_id) & (address.address == kept.address)
    return select(kept.address).outerjoin(address, known).where(kept.node_id == node.id, ~began, ~ended)


def _seen(facts: Facts, names: Lookup, hosts: Mapping[str, Host]) -> helos.Seen:
    return helos.Seen(names, {name: hosts[name].of(facts.family) for name in names.records if name in hosts})


def _effective(facts: Facts, names: Lookup | None, hosts: Mapping[str, Host]) -> helos.Effective:
    """Give the HELO that will be in force once what was just looked up is kept."""
    stored = facts.helo
    assert stored is not None
    if names is None:
        return stored
    after = helos.remember(facts.before, facts.outside, _seen(facts, names, hosts), facts.now)
    override = stored.helo if stored.origin == "set" else ""
    return helos.effective(facts.address, override, after, facts.node, facts.now)


def kept(session: Session, node: str = "", address: str = "") -> Sequence[Kept]:
    """Give what the latest checks found, of all nodes and addresses or of those named. Raises NotFound."""
    query = select(tables.Checkup, tables.Node.name).join(tables.Node, tables.Checkup.node_id == tables.Node.id)
    if node:
        query = query.where(tables.Node.id == node_of(session, node).id)
    if address:
        query = query.where(tables.Checkup.address == canonical_address(address))
    rows = session.execute(query.order_by(tables.Node.id, tables.Checkup.address))
    return [Kept(name, row.address, row.status, tuple(map(_finding, row.findings)), row.checked_at) for row, name in rows]


def _finding(kept: Mapping[str, Any]) -> Finding:
    return Finding(kept["check"], kept["outcome"], kept["text"], tuple(kept["evidence"]), kept["counts"])


def stored(session: Session, node: str, address: str, draft: Draft | None, now: float) -> Stored:
    """Give what the database knows of an address on a node. Raises NotFound for the node."""
    owner = node_of(session, node)
    nodes = list(session.scalars(select(tables.Node).order_by(tables.Node.id)))
    rows = list(session.scalars(select(tables.Address)))
    mine = next((row for row in rows if row.node_id == owner.id and row.address == address), None)
    settings, names = site.read(session), helos.load(session)
    own = _settings_of(session, owner, draft)
    outside = names.publics.get(address, "") if is_private(address) else address
    others = {row.address for row in rows if row.present} - {address}
    former = owner.former.get(str(family_of(address)))
    warmup = session.get(tables.Warmup, outside)
    used = session.get(tables.AddressUse, (owner.name, address))
    values = [draft.value] if draft is not None else [one for one in own.values() if address in one.ipv6]
    facts = Facts(
        address,
        owner.name,
        now,
        reported_at=owner.reported_at,
        present=mine is not None and mine.present,
        flags=tuple(mine.flags) if mine is not None else (),
        nonlocal_bind=tuple(family for family in PRIMARY if family in owner.nonlocal_bind),
        public_address=names.publics.get(address, ""),
        servers=tuple(_server(row, rows, names.publics) for row in nodes),
        assigned=_assigned(session, address),
        former=(former[0], former[1]) if former else None,
        helo=names.of(address, now, node=owner.name),
        before=names.reverses.get(outside, helos.NEVER),
        spf_host=settings.spf_host,
        probe_host=settings.probe_host,
        reputation=_reputation(session, outside),
        neighbours=_neighbours(session, outside),
        warmup="" if warmup is None else "paused" if warmup.paused else warmup.state,
        first_seen_at=mine.first_seen_at if mine is not None else None,
        used_at=None if used is None else used.used_at,
        ipv4_disabled=any(one.ipv4_disabled for one in values),
        has_ipv6=_has_ipv6(owner, rows, names),
        without_ipv6=activity.without_ipv6(session, now),
    )
    return Stored(
        facts,
        affected_domains(session, owner, address, own, settings.missing_family == "inherit"),
        tuple((names.publics.get(one, one), names.of(one, now).helo) for one in sorted(others)),
    )


def _server(node: tables.Node, rows: Sequence[tables.Address], publics: Mapping[str, str]) -> Server:
    primary = frozenset(publics.get(one, one) for one in (node.primary_ipv4, node.primary_ipv6) if one)
    return Server(node.name, primary, frozenset(one.address for one in rows if one.node_id == node.id and one.present))


def _assigned(session: Session, address: str) -> tuple[str, ...]:
    """Give the nodes whose settings have an address."""
    setting = tables.DeliverySetting
    query = select(tables.Node.name).join(setting, setting.node_id == tables.Node.id)
    query = query.join(tables.SettingAddress, tables.SettingAddress.setting_id == setting.id)
    return tuple(
        session.scalars(query.where(tables.SettingAddress.address == address).distinct().order_by(tables.Node.name))
    )


def _settings_of(session: Session, node: tables.Node, draft: Draft | None) -> dict[str, Value]:
    """Give the settings of a node by their scopes' keys, with the one that would be."""
    rows = session.scalars(select(tables.DeliverySetting).where(tables.DeliverySetting.node_id == node.id))
    found = {row.scope: Value(tuple(row.ipv4), tuple(row.ipv6), row.ipv4_disabled, row.strict) for row in rows}
    if draft is not None:
        found[key_of(draft.target)] = draft.value
    return found


def affected_domains(
    session: Session, node: tables.Node, address: str, settings: Mapping[str, Value], inherits: bool
) -> Sequence[str]:
    """Give the domains whose mail can leave from an address by these settings: by their own, or one of their users'."""
    family = family_of(address)
    primary = node.primary_ipv4 if family == 4 else node.primary_ipv6

    def uses(value: Value | None) -> bool | None:
        if value is None:
            return None
        if family == 4 and value.ipv4_disabled:
            return False
        addresses = value.ipv4 if family == 4 else value.ipv6
        if not addresses and inherits:
            return None
        return address in addresses or (address == primary and (not addresses or PRIMARY[family] in addresses))

    tree = tree_of(session)
    found: set[int] = set()
    for domain_id in tree.admin_of:
        steps = (uses(settings.get(key_of(step))) for step in tree.chain(Target("domain", None, domain_id)))
        if next((one for one in steps if one is not None), address == primary):
            found.add(domain_id)
    own = select(tables.DeliverySetting.scope, tables.DeliverySetting.domain_id).where(
        tables.DeliverySetting.node_id == node.id, tables.DeliverySetting.level.in_(("user", "identity"))
    )
    found.update(domain_id for scope, domain_id in session.execute(own) if domain_id and uses(settings.get(scope)))
    return sorted(session.scalars(select(tables.Domain.name).where(tables.Domain.id.in_(found))))


def _reputation(session: Session, address: str) -> Reputation | None:
    query = select(tables.Listing, tables.Dnsbl.name).join(tables.Dnsbl, tables.Listing.dnsbl_id == tables.Dnsbl.id)
    in_use = tables.Dnsbl.enabled.is_(True), tables.Dnsbl.hidden.is_(False)
    rows = [(row, name) for row, name in session.execute(query.where(tables.Listing.address == address, *in_use)).all()]
    asked = [(row, name) for row, name in rows if row.status not in _SAYS_NOTHING]
    if not asked:
        return None
    listed = [(name, _severity(row), "; ".join(row.meanings)) for row, name in asked if row.listed_since is not None]
    clean = sum(row.status == _CLEAN and row.listed_since is None for row, _ in asked)
    return Reputation(tuple(sorted(listed)), clean, len(asked) - len(listed) - clean)


def _severity(row: tables.Listing) -> str:
    return row.severity if row.severity != "none" else row.listed_severity  # listed before; the latest result says nothing


def _neighbours(session: Session, address: str) -> tuple[str, ...] | None:
    if not address or family_of(address) == 4:
        return None
    network = ipaddress.ip_network(f"{address}/64", strict=False)
    rows = session.execute(select(tables.Listing.address, tables.Listing.listed_since)).all()
    near = [(one, since) for one, since in rows if family_of(one) == 6 and ipaddress.ip_address(one) in network]
    return tuple(sorted({one for one, since in near if since is not None and one != address})) if near else None


def _has_ipv6(node: tables.Node, rows: Sequence[tables.Address], names: helos.Helos) -> bool | None:
    """Say whether a node has an IPv6 address that can be used and has reverse DNS, None where that is not known."""
    if not node.ipv6_enabled:
        return False
    if node.reported_at is None:
        return None
    mine = [one for one in rows if one.node_id == node.id and one.present and ":" in one.address]
    usable = [one.public_address or one.address for one in mine if not set(one.flags) & set(UNUSABLE)]
    reverses = [names.reverses.get(one) for one in usable if not is_private(one)]
    if any(one is not None and one.names for one in reverses):
        return True
    return None if any(one is None or one.error for one in reverses) else False


async def probe(address: str, target: str, port: int, helo: str, timeout_s: float = PROBE_S) -> Probe:
    """Connect from an address to a mail server, greet it and leave; it may tell in its reply which address it sees."""
    try:
        async with asyncio.timeout(timeout_s):
            reader, writer = await asyncio.open_connection(target, port, local_addr=(address, 0), limit=_MOST_LINE_BYTES)
    except TimeoutError:
        return Probe(f"no answer within {timeout_s:g} s")
    except OSError as error:
        return Probe((error.strerror or str(error)).lower())
    seen = ""
    try:
        async with asyncio.timeout(timeout_s):
            await reader.readline()
            writer.write(f"EHLO {helo or f'[{address}]'}\r\n".encode())
            literal = _LITERAL.search((await reader.readline()).decode("ascii", "replace"))
            if literal is not None:
                seen = canonical_address(literal[1])
            writer.write(b"QUIT\r\n")
            await writer.drain()
    except (TimeoutError, OSError, ValueError, Refused):
        pass  # it was reached, which is what was asked
    finally:
        writer.close()
    return Probe(seen=seen)


async def _just(value: T) -> T:
    return value

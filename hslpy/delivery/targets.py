"""From a destination to addresses. In: a domain or a host, a resolver, rules. Out: a `Plan`. Asks, decides nothing.

Source: RFC 5321 section 5.1: addresses of the domain itself only where it has no MX at all.
"""

from __future__ import annotations

import asyncio
import math
import random
from dataclasses import field, replace

from hslpy.client.lookup_contract import Server
from hslpy.delivery.plan import (
    Plan,
    Problem,
    Target,
    TargetRules,
    is_null_mx,
    literal_address,
    order_hosts,
    refusal,
    wanted_hosts,
)
from hslpy.dns.contract import NameNotFound, ResolutionFailed, Resolver
from hslpy.dns.hosts import addresses_of
from hslpy.egress.rules.sources import family_of
from hslpy.errors import MailError
from hslpy.mail.address import ascii_domain
from hslpy.records import dataclass

# Hosts looked up for one attempt: a zone may list thousands, each of them slow to fail, and so hold the slot for hours.
MOST_HOSTS = 20


async def find_targets(
    resolver: Resolver,
    name: str,
    port: int,
    rules: TargetRules,
    rng: random.Random,
    *,
    use_mx: bool,
    prefer: int = 4,
    limit_s: float = math.inf,
) -> Plan:
    """Give where mail for the domain `name` (`use_mx`) or over the host `name` goes, as far as is known by `limit_s`."""
    search = _Search(resolver, port, rules, rng, prefer)
    try:
        async with asyncio.timeout(limit_s if limit_s < math.inf else None):
            plan = await _find(search, name, use_mx)
    except TimeoutError:
        search.temporary = "no answer in time"
        plan = search.plan(name)
    return replace(plan, has_ipv6=search.has_ipv6)


async def _find(search: _Search, name: str, use_mx: bool) -> Plan:
    resolver, rules = search.resolver, search.rules
    literal = literal_address(name)
    if literal is not None:
        search.families = {family: family == family_of(literal) for family in (4, 6)}
        search.consider(literal, [literal], 0)
        return search.plan(name)
    if not name or name.startswith("["):
        return Plan(problem=Problem(550, (5, 1, 2), f"{name or 'an empty domain'} is no mail domain"))
    name = ascii_domain(name)
    if not use_mx:
        await search.resolve(((0, name),))
        return search.plan(name)
    try:
        answer = await resolver.query(name, "MX")
    except NameNotFound as error:
        if error.kind == "NXDOMAIN":
            return Plan(problem=Problem(550, (5, 1, 2), f"Domain {name} does not exist"))
        await search.resolve(((0, name),))
        return search.plan(name)
    except ResolutionFailed as error:
        return Plan(problem=Problem(451, (4, 4, 3), f"DNS has no answer on {name} now: {error.message}"))
    if is_null_mx(answer.mx):
        return Plan(problem=Problem(556, (5, 1, 10), f"Domain {name} does not accept mail"))
    hosts = wanted_hosts(order_hosts(answer.mx, search.rng), rules.include, rules.exclude)
    if not hosts:
        return Plan(problem=Problem(451, (4, 4, 4), f"No MX of {name} may be used", "policy"))
    await search.resolve(hosts)
    return search.plan(name)


async def hosts_of(
    resolver: Resolver, rng: random.Random, rules: TargetRules, server: Server, domain: str
) -> list[tuple[str, str]]:
    """Give (host, address) of the server that a script names, or of the domain's MX. Raises MailError where there are none.

    What `rules` say of private addresses is for those that DNS gave: a script may name any.
    """
    if server.source_ip is not None:
        rules = replace(rules, families=(family_of(server.source_ip),))
    if server.host is not None:
        addresses = [one for one in await addresses_of(resolver, server.host) if family_of(one) in rules.families]
        return [(server.host, address) for address in addresses]
    rules = replace(rules, include=server.mx_include, exclude=server.mx_exclude)
    plan = await find_targets(resolver, domain, server.port, rules, rng, use_mx=True)
    if plan.problem is not None:
        raise MailError(plan.problem.text, temporary=plan.problem.temporary)
    return [(target.host, target.address) for target in plan.targets]


@dataclass(slots=True)
class _Search:
    resolver: Resolver
    port: int
    rules: TargetRules
    rng: random.Random
    prefer: int
    found: list[tuple[int, Target]] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)
    refused: bool = False
    closed: str = ""
    temporary: str = ""
    ours_at: int | None = None
    families: dict[int, bool | None] = field(default_factory=dict)
    """Whether a host has an address of these, None where DNS has not said so of each that was asked."""

    @property
    def has_ipv6(self) -> bool | None:
        return self.families.get(6) if any(self.families.values()) else None

    async def resolve(self, hosts: tuple[tuple[int, str], ...]) -> None:
        """Look up hosts in order until there are targets enough."""
        if len(hosts) > MOST_HOSTS:
            self.skipped.append(f"{len(hosts) - MOST_HOSTS} more hosts")
        for preference, host in hosts[:MOST_HOSTS]:
            if len(self.found) >= self.rules.limit or (self.ours_at is not None and preference >= self.ours_at):
                break
            literal = literal_address(host)
            self.consider(host, [literal] if literal is not None else await self._addresses(host), preference)

    def consider(self, host: str, addresses: list[str], preference: int) -> None:
        for address in addresses:
            why = refusal(address, self.port, self.rules)
            if why == "self":
                self.ours_at = preference
            if why is not None:
                self.refused = True
                self.skipped.append(f"{host} [{address}]: {'ourselves' if why == 'self' else 'a private address'}")
            elif family_of(address) not in self.rules.families:
                family = family_of(address)
                self.closed = self.closed or self.rules.closed.get(family, "")
                self.skipped.append(f"{host} [{address}]: no source of IPv{family}")
            else:
                self.found.append((preference, Target(host, address, self.port)))

    async def _addresses(self, host: str) -> list[str]:
        families = (self.prefer, 10 - self.prefer)
        reached = [family for family in families if family in self.rules.families]
        if len(reached) == 1:
            answers = [await self._query(host, reached[0])]
        else:
            answers = await asyncio.gather(*(self._query(host, family) for family in reached))
        if not any(answers):  # asked only to say what is the matter
            answers = [await self._query(host, family) for family in families if family not in self.rules.families]
        if not any(answers):
            self.skipped.append(f"{host}: no address")
        return [address for addresses in answers for address in addresses]

    async def _query(self, host: str, family: int) -> list[str]:
        try:
            answer = await self.resolver.query(host, "A" if family == 4 else "AAAA")
        except NameNotFound:
            self.families.setdefault(family, False)
            return []
        except ResolutionFailed as error:
            self.temporary = error.message
            self.families[family] = self.families.get(family) or None
            return []
        addresses = list(answer.records)
        self.families[family] = True
        self.rng.shuffle(addresses)
        return addresses

    def plan(self, name: str) -> Plan:
        found = self.found
        if self.ours_at is not None:  # RFC 5321 5.1: hosts no better than ourselves would send it back to us
            found = [(preference, target) for preference, target in found if preference < self.ours_at]
        skipped = tuple(self.skipped)
        if found:
            return Plan(tuple(target for _, target in found[: self.rules.limit]), skipped=skipped)
        if self.temporary:
            return Plan(
                problem=Problem(451, (4, 4, 3), f"DNS has no answer on {name} now: {self.temporary}"), skipped=skipped
            )
        if self.refused:
            text = f"Mail for {name} would go to {'ourselves' if self.ours_at is not None else 'a private address'}"
            return Plan(problem=Problem(554, (5, 4, 6), text, "policy"), skipped=skipped)
        if self.closed:
            return Plan(problem=Problem(451, (4, 4, 0), f"4.4.0 {self.closed}", "policy"), skipped=skipped)
        if any("no source" in text for text in skipped):
            return Plan(problem=Problem(451, (4, 4, 4), f"No source reaches the hosts of {name}", "policy"), skipped=skipped)
        return Plan(problem=Problem(550, (5, 4, 4), f"No host for {name} has an address"), skipped=skipped)

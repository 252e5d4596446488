"""Whom a setting is for, by the rows of the database. In: names as operators write them. Out: targets, what they inherit.

Source: A2, A3 point 1, A5, C1 and C2 of the specification of delivery IPs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from sqlalchemy import select
from sqlalchemy.orm import Session

from hslpy.egress.accounts.admins import admin_of, count
from hslpy.egress.accounts.directory import domain_of, scope_key, user_of
from hslpy.egress.rules.book import DEFAULT, LEVELS, MOST_IDENTITY_BYTES, Level, comparable, level_of
from hslpy.egress.rules.names import Refused, about
from hslpy.egress.store import tables
from hslpy.records import record


@record
class Target:
    """Whom a setting is for: as `book.Scope`, with the ids of admin and domain."""

    level: Level
    admin_id: int | None = None
    domain_id: int | None = None
    username: str = ""
    identity: str = ""


@record
class Tree:
    """Which admin a domain has, and which one is above an admin, by ids."""

    admin_of: Mapping[int, int | None]
    parent_of: Mapping[int, int | None]

    def admins(self, admin_id: int | None) -> Sequence[int]:
        """Give an admin and those above it, nearest first, each once though they be set in a circle."""
        seen: dict[int, None] = {}
        while admin_id is not None and admin_id not in seen:
            seen[admin_id] = None
            admin_id = self.parent_of.get(admin_id)
        return list(seen)

    def chain(self, target: Target) -> Sequence[Target]:
        """Give a target and those it inherits from, most specific first. Source: C1, C2."""
        steps = [target]
        if target.domain_id is not None:
            if target.level == "identity" and target.username:
                steps.append(Target("user", None, target.domain_id, target.username))
            if target.level != "domain":
                steps.append(Target("domain", None, target.domain_id))
            steps += [Target("admin", one) for one in self.admins(self.admin_of.get(target.domain_id))]
        elif target.level == "admin":
            steps += [Target("admin", one) for one in self.admins(target.admin_id)[1:]]
        return steps if target.level == "default" else [*steps, Target("default")]


@record
class Affected:
    """Whom a setting holds for on a node, those with a more specific one left out."""

    domains: int
    users: int

    @property
    def text(self) -> str:
        return f"{count(self.domains, 'domain')}, {count(self.users, 'user')} will use this setting"


def key_of(target: Target) -> str:
    return scope_key(target.level, target.admin_id, target.domain_id, target.username, target.identity)


def targets_of(
    session: Session,
    *,
    domain: str = "",
    username: str = "",
    identity: str = "",
    admin: str = "",
    several: bool = True,
) -> tuple[Sequence[Target], list[str]]:
    """Give the targets that arguments of the API name, and warnings; `several` domains have `;` between.

    Raises Refused, NotFound, with the field at fault.
    """
    if admin.strip():
        for name, value in (("domain", domain), ("username", username), ("identity", identity)):
            if value.strip():
                raise Refused(f"'admin' applies to all domains of an admin; leave '{name}' empty")
        with about("admin"):
            return [Target("admin", admin_of(session, admin).id)], []
    names = [part.strip() for part in (domain.split(";") if several else [domain]) if part.strip()]
    if not names:
        raise Refused("missing argument 'domain'")
    targets: dict[Target, None] = {}
    warnings = []
    for name in names:
        if name.lower() == DEFAULT:
            for argument, value in (("username", username), ("identity", identity)):
                if value.strip():
                    raise Refused(f"'{DEFAULT}' applies to every user; leave '{argument}' empty")
            targets[Target("default")] = None
            continue
        with about("domain"):
            found = domain_of(session, name)
        own = session.scalars(select(tables.Domain).where(tables.Domain.main_id == found.id)).all()
        alias = next((one.name for one in own if comparable(name).removesuffix(".") == one.name), None)
        if alias is not None:
            warnings.append(f"{alias} is an alias: this holds for {found.name}")
        with about("username"):
            user = user_of(session, found, username).name if username.strip() else ""
        with about("identity"):
            seen = checked_identity(identity)
        level: Level = "identity" if seen else "user" if user else "domain"
        targets[Target(level, None, found.id, user, seen)] = None
    return list(targets), warnings


def target_of(
    session: Session, *, level: str = "", admin: str = "", domain: str = "", username: str = "", identity: str = ""
) -> Target:
    """Give the one target that is named; with `level`, it has to be of that level. Raises Refused, NotFound."""
    if level:
        known = level_of(level)
        if known is None:
            raise Refused(f"'{level}' is no level: {', '.join(LEVELS)}")
        level = known
    if level == DEFAULT:
        domain = domain or DEFAULT
    if level == "admin" and not admin.strip():
        raise Refused("choose an admin")
    if level in ("domain", "user", "identity") and not domain.strip():
        raise Refused("choose a domain")
    targets, _ = targets_of(session, domain=domain, username=username, identity=identity, admin=admin, several=False)
    target = targets[0]
    if level and target.level != level:
        wanted = {"user": "a username", "identity": "an identity"}.get(level)
        raise Refused(f"the level '{level}' wants {wanted}" if wanted else f"the level '{level}' takes less than was given")
    return target


def checked_identity(text: str) -> str:
    """Give an identity as it is compared. Raises Refused."""
    identity = comparable(text.strip())
    if len(identity.encode()) > MOST_IDENTITY_BYTES or not identity.isprintable():
        raise Refused(f"an identity has {MOST_IDENTITY_BYTES} octets at most, and no control characters")
    return identity


def tree_of(session: Session, domain_id: int | None = None) -> Tree:
    """Give the tree of all domains, or of the one that is named."""
    domains = select(tables.Domain.id, tables.Domain.admin_id).where(tables.Domain.main_id.is_(None))
    if domain_id is not None:
        domains = domains.where(tables.Domain.id == domain_id)
    admins = select(tables.Admin.id, tables.Admin.parent_id)
    return Tree(dict(session.execute(domains).all()), dict(session.execute(admins).all()))


def affected(session: Session, target: Target, node: tables.Node) -> Affected:
    """Count whom a setting of this target would hold for on a node."""
    if target.level in ("user", "identity"):
        return Affected(1, 1)
    settings = select(tables.DeliverySetting.scope).where(tables.DeliverySetting.node_id == node.id)
    there = {*session.scalars(settings), key_of(target)} - {DEFAULT}
    tree = tree_of(session)
    mine = set()
    for domain_id in tree.admin_of:
        steps = tree.chain(Target("domain", None, domain_id))
        if next((step for step in steps if key_of(step) in there), steps[-1]) == target:
            mine.add(domain_id)
    users = session.execute(select(tables.User.domain_id, tables.User.name).where(tables.User.domain_id.in_(mine)))
    return Affected(len(mine), sum(not name or key_of(Target("user", None, one, name)) not in there for one, name in users))

"""Whose mail it is: domains, outgoing users, identities seen. In: names. Out: records.

Each function is one change or one question. What depends on something that is removed goes with it, and the result says
so. Names are compared as section C2 of the specification of delivery IPs has it. Must not know of HTTP or SMTP.

Where a change takes `admins`, they are who asks and all below: what somebody else has locked they cannot unlock, rename or
remove. None: anybody's. Where one takes `queued` and `held`, they are what `former.settle` goes by.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Mapping, Sequence

from sqlalchemy import Select, delete, func, select, update
from sqlalchemy.orm import Session, aliased

from hslpy.egress.accounts import former
from hslpy.egress.accounts.admins import Removed, admin_of, count
from hslpy.egress.accounts.former import Queued
from hslpy.egress.accounts.locks import lock, reason_of, refuse_others_lock, unlock
from hslpy.egress.rules.book import DEFAULT, comparable
from hslpy.egress.rules.names import NotFound, Refused, about, domain_name
from hslpy.egress.store import tables
from hslpy.egress.store.database import Actor, Change, Database
from hslpy.records import record
from hslpy.users import argon

_CHANGES_OF_SENDERS = ("domain set", "user lock", "user set", "user unlock")
MOST_IDENTITIES = 200  # kept of one user; they are there for suggestions


@record
class Domain:
    """A customer's domain; `aliases` are names that stand for it, `users` is how many it has, its own one counted."""

    name: str
    admin: str
    aliases: tuple[str, ...]
    users: int
    locked: bool
    locked_by: str
    created_at: float


@record
class User:
    """An outgoing user. `network` is empty for one that signs in with a password, else its name: an address or a network."""

    domain: str
    username: str
    network: str
    locked: bool
    locked_reason: str
    locked_at: float | None
    locked_by: str
    created_at: float


def list_domains(database: Database, *, admins: frozenset[str] | None = None) -> Sequence[Domain]:
    """Give the domains by name; with `admins`, those of these admins."""
    with database.read() as session:
        return [one for one in _domains(session) if admins is None or one.admin in admins]


def get_domain(database: Database, name: str, *, admins: frozenset[str] | None = None) -> Domain:
    """Give a domain, for an alias the one it stands for; with `admins`, one of these admins. Raises NotFound."""
    with database.read() as session:
        found = _domain(session, domain_of(session, name).name)
    if admins is not None and found.admin not in admins:
        raise NotFound(f"domain '{name.strip()}' does not exist")
    return found


def add_domain(database: Database, actor: Actor, name: str, *, admin: str = "", alias_of: str = "") -> Domain:
    """Add a domain with its own user, which has no password yet, or an alias of one. Raises Refused, NotFound."""
    kept = _new_name(name)
    with database.change(actor, "domain add", {"name": kept, "admin": admin, "alias_of": alias_of}) as change:
        if change.scalar(select(tables.Domain.id).where(tables.Domain.name == kept)):
            raise Refused(f"there is a domain '{kept}' already", 409)
        if admin and alias_of:
            raise Refused("an alias has the admin of the domain it stands for")
        added = tables.Domain(name=kept, created_at=change.now)
        added.admin_id = admin_of(change, admin).id if admin else None
        added.main_id = domain_of(change, alias_of).id if alias_of else None
        former.take_name(change, kept, own_id=added.main_id, is_alias=bool(alias_of))
        change.add(added)
        change.flush()
        if not alias_of:
            change.add(tables.User(domain_id=added.id, name="", created_at=change.now))
            change.flush()
        return _domain(change, domain_of(change, kept).name)


def set_domain(
    database: Database,
    actor: Actor,
    name: str,
    *,
    new_name: str | None = None,
    admin: str | None = None,
    locked: bool | None = None,
    admins: frozenset[str] | None = None,
) -> Domain:
    """Change what is given; an empty admin is none. Its users and settings stay its own. Raises Refused, NotFound."""
    told = {"name": name, "new_name": new_name, "admin": admin, "locked": locked}
    with database.change(actor, "domain set", {key: value for key, value in told.items() if value is not None}) as change:
        found = _own_row(change, name)
        if found.main_id is not None and (admin is not None or locked is not None):
            raise Refused(f"'{found.name}' is an alias: change the domain it stands for")
        if locked is not None:
            refuse_others_lock(found, f"the domain {found.name}", admins)
        if new_name is not None and (kept := _new_name(new_name)) != found.name:
            _refuse_others_locks(change, found, admins)
            if change.scalar(select(tables.Domain.id).where(tables.Domain.name == kept)):
                raise Refused(f"there is a domain '{kept}' already", 409)
            former.take_name(change, kept, own_id=found.main_id or found.id, is_alias=found.main_id is not None)
            change.execute(update(tables.Identity).where(tables.Identity.domain == found.name).values(domain=kept))
            if found.main_id is None:
                former.domain_renamed(change, found.name, kept, found.id)
            found.name = kept
        if admin_allowed(admin, admins) is not None:
            found.admin_id = admin_of(change, admin).id if admin else None
        if locked is not None:
            found.locked, found.locked_by = locked, actor.name if locked else ""
        change.flush()
        return _domain(change, domain_of(change, found.name).name)


def remove_domain(
    database: Database,
    actor: Actor,
    name: str,
    *,
    only_look: bool = False,
    admins: frozenset[str] | None = None,
    queued: Queued = "",
    held: int | None = 0,
) -> Removed:
    """Remove a domain with its aliases, users and delivery IPs, or an alias alone. `only_look` tells what would be."""
    with database.change_or_look(actor, "domain remove", _told_of({"name": name}, queued), only_look) as change:
        found = _own_row(change, name)
        _refuse_others_locks(change, found, admins)
        settings = select(tables.DeliverySetting.id).where(tables.DeliverySetting.domain_id == found.id)
        also = [
            *_counted(change, select(tables.Domain.id).where(tables.Domain.main_id == found.id), "alias", "aliases"),
            *_counted(
                change, select(tables.User.id).where(tables.User.domain_id == found.id, tables.User.name != ""), "user"
            ),
            *_counted(change, settings, "delivery IP setting"),
        ]
        locked = found.main_id is None and bool(found.locked or _locked_users(change, found))
        removed = Removed(f"{'alias' if found.main_id else 'domain'} '{found.name}'", tuple(also), held if locked else 0)
        if isinstance(change, Change):
            if found.main_id is None:
                former.settle(change, found.name, "", locked, queued, held)
            change.execute(delete(tables.DeliverySetting).where(tables.DeliverySetting.domain_id == found.id))
            change.execute(delete(tables.User).where(tables.User.domain_id == found.id))
            change.execute(delete(tables.Identity).where(tables.Identity.domain == found.name))
            change.execute(delete(tables.Domain).where(tables.Domain.main_id == found.id))
            change.delete(found)
            change.result = removed.text
        return removed


def list_users(database: Database, domain: str | None = None, *, admins: frozenset[str] | None = None) -> Sequence[User]:
    """Give the users by domain and name; the domain's own one, with an empty name, comes first. Raises NotFound."""
    with database.read() as session:
        query = (
            select(tables.User, tables.Domain.name, tables.Admin.name)
            .join(tables.Domain, tables.User.domain_id == tables.Domain.id)
            .outerjoin(tables.Admin, tables.Domain.admin_id == tables.Admin.id)
            .order_by(tables.Domain.name, tables.User.name)
        )
        if domain is not None:
            query = query.where(tables.User.domain_id == domain_of(session, domain).id)
        found = session.execute(query).all()
        return [_user(one, name) for one, name, admin in found if admins is None or admin in admins]


def add_user(
    database: Database,
    actor: Actor,
    domain: str,
    username: str = "",
    *,
    password: str = "",
    hashed: str = "",
    admins: frozenset[str] | None = None,
) -> User:
    """Add an outgoing user: with a password or an argon2 hash of it; one whose name is an address or network needs none.

    With `admins`, whose domains alone somebody sees, it has a password. An empty name gives
    the domain's own user a password. Raises Refused, NotFound.
    """
    name, network = user_name(username)
    if admins is not None:
        _refuse_network(network)
    kept = _password(password, hashed, wanted=not network)
    with database.change(actor, "user add", {"domain": domain, "username": name}) as change:
        owner = domain_of(change, domain)
        found = _found_user(change, owner, name)
        if found is not None and (name or found.password_hash):
            raise Refused(f"there is an outgoing user '{name}' in {owner.name} already", 409)
        if network:
            _refuse_taken(change, network)
        if name:
            former.take_name(change, owner.name, name)
        added = found or tables.User(domain_id=owner.id, name=name, network=network, created_at=change.now)
        added.password_hash = kept
        change.add(added)
        change.flush()
        return _user(added, owner.name)


def set_user(
    database: Database,
    actor: Actor,
    domain: str,
    username: str,
    *,
    new_name: str | None = None,
    password: str = "",
    hashed: str = "",
    admins: frozenset[str] | None = None,
) -> User:
    """Change a user's name, with which its delivery IPs go, or its password. Raises Refused, NotFound."""
    kept = _password(password, hashed, wanted=False)
    told = {"domain": domain, "username": username, "new_name": new_name, "password": "changed" if kept else None}
    with database.change(actor, "user set", {key: value for key, value in told.items() if value is not None}) as change:
        owner = domain_of(change, domain)
        found = user_of(change, owner, username)
        if kept:
            if found.network:
                raise Refused(f"'{found.name}' is known by its address and has no password")
            found.password_hash = kept
        if new_name is not None:
            name, network = user_name(new_name)
            if not found.name or not name:
                raise Refused("the domain's own user has no name, and no other can have none")
            if bool(network) != bool(found.network):
                raise Refused("a user with a password cannot become one that is known by its address, nor the reverse")
            if name != found.name:
                refuse_others_lock(found, f"{found.name} of {owner.name}", admins)
                if admins is not None:
                    _refuse_network(network)
                if _found_user(change, owner, name) is not None:
                    raise Refused(f"there is an outgoing user '{name}' in {owner.name} already", 409)
                if network:
                    _refuse_taken(change, network)
                _rename(change, owner, found, name)
                found.network = network
        change.flush()
        return _user(found, owner.name)


def lock_user(
    database: Database,
    actor: Actor,
    domain: str,
    username: str,
    reason: str = "",
    *,
    admins: frozenset[str] | None = None,
) -> User:
    """Keep a user from sending; one that is locked keeps its time and takes the new reason. Raises NotFound, Refused."""
    reason = reason_of(reason)
    with database.change(actor, "user lock", {"domain": domain, "username": username, "reason": reason}) as change:
        owner = domain_of(change, domain)
        found = user_of(change, owner, username)
        refuse_others_lock(found, f"{found.name or 'the own user'} of {owner.name}", admins)
        lock(change, found, reason)
        return _user(found, owner.name)


def unlock_user(
    database: Database, actor: Actor, domain: str, username: str, *, admins: frozenset[str] | None = None
) -> User:
    with database.change(actor, "user unlock", {"domain": domain, "username": username}) as change:
        owner = domain_of(change, domain)
        found = user_of(change, owner, username)
        refuse_others_lock(found, f"{found.name or 'the own user'} of {owner.name}", admins)
        unlock(found)
        return _user(found, owner.name)


def remove_user(
    database: Database,
    actor: Actor,
    domain: str,
    username: str,
    *,
    only_look: bool = False,
    admins: frozenset[str] | None = None,
    queued: Queued = "",
    held: int | None = 0,
) -> Removed:
    """Remove a user with its delivery IPs; the domain's own one only loses its password. `only_look` tells what would be."""
    told = _told_of({"domain": domain, "username": username}, queued)
    with database.change_or_look(actor, "user remove", told, only_look) as change:
        owner = domain_of(change, domain)
        found = user_of(change, owner, username)
        if not found.name:
            found.password_hash = "" if not only_look else found.password_hash
            return Removed(f"the password of {owner.name}'s own user")
        refuse_others_lock(found, f"{found.name} of {owner.name}", admins)
        mine = (tables.DeliverySetting.domain_id == owner.id, tables.DeliverySetting.username == found.name)
        also = _counted(change, select(tables.DeliverySetting.id).where(*mine), "delivery IP setting")
        removed = Removed(f"outgoing user '{found.name}' of {owner.name}", tuple(also), held if found.locked else 0)
        if isinstance(change, Change):
            former.settle(change, owner.name, found.name, found.locked, queued, held)
            change.execute(delete(tables.DeliverySetting).where(*mine))
            change.execute(
                delete(tables.Identity).where(tables.Identity.domain == owner.name, tables.Identity.username == found.name)
            )
            change.delete(found)
            change.result = removed.text
        return removed


def saw_identities(database: Database, seen: Iterable[tuple[str, str, str]]) -> None:
    """Keep which identities messages had, as (domain, username, identity); a user's oldest go where there are too many."""
    wanted = {(domain, name, comparable(identity.strip())[:998]) for domain, name, identity in seen if identity.strip()}
    with database.keep() as session:
        for domain, username, identity in sorted(wanted):
            mine = (tables.Identity.domain == domain, tables.Identity.username == username)
            found = session.scalars(select(tables.Identity).where(*mine, tables.Identity.identity == identity)).one_or_none()
            if found is None:
                found = tables.Identity(domain=domain, username=username, identity=identity)
                session.add(found)
            found.seen_at = session.now
            session.flush()
            newest = select(tables.Identity.id).where(*mine).order_by(tables.Identity.seen_at.desc(), tables.Identity.id)
            for old in session.scalars(newest.offset(MOST_IDENTITIES)).all():
                session.execute(delete(tables.Identity).where(tables.Identity.id == old))


def changed_at(session: Session) -> float:
    """Give when a user or domain was last locked, unlocked or renamed, or changed otherwise; 0.0: never."""
    action = tables.Audit.action
    return session.scalar(select(func.max(tables.Audit.at)).where(action.in_(_CHANGES_OF_SENDERS))) or 0.0


def identities(database: Database, domain: str, username: str = "", beginning: str = "", most: int = 20) -> Sequence[str]:
    """Give identities that a user's messages had, the latest first, for suggestions."""
    with database.read() as session:
        owner = domain_of(session, domain)
        query = select(tables.Identity.identity).where(
            tables.Identity.domain == owner.name,
            tables.Identity.username == user_name(username)[0],
            tables.Identity.identity.startswith(comparable(beginning.strip()), autoescape=True),
        )
        return session.scalars(query.order_by(tables.Identity.seen_at.desc()).limit(most)).all()


def user_name(text: str) -> tuple[str, str]:
    """Give a user's name as it is kept, and its network where it is one: `192.0.2.7`, `2001:db8::/32`. Raises Refused."""
    name = text.strip()
    if len(name) > 255 or not name.isprintable():
        raise Refused("the name of a user has 255 characters at most, and no control characters")
    try:
        network = ipaddress.ip_network(name)
    except ValueError:
        try:
            network = ipaddress.ip_network(name, strict=False)
        except ValueError:
            return comparable(name), ""
        raise Refused(f"'{name}' has bits beyond its prefix; the network is {network}") from None
    kept = str(network.network_address) if network.num_addresses == 1 else str(network)
    return kept, kept


def domain_of(session: Session, name: str) -> tables.Domain:
    """Give the row of a domain, for an alias of the one it stands for. Raises NotFound. Source: A5 (E05), C2."""
    found = _own_row(session, name)
    main = session.get(tables.Domain, found.main_id) if found.main_id is not None else None
    return main or found


def user_of(session: Session, domain: tables.Domain, username: str) -> tables.User:
    """Give the row of a domain's user. Raises NotFound. Source: A5 (E06)."""
    try:
        found = _found_user(session, domain, user_name(username)[0])
    except Refused:
        found = None
    if found is None:
        raise NotFound(f"outgoing user '{username.strip()}' does not exist in {domain.name}")
    return found


def admin_allowed(admin: str | None, mine: frozenset[str] | None) -> str | None:
    """Give the admin that a domain is to have. Raises Refused for one that is not among `mine` (None: all)."""
    if mine is not None and admin is not None and admin not in mine:
        with about("admin"):
            raise Refused(f"a domain of yours has an admin of yours: {', '.join(sorted(mine))}", 403)
    return admin


def _own_row(session: Session, name: str) -> tables.Domain:
    try:
        kept = domain_name(name)
    except Refused:
        kept = ""
    found = session.scalars(select(tables.Domain).where(tables.Domain.name == kept)).one_or_none()
    if found is None:
        raise NotFound(f"domain '{name.strip()}' does not exist")
    return found


def _refuse_others_locks(session: Session, domain: tables.Domain, admins: frozenset[str] | None) -> None:
    """Raise Refused where a domain, or a user of it, was locked by somebody else."""
    refuse_others_lock(domain, f"the domain {domain.name}", admins)
    for one in _locked_users(session, domain):
        refuse_others_lock(one, f"{one.name or 'the own user'} of {domain.name}", admins)


def _locked_users(session: Session, domain: tables.Domain) -> Sequence[tables.User]:
    mine = (tables.User.domain_id == domain.id, tables.User.locked.is_(True))
    return session.scalars(select(tables.User).where(*mine)).all()


def _told_of(arguments: Mapping[str, str], queued: Queued) -> Mapping[str, str]:
    return {**arguments, "queued": queued} if queued else arguments


def _domains(session: Session, name: str | None = None) -> Sequence[Domain]:
    alias = aliased(tables.Domain)
    aliases: dict[int, list[str]] = {}
    for main, own in session.execute(select(alias.main_id, alias.name).where(alias.main_id.is_not(None))).all():
        aliases.setdefault(main or 0, []).append(own)
    users = dict(session.execute(select(tables.User.domain_id, func.count()).group_by(tables.User.domain_id)).all())
    query = (
        select(tables.Domain, tables.Admin.name)
        .outerjoin(tables.Admin, tables.Domain.admin_id == tables.Admin.id)
        .where(tables.Domain.main_id.is_(None))
        .order_by(tables.Domain.name)
    )
    query = query.where(tables.Domain.name == name) if name is not None else query
    return [
        Domain(
            one.name,
            admin or "",
            tuple(sorted(aliases.get(one.id, []))),
            users.get(one.id, 0),
            one.locked,
            one.locked_by,
            one.created_at,
        )
        for one, admin in session.execute(query).all()
    ]


def _domain(session: Session, name: str) -> Domain:
    return _domains(session, name)[0]


def _user(one: tables.User, domain: str) -> User:
    return User(domain, one.name, one.network, one.locked, one.locked_reason, one.locked_at, one.locked_by, one.created_at)


def _new_name(text: str) -> str:
    kept = domain_name(text) if text.strip().lower() != DEFAULT else DEFAULT
    if kept == DEFAULT:
        raise Refused(f"'{DEFAULT}' stands for every user and cannot be a domain")
    return kept


def _found_user(session: Session, domain: tables.Domain, name: str) -> tables.User | None:
    mine = (tables.User.domain_id == domain.id, tables.User.name == name)
    return session.scalars(select(tables.User).where(*mine)).one_or_none()


def _refuse_network(network: str) -> None:
    """Whoever comes from there may send to anywhere, in the domain's name: mail of other customers, or all the world."""
    if network:
        raise Refused(f"{network} would send without a password; only a super-admin adds such a user", 403)


def _refuse_taken(change: Change, network: str) -> None:
    """One client address cannot be two users; a smaller network within a larger one is its own."""
    query = select(tables.User, tables.Domain.name).join(tables.Domain).where(tables.User.network == network)
    found = change.execute(query).first()
    if found is not None:
        raise Refused(f"{network} is the outgoing user of {found[1]} already", 409)


def _password(password: str, hashed: str, *, wanted: bool) -> str:
    if password and hashed:
        raise Refused("a password or a hash is wanted, not both")
    if not wanted and not password and not hashed:
        return ""
    fault = argon.fault_in(hashed) if hashed else None
    if fault is not None:
        raise Refused(fault)
    if not hashed and not password:
        raise Refused("a password is wanted")
    return hashed or argon.make_hash(password.encode())


def _rename(change: Change, owner: tables.Domain, found: tables.User, name: str) -> None:
    mine = (tables.DeliverySetting.domain_id == owner.id, tables.DeliverySetting.username == found.name)
    for one in change.scalars(select(tables.DeliverySetting).where(*mine)).all():
        one.username = name
        one.scope = scope_key(one.level, one.admin_id, one.domain_id, name, one.identity)
    seen = (tables.Identity.domain == owner.name, tables.Identity.username == found.name)
    change.execute(delete(tables.Identity).where(tables.Identity.domain == owner.name, tables.Identity.username == name))
    change.execute(update(tables.Identity).where(*seen).values(username=name))
    former.take_name(change, owner.name, name, own_id=found.id)
    former.user_renamed(change, owner.name, found.name, found.id)
    found.name = name


def scope_key(level: str, admin_id: int | None, domain_id: int | None, username: str, identity: str) -> str:
    """Give a setting's scope as the text that is there once on a node."""
    return "\x1f".join(map(str, (level, admin_id or "", domain_id or "", username, identity))).rstrip("\x1f")


def _counted(session: Session, query: Select[int], word: str, words: str = "") -> Sequence[str]:
    number = session.scalar(select(func.count()).select_from(query.subquery())) or 0
    return [count(number, word, words)] if number else []

"""Who may look and change: admins, users of the API, tokens. In: names, passwords, roles. Out: records, who somebody is.

Passwords are kept as argon2 hashes, tokens as their SHA-256. A hash takes some 30 ms and is made outside a change. Must not
know of HTTP.
"""

from __future__ import annotations

import contextlib
import difflib
import hashlib
import ipaddress
import secrets
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Literal, get_args

from sqlalchemy import func, select, update
from sqlalchemy.orm import Session

from hslpy.egress.rules.names import NotFound, Refused, about
from hslpy.egress.store import tables
from hslpy.egress.store.database import Actor, Change, Database
from hslpy.egress.store.faults import DatabaseFault
from hslpy.records import record
from hslpy.users import argon

Role = Literal["super-admin", "admin", "read-only"]
ROLES: Sequence[Role] = get_args(Role)
FIRST = "admin"
SHORTEST_PASSWORD = 8  # of those who change settings; NIST SP 800-63B section 5.1.1
SCOPES: Mapping[str, str] = {
    "all": "everything that its admin may do",
    "ips:read": "see delivery IPs, HELO names, warm-up and checks",
    "ips:write": "change them, and run checks",
    "directory:read": "see admins, domains, users and nodes",
    "directory:write": "change, lock and remove domains, users and nodes",
    "reputation:read": "see block lists and what they said",
    "reputation:write": "change block lists, and ask them",
    "queue:read": "see the queue, messages and figures",
    "queue:write": "hold, retry and remove messages",
    "site:read": "see the site's settings and the audit record",
    "site:write": "change the site's settings",
}
CALLS = (
    "api_help",
    "api_get_outgoing_interfaces",
    "api_get_outgoing_interfaces_json",
    "api_set_outgoing_interfaces",
    "api_get_outgoing_ehlo",
    "api_set_outgoing_ehlo",
    "api_remove_outgoing_ehlo",
    "api_list_outgoing_ehlo",
    "api_get_incoming_ehlo",
    "api_set_incoming_ehlo",
)
"""The calls of the software API, which an API user may be limited to."""
_TOKEN = "hslpy_"


@record
class Admin:
    """An admin as others see it. `allowed_calls` and `allowed_networks` None: no limit of that kind."""

    name: str
    role: Role
    parent: str
    is_api_user: bool
    allowed_calls: tuple[str, ...] | None
    allowed_networks: tuple[str, ...] | None
    locked: bool
    created_at: float
    signed_in_at: float | None


@record
class Token:
    """A token of an admin; its text is given once, by `add_token`."""

    admin: str
    name: str
    scopes: tuple[str, ...]
    created_at: float
    expires_at: float | None
    used_at: float | None


@record
class Removed:
    """What was removed, and what went with it, in words: `2 delivery IP settings`.

    `held` is how many recipients of its mail are held in the queues, None where that is not known: unless there are none,
    it has to be said what is to become of them.
    """

    name: str
    also: tuple[str, ...] = ()
    held: int | None = 0

    @property
    def text(self) -> str:
        return f"{self.name} was removed" + (f", with {' and '.join(self.also)}" if self.also else "")


@record
class Principal:
    """Who somebody turned out to be. `admins` are the names of the one and all below; None for all there are.

    `scopes` None: signed in with a password. Its limits are checked by `require`, `require_call` and `require_scope`.
    """

    name: str
    role: Role
    is_api_user: bool = False
    admins: frozenset[str] | None = None
    scopes: frozenset[str] | None = None
    allowed_calls: frozenset[str] | None = None
    allowed_networks: tuple[str, ...] | None = None

    def actor(self, client: str, source_address: str = "") -> Actor:
        return Actor(self.name, client, source_address)

    def require(self, *roles: Role) -> None:
        """Raise Refused, which names the role that is needed, for somebody who has none of them."""
        if self.role not in roles:
            raise Refused(f"this needs the role {' or '.join(roles)}; {self.name} has {self.role}", 403)

    def require_scope(self, scope: str) -> None:
        if self.scopes is not None and not self.scopes & {scope, "all", scope.replace(":read", ":write")}:
            raise Refused(f"this token has not the scope {scope}", 403)

    def require_network(self, source_address: str) -> None:
        if not self._is_allowed_from(source_address):
            raise Refused(f"{self.name} may not sign in from this address", 403)

    def require_all_calls(self) -> None:
        """Raise Refused for somebody who may make some calls of the classic API, and do nothing else."""
        if self.allowed_calls is not None:
            raise Refused(f"{self.name} may only use those calls of the software API that it was given", 403)

    def require_call(self, call: str, source_address: str, *, changes: bool = False) -> None:
        """Raise Refused where a call of the classic API may not be made. Source: A1 and A5 (E11) of the specification."""
        allowed = self.role == "super-admin" or (self.is_api_user and not (changes and self.role == "read-only"))
        if not allowed or (self.allowed_calls is not None and call not in self.allowed_calls):
            raise Refused(f"this API user may not use '{call}'", 403)
        if not self._is_allowed_from(source_address):
            raise Refused(f"this API user may not use '{call}' from this address", 403)

    def _is_allowed_from(self, source_address: str) -> bool:
        if self.allowed_networks is None:
            return True
        if not source_address:  # a Unix socket
            return False
        address = ipaddress.ip_address(source_address)
        if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
            address = address.ipv4_mapped
        networks = map(ipaddress.ip_network, self.allowed_networks)
        return any(address in network for network in networks if network.version == address.version)


_SUPER_ADMINS = select(func.count()).where(tables.Admin.role == "super-admin")


def make_password() -> str:
    return secrets.token_urlsafe(15)


def first_admin(database: Database, make: Callable[[], str] = make_password) -> str | None:
    """Add a super-admin named as `FIRST` says where there is none yet, and give its password; else None."""
    with database.read() as session:
        if session.scalar(_SUPER_ADMINS) or _found(session, FIRST) is not None:
            return None
    password = make()
    hashed = argon.make_hash(password.encode())
    with database.change(Actor("hslpy", "start"), "admin add", {"name": FIRST, "role": "super-admin"}) as change:
        if change.scalar(_SUPER_ADMINS):  # another process was first
            return None
        change.add(tables.Admin(name=FIRST, role="super-admin", password_hash=hashed, created_at=change.now))
    return password


def list_admins(database: Database, *, within: frozenset[str] | None = None) -> Sequence[Admin]:
    """Give the admins by name; with `within`, those of these names."""
    with database.read() as session:
        parents = dict(session.execute(select(tables.Admin.id, tables.Admin.name)).all())
        found = session.scalars(select(tables.Admin).order_by(tables.Admin.name))
        return [_admin(one, parents) for one in found if within is None or one.name in within]


def get_admin(database: Database, name: str, *, within: frozenset[str] | None = None) -> Admin:
    """Give an admin; with `within`, one of these names. Raises NotFound."""
    with database.read() as session:
        found = admin_of(session, name)
        if within is not None and found.name not in within:
            raise NotFound(f"admin '{name.strip()}' does not exist")
        parent = session.get(tables.Admin, found.parent_id) if found.parent_id is not None else None
        return _admin(found, {parent.id: parent.name} if parent is not None else {})


def add_admin(
    database: Database,
    actor: Actor,
    name: str,
    *,
    password: str,
    role: str = "admin",
    parent: str = "",
    is_api_user: bool = False,
    allowed_calls: Iterable[str] | None = None,
    allowed_networks: Iterable[str] | None = None,
) -> Admin:
    """Add somebody who may sign in. Raises Refused, NotFound."""
    name = _name(name)
    calls, networks = _calls(allowed_calls), _networks(allowed_networks)
    told = {"name": name, "role": role, "parent": parent, "is_api_user": is_api_user}
    hashed = _hash(password)
    with database.change(actor, "admin add", {**told, "allowed_calls": calls, "allowed_networks": networks}) as change:
        if _found(change, name) is not None:
            raise Refused(f"there is an admin '{name}' already", 409)
        added = tables.Admin(name=name, role=_role(role), password_hash=hashed, is_api_user=is_api_user)
        added.created_at, added.allowed_calls, added.allowed_networks = change.now, calls, networks
        added.parent_id = admin_of(change, parent).id if parent else None
        change.add(added)
        change.flush()
        return _admin(added, {added.parent_id: parent})


def set_admin(
    database: Database,
    actor: Actor,
    name: str,
    *,
    new_name: str | None = None,
    password: str | None = None,
    role: str | None = None,
    parent: str | None = None,
    is_api_user: bool | None = None,
    locked: bool | None = None,
    allowed_calls: Iterable[str] | Literal[False] | None = False,
    allowed_networks: Iterable[str] | Literal[False] | None = False,
) -> Admin:
    """Change what is given: None, and False for the two lists, leaves as it is; an empty parent is none.

    A new password, a lock or a lesser role ends the admin's sessions; a lock its tokens' use as well.
    Raises Refused, NotFound.
    """
    told = {"new_name": new_name, "role": role, "parent": parent, "is_api_user": is_api_user, "locked": locked}
    arguments = {"name": name, **{key: value for key, value in told.items() if value is not None}}
    hashed = _hash(password) if password is not None else None
    with database.change(actor, "admin set", arguments) as change:
        found = admin_of(change, name)
        if new_name is not None and _name(new_name) != found.name:
            other = _found(change, new_name)
            if other is not None and other.id != found.id:
                raise Refused(f"there is an admin '{other.name}' already", 409)
            for one in (tables.User, tables.Domain, tables.Node):
                change.execute(update(one).where(one.locked_by == found.name).values(locked_by=_name(new_name)))
            found.name = _name(new_name)
        if hashed is not None:
            found.password_hash = hashed
            change.note(password="changed")
        if parent is not None:
            found.parent_id = admin_of(change, parent).id if parent else None
            _refuse_circle(change, found)
        found.role = _role(role) if role is not None else found.role
        found.is_api_user = is_api_user if is_api_user is not None else found.is_api_user
        found.locked = locked if locked is not None else found.locked
        if allowed_calls is not False:
            found.allowed_calls = _calls(allowed_calls)
            change.note(allowed_calls=found.allowed_calls)
        if allowed_networks is not False:
            found.allowed_networks = _networks(allowed_networks)
            change.note(allowed_networks=found.allowed_networks)
        change.flush()
        _refuse_none_left(change)
        if hashed is not None or locked or role is not None:
            change.query(tables.Session).filter_by(admin_id=found.id).delete()
        return _admin(found, dict(change.execute(select(tables.Admin.id, tables.Admin.name)).all()))


def remove_admin(database: Database, actor: Actor, name: str) -> Removed:
    """Remove an admin with its delivery IPs, tokens and saved filters. Raises Refused where domains or admins are left."""
    with database.change(actor, "admin remove", {"name": name}) as change:
        found = admin_of(change, name)
        below = change.scalars(select(tables.Admin.name).where(tables.Admin.parent_id == found.id)).all()
        domains = change.scalars(select(tables.Domain.name).where(tables.Domain.admin_id == found.id)).all()
        for names, word in ((domains, "domain"), (below, "admin")):
            if names:
                raise Refused(
                    f"'{found.name}' has {count(len(names), word)}: {some(names)}; give them to another first", 409
                )
        settings = change.query(tables.DeliverySetting).filter_by(admin_id=found.id).delete()
        tokens = change.query(tables.Token).filter_by(admin_id=found.id).delete()
        change.delete(found)
        change.flush()
        _refuse_none_left(change)
        also = [count(settings, "delivery IP setting")] * bool(settings) + [count(tokens, "token")] * bool(tokens)
        removed = Removed(f"admin '{found.name}'", tuple(also))
        change.result = removed.text
        return removed


def principal(database: Database, name: str) -> Principal:
    """Give who an admin is. Raises Refused, with the status 401, for one that is not there or locked."""
    with database.read() as session:
        found = _found(session, name)
        if found is None or found.locked:
            raise Refused("authentication required", 401)
        return _principal(session, found)


def hash_of(database: Database, name: str) -> str:
    """Give the hash that an admin's password is compared with; for one that is not there or locked, that of no password."""
    with database.read() as session:
        found = _found(session, name)
        return found.password_hash if found is not None and not found.locked and found.password_hash else argon.stand_in()


def sign_in(database: Database, name: str, password: str) -> Principal:
    """Give who signs in with a password. Blocks for 30 ms, as long for a name that is not there. Raises Refused (401)."""
    if not argon.matches(hash_of(database, name), password.encode()):
        raise Refused("authentication required", 401)
    with contextlib.suppress(DatabaseFault), database.keep() as session:  # who only looks need not change anything
        found = _found(session, name)
        if found is not None:
            found.signed_in_at = session.now
    return principal(database, name)


def add_token(
    database: Database, actor: Actor, admin: str, name: str, scopes: Sequence[str], expires_at: float | None = None
) -> tuple[str, Token]:
    """Add a token, and give its text, which is kept nowhere. Raises Refused, NotFound."""
    with about("scopes"):
        unknown = [scope for scope in scopes if scope not in SCOPES]
        if unknown or not scopes:
            raise Refused(f"'{'; '.join(unknown)}' is no scope: {', '.join(SCOPES)}")
    name = _name(name, "a token")
    text = _TOKEN + secrets.token_urlsafe(32)
    with database.change(actor, "token add", {"admin": admin, "name": name, "scopes": list(scopes)}) as change:
        found = admin_of(change, admin)
        if change.scalar(select(tables.Token.id).where(tables.Token.admin_id == found.id, tables.Token.name == name)):
            raise Refused(f"'{found.name}' has a token '{name}' already", 409)
        if expires_at is not None and expires_at <= change.now:
            raise Refused("the token would have expired already")
        added = tables.Token(admin_id=found.id, name=name, sha256=_digest(text), scopes=list(dict.fromkeys(scopes)))
        added.created_at, added.expires_at = change.now, expires_at
        change.add(added)
        change.flush()
        return text, _token(added, found.name)


def list_tokens(database: Database, admin: str | None = None) -> Sequence[Token]:
    with database.read() as session:
        query = select(tables.Token, tables.Admin.name).join(tables.Admin).order_by(tables.Admin.name, tables.Token.name)
        if admin is not None:
            query = query.where(tables.Admin.name == admin_of(session, admin).name)
        return [_token(one, name) for one, name in session.execute(query).all()]


def remove_token(database: Database, actor: Actor, admin: str, name: str) -> Removed:
    with database.change(actor, "token remove", {"admin": admin, "name": name}) as change:
        found = admin_of(change, admin)
        if not change.query(tables.Token).filter_by(admin_id=found.id, name=name).delete():
            raise NotFound(f"'{found.name}' has no token '{name}'")
        return Removed(f"token '{name}' of '{found.name}'")


def sign_in_with_token(database: Database, text: str, now: float) -> Principal:
    """Give who a token stands for. Raises Refused, with the status 401, for one that is not known or not good any more."""
    with database.read() as session:
        found = session.scalars(select(tables.Token).where(tables.Token.sha256 == _digest(text))).one_or_none()
        owner = session.get(tables.Admin, found.admin_id) if found is not None else None
        if found is None or owner is None or owner.locked or (found.expires_at or now) < now:
            raise Refused("authentication required", 401)
        id, principal = found.id, _principal(session, owner, frozenset(found.scopes))
    with contextlib.suppress(DatabaseFault), database.keep() as session:  # who only looks need not change anything
        session.execute(update(tables.Token).where(tables.Token.id == id).values(used_at=now))
    return principal


def admin_of(session: Session, name: str) -> tables.Admin:
    """Give an admin's row. Raises NotFound."""
    found = _found(session, name)
    if found is None:
        raise NotFound(f"admin '{name.strip()}' does not exist")
    return found


def subtree(session: Session, name: str) -> frozenset[str]:
    """Give an admin's name and those of all below it."""
    below: dict[int | None, list[tuple[int, str]]] = {}
    for one, parent, own in session.execute(select(tables.Admin.id, tables.Admin.parent_id, tables.Admin.name)).all():
        below.setdefault(parent, []).append((one, own))
    names, waiting = {name}, [admin_of(session, name).id]
    while waiting:
        for one, own in below.get(waiting.pop(), []):
            if own not in names:
                names.add(own)
                waiting.append(one)
    return frozenset(names)


def count(number: int, word: str, words: str = "") -> str:
    """Give a number with its word, as people say it."""
    return f"{number} {word if number == 1 else words or word + 's'}"


def some(names: Sequence[str], most: int = 5) -> str:
    """Give names in one line, the first few where there are many."""
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")


def _found(session: Session, name: str) -> tables.Admin | None:
    return session.scalars(select(tables.Admin).where(func.lower(tables.Admin.name) == name.strip().lower())).one_or_none()


def _admin(one: tables.Admin, names: Mapping[int | None, str] | Mapping[int, str]) -> Admin:
    parent = dict(names).get(one.parent_id, "") if one.parent_id is not None else ""
    calls, networks = one.allowed_calls, one.allowed_networks
    return Admin(
        one.name,
        _role(one.role),
        parent,
        one.is_api_user,
        None if calls is None else tuple(calls),
        None if networks is None else tuple(networks),
        one.locked,
        one.created_at,
        one.signed_in_at,
    )


def _token(one: tables.Token, admin: str) -> Token:
    return Token(admin, one.name, tuple(one.scopes), one.created_at, one.expires_at, one.used_at)


def _principal(session: Session, one: tables.Admin, scopes: frozenset[str] | None = None) -> Principal:
    within = subtree(session, one.name) if one.role == "admin" else None
    calls = None if one.allowed_calls is None else frozenset(one.allowed_calls)
    networks = None if one.allowed_networks is None else tuple(one.allowed_networks)
    return Principal(one.name, _role(one.role), one.is_api_user, within, scopes, calls, networks)


def _role(text: str) -> Role:
    for role in ROLES:
        if text == role:
            return role
    raise Refused(f"'{text}' is no role: {', '.join(ROLES)}")


def _name(text: str, what: str = "an admin") -> str:
    name = text.strip()
    if not 1 <= len(name) <= 64 or not name.isprintable() or ":" in name:  # a colon ends the name in HTTP Basic
        raise Refused(f"the name of {what} has 1 to 64 characters, no colon and no control characters")
    return name


def _hash(password: str) -> str:
    if len(password) < SHORTEST_PASSWORD:
        raise Refused(f"a password of {SHORTEST_PASSWORD} characters at least is wanted")
    return argon.make_hash(password.encode())


def _calls(calls: Iterable[str] | None) -> list[str] | None:
    if calls is None:
        return None
    kept = list(dict.fromkeys(one.strip() for one in calls if one.strip()))
    for one in kept:
        if one not in CALLS:
            near = difflib.get_close_matches(one, CALLS, 1)
            with about("allowed_calls"):
                raise Refused(f"there is no call '{one}'" + (f"; did you mean '{near[0]}'?" if near else ""))
    return kept


def _networks(networks: Iterable[str] | None) -> list[str] | None:
    if networks is None:
        return None
    out = []
    for one in networks:
        try:
            out.append(str(ipaddress.ip_network(one.strip())))
        except ValueError as error:
            raise Refused(f"'{one.strip()}' is not a network: {error}") from None
    return out


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _refuse_circle(change: Change, found: tables.Admin) -> None:
    change.flush()
    seen, at = {found.id}, found.parent_id
    while at is not None:
        if at in seen:
            raise Refused(f"'{found.name}' cannot be below itself")
        seen.add(at)
        at = change.scalar(select(tables.Admin.parent_id).where(tables.Admin.id == at))


def _refuse_none_left(change: Change) -> None:
    left = select(tables.Admin).where(tables.Admin.role == "super-admin", tables.Admin.locked.is_(False))
    if all(one.allowed_calls is not None for one in change.scalars(left)):  # who makes some calls alone changes no admin
        raise Refused("a super-admin who can sign in has to be left", 409)

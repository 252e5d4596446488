"""A process's picture of the database: what choices and sign-ins need, in memory. In: a database. Out: immutable pictures.

`read` makes one; `Follower` has the latest and makes a new one when the database's revision has moved. Must not know what
is done with it.
"""

from __future__ import annotations

import ipaddress
import math
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import field
from functools import lru_cache

from sqlalchemy import select
from sqlalchemy.orm import Session

from hslpy.egress.accounts import former, site
from hslpy.egress.addresses import helos
from hslpy.egress.addresses.helos import Helos
from hslpy.egress.addresses.interfaces import UNUSABLE
from hslpy.egress.rules.book import LEVELS, Book, Level, Node, Scope, Setting
from hslpy.egress.rules.choice import Availability
from hslpy.egress.rules.warmup import Warming
from hslpy.egress.store import tables
from hslpy.egress.store.database import Database
from hslpy.egress.store.faults import Trouble, trouble_of
from hslpy.egress.warm_up import warming
from hslpy.records import record

ASK_S = 0.5
"""How often the revision is asked for, so that a change of another process is seen within a second."""
_LEVEL: Mapping[str, Level] = {one: one for one in LEVELS}


@record
class Account:
    """An outgoing user as it signs in, or by its `network`. `locked` says why, empty for one that may send."""

    domain: str
    username: str
    password_hash: str = ""
    network: str = ""
    locked: str = ""


@record
class Picture:
    """All settings as of a revision.

    `accounts` is by domain and username; `networks` has those known by their address, by version and length of the prefix,
    the narrowest first.
    `identities` tells which users have settings of an identity, so that others need not look for theirs. `domains` has
    all main domains, with why one is locked. `warmups` has, by node, the addresses that are not to be used freely yet.
    `locked_nodes` has the nodes that deliver nothing, with a text that says so. `former` has names that are no longer.
    """

    revision: int = -1
    book: Book = field(default_factory=Book)
    site: site.Site = field(default_factory=site.Site)
    accounts: Mapping[tuple[str, str], Account] = field(default_factory=dict)
    networks: Sequence[tuple[int, int, Mapping[int, Account]]] = ()
    identities: frozenset[tuple[str, str]] = frozenset()
    absent: Mapping[str, Mapping[str, Availability]] = field(default_factory=dict)
    suspended: Sequence[tuple[str, str, float, str]] = ()
    helos: Helos = field(default_factory=Helos)
    domains: Mapping[str, str] = field(default_factory=dict)
    warmups: Mapping[str, Mapping[str, Warming]] = field(default_factory=dict)
    locked_nodes: Mapping[str, str] = field(default_factory=dict)
    former: former.Former = former.NONE

    def exceptions(self, node: str, now: float) -> Mapping[str, Availability]:
        """Give the addresses that cannot be used on a node now: not there, in no state to be used, or suspended.

        What warming up and binding have found is the caller's to add.
        """
        found = dict(self.absent.get(node, {}))
        for address, where, until, reason in self.suspended:
            if where in ("", node) and until > now:
                found[address] = Availability(f"suspended: {reason}" if reason else "suspended", again_at=until)
        return found

    def account(self, login: str) -> Account | None:
        """Give who signs in as `user@domain`, or by a domain's name alone as its own user. Blanks around it do not count."""
        if not login.isprintable():  # scripts put it into headers
            return None
        username, at, domain = login.strip(" ").lower().rpartition("@")
        domain = self.book.main_domain_of.get(domain, domain)
        return self.accounts.get((domain, username if at else ""))

    def account_at(self, client: str) -> Account | None:
        """Give the user who is known by a client's address, the narrowest network's."""
        if not self.networks:
            return None
        version, number, bits = _number_of(client)
        for of_version, length, by_network in self.networks:
            if of_version == version and (found := by_network.get(number >> (bits - length))) is not None:
                return found
        return None

    def now_of(self, domain: str, username: str) -> tuple[str, str]:
        """Give what a user's domain and name are now, of one that had these when its mail came."""
        domain, _ = self.former.now_of.get((domain, ""), (domain, ""))
        domain = self.book.main_domain_of.get(domain, domain)
        return self.former.now_of.get((domain, username), (domain, username)) if username else (domain, username)

    def is_discarded(self, domain: str, username: str, received_at: float) -> bool:
        """Say whether a sender was removed together with its mail of that time. The names are those of then.

        The names of now do not count: who took a removed one's name since keeps what was queued by its own.
        """
        until = self.former.discarded
        return any(received_at <= until.get((domain, name), -math.inf) for name in {username, ""})

    def locked(self, domain: str, username: str) -> str:
        """Give why a sender may send nothing, empty for one that may."""
        account = self.accounts.get((domain, username)) if domain else None
        return account.locked if account is not None else self.domains.get(domain, "")


@lru_cache(maxsize=4096)
def _number_of(client: str) -> tuple[int, int, int]:
    """Give an address' version, number and length in bits, IPv4 mapped into IPv6 as IPv4; zeros where it is no address."""
    try:
        address = ipaddress.ip_address(client)
    except ValueError:
        return 0, 0, 0
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        address = address.ipv4_mapped
    return address.version, int(address), address.max_prefixlen


def read(session: Session) -> Picture:
    """Make the picture of one moment: the session's first statement has to be this one's."""
    if session.get_bind().dialect.name == "postgresql":
        session.connection(execution_options={"isolation_level": "REPEATABLE READ"})
    revision = session.scalar(select(tables.Revision.number)) or 0
    admins = session.execute(select(tables.Admin.id, tables.Admin.name, tables.Admin.parent_id)).all()
    admin_names: dict[int | None, str] = {one: name for one, name, _ in admins}
    domain = tables.Domain
    domains = session.execute(select(domain.id, domain.name, domain.admin_id, domain.main_id, domain.locked)).all()
    domain_names: dict[int | None, str] = {one: name for one, name, *_ in domains}
    nodes, absent = _nodes(session)
    settings = {(one.scope, one.node): one for one in _settings(session, admin_names, domain_names)}
    accounts = {(one.domain, one.username): one for one in _accounts(session, {row[0]: row for row in domains})}
    suspension = tables.Suspension
    suspended = session.execute(select(suspension.address, suspension.node, suspension.until, suspension.reason))
    return Picture(
        revision,
        Book(
            settings,
            nodes,
            {name: admin_names[admin] for _, name, admin, _, _ in domains if admin is not None},
            {name: admin_names[parent] for _, name, parent in admins if parent is not None},
            {name: domain_names[main] for _, name, _, main, _ in domains if main is not None},
        ),
        site.read(session),
        accounts,
        _networks([one for one in accounts.values() if one.network]),
        frozenset((scope.domain, scope.username) for scope, _ in settings if scope.level == "identity"),
        absent,
        [(address, node, math.inf if until is None else until, reason) for address, node, until, reason in suspended],
        helos.load(session),
        {name: "the domain is locked" if locked else "" for _, name, _, main, locked in domains if main is None},
        warming.warmings(session),
        {
            name: f"the server {name} is locked" + (f": {reason}" if reason else "")
            for name, reason in session.execute(
                select(tables.Node.name, tables.Node.locked_reason).where(tables.Node.locked.is_(True))
            )
        },
        former.read(session),
    )


class Follower:
    """The latest picture of a database: `picture`, never None after `start`.

    A thread asks for the revision every half second and makes a new picture when it has moved; `refresh` does so at once,
    in the calling thread. While the database is away the last picture stays, and `fault` says why. `changed` is called with
    each new picture, in the thread that made it.
    """

    def __init__(self, database: Database, changed: Callable[[Picture], None] | None = None) -> None:
        self.picture = Picture()
        self.fault: Trouble | None = None
        self._seen = (-1, -1)
        self._database = database
        self._changed = changed
        self._lock = threading.Lock()
        self._ended = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Make the first picture, and follow. Raises SQLAlchemyError where the database is away."""
        self.refresh()
        self._thread = threading.Thread(target=self._follow, name="delivery IPs", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self._ended.set()
        if self._thread is not None:
            self._thread.join()

    def refresh(self) -> Picture:
        """Give the picture of the database as it is now. Blocks."""
        with self._lock:
            removed = self._database.look()
            seen = self._database.opened, self._database.revision()
            if seen != self._seen:
                with self._database.read() as session:
                    self.picture = read(session)
                self._seen = seen
                if self._changed is not None:
                    self._changed(self.picture)
            self.fault = removed
            return self.picture

    def _follow(self) -> None:
        while not self._ended.wait(ASK_S):
            try:
                self.refresh()
            except Exception as error:  # whatever it is, the last picture stays, and the next may be right
                self.fault = trouble_of(error)


def _nodes(session: Session) -> tuple[dict[str, Node], dict[str, dict[str, Availability]]]:
    """Give the nodes, and by node what in its settings or inventory cannot be used there.

    Of a node that never reported and whose addresses nobody entered nothing is known: nothing is missing from it.
    """
    rows = session.scalars(select(tables.Node)).all()
    there: dict[int, dict[str, str]] = {row.id: {} for row in rows}
    for node_id, address, flags, present in session.execute(
        select(tables.Address.node_id, tables.Address.address, tables.Address.flags, tables.Address.present)
    ):
        state = next((flag for flag in flags if flag in UNUSABLE), "")
        there[node_id][address] = f"IPv6 state {state}" if state else "" if present else "no longer on this server"
    chosen: dict[int, set[str]] = {row.id: set() for row in rows}
    for node_id, address in session.execute(
        select(tables.DeliverySetting.node_id, tables.SettingAddress.address).join(
            tables.SettingAddress, tables.SettingAddress.setting_id == tables.DeliverySetting.id
        )
    ):
        chosen[node_id].add(address)
    nodes, absent = {}, {}
    for row in rows:
        known = there[row.id]
        usable = frozenset(address for address, fault in known.items() if not fault)
        nodes[row.name] = Node(row.name, row.primary_ipv4, row.primary_ipv6, row.ipv6_enabled, usable)
        missing = {address: fault for address, fault in known.items() if fault}
        if row.reported_at is not None or known:
            own = {*known, row.primary_ipv4, row.primary_ipv6}
            missing |= dict.fromkeys(chosen[row.id] - own, "not on this server")
        if not row.ipv6_enabled:
            missing |= {address: "IPv6 is switched off" for address in chosen[row.id] if ":" in address}
        absent[row.name] = {address: Availability(fault) for address, fault in missing.items()}
    return nodes, absent


def _settings(session: Session, admins: Mapping[int | None, str], domains: Mapping[int | None, str]) -> Sequence[Setting]:
    one = tables.DeliverySetting
    query = select(
        one.level, one.admin_id, one.domain_id, one.username, one.identity, tables.Node.name,
        one.ipv4, one.ipv6, one.ipv4_disabled, one.strict,
    ).join(tables.Node, one.node_id == tables.Node.id)  # fmt: skip
    return [
        Setting(
            Scope(_LEVEL[level], admins.get(admin, ""), domains.get(domain, ""), username, identity),
            node,
            tuple(ipv4),
            tuple(ipv6),
            disabled,
            strict,
        )
        for level, admin, domain, username, identity, node, ipv4, ipv6, disabled, strict in session.execute(query)
        if level != "default" or ipv4 or ipv6 or disabled or strict
    ]


def _networks(accounts: Sequence[Account]) -> Sequence[tuple[int, int, Mapping[int, Account]]]:
    found: dict[tuple[int, int], dict[int, Account]] = {}
    for account in accounts:
        network = ipaddress.ip_network(account.network)
        number = int(network.network_address) >> (network.max_prefixlen - network.prefixlen)
        found.setdefault((network.version, network.prefixlen), {})[number] = account
    return [(*kind, found[kind]) for kind in sorted(found, key=lambda kind: -kind[1])]


def _accounts(session: Session, domains: Mapping[int, Sequence[object]]) -> Sequence[Account]:
    user = tables.User
    query = select(user.domain_id, user.name, user.password_hash, user.network, user.locked, user.locked_reason)
    out = []
    for domain_id, name, password_hash, network, locked, reason in session.execute(query):
        _, domain, _, _, domain_locked = domains[domain_id]
        why = (reason or "no reason was given") if locked else "the domain is locked" if domain_locked else ""
        out.append(Account(str(domain), name, password_hash, network, why))
    return out

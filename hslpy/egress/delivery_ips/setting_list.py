"""The list of delivery settings: asked by rules, sorted, a page at a time. In: a query. Out: rows and what is known of them.

Source: sections B2.2 to B2.4 of the specification of delivery IPs. Must not know of HTML.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from sqlalchemy import ColumnElement, Text, and_, case, cast, func, or_, select, true
from sqlalchemy.orm import Session, aliased

from hslpy.egress.accounts import site
from hslpy.egress.addresses import helos
from hslpy.egress.delivery_ips.queries import (
    Condition,
    Field,
    Query,
    address_test,
    choice_condition,
    condition_of,
    date_condition,
    pages_of,
    text_condition,
    text_matches,
)
from hslpy.egress.delivery_ips.setting_rows import Row, row_of
from hslpy.egress.rules.book import LEVELS, PRIMARY
from hslpy.egress.rules.dnsbl import COUNTING
from hslpy.egress.rules.names import NotFound, Refused
from hslpy.egress.store import activity, tables
from hslpy.egress.store.database import Database
from hslpy.records import record

CHECKS = ("ok", "unknown", "warning", "critical")  # the worst last
WARMUPS = ("none", "done", "warming", "paused")
REPUTATIONS = ("clean", "unknown", "listed")
# The same as B2.2 has them.
CHECK_CHOICES = ("ok", "warning", "critical", "unknown")
WARMUP_CHOICES = ("none", "warming", "paused", "done")
REPUTATION_CHOICES = ("clean", "listed", "unknown")

COLUMNS: Mapping[str, str] = {
    "admin": "Admin",
    "domain": "Domain",
    "username": "Username",
    "identity": "Identity",
    "hostname": "Hostname",
    "ipv4": "IPv4",
    "ipv6": "IPv6",
    "status": "Status",
    "helo": "HELO",
    "level": "Level",
    "ipv4_delivery": "IPv4 delivery",
    "warmup": "Warm-up",
    "reputation": "Reputation",
    "last_used": "Last used",
    "deliveries_24h": "Deliveries 24 h",
    "changed": "Changed",
    "changed_by": "Changed by",
}
"""All columns, in their order."""
SHOWN: Sequence[str] = ("admin", "domain", "username", "identity", "hostname", "ipv4", "ipv6", "status")
"""The columns of who has chosen none."""
SORTABLE: Sequence[str] = [one for one in COLUMNS if one != "helo"]

_setting, _node, _admin, _domain = tables.DeliverySetting, tables.Node, tables.Admin, tables.Domain
_owner = aliased(tables.Admin)  # of the domain
_ADMIN = func.coalesce(_admin.name, _owner.name, "")
_chosen = tables.SettingAddress
_ROW = tuple(one.name for one in dataclasses.fields(Row))
_named = select(_setting, _admin.name, _domain.name, _node.name)


@record
class Listed(Row):
    """A setting with what is known of its addresses: the worst of each. `owner` is its admin, or its domain's.

    The use is that of its addresses on its node together, whoever's mail it was; the primary's where it has chosen none.
    """

    owner: str
    status: str
    warmup: str
    reputation: str
    helos: tuple[str, ...]
    last_used_at: float | None
    deliveries_24h: int


@record
class Page:
    """A page of a list. `total` is how many rows there are on all pages."""

    rows: tuple[Listed, ...]
    total: int
    page: int
    pages: int


def fields(session: Session, now: float) -> Mapping[str, Field]:
    """Give what can be asked for, in the page's order."""
    zone = site.read(session).time_zone
    all_fields = [
        Field("level", "Level", "choice", choice_condition(_setting.level, {one: one for one in LEVELS}), tuple(LEVELS)),
        Field("admin", "Admin", "text", text_condition(_ADMIN)),
        Field("domain", "Domain", "text", text_condition(_domain.name)),
        Field("username", "Username", "text", text_condition(_setting.username)),
        Field("identity", "Identity", "text", text_condition(_setting.identity)),
        Field("hostname", "Hostname", "text", text_condition(_node.name)),
        Field("ipv4", "IPv4 address", "address", _address_condition(session, 4)),
        Field("ipv6", "IPv6 address", "address", _address_condition(session, 6)),
        Field("helo", "HELO", "text", _helo_condition(session, now)),
        Field(
            "ipv4_delivery",
            "IPv4 delivery",
            "choice",
            choice_condition(_setting.ipv4_disabled, {"enabled": False, "disabled": True}),
            ("enabled", "disabled"),
        ),
        Field("warmup", "Warm-up", "choice", _rank_condition(_warmup_rank(session), WARMUPS), WARMUP_CHOICES),
        Field("status", "Check status", "choice", _rank_condition(_check_rank(session), CHECKS), CHECK_CHOICES),
        Field(
            "reputation", "Reputation", "choice", _rank_condition(_reputation_rank(session), REPUTATIONS), REPUTATION_CHOICES
        ),
        Field("changed_by", "Changed by", "text", text_condition(_setting.changed_by)),
        Field("changed", "Changed on", "date", date_condition(_setting.changed_at, zone)),
    ]
    return {one.key: one for one in all_fields}


def get(database: Database, row_id: int, *, admins: frozenset[str] | None = None) -> Row:
    """Give a setting; with `admins`, one of these admins or of their domains. Raises NotFound."""
    with database.read() as session:
        found = session.execute(_joined(_named).where(_setting.id == row_id, _theirs(admins))).first()
        if found is None:
            raise NotFound("there is no such setting")
        return row_of(*found)


def list_page(database: Database, query: Query, now: float, *, admins: frozenset[str] | None = None) -> Page:
    """Give a page of the settings that the rules hold for; with `admins`, those of these admins and of their domains.

    Each node has a row of the level `default`. `now`: Unix seconds.
    Raises Refused, and BadRule for a rule that cannot be followed.
    """
    with database.read() as session:
        condition = and_(condition_of(query, fields(session, now)), _theirs(admins))
        total = session.scalar(_joined(select(func.count(_setting.id))).where(condition)) or 0
        pages = pages_of(total, query.per_page)
        page = min(query.page, pages)
        found = _joined(_named.add_columns(_ADMIN)).where(condition)
        found = found.order_by(*_order(session, query.sort, now)).limit(query.per_page).offset((page - 1) * query.per_page)
        rows = [(row_of(one, *names), owner) for one, *names, owner in session.execute(found)]
        return Page(tuple(_listed(session, rows, now)), total, page, pages)


def matching_ids(database: Database, query: Query, now: float, *, admins: frozenset[str] | None = None) -> Sequence[int]:
    """Give the ids of all rows that the rules hold for: "Select all 240 results"."""
    with database.read() as session:
        condition = and_(condition_of(query, fields(session, now)), _theirs(admins))
        order = _order(session, query.sort, now)
        return session.scalars(_joined(select(_setting.id)).where(condition).order_by(*order)).all()


def rows_by_id(database: Database, ids: Sequence[int]) -> Sequence[Row]:
    """Give the rows of these ids that are there, in their order."""
    found: dict[int, Row] = {}
    with database.read() as session:
        for at in range(0, len(ids), 500):  # SQLite takes 999 parameters at most
            query = _joined(_named).where(_setting.id.in_(ids[at : at + 500]))
            found |= {one.id: row_of(one, *names) for one, *names in session.execute(query)}
    return [found[one] for one in dict.fromkeys(ids) if one in found]


def once_seen(session: Session) -> frozenset[tuple[str, str]]:
    """Give the nodes with each address that they ever had, or were said to have."""
    rows = session.execute(
        select(_node.name, tables.Address.address).join(tables.Address, tables.Address.node_id == _node.id)
    )
    return frozenset((name, address) for name, address in rows)


def columns_of(query: Query) -> Sequence[str]:
    """Give the columns to show, in their order. Raises Refused for one that is not there."""
    unknown = [one for one in query.columns if one not in COLUMNS]
    if unknown:
        raise Refused(f"there is no column '{unknown[0]}'")
    return [one for one in COLUMNS if one in (query.columns or SHOWN)]


def _theirs(admins: frozenset[str] | None) -> ColumnElement[bool]:
    """Give the condition of settings of these admins and of their domains; None: of all."""
    return true() if admins is None else _ADMIN.in_(sorted(admins))


def _joined(query: Any) -> Any:
    return (
        query.select_from(_setting)
        .join(_node, _setting.node_id == _node.id)
        .outerjoin(_admin, _setting.admin_id == _admin.id)
        .outerjoin(_domain, _setting.domain_id == _domain.id)
        .outerjoin(_owner, _domain.admin_id == _owner.id)
    )


def _order(session: Session, sort: str, now: float) -> Sequence[Any]:
    """Give the columns of an order; without one, as the levels are: the general first, then by name."""
    key = sort.removeprefix("-")
    level = case({one: index for index, one in enumerate(LEVELS)}, value=_setting.level)
    default = (level, _ADMIN, func.coalesce(_domain.name, ""), _setting.username, _setting.identity, _node.id, _setting.id)
    if not key:
        return default
    sortable: Mapping[str, Callable[[], Any]] = {
        "admin": lambda: _ADMIN,
        "domain": lambda: func.coalesce(_domain.name, ""),
        "username": lambda: _setting.username,
        "identity": lambda: _setting.identity,
        "hostname": lambda: _node.name,
        "level": lambda: level,
        "ipv4": lambda: cast(_setting.ipv4, Text),
        "ipv6": lambda: cast(_setting.ipv6, Text),
        "ipv4_delivery": lambda: _setting.ipv4_disabled,
        "changed": lambda: _setting.changed_at,
        "changed_by": lambda: _setting.changed_by,
        "status": lambda: _check_rank(session),
        "warmup": lambda: _warmup_rank(session),
        "reputation": lambda: _reputation_rank(session),
        "last_used": lambda: _used(func.max(tables.AddressUse.used_at), tables.AddressUse),
        "deliveries_24h": lambda: _used(func.sum(tables.Activity.number), tables.Activity, *activity.last_day(now)),
    }
    if key not in sortable:
        raise Refused(f"the list cannot be sorted by '{key}'")
    column = sortable[key]()
    return (column.desc() if sort.startswith("-") else column.asc(), *default)


def _addresses_where(session: Session, test: Callable[[str], bool]) -> Sequence[str]:
    """Give the addresses of settings that satisfy a test. There are few of them, however many settings there be."""
    return [one for one in session.scalars(select(_chosen.address).distinct()) if test(one)]


def _has_one_of(addresses: Sequence[str]) -> ColumnElement[bool]:
    return _setting.id.in_(select(_chosen.setting_id).where(_chosen.address.in_(addresses)))


def _address_condition(session: Session, family: int) -> Condition:
    def condition(operator: str, value: str) -> ColumnElement[bool]:
        test = address_test(operator, value)
        return _has_one_of(_addresses_where(session, lambda one: (":" in one) == (family == 6) and test(one)))

    return condition


def _helo_condition(session: Session, now: float) -> Condition:
    def condition(operator: str, value: str) -> ColumnElement[bool]:
        known, matches = helos.load(session), text_matches(operator, value)
        return _has_one_of(_addresses_where(session, lambda one: matches(known.of(one, now).helo)))

    return condition


# The worst of a setting's addresses, as a number: the place in `CHECKS` and the like. Each is asked for by the setting.


def _check_rank(_session: Session) -> Any:
    checkup = tables.Checkup
    found = and_(checkup.node_id == _setting.node_id, checkup.address == _chosen.address)
    worse = [(checkup.status == status, rank) for rank, status in enumerate(CHECKS) if rank]
    return _worst(case((checkup.address.is_(None), 1), *worse, else_=0), 1, checkup, found)


def _warmup_rank(_session: Session) -> Any:
    warmup = tables.Warmup
    state = case(
        (or_(warmup.address.is_(None), warmup.state.in_(("new", "checking", "cold"))), 0),
        (warmup.state == "warm", 1),
        (or_(warmup.paused_reason != "", warmup.state == "paused"), 3),
        else_=2,
    )
    return _worst(state, 0, warmup, warmup.address == _chosen.address)


def _reputation_rank(session: Session) -> Any:
    listing = tables.Listing
    counts = and_(listing.listed_since.is_not(None), listing.listed_severity.in_(COUNTING))
    listed = set(session.scalars(select(listing.address).where(counts)))
    clean = set(session.scalars(select(listing.address).where(listing.status == "clean"))) - listed
    return _worst(case((_chosen.address.in_(listed), 2), (_chosen.address.in_(clean), 0), else_=1), 1)


def _worst(rank: Any, otherwise: int, joined: Any = None, on: Any = None) -> Any:
    query = select(func.max(rank)).select_from(_chosen)
    query = query.outerjoin(joined, on) if joined is not None else query
    query = query.where(_chosen.setting_id == _setting.id).correlate(_setting)
    return func.coalesce(query.scalar_subquery(), otherwise)


def _used(figure: Any, table: type[tables.AddressUse | tables.Activity], *more: Any) -> Any:
    """Give a figure of the use of a setting's addresses; of its node's primary ones where it has chosen none."""
    own = select(figure).select_from(_chosen).join(table, table.address == _chosen.address)
    own = own.where(_chosen.setting_id == _setting.id, table.node == _node.name, *more).correlate(_setting, _node)
    primary = select(figure).select_from(table).where(table.node == _node.name, *more)
    primary = primary.where(table.address.in_((_node.primary_ipv4, _node.primary_ipv6))).correlate(_node)
    has_own = select(_chosen.setting_id).where(_chosen.setting_id == _setting.id).correlate(_setting).exists()
    return func.coalesce(case((has_own, own.scalar_subquery()), else_=primary.scalar_subquery()), 0)


def _rank_condition(rank: Any, names: Sequence[str]) -> Condition:
    return lambda _operator, value: rank == names.index(value)


def _listed(session: Session, rows: Sequence[tuple[Row, str]], now: float) -> Sequence[Listed]:
    ranks = [_check_rank(session), _warmup_rank(session), _reputation_rank(session)]
    query = select(_setting.id, *ranks).where(_setting.id.in_([row.id for row, _ in rows]))
    found = {one: (status, warmup, reputation) for one, status, warmup, reputation in session.execute(query)}
    known = helos.load(session)
    hosts = select(_node.name, _node.primary_ipv4, _node.primary_ipv6)
    primaries = {name: (ipv4, ipv6) for name, ipv4, ipv6 in session.execute(hosts)}
    uses = activity.uses(session, now)
    out = []
    for row, owner in rows:
        status, warmup, reputation = found[row.id]
        chosen = [one for one in (*row.ipv4, *row.ipv6) if one not in PRIMARY.values()]
        names = tuple(dict.fromkeys(known.of(one, now, node=row.hostname).helo for one in chosen))
        use = activity.together(uses.get((row.hostname, one)) for one in chosen or primaries[row.hostname])
        given = {name: getattr(row, name) for name in _ROW}
        given |= {"status": CHECKS[status], "warmup": WARMUPS[warmup], "reputation": REPUTATIONS[reputation]}
        given |= {"helos": names, "last_used_at": use.last_used_at, "deliveries_24h": use.messages_24h}
        out.append(Listed(owner=owner, **given))
    return out

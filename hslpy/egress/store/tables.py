"""The tables of delivery-IP settings: who there is, what is set for whom, what was found out. In: nothing. Out: classes.

Names and addresses stand here as they are compared: domains as lower-case A-labels, addresses in their canonical form. All
times are Unix seconds. `migrations/` makes these tables and brings older ones to them.
"""

from __future__ import annotations

from typing import Any, ClassVar

from sqlalchemy import JSON, BigInteger, ForeignKey, Integer, MetaData, String, UniqueConstraint
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

_NAMES = {
    "ix": "ix_%(table_name)s_%(column_0_name)s",
    "uq": "uq_%(table_name)s_%(column_0_name)s",
    "fk": "fk_%(table_name)s_%(column_0_name)s",
    "pk": "pk_%(table_name)s",
}
_Id = BigInteger().with_variant(Integer, "sqlite")  # SQLite counts up only what is INTEGER


class Base(DeclarativeBase):
    metadata = MetaData(naming_convention=_NAMES)
    type_annotation_map: ClassVar = {dict[str, Any]: JSON, list[str]: JSON, list[int]: JSON, dict[str, list[int]]: JSON}


def _id() -> Mapped[int]:
    return mapped_column(_Id, primary_key=True, autoincrement=True)


class Revision(Base):
    """One row: it counts changes, so that every process sees that there was one."""

    __tablename__ = "revision"
    id: Mapped[int] = mapped_column(_Id, primary_key=True, autoincrement=False)
    number: Mapped[int] = mapped_column(BigInteger)


class SiteSetting(Base):
    """What holds for the whole site; the rows of `site.py` say what there is."""

    __tablename__ = "site_settings"
    key: Mapped[str] = mapped_column(String(64), primary_key=True)
    value: Mapped[dict[str, Any]]


class Admin(Base):
    """Who may sign in to the page and the API. `allowed_calls` None means all that the role allows."""

    __tablename__ = "admins"
    id: Mapped[int] = _id()
    name: Mapped[str] = mapped_column(String(64), unique=True)
    parent_id: Mapped[int | None] = mapped_column(ForeignKey("admins.id"), index=True)
    role: Mapped[str] = mapped_column(String(16))
    password_hash: Mapped[str] = mapped_column(String(255), default="")
    is_api_user: Mapped[bool] = mapped_column(default=False)
    allowed_calls: Mapped[list[str] | None] = mapped_column(JSON(none_as_null=True))
    allowed_networks: Mapped[list[str] | None] = mapped_column(JSON(none_as_null=True))
    locked: Mapped[bool] = mapped_column(default=False)
    created_at: Mapped[float]
    signed_in_at: Mapped[float | None]


class Token(Base):
    """A token of the JSON API: its SHA-256, and what it may do."""

    __tablename__ = "tokens"
    id: Mapped[int] = _id()
    admin_id: Mapped[int] = mapped_column(ForeignKey("admins.id", ondelete="CASCADE"), index=True)
    name: Mapped[str] = mapped_column(String(64))
    sha256: Mapped[str] = mapped_column(String(64), unique=True)
    scopes: Mapped[list[str]]
    created_at: Mapped[float]
    expires_at: Mapped[float | None]
    used_at: Mapped[float | None]


class Session(Base):
    """A sign-in to the page, by the SHA-256 of what the browser keeps."""

    __tablename__ = "sessions"
    sha256: Mapped[str] = mapped_column(String(64), primary_key=True)
    admin_id: Mapped[int] = mapped_column(ForeignKey("admins.id", ondelete="CASCADE"), index=True)
    csrf: Mapped[str] = mapped_column(String(64))
    created_at: Mapped[float]
    seen_at: Mapped[float]


class Domain(Base):
    """A customer's domain; an alias has the domain it stands for in `main_id`, and no settings of its own."""

    __tablename__ = "domains"
    id: Mapped[int] = _id()
    name: Mapped[str] = mapped_column(String(253), unique=True)
    admin_id: Mapped[int | None] = mapped_column(ForeignKey("admins.id"), index=True)
    main_id: Mapped[int | None] = mapped_column(ForeignKey("domains.id"), index=True)
    locked: Mapped[bool] = mapped_column(default=False)
    locked_by: Mapped[str] = mapped_column(String(64), default="")
    created_at: Mapped[float]


class User(Base):
    """An outgoing user: one with a password, or a network that needs none. An empty name is the domain's own user."""

    __tablename__ = "users"
    __table_args__ = (UniqueConstraint("domain_id", "name"),)
    id: Mapped[int] = _id()
    domain_id: Mapped[int] = mapped_column(ForeignKey("domains.id"), index=True)
    name: Mapped[str] = mapped_column(String(255))
    password_hash: Mapped[str] = mapped_column(String(255), default="")
    network: Mapped[str] = mapped_column(String(64), default="")
    locked: Mapped[bool] = mapped_column(default=False)
    locked_reason: Mapped[str] = mapped_column(String(255), default="")
    locked_at: Mapped[float | None]
    locked_by: Mapped[str] = mapped_column(String(64), default="")
    created_at: Mapped[float]


class FormerName(Base):
    """A name that an outgoing user had in a domain, or with an empty `username` and `domain_id` that a whole domain had.

    Mail queued by it follows to whose it is now.
    """

    __tablename__ = "former_names"
    domain: Mapped[str] = mapped_column(String(253), primary_key=True)
    username: Mapped[str] = mapped_column(String(255), primary_key=True)
    domain_id: Mapped[int | None] = mapped_column(ForeignKey("domains.id", ondelete="CASCADE"), index=True)
    user_id: Mapped[int | None] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"), index=True)
    at: Mapped[float]


class Discarded(Base):
    """A user who was removed with its queued mail, or a whole domain, with an empty `username`: what came before `at`."""

    __tablename__ = "discarded"
    domain: Mapped[str] = mapped_column(String(253), primary_key=True)
    username: Mapped[str] = mapped_column(String(255), primary_key=True)
    at: Mapped[float]


class Identity(Base):
    """An identity that a user's messages had, for suggestions."""

    __tablename__ = "identities"
    __table_args__ = (UniqueConstraint("domain", "username", "identity"),)
    id: Mapped[int] = _id()
    domain: Mapped[str] = mapped_column(String(253))
    username: Mapped[str] = mapped_column(String(255))
    identity: Mapped[str] = mapped_column(String(998))
    seen_at: Mapped[float]


class Node(Base):
    """A server that mail leaves from, and what it last said of itself.

    `nonlocal_bind` has the families in which it binds to any address; `former` its primary address before this one, by
    family, with the time of the change; `found` the primary addresses of its own finding, where others were entered.
    """

    __tablename__ = "nodes"
    id: Mapped[int] = _id()
    name: Mapped[str] = mapped_column(String(253), unique=True)
    primary_ipv4: Mapped[str] = mapped_column(String(15), default="")
    primary_ipv6: Mapped[str] = mapped_column(String(45), default="")
    ipv6_enabled: Mapped[bool] = mapped_column(default=True)
    reported_at: Mapped[float | None]
    revision: Mapped[int] = mapped_column(BigInteger, default=0)  # up to which it has taken changes in
    rescan_asked_at: Mapped[float | None]
    nonlocal_bind: Mapped[list[int]] = mapped_column(JSON, default=list)
    former: Mapped[dict[str, Any]] = mapped_column(JSON, default=dict)
    found: Mapped[dict[str, Any]] = mapped_column(JSON, default=dict)
    locked: Mapped[bool] = mapped_column(default=False)
    locked_reason: Mapped[str] = mapped_column(String(255), default="")
    locked_at: Mapped[float | None]
    locked_by: Mapped[str] = mapped_column(String(64), default="")


class Address(Base):
    """An address of a node, as it reported it or an operator entered it."""

    __tablename__ = "addresses"
    __table_args__ = (UniqueConstraint("node_id", "address"),)
    id: Mapped[int] = _id()
    node_id: Mapped[int] = mapped_column(ForeignKey("nodes.id", ondelete="CASCADE"), index=True)
    address: Mapped[str] = mapped_column(String(45), index=True)
    interface: Mapped[str] = mapped_column(String(64), default="")
    flags: Mapped[list[str]] = mapped_column(JSON, default=list)
    public_address: Mapped[str] = mapped_column(String(45), default="")
    present: Mapped[bool] = mapped_column(default=True)
    first_seen_at: Mapped[float]
    seen_at: Mapped[float]


class DeliverySetting(Base):
    """The addresses for one scope on one node. `scope` is its text, for uniqueness; `version` counts its changes.

    Each node has one of the level `default`, made with it, empty while nothing is chosen.
    """

    __tablename__ = "delivery_settings"
    __table_args__ = (UniqueConstraint("scope", "node_id"),)
    id: Mapped[int] = _id()
    scope: Mapped[str] = mapped_column(String(1600))
    level: Mapped[str] = mapped_column(String(16), index=True)
    admin_id: Mapped[int | None] = mapped_column(ForeignKey("admins.id"), index=True)
    domain_id: Mapped[int | None] = mapped_column(ForeignKey("domains.id"), index=True)
    username: Mapped[str] = mapped_column(String(255), default="")
    identity: Mapped[str] = mapped_column(String(998), default="")
    node_id: Mapped[int] = mapped_column(ForeignKey("nodes.id"), index=True)
    ipv4: Mapped[list[str]]
    ipv6: Mapped[list[str]]
    ipv4_disabled: Mapped[bool] = mapped_column(default=False)
    strict: Mapped[bool] = mapped_column(default=False)
    version: Mapped[int] = mapped_column(default=1)
    changed_at: Mapped[float]
    changed_by: Mapped[str] = mapped_column(String(64))


class SettingAddress(Base):
    """An address that stands in a setting: what `DeliverySetting` lists, for looking up; without what means the primary."""

    __tablename__ = "setting_addresses"
    setting_id: Mapped[int] = mapped_column(ForeignKey("delivery_settings.id", ondelete="CASCADE"), primary_key=True)
    address: Mapped[str] = mapped_column(String(45), primary_key=True, index=True)


class Helo(Base):
    """A HELO name set by hand for an address; `direction` is `outgoing` or `incoming`."""

    __tablename__ = "helos"
    address: Mapped[str] = mapped_column(String(45), primary_key=True)
    direction: Mapped[str] = mapped_column(String(8), primary_key=True)
    helo: Mapped[str] = mapped_column(String(253))
    changed_at: Mapped[float]
    changed_by: Mapped[str] = mapped_column(String(64))


class Reverse(Base):
    """What reverse DNS last said of an address: its names, since when, and the last one that the address confirmed."""

    __tablename__ = "reverses"
    address: Mapped[str] = mapped_column(String(45), primary_key=True)
    names: Mapped[list[str]]
    confirmed: Mapped[str] = mapped_column(String(253), default="")
    confirmed_at: Mapped[float | None]
    checked_at: Mapped[float]
    error: Mapped[str] = mapped_column(String(255), default="")
    ttl_s: Mapped[int] = mapped_column(default=0)
    changed_at: Mapped[float | None]


class Checkup(Base):
    """What the checks of an address on a node last found; `findings` has the fields of `preflight.Finding`."""

    __tablename__ = "checkups"
    node_id: Mapped[int] = mapped_column(ForeignKey("nodes.id", ondelete="CASCADE"), primary_key=True)
    address: Mapped[str] = mapped_column(String(45), primary_key=True)
    status: Mapped[str] = mapped_column(String(10))
    findings: Mapped[list[dict[str, Any]]] = mapped_column(JSON)
    checked_at: Mapped[float]


class Warmup(Base):
    """How a public address is warmed up; `plan` is a `warmup.Plan`, `day`, `on_date`, `before` a `Progress`.

    `paused` says what did: `hand`, `listing`, `throttled`, `blocked`, empty while it is not; `paused_reason` is for people.
    `pause_told`: somebody was told of the pause, or made it by hand.
    """

    __tablename__ = "warmups"
    address: Mapped[str] = mapped_column(String(45), primary_key=True)
    state: Mapped[str] = mapped_column(String(12))
    plan: Mapped[dict[str, Any]]
    day: Mapped[int] = mapped_column(default=1)
    on_date: Mapped[str] = mapped_column(String(10), default="")
    before: Mapped[int] = mapped_column(default=0)
    paused: Mapped[str] = mapped_column(String(12), default="")
    paused_reason: Mapped[str] = mapped_column(String(255), default="")
    paused_at: Mapped[float | None]
    pause_told: Mapped[bool] = mapped_column(default=True)
    begun_at: Mapped[float | None]  # or resumed
    begun_with: Mapped[list[int]] = mapped_column(JSON, default=list)  # attempts, throttled, blocked of that hour before
    changed_at: Mapped[float]
    changed_by: Mapped[str] = mapped_column(String(64), default="")


class WarmupDay(Base):
    """What became of one date of a plan: `hours` of its window, `hours_used` with mail. `spoiled`: it was paused, or is to
    be repeated. `listings` are lists that had the address then."""

    __tablename__ = "warmup_days"
    address: Mapped[str] = mapped_column(ForeignKey("warmups.address", ondelete="CASCADE"), primary_key=True)
    date: Mapped[str] = mapped_column(String(10), primary_key=True)
    day: Mapped[int]
    hours: Mapped[int]
    hours_used: Mapped[int] = mapped_column(default=0)
    messages: Mapped[int] = mapped_column(default=0)
    attempts: Mapped[int] = mapped_column(default=0)
    deferred: Mapped[int] = mapped_column(default=0)
    counted: Mapped[bool] = mapped_column(default=False)
    spoiled: Mapped[bool] = mapped_column(default=False)
    listings: Mapped[list[str]] = mapped_column(JSON, default=list)


class Activity(Base):
    """How often something happened in an hour (Unix seconds by 3600), of a node and where it has one of an address.

    `about` is the group of receivers, or the namespace of a limit; `tally.Tally` has the kinds.
    """

    __tablename__ = "activity"
    hour: Mapped[int] = mapped_column(Integer, primary_key=True, autoincrement=False)
    node: Mapped[str] = mapped_column(String(253), primary_key=True)
    address: Mapped[str] = mapped_column(String(45), primary_key=True)
    about: Mapped[str] = mapped_column(String(64), primary_key=True)
    kind: Mapped[str] = mapped_column(String(12), primary_key=True)
    number: Mapped[int] = mapped_column(BigInteger)


class AddressUse(Base):
    """When mail last left from an address of a node."""

    __tablename__ = "address_uses"
    node: Mapped[str] = mapped_column(String(253), primary_key=True)
    address: Mapped[str] = mapped_column(String(45), primary_key=True)
    used_at: Mapped[float]


class NodeQueue(Base):
    """The queue of a node's process at a time; `counts` has the fields of `queues.Counts`. `page_url` is of the node's page,
    empty where nobody else can reach it."""

    __tablename__ = "node_queues"
    node: Mapped[str] = mapped_column(String(253), primary_key=True)
    process: Mapped[int] = mapped_column(Integer, primary_key=True, autoincrement=False)
    at: Mapped[float]
    page_url: Mapped[str] = mapped_column(String(255), default="")
    counts: Mapped[dict[str, Any]] = mapped_column(JSON)


class Suspension(Base):
    """An address that may not be used for a while, by hand or by a rule; on one node, or on all where `node` is empty."""

    __tablename__ = "suspensions"
    address: Mapped[str] = mapped_column(String(45), primary_key=True)
    node: Mapped[str] = mapped_column(String(253), primary_key=True, default="")
    until: Mapped[float | None]
    reason: Mapped[str] = mapped_column(String(255))
    by: Mapped[str] = mapped_column(String(64))


class Dnsbl(Base):
    """A block list. `key` is a secret that stands in the zone that is asked where that has `KEY`.

    `tests` has what its test entries said, by family, when it was asked through `tested_through`; it is not asked before
    `refused_until`. A family of `tried_families` is asked once its test entry has answered.
    """

    __tablename__ = "dnsbls"
    id: Mapped[int] = _id()
    name: Mapped[str] = mapped_column(String(64))
    zone: Mapped[str] = mapped_column(String(253), unique=True)
    enabled: Mapped[bool] = mapped_column(default=True)
    families: Mapped[list[int]]
    tried_families: Mapped[list[int]] = mapped_column(JSON, default=list)
    codes: Mapped[dict[str, Any]]
    kind: Mapped[str] = mapped_column(String(16))
    critical: Mapped[bool] = mapped_column(default=False)
    loopback_is_listed: Mapped[bool] = mapped_column(default=False)
    key: Mapped[str] = mapped_column(String(128), default="")
    removal_url: Mapped[str] = mapped_column(String(255), default="")
    is_builtin: Mapped[bool] = mapped_column(default=False)
    hidden: Mapped[bool] = mapped_column(default=False)
    note: Mapped[str] = mapped_column(String(255), default="")
    status: Mapped[str] = mapped_column(String(24), default="not tested")
    status_detail: Mapped[str] = mapped_column(String(255), default="")
    tests: Mapped[dict[str, Any]] = mapped_column(JSON, default=dict)
    tested_at: Mapped[float | None]
    tested_through: Mapped[str] = mapped_column(String(255), default="")
    refused_until: Mapped[float | None]


class Listing(Base):
    """The latest result of an address on a list, `since` when it is so, and until when it is taken as it is.

    Being listed outlasts results that say nothing: from `listed_since` to the first clean one, last seen at `listed_at`.
    """

    __tablename__ = "listings"
    address: Mapped[str] = mapped_column(String(45), primary_key=True)
    dnsbl_id: Mapped[int] = mapped_column(ForeignKey("dnsbls.id", ondelete="CASCADE"), primary_key=True)
    status: Mapped[str] = mapped_column(String(24))
    severity: Mapped[str] = mapped_column(String(12), default="none")
    codes: Mapped[list[str]]
    meanings: Mapped[list[str]]
    reasons: Mapped[list[str]]
    detail: Mapped[str] = mapped_column(String(255), default="")
    resolver: Mapped[str] = mapped_column(String(64), default="")
    ttl_s: Mapped[int] = mapped_column(default=0)
    checked_at: Mapped[float]
    expires_at: Mapped[float]
    since: Mapped[float]
    listed_since: Mapped[float | None]
    listed_at: Mapped[float | None]
    listed_codes: Mapped[list[str]]
    listed_severity: Mapped[str] = mapped_column(String(12), default="none")


class ReputationRun(Base):
    """A check of addresses on lists, under way or done. `counts` has how many results there are by status."""

    __tablename__ = "reputation_runs"
    id: Mapped[int] = _id()
    kind: Mapped[str] = mapped_column(String(12))
    by: Mapped[str] = mapped_column(String(64))
    total: Mapped[int]
    done: Mapped[int] = mapped_column(default=0)
    counts: Mapped[dict[str, Any]] = mapped_column(JSON, default=dict)
    state: Mapped[str] = mapped_column(String(12), default="running")
    started_at: Mapped[float] = mapped_column(index=True)
    finished_at: Mapped[float | None]


class PastListing(Base):
    """A time during which an address was listed."""

    __tablename__ = "past_listings"
    id: Mapped[int] = _id()
    address: Mapped[str] = mapped_column(String(45), index=True)
    list_name: Mapped[str] = mapped_column(String(64))
    zone: Mapped[str] = mapped_column(String(253))
    codes: Mapped[list[str]]
    from_at: Mapped[float]
    to_at: Mapped[float]


class Audit(Base):
    """One change, or one call: who, from where, what, and what came of it. Passwords and keys are never in it."""

    __tablename__ = "audit"
    id: Mapped[int] = _id()
    at: Mapped[float] = mapped_column(index=True)
    actor: Mapped[str] = mapped_column(String(64))
    client: Mapped[str] = mapped_column(String(64), default="")
    source_address: Mapped[str] = mapped_column(String(45), default="")
    action: Mapped[str] = mapped_column(String(64), index=True)
    arguments: Mapped[dict[str, Any]]
    result: Mapped[str] = mapped_column(String(1000), default="")


class SignIn(Base):
    """How many sign-ins of a client, of a name or of both have failed, last at a time; or that both are `known` together."""

    __tablename__ = "sign_ins"
    kind: Mapped[str] = mapped_column(String(8), primary_key=True)
    client: Mapped[str] = mapped_column(String(64), primary_key=True)
    name: Mapped[str] = mapped_column(String(64), primary_key=True)
    failures: Mapped[int]
    at: Mapped[float] = mapped_column(index=True)


class SavedFilter(Base):
    """Rules of a query that an admin has saved."""

    __tablename__ = "saved_filters"
    __table_args__ = (UniqueConstraint("admin_id", "page", "name"),)
    id: Mapped[int] = _id()
    admin_id: Mapped[int] = mapped_column(ForeignKey("admins.id", ondelete="CASCADE"), index=True)
    page: Mapped[str] = mapped_column(String(32))
    name: Mapped[str] = mapped_column(String(64))
    rules: Mapped[dict[str, Any]]


class Undo(Base):
    """What a change was of: whoever made it takes it back by the ticket, for a while."""

    __tablename__ = "undo"
    ticket: Mapped[str] = mapped_column(String(24), primary_key=True)
    actor: Mapped[str] = mapped_column(String(64), index=True)
    at: Mapped[float] = mapped_column(index=True)
    kind: Mapped[str] = mapped_column(String(16))
    what: Mapped[dict[str, Any]]

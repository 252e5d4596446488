"""Which delivery IPs are set for whom: an immutable picture of the settings. In: rows. Out: what is set, level by level.

A new picture is made with each change, so that a choice never sees half of one. No store, no clock.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import field
from typing import Final, Literal, get_args

from hslpy.records import record

Family = Literal[4, 6]
Level = Literal["default", "admin", "domain", "user", "identity"]
LEVELS: Sequence[Level] = get_args(Level)
LEVEL_NAMES: Mapping[str, str] = {
    "default": "Default",
    "admin": "Admin",
    "domain": "Domain",
    "user": "Domain + Username",
    "identity": "Domain + Username + Identity",
}
"""The levels, the most general first, as people read them."""

MOST_IDENTITY_BYTES = 998  # C2

PRIMARY_IPV4 = "0.0.0.0"
PRIMARY_IPV6 = "::0"
PRIMARY: Mapping[Family, str] = {4: PRIMARY_IPV4, 6: PRIMARY_IPV6}
"""In a list of addresses: the node's primary address of that family. An explicit choice, which ends the search."""


DEFAULT: Final = "default"
"""The level of all mail. It stands for every user in calls that take a domain; so no domain can have this name."""


def level_of(text: str) -> Level | None:
    """Give the level that a word is for, `user` or `Domain + Username`; case and blanks do not count."""
    written = "".join(text.lower().split())
    return next((one for one in LEVELS if written in (one, "".join(LEVEL_NAMES[one].lower().split()))), None)


@record
class Scope:
    """Whom a setting is for. The parts that the level has no use for are empty.

    `domain` is a lower-case A-label, `username` and `identity` lower-case ASCII (`scope_of` makes them so). At the levels
    `user` and `identity` an empty username is the domain's own user, which signs in by the domain's name alone.
    """

    level: Level
    admin: str = ""
    domain: str = ""
    username: str = ""
    identity: str = ""

    def __str__(self) -> str:
        if self.level == "default":
            return self.level
        if self.level == "admin":
            return f"admin {self.admin}"
        parts = (self.domain, self.username, self.identity)[: LEVELS.index(self.level) - 1]
        return f"{self.level} {'/'.join(parts)}".rstrip()


DEFAULT_SCOPE = Scope("default")


@record
class Setting:
    """The addresses for one scope on one node; a family without any is automatic."""

    scope: Scope
    node: str
    ipv4: tuple[str, ...] = ()
    ipv6: tuple[str, ...] = ()
    ipv4_disabled: bool = False
    strict: bool = False

    def addresses(self, family: Family) -> tuple[str, ...]:
        return self.ipv4 if family == 4 else self.ipv6


@record
class Node:
    """A server that mail leaves from. Its primary addresses are empty where it has none of that family."""

    name: str
    primary_ipv4: str = ""
    primary_ipv6: str = ""
    ipv6_enabled: bool = True
    addresses: frozenset[str] = frozenset()

    def primary(self, family: Family) -> str:
        return self.primary_ipv4 if family == 4 else self.primary_ipv6


@record
class Sender:
    """Whose message it is, as it was signed in for. All empty for what the node itself sends."""

    domain: str = ""
    username: str = ""
    identity: str = ""


@record
class Book:
    """All settings. `admin_of` gives a domain's admin, `parent_of` an admin's; `main_domain_of` an alias's domain."""

    settings: Mapping[tuple[Scope, str], Setting] = field(default_factory=dict)
    nodes: Mapping[str, Node] = field(default_factory=dict)
    admin_of: Mapping[str, str] = field(default_factory=dict)
    parent_of: Mapping[str, str] = field(default_factory=dict)
    main_domain_of: Mapping[str, str] = field(default_factory=dict)

    def scopes(self, sender: Sender) -> Iterator[Scope]:
        """Give the scopes that hold for a sender, most specific first.

        Source: section C2 of the specification; admins nearest first, then their parents.
        """
        domain = self.main_domain_of.get(sender.domain, sender.domain)
        if domain:
            if sender.identity:
                yield Scope("identity", "", domain, sender.username, sender.identity)
            if sender.username:
                yield Scope("user", "", domain, sender.username)
            yield Scope("domain", "", domain)
            yield from (Scope("admin", admin) for admin in self.admin_chain(domain))
        yield DEFAULT_SCOPE

    def admin_chain(self, domain: str) -> Iterator[str]:
        """Give a domain's admin and that one's parents, each once though they be set in a circle."""
        seen: set[str] = set()
        admin = self.admin_of.get(domain, "")
        while admin and admin not in seen:
            seen.add(admin)
            yield admin
            admin = self.parent_of.get(admin, "")

    def setting(self, scope: Scope, node: str) -> Setting | None:
        return self.settings.get((scope, node))


def scope_of(level: Level, *, admin: str = "", domain: str = "", username: str = "", identity: str = "") -> Scope:
    """Give the scope with its parts as they are compared. Raises ValueError where a part is missing or too much."""
    wanted = {"default": (), "admin": ("admin",), "domain": ("domain",), "user": ("domain", "username")}.get(level)
    given = {"admin": admin.strip(), "domain": domain.strip(), "username": username.strip(), "identity": identity.strip()}
    needed = wanted if wanted is not None else ("domain", "identity")
    allowed = {*needed, "username"} if level == "identity" else set(needed)
    for name, value in given.items():
        if name in needed and not value:
            raise ValueError(f"the level `{level}` wants `{name}`")
        if value and name not in allowed:
            raise ValueError(f"the level `{level}` has no `{name}`")
    domain, username, identity = (
        comparable_domain(given["domain"]),
        comparable(given["username"]),
        comparable(given["identity"]),
    )
    return Scope(level, given["admin"], domain, username, identity)


def comparable(text: str) -> str:
    """Give the text as names are compared: upper-case ASCII letters made small, the others left alone."""
    return text.lower() if text.isascii() else "".join(one.lower() if one.isascii() else one for one in text)


def comparable_domain(domain: str) -> str:
    """Give a domain as it is compared; `ascii_domain` has made U-labels A-labels before."""
    return comparable(domain).rstrip(".")

"""Whose message it is, and what its choice of an address goes by, as texts that are kept with it in the queue.

In: how it came. Out: a `Sender`, and the mapping that the spool keeps. Plain functions. Source: C1, C2 and C4 of the
specification of delivery IPs.

The keys: `domain`, `username` and `identity` of the sender; `pending` where they could not be told yet; `from4` and `from6`,
the addresses that it was tried from, `avoid`, those that were refused it, parted by blanks; `why`, how the last was chosen.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING

from hslpy.egress.rules.book import MOST_IDENTITY_BYTES, Sender, comparable, comparable_domain
from hslpy.egress.rules.sources import family_of
from hslpy.mail.address import ascii_domain, ascii_lower
from hslpy.spool.contract import QueuedRecipient

if TYPE_CHECKING:
    from hslpy.egress.traffic.picture import Account, Picture

Fields = Mapping[str, str]

PENDING: Fields = {"pending": "yes"}
_MOST_AVOIDED = 64  # as many as a setting has


def account_of(picture: Picture, login: str, client: str) -> Account | None:
    """Give the outgoing user who signed in as `login`, "" for nobody, or who is known by the client's address.

    One that was renamed since is known by its former name, too.
    """
    found = (picture.account(login) or _renamed(picture, login)) if login else None
    return found if found is not None or not client else picture.account_at(client)


def sender_at(picture: Picture, login: str, client: str, domain: str, *, is_null: bool = False) -> Sender:
    """Give whose message it is: the user's, else that of the domain that the sender's address names, if it is one of ours.

    What the node itself sends has no sender. `domain` is a lower-case A-label; `client` is empty for the node itself.
    """
    account = account_of(picture, login, client)
    if account is not None:
        return Sender(account.domain, account.username)
    if is_null or not client:
        return Sender()
    main = picture.book.main_domain_of.get(domain, domain)
    return Sender(main) if main in picture.domains else Sender()


def identity_of(text: str) -> str:
    """Give an identity as it is compared, empty for one that is none: beyond 998 octets, or with control characters."""
    found = comparable(text.strip())
    return found if len(found.encode()) <= MOST_IDENTITY_BYTES and found.isprintable() else ""


def identity_in(header: bytes, name: str) -> str:
    """Give the identity that a message's header names in its first field of a name, empty where there is none."""
    if not name:
        return ""
    field = rb"(?:^|\n)" + re.escape(name.encode("latin-1")) + rb"[ \t]*:((?:[^\n]|\n[ \t])*)"
    found = re.search(field, header, re.IGNORECASE)
    return identity_of(b"".join(found[1].splitlines()).decode("utf-8", "replace")) if found is not None else ""


def named(picture: Picture, domain: str = "", username: str = "", identity: str = "") -> Sender:
    """Give the sender of these names, the domain an alias or not."""
    name = comparable_domain(domain.strip())
    return Sender(picture.book.main_domain_of.get(name, name), comparable(username.strip()), identity_of(identity))


def fields_of(sender: Sender) -> Fields:
    """Give what is kept of a sender."""
    values = {"domain": sender.domain, "username": sender.username, "identity": sender.identity}
    return {key: value for key, value in values.items() if value}


def sender_of(fields: Fields, identity: str = "") -> Sender:
    """Give the sender that was kept; an `identity` that a script gave wins over the one that was kept."""
    return Sender(fields.get("domain", ""), fields.get("username", ""), identity_of(identity) or fields.get("identity", ""))


def of_entry(picture: Picture | None, entry: QueuedRecipient) -> Fields:
    """Give what is kept of a queued recipient's sender, by the names that it has now.

    One that could not be told when it came is told now.
    """
    kept = entry.egress
    if picture is None or not kept:
        return kept
    if "pending" not in kept:
        domain = kept.get("domain", "")
        names = picture.now_of(domain, kept.get("username", ""))
        if not domain or names == (domain, kept.get("username", "")):
            return kept
        return {**kept, **fields_of(Sender(*names))}
    login = entry.sasl_username.encode("latin-1", "replace").decode("utf-8", "replace")
    domain = ascii_lower(ascii_domain(entry.sender.domain))
    return fields_of(sender_at(picture, login, entry.remote_ip, domain, is_null=entry.sender.is_null))


def by_first_names(kept: Fields, fields: Fields) -> Fields:
    """Give `fields` with the names that the sender had when its message came, as they are in `kept`.

    Under names of later it would be taken for mail of who had those then, and was removed with it.
    """
    if "pending" in kept:
        return fields
    return {**fields, **{key: kept[key] for key in ("domain", "username") if key in kept}}


def locked(picture: Picture | None, node: str, entry: QueuedRecipient) -> str:
    """Give why a queued recipient is held for its node's or its sender's sake, empty for one that is not."""
    if picture is None:
        return ""
    if node in picture.locked_nodes:
        return picture.locked_nodes[node]
    if not entry.egress:
        return ""
    if is_discarded(picture, entry):
        return "its sender was removed, and its mail is to be"
    fields = of_entry(picture, entry)
    domain, username = fields.get("domain", ""), fields.get("username", "")
    why = picture.locked(domain, username)
    return f"the outgoing user {username}{'@' if username else ''}{domain} is locked: {why}" if why else ""


def is_discarded(picture: Picture, entry: QueuedRecipient) -> bool:
    """Say whether a queued recipient's sender was removed together with its mail."""
    domain = entry.egress.get("domain", "")
    return bool(domain and picture.former.discarded) and picture.is_discarded(
        domain, entry.egress.get("username", ""), entry.received_at
    )


def _renamed(picture: Picture, login: str) -> Account | None:
    username, at, domain = login.strip(" ").lower().rpartition("@")
    return picture.accounts.get(picture.now_of(domain, username if at else ""))


def kept_of(fields: Fields) -> tuple[str, ...]:
    """Give the addresses that a message was tried from."""
    return tuple([fields[key] for key in ("from4", "from6") if key in fields])


def avoided_of(fields: Fields) -> frozenset[str]:
    """Give the addresses that were refused a message."""
    return frozenset(fields["avoid"].split()) if "avoid" in fields else frozenset()


def after(fields: Fields, left_from: str, avoid: str, why: str) -> Fields:
    """Give what is to be kept after an attempt that left from an address, empty for one that the system chose."""
    found = dict(fields)
    if left_from:
        found[f"from{family_of(left_from)}"] = left_from
    if avoid and avoid not in (refused := found.get("avoid", "").split()):
        found["avoid"] = " ".join([*refused, avoid][-_MOST_AVOIDED:])
    if why:
        found["why"] = why
    return found

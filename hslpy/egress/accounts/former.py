"""What becomes of queued mail whose sender is renamed or removed. In: changes of users and domains. Out: whose it is now.

Mail in a queue is known by the names that its sender had when it came. It follows them: what is held for a locked sender
stays held under its new name, and is not let go by a removal unless that was asked for. Must not know of queues.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field
from datetime import UTC, datetime
from typing import Literal

from sqlalchemy import and_, delete, exists, or_, select, update
from sqlalchemy.orm import Session

from hslpy.egress.rules.names import Refused, about
from hslpy.egress.store.database import Change
from hslpy.egress.store.tables import Discarded, Domain, FormerName, User
from hslpy.records import record

Queued = Literal["", "release", "remove"]
"""What becomes of held mail whose sender is removed: it is let go, or removed with it. Empty: nobody has said."""
KEPT_S = 40 * 86400.0
"""Longer than mail is tried anywhere; what is held is known for as long as it is."""
Name = tuple[str, str]
"""A domain and a username; an empty username is a whole domain, of whose own user the mail is, too."""


@record
class Former:
    """`now_of` gives by a former name the present one; `discarded` has until when mail of a name came that is removed.

    The names in `discarded` are all that the removed had until then, as mail is queued by them: who has such a name later
    has other mail.
    """

    now_of: Mapping[Name, Name] = field(default_factory=dict)
    discarded: Mapping[Name, float] = field(default_factory=dict)


NONE = Former()


def read(session: Session) -> Former:
    owner = (
        select(FormerName.domain, FormerName.username, Domain.name, User.name)
        .outerjoin(User, FormerName.user_id == User.id)
        .join(Domain, or_(Domain.id == FormerName.domain_id, Domain.id == User.domain_id))
    )
    now_of = {(domain, username): (name, user or "") for domain, username, name, user in session.execute(owner)}
    discarded = session.execute(select(Discarded.domain, Discarded.username, Discarded.at))
    return Former(now_of, {(domain, username): at for domain, username, at in discarded})


def user_renamed(change: Change, domain: str, old: str, user_id: int) -> None:
    """Have mail queued by a user's old name follow it."""
    _forget_old(change)
    change.merge(FormerName(domain=domain, username=old, user_id=user_id, at=change.now))


def domain_renamed(change: Change, old: str, new: str, domain_id: int) -> None:
    """Have mail queued by a domain's old name follow it, and by the former names of its users."""
    _forget_old(change)
    users = (FormerName.domain == old, FormerName.username != "")
    change.execute(update(FormerName).where(*users).values(domain=new))
    change.merge(FormerName(domain=old, username="", domain_id=domain_id, at=change.now))


def take_name(change: Change, domain: str, username: str = "", *, own_id: int | None = None, is_alias: bool = False) -> None:
    """See to it that a name may be somebody's anew. That of which mail may be queued is nobody's but who had it.

    `own_id` is of the user, or domain, that takes it, of an alias (`is_alias`) the domain it stands for: mail of the name
    goes on following there. Raises Refused, which does not say whose name it was: that may be another customer.
    """
    found = change.get(FormerName, (domain, username))
    if found is None:
        return
    if own_id is None or own_id != (found.user_id or found.domain_id):
        is_locked, until = _is_locked(change, found), found.at + KEPT_S
        if is_locked or change.now <= until:
            day = datetime.fromtimestamp(until, UTC).date()
            free = "while mail of it may be held for a lock" if is_locked else f"until {day} (UTC)"
            raise Refused(
                f"'{username or domain}' is the former name of another {'user' if username else 'domain'}, whose mail may"
                f" still be queued by it: nobody else can have it {free}",
                409,
                "take another name, or give the old one back to who had it",
            )
    if not is_alias:
        change.delete(found)
        change.flush()


def settle(change: Change, domain: str, username: str, locked: bool, queued: Queued, held: int | None) -> None:
    """Have done with the mail of a user that is removed, or of a domain (an empty `username`).

    `held` is how much of it is held in the queues, None where that is not known. Raises Refused where some is held for a
    lock, that goes with them, and nobody has said what is to become of it.
    """
    if locked and not queued and held != 0:
        raise unasked(f"{username}@{domain}" if username else f"the domain {domain}", held)
    if queued != "remove":
        return
    _forget_old(change)
    owner = select(Domain.id).where(Domain.name == domain)
    domains = {domain, *change.scalars(select(FormerName.domain).where(FormerName.domain_id.in_(owner)))}
    usernames = {username}
    if username:
        user = select(User.id).join(Domain).where(Domain.name == domain, User.name == username)
        usernames.update(change.scalars(select(FormerName.username).where(FormerName.user_id.in_(user))))
    for one in domains:
        for name in usernames:
            change.merge(Discarded(domain=one, username=name, at=change.now))
    change.flush()


def unasked(who: str, held: int | None) -> Refused:
    """Give what is said to who removes somebody whose mail is held, and did not say what is to become of it."""
    number = "mail of theirs may be held" if held is None else f"{held:,} recipient{'s' if held != 1 else ''} of theirs wait"
    where = "in the queues, which cannot be asked" if held is None else "in the queue, held"
    with about("queued"):
        raise Refused(
            f"{who} is locked, and {number} {where}: say what is to become of that mail, `release` or `remove`",
            409,
            "`queued=remove` (`--queued remove`) removes it without a bounce, `queued=release` has it sent; or leave them"
            " locked, and it stays held",
        )


def _is_locked(change: Change, found: FormerName) -> bool:
    """Say whether mail of a former name is of a locked user or domain now, or may be of a locked user of the domain."""
    if found.user_id is not None:
        user = change.get(User, found.user_id)
        owner = change.get(Domain, user.domain_id) if user is not None else None
        return user is not None and (user.locked or (owner is not None and owner.locked))
    owner = change.get(Domain, found.domain_id)
    query = select(User.id).where(User.domain_id == found.domain_id, User.locked.is_(True))
    return owner is not None and (owner.locked or change.scalar(query.limit(1)) is not None)


def _forget_old(change: Change) -> None:
    """Forget names of which nothing is queued any more: mail is held longer than this for a lock alone."""
    before = change.now - KEPT_S
    change.execute(delete(Discarded).where(Discarded.at < before))
    is_locked = or_(
        and_(User.id == FormerName.user_id, User.locked.is_(True)),
        and_(User.domain_id == FormerName.domain_id, User.locked.is_(True)),
    )
    locked_domain = or_(
        Domain.id == FormerName.domain_id,
        Domain.id == select(User.domain_id).where(User.id == FormerName.user_id).scalar_subquery(),
    )
    change.execute(
        delete(FormerName).where(
            FormerName.at < before,
            ~exists().where(is_locked),
            ~exists().where(locked_domain, Domain.locked.is_(True)),
        )
    )

"""Why mail would leave from where: the ladder of a choice as data. In: names, a picture. Out: steps.

Nothing is changed and nothing counted. Source: B2.7 and section C of the specification of delivery IPs.
"""

from __future__ import annotations

from sqlalchemy.orm import Session

from hslpy.egress.accounts.directory import domain_of, user_of
from hslpy.egress.accounts.scopes import checked_identity
from hslpy.egress.addresses.inventory import node_of, only_node
from hslpy.egress.rules.book import Family, Level, Sender
from hslpy.egress.rules.choice import Kind, choose
from hslpy.egress.rules.names import Refused, about
from hslpy.egress.store.database import Database
from hslpy.egress.traffic.allowances import availability
from hslpy.egress.traffic.picture import Picture
from hslpy.records import record


@record
class Candidate:
    """An address of a setting; `reason` says why it is skipped, empty for one that can be used."""

    address: str
    reason: str


@record
class Step:
    """A level that was looked at. `value` is what is set there, None where nothing is; `wins`: it decided."""

    level: Level
    scope: str
    value: tuple[str, ...] | None
    finding: str
    wins: bool
    candidates: tuple[Candidate, ...]


@record
class Explanation:
    """What was chosen; `address` is empty where the system takes one, or none.

    `held_because` says why mail of the sender waits whatever was chosen: it is locked, or the node is.
    """

    node: str
    family: Family
    kind: Kind
    address: str
    fell_back: bool
    again_at: float
    steps: tuple[Step, ...]
    held_because: str = ""


def explain(
    database: Database,
    picture: Picture,
    *,
    node: str = "",
    family: int,
    now: float,
    domain: str = "",
    username: str = "",
    identity: str = "",
) -> Explanation:
    """Give why mail of a sender leaves a node from where, towards targets of a family. No domain: the node's own mail.
    No node: the only one there is.

    Of those that are warming up the windows are looked at, not what is left of an hour's cap.
    Raises Refused, NotFound, each with the field at fault.
    """
    with about("family"):
        if family not in (4, 6):
            raise Refused(f"'{family}' is no family of addresses: 4 or 6")
    wanted: Family = 4 if family == 4 else 6
    with database.read() as session:
        with about("node"):
            host = (node_of(session, node) if node.strip() else only_node(session)).name
        sender = Sender("", "", "")
        if domain.strip():
            sender = _sender(session, domain, username, identity)
        elif username.strip() or identity.strip():
            with about("domain"):
                raise Refused("choose a domain")
    warming = {address: availability(one, now)[0] for address, one in picture.warmups.get(host, {}).items()}
    exceptions = {**warming, **picture.exceptions(host, now)}
    decision = choose(picture.book, host, sender, wanted, b"", exceptions, picture.site.policies)
    steps = tuple(
        Step(
            rung.scope.level,
            str(rung.scope),
            None if rung.setting is None else rung.setting.addresses(wanted),
            rung.finding,
            rung.decides,
            tuple(
                Candidate(one, exceptions[one].reason if one in exceptions else "")
                for one in (rung.setting.addresses(wanted) if rung.setting is not None else ())
            ),
        )
        for rung in decision.ladder
    )
    held = picture.locked_nodes.get(host, "")
    if not held and (why := picture.locked(sender.domain, sender.username)):
        held = f"the sender is locked: {why}"
    return Explanation(host, wanted, decision.kind, decision.address, decision.fell_back, decision.again_at, steps, held)


def _sender(session: Session, domain: str, username: str, identity: str) -> Sender:
    with about("domain"):
        found = domain_of(session, domain)
    with about("username"):
        user = user_of(session, found, username).name if username.strip() else ""
    with about("identity"):
        return Sender(found.name, user, checked_identity(identity))

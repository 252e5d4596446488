"""How much mail of locked senders is queued, on all nodes. In: a database, a control socket. Out: a number, None: unknown.

This node's mail server is asked, and what the others told last is read. Source: B2.6 and check P24 of the specification of
delivery IPs.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from hslpy.admin.control import ask
from hslpy.admin.site import Site
from hslpy.egress.accounts import directory
from hslpy.egress.accounts.admins import Removed
from hslpy.egress.accounts.former import Queued
from hslpy.egress.store import queues
from hslpy.egress.store.database import Database
from hslpy.errors import OperatorError

_ASK_S = 5.0
_MOST_GROUPS = 100_000


async def of_locked(database: Database, control: Path | None, node: str) -> int | None:
    """Give how many recipients are queued of locked users, or users of locked domains."""
    users, domains, elsewhere = await asyncio.to_thread(_locked, database, node)
    if not users and not domains:
        return 0
    arguments = {"by": "user", "values": sorted(users), "most": _MOST_GROUPS if domains else 0}
    found = await _asked(control, arguments)
    if found is None:
        return None
    sizes = {str(one["value"]): int(one["count"]) for one in found["groups"]}
    own = sum(size for user, size in sizes.items() if user in users or user.rpartition("@")[2] in domains)
    return own + elsewhere


def remove(
    site: Site,
    change: Callable[..., Removed],
    domain: str,
    username: str = "",
    *,
    queued: Queued = "",
    only_look: bool = False,
) -> Removed:
    """Remove a user or a domain by `change`, whose held mail is counted first. Blocks. Raises what `change` does."""
    look = change(only_look=True, held=None)
    held = _of_sender(site, domain, username) if look.held is None else 0
    return change(only_look=only_look, held=held, queued=queued)


def _of_sender(site: Site, domain: str, username: str) -> int | None:
    """Give how many recipients are queued of a locked user or domain.

    That is not known where another node has not told since senders were changed: its counts may have them under other names,
    or not as locked.
    """
    username = directory.user_name(username)[0]
    egress = {"domain": [domain], **({"username": [username]} if username else {})}
    found = asyncio.run(_asked(site.control, {"by": "user", "most": 0, "egress": egress}))
    if found is None:
        return None
    with site.database.read() as session:
        others, changed_at = queues.read(session, but=site.node), directory.changed_at(session)
    now = site.clock.time()
    if any(one.is_old(now) or not one.knows(changed_at) for one in others):
        return None
    return sum(int(number) for number in found["states"].values()) + queues.of_senders(others, domain, username)


async def _asked(control: Path | None, arguments: Mapping[str, Any]) -> Any:
    if control is None:
        return None
    try:
        found = await ask(control, "queue.summary", arguments, _ASK_S)
    except OperatorError:
        return None
    return None if found.get("missing") else found


def _locked(database: Database, node: str) -> tuple[frozenset[str], frozenset[str], int]:
    """Give the locked users and domains, and how much is queued of such on other nodes."""
    users = {f"{one.username}@{one.domain}" for one in directory.list_users(database) if one.locked}
    domains = {one.name for one in directory.list_domains(database) if one.locked}
    with database.read() as session:
        elsewhere = sum(sum(one.counts.locked.values()) for one in queues.read(session, but=node))
    return frozenset(users), frozenset(domains), elsewhere

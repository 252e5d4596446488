"""How much mail of locked senders is queued on this node. In: a database. Out: a number, None where that is not known.

Source: B2.6 and check P24 of the specification of delivery IPs.
"""

from __future__ import annotations

import asyncio
from pathlib import Path

from hslpy.admin.control import ask
from hslpy.egress.accounts import directory
from hslpy.egress.store.database import Database
from hslpy.errors import OperatorError

_ASK_S = 5.0
_MOST_GROUPS = 100_000


async def queued_spam(database: Database, control: Path | None) -> int | None:
    """Give how many recipients queued by the server at a control socket are of locked users, or users of locked domains."""
    users, domains = await asyncio.to_thread(_locked, database)
    if not users and not domains:
        return 0
    if control is None:
        return None
    return await _count(control, users, domains)


async def _count(control: Path, users: frozenset[str], domains: frozenset[str]) -> int | None:
    arguments = {"by": "user", "values": sorted(users), "most": _MOST_GROUPS if domains else 0}
    try:
        found = await ask(control, "queue.summary", arguments, _ASK_S)
    except OperatorError:
        return None
    sizes = {str(one["value"]): int(one["count"]) for one in found["groups"]}
    return sum(size for user, size in sizes.items() if user in users or user.rpartition("@")[2] in domains)


def _locked(database: Database) -> tuple[frozenset[str], frozenset[str]]:
    users = {f"{one.username}@{one.domain}" for one in directory.list_users(database) if one.locked}
    domains = {one.name for one in directory.list_domains(database) if one.locked}
    return frozenset(users), frozenset(domains)

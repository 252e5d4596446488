"""The queue of this node, over the mail server's control socket; of the others, what they told last."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Annotated, Any

from fastapi import Query as Asked
from pydantic import Field

from hslpy.admin.api.frame import MOST_PER_PAGE, SUPER, Body, Caller, NotFound, Refused, Unavailable, needs, noun
from hslpy.admin.control import ask
from hslpy.admin.recent import COMMAND as DELIVERIES
from hslpy.egress.store import queues
from hslpy.egress.store.queues import QueueOf
from hslpy.errors import OperatorError
from hslpy.queue.entries import FIELDS

router = noun("queue")

READ = needs("queue:read")
WRITE = needs("queue:write")


class Some(Body):
    """Which recipients: by the ids of the queue or of messages, by values of fields, or all."""

    ids: list[str] = Field(default_factory=list)
    filter: dict[str, str] = Field(default_factory=dict)
    all: bool = False


async def order(caller: Caller, command: str, arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Give the mail server's answer. Raises Refused, and Unavailable where it does not run."""
    if caller.site.control is None:
        raise Unavailable("the mail server does not run")
    try:
        answer: dict[str, Any] = await ask(caller.site.control, command, arguments)
    except OperatorError as error:
        if error.exit_code != 1:
            raise Unavailable("the mail server does not run") from None
        if error.message.startswith("nothing in the queue"):
            raise NotFound(error.message) from None
        raise Refused(error.message) from None
    return answer


@router.get("/queue", summary="List queued recipients of this node")
async def list_entries(
    caller: Annotated[Caller, READ],
    limit: Annotated[int, Asked(ge=1, le=MOST_PER_PAGE)] = 100,
    offset: Annotated[int, Asked(ge=0)] = 0,
    held: bool = False,
    filter: Annotated[list[str], Asked(description="`field=value`")] = [],  # noqa: B006
) -> dict[str, Any]:
    wanted = dict(one.split("=", 1) for one in filter if "=" in one)
    _refuse_unknown(wanted)
    found = await order(caller, "queue.list", {"limit": limit, "offset": offset, "held": held, "filter": wanted})
    return found | await asyncio.to_thread(_of_this_node, caller)


@router.get("/queue/nodes", summary="Count queued recipients by node: of this one now, of the others as they told last")
async def nodes(caller: Annotated[Caller, READ]) -> list[QueueOf]:
    found = await order(caller, "queue.summary", {"by": "recipientdomain", "most": queues.MOST_DESTINATIONS})
    most = {one["value"]: one["count"] for one in found["groups"]}
    own = queues.Counts(found["total"], found["states"], most)
    return [QueueOf(caller.site.node, caller.site.clock.time(), "", own), *await asyncio.to_thread(_elsewhere, caller)]


@router.get("/queue/summary", summary="Count queued recipients by a field, the most frequent values first")
async def summary(
    caller: Annotated[Caller, READ],
    by: Annotated[str, Asked(description="such as `user` or `domain`")],
    most: Annotated[int, Asked(ge=1, le=MOST_PER_PAGE)] = 50,
) -> dict[str, Any]:
    return await order(caller, "queue.summary", {"by": by, "most": most})


@router.get("/deliveries", summary="List the latest attempts of this node, the latest first")
async def deliveries(
    caller: Annotated[Caller, READ],
    limit: Annotated[int, Asked(ge=1, le=MOST_PER_PAGE)] = 100,
    filter: Annotated[list[str], Asked(description="`field=value`, such as `address=192.0.2.11`")] = [],  # noqa: B006
) -> dict[str, Any]:
    wanted: dict[str, list[str]] = {}
    for name, _, value in (one.partition("=") for one in filter):
        wanted.setdefault(name, []).append(value)
    found = await order(caller, DELIVERIES, {"wanted": wanted, "limit": limit})
    return found | await asyncio.to_thread(_of_this_node, caller)


@router.get("/queue/{id}", summary="Show a queued recipient, or all of a message; its content to super-admins")
async def show(caller: Annotated[Caller, READ], id: str, content: bool = False) -> dict[str, Any]:
    if content:
        caller.principal.require(SUPER)
    return await order(caller, "queue.show", {"id": id, "content": content})


@router.post("/queue/hold", summary="Keep recipients from being tried")
async def hold(caller: Annotated[Caller, WRITE], body: Some) -> dict[str, Any]:
    return await _change(caller, "hold", body)


@router.post("/queue/release", summary="Let held recipients go, and try waiting ones now")
async def release(caller: Annotated[Caller, WRITE], body: Some) -> dict[str, Any]:
    return await _change(caller, "release", body)


@router.post("/queue/remove", summary="Remove recipients without a bounce")
async def remove(caller: Annotated[Caller, WRITE], body: Some) -> dict[str, Any]:
    return await _change(caller, "delete", body)


async def _change(caller: Caller, command: str, body: Some) -> dict[str, Any]:
    if not body.ids and not body.filter and not body.all:
        raise Refused("ids, a filter or `all` is wanted")
    _refuse_unknown(body.filter)
    told = body.model_dump()
    done = await order(caller, f"queue.{command}", told)
    text = f"{done.get('count', 0)} recipients"
    await asyncio.to_thread(caller.site.database.record, caller.actor, f"queue {command}", told, text)
    return done


def _elsewhere(caller: Caller) -> Sequence[QueueOf]:
    with caller.site.database.read() as session:
        return queues.read(session, but=caller.site.node)


def _of_this_node(caller: Caller) -> dict[str, Any]:
    """Say whose rows these are, and where there are more."""
    return {"node": caller.site.node, "other_nodes": {one.node: one.page_url for one in _elsewhere(caller)}}


def _refuse_unknown(wanted: Mapping[str, str]) -> None:
    for name in wanted:
        if name not in FIELDS:
            raise Refused(f"'{name}' is no field of the queue: {', '.join(FIELDS)}")

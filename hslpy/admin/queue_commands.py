"""The queue's control requests: list, find, show, hold, release, delete. In: arguments from the socket. Out: plain data.

Parses, calls one function of the queue, answers; the rules are the queue's.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, fields
from typing import Any

from hslpy.admin.control import Handler
from hslpy.errors import OperatorError
from hslpy.mail.address import Address
from hslpy.queue.queue import Outcome, Queue
from hslpy.queue.search import QueueFilter
from hslpy.spool.contract import QueuedRecipient, Spool

STATES = ("waiting", "due", "in-flight", "held", "quarantined")
MOST_GROUPS = 2000
MOST_ROWS = 10_000  # of an answer: making more takes so long that mail would wait for it


def queue_id_of(text: str) -> int | None:
    """Give the queue id that the text is, None where it is the id of a transaction."""
    return int(text) if text.isascii() and text.isdigit() and len(text) <= 19 else None


def window(arguments: Mapping[str, Any]) -> tuple[int, int]:
    """Give limit and offset. Raises OperatorError."""
    try:
        limit, offset = int(arguments.get("limit", 100)), int(arguments.get("offset", 0))
    except (TypeError, ValueError, OverflowError):
        raise OperatorError("limit and offset are numbers") from None
    return max(min(limit, MOST_ROWS), 0), max(offset, 0)


def nothing_has(text: str) -> OperatorError:
    return OperatorError(f"nothing in the queue has the id {text}", hint="`hslpy queue list` shows what is there")


def readable(text: str) -> str:
    """Give a text of the queue, which has a character a byte, as people write it."""
    if text.isascii():
        return text
    try:
        return text.encode("latin-1").decode()
    except UnicodeError:
        return text


def queue_commands(queue: Queue, spool: Spool) -> dict[str, Handler]:
    """Give the handlers by command name."""

    def wanted(arguments: Mapping[str, Any]) -> QueueFilter:
        given = arguments.get("filter", {})  # in the queue addresses have a character a byte
        sought = {k: [v.encode().decode("latin-1") if isinstance(v, str) else v] for k, v in given.items()}
        state = "held" if arguments.get("held") else str(arguments.get("state", ""))
        if state and state not in STATES:
            raise OperatorError(f"no recipient is ever `{state}`", hint=f"one of {', '.join(STATES)}")
        egress = arguments.get("egress", {})
        return QueueFilter(sought, state, {kind: frozenset(values) for kind, values in egress.items()})

    def shown(entry: QueuedRecipient) -> dict[str, Any]:
        row: dict[str, Any] = {"queue_id": entry.queue_id, "state": queue.state(entry)}
        for field in fields(QueuedRecipient):
            value = getattr(entry, field.name)
            if field.name not in ("queue_id", "message_id", "variant"):
                row[field.name] = (
                    value.readable if isinstance(value, Address) else dict(value) if isinstance(value, Mapping) else value
                )
        row["egress"] = dict(queue.told(entry))
        held_because = queue.withheld(entry)
        return {**row, "held_because": held_because} if held_because else row

    def counted(outcome: Outcome) -> dict[str, Any]:
        return {"count": len(outcome.done) + len(outcome.later), "later": len(outcome.later)}

    async def look_up(text: str) -> tuple[QueuedRecipient, ...]:
        queue_id = queue_id_of(text)
        if queue_id is not None:
            entry = queue.get(queue_id)
            return (entry,) if entry is not None else ()
        return await queue.of_transaction(text)

    async def find(text: str) -> tuple[QueuedRecipient, ...]:
        found = await look_up(text)
        if not found:
            raise nothing_has(text)
        return found

    async def find_all(arguments: Mapping[str, Any]) -> dict[str, list[int]]:
        texts = [str(text) for text in arguments["ids"]]
        return {text: [entry.queue_id for entry in await look_up(text)] for text in texts}

    async def list_(arguments: Mapping[str, Any]) -> dict[str, Any]:
        limit, offset = window(arguments)
        count, rows = await queue.list(wanted(arguments), limit, offset)
        return {
            "recipients": [shown(row) for row in rows],
            "matching": count,
            "total": len(queue),
            "set_aside": spool.stats().set_aside,
        }

    async def summary(arguments: Mapping[str, Any]) -> dict[str, Any]:
        """`most` groups by `by`: the largest, and those of `values` whatever their size."""
        try:
            found = await queue.summary(str(arguments["by"]), wanted(arguments))
        except ValueError as error:
            raise OperatorError(str(error)) from None
        most, values = int(arguments.get("most", MOST_GROUPS)), frozenset(arguments.get("values", ()))
        chosen = [one for number, one in enumerate(found.groups) if number < most or one.value in values]
        groups = [{**asdict(one), "value": readable(one.value)} for one in chosen]
        return {"states": found.states, "groups": groups, "count": len(found.groups), "total": len(queue)}

    async def show(arguments: Mapping[str, Any]) -> dict[str, Any]:
        found = await find(str(arguments["id"]))
        answer: dict[str, Any] = {"recipients": [shown(row) for row in found]}
        if arguments.get("content"):
            content = await spool.read(found[0].message_id, found[0].variant)
            answer["content"] = content.decode("utf-8", "replace").replace("\r\n", "\n")
        return answer

    async def ids_of(arguments: Mapping[str, Any]) -> list[int]:
        ids = [int(queue_id) for queue_id in arguments.get("queue_ids", ())]
        for text in arguments.get("ids", ()):
            ids += [entry.queue_id for entry in await find(str(text))]
        if not ids and any(arguments.get(name) for name in ("filter", "egress", "state", "all")):
            _, entries = await queue.list(wanted(arguments), limit=len(queue))
            ids = [entry.queue_id for entry in entries]
        return ids

    async def hold(arguments: Mapping[str, Any]) -> dict[str, Any]:
        return counted(await queue.hold(await ids_of(arguments)))

    async def release(arguments: Mapping[str, Any]) -> dict[str, Any]:
        ids = await ids_of(arguments)
        answer = counted(await queue.release(ids))
        withheld = sum((entry := queue.get(one)) is not None and bool(queue.withheld(entry)) for one in ids)
        return answer | ({"withheld": withheld} if withheld else {})

    async def delete(arguments: Mapping[str, Any]) -> dict[str, Any]:
        return counted(await queue.delete(await ids_of(arguments)))

    return {
        "queue.list": list_,
        "queue.summary": summary,
        "queue.find": find_all,
        "queue.show": show,
        "queue.hold": hold,
        "queue.release": release,
        "queue.delete": delete,
    }

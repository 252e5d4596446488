"""Control requests over all workers: each is asked for its part, and the parts are put together. In: requests. Out: answers.

An answer has what it would have from one process, and `missing`: the workers that gave no answer, with why. What belongs to
whom is the arithmetic of `spool/shards.py`.
"""

from __future__ import annotations

import asyncio
import heapq
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from itertools import islice
from typing import Any

from hslpy.admin import recent, submit
from hslpy.admin.control import Handler
from hslpy.admin.hub import NoAnswer
from hslpy.admin.queue_commands import MOST_GROUPS, MOST_ROWS, nothing_has, queue_id_of, window
from hslpy.errors import OperatorError
from hslpy.spool.shards import worker_of

LOOK_S = 5.0  # a search over a million recipients takes about a second
ORDER_S = 25.0  # below the 30 s that `hslpy queue` waits

Ask = Callable[[int, str, Mapping[str, Any], float], Awaitable[Any]]
"""`ask(worker, command, arguments, timeout_s)`: that worker's answer. Raises NoAnswer, or OperatorError."""


class Whole:
    """The requests to the queue, over `workers` processes."""

    def __init__(self, workers: int, ask: Ask) -> None:
        self._workers = workers
        self._ask = ask

    def handlers(self) -> dict[str, Handler]:
        """Give the handlers by command name."""
        return {
            "queue.list": self._list,
            "queue.summary": self._summary,
            "queue.show": self._show,
            "queue.hold": lambda arguments: self._order("queue.hold", arguments),
            "queue.release": lambda arguments: self._order("queue.release", arguments),
            "queue.delete": lambda arguments: self._order("queue.delete", arguments),
            "user.unblock": self._unblock,
            "settings.look": self._look,
            submit.COMMAND: self._submit,
            recent.COMMAND: self._deliveries,
        }

    async def of_all(
        self, command: str, arguments: Mapping[int, Mapping[str, Any]], timeout_s: float
    ) -> tuple[dict[int, Any], list[dict[str, Any]]]:
        """Give the answers by worker, and who gave none; `arguments` are by worker. Raises a worker's OperatorError."""

        async def one(worker: int) -> Any:
            try:
                return await self._ask(worker, command, arguments[worker], timeout_s)
            except NoAnswer as error:
                return error

        answers = dict(zip(arguments, await asyncio.gather(*map(one, arguments)), strict=True))
        missing = [{"worker": worker, "why": str(error)} for worker, error in answers.items() if isinstance(error, NoAnswer)]
        return {worker: answer for worker, answer in answers.items() if not isinstance(answer, NoAnswer)}, missing

    async def _list(self, arguments: Mapping[str, Any]) -> dict[str, Any]:
        limit, offset = window(arguments)
        if offset + limit > MOST_ROWS:
            raise OperatorError(
                f"of the queues of several workers the first {MOST_ROWS} rows can be listed",
                hint="use a filter, or a lower --limit and --offset",
            )
        part = {**arguments, "limit": offset + limit, "offset": 0}
        answers, missing = await self.of_all("queue.list", dict.fromkeys(range(self._workers), part), LOOK_S)
        rows = heapq.merge(*(answer["recipients"] for answer in answers.values()), key=lambda row: row["received_at"])
        return {
            "recipients": list(islice(rows, offset, offset + limit)),
            "matching": sum(answer["matching"] for answer in answers.values()),
            "total": sum(answer["total"] for answer in answers.values()),
            "set_aside": [folder for answer in answers.values() for folder in answer["set_aside"]],
            "missing": missing,
        }

    async def _summary(self, arguments: Mapping[str, Any]) -> dict[str, Any]:
        answers, missing = await self.of_all("queue.summary", dict.fromkeys(range(self._workers), arguments), LOOK_S)
        states, groups = Counter[str](), dict[str, dict[str, Any]]()
        for answer in answers.values():
            states.update(answer["states"])
            for group in answer["groups"]:
                known = groups.setdefault(group["value"], group)
                if known is not group:
                    known["oldest_at"] = min(known["oldest_at"], group["oldest_at"])
                    for key in ("count", "held", "size_bytes"):
                        known[key] += group[key]
        most = int(arguments.get("most", MOST_GROUPS))
        order = sorted(groups.values(), key=lambda group: (-group["count"], group["value"]))
        values = frozenset(arguments.get("values", ()))
        return {
            "states": dict(states),
            "groups": [one for number, one in enumerate(order) if number < most or one["value"] in values],
            "count": max([len(groups), *(answer["count"] for answer in answers.values())]),
            "total": sum(answer["total"] for answer in answers.values()),
            "missing": missing,
        }

    async def _deliveries(self, arguments: Mapping[str, Any]) -> dict[str, Any]:
        answers, missing = await self.of_all(recent.COMMAND, dict.fromkeys(range(self._workers), arguments), LOOK_S)
        rows = sorted((row for answer in answers.values() for row in answer["rows"]), key=lambda row: -row["at"])
        return {
            "rows": rows[: int(arguments.get("limit", 100))],
            "matching": sum(answer["matching"] for answer in answers.values()),
            "since": max((answer["since"] for answer in answers.values()), default=0.0),
            "missing": missing,
        }

    async def _show(self, arguments: Mapping[str, Any]) -> dict[str, Any]:
        found, missing = await self._find([str(arguments["id"])])
        answers, more = await self.of_all("queue.show", dict.fromkeys(found, arguments), LOOK_S)
        shown: dict[str, Any] = {"recipients": [], "missing": missing + more}
        for answer in answers.values():
            shown["recipients"] += answer["recipients"]
            if "content" in answer:
                shown.setdefault("content", answer["content"])
        return shown

    async def _order(self, command: str, arguments: Mapping[str, Any]) -> dict[str, Any]:
        missing: list[dict[str, Any]] = []
        if arguments.get("ids"):
            found, missing = await self._find([str(text) for text in arguments["ids"]])
            parts: Mapping[int, Mapping[str, Any]] = {worker: {"queue_ids": ids} for worker, ids in found.items()}
        else:
            parts = dict.fromkeys(range(self._workers), arguments)
        answers, more = await self.of_all(command, parts, ORDER_S)
        withheld = sum(answer.get("withheld", 0) for answer in answers.values())
        return {
            "count": sum(answer["count"] for answer in answers.values()),
            "later": sum(answer["later"] for answer in answers.values()),
            "missing": missing + more,
            **({"withheld": withheld} if withheld else {}),
        }

    async def _unblock(self, arguments: Mapping[str, Any]) -> dict[str, Any]:
        answers, missing = await self.of_all("user.unblock", dict.fromkeys(range(self._workers), arguments), LOOK_S)
        scopes = {scope for answer in answers.values() for scope in answer["unblocked"]}
        return {"unblocked": sorted(scopes), "missing": missing}

    async def _look(self, arguments: Mapping[str, Any]) -> dict[str, Any]:
        answers, missing = await self.of_all("settings.look", dict.fromkeys(range(self._workers), arguments), LOOK_S)
        return {"revision": min((answer["revision"] for answer in answers.values()), default=-1), "missing": missing}

    async def _submit(self, arguments: Mapping[str, Any]) -> Any:
        """Have the first worker that answers take a message; it comes twice where one took it and could not say so."""
        for worker in range(self._workers):
            try:
                return await self._ask(worker, submit.COMMAND, arguments, ORDER_S)
            except NoAnswer as error:
                why = str(error)
        raise OperatorError(f"no worker takes the message: {why}")

    async def _find(self, texts: list[str]) -> tuple[dict[int, list[int]], list[dict[str, Any]]]:
        """Give the queue ids that ids mean, by worker, and who could not be asked. Raises OperatorError for one unknown."""
        wanted: dict[int, list[str]] = {}
        for text in texts:
            queue_id = queue_id_of(text)
            owners = range(self._workers) if queue_id is None else [worker_of(queue_id, self._workers)]
            for worker in owners:
                wanted.setdefault(worker, []).append(text)
        parts = {worker: {"ids": ids} for worker, ids in wanted.items()}
        answers, missing = await self.of_all("queue.find", parts, LOOK_S)
        known = {text for answer in answers.values() for text, ids in answer.items() if ids}
        for text in texts:
            if text not in known:
                if missing:
                    who = ", ".join(f"worker {each['worker']}: {each['why']}" for each in missing)
                    raise OperatorError(f"nothing with the id {text} was found, but not all could be asked ({who})")
                raise nothing_has(text)
        found = {worker: [id for ids in answer.values() for id in ids] for worker, answer in answers.items()}
        return {worker: ids for worker, ids in found.items() if ids}, missing

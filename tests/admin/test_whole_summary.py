"""What several workers have, put together: groups of the queue, attempts."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

from hslpy.admin.hub import NoAnswer
from hslpy.admin.whole import Whole


def group(value: str, count: int, oldest_at: float) -> dict[str, Any]:
    return {"value": value, "count": count, "held": 1, "size_bytes": 10 * count, "oldest_at": oldest_at}


PARTS: list[dict[str, Any]] = [
    {"states": {"due": 2}, "groups": [group("a", 2, 5.0)], "count": 1, "total": 2, "rows": [{"at": 3.0}, {"at": 1.0}],
     "matching": 2, "since": 1.0},
    {"states": {"due": 1, "held": 3}, "groups": [group("b", 3, 2.0), group("a", 1, 4.0)], "count": 2, "total": 4,
     "rows": [{"at": 2.0}], "matching": 1, "since": 2.0},
]  # fmt: skip


def asked(command: str, arguments: Mapping[str, Any], workers: int = 3) -> Any:
    async def ask(worker: int, command: str, arguments: Mapping[str, Any], timeout_s: float) -> Any:
        if worker == 2:
            raise NoAnswer("it is not running")
        return PARTS[worker]

    return asyncio.run(Whole(workers, ask).handlers()[command](arguments))  # type: ignore[arg-type]


def test_groups_are_added_up() -> None:
    found = asked("queue.summary", {"by": "recipientdomain", "most": 1, "values": ["b"]})
    assert found["states"] == {"due": 3, "held": 3} and found["total"] == 6 and found["count"] == 2
    assert [(one["value"], one["count"], one["oldest_at"]) for one in found["groups"]] == [("a", 3, 4.0), ("b", 3, 2.0)]
    assert [one["worker"] for one in found["missing"]] == [2]


def test_attempts_are_put_in_order_and_reach_as_far_back_as_all_do() -> None:
    found = asked("deliveries", {"limit": 2})
    assert [row["at"] for row in found["rows"]] == [3.0, 2.0]
    assert (found["matching"], found["since"], len(found["missing"])) == (3, 2.0, 1)

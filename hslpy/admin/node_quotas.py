"""Caps of a node's workers, counted by their supervisor over the link: one worker uses what another does not.

In: a worker's questions. Out: answers. What is counted, and how, is `rate/quota.py`'s.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

from hslpy.admin.control import Handler
from hslpy.admin.hub import Link, NoAnswer
from hslpy.errors import OperatorError
from hslpy.rate.quota import AWAY, Answer, Cap, Quotas

_ASK_S = 2.0
_AWAY_S = 1.0  # before it is asked again
_RESERVE, _RELEASE, _LOAD = "quota.reserve", "quota.release", "quota.load"


class NodeQuotas:
    """A worker's side. While the supervisor does not answer nothing is granted."""

    spans_nodes = False

    def __init__(self, link: Link) -> None:
        self._link = link

    def load(self, key: str, name: str, count: int, now: float) -> None:
        self._link.tell(_LOAD, [key, name, count, now])

    async def reserve(self, key: str, caps: Sequence[Cap], now: float) -> Answer:
        try:
            granted, again_at, cap = await self._link.ask(_RESERVE, _told(key, caps, now), _ASK_S)
        except (NoAnswer, OperatorError):
            return Answer(False, now + _AWAY_S, AWAY[1])
        return Answer(granted, again_at, cap)

    async def release(self, key: str, caps: Sequence[Cap], reserved_at: float) -> None:
        with suppress(NoAnswer, OperatorError):  # what cannot be given back stays counted
            await self._link.ask(_RELEASE, _told(key, caps, reserved_at), _ASK_S)

    async def close(self) -> None:
        """The link is the worker's."""


def quota_questions(quotas: Quotas) -> dict[str, Handler]:
    """Give what the supervisor answers."""

    async def reserve(arguments: Mapping[str, Any]) -> list[Any]:
        found = await quotas.reserve(*_heard(arguments))
        return [found.granted, found.again_at, found.cap]

    async def release(arguments: Mapping[str, Any]) -> None:
        await quotas.release(*_heard(arguments))

    return {_RESERVE: reserve, _RELEASE: release}


def quota_notes(quotas: Quotas) -> dict[str, Any]:
    return {_LOAD: quotas.load}


def _told(key: str, caps: Sequence[Cap], now: float) -> dict[str, Any]:
    return {"key": key, "caps": [[cap.name, cap.limit, cap.burst] for cap in caps], "now": now}


def _heard(arguments: Mapping[str, Any]) -> tuple[str, Sequence[Cap], float]:
    return arguments["key"], [Cap(*cap) for cap in arguments["caps"]], arguments["now"]

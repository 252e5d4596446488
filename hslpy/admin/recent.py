"""The latest attempts of this process, kept in memory from its log's events. In: events. Out: rows for operators.

Only so many are kept, and `since` says how far back they reach. Must not know how mail is sent.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from hslpy.admin.control import Handler
from hslpy.admin.queue_commands import readable
from hslpy.clock import Clock
from hslpy.errors import OperatorError
from hslpy.log import Log

COMMAND = "deliveries"
MOST_ATTEMPTS = 5000
"""Attempts kept: some 7 MB. Keeping one takes 13 us, finding among them 8 ms."""
MOST_SHOWN = 500
_MOST_OPEN = 2000
_KINDS = ("delivered", "deferred", "bounced", "deleted", "waiting")
_OF_ATTEMPT = ("local_ip", "helo", "host", "remote_ip", "port", "tls", "duration_s", "named_by", "looked_at")
_OF_CHOICE = ("scope_level", "scope", "pool", "chosen", "kind", "fell_back")
_OF_RESULT = ("sender", "recipient", "domain", "username", "retries", "wait_s", "due_at", "hold", "report", "expired")
_LONGEST = 600


class Recent:
    """The latest attempts. One that no host was reached in counts too, with its reason; `total` counts all there were."""

    def __init__(self, clock: Clock, most: int = MOST_ATTEMPTS) -> None:
        self._clock = clock
        self._rows: deque[dict[str, Any]] = deque(maxlen=most)
        self._open: dict[object, list[dict[str, Any]]] = {}
        self._started_at = clock.time()
        self.total = 0

    def listening(self, log: Log) -> Log:
        """Give a log that does what `log` does, and keeps what its records tell of attempts."""

        def heard(event: str, fields: Mapping[str, object]) -> None:
            if event.startswith("delivery."):
                self.heard(event[9:], fields)
            log(event, fields)

        return heard

    def heard(self, what: str, fields: Mapping[str, object]) -> None:
        """Keep an attempt, and what came of it once that is told."""
        if what == "attempt":
            row = self._add(fields, "under way", str(fields["result"]))
            row |= {key: fields[key] for key in (*_OF_ATTEMPT, *_OF_CHOICE) if fields.get(key) not in ("", None)}
            self._open.setdefault(fields.get("queue_id"), []).append(row)
            while len(self._open) > _MOST_OPEN:
                del self._open[next(iter(self._open))]
        elif what in _KINDS:
            rows = self._open.pop(fields.get("queue_id"), None)
            if rows is None:
                rows = [self._add(fields, what, str(fields.get("reason", "")))]
            for row in rows:
                row |= {key: _shown(fields[key]) for key in _OF_RESULT if fields.get(key) not in ("", None)}
            for row in rows[:-1]:
                row["outcome"] = "deferred"  # another host was tried after it
            rows[-1]["outcome"] = what

    @property
    def since(self) -> float:
        """How far back the rows reach, in Unix seconds."""
        full = len(self._rows) == self._rows.maxlen
        return float(self._rows[0]["at"]) if full else self._started_at

    def find(self, wanted: Mapping[str, Any]) -> Sequence[dict[str, Any]]:
        """Give the rows that match all that is wanted, the latest first. Raises OperatorError for what is not known."""
        unknown = set(wanted) - set(_WANTED)
        if unknown:
            raise OperatorError(f"attempts cannot be looked for by {', '.join(sorted(unknown))}")
        tests = [(_WANTED[key], _texts(value)) for key, value in wanted.items() if value]
        return [row for row in reversed(self._rows) if all(test(row, values) for test, values in tests)]

    def _add(self, fields: Mapping[str, object], outcome: str, result: str) -> dict[str, Any]:
        row: dict[str, Any] = {"at": self._clock.time(), "outcome": outcome, "result": result[:_LONGEST]}
        row |= {"transaction": fields.get("transaction", ""), "queue_id": fields.get("queue_id", 0)}
        self._rows.append(row)
        self.total += 1
        return row


def recent_commands(recent: Recent) -> dict[str, Handler]:
    """Give the handler of `deliveries`: `{"wanted": {...}, "limit": N}`."""

    async def deliveries(arguments: Mapping[str, Any]) -> dict[str, Any]:
        wanted, limit = arguments.get("wanted", {}), arguments.get("limit", 100)
        if not isinstance(wanted, dict) or not isinstance(limit, int):
            raise OperatorError("wanted are fields by name, limit is a number")
        rows = recent.find(wanted)
        return {"rows": rows[: max(0, min(limit, MOST_SHOWN))], "matching": len(rows), "since": recent.since}

    return {COMMAND: deliveries}


def _texts(value: Any) -> frozenset[str]:
    return frozenset(str(one).lower() for one in (value if isinstance(value, list) else [value]))


def _shown(value: object) -> object:
    return readable(value) if isinstance(value, str) else value


def _domain(address: object) -> str:
    return str(address).rpartition("@")[2].lower()


_WANTED: Mapping[str, Callable[[Mapping[str, Any], frozenset[str]], bool]] = {
    "address": lambda row, values: str(row.get("local_ip", "")).lower() in values,
    "outcome": lambda row, values: row["outcome"] in values,
    "transaction": lambda row, values: str(row["transaction"]).lower() in values,
    "queue_id": lambda row, values: str(row["queue_id"]) in values,
    "owner": lambda row, values: str(row.get("domain", "")).lower() in values,
    "user": lambda row, values: f"{row.get('username', '')}@{row.get('domain', '')}".lower() in values,
    "sender_domain": lambda row, values: _domain(row.get("sender", "")) in values,
    "domain": lambda row, values: _domain(row.get("recipient", "")) in values,
    "host": lambda row, values: any(one in str(row.get("host", "")).lower() for one in values),
}

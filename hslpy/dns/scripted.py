"""A resolver for tests and the demo: it gives the answers it was told and NXDOMAIN for all else. No I/O, no time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

from hslpy.dns.contract import Answer, NameNotFound, RecordType, ResolutionFailed

Scripted = Sequence[str] | Sequence[tuple[int, str]] | Literal["SERVFAIL", "TRY_AGAIN"] | Answer

_MAX_CHAIN = 8


class ScriptedResolver:
    """`zone` maps names to record types to answers: texts, `(preference, exchange)` for MX, or a failure's kind.

    A name that is there without the type asked for is NO_DATA, unless it has a CNAME, which is followed.
    `queries` lists what was asked.
    """

    def __init__(self, zone: Mapping[str, Mapping[str, Scripted]] | None = None) -> None:
        self.queries: list[tuple[str, str]] = []
        self._zone: dict[str, dict[str, Scripted]] = {}
        for name, records in (zone or {}).items():
            for record_type, answer in records.items():
                self.set(name, record_type, answer)

    def set(self, name: str, record_type: str, answer: Scripted) -> None:
        """Say what `record_type` of `name` is from now on."""
        self._zone.setdefault(_key(name), {})[record_type.upper()] = answer

    def remove(self, name: str) -> None:
        """Make the name unknown again."""
        self._zone.pop(_key(name), None)

    async def query(self, name: str, record_type: RecordType, servers: Sequence[str] = ()) -> Answer:
        self.queries.append((_key(name), record_type))
        key = _key(name)
        for _ in range(_MAX_CHAIN):
            records = self._zone.get(key)
            if records is None:
                raise NameNotFound(f"{key} does not exist", "NXDOMAIN")
            answer = records.get(record_type)
            if answer is not None:
                return _answer(key, record_type, answer)
            alias = records.get("CNAME")
            if alias is None:
                raise NameNotFound(f"{key} has no {record_type} record", "NO_DATA")
            key = _key(_answer(key, "CNAME", alias).records[0])
        raise ResolutionFailed(f"{name} leads round in a circle", "SERVFAIL")

    def flush(self) -> None:
        return None

    async def close(self) -> None:
        return None


def _answer(name: str, record_type: str, answer: Scripted) -> Answer:
    if isinstance(answer, Answer):
        return answer
    if answer == "SERVFAIL" or answer == "TRY_AGAIN":
        raise ResolutionFailed(f"{record_type} {name}: scripted failure", answer)
    if record_type == "MX":
        mx = tuple((int(pair[0]), str(pair[1]).rstrip(".")) for pair in answer)
        return Answer(tuple(exchange for _, exchange in mx), mx, ttl_s=3600.0)
    return Answer(tuple(str(record) for record in answer), ttl_s=3600.0)


def _key(name: str) -> str:
    return name.rstrip(".").lower()

"""What name resolution gives. In: a name and a type. Out: records, or one of two errors."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, Protocol

from hslpy.errors import MailError
from hslpy.records import dataclass

RecordType = Literal[
    "A", "AAAA", "MX", "TXT", "CNAME", "NS", "PTR", "SOA", "SRV", "TLSA", "CAA",
    "DS", "DNSKEY", "HTTPS", "NAPTR", "SMIMEA", "SSHFP", "SVCB", "URI",
]  # fmt: skip


@dataclass(frozen=True, slots=True)
class Answer:
    """`records` are texts: addresses, names without the trailing dot, TXT strings joined (latin-1).

    For MX they are `(preference, exchange)` in `mx`, with `records` the exchanges; for TXT `strings` has each record's
    strings where one has several. `secure`: validated by DNSSEC. `ttl_s` is the shortest of the answer's.
    """

    records: tuple[str, ...]
    mx: tuple[tuple[int, str], ...] = ()
    secure: bool = False
    ttl_s: float = 0.0
    strings: tuple[tuple[str, ...], ...] = ()


class NameNotFound(MailError):
    """`kind` is NXDOMAIN (no such name) or NO_DATA (no such record); permanent. `ttl_s`: how long that may be kept."""

    def __init__(self, message: str, kind: Literal["NXDOMAIN", "NO_DATA"], ttl_s: float = 0.0) -> None:
        super().__init__(message, temporary=False)
        self.kind = kind
        self.ttl_s = ttl_s


class ResolutionFailed(MailError):
    """`kind` is SERVFAIL or TRY_AGAIN (no answer in time); temporary."""

    def __init__(self, message: str, kind: Literal["SERVFAIL", "TRY_AGAIN"]) -> None:
        super().__init__(message, temporary=True)
        self.kind = kind


class Resolver(Protocol):
    async def query(self, name: str, record_type: RecordType, servers: Sequence[str] = ()) -> Answer:
        """Ask, with `servers` those name servers (IP addresses). Raises NameNotFound or ResolutionFailed."""
        ...

    def flush(self) -> None:
        """Forget everything that was answered so far: from now on servers are asked anew."""
        ...

    async def close(self) -> None: ...

"""One try at delivery: what a script orders to be sent, and what came of it. Plain data.

Knows nothing of how it is done, nor of HSL's spelling.
"""

from __future__ import annotations

from collections.abc import Mapping

from hslpy.mail.address import Address
from hslpy.mail.verdict import TryOptions
from hslpy.records import dataclass


@dataclass(frozen=True, slots=True)
class TlsFacts:
    protocol: str
    cipher: str
    key_bits: int
    sni: str | None = None


@dataclass(frozen=True, slots=True)
class AttemptFacts:
    """The outcome of an attempt: either `code`, `enhanced`, `reason` and `state` from the peer, or `error`."""

    duration_s: float
    local_ip: str = ""
    helo: str = ""
    source_id: str = ""
    remote_ip: str = ""
    remote_port: int = 25
    remote_mx: str = ""
    code: int = 0
    enhanced: tuple[int, int, int] | None = None
    reason: tuple[str, ...] = ()
    state: str = ""
    error: str | None = None
    error_temporary: bool = True
    error_type: str = "network"
    tls: TlsFacts | None = None


@dataclass(frozen=True, slots=True)
class Sending:
    """One message to be sent at once: by a transport, or where that is "" as the options say. `ids` are for the log."""

    sender: Address
    recipients: tuple[Address, ...]
    content: bytes
    sender_params: Mapping[str, str]
    recipient_params: tuple[Mapping[str, str], ...]
    transport_id: str
    options: TryOptions
    ids: Mapping[str, object]

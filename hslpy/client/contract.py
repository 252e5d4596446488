"""What an SMTP client does: one transaction at one host from one source. In: plan and content. Out: results."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from contextvars import ContextVar
from dataclasses import field
from typing import Literal, Protocol

from hslpy.mail.address import Address
from hslpy.mail.reply import Reply
from hslpy.mail.verdict import TlsMode
from hslpy.records import dataclass


@dataclass(frozen=True, slots=True)
class ClientSettings:
    """`idle_s` is how long a connection waits for another message (other servers wait 2 to 150).

    `messages_per_connection` and `idle_connections` bound the reuse of one connection and the number kept.
    `convert_8bit` makes messages 7-bit for servers without 8BITMIME; without it they come back.
    `ca_file` is a PEM bundle for the verifying TLS modes, the system's where None.
    """

    idle_s: float = 30.0
    messages_per_connection: int = 100
    idle_connections: int = 200
    ca_file: str | None = None
    convert_8bit: bool = True


@dataclass(frozen=True, slots=True)
class Timeouts:
    """How long each step may take, in seconds. Defaults: RFC 5321 section 4.5.3.2, but for connecting (30, as most).

    `by_state` has the answers to single commands that differ. `block_s` is for each stretch of content without
    progress; `final_s` is long since a reply lost there makes a duplicate.
    """

    connect_s: float = 30.0
    greeting_s: float = 300.0
    command_s: float = 300.0
    data_s: float = 120.0
    block_s: float = 180.0
    final_s: float = 600.0
    quit_s: float = 5.0
    by_state: tuple[tuple[str, float], ...] = ()

    def of(self, state: str) -> float:
        """Give how long the answer to a command may take."""
        given = [s for name, s in self.by_state if name == state or (state == "AUTH" and name.startswith("AUTH-"))]
        usual = {"BANNER": self.greeting_s, "DATA": self.data_s, "EOD": self.final_s, "QUIT": self.quit_s}
        return max(given) if given else usual.get(state, self.command_s)


@dataclass(frozen=True, slots=True)
class TlsWanted:
    """What a caller asks of TLS. `verify_peer` wants a trusted certificate, `verify_host` one of the host's name.

    `default_ca` trusts the system's authorities beside those configured. `protocols` is a list as in
    `TLSv1.2,TLSv1.3` or `!TLSv1,!TLSv1.1`, `ciphers` OpenSSL's; `client_cert` is PEM with chain and private key.
    """

    verify_peer: bool = False
    verify_host: bool = False
    default_ca: bool = False
    protocols: str = ""
    ciphers: str = ""
    client_cert: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True)
class Route:
    """The whole of what makes a connection, and so the key of its reuse.

    `source_ip` None lets the system choose (only where no source is configured); with `nonlocal_source` it may be none
    of this machine. `host` is the name for TLS and logs, `address` the IP connected to. `tls_names` are the names its
    certificate may bear, `host` where empty; `tls_verify_host` False asks for a trusted certificate of any name. Of
    `tls_wanted` the mode decides about verifying. `helo_of` gives the name for the address that the system chose; where it
    is None, or gives none, that is `helo`.
    """

    host: str
    address: str
    port: int
    source_ip: str | None
    helo: str
    protocol: Literal["smtp", "lmtp"] = "smtp"
    tls: TlsMode = "optional"
    tls_sni: str | None = None
    tls_names: tuple[str, ...] = ()
    tls_verify_host: bool = True
    tls_wanted: TlsWanted = TlsWanted()
    nonlocal_source: bool = False
    sasl_username: str | None = None
    sasl_password: str | None = field(default=None, repr=False)
    xclient: tuple[tuple[str, str], ...] = ()
    timeouts: Timeouts = Timeouts()
    helo_of: Callable[[str], str] | None = field(default=None, compare=False, repr=False)

    def __hash__(self) -> int:
        """Of what mostly differs: all fields would take longer to hash than the look-up they are for."""
        return hash((self.host, self.address, self.port, self.source_ip, self.helo, self.sasl_username))


@dataclass(frozen=True, slots=True)
class RecipientResult:
    """What the host said for one recipient, and at which command (`state`, as the HSL manual names them).

    `ours`: the reply is what we said in the host's stead (a message it cannot take), nothing it sent.
    """

    reply: Reply
    state: str
    ours: bool = False


@dataclass(frozen=True, slots=True)
class TlsResult:
    """`verified`: the certificate is trusted and bears a name that was wanted."""

    protocol: str
    cipher: str
    key_bits: int
    verified: bool


@dataclass(frozen=True, slots=True)
class TransactionResult:
    """`results` has one entry a recipient, in order. `error` is a network fault (then replies are what was said before).

    `failed_at_connect`: nothing was sent of the message, the next host may be tried. `bind_failed`: the source IP is
    not on this machine. `dsn`: the host offers DSN, so that reports of success are its own to send. `error_state` is the
    step that failed, `local_ip` the address the connection left from, `helo` what it said there. `no_route`: this machine
    knows no way to the host from there.
    """

    results: tuple[RecipientResult | None, ...]
    error: str | None = None
    error_state: str = ""
    error_temporary: bool = True
    failed_at_connect: bool = False
    bind_failed: bool = False
    dsn: bool = False
    tls: TlsResult | None = None
    local_ip: str = ""
    helo: str = ""
    no_route: bool = False
    duration_s: float = 0.0
    reused: bool = False


PURPOSE: ContextVar[str] = ContextVar("purpose", default="")
"""What a task's connections are for: those that are kept can be counted and left by it."""


class Client(Protocol):
    async def send(
        self,
        route: Route,
        sender: Address,
        recipients: tuple[Address, ...],
        content: bytes,
        sender_params: Mapping[str, str],
        recipient_params: tuple[Mapping[str, str], ...],
        limit_s: float = math.inf,
    ) -> TransactionResult:
        """Try one transaction; never raises for what a peer does. A cancelled or timed-out connection is closed.

        It ends after `limit_s` as a failure for now, unless the peer has the final dot: then the answer to that is
        waited for, as long as the route's timeouts say (for all answers of LMTP, once that on top of `limit_s`).
        """
        ...

    def kept(self, purpose: str) -> int:
        """Give how many connections used for the purpose are kept for another message."""
        ...

    async def leave(self, purpose: str, connections: int) -> None:
        """Leave that many of them at most, and return when they are closed."""
        ...

    async def close(self) -> None: ...

"""What scripts ask of other servers: is this recipient taken, this login right, who is this client. In: questions.

Out: findings. Must not know of scripts. Text is a character a byte.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import field
from typing import ClassVar, Literal, Protocol

from hslpy.client.contract import Timeouts, TlsResult, TlsWanted
from hslpy.mail.address import Address
from hslpy.mail.reply import Reply
from hslpy.mail.verdict import TlsMode
from hslpy.records import dataclass


@dataclass(frozen=True, slots=True)
class Server:
    """An SMTP server as a script names it. `host` None is the MX of the recipient's domain, whatever `mx_exclude` leaves.

    `helo` "" is the server's own name; `tls_sni` True asks for the host's name. `timeouts` as of a route.
    """

    host: str | None = None
    port: int = 25
    helo: str = ""
    source_ip: str | None = None
    nonlocal_source: bool = False
    protocol: Literal["smtp", "lmtp"] = "smtp"
    tls: TlsMode = "disabled"
    tls_sni: str | None = None
    tls_verify_host: bool = False
    tls_names: tuple[str, ...] = ()
    tls_wanted: TlsWanted = field(default_factory=TlsWanted)
    sasl_username: str | None = None
    sasl_password: str | None = field(default=None, repr=False)
    xclient: tuple[tuple[str, str], ...] = ()
    mx_include: tuple[str, ...] = ()
    mx_exclude: tuple[str, ...] = ()
    timeouts: Timeouts = field(default_factory=Timeouts)


@dataclass(frozen=True, slots=True)
class Finding:
    """`code` is 1 for yes, 0 for no, -1 where it could not be found out, with `error`.

    Of SMTP: `reply` is what decided, to the command `state`, over `tls`, with the server's certificate (DER). Of ident
    and TACACS+ the `values` that the server gave; of Minger `number`.
    """

    code: Literal[1, 0, -1]
    error: str = ""
    reply: Reply | None = None
    state: str = ""
    tls: TlsResult | None = None
    certificate: bytes = b""
    values: tuple[tuple[str, str], ...] = ()
    number: int = 0


@dataclass(frozen=True, slots=True)
class Rcpt:
    """Does the server take mail from `sender` to `recipient`?"""

    function: ClassVar[str] = "smtp_lookup_rcpt"
    server: Server
    sender: Address
    recipient: Address
    sender_params: Mapping[str, str] = field(default_factory=dict)
    recipient_params: Mapping[str, str] = field(default_factory=dict)

    @property
    def asked(self) -> str:
        return self.server.host or self.recipient.domain


@dataclass(frozen=True, slots=True)
class Auth:
    """Does the server take this login?"""

    function: ClassVar[str] = "smtp_lookup_auth"
    server: Server

    @property
    def asked(self) -> str:
        return self.server.host or ""


@dataclass(frozen=True, slots=True)
class Peer:
    """A server of another protocol. `timeout_s` is for the whole question, with RADIUS for each try."""

    host: str
    port: int
    timeout_s: float = 5.0


@dataclass(frozen=True, slots=True)
class Ident:
    """Whose is the connection from `peer_port` of the client to our `own_port`? Asked from the address `own_ip`."""

    function: ClassVar[str] = "ident_lookup"
    peer: Peer
    peer_port: int
    own_ip: str
    own_port: int

    @property
    def asked(self) -> str:
        return self.peer.host


@dataclass(frozen=True, slots=True)
class Dovecot:
    """Does Dovecot take this login?"""

    function: ClassVar[str] = "dovecot_lookup_auth"
    peer: Peer
    username: str
    password: str = field(repr=False)
    service: str = "smtp"
    remote_ip: str = ""
    local_ip: str = ""
    secured: bool = False

    @property
    def asked(self) -> str:
        return self.peer.host


@dataclass(frozen=True, slots=True)
class Radius:
    """Does a RADIUS server take this login? `vendor` has the attributes of the vendor 33234, by number."""

    function: ClassVar[str] = "radius_authen"
    peer: Peer
    secret: str = field(repr=False)
    username: str
    password: str = field(repr=False)
    client_ip: str = ""
    retries: int = 3
    vendor: tuple[tuple[int, str], ...] = ()

    @property
    def asked(self) -> str:
        return self.peer.host


@dataclass(frozen=True, slots=True)
class TacacsLogin:
    """Does a TACACS+ server take this login?"""

    function: ClassVar[str] = "tacplus_authen"
    peer: Peer
    secret: str = field(repr=False)
    username: str
    password: str = field(repr=False)
    client_ip: str = ""

    @property
    def asked(self) -> str:
        return self.peer.host


@dataclass(frozen=True, slots=True)
class TacacsRights:
    """What may the user, of what `pairs` (`name=value`) ask for?"""

    function: ClassVar[str] = "tacplus_author"
    peer: Peer
    secret: str = field(repr=False)
    username: str
    pairs: tuple[str, ...]
    client_ip: str = ""

    @property
    def asked(self) -> str:
        return self.peer.host


@dataclass(frozen=True, slots=True)
class Minger:
    """Is there such an address?"""

    function: ClassVar[str] = "minger_lookup"
    peer: Peer
    address: str
    secret: str | None = field(default=None, repr=False)

    @property
    def asked(self) -> str:
        return self.peer.host


Question = Rcpt | Auth | Ident | Dovecot | Radius | TacacsLogin | TacacsRights | Minger
FindHosts = Callable[[Server, str], Awaitable[Sequence[tuple[str, str]]]]
"""Gives (host, IP address) pairs to try, of a server or of a mail domain's MX. Raises MailError where there are none."""


class Lookups(Protocol):
    async def ask(self, question: Question) -> Finding:
        """Give what was found; never raises for what a peer does."""
        ...


class LookupFailed(Exception):
    """A server could not be asked, or its answer not be understood."""


@dataclass(slots=True)
class ScriptedLookups:
    """For tests of scripts: answers by function, and nothing leaves the machine. `questions` are those asked."""

    findings: dict[str, Finding] = field(default_factory=dict)
    questions: list[Question] = field(default_factory=list)

    async def ask(self, question: Question) -> Finding:
        self.questions.append(question)
        return self.findings.get(question.function) or Finding(-1, f"no answer is scripted for {question.function}()")

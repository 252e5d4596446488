"""An LDAP client over a script's sockets. In: texts (a character a byte). Out: entries, or LdapError with OpenLDAP's number.

sansldap speaks the protocol; the sockets and their waiting are `client.sockets`'s. Entries are received when they are asked
for. Source: the LDAP class of the HSL manual, 2019, which wraps OpenLDAP; RFC 4511, RFC 4516 for addresses.
"""

from __future__ import annotations

import contextlib
from collections import deque
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

from hslpy.client.ldap_text import (
    CONNECT_ERROR,
    DECODING_ERROR,
    FILTER_ERROR,
    PARAM_ERROR,
    SERVER_DOWN,
    TIMEOUT,
)
from hslpy.client.sockets import Pause, Socket, TlsSocket
from hslpy.records import dataclass

if TYPE_CHECKING:
    import sansldap  # at run time where it is first used: it takes 40 ms of a server's start

SCOPES = {"sub": 2, "one": 1, "base": 0}
MOST_BYTES = 16 << 20  # of one message
_RECEIVE_BYTES = 1 << 16
_LONG_BYTES = 1 << 12  # reading as many took the loop 7 ms at worst
_TEXT_BYTES = 160  # what a name or value takes beside its bytes; its tag is 4
_PORTS = {"ldap": 389, "ldaps": 636, "ldapi": None}

Connect = Callable[["Server"], Socket]
Secure = Callable[[Socket, str], TlsSocket]


class LdapError(Exception):
    """What failed, by its number: OpenLDAP's below 0, the server's result above."""

    def __init__(self, number: int, text: str = "") -> None:
        super().__init__(text)
        self.number = number
        self.text = text


@dataclass(frozen=True, slots=True)
class Server:
    """One server of an address: `scheme` is ldap, ldaps or ldapi, whose `host` is a path."""

    scheme: str
    host: str
    port: int | None


@dataclass(slots=True)
class LdapOptions:
    """What `setoption` sets. Times are in seconds, 0 for none of LDAP's own: those of the socket hold."""

    network_timeout: float = 0.0
    timeout: float = 0.0
    timelimit: float = 0.0
    tls_verify_peer: bool = True
    tls_default_ca: bool = False


@dataclass(frozen=True, slots=True)
class LdapProfile:
    """Where `ldap_search` and `ldap_bind` of older scripts ask, and how."""

    id: str
    host: str
    username: str = ""
    password: str = ""
    base: str = ""
    query: str = ""
    tls_default_ca: bool = True
    tls_verify_peer: bool = True


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry of a result."""

    dn: str
    attributes: tuple[tuple[str, tuple[bytes, ...]], ...]


def read_servers(uris: str) -> tuple[Server, ...]:
    """Give the servers of addresses parted by blanks. Raises ValueError."""
    servers = []
    for uri in uris.split():
        parts = urlsplit(uri)
        if parts.scheme not in _PORTS or parts.path not in ("", "/") or parts.query or parts.username is not None:
            raise ValueError(uri)
        if parts.scheme == "ldapi":
            servers.append(Server("ldapi", unquote(parts.netloc) or "/var/run/slapd/ldapi", None))
        else:
            servers.append(Server(parts.scheme, parts.hostname or "localhost", parts.port or _PORTS[parts.scheme]))
    if not servers:
        raise ValueError(uris)
    return tuple(servers)


def whole_messages(data: bytearray) -> tuple[int, int]:
    """Give how many bytes there must be for one message more, and how many the whole messages at the beginning take.

    Raises ValueError for what begins no message, or too long a one. Source: X.690, 8.1.3.
    """
    at = 0
    while True:
        head = data[at : at + 6]
        if head and head[0] != 0x30:
            raise ValueError("no message of LDAP")
        if len(head) < 2:
            return 2, at
        length, more = head[1], 0
        if length >= 0x80:
            more = length - 0x80
            if not 1 <= more <= 4:
                raise ValueError("no length of a message")
            if len(head) < 2 + more:
                return 2 + more, at
            length = int.from_bytes(head[2 : 2 + more], "big")
        if length > MOST_BYTES:
            raise ValueError("the message is too long")
        if at + 2 + more + length > len(data):
            return 2 + more + length, at
        at += 2 + more + length


class Ldap:
    """A session, connected when it is first used. `connect` and `secure` give sockets and TLS over them.

    `pause_of` gives how a socket waits, at most `timeout_s` where the options don't say; `reserve` is told of what is
    received, `offload` calls what takes long, and `held_bytes` is about what is kept of results not asked for yet.
    """

    def __init__(
        self,
        servers: Sequence[Server],
        connect: Connect,
        secure: Secure,
        pause_of: Callable[[Socket], Pause],
        reserve: Callable[[int], None],
        offload: Callable[..., Any],
        timeout_s: float,
    ) -> None:
        self.options = LdapOptions()
        self.errno = 0
        self.diagnostic = ""
        self.held_bytes = 0
        self.closed = False
        self._servers = servers
        import sansldap

        self._connect, self._secure, self._pause_of, self._reserve = connect, secure, pause_of, reserve
        self._offload = offload
        self._timeout_s = timeout_s
        self._session = sansldap.LDAPClient()
        self._socket: Socket | None = None
        self._tls: TlsSocket | None = None
        self._server = servers[0] if servers else Server("ldap", "", None)
        self._results: dict[int, deque[sansldap.LDAPMessage]] = {}
        self._unread = bytearray()
        self._wanted = 0  # how much of it there must be before it is looked at

    # ---- the connection -------------------------------------------------------------------------

    def _open(self) -> Socket:
        """Give the connected socket. Raises LdapError where no server answers."""
        if self.closed:
            raise LdapError(PARAM_ERROR)
        if self._socket is not None:
            return self._socket
        why = LdapError(SERVER_DOWN)
        for server in self._servers:
            try:
                found = self._connect(server)
                self._socket, self._server = found, server
                if server.scheme == "ldaps":
                    self._start_tls(found)
                return found
            except (OSError, LdapError) as error:
                self._drop()
                why = LdapError(SERVER_DOWN, str(error))
        raise why

    def _start_tls(self, found: Socket) -> None:
        tls = self._secure(found, self._server.host)
        try:
            tls.handshake(self._pause_of(found))
        except OSError as error:
            raise LdapError(CONNECT_ERROR, str(error)) from None
        self._tls = tls

    def _drop(self) -> None:
        """Close the connection; the next use opens another, without the binding of this one."""
        if self._socket is not None:
            self._socket.close()
        import sansldap

        self._socket = self._tls = None
        self._session = sansldap.LDAPClient()
        self._results.clear()
        self._unread.clear()
        self.held_bytes = self._wanted = 0

    def _send(self) -> None:
        found = self._open()
        data = self._session.data_to_send()
        pause = self._pause_of(found)
        try:
            sent = self._tls.send(data, pause) if self._tls is not None else found.send(data, pause)
        except OSError:
            sent = -1
        if sent != len(data):
            self._drop()
            raise LdapError(SERVER_DOWN)

    def _receive(self) -> None:
        """Receive once, and sort what is complete to who waits for it."""
        found = self._open()
        found.timeout_s = self.options.timeout or self._timeout_s
        pause = self._pause_of(found)
        try:
            source = self._tls or found
            data = source.recv(_RECEIVE_BYTES, pause)
        except BlockingIOError:
            raise LdapError(TIMEOUT) from None
        except OSError as error:
            self._drop()
            raise LdapError(SERVER_DOWN, str(error)) from None
        if not data:
            self._drop()
            raise LdapError(SERVER_DOWN)
        self._reserve(len(data))
        self.held_bytes += len(data)
        self._unread += data
        if len(self._unread) < self._wanted:  # sansldap would copy a long message with each piece of it
            return
        import sansldap

        try:
            self._wanted, whole = whole_messages(self._unread)
            messages = self._read(bytes(self._unread[:whole])) if whole else []
        except (sansldap.LDAPError, ValueError, RecursionError) as error:
            gone = getattr(error, "request", None) is not None
            self._drop()
            raise LdapError(SERVER_DOWN if gone else DECODING_ERROR, str(error)) from None
        del self._unread[:whole]
        for message in messages:
            if message.message_id in self._results:
                self._results[message.message_id].append(message)

    def _read(self, data: bytes) -> list[sansldap.LDAPMessage]:
        """Give the messages that the bytes are, which may be of very many attributes of a few bytes each."""
        size = _TEXT_BYTES * data.count(b"\x04")
        self._reserve(size)
        found: list[sansldap.LDAPMessage]
        if len(data) > _LONG_BYTES:
            found = self._offload(self._session.receive, data)
        else:
            found = self._session.receive(data)
        self.held_bytes += size
        return found

    def _next(self, number: int) -> sansldap.LDAPMessage:
        """Give the next message of an operation. Raises LdapError."""
        while True:
            waiting = self._results.get(number)
            if waiting is None:  # the connection that it was asked on is gone
                raise LdapError(SERVER_DOWN)
            if waiting:
                message = waiting.popleft()
                if not any(self._results.values()):
                    self.held_bytes = len(self._unread)
                return message
            self._receive()

    def _finish(self) -> None:
        """Receive what is outstanding: the protocol wants it before a bind or the start of TLS."""
        import sansldap

        for number in list(self._results):
            waiting = self._results[number]
            while number in self._results and not (waiting and isinstance(waiting[-1], sansldap.SearchResultDone)):
                self._receive()

    def _answer(self, number: int) -> None:
        """Take the one answer of an operation. Raises LdapError unless it is a success."""
        self._results[number] = deque()
        self._send()
        message = self._next(number)
        self._results.pop(number, None)
        self._check(message)

    def _check(self, message: sansldap.LDAPMessage) -> None:
        result = getattr(message, "result", None)
        if result is None:
            raise LdapError(DECODING_ERROR)
        if result.result_code != 0:
            raise LdapError(int(result.result_code), result.diagnostics_message)

    # ---- operations -----------------------------------------------------------------------------

    def starttls(self) -> None:
        self._open()
        if self._tls is not None:
            raise LdapError(1, "TLS is already there")
        import sansldap

        self._finish()
        self._answer(self._session.extended_request(sansldap.ExtendedOperations.LDAP_START_TLS.value))
        try:
            self._start_tls(self._open())
        except LdapError:
            self._drop()
            raise

    def bind(self, dn: str, password: str) -> None:
        """Sign in; with two empty texts as nobody."""
        self._open()
        self._finish()
        self._answer(self._session.bind_simple(_text(dn), _text(password)))

    def search(self, base: str, scope: str, condition: str, attributes: Sequence[str]) -> int:
        """Ask, and give the number of the result."""
        import sansldap

        self._open()
        try:
            parsed = sansldap.LDAPFilter.from_string(_text(condition))
        except (ValueError, RecursionError) as error:
            raise LdapError(FILTER_ERROR, str(error)) from None
        number = self._session.search_request(
            _text(base),
            scope=SCOPES[scope],
            time_limit=int(self.options.timelimit),
            filter=parsed,
            attributes=[_text(name) for name in attributes],
        )
        self._results[number] = deque()
        self._send()
        return number

    def entry(self, number: int) -> Entry | None:
        """Give the next entry of a result, None at its end; references to other servers are passed over."""
        import sansldap

        while True:
            message = self._next(number)
            if isinstance(message, sansldap.SearchResultEntry):
                found = tuple((one.name, tuple(bytes(value) for value in one.values)) for one in message.attributes)
                return Entry(message.object_name, found)
            if isinstance(message, sansldap.SearchResultDone):
                self._results.pop(number, None)
                self._check(message)
                return None

    def unbind(self) -> None:
        """Say good-bye and close; nothing can be asked afterwards."""
        if self.closed:
            raise LdapError(PARAM_ERROR)
        if self._socket is not None:
            self._session.unbind()
            with contextlib.suppress(LdapError):
                self._send()
            self._drop()
        self.closed = True

    @property
    def tls(self) -> TlsSocket | None:
        return self._tls


def _text(text: str) -> str:
    """Give a script's text decoded. Raises LdapError where it is no UTF-8, as all texts of LDAP are."""
    try:
        return text.encode("latin-1").decode("utf-8")
    except UnicodeDecodeError:
        raise LdapError(PARAM_ERROR, "the text is no UTF-8") from None

"""Sockets of scripts, plain and under TLS. In: addresses and bytes. Out: bytes, or OSError and ssl.SSLError.

Nothing here blocks: where a call would, it calls `pause(writable)`, which comes back when the socket can be read or written,
or raises TimeoutError. Who makes a socket closes it; one that is dropped closes itself.
Source: the classes Socket and TLSSocket of the HSL manual, 2019.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import socket
import ssl
from collections.abc import Callable
from dataclasses import field
from functools import partial
from pathlib import Path
from typing import TypeVar

from hslpy.client.tls import bears_a_name, new_context
from hslpy.late import x509
from hslpy.records import dataclass

T = TypeVar("T")
Pause = Callable[[bool], None]

MOST_BYTES = 1 << 20  # that one call receives
_RECORD_BYTES = 1 << 14  # of TLS: the most that a record holds
_RECEIVED_A_PAUSE = 64
_HEAD_BYTES = 5  # of a record: its kind, version and length
FAMILIES = {"AF_INET": socket.AF_INET, "AF_INET6": socket.AF_INET6, "AF_UNIX": socket.AF_UNIX}
TYPES = {"SOCK_STREAM": socket.SOCK_STREAM, "SOCK_DGRAM": socket.SOCK_DGRAM}
SHUTDOWNS = {"SHUT_RD": socket.SHUT_RD, "SHUT_WR": socket.SHUT_WR, "SHUT_RDWR": socket.SHUT_RDWR}
IP_TRANSPARENT = {socket.AF_INET: (socket.IPPROTO_IP, 19), socket.AF_INET6: (socket.IPPROTO_IPV6, 75)}  # linux/in.h


@dataclass(frozen=True, slots=True)
class KeyPair:
    """A key, with its certificate where it has one, which scripts name `pki:` and its id."""

    id: str
    key: Path
    certificate: Path = Path()


@dataclass(frozen=True, slots=True)
class SocketSettings:
    """`timeout_s` bounds a wait of a socket whose script set none. `ca_file` is a PEM bundle, the system's where empty."""

    timeout_s: float = 30.0
    ca_file: str = ""
    key_pairs: tuple[KeyPair, ...] = ()

    def key_pair(self, name: str) -> KeyPair | None:
        """Give the pair of an id, with or without `pki:`."""
        pairs = {pair.id: pair for pair in self.key_pairs}
        return pairs.get(name) or pairs.get(name.removeprefix("pki:"))


async def ready(handle: socket.socket, writable: bool, timeout_s: float) -> None:
    """Wait until a socket can be read, or written. Raises TimeoutError; a time of 0 is no limit."""
    loop = asyncio.get_running_loop()
    future: asyncio.Future[None] = loop.create_future()
    descriptor = handle.fileno()
    add, remove = (loop.add_writer, loop.remove_writer) if writable else (loop.add_reader, loop.remove_reader)
    add(descriptor, _done, future)
    try:
        async with asyncio.timeout(timeout_s or None):
            await future
    finally:
        remove(descriptor)


def _done(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)


def family_of(address: str) -> str | None:
    """Give the family of an IP address, None of anything else."""
    for name in ("AF_INET", "AF_INET6"):
        try:
            socket.inet_pton(FAMILIES[name], address)
        except (OSError, ValueError):
            continue
        return name
    return None


class Socket:
    """One socket. `errno` is the number of its latest error, 0 before there is one; `timeout_s` 0 is no limit."""

    def __init__(self, family: str, kind: str, timeout_s: float) -> None:
        self.timeout_s = timeout_s
        self.errno = 0
        self.handle = socket.socket(FAMILIES[family], TYPES[kind])
        self.handle.setblocking(False)

    def __del__(self) -> None:
        handle = getattr(self, "handle", None)
        if handle is not None:
            handle.close()

    @property
    def is_open(self) -> bool:
        return self.handle.fileno() >= 0

    @property
    def is_stream(self) -> bool:
        return self.handle.type == socket.SOCK_STREAM

    def close(self) -> None:
        """Close it; again is no error."""
        self.handle.close()

    def _where(self, address: str, port: int | None) -> str | bytes | tuple[str, int]:
        if self.handle.family == socket.AF_UNIX:
            path = address.encode("latin-1")
            if not 0 < len(path) < 108 or b"\0" in path:  # sockaddr_un
                raise OSError(errno.ENAMETOOLONG if path else errno.EINVAL, "no path of a socket")
            return path
        try:
            plain = address.partition("%")[0] if self.handle.family == socket.AF_INET6 else address  # without its zone
            socket.inet_pton(self.handle.family, plain)
        except (OSError, ValueError):
            raise OSError(errno.EAFNOSUPPORT, "no address of the socket's family") from None
        return address, port or 0

    def bind(self, address: str, port: int | None, nonlocal_: bool) -> None:
        if nonlocal_ and self.handle.family in IP_TRANSPARENT:
            self.handle.setsockopt(*IP_TRANSPARENT[self.handle.family], 1)
        self.handle.bind(self._where(address, port))

    def connect(self, address: str, port: int | None, pause: Pause) -> None:
        where = self._where(address, port)
        try:
            self.handle.connect(where)
            return
        except BlockingIOError as error:
            if error.errno != errno.EINPROGRESS:
                raise
        try:
            pause(True)
        except TimeoutError:
            raise OSError(errno.ETIMEDOUT, "no connection in time") from None
        failed = self.handle.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if failed:
            raise OSError(failed, "no connection")

    def recv(self, size: int, pause: Pause | None, peek: bool = False) -> bytes:
        """Give up to `size` bytes, no more than MOST_BYTES, none at the end. Without `pause` it does not wait."""
        flags = socket.MSG_PEEK if peek else 0
        while True:
            try:
                return self.handle.recv(min(size, MOST_BYTES), flags)
            except BlockingIOError:
                if pause is None:
                    raise
                _pause(pause, False)

    def send(self, data: bytes, pause: Pause) -> int:
        """Send all, or as much as the other side takes in time; give how much that was."""
        view, sent = memoryview(data), 0
        while True:
            try:
                sent += self.handle.send(view[sent:])
            except BlockingIOError:
                try:
                    _pause(pause, True)
                except BlockingIOError:
                    if sent:
                        return sent
                    raise
            except OSError:
                if sent:
                    return sent
                raise
            if sent == len(data):
                return sent


def _pause(pause: Pause, writable: bool) -> None:
    """Wait, an end of the time being what the system says of a socket with a timeout."""
    try:
        pause(writable)
    except TimeoutError:
        raise BlockingIOError(errno.EAGAIN, "not in time") from None


# ---- TLS --------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class TlsWishes:
    """How a script wants TLS: `protocols` as in "TLSv1.2,!TLSv1.3", `names` what the certificate must bear one of."""

    protocols: str = ""
    ciphers: str = ""
    names: tuple[str, ...] = field(default=(), compare=False)
    verify_ca: bool = False
    default_ca: bool = False
    sni: str = field(default="", compare=False)
    key_pair: KeyPair | None = None


def make_context(wishes: TlsWishes, ca_file: str) -> ssl.SSLContext:
    """Give a client's context. Takes milliseconds where certificates are loaded. Raises ssl.SSLError, OSError."""
    context = new_context(wishes.verify_ca, ca_file or None, wishes.default_ca, wishes.protocols, wishes.ciphers)
    context.options &= ~ssl.OP_IGNORE_UNEXPECTED_EOF  # else a connection cut short looks like one that was ended
    if wishes.key_pair is not None:
        context.load_cert_chain(wishes.key_pair.certificate, wishes.key_pair.key)
    return context


class TlsSocket:
    """TLS over a connected stream socket. `errno` is OpenSSL's number of the latest error, as SSL_get_error(3) has them."""

    def __init__(self, below: Socket, context: ssl.SSLContext, wishes: TlsWishes) -> None:
        self.below = below
        self.errno = 0
        self._names = wishes.names
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_hostname=wishes.sni or None)
        self._open = False  # hands are shaken, and the name is right
        self._ending = False
        self._unsent = b""
        self._head = b""  # of the record that is being received
        self._left = 0  # of its body
        self._received = 0

    def _drive(self, action: Callable[[], T], pause: Pause) -> T:
        """Give what `action` gives, moving TLS's bytes to and from the socket until it can."""
        while True:
            try:
                result = action()
            except ssl.SSLWantReadError:
                self._flush(pause)
                self._receive(pause)
                continue
            except ssl.SSLError:
                self._tell_why()
                raise
            self._flush(pause)
            return result

    def _receive(self, pause: Pause) -> None:
        """Hand TLS what comes, no more than the record at hand: what follows the end of TLS is not TLS's."""
        self._received += 1
        if self._received % _RECEIVED_A_PAUSE == 0:  # records may come for ever that give nothing to read
            _pause(pause, False)
        data = self.below.recv(self._left or _HEAD_BYTES - len(self._head), pause)
        if not data:
            self._incoming.write_eof()
            return
        self._incoming.write(data)
        if self._left:
            self._left -= len(data)
            return
        self._head += data
        if len(self._head) == _HEAD_BYTES:
            self._left = int.from_bytes(self._head[3:], "big")
            self._head = b""

    def _flush(self, pause: Pause) -> None:
        while self._unsent or self._outgoing.pending:
            self._unsent = self._unsent or self._outgoing.read(MOST_BYTES)
            self._unsent = self._unsent[self.below.send(self._unsent, pause) :]

    def _tell_why(self) -> None:
        """Send the alert that tells the other side of a failure, if it goes out at once."""
        with contextlib.suppress(OSError):
            self.below.handle.send(self._unsent + self._outgoing.read())
        self._unsent = b""

    def handshake(self, pause: Pause) -> None:
        """Shake hands, once. Raises ssl.SSLError, also where the certificate is not trusted or bears another name."""
        if self._open:
            return
        self._drive(self._tls.do_handshake, pause)
        if self._names:
            certificate = self.certificate()
            if certificate is None or not bears_a_name(certificate, self._names):
                raise ssl.SSLError(ssl.SSLErrorNumber.SSL_ERROR_SSL, "the certificate bears another name")
        self._open = True

    def recv(self, size: int, pause: Pause) -> bytes:
        """Give up to `size` bytes, none when the other side has ended TLS."""
        self.handshake(pause)
        try:
            return self._drive(lambda: self._tls.read(min(size, MOST_BYTES)), pause)
        except ssl.SSLZeroReturnError:
            return b""

    def send(self, data: bytes, pause: Pause) -> int:
        """Send all of it, and give how much that was."""
        self.handshake(pause)
        view, sent = memoryview(data), 0
        while sent < len(data):
            record = view[sent : sent + _RECORD_BYTES]
            sent += self._drive(partial(self._tls.write, record), pause)
        return sent

    def shutdown(self, pause: Pause) -> bool:
        """End TLS: the first call says so to the other side; say whether that has said so too, which a second waits for."""
        if not self._open:
            raise ssl.SSLError(ssl.SSLErrorNumber.SSL_ERROR_SSL, "there is no TLS to be ended")
        if not self._ending:
            self._ending = True
            try:
                self._tls.unwrap()
            except ssl.SSLWantReadError:
                self._flush(pause)
                return False
            self._flush(pause)
            return True
        self._drive(self._tls.unwrap, pause)
        return True

    def certificate(self) -> x509.Certificate | None:
        """Give the other side's certificate, None before the handshake."""
        try:
            data = self._tls.getpeercert(True)
        except ValueError:
            return None
        return None if data is None else x509.load_der_x509_certificate(data)

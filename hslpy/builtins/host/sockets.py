"""The classes Socket and TLSSocket. In: addresses, bytes, options. Out: bytes, the object itself, or none on a failure.

An object's `host` is a `client.sockets.Socket` or `TlsSocket`; both know the number of their latest error. Sockets are
closed when the run ends, at the latest. Source: the HSL manual, 2019.
"""

from __future__ import annotations

import errno
import functools
import os
import ssl
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from hslpy.builtins.core.arguments import as_bytes, as_text, read_options, unknown_word, whole
from hslpy.builtins.core.certificates import certificate_object
from hslpy.builtins.host.options import read_integer, read_seconds, text_list
from hslpy.client.sockets import (
    FAMILIES,
    MOST_BYTES,
    SHUTDOWNS,
    TYPES,
    KeyPair,
    Pause,
    Socket,
    SocketSettings,
    TlsSocket,
    TlsWishes,
    family_of,
    make_context,
    ready,
)
from hslpy.client.tls import PROTOCOLS, chosen_protocols
from hslpy.errors import ScriptError
from hslpy.lang.declare import Effect, Topic
from hslpy.lang.run import Run
from hslpy.lang.values import Array, HslObject, Value

TOPIC = Topic("sockets")

CLASS, TLS_CLASS = "Socket", "TLSSocket"
MOST_OPEN = 256  # of one run; a process has some thousands of descriptors for all
_FLAGS = ("MSG_PEEK", "MSG_WAITALL", "MSG_DONTWAIT")
_CALL_UNITS = 3  # a system call takes some microseconds
_CONTEXTS = 32  # kept with what they have loaded
_TLS_OPTIONS = {
    "tls_protocols": "",
    "tls_ciphers": "",
    "tls_verify_name": None,
    "tls_verify_ca": False,
    "tls_default_ca": False,
    "tls_sni": "",
    "tls_client_cert": "",
}
T = TypeVar("T")


def _one_of(function: str, name: str, value: str, known: Any) -> None:
    if value not in known:
        raise unknown_word(function, f"`{name}`", value, known)


def _settings(call: Run) -> SocketSettings:
    settings: SocketSettings = call.host.services.sockets
    return settings


def pause_of(call: Run, socket: Socket) -> Pause:
    """Give what a socket calls where it has to wait: the run is suspended, at most for the socket's time."""
    return lambda writable: call.wait(ready(socket.handle, writable, socket.timeout_s))


def new_socket(call: Run, function: str, family: str, kind: str) -> Socket:
    """Give a socket that is closed when the run ends. Raises ScriptError R330 where no more can be opened."""
    if sum(1 for one in call.held if isinstance(one, Socket) and one.is_open) >= MOST_OPEN:
        raise ScriptError("R330", f"a script has at most {MOST_OPEN} sockets open", hint="close those that are done with")
    try:
        socket = Socket(family, kind, _settings(call).timeout_s)
    except OSError as error:
        raise ScriptError("R330", f"{function}() cannot open a socket: {error.strerror}") from None
    call.held.add(socket)
    return socket


# ---- the class Socket -------------------------------------------------------------------------------


def _socket(this: HslObject) -> Socket:
    socket: Any = this.host
    assert isinstance(socket, Socket)
    return socket


def _try(call: Run, this: HslObject, action: Callable[[Socket], T]) -> T | None:
    """Give what the action on the socket gives; none on an error, whose number is kept."""
    call.charge(_CALL_UNITS)
    socket = _socket(this)
    try:
        return action(socket)
    except OSError as error:
        socket.errno = error.errno or errno.EINVAL
        return None


def _do(call: Run, this: HslObject, action: Callable[[Socket], object]) -> HslObject | None:
    """Give the object itself once the action is done, none on an error."""
    return this if _try(call, this, lambda socket: (action(socket), True)) is not None else None


def _port(function: str, port: float | None) -> int | None:
    return None if port is None else read_integer(function, "port", port, 0, 65535)


@TOPIC.builtin(
    "Socket(family: string, type: string) -> Socket",
    effect=Effect.IO,
    kind="class",
    examples=['$socket = Socket("AF_INET", "SOCK_STREAM");', '$socket = Socket(Socket::AF("192.0.2.1"), "SOCK_DGRAM");'],
)
def socket_class(call: Run, family: str, type: str) -> HslObject:
    """Open a socket: AF_INET, AF_INET6 or AF_UNIX; SOCK_STREAM (TCP) or SOCK_DGRAM (UDP).

    Methods that fail give none, and `errno()` then says why, by the system's numbers. It is closed when the script ends, or
    when nothing refers to it any more.
    """
    _one_of("Socket", "family", family, FAMILIES)
    _one_of("Socket", "type", type, TYPES)
    return HslObject(CLASS, None, new_socket(call, "Socket", family, type))


@TOPIC.builtin(
    "AF(address: string) -> string | none",
    effect=Effect.PURE,
    kind="static method",
    owner=CLASS,
    examples=['Socket::AF("::1")  // "AF_INET6"'],
)
def af(address: str) -> str | None:
    """Give the family of an IP address, "AF_INET" or "AF_INET6"; none of anything else, a host's name included."""
    return family_of(address)


@TOPIC.builtin(
    "bind(address: string, [port: number], [options: array]) -> Socket | none",
    effect=Effect.IO,
    kind="method",
    owner=CLASS,
    examples=['Socket("AF_INET", "SOCK_DGRAM")->bind("127.0.0.1", 0);'],
)
def bind(
    call: Run, this: HslObject, address: str, port: float | None = None, options: Array | None = None
) -> HslObject | None:
    """Bind the socket to an address of its family, or a path.

    Option `nonlocal` (false) allows an address that is not this machine's, which wants the right to do so.
    """
    given = read_options("bind", options, {"nonlocal": False})
    number = _port("bind", port)
    return _do(call, this, lambda socket: socket.bind(address, number, given["nonlocal"]))


@TOPIC.builtin(
    "connect(address: string, [port: number]) -> Socket | none",
    effect=Effect.IO,
    kind="method",
    owner=CLASS,
    examples=['if (!$socket->connect("127.0.0.1", 6379)) echo $socket->errno();'],
)
def connect(call: Run, this: HslObject, address: str, port: float | None = None) -> HslObject | None:
    """Connect to an IP address of the socket's family and a port, or to a path; none when that fails."""
    number = _port("connect", port)
    return _do(call, this, lambda socket: socket.connect(address, number, pause_of(call, socket)))


def _flags(value: Value) -> tuple[str, ...]:
    names = text_list("`flags` of recv()", value) if value is not None else ()
    for name in names:
        _one_of("recv", "flags", name, _FLAGS)
    return names


def _size(value: float) -> int:
    return read_integer("recv", "length", whole(value, "recv() wants `length`"), 0, 1 << 53)


@TOPIC.builtin(
    "recv(length: number, [flags: string | array]) -> string | none",
    effect=Effect.IO,
    kind="method",
    owner=CLASS,
    examples=["$data = $socket->recv(8192);", '$head = $socket->recv(4, "MSG_WAITALL");'],
)
def recv(call: Run, this: HslObject, length: float, flags: Value = None) -> str | None:
    """Receive up to `length` bytes, at most 1 MiB a call; "" when the other side has closed, none on an error.

    | flag | meaning |
    |---|---|
    | MSG_PEEK | what is given stays to be received |
    | MSG_WAITALL | wait for all of `length`; less comes only at the end of the connection or of the time |
    | MSG_DONTWAIT | none where nothing is there |
    """
    size, names = _size(length), _flags(flags)
    peek = "MSG_PEEK" in names

    def receive(socket: Socket) -> str:
        pause = None if "MSG_DONTWAIT" in names else pause_of(call, socket)
        if "MSG_WAITALL" in names and socket.is_stream and not peek:
            return _recv_all(call, socket, size, pause)
        data = socket.recv(size, pause, peek)
        call.reserve_text(len(data))
        return as_text(data)

    return _try(call, this, receive)


def _recv_all(call: Run, socket: Socket, size: int, pause: Pause | None) -> str:
    pieces: list[bytes] = []
    got = 0
    while got < size:
        try:
            piece = socket.recv(size - got, pause)
        except OSError:
            if not pieces:
                raise
            break
        if not piece:
            break
        got += len(piece)
        call.reserve_text(got)
        call.charge(_CALL_UNITS)
        pieces.append(piece)
    return as_text(b"".join(pieces))


@TOPIC.builtin(
    "send(data: string) -> number | none",
    effect=Effect.IO,
    kind="method",
    owner=CLASS,
    examples=['$sent = $socket->send("QUIT\\r\\n");'],
)
def send(call: Run, this: HslObject, data: str) -> float | None:
    """Send the data and give how many bytes went out: all, unless the time was up before; none on an error."""
    call.charge(len(data) >> 10)
    return _try(call, this, lambda socket: float(socket.send(as_bytes(data), pause_of(call, socket))))


@TOPIC.builtin(
    "settimeout(timeout: number) -> Socket",
    effect=Effect.IO,
    kind="method",
    owner=CLASS,
    examples=['Socket("AF_INET", "SOCK_STREAM")->settimeout(5);'],
)
def settimeout(this: HslObject, timeout: float) -> HslObject:
    """Set how long each call may wait, in seconds; 0 for as long as the script may run.

    Before it is called the setting `sockets.timeout_s` holds.
    """
    _socket(this).timeout_s = read_seconds("settimeout", "timeout", timeout)
    return this


@TOPIC.builtin(
    "shutdown(how: string) -> Socket | none",
    effect=Effect.IO,
    kind="method",
    owner=CLASS,
    examples=['$socket->shutdown("SHUT_WR");'],
)
def shutdown(call: Run, this: HslObject, how: str) -> HslObject | None:
    """End receiving (SHUT_RD), sending (SHUT_WR) or both (SHUT_RDWR)."""
    _one_of("shutdown", "how", how, SHUTDOWNS)
    return _do(call, this, lambda socket: socket.handle.shutdown(SHUTDOWNS[how]))


def _close(socket: Socket) -> None:
    if not socket.is_open:
        raise OSError(errno.EBADF, "closed")
    socket.close()


@TOPIC.builtin(
    "close() -> Socket | none",
    effect=Effect.IO,
    kind="method",
    owner=CLASS,
    examples=['Socket("AF_INET", "SOCK_STREAM")->close();'],
)
def close(call: Run, this: HslObject) -> HslObject | None:
    """Close the socket; none when it was closed before."""
    return _do(call, this, _close)


@TOPIC.builtin(
    "errno() -> number",
    effect=Effect.IO,
    kind="method",
    owner=CLASS,
    examples=['Socket("AF_INET", "SOCK_STREAM")->errno()  // 0'],
)
def errno_of(this: HslObject) -> float:
    """Give the system's number of the latest error, as 111 (ECONNREFUSED) or 11 (EAGAIN: the time was up); 0 before one."""
    return float(_socket(this).errno)


# ---- the class TLSSocket ----------------------------------------------------------------------------


@functools.lru_cache(_CONTEXTS)
def _context(wishes: TlsWishes, ca_file: str, changed: tuple[float, ...]) -> ssl.SSLContext:
    return make_context(wishes, ca_file)


def _changed(wishes: TlsWishes, ca_file: str) -> tuple[float, ...]:
    """Give when the files of a context changed, so that a renewed certificate is loaded."""
    pair = wishes.key_pair
    files: list[str | Path] = [ca_file] if ca_file and wishes.verify_ca else []
    files += [pair.certificate, pair.key] if pair is not None else []
    return tuple(os.stat(file).st_mtime for file in files)


def _now(function: Callable[..., T], *arguments: Any) -> T:
    return function(*arguments)


def find_key_pair(call: Run, name: str) -> KeyPair:
    """Give the certificate and key of a [[pki]] table. Raises ScriptError R302."""
    settings = _settings(call)
    found = settings.key_pair(name)
    if found is None:
        others = ", ".join(f"pki:{pair.id}" for pair in settings.key_pairs)
        hint = f"the settings have {others}" if others else "add a [[pki]] table for it"
        raise ScriptError("R302", f'there is no certificate "{name[:60]}"', hint=hint)
    if not found.certificate.name:
        raise ScriptError("R302", f'"{name[:60]}" is a key without a certificate')
    return found


def check_protocols(function: str, protocols: str) -> None:
    """Raises ScriptError R302 for what is no list of TLS protocols."""
    try:
        chosen_protocols(protocols)
    except ValueError as error:
        raise unknown_word(function, "protocol", str(error), PROTOCOLS) from None


def read_wishes(call: Run, function: str, options: Array | None) -> TlsWishes:
    """Give the TLS options of a function. Raises ScriptError."""
    given = read_options(function, options, _TLS_OPTIONS)
    names = given["tls_verify_name"]
    check_protocols(function, given["tls_protocols"])
    return TlsWishes(
        protocols=given["tls_protocols"],
        ciphers=given["tls_ciphers"],
        names=() if names is None else text_list(f"option `tls_verify_name` of {function}()", names),
        verify_ca=given["tls_verify_ca"],
        default_ca=given["tls_default_ca"],
        sni=given["tls_sni"],
        key_pair=find_key_pair(call, given["tls_client_cert"]) if given["tls_client_cert"] else None,
    )


def new_tls(call: Run, function: str, below: Socket, wishes: TlsWishes) -> TlsSocket:
    """Give TLS over a socket. Raises ScriptError where the context cannot be made."""
    ca_file = _settings(call).ca_file
    try:
        make = call.offload if wishes.verify_ca or wishes.key_pair is not None else _now
        context = make(_context, wishes, ca_file, _changed(wishes, ca_file))
    except (ssl.SSLError, OSError) as error:
        raise ScriptError("R330", f"{function}() cannot set up TLS: {error.strerror or error}") from None
    try:
        return TlsSocket(below, context, wishes)
    except ValueError:
        raise ScriptError("R302", f"{function}() wants `tls_sni` as a host's name") from None


def _tls(this: HslObject) -> TlsSocket:
    tls: Any = this.host
    assert isinstance(tls, TlsSocket)
    return tls


def _try_tls(call: Run, this: HslObject, action: Callable[[TlsSocket, Pause], T]) -> T | None:
    call.charge(_CALL_UNITS)
    tls = _tls(this)
    try:
        return action(tls, pause_of(call, tls.below))
    except ssl.SSLEOFError:  # the connection broke without an end of TLS
        tls.errno = ssl.SSLErrorNumber.SSL_ERROR_SSL
    except ssl.SSLError as error:
        tls.errno = error.errno or ssl.SSLErrorNumber.SSL_ERROR_SSL
    except BlockingIOError:
        tls.errno = ssl.SSLErrorNumber.SSL_ERROR_WANT_READ
    except OSError:
        tls.errno = ssl.SSLErrorNumber.SSL_ERROR_SYSCALL
    return None


def _do_tls(call: Run, this: HslObject, action: Callable[[TlsSocket, Pause], object]) -> HslObject | None:
    return this if _try_tls(call, this, lambda tls, pause: (action(tls, pause), True)) is not None else None


@TOPIC.builtin(
    "TLSSocket(socket: Socket, [options: array]) -> TLSSocket",
    effect=Effect.IO,
    kind="class",
    examples=['$tls = TLSSocket($socket, ["tls_verify_ca" => true, "tls_verify_name" => ["mx.example.com"]]);'],
)
def tls_class(call: Run, socket: HslObject, options: Array | None = None) -> HslObject:
    """Put TLS over a connected stream socket, as its client; `handshake()` begins it. By default nothing is verified.

    | option | meaning | default |
    |---|---|---|
    | `tls_protocols` | which of TLSv1, TLSv1.1, TLSv1.2, TLSv1.3, parted by commas; `!` excludes one | TLSv1.2, TLSv1.3 |
    | `tls_ciphers` | OpenSSL's list of ciphers up to TLSv1.2 | OpenSSL's |
    | `tls_verify_name` | array of names, one of which the certificate must bear | none |
    | `tls_verify_ca` | whether the certificate must be of a known authority: those of `client.ca_file` | false |
    | `tls_default_ca` | the system's authorities too; they are taken alone where there is no `client.ca_file` | false |
    | `tls_sni` | the name that the other side is asked for | none |
    | `tls_client_cert` | `pki:` and the id of a [[pki]] table, whose certificate is shown | none |
    """
    wishes = read_wishes(call, "TLSSocket", options)
    below = _socket(socket)
    if not below.is_stream:
        raise ScriptError("R302", "TLSSocket() wants a socket of type SOCK_STREAM")
    return HslObject(TLS_CLASS, None, new_tls(call, "TLSSocket", below, wishes))


@TOPIC.builtin(
    "handshake() -> TLSSocket | none",
    effect=Effect.IO,
    kind="method",
    owner=TLS_CLASS,
    examples=["if (!$tls->handshake()) echo $tls->errno();"],
)
def handshake(call: Run, this: HslObject) -> HslObject | None:
    """Begin TLS; none when that fails, or what is to be verified does not hold."""
    return _do_tls(call, this, lambda tls, pause: tls.handshake(pause))


@TOPIC.builtin(
    "recv(length: number) -> string | none",
    effect=Effect.IO,
    kind="method",
    owner=TLS_CLASS,
    examples=["$data = $tls->recv(8192);"],
)
def tls_recv(call: Run, this: HslObject, length: float) -> str | None:
    """Receive up to `length` bytes, at most 1 MiB a call; "" when the other side has ended TLS, none on an error.

    It begins TLS where handshake() was not called.
    """
    size = min(_size(length), MOST_BYTES)
    call.reserve_text(size if size < 1 << 16 else 1 << 16)
    data = _try_tls(call, this, lambda tls, pause: tls.recv(size, pause))
    return None if data is None else as_text(data)


@TOPIC.builtin(
    "send(data: string) -> number | none",
    effect=Effect.IO,
    kind="method",
    owner=TLS_CLASS,
    examples=['$sent = $tls->send("QUIT\\r\\n");'],
)
def tls_send(call: Run, this: HslObject, data: str) -> float | None:
    """Send the data and give how many bytes went out; none on an error. It begins TLS where handshake() was not called."""
    call.charge(len(data) >> 8)
    return _try_tls(call, this, lambda tls, pause: float(tls.send(as_bytes(data), pause)))


@TOPIC.builtin(
    "shutdown([how: string]) -> number | none",
    effect=Effect.IO,
    kind="method",
    owner=TLS_CLASS,
    examples=["while ($tls->shutdown() === 0) {}"],
)
def tls_shutdown(call: Run, this: HslObject, how: str | None = None) -> float | None:
    """End TLS: 0 when the other side has been told, 1 when it has said the same, which a second call waits for.

    The socket beneath stays open, and can be used without TLS. `how` is taken, and changes nothing, so that code can treat
    both kinds of sockets alike.
    """
    if how is not None:
        _one_of("shutdown", "how", how, SHUTDOWNS)
    return _try_tls(call, this, lambda tls, pause: float(tls.shutdown(pause)))


@TOPIC.builtin("close() -> TLSSocket | none", effect=Effect.IO, kind="method", owner=TLS_CLASS, examples=["$tls->close();"])
def tls_close(call: Run, this: HslObject) -> HslObject | None:
    """Close the socket beneath, without an end of TLS; none when it was closed before."""
    return _do_tls(call, this, lambda tls, pause: _close(tls.below))


@TOPIC.builtin("errno() -> number", effect=Effect.IO, kind="method", owner=TLS_CLASS, examples=["$why = $tls->errno();"])
def tls_errno(this: HslObject) -> float:
    """Give the number of the latest error, as OpenSSL's SSL_get_error() has it; 0 before one.

    1 is a failure of TLS itself (a certificate that does not hold included), 2 that the time was up, 5 one of the socket.
    """
    return float(_tls(this).errno)


@TOPIC.builtin(
    "getpeerx509() -> X509 | none",
    effect=Effect.IO,
    kind="method",
    owner=TLS_CLASS,
    examples=["$subject = $tls->getpeerx509()->subject();"],
)
def getpeerx509(call: Run, this: HslObject) -> HslObject | None:
    """Give the other side's certificate; none before the handshake."""
    try:
        certificate = _tls(this).certificate()
    except ValueError:  # one that cannot be read
        return None
    return None if certificate is None else certificate_object(certificate)


@TOPIC.builtin(
    "toSocket() -> Socket", effect=Effect.IO, kind="method", owner=TLS_CLASS, examples=["$socket = $tls->toSocket();"]
)
def to_socket(this: HslObject) -> HslObject:
    """Give the socket beneath."""
    return HslObject(CLASS, None, _tls(this).below)

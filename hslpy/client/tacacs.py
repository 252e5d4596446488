"""Logins and rights by TACACS+. In: a question, an address. Out: a finding. One connection a question.

Source: RFC 8907. Its obfuscation (section 4.5) is weak: the way to the server should be a trusted network.
"""

from __future__ import annotations

import hashlib
import secrets
import struct
from collections.abc import Iterable, Sequence

from hslpy.client.lines import connection
from hslpy.client.lookup_contract import Finding, LookupFailed, Peer, TacacsLogin, TacacsRights

_AUTHENTICATION, _AUTHORISATION = 1, 2  # packet types
_DEFAULT_VERSION, _PAP_VERSION = 0xC0, 0xC1  # section 4.1: PAP is of minor version 1
_UNENCRYPTED = 0x01
_LOGIN, _PAP, _SERVICE_LOGIN, _BY_TACACS = 1, 2, 1, 6
_PASS, _FAIL = 1, 2  # section 5.2
_PASS_ADD, _PASS_REPLACE, _NO_RIGHT = 0x01, 0x02, 0x10  # section 6.2
_MOST_BYTES = 1 << 16
_PORT = b"hslpy"  # which of our lines the user is at


async def log_in(question: TacacsLogin, address: str) -> Finding:
    """Raises LookupFailed, OSError, EOFError."""
    user, client = _short(question.username), _short(question.client_ip)
    password = _short(question.password)
    body = struct.pack("!8B", _LOGIN, 0, _PAP, _SERVICE_LOGIN, len(user), len(_PORT), len(client), len(password))
    body += user + _PORT + client + password
    reply = await _exchange(question.peer, address, question.secret, _AUTHENTICATION, _PAP_VERSION, body)
    status, _, message_length, _ = _unpacked("!BBHH", reply)
    if status in (_PASS, _FAIL):
        return Finding(1 if status == _PASS else 0)
    message = reply[6 : 6 + message_length].decode("latin-1")
    raise LookupFailed(f"the TACACS+ server answered with status {status} {message}".rstrip())


async def ask_rights(question: TacacsRights, address: str) -> Finding:
    """Raises LookupFailed, OSError, EOFError."""
    user, client = _short(question.username), _short(question.client_ip)
    pairs = [_short(pair) for pair in question.pairs]
    if len(pairs) > 255:
        raise LookupFailed("TACACS+ takes at most 255 pairs")
    body = struct.pack("!8B", _BY_TACACS, 0, _PAP, _SERVICE_LOGIN, len(user), len(_PORT), len(client), len(pairs))
    body += bytes(map(len, pairs)) + user + _PORT + client + b"".join(pairs)
    reply = await _exchange(question.peer, address, question.secret, _AUTHORISATION, _DEFAULT_VERSION, body)
    status, count, message_length, data_length = _unpacked("!BBHH", reply)
    if status == _NO_RIGHT:
        return Finding(0)
    if status not in (_PASS_ADD, _PASS_REPLACE):
        raise LookupFailed(f"the TACACS+ server answered with status {status}")
    lengths = reply[6 : 6 + count]
    return Finding(
        1, values=tuple(("", text) for text in _texts(reply[6 + count + message_length + data_length :], lengths))
    )


def _texts(data: bytes, lengths: Sequence[int]) -> Iterable[str]:
    if sum(lengths) > len(data):
        raise LookupFailed("the TACACS+ server's answer is cut short")
    at = 0
    for length in lengths:
        yield data[at : at + length].decode("latin-1")
        at += length


async def _exchange(peer: Peer, address: str, secret: str, kind: int, version: int, body: bytes) -> bytes:
    """Send one packet and give the body of the answer."""
    session = secrets.token_bytes(4)
    key = secret.encode("latin-1")
    async with connection(peer, address) as (reader, writer):
        writer.write(
            struct.pack("!4B4sI", version, kind, 1, 0, session, len(body)) + obfuscated(body, key, session, version, 1)
        )
        head = await reader.readexactly(12)
        their_version, their_kind, number, flags, their_session, length = struct.unpack("!4B4sI", head)
        if (their_kind, number, their_session) != (kind, 2, session) or length > _MOST_BYTES:
            raise LookupFailed("the answer is none of TACACS+, or to another question")
        if flags & _UNENCRYPTED:
            raise LookupFailed("the TACACS+ server answered in plain text")  # anybody may have written it
        data = await reader.readexactly(length)
    return obfuscated(data, key, session, their_version, number)


def obfuscated(body: bytes, key: bytes, session: bytes, version: int, number: int) -> bytes:
    """Give the body XORed with the pad, which is its own inverse."""
    seed = session + key + bytes((version, number))
    pad, last = b"", b""
    while len(pad) < len(body):
        last = hashlib.md5(seed + last).digest()
        pad += last
    return bytes(one ^ other for one, other in zip(body, pad, strict=False))


def _unpacked(layout: str, reply: bytes) -> tuple[int, ...]:
    """Give the fixed fields of an answer. Raises LookupFailed for one that is garbled, as by another secret."""
    fields = struct.unpack_from(layout, reply.ljust(6, b"\xff"))
    if len(reply) < 6 or sum(fields[2:]) > len(reply):
        raise LookupFailed("the TACACS+ server's answer cannot be read: is the secret the same?")
    return fields


def _short(text: str) -> bytes:
    data = text.encode("latin-1")
    if len(data) > 255:
        raise LookupFailed("TACACS+ takes texts of at most 255 bytes")
    return data

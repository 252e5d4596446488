"""Logins checked by Dovecot. In: a question, an address. Out: a finding.

Source: Dovecot's documentation of its authentication protocol, version 1.1.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import os
from asyncio import StreamReader, StreamWriter

from hslpy.client.lines import connection
from hslpy.client.lookup_contract import Dovecot, Finding, LookupFailed

_MECHANISMS = ("PLAIN", "LOGIN", "CRAM-MD5")  # the first that Dovecot has; the last wants passwords kept in plain text
_HANDSHAKE_LINES = 100


async def ask(question: Dovecot, address: str) -> Finding:
    """Raises LookupFailed, OSError, EOFError."""
    async with connection(question.peer, address) as (reader, writer):
        offered = await _handshake(reader)
        mechanism = next((name for name in _MECHANISMS if name in offered), None)
        if mechanism is None:
            raise LookupFailed(f"Dovecot has none of the mechanisms {', '.join(_MECHANISMS)}")
        username, password = question.username.encode("latin-1"), question.password.encode("latin-1")
        if b"\0" in username + password:
            return Finding(0, "a name or a password with a NUL is none")
        first = {"PLAIN": b"\0" + username + b"\0" + password, "LOGIN": None, "CRAM-MD5": None}[mechanism]
        writer.write(f"VERSION\t1\t1\nCPID\t{os.getpid()}\n".encode())
        writer.write(_request(mechanism, question, first))
        return await _answer(reader, writer, mechanism, username, password)


async def _answer(reader: StreamReader, writer: StreamWriter, mechanism: str, username: bytes, password: bytes) -> Finding:
    """Answer Dovecot's challenges until it has decided."""
    steps = 0
    while True:
        word, *fields = await _line(reader)
        if word not in ("OK", "FAIL", "CONT") or fields[:1] != ["1"]:
            continue
        if word == "OK":
            return Finding(1)
        if word == "FAIL":
            if "temp" in fields:
                raise LookupFailed("Dovecot cannot check logins now")
            return Finding(0)
        if mechanism == "CRAM-MD5":
            challenge = base64.b64decode(fields[1] if len(fields) > 1 else "")
            reply = username + b" " + hmac.new(password, challenge, hashlib.md5).hexdigest().encode()
        elif mechanism == "LOGIN":
            reply = (username, password)[min(steps, 1)]
        else:
            raise LookupFailed("Dovecot asks on after PLAIN")
        steps += 1
        if steps > 2:
            raise LookupFailed("Dovecot asks on and on")
        writer.write(b"CONT\t1\t" + base64.b64encode(reply) + b"\n")


async def _handshake(reader: StreamReader) -> set[str]:
    """Give the mechanisms offered. Raises LookupFailed where the protocol is another."""
    offered: set[str] = set()
    for _ in range(_HANDSHAKE_LINES):
        word, *fields = await _line(reader)
        if word == "VERSION" and fields[:1] != ["1"]:
            raise LookupFailed(f"Dovecot speaks version {fields[0] if fields else '?'} of its protocol")
        if word == "MECH" and fields:
            offered.add(fields[0].upper())
        if word == "DONE":
            return offered
    raise LookupFailed("the server does not speak Dovecot's protocol")


def _request(mechanism: str, question: Dovecot, first: bytes | None) -> bytes:
    words = ["AUTH", "1", mechanism, f"service={_escaped(question.service)}"]
    words += ["secured"] if question.secured else []
    words += [f"rip={_escaped(question.remote_ip)}"] if question.remote_ip else []
    words += [f"lip={_escaped(question.local_ip)}"] if question.local_ip else []
    line = "\t".join(words).encode("latin-1")
    return line + (b"" if first is None else b"\tresp=" + base64.b64encode(first)) + b"\n"


def _escaped(text: str) -> str:
    """Give a field's text as Dovecot's str_tabescape() does."""
    for character, code in (("\x01", "1"), ("\0", "0"), ("\t", "t"), ("\r", "r"), ("\n", "n")):
        text = text.replace(character, f"\x01{code}")
    return text


async def _line(reader: StreamReader) -> list[str]:
    return (await reader.readuntil(b"\n")).decode("latin-1").rstrip("\r\n").split("\t")

"""Ident: whose is a connection to us? In: a question and the client's address. Out: a finding. Source: RFC 1413."""

from __future__ import annotations

import asyncio

from hslpy.client.lines import connection
from hslpy.client.lookup_contract import Finding, Ident, LookupFailed

_REPLY_BYTES = 1000  # RFC 1413 section 6: what a client must be ready for


async def ask(question: Ident, address: str) -> Finding:
    """Ask from the address that the client has reached. Raises LookupFailed, OSError, EOFError."""
    async with connection(question.peer, address, question.own_ip) as (reader, writer):
        writer.write(f"{question.peer_port}, {question.own_port}\r\n".encode())
        try:
            line = await reader.readuntil(b"\n")
        except asyncio.IncompleteReadError as error:
            line = error.partial
    return read_reply(line[:_REPLY_BYTES].decode("latin-1"), question.peer_port, question.own_port)


def read_reply(line: str, peer_port: int, own_port: int) -> Finding:
    """Give what a reply says: `os` and `username`, or `error`. Raises LookupFailed when it is none, or another's."""
    ports, _, rest = line.rstrip("\r\n").partition(":")
    kind, _, said = rest.partition(":")
    if [port.strip() for port in ports.split(",")] != [str(peer_port), str(own_port)]:
        raise LookupFailed(f"the answer is to another question: {line[:60]!r}")
    if kind.strip().upper() == "ERROR":
        return Finding(1, values=(("error", said.strip()),))
    system, colon, username = said.partition(":")
    if kind.strip().upper() != "USERID" or not colon:
        raise LookupFailed(f"the answer is none of ident: {line[:60]!r}")
    return Finding(1, values=(("os", system.strip()), ("username", username.strip())))

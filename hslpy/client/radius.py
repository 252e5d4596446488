"""Logins checked by RADIUS. In: a question, an address. Out: a finding. Packets are pyrad's, waiting is ours.

Source: RFC 2865; RFC 3579 section 3.2 for Message-Authenticator, sent with every request.
"""

from __future__ import annotations

import asyncio
import io
from typing import Any

from pyrad.dictionary import Dictionary
from pyrad.packet import AccessAccept, AccessReject, AccessRequest, AuthPacket, Packet, PacketError

from hslpy.client.lines import Datagrams, datagrams
from hslpy.client.lookup_contract import Finding, LookupFailed, Radius

VENDOR = 33234  # IANA's number of the vendor of the original, to whom `vendorstrings` belong
_USER_NAME, _USER_PASSWORD, _CALLING_STATION, _NAS_IDENTIFIER = 1, 2, 31, 32
_LONGEST = {"user name": 253, "password": 128}  # RFC 2865 sections 5 and 5.2


async def ask(question: Radius, address: str, hostname: str) -> Finding:
    """Raises LookupFailed, OSError."""
    secret = question.secret.encode("latin-1")
    username, password = question.username.encode("latin-1"), question.password.encode("latin-1")
    if not username or len(username) > _LONGEST["user name"] or len(password) > _LONGEST["password"]:
        return Finding(0, "the user name or the password is empty or too long for RADIUS")
    request = _request(question, secret, username, password, hostname)
    data = request.RequestPacket()
    async with datagrams(address, question.peer.port) as (transport, arrived):
        for _ in range(question.retries + 1):
            transport.sendto(data)
            try:
                async with asyncio.timeout(question.peer.timeout_s):
                    reply = await _reply(arrived, request, secret)
            except TimeoutError:
                continue
            if reply.code == AccessAccept:
                return Finding(1)
            if reply.code == AccessReject:
                return Finding(0)
            raise LookupFailed(f"the RADIUS server wants more than a password (code {reply.code})")
    raise LookupFailed(f"no answer in {question.retries + 1} tries of {question.peer.timeout_s:g} s")


def _request(question: Radius, secret: bytes, username: bytes, password: bytes, hostname: str) -> Any:
    request: Any = AuthPacket(code=AccessRequest, secret=secret, dict=Dictionary(io.StringIO("")))
    request.authenticator = request.CreateAuthenticator()
    attributes: list[tuple[Any, bytes]] = [(_USER_NAME, username), (_USER_PASSWORD, request.PwCrypt(password))]
    if question.client_ip:
        attributes.append((_CALLING_STATION, question.client_ip.encode("latin-1")))
    attributes.append((_NAS_IDENTIFIER, hostname.encode("latin-1", "replace")[:253]))
    attributes += [((VENDOR, number), text.encode("latin-1")) for number, text in question.vendor]
    for key, value in attributes:
        request.setdefault(key, []).append(value)
    request.add_message_authenticator()
    return request


async def _reply(arrived: Datagrams, request: Any, secret: bytes) -> Packet:
    """Give the first answer that the server has signed; others may be anybody's."""
    while True:
        data = await arrived.next()
        try:
            reply = request.CreateReply(packet=data)
        except (PacketError, ValueError, IndexError):
            continue
        if request.VerifyReply(reply, data):
            return reply

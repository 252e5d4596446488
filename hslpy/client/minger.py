"""Minger: does an address exist? In: a question, an address. Out: a finding with the server's status.

Source: draft-hathcock-minger.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib

from hslpy.client.lines import datagrams
from hslpy.client.lookup_contract import Finding, LookupFailed, Minger


async def ask(question: Minger, address: str) -> Finding:
    """Raises LookupFailed, OSError."""
    query = question.address.encode("latin-1")
    if question.secret is not None:
        digest = hashlib.md5(question.secret.encode("latin-1") + b":" + query).digest()
        query += b" d=" + base64.b64encode(digest)
    async with datagrams(address, question.peer.port) as (transport, arrived):
        transport.sendto(query)
        try:
            async with asyncio.timeout(question.peer.timeout_s):
                while True:
                    words = (await arrived.next()).decode("latin-1").split()
                    if len(words) >= 2 and words[0].lower() == question.address.lower() and words[1].isdecimal():
                        return Finding(1, number=int(words[1]))
        except TimeoutError:
            raise LookupFailed(f"no answer within {question.peer.timeout_s:g} s") from None

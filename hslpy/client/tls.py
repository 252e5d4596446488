"""TLS towards peers. In: what a route asks for. Out: contexts, and whether a certificate bears a wanted name.

Source: RFC 3207, RFC 6125 section 6.4 (a `*` stands for one whole leftmost label).
"""

from __future__ import annotations

import asyncio
import ipaddress
import ssl
from collections.abc import Mapping, Sequence
from typing import Any

from hslpy.client.contract import TlsResult


class TlsContexts:
    """The two contexts of a client: one that trusts anybody (opportunistic), one that asks for a trusted certificate.

    `ca_file` is a PEM bundle, the system's where None. Loading one takes milliseconds, so it is done once, in a thread.
    """

    def __init__(self, ca_file: str | None = None) -> None:
        self._ca_file = ca_file
        self._trusting = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        self._trusting.check_hostname = False
        self._trusting.verify_mode = ssl.CERT_NONE
        self._verifying: ssl.SSLContext | None = None

    async def context(self, verify: bool) -> ssl.SSLContext:
        if not verify:
            return self._trusting
        if self._verifying is None:
            self._verifying = await asyncio.to_thread(self._build_verifying)
        return self._verifying

    def _build_verifying(self) -> ssl.SSLContext:
        context = ssl.create_default_context(ssl.Purpose.SERVER_AUTH, cafile=self._ca_file)
        context.check_hostname = False  # names are compared by `bears_name`, for there may be several
        return context


def bears_name(certificate: Mapping[str, Any], wanted: Sequence[str]) -> bool:
    """Say whether the certificate (as `getpeercert()` gives it) is for one of the names or IP addresses wanted."""
    names = [value.lower() for kind, value in certificate.get("subjectAltName", ()) if kind == "DNS"]
    addresses = {value for kind, value in certificate.get("subjectAltName", ()) if kind == "IP Address"}
    return any(_matches(want.lower().rstrip("."), names, addresses) for want in wanted)


def _matches(want: str, names: Sequence[str], addresses: set[str]) -> bool:
    try:
        address = ipaddress.ip_address(want)
    except ValueError:
        _, _, parent = want.partition(".")
        return want in names or ("." in parent and f"*.{parent}" in names)
    return any(ipaddress.ip_address(known) == address for known in addresses)


def describe(tls: ssl.SSLObject, verified: bool) -> TlsResult:
    cipher = tls.cipher() or ("", "", 0)
    return TlsResult(tls.version() or "", cipher[0], cipher[2], verified)

"""TLS towards peers. In: what a route asks for. Out: contexts, and whether a certificate bears a wanted name.

Source: RFC 3207, RFC 6125 section 6.4 (a `*` stands for one whole leftmost label).
"""

from __future__ import annotations

import asyncio
import ipaddress
import ssl
import tempfile
from collections.abc import Mapping, Sequence
from typing import Any

from hslpy.client.contract import TlsResult, TlsWanted
from hslpy.client.sockets import PROTOCOLS, chosen_protocols

_MOST_CONTEXTS = 64  # kept at a time; a context with the system's authorities takes some 500 KB


class TlsContexts:
    """The contexts of a client, one for each way of asking, made once.

    `ca_file` is a PEM bundle, the system's where None. Loading one takes milliseconds, so it is done in a thread.
    """

    def __init__(self, ca_file: str | None = None) -> None:
        self._ca_file = ca_file
        self._contexts: dict[TlsWanted, ssl.SSLContext] = {}

    async def context(self, wanted: TlsWanted) -> ssl.SSLContext:
        """Give the context. Raises ValueError for ciphers, protocols or a certificate that cannot be used."""
        context = self._contexts.get(wanted)
        if context is None:
            context = await asyncio.to_thread(self._build, wanted)
            if len(self._contexts) >= _MOST_CONTEXTS:
                del self._contexts[next(iter(self._contexts))]
            self._contexts[wanted] = context
        return context

    def _build(self, wanted: TlsWanted) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = wanted.verify_peer and wanted.verify_host
        if wanted.verify_peer:
            if self._ca_file is not None:
                context.load_verify_locations(cafile=self._ca_file)
            if self._ca_file is None or wanted.default_ca:
                context.load_default_certs(ssl.Purpose.SERVER_AUTH)
        else:
            context.verify_mode = ssl.CERT_NONE
        try:
            if wanted.protocols:
                _allow(context, wanted.protocols)
            if wanted.ciphers:
                context.set_ciphers(wanted.ciphers)
            if wanted.client_cert:
                with tempfile.NamedTemporaryFile("w", encoding="latin-1") as file:  # OpenSSL reads keys from files
                    file.write(wanted.client_cert)
                    file.flush()
                    context.load_cert_chain(file.name)
        except ssl.SSLError as error:
            raise ValueError(f"TLS cannot be set up: {error}") from None
        return context


def _allow(context: ssl.SSLContext, protocols: str) -> None:
    names = chosen_protocols(protocols)
    if not names:
        raise ValueError("TLS cannot be set up: no protocol is left")
    context.minimum_version, context.maximum_version = PROTOCOLS[names[0]], PROTOCOLS[names[-1]]
    if names[0] in ("TLSv1", "TLSv1.1"):
        context.set_ciphers("DEFAULT:@SECLEVEL=0")


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

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
from hslpy.late import crypto, x509

_MOST_CONTEXTS = 64  # kept at a time; a context with the system's authorities takes some 500 KB
PROTOCOLS = {
    "TLSv1": ssl.TLSVersion.TLSv1,
    "TLSv1.1": ssl.TLSVersion.TLSv1_1,
    "TLSv1.2": ssl.TLSVersion.TLSv1_2,
    "TLSv1.3": ssl.TLSVersion.TLSv1_3,
}
GONE = ("SSLv2", "SSLv3")  # from OpenSSL: named, they are none
_DEFAULT = {"TLSv1.2", "TLSv1.3"}


def chosen_protocols(text: str) -> list[str]:
    """Give the protocols of a list with exclusions, in a row: where there is a gap, those above it.

    Raises ValueError with the word that is no protocol.
    """
    named: set[str] = set()
    excluded: set[str] = set()
    for word in text.replace(" ", "").split(","):
        name = word.removeprefix("!")
        if name and name not in PROTOCOLS and name not in GONE:
            raise ValueError(name)
        if name:
            (excluded if word.startswith("!") else named).add(name)
    wanted = [name in (named or _DEFAULT) - excluded for name in PROTOCOLS]
    names, last = list(PROTOCOLS), len(wanted)
    while last and not wanted[last - 1]:
        last -= 1
    first = last
    while first and wanted[first - 1]:
        first -= 1
    return names[first:last]


def new_context(verify: bool, ca_file: str | None, default_ca: bool, protocols: str, ciphers: str) -> ssl.SSLContext:
    """Give a client's context, which compares no names. Raises ValueError for a protocol, ssl.SSLError, OSError."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_REQUIRED if verify else ssl.CERT_NONE
    names = chosen_protocols(protocols)
    if names:
        context.minimum_version, context.maximum_version = PROTOCOLS[names[0]], PROTOCOLS[names[-1]]
    else:  # only such as OpenSSL no longer has: a range in which nothing is
        context.minimum_version, context.maximum_version = ssl.TLSVersion.TLSv1_3, ssl.TLSVersion.TLSv1_2
    if "TLSv1" in names or "TLSv1.1" in names:
        context.set_ciphers("DEFAULT:@SECLEVEL=0")
    if ciphers:
        context.set_ciphers(ciphers)
    if verify:
        if ca_file is not None:
            context.load_verify_locations(ca_file)
        if ca_file is None or default_ca:
            context.load_default_certs(ssl.Purpose.SERVER_AUTH)
    return context


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
        if not chosen_protocols(wanted.protocols):
            raise ValueError("TLS cannot be set up: no protocol is left")
        try:
            context = new_context(wanted.verify_peer, self._ca_file, wanted.default_ca, wanted.protocols, wanted.ciphers)
            if wanted.client_cert:
                with tempfile.NamedTemporaryFile("w", encoding="latin-1") as file:  # OpenSSL reads keys from files
                    file.write(wanted.client_cert)
                    file.flush()
                    context.load_cert_chain(file.name)
        except ssl.SSLError as error:
            raise ValueError(f"TLS cannot be set up: {error}") from None
        context.check_hostname = wanted.verify_peer and wanted.verify_host
        return context


def bears_name(certificate: Mapping[str, Any], wanted: Sequence[str]) -> bool:
    """Say whether the certificate (as `getpeercert()` gives it) is for one of the names or IP addresses wanted."""
    names = [value.lower() for kind, value in certificate.get("subjectAltName", ()) if kind == "DNS"]
    addresses = {value for kind, value in certificate.get("subjectAltName", ()) if kind == "IP Address"}
    return any(_matches(want.lower().rstrip("."), names, addresses) for want in wanted)


def bears_a_name(certificate: x509.Certificate, wanted: Sequence[str]) -> bool:
    """Say the same of a certificate whose common name counts where there is no alternative name, as scripts have it.

    Source: X509_check_host(3), with X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS and X509_CHECK_FLAG_SINGLE_LABEL_SUBDOMAINS.
    """
    try:
        others = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        names = others.get_values_for_type(x509.DNSName)
        addresses = {str(address) for address in others.get_values_for_type(x509.IPAddress)}
    except x509.ExtensionNotFound:
        names, addresses = [], set()
    if not names:
        names = [str(one.value) for one in certificate.subject.get_attributes_for_oid(crypto.NameOID.COMMON_NAME)]
    known = [name.lower() for name in names]
    return any(_matches(want.lower().rstrip("."), known, addresses) for want in wanted)


def _matches(want: str, names: Sequence[str], addresses: set[str]) -> bool:
    """Compare one name; a wanted one that begins with a dot means any name one label below."""
    try:
        address = ipaddress.ip_address(want)
    except ValueError:
        first, _, parent = want.partition(".")
        if not first:
            return bool(parent) and any(name.partition(".")[2] == parent for name in names)
        return want in names or ("." in parent and f"*.{parent}" in names)
    return any(ipaddress.ip_address(known) == address for known in addresses)


def describe(tls: ssl.SSLObject, verified: bool) -> TlsResult:
    cipher = tls.cipher() or ("", "", 0)
    return TlsResult(tls.version() or "", cipher[0], cipher[2], verified)

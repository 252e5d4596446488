"""What functions that connect to servers share: sources, timeouts, client certificates.

In: options of builtins. Out: plain values, or ScriptError R301, R302, R306.
"""

from __future__ import annotations

import ipaddress

from hslpy.builtins.core.certificates import read_certificates
from hslpy.builtins.core.keys import private_key
from hslpy.builtins.host.options import BOOLEAN, TEXT, read_options, read_seconds
from hslpy.builtins.host.sockets import check_protocols, find_key_pair
from hslpy.builtins.host.sources import source_id
from hslpy.client.contract import TlsWanted
from hslpy.errors import ScriptError
from hslpy.lang.run import Run
from hslpy.lang.values import Array, Resource, Value
from hslpy.late import crypto

SOURCE = {"sourceip": TEXT, "sourceipid": TEXT}
TLS = {
    "tls_protocols": TEXT,
    "tls_ciphers": TEXT,
    "tls_verify_host": BOOLEAN,
    "tls_default_ca": BOOLEAN,
    "tls_client_cert": ("string", "array"),
}
_CERTIFICATE = {
    "x509": ("object", "resource", "string"),
    "privatekey": ("string", "resource"),
    "chain": ("array",),
}


def read_source(call: Run, function: str, given: dict[str, Value]) -> str | None:
    """Give the IP address to leave from: a literal one, or that of a configured source; None when the system chooses.

    Raises ScriptError R306.
    """
    name = given.get("sourceipid", given.get("sourceip"))
    if name is None:
        return None
    if "sourceipid" not in given:
        try:
            return str(ipaddress.ip_address(name))
        except ValueError:
            pass
    services = call.host.services
    return services.source_addresses[source_id(function, call.host, name)] or None


def read_tls(call: Run, function: str, given: dict[str, Value], *, verify_peer: bool) -> TlsWanted:
    """Give what the options ask of TLS. Raises ScriptError R302."""
    protocols = given.get("tls_protocols", "")
    check_protocols(function, protocols)
    return TlsWanted(
        verify_peer=verify_peer,
        verify_host=given.get("tls_verify_host", False),
        default_ca=given.get("tls_default_ca", False),
        protocols=protocols,
        ciphers=given.get("tls_ciphers", ""),
        client_cert=_client_certificate(call, function, given.get("tls_client_cert")),
    )


def _client_certificate(call: Run, function: str, value: Value) -> str:
    """Give PEM with chain and key, "" for none: of `pki:` and an id, of ["x509", "privatekey", "chain"?], or of PEM."""
    if value is None:
        return ""
    if value.__class__ is str:
        if "-----BEGIN" not in value:
            value = _configured(call, function, value)
        chain, key = read_certificates(function, "tls_client_cert", value), private_key(value)
    else:
        parts = read_options(f"`tls_client_cert` of {function}()", value, _CERTIFICATE)
        if "x509" not in parts or "privatekey" not in parts:
            raise ScriptError("R302", f"{function}() wants `x509` and `privatekey` in `tls_client_cert`")
        chain = read_certificates(function, "x509", parts["x509"])
        chain += read_certificates(function, "chain", parts.get("chain") or Array({}, 0))
        held = parts["privatekey"]
        key = held.host if held.__class__ is Resource else private_key(held)
    if key is None or not chain:
        raise ScriptError("R302", f"{function}() wants a certificate and its private key in `tls_client_cert`")
    texts = [key.private_bytes(crypto.Encoding.PEM, crypto.PrivateFormat.PKCS8, crypto.NoEncryption())]
    texts += [certificate.public_bytes(crypto.Encoding.PEM) for certificate in chain]
    return b"".join(texts).decode("latin-1")


def _configured(call: Run, function: str, name: str) -> str:
    find_key_pair(call, name)  # says what is wrong with the id
    try:
        return str(call.offload(call.host.key_text, name, True))
    except OSError as error:
        raise ScriptError("R330", f"{function}() cannot read the certificate {name[:60]}: {error.strerror}") from None


def read_wait(function: str, name: str, given: dict[str, Value], default_s: float | None) -> float | None:
    """Give a timeout in seconds; 0 is none, as with libcurl."""
    if name not in given:
        return default_s
    return read_seconds(function, name, given[name]) or None

"""Certificates and revocation lists: the classes X509 and X509CRL. In: DER or PEM. Out: objects and what is in them.

An object's `host` is cryptography's; a resource of kind X509Resource or X509CRLResource holds the same.
"""

from __future__ import annotations

import datetime
from collections.abc import Iterable, Sequence
from functools import cache
from typing import Any

from hslpy.builtins.core.arguments import as_bytes, as_text, read_options, to_utf8
from hslpy.errors import ScriptError
from hslpy.lang.declare import Effect, Topic
from hslpy.lang.run import Run
from hslpy.lang.values import Array, HslObject, Resource, Value, type_name
from hslpy.late import crypto, x509

TOPIC = Topic("certificates")

X509, X509_RESOURCE = "X509", "X509Resource"
CRL, CRL_RESOURCE = "X509CRL", "X509CRLResource"

_MOST = 200  # certificates in one text or list: the system's store has about 150
_PEM = "-----BEGIN "
_PEM_OPTION = {"pem": False}
_SHORT_NAMES = {  # OpenSSL's, where they differ from RFC 4514's
    "1.2.840.113549.1.9.1": "emailAddress",
    "2.5.4.4": "SN",
    "2.5.4.5": "serialNumber",
    "2.5.4.12": "title",
    "2.5.4.15": "businessCategory",
    "2.5.4.17": "postalCode",
    "2.5.4.42": "GN",
    "2.5.4.46": "dnQualifier",
    "2.5.4.65": "pseudonym",
    "2.5.4.97": "organizationIdentifier",
}


@cache
def unreadable(*others: type[Exception]) -> tuple[type[Exception], ...]:
    """Give what is raised for that which cryptography cannot read: broken structures, unknown kinds. And `others`."""
    return (
        *others,
        ValueError,
        TypeError,
        crypto.UnsupportedAlgorithm,
        x509.UnsupportedGeneralNameType,
        x509.DuplicateExtension,
    )


def certificate_object(certificate: x509.Certificate) -> HslObject:
    """Give a certificate as scripts hold it."""
    return HslObject(X509, None, certificate)


def _certificates_of(text: str) -> list[x509.Certificate]:
    if _PEM in text:
        return x509.load_pem_x509_certificates(as_bytes(text))
    return [x509.load_der_x509_certificate(as_bytes(text))]


def read_certificates(function: str, name: str, value: Value) -> list[x509.Certificate]:
    """Give the certificates of an array, or of one: X509 objects, X509 resources, PEM or DER texts. Raises ScriptError."""
    found: list[x509.Certificate] = []
    for item in value.items.values() if value.__class__ is Array else [value]:
        host = getattr(item, "host", None)
        if isinstance(host, x509.Certificate):
            found.append(host)
            continue
        if item.__class__ is not str:
            raise ScriptError("R302", f"{function}() wants certificates in `{name}`, got {type_name(item)}")
        try:
            found += _certificates_of(item)
        except unreadable():
            raise ScriptError("R302", f"{function}() wants certificates in `{name}`, got another text") from None
    if len(found) > _MOST:
        raise ScriptError("R302", f"{function}() takes at most {_MOST} certificates in `{name}`, got {len(found)}")
    return found


def _host(this: HslObject) -> Any:
    return this.host


def _names(name: x509.Name) -> Array:
    pairs: list[Value] = []
    for attribute in name:
        oid = attribute.oid.dotted_string
        value = attribute.value
        text = to_utf8(value) if isinstance(value, str) else as_text(value)
        pairs.append(Array.of([_SHORT_NAMES.get(oid) or attribute.rfc4514_attribute_name, text]))
    return Array.of(pairs)


def _hexadecimal(number: int) -> str:
    text = f"{abs(number):X}"
    return ("-" if number < 0 else "") + ("0" if len(text) % 2 else "") + text


def _unix(moment: datetime.datetime | None) -> float | None:
    return None if moment is None else float(moment.timestamp())


def _extensions(found: Iterable[x509.Extension[Any]]) -> Array:
    listed: list[Value] = []
    for one in found:
        name = getattr(one.oid, "_name", "Unknown OID")
        fields: dict[str, Value] = {
            "oid": one.oid.dotted_string,
            "name": one.oid.dotted_string if name == "Unknown OID" else name,
            "critical": one.critical,
            "value": as_text(one.value.public_bytes()),
        }
        listed.append(Array.mapping(fields))
    return Array.of(listed)


def _exported(function: str, this: HslObject, options: Array | None) -> str:
    pem = read_options(function, options, _PEM_OPTION)["pem"]
    return as_text(_host(this).public_bytes(crypto.Encoding.PEM if pem else crypto.Encoding.DER))


# ---- X509 -------------------------------------------------------------------------------------------


@TOPIC.builtin(
    "X509(x509resource: X509Resource) -> X509",
    effect=Effect.PURE,
    kind="class",
    examples=['X509(X509::String($pem)->toResource())->serial_number()  // "0ABC"'],
)
def x509_class(x509resource: Resource) -> HslObject:
    """Make a certificate object of a resource, as the facts of a TLS client and data imports give them."""
    return HslObject(X509, None, x509resource.host)


@TOPIC.builtin(
    "String(data: string, [options: array]) -> X509 | array | none",
    effect=Effect.PURE,
    kind="static method",
    owner=X509,
    examples=['X509::String("nonsense")  // none', 'X509::String("nonsense", ["pem" => true, "multiple" => true])  // none'],
)
def x509_string(data: str, options: Array | None = None) -> HslObject | Array | None:
    """Read a certificate in DER or, with `pem` or where the text says so, PEM; none when there is none.

    With `multiple` (false) an array of all certificates in the text.
    """
    given = read_options("X509::String", options, {"pem": False, "multiple": False})
    try:
        if given["pem"] and _PEM not in data:
            return None
        found = _certificates_of(data)
    except unreadable():
        return None
    if given["multiple"]:
        return Array.of([certificate_object(one) for one in found[:_MOST]])
    return certificate_object(found[0])


@TOPIC.builtin(
    "subject() -> array",
    effect=Effect.PURE,
    kind="method",
    owner=X509,
    examples=['X509::String($pem)->subject()  // [["CN", "mail.example.com"], ["emailAddress", "a@example.com"]]'],
)
def subject(this: HslObject) -> Array:
    """Give the subject as pairs of name and value: [["CN", "mail.example.com"], ...]."""
    return _names(_host(this).subject)


@TOPIC.builtin(
    "issuer() -> array",
    effect=Effect.PURE,
    kind="method",
    owner=X509,
    examples=['X509::String($pem)->issuer()  // [["O", "Example"], ["CN", "Example CA"]]'],
)
def issuer(this: HslObject) -> Array:
    """Give the issuer as pairs of name and value."""
    return _names(_host(this).issuer)


@TOPIC.builtin(
    "subject_alt_name() -> array",
    effect=Effect.PURE,
    kind="method",
    owner=X509,
    examples=['X509::String($pem)->subject_alt_name()["DNS"]  // ["mail.example.com"]'],
)
def subject_alt_name(this: HslObject) -> Array:
    """Give the alternative names, lists by kind ("DNS", "email", "URI", "IP"); [] when there are none."""
    try:
        names = _host(this).extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except unreadable(x509.ExtensionNotFound):
        return Array({}, 0)
    kinds: tuple[tuple[str, type], ...] = (
        ("DNS", x509.DNSName),
        ("email", x509.RFC822Name),
        ("URI", x509.UniformResourceIdentifier),
        ("IP", x509.IPAddress),
    )
    found: dict[str, Value] = {}
    for kind, wanted in kinds:
        values = [to_utf8(str(one)) for one in names.get_values_for_type(wanted)]
        if values:
            found[kind] = Array.of(values)
    return Array.mapping(found)


@TOPIC.builtin(
    "version() -> number",
    effect=Effect.PURE,
    kind="method",
    owner=X509,
    examples=["X509::String($pem)->version()  // 3"],
)
def version(this: HslObject) -> float:
    """Give the version of the format, 1 to 3."""
    return float(_host(this).version.value + 1)


@TOPIC.builtin(
    "serial_number() -> string",
    effect=Effect.PURE,
    kind="method",
    owner=X509,
    examples=['X509::String($pem)->serial_number()  // "0ABC"'],
)
def serial_number(this: HslObject) -> str:
    """Give the serial number in upper-case hex."""
    return _hexadecimal(_host(this).serial_number)


@TOPIC.builtin(
    "not_valid_before() -> number",
    effect=Effect.PURE,
    kind="method",
    owner=X509,
    examples=["X509::String($pem)->not_valid_before() <= time()  // true"],
)
def not_valid_before(this: HslObject) -> float | None:
    """Give the start of its validity, in Unix seconds."""
    return _unix(_host(this).not_valid_before_utc)


@TOPIC.builtin(
    "not_valid_after() -> number",
    effect=Effect.PURE,
    kind="method",
    owner=X509,
    examples=["X509::String($pem)->not_valid_after() - time() > 7 * 86400  // true"],
)
def not_valid_after(this: HslObject) -> float | None:
    """Give the end of its validity, in Unix seconds."""
    return _unix(_host(this).not_valid_after_utc)


@TOPIC.builtin(
    "public_key([options: array]) -> string",
    effect=Effect.PURE,
    kind="method",
    owner=X509,
    examples=['length(sha2(X509::String($pem)->public_key(), 256, ["binary" => true]))  // 32'],
)
def public_key(this: HslObject, options: Array | None = None) -> str | None:
    """Give the public key (SubjectPublicKeyInfo) as DER, with `pem` as PEM; none for a kind not known here."""
    pem = read_options("public_key", options, _PEM_OPTION)["pem"]
    try:
        key = _host(this).public_key()
    except unreadable():
        return None
    return as_text(
        key.public_bytes(crypto.Encoding.PEM if pem else crypto.Encoding.DER, crypto.PublicFormat.SubjectPublicKeyInfo)
    )


@TOPIC.builtin(
    "export([options: array]) -> string",
    effect=Effect.PURE,
    kind="method",
    owner=X509,
    examples=["length(sha2(X509::String($pem)->export(), 256))  // 64"],
)
def export(this: HslObject, options: Array | None = None) -> str:
    """Give the certificate as DER, with `pem` as PEM."""
    return _exported("export", this, options)


@TOPIC.builtin(
    "extensions([options: array]) -> array",
    effect=Effect.PURE,
    kind="method",
    owner=X509,
    examples=['X509::String($pem)->extensions()[0]["name"]  // "basicConstraints"'],
)
def extensions(this: HslObject, options: Array | None = None) -> Array:
    """Give all extensions: arrays of "oid", "name" (the oid again where it has none), "critical", and "value" in DER."""
    read_options("extensions", options, {})
    try:
        return _extensions(_host(this).extensions)
    except unreadable():
        return Array({}, 0)


@TOPIC.builtin(
    "toResource() -> X509Resource",
    effect=Effect.PURE,
    kind="method",
    owner=X509,
    examples=['cms_encrypt("text", ["certs" => [X509::String($rsapem)->toResource()]])["error"]  // none'],
)
def to_resource(this: HslObject) -> Resource:
    """Give the certificate as a resource, as cms_sign() and others take it."""
    return Resource(X509_RESOURCE, this.host)


@TOPIC.builtin(
    "verify(calist: array, [intermediates: array, [revokelist: array]]) -> array",
    effect=Effect.READS,
    kind="method",
    owner=X509,
    examples=[
        'X509::String($pem)->verify([$ca])["result"]  // true',
        'X509::String($pem)->verify([$ca], [], [$crl])["result"]  // false',
    ],
)
def verify(
    call: Run, this: HslObject, calist: Array, intermediates: Array | None = None, revokelist: Array | None = None
) -> Array:
    """Verify the chain up to a certificate of `calist` at this time: ["result" => true], or false and "error".

    The lists hold X509 objects, X509 resources or PEM texts, `revokelist` X509CRL ones. The purpose of the certificate
    is not looked at. Weak keys and digests (SHA-1, RSA below 2,048 bits) are refused.
    """
    trusted = read_certificates("verify", "calist", calist)
    others = read_certificates("verify", "intermediates", intermediates) if intermediates is not None else []
    revoked = _read_lists(revokelist)
    error = call.offload(chain_error, _host(this), trusted, others, revoked, call.clock.time())
    return verdict(error)


def verdict(error: str | None) -> Array:
    """Give ["result" => true], or false and "error"."""
    return Array.mapping({"result": True} if error is None else {"result": False, "error": error})


def chain_error(
    certificate: x509.Certificate,
    trusted: Sequence[x509.Certificate],
    others: Sequence[x509.Certificate],
    revoked: Sequence[x509.CertificateRevocationList],
    now_s: float,
) -> str | None:
    """Say why there is no chain from `certificate` over `others` to one that is trusted; None when there is one."""
    if not trusted:
        return "no certificate is trusted"
    now = datetime.datetime.fromtimestamp(now_s, datetime.UTC)
    any_extensions = crypto.ExtensionPolicy.permit_all()
    try:
        builder = crypto.PolicyBuilder().store(crypto.Store(list(trusted))).time(now)
        verifier = builder.extension_policies(
            ca_policy=crypto.ExtensionPolicy.webpki_defaults_ca(), ee_policy=any_extensions
        ).build_client_verifier()
        chain = verifier.verify(certificate, list(others)).chain
    except crypto.VerificationError as error:
        return str(error) or "the chain cannot be verified"
    except unreadable() as error:
        return f"a certificate cannot be read: {error}"
    for one, above in zip(chain, [*chain[1:], chain[-1]], strict=True):
        for crl in revoked:
            if crl.issuer == one.issuer and crl.get_revoked_certificate_by_serial_number(one.serial_number) is not None:
                try:
                    if crl.is_signature_valid(above.public_key()):  # type: ignore[arg-type]
                        return f"the certificate {_hexadecimal(one.serial_number)} is revoked"
                except unreadable(crypto.InvalidSignature):
                    continue
    return None


# ---- X509CRL ----------------------------------------------------------------------------------------


def _lists_of(text: str) -> x509.CertificateRevocationList:
    return x509.load_pem_x509_crl(as_bytes(text)) if _PEM in text else x509.load_der_x509_crl(as_bytes(text))


def _read_lists(value: Array | None) -> list[x509.CertificateRevocationList]:
    found: list[x509.CertificateRevocationList] = []
    for item in value.items.values() if value is not None else ():
        host = getattr(item, "host", None)
        if isinstance(host, x509.CertificateRevocationList):
            found.append(host)
            continue
        try:
            found.append(_lists_of(item if item.__class__ is str else ""))
        except unreadable():
            raise ScriptError("R302", f"verify() wants revocation lists in `revokelist`, got {type_name(item)}") from None
    return found


@TOPIC.builtin(
    "X509CRL(x509CRLresource: X509CRLResource) -> X509CRL",
    effect=Effect.PURE,
    kind="class",
    examples=["X509CRL(X509CRL::String($crl)->toResource())->version()  // 2"],
)
def crl_class(x509CRLresource: Resource) -> HslObject:
    """Make a revocation list of a resource."""
    return HslObject(CRL, None, x509CRLresource.host)


@TOPIC.builtin(
    "String(data: string, [options: array]) -> X509CRL | none",
    effect=Effect.PURE,
    kind="static method",
    owner=CRL,
    examples=['X509CRL::String("nonsense")  // none'],
)
def crl_string(data: str, options: Array | None = None) -> HslObject | None:
    """Read a revocation list in DER or, with `pem` or where the text says so, PEM; none when there is none."""
    given = read_options("X509CRL::String", options, _PEM_OPTION)
    if given["pem"] and _PEM not in data:
        return None
    try:
        return HslObject(CRL, None, _lists_of(data))
    except unreadable():
        return None


@TOPIC.builtin(
    "issuer() -> array",
    effect=Effect.PURE,
    kind="method",
    owner=CRL,
    examples=['X509CRL::String($crl)->issuer()[1]  // ["CN", "Example CA"]'],
)
def crl_issuer(this: HslObject) -> Array:
    """Give the issuer as pairs of name and value."""
    return _names(_host(this).issuer)


@TOPIC.builtin(
    "revoked() -> array",
    effect=Effect.PURE,
    kind="method",
    owner=CRL,
    examples=['X509CRL::String($crl)->revoked()[0]["reason"]  // "keyCompromise"'],
)
def crl_revoked(call: Run, this: HslObject) -> Array:
    """Give what is revoked: arrays of "serial_number" (upper-case hex), "revocation_date" and, where given, "reason"."""
    found: list[Value] = []
    for one in _host(this):
        call.charge(5)
        if len(found) % 64 == 0:
            call.reserve(64 * 500)
        fields: dict[str, Value] = {
            "serial_number": _hexadecimal(one.serial_number),
            "revocation_date": _unix(one.revocation_date_utc),
        }
        try:
            fields["reason"] = one.extensions.get_extension_for_class(x509.CRLReason).value.reason.value
        except unreadable(x509.ExtensionNotFound):
            pass
        found.append(Array.mapping(fields))
    return Array.of(found)


@TOPIC.builtin(
    "version() -> number",
    effect=Effect.PURE,
    kind="method",
    owner=CRL,
    examples=["X509CRL::String($crl)->version()  // 2"],
)
def crl_version(this: HslObject) -> float:
    """Give the version of the format, 1 or 2."""
    data: bytes = _host(this).tbs_certlist_bytes
    start = 2 if data[1] < 0x80 else 2 + (data[1] & 0x7F)  # past the head of the sequence
    return float(data[start + 2] + 1) if data[start] == 0x02 else 1.0  # RFC 5280 section 5.1.2.1: absent in version 1


@TOPIC.builtin(
    "last_update() -> number",
    effect=Effect.PURE,
    kind="method",
    owner=CRL,
    examples=["X509CRL::String($crl)->last_update()  // 1577836800"],
)
def crl_last_update(this: HslObject) -> float | None:
    """Give when it was made, in Unix seconds."""
    return _unix(_host(this).last_update_utc)


@TOPIC.builtin(
    "next_update() -> number | none",
    effect=Effect.PURE,
    kind="method",
    owner=CRL,
    examples=["X509CRL::String($crl)->next_update() > time()  // true"],
)
def crl_next_update(this: HslObject) -> float | None:
    """Give when the next one is due, in Unix seconds; none when it doesn't say."""
    return _unix(_host(this).next_update_utc)


@TOPIC.builtin(
    "export([options: array]) -> string",
    effect=Effect.PURE,
    kind="method",
    owner=CRL,
    examples=['X509CRL::String($crl)->export(["pem" => true]) == $crl  // true'],
)
def crl_export(this: HslObject, options: Array | None = None) -> str:
    """Give the list as DER, with `pem` as PEM."""
    return _exported("export", this, options)


@TOPIC.builtin(
    "extensions([options: array]) -> array",
    effect=Effect.PURE,
    kind="method",
    owner=CRL,
    examples=["X509CRL::String($crl)->extensions()  // []"],
)
def crl_extensions(this: HslObject, options: Array | None = None) -> Array:
    """Give all extensions, as X509->extensions() does."""
    return extensions(this, options)


@TOPIC.builtin(
    "toResource() -> X509CRLResource",
    effect=Effect.PURE,
    kind="method",
    owner=CRL,
    examples=["is_object(X509CRL(X509CRL::String($crl)->toResource()))  // true"],
)
def crl_to_resource(this: HslObject) -> Resource:
    """Give the list as a resource."""
    return Resource(CRL_RESOURCE, this.host)

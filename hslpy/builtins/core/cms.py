"""S/MIME's cryptography: CMS and PKCS #7 messages signed, verified, encrypted and decrypted. In and out: bytes (DER).

Certificates and keys come as `certificates` and `keys` have them. The MIME around them is the script's to build.
"""

from __future__ import annotations

import re
from typing import Any

from hslpy.builtins.core.arguments import as_bytes, as_text, read_options
from hslpy.builtins.core.certificates import X509_RESOURCE, chain_error, read_certificates
from hslpy.builtins.core.keys import hash_named, private_key, text_by_id
from hslpy.builtins.core.signed_data import SignatureWrong, Verified, verify_signed_data
from hslpy.errors import ScriptError
from hslpy.lang.declare import Effect, Topic
from hslpy.lang.run import Run
from hslpy.lang.values import Array, Resource, Value, type_name
from hslpy.late import crypto, x509
from hslpy.records import dataclass

TOPIC = Topic("S/MIME")

_SIGN_OPTIONS = {"id": False, "detached": True}
_DIGESTS = ("sha256", "sha384", "sha512")
# Content types by the DER of their object identifiers. Source: RFC 5652 section 14; the names are OpenSSL's.
_TYPES = {
    bytes.fromhex(f"06092a864886f70d01070{number}"): name
    for number, name in enumerate(
        ("pkcs7-data", "pkcs7-signedData", "pkcs7-envelopedData", "pkcs7-signedAndEnvelopedData", "pkcs7-digestData"), 1
    )
}
_CIPHERS = ("aes128", "aes256")
_PEM_KEY = re.compile(r"-----BEGIN ((?:RSA |EC )?PRIVATE KEY)-----.*?-----END \1-----", re.DOTALL)


@dataclass(frozen=True, slots=True)
class _Identity:
    """A certificate with its private key, and the certificates above it."""

    certificate: x509.Certificate
    key: Any
    chain: tuple[x509.Certificate, ...]


def _read_identity(call: Run, function: str, value: Value, is_id: bool) -> _Identity | None:
    """Give the identity of ["x509", "privatekey", "chain"?], of a PEM text or, `is_id`, of a [[pki]] table.

    None when a part lacks or doesn't fit.
    """
    if is_id and value.__class__ is str:
        value = text_by_id(call, value, certificate=True)
    if value.__class__ is str:
        found = _PEM_KEY.search(value)
        whole = found is not None and "CERTIFICATE-----" in value
        certificates = read_certificates(function, "certificate", value) if whole else []
        key = private_key(found[0]) if found else None
    else:
        known = {"x509": None, "privatekey": None, "chain": Array({}, 0)}
        given = read_options(f"{function}(certificate)", value, known)
        if given["x509"] is None or given["privatekey"] is None:
            raise ScriptError("R302", f'{function}() wants "x509" and "privatekey" in its certificate')
        certificates = read_certificates(function, "x509", given["x509"])
        certificates += read_certificates(function, "chain", given["chain"])
        holder = given["privatekey"]
        if holder.__class__ is str:
            key = private_key(holder)
        elif holder.__class__ is Resource:
            key = holder.host
        else:
            raise ScriptError("R302", f'{function}() wants a private key as "privatekey", got {type_name(holder)}')
    if key is None or not certificates:
        return None
    return _Identity(certificates[0], key, tuple(certificates[1:]))


def _sign(call: Run, function: str, message: str, certificate: Value, given: dict[str, Any]) -> str | None:
    name = given.get("digest", "sha256")
    if name not in _DIGESTS:
        raise ScriptError("R302", f'{function}() wants `digest` as {" or ".join(_DIGESTS)}, got "{name[:20]}"')
    digest: Any = hash_named(name)
    identity = _read_identity(call, function, certificate, given["id"])
    if identity is None or not isinstance(identity.key, (crypto.RSAPrivateKey, crypto.EllipticCurvePrivateKey)):
        return None
    call.reserve(4 * len(message))

    def work() -> bytes | None:
        builder = crypto.PKCS7SignatureBuilder().set_data(as_bytes(message))
        try:
            builder = builder.add_signer(identity.certificate, identity.key, digest)
            for one in identity.chain:
                builder = builder.add_certificate(one)
            chosen = [crypto.PKCS7Options.DetachedSignature] if given["detached"] else []
            return builder.sign(crypto.Encoding.DER, chosen)
        except (ValueError, TypeError, crypto.UnsupportedAlgorithm):
            return None

    signature = call.offload(work)
    return None if signature is None else as_text(signature)


@TOPIC.builtin(
    "pkcs7_sign(message: string, certificate: array | string, [options: array]) -> string | none",
    effect=Effect.READS,
    examples=['cms_verify(pkcs7_sign("text", $pem . $key), "text", ["store" => [$ca]])["result"]  // true'],
    deprecated="use cms_sign()",
)
def pkcs7_sign(call: Run, message: str, certificate: Value, options: Array | None = None) -> str | None:
    """Sign a message as cms_sign() does. With option `id` the certificate is that of a [[pki]] table."""
    return _sign(call, "pkcs7_sign", message, certificate, read_options("pkcs7_sign", options, _SIGN_OPTIONS))


@TOPIC.builtin(
    "cms_sign(message: string, certificate: array | string, [options: array]) -> array | string | none",
    effect=Effect.READS,
    examples=[
        'cms_sign("text", $pem . $key, ["digest" => "sha256"])["result"]  // true',
        'cms_verify(cms_sign("text", $pem . $key), "text", ["store" => [$ca]])["result"]  // true',
        'cms_sign("text", ["x509" => $pem, "privatekey" => rsa_privatekey($rsakey), "chain" => [$ca]]) != none  // true',
    ],
)
def cms_sign(call: Run, message: str, certificate: Value, options: Array | None = None) -> Array | str | None:
    """Sign a message for S/MIME (CMS) and give the signature in DER; none where the key doesn't serve.

    `certificate` is ["x509", "privatekey", "chain"?], or a PEM text with the certificate, those above it and the key,
    which is RSA or of an elliptic curve. Lines are signed as ending in CRLF. With "detached" => false (true) the
    signature holds the message. With `id` the certificate is that of a [[pki]] table. With option `digest` ("sha256",
    "sha384" or "sha512") or `id`, the form of release 6.11:
    ["result" => true, "data" => the signature], or ["result" => false].
    """
    given = read_options("cms_sign", options, {**_SIGN_OPTIONS, "digest": "sha256"})
    signature = _sign(call, "cms_sign", message, certificate, given)
    if options is None or not {"digest", "id"} & options.items.keys():
        return signature
    return Array.mapping({"result": False} if signature is None else {"result": True, "data": signature})


@TOPIC.builtin(
    "cms_type(message: string) -> string | none",
    effect=Effect.PURE,
    examples=[
        'cms_type(cms_sign("text", $pem . $key))  // "pkcs7-signedData"',
        'cms_type("nonsense")  // none',
    ],
)
def cms_type(message: str) -> str | None:
    """Give the content type of a CMS message in DER: "pkcs7-data", "pkcs7-signedData", "pkcs7-envelopedData" and so on.

    None where it is no CMS message, or of a kind that S/MIME does not use.
    """
    return _type_of(as_bytes(message[:64]))


def _type_of(message: bytes) -> str | None:
    """Read the type at the head of a ContentInfo: a sequence, its length, an object identifier."""
    if message[:1] != b"\x30" or len(message) < 2:
        return None
    length_bytes = message[1] & 0x7F if message[1] & 0x80 else 0
    return _TYPES.get(message[2 + length_bytes : 13 + length_bytes])


def _error(text: str) -> Array:
    return Array.mapping({"result": False, "error": text})


def _verify(signature: bytes, message: bytes | None, own: list[x509.Certificate]) -> Verified:
    """Verify over the message as it is, else with lines that end in CRLF, as S/MIME has them. Raises SignatureWrong."""
    try:
        return verify_signed_data(signature, message, own)
    except SignatureWrong:
        lines = None if message is None else message.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")
        if lines == message:
            raise
        return verify_signed_data(signature, lines, own)


@TOPIC.builtin(
    "cms_verify(signature: string, message: string | none, certificates: array, [options: array]) -> array",
    effect=Effect.READS,
    examples=[
        'cms_verify(cms_sign("text", $pem . $key, ["detached" => false]), none, ["store" => [$ca]],'
        ' ["detached" => false, "data" => true])["data"]  // "text"',
        'cms_verify("nonsense", "text", ["store" => [$ca]])["error"]  // "the signature cannot be read"',
    ],
)
def cms_verify(call: Run, signature: str, message: str | None, certificates: Array, options: Array | None = None) -> Array:
    """Verify a CMS signature in DER: ["result" => true, "data", "signers"], or ["result" => false, "error"].

    `message` is what a detached signature is of, none when the signature holds it. `certificates` has "store", whom to
    trust (the signers' chains must end there), or "certs", the signers' own certificates, or both. The signers are
    resources for X509(). What the certificates are meant for, and whether the sender is the signer, is the script's to
    look at. Options: `detached` (whether `message` counts; by default where it is no none), `data` (give the signed
    message as well, which is otherwise given where the signature holds it).
    """
    wanted = read_options("cms_verify", options, {"detached": message is not None, "data": False})
    if not wanted["detached"]:
        message = None
    given = read_options("cms_verify(certificates)", certificates, {"certs": Array({}, 0), "store": Array({}, 0)})
    own = read_certificates("cms_verify", "certs", given["certs"])
    store = read_certificates("cms_verify", "store", given["store"])
    if not own and not store:
        raise ScriptError("R302", 'cms_verify() wants "store" or "certs" in its certificates')
    call.reserve(4 * len(signature))
    now_s = call.clock.time()

    def work() -> Array:
        try:
            found = _verify(as_bytes(signature), None if message is None else as_bytes(message), own)
        except SignatureWrong as error:
            return Array.mapping({"result": False, "error": str(error)})
        for signer in found.signers:
            if store:
                reason = chain_error(signer, store, [*own, *found.certificates], (), now_s)
            else:
                reason = None if signer in own else "the signer is not among the certificates given"
            if reason is not None:
                return Array.mapping({"result": False, "error": reason})
        fields: dict[str, Value] = {"result": True}
        content = message if found.content is None else as_text(found.content)
        if content is not None and (wanted["data"] or found.content is not None):
            fields["data"] = content
        fields["signers"] = Array.of([Resource(X509_RESOURCE, one) for one in found.signers])
        return Array.mapping(fields)

    result: Array = call.offload(work)
    return result


@TOPIC.builtin(
    "cms_encrypt(message: string, certificates: array, [options: array]) -> array",
    effect=Effect.READS,
    examples=[
        'is_string(cms_encrypt("text", ["certs" => [$rsapem]])["data"])  // true',
        'cms_encrypt("text", ["certs" => [$pem]])["error"]  // "only certificates with RSA keys can be encrypted to"',
    ],
)
def cms_encrypt(call: Run, message: str, certificates: Array, options: Array | None = None) -> Array:
    """Encrypt a message for S/MIME to the owners of `certificates`["certs"], RSA keys only.

    Gives ["result" => true, "data" => DER], or ["result" => false, "error"]. Option `cipher`: "aes256", or "aes128".
    """
    given = read_options("cms_encrypt", options, {"cipher": "aes256"})
    if given["cipher"] not in _CIPHERS:
        raise ScriptError("R302", f'cms_encrypt() wants `cipher` as {" or ".join(_CIPHERS)}, got "{given["cipher"][:20]}"')
    cipher = crypto.AES128 if given["cipher"] == "aes128" else crypto.AES256
    named = read_options("cms_encrypt(certificates)", certificates, {"certs": Array({}, 0)})
    recipients = read_certificates("cms_encrypt", "certs", named["certs"])
    if not recipients:
        raise ScriptError("R302", 'cms_encrypt() wants "certs" in its certificates')
    call.reserve(4 * len(message))

    def work() -> Array:
        try:
            if not all(isinstance(one.public_key(), crypto.RSAPublicKey) for one in recipients):
                return _error("only certificates with RSA keys can be encrypted to")
            builder = crypto.PKCS7EnvelopeBuilder().set_data(as_bytes(message)).set_content_encryption_algorithm(cipher)
            for one in recipients:
                builder = builder.add_recipient(one)
            return Array.mapping(
                {"result": True, "data": as_text(builder.encrypt(crypto.Encoding.DER, [crypto.PKCS7Options.Binary]))}
            )
        except (ValueError, TypeError, crypto.UnsupportedAlgorithm):
            return _error("the message cannot be encrypted")

    result: Array = call.offload(work)
    return result


@TOPIC.builtin(
    "cms_decrypt(message: string, [certificate: array | string, [options: array]]) -> array",
    effect=Effect.READS,
    examples=[
        'cms_decrypt(cms_encrypt("text", ["certs" => [$rsapem]])["data"], $rsapem . $rsakey)["data"]  // "text"',
        'cms_decrypt(cms_encrypt("text", ["certs" => [$rsapem]])["data"], ["certificate" => $rsapem . $rsakey])["data"]'
        '  // "text"',
    ],
)
def cms_decrypt(call: Run, message: str, certificate: Value = None, options: Array | None = None) -> Array:
    """Decrypt a CMS message in DER: ["result" => true, "data", "cms"], or ["result" => false, "error"].

    `certificate` is ["x509", "privatekey"], or a PEM text with a certificate and its RSA key; it can also be an option of
    that name in second place. "cms" says what the data is: "signed" for a signed message, which cms_verify() reads, else
    "data".
    """
    if options is None and certificate.__class__ is Array and not {"x509", "privatekey"} & certificate.items.keys():
        certificate, options = None, certificate
    given = read_options("cms_decrypt", options, {"certificate": certificate, "id": False})
    if given["certificate"] is None:
        raise ScriptError("R302", "cms_decrypt() wants a certificate with its key")
    identity = _read_identity(call, "cms_decrypt", given["certificate"], given["id"])
    if identity is None or not isinstance(identity.key, crypto.RSAPrivateKey):
        return _error("the certificate has no RSA key")
    call.reserve(4 * len(message))

    def work() -> Array:
        try:
            plain = crypto.pkcs7_decrypt_der(as_bytes(message), identity.certificate, identity.key, [])
        except (ValueError, TypeError, crypto.UnsupportedAlgorithm):
            return _error("the message cannot be decrypted")
        inner = "signed" if _type_of(plain) == "pkcs7-signedData" else "data"
        return Array.mapping({"result": True, "data": as_text(plain), "cms": inner})

    result: Array = call.offload(work)
    return result

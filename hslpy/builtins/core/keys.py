"""Private keys and signatures: RSA, EC, Ed25519. In: PEM or DER texts, messages. Out: key resources, signatures, or none.

A key resource is a `Resource` of kind RSAPrivateKey, ECPrivateKey or ED25519PrivateKey with cryptography's key in it.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from hslpy.builtins.core.arguments import as_bytes, as_text, read_options, stretches
from hslpy.errors import ScriptError
from hslpy.lang.declare import Effect, Topic
from hslpy.lang.run import Run
from hslpy.lang.values import Array, Resource, Value
from hslpy.late import crypto, hashes

TOPIC = Topic("keys and signatures")

RSA, EC, ED25519 = "RSAPrivateKey", "ECPrivateKey", "ED25519PrivateKey"

_KEPT = 256  # parsed keys, by their text
_AT_ONCE_BITS = 2048  # an RSA signature of this size takes 0.3 ms, one of twice the size ten times that
_AT_ONCE_BYTES = 65_536
_HASHES = ("md5", "sha1", "sha256", "sha512")
_SIGN_OPTIONS = {"hash": "sha256", "format": "RSAPrivateKey", "pem": False, "id": False}
_VERIFY_OPTIONS = {"hash": "sha256", "format": "RSAPublicKey", "pem": False, "id": False}
_FORMATS = {"rsa_sign": ("RSAPrivateKey", "PrivateKeyInfo"), "rsa_verify": ("RSAPublicKey", "SubjectPublicKeyInfo")}

# RSA keys are not proven to be primes on loading: that takes 70 ms for 2,048 bits, and OpenSSL checks each signature.


@lru_cache(_KEPT)
def private_key(text: str, pem: bool = True) -> Any:
    """Give cryptography's private key of a PEM or DER text, None when it is none or encrypted."""
    load: Any = crypto.load_pem_private_key if pem else crypto.load_der_private_key
    try:
        return load(as_bytes(text), None, unsafe_skip_rsa_key_validation=True)
    except (ValueError, TypeError, crypto.UnsupportedAlgorithm):
        return None


@lru_cache(_KEPT)
def _public_key(text: str, pem: bool) -> Any:
    load: Any = crypto.load_pem_public_key if pem else crypto.load_der_public_key
    try:
        return load(as_bytes(text))
    except (ValueError, crypto.UnsupportedAlgorithm):
        return None


def _resource(kind: str, wanted: type, text: str) -> Resource | None:
    key = private_key(text)
    return Resource(kind, key) if isinstance(key, wanted) else None


def _is(value: Value, kind: str) -> bool:
    return value.__class__ is Resource and value.kind == kind


def key_by_id(call: Run, name: str) -> Any:
    """Give the private key of the settings with that id. Raises ScriptError when there is none."""
    return private_key(text_by_id(call, name))


def text_by_id(call: Run, name: str, certificate: bool = False) -> str:
    """Give a private key of the settings as PEM, with its certificate if asked. Raises ScriptError when there is none."""
    read = getattr(call.host, "key_text", None)
    try:
        text: str | None = call.offload(read, name, certificate) if read is not None else None
    except OSError as error:
        raise ScriptError("R302", f'the key "{name[:60]}" cannot be read: {error.strerror}') from None
    if text is None:
        shown = name[:60]
        hint = f'add a [[pki]] table with the `id` "{shown.removeprefix("pki:")}" to the settings'
        raise ScriptError("R302", f'there is no key "{shown}"', hint=hint)
    return text


@TOPIC.builtin(
    "rsa_privatekey(privatekey: string) -> RSAPrivateKey | none",
    effect=Effect.PURE,
    examples=["is_rsa_privatekey(rsa_privatekey($rsakey))  // true", "rsa_privatekey($key)  // none"],
)
def rsa_privatekey(privatekey: str) -> Resource | None:
    """Give the RSA key of a PEM text that isn't encrypted; none when there is none in it."""
    return _resource(RSA, crypto.RSAPrivateKey, privatekey)


@TOPIC.builtin(
    "is_rsa_privatekey(privatekey: any) -> boolean",
    effect=Effect.PURE,
    examples=['is_rsa_privatekey("-----BEGIN PRIVATE KEY-----")  // false'],
)
def is_rsa_privatekey(privatekey: Value) -> bool:
    """Say whether the value is what rsa_privatekey() gives."""
    return _is(privatekey, RSA)


@TOPIC.builtin(
    "ec_privatekey(privatekey: string) -> ECPrivateKey | none",
    effect=Effect.PURE,
    examples=["is_ec_privatekey(ec_privatekey($key))  // true", "ec_privatekey($rsakey)  // none"],
)
def ec_privatekey(privatekey: str) -> Resource | None:
    """Give the elliptic curve key of a PEM text that isn't encrypted; none when there is none in it."""
    return _resource(EC, crypto.EllipticCurvePrivateKey, privatekey)


@TOPIC.builtin(
    "is_ec_privatekey(privatekey: any) -> boolean",
    effect=Effect.PURE,
    examples=["is_ec_privatekey(none)  // false"],
)
def is_ec_privatekey(privatekey: Value) -> bool:
    """Say whether the value is what ec_privatekey() gives."""
    return _is(privatekey, EC)


@TOPIC.builtin(
    "ed25519_privatekey(privatekey: string) -> ED25519PrivateKey | none",
    effect=Effect.PURE,
    examples=["ed25519_privatekey($rsakey)  // none"],
)
def ed25519_privatekey(privatekey: str) -> Resource | None:
    """Give the Ed25519 key of a PEM text that isn't encrypted; none when there is none in it."""
    return _resource(ED25519, crypto.Ed25519PrivateKey, privatekey)


@TOPIC.builtin(
    "is_ed25519_privatekey(privatekey: any) -> boolean",
    effect=Effect.PURE,
    examples=["is_ed25519_privatekey([])  // false"],
)
def is_ed25519_privatekey(privatekey: Value) -> bool:
    """Say whether the value is what ed25519_privatekey() gives."""
    return _is(privatekey, ED25519)


def hash_named(name: str) -> hashes.HashAlgorithm:
    """Give the hash of a name as `sha256`."""
    found: hashes.HashAlgorithm = getattr(hashes, name.upper())()
    return found


def _hash(function: str, name: str) -> hashes.HashAlgorithm:
    if name not in _HASHES:
        raise ScriptError("R302", f'{function}() wants `hash` as {", ".join(_HASHES)}, got "{name[:20]}"')
    return hash_named(name)


def _rsa_options(function: str, options: Array | None, known: dict[str, Any]) -> dict[str, Any]:
    given = read_options(function, options, known)
    formats = _FORMATS[function]
    if given["format"] not in formats:
        raise ScriptError("R302", f'{function}() wants `format` as {" or ".join(formats)}, got "{given["format"][:40]}"')
    return given


def digest_of(call: Run, message: str, algorithm: hashes.HashAlgorithm) -> bytes:
    """Give the digest of a message, a stretch at a time."""
    digest = hashes.Hash(algorithm)
    for part in stretches(call, message):
        digest.update(as_bytes(part))
    return digest.finalize()


def _rsa(call: Run, size_bits: int, work: Any, *args: Any) -> Any:
    """Do one RSA operation, in a thread when it takes long."""
    if size_bits > _AT_ONCE_BITS:
        return call.offload(work, *args)
    call.charge(300)
    return work(*args)


@TOPIC.builtin(
    "rsa_sign(message: string, privatekey: RSAPrivateKey | string, [options: array]) -> string | none",
    effect=Effect.READS,
    examples=[
        'length(rsa_sign("message", rsa_privatekey($rsakey)))  // 256',
        'rsa_sign("message", $rsakey, ["pem" => true]) == rsa_sign("message", rsa_privatekey($rsakey))  // true',
        'rsa_sign("message", "no key")  // none',
    ],
)
def rsa_sign(call: Run, message: str, privatekey: Resource | str, options: Array | None = None) -> str | None:
    """Sign a message's digest with RSA (PKCS #1 v1.5) and give the bytes; none when the key is none.

    Options: `hash` "sha256" (md5, sha1, sha512); for a key given as text `pem` (false: DER), and `format`
    "RSAPrivateKey" or "PrivateKeyInfo", whichever it really is. With `id` the text is that of a [[pki]] table.
    """
    given = _rsa_options("rsa_sign", options, _SIGN_OPTIONS)
    algorithm = _hash("rsa_sign", given["hash"])
    key: Any
    if not isinstance(privatekey, str):
        key = privatekey.host
    else:
        key = key_by_id(call, privatekey) if given["id"] else private_key(privatekey, given["pem"])
    if not isinstance(key, crypto.RSAPrivateKey):
        return None
    digest = digest_of(call, message, algorithm)
    try:
        return as_text(_rsa(call, key.key_size, key.sign, digest, crypto.PKCS1v15(), crypto.Prehashed(algorithm)))
    except (ValueError, crypto.UnsupportedAlgorithm):  # a key too short for the digest, or one that OpenSSL finds wrong
        return None


@TOPIC.builtin(
    "rsa_verify(message: string, signature: string, publickey: string, [options: array]) -> boolean | none",
    effect=Effect.READS,
    examples=[
        'rsa_verify("message", rsa_sign("message", rsa_privatekey($rsakey)), X509::String($rsapem)->public_key())  // true',
        'rsa_verify("message", "signature", "no key")  // none',
    ],
)
def rsa_verify(call: Run, message: str, signature: str, publickey: str, options: Array | None = None) -> bool | None:
    """Say whether an RSA signature (PKCS #1 v1.5, as bytes) is of this message; none when the key is none.

    Options: `hash` "sha256" (md5, sha1, sha512), `pem` (false: DER), and `format` "RSAPublicKey" or
    "SubjectPublicKeyInfo", whichever it really is. With `id` the text is that of a [[pki]] table.
    """
    given = _rsa_options("rsa_verify", options, _VERIFY_OPTIONS)
    algorithm = _hash("rsa_verify", given["hash"])
    if given["id"]:
        held = key_by_id(call, publickey)
        key = held.public_key() if isinstance(held, crypto.RSAPrivateKey) else None
    else:
        key = _public_key(publickey, given["pem"])
    if not isinstance(key, crypto.RSAPublicKey):
        return None
    digest = digest_of(call, message, algorithm)
    try:
        _rsa(call, key.key_size, key.verify, as_bytes(signature), digest, crypto.PKCS1v15(), crypto.Prehashed(algorithm))
    except (crypto.InvalidSignature, ValueError):
        return False
    except crypto.UnsupportedAlgorithm:
        return None
    return True


def _ed25519_private(privatekey: Resource | str) -> Any:
    if not isinstance(privatekey, str):
        return privatekey.host
    if len(privatekey) not in (32, 64):  # 64: with the public key after it, as libsodium has them
        return None
    return crypto.Ed25519PrivateKey.from_private_bytes(as_bytes(privatekey[:32]))


def _large(call: Run, message: str, work: Any, *args: Any) -> Any:
    """Do one Ed25519 operation, which must see the whole message at once, in a thread when that is long."""
    if len(message) > _AT_ONCE_BYTES:
        call.reserve(len(message))
        return call.offload(work, *args)
    call.charge(100 + (len(message) >> 9))
    return work(*args)


@TOPIC.builtin(
    "ed25519_sign(message: string, privatekey: ED25519PrivateKey | string) -> string | none",
    effect=Effect.PURE,
    examples=[
        'length(ed25519_sign("message", "0123456789abcdef0123456789abcdef"))  // 64',
        'ed25519_sign("message", "short")  // none',
    ],
)
def ed25519_sign(call: Run, message: str, privatekey: Resource | str) -> str | None:
    """Sign a message with Ed25519 (RFC 8032) and give 64 bytes; none when a key given as text has not 32 bytes."""
    key = _ed25519_private(privatekey)
    if not isinstance(key, crypto.Ed25519PrivateKey):
        return None
    return as_text(_large(call, message, key.sign, as_bytes(message)))


@TOPIC.builtin(
    "ed25519_verify(message: string, signature: string, publickey: string) -> boolean | none",
    effect=Effect.PURE,
    examples=['ed25519_verify("message", "signature", "short")  // none'],
)
def ed25519_verify(call: Run, message: str, signature: str, publickey: str) -> bool | None:
    """Say whether an Ed25519 signature is of this message; none when the public key has not 32 bytes."""
    if len(publickey) != 32:
        return None
    try:
        key = crypto.Ed25519PublicKey.from_public_bytes(as_bytes(publickey))
        _large(call, message, key.verify, as_bytes(signature), as_bytes(message))
    except crypto.InvalidSignature:
        return False
    except ValueError:
        return None
    return True

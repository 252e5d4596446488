"""CMS signatures verified: what was signed, by whom. In: BER or DER of SignedData. Out: `Verified`, or SignatureWrong.

cryptography makes such signatures but doesn't verify them, so their structure is read here. Must not know scripts.
Source: RFC 5652 section 5; X.690 section 8 for what of BER there is: definite and indefinite lengths, strings in parts.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from hslpy.late import crypto, hashes, x509
from hslpy.records import dataclass

# Identifiers as they stand in DER, without tag and length.
_SIGNED_DATA = bytes.fromhex("2a864886f70d010702")
_CONTENT_TYPE = bytes.fromhex("2a864886f70d010903")
_MESSAGE_DIGEST = bytes.fromhex("2a864886f70d010904")
_RSA_PSS = bytes.fromhex("2a864886f70d01010a")
_DIGESTS: dict[bytes, str] = {
    bytes.fromhex("2b0e03021a"): "SHA1",
    bytes.fromhex("608648016503040204"): "SHA224",
    bytes.fromhex("608648016503040201"): "SHA256",
    bytes.fromhex("608648016503040202"): "SHA384",
    bytes.fromhex("608648016503040203"): "SHA512",
}
_INTEGER, _OCTETS, _OBJECT, _SEQUENCE, _SET = 0x02, 0x04, 0x06, 0x30, 0x31
_CONSTRUCTED, _FIRST = 0x20, 0xA0  # a flag of strings in parts; the tag [0]
_KEY_IDENTIFIER = 0x80
_MOST_SIGNERS = 20
_DEEPEST = 20


class SignatureWrong(Exception):
    """The signature doesn't hold, or is none. The text says why."""


@dataclass(frozen=True, slots=True)
class Verified:
    """What a good signature says: the content where it is within, who signed, and all certificates within."""

    content: bytes | None
    signers: tuple[x509.Certificate, ...]
    certificates: tuple[x509.Certificate, ...]


class _Item(NamedTuple):
    """One encoded value: its tag, what is within, and all of it."""

    tag: int
    content: bytes
    whole: bytes


def _items(data: bytes, depth: int = 0) -> list[_Item]:
    """Give the values that follow each other in `data`. Raises ValueError."""
    found: list[_Item] = []
    position = 0
    while position < len(data):
        item = _item(data, position, depth)
        found.append(item)
        position += len(item.whole)
    return found


def _item(data: bytes, start: int, depth: int) -> _Item:
    if depth > _DEEPEST or len(data) < start + 2 or data[start] & 0x1F == 0x1F:
        raise ValueError("malformed")
    tag, size, position = data[start], data[start + 1], start + 2
    if size == 0x80:  # indefinite: up to two zero bytes
        begin = position
        while data[position : position + 2] != b"\0\0":
            position += len(_item(data, position, depth + 1).whole)
        return _Item(tag, data[begin:position], data[start : position + 2])
    if size > 0x80:
        count = size & 0x7F
        size = int.from_bytes(data[position : position + count], "big")
        position += count
    if position + size > len(data):
        raise ValueError("cut off")
    return _Item(tag, data[position : position + size], data[start : position + size])


def _only(data: bytes, tag: int) -> _Item:
    """Give the one value in `data`, of that tag."""
    (item,) = _items(data)
    return _with(item, tag)


def _with(item: _Item, tag: int) -> _Item:
    if item.tag != tag:
        raise ValueError("not what is to be there")
    return item


def _octets(item: _Item, depth: int = 0) -> bytes:
    """Give the bytes of an octet string, which may come in parts."""
    if item.tag == _OCTETS | _CONSTRUCTED and depth < _DEEPEST:
        return b"".join([_octets(part, depth + 1) for part in _items(item.content)])
    return _with(item, _OCTETS).content


def verify_signed_data(data: bytes, message: bytes | None, known: Sequence[x509.Certificate]) -> Verified:
    """Check each signature over `message`, or over the content within where that is None.

    Signers' certificates are looked for in `known` and within. Says nothing about who is to be trusted.
    Raises SignatureWrong.
    """
    try:
        return _verified(data, message, known)
    except (ValueError, TypeError, IndexError, crypto.UnsupportedAlgorithm):
        raise SignatureWrong("the signature cannot be read") from None


def _verified(data: bytes, message: bytes | None, known: Sequence[x509.Certificate]) -> Verified:
    kind, explicit = _items(_only(data, _SEQUENCE).content)
    if _with(kind, _OBJECT).content != _SIGNED_DATA:
        raise SignatureWrong("it is no signature")
    _, _, inner, *rest = _items(_only(_with(explicit, _FIRST).content, _SEQUENCE).content)
    content_type, *within = _items(_with(inner, _SEQUENCE).content)
    content = _octets(_items(_with(within[0], _FIRST).content)[0]) if within else None
    what = message if message is not None else content
    if what is None:
        raise SignatureWrong("the signature is detached, and there is no message")
    if message is not None and content is not None and message != content:
        raise SignatureWrong("the message is not the one that was signed")
    certificates = tuple(
        x509.load_der_x509_certificate(one.whole)
        for part in rest[:-1]
        if part.tag == _FIRST
        for one in _items(part.content)
        if one.tag == _SEQUENCE
    )
    infos = _items(_with(rest[-1], _SET).content)
    if not 0 < len(infos) <= _MOST_SIGNERS:
        raise SignatureWrong("nobody signed it" if not infos else f"more than {_MOST_SIGNERS} signed it")
    candidates = [*known, *certificates]
    signers = tuple(_signer(_with(one, _SEQUENCE), what, content_type, candidates) for one in infos)
    return Verified(content, signers, certificates)


def _signer(info: _Item, message: bytes, content_type: _Item, certificates: Sequence[x509.Certificate]) -> x509.Certificate:
    """Give the certificate whose key made the signature. Raises SignatureWrong."""
    _, sid, digest_algorithm, *rest = _items(info.content)
    name = _DIGESTS.get(_items(digest_algorithm.content)[0].content)
    if name is None:
        raise SignatureWrong("its digest is not one that is known here")
    algorithm: hashes.HashAlgorithm = getattr(hashes, name)()
    found = [one for one in certificates if _is_of(sid, one)]
    if not found:
        raise SignatureWrong("the certificate of the signer is missing")
    signed = message
    if rest[0].tag == _FIRST:
        attributes = rest.pop(0)
        _check_attributes(attributes, _digest(message, algorithm), content_type.content)
        signed = bytes((_SET,)) + attributes.whole[1:]  # under the tag of a SET OF, section 5.4
    is_pss = _items(rest[0].content)[0].content == _RSA_PSS
    signature = _octets(rest[1])
    for certificate in found:
        try:
            _check(certificate.public_key(), signature, signed, algorithm, is_pss)
        except crypto.InvalidSignature:
            continue
        return certificate
    raise SignatureWrong("the signature is not of this message")


def _digest(message: bytes, algorithm: hashes.HashAlgorithm) -> bytes:
    digest = hashes.Hash(algorithm)
    digest.update(message)
    return digest.finalize()


def _is_of(sid: _Item, certificate: x509.Certificate) -> bool:
    if sid.tag == _SEQUENCE:
        issuer, serial = _items(sid.content)
        number = int.from_bytes(_with(serial, _INTEGER).content, "big", signed=True)
        return number == certificate.serial_number and issuer.whole == certificate.issuer.public_bytes()
    try:
        extension = certificate.extensions.get_extension_for_class(x509.SubjectKeyIdentifier)
    except (x509.ExtensionNotFound, ValueError):
        return False
    return sid.tag == _KEY_IDENTIFIER and sid.content == extension.value.digest


def _check_attributes(attributes: _Item, digest: bytes, content_type: bytes) -> None:
    """Check the digest and the type of the content (section 5.4). Raises SignatureWrong."""
    found: dict[bytes, list[bytes]] = {}
    for attribute in _items(attributes.content):
        kind, values = _items(_with(attribute, _SEQUENCE).content)
        found.setdefault(kind.content, []).extend(one.content for one in _items(_with(values, _SET).content))
    if found.get(_MESSAGE_DIGEST) != [digest]:
        raise SignatureWrong("the message is not the one that was signed")
    if found.get(_CONTENT_TYPE) != [content_type]:
        raise SignatureWrong("the content is not of the type that was signed")


def _check(key: Any, signature: bytes, signed: bytes, algorithm: hashes.HashAlgorithm, is_pss: bool) -> None:
    """Raises InvalidSignature, or SignatureWrong for a key of another kind."""
    if isinstance(key, crypto.rsa.RSAPublicKey):
        scheme: Any = (
            crypto.padding.PSS(crypto.padding.MGF1(algorithm), crypto.padding.PSS.AUTO)
            if is_pss
            else crypto.padding.PKCS1v15()
        )
        key.verify(signature, signed, scheme, algorithm)
    elif isinstance(key, crypto.ec.EllipticCurvePublicKey):
        key.verify(signature, signed, crypto.ec.ECDSA(algorithm))
    else:
        raise SignatureWrong("the signer's key is of a kind that is not known here")

"""Is a DKIM signature good? In: a field DKIM-Signature or ARC-Message-Signature, key records, the message. Out: nothing.

What is wrong is raised as BadSignature. Must not know how key records are found. Source: RFC 6376, 8301, 8463 and 8617.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from hslpy.late import crypto, hashes
from hslpy.mail.dkim import canonical_body, canonical_field, tag_list
from hslpy.mail.message import Field, Message
from hslpy.records import dataclass

LEAST_BITS = 1024  # RFC 8301 section 3.2
MOST_BITS = 8192  # four times what the same section asks verifiers to take
MOST_RECORDS = 5  # RFC 6376 section 3.6.2.2 wants one
MOST_INSTANCE = 50  # RFC 8617 section 4.2.1
CLOCK_SKEW_S = 86_400  # signers' clocks go wrong by hours, with time zones
FIELD_NAMES = ("DKIM-Signature", "ARC-Message-Signature")

_NAME = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9_.-]{0,251}[A-Za-z0-9_])?")
_SPACE = re.compile(r"[ \t\r\n]+")
_OWN_SIGNATURE = re.compile(r"(^|;)([ \t\r\n]*b[ \t\r\n]*=)[^;]*")
_FORMS = {"simple": False, "relaxed": True}

Kind = Literal["fail", "permerror", "temperror"]


class BadSignature(Exception):
    """`kind` "fail": well-formed, but not of this message. `tags` are those of the field where it could be read."""

    def __init__(self, reason: str, kind: Kind = "permerror", tags: Mapping[str, str] | None = None) -> None:
        super().__init__(reason)
        self.reason = reason
        self.kind: Kind = kind
        self.tags = tags


@dataclass(frozen=True, slots=True)
class Claim:
    """What a signature's field says. `field` is the field as it stands, without its last CRLF."""

    field: str
    tags: Mapping[str, str]
    key_type: str
    domain: str
    selector: str
    identity_domain: str
    names: tuple[str, ...]
    header_relaxed: bool
    body_relaxed: bool
    length: int | None
    signed_at: int | None
    expires_at: int | None
    body_hash: bytes
    signature: bytes

    @property
    def key_name(self) -> str:
        """The name in DNS of the key's record."""
        return f"{self.selector}._domainkey.{self.domain}"


def read_claim(field: str) -> Claim:
    """Give what a whole field says. Raises BadSignature."""
    name, colon, value = field.partition(":")
    name = name.rstrip(" \t").lower()
    if not colon or name not in (one.lower() for one in FIELD_NAMES):
        raise BadSignature(f"no field {' or '.join(FIELD_NAMES)}")
    if "\r\n" not in value:
        value = value.replace("\n", "\r\n")
    value = value.rstrip("\r\n")
    tags = tag_list(value)
    if tags is None:
        raise BadSignature("malformed tags")
    try:
        return _claim(field[: len(field.partition(":")[0])] + ":" + value, tags, is_arc=name.startswith("arc"))
    except BadSignature as error:
        error.tags = tags
        raise


def _claim(field: str, tags: Mapping[str, str], is_arc: bool) -> Claim:
    for tag in ("a", "b", "bh", "d", "h", "s", "i" if is_arc else "v"):
        if not tags.get(tag):
            raise BadSignature(f"tag {tag}= is missing")
    if not is_arc and tags["v"] != "1":
        raise BadSignature("unknown version")
    if is_arc and not 1 <= _number(tags, "i") <= MOST_INSTANCE:  # type: ignore[operator]
        raise BadSignature("tag i= is no instance of ARC")
    domain, selector = tags["d"], tags["s"]
    if not _NAME.fullmatch(domain) or not _NAME.fullmatch(selector):
        raise BadSignature("tag d= or s= is no name in DNS")
    key_type, _, hash_name = tags["a"].partition("-")
    if tags["a"] == "rsa-sha1":
        raise BadSignature("rsa-sha1 is no longer valid (RFC 8301)")
    if key_type not in ("rsa", "ed25519") or hash_name != "sha256":
        raise BadSignature("unknown algorithm")
    header_form, _, body_form = tags.get("c", "simple").partition("/")
    if header_form not in _FORMS or (body_form or "simple") not in _FORMS:
        raise BadSignature("unknown canonicalization")
    names = tuple(_SPACE.sub("", one).lower() for one in tags["h"].split(":"))
    if "from" not in names:
        raise BadSignature("the field From is not signed")
    if is_arc and "arc-seal" in names:
        raise BadSignature("the field ARC-Seal must not be signed")
    if "dns/txt" not in (_SPACE.sub("", one) for one in tags.get("q", "dns/txt").split(":")):
        raise BadSignature("unknown query method")
    identity = domain if is_arc else tags.get("i", "@" + domain).rpartition("@")[2].rstrip(" \t")
    if identity.lower() != domain.lower() and not identity.lower().endswith("." + domain.lower()):
        raise BadSignature("tag i= is not within tag d=")
    signed_at, expires_at = _number(tags, "t"), _number(tags, "x")
    if signed_at is not None and expires_at is not None and expires_at <= signed_at:
        raise BadSignature("it expires before it was made")
    return Claim(
        field=field,
        tags=tags,
        key_type=key_type,
        domain=domain,
        selector=selector,
        identity_domain=identity,
        names=names,
        header_relaxed=_FORMS[header_form],
        body_relaxed=_FORMS[body_form or "simple"],
        length=_number(tags, "l"),
        signed_at=signed_at,
        expires_at=expires_at,
        body_hash=_decoded(tags["bh"], "bh"),
        signature=_decoded(tags["b"], "b"),
    )


def _number(tags: Mapping[str, str], tag: str) -> int | None:
    text = tags.get(tag)
    if text is None:
        return None
    if not text.isascii() or not text.isdigit() or len(text) > 76:  # RFC 6376 section 3.5, l=
        raise BadSignature(f"tag {tag}= is no number")
    return int(text)


def _decoded(text: str, tag: str) -> bytes:
    try:
        return base64.b64decode(_SPACE.sub("", text).encode("latin-1"), validate=True)
    except binascii.Error:
        raise BadSignature(f"tag {tag}= is no base64") from None


@dataclass(frozen=True, slots=True)
class _Key:
    type: str
    public: Any
    is_strict: bool


def _read_key(record: str) -> _Key:
    """Give the key of a record. Raises BadSignature."""
    tags = tag_list(record)
    if tags is None or "p" not in tags or tags.get("v", "DKIM1") != "DKIM1" or ("v" in tags and next(iter(tags)) != "v"):
        raise BadSignature("the key's record is malformed")
    if not tags["p"]:
        raise BadSignature("the key is revoked")
    if not {"*", "email"} & {_SPACE.sub("", one) for one in tags.get("s", "*").split(":")}:
        raise BadSignature("the key is not for mail")
    if "h" in tags and "sha256" not in (_SPACE.sub("", one) for one in tags["h"].split(":")):
        raise BadSignature("the key is not for sha256")
    data = _decoded(tags["p"], "p")
    kind = tags.get("k", "rsa")
    is_strict = "s" in (_SPACE.sub("", one) for one in tags.get("t", "").split(":"))
    try:
        public: Any = (
            crypto.Ed25519PublicKey.from_public_bytes(data) if kind == "ed25519" else crypto.load_der_public_key(data)
        )
    except (ValueError, crypto.UnsupportedAlgorithm):
        raise BadSignature("the key's record has no key") from None
    if kind not in ("rsa", "ed25519") or (kind == "rsa" and not isinstance(public, crypto.RSAPublicKey)):
        raise BadSignature("the key is of another type")
    if kind == "rsa" and not LEAST_BITS <= public.key_size <= MOST_BITS:
        raise BadSignature(f"the key has {public.key_size} bits")
    return _Key(kind, public, is_strict)


def check(claim: Claim, records: Sequence[str], message: Message, now: float) -> None:
    """Check a signature with the first of the records that has a key for it. Raises BadSignature."""
    try:
        if claim.expires_at is not None and claim.expires_at < now:
            raise BadSignature("it has expired")
        if claim.signed_at is not None and claim.signed_at > now + CLOCK_SKEW_S:
            raise BadSignature("it was made in the future")
        key = _find_key(claim, records)
        if key.is_strict and claim.identity_domain.lower() != claim.domain.lower():
            raise BadSignature("the key is not for subdomains")
        if _body_digest(claim, message) != claim.body_hash:
            raise BadSignature("the body was changed", "fail")
        digest = hashlib.sha256(_signed_data(claim, message.fields).encode("latin-1")).digest()
        try:
            if key.type == "ed25519":
                key.public.verify(claim.signature, digest)
            else:
                key.public.verify(claim.signature, digest, crypto.PKCS1v15(), crypto.Prehashed(hashes.SHA256()))
        except (crypto.InvalidSignature, ValueError):  # a key can be one that no signature fits
            raise BadSignature("the header was changed, or the key is another", "fail") from None
    except BadSignature as error:
        error.tags = claim.tags
        raise


def _find_key(claim: Claim, records: Sequence[str]) -> _Key:
    problem = BadSignature("no key")
    for record in records[:MOST_RECORDS]:
        try:
            key = _read_key(record)
        except BadSignature as error:
            problem = error
            continue
        if key.type == claim.key_type:
            return key
        problem = BadSignature("the key is of another type")
    raise problem


def _body_digest(claim: Claim, message: Message) -> bytes:
    wanted = (claim.body_relaxed, claim.length)
    if wanted not in message.digests:
        data = canonical_body(message.body, claim.body_relaxed)
        if claim.length is not None and claim.length > len(data):
            raise BadSignature("the body is shorter than what was signed", "fail")
        message.digests[wanted] = hashlib.sha256(data if claim.length is None else data[: claim.length]).digest()
    return message.digests[wanted]


def _signed_data(claim: Claim, fields: Sequence[Field]) -> str:
    """Give the fields that were signed, the lowest of a name first, and the signature's own without what it says in b=."""
    own_name, _, own_value = claim.field.partition(":")
    left: dict[str, list[str]] = {}
    own = claim.field + "\r\n"
    for field in fields:
        if field.raw == own:
            own = ""  # the signature does not sign itself: RFC 6376 section 3.5, h=
        else:
            left.setdefault(field.name.lower(), []).append(field.raw)
    signed = [canonical_field(left[name].pop(), claim.header_relaxed) for name in claim.names if left.get(name)]
    bare = f"{own_name}:{_OWN_SIGNATURE.sub(lambda found: found[1] + found[2], own_value, count=1)}"
    return "".join(signed) + canonical_field(bare + "\r\n", claim.header_relaxed).removesuffix("\r\n")

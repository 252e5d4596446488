"""DKIM signatures. In: what to sign and how, a message's header and body, a function that signs. Out: the field's value.

Must not know of keys or scripts: the function given signs with the key at hand. Source: RFC 6376, 8301 and 8463.
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Callable

from hslpy.mail.message import parse_fields
from hslpy.records import dataclass

# RFC 6376 section 5.4.1, and what else says how a message is read.
RECOMMENDED = [
    "From",
    "Sender",
    "Reply-To",
    "Subject",
    "Date",
    "Message-ID",
    "To",
    "Cc",
    "MIME-Version",
    "Content-Type",
    "Content-Transfer-Encoding",
    "Content-ID",
    "Content-Description",
    "Resent-Date",
    "Resent-From",
    "Resent-Sender",
    "Resent-To",
    "Resent-Cc",
    "Resent-Message-ID",
    "In-Reply-To",
    "References",
    "List-Id",
    "List-Help",
    "List-Unsubscribe",
    "List-Unsubscribe-Post",
    "List-Subscribe",
    "List-Post",
    "List-Owner",
    "List-Archive",
]
_BLANKS = re.compile(rb"[ \t]{2,}|\t")
_TEXT_BLANKS = re.compile(r"[ \t]+")
_WIDTH = 72


_SPACE = " \t\r\n"
_TAG = re.compile(r"[A-Za-z][A-Za-z0-9_]*")


@dataclass(frozen=True, slots=True)
class Signing:
    """What to sign: `names` None are the recommended ones; those of `oversigned` are named once more than they are there.

    `body_length` signs so much of the body only. `signed_at` True is the time of the signing; `expires_at` is in Unix
    seconds, `lifetime_s` counts from the signing. `instance` makes an ARC-Message-Signature of that number.
    """

    selector: str
    domain: str
    algorithm: str = "rsa-sha256"
    header_relaxed: bool = True
    body_relaxed: bool = True
    names: tuple[str, ...] | None = None
    additional: tuple[str, ...] = ()
    oversigned: tuple[str, ...] = ("From",)
    body_length: int | None = None
    signed_at: int | bool = False
    expires_at: int | None = None
    lifetime_s: int | None = None
    identity: str = ""
    instance: int | None = None

    @property
    def field_name(self) -> str:
        return "DKIM-Signature" if self.instance is None else "ARC-Message-Signature"

    @property
    def hash_name(self) -> str:
        return self.algorithm.rpartition("-")[2]


def tag_list(text: str) -> dict[str, str] | None:
    """Give the tags of a list `name=value; ...` in order, values unfolded; None when it is malformed.

    Source: RFC 6376 section 3.2.
    """
    tags: dict[str, str] = {}
    parts = text.split(";")
    if not parts[-1].strip(_SPACE):
        parts.pop()
    for part in parts:
        name, equals, content = part.partition("=")
        name = name.strip(_SPACE)
        if not equals or not _TAG.fullmatch(name) or name in tags:
            return None
        tags[name] = re.sub(r"\r?\n(?=[ \t])", "", content).strip(_SPACE)
    return tags or None


def canonical_body(body: bytes, relaxed: bool) -> bytes:
    """Give the body as it is hashed. Source: RFC 6376 sections 3.4.3 and 3.4.4."""
    if relaxed:
        body = _BLANKS.sub(b" ", body).replace(b" \r\n", b"\r\n").removesuffix(b" ")
    end = len(body.rstrip(b"\r\n"))
    tail = body[end:]
    while tail.endswith(b"\r\n"):
        if tail == b"\r\n" * (len(tail) // 2):
            tail = b""
        tail = tail[:-2]
    body = body[:end] + tail
    return body + b"\r\n" if body or not relaxed else b""


def canonical_field(raw: str, relaxed: bool) -> str:
    """Give a field as it is hashed, with its CRLF. Source: RFC 6376 sections 3.4.1 and 3.4.2."""
    if not relaxed:
        return raw
    name, _, value = raw.partition(":")
    value = _TEXT_BLANKS.sub(" ", value.replace("\r\n", "")).strip(" ")
    return f"{name.lower().rstrip(' ' + chr(9))}:{value}\r\n"


def body_digest(signing: Signing, body: bytes) -> tuple[bytes, int | None]:
    """Give the body's digest, and how much of it was signed where that is limited."""
    data = canonical_body(body, signing.body_relaxed)
    if signing.body_length is None:
        return hashlib.new(signing.hash_name, data).digest(), None
    length = min(signing.body_length, len(data))
    return hashlib.new(signing.hash_name, data[:length]).digest(), length


def signature(
    signing: Signing, header: bytes, digest: tuple[bytes, int | None], now: float, sign: Callable[[bytes], bytes]
) -> str:
    """Give the value of the field, folded, for a header (with the empty line that ends it) and a body's digest.

    `sign` is given the digest of what is signed, by the algorithm's hash.
    """
    left: dict[str, list[str]] = {}
    for field in parse_fields(header):
        left.setdefault(field.name.lower(), []).append(field.raw)
    listed: list[str] = []
    signed: list[str] = []
    names = [*(RECOMMENDED if signing.names is None else ["From", *signing.names]), *signing.additional]
    extra = {name.lower() for name in signing.oversigned}
    for name in {one.lower(): one for one in [*names, *signing.oversigned]}.values():
        found = left.get(name.lower(), [])
        listed += [name] * (len(found) + (name.lower() in extra))
        signed += reversed(found)
    body_hash, length = digest
    canonicalization = "/".join("relaxed" if one else "simple" for one in (signing.header_relaxed, signing.body_relaxed))
    first = "v=1" if signing.instance is None else f"i={signing.instance}"
    tags = [
        f"{first}; a={signing.algorithm}; c={canonicalization}",
        f"d={signing.domain}; s={signing.selector}",
        *_times(signing, int(now)),
        *([f"i={signing.identity}"] if signing.identity else []),
        *([f"l={length}"] if length is not None else []),
        _folded("h=", listed, ":"),
        "bh=" + base64.b64encode(body_hash).decode("ascii"),
        "b=",
    ]
    value = ";\r\n\t".join(tags)
    own = canonical_field(f"{signing.field_name}: {value}\r\n", signing.header_relaxed)
    data = "".join(canonical_field(raw, signing.header_relaxed) for raw in signed) + own.removesuffix("\r\n")
    made = base64.b64encode(sign(hashlib.new(signing.hash_name, data.encode("latin-1")).digest())).decode("ascii")
    return value + "\r\n\t ".join(made[i : i + _WIDTH] for i in range(0, len(made), _WIDTH))


def _times(signing: Signing, now: int) -> list[str]:
    """Give the tags of the signing's and the expiry's time, in a list of none or one."""
    at = None if signing.signed_at is False else now if signing.signed_at is True else signing.signed_at
    expires = signing.expires_at
    if expires is None and signing.lifetime_s is not None:
        expires = (now if at is None else at) + signing.lifetime_s
    tags = [f"{name}={time}" for name, time in (("t", at), ("x", expires)) if time is not None]
    return ["; ".join(tags)] if tags else []


def _folded(start: str, words: list[str], between: str) -> str:
    lines = [start]
    for i, word in enumerate(words):
        text = (between if i else "") + word
        if len(lines[-1]) + len(text) > _WIDTH:
            lines.append(" " + text)
        else:
            lines[-1] += text
    return "\r\n\t".join(lines)

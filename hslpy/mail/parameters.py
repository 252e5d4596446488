"""The ESMTP parameters of MAIL and RCPT. In: one parameter, what was offered. Out: what is wrong with it, if anything.

Must not know of settings or sessions. Only ever called where there are parameters. Source: RFC 3461 section 4 (DSN),
RFC 4954 section 5 (AUTH), RFC 6152 (BODY), RFC 6531 section 3.4 (SMTPUTF8), RFC 6533 section 3 (ORCPT of type utf-8).
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Mapping
from typing import Literal

from hslpy.mail import xtext

Wrong = Literal["syntax", "body", "unknown"]

ENVID_LIMIT = 100  # RFC 3461 section 4.4
ORCPT_LIMIT = 500  # RFC 3461 section 4.2
# What the longest parameters add to a command line: SMTPUTF8, RET and ENVID to MAIL, NOTIFY and ORCPT to RCPT.
MAIL_EXTRA = 10 + 9 + 7 + ENVID_LIMIT
RCPT_EXTRA = 29 + 7 + ORCPT_LIMIT

_NOTIFY = re.compile(r"NEVER|(?:SUCCESS|FAILURE|DELAY)(?:,(?:SUCCESS|FAILURE|DELAY))*", re.IGNORECASE).fullmatch
_ADDR_TYPE = re.compile(r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+").fullmatch
# A code point in what RFC 6533 section 3 calls utf-8-addr-xtext
_EMBEDDED = re.compile(r"\\x\{([0-9A-F]{2,6})\}")


def mail_parameter_fault(key: str, value: str, offered: frozenset[str]) -> Wrong | None:
    """Say what is wrong with a parameter of MAIL; SIZE, which has a limit, is the session's to judge."""
    if key == "BODY":
        return None if value.upper() in ("7BIT", "8BITMIME") else "body"
    check, extension = _OF_MAIL.get(key, (None, ""))
    if check is None or (extension and extension not in offered):
        return "unknown"
    return None if check(value) else "syntax"


def rcpt_parameter_fault(key: str, value: str, offered: frozenset[str]) -> Wrong | None:
    """Say what is wrong with a parameter of RCPT."""
    if key not in ("NOTIFY", "ORCPT") or "DSN" not in offered:
        return "unknown"
    return None if (_NOTIFY(value) if key == "NOTIFY" else _is_orcpt(value)) else "syntax"


def is_sound_utf8(line: bytes) -> bool:
    """Say whether the bytes are UTF-8 without control characters and line or paragraph separators."""
    try:
        text = line.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return text.isprintable() or all(unicodedata.category(ch) not in ("Cc", "Zl", "Zp") for ch in text)


def original_recipient(orcpt: str) -> tuple[str, str] | None:
    """Give the type and the address, decoded, of an ORCPT; None where it is malformed. Texts hold a byte a character."""
    kind, semicolon, coded = orcpt.partition(";")
    if not semicolon or not coded or not _ADDR_TYPE(kind):
        return None
    if kind.lower() != "utf-8":
        plain = xtext.strictly_decoded(coded)
        return None if plain is None or not _is_printable(plain) else (kind, plain)
    try:
        points = _EMBEDDED.sub(lambda found: chr(int(found[1], 16)), coded.encode("latin-1").decode("utf-8"))
        address = xtext.decode(points).encode("utf-8")
    except (ValueError, OverflowError):  # no UTF-8, a surrogate, or beyond Unicode
        return None
    return (kind, address.decode("latin-1")) if is_sound_utf8(address) else None


def ascii_orcpt(orcpt: str) -> str:
    """Give an ORCPT with what is not ASCII embedded as code points, for any server with DSN; malformed, as it is."""
    try:
        text = orcpt.encode("latin-1").decode("utf-8")
    except UnicodeError:
        return orcpt
    return "".join(ch if ch.isascii() else f"\\x{{{ord(ch):X}}}" for ch in text)


def _is_orcpt(value: str) -> bool:
    if not value.isascii() and value[:6].lower() != "utf-8;":
        return False
    return len(value) <= ORCPT_LIMIT and original_recipient(value) is not None


def _is_envid(value: str) -> bool:
    text = xtext.strictly_decoded(value)
    return bool(text) and len(value) <= ENVID_LIMIT and _is_printable(text or "")


def _is_auth(value: str) -> bool:
    return value == "<>" or (len(value) <= 500 and bool(xtext.strictly_decoded(value)))


def _is_printable(text: str) -> bool:
    """RFC 3461 sections 4.2 and 4.4: printable characters of US-ASCII, blanks included."""
    return all(" " <= ch <= "~" or ch == "\t" for ch in text)


_OF_MAIL: Mapping[str, tuple[Callable[[str], bool], str]] = {
    "AUTH": (_is_auth, ""),
    "RET": (lambda value: value.upper() in ("FULL", "HDRS"), "DSN"),
    "ENVID": (_is_envid, "DSN"),
    "SMTPUTF8": (lambda value: not value, "SMTPUTF8"),
}

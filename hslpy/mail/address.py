"""Envelope addresses. In: the text between `<` and `>`. Out: `Address`. Source: RFC 5321 section 4.1.2."""

from __future__ import annotations

import ipaddress
import re
from functools import lru_cache

import idna

from hslpy.records import record


@record
class Address:
    """A reverse-path or forward-path; both parts keep the case they came in. The null sender has both empty.

    `local_part` is unquoted; `str()` gives the path's text, quoted where needed, without `<>`.
    """

    local_part: str
    domain: str

    @property
    def is_null(self) -> bool:
        return not self.local_part and not self.domain

    @property
    def readable(self) -> str:
        """The path's text as people write it: UTF-8 that the characters spell as bytes is decoded."""
        text = str(self)
        try:
            return text if text.isascii() else text.encode("latin-1").decode("utf-8")
        except UnicodeError:
            return text

    def __str__(self) -> str:
        return _text(self.local_part, self.domain)


# RFC 5321 section 4.1.2, and RFC 6531 section 3.3 for what is not ASCII.
_DOT_ATOM = re.compile(r"[^\x00- \"(),.:;<>@\[\\\]\x7f]+(?:\.[^\x00- \"(),.:;<>@\[\\\]\x7f]+)*").fullmatch

NULL_SENDER = Address("", "")


@lru_cache(maxsize=4096)  # a message's addresses are wanted as text half a dozen times each
def _text(local: str, domain: str) -> str:
    if not local and not domain:
        return ""
    if not _is_dot_atom(local):
        local = '"' + local.replace("\\", "\\\\").replace('"', '\\"') + '"'
    return f"{local}@{domain}" if domain else local


def _is_dot_atom(local: str) -> bool:
    return _DOT_ATOM(local) is not None


def ascii_lower(text: str) -> str:
    """Give the text with ASCII letters small; str.lower() would change the bytes of UTF-8 that latin-1 text may hold."""
    return text.lower() if text.isascii() else text.encode("latin-1", "replace").lower().decode("latin-1")


def ascii_domain(domain: str) -> str:
    """Give the domain in A-labels, as it is where it has none. `domain` is latin-1 text that spells UTF-8.

    Source: RFC 5891, with the mapping of UTS 46; what it does not allow and older clients register is taken by RFC 3490.
    """
    if domain.isascii():
        return domain
    try:
        text = domain.encode("latin-1").decode("utf-8")
        try:
            return idna.encode(text, uts46=True).decode("ascii")
        except idna.IDNAError:
            return text.encode("idna").decode("ascii")
    except UnicodeError:
        return domain


def parse_address(text: str, *, long_local_part: bool = False) -> Address | None:
    """Give the address that `text` (without `<>`) spells, or None. Empty text is the null sender.

    Accepts a quoted local part, an address literal, and a local part alone (`postmaster`); a source route is none.
    A local part has 64 characters at most (RFC 5321 4.5.3.1.1); headers may have a `long_local_part`.
    """
    if not text:
        return NULL_SENDER
    if text[0] == '"':
        return _parse_quoted(text, long_local_part)
    local, at, domain = text.rpartition("@")
    if not at:
        local, domain = text, ""
    elif not _valid_domain(domain):
        return None
    if not _is_dot_atom(local) or (len(local) > 64 and not long_local_part):
        return None
    return Address(local, domain)


def _parse_quoted(text: str, long_local_part: bool) -> Address | None:
    local: list[str] = []
    i = 1
    while i < len(text) and text[i] != '"':
        if text[i] == "\\":
            i += 1
            if i == len(text):
                return None
        if text[i] < " " or text[i] == "\x7f":
            return None
        local.append(text[i])
        i += 1
    rest = text[i + 1 :]
    if len(local) > 64 and not long_local_part:
        return None
    if i >= len(text) or not rest.startswith("@") or not _valid_domain(rest[1:]):
        return None
    return Address("".join(local), rest[1:])


def _valid_domain(domain: str) -> bool:
    if not domain or len(domain) > 255:
        return False
    if domain[0] == "[":
        return domain[-1] == "]" and _is_ip(domain[1:-1])
    labels = domain.split(".")
    return all(
        0 < len(label) <= 63 and label[0] != "-" and label[-1] != "-" and all(map(_in_label, label)) for label in labels
    )


def _is_ip(text: str) -> bool:
    """Say whether the text is what an address literal holds: RFC 5321 section 4.1.3; `IPv6` is the only tag there is."""
    tagged = text[:5].lower() == "ipv6:"
    try:
        (ipaddress.IPv6Address if tagged else ipaddress.IPv4Address)(text[5:] if tagged else text)
    except ValueError:
        return False
    return "%" not in text  # Python's own way to write a network's name


def _in_label(char: str) -> bool:
    return char > "\x7f" or char.isalnum() or char in "-_"

"""SPF records taken apart: terms and macro strings. In: the text of a record. Out: `Record`, or BadRecord.

Must not know how terms are evaluated. Source: RFC 7208 sections 4.6, 5 to 7 and 12.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable
from urllib.parse import quote

from hslpy.records import dataclass

Network = ipaddress.IPv4Network | ipaddress.IPv6Network

MOST_BYTES = 1 << 14  # RFC 7208 section 3.4 wants records to fit into 512; reading as many took 15 ms at worst
QUALIFIERS = {"+": "pass", "-": "fail", "~": "softfail", "?": "neutral"}
MECHANISMS = ("all", "include", "a", "mx", "ptr", "ip4", "ip6", "exists")

_TERM = re.compile(r"([-+?~]?)([A-Za-z][A-Za-z0-9_.-]*)(.*)", re.DOTALL)
_MACRO = re.compile(r"%(?:\{([slodiphcrtvSLODIPHCRTV])([0-9]*)([rR]?)([-.+,/_=]*)\}|([%_-]))")
_CIDR = re.compile(r"(?:/(0|[1-9][0-9]?))?(?://(0|[1-9][0-9]{0,2}))?$")
_TOP_LABEL = re.compile(r"(?:[A-Za-z0-9]*[A-Za-z][A-Za-z0-9]*|[A-Za-z0-9]+-[A-Za-z0-9-]*[A-Za-z0-9])$")
_ONLY_EXPLAINING = frozenset("crt")


class BadRecord(Exception):
    """The record breaks the syntax: the result is permerror. The text says what is wrong."""


@dataclass(frozen=True, slots=True)
class Mechanism:
    """One mechanism. `domain` is its macro string, None for the domain at hand; `bits` the prefix lengths for v4, v6."""

    result: str
    name: str
    text: str
    domain: str | None = None
    bits: tuple[int, int] = (32, 128)
    network: Network | None = None


@dataclass(frozen=True, slots=True)
class Record:
    """The mechanisms in order, and the macro strings of `redirect` and `exp`."""

    mechanisms: tuple[Mechanism, ...]
    redirect: str | None = None
    explanation: str | None = None


def is_record(text: str) -> bool:
    """Say whether a TXT record is an SPF one (section 4.5)."""
    return text[:6].lower() == "v=spf1" and text[6:7] in ("", " ")


def parse_record(text: str) -> Record:
    """Give the record, its version left out before. Raises BadRecord."""
    if len(text) > MOST_BYTES:
        raise BadRecord(f"the record has more than {MOST_BYTES:,} bytes")
    mechanisms: list[Mechanism] = []
    modifiers: dict[str, str] = {}
    for term in text[6:].split(" "):
        if not term:
            continue
        found = _TERM.match(term)
        if found is None or not term.isascii():
            raise BadRecord(f"`{term}` is no term")
        qualifier, name, rest = found.groups()
        if rest.startswith("="):
            if qualifier:
                raise BadRecord(f"the modifier `{term}` has a qualifier")
            key = name.lower()
            if key in ("redirect", "exp"):
                if key in modifiers:
                    raise BadRecord(f"`{key}` is there twice")
                modifiers[key] = _domain_spec(rest[1:], term)
            else:
                _check_macros(rest[1:], term, explaining=False)
            continue
        mechanisms.append(_mechanism(qualifier, name.lower(), rest, term))
    return Record(tuple(mechanisms), modifiers.get("redirect"), modifiers.get("exp"))


def _mechanism(qualifier: str, name: str, rest: str, term: str) -> Mechanism:
    result = QUALIFIERS[qualifier or "+"]
    if name not in MECHANISMS:
        raise BadRecord(f"`{term}` is no mechanism")
    if name == "all":
        if rest:
            raise BadRecord(f"`{term}` has an argument")
        return Mechanism(result, name, term)
    if name in ("ip4", "ip6"):
        return Mechanism(result, name, term, network=_network(name, rest, term))
    if name in ("include", "exists"):
        if not rest.startswith(":"):
            raise BadRecord(f"`{term}` lacks its domain")
        return Mechanism(result, name, term, _domain_spec(rest[1:], term))
    bits = (32, 128)
    if name in ("a", "mx"):
        cidr = _CIDR.search(rest)
        assert cidr is not None  # it matches nothing at the end
        rest = rest[: cidr.start()]
        bits = (int(cidr[1]) if cidr[1] else 32, int(cidr[2]) if cidr[2] else 128)
        if bits[0] > 32 or bits[1] > 128:
            raise BadRecord(f"`{term}` has too long a prefix")
    if not rest:
        return Mechanism(result, name, term, bits=bits)
    if not rest.startswith(":"):
        raise BadRecord(f"`{term}` is malformed")
    return Mechanism(result, name, term, _domain_spec(rest[1:], term), bits)


def _network(name: str, rest: str, term: str) -> Network:
    address, slash, bits = rest[1:].partition("/")
    if not rest.startswith(":") or (slash and not re.fullmatch(r"0|[1-9][0-9]{0,2}", bits)):
        raise BadRecord(f"`{term}` is malformed")
    try:
        if name == "ip4":
            return ipaddress.IPv4Network((address, int(bits) if slash else 32), strict=False)
        return ipaddress.IPv6Network((address, int(bits) if slash else 128), strict=False)
    except ValueError:
        raise BadRecord(f"`{term}` has no address") from None


def _check_macros(text: str, term: str, explaining: bool) -> None:
    position = 0
    while (at := text.find("%", position)) >= 0:
        found = _MACRO.match(text, at)
        if found is None or (found[1] and not explaining and found[1].lower() in _ONLY_EXPLAINING):
            raise BadRecord(f"`{term}` has a malformed macro")
        if found[2] and int(found[2]) == 0:
            raise BadRecord(f"`{term}` has a macro of no labels")
        position = found.end()
    if any(not "!" <= letter <= "~" for letter in text) and not explaining:
        raise BadRecord(f"`{term}` has characters that names can't have")


def _domain_spec(text: str, term: str) -> str:
    """Check a domain-spec (section 7.1): it ends with a macro or a top label that is not all digits."""
    _check_macros(text, term, explaining=False)
    if text.endswith("}") and any(found.end() == len(text) and found[1] for found in _MACRO.finditer(text)):
        return text
    literal = _MACRO.sub("x.", text) if "%" in text else text
    labels = literal.removesuffix(".").split(".")
    if len(labels) < 2 or not _TOP_LABEL.match(labels[-1]):
        raise BadRecord(f"`{term}` has no domain")
    return text


def needs_validated_name(text: str) -> bool:
    """Say whether a macro string uses `p`, which takes DNS to expand."""
    return any(found[1] in ("p", "P") for found in _MACRO.finditer(text))


def check_explanation(text: str) -> None:
    """Raises BadRecord when an explanation has a malformed macro."""
    _check_macros(text, "exp", explaining=True)


def expand(text: str, value_of: Callable[[str], str]) -> str:
    """Expand a checked macro string; `value_of` gives the value of a lower-case macro letter (section 7.3)."""

    def one(found: re.Match[str]) -> str:
        letter, digits, reverse, delimiters, mark = found.groups()
        if mark is not None:
            return {"%": "%", "_": " ", "-": "%20"}[mark]
        value = value_of(letter.lower())
        if digits or reverse or delimiters:
            parts = re.split("[" + re.escape(delimiters or ".") + "]", value)
            if reverse:
                parts.reverse()
            value = ".".join(parts[-int(digits) :] if digits else parts)
        return quote(value, safe="-._~", encoding="latin-1") if letter.isupper() else value

    return _MACRO.sub(one, text)


def shortened(domain: str) -> str:
    """Drop labels from the left until a name is no longer than 253 characters (section 7.3)."""
    while len(domain) > 253 and "." in domain:
        domain = domain.partition(".")[2]
    return domain

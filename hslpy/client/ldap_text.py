"""LDAP's texts: filters, distinguished names, and what numbers of errors mean. In: texts (a character a byte). Out: texts.

Numbers and their texts are those of OpenLDAP's ldap_err2string(3). Source: RFC 4514, RFC 4515.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

SERVER_DOWN, DECODING_ERROR, TIMEOUT = -1, -4, -5
FILTER_ERROR, PARAM_ERROR, CONNECT_ERROR, NOT_SUPPORTED = -7, -9, -11, -12
INVALID_DN, INAPPROPRIATE_AUTH, INVALID_CREDENTIALS = 34, 48, 49

_ERRORS = {
    -17: "Referral Limit Exceeded",
    -16: "Client Loop",
    -15: "More results to return",
    -14: "No results returned",
    -13: "Control not found",
    -12: "Not Supported",
    -11: "Connect error",
    -10: "Out of memory",
    -9: "Bad parameter to an ldap routine",
    -8: "User cancelled operation",
    -7: "Bad search filter",
    -6: "Unknown authentication method",
    -5: "Timed out",
    -4: "Decoding error",
    -3: "Encoding error",
    -2: "Local error",
    -1: "Can't contact LDAP server",
    0: "Success",
    1: "Operations error",
    2: "Protocol error",
    3: "Time limit exceeded",
    4: "Size limit exceeded",
    5: "Compare False",
    6: "Compare True",
    7: "Authentication method not supported",
    8: "Strong(er) authentication required",
    9: "Partial results and referral received",
    10: "Referral",
    11: "Administrative limit exceeded",
    12: "Critical extension is unavailable",
    13: "Confidentiality required",
    14: "SASL bind in progress",
    16: "No such attribute",
    17: "Undefined attribute type",
    18: "Inappropriate matching",
    19: "Constraint violation",
    20: "Type or value exists",
    21: "Invalid syntax",
    32: "No such object",
    33: "Alias problem",
    34: "Invalid DN syntax",
    35: "Entry is a leaf",
    36: "Alias dereferencing problem",
    48: "Inappropriate authentication",
    49: "Invalid credentials",
    50: "Insufficient access",
    51: "Server is busy",
    52: "Server is unavailable",
    53: "Server is unwilling to perform",
    54: "Loop detected",
    64: "Naming violation",
    65: "Object class violation",
    66: "Operation not allowed on non-leaf",
    67: "Operation not allowed on RDN",
    68: "Already exists",
    69: "Cannot modify object class",
    70: "Results too large",
    71: "Operation affects multiple DSAs",
    76: "Virtual List View error",
    80: "Other (e.g., implementation specific) error",
    118: "Cancelled",
    119: "No Operation to Cancel",
    120: "Too Late to Cancel",
    121: "Cannot Cancel",
    122: "Assertion Failed",
    123: "Proxied Authorization Denied",
}
_IN_FILTER = re.compile(r"[\x00-\x1f()*\\\x7f-\xff]")
_ATTRIBUTE = re.compile(r"[A-Za-z][A-Za-z0-9-]*|[0-9]+(?:\.[0-9]+)*")
_PAIR = re.compile(r"\\(?:([0-9A-Fa-f]{2})|([ \"#+,;<=>\\]))")
_HEXADECIMAL = re.compile(r"#((?:[0-9A-Fa-f]{2})+)")
_IN_VALUE = re.compile(r"""[\x00"+,;<=>\\]|^[ #]| $""")


def error_text(number: int) -> str:
    """Give the meaning of an error's number."""
    return _ERRORS.get(number, "Unknown error")


def escape_filter(value: str) -> str:
    """Give a value as it stands in a filter."""
    return _IN_FILTER.sub(_escaped, value)


def _escaped(found: re.Match[str]) -> str:
    return f"\\{ord(found[0]):02X}"


def split_dn(text: str) -> list[tuple[str, str]] | None:
    """Give the attributes and values of a distinguished name; None where it is none.

    Of parts with several attributes (`a=1+b=2`) the first. A value in hexadecimal is given as its bytes.
    """
    parts: list[tuple[str, str]] = []
    at = _skip_blanks(text, 0)
    if at == len(text):
        return parts
    first = True
    while True:
        found = _ATTRIBUTE.match(text, at)
        if found is None:
            return None
        at = _skip_blanks(text, found.end())
        if text[at : at + 1] != "=":
            return None
        read = _value(text, _skip_blanks(text, at + 1))
        if read is None:
            return None
        value, at = read
        if first:
            parts.append((found[0], value))
        if at == len(text):
            return parts
        first = text[at] != "+"
        at = _skip_blanks(text, at + 1)


def _skip_blanks(text: str, at: int) -> int:
    while text[at : at + 1] == " ":
        at += 1
    return at


def _value(text: str, at: int) -> tuple[str, int] | None:
    """Give a value and where it ends: at the end of the text, or at `,` or `+`."""
    if text[at : at + 1] == "#":
        found = _HEXADECIMAL.match(text, at)
        if found is None:
            return None
        end = _skip_blanks(text, found.end())
        return (bytes.fromhex(found[1]).decode("latin-1"), end) if end == len(text) or text[end] in ",+" else None
    pieces: list[str] = []
    blanks = 0  # of the end, which belong to no value
    while at < len(text) and text[at] not in ",+":
        if text[at] == "\\":
            pair = _PAIR.match(text, at)
            if pair is None:
                return None
            pieces.append(chr(int(pair[1], 16)) if pair[1] is not None else pair[2])
            at, blanks = pair.end(), 0
            continue
        if text[at] in '";<>\0':
            return None
        blanks = blanks + 1 if text[at] == " " else 0
        pieces.append(text[at])
        at += 1
    return "".join(pieces[: len(pieces) - blanks]), at


def join_dn(parts: Sequence[tuple[str, str]]) -> str | None:
    """Give the distinguished name of attributes and values, escaped; None where a value is no UTF-8."""
    text = ",".join(f"{name}={_IN_VALUE.sub(_escaped, value)}" for name, value in parts)
    try:
        text.encode("latin-1").decode("utf-8")
    except UnicodeDecodeError:
        return None
    return text

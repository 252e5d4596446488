"""The arguments of MAIL and RCPT. In: the text after the verb, a byte a character. Out: a `Path`, or what is wrong with it.

Must not know of sockets, settings or hooks. Source: RFC 5321 section 4.1.2.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Literal

from hslpy.mail.address import NULL_SENDER, Address, parse_address
from hslpy.records import record

Fault = Literal["syntax", "address", "params"]

# RFC 5321 section 4.5.3.1.3: a path is at most 256 octets, the brackets included.
PATH_LIMIT = 256

_ATOM = r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+"
_LABEL = r"[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?"
# The plain form that nearly all addresses have; whatever it does not match goes to parse_address.
_PLAIN = re.compile(rf"<({_ATOM}(?:\.{_ATOM})*)@({_LABEL}(?:\.{_LABEL})*)>(.*)\Z", re.DOTALL).match
# A-d-l and its colon, RFC 5321 section 4.1.2
_ROUTE = re.compile(rf"@{_LABEL}(?:\.{_LABEL})*(?:,@{_LABEL}(?:\.{_LABEL})*)*:").match
# esmtp-keyword and esmtp-value, RFC 5321 section 4.1.2, and RFC 6531 section 3.3 for what is not ASCII
_PARAM = re.compile(r"([A-Za-z0-9][A-Za-z0-9-]*)(?:=([!-<>-~\x80-\xff]+))?\Z").match
_NO_PARAMS: Mapping[str, str] = {}


@record
class Path:
    """An address with its ESMTP parameters: keys in upper case, values as sent, "" for a parameter without one."""

    address: Address
    params: Mapping[str, str]


@lru_cache(maxsize=1024)  # of 3 KiB at most; who sends much sends much from the same address
def parse_path(argument: str, keyword: str) -> Path | Fault:
    """Give the path after `keyword` (`FROM:` or `TO:`), which is matched without regard to case.

    Blanks after the colon are allowed, for old clients; brackets are not optional. `<>` gives the null sender. A source
    route (`<@a,@b:c@d>`) is dropped, as RFC 5321 section 4.1.1.3 wants it.
    """
    length = len(keyword)
    if argument[:length].upper() != keyword:
        return "syntax"
    rest = argument[length:].lstrip(" ")
    plain = _PLAIN(rest)
    if plain is not None:
        local, domain, tail = plain.groups()
        if len(local) <= 64 and len(domain) <= 255 and len(local) + len(domain) + 3 <= PATH_LIMIT:
            if not tail:
                return Path(Address(local, domain), _NO_PARAMS)
            return _with_params(Address(local, domain), tail)
        return "address"
    if not rest.startswith("<"):
        return "syntax"
    end = _closing_bracket(rest)
    if end < 0:
        return "syntax"
    if end == 1:
        return _with_params(NULL_SENDER, rest[2:])
    text = rest[1:end]
    route = _ROUTE(text) if text[0] == "@" else None
    address = parse_address(text[route.end() :] if route else text) if end < PATH_LIMIT else None
    if route and address == NULL_SENDER:
        return "address"
    return "address" if address is None else _with_params(address, rest[end + 1 :])


def _closing_bracket(text: str) -> int:
    """Give the index of the `>` that ends the path, outside any quoted string, or -1."""
    quoted = False
    i = 1
    while i < len(text):
        ch = text[i]
        if quoted:
            if ch == "\\":
                i += 1
            elif ch == '"':
                quoted = False
        elif ch == '"':
            quoted = True
        elif ch == ">":
            return i
        i += 1
    return -1


def _with_params(address: Address, tail: str) -> Path | Fault:
    if not tail:
        return Path(address, _NO_PARAMS)
    if tail[0] != " ":
        return "syntax"
    params: dict[str, str] = {}
    for word in tail.split(" "):
        if not word:
            continue
        found = _PARAM(word)
        if found is None:
            return "params"
        key = found[1].upper()
        if key in params:
            return "params"
        params[key] = found[2] or ""
    return Path(address, params)

"""Received headers: ours as bytes, folded, CRLF at each end; and those of others taken apart.

In: who sent the message, how, and to whom; or a field's value. Out: a header; or what the value says.

Must not know of sessions or settings. Source: RFC 5321 section 4.4, RFC 3848 (the `with` keywords).
"""

from __future__ import annotations

import ipaddress
import re
import time
from email.utils import mktime_tz, parsedate_tz
from functools import lru_cache

_DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_UNSAFE = re.compile(r"[^A-Za-z0-9.:_\[\]-]").sub


def with_keyword(protocol: str, tls: bool, authenticated: bool) -> str:
    """Give `SMTP`, or `ESMTP` or `UTF8SMTP` (RFC 6531 section 4.3) with `S` under TLS and `A` after AUTH."""
    if protocol == "SMTP":
        return protocol
    return protocol + ("S" if tls else "") + ("A" if authenticated else "")


def received_start(helo: str, remote_ip: str, remote_ptr: str | None, hostname: str, keyword: str, tls: str) -> bytes:
    """Give the part that is the same for all messages of a session, up to and with `id `.

    `tls` is a comment's text (`TLSv1.3 with cipher X (256/256 bits)`), "" without TLS. Characters of `helo` that could
    end the field or open a comment become `?`: it is the client's text.
    """
    literal = f"[IPv6:{remote_ip}]" if ":" in remote_ip else f"[{remote_ip}]"
    ptr = f"{_UNSAFE('?', remote_ptr)} " if remote_ptr else ""
    comment = f"\r\n\t(using {tls})" if tls else ""
    return (
        f"Received: from {_UNSAFE('?', helo) or 'unknown'} ({ptr}{literal}){comment}\r\n\tby {hostname} with {keyword} id "
    ).encode("latin-1", "replace")


def received_end(transaction_id: str, only_recipient: str | None, now: float) -> bytes:
    """Give the rest: id, `for` where there is one recipient alone (a list would tell blind copies), and the date."""
    # A script may have rewritten the address: nothing but printable ASCII goes into a header.
    named = only_recipient is not None and only_recipient.isascii() and only_recipient.isprintable()
    who = f"\r\n\tfor <{only_recipient}>" if named else ""
    return f"{transaction_id}{who};\r\n\t{mail_date(now)}\r\n".encode("latin-1", "replace")


def mail_date(at: float) -> str:
    """Give the date-time of RFC 5322 section 3.3 in UTC, for Unix seconds."""
    return _date_of(int(at))


@lru_cache(maxsize=4)
def _date_of(seconds: int) -> str:
    t = time.gmtime(seconds)
    return (
        f"{_DAYS[t.tm_wday]}, {t.tm_mday} {_MONTHS[t.tm_mon - 1]} {t.tm_year} "
        f"{t.tm_hour:02}:{t.tm_min:02}:{t.tm_sec:02} +0000"
    )


_COMMENT = re.compile(r"\((?:[^()\\]|\\.|\([^()]*\))*\)")
_CLAUSE = re.compile(r"(?:^|\s)(from|by|via|with|id|for)\s+(\S+)", re.IGNORECASE)
_ADDRESS = re.compile(r"\[?(?:IPv6:)?([0-9A-Fa-f:.]{3,45})\]?")
_VALUE_BYTES = 4096  # of a value; more is no Received header


def parse_received(value: str) -> dict[str, str | float]:
    """Give what a Received field says: `helo`, `ip`, `by`, `with`, `id`, `for`, and the time as `ts`.

    What it does not say is left out. `ip` is the address in brackets after `from`, else any there.
    Source: RFC 5321 section 4.4.
    """
    text, _, date = value[:_VALUE_BYTES].rpartition(";")
    if not text:
        text, date = date, ""
    found: dict[str, str | float] = {}
    for name, word in _CLAUSE.findall(_COMMENT.sub(" ", text)):
        key = "helo" if name.lower() == "from" else name.lower()
        found.setdefault(key, word.strip("<>") if key == "for" else word.strip(";,"))
    start = re.search(r"(?:^|\s)by\s", text, re.IGNORECASE)
    address = _find_address(text[: start.start()] if start else text)
    if address and re.match(r"\s*from\s", text, re.IGNORECASE):
        found["ip"] = address
    try:
        parts = parsedate_tz(date.strip()) if date.strip() else None
        if parts is not None:
            found["ts"] = float(mktime_tz(parts))
    except (ValueError, OverflowError):
        pass
    return found


def _find_address(text: str) -> str:
    """Give the first IP address in brackets, else the first at all, "" without one."""
    for match in sorted(_ADDRESS.finditer(text), key=lambda each: not each[0].startswith("[")):
        try:
            return str(ipaddress.ip_address(match[1]))
        except ValueError:
            continue
    return ""

"""xtext: bytes as printable ASCII without `+`, `=` and blanks. In and out: text of a character a byte.

Source: RFC 3461 section 4, for ENVID and ORCPT; Postfix takes it in XCLIENT too.
"""

from __future__ import annotations

import re

_UNSAFE = re.compile(r"[^!-*,-<>-~]")
ESCAPE = re.compile(r"\+([0-9A-F]{2})")
_XTEXT = re.compile(r"(?:[!-*,-<>-~]|\+[0-9A-F]{2})*").fullmatch


def encode(text: str) -> str:
    """Give the text with an escape for each byte that needs one."""
    return _UNSAFE.sub(lambda found: f"+{ord(found[0]):02X}", text)


def decode(text: str) -> str:
    """Give what xtext stands for; a `+` that begins no escape stays as it is."""
    return ESCAPE.sub(lambda found: chr(int(found[1], 16)), text)


def strictly_decoded(text: str) -> str | None:
    """Give what xtext stands for, None where it is none."""
    return decode(text) if _XTEXT(text) else None

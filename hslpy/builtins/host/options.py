"""Reads what scripts hand to host functions: option arrays, addresses, reply codes, text maps. In: values. Out: data.

A key that is not known is an error with a hint, never ignored. Raises ScriptError R301 to R304.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping

from hslpy.builtins.core.arguments import unknown_option, wrong_option
from hslpy.errors import ScriptError
from hslpy.lang.conversions import format_number, key_of_text, to_echo
from hslpy.lang.values import Array, Value, type_name
from hslpy.mail.address import Address, parse_address
from hslpy.mail.reply import Enhanced, Reply

TEXT = ("string",)
NUMBER = ("number",)
BOOLEAN = ("boolean",)
ARRAY = ("array",)
ADDRESS = ("string", "array")
REASON = ("string", "array")

REPLY_LINE_BYTES = 480  # RFC 5321 section 4.5.3.1.5: 512 with code, enhanced code and CRLF
METADATA_BYTES = 64 * 1024  # of one recipient; kept in memory with it while it is queued
REPLY_LINES = 50  # more than any client reads; a bound on what a script makes us send

_XCLIENT_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,63}")


def read_options(
    function: str, options: Array | None, known: Mapping[str, tuple[str, ...]], unsupported: Iterable[str] = ()
) -> dict[str, Value]:
    """Give the options that are set, by name, their types checked against `known`.

    An option that is none counts as not set. A boolean one may be 1 or 0, which is what `true` and `false` are to scripts of
    older profiles. Those in `unsupported` exist in other servers only, and are refused.
    """
    if not options:
        return {}
    found: dict[str, Value] = {}
    for key, value in options.items.items():
        name = str(key)
        types = known.get(name)
        if types is None:
            if name in unsupported:
                raise ScriptError("R301", f"option `{name}` of {function}() is not supported here")
            raise unknown_option(function, name, known)
        if value is None:
            continue
        if value.__class__ is float and value in (0, 1) and BOOLEAN[0] in types and NUMBER[0] not in types:
            value = bool(value)
        if type_name(value) not in types:
            raise wrong_option(function, name, types, value)
        found[name] = value
    return found


def text_map(what: str, value: Array) -> dict[str, str]:
    """Give an array of texts as a dict. Raises ScriptError R302 naming `what` and the key when a value is no string."""
    result: dict[str, str] = {}
    for key, item in value.items.items():
        if item.__class__ is not str:
            raise ScriptError(
                "R302",
                f'{what} wants strings, got {type_name(item)} under "{key}"',
                hint="turn it into text with `string()` or `json_encode()`",
            )
        result[str(key)] = item
    return result


def xclient_map(what: str, value: Array) -> dict[str, str]:
    """Give the attributes of XCLIENT. Raises ScriptError R302 for names that would be more than one word to the peer."""
    attributes = text_map(what, value)
    for name in attributes:
        if not _XCLIENT_NAME.fullmatch(name):
            raise ScriptError("R302", f"{what} wants names such as ADDR or HELO, got {to_echo(None, name)[:60]}")
    return attributes


def read_metadata(value: Array) -> dict[str, str]:
    """Give metadata as a dict of texts. Raises ScriptError R302 for other values, or too much of it."""
    metadata = text_map("metadata", value)
    if sum(len(key) + len(text) for key, text in metadata.items()) > METADATA_BYTES:
        raise ScriptError("R302", f"metadata takes at most {METADATA_BYTES // 1024} KiB")
    return metadata


def text_list(what: str, value: Value) -> tuple[str, ...]:
    """Give a string, or an array of strings, as a tuple."""
    if value.__class__ is str:
        return (value,)
    for item in value.items.values():
        if item.__class__ is not str:
            raise ScriptError("R302", f"{what} wants strings, got {type_name(item)}")
    return tuple(value.items.values())


def map_array(texts: Mapping[str, str]) -> Array:
    """Give a dict of texts as an array; keys that look like integers become numbers."""
    result = Array({}, 0)
    for key, text in texts.items():
        result.set(key_of_text(key), text)
    return result


def find_address(value: Value) -> tuple[Address, dict[str, str]] | None:
    """Give address and parameters from "a@b" or ["localpart", "domain", "params"?], None when it spells no address."""
    if value.__class__ is str:
        address = parse_address(value)
        return None if address is None else (address, {})
    parts = read_options("address", value, {"localpart": TEXT, "domain": TEXT, "params": ARRAY})
    local, domain = parts.get("localpart", ""), parts.get("domain", "")
    address = Address(local, domain)
    if parse_address(str(address)) != address:
        return None
    return address, text_map("`params`", parts["params"]) if "params" in parts else {}


def read_address(function: str, value: Value, null_allowed: bool = False) -> tuple[Address, dict[str, str]]:
    """Give address and parameters. Raises ScriptError R303 when `value` spells none."""
    found = find_address(value)
    if found is None or (found[0].is_null and not null_allowed):
        raise ScriptError("R303", f"{function}() wants an address, got {to_echo(None, value)[:200]}")
    return found


def read_seconds(function: str, name: str, value: float, least: float = 0.0) -> float:
    """Give a duration. Raises ScriptError R302 unless it is a number of seconds from `least` up to a hundred years."""
    if not least <= value <= 3.2e9:
        raise ScriptError("R302", f"{function}() wants `{name}` of at least {least:g} seconds, got {format_number(value)}")
    return value


def read_integer(function: str, name: str, value: float, least: int, most: int) -> int:
    """Give a whole number. Raises ScriptError R302 when it isn't one, or not within the bounds."""
    if not (least <= value <= most) or value != math.floor(value):
        raise ScriptError(
            "R302", f"{function}() wants `{name}` as a whole number from {least} to {most}, got {format_number(value)}"
        )
    return int(value)


def read_reply(function: str, reason: Value, codes: Array | None, default: Reply, *, free: bool = False) -> Reply:
    """Give the reply of a verdict: that of `default` where the script says nothing.

    A code must be of the default's class (a rejection stays 5xx), unless it is `free` to be any. Raises ScriptError R304.
    """
    code, enhanced = default.code, default.enhanced
    if codes is not None:
        assert enhanced is not None
        code, enhanced = _read_codes(function, codes, code, enhanced, free)
    return Reply(code, enhanced, reply_lines(function, reason, default.text))


def reply_lines(function: str, reason: Value, default: str) -> tuple[str, ...]:
    """Give the lines of a reply. A line break never reaches the wire as one: it parts lines."""
    if reason is None:
        return (default,)
    texts = text_list(f"the reason of {function}()", reason)
    lines: list[str] = []
    for text in texts:
        for line in text.replace("\r\n", "\n").replace("\r", "\n").split("\n"):
            lines += [line[i : i + REPLY_LINE_BYTES] for i in range(0, len(line), REPLY_LINE_BYTES)] or [""]
            if len(lines) > REPLY_LINES:
                raise ScriptError("R302", f"the reason of {function}() has more than {REPLY_LINES} lines")
    while lines and not lines[-1]:
        lines.pop()
    return tuple(lines) or (default,)


def _read_codes(
    function: str, codes: Array, code: int, enhanced: Enhanced | None, free: bool
) -> tuple[int, Enhanced | None]:
    family = code // 100
    given = read_options(f"`reply_codes` of {function}()", codes, {"code": NUMBER, "enhanced": ARRAY})
    if "code" in given:
        number = given["code"]
        if free:
            if not 200 <= number < 600:
                raise ScriptError("R304", f"{function}() wants a reply code from 200 to 599, got {format_number(number)}")
            if family != number // 100:
                family = int(number // 100)
                # RFC 2034 section 4: enhanced codes stand in 2xx, 4xx and 5xx alone.
                enhanced = (family, 0, 0) if family != 3 else None
        if number != math.floor(number) or not family * 100 <= number <= family * 100 + 99:
            raise ScriptError("R304", f"{function}() wants a reply code of {family}xx, got {format_number(number)}")
        code = int(number)
    if "enhanced" in given:
        parts = list(given["enhanced"].values())
        if len(parts) != 3 or any(p.__class__ is not float or not 0 <= p <= 999 or p != math.floor(p) for p in parts):
            raise ScriptError("R304", f"{function}() wants `enhanced` as three whole numbers, as in [{family}, 7, 1]")
        if parts[0] != family and family != 3:
            raise ScriptError(
                "R304", f"{function}() wants an enhanced code of {family}.x.x, got {format_number(parts[0])}.x.x"
            )
        enhanced = (int(parts[0]), int(parts[1]), int(parts[2]))
    return code, enhanced

"""Sources that scripts name: ids of configured ones, or addresses. In: values. Out: `SourceChoice`, or ScriptError R306."""

from __future__ import annotations

import ipaddress

from hslpy.builtins.host.contract import HookHost
from hslpy.builtins.host.options import TEXT, read_options
from hslpy.errors import ScriptError
from hslpy.lang.conversions import format_number
from hslpy.lang.diagnostics import suggest
from hslpy.lang.values import Array, Value, type_name
from hslpy.mail.verdict import SourceChoice

# A source as scripts give it; the others are of what `delivery_ips` gives, and say nothing here.
_TOLD = {"family": ("number",), "level": TEXT, "scope": TEXT, "chosen": ("boolean",)}
_KEYS = {"id": ("string", "number"), "address": TEXT, "helo": TEXT, **_TOLD}


def source_id(function: str, host: HookHost, name: str) -> str:
    """Give the configured id that `name` means: `netaddr:1` and `1` are the same. Raises ScriptError R306."""
    ids = host.services.source_addresses
    bare = name.removeprefix("netaddr:")
    for candidate in (name, bare, "netaddr:" + bare):
        if candidate in ids:
            return candidate
    configured = ", ".join(f"`{one}`" for one in sorted(ids)) or "none"
    raise ScriptError(
        "R306",
        f"{function}() names the source `{name[:60]}`, which is not configured",
        hint=suggest(name, ids) or f"configured sources: {configured}",
    )


def read_sources(function: str, host: HookHost, value: Value, nonlocal_source: bool) -> tuple[SourceChoice, ...]:
    """Give the sources a script names: ids, or ["id" or "address", "helo"]; an address needs `nonlocal_source`."""
    items = list(value.values()) if value.__class__ is Array else [value]
    if value.__class__ is Array and value.items.keys() & {"id", "address"}:
        items = [value]
    if not items:
        raise ScriptError("R306", f"{function}() wants at least one source")
    return tuple(_read_source(function, host, item, nonlocal_source) for item in items)


def _read_source(function: str, host: HookHost, item: Value, nonlocal_source: bool) -> SourceChoice:
    helo = None
    if item.__class__ is Array:
        given = read_options(f"{function}(sourceip)", item, _KEYS)
        helo = host_name(function, given["helo"]) if "helo" in given else None
        if "address" in given:
            if "id" in given:
                raise ScriptError("R306", f"{function}() wants a source by `id` or by `address`, got both")
            own = _is_delivery_ip(host, given["address"])
            return SourceChoice(address=_literal(function, given["address"], own or nonlocal_source), helo=helo)
        item = given.get("id")
    if item.__class__ is float:
        item = format_number(item)
    if item.__class__ is not str:
        raise ScriptError("R306", f"{function}() wants a source's id, got {type_name(item)}")
    if nonlocal_source and is_ip(item):
        return SourceChoice(address=item, helo=helo)
    return SourceChoice(id=source_id(function, host, item), helo=helo)


def _is_delivery_ip(host: HookHost, address: str) -> bool:
    """Say whether the settings of delivery IPs have the address for this node."""
    departures = host.services.departures
    return departures is not None and departures.has(address)


def _literal(function: str, text: str, nonlocal_source: bool) -> str:
    if not is_ip(text):
        raise ScriptError("R306", f'{function}() wants an IP address, got "{text[:60]}"')
    if not nonlocal_source:
        raise ScriptError(
            "R306",
            f"{function}() names the address {text}, which is no configured source",
            hint='configure it and use its id, or add `"nonlocal_source" => true`',
        )
    return text


def is_ip(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


def host_name(function: str, text: str) -> str:
    if not 1 <= len(text) <= 255 or not all("!" <= ch <= "~" for ch in text):
        raise ScriptError("R302", f'{function}() wants a host name, got "{text[:60]}"')
    return text

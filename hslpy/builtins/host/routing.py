"""How an attempt is made, as `Try` and `send` take it: TLS, timeouts, hosts. In: options. Out: fields of `TryOptions`."""

from __future__ import annotations

from typing import Any, get_args

from hslpy.builtins.core.arguments import unknown_word
from hslpy.builtins.host.options import read_seconds, text_list
from hslpy.builtins.host.peers import TLS, read_tls
from hslpy.builtins.host.sources import host_name
from hslpy.errors import ScriptError
from hslpy.lang.run import Run
from hslpy.lang.values import Array, Value, type_name
from hslpy.mail.verdict import TlsMode

TLS_MODES: tuple[str, ...] = get_args(TlsMode)
# What can be waited for in the dialogue. Source: the HSL manual, Post-delivery
STATES = (
    *("BANNER", "HELO", "EHLO", "LHLO", "STARTTLS", "AUTH-CRAM-MD5", "AUTH-PLAIN", "AUTH-LOGIN", "AUTH-LOGIN-USER", "AUTH"),
    *("XCLIENT", "MAIL", "RCPT", "DATA", "EOD", "RSET", "NOOP", "QUIT"),
)


def tls_fields(call: Run, function: str, given: dict[str, Value]) -> dict[str, Any]:
    """Give the fields of `TryOptions` that the TLS options ask for. Raises ScriptError R302."""
    fields: dict[str, Any] = {}
    if "tls" in given:
        if given["tls"] not in TLS_MODES:
            raise unknown_word(function, "TLS mode", given["tls"], TLS_MODES)
        fields["tls"] = given["tls"]
    sni = given.get("tls_sni")
    if sni.__class__ is str:
        fields["tls_sni"] = host_name(function, sni)
    if "tls_verify_host" in given:
        fields["tls_verify_host"] = given["tls_verify_host"]
    if "tls_verify_name" in given:
        fields["tls_verify_name"] = text_list("`tls_verify_name`", given["tls_verify_name"])
    if given.keys() & TLS.keys() - {"tls_verify_host"}:
        wanted = read_tls(call, function, given, verify_peer=False)
        fields.update(tls_protocols=wanted.protocols, tls_ciphers=wanted.ciphers)
        fields.update(tls_default_ca=wanted.default_ca, tls_client_cert=wanted.client_cert)
    return fields


def timeout_fields(function: str, given: dict[str, Value]) -> dict[str, Any]:
    """Give the fields of `TryOptions` for `timeout` (seconds, or seconds by state) and `connect_timeout`."""
    fields: dict[str, Any] = {}
    timeout = given.get("timeout")
    if timeout.__class__ is Array:
        fields["state_timeouts"] = _state_timeouts(function, timeout)
    elif timeout is not None:
        fields["timeout_s"] = read_seconds(function, "timeout", timeout, 0.001)
    if "connect_timeout" in given:
        fields["connect_timeout_s"] = read_seconds(function, "connect_timeout", given["connect_timeout"], 0.001)
    return fields


def hosts_fields(given: dict[str, Value]) -> dict[str, Any]:
    """Give the fields of `TryOptions` for `mx_include` and `mx_exclude`."""
    return {option: text_list(f"`{option}`", given[option]) for option in ("mx_include", "mx_exclude") if option in given}


def _state_timeouts(function: str, value: Array) -> dict[str, float]:
    found: dict[str, float] = {}
    for key, seconds in value.items.items():
        state = str(key)
        if state not in STATES:
            raise unknown_word(f"`timeout` of {function}()", "state", state, STATES)
        if seconds.__class__ is not float:
            raise ScriptError("R302", f"{function}() wants numbers in `timeout`, got {type_name(seconds)}")
        found[state] = read_seconds(function, f"timeout[{state}]", seconds, 0.001)
    return found

"""Functions that ask other servers: SMTP, ident, Dovecot, RADIUS, TACACS+, Minger. In: a server, names. Out: 1, 0 or -1.

The asking is `client/`'s. Source: the HSL manual, 2015 to 2019; for minger_lookup() the vendor's public module.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from hslpy.builtins.core.certificates import certificate_object
from hslpy.builtins.host.options import (
    ARRAY,
    BOOLEAN,
    NUMBER,
    TEXT,
    read_address,
    read_integer,
    read_options,
    read_seconds,
    text_list,
    xclient_map,
)
from hslpy.builtins.host.peers import SOURCE, TLS, read_source
from hslpy.builtins.host.routing import hosts_fields, timeout_fields, tls_fields
from hslpy.builtins.host.sources import host_name
from hslpy.client.contract import Timeouts, TlsWanted
from hslpy.client.lookup_contract import (
    Auth,
    Dovecot,
    Finding,
    Ident,
    Minger,
    Peer,
    Question,
    Radius,
    Rcpt,
    Server,
    TacacsLogin,
    TacacsRights,
)
from hslpy.errors import ScriptError
from hslpy.lang.declare import Effect, Topic
from hslpy.lang.diagnostics import suggest
from hslpy.lang.run import Run
from hslpy.lang.values import Array, Value
from hslpy.late import x509

TOPIC = Topic("look-ups")

_SERVER = {
    "host": TEXT,
    "port": NUMBER,
    "helo": TEXT,
    **SOURCE,
    "nonlocal_source": BOOLEAN,
    "saslusername": TEXT,
    "saslpassword": TEXT,
    "sasl_username": TEXT,  # the names of 2015
    "sasl_password": TEXT,
    "tls": TEXT,
    "tls_sni": ("string", "boolean"),
    **TLS,
    "tls_verify_name": ARRAY,
    "tls_capture_peer_cert": BOOLEAN,
    "xclient": ARRAY,
    "protocol": TEXT,
    "mx_include": ARRAY,
    "mx_exclude": ARRAY,
    "timeout": ("number", "array"),
    "connect_timeout": NUMBER,
}
_PEER = {"host": TEXT, "port": NUMBER, "timeout": NUMBER}


# ---- SMTP ---------------------------------------------------------------------------------------


def read_server(call: Run, function: str, value: Value) -> Server:
    """Give the server of an array of settings, or of a transport's id. Raises ScriptError R301, R302, R306."""
    if value.__class__ is str:
        servers = call.host.services.servers
        if value not in servers:
            hint = suggest(value, servers) or "add a [[transport]] table with that `id`, and its `next_hop`, to the settings"
            raise ScriptError("R302", f"{function}() names the transport `{value[:60]}`, which is not configured", hint=hint)
        found: Server = servers[value]
        return found
    given = read_options(f"`server` of {function}()", value, _SERVER)
    protocol = given.get("protocol", "smtp")
    if protocol not in ("smtp", "lmtp"):
        raise ScriptError("R302", f'{function}() wants `protocol` as "smtp" or "lmtp", got "{protocol[:20]}"')
    fields = tls_fields(call, function, given) | timeout_fields(function, given) | hosts_fields(given)
    host = given.get("host")
    return Server(
        host=None if host in (None, "", "lookup-mx") else host_name(function, host),
        port=_port(function, given, 25),
        helo=host_name(function, given["helo"]) if given.get("helo") else "",
        source_ip=read_source(call, function, given),
        nonlocal_source=given.get("nonlocal_source", False),
        protocol=protocol,
        tls=fields.get("tls", "disabled"),
        tls_sni=fields.get("tls_sni"),
        tls_verify_host=fields.get("tls_verify_host", False),
        tls_names=fields.get("tls_verify_name", ()),
        tls_wanted=TlsWanted(
            default_ca=fields.get("tls_default_ca", False),
            protocols=fields.get("tls_protocols", ""),
            ciphers=fields.get("tls_ciphers", ""),
            client_cert=fields.get("tls_client_cert", ""),
        ),
        sasl_username=given.get("saslusername", given.get("sasl_username")),
        sasl_password=given.get("saslpassword", given.get("sasl_password")),
        xclient=tuple(xclient_map(f"`xclient` of {function}()", given["xclient"]).items()) if "xclient" in given else (),
        mx_include=fields.get("mx_include", ()),
        mx_exclude=fields.get("mx_exclude", ()),
        timeouts=_timeouts(fields),
    )


def _timeouts(fields: dict[str, Any]) -> Timeouts:
    timeouts = Timeouts(
        connect_s=fields.get("connect_timeout_s", 30.0), by_state=tuple(fields.get("state_timeouts", {}).items())
    )
    step_s = fields.get("timeout_s")
    return timeouts if step_s is None else replace(timeouts, greeting_s=step_s, command_s=step_s)


def _port(function: str, given: dict[str, Value], default: int) -> int:
    return read_integer(function, "port", given.get("port", float(default)), 1, 65535)


@TOPIC.builtin(
    "smtp_lookup_rcpt(server: string | array, sender: string | array, recipient: string | array, [options: array])"
    " -> number | array",
    effect=Effect.IO,
    examples=['if (smtp_lookup_rcpt(["host" => "mx.example.com"], "", "a@example.com") == 0) echo "unknown";'],
)
def smtp_lookup_rcpt(
    call: Run, server: Value, sender: Value, recipient: Value, options: Array | None = None
) -> float | Array:
    """Ask an SMTP server whether it takes mail from `sender` to `recipient`: 1 yes, 0 no (whatever its code), -1 an error.

    No mail is sent. With "extended_result" => true (once "error_code" => true) an array: "error_code" is the code of the
    server's reply, 0 where there was none, "error_message" its text or the error, "on_rcptto" whether that was said to
    RCPT, "tls" an array with "started", "protocol", "cipher" and "keysize". An empty `sender` is the null sender.

    `server` is the id of a transport, or an array:

    | option | default | |
    |---|---|---|
    | `host` | the MX of the recipient's domain | host name or IP address; "lookup-mx" is the default too |
    | `port` | 25 | |
    | `helo` | the server's own name | what EHLO says |
    | `sourceip`, `sourceipid` | the system's | the address to leave from: an IP address, or a configured source |
    | `nonlocal_source` | false | that address need not be one of this machine |
    | `saslusername`, `saslpassword` | none | sign in first; without TLS only where `tls` is `disabled` |
    | `tls` | disabled | `disabled`, `optional`, `optional_verify`, `require` or `require_verify` |
    | `tls_sni` | the host | the name that the server is asked for |
    | `tls_verify_host`, `tls_verify_name` | false, [] | for the `_verify` modes: the host's name, or one of these |
    | `tls_protocols`, `tls_ciphers` | OpenSSL's | as in `!TLSv1.2`; OpenSSL's list |
    | `tls_default_ca` | false | trust the system's authorities beside those of `client.ca_file` |
    | `tls_client_cert` | none | `pki:` and the id of a [[pki]] table, ["x509", "privatekey", "chain"], or PEM with both |
    | `tls_capture_peer_cert` | false | give the certificate in the extended result, as ["tls"]["peer_cert"] |
    | `xclient` | [] | attributes for XCLIENT |
    | `protocol` | smtp | `smtp` or `lmtp` |
    | `mx_include`, `mx_exclude` | [] | which hosts of the MX are tried; `*` matches |
    | `connect_timeout` | 30 | seconds |
    | `timeout` | RFC 5321's | seconds, or seconds by state, as in ["RCPT" => 10] |
    """
    given = read_options("smtp_lookup_rcpt", options, {"extended_result": BOOLEAN, "error_code": BOOLEAN})
    where = read_server(call, "smtp_lookup_rcpt", server)
    (from_, from_params) = read_address("smtp_lookup_rcpt", sender, null_allowed=True)
    (to, to_params) = read_address("smtp_lookup_rcpt", recipient)
    found = _ask(call, Rcpt(where, from_, to, from_params, to_params))
    if not (given.get("extended_result") or given.get("error_code")):
        return float(found.code)
    reply = found.reply
    enhanced = "{}.{}.{} ".format(*reply.enhanced) if reply is not None and reply.enhanced else ""
    capture = server.__class__ is Array and server.items.get("tls_capture_peer_cert") is True
    return Array.mapping(
        {
            "error_code": float(reply.code) if reply is not None else 0.0,
            "error_message": f"{enhanced}{reply.text}" if reply is not None else found.error,
            "on_rcptto": found.state == "RCPT",
            "tls": _tls_array(found, capture),
        }
    )


def _tls_array(found: Finding, capture: bool) -> Array:
    tls = found.tls
    if tls is None:
        return Array.mapping({"started": False})
    fields: dict[str, Any] = {
        "started": True,
        "protocol": tls.protocol,
        "cipher": tls.cipher,
        "keysize": float(tls.key_bits),
    }
    if capture and found.certificate:
        fields["peer_cert"] = certificate_object(x509.load_der_x509_certificate(found.certificate))
    return Array.mapping(fields)


@TOPIC.builtin(
    "smtp_lookup_auth(server: string | array, username: string, password: string) -> number",
    effect=Effect.IO,
    examples=['smtp_lookup_auth(["host" => "mail.example.com", "port" => 587, "tls" => "require"], "me", "secret");'],
)
def smtp_lookup_auth(call: Run, server: Value, username: str, password: str) -> float:
    """Ask an SMTP server whether it takes a login: 1 yes, 0 no, -1 an error, a temporary refusal among them.

    For a user's own password `tls` should be `require`; `disabled` sends it in the clear.
    `server` is as of smtp_lookup_rcpt().
    """
    where = read_server(call, "smtp_lookup_auth", server)
    if where.host is None:
        raise ScriptError("R302", "smtp_lookup_auth() wants `host` in `server`")
    return float(_ask(call, Auth(replace(where, sasl_username=username, sasl_password=password))).code)


def _ask(call: Run, question: Question) -> Finding:
    found: Finding = call.wait(call.host.services.lookups.ask(question))
    if found.code < 0:
        call.host.warn("hooks.lookup_failed", function=question.function, server=question.asked, error=found.error)
    return found


# ---- other protocols ----------------------------------------------------------------------------


def _peer(function: str, given: dict[str, Value], default_port: int | None) -> Peer:
    """Give the server that the options name. Raises ScriptError R302."""
    for name in ("host", *(() if default_port is not None else ("port",))):
        if name not in given:
            raise ScriptError("R302", f"{function}() wants `{name}` in `options`")
    timeout_s = read_seconds(function, "timeout", given.get("timeout", 5.0), least=0.001)
    return Peer(host_name(function, given["host"]), _port(function, given, default_port or 1), timeout_s)


def _secret(function: str, given: dict[str, Value]) -> str:
    if "secret" not in given:
        raise ScriptError("R302", f"{function}() wants `secret` in `options`")
    text: str = given["secret"]
    return text


@TOPIC.builtin(
    "ident_lookup(senderip: string, senderport: number, serverip: string, serverport: number, [options: array])"
    " -> array | none",
    effect=Effect.IO,
    examples=['$user = (ident_lookup("192.0.2.7", 40000, "192.0.2.1", 25) ?? [])["username"] ?? "unknown";'],
)
def ident_lookup(
    call: Run, senderip: str, senderport: float, serverip: str, serverport: float, options: Array | None = None
) -> Array | None:
    """Ask a client's ident server (RFC 1413) whose a connection is: ["os", "username"], or ["error"]; none if that fails.

    The question leaves from `serverip`, which is an address of this machine. Options: "port" (113), "timeout" (5 seconds).
    """
    given = read_options("ident_lookup", options, {"port": NUMBER, "timeout": NUMBER})
    peer = _peer("ident_lookup", {**given, "host": senderip}, 113)
    ports = [read_integer("ident_lookup", name, port, 1, 65535) for name, port in _named(senderport, serverport)]
    found = _ask(call, Ident(peer, ports[0], host_name("ident_lookup", serverip), ports[1]))
    return Array.mapping(dict(found.values)) if found.code > 0 else None


def _named(senderport: float, serverport: float) -> tuple[tuple[str, float], ...]:
    return (("senderport", senderport), ("serverport", serverport))


@TOPIC.builtin(
    "dovecot_lookup_auth(options: array, username: string, password: string) -> number",
    effect=Effect.IO,
    examples=['dovecot_lookup_auth(["host" => "192.0.2.9", "port" => 12345], "me", "secret");'],
)
def dovecot_lookup_auth(call: Run, options: Array, username: str, password: str) -> float:
    """Ask Dovecot whether a login is right: 1 yes, 0 no, -1 an error.

    Options: "host" and "port" of an `inet_listener` of Dovecot's `service auth`; "timeout" (5 seconds), "service" (smtp),
    "rip" and "lip" (addresses of the client and of ours), "secured" (false: whether the client came over TLS).
    """
    known = {**_PEER, "service": TEXT, "rip": TEXT, "lip": TEXT, "secured": BOOLEAN}
    given = read_options("dovecot_lookup_auth", options, known)
    question = Dovecot(
        _peer("dovecot_lookup_auth", given, None),
        username,
        password,
        service=given.get("service", "smtp"),
        remote_ip=given.get("rip", ""),
        local_ip=given.get("lip", ""),
        secured=given.get("secured", False),
    )
    return float(_ask(call, question).code)


@TOPIC.builtin(
    "radius_authen(options: array, username: string, password: string, [vendorstrings: array]) -> number",
    effect=Effect.IO,
    examples=['radius_authen(["host" => "192.0.2.9", "secret" => "shared"], "me", "secret");'],
)
def radius_authen(call: Run, options: Array, username: str, password: str, vendorstrings: Array | None = None) -> float:
    """Ask a RADIUS server whether a login is right: 1 yes, 0 no, -1 an error.

    Options: "host", "secret", "port" (1812), "timeout" (5 seconds for each try), "retry" (3 more tries), "clientip" (sent
    as Calling-Station-Id). `vendorstrings` are attributes of the vendor 33234, by number; those of a list count from 1.
    """
    given = read_options("radius_authen", options, {**_PEER, "secret": TEXT, "clientip": TEXT, "retry": NUMBER})
    question = Radius(
        _peer("radius_authen", given, 1812),
        _secret("radius_authen", given),
        username,
        password,
        client_ip=given.get("clientip", ""),
        retries=read_integer("radius_authen", "retry", given.get("retry", 3.0), 0, 100),
        vendor=_vendor_attributes(vendorstrings),
    )
    return float(_ask(call, question).code)


def _vendor_attributes(strings: Array | None) -> tuple[tuple[int, str], ...]:
    found: list[tuple[int, str]] = []
    first = 1 if strings is not None and 0 in strings.items else 0
    for key, text in strings.items.items() if strings is not None else ():
        if key.__class__ is not int or not 1 <= key + first <= 255 or text.__class__ is not str or len(text) > 247:
            raise ScriptError("R302", "radius_authen() wants strings of up to 247 bytes, by numbers up to 255")
        found.append((key + first, text))
    return tuple(found)


_TACPLUS = {**_PEER, "secret": TEXT, "clientip": TEXT}


@TOPIC.builtin(
    "tacplus_authen(options: array, username: string, password: string) -> number",
    effect=Effect.IO,
    examples=['tacplus_authen(["host" => "192.0.2.9", "secret" => "shared"], "me", "secret");'],
)
def tacplus_authen(call: Run, options: Array, username: str, password: str) -> float:
    """Ask a TACACS+ server whether a login is right (by PAP): 1 yes, 0 no, -1 an error.

    Options: "host", "secret", "port" (49), "timeout" (5 seconds), "clientip" (the client's address).
    """
    given = read_options("tacplus_authen", options, _TACPLUS)
    peer, secret = _peer("tacplus_authen", given, 49), _secret("tacplus_authen", given)
    return float(_ask(call, TacacsLogin(peer, secret, username, password, given.get("clientip", ""))).code)


@TOPIC.builtin(
    "tacplus_author(options: array, username: string, avpair: array) -> array | number",
    effect=Effect.IO,
    examples=['tacplus_author(["host" => "192.0.2.9", "secret" => "shared"], "me", ["service=smtp"]);'],
)
def tacplus_author(call: Run, options: Array, username: str, avpair: Array) -> Array | float:
    """Ask a TACACS+ server for rights: the pairs that it answers with, 0 when it refuses, -1 for an error.

    `avpair` is a list as in ["service=smtp", "cmd="]. Options as of tacplus_authen().
    """
    given = read_options("tacplus_author", options, _TACPLUS)
    peer, secret = _peer("tacplus_author", given, 49), _secret("tacplus_author", given)
    pairs = text_list("`avpair` of tacplus_author()", avpair)
    found = _ask(call, TacacsRights(peer, secret, username, pairs, given.get("clientip", "")))
    return Array.of([text for _, text in found.values]) if found.code > 0 else float(found.code)


@TOPIC.builtin(
    "minger_lookup(host: string, address: string, [options: array]) -> number",
    effect=Effect.IO,
    examples=['minger_lookup("192.0.2.9", "a@example.com", ["secret" => "shared"]);'],
)
def minger_lookup(call: Run, host: str, address: str, options: Array | None = None) -> float:
    """Ask a Minger server about an address: the status that it answers, -1 for an error.

    Options: "port" (4069), "timeout" (5 seconds), "secret" (none: the question is not signed).
    """
    given = read_options("minger_lookup", options, {"port": NUMBER, "timeout": NUMBER, "secret": TEXT})
    if not 1 <= len(address) <= 320 or not all("!" <= ch != "\x7f" for ch in address):
        raise ScriptError("R303", f'minger_lookup() wants an address, got "{address[:60]}"')
    found = _ask(call, Minger(_peer("minger_lookup", {**given, "host": host}, 4069), address, given.get("secret")))
    return float(found.number) if found.code > 0 else -1.0

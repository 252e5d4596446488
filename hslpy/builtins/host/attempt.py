"""Pre-delivery: how the attempt is made, or that it isn't made now. In: ids and options. Out: a `QueueVerdict`.

Setters gather the fields of `TryOptions` and change the classic variables; the attempt starts when the script ends.
Source choice itself, DNS and connections are `delivery`'s. Source: the HSL manual, Pre-delivery.
"""

from __future__ import annotations

from typing import Any

from hslpy.builtins.host.dsn import read_dsn
from hslpy.builtins.host.options import (
    ADDRESS,
    ARRAY,
    BOOLEAN,
    NUMBER,
    TEXT,
    read_address,
    read_integer,
    read_options,
    read_seconds,
    text_map,
    xclient_map,
)
from hslpy.builtins.host.peers import TLS
from hslpy.builtins.host.routing import hosts_fields, timeout_fields, tls_fields
from hslpy.builtins.host.shown import show_address
from hslpy.builtins.host.sources import host_name, read_sources
from hslpy.builtins.host.state import QueueState
from hslpy.errors import ScriptError
from hslpy.lang.declare import Effect, Topic
from hslpy.lang.faults import place_now
from hslpy.lang.run import Run, VerdictGiven
from hslpy.lang.values import Array, Value
from hslpy.mail.verdict import QueueOptions, QueueVerdict, TryOptions

TOPIC = Topic("attempt")

_PRE = ("predelivery",)
_TLS = {"tls": TEXT, "tls_sni": ("string", "boolean"), "tls_verify_name": ARRAY, **TLS}
_TLS_ELSEWHERE = ("tls_capture_peer_cert",)
_TRY = {
    "host": TEXT,
    "port": NUMBER,
    "sender": ADDRESS,
    "recipient": ADDRESS,
    "helo": TEXT,
    "sourceip": ("array", "string"),
    "sourceip_random": BOOLEAN,
    "nonlocal_source": BOOLEAN,
    "saslusername": TEXT,
    "saslpassword": TEXT,
    **_TLS,
    "xclient": ARRAY,
    "protocol": TEXT,
    "mx_include": ARRAY,
    "mx_exclude": ARRAY,
    "jobid": TEXT,
    "timeout": ("number", "array"),
    "connect_timeout": NUMBER,
    "dsn": ARRAY,
}
_TRY_ELSEWHERE = (*_TLS_ELSEWHERE, "plugin")
QUEUE_OPTIONS = {
    "hold": BOOLEAN,
    "delay": NUMBER,
    "reason": TEXT,
    "increment_retry": BOOLEAN,
    "reset_retry": BOOLEAN,
    "transportid": TEXT,
    "dsn": ARRAY,
}


# ---- fields of the attempt ----------------------------------------------------------------------


def _attempt(call: Run) -> dict[str, Any]:
    state: QueueState = call.host.state
    return state.attempt


def _set_sources(call: Run, function: str, value: Value, nonlocal_source: bool) -> None:
    sources = read_sources(function, call.host, value, nonlocal_source)
    _attempt(call)["sources"] = sources
    if call.program is not None:
        call.host.state.source_by = place_now(call.program)
    first = sources[0]
    call.host.facts["sourceip"] = first.address or call.host.services.source_addresses.get(first.id or "", first.id)


def _set_destination(call: Run, function: str, host: str | None, port: float | None) -> None:
    attempt = _attempt(call)
    if host is not None:
        attempt["host"] = host_name(function, host)  # "lookup-mx" stays: MX delivery whatever the transport says
        call.host.facts["destination"] = "" if host == "lookup-mx" else host
    if port is not None:
        attempt["port"] = read_integer(function, "port", port, 1, 65535)
        call.host.facts["destinationport"] = port


def _set_address(call: Run, function: str, field: str, value: Value) -> None:
    address, params = read_address(function, value, null_allowed=field == "sender")
    attempt = _attempt(call)
    attempt[field] = address
    if params:
        attempt[f"{field}_params"] = params
    show_address(call.host, field, address)


def _set_protocol(call: Run, function: str, protocol: str) -> None:
    if protocol not in ("smtp", "lmtp"):
        raise ScriptError("R302", f'{function}() wants `protocol` as "smtp" or "lmtp", got "{protocol[:20]}"')
    _attempt(call)["protocol"] = protocol


# ---- setters ------------------------------------------------------------------------------------


@TOPIC.builtin(
    "SetSourceIP(netaddr: string | array, [options: array]) -> none",
    effect=Effect.IO,
    hooks=_PRE,
    examples=['SetSourceIP("netaddr:1");', 'SetSourceIP(["netaddr:1", "netaddr:2"]);'],
)
def set_source_ip(call: Run, netaddr: Value, options: Array | None = None) -> None:
    """Make this attempt from the configured source(s) with these ids; a list may hold one of each IP family.

    Option `nonlocal_source` (false): the address need not be one of this machine.
    """
    given = read_options("SetSourceIP", options, {"nonlocal_source": BOOLEAN})
    _set_sources(call, "SetSourceIP", netaddr, given.get("nonlocal_source", False))


@TOPIC.builtin("SetHELO(hostname: string) -> none", effect=Effect.IO, hooks=_PRE, examples=['SetHELO("out.example.org");'])
def set_helo(call: Run, hostname: str) -> None:
    """Say this name in EHLO at this attempt."""
    _attempt(call)["helo"] = host_name("SetHELO", hostname)


@TOPIC.builtin(
    "SetDestination(host: string, [port: number]) -> none",
    effect=Effect.IO,
    hooks=_PRE,
    examples=['SetDestination("relay.example.org", 587);'],
)
def set_destination(call: Run, host: str, port: float | None = None) -> None:
    """Make this attempt at that host instead of the transport's."""
    _set_destination(call, "SetDestination", host, port)


@TOPIC.builtin("SetProtocol(protocol: string) -> none", effect=Effect.IO, hooks=_PRE, examples=['SetProtocol("lmtp");'])
def set_protocol(call: Run, protocol: str) -> None:
    """Speak `smtp` or `lmtp` at this attempt."""
    _set_protocol(call, "SetProtocol", protocol)


@TOPIC.builtin("SetTLS(options: array) -> none", effect=Effect.IO, hooks=_PRE, examples=['SetTLS(["tls" => "require"]);'])
def set_tls(call: Run, options: Array) -> None:
    """Use TLS at this attempt as the options say.

    These are `tls` and the options of Try() that begin with `tls_`.
    """
    _attempt(call).update(tls_fields(call, "SetTLS", read_options("SetTLS", options, _TLS, _TLS_ELSEWHERE)))


@TOPIC.builtin(
    "SetSASL(username: string, password: string) -> none",
    effect=Effect.IO,
    hooks=_PRE,
    examples=['SetSASL("me", "secret");'],
)
def set_sasl(call: Run, username: str, password: str) -> None:
    """Sign in at this attempt."""
    _attempt(call).update(sasl_username=username, sasl_password=password)


@TOPIC.builtin(
    "SetXCLIENT(attributes: array) -> none", effect=Effect.IO, hooks=_PRE, examples=['SetXCLIENT(["ADDR" => $senderip]);']
)
def set_xclient(call: Run, attributes: Array) -> None:
    """Send these XCLIENT attributes at this attempt."""
    _attempt(call)["xclient"] = xclient_map("SetXCLIENT()", attributes)


@TOPIC.builtin(
    "SetSender(sender: string) -> none", effect=Effect.IO, hooks=_PRE, examples=['SetSender("bounces@example.org");']
)
def set_sender(call: Run, sender: str) -> None:
    """Say this address in MAIL FROM at this attempt."""
    _set_address(call, "SetSender", "sender", sender)


@TOPIC.builtin(
    "SetRecipient(recipient: string) -> none", effect=Effect.IO, hooks=_PRE, examples=['SetRecipient("a@example.org");']
)
def set_recipient(call: Run, recipient: str) -> None:
    """Say this address in RCPT TO at this attempt."""
    _set_address(call, "SetRecipient", "recipient", recipient)


@TOPIC.builtin(
    "SetSenderParams(params: array) -> none", effect=Effect.IO, hooks=_PRE, examples=['SetSenderParams(["RET" => "HDRS"]);']
)
def set_sender_params(call: Run, params: Array) -> None:
    """Send these parameters with MAIL FROM at this attempt."""
    _attempt(call)["sender_params"] = text_map("SetSenderParams()", params)


@TOPIC.builtin(
    "SetRecipientParams(params: array) -> none",
    effect=Effect.IO,
    hooks=_PRE,
    examples=['SetRecipientParams(["NOTIFY" => "NEVER"]);'],
)
def set_recipient_params(call: Run, params: Array) -> None:
    """Send these parameters with RCPT TO at this attempt."""
    _attempt(call)["recipient_params"] = text_map("SetRecipientParams()", params)


# ---- verdicts -----------------------------------------------------------------------------------


@TOPIC.builtin(
    "Try([options: array]) -> terminates",
    effect=Effect.IO,
    hooks=_PRE,
    examples=['Try(["sourceip" => ["1"], "tls" => "require"]);'],
)
def try_(call: Run, options: Array | None = None) -> None:
    """Make the attempt now, as the options and the setters before say.

    | option | what it says |
    |---|---|
    | `host`, `port` | where to, instead of the transport's; "lookup-mx" for the MX of the recipient's domain |
    | `sourceip`, `sourceip_random` | ids of configured sources, tried in their order or in any |
    | `nonlocal_source` | the address need not be one of this machine |
    | `helo` | the name said in EHLO, instead of the source's |
    | `sender`, `recipient` | other addresses in MAIL FROM and RCPT TO |
    | `saslusername`, `saslpassword` | sign in; without TLS only where `tls` is `disabled` |
    | `tls` | `disabled`, `optional`, `optional_verify`, `require` or `require_verify` |
    | `tls_sni` | the name that the server is asked for; true for the host's |
    | `tls_verify_host`, `tls_verify_name` | for the `_verify` modes: the host's name, or a list of names |
    | `tls_default_ca` | trust the system's authorities beside those of `client.ca_file` |
    | `tls_protocols`, `tls_ciphers` | as in `!TLSv1.2`; OpenSSL's list |
    | `tls_client_cert` | `pki:` and the id of a [[pki]] table, ["x509", "privatekey", "chain"], or PEM with both |
    | `protocol` | `smtp` or `lmtp` |
    | `xclient` | attributes for XCLIENT, by name |
    | `mx_include`, `mx_exclude` | which hosts of the MX are tried; `*` matches |
    | `connect_timeout`, `timeout` | seconds; `timeout` also by state, as in ["RCPT" => 10] |
    | `jobid` | its job id from now on |
    | `dsn` | what a report of a failure is like: the options of SetDSN() |
    """
    given = read_options("Try", options, _TRY, _TRY_ELSEWHERE)
    attempt = _attempt(call)
    read_dsn(call, "Try", given.get("dsn"))
    if "sourceip" in given:
        _set_sources(call, "Try", given["sourceip"], given.get("nonlocal_source", False))
    _set_destination(call, "Try", given.get("host"), given.get("port"))
    attempt.update(tls_fields(call, "Try", given))
    for field in ("sender", "recipient"):
        if field in given:
            _set_address(call, "Try", field, given[field])
    if "helo" in given:
        attempt["helo"] = host_name("Try", given["helo"])
    if "protocol" in given:
        _set_protocol(call, "Try", given["protocol"])
    if "xclient" in given:
        attempt["xclient"] = xclient_map("`xclient`", given["xclient"])
    attempt.update(hosts_fields(given))
    attempt.update(timeout_fields("Try", given))
    for option, field in _RENAMED.items():
        if option in given:
            attempt[field] = given[option]
    raise VerdictGiven(QueueVerdict("try", attempt=TryOptions(**attempt)))


_RENAMED = {
    "sourceip_random": "source_random",
    "saslusername": "sasl_username",
    "saslpassword": "sasl_password",
    "jobid": "job_id",
}


@TOPIC.builtin("Queue([options: array]) -> terminates", effect=Effect.IO, hooks=_PRE, examples=['Queue(["delay" => 600]);'])
def queue(call: Run, options: Array | None = None) -> None:
    """Make no attempt now; put the message back, by the retry schedule or as the options say.

    | option | what it does | default |
    |---|---|---|
    | `delay` | seconds until the next attempt | by the schedule |
    | `hold` | wait until somebody releases it | false |
    | `reason` | why, for the queue and the log | |
    | `increment_retry` | count this as an attempt | true |
    | `reset_retry` | begin to count anew | false |
    | `transportid` | another transport from now on | |
    | `dsn` | what a report of a failure is like: the options of SetDSN() | |
    """
    raise VerdictGiven(QueueVerdict("queue", queue=queue_options(call, "Queue", options)))


@TOPIC.builtin(
    "Reschedule(delay: number, [options: array]) -> terminates",
    effect=Effect.IO,
    hooks=_PRE,
    examples=['Reschedule(300, ["increment_retry" => false]);'],
)
def reschedule(call: Run, delay: float, options: Array | None = None) -> None:
    """Make no attempt now but in `delay` seconds. Now `Queue(["delay" => ...])`, whose options it takes."""
    raise VerdictGiven(QueueVerdict("queue", queue=queue_options(call, "Reschedule", options, delay)))


@TOPIC.builtin("Bounce([options: array]) -> terminates", effect=Effect.IO, hooks=_PRE, examples=["Bounce();"])
def bounce(call: Run, options: Array | None = None) -> None:
    """Make no attempt; remove the message and report it to the sender.

    Option `dsn`: what the report is like, by the options of SetDSN().
    """
    read_dsn(call, "Bounce", read_options("Bounce", options, {"dsn": ARRAY}).get("dsn"))
    raise VerdictGiven(QueueVerdict("bounce"))


@TOPIC.builtin("Delete([options: array]) -> terminates", effect=Effect.IO, hooks=_PRE, examples=["Delete();"])
def delete(call: Run, options: Array | None = None) -> None:
    """Make no attempt; remove the message without a report."""
    read_options("Delete", options, {})
    raise VerdictGiven(QueueVerdict("delete"))


def queue_options(call: Run, function: str, options: Array | None, delay: float | None = None) -> QueueOptions:
    """Give the options of Queue, Reschedule and Retry; `delay` is the positional one."""
    given = read_options(function, options, QUEUE_OPTIONS)
    read_dsn(call, function, given.get("dsn"))
    delay = given.get("delay", delay)
    return QueueOptions(
        hold=given.get("hold", False),
        delay_s=None if delay is None else read_seconds(function, "delay", delay),
        reason=given.get("reason"),
        increment_retry=given.get("increment_retry", True),
        reset_retry=given.get("reset_retry", False),
        transport_id=given.get("transportid"),
    )
